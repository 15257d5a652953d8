//! What a device shares is told to the user's other devices: as a ticket, or by its name.

use crate::relay_world::{World, join_all};
use hither_api::{ListedShare, MessageKind, SourceKind};
use hither_tests::lab::{self, Device, MIB, Tree, fill, until};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn c1_a_ticket_is_sent_to_the_devices_named_and_a_wrong_name_costs_nothing() {
    lab::run(|lab| {
        let world = World::new(lab);
        let (desk, laptop, phone) = (
            world.one.device("desk"),
            world.two.device("laptop"),
            world.two.device("phone"),
        );
        join_all(&[&desk, &laptop, &phone], &world.relay.invitation());
        let film = fill(desk.path("film.mkv"), 1, 4 * MIB);
        let path = film.to_str().unwrap();
        for wrong in ["nobody", "desk"] {
            let run = desk.hither(&["share", path, "--to", "phone", "--to", wrong]);
            assert_ne!(run.status, 0);
            assert!(
                run.lines.iter().all(|line| line["event"] != "progress"),
                "read before: {:?}",
                run.lines
            );
            assert_eq!(desk.status().shares, 0);
        }
        phone.down();
        desk.sees_that("phone", false);
        let run = desk
            .hither(&["share", path, "--to", "laptop", "--to", "phone"])
            .well();
        let done = run.lines.last().unwrap();
        let ticket = done["ticket"].as_str().unwrap();
        let states = [&done["sent"][0]["state"], &done["sent"][1]["state"]];
        assert_eq!(states, ["delivered", "at_relay"]);
        phone.up();
        for device in [&laptop, &phone] {
            let offer = until("the offer", || device.inbox().pop());
            assert_eq!((offer.kind, &offer.name), (MessageKind::Ticket, &desk.name));
            let number = offer.id.to_string();
            let run = device.hither(&["inbox", "read", &number]).well();
            assert_eq!(run.lines.last().unwrap()["share"]["ticket"], ticket);
        }
        let into = laptop.path("got");
        laptop
            .hither(&["inbox", "fetch", "1", "--yes", "-o", into.to_str().unwrap()])
            .well();
        Tree::of(&film).assert_same(&Tree::of(into.join("film.mkv")));
        // A program that reads the output gets the ticket and nothing else.
        let plain = desk.plain(&["share", path, "--to", "laptop"]);
        assert_eq!(plain.output, format!("{ticket}\n").into_bytes());
    });
}

/// What a device knows of the shares of others, by the names of both.
fn known(device: &Device) -> Vec<(String, String)> {
    let all: Vec<ListedShare> = device.api().get("/v1/catalogue").unwrap();
    all.into_iter()
        .map(|share| (share.device_name, share.name))
        .collect()
}

