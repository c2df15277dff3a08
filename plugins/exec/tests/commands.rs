//! Real commands: what they are told, what their endings mean, and that they end in time.

mod stage;

use cloudsnooze_plugin::abi;
use cloudsnooze_plugin::testing::Canceller;
use serde_json::{Value, json};
use stage::{NOTICE, PLENTY, WITHDRAWN, declined, event, failed, handled, is_alive, plugin, read, wait_for};
use std::fs;
use std::time::{Duration, Instant};

#[test]
fn a_command_is_told_of_the_event_by_its_environment_and_its_standard_input() {
    let dir = tempfile::tempdir().unwrap();
    let config = json!({ "shell": "cat > event; env > env; pwd > pwd", "env": { "TEAM": "blue", "LANG": "C" } });
    let mut notice = event(NOTICE);
    notice["data"]["timeRemaining"] = json!(119.5);
    handled(plugin(dir.path(), config).deliver(&notice, PLENTY));
    let told: Value = serde_json::from_str(&read(dir.path(), "event")).unwrap();
    assert_eq!(told, notice);
    assert_eq!(read(dir.path(), "pwd"), dir.path().canonicalize().unwrap().to_string_lossy());
    let env = read(dir.path(), "env");
    let value = |name: &str| env.lines().find_map(|line| line.strip_prefix(&format!("{name}="))).map(str::to_owned);
    for (name, wanted) in [
        ("CLOUDSNOOZE_PHASE", "run"),
        ("CLOUDSNOOZE_EVENT_TYPE", NOTICE),
        ("CLOUDSNOOZE_EVENT_ID", "01936b7e-5b3a-7000-8000-000000000001"),
        ("CLOUDSNOOZE_EVENT_SEVERITY", "urgent"),
        ("CLOUDSNOOZE_EVENT_ACTION", "terminate"),
        ("CLOUDSNOOZE_EVENT_DEADLINE", "2026-01-02T03:06:05Z"),
        ("CLOUDSNOOZE_EVENT_SECONDS_LEFT", "119.500"),
        ("CLOUDSNOOZE_PROVIDER", "aws"),
        ("CLOUDSNOOZE_INSTANCE_ID", "i-0123456789abcdef0"),
        ("CLOUDSNOOZE_SIMULATED", "0"),
        ("CLOUDSNOOZE_ATTEMPT", "1"),
        ("CLOUDSNOOZE_IDEMPOTENCY_KEY", &"07".repeat(16)),
        ("TEAM", "blue"),
        ("LANG", "C"),
        ("HOME", "/"),
    ] {
        assert_eq!(value(name).as_deref(), Some(wanted), "{name} in {env}");
    }
    let seconds: f64 = value("CLOUDSNOOZE_SECONDS_LEFT").unwrap().parse().unwrap();
    assert!(seconds > 20.0 && seconds < PLENTY.as_secs_f64(), "{seconds}");
    // Nothing of the daemon's: cargo sets dozens. PWD and the like are the shell's.
    assert!(!env.contains("CARGO"), "{env}");
}

#[test]
fn an_event_that_is_large_or_not_read_is_no_trouble() {
    let dir = tempfile::tempdir().unwrap();
    let mut large = event(NOTICE);
    large["data"]["raw"] = json!("x".repeat(1 << 20));
    handled(plugin(dir.path(), json!({ "argv": ["true"] })).deliver(&large, PLENTY));
    let result = handled(plugin(dir.path(), json!({ "argv": ["wc", "-c"] })).deliver(&large, PLENTY));
    assert_eq!(result["evidence"]["stdout"]["last"], json!(large.to_string().len().to_string()));
}

#[test]
fn arguments_are_taken_as_they_stand_and_a_shell_only_when_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let words = json!({ "argv": ["printf", "%s|", "$HOME", "a b", "*", "", "`id`", "-x"] });
    let result = handled(plugin(dir.path(), words).deliver(&event(NOTICE), PLENTY));
    assert_eq!(result["evidence"]["stdout"]["last"], "$HOME|a b|*||`id`|-x|");
    let shell = json!({ "shell": "echo $(( 6 * 7 )) | cat" });
    let result = handled(plugin(dir.path(), shell).deliver(&event(NOTICE), PLENTY));
    assert_eq!((&result["action"], &result["evidence"]["stdout"]["last"]), (&json!("run"), &json!("42")));
    assert_eq!((&result["evidence"]["exit_code"], &result["evidence"]["program"]), (&json!(0), &json!("/bin/sh")));
}

