//! Whether a promise is kept.
//!
//! Inputs: a promise, the document that its command wrote. Outputs: a [`Verdict`]. Pure. Must never take what is missing or no
//! number for a good figure.

use crate::{Command, Promise};
use serde::Serialize;
use serde_json::Value;

/// What became of a promise.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// The figure is within its limits.
    Kept {
        /// The figure.
        measured: f64,
    },
    /// It is not.
    Broken {
        /// The figure.
        measured: f64,
    },
    /// There is no figure.
    NotMeasured {
        /// Why.
        reason: String,
    },
}

impl Verdict {
    /// Whether the promise is kept.
    pub fn is_kept(&self) -> bool {
        matches!(self, Self::Kept { .. })
    }
}

/// Judges a promise by the document of its command. What a short run breaks is broken; what it does not break is not measured.
pub fn judge(promise: &Promise, command: &Command, document: &Value) -> Verdict {
    let verdict = by_figure(promise, document);
    let is_short = |(figure, least): &(&String, &f64)| {
        // A number that is not there is no amount.
        document.pointer(figure).and_then(Value::as_f64).is_none_or(|found| found < **least)
    };
    match command.needs.iter().find(is_short) {
        Some((figure, least)) if verdict.is_kept() => {
            let found = document.pointer(figure).unwrap_or(&Value::Null);
            Verdict::NotMeasured { reason: format!("{figure} is {found}, and {least} are promised") }
        }
        _ => verdict,
    }
}

fn by_figure(promise: &Promise, document: &Value) -> Verdict {
    let Some(found) = document.pointer(&promise.figure) else {
        return Verdict::NotMeasured { reason: format!("there is no {}", promise.figure) };
    };
    #[allow(clippy::cast_precision_loss, reason = "the length of a list")]
    let measured = match found {
        Value::Array(list) => Some(list.len() as f64),
        other => other.as_f64(),
    };
    let Some(measured) = measured else {
        return Verdict::NotMeasured { reason: format!("{} is {found}, not a number", promise.figure) };
    };
    let is_kept =
        promise.at_most.is_none_or(|most| measured <= most) && promise.at_least.is_none_or(|least| measured >= least);
    if is_kept { Verdict::Kept { measured } } else { Verdict::Broken { measured } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn promise(figure: &str, at_least: Option<f64>, at_most: Option<f64>) -> Promise {
        let text = |text: &str| text.to_owned();
        let (name, about, command) = (text("x"), text(""), text("c"));
        Promise { name, about, command, figure: figure.into(), unit: text(""), at_most, at_least }
    }

    fn command(needs: &[(&str, f64)]) -> Command {
        let needs = needs.iter().map(|(figure, least)| ((*figure).to_owned(), *least)).collect();
        Command { run: String::new(), file: String::new(), minutes: 1, needs }
    }

    #[test]
    fn a_figure_of_a_shorter_run_than_promised_keeps_nothing() {
        let promise = promise("/lost", None, Some(0.0));
        let verdict = |document| judge(&promise, &command(&[("/runs", 100.0)]), &document);
        assert!(verdict(json!({ "lost": 0, "runs": 100 })).is_kept());
        for short in [json!({ "lost": 0, "runs": 99 }), json!({ "lost": 0 }), json!({ "lost": 0, "runs": "100" })] {
            let said = verdict(short.clone());
            assert!(
                matches!(&said, Verdict::NotMeasured { reason } if reason.contains("/runs is")),
                "{short}: {said:?}"
            );
        }
        // One that was broken is broken, however long it ran.
        assert_eq!(verdict(json!({ "lost": 1, "runs": 1 })), Verdict::Broken { measured: 1.0 });
    }

    #[test]
    fn a_figure_at_its_limit_keeps_the_promise_and_beyond_it_breaks_it() {
        let document = json!({ "a": [{ "b": 1.5 }], "none": [], "two": ["x", "y"] });
        let most = |figure, limit| judge(&promise(figure, None, Some(limit)), &command(&[]), &document);
        assert_eq!(most("/a/0/b", 1.5), Verdict::Kept { measured: 1.5 });
        assert_eq!(most("/a/0/b", 1.49), Verdict::Broken { measured: 1.5 });
        assert_eq!(most("/none", 0.0), Verdict::Kept { measured: 0.0 });
        assert_eq!(most("/two", 0.0), Verdict::Broken { measured: 2.0 });
        let least = |limit| judge(&promise("/a/0/b", Some(limit), None), &command(&[]), &document);
        assert!(least(1.5).is_kept() && !least(1.51).is_kept());
    }

    #[test]
    fn what_is_missing_or_no_number_is_not_measured() {
        for document in [json!({}), json!({ "a": "1" }), json!({ "a": null }), json!(7)] {
            let verdict = judge(&promise("/a", None, Some(2.0)), &command(&[]), &document);
            assert!(matches!(verdict, Verdict::NotMeasured { .. }), "{document}: {verdict:?}");
        }
    }
}
