//! Real virtual machines to be saved, each in a directory of its own.
//!
//! Responsibilities: assemble the guest, start QEMU on it, read what it counts, and leave no process behind, also after a
//! panic. Inputs: sizes, saved states. Outputs: a [`Guest`]. Must never touch a QEMU it did not start.
#![allow(dead_code, reason = "each test file uses its own part")]

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::{Delivered, TestInstance, spot_interrupt};
use harness::program;
use harness::{require, wait};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use vm_save::VmSave;

/// How long something that is bound to happen may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Time granted where it does not matter.
pub const PLENTY: Duration = Duration::from_secs(300);
pub const NOTICE: &str = "cloud.spot.interrupt";
pub const WITHDRAWN: &str = "cloud.spot.interrupt.cancelled";
pub const MAYBE: &str = "cloud.spot.rebalance";
/// Set to the path of a program, this environment variable has the tests run with another QEMU than Debian's.
const OTHER_QEMU: &str = "CLOUDSNOOZE_TEST_QEMU";

fn qemu() -> String {
    std::env::var(OTHER_QEMU).unwrap_or_else(|_| "qemu-system-x86_64".to_owned())
}

/// Where its state comes from.
#[derive(Clone, Debug, Default)]
pub enum Start {
    #[default]
    Boot,
    /// A file that it was saved to.
    Incoming(PathBuf),
    /// A snapshot in its disk.
    Snapshot(String),
}

/// The ground of a test: a directory with a bootable disk.
pub struct Ground {
    dir: TempDir,
    /// MiB of memory that the guest has, and that it fills of that.
    sizes: (u32, u32),
    format: &'static str,
    accelerators: &'static [&'static str],
}

/// A running QEMU. Killed when dropped.
pub struct Guest {
    child: Child,
    name: String,
    dir: PathBuf,
}

