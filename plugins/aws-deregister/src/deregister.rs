//! One instance: what to do for which event, and the verdict.
//!
//! Inputs: events, a [`Config`]. Outputs: a report with the states before and after. Must never change anything in a drill.

use crate::config::Config;
use crate::done::{Changes, Done};
use crate::work::{Told, Work};
use cloudsnooze_plugin::abi::{SNOOZE_CAP_DRILL, SNOOZE_CAP_UNDO};
use cloudsnooze_plugin::{
    Call, Cancel, Code, Error, Event, Host, Instance, Outcome, Plugin, Purpose, Subscription, Verification, c_str,
};
use cloudsnooze_plugin_aws::{Aws, SdkConfig};
use cloudsnooze_plugin_runtime::Clock;
use std::ffi::CStr;
use std::sync::Arc;
use std::time::Duration;

/// The plugin.
pub struct AwsDeregister {
    config: Arc<Config>,
    done: Arc<Done>,
    aws: Aws,
}

impl Plugin for AwsDeregister {
    const ID: &'static CStr = c"io.cloudsnooze.aws-deregister";
    const NAME: &'static CStr = c"aws-deregister";
    const VERSION: &'static CStr = c_str!(env!("CARGO_PKG_VERSION"));
    const DESCRIPTION: &'static CStr = c"Takes the machine out of its target groups and its ECS cluster";
    const CAPS: u64 = SNOOZE_CAP_UNDO | SNOOZE_CAP_DRILL;
    type Config = Config;

    fn new(host: Host, config: Config, instance: Instance) -> Result<Self, Error> {
        config.check()?;
        let aws = Aws::new(host, "aws-deregister", config.aws.clone())?;
        let done = Arc::new(Done::load(host, &instance.state_dir));
        Ok(Self { config: Arc::new(config), done, aws })
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        let budget = Duration::from_secs(40);
        vec![Subscription::on(&["cloud.*", "system.shutdown", "custom.*"]).priority(90).budget(budget)]
    }

    fn activate(&self) -> Result<(), Error> {
        let config = Arc::clone(&self.config);
        self.aws.start(move |sdk: SdkConfig| {
            let config = Arc::clone(&config);
            async move {
                let mut told = Told::default();
                // Of a machine that nobody has: what is asked is the same.
                Work::new(&config, &sdk, "i-none".to_owned()).look(&mut told).await;
                told.failures.into_iter().next().map_or(Ok(()), Err)
            }
        })
    }

    fn on_event(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Outcome, Error> {
        let (purpose, is_drill) = (event.purpose(), event.is_drill());
        if purpose == Purpose::Undo && self.done.changes() == Changes::default() {
            return Ok(Outcome::declined("this instance has taken nothing out that could be put back"));
        }
        if purpose == Purpose::Ahead && !is_drill {
            return Ok(Outcome::declined("the machine may stay: it goes on serving"));
        }
        let action = match purpose {
            Purpose::Undo => "register",
            _ if is_drill => "drill",
            _ => "deregister",
        };
        let (config, done, instance) = (Arc::clone(&self.config), Arc::clone(&self.done), instance(event)?);
        let told = self.aws.call(event, call, async move |sdk: SdkConfig, clock: Clock| {
            let work = Work::new(&config, &sdk, instance);
            Ok(match action {
                "register" => work.come_back(&done, &clock).await,
                "drill" => {
                    let mut told = Told { has_changed: true, ..Told::default() };
                    told.before = work.look(&mut told).await;
                    told.has_changed = !told.before.is_empty();
                    told
                }
                _ => work.leave(&done, &clock).await,
            })
        })?;
        judge(&told, action)
    }

    fn verify(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Verification, Error> {
        if event.is_drill() || event.purpose() != Purpose::Secure {
            return Ok(Verification::Unknown);
        }
        let (config, instance) = (Arc::clone(&self.config), instance(event)?);
        let (told, is_out) = self.aws.call(event, call, async move |sdk: SdkConfig, _: Clock| {
            let work = Work::new(&config, &sdk, instance);
            let mut told = Told::default();
            told.after = work.look(&mut told).await;
            let is_out = work.is_out(&told.after);
            Ok((told, is_out))
        })?;
        if let Some(error) = told.failures.first() {
            return Err(error.clone());
        }
        let report = told.report("verify");
        if is_out {
            return Ok(Verification::Verified(report));
        }
        Err(Error::new(format!("is in again: {}", report["evidence"]["after"])).code(Code::State))
    }

    fn on_cancel(&self, _: &Call<'_>, _: Cancel) {}

    fn deactivate(&self) {
        self.aws.stop();
    }
}

fn instance(event: &Event<'_>) -> Result<String, Error> {
    match event.instance_id() {
        "" => Err(Error::new("the event names no instance").code(Code::State)),
        instance => Ok(instance.to_owned()),
    }
}

fn judge(told: &Told, action: &str) -> Result<Outcome, Error> {
    let report = told.report(action);
    if let Some(first) = told.failures.first() {
        let texts: Vec<&str> = told.failures.iter().map(Error::message).collect();
        return Err(Error::new(texts.join("; ")).code(first.kind()).with_result(report));
    }
    if !told.has_changed {
        return Ok(Outcome::declined("the machine is in none of the target groups, and not active in the cluster"));
    }
    Ok(Outcome::handled(report))
}
