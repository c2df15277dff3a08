//! A plugin written against the trait, seen through the C tables.
#![allow(missing_docs)]

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::{TestInstance, spot_interrupt};
use cloudsnooze_plugin::{Call, Error, Event, Host, Instance, Outcome, Plugin, Subscription, Verification, c_str};
use serde_json::json;
use std::ffi::CStr;
use std::time::Duration;

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    mode: String,
}

struct Moody(String);

impl Plugin for Moody {
    const ID: &'static CStr = c"org.example.moody";
    const NAME: &'static CStr = c"moody";
    const VERSION: &'static CStr = c_str!("1.0");
    const DESCRIPTION: &'static CStr = c"Does what its mode says";
    type Config = Config;

    fn new(_: Host, config: Config, _: Instance) -> Result<Self, Error> {
        if config.mode == "refuse" { Err(Error::new("no such mood")) } else { Ok(Self(config.mode)) }
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        vec![Subscription::on(&["cloud.spot.*"]).priority(80)]
    }

    fn on_event(&self, event: &Event<'_>, call: &Call<'_>) -> Result<Outcome, Error> {
        match self.0.as_str() {
            "panic" => panic!("out of temper"),
            "fail" => Err(std::io::Error::other("disk on fire").into()),
            "retry" => Err(Error::retry("later")),
            "decline" => Ok(Outcome::declined("not mine")),
            _ => Ok(Outcome::handled(json!({
                "id": event.id(), "type": event.event_type(), "left": call.left().as_secs(),
                "instance": event.instance_id(), "seconds": event.seconds_left(), "json": event.json().len() > 100,
            }))),
        }
    }

    fn verify(&self, _: &Event<'_>, _: &Call<'_>) -> Result<Verification, Error> {
        Ok(Verification::Verified(json!({ "rows": 3 })))
    }
}

cloudsnooze_plugin::export!(Moody; vendor: c"Test", license: c"Apache-2.0", url: c"");

fn moody(mode: &str) -> TestInstance<Moody> {
    TestInstance::new(&json!({ "mode": mode })).expect("created")
}

#[test]
fn a_handled_event_reaches_the_trait_with_its_fields_and_time() {
    let plugin = moody("work");
    let done = plugin.deliver(&spot_interrupt(), Duration::from_secs(30));
    assert_eq!(done.status, abi::SNOOZE_OK, "{done:?}");
    let result = done.result.expect("evidence");
    assert_eq!(result["type"], "cloud.spot.interrupt");
    assert_eq!(result["instance"], "i-0123456789abcdef0");
    assert_eq!(result["seconds"], 120.0);
    assert_eq!(result["json"], true);
    assert!(result["left"].as_u64().is_some_and(|s| (28..=30).contains(&s)), "{result}");
    assert_eq!(plugin.subscriptions(), ["cloud.spot.*"]);
    assert_eq!(plugin.verify(&spot_interrupt(), Duration::from_secs(1)).result, Some(json!({ "rows": 3 })));
}

#[test]
fn a_panic_becomes_a_status_with_its_text_and_poisons_the_instance() {
    let plugin = moody("panic");
    let done = plugin.deliver(&spot_interrupt(), Duration::from_secs(1));
    assert_eq!(done.status, abi::SNOOZE_E_PANIC);
    let text = done.error.expect("text");
    assert!(text.contains("out of temper") && text.contains("trait_to_tables.rs:"), "{text}");
    assert_eq!(plugin.deliver(&spot_interrupt(), Duration::from_secs(1)).status, abi::SNOOZE_E_STATE);
}

#[test]
fn failures_declines_and_retries_keep_their_codes_and_texts() {
    let failed = moody("fail").deliver(&spot_interrupt(), Duration::from_secs(1));
    assert_eq!((failed.status, failed.error.as_deref()), (abi::SNOOZE_E_INTERNAL, Some("disk on fire")));
    assert_eq!(moody("retry").deliver(&spot_interrupt(), Duration::from_secs(1)).status, abi::SNOOZE_E_RETRY);
    let declined = moody("decline").deliver(&spot_interrupt(), Duration::from_secs(1));
    assert_eq!((declined.status, declined.result), (abi::SNOOZE_SKIPPED, Some(json!({ "declined": "not mine" }))));
}

#[test]
fn a_refused_configuration_says_why() {
    let refused = TestInstance::<Moody>::new(&json!({ "mode": "refuse" })).err();
    assert_eq!(refused.as_deref(), Some("no such mood"));
    let wrong = TestInstance::<Moody>::new(&json!({ "mod": "x" })).err().expect("refused");
    assert!(wrong.contains("unknown field `mod`"), "{wrong}");
}

#[test]
fn the_schema_comes_from_the_configuration_type() {
    let class = cloudsnooze_plugin::private::ClassOf::<Moody>::CLASS;
    // SAFETY: the class's own function; the text lives as long as the process.
    #[allow(unsafe_code)]
    let schema = unsafe { CStr::from_ptr(class.config_schema.expect("offered")()) };
    let schema: serde_json::Value = serde_json::from_slice(schema.to_bytes()).expect("JSON");
    assert_eq!(schema["properties"]["mode"]["type"], "string");
    assert_eq!(schema["additionalProperties"], false);
}
