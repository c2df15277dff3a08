//! `footprint`: what the built daemon takes of a machine before it does anything.
//!
//! Inputs: the programs and five plugins beside this one, as they are packaged, and the service's unit. What the others need is
//! held by the tests of the packages (tests/system). Outputs: a table or JSON, `promises/footprint.json`. Must never measure a
//! build without optimisation.
#![allow(clippy::print_stdout)]

use anyhow::{Context, Result, bail};
use clap::Parser;
use fake_metadata::{FakeMetadata, Options as Service};
use harness::paths;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, socket};
use object::read::elf::ElfFile64;
use object::{Endianness, elf};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What glibc consists of, and the loader; and the unwinder of the compiler, which its package depends on (libc6 of Debian 12).
const GLIBC: [&str; 7] =
    ["libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "ld-linux-x86-64.so.2", "libgcc_s.so.1"];
/// Plugins that need nobody to be loaded.
const FIVE: [&str; 5] = ["notify-apps", "app-checkpointer", "webhook-notifier", "sync-filesystems", "verify-state"];
/// How many starts are timed.
const STARTS: usize = 20;
/// From the start to the look at the memory.
const REST: Duration = Duration::from_secs(30);
/// Longest wait for a daemon.
const PATIENCE: Duration = Duration::from_secs(20);

/// Measures the size of the programs, the memory and start of the daemon, and what libraries everything needs. Needs snoozed,
/// snooze, snooze-plugin-host and five plugins beside this program (make footprint builds them).
#[derive(Debug, Parser)]
#[command(name = "footprint")]
struct Options {
    /// Print JSON in place of lines.
    #[arg(long)]
    json: bool,
    /// Directory for promises/footprint.json [default: cargo's target]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    if cfg!(debug_assertions) {
        bail!("a build without optimisation says nothing; `make footprint` makes the right one");
    }
    let built = paths::bin_dir().map_err(anyhow::Error::msg)?;
    let packaged = tempfile::Builder::new().prefix("footprint-").tempdir()?;
    let directory = packaged.path();
    let files = ["snoozed", "snooze", "snooze-plugin-host"].map(|name| paths::program(&built, name));
    let files = files.into_iter().chain(FIVE.iter().map(|name| paths::plugin(&built, name)));
    let files: Vec<PathBuf> =
        files.map(|file| strip(&file.map_err(anyhow::Error::msg)?, directory)).collect::<Result<_>>()?;
    let mut found = json!({});
    for program in &files[..3] {
        let name = program.file_name().and_then(|name| name.to_str()).unwrap_or_default().replace('-', "_");
        found[format!("{name}_mb")] = json!(megabytes(fs::metadata(program)?.len()));
    }
    let (mut foreign, mut glibc) = (BTreeSet::new(), 0.0_f64);
    for path in &files {
        let needs = needs(path).with_context(|| path.display().to_string())?;
        let is_foreign = |library: &&String| !GLIBC.contains(&library.as_str());
        foreign.extend(needs.libraries.iter().filter(is_foreign).cloned());
        glibc = glibc.max(needs.glibc);
    }
    found["foreign_libraries"] = json!(foreign);
    found["glibc"] = json!(glibc);
    let mut ready: Vec<f64> = Vec::new();
    for _ in 0..STARTS {
        ready.push(Started::new(directory, &FIVE)?.ready.as_secs_f64() * 1e3);
    }
    ready.sort_by(f64::total_cmp);
    found["ready_ms"] = json!(ready[STARTS / 2]);
    found["rss_mb_with_one_plugin"] = json!(resident(directory, &FIVE[..1])?);
    found["rss_mb_with_five_plugins"] = json!(resident(directory, &FIVE)?);
    let target = || std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    found["unit_exposure"] = json!(exposure()?);
    let out = options.out.unwrap_or_else(target).join("promises");
    fs::create_dir_all(&out)?;
    fs::write(out.join("footprint.json"), format!("{found:#}\n"))?;
    match (options.json, &found) {
        (false, Value::Object(figures)) => figures.iter().for_each(|(name, figure)| println!("{name:<28}{figure}")),
        _ => println!("{found:#}"),
    }
    Ok(())
}

/// Copies a program or plugin without its symbols and line tables, as it is packaged (strip(1)).
fn strip(file: &Path, directory: &Path) -> Result<PathBuf> {
    let copy = directory.join(file.file_name().context("a name")?);
    let status = Command::new("strip").arg("-o").arg(&copy).arg(file).status().context("strip (binutils)")?;
    if !status.success() {
        bail!("strip {}: {status}", file.display());
    }
    Ok(copy)
}

#[allow(clippy::cast_precision_loss, reason = "sizes of files")]
fn megabytes(bytes: u64) -> f64 {
    (bytes as f64 / 1e4).round() / 1e2
}

/// How far the service's unit leaves the machine open to it, of 10 (systemd-analyze(1), security).
fn exposure() -> Result<f64> {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../daemon/dist/systemd/cloudsnooze.service");
    let mut analyze = Command::new("systemd-analyze");
    analyze.args(["security", "--offline=true", "--no-pager"]).arg(&unit);
    let said = analyze.output().context("systemd-analyze (Debian package systemd)")?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let (_, level) = said.rsplit_once("exposure level for cloudsnooze.service:").context("no level was told")?;
    level.split_whitespace().next().and_then(|level| level.parse().ok()).with_context(|| level.to_owned())
}

struct Needs {
    libraries: Vec<String>,
    /// 2.34 for GLIBC_2.34, 2.04 for GLIBC_2.4.
    glibc: f64,
}

