//! Tests of the store, on files of their own: whole ones, torn ones, and those of earlier versions.
//! Must never touch a history of this machine.

use super::*;
use crate::event::EventId;
use serde_json::json;

const TIME: Moment = Moment { boot_ns: 0, wall_ns: 0 };

fn event(wall_ns: i64) -> Arc<Event> {
    let json = json!({ "id": EventId::at(wall_ns).to_string(), "type": "cloud.spot.interrupt", "severity": "urgent",
        "time": "2026-01-02T03:04:05Z", "data": { "action": "terminate", "noticeKind": "deadline" } });
    let mut event = Event::from_json(&json, TIME).expect("an event");
    event.detected = Moment { boot_ns: 0, wall_ns };
    Arc::new(event)
}

/// Publishes an event detected at this wall time; gives its id.
fn publish(store: &mut Store, wall_ns: i64) -> String {
    let event = event(wall_ns);
    let id = event.id.to_string();
    store.write(&[Row::Published { event, state: "running", json: format!("{{\"id\":\"{id}\"}}") }]).expect("written");
    id
}

fn started(event_id: &str, instance: &str, attempt: u32) -> Row {
    Row::Started { event_id: event_id.into(), instance: instance.into(), attempt }
}

fn ended(event_id: &str, instance: &str) -> Row {
    let (state, report) = ("handled".into(), "{}".into());
    Row::Ended { event_id: event_id.into(), instance: instance.into(), state, report }
}

fn done(event_id: &str) -> Row {
    Row::Done { event_id: event_id.into(), state: "completed".into(), report: "{}".into() }
}

fn open(path: &Path) -> Store {
    let (store, mended) = Store::open(path).expect("open");
    assert_eq!(mended, None);
    store
}

fn ids(store: &Store) -> Vec<String> {
    store.events(usize::MAX, None).expect("read").into_iter().map(|event| event.event_id).collect()
}

const KEEP: History = History { keep_days: 10, keep_events: 5_000 };

#[test]
fn events_come_newest_first_and_old_ones_are_dropped_when_they_are_over() {
    let mut store = Store::in_memory().expect("open");
    let (old, new) = (publish(&mut store, 1), publish(&mut store, 10 * DAY_NS + 10));
    store.write(&[started(&old, "x/y", 1), ended(&old, "x/y"), done(&new)]).expect("written");
    assert!(!store.drop_some(&KEEP, 20 * DAY_NS).expect("written"));
    assert_eq!(ids(&store), [new.clone(), old.clone()], "it still runs");
    assert_eq!(store.report("last").expect("read").as_deref(), Some("{}"));
    assert_eq!(store.report(&old).expect("read"), None);
    store.write(&[done(&old)]).expect("written");
    assert!(!store.drop_some(&KEEP, 10 * DAY_NS).expect("written"));
    assert_eq!(ids(&store).len(), 2, "it is not old enough");
    assert!(!store.drop_some(&KEEP, 10 * DAY_NS + 2).expect("written"));
    assert_eq!(ids(&store), [new]);
    let deliveries = "SELECT count(*) FROM deliveries";
    let left: i64 = store.0.query_row(deliveries, [], |row| row.get(0)).expect("read");
    assert_eq!(left, 0, "its delivery went with it");
    assert_eq!(store.seen_since(0).expect("read").len(), 1);
}

#[test]
fn of_too_many_the_newest_are_kept_and_the_file_does_not_grow_any_more() {
    let dir = tempfile::tempdir().expect("tempdir");
    let mut store = open(&dir.path().join("history.sqlite"));
    let mut round = |from: i64| {
        let published = |event: Arc<Event>| {
            let id = event.id.to_string();
            [Row::Published { event, state: "running", json: "{}".into() }, done(&id)]
        };
        let rows: Vec<Row> = (from..from + 7_500).flat_map(|n| published(event(n))).collect();
        store.write(&rows).expect("written");
        let steps = (0..9).take_while(|_| store.drop_some(&KEEP, 0).expect("written")).count();
        let pages: i64 = store.0.pragma_query_value(None, "page_count", |row| row.get(0)).expect("read");
        (steps, pages)
    };
    let (first_steps, first_pages) = round(0);
    assert_eq!(first_steps, 2, "2,500 too many: two whole steps and one that is not");
    let later: Vec<_> = (1..6).map(|n| round(7_500 * n)).collect();
    let is_small = |(_, pages): &(usize, i64)| *pages < first_pages * 2;
    assert!(later.iter().all(is_small), "{first_pages} pages after one round, then {later:?}");
    assert_eq!(ids(&store).len(), 5_000);
    let oldest = "SELECT min(detected_wall_ns) FROM events";
    let oldest: i64 = store.0.query_row(oldest, [], |row| row.get(0)).expect("read");
    assert_eq!(oldest, 6 * 7_500 - 5_000);
}

