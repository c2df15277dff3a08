//! `snooze plugin verify`: is a plugin fit for the daemon?
//!
//! Inputs: a plugin's file, settings for it. Outputs: one line a test, what to do about each that is not well, a
//! verdict and the line that pins the file. Must never show a secret, nor run the plugin in its own process unless
//! asked to.

use super::super::fault::{Exit, Fault, Outcome};
use super::super::paint::{Paint, Tone};
use super::super::render::{count, plain};
use super::super::session::Session;
use super::load_test::{StateDirectory, settings};
use crate::config::{Scrubber, SecretSources, resolve};
use crate::host::discover::Kind;
use crate::verify::report::{Outcome as Ended, Record, Report};
use crate::verify::{Group, Test, all, case::Case, child, run};
use serde_json::json;
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Every test runs in a process of its own, with a time limit: a plugin that crashes or hangs is a result, not an accident. \
The plugin's code runs with your rights and with the settings given, so give settings of a test system. \
docs/plugins/verify.md says what each test means.

Exit codes: 0 fit (warnings allowed), 1 not fit, 2 the command line is wrong; others as for every command.

Examples:
  snooze plugin verify ./my-plugin.so
  snooze plugin verify ./my-plugin.so --config-file settings.json --junit verify.xml
  snooze plugin verify ./my-plugin.so --only delivery-kinds,cancel
  gdb --args snooze plugin verify ./my-plugin.so --only delivery-kinds --in-process
  snooze plugin verify --list";

/// Find out what a plugin does to its host, before it runs in the daemon.
///
/// Reads the file first, then loads it, makes instances, sends events of every kind and size, cancels them, and looks
/// for what is left behind. Nothing that the plugin does reaches the daemon.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// File of the plugin, or its name.
    #[arg(value_name = "FILE|NAME", required_unless_present = "list")]
    plugin: Option<String>,

    /// Its settings: a JSON file with what would stand under "config"; left out: {}.
    #[arg(long, value_name = "FILE")]
    config_file: Option<PathBuf>,

    /// Write the result as JUnit XML too, for a build server.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,

    /// Run every test in this process: for a debugger. A crash ends everything.
    #[arg(long)]
    in_process: bool,

    /// What chance begins with; the same seed makes the same calls.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Only these tests, or all of a group (static, load, life, delivery, cancel, realtime, robust).
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,

    /// List the tests and what each expects.
    #[arg(long)]
    list: bool,
}

/// The process of one test. Started by `verify`.
#[derive(Debug, clap::Args)]
#[command(hide = true)]
pub struct ChildArgs {
    /// The test.
    name: String,
}

/// Runs one test, and ends the process without the plugin's static destructors.
pub fn run_child(args: &ChildArgs) -> Outcome {
    crate::sys::leave(child::run(&args.name))
}

/// Runs the command.
///
/// # Errors
/// Plugin or settings cannot be found or read, or a name of a test is wrong.
pub fn run(args: &Args, session: &mut Session<'_>) -> Outcome {
    let unknown =
        |word: String| Fault::Usage(format!("there is no test or group '{word}'; see snooze plugin verify --list"));
    let tests = run::chosen(&args.only).map_err(unknown)?;
    if args.list {
        return list(&tests, session);
    }
    let found = super::find(args.plugin.as_deref().unwrap_or_default(), session)?;
    if found.kind == Kind::External {
        let message =
            format!("{} is an external plugin: it runs in a process of its own already", found.path.display());
        return Err(Fault::Usage(message));
    }
    let written = args.config_file.as_deref().map_or_else(|| Ok(json!({})), settings)?;
    let resolved = resolve(&written, &SecretSources::system()).map_err(|errors| Fault::Configuration {
        message: "a secret cannot be read".into(),
        details: errors.iter().map(ToString::to_string).collect(),
    });
    let (config, secrets) = resolved?;
    let scrubber = Scrubber::new(&secrets, [&config]);
    let state = StateDirectory::make()?;
    let cannot = |what: &str, error: &std::io::Error| Fault::InputOutput(format!("cannot {what}: {error}"));
    let program = std::env::current_exe().map_err(|error| cannot("find this program", &error))?;
    let (plugin, path, state_dir) = (found.name, found.path, state.0.clone());
    let case = Case { plugin, path, config, seed: args.seed, state_dir };
    let order = run::Order { case, only: args.only.clone(), is_in_process: args.in_process, program };
    let total = tests.len();
    let mut tell = |number: usize, test: &Test| session.progress(&format!("[{number}/{total}] {}", test.name));
    let ran = run::run(&order, &tests, &mut tell);
    session.progress("");
    let mut report = ran.map_err(|error| cannot("run the tests", &error))?;
    for record in &mut report.tests {
        record.found = plain(&scrubber.scrub(&record.found));
    }
    if let Some(file) = &args.junit {
        std::fs::write(file, report.junit()).map_err(|error| cannot(&format!("write {}", file.display()), &error))?;
    }
    if session.global.json {
        session.print_json(&report)?;
    } else {
        let text = screen(&report, session.paint, session.width);
        session.print(&text)?;
    }
    Ok(Exit::when(report.is_fit))
}

