//! A device changes its network in the middle of what it does.

use crate::common::{bytes_in, ratio};
use hither_proto::Ticket;
use hither_tests::lab::{self, Device, MIB, Tree, fill, until};
use std::time::{Duration, Instant};

const MBIT: u32 = 100;
/// The goal is a second or two; the machine may be busy.
const SOON: Duration = Duration::from_secs(4);

/// Waits for the first mebibyte since `plugged`, and says how long it took.
fn goes_on(device: &Device, before: u64, plugged: Instant, what: &str) {
    until("more bytes", || {
        (device.transfer().bytes >= before + MIB).then_some(())
    });
    println!(
        "{what}: the first MiB {:.2?} after the move",
        plugged.elapsed()
    );
    assert!(plugged.elapsed() < SOON, "{what}: {:?}", plugged.elapsed());
}

/// How long nothing may come for what was on its way to have been counted.
const QUIET: Duration = Duration::from_millis(500);

/// Pulls the cable; says what was there when nothing came any more.
fn unplugged(device: &Device) -> u64 {
    device.cable.unplug();
    let (mut bytes, mut since) = (0, Instant::now());
    until("quiet", || {
        let now = device.transfer().bytes;
        if now != bytes {
            (bytes, since) = (now, Instant::now());
        }
        (since.elapsed() > QUIET).then_some(bytes)
    })
}

#[test]
fn a7_roaming_goes_on_with_who_is_there_and_back() {
    lab::run(|lab| {
        const SIZE: u64 = 96 * MIB;
        let lan = lab.internet().lan();
        let (desk, mut shed, mut laptop) =
            (lab.device("desk"), lab.device("shed"), lab.device("laptop"));
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let mut ticket: Ticket = desk.share(&file).ticket.parse().unwrap();
        shed.fetch(&ticket.to_string(), "copy");
        // Nobody is told where anybody is.
        ticket.hints.clear();
        shed.cable.unplug();
        lan.welcome(&mut shed);
        desk.cable.shape_up(MBIT);
        shed.cable.shape_up(MBIT);
        laptop.up();
        let before = laptop.cable.traffic().received;
        let mut fetch = laptop.begin_fetch(&ticket.to_string(), "got");
        fetch.reach(SIZE / 4);
        let here = unplugged(&laptop);
        lan.welcome(&mut laptop);
        goes_on(&laptop, here, Instant::now(), "to another LAN");
        fetch.reach(SIZE / 2);
        let here = unplugged(&laptop);
        lab.welcome(&mut laptop);
        goes_on(&laptop, here, Instant::now(), "and back");
        let fetched = fetch.finish().fetched();
        println!("{:?}", fetched.sources);
        let (desk_gave, shed_gave) = (fetched.from(&desk.id()), fetched.from(&shed.id()));
        assert_eq!(desk_gave + shed_gave, SIZE);
        assert!(
            shed_gave > SIZE / 8 && desk_gave > SIZE / 2,
            "{desk_gave} and {shed_gave}"
        );
        // Data that was on its way at each move is lost, and what no checkpoint had covered yet;
        // nothing that was durable.
        let received = laptop.cable.traffic().received - before;
        ratio("received", received, SIZE);
        assert!(
            received <= SIZE * 106 / 100 + 2 * bytes_in(MBIT, 0.7),
            "{received}"
        );
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
    });
}

#[test]
fn a7_roaming_of_who_gives_is_followed() {
    lab::run(|lab| {
        const SIZE: u64 = 64 * MIB;
        let lan = lab.internet().lan();
        let (mut desk, mut laptop) = (lab.device("desk"), lab.device("laptop"));
        desk.cable.shape_up(MBIT);
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let mut ticket: Ticket = desk.share(&file).ticket.parse().unwrap();
        ticket.hints.clear();
        let mut fetch = laptop.begin_fetch(&ticket.to_string(), "got");
        fetch.reach(SIZE / 4);
        // First the one who gives, then the one who fetches: both are at other addresses when they
        // meet again.
        desk.cable.unplug();
        lan.welcome(&mut desk);
        let here = unplugged(&laptop);
        lan.welcome(&mut laptop);
        goes_on(&laptop, here, Instant::now(), "both elsewhere");
        fetch.finish().fetched();
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
    });
}
