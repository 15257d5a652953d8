//! W2: anybody who has an inbox link sends to a device from a browser, and to nothing else.
//!
//! Siblings: each kind that a visitor may send: a text, files, a share; each word that comes back:
//! taken, declined. Each way of misusing a link: a guessed proof, letters of other kinds and without a
//! proof, the ticket of somebody else, the same letter again, after the link's end; a crowd of
//! letters. A relay without a page, one that is away while a link ends, a daemon that starts anew. The
//! relay's own rules: `relay-server/tests/relay/serve_visit.rs`; proofs and bounds:
//! `daemon/src/visitors/gate.rs`. The visitor speaks QUIC; the page's core in a browser has tests of
//! its own.

use crate::page_world::{HOST, served};
use crate::relay_world::{World, join_all};
use hither_api::{ArrivalState, MessageInfo};
use hither_proto::mail::{Content, ShareNote, SmallFile};
use hither_proto::{EntryName, RelayRefusalCode, Ticket, VisitorProof};
use hither_tests::lab::{self, Device, Run, Visitor, until};
use serde_json::Value;
use std::fs;

const PORT: u16 = 8443;
/// Words that a visitor hears.
const DECLINED: u8 = 1;
const TAKEN: u8 = 2;

fn text(words: &str) -> Content {
    Content::Text(words.into())
}

fn file(name: &str, bytes: &[u8]) -> Content {
    Content::Files(vec![SmallFile {
        name: EntryName::parse(name).unwrap(),
        mode: 0o644,
        bytes: bytes.to_vec(),
    }])
}

fn make(device: &Device, options: &[&str]) -> Value {
    let run = device.hither(&[&["inbox", "link"], options].concat());
    run.well().lines.last().unwrap().clone()
}

fn links(device: &Device) -> Vec<Value> {
    device.hither(&["inbox", "link", "list"]).well().lines
}

fn inbox(device: &Device) -> Vec<MessageInfo> {
    device.api().get("/v1/inbox").unwrap()
}

fn arrived(device: &Device, count: usize) -> Vec<MessageInfo> {
    until("messages", || {
        let all = inbox(device);
        (all.len() >= count).then_some(all)
    })
}

/// A host with a link, and a visitor on another network.
fn visited(world: &World, options: &[&str]) -> (Device, Value, Visitor) {
    let desk = world.one.device("desk");
    join_all(&[&desk], &world.relay.invitation());
    let link = make(&desk, options);
    let cafe = world.two.device("cafe");
    let visitor = Visitor::new(&cafe, link["link"].as_str().unwrap(), &world.relay.url());
    (desk, link, visitor)
}

