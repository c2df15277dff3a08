//! What the kernel says of links, addresses, routes and neighbours: a routing socket, and its messages as values.
//!
//! Inputs: rtnetlink(7). Outputs: [`Change`]s. Must never trust a length that a message claims, nor believe anybody but the kernel.
//!
//! Framing and attributes are read by `netlink-packet-core`. The library above it that knows every message would bring traffic
//! control, tunnels and wireless into locked memory, for four fixed headers of 8 to 16 bytes (linux/rtnetlink.h, linux/neighbour.h).

use netlink_packet_core::{
    Emitable, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer, NetlinkHeader,
    NlasIterator,
};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, send, setsockopt, socket,
    sockopt,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

const NEW_LINK: u16 = 16;
const DEL_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const DEL_ADDRESS: u16 = 21;
const GET_ADDRESS: u16 = 22;
const NEW_ROUTE: u16 = 24;
const DEL_ROUTE: u16 = 25;
const GET_ROUTE: u16 = 26;
const NEW_NEIGHBOUR: u16 = 28;
const DEL_NEIGHBOUR: u16 = 29;
const GET_NEIGHBOUR: u16 = 30;

/// Groups of linux/rtnetlink.h: links, neighbours, addresses and routes of both families.
const GROUPS: u32 = 0x1 | 0x4 | 0x10 | 0x40 | 0x100 | 0x400;
/// All that is asked for, in an order in which each can be understood, and the bytes of the kernel's header of each.
const DUMPS: [(u16, usize); 4] = [(GET_LINK, 16), (GET_ADDRESS, 8), (GET_ROUTE, 12), (GET_NEIGHBOUR, 12)];

/// Longest datagram of a dump (net/netlink/af_netlink.c gives at most 32 KiB at a time).
const DATAGRAM_BYTES_MAX: usize = 32 << 10;
/// Room for what comes at once, such as the end of many containers.
const RECEIVE_BYTES: usize = 256 << 10;
/// Longest wait for the kernel's answer, which never sleeps over it.
const ANSWER_MS: u16 = 2_000;

const IFF_UP: u32 = 0x1;
const IFF_LOWER_UP: u32 = 0x1_0000;
const SCOPE_UNIVERSE: u8 = 0;
const TABLE_MAIN: u32 = 254;
const UNICAST: u8 = 1;
/// Reachable, or so by what somebody has set (NUD_NOARP, NUD_PERMANENT).
const NUD_REACHED: u16 = 0x02 | 0x40 | 0x80;
const NUD_FAILED: u16 = 0x20;

/// One of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A default route of the main table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DefaultRoute {
    /// Its family.
    pub family: Family,
    /// Index of the interface that it leaves by.
    pub link: u32,
    /// Its gateway, where there is one.
    pub gateway: Option<IpAddr>,
    /// The least is used.
    pub metric: u32,
}

/// What is known of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neighbour {
    /// It was asked for in vain.
    Failed,
    /// It answered.
    Reached,
}

/// One thing that is so now, or is not any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An interface: its index, its name, whether it is switched on, whether it has a carrier.
    Link(u32, String, bool, bool),
    /// The interface is gone.
    LinkGone(u32),
    /// An address: whose, which, whether others can reach it, whether it is there.
    Address(u32, IpAddr, bool, bool),
    /// A default route, and whether it is there.
    Route(DefaultRoute, bool),
    /// A neighbour on a link.
    Neighbour(u32, IpAddr, Neighbour),
}

/// The changes that a datagram tells of, and whether it ends a dump or says that one is not whole.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// In their order.
    pub changes: Vec<Change>,
    /// A dump has ended.
    pub is_done: bool,
    /// What a dump gave changed meanwhile.
    pub is_torn: bool,
}

/// Reads a datagram. What is of no interest, and what is no message, is passed over.
pub fn read(mut datagram: &[u8]) -> Told {
    let mut told = Told::default();
    while let Ok(message) = NetlinkBuffer::new_checked(datagram) {
        told.is_torn |= message.flags() & NLM_F_DUMP_INTR != 0;
        match message.message_type() {
            u16::MIN..=OWN_MAX => told.is_done |= ends(message.message_type()),
            kind => told.changes.extend(change(kind, message.payload())),
        }
        // Messages begin at multiples of four.
        let length = (message.length() as usize).next_multiple_of(4);
        if length == 0 || length >= datagram.len() {
            break;
        }
        datagram = &datagram[length..];
    }
    told
}

