//! The stage: network and servers for all runs, and one run on it, from a complete group to what everybody said.
//!
//! Inputs: options, a shape of the group. Outputs: a [`Run`] that faults play on, [`Played`]. It must never judge: the judge does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use cloudsnooze_fleet::Step;
use jiff::Timestamp;
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;
use uuid::Uuid;

use crate::fleet::{Fleet, Shared, Spec};
use crate::judge::{Alone, Facts};
use crate::lines::{Line, Said};
use crate::network::Network;
use crate::servers::{self, Denied, Servers};

/// What faults are drawn with.
pub type Random = Xoshiro256PlusPlus;

/// The time of a spot notice of AWS.
pub const NOTICE: Duration = Duration::from_secs(120);
/// Longest time that a member of a step may take, seconds.
pub const STEP_SECONDS: f64 = 10.0;
/// The same of load balancers, which have little to do.
pub const BALANCER_SECONDS: f64 = 5.0;
/// Beyond the work, where a leader or nothing was struck.
pub const LEADER_BAR: Duration = Duration::from_secs(5);
/// How long a member with [`NOTICE`] waits for a leader: then it has to act alone.
const WAITS_FOR_A_LEADER: Duration = Duration::from_secs(10);
/// What it takes a group to have a leader once the servers take a lease.
const SOMEBODY_LEADS: Duration = Duration::from_secs(1);
/// How long a group may take to find itself on a busy machine.
const GATHERING: Duration = Duration::from_secs(120);
/// Processes of a crowd.
const CROWDS: usize = 4;
/// Load balancers, which stay; members that have nothing to do and may lead; primaries. All others are replicas.
const BALANCERS: usize = 4;
const WATCHERS: usize = 2;
const PRIMARIES: usize = 2;
/// Where Debian's libfaketime is, with threads.
const CLOCK_LIBRARY: [&str; 2] =
    ["/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1"];

/// The generator of one run.
pub fn generator(seed: u64, run: u64) -> Random {
    Random::seed_from_u64(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(run))
}

/// What all runs share.
pub struct Stage {
    /// Where everybody is.
    pub network: Network,
    /// The servers.
    pub servers: Servers,
    root: TempDir,
    members: usize,
    without_fencing: bool,
    /// What lets a process have a wall clock of its own, where it is installed.
    pub clock_library: Option<PathBuf>,
    number: u32,
}

/// A group.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// Whether only load balancers and watchers may lead, who are not waited for when a leader is struck.
    pub few_lead: bool,
    /// How many replicas may act at the same time.
    pub most_at_once: Option<u32>,
    /// Whether some have a wall clock of their own.
    pub own_clocks: bool,
    /// Whether some may not publish.
    pub denied: bool,
    /// How many more members there are who have nothing to do.
    pub crowd: usize,
}

/// What came of a run.
pub struct Played {
    /// What everybody said.
    pub lines: Vec<Line>,
    /// What the fault allows.
    pub facts: Facts,
    /// The end of each server's log.
    pub server_logs: Vec<String>,
    /// What went wrong beside it.
    pub troubles: Vec<String>,
    /// When all connections were back after a storm, seconds.
    pub reconnected_seconds: Option<f64>,
    /// Largest process of one member, kB.
    pub memory_kb: u64,
    /// How long the servers themselves had no leader of some stream after one of them was struck, seconds.
    pub leaderless_seconds: Option<f64>,
}

/// A run.
pub struct Run<'a> {
    /// The stage.
    pub stage: &'a mut Stage,
    /// The processes.
    pub fleet: Fleet,
    /// What is drawn is drawn with this.
    pub random: Random,
    /// What the fault allows; changed by it.
    pub facts: Facts,
    /// The group.
    pub group: String,
    /// Who may publish nothing.
    pub silent: Vec<String>,
    /// Whether everybody who was not struck has to hear of every notice.
    pub hears: bool,
    /// When all connections were back after a storm, seconds.
    pub reconnected_seconds: Option<f64>,
    /// When a server was struck.
    struck_at: Option<Timestamp>,
    leaderless: Option<Duration>,
    notices: BTreeMap<String, (Uuid, Instant, Duration, u64)>,
}

