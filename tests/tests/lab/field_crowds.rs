//! D5, D6 and D8: crowds that shut everybody out.
//!
//! What else has this shape? Silent TCP connections to a device and to a relay, from one address
//! and from many; connections that finish the handshake and say nothing; many keys from one
//! address; streams that are opened and left (`carrier/tests/carrier/hostile.rs`); a reader with
//! all upload slots, over many streams and both carriers; a crowd of readers with one slot each
//! (`engine/src/serving.rs`); made-up devices that are announced, before and after the real one, at
//! many addresses and at one (`carrier/src/sightings.rs`).

use crate::common::{bytes_in, pair};
use crate::relay_world::quick;
use hither_proto::Ticket;
use hither_tests::lab::{self, Hoarder, MIB, MadeUp, Silent, Tree, fill, listens};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Longest time for what takes a second without the crowd, on a busy machine.
const SOON: Duration = Duration::from_secs(15);

#[test]
fn field_d5_silent_connections_do_not_shut_a_device() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let place = lab.device("corner");
        let file = fill(desk.path("file"), 1, 8 * MIB);
        let ticket = desk.share(&file).ticket;
        laptop.up();
        let (_, at) = listens(&desk);
        let _silent = Silent::start(&place, 20, 16, at);
        // Over TCP alone: there the crowd is.
        laptop.cable.block(lab::Protocol::Udp);
        let began = Instant::now();
        laptop.fetch(&ticket, "got");
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/file")));
    });
}

#[test]
fn field_d5_silent_connections_do_not_shut_a_relay() {
    lab::run(|lab| {
        let internet = lab.internet();
        let relay = quick(internet.relay("relay"));
        relay.start();
        let (desk, place) = (internet.device("desk"), internet.device("corner"));
        let url: hither_proto::RelayUrl = relay.url().parse().unwrap();
        let at: SocketAddr = url.at.socket_addr().unwrap();
        let _silent = Silent::start(&place, 16, 100, at);
        desk.cable.block(lab::Protocol::Udp);
        let began = Instant::now();
        desk.join(&relay.invitation());
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    });
}

#[test]
fn field_d6_a_reader_that_takes_nothing_holds_up_nobody_else() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let place = lab.device("corner");
        let file = fill(desk.path("file"), 1, 24 * MIB);
        let ticket = desk.share(&file).ticket;
        laptop.up();
        laptop.sees(1);
        let _hoarder = Hoarder::start(&place, &ticket, 30);
        desk.cable.shape_up(100);
        let ideal = Duration::from_secs_f64(24.0 * MIB as f64 / bytes_in(100, 1.0) as f64);
        let began = Instant::now();
        laptop.fetch(&ticket, "got");
        println!("{:?} instead of {ideal:?}", began.elapsed());
        assert!(began.elapsed() < ideal + SOON, "{:?}", began.elapsed());
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/file")));
    });
}

#[test]
fn field_d8_made_up_announcements_hide_nobody_who_matters() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let (place, phone) = (lab.device("corner"), lab.device("phone"));
        let file = fill(desk.path("file"), 1, 8 * MIB);
        // By multicast alone: the ticket says nothing of where the desk is.
        let ticket: Ticket = desk.share(&file).ticket.parse().unwrap();
        let ticket = Ticket {
            hints: Vec::new(),
            ..ticket
        }
        .to_string();
        desk.down();
        laptop.up();
        let crowd = MadeUp::start(&place, 3000, 100);
        laptop.sees(512);
        // Nobody has a ticket for it when it comes: it is left out, and found once somebody has.
        desk.up();
        phone.up();
        phone.sees(512);
        for device in [&laptop, &phone] {
            let began = Instant::now();
            device.fetch(&ticket, "got");
            println!("{}: {:?} in a crowd", device.name, began.elapsed());
            assert!(
                began.elapsed() < SOON,
                "{}: {:?}",
                device.name,
                began.elapsed()
            );
            Tree::of(&file).assert_same(&Tree::of(device.path("got/file")));
        }
        let nearby = laptop.status().nearby;
        assert!(nearby <= 1024, "{nearby}");
        // It comes while somebody waits for it.
        let late = lab.device("late");
        let another = fill(late.path("another"), 2, 8 * MIB);
        let ticket: Ticket = late.share(&another).ticket.parse().unwrap();
        let ticket = Ticket {
            hints: Vec::new(),
            ..ticket
        }
        .to_string();
        late.down();
        let into = laptop.path("got");
        let waits = [
            "fetch",
            &ticket,
            "--yes",
            "-o",
            into.to_str().unwrap(),
            "--wait",
            "60s",
        ];
        let waiting = laptop.begin(&waits);
        let began = Instant::now();
        late.up();
        waiting.finish().well();
        println!("{:?} after it came", began.elapsed());
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        drop(crowd);
    });
}
