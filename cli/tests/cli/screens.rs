//! The screens of the main commands at terminals of 80 × 24 and of 50 columns, as they are drawn:
//! snapshots in `cli/tests/screens`, written anew with `HITHER_SCREENS=write`.
//!
//! On every screen no word is broken that would fit a line, and no colour is used that is the
//! background of a dark or a light terminal.

use crate::fake::Step::Report;
use crate::fake::{Fake, OWNER, status, transfer};
use crate::fetch::{fetched, fetching, offer};
use crate::home::{Home, ticket};
use crate::terminal::Terminal;
use hither_api::{Done, Event};
use serde_json::{Value, json};
use std::path::Path;

/// A screen that remembers which of its lines the terminal broke.
struct Screen {
    columns: usize,
    lines: Vec<Line>,
    row: usize,
    column: usize,
}

#[derive(Default, Clone)]
struct Line {
    cells: Vec<char>,
    /// It is the rest of the line before it.
    broken: bool,
}

impl Screen {
    /// Draws bytes from left to right, with the few commands that the program uses.
    fn of(drawn: &str, columns: usize) -> Self {
        let mut screen = Self {
            columns,
            lines: vec![Line::default()],
            row: 0,
            column: 0,
        };
        let mut rest = drawn.chars();
        while let Some(c) = rest.next() {
            match c {
                '\u{1b}' => {
                    let begun = rest.next();
                    assert_eq!(begun, Some('['), "a command that is not known: {drawn:?}");
                    let mut number = String::new();
                    let end = rest.by_ref().find(|c| {
                        let is_end = c.is_ascii_alphabetic();
                        if !is_end {
                            number.push(*c);
                        }
                        is_end
                    });
                    screen.obey(end.unwrap(), &number);
                }
                '\r' => screen.column = 0,
                '\n' => screen.feed(false),
                c => screen.put(c),
            }
        }
        screen
    }

    fn feed(&mut self, broken: bool) {
        (self.row, self.column) = (self.row + 1, 0);
        if self.row == self.lines.len() {
            self.lines.push(Line::default());
        }
        self.lines[self.row].broken = broken;
    }

    fn put(&mut self, c: char) {
        let width = console::measure_text_width(c.encode_utf8(&mut [0; 4]));
        if self.column + width > self.columns {
            self.feed(true);
        }
        let line = &mut self.lines[self.row].cells;
        line.resize(line.len().max(self.column + 1), ' ');
        line[self.column] = c;
        self.column += width;
    }

    fn obey(&mut self, end: char, number: &str) {
        let count = number.parse().unwrap_or(1);
        let line = &mut self.lines[self.row].cells;
        match end {
            'A' => self.row = self.row.saturating_sub(count),
            'B' => self.row = (self.row + count).min(self.lines.len() - 1),
            'K' if number == "2" => line.clear(),
            'K' => line.truncate(self.column),
            'J' => {
                line.truncate(self.column);
                self.lines.truncate(self.row + 1);
            }
            'm' => {
                for code in number.split(';').filter_map(|code| code.parse::<u8>().ok()) {
                    // Black and white are the background somewhere, and nobody's is set here.
                    let hides = matches!(code, 30 | 37 | 40..=49 | 90 | 97 | 100..=107);
                    assert!(!hides, "the colour {code} is not to be seen everywhere");
                }
            }
            'h' | 'l' => {}
            other => panic!("a command that is not known: {number}{other}"),
        }
    }

    fn text(&self) -> Vec<String> {
        let line = |line: &Line| line.cells.iter().collect::<String>().trim_end().to_owned();
        self.lines.iter().map(line).collect()
    }

    /// Words that the terminal broke although they would fit a line.
    fn broken_words(&self) -> Vec<String> {
        let text = self.text();
        let mut broken = Vec::new();
        for (place, line) in self.lines.iter().enumerate().skip(1) {
            let (before, after) = (&text[place - 1], &text[place]);
            let end = before.rsplit(' ').next().unwrap_or_default();
            let begin = after.split(' ').next().unwrap_or_default();
            let fits = (end.chars().count() + begin.chars().count()) <= self.columns;
            if line.broken && fits && !self.lines[place - 1].broken {
                broken.push(format!("{end}{begin}"));
            }
        }
        broken
    }
}

fn now() -> u64 {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs()
}

fn share(id: &str, name: &str) -> Value {
    json!({
        "share": id, "name": name, "path": format!("/home/ada/{name}"), "mine": true, "owner": OWNER, "version": 3, "files": 12,
        "bytes": 3_200_000_000_u64, "chunks": 9, "held": 9, "published": now(),
    })
}

fn giving() -> Value {
    json!({
        "direction": "giving", "share": "s", "name": "film of the summer.mkv", "device": OWNER, "device_name": "phone",
        "kind": "store", "open": false, "given": 0, "giving_rate": 0, "version": 1, "bytes": 3_000_000_000_u64,
        "total": 3_000_000_000_u64, "rate": 0, "complete": true, "times": 1, "since": now(), "done": now(), "by_store": true,
    })
}

fn message(id: u64, kind: &str) -> Value {
    json!({
        "id": id, "message": "00".repeat(16), "from": OWNER, "name": "phone", "kind": kind, "received": now(), "made": now(),
        "read": false,
    })
}

