//! Devices behind routers that translate addresses find a direct path beside the relay's.

use crate::relay_world::World;
use hither_api::SourceKind;
use hither_tests::lab::{self, MIB, Nat, Tree, fill};

#[test]
fn r1_behind_two_ordinary_routers_a_session_moves_to_a_direct_path() {
    lab::run(|lab| {
        const SIZE: u64 = 32 * MIB;
        let world = World::behind(lab, Nat::HOME, |_| {});
        let (desk, laptop) = world.pair();
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let shared = desk.share_with(&file, &["--no-upload"]);
        world.relay.cable.shape_up(80);
        let before = world.relay.cable.traffic().sent;
        let fetched = laptop.fetch(&shared.ticket, "got");
        println!("{:.2} s, {:?}", fetched.seconds, fetched.sources);
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
        let direct: u64 = fetched
            .sources
            .iter()
            .filter(|source| source.kind == SourceKind::Direct)
            .map(|source| source.bytes)
            .sum();
        assert!(direct > SIZE * 3 / 4, "{:?}", fetched.sources);
        let relayed = world.relay.cable.traffic().sent - before;
        assert!(relayed < SIZE / 2, "the relay passed on {relayed} bytes");
    });
}
