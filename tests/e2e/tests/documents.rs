//! Every command of the documents is run, with real programs and a real daemon, or says why it is not. What a page prints as
//! the output of a command is compared with what comes. The paths of the plugin guide are walked by `guide.rs`.

use cloudsnooze::cli;
use e2e::documents::{self, Block};
use e2e::script;
use harness::daemon::{Daemon, DaemonBuilder};
use harness::{paths, program, require, wait};
use serde_json::{Value, json};
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A block; generous, because machines are busy.
const BLOCK_LIMIT: Duration = Duration::from_secs(120);
/// Until a source is seen to be blind.
const STATUS_LIMIT: Duration = Duration::from_secs(90);

/// Paths that are walked by a test: the guide's by `guide.rs`, the others here.
const WALKED_BY_THE_GUIDE: [&str; 3] = ["c", "cpp", "python"];
const WALKED_HERE: [&str; 1] = ["start"];

/// Why a block is not run.
const REASONS: [(&str, &str); 7] = [
    ("minutes", "builds or measures for minutes; the target of the Makefile is run by itself"),
    ("system", "changes the system it runs on: it needs root and a machine of its own (tests/system)"),
    ("cloud", "needs a machine or an account in a cloud"),
    ("server", "needs a server of yours"),
    ("endless", "waits for something that does not come by itself; a test of its own has it"),
    ("program", "needs a program that the test machines do not have"),
    ("yours", "names files or events of yours"),
];

/// Words at the beginning of a script that have it work on the daemon of the test as on an installed one.
const PRELUDE: &str = r#"
snooze() { command snooze ${DOCUMENT_CONFIG:+--config "$DOCUMENT_CONFIG"} "$@"; }
sudo() { "$@"; }
"#;

/// What marks the end of a command's output.
const MARK: &str = "--- the next command ---";

/// What a page says of the machine itself, and what is said for a test: it is told nothing of a machine that others use too.
const QUIET: (&str, &str) = (
    r#""system": { "enabled": false }"#,
    r#""system": { "enabled": false, "disk": {"enabled": false}, "memory": {"enabled": false}, "network": {"enabled": false},
        "clock": {"enabled": false}, "hardware": {"enabled": false} }"#,
);
/// Where pages have a stand-in for a cloud listen; a test takes a port that is free.
const STAND_IN: &str = "127.0.0.1:1338";

fn all_blocks() -> Vec<Block> {
    documents::documents().iter().flat_map(|(page, text)| documents::blocks(page, text)).collect()
}

/// What becomes of a block of commands, or what is wrong with it.
fn fate(block: &Block) -> Result<&'static str, String> {
    let path = block.word("path");
    let known = |path: &str| WALKED_BY_THE_GUIDE.contains(&path) || WALKED_HERE.contains(&path);
    match (block.word("not-run"), path, block.word("run"), block.word("daemon")) {
        (Some(reason), _, None, None) => {
            let found = REASONS.iter().find(|(name, _)| *name == reason);
            found.map(|(_, why)| *why).ok_or_else(|| format!("{}: '{reason}' is no reason", block.place()))
        }
        (None, Some(path), None, None) if known(path) => Ok(""),
        (None, Some(path), None, None) => Err(format!("{}: nobody walks the path {path}", block.place())),
        (None, None, Some(_), None) | (None, None, None, Some(_)) => Ok(""),
        _ => Err(format!("{}: say `run`, `daemon=NAME`, `path=NAME` or `not-run=REASON`", block.place())),
    }
}

#[test]
fn every_command_of_the_documents_is_run_or_says_why_not() {
    let mut wrong = Vec::new();
    let (mut run, mut not_run) = (0, Vec::new());
    for block in all_blocks().iter().filter(|block| block.is_commands()) {
        match fate(block) {
            Ok("") => run += 1,
            Ok(why) => not_run.push(format!("  {}: {why}", block.place())),
            Err(error) => wrong.push(error),
        }
    }
    for (page, text) in documents::documents() {
        let stray = documents::stray_commands(&text).into_iter();
        wrong.extend(stray.map(|(line, command)| format!("{page}:{line}: '{command}' stands in no fence")));
    }
    let list = format!("{run} blocks of commands are run; {} are not:\n{}\n", not_run.len(), not_run.join("\n"));
    // Not through println!: the test runner would keep that to itself when the test passes.
    let _printed = std::io::stderr().lock().write_all(list.as_bytes());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(run >= 20, "{run} blocks are run");
}

