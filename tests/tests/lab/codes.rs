//! Codes of three words: what they are good for, and what an attacker can try.
//!
//! | attempt | test |
//! |---|---|
//! | guessing online; two readers of one code; a code that is spent | `p3_a_wrong_word_spends_the_code_and_both_sides_hear_of_it`, `p3_a_code_is_good_for_one_device` |
//! | an expired code | `p3_a_code_that_nobody_uses_is_over` |
//! | a device in the middle; others that announce the word; a flood of words | `p3_a_device_in_the_middle_gets_nothing`, `p3_others_that_announce_the_same_word_cost_one_attempt_each` |
//! | a hostile device that shows the code | `p3_what_a_hostile_device_gives_is_refused` |
//! | hostile devices that enter codes: garbage, silence, a thousand streams | `p3_a_crowd_of_streams_keeps_nobody_out` |
//! | guessing offline, replay, every field of the transcript | `proto-spec/src/code/tests.rs` |

use crate::common::pair;
use crate::relay_world::World;
use hither_api::{AnswerCode, DeviceInfo, DeviceRelation, Done, ErrorCode, Event};
use hither_proto::{CodeKind, CodeMessage, CodeRefusal, SpokenCode};
use hither_tests::lab::{
    self, Device, Impostor, Joiner, Lab, MIB, Plays, Relay, Running, Tree, fill, until,
};
use std::path::Path;
use std::time::Instant;

/// A share whose code is shown, with the code.
fn show(desk: &Device, file: &Path) -> (Running, SpokenCode) {
    let mut shown = desk.begin(&["share", file.to_str().unwrap(), "--code"]);
    let code = code_of(&mut shown);
    (shown, code)
}

fn code_of(shown: &mut Running) -> SpokenCode {
    shown.line("a code", |line| {
        let code = line["code"].as_str().filter(|_| line["event"] == "code")?;
        Some(code.parse().unwrap())
    })
}

/// Fetches by a code into `got`.
fn fetch(device: &Device, code: SpokenCode) -> lab::Run {
    let into = device.path("got");
    device.hither(&[
        "fetch",
        &code.to_string(),
        "--yes",
        "-o",
        into.to_str().unwrap(),
    ])
}

/// A code with the same first word and other ones.
fn other(code: SpokenCode) -> SpokenCode {
    let [first, second, third] = code.words();
    let other = format!("{first}-{third}-{second}");
    if second == third {
        format!("{first}-zoo-able").parse().unwrap()
    } else {
        other.parse().unwrap()
    }
}

fn at(device: &Device) -> String {
    let port = device.status().udp_port.expect("QUIC");
    format!("{}:{port}", device.cable.address())
}

#[test]
fn p3_three_words_fetch_a_share_on_a_network_without_a_relay() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let file = fill(desk.path("film.mkv"), 1, 4 * MIB);
        laptop.up();
        let (shown, code) = show(&desk, &file);
        let begun = Instant::now();
        let fetched = fetch(&laptop, code);
        let words = fetched
            .lines
            .iter()
            .find_map(|line| line["words"].as_str().map(ToOwned::to_owned))
            .expect("words on the screen");
        fetched.fetched();
        println!("fetched by three words in {:.1?}", begun.elapsed());
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
        let run = shown.finish().well();
        let done = run.lines.last().unwrap();
        assert_eq!(done["code"].as_str(), Some(code.to_string().as_str()));
        assert!(done["ticket"].as_str().is_some() && done["share"].as_str().is_some());
        let taken = run.lines.iter().find(|line| line["event"] == "code_met");
        let taken = taken.expect("who took it");
        assert_eq!(taken["device"].as_str(), Some(laptop.id().as_str()));
        assert_eq!(taken["words"].as_str(), Some(words.as_str()));
        assert_eq!(
            desk.hither(&["list"]).well().lines.len(),
            1,
            "it stays shared"
        );
    });
}

