//! What a policy did hour by hour: on spot, on demand, idle, and which work was lost.
//!
//! Inputs: rows of spans. Outputs: a picture. Must never let two kinds of span look alike in grey.

use super::frame::{Area, Axis, Hatch, LABEL, Look, check, fill, frame, letters, line};
use super::{Picture, Undrawable};
use plotters::prelude::{BLACK, Color, RGBColor, Rectangle, Text};
use plotters_backend::DrawingBackend;
use plotters_backend::text_anchor::{HPos, VPos};

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Doing {
    /// Work on a spot machine.
    Spot,
    /// Work on an on-demand machine.
    OnDemand,
    /// Starting, restoring, moving: paid for without progress.
    Changeover,
    /// Work that an interruption undid.
    Lost,
    /// Nothing, waiting.
    Idle,
}

impl Doing {
    const ALL: [Self; 5] = [Self::Spot, Self::OnDemand, Self::Changeover, Self::Lost, Self::Idle];

    fn name(self) -> &'static str {
        match self {
            Self::Spot => "spot",
            Self::OnDemand => "on demand",
            Self::Changeover => "changeover",
            Self::Lost => "work lost",
            Self::Idle => "idle",
        }
    }

    fn look(self) -> (RGBColor, Hatch) {
        match self {
            Self::Spot => (RGBColor(165, 210, 240), Hatch::None),
            Self::OnDemand => (RGBColor(0, 60, 110), Hatch::None),
            Self::Changeover => (RGBColor(200, 200, 200), Hatch::Dots),
            Self::Lost => (RGBColor(245, 170, 120), Hatch::Crossed),
            Self::Idle => (RGBColor(255, 255, 255), Hatch::None),
        }
    }
}

/// A span of one row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// Its start, hours from the beginning.
    pub from_h: f64,
    /// Its end.
    pub to_h: f64,
    /// What was done.
    pub doing: Doing,
}

/// One policy, or one machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Its spans.
    pub spans: Vec<Span>,
    /// Written behind it, for instance what it cost.
    pub remark: String,
}

/// Rows over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Gantt {
    /// Above.
    pub title: String,
    /// Below.
    pub note: String,
    /// From the top.
    pub rows: Vec<Row>,
    /// When all has to be done, hours from the beginning.
    pub deadline_h: Option<f64>,
}

/// Room for remarks, pixels.
const REMARKS: u32 = 130;

impl Picture for Gantt {
    #[allow(clippy::cast_precision_loss, reason = "rows are few")]
    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Result<(), Undrawable> {
        let spans = || self.rows.iter().flat_map(|row| &row.spans);
        check(spans().flat_map(|span| [span.from_h, span.to_h]).chain(self.deadline_h))?;
        if spans().next().is_none() || spans().any(|span| span.from_h < 0.0 || span.to_h < span.from_h) {
            return Err(Undrawable("a run needs spans, each from a moment to a later one".to_owned()));
        }
        let end = spans().map(|span| span.to_h).chain(self.deadline_h).fold(0.0, f64::max);
        let names: Vec<String> = self.rows.iter().rev().map(|row| row.name.clone()).collect();
        let (x, y) = (Axis::linear("since the start, hours", 0.0, end * 1.01), Axis::names("", &names));
        let used = Doing::ALL.into_iter().filter(|doing| spans().any(|span| span.doing == *doing));
        let mut legend: Vec<(Look, String)> = used
            .map(|doing| {
                let (colour, hatch) = doing.look();
                (Look::Area(colour, hatch), doing.name().to_owned())
            })
            .collect();
        legend.extend(self.deadline_h.map(|_| (Look::Line(1), "deadline".to_owned())));
        let has_remarks = self.rows.iter().any(|row| !row.remark.is_empty());
        let mut chart =
            frame(area, (&self.title, &self.note), &legend, (&x, &y), if has_remarks { REMARKS } else { 0 })?;
        let border = BLACK.mix(0.55).stroke_width(1);
        for (at, row) in self.rows.iter().enumerate() {
            let middle = (self.rows.len() - at) as f64 - 0.5;
            for span in &row.spans {
                let (left, top) = chart.backend_coord(&(x.place(span.from_h), middle + 0.3));
                let (right, bottom) = chart.backend_coord(&(x.place(span.to_h), middle - 0.3));
                let (colour, hatch) = span.doing.look();
                fill(area, (left, top), (right, bottom), colour, hatch)?;
                area.draw(&Rectangle::new([(left, top), (right, bottom)], border))?;
            }
            let (right, middle) = chart.backend_coord(&(end * 1.01, middle));
            area.draw(&Text::new(row.remark.clone(), (right + 10, middle), letters(LABEL, HPos::Left, VPos::Center)))?;
        }
        if let Some(deadline) = self.deadline_h {
            line(
                &mut chart,
                vec![(x.place(deadline), 0.0), (x.place(deadline), self.rows.len() as f64)],
                Look::Line(1),
            )?;
        }
        Ok(())
    }
}
