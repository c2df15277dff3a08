//! What a process gives up before it runs code of others: privileges, system calls, places to write.
//!
//! Inputs: a user, directories. Outputs: what the kernel really enforces from now on, as a sentence each. For a process
//! with one thread: some of it holds for the calling thread and those it starts only. Must never claim what was not
//! granted, nor go on when a user that was asked for cannot be had.

use landlock::{
    ABI, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, RulesetStatus,
};
use nix::unistd::{Gid, Uid, User, initgroups, setgid, setuid};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::PathBuf;

/// Who to become.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The user's name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

impl Account {
    /// The account of this name.
    ///
    /// # Errors
    /// A sentence's end: there is none, or this process may not become another.
    pub fn find(name: &str) -> Result<Self, String> {
        let found = User::from_name(name).map_err(|error| format!("cannot be looked up: {error}"))?;
        let found = found.ok_or("is no user of this machine")?;
        let own = nix::unistd::geteuid();
        if !own.is_root() && own != found.uid {
            return Err(format!("cannot be become by user {own}: that takes a daemon that runs as root"));
        }
        Ok(Self { name: found.name, uid: found.uid.as_raw(), gid: found.gid.as_raw() })
    }

    fn become_it(&self) -> Result<String, String> {
        let failed = |call: &str, error: nix::Error| format!("{call} for user '{}': {error}", self.name);
        let said = format!("user {}", self.name);
        if nix::unistd::geteuid() == Uid::from_raw(self.uid) {
            return Ok(said);
        }
        let name = CString::new(self.name.as_str()).map_err(|_| "a user's name with a zero byte".to_owned())?;
        let gid = Gid::from_raw(self.gid);
        initgroups(&name, gid).map_err(|e| failed("initgroups", e))?;
        setgid(gid).map_err(|e| failed("setgid", e))?;
        setuid(Uid::from_raw(self.uid)).map_err(|e| failed("setuid", e))?;
        Ok(said)
    }
}

/// Gives it all up. Returns what holds from now on; what does not is said too.
///
/// # Errors
/// The user cannot be become, or a directory that may be written to cannot be opened.
pub fn confine(account: Option<&Account>, writable: Option<&[PathBuf]>) -> Result<Vec<String>, String> {
    let mut said = Vec::new();
    said.extend(account.map(Account::become_it).transpose()?);
    said.push(match nix::sys::prctl::set_no_new_privs() {
        Ok(()) => "no new privileges".to_owned(),
        Err(error) => format!("new privileges NOT ruled out ({error})"),
    });
    said.push(files(writable)?);
    // Last: it forbids what the others may need.
    said.push(match forbid() {
        Ok(count) => format!("seccomp: {count} system calls refused"),
        Err(error) => format!("seccomp NOT enforced ({error})"),
    });
    Ok(said)
}

/// Landlock: device files are never made, and with `writable` nothing is changed outside of those directories.
fn files(writable: Option<&[PathBuf]>) -> Result<String, String> {
    let what = match writable {
        None => "no device files".to_owned(),
        Some(directories) => {
            let shown: Vec<String> = directories.iter().map(|d| d.display().to_string()).collect();
            format!("writes below {} only", shown.join(", "))
        }
    };
    let mut open = Vec::new();
    for directory in writable.unwrap_or_default() {
        open.push(PathFd::new(directory).map_err(|e| format!("writable_directories: {e}"))?);
    }
    Ok(match enforce(writable.is_some(), open) {
        Ok(RulesetStatus::FullyEnforced) => format!("landlock: {what}"),
        Ok(RulesetStatus::PartiallyEnforced) => format!("landlock, in part: {what}"),
        Ok(RulesetStatus::NotEnforced) => "landlock NOT enforced (this kernel has none)".to_owned(),
        Err(error) => format!("landlock NOT enforced ({error})"),
    })
}

fn enforce(is_listed: bool, open: Vec<PathFd>) -> Result<RulesetStatus, RulesetError> {
    let devices = AccessFs::MakeChar | AccessFs::MakeBlock;
    let writing = AccessFs::from_write(ABI::V3);
    let handled = if is_listed { writing | devices } else { devices };
    let rules = Ruleset::default().set_compatibility(CompatLevel::BestEffort).handle_access(handled)?.create()?;
    let allowed = open.into_iter().map(|place| Ok::<_, RulesetError>(PathBeneath::new(place, writing & !devices)));
    let rules: RulesetCreated = rules.add_rules(allowed)?;
    Ok(rules.restrict_self()?.ruleset)
}

/// System calls that no handler needs: they change the kernel, the clock, mounts, namespaces or other processes' memory,
/// or go around this very filter (io_uring). Refused with EPERM, so that a library that merely tries goes on.
const FORBIDDEN: &[i64] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_bpf,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
];

/// Installs the filter. Returns how many system calls it refuses.
fn forbid() -> Result<usize, String> {
    let rules: BTreeMap<_, _> = FORBIDDEN.iter().map(|call| (*call, Vec::new())).collect();
    let count = rules.len();
    let refuse = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let arch = std::env::consts::ARCH.try_into().map_err(|e: seccompiler::BackendError| e.to_string())?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch).map_err(|e| e.to_string())?;
    let program = BpfProgram::try_from(filter).map_err(|e| e.to_string())?;
    seccompiler::apply_filter(&program).map_err(|e| e.to_string())?;
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel's own word for it: /proc/thread-self/status of the confined thread.
    #[test]
    fn what_is_said_to_be_enforced_is_what_the_kernel_shows() {
        let (said, status, tried) = std::thread::spawn(|| {
            let said = confine(None, None).expect("confined");
            let status = std::fs::read_to_string("/proc/thread-self/status").expect("a status");
            (said, status, nix::sched::unshare(nix::sched::CloneFlags::empty()))
        })
        .join()
        .expect("no panic");
        assert_eq!(said.contains(&"no new privileges".to_owned()), status.contains("NoNewPrivs:\t1"), "{said:?}");
        let filters = said.iter().any(|text| text.starts_with("seccomp: "));
        assert_eq!(filters, status.contains("Seccomp:\t2"), "{said:?}");
        assert!(filters && tried == Err(nix::Error::EPERM), "{said:?}: {tried:?}");
        assert!(said.iter().any(|text| text.starts_with("landlock")), "{said:?}");
    }

    #[test]
    fn a_user_that_cannot_be_had_is_said_to_be_so() {
        assert!(Account::find("no-such-user-here").is_err_and(|text| text.contains("no user")));
        assert!(confine(None, Some(&["/no/such/directory".into()])).is_err());
    }
}
