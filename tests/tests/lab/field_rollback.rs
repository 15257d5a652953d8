//! Data that is older than what others know of it: homes, stores and mailboxes that were restored
//! from a backup, and homes that run twice.
//!
//! Siblings of "an owner was restored and publishes a number again": it was restored and publishes
//! nothing; it publishes the same number with another content while a reader has the first; a
//! reader follows, or has ended, or is new; a reader was restored; the store has more than the
//! owner; the store lost what the owner put there; the mailbox gives again what was acknowledged;
//! the outbox sends again what was sent; one home runs on two machines, on one network or at one
//! relay.

use crate::common::pair;
use crate::relay_world::{Fleet, World};
use hither_api::{Event, ShareInfo, UploadState};
use hither_tests::lab::{self, Device, Lab, Running, Tree, fill, until};
use std::fs;

/// Follows a share into the folder `got`.
fn follow(device: &Device, ticket: &str) -> Running {
    device.begin(&[
        "fetch",
        ticket,
        "--yes",
        "--follow",
        "-o",
        device.path("got").to_str().unwrap(),
    ])
}

/// Waits for a version of a followed share.
fn version(following: &mut Running, number: u64) {
    following.wait_for(&format!("version {number}"), |event| match event {
        Event::Version { version, .. } if *version == number => Some(()),
        _ => None,
    });
}

fn shares(device: &Device) -> Vec<ShareInfo> {
    device.api().get("/v1/shares").unwrap()
}

/// Waits until a device has its only share in this version.
fn reaches(device: &Device, number: u64) {
    until(&format!("version {number}"), || {
        (shares(device)[0].version == number).then_some(())
    });
}

/// Returns what a device says, with every command, of what was lost.
fn says(device: &Device, words: &[&str]) {
    let told = until("a word", || {
        let told = device.status().losses;
        told.iter()
            .any(|told| words.iter().all(|word| told.contains(word)))
            .then_some(told)
    });
    assert!(!told.is_empty());
    let plain = device.plain(&["status"]);
    let said = String::from_utf8_lossy(&plain.output).into_owned() + &plain.errors;
    assert!(words.iter().all(|word| said.contains(word)), "{plain:?}");
}

#[test]
fn field_a8_a_restored_owner_goes_past_what_a_follower_has() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let things = Tree::make(&desk.path("things"), 1);
        let ticket = desk.share(&things).ticket;
        desk.down();
        desk.backup("first");
        desk.up();
        let mut following = follow(&laptop, &ticket);
        version(&mut following, 1);
        for number in 2..=3 {
            fill(things.join("changing"), number, 300_000);
            assert_eq!(desk.share(&things).version, number);
            version(&mut following, number);
        }
        desk.down();
        desk.restore("first");
        fill(things.join("changing"), 77, 300_000);
        desk.up();
        desk.share(&things);
        let reached = 4;
        reaches(&desk, reached);
        version(&mut following, reached);
        Tree::of(&things).assert_same(&Tree::of(laptop.path("got/things")));
        says(&desk, &["version 3", "backup"]);
        // It is known after a restart, and the numbers go on from there.
        desk.down();
        desk.up();
        fill(things.join("changing"), 78, 300_000);
        assert_eq!(desk.share(&things).version, reached + 1);
        version(&mut following, reached + 1);
        Tree::of(&things).assert_same(&Tree::of(laptop.path("got/things")));
    });
}

/// An owner is restored to its first version and publishes the second anew, while a device that is
/// there has a later one, or another second; then a new device comes.
fn a_new_device_comes(lab: &Lab, number: u64) {
    let (desk, laptop) = pair(lab);
    let phone = lab.device("phone");
    let things = Tree::make(&desk.path("things"), 1);
    let ticket = desk.share(&things).ticket;
    desk.down();
    desk.backup("first");
    desk.up();
    for version in 2..=number {
        fill(things.join("changing"), version, 300_000);
        desk.share(&things);
    }
    laptop.fetch(&ticket, "got");
    desk.down();
    desk.restore("first");
    fill(things.join("changing"), 77, 300_000);
    desk.up();
    assert_eq!(desk.share(&things).version, 2, "it cannot know better yet");
    phone.up();
    phone.sees(2);
    phone.fetch(&ticket, "got");
    Tree::of(&things).assert_same(&Tree::of(phone.path("got/things")));
    reaches(&desk, number + 1);
    says(&desk, &[&format!("version {number}"), "backup"]);
}

