//! CloudSnooze plugin that saves running virtual machines of a host that is about to go away.
//!
//! On a notice it asks each machine's QEMU how much memory it has to write, works out whether that fits into the time left,
//! and has it written: to a file, into its qcow2 disk, or by libvirt. Inputs: events, the machines. Outputs: a report with
//! what was written where, and how it was looked at again. Must never begin what cannot fit, call a file a saved machine
//! that is not whole and on the disk, or let a machine run on beside a saved state that looks good and no longer fits its
//! disks.
//!
//! Reading order: [`plugin`] (which event asks for what, and the verdict), `save` (one machine's way), `check`, `undo` and `again`,
//! `machine` (what can be done with one, whoever runs it), `qemu`, `file`, `snapshot` and `libvirt` (how), `queue`, `fit` and
//! `estimate` (who fits), `monitor` (QMP), `disk`, `image`, `seal` (files), `notes` (what is to be undone), `worker`
//! (the thread), `clock` (how long it may take).

mod again;
mod check;
mod clock;
mod command;
mod config;
mod disk;
mod estimate;
mod file;
mod fit;
mod image;
mod libvirt;
mod machine;
mod monitor;
mod notes;
mod plan;
pub mod plugin;
mod process;
mod qemu;
mod queue;
mod save;
mod scene;
mod seal;
mod snapshot;
mod told;
mod undo;
mod worker;

pub use config::Config;
pub use plugin::VmSave;

cloudsnooze_plugin::export!(
    VmSave;
    vendor: c"The CloudSnooze authors",
    license: c"Apache-2.0",
    url: c""
);
