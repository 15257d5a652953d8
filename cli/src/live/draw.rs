//! The whole screen: what is fetched, how far one of it is, who gives, and the map.
//!
//! From the top: a title, the list when there are several, the one that is looked at, its sources,
//! the map in all that is left, the keys. What has no room is left out from the bottom of each
//! part; nothing is drawn outside.

use super::state::LiveState;
use super::style::Palette;
use super::{canvas, map, rows};
use crate::giving;
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
pub fn draw(buffer: &mut Buffer, area: Rect, state: &LiveState) {
    if area.height == 0 || area.width == 0 {
        return;
    }
    let inner = Rect {
        x: area.x + 1,
        width: area.width.saturating_sub(2),
        ..area
    };
    title(buffer, canvas::row(inner, 0), state);
    let keys = canvas::row(inner, inner.height - 1);
    if inner.height > 3 {
        footer(buffer, keys, state);
    }
    let air = u16::from(inner.height >= AIRY);
    let mut rest = canvas::below(canvas::top(inner, inner.height.saturating_sub(1)), 1);
    if state.transfers.len() > 1 && rest.height >= 8 {
        let used = list(buffer, canvas::top(rest, rest.height / 5), state);
        rest = canvas::below(rest, used);
    }
    rest = canvas::below(rest, air);
    match state.transfer() {
        Some(transfer) => {
            // Those who fetch from here have the lowest rows, a third of all at most.
            let wanted = givings_rows(state);
            let part = wanted.min(rest.height / 3);
            let part = if part >= 2 { part + air } else { 0 };
            let upper = rest.height.saturating_sub(part);
            chosen(buffer, canvas::top(rest, upper), state, transfer, air);
            if part > 0 {
                givings(buffer, canvas::below(rest, upper + air), state);
            }
        }
        None if state.givings.is_empty() => nothing(buffer, rest, state),
        None => givings(buffer, rest, state),
    }
    if state.help {
        help(buffer, area, state.palette);
    }
}

fn title(buffer: &mut Buffer, area: Rect, state: &LiveState) {
    let used = canvas::left(buffer, area, "Hither", state.palette.strong());
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
    canvas::right(
        buffer,
        canvas::columns(area, used + 2, area.width),
        &words.join(", "),
        state.palette.dim(),
    );
}

fn footer(buffer: &mut Buffer, area: Rect, state: &LiveState) {
    match &state.message {
        Some(message) => canvas::left(buffer, area, &display_name(message), state.palette.alarm()),
        None => canvas::left(
            buffer,
            area,
            if state.transfers.len() > 1 {
                KEYS
            } else {
                FEWER_KEYS
            },
            state.palette.dim(),
        ),
    };
}

fn nothing(buffer: &mut Buffer, area: Rect, state: &LiveState) {
    if state.heard {
        canvas::left(
            buffer,
            canvas::row(area, 1),
            "Nothing is being fetched.",
            Style::new(),
        );
        canvas::left(
            buffer,
            canvas::row(area, 2),
            "Fetch something with: hither fetch TICKET",
            state.palette.dim(),
        );
    }
}

/// Rows that what is given would fill: its titles and one for each device.
fn givings_rows(state: &LiveState) -> u16 {
    match state.givings.len() {
        0 => 0,
        devices => u16::try_from(devices).unwrap_or(u16::MAX).saturating_add(1),
    }
}

