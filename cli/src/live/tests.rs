//! What people see, at every size, with and without colours.

use super::draw::draw;
use super::samples::{source, transfer, view};
use super::state::LiveState;
use super::style::Palette;
use hither_api::{Phase, SourceKind, TransferInfo, TransferView};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::Color;

fn screen(state: &LiveState, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal
        .draw(|frame| {
            let area = frame.area();
            draw(frame.buffer_mut(), area, state);
        })
        .unwrap();
    terminal.backend().buffer().clone()
}

fn lines(state: &LiveState, width: u16, height: u16) -> Vec<String> {
    let buffer = screen(state, width, height);
    let line = |y| {
        (0..width)
            .map(|x| buffer[(x, y)].symbol())
            .collect::<String>()
    };
    (0..height).map(line).collect()
}

fn fetching(colours: bool) -> LiveState {
    looking_at(view("a"), colours)
}

fn looking_at(view: TransferView, colours: bool) -> LiveState {
    let mut state = LiveState::new(Palette::new(colours), None);
    state.list(vec![view.transfer.clone()]);
    state.look(view);
    state
}

#[test]
fn a_small_terminal_shows_all_that_matters() {
    let lines = lines(&fetching(false), 60, 15);
    let all = lines.join("\n");
    assert!(
        lines[1].contains("film-a.mkv") && lines[1].contains("fetching 40%"),
        "{all}"
    );
    assert!(lines[2].contains("#####-----"), "{all}");
    assert!(
        lines[3].contains("1.2 GB of 3 GB · 118 MB/s · 15 s left"),
        "{all}"
    );
    assert!(
        all.contains("A laptop-2") && all.contains("B phone"),
        "{all}"
    );
    assert!(
        all.contains("PARTS") && lines.iter().any(|line| line.contains("AAAA")),
        "{all}"
    );
    assert!(lines.iter().any(|line| line.contains("····")), "{all}");
    assert!(
        lines[14].contains("p pause") && lines[14].contains("q quit"),
        "{all}"
    );
}

#[test]
fn a_large_terminal_shows_everything() {
    let lines = lines(&fetching(false), 200, 60);
    let all = lines.join("\n");
    for text in [
        "to /home/ada/film-a.mkv",
        "last minute",
        "up to 117 MB/s",
        "a store",
        "this device",
        "PER GIB",
        "0.09",
        "0.012",
    ] {
        assert!(all.contains(text), "{text}: {all}");
    }
    for text in [
        "on its way",
        "copied here",
        "fetched earlier",
        "missing",
        "31 ms",
        "FAULTS",
        "same network",
    ] {
        assert!(all.contains(text), "{text}: {all}");
    }
    for letters in ["====", "++++", "aa", "bb", "CCC", "····"] {
        assert!(
            lines.iter().skip(15).any(|line| line.contains(letters)),
            "{letters}: {all}"
        );
    }
}

#[test]
fn no_size_is_too_small_or_too_odd() {
    let mut help = fetching(true);
    help.help = true;
    let waiting = looking_at(
        TransferView {
            map: None,
            sources: Vec::new(),
            history: Vec::new(),
            ..view("a")
        },
        true,
    );
    let empty = LiveState::new(Palette::new(true), None);
    for state in [&fetching(true), &fetching(false), &help, &waiting, &empty] {
        for width in [1, 2, 3, 5, 9, 20, 33, 60, 79, 120, 300] {
            for height in [1, 2, 3, 4, 5, 7, 10, 15, 24, 61] {
                screen(state, width, height);
            }
        }
    }
}

#[test]
fn colours_are_those_of_the_sources_and_without_them_there_are_none() {
    let palette = Palette::new(true);
    let colour = palette.colour(super::style::Shade::From(0));
    let used = |state: &LiveState| -> Vec<Color> {
        let buffer = screen(state, 100, 40);
        buffer
            .content()
            .iter()
            .flat_map(|cell| [cell.fg, cell.bg])
            .collect()
    };
    assert!(used(&fetching(true)).contains(&colour));
    assert!(
        used(&fetching(false))
            .iter()
            .all(|colour| *colour == Color::Reset)
    );
}

#[test]
fn hostile_names_do_not_reach_the_screen() {
    let mut hostile = view("a");
    hostile.transfer.name = "a\u{1b}[2Jb\u{202e}c\n".into();
    hostile.transfer.path = "/x/\u{1b}]0;y\u{7}".into();
    hostile.transfer.reason = Some("\u{1b}[31mred".into());
    hostile
        .sources
        .push(source("\u{1b}[1mbold\r", SourceKind::Lan, 77));
    for symbol in screen(&looking_at(hostile, true), 120, 40)
        .content()
        .iter()
        .map(|cell| cell.symbol())
    {
        assert!(
            !symbol.contains(['\u{1b}', '\u{202e}', '\u{7}', '\r', '\n']),
            "{symbol:?}"
        );
    }
}

