//! Tests of the history as people ask it, on files of their own. Must never need a server: the same on a real PostgreSQL is in
//! tests/e2e/tests/history.rs.

use super::import::{Counts, Importer};
use super::prune::Keep;
use super::tables::{ALL, DELIVERIES, EVENTS, Exchanged, LIVES, PRICES};
use super::views::{Amounts, Filter, Table};
use super::*;
use crate::event::EventType;
use crate::history::schema::Dialect;
use crate::history::store::Store;
use serde_json::Value;
use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

const LIVES_CSV: &str = "vm,zone,machine_type,preemptible,launch_utc,end_utc,lifetime_s,event,batch
0,us-central1-f,n1-standard-2,1,2019-02-18T16:57:37.265Z,2019-02-18T18:15:05.966Z,4648.701,1,210
1,us-central1-f,n1-standard-1,1,2019-02-18T19:21:46.504Z,2019-02-19T16:41:13.191Z,76766.687,0,208
2,us-central1-f,n1-standard-1,0,2019-02-18T19:23:20.324Z,2019-02-18T21:12:43.768Z,6563.444,0,
";
const PRICES_CSV: &str = "az,instance_type,timestamp_utc,usd_per_hour
eu-central-1a,p2.8xlarge,2019-12-22T08:57:09.000Z,10.608000
eu-central-1a,p2.8xlarge,2019-12-23T08:57:21.000Z,0
";

fn new(directory: &Path, name: &str) -> Archive {
    Archive::open(&Place::File(directory.join(name)), Access::Write).expect("made")
}

fn give(archive: &mut Archive, work: impl FnOnce(&mut Importer<'_>) -> Result<()>) -> Result<Counts> {
    archive.transact(|archive| {
        let mut silent = |_| {};
        let mut importer = Importer::new(archive, &mut silent);
        work(&mut importer)?;
        importer.finish()
    })
}

fn csv(archive: &mut Archive, text: &str) -> Result<Counts> {
    give(archive, |importer| public::import(text.as_bytes(), "data.csv", "data", importer))
}

fn lines(archive: &mut Archive, text: &str) -> Result<Counts> {
    give(archive, |importer| jsonl::import(&mut text.as_bytes(), "data.jsonl", importer))
}

fn all_lines(archive: &mut Archive) -> String {
    let mut out = Vec::new();
    archive.snapshot(|archive| jsonl::export(archive, &mut out, &mut |_| {})).expect("written");
    String::from_utf8(out).expect("UTF-8")
}

fn text(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}

const TYPES: [&str; 4] = ["cloud.spot.interrupt", "cloud.spot.rebalance", "system.disk.pressure", "custom.x"];
const STATES: [&str; 3] = ["completed", "running", "withdrawn"];

/// Events, with one delivery each, that differ in everything that is asked for.
fn fill(archive: &mut Archive, events: i64) {
    let pool = |n: i64| [text("aws"), text("us-east-1"), text(&format!("us-east-1{}", n % 3)), text("m5.large")];
    let pick = |list: &[&str], n: i64| text(list[usize::try_from(n).expect("small") % list.len()]);
    let id = |n: i64| text(&format!("e-{n:06}"));
    give(archive, |importer| {
        for n in 0..events {
            let own =
                [id(n), pick(&TYPES, n / 2), text("urgent"), text("test"), Cell::Int(n * 10), text("then"), Cell::Null];
            let rest = [Cell::Int(n % 2), pick(&STATES, n / 5), text("{}"), Cell::Null, text(&format!("i-{}", n % 11))];
            importer.take(&EVENTS, [&own[..], &rest, &pool(n)].concat())?;
        }
        for n in 0..events {
            let report = text("{\"duration_ms\":1.5,\"verified\":\"yes\",\"error\":null}");
            let row = vec![
                id(n),
                pick(&["t/a", "t/b"], n),
                pick(&["handled", "failed"], n / 3),
                report,
                Cell::Int(1),
                Cell::Int(n * 10),
            ];
            importer.take(&DELIVERIES, row)?;
        }
        Ok(())
    })
    .expect("taken");
}

fn column(table: &Table, name: &str) -> usize {
    table.columns.iter().position(|column| column.name == name).expect("a column")
}

fn values(table: &Table, name: &str) -> Vec<Cell> {
    let number = column(table, name);
    table.rows.iter().map(|row| row[number].clone()).collect()
}

fn limited(limit: u32) -> Filter {
    Filter { limit, ..Filter::default() }
}

#[test]
fn public_lives_and_prices_are_taken_once_and_summed_by_pool() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut archive = new(directory.path(), "h.sqlite");
    let counts = csv(&mut archive, LIVES_CSV).expect("taken");
    assert_eq!((counts[2].1.given, counts[2].1.taken), (3, 3));
    csv(&mut archive, PRICES_CSV).expect("taken");
    let before = all_lines(&mut archive);
    let again = csv(&mut archive, LIVES_CSV).expect("taken");
    assert_eq!((again[2].1.given, again[2].1.taken), (3, 0), "all are known");
    assert_eq!(csv(&mut archive, PRICES_CSV).expect("taken")[3].1.taken, 0);
    assert_eq!(all_lines(&mut archive), before);
    let summary = archive.summary(&limited(10)).expect("asked");
    assert_eq!(values(&summary, "instance_type"), [text("n1-standard-1"), text("n1-standard-2")]);
    assert_eq!(values(&summary, "interrupted"), [Cell::Int(0), Cell::Int(1)]);
    let hours =
        values(&summary, "exposure_hours").iter().map(|cell| cell.as_real().expect("hours")).collect::<Vec<_>>();
    assert!((hours[0] - 76_766.687 / 3_600.0).abs() < 1e-6, "{hours:?}");
    let bought = values(&summary, "on_demand_hours")[0].as_real().expect("hours");
    assert!((bought - 6_563.444 / 3_600.0).abs() < 1e-6, "what costs the full price is not exposed");
    let prices = archive.prices(&limited(10)).expect("asked");
    assert_eq!(values(&prices, "price_per_hour"), [Cell::Real(0.0), Cell::Real(10.608)]);
    assert_eq!(values(&prices, "region")[0], text("eu-central-1"));
}

