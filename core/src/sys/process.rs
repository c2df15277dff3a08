//! A process and the one that started it: seeing its end, and handing descriptors over.
//!
//! Inputs: a child that is not reaped yet, a socket between the two. Outputs: descriptors. Must never leave a descriptor
//! to a program that is started meanwhile: all are close-on-exec from the beginning.
#![allow(unsafe_code)]

use nix::cmsg_space;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use nix::unistd::Pid;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

/// Descriptors that are handed over at a time.
pub const DESCRIPTORS: usize = 4;

/// Hands descriptors to the process at the other end (SCM_RIGHTS, unix(7)).
///
/// # Errors
/// What the system says.
pub fn send_descriptors(socket: &UnixStream, descriptors: [BorrowedFd<'_>; DESCRIPTORS]) -> io::Result<()> {
    let raw = descriptors.map(|fd| fd.as_raw_fd());
    let (byte, rights) = ([IoSlice::new(b"d")], [ControlMessage::ScmRights(&raw)]);
    sendmsg::<()>(socket.as_raw_fd(), &byte, &rights, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Takes the descriptors that [`send_descriptors`] handed over.
///
/// # Errors
/// What the system says; others than expected.
pub fn receive_descriptors(socket: &UnixStream) -> io::Result<[OwnedFd; DESCRIPTORS]> {
    let (mut byte, mut room) = ([0; 1], cmsg_space!([RawFd; DESCRIPTORS]));
    let mut slices = [IoSliceMut::new(&mut byte)];
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut room), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let mut taken = Vec::new();
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = part {
            // SAFETY: the kernel has just made these descriptors for this process, and nobody else knows them.
            taken.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    let count = taken.len();
    taken.try_into().map_err(|_| io::Error::other(format!("{count} descriptors, expected {DESCRIPTORS}")))
}

/// Takes the socket that this process was given for its standard input, and puts nothing in that place.
///
/// # Errors
/// Standard input is no socket, or what the system says.
pub fn socket_of_stdin() -> io::Result<UnixStream> {
    let socket = fcntl(io::stdin(), FcntlArg::F_DUPFD_CLOEXEC(3))?;
    // SAFETY: a fresh descriptor that nobody else owns.
    let socket = UnixStream::from(unsafe { OwnedFd::from_raw_fd(socket) });
    socket.peer_addr()?;
    nix::unistd::dup2_stdin(File::open("/dev/null")?)?;
    Ok(socket)
}

/// A descriptor that turns readable when the process ends (pidfd_open(2), Linux 5.3).
///
/// # Errors
/// What the system says.
pub fn pidfd(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: plain system call.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    match i32::try_from(fd) {
        // SAFETY: a fresh descriptor (close-on-exec by itself) that nobody else owns.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    #[test]
    fn descriptors_are_handed_over_and_a_plain_byte_hands_over_none() {
        let ((here, mut there), (mut left, right)) =
            (UnixStream::pair().expect("a pair"), UnixStream::pair().expect("another"));
        send_descriptors(&here, [right.as_fd(), left.as_fd(), left.as_fd(), left.as_fd()]).expect("sent");
        let [first, ..] = receive_descriptors(&there).expect("received");
        left.write_all(b"x").expect("written");
        let mut byte = [0];
        UnixStream::from(first).read_exact(&mut byte).expect("the same socket");
        (&here).write_all(b"d").expect("written");
        assert!(receive_descriptors(&there).is_err());
        there.write_all(b"d").expect("written");
    }

    #[test]
    fn the_end_of_a_child_is_seen() {
        let mut child = std::process::Command::new("/bin/sh").args(["-c", "exit 3"]).spawn().expect("a shell");
        let fd = pidfd(Pid::from_raw(child.id().cast_signed())).expect("a descriptor");
        let mut poll = [nix::poll::PollFd::new(fd.as_fd(), nix::poll::PollFlags::POLLIN)];
        assert_eq!(nix::poll::poll(&mut poll, 10_000u16), Ok(1));
        assert_eq!(child.wait().expect("reaped").code(), Some(3));
    }
}
