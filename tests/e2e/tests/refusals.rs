//! A plugin that is wrong is refused with a sentence that names what differs, before any of its code runs: by `snooze plugin`
//! and by a daemon that does not start with it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use e2e::zoo::Zoo;
use harness::daemon::DaemonBuilder;
use harness::program::Output;
use harness::{program, require};
use nix::unistd::{Uid, chown};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{LittleEndian, elf};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(30);

/// How far a plugin gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reaches {
    /// Its file is looked at; nothing of it runs.
    Looked,
    /// Its names and its schema can only be had from the mapped library: constructors run, `create` does not.
    Mapped,
    /// What it is can be told, but its settings or its schema do not fit.
    Described,
    /// `create` runs.
    Created,
}

/// A wrong plugin.
struct Wrong {
    /// Its file, `NAME.so` or `NAME.plugin.json`.
    file: PathBuf,
    /// Members of its handler in the configuration, besides the name.
    handler: Value,
    code: &'static str,
    /// Every part of what has to be said.
    says: Vec<String>,
    reaches: Reaches,
    /// Whether its code marks what ran.
    is_marked: bool,
}

/// Builds `refused.c` as the plugin NAME; its marks are NAME.loaded, NAME.created and NAME.destroyed.
fn build(zoo: &Zoo, name: &str, flags: &[&str]) -> PathBuf {
    build_as(zoo, name, name, flags)
}

/// The same with another name inside than that of the file.
fn build_as(zoo: &Zoo, name: &str, inside: &str, flags: &[&str]) -> PathBuf {
    let (inside, marks) = (format!("-DNAME=\"{inside}\""), format!("-DMARKS=\"{}\"", zoo.join(name).display()));
    let all: Vec<&str> = [inside.as_str(), &marks].into_iter().chain(flags.iter().copied()).collect();
    zoo.c("refused.c", &format!("{name}.so"), &all)
}

fn wrong(file: PathBuf, code: &'static str, says: &[&str]) -> Wrong {
    let says = says.iter().map(|part| (*part).to_owned()).collect();
    Wrong { file, handler: json!({}), code, says, reaches: Reaches::Looked, is_marked: true }
}

impl Wrong {
    fn reaches(self, reaches: Reaches) -> Self {
        Self { reaches, ..self }
    }

    fn handler(self, handler: Value) -> Self {
        Self { handler, ..self }
    }

    fn unmarked(self) -> Self {
        Self { is_marked: false, ..self }
    }

    fn name(&self) -> &str {
        let name = self.file.file_stem().and_then(|name| name.to_str()).expect("a file name");
        name.strip_suffix(".plugin").unwrap_or(name)
    }

    /// Everything that this test is about, for one wrong plugin.
    fn is_refused(&self, zoo: &Zoo) {
        if self.handler.get("sha256").is_none() {
            self.is_refused_by_snooze(zoo);
        }
        self.is_refused_by_snoozed(zoo);
        let mark = |what: &str| self.is_marked && self.file.with_extension(what).exists();
        let (loaded, created) = (mark("loaded"), mark("created"));
        assert!(!loaded || self.reaches > Reaches::Looked, "{}: code of it ran while it was loaded", self.name());
        assert!(!created || self.reaches == Reaches::Created, "{}: create ran", self.name());
    }

    fn is_refused_by_snooze(&self, zoo: &Zoo) {
        let file = self.file.to_str().expect("UTF-8");
        let settings =
            zoo.write("settings.json", self.handler.get("config").unwrap_or(&json!({})).to_string().as_bytes());
        let settings = settings.to_str().expect("UTF-8");
        let code = if self.code == "PERMISSIONS" { 77 } else { 1 };
        if self.reaches < Reaches::Described {
            let told = snooze(zoo, &["plugin", "info", file]);
            assert_eq!(told.code, Some(code), "{}: {told:?}", self.name());
            self.is_told_in(&told.stderr);
            assert!(told.stderr.contains(&format!("({})", self.code)), "{}: {}", self.name(), told.stderr);
            self.is_told_as(&json(&snooze(zoo, &["plugin", "info", file, "--json"]))["refused"]);
        }
        let test = ["plugin", "load-test", file, "--config-file", settings];
        let told = snooze(zoo, &test);
        assert_eq!(told.code, Some(1), "{}: {told:?}", self.name());
        assert!(told.stdout.contains(&format!("refused ({})", self.code)), "{}: {}", self.name(), told.stdout);
        self.is_told_in(&told.stdout);
        let told = snooze(zoo, &[&test[..], &["--json"]].concat());
        assert_eq!(told.code, Some(1), "{}: {told:?}", self.name());
        let told = json(&told);
        let steps = told["steps"].as_array().expect("steps");
        self.is_told_as(&steps.last().expect("a step")["refused"]);
        let is_made = steps.iter().any(|step| step["step"] == "create and activate");
        assert_eq!(is_made, self.reaches == Reaches::Created, "{}: {told:#}", self.name());
    }

