//! A newer version appears while an older one is on its way.

use crate::common::pair;
use crate::relay_world::{join_all, quick};
use hither_api::Event;
use hither_tests::lab::{self, Device, Lab, MIB, Running, Tree, fill, until};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Files whose names make a manifest of more than one span: one span is given to whoever was asked
/// for it.
const NAMES: u64 = 12_000;
/// At this speed that manifest takes ten seconds.
const SLOW: u32 = 2;
const FAST: u32 = 1000;

fn names_in(folder: &Path) -> Vec<String> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn follow(device: &Device, ticket: &str) -> Running {
    device.begin(&[
        "fetch",
        ticket,
        "--yes",
        "--follow",
        "-o",
        device.path("got").to_str().unwrap(),
    ])
}

fn version(following: &mut Running, number: u64) {
    following.wait_for(&format!("version {number}"), |event| match event {
        Event::Version { version, .. } if *version == number => Some(()),
        _ => None,
    });
}

/// The desk reaches the laptop, the laptop the phone, and the desk and the phone do not know each
/// other.
fn chain(lab: &Lab) -> [Device; 3] {
    let devices = ["desk", "laptop", "phone"].map(|name| lab.device(name));
    devices[2].cable.shun(&devices[0].cable);
    devices
}

#[test]
fn a_newer_version_comes_while_the_manifest_does() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let things = desk.path("things");
        fs::create_dir(&things).unwrap();
        for number in 0..NAMES {
            fs::write(things.join(format!("{number:0>200}")), "").unwrap();
        }
        fill(things.join("one"), 1, 1000);
        let ticket = desk.share(&things).ticket;
        desk.cable.shape_up(SLOW);
        let before = desk.cable.traffic().sent;
        let fetch = laptop.begin_fetch(&ticket, "got");
        until("a part of the manifest", || {
            (desk.cable.traffic().sent > before + 300_000).then_some(())
        });
        fill(things.join("two"), 2, 1000);
        assert_eq!(desk.share(&things).version, 2);
        assert_eq!(
            laptop.transfer().total,
            0,
            "the manifest was there too early"
        );
        desk.cable.shape_up(FAST);
        fetch.finish().fetched();
        Tree::of(&things).assert_same(&Tree::of(laptop.path("got/things")));
    });
}

#[test]
fn who_moved_on_tells_of_it() {
    lab::run(|lab| {
        let [desk, laptop, phone] = chain(lab);
        let things = Tree::make(&desk.path("things"), 1);
        let ticket = desk.share(&things).ticket;
        let mut near = follow(&laptop, &ticket);
        version(&mut near, 1);
        let mut far = follow(&phone, &ticket);
        version(&mut far, 1);
        for number in 2..=3 {
            fill(things.join(format!("file {number}")), number, 100_000);
            desk.share(&things);
            version(&mut near, number);
            version(&mut far, number);
            Tree::of(&things).assert_same(&Tree::of(phone.path("got/things")));
        }
        let from = far_sources(&phone);
        assert_eq!(from, [laptop.id()], "the phone does not reach the desk");
    });
}

/// From which devices the latest transfer has bytes.
fn far_sources(device: &Device) -> Vec<String> {
    let own = device.id();
    device
        .transfer()
        .sources
        .into_iter()
        .map(|source| source.device)
        .filter(|id| *id != own)
        .collect()
}

#[test]
fn a_fetch_moves_on_with_who_gives() {
    lab::run(|lab| {
        let [desk, laptop, phone] = chain(lab);
        let film = fill(desk.path("film.mkv"), 1, 40 * MIB);
        let ticket = desk.share(&film).ticket;
        let mut near = follow(&laptop, &ticket);
        version(&mut near, 1);
        laptop.cable.shape_up(20);
        let mut far = phone.begin_fetch(&ticket, "got");
        far.reach(2 * MIB);
        fill(&film, 2, 30 * MIB);
        desk.share(&film);
        version(&mut near, 2);
        laptop.cable.shape_up(FAST);
        far.finish().fetched();
        Tree::of(&film).assert_same(&Tree::of(phone.path("got/film.mkv")));
        assert_eq!(names_in(&phone.path("got")), ["film.mkv"]);
    });
}

#[test]
fn nothing_is_left_of_a_version_that_was_begun_before_a_restart() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let film = fill(desk.path("film.mkv"), 1, 30 * MIB);
        let ticket = desk.share(&film).ticket;
        desk.cable.shape_up(20);
        let mut fetch = laptop.begin_fetch(&ticket, "got");
        fetch.reach(2 * MIB);
        laptop.down();
        fetch.finish().failed(130);
        assert_eq!(names_in(&laptop.path("got")).len(), 1);
        fill(&film, 2, 10 * MIB);
        desk.share(&film);
        desk.cable.shape_up(FAST);
        laptop.up();
        laptop.complete();
        Tree::of(&film).assert_same(&Tree::of(laptop.path("got/film.mkv")));
        assert_eq!(names_in(&laptop.path("got")), ["film.mkv"]);
    });
}

/// A neighbour has the version before the latest, and so perhaps the device that fetches; the
/// owner, which alone has the latest, is far away: it takes half a second to be connected to.
fn the_owner_is_far(lab: &Lab, has_one: bool) {
    let internet = lab.internet();
    let (one, two) = (internet.site(), internet.site());
    let relay = quick(internet.relay("relay"));
    relay.start();
    let [desk, laptop, phone] =
        [("desk", &one), ("laptop", &two), ("phone", &two)].map(|(name, site)| site.device(name));
    join_all(&[&desk, &laptop, &phone], &relay.invitation());
    one.router.delay(Duration::from_millis(150));
    let file = desk.path("file");
    fill(&file, 1, MIB);
    let ticket = desk.share_with(&file, &["--no-upload"]).ticket;
    laptop.fetch(&ticket, "got");
    if has_one {
        phone.fetch(&ticket, "got");
    }
    fill(&file, 2, MIB);
    assert_eq!(desk.share_with(&file, &["--no-upload"]).version, 2);
    phone.fetch(&ticket, "again");
    Tree::of(&file).assert_same(&Tree::of(phone.path("again/file")));
}

#[test]
fn the_latest_version_is_fetched_though_a_neighbour_with_the_one_before_answers_first() {
    lab::run(|lab| the_owner_is_far(lab, false));
}

#[test]
fn the_latest_version_is_fetched_though_the_one_before_is_here() {
    lab::run(|lab| the_owner_is_far(lab, true));
}
