//! How long it takes.
//!
//! Inputs: an open history. Outputs: rates, times and sizes. Must never count the drawing of rows as the history's time.

use crate::data::{self, Draw};
use crate::insight::Answers;
use crate::questions::{Question, questions};
use anyhow::{Result, ensure};
use cloudsnooze::cli::history::exposure;
use cloudsnooze::history::archive::import::Importer;
use cloudsnooze::history::archive::tables::{ALL, DELIVERIES, EVENTS, Exchanged, LIVES, PRICES};
use cloudsnooze::history::archive::views::Filter;
use cloudsnooze::history::archive::{Archive, Row};
use serde::Serialize;
use std::time::{Duration, Instant};

/// Rows of one transaction: as many as one history of a daemon may hold.
const TOGETHER: u64 = 200_000;
/// Rows that are drawn before they are given.
const DRAWN: u64 = 10_000;

/// What came of one database.
#[derive(Debug, Serialize)]
pub struct Measured {
    /// Rows taken in a second, of all tables.
    pub rows_per_second: f64,
    /// Events taken in a second.
    pub events_per_second: f64,
    /// Bytes on the disk.
    pub bytes: u64,
    /// The same for each event, with what belongs to it.
    pub bytes_per_event: f64,
    /// Of the slowest view, 95 of 100 are not slower.
    pub worst_p95_ms: f64,
    /// Lives there are.
    pub lives: usize,
    /// Reading all of them for a model, seconds.
    pub all_lives_seconds: f64,
    /// Each view.
    pub views: Vec<View>,
    /// What `snooze insight` makes of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub insight: Option<Answers>,
}

/// What came of one view.
#[derive(Debug, Serialize)]
pub struct View {
    /// In words.
    pub name: String,
    /// Half took no longer.
    pub p50_ms: f64,
    /// 95 of 100 took no longer.
    pub p95_ms: f64,
    /// The longest.
    pub max_ms: f64,
    /// Rows of an answer, on average.
    pub rows: f64,
}

/// Rows and events in a second.
pub struct Inserted {
    rows_per_second: f64,
    events_per_second: f64,
}

/// Fills a history.
pub fn insert(archive: &mut Archive, events: u64, say: &mut dyn FnMut(&str)) -> Result<Inserted> {
    let (deliveries, lives, prices) = data::sizes(events);
    let own = fill(archive, &EVENTS, events, events, data::event, say)?;
    let mut all = own;
    all += fill(archive, &DELIVERIES, deliveries, events, data::delivery, say)?;
    all += fill(archive, &LIVES, lives, events, data::life, say)?;
    all += fill(archive, &PRICES, prices, events, data::price, say)?;
    let rate = |rows: u64, took: Duration| rows as f64 / took.as_secs_f64().max(1e-9);
    let rows_per_second = rate(events + deliveries + lives + prices, all);
    Ok(Inserted { rows_per_second, events_per_second: rate(events, own) })
}

fn fill(
    archive: &mut Archive,
    table: &'static Exchanged,
    rows: u64,
    events: u64,
    draw: fn(u64, u64) -> Row,
    say: &mut dyn FnMut(&str),
) -> Result<Duration> {
    let mut took = Duration::ZERO;
    let mut from = 0;
    while from < rows {
        let until = (from + TOGETHER).min(rows);
        took += archive.transact(|archive| {
            let mut silent = |_| {};
            let mut importer = Importer::new(archive, &mut silent);
            let mut took = Duration::ZERO;
            let mut begin = from;
            while begin < until {
                let end = (begin + DRAWN).min(until);
                let drawn: Vec<Row> = (begin..end).map(|number| draw(number, events)).collect();
                let started = Instant::now();
                drawn.into_iter().try_for_each(|row| importer.take(table, row))?;
                took += started.elapsed();
                begin = end;
            }
            let started = Instant::now();
            importer.finish()?;
            Ok(took + started.elapsed())
        })?;
        from = until;
        say(&format!("{}: {from} of {rows} rows, {:.0} s", table.name, took.as_secs_f64()));
    }
    let there = archive.count(table)?;
    // Two drawn prices may be of the same pool and moment.
    ensure!(there * 100 >= rows * 99, "{}: {there} rows are there of {rows}", table.name);
    Ok(took)
}

/// Asks everything, so many times.
pub fn ask(archive: &mut Archive, events: u64, times: usize, inserted: Inserted) -> Result<Measured> {
    let views: Vec<View> = questions().iter().map(|one| view(archive, one, events, times)).collect::<Result<_>>()?;
    let started = Instant::now();
    let lives = exposure::lives(archive, &Filter::default())?.len();
    let all_lives_seconds = started.elapsed().as_secs_f64();
    let bytes = archive.bytes()?;
    ensure!(ALL.len() == 4, "every table is filled");
    Ok(Measured {
        rows_per_second: inserted.rows_per_second,
        events_per_second: inserted.events_per_second,
        bytes,
        bytes_per_event: bytes as f64 / events.max(1) as f64,
        worst_p95_ms: views.iter().map(|view| view.p95_ms).fold(0.0, f64::max),
        lives,
        all_lives_seconds,
        views,
        insight: None,
    })
}

fn view(archive: &mut Archive, question: &Question, events: u64, times: usize) -> Result<View> {
    let mut draw = Draw::new(7);
    let (mut took, mut rows) = (Vec::with_capacity(times), 0);
    for _ in 0..times {
        let filter = (question.filter)(&mut draw, events);
        let started = Instant::now();
        let answer = (question.ask)(archive, &filter)?;
        took.push(started.elapsed().as_secs_f64() * 1e3);
        rows += answer.rows.len();
    }
    ensure!(rows > 0 || events < 1_000_000, "{}: no answer had a row", question.name);
    took.sort_by(f64::total_cmp);
    let at = |percent: usize| took[(took.len() * percent).div_ceil(100).clamp(1, took.len()) - 1];
    let rows = rows as f64 / times as f64;
    Ok(View { name: question.name.to_owned(), p50_ms: at(50), p95_ms: at(95), max_ms: at(100), rows })
}