#[test]
fn a_wrong_line_is_named_with_what_was_found_and_expected_and_nothing_of_the_file_is_taken() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut archive = new(directory.path(), "h.sqlite");
    let before = all_lines(&mut archive);
    let cases = [
        (LIVES_CSV.replace("76766.687", "7676"), 3, "lifetime_s", "7676"),
        (LIVES_CSV.replace("2019-02-19T16:41:13.191Z", "2018-02-19T16:41:13.191Z"), 3, "end_utc", "2018-"),
        (LIVES_CSV.replace("2019-02-18T19:23:20.324Z", "noon"), 4, "launch_utc", "noon"),
        (LIVES_CSV.replace("6563.444,0,", "6563.444,yes,"), 4, "event", "yes"),
        (LIVES_CSV.replace("6563.444,0,", "6563.444,0"), 4, "", "8 fields"),
        (LIVES_CSV.replace(",210", ",x"), 2, "batch", "x"),
        (LIVES_CSV.replace("vm,", "machine,"), 1, "", "machine,zone"),
        (PRICES_CSV.replace(",0\n", ",-1\n"), 3, "usd_per_hour", "-1"),
        (PRICES_CSV.replace(",0\n", ",NaN\n"), 3, "usd_per_hour", "NaN"),
        (PRICES_CSV.replace("eu-central-1a,p2.8xlarge,2019-12-22", ",p2.8xlarge,2019-12-22"), 2, "az", ""),
    ];
    for (text, line, column, found) in cases {
        match csv(&mut archive, &text) {
            Err(ArchiveError::Input(fault)) => {
                assert_eq!((fault.line, fault.column.as_str()), (line, column), "{fault}");
                assert!(fault.found.starts_with(found) && fault.to_string().contains("nothing of the file"), "{fault}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    let life = concat!(
        r#"{"kind":"life","id":"a","instance_id":"a","market":"spot","launched_wall_ns":5,"last_seen_wall_ns":9,"#,
        r#""outcome":"running","provider":"","region":"","zone":"","instance_type":""}"#
    );
    let cases = [
        (life.replace("\"last_seen_wall_ns\":9", "\"last_seen_wall_ns\":4"), "last_seen_wall_ns"),
        (life.replace("\"running\"", "\"gone\""), "outcome"),
        (life.replace(":5,", ":\"5\","), "launched_wall_ns"),
        (life.replace(":5,", ":-9223372036854775808,"), "launched_wall_ns"),
        (life.replace("\"market\":\"spot\",", ""), "market"),
        (life.replace("\"spot\"", "7"), "market"),
        (life.replace("life", "lif"), "kind"),
        (life.replace("},", ""), ""),
        ("{\"kind\":\"history\",\"schema\":99}".to_owned(), "schema"),
        ("[1]".to_owned(), ""),
    ];
    for (wrong, column) in cases.into_iter().filter(|(wrong, _)| *wrong != life) {
        match lines(&mut archive, &format!("{}\n{wrong}\n", life.replace("\"a\"", "\"b\""))) {
            Err(ArchiveError::Input(fault)) => {
                assert!(fault.line == 2 && (column.is_empty() || fault.column == column), "{wrong}: {fault}");
            }
            other => panic!("{wrong}: {other:?}"),
        }
    }
    assert_eq!(all_lines(&mut archive), before, "not even what was right of them");
    assert_eq!(lines(&mut archive, life).expect("taken")[2].1.taken, 1);
}

#[test]
fn what_is_exported_comes_back_the_same_in_both_forms() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut archive = new(directory.path(), "h.sqlite");
    fill(&mut archive, 7_000);
    csv(&mut archive, LIVES_CSV).expect("taken");
    csv(&mut archive, PRICES_CSV).expect("taken");
    let all = all_lines(&mut archive);
    assert_eq!(all.lines().count(), 1 + 7_000 * 2 + 3 + 2, "more than a page, and a head");
    let mut from_lines = new(directory.path(), "lines.sqlite");
    lines(&mut from_lines, &all).expect("taken");
    assert_eq!(all_lines(&mut from_lines), all);
    let mut from_parquet = new(directory.path(), "parquet.sqlite");
    for table in ALL {
        let file = directory.path().join(format!("{}.parquet", table.name));
        let rows = archive.snapshot(|archive| parquet::export(archive, table, &file, &mut |_| {})).expect("written");
        assert_eq!(rows, archive.count(table).expect("counted"));
        give(&mut from_parquet, |importer| parquet::import(&file, importer)).expect("taken");
    }
    assert_eq!(all_lines(&mut from_parquet), all);
}

#[test]
fn a_file_that_is_no_parquet_or_holds_another_table_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut archive = new(directory.path(), "h.sqlite");
    let file = directory.path().join("x.parquet");
    for bytes in [&b""[..], b"PAR1", b"PAR1 and something that is no table PAR1"] {
        std::fs::write(&file, bytes).expect("written");
        assert!(give(&mut archive, |importer| parquet::import(&file, importer)).is_err());
    }
    csv(&mut archive, PRICES_CSV).expect("taken");
    archive.snapshot(|archive| parquet::export(archive, &PRICES, &file, &mut |_| {})).expect("written");
    let mut bytes = std::fs::read(&file).expect("read");
    // Torn in the middle of its pages.
    bytes[10..40].fill(0xA5);
    std::fs::write(&file, bytes).expect("written");
    let before = all_lines(&mut archive);
    let _refused_or_known = give(&mut archive, |importer| parquet::import(&file, importer));
    assert_eq!(all_lines(&mut archive).lines().count(), before.lines().count());
}

