//! Text, bars and curves in a part of the screen; nothing is ever drawn outside of it.

use console::measure_text_width;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

/// Bars of an eighth to a whole.
const UPWARDS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const SIDEWARDS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// One row of a part, by its number from the top; empty when there is no such row.
pub fn row(area: Rect, number: u16) -> Rect {
    let height = u16::from(number < area.height);
    Rect {
        y: area.y.saturating_add(number.min(area.height)),
        height,
        ..area
    }
}

/// What is left of a part below its first rows.
pub fn below(area: Rect, rows: u16) -> Rect {
    let rows = rows.min(area.height);
    Rect {
        y: area.y + rows,
        height: area.height - rows,
        ..area
    }
}

/// The first rows of a part.
pub fn top(area: Rect, rows: u16) -> Rect {
    Rect {
        height: rows.min(area.height),
        ..area
    }
}

/// Columns of a part, from one on, at most so many.
pub fn columns(area: Rect, from: u16, width: u16) -> Rect {
    let from = from.min(area.width);
    Rect {
        x: area.x + from,
        width: width.min(area.width - from),
        ..area
    }
}

/// Columns that a text takes.
pub fn width(text: &str) -> u16 {
    u16::try_from(measure_text_width(text)).unwrap_or(u16::MAX)
}

/// A text at the left of a row, cut with `…` when it is too long. Gives the columns used.
pub fn left(buffer: &mut Buffer, area: Rect, text: &str, style: Style) -> u16 {
    if area.is_empty() {
        return 0;
    }
    let text = console::truncate_str(text, area.width.into(), "…");
    buffer.set_stringn(area.x, area.y, &text, area.width.into(), style);
    width(&text)
}

/// Texts one after the other.
pub fn parts(buffer: &mut Buffer, area: Rect, parts: &[(String, Style)]) -> u16 {
    parts.iter().fold(0, |used, (text, style)| {
        used + left(buffer, columns(area, used, area.width), text, *style)
    })
}

/// A text at the right of a row, when it fits.
pub fn right(buffer: &mut Buffer, area: Rect, text: &str, style: Style) -> u16 {
    let wide = width(text);
    if wide > area.width {
        return 0;
    }
    left(buffer, columns(area, area.width - wide, wide), text, style)
}

/// A horizontal bar over a whole row: `part` of it filled. Eighths are drawn only where they can
/// be: a pale rest begins with the next column.
pub fn bar(buffer: &mut Buffer, area: Rect, part: f64, filled: Style, rest: Style) {
    if area.is_empty() {
        return;
    }
    let eighths = (part.clamp(0.0, 1.0) * f64::from(area.width) * 8.0).round() as usize;
    let text =
        (0..usize::from(area.width)).map(|column| match eighths.saturating_sub(column * 8) {
            0 => ('─', rest),
            some @ 1..8 => (SIDEWARDS[some - 1], filled),
            _ => ('█', filled),
        });
    for (x, (letter, style)) in (area.x..).zip(text) {
        buffer[(x, area.y)].set_char(letter).set_style(style);
    }
}

/// The same without eighths, for fonts and people that read letters: `#####-----`.
pub fn plain_bar(buffer: &mut Buffer, area: Rect, part: f64, style: Style) {
    let filled = (part.clamp(0.0, 1.0) * f64::from(area.width)).round() as usize;
    let text = "#".repeat(filled) + &"-".repeat(usize::from(area.width) - filled);
    left(buffer, area, &text, style);
}

/// Values as bars upwards from the last row of a part, the latest at the right, as many columns
/// each as fit.
pub fn curve(buffer: &mut Buffer, area: Rect, values: &[u64], slots: usize, style: Style) {
    let values = &values[values.len().saturating_sub(slots)..];
    let most = values.iter().copied().max().unwrap_or(0);
    if area.is_empty() || most == 0 {
        return;
    }
    for column in 0..usize::from(area.width) {
        // The slot of a column, counted from the right: the latest value is slot 0.
        let back = (usize::from(area.width) - 1 - column) * slots / usize::from(area.width);
        let Some(value) = values
            .len()
            .checked_sub(back + 1)
            .and_then(|i| values.get(i))
        else {
            continue;
        };
        let all = u64::from(area.height) * 8;
        let eighths = (u128::from(*value) * u128::from(all)).div_ceil(u128::from(most)) as u64;
        for up in 0..area.height {
            let letter = match eighths.saturating_sub(u64::from(up) * 8) {
                0 => continue,
                some @ 1..8 => UPWARDS[some as usize - 1],
                _ => '█',
            };
            let place = (area.x + column as u16, area.bottom() - 1 - up);
            buffer[place].set_char(letter).set_style(style);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(width: u16, height: u16, draw: impl FnOnce(&mut Buffer, Rect)) -> Vec<String> {
        let area = Rect::new(0, 0, width, height);
        let mut buffer = Buffer::empty(area);
        draw(&mut buffer, area);
        let row = |y| {
            (0..width)
                .map(|x| buffer[(x, y)].symbol())
                .collect::<String>()
        };
        (0..height).map(row).collect()
    }

    #[test]
    fn bars_have_eighths() {
        let drawn_bar =
            |part| drawn(4, 1, |b, a| bar(b, a, part, Style::new(), Style::new())).remove(0);
        assert_eq!(
            (drawn_bar(0.0), drawn_bar(0.5), drawn_bar(0.53)),
            ("────".into(), "██──".into(), "██▏─".into())
        );
        assert_eq!(
            (drawn_bar(1.0), drawn_bar(f64::NAN)),
            ("████".into(), "────".into())
        );
        let plain = |part| drawn(4, 1, |b, a| plain_bar(b, a, part, Style::new())).remove(0);
        assert_eq!((plain(0.5), plain(7.0)), ("##--".into(), "####".into()));
    }

    #[test]
    fn curves_end_at_the_right() {
        let drawn_curve =
            |values: &[u64], height| drawn(4, height, |b, a| curve(b, a, values, 4, Style::new()));
        assert_eq!(drawn_curve(&[1, 8], 1), ["  ▁█"]);
        assert_eq!(drawn_curve(&[9, 9, 0, 4, 8, 2], 2), ["  █ ", " ██▄"]);
        assert_eq!(drawn_curve(&[0, 0], 1), ["    "]);
        assert_eq!(drawn_curve(&[], 1), ["    "]);
    }

    #[test]
    fn nothing_is_drawn_outside() {
        let lines = drawn(6, 1, |b, a| {
            let part = columns(a, 1, 4);
            assert_eq!(left(b, part, "abcdefgh", Style::new()), 4);
            assert_eq!(right(b, part, "too long", Style::new()), 0);
            assert_eq!(left(b, row(a, 1), "x", Style::new()), 0);
            assert_eq!(left(b, columns(a, 9, 3), "x", Style::new()), 0);
        });
        assert_eq!(lines, [" abc… "]);
        let wide = drawn(5, 1, |b, a| {
            left(b, a, "写真写真", Style::new());
        });
        assert!(
            wide[0].starts_with('写') && wide[0].contains('…'),
            "{wide:?}"
        );
    }
}
