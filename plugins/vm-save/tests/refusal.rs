//! What does not fit is not begun, or broken off, and what is done in its place.

mod guest;

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::Delivered;
use guest::{Ground, Guest, NOTICE, PLENTY, event, failed, handled, plugin, saver, to_file};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn machine(delivered: &Delivered, at: usize) -> Value {
    delivered.result.as_ref().unwrap()["machines"][at].clone()
}

#[test]
fn two_gib_of_touched_memory_are_not_begun_with_a_second_left_and_the_guest_is_stopped() {
    let Some(ground) = Ground::lay("two_gib_of_touched_memory", 2048, 1900, "raw") else { return };
    let guest = ground.counting("vm");
    let plugin = saver(&ground, "vm", json!({ "fallback": "pause" }));
    let begun = Instant::now();
    let delivered = plugin.deliver(&event(NOTICE), Duration::from_secs(1));
    assert!(begun.elapsed() < Duration::from_secs(20), "it is for one second: {:?}", begun.elapsed());
    let text = failed(&delivered, abi::SNOOZE_E_DEADLINE);
    assert!(text.contains("vm: not begun: ") && text.ends_with("; stopped"), "{text}");
    let machine = machine(&delivered, 0);
    let estimate = &machine["evidence"]["estimate"];
    assert!(estimate["bytes"].as_u64().unwrap() > 1900 << 20, "what it has touched: {machine}");
    assert!(estimate["bandwidth"].as_u64().unwrap() > 0 && estimate["seconds"].as_f64().unwrap() > 0.3, "{machine}");
    assert_eq!(machine["skipped"][0]["step"], "save");
    assert_eq!(machine["evidence"]["after"]["status"], "paused");
    assert_eq!(guest.status(), "paused");
    assert!(guest.stands_still() && !ground.path("vm.state").exists() && !ground.path("vm.state.part").exists());
}

#[test]
fn a_save_that_turns_out_too_slow_is_broken_off_while_there_is_time() {
    let Some(ground) = Ground::lay("a_save_that_turns_out_too_slow", 1024, 900, "raw") else { return };
    let guest = ground.counting("vm");
    // By what is said of the disk it fits.
    let plugin = saver(&ground, "vm", json!({ "fallback": "pause", "bandwidth": 1_000_000_000 }));
    let (done, left) = (AtomicBool::new(false), Duration::from_secs(60));
    let (delivered, took) = std::thread::scope(|scope| {
        scope.spawn(|| guest.slow_until(&done));
        let begun = Instant::now();
        let delivered = plugin.deliver(&event(NOTICE), left);
        done.store(true, Ordering::Release);
        (delivered, begun.elapsed())
    });
    let text = failed(&delivered, abi::SNOOZE_E_DEADLINE);
    assert!(text.starts_with("vm: broken off: after ") && text.contains(" s more, and "), "{text}");
    assert!(text.ends_with("; stopped"), "{text}");
    assert!(took < left / 2, "it was given up after {took:?}");
    assert_eq!(guest.status(), "paused");
    assert!(!ground.path("vm.state").exists() && !ground.path("vm.state.part").exists());
    // Nothing of it is in the way of the next attempt.
    assert_eq!(handled(plugin.deliver(&event(NOTICE), PLENTY))["machines"][0]["outcome"], "saved");
}

#[test]
fn a_guest_that_is_not_saved_shuts_down_where_that_is_wanted() {
    let Some(ground) = Ground::lay("a_guest_that_is_not_saved_shuts_down", 64, 32, "raw") else { return };
    let mut guest = ground.counting("vm");
    // Ten bytes a second: no guest fits.
    let plugin = saver(&ground, "vm", json!({ "bandwidth": 10 }));
    let result = handled(plugin.deliver(&event(NOTICE), Duration::from_secs(60)));
    let told = &result["machines"][0];
    assert_eq!((&told["outcome"], &result["durable"]), (&json!("shut down"), &json!("unknown")), "{result}");
    assert!(told["skipped"][0]["reason"].as_str().unwrap().contains("10 bytes a second (configured)"), "{result}");
    guest.wait_for_end();
    assert_eq!(handled(plugin.verify(&event(NOTICE), PLENTY))["machines"][0]["machine"], "ended");
    // What an earlier attempt has done is not done again.
    let again = handled(plugin.deliver(&event(NOTICE), PLENTY));
    assert_eq!(again["machines"][0]["outcome"], "shut down", "{again}");
}

