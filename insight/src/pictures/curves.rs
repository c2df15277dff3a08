//! Curves over the age of machines, with bands: which share is still there, and how often those that are there are interrupted.
//!
//! Inputs: points with their intervals. Outputs: a picture. Must never draw a line past the last age that was observed.

use super::frame::{Area, Axis, Look, band, check, frame, line};
use super::{Picture, Undrawable};
use crate::lifetimes::{AgeRate, Survival};
use plotters_backend::DrawingBackend;

/// An age, the value from there on, and its interval.
type Step = (f64, f64, (f64, f64));

/// A curve of steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// What it is of.
    pub name: String,
    /// From each age, hours, the value and its interval, until the next.
    pub steps: Vec<Step>,
    /// The last age that was observed, hours.
    pub until_h: f64,
}

/// Some curves over the age.
#[derive(Clone, Debug, PartialEq)]
pub struct Curves {
    /// Above.
    pub title: String,
    /// What the values are, with their unit.
    pub what: String,
    /// Below: how many data, what the band is.
    pub note: String,
    /// Three at most: more are not told apart without colours.
    pub lines: Vec<Line>,
    /// Whether values stand by powers of ten; from 0 to 1 else.
    pub is_log: bool,
}

/// How many lines can be told apart.
const MOST_LINES: usize = 3;

impl Curves {
    /// Which share of machines is still there.
    #[must_use]
    pub fn survival(title: &str, curves: &[(&str, &Survival)]) -> Self {
        let line = |(name, curve): &(&str, &Survival)| Line {
            name: (*name).to_owned(),
            steps: std::iter::once((0.0, 1.0, (1.0, 1.0)))
                .chain(
                    curve
                        .steps
                        .iter()
                        .filter(|step| step.interrupted > 0)
                        .map(|step| (step.hours, step.alive, step.alive_95)),
                )
                .collect(),
            until_h: curve.steps.last().map_or(0.0, |step| step.hours),
        };
        let machines: u64 = curves.iter().map(|(_, curve)| curve.machines).sum();
        let interrupted: u64 = curves.iter().map(|(_, curve)| curve.interrupted).sum();
        Self {
            title: title.to_owned(),
            what: "share of machines still there".to_owned(),
            note: format!(
                "Kaplan-Meier of {machines} machines, {interrupted} interrupted, the others counted until they were stopped. \
                 Band: 95 %, as if machines were on their own."
            ),
            lines: curves.iter().map(line).collect(),
            is_log: false,
        }
    }

    /// How often machines of an age are interrupted.
    #[must_use]
    pub fn hazard(title: &str, curves: &[(&str, &[AgeRate])]) -> Self {
        let line = |(name, ages): &(&str, &[AgeRate])| Line {
            name: (*name).to_owned(),
            steps: ages.iter().map(|age| (age.from_h, age.rate.per_hour, age.rate.per_hour_95)).collect(),
            until_h: ages.last().map_or(0.0, |age| age.to_h),
        };
        let rates = || curves.iter().flat_map(|(_, ages)| ages.iter().map(|age| age.rate));
        let (events, hours) =
            (rates().map(|rate| rate.events).sum::<u64>(), rates().map(|rate| rate.hours).sum::<f64>());
        Self {
            title: title.to_owned(),
            what: "interruptions per machine-hour".to_owned(),
            note: format!(
                "{events} interruptions in {hours:.0} machine-hours. Band: 95 %, exact for each age, as if machines were on their own."
            ),
            lines: curves.iter().map(line).collect(),
            is_log: true,
        }
    }

    fn axes(&self) -> Result<(Axis, Axis), Undrawable> {
        let until_h = self.lines.iter().map(|line| line.until_h).fold(0.0, f64::max);
        let steps = || self.lines.iter().flat_map(|line| &line.steps);
        check(steps().flat_map(|(age, value, (low, high))| [*age, *value, *low, *high]).chain([until_h]))?;
        if steps().next().is_none() || self.lines.len() > MOST_LINES {
            return Err(Undrawable(format!(
                "1 to {MOST_LINES} curves can be drawn, each with a step, not {}",
                self.lines.len()
            )));
        }
        let x = Axis::linear("age, hours", 0.0, until_h);
        if !self.is_log {
            return Ok((x, Axis::linear(&self.what, 0.0, 1.0)));
        }
        let values = || steps().flat_map(|(_, value, (low, high))| [*value, *low, *high]).filter(|value| *value > 0.0);
        let (low, high) = (values().fold(f64::MAX, f64::min), values().fold(0.0, f64::max));
        // The interval of a rate of which nothing was seen goes down to 0, which has no place here.
        let low = low.max(high / 1e5);
        Ok((x, Axis::logarithmic(&self.what, low * 0.8, high * 1.25)))
    }
}

impl Picture for Curves {
    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Result<(), Undrawable> {
        let (x, y) = self.axes()?;
        let legend = self.lines.iter().enumerate().map(|(number, line)| (Look::Line(number), line.name.clone()));
        let legend: Vec<(Look, String)> = legend.chain([(Look::Band(0), "95 %".to_owned())]).collect();
        let mut chart = frame(area, (&self.title, &self.note), &legend, (&x, &y), 0)?;
        for (number, curve) in self.lines.iter().enumerate() {
            let stairs = |value: fn(&Step) -> f64| {
                let ends = curve.steps.iter().skip(1).map(|step| step.0).chain([curve.until_h]);
                let two = |(step, end): (&Step, f64)| {
                    let place = y.place(value(step));
                    [(x.place(step.0), place), (x.place(end), place)]
                };
                curve.steps.iter().zip(ends).flat_map(two).collect::<Vec<(f64, f64)>>()
            };
            band(&mut chart, &stairs(|step| step.2.0), &stairs(|step| step.2.1), number)?;
            line(&mut chart, stairs(|step| step.1), Look::Line(number))?;
        }
        Ok(())
    }
}
