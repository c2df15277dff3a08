//! What is still to be written down, in order, and the file it goes to.
//!
//! Inputs: rows as things happen. Outputs: one commit for all of them; queries. Used by the recorder and by those who
//! ask the history; the pool never waits for it. Must never lose a row to a disk that is full for a while: rows wait,
//! up to [`WAITING_MAX`], and are written when there is room again.

use super::life::Life;
use super::store::{EventSummary, Row, Store, is_transient};
use crate::config::History;
use crate::sys::clock;
use serde_json::Value;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Rows that one commit holds at most: in a flood, what is written is not far behind what happened.
const COMMIT_MAX: usize = 512;
/// Rows that wait for a disk that refuses them; beyond, the oldest are lost.
const WAITING_MAX: usize = 50_000;

/// Who hears of each row when it is noted, before it is on the disk. Must not wait.
pub trait Mirror: Send + Sync {
    /// A row is to be written down.
    fn noted(&self, row: &Row);
}

/// The journal.
pub(super) struct Journal {
    store: Mutex<Store>,
    waiting: Mutex<Waiting>,
    mirror: OnceLock<Arc<dyn Mirror>>,
}

#[derive(Default)]
struct Waiting {
    rows: Vec<Row>,
    /// A commit is on its way to the disk.
    is_writing: bool,
    /// So many of them came since the last commit was tried.
    fresh: usize,
    /// What to tell when they are written down.
    lines: Vec<Value>,
}

/// What came of writing down.
pub(super) struct Told {
    /// Why it failed, and for how many rows for good.
    pub(super) error: Option<String>,
    /// Rows that wait for another time.
    pub(super) waiting: usize,
    /// What may be told now.
    pub(super) lines: Vec<Value>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Journal {
    /// A journal on this store.
    pub(super) fn new(store: Store) -> Self {
        Self { store: Mutex::new(store), waiting: Mutex::default(), mirror: OnceLock::new() }
    }

    /// Has `mirror` hear of what is noted from now on. Only the first counts.
    pub(super) fn tell_to(&self, mirror: Arc<dyn Mirror>) {
        let _ = self.mirror.set(mirror);
    }

    /// Notes a row for the next commit.
    pub(super) fn note(&self, row: Row) {
        if let Some(mirror) = self.mirror.get() {
            mirror.noted(&row);
        }
        let mut waiting = lock(&self.waiting);
        waiting.rows.push(row);
        waiting.fresh += 1;
    }

    /// Notes a line to be told after the next commit.
    pub(super) fn then_tell(&self, line: Value) {
        lock(&self.waiting).lines.push(line);
    }

    /// Whether enough has come together for a commit.
    pub(super) fn is_due(&self) -> bool {
        lock(&self.waiting).fresh >= COMMIT_MAX
    }

    /// Whether everything that was noted is on the disk.
    pub(super) fn is_empty(&self) -> bool {
        let waiting = lock(&self.waiting);
        waiting.rows.is_empty() && !waiting.is_writing
    }

    /// Rows that wait to be written down.
    pub(super) fn rows_waiting(&self) -> usize {
        lock(&self.waiting).rows.len()
    }

    /// Writes down what was noted. Waits for the disk.
    pub(super) fn write_down(&self) -> Told {
        let mut waiting = lock(&self.waiting);
        let is_writing = !waiting.rows.is_empty();
        let Waiting { mut rows, lines, .. } =
            std::mem::replace(&mut *waiting, Waiting { is_writing, ..Waiting::default() });
        drop(waiting);
        if !is_writing {
            return Told { error: None, waiting: 0, lines };
        }
        let error = self.write(&mut rows);
        let lost = rows.len().saturating_sub(WAITING_MAX);
        rows.drain(..lost);
        let waiting = rows.len();
        let mut later = lock(&self.waiting);
        rows.append(&mut later.rows);
        later.rows = rows;
        later.is_writing = false;
        drop(later);
        let error = error.map(|e| if lost > 0 { format!("{e}; {lost} rows are lost: too many wait") } else { e });
        Told { error, waiting, lines }
    }

    /// Leaves in `rows` what may be written later. Gives the first error.
    fn write(&self, rows: &mut Vec<Row>) -> Option<String> {
        let mut store = lock(&self.store);
        let error = match store.write(rows) {
            Ok(()) => {
                rows.clear();
                return None;
            }
            Err(error) => error,
        };
        if !is_transient(&error) {
            // One of them cannot be written, whatever the disk does: the others are.
            rows.retain(|row| store.write(std::slice::from_ref(row)).is_err_and(|e| is_transient(&e)));
        }
        Some(error.to_string())
    }

    /// Drops some of what is not to be kept; gives whether there may be more.
    ///
    /// # Errors
    /// The store's, as text.
    pub(super) fn drop_some(&self, keep: &History) -> Result<bool, String> {
        lock(&self.store).drop_some(keep, clock::wall_ns()).map_err(|e| e.to_string())
    }

    /// The newest events.
    ///
    /// # Errors
    /// The store's, as text.
    pub(super) fn events(&self, limit: usize, event_type: Option<&str>) -> Result<Vec<EventSummary>, String> {
        lock(&self.store).events(limit, event_type).map_err(|e| e.to_string())
    }

    /// The report of an event that is over, as JSON text.
    ///
    /// # Errors
    /// The store's, as text.
    pub(super) fn report(&self, id: &str) -> Result<Option<String>, String> {
        lock(&self.store).report(id).map_err(|e| e.to_string())
    }

    /// The latest life of a machine, as it was written down.
    ///
    /// # Errors
    /// The store's, as text.
    pub(super) fn life_of(&self, instance_id: &str) -> Result<Option<Life>, String> {
        lock(&self.store).life_of(instance_id).map_err(|e| e.to_string())
    }
}
