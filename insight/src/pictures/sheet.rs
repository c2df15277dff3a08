//! What plotters draws on: an SVG, or dots that are finer than the pixels of the picture, with letters of our own font.
//!
//! Inputs: plotters' strokes, areas and texts. Outputs: the same on the backend inside. Must never draw outside of it.
//!
//! It stands between so that widths of texts are right in both, and so that plotters' own fonts, which are one choice for everything
//! that is built with it, stay as they are for others.

use super::letters;
use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind};

type Drawn<B> = Result<(), DrawingErrorKind<<B as DrawingBackend>::ErrorType>>;

/// The backend around another.
pub struct Sheet<B> {
    inner: B,
    /// Dots for each pixel, in both directions.
    fine: i32,
    /// Whether letters are dots too.
    has_dots: bool,
}

impl<B: DrawingBackend> Sheet<B> {
    pub(super) fn of_vectors(inner: B) -> Self {
        Self { inner, fine: 1, has_dots: false }
    }

    #[allow(clippy::cast_possible_wrap, reason = "a few")]
    pub(super) fn of_dots(inner: B, fine: u32) -> Self {
        Self { inner, fine: fine as i32, has_dots: true }
    }

    fn finer(&self, (x, y): BackendCoord) -> BackendCoord {
        // The middle of a pixel, so that strokes keep their place.
        (x * self.fine + self.fine / 2, y * self.fine + self.fine / 2)
    }

    fn stroke<S: BackendStyle>(&self, style: &S) -> Stroke {
        Stroke { color: style.color(), width: style.stroke_width() * self.fine.unsigned_abs() }
    }
}

struct Stroke {
    color: BackendColor,
    width: u32,
}

impl BackendStyle for Stroke {
    fn color(&self) -> BackendColor {
        self.color
    }

    fn stroke_width(&self) -> u32 {
        self.width
    }
}

/// Size of a style as CSS has it; plotters' SVG divides by the same (plotters-svg 0.3, `draw_text`).
fn em<T: BackendTextStyle>(style: &T) -> f64 {
    style.size() / 1.24
}

impl<B: DrawingBackend> DrawingBackend for Sheet<B> {
    type ErrorType = B::ErrorType;

    fn get_size(&self) -> (u32, u32) {
        let (width, height) = self.inner.get_size();
        (width / self.fine.unsigned_abs(), height / self.fine.unsigned_abs())
    }

    fn ensure_prepared(&mut self) -> Drawn<B> {
        self.inner.ensure_prepared()
    }

    fn present(&mut self) -> Drawn<B> {
        self.inner.present()
    }

    fn draw_pixel(&mut self, point: BackendCoord, color: BackendColor) -> Drawn<B> {
        if !self.has_dots {
            return self.inner.draw_pixel(point, color);
        }
        self.draw_rect(point, point, &color, true)
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S) -> Drawn<B> {
        if self.has_dots {
            return self.draw_path([from, to], style);
        }
        self.inner.draw_line(from, to, style)
    }

    fn draw_rect<S: BackendStyle>(&mut self, a: BackendCoord, b: BackendCoord, style: &S, fill: bool) -> Drawn<B> {
        if !self.has_dots {
            return self.inner.draw_rect(a, b, style, fill);
        }
        if !fill {
            return self.draw_path([a, (b.0, a.1), b, (a.0, b.1), a], style);
        }
        let (left, top) = (a.0.min(b.0) * self.fine, a.1.min(b.1) * self.fine);
        let (right, bottom) = ((a.0.max(b.0) + 1) * self.fine - 1, (a.1.max(b.1) + 1) * self.fine - 1);
        self.inner.draw_rect((left, top), (right, bottom), &style.color(), true)
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, path: I, style: &S) -> Drawn<B> {
        let stroke = self.stroke(style);
        // A point twice in a row has no direction: plotters would make a stroke of any of it.
        let mut points: Vec<BackendCoord> = path.into_iter().map(|point| self.finer(point)).collect();
        points.dedup();
        if !self.has_dots {
            return self.inner.draw_path(points, &stroke);
        }
        for two in points.windows(2) {
            if let [from, to] = two {
                let ends = thick(*from, *to, stroke.width);
                self.inner.fill_polygon(ends, &stroke.color)?;
            }
        }
        Ok(())
    }

