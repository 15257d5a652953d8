//! Finding the way to a device, or back to it, takes no longer than it must.

use crate::common::pair;
use hither_api::ErrorCode;
use hither_proto::Ticket;
use hither_tests::lab::{self, MIB, Protocol, Running, Tree, fill, until};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// What one dead end used to cost: the time that a dial may take.
const DEAD_END: Duration = Duration::from_secs(5);

/// Waits for the end of a short fetch; it must come well before a dial would have been given up.
fn ends_soon(fetch: Running, began: Instant) {
    fetch.finish().fetched();
    println!("it took {:.1?} in all", began.elapsed());
    assert!(
        began.elapsed() < DEAD_END - Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn an_origin_that_is_back_is_noticed_at_once() {
    lab::run(|lab| {
        const SIZE: u64 = 60 * MIB;
        let (desk, laptop) = pair(lab);
        desk.cable.shape_up(100);
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let ticket = desk.share(&file).ticket;
        let mut fetch = laptop.begin_fetch(&ticket, "got");
        fetch.reach(SIZE / 3);
        desk.kill();
        let here = laptop.transfer().bytes;
        desk.up();
        let back = Instant::now();
        fetch.reach(here + MIB);
        println!("goes on {:.1?} after the origin was back", back.elapsed());
        fetch.finish().fetched();
        // By its first answer, and not by how long it said nothing.
        let log = laptop.log();
        let ends: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("a session ended"))
            .collect();
        assert!(
            ends.iter()
                .any(|line| line.contains("the other device was restarted")),
            "{ends:?}"
        );
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
    });
}

#[test]
fn blocked_udp_delays_little() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let file = fill(desk.path("film.mkv"), 1, MIB);
        let ticket = desk.share(&file).ticket;
        laptop.up();
        laptop.cable.block(Protocol::Udp);
        let began = Instant::now();
        let fetch = laptop.begin_fetch(&ticket, "got");
        ends_soon(fetch, began);
        assert!(
            laptop
                .status()
                .links
                .iter()
                .all(|link| link.carrier == "tcp")
        );
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
    });
}

#[test]
fn a_device_that_is_not_where_the_ticket_says_is_found_nearby() {
    lab::run(|lab| {
        // Addresses at which nobody answers: an address of this network that nobody has, and one to
        // which there is no way.
        for (number, stale) in ["10.77.0.250:47447", "192.0.2.1:47447"]
            .into_iter()
            .enumerate()
        {
            let desk = lab.device(&format!("desk{number}"));
            let laptop = lab.device(&format!("laptop{number}"));
            let file = fill(desk.path("film.mkv"), 1, MIB);
            let mut ticket: Ticket = desk.share(&file).ticket.parse().unwrap();
            ticket.hints = vec![stale.parse::<SocketAddr>().unwrap()];
            // Its daemon starts with the fetch: the ticket is known before the neighbours are.
            let began = Instant::now();
            let fetch = laptop.begin_fetch(&ticket.to_string(), "got");
            ends_soon(fetch, began);
            Tree::of(&file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
        }
    });
}

#[test]
fn a_fetch_that_is_stopped_while_it_dials_leaves_no_session_behind() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let file = fill(desk.path("film.mkv"), 1, MIB);
        let ticket = desk.share(&file).ticket;
        laptop.up();
        desk.cable.cut();
        let fetch = laptop.begin_fetch(&ticket, "got");
        until("a dial", || {
            laptop
                .log()
                .contains("a session is being opened")
                .then_some(())
        });
        fetch.interrupt();
        assert_eq!(fetch.finish().failed(130).code, ErrorCode::Interrupted);
        until("the end of the dial", || {
            laptop
                .log()
                .contains("closed here before it was open")
                .then_some(())
        });
        // The same command dials anew.
        desk.cable.restore();
        laptop.fetch(&ticket, "got");
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
    });
}
