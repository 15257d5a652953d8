//! Getting into a group, and not getting in: policies, approval while somebody is away, crashes in
//! between.

use crate::groups::{group, groups, knows, members, stands, stranger};
use crate::relay_world::{Fleet, World};
use hither_api::{ErrorCode, GroupInfo, GroupRole, GroupState};
use hither_tests::lab::{self, Device, until};
use std::fs;
use std::path::Path;

/// Waits until somebody asks whom this device may approve.
#[track_caller]
fn asked_by(device: &Device, name: &str, asker: &str) {
    until(&format!("{} hears that {asker} asks", device.name), || {
        members(device, name)
            .into_iter()
            .find(|one| one.asking && one.name == asker)
    });
}

#[test]
fn b3_a_device_asks_while_the_admin_is_away_and_is_let_in_while_it_is_away_itself() {
    lab::run(|lab| {
        let world = World::new(lab);
        let (anna, bert) = (
            stranger(&world, &world.one, "anna"),
            stranger(&world, &world.two, "bert"),
        );
        group(&anna, &["create", "The Choir", "--findable"]);
        anna.down();
        // It finds the group by part of its name, and is told how one gets in.
        let found = bert
            .hither(&["group", "search", "choir"])
            .well()
            .lines
            .pop()
            .unwrap();
        assert_eq!(
            (&found["name"], &found["policy"]),
            (&"The Choir".into(), &"approval".into())
        );
        let asking = group(&bert, &["join", "the choir"]);
        assert_eq!(asking.state, GroupState::Asking);
        // Asking is remembered, on the device and at the relay.
        bert.kill();
        world.relay.kill();
        world.relay.start();
        bert.up();
        stands(&bert, "The Choir", GroupState::Asking);
        bert.down();
        anna.up();
        asked_by(&anna, "The Choir", "bert");
        // Nobody gets in by itself.
        assert_eq!(groups(&anna)[0].members, 1);
        group(&anna, &["approve", "The Choir", "bert"]);
        anna.kill();
        anna.up();
        bert.up();
        let joined = stands(&bert, "The Choir", GroupState::Member);
        assert_eq!(joined.role, Some(GroupRole::Member));
        for device in [&anna, &bert] {
            knows(device, "The Choir", &[("anna", true), ("bert", true)]);
        }
        // It is no admin.
        let error = bert
            .hither(&["group", "policy", "The Choir", "open"])
            .failed(4);
        assert!(
            error.message.contains("admin") && !error.hint.is_empty(),
            "{error:?}"
        );
        // And the admin cannot leave it alone without one.
        let error = anna.hither(&["group", "leave", "The Choir"]).failed(4);
        assert!(error.hint.contains("promote"), "{error:?}");
        group(&anna, &["promote", "The Choir", "bert"]);
        group(&anna, &["leave", "The Choir"]);
        assert!(groups(&anna).is_empty());
        // Who stays begins the next generation of the secret.
        until("the next generation", || {
            stands(&bert, "The Choir", GroupState::Member)
                .generation
                .eq(&2)
                .then_some(())
        });
        assert_eq!(
            stands(&bert, "The Choir", GroupState::Member).role,
            Some(GroupRole::Admin)
        );
    });
}