#[test]
fn every_filter_finds_exactly_what_fits_newest_first() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut archive = new(directory.path(), "h.sqlite");
    fill(&mut archive, 600);
    let everything = archive.events(&limited(u32::MAX)).expect("asked");
    assert_eq!(everything.rows.len(), 600);
    let some = |list: &[&str]| list.iter().map(|text| Some((*text).to_owned())).chain([None]).collect::<Vec<_>>();
    for event_type in some(&["cloud.spot.*", "custom.x", "nothing.*", "*"]) {
        for outcome in some(&["completed", "never"]) {
            for instance in some(&["i-3"]) {
                for (since, until) in [(None, None), (Some(1_000), Some(4_000))] {
                    let filter = Filter {
                        event_type: event_type.clone(),
                        outcome: outcome.clone(),
                        instance: instance.clone(),
                        since_wall_ns: since,
                        until_wall_ns: until,
                        ..limited(17)
                    };
                    let is = |row: &Row, name: &str, wanted: &Option<String>| {
                        let there = row[column(&everything, name)].as_text().unwrap_or_default();
                        wanted.as_ref().is_none_or(|wanted| match wanted.strip_suffix('*') {
                            Some(prefix) => there.starts_with(prefix),
                            None => there == wanted,
                        })
                    };
                    let fits = |row: &&Row| {
                        let at = row[column(&everything, "detected")].as_int().expect("a time");
                        is(row, "type", &event_type)
                            && is(row, "state", &outcome)
                            && is(row, "instance_id", &instance)
                            && since.is_none_or(|since| at >= since)
                            && until.is_none_or(|until| at < until)
                    };
                    let expected: Vec<Row> = everything.rows.iter().filter(fits).take(17).cloned().collect();
                    assert_eq!(archive.events(&filter).expect("asked").rows, expected, "{filter:?}");
                }
            }
        }
    }
    let failed = Filter { handler: Some("t/a".to_owned()), outcome: Some("failed".to_owned()), ..limited(5) };
    let failed = archive.deliveries(&failed).expect("asked");
    assert_eq!(values(&failed, "event_id"), ["e-000598", "e-000592", "e-000586", "e-000580", "e-000574"].map(text));
    assert_eq!(values(&failed, "duration_ms")[0], Cell::Real(1.5));
    let of_handler = archive.deliveries(&Filter { handler: Some("t/b".to_owned()), ..limited(3) }).expect("asked");
    assert_eq!(values(&of_handler, "event_id"), ["e-000599", "e-000597", "e-000595"].map(text));
    let of_event = archive.deliveries(&Filter { event: Some("e-000007".to_owned()), ..limited(3) }).expect("asked");
    assert_eq!(of_event.rows.len(), 1);
}

