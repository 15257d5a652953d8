//! The whole screen: what is fetched, how far one of it is, who gives, and the map.
//!
//! From the top: a title, the list when there are several, the one that is looked at, its sources,
//! the map in all that is left, the keys. What has no room is left out from the bottom of each
//! part; nothing is drawn outside.

use super::ink::Ink;
use super::state::State;
use super::{map, pen, rows};
use crate::show::{bytes, count, duration, state};
use hither_api::{Phase, TransferInfo, TransferView};
use hither_proto::display_name;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

/// From this height on parts are set off by empty rows.
const AIRY: u16 = 24;
/// From this height on the curve has rows of its own.
const TALL: u16 = 18;
/// Seconds of the curve.
const MINUTE: usize = 60;
/// Fewest columns of a curve that says something.
const CURVE: u16 = 10;

const KEYS: &str = "↑↓ choose   p pause   r resume   ? help   q quit";
const FEWER_KEYS: &str = "p pause   r resume   ? help   q quit";
const HELP: [&str; 9] = [
    "↑ ↓ Tab   choose a transfer",
    "p         pause it",
    "r         let it go on",
    "q Esc     leave; transfers go on",
    "",
    "The map is the data from its beginning to its end,",
    "each part in the mark of who gave it.",
    "hither why tells the reasons.",
    "Any key closes this.",
];

/// Draws everything.
pub fn draw(buffer: &mut Buffer, area: Rect, state: &State) {
    if area.height == 0 || area.width == 0 {
        return;
    }
    let inner = Rect {
        x: area.x + 1,
        width: area.width.saturating_sub(2),
        ..area
    };
    title(buffer, pen::row(inner, 0), state);
    let keys = pen::row(inner, inner.height - 1);
    if inner.height > 3 {
        footer(buffer, keys, state);
    }
    let air = u16::from(inner.height >= AIRY);
    let mut rest = pen::below(pen::top(inner, inner.height.saturating_sub(1)), 1);
    if state.transfers.len() > 1 && rest.height >= 8 {
        let used = list(buffer, pen::top(rest, rest.height / 5), state);
        rest = pen::below(rest, used);
    }
    rest = pen::below(rest, air);
    match state.transfer() {
        Some(transfer) => chosen(buffer, rest, state, transfer, air),
        None => nothing(buffer, rest, state),
    }
    if state.help {
        help(buffer, area, state.ink);
    }
}

fn title(buffer: &mut Buffer, area: Rect, state: &State) {
    let used = pen::left(buffer, area, "Hither", state.ink.strong());
    let running = state
        .transfers
        .iter()
        .filter(|t| !super::state::is_over(t.phase))
        .count();
    let over = state.transfers.len() - running;
    let rate = state
        .transfers
        .iter()
        .fold(0u64, |sum, transfer| sum.saturating_add(transfer.rate));
    let mut words = Vec::new();
    if running > 0 {
        words.push(count(running as u64, "transfer"));
    }
    if over > 0 {
        words.push(format!("{over} ended"));
    }
    if rate > 0 {
        words.push(format!("{}/s", bytes(rate)));
    }
    pen::right(
        buffer,
        pen::columns(area, used + 2, area.width),
        &words.join(", "),
        state.ink.dim(),
    );
}

fn footer(buffer: &mut Buffer, area: Rect, state: &State) {
    match &state.message {
        Some(message) => pen::left(buffer, area, &display_name(message), state.ink.alarm()),
        None => pen::left(
            buffer,
            area,
            if state.transfers.len() > 1 {
                KEYS
            } else {
                FEWER_KEYS
            },
            state.ink.dim(),
        ),
    };
}

fn nothing(buffer: &mut Buffer, area: Rect, state: &State) {
    if state.heard {
        pen::left(
            buffer,
            pen::row(area, 1),
            "Nothing is being fetched.",
            Style::new(),
        );
        pen::left(
            buffer,
            pen::row(area, 2),
            "Fetch something with: hither fetch TICKET",
            state.ink.dim(),
        );
    }
}

/// What a transfer is called, also while its name is not known.
fn name(transfer: &TransferInfo) -> String {
    if transfer.name.is_empty() {
        "(name not known yet)".into()
    } else {
        display_name(&transfer.name)
    }
}

