//! Holders that know the ticket and still do not keep to the rules.

use crate::common::{bytes_in, pair, ratio};
use hither_api::ErrorCode;
use hither_tests::lab::{self, Conduct, Holder, MIB, Tree, fill};
use std::time::{Duration, Instant};

const SIZE: u64 = 50 * MIB;
const MBIT: u32 = 100;
/// The bytes that are wanted of a device that has given no data yet: one span at a time, with room
/// for a second after it was found out.
const IN_FLIGHT: u64 = 6 * MIB;

#[test]
fn a_liar_is_found_out_and_costs_little() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let place = lab.device("corner");
        desk.cable.shape_up(MBIT);
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let ticket = desk.share(&file).ticket;
        let liar = Holder::start(&place, &ticket, Conduct::Lies);
        laptop.up();
        laptop.sees(2);
        let fetched = laptop.fetch(&ticket, "got");
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
        assert!(liar.asked() > 0, "the liar was never asked");
        assert!(
            liar.given() <= IN_FLIGHT,
            "{} bytes of lies were taken",
            liar.given()
        );
        assert_eq!(fetched.from(&liar.id), 0, "{:?}", fetched.sources);
        let why = laptop.why(&fetched.transfer);
        let told = why
            .notes
            .iter()
            .find(|note| note.what == "lied")
            .expect("a note about the liar");
        assert_eq!(told.device, liar.id);
        assert!(
            laptop
                .plain(&["why"])
                .output
                .windows(7)
                .any(|word| word == b"damaged")
        );
        // What was written is the truth; what was a lie was never kept.
        println!(
            "{:.1} s instead of {:.1} s",
            fetched.seconds,
            SIZE as f64 / bytes_in(MBIT, 1.0) as f64
        );
    });
}

#[test]
fn a_liar_alone_is_an_error_of_its_own() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let place = lab.device("corner");
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let ticket = desk.share(&file).ticket;
        let liar = Holder::start(&place, &ticket, Conduct::Lies);
        desk.down();
        laptop.up();
        laptop.sees(1);
        let into = laptop.path("got");
        let run = laptop.hither(&[
            "fetch",
            &ticket,
            "--yes",
            "-o",
            into.to_str().unwrap(),
            "--wait",
            "3s",
        ]);
        let error = run.failed(5);
        assert_eq!(error.code, ErrorCode::Damaged);
        assert!(
            liar.given() > 0 && liar.given() <= IN_FLIGHT,
            "{} bytes of lies",
            liar.given()
        );
        assert!(!into.join("film.mkv").exists());
        // It goes on as soon as somebody honest is there.
        desk.up();
        laptop.fetch(&ticket, "got");
        Tree::of(&file).assert_same(&Tree::of(into.join("film.mkv")));
    });
}

#[test]
fn a_holder_that_stalls_delays_little() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let place = lab.device("corner");
        desk.cable.shape_up(MBIT);
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let ticket = desk.share(&file).ticket;
        let staller = Holder::start(&place, &ticket, Conduct::Stalls);
        laptop.up();
        laptop.sees(2);
        let began = Instant::now();
        let fetched = laptop.fetch(&ticket, "got");
        let ideal = Duration::from_secs_f64(SIZE as f64 / bytes_in(MBIT, 1.0) as f64);
        println!("{:.1} s instead of {ideal:.1?}", fetched.seconds);
        assert!(staller.asked() > 0, "the staller was never asked");
        assert!(
            began.elapsed() < ideal + Duration::from_secs(4),
            "{:?}",
            began.elapsed()
        );
        let why = laptop.why(&fetched.transfer);
        let told = why
            .notes
            .iter()
            .find(|note| note.what == "stalled")
            .expect("a note about the staller");
        assert_eq!(told.device, staller.id);
        ratio(
            "wasted",
            why.sources.iter().map(|source| source.wasted).sum(),
            SIZE,
        );
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
    });
}