#[test]
fn exit_codes_mean_done_declined_or_failed() {
    let dir = tempfile::tempdir().unwrap();
    let with = |shell: &str| plugin(dir.path(), json!({ "shell": shell, "declined_code": 75 }));
    handled(with("exit 0").deliver(&event(NOTICE), PLENTY));
    let delivered = with("echo nothing to do; exit 75").deliver(&event(NOTICE), PLENTY);
    assert_eq!(declined(&delivered), "nothing to do");
    assert_eq!(declined(&with("exit 75").deliver(&event(NOTICE), PLENTY)), "the command declined (exit code 75)");
    let delivered = with("echo first >&2; echo disk full >&2; echo out; exit 3").deliver(&event(NOTICE), PLENTY);
    assert_eq!(failed(&delivered, abi::SNOOZE_E_INTERNAL), "exit code 3: disk full");
    let result = delivered.result.unwrap();
    assert_eq!((&result["evidence"]["exit_code"], &result["evidence"]["stdout"]["last"]), (&json!(3), &json!("out")));
    let text = failed(&with("kill -SEGV $$").deliver(&event(NOTICE), PLENTY), abi::SNOOZE_E_INTERNAL);
    assert_eq!(text, "killed by SIGSEGV");
}

#[test]
fn what_cannot_be_started_is_a_warning_ahead_and_a_clear_failure() {
    let dir = tempfile::tempdir().unwrap();
    let missing = plugin(dir.path(), json!({ "argv": ["no-such-program", "x"] }));
    assert!(missing.log()[0].starts_with("there is no program 'no-such-program' in /"), "{:?}", missing.log());
    let text = failed(&missing.deliver(&event(NOTICE), PLENTY), abi::SNOOZE_E_IO);
    assert!(text.starts_with("there is no program 'no-such-program'"), "{text}");
    fs::write(dir.path().join("garbage"), [0x7F, b'E', b'L', b'F', 0, 0]).unwrap();
    fs::set_permissions(dir.path().join("garbage"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let garbage = plugin(dir.path(), json!({ "argv": ["./garbage"] }));
    let text = failed(&garbage.deliver(&event(NOTICE), PLENTY), abi::SNOOZE_E_INTERNAL);
    assert!(text.starts_with("exit code 12"), "{text}");
}

#[test]
fn a_command_that_hangs_is_ended_in_the_time_granted() {
    let dir = tempfile::tempdir().unwrap();
    for (traps, how, killed) in [
        ("trap 'echo bye > bye; exit 0' TERM; ", "SIGTERM after", false),
        ("trap '' TERM; ", "SIGTERM and SIGKILL after", true),
    ] {
        let shell = format!("{traps}echo $$ > pid; while :; do sleep 0.05; done");
        let plugin = plugin(dir.path(), json!({ "shell": shell, "term_grace_ms": 300 }));
        let (begun, left) = (Instant::now(), Duration::from_millis(1_500));
        let delivered = plugin.deliver(&event(NOTICE), left);
        let took = begun.elapsed();
        let text = failed(&delivered, abi::SNOOZE_E_DEADLINE);
        assert!(text.contains("had not ended in its time; ended with") && text.contains(how), "{text}");
        assert_eq!(delivered.result.unwrap()["evidence"]["killed"], killed);
        assert!(took >= Duration::from_millis(900), "{took:?}");
        assert!(took < left + Duration::from_secs(1), "{took:?}");
        assert!(!is_alive(dir.path(), "pid"));
    }
    assert_eq!(read(dir.path(), "bye"), "bye", "it was given the time to end by itself");
}

#[test]
fn children_that_survive_sigterm_are_killed() {
    let dir = tempfile::tempdir().unwrap();
    let child = |name: &str| format!("sh -c 'trap \"\" TERM; echo $$ > {name}; while :; do sleep 0.05; done' &");
    let shell = format!("trap 'exit 0' TERM; {} {} wait; sleep 60", child("a"), child("b"));
    let plugin = plugin(dir.path(), json!({ "shell": shell, "timeout_ms": 600, "term_grace_ms": 300 }));
    let begun = Instant::now();
    let text = failed(&plugin.deliver(&event(NOTICE), PLENTY), abi::SNOOZE_E_DEADLINE);
    assert!(text.contains("SIGTERM and SIGKILL"), "{text}");
    assert!(begun.elapsed() < PLENTY / 2, "the timeout is shorter than what was granted");
    assert!(!is_alive(dir.path(), "a") && !is_alive(dir.path(), "b"));
}

#[test]
fn what_a_command_leaves_behind_is_killed_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let shell = "sleep 300 & echo $! > pid; echo done";
    let begun = Instant::now();
    let result = handled(plugin(dir.path(), json!({ "shell": shell })).deliver(&event(NOTICE), PLENTY));
    assert!(begun.elapsed() < PLENTY / 2, "its open output is not waited for");
    assert_eq!(result["evidence"]["stdout"]["last"], "done");
    let left = result["evidence"]["left_behind"][0].as_str().unwrap().to_owned();
    assert_eq!(left, format!("sleep ({})", read(dir.path(), "pid")));
    assert!(!is_alive(dir.path(), "pid"));
}

#[test]
fn a_flood_of_output_costs_no_memory_and_its_end_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let shell =
        "head -c 64000000 /dev/zero | tr '\\0' x | fold -w 99; echo; echo the end; echo on the other stream >&2";
    let plugin = plugin(dir.path(), json!({ "shell": shell, "output_bytes": 300 }));
    let before = resident_kib();
    let result = handled(plugin.deliver(&event(NOTICE), 4 * PLENTY));
    let stdout = &result["evidence"]["stdout"];
    assert!(stdout["bytes"].as_u64().unwrap() > 64_000_000, "{result}");
    let last = stdout["last"].as_str().unwrap();
    assert!(last.len() <= 300 && last.ends_with("x\nthe end"), "{last}");
    assert_eq!(last.lines().next().map(str::len), Some(99), "only whole lines: {last}");
    assert_eq!(result["evidence"]["stderr"]["last"], "on the other stream");
    assert!(resident_kib() < before + 20_000, "{before} KiB grew to {}", resident_kib());
}

