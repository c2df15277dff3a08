//! How a program is started, so that it has nothing of the daemon's.
//!
//! Inputs: a program, its words, its environment, files for what it writes. Outputs: the leader of a new process group. Through
//! posix_spawn(3), which takes away what the kernel would hand down: blocked signals, ignored signals, real-time scheduling, every
//! descriptor but the first three. Must never block for longer than starting a program takes, nor change anything of this process.

use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::SigSet;
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::Pid;
use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The file of a program: the name itself if it has a `/`, else the first of that name in these places.
///
/// # Errors
/// There is none.
pub(crate) fn find(name: &str, places: &str) -> io::Result<PathBuf> {
    let is_program =
        |path: &PathBuf| fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    if name.contains('/') {
        return Ok(PathBuf::from(name));
    }
    let found = places.split(':').map(|place| Path::new(place).join(name)).find(is_program);
    found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("it is not in {places}")))
}

/// Starts it, at normal priority whatever the calling thread has.
///
/// # Errors
/// What the system said.
pub(crate) fn start(path: &Path, name: &str, args: &[String], env: &[String], streams: &[File; 2]) -> io::Result<Pid> {
    let input = above_standard(File::open("/dev/null")?.as_fd())?;
    let [stdout, stderr] = streams;
    let (stdout, stderr) = (above_standard(stdout.as_fd())?, above_standard(stderr.as_fd())?);
    let mut actions = PosixSpawnFileActions::init()?;
    for (ours, standard) in [&input, &stdout, &stderr].into_iter().zip(0..) {
        actions.add_dup2(ours.as_raw_fd(), standard)?;
    }
    // All there are, also those whose owner forgot that they are handed down. One that is closed meanwhile is passed over.
    for fd in descriptors() {
        actions.add_close(fd)?;
    }
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETPGROUP
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK
            // The attributes' policy is SCHED_OTHER, priority 0, unless one is set.
            | PosixSpawnFlags::from_bits_retain(libc::POSIX_SPAWN_SETSCHEDULER),
    )?;
    attributes.set_pgroup(nix::unistd::Pid::from_raw(0))?;
    attributes.set_sigdefault(&SigSet::all())?;
    attributes.set_sigmask(&SigSet::empty())?;
    let words = std::iter::once(name).chain(args.iter().map(String::as_str)).map(CString::new);
    let words = words.collect::<Result<Vec<CString>, _>>()?;
    let env = env.iter().map(|one| CString::new(one.as_str())).collect::<Result<Vec<CString>, _>>()?;
    let path = CString::new(path.as_os_str().as_bytes())?;
    let leader = posix_spawn(path.as_c_str(), &actions, &attributes, &words, &env)?;
    Pid::from_raw(leader.as_raw()).ok_or_else(|| io::Error::other("the system gave it no number"))
}

/// A host that has closed its own standard streams is given their numbers; there they would be in each other's way.
fn above_standard(fd: impl AsFd) -> io::Result<OwnedFd> {
    Ok(fcntl_dupfd_cloexec(fd, 3)?)
}

fn descriptors() -> Vec<RawFd> {
    let entries = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter(|fd| *fd > 2).collect()
}
