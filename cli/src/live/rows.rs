//! The devices of a transfer, one a row.

use super::canvas;
use super::style::{Palette, Shade};
use crate::show::{amount, bytes, device, kind_words};
use hither_api::{SourceKind, ViewSource};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

/// Columns of a name at least and at most.
const NAME: (u16, u16) = (8, 26);
/// Columns of a bar at most.
const BAR: u16 = 40;
/// Fewest columns of a bar that says something.
const LEAST_BAR: u16 = 5;
/// Columns of a bar before there are columns that are only nice to have.
const GOOD_BAR: u16 = 20;
/// How many of the most important columns go before a good bar.
const BEFORE_BAR: u8 = 5;

/// One column: its title and what it shows of a source.
struct Field {
    title: &'static str,
    width: u16,
    text: fn(&ViewSource) -> String,
}

const HOW: Field = Field {
    title: "HOW",
    width: 6,
    text: how,
};
const RATE: Field = Field {
    title: "RATE",
    width: 9,
    text: rate,
};
const BYTES: Field = Field {
    title: "BYTES",
    width: 7,
    text: |source| bytes(source.bytes),
};
const PING: Field = Field {
    title: "PING",
    width: 7,
    text: ping,
};
const PRICE: Field = Field {
    title: "PER GIB",
    width: 7,
    text: |source| money(source.price),
};
const COST: Field = Field {
    title: "COST",
    width: 7,
    text: |source| money(source.cost),
};
const FAULTS: Field = Field {
    title: "FAULTS",
    width: 6,
    text: |s| {
        if s.faults > 0 {
            s.faults.to_string()
        } else {
            String::new()
        }
    },
};
const WAITS: Field = Field {
    title: "ASKED",
    width: 7,
    text: asked,
};

fn how(source: &ViewSource) -> String {
    let words = kind_words(source.kind);
    if source.open || source.kind == SourceKind::Local {
        words.into()
    } else {
        format!("{words}, off")
    }
}

fn rate(source: &ViewSource) -> String {
    if source.rate > 0 {
        format!("{}/s", bytes(source.rate))
    } else {
        "–".into()
    }
}

fn ping(source: &ViewSource) -> String {
    match source.rtt_ms {
        Some(ms @ ..9.95) => format!("{ms:.1} ms"),
        Some(ms @ ..10_000.0) => format!("{ms:.0} ms"),
        Some(ms) => format!("{:.0} s", ms / 1000.0),
        None => String::new(),
    }
}

fn money(units: f64) -> String {
    if units > 0.0 {
        amount(units)
    } else {
        String::new()
    }
}

fn asked(source: &ViewSource) -> String {
    if source.in_flight > 0 {
        bytes(source.in_flight)
    } else {
        String::new()
    }
}

/// The columns that say something and fit, in their order.
fn fields(sources: &[ViewSource], width: u16) -> Vec<Field> {
    let costs = sources
        .iter()
        .any(|source| source.price > 0.0 || source.cost > 0.0);
    let faults = sources.iter().any(|source| source.faults > 0);
    let longest = sources
        .iter()
        .map(|source| canvas::width(&how(source)))
        .max()
        .unwrap_or(0);
    let how = Field {
        width: longest.max(HOW.width),
        ..HOW
    };
    // By how much each is missed; the bar needs room too.
    let wanted = [
        (0, RATE, true),
        (1, BYTES, true),
        (3, FAULTS, faults),
        (4, COST, costs),
        (2, how, true),
        (5, PING, true),
        (6, PRICE, costs),
        (7, WAITS, true),
    ];
    let mut wanted: Vec<(u8, Field)> = wanted
        .into_iter()
        .filter(|w| w.2)
        .map(|(place, f, _)| (place, f))
        .collect();
    wanted.sort_by_key(|(importance, _)| *importance);
    let mut used = 2 + NAME.0 + 2;
    wanted.retain(|(importance, field)| {
        let bar = if *importance < BEFORE_BAR {
            LEAST_BAR
        } else {
            GOOD_BAR
        };
        let fits = used + field.width + 2 + bar <= width;
        used += if fits { field.width + 2 } else { 0 };
        fits
    });
    let order = [
        "HOW", "RATE", "BYTES", "COST", "PER GIB", "PING", "ASKED", "FAULTS",
    ];
    wanted.sort_by_key(|(_, field)| order.iter().position(|title| *title == field.title));
    wanted.into_iter().map(|(_, field)| field).collect()
}

