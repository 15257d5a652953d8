//! What is durable is fetched once, whatever happens to whom.

use crate::common::{Random, bytes_in, pair, ratio};
use hither_api::ErrorCode;
use hither_tests::lab::{self, Device, MIB, Tree, fill};
use std::thread::sleep;
use std::time::Duration;

/// Speed of the origin's link, so that a kill lands in the middle.
const MBIT: u32 = 200;
const SIZE: u64 = 160 * MIB;
/// Longest time from writing to durable: a checkpoint every 0.5 s, and as long again for the disk to do it.
const NOT_DURABLE: f64 = 1.0;
/// What encryption, framing and packets add, and what is asked for twice when a link breaks.
const OVERHEAD: f64 = 1.06;

/// The most that may arrive when the fetcher died so often.
fn bound(kills: u64) -> u64 {
    (SIZE as f64 * OVERHEAD) as u64 + kills * bytes_in(MBIT, NOT_DURABLE)
}

/// A random moment after so many bytes: that it is no particular one is the point.
fn moment_after(device: &Device, bytes: u64, random: &mut Random) {
    device.follow(bytes);
    sleep(Duration::from_millis(random.below(250)));
}

#[test]
fn a_fetcher_that_dies_fetches_nothing_durable_again() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let mut random = Random(lab.seed());
        desk.cable.shape_up(MBIT);
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let ticket = desk.share(&file).ticket;
        laptop.up();
        let before = laptop.cable.traffic().received;
        let mut fetch = laptop.begin_fetch(&ticket, "got");
        fetch.reach(1);
        let kills = 4;
        for kill in 0..kills {
            let part = SIZE * 9 / 10 / kills;
            moment_after(&laptop, kill * part + random.below(part), &mut random);
            laptop.kill();
            // It goes on by itself, with no command that asks for it.
            laptop.up();
        }
        assert_eq!(fetch.finish().failed(1).code, ErrorCode::NoDaemon);
        laptop.complete();
        let received = laptop.cable.traffic().received - before;
        ratio("received", received, SIZE);
        assert!(received <= bound(kills), "{received} bytes came, {} are allowed", bound(kills));
        Tree::of(file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
    });
}

#[test]
fn an_origin_that_dies_is_waited_for() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        desk.cable.shape_up(MBIT);
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let ticket = desk.share(&file).ticket;
        let before = laptop.cable.traffic().received;
        let mut fetch = laptop.begin_fetch(&ticket, "got");
        for part in [1, 2] {
            fetch.reach(SIZE * part / 3);
            desk.kill();
            desk.up();
        }
        fetch.finish().fetched();
        let received = laptop.cable.traffic().received - before;
        ratio("received", received, SIZE);
        assert!(received <= bound(0), "{received} bytes came, {} are allowed", bound(0));
        Tree::of(file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
    });
}

#[test]
fn an_interrupt_stops_and_the_same_command_goes_on() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        desk.cable.shape_up(MBIT);
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let ticket = desk.share(&file).ticket;
        laptop.up();
        let before = laptop.cable.traffic().received;
        for part in [1, 2, 3] {
            let mut fetch = laptop.begin_fetch(&ticket, "got");
            fetch.reach(SIZE * part / 4);
            fetch.interrupt();
            assert_eq!(fetch.finish().failed(130).code, ErrorCode::Interrupted);
            let transfer = laptop.transfer();
            assert_eq!(transfer.phase, hither_api::Phase::Paused);
            assert!(transfer.bytes >= SIZE * part / 4, "{transfer:?}");
            // The command said that it stopped: nothing comes any more.
            let stopped = laptop.cable.traffic().received;
            sleep(Duration::from_millis(500));
            assert!(laptop.cable.traffic().received - stopped < MIB / 4);
        }
        let fetched = laptop.fetch(&ticket, "got");
        assert_eq!(fetched.from(&desk.id()), SIZE, "{fetched:?}");
        let received = laptop.cable.traffic().received - before;
        ratio("received", received, SIZE);
        // Stopping in order makes all durable: only what was on its way comes again.
        assert!(received <= bound(0), "{received} bytes came, {} are allowed", bound(0));
        Tree::of(file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
    });
}
