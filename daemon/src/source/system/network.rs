//! The network: interfaces, addresses, default routes, gateways, names.
//!
//! Responsibilities: what is known of the network and what is wrong with it (`Net`, pure), following the kernel. Inputs: changes
//! (`netlink`), answers to a question for a name (`names`). Outputs: findings. Must never send anything by itself: a gateway has
//! failed when the kernel asked for it in vain, and a name is asked for only where that is set.
//!
//! A default route that is gone because its interface is down is one failure, that of the interface.

use super::alarms::{Alarm, Finding, Subject};
use super::hysteresis::Settled;
use super::names::Names;
use super::netlink::{Change, DefaultRoute, Family, Lost, Neighbour, Socket};
use super::watcher::{Desk, Watcher, nanoseconds};
use crate::config::NetworkWatch;
use crate::event::{EventType, Moment, Severity};
use nix::poll::PollFlags;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

/// Source of its events.
pub const SOURCE: &str = "system.network";

/// A look that finds nothing new, only to show that somebody looks.
const SELDOM_NS: i64 = 60 * 1_000_000_000;

/// Names in events.
const fn name_of(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Well,
    /// There is no such interface.
    Missing,
    /// It is switched off.
    Down,
    /// Nothing is connected to it.
    NoCarrier,
    /// It has no address that others can reach.
    NoAddress,
    /// There is no default route.
    NoRoute,
    /// The gateway does not answer.
    GatewayFailed,
    /// The interface that it takes is not well, which is told of that.
    WithInterface,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::WithInterface => "with-interface",
            Self::Missing => "missing",
            Self::Down => "down",
            Self::NoCarrier => "no-carrier",
            Self::NoAddress => "no-address",
            Self::NoRoute => "no-default-route",
            Self::GatewayFailed => "gateway-failed",
        }
    }
}

#[derive(Debug)]
struct Link {
    name: String,
    is_up: bool,
    has_carrier: bool,
}

/// What is known of the network: pure.
#[derive(Debug, Default)]
struct Net {
    links: BTreeMap<u32, Link>,
    /// By interface and address, whether others can reach it.
    addresses: BTreeMap<(u32, IpAddr), bool>,
    routes: BTreeSet<DefaultRoute>,
    failed: BTreeSet<(u32, IpAddr)>,
    /// The route that was used last, by family, with the name of its interface.
    last_used: BTreeMap<Family, (DefaultRoute, String)>,
}

impl Net {
    fn apply(&mut self, change: Change) {
        match change {
            Change::Link(index, name, is_up, has_carrier) => {
                self.links.insert(index, Link { name, is_up, has_carrier });
                // The kernel takes its routes away, of IPv4 without a word (net/ipv4/fib_frontend.c).
                if !is_up {
                    self.routes.retain(|route| route.link != index);
                    self.failed.retain(|(link, _)| *link != index);
                }
            }
            Change::LinkGone(index) => {
                self.links.remove(&index);
                self.addresses.retain(|(link, _), _| *link != index);
                self.routes.retain(|route| route.link != index);
                self.failed.retain(|(link, _)| *link != index);
            }
            Change::Address(index, address, is_global, true) => {
                self.addresses.insert((index, address), is_global);
            }
            Change::Address(index, address, _, false) => {
                self.addresses.remove(&(index, address));
                let has_any = self.addresses.keys().any(|(link, address)| *link == index && address.is_ipv4());
                // With the last of them its routes go, without a word.
                if address.is_ipv4() && !has_any {
                    self.routes.retain(|route| route.link != index || route.family != Family::V4);
                }
            }
            Change::Route(route, true) => {
                self.routes.insert(route);
            }
            Change::Route(route, false) => {
                self.routes.remove(&route);
            }
            Change::Neighbour(link, address, state) => {
                let is_gateway = self.routes.iter().any(|r| r.link == link && r.gateway == Some(address));
                if state == Neighbour::Failed && is_gateway {
                    self.failed.insert((link, address));
                } else {
                    self.failed.remove(&(link, address));
                }
            }
        }
        self.note_used();
    }

    fn note_used(&mut self) {
        for family in [Family::V4, Family::V6] {
            let used = self.used(family).and_then(|r| Some((r.clone(), self.links.get(&r.link)?.name.clone())));
            self.last_used.extend(used.map(|used| (family, used)));
        }
    }

