//! An index names, for every chunk, who holds it and at which addresses: on the relay that also
//! stores, on a node of its own, or, where there is no relay, between the devices alone.
//!
//! Devices of different sites never hear each other's multicast, and those of one site have it
//! switched off here: whoever is found was named by the index. Tickets have no addresses.

use crate::common::ratio;
use crate::relay_world::quick;
use hither_api::{SourceKind, Why, WhySource};
use hither_proto::Ticket;
use hither_tests::lab::{self, Device, Fetched, Lab, Lan, MIB, Relay, Tree, fill, until};
use std::path::Path;

/// Bytes of what is shared, and what the origin sends in a second.
const SIZE: u64 = 48 * MIB;
const UPLINK: u32 = 60;

/// Three sites, and the nodes of a relay; the first one is what devices join.
pub(crate) struct Sites<'lab> {
    pub(crate) a: Lan<'lab>,
    pub(crate) b: Lan<'lab>,
    pub(crate) c: Lan<'lab>,
    pub(crate) relays: Vec<Relay>,
}

impl<'lab> Sites<'lab> {
    /// A relay of nodes with these roles; empty for the usual ones.
    pub(crate) fn new(lab: &'lab Lab, nodes: &[&str]) -> Self {
        let internet = lab.internet();
        let (a, b, c) = (internet.site(), internet.site(), internet.site());
        let mut relays: Vec<Relay> = Vec::new();
        for (number, roles) in nodes.iter().enumerate() {
            let mut relay = quick(internet.relay(&format!("relay-{number}")));
            relay.set("index.heartbeat=2s");
            if !roles.is_empty() {
                relay.know("a secret of more than enough characters");
                relay.set(&format!("roles=[{roles}]"));
                relay.set("fleet.silence=6s");
            }
            if let Some(control) = relays.first() {
                relay.set(&format!("fleet.control={}", control.url()));
            }
            relay.start();
            relays.push(relay);
        }
        Self { a, b, c, relays }
    }

    /// A device that does not look around itself, and has joined.
    pub(crate) fn device(&self, lan: &Lan<'_>, name: &str) -> Device {
        let device = alone(lan, name);
        device.join(&self.relays[0].invitation());
        device
    }
}

/// A device that does not look around itself.
fn alone(lan: &Lan<'_>, name: &str) -> Device {
    let mut device = lan.device(name);
    device.set("discovery", "false");
    device
}

/// Shares a file; returns a ticket that says nothing of where it is.
pub(crate) fn share(device: &Device, file: &Path, arguments: &[&str]) -> (String, String) {
    let shared = device.share_with(file, arguments);
    let ticket: Ticket = shared.ticket.parse().unwrap();
    (
        shared.share,
        Ticket {
            hints: Vec::new(),
            ..ticket
        }
        .to_string(),
    )
}

/// Waits until the index knows of so many announcements.
#[track_caller]
pub(crate) fn announced(index: &Relay, entries: u64) {
    until("announcements in the index", || {
        (index.stats()["index"]["entries"].as_u64().unwrap() >= entries).then_some(())
    });
}

/// Everybody gave something, says `why`, and not over a way that only stores have.
#[track_caller]
fn gave(device: &Device, fetched: &Fetched, from: &[&Device]) {
    let why: Why = device.why(&fetched.transfer);
    for source in &why.sources {
        println!("{}: {}", device.name, source.words);
    }
    for other in from {
        let id = other.id();
        let source = why.sources.iter().find(|source| source.source.device == id);
        let source = source.unwrap_or_else(|| panic!("nothing from {}", other.name));
        assert!(
            source.source.bytes > 0 && source.source.kind != SourceKind::Store,
            "{source:?}"
        );
    }
}

/// Two begin at different sites, a third one follows: its site takes from the other one, and from
/// the origin.
fn fetch_from_each_other(sites: &Sites<'_>, upload: bool) {
    let desk = sites.device(&sites.a, "desk");
    let [one, two, far] = [("one", &sites.b), ("two", &sites.b), ("far", &sites.c)]
        .map(|(name, lan)| sites.device(lan, name));
    let file = fill(desk.path("film.mkv"), 1, SIZE);
    let (share, ticket) = share(&desk, &file, if upload { &[] } else { &["--no-upload"] });
    if upload {
        desk.uploads(&share);
        // What it gives is for the first few MiB; the rest is for who is nearer.
        sites.relays[0].cable.shape_up(UPLINK);
    }
    announced(&sites.relays[0], 1);
    desk.cable.shape_up(UPLINK);
    let mut begun = [&two, &far].map(|device| device.begin_fetch(&ticket, "got"));
    begun.iter_mut().for_each(|fetch| fetch.reach(SIZE / 4));
    let fetched = one.begin_fetch(&ticket, "got").finish().fetched();
    gave(&one, &fetched, &[&two]);
    for (device, fetch) in [&two, &far].into_iter().zip(begun) {
        fetch.finish().fetched();
        Tree::of(&file).assert_same(&Tree::of(device.path("got/film.mkv")));
    }
    Tree::of(&file).assert_same(&Tree::of(one.path("got/film.mkv")));
    // One of the two at a site takes from each of the others: which one, their keys decide.
    let sources = [&one, &two].map(|device| device.why(&device.transfer().transfer).sources);
    for other in [&far, &desk] {
        let id = other.id();
        let from = |source: &WhySource| source.source.device == id && source.source.bytes > 0;
        assert!(
            sources.iter().flatten().any(from),
            "nothing from {}",
            other.name
        );
    }
    // The origin sent little more than everything once, to three.
    if !upload {
        let sent = ratio("the origin sent", desk.cable.traffic().sent, SIZE);
        assert!(sent < 2.0, "they did not take from each other");
    }
    // Everybody who holds it is in the index now, and nobody asks for anything any more.
    announced(&sites.relays[0], 4);
    let stats = sites.relays[0].stats();
    println!("index: {}", stats["index"]);
    until("subscriptions to end", || {
        (sites.relays[0].stats()["index"]["subscriptions"] == 0).then_some(())
    });
    let page = sites.relays[0].page("/metrics");
    assert!(page.contains("hither_relay_index_entries 4"), "{page}");
}