#[test]
fn a_block_that_says_nothing_or_something_that_nobody_knows_is_found_out() {
    let of = |info: &str| fate(&documents::blocks("a.md", &format!("```{info}\na\n```\n"))[0]);
    for bad in ["sh", "sh path=gone", "sh not-run=lazy", "console run daemon=a", "sh run not-run=cloud"] {
        assert!(of(bad).is_err(), "{bad}");
    }
    for good in ["sh run", "console daemon=a until=b", "sh path=c", "sh path=rust not-run=minutes"] {
        assert!(of(good).is_ok(), "{good}");
    }
}

/// Where the commands of a page are run.
struct Place {
    directory: PathBuf,
    daemon: Option<Daemon>,
}

impl Place {
    /// The places of an installed daemon and those of this one.
    fn renamed(&self) -> Vec<(&'static str, String)> {
        let Some(daemon) = &self.daemon else { return Vec::new() };
        let root = daemon.root().display();
        vec![
            ("/run/cloudsnooze/control.sock", daemon.socket().display().to_string()),
            ("/run/cloudsnooze/notice.json", format!("{root}/notice.json")),
            ("/run/cloudsnooze/apps.sock", format!("{root}/apps.sock")),
            ("/var/lib/cloudsnooze", format!("{root}/state")),
            ("/etc/cloudsnooze", root.to_string()),
        ]
    }

    /// Runs a script as somebody who reads the page would, and gives what it wrote.
    fn run(&self, script: &str, is_strict: bool) -> Result<String, String> {
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).map_err(|e| e.to_string())?;
        let mut script = format!("{PRELUDE}{script}").replace(QUIET.0, QUIET.1).replace(STAND_IN, &port.to_string());
        for (installed, here) in self.renamed() {
            script = script.replace(installed, &here);
        }
        if !is_strict {
            script = format!("set +e\n{script}exit 0\n");
        }
        let places = self.daemon.as_ref().map(|daemon| [daemon.socket(), daemon.config_file()]);
        let environment: Vec<(&str, &Path)> = ["SNOOZE_SOCKET", "DOCUMENT_CONFIG"]
            .into_iter()
            .zip(places.iter().flatten().map(PathBuf::as_path))
            .collect();
        let mut told = script::run(&script, &self.directory, &environment, BLOCK_LIMIT)?;
        for (installed, here) in self.renamed() {
            told = told.replace(&here, installed);
        }
        Ok(told)
    }
}

/// The configuration that the page gives this name.
fn configuration(page: &[Block], name: &str) -> Result<Value, String> {
    let block = page.iter().find(|block| block.language == "json" && block.word("daemon") == Some(name));
    let block = block.ok_or_else(|| format!("no block `json daemon={name}`"))?;
    serde_json::from_str(&block.text).map_err(|error| format!("{}: {error}", block.place()))
}

/// A running daemon with that configuration.
fn start(config: Value, root: &Path) -> Result<Daemon, String> {
    DaemonBuilder::new(paths::bin_dir()?).config(config).root(root).start()
}

fn wait_for(daemon: &Daemon, word: &str) -> Result<(), String> {
    wait::until(&format!("snooze status to say {word}"), STATUS_LIMIT, || {
        let status = daemon.snooze(&["status"]).ok()?;
        status.stdout.contains(word).then_some(())
    })
}

