//! One machine's way from a notice to a saved state, or to its fallback.
//!
//! Inputs: a machine and its place in the queue. Outputs: how it ended. Must never begin a save that cannot fit, or let one
//! that was recalled leave its machine stopped.

use crate::again::has_gone;
use crate::clock::{Clock, Stop};
use crate::config::{After, Fallback};
use crate::disk::Speed;
use crate::fit::{load, must_fit, speed};
use crate::image;
use crate::machine::{Kept, Machine, Obstacle, Survey, Watch, open};
use crate::notes::{Note, Stage};
use crate::plan::{Goal, Keep};
use crate::queue::Load;
use crate::scene::One;
use crate::told::Ending;
use cloudsnooze_plugin::{Code, Error};
use serde_json::json;
use std::time::Duration;

/// For putting a machine in order when there is no time for it. The host waits for a quarter of a second; the thread goes on.
const PUT_BACK: Duration = Duration::from_secs(2);
/// The same when the time is over: the machine goes away.
const LAST: Duration = Duration::from_millis(150);
/// The same while there is time.
const IN_ORDER: Duration = Duration::from_secs(30);
/// A machine that is saved is looked at for so long at the end.
const LAST_LOOK: Duration = Duration::from_millis(500);

/// Saves a machine.
///
/// # Errors
/// It is not saved: also when its fallback was to stop it.
pub(crate) fn save(one: &mut One<'_>) -> Result<Ending, Error> {
    let note = one.note();
    if let Some(ending) = note.as_ref().and_then(|note| done_before(one, note)) {
        return Ok(ending);
    }
    let Some(mut machine) = open(one.goal, one.clock)? else { return absent(one.goal) };
    let survey = machine.survey(one.clock)?;
    one.told.before(&survey, machine.process());
    // One that this plugin has stopped ran before that.
    let earlier = note.filter(|note| matches!(note.stage, Stage::Begun | Stage::Kept | Stage::Paused));
    let was_running = survey.is_running || earlier.as_ref().is_some_and(|note| note.was_running);
    let begun = Note {
        event: one.scene.event.to_owned(),
        stage: Stage::Begun,
        was_running,
        process: machine.process(),
        kept: None,
    };
    let admitted = match survey.obstacle(earlier.is_some()) {
        Some(Obstacle::Nothing(text)) => return Ok(Ending::Nothing(text)),
        Some(Obstacle::Hands(text)) => return Err(Error::new(text).code(Code::State)),
        Some(Obstacle::Cannot(text)) => Err(Error::new(text).code(Code::State)),
        None => admit(one, &survey),
    };
    let result = admitted.and_then(|(load, speed)| {
        one.put(begun.clone());
        let watch = Watch {
            queue: &one.scene.queue,
            disks: one.scene.disks,
            sealer: one.scene.sealer,
            at: one.at,
            load,
            speed,
            max_bandwidth: one.goal.max_bandwidth,
            is_running: survey.is_running,
        };
        machine.save(&watch, one.clock)
    });
    one.scene.queue.leave(one.at);
    match (result, one.clock.stopped()) {
        (Ok(kept), _) => Ok(keep(one, machine.as_mut(), begun, kept)),
        (Err(error), Some(Stop::Recalled)) => Err(put_back(one, machine.as_mut(), &begun, &error)),
        (Err(error), Some(Stop::Time)) => Err(error),
        (Err(error), None) => fall_back(one, machine.as_mut(), begun, &error),
    }
}

/// What an earlier attempt at the same event has done is not done again.
fn done_before(one: &mut One<'_>, note: &Note) -> Option<Ending> {
    if note.event != one.scene.event {
        return None;
    }
    match (note.stage, &note.kept) {
        (Stage::Ended, Some(kept)) => {
            one.told.kept(kept);
            one.told.skip("save", "an earlier attempt has saved it");
            Some(Ending::Saved(kept.synced))
        }
        (Stage::Down, _) if has_gone(one.goal, note, one.clock).unwrap_or(false) => {
            one.told.skip("save", "an earlier attempt has shut it down");
            Some(Ending::Down)
        }
        _ => None,
    }
}

/// What one that does not run means.
///
/// # Errors
/// It should.
pub(crate) fn absent(goal: &Goal) -> Result<Ending, Error> {
    let text = match &goal.keep {
        Keep::File { qmp, .. } | Keep::Snapshot { qmp, .. } => {
            format!("it does not run: nobody listens on {}", qmp.display())
        }
        Keep::Managed { domain, .. } => format!("it does not run: the domain {domain} is shut off"),
    };
    if goal.is_optional { Ok(Ending::Nothing(text)) } else { Err(Error::new(text).code(Code::State)) }
}

