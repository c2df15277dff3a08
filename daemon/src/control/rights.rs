//! Who may ask what: a right for every kind of request, a group for every right.
//!
//! Inputs: the settings, the peer of a connection. Outputs: a caller with the rights it has, or a refusal that names right and
//! group. Must never trust what the request says of its sender. Groups are looked up by name once, at the start.
//!
//! The rights are a ladder: who may emit may look, who may simulate may do both, who may administer may do all. Root and the
//! daemon's own user have all. Beside the ladder stands whoever shows the token at the dashboard's port: it may look, and
//! have a drill, which puts back what it changes.

use super::wire::{Failure, Needs};
use crate::config::Control;
use crate::sys::{peer::Peer, socket};
use nix::unistd::{Gid, Group, geteuid};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::sync::Arc;

/// What a request needs, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// To look: nothing changes.
    Read,
    /// To publish a real event of a type that stands for no cloud and no system: custom.*. Less than the next: it calls only
    /// the handlers that were meant for such events.
    Emit,
    /// To publish an operator's event of any type, marked as simulated: handlers do their real work.
    Simulate,
    /// To change how the daemon works, and to publish real events of any type.
    Administer,
}

impl Right {
    /// All, least first.
    pub const ALL: [Self; 4] = [Self::Read, Self::Emit, Self::Simulate, Self::Administer];

    /// Its name, as in the settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Emit => "emit",
            Self::Simulate => "simulate",
            Self::Administer => "administer",
        }
    }
}

/// A group that holds a right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub gid: u32,
    /// Its name, for refusals; None for root's own.
    pub name: Option<String>,
}

/// The holder of each right, least first.
#[derive(Clone, Debug)]
pub struct Rights {
    own_uid: u32,
    holders: Arc<[Holder; 4]>,
}

/// Where a caller comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Door {
    /// The control socket, where the kernel says who it is.
    Socket,
    /// The dashboard's port, where a token says what it may.
    Port,
}

/// No user: what a program gets that asks for one that cannot be (POSIX, `chown`: -1).
const NOBODY: u32 = u32::MAX;

/// Whoever is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Where it came in.
    pub door: Door,
    /// Its user; at the port none.
    pub uid: u32,
    /// Root, or the daemon's own user.
    pub is_owner: bool,
    /// The greatest right it has; None for a stranger.
    pub right: Option<Right>,
    holders: Arc<[Holder; 4]>,
}

/// Listens as the settings say. While one group has all rights, the kernel keeps everybody else from connecting; else
/// everybody can connect and is refused by what they ask.
///
/// # Errors
/// Text that says which step failed.
pub fn listen(control: &Control) -> Result<(UnixListener, Rights), String> {
    let group = control.group.as_deref();
    let named = [&control.read_group, &control.emit_group, &control.simulate_group, &control.administer_group];
    let named = named.map(|own| own.as_deref().or(group));
    let is_one = named.iter().all(|name| *name == named[0]);
    // Before anything is there to connect to: a name that does not exist must not leave a socket behind.
    let mut gids = [None; 4];
    for (gid, name) in gids.iter_mut().zip(named) {
        *gid = name.map(socket::gid_of).transpose()?;
    }
    let (group, mode) = if is_one { (named[0], 0o660) } else { (group, 0o666) };
    let listener = socket::listen(&control.socket, group, mode)?;
    // Whose group the socket got decided who could use it before rights had groups of their own.
    let fail = |error: std::io::Error| format!("cannot look at {}: {error}", control.socket.display());
    let socket_gid = std::fs::symlink_metadata(&control.socket).map_err(fail)?.gid();
    let holders = gids.map(|gid| holder(gid.unwrap_or(socket_gid)));
    Ok((listener, Rights::new(geteuid().as_raw(), holders)))
}

/// Looked up now: the directory of groups may be a slow service, and a refusal must not wait for it.
fn holder(gid: u32) -> Holder {
    let found = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
    let name = found.map_or_else(|| gid.to_string(), |group| group.name);
    Holder { gid, name: Some(name).filter(|_| gid != 0) }
}

impl Rights {
    /// Rights of these groups in a daemon of this user.
    pub fn new(own_uid: u32, holders: [Holder; 4]) -> Self {
        Self { own_uid, holders: Arc::new(holders) }
    }

    /// What the peer may do.
    pub fn of(&self, peer: &Peer) -> Caller {
        let is_owner = peer.uid == 0 || peer.uid == self.own_uid;
        let holds = |right: &Right| is_owner || peer.gids.contains(&self.holders[*right as usize].gid);
        let right = Right::ALL.into_iter().rev().find(holds);
        Caller { door: Door::Socket, uid: peer.uid, is_owner, right, holders: Arc::clone(&self.holders) }
    }
}

/// Nobody holds anything at the port: these stand in no refusal.
fn no_holders() -> Arc<[Holder; 4]> {
    Arc::new([0; 4].map(|gid| Holder { gid, name: None }))
}

impl Caller {
    /// Whoever is at the dashboard's port, before it has shown the token and after.
    pub fn at_port(has_token: bool) -> Self {
        let right = has_token.then_some(Right::Read);
        Self { door: Door::Port, uid: NOBODY, is_owner: false, right, holders: no_holders() }
    }