/// Runs one block. What is wrong with it is an error that names its place.
fn run_block(block: &Block, place: &Place) -> Result<(), String> {
    let failed = |error: String| format!("{}: {error}", block.place());
    let commands = documents::commands(block);
    if commands.iter().all(|(_, printed)| printed.is_none()) {
        return place.run(&block.text, true).map(drop).map_err(failed);
    }
    let script: String =
        commands.iter().map(|(command, _)| format!("{command}code=$?; echo '{MARK}'; (exit $code)\n")).collect();
    let told = place.run(&script, false).map_err(failed)?;
    let outputs: Vec<&str> = told.split(MARK).collect();
    let mut wrong = Vec::new();
    for ((command, printed), output) in commands.iter().zip(outputs) {
        let printed = printed.as_deref().unwrap_or_default();
        if !documents::is_printed(printed, output) {
            wrong.push(failed(format!("{command}prints\n{printed}\nand now says\n{output}")));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// Runs the blocks of a page in their order, each daemon of its own started once.
fn run_page(page: &[Block]) -> Result<usize, String> {
    let parent = tempfile::Builder::new().prefix("snz-doc-").tempdir().map_err(|error| error.to_string())?;
    let directory = parent.path().join("here");
    std::fs::create_dir(&directory).map_err(|error| error.to_string())?;
    let mut place = Place { directory, daemon: None };
    let mut running = String::new();
    let mut run = 0;
    let mut wrong = Vec::new();
    for block in page.iter().filter(|block| block.is_commands()) {
        if let Some(name) = block.word("daemon") {
            if running != name {
                place.daemon = None;
                let config = configuration(page, name).map_err(|error| format!("{}: {error}", block.place()))?;
                place.daemon =
                    Some(start(config, &parent.path().join(name)).map_err(|e| format!("{}: {e}", block.place()))?);
                name.clone_into(&mut running);
            }
            if let (Some(word), Some(daemon)) = (block.word("until"), &place.daemon) {
                wait_for(daemon, word).map_err(|error| format!("{}: {error}", block.place()))?;
            }
        } else if block.word("run").is_some() {
            (place.daemon, running) = (None, String::new());
        } else {
            continue;
        }
        wrong.extend(run_block(block, &place).err());
        run += 1;
    }
    if wrong.is_empty() { Ok(run) } else { Err(wrong.join("\n\n")) }
}

/// None, loudly, on a machine that lacks what it takes.
fn able(what: &str) -> Option<()> {
    let bin = paths::bin_dir().expect("built programs");
    let missing = ["bash", "curl", "date", "grep", "sed"]
        .iter()
        .find(|name| program::find(name).is_none())
        .map(|name| (*name).to_owned());
    let plugins = || ["exec", "verify-state"].iter().find_map(|name| paths::plugin(&bin, name).err());
    match missing.or_else(plugins) {
        Some(missing) => {
            require::missing_means_skip(&format!("{what}: {missing}"));
            None
        }
        None => Some(()),
    }
}

#[test]
fn what_is_to_be_run_works_as_pasted_and_prints_what_the_page_says() {
    if able("the commands of the documents").is_none() {
        return;
    }
    let pages: Vec<Vec<Block>> =
        documents::documents().iter().map(|(page, text)| documents::blocks(page, text)).collect();
    let outcomes: Vec<Result<usize, String>> = std::thread::scope(|scope| {
        let started: Vec<_> = pages.iter().map(|page| scope.spawn(|| run_page(page))).collect();
        started.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("it panicked".into()))).collect()
    });
    let wrong: Vec<&String> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.into_iter().cloned().collect::<Vec<_>>().join("\n\n"));
    let run: usize = outcomes.iter().flatten().sum();
    assert!(run >= 10, "{run} blocks were run");
}

#[test]
fn the_first_ten_minutes_work_as_pasted() {
    if able("the page start.md").is_none() {
        return;
    }
    let steps: String =
        all_blocks().iter().filter(|block| block.word("path") == Some("start")).map(|b| &*b.text).collect();
    assert!(!steps.is_empty(), "start.md has no path");
    let parent = tempfile::Builder::new().prefix("snz-doc-").tempdir().expect("a directory");
    let directory = parent.path().join("first");
    std::fs::create_dir(&directory).expect("a directory");
    let place = Place { directory, daemon: None };
    let told = place.run(&steps, true).unwrap_or_else(|error| panic!("{error}"));
    for expected in ["AT 30 S", "1 of 1 handled and verified", "cloud.spot.interrupt on i-"] {
        assert!(told.contains(expected), "{expected} is not in {told}");
    }
}

#[test]
fn a_page_that_prints_something_else_than_comes_is_found_out() {
    if able("a page with a mistake").is_none() {
        return;
    }
    let config = json!({"event_handlers": {"custom.a": {"plugins": [{"name": "exec", "config": {"argv": ["true"]}}]}}});
    let with = |commands: &str| {
        let text = format!("```json daemon=a\n{config}\n```\n\n{commands}\n");
        run_page(&documents::blocks("a.md", &text))
    };
    let printed = "```console daemon=a\n$ snooze config check /etc/cloudsnooze/cloudsnooze.json\n";
    let good = format!("{printed}/etc/cloudsnooze/cloudsnooze.json: 1 handler in 1 event type; OK\n```");
    assert_eq!(with(&good), Ok(1));
    let other = with(&good.replace("; OK", "; bad")).expect_err("it prints something else");
    assert!(other.starts_with("a.md:5: ") && other.contains("; OK"), "{other}");
    let failed = with("```sh daemon=a\nsnooze plan\n```").expect_err("a command that fails");
    assert!(failed.contains("EVENT_TYPE"), "{failed}");
    assert!(with("```sh daemon=b\nsnooze status\n```").is_err(), "no such configuration");
}