/// The list, the chosen one always in it. Gives the rows used.
fn list(buffer: &mut Buffer, area: Rect, state: &State) -> u16 {
    let rows = usize::from(area.height.max(2)).min(state.transfers.len());
    let place = state.place().unwrap_or(0);
    let first = (place + 1).saturating_sub(rows);
    let area = Rect {
        height: rows as u16,
        ..area
    };
    for (row, transfer) in (0u16..).zip(state.transfers.iter().skip(first).take(rows)) {
        let line = pen::row(area, row);
        let is_chosen = state.chosen() == Some(transfer.transfer.as_str());
        let (sign, style) = if is_chosen {
            ("▸ ", state.ink.strong())
        } else {
            ("  ", Style::new())
        };
        let numbers = format!("{:>14}  {:>9}", state_words(transfer), rate_of(transfer));
        let room = line.width.saturating_sub(pen::width(&numbers) + 2);
        pen::left(
            buffer,
            pen::columns(line, 0, room),
            &format!("{sign}{}", name(transfer)),
            style,
        );
        pen::right(
            buffer,
            line,
            &numbers,
            if is_chosen { style } else { state.ink.dim() },
        );
    }
    rows as u16
}

fn state_words(transfer: &TransferInfo) -> String {
    state(transfer)
}

fn rate_of(transfer: &TransferInfo) -> String {
    if transfer.rate > 0 {
        format!("{}/s", bytes(transfer.rate))
    } else {
        String::new()
    }
}

/// The transfer that is looked at.
fn chosen(buffer: &mut Buffer, area: Rect, state: &State, transfer: &TransferInfo, air: u16) {
    let ink = state.ink;
    let view = state.view();
    heading(buffer, pen::row(area, 0), transfer, ink);
    progress(buffer, pen::row(area, 1), transfer, ink);
    let used = numbers(buffer, pen::row(area, 2), transfer, view, ink);
    let mut rest = pen::below(area, 3);
    if let (Some(reason), true) = (&transfer.reason, rest.height > 0) {
        pen::left(
            buffer,
            pen::row(rest, 0),
            &display_name(reason),
            ink.alarm(),
        );
        rest = pen::below(rest, 1);
    }
    let Some(view) = view else { return };
    if area.height + 4 >= TALL {
        let rows = if area.height >= 36 { 3 } else { 2 };
        curve(buffer, pen::top(rest, rows), view, ink);
        rest = pen::below(rest, rows);
    } else {
        let room = pen::columns(pen::row(area, 2), used + 2, area.width);
        if room.width >= CURVE {
            pen::curve(buffer, room, &view.history, MINUTE, ink.progress());
        }
    }
    rest = pen::below(rest, air);
    if !view.sources.is_empty() && rest.height >= 2 {
        // The map has at least two fifths of what is left.
        let most = if rest.height <= 6 {
            rest.height / 2
        } else {
            rest.height * 3 / 5
        };
        let wanted = (view.sources.len() as u16).saturating_add(1);
        let part = pen::top(rest, wanted.min(most.max(2)));
        rows::draw(
            buffer,
            part,
            &view.sources,
            |source| state.mark(&source.device),
            ink,
        );
        rest = pen::below(rest, part.height + air);
    }
    parts(buffer, rest, state, view);
}

fn heading(buffer: &mut Buffer, area: Rect, transfer: &TransferInfo, ink: Ink) {
    let words = state_words(transfer);
    let style = match transfer.phase {
        Phase::Failed | Phase::Waiting => ink.alarm(),
        Phase::Done => ink.progress().add_modifier(Modifier::BOLD),
        _ => ink.strong(),
    };
    let room = area.width.saturating_sub(pen::width(&words) + 2);
    let used = pen::left(
        buffer,
        pen::columns(area, 0, room),
        &name(transfer),
        ink.strong(),
    );
    if !transfer.path.is_empty() {
        let place = format!("to {}", display_name(&transfer.path));
        let left = pen::columns(area, used + 2, room.saturating_sub(used + 2));
        if pen::width(&place) <= left.width {
            pen::left(buffer, left, &place, ink.dim());
        }
    }
    pen::right(buffer, area, &words, style);
}

fn progress(buffer: &mut Buffer, area: Rect, transfer: &TransferInfo, ink: Ink) {
    let part = match (transfer.phase, transfer.total) {
        (Phase::Done | Phase::Following, _) => 1.0,
        (_, 0) => 0.0,
        (_, total) => transfer.bytes as f64 / total as f64,
    };
    if ink.has_colours() {
        pen::bar(buffer, area, part, ink.progress(), ink.dim());
    } else {
        pen::plain_bar(buffer, area, part, Style::new());
    }
}

