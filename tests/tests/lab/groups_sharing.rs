//! Shares of a group: fetched by name, once for all who share the same, and not by who
//! was removed.

use crate::groups::{group, groups, knows, members, shares, stands, stranger, text};
use crate::relay_blind::{Haystack, MARKER, files, search};
use crate::relay_world::World;
use hither_api::{ErrorCode, GroupState, ListedShare, SourceKind};
use hither_tests::lab::{self, Device, MIB, Tree, fill, noise, until};
use std::fs;
use std::path::Path;

/// Shares a path with a group; gives the share's id and its ticket.
#[track_caller]
fn share(device: &Device, path: &Path, group: &str) -> (String, String) {
    let run = device
        .hither(&["share", text(path), "--group", group])
        .well();
    let done = run.lines.last().unwrap();
    let part = |name: &str| done[name].as_str().unwrap().to_owned();
    device.uploads(&part("share"));
    (part("share"), part("ticket"))
}

/// Fetches `OWNER/NAME`; gives how many bytes came from elsewhere.
#[track_caller]
fn fetch(device: &Device, wanted: &str, into: &str) -> u64 {
    let run = device.begin(&["fetch", wanted, "--yes", "-o", text(&device.path(into))]);
    let fetched = run.finish().fetched();
    println!("{}: {wanted} from {:?}", device.name, fetched.sources);
    let elsewhere = fetched
        .sources
        .iter()
        .filter(|source| source.kind != SourceKind::Local);
    elsewhere.map(|source| source.bytes).sum()
}

#[test]
fn b2_what_several_members_share_is_fetched_once() {
    lab::run(|lab| {
        const SIZE: u64 = 8 * MIB;
        let world = World::new(lab);
        let anna = stranger(&world, &world.one, "anna");
        let (bert, cleo) = (
            stranger(&world, &world.two, "bert"),
            stranger(&world, &world.two, "cleo"),
        );
        group(
            &anna,
            &["create", "choir", "--findable", "--policy", "open"],
        );
        for device in [&bert, &cleo] {
            group(device, &["join", "choir"]);
        }
        // The same content under another name, by somebody else.
        let one = fill(anna.path("film.mkv"), 1, SIZE);
        let two = bert.path("copy of the film.mkv");
        fs::copy(&one, &two).unwrap();
        share(&anna, &one, "choir");
        share(&bert, &two, "choir");
        shares(&cleo, "choir", "anna", &["film.mkv"]);
        shares(&cleo, "choir", "bert", &["copy of the film.mkv"]);
        let first = fetch(&cleo, "anna/film.mkv", "first");
        assert!(first >= SIZE, "{first}");
        let second = fetch(&cleo, "bert/copy of the film.mkv", "second");
        assert_eq!(second, 0, "what is the same is here already");
        Tree::of(&two).assert_same(&Tree::of(cleo.path("second/copy of the film.mkv")));
        // Not so with a share of its own: nobody outside can compare.
        let alone = fill(anna.path("alone.mkv"), 1, SIZE);
        let ticket = anna.share(&alone);
        anna.uploads(&ticket.share);
        assert!(fetch(&cleo, &ticket.ticket, "third") >= SIZE);
        // The same path may be shared alone too: that is another share, and stays out of the group.
        let shared = anna.share(&one);
        assert_eq!(
            members(&cleo, "choir")
                .iter()
                .find(|one| one.name == "anna")
                .unwrap()
                .shares
                .len(),
            1
        );
        assert!(anna.hither(&["unshare", &shared.share]).status == 0);
        let all: Vec<ListedShare> = cleo.api().get("/v1/catalogue").unwrap();
        assert_eq!(all.len(), 2);
        assert!(
            all.iter()
                .all(|share| share.group.as_deref() == Some("choir"))
        );
        // Only members share with it.
        let dora = stranger(&world, &world.two, "dora");
        let path = fill(dora.path("x"), 2, 1000);
        let error = dora
            .hither(&["share", text(&path), "--group", "choir"])
            .failed(1);
        assert_eq!(error.code, ErrorCode::NotFound);
    });
}

