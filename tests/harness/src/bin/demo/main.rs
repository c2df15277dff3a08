//! `snooze-demo`: a spot interruption from the cloud's notice to a saved machine, on this machine, in under a minute.
//!
//! Responsibilities: start a real database with a client that writes to it, a real application, a webhook receiver and a
//! stand-in for the metadata service; run the built `snoozed` on the example configuration; tell what happens while it
//! happens; check the effects without asking the product. Inputs: the built programs. Outputs: lines for people, an exit
//! code: 0 only when everything holds. It must never touch anything that it has not started itself.

mod checks;
mod cloud;
mod narrate;
mod scene;

use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use clap::Parser;
use fake_metadata::{Action, Activity, Provider, When};
use serde_json::Value;

use checks::{Finding, Observed};
use cloud::{Cloud, Looks};
use narrate::Console;
use scene::{Place, Scene};

/// From the start of the daemon to the notice.
const NOTICE_AFTER: Duration = Duration::from_secs(2);

/// From the notice to the completed event. One polling interval (at most 5 s) and the three handlers fit in easily.
const FOLLOW_LIMIT: Duration = Duration::from_secs(40);

/// Play a spot interruption on this machine: a real database, a real application, the real daemon; only the cloud is played.
///
/// Needs MariaDB (Debian package mariadb-server) and the built programs. Takes about 20 seconds, changes nothing outside a
/// temporary directory, and exits 0 only when everything was saved, in order, and checked. Every cloud's notice is read over
/// that cloud's own protocol, from a stand-in for its metadata service; how long the machine is left differs: AWS 120 s, Azure
/// 30 s, GCP 30 s, Alibaba 300 s, Tencent 120 s.
#[derive(Debug, Parser)]
#[command(name = "snooze-demo", version)]
struct Args {
    /// The cloud to play.
    #[arg(long, value_enum, default_value_t = Provider::Aws)]
    provider: Provider,

    /// Leave the temporary directory with all files and logs.
    #[arg(long)]
    keep: bool,
}

/// What the demo is told by the things it started.
pub enum Happening {
    /// A line of `snooze watch --json`.
    Line(Value),
    /// The played metadata service was asked something, or changed.
    Metadata(Activity),
    /// The client that writes to the database was refused.
    WriterEnded(String, Instant),
    /// The user wants to stop.
    Interrupted,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let console = Console::start();
    match play(&args, &console) {
        Ok(findings) => {
            let failed: Vec<&Finding> = findings.iter().filter(|finding| !finding.is_good).collect();
            if failed.is_empty() {
                console.verdict(true, "Everything was saved, in order, in time, and checked.");
                return ExitCode::SUCCESS;
            }
            console.verdict(false, &format!("{} of {} checks failed:", failed.len(), findings.len()));
            for finding in failed {
                console.plain(&format!("  - {}", finding.text));
            }
        }
        Err(error) => console.verdict(false, &format!("The demo failed: {error}")),
    }
    ExitCode::FAILURE
}

fn play(args: &Args, console: &Console) -> Result<Vec<Finding>, String> {
    let (sender, happenings) = mpsc::channel();
    watch_signals(sender.clone())?;
    let place = Place::new(args.keep)?;
    let cloud = Cloud(args.provider);
    let mut scene = Scene::set(cloud, &place, console, &sender)?;
    let played = perform(cloud, &mut scene, console, &happenings);
    if !played.as_ref().is_ok_and(|findings| findings.iter().all(|finding| finding.is_good)) {
        console.heading("the end of the daemon's log");
        console.plain(&scene.daemon.log_tail());
    }
    if args.keep {
        console.plain(&format!("\nAll files and logs are in {}", place.path().display()));
    }
    played
}

