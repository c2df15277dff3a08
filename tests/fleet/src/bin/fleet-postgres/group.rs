//! Three databases with their daemons and metadata services, the balancer with its own, the group's server, the client.
//!
//! Inputs: whether handlers wait for their turn. Outputs: machines that can be killed and come back, when everything is as it should be.
//! It must never do what a handler has to do (drain, stop, promote), and leave nothing running.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use fake_metadata::{FakeMetadata, Instance, Options, Provider};
use harness::daemon::{Daemon, DaemonBuilder};
use harness::postgres::{self, Postgres};
use harness::{nats, paths, program, require, wait};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::PATIENCE;
use crate::balancer::Balancer;
use crate::configuration::{Database, LOGINS, Places, RIGHTS, SERVER};
use crate::evidence::{self, Wall};
use crate::writer::{TABLE, Writer};

/// The machines of the databases.
pub const NAMES: [&str; 3] = ["db-1", "db-2", "db-3"];

/// One of them.
pub struct Machine {
    /// Its name in the group.
    pub name: &'static str,
    /// Its server.
    pub server: Postgres,
    /// What tells its daemon of notices.
    pub cloud: FakeMetadata,
    /// Its daemon; None while the machine is gone.
    pub daemon: Option<Daemon>,
}

/// Everything.
pub struct Group {
    /// The client.
    pub writer: Writer,
    /// The databases, in the order of [`NAMES`].
    pub machines: Vec<Machine>,
    /// Which of them is the primary.
    pub primary: usize,
    /// The balancer.
    pub balancer: Balancer,
    lb: Daemon,
    places: Places,
    waits: bool,
    /// Machines so far.
    launched: u32,
    bin: PathBuf,
    _nats: nats::Server,
    root: TempDir,
}

/// Whatever the harness says, as an error.
pub fn said(text: String) -> anyhow::Error {
    anyhow!(text)
}

/// What this machine lacks; it is said.
fn is_lacking() -> bool {
    let programs = ["haproxy", "socat"].into_iter().filter(|name| program::find(name).is_none());
    let lacking: Vec<&str> = programs.chain(postgres::missing()).collect();
    if lacking.is_empty() {
        return false;
    }
    let packages = lacking.join(", ");
    require::missing_means_skip(&format!(
        "PostgreSQL behind a balancer: there is no {packages} (tests/setup.sh fleet installs it)"
    ))
}

impl Group {
    /// Starts all of it; None where something is lacking, which was said.
    pub fn start(waits: bool) -> Result<Option<Self>> {
        if is_lacking() {
            return Ok(None);
        }
        let Some(nats) = nats::Server::start("") else { return Ok(None) };
        let bin = paths::bin_dir().map_err(said)?;
        let root = tempfile::Builder::new().prefix("fleet-pg-").tempdir()?;
        let places = Places::new(root.path(), nats.address())?;
        let machines = databases()?;
        let ports: Vec<(&str, u16)> = machines.iter().map(|machine| (machine.name, machine.server.port())).collect();
        let balancer = Balancer::start(root.path(), &ports)?;
        let at = root.path().join("lb-1");
        std::fs::create_dir_all(&at)?;
        let builder = DaemonBuilder::new(&bin).config(places.balancer(&balancer.socket())).root(&at);
        let lb = builder.start().map_err(said)?;
        let writer = Writer::start(balancer.writes())?;
        let mut group =
            Self { writer, machines, primary: 0, balancer, lb, places, waits, launched: 0, bin, _nats: nats, root };
        for index in 0..NAMES.len() {
            group.start_daemon(index)?;
        }
        group.until_ready()?;
        Ok(Some(group))
    }

