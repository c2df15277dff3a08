//! The Debian packages, in a booted Debian that has never seen CloudSnooze: installed, used, stopped dead, upgraded in the middle of
//! an event, removed and purged. One guest is booted for all of it.

use harness::program::{self, Output};
use harness::{require, wait};
use serde_json::{Value, json};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use system::{Debs, Guest, HOME, tree};

/// For what depends on this machine's speed alone.
const LIMIT: Duration = Duration::from_secs(90);
const UNIT: &str = "cloudsnooze.service";
const STATE: &str = "/var/lib/cloudsnooze";
/// Where plugins of one's own are put.
const LOCAL: &str = "/usr/local/lib/cloudsnooze/plugins";
const METADATA: &str = "127.0.0.1:1338";
/// The one that the upgrade brings.
const NEXT: &str = concat!(env!("CARGO_PKG_VERSION"), "+next");
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// As a user would install a file, without the network.
const APT: &str = "DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends";
/// The package of docs/packaging.md.
const OWN: &str = "my-flusher";
/// Those that the guest is given.
const PACKAGES: [&str; 5] = [
    "cloudsnooze",
    "cloudsnooze-dev",
    "cloudsnooze-plugins-basic",
    "cloudsnooze-plugin-slurm-requeue",
    "cloudsnooze-plugin-sqlite-flusher",
];
const EXAMPLES: [(&str, &[&str]); 4] =
    [("minimal", &["gcc"]), ("template", &["gcc"]), ("source", &["gcc"]), ("cpp", &["g++"])];
/// Everything that a package could leave; what the service manager and the package manager note for themselves is looked at by name.
const LISTED: &str = "find /etc /usr /var/lib -xdev \\( -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/lib/systemd \\) -prune \
    -o -print | sort";

/// The guest with the packages in it.
struct Machine(Guest);

impl Machine {
    fn run(&self, script: &str) -> Output {
        self.0.run(&["sh", "-c", script]).unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// Installs packages.
    fn install(&self, files: &[&str]) {
        let files: Vec<String> = files.iter().map(|name| format!("{HOME}/debs/{name}")).collect();
        self.0.sh(&format!("{APT} {} 2>&1", files.join(" ")));
    }

    fn snooze(&self, words: &str) -> Value {
        let told = self.run(&format!("snooze {words} --json")).told(words);
        let text = told.unwrap_or_else(|error| panic!("{error}\n{}", self.log()));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{words}: {error}: {text}"))
    }

    fn log(&self) -> String {
        self.0.sh(&format!("journalctl -u {UNIT} --no-pager -n 80"))
    }

    fn property(&self, name: &str) -> String {
        self.0.sh(&format!("systemctl show -P {name} {UNIT}"))
    }

    fn pid(&self) -> String {
        self.property("MainPID")
    }

    /// Writes a configuration beside the packaged one, which is left as it came.
    fn configure(&self, name: &str, config: &Value) {
        self.0.write(&format!("/etc/cloudsnooze/conf.d/{name}.json"), &format!("{config:#}\n"));
    }

    fn act(&self, verb: &str) {
        let done = self.run(&format!("systemctl {verb} {UNIT}")).success(verb);
        done.unwrap_or_else(|error| panic!("{error}\n{}", self.log()));
    }

    fn until<T>(&self, what: &str, check: impl FnMut() -> Option<T>) -> T {
        wait::until(what, LIMIT, check).unwrap_or_else(|error| panic!("{error}\n{}", self.log()))
    }

    fn instance(&self, name: &str) -> Option<Value> {
        let status = self.snooze("status");
        status["instances"].as_array()?.iter().find(|instance| instance["name"] == name).cloned()
    }
}

fn handler<'r>(report: &'r Value, name: &str) -> &'r Value {
    let handlers = report["handlers"].as_array().unwrap_or_else(|| panic!("{report:#}"));
    handlers.iter().find(|handler| handler["handler"] == name).unwrap_or_else(|| panic!("no {name} in {report:#}"))
}