    fn is_refused_by_snoozed(&self, zoo: &Zoo) {
        let mut handler = self.handler.clone();
        handler["name"] = json!(self.name());
        // A good one first: that the second is refused must not leave the first at work.
        let config = json!({"event_handlers": {"custom.refused": {"plugins": [{"name": "good"}, handler]}}});
        let directory = self.file.parent().expect("a directory");
        let builder = DaemonBuilder::new(zoo.bin()).config(config).plugin_directory(directory);
        let daemon = builder.plugin_directory(zoo.path()).prepare().expect("prepared");
        let mut command = Command::new(zoo.bin().join("snoozed"));
        let told = program::run(command.arg("--config").arg(daemon.config_file()), LIMIT).expect("it ended");
        assert_eq!(told.code, Some(78), "{}: {told:?}", self.name());
        self.is_told_in(&told.stderr);
        let key = if self.code == "CONFIG" { "config" } else { "name" };
        let key = if self.handler.get("sha256").is_some() { "sha256" } else { key };
        let place = format!("{}: event_handlers[\"custom.refused\"].plugins[1].{key}", daemon.config_file().display());
        for part in [place.as_str(), self.name()] {
            assert!(told.stderr.contains(part), "{}: no {part} in: {}", self.name(), told.stderr);
        }
        assert!(!daemon.socket().exists(), "{}: a socket was left", self.name());
    }

    fn is_told_in(&self, text: &str) {
        for part in &self.says {
            assert!(text.contains(part), "{}: no '{part}' in: {text}", self.name());
        }
    }

    fn is_told_as(&self, refused: &Value) {
        assert_eq!(refused["code"], self.code, "{}: {refused}", self.name());
        self.is_told_in(refused["reason"].as_str().unwrap_or_default());
    }
}

fn snooze(zoo: &Zoo, args: &[&str]) -> Output {
    program::run(Command::new(zoo.bin().join("snooze")).args(args), LIMIT).expect("snooze ended")
}

fn json(told: &Output) -> Value {
    serde_json::from_str(&told.stdout).unwrap_or_else(|error| panic!("not JSON ({error}): {told:?}"))
}

fn zoo(what: &str, needed: &[&str]) -> Option<Zoo> {
    let zoo = Zoo::open(what, &[&["cc"], needed].concat())?;
    build(&zoo, "good", &[]);
    Some(zoo)
}

/// Without this, every refusal below could have another cause than the one that is named.
#[test]
fn the_same_source_is_taken_when_nothing_is_wrong_with_it() {
    let Some(zoo) = zoo("a plugin without fault is taken", &[]) else { return };
    let good = zoo.join("good.so");
    let good = good.to_str().expect("UTF-8");
    assert_eq!(json(&snooze(&zoo, &["plugin", "info", good, "--json"]))["name"], "good");
    let told = snooze(&zoo, &["plugin", "load-test", good]);
    assert_eq!(told.code, Some(0), "{told:?}");
    for mark in ["loaded", "created", "destroyed"] {
        assert!(zoo.join("good").with_extension(mark).exists(), "the mark {mark} would not be made");
    }
    // Built against a later header, but content with this one: what the host does not know of it is only more.
    build(&zoo, "newer", &["-DMINOR_BUILT=9", "-DDIGEST=0x1234"]);
    let handlers = json!([{"name": "good"}, {"name": "newer"}]);
    let config = json!({"event_handlers": {"custom.refused": {"plugins": handlers}}});
    let daemon = DaemonBuilder::new(zoo.bin()).config(config).plugin_directory(zoo.path()).start();
    daemon.expect("it starts").stop().expect("it stops");
}

