//! How much of the applications' socket one user may take, so that nobody keeps another's application from it.
//!
//! Inputs: users who connect and leave, lines that arrive, the time. Outputs: a place that is given back when dropped, or
//! a refusal. Must never be asked by a real-time thread.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most connections at the same time; those of root and the daemon's own user are not counted here.
pub const CONNECTIONS_MAX: usize = 256;
/// Most connections of one user.
pub const CONNECTIONS_OF_ONE_MAX: usize = 128;
/// Most connections of root or the daemon's own user, the handler's among them.
pub const CONNECTIONS_OF_OWNER_MAX: usize = 256;
/// Lines that one connection may send in one go.
pub const LINES_BURST: f64 = 64.0;
/// Lines that one connection may send in a second, in the long run.
pub const LINES_PER_SECOND: f64 = 20.0;

/// The connections there are.
#[derive(Default)]
pub struct Limits(Mutex<State>);

#[derive(Default)]
struct State {
    by_user: BTreeMap<u32, usize>,
    all: usize,
}

/// A place that is taken; dropping it gives it back.
pub struct Place {
    limits: Arc<Limits>,
    uid: u32,
    is_counted: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.limits.lock();
        state.all -= usize::from(self.is_counted);
        if let Some(count) = state.by_user.get_mut(&self.uid) {
            *count -= 1;
            if *count == 0 {
                state.by_user.remove(&self.uid);
            }
        }
    }
}

impl Limits {
    /// A place for a connection of this user; `is_owner`: root or the daemon's own.
    ///
    /// # Errors
    /// A sentence: there is none left.
    pub fn connect(self: &Arc<Self>, uid: u32, is_owner: bool) -> Result<Place, &'static str> {
        let mut state = self.lock();
        let most = if is_owner { CONNECTIONS_OF_OWNER_MAX } else { CONNECTIONS_OF_ONE_MAX };
        if state.by_user.get(&uid).is_some_and(|count| *count >= most) {
            return Err("too many connections of this user");
        }
        if !is_owner && state.all >= CONNECTIONS_MAX {
            return Err("too many connections of all users");
        }
        *state.by_user.entry(uid).or_default() += 1;
        state.all += usize::from(!is_owner);
        Ok(Place { limits: Arc::clone(self), uid, is_counted: !is_owner })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How fast one connection sends.
pub struct Pace {
    tokens: f64,
    filled_ns: i64,
}

impl Pace {
    /// A connection that has not sent anything by now (CLOCK_BOOTTIME nanoseconds).
    pub fn new(now_ns: i64) -> Self {
        Self { tokens: LINES_BURST, filled_ns: now_ns }
    }

    /// Counts a line. False: there are too many.
    #[allow(clippy::cast_precision_loss, reason = "a pace is no exact thing")]
    pub fn takes(&mut self, now_ns: i64) -> bool {
        let seconds = now_ns.saturating_sub(self.filled_ns).max(0) as f64 / 1e9;
        self.tokens = (self.tokens + seconds * LINES_PER_SECOND).min(LINES_BURST);
        self.filled_ns = now_ns;
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(limits: &Arc<Limits>, uid: u32, is_owner: bool) -> Vec<Place> {
        std::iter::from_fn(|| limits.connect(uid, is_owner).ok()).collect()
    }

    #[test]
    fn one_user_takes_its_share_and_gives_it_back() {
        let limits = Arc::new(Limits::default());
        let places = taken(&limits, 1000, false);
        assert_eq!(places.len(), CONNECTIONS_OF_ONE_MAX);
        assert_eq!(limits.connect(1000, false).err(), Some("too many connections of this user"));
        assert!(limits.connect(1001, false).is_ok());
        drop(places);
        assert!(limits.connect(1000, false).is_ok());
        assert!(limits.lock().by_user.is_empty(), "who has left is forgotten");
    }

    #[test]
    fn the_handler_gets_in_when_all_others_have_taken_everything() {
        let limits = Arc::new(Limits::default());
        let places: Vec<_> = (1000..1010).flat_map(|uid| taken(&limits, uid, false)).collect();
        assert_eq!(places.len(), CONNECTIONS_MAX);
        assert_eq!(limits.connect(1011, false).err(), Some("too many connections of all users"));
        assert_eq!(taken(&limits, 0, true).len(), CONNECTIONS_OF_OWNER_MAX);
    }

    #[test]
    fn a_flood_of_lines_is_cut_and_a_talk_is_not() {
        let mut pace = Pace::new(0);
        assert_eq!((0..1000).take_while(|_| pace.takes(0)).count(), 64);
        let mut pace = Pace::new(0);
        assert!((0..1000).all(|second| pace.takes(second * 100_000_000)), "ten a second for as long as it likes");
    }
}
