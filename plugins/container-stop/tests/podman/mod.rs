//! A private Podman: its own storage, its own API socket, an image made of a static busybox.
//!
//! Responsibilities: start the service, run containers, look at them with the command line, leave nothing behind. Inputs: scripts.
//! Outputs: a [`Podman`] whose `Drop` removes every container it ran. Must never touch the containers or images of the machine.
#![allow(dead_code, reason = "each test file uses its own part")]

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::{Delivered, TestInstance, spot_interrupt};
use container_stop::ContainerStop;
use harness::program::{self, Output};
use harness::{require, wait};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// How long a command, or something that is bound to happen, may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Time for a call that is in no hurry.
pub const PLENTY: Duration = Duration::from_secs(100);
pub const NOTICE: &str = "cloud.spot.interrupt";
pub const WITHDRAWN: &str = "cloud.spot.interrupt.cancelled";
/// The id of the notices of these tests.
pub const NOTICE_ID: &str = "01936b7e-5b3a-7000-8000-000000000001";

/// A program that needs no library.
const BUSYBOX: &str = "/bin/busybox";
const IMAGE: &str = "localhost/busybox";

/// Ends on SIGTERM by itself, a moment later, and writes that it has.
pub const ORDERLY: &str =
    "trap 'sleep 0.5; echo ended > /out/ended; exit 0' TERM; echo up > /out/up; while :; do sleep 0.1; done";
/// Does not hear SIGTERM.
pub const DEAF: &str = "trap '' TERM; echo up > /out/up; while :; do sleep 0.1; done";

/// A service and its storage. Dropping it removes its containers, ends it and removes its files.
pub struct Podman {
    pub dir: TempDir,
    service: Child,
}

impl Podman {
    fn start() -> Result<Self, String> {
        let dir = tempfile::Builder::new().prefix("podman-").tempdir().map_err(|e| e.to_string())?;
        let at = |name: &str| dir.path().join(name);
        let storage = format!(
            "[storage]\ndriver = \"vfs\"\ngraphroot = \"{}\"\nrunroot = \"{}\"\n",
            at("root").display(),
            at("run").display()
        );
        // Limits that every machine allows, and locks in files, so that they are this directory's own too. runc rather than crun:
        // that one does not take machines which have both versions of control groups.
        let engine = format!(
            "[containers]\nnetns = \"none\"\nlog_driver = \"k8s-file\"\n\
             default_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n\
             [engine]\ncgroup_manager = \"cgroupfs\"\nruntime = \"runc\"\n\
             events_logger = \"file\"\nlock_type = \"file\"\ntmp_dir = \"{}\"\nstatic_dir = \"{}\"\nvolume_path = \"{}\"\n",
            at("tmp").display(),
            at("static").display(),
            at("volumes").display()
        );
        let write = |name: &str, text: String| fs::write(at(name), text).map_err(|e| e.to_string());
        write("storage.conf", storage)?;
        write("containers.conf", engine)?;
        let log = fs::File::create(at("log")).map_err(|e| e.to_string())?;
        let mut command = command(dir.path())?;
        command.args(["system", "service", "--time", "0"]).arg(format!("unix://{}", at("s").display()));
        let service = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        let podman = Self { service: service.map_err(|e| format!("podman: {e}"))?, dir };
        let answers = || UnixStream::connect(podman.socket()).ok();
        wait::until("the API's socket", PATIENCE, answers).map_err(|e| format!("{e}: {}", podman.log()))?;
        podman.make_image()?;
        Ok(podman)
    }

