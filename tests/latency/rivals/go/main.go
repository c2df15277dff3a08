// Rival `go`: the design of the project's first road map. A goroutine polls on a time.Ticker, decodes the notice from JSON
// and sends it into a channel; another goroutine receives and calls the handler.
//
// Fair because: the runtime has its default settings, the channel is buffered, the decoding is done before the clock is
// read (as it is for every design), and nothing is logged. The handler is a Go function: calling C through cgo would only
// slow this design down. Time is the runtime's monotonic clock, which is CLOCK_MONOTONIC through the vDSO, the clock of all
// designs: time.Since reads nothing else when its argument carries a monotonic reading. Normal priority, as designed.
//
// Speaks the protocol of ../../src/protocol.rs. Apache-2.0.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// The document of the metadata service.
type notice struct {
	Action string    `json:"action"`
	Time   time.Time `json:"time"`
}

var epoch = time.Now()

func nowNs() int64 { return int64(time.Since(epoch)) }

// The handler's very first act is to read the clock.
func handler(startedNs *int64, n notice) {
	*startedNs = nowNs()
	_ = n
}

// dispatch receives notices and calls the handler, as a service that waits for work does.
func dispatch(notices <-chan notice, done chan<- int64) {
	for n := range notices {
		var startedNs int64
		handler(&startedNs, n)
		done <- startedNs
	}
}

// watch publishes one slice of events.
func watch(count, gapUs, thrashKib int, notices chan<- notice, done <-chan int64) []int64 {
	took := make([]int64, 0, count)
	ballast := make([]byte, thrashKib*1024)
	for at := range ballast {
		ballast[at] = 1
	}
	body := []byte(`{"action": "terminate", "time": "2030-01-02T03:04:05Z"}`)
	if gapUs < 1 {
		gapUs = 1
	}
	ticker := time.NewTicker(time.Duration(gapUs) * time.Microsecond)
	defer ticker.Stop()
	for n := 0; n < count; n++ {
		<-ticker.C
		var found notice
		if err := json.Unmarshal(body, &found); err != nil {
			fmt.Fprintln(os.Stderr, "rival-go:", err)
			os.Exit(1)
		}
		for at := 0; at < len(ballast); at += 64 {
			ballast[at]++
		}
		publishedNs := nowNs()
		notices <- found
		took = append(took, <-done-publishedNs)
	}
	return took
}

func main() {
	notices, done := make(chan notice, 64), make(chan int64, 1)
	go dispatch(notices, done)
	fmt.Println(`ready {"name":"rival-go","granted":"normal","note":"goroutines, channel, time.Ticker"}`)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() && lines.Text() != "quit" {
		var count, gapUs, thrashKib int
		_, err := fmt.Sscanf(lines.Text(), "run %d %d %d", &count, &gapUs, &thrashKib)
		if err != nil || count < 1 || count > 1000000 || gapUs < 0 || thrashKib < 0 {
			fmt.Fprintln(os.Stderr, "rival-go: cannot do:", lines.Text())
			os.Exit(1)
		}
		answer, _ := json.Marshal(watch(count, gapUs, thrashKib, notices, done))
		fmt.Println(string(answer))
	}
}