impl Ground {
    /// A ground for guests that fill so much of their memory. None, told loudly, where QEMU or an assembler is missing.
    pub fn lay(test: &str, ram_mib: u32, filled_mib: u32, format: &'static str) -> Option<Self> {
        let qemu = qemu();
        for (program, package) in
            [(qemu.as_str(), "qemu-system-x86"), ("qemu-img", "qemu-utils"), ("as", "binutils"), ("ld", "binutils")]
        {
            if program::find(program).is_none() {
                require::missing_means_skip(&format!("{test}: there is no {program} (package {package})"));
                return None;
            }
        }
        let dir = tempfile::Builder::new().prefix("snz-vm-").tempdir().unwrap();
        let ground = Self { dir, sizes: (ram_mib, filled_mib), format, accelerators: &["tcg"] };
        ground.make_disk("raw");
        if format == "qcow2" {
            run(Command::new("qemu-img")
                .args(["convert", "-f", "raw", "-O", "qcow2"])
                .args([ground.path("disk.raw"), ground.path("disk.qcow2")]));
        }
        Some(ground)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Guests here run on the machine's own processor where it lets them. Where this machine is itself a guest, its firmware
    /// takes many times as long then, so only tests ask for it for which it makes a difference.
    #[must_use]
    pub fn accelerated(mut self) -> Self {
        self.accelerators = &["kvm", "tcg"];
        self
    }

    fn make_disk(&self, format: &str) {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guest/counter.s");
        let (object, disk) = (self.path("counter.o"), self.path(&format!("disk.{format}")));
        let filled = format!("MIB={}", self.sizes.1);
        run(Command::new("as").args(["--32", "--defsym", &filled, "-o"]).arg(&object).arg(source));
        run(Command::new("ld")
            .args(["-m", "elf_i386", "-Ttext", "0x7c00", "--oformat", "binary", "-e", "_start", "-o"])
            .arg(&disk)
            .arg(&object));
        // A whole MiB: a disk of one sector has no geometry.
        fs::OpenOptions::new().write(true).open(disk).unwrap().set_len(1 << 20).unwrap();
    }

    /// The words that start a guest of this name.
    pub fn words(&self, name: &str, start: &Start) -> Vec<String> {
        let disk = self.path(&format!("{name}.disk"));
        let fixed = ["-machine", "pc", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"];
        let accelerators = self.accelerators.iter().flat_map(|name| ["-accel", name]);
        let all = ["-serial", "chardev:serial"].into_iter().chain(fixed).chain(accelerators);
        let mut words: Vec<String> = std::iter::once(qemu()).chain(all.map(str::to_owned)).collect();
        words.extend([
            "-m".to_owned(),
            self.sizes.0.to_string(),
            "-drive".to_owned(),
            format!("file={},format={},if=ide", disk.display(), self.format),
            "-chardev".to_owned(),
            format!("file,id=serial,append=on,path={}", self.path(&format!("{name}.count")).display()),
        ]);
        // A monitor talks to one client at a time: the test has one of its own.
        for end in ["qmp", "test"] {
            let socket = self.path(&format!("{name}.{end}"));
            words.extend(["-qmp".to_owned(), format!("unix:{},server=on,wait=off", socket.display())]);
        }
        match start {
            Start::Boot => {}
            Start::Incoming(file) => words.extend(["-incoming".to_owned(), format!("exec:cat {}", file.display())]),
            Start::Snapshot(tag) => words.extend(["-loadvm".to_owned(), tag.clone(), "-S".to_owned()]),
        }
        words
    }

    /// Starts a guest, and waits until its monitor is there.
    pub fn start(&self, name: &str, start: &Start) -> Guest {
        let (words, disk) = (self.words(name, start), self.path(&format!("{name}.disk")));
        // One each: QEMU locks them.
        if !disk.exists() {
            fs::copy(self.path(&format!("disk.{}", self.format)), disk).unwrap();
        }
        let log = fs::OpenOptions::new().create(true).append(true).mode(0o600).open(self.path("qemu.log")).unwrap();
        for end in ["qmp", "test"] {
            let _none_there = fs::remove_file(self.path(&format!("{name}.{end}")));
        }
        let child = Command::new(&words[0]).args(&words[1..]).stdin(Stdio::null()).stderr(log).spawn().unwrap();
        let mut guest = Guest { child, name: name.to_owned(), dir: self.dir.path().to_owned() };
        wait::until("the guest's monitor", PATIENCE, || {
            let ended = guest.child.try_wait().unwrap();
            assert!(ended.is_none(), "QEMU ended: {}", program::tail(&self.path("qemu.log"), 20));
            UnixStream::connect(guest.test_monitor()).is_ok().then_some(())
        })
        .unwrap();
        guest
    }

    /// Starts a guest, and waits until it counts.
    pub fn counting(&self, name: &str) -> Guest {
        let guest = self.start(name, &Start::Boot);
        guest.counts_on(3);
        guest
    }

    /// Everything that guests of this name have counted so far.
    pub fn counted(&self, name: &str) -> Vec<u64> {
        counted(&self.path(&format!("{name}.count")))
    }
}

/// Lines that are whole; a guest that finds its memory spoilt writes another word.
fn counted(file: &Path) -> Vec<u64> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let number = |line: &str| u64::from_str_radix(line, 16).unwrap_or_else(|_| panic!("the guest wrote '{line}'"));
    whole.lines().map(number).collect()
}

fn run(command: &mut Command) {
    let shown = format!("{command:?}");
    program::run(command, PATIENCE).and_then(|output| output.success(&shown)).unwrap();
}

impl Guest {
    pub fn qmp(&self) -> PathBuf {
        self.dir.join(format!("{}.qmp", self.name))
    }

