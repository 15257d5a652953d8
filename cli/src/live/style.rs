//! What everything is drawn with: colours, or letters where there are none.
//!
//! The colours are those of the 256-colour palette that do not depend on the user's scheme, chosen
//! to be told apart on dark and on light ground.

use hither_api::MapState;
use ratatui::style::{Color, Modifier, Style};

/// Sources that have a mark of their own; all others share one.
pub const MARKS: usize = 10;

/// Colours of sources: of what they gave, and of what is on its way from them.
const COLOURS: [(u8, u8); MARKS] = [
    (33, 117),  // blue
    (208, 223), // orange
    (71, 157),  // green
    (170, 225), // magenta
    (178, 229), // gold
    (37, 159),  // cyan
    (203, 224), // red
    (99, 189),  // violet
    (138, 252), // rose
    (106, 193), // olive
];
/// Everybody else.
const OTHERS: (u8, u8) = (247, 255);
const EARLIER: u8 = 66;
const COPIED: u8 = 140;
const MISSING: u8 = 238;

/// What a place of the map shows. The number is a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shade {
    /// It is missing.
    Missing,
    /// It was here before this run.
    Earlier,
    /// It was copied on this device.
    Copied,
    /// It came from a source.
    From(usize),
    /// It is on its way from a source.
    InFlight(usize),
}

impl Shade {
    /// What a run of cells shows, given the mark of its source.
    pub const fn new(state: MapState, mark: usize) -> Self {
        match state {
            MapState::Missing => Self::Missing,
            MapState::Earlier => Self::Earlier,
            MapState::Local => Self::Copied,
            MapState::Source => Self::From(mark),
            MapState::InFlight => Self::InFlight(mark),
        }
    }
}

/// How to draw.
#[derive(Debug, Clone, Copy)]
pub struct Palette {
    colours: bool,
}

impl Palette {
    /// With or without colours.
    pub const fn new(colours: bool) -> Self {
        Self { colours }
    }

    /// Whether there are colours.
    pub const fn has_colours(self) -> bool {
        self.colours
    }

    /// The colour of a shade.
    pub fn colour(self, shade: Shade) -> Color {
        let pair = |mark: usize| COLOURS.get(mark).copied().unwrap_or(OTHERS);
        Color::Indexed(match shade {
            Shade::Missing => MISSING,
            Shade::Earlier => EARLIER,
            Shade::Copied => COPIED,
            Shade::From(mark) => pair(mark).0,
            Shade::InFlight(mark) => pair(mark).1,
        })
    }

    /// One place of the map by itself: with colours a block, else a letter. Upper case is here,
    /// lower case on its way.
    pub fn place(self, shade: Shade) -> (char, Style) {
        if !self.colours {
            return (
                letter(shade),
                if shade == Shade::Missing {
                    self.dim()
                } else {
                    Style::new()
                },
            );
        }
        let block = match shade {
            Shade::InFlight(_) => '▒',
            _ => '█',
        };
        (block, Style::new().fg(self.colour(shade)))
    }

    /// A shade beside words.
    pub fn sign(self, shade: Shade) -> (char, Style) {
        match self.place(shade) {
            ('█', style) => ('■', style),
            other => other,
        }
    }

    /// What matters.
    pub fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// What is only said in passing.
    pub fn dim(self) -> Style {
        if self.colours {
            Style::new().fg(Color::Indexed(244))
        } else {
            Style::new().add_modifier(Modifier::DIM)
        }
    }

    /// What the user should look at.
    pub fn alarm(self) -> Style {
        if self.colours {
            Style::new().fg(Color::Indexed(208))
        } else {
            self.strong()
        }
    }

    /// Progress.
    pub fn progress(self) -> Style {
        if self.colours {
            Style::new().fg(Color::Indexed(37))
        } else {
            Style::new()
        }
    }
}

fn letter(shade: Shade) -> char {
    let nth = |first: u8, mark: usize, other: char| {
        if mark < MARKS {
            char::from(first + mark as u8)
        } else {
            other
        }
    };
    match shade {
        Shade::Missing => '·',
        Shade::Earlier => '=',
        Shade::Copied => '+',
        Shade::From(mark) => nth(b'A', mark, 'Z'),
        Shade::InFlight(mark) => nth(b'a', mark, 'z'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn shades() -> Vec<Shade> {
        let marks = (0..=MARKS).flat_map(|mark| [Shade::From(mark), Shade::InFlight(mark)]);
        [Shade::Missing, Shade::Earlier, Shade::Copied]
            .into_iter()
            .chain(marks)
            .collect()
    }

    #[test]
    fn nothing_looks_like_anything_else() {
        let letters: BTreeSet<char> = shades()
            .into_iter()
            .map(|shade| Palette::new(false).place(shade).0)
            .collect();
        assert_eq!(letters.len(), shades().len());
        let colours: BTreeSet<String> = shades()
            .into_iter()
            .map(|shade| format!("{:?}", Palette::new(true).colour(shade)))
            .collect();
        assert_eq!(colours.len(), shades().len());
    }

    #[test]
    fn without_colours_there_are_none() {
        for shade in shades() {
            assert_eq!(Palette::new(false).place(shade).1.fg, None);
        }
        for style in [
            Palette::new(false).dim(),
            Palette::new(false).alarm(),
            Palette::new(false).progress(),
        ] {
            assert_eq!((style.fg, style.bg), (None, None));
        }
    }
}
