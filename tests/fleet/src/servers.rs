//! Three NATS servers, each at a site of its own with a disk of its own.
//!
//! Inputs: a network, the server's program. Outputs: their addresses, who leads a stream. They are set up as the product demands it: every
//! write is on the disk before it is acknowledged. It must never leave a server running: each ends with the thread that started it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use harness::disk::Disk;
use harness::{program, wait};
use jiff::Timestamp;
use serde_json::Value;

use crate::network::Network;

/// How many there are.
pub const COUNT: usize = 3;
/// Older ones lose whole streams when their process crashes (Jepsen's report on NATS 2.12.1, 2025-12).
const OLDEST: [u32; 3] = [2, 10, 23];
/// How long the three may take to find one another on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Size of a server's disk, MiB.
const DISK_MIB: u64 = 192;

/// A client that is not like the others, and what it may not publish.
#[derive(Clone, Debug)]
pub struct Denied {
    /// Its public NKey.
    pub nkey: String,
    /// Subjects.
    pub publish: Vec<String>,
}

/// One server.
#[derive(Debug)]
struct Server {
    child: Option<Child>,
    disk: Option<Disk>,
    /// Holds configuration, log, and what it stores where it has no disk of its own.
    directory: PathBuf,
}

impl Server {
    fn place(&self) -> PathBuf {
        self.disk.as_ref().map_or_else(|| self.directory.clone(), |disk| disk.path().to_owned())
    }

    fn store(&self) -> PathBuf {
        self.place().join("store")
    }

    fn filler(&self) -> PathBuf {
        self.place().join("filler")
    }
}

/// The three. They stand at the sites 0 to 2.
#[derive(Debug)]
pub struct Servers {
    program: PathBuf,
    addresses: Vec<Ipv4Addr>,
    servers: Vec<Server>,
    agent: ureq::Agent,
    /// Why they share the machine's disk, where they do.
    pub without_disks: Option<String>,
}

/// The server's program: named by an environment variable, in the virtual environment of the tests, or in `PATH`.
///
/// # Errors
/// There is none, or it is too old.
pub fn find() -> Result<PathBuf> {
    let found = harness::nats::find();
    let found = found.ok_or_else(|| {
        anyhow!("there is no nats-server: run tests/setup.sh fleet, or set {}", harness::nats::PROGRAM)
    })?;
    let said =
        program::run(Command::new(&found).arg("--version"), PATIENCE).and_then(|said| said.success("nats-server"));
    let said = said.map_err(|error| anyhow!("{}: {error}", found.display()))?;
    let version = version(&said).with_context(|| format!("{} says `{said}`, not its version", found.display()))?;
    ensure!(version >= OLDEST, "{} is version {version:?}; {OLDEST:?} or newer is needed", found.display());
    Ok(found)
}

/// Reads `nats-server: v2.15.1`; what follows a dash, as in `v2.12.0-RC.1`, is passed over.
fn version(said: &str) -> Option<[u32; 3]> {
    let number = said.trim().rsplit_once('v')?.1.split('-').next()?;
    let mut parts = number.split('.').map(|part| part.parse().ok());
    Some([parts.next()??, parts.next()??, parts.next()??])
}

