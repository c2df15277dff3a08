//! What all pictures have: a title, a legend, axes with units, a sentence below; and strokes and hatches that need no colour.
//!
//! Inputs: texts, axes, places. Outputs: a chart to draw into. Must never draw a number that is none: they are refused before.

use super::Undrawable;
use super::dashes::pieces;
use super::sheet::Sheet;
use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::prelude::{
    BLACK, Cartesian2d, Color, DrawingArea, IntoFont, LineSeries, PathElement, Polygon, RGBColor, Rectangle,
    ShapeStyle, Text, TextStyle, WHITE,
};
use plotters_backend::DrawingBackend;
use plotters_backend::text_anchor::{HPos, Pos, VPos};

/// An area of a sheet, in pixels.
pub type Area<B> = DrawingArea<Sheet<B>, Shift>;
type Coordinates = Cartesian2d<Scale, Scale>;
pub(super) type Chart<'a, B> = ChartContext<'a, Sheet<B>, Coordinates>;

/// Dark, middle and light: told apart in grey too. Okabe and Ito's blue, vermilion and sky blue, for eyes that see few colours.
pub(super) const SHADES: [RGBColor; 3] = [RGBColor(0, 60, 110), RGBColor(213, 94, 0), RGBColor(86, 180, 233)];
pub(super) const GREY: RGBColor = RGBColor(110, 110, 110);
/// Rows of the head and foot, pixels.
const ROW: u32 = 22;
/// Letters of titles, axes and the rest; plotters' sizes are 1.24 times an em.
const TITLE: f64 = 21.0;
pub(super) const LABEL: f64 = 17.0;
pub(super) const SMALL: f64 = 15.0;

/// An axis. Positions on a logarithmic one are given as they are.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    label: String,
    from: f64,
    to: f64,
    is_log: bool,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From one value to another with ticks at round ones.
    pub(super) fn linear(label: &str, from: f64, to: f64) -> Self {
        let to = if to > from { to } else { from + 1.0 };
        let step = round_step((to - from) / 6.0, label.ends_with(", hours"));
        let mut ticks = Vec::new();
        let mut at = (from / step - 1e-9).ceil();
        while at * step <= to + step * 1e-9 && ticks.len() < 50 {
            ticks.push((at * step, figure(at * step)));
            at += 1.0;
        }
        Self { label: label.to_owned(), from, to, is_log: false, ticks }
    }

    /// The same by powers of ten, for values above 0.
    pub(super) fn logarithmic(label: &str, from: f64, to: f64) -> Self {
        let (from, to) = (from.max(1e-12), to.max(from.max(1e-12) * 10.0));
        let mut ticks = Vec::new();
        let mut power = from.log10().floor();
        while power <= to.log10() && ticks.len() < 50 {
            let steps: &[f64] = if (to / from).log10() < 2.5 { &[1.0, 2.0, 5.0] } else { &[1.0] };
            let values = steps.iter().map(|step| step * 10.0_f64.powf(power));
            ticks.extend(
                values.filter(|value| (from..=to * 1.000_001).contains(value)).map(|value| (value, figure(value))),
            );
            power += 1.0;
        }
        Self { label: label.to_owned(), from, to, is_log: true, ticks }
    }

    /// Names at 0.5, 1.5, …
    pub(super) fn names(label: &str, names: &[String]) -> Self {
        #[allow(clippy::cast_precision_loss, reason = "names are few")]
        let place = |at: usize| at as f64;
        let every = names.len().div_ceil(24).max(1);
        let ticks = names.iter().enumerate().step_by(every).map(|(at, name)| (place(at) + 0.5, name.clone()));
        Self {
            label: label.to_owned(),
            from: 0.0,
            to: place(names.len()).max(1.0),
            is_log: false,
            ticks: ticks.collect(),
        }
    }

    /// Where a value stands for plotters; those outside stand at the end.
    pub(super) fn place(&self, value: f64) -> f64 {
        let value = value.clamp(self.from, self.to);
        if self.is_log { value.log10() } else { value }
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.place(self.from)..self.place(self.to)
    }

    fn scale(&self) -> Scale {
        Scale { range: self.range(), ticks: self.ticks.iter().map(|(value, _)| self.place(*value)).collect() }
    }

    fn name(&self, place: f64) -> String {
        let tick = self.ticks.iter().find(|(value, _)| (self.place(*value) - place).abs() < 1e-9);
        tick.map(|(_, name)| name.clone()).unwrap_or_default()
    }

    /// Room for the names of ticks, pixels.
    fn room(&self) -> u32 {
        let longest = self.ticks.iter().map(|(_, name)| name.chars().count()).max().unwrap_or_default();
        36 + 8 * u32::try_from(longest.min(24)).unwrap_or(24)
    }
}