#[test]
fn an_entry_record_of_another_abi_is_refused_by_its_numbers_before_any_code_runs() {
    let Some(zoo) = zoo("entry records of another ABI are refused", &[]) else { return };
    let cases: [(&str, &str, &str, &[&str]); 7] = [
        ("major", "-DMAJOR=2", "MAJOR", &["plugin ABI major 2", "this host speaks major 1"]),
        ("minor", "-DMINOR_REQUIRED=7", "NEEDS_MINOR", &["needs plugin ABI 1.7 or newer", "this host offers 1.0"]),
        ("layout", "-DDIGEST=0x1234", "DIGEST", &["built against a changed header", "0x0000000000001234", "ABI 1.0"]),
        ("magic", "-DMAGIC=0x4b4e554a", "BAD_MAGIC", &["0x000000004b4e554a", "0x3176455a4f4f4e53"]),
        ("pointers", "-DPOINTER_BITS=32", "POINTER_BITS", &["32-bit pointers, expected 64"]),
        ("size", "-DENTRY_BYTES=104", "ENTRY_SIZE", &["is 104 bytes, expected at least 112"]),
        ("symbol", "-DENTRY=some_plugin_entry", "NO_ENTRY", &["snooze_plugin_entry_v1 is missing"]),
    ];
    for (name, flag, code, says) in cases {
        wrong(build(&zoo, name, &[flag]), code, says).is_refused(&zoo);
    }
}

#[test]
fn a_file_that_is_no_library_for_this_machine_is_refused_before_any_code_runs() {
    let Some(zoo) = zoo("files that are no libraries are refused", &[]) else { return };
    let alien = build(&zoo, "alien", &[]);
    // e_machine stands at byte 18 (elf(5)); 243 is RISC-V.
    let alien = zoo.patched(&alien, "alien.so", |bytes| bytes[18..20].copy_from_slice(&243u16.to_le_bytes()));
    let native = if cfg!(target_arch = "aarch64") { "aarch64" } else { "x86-64" };
    wrong(alien, "WRONG_MACHINE", &["built for risc-v", native]).is_refused(&zoo);
    let narrow = build(&zoo, "narrow", &[]);
    let narrow = zoo.patched(&narrow, "narrow.so", |bytes| bytes[4] = 1);
    wrong(narrow, "WRONG_MACHINE", &["ELF class 1", native]).is_refused(&zoo);
    wrong(zoo.write("script.so", b"#!/bin/sh\n"), "NOT_ELF", &["23 21 2f 62"]).unmarked().is_refused(&zoo);
    wrong(zoo.write("empty.so", b""), "NOT_ELF", &["it is empty"]).unmarked().is_refused(&zoo);
    let program = build(&zoo, "program", &["-DPROGRAM", "-no-pie", "-rdynamic"]);
    wrong(program, "NOT_SHARED", &["it is a program"]).is_refused(&zoo);
    // To its header a program of today is a library; the dynamic linker knows better.
    let pie = build(&zoo, "pie", &["-DPROGRAM", "-pie", "-rdynamic"]);
    wrong(pie, "UNRESOLVED", &["the dynamic linker refused it", "pie.so"]).is_refused(&zoo);
    let object = build(&zoo, "object", &["-DPROGRAM", "-c"]);
    wrong(object, "NOT_SHARED", &["it is an object file"]).is_refused(&zoo);
}

#[test]
fn a_library_cut_anywhere_is_refused_before_any_code_runs() {
    let Some(zoo) = zoo("truncated libraries are refused", &[]) else { return };
    let whole = build(&zoo, "cut", &[]);
    let bytes = fs::read(&whole).expect("readable");
    let header = elf::FileHeader64::<LittleEndian>::parse(&*bytes).expect("ELF");
    let segments = header.program_headers(LittleEndian, &*bytes).expect("segments");
    let ends = segments.iter().map(|s| s.p_offset(LittleEndian) + s.p_filesz(LittleEndian));
    let last = usize::try_from(ends.max().expect("a segment")).expect("small");
    // In the header, behind it, in the code, one byte before the end of what is mapped, before the section headers, in them.
    for length in [3, 40, 64, bytes.len() / 4, last - 1, last, bytes.len() - 70, bytes.len() - 1] {
        let cut = zoo.write("cut.so", &bytes[..length]);
        let (code, says) =
            if length < 4 { ("NOT_ELF", "not an ELF file") } else { ("TRUNCATED", "the file is truncated") };
        wrong(cut, code, &[says]).is_refused(&zoo);
    }
}