    fn make_image(&self) -> Result<(), String> {
        let root = self.dir.path().join("image");
        let bin = root.join("bin");
        fs::create_dir_all(&bin).map_err(|e| e.to_string())?;
        fs::create_dir_all(root.join("out")).map_err(|e| e.to_string())?;
        fs::copy(BUSYBOX, bin.join("busybox")).map_err(|e| format!("{BUSYBOX}: {e}"))?;
        for name in ["sh", "sleep"] {
            std::os::unix::fs::symlink("busybox", bin.join(name)).map_err(|e| e.to_string())?;
        }
        let archive = self.dir.path().join("image.tar");
        program::run(Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&archive).arg("."), PATIENCE)?
            .success("tar")?;
        self.podman(&["import", &archive.to_string_lossy(), IMAGE])?;
        Ok(())
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("s")
    }

    fn log(&self) -> String {
        program::tail(&self.dir.path().join("log"), 20)
    }

    /// What a command of `podman` prints.
    pub fn podman(&self, args: &[&str]) -> Result<String, String> {
        Ok(self.run_podman(args)?.success(&format!("podman {}", args.join(" ")))?.trim().to_owned())
    }

    fn run_podman(&self, args: &[&str]) -> Result<Output, String> {
        program::run(command(self.dir.path())?.args(args), PATIENCE)
    }

    /// Runs a script in a container of this name until it is up.
    pub fn run(&self, name: &str, script: &str, options: &[&str]) -> PathBuf {
        let out = self.dir.path().join(format!("out-{name}"));
        fs::create_dir_all(&out).unwrap();
        let volume = format!("{}:/out", out.display());
        let args =
            [&["run", "--detach", "--name", name, "--volume", &volume][..], options, &[IMAGE, "sh", "-c", script]];
        self.podman(&args.concat()).unwrap();
        wait_for("the container's program", || out.join("up").exists());
        out
    }

    /// A field of `podman inspect`.
    pub fn inspect(&self, name: &str, field: &str) -> String {
        self.podman(&["inspect", "--format", &format!("{{{{{field}}}}}"), name]).unwrap()
    }

    pub fn is_running(&self, name: &str) -> bool {
        self.inspect(name, ".State.Running") == "true"
    }

    /// An instance of the plugin with this configuration.
    pub fn plugin(&self, more: &Value) -> TestInstance<ContainerStop> {
        self.plugin_with_state(more, Path::new(""))
    }

    pub fn plugin_with_state(&self, more: &Value, state: &Path) -> TestInstance<ContainerStop> {
        let mut config = json!({ "socket": self.socket() });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        TestInstance::new_in(state, &config).unwrap()
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // First: a stop that it is at would keep the container's lock.
        program::kill_and_reap(&mut self.service);
        let is_empty = |output: &Output| output.code == Some(0) && output.stdout.trim().is_empty();
        for _ in 0..3 {
            // Whatever goes wrong here, there is nothing else to try.
            let _removed = self.run_podman(&["rm", "--all", "--force", "--time", "0"]);
            if self.run_podman(&["ps", "--all", "--quiet"]).is_ok_and(|output| is_empty(&output)) {
                break;
            }
        }
        // A container's keeper may stay when a stop was interrupted; this directory's name is in its arguments.
        let name = self.dir.path().to_string_lossy().into_owned();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&words).contains(&name) {
                // The container's own process is its child.
                let _killed =
                    program::run(Command::new("pkill").args(["-KILL", "-P"]).arg(entry.file_name()), PATIENCE);
                let _killed = program::run(Command::new("kill").arg("-KILL").arg(entry.file_name()), PATIENCE);
            }
        }
    }
}

/// `podman` with this directory's storage and settings and none of the machine's.
fn command(dir: &Path) -> Result<Command, String> {
    let mut command = Command::new(program::find("podman").ok_or("podman is not installed")?);
    command
        .env("CONTAINERS_STORAGE_CONF", dir.join("storage.conf"))
        .env("CONTAINERS_CONF", dir.join("containers.conf"));
    command.env("HOME", dir).current_dir("/");
    Ok(command)
}

/// A started service, or None and a loud word about it.
pub fn start_or_say() -> Option<Podman> {
    let missing: Vec<&str> = [("podman", "podman"), ("runc", "runc"), ("busybox", "busybox-static")]
        .into_iter()
        .filter(|(program, _)| program::find(program).is_none())
        .map(|(_, package)| package)
        .collect();
    if !missing.is_empty() {
        require::missing_means_skip(&format!("a test against Podman: {} not installed", missing.join(" and ")));
        return None;
    }
    // Only root may make containers without more of the machine set up.
    if !fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0) {
        require::missing_means_skip("a test against Podman: it needs root");
        return None;
    }
    match Podman::start() {
        Ok(podman) => Some(podman),
        Err(error) => panic!("a test against Podman: {error}"),
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

pub fn drill() -> Value {
    let mut event = event(NOTICE);
    event["drill"] = json!(true);
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

/// What a report says of one container.
pub fn of<'a>(report: &'a Value, name: &str) -> &'a Value {
    let all = report["evidence"]["containers"].as_array().unwrap();
    all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{name} is not in {report:#}"))
}

pub fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    wait::until(what, PATIENCE, || is_so().then_some(())).unwrap();
}
