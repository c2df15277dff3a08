//! The configuration of one instance, as the operator writes it.
//! Inputs: the JSON object under `config`. Outputs: [`Config`] with its schema; `plan` checks what the schema cannot. Must
//! never hold a secret: there is none in it.

use cloudsnooze_plugin::schemars;
use schemars::JsonSchema;
use serde::Deserialize;
use std::path::PathBuf;

/// What an operator can set.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The virtual machines, the most important first.
    #[schemars(length(min = 1, max = 32))]
    pub vms: Vec<Vm>,
    /// How many are saved at the same time.
    #[serde(default = "parallel")]
    #[schemars(range(min = 1, max = 16))]
    pub parallel: usize,
    /// MiB that are written to measure a disk before it is needed, at activation and every hour; 0 measures nothing.
    #[serde(default = "probe_mib")]
    #[schemars(range(min = 0, max = 64))]
    pub probe_mib: u64,
}

/// One virtual machine, and what becomes of it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Vm {
    /// Name in the report; by default the name of its socket or domain.
    #[serde(default)]
    pub name: Option<String>,
    /// Socket of a QMP monitor of its QEMU that nobody else uses; with it, one of to and savevm.
    #[serde(default)]
    pub qmp: Option<PathBuf>,
    /// File that its memory and devices are saved to.
    #[serde(default)]
    pub to: Option<PathBuf>,
    /// In place of to: tag of a snapshot inside of its qcow2 disks.
    #[serde(default)]
    pub savevm: Option<String>,
    /// In place of qmp: its domain of libvirt, saved by virsh managedsave.
    #[serde(default)]
    pub libvirt: Option<String>,
    /// With libvirt: the connection, such as qemu:///system, which is the default.
    #[serde(default)]
    pub uri: Option<String>,
    /// With libvirt: where saved domains lie, to measure the disk.
    #[serde(default)]
    pub save_directory: Option<PathBuf>,
    /// What becomes of it once it is saved.
    #[serde(default)]
    pub after: After,
    /// What becomes of it when it cannot be saved.
    #[serde(default)]
    pub fallback: Fallback,
    /// Program and arguments that start it from what was saved, for a withdrawn notice; {to}, {tag}, {qmp} and {name} stand
    /// for what is configured.
    #[serde(default)]
    pub restore: Option<Vec<String>>,
    /// It may be that it does not run: then there is nothing to save, which is no failure.
    #[serde(default)]
    pub optional: bool,
    /// Bytes a second that its storage takes, in place of what is measured.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub bandwidth: Option<u64>,
    /// Bytes a second that are written at most, for a file.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub max_bandwidth: Option<u64>,
    /// Put the SHA-256 of the file into the report, if there is time, and compare it when asked to verify.
    #[serde(default)]
    pub sha256: bool,
}

/// What becomes of a machine once it is saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum After {
    /// Its QEMU is ended.
    #[default]
    Quit,
    /// It stays, and does not run.
    KeepPaused,
}

/// What becomes of a machine that cannot be saved in the time left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fallback {
    /// Its power button is pressed, and its end waited for.
    #[default]
    Shutdown,
    /// It is stopped where it is: its disks are as after a loss of power, in a quiet moment.
    Pause,
    /// It runs on.
    None,
}

fn parallel() -> usize {
    2
}

fn probe_mib() -> u64 {
    64
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_short_form_saves_to_a_file_quits_and_falls_back_to_a_shutdown() {
        let config = json!({"vms": [{"qmp": "/run/vm1.qmp", "to": "/var/lib/vm/vm1.state"}]});
        let config: Config = serde_json::from_value(config).unwrap();
        let vm = &config.vms[0];
        assert_eq!((config.parallel, config.probe_mib), (2, 64));
        assert_eq!((vm.after, vm.fallback, vm.optional, vm.sha256), (After::Quit, Fallback::Shutdown, false, false));
    }

    #[test]
    fn what_nobody_knows_is_refused_and_every_key_is_described() {
        for config in [json!({"vms": [], "x": 1}), json!({"vms": [{"qmp": "/q", "x": 1}]})] {
            assert!(serde_json::from_value::<Config>(config).is_err());
        }
        let schema = schemars::schema_for!(Config).to_value();
        let mut count = 0;
        for object in schema["$defs"].as_object().unwrap().values().chain([&schema]) {
            for (key, property) in object["properties"].as_object().into_iter().flatten() {
                assert!(property["description"].as_str().unwrap_or_default().len() > 12, "{key}: {property}");
                count += 1;
            }
        }
        assert_eq!(count, 17);
    }
}