/// Numbers up to this are netlink's own (NLMSG_MIN_TYPE is the next).
const OWN_MAX: u16 = 15;

fn ends(kind: u16) -> bool {
    kind == NLMSG_DONE || kind == NLMSG_ERROR
}

fn change(kind: u16, payload: &[u8]) -> Option<Change> {
    match kind {
        NEW_LINK | DEL_LINK => link(kind == NEW_LINK, payload),
        NEW_ADDRESS | DEL_ADDRESS => address(kind == NEW_ADDRESS, payload),
        NEW_ROUTE | DEL_ROUTE => route(kind == NEW_ROUTE, payload),
        NEW_NEIGHBOUR | DEL_NEIGHBOUR => neighbour(kind == NEW_NEIGHBOUR, payload),
        _ => None,
    }
}

/// The value of the first attribute of this kind, behind a header of so many bytes.
fn attribute(payload: &[u8], header_bytes: usize, kind: u16) -> Option<&[u8]> {
    let found =
        NlasIterator::new(payload.get(header_bytes..)?).filter_map(Result::ok).find(|nla| nla.kind() == kind)?;
    // Checked by the library: it is no longer than what is there.
    found.into_inner().get(4..4 + usize::from(found.length()).checked_sub(4)?)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk::<4>().map(|bytes| u32::from_ne_bytes(*bytes))
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => bytes.first_chunk::<4>().map(|bytes| IpAddr::V4(Ipv4Addr::from(*bytes))),
        16 => bytes.first_chunk::<16>().map(|bytes| IpAddr::V6(Ipv6Addr::from(*bytes))),
        _ => None,
    }
}

fn family(number: u8) -> Option<Family> {
    match i32::from(number) {
        nix::libc::AF_INET => Some(Family::V4),
        nix::libc::AF_INET6 => Some(Family::V6),
        _ => None,
    }
}

/// `struct ifinfomsg`: family, pad, type (2), index (4), flags (4), change (4). IFLA_IFNAME is 3.
fn link(is_there: bool, payload: &[u8]) -> Option<Change> {
    let (index, flags) = (u32_at(payload, 4)?, u32_at(payload, 8)?);
    // Changes of a bridge's ports come under this family too, and say nothing of the link.
    if payload.first() != Some(&0) {
        return None;
    }
    if !is_there {
        return Some(Change::LinkGone(index));
    }
    let name = attribute(payload, 16, 3)?;
    let name = String::from_utf8_lossy(name).trim_end_matches('\0').to_owned();
    Some(Change::Link(index, name, flags & IFF_UP != 0, flags & IFF_LOWER_UP != 0))
}

/// `struct ifaddrmsg`: family, prefix length, flags, scope, index (4). IFA_LOCAL is 2, IFA_ADDRESS 1.
fn address(is_there: bool, payload: &[u8]) -> Option<Change> {
    let (scope, index) = (*payload.get(3)?, u32_at(payload, 4)?);
    let value = attribute(payload, 8, 2).or_else(|| attribute(payload, 8, 1))?;
    Some(Change::Address(index, ip(value)?, scope == SCOPE_UNIVERSE, is_there))
}

/// `struct rtmsg`: family, length of destination and of source, tos, table, protocol, scope, type, flags (4). RTA_OIF is 4,
/// RTA_GATEWAY 5, RTA_PRIORITY 6, RTA_MULTIPATH 9, RTA_TABLE 15.
fn route(is_there: bool, payload: &[u8]) -> Option<Change> {
    let (destination_bits, table, kind) = (*payload.get(1)?, *payload.get(4)?, *payload.get(7)?);
    let number = |kind| attribute(payload, 12, kind).and_then(|value| u32_at(value, 0));
    let table = number(15).unwrap_or(u32::from(table));
    if destination_bits != 0 || table != TABLE_MAIN || kind != UNICAST {
        return None;
    }
    let family = family(*payload.first()?)?;
    // Of several next hops the first stands for all: `struct rtnexthop` is length (2), flags, hops, index (4), attributes.
    let hop = attribute(payload, 12, 9);
    let link = number(4).or_else(|| u32_at(hop?, 4))?;
    let gateway = attribute(payload, 12, 5).or_else(|| {
        let hop = hop?;
        let length = usize::from(u16::from_ne_bytes(*hop.first_chunk::<2>()?));
        attribute(hop.get(..length)?, 8, 5)
    });
    let route = DefaultRoute { family, link, gateway: gateway.and_then(ip), metric: number(6).unwrap_or(0) };
    Some(Change::Route(route, is_there))
}