#[test]
fn p12_two_commands_and_three_words_lead_to_the_first_received_file() {
    lab::run(|lab| {
        // No home, no daemon, no relay, nothing that was said before.
        let (desk, laptop) = (lab.device("desk"), lab.device("laptop"));
        assert!(!desk.home().exists() && !laptop.home().exists());
        let file = fill(desk.path("film.mkv"), 1, 4 * MIB);
        let begun = Instant::now();
        let (shown, code) = show(&desk, &file);
        let words = code.to_string();
        assert_eq!(words.split('-').count(), 3, "{words}");
        // As it is said, with blanks.
        let said = words.replace('-', " ");
        let into = laptop.path("");
        let line: Vec<&str> = ["fetch"].into_iter().chain(said.split(' ')).collect();
        let fetched =
            laptop.hither(&[&line[..], &["--yes", "-o", into.to_str().unwrap()]].concat());
        fetched.well();
        println!("from nothing to the file: {:.1?}", begun.elapsed());
        Tree::of(&file).assert_same(&Tree::of(laptop.path("film.mkv")));
        shown.finish().well();
    });
}

#[test]
fn p3_a_wrong_word_spends_the_code_and_both_sides_hear_of_it() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let file = fill(desk.path("film.mkv"), 1, MIB);
        laptop.up();
        let (shown, code) = show(&desk, &file);
        let error = fetch(&laptop, other(code)).failed(4);
        assert_eq!(error.code, ErrorCode::Refused, "{error:?}");
        let told = shown.finish().failed(4);
        assert!(told.message.contains("wrong code"), "{told:?}");
        assert!(told.hint.contains("stays shared"), "{told:?}");
        // The right words are of no use any more.
        let error = fetch(&laptop, code).failed(4);
        assert!(error.hint.contains("new one"), "{error:?}");
        assert!(!laptop.path("got/film.mkv").exists());
        assert_eq!(
            desk.hither(&["list"]).well().lines.len(),
            1,
            "it stays shared"
        );
        // A mistyped word reaches nobody.
        let misspelt = laptop.hither(&["fetch", "abandno-zoo-salmon", "--yes"]);
        let error = misspelt.failed(2);
        assert!(error.message.contains("\"abandon\""), "{error:?}");
        // Nobody shows such a code.
        let nobody = laptop.hither(&["fetch", "zoo-zoo-zoo", "--yes", "--wait", "2s"]);
        assert_eq!(nobody.failed(3).code, ErrorCode::NoHolder);
    });
}

#[test]
fn p3_a_code_is_good_for_one_device() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let phone = lab.device("phone");
        let file = fill(desk.path("film.mkv"), 1, MIB);
        laptop.up();
        phone.up();
        let (shown, code) = show(&desk, &file);
        fetch(&laptop, code).fetched();
        shown.finish().well();
        fetch(&phone, code).failed(4);
        // A code for a share pairs nobody, and stays good.
        let (shown, code) = show(&desk, &file);
        let wrong = phone.hither(&["pair", &code.to_string()]).failed(2);
        assert!(wrong.hint.contains("hither fetch"), "{wrong:?}");
        fetch(&phone, code).fetched();
        shown.finish().well();
    });
}

#[test]
fn p3_a_code_that_nobody_uses_is_over() {
    lab::run(|lab| {
        let (mut desk, laptop) = pair(lab);
        desk.set("code.expires", "4s");
        let file = fill(desk.path("film.mkv"), 1, MIB);
        laptop.up();
        let (shown, code) = show(&desk, &file);
        let over = shown.finish().failed(4);
        assert!(over.message.contains("in time"), "{over:?}");
        let late = laptop.hither(&["fetch", &code.to_string(), "--yes", "--wait", "2s"]);
        // Nobody shows it where word of its end has come already; else it is refused.
        assert!([3, 4].contains(&late.status), "{:?}", late.lines.last());
        // Ctrl-C ends it too.
        let (shown, code) = show(&desk, &file);
        shown.interrupt();
        assert_eq!(shown.finish().status, 130);
        let late = laptop.hither(&["fetch", &code.to_string(), "--yes", "--wait", "2s"]);
        assert!([3, 4].contains(&late.status), "{:?}", late.lines.last());
        assert_eq!(
            desk.hither(&["list"]).well().lines.len(),
            1,
            "it stays shared"
        );
    });
}

#[test]
fn p3_a_device_in_the_middle_gets_nothing() {
    lab::run(|lab| {
        let (mut desk, laptop) = pair(lab);
        let place = lab.device("corner");
        // The one in the middle is all that the laptop sees.
        desk.set("discovery", "false");
        let file = fill(desk.path("film.mkv"), 1, MIB);
        laptop.up();
        let (shown, code) = show(&desk, &file);
        let real = desk.id().parse().unwrap();
        let plays = Plays::Middle(real, at(&desk).parse().unwrap());
        let middle = Impostor::start(&place, code.nameplate(), plays);
        let error = fetch(&laptop, code).failed(4);
        assert_eq!(error.code, ErrorCode::Refused, "{error:?}");
        let told = shown.finish().failed(4);
        assert!(told.message.contains("wrong code"), "{told:?}");
        assert!(told.message.contains(&middle.id.short()), "{told:?}");
        assert_eq!((middle.asked(), middle.believed()), (1, 0));
        assert!(!laptop.path("got/film.mkv").exists());
    });
}

