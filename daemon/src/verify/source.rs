//! The tests of plugins that bring notices: how they run, stop, and hear what is over.
//!
//! Inputs: a case. Outputs: findings. What a provider says cannot be made up here, so no notice need come. Must never wait
//! without a limit for a source.
#![allow(unsafe_code)]

use super::case::Case;
use super::drive::{Driven, note};
use super::{Body, Finding, Group, Test};
use crate::event::EventId;
use crate::event::told::{Heard, Here, Sight, Told};
use crate::host::source::{self, Feed};
use crate::sys::bell::Bell;
use crate::sys::{clock, surroundings};
use cloudsnooze_abi as abi;
use std::ptr::NonNull;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;
use uuid::Uuid;

/// How long a source may take to come back, as the ABI says, milliseconds.
const GRACE_MS: i64 = 2_000;
/// What a busy machine may add.
const SLACK_MS: i64 = 500;
/// How long the first word of its health is waited for.
const FIRST_WORD: Duration = Duration::from_secs(8);
/// Runs of one instance, one after the other.
const RUNS: usize = 5;

const SOURCE: Test = Test::of(Group::Source, 20, "source-run");

/// The tests of this group.
pub const TESTS: &[Test] = &[
    Test {
        name: "source-offer",
        expected: "a class that claims to be a source offers cloudsnooze.source/1 with run, and no other does",
        advice: "claim SNOOZE_CAP_SOURCE, and answer get_extension for SNOOZE_EXTENSION_SOURCE with a table that has run",
        needs: "life-activate",
        body: Body::Dynamic(offer),
        ..SOURCE
    },
    Test {
        name: "source-run",
        expected: "run watches, says by health whether it sees, and comes back within two seconds of being told to",
        advice: "wait for stop_fd beside the provider, call health at the start, and return SNOOZE_OK when told to stop",
        needs: "source-offer",
        body: Body::Dynamic(runs),
        ..SOURCE
    },
    Test {
        name: "source-again",
        expected: "run can be called again after it came back, without growth of threads or descriptors",
        advice: "close what run opened before it returns, and forget that it was told to stop when it is called anew",
        body: Body::Dynamic(again),
        ..SOURCE
    },
    Test {
        name: "source-stopped",
        expected: "a stop that comes before run has it come back at once",
        advice: "look at stop_fd before the first wait, and let stop be called at any time",
        body: Body::Dynamic(stopped),
        ..SOURCE
    },
    Test {
        name: "source-over",
        expected: "over is survived for events that it does not know, twice, and with an outcome of a later version",
        advice: "look the event up in what you told, ignore what is not there, and read unknown outcomes as failed",
        body: Body::Dynamic(over),
        ..SOURCE
    },
];

/// Takes whatever is told as news, and passes on that there was a word of health.
struct Ears {
    words: Sender<Sight>,
    refused: Vec<String>,
    told: u64,
}

impl Feed for Ears {
    fn notice(&mut self, _: Told) -> Heard {
        self.told += 1;
        Heard::News(EventId(Uuid::from_u128(self.told.into())))
    }

    fn withdrawn(&mut self, _: Told) -> Heard {
        Heard::Nothing
    }

    fn machine(&mut self, _: Here) {}

    fn health(&mut self, sight: Sight) {
        let _ = self.words.send(sight);
    }

    fn refused(&mut self, why: &str) {
        self.refused.push(why.to_owned());
    }
}

/// A source under test.
#[derive(Clone, Copy)]
struct Watcher {
    driven: Driven,
    table: NonNull<abi::snooze_source>,
}

// SAFETY: the ABI names the threads of each function, and the tests keep to them.
unsafe impl Send for Watcher {}

/// What one run was like.
struct Run {
    /// Its first word; None: there was none in time.
    first: Option<Sight>,
    status: abi::snooze_status,
    text: Option<String>,
    refused: Vec<String>,
    after_stop_ms: i64,
}

impl Watcher {
    fn open(case: &Case) -> Result<Self, Finding> {
        let driven = case.active()?;
        if !driven.claims(abi::SNOOZE_CAP_SOURCE) {
            return Err(Finding::Skipped("it is no source".into()));
        }
        let table = source::table_at(driven.extension(abi::SNOOZE_EXTENSION_SOURCE)).map_err(Finding::Bad)?;
        Ok(Self { driven, table })
    }

    /// Runs it on a thread, and stops it after its first word; `is_early`: before.
    fn run(self, is_early: bool) -> Result<Run, Finding> {
        let bell = Bell::new().map_err(|error| Finding::Skipped(format!("no descriptor: {error}")))?;
        let ((words, heard), (done, ended)) = (channel(), channel());
        if is_early {
            self.stop(&bell);
        }
        let stop_fd = bell.descriptor();
        let body = move || {
            let watcher = self;
            let mut ears = Ears { words, refused: Vec::new(), told: 0 };
            super::stage::take_error();
            // SAFETY: an active instance and its own table.
            let status = unsafe { source::run(watcher.driven.raw_table(), watcher.table, &mut ears, stop_fd) };
            let _ = done.send((status, super::stage::take_error(), ears.refused));
        };
        note("run");
        let spawned = std::thread::Builder::new().name("verify-source".into()).spawn(body);
        spawned.map_err(|error| Finding::Skipped(format!("no thread: {error}")))?;
        // Without a word either: it has come back.
        let first = if is_early { None } else { heard.recv_timeout(FIRST_WORD).ok() };
        let stopped_ns = clock::boot_ns();
        if !is_early {
            self.stop(&bell);
        }
        let limit = Duration::from_millis((GRACE_MS + SLACK_MS).unsigned_abs());
        let result = ended.recv_timeout(limit);
        note("between calls");
        match result {
            Ok((status, text, refused)) => {
                let after_stop_ms = (clock::boot_ns() - stopped_ns) / 1_000_000;
                Ok(Run { first, status, text, refused, after_stop_ms })
            }
            Err(RecvTimeoutError::Timeout) => {
                // Leaked: it is still in use.
                std::mem::forget(bell);
                Err(Finding::Late(format!("run had not come back {} ms after it was told to", GRACE_MS + SLACK_MS)))
            }
            Err(RecvTimeoutError::Disconnected) => Err(Finding::Bad("an exception or a panic left run".into())),
        }
    }