impl Servers {
    /// Makes the disks below `root`. No server runs yet.
    ///
    /// # Errors
    /// No program, no room.
    pub fn new(network: &Network, root: &Path) -> Result<Self> {
        let (mut servers, mut without_disks) = (Vec::new(), None);
        for number in 0..COUNT {
            let directory = root.join(format!("server{number}"));
            std::fs::create_dir_all(&directory)?;
            let disk = Disk::new_in(&directory, "ext4", DISK_MIB, "");
            let disk = disk.map_err(|error| without_disks = Some(error)).ok();
            servers.push(Server { child: None, disk, directory });
        }
        let addresses = (0..COUNT).map(|site| network.address(site)).collect();
        let agent =
            ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(2))).proxy(None).build().into();
        Ok(Self { program: find()?, addresses, servers, agent, without_disks })
    }

    /// Where members connect to.
    pub fn urls(&self) -> Vec<String> {
        self.addresses.iter().map(|address| format!("nats://{address}:4222")).collect()
    }

    /// Starts all with nothing stored, and waits until they have found one another.
    ///
    /// # Errors
    /// They do not.
    pub fn start_afresh(&mut self, network: &Network, denied: &[Denied]) -> Result<()> {
        for number in 0..COUNT {
            self.forget(number)?;
            let place = &self.servers[number].directory;
            std::fs::write(place.join("server.conf"), self.configuration(number, denied))?;
        }
        (0..COUNT).try_for_each(|number| self.start(network, number))?;
        self.wait_until_healthy()
    }

    fn configuration(&self, number: usize, denied: &[Denied]) -> String {
        let address = self.addresses[number];
        let routes: Vec<String> = self.addresses.iter().map(|address| format!("\"nats://{address}:6222\"")).collect();
        let users: Vec<String> = denied
            .iter()
            .map(|denied| {
                let subjects: Vec<String> = denied.publish.iter().map(|subject| format!("\"{subject}\"")).collect();
                let rights = format!("permissions: {{ publish: {{ deny: [{}] }} }}", subjects.join(", "));
                format!("{{ nkey: \"{}\", {rights} }}", denied.nkey)
            })
            .collect();
        // Everybody else needs no name.
        let anybody = "{ user: \"anybody\", password: \"anybody\" }";
        let authorization = if users.is_empty() {
            String::new()
        } else {
            format!("authorization {{ users: [ {anybody}, {} ] }}\nno_auth_user: anybody\n", users.join(", "))
        };
        // By default a server writes to one that is cut off for 10 s before it gives that one up, and holds up everything else meanwhile;
        // its pings find out after minutes.
        let quick = "ping_interval: \"2s\", ping_max: 2";
        format!(
            "server_name: n{number}\nlisten: \"{address}:4222\"\nhttp: \"{address}:8222\"\nwrite_deadline: \"2s\"\n\
             jetstream {{ store_dir: {:?}, sync_interval: always, max_mem: 64M, max_file: 128M }}\n\
             cluster {{ name: fleet, listen: \"{address}:6222\", {quick}, routes: [ {} ] }}\n{authorization}",
            self.servers[number].store(),
            routes.join(", ")
        )
    }

    /// Starts one that does not run.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&mut self, network: &Network, number: usize) -> Result<()> {
        let server = &mut self.servers[number];
        let log = server.directory.join("log");
        let file = std::fs::File::options().create(true).append(true).open(&log).context("the server's log")?;
        let mut command = network.namespace(number).command(&self.program);
        command.arg("-c").arg(server.directory.join("server.conf")).env("TZ", "UTC");
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        server.child = Some(quiet.spawn().context("cannot start nats-server")?);
        Ok(())
    }

    /// Kills one (SIGKILL). Nothing to do when it does not run.
    pub fn kill(&mut self, number: usize) {
        if let Some(mut child) = self.servers[number].child.take() {
            program::kill_and_reap(&mut child);
        }
    }

    /// Kills all of them.
    pub fn kill_all(&mut self) {
        (0..COUNT).for_each(|number| self.kill(number));
    }

    /// Starts all that do not run, and waits until all are in order.
    ///
    /// # Errors
    /// They do not get there.
    pub fn restore(&mut self, network: &Network) -> Result<()> {
        for number in 0..COUNT {
            if self.servers[number].child.is_none() {
                self.start(network, number)?;
            }
        }
        self.wait_until_healthy()
    }

    /// Kills one and throws away what it has stored, its log and what filled its disk.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn forget(&mut self, number: usize) -> Result<()> {
        self.kill(number);
        let server = &self.servers[number];
        let gone = |result: std::io::Result<()>| match result {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        gone(std::fs::remove_file(server.filler()))?;
        gone(std::fs::remove_file(server.directory.join("log")))?;
        gone(std::fs::remove_dir_all(server.store()))?;
        Ok(())
    }

    /// Leaves no room on the disk of one.
    ///
    /// # Errors
    /// It has no disk of its own.
    pub fn fill_disk(&self, number: usize) -> Result<()> {
        let server = &self.servers[number];
        ensure!(server.disk.is_some(), "the server has no disk of its own: {:?}", self.without_disks);
        let mut file = std::fs::File::create(server.filler())?;
        let block = vec![0_u8; 1 << 20];
        // Smaller and smaller pieces: the last bytes count.
        for size in [1 << 20, 4096, 512] {
            while std::io::Write::write_all(&mut file, &block[..size]).is_ok() {}
        }
        // What is written out late would be missed late.
        let _full = file.sync_all();
        Ok(())
    }

    /// Waits until each says that it is in order: connected, and with its streams up to date.
    ///
    /// # Errors
    /// One does not: with the end of its log.
    pub fn wait_until_healthy(&self) -> Result<()> {
        for number in 0..COUNT {
            let healthy = || self.ask(number, "healthz").ok().filter(|reply| reply["status"] == "ok").map(|_| ());
            if let Err(error) = wait::until(&format!("server {number}"), PATIENCE, healthy) {
                bail!("{error}: {}", program::tail(&self.servers[number].directory.join("log"), 12));
            }
        }
        Ok(())
    }

    /// Which server leads the stream of this name now.
    ///
    /// # Errors
    /// None does, or there is no such stream.
    pub fn leader_of(&self, stream: &str) -> Result<usize> {
        let leads = || (0..COUNT).find(|number| self.leads(*number, stream));
        wait::until(&format!("a leader of the stream {stream}"), PATIENCE, leads).map_err(|error| anyhow!(error))
    }

    fn leads(&self, number: usize, stream: &str) -> bool {
        let Ok(reply) = self.ask(number, "jsz?streams=true") else { return false };
        let accounts = reply["account_details"].as_array().into_iter().flatten();
        let mut streams = accounts.flat_map(|account| account["stream_detail"].as_array().into_iter().flatten());
        let found = streams.find(|detail| detail["name"] == stream);
        found.is_some_and(|detail| detail["cluster"]["leader"].as_str() == Some(&format!("n{number}")))
    }

    fn ask(&self, number: usize, what: &str) -> Result<Value> {
        let url = format!("http://{}:8222/{what}", self.addresses[number]);
        let text = self.agent.get(url).call()?.body_mut().with_config().limit(8 << 20).read_to_string()?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Resident memory of each that runs, kB.
    pub fn memory_kb(&self) -> Vec<u64> {
        let pids = self.servers.iter().filter_map(|server| Some(server.child.as_ref()?.id()));
        pids.map(resident_kb).collect()
    }

    /// How long the servers had no leader of some stream of a group, from `since` on, as they say it themselves: elections are theirs
    /// alone, and no client can write anything meanwhile. None where no stream got another leader.
    pub fn leaderless(&self, group: &str, since: Timestamp) -> Option<Duration> {
        let logs = self.servers.iter().map(|server| std::fs::read_to_string(server.directory.join("log")));
        let logs: Vec<String> = logs.filter_map(Result::ok).collect();
        leaderless(&logs, group, since)
    }

    /// The end of the log of each.
    pub fn logs(&self) -> Vec<String> {
        self.servers.iter().map(|server| program::tail(&server.directory.join("log"), 400)).collect()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.kill_all();
    }
}