#[test]
fn b4_who_is_removed_learns_of_nothing_new_and_gets_nothing_more_from_members() {
    lab::run(|lab| {
        let world = World::new(lab);
        let anna = stranger(&world, &world.one, "anna");
        let (bert, cleo) = (
            stranger(&world, &world.one, "bert"),
            stranger(&world, &world.two, "cleo"),
        );
        let made = group(
            &anna,
            &["create", "choir", "--findable", "--policy", "open"],
        );
        for device in [&bert, &cleo] {
            group(device, &["join", "choir"]);
        }
        let old = fill(anna.path("old"), 1, MIB);
        let run = anna
            .hither(&["share", text(&old), "--group", "choir", "--no-upload"])
            .well();
        let ticket = run.lines.last().unwrap()["ticket"]
            .as_str()
            .unwrap()
            .to_owned();
        shares(&bert, "choir", "anna", &["old"]);
        group(&anna, &["remove", "choir", "bert"]);
        let out = stands(&bert, "choir", GroupState::Removed);
        assert_eq!((out.members, out.shares), (0, 0));
        assert_eq!(groups(&anna)[0].generation, made.generation + 1);
        knows(&anna, "choir", &[("anna", true), ("cleo", true)]);
        knows(&cleo, "choir", &[("anna", true), ("cleo", true)]);
        // What is new is told to those who are in.
        let new = fill(anna.path("new"), 2, MIB);
        share(&anna, &new, "choir");
        shares(&cleo, "choir", "anna", &["new", "old"]);
        fetch(&cleo, "anna/new", "got");
        // The one who is out knows no such member, and its daemon was told nothing.
        for name in ["new", "old"] {
            let run = bert.hither(&[
                "fetch",
                &format!("anna/{name}"),
                "--yes",
                "-o",
                text(&bert.path("got")),
            ]);
            assert_eq!(
                (run.status, run.lines.last().unwrap()["code"].as_str()),
                (1, Some("not_found"))
            );
        }
        let catalogue: Vec<ListedShare> = bert.api().get("/v1/catalogue").unwrap();
        assert!(catalogue.is_empty());
        // It has the old ticket and is on the same network: members give it nothing.
        let run = bert.hither(&[
            "fetch",
            &ticket,
            "--yes",
            "--wait",
            "4s",
            "-o",
            text(&bert.path("got")),
        ]);
        assert_eq!(run.status, 3, "{:?}", run.lines.last());
        // It does not come back by itself, though the group is open; an admin lets it in.
        assert_eq!(group(&bert, &["join", "choir"]).state, GroupState::Asking);
        until("it is asked", || {
            members(&anna, "choir").into_iter().find(|one| one.asking)
        });
        group(&anna, &["approve", "choir", "bert"]);
        stands(&bert, "choir", GroupState::Member);
        shares(&bert, "choir", "anna", &["new", "old"]);
        // Shared anew after somebody has left, the same path is another share: the old ticket opens
        // it no more.
        let again = anna
            .hither(&["share", text(&old), "--group", "choir", "--no-upload"])
            .well();
        assert_ne!(
            again.lines.last().unwrap()["ticket"].as_str(),
            Some(ticket.as_str())
        );
        shares(&bert, "choir", "anna", &["new", "old"]);
    });
}

#[test]
fn b2_a_relay_learns_no_names_of_what_is_in_a_group() {
    lab::run(|lab| {
        let world = World::new(lab);
        let capture = world.relay.capture();
        let (anna, bert) = (
            stranger(&world, &world.one, "Adas Rechner"),
            stranger(&world, &world.two, "Bertas Laptop"),
        );
        let hidden = group(
            &anna,
            &["create", "Die Verschwörung", "--policy", "approval"],
        );
        assert_eq!(
            group(&bert, &["join", &hidden.invite]).state,
            GroupState::Asking
        );
        until("it is asked", || {
            members(&anna, "Die Verschwörung")
                .into_iter()
                .find(|one| one.asking)
        });
        group(
            &anna,
            &[
                "refuse",
                "Die Verschwörung",
                "Bertas Laptop",
                "--reason",
                "erst das Losungswort",
            ],
        );
        stands_refused(&bert);
        bert.hither(&["group", "join", &hidden.invite]).well();
        until("it is asked", || {
            members(&anna, "Die Verschwörung")
                .into_iter()
                .find(|one| one.asking)
        });
        group(&anna, &["approve", "Die Verschwörung", "Bertas Laptop"]);
        stands(&bert, "Die Verschwörung", GroupState::Member);
        let plan = fill(anna.path("Plan fuer Donnerstag.pdf"), 1, MIB);
        share(&anna, &plan, "Die Verschwörung");
        fetch(&bert, "Adas Rechner/Plan fuer Donnerstag.pdf", "got");
        // One that is findable gives its name away, and nothing else.
        group(&anna, &["create", "Kegelklub", "--findable"]);
        fs::write(world.relay.data().join(MARKER), MARKER).unwrap();
        let mut haystacks: Vec<Haystack> = vec![
            ("the log".to_owned(), world.relay.log().into_bytes()),
            (
                "the metrics".to_owned(),
                world.relay.page("/metrics").into_bytes(),
            ),
            ("the network".to_owned(), capture.finish()),
        ];
        world.relay.stop();
        files(&world.relay.data(), &mut haystacks);
        assert_eq!(
            search(&haystacks, MARKER.as_bytes()).len(),
            1,
            "files are searched"
        );
        assert!(
            !search(&haystacks, b"Kegelklub").is_empty(),
            "a findable name is in the clear"
        );
        let secrets: [(&str, &[u8]); 9] = [
            ("the group's name", "Verschwörung".as_bytes()),
            ("part of it", b"Verschw"),
            ("a device's name", b"Rechner"),
            ("another device's name", b"Laptop"),
            ("a share's name", b"Donnerstag"),
            ("a reason", b"Losungswort"),
            ("content", &noise(1, 4096)[1000..1032]),
            ("a ticket", b"hither1q"),
            ("a note in the clear", b"\"shares\""),
        ];
        for (what, bytes) in secrets {
            let places = search(&haystacks, bytes);
            assert!(places.is_empty(), "{what} is in {places:?}");
        }
        world.relay.start();
    });
}

/// Waits until a device was told that it may not join the only group that it asked.
#[track_caller]
fn stands_refused(device: &Device) {
    until("a refusal", || {
        groups(device)
            .into_iter()
            .find(|group| group.state == GroupState::Refused)
    });
}
