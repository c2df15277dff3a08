//! One instance: what to do for which event, and the verdict.
//!
//! Inputs: events, a [`Config`]. Outputs: a report of what is in the store. Must never call an upload whole that is not, nor
//! upload anything for a drill.

use crate::config::Config;
use crate::fault::Fault;
use crate::manifest::{self, Earlier, Manifest};
use crate::place::Place;
use crate::probe::probe;
use crate::record::{Known, Record};
use crate::report;
use crate::round::{Cause, Shared, find};
use crate::upload::seen;
use crate::wire::Once;
use cloudsnooze_plugin::abi::SNOOZE_CAP_DRILL;
use cloudsnooze_plugin::serde_json::json;
use cloudsnooze_plugin::{
    Call, Cancel, Code, Error, Event, Host, Instance, Outcome, Plugin, Purpose, Subscription, Verification, c_str,
};
use cloudsnooze_plugin_runtime::{Clock, Engine};
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use std::ffi::CStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often the connection and the credentials are seen to.
const UPKEEP: Duration = Duration::from_secs(30);
/// What that may take.
const UPKEEP_LIMIT: Duration = Duration::from_secs(5);
/// Objects that are looked at side by side.
const LOOKS: usize = 16;

/// The plugin.
pub struct StateUploader {
    shared: Arc<Shared>,
    engine: Engine,
}

impl Plugin for StateUploader {
    const ID: &'static CStr = c"io.cloudsnooze.state-uploader";
    const NAME: &'static CStr = c"state-uploader";
    const VERSION: &'static CStr = c_str!(env!("CARGO_PKG_VERSION"));
    const DESCRIPTION: &'static CStr = c"Uploads directories to an object store, newest files first";
    const CAPS: u64 = SNOOZE_CAP_DRILL;
    type Config = Config;

    fn new(host: Host, config: Config, instance: Instance) -> Result<Self, Error> {
        let shared = Shared {
            host,
            settings: config.settings()?,
            place: Place::new(&config)?,
            record: std::sync::Mutex::new(Record::load(&instance.state_dir)),
        };
        Ok(Self { shared: Arc::new(shared), engine: Engine::new("upload-run") })
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        let budget = Duration::from_secs(90);
        vec![Subscription::on(&["cloud.*", "system.shutdown", "custom.*"]).priority(55).budget(budget)]
    }

    fn activate(&self) -> Result<(), Error> {
        let (shared, was_told) = (Arc::clone(&self.shared), Arc::new(AtomicBool::new(false)));
        let upkeep = move || {
            let (shared, was_told) = (Arc::clone(&shared), Arc::clone(&was_told));
            async move { keep_ready(&shared, &was_told).await }
        };
        if !self.shared.place.has_region {
            self.shared.host.warn(format_args!("options: aws_region is not set, so it is us-east-1"));
        }
        let started = self.engine.start(UPKEEP, upkeep);
        started.map_err(|error| Error::from(error).context("start the thread that uploads"))
    }

