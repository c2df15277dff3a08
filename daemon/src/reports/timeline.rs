//! The geometry of the picture of who ran when.
//!
//! Inputs: a report. Outputs: places in units of the picture (one is a pixel at its natural size), and the words beside
//! them. Pure. Must never draw a handler that ran as nothing, nor place anything outside of the picture.

use super::reading::{at_once, ended, in_order, notice_seconds, shape};
use super::words::{count, cut, exact, human, human_ms, plain};
use crate::dispatch::report::{Ended, EventReport, HandlerReport, Verified};

/// Width of the picture.
pub const WIDTH: f64 = 920.0;
/// Where the lanes begin: to the left are the names.
pub const LANE_X: f64 = 196.0;
/// Width of the lanes: to the right is what became of each.
pub const LANE_WIDTH: f64 = 496.0;
/// Where the words on the right begin; before them is room for the mark at a lane's end.
const WORDS_X: f64 = LANE_X + LANE_WIDTH + 30.0;
/// Height of a row.
const ROW: f64 = 42.0;
/// Height of what stands above the lanes: the deadline's name and the scale.
const HEAD: f64 = 40.0;
/// Height of the line below.
const FOOT: f64 = 26.0;
/// Height of the strip for the whole notice, with the way from it down to the lanes.
const STRIP: f64 = 66.0;
/// Where the strip's bar lies, and how high it is.
const STRIP_Y: f64 = 20.0;
const STRIP_BAR: f64 = 12.0;
/// The lanes show the work alone where the deadline is more than this many times as far away.
const NEAR: f64 = 2.5;
/// Narrowest bar: less than a pixel, so that it ends within one of where it should.
const BAR_MIN: f64 = 0.9;
/// Half the width of a number on the scale.
const LABEL: f64 = 26.0;
/// Most marks on the scale.
const TICKS_MAX: f64 = 7.0;
/// Most characters of a name, and of the reason in a lane.
const NAME_CHARS_MAX: usize = 24;
const NOTE_CHARS_MAX: usize = 70;

/// The picture.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Its height; its width is [`WIDTH`].
    pub height: f64,
    /// Milliseconds after detection that the lanes end at.
    pub span_ms: f64,
    /// Where the lanes begin and end, and where the words on the right begin.
    pub lane_x: f64,
    /// See `lane_x`.
    pub lane_end: f64,
    /// See `lane_x`.
    pub words_x: f64,
    /// Top and bottom of the lanes.
    pub top: f64,
    /// See `top`.
    pub bottom: f64,
    /// The whole notice, where the lanes show only its beginning.
    pub strip: Option<Strip>,
    /// The scale.
    pub ticks: Vec<Mark>,
    /// The deadline, where the lanes reach that far.
    pub deadline: Option<Mark>,
    /// When all was over.
    pub over: Option<Mark>,
    /// The handlers.
    pub rows: Vec<Row>,
}

/// The whole notice in one bar.
#[derive(Clone, Debug)]
pub struct Strip {
    /// Top and height of the bar.
    pub y: f64,
    /// See `y`.
    pub height: f64,
    /// What was used of it.
    pub used: Bar,
    /// Corners of the way from the part that the lanes show down to them.
    pub window: String,
    /// What its end is.
    pub label: String,
    /// What was left.
    pub left: String,
}

/// A place in time with its name.
#[derive(Clone, Debug)]
pub struct Mark {
    /// Where.
    pub x: f64,
    /// Milliseconds after detection.
    pub ms: f64,
    /// Its name.
    pub label: String,
    /// Whether the name belongs to the left of it, because there is no room to the right.
    pub is_left: bool,
}

/// A stretch of time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bar {
    /// Where it begins.
    pub x: f64,
    /// How wide it is.
    pub width: f64,
    /// Whether it goes on beyond the lane's end.
    pub is_cut: bool,
}

