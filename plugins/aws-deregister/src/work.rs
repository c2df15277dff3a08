//! The steps: out, and back in.
//!
//! Inputs: clients, the configuration, what was done. Outputs: states before and after. Must never stop at the first step that
//! does not work: the others may.

use crate::balancer::{self, Seen, Target};
use crate::cluster;
use crate::config::{Config, WaitFor};
use crate::done::Done;
use aws_sdk_ecs::Client as Cluster;
use aws_sdk_elasticloadbalancingv2::Client as Balancer;
use cloudsnooze_plugin::serde_json::{Value, json};
use cloudsnooze_plugin::{Code, Error};
use cloudsnooze_plugin_aws::SdkConfig;
use cloudsnooze_plugin_runtime::Clock;
use std::time::Duration;

/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The machine and how to reach its surroundings.
pub(crate) struct Work<'a> {
    pub(crate) config: &'a Config,
    pub(crate) instance: String,
    balancer: Balancer,
    cluster: Cluster,
}

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Sight {
    pub(crate) targets: Vec<Seen>,
    pub(crate) container_instance: Option<cluster::Seen>,
}

/// What became of it all.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) before: Sight,
    pub(crate) after: Sight,
    /// What did not work.
    pub(crate) failures: Vec<Error>,
    /// Whether there was anything to do.
    pub(crate) has_changed: bool,
}

impl Sight {
    fn report(&self) -> Value {
        json!({
            "targets": self.targets.iter().map(Seen::report).collect::<Vec<_>>(),
            "ecs": self.container_instance.as_ref().map(cluster::Seen::report),
        })
    }
}

impl Told {
    pub(crate) fn report(&self, action: &str) -> Value {
        json!({
            "action": action,
            "evidence": { "before": self.before.report(), "after": self.after.report() },
            "failed": self.failures.iter().map(Error::message).collect::<Vec<_>>(),
            "durable": "unknown",
        })
    }

    fn note<T>(&mut self, result: Result<T, Error>) -> Option<T> {
        result.map_err(|error| self.failures.push(error)).ok()
    }
}

impl<'a> Work<'a> {
    pub(crate) fn new(config: &'a Config, sdk: &SdkConfig, instance: String) -> Self {
        Self { config, instance, balancer: Balancer::new(sdk), cluster: Cluster::new(sdk) }
    }

    fn target_id(&self) -> &str {
        self.config.target_id.as_deref().unwrap_or(&self.instance)
    }

    /// How things are.
    pub(crate) async fn look(&self, told: &mut Told) -> Sight {
        let mut sight = Sight::default();
        for group in &self.config.target_groups {
            let seen = balancer::targets(&self.balancer, group, self.target_id()).await;
            sight.targets.extend(told.note(seen).unwrap_or_default());
        }
        if let Some(ecs) = &self.config.ecs {
            sight.container_instance = told.note(cluster::look(&self.cluster, ecs, &self.instance).await).flatten();
        }
        sight
    }

    /// Takes the machine out.
    pub(crate) async fn leave(&self, done: &Done, clock: &Clock) -> Told {
        let mut told = Told::default();
        told.before = self.look(&mut told).await;
        let registered: Vec<Target> =
            told.before.targets.iter().filter(|seen| seen.is_registered()).map(|seen| seen.target.clone()).collect();
        for target in &registered {
            done.add_target(target);
            told.has_changed = true;
            told.note(balancer::deregister(&self.balancer, target).await);
        }
        if let (Some(ecs), Some(seen)) = (&self.config.ecs, told.before.container_instance.clone())
            && seen.status == "ACTIVE"
        {
            done.add_drained(&seen.arn);
            told.has_changed = true;
            told.note(cluster::set(&self.cluster, &ecs.cluster, &seen.arn, true).await);
        }
        let wait = Duration::from_secs(self.config.wait_seconds);
        told.after = self.until(&mut told, &clock.within(wait), |sight| self.is_out(sight)).await;
        if told.failures.is_empty() && !self.is_out(&told.after) {
            let text = format!("is not out yet: {}", told.after.report());
            told.failures.push(Error::new(text).code(Code::Deadline));
        }
        told
    }

    /// Puts back what was taken out.
    pub(crate) async fn come_back(&self, done: &Done, clock: &Clock) -> Told {
        let mut told = Told::default();
        let changes = done.changes();
        told.before = self.look(&mut told).await;
        for target in &changes.targets {
            told.has_changed = true;
            if told.note(balancer::register(&self.balancer, target).await).is_some() {
                done.remove_target(target);
            }
        }
        if let (Some(ecs), Some(arn)) = (&self.config.ecs, &changes.drained) {
            told.has_changed = true;
            let now = told.before.container_instance.as_ref();
            // Somebody who set it to something else had a reason.
            let is_ours = now.is_some_and(|seen| seen.arn == *arn && seen.status == "DRAINING");
            let set = if is_ours { cluster::set(&self.cluster, &ecs.cluster, arn, false).await } else { Ok(()) };
            if told.note(set).is_some() {
                done.remove_drained();
            }
        }
        let is_back = |sight: &Sight| changes.targets.iter().all(|target| sight.holds(target));
        told.after = self.until(&mut told, &clock.within(Duration::from_secs(5)), is_back).await;
        if told.failures.is_empty() && !is_back(&told.after) {
            told.failures.push(Error::new("is not back in every target group").code(Code::State));
        }
        told
    }

    async fn until(&self, told: &mut Told, clock: &Clock, is_so: impl Fn(&Sight) -> bool) -> Sight {
        loop {
            let failures = told.failures.len();
            let sight = self.look(told).await;
            let has_failed = told.failures.len() > failures;
            if is_so(&sight) || has_failed || clock.left() < LOOK_AGAIN || clock.is_cancelled() {
                return sight;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Whether nothing new comes to the machine; what it still has to finish counts as configured.
    pub(crate) fn is_out(&self, sight: &Sight) -> bool {
        let is_out = |seen: &Seen| match self.config.wait_for {
            WaitFor::Draining => !seen.is_registered(),
            WaitFor::Drained => seen.state == "unused",
        };
        let is_active = sight.container_instance.as_ref().is_some_and(|seen| seen.status == "ACTIVE");
        sight.targets.iter().all(is_out) && !is_active
    }
}

impl Sight {
    /// Whether that target is registered.
    fn holds(&self, target: &Target) -> bool {
        self.targets.iter().any(|seen| seen.target == *target && seen.is_registered())
    }

    /// Whether there is anything of the machine.
    pub(crate) fn is_empty(&self) -> bool {
        self.targets.is_empty() && self.container_instance.is_none()
    }
}