/// Decides whether it fits, and waits for its turn.
fn admit(one: &mut One<'_>, survey: &Survey) -> Result<(Load, Speed), Error> {
    let load = load(survey);
    let speed = speed(one.scene.disks, one.goal, survey);
    let ahead = one.scene.queue.enter(one.at, load, one.clock)?;
    must_fit(one, survey, ahead, speed)?;
    let beside = one.scene.queue.turn(one.at, load, one.clock)?;
    // Those before it may have taken longer than they should.
    must_fit(one, survey, beside, speed)?;
    Ok((load, speed))
}

/// What follows a save.
fn keep(one: &mut One<'_>, machine: &mut dyn Machine, begun: Note, mut kept: Kept) -> Ending {
    let mut note = Note { stage: Stage::Kept, kept: Some(kept.clone()), ..begun };
    one.put(note.clone());
    if one.goal.after == After::Quit {
        match machine.dismiss(one.clock) {
            Ok(()) => {
                note.stage = Stage::Ended;
                one.told.after("status", json!("ended"));
            }
            // It is saved all the same.
            Err(error) => one.told.skip("quit", error.message()),
        }
    }
    if note.stage == Stage::Kept {
        look(one, machine, LAST_LOOK);
    }
    if let (true, Some(path)) = (one.goal.sha256, &kept.path) {
        match image::sha256(path, one.clock) {
            Ok(Some(hash)) => kept.sha256 = Some(hash),
            Ok(None) => one.told.skip("sha256", "not done in time"),
            Err(error) => one.told.skip("sha256", &error.to_string()),
        }
    }
    one.told.kept(&kept);
    let synced = kept.synced;
    note.kept = Some(kept);
    one.put(note);
    Ending::Saved(synced)
}

/// After a recall the machine runs on, if it ran.
fn put_back(one: &One<'_>, machine: &mut dyn Machine, begun: &Note, error: &Error) -> Error {
    let text = format!("{error}; {}", run_on(one, machine, begun));
    Error::new(text).code(Code::Cancelled)
}

/// Lets a machine run on that is not saved after all; says what came of it.
fn run_on(one: &One<'_>, machine: &mut dyn Machine, begun: &Note) -> String {
    if !begun.was_running {
        one.forget();
        return "it was stopped before, and stays so".to_owned();
    }
    let clock = in_order(one.clock);
    let result = match machine.status(&clock) {
        Ok(status) if status == "running" => Ok(()),
        Ok(_) => machine.resume(&clock),
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => {
            one.forget();
            "it runs on".to_owned()
        }
        // A withdrawal will find the note.
        Err(error) => format!("it could not be continued: {error}"),
    }
}

/// What is done with a machine that cannot be saved.
fn fall_back(one: &mut One<'_>, machine: &mut dyn Machine, begun: Note, error: &Error) -> Result<Ending, Error> {
    one.told.skip("save", error.message());
    let done = match one.goal.fallback {
        Fallback::None => run_on(one, machine, &begun),
        Fallback::Pause => {
            one.put(Note { stage: Stage::Paused, ..begun });
            let paused = machine.pause(&in_order(one.clock));
            paused.map_or_else(|error| format!("it could not be stopped: {error}"), |()| "stopped".to_owned())
        }
        Fallback::Shutdown if !begun.was_running => "it was stopped before, and cannot shut down".to_owned(),
        Fallback::Shutdown => match shut_down(one, machine, begun) {
            Ok(()) => {
                one.told.after("status", json!("ended"));
                return Ok(Ending::Down);
            }
            Err(error) => format!("shutdown: {error}"),
        },
    };
    look(one, machine, LAST);
    Err(Error::new(format!("{error}; {done}")).code(error.kind()))
}

/// The time there is for putting a machine in order, also after a recall or the end.
fn in_order(clock: &Clock) -> Clock {
    match clock.stopped() {
        None if clock.left() > LAST => clock.within(IN_ORDER),
        None | Some(Stop::Time) => Clock::apart(LAST),
        Some(Stop::Recalled) => Clock::apart(PUT_BACK),
    }
}

fn shut_down(one: &One<'_>, machine: &mut dyn Machine, begun: Note) -> Result<(), Error> {
    one.put(Note { stage: Stage::Down, ..begun });
    if machine.status(one.clock)? != "running" {
        // Its guest has to do something.
        machine.resume(one.clock)?;
    }
    machine.power_down(one.clock)
}

fn look(one: &mut One<'_>, machine: &mut dyn Machine, limit: Duration) {
    let status = machine.status(&Clock::apart(limit)).unwrap_or_else(|error| error.message().to_owned());
    one.told.after("status", json!(status));
}
