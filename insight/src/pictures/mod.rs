//! Pictures of what was found: values in, an SVG text or the bytes of a PNG out.
//!
//! Responsibilities: curves with bands ([`Curves`]), predicted against seen ([`Reliability`]), a table as shades ([`HeatMap`]), and
//! what a policy did hour by hour ([`Gantt`]). Inputs: plain values. Outputs: pictures with labelled axes, units, the uncertainty,
//! how many data, and a sentence below. Must never need a font of the machine, nor a colour to be told apart: lines differ by dashes
//! and brightness, areas by hatching and brightness.
//!
//! Only with the feature `pictures`.

mod curves;
mod dashes;
mod frame;
mod gantt;
mod heat;
mod letters;
mod reliability;
mod sheet;

pub use curves::{Curves, Line};
pub use gantt::{Doing, Gantt, Row, Span};
pub use heat::{HeatCell, HeatMap};
pub use reliability::{Reliability, ReliabilityBin};

use frame::Area;
use plotters::drawing::IntoDrawingArea;
use plotters::style::WHITE;
use plotters_backend::DrawingBackend;
use plotters_bitmap::BitMapBackend;
use plotters_svg::SVGBackend;
use sheet::Sheet;

/// Width and height that all pictures are made for, pixels.
pub const SIZE: (u32, u32) = (800, 500);
/// The least and the greatest side, pixels: smaller ones have no room for labels, larger ones need gigabytes.
const SIDES: std::ops::RangeInclusive<u32> = 200..=4_000;
/// Each pixel of a PNG is the mean of so many by so many.
const FINE: u32 = 3;

/// Why there is no picture, in a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Undrawable(pub String);

impl<E: std::error::Error + Send + Sync> From<plotters::drawing::DrawingAreaErrorKind<E>> for Undrawable {
    fn from(error: plotters::drawing::DrawingAreaErrorKind<E>) -> Self {
        Self(format!("the picture cannot be drawn: {error}"))
    }
}

/// Something that can be drawn.
pub trait Picture {
    /// Draws it on an area of any kind; [`svg`] and [`png`] call it.
    ///
    /// # Errors
    /// There is nothing to draw, or numbers are none.
    #[doc(hidden)]
    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Result<(), Undrawable>;
}

/// The picture as SVG; its text stays text.
///
/// # Errors
/// There is nothing to draw, numbers are none, or the size is out of range.
pub fn svg(picture: &impl Picture, size: (u32, u32)) -> Result<String, Undrawable> {
    check(size)?;
    let mut text = String::new();
    {
        let area = Sheet::of_vectors(SVGBackend::with_string(&mut text, size)).into_drawing_area();
        area.fill(&WHITE)?;
        picture.draw(&area)?;
        area.present()?;
    }
    Ok(text)
}

/// The picture as PNG.
///
/// # Errors
/// There is nothing to draw, numbers are none, or the size is out of range.
pub fn png(picture: &impl Picture, size: (u32, u32)) -> Result<Vec<u8>, Undrawable> {
    check(size)?;
    let (width, height) = (size.0 as usize, size.1 as usize);
    let fine = FINE as usize;
    let mut dots = vec![0_u8; width * height * fine * fine * 3];
    {
        let bitmap = BitMapBackend::with_buffer(&mut dots, (size.0 * FINE, size.1 * FINE));
        let area = Sheet::of_dots(bitmap, FINE).into_drawing_area();
        area.fill(&WHITE)?;
        picture.draw(&area)?;
        area.present()?;
    }
    encode(&mean(&dots, width, height, fine), size)
        .map_err(|error| Undrawable(format!("the picture cannot be written: {error}")))
}

fn check(size: (u32, u32)) -> Result<(), Undrawable> {
    if SIDES.contains(&size.0) && SIDES.contains(&size.1) {
        return Ok(());
    }
    let (least, greatest) = (SIDES.start(), SIDES.end());
    Err(Undrawable(format!("a picture of {} by {} pixels: sides are {least} to {greatest}", size.0, size.1)))
}

/// Each pixel as the mean of its dots: edges and letters become smooth.
#[allow(clippy::cast_possible_truncation, reason = "a mean of bytes")]
fn mean(dots: &[u8], width: usize, height: usize, fine: usize) -> Vec<u8> {
    let mut pixels = Vec::with_capacity(width * height * 3);
    let mut sums = vec![0_u32; width * 3];
    for rows in dots.chunks_exact(width * fine * 3 * fine) {
        sums.fill(0);
        for row in rows.chunks_exact(width * fine * 3) {
            for (sum, dots) in sums.chunks_exact_mut(3).zip(row.chunks_exact(fine * 3)) {
                for dot in dots.chunks_exact(3) {
                    sum.iter_mut().zip(dot).for_each(|(sum, value)| *sum += u32::from(*value));
                }
            }
        }
        pixels.extend(sums.iter().map(|sum| (sum / (fine * fine) as u32) as u8));
    }
    pixels
}

fn encode(pixels: &[u8], (width, height): (u32, u32)) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(bytes)
}
