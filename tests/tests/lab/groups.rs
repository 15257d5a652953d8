//! Groups: devices of several users that see each other and fetch each other's shares by name.

use crate::relay_world::World;
use hither_api::{ErrorCode, GroupInfo, GroupMemberInfo, GroupState};
use hither_tests::lab::{self, Device, Lan, MIB, Tree, fill, until};
use std::path::Path;

/// A device of a user of its own.
pub(crate) fn stranger(world: &World<'_>, lan: &Lan<'_>, name: &str) -> Device {
    let device = lan.device(name);
    let invited = world
        .relay
        .admin(&["invite", "--label", "somebody"])
        .well()
        .lines
        .pop()
        .unwrap();
    device.join(invited["url"].as_str().unwrap());
    device
}

/// Runs `hither group` and gives the group that it tells of.
#[track_caller]
pub(crate) fn group(device: &Device, arguments: &[&str]) -> GroupInfo {
    let arguments: Vec<_> = ["group"].iter().chain(arguments).copied().collect();
    serde_json::from_value(device.hither(&arguments).well().lines.pop().unwrap()).unwrap()
}

/// The groups of a device.
pub(crate) fn groups(device: &Device) -> Vec<GroupInfo> {
    device.api().get("/v1/groups").unwrap()
}

/// The members of a group and those who ask; nobody while the device is no member.
pub(crate) fn members(device: &Device, group: &str) -> Vec<GroupMemberInfo> {
    let escaped: String = group.bytes().map(|byte| format!("%{byte:02X}")).collect();
    device
        .api()
        .get(&format!("/v1/groups/{escaped}/members"))
        .unwrap_or_default()
}

/// Waits until a device stands with a group as wanted.
#[track_caller]
pub(crate) fn stands(device: &Device, name: &str, state: GroupState) -> GroupInfo {
    until(&format!("{} is {state:?} of {name}", device.name), || {
        groups(device)
            .into_iter()
            .find(|group| group.name == name && group.state == state)
    })
}

/// Waits until a device knows these members, by name and whether they are there.
#[track_caller]
pub(crate) fn knows(device: &Device, group: &str, wanted: &[(&str, bool)]) {
    let mut wanted: Vec<_> = wanted
        .iter()
        .map(|(name, online)| ((*name).to_owned(), *online))
        .collect();
    wanted.sort();
    until(&format!("{} knows {wanted:?}", device.name), || {
        let found = members(device, group)
            .into_iter()
            .filter(|member| !member.asking);
        let mut found: Vec<_> = found.map(|member| (member.name, member.online)).collect();
        found.sort();
        (found == wanted).then_some(())
    });
}

/// Waits until a device knows what another one shares with a group.
#[track_caller]
pub(crate) fn shares(device: &Device, group: &str, owner: &str, wanted: &[&str]) {
    until(
        &format!("{} knows that {owner} shares {wanted:?}", device.name),
        || {
            let found = members(device, group)
                .into_iter()
                .find(|member| member.name == owner)?;
            let mut found: Vec<_> = found.shares.into_iter().map(|share| share.name).collect();
            found.sort();
            (found == wanted).then_some(())
        },
    );
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn b4_anybody_joins_an_open_group_at_once_and_b2_learns_who_is_in_it_and_what_they_share() {
    lab::run(|lab| {
        const SIZE: u64 = 4 * MIB;
        let world = World::new(lab);
        let anna = world.one.device("anna");
        anna.join(&world.relay.invitation());
        let (bert, cleo) = (
            stranger(&world, &world.two, "bert"),
            stranger(&world, &world.two, "cleo"),
        );
        let made = group(
            &anna,
            &["create", "choir", "--findable", "--policy", "open"],
        );
        assert_eq!((made.members, made.generation, made.findable), (1, 1, true));
        let film = fill(anna.path("film.mkv"), 1, SIZE);
        let run = anna
            .hither(&["share", text(&film), "--group", "choir"])
            .well();
        let share = run.lines.last().unwrap()["share"]
            .as_str()
            .unwrap()
            .to_owned();
        for device in [&bert, &cleo] {
            let joined = group(device, &["join", "choir"]);
            assert_eq!(joined.state, GroupState::Member, "{joined:?}");
        }
        for device in [&anna, &bert, &cleo] {
            knows(
                device,
                "choir",
                &[("anna", true), ("bert", true), ("cleo", true)],
            );
        }
        shares(&cleo, "choir", "anna", &["film.mkv"]);
        // Another user's device fetches it by its name, and its daemon is told while it runs.
        anna.uploads(&share);
        let into = cleo.path("got");
        cleo.hither(&["fetch", "anna/film.mkv", "--yes", "-o", text(&into)])
            .well();
        Tree::of(&film).assert_same(&Tree::of(into.join("film.mkv")));
        // Who is away is known to be, and what is new is told to who was away.
        bert.down();
        knows(
            &anna,
            "choir",
            &[("anna", true), ("bert", false), ("cleo", true)],
        );
        let song = fill(cleo.path("song.flac"), 2, 1000);
        cleo.hither(&["share", text(&song), "--group", &made.group])
            .well();
        bert.up();
        shares(&bert, "choir", "cleo", &["song.flac"]);
        knows(
            &anna,
            "choir",
            &[("anna", true), ("bert", true), ("cleo", true)],
        );
        // `devices` shows them too, and says that they are of a group.
        let listed = anna.devices();
        let other = listed.iter().find(|one| one.name == "cleo").unwrap();
        assert_eq!(other.groups, ["choir"]);
        // What was learnt survives a crash, also when no relay can be reached.
        cleo.kill();
        world.relay.kill();
        cleo.up();
        knows(
            &cleo,
            "choir",
            &[("anna", false), ("bert", false), ("cleo", true)],
        );
        shares(&cleo, "choir", "anna", &["film.mkv"]);
        world.relay.start();
        knows(
            &cleo,
            "choir",
            &[("anna", true), ("bert", true), ("cleo", true)],
        );
    });
}

#[test]
fn b3_a_device_in_no_group_is_told_so_and_what_it_can_do() {
    lab::run(|lab| {
        let world = World::new(lab);
        let anna = world.one.device("anna");
        let none = anna.plain(&["group", "list"]);
        let said = String::from_utf8(none.output).unwrap() + &none.errors;
        for words in ["in no group", "group search", "group join", "group create"] {
            assert!(said.contains(words), "{said}");
        }
        assert_eq!(
            anna.hither(&["group", "create", "choir"]).failed(3).code,
            ErrorCode::NoRelay
        );
        anna.join(&world.relay.invitation());
        assert!(groups(&anna).is_empty());
        let error = anna.hither(&["group", "join", "choir"]).failed(1);
        assert_eq!(error.code, ErrorCode::NotFound);
        assert!(!error.hint.is_empty());
        assert!(
            anna.hither(&["group", "search", "choir"])
                .well()
                .lines
                .is_empty()
        );
        // One that is not findable is not found, and joined with its word.
        let hidden = group(&anna, &["create", "family", "--policy", "open"]);
        let bert = stranger(&world, &world.two, "bert");
        assert!(bert.hither(&["group", "search"]).well().lines.is_empty());
        assert_eq!(
            bert.hither(&["group", "join", "family"]).failed(1).code,
            ErrorCode::NotFound
        );
        let joined = group(&bert, &["join", &hidden.invite]);
        assert_eq!(
            (joined.state, joined.name.as_str()),
            (GroupState::Member, "family")
        );
        assert_eq!(
            bert.hither(&["group", "members", "nothing"]).failed(1).code,
            ErrorCode::NotFound
        );
    });
}