#[test]
fn field_a8_a_new_device_gets_what_a_restored_owner_has() {
    lab::run(|lab| a_new_device_comes(lab, 3));
}

#[test]
fn field_a8_of_two_second_versions_a_new_device_gets_the_owners() {
    lab::run(|lab| a_new_device_comes(lab, 2));
}

#[test]
fn field_a8_a_restored_owner_that_publishes_nothing_is_mended_too() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let file = desk.path("file");
        fill(&file, 1, 300_000);
        let ticket = desk.share(&file).ticket;
        desk.down();
        desk.backup("first");
        desk.up();
        let first = fs::read(&file).unwrap();
        let mut following = follow(&laptop, &ticket);
        version(&mut following, 1);
        fill(&file, 2, 300_000);
        desk.share(&file);
        version(&mut following, 2);
        desk.down();
        desk.restore("first");
        fs::write(&file, &first).unwrap();
        desk.up();
        reaches(&desk, 3);
        version(&mut following, 3);
        assert_eq!(fs::read(laptop.path("got/file")).unwrap(), first);
    });
}

/// Returns what a device warns of.
fn warns(device: &Device, words: &[&str]) {
    until(&format!("{} warns", device.name), || {
        let warnings = device.status().warnings;
        warnings
            .iter()
            .any(|warning| words.iter().all(|word| warning.contains(word)))
            .then_some(())
    });
}

#[test]
fn field_a8_a_home_that_runs_twice_on_one_network_is_said_on_both() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        desk.up();
        desk.down();
        laptop.become_twin_of(&desk);
        desk.up();
        laptop.up();
        assert_eq!(desk.id(), laptop.id());
        for device in [&desk, &laptop] {
            warns(
                device,
                &[
                    "Another machine runs with this device's key",
                    "new identity",
                ],
            );
            let doctor = device.plain(&["doctor"]);
            let said = String::from_utf8_lossy(&doctor.output).into_owned() + &doctor.errors;
            assert!(said.contains("Another machine runs"), "{said}");
        }
        // What is advised helps.
        laptop.down();
        laptop.forget();
        laptop.up();
        assert_ne!(desk.id(), laptop.id());
        desk.down();
        desk.up();
        desk.sees(1);
        assert!(
            desk.status().warnings.is_empty(),
            "{:?}",
            desk.status().warnings
        );
    });
}

#[test]
fn field_a8_a_home_that_runs_twice_at_a_relay_is_said_on_both() {
    lab::run(|lab| {
        let world = World::new(lab);
        let (desk, _laptop) = world.pair();
        let copy = world.two.device("copy");
        desk.down();
        copy.become_twin_of(&desk);
        desk.up();
        desk.sees_that("laptop", true);
        // A restart is no second machine.
        desk.kill();
        desk.up();
        desk.sees_that("laptop", true);
        assert!(
            desk.status().warnings.is_empty(),
            "{:?}",
            desk.status().warnings
        );
        copy.up();
        for device in [&desk, &copy] {
            warns(
                device,
                &["Another machine runs with this device's key", "relay"],
            );
        }
    });
}

