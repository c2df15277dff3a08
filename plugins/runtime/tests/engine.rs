//! What a plugin on the engine does in time, when it is cancelled, when it panics, and what it leaves behind.

use cloudsnooze_plugin::testing::{Canceller, TestInstance, spot_interrupt, threads, threads_left};
use cloudsnooze_plugin::{Call, Error, Event, Host, Instance, Outcome, Plugin, abi, c_str};
use cloudsnooze_plugin_runtime::{Clock, Engine};
use serde_json::json;
use std::ffi::CStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// What `on_event` does.
    does: String,
}

struct Subject {
    does: String,
    engine: Engine,
    upkeep: Arc<AtomicU32>,
}

impl Plugin for Subject {
    const ID: &'static CStr = c"org.example.subject";
    const NAME: &'static CStr = c"subject";
    const VERSION: &'static CStr = c_str!("1");
    const DESCRIPTION: &'static CStr = c"Stands on the engine";
    type Config = Config;

    fn new(_: Host, config: Config, _: Instance) -> Result<Self, Error> {
        Ok(Self { does: config.does, engine: Engine::new("engine-test"), upkeep: Arc::default() })
    }

    fn activate(&self) -> Result<(), Error> {
        let count = Arc::clone(&self.upkeep);
        let does_panic = self.does == "panics in upkeep";
        let upkeep = move || {
            let number = count.fetch_add(1, Ordering::AcqRel);
            async move { assert!(!(does_panic && number == 0), "upkeep") }
        };
        Ok(self.engine.start(Duration::from_millis(20), upkeep)?)
    }

    fn on_event(&self, _: &Event<'_>, call: &Call<'_>) -> Result<Outcome, Error> {
        let does = self.does.clone();
        let said = self.engine.call(call, async move |clock: Clock| match does.as_str() {
            "answers" => "answered",
            "has last words" => {
                clock.over().await;
                if clock.is_cancelled() { "cancelled" } else { "late" }
            }
            "hangs" => std::future::pending().await,
            "reads a file" => tokio::task::spawn_blocking(|| "read").await.unwrap_or("not read"),
            _ => panic!("{does}"),
        })?;
        Ok(Outcome::handled(json!({ "said": said, "upkeep": self.upkeep.load(Ordering::Acquire) })))
    }

    fn deactivate(&self) {
        self.engine.stop();
    }
}

fn subject(does: &str) -> TestInstance<Subject> {
    TestInstance::new(&json!({ "does": does })).unwrap()
}

#[test]
fn work_is_done_in_its_time_or_given_up_and_nothing_is_left() {
    let answers = subject("answers");
    let done = answers.deliver(&spot_interrupt(), PATIENCE);
    assert_eq!((done.status, &done.result.unwrap()["said"]), (abi::SNOOZE_OK, &json!("answered")));
    // Upkeep goes on between calls, and a call does not end it for good.
    let upkeep = || answers.deliver(&spot_interrupt(), PATIENCE).result.unwrap()["upkeep"].as_u64().unwrap();
    let before = upkeep();
    harness::wait::until("upkeep", PATIENCE, || {
        std::thread::park_timeout(Duration::from_millis(60));
        (upkeep() > before).then_some(())
    })
    .unwrap();

    let reads = subject("reads a file").deliver(&spot_interrupt(), PATIENCE);
    assert_eq!(reads.result.unwrap()["said"], "read");
    let late = subject("has last words").deliver(&spot_interrupt(), Duration::from_millis(300));
    assert_eq!(late.result.unwrap()["said"], "late");
    let hangs = subject("hangs");
    let began = Instant::now();
    assert_eq!(hangs.deliver(&spot_interrupt(), Duration::from_millis(300)).status, abi::SNOOZE_E_DEADLINE);
    assert!(began.elapsed() < PATIENCE);
    // The one that hung holds no other up.
    assert_eq!(hangs.deliver(&spot_interrupt(), Duration::from_millis(300)).status, abi::SNOOZE_E_DEADLINE);

    for does in ["has last words", "hangs"] {
        let (subject, cancel) = (subject(does), Canceller::default());
        cancel_soon(&subject, &cancel, does);
    }
    let panics = subject("panics");
    for _ in 0..2 {
        let lost = panics.deliver(&spot_interrupt(), PATIENCE);
        assert_eq!(lost.status, abi::SNOOZE_E_STATE, "{lost:?}");
    }
    let upkeep = subject("panics in upkeep");
    assert!(upkeep.deliver(&spot_interrupt(), PATIENCE).status < 0);
    assert!(threads("engine-test") > 0);
    drop((answers, hangs, panics, upkeep));
    assert_eq!(threads_left("engine-test", PATIENCE), 0);
}

fn cancel_soon(subject: &TestInstance<Subject>, cancel: &Canceller, does: &str) {
    std::thread::scope(|scope| {
        let canceller = scope.spawn(|| {
            std::thread::park_timeout(Duration::from_millis(100));
            cancel.cancel(abi::SNOOZE_CANCEL_SUPERSEDED);
            Instant::now()
        });
        let delivered = subject.deliver_cancellable(&spot_interrupt(), PATIENCE, cancel);
        let took = canceller.join().unwrap().elapsed();
        assert!(took < Duration::from_secs(5), "{took:?}");
        match does {
            "hangs" => assert_eq!(delivered.status, abi::SNOOZE_E_CANCELLED, "{delivered:?}"),
            _ => assert_eq!(delivered.result.unwrap()["said"], "cancelled"),
        }
    });
}