fn perform(
    cloud: Cloud,
    scene: &mut Scene,
    console: &Console,
    happenings: &Receiver<Happening>,
) -> Result<Vec<Finding>, String> {
    let before = scene.database.lsn()?;
    let mut observed = Observed::default();
    let event_id = follow(cloud, scene, console, happenings, &mut observed)?;
    let report = scene.daemon.snooze_json(&["report", &event_id, "--json"])?;
    let text = scene.daemon.snooze(&["report", &event_id])?.told("snooze report")?;
    console.heading(&format!("snooze report {event_id}"));
    console.plain(text.trim_end());

    console.heading("what the report must say");
    let mut findings = checks::of_report(&report);
    let notice = scene.fake.changes().last().map(|changed| changed.time).ok_or("the cloud never changed")?;
    findings.push(checks::deadline(&report, notice, cloud.warning()));
    findings.iter().for_each(|finding| console.finding(finding));
    console.heading("what the demo sees by itself");
    let mut check = |finding: Finding| {
        console.finding(&finding);
        findings.push(finding);
    };
    check(checks::pages(&scene.database));
    check(checks::log(&scene.database, before));
    check(checks::writer(&observed));
    check(checks::checkpoint(&scene.app, &report));
    check(checks::message(&scene.webhook, &scene.machine));
    check(checks::order(&observed, &scene.app, &scene.webhook));
    let rows = scene.rows();
    console.say(&format!("kill -9 of the database, which acknowledged {rows} rows: the cloud takes the machine"));
    check(checks::rows_after_kill(&mut scene.database, rows));
    Ok(findings)
}

/// Puts the notice up when it is time, and tells what happens until the event is completed. Gives the event's id.
fn follow(
    cloud: Cloud,
    scene: &Scene,
    console: &Console,
    happenings: &Receiver<Happening>,
    observed: &mut Observed,
) -> Result<String, String> {
    let mut looks = Looks::at(cloud);
    let mut notice_due = Some(Instant::now() + NOTICE_AFTER);
    let limit = Instant::now() + NOTICE_AFTER + FOLLOW_LIMIT;
    loop {
        let now = Instant::now();
        if notice_due.is_some_and(|due| due <= now) {
            notice_due = None;
            let (dirty, rows) = (scene.database.dirty_pages()?, scene.rows());
            console
                .say(&format!("the database holds {rows} rows; {dirty} of its pages are newer in memory than on disk"));
            console.say(&format!("the cloud (played) will terminate the machine in {} s", cloud.warning().as_secs()));
            scene.fake.notice(Action::Terminate, When::Usual);
        }
        let next = notice_due.unwrap_or(limit).min(limit);
        match happenings.recv_timeout(next.saturating_duration_since(now)) {
            Ok(Happening::Line(line)) => {
                if let Some(text) = narrate::line(&line) {
                    console.event(&line, &text);
                }
                if line["kind"] == "completed" {
                    let id = line["event_id"].as_str().ok_or_else(|| format!("no event_id in {line}"))?;
                    return Ok(id.to_owned());
                }
            }
            Ok(Happening::Metadata(activity)) => {
                if let Some(text) = looks.told(&activity) {
                    console.say(&text);
                }
            }
            Ok(Happening::WriterEnded(reason, at)) => {
                console.say(&format!(
                    "the database refuses the writing client: {}",
                    reason.lines().last().unwrap_or_default()
                ));
                observed.writer_end = Some((reason, at));
            }
            Ok(Happening::Interrupted) => return Err("stopped by the user".to_owned()),
            Err(RecvTimeoutError::Timeout) if now < limit => {}
            Err(_) => return Err(format!("no completed event within {} s of the notice", FOLLOW_LIMIT.as_secs())),
        }
    }
}

/// Turns Ctrl-C and SIGTERM into a happening, so that everything that was started is also stopped.
fn watch_signals(sender: Sender<Happening>) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot watch for signals: {error}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let wait = move || {
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            tokio::select! {
                _came = interrupt.recv() => {}
                _came = terminate.recv() => {}
            }
            // Nobody listens any more when the demo is about to end anyway.
            let _told = sender.send(Happening::Interrupted);
        });
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(wait).map(drop).map_err(failed)
}