#[test]
fn a_library_that_would_weaken_the_process_is_refused_before_any_code_runs() {
    let Some(zoo) = zoo("executable stacks and text relocations are refused", &[]) else { return };
    let stack = build(&zoo, "stack", &["-Wl,-z,execstack"]);
    wrong(stack, "EXEC_STACK", &["asks for an executable stack", "-Wl,-z,noexecstack"]).is_refused(&zoo);
    let text = build(&zoo, "text", &["-DTEXT_RELOCATION", "-Wl,-z,notext"]);
    wrong(text, "TEXT_RELOCATIONS", &["text relocations", "-fPIC"]).is_refused(&zoo);
    let lost = build(&zoo, "lost", &["-DUNRESOLVED"]);
    wrong(lost, "UNRESOLVED", &["lost.so", "undefined symbol: nobody_has_this_function"]).is_refused(&zoo);
}

#[test]
fn a_file_that_somebody_else_could_change_is_refused_before_any_code_runs() {
    let Some(zoo) = zoo("files that others can write are refused", &[]) else { return };
    let mode = |path: &Path, mode: u32| fs::set_permissions(path, Permissions::from_mode(mode)).expect("mode");
    let loose = build(&zoo, "loose", &[]);
    mode(&loose, 0o666);
    wrong(loose, "PERMISSIONS", &["loose.so: is writable for everybody (mode 0666)", "chmod go-w"]).is_refused(&zoo);
    let shared = build(&zoo, "shared", &[]);
    mode(&shared, 0o775);
    wrong(shared, "PERMISSIONS", &["shared.so: is writable for its group (mode 0775)"]).is_refused(&zoo);

    for (name, bits, who) in [("open", 0o777, "everybody"), ("team", 0o775, "its group")] {
        let directory = zoo.join(name);
        fs::create_dir(&directory).expect("a directory");
        let inside = directory.join("inside.so");
        fs::rename(build(&zoo, "inside", &[]), &inside).expect("moved");
        mode(&directory, bits);
        let says = format!("{}: is writable for {who} (mode {bits:04o})", directory.display());
        wrong(inside, "PERMISSIONS", &[&says]).is_refused(&zoo);
        assert!(!zoo.join("inside.loaded").exists(), "code of it ran");
    }
}

#[test]
fn a_file_of_another_user_is_refused_before_any_code_runs() {
    if !Uid::effective().is_root() {
        require::missing_means_skip("a plugin of another user is refused: only root can give a file away");
        return;
    }
    let Some(zoo) = zoo("a plugin of another user is refused", &[]) else { return };
    let foreign = build(&zoo, "foreign", &[]);
    chown(&foreign, Some(Uid::from_raw(65534)), None).expect("given away");
    wrong(foreign, "PERMISSIONS", &["foreign.so: is owned by user 65534", "expected root"]).is_refused(&zoo);
}

/// A link is as good as what it leads to and as where it stands.
#[test]
fn a_link_is_trusted_when_its_target_and_its_own_directory_are() {
    let Some(zoo) = zoo("links to plugins are judged by their targets", &[]) else { return };
    let link = |target: &Path, name: &str| {
        let link = zoo.join(name);
        symlink(target, &link).expect("a link");
        link
    };
    let elsewhere = zoo.join("elsewhere");
    fs::create_dir(&elsewhere).expect("a directory");
    let target = elsewhere.join("linked-1.0.so");
    fs::rename(build(&zoo, "linked", &[]), &target).expect("moved");
    let taken = link(&target, "linked.so");
    let told = snooze(&zoo, &["plugin", "load-test", taken.to_str().expect("UTF-8")]);
    assert_eq!(told.code, Some(0), "{told:?}");

    let open = zoo.join("open");
    fs::create_dir(&open).expect("a directory");
    let target = open.join("target.so");
    fs::rename(build(&zoo, "target", &[]), &target).expect("moved");
    fs::set_permissions(&open, Permissions::from_mode(0o777)).expect("mode");
    let says = format!("{}: is writable for everybody", open.display());
    wrong(link(&target, "target.so"), "PERMISSIONS", &[&says]).is_refused(&zoo);

    // Whoever can write where the link stands chooses which of the trusted libraries is run.
    let choice = open.join("good.so");
    symlink(zoo.join("good.so"), &choice).expect("a link");
    let told = snooze(&zoo, &["plugin", "info", choice.to_str().expect("UTF-8")]);
    assert_eq!(told.code, Some(77), "{told:?}");
    assert!(told.stderr.contains(&says), "{told:?}");
}

