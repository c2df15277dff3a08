//! Who is at the other end of a unix socket, as the kernel noted it when the connection was made.
//!
//! Inputs: a connected socket. Outputs: user, group, supplementary groups. Must never ask /proc by process id: the
//! process may have ended, and its number may belong to another by then.
#![allow(unsafe_code)]

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Groups for which there is room at the first try.
const GROUPS_EXPECTED: usize = 32;
/// Most supplementary groups of a process, NGROUPS_MAX of linux/limits.h.
const GROUPS_MAX: usize = 65_536;

/// A process at the time at which it connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Effective user.
    pub uid: u32,
    /// Effective group, and all supplementary ones.
    pub gids: Vec<u32>,
}

/// The peer of a connected unix socket (SO_PEERCRED and, since Linux 4.13, SO_PEERGROUPS; unix(7)).
///
/// # Errors
/// The kernel's; the socket is not connected, say.
pub fn of(socket: &impl AsFd) -> io::Result<Peer> {
    let credentials = getsockopt(socket, PeerCredentials)?;
    let mut gids = supplementary_groups(socket)?;
    gids.push(credentials.gid());
    Ok(Peer { uid: credentials.uid(), gids })
}

/// Process and user of the peer. The number of the process is for people: it may belong to another process by now.
///
/// # Errors
/// As for [`of`].
pub fn process_of(socket: &impl AsFd) -> io::Result<(i32, u32)> {
    let credentials = getsockopt(socket, PeerCredentials)?;
    Ok((credentials.pid(), credentials.uid()))
}

fn supplementary_groups(socket: &impl AsFd) -> io::Result<Vec<u32>> {
    let mut room = GROUPS_EXPECTED;
    loop {
        let mut gids: Vec<libc::gid_t> = vec![0; room];
        let mut bytes = (room * size_of::<libc::gid_t>()) as libc::socklen_t;
        // SAFETY: the buffer is writable for `bytes` bytes, and the kernel writes no more than that.
        let result = unsafe {
            libc::getsockopt(
                socket.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                gids.as_mut_ptr().cast(),
                &raw mut bytes,
            )
        };
        let count = bytes as usize / size_of::<libc::gid_t>();
        if result == 0 {
            gids.truncate(count);
            return Ok(gids);
        }
        let error = io::Error::last_os_error();
        // The kernel has said how many there are.
        if error.raw_os_error() != Some(libc::ERANGE) || count <= room || count > GROUPS_MAX {
            return Err(error);
        }
        room = count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_peer_of_a_pair_is_this_process_with_all_its_groups() {
        let (here, _there) = UnixStream::pair().expect("a pair");
        let peer = of(&here).expect("known");
        assert_eq!(peer.uid, nix::unistd::geteuid().as_raw());
        let mut own: Vec<u32> = nix::unistd::getgroups().expect("groups").iter().map(|gid| gid.as_raw()).collect();
        own.push(nix::unistd::getegid().as_raw());
        assert_eq!(peer.gids, own);
        let own_pid = i32::try_from(std::process::id()).expect("a process id");
        assert_eq!(process_of(&here).expect("known"), (own_pid, peer.uid));
    }

    #[test]
    fn what_is_no_unix_socket_has_no_peer() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        assert!(of(&socket).is_err() || of(&socket).expect("asked").uid == u32::MAX);
    }
}
