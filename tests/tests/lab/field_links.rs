//! B4 and B6: which addresses are told, and links whose far end moves.
//!
//! What else has this shape? The origin's cable is pulled while it has another one; the origin gets
//! another address; the fetcher's cable is pulled while it has another one; bridges of containers
//! before the real interface (`daemon/src/interfaces.rs`); a pattern that chooses interfaces; a
//! device that moves to another network (`roaming.rs`).

use crate::common::{pair, standstill};
use hither_proto::Ticket;
use hither_tests::lab::{self, Device, Lab, MIB, Running, Tree, fill};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const SIZE: u64 = 60 * MIB;
/// Longest time without a byte: the goal is 2 s, and 2 s more are for a busy machine.
const MOST: Duration = Duration::from_secs(4);

/// Two devices, and a file of the first one.
fn with_a_file(lab: &Lab) -> (Device, Device, PathBuf) {
    let (desk, laptop) = pair(lab);
    let file = fill(desk.path("film.mkv"), 1, SIZE);
    (desk, laptop, file)
}

/// Follows a running fetch to its end: it must not stand still for long.
fn goes_on(device: &Device, fetch: Running, since: Instant) {
    let longest = standstill(device, since);
    assert!(longest < MOST, "{longest:?}");
    fetch.finish().fetched();
}

#[test]
fn field_b6_the_origins_cable_is_pulled_while_it_has_another_one() {
    lab::run(|lab| {
        let (desk, laptop, file) = with_a_file(lab);
        let second = lab.second_cable(&desk);
        let ticket = desk.share(&file).ticket;
        laptop.up();
        laptop.sees(1);
        desk.cable.shape_up(50);
        second.shape_up(50);
        let mut fetch = laptop.begin_fetch(&ticket, "got");
        fetch.reach(SIZE / 5);
        desk.cable.cut();
        goes_on(&laptop, fetch, Instant::now());
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
    });
}

#[test]
fn field_b6_the_fetchers_cable_is_pulled_while_it_has_another_one() {
    lab::run(|lab| {
        let (desk, laptop, file) = with_a_file(lab);
        let _second = lab.second_cable(&laptop);
        let ticket = desk.share(&file).ticket;
        laptop.up();
        laptop.sees(1);
        desk.cable.shape_up(50);
        let mut fetch = laptop.begin_fetch(&ticket, "got");
        fetch.reach(SIZE / 5);
        laptop.cable.cut();
        goes_on(&laptop, fetch, Instant::now());
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
    });
}

#[test]
fn field_b4_a_ticket_names_the_real_network_and_a_pattern_counts_for_it() {
    lab::run(|lab| {
        let (mut desk, laptop) = pair(lab);
        for number in 0..5 {
            desk.bridge(
                &format!("br-00000000000{number}"),
                &format!("172.{}.0.1", 17 + number),
            );
        }
        let file = fill(desk.path("file"), 1, MIB);
        let own: std::net::IpAddr = desk.cable.address().parse().unwrap();
        for interfaces in ["", "net*"] {
            desk.down();
            desk.set("interfaces", interfaces);
            let ticket = desk.share(&file).ticket;
            let hints: Vec<_> = ticket
                .parse::<Ticket>()
                .unwrap()
                .hints
                .iter()
                .map(|at| at.ip())
                .collect();
            assert_eq!(hints, [own], "{interfaces}");
        }
        // By the ticket alone: nobody is found by multicast.
        laptop.cable.block_multicast();
        laptop.fetch(&desk.share(&file).ticket, "got");
    });
}
