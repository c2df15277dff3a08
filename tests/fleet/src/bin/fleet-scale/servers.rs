//! Three real servers on this machine, and what they say of themselves.
//!
//! Inputs: the server's program. Outputs: their addresses, counters of the monitoring port, memory, time on the processors, bytes written.
//! They are set up as the product demands it (docs/fleet.md). It must never leave one running.

use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use fleet_faults::servers::resident_kb;
use harness::nats::Server;
use harness::wait;
use serde::Serialize;
use serde_json::Value;

/// How long they may take to find one another on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The servers of one cluster.
pub struct Servers {
    servers: Vec<Server>,
    monitors: Vec<u16>,
    pids: Vec<u32>,
    agent: ureq::Agent,
    directory: tempfile::TempDir,
}

/// What all of them together have used or counted.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Usage {
    pub memory_kb: f64,
    pub cpu_seconds: f64,
    pub written_bytes: f64,
    /// Messages of clients to them and to clients, and their bytes: payloads and headers, without the lines of the protocol.
    pub messages_in: f64,
    pub messages_out: f64,
    pub bytes_in: f64,
    pub bytes_out: f64,
    pub management: f64,
    pub ha_assets: f64,
    pub connections: f64,
}

impl Servers {
    /// Starts so many: one, or a cluster.
    ///
    /// # Errors
    /// There is no program, or they do not find one another.
    pub fn start(count: usize) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("fleet-scale-").tempdir()?;
        let routes = free_ports(count)?;
        let monitors = free_ports(count)?;
        let urls: Vec<String> = routes.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
        let mut servers = Vec::new();
        for number in 0..count {
            let pid = directory.path().join(format!("pid{number}"));
            let mut more = format!(
                "server_name: \"n{number}\"\nhttp: \"127.0.0.1:{}\"\npid_file: {pid:?}\nwrite_deadline: \"2s\"\n",
                monitors[number]
            );
            if count > 1 {
                let (port, urls) = (routes[number], urls.join(", "));
                more += &format!(
                    "cluster {{ name: \"scale\", listen: \"127.0.0.1:{port}\", ping_interval: \"2s\", ping_max: 2, routes: [{urls}] }}\n"
                );
            }
            let started = Server::start(&more);
            servers.push(started.context("there is no nats-server: run tests/setup.sh fleet")?);
        }
        let agent = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(5))).proxy(None).build();
        let mut all = Self { servers, monitors, pids: Vec::new(), agent: agent.into(), directory };
        for number in 0..count {
            let healthy = || all.ask(number, "healthz").ok().filter(|reply| reply["status"] == "ok").map(drop);
            wait::until(&format!("server {number}"), PATIENCE, healthy).map_err(|error| anyhow!(error))?;
            let pid = std::fs::read_to_string(all.directory.path().join(format!("pid{number}")))?;
            all.pids.push(pid.trim().parse().context("a process number")?);
        }
        Ok(all)
    }

    /// Where they are, beginning with another one for each number.
    pub fn urls(&self, number: usize) -> Vec<String> {
        let mut urls: Vec<String> = self.servers.iter().map(Server::address).collect();
        let count = urls.len();
        urls.rotate_left(number % count);
        urls
    }

    /// What a server says of itself.
    ///
    /// # Errors
    /// It does not.
    pub fn ask(&self, number: usize, what: &str) -> Result<Value> {
        let url = format!("http://127.0.0.1:{}/{what}", self.monitors[number]);
        let text = self.agent.get(url).call()?.body_mut().with_config().limit(64 << 20).read_to_string()?;
        Ok(serde_json::from_str(&text)?)
    }

    /// All together, now.
    ///
    /// # Errors
    /// One does not answer.
    pub fn usage(&self) -> Result<Usage> {
        let mut sum = Usage::default();
        for (number, pid) in self.pids.iter().enumerate() {
            let said = self.ask(number, "varz")?;
            let count = |name: &str| said[name].as_f64().unwrap_or(0.0);
            sum.memory_kb += resident_kb(*pid) as f64;
            sum.cpu_seconds += cpu_seconds(*pid)?;
            sum.written_bytes += written_bytes(*pid)?;
            sum.messages_in += count("in_client_msgs");
            sum.messages_out += count("out_client_msgs");
            sum.bytes_in += count("in_client_bytes");
            sum.bytes_out += count("out_client_bytes");
            sum.connections += count("connections");
            let stats = &said["jetstream"]["stats"];
            sum.management += stats["api"]["total"].as_f64().unwrap_or(0.0);
            sum.ha_assets += stats["ha_assets"].as_f64().unwrap_or(0.0);
        }
        Ok(sum)
    }
}

fn free_ports(count: usize) -> Result<Vec<u16>> {
    // All at once, or the same one would come twice.
    let listeners: Result<Vec<TcpListener>, _> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect();
    listeners?.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

/// Time that a process had on the processors (proc_pid_stat(5)).
fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit_once(") ").context("no stat of a process")?.1.split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    // What the kernel counts in there is a hundredth of a second on all that it runs on here (USER_HZ).
    const PER_SECOND: f64 = 100.0;
    Ok((ticks(11) + ticks(12)) / PER_SECOND)
}

/// What a process had written to disks (proc_pid_io(5)).
fn written_bytes(pid: u32) -> Result<f64> {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io"))?;
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|line| line.trim().parse().ok()).context("no bytes of a process")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_process_has_used_is_known() {
        let pid = std::process::id();
        assert!(cpu_seconds(pid).is_ok_and(|seconds| seconds >= 0.0) && written_bytes(pid).is_ok());
        assert!(cpu_seconds(u32::MAX).is_err());
    }
}
