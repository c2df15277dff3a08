//! Tests of who is told, waited for and counted. Times are given; connections are queues.
//! Must never read a clock.

use super::*;
use crate::apps::tests::{NOW, SECOND_NS, event};

struct Bench {
    registry: Registry,
}

struct Conversation {
    id: u64,
    lines: mpsc::Receiver<Arc<str>>,
    cut: Arc<Notify>,
}

impl Conversation {
    fn next(&mut self) -> Value {
        let text = self.lines.try_recv().expect("a line");
        assert!(text.ends_with('\n'));
        serde_json::from_str(&text).expect("JSON")
    }

    fn is_silent(&mut self) -> bool {
        self.lines.try_recv().is_err()
    }
}

fn after(seconds: i64) -> Moment {
    NOW.plus_ns(seconds * SECOND_NS)
}

impl Bench {
    fn new() -> Self {
        Self { registry: Registry::new(Box::new(|patterns| patterns.iter().any(|p| p.as_str() != "custom.y"))) }
    }

    fn joins(&self, name: &str, pattern: &str, needs_seconds: Option<f64>, now: Moment) -> Conversation {
        let (queue, lines) = mpsc::channel(4);
        let cut = Arc::new(Notify::new());
        let events = vec![Pattern::parse(pattern).expect("a pattern")];
        let who = Applicant { name: name.into(), pid: 7, uid: 1000, events, needs_seconds };
        let id = self.registry.register(who, Line { queue, cut: Arc::clone(&cut) }, now);
        let mut joined = Conversation { id, lines, cut };
        assert_eq!(joined.next()["registered"]["name"], name);
        joined
    }

    fn delivers(&self, notice: &Notice, seconds: f64) -> u64 {
        self.registry.deliver(notice.clone(), seconds, NOW).expect("a notice").0
    }

    fn ready(&self, app: &Conversation, id: &str, now: Moment) {
        self.registry.answered(app.id, id, true, json!({"step": 7}), now).expect("it was asked");
    }
}

fn notice() -> Notice {
    let event = event("cloud.spot.interrupt", Some(120.0));
    Notice::new(&event, event.effective, NOW)
}

#[test]
fn a_notice_goes_to_whoever_wants_it_and_the_delivery_ends_when_all_have_answered() {
    let bench = Bench::new();
    let mut one = bench.joins("one", "cloud.spot.*", Some(20.0), NOW);
    let mut two = bench.joins("two", "*", None, NOW);
    let mut other = bench.joins("other", "custom.*", None, NOW);
    let notice = notice();
    let call = bench.delivers(&notice, 30.0);
    let told = one.next();
    assert_eq!((&told["notice"]["id"], &told["notice"]["seconds_left"]), (&json!(notice.id), &json!(120.0)));
    assert_eq!(told["notice"]["answer_within"], 20.0);
    assert_eq!(two.next()["notice"]["answer_within"], 30.0);
    assert!(other.is_silent());
    assert_eq!(bench.registry.look(call, NOW.boot_ns), Look::Until(after(20).boot_ns));
    bench.ready(&one, &notice.id, after(3));
    assert_eq!(bench.registry.look(call, after(3).boot_ns), Look::Until(after(30).boot_ns));
    bench.registry.answered(two.id, &notice.id, false, json!({"error": "disk full"}), after(4)).expect("asked");
    assert_eq!(bench.registry.look(call, after(4).boot_ns), Look::Over);
    let result = bench.registry.finish(call, after(4));
    assert_eq!((&result["told"], &result["ready"], &result["failed"]), (&json!(2), &json!(1), &json!(1)));
    assert_eq!(result["all_ready"], false);
    let rows = json!([
        {"name": "two", "pid": 7, "uid": 1000, "answer": "failed", "seconds": 4.0, "detail": {"error": "disk full"}},
        {"name": "one", "pid": 7, "uid": 1000, "answer": "ready", "seconds": 3.0, "detail": {"step": 7}},
    ]);
    assert_eq!(result["applications"], rows);
    assert_eq!(bench.registry.look(call, NOW.boot_ns), Look::Over, "it is forgotten");
}

