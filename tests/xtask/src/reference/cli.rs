//! The page of the command line: what `--help` says, of every command.
//! Inputs: clap's descriptions, those of the manual pages. Outputs: a page. Must never depend on the terminal it is made in.

use super::{NOTE, paragraph};
use clap::{Command, CommandFactory};
use cloudsnooze::{cli, supervise};

/// Columns of the help.
const HELP_COLUMNS: usize = 100;

/// The page.
pub fn page() -> String {
    let mut text = format!("# Command line\n\n{NOTE}\n\n");
    text += &paragraph(
        "What `--help` says, of every command; the manual pages are made from the same source. `snooze` asks the daemon or works \
         without it, `snoozed` is the daemon.",
    );
    let mut snooze = cli::command();
    snooze.build();
    let mut commands = vec![(snooze, "snooze".to_owned())];
    let mut daemon = supervise::Args::command();
    daemon.build();
    commands.push((daemon, "snoozed".to_owned()));
    for (command, name) in commands {
        add(&command, &name, &mut text);
    }
    text
}

fn add(command: &Command, name: &str, text: &mut String) {
    let mut shown = command.clone().term_width(HELP_COLUMNS).color(clap::ColorChoice::Never);
    // The built command says "snooze-status" where people write "snooze status".
    shown = shown.bin_name(name);
    let help = shown.render_long_help().to_string();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    *text += &format!("## {name}\n\n```text\n{}\n```\n\n", help.join("\n").trim_end());
    for below in command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help") {
        add(below, &format!("{name} {}", below.get_name()), text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_option_that_a_manual_page_has_is_on_the_page() {
        let page = page();
        for (file, _) in cli::man_pages() {
            let command = [
                "fetch-prices",
                "lead-time",
                "load-test",
                "mock-metadata",
                "server-config",
                "simulate-policy",
                "upgrade-ready",
            ]
            .iter()
            .fold(file.trim_end_matches(".1").to_owned(), |name, word| name.replace(word, &word.replace('-', "_")));
            let heading = format!("\n## {}\n", command.replace('-', " ").replace('_', "-"));
            assert!(page.contains(&heading), "{heading}");
        }
        for words in ["--left <", "--in <DURATION>", "Exit codes:", "## snoozed", "SIGNALS"] {
            assert!(page.contains(words), "{words}");
        }
        assert!(!page.contains('\u{1b}') && page.ends_with("```\n\n"));
    }
}