/// See [`Servers::leaderless`]. The first that says so counts, of each stream.
fn leaderless(logs: &[String], group: &str, since: Timestamp) -> Option<Duration> {
    let mut first: BTreeMap<&str, Timestamp> = BTreeMap::new();
    for line in logs.iter().flat_map(|log| log.lines()) {
        let Some((head, stream)) = line.split_once("JetStream cluster new stream leader for ") else { continue };
        let stream = stream.trim_matches('\'').rsplit(' ').next().unwrap_or_default();
        // "[pid] year/month/day time [INF] ", in UTC.
        let words: Vec<&str> = head.split_whitespace().collect();
        let [_, day, time, _] = words[..] else { continue };
        let Ok(at) = Timestamp::strptime("%Y/%m/%d %H:%M:%S%.f %z", format!("{day} {time} +0000")) else { continue };
        if at > since && stream.ends_with(&format!("_{group}")) {
            let kept = first.entry(stream).or_insert(at);
            *kept = at.min(*kept);
        }
    }
    let last = first.into_values().max()?;
    Duration::try_from(last.duration_since(since)).ok()
}

/// Resident memory of a process, kB; 0 when there is none.
pub fn resident_kb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_compared() {
        assert_eq!(version("nats-server: v2.15.1\n"), Some([2, 15, 1]));
        assert_eq!(version("nats-server: v2.12.0-RC.1"), Some([2, 12, 0]));
        assert_eq!(version("nats-server"), None);
        assert!(version("v2.9.10") < Some(OLDEST) && version("v2.10.23") >= Some(OLDEST));
    }

    #[test]
    fn how_long_servers_had_no_leader_is_read_from_what_they_say() {
        let log = |lines: &[(&str, &str)]| {
            let line = |(time, text): &(&str, &str)| format!("[7] 2026/11/28 03:27:{time} [INF] {text}\n");
            lines.iter().map(line).collect::<String>()
        };
        let of = |stream: &str| format!("JetStream cluster new stream leader for '$G > {stream}'");
        let (plan, lead, other) = (of("KV_cs_plan_g3"), of("KV_cs_lead_g3"), of("KV_cs_plan_g4"));
        let first = log(&[("25.500000", &plan), ("43.250000", &plan), ("44.000000", "Server is ready")]);
        let second = log(&[("43.000000", &plan), ("38.000000", &lead), ("50.000000", &other)]);
        let logs = [first, second];
        let since = |text: &str| format!("2026-11-28T03:27:{text}Z").parse().expect("a time");
        assert_eq!(leaderless(&logs, "g3", since("30.5")), Some(Duration::from_millis(12_500)));
        assert_eq!(leaderless(&logs, "g3", since("43.5")), None);
        assert_eq!(leaderless(&[], "g3", since("30.5")), None);
    }

    #[test]
    fn the_memory_of_this_process_is_something() {
        assert!(resident_kb(std::process::id()) > 100);
        assert_eq!(resident_kb(u32::MAX), 0);
    }
}
