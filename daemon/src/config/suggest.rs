//! "Did you mean ...?" for misspelt words.
//!
//! Responsibilities: which of the words that would be right an operator probably meant. Inputs: a word and the candidates.
//! Outputs: one candidate or none. Must never suggest something far off: a wrong suggestion is worse than none.

/// Similarity from which two words count as the same one misspelt, 0 to 1.
const SIMILAR: f64 = 0.6;

/// Shortest word that counts as part of another one, bytes; shorter ones are parts of too many.
const PART_BYTES_MIN: usize = 4;

/// What beginning alike is worth besides: words go wrong towards their end.
const BEGUN_ALIKE: f64 = 0.1;

/// The candidate most like `word`, if one is like it: a few letters off, or one being a part of the other.
pub fn closest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let word = word.to_lowercase();
    let scored = candidates.into_iter().map(|candidate| (score(&word, candidate), candidate));
    let best = scored.filter(|(score, _)| *score >= SIMILAR).max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.map(|(_, candidate)| candidate)
}

fn score(word: &str, candidate: &str) -> f64 {
    let shared = word.bytes().zip(candidate.bytes()).take_while(|(a, b)| a == b).count();
    let begun_alike = if shared >= PART_BYTES_MIN { BEGUN_ALIKE } else { 0.0 };
    let by_letters = strsim::normalized_damerau_levenshtein(word, candidate) + begun_alike;
    let (short, long) = if word.len() < candidate.len() { (word, candidate) } else { (candidate, word) };
    let is_part = short.len() >= PART_BYTES_MIN && (long.starts_with(short) || long.ends_with(short));
    if is_part { by_letters.max(SIMILAR) } else { by_letters }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_the_word_that_was_meant() {
        let keys = ["name", "priority", "timeout_seconds", "minimum_seconds", "retries", "enabled"];
        for (word, meant) in [
            ("prioritty", "priority"),
            ("timeout", "timeout_seconds"),
            ("Enabled", "enabled"),
            ("timeout_ms", "timeout_seconds"),
            ("naem", "name"),
        ] {
            assert_eq!(closest(word, keys), Some(meant), "{word}");
        }
    }

    #[test]
    fn what_begins_alike_is_meant_rather_than_what_is_as_long() {
        assert_eq!(closest("admin_group", ["emit_group", "administer_group"]), Some("administer_group"));
    }

    #[test]
    fn a_word_unlike_all_others_gets_no_suggestion() {
        assert_eq!(closest("colour", ["name", "priority", "config"]), None);
        assert_eq!(closest("x", ["name"]), None);
        assert_eq!(closest("name", []), None);
    }
}
