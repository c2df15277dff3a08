//! Takes the node out of service, and puts it back.
//!
//! Inputs: a [`Slurm`], a node's name. Outputs: the node before and after. Must never change a node that someone else has drained.

use crate::slurm::{Slurm, Watch};
use crate::table::Node;
use cloudsnooze_plugin::{Code, Error};

/// Whether this node is drained by someone else, or for something else.
pub(crate) fn is_anothers(node: &Node, reason: &str) -> bool {
    node.is_drained() && node.reason != reason
}

/// Drains it, unless it is; gives how it is then.
///
/// # Errors
/// The command's refusal, or that it had no effect.
pub(crate) fn drain(slurm: &Slurm, name: &str, before: &Node, reason: &str, watch: &Watch<'_>) -> Result<Node, Error> {
    if before.is_drained() {
        return Ok(before.clone());
    }
    slurm.drain(name, reason, watch)?;
    let after = slurm.node(name, watch)?;
    if !after.is_drained() {
        return Err(Error::new(format!("node {name} is {} after it was drained", after.state)).code(Code::State));
    }
    Ok(after)
}

/// A node before and after.
pub(crate) type Resumed = (Node, Node);

/// Resumes it when it is drained for this reason; else gives why not.
///
/// # Errors
/// The command's refusal, or that it had no effect.
pub(crate) fn resume(
    slurm: &Slurm,
    name: &str,
    reason: &str,
    watch: &Watch<'_>,
) -> Result<Result<Resumed, String>, Error> {
    let before = slurm.node(name, watch)?;
    if !before.is_drained() {
        return Ok(Err(format!("node {name} is {}: someone else has resumed it", before.state)));
    }
    if is_anothers(&before, reason) {
        return Ok(Err(format!("node {name} is drained for another reason now: {}", before.reason)));
    }
    slurm.resume(name, watch)?;
    let after = slurm.node(name, watch)?;
    if after.is_drained() {
        return Err(Error::new(format!("node {name} is {} after it was resumed", after.state)).code(Code::State));
    }
    Ok(Ok((before, after)))
}