/// The arguments of every `snooze` in these lines, as a shell reads them. Nothing is run.
fn arguments(lines: &str) -> Vec<Vec<String>> {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("arguments");
    let stub = "snooze() { for one in snooze \"$@\"; do printf '%s\\0' \"$one\"; done >> \"$FILE\"; printf '\\n\\0' >> \"$FILE\"; }\n\
                sudo() { \"$@\"; }\n";
    let mut command = Command::new(program::find("bash").expect("bash"));
    // Nothing else is found, so nothing else runs.
    command
        .args(["-c", &format!("{stub}{lines}")])
        .env("FILE", &file)
        .env("PATH", directory.path())
        .env("HOME", directory.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir(directory.path());
    program::run(&mut command, BLOCK_LIMIT).expect("it ends");
    let told = std::fs::read_to_string(&file).unwrap_or_default();
    let calls = told.split("\n\0").filter(|call| !call.is_empty());
    calls.map(|call| call.split_terminator('\0').map(str::to_owned).collect()).collect()
}

/// Those of a text's lines that call `snooze`, without what is said of them and without where their output goes. One that
/// goes on in the next line is left out.
fn calls(text: &str) -> String {
    let lines = text.lines().map(str::trim);
    let lines = lines.filter_map(|line| line.split("   ").next()).filter(|line| {
        let words = line.trim_start_matches("sudo ");
        words.starts_with("snooze ") || line.contains("| snooze ") || line.contains("&& snooze ")
    });
    let whole = lines.filter(|line| line.matches('\'').count() % 2 == 0);
    let plain = whole.filter_map(|line| line.split(" >").next());
    plain.map(|line| format!("{}\n", line.trim_end_matches('&'))).collect()
}

#[test]
fn every_example_of_the_help_and_every_command_that_is_not_run_is_understood() {
    if program::find("bash").is_none() {
        require::missing_means_skip("the examples of the help: there is no bash");
        return;
    }
    let blocks = all_blocks();
    let help = blocks.iter().filter(|block| block.page == "docs/reference/cli.md");
    // Examples are indented by two; the lines of the usage are not examples.
    let help: String = help
        .flat_map(|block| block.text.lines())
        .filter(|l| l.starts_with("  "))
        .fold(String::new(), |a, l| a + l + "\n");
    let not_run: String = blocks.iter().filter(|b| b.word("not-run").is_some()).map(|b| &*b.text).collect();
    for (lines, least) in [(calls(&help), 40), (calls(&not_run), 5)] {
        let found = arguments(&lines);
        assert!(found.len() >= least, "{} calls in {lines}", found.len());
        for call in found {
            let parsed = cli::command().try_get_matches_from(&call);
            let is_help = parsed.as_ref().err().is_some_and(|error| !error.use_stderr());
            assert!(parsed.is_ok() || is_help, "{call:?}: {}", parsed.expect_err("an error"));
        }
    }
}

/// Everything that the sources of the daemon and its core say, in one text, with broken strings made whole.
fn sources() -> String {
    let mut folders = vec![documents::repository().join("daemon/src"), documents::repository().join("core/src")];
    let mut text = String::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => text += &std::fs::read_to_string(&path).unwrap_or_default(),
            }
        }
    }
    let mut whole = String::new();
    for line in text.lines() {
        match line.strip_suffix('\\') {
            Some(begun) => whole += begun.trim_start(),
            None => whole += &format!("{}\n", line.trim_start()),
        }
    }
    whole
}

/// What a page quotes in the first column of its tables: the pieces between placeholders of each span that is a sentence.
fn quoted(text: &str) -> Vec<&str> {
    let rows = text.lines().filter(|line| line.starts_with("| "));
    let cells = rows.filter_map(|row| row.split(" | ").next());
    let spans = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).filter(|span| !span.starts_with("snooze"));
    let pieces = spans.flat_map(|span| span.split('…')).map(|piece| piece.trim_matches([' ', ':', ';', ',']));
    pieces.filter(|piece| piece.contains(' ')).collect()
}

#[test]
fn what_the_incident_guide_explains_is_what_the_daemon_says() {
    let page = std::fs::read_to_string(documents::repository().join("docs/operations/incident.md")).expect("the page");
    let (quotes, sources) = (quoted(&page), sources());
    assert!(quotes.len() >= 15, "{quotes:?}");
    // The guide's own machine calls its plugins and handlers by other names than the sources' placeholders.
    let lost: Vec<_> = quotes.into_iter().filter(|quote| !sources.contains(*quote)).collect();
    assert!(lost.is_empty(), "no source says: {lost:#?}");
    assert!(!sources.contains("the daemon is very tired"), "and not everything is said");
}