/// The fetches of others from here, as a table; of those without room how many they are.
fn givings(buffer: &mut Buffer, area: Rect, state: &LiveState) {
    let rows = usize::from(area.height.saturating_sub(1));
    let all = &state.givings;
    let shown = if all.len() > rows {
        rows.saturating_sub(1)
    } else {
        all.len()
    };
    let table = giving::table(&all[..shown], crate::show::now());
    for (row, line) in (0u16..).zip(table.lines(area.width.into())) {
        let style = if row == 0 {
            state.palette.dim()
        } else {
            Style::new()
        };
        canvas::left(buffer, canvas::row(area, row), &line, style);
    }
    if shown < all.len() && rows > 0 {
        let text = format!("and {} more", count((all.len() - shown) as u64, "device"));
        let last = canvas::row(area, area.height - 1);
        canvas::left(buffer, last, &text, state.palette.dim());
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
fn list(buffer: &mut Buffer, area: Rect, state: &LiveState) -> u16 {
    let rows = usize::from(area.height.max(2)).min(state.transfers.len());
    let place = state.place().unwrap_or(0);
    let first = (place + 1).saturating_sub(rows);
    let area = Rect {
        height: rows as u16,
        ..area
    };
    for (row, transfer) in (0u16..).zip(state.transfers.iter().skip(first).take(rows)) {
        let line = canvas::row(area, row);
        let is_chosen = state.chosen() == Some(transfer.transfer.as_str());
        let (sign, style) = if is_chosen {
            ("▸ ", state.palette.strong())
        } else {
            ("  ", Style::new())
        };
        let numbers = format!("{:>14}  {:>9}", state_words(transfer), rate_of(transfer));
        let room = line.width.saturating_sub(canvas::width(&numbers) + 2);
        canvas::left(
            buffer,
            canvas::columns(line, 0, room),
            &format!("{sign}{}", name(transfer)),
            style,
        );
        canvas::right(
            buffer,
            line,
            &numbers,
            if is_chosen {
                style
            } else {
                state.palette.dim()
            },
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
fn chosen(buffer: &mut Buffer, area: Rect, state: &LiveState, transfer: &TransferInfo, air: u16) {
    let palette = state.palette;
    let view = state.view();
    heading(buffer, canvas::row(area, 0), transfer, palette);
    progress(buffer, canvas::row(area, 1), transfer, palette);
    let used = numbers(buffer, canvas::row(area, 2), transfer, view, palette);
    let mut rest = canvas::below(area, 3);
    if let (Some(reason), true) = (&transfer.reason, rest.height > 0) {
        canvas::left(
            buffer,
            canvas::row(rest, 0),
            &display_name(reason),
            palette.alarm(),
        );
        rest = canvas::below(rest, 1);
    }
    let Some(view) = view else { return };
    if area.height + 4 >= TALL {
        let rows = if area.height >= 36 { 3 } else { 2 };
        curve(buffer, canvas::top(rest, rows), view, palette);
        rest = canvas::below(rest, rows);
    } else {
        let room = canvas::columns(canvas::row(area, 2), used + 2, area.width);
        if room.width >= CURVE {
            canvas::curve(buffer, room, &view.history, MINUTE, palette.progress());
        }
    }
    rest = canvas::below(rest, air);
    if !view.sources.is_empty() && rest.height >= 2 {
        // The map has at least two fifths of what is left.
        let most = if rest.height <= 6 {
            rest.height / 2
        } else {
            rest.height * 3 / 5
        };
        let wanted = (view.sources.len() as u16).saturating_add(1);
        let part = canvas::top(rest, wanted.min(most.max(2)));
        rows::draw(
            buffer,
            part,
            &view.sources,
            |source| state.mark(&source.device),
            palette,
        );
        rest = canvas::below(rest, part.height + air);
    }
    parts(buffer, rest, state, view);
}

fn heading(buffer: &mut Buffer, area: Rect, transfer: &TransferInfo, palette: Palette) {
    let words = state_words(transfer);
    let style = match transfer.phase {
        Phase::Failed | Phase::Waiting => palette.alarm(),
        Phase::Done => palette.progress().add_modifier(Modifier::BOLD),
        _ => palette.strong(),
    };
    let room = area.width.saturating_sub(canvas::width(&words) + 2);
    let used = canvas::left(
        buffer,
        canvas::columns(area, 0, room),
        &name(transfer),
        palette.strong(),
    );
    if !transfer.path.is_empty() {
        let place = format!("to {}", display_name(&transfer.path));
        let left = canvas::columns(area, used + 2, room.saturating_sub(used + 2));
        if canvas::width(&place) <= left.width {
            canvas::left(buffer, left, &place, palette.dim());
        }
    }
    canvas::right(buffer, area, &words, style);
}

fn progress(buffer: &mut Buffer, area: Rect, transfer: &TransferInfo, palette: Palette) {
    let part = match (transfer.phase, transfer.total) {
        (Phase::Done | Phase::Following, _) => 1.0,
        (_, 0) => 0.0,
        (_, total) => transfer.bytes as f64 / total as f64,
    };
    if palette.has_colours() {
        canvas::bar(buffer, area, part, palette.progress(), palette.dim());
    } else {
        canvas::plain_bar(buffer, area, part, Style::new());
    }
}

/// How much, how fast, how long. Gives the columns used.
fn numbers(
    buffer: &mut Buffer,
    area: Rect,
    transfer: &TransferInfo,
    view: Option<&TransferView>,
    palette: Palette,
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
        texts.push(format!(
            "costs {}",
            crate::show::cost(cost, transfer.currency.as_deref())
        ));
    }
    let between = |(i, text): (usize, String)| {
        let sign = (if i > 0 { " · " } else { "" }.to_owned(), palette.dim());
        [sign, (text, Style::new())]
    };
    let texts: Vec<(String, Style)> = texts.into_iter().enumerate().flat_map(between).collect();
    canvas::parts(buffer, area, &texts)
}

/// The curve of the last minute with what it measures.
fn curve(buffer: &mut Buffer, area: Rect, view: &TransferView, palette: Palette) {
    let most = view.history.iter().copied().max().unwrap_or(0);
    if area.is_empty() || most == 0 {
        return;
    }
    let texts = ["last minute".to_owned(), format!("up to {}/s", bytes(most))];
    let wide = texts
        .iter()
        .map(|text| canvas::width(text))
        .max()
        .unwrap_or(0)
        + 2;
    if area.width < wide + CURVE {
        return canvas::curve(buffer, area, &view.history, MINUTE, palette.progress());
    }
    let from = area.height - 2.min(area.height);
    for (row, text) in (from..).zip(&texts) {
        canvas::left(buffer, canvas::row(area, row), text, palette.dim());
    }
    canvas::curve(
        buffer,
        canvas::columns(area, wide, area.width),
        &view.history,
        MINUTE,
        palette.progress(),
    );
}

/// The map with its heading.
fn parts(buffer: &mut Buffer, area: Rect, state: &LiveState, view: &TransferView) {
    if area.height < 2 {
        return;
    }
    let room = canvas::below(area, 1);
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
        canvas::left(buffer, canvas::row(area, 0), words, state.palette.dim());
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
    map::legend(buffer, canvas::row(area, 0), &cells, state.palette);
    map::draw(
        buffer,
        canvas::top(room, map::rows(cells.len(), room.width, room.height)),
        &cells,
        state.palette,
    );
}

/// A box in the middle.
fn help(buffer: &mut Buffer, area: Rect, palette: Palette) {
    let wide = HELP
        .iter()
        .map(|line| canvas::width(line))
        .max()
        .unwrap_or(0)
        + 4;
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
        let line = canvas::row(frame, row);
        match row {
            0 => {
                canvas::left(buffer, line, &edge(["╭", "╮"]), palette.dim());
            }
            _ if row + 1 == height => {
                canvas::left(buffer, line, &edge(["╰", "╯"]), palette.dim());
            }
            _ => {
                canvas::left(buffer, line, "│", palette.dim());
                canvas::right(buffer, line, "│", palette.dim());
                let text = HELP.get(usize::from(row) - 1).copied().unwrap_or_default();
                canvas::left(
                    buffer,
                    canvas::columns(line, 2, width.saturating_sub(4)),
                    text,
                    Style::new(),
                );
            }
        }
    }
}