/// Waits until it knows these, and nothing else.
#[track_caller]
fn knows(device: &Device, shares: &[(&str, &str)]) {
    let mut wanted: Vec<_> = shares
        .iter()
        .map(|(owner, name)| ((*owner).into(), (*name).into()))
        .collect();
    wanted.sort();
    until(&format!("{} knows {shares:?}", device.name), || {
        let mut known = known(device);
        known.sort();
        (known == wanted).then_some(())
    });
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn b6_what_a_device_shares_is_fetched_by_its_name_while_the_device_is_away() {
    lab::run(|lab| {
        const SIZE: u64 = 8 * MIB;
        let world = World::new(lab);
        let (desk, laptop) = world.pair();
        let film = fill(desk.path("film.mkv"), 1, SIZE);
        let shared = desk.share(&film);
        let secret = fill(desk.path("secret"), 2, 1000);
        desk.hither(&["share", text(&secret), "--no-list"]).well();
        knows(&laptop, &[("desk", "film.mkv")]);
        desk.uploads(&shared.share);
        desk.down();
        laptop.sees_that("desk", false);
        // What was told survives a crash.
        laptop.kill();
        laptop.up();
        let run = laptop.hither(&["list", "--all"]).well();
        let [line] = &run.lines[..] else {
            panic!("{:?}", run.lines)
        };
        assert_eq!(
            (&line["device"], &line["name"]),
            (&shared_by(&laptop, "desk").into(), &"film.mkv".into())
        );
        assert!(line.get("ticket").is_none() && line["bytes"] == SIZE);
        let into = laptop.path("got");
        let fetched = laptop
            .begin(&["fetch", "desk/film.mkv", "--yes", "-o", text(&into)])
            .finish()
            .fetched();
        println!("{:?}", fetched.sources);
        assert!(
            fetched
                .sources
                .iter()
                .all(|source| source.kind == SourceKind::Store)
        );
        Tree::of(&film).assert_same(&Tree::of(into.join("film.mkv")));
        // Nobody is shown how it became known.
        assert!(laptop.inbox().is_empty() && laptop.status().unread == 0);
        let none = laptop.hither(&["fetch", "desk/secret", "--yes", "-o", text(&into)]);
        assert_eq!(
            (none.status, none.lines.last().unwrap()["code"].as_str()),
            (1, Some("not_found"))
        );
        let nobody = laptop.hither(&["fetch", "nobody/film.mkv", "--yes", "-o", text(&into)]);
        assert_eq!(
            (nobody.status, nobody.lines.last().unwrap()["code"].as_str()),
            (1, Some("not_found"))
        );
        desk.up();
        desk.hither(&["unshare", "film.mkv"]).well();
        knows(&laptop, &[]);
        assert_eq!(desk.status().outgoing, 0);
    });
}

/// The id of a device that another one knows.
fn shared_by(device: &Device, name: &str) -> String {
    device.knows(name).unwrap().device
}

#[test]
fn b6_who_joins_later_or_was_away_is_told_everything_and_in_few_messages() {
    lab::run(|lab| {
        let world = World::new(lab);
        let invitation = world.relay.invitation();
        let (desk, laptop) = (world.one.device("desk"), world.two.device("laptop"));
        join_all(&[&desk, &laptop], &invitation);
        laptop.down();
        desk.sees_that("laptop", false);
        let names: Vec<_> = (0..24).map(|number| format!("file-{number:02}")).collect();
        for (seed, name) in names.iter().enumerate() {
            desk.share(&fill(desk.path(name), seed as u64, 1000));
        }
        // Two of one name: the newest is meant.
        let [old, new] = ["old/twice", "new/twice"].map(|name| desk.path(name));
        desk.share(&fill(old, 100, 1000));
        // Times of shares are told in seconds.
        thread::sleep(Duration::from_millis(1100));
        desk.share(&fill(new.clone(), 101, 1000));
        let waiting = world.relay.stats()["messages"].as_u64().unwrap();
        println!("{waiting} messages wait for a device that is away");
        assert!((1..=16).contains(&waiting), "{waiting}");
        let mut all: Vec<_> = names.iter().map(|name| ("desk", name.as_str())).collect();
        all.extend([("desk", "twice"), ("desk", "twice")]);
        laptop.up();
        knows(&laptop, &all);
        let phone = world.two.device("phone");
        phone.join(&invitation);
        knows(&phone, &all);
        for device in [&laptop, &phone] {
            let into = device.path("got");
            let run = device
                .hither(&["fetch", "desk/twice", "--yes", "-o", text(&into)])
                .well();
            assert_eq!(run.lines[0]["event"], "warning", "{:?}", run.lines);
            Tree::of(&new).assert_same(&Tree::of(into.join("twice")));
        }
        knows(&desk, &[]);
    });
}

#[test]
fn b6_a_device_on_the_same_network_is_fetched_from_by_name_without_any_relay_in_between() {
    lab::run(|lab| {
        const SIZE: u64 = 8 * MIB;
        let world = World::new(lab);
        let (desk, laptop) = (world.one.device("desk"), world.one.device("laptop"));
        join_all(&[&desk, &laptop], &world.relay.invitation());
        let film = fill(desk.path("film.mkv"), 1, SIZE);
        desk.hither(&["share", text(&film), "--no-upload"]).well();
        knows(&laptop, &[("desk", "film.mkv")]);
        world.relay.stop();
        let (into, began) = (laptop.path("got"), Instant::now());
        let fetched = laptop
            .begin(&["fetch", "desk/film.mkv", "--yes", "-o", text(&into)])
            .finish()
            .fetched();
        println!("{:.1?} with the relay gone only just now", began.elapsed());
        assert!(
            fetched
                .sources
                .iter()
                .all(|source| source.kind == SourceKind::Lan),
            "{:?}",
            fetched.sources
        );
        Tree::of(&film).assert_same(&Tree::of(into.join("film.mkv")));
    });
}
