//! Rival `shell`: the polling script found in many a machine image (`poll.sh`): curl once a second, then a hook program.
//!
//! Measured from the metadata service's write of the notice to the hook's first instruction; with `--polled` as second
//! argument from the moment the notice could have been read, which adds the wait for the next poll. Fair because: the
//! script is the short form of what is published for this purpose, the service answers at once, and the hook is a small C
//! program that reads the clock first. What it costs is what the design costs: processes to start.

use latency::handler::parts_directory;
use latency::metadata::{INSTANCE_ACTION, Service};
use latency::protocol::{Ready, Request, serve};
use latency::slot::now_ns;
use nix::sys::stat::Mode;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// The script is ours to end.
struct Script(Child);

impl Drop for Script {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}

fn main() -> io::Result<()> {
    let parts = parts_directory()?;
    let polled = std::env::args().nth(2).is_some_and(|argument| argument == "--polled");
    let service = Service::start(latency::stage::far_cpu())?;
    let directory = tempfile::tempdir()?;
    let pipe = directory.path().join("started");
    nix::unistd::mkfifo(&pipe, Mode::S_IRUSR | Mode::S_IWUSR)?;
    let script = Command::new("sh")
        .arg(parts.join("poll.sh"))
        .arg(format!("http://{}{INSTANCE_ACTION}", service.address()))
        .arg(parts.join("hook"))
        .env("LATENCY_PIPE", &pipe)
        .env("no_proxy", "*")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()?;
    let _script = Script(script);
    // Open for writing too, so that reading goes on when a hook closes its end.
    let mut told = BufReader::new(File::options().read(true).write(true).open(&pipe)?);
    let (name, note) = if polled {
        ("rival-shell-polled", "curl every second and a hook, from when the notice is there")
    } else {
        ("rival-shell", "curl and a hook, from the service's write")
    };
    let ready = Ready { name: name.into(), granted: "normal".into(), note: note.into() };
    let mut phase_us = 0;
    serve(&ready, |request: Request| {
        let mut took = Vec::with_capacity(request.count);
        for _ in 0..request.count {
            // Spread over the polling interval; steps of the golden ratio fill it evenly whatever the count.
            phase_us = (phase_us + 618_034) % 1_000_000;
            thread::sleep(Duration::from_micros(request.gap_us + if polled { phase_us } else { 0 }));
            let announced_ns = now_ns();
            service.announce();
            let mut line = String::new();
            told.read_line(&mut line)?;
            let started_ns: i64 = line.trim().parse().map_err(io::Error::other)?;
            took.push(started_ns - if polled { announced_ns } else { service.written_ns() });
        }
        Ok(took)
    })
}