/// How much, how fast, how long. Gives the columns used.
fn numbers(
    buffer: &mut Buffer,
    area: Rect,
    transfer: &TransferInfo,
    view: Option<&TransferView>,
    ink: Ink,
) -> u16 {
    let mut texts = match transfer.total {
        0 => Vec::new(),
        total if transfer.bytes < total => {
            vec![format!("{} of {}", bytes(transfer.bytes), bytes(total))]
        }
        total => vec![bytes(total)],
    };
    if transfer.rate > 0 {
        texts.push(rate_of(transfer));
    }
    if let Some(seconds) = view
        .and_then(|view| view.remaining)
        .filter(|_| transfer.phase == Phase::Fetching)
    {
        texts.push(format!("{} left", duration(seconds)));
    }
    if transfer.devices > 0 && transfer.phase == Phase::Fetching {
        texts.push(count(transfer.devices.into(), "device"));
    }
    if transfer.phase == Phase::Done {
        texts.push(format!(
            "took {}",
            duration(transfer.seconds.round() as u64)
        ));
    }
    let cost: f64 = transfer.sources.iter().map(|source| source.cost).sum();
    if cost > 0.0 {
        texts.push(format!("costs {}", crate::show::cost(cost)));
    }
    let between = |(i, text): (usize, String)| {
        let sign = (if i > 0 { " · " } else { "" }.to_owned(), ink.dim());
        [sign, (text, Style::new())]
    };
    let texts: Vec<(String, Style)> = texts.into_iter().enumerate().flat_map(between).collect();
    pen::parts(buffer, area, &texts)
}

/// The curve of the last minute with what it measures.
fn curve(buffer: &mut Buffer, area: Rect, view: &TransferView, ink: Ink) {
    let most = view.history.iter().copied().max().unwrap_or(0);
    if area.is_empty() || most == 0 {
        return;
    }
    let texts = ["last minute".to_owned(), format!("up to {}/s", bytes(most))];
    let wide = texts.iter().map(|text| pen::width(text)).max().unwrap_or(0) + 2;
    if area.width < wide + CURVE {
        return pen::curve(buffer, area, &view.history, MINUTE, ink.progress());
    }
    let from = area.height - 2.min(area.height);
    for (row, text) in (from..).zip(&texts) {
        pen::left(buffer, pen::row(area, row), text, ink.dim());
    }
    pen::curve(
        buffer,
        pen::columns(area, wide, area.width),
        &view.history,
        MINUTE,
        ink.progress(),
    );
}

/// The map with its heading.
fn parts(buffer: &mut Buffer, area: Rect, state: &State, view: &TransferView) {
    if area.height < 2 {
        return;
    }
    let room = pen::below(area, 1);
    let Some(known) = &view.map else {
        let over = matches!(
            view.transfer.phase,
            Phase::Done | Phase::Paused | Phase::Failed
        );
        let words = if over {
            "Which part came from whom is not remembered."
        } else {
            ""
        };
        pen::left(buffer, pen::row(area, 0), words, state.ink.dim());
        return;
    };
    let device = |place: u32| {
        view.sources
            .get(place as usize)
            .map(|source| source.device.as_str())
    };
    let cells = map::shades(known, |place| {
        device(place).map_or(usize::MAX, |device| state.mark(device))
    });
    map::legend(buffer, pen::row(area, 0), &cells, state.ink);
    map::draw(
        buffer,
        pen::top(room, map::rows(cells.len(), room.width, room.height)),
        &cells,
        state.ink,
    );
}

/// A box in the middle.
fn help(buffer: &mut Buffer, area: Rect, ink: Ink) {
    let wide = HELP.iter().map(|line| pen::width(line)).max().unwrap_or(0) + 4;
    let (width, height) = (
        wide.min(area.width),
        (HELP.len() as u16 + 2).min(area.height),
    );
    let (x, y) = (
        area.x + (area.width - width) / 2,
        area.y + (area.height - height) / 2,
    );
    let frame = Rect {
        x,
        y,
        width,
        height,
    };
    for place in frame.positions() {
        buffer[place].reset();
    }
    let edge = |ends: [&str; 2]| {
        format!(
            "{}{}{}",
            ends[0],
            "─".repeat(usize::from(width.saturating_sub(2))),
            ends[1]
        )
    };
    for row in 0..height {
        let line = pen::row(frame, row);
        match row {
            0 => {
                pen::left(buffer, line, &edge(["╭", "╮"]), ink.dim());
            }
            _ if row + 1 == height => {
                pen::left(buffer, line, &edge(["╰", "╯"]), ink.dim());
            }
            _ => {
                pen::left(buffer, line, "│", ink.dim());
                pen::right(buffer, line, "│", ink.dim());
                let text = HELP.get(usize::from(row) - 1).copied().unwrap_or_default();
                pen::left(
                    buffer,
                    pen::columns(line, 2, width.saturating_sub(4)),
                    text,
                    Style::new(),
                );
            }
        }
    }
}
