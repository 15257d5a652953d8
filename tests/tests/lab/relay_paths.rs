//! Relays, ways to them and devices come and go: everybody finds its way by itself.

use crate::relay_world::{Fleet, PATIENCE, PING, World, join_all};
use hither_api::{RelayState, SentState};
use hither_tests::lab::{self, MIB, Protocol, Tree, fill, until};
use std::time::{Duration, Instant};

#[test]
fn e1_e2_a_front_that_dies_is_passed_over() {
    lab::run(|lab| {
        let fleet = Fleet::new(lab, &["front", "front"]);
        let (desk, laptop) = (fleet.one.device("desk"), fleet.two.device("laptop"));
        join_all(&[&desk, &laptop], &fleet.control.invitation());
        let victim = fleet.member(&desk.is_connected().front.unwrap());
        let other = fleet
            .members
            .iter()
            .find(|relay| relay.key() != victim.key())
            .unwrap();
        println!(
            "desk is at {}, laptop at {:?}",
            victim.name,
            fleet.front_of(&laptop)
        );
        victim.kill();
        let died = Instant::now();
        until("the other front", || {
            let relay = desk.relay();
            let there = relay.state == RelayState::Connected && relay.front == Some(other.key());
            there.then_some(())
        });
        println!("at {} {:.1?} later", other.name, died.elapsed());
        assert!(
            died.elapsed() < Duration::from_secs(PING + 8),
            "{:?}",
            died.elapsed()
        );
        until("both at one front", || {
            (fleet.front_of(&laptop) == Some(other.key())).then_some(())
        });
        laptop.sees_that("desk", true);
        assert_eq!(
            laptop.send("desk", "still there?").state,
            SentState::Delivered
        );
        // The list that a device gets may still name the dead one first.
        desk.kill();
        desk.up();
        assert_eq!(desk.is_connected().front, Some(other.key()));
        desk.sees_that("laptop", true);
        assert_eq!(desk.send("laptop", "yes").state, SentState::Delivered);
        // And when the other one is the only one.
        victim.start();
        other.kill();
        for device in [&desk, &laptop] {
            until("the first front again", || {
                (fleet.front_of(device) == Some(victim.key())).then_some(())
            });
        }
        laptop.sees_that("desk", true);
        assert_eq!(laptop.send("desk", "and now?").state, SentState::Delivered);
        assert_eq!(desk.texts(None), ["still there?", "and now?"]);
    });
}

#[test]
fn e2_where_udp_is_blocked_tcp_carries_everything() {
    lab::run(|lab| {
        const SIZE: u64 = 16 * MIB;
        let world = World::new(lab);
        world.two.router.block(Protocol::Udp);
        let (desk, laptop) = world.pair();
        let carrier = |device: &lab::Device| device.is_connected().carrier.unwrap();
        assert_eq!(
            (carrier(&desk), carrier(&laptop)),
            ("quic".into(), "tcp".into())
        );
        assert_eq!(desk.send("laptop", "over TCP").state, SentState::Delivered);
        assert_eq!(laptop.send("desk", "and back").state, SentState::Delivered);
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let shared = desk.share(&file);
        desk.uploads(&shared.share);
        let fetched = laptop.fetch(&shared.ticket, "got");
        println!("{:.1} s; {:?}", fetched.seconds, fetched.sources);
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
        let back = fill(laptop.path("song.flac"), 2, SIZE);
        let shared = laptop.share(&back);
        laptop.uploads(&shared.share);
        // One that is connected already finds the other carrier by itself.
        world.one.router.block(Protocol::Udp);
        let blocked = Instant::now();
        until("the other carrier", || {
            (desk.relay().carrier.as_deref() == Some("tcp")).then_some(())
        });
        println!("on TCP {:.1?} after UDP was blocked", blocked.elapsed());
        assert!(
            blocked.elapsed() < Duration::from_secs(PING * 2 + 8),
            "{:?}",
            blocked.elapsed()
        );
        desk.fetch(&shared.ticket, "got");
        Tree::of(&back).assert_same(&Tree::of(desk.path("got/song.flac")));
    });
}

