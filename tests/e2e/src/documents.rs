//! The documents as a test reads them: their blocks of commands, what each block says of itself, and whether an output is the
//! one that is printed.
//!
//! Responsibilities: find blocks, read the words behind their language, compare outputs. Inputs: the documents. Outputs:
//! blocks, verdicts. Must never run anything.
//!
//! Behind the language of a block of commands (`sh`, `console`) stands what becomes of it: `path=NAME` (run with the others of
//! that name, in order), `run` (in an empty directory), `daemon=NAME` (beside a daemon with the configuration that stands in
//! the page's block `json daemon=NAME`), or `not-run=REASON`. `until=WORD` waits until `snooze status` says the word.

use std::fs;
use std::path::{Path, PathBuf};

/// One fenced block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The document, below the repository.
    pub page: String,
    /// Line of its first fence, from 1.
    pub line: usize,
    /// Its language; empty where none is named.
    pub language: String,
    /// The words behind it: name and value, which is empty where the word stands alone.
    pub words: Vec<(String, String)>,
    /// What stands in it, each line ended.
    pub text: String,
}

impl Block {
    /// The value of a word; None where it is not there.
    pub fn word(&self, name: &str) -> Option<&str> {
        self.words.iter().find(|(word, _)| word == name).map(|(_, value)| value.as_str())
    }

    /// Whether it holds commands.
    pub fn is_commands(&self) -> bool {
        ["sh", "console", "bash"].contains(&self.language.as_str())
    }

    /// Where it is, for people.
    pub fn place(&self) -> String {
        format!("{}:{}", self.page, self.line)
    }
}

/// The top of the repository.
///
/// # Panics
/// Outside of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

/// Every document for readers: path below the repository, and text.
///
/// # Panics
/// When one cannot be read.
pub fn documents() -> Vec<(String, String)> {
    let root = repository();
    let mut found = vec![root.join("README.md")];
    let mut folders = vec![root.join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of documents") {
            let path = entry.expect("an entry").path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("md") => found.push(path),
                _ if path.is_dir() => folders.push(path),
                _ => {}
            }
        }
    }
    found.sort();
    let named = found.into_iter().map(|path| {
        let name = path.strip_prefix(&root).expect("below the repository").display().to_string();
        (name, fs::read_to_string(&path).expect("a document"))
    });
    named.collect()
}

/// The fenced blocks of a document, in order. An indented fence, as in a list, takes its indentation along.
pub fn blocks(page: &str, text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<(usize, Block)> = None;
    for (number, line) in text.lines().enumerate() {
        let bare = line.trim_start();
        let indent = line.len() - bare.len();
        match &mut open {
            None => {
                let Some(info) = bare.strip_prefix("```") else { continue };
                let mut words = info.split_whitespace();
                let language = words.next().unwrap_or_default().to_owned();
                let words = words.map(|word| word.split_once('=').unwrap_or((word, "")));
                let words = words.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
                let block = Block { page: page.to_owned(), line: number + 1, language, words, text: String::new() };
                open = Some((indent, block));
            }
            Some(_) if bare == "```" => found.extend(open.take().map(|(_, block)| block)),
            Some((indent, block)) => {
                block.text.push_str(line.get(*indent..).filter(|_| line.len() >= *indent).unwrap_or(bare));
                block.text.push('\n');
            }
        }
    }
    found
}

/// Lines of a document that look like commands and stand in no fence, where nothing says what becomes of them.
pub fn stray_commands(text: &str) -> Vec<(usize, String)> {
    let programs = ["snooze ", "snoozed ", "sudo ", "make ", "cargo ", "curl ", "$ "];
    let mut is_fenced = false;
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
        }
        let is_code = !is_fenced && line.starts_with("    ");
        if is_code && programs.iter().any(|program| line.trim_start().starts_with(program)) {
            found.push((number + 1, line.trim().to_owned()));
        }
    }
    found
}

/// The commands of a block: one script for `sh`, each one behind a `$` for `console` with the output below it.
pub fn commands(block: &Block) -> Vec<(String, Option<String>)> {
    if block.language != "console" {
        return vec![(block.text.clone(), None)];
    }
    let mut found: Vec<(String, Option<String>)> = Vec::new();
    for line in block.text.lines() {
        match (line.strip_prefix("$ "), found.last_mut()) {
            (Some(command), _) => found.push((format!("{command}\n"), Some(String::new()))),
            (None, Some((_, Some(output)))) => {
                output.push_str(line);
                output.push('\n');
            }
            (None, _) => {}
        }
    }
    found
}