impl Stage {
    /// Makes the network and the servers' disks. The calling thread must live as long as the stage, and call everything.
    ///
    /// # Errors
    /// No right to, no server's program, not enough members.
    pub fn new(members: usize, without_fencing: bool) -> Result<Self> {
        anyhow::ensure!(members >= 12, "{members} members are too few: 12 or more, of whom 8 are no replicas");
        let root = tempfile::Builder::new().prefix("snz-fleet-").tempdir()?;
        let network = Network::new(servers::COUNT + members + CROWDS)?;
        let servers = Servers::new(&network, root.path())?;
        let clock_library = CLOCK_LIBRARY.map(PathBuf::from).into_iter().find(|library| library.is_file());
        Ok(Self { network, servers, root, members, without_fencing, clock_library, number: 0 })
    }

    fn specs(&self, shape: &Shape) -> Vec<Spec> {
        let replicas = self.members - BALANCERS - WATCHERS - PRIMARIES;
        let roles = [("lb", BALANCERS), ("watch", WATCHERS), ("primary", PRIMARIES), ("replica", replicas)];
        let mut specs = Vec::new();
        for (role, count) in roles {
            for number in 0..count {
                let may_lead = !shape.few_lead || matches!(role, "lb" | "watch");
                let own_clock = shape.own_clocks && (role != "replica" || number < 10);
                let site = servers::COUNT + specs.len();
                let (name, role) = (format!("{role}{number}"), role.to_owned());
                specs.push(Spec { name, role, site, count: 1, may_lead, nkey_file: None, own_clock });
            }
        }
        for number in 0..CROWDS.min(shape.crowd) {
            let site = servers::COUNT + self.members + number;
            let count = shape.crowd / CROWDS + usize::from(number < shape.crowd % CROWDS);
            let (name, role) = (format!("crowd{number}"), "crowd".to_owned());
            specs.push(Spec { name, role, site, count, may_lead: false, nkey_file: None, own_clock: false });
        }
        specs
    }
}

/// The order of roles.
fn steps(most_at_once: Option<u32>) -> Vec<Step> {
    let step = |role: &str, timeout_seconds, most_at_once, reacts| Step {
        role: role.to_owned(),
        timeout_seconds,
        most_at_once,
        reacts,
    };
    vec![
        step("lb", BALANCER_SECONDS, None, true),
        step("replica", STEP_SECONDS, most_at_once, false),
        step("primary", STEP_SECONDS, None, false),
    ]
}

impl<'a> Run<'a> {
    /// Starts servers that know nothing and a group, and waits until everybody knows everybody.
    ///
    /// # Errors
    /// They do not come together.
    pub fn prepare(stage: &'a mut Stage, shape: &Shape, mut random: Random) -> Result<Self> {
        stage.number += 1;
        let group = format!("g{}", stage.number);
        let directory = stage.root.path().join(&group);
        // The last run's; nobody writes there any more.
        let _removed = std::fs::remove_dir_all(stage.root.path().join(format!("g{}", stage.number - 1)));
        std::fs::create_dir_all(&directory)?;
        let mut specs = stage.specs(shape);
        let mut denied = Vec::new();
        if shape.denied {
            denied = deny(&mut specs, &group, &directory)?;
        }
        stage.servers.start_afresh(&stage.network, &denied)?;
        let shared = Shared {
            group: group.clone(),
            steps: steps(shape.most_at_once),
            lease_seconds: 3.0,
            without_fencing: stage.without_fencing,
            urls: stage.servers.urls(),
            reacts_ms: random.random_range(100..400),
            directory,
            clock_library: stage.clock_library.clone(),
        };
        let mut fleet = Fleet::new(shared)?;
        specs.iter().try_for_each(|spec| fleet.start(&stage.network, spec))?;
        let silent: Vec<String> = specs.iter().filter(|spec| is_silent(spec)).map(|spec| spec.name.clone()).collect();
        fleet.wait_until_complete(silent.len(), GATHERING)?;
        // Servers that have only just begun may be without a leader of some stream for longer than the fault would make them.
        stage.servers.wait_until_healthy()?;
        let facts = Facts {
            struck: BTreeSet::new(),
            dead: BTreeSet::new(),
            alone: Alone::Only(BTreeSet::new()),
            operations: 1,
            completes: true,
            bar: None,
            most_at_once: shape.most_at_once.map(|most| ("replica".to_owned(), most as usize)).into_iter().collect(),
            roles: specs.iter().map(|spec| (spec.name.clone(), spec.role.clone())).collect(),
            order: ["lb", "replica", "primary"].map(str::to_owned).to_vec(),
            hears: BTreeSet::new(),
        };
        let notices = BTreeMap::new();
        Ok(Self {
            stage,
            fleet,
            random,
            facts,
            group,
            silent,
            hears: true,
            reconnected_seconds: None,
            struck_at: None,
            leaderless: None,
            notices,
        })
    }

