//! Puts a machine back after a withdrawn notice.
//!
//! Inputs: a note of what was done. Outputs: a machine that runs, or what has to be done by hand. Must never let a machine
//! run on beside a saved state that has its name: started from it later, it would find disks of another time.

use crate::clock::Clock;
use crate::command;
use crate::file::retire;
use crate::machine::{Machine, is_stopped, open};
use crate::notes::{Note, Stage};
use crate::plan::{Goal, Keep};
use crate::scene::One;
use crate::told::{Ending, Told};
use cloudsnooze_plugin::{Code, Error};
use serde_json::json;
use std::time::Duration;

/// Puts it back.
///
/// # Errors
/// It does not run again: the note stays.
pub(crate) fn undo(one: &mut One<'_>) -> Result<Ending, Error> {
    let Some(note) = one.note() else {
        return Ok(Ending::Nothing("nothing was done to it".to_owned()));
    };
    let (goal, clock) = (one.goal, one.clock);
    let ending = match note.stage {
        Stage::Begun | Stage::Kept | Stage::Paused => go_on(goal, &note, &mut one.told, clock)?,
        Stage::Ended => start(goal, &note, &mut one.told, clock)?,
        Stage::Down => Ending::Nothing(down(goal, clock)?),
    };
    one.forget();
    Ok(ending)
}

/// What became of one that was told to shut down.
fn down(goal: &Goal, clock: &Clock) -> Result<String, Error> {
    Ok(match open(goal, clock)? {
        None => "it was shut down, and is left so".to_owned(),
        Some(mut machine) => format!("it was told to shut down, and is {}", machine.status(clock)?),
    })
}

/// Continues one that is still there.
fn go_on(goal: &Goal, note: &Note, told: &mut Told, clock: &Clock) -> Result<Ending, Error> {
    let Some(mut machine) = open(goal, clock)? else {
        return Ok(Ending::Nothing("it was stopped, and somebody has ended it since".to_owned()));
    };
    let status = machine.status(clock)?;
    told.was(&status);
    if status == "running" {
        return Ok(Ending::Nothing("it runs already".to_owned()));
    }
    if !note.was_running {
        return Ok(Ending::Nothing("it was stopped before the notice, and stays so".to_owned()));
    }
    resume(goal, machine.as_mut(), told, clock)
}

fn resume(goal: &Goal, machine: &mut dyn Machine, told: &mut Told, clock: &Clock) -> Result<Ending, Error> {
    if let Keep::File { to, .. } = &goal.keep
        && retire(to)?
    {
        told.after("set_aside", json!(crate::file::beside(to, "old")));
    }
    machine.resume(clock)?;
    told.after("status", json!(machine.status(clock)?));
    Ok(Ending::Resumed)
}

/// Starts one that was ended, where it is configured how.
fn start(goal: &Goal, note: &Note, told: &mut Told, clock: &Clock) -> Result<Ending, Error> {
    let Some(words) = goal.restore_words() else {
        let place = note.kept.as_ref().and_then(|kept| kept.path.clone());
        told.after("left_at", json!(place));
        let text = "it was saved and ended; there is no restore command, so it is left as it is";
        return Ok(Ending::Nothing(text.to_owned()));
    };
    told.was("ended");
    // Somebody may have been faster.
    let machine = match open(goal, clock)? {
        Some(machine) => machine,
        None => {
            command::run(&words, clock)?.success("restore")?;
            appear(goal, clock)?
        }
    };
    loaded(goal, machine, note.was_running, told, clock)
}

/// Waits until it is there.
fn appear(goal: &Goal, clock: &Clock) -> Result<Box<dyn Machine>, Error> {
    loop {
        if let Some(machine) = open(goal, clock)? {
            return Ok(machine);
        }
        clock.go_on("the machine that restore has started")?;
        std::thread::sleep(Duration::from_millis(50).min(clock.left()));
    }
}

/// Waits until its state is loaded, and continues it if it ran.
fn loaded(
    goal: &Goal,
    mut machine: Box<dyn Machine>,
    was_running: bool,
    told: &mut Told,
    clock: &Clock,
) -> Result<Ending, Error> {
    let status = loop {
        let status = machine.status(clock)?;
        if status != "inmigrate" && status != "restore-vm" {
            break status;
        }
        clock.go_on("its state to be loaded")?;
        clock.pause();
    };
    if status == "running" {
        if let Keep::File { to, .. } = &goal.keep {
            retire(to)?;
        }
        told.after("status", json!(status));
        return Ok(Ending::Resumed);
    }
    if !was_running {
        told.after("status", json!(status));
        return Ok(Ending::Nothing("it was stopped before the notice, and is started and stopped again".to_owned()));
    }
    if !is_stopped(&status) && status != "prelaunch" {
        return Err(Error::new(format!("restore: it is {status}")).code(Code::State));
    }
    resume(goal, machine.as_mut(), told, clock)
}