    /// The default route that is used: the one with the least metric whose interface works.
    fn used(&self, family: Family) -> Option<&DefaultRoute> {
        let works =
            |route: &&DefaultRoute| self.links.get(&route.link).is_some_and(|link| link.is_up && link.has_carrier);
        let routes = || self.routes.iter().filter(move |route| route.family == family);
        routes().filter(works).min_by_key(|route| route.metric).or_else(|| routes().min_by_key(|route| route.metric))
    }

    fn interface(&self, name: &str) -> State {
        let Some((index, link)) = self.links.iter().find(|(_, link)| link.name == name) else { return State::Missing };
        match () {
            () if !link.is_up => State::Down,
            () if !link.has_carrier => State::NoCarrier,
            () if !self.addresses.iter().any(|((link, _), is_global)| link == index && *is_global) => State::NoAddress,
            () => State::Well,
        }
    }

    fn route(&self, family: Family, is_watched: impl Fn(&str) -> bool) -> State {
        let covered = |name: &str| is_watched(name) && self.interface(name) != State::Well;
        match self.used(family) {
            Some(route) => {
                let is_covered = self.links.get(&route.link).is_some_and(|link| covered(&link.name));
                let has_failed = route.gateway.is_some_and(|gateway| self.failed.contains(&(route.link, gateway)));
                match (is_covered, has_failed) {
                    (true, _) => State::WithInterface,
                    (_, true) => State::GatewayFailed,
                    _ => State::Well,
                }
            }
            None if self.last_used.get(&family).is_some_and(|(_, name)| covered(name)) => State::WithInterface,
            None => State::NoRoute,
        }
    }
}

/// Looks at the network.
pub struct Network {
    settings: NetworkWatch,
    socket: Option<Socket>,
    net: Net,
    interfaces: BTreeMap<String, Settled<State>>,
    routes: BTreeMap<Family, Settled<State>>,
    names: Option<Names>,
    is_new: bool,
    next_boot_ns: i64,
}

impl Network {
    /// Nothing is known yet.
    ///
    /// # Errors
    /// No descriptor is to be had.
    pub fn new(settings: &NetworkWatch) -> Result<Self, String> {
        Ok(Self {
            settings: settings.clone(),
            socket: None,
            net: Net::default(),
            interfaces: BTreeMap::new(),
            routes: BTreeMap::new(),
            names: settings.name_check.as_ref().map(Names::new).transpose()?,
            is_new: true,
            next_boot_ns: i64::MIN,
        })
    }

    fn settle_ns(&self) -> i64 {
        nanoseconds(self.settings.settle_seconds)
    }

    /// Takes in what the kernel tells; everything, where it is not known yet or something was lost.
    fn follow(&mut self) -> Result<(), String> {
        loop {
            let Some(socket) = &mut self.socket else {
                let mut socket = Socket::open()?;
                let changes = socket.everything()?;
                // What was used before is remembered: that it is gone is what has to be told.
                self.net = Net { last_used: std::mem::take(&mut self.net.last_used), ..Net::default() };
                changes.into_iter().for_each(|change| self.net.apply(change));
                self.socket = Some(socket);
                continue;
            };
            match socket.receive() {
                Ok(Some(told)) => told.changes.into_iter().for_each(|change| self.net.apply(change)),
                Ok(None) => return Ok(()),
                Err(Lost::Overrun) => self.socket = None,
                Err(Lost::Failed(why)) => {
                    self.socket = None;
                    return Err(why);
                }
            }
        }
    }

    /// What is watched from now on: what is set, or whatever has a default route; and what was told before a restart.
    fn choose(&mut self, desk: &Desk) {
        let settle_ns = self.settle_ns();
        let told = if std::mem::take(&mut self.is_new) { desk.of(SOURCE) } else { Vec::new() };
        // What was told has been so for long enough; it is over when something else is.
        let began_as = |told: bool, now: State| match (told, now) {
            (true, State::Well | State::WithInterface) => Settled::from(State::NoRoute, settle_ns),
            _ => Settled::after_ns(settle_ns),
        };
        for family in [Family::V4, Family::V6] {
            let was = told.iter().any(|s| s.check == "route" && s.resource == name_of(family));
            if (was || self.net.used(family).is_some()) && !self.routes.contains_key(&family) {
                let now = self.net.route(family, |name| self.interfaces.contains_key(name));
                self.routes.insert(family, began_as(was, now));
            }
        }
        let used = self.net.last_used.values().map(|(_, name)| name.clone());
        let told = told.iter().filter(|subject| subject.check == "interface").map(|subject| subject.resource.clone());
        let told: Vec<String> = told.collect();
        let names: Vec<String> = match &self.settings.interfaces {
            Some(names) => names.clone(),
            None => used.chain(told.iter().cloned()).collect(),
        };
        for name in names {
            if !self.interfaces.contains_key(&name) {
                let now = self.net.interface(&name);
                self.interfaces.insert(name.clone(), began_as(told.contains(&name), now));
            }
        }
    }

