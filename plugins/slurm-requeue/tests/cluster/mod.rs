//! A private Slurm cluster of one node: its own munged, slurmctld and slurmd, on ports and in directories of its own.
//!
//! Responsibilities: start, submit, ask, leave nothing behind. Inputs: job scripts. Outputs: a [`Cluster`] whose `Drop` ends its daemons
//! and their jobs. Must never touch a cluster that the machine belongs to.
#![allow(dead_code, reason = "each test file uses its own part")]

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::{Delivered, TestInstance, spot_interrupt};
use harness::{program, require, wait};
use serde_json::{Value, json};
use slurm_requeue::SlurmRequeue;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// How long something that is bound to happen may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Time for a call that is in no hurry.
pub const PLENTY: Duration = Duration::from_secs(90);
pub const NOTICE: &str = "cloud.spot.interrupt";
pub const WITHDRAWN: &str = "cloud.spot.interrupt.cancelled";
pub const NOTICE_ID: &str = "01936b7e-5b3a-7000-8000-000000000001";
/// The node's name in the cluster.
pub const NODE: &str = "n1";
/// As the plugin has it unless another is configured.
pub const REASON: &str = "CloudSnooze: the machine is about to go away";

/// Daemons and their files.
pub struct Cluster {
    pub dir: TempDir,
    munged: Option<Child>,
    controller: Option<Child>,
    node: Option<Child>,
}

impl Cluster {
    fn start() -> Result<Self, String> {
        let dir = tempfile::Builder::new().prefix("slurm-").tempdir().map_err(|e| e.to_string())?;
        let mut cluster = Self { dir, munged: None, controller: None, node: None };
        for name in ["state", "spool", "work"] {
            fs::create_dir(cluster.at(name)).map_err(|e| e.to_string())?;
        }
        cluster.start_munge()?;
        fs::write(cluster.conf(), cluster.configuration()?).map_err(|e| e.to_string())?;
        cluster.start_controller()?;
        cluster.start_node()?;
        Ok(cluster)
    }

    fn start_munge(&mut self) -> Result<(), String> {
        let key = self.at("munge.key");
        let random = fs::File::open("/dev/urandom").and_then(|mut source| {
            let mut bytes = [0; 128];
            std::io::Read::read_exact(&mut source, &mut bytes).map(|()| bytes)
        });
        fs::write(&key, random.map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).map_err(|e| e.to_string())?;
        // Below a private directory its socket is not everybody's, which it would refuse.
        let mut command = self.command("munged")?;
        command.args(["--foreground", "--force", "--num-threads=1"]);
        for (option, name) in [("socket", "munge.s"), ("key-file", "munge.key"), ("log-file", "munge.log")] {
            command.arg(format!("--{option}={}", self.at(name).display()));
        }
        command.arg(format!("--pid-file={}", self.at("munge.pid").display()));
        command.arg(format!("--seed-file={}", self.at("munge.seed").display()));
        self.munged = Some(self.spawn(command, "munge.out")?);
        wait::until("munged's socket", PATIENCE, || self.at("munge.s").exists().then_some(()))
    }

    fn configuration(&self) -> Result<String, String> {
        let [controller, node] = ports()?;
        let dir = self.dir.path().display();
        Ok(format!(
            "ClusterName=test\nSlurmctldHost=localhost(127.0.0.1)\nSlurmUser=root\nSlurmdUser=root\n\
             AuthType=auth/munge\nCredType=cred/munge\nAuthInfo=socket={dir}/munge.s\n\
             SlurmctldPort={controller}\nSlurmdPort={node}\n\
             StateSaveLocation={dir}/state\nSlurmdSpoolDir={dir}/spool\n\
             SlurmctldPidFile={dir}/ctld.pid\nSlurmdPidFile={dir}/d.pid\n\
             SlurmctldLogFile={dir}/ctld.log\nSlurmdLogFile={dir}/d.log\n\
             ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nMpiDefault=none\nSwitchType=switch/none\n\
             SchedulerType=sched/builtin\nSelectType=select/cons_tres\nSelectTypeParameters=CR_CPU\n\
             AccountingStorageType=accounting_storage/none\nJobAcctGatherType=jobacct_gather/none\n\
             JobRequeue=1\nKillWait=2\nReturnToService=2\nSlurmdParameters=config_overrides\n\
             NodeName={NODE} NodeHostname=localhost NodeAddr=127.0.0.1 Port={node} CPUs=4 State=UNKNOWN\n\
             PartitionName=main Nodes={NODE} Default=YES MaxTime=INFINITE State=UP\n"
        ))
    }