/// A handler.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its middle.
    pub y: f64,
    /// Its name, and what it was to be given.
    pub name: String,
    /// See `name`.
    pub about: String,
    /// Name of the shape and the colour for how it ended.
    pub shape: &'static str,
    /// The time it was granted; None when it never began.
    pub granted: Option<Bar>,
    /// The time it took.
    pub ran: Option<Bar>,
    /// Of that, what lies behind the time granted.
    pub overrun: Option<Bar>,
    /// Where the mark of its end is drawn.
    pub mark_x: f64,
    /// How it ended, in words.
    pub words: String,
    /// Name of the shape for whether its effect was seen; empty when nobody asked.
    pub seal: &'static str,
    /// Whether its effect was seen, and how often it was tried.
    pub more: String,
    /// Why it never began.
    pub note: Option<String>,
    /// All of it in one sentence.
    pub title: String,
}

/// The picture of a report; None without handlers, where there is nothing to see.
pub fn picture(report: &EventReport) -> Option<Picture> {
    let handlers = in_order(report);
    let end = |handler: &&HandlerReport| handler.start_ms.map_or(0.0, |start| start + handler.duration_ms.max(0.0));
    let work_ms = handlers.iter().map(end).fold(report.duration_ms, f64::max).max(0.001);
    let due_ms = due_ms(report);
    let is_near = due_ms.is_none_or(|due| due <= work_ms * NEAR);
    let span_ms = if is_near { due_ms.unwrap_or(0.0).max(work_ms) * 1.03 } else { work_ms * 1.15 };
    let scale = Scale { span_ms };
    let strip = due_ms.filter(|_| !is_near).map(|due| strip(report, &scale, work_ms, due));
    let head = if strip.is_some() { STRIP } else { 0.0 } + HEAD;
    #[allow(clippy::cast_precision_loss, reason = "handlers are few")]
    let row = |(index, handler): (usize, &&HandlerReport)| row(handler, head + (index as f64 + 0.5) * ROW, &scale);
    let rows: Vec<Row> = handlers.iter().enumerate().map(row).collect();
    let bottom = rows.last()?.y + ROW / 2.0;
    let deadline = due_ms.filter(|_| is_near).map(|due| scale.mark(due, deadline_label(report)));
    let mut ticks = ticks(&scale);
    // The deadline's line goes through the scale: it would strike the number out.
    let is_hidden = |tick: &Mark| deadline.as_ref().is_some_and(|due| (due.x - tick.x).abs() < LABEL);
    ticks.iter_mut().filter(|tick| is_hidden(tick)).for_each(|tick| tick.label.clear());
    let over = match report.state.as_str() {
        "running" => None,
        _ => Some(scale.mark(report.duration_ms, format!("over after {}", human_ms(report.duration_ms)))),
    };
    Some(Picture {
        height: px(bottom + FOOT),
        span_ms,
        lane_x: LANE_X,
        lane_end: LANE_X + LANE_WIDTH,
        words_x: WORDS_X,
        top: px(head),
        bottom: px(bottom),
        strip,
        ticks,
        deadline,
        over,
        rows,
    })
}

/// When the cloud acts, or is assumed to, milliseconds after detection; None when that is past and was never told.
fn due_ms(report: &EventReport) -> Option<f64> {
    let named = notice_seconds(report).map(|seconds| seconds * 1e3);
    let assumed = || (report.left_seconds > 0.0).then_some(report.duration_ms + report.left_seconds * 1e3);
    named.or_else(assumed).filter(|due| *due > 0.0)
}

fn deadline_label(report: &EventReport) -> String {
    let at = |rfc3339: &String| plain(rfc3339).split_once('T').map(|(_, time)| time.trim_end_matches('Z').to_owned());
    report.deadline.as_ref().and_then(at).map_or_else(|| "assumed deadline".into(), |at| format!("deadline {at} UTC"))
}

/// Milliseconds to places.
struct Scale {
    span_ms: f64,
}

impl Scale {
    fn x(&self, ms: f64) -> f64 {
        let part = (ms / self.span_ms).clamp(0.0, 1.0);
        // Not a number: a broken report.
        LANE_X + if part.is_nan() { 0.0 } else { part } * LANE_WIDTH
    }

    fn bar(&self, from_ms: f64, to_ms: f64) -> Bar {
        // Whatever the report says, a bar lies in its lane and can be seen.
        let x = px(self.x(from_ms).min(LANE_X + LANE_WIDTH - BAR_MIN));
        let width = px((self.x(to_ms) - x).max(BAR_MIN));
        Bar { x, width, is_cut: to_ms > self.span_ms }
    }