fn resident_kib() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4
}

#[test]
fn a_cancelled_call_ends_its_command_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let shell = "trap '' TERM; echo $$ > pid; while :; do sleep 0.05; done";
    let plugin = plugin(dir.path(), json!({ "shell": shell, "term_grace_ms": 5_000 }));
    let cancel = Canceller::default();
    let (delivered, took) = std::thread::scope(|scope| {
        let canceller = scope.spawn(|| {
            wait_for("the command", || !read(dir.path(), "pid").is_empty());
            cancel.cancel(abi::SNOOZE_CANCEL_WITHDRAWN);
            Instant::now()
        });
        let delivered = plugin.deliver_cancellable(&event(NOTICE), PLENTY, &cancel);
        (delivered, canceller.join().unwrap().elapsed())
    });
    let text = failed(&delivered, abi::SNOOZE_E_CANCELLED);
    assert_eq!(text, "cancelled; ended with SIGTERM and SIGKILL");
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(!is_alive(dir.path(), "pid"));
    fs::remove_file(dir.path().join("pid")).unwrap();
    failed(&plugin.deliver_cancellable(&event(NOTICE), PLENTY, &cancel), abi::SNOOZE_E_CANCELLED);
    assert!(!dir.path().join("pid").exists(), "what is cancelled before it begins is not begun");
}