#[test]
fn w2_somebody_without_a_device_sends_a_text_files_and_a_share() {
    lab::run(|lab| {
        let (world, _) = served(lab, PORT, |_| {});
        let options = ["--name", "wedding", "--for", "1d", "--max", "5MB"];
        let (desk, link, visitor) = visited(&world, &options);
        assert_eq!(link["told"], true, "{link}");
        let address = format!("https://{HOST}:{PORT}/i#hither-inbox1");
        assert!(link["link"].as_str().unwrap().starts_with(&address));

        let proof = visitor.proof();
        visitor
            .send(&[visitor.letter(1, text("congratulations"), proof)])
            .unwrap();
        let [came] = &arrived(&desk, 1)[..] else {
            panic!("one message");
        };
        assert_eq!(came.name, "Erna (by your link \"wedding\")");
        let from = came.visitor.clone().unwrap();
        assert_eq!(
            (from.name, from.link_name),
            ("Erna".into(), "wedding".into())
        );
        assert_eq!(came.text.as_deref(), Some("congratulations"));
        // It is in no list of devices, and nothing more is known of it.
        assert!(desk.devices().iter().all(|one| one.device != came.from));
        let (id, _) = visitor.letter(1, text("congratulations"), proof);
        assert_eq!(visitor.hears_of(id), TAKEN);

        // Files wait for a yes.
        let (letter, sealed) = visitor.letter(2, file("a.txt", b"hello"), proof);
        visitor.send(&[(letter, sealed)]).unwrap();
        let files = arrived(&desk, 2)[1].clone();
        let state = files.arrival.as_ref().map(|one| one.state);
        assert_eq!(state, Some(ArrivalState::Asked));
        let number = files.id.to_string();
        desk.hither(&["inbox", "accept", &number]).well();
        assert_eq!(visitor.hears_of(letter), TAKEN);
        let path = until("the file", || {
            let arrival = inbox(&desk)[1].arrival.clone()?;
            arrival.paths.first().cloned()
        });
        assert_eq!(fs::read(path).unwrap(), b"hello");

        // A share is fetched from the relay's store, and given back there.
        let content = noise(300_000);
        let note = visitor.upload("film.mkv", &content).unwrap();
        let (letter, sealed) = visitor.letter(3, Content::Ticket(note), proof);
        visitor.send(&[(letter, sealed)]).unwrap();
        let number = arrived(&desk, 3)[2].id.to_string();
        assert!(kept(&world) > 300_000);
        desk.hither(&["inbox", "accept", &number]).well();
        assert_eq!(visitor.hears_of(letter), TAKEN);
        let path = inbox(&desk)[2].arrival.clone().unwrap().paths[0].clone();
        assert!(fs::read(path).unwrap() == content);
        until("the relay keeps nothing", || {
            (kept(&world) == 0).then_some(())
        });

        // A declined share is given back too.
        let note = visitor.upload("other.mkv", &content[..1000]).unwrap();
        let (letter, sealed) = visitor.letter(4, Content::Ticket(note), proof);
        visitor.send(&[(letter, sealed)]).unwrap();
        let number = arrived(&desk, 4)[3].id.to_string();
        desk.hither(&["inbox", "refuse", &number]).well();
        assert_eq!(visitor.hears_of(letter), DECLINED);
        until("the relay keeps nothing", || {
            (kept(&world) == 0).then_some(())
        });

        // More than the link takes is neither kept at the relay nor here.
        let much = ShareNote {
            bytes: 6_000_000,
            ..visitor.upload("small", b"x").unwrap()
        };
        let (letter, sealed) = visitor.letter(5, Content::Ticket(much), proof);
        visitor.send(&[(letter, sealed)]).unwrap();
        assert_eq!(visitor.hears_of(letter), DECLINED);
        assert_eq!(inbox(&desk).len(), 3);

        // A rule about the link.
        desk.hither(&["receive", "--from", "link wedding", "--always"])
            .well();
        let (letter, sealed) = visitor.letter(6, file("b.txt", b"again"), proof);
        visitor.send(&[(letter, sealed)]).unwrap();
        assert_eq!(visitor.hears_of(letter), TAKEN);
        desk.hither(&["receive", "--from", "link wedding", "--never"])
            .well();
        let (letter, sealed) = visitor.letter(7, text("hello?"), proof);
        visitor.send(&[(letter, sealed)]).unwrap();
        assert_eq!(visitor.hears_of(letter), DECLINED);
    });
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut at = step(bytes as u64);
    let next = || {
        at = step(at);
        (at >> 24) as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

/// A step of a sequence that does not repeat soon (Knuth's multiplier).
const fn step(at: u64) -> u64 {
    at.wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407)
}

/// Bytes that the relay keeps for users.
fn kept(world: &World) -> u64 {
    let stats = world.relay.stats();
    stats["store"]["kept"].as_u64().unwrap()
}

#[test]
fn w2_a_link_gives_nothing_but_what_is_named() {
    lab::run(|lab| {
        let (world, _) = served(lab, PORT, |_| {});
        let (desk, _, visitor) = visited(&world, &["--name", "open"]);
        let proof = visitor.proof();
        let mut guessed = *proof.as_bytes();
        guessed[31] ^= 1;
        let other = world.two.device("other");
        let stolen = Ticket {
            owner: desk.id().parse().unwrap(),
            ..visitor.upload("x", b"x").unwrap().ticket.parse().unwrap()
        };
        let stolen = ShareNote {
            ticket: stolen.to_string(),
            name: "x".into(),
            files: 1,
            bytes: 1,
        };
        let good = visitor.letter(9, text("the only one"), proof);
        visitor
            .send(&[
                visitor.letter(1, text("guessed"), VisitorProof::new(guessed)),
                visitor.as_a_device(2, "as a device of yours"),
                visitor.body(3, "ask", true),
                visitor.body(4, "ask", false),
                visitor.body(5, "drive", true),
                visitor.body(6, "removal", true),
                visitor.body(7, "page", false),
                visitor.letter(8, Content::Ticket(stolen), proof),
                good.clone(),
                good.clone(),
            ])
            .unwrap();
        let came = arrived(&desk, 1);
        assert_eq!(came[0].text.as_deref(), Some("the only one"));
        // Somebody else who saw the proof of this visitor has none of its own.
        let thief = Visitor::new(&other, &link_of(&desk), &world.relay.url());
        thief
            .send(&[
                thief.letter(1, text("stolen"), proof),
                thief.letter(2, text("own"), thief.proof()),
            ])
            .unwrap();
        let came = arrived(&desk, 2);
        assert_eq!(came[1].text.as_deref(), Some("own"));
        assert_eq!(came.len(), 2, "{came:?}");

        // The same letter after a restart is known again.
        desk.down();
        desk.up();
        visitor.send(&[good]).unwrap();
        visitor
            .send(&[visitor.letter(10, text("later"), proof)])
            .unwrap();
        let came = arrived(&desk, 3);
        assert_eq!(came.len(), 3, "{came:?}");

        // After its end nobody comes, and what was sent before it is not taken.
        desk.down();
        visitor
            .send(&[visitor.letter(11, text("on its way"), proof)])
            .unwrap();
        world.relay.stop();
        desk.up();
        let ended = desk.hither(&["inbox", "link", "end", "1"]).well();
        assert_eq!(ended.lines[0]["told"], false, "{:?}", ended.lines);
        assert_eq!(links(&desk)[0]["left_seconds"], 0);
        world.relay.start();
        until("the relay hears of the end", || {
            links(&desk).is_empty().then_some(())
        });
        let refused = visitor.send(&[visitor.letter(12, text("too late"), proof)]);
        assert_eq!(refused, Err(RelayRefusalCode::Invitation));
        assert_eq!(inbox(&desk).len(), 3);
    });
}

fn link_of(device: &Device) -> String {
    links(device)[0]["link"].as_str().unwrap().to_owned()
}

#[test]
fn w2_a_crowd_of_letters_fills_neither_the_inbox_nor_the_outbox() {
    lab::run(|lab| {
        let (world, _) = served(lab, PORT, |relay| {
            relay.set("limits.visit_send={per_second=1000.0,burst=1000.0}");
        });
        let (desk, _, visitor) = visited(&world, &[]);
        let proof = visitor.proof();
        // Beyond 300 in an hour they count for nothing.
        let letter = |number: u8| {
            let words = format!("letter {number}");
            visitor.letter(number, text(&words), proof)
        };
        let all: Vec<_> = (0..=255).map(letter).collect();
        visitor.send(&all).unwrap();
        until("what fits", || (inbox(&desk).len() == 256).then_some(()));
        let more = Visitor::new(
            &world.two.device("more"),
            &link_of(&desk),
            &world.relay.url(),
        );
        let letter = |number: u8| more.letter(number, text("more"), more.proof());
        let all: Vec<_> = (0..100).map(letter).collect();
        more.send(&all).unwrap();
        until("what fits", || (inbox(&desk).len() == 300).then_some(()));
        // Letters of the user's own devices are not held up.
        let phone = world.two.device("phone");
        let invited = desk.hither(&["relay", "invite"]).well();
        phone.join(invited.lines[0]["url"].as_str().unwrap());
        phone.hither(&["send", "desk", "from me"]).well();
        let last = arrived(&desk, 301).pop().unwrap();
        assert_eq!(last.text.as_deref(), Some("from me"));
        let waits = desk.hither(&["outbox"]).well().lines;
        assert!(waits.len() <= 256, "{}", waits.len());
    });
}

#[test]
fn w2_a_relay_without_a_page_gives_no_link_and_says_why() {
    lab::run(|lab| {
        let world = World::new(lab);
        let desk = world.one.device("desk");
        let none = desk.hither(&["inbox", "link"]);
        assert!(none.status != 0 && message(&none).contains("has joined no relay"));
        join_all(&[&desk], &world.relay.invitation());
        let run = desk.hither(&["inbox", "link"]);
        assert!(message(&run).contains("serves no page"), "{:?}", run.lines);
        let run = desk.hither(&["pair", "--web"]);
        assert!(message(&run).contains("serves no page"), "{:?}", run.lines);
        assert!(links(&desk).is_empty());
    });
}

fn message(run: &Run) -> String {
    let last = run.lines.last().cloned().unwrap_or_default();
    last["message"].as_str().unwrap_or_default().to_owned()
}
