//! The bare client: one blocking socket, the daemon's paths one after the other, one read an answer, sleep.
//!
//! Inputs: an interval, a service. Outputs: its CPU time. It checks the status line and nothing else: no token to renew, no
//! time limit, no bad answer to survive. Must never do less than ask and look.
//!
//! Its thread stands where the daemon's stands, at the same priority: on a CPU that the service does not run on. Left to
//! itself the kernel moves it to the service's own CPU, where sending wakes a neighbour and needs no interrupt; no metadata
//! service of a cloud is that near. The figure of such a client is taken too.

use super::Cost;
use latency::metadata::Service;
use latency::stage;
use nix::time::{ClockId, clock_gettime};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// What the daemon asks for in each round.
pub(super) const PATHS: [&str; 6] = [
    "spot/instance-action",
    "spot/termination-time",
    "events/recommendations/rebalance",
    "autoscaling/target-lifecycle-state",
    "events/maintenance/scheduled",
    "events/maintenance/history",
];

/// Where the client's thread runs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// On the daemon's CPU, with its priority.
    AsOurs,
    /// Wherever the kernel puts it.
    Anywhere,
}

/// Runs the client as a process of its own.
pub(super) fn cost(interval: f64, time: Duration, service: &Service, place: Place) -> io::Result<Cost> {
    let words =
        [interval.to_string(), service.address().to_string(), time.as_secs_f64().to_string(), format!("{place:?}")];
    let output = Command::new(std::env::current_exe()?).arg("--play-bare").args(words).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut numbers = text.split_whitespace().filter_map(|word| word.parse::<u64>().ok());
    match (numbers.next(), numbers.next(), numbers.next()) {
        (Some(cpu), Some(wall), Some(requests)) => {
            let cpu = Duration::from_nanos(cpu);
            Ok(Cost { cpu, polling: cpu, wall: Duration::from_nanos(wall), requests })
        }
        _ => Err(io::Error::other(format!("the bare client failed: {}", String::from_utf8_lossy(&output.stderr)))),
    }
}

/// Is that process.
pub(super) fn play(words: &[String]) -> io::Result<()> {
    let bad = || io::Error::from(io::ErrorKind::InvalidInput);
    let [interval, address, time, place] = words else { return Err(bad()) };
    if *place == format!("{:?}", Place::AsOurs) {
        stage::raise();
    }
    let interval = Duration::from_secs_f64(interval.parse().map_err(|_| bad())?);
    let time = Duration::from_secs_f64(time.parse().map_err(|_| bad())?);
    let mut stream = TcpStream::connect(address.as_str())?;
    stream.set_nodelay(true)?;
    let requests = PATHS.map(|path| {
        format!("GET /latest/meta-data/{path} HTTP/1.1\r\nHost: {address}\r\nX-aws-ec2-metadata-token: TOKEN\r\n\r\n")
    });
    let (cpu, started, mut asked) = (cpu_time()?, Instant::now(), 0_u64);
    while started.elapsed() < time {
        let round = Instant::now();
        for request in &requests {
            ask(&mut stream, request)?;
            asked += 1;
        }
        thread::sleep(interval.saturating_sub(round.elapsed()));
    }
    println!("{} {} {asked}", (cpu_time()? - cpu).as_nanos(), started.elapsed().as_nanos());
    Ok(())
}

fn ask(stream: &mut TcpStream, request: &str) -> io::Result<()> {
    stream.write_all(request.as_bytes())?;
    let mut reply = [0; 2048];
    let got = stream.read(&mut reply)?;
    let is_answer = reply[..got].starts_with(b"HTTP/1.1 404 ") || reply[..got].starts_with(b"HTTP/1.1 200 ");
    if is_answer { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

fn cpu_time() -> io::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}