/// Counts events and lives the slow way.
fn recounted(archive: &mut Archive) -> (Vec<Row>, Vec<Row>) {
    let events = "SELECT pool, type, simulated, count(*) FROM events GROUP BY 1, 2, 3 ORDER BY 1, 2, 3";
    let lives = "SELECT pool, market, outcome, count(*), sum((coalesce(ended_wall_ns, last_seen_wall_ns) - launched_wall_ns) \
                 / 1000000) FROM lives GROUP BY 1, 2, 3 ORDER BY 1, 2, 3";
    (archive.query(events, &[]).expect("asked"), archive.query(lives, &[]).expect("asked"))
}

fn sums(archive: &mut Archive) -> (Vec<Row>, Vec<Row>) {
    let events = "SELECT * FROM pool_events WHERE events <> 0 ORDER BY 1, 2, 3";
    let lives = "SELECT * FROM pool_lives WHERE lives <> 0 ORDER BY 1, 2, 3";
    (archive.query(events, &[]).expect("asked"), archive.query(lives, &[]).expect("asked"))
}

#[test]
fn the_sums_stay_right_whatever_comes_changes_and_goes() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut archive = new(directory.path(), "h.sqlite");
    fill(&mut archive, 300);
    csv(&mut archive, LIVES_CSV).expect("taken");
    assert_eq!(sums(&mut archive), recounted(&mut archive));
    let longer = all_lines(&mut archive).replace("\"last_seen_wall_ns\":15", "\"last_seen_wall_ns\":16");
    assert!(lines(&mut archive, &longer).expect("taken")[2].1.taken > 0, "lives were seen longer");
    assert_eq!(sums(&mut archive), recounted(&mut archive));
    let keep = Keep { since_wall_ns: Some(1_000), rows: Some(50) };
    let dropped = archive.prune(keep, &mut |_| {}).expect("pruned");
    assert!(dropped.events > 100, "{dropped:?}");
    assert_eq!(sums(&mut archive), recounted(&mut archive));
    assert_eq!(archive.count(&LIVES).expect("counted"), 3, "none was launched before");
}