#[test]
fn b4_an_allow_list_lets_in_who_is_on_it_and_a_refusal_has_a_reason() {
    lab::run(|lab| {
        let world = World::new(lab);
        let anna = stranger(&world, &world.one, "anna");
        let (bert, cleo) = (
            stranger(&world, &world.two, "bert"),
            stranger(&world, &world.two, "cleo"),
        );
        let made = group(
            &anna,
            &["create", "band", "--findable", "--allow", &bert.id()],
        );
        assert_eq!(made.allowed, [bert.id()]);
        assert_eq!(group(&bert, &["join", "band"]).state, GroupState::Member);
        let error = cleo.hither(&["group", "join", "band"]).failed(4);
        assert_eq!(error.code, ErrorCode::Refused);
        assert!(
            error.message.contains("list of who may join") && !error.hint.is_empty(),
            "{error:?}"
        );
        assert!(groups(&cleo).is_empty());
        group(&anna, &["policy", "band", "--allow", &cleo.id()]);
        assert_eq!(group(&cleo, &["join", "band"]).state, GroupState::Member);
        // By approval, one is refused with a reason, also while it is away.
        group(&anna, &["policy", "band", "approval"]);
        let dora = stranger(&world, &world.two, "dora");
        assert_eq!(group(&dora, &["join", "band"]).state, GroupState::Asking);
        dora.down();
        asked_by(&anna, "band", "dora");
        group(
            &anna,
            &[
                "refuse",
                "band",
                "dora",
                "--reason",
                "We have enough drummers.",
            ],
        );
        dora.up();
        let refused = stands(&dora, "band", GroupState::Refused);
        assert_eq!(refused.reason.as_deref(), Some("We have enough drummers."));
        let listed = String::from_utf8(dora.plain(&["group", "list"]).output).unwrap();
        assert!(listed.contains("enough drummers"), "{listed}");
        // It asks again and is let in; while it waits, an answer is its end.
        let waiting = dora.begin(&["group", "join", "band"]);
        asked_by(&anna, "band", "dora");
        group(&anna, &["approve", "band", "dora"]);
        let joined: GroupInfo =
            serde_json::from_value(waiting.finish().well().lines.pop().unwrap()).unwrap();
        assert_eq!(joined.state, GroupState::Member);
        knows(
            &bert,
            "band",
            &[
                ("anna", true),
                ("bert", true),
                ("cleo", true),
                ("dora", true),
            ],
        );
    });
}

#[test]
fn b4_the_admins_are_set_when_a_group_is_made() {
    lab::run(|lab| {
        let world = World::new(lab);
        let (desk, laptop) = world.pair();
        let bert = stranger(&world, &world.two, "bert");
        let admins = ["--admin", "laptop", "--admin", &bert.id()];
        let made = group(
            &desk,
            &[&["create", "club", "--findable"][..], &admins].concat(),
        );
        assert_eq!(
            made.role,
            Some(GroupRole::Member),
            "the creator is none of them"
        );
        // An own device is in it at once; one of somebody else asks, and needs no approval.
        assert_eq!(
            stands(&laptop, "club", GroupState::Member).role,
            Some(GroupRole::Admin)
        );
        let joined = group(&bert, &["join", "club"]);
        assert_eq!(
            (joined.state, joined.role),
            (GroupState::Member, Some(GroupRole::Admin))
        );
        let cleo = stranger(&world, &world.two, "cleo");
        assert_eq!(group(&cleo, &["join", "club"]).state, GroupState::Asking);
        asked_by(&bert, "club", "cleo");
        assert_eq!(
            desk.hither(&["group", "approve", "club", &cleo.id()])
                .status,
            1,
            "it is told of nobody"
        );
        group(&bert, &["approve", "club", "cleo"]);
        stands(&cleo, "club", GroupState::Member);
        knows(
            &desk,
            "club",
            &[
                ("bert", true),
                ("cleo", true),
                ("desk", true),
                ("laptop", true),
            ],
        );
    });
}

#[test]
fn b4_a_crash_between_asking_and_being_let_in_loses_nothing() {
    lab::run(|lab| {
        let world = World::new(lab);
        let (anna, bert) = (
            stranger(&world, &world.one, "anna"),
            stranger(&world, &world.two, "bert"),
        );
        group(
            &anna,
            &["create", "choir", "--findable", "--policy", "open"],
        );
        // Nobody is there who could let it in; then everything dies.
        anna.kill();
        assert_eq!(group(&bert, &["join", "choir"]).state, GroupState::Asking);
        bert.kill();
        world.relay.kill();
        world.relay.start();
        // A member lets it in by itself when it is back, and dies again at once.
        anna.up();
        until("it is let in", || {
            (groups(&anna)[0].members == 2).then_some(())
        });
        anna.kill();
        world.relay.kill();
        world.relay.start();
        bert.up();
        stands(&bert, "choir", GroupState::Member);
        knows(&bert, "choir", &[("anna", false), ("bert", true)]);
        anna.up();
        knows(&anna, "choir", &[("anna", true), ("bert", true)]);
    });
}