#[test]
fn p3_others_that_announce_the_same_word_cost_one_attempt_each() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let places: Vec<Device> = ["corner", "hall"].map(|name| lab.device(name)).into();
        let file = fill(desk.path("film.mkv"), 1, MIB);
        laptop.up();
        let (shown, code) = show(&desk, &file);
        let liars: Vec<Impostor> = places
            .iter()
            .map(|place| Impostor::start(place, code.nameplate(), Plays::Guesses(other(code))))
            .collect();
        laptop.sees(3);
        let fetched = fetch(&laptop, code);
        fetched.fetched();
        shown.finish().well();
        let asked: usize = liars.iter().map(Impostor::asked).sum();
        println!("{asked} of 2 devices with the same first word were asked before");
        assert!(asked <= 2);
        assert!(liars.iter().all(|liar| liar.believed() == 0));
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
    });
}

#[test]
fn p3_what_a_hostile_device_gives_is_refused() {
    lab::run(|lab| {
        let (_, laptop) = pair(lab);
        let place = lab.device("corner");
        laptop.up();
        let code: SpokenCode = "able-baby-cabin".parse().unwrap();
        // A ticket that is none, nothing at all, and something for another purpose, each sealed.
        let malformed = [
            [&[0x0a, 8][..], b"hither1x"].concat(),
            vec![0xff; 1000],
            vec![0x22, 0],
        ];
        for gift in malformed {
            let plays = Plays::Gives(code, gift);
            let hostile = Impostor::start(&place, code.nameplate(), plays);
            let error = fetch(&laptop, code).failed(4);
            assert_eq!(error.code, ErrorCode::HostileShare, "{error:?}");
            assert_eq!(hostile.believed(), 1);
        }
        assert!(!laptop.log().contains("panicked"), "a task has died");
    });
}

#[test]
fn p3_a_crowd_of_streams_keeps_nobody_out() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let place = lab.device("corner");
        let file = fill(desk.path("film.mkv"), 1, MIB);
        laptop.up();
        let (shown, code) = show(&desk, &file);
        let joiner = Joiner::new(&place, &desk.id(), &at(&desk));
        let opened = joiner.crowds(1000, || {
            fetch(&laptop, code).fetched();
        });
        println!("{opened} streams of one device");
        assert!(opened > 100, "{opened}");
        shown.finish().well();
        // A name that is no code's, and the right name with wrong words.
        let unknown = joiner.guesses("zoo-zoo-zoo".parse().unwrap(), CodeKind::Share);
        assert_eq!(unknown, Some(CodeMessage::Refused(CodeRefusal::Spent)));
        let (shown, code) = show(&desk, &file);
        let wrong = joiner.guesses(other(code), CodeKind::Share);
        assert_eq!(wrong, Some(CodeMessage::Refused(CodeRefusal::Spent)));
        shown.finish().failed(4);
        let again = joiner.guesses(code, CodeKind::Share);
        assert_eq!(again, Some(CodeMessage::Refused(CodeRefusal::Spent)));
        assert!(!desk.log().contains("panicked"), "a task has died");
    });
}

/// Shows a code for pairing, enters it at the other device and answers what is asked.
fn pair_up(desk: &Device, laptop: &Device, yes: bool) -> (lab::Run, lab::Run) {
    let mut shown = desk.begin(&["pair"]);
    let code = code_of(&mut shown);
    let joining = laptop.begin(&["pair", &code.to_string()]);
    let met = shown.wait_for("the question", |event| match event {
        Event::CodeMet(met) => Some(met.clone()),
        _ => None,
    });
    assert_eq!(
        (met.name.as_str(), met.device),
        (laptop.name.as_str(), laptop.id())
    );
    // Nothing is granted before the yes.
    assert_eq!(own(desk), 0);
    assert_eq!(own(laptop), 0);
    let path = format!("/v1/codes/{}/answer", met.id);
    desk.api()
        .post::<AnswerCode>(&path, &AnswerCode { yes })
        .unwrap();
    (shown.finish(), joining.finish())
}