/// An axis as plotters knows it: with the ticks that were chosen.
pub(super) struct Scale {
    range: std::ops::Range<f64>,
    ticks: Vec<f64>,
}

impl Ranged for Scale {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    #[allow(clippy::cast_possible_truncation, reason = "pixels")]
    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let share = (value - self.range.start) / (self.range.end - self.range.start);
        from + (share * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.range.clone()
    }
}

/// 1, 2 or 5 times a power of ten; of hours rather what divides a day.
fn round_step(least: f64, is_hours: bool) -> f64 {
    let hours = [1.0, 2.0, 3.0, 4.0, 6.0, 12.0, 24.0, 48.0, 72.0, 168.0];
    if is_hours && let Some(step) = hours.into_iter().find(|step| *step >= least).filter(|_| least > 0.5) {
        return step;
    }
    let power = 10.0_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|step| step * power)
        .find(|step| *step >= least * 0.999)
        .unwrap_or(10.0 * power)
}

/// A number as short as it is clear.
pub(super) fn figure(value: f64) -> String {
    let size = value.abs();
    let text = match size {
        _ if size == 0.0 => return "0".to_owned(),
        _ if size >= 100.0 => format!("{value:.0}"),
        _ if size >= 0.01 => format!("{value:.3}"),
        _ if size >= 0.000_1 => format!("{value:.5}"),
        _ => format!("{value:.0e}"),
    };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Refuses numbers that are none.
pub(super) fn check(values: impl IntoIterator<Item = f64>) -> Result<(), Undrawable> {
    if values.into_iter().all(f64::is_finite) {
        return Ok(());
    }
    Err(Undrawable("a number to be drawn is none, or not finite".to_owned()))
}

/// How a line or an area looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Look {
    /// A line: which of the shades, also its dashes.
    Line(usize),
    /// A band around such a line.
    Band(usize),
    /// A thin dashed line in grey.
    Guide,
    /// A filled area with or without hatches.
    Area(RGBColor, Hatch),
}

/// Strokes over an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hatch {
    None,
    Rising,
    Crossed,
    Dots,
}

/// Letters in black.
pub(super) fn letters(size: f64, h_pos: HPos, v_pos: VPos) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&BLACK).pos(Pos::new(h_pos, v_pos))
}

/// Draws title, legend, axes and note; gives the chart.
pub(super) fn frame<'c, B: DrawingBackend>(
    area: &Area<B>,
    (title, note): (&str, &str),
    legend: &[(Look, String)],
    (x, y): (&Axis, &Axis),
    right_room: u32,
) -> Result<Chart<'c, B>, Undrawable> {
    let (width, height) = area.dim_in_pixel();
    let left = y.room();
    let wrapped = wrap(area, note, width.saturating_sub(24))?;
    area.draw(&Text::new(title.to_owned(), (12, 8), letters(TITLE, HPos::Left, VPos::Top)))?;
    let legend_rows = draw_legend(area, legend, width)?;
    let head = 12 + ROW * (1 + legend_rows);
    let foot = 12 + 18 * u32::try_from(wrapped.len()).unwrap_or_default();
    for (row, line) in (0_i32..).zip(&wrapped) {
        let top = i32::try_from(height.saturating_sub(foot)).unwrap_or_default() + 6 + 18 * row;
        area.draw(&Text::new(line.clone(), (12, top), letters(SMALL, HPos::Left, VPos::Top)))?;
    }
    let (_, rest) = area.split_vertically(head);
    let (body, _) = rest.split_vertically(height.saturating_sub(head + foot));
    let mut chart = ChartBuilder::on(&body)
        .margin_top(6)
        .margin_right(18 + right_room)
        .margin_bottom(4)
        .margin_left(8)
        .x_label_area_size(44)
        .y_label_area_size(left)
        .build_cartesian_2d(x.scale(), y.scale())?;
    chart
        .configure_mesh()
        .bold_line_style(BLACK.mix(0.12))
        .axis_style(BLACK.mix(0.6))
        .label_style(letters(SMALL, HPos::Left, VPos::Top))
        .axis_desc_style(letters(LABEL, HPos::Left, VPos::Top))
        .x_label_formatter(&|place| x.name(*place))
        .y_label_formatter(&|place| y.name(*place))
        .x_desc(x.label.as_str())
        .y_desc(y.label.as_str())
        .draw()?;
    Ok(chart)
}