#[test]
fn b2_members_at_different_fronts_of_a_fleet_see_each_other() {
    lab::run(|lab| {
        let fleet = Fleet::new(lab, &["front", "front"]);
        let names = ["anna", "bert", "cleo", "dora"];
        let devices: Vec<_> = names
            .iter()
            .map(|name| {
                let device = fleet.two.device(name);
                let invited = fleet
                    .control
                    .admin(&["invite", "--label", "somebody"])
                    .well()
                    .lines
                    .pop()
                    .unwrap();
                device.join(invited["url"].as_str().unwrap());
                device
            })
            .collect();
        let fronts: std::collections::BTreeSet<_> = devices
            .iter()
            .map(|device| device.relay().front.unwrap())
            .collect();
        println!("{} fronts serve them", fronts.len());
        group(
            &devices[0],
            &["create", "choir", "--findable", "--policy", "open"],
        );
        for device in &devices[1..] {
            group(device, &["join", "choir"]);
        }
        let all: Vec<_> = names.iter().map(|name| (*name, true)).collect();
        devices
            .iter()
            .for_each(|device| knows(device, "choir", &all));
        devices[3].kill();
        let all: Vec<_> = names.iter().map(|name| (*name, *name != "dora")).collect();
        devices[..3]
            .iter()
            .for_each(|device| knows(device, "choir", &all));
        // A front dies: its devices go to the other one, and hear what is new.
        let killed = fleet.members[0].key();
        fleet.members[0].kill();
        devices[..3].iter().for_each(|device| {
            until("another front", || {
                device
                    .is_connected()
                    .front
                    .filter(|front| *front != killed)
                    .map(drop)
            });
        });
        group(&devices[0], &["policy", "choir", "approval"]);
        for device in &devices[1..3] {
            until("the policy", || {
                (groups(device)[0].policy == Some(hither_api::GroupPolicy::Approval)).then_some(())
            });
        }
    });
}

/// Copies a folder with everything in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let (path, beside) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => copy(&path, &beside),
            kind if kind.is_file() => drop(fs::copy(&path, &beside).unwrap()),
            _ => {}
        }
    }
}

#[test]
fn b2_members_bring_back_what_a_relay_from_a_backup_has_lost() {
    lab::run(|lab| {
        let world = World::new(lab);
        let (anna, bert) = (
            stranger(&world, &world.one, "anna"),
            stranger(&world, &world.two, "bert"),
        );
        let cleo = stranger(&world, &world.two, "cleo");
        let hidden = group(&anna, &["create", "choir", "--policy", "open"]);
        group(&bert, &["join", &hidden.invite]);
        knows(&anna, "choir", &[("anna", true), ("bert", true)]);
        world.relay.stop();
        let (data, backup) = (
            world.relay.data(),
            world.relay.data().with_extension("backup"),
        );
        copy(&data, &backup);
        world.relay.start();
        anna.is_connected();
        bert.is_connected();
        // What the backup knows nothing of.
        cleo.is_connected();
        group(&cleo, &["join", &hidden.invite]);
        group(&anna, &["policy", "choir", "approval"]);
        for device in [&anna, &bert, &cleo] {
            knows(
                device,
                "choir",
                &[("anna", true), ("bert", true), ("cleo", true)],
            );
        }
        world.relay.stop();
        fs::remove_dir_all(&data).unwrap();
        copy(&backup, &data);
        world.relay.start();
        for device in [&anna, &bert, &cleo] {
            let group = until("the policy that was lost", || {
                stands(device, "choir", GroupState::Member)
                    .policy
                    .filter(|policy| *policy == hither_api::GroupPolicy::Approval)
            });
            println!("{}: {group:?}", device.name);
            knows(
                device,
                "choir",
                &[("anna", true), ("bert", true), ("cleo", true)],
            );
        }
    });
}

#[test]
fn b4_several_join_at_once_and_every_member_has_the_same_list() {
    lab::run(|lab| {
        let world = World::new(lab);
        let names = ["anna", "bert", "cleo", "dora", "emil", "fred"];
        let devices: Vec<_> = names
            .iter()
            .map(|name| stranger(&world, &world.two, name))
            .collect();
        group(
            &devices[0],
            &["create", "choir", "--findable", "--policy", "open"],
        );
        group(&devices[1], &["join", "choir"]);
        // Two members let in whoever asks, at the same time.
        let joining: Vec<_> = devices[2..]
            .iter()
            .map(|one| one.begin(&["group", "join", "choir"]))
            .collect();
        for run in joining {
            let joined: GroupInfo =
                serde_json::from_value(run.finish().well().lines.pop().unwrap()).unwrap();
            assert_eq!(joined.state, GroupState::Member);
        }
        let all: Vec<_> = names.iter().map(|name| (*name, true)).collect();
        devices
            .iter()
            .for_each(|device| knows(device, "choir", &all));
    });
}