    fn role(&self, index: usize) -> &'static str {
        if index == self.primary { "primary" } else { "replica" }
    }

    fn configuration(&self, index: usize) -> Value {
        let machine = &self.machines[index];
        let others = self.machines.iter().filter(|other| other.name != machine.name);
        self.places.database(&Database {
            name: machine.name,
            role: self.role(index),
            login: machine.server.login("snooze"),
            data: machine.server.directory().join("data"),
            peers: others.map(|other| (other.name, other.server.port())).collect(),
            waits: self.waits,
        })
    }

    fn place(&self, index: usize) -> PathBuf {
        self.root.path().join(self.machines[index].name)
    }

    /// Starts the daemon of a new machine, with the role that it has now: nothing is left of the machine before it but its name in the
    /// group, and the database's own disk where that was attached to the new one.
    pub fn start_daemon(&mut self, index: usize) -> Result<()> {
        let (place, config) = (self.place(index), self.configuration(index));
        if place.exists() {
            std::fs::remove_dir_all(&place).with_context(|| place.display().to_string())?;
        }
        std::fs::create_dir_all(&place)?;
        self.launched += 1;
        let cloud = cloud(self.launched)?;
        let builder = DaemonBuilder::new(&self.bin).config(config).endpoint(cloud.base_url()).root(place);
        let machine = &mut self.machines[index];
        machine.daemon = Some(builder.start().map_err(said)?);
        machine.cloud = cloud;
        Ok(())
    }

    /// Another database is the primary now: the daemons of machines that stayed learn their roles, as a role is configuration.
    pub fn tell_roles(&mut self, primary: usize) -> Result<()> {
        if primary == self.primary {
            return Ok(());
        }
        self.primary = primary;
        for index in 0..self.machines.len() {
            let config = self.configuration(index);
            let Some(daemon) = &mut self.machines[index].daemon else { continue };
            daemon.configure(config).map_err(said)?;
            daemon.stop().map_err(said)?;
            daemon.start_again().map_err(said)?;
        }
        Ok(())
    }

    /// Waits until the group has noticed that these machines are gone.
    pub fn until_missed(&self, gone: &[usize]) -> Result<()> {
        let all_missed = || {
            let members = self.members().ok()?;
            gone.iter().all(|index| members.iter().all(|(name, _)| name != NAMES[*index])).then_some(())
        };
        wait::until("the group to miss the machines", PATIENCE, all_missed).map_err(said)
    }

    /// Names and roles of the members.
    fn members(&self) -> Result<Vec<(String, String)>> {
        let found = self.lb.snooze_json(&["fleet", "members", "--json"]).map_err(said)?;
        let text = |member: &Value, key: &str| member[key].as_str().unwrap_or_default().to_owned();
        let members = found["members"].as_array().context("no list of members")?;
        Ok(members.iter().map(|member| (text(member, "member"), text(member, "role"))).collect())
    }

    /// Waits until everybody is there, does what its role says, and rows are written.
    pub fn until_ready(&self) -> Result<()> {
        let mut last = anyhow!("it was not looked");
        let looks =
            wait::until("the group to be complete", PATIENCE, || self.is_ready().map_err(|why| last = why).ok());
        looks.map_err(|error| anyhow!("{error}: {last:#}"))?;
        let before = self.writer.count();
        let written = || (self.writer.count() > before + 20).then_some(());
        wait::until("rows to be written", PATIENCE, written)
            .map_err(|error| anyhow!("{error}: {}", self.writer.seen().why))
    }

    fn is_ready(&self) -> Result<()> {
        let standby = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = 'quorum'";
        let count = self.machines[self.primary].server.query(standby).map_err(said)?;
        ensure!(count == "2", "{count} replicas stream from {}", NAMES[self.primary]);
        for (index, name) in NAMES.iter().enumerate() {
            let (in_writes, in_reads) = (index == self.primary, index != self.primary);
            for (backend, in_it) in [("writes", in_writes), ("reads", in_reads)] {
                ensure!(self.balancer.has(backend, name)?, "{name} is still drained in {backend}");
                ensure!(self.balancer.sends_to(backend, name)? == in_it, "{backend} and {name} do not agree yet");
            }
        }
        let mut members = self.members()?;
        members.sort();
        let databases = (0..NAMES.len()).map(|index| (NAMES[index].to_owned(), self.role(index).to_owned()));
        let expected: Vec<_> = databases.chain([("lb-1".to_owned(), "lb".to_owned())]).collect();
        ensure!(members == expected, "the members are {members:?}");
        for daemon in self.machines.iter().filter_map(|machine| machine.daemon.as_ref()).chain([&self.lb]) {
            let status = daemon.snooze_json(&["fleet", "status", "--json"]).map_err(said)?;
            let runs = status["operation"].is_object() && status["operation"]["complete"] == json!(false);
            ensure!(status["connected"] == true && status["leader"].is_string() && !runs, "not ready: {status}");
        }
        Ok(())
    }

    /// What everybody said up to now: daemons, servers, the balancer, and what the group looks like from the balancer's machine.
    pub fn said(&self, from: Wall) -> Vec<(String, String)> {
        let mut said = vec![
            ("begun".to_owned(), format!("{from:.3} ({})", evidence::readable(from))),
            ("haproxy".to_owned(), self.balancer.log()),
            ("lb-1".to_owned(), self.lb.log()),
        ];
        for machine in &self.machines {
            said.push((format!("{}-postgres", machine.name), machine.server.log()));
            said.extend(machine.daemon.iter().map(|daemon| (machine.name.to_owned(), daemon.log())));
        }
        for what in ["status", "members", "events"] {
            let told = self.lb.snooze(&["fleet", what, "--json"]);
            said.push((format!("lb-1-{what}"), told.map_or_else(|error| error, |told| told.stdout)));
        }
        said
    }
}

/// The servers, the first one the primary, and their metadata services.
fn databases() -> Result<Vec<Machine>> {
    let templates = fleet_faults::target().join("tmp");
    let first = Postgres::start(SERVER, &templates).map_err(said)?;
    let file = first.directory().join("data/pg_hba.conf");
    let text = std::fs::read_to_string(&file)?;
    std::fs::write(&file, format!("{LOGINS}{text}"))?;
    // Nobody could acknowledge yet.
    let setup = format!("SET synchronous_commit = local; SELECT pg_reload_conf(); {RIGHTS} {TABLE}");
    first.query(&setup).map_err(said)?;
    let mut servers = vec![];
    for name in &NAMES[1..] {
        servers.push(first.replica(name).map_err(said)?);
    }
    servers.insert(0, first);
    let with_cloud = |(name, server)| Ok(Machine { name, server, cloud: cloud(0)?, daemon: None });
    NAMES.into_iter().zip(servers).map(with_cloud).collect()
}

/// What an instance of its own hears of the cloud: two with one name would have their notices taken for one.
fn cloud(number: u32) -> Result<FakeMetadata> {
    let instance = Instance { id: format!("i-{number:017x}"), ..Instance::of(Provider::Aws) };
    let options = Options { control: false, instance, ..Options::default() };
    FakeMetadata::start(options).map_err(|error| anyhow!("{error}"))
}

/// How long a look at a server that may be gone takes at most.
pub const LOOK: Duration = Duration::from_secs(20);