#[test]
fn who_is_silent_is_not_waited_for_beyond_its_own_time_and_who_leaves_not_at_all() {
    let bench = Bench::new();
    let _silent = bench.joins("silent", "*", Some(5.0), NOW);
    let leaves = bench.joins("leaves", "*", None, NOW);
    let notice = notice();
    let call = bench.delivers(&notice, 30.0);
    bench.registry.gone(leaves.id, after(1));
    assert_eq!(bench.registry.look(call, after(1).boot_ns), Look::Until(after(5).boot_ns));
    assert_eq!(bench.registry.look(call, after(5).boot_ns), Look::Over);
    let result = bench.registry.finish(call, after(5));
    assert_eq!((&result["silent"], &result["gone"], &result["ready"]), (&json!(1), &json!(1), &json!(0)));
    assert_eq!(bench.registry.list().len(), 1);
}

#[test]
fn more_time_is_granted_within_the_call_and_no_further() {
    let bench = Bench::new();
    let slow = bench.joins("slow", "*", Some(5.0), NOW);
    let notice = notice();
    let call = bench.delivers(&notice, 12.0);
    let granted = |wanted: f64, now: Moment| -> Value {
        let text = bench.registry.more_time(slow.id, &notice.id, wanted, now);
        serde_json::from_str::<Value>(&text).expect("JSON")["granted"].take()
    };
    assert_eq!(granted(4.0, after(1)), json!({"id": notice.id, "seconds": 4.0, "answer_within": 8.0}));
    assert_eq!(bench.registry.look(call, after(6).boot_ns), Look::Until(after(9).boot_ns));
    assert_eq!(granted(100.0, after(2)), json!({"id": notice.id, "seconds": 3.0, "answer_within": 10.0}));
    assert_eq!(granted(-5.0, after(2))["seconds"], 0.0, "nobody is given less");
    assert_eq!(bench.registry.look(call, after(12).boot_ns), Look::Over);
    bench.registry.finish(call, after(12));
    assert_eq!(granted(1.0, after(12))["seconds"], 0.0, "there is no call to be longer");
}

#[test]
fn who_registers_while_others_are_told_is_told_too() {
    let bench = Bench::new();
    let first = bench.joins("first", "*", None, NOW);
    let notice = notice();
    let call = bench.delivers(&notice, 30.0);
    let mut late = bench.joins("late", "*", None, after(10));
    let told = late.next();
    assert_eq!((&told["notice"]["seconds_left"], &told["notice"]["answer_within"]), (&json!(110.0), &json!(20.0)));
    bench.ready(&first, &notice.id, after(11));
    assert_ne!(bench.registry.look(call, after(11).boot_ns), Look::Over);
    bench.ready(&late, &notice.id, after(12));
    assert_eq!(bench.registry.finish(call, after(12))["ready"], 2);
}

#[test]
fn who_registers_when_the_delivery_is_over_is_told_while_the_notice_stands() {
    let bench = Bench::new();
    let notice = notice();
    bench.registry.finish(bench.delivers(&notice, 30.0), after(1));
    let mut late = bench.joins("late", "cloud.*", Some(20.0), after(10));
    let told = late.next();
    assert_eq!((&told["notice"]["id"], &told["notice"]["seconds_left"]), (&json!(notice.id), &json!(110.0)));
    assert_eq!(told["notice"]["answer_within"], 0.0, "nobody waits");
    bench.ready(&late, &notice.id, after(11));
    assert!(bench.joins("other", "custom.*", None, after(10)).is_silent());
    bench.registry.moved(&notice.id, after(50), after(12));
    assert_eq!(bench.joins("later", "*", None, after(20)).next()["notice"]["seconds_left"], 30.0);
    assert!(bench.joins("too late", "*", None, after(50)).is_silent(), "its time has come");
    let second = self::notice();
    let call = bench.delivers(&second, 30.0);
    bench.registry.withdrawn(&second.id, "cloud.spot.interrupt.cancelled");
    bench.registry.finish(call, after(1));
    assert!(bench.joins("after all", "*", None, after(50)).is_silent(), "it was withdrawn");
    for _ in 0..40 {
        bench.registry.finish(bench.delivers(&self::notice(), 30.0), after(1));
    }
    assert!(bench.registry.lock().past.len() <= NOTICES_MAX);
}