/// Draws a heading and the sources under it; what has no room is summed up in the last row. `mark`:
/// that of a source.
pub fn draw(
    buffer: &mut Buffer,
    area: Rect,
    sources: &[ViewSource],
    mark: impl Fn(&ViewSource) -> usize,
    palette: Palette,
) {
    let fields = fields(sources, area.width);
    let fixed: u16 = fields.iter().map(|field| field.width + 2).sum();
    let longest = sources
        .iter()
        .map(|source| canvas::width(&name(source)))
        .max()
        .unwrap_or(0);
    let left = area.width.saturating_sub(2 + fixed + 2);
    let wide = longest
        .clamp(NAME.0, NAME.1)
        .min(left.saturating_sub(LEAST_BAR).max(NAME.0));
    let line = Line {
        fields,
        name: wide,
        bar: left.saturating_sub(wide).min(BAR),
    };
    line.head(buffer, canvas::row(area, 0), palette);
    let rows = usize::from(area.height.saturating_sub(1));
    let shown = if sources.len() > rows {
        rows.saturating_sub(1)
    } else {
        sources.len()
    };
    let all = sources
        .iter()
        .fold(0u64, |sum, source| sum.saturating_add(source.bytes));
    for (number, source) in (1u16..).zip(&sources[..shown]) {
        line.source(
            buffer,
            canvas::row(area, number),
            source,
            mark(source),
            all,
            palette,
        );
    }
    let rest = &sources[shown..];
    if !rest.is_empty() && rows > 0 {
        let (given, rate) = rest.iter().fold((0u64, 0u64), |(b, r), s| {
            (b.saturating_add(s.bytes), r.saturating_add(s.rate))
        });
        let text = format!(
            "  and {} more: {}, {}/s",
            rest.len(),
            bytes(given),
            bytes(rate)
        );
        canvas::left(
            buffer,
            canvas::row(area, area.height - 1),
            &text,
            palette.dim(),
        );
    }
}

/// What a source is called.
pub fn name(source: &ViewSource) -> String {
    match source.kind {
        SourceKind::Local => "this device".into(),
        SourceKind::Store if source.name.is_empty() => "a store".into(),
        _ => device(&source.name, &source.device),
    }
}

struct Line {
    fields: Vec<Field>,
    name: u16,
    bar: u16,
}

impl Line {
    fn head(&self, buffer: &mut Buffer, area: Rect, palette: Palette) {
        canvas::left(
            buffer,
            canvas::columns(area, 0, 2 + self.name),
            "FROM",
            palette.dim(),
        );
        self.each(area, |field, area| {
            Self::text(buffer, area, field, field.title, palette.dim());
        });
        canvas::left(buffer, self.bar_area(area), "SHARE", palette.dim());
    }

    fn source(
        &self,
        buffer: &mut Buffer,
        area: Rect,
        source: &ViewSource,
        mark: usize,
        all: u64,
        palette: Palette,
    ) {
        let quiet = !source.open && source.kind != SourceKind::Local;
        let style = if quiet { palette.dim() } else { Style::new() };
        let (letter, colour) = match source.kind {
            SourceKind::Local => palette.sign(Shade::Copied),
            _ => palette.sign(Shade::From(mark)),
        };
        canvas::left(
            buffer,
            canvas::columns(area, 0, 1),
            &letter.to_string(),
            colour,
        );
        let strong = if source.rate > 0 {
            palette.strong()
        } else {
            style
        };
        canvas::left(
            buffer,
            canvas::columns(area, 2, self.name),
            &name(source),
            strong,
        );
        self.each(area, |field, area| {
            let style = if field.title == "FAULTS" {
                palette.alarm()
            } else {
                style
            };
            Self::text(buffer, area, field, &(field.text)(source), style);
        });
        let (bar, part) = (self.bar_area(area), source.bytes as f64 / all.max(1) as f64);
        let percent = format!(" {:>3.0}%", part * 100.0);
        let length = bar.width.saturating_sub(canvas::width(&percent));
        let drawn = canvas::columns(bar, 0, (part * f64::from(length)).ceil() as u16);
        match palette.has_colours() {
            true => canvas::bar(buffer, drawn, 1.0, colour, palette.dim()),
            false => canvas::plain_bar(buffer, drawn, 1.0, colour),
        }
        if source.bytes > 0 {
            canvas::left(
                buffer,
                canvas::columns(bar, drawn.width, bar.width),
                &percent,
                style,
            );
        }
    }

    fn each(&self, area: Rect, mut draw: impl FnMut(&Field, Rect)) {
        let mut x = 2 + self.name + 2;
        for field in &self.fields {
            draw(field, canvas::columns(area, x, field.width));
            x += field.width + 2;
        }
    }

    fn bar_area(&self, area: Rect) -> Rect {
        let fixed: u16 = self.fields.iter().map(|field| field.width + 2).sum();
        canvas::columns(area, 2 + self.name + 2 + fixed, self.bar)
    }

    /// Words begin at the left, numbers end at the right.
    fn text(buffer: &mut Buffer, area: Rect, field: &Field, text: &str, style: Style) {
        if field.title == "HOW" {
            canvas::left(buffer, area, text, style);
        } else {
            canvas::right(buffer, area, text, style);
        }
    }
}