#[test]
fn field_a8_a_home_that_runs_twice_at_two_fronts_is_said_on_both() {
    lab::run(|lab| {
        let fleet = Fleet::new(lab, &["front", "front"]);
        let (desk, copy) = (fleet.one.device("desk"), fleet.two.device("copy"));
        desk.join(&fleet.control.invitation());
        let front = desk.is_connected().front.unwrap();
        desk.down();
        copy.become_twin_of(&desk);
        desk.up();
        assert_eq!(desk.is_connected().front, Some(front.clone()));
        // A front is picked by the device's key, so the copy is at the other one only if it does
        // not reach the first.
        fleet
            .two
            .router
            .refuse(fleet.member(&front).cable.address());
        copy.up();
        until("the copy is at the other front", || {
            let relay = copy.relay();
            (relay.front.is_some() && relay.front != Some(front.clone())).then_some(())
        });
        for device in [&desk, &copy] {
            warns(
                device,
                &["Another machine runs with this device's key", "relay"],
            );
        }
    });
}

#[test]
fn field_a8_a_restored_reader_goes_on_and_gives_only_what_it_has() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let phone = lab.device("phone");
        let things = Tree::make(&desk.path("things"), 1);
        let ticket = desk.share(&things).ticket;
        let mut following = follow(&laptop, &ticket);
        version(&mut following, 1);
        let transfer = laptop.transfer().transfer;
        laptop.down();
        following.finish();
        laptop.backup("first");
        laptop.up();
        let mut events = laptop.api().events(&transfer).unwrap();
        fill(things.join("changing"), 2, 300_000);
        desk.share(&things);
        let second =
            |event: &Event| matches!(event, Event::Version { version: 2, .. }).then_some(());
        events.wait_for("version 2", second).unwrap();
        // Its home knows version 1, its files are those of version 2.
        laptop.down();
        laptop.restore("first");
        laptop.up();
        let mut events = laptop.api().events(&transfer).unwrap();
        events.wait_for("version 2 again", second).unwrap();
        Tree::of(&things).assert_same(&Tree::of(laptop.path("got/things")));
        fill(things.join("changing"), 3, 300_000);
        desk.share(&things);
        let third =
            |event: &Event| matches!(event, Event::Version { version: 3, .. }).then_some(());
        events.wait_for("version 3", third).unwrap();
        Tree::of(&things).assert_same(&Tree::of(laptop.path("got/things")));
        desk.down();
        phone.up();
        phone.sees(1);
        phone.fetch(&ticket, "got");
        Tree::of(&things).assert_same(&Tree::of(phone.path("got/things")));
    });
}

#[test]
fn field_a8_a_restored_store_is_given_again_what_it_lost_and_is_not_taken_for_the_newest() {
    lab::run(|lab| {
        let world = World::new(lab);
        let (desk, laptop) = world.pair();
        let things = Tree::make(&desk.path("things"), 1);
        let shared = desk.share(&things);
        desk.uploads(&shared.share);
        world.relay.backup("first");
        fill(things.join("changing"), 2, 300_000);
        desk.share(&things);
        desk.uploads(&shared.share);
        let mut following = follow(&laptop, &shared.ticket);
        version(&mut following, 2);
        world.relay.stop();
        world.relay.restore("first");
        world.relay.start();
        until("the second version at the store", || {
            desk.sees_that("laptop", true);
            (desk.upload(&shared.share).version == Some(2)
                && desk.log().contains("the store has lost what was uploaded"))
            .then_some(())
        });
        desk.uploads(&shared.share);
        desk.down();
        laptop.down();
        let phone = world.two.device("phone");
        phone.fetch(&shared.ticket, "got");
        Tree::of(&things).assert_same(&Tree::of(phone.path("got/things")));
    });
}

#[test]
fn field_a8_a_restored_owner_goes_past_what_the_store_has() {
    lab::run(|lab| {
        let world = World::new(lab);
        let (desk, _laptop) = world.pair();
        let things = Tree::make(&desk.path("things"), 1);
        let shared = desk.share(&things);
        desk.uploads(&shared.share);
        desk.down();
        desk.backup("first");
        desk.up();
        for number in 2..=3 {
            fill(things.join("changing"), number, 300_000);
            desk.share(&things);
            desk.uploads(&shared.share);
        }
        desk.down();
        desk.restore("first");
        fill(things.join("changing"), 77, 300_000);
        desk.up();
        desk.share(&things);
        reaches(&desk, 4);
        until("the fourth version at the store", || {
            (desk.upload(&shared.share).version == Some(4)).then_some(())
        });
        says(&desk, &["version 3", "backup"]);
        desk.down();
        let phone = world.two.device("phone");
        phone.fetch(&shared.ticket, "got");
        Tree::of(&things).assert_same(&Tree::of(phone.path("got/things")));
    });
}