#[test]
fn pruning_keeps_what_runs_and_the_newest_of_the_rest() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut archive = new(directory.path(), "h.sqlite");
    fill(&mut archive, 600);
    let running =
        archive.events(&Filter { outcome: Some("running".to_owned()), ..limited(u32::MAX) }).expect("asked").rows.len();
    archive.prune(Keep { since_wall_ns: Some(5_000), rows: None }, &mut |_| {}).expect("pruned");
    let left = archive.events(&limited(u32::MAX)).expect("asked");
    let old = |row: &&Row| row[column(&left, "detected")].as_int() < Some(5_000);
    assert!(left.rows.iter().filter(old).all(|row| row[column(&left, "state")] == text("running")));
    assert!(left.rows.len() > 100 && running > 100);
    let orphans = "SELECT count(*) FROM deliveries WHERE event_id NOT IN (SELECT id FROM events)";
    assert_eq!(archive.query(orphans, &[]).expect("asked"), [[Cell::Int(0)]]);
}

#[test]
fn what_is_known_better_is_taken_over_and_what_is_known_worse_is_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut archive = new(directory.path(), "h.sqlite");
    let life = |seen: i64, outcome: &str| {
        let rest = format!(r#""outcome":"{outcome}","provider":"aws","region":"","zone":"z","instance_type":""}}"#);
        format!(
            r#"{{"kind":"life","id":"a","instance_id":"a","market":"spot","launched_wall_ns":0,"last_seen_wall_ns":{seen},{rest}"#
        )
    };
    for (seen, outcome, is_taken, after) in [
        (10, "running", 1, "running"),
        (30, "running", 1, "running"),
        (20, "interrupted", 0, "running"),
        (30, "interrupted", 1, "interrupted"),
        (30, "running", 0, "interrupted"),
    ] {
        let counts = lines(&mut archive, &life(seen, outcome)).expect("taken");
        assert_eq!(counts[2].1.taken, is_taken, "{seen} {outcome}");
        assert_eq!(values(&archive.lives(&limited(9)).expect("asked"), "outcome"), [text(after)]);
    }
    let twice = format!("{}\n{}\n", life(40, "interrupted"), life(50, "interrupted"));
    assert_eq!(lines(&mut archive, &twice).expect("taken")[2].1, import::Count { given: 2, taken: 2 });
}

#[test]
fn a_delivery_whose_event_is_not_there_is_passed_over() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut archive = new(directory.path(), "h.sqlite");
    let row = vec![text("nobody"), text("t/a"), text("handled"), Cell::Null, Cell::Int(1), Cell::Int(0)];
    let counts = give(&mut archive, |importer| importer.take(&DELIVERIES, row)).expect("taken");
    assert_eq!(counts[1].1, import::Count { given: 1, taken: 0 });
}

#[test]
fn a_history_is_made_only_to_be_written_and_nothing_else_is_taken_for_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let open = |name: &str, access| Archive::open(&Place::File(directory.path().join(name)), access).err();
    assert!(matches!(open("none", Access::Read), Some(ArchiveError::Missing(_))));
    assert!(!directory.path().join("none").exists());
    std::fs::write(directory.path().join("text"), "no database, but long enough to be taken for one by somebody")
        .expect("written");
    for access in [Access::Read, Access::Write] {
        assert!(open("text", access).is_some_and(|error| error.to_string().contains("no history")));
    }
    let other = rusqlite::Connection::open(directory.path().join("other")).expect("made");
    other.execute_batch("CREATE TABLE mine (x)").expect("made");
    assert!(open("other", Access::Read).is_some_and(|error| error.to_string().contains("it is no history")));
    assert!(open("other", Access::Write).is_some());
}

#[test]
fn a_file_of_an_earlier_version_is_merged_and_left_as_it_is() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("old.sqlite");
    let old = rusqlite::Connection::open(&path).expect("made");
    old.execute_batch(include_str!("../store/version-2.sql")).expect("made");
    drop(old);
    let place = Place::File(path.clone());
    let told = Archive::open(&place, Access::Read).err().expect("an older version").to_string();
    assert!(told.contains("schema 2") && told.contains("prune"), "{told}");
    let mut source = Archive::open_source(&place).expect("a copy");
    let mut archive = new(directory.path(), "h.sqlite");
    let merge = |source: &mut Archive, table: &'static Exchanged, importer: &mut Importer<'_>| {
        source.each(table, &mut |row| importer.take(table, row.to_vec()))
    };
    give(&mut archive, |importer| ALL.into_iter().try_for_each(|table| merge(&mut source, table, importer)))
        .expect("merged");
    let events = archive.events(&limited(9)).expect("asked");
    assert_eq!(values(&events, "instance_id"), [text("i-9")]);
    assert_eq!(values(&events, "zone"), [text("us-east-1b")]);
    let version: i64 = rusqlite::Connection::open(&path)
        .and_then(|old| old.pragma_query_value(None, "user_version", |row| row.get(0)))
        .expect("read");
    assert_eq!(version, 2);
}