/// What a file needs of others (elf(5): DT_NEEDED, and the version needs of `.gnu.version_r`).
fn needs(path: &Path) -> Result<Needs> {
    let bytes = fs::read(path)?;
    let file = ElfFile64::<Endianness>::parse(&*bytes)?;
    let (endian, sections) = (file.endian(), file.elf_section_table());
    let mut needs = Needs { libraries: Vec::new(), glibc: 0.0 };
    if let Some((dynamic, strings)) = sections.dynamic(endian, &*bytes)? {
        let strings = sections.strings(endian, &*bytes, strings)?;
        for entry in dynamic.iter().filter(|entry| entry.d_tag.get(endian) == elf::DT_NEEDED) {
            let name = strings.get(u32::try_from(entry.d_val.get(endian))?).unwrap_or_default();
            needs.libraries.push(String::from_utf8_lossy(name).into_owned());
        }
    }
    if let Some((mut needed, strings)) = sections.gnu_verneed(endian, &*bytes)? {
        let strings = sections.strings(endian, &*bytes, strings)?;
        while let Some((_, mut versions)) = needed.next()? {
            while let Some(version) = versions.next()? {
                let name = String::from_utf8_lossy(version.name(endian, strings)?).into_owned();
                needs.glibc = needs.glibc.max(glibc(&name).unwrap_or(0.0));
            }
        }
    }
    Ok(needs)
}

fn glibc(name: &str) -> Option<f64> {
    let (major, rest) = name.strip_prefix("GLIBC_")?.split_once('.')?;
    let minor = rest.split('.').next()?;
    Some(major.parse::<f64>().ok()? + minor.parse::<f64>().ok()? / 100.0)
}

/// A daemon that said it is ready.
struct Started {
    child: Child,
    ready: Duration,
    _service: FakeMetadata,
    _home: tempfile::TempDir,
}

impl Started {
    /// Starts it as systemd would (sd_notify(3)), with a handler for each plugin, on a service of its own.
    fn new(directory: &Path, plugins: &[&str]) -> Result<Self> {
        let service = FakeMetadata::start(Service::default()).map_err(anyhow::Error::msg)?;
        let home = tempfile::Builder::new().prefix("footprint-").tempdir()?;
        let file = home.path().join("cloudsnooze.json");
        fs::write(&file, config(directory, home.path(), &service, plugins).to_string())?;
        let notices = notices(&home.path().join("notify.sock"))?;
        let log = fs::File::create(home.path().join("log"))?;
        let mut command = Command::new(directory.join("snoozed"));
        command.arg("--config").arg(&file).env("NOTIFY_SOCKET", home.path().join("notify.sock"));
        let began = Instant::now();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?;
        let mut started = Self { child, ready: Duration::ZERO, _service: service, _home: home };
        started.ready = wait_for_ready(&notices, began).with_context(|| log_of(&started))?;
        Ok(started)
    }
}

fn log_of(started: &Started) -> String {
    fs::read_to_string(started._home.path().join("log")).unwrap_or_default()
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config(directory: &Path, home: &Path, service: &FakeMetadata, plugins: &[&str]) -> Value {
    let settings = |plugin: &str| match plugin {
        "notify-apps" => json!({ "socket": home.join("apps.sock") }),
        "app-checkpointer" => json!({ "app_endpoint": "http://127.0.0.1:1/checkpoint" }),
        "webhook-notifier" => json!({ "endpoints": [{ "url": "http://127.0.0.1:1/hook", "attempts": 1 }] }),
        "sync-filesystems" => json!({ "mount_points": ["/"] }),
        _ => json!({ "checks": [{ "command": ["true"] }] }),
    };
    let handler = |(number, plugin): (usize, &&str)| json!({ "name": plugin, "priority": 100 - number, "config": settings(plugin) });
    let handlers: Vec<Value> = plugins.iter().enumerate().map(handler).collect();
    json!({
        "state_directory": home.join("state"),
        "plugin_directories": [directory],
        "control": { "socket": home.join("control.sock") },
        "sources": { "aws": {
            "enabled": true, "endpoint": service.base_url(), "polling_interval_seconds": 1, "maintenance_interval_seconds": 1,
        } },
        "event_handlers": { "cloud.spot.interrupt": { "plugins": handlers } },
    })
}

fn notices(path: &Path) -> Result<OwnedFd> {
    let notices = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    bind(notices.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(notices)
}

fn wait_for_ready(notices: &OwnedFd, began: Instant) -> Result<Duration> {
    use nix::sys::socket::{setsockopt, sockopt};
    use nix::sys::time::{TimeVal, TimeValLike};
    setsockopt(notices, sockopt::ReceiveTimeout, &TimeVal::seconds(1))?;
    let mut message = [0_u8; 4096];
    while began.elapsed() < PATIENCE {
        let Ok(length) = nix::sys::socket::recv(notices.as_raw_fd(), &mut message, nix::sys::socket::MsgFlags::empty())
        else {
            continue;
        };
        let took = began.elapsed();
        if String::from_utf8_lossy(&message[..length]).lines().any(|line| line == "READY=1") {
            return Ok(took);
        }
    }
    bail!("snoozed was not ready within {} s", PATIENCE.as_secs())
}

/// Resident memory after a rest (proc(5), VmRSS).
fn resident(directory: &Path, plugins: &[&str]) -> Result<f64> {
    let started = Started::new(directory, plugins)?;
    std::thread::sleep(REST);
    let status = fs::read_to_string(format!("/proc/{}/status", started.child.id()))?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
    Ok(megabytes(kib.map(|kib: u64| kib * 1024).context("no VmRSS")?))
}
