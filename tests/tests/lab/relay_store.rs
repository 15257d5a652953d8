//! What is shared is uploaded, and can be fetched whether its origin is there, dies, or is away.

use crate::common::ratio;
use crate::relay_world::{World, join_all};
use hither_api::{SourceKind, UploadState};
use hither_proto::Ticket;
use hither_tests::lab::{self, MIB, Tree, fill};
use std::fs;

#[test]
fn a1_a3_a_share_is_fetched_from_the_store_with_its_origin_there_and_away() {
    lab::run(|lab| {
        let world = World::new(lab);
        let (desk, laptop) = world.pair();
        let things = Tree::make(&desk.path("things"), 1);
        let before = Tree::of(&things);
        let shared = desk.share(&things);
        // Nobody waits for the upload: sharing is done before.
        desk.uploads(&shared.share);
        let ticket: Ticket = shared.ticket.parse().unwrap();
        assert_eq!(ticket.relays.len(), 1, "the ticket says which relay knows");
        let fetched = laptop.fetch(&shared.ticket, "got");
        before.assert_same(&Tree::of(laptop.path("got/things")));
        println!("with the origin: {:?}", fetched.sources);
        // The rest is holes of a sparse file.
        assert!(
            fetched.by(SourceKind::Store) > 5_000_000,
            "{:?}",
            fetched.sources
        );
        let store = fetched
            .sources
            .iter()
            .find(|source| source.kind == SourceKind::Store)
            .unwrap();
        assert_eq!(store.device, world.relay.key());
        // Away, with everybody else who has it. This one knows nothing but the ticket: it never
        // joined.
        desk.down();
        laptop.down();
        let phone = world.two.device("phone");
        let fetched = phone.fetch(&shared.ticket, "got");
        before.assert_same(&Tree::of(phone.path("got/things")));
        println!("without the origin: {:?}", fetched.sources);
        let others = [SourceKind::Lan, SourceKind::Direct, SourceKind::Relayed];
        assert!(
            others.iter().all(|kind| fetched.by(*kind) == 0),
            "{:?}",
            fetched.sources
        );
        assert!(
            phone
                .api()
                .get::<Vec<hither_api::RelayInfo>>("/v1/relays")
                .unwrap()
                .is_empty()
        );
    });
}

#[test]
fn a3_an_origin_that_dies_in_the_middle_of_a_fetch_is_not_missed() {
    lab::run(|lab| {
        const SIZE: u64 = 48 * MIB;
        let world = World::new(lab);
        let desk = world.one.device("desk");
        let (laptop, phone) = (world.one.device("laptop"), world.two.device("phone"));
        join_all(&[&desk, &laptop, &phone], &world.relay.invitation());
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let shared = desk.share(&file);
        desk.uploads(&shared.share);
        // One beside the origin, which gives slowly; one that has only the store.
        desk.cable.shape_up(20);
        phone.cable.shape_down(50);
        world.relay.cable.shape_up(50);
        let mut fetches = [&laptop, &phone].map(|device| device.begin_fetch(&shared.ticket, "got"));
        fetches.iter_mut().for_each(|fetch| fetch.reach(SIZE / 8));
        let origin = desk.id();
        desk.kill();
        let mut stored = 0;
        for (device, fetch) in [&laptop, &phone].into_iter().zip(fetches) {
            let fetched = fetch.finish().fetched();
            println!("{}: {:?}", device.name, fetched.sources);
            stored += fetched.by(SourceKind::Store);
            assert!(
                SIZE - fetched.from(&origin) > SIZE / 2,
                "{:?}",
                fetched.sources
            );
            Tree::of(&file).assert_same(&Tree::of(device.path("got/film.mkv")));
        }
        // What one of them has the other may get from it, through the relay.
        assert!(stored > SIZE / 2, "{stored} bytes came from the store");
    });
}

