//! The live view at a terminal.

use crate::fake::Step::{AwaitPause, Show};
use crate::fake::{Fake, OWNER, transfer};
use crate::home::Home;
use crate::terminal::Terminal;
use hither_api::{ApiError, ErrorCode};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::process::Command;

/// Shown and hidden (xterm, private mode 1049).
const OTHER_SCREEN: [&str; 2] = ["\u{1b}[?1049h", "\u{1b}[?1049l"];

fn view(name: &str) -> Value {
    let mut info = transfer("fetching");
    (info["name"], info["rate"], info["devices"]) = (json!(name), json!(118_000_000), json!(1));
    json!({
        "transfer": info, "remaining": 15, "history": [90_000_000, 118_000_000],
        "sources": [{
            "device": OWNER, "name": "laptop", "kind": "lan", "open": true, "bytes": 400, "rate": 118_000_000,
            "in_flight": 4_000_000, "rtt_ms": 0.4, "faults": 0,
        }],
        "map": {"cells": 40, "runs": [
            {"cells": 16, "state": "source", "source": 0}, {"cells": 2, "state": "in_flight", "source": 0},
            {"cells": 22, "state": "missing"},
        ]},
    })
}

fn watching(fake: &Fake, name: &str) {
    fake.answers("GET /v1/transfers", json!([view(name)["transfer"]]));
    fake.plays([Show(view(name)), AwaitPause]);
}

fn at_terminal(home: &Home, change: impl FnOnce(&mut Command)) -> Terminal {
    let mut command = home.hither("transfers --watch");
    change(&mut command);
    Terminal::controlling(&command, 80)
}

/// The terminal is as it was, and what was said last stands on its first screen.
fn is_given_back(screen: &str, last: &str) {
    let [shown, hidden] =
        OTHER_SCREEN.map(|sequence| screen.rfind(sequence).expect("another screen"));
    assert!(shown < hidden, "{screen:?}");
    assert!(
        screen[hidden..].contains("\u{1b}[?25h"),
        "the cursor is hidden: {screen:?}"
    );
    assert!(screen[hidden..].contains(last), "{last}: {screen:?}");
}

#[test]
fn a_transfer_is_watched_paused_and_left() {
    let (home, fake) = Home::running();
    watching(&fake, "film.mkv");
    let mut terminal = at_terminal(&home, |_| ());
    // Changes are drawn letter by letter: only words that were not there before come in one
    // piece.
    for text in ["118 MB/s", "laptop", "last minute", "missing"] {
        terminal.wait_for(text);
    }
    terminal.type_in("p");
    fake.wait_for("POST /v1/transfers/t1/pause");
    terminal.type_in("?");
    terminal.wait_for("choose");
    terminal.type_in("xq");
    assert!(!terminal.is_raw_at_the_end());
    let (status, screen) = terminal.end();
    assert_eq!(status.code(), Some(0), "{screen}");
    is_given_back(&screen, "");
    assert!(screen.contains("\u{1b}[38;5;33;"), "no colours: {screen:?}");
}

#[test]
fn without_colours_letters_say_who_gave_what() {
    let (home, fake) = Home::running();
    watching(&fake, "film.mkv");
    let mut terminal = at_terminal(&home, |command| {
        command.env("NO_COLOR", "1");
    });
    terminal.wait_for("AAAAAAAA");
    terminal.wait_for("laptop");
    terminal.wait_for("aa");
    terminal.type_in("\u{1b}");
    let (status, screen) = terminal.end();
    assert_eq!(status.code(), Some(0));
    assert!(!screen.contains("[38;"), "{screen:?}");
}

#[test]
fn interrupts_signals_and_errors_give_the_terminal_back() {
    let (home, fake) = Home::running();
    watching(&fake, "film.mkv");
    let mut terminal = at_terminal(&home, |_| ());
    terminal.wait_for("laptop");
    terminal.type_in("\u{3}");
    let (status, screen) = terminal.end();
    assert_eq!(status.code(), Some(130));
    is_given_back(&screen, "Stopped.");

    let terminal = at_terminal(&home, |_| ());
    terminal.wait_for("laptop");
    terminal.signal(Signal::TERM);
    let (status, screen) = terminal.end();
    assert_eq!(status.code(), Some(130));
    is_given_back(&screen, "Stopped.");

    let terminal = at_terminal(&home, |_| ());
    terminal.wait_for("laptop");
    fake.fails(
        "GET /v1/transfers",
        ApiError::new(ErrorCode::Internal, "It broke"),
    );
    let (status, screen) = terminal.end();
    assert_eq!(status.code(), Some(1));
    is_given_back(&screen, "It broke.");
}

#[test]
fn it_follows_the_size_of_the_terminal_and_cleans_names() {
    let (home, fake) = Home::running();
    watching(&fake, "a\u{1b}[9999Hb");
    let mut terminal = at_terminal(&home, |_| ());
    terminal.wait_for("a\u{fffd}[9999Hb");
    terminal.wait_for("SHARE");
    terminal.forget();
    terminal.resize(40, 12);
    terminal.wait_for("q quit");
    terminal.type_in("q");
    assert_eq!(terminal.end().0.code(), Some(0));
}

#[test]
fn one_transfer_can_be_named() {
    let (home, fake) = Home::running();
    let mut other = transfer("fetching");
    (other["transfer"], other["name"], other["path"]) =
        (json!("t2"), json!("songs"), json!("/x/songs"));
    fake.answers("GET /v1/transfers", json!([transfer("fetching"), other]));
    fake.plays([AwaitPause]);
    let ran = home.run("transfers songs --json").json();
    assert_eq!((ran.len(), &ran[0]["transfer"]), (1, &json!("t2")));
    assert_eq!(home.run("transfers --watch nothing").exit, Some(1));
    let mut terminal = Terminal::controlling(&home.hither("transfers --watch songs"), 80);
    terminal.wait_for("songs");
    terminal.type_in("q");
    let (_, screen) = terminal.end();
    assert!(!screen.contains("photos"), "{screen:?}");
    assert!(
        fake.asked().contains(&"GET /v1/transfers/t2/view".into()),
        "{:?}",
        fake.asked()
    );
}
