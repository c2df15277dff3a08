//! `e2e-bare`: the least a client can do, and so the floor of everything that is measured from the network on. One
//! real-time thread, a blocking socket, one read, head and body split at the empty line, serde_json into a small struct,
//! and the handler called in place.
//!
//! `e2e-ours` belongs beside this file: the same `latency::e2e::participate` with a `Client` whose `poll` is one step of
//! the daemon's AWS source with its sink on `latency::ours::Ours::publish`. Then name it in
//! `src/bin/latency-bench/designs.rs`; table, chart and `end_to_end_ratio_p99` already know it.

use cloudsnooze::sys::memory;
use latency::e2e::{Client, named, participate, service_cpu};
use latency::handler::{Handler, parts_directory};
use latency::metadata::{INSTANCE_ACTION, Service};
use latency::slot::{Slot, Slots};
use serde::Deserialize;
use std::io::{self, Read, Write};
use std::net::TcpStream;

/// The document.
#[derive(Deserialize)]
struct InstanceAction<'a> {
    action: &'a str,
    time: &'a str,
}

struct Bare {
    stream: TcpStream,
    request: String,
    handler: Handler,
    slot: &'static Slot,
}

impl Client for Bare {
    fn poll(&mut self) -> io::Result<()> {
        self.stream.write_all(self.request.as_bytes())?;
        // A reply of the service fits in one read: it is written at once, and far smaller than a segment on loopback.
        let mut reply = [0; 2048];
        let got = self.stream.read(&mut reply)?;
        let reply = &reply[..got];
        if !reply.starts_with(b"HTTP/1.1 200 ") {
            return if got == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) };
        }
        let head = reply.windows(4).position(|four| four == b"\r\n\r\n").ok_or(io::ErrorKind::InvalidData)?;
        let document: InstanceAction<'_> = serde_json::from_slice(&reply[head + 4..])?;
        if !document.action.is_empty() && !document.time.is_empty() {
            self.handler.call(self.slot);
        }
        Ok(())
    }
}

fn main() -> io::Result<()> {
    let handler = Handler::load(&parts_directory()?)?;
    let slots = Slots::new(1)?;
    let _locked = memory::lock_all();
    let service = Service::start(service_cpu())?;
    let stream = TcpStream::connect(service.address())?;
    stream.set_nodelay(true)?;
    let request = format!(
        "GET {INSTANCE_ACTION} HTTP/1.1\r\nHost: {}\r\nX-aws-ec2-metadata-token: TOKEN\r\n\r\n",
        service.address()
    );
    let mut client = Bare { stream, request, handler, slot: slots.at(0) };
    participate(&named("e2e-bare"), "blocking socket, handler in place", &service, &mut client, slots.at(0))
}
