//! What is durable is fetched once, whatever happens to whom.

use crate::common::{Random, bytes_in, pair, ratio};
use hither_api::ErrorCode;
use hither_tests::lab::{self, Device, MIB, Tree, fill};
use std::thread::sleep;
use std::time::Duration;

/// Speed of the origin's link, so that a kill lands in the middle.
const MBIT: u32 = 200;
const SIZE: u64 = 120 * MIB;
/// Longest time from writing to durable: a checkpoint every 0.5 s, and as long again for the disk
/// to do it.
const NOT_DURABLE: f64 = 1.0;
/// What encryption, framing and packets add.
const OVERHEAD: f64 = 1.06;
/// The part that is on its way when a fetch stops: a request in the queue of the link, and what was
/// asked for behind it.
const ON_ITS_WAY: f64 = 0.2;

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
        // Who asked for it is gone: a command that is still there would start the daemon again.
        drop(fetch);
        let kills = 4;
        for kill in 0..kills {
            let part = SIZE * 9 / 10 / kills;
            moment_after(&laptop, kill * part + random.below(part), &mut random);
            laptop.kill();
            // It goes on by itself, with no command that asks for it.
            laptop.up();
        }
        laptop.complete();
        let received = laptop.cable.traffic().received - before;
        ratio("received", received, SIZE);
        assert!(
            received <= bound(kills),
            "{received} bytes came, {} are allowed",
            bound(kills)
        );
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
        fetch.reach(SIZE / 2);
        desk.kill();
        desk.up();
        fetch.finish().fetched();
        let received = laptop.cable.traffic().received - before;
        ratio("received", received, SIZE);
        let bound = bound(0) + bytes_in(MBIT, ON_ITS_WAY);
        assert!(
            received <= bound,
            "{received} bytes came, {bound} are allowed"
        );
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
            // What was on its way when the command ended still arrives; then nothing does.
            let stopped = laptop.cable.traffic().received;
            sleep(Duration::from_secs(1));
            let late = laptop.cable.traffic().received - stopped;
            assert!(
                late < bytes_in(MBIT, 0.5),
                "{late} bytes came after the end"
            );
        }
        let fetched = laptop.fetch(&ticket, "got");
        assert_eq!(fetched.from(&desk.id()), SIZE, "{fetched:?}");
        let received = laptop.cable.traffic().received - before;
        ratio("received", received, SIZE);
        // Stopping in order makes all durable: only what was on its way comes again.
        let bound = bound(0) + 3 * bytes_in(MBIT, ON_ITS_WAY);
        assert!(
            received <= bound,
            "{received} bytes came, {bound} are allowed"
        );
        Tree::of(file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
    });
}

#[test]
#[ignore = "long: for the nightly run"]
fn everybody_dies_again_and_again() {
    lab::run(|lab| {
        const KILLS: u64 = 12;
        let (desk, laptop) = pair(lab);
        let phone = lab.device("phone");
        let mut random = Random(lab.seed());
        desk.cable.shape_up(MBIT / 4);
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let ticket = desk.share(&file).ticket;
        let mut fetches = [&laptop, &phone].map(|device| device.begin_fetch(&ticket, "got"));
        fetches.iter_mut().for_each(|fetch| fetch.reach(1));
        for _ in 0..KILLS {
            let victim = [&desk, &laptop, &phone][random.below(3) as usize];
            sleep(Duration::from_millis(500 + random.below(1500)));
            victim.kill();
            victim.up();
        }
        for device in [&laptop, &phone] {
            device.complete();
            Tree::of(&file).assert_same(&Tree::of(device.path("got/film.mkv")));
        }
    });
}