    fn judge(&mut self, now: Moment, desk: &mut Desk) {
        for (name, settled) in &mut self.interfaces {
            let state = settled.see(self.net.interface(name), now.boot_ns);
            let data = [("interface", json!(name)), ("state", json!(state.as_str()))];
            desk.set(&Subject::new(SOURCE, "interface", name.as_str()), finding(state, data), now);
        }
        let watched: BTreeSet<&String> = self.interfaces.keys().collect();
        for (family, settled) in &mut self.routes {
            let is_watched = |name: &str| watched.contains(&name.to_owned());
            let state = settled.see(self.net.route(*family, is_watched), now.boot_ns);
            if state == State::WithInterface {
                // What was told of it is not over.
                continue;
            }
            let used = self.net.last_used.get(family);
            let gateway = used.and_then(|(route, _)| route.gateway).map(|gateway| gateway.to_string());
            let data = [
                ("family", json!(name_of(*family))),
                ("state", json!(state.as_str())),
                ("interface", json!(used.map(|(_, name)| name))),
                ("gateway", json!(gateway)),
            ];
            desk.set(&Subject::new(SOURCE, "route", name_of(*family)), finding(state, data), now);
        }
    }

    fn ask_for_name(&mut self, now: Moment, desk: &mut Desk) {
        let Some(names) = &mut self.names else { return };
        if let Some(answer) = names.look(now.boot_ns) {
            let mut data = Map::from_iter([("name".to_owned(), json!(names.name()))]);
            let subject = Subject::new(SOURCE, "name", names.name());
            let found = match answer {
                Ok(()) => Finding::Well(data),
                Err(error) => {
                    data.insert("error".into(), json!(error));
                    failure(data)
                }
            };
            desk.set(&subject, found, now);
        }
    }
}

fn finding<const N: usize>(state: State, data: [(&str, Value); N]) -> Finding {
    let data = data.into_iter().filter(|(_, value)| !value.is_null());
    let data = data.map(|(key, value)| (key.to_owned(), value)).collect();
    match state {
        State::Well => Finding::Well(data),
        _ => failure(data),
    }
}

fn failure(data: Map<String, Value>) -> Finding {
    let (event_type, severity) = (EventType::NETWORK_FAILURE, Severity::Warning);
    Finding::Wrong(Alarm { event_type, severity, effective: None, data })
}

impl Watcher for Network {
    fn name(&self) -> &'static str {
        "network"
    }

    fn descriptors(&self) -> Vec<(BorrowedFd<'_>, PollFlags)> {
        let names = self.names.iter().map(|names| (names.as_fd(), PollFlags::POLLIN));
        self.socket.iter().map(|socket| (socket.as_fd(), PollFlags::POLLIN)).chain(names).collect()
    }

    fn next_boot_ns(&self) -> i64 {
        self.next_boot_ns
    }

    fn look(&mut self, _ready: &[bool], now: Moment, desk: &mut Desk) -> Result<(), String> {
        let followed = self.follow();
        if followed.is_ok() {
            self.choose(desk);
            self.judge(now, desk);
        }
        self.ask_for_name(now, desk);
        let settling = self.interfaces.values().chain(self.routes.values()).filter_map(Settled::due_boot_ns);
        let asking = self.names.iter().map(Names::next_boot_ns);
        let seldom = now.boot_ns.saturating_add(SELDOM_NS);
        self.next_boot_ns = settling.chain(asking).fold(seldom, i64::min);
        followed
    }

    fn watched(&self) -> String {
        let mut parts: Vec<String> = self.interfaces.keys().cloned().collect();
        parts.extend(self.routes.keys().map(|family| format!("the default route of {}", name_of(*family))));
        parts.extend(self.names.iter().map(|names| format!("the name {}", names.name())));
        if parts.is_empty() { "no default route yet".into() } else { parts.join(", ") }
    }
}

#[cfg(test)]
mod tests;