    fn draw_circle<S: BackendStyle>(&mut self, center: BackendCoord, radius: u32, style: &S, fill: bool) -> Drawn<B> {
        let (center, stroke) = (self.finer(center), self.stroke(style));
        self.inner.draw_circle(center, radius * self.fine.unsigned_abs(), &stroke, fill)
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, vert: I, style: &S) -> Drawn<B> {
        let points: Vec<BackendCoord> = vert.into_iter().map(|point| self.finer(point)).collect();
        self.inner.fill_polygon(points, &style.color())
    }

    fn draw_text<T: BackendTextStyle>(&mut self, text: &str, style: &T, pos: BackendCoord) -> Drawn<B> {
        if !self.has_dots {
            return self.inner.draw_text(text, style, pos);
        }
        let fine = f64::from(self.fine);
        let em = em(style) * fine;
        #[allow(clippy::cast_possible_truncation, reason = "sizes of letters")]
        let width = letters::width(text, em as f32);
        let left = match style.anchor().h_pos {
            HPos::Left => 0.0,
            HPos::Center => -width / 2.0,
            HPos::Right => -width,
        };
        // Where plotters' SVG puts the base line.
        let down = match style.anchor().v_pos {
            VPos::Top => 0.76 * em,
            VPos::Center => 0.27 * em,
            VPos::Bottom => -0.27 * em,
        };
        let (at, turned, color) = (self.finer(pos), style.transform(), style.color());
        let (right, bottom) = self.inner.get_size();
        let mut drawn = Ok(());
        #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "places in a picture")]
        letters::dots(text, em as f32, |x, y, covered| {
            let (x, y) = turned.transform(x + left.round() as i32, y + down.round() as i32);
            let dot = (at.0 + x, at.1 + y);
            let is_inside = dot.0 >= 0 && dot.1 >= 0 && dot.0 < right as i32 && dot.1 < bottom as i32;
            if is_inside && covered > 0.0 && drawn.is_ok() {
                drawn = self.inner.draw_pixel(dot, color.mix(f64::from(covered.min(1.0))));
            }
        });
        drawn
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "sizes of letters")]
    fn estimate_text_size<T: BackendTextStyle>(
        &self,
        text: &str,
        style: &T,
    ) -> Result<(u32, u32), DrawingErrorKind<Self::ErrorType>> {
        let em = em(style);
        Ok((letters::width(text, em as f32).ceil() as u32, (em * 1.1).ceil() as u32))
    }
}

/// The corners of a stroke that is so wide, a little longer than its line so that corners close.
#[allow(clippy::cast_possible_truncation, reason = "places in a picture")]
fn thick(from: BackendCoord, to: BackendCoord, width: u32) -> [BackendCoord; 4] {
    let (dx, dy) = (f64::from(to.0 - from.0), f64::from(to.1 - from.1));
    // Not `hypot`: see `dashes`.
    let (length, half) = ((dx * dx + dy * dy).sqrt().max(1.0), f64::from(width) / 2.0);
    let (along, across) =
        ((dx / length * half * 0.5, dy / length * half * 0.5), (-dy / length * half, dx / length * half));
    let corner = |point: BackendCoord, ahead: f64, side: f64| {
        let x = f64::from(point.0) + ahead * along.0 + side * across.0;
        let y = f64::from(point.1) + ahead * along.1 + side * across.1;
        (x.round() as i32, y.round() as i32)
    };
    [corner(from, -1.0, 1.0), corner(to, 1.0, 1.0), corner(to, 1.0, -1.0), corner(from, -1.0, -1.0)]
}