#[test]
fn what_is_no_regular_file_is_no_plugin() {
    let Some(zoo) = zoo("directories and pipes are no plugins", &[]) else { return };
    let directory = zoo.join("folder.so");
    fs::create_dir(&directory).expect("a directory");
    let pipe = zoo.join("pipe.so");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR | nix::sys::stat::Mode::S_IWUSR).expect("a pipe");
    for file in [directory, pipe] {
        let told = snooze(&zoo, &["plugin", "info", file.to_str().expect("UTF-8")]);
        assert_eq!(told.code, Some(77), "{told:?}");
        assert!(told.stderr.contains("(PERMISSIONS)") && told.stderr.contains("is not a regular file"), "{told:?}");
    }
    // By name, only files are looked for.
    let config = json!({"event_handlers": {"custom.refused": {"plugins": [{"name": "folder"}, {"name": "pipe"}]}}});
    let daemon = DaemonBuilder::new(zoo.bin()).config(config).plugin_directory(zoo.path()).prepare().expect("prepared");
    let mut command = Command::new(zoo.bin().join("snoozed"));
    let told = program::run(command.arg("--config").arg(daemon.config_file()), LIMIT).expect("it ended");
    assert_eq!(told.code, Some(78), "{told:?}");
    assert!(told.stderr.contains("no plugin 'folder'") && told.stderr.contains("no plugin 'pipe'"), "{}", told.stderr);
}

#[test]
fn a_file_that_differs_from_its_pin_is_refused_before_any_code_runs() {
    let Some(zoo) = zoo("a changed file is refused by its pin", &[]) else { return };
    let pinned = build(&zoo, "pinned", &[]);
    let pin = "a".repeat(64);
    let says = format!("the configuration pins {pin}");
    wrong(pinned, "PIN", &["sha256 is ", &says]).handler(json!({"sha256": pin})).is_refused(&zoo);
}

#[test]
fn a_class_record_that_does_not_fit_is_refused_before_an_instance_is_made() {
    let Some(zoo) = zoo("class records that do not fit are refused", &[]) else { return };
    let named = build_as(&zoo, "named", "another", &[]);
    let says = "the library holds 'another', not 'named': the name inside must agree with the file name";
    wrong(named, "NAME", &[says]).reaches(Reaches::Mapped).is_refused(&zoo);
    let cases: [(&str, &[&str], &str, &str); 5] = [
        ("small", &["-DCLASS_BYTES=56"], "INCOMPLETE", "class record of 'small' lacks a size of at least 64 bytes"),
        ("unmade", &["-DCREATE=NULL", "-Wno-unused"], "INCOMPLETE", "class record of 'unmade' lacks create"),
        ("nobody", &["-DCLASS_ID=\"\""], "INCOMPLETE", "class record of 'nobody' lacks an id"),
        ("ageless", &["-DVERSION=NULL"], "INCOMPLETE", "class record of 'ageless' lacks a version"),
        ("nonsense", &["-DSCHEMA=\"{\""], "BAD_SCHEMA", "its configuration schema is not usable"),
    ];
    for (name, flags, code, says) in cases {
        wrong(build(&zoo, name, flags), code, &[says]).reaches(Reaches::Mapped).is_refused(&zoo);
    }
}