#[test]
fn a4_a_fetchers_at_different_sites_find_each_other_by_the_index_of_a_relay_without_a_copy_there() {
    lab::run(|lab| fetch_from_each_other(&Sites::new(lab, &[""]), false));
}

#[test]
fn a4_a_fetchers_at_different_sites_find_each_other_by_the_index_of_the_relay_that_also_stores() {
    lab::run(|lab| fetch_from_each_other(&Sites::new(lab, &[""]), true));
}

#[test]
fn a4_a_who_joined_nothing_finds_holders_by_the_relay_that_the_ticket_names() {
    lab::run(|lab| {
        let sites = Sites::new(lab, &[""]);
        let desk = sites.device(&sites.a, "desk");
        let file = fill(desk.path("song.flac"), 1, 8 * MIB);
        let (_, ticket) = share(&desk, &file, &["--no-upload"]);
        announced(&sites.relays[0], 1);
        let (guest, second) = (alone(&sites.b, "guest"), alone(&sites.c, "second"));
        let fetched = guest.fetch(&ticket, "got");
        gave(&guest, &fetched, &[&desk]);
        // A guest is named as others are: the origin is not needed any more.
        announced(&sites.relays[0], 2);
        desk.down();
        let fetched = second.fetch(&ticket, "got");
        gave(&second, &fetched, &[&guest]);
        Tree::of(&file).assert_same(&Tree::of(second.path("got/song.flac")));
        // Who does not want to be named is not.
        let mut shy = alone(&sites.c, "shy");
        shy.set("index.announce", "false");
        shy.fetch(&ticket, "got");
        assert_eq!(sites.relays[0].stats()["index"]["entries"], 2);
    });
}

#[test]
fn a4_b_the_index_is_a_node_of_its_own_and_its_end_in_the_middle_costs_nothing() {
    lab::run(|lab| {
        let sites = Sites::new(
            lab,
            &["\"assign\",\"control\",\"front\"", "\"store\"", "\"index\""],
        );
        let index = &sites.relays[2];
        assert!(
            sites.relays[0].stats()["index"].is_null()
                && sites.relays[1].stats()["index"].is_null()
        );
        let desk = sites.device(&sites.a, "desk");
        let (two, far) = (sites.device(&sites.b, "two"), sites.device(&sites.c, "far"));
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let (_, ticket) = share(&desk, &file, &["--no-upload"]);
        announced(index, 1);
        desk.cable.shape_up(UPLINK);
        let mut begun = [&two, &far].map(|device| device.begin_fetch(&ticket, "got"));
        begun.iter_mut().for_each(|fetch| fetch.reach(SIZE / 8));
        index.kill();
        begun.iter_mut().for_each(|fetch| fetch.reach(SIZE / 3));
        index.start();
        // Everybody says again what they hold, and who comes now finds them.
        announced(index, 3);
        let late = sites.device(&sites.b, "late");
        let fetched = late.begin_fetch(&ticket, "got").finish().fetched();
        gave(&late, &fetched, &[&two, &far]);
        for (device, fetch) in [&two, &far].into_iter().zip(begun) {
            let fetched = fetch.finish().fetched();
            gave(device, &fetched, &[&desk]);
            Tree::of(&file).assert_same(&Tree::of(device.path("got/film.mkv")));
        }
        Tree::of(&file).assert_same(&Tree::of(late.path("got/film.mkv")));
        // Who is asked for something else has nothing of it: the front and the store have no index.
        assert!(sites.relays[0].stats()["index"].is_null());
    });
}

#[test]
fn a4_c_without_any_relay_devices_on_one_network_tell_each_other() {
    lab::run(|lab| {
        let desk = lab.device("desk");
        let others = ["one", "two", "three"].map(|name| lab.device(name));
        let file = fill(desk.path("film.mkv"), 1, SIZE / 2);
        let shared = desk.share(&file);
        others.iter().for_each(|device| drop(device.up()));
        others.iter().for_each(|device| device.sees(3));
        desk.cable.shape_up(UPLINK);
        let before = desk.cable.traffic().sent;
        let fetches = others
            .each_ref()
            .map(|device| device.begin_fetch(&shared.ticket, "got"));
        for (device, fetch) in others.iter().zip(fetches) {
            let fetched = fetch.finish().fetched();
            let from: Vec<&Device> = others
                .iter()
                .filter(|other| other.name != device.name)
                .collect();
            gave(device, &fetched, &from);
            Tree::of(&file).assert_same(&Tree::of(device.path("got/film.mkv")));
        }
        let sent = ratio(
            "the origin sent",
            desk.cable.traffic().sent - before,
            SIZE / 2,
        );
        assert!(sent < 1.3, "they did not take from each other");
    });
}
