//! D1: a proof that can be reflected, and proofs shown to whoever is there.
//!
//! What else has this shape? The opener's proof sent back on the same connection, on a new QUIC
//! connection, on TCP; the acceptor's proof given as an answer; a query sent back; the words of one
//! stream used on another; a proof shown to a neighbour that nobody has named; a proof shown to a
//! device that a malicious holder names. Proofs towards stores and between nodes of a
//! fleet: `relay-server/tests/relay/serve_matrix.rs` and `serve_fleet.rs`; every field of the
//! transcript: `proto-spec/src/proof.rs`.

use crate::common::pair;
use hither_tests::lab::{
    self, At, Caller, Conduct, Holder, Loot, MIB, Stranger, Tree, fill, probe, until,
};
use std::net::SocketAddr;

/// Returns what a stranger may have got at most: nothing.
fn nothing(loot: &Loot) {
    let got = Loot {
        queries: 0,
        opens: 0,
        reflected: 0,
        ..loot.clone()
    };
    assert_eq!(got, Loot::default(), "{loot:?}");
}

#[test]
fn field_d1_a_neighbour_is_shown_no_proof_and_gets_nothing_for_what_it_reflects() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let place = lab.device("corner");
        let file = fill(desk.path("film.mkv"), 1, 20 * MIB);
        let ticket = desk.share(&file).ticket;
        let stranger = Stranger::start(&place);
        laptop.up();
        laptop.sees(2);
        desk.cable.shape_up(50);
        laptop.fetch(&ticket, "got");
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
        until("the stranger was asked", || {
            Some(stranger.loot()).filter(|loot| loot.queries > 0 && loot.reflected > 1)
        });
        let loot = stranger.loot();
        assert_eq!(
            loot.opens, 0,
            "no share was named to a neighbour that nobody knows: {loot:?}"
        );
        nothing(&loot);
        let why = laptop.why(&laptop.transfer().transfer);
        let id = stranger.id.to_string();
        assert!(
            why.sources.iter().all(|source| source.source.device != id),
            "{:?}",
            why.sources
        );
    });
}

#[test]
fn field_d1_an_origin_that_is_asked_by_a_stranger_says_nothing() {
    lab::run(|lab| {
        // The other way round: devices that have the share ask nobody; those that look for one they
        // do not find do.
        let (desk, laptop) = pair(lab);
        let place = lab.device("corner");
        let ticket = desk.share(&fill(desk.path("film.mkv"), 1, MIB)).ticket;
        desk.down();
        let stranger = Stranger::start(&place);
        laptop.up();
        laptop.sees(1);
        let into = laptop.path("got");
        let fetch = [
            "fetch",
            &ticket,
            "--yes",
            "-o",
            into.to_str().unwrap(),
            "--wait",
            "4s",
        ];
        laptop.hither(&fetch).failed(3);
        let loot = stranger.loot();
        assert!(loot.queries > 0, "{loot:?}");
        assert_eq!(loot.opens, 0, "{loot:?}");
        nothing(&loot);
    });
}

#[test]
fn field_d1_a_stranger_that_a_holder_names_gets_nothing_for_the_proofs_it_reflects() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let (place, other) = (lab.device("corner"), lab.device("hall"));
        let file = fill(desk.path("film.mkv"), 1, 20 * MIB);
        let ticket = desk.share(&file).ticket;
        let stranger = Stranger::start(&place);
        let at = SocketAddr::new(place.cable.address().parse().unwrap(), stranger.port.0);
        let _accomplice = Holder::start(&other, &ticket, Conduct::Names(stranger.id, at));
        laptop.up();
        laptop.sees(3);
        desk.cable.shape_up(50);
        laptop.fetch(&ticket, "got");
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
        until("the stranger was shown a proof", || {
            Some(stranger.loot()).filter(|loot| loot.opens > 0)
        });
        nothing(&stranger.loot());
    });
}

/// Returns what may be seen after a message; everything else is a way in.
fn expected(caller: Caller, at: At, message: &str) -> &'static [&'static str] {
    const SILENT: &[&str] = &["ended", "nothing"];
    let begins = matches!(message, "open, control" | "open, bulk");
    match (caller, at) {
        // Many at once take each other's place, and are told so.
        (_, At::Code) => &["ended", "nothing", "refused", "code refused"],
        // Whatever a stranger says, it is refused, cut off or ignored.
        (Caller::Stranger, _) => &["ended", "nothing", "refused"],
        (Caller::Holder, At::First) if begins => &["opened"],
        (Caller::Holder, At::First) if message == "blind query" => &["blind reply"],
        (Caller::Holder, At::First) => &["ended", "nothing", "refused"],
        (Caller::Holder, At::AfterQuery) if begins => &["opened"],
        (Caller::Holder, At::AfterQuery) => &["ended", "nothing", "refused"],
        (Caller::Holder, At::Control) if message == "ping" => &["pong"],
        // A device gives no chunks by GET, and says so.
        (Caller::Holder, At::Bulk) if message == "chunk token request" => &["chunk token"],
        (Caller::Holder, At::Bulk) if message == "want" => &["chunk", "not held", "served"],
        // A second open, somebody else's part, or an answer to nothing.
        (Caller::Holder, At::Control | At::Bulk) => SILENT,
        // The holder of a ticket is a stranger where no share is spoken of.
        (Caller::Holder, At::Mail | At::Introduction) => &["ended", "nothing", "refused"],
    }
}

#[test]
fn field_d1_every_message_by_every_caller_at_every_place_on_each_carrier() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let place = lab.device("corner");
        let file = fill(desk.path("film.mkv"), 1, 4 * MIB);
        let ticket = desk.share(&file).ticket;
        let outcomes = probe(&place, &desk, &ticket);
        let mut wrong = Vec::new();
        for ((caller, carrier, at, message), seen) in &outcomes {
            println!("{caller:?} | {carrier} | {at:?} | {message} | {seen}");
            if !expected(*caller, *at, message).contains(seen) {
                wrong.push(format!("{caller:?} {carrier} {at:?} {message}: {seen}"));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert_eq!(
            outcomes.len(),
            2 * 2 * 7 * 36,
            "kinds of messages by caller, carrier and place"
        );
        // It is none the worse for it.
        laptop.fetch(&ticket, "got");
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
        assert_eq!(desk.hither(&["list"]).well().lines.len(), 1);
        assert!(!desk.log().contains("panicked"), "a task has died");
    });
}