    fn start_controller(&mut self) -> Result<(), String> {
        let mut command = self.command("slurmctld")?;
        command.args(["-D", "-f"]).arg(self.conf());
        self.controller = Some(self.spawn(command, "ctld.out")?);
        let answers = || self.slurm("scontrol", &["ping"]).ok().filter(|text| text.contains("is UP"));
        wait::until("slurmctld", PATIENCE, answers).map(drop).map_err(|e| format!("{e}: {}", self.logs()))
    }

    fn start_node(&mut self) -> Result<(), String> {
        let mut command = self.command("slurmd")?;
        command.args(["-D", "-N", NODE, "-f"]).arg(self.conf());
        self.node = Some(self.spawn(command, "d.out")?);
        let is_idle = || self.node_state().ok().filter(|state| state == "IDLE");
        wait::until("slurmd", PATIENCE, is_idle).map(drop).map_err(|e| format!("{e}: {}", self.logs()))
    }

    /// Ends the controller, and its answers.
    pub fn kill_controller(&mut self) {
        if let Some(mut controller) = self.controller.take() {
            program::kill_and_reap(&mut controller);
        }
    }

    fn command(&self, name: &str) -> Result<Command, String> {
        let mut command = Command::new(program::find(name).ok_or_else(|| format!("{name} is not installed"))?);
        command.env("SLURM_CONF", self.conf()).current_dir(self.dir.path());
        Ok(command)
    }

    fn spawn(&self, mut command: Command, log: &str) -> Result<Child, String> {
        let log = fs::File::create(self.at(log)).map_err(|e| e.to_string())?;
        let other = log.try_clone().map_err(|e| e.to_string())?;
        command.stdin(Stdio::null()).stdout(log).stderr(other).spawn().map_err(|e| format!("{command:?}: {e}"))
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn conf(&self) -> PathBuf {
        self.at("slurm.conf")
    }

    pub fn logs(&self) -> String {
        let logs =
            ["munge.out", "ctld.out", "ctld.log", "d.out", "d.log"].map(|name| program::tail(&self.at(name), 15));
        logs.join("\n--\n")
    }

    /// What one of Slurm's commands prints.
    pub fn slurm(&self, name: &str, args: &[&str]) -> Result<String, String> {
        let output = program::run(self.command(name)?.args(args), PATIENCE)?;
        Ok(output.success(&format!("{name} {}", args.join(" ")))?.trim().to_owned())
    }

    /// A field of the node, as `scontrol` shows it.
    pub fn node_state(&self) -> Result<String, String> {
        let text = self.slurm("scontrol", &["--oneliner", "show", "node", NODE])?;
        Ok(field(&text, "State").to_owned())
    }

    pub fn is_drained(&self) -> bool {
        self.node_state().unwrap().split('+').any(|part| part == "DRAIN")
    }

    /// A field of a job, as `scontrol` shows it.
    pub fn job(&self, id: &str, key: &str) -> String {
        let text = self.slurm("scontrol", &["--oneliner", "show", "job", id]).unwrap();
        field(&text, key).to_owned()
    }

    pub fn wait_for_state(&self, id: &str, state: &str) {
        wait_for(&format!("job {id} to be {state}"), || self.job(id, "JobState") == state);
    }

    /// Submits a batch script, and waits until it runs.
    pub fn submit(&self, script: &str, options: &[&str]) -> String {
        let file = self.at("work").join("job.sh");
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        let file = file.to_string_lossy();
        let work = self.at("work");
        let chdir = format!("--chdir={}", work.display());
        let args = [&["--parsable", &chdir, "--output=out", "--open-mode=append"], options, &[&file]].concat();
        let id = self.slurm("sbatch", &args).unwrap();
        wait_for(&format!("job {id} to run: {}", self.logs()), || self.job(&id, "JobState") == "RUNNING");
        id
    }

    /// Lines of a file that jobs write.
    pub fn lines(&self, name: &str) -> Vec<String> {
        fs::read_to_string(self.at("work").join(name)).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// An instance of the plugin with more configuration.
    pub fn plugin(&self, more: &Value) -> TestInstance<SlurmRequeue> {
        self.plugin_with_state(more, Path::new(""))
    }

    pub fn plugin_with_state(&self, more: &Value, state: &Path) -> TestInstance<SlurmRequeue> {
        let mut config = json!({ "node": NODE, "slurm_conf": self.conf(), "requeue_seconds": 20 });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        TestInstance::new_in(state, &config).unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The jobs' processes are not the daemons' children when these are killed.
        let _cancelled = self.slurm("scancel", &["--signal=KILL", "--full", "--nodelist", NODE]);
        let _cancelled = self.slurm("scancel", &["--nodelist", NODE]);
        let is_empty = || self.slurm("squeue", &["--noheader"]).ok().filter(String::is_empty);
        if self.controller.is_some() {
            let _emptied = wait::until("the jobs' end", Duration::from_secs(20), is_empty);
        }
        for daemon in [&mut self.node, &mut self.controller, &mut self.munged].into_iter().flatten() {
            program::kill_and_reap(daemon);
        }
    }
}

/// The value of `key=` in a line of `scontrol`.
fn field<'a>(text: &'a str, key: &str) -> &'a str {
    let begin = format!("{key}=");
    text.split_whitespace().find_map(|word| word.strip_prefix(&begin)).unwrap_or_default()
}

