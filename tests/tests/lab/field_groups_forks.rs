//! Groups, A8: a relay was restored from a backup, and has forgotten or exchanged entries of a
//! group's log.
//!
//! What else has this shape? Entries are lost and nobody wrote others: brought back. Others were
//! written in their place: a fork, with a removal in the lost branch; in the new one; with the lost
//! one by an admin; of equal kind, where the longer one is kept; admins that remove each other,
//! which nobody decides (`proto-spec/src/group/fork.rs`). The whole group is lost; a member's
//! joining is lost and nobody else knows of it. What was given up is done again by its author, or
//! by an admin if it ended a membership. A member that was away during all of it. The secret of the
//! generation that counts reaches everybody.

use crate::groups::{group, knows, shares, stands, stranger, text};
use crate::relay_world::World;
use hither_api::GroupState;
use hither_tests::lab::{self, Device, MIB, Tree, fill, until};

/// A group of these, which anyone may join; the first made it and decides, and whoever else is
/// named.
fn choir(devices: &[&Device], admins: &[&Device]) {
    let [first, others @ ..] = devices else {
        panic!()
    };
    let ids: Vec<_> = admins.iter().map(|admin| admin.status().device).collect();
    let named = ids.iter().flat_map(|id| ["--admin", id.as_str()]);
    let create = ["create", "choir", "--findable", "--policy", "open"];
    group(first, &create.into_iter().chain(named).collect::<Vec<_>>());
    for device in others {
        group(device, &["join", "choir"]);
    }
    let all: Vec<_> = devices
        .iter()
        .map(|device| (device.name.as_str(), true))
        .collect();
    devices
        .iter()
        .for_each(|device| knows(device, "choir", &all));
}

fn relay_goes_back(world: &mut World<'_>, backup: &str) {
    world.relay.stop();
    world.relay.restore(backup);
    world.relay.start();
}

/// They all know these members and nobody else, and can read what each other says: something new is
/// told to all.
fn agree(devices: &[&Device]) {
    let all: Vec<_> = devices
        .iter()
        .map(|device| (device.name.as_str(), true))
        .collect();
    devices
        .iter()
        .for_each(|device| knows(device, "choir", &all));
    for (index, device) in devices.iter().enumerate() {
        let name = format!("song-{index}");
        let song = fill(device.path(&name), index as u64, 1000);
        device
            .hither(&["share", text(&song), "--group", "choir", "--no-upload"])
            .well();
        for other in devices.iter().filter(|other| other.name != device.name) {
            shares(other, "choir", &device.name, &[&name]);
        }
    }
}

#[test]
fn field_groups_what_a_restored_relay_has_forgotten_is_brought_back() {
    lab::run(|lab| {
        let mut world = World::new(lab);
        let [anna, bert, carl] =
            ["anna", "bert", "carl"].map(|name| stranger(&world, &world.one, name));
        world.relay.backup("before");
        choir(&[&anna, &bert], &[]);
        world.relay.backup("two");
        group(&carl, &["join", "choir"]);
        knows(
            &anna,
            "choir",
            &[("anna", true), ("bert", true), ("carl", true)],
        );
        knows(
            &bert,
            "choir",
            &[("anna", true), ("bert", true), ("carl", true)],
        );
        // One entry.
        relay_goes_back(&mut world, "two");
        agree(&[&anna, &bert, &carl]);
        let stats = world.relay.admin(&["stats"]).well().lines.pop().unwrap();
        assert_eq!(
            (&stats["groups"], &stats["memberships"]),
            (&1.into(), &3.into()),
            "{stats}"
        );
        // All of it, while the one who made the group is away: the others wait, and are told
        // nothing that is not so.
        anna.down();
        relay_goes_back(&mut world, "before");
        carl.is_connected();
        stands(&carl, "choir", GroupState::Member);
        anna.up();
        for device in [&anna, &bert, &carl] {
            knows(
                device,
                "choir",
                &[("anna", true), ("bert", true), ("carl", true)],
            );
        }
    });
}

