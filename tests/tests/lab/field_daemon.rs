//! Field faults of commands that outlive their daemon, or their reader (B9, C4, C13).
//!
//! Siblings considered. B9: `fetch` and `transfers --watch` whose stream breaks in the middle (the
//! start and the question are in `field_local.rs`); killed twice; ended in order, which is an end
//! for both; a fetch that is followed. C4: the notes of `why` in a daemon that ran long before, and
//! over a restart. C13: `fetch -o -` into `head`.

use crate::common::pair;
use hither_api::Event;
use hither_tests::lab::{self, Conduct, Holder, MIB, Tree, fill, until};

const SIZE: u64 = 40 * MIB;

#[test]
fn field_b9_a_daemon_that_dies_in_the_middle_is_started_again_and_the_fetch_goes_on() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        desk.cable.shape_up(60);
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let ticket = desk.share(&file).ticket;
        laptop.up();
        let mut watching = laptop.begin(&["transfers", "--watch"]);
        let mut fetching = laptop.begin_fetch(&ticket, "got");
        let transfer = fetching.wait_for("an offer", |event| match event {
            Event::Offer { transfer, .. } => Some(transfer.clone()),
            _ => None,
        });
        for reached in [8, 16] {
            fetching.reach(reached * MIB);
            laptop.kill();
            fetching.wait_for("a word of it", |event| match event {
                Event::Warning { message } if message.contains("started again") => Some(()),
                _ => None,
            });
        }
        let fetched = fetching.finish().fetched();
        assert_eq!(
            (fetched.transfer.as_str(), fetched.bytes),
            (transfer.as_str(), SIZE)
        );
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
        // Whoever looks on sees its end too.
        watching.line("the end of the transfer", |line| {
            (line["phase"] == "done").then_some(())
        });
        // A daemon that is stopped is not started again by somebody who looks on.
        laptop.down();
        let run = watching.finish();
        assert_ne!(run.status, 0, "{:?}", run.lines.last());
        assert!(
            laptop
                .api()
                .get::<hither_api::Status>("/v1/status")
                .is_err(),
            "it runs again"
        );
    });
}

#[test]
fn field_b9_a_daemon_that_dies_alone_is_started_again_by_who_looks_on() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        desk.cable.shape_up(40);
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let ticket = desk.share(&file).ticket;
        let mut fetching = laptop.begin_fetch(&ticket, "got");
        fetching.reach(4 * MIB);
        let mut watching = laptop.begin(&["transfers", "--watch"]);
        watching.line("the transfer", |line| {
            (line["phase"] == "fetching").then_some(())
        });
        // The command is killed; the transfer goes on.
        drop(fetching);
        laptop.kill();
        watching.line("the end of the transfer", |line| {
            (line["phase"] == "done").then_some(())
        });
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
        watching.interrupt();
        watching.finish();
    });
}

#[test]
fn field_c4_why_counts_from_the_start_of_the_transfer() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let place = lab.device("corner");
        desk.cable.shape_up(60);
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let ticket = desk.share(&file).ticket;
        laptop.up();
        laptop.sees(1);
        until("a daemon that has run for a while", || {
            (laptop.status().uptime >= 20).then_some(())
        });
        let staller = Holder::start(&place, &ticket, Conduct::Stalls);
        laptop.sees(2);
        let mut fetching = laptop.begin_fetch(&ticket, "got");
        fetching.reach(SIZE / 2);
        let until_now = laptop.why(&laptop.transfer().transfer).notes;
        println!("{until_now:?}");
        // Stopped for a while, in order, it goes on where it was: what it had noted stays what it
        // was.
        laptop.down();
        drop(fetching);
        laptop.up();
        let fetched = laptop.complete();
        let why = laptop.why(&fetched.transfer);
        assert!(
            why.notes.iter().any(|note| note.device == staller.id),
            "{:?}",
            why.notes
        );
        for note in &why.notes {
            assert!(
                note.at >= 0.0 && note.at <= fetched.seconds + 0.5,
                "{note:?} in {} s",
                fetched.seconds
            );
        }
        assert!(
            why.notes.is_sorted_by(|a, b| a.at <= b.at),
            "{:?}",
            why.notes
        );
        assert_eq!(why.notes[..until_now.len()], until_now[..]);
    });
}

#[test]
fn field_c13_a_fetch_into_head_ends_without_a_word() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let ticket = desk.share(&file).ticket;
        laptop.up();
        let run = laptop.into_head(&["fetch", &ticket, "--yes", "-o", "-", "--quiet"], 10);
        assert_eq!((run.status, run.errors.as_str()), (141, ""));
        assert_eq!(run.output, std::fs::read(&file).unwrap()[..10]);
        assert!(laptop.transfers().is_empty(), "nothing of it is kept");
    });
}
