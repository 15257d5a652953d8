//! D5 and D6: crowds that shut everybody out.
//!
//! What else has this shape? Silent TCP connections to a device and to a relay, from one address and from many; connections that
//! finish the handshake and say nothing; many keys from one address; streams that are opened and left (`carrier/tests/carrier/hostile.rs`);
//! a reader with all upload slots, over many streams and both carriers; a crowd of readers with one slot each
//! (`engine/src/serving.rs`).

use crate::common::{bytes_in, pair};
use crate::relay_world::quick;
use hither_tests::lab::{self, Hoarder, MIB, Silent, Tree, fill, listens};
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