    fn mark(&self, ms: f64, label: String) -> Mark {
        let x = px(self.x(ms));
        Mark { x, ms, label, is_left: x > LANE_X + LANE_WIDTH / 2.0 }
    }
}

/// Hundredths are finer than any screen.
fn px(place: f64) -> f64 {
    (place * 100.0).round() / 100.0
}

/// Round places, at most [`TICKS_MAX`] of them.
fn ticks(scale: &Scale) -> Vec<Mark> {
    const ROUND: [f64; 3] = [1.0, 2.0, 5.0];
    /// Beyond a minute, what is round is another thing.
    const LONG_MS: [f64; 9] = [10e3, 15e3, 30e3, 60e3, 120e3, 300e3, 600e3, 1_800e3, 3_600e3];
    let fits = |step: &f64| scale.span_ms / step <= TICKS_MAX;
    let decades = (-3..=12).flat_map(|power| ROUND.map(|round| round * 10_f64.powi(power)));
    let long = LONG_MS.into_iter().filter(|_| scale.span_ms > 60e3);
    let step = long.chain(decades).filter(fits).fold(f64::INFINITY, f64::min);
    let label = |ms: f64| if ms == 0.0 { "0".into() } else { human(ms / 1e3) };
    let places = (0..=8).map(|number| f64::from(number) * step).take_while(|ms| *ms <= scale.span_ms);
    places.map(|ms| scale.mark(ms, label(ms))).collect()
}

fn strip(report: &EventReport, lanes: &Scale, work_ms: f64, due_ms: f64) -> Strip {
    let whole = Scale { span_ms: due_ms };
    let (bottom, lane_end) = (STRIP_Y + STRIP_BAR, LANE_X + LANE_WIDTH);
    let shown = px(whole.x(lanes.span_ms));
    Strip {
        y: STRIP_Y,
        height: STRIP_BAR,
        used: whole.bar(0.0, work_ms),
        window: format!("{LANE_X},{bottom} {shown},{bottom} {lane_end},{STRIP} {LANE_X},{STRIP}"),
        label: deadline_label(report),
        left: format!("{} left", exact(report.left_seconds)),
    }
}