/// The note in lines that fit.
fn wrap<B: DrawingBackend>(area: &Area<B>, note: &str, width: u32) -> Result<Vec<String>, Undrawable> {
    let style = letters(SMALL, HPos::Left, VPos::Top);
    let mut lines: Vec<String> = Vec::new();
    for word in note.split_whitespace() {
        let longer = lines.last().map(|line| format!("{line} {word}"));
        match (longer, lines.last_mut()) {
            (Some(longer), Some(line)) if area.estimate_text_size(&longer, &style)?.0 <= width => *line = longer,
            _ => lines.push(word.to_owned()),
        }
    }
    Ok(lines)
}

/// A row or more of samples with their names; gives how many rows.
fn draw_legend<B: DrawingBackend>(area: &Area<B>, legend: &[(Look, String)], width: u32) -> Result<u32, Undrawable> {
    let style = letters(SMALL, HPos::Left, VPos::Center);
    let (mut left, mut row) = (12_i32, 0_u32);
    for (look, name) in legend {
        let long = i32::try_from(area.estimate_text_size(name, &style)?.0).unwrap_or_default() + 64;
        if left > 12 && left + long > i32::try_from(width).unwrap_or(i32::MAX) {
            (left, row) = (12, row + 1);
        }
        let middle = i32::try_from(8 + ROW * (1 + row) + ROW / 2).unwrap_or_default();
        sample(area, *look, (left, middle))?;
        area.draw(&Text::new(name.clone(), (left + 42, middle), style.clone()))?;
        left += long;
    }
    Ok(if legend.is_empty() { 0 } else { row + 1 })
}

fn sample<B: DrawingBackend>(area: &Area<B>, look: Look, (left, middle): (i32, i32)) -> Result<(), Undrawable> {
    match look {
        Look::Line(number) => stroke_path(area, &[(left, middle), (left + 36, middle)], number),
        Look::Guide => dashed(area, &[(left, middle), (left + 36, middle)], GREY, 1, (3, 3)),
        Look::Band(number) => {
            fill(area, (left, middle - 6), (left + 36, middle + 6), shade(number).mix(0.22), Hatch::None)
        }
        Look::Area(colour, hatch) => {
            let corners = [(left, middle - 7), (left + 36, middle + 7)];
            fill(area, corners[0], corners[1], colour.mix(1.0), hatch)?;
            // White would not be seen on white.
            Ok(area.draw(&Rectangle::new(corners, BLACK.mix(0.55).stroke_width(1)))?)
        }
    }
}

fn shade(number: usize) -> RGBColor {
    SHADES.get(number % SHADES.len()).copied().unwrap_or(BLACK)
}

/// Dash and gap of the lines, pixels; None is a line without gaps.
fn dashes(number: usize) -> Option<(i32, i32)> {
    [None, Some((9, 5)), Some((2, 4))].get(number % 3).copied().flatten()
}

fn stroke_path<B: DrawingBackend>(area: &Area<B>, points: &[(i32, i32)], number: usize) -> Result<(), Undrawable> {
    match dashes(number) {
        None => area.draw(&PathElement::new(points.to_vec(), shade(number).stroke_width(2)))?,
        Some(dash) => dashed(area, points, shade(number), 2, dash)?,
    }
    Ok(())
}

fn dashed<B: DrawingBackend>(
    area: &Area<B>,
    points: &[(i32, i32)],
    colour: RGBColor,
    wide: u32,
    (dash, gap): (i32, i32),
) -> Result<(), Undrawable> {
    let style: ShapeStyle = colour.stroke_width(wide);
    for piece in pieces(points, dash, gap) {
        area.draw(&PathElement::new(piece, style))?;
    }
    Ok(())
}

