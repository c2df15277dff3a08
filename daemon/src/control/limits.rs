//! How much of the control socket one user may take, so that nobody keeps an operator from it.
//!
//! Inputs: who asks, the time (CLOCK_BOOTTIME). Outputs: a place that is given back when dropped, or what is over the limit.
//! Must never be asked by a real-time thread. Users without any right share one account: there may be more of them than can be
//! remembered. The dashboard's port has two accounts, one for whoever shows the token and one for the rest, so that neither keeps
//! anybody from the socket and nobody who guesses keeps out who knows.

use super::rights::{Caller, Door};
use crate::dispatch::report::seconds;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most connections at the same time; those of root and the daemon's own user are not counted here.
pub const CONNECTIONS_MAX: usize = 128;
/// Most connections of one user.
pub const CONNECTIONS_OF_ONE_MAX: usize = 32;
/// Most connections of all users without any right.
pub const CONNECTIONS_OF_STRANGERS_MAX: usize = 8;
/// Most watchers; those of root and the daemon's own user are not counted here.
pub const WATCHERS_MAX: usize = 32;
/// Most watchers of one user.
pub const WATCHERS_OF_ONE_MAX: usize = 8;
/// Requests that one user may make in one go.
pub const REQUESTS_BURST: f64 = 200.0;
/// Requests that one user may make in a second, in the long run.
pub const REQUESTS_PER_SECOND: f64 = 100.0;
/// Events that one user may emit in one go: a script that tells of everything at once, after a pause.
pub const EVENTS_BURST: f64 = 20.0;
/// Events that one user may emit in a second, in the long run: a custom event is rare, and each calls handlers and is kept.
pub const EVENTS_PER_SECOND: f64 = 1.0;

