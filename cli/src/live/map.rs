//! The map: the data from its beginning to its end, every part in the colour of who gave it.
//!
//! With colours a place is a block, or half of one when there are more cells than places; without,
//! a letter.

use super::canvas;
use super::style::{Palette, Shade};
use hither_api::SpanMap;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

/// Fewest rows that a map takes, if there are as many.
const ROWS: u16 = 4;
/// Most columns that one cell takes: a small share needs no large map.
const COLUMNS: u32 = 2;
/// What the shades mean, apart from those of sources.
const LEGEND: [(Shade, &str); 4] = [
    (Shade::InFlight(0), "on its way"),
    (Shade::Copied, "copied here"),
    (Shade::Earlier, "fetched earlier"),
    (Shade::Missing, "missing"),
];

/// Shades of all cells. `mark`: the mark of a source, by its place in the view.
pub fn shades(map: &SpanMap, mark: impl Fn(u32) -> usize) -> Vec<Shade> {
    let most = hither_api::MAX_CELLS as usize;
    let run = |run: &hither_api::MapRun| {
        let shade = Shade::new(run.state, run.source.map_or(usize::MAX, &mark));
        std::iter::repeat_n(shade, (run.cells as usize).min(most))
    };
    map.runs.iter().flat_map(run).take(most).collect()
}

/// How many rows of so many the map wants.
pub fn rows(cells: usize, width: u16, most: u16) -> u16 {
    let wanted = (cells as u32 * COLUMNS).div_ceil(u32::from(width.max(1)));
    u16::try_from(wanted)
        .unwrap_or(u16::MAX)
        .max(ROWS)
        .min(most)
}

/// Draws the cells over a whole part of the screen, row by row.
pub fn draw(buffer: &mut Buffer, area: Rect, cells: &[Shade], palette: Palette) {
    if area.is_empty() || cells.is_empty() {
        return;
    }
    let (width, height) = (usize::from(area.width), usize::from(area.height));
    let halves = palette.has_colours() && cells.len() > width * height;
    let places = sample(cells, width * height * if halves { 2 } else { 1 });
    for (index, place) in area.positions().enumerate() {
        let (x, y) = (index % width, index / width);
        let (letter, style) = if halves {
            let (upper, lower) = (places[2 * y * width + x], places[(2 * y + 1) * width + x]);
            (
                '▀',
                Style::new()
                    .fg(palette.colour(upper))
                    .bg(palette.colour(lower)),
            )
        } else {
            palette.place(places[index])
        };
        buffer[place].set_char(letter).set_style(style);
    }
}

/// So many places out of the cells: of several cells what most of them show, or what is on its way.
fn sample(cells: &[Shade], places: usize) -> Vec<Shade> {
    let at = |place: usize| place * cells.len() / places;
    (0..places)
        .map(|place| leading(&cells[at(place)..at(place + 1).max(at(place) + 1)]))
        .collect()
}

fn leading(cells: &[Shade]) -> Shade {
    if let [only] = cells {
        return *only;
    }
    if let Some(flying) = cells
        .iter()
        .find(|shade| matches!(shade, Shade::InFlight(_)))
    {
        return *flying;
    }
    let mut sorted = cells.to_vec();
    sorted.sort_unstable();
    let runs = sorted.chunk_by(|a, b| a == b);
    runs.max_by_key(|run| run.len())
        .and_then(|run| run.first())
        .copied()
        .unwrap_or(Shade::Missing)
}

