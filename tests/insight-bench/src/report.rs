//! All splits, the bars, and how they are shown.
//!
//! Inputs: data. Outputs: a report as tables or as JSON. It must never show a bar as kept that has no figure.

use crate::published::{self, Published};
use crate::{Bar, Data, Line, Split, lives, ticks};
use anyhow::{Context, Result};
use cloudsnooze_insight::Life;
use cloudsnooze_insight::data::ticks::Ticks;
use comfy_table::{Table, presets};
use serde::Serialize;
use std::fmt::Write;

/// The model that the project uses.
const SHIPPED: &str = "snooze";

/// When the split by time splits: 2019-03-30T00:00:00Z.
const MOMENT_S: f64 = 1_553_904_000.0;

/// Everything that was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The published fit; None for other data.
    pub published: Option<Published>,
    /// The splits of lives.
    pub lives: Vec<Split>,
    /// Those of ticks.
    pub ticks: Vec<Split>,
    /// What has to be at most something.
    pub bars: Vec<Bar>,
    /// Re-implemented models that are not within 2 % of their reference.
    pub disagreements: Vec<String>,
    /// What could not be measured, and why.
    pub skipped: Vec<String>,
    /// Rows of the Spot Instance Advisor that were read.
    pub advisor: Vec<(String, usize)>,
}

/// The campaign that the bars are about.
const CAMPAIGN: &str = "aws-02-15-2023";

/// Measures on the data in a directory. Where the lives are not those of the public set, all of them are taken, and
/// there are no references.
pub fn all(data: &Data) -> Result<Report> {
    let lives = data.lives()?.lives;
    let big = lives::big_pools(lives.clone());
    let parts = lives::by_time(&big, MOMENT_S, "2019-03-30");
    let is_public = lives::is_public(&parts);
    let mut report = if is_public {
        let splits = vec![lives::run(&parts, true)?, lives::run(&lives::by_batch(&big), false)?];
        Report { published: Some(published::run(&lives)?), lives: splits, ..Report::default() }
    } else {
        other(Some(lives), None, 1)?
    };
    for (name, traces) in data.campaigns()? {
        let about = format!("ticks of {name}, {} traces: first 60 %, or rest", traces.len());
        let split = ticks::run(&about, &traces, 1);
        report.take(&about, split, |report| &mut report.ticks);
    }
    report.advisor = data.advisor()?;
    report.bars = relative_bars(&report)?;
    if is_public {
        report.bars.extend(absolute_bars(&report)?);
    }
    report.disagreements = disagreements(&report);
    Ok(report)
}

/// Measures on other lives and ticks of the same formats, without references. Ours has to be better than the constant
/// rate.
pub fn other(all: Option<Vec<Life>>, traces: Option<Vec<Ticks>>, wanted: u32) -> Result<Report> {
    let mut report = Report::default();
    if let Some(all) = all {
        let mut moments: Vec<f64> = all.iter().map(|life| life.launched_s).collect();
        moments.sort_by(f64::total_cmp);
        let middle = *moments.get(moments.len() / 2).context("there is no life in it")?;
        for (parts, is_by_time) in
            [(lives::by_time(&all, middle, "the middle one"), true), (lives::by_batch(&all), false)]
        {
            let split = lives::run(&parts, is_by_time);
            report.take(&parts.about, split, |report| &mut report.lives);
        }
    }
    if let Some(traces) = traces {
        let about = "ticks: first 60 %, or rest";
        let split = ticks::run(about, &traces, wanted);
        report.take(about, split, |report| &mut report.ticks);
    }
    report.bars = relative_bars(&report)?;
    Ok(report)
}

fn relative_bars(report: &Report) -> Result<Vec<Bar>> {
    let lives = report.lives.iter().map(|split| gain(split, SHIPPED));
    let ticks = report.ticks.iter().flat_map(|split| ticks::SHIPPED.map(|name| gain(split, name)));
    lives.chain(ticks).collect()
}

fn line<'s>(split: &'s Split, model: &str) -> Result<&'s Line> {
    split.lines.iter().find(|line| line.model == model).with_context(|| format!("{}: no {model}", split.about))
}

/// The upper end of the interval of what a model's log-loss is above the constant's: at most nought.
fn gain(split: &Split, model: &str) -> Result<Bar> {
    let over = line(split, model)?.over_constant.context("no interval")?;
    let name = format!("{model} over constant, upper 95 %: {}", split.about);
    Ok(Bar { name, figure: over.high, at_most: 0.0 })
}

