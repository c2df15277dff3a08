//! A domain of a real libvirt: its daemon runs as a user of its own, below a directory of the test's.

mod guest;

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::TestInstance;
use guest::{Ground, MAYBE, NOTICE, PATIENCE, PLENTY, WITHDRAWN, another, event, failed, handled, must_follow, plugin};
use harness::{program, require, wait};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use vm_save::VmSave;

/// Who runs libvirt's daemon where the test is root: as root, libvirt keeps to the machine's own places.
const NOBODY: u32 = 65_534;

/// The daemon and its one domain. Both are ended when dropped.
struct Libvirt {
    ground: Ground,
    child: Child,
}

impl Libvirt {
    /// None, told loudly, where something is missing.
    fn start(test: &str) -> Option<Self> {
        let ground = Ground::lay(test, 64, 32, "raw")?;
        for (name, package) in [("libvirtd", "libvirt-daemon"), ("virsh", "libvirt-clients"), ("setpriv", "util-linux")]
        {
            if program::find(name).is_none() {
                require::missing_means_skip(&format!("{test}: there is no {name} (package {package})"));
                return None;
            }
        }
        let top = ground.path("").to_owned();
        let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
        let places = ["run", "config", "config/libvirt", "cache", "data"].map(|name| ground.path(name));
        for place in &places {
            fs::create_dir(place).unwrap();
        }
        fs::write(ground.path("config/libvirt/qemu.conf"), "stdio_handler = \"file\"\nsecurity_driver = \"none\"\n")
            .unwrap();
        fs::write(ground.path("vm.xml"), domain(&ground)).unwrap();
        if is_root {
            let files = ["", "disk.raw", "config/libvirt/qemu.conf"].map(|name| ground.path(name));
            for path in places.iter().chain(&files) {
                chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        let mut command = Command::new(if is_root { "setpriv" } else { "env" });
        if is_root {
            let nobody = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")];
            command.args(nobody).args(["--clear-groups", "env"]);
        }
        command.args(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"]).arg(format!("HOME={}", top.display()));
        for (name, place) in
            [("RUNTIME_DIR", "run"), ("CONFIG_HOME", "config"), ("CACHE_HOME", "cache"), ("DATA_HOME", "data")]
        {
            command.arg(format!("XDG_{name}={}", ground.path(place).display()));
        }
        let log = fs::File::create(ground.path("libvirtd.log")).unwrap();
        let child = command.arg("libvirtd").env_clear().stdin(Stdio::null()).stderr(log).spawn().unwrap();
        let libvirt = Self { ground, child };
        wait::until("libvirt", PATIENCE, || libvirt.virsh(&["list"]).ok())
            .unwrap_or_else(|error| panic!("{error}: {}", program::tail(&libvirt.ground.path("libvirtd.log"), 20)));
        libvirt.virsh(&["define", &libvirt.ground.path("vm.xml").to_string_lossy()]).unwrap();
        libvirt.virsh(&["start", "vm"]).unwrap();
        libvirt.counts_on(3);
        Some(libvirt)
    }

    fn uri(&self) -> String {
        format!("qemu+unix:///session?socket={}", self.ground.path("run/libvirt/libvirt-sock").display())
    }

    fn virsh(&self, words: &[&str]) -> Result<String, String> {
        let mut command = Command::new("virsh");
        command.args(["--quiet", "--connect", &self.uri()]).args(words);
        program::run(&mut command, PATIENCE)?.success("virsh")
    }

    fn counts_on(&self, further: usize) -> u64 {
        let before = self.ground.counted("vm").len();
        wait::until("the domain to count", PATIENCE, || {
            let counted = self.ground.counted("vm");
            (counted.len() >= before + further).then(|| *counted.last().unwrap())
        })
        .unwrap()
    }

    fn saver(&self, more: Value) -> TestInstance<VmSave> {
        let directory: PathBuf = self.ground.path("config/libvirt/qemu/save");
        let mut vm = json!({ "libvirt": "vm", "uri": self.uri(), "save_directory": directory });
        vm.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        plugin(&json!({ "vms": [vm] }))
    }

    fn state(&self) -> String {
        self.virsh(&["domstate", "vm"]).unwrap().trim().to_owned()
    }
}

impl Drop for Libvirt {
    fn drop(&mut self) {
        // It outlives its daemon otherwise.
        let _ended = self.virsh(&["destroy", "vm"]);
        program::kill_and_reap(&mut self.child);
    }
}

fn domain(ground: &Ground) -> String {
    format!(
        "<domain type='qemu'><name>vm</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>\
         <os><type arch='x86_64' machine='pc'>hvm</type><boot dev='hd'/></os><features><acpi/></features>\
         <devices><emulator>/usr/bin/qemu-system-x86_64</emulator>\
         <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{}'/><target dev='hda' bus='ide'/></disk>\
         <serial type='file'><source path='{}' append='on'/><target port='0'/></serial>\
         <memballoon model='none'/><controller type='usb' model='none'/></devices></domain>\n",
        ground.path("disk.raw").display(),
        ground.path("vm.count").display()
    )
}

#[test]
fn a_domain_is_saved_by_libvirt_and_counts_on_when_it_is_started() {
    let Some(libvirt) = Libvirt::start("a_domain_is_saved_by_libvirt") else { return };
    let start = json!(["virsh", "--quiet", "--connect", libvirt.uri(), "start", "{name}"]);
    let plugin = libvirt.saver(json!({ "restore": start }));
    handled(plugin.deliver(&event(MAYBE), PLENTY));
    assert_eq!(libvirt.state(), "running", "a check changes nothing");
    for round in 0..3 {
        let seen = libvirt.counts_on(5);
        let result = handled(plugin.deliver(&another(NOTICE, round), PLENTY));
        let machine = &result["machines"][0];
        assert_eq!((&machine["outcome"], &result["durable"]), (&json!("saved"), &json!("yes")), "{result}");
        assert!(machine["evidence"]["kept"]["bytes"].as_u64().unwrap() > 32 << 20, "{result}");
        assert_eq!(libvirt.state(), "shut off");
        let verified = handled(plugin.verify(&another(NOTICE, round), PLENTY));
        assert_eq!(verified["machines"][0]["machine"], "ended", "{verified}");
        let undone = handled(plugin.deliver(&another(WITHDRAWN, round), PLENTY));
        assert_eq!(undone["machines"][0]["outcome"], "resumed", "{undone}");
        assert!(libvirt.counts_on(5) > seen);
        assert_eq!(plugin.verify(&another(NOTICE, round), PLENTY).status, abi::SNOOZE_SKIPPED, "it was undone");
    }
    let counted = libvirt.ground.counted("vm");
    assert_eq!(counted.first(), Some(&0));
    must_follow(&counted);
    // The control: without the saved state it begins anew.
    handled(plugin.deliver(&another(NOTICE, 7), PLENTY));
    libvirt.virsh(&["managedsave-remove", "vm"]).unwrap();
    failed(&plugin.verify(&another(NOTICE, 7), PLENTY), abi::SNOOZE_E_STATE);
    let before = libvirt.ground.counted("vm").len();
    libvirt.virsh(&["start", "vm"]).unwrap();
    libvirt.counts_on(2);
    assert_eq!(libvirt.ground.counted("vm")[before], 0);
}

#[test]
fn a_domain_that_does_not_fit_is_stopped_or_shut_down() {
    let Some(libvirt) = Libvirt::start("a_domain_that_does_not_fit") else { return };
    let pausing = libvirt.saver(json!({ "bandwidth": 10, "fallback": "pause" }));
    let text = failed(&pausing.deliver(&event(NOTICE), PLENTY), abi::SNOOZE_E_DEADLINE);
    assert!(text.starts_with("vm: not begun: ") && text.ends_with("; stopped"), "{text}");
    assert_eq!(libvirt.state(), "paused");
    handled(pausing.deliver(&event(WITHDRAWN), PLENTY));
    libvirt.counts_on(3);
    must_follow(&libvirt.ground.counted("vm"));
    let ending = libvirt.saver(json!({ "bandwidth": 10 }));
    let result = handled(ending.deliver(&event(NOTICE), PLENTY));
    assert_eq!((&result["machines"][0]["outcome"], libvirt.state().as_str()), (&json!("shut down"), "shut off"));
    assert_eq!(handled(ending.verify(&event(NOTICE), PLENTY))["machines"][0]["machine"], "ended");
    let again = handled(ending.deliver(&event(NOTICE), PLENTY));
    assert_eq!(again["machines"][0]["outcome"], "shut down", "{again}");
    let unknown = plugin(&json!({ "vms": [{ "libvirt": "nosuch", "uri": libvirt.uri(), "optional": true }] }));
    let text = failed(&unknown.deliver(&event(NOTICE), PLENTY), abi::SNOOZE_E_STATE);
    assert!(text.contains("nosuch"), "one that libvirt does not know is a mistake, not one that does not run: {text}");
}
