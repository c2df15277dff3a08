//! What policies, saves and caps are worth on public data.
//!
//! Responsibilities: read the public sets, run what is measured, put each figure beside its reference and its bar. Inputs: the directory of
//! the data (skypilot-org/spot-traces, kadupitiya/goog-preemption-data, stanford-futuredata/training_on_a_dime and a snapshot of the AWS
//! Spot Advisor; they are not part of this repository). Outputs: [`Figure`]s. Must never tune anything on what it measures.

pub mod data;
pub mod markets;
pub mod policies;
pub mod saves;

use serde::Serialize;

/// What a figure has to be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bar {
    /// No less.
    AtLeast(f64),
    /// No more.
    AtMost(f64),
    /// Within so much of the reference.
    Within(f64),
    /// Nothing: it is for reading.
    None,
}

/// One measured figure.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// What came out.
    pub measured: f64,
    /// What is published, or was measured before.
    pub reference: Option<f64>,
    /// What it has to be.
    pub bar: Bar,
}

impl Figure {
    /// A figure.
    pub fn new(name: impl Into<String>, measured: f64, reference: Option<f64>, bar: Bar) -> Self {
        Self { name: name.into(), measured, reference, bar }
    }

    /// Whether the bar is kept. What is no number keeps none.
    pub fn is_kept(&self) -> bool {
        match self.bar {
            Bar::AtLeast(bar) => self.measured >= bar,
            Bar::AtMost(bar) => self.measured <= bar,
            Bar::Within(bar) => self.reference.is_some_and(|reference| (self.measured - reference).abs() <= bar),
            Bar::None => self.measured.is_finite(),
        }
    }

    /// The bar in words.
    pub fn bar_in_words(&self) -> String {
        match self.bar {
            Bar::AtLeast(bar) => format!(">= {bar:.4}"),
            Bar::AtMost(bar) => format!("<= {bar:.4}"),
            Bar::Within(bar) => format!("+- {bar:.4}"),
            Bar::None => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_kept_or_broken() {
        let of = |measured, bar| Figure::new("x", measured, Some(1.0), bar).is_kept();
        assert!(of(1.0, Bar::AtLeast(1.0)) && !of(0.9, Bar::AtLeast(1.0)));
        assert!(of(1.0, Bar::AtMost(1.0)) && !of(1.1, Bar::AtMost(1.0)));
        assert!(of(1.1, Bar::Within(0.2)) && !of(1.3, Bar::Within(0.2)));
        for bar in [Bar::AtLeast(0.0), Bar::AtMost(9.0), Bar::Within(9.0), Bar::None] {
            assert!(!of(f64::NAN, bar), "{bar:?}");
        }
    }
}