fn absolute_bars(report: &Report) -> Result<Vec<Bar>> {
    let campaign = report.ticks.iter().find(|split| split.about.contains(CAMPAIGN));
    let campaign = campaign.with_context(|| format!("no traces of {CAMPAIGN}"))?;
    let [by_time, by_batch] = report.lives.as_slice() else { anyhow::bail!("lives are split in two ways") };
    let [alone, together] = ticks::SHIPPED;
    let wanted =
        [(by_time, SHIPPED, 0.133), (by_batch, SHIPPED, 0.132), (campaign, alone, 0.376), (campaign, together, 0.360)];
    let mut bars = Vec::new();
    for (split, model, at_most) in wanted {
        let line = line(split, model)?;
        let bar =
            |what: &str, figure, at_most| Bar { name: format!("{what} of {model}: {}", split.about), figure, at_most };
        bars.push(bar("log-loss", line.log_loss, at_most));
        bars.push(bar("calibration error", line.ece, 0.02));
    }
    for fit in report.published.iter().flat_map(|published| &published.fits) {
        let away = fit.reference.map_or(1.0, |reference| (fit.r_squared - reference).abs());
        let name = format!("published bathtub, R2 away from its reproduction: {}", fit.of);
        bars.push(Bar { name, figure: away, at_most: crate::reference::R_SQUARED_TOLERANCE });
    }
    Ok(bars)
}

fn disagreements(report: &Report) -> Vec<String> {
    let splits = report.lives.iter().chain(&report.ticks);
    let lines = splits.flat_map(|split| split.lines.iter().map(move |line| (split, line)));
    let differs = lines.filter(|(_, line)| line.agrees == Some(false));
    let said = differs.map(|(split, line)| {
        let reference = line.reference.unwrap_or_default();
        format!("{}: {:.4}, its reference {reference:.4} ({})", line.model, line.log_loss, split.about)
    });
    said.collect()
}

impl Report {
    /// Takes a split in, or why there is none.
    fn take(&mut self, about: &str, split: Result<Split>, place: impl FnOnce(&mut Self) -> &mut Vec<Split>) {
        match split {
            Ok(split) => place(self).push(split),
            Err(error) => self.skipped.push(format!("{about}: {error:#}")),
        }
    }

    /// Whether there is a bar, every bar is kept, and every model agrees with its reference.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.disagreements.is_empty() && !self.bars.is_empty() && self.bars.iter().all(Bar::is_kept)
    }

    /// As tables.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        if let Some(published) = &self.published {
            text.push_str(&published_text(published));
        }
        for split in self.lives.iter().chain(&self.ticks) {
            text.push_str(&split_text(split));
        }
        for (name, rows) in &self.advisor {
            let _infallible = writeln!(text, "{name}: {rows} rows read");
        }
        text.push('\n');
        for said in &self.skipped {
            let _infallible = writeln!(text, "not measured: {said}");
        }
        for bar in &self.bars {
            let verdict = if bar.is_kept() { "kept  " } else { "BROKEN" };
            let _infallible = writeln!(text, "{verdict}  {:>8.4} <= {:<6}  {}", bar.figure, bar.at_most, bar.name);
        }
        for said in &self.disagreements {
            let _infallible = writeln!(text, "BROKEN  not within 2 % of its reference: {said}");
        }
        text
    }
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    table
}

fn published_text(published: &Published) -> String {
    let mut fits = table(["bathtub as published", "n", "A", "tau1", "tau2", "b", "R2", "reproduced", "published"]);
    for fit in &published.fits {
        let shape = fit.shape;
        let some = |figure: Option<f64>| figure.map_or_else(String::new, |figure| format!("{figure:.3}"));
        fits.add_row([
            fit.of.clone(),
            fit.events.to_string(),
            format!("{:.3}", shape.share),
            format!("{:.3}", shape.early_h),
            format!("{:.3}", shape.late_h),
            format!("{:.2}", shape.end_h),
            format!("{:.3}", fit.r_squared),
            some(fit.reference),
            some(fit.published),
        ]);
    }
    let mut ages = table(["interrupted by", "stopped: censored", "left out (published)", "taken for interrupted"]);
    for by in &published.censoring {
        let share = |share: f64| format!("{share:.3}");
        ages.add_row([format!("{} h", by.age_h), share(by.censored), share(by.left_out), share(by.taken)]);
    }
    let (exponential, weibull) = published.others;
    format!("{fits}\n  other forms on all: exponential R2 {exponential:.3}, Weibull R2 {weibull:.3}\n\n{ages}\n\n")
}

fn split_text(split: &Split) -> String {
    let mut lines =
        table(["model", "log-loss", "reference", "within 2 %", "Brier", "AUC", "ECE", "over constant, 95 %"]);
    for line in &split.lines {
        let agrees = line.agrees.map_or("", |agrees| if agrees { "yes" } else { "NO" });
        let over = line.over_constant.map_or_else(String::new, |over| format!("[{:+.4}, {:+.4}]", over.low, over.high));
        lines.add_row([
            line.model.clone(),
            format!("{:.4}", line.log_loss),
            line.reference.map_or_else(String::new, |reference| format!("{reference:.4}")),
            agrees.to_owned(),
            format!("{:.4}", line.brier),
            line.auc.map_or_else(String::new, |auc| format!("{auc:.3}")),
            format!("{:.3}", line.ece),
            over,
        ]);
    }
    let Split { about, train, test, shipped, .. } = split;
    format!("{about}\n  learned from {train}; held out {test}\n{lines}\n  shipped: {shipped}\n\n")
}
