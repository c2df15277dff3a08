//! How well interruptions are foreseen, on public data that the models were not shown.
//!
//! Responsibilities: split the data as docs/insight.md says, fit every model to the one part, score it on the other,
//! set the scores beside those of an independent implementation, judge. Inputs: a directory of data that does not
//! belong to this repository. Outputs: a report. It must never choose a model by what is held out: choices are made
//! inside of the models, on what they are fitted to.

pub mod lives;
pub mod published;
pub mod reference;
pub mod report;
pub mod ticks;

use anyhow::{Context, Result, bail};
use cloudsnooze_insight::data::{self, ticks::Ticks};
use cloudsnooze_insight::economy::advisor;
use cloudsnooze_insight::scores::{Interval, auc, brier, calibration_error, cluster_bootstrap, log_cost, log_loss};
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};

/// Draws of the cluster bootstrap.
const DRAWS: usize = 2_000;

/// Draws are made with this; any would do.
const SEED: u64 = 1;

/// What one model foresaw of what was held out.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// The model.
    pub model: String,
    /// Mean logarithmic score.
    pub log_loss: f64,
    /// Mean squared distance.
    pub brier: f64,
    /// Area under the ROC curve; None where nothing of one kind was held out.
    pub auc: Option<f64>,
    /// Expected calibration error.
    pub ece: f64,
    /// The log-loss of an independent implementation.
    pub reference: Option<f64>,
    /// Whether it is within 2 % of that.
    pub agrees: Option<bool>,
    /// How much its log-loss is above the constant's (below zero: better), with the 95 % interval of the cluster
    /// bootstrap.
    pub over_constant: Option<Interval>,
}

/// All models on one split.
#[derive(Clone, Debug, Serialize)]
pub struct Split {
    /// What is split how.
    pub about: String,
    /// Rows that models were fitted to, in words.
    pub train: String,
    /// Rows that were held out, in words.
    pub test: String,
    /// A line for each model.
    pub lines: Vec<Line>,
    /// What the shipped model is made of.
    pub shipped: String,
}

/// A figure that has to be at most something.
#[derive(Clone, Debug, Serialize)]
pub struct Bar {
    /// What.
    pub name: String,
    /// The figure.
    pub figure: f64,
    /// Its bar.
    pub at_most: f64,
}

impl Bar {
    /// Whether it is kept.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.figure <= self.at_most
    }
}

/// What one model gave to every held-out row.
pub struct Foreseen {
    /// The model.
    pub model: String,
    /// One for each row.
    pub probabilities: Vec<f64>,
}

/// Scores forecasts; the first is the constant rate that the others are compared with. `outcomes` come with their
/// clusters.
pub fn score(
    foreseen: &[Foreseen],
    outcomes: &[(bool, u64)],
    reference: impl Fn(&str) -> Option<f64>,
) -> Result<Vec<Line>> {
    let constant = &foreseen.first().context("no model")?.probabilities;
    let line = |of: &Foreseen| -> Result<Line> {
        let forecasts: Vec<(f64, bool)> =
            of.probabilities.iter().zip(outcomes).map(|(probability, outcome)| (*probability, outcome.0)).collect();
        let all_there = "nothing was held out";
        let log_loss = log_loss(&forecasts).context(all_there)?;
        let over: Vec<(f64, u64)> = of
            .probabilities
            .iter()
            .zip(constant)
            .zip(outcomes)
            .map(|((ours, plain), (happened, cluster))| {
                (log_cost(*ours, *happened) - log_cost(*plain, *happened), *cluster)
            })
            .collect();
        let reference = reference(&of.model);
        Ok(Line {
            model: of.model.clone(),
            log_loss,
            brier: brier(&forecasts).context(all_there)?,
            auc: auc(&forecasts),
            ece: calibration_error(&forecasts).context(all_there)?,
            reference,
            agrees: reference.map(|reference| (log_loss / reference - 1.0).abs() <= reference::TOLERANCE),
            over_constant: cluster_bootstrap(&over, DRAWS, SEED),
        })
    };
    foreseen.iter().map(line).collect()
}

/// Where the parts of the data are.
pub struct Data {
    directory: PathBuf,
}

impl Data {
    /// Takes a directory that has to be there.
    pub fn open(directory: &Path) -> Result<Self> {
        if !directory.is_dir() {
            bail!(
                "{} is no directory; it should hold the public data sets that docs/insight.md names",
                directory.display()
            );
        }
        Ok(Self { directory: directory.to_owned() })
    }

    /// The lives of Google's preemptible machines.
    pub fn lives(&self) -> Result<data::lives::Lives> {
        read_lives(&self.directory.join("gcp-preemptible-2019/lifetimes.csv"))
    }

    /// The traces of every campaign, with its name; in the order of names.
    pub fn campaigns(&self) -> Result<Vec<(String, Vec<Ticks>)>> {
        let all = self.directory.join("skypilot-spot-traces/availability/1-node");
        let entries = fs::read_dir(&all).with_context(|| all.display().to_string())?;
        let mut paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        paths.retain(|path| path.is_dir());
        paths.sort();
        let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        paths.iter().map(|path| Ok((name(path), read_ticks(path)?))).collect()
    }

    /// The two snapshots of the Spot Instance Advisor, with how many rows each has.
    pub fn advisor(&self) -> Result<Vec<(String, usize)>> {
        let names = ["spot-advisor-2021-02-10.csv", "spot-advisor-2025-06-28.csv"];
        let paths = names.into_iter().map(|name| (name, self.directory.join("aws-spot-advisor").join(name)));
        let read = |(name, path): (&str, PathBuf)| {
            let entries = advisor::read(name, &text(&path)?).with_context(|| path.display().to_string())?;
            Ok((name.to_owned(), entries.len()))
        };
        paths.filter(|(_, path)| path.exists()).map(read).collect()
    }
}

/// Reads lives from a file.
pub fn read_lives(path: &Path) -> Result<data::lives::Lives> {
    data::lives::read(&text(path)?).with_context(|| path.display().to_string())
}

/// Reads all traces of a directory, in the order of their names.
pub fn read_ticks(directory: &Path) -> Result<Vec<Ticks>> {
    let entries = fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    let mut paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
    paths.sort();
    let read = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        data::ticks::read(&name, &text(path)?).with_context(|| path.display().to_string())
    };
    paths.iter().map(read).collect()
}

fn text(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}
