module latency-rival-go

go 1.19