#[test]
fn field_groups_a_removal_that_the_relay_forgot_prevails_over_what_came_in_its_place() {
    lab::run(|lab| {
        const SIZE: u64 = MIB;
        let mut world = World::new(lab);
        let [anna, bert, carl] =
            ["anna", "bert", "carl"].map(|name| stranger(&world, &world.one, name));
        let dora = stranger(&world, &world.two, "dora");
        choir(&[&anna, &bert, &carl], &[]);
        world.relay.backup("three");
        // While bert is away, carl is removed; then the relay forgets that, and bert lets in dora.
        bert.down();
        group(&anna, &["remove", "choir", "carl"]);
        stands(&carl, "choir", GroupState::Removed);
        anna.down();
        relay_goes_back(&mut world, "three");
        bert.up();
        dora.is_connected();
        bert.is_connected();
        let joined = group(&dora, &["join", "choir"]);
        assert_eq!(joined.state, GroupState::Member);
        knows(
            &bert,
            "choir",
            &[
                ("anna", false),
                ("bert", true),
                ("carl", true),
                ("dora", true),
            ],
        );
        // Who removed comes back.
        anna.up();
        stands(&carl, "choir", GroupState::Removed);
        agree(&[&anna, &bert, &dora]);
        // Not only in words: the member whose joining was lost on the way fetches.
        let film = fill(anna.path("film"), 9, SIZE);
        anna.hither(&["share", text(&film), "--group", "choir"])
            .well();
        let into = dora.path("got");
        until("dora knows the film", || {
            (dora
                .hither(&["fetch", "anna/film", "--yes", "-o", text(&into)])
                .status
                == 0)
                .then_some(())
        });
        Tree::of(&film).assert_same(&Tree::of(into.join("film")));
        let word = "The relay had lost the latest";
        until("bert is told", || {
            bert.status()
                .warnings
                .iter()
                .any(|line| line.contains(word))
                .then_some(())
        });
        // Everything survives a restart of all.
        for device in [&anna, &bert, &dora] {
            device.down();
        }
        world.relay.stop();
        world.relay.start();
        for device in [&anna, &bert, &dora] {
            device.up();
        }
        for device in [&anna, &bert, &dora] {
            knows(
                device,
                "choir",
                &[("anna", true), ("bert", true), ("dora", true)],
            );
        }
        stands(&carl, "choir", GroupState::Removed);
    });
}

#[test]
fn field_groups_what_was_given_up_is_done_again() {
    lab::run(|lab| {
        let mut world = World::new(lab);
        let [anna, bert, carl] =
            ["anna", "bert", "carl"].map(|name| stranger(&world, &world.one, name));
        let dora = stranger(&world, &world.two, "dora");
        choir(&[&anna, &bert, &carl], &[]);
        world.relay.backup("three");
        // Bert alone lets in dora; the relay forgets it, and meanwhile the admin removes carl: that
        // prevails.
        anna.down();
        group(&dora, &["join", "choir"]);
        knows(
            &dora,
            "choir",
            &[
                ("anna", false),
                ("bert", true),
                ("carl", true),
                ("dora", true),
            ],
        );
        bert.down();
        dora.down();
        relay_goes_back(&mut world, "three");
        anna.up();
        anna.is_connected();
        group(&anna, &["remove", "choir", "carl"]);
        stands(&carl, "choir", GroupState::Removed);
        // Dora knows of no removal: she asks again, and is let in again.
        bert.up();
        dora.up();
        agree(&[&anna, &bert, &dora]);
        stands(&carl, "choir", GroupState::Removed);
    });
}

#[test]
fn field_groups_admins_that_removed_each_other_are_told_and_nothing_is_decided_for_them() {
    lab::run(|lab| {
        let mut world = World::new(lab);
        let [anna, bert, carl] =
            ["anna", "bert", "carl"].map(|name| stranger(&world, &world.one, name));
        choir(&[&anna, &bert, &carl], &[&anna, &bert]);
        world.relay.backup("three");
        bert.down();
        carl.down();
        group(&anna, &["remove", "choir", "bert"]);
        anna.down();
        relay_goes_back(&mut world, "three");
        bert.up();
        bert.is_connected();
        group(&bert, &["remove", "choir", "anna"]);
        carl.up();
        knows(&carl, "choir", &[("bert", true), ("carl", true)]);
        anna.up();
        // The relay calls her removed: that is what she is shown. Carl keeps what he has.
        stands(&anna, "choir", GroupState::Removed);
        knows(&carl, "choir", &[("bert", true), ("carl", true)]);
    });
}
