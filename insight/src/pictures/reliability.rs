//! Whether predicted probabilities come true: predicted against seen.
//!
//! Inputs: bins of predictions. Outputs: a picture. Must never show a share without how many stand behind it.

use super::frame::{Area, Axis, GREY, Look, SHADES, SMALL, check, frame, letters, line};
use super::{Picture, Undrawable};
use crate::patterns::rate::share_95;
use plotters::prelude::{Circle, Color, PathElement, Text};
use plotters_backend::DrawingBackend;
use plotters_backend::text_anchor::{HPos, VPos};

/// Predictions that are alike.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReliabilityBin {
    /// Their mean.
    pub predicted: f64,
    /// How many there are.
    pub count: u64,
    /// For how many it came true.
    pub came_true: u64,
}

/// Predicted against seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Reliability {
    /// Above.
    pub title: String,
    /// What is predicted, for instance `interrupted within the next hour`.
    pub what: String,
    /// Below.
    pub note: String,
    /// The bins.
    pub bins: Vec<ReliabilityBin>,
}

impl Picture for Reliability {
    #[allow(clippy::cast_precision_loss, reason = "counts are below 2^53")]
    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Result<(), Undrawable> {
        check(self.bins.iter().map(|bin| bin.predicted))?;
        let bins: Vec<&ReliabilityBin> = self.bins.iter().filter(|bin| bin.count > 0).collect();
        if bins.is_empty() || bins.iter().any(|bin| bin.came_true > bin.count || !(0.0..=1.0).contains(&bin.predicted))
        {
            return Err(Undrawable(
                "a calibration needs predictions from 0 to 1, and no more that came true than were made".to_owned(),
            ));
        }
        let seen = |bin: &ReliabilityBin| bin.came_true as f64 / bin.count as f64;
        let range = |bin: &ReliabilityBin| share_95(bin.came_true, bin.count);
        let top = bins.iter().flat_map(|bin| [bin.predicted * 1.1, range(bin).1 * 1.05]).fold(0.01, f64::max).min(1.0);
        let least = bins.iter().map(|bin| bin.predicted).fold(f64::MAX, f64::min);
        // Risks of an hour are small and far apart: by powers of ten they do not lie upon each other.
        let is_log = least > 0.0 && top / least > 15.0;
        let low = bins
            .iter()
            .flat_map(|bin| [bin.predicted, range(bin).0])
            .filter(|value| *value > 0.0)
            .fold(least, f64::min);
        let bottom = if is_log { low.max(least / 10.0) * 0.8 } else { 0.0 };
        let axis =
            |label: &str| if is_log { Axis::logarithmic(label, bottom, top) } else { Axis::linear(label, bottom, top) };
        let (x, y) = (axis(&format!("predicted probability: {}", self.what)), axis("share that was"));
        let total: u64 = bins.iter().map(|bin| bin.count).sum();
        let note = format!("{} {total} predictions; the numbers are how many each point stands for.", self.note);
        let legend = [
            (Look::Line(0), "seen, with 95 % (exact, as if hours were on their own)".to_owned()),
            (Look::Guide, "what is predicted comes true".to_owned()),
        ];
        let mut chart = frame(area, (&self.title, note.trim()), &legend, (&x, &y), 0)?;
        line(&mut chart, vec![(x.place(bottom), y.place(bottom)), (x.place(top), y.place(top))], Look::Guide)?;
        line(&mut chart, bins.iter().map(|bin| (x.place(bin.predicted), y.place(seen(bin)))).collect(), Look::Line(0))?;
        for bin in bins {
            let (low, high) = range(bin);
            let at = chart.backend_coord(&(x.place(bin.predicted), y.place(seen(bin))));
            let (foot, head) = (
                chart.backend_coord(&(x.place(bin.predicted), y.place(low))),
                chart.backend_coord(&(x.place(bin.predicted), y.place(high))),
            );
            let ink = SHADES[0].stroke_width(1);
            area.draw(&PathElement::new(vec![(at.0, foot.1), (at.0, head.1)], ink))?;
            for end in [foot.1, head.1] {
                area.draw(&PathElement::new(vec![(at.0 - 4, end), (at.0 + 4, end)], ink))?;
            }
            area.draw(&Circle::new(at, 4, SHADES[0].filled()))?;
            let style = letters(SMALL, HPos::Left, VPos::Center).color(&GREY);
            area.draw(&Text::new(bin.count.to_string(), (at.0 + 7, at.1 + 9), style))?;
        }
        Ok(())
    }
}