fn device(name: &str, this: bool) -> Value {
    json!({
        "device": if this { "12D3KooWmine12345678" } else { OWNER }, "short": if this { "12345678" } else { "1m8oLaPt" },
        "name": name, "this": this, "online": true, "same_network": true, "relays": ["relay.example:47447"],
        "words": "able baby cabin", "relation": "own", "last_seen": now(),
    })
}

fn ask() -> Value {
    json!({
        "ask": "3f2a91c0d4e5f60718293a4b5c6d7e8f", "device": OWNER, "name": "phone", "kind": "photo", "what": "the latest photo",
        "digest": false, "reason": "for the letter to the insurance", "state": "waiting", "made": now(), "left_seconds": 540,
    })
}

/// A daemon in which there is something of everything.
fn full(fake: &Fake) {
    let mut text = message(1, "text");
    text["text"] = json!(
        "the key is under the mat, and the cat has been fed; do not believe what it says about that"
    );
    let mut files = message(2, "files");
    files["files"] = json!([{"name": "notes of the meeting.txt", "bytes": 12_000}]);
    files["arrival"] =
        json!({"state": "arrived", "paths": ["/home/ada/Downloads/notes of the meeting.txt"]});
    let group = json!({
        "group": "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", "name": "choir", "state": "member",
        "findable": false, "members": 12, "online": 3, "shares": 4, "asking": 0, "generation": 1, "policy": "approval",
        "relay": "relay.example:47447", "invite": "hithergroup1abc",
    });
    let mut fetching = transfer("fetching");
    (fetching["rate"], fetching["devices"], fetching["started"]) =
        (json!(12_000_000), json!(2), json!(now()));
    for (call, answer) in [
        ("GET /v1/status", status()),
        (
            "GET /v1/shares",
            json!([
                share("3f2a91c0d4", "photos of the summer"),
                share("77aa11", "film.mkv")
            ]),
        ),
        ("GET /v1/catalogue", json!([])),
        ("GET /v1/transfers", json!([fetching])),
        ("GET /v1/giving", json!([giving()])),
        (
            "GET /v1/devices",
            json!([
                device("desk", true),
                device("a phone with a rather long name", false)
            ]),
        ),
        ("GET /v1/inbox", json!([text, files])),
        ("GET /v1/asks", json!({"received": [ask()], "sent": []})),
        ("GET /v1/groups", json!([group])),
        (
            "GET /v1/nearby",
            json!({"visible": "known", "words": "able baby cabin", "introductions": []}),
        ),
        (
            "POST /v1/nearby",
            json!({"visible": "everybody", "left_seconds": 600, "words": "able baby cabin", "introductions": []}),
        ),
    ] {
        fake.answers(call, answer);
    }
}

fn shared() -> Event {
    Event::Done(Done::Shared {
        link: None,
        share: "3f2a91c0d4".into(),
        ticket: ticket(),
        name: "photos of the summer".into(),
        version: 1,
        files: 12,
        bytes: 3_200_000_000,
        chunks: 9,
        excluded: 0,
        sent: Vec::new(),
        code: None,
    })
}

/// Runs a command at a terminal of some columns and 24 rows; a question is answered with yes.
fn draw(line: &str, columns: u16, script: Vec<crate::fake::Step>) -> String {
    let (home, fake) = Home::running();
    full(&fake);
    fake.plays(script);
    std::fs::create_dir(home.folder.path().join("photos")).unwrap();
    let (_, drawn) = Terminal::sized(home.hither(line), columns, 24).end();
    drawn.replace(&*home.folder.path().to_string_lossy(), "/home/ada")
}

/// Compares with the snapshot.
fn same(name: &str, columns: u16, screen: &Screen) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/screens");
    let path = folder.join(format!("{name}-{columns}.txt"));
    let text = format!("{}\n", screen.text().join("\n").trim_end());
    if std::env::var_os("HITHER_SCREENS").is_some_and(|wish| wish == "write") {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(&path, &text).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == text,
        "{name} at {columns} columns is drawn otherwise; if that is meant: HITHER_SCREENS=write\n{text}"
    );
}

#[test]
fn screens_fit_80_and_50_columns_without_a_broken_word() {
    let path = "photos";
    let commands: [(&str, String); 13] = [
        ("help", "--help".into()),
        ("share-help", "share --help".into()),
        ("share", format!("share {path} --no-qr")),
        ("fetch", format!("fetch {} --yes", ticket())),
        ("transfers", "transfers".into()),
        ("devices", "devices".into()),
        ("inbox", "inbox".into()),
        ("status", "status".into()),
        ("list", "list".into()),
        ("nearby", "nearby --no-wait".into()),
        ("asks", "asks".into()),
        ("groups", "group list".into()),
        (
            "error",
            "unshare nothing-of-that-name-is-shared-here".into(),
        ),
    ];
    for columns in [80, 50] {
        for (name, line) in &commands {
            let script = match *name {
                "share" => vec![Report(shared())],
                "fetch" => vec![
                    Report(offer()),
                    Report(fetching()),
                    Report(fetched("/home/ada/photos")),
                ],
                _ => Vec::new(),
            };
            let drawn = draw(line, columns, script);
            let screen = Screen::of(&drawn, columns.into());
            let broken = screen.broken_words();
            assert!(
                broken.is_empty(),
                "{name} at {columns}: {broken:?}\n{drawn}"
            );
            same(name, columns, &screen);
        }
    }
}
