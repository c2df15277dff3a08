//! Looks for secrets where they must not be.
//! Inputs: the secrets, texts and directories. Outputs: what was found where. Must never pass over a file.

use std::path::Path;

/// The texts that must not show.
#[derive(Clone, Debug, Default)]
pub struct Secrets(Vec<String>);

impl Secrets {
    /// These texts.
    pub fn new(secrets: &[&str]) -> Self {
        Self(secrets.iter().map(ToString::to_string).collect())
    }

    /// Fails when one of them is in `text`, with the place and what is around it.
    ///
    /// # Panics
    /// When one is.
    pub fn assert_absent(&self, place: &str, text: &str) {
        for secret in &self.0 {
            if let Some(at) = text.find(secret) {
                let from = text[..at].char_indices().rev().nth(80).map_or(0, |(index, _)| index);
                panic!("{place} shows the secret {secret}: ...{}", &text[from..at + secret.len()]);
            }
        }
    }

    /// The same of all bytes of every file below a directory. Returns how many files there were.
    ///
    /// # Panics
    /// When one of them holds a secret, or cannot be read.
    pub fn assert_absent_below(&self, directory: &Path) -> usize {
        let mut count = 0;
        for entry in directory.read_dir().expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                count += self.assert_absent_below(&path);
                continue;
            }
            let text = std::fs::read(&path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            self.assert_absent(&path.display().to_string(), &text.expect("readable"));
            count += 1;
        }
        count
    }

    /// Fails unless all of them are in `text`: the test would prove nothing otherwise.
    ///
    /// # Panics
    /// When one is not.
    pub fn assert_known(&self, place: &str, text: &str) {
        for secret in &self.0 {
            assert!(text.contains(secret), "{place} does not hold {secret}: {text}");
        }
    }
}