/// What is over its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// The caller's own share.
    Own(&'static str),
    /// What all have together.
    All(&'static str),
}

/// The accounts.
#[derive(Default)]
pub struct Limits {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    accounts: BTreeMap<Key, Account>,
    connections: usize,
    watchers: usize,
}

/// Whose account it is: the door, and the user there; None: all who have no right.
type Key = (Door, Option<u32>);

/// What one user has.
struct Account {
    connections: usize,
    watchers: usize,
    /// Requests it may make now.
    tokens: f64,
    /// Events it may emit now.
    events: f64,
    filled_ns: i64,
}

impl Account {
    fn fill(&mut self, now_ns: i64) {
        let seconds = seconds(now_ns.saturating_sub(self.filled_ns).max(0));
        self.tokens = (self.tokens + seconds * REQUESTS_PER_SECOND).min(REQUESTS_BURST);
        self.events = (self.events + seconds * EVENTS_PER_SECOND).min(EVENTS_BURST);
        self.filled_ns = now_ns;
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Connection,
    Watcher,
}

/// A place that is taken; dropping it gives it back.
pub struct Place {
    limits: Arc<Limits>,
    account: Key,
    is_counted: bool,
    kind: Kind,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.limits.lock();
        let counted = usize::from(self.is_counted);
        match self.kind {
            Kind::Connection => state.connections -= counted,
            Kind::Watcher => state.watchers -= counted,
        }
        if let Some(account) = state.accounts.get_mut(&self.account) {
            match self.kind {
                Kind::Connection => account.connections -= 1,
                Kind::Watcher => account.watchers -= 1,
            }
        }
    }
}

impl Limits {
    /// A place for a connection of the caller.
    ///
    /// # Errors
    /// There is none left.
    pub fn connect(self: &Arc<Self>, caller: &Caller, now_ns: i64) -> Result<Place, Over> {
        // Whom nothing holds any more is forgotten, so that there are never more accounts than connections and a few seconds' worth.
        self.lock().accounts.retain(|_, account| {
            account.fill(now_ns);
            let is_resting = account.tokens < REQUESTS_BURST || account.events < EVENTS_BURST;
            account.connections + account.watchers > 0 || is_resting
        });
        self.take(caller, Kind::Connection, now_ns)
    }

    /// A place for a watcher.
    ///
    /// # Errors
    /// There is none left.
    pub fn watch(self: &Arc<Self>, caller: &Caller, now_ns: i64) -> Result<Place, Over> {
        self.take(caller, Kind::Watcher, now_ns)
    }

    /// Counts a request. Root and the daemon's own user are not paced: a drill may make many, and they could do worse.
    ///
    /// # Errors
    /// The caller makes too many; there will be room again after a second at the latest.
    pub fn request(&self, caller: &Caller, now_ns: i64) -> Result<(), Over> {
        if caller.is_owner {
            return Ok(());
        }
        let mut state = self.lock();
        let account = state.account(account_of(caller), now_ns);
        account.fill(now_ns);
        if account.tokens < 1.0 {
            return Err(Over::Own("requests"));
        }
        account.tokens -= 1.0;
        Ok(())
    }

    /// Counts an event that the caller emits. Root and the daemon's own user are not paced, as above.
    ///
    /// # Errors
    /// The caller emits too many; there will be room for one again after a second at the latest.
    pub fn event(&self, caller: &Caller, now_ns: i64) -> Result<(), Over> {
        if caller.is_owner {
            return Ok(());
        }
        let mut state = self.lock();
        let account = state.account(account_of(caller), now_ns);
        account.fill(now_ns);
        if account.events < 1.0 {
            return Err(Over::Own("events"));
        }
        account.events -= 1.0;
        Ok(())
    }

    fn take(self: &Arc<Self>, caller: &Caller, kind: Kind, now_ns: i64) -> Result<Place, Over> {
        let mut state = self.lock();
        let (account, is_counted) = (account_of(caller), !caller.is_owner);
        let (all, all_max, what) = match kind {
            Kind::Connection => (state.connections, CONNECTIONS_MAX, "connections"),
            Kind::Watcher => (state.watchers, WATCHERS_MAX, "watchers"),
        };
        let own = state.account(account, now_ns);
        let (taken, max) = match kind {
            // Who comes to the port has not been able to show anything yet.
            Kind::Connection if caller.right.is_none() && caller.door == Door::Socket => {
                (&mut own.connections, CONNECTIONS_OF_STRANGERS_MAX)
            }
            Kind::Connection => (&mut own.connections, CONNECTIONS_OF_ONE_MAX),
            Kind::Watcher => (&mut own.watchers, WATCHERS_OF_ONE_MAX),
        };
        if *taken >= max {
            return Err(Over::Own(what));
        }
        if is_counted && all >= all_max {
            return Err(Over::All(what));
        }
        *taken += 1;
        match kind {
            Kind::Connection => state.connections += usize::from(is_counted),
            Kind::Watcher => state.watchers += usize::from(is_counted),
        }
        Ok(Place { limits: Arc::clone(self), account, is_counted, kind })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn account(&mut self, account: Key, now_ns: i64) -> &mut Account {
        let fresh =
            || Account { connections: 0, watchers: 0, tokens: REQUESTS_BURST, events: EVENTS_BURST, filled_ns: now_ns };
        self.accounts.entry(account).or_insert_with(fresh)
    }
}

fn account_of(caller: &Caller) -> Key {
    (caller.door, caller.right.map(|_| caller.uid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::rights::{Holder, Rights};
    use crate::sys::peer::Peer;

    const SECOND_NS: i64 = 1_000_000_000;

    fn caller(uid: u32, gid: u32) -> Caller {
        Rights::new(900, [10; 4].map(|gid| Holder { gid, name: None })).of(&Peer { uid, gids: vec![gid] })
    }

    fn taken(limits: &Arc<Limits>, who: &Caller, now: i64) -> Vec<Place> {
        std::iter::from_fn(|| limits.connect(who, now).ok()).collect()
    }

    #[test]
    fn one_user_takes_its_share_and_gives_it_back() {
        let (limits, now) = (Arc::new(Limits::default()), 1_000_000_000_000);
        let one = caller(1000, 10);
        let places = taken(&limits, &one, now);
        assert_eq!(places.len(), CONNECTIONS_OF_ONE_MAX);
        assert_eq!(limits.connect(&one, now).err(), Some(Over::Own("connections")));
        assert!(limits.connect(&caller(1001, 10), now).is_ok(), "another user has its own share");
        drop(places);
        assert!(limits.connect(&one, now).is_ok());
        let watchers: Vec<Place> = std::iter::from_fn(|| limits.watch(&one, now).ok()).collect();
        assert_eq!(watchers.len(), WATCHERS_OF_ONE_MAX);
    }

    #[test]
    fn strangers_share_one_account_however_many_they_are() {
        let (limits, now) = (Arc::new(Limits::default()), 1_000_000_000_000);
        let places: Vec<Place> = (5000..6000).filter_map(|uid| limits.connect(&caller(uid, 1), now).ok()).collect();
        assert_eq!(places.len(), CONNECTIONS_OF_STRANGERS_MAX);
        assert_eq!(limits.lock().accounts.len(), 1);
    }

    #[test]
    fn root_gets_in_when_all_others_have_taken_everything() {
        let (limits, now) = (Arc::new(Limits::default()), 1_000_000_000_000);
        let _places: Vec<_> = (1000..1010).flat_map(|uid| taken(&limits, &caller(uid, 10), now)).collect();
        assert_eq!(limits.connect(&caller(1011, 10), now).err(), Some(Over::All("connections")));
        assert_eq!(taken(&limits, &caller(0, 0), now).len(), CONNECTIONS_OF_ONE_MAX);
    }

    #[test]
    fn whoever_fills_the_port_keeps_nobody_from_the_socket_and_no_guesser_slows_the_token_down() {
        let (limits, now) = (Arc::new(Limits::default()), 1_000_000_000_000);
        let (guest, holder) = (Caller::at_port(false), Caller::at_port(true));
        let places = taken(&limits, &guest, now);
        assert_eq!(places.len(), CONNECTIONS_OF_ONE_MAX);
        assert!(limits.connect(&caller(1000, 10), now).is_ok() && limits.connect(&caller(1000, 99), now).is_ok());
        while limits.request(&guest, now).is_ok() {}
        assert!(limits.request(&holder, now).is_ok());
    }

    #[test]
    fn requests_are_paced_and_a_rest_fills_the_bucket_again() {
        let (limits, now) = (Limits::default(), 1_000_000_000_000);
        let one = caller(1000, 10);
        let made = |limits: &Limits, now: i64| (0..1000).take_while(|_| limits.request(&one, now).is_ok()).count();
        assert_eq!(made(&limits, now), 200);
        assert!(limits.request(&caller(1001, 10), now).is_ok(), "another user is not slowed down");
        assert_eq!(made(&limits, now + SECOND_NS / 2), 50);
        assert_eq!(made(&limits, now + 3600 * SECOND_NS), 200, "no more than one burst is saved up");
        assert!((0..1000).all(|_| limits.request(&caller(0, 0), now).is_ok()), "root is not paced");
    }

    #[test]
    fn events_are_paced_for_each_user_and_leaving_does_not_fill_the_bucket() {
        let (limits, now) = (Arc::new(Limits::default()), 1_000_000_000_000);
        let one = caller(1000, 10);
        let emitted = |now: i64| (0..1000).take_while(|_| limits.event(&one, now).is_ok()).count();
        assert_eq!(emitted(now), 20);
        assert_eq!(limits.event(&one, now), Err(Over::Own("events")));
        drop(limits.connect(&one, now + 3 * SECOND_NS).expect("a place"));
        drop(limits.connect(&caller(1001, 10), now + 3 * SECOND_NS).expect("a place"));
        assert_eq!(emitted(now + 3 * SECOND_NS), 3);
        assert_eq!(emitted(now + 3600 * SECOND_NS), 20, "no more than one burst is saved up");
        assert!(limits.event(&caller(1001, 10), now).is_ok(), "another user is not slowed down");
        assert!((0..1000).all(|_| limits.event(&caller(0, 0), now).is_ok()), "root is not paced");
    }

    #[test]
    fn who_has_left_and_rested_is_forgotten() {
        let (limits, now) = (Arc::new(Limits::default()), 1_000_000_000_000);
        for uid in 1000..1100 {
            let place = limits.connect(&caller(uid, 10), now).expect("a place");
            limits.request(&caller(uid, 10), now).expect("paced");
            drop(place);
        }
        let later = now + SECOND_NS;
        let _place = limits.connect(&caller(1, 10), later).expect("a place");
        assert_eq!(limits.lock().accounts.len(), 1);
    }
}
