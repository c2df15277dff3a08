//! Results as a chart: how long, by percentile, both axes logarithmic, as the HDR histogram's own plots have them.
//!
//! Inputs: one scenario's samples. Outputs: an SVG file. Must never need a font of this machine: text stays text.

use crate::designs::DESIGNS;
use crate::measure::Measured;
use crate::table::figure;
use latency::stats;
use plotters::prelude::*;
use std::error::Error;
use std::path::Path;

/// Size of the picture, pixels.
const SIZE: (u32, u32) = (960, 540);
/// One colour a design, distinguishable in print (Okabe and Ito's, and four more).
const COLOURS: &[RGBColor] = &[
    RGBColor(0, 0, 0),
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(128, 128, 128),
    RGBColor(160, 82, 45),
    RGBColor(106, 61, 154),
    RGBColor(178, 34, 34),
];

/// Draws the scenario into `path`.
///
/// # Errors
/// What the drawing or the file says.
pub(crate) fn draw(measured: &Measured, path: &Path) -> Result<(), Box<dyn Error>> {
    let lines = lines(measured);
    let points = || lines.iter().flat_map(|(_, points)| points);
    let right = points().map(|(x, _)| *x).fold(100.0, f64::max);
    let (low, high) = points().fold((f64::MAX, 0.0_f64), |(low, high), (_, y)| (low.min(*y), high.max(*y)));
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(format!("{}: {}", measured.scenario.name, measured.scenario.what), ("sans-serif", 18))
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(80)
        .build_cartesian_2d((1.0..right * 1.1).log_scale(), (low * 0.8..high * 1.5).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("percentile")
        .y_desc("from publishing to the handler, microseconds")
        .x_label_formatter(&|x| percentile_name(*x))
        .y_label_formatter(&|y| figure(*y))
        .light_line_style(WHITE)
        .draw()?;
    for (index, (name, points)) in lines.into_iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        // Where the colours begin again, lines are thin.
        let style = colour.stroke_width(if index < COLOURS.len() { 3 } else { 1 });
        let line = chart.draw_series(LineSeries::new(points, style))?;
        line.label(name).legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    area.present()?;
    Ok(())
}

/// A line for each design with enough samples for one: `1 / (1 - percentile)` and microseconds.
fn lines(measured: &Measured) -> Vec<(&'static str, Vec<(f64, f64)>)> {
    let ran = DESIGNS.iter().filter_map(|design| Some((design.name, measured.samples.get(design.name)?)));
    ran.filter_map(|(name, rounds)| {
        let histogram = stats::histogram(rounds.iter().flatten());
        let mut points = Vec::new();
        // Eight steps a doubling, up to the last sample that is not the maximum alone.
        #[allow(clippy::cast_precision_loss, reason = "below 2^53")]
        let last = histogram.len() as f64;
        let mut x = 1.0_f64;
        while x <= last {
            points.push((x, stats::microseconds(histogram.value_at_quantile(1.0 - 1.0 / x).max(1))));
            x *= 2.0_f64.powf(0.125);
        }
        (last >= 20.0).then_some((name, points))
    })
    .collect()
}

/// `99.9 %` for 1,000.
fn percentile_name(x: f64) -> String {
    let percent = 100.0 - 100.0 / x;
    let text = format!("{percent:.4}");
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::SCENARIOS;
    use std::collections::BTreeMap;

    #[test]
    fn the_axis_names_percentiles() {
        let names: Vec<String> = [1.0, 2.0, 10.0, 1_000.0].into_iter().map(percentile_name).collect();
        assert_eq!(names, ["0 %", "50 %", "90 %", "99.9 %"]);
    }

    #[test]
    fn a_chart_names_its_designs_and_leaves_out_who_has_too_few_samples() {
        let samples = BTreeMap::from([("floor", vec![(1..=200).collect()]), ("rival-shell", vec![vec![5; 3]])]);
        let measured = Measured { scenario: &SCENARIOS[0], samples, failed: Vec::new() };
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("chart.svg");
        draw(&measured, &path).expect("drawn");
        let svg = std::fs::read_to_string(&path).expect("written");
        assert!(svg.contains("floor") && svg.contains("99 %") && !svg.contains("rival-shell"));
    }
}