    /// The names of a role, in order.
    pub fn of_role(&self, role: &str) -> Vec<String> {
        self.facts.roles.iter().filter(|(_, of)| *of == role).map(|(name, _)| name.clone()).collect()
    }

    /// Replicas and primaries: whoever goes when the zone goes.
    pub fn leavers(&self) -> Vec<String> {
        let mut names = self.of_role("replica");
        names.extend(self.of_role("primary"));
        names
    }

    /// One of these.
    ///
    /// # Errors
    /// There is none.
    pub fn one_of(&mut self, names: &[String]) -> Result<String> {
        names.choose(&mut self.random).cloned().context("nobody to choose from")
    }

    /// Gives notices to these, in a drawn order, each with work of a drawn length.
    ///
    /// # Errors
    /// One does not run.
    pub fn notify(&mut self, names: &[String], left: Duration) -> Result<()> {
        let mut names = names.to_vec();
        names.shuffle(&mut self.random);
        for name in names {
            let work_ms = self.random.random_range(100..=500);
            self.notify_one(&name, left, work_ms)?;
        }
        Ok(())
    }

    /// Gives a notice to one, whose work takes so many milliseconds.
    ///
    /// # Errors
    /// It does not run.
    pub fn notify_one(&mut self, name: &str, left: Duration, work_ms: u64) -> Result<()> {
        let event = Uuid::now_v7();
        self.notices.insert(name.to_owned(), (event, Instant::now(), left, work_ms));
        self.fleet.notify(name, event, left, work_ms)
    }

    /// Gives one the notice that it has already, as its cloud would after a restart.
    ///
    /// # Errors
    /// It has none, or does not run.
    pub fn notify_again(&mut self, name: &str) -> Result<()> {
        let (event, at, left, work_ms) = *self.notices.get(name).context("it has no notice")?;
        self.fleet.notify(name, event, left.saturating_sub(at.elapsed()), work_ms)
    }

    /// Who leads, and its epoch.
    ///
    /// # Errors
    /// Nobody was heard of.
    pub fn leader(&self) -> Result<(String, u64)> {
        Fleet::leader(&self.fleet.log.lines()).context("nobody leads")
    }

    /// Waits until somebody of this role begins.
    ///
    /// # Errors
    /// Nobody does.
    pub fn wait_for_role(&self, role: &str) -> Result<()> {
        let roles = &self.facts.roles;
        let begins =
            |line: &Line| matches!(line.said, Said::Begin(_)) && roles.get(&line.member).is_some_and(|of| of == role);
        let found = |lines: &[Line]| lines.iter().any(begins).then_some(());
        self.fleet.log.wait(&format!("a {role} to begin"), Duration::from_secs(30), found)
    }

    /// Waits until this one begins.
    ///
    /// # Errors
    /// It does not.
    pub fn wait_for_begin(&self, name: &str) -> Result<()> {
        let begins = |line: &Line| line.member == name && matches!(line.said, Said::Begin(_));
        let found = |lines: &[Line]| lines.iter().any(begins).then_some(());
        self.fleet.log.wait(&format!("{name} to begin"), Duration::from_secs(30), found)
    }

    /// Does nothing for a while: what must not happen has the time to happen.
    pub fn rest(&self, time: Duration) {
        std::thread::sleep(time);
    }

    /// Waits until all that can be expected has been said, at most so long. The judge says what is missing.
    pub fn finish(&mut self, patience: Duration) {
        let expected: Vec<(String, Uuid)> = self
            .notices
            .iter()
            .filter(|(name, _)| !self.facts.dead.contains(*name))
            .map(|(name, (event, ..))| (name.clone(), *event))
            .collect();
        let (completes, ears) = (self.facts.completes, self.ears());
        let is_over = |lines: &[Line]| {
            let mut ended = BTreeSet::new();
            let (mut begun, mut completed) = (BTreeSet::new(), BTreeSet::new());
            let mut told = 0;
            for line in lines {
                match &line.said {
                    Said::Begin(act) if !act.alone => _ = begun.insert(&act.operation),
                    Said::End(act) => _ = ended.insert((&line.member, act.event)),
                    Said::Completed { operation, .. } => _ = completed.insert(operation),
                    Said::Heard { .. } if ears.contains(&line.member) => told += 1,
                    _ => {}
                }
            }
            let all_ended = expected.iter().all(|(name, event)| ended.contains(&(name, *event)));
            let all_completed = !completes || (!completed.is_empty() && begun.is_subset(&completed));
            let all_told =
                ears.iter().map(|ear| expected.iter().filter(|(name, _)| name != ear).count()).sum::<usize>();
            (all_ended && all_completed && told >= all_told).then_some(())
        };
        // What is missing in the end is for the judge.
        let _over = self.fleet.log.wait("the end", patience, is_over);
        self.allow_for_elections();
    }