#[test]
fn a1_what_is_not_to_be_uploaded_stays_and_what_is_there_is_not_sent_again() {
    lab::run(|lab| {
        const SIZE: u64 = 16 * MIB;
        let world = World::new(lab);
        let (desk, _laptop) = world.pair();
        let secret = fill(desk.path("secret"), 1, SIZE);
        let run = desk
            .hither(&["share", secret.to_str().unwrap(), "--no-upload"])
            .well();
        let share = run.lines.last().unwrap()["share"]
            .as_str()
            .unwrap()
            .to_owned();
        assert_eq!(desk.upload(&share).state, UploadState::Off);
        // A share that is uploaded after it shows that its turn would have come.
        let folder = desk.path("folder");
        fill(folder.join("one"), 2, SIZE);
        let shared = desk.share(&folder);
        let before = world.relay.cable.traffic().received;
        desk.uploads(&shared.share);
        let kept = world.relay.stats()["store"]["kept"].as_u64().unwrap();
        assert!(
            (SIZE..SIZE * 11 / 10).contains(&kept),
            "{kept} bytes are kept"
        );
        // A restart of either forgets nothing of what is there.
        desk.kill();
        world.relay.kill();
        world.relay.start();
        desk.up();
        fill(folder.join("two"), 3, MIB);
        let again = desk.share(&folder);
        assert_eq!((&again.share, again.version), (&shared.share, 2));
        desk.uploads(&again.share);
        let received = world.relay.cable.traffic().received - before;
        ratio("uploaded", received, SIZE + MIB);
        assert!(received < (SIZE + MIB) * 115 / 100, "{received} bytes came");
        // What is no longer shared is no longer kept.
        desk.hither(&["unshare", "folder"]).well();
        lab::until("it is released", || {
            let kept = world.relay.stats()["store"]["kept"].as_u64().unwrap();
            (kept == 0).then_some(())
        });
    });
}

#[test]
fn a1_what_appears_in_a_watched_folder_is_uploaded_by_itself() {
    lab::run(|lab| {
        let world = World::new(lab);
        let (desk, laptop) = world.pair();
        let folder = desk.path("photos");
        fill(folder.join("one.jpg"), 1, MIB);
        let run = desk
            .hither(&["share", folder.to_str().unwrap(), "--watch"])
            .well();
        let done = run.lines.last().unwrap();
        let (share, ticket) = (
            done["share"].as_str().unwrap(),
            done["ticket"].as_str().unwrap(),
        );
        desk.uploads(share);
        fs::rename(fill(desk.path("new"), 2, MIB), folder.join("two.jpg")).unwrap();
        lab::until("the next version at the store", || {
            let upload = desk.upload(share);
            (upload.version >= Some(2) && upload.state == UploadState::Uploaded).then_some(())
        });
        let before = Tree::of(&folder);
        desk.down();
        laptop.fetch(ticket, "got");
        before.assert_same(&Tree::of(laptop.path("got/photos")));
    });
}

#[test]
fn a1_an_upload_that_is_interrupted_goes_on_where_it_was() {
    lab::run(|lab| {
        const SIZE: u64 = 32 * MIB;
        let world = World::new(lab);
        let (desk, laptop) = world.pair();
        desk.cable.shape_up(50);
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let before = world.relay.cable.traffic().received;
        let shared = desk.share(&file);
        let reaches = |bytes: u64| {
            lab::until("more of the upload", || {
                (desk.upload(&shared.share).bytes >= bytes).then_some(())
            });
        };
        reaches(SIZE / 3);
        desk.kill();
        desk.up();
        reaches(SIZE * 2 / 3);
        world.relay.kill();
        world.relay.start();
        desk.uploads(&shared.share);
        let received = world.relay.cable.traffic().received - before;
        ratio("the store received", received, SIZE);
        assert!(
            received < SIZE * 5 / 4,
            "what was there was sent again: {received} bytes"
        );
        desk.down();
        laptop.fetch(&shared.ticket, "got");
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
    });
}