#[test]
fn the_daemon_writes_while_others_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("history.sqlite");
    let (mut store, _) = Store::open(&path).expect("made");
    let mut reader = Archive::open(&Place::File(path), Access::Read).expect("opened");
    let seen = reader.snapshot(|reader| {
        assert!(reader.events(&limited(1))?.rows.is_empty());
        store.write(&[]).expect("written");
        reader.count(&EVENTS)
    });
    assert_eq!(seen.expect("asked"), 0);
    assert!(reader.execute("DELETE FROM events", &[]).is_err(), "it is only read");
}

/// A file that writes down how SQLite goes about each query.
struct Planner(sqlite::File, Plans);

/// Queries, and what SQLite says to each.
type Plans = Rc<RefCell<Vec<(String, Vec<String>)>>>;

impl Base for Planner {
    fn dialect(&self) -> Dialect {
        self.0.dialect()
    }

    fn query(&mut self, sql: &str, values: &[Cell]) -> Result<Vec<Row>> {
        let plan = self.0.query(&format!("EXPLAIN QUERY PLAN {sql}"), values)?;
        let words = plan.iter().filter_map(|row| row.last()?.as_text().map(str::to_owned)).collect();
        self.1.borrow_mut().push((sql.to_owned(), words));
        self.0.query(sql, values)
    }

    fn execute(&mut self, sql: &str, values: &[Cell]) -> Result<u64> {
        self.0.execute(sql, values)
    }

    fn batch(&mut self, sql: &str) -> Result<()> {
        self.0.batch(sql)
    }

    fn insert(&mut self, table: &Exchanged, rows: &[Row]) -> Result<u64> {
        self.0.insert(table, rows)
    }

    fn settle(&mut self) -> Result<()> {
        self.0.settle()
    }

    fn bytes(&mut self) -> Result<u64> {
        self.0.bytes()
    }
}

#[test]
fn no_view_walks_through_a_table_or_sorts_all_that_fits() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("h.sqlite");
    let plans = Rc::new(RefCell::new(Vec::new()));
    let file = sqlite::File::open(&path, Access::Write).expect("made");
    let base = Box::new(Planner(file, Rc::clone(&plans)));
    let mut archive = Archive { base, place: String::new(), pools: HashMap::new() };
    fill(&mut archive, 2_000);
    // As many as a planner takes for more than a handful.
    let pool = |n: i64| [text("gcp"), text("r"), text(&format!("z{}", n % 7)), text("n1")];
    give(&mut archive, |importer| {
        for n in 0..2_000 {
            let id = text(&format!("i-{n}"));
            let own =
                [id.clone(), id, text("spot"), Cell::Int(n), Cell::Int(n + 9), Cell::Null, text("running"), Cell::Null];
            importer.take(&LIVES, [&own[..], &pool(n)].concat())?;
        }
        for n in 0..2_000 {
            let own = [text("spot"), Cell::Int(n), Cell::Real(1.0), text("USD"), text("test")];
            importer.take(&PRICES, [&own[..], &pool(n)].concat())?;
        }
        Ok(())
    })
    .expect("taken");
    for is_settled in [false, true] {
        if is_settled {
            archive.settle().expect("settled");
        }
        plans.borrow_mut().clear();
        let some = |text: &str| Some(text.to_owned());
        let pool = Pool { provider: "gcp".to_owned(), ..Pool::default() };
        for narrow in 0..32 {
            let is = |bit: u32| narrow & bit != 0;
            let filter = Filter {
                event_type: some("cloud.spot.*").filter(|_| is(1)),
                outcome: some("running").filter(|_| is(2)),
                instance: some("i-1").filter(|_| is(4)),
                handler: some("t/a").filter(|_| is(4)),
                since_wall_ns: Some(5).filter(|_| is(8)),
                pool: if is(16) { pool.clone() } else { Pool::default() },
                ..limited(10)
            };
            archive.events(&filter).expect("asked");
            archive.deliveries(&filter).expect("asked");
            archive.lives(&filter).expect("asked");
            archive.prices(&filter).expect("asked");
        }
        for (sql, plan) in plans.borrow().iter() {
            let walks = |line: &&String| {
                let tables = ["SCAN events", "SCAN deliveries", "SCAN lives", "SCAN prices"];
                tables.iter().any(|table| line.starts_with(table)) && !line.contains("INDEX")
            };
            assert_eq!(plan.iter().find(walks), None, "{sql}: {plan:#?}");
            // Few rows are sorted at no cost: those of one machine.
            if sql.contains("instance_id =") {
                continue;
            }
            // What parts of a union bring is put in order once more: so many rows as are shown, of each.
            let is_union = sql.contains("UNION ALL");
            for (number, _) in plan.iter().enumerate().filter(|(_, line)| line.ends_with("TEMP B-TREE FOR ORDER BY")) {
                let is_of_part = number > 0 && plan[number - 1].starts_with("SCAN part");
                assert!(is_union && (is_of_part || number + 1 == plan.len()), "{sql}: {plan:#?}");
            }
        }
    }
}