/// `struct ndmsg`: family, pad, pad (2), index (4), state (2), flags, type. NDA_DST is 1.
fn neighbour(is_there: bool, payload: &[u8]) -> Option<Change> {
    family(*payload.first()?)?;
    let index = u32_at(payload, 4)?;
    let state = u16::from_ne_bytes(*payload.get(8..)?.first_chunk::<2>()?);
    let state = match state {
        // That it is forgotten says nothing of whether it answers.
        _ if !is_there => return None,
        state if state & NUD_FAILED != 0 => Neighbour::Failed,
        state if state & NUD_REACHED != 0 => Neighbour::Reached,
        _ => return None,
    };
    Some(Change::Neighbour(index, ip(attribute(payload, 12, 1)?)?, state))
}

/// A socket at which the kernel tells every change, after everything that is there.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
}

/// Why nothing more could be read.
#[derive(Debug, PartialEq, Eq)]
pub enum Lost {
    /// Changes were lost: everything has to be asked for again.
    Overrun,
    /// The socket cannot be used.
    Failed(String),
}

impl Socket {
    /// Subscribed to all changes.
    ///
    /// # Errors
    /// The kernel's, in words: address families may be restricted (AF_NETLINK).
    pub fn open() -> Result<Self, String> {
        let failed = |error: Errno| format!("no routing socket: {}", error.desc());
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute).map_err(failed)?;
        // What it gives without privileges may be less; an overrun is seen.
        let _ = setsockopt(&fd, sockopt::RcvBuf, &RECEIVE_BYTES);
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, GROUPS)).map_err(failed)?;
        Ok(Self { fd, sequence: 0 })
    }

    /// What is waited for.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Everything that is there now, in an order in which it can be understood.
    ///
    /// # Errors
    /// The kernel does not answer, or refuses.
    pub fn everything(&mut self) -> Result<Vec<Change>, String> {
        let mut changes = Vec::new();
        for (kind, header_bytes) in DUMPS {
            self.ask(kind, header_bytes)?;
            loop {
                self.wait()?;
                match self.receive() {
                    Ok(Some(told)) => {
                        changes.extend(told.changes);
                        if told.is_done {
                            break;
                        }
                    }
                    Ok(None) => {}
                    Err(Lost::Overrun) => return Err("changes were lost while everything was asked for".into()),
                    Err(Lost::Failed(why)) => return Err(why),
                }
            }
        }
        Ok(changes)
    }

    fn ask(&mut self, kind: u16, header_bytes: usize) -> Result<(), String> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        // Any family, and no filter.
        let body = vec![0_u8; header_bytes];
        header.message_type = kind;
        header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        header.sequence_number = self.sequence;
        header.length = u32::try_from(header.buffer_len() + body.len()).unwrap_or(0);
        let mut bytes = vec![0; header.buffer_len()];
        header.emit(&mut bytes);
        bytes.extend(body);
        let sent = send(self.fd.as_raw_fd(), &bytes, MsgFlags::empty());
        sent.map(drop).map_err(|error| format!("the kernel is not asked: {}", error.desc()))
    }

    fn wait(&self) -> Result<(), String> {
        use nix::poll::{PollFd, PollFlags, poll};
        let mut fds = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, ANSWER_MS) {
            Ok(0) => Err("the kernel does not answer at the routing socket".into()),
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.desc().into()),
        }
    }

    /// The next datagram. None: there is none now.
    ///
    /// # Errors
    /// See [`Lost`].
    pub fn receive(&self) -> Result<Option<Told>, Lost> {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        match recvfrom::<NetlinkAddr>(self.fd.as_raw_fd(), &mut buffer) {
            // Any process may send here; the kernel's own port is 0.
            Ok((_, Some(from))) if from.pid() != 0 => Ok(Some(Told::default())),
            Ok((length, _)) => Ok(Some(read(buffer.get(..length).unwrap_or_default()))),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
            Err(Errno::ENOBUFS) => Err(Lost::Overrun),
            Err(error) => Err(Lost::Failed(format!("the routing socket: {}", error.desc()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(kind: u16, body: &[u8], attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut payload = body.to_vec();
        for (kind, value) in attributes {
            payload.extend(u16::try_from(value.len() + 4).expect("short").to_ne_bytes());
            payload.extend(kind.to_ne_bytes());
            payload.extend(*value);
            payload.resize(payload.len().next_multiple_of(4), 0);
        }
        let mut bytes = u32::try_from(payload.len() + 16).expect("short").to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(payload);
        bytes
    }

    fn words(numbers: &[u32]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
    }

    #[test]
    fn links_addresses_routes_and_neighbours_are_understood() {
        let link = [words(&[0, 2, IFF_UP | IFF_LOWER_UP, 0])].concat();
        let mut bytes = message(NEW_LINK, &link, &[(3, b"eth0\0")]);
        bytes.extend(message(NEW_ADDRESS, &[&[2, 24, 0, 0][..], &words(&[2])].concat(), &[(2, &[10, 0, 0, 2])]));
        bytes.extend(message(NEW_ADDRESS, &[&[2, 8, 0, 254][..], &words(&[1])].concat(), &[(2, &[127, 0, 0, 1])]));
        let default = [&[2, 0, 0, 0, 254, 3, 0, 1][..], &words(&[0])].concat();
        bytes.extend(message(NEW_ROUTE, &default, &[(4, &words(&[2])), (5, &[10, 0, 0, 1]), (6, &words(&[100]))]));
        let failed = [&[2, 0, 0, 0][..], &words(&[2]), &NUD_FAILED.to_ne_bytes(), &[0, 1]].concat();
        bytes.extend(message(NEW_NEIGHBOUR, &failed, &[(1, &[10, 0, 0, 1])]));
        bytes.extend(message(DEL_LINK, &words(&[0, 7, 0, 0]), &[]));
        bytes.extend(message(NLMSG_DONE, &[0; 4], &[]));
        let (me, gateway) = (IpAddr::from([10, 0, 0, 2]), IpAddr::from([10, 0, 0, 1]));
        let route = DefaultRoute { family: Family::V4, link: 2, gateway: Some(gateway), metric: 100 };
        let told = read(&bytes);
        let expected = vec![
            Change::Link(2, "eth0".into(), true, true),
            Change::Address(2, me, true, true),
            Change::Address(1, IpAddr::from([127, 0, 0, 1]), false, true),
            Change::Route(route, true),
            Change::Neighbour(2, gateway, Neighbour::Failed),
            Change::LinkGone(7),
        ];
        assert_eq!(told, Told { changes: expected, is_done: true, is_torn: false });
    }

    #[test]
    fn of_several_next_hops_the_first_counts_and_other_tables_do_not() {
        let default = |table: u8| [&[2, 0, 0, 0, table, 3, 0, 1][..], &words(&[0])].concat();
        let hop = [&[16, 0, 0, 0][..], &words(&[3]), &[8, 0, 5, 0, 10, 0, 0, 9]].concat();
        let told = read(&message(NEW_ROUTE, &default(254), &[(9, &hop)]));
        let gateway = Some(IpAddr::from([10, 0, 0, 9]));
        let route = DefaultRoute { family: Family::V4, link: 3, gateway, metric: 0 };
        assert_eq!(told.changes, [Change::Route(route, true)]);
        assert_eq!(read(&message(NEW_ROUTE, &default(100), &[(4, &words(&[2]))])).changes, []);
    }

    #[test]
    fn the_kernel_tells_of_the_loopback_that_every_machine_has() {
        let mut socket = Socket::open().expect("a socket");
        let changes = socket.everything().expect("everything");
        let is_loopback = |change: &Change| matches!(change, Change::Link(_, name, _, _) if name == "lo");
        assert!(changes.iter().any(is_loopback), "{changes:?}");
    }

    proptest! {
        #[test]
        fn whatever_bytes_come_they_are_read_to_their_end(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let told = read(&bytes);
            prop_assert!(told.changes.len() <= bytes.len() / 16);
        }

        #[test]
        fn a_message_with_a_bit_changed_is_no_danger(at in 0..200_usize, bit in 0..8_u8) {
            let default = [&[2, 0, 0, 0, 254, 3, 0, 1][..], &words(&[0])].concat();
            let mut bytes = message(NEW_ROUTE, &default, &[(9, &[16, 0, 0, 0, 3, 0, 0, 0, 8, 0, 5, 0, 1, 2, 3, 4])]);
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            prop_assert!(read(&bytes).changes.len() <= 1);
        }
    }
}