    fn test_monitor(&self) -> PathBuf {
        self.dir.join(format!("{}.test", self.name))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn counted(&self) -> Vec<u64> {
        counted(&self.dir.join(format!("{}.count", self.name)))
    }

    /// Waits until it has counted so much further than it has now, and gives where it is.
    pub fn counts_on(&self, further: usize) -> u64 {
        let before = self.counted().len();
        wait::until("the guest to count", PATIENCE, || {
            let counted = self.counted();
            (counted.len() >= before + further).then(|| *counted.last().unwrap())
        })
        .unwrap_or_else(|error| panic!("{error}: {}", program::tail(&self.dir.join("qemu.log"), 20)))
    }

    /// Whether it stands still.
    pub fn stands_still(&self) -> bool {
        let before = self.counted().len();
        let went_on =
            wait::until("a count", Duration::from_millis(300), || (self.counted().len() > before).then_some(()));
        went_on.is_err()
    }

    pub fn is_there(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until QEMU has ended by itself.
    pub fn wait_for_end(&mut self) {
        program::wait_for_exit(&mut self.child, PATIENCE).unwrap();
    }

    /// Has a command executed over a monitor of the test's own, which is closed again.
    pub fn execute(&self, command: &str, arguments: Value) -> Value {
        let mut line = json!({ "execute": command, "id": "test" });
        if !arguments.is_null() {
            line["arguments"] = arguments;
        }
        let mut stream = UnixStream::connect(self.test_monitor()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // In one write: QEMU obeys "quit" at its closing brace and is gone before a line's end could follow.
        let lines = format!("{}\n{line}\n", json!({ "execute": "qmp_capabilities" }));
        stream.write_all(lines.as_bytes()).unwrap();
        let lines = BufReader::new(stream).lines();
        let answers = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        answers.filter(|answer| answer["id"] == "test").take(1).next().unwrap()["return"].take()
    }

    pub fn status(&self) -> String {
        self.execute("query-status", Value::Null)["status"].as_str().unwrap().to_owned()
    }

    /// Waits for this status.
    pub fn becomes(&self, status: &str) {
        wait::until(status, PATIENCE, || (self.status() == status).then_some(())).unwrap();
    }

    /// Has it write no more than a MB a second until this is set, whatever others want of it.
    pub fn slow_until(&self, done: &AtomicBool) {
        while !done.load(Ordering::Acquire) {
            self.execute("migrate-set-parameters", json!({ "max-bandwidth": 1_000_000 }));
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        program::kill_and_reap(&mut self.child);
    }
}

/// That numbers follow each other, each once.
pub fn must_follow(counted: &[u64]) {
    for pair in counted.windows(2) {
        assert_eq!(pair[1], pair[0] + 1, "{} counted, {:?} ...", counted.len(), &counted[..counted.len().min(20)]);
    }
}

pub fn plugin(config: &Value) -> TestInstance<VmSave> {
    TestInstance::new(config).unwrap()
}

/// The settings for one guest that is saved to a file.
pub fn to_file(ground: &Ground, name: &str, more: Value) -> Value {
    let mut vm = json!({
        "name": name, "qmp": ground.path(&format!("{name}.qmp")), "to": ground.path(&format!("{name}.state")),
    });
    vm.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    vm
}

/// An instance for one guest that is saved to a file.
pub fn saver(ground: &Ground, name: &str, more: Value) -> TestInstance<VmSave> {
    plugin(&json!({ "vms": [to_file(ground, name, more)] }))
}

pub fn event(kind: &str) -> Value {
    let mut event = spot_interrupt();
    event["type"] = json!(kind);
    event
}

/// Another event of the same type.
pub fn another(kind: &str, number: usize) -> Value {
    let mut event = event(kind);
    event["id"] = json!(format!("01936b7e-5b3a-7000-8000-{number:012}"));
    event
}

pub fn handled(delivered: Delivered) -> Value {
    assert_eq!((delivered.status, &delivered.error), (abi::SNOOZE_OK, &None), "{delivered:?}");
    delivered.result.unwrap()
}

/// The text of a failure of this code.
pub fn failed(delivered: &Delivered, code: abi::snooze_status) -> String {
    assert_eq!(delivered.status, code, "{delivered:?}");
    delivered.error.clone().unwrap()
}

/// The reason of a call that was declined.
pub fn declined(delivered: &Delivered) -> String {
    assert_eq!(delivered.status, abi::SNOOZE_SKIPPED, "{delivered:?}");
    delivered.result.as_ref().unwrap()["declined"].as_str().unwrap().to_owned()
}