#[test]
fn a_place_is_told_without_its_password() {
    let place = Place::parse("postgres://fleet:Zq9@db.example:5433/fleet?sslmode=require");
    assert_eq!(place.to_string(), "postgres://fleet@db.example:5433/fleet");
    assert_eq!(Place::parse("/a/b.sqlite").to_string(), "/a/b.sqlite");
    assert!(serde_json::from_str::<Value>("{}").is_ok());
}

#[test]
fn a_history_s_name_tells_it_from_others_and_holds_no_password() {
    let identity = |address: &str| Place::parse(address).identity();
    let one = identity("postgres://fleet:secret@db.example:5433/fleet?password=secret&host=/run/pg&sslmode=require");
    assert_eq!(one.as_deref(), Some("postgres://fleet@db.example:5433/fleet?host=%2Frun%2Fpg"));
    let socket = |port: u16| identity(&format!("postgres:///postgres?host=/tmp/x&port={port}&user=postgres"));
    assert!(socket(1).is_some() && socket(1) == socket(1) && socket(1) != socket(2));
    assert_eq!(identity("postgres://fleet:secret@:x/"), None);
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("h.sqlite");
    assert_eq!(Place::File(path.clone()).identity(), None, "there is none");
    drop(new(directory.path(), "h.sqlite"));
    let link = directory.path().join("link.sqlite");
    std::os::unix::fs::symlink(&path, &link).expect("a link");
    assert!(Place::File(path.clone()).identity().is_some());
    assert_eq!(Place::File(path).identity(), Place::File(link).identity());
}

#[test]
fn amounts_are_those_of_what_has_ended_and_was_no_drill_and_each_event_of_a_type_comes_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut archive = new(directory.path(), "h.sqlite");
    assert_eq!(archive.amounts().expect("asked"), Amounts::default());
    fill(&mut archive, 7_000);
    csv(&mut archive, LIVES_CSV).expect("taken");
    let life = concat!(
        r#"{"kind":"life","id":"a","instance_id":"a","market":"spot","launched_wall_ns":5,"last_seen_wall_ns":9,"#,
        r#""outcome":"running","provider":"","region":"","zone":"","instance_type":""}"#
    );
    lines(&mut archive, life).expect("taken");
    assert_eq!(archive.amounts().expect("asked"), Amounts { ended_lives: 3, notices: 1_750 });
    let mut seen = Vec::new();
    let taken = archive.each_of_type_by(&EventType::SPOT_INTERRUPT, 64, &mut |event| {
        seen.push((event.wall_ns, event.instance.to_owned(), event.state.to_owned()));
    });
    taken.expect("asked");
    assert!(seen.len() == 875 && seen.is_sorted_by(|one, other| one.0 < other.0), "{}", seen.len());
    assert!(seen.iter().any(|one| one.2 == "withdrawn") && seen.iter().all(|one| one.1.starts_with("i-")));
}
