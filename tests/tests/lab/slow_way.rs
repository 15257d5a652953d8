//! A relay beside a slow direct way: what is fetched goes where it is faster, if that is worth what
//! a relay costs.

use crate::relay_world::{join_all, quick};
use hither_api::SourceKind;
use hither_tests::lab::{self, ALL_SITES, Fetched, Lab, MIB, Tree, fill};
use std::time::Duration;

/// A device fetches so many bytes from one at another site: over a direct way of so many Mbit/s,
/// beside a relay of so many.
fn fetched_over(lab: &Lab, (direct, relayed): (u32, u32), size: u64, mode: &str) -> Fetched {
    let internet = lab.internet();
    let (one, two) = (internet.site(), internet.site());
    let relay = quick(internet.relay("relay"));
    relay.start();
    let (desk, laptop) = (one.device("desk"), two.device("laptop"));
    join_all(&[&desk, &laptop], &relay.invitation());
    let file = fill(desk.path("film.mkv"), 1, size);
    let ticket = desk.share_with(&file, &["--no-upload"]).ticket;
    one.router.delay(Duration::from_millis(10));
    one.router.shape_to(ALL_SITES, direct);
    relay.cable.shape_up(relayed);
    let into = laptop.path("got");
    let arguments = [
        "fetch",
        &ticket,
        "--yes",
        "-o",
        into.to_str().unwrap(),
        "--mode",
        mode,
    ];
    let fetched = laptop.hither(&arguments).fetched();
    println!("{:.1} s; {:?}", fetched.seconds, fetched.sources);
    Tree::of(&file).assert_same(&Tree::of(into.join("film.mkv")));
    assert_eq!(
        fetched.by(SourceKind::Direct) + fetched.by(SourceKind::Relayed),
        size
    );
    let why = laptop.why(&fetched.transfer);
    let vain: u64 = why.sources.iter().map(|source| source.wasted).sum();
    assert!(vain <= MIB, "{vain} bytes came in vain");
    fetched
}

#[test]
fn d3_a_relay_takes_the_place_of_a_slow_direct_way() {
    lab::run(|lab| {
        const SIZE: u64 = 32 * MIB;
        let fetched = fetched_over(lab, (8, 60), SIZE, "balanced");
        // Directly it would take 34 s.
        assert!(fetched.by(SourceKind::Relayed) > SIZE * 3 / 4);
        assert!(
            fetched.by(SourceKind::Direct) >= MIB,
            "it comes first, and is measured"
        );
        assert!(fetched.seconds < 20.0, "{}", fetched.seconds);
    });
}

#[test]
fn d3_a_relay_that_is_no_faster_is_left_again() {
    lab::run(|lab| {
        const SIZE: u64 = 32 * MIB;
        let fetched = fetched_over(lab, (16, 4), SIZE, "balanced");
        let relayed = fetched.by(SourceKind::Relayed);
        assert!(
            (1..=2 * MIB).contains(&relayed),
            "{relayed} bytes: it is tried with a span or two"
        );
    });
}

#[test]
fn d3_a_relay_that_is_not_worth_its_price_is_not_tried() {
    lab::run(|lab| {
        const SIZE: u64 = 32 * MIB;
        // Who saves waits at 9.5 Mbit/s and more.
        let fetched = fetched_over(lab, (16, 60), SIZE, "saver");
        assert_eq!(fetched.by(SourceKind::Relayed), 0);
    });
}