#[test]
fn e2_a_relay_that_restarts_in_the_middle_of_a_fetch_is_waited_for() {
    lab::run(|lab| {
        const SIZE: u64 = 48 * MIB;
        let world = World::new(lab);
        let (desk, laptop) = world.pair();
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let shared = desk.share(&file);
        desk.uploads(&shared.share);
        desk.down();
        world.relay.cable.shape_up(40);
        let before = world.relay.cable.traffic().sent;
        let mut fetch = laptop.begin_fetch(&shared.ticket, "got");
        world.restarts_during(&mut fetch, SIZE);
        let fetched = fetch.finish().fetched();
        println!("{:.1} s; {:?}", fetched.seconds, fetched.sources);
        assert_eq!(fetched.from(&world.relay.key()), SIZE);
        let sent = world.relay.cable.traffic().sent - before;
        crate::common::ratio("the store sent", sent, SIZE);
        assert!(
            sent < SIZE * 12 / 10,
            "what was there was fetched again: {sent} bytes"
        );
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
        assert_eq!(laptop.is_connected().front, Some(world.relay.key()));
    });
}

#[test]
fn d1_d2_e3_e4_e5_the_list_of_devices_says_who_is_there() {
    lab::run(|lab| {
        let world = World::new(lab);
        let (desk, laptop) = world.pair();
        let devices = desk.devices();
        assert_eq!(devices.len(), 2, "{devices:?}");
        let listed = devices.iter().find(|device| !device.this).unwrap();
        assert_eq!(
            (&listed.name, &listed.device),
            (&"laptop".to_owned(), &laptop.id())
        );
        assert!(listed.online && !listed.same_network && listed.last_seen.is_some());
        let at = format!("{}:", laptop.cable.address());
        assert!(
            listed
                .addresses
                .iter()
                .any(|address| address.starts_with(&at)),
            "{listed:?}"
        );
        let gone = |how: &str, bound: Duration, since: Instant| {
            desk.sees_that("laptop", false);
            println!("{how}: offline {:.2?} later", since.elapsed());
            assert!(since.elapsed() < bound, "{how}: {:?}", since.elapsed());
        };
        let back = |how: &str, since: Instant| {
            desk.sees_that("laptop", true);
            println!("{how}: online {:.2?} later", since.elapsed());
        };
        laptop.down();
        gone("down", Duration::from_secs(1), Instant::now());
        laptop.up();
        back("up", Instant::now());
        // One period, the patience with what is late, and a second until others have heard of it.
        let silence = Duration::from_secs(PING + PATIENCE + 1);
        laptop.kill();
        let killed = Instant::now();
        // Whoever is dead is not said to have got anything.
        assert_eq!(
            desk.send("laptop", "are you there?").state,
            SentState::AtRelay
        );
        gone("killed", silence, killed);
        laptop.up();
        back("up after the crash", Instant::now());
        until("the message", || {
            (laptop.texts(None) == ["are you there?"]).then_some(())
        });
        laptop.cable.cut();
        gone("the cable cut", silence, Instant::now());
        until("it is noticed there", || {
            (laptop.relay().state != RelayState::Connected).then_some(())
        });
        laptop.cable.restore();
        back("the cable back", Instant::now());
        assert_eq!(desk.send("laptop", "and now?").state, SentState::Delivered);
        // What a device that is away was last seen is kept, by the relay and by whoever asks.
        laptop.down();
        desk.sees_that("laptop", false);
        world.relay.kill();
        world.relay.start();
        desk.is_connected();
        let known = desk
            .devices()
            .into_iter()
            .find(|device| device.name == "laptop")
            .unwrap();
        assert!(!known.online && known.last_seen.is_some(), "{known:?}");
    });
}