    fn on_event(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Outcome, Error> {
        if event.purpose() == Purpose::Undo {
            return Ok(Outcome::declined("the notice was withdrawn; what was uploaded does no harm"));
        }
        let cause = self.cause(event)?;
        if event.is_drill() {
            return self.drill(cause, call);
        }
        let to = self.shared.place.address(&cause.prefix);
        let shared = Arc::clone(&self.shared);
        let round = self.engine.call(call, async move |clock: Clock| shared.round(&cause, &clock).await)?;
        match round {
            Ok(round) => report::judge(&round, &self.shared.place, &to, call.cancelled().is_some()),
            Err(_) if call.cancelled().is_some() => Err(Error::new("cancelled").code(Code::Cancelled)),
            Err(fault @ Fault::Late(_)) => {
                let text = format!("{}{}", fault.text(), self.shared.place.wire.trouble());
                Err(Error::new(text).code(fault.code()))
            }
            Err(fault) => Err(fault.error()),
        }
    }

    fn verify(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Verification, Error> {
        if event.purpose() == Purpose::Undo || event.is_drill() {
            return Ok(Verification::Unknown);
        }
        let cause = self.cause(event)?;
        let shared = Arc::clone(&self.shared);
        let looked = self.engine.call(call, async move |clock: Clock| {
            tokio::select! {
                looked = look(&shared, &cause) => looked.map(Some),
                () = clock.over() => Ok(None),
            }
        })?;
        match looked {
            Ok(Some(Some(manifest))) => {
                let bytes: u64 = manifest.files.iter().map(|file| file.bytes).sum();
                let (files, is_complete) = (manifest.files.len(), manifest.complete);
                Ok(Verification::Verified(json!({ "files": files, "bytes": bytes, "complete": is_complete })))
            }
            Ok(_) => Ok(Verification::Unknown),
            Err(fault) => Err(fault.error()),
        }
    }

    fn on_cancel(&self, _: &Call<'_>, _: Cancel) {}

    fn deactivate(&self) {
        self.engine.stop();
    }
}

impl StateUploader {
    fn cause(&self, event: &Event<'_>) -> Result<Cause, Error> {
        Ok(Cause {
            event: event.id().to_owned(),
            event_type: event.event_type().to_owned(),
            instance: event.instance_id().to_owned(),
            prefix: self.shared.place.prefix(event)?,
        })
    }

    fn drill(&self, cause: Cause, call: &Call<'_>) -> Result<Outcome, Error> {
        let shared = Arc::clone(&self.shared);
        let done = self.engine.call(call, async move |clock: Clock| {
            let probed = probe(&shared.place, &cause.prefix, &cause.event, &clock).await?;
            tokio::select! {
                found = find(&shared.settings) => Ok::<_, Fault>((probed, found?)),
                () = clock.over() => Err(Fault::Late("still looking for files")),
            }
        })?;
        let (probed, found) = done.map_err(|fault| fault.error())?;
        let bytes: u64 = found.files.iter().map(|file| file.stamp.bytes).sum();
        Ok(Outcome::handled(json!({
            "action": "drill", "evidence": { "probe": probed, "files": found.files.len(), "bytes": bytes },
            "durable": "no",
        })))
    }
}

/// Keeps a connection and the credentials ready, by asking for an object that need not be there.
async fn keep_ready(shared: &Shared, was_told: &AtomicBool) {
    let key = shared.place.ready_key();
    let asked = tokio::time::timeout(UPKEEP_LIMIT, shared.place.store.get_opts(&key, Once::look(true))).await;
    let trouble = match asked {
        Ok(Ok(_) | Err(object_store::Error::NotFound { .. })) => None,
        // Without the right to list, a missing object is refused as a foreign one is.
        Ok(Err(object_store::Error::PermissionDenied { .. })) => None,
        Ok(Err(error)) => Some(crate::fault::store(&error)),
        Err(_) => Some(format!("no answer within {} s{}", UPKEEP_LIMIT.as_secs(), shared.place.wire.trouble())),
    };
    match trouble {
        Some(text) if !was_told.swap(true, Ordering::AcqRel) => {
            let address = shared.place.address(&Path::default());
            shared.host.warn(format_args!("{address} cannot be reached; trying again: {text}"));
        }
        None if was_told.swap(false, Ordering::AcqRel) => shared.host.info(format_args!("the store is reached again")),
        _ => {}
    }
}

/// Looks at every object of the manifest that was written for the event; None when there is no such manifest.
async fn look(shared: &Shared, cause: &Cause) -> Result<Option<Manifest>, Fault> {
    let store = shared.place.store.as_ref();
    for key in [manifest::key(&cause.prefix), manifest::aside(&cause.prefix, &cause.event)] {
        let Earlier::Some(Some(found), _) = manifest::read(store, &key).await? else { continue };
        if found.event != cause.event || found.instance != cause.instance {
            continue;
        }
        let looks = stream::iter(&found.files).map(async |file| {
            let key = Path::parse(&file.key).map_err(object_store::Error::from)?;
            let (bytes, sha256, e_tag) = (file.bytes, file.sha256.clone(), file.e_tag.clone());
            let seen = seen(store, &key).await?;
            seen.must_be(&Known { bytes, sha256, e_tag, stamp: None })
                .map_err(|fault| Fault::Mismatch(format!("{}: {}", file.name, fault.text())))
        });
        looks.buffer_unordered(LOOKS).try_collect::<Vec<()>>().await?;
        return Ok(Some(found));
    }
    Ok(None)
}
