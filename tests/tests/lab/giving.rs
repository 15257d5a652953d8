//! The giver's side of a fetch: who fetches what, how far and how fast, and when somebody has all of
//! it; waits and shares that end by that.
//!
//! Siblings: bytes that another device gives, one that leaves in the middle, a notice on the
//! desktop, an interrupted wait, ways through a relay, an upload that goes with its share, a
//! daemon that is killed.

use crate::common::pair;
use crate::relay_world::World;
use hither_api::{GivingInfo, SourceKind, Status};
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

/// Begins to share with a wait; returns the ticket.
fn waits(desk: &Device, line: &[&str]) -> (Running, String) {
    let mut share = desk.begin(&[&["share"], line].concat());
    let ticket = share.line("the ticket", |line| {
        (line["event"] == "shared").then(|| line["ticket"].as_str().unwrap().to_owned())
    });
    (share, ticket)
}

#[test]
fn p4_what_came_from_a_store_alone_is_told_by_the_relay_also_to_who_was_away() {
    lab::run(|lab| {
        const SIZE: u64 = 6 * MIB;
        let world = World::new(lab);
        let desk = world.one.device("desk");
        desk.join(&world.relay.invitation());
        let film = fill(desk.path("film.mkv"), 1, SIZE);
        let shared = desk.share(&film);
        let brief = fill(desk.path("brief.mkv"), 2, SIZE);
        let once = desk.share_with(&brief, &["--once"]);
        desk.uploads(&shared.share);
        desk.uploads(&once.share);
        desk.down();
        // Nobody but the store has it: a guest takes all of both from there.
        let tablet = world.two.device("tablet");
        for (ticket, into) in [(&shared.ticket, "got"), (&once.ticket, "brief")] {
            let fetched = tablet.fetch(ticket, into);
            assert_eq!(fetched.by(SourceKind::Store), SIZE, "{:?}", fetched.sources);
        }
        let id = tablet.id();
        tablet.down();
        // The word waits at the relay, also while that is down.
        world.relay.kill();
        world.relay.start();
        desk.up();
        let told = until("the relay's word", || {
            let all = givings(&desk);
            all.into_iter().find(|one| one.share == shared.share)
        });
        println!("{told:?}");
        assert_eq!((told.device.as_str(), told.bytes), (id.as_str(), SIZE));
        assert!(told.complete && told.by_store && told.given == 0 && !told.open);
        assert_eq!((told.kind, told.times), (SourceKind::Store, 1));
        let plain = desk.plain(&["transfers"]);
        let plain = String::from_utf8_lossy(&plain.output).into_owned();
        assert!(plain.contains("has all"), "{plain}");
        // The share for one fetch has ended by it, everywhere.
        until("the end of the other share", || {
            let all = desk.hither(&["list"]).well().lines;
            (all.len() == 1).then_some(())
        });
        // It is told once: neither a restart of the device nor one of the relay makes it two.
        desk.kill();
        desk.up();
        world.relay.kill();
        world.relay.start();
        until("the relay again", || {
            let relays = desk.hither(&["relay", "list"]).well().lines;
            (relays[0]["state"] == "connected").then_some(())
        });
        let after: Vec<_> = givings(&desk);
        assert_eq!((after.len(), after[0].times), (1, 1), "{after:?}");
        assert!(after[0].complete && after[0].by_store);
        // A wait counts devices that take it from the store while this device has no way to it.
        let (share, _) = waits(&desk, &[film.to_str().unwrap(), "--wait"]);
        desk.cable.shape_up(1);
        let late = world.two.device("late");
        late.fetch(&shared.ticket, "got");
        let run = share.finish().well();
        let has = run.lines.iter().find(|line| line["event"] == "fetched");
        println!("while it waits: {:?}", has.unwrap());
        assert_eq!(has.unwrap()["device"], late.id().as_str());
    });
}

#[test]
fn p4_a_wait_and_who_has_all_of_it_outlive_the_daemon() {
    lab::run(|lab| {
        const SIZE: u64 = 4 * MIB;
        let (desk, laptop) = pair(lab);
        let phone = lab.device("phone");
        [&laptop, &phone]
            .iter()
            .for_each(|device| drop(device.up()));
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let path = file.to_str().unwrap();
        let (mut share, ticket) = waits(&desk, &[path, "--wait", "2", "--keep", "1h"]);
        laptop.fetch(&ticket, "got");
        about(&mut share, "fetched", &laptop.id(), |_| true);
        // A daemon that died is started again by who waits, one that was stopped is waited for.
        desk.kill();
        until("another daemon", || {
            desk.api().get::<Status>("/v1/status").ok()
        });
        desk.down();
        desk.up();
        phone.fetch(&ticket, "got");
        let run = share.finish().well();
        let mut has: Vec<_> = run.lines.iter().collect();
        has.retain(|line| line["event"] == "fetched");
        assert_eq!(has.len(), 2, "each is told once: {has:?}");
        // Whoever had it before is not waited for.
        desk.kill();
        desk.up();
        let all = givings(&desk);
        assert!(
            all.len() == 2 && all.iter().all(|one| one.complete && one.times == 1),
            "{all:?}"
        );

        // Shared again without a word it ends when it would have; for good when that is said.
        let ends = || desk.hither(&["list"]).well().lines[0]["expires"].as_u64();
        let before = ends().unwrap();
        desk.share(&file);
        assert!(ends().unwrap().abs_diff(before) <= 2);
        desk.share_with(&file, &["--keep", "never"]);
        assert_eq!(ends(), None);

        // A giving that is over leaves the list until something new happens, also over a restart.
        assert!(!laptop.hither(&["transfers"]).well().lines.is_empty());
        for device in [&desk, &laptop] {
            let left = device.hither(&["transfers", "clear"]).well().lines;
            assert!(left.is_empty(), "{left:?}");
        }
        assert!(Tree::of(laptop.path("got/film.mkv")) == Tree::of(&file));
        desk.kill();
        desk.up();
        assert!(desk.hither(&["transfers"]).well().lines.is_empty());
        let tablet = lab.device("tablet");
        tablet.fetch(&ticket, "got");
        until("a new fetch", || {
            let all = desk.hither(&["transfers"]).well().lines;
            (all.len() == 1 && all[0]["device"] == tablet.id().as_str()).then_some(())
        });
    });
}
