//! A page reads from a store: what it gets, what it refuses, when it gives up. All in memory and in
//! virtual time; the store is at the other end of real TLS.

mod common;

use common::{Manner, SHARE, World, message, shared};
use hither_proto::Space;

const DAMAGED: u8 = 5;
const NOT_FOUND: u8 = 2;
const UNREACHABLE: u8 = 4;

fn opened(files: &[(&str, usize)], chunk: usize) -> World {
    let mut world = World::new(shared(files, chunk, 3), Manner::Honest);
    world.open();
    world.wait(5000.0, |world| world.heard.opened.is_some());
    assert_eq!(world.heard.opened, Some(SHARE));
    world
}

#[test]
fn files_are_read_whole_from_the_middle_and_at_once() {
    let mut world = opened(&[("a", 100_000), ("b", 0), ("c", 250_001)], 4096);
    let plain = world.shared.plain.clone();
    world.read(1, 1, 0);
    world.read(2, 2, 0);
    world.read(3, 3, 0);
    world.read(4, 3, 123_456);
    world.read(5, 3, 250_001);
    world.wait(5000.0, |world| world.heard.ended.len() == 5);
    let read = &world.heard.read;
    assert!(read[&1] == plain[..100_000]);
    assert!(!read.contains_key(&2) && !read.contains_key(&5));
    assert!(read[&3] == plain[100_000..]);
    assert!(read[&4] == plain[223_456..]);
    assert_eq!(world.heard.failed, []);
    // A chunk that two readings want is asked for once.
    let mut once = world.heard.wanted.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), world.heard.wanted.len());
}

#[test]
fn nothing_is_read_far_ahead_of_a_page_that_takes_nothing() {
    let mut world = opened(&[("big", 40 << 20)], 1 << 20);
    world.takes = false;
    world.read(1, 1, 0);
    world.wait(5000.0, |_| false);
    let ahead = world.heard.read[&1].len();
    assert!((8 << 20..=18 << 20).contains(&ahead), "{ahead}");
    assert!(world.heard.wanted.len() <= 18, "{:?}", world.heard.wanted);
    // Taking goes on reading.
    world.takes = true;
    let bytes = (ahead as u64).to_le_bytes();
    world.tell(message(12, &[&SHARE.to_le_bytes(), &1u32.to_le_bytes(), &bytes]));
    world.wait(20_000.0, |world| !world.heard.ended.is_empty());
    assert!(world.heard.read[&1] == world.shared.plain);
}

#[test]
fn small_files_one_after_the_other_get_their_chunks_once() {
    let names: Vec<String> = (0..60).map(|n| format!("{n:02}")).collect();
    let files: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), 1000)).collect();
    let mut world = opened(&files, 8192);
    let began = world.now;
    for n in 1..=60 {
        world.read(n, n, 0);
        world.wait(5000.0, |world| world.heard.ended.contains(&n));
    }
    // Nothing waits for a clock.
    assert!(world.now - began < 500.0, "{} ms", world.now - began);
    let all: Vec<u8> = world.heard.read.values().flatten().copied().collect();
    assert!(all == world.shared.plain);
    assert_eq!(world.heard.wanted.len(), 8, "{:?}", world.heard.wanted);
}

#[test]
fn a_store_that_lies_is_not_believed() {
    for space in [Space::Root, Space::Manifest] {
        let mut world = World::new(shared(&[("a", 10_000)], 4096, 3), Manner::Liar(space));
        world.open();
        world.wait(60_000.0, |world| !world.heard.failed.is_empty());
        assert_eq!(world.heard.opened, None, "{space:?}");
        assert_eq!(world.heard.failed, [(u32::MAX, DAMAGED)], "{space:?}");
    }
    let mut world = opened(&[("a", 10_000)], 4096);
    world.manner = Manner::Liar(Space::Data);
    world.read(1, 1, 0);
    world.wait(60_000.0, |world| !world.heard.failed.is_empty());
    assert_eq!(world.heard.failed, [(u32::MAX, DAMAGED)]);
    assert!(!world.heard.read.contains_key(&1));
}

#[test]
fn who_cannot_prove_to_know_the_share_gives_nothing() {
    for (manner, code) in [
        (Manner::Imposter, UNREACHABLE),
        (Manner::Forger, UNREACHABLE),
        (Manner::Silent, UNREACHABLE),
    ] {
        let mut world = World::new(shared(&[("a", 10_000)], 4096, 3), manner);
        world.open();
        world.wait(120_000.0, |world| !world.heard.failed.is_empty());
        assert_eq!(world.heard.opened, None, "{manner:?}");
        assert_eq!(world.heard.failed, [(u32::MAX, code)], "{manner:?}");
    }
}

#[test]
fn a_share_that_nobody_has_is_said_to_be_missing() {
    let mut world = World::new(shared(&[("a", 10_000)], 4096, 3), Manner::Unknown);
    world.open();
    world.wait(60_000.0, |world| !world.heard.failed.is_empty());
    let [(u32::MAX, code)] = world.heard.failed[..] else {
        panic!("{:?}", world.heard.failed)
    };
    assert!(code == NOT_FOUND || code == UNREACHABLE, "{code}");
    assert!(world.peers.is_empty(), "all pipes are closed");
}

#[test]
fn a_store_that_sends_what_nobody_asked_for_is_left() {
    let mut world = World::new(shared(&[("a", 10_000)], 4096, 3), Manner::Unasked);
    world.open();
    world.wait(60_000.0, |world| !world.heard.failed.is_empty());
    assert_eq!(world.heard.opened, None);
    assert_eq!(world.heard.failed.len(), 1);
}

#[test]
fn pipes_that_break_are_opened_again_and_reading_goes_on() {
    let mut world = opened(&[("big", 30 << 20)], 1 << 20);
    world.takes = false;
    world.read(1, 1, 0);
    world.wait(1000.0, |world| world.heard.read.contains_key(&1));
    for _ in 0..3 {
        let pipes: Vec<u32> = world.peers.keys().copied().collect();
        for pipe in pipes {
            world.peers.remove(&pipe);
            world.tell(message(6, &[&pipe.to_le_bytes()]));
        }
        world.wait(3000.0, |_| false);
    }
    world.takes = true;
    let taken = (world.heard.read[&1].len() as u64).to_le_bytes();
    world.tell(message(12, &[&SHARE.to_le_bytes(), &1u32.to_le_bytes(), &taken]));
    world.wait(60_000.0, |world| !world.heard.ended.is_empty());
    assert!(world.heard.read[&1] == world.shared.plain);
    assert_eq!(world.heard.failed, []);
}

#[test]
fn a_page_that_closes_a_share_leaves_nothing_open() {
    let mut world = opened(&[("a", 100_000)], 4096);
    world.read(1, 1, 0);
    world.tell(message(14, &[&SHARE.to_le_bytes()]));
    assert!(world.peers.is_empty());
    world.tell(message(10, &[]));
    assert_eq!(world.heard.failed, []);
}

#[test]
fn a_text_that_is_no_ticket_is_said_so_at_once() {
    let mut world = World::new(shared(&[("a", 1)], 4096, 3), Manner::Honest);
    let newer = "hither1qgqqqq";
    for text in ["", "hither1", "https://example.org", newer] {
        world.tell(message(3, &[&SHARE.to_le_bytes(), text.as_bytes()]));
    }
    assert_eq!(world.heard.failed.len(), 4);
    assert!(world.peers.is_empty());
}
