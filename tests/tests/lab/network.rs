//! Networks come and go.

use crate::common::{bytes_in, pair, ratio};
use hither_api::{Event, Phase};
use hither_proto::Ticket;
use hither_tests::lab::{self, MIB, Tree, fill, until};
use std::thread::sleep;
use std::time::{Duration, Instant};

#[test]
fn an_interface_that_comes_late() {
    lab::run(|lab| {
        let desk = lab.device("desk");
        let laptop = lab.unplugged("laptop");
        let file = fill(desk.path("file"), 1, MIB);
        let mut ticket: Ticket = desk.share(&file).ticket.parse().unwrap();
        ticket.hints.clear();
        laptop.up();
        let into = laptop.path("got");
        let fetch = [
            "fetch",
            &ticket.to_string(),
            "--yes",
            "-o",
            into.to_str().unwrap(),
            "--wait",
            "40s",
        ];
        let mut fetch = laptop.begin(&fetch);
        fetch.wait_for("a look around", |_| Some(()));
        assert_eq!(laptop.status().nearby, 0);
        laptop.cable.connect();
        let connected = Instant::now();
        fetch.finish().fetched();
        println!("{:.1?} after the interface came up", connected.elapsed());
        assert!(connected.elapsed() < Duration::from_secs(15));
        Tree::of(&file).assert_same(&Tree::of(into.join("file")));
    });
}

#[test]
fn a7_a_device_that_leaves_and_returns() {
    lab::run(|lab| {
        const SIZE: u64 = 50 * MIB;
        const MBIT: u32 = 100;
        let (desk, laptop) = pair(lab);
        desk.cable.shape_up(MBIT);
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let ticket = desk.share(&file).ticket;
        let before = laptop.cable.traffic().received;
        let mut fetch = laptop.begin_fetch(&ticket, "got");
        // Shorter and longer than it takes to notice.
        for (part, away) in [(1, 4), (2, 18)] {
            fetch.reach(SIZE * part / 3);
            desk.cable.cut();
            sleep(Duration::from_secs(away));
            let here = laptop.transfer();
            assert!(here.bytes < SIZE && here.phase != Phase::Failed, "{here:?}");
            desk.cable.restore();
            let restored = Instant::now();
            until("more bytes", || {
                (laptop.transfer().bytes > here.bytes).then_some(())
            });
            println!(
                "away for {away} s; goes on {:.1?} later",
                restored.elapsed()
            );
            assert!(restored.elapsed() < Duration::from_secs(20));
        }
        fetch.finish().fetched();
        let received = laptop.cable.traffic().received - before;
        ratio("received", received, SIZE);
        // What is on its way when the cable is pulled is lost, and comes again.
        assert!(received <= SIZE * 106 / 100 + bytes_in(MBIT, 1.0));
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
    });
}

#[test]
fn a_holder_that_was_there_is_waited_for_without_end() {
    lab::run(|lab| {
        const SIZE: u64 = 50 * MIB;
        let (desk, laptop) = pair(lab);
        desk.cable.shape_up(100);
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let ticket = desk.share(&file).ticket;
        // How long somebody is looked for at first. Data comes without a pause for longer than
        // that.
        laptop.hither(&["config", "set", "wait", "2s"]).well();
        let mut fetch = laptop.begin_fetch(&ticket, "got");
        fetch.reach(SIZE * 3 / 4);
        desk.kill();
        fetch.wait_for("the loss of the origin", |event| match event {
            Event::Progress {
                phase: Phase::Waiting,
                ..
            } => Some(()),
            _ => None,
        });
        desk.up();
        fetch.finish().fetched();
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
    });
}
