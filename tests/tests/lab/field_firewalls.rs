//! B5: "seen" is taken for "reachable".
//!
//! What else has this shape? A firewall on the origin, on the fetcher, on the origin that comes up
//! in the middle, on one of two holders; what doctor says on the device that has it, and that it
//! says nothing once others get through.

use crate::common::{pair, standstill};
use hither_tests::lab::{self, Device, Lab, MIB, Tree, fill, until};
use std::time::{Duration, Instant};

/// Longest time for a fetch of 20 MiB, or without a byte: the goal is 2 s, and 2 s more are for a
/// busy machine.
const SOON: Duration = Duration::from_secs(4);

/// Returns whether doctor finds a firewall on this device.
fn finds_a_firewall(device: &Device) -> bool {
    let run = device.hither(&["doctor"]);
    run.lines.iter().any(|line| line["check"] == "firewall")
}

#[test]
fn field_b5_a_firewall_on_the_origin_is_got_around_and_named() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let file = fill(desk.path("film.mkv"), 1, 20 * MIB);
        let ticket = desk.share(&file).ticket;
        desk.cable.shut();
        laptop.up();
        laptop.sees(1);
        assert!(!finds_a_firewall(&desk));
        let began = Instant::now();
        laptop.fetch(&ticket, "got");
        println!("{:?}", began.elapsed());
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
        assert!(finds_a_firewall(&desk) && !finds_a_firewall(&laptop));
        // Once others get through there is nothing to say.
        desk.cable.unblock();
        let other = lab.device("tablet");
        other.fetch(&ticket, "got");
        until("doctor has nothing to say", || {
            (!finds_a_firewall(&desk)).then_some(())
        });
    });
}

#[test]
fn field_b5_a_firewall_on_the_fetcher_does_not_matter() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let file = fill(desk.path("film.mkv"), 1, 20 * MIB);
        let ticket = desk.share(&file).ticket;
        laptop.up();
        laptop.cable.shut();
        laptop.sees(1);
        let began = Instant::now();
        laptop.fetch(&ticket, "got");
        println!("{:?}", began.elapsed());
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
        assert!(!finds_a_firewall(&desk));
    });
}

/// A firewall comes up while something is fetched.
fn comes_up_in_the_middle(lab: &Lab, shuts: impl FnOnce(&Device, &Device)) {
    const LONG: u64 = 60 * MIB;
    let (desk, laptop) = pair(lab);
    let file = fill(desk.path("film.mkv"), 1, LONG);
    let ticket = desk.share(&file).ticket;
    laptop.up();
    laptop.sees(1);
    desk.cable.shape_up(50);
    let mut fetch = laptop.begin_fetch(&ticket, "got");
    fetch.reach(LONG / 5);
    shuts(&desk, &laptop);
    let longest = standstill(&laptop, Instant::now());
    assert!(longest < SOON, "{longest:?}");
    fetch.finish().fetched();
    Tree::of(&file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
    // What is fetched next finds its way too.
    let next = fill(desk.path("next.mkv"), 2, MIB);
    let ticket = desk.share(&next).ticket;
    let began = Instant::now();
    laptop.fetch(&ticket, "got");
    println!("the next took {:?}", began.elapsed());
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

#[test]
fn field_b5_a_firewall_that_comes_up_on_the_origin_in_the_middle() {
    lab::run(|lab| comes_up_in_the_middle(lab, |desk, _| desk.cable.shut()));
}

#[test]
fn field_b5_a_firewall_that_comes_up_on_the_fetcher_in_the_middle() {
    lab::run(|lab| comes_up_in_the_middle(lab, |_, laptop| laptop.cable.shut()));
}