#[test]
fn a_handler_called_again_asks_nobody_twice() {
    let bench = Bench::new();
    let mut one = bench.joins("one", "*", None, NOW);
    let mut two = bench.joins("two", "*", None, NOW);
    let notice = notice();
    let first = bench.delivers(&notice, 30.0);
    bench.ready(&one, &notice.id, after(1));
    bench.registry.stop(first);
    assert_eq!(bench.registry.look(first, after(1).boot_ns), Look::Over);
    assert_eq!(bench.registry.finish(first, after(1))["cancelled"], 1);
    let second = bench.delivers(&notice, 30.0);
    assert!(one.next()["notice"].is_object() && one.is_silent());
    assert!(two.next()["notice"].is_object() && two.is_silent());
    bench.ready(&two, &notice.id, after(2));
    let result = bench.registry.finish(second, after(2));
    assert_eq!((&result["ready"], &result["all_ready"]), (&json!(2), &json!(true)));
}

#[test]
fn moved_and_withdrawn_notices_reach_only_those_who_know_them() {
    let bench = Bench::new();
    let mut knows = bench.joins("knows", "cloud.*", None, NOW);
    let mut other = bench.joins("other", "custom.*", None, NOW);
    let notice = notice();
    let call = bench.delivers(&notice, 30.0);
    assert!(knows.next()["notice"].is_object());
    bench.registry.moved(&notice.id, after(60), after(10));
    assert_eq!(knows.next()["moved"]["seconds_left"], 50.0);
    bench.registry.withdrawn(&notice.id, "cloud.spot.interrupt.cancelled");
    bench.registry.withdrawn(&notice.id, "cloud.spot.interrupt.cancelled");
    assert_eq!(knows.next(), json!({"cancelled": {"id": notice.id, "type": "cloud.spot.interrupt"}}));
    assert!(knows.is_silent() && other.is_silent());
    assert_eq!(bench.registry.list()[0].notices[0].answer, "cancelled");
    bench.registry.finish(call, after(11));
}

#[test]
fn an_answer_to_something_that_was_not_asked_is_refused() {
    let bench = Bench::new();
    let one = bench.joins("one", "custom.*", None, NOW);
    let notice = notice();
    let _call = bench.delivers(&notice, 30.0);
    assert!(bench.registry.answered(one.id, &notice.id, true, Value::Null, NOW).is_err());
    assert!(bench.registry.answered(99, &notice.id, true, Value::Null, NOW).is_err());
}

#[test]
fn who_does_not_read_is_cut_and_costs_nobody_else_anything() {
    let bench = Bench::new();
    let deaf = bench.joins("deaf", "*", None, NOW);
    for _ in 0..6 {
        let notice = notice();
        let call = bench.delivers(&notice, 30.0);
        bench.registry.finish(call, NOW);
    }
    let rang = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime")
        .block_on(async { tokio::time::timeout(std::time::Duration::from_secs(5), deaf.cut.notified()).await });
    assert!(rang.is_ok());
}

#[test]
fn a_registration_that_nothing_is_configured_for_says_so() {
    let bench = Bench::new();
    let (queue, mut lines) = mpsc::channel(4);
    let events = vec![Pattern::parse("custom.y").expect("a pattern")];
    let who = Applicant { name: "a".into(), pid: 1, uid: 1, events, needs_seconds: None };
    bench.registry.register(who, Line { queue, cut: Arc::new(Notify::new()) }, NOW);
    let text = lines.try_recv().expect("a line");
    assert!(text.contains("\"is_waited_for\":false") && text.contains("nothing will be sent"), "{text}");
    assert!(!bench.registry.list()[0].is_waited_for);
}

#[test]
fn the_result_of_many_fits_into_what_the_host_takes() {
    let bench = Bench::new();
    let name = "\u{1F600}".repeat(16);
    let apps: Vec<Conversation> = (0..400).map(|_| bench.joins(&name, "*", None, NOW)).collect();
    let notice = notice();
    let call = bench.delivers(&notice, 30.0);
    let detail = json!({"text": "\"".repeat(100)});
    for app in &apps[1..] {
        bench.registry.answered(app.id, &notice.id, true, detail.clone(), NOW).expect("asked");
    }
    let result = bench.registry.finish(call, NOW.plus_ns(SECOND_NS));
    assert_eq!((&result["told"], &result["not_listed"]), (&json!(400), &json!(272)));
    assert_eq!(result["applications"][0]["answer"], "silent", "who is not ready is listed first");
    assert!(result.to_string().len() < 64 * 1024, "{}", result.to_string().len());
}