fn list(tests: &[(usize, Test)], session: &mut Session<'_>) -> Outcome {
    if session.global.json {
        let one = |(number, test): &(usize, Test)| {
            json!({ "number": number, "name": test.name, "group": test.group, "expected": test.expected,
                "advice": test.advice, "limit_seconds": test.limit_seconds })
        };
        session.print_json(&tests.iter().map(one).collect::<Vec<_>>())?;
        return Ok(Exit::Ok);
    }
    let (mut text, mut group) = (String::new(), None);
    for (number, test) in tests {
        text += &heading(&mut group, test.group, session.paint);
        text += &wrapped(&format!("  {number:>2} {:<22} ", test.name), 26, test.expected, session.width);
    }
    session.print(&text)?;
    Ok(Exit::Ok)
}

/// The heading of a group, where it begins.
fn heading(last: &mut Option<Group>, group: Group, paint: Paint) -> String {
    if last.replace(group) == Some(group) {
        return String::new();
    }
    format!("{}\n", paint.text(Tone::Strong, group.title()))
}

fn screen(report: &Report, paint: Paint, width: u16) -> String {
    let mut text = format!("{} {}\n", paint.text(Tone::Strong, &plain(&report.plugin)), report.path.display());
    let mut group = None;
    for record in &report.tests {
        text += &heading(&mut group, record.group, paint);
        text += &line(record, paint, width);
    }
    text + &verdict(report, paint)
}

fn line(record: &Record, paint: Paint, width: u16) -> String {
    let (tone, mark) = match record.outcome {
        Ended::Success => (Tone::Good, "✓"),
        Ended::Warning => (Tone::Warn, "!"),
        Ended::Skipped => (Tone::Dim, "-"),
        Ended::Failed | Ended::Crashed | Ended::TimedOut => (Tone::Bad, "✗"),
    };
    let word = if record.outcome == Ended::Success { String::new() } else { format!("{}: ", record.outcome.word()) };
    let start = format!("  {} {:>2} {:<22} ", paint.text(tone, mark), record.number, record.name);
    let mut text = wrapped(&start, 30, &format!("{word}{}", record.found), width);
    if record.outcome == Ended::Warning || record.outcome.is_bad() {
        for (what, sentence) in [("expected:", record.expected), ("do:", record.advice)] {
            let start = format!("{:30}{} ", "", paint.text(Tone::Dim, &format!("{what:<9}")));
            text += &wrapped(&start, 40, sentence, width);
        }
    }
    text
}

/// `start`, which takes `indent` columns, and the words behind it; further lines begin below the first word.
fn wrapped(start: &str, indent: usize, words: &str, width: u16) -> String {
    let room = usize::from(width).saturating_sub(indent).max(20);
    let (mut text, mut column) = (start.to_owned(), 0);
    for word in words.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > room {
            text += &format!("\n{:indent$}", "");
            column = 0;
        }
        if column > 0 {
            text.push(' ');
            column += 1;
        }
        text += word;
        column += length;
    }
    format!("{}\n", text.trim_end())
}

fn verdict(report: &Report, paint: Paint) -> String {
    let bad = [Ended::Failed, Ended::Crashed, Ended::TimedOut].map(|outcome| report.count(outcome));
    let mut parts = vec![count(report.count(Ended::Success), "success").replace("successs", "successes")];
    let counted =
        [(report.count(Ended::Warning), "warning"), (bad[0], "failure"), (bad[1], "crash"), (bad[2], "time-out")];
    parts.extend(counted.iter().filter(|(n, _)| *n > 0).map(|(n, what)| count(*n, what).replace("crashs", "crashes")));
    parts.push(format!("{} skipped", report.count(Ended::Skipped)));
    let all = all().len();
    let is_whole = report.tests.len() == all;
    let (tone, word) = match (report.is_fit, is_whole) {
        (true, true) => (Tone::Good, "Fit".to_owned()),
        (true, false) => (Tone::Good, format!("Fit, as far as {} of {all} tests can tell", report.tests.len())),
        (false, _) => (Tone::Bad, "Not fit".to_owned()),
    };
    let text = format!("\n{}: {} ({:.1} s)\n", paint.text(tone, &word), parts.join(", "), report.seconds);
    // Only what was tested whole is worth pinning.
    if !(report.is_fit && is_whole) {
        return text;
    }
    let (name, sha256) = (plain(&report.plugin), &report.sha256);
    text + &format!("Pin this file in the configuration: \"name\": \"{name}\", \"sha256\": \"{sha256}\"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_sentences_are_broken_between_words_below_their_beginning() {
        let text = wrapped("  1 name ", 9, "one two three four five six seven eight nine ten eleven twelve", 40);
        assert!(text.lines().all(|line| line.chars().count() <= 40), "{text}");
        assert!(
            text.lines().skip(1).all(|line| line.starts_with("         ") && !line[9..].starts_with(' ')),
            "{text}"
        );
        assert_eq!(text.split_whitespace().count(), 14);
    }

    #[test]
    fn a_failure_shows_what_was_found_what_was_expected_and_what_to_do() {
        let record = Record {
            number: 32,
            name: "delivery-late",
            group: Group::Delivery,
            outcome: Ended::Crashed,
            seconds: 0.1,
            found: "the process was ended by SIGFPE in on_event".into(),
            expected: "it comes back",
            advice: "never divide by it",
        };
        let expected = "  ✗ 32 delivery-late          crashed: the process was ended by SIGFPE in on_event\n\
                        \x20                             expected: it comes back\n\
                        \x20                             do:       never divide by it\n";
        assert_eq!(line(&record, Paint(false), 100), expected);
    }
}
