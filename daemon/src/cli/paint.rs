//! Colour, which is only ever a second channel: the words carry the meaning.
//!
//! Inputs: texts and what they mean. Outputs: the same texts, coloured when that is wanted. Must never
//! be the only place where a difference shows.

use comfy_table::{Attribute, Cell, Color};

/// What a text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Nothing special.
    Plain,
    /// As it should be.
    Good,
    /// Worth a look.
    Warn,
    /// Not as it should be.
    Bad,
    /// Less important.
    Dim,
    /// A heading.
    Strong,
}

/// Whether colours are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint(pub bool);

impl Paint {
    /// The text with its colour (ECMA-48 "Select Graphic Rendition"; the eight basic colours, which every
    /// terminal theme keeps readable).
    pub fn text(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "31",
            Tone::Dim => "2",
            Tone::Strong => "1",
        };
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// The text as a table's cell.
    pub fn cell(self, tone: Tone, text: impl Into<String>) -> Cell {
        let cell = Cell::new_owned(text.into());
        match tone {
            _ if !self.0 => cell,
            Tone::Plain => cell,
            Tone::Good => cell.fg(Color::DarkGreen),
            Tone::Warn => cell.fg(Color::DarkYellow),
            Tone::Bad => cell.fg(Color::DarkRed),
            Tone::Dim => cell.add_attribute(Attribute::Dim),
            Tone::Strong => cell.add_attribute(Attribute::Bold),
        }
    }
}
