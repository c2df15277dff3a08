//! Looks whether a machine could be saved now, and changes nothing: for a drill, and for notices after which the machine
//! may stay.
//!
//! Inputs: a machine and its place in the queue. Outputs: [`Ending::Checked`], or what is in the way. Must never stop a
//! machine, nor write anything but a probe of the disk.

use crate::fit::{load, must_fit, speed};
use crate::machine::{Obstacle, open};
use crate::plan::Keep;
use crate::save::absent;
use crate::scene::One;
use crate::told::Ending;
use cloudsnooze_plugin::{Code, Error};
use rustix::fs::{Access, access};
use serde_json::json;

/// Checks a machine.
///
/// # Errors
/// It could not be saved, and why.
pub(crate) fn check(one: &mut One<'_>) -> Result<Ending, Error> {
    let Some(mut machine) = open(one.goal, one.clock)? else { return absent(one.goal) };
    let survey = machine.survey(one.clock)?;
    one.told.before(&survey, machine.process());
    match survey.obstacle(false) {
        Some(Obstacle::Nothing(text)) => return Ok(Ending::Nothing(text)),
        Some(Obstacle::Hands(text) | Obstacle::Cannot(text)) => return Err(Error::new(text).code(Code::State)),
        None => {}
    }
    if let (Keep::File { to, .. }, Some(directory)) = (&one.goal.keep, survey.directory.as_deref())
        && let Err(error) = access(directory, Access::WRITE_OK)
    {
        return Err(Error::from(error).code(Code::Denied).context(format_args!("write {}", to.display())));
    }
    let (load, speed) = (load(&survey), speed(one.scene.disks, one.goal, &survey));
    let ahead = one.scene.queue.enter(one.at, load, one.clock)?;
    must_fit(one, &survey, ahead, speed)?;
    one.scene.queue.turn(one.at, load, one.clock)?;
    let status = machine.status(one.clock)?;
    one.told.after("status", json!(status));
    Ok(Ending::Checked)
}
