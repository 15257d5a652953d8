//! Stores as nodes of their own: they announce themselves, are chosen by what they have room for,
//! and may die.

use crate::relay_world::Fleet;
use hither_api::{SourceKind, UploadState};
use hither_tests::lab::{self, MIB, Tree, fill, until};

#[test]
fn b5_b6_b8_a_share_goes_to_a_store_with_room_and_a_dead_store_is_taken_out() {
    lab::run(|lab| {
        // The first one has room for little.
        let small = 24 * MIB;
        let fleet = Fleet::with(lab, &["store", "store"], |number, relay| {
            if number == 0 {
                relay.set(&format!("store.total_quota={small}"));
            }
        });
        let [little, large] = &fleet.members[..] else {
            panic!("two stores")
        };
        assert!(
            fleet.control.stats()["store"].is_null(),
            "it does not store itself"
        );
        let (desk, laptop) = (fleet.one.device("desk"), fleet.two.device("laptop"));
        let invitation = fleet.control.invitation();
        desk.join(&invitation);
        laptop.join(&invitation);
        let film = fill(desk.path("film.mkv"), 1, 40 * MIB);
        let shared = desk.share(&film);
        desk.uploads(&shared.share);
        assert_eq!(
            desk.upload(&shared.share).store,
            Some(large.key()),
            "only one has room for it"
        );
        let kept = |relay: &lab::Relay| relay.stats()["store"]["kept"].as_u64().unwrap();
        assert!(kept(large) >= 40 * MIB && kept(little) == 0);
        // An upload does not pass the front: it goes straight to the store, and comes
        // straight from there.
        let passed = fleet.control.cable.traffic();
        desk.down();
        let fetched = laptop.fetch(&shared.ticket, "got");
        let passed = fleet.control.cable.traffic().total() - passed.total();
        println!("{:?}; {passed} bytes passed the front", fetched.sources);
        assert_eq!(fetched.from(&large.key()), 40 * MIB);
        assert!(
            fetched
                .sources
                .iter()
                .all(|source| source.kind == SourceKind::Store)
        );
        assert!(passed < MIB, "{passed} bytes passed the front");
        Tree::of(&film).assert_same(&Tree::of(laptop.path("got/film.mkv")));
        // A dead one is no place any more: the next share goes to the other one, without anybody
        // doing anything.
        desk.up();
        large.kill();
        let song = fill(desk.path("song.flac"), 2, 8 * MIB);
        let shared = desk.share(&song);
        desk.uploads(&shared.share);
        assert_eq!(desk.upload(&shared.share).store, Some(little.key()));
        assert!(kept(little) >= 8 * MIB);
        // What fits nowhere is refused with a reason, and taken when there is room again.
        let more = fill(desk.path("more"), 3, 32 * MIB);
        let waits = desk.share(&more);
        let told = until("a reason", || {
            let upload = desk.upload(&waits.share);
            (upload.state == UploadState::Waiting && upload.reason.is_some()).then_some(upload)
        });
        println!("nowhere: {:?}, {}", told.reason, told.words);
        large.start();
        desk.uploads(&waits.share);
        assert_eq!(desk.upload(&waits.share).store, Some(large.key()));
        // What the dead one had is still there.
        let phone = fleet.two.device("phone");
        desk.down();
        laptop.down();
        phone.fetch(&shared.ticket, "got");
        phone.fetch(&waits.ticket, "got");
        Tree::of(&song).assert_same(&Tree::of(phone.path("got/song.flac")));
        Tree::of(&more).assert_same(&Tree::of(phone.path("got/more")));
    });
}
