//! How long a person waits for what past interruptions say: each view of `snooze insight` as a program of its own.
//!
//! Inputs: the built `snooze`, a filled history. Outputs: the time of the first answer, and those of the answers that were kept. Must
//! never take an answer that was worked out for one that was kept, nor leave out a view without saying why.

use crate::data;
use anyhow::{Context, Result, bail, ensure};
use cloudsnooze::history::archive::Place;
use harness::paths;
use serde::Serialize;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

/// Most questions of each view.
const QUESTIONS_MAX: usize = 40;
/// Views that are not asked, and why.
const NOT_ASKED: [(&str, &str); 2] = [
    ("pools --traces", "it reads traces of availability, which no history holds"),
    ("picture", "it draws a file anew each time"),
];

/// What came of one database.
#[derive(Debug, Serialize)]
pub struct Answers {
    /// Of the slowest view, 95 of 100 kept answers are not slower.
    pub worst_p95_ms: f64,
    /// The slowest first answer, seconds.
    pub worst_first_seconds: f64,
    /// Each view.
    pub views: Vec<View>,
    /// Views without figures.
    pub left_out: Vec<LeftOut>,
}

/// What came of one view.
#[derive(Debug, Serialize)]
pub struct View {
    /// As it is asked for.
    pub name: String,
    /// The first answer, which is worked out, seconds.
    pub first_seconds: f64,
    /// Kept answers: half took no longer.
    pub p50_ms: f64,
    /// 95 of 100 took no longer.
    pub p95_ms: f64,
    /// The longest.
    pub max_ms: f64,
    /// Kept answers that were measured.
    pub questions: usize,
    /// Bytes of JSON.
    pub bytes: usize,
}

/// A view without figures.
#[derive(Debug, Serialize)]
pub struct LeftOut {
    /// As it is asked for.
    pub name: String,
    /// In a sentence.
    pub why: String,
}

/// Asks each view once, and then some dozen times for the answer that was kept.
pub fn ask(place: &Place, directory: &Path, questions: usize, say: &mut dyn FnMut(&str)) -> Result<Answers> {
    let asker = Asker {
        program: paths::bin_dir().and_then(|bin| paths::program(&bin, "snooze")).map_err(anyhow::Error::msg)?,
        store: match place {
            Place::File(path) => path.display().to_string(),
            Place::Server(address) => address.clone(),
        },
        cache: directory.join("cache"),
    };
    let mut left_out: Vec<LeftOut> =
        NOT_ASKED.iter().map(|(name, why)| LeftOut { name: (*name).to_owned(), why: (*why).to_owned() }).collect();
    let mut views = Vec::new();
    for view in views_asked() {
        say(&format!("insight {}", view.join(" ")));
        let name = view.first().cloned().unwrap_or_else(|| "the page".to_owned());
        match asker.view(name.clone(), &view, questions.clamp(1, QUESTIONS_MAX))? {
            Ok(view) => views.push(view),
            Err(why) => left_out.push(LeftOut { name, why }),
        }
    }
    ensure!(!views.is_empty(), "no view of `snooze insight` had an answer: {left_out:?}");
    let worst = |of: fn(&View) -> f64| views.iter().map(of).fold(0.0, f64::max);
    Ok(Answers {
        worst_p95_ms: worst(|view| view.p95_ms),
        worst_first_seconds: worst(|view| view.first_seconds),
        views,
        left_out,
    })
}

/// The arguments of each view.
fn views_asked() -> Vec<Vec<String>> {
    let plain = ["rates", "lifetimes", "seasons", "changes", "pools", "lead-time", "models"];
    let mut all: Vec<Vec<String>> = plain.map(|name| vec![name.to_owned()]).into();
    let (zone, kind) = (data::zone(0), data::kind(0));
    all.push(["risk", "--zone", &zone, "--instance-type", &kind, "--provider", "aws"].map(str::to_owned).into());
    all.push(Vec::new());
    all
}

struct Asker {
    program: PathBuf,
    store: String,
    cache: PathBuf,
}

impl Asker {
    /// The figures of a view, or why it has no answer.
    fn view(&self, name: String, view: &[String], questions: usize) -> Result<std::result::Result<View, String>> {
        let (first_s, first) = self.run(view)?;
        if first.status.code() == Some(1) {
            return Ok(Err(String::from_utf8_lossy(&first.stderr).trim().to_owned()));
        }
        ensure!(!was_kept(view, &first)?, "{name}: the first answer was kept from before");
        let mut took = Vec::with_capacity(questions);
        for _ in 0..questions {
            let (seconds, answer) = self.run(view)?;
            ensure!(was_kept(view, &answer)?, "{name}: the answer was worked out again");
            took.push(seconds * 1e3);
        }
        took.sort_by(f64::total_cmp);
        let at = |percent: usize| took[(took.len() * percent).div_ceil(100).clamp(1, took.len()) - 1];
        let (p50_ms, p95_ms, max_ms) = (at(50), at(95), at(100));
        Ok(Ok(View { name, first_seconds: first_s, p50_ms, p95_ms, max_ms, questions, bytes: first.stdout.len() }))
    }

    /// From the start of the program to its end.
    fn run(&self, view: &[String]) -> Result<(f64, Output)> {
        let mut command = Command::new(&self.program);
        command.arg("insight").args(view).args(["--json", "--store", &self.store]).env("XDG_CACHE_HOME", &self.cache);
        let started = Instant::now();
        let output = command.output().with_context(|| self.program.display().to_string())?;
        let seconds = started.elapsed().as_secs_f64();
        if !matches!(output.status.code(), Some(0 | 1)) {
            bail!("snooze insight {}: {output:?}", view.join(" "));
        }
        Ok((seconds, output))
    }
}

fn was_kept(view: &[String], answer: &Output) -> Result<bool> {
    let value: Value =
        serde_json::from_slice(&answer.stdout).with_context(|| format!("{view:?}: no JSON: {answer:?}"))?;
    // Of the risk the model is kept, not the answer.
    let is_model_kept = value["data"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|line| line.as_str().is_some_and(|line| line.ends_with(", and kept.")));
    Ok(value.get("kept").is_some() || is_model_kept)
}