/// Draws a line through places in the chart.
pub(super) fn line<B: DrawingBackend>(
    chart: &mut Chart<'_, B>,
    points: Vec<(f64, f64)>,
    look: Look,
) -> Result<(), Undrawable> {
    let (colour, wide, dash) = match look {
        Look::Line(number) | Look::Band(number) => (shade(number), 2, dashes(number)),
        Look::Guide | Look::Area(..) => (GREY, 1, Some((3, 3))),
    };
    match dash {
        None => {
            chart.draw_series(LineSeries::new(points, colour.stroke_width(wide)))?;
            Ok(())
        }
        Some(dash) => {
            let area = chart.plotting_area();
            let (left, top) = area.get_base_pixel();
            let pixels = points.iter().map(|point| area.map_coordinate(point)).map(|(x, y)| (x - left, y - top));
            dashed(&area.strip_coord_spec(), &pixels.collect::<Vec<_>>(), colour, wide, dash)
        }
    }
}

/// Draws a band between two lines in the chart.
pub(super) fn band<B: DrawingBackend>(
    chart: &mut Chart<'_, B>,
    low: &[(f64, f64)],
    high: &[(f64, f64)],
    number: usize,
) -> Result<(), Undrawable> {
    let outline: Vec<(f64, f64)> = low.iter().chain(high.iter().rev()).copied().collect();
    chart.draw_series(std::iter::once(Polygon::new(outline, shade(number).mix(0.22))))?;
    // In grey, two bands over each other are seen by their edges.
    for edge in [low, high] {
        chart.draw_series(LineSeries::new(edge.to_vec(), shade(number).mix(0.5).stroke_width(1)))?;
    }
    Ok(())
}

/// Fills a rectangle of pixels and hatches it.
pub(super) fn fill<B: DrawingBackend>(
    area: &Area<B>,
    (left, top): (i32, i32),
    (right, bottom): (i32, i32),
    colour: impl Color,
    hatch: Hatch,
) -> Result<(), Undrawable> {
    area.draw(&Rectangle::new([(left, top), (right, bottom)], colour.filled()))?;
    // Strokes are dark on what is light, and light on what is dark.
    let (red, green, blue) = colour.to_backend_color().rgb;
    let is_dark = u32::from(red) * 3 + u32::from(green) * 6 + u32::from(blue) < 1_200;
    let ink = if is_dark { WHITE.mix(0.8) } else { BLACK.mix(0.65) }.stroke_width(1);
    let (wide, high) = (right - left, bottom - top);
    let gap = 7;
    if hatch == Hatch::Dots {
        for y in (top + 3..bottom - 1).step_by(6) {
            for x in (left + 3..right - 1).step_by(6) {
                area.draw(&Rectangle::new([(x, y), (x + 1, y + 1)], ink.filled()))?;
            }
        }
    }
    if matches!(hatch, Hatch::Rising | Hatch::Crossed) {
        let offset = left.rem_euclid(gap);
        for start in (gap - offset..wide + high).step_by(7) {
            let (from, to) = (start.min(wide), (start - high).max(0));
            area.draw(&PathElement::new(vec![(left + from, top + start - from), (left + to, top + start - to)], ink))?;
            if hatch == Hatch::Crossed {
                area.draw(&PathElement::new(
                    vec![(right - from, top + start - from), (right - to, top + start - to)],
                    ink,
                ))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, name)| name.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_and_hours_divide_the_day() {
        assert_eq!(ticks(&Axis::linear("age, hours", 0.0, 24.0)), ["0", "4", "8", "12", "16", "20", "24"]);
        assert_eq!(ticks(&Axis::linear("share", 0.0, 1.0)), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        assert_eq!(ticks(&Axis::logarithmic("rate", 0.005, 3.0)), ["0.01", "0.1", "1"]);
        assert_eq!(ticks(&Axis::logarithmic("rate", 0.1, 2.0)), ["0.1", "0.2", "0.5", "1", "2"]);
        assert!(!ticks(&Axis::linear("nothing", 0.0, 0.0)).is_empty());
    }

    #[test]
    fn figures_are_short() {
        let figures: Vec<String> = [0.0, 1_200.0, 0.25, 0.000_5, 3e-9].into_iter().map(figure).collect();
        assert_eq!(figures, ["0", "1200", "0.25", "0.0005", "3e-9"]);
        assert!(check([1.0, f64::NAN]).is_err() && check([f64::INFINITY]).is_err() && check([0.0]).is_ok());
    }
}