fn debs() -> Option<Debs> {
    match Debs::make(Path::new(env!("CARGO_TARGET_TMPDIR"))) {
        Ok(debs) => Some(debs),
        Err(error) if error.starts_with("there is no ") && error.contains("Debian package") => {
            require::missing_means_skip(&format!("the Debian packages: {error}"));
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn packages_install_serve_upgrade_and_leave_nothing() {
    let Some(debs) = debs() else { return };
    lintian_has_nothing_to_say(&debs);
    let mut files: Vec<(PathBuf, String)> = Vec::new();
    for package in PACKAGES {
        files.push((debs.file(package).expect("made"), format!("debs/{package}.deb")));
    }
    files.push((debs.next_version("cloudsnooze", NEXT).expect("made"), "debs/cloudsnooze-next.deb".to_owned()));
    let examples = examples(&debs.unpacked("cloudsnooze-dev").expect("unpacked"), debs.directory());
    files.extend(examples.iter().cloned());
    files.extend(own_package(&debs).map(|file| (file, format!("debs/{OWN}.deb"))));
    let kept_in = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let Some(guest) = Guest::boot_with("the Debian packages", kept_in, &files) else { return };
    let machine = Machine(guest);
    // Its root was made for other tests too, and has the user already.
    machine.0.sh("userdel cloudsnooze");
    let before = machine.0.sh(LISTED);
    installed_it_serves_in_a_sandbox_with_real_time(&machine);
    an_interruption_is_handled_by_three_packaged_plugins(&machine);
    a_bad_configuration_fails_the_reload_and_the_old_goes_on(&machine);
    drop_ins_are_taken(&machine);
    a_stopped_daemon_is_killed_and_started_again(&machine);
    a_new_plugin_is_picked_up_once(&machine);
    plugins_built_from_the_development_package_run(&machine, &examples);
    a_plugin_of_ones_own_comes_as_a_package(&machine);
    an_upgrade_waits_for_the_event_in_progress(&machine);
    removed_it_keeps_what_is_the_owners_and_purged_it_leaves_nothing(&machine, &before);
}

fn lintian_has_nothing_to_say(debs: &Debs) {
    if program::find("lintian").is_none() {
        require::missing_means_skip("what lintian says of the packages: there is no lintian (Debian package lintian)");
        return;
    }
    let mut lintian = Command::new("lintian");
    lintian.args(["--allow-root", "--fail-on", "error,warning"]);
    for entry in std::fs::read_dir(debs.directory()).expect("packages") {
        let path = entry.expect("readable").path();
        if path.extension().is_some_and(|kind| kind == "deb") {
            lintian.arg(path);
        }
    }
    let output = program::run(&mut lintian, Duration::from_secs(600)).expect("it runs");
    assert_eq!((output.code, output.stdout.trim()), (Some(0), ""), "{}", output.stderr);
}

/// Builds every example against the unpacked development package, by make with pkg-config and by CMake: each library, and where it is
/// to be in the guest.
fn examples(package: &Path, work: &Path) -> Vec<(PathBuf, String)> {
    let pkg_config = |variable: &str| {
        let prefix = format!("--define-variable=prefix={}", package.join("usr").display());
        let mut command = Command::new("pkg-config");
        let found = std::fs::read_dir(package.join("usr/lib")).expect("libraries").next().expect("one").expect("read");
        command.env("PKG_CONFIG_PATH", found.path().join("pkgconfig"));
        command.args([&prefix, variable, "cloudsnooze"]);
        let text = program::run(&mut command, LIMIT).and_then(|output| output.success("pkg-config"));
        text.unwrap_or_else(|error| panic!("{error}")).trim().to_owned()
    };
    let include = pkg_config("--variable=includedir");
    assert!(Path::new(&include).join("cloudsnooze/cloudsnooze.h").is_file(), "{include}");
    assert!(pkg_config("--variable=plugindir").ends_with("-linux-gnu/cloudsnooze/plugins"));
    assert_eq!(pkg_config("--variable=abi_version"), "1");
    let mut files = Vec::new();
    for (name, compilers) in EXAMPLES {
        let sources = package.join("usr/share/doc/cloudsnooze-dev/examples").join(name);
        let missing = compilers.iter().chain(&["make", "cmake"]).find(|tool| program::find(tool).is_none());
        if let Some(tool) = missing {
            require::missing_means_skip(&format!("the example {name} built from the package: there is no {tool}"));
            continue;
        }
        let must = |command: &mut Command| {
            let done = program::run(command, Duration::from_secs(300)).and_then(|output| output.success(name));
            done.unwrap_or_else(|error| panic!("{error}"));
        };
        let made = work.join(format!("make-{name}"));
        std::fs::create_dir_all(&made).expect("a directory");
        let assign = |key: &str, value: &Path| format!("{key}={}", value.display());
        must(
            Command::new("make")
                .arg("-C")
                .arg(&sources)
                .args([assign("INCLUDE", include.as_ref()), assign("OUT", &made)]),
        );
        let built = work.join(format!("cmake-{name}"));
        let prefix = format!("-DCMAKE_PREFIX_PATH={}", package.join("usr").display());
        must(Command::new("cmake").arg("-S").arg(&sources).arg("-B").arg(&built).arg(&prefix));
        must(Command::new("cmake").arg("--build").arg(&built));
        files.push((made.join(format!("{name}.so")), format!("make/{name}.so")));
        files.push((built.join(format!("{name}.so")), format!("cmake/{name}.so")));
    }
    files
}

/// Packages the template as docs/packaging.md says; None where there is no compiler.
fn own_package(debs: &Debs) -> Option<PathBuf> {
    if program::find("gcc").is_none() {
        require::missing_means_skip("a package of a plugin of one's own: there is no gcc");
        return None;
    }
    let development = debs.directory().join("cloudsnooze-dev.d");
    let (work, template) =
        (debs.directory().join(OWN), development.join("usr/share/doc/cloudsnooze-dev/examples/template"));
    std::fs::create_dir_all(work.join("debian/source")).expect("a directory");
    for (from, to) in [("template.c", "my-flusher.c"), ("Makefile", "Makefile")] {
        let text = std::fs::read_to_string(template.join(from)).expect("the template");
        std::fs::write(work.join(to), text.replace("template", OWN)).expect("written");
    }
    // Each file of the document: its name, then its lines, which stand four columns further in.
    let document = std::fs::read_to_string(tree().join("docs/packaging.md")).expect("the document");
    let mut file = PathBuf::new();
    for line in document.lines() {
        if let Some(name) = line.strip_prefix("debian/") {
            file = work.join("debian").join(name.split(' ').next().unwrap_or_default());
            std::fs::write(&file, "").expect("written");
        } else if !file.as_os_str().is_empty() && (line.is_empty() || line.starts_with("    ")) {
            let text = std::fs::read_to_string(&file).expect("begun") + line.get(4..).unwrap_or_default() + "\n";
            std::fs::write(&file, text.trim_start_matches('\n')).expect("written");
        } else {
            file = PathBuf::new();
        }
    }
    std::fs::set_permissions(work.join("debian/rules"), Permissions::from_mode(0o755)).expect("executable");
    let libraries =
        std::fs::read_dir(development.join("usr/lib")).expect("libraries").next().expect("one").expect("read");
    let mut build = Command::new("dpkg-buildpackage");
    build.current_dir(&work).args(["-b", "-us", "-uc", "-d"]).env_remove("MAKEFLAGS").env_remove("MAKELEVEL");
    build.env("PKG_CONFIG_PATH", libraries.path().join("pkgconfig"));
    // The package is unpacked and not installed: where its prefix is has to be said.
    let tools = work.join("tools");
    let said = format!(
        "#!/bin/sh\nexec {} --define-variable=prefix={} \"$@\"\n",
        program::find("pkg-config").expect("checked").display(),
        development.join("usr").display()
    );
    std::fs::create_dir_all(&tools).expect("a directory");
    std::fs::write(tools.join("pkg-config"), said).expect("written");
    std::fs::set_permissions(tools.join("pkg-config"), Permissions::from_mode(0o755)).expect("executable");
    build.env("PATH", format!("{}:{}", tools.display(), std::env::var("PATH").unwrap_or_default()));
    let built =
        program::run(&mut build, Duration::from_secs(300)).and_then(|output| output.success("dpkg-buildpackage"));
    built.unwrap_or_else(|error| panic!("{error}"));
    Some(debs.file(OWN).expect("made"))
}

fn installed_it_serves_in_a_sandbox_with_real_time(machine: &Machine) {
    machine.install(&["cloudsnooze.deb", "cloudsnooze-plugins-basic.deb", "cloudsnooze-dev.deb"]);
    machine.until("the service", || (machine.property("ActiveState") == "active").then_some(()));
    assert_eq!(machine.0.sh(&format!("systemctl is-enabled {UNIT}")), "enabled");
    let status = machine.0.sh(&format!("cat /proc/{}/status", machine.pid()));
    let of = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.unwrap_or_else(|| panic!("no {key} in {status}")).split_whitespace().next().unwrap_or_default().to_owned()
    };
    assert_eq!(of("Uid:"), machine.0.sh("id -u cloudsnooze"), "it is its own user");
    assert_ne!(of("Uid:"), "0");
    // CAP_SYS_NICE is bit 23 (capability.h), and nothing else is there, nor can it be had.
    for set in ["CapEff:", "CapBnd:", "CapPrm:"] {
        assert_eq!(of(set), "0000000000800000", "{set}");
    }
    assert_eq!((of("NoNewPrivs:"), of("Seccomp:")), ("1".into(), "2".into()), "{status}");
    let score = machine.0.sh(&format!("systemd-analyze security --no-pager {UNIT} | tail -n 1"));
    let number = score.split_whitespace().find_map(|word| word.parse::<f64>().ok());
    assert!(number.is_some_and(|number| number <= 2.0), "{score}");
    for (path, owner) in [
        (STATE, "750 cloudsnooze cloudsnooze"),
        ("/etc/cloudsnooze/credentials", "2750 root cloudsnooze"),
        ("/etc/cloudsnooze/cloudsnooze.json", "644 root root"),
        ("/run/cloudsnooze/control.sock", "660 cloudsnooze cloudsnooze"),
    ] {
        assert_eq!(machine.0.sh(&format!("stat -c '%a %U %G' {path}")), owner, "{path}");
    }
    let said = machine.0.sh(&format!("journalctl -u {UNIT} -o json --no-pager"));
    let lines: Vec<Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let is_ready = |line: &&Value| line["MESSAGE"] == "ready";
    let ready = lines.iter().find(is_ready).unwrap_or_else(|| panic!("{said}"));
    assert_eq!(
        (&ready["_TRANSPORT"], &ready["SYSLOG_IDENTIFIER"]),
        (&json!("journal"), &json!("snoozed")),
        "{ready:#}"
    );
    assert!(machine.property("StatusText").contains("0 handlers"), "{}", machine.property("StatusText"));
    let scheduling = machine.snooze("status")["dispatch"]["scheduling"].as_str().unwrap_or_default().to_owned();
    if !scheduling.starts_with("real-time") {
        require::not_for_this_machine(&format!("real time of the packaged service: it was granted {scheduling}"));
    }
    for page in [
        "man1/snooze.1",
        "man1/snooze-upgrade-ready.1",
        "man8/snoozed.8",
        "man8/snooze-plugin-host.8",
        "man5/cloudsnooze.json.5",
    ] {
        machine
            .0
            .sh(&format!("test -s /usr/share/man/{page}.gz || grep -q 'path-exclude.*man' /etc/dpkg/dpkg.cfg.d/*"));
    }
}

/// Handlers of three packages' plugins, one of them in a process of its own, and a secret that only root and the daemon may read.
fn config() -> Value {
    let write = format!("id -un > {STATE}/who && echo done > {STATE}/saved");
    json!({
        "event_handlers": {
            "cloud.spot.interrupt": { "plugins": [
                { "name": "exec", "priority": 90, "isolation": "process", "config": { "shell": write } },
                { "name": "sync-filesystems", "priority": 50, "config": { "mount_points": ["/"] } },
                { "name": "verify-state", "priority": 5, "config": { "checks": [
                    { "file": format!("{STATE}/saved"), "newer_than_event": true, "min_bytes": 4 },
                ] } },
            ] },
            "custom.tell": { "plugins": [
                { "name": "slack-notifier", "config": { "webhook_url": { "credential": "slack-webhook" } } },
            ] },
        },
        "sources": { "aws": {
            "enabled": true, "endpoint": format!("http://{METADATA}"), "polling_interval_seconds": 0.5,
            "hurried_interval_seconds": 0.5,
        } },
    })
}

fn an_interruption_is_handled_by_three_packaged_plugins(machine: &Machine) {
    machine.0.sh("umask 027; echo http://127.0.0.1:9/hook > /etc/cloudsnooze/credentials/slack-webhook");
    machine.configure("10-handlers", &config());
    // Which clouds are watched is read at the start.
    machine.act("restart");
    let service = format!("snooze mock-metadata --listen {METADATA} --notice-in 3s --action terminate");
    machine.0.sh(&format!("systemd-run --quiet --unit=metadata {service}"));
    let report = machine.until("the report of an interruption", || {
        let events = machine.snooze("events --limit 1 --type cloud.spot.interrupt");
        let id = events["events"].get(0)?["event_id"].as_str()?.to_owned();
        Some(machine.snooze(&format!("report {id}"))).filter(|report| report["state"] == "completed")
    });
    assert_eq!(report["event"]["source"], "aws.ec2.metadata-service", "{report:#}");
    for name in ["exec", "sync-filesystems", "verify-state"] {
        assert_eq!(handler(&report, name)["status"], "handled", "{name}: {report:#}");
    }
    assert_eq!(machine.0.sh(&format!("cat {STATE}/who")), "cloudsnooze");
    let isolated = machine.instance("cloud.spot.interrupt/exec").expect("configured");
    let detail = isolated["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("seccomp: ") && !detail.contains("NOT enforced"), "what it gives up is refused: {detail}");
    machine.0.sh("systemctl stop metadata.service");
}

fn a_bad_configuration_fails_the_reload_and_the_old_goes_on(machine: &Machine) {
    let pid = machine.pid();
    machine.configure(
        "99-bad",
        &json!({ "event_handlers": { "custom.bad": { "plugins": [{ "name": "no-such-plugin" }] } } }),
    );
    let reload = machine.run(&format!("systemctl reload {UNIT}"));
    assert_ne!(reload.code, Some(0), "{reload:?}");
    assert!(machine.log().contains("no-such-plugin"), "{}", machine.log());
    assert_eq!((machine.property("ActiveState"), machine.pid()), ("active".into(), pid.clone()));
    assert!(machine.instance("cloud.spot.interrupt/exec").is_some(), "the old one goes on");
    // A daemon that is started with it stays where it is: it would be as wrong a moment later.
    machine.run(&format!("systemctl restart {UNIT}"));
    assert_eq!(machine.property("ActiveState"), "failed");
    assert_eq!((machine.property("ExecMainStatus"), machine.property("NRestarts")), ("78".into(), "0".into()));
    machine.0.sh("rm /etc/cloudsnooze/conf.d/99-bad.json");
    machine.act("start");
    machine.act("reload");
}

/// Each drop-in is read without a complaint; those that need nothing of the machine are started with.
fn drop_ins_are_taken(machine: &Machine) {
    let names = machine.0.sh("cd /usr/share/doc/cloudsnooze/dropins && ls *.conf");
    let folder = format!("/run/systemd/system/{UNIT}.d");
    machine.0.sh(&format!("mkdir -p {folder}; echo http://127.0.0.1:9/passed > /etc/cloudsnooze/slack-webhook"));
    for name in names.lines() {
        machine.0.sh(&format!("cp /usr/share/doc/cloudsnooze/dropins/{name} {folder}/ && systemctl daemon-reload"));
        let verified = machine.run(&format!("systemd-analyze verify --man=no {UNIT}"));
        assert_eq!((verified.code, verified.stderr.trim()), (Some(0), ""), "{name}");
        // Docker's and libvirt's groups come with them.
        if !["containers.conf", "libvirt.conf"].contains(&name) {
            machine.act("restart");
            assert_eq!(machine.snooze("status")["pid"].to_string(), machine.pid(), "{name}");
        }
        machine.0.sh(&format!("rm {folder}/{name}"));
    }
    assert!(names.lines().count() >= 10, "{names}");
    machine.0.sh(&format!("rmdir {folder}; rm /etc/cloudsnooze/slack-webhook; systemctl daemon-reload"));
    machine.act("restart");
}

fn a_stopped_daemon_is_killed_and_started_again(machine: &Machine) {
    let (pid, restarts) = (machine.pid(), machine.property("NRestarts"));
    machine.0.sh(&format!("kill -STOP {pid}"));
    machine.until("the watchdog", || (machine.property("NRestarts") != restarts).then_some(()));
    machine.until("the service", || (machine.property("ActiveState") == "active").then_some(()));
    assert_ne!(machine.pid(), pid);
    assert!(machine.log().contains("Watchdog timeout"), "{}", machine.log());
    assert!(machine.instance("cloud.spot.interrupt/exec").is_some_and(|instance| instance["state"] == "active"));
}

fn a_new_plugin_is_picked_up_once(machine: &Machine) {
    let name = "custom.flush/sqlite-flusher";
    let plugins = json!([{ "name": "sqlite-flusher", "config": { "paths": [format!("{STATE}/some.db")] } }]);
    machine.configure("20-new", &json!({ "event_handlers": { "custom.flush": { "plugins": plugins } } }));
    assert_ne!(machine.run(&format!("systemctl reload {UNIT}")).code, Some(0), "it is not there yet");
    let (pid, since) = (machine.pid(), machine.0.sh("date '+%Y-%m-%d %H:%M:%S'"));
    machine.install(&["cloudsnooze-plugin-sqlite-flusher.deb", "cloudsnooze-plugin-slurm-requeue.deb"]);
    let found = machine.instance(name).unwrap_or_else(|| panic!("{}", machine.log()));
    assert!(found["path"].as_str().is_some_and(|path| path.contains("-linux-gnu/cloudsnooze/plugins/")), "{found:#}");
    assert_eq!(machine.pid(), pid, "without a restart");
    let log = machine.0.sh(&format!("journalctl -u {UNIT} -o cat --no-pager --since '{since}'"));
    let reloads = log.lines().filter(|line| line.starts_with("Reloaded ")).count();
    assert_eq!(reloads, 1, "one run of apt is one reload: {log}");
}

fn plugins_built_from_the_development_package_run(machine: &Machine, examples: &[(PathBuf, String)]) {
    for way in ["make", "cmake"] {
        let has = |name: &str| examples.iter().any(|(_, to)| *to == format!("{way}/{name}.so"));
        let names: Vec<&str> = EXAMPLES.iter().map(|(name, _)| *name).filter(|name| has(name)).collect();
        if names.is_empty() {
            continue;
        }
        let handlers: Vec<Value> = names
            .iter()
            .filter(|name| **name != "source")
            .map(|name| match *name {
                "template" => json!({ "name": name }),
                _ => json!({ "name": name, "config": { "file": format!("{STATE}/{way}-{name}") } }),
            })
            .collect();
        let mut config = json!({ "event_handlers": { "custom.example": { "plugins": handlers } } });
        if has("source") {
            let settings =
                json!({ "socket": "/run/cloudsnooze/nimbus.sock", "acknowledgements": format!("{STATE}/nimbus") });
            config["sources"] = json!({ "plugins": [{ "name": "source", "id": "nimbus", "config": settings }] });
        }
        machine.0.sh(&format!("install -D -m 644 -t {LOCAL} {HOME}/{way}/*.so"));
        machine.configure("30-examples", &config);
        machine.act("restart");
        let report = machine.snooze("simulate custom.example --in 60s --wait");
        for name in names.iter().filter(|name| **name != "source") {
            let expected = if *name == "template" { "declined" } else { "handled" };
            assert_eq!(handler(&report, name)["status"], expected, "{way}: {name}: {report:#}");
        }
        let status = machine.snooze("status");
        let sources = status["sources"].as_array().expect("sources");
        let nimbus = sources.iter().find(|source| source["name"].as_str().is_some_and(|name| name.contains("nimbus")));
        assert!(!has("source") || nimbus.is_some(), "{way}: {status:#}");
    }
    machine.0.sh("rm -rf /usr/local/lib/cloudsnooze /etc/cloudsnooze/conf.d/30-examples.json");
    machine.act("restart");
}

fn a_plugin_of_ones_own_comes_as_a_package(machine: &Machine) {
    if machine.run(&format!("test -e {HOME}/debs/{OWN}.deb")).code != Some(0) {
        return;
    }
    machine.install(&[&format!("{OWN}.deb")]);
    let listed = machine.0.sh("snooze plugin list");
    assert!(listed.contains(OWN), "{listed}");
    assert_eq!(machine.0.sh(&format!("dpkg-query -W -f '${{Depends}}' {OWN} | grep -c cloudsnooze-abi-1")), "1");
    machine.0.sh(&format!("apt-get purge -y {OWN} 2>&1"));
}

fn an_upgrade_waits_for_the_event_in_progress(machine: &Machine) {
    let version = "dpkg-query -W -f '${Version} ${db:Status-Status}' cloudsnooze";
    let slow = format!("until [ -e {STATE}/go-on ]; do sleep 0.1; done; {version} > {STATE}/during");
    let plugins = json!([{ "name": "exec", "timeout_seconds": 200, "config": { "shell": slow } }]);
    machine.configure("40-slow", &json!({ "event_handlers": { "custom.slow": { "plugins": plugins } } }));
    let changed = "s|\"event_handlers\": {}|\"event_handlers\": {}, \"log\": {\"level\": \"debug\"}|";
    machine.0.sh(&format!("sed -i '{changed}' /etc/cloudsnooze/cloudsnooze.json"));
    machine.act("reload");
    let pid = machine.pid();
    let event = machine.snooze("simulate custom.slow --in 300s");
    machine.until("the event", || (machine.run("snooze upgrade-ready").code == Some(124)).then_some(()));
    let apt = format!("{APT} {HOME}/debs/cloudsnooze-next.deb > /run/upgrade.log 2>&1");
    machine.0.sh(&format!("systemd-run --quiet --no-block --unit=upgrade -p RemainAfterExit=yes sh -c '{apt}'"));
    let upgrade = || machine.0.sh("systemctl show -P SubState upgrade.service");
    machine.until("the upgrade to wait", || {
        assert_ne!(upgrade(), "exited", "it did not wait: {}", machine.0.sh("cat /run/upgrade.log"));
        // Written so that it does not find itself.
        (machine.run("grep -qsa [u]pgrade-ready /proc/[0-9]*/cmdline").code == Some(0)).then_some(())
    });
    machine.0.sh(&format!("touch {STATE}/go-on"));
    machine.until("the upgrade", || (upgrade() == "exited").then_some(()));
    // What dpkg calls a package whose prerm runs.
    let during = machine.0.sh(&format!("cat {STATE}/during"));
    assert_eq!(during, format!("{VERSION} half-configured"), "while the event was in progress nothing was replaced");
    assert_eq!(machine.0.sh(version), format!("{NEXT} installed"));
    machine.until("the service", || (machine.property("ActiveState") == "active").then_some(()));
    assert_ne!(machine.pid(), pid, "the new daemon runs");
    let id = event["event_id"].as_str().expect("an id");
    let report = machine.snooze(&format!("report {id}"));
    assert_eq!(handler(&report, "exec")["status"], "handled", "{report:#}");
    assert!(machine.0.sh("cat /etc/cloudsnooze/cloudsnooze.json").contains("debug"), "what its owner wrote is kept");
    assert_eq!(machine.run("snooze upgrade-ready").code, Some(0));
    machine.0.sh("systemctl stop upgrade.service; rm /run/upgrade.log");
}

fn removed_it_keeps_what_is_the_owners_and_purged_it_leaves_nothing(machine: &Machine, before: &str) {
    let all = "$(dpkg-query -W -f '${Package} ' 'cloudsnooze*')";
    machine.0.sh(&format!("apt-get remove -y {all} 2>&1"));
    assert_eq!(machine.run(&format!("systemctl is-active {UNIT}")).stdout.trim(), "inactive");
    machine.0.sh(&format!("test -e {STATE}/history.sqlite && test -e /etc/cloudsnooze/cloudsnooze.json"));
    assert_ne!(machine.run("command -v snoozed").code, Some(0));
    machine.0.sh(&format!("apt-get purge -y {all} 2>&1"));
    let after = machine.0.sh(LISTED);
    let known: std::collections::BTreeSet<&str> = before.lines().collect();
    let left: Vec<&str> = after.lines().filter(|path| !known.contains(path)).collect();
    assert_eq!(left, Vec::<&str>::new());
    assert_eq!(
        machine.0.sh("find /run /var/lib/dpkg /var/lib/systemd -iname '*cloudsnooze*' -not -path '/run/log/*'"),
        ""
    );
}

#[test]
fn the_packages_say_the_version_that_is_built() {
    let read = |path: &str| std::fs::read_to_string(tree().join(path)).expect(path);
    let cargo = read("Cargo.toml");
    let version = cargo.lines().find_map(|line| line.strip_prefix("version = ")).expect("a version").trim_matches('"');
    let abi = read("abi/src/version.rs");
    let major =
        abi.lines().find_map(|line| line.strip_prefix("pub const SNOOZE_ABI_MAJOR: ")).expect("a major version");
    let major = major.trim_end_matches(';').rsplit(' ').next().expect("a number");
    for (file, line) in [
        ("debian/control", format!("Provides: cloudsnooze-abi-{major}\n")),
        ("dist/rpm/cloudsnooze.spec", format!("Provides:       cloudsnooze-abi-{major}\n")),
        ("include/cloudsnooze.pc.in", format!("abi_version={major}\n")),
    ] {
        assert!(read(file).contains(&line), "{file}");
    }
    assert!(read("debian/changelog").starts_with(&format!("cloudsnooze ({version}) ")), "debian/changelog");
}