fn row(handler: &HandlerReport, y: f64, scale: &Scale) -> Row {
    let (took_ms, granted_ms) = (handler.duration_ms.max(0.0), handler.budget_ms.max(0.0));
    let granted = handler.start_ms.map(|start| scale.bar(start, start + granted_ms));
    let ran = handler.start_ms.map(|start| scale.bar(start, start + took_ms));
    let is_over = took_ms > granted_ms && (took_ms - granted_ms) / scale.span_ms * LANE_WIDTH > BAR_MIN;
    let overrun = handler.start_ms.filter(|_| is_over).map(|start| scale.bar(start + granted_ms, start + took_ms));
    let word = ended(handler.status);
    let words = match (handler.start_ms, handler.status) {
        (None, _) => word.to_owned(),
        (_, Ended::Handled | Ended::Declined) => format!("{word} in {}", human_ms(took_ms)),
        _ => format!("{word} after {}", human_ms(took_ms)),
    };
    let (seal, seen) = match handler.verified {
        Verified::Yes => ("verified", "verified"),
        Verified::No => ("unverified", "not verified"),
        Verified::Unknown => ("unknown", "cannot be verified"),
        Verified::NotAsked => ("", ""),
    };
    let attempts = (handler.attempts > 1).then(|| count(handler.attempts as usize, "attempt"));
    let late = handler.late_ms.map(|ms| format!("{} late", human_ms(ms)));
    let seen = Some(seen.to_owned()).filter(|text| !text.is_empty());
    let more = [seen, late, attempts].into_iter().flatten().collect::<Vec<_>>().join(" · ");
    let granted_words = match at_once(handler) {
        true => format!("at once · {} granted", human_ms(granted_ms)),
        false => format!("priority {} · {} granted", handler.priority, human_ms(granted_ms)),
    };
    let name = plain(&handler.handler);
    let note = handler.error.as_deref().filter(|_| handler.start_ms.is_none()).map(plain);
    let started = handler.start_ms.map_or_else(String::new, |at| format!(", began {} after detection", human_ms(at)));
    let more_said = if more.is_empty() { String::new() } else { format!(", {more}") };
    Row {
        y: px(y),
        about: if ran.is_some() { granted_words } else { format!("priority {}", handler.priority) },
        shape: shape(handler.status),
        mark_x: ran.map_or(LANE_X + 10.0, |bar| px(bar.x + bar.width + 11.0)),
        granted,
        ran,
        overrun,
        title: format!("{name}: {words}{started}{more_said}"),
        name: cut(&name, NAME_CHARS_MAX),
        words,
        seal,
        more,
        note: note.map(|text| cut(&text, NOTE_CHARS_MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn handler(name: &str, start_ms: Option<f64>, duration_ms: f64, budget_ms: f64) -> HandlerReport {
        serde_json::from_value(json!({
            "handler": name, "instance": format!("t/{name}"), "priority": 50, "tier": 0, "start": "in-order",
            "status": if start_ms.is_some() { "handled" } else { "not-run" }, "attempts": 1, "start_ms": start_ms,
            "duration_ms": duration_ms, "budget_ms": budget_ms, "left_seconds": 1.0, "verified": "yes", "error": null,
            "result": null, "evidence": null,
        }))
        .expect("a handler")
    }

    fn report(handlers: Vec<HandlerReport>, duration_ms: f64, notice_ms: f64) -> EventReport {
        let detected: jiff::Timestamp = "2026-05-01T12:00:00Z".parse().expect("a time");
        let deadline = detected + std::time::Duration::from_secs_f64(notice_ms / 1e3);
        let mut report: EventReport = serde_json::from_value(json!({
            "event_id": "019a1b2c-3d4e-7f60-8182-93a4b5c6d7e8", "type": "cloud.spot.interrupt", "state": "completed",
            "detected": detected.to_string(), "deadline": deadline.to_string(), "first_start_us": 85.0,
            "duration_ms": duration_ms, "left_seconds": ((notice_ms - duration_ms) / 1e3).max(0.0), "handlers": [], "event": {},
        }))
        .expect("a report");
        report.handlers = handlers;
        report
    }

    /// Where a time lies when the lanes end at `span_ms`, worked out apart from the code under test.
    fn place(ms: f64, span_ms: f64) -> f64 {
        196.0 + 496.0 * ms / span_ms
    }

    #[test]
    fn a_far_deadline_is_in_the_strip_and_a_near_one_in_the_lanes() {
        let of = |notice_ms: f64| {
            let report = report(vec![handler("a", Some(1_000.0), 2_000.0, 5_000.0)], 3_000.0, notice_ms);
            picture(&report).expect("a picture")
        };
        let far = of(120_000.0);
        let strip = far.strip.as_ref().expect("a strip");
        assert!(far.deadline.is_none() && (strip.used.width - 496.0 * 3.0 / 120.0).abs() < 1.0, "{strip:?}");
        assert_eq!((strip.label.as_str(), strip.left.as_str()), ("deadline 12:02:00 UTC", "117 s left"));
        let near = of(5_000.0);
        let deadline = near.deadline.as_ref().expect("a line");
        let labels: Vec<&str> = near.ticks.iter().map(|mark| mark.label.as_str()).collect();
        assert_eq!(labels, ["0", "1 s", "2 s", "3 s", "4 s", ""], "the deadline's line strikes no number out");
        assert!(near.strip.is_none() && (deadline.x - place(5_000.0, near.span_ms)).abs() < 1.0, "{deadline:?}");
    }

    #[test]
    fn what_is_granted_beyond_the_lanes_is_cut_and_what_ran_too_long_shows() {
        let cut = handler("cut", Some(0.0), 1_000.0, 30_000.0);
        let late = handler("late", Some(1_000.0), 2_000.0, 500.0);
        let picture = picture(&report(vec![cut, late], 3_000.0, 120_000.0)).expect("a picture");
        let [cut, late] = &picture.rows[..] else { panic!("two rows") };
        let granted = cut.granted.expect("granted");
        assert!(granted.is_cut && granted.x + granted.width <= picture.lane_end && cut.overrun.is_none());
        let overrun = late.overrun.expect("too long");
        assert!((overrun.x - place(1_500.0, picture.span_ms)).abs() < 1.0, "{overrun:?}");
        assert!((overrun.x + overrun.width - place(3_000.0, picture.span_ms)).abs() < 1.0, "{overrun:?}");
    }

    #[test]
    fn who_never_began_has_no_bar_but_a_row_with_the_reason() {
        let mut idle = handler("idle", None, 0.0, 0.0);
        idle.error = Some("no time\nwas left".into());
        let picture = picture(&report(vec![idle, handler("a", Some(0.0), 5.0, 9.0)], 5.0, 10.0)).expect("a picture");
        let last = &picture.rows[1];
        assert_eq!((last.shape, last.note.as_deref()), ("skipped", Some("no time was left")));
        assert!(last.ran.is_none() && last.granted.is_none() && last.words == "not run");
        assert!(super::picture(&report(Vec::new(), 0.0, 1.0)).is_none());
    }

    #[test]
    fn the_scale_has_round_numbers() {
        let labels = |span_ms: f64| ticks(&Scale { span_ms }).into_iter().map(|mark| mark.label).collect::<Vec<_>>();
        assert_eq!(labels(3_450.0), ["0", "500 ms", "1 s", "1.5 s", "2 s", "2.5 s", "3 s"]);
        assert_eq!(labels(0.2), ["0", "50 us", "100 us", "150 us", "200 us"]);
        assert_eq!(labels(123_600.0), ["0", "20 s", "40 s", "1 min", "1 min 20 s", "1 min 40 s", "2 min"]);
        assert_eq!(labels(12.0), ["0", "2 ms", "4 ms", "6 ms", "8 ms", "10 ms", "12 ms"]);
    }

    proptest! {
        #[test]
        fn bars_lie_where_their_times_are_within_a_pixel_and_in_the_order_of_their_starts(
            runs in prop::collection::vec((0.0f64..20_000.0, 0.0f64..20_000.0, 0.0f64..40_000.0), 1..8),
            notice_ms in 1.0f64..200_000.0,
        ) {
            let handlers: Vec<_> = runs.iter().enumerate().map(|(n, (start, took, granted))| {
                handler(&format!("h{n}"), Some(*start), *took, *granted)
            }).collect();
            let end = runs.iter().map(|(start, took, _)| start + took).fold(0.0, f64::max);
            let picture = picture(&report(handlers, end, notice_ms)).expect("a picture");
            let mut in_order = runs.clone();
            in_order.sort_by(|a, b| a.0.total_cmp(&b.0));
            prop_assert_eq!(picture.rows.len(), runs.len());
            prop_assert!(picture.rows.windows(2).all(|pair| pair[0].y + 40.0 < pair[1].y));
            for (row, (start, took, granted)) in picture.rows.iter().zip(in_order) {
                let at = |ms: f64| place(ms.min(picture.span_ms), picture.span_ms);
                for (bar, to) in [(row.ran, start + took), (row.granted, start + granted)] {
                    let bar = bar.expect("it ran");
                    prop_assert!((bar.x - at(start)).abs() <= 1.0, "{:?} of {}", bar, start);
                    prop_assert!((bar.x + bar.width - at(to)).abs() <= 1.0, "{:?} to {}", bar, to);
                    prop_assert!(bar.width >= BAR_MIN && bar.x >= LANE_X && bar.x + bar.width <= 196.0 + 496.0 + 0.01);
                    prop_assert_eq!(bar.is_cut, to > picture.span_ms);
                }
            }
        }

        #[test]
        fn no_report_is_drawn_outside_of_the_picture(
            start in prop::num::f64::ANY, took in prop::num::f64::ANY, granted in prop::num::f64::ANY, duration in -1e9f64..1e12,
        ) {
            let mut report = report(vec![handler("a", Some(0.0), 1.0, 1.0)], 1.0, 120_000.0);
            report.duration_ms = duration;
            let handler = &mut report.handlers[0];
            (handler.start_ms, handler.duration_ms, handler.budget_ms) = (Some(start), took, granted);
            let picture = picture(&report).expect("a picture");
            let row = &picture.rows[0];
            let bars = [row.ran, row.granted, row.overrun, picture.strip.as_ref().map(|strip| strip.used)];
            for bar in bars.into_iter().flatten() {
                prop_assert!(bar.x >= LANE_X && bar.x + bar.width <= picture.lane_end + 0.01, "{:?}", bar);
            }
            prop_assert!(picture.ticks.len() < 10);
        }
    }
}
