//! Starts again what was stopped.
//!
//! Inputs: an [`Engine`], what the record says was stopped. Outputs: [`Started`] for each. In reverse order: what was stopped last, on
//! which the others depend, is started first. Must never call one started that the engine does not show as running.

use crate::engine::{Engine, Seen, Watch, short};
use crate::record::Stopped;
use cloudsnooze_plugin::serde_json::{Value, json};
use cloudsnooze_plugin::{Code, Error};
use futures_util::future::join_all;

/// What became of one.
pub(crate) struct Started {
    pub(crate) stopped: Stopped,
    before: Option<Seen>,
    after: Option<Seen>,
    is_gone: bool,
    pub(crate) failure: Option<Error>,
}

impl Started {
    /// Whether nothing is left to be done for it.
    pub(crate) fn is_settled(&self) -> bool {
        self.failure.is_none() || self.is_gone
    }

    pub(crate) fn report(&self) -> Value {
        let unseen = if self.is_gone { "removed" } else { "unknown" };
        let shown = |seen: &Option<Seen>| seen.as_ref().map_or_else(|| json!({ "status": unseen }), Seen::shown);
        let mut report = json!({
            "id": short(&self.stopped.id), "name": self.stopped.name, "before": shown(&self.before),
            "after": shown(&self.after),
        });
        if let Some(failure) = &self.failure {
            report["failure"] = json!(failure.message());
        }
        report
    }
}

/// Starts them all, the last group first; goes on with the others when one cannot be started.
pub(crate) fn all(engine: &Engine, stopped: &[Stopped], watch: &Watch<'_>) -> Vec<Started> {
    let mut groups: Vec<usize> = stopped.iter().map(|one| one.group).collect();
    groups.sort_unstable_by(|a, b| b.cmp(a));
    groups.dedup();
    let mut started = Vec::new();
    for group in groups {
        let members = stopped.iter().filter(|one| one.group == group).cloned();
        started.extend(engine.block_on(join_all(members.map(|member| one(engine, member, watch)))));
    }
    started
}

async fn one(engine: &Engine, stopped: Stopped, watch: &Watch<'_>) -> Started {
    let (mut before, mut is_gone) = (None, false);
    let ended = watch.bound(async {
        before = engine.inspect(&stopped.id).await?;
        if before.is_none() || !engine.start(&stopped.id).await? {
            is_gone = true;
            return Err(Error::new("it is not there any more, as with --rm").code(Code::State));
        }
        engine.inspect(&stopped.id).await
    });
    let (after, failure) = match ended.await {
        Ok(Some(after)) if after.is_running => (Some(after), None),
        Ok(after) => (after, Some(Error::new("it ended again at once").code(Code::State))),
        Err(error) => (None, Some(error)),
    };
    let failure = failure.map(|failure| failure.context(&stopped.name));
    Started { stopped, before, after, is_gone, failure }
}