/// Whether an output is the one that is printed: the same words, whatever the numbers, the spaces and the length of bars. A
/// line `...` stands for any number of lines, and one that ends so for a longer one.
pub fn is_printed(printed: &str, output: &str) -> bool {
    let lines = |text: &str| text.lines().map(plain).filter(|line| !line.is_empty()).collect::<Vec<_>>();
    let (printed, output) = (lines(printed), lines(output));
    fits(&printed, &output)
}

fn fits(printed: &[String], output: &[String]) -> bool {
    match printed.split_first() {
        None => output.is_empty(),
        Some((line, rest)) if line == "..." => (0..=output.len()).any(|skipped| fits(rest, &output[skipped..])),
        Some((line, rest)) => {
            output.split_first().is_some_and(|(first, others)| is_line(line, first) && fits(rest, others))
        }
    }
}

/// One that ends in `...` is only the beginning.
fn is_line(printed: &str, told: &str) -> bool {
    printed.strip_suffix("...").map_or(printed == told, |beginning| told.starts_with(beginning.trim_end()))
}

/// A line without what differs from run to run. A number alone is an exit code, which does not.
fn plain(line: &str) -> String {
    if line.trim().bytes().all(|byte| byte.is_ascii_digit()) {
        return line.trim().to_owned();
    }
    const UNITS: [&str; 7] = ["us", "ms", "s", "min", "h", "d", "S"];
    let mut kept: Vec<&str> = Vec::new();
    for word in line.split_whitespace() {
        let bare = word.trim_matches(|c: char| ",;:()".contains(c));
        let is_number = word.contains(|c: char| c.is_ascii_digit());
        let is_unit = kept.last() == Some(&"#") && UNITS.contains(&bare);
        let is_bar = word.chars().all(|c| "█▌▐·░".contains(c));
        match () {
            () if is_bar || is_unit => {}
            () if is_number => {
                if kept.last() != Some(&"#") {
                    kept.push("#");
                }
            }
            () => kept.push(word),
        }
    }
    kept.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_with_their_words_also_in_lists() {
        let text = "# A\n\n```sh path=c\na\n```\n\n- b\n\n  ```console daemon=x until=blind\n  $ c\n    d\n  ```\n\n```\ne\n```\n";
        let found = blocks("a.md", text);
        assert_eq!(found.iter().map(|block| block.line).collect::<Vec<_>>(), [3, 9, 14]);
        assert_eq!((found[0].word("path"), found[0].text.as_str()), (Some("c"), "a\n"));
        assert_eq!((found[1].word("until"), found[1].text.as_str()), (Some("blind"), "$ c\n  d\n"));
        assert!(found[0].is_commands() && found[1].is_commands() && !found[2].is_commands());
        assert_eq!(commands(&found[1]), [("c\n".to_owned(), Some("  d\n".to_owned()))]);
    }

    #[test]
    fn a_command_outside_of_a_fence_is_found_and_other_code_is_not() {
        let text = "a\n\n    snooze status\n    { \"a\": 1 }\n\n```sh run\n    snooze plan\n```\n";
        assert_eq!(stray_commands(text), [(3, "snooze status".to_owned())]);
    }

    #[test]
    fn an_output_may_differ_in_numbers_and_in_nothing_else() {
        let printed = "save-state  80  ██████··  handled  yes  120 s\n...\n1 of 1 handled; finished 120 s before\n";
        let told =
            "save-state     80  ███·  handled   yes  2 min 1 s\nx\ny\n\n1 of 1 handled; finished 99.5 s before\n";
        assert!(is_printed(printed, told));
        assert!(!is_printed(printed, &told.replace("handled  ", "failed  ")));
        assert!(!is_printed(printed, &told.replace("1 of 1", "none")));
        assert!(!is_printed(printed, &format!("{told}more\n")));
        assert!(!is_printed("a\n", "") && is_printed("...\n", ""));
        assert!(is_printed("! blind: ...\n", "! blind: no answer\n") && !is_printed("! blind: ...\n", "! seeing\n"));
        assert!(is_printed("69\n", "69\n") && !is_printed("69\n", "0\n"), "an exit code");
    }
}