    /// A server is struck from now on, or several.
    pub fn strike_servers(&mut self) -> &mut Servers {
        self.struck_at = Some(Timestamp::now());
        &mut self.stage.servers
    }

    /// What the servers' own election takes is not the group's to make shorter: 4 to 9 s (nats-io/nats-server, `server/raft.go`,
    /// `minElectionTimeoutDefault`), and 13 s were seen. Once they can write again the group has as long as after a leader's fault.
    fn allow_for_elections(&mut self) {
        let Some(since) = self.struck_at else { return };
        self.leaderless = self.stage.servers.leaderless(&self.group, since);
        let Some(leaderless) = self.leaderless else { return };
        if let Some(bar) = &mut self.facts.bar {
            *bar = (*bar).max(leaderless + LEADER_BAR);
        }
        let first_notice = self.notices.values().map(|(_, at, ..)| at.elapsed()).max().unwrap_or_default();
        let struck = Duration::try_from(Timestamp::now().duration_since(since)).unwrap_or_default();
        // From the first notice until somebody could lead again, less than a moment for that.
        let waited = (first_notice + leaderless).saturating_sub(struck);
        if waited + SOMEBODY_LEADS > WAITS_FOR_A_LEADER {
            self.facts.alone = Alone::Anybody;
        }
    }

    /// Who has to hear of everything.
    fn ears(&self) -> BTreeSet<String> {
        if !self.hears {
            return BTreeSet::new();
        }
        let is_crowd = |name: &&String| self.facts.roles.get(*name).is_some_and(|role| role == "crowd");
        let all = self.facts.roles.keys().filter(|name| !is_crowd(name));
        all.filter(|name| !self.facts.struck.contains(*name) && !self.facts.dead.contains(*name)).cloned().collect()
    }

    /// Ends the run.
    ///
    /// # Errors
    /// The network cannot be put back.
    pub fn over(mut self) -> Result<Played> {
        self.facts.hears = self.ears();
        // What each of them knew in the end explains what did not hold. Who is paused or dead says nothing.
        let names: Vec<String> = self.fleet.specs().map(|spec| spec.name.clone()).collect();
        let _known = self.fleet.connected(&names);
        let troubles = self.fleet.fallen();
        let memory_kb = self.fleet.memory_kb();
        let lines = self.fleet.end();
        let server_logs = self.stage.servers.logs();
        self.stage.servers.kill_all();
        let all: Vec<usize> = (0..self.stage.network.count()).collect();
        self.stage.network.mend(&all)?;
        let (facts, reconnected_seconds) = (self.facts, self.reconnected_seconds);
        let leaderless_seconds = self.leaderless.map(|time| time.as_secs_f64());
        Ok(Played { lines, facts, server_logs, troubles, reconnected_seconds, memory_kb, leaderless_seconds })
    }
}

/// Whether it may publish nothing.
fn is_silent(spec: &Spec) -> bool {
    spec.nkey_file.is_some() && spec.role == "replica"
}

/// Gives two replicas a key that may publish nothing, and two load balancers one that may neither lead nor plan.
fn deny(specs: &mut [Spec], group: &str, directory: &std::path::Path) -> Result<Vec<Denied>> {
    let leads = vec![format!("$KV.cs_lead_{group}.>"), format!("$KV.cs_plan_{group}.>")];
    let mut denied = Vec::new();
    for (role, publish) in [("replica", vec![">".to_owned()]), ("lb", leads)] {
        let pair = nkeys::KeyPair::new_user();
        let file = directory.join(format!("{role}.nk"));
        std::fs::write(&file, pair.seed()?)?;
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        for spec in specs.iter_mut().filter(|spec| spec.role == role).take(2) {
            spec.nkey_file = Some(file.clone());
        }
        denied.push(Denied { nkey: pair.public_key(), publish });
    }
    Ok(denied)
}