#[test]
fn a_save_that_is_broken_off_can_still_end_in_a_shutdown() {
    let Some(ground) = Ground::lay("a_save_that_is_broken_off_can_still", 1024, 900, "raw") else { return };
    let mut guest = ground.counting("vm");
    let plugin = saver(&ground, "vm", json!({ "bandwidth": 1_000_000_000 }));
    let done = AtomicBool::new(false);
    let delivered = std::thread::scope(|scope| {
        scope.spawn(|| {
            // A guest that has ended has no monitor any more.
            let slowed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| guest.slow_until(&done)));
            drop(slowed);
        });
        let delivered = plugin.deliver(&event(NOTICE), Duration::from_secs(60));
        done.store(true, Ordering::Release);
        delivered
    });
    let result = handled(delivered);
    assert_eq!(result["machines"][0]["outcome"], "shut down", "{result}");
    assert!(result["machines"][0]["skipped"][0]["reason"].as_str().unwrap().starts_with("broken off"), "{result}");
    guest.wait_for_end();
}

#[test]
fn a_guest_that_stands_still_cannot_shut_down_and_one_without_a_fallback_runs_on() {
    let Some(ground) = Ground::lay("a_guest_that_stands_still", 64, 32, "raw") else { return };
    let guest = ground.counting("vm");
    guest.execute("stop", Value::Null);
    let still = saver(&ground, "vm", json!({ "bandwidth": 10 }));
    let text = failed(&still.deliver(&event(NOTICE), Duration::from_secs(5)), abi::SNOOZE_E_DEADLINE);
    assert!(text.ends_with("it was stopped before, and cannot shut down"), "{text}");
    drop(still);
    guest.execute("cont", Value::Null);
    let none = saver(&ground, "vm", json!({ "bandwidth": 10, "fallback": "none" }));
    let text = failed(&none.deliver(&event(NOTICE), Duration::from_secs(5)), abi::SNOOZE_E_DEADLINE);
    assert!(text.ends_with("; it runs on"), "{text}");
    guest.counts_on(3);
}

#[test]
fn the_most_important_ones_are_saved_and_those_behind_them_that_do_not_fit_are_not() {
    let Some(ground) = Ground::lay("the_most_important_ones", 64, 32, "raw") else { return };
    let guests: Vec<Guest> = ["a", "b", "c"].map(|name| ground.counting(name)).into();
    // At most 64 MiB each; at this pace two need 40 s of the 48 s that may be used of a minute, and three need 60 s. The pace is
    // kept: nobody is so early that the next one fits after all.
    let pace = (64_u64 << 20) / 20;
    let pace = json!({ "bandwidth": pace, "max_bandwidth": pace, "fallback": "pause" });
    let vms: Vec<Value> = ["a", "b", "c"].map(|name| to_file(&ground, name, pace.clone())).into();
    let plugin = plugin(&json!({ "vms": vms }));
    let delivered = plugin.deliver(&event(NOTICE), Duration::from_secs(60));
    let text = failed(&delivered, abi::SNOOZE_E_DEADLINE);
    assert!(text.starts_with("c: not begun: ") && text.contains(" of others at "), "{text}");
    let outcomes: Vec<Value> = (0..3).map(|at| machine(&delivered, at)["outcome"].clone()).collect();
    assert_eq!(outcomes, ["saved", "saved", "failed"], "{delivered:?}");
    assert!(ground.path("a.state").exists() && ground.path("b.state").exists() && !ground.path("c.state").exists());
    assert_eq!(guests[2].status(), "paused");
}

#[test]
fn a_less_important_one_gives_way_to_one_that_would_not_make_it() {
    let Some(large) = Ground::lay("a_less_important_one_gives_way", 1024, 900, "raw") else { return };
    let Some(small) = Ground::lay("a_less_important_one_gives_way", 64, 32, "raw") else { return };
    let (first, second) = (large.counting("first"), small.counting("second"));
    let pace = json!({ "bandwidth": 1_000_000_000, "fallback": "none" });
    let plugin = plugin(&json!({ "vms": [to_file(&large, "first", pace.clone()), to_file(&small, "second", pace)] }));
    // At a MB a second the second alone would be done in time, the first would not.
    let (done, left) = (AtomicBool::new(false), Duration::from_secs(150));
    let delivered = std::thread::scope(|scope| {
        scope.spawn(|| first.slow_until(&done));
        scope.spawn(|| second.slow_until(&done));
        let delivered = plugin.deliver(&event(NOTICE), left);
        done.store(true, Ordering::Release);
        delivered
    });
    let text = failed(&delivered, abi::SNOOZE_E_DEADLINE);
    assert!(text.contains("second: broken off: its disk is needed for a more important one; it runs on"), "{text}");
    // Nobody is left who could give way.
    assert!(text.starts_with("first: broken off: after "), "{text}");
    second.counts_on(3);
    first.counts_on(3);
}
