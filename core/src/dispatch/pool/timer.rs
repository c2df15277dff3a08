//! The timer: keeps deadlines, watches what calls burn, lets waiting workers go to other CPUs, and takes
//! notes to the outbox, outside the workers' lock.
//!
//! Inputs: the pool's state, the clock. Outputs: acts of the engine, notes in the outbox. Runs one priority
//! above the workers, on any CPU but theirs where there is another. Must never run foreign code, nor look
//! when there is nothing to see.

use super::crew::Worker;
use super::{Ongoing, Pool, State, duration};
use crate::dispatch::outbox::Note;
use crate::sys::sched::{self, Class};
use crate::sys::{clock, memory};
use std::thread;

/// The timer looks at least this often while calls run: it also watches their use of CPU. Nanoseconds.
const TICK_NS: i64 = 50_000_000;
/// It looks at least this often at all times, nanoseconds: what nobody waits for, the self-tests, needs no waking of its own.
/// A self-test that waits for a CPU which others keep busy is let go to another one only then, and measured so.
const IDLE_NS: i64 = 1_000_000_000;
/// Longest that notes wait for the timer, nanoseconds; in a flood, also the pause between two rounds.
const NOTES_NS: i64 = 2_000_000;
/// How long a worker may wait for the home CPU before it is let go to the others, and how soon the timer looks
/// again at one that waits, nanoseconds. Going there costs wake-ups of another CPU, so that many short handlers are
/// sooner done one after the other at home.
const CROWD_NS: i64 = 1_000_000;

impl Pool {
    /// Whether the timer must be woken to look at what has come. Notes that it looks in time.
    pub(super) fn timer_is_late(state: &mut State, crowded: bool) -> bool {
        if state.timer_looks_at == i64::MIN {
            // Awake: it looks at everything before it sleeps.
            return false;
        }
        // Once it is awake it keeps looking: not every hand-over of a crowd has to wake it.
        let wanted = state.next_look(are_waited_for(&state.notes), crowded);
        let is_late = wanted < state.timer_looks_at;
        if is_late {
            state.timer_looks_at = i64::MIN;
        }
        is_late
    }

    /// Wakes the timer: a system call, and an interrupt of the CPU where it sleeps.
    pub(super) fn wake_timer(&self) {
        if let Some(timer) = self.0.timer.get() {
            timer.unpark();
        }
    }

    /// The timer's life.
    pub(super) fn keep_time(&self) {
        sched::block_all_signals();
        memory::touch_stack();
        let _ = self.0.timer.set(thread::current());
        let grant = sched::raise_current_thread(Class::Fifo, self.0.config.rt_priority.saturating_add(1));
        // Its alarms and its own work would come between a notice and its handler.
        let elsewhere: Vec<u32> =
            self.0.everywhere.iter().copied().filter(|cpu| Some(*cpu) != self.0.config.home_cpu).collect();
        if grant.is_real_time() && !elsewhere.is_empty() {
            sched::place(0, &elsewhere);
        }
        let mut notes = Vec::with_capacity(super::NOTES_ROOM);
        let mut state = self.lock();
        loop {
            state.timer_looks_at = i64::MIN;
            let State { engine, acts, .. } = &mut *state;
            engine.tick(clock::now(), acts);
            self.carry_out(&mut state);
            // What was given up or withdrawn may have made room.
            self.admit(&mut state);
            self.watch(&mut state);
            self.0.signs.looked(&state);
            // Nobody on this CPU has to give way to whom it woke.
            state.handed = 0;
            std::mem::swap(&mut state.notes, &mut notes);
            let were_waited_for = are_waited_for(&notes);
            if !notes.is_empty() {
                // Waking the reader is a system call each: not under the workers' lock.
                drop(state);
                notes.drain(..).for_each(|note| self.0.outbox.push(note));
                state = self.lock();
            }
            // After notes come more notes: a flood must not wake the timer for each.
            let next = state.next_look(were_waited_for || are_waited_for(&state.notes), state.anyone_waits());
            state.timer_looks_at = next;
            drop(state);
            self.begin_posted();
            thread::park_timeout(duration(next - clock::boot_ns()));
            state = self.lock();
        }
    }

    /// A handler may block, but not burn: beyond its CPU budget it runs on at normal priority. And nobody
    /// waits for the home CPU behind a busy one.
    fn watch(&self, state: &mut State) {
        let (everywhere, now_ns) = (&self.0.everywhere, clock::boot_ns());
        for ongoing in &state.calls {
            let Some(worker) = state.worker_of(ongoing) else { continue };
            let waits_since_ns = worker.waits_since_ns();
            if waits_since_ns.is_some_and(|since_ns| now_ns - since_ns >= CROWD_NS) {
                worker.send_away(everywhere);
            }
            // A process may be at work while its worker still waits for the CPU.
            if waits_since_ns.is_none() && worker.burnt(self.0.config.cpu_budget_ns) {
                worker.demote(everywhere);
                state.notes.push(Note::Demoted { instance: ongoing.instance.name.clone() });
            } else if ongoing.instance.curb(self.0.config.cpu_budget_ns, everywhere) {
                state.notes.push(Note::Demoted { instance: ongoing.instance.name.clone() });
            }
        }
    }
}

/// Whether one of these tells of more than a self-test.
fn are_waited_for(notes: &[Note]) -> bool {
    !notes.iter().all(Note::is_of_self_test)
}

impl State {
    /// When there is something to see, CLOCK_BOOTTIME nanoseconds: what the engine waits for, calls that may burn,
    /// notes that somebody waits for, a crowd at the home CPU.
    fn next_look(&self, has_notes: bool, is_crowded: bool) -> i64 {
        let now = clock::boot_ns();
        let within = |is_so: bool, ns: i64| now + if is_so { ns } else { IDLE_NS };
        let calls = within(self.calls.iter().any(|ongoing| !ongoing.is_self_test), TICK_NS);
        let here = calls.min(within(has_notes, NOTES_NS)).min(within(is_crowded, CROWD_NS));
        self.engine.next_wake().map_or(here, |at| at.min(here))
    }

    fn worker_of(&self, ongoing: &Ongoing) -> Option<&Worker> {
        self.workers.get(ongoing.worker?).map(|worker| &**worker)
    }

    fn anyone_waits(&self) -> bool {
        self.calls.iter().filter_map(|ongoing| self.worker_of(ongoing)).any(|worker| worker.waits_since_ns().is_some())
    }
}