/// How many other devices are the user's own.
fn own(device: &Device) -> usize {
    let devices = device.devices();
    let is_own = |other: &&DeviceInfo| !other.this && other.relation == DeviceRelation::Own;
    devices.iter().filter(is_own).count()
}

#[test]
fn p2_pairing_on_a_network_without_a_relay_makes_a_device_ones_own() {
    lab::run(|lab: &Lab| {
        let (desk, laptop) = pair(lab);
        desk.up();
        laptop.up();
        let (no, declined) = pair_up(&desk, &laptop, false);
        assert_eq!(no.failed(4).code, ErrorCode::Declined);
        assert_eq!(declined.failed(4).code, ErrorCode::Declined);
        assert_eq!((own(&desk), own(&laptop)), (0, 0));
        let begun = Instant::now();
        let (showed, joined) = pair_up(&desk, &laptop, true);
        println!("paired in {:.1?}", begun.elapsed());
        let done = |run: lab::Run| {
            let line = run.well().lines.pop().unwrap();
            match serde_json::from_value(line).unwrap() {
                Event::Done(Done::Paired { paired, words, .. }) => (paired, words),
                other => panic!("{other:?}"),
            }
        };
        let (by_desk, by_laptop) = (done(showed), done(joined));
        assert_eq!((by_desk.0, by_laptop.0), (laptop.id(), desk.id()));
        assert_eq!(by_desk.1, by_laptop.1);
        assert_eq!((own(&desk), own(&laptop)), (1, 1));
        // It lasts, and messages go both ways.
        desk.down();
        desk.up();
        assert_eq!(own(&desk), 1);
        for (from, to) in [(&desk, &laptop), (&laptop, &desk)] {
            from.hither(&["send", &to.name, "hello"]).well();
            until("a message", || {
                let inbox = to.hither(&["inbox"]).well().lines;
                inbox
                    .iter()
                    .any(|line| line["text"] == "hello")
                    .then_some(())
            });
        }
        // A third device learns of both.
        let phone = lab.device("phone");
        phone.up();
        let mut shown = desk.begin(&["pair"]);
        let code = code_of(&mut shown);
        let joining = phone.begin(&["pair", &code.to_string()]);
        let met = shown.wait_for("the question", |event| match event {
            Event::CodeMet(met) => Some(met.clone()),
            _ => None,
        });
        assert_eq!(met.devices, 1, "the laptop is named");
        let path = format!("/v1/codes/{}/answer", met.id);
        desk.api()
            .post::<AnswerCode>(&path, &AnswerCode { yes: true })
            .unwrap();
        shown.finish().well();
        joining.finish().well();
        assert_eq!(own(&phone), 2);
    });
}

#[test]
fn p2_a_scanned_picture_pairs_only_after_a_yes_on_both_sides() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        laptop.up();
        let mut shown = desk.begin(&["pair"]);
        let scan = shown.line("a picture", |line| {
            line["scan"].as_str().map(ToOwned::to_owned)
        });
        // Without anybody to ask, and without --yes, a picture does nothing.
        let refused = laptop.hither(&["pair", &scan]).failed(2);
        assert!(refused.hint.contains("--yes"), "{refused:?}");
        let joining = laptop.begin(&["pair", &scan, "--yes"]);
        let id = shown.wait_for("the question", |event| match event {
            Event::CodeMet(met) => Some(met.id.clone()),
            _ => None,
        });
        assert_eq!(own(&laptop), 0);
        let path = format!("/v1/codes/{id}/answer");
        desk.api()
            .post::<AnswerCode>(&path, &AnswerCode { yes: true })
            .unwrap();
        shown.finish().well();
        joining.finish().well();
        assert_eq!((own(&desk), own(&laptop)), (1, 1));
        // No code is shown where nobody can be asked.
        let plain = desk.plain(&["pair"]);
        assert_eq!(plain.status, 2);
        assert!(plain.output.is_empty(), "{:?}", plain.output);
    });
}

/// An invitation for a user of its own.
fn stranger(relay: &Relay) -> String {
    let run = relay.admin(&["invite", "--label", "somebody else"]).well();
    let line = run.lines.last().unwrap();
    line["url"].as_str().unwrap().to_owned()
}