    fn stop(self, bell: &Bell) {
        bell.stop();
        // SAFETY: an active instance and its own table.
        unsafe { source::stop(self.driven.raw_table(), self.table) };
    }

    fn close(self) {
        self.driven.deactivate();
        self.driven.destroy();
    }
}

impl Run {
    /// What is wrong with it, whatever the test was about.
    fn fault(&self) -> Option<Finding> {
        if let Some(why) = self.refused.first() {
            return Some(Finding::Bad(format!("the host refused what it told: {why}")));
        }
        (self.status == abi::SNOOZE_E_PANIC).then(|| {
            let text = self.text.as_deref().unwrap_or("without a text");
            Finding::Bad(format!("run panicked: {text}"))
        })
    }
}

fn offer(case: &Case) -> Result<Finding, Finding> {
    let driven = case.active()?;
    let (claims, answer) = (driven.claims(abi::SNOOZE_CAP_SOURCE), driven.extension(abi::SNOOZE_EXTENSION_SOURCE));
    let finding = match (claims, source::table_at(answer)) {
        (true, Ok(_)) => Finding::Good("it offers run".into()),
        (true, Err(why)) => Finding::Bad(why),
        (false, _) if answer.is_null() => Finding::Skipped("it is no source".into()),
        (false, _) => {
            Finding::Bad("it offers cloudsnooze.source/1, and its class does not claim to be a source".into())
        }
    };
    driven.deactivate();
    driven.destroy();
    Ok(finding)
}

fn runs(case: &Case) -> Result<Finding, Finding> {
    let watcher = Watcher::open(case)?;
    let run = watcher.run(false)?;
    watcher.close();
    if let Some(fault) = run.fault() {
        return Ok(fault);
    }
    let back = format!("came back {} ms after it was told to", run.after_stop_ms);
    Ok(match (run.first, run.status) {
        (Some(Sight { blind: None, .. }), 0..) => Finding::Good(format!("it sees, and {back}")),
        (Some(Sight { blind: Some(why), .. }), 0..) => Finding::Good(format!("it is blind ({why}), and {back}")),
        (_, status @ ..0) => match run.text {
            Some(text) => Finding::Doubtful(format!("it cannot run with these settings: {text}")),
            None => Finding::Bad(format!("run answered {status} without a text")),
        },
        (None, _) => Finding::Bad(format!("it said nothing of its health in {} s", FIRST_WORD.as_secs())),
    })
}

fn again(case: &Case) -> Result<Finding, Finding> {
    let watcher = Watcher::open(case)?;
    // The first may fill caches.
    watcher.run(false)?;
    let (threads, descriptors) = (surroundings::settled_threads(1), surroundings::descriptors().len());
    for _ in 0..RUNS {
        if let Some(fault) = watcher.run(false)?.fault() {
            return Ok(fault);
        }
    }
    let (more_threads, more_descriptors) = (
        surroundings::settled_threads(threads).saturating_sub(threads),
        surroundings::descriptors().len().saturating_sub(descriptors),
    );
    watcher.close();
    Ok(if more_threads >= RUNS || more_descriptors >= RUNS {
        Finding::Bad(format!(
            "after {RUNS} runs it holds {more_threads} threads and {more_descriptors} descriptors more"
        ))
    } else {
        Finding::Good(format!("{RUNS} runs"))
    })
}

fn stopped(case: &Case) -> Result<Finding, Finding> {
    let watcher = Watcher::open(case)?;
    let run = watcher.run(true)?;
    watcher.close();
    Ok(run.fault().unwrap_or_else(|| Finding::Good("it came back at once".into())))
}

fn over(case: &Case) -> Result<Finding, Finding> {
    let watcher = Watcher::open(case)?;
    let outcomes = [abi::SNOOZE_OVER_HANDLED, abi::SNOOZE_OVER_FAILED, abi::SNOOZE_OVER_REFUSED, 0, u32::MAX];
    let before = surroundings::settled_threads(1);
    note("over");
    for outcome in outcomes {
        for id in [[0; 16], [0xA5; 16], [0xA5; 16]] {
            // SAFETY: an active instance and its own table.
            unsafe { source::tell_over(watcher.driven.raw_table(), watcher.table, id, outcome) };
        }
    }
    note("between calls");
    let left = surroundings::settled_threads(before).saturating_sub(before);
    watcher.close();
    Ok(if left > 1 {
        Finding::Bad(format!("over left {left} threads behind"))
    } else {
        Finding::Good(format!("{} calls", outcomes.len() * 3))
    })
}
