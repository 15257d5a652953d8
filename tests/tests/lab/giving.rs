//! The giver's side of a fetch: who fetches what, how far and how fast, and when somebody has all of
//! it; waits and shares that end by that.
//!
//! Siblings: bytes that another device gives, one that leaves in the middle, a notice on the
//! desktop, an interrupted wait, ways through a relay, an upload that goes with its share, a
//! daemon that is killed.

use crate::common::pair;
use crate::relay_world::World;
use hither_api::{GivingInfo, SourceKind};
use hither_proto::Ticket;
use hither_tests::lab::{self, Device, MIB, Running, Tree, fill, until};
use serde_json::Value;

/// The givings of a device.
fn givings(device: &Device) -> Vec<GivingInfo> {
    device.api().get("/v1/giving").unwrap()
}

/// The next line of a kind about a device.
#[track_caller]
fn about(share: &mut Running, kind: &str, device: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    share.line(&format!("{kind} of {device}"), |line| {
        let is_it = line["event"] == kind && line["device"] == device && wanted(line);
        is_it.then(|| line.clone())
    })
}

fn number(line: &Value, name: &str) -> u64 {
    line[name].as_u64().unwrap_or_default()
}

#[test]
fn p4_who_shares_sees_who_fetches_how_far_and_when_it_is_done() {
    lab::run(|lab| {
        const SIZE: u64 = 48 * MIB;
        let (desk, laptop) = pair(lab);
        let phone = lab.device("phone");
        let bus = desk.system_bus();
        let desktop = lab::Desktop::start(&bus);
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let mut share = desk.begin(&["share", file.to_str().unwrap(), "--wait", "2"]);
        let ticket = share.line("the ticket", |line| {
            (line["event"] == "shared").then(|| line["ticket"].as_str().unwrap().to_owned())
        });
        desk.cable.shape_up(60);
        [&laptop, &phone]
            .iter()
            .for_each(|device| drop(device.up()));
        let ids = [laptop.id(), phone.id()];

        let fetch = laptop.begin_fetch(&ticket, "got");
        let half = about(&mut share, "progress", &ids[0], |line| {
            number(line, "bytes") > SIZE / 8
                && number(line, "rate") > 0
                && line["complete"] == false
        });
        assert_eq!(
            (&half["phase"], &half["kind"]),
            (&"giving".into(), &"lan".into())
        );
        assert_eq!(
            (number(&half, "total"), &half["name"]),
            (SIZE, &"film.mkv".into())
        );
        assert_eq!(desk.status().giving, 1);
        let listed = desk.hither(&["transfers"]).well().lines;
        assert_eq!(
            (listed.len(), &listed[0]["direction"]),
            (1, &"giving".into())
        );
        let plain = desk.plain(&["transfers"]);
        let plain = String::from_utf8_lossy(&plain.output).into_owned();
        assert!(
            plain.contains("GIVING") && plain.contains("fetching "),
            "{plain}"
        );
        fetch.finish().fetched();
        let has = about(&mut share, "fetched", &ids[0], |_| true);
        println!("the first: {has}");
        assert_eq!((number(&has, "bytes"), number(&has, "times")), (SIZE, 1));

        // The second takes the most of it from the first, and is seen to get all of it.
        phone.fetch(&ticket, "got");
        let run = share.finish().well();
        let has = run
            .lines
            .iter()
            .find(|line| line["event"] == "fetched" && line["device"] == ids[1].as_str());
        let has = has.expect("the second has all of it");
        println!("the second was given {} of {SIZE}", number(has, "given"));
        assert_eq!(number(has, "bytes"), SIZE);
        assert!(number(has, "given") < SIZE, "the first gave something too");
        let last = run.lines.last().unwrap();
        assert_eq!(
            (&last["event"], &last["ticket"]),
            (&"done".into(), &ticket.as_str().into())
        );
        let notices = until("two notices", || {
            let shown = desktop.shown();
            (shown.len() >= 2).then_some(shown)
        });
        assert!(
            notices
                .iter()
                .all(|one| one.title.ends_with(" has all of film.mkv")),
            "{notices:?}"
        );
        let all = givings(&desk);
        assert!(
            all.len() == 2 && all.iter().all(|one| one.complete && !one.open),
            "{all:?}"
        );

        // A device that leaves in the middle is no end, and an interrupted wait leaves the share as it is.
        let tablet = lab.device("tablet");
        let mut share = desk.begin(&["share", file.to_str().unwrap(), "--wait"]);
        share.line("the ticket", |line| {
            (line["event"] == "shared").then_some(())
        });
        desk.cable.shape_up(20);
        laptop.down();
        phone.down();
        let mut fetch = tablet.begin_fetch(&ticket, "got");
        fetch.reach(SIZE / 8);
        let id = tablet.id();
        fetch.interrupt();
        drop(fetch.finish());
        about(&mut share, "progress", &id, |line| line["open"] == false);
        share.interrupt();
        let error = share.finish().failed(130);
        assert!(error.hint.contains("stays shared"), "{error:?}");
        assert_eq!(desk.hither(&["list"]).well().lines.len(), 1);
    });
}

#[test]
fn p4_a_share_for_one_fetch_ends_everywhere_and_survives_a_crash_until_then() {
    lab::run(|lab| {
        let world = World::new(lab);
        let (desk, laptop) = world.pair();
        let things = Tree::make(&desk.path("things"), 1);
        let before = Tree::of(&things);

        // Through routers and the relay the giver sees as much.
        let options = ["--wait", "--no-upload"];
        let mut share = desk.begin(&[&["share", things.to_str().unwrap()], &options[..]].concat());
        let ticket = share.line("the ticket", |line| {
            (line["event"] == "shared").then(|| line["ticket"].as_str().unwrap().to_owned())
        });
        laptop.fetch(&ticket, "first");
        let run = share.finish().well();
        let has = run.lines.iter().find(|line| line["event"] == "fetched");
        let has = has.expect("it has all of it");
        println!("through the relay: {has}");
        assert_eq!(
            (&has["device_name"], &has["complete"]),
            (&"laptop".into(), &true.into())
        );
        assert!(has["kind"] == "relayed" || has["kind"] == "direct", "{has}");

        // Shared again for one fetch, and uploaded.
        let shared = desk.share_with(&things, &["--once"]);
        assert_eq!(shared.ticket.parse::<Ticket>().unwrap().relays.len(), 1);
        desk.uploads(&shared.share);
        desk.kill();
        desk.up();
        assert_eq!(desk.hither(&["list"]).well().lines[0]["once"], true);
        laptop.down();
        let tablet = world.two.device("tablet");
        let fetched = tablet.fetch(&shared.ticket, "got");
        before.assert_same(&Tree::of(tablet.path("got/things")));
        println!("the one fetch: {:?}", fetched.sources);
        let stored = fetched.by(SourceKind::Store);
        println!("{stored} of {} bytes came from the store", fetched.bytes);
        until("the end of the share", || {
            desk.hither(&["list"]).well().lines.is_empty().then_some(())
        });
        desk.kill();
        desk.up();
        assert!(
            desk.hither(&["list"]).well().lines.is_empty(),
            "it came back"
        );
        // Neither the origin nor the store has it any more.
        tablet.down();
        let late = world.two.device("late");
        until("the store gives nothing", || {
            let line = ["fetch", &shared.ticket, "--yes", "--wait", "1s"];
            let run = late.hither(&line);
            (run.status != 0).then_some(())
        });
    });
}