/// The heading with what shades mean, as far as they are there and the row is wide enough.
pub fn legend(buffer: &mut Buffer, area: Rect, cells: &[Shade], palette: Palette) {
    let mut used = canvas::left(buffer, area, "PARTS", palette.dim());
    for (shade, words) in LEGEND {
        let seen = |cell: &&Shade| match shade {
            Shade::InFlight(_) => matches!(cell, Shade::InFlight(_)),
            _ => **cell == shade,
        };
        let Some(seen) = cells.iter().find(seen) else {
            continue;
        };
        let room = canvas::columns(area, used + 2, area.width);
        if canvas::width(words) + 2 > room.width {
            break;
        }
        let (letter, style) = palette.sign(*seen);
        let mut sign = [0; 4];
        let sign = letter.encode_utf8(&mut sign).to_owned();
        used += 2 + canvas::parts(
            buffer,
            room,
            &[(sign, style), (format!(" {words}"), palette.dim())],
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_api::{MapRun, MapState};

    fn map(runs: &[(u32, MapState, Option<u32>)]) -> SpanMap {
        let runs: Vec<MapRun> = runs
            .iter()
            .map(|(cells, state, source)| MapRun {
                cells: *cells,
                state: *state,
                source: *source,
            })
            .collect();
        SpanMap {
            cells: runs.iter().map(|run| run.cells).sum(),
            runs,
        }
    }

    fn drawn(width: u16, height: u16, cells: &[Shade], palette: Palette) -> Vec<String> {
        let area = Rect::new(0, 0, width, height);
        let mut buffer = Buffer::empty(area);
        draw(&mut buffer, area, cells, palette);
        (0..height)
            .map(|y| (0..width).map(|x| buffer[(x, y)].symbol()).collect())
            .collect()
    }

    #[test]
    fn letters_say_who_gave_what() {
        let map = map(&[
            (2, MapState::Earlier, None),
            (2, MapState::Local, None),
            (3, MapState::Source, Some(0)),
            (1, MapState::InFlight, Some(1)),
            (4, MapState::Missing, None),
        ]);
        let cells = shades(&map, |source| source as usize);
        assert_eq!(drawn(12, 1, &cells, Palette::new(false)), ["==++AAAb····"]);
        assert_eq!(
            drawn(6, 2, &cells, Palette::new(false)),
            ["==++AA", "Ab····"]
        );
        assert_eq!(
            drawn(24, 1, &cells, Palette::new(false)),
            ["====++++AAAAAAbb········"]
        );
        // Of two cells what is on its way is seen, whatever the other is.
        assert_eq!(drawn(6, 1, &cells, Palette::new(false)), ["=+Ab··"]);
    }

    #[test]
    fn colours_take_half_blocks_when_there_are_more_cells_than_places() {
        let cells = [
            Shade::From(0),
            Shade::From(1),
            Shade::Missing,
            Shade::From(0),
        ];
        assert_eq!(drawn(4, 1, &cells, Palette::new(true)), ["████"]);
        assert_eq!(drawn(2, 1, &cells, Palette::new(true)), ["▀▀"]);
        let area = Rect::new(0, 0, 2, 1);
        let mut buffer = Buffer::empty(area);
        draw(&mut buffer, area, &cells, Palette::new(true));
        let palette = Palette::new(true);
        assert_eq!(buffer[(1, 0)].fg, palette.colour(Shade::From(1)));
        assert_eq!(buffer[(0, 0)].bg, palette.colour(Shade::Missing));
    }

    #[test]
    fn what_a_daemon_says_is_bounded() {
        let hostile = map(&[
            (u32::MAX / 2, MapState::Source, Some(u32::MAX)),
            (9, MapState::InFlight, None),
        ]);
        let cells = shades(&hostile, |_| 99);
        assert_eq!(cells.len(), hither_api::MAX_CELLS as usize);
        assert_eq!(drawn(2, 1, &cells, Palette::new(false)), ["ZZ"]);
        assert_eq!(drawn(2, 1, &[], Palette::new(false)), ["  "]);
    }

    #[test]
    fn a_small_share_has_a_small_map() {
        assert_eq!(rows(10, 100, 40), 4);
        assert_eq!(rows(1000, 100, 40), 20);
        assert_eq!(rows(4096, 60, 5), 5);
        assert_eq!(rows(5, 0, 2), 2);
    }

    #[test]
    fn the_legend_names_what_is_there() {
        let area = Rect::new(0, 0, 60, 1);
        let mut buffer = Buffer::empty(area);
        legend(
            &mut buffer,
            area,
            &[Shade::From(0), Shade::InFlight(2), Shade::Missing],
            Palette::new(false),
        );
        let text: String = (0..60).map(|x| buffer[(x, 0)].symbol()).collect();
        assert_eq!(text.trim_end(), "PARTS  c on its way  · missing");
    }
}