#[test]
fn the_effect_is_proved_by_another_command() {
    let dir = tempfile::tempdir().unwrap();
    let config = json!({
        "shell": "echo saved > state", "declined_code": 75,
        "verify": { "shell": "test \"$CLOUDSNOOZE_PHASE\" = verify || exit 9; test -e maybe && exit 75; grep -q saved state" },
    });
    let plugin = plugin(dir.path(), config);
    let failure = failed(&plugin.verify(&event(NOTICE), PLENTY), abi::SNOOZE_E_INTERNAL);
    assert!(failure.starts_with("exit code 2: grep: state"), "the effect is missing: {failure}");
    handled(plugin.deliver(&event(NOTICE), PLENTY));
    let verified = plugin.verify(&event(NOTICE), PLENTY);
    assert_eq!((verified.status, &verified.result.unwrap()["action"]), (abi::SNOOZE_OK, &json!("verify")));
    fs::write(dir.path().join("state"), "spoilt").unwrap();
    assert_eq!(failed(&plugin.verify(&event(NOTICE), PLENTY), abi::SNOOZE_E_INTERNAL), "exit code 1");
    fs::write(dir.path().join("maybe"), "").unwrap();
    assert_eq!(plugin.verify(&event(NOTICE), PLENTY).status, abi::SNOOZE_SKIPPED, "it cannot tell");
    let without = stage::plugin(dir.path(), json!({ "argv": ["true"] }));
    assert_eq!(without.verify(&event(NOTICE), PLENTY).status, abi::SNOOZE_SKIPPED);
}

#[test]
fn a_withdrawn_notice_undoes_what_was_done_and_only_that() {
    let dir = tempfile::tempdir().unwrap();
    let config = json!({
        "argv": ["touch", "drained"],
        "undo": { "shell": "rm drained && echo $CLOUDSNOOZE_PHASE $CLOUDSNOOZE_EVENT_TYPE >> undone" },
    });
    let plugin = plugin(dir.path(), config);
    let reason = declined(&plugin.deliver(&event(WITHDRAWN), PLENTY));
    assert_eq!(reason, "this instance has run nothing that could be undone");
    handled(plugin.deliver(&event(NOTICE), PLENTY));
    assert!(dir.path().join("drained").exists());
    assert_eq!(handled(plugin.deliver(&event(WITHDRAWN), PLENTY))["action"], "undo");
    assert!(!dir.path().join("drained").exists());
    assert_eq!(read(dir.path(), "undone"), format!("undo {WITHDRAWN}"));
    declined(&plugin.deliver(&event(WITHDRAWN), PLENTY));
    // An undo that fails is still due.
    handled(plugin.deliver(&event(NOTICE), PLENTY));
    fs::remove_file(dir.path().join("drained")).unwrap();
    failed(&plugin.deliver(&event(WITHDRAWN), PLENTY), abi::SNOOZE_E_INTERNAL);
    fs::write(dir.path().join("drained"), "").unwrap();
    handled(plugin.deliver(&event(WITHDRAWN), PLENTY));
    let without = stage::plugin(dir.path(), json!({ "argv": ["touch", "x"] }));
    let reason = declined(&without.deliver(&event(WITHDRAWN), PLENTY));
    assert!(reason.contains("there is no undo command") && !dir.path().join("x").exists(), "{reason}");
}

#[test]
fn what_needs_more_time_than_there_is_is_not_started_and_its_fallback_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = json!({ "argv": ["touch", "long"], "needs_ms": 60_000 });
    let refused = plugin(dir.path(), config.clone());
    let text = failed(&refused.deliver(&event(NOTICE), PLENTY), abi::SNOOZE_E_DEADLINE);
    assert!(text.starts_with("not started: it needs 60.0 s, and "), "{text}");
    config["fallback"] = json!({ "shell": "echo $CLOUDSNOOZE_PHASE > short" });
    let plugin = plugin(dir.path(), config);
    let result = handled(plugin.deliver(&event(NOTICE), PLENTY));
    assert_eq!((&result["action"], &result["skipped"][0]["step"]), (&json!("fallback"), &json!("command")));
    assert_eq!(read(dir.path(), "short"), "fallback");
    assert!(!dir.path().join("long").exists());
    assert_eq!(handled(plugin.deliver(&event(NOTICE), 4 * PLENTY))["action"], "run");
    assert!(dir.path().join("long").exists());
}