#[test]
fn settings_that_do_not_fit_the_schema_are_refused_before_an_instance_is_made() {
    let Some(zoo) = zoo("settings that do not fit are refused", &[]) else { return };
    build(&zoo, "strict", &[]);
    let settings = json!({"config": {"rows": "hunter2", "colour": 7}});
    let says = ["config.rows: found a string, expected integer", "config: unknown key 'colour'"];
    let case = wrong(zoo.join("strict.so"), "CONFIG", &says).handler(settings).reaches(Reaches::Described);
    case.is_refused(&zoo);
    let odd = build(&zoo, "odd", &[r#"-DSCHEMA="{\"type\":\"nonsense\"}""#]);
    let says = ["its configuration schema is not usable"];
    wrong(odd, "BAD_SCHEMA", &says).reaches(Reaches::Described).is_refused(&zoo);
}

#[test]
fn an_instance_that_cannot_be_made_is_refused_in_the_plugins_own_words() {
    let Some(zoo) = zoo("instances that cannot be made are refused", &["c++"]) else { return };
    let cases: [(&str, &[&str], &str, &str); 6] = [
        ("eels", &["-DCREATE_FAILS"], "CREATE", "create failed: the disk is full of eels"),
        ("silent", &["-DCREATE_FAILS_SILENTLY"], "CREATE", "create failed: SNOOZE_E_BUSY (no text was reported)"),
        ("nothing", &["-DCREATE_MAKES_NOTHING"], "CREATE", "create failed: answered 0 but made no instance"),
        ("brief", &["-DTABLE_BYTES=32"], "CREATE", "the instance's table lacks on_event"),
        ("mute", &["-DON_EVENT=NULL", "-Wno-unused"], "CREATE", "the instance's table lacks on_event"),
        ("locked", &["-DACTIVATE_FAILS"], "ACTIVATE", "activate failed: the vault is locked"),
    ];
    for (name, flags, code, says) in cases {
        wrong(build(&zoo, name, flags), code, &[says]).reaches(Reaches::Created).is_refused(&zoo);
    }
    assert!(zoo.join("locked.destroyed").exists(), "what was created and could not be activated is destroyed");
    assert!(zoo.join("good.destroyed").exists(), "what was made beside a refused one is destroyed");

    zoo.rust("misbehaves-rs");
    zoo.cpp("misbehaves.cpp", "misbehaves-cpp.so", &[]);
    let rust = [
        ("new", "CREATE", "create failed: panicked: the bear in new woke up at "),
        ("activate", "ACTIVATE", "activate failed: panicked: the bear in activate woke up at "),
    ];
    for (function, code, says) in rust {
        let case =
            wrong(zoo.join("misbehaves-rs.so"), code, &[says]).handler(json!({"config": {"panics_in": function}}));
        case.reaches(Reaches::Created).is_refused(&zoo);
    }
    let cpp = [
        ("constructor", "a bear", "CREATE", "create failed: a bear was met in constructor"),
        ("constructor", "a number", "CREATE", "create failed: threw something that is no std::exception"),
        ("activate", "an error", "ACTIVATE", "activate failed: an ordinary failure in activate"),
    ];
    for (function, what, code, says) in cpp {
        let case = wrong(zoo.join("misbehaves-cpp.so"), code, &[says]);
        let case = case.handler(json!({"config": {"throws_in": function, "what": what}}));
        case.reaches(Reaches::Created).is_refused(&zoo);
    }
}

#[test]
fn an_external_plugin_that_cannot_be_started_is_refused_with_the_reason() {
    let Some(zoo) = zoo("external plugins that cannot be started are refused", &[]) else { return };
    let external = |name: &str, named: &str, command: &[&str]| {
        let manifest = json!({"name": named, "version": "1.0.0", "command": command, "startup_timeout_seconds": 0.5});
        zoo.write(&format!("{name}.plugin.json"), manifest.to_string().as_bytes())
    };
    let syntax = zoo.write("syntax.plugin.json", b"{\"name\": \"syntax\",}");
    wrong(syntax, "MANIFEST", &["syntax.plugin.json", "line 1"]).unmarked().is_refused(&zoo);
    let named = external("named", "another", &["sh"]);
    wrong(named, "NAME", &["'another', not 'named'"]).unmarked().is_refused(&zoo);
    let lost = external("lost", "lost", &["no-such-program"]);
    wrong(lost, "MANIFEST", &["command[0]: found 'no-such-program'"]).unmarked().is_refused(&zoo);
    let script = zoo.write("script", b"#!/bin/sh\n");
    fs::set_permissions(&script, Permissions::from_mode(0o777)).expect("mode");
    let open = external("open", "open", &["./script"]);
    wrong(open, "PERMISSIONS", &["script: is writable for everybody"]).unmarked().is_refused(&zoo);

    let starts: [(&str, &str, &str, &str); 4] = [
        ("ends", "echo no bread >&2; exit 3", "PROCESS", "its last line on stderr: no bread"),
        ("silent", "exec sleep 60", "PROCESS", "gave no answer to initialize in its time"),
        ("garbage", "echo hello; exec sleep 60", "PROCESS", "wrote a line that is not a JSON object: hello"),
        (
            "picky",
            r#"read line; echo '{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"rows: too many"}}'; read end"#,
            "CONFIG",
            "rows: too many",
        ),
    ];
    for (name, script, code, says) in starts {
        let file = external(name, name, &["sh", "-c", script]);
        wrong(file, code, &[says]).reaches(Reaches::Created).unmarked().is_refused(&zoo);
    }
}