#[test]
fn what_is_told_of_an_event_that_is_not_known_keeps_nothing_else_from_being_written() {
    let mut store = Store::in_memory().expect("open");
    store.0.pragma_update(None, "foreign_keys", true).expect("set");
    let id = publish(&mut store, 1);
    let rows = [started("nobody", "t/a", 1), ended("nobody", "t/a"), done("nobody"), started(&id, "t/a", 1)];
    store.write(&rows).expect("written");
    assert_eq!(store.open_events().expect("read")[0].deliveries.len(), 1);
}

#[test]
fn what_was_open_is_found_again_with_what_had_begun_and_what_had_ended() {
    let dir = tempfile::tempdir().expect("tempdir");
    let path = dir.path().join("history.sqlite");
    let mut store = open(&path);
    let (one, two) = (publish(&mut store, 1), publish(&mut store, 2));
    store.write(&[started(&one, "t/a", 1), started(&one, "t/b", 1), ended(&one, "t/a")]).expect("written");
    store.write(&[started(&one, "t/b", 2), done(&two)]).expect("written");
    // The process is gone without a word; the next one finds it so.
    drop(store);
    let found = open(&path).open_events().expect("read");
    let [event] = found.as_slice() else { panic!("one is open: {found:?}") };
    assert!(event.json.contains(&one));
    let had: Vec<_> = event.deliveries.iter().map(|d| (d.instance.as_str(), d.attempts, d.report.is_some())).collect();
    assert_eq!(had, [("t/a", 1, true), ("t/b", 2, false)]);
}

#[test]
fn a_commit_that_fails_leaves_nothing_half_written() {
    let mut store = Store::in_memory().expect("open");
    let id = publish(&mut store, 1);
    let refuses = "CREATE TRIGGER no BEFORE INSERT ON deliveries WHEN new.instance = 't/no' \
                   BEGIN SELECT RAISE(ABORT, 'no'); END";
    store.0.execute_batch(refuses).expect("made");
    let error = store.write(&[started(&id, "t/b", 1), started(&id, "t/no", 1)]).expect_err("the second");
    assert!(!is_transient(&error));
    assert!(store.open_events().expect("read")[0].deliveries.is_empty());
}

#[test]
fn a_file_of_version_1_is_taken_over_and_a_newer_one_refused() {
    let dir = tempfile::tempdir().expect("tempdir");
    let path = dir.path().join("history.sqlite");
    let old = "CREATE TABLE events (id TEXT PRIMARY KEY, type TEXT NOT NULL, severity TEXT NOT NULL, source TEXT NOT \
               NULL, detected_wall_ns INTEGER NOT NULL, detected TEXT NOT NULL, deadline TEXT, simulated INTEGER NOT \
               NULL, state TEXT NOT NULL, event TEXT NOT NULL, report TEXT) STRICT; CREATE TABLE deliveries (event_id \
               TEXT NOT NULL, instance TEXT NOT NULL, state TEXT NOT NULL, report TEXT, PRIMARY KEY (event_id, \
               instance)) STRICT, WITHOUT ROWID; INSERT INTO events VALUES ('e', 't', 'info', 's', 1, 'd', NULL, 0, \
               'running', '{}', NULL); INSERT INTO deliveries VALUES ('e', 't/a', 'started', NULL); PRAGMA \
               user_version = 1;";
    Connection::open(&path).expect("open").execute_batch(old).expect("made");
    let store = open(&path);
    assert_eq!(store.open_events().expect("read")[0].deliveries[0].attempts, 0);
    store.0.pragma_update(None, "user_version", 99).expect("set");
    drop(store);
    assert!(Store::open(&path).err().is_some_and(|e| e.to_string().contains("newer version")));
}

