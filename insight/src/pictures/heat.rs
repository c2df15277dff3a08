//! A table as shades: hours by weekdays, price by cap.
//!
//! Inputs: values with whether they are known well. Outputs: a picture. Must never show a shade of few data as if it were known:
//! such cells are hatched, and those without data are empty.

use super::frame::{Area, Axis, Chart, Hatch, LABEL, Look, SMALL, check, figure, fill, frame, letters};
use super::{Picture, Undrawable};
use plotters::prelude::{BLACK, Color, PathElement, RGBColor, Rectangle, Text, WHITE};
use plotters_backend::DrawingBackend;
use plotters_backend::text_anchor::{HPos, VPos};

/// One cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeatCell {
    /// Its value; None: no data.
    pub value: Option<f64>,
    /// Whether there are too few data to rely on it.
    pub is_unsure: bool,
}

/// A table as shades.
#[derive(Clone, Debug, PartialEq)]
pub struct HeatMap {
    /// Above.
    pub title: String,
    /// Below: how many data, and what makes a cell unsure.
    pub note: String,
    /// What columns are, with their unit, and their names.
    pub columns: (String, Vec<String>),
    /// What rows are, with their unit, and their names, from the top.
    pub rows: (String, Vec<String>),
    /// What values are, with their unit.
    pub what: String,
    /// By rows.
    pub cells: Vec<Vec<HeatCell>>,
}

/// Room for the scale, pixels.
const SCALE: u32 = 110;
/// From nearly white to nearly black, through blue: brightness falls steadily, so that grey says the same.
const LIGHT: (f64, f64, f64) = (242.0, 247.0, 252.0);
const DARK: (f64, f64, f64) = (3.0, 30.0, 70.0);

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 255")]
fn shade(share: f64) -> RGBColor {
    let mix = |light: f64, dark: f64| (light + (dark - light) * share.clamp(0.0, 1.0)).round() as u8;
    RGBColor(mix(LIGHT.0, DARK.0), mix(LIGHT.1, DARK.1), mix(LIGHT.2, DARK.2))
}

impl HeatMap {
    /// The least and the greatest value.
    fn range(&self) -> Result<(f64, f64), Undrawable> {
        let values = || self.cells.iter().flatten().filter_map(|cell| cell.value);
        check(values())?;
        let is_whole =
            self.cells.len() == self.rows.1.len() && self.cells.iter().all(|row| row.len() == self.columns.1.len());
        if values().next().is_none() || !is_whole {
            return Err(Undrawable("a heat map needs a value, and a cell for each row and column".to_owned()));
        }
        let (low, high) = (values().fold(f64::MAX, f64::min), values().fold(f64::MIN, f64::max));
        Ok((low, if high > low { high } else { low + 1.0 }))
    }
}

impl Picture for HeatMap {
    #[allow(clippy::cast_precision_loss, reason = "cells are few")]
    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Result<(), Undrawable> {
        let (low, high) = self.range()?;
        let names: Vec<String> = self.rows.1.iter().rev().cloned().collect();
        let (x, y) = (Axis::names(&self.columns.0, &self.columns.1), Axis::names(&self.rows.0, &names));
        let mut legend = Vec::new();
        if self.cells.iter().flatten().any(|cell| cell.is_unsure && cell.value.is_some()) {
            legend.push((Look::Area(WHITE, Hatch::Rising), "few data: do not rely on it".to_owned()));
        }
        if self.cells.iter().flatten().any(|cell| cell.value.is_none()) {
            legend.push((Look::Area(WHITE, Hatch::None), "empty: no data".to_owned()));
        }
        let chart = frame(area, (&self.title, &self.note), &legend, (&x, &y), SCALE)?;
        let rows = self.rows.1.len();
        let texts = self.fitting_texts(area, &chart)?;
        for (row, cells) in self.cells.iter().enumerate() {
            for (column, cell) in cells.iter().enumerate() {
                let (left, top) = chart.backend_coord(&(column as f64, (rows - row) as f64));
                let (right, bottom) = chart.backend_coord(&((column + 1) as f64, (rows - row - 1) as f64));
                let Some(value) = cell.value else { continue };
                let share = (value - low) / (high - low);
                let hatch = if cell.is_unsure { Hatch::Rising } else { Hatch::None };
                fill(area, (left + 1, top + 1), (right - 1, bottom - 1), shade(share), hatch)?;
                let style = letters(SMALL, HPos::Center, VPos::Center);
                let ink = if share > 0.5 && !cell.is_unsure { style.color(&WHITE) } else { style };
                if texts && !cell.is_unsure {
                    let middle = (i32::midpoint(left, right), i32::midpoint(top, bottom));
                    area.draw(&Text::new(figure(short(value)), middle, ink))?;
                }
            }
        }
        let (right, top) = chart.backend_coord(&(self.columns.1.len() as f64, rows as f64));
        let (_, bottom) = chart.backend_coord(&(0.0, 0.0));
        self.draw_scale(area, (right + 18, top + 10), bottom - 6, (low, high))
    }
}

/// Three digits.
fn short(value: f64) -> f64 {
    let digits = 10.0_f64.powf(2.0 - value.abs().max(1e-9).log10().floor());
    (value * digits).round() / digits
}

impl HeatMap {
    /// Whether all numbers fit into their cells: some of them would look chosen.
    fn fitting_texts<B: DrawingBackend>(&self, area: &Area<B>, chart: &Chart<'_, B>) -> Result<bool, Undrawable> {
        let (left, top) = chart.backend_coord(&(0.0, 1.0));
        let (right, bottom) = chart.backend_coord(&(1.0, 0.0));
        let style = letters(SMALL, HPos::Center, VPos::Center);
        for value in self.cells.iter().flatten().filter_map(|cell| cell.value) {
            let (width, height) = area.estimate_text_size(&figure(short(value)), &style)?;
            if i64::from(width) + 4 > i64::from(right - left) || i64::from(height) + 2 > i64::from(bottom - top) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Which shade is which value.
    fn draw_scale<B: DrawingBackend>(
        &self,
        area: &Area<B>,
        (left, top): (i32, i32),
        bottom: i32,
        (low, high): (f64, f64),
    ) -> Result<(), Undrawable> {
        let steps = 32;
        let height = (bottom - top).max(steps);
        for step in 0..steps {
            let (from, to) = (bottom - height * (step + 1) / steps, bottom - height * step / steps);
            let colour = shade((f64::from(step) + 0.5) / f64::from(steps));
            area.draw(&Rectangle::new([(left, from), (left + 16, to)], colour.filled()))?;
        }
        area.draw(&Rectangle::new([(left, bottom - height), (left + 16, bottom)], BLACK.mix(0.6).stroke_width(1)))?;
        for quarter in 0..=4 {
            let at = bottom - height * quarter / 4;
            let value = low + (high - low) * f64::from(quarter) / 4.0;
            area.draw(&PathElement::new(vec![(left + 16, at), (left + 20, at)], BLACK.mix(0.6)))?;
            area.draw(&Text::new(figure(short(value)), (left + 23, at), letters(SMALL, HPos::Left, VPos::Center)))?;
        }
        let style = letters(LABEL, HPos::Center, VPos::Bottom).transform(plotters::style::FontTransform::Rotate270);
        area.draw(&Text::new(self.what.clone(), (left + 90, i32::midpoint(top, bottom)), style))?;
        Ok(())
    }
}
