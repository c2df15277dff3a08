//! Letters from the font that comes with this crate: how wide a text is, and its dots.
//!
//! Inputs: texts and sizes. Outputs: lengths, coverage of dots. Must never ask the machine for a font: containers and servers have none.
//!
//! The font is a part of DejaVu Sans 2.37 (Latin and some signs); its licence is beside it in insight/fonts/.

use ab_glyph::{Font, FontRef, PxScale, ScaleFont, point};
use std::sync::LazyLock;

/// The outlines; None where the file is broken, which a test excludes: then there is no text.
static FONT: LazyLock<Option<FontRef<'static>>> =
    LazyLock::new(|| FontRef::try_from_slice(include_bytes!("../../fonts/DejaVuSans-part.ttf")).ok());

/// `ab_glyph` counts sizes from the lowest to the highest line of a font, others by its em.
fn scale(font: &FontRef<'static>, em: f32) -> PxScale {
    PxScale::from(em * font.height_unscaled() / font.units_per_em().unwrap_or(2048.0))
}

/// How wide a text is where the em is so many pixels, pixels.
pub(super) fn width(text: &str, em: f32) -> f32 {
    let Some(font) = FONT.as_ref() else { return 0.0 };
    let font = font.as_scaled(scale(font, em));
    let mut before = None;
    let mut width = 0.0;
    for letter in text.chars() {
        let glyph = font.glyph_id(letter);
        width += before.map_or(0.0, |before| font.kern(before, glyph)) + font.h_advance(glyph);
        before = Some(glyph);
    }
    width
}

/// Calls `dot` for each dot of the text with how much of it is covered; the text begins at 0, its base line is at 0, downwards is
/// positive.
pub(super) fn dots(text: &str, em: f32, mut dot: impl FnMut(i32, i32, f32)) {
    let Some(outlines) = FONT.as_ref() else { return };
    let scale = scale(outlines, em);
    let font = outlines.as_scaled(scale);
    let mut before = None;
    let mut at = 0.0;
    for letter in text.chars() {
        let glyph = font.glyph_id(letter);
        at += before.map_or(0.0, |before| font.kern(before, glyph));
        if let Some(outline) = font.outline_glyph(glyph.with_scale_and_position(scale, point(at, 0.0))) {
            let corner = outline.px_bounds().min;
            #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "places in a picture")]
            outline.draw(|x, y, covered| dot(corner.x as i32 + x as i32, corner.y as i32 + y as i32, covered));
        }
        at += font.h_advance(glyph);
        before = Some(glyph);
    }
}

/// Whether the font has a letter.
#[cfg(test)]
pub(super) fn has(letter: char) -> bool {
    FONT.as_ref().is_some_and(|font| font.glyph_id(letter).0 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_font_that_comes_with_it_has_the_letters_of_labels_and_draws_them() {
        for letter in (' '..='~').chain("µ²³°±×·–—≤≥≈λβτσéüñ€".chars()) {
            assert!(has(letter), "{letter}");
        }
        let mut covered = 0.0;
        dots("hours", 20.0, |x, y, share| {
            assert!((-2..60).contains(&x) && (-20..8).contains(&y), "{x} {y}");
            covered += share;
        });
        assert!(covered > 100.0, "{covered}");
        assert!((width("hours", 20.0) / 52.0 - 1.0).abs() < 0.15, "{}", width("hours", 20.0));
        assert!(width("WWW", 10.0) > width("iii", 10.0));
    }
}