#[test]
fn p3_three_words_fetch_a_share_through_a_relay_as_another_user_too() {
    lab::run(|lab| {
        let world = World::new(lab);
        let (desk, laptop) = (world.one.device("desk"), world.two.device("laptop"));
        let guest = world.two.device("guest");
        desk.join(&world.relay.invitation());
        laptop.join(&world.relay.invitation());
        guest.join(&stranger(&world.relay));
        let file = fill(desk.path("film.mkv"), 1, MIB);
        for device in [&laptop, &guest] {
            let (shown, code) = show(&desk, &file);
            let begun = Instant::now();
            fetch(device, code).fetched();
            println!(
                "{}: fetched by three words in {:.1?}",
                device.name,
                begun.elapsed()
            );
            shown.finish().well();
            Tree::of(&file).assert_same(&Tree::of(device.path("got/film.mkv")));
        }
        // A wrong word spends the code there too, and both sides hear of it.
        let (shown, code) = show(&desk, &file);
        fetch(&guest, other(code)).failed(4);
        shown.finish().failed(4);
        fetch(&guest, code).failed(4);
    });
}

#[test]
fn p3_a_relay_that_restarts_knows_the_code_again() {
    lab::run(|lab| {
        let world = World::new(lab);
        let (desk, laptop) = (world.one.device("desk"), world.two.device("laptop"));
        desk.join(&world.relay.invitation());
        laptop.join(&world.relay.invitation());
        let file = fill(desk.path("film.mkv"), 1, MIB);
        let (shown, code) = show(&desk, &file);
        world.relay.kill();
        world.relay.start();
        desk.sees_that("laptop", true);
        laptop.sees_that("desk", true);
        fetch(&laptop, code).fetched();
        shown.finish().well();
    });
}

#[test]
fn p2_pairing_brings_the_new_device_to_the_relays() {
    lab::run(|lab| {
        let world = World::new(lab);
        let (desk, laptop) = (world.one.device("desk"), world.one.device("laptop"));
        let phone = world.two.device("phone");
        desk.join(&world.relay.invitation());
        phone.join(&world.relay.invitation());
        laptop.up();
        let (showed, joined) = pair_beside(&desk, &laptop);
        let relays = |run: &lab::Run| run.lines.last().unwrap()["relays"].clone();
        let (showed, joined) = (showed.well(), joined.well());
        assert_eq!(relays(&showed).as_array().map(Vec::len), Some(1));
        assert_eq!(relays(&joined), relays(&showed));
        // It is the same user's: it sees the phone in another network, and sends to it.
        laptop.sees_that("phone", true);
        phone.sees_that("laptop", true);
        laptop.hither(&["send", "phone", "hello"]).well();
        until("a message", || {
            let inbox = phone.hither(&["inbox"]).well().lines;
            inbox
                .iter()
                .any(|line| line["text"] == "hello")
                .then_some(())
        });
    });
}

#[test]
fn p2_an_operator_may_forbid_devices_to_invite() {
    lab::run(|lab| {
        let world = World::with(lab, |relay| relay.set("invitation.by_devices=false"));
        let (desk, laptop) = (world.one.device("desk"), world.one.device("laptop"));
        desk.join(&world.relay.invitation());
        laptop.up();
        let (showed, joined) = pair_beside(&desk, &laptop);
        let (showed, joined) = (showed.well(), joined.well());
        let warned = |line: &serde_json::Value| {
            line["event"] == "warning" && line["message"].as_str().unwrap().contains("operator")
        };
        assert!(showed.lines.iter().any(warned), "{:?}", showed.lines);
        assert_eq!(
            joined.lines.last().unwrap()["relays"],
            serde_json::json!([])
        );
        assert_eq!(own(&laptop), 1, "it is paired all the same");
    });
}

/// Pairs two devices of which one has relays; the answer is yes.
fn pair_beside(desk: &Device, laptop: &Device) -> (lab::Run, lab::Run) {
    let mut shown = desk.begin(&["pair"]);
    let code = code_of(&mut shown);
    let joining = laptop.begin(&["pair", &code.to_string()]);
    let met = shown.wait_for("the question", |event| match event {
        Event::CodeMet(met) => Some(met.clone()),
        _ => None,
    });
    assert_eq!(met.relays.len(), 1, "the relay is named before the yes");
    let path = format!("/v1/codes/{}/answer", met.id);
    desk.api()
        .post::<AnswerCode>(&path, &AnswerCode { yes: true })
        .unwrap();
    (shown.finish(), joining.finish())
}