    /// Whether the caller may have a drill.
    ///
    /// # Errors
    /// As for [`Self::may`]: on the socket it takes the right to simulate.
    pub fn may_drill(&self) -> Result<(), Failure> {
        let has_token = self.door == Door::Port && self.right.is_some();
        if has_token { Ok(()) } else { self.may(Right::Simulate) }
    }

    /// Whether the caller has the right.
    ///
    /// # Errors
    /// The refusal, which names the right and the group that has it.
    pub fn may(&self, right: Right) -> Result<(), Failure> {
        if self.right.is_some_and(|held| held >= right) {
            return Ok(());
        }
        if self.door == Door::Port {
            let error =
                "the dashboard's port is for looking and for drills; for anything else use snooze on the machine";
            return Err(Failure { error: error.into(), ..Failure::default() });
        }
        let group = self.holders[right as usize].name.clone();
        let holders = group.as_ref().map_or_else(String::new, |name| format!(" and the group '{name}'"));
        let name = right.as_str();
        Err(Failure {
            error: format!("user {} lacks the right '{name}': it is for root{holders}", self.uid),
            needs: Some(Needs { right: name.into(), group }),
            ..Failure::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(uid: u32, gids: &[u32]) -> Caller {
        let holders = [10, 15, 20, 30].map(|gid| Holder { gid, name: Some(format!("group-{gid}")) });
        Rights::new(900, holders).of(&Peer { uid, gids: gids.to_vec() })
    }

    fn right_of(uid: u32, gids: &[u32]) -> Option<Right> {
        caller(uid, gids).right
    }

    #[test]
    fn root_and_the_daemons_own_user_may_do_all_and_strangers_nothing() {
        assert_eq!(right_of(0, &[]), Some(Right::Administer));
        assert_eq!(right_of(900, &[]), Some(Right::Administer));
        assert_eq!(right_of(1000, &[0, 900, 1000]), None);
    }

    #[test]
    fn a_group_has_its_right_and_those_below() {
        assert_eq!(right_of(1000, &[10]), Some(Right::Read));
        assert_eq!(right_of(1000, &[15]), Some(Right::Emit));
        assert_eq!(right_of(1000, &[5, 20]), Some(Right::Simulate));
        assert_eq!(right_of(1000, &[10, 30]), Some(Right::Administer), "the greatest counts");
        let emitter = caller(1000, &[15]);
        assert!(emitter.may(Right::Read).is_ok() && emitter.may(Right::Simulate).is_err());
        let caller = caller(1000, &[20]);
        assert!(
            caller.may(Right::Read).is_ok() && caller.may(Right::Emit).is_ok() && caller.may(Right::Simulate).is_ok()
        );
        let refused = caller.may(Right::Administer).expect_err("refused");
        assert_eq!(refused.needs, Some(Needs { right: "administer".into(), group: Some("group-30".into()) }));
        assert_eq!(refused.error, "user 1000 lacks the right 'administer': it is for root and the group 'group-30'");
    }

    #[test]
    fn who_shows_the_token_at_the_port_may_look_and_drill_and_nothing_else() {
        let (holder, guest) = (Caller::at_port(true), Caller::at_port(false));
        assert!(holder.may(Right::Read).is_ok() && holder.may_drill().is_ok());
        for right in [Right::Emit, Right::Simulate, Right::Administer] {
            let refused = holder.may(right).expect_err("refused");
            assert!(refused.error.contains("use snooze on the machine") && refused.needs.is_none(), "{refused:?}");
        }
        assert!(guest.may(Right::Read).is_err() && guest.may_drill().is_err() && !holder.is_owner);
        let on_the_socket = [10, 15, 20, 30].map(|gid| caller(1000, &[gid]).may_drill().is_ok());
        assert_eq!(on_the_socket, [false, false, true, true], "a drill is a simulation there");
    }

    #[test]
    fn a_group_named_for_one_right_takes_it_from_the_group_of_all_and_nothing_else() {
        let directory = tempfile::tempdir().expect("a directory");
        let own = Group::from_gid(nix::unistd::getegid()).expect("readable").expect("known");
        let mode_of = |control: &Control| {
            let (_listener, rights) = listen(control).expect("listening");
            let gids = rights.holders.each_ref().map(|holder| holder.gid);
            (std::fs::metadata(&control.socket).expect("there").mode() & 0o777, gids)
        };
        let gid = own.gid.as_raw();
        let mut control = Control { socket: directory.path().join("s"), ..Control::default() };
        assert_eq!(mode_of(&control), (0o660, [gid; 4]), "as the mode of the socket has always had it");
        control.group = Some(own.name.clone());
        assert_eq!(mode_of(&control), (0o660, [gid; 4]));
        let other = Group::from_name("daemon").expect("readable").expect("every system has it");
        control.administer_group = Some(other.name);
        assert_eq!(mode_of(&control), (0o666, [gid, gid, gid, other.gid.as_raw()]));
        control.read_group = Some("no-such-group".into());
        std::fs::remove_file(&control.socket).expect("removed");
        assert_eq!(listen(&control).expect_err("refused"), "there is no group 'no-such-group'");
        assert!(!control.socket.exists());
    }
}