#[test]
fn no_number_is_too_large() {
    let mut hostile = view("a");
    for source in &mut hostile.sources {
        (source.bytes, source.rate, source.in_flight, source.faults) =
            (u64::MAX, u64::MAX, u64::MAX, u64::MAX);
        (source.rtt_ms, source.price, source.cost) = (Some(f64::MAX), f64::INFINITY, f64::NAN);
    }
    hostile.history = vec![u64::MAX; 60];
    (
        hostile.transfer.bytes,
        hostile.transfer.total,
        hostile.transfer.rate,
    ) = (u64::MAX, 1, u64::MAX);
    hostile.transfer.ended = Some(u64::MAX);
    let mut state = LiveState::new(Palette::new(true), None);
    state.list(vec![
        hostile.transfer.clone(),
        TransferInfo {
            transfer: "b".into(),
            ..hostile.transfer.clone()
        },
    ]);
    state.look(hostile);
    for (width, height) in [(60, 15), (120, 40)] {
        screen(&state, width, height);
    }
}

#[test]
fn several_transfers_are_a_list_and_the_chosen_one_is_in_it() {
    let mut state = LiveState::new(Palette::new(false), None);
    state.list(
        (0..30)
            .map(|n| transfer(&format!("t{n:02}"), Phase::Fetching, n))
            .collect(),
    );
    for _ in 0..20 {
        state.key(crossterm::event::KeyCode::Down.into());
    }
    let all = lines(&state, 80, 24);
    assert!(
        all.iter().any(|line| line.contains("▸ film-t09.mkv")),
        "{}",
        all.join("\n")
    );
    assert!(all[0].contains("30 transfers, 3.5 GB/s"), "{}", all[0]);
}

#[test]
fn many_sources_are_summed_up() {
    let mut many = view("a");
    many.sources = (0..40)
        .map(|n| source(&format!("d{n}"), SourceKind::Lan, 1_000_000))
        .collect();
    let all = lines(&looking_at(many, true), 80, 24).join("\n");
    assert!(all.contains(" more: ") && all.contains("PARTS"), "{all}");
}

#[test]
fn what_ended_stays_and_says_how_long_it_took() {
    let mut done = view("a");
    done.transfer.phase = Phase::Done;
    (done.transfer.bytes, done.transfer.rate, done.transfer.ended) =
        (done.transfer.total, 0, Some(134));
    done.transfer.seconds = 125.2; // Pauses are not among them.
    let all = lines(&looking_at(done.clone(), false), 80, 24).join("\n");
    assert!(
        all.contains("3 GB · took 2 min 5 s") && all.contains("AAAA"),
        "{all}"
    );
    done.map = None;
    let all = lines(&looking_at(done, false), 80, 24).join("\n");
    assert!(all.contains("not remembered"), "{all}");
}

#[test]
fn help_explains_the_keys() {
    let mut state = fetching(true);
    state.help = true;
    let all = lines(&state, 60, 15).join("\n");
    assert!(
        all.contains("choose a transfer") && all.contains("Any key closes this."),
        "{all}"
    );
}

#[test]
fn who_fetches_from_here_is_shown_below_what_is_fetched() {
    use crate::giving::tests::{complete, giving};
    let mut both = fetching(false);
    both.give(vec![giving("phone"), giving("desk"), complete("laptop")]);
    let wide = lines(&both, 80, 24);
    let all = wide.join("\n");
    let heading = wide
        .iter()
        .position(|line| line.contains("GIVING"))
        .unwrap();
    assert!(all.contains("film-a.mkv") && all.contains("PARTS"), "{all}");
    assert_eq!(
        wide[heading..heading + 3]
            .iter()
            .map(|line| line.trim_end())
            .collect::<Vec<_>>(),
        [
            " GIVING    TO     STATE          GIVEN      RATE  LEFT  HOW",
            " film.mkv  phone  fetching 40%  700 MB  118 MB/s  15 s  same network",
            " film.mkv  desk   fetching 40%  700 MB  118 MB/s  15 s  same network",
        ],
        "{all}"
    );
    assert!(
        !all.contains("laptop  "),
        "who has it all makes room: {all}"
    );
    let narrow = lines(&both, 50, 24);
    let all = narrow.join("\n");
    assert!(
        narrow
            .iter()
            .any(|line| line.contains("phone") && line.contains("fetching 40%")),
        "{all}"
    );
    // Nothing is fetched here: what was given stays to be seen.
    let mut only = LiveState::new(Palette::new(false), None);
    only.list(Vec::new());
    only.give((0..40).map(|n| complete(&format!("device-{n}"))).collect());
    let all = lines(&only, 80, 24).join("\n");
    assert!(
        all.contains("device-7") && all.contains(" more") && !all.contains("Nothing"),
        "{all}"
    );
    for (width, height) in [(1, 1), (5, 9), (33, 7), (80, 10), (300, 61)] {
        screen(&only, width, height);
        screen(&both, width, height);
    }
}