#[test]
fn a_file_of_version_2_learns_of_which_machine_each_event_was() {
    let dir = tempfile::tempdir().expect("tempdir");
    let path = dir.path().join("history.sqlite");
    let old = Connection::open(&path).expect("open");
    old.execute_batch(include_str!("version-2.sql")).expect("made");
    old.execute_batch(
        "INSERT INTO events VALUES ('no JSON', 't', 'info', 's', 8, 'd', NULL, 1, 'completed', 'torn', NULL)",
    )
    .expect("made");
    drop(old);
    let store = open(&path);
    let known: (String, String, i64) = store
        .0
        .query_row(
            "SELECT instance_id, zone, d.detected_wall_ns FROM events JOIN pools ON pools.id = pool JOIN deliveries AS d \
             ON event_id = events.id WHERE events.id = 'e'",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .expect("read");
    assert_eq!(known, ("i-9".into(), "us-east-1b".into(), 7));
    let counted: i64 = store.0.query_row("SELECT sum(events) FROM pool_events", [], |row| row.get(0)).expect("read");
    assert_eq!((counted, ids(&store).len()), (2, 2), "none is lost");
    assert_eq!(store.open_events().expect("read")[0].deliveries[0].attempts, 2);
}

#[test]
fn a_life_is_found_again_and_written_over() {
    let mut store = Store::in_memory().expect("open");
    let life = |seen: i64, outcome: &str| Life {
        id: "i-1@then".into(),
        instance_id: "i-1".into(),
        pool: Pool { provider: "aws".into(), zone: "us-east-1a".into(), ..Pool::default() },
        market: "spot".into(),
        launched_wall_ns: 1,
        last_seen_wall_ns: seen,
        ended_wall_ns: None,
        outcome: outcome.into(),
    };
    assert_eq!(store.life_of("i-1").expect("read"), None);
    store.write(&[Row::Life(life(5, "running"))]).expect("written");
    store.write(&[Row::Life(life(9, "interrupted"))]).expect("written");
    assert_eq!(store.life_of("i-1").expect("read"), Some(life(9, "interrupted")));
    let sums = "SELECT outcome, lives FROM pool_lives WHERE lives <> 0";
    let sums: (String, i64) = store.0.query_row(sums, [], |row| Ok((row.get(0)?, row.get(1)?))).expect("read");
    assert_eq!(sums, ("interrupted".into(), 1));
}

/// Torn, cut and overwritten files: a store is there afterwards, and the old one is kept.
#[test]
fn a_broken_file_is_kept_aside_and_a_new_one_begun() {
    let dir = tempfile::tempdir().expect("tempdir");
    let path = dir.path().join("history.sqlite");
    let mut store = open(&path);
    for n in 0..200 {
        let id = publish(&mut store, n);
        store.write(&[done(&id)]).expect("written");
    }
    drop(store);
    let sound = std::fs::read(&path).expect("read");
    assert!(sound.len() > 16_384, "several pages");
    let mut scribbled = sound.clone();
    scribbled[8_192..12_288].fill(0xA5);
    for (n, bytes) in
        [&b"not a database, and long enough to be taken for one"[..], &sound[..sound.len() / 2 + 100], &scribbled]
            .iter()
            .enumerate()
    {
        std::fs::write(&path, bytes).expect("written");
        let (mut store, mended) = Store::open(&path).expect("a store all the same");
        let text = mended.unwrap_or_else(|| panic!("case {n} was taken for sound"));
        assert!(text.contains("is broken") && text.contains(".broken-"), "{text}");
        publish(&mut store, 1);
        let kept = std::fs::read_dir(dir.path()).expect("read").filter_map(Result::ok);
        let kept: Vec<_> = kept.filter(|f| f.file_name().to_string_lossy().contains(".broken-")).collect();
        assert!(!kept.is_empty());
        kept.iter().for_each(|file| std::fs::remove_file(file.path()).expect("removed"));
    }
}