fn ports() -> Result<[u16; 2], String> {
    let listen = || TcpListener::bind("127.0.0.1:0").map_err(|e| e.to_string());
    let (one, other) = (listen()?, listen()?);
    let port = |listener: &TcpListener| listener.local_addr().map(|address| address.port()).map_err(|e| e.to_string());
    Ok([port(&one)?, port(&other)?])
}

/// A started cluster, or None and a loud word about it.
pub fn start_or_say() -> Option<Cluster> {
    let programs = [("munged", "munge"), ("slurmctld", "slurmctld"), ("slurmd", "slurmd"), ("sbatch", "slurm-client")];
    let missing: Vec<&str> =
        programs.into_iter().filter(|(name, _)| program::find(name).is_none()).map(|(_, package)| package).collect();
    if !missing.is_empty() {
        require::missing_means_skip(&format!("a test against Slurm: {} not installed", missing.join(", ")));
        return None;
    }
    if !fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
        require::missing_means_skip("a test against Slurm: it needs root");
        return None;
    }
    match Cluster::start() {
        Ok(cluster) => Some(cluster),
        Err(error) => panic!("a test against Slurm: {error}"),
    }
}

pub fn event(kind: &str) -> Value {
    let mut event = spot_interrupt();
    event["type"] = json!(kind);
    if kind.ends_with(".cancelled") {
        event["id"] = json!("01936b7e-5b3a-7000-8000-0000000000ff");
        event["data"]["cancels"] = json!(NOTICE_ID);
    }
    event
}

pub fn handled(delivered: Delivered) -> Value {
    assert_eq!((delivered.status, &delivered.error), (abi::SNOOZE_OK, &None), "{delivered:#?}");
    delivered.result.unwrap()
}

/// The reason of a call that was declined.
pub fn declined(delivered: &Delivered) -> String {
    assert_eq!(delivered.status, abi::SNOOZE_SKIPPED, "{delivered:?}");
    delivered.result.as_ref().unwrap()["declined"].as_str().unwrap().to_owned()
}

/// What a report says of one job.
pub fn of<'a>(report: &'a Value, id: &str) -> &'a Value {
    let all = report["evidence"]["jobs"].as_array().unwrap();
    all.iter().find(|one| one["job"] == id).unwrap_or_else(|| panic!("{id} is not in {report:#}"))
}

pub fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    wait::until(what, PATIENCE, || is_so().then_some(())).unwrap();
}