#[test]
fn field_a8_a_restored_owner_that_waits_for_its_user_is_no_twin() {
    lab::run(|lab| {
        let world = World::new(lab);
        let (desk, laptop) = world.pair();
        let things = Tree::make(&desk.path("things"), 1);
        fill(things.join("changing"), 1, 300_000);
        let shared = desk.share(&things);
        desk.uploads(&shared.share);
        desk.down();
        desk.backup("first");
        desk.up();
        fill(things.join("changing"), 2, 300_000);
        desk.share(&things);
        desk.uploads(&shared.share);
        desk.down();
        desk.restore("first");
        // Neither the version that the backup knows nor the later one: nobody but the user may
        // publish it.
        fill(things.join("changing"), 77, 300_000);
        desk.up();
        desk.is_connected();
        says(&desk, &["version 2", "share them again"]);
        // However often it is told so.
        for round in 0..5 {
            laptop.fetch(&shared.ticket, &format!("got-{round}"));
        }
        let told = desk.status().losses;
        assert!(
            !told.iter().any(|told| told.contains("Another machine")),
            "{told:?}"
        );
        assert_ne!(
            desk.upload(&shared.share).state,
            UploadState::Uploading,
            "a store takes nothing older"
        );
        assert_eq!(desk.share(&things).version, 3);
        until("the third version at the store", || {
            (desk.upload(&shared.share).version == Some(3)).then_some(())
        });
    });
}

#[test]
fn field_a8_a_message_comes_once_whichever_side_is_restored() {
    lab::run(|lab| {
        let world = World::new(lab);
        let (desk, laptop) = world.pair();
        laptop.down();
        desk.sees_that("laptop", false);
        desk.send("laptop", "the first");
        // The mailbox gives it again.
        world.relay.backup("full");
        laptop.up();
        until("the message", || {
            (laptop.texts(None) == ["the first"]).then_some(())
        });
        world.relay.stop();
        world.relay.restore("full");
        world.relay.start();
        desk.sees_that("laptop", true);
        until("an empty mailbox", || {
            (world.relay.stats()["messages"] == 0).then_some(())
        });
        assert_eq!(laptop.texts(None), ["the first"]);
        // The outbox sends it again.
        world.relay.stop();
        desk.sees_that("laptop", false);
        desk.send("laptop", "the second");
        desk.down();
        desk.backup("unsent");
        world.relay.start();
        desk.up();
        until("the second message", || {
            (laptop.texts(None).len() == 2).then_some(())
        });
        desk.down();
        desk.restore("unsent");
        desk.up();
        until("an empty outbox", || {
            (desk.status().outgoing == 0).then_some(())
        });
        desk.send("laptop", "the third");
        until("the third message", || {
            laptop
                .texts(None)
                .contains(&"the third".to_owned())
                .then_some(())
        });
        assert_eq!(laptop.texts(None), ["the first", "the second", "the third"]);
        // What was told while the mailbox was at a later number is told again from an earlier one.
        world.relay.stop();
        world.relay.restore("full");
        world.relay.start();
        laptop.sees_that("desk", true);
        desk.sees_that("laptop", true);
        desk.send("laptop", "the fourth");
        until("the fourth message", || {
            laptop
                .texts(None)
                .contains(&"the fourth".to_owned())
                .then_some(())
        });
        assert_eq!(
            laptop.texts(None),
            ["the first", "the second", "the third", "the fourth"]
        );
    });
}
