//! Field faults of fetching: what is written, and what never is, when a share changes or its owner
//! means no good.
//!
//! Siblings considered. Later versions (D2, A2): another top name, a kind that changes at the top
//! and inside, a link or something of the user's at the target, the target moved away, a restart, a
//! kill, the command run again, two shares of one name. The user's own (A3): an edited file, one
//! replaced by a folder, a new one where the next version has a name, a file touched only. The
//! question (D3): an answer without or with another head, twice, after the version changed. Modes
//! (D4): umask, set-id bits, folders that are there, folders that forbid everything.

use crate::common::pair;
use hither_api::{ErrorCode, Event};
use hither_tests::lab::{self, Device, Running, Shared, Tree, fill, until};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

fn follow(device: &Device, ticket: &str, options: &[&str]) -> Running {
    let into = device.path("got");
    device.begin(
        &[
            &[
                "fetch",
                ticket,
                "--yes",
                "--follow",
                "-o",
                into.to_str().unwrap(),
            ],
            options,
        ]
        .concat(),
    )
}

#[track_caller]
fn version(following: &mut Running, number: u64) {
    following.wait_for(&format!("version {number}"), |event| match event {
        Event::Version { version, .. } if *version == number => Some(()),
        _ => None,
    });
}

/// Returns what is told of the next thing of the user's that stays: where it is, and where the
/// version's was written.
#[track_caller]
fn conflict(following: &mut Running) -> (PathBuf, Option<PathBuf>) {
    following.wait_for("a conflict", |event| match event {
        Event::Conflict { path, copy, .. } => Some((path.into(), copy.as_ref().map(PathBuf::from))),
        _ => None,
    })
}

fn warning(following: &mut Running, of: &str) {
    following.wait_for(&format!("a warning of {of}"), |event| match event {
        Event::Warning { message } if message.contains(of) => Some(()),
        _ => None,
    });
}

/// The names in a folder, beside a trash.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = entries
        .filter(|name| name != hither_content::TRASH)
        .map(|name| name.into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path.as_ref())
        .unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

fn put(path: impl AsRef<Path>, text: &str) -> PathBuf {
    let path = path.as_ref().to_owned();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path
}

/// The desk's owner signs a version that no honest program makes.
fn forged(desk: &Device, shared: &Shared, name: &str) {
    desk.down();
    desk.forge(&shared.share, |entry, called| {
        if entry.depth == 0 {
            name.clone_into(called);
        }
    });
    desk.up();
}

#[test]
fn field_d2_a_later_version_does_not_choose_its_name() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let shared = desk.share(&put(desk.path("notes.txt"), "first"));
        let mine = put(laptop.path("got/.bashrc"), "mine");
        let mut following = follow(&laptop, &shared.ticket, &[]);
        version(&mut following, 1);
        forged(&desk, &shared, ".bashrc");
        warning(&mut following, ".bashrc");
        version(&mut following, 2);
        assert_eq!(read(&mine), "mine");
        assert_eq!(names(&laptop.path("got")), [".bashrc", "notes.txt"]);
        // Also in another case, and after a restart.
        laptop.down();
        following.finish().failed(130);
        forged(&desk, &shared, "Notes.TXT");
        laptop.up();
        until("the third version", || {
            (laptop.transfer().name == "Notes.TXT"
                && laptop.transfer().phase == hither_api::Phase::Following)
                .then_some(())
        });
        assert_eq!(names(&laptop.path("got")), [".bashrc", "notes.txt"]);
    });
}

#[test]
fn field_d2_a_changed_name_is_a_new_question() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let shared = desk.share(&put(desk.path("notes.txt"), "first"));
        laptop.up();
        let request = serde_json::json!({"ticket": shared.ticket, "folder": laptop.path("got"), "follow": true});
        let mut events = laptop.api().work("/v1/fetches", &request).unwrap();
        let offer = |event: &Event| match event {
            Event::Offer {
                transfer,
                head,
                path,
                ..
            } => Some((transfer.clone(), head.clone(), path.clone())),
            _ => None,
        };
        let (transfer, first, path) = events.wait_for("an offer", offer).unwrap();
        assert!(path.ends_with("got/notes.txt"));
        let accept = |head: &str| {
            let body = serde_json::json!({ "head": head });
            laptop
                .api()
                .post::<serde_json::Value>(&format!("/v1/transfers/{transfer}/accept"), &body)
        };
        accept(&first).unwrap();
        let number = |event: &Event| match event {
            Event::Version { version, .. } => Some(*version),
            _ => None,
        };
        assert_eq!(events.wait_for("a version", number), Some(1));
        forged(&desk, &shared, ".profile");
        let (_, second, path) = events.wait_for("a second offer", offer).unwrap();
        assert!(path.ends_with("got/notes.txt"), "{path}");
        // What was shown before is not what is asked now.
        assert_eq!(
            accept(&first).unwrap_err().into_api().code,
            ErrorCode::OfferChanged
        );
        assert_eq!(
            accept("").unwrap_err().into_api().code,
            ErrorCode::BadRequest
        );
        accept(&second).unwrap();
        accept(&second).unwrap();
        assert_eq!(events.wait_for("a version", number), Some(2));
        assert_eq!(names(&laptop.path("got")), ["notes.txt"]);
    });
}

#[test]
fn field_d2_a_changed_kind_is_not_written_unasked() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let path = put(desk.path("thing"), "a file");
        let ticket = desk.share(&path).ticket;
        let mut following = follow(&laptop, &ticket, &[]);
        version(&mut following, 1);
        fs::remove_file(&path).unwrap();
        put(path.join("authorized_keys"), "evil");
        assert_eq!(desk.share(&path).version, 2);
        warning(&mut following, "a folder now");
        assert_eq!(read(laptop.path("got/thing")), "a file");
        // As soon as it is what was agreed to, it goes on.
        fs::remove_dir_all(&path).unwrap();
        put(&path, "a file again");
        assert_eq!(desk.share(&path).version, 3);
        version(&mut following, 3);
        assert_eq!(read(laptop.path("got/thing")), "a file again");
        assert_eq!(names(&laptop.path("got")), ["thing"]);
    });
}

#[test]
fn field_a2_the_place_of_the_first_version_is_kept() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let film = put(desk.path("film.txt"), "one");
        let ticket = desk.share(&film).ticket;
        let mine = put(laptop.path("got/film.txt"), "mine");
        let mut following = follow(&laptop, &ticket, &["--rename"]);
        version(&mut following, 1);
        assert_eq!(read(laptop.path("got/film (2).txt")), "one");
        put(&film, "two");
        desk.share(&film);
        version(&mut following, 2);
        // A kill, and a new life without any command.
        laptop.kill();
        drop(following);
        laptop.up();
        put(&film, "three");
        desk.share(&film);
        until("version 3", || {
            (read(laptop.path("got/film (2).txt")) == "three").then_some(())
        });
        // The same command again, with and without what was chosen.
        let transfer = laptop.transfer().transfer;
        for (options, text) in [(&["--rename"][..], "four"), (&[], "five")] {
            let pause = format!("/v1/transfers/{transfer}/pause");
            laptop
                .api()
                .post::<serde_json::Value>(&pause, &serde_json::json!({}))
                .unwrap();
            put(&film, text);
            desk.share(&film);
            let mut following = follow(&laptop, &ticket, options);
            following.wait_for("a version", |event| {
                matches!(event, Event::Version { .. }).then_some(())
            });
            assert_eq!(read(laptop.path("got/film (2).txt")), text);
        }
        assert_eq!(read(&mine), "mine");
        assert_eq!(names(&laptop.path("got")), ["film (2).txt", "film.txt"]);
    });
}

#[test]
fn field_a2_a_moved_target_is_written_anew_and_a_link_is_not_followed() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let notes = put(desk.path("notes.txt"), "one");
        let ticket = desk.share(&notes).ticket;
        let mut following = follow(&laptop, &ticket, &[]);
        version(&mut following, 1);
        let got = laptop.path("got/notes.txt");
        fs::rename(&got, laptop.path("got/moved.txt")).unwrap();
        put(&notes, "two");
        desk.share(&notes);
        version(&mut following, 2);
        assert_eq!(
            (read(&got), read(laptop.path("got/moved.txt"))),
            ("two".into(), "one".into())
        );
        // A link at the target, to something precious.
        let precious = put(laptop.path("precious"), "precious");
        fs::remove_file(&got).unwrap();
        std::os::unix::fs::symlink(&precious, &got).unwrap();
        put(&notes, "three");
        desk.share(&notes);
        let (path, copy) = conflict(&mut following);
        assert_eq!((path, read(copy.unwrap())), (got.clone(), "three".into()));
        assert_eq!(read(&precious), "precious");
        assert!(got.is_symlink());
    });
}

#[test]
fn field_a2_two_shares_of_one_name_do_not_touch_each_other() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let (a, b) = (
            put(desk.path("a/notes.txt"), "a1"),
            put(desk.path("b/notes.txt"), "b1"),
        );
        let (first, second) = (desk.share(&a).ticket, desk.share(&b).ticket);
        let mut of_a = follow(&laptop, &first, &[]);
        version(&mut of_a, 1);
        let mut of_b = follow(&laptop, &second, &["--rename"]);
        version(&mut of_b, 1);
        put(&a, "a2");
        desk.share(&a);
        put(&b, "b2");
        desk.share(&b);
        version(&mut of_a, 2);
        version(&mut of_b, 2);
        assert_eq!(read(laptop.path("got/notes.txt")), "a2");
        assert_eq!(read(laptop.path("got/notes (2).txt")), "b2");
    });
}

#[test]
fn field_a3_what_the_user_changed_is_never_replaced() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let things = desk.path("things");
        for name in ["a", "b", "c", "swapped", "gone"] {
            put(things.join(name), &format!("{name} 1"));
        }
        fill(things.join("touched"), 1, 300_000);
        let ticket = desk.share(&things).ticket;
        let mut following = follow(&laptop, &ticket, &[]);
        version(&mut following, 1);
        let got = laptop.path("got/things");
        put(got.join("b"), "b of mine");
        put(got.join("c"), "c of mine");
        put(got.join("new"), "new of mine");
        fs::remove_file(got.join("gone")).unwrap();
        fs::remove_file(got.join("swapped")).unwrap();
        put(got.join("swapped/inner"), "mine too");
        fs::File::open(got.join("touched"))
            .unwrap()
            .set_modified(std::time::SystemTime::UNIX_EPOCH)
            .unwrap();
        for name in ["a", "c", "new", "swapped"] {
            put(things.join(name), &format!("{name} 2"));
        }
        fill(things.join("touched"), 2, 300_000);
        desk.share(&things);
        let told: Vec<_> = (0..4).map(|_| conflict(&mut following)).collect();
        version(&mut following, 2);
        let copy_of = |name: &str| {
            let of = told.iter().find(|(path, _)| *path == got.join(name));
            of.unwrap_or_else(|| panic!("nothing is told of {name}: {told:?}"))
                .1
                .clone()
        };
        assert_eq!(copy_of("b"), None, "the version brought nothing new there");
        for name in ["c", "new", "swapped"] {
            let copy = copy_of(name).unwrap();
            assert_eq!(read(&copy), format!("{name} 2"));
            let copy = copy.file_name().unwrap().to_str().unwrap().to_owned();
            assert!(
                copy.starts_with(&format!("{name} (conflict of desk-")),
                "{copy}"
            );
        }
        assert_eq!(read(got.join("a")), "a 2");
        assert_eq!(read(got.join("b")), "b of mine");
        assert_eq!(read(got.join("c")), "c of mine");
        assert_eq!(read(got.join("new")), "new of mine");
        assert_eq!(read(got.join("swapped/inner")), "mine too");
        Tree::of(things.join("touched")).assert_same(&Tree::of(got.join("touched")));
        assert_eq!(read(got.join("gone")), "gone 1");
        assert!(
            laptop
                .log()
                .contains("something that was not fetched stays")
        );
        // It does not come again for what stayed the same, nor after a restart.
        laptop.down();
        following.finish().failed(130);
        laptop.up();
        put(things.join("a"), "a 3");
        desk.share(&things);
        until("the third version", || {
            (read(got.join("a")) == "a 3").then_some(())
        });
        assert_eq!(
            names(&got)
                .iter()
                .filter(|name| name.contains("conflict of"))
                .count(),
            3
        );
    });
}

#[test]
fn field_a3_small_files_that_were_only_touched_are_not_in_the_way() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let things = desk.path("things");
        for name in ["edited", "touched", "another"] {
            put(things.join(name), &format!("{name} 1"));
        }
        let ticket = desk.share(&things).ticket;
        let mut following = follow(&laptop, &ticket, &[]);
        version(&mut following, 1);
        let got = laptop.path("got/things");
        put(got.join("edited"), "mine");
        fs::File::open(got.join("touched"))
            .unwrap()
            .set_modified(std::time::SystemTime::UNIX_EPOCH)
            .unwrap();
        put(things.join("touched"), "touched 2");
        desk.share(&things);
        assert_eq!(conflict(&mut following), (got.join("edited"), None));
        version(&mut following, 2);
        assert_eq!(read(got.join("touched")), "touched 2");
        assert_eq!(read(got.join("edited")), "mine");
        assert_eq!(
            names(&got),
            ["another", "edited", "touched"],
            "no copy beside what was only touched"
        );
    });
}

#[test]
fn field_a3_kinds_that_change_inside_a_tree_take_nothing_of_the_users() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let things = desk.path("things");
        put(things.join("file"), "1");
        put(things.join("folder/inner"), "1");
        put(things.join("used/inner"), "1");
        let ticket = desk.share(&things).ticket;
        let mut following = follow(&laptop, &ticket, &[]);
        version(&mut following, 1);
        let got = laptop.path("got/things");
        let mine = put(got.join("used/mine"), "mine");
        for name in ["folder", "used"] {
            fs::remove_dir_all(things.join(name)).unwrap();
            put(things.join(name), "a file now");
        }
        fs::remove_file(things.join("file")).unwrap();
        put(things.join("file/inner"), "a folder now");
        desk.share(&things);
        let (path, copy) = conflict(&mut following);
        version(&mut following, 2);
        assert_eq!(
            (path, read(copy.unwrap())),
            (got.join("used"), "a file now".into())
        );
        assert_eq!(read(mine), "mine");
        assert_eq!(read(got.join("folder")), "a file now");
        assert_eq!(read(got.join("file/inner")), "a folder now");
    });
}

#[test]
fn field_d3_yes_is_for_what_was_shown() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let shared = desk.share(&put(desk.path("notes.txt"), "first"));
        let keys = put(laptop.path("got/authorized_keys"), "mine");
        laptop.up();
        let request = serde_json::json!(
            {"ticket": shared.ticket, "folder": laptop.path("got"), "existing": "overwrite"}
        );
        let mut events = laptop.api().work("/v1/fetches", &request).unwrap();
        let offer = |event: &Event| match event {
            Event::Offer {
                transfer,
                head,
                name,
                ..
            } => Some((transfer.clone(), head.clone(), name.clone())),
            _ => None,
        };
        let (transfer, head, _) = events.wait_for("an offer", offer).unwrap();
        forged(&desk, &shared, "authorized_keys");
        let accept = |head: &str| {
            let body = serde_json::json!({ "head": head });
            laptop
                .api()
                .post::<serde_json::Value>(&format!("/v1/transfers/{transfer}/accept"), &body)
        };
        accept(&head).unwrap();
        // That version is not to be had any more, and nobody agreed to another.
        let (_, second, name) = events.wait_for("another offer", offer).unwrap();
        assert_eq!(name, "authorized_keys");
        assert_eq!(read(&keys), "mine");
        // Nor does a restart agree.
        laptop.down();
        laptop.up();
        let mut events = laptop.api().events(&transfer).unwrap();
        let (_, again, _) = events.wait_for("the offer again", offer).unwrap();
        assert_eq!(again, second);
        assert_eq!(read(&keys), "mine");
        assert_eq!(
            accept(&head).unwrap_err().into_api().code,
            ErrorCode::OfferChanged
        );
        accept(&second).unwrap();
        events
            .wait_for("the end", |event| event.is_last().then_some(()))
            .unwrap();
        assert_eq!(read(&keys), "first");
    });
}

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn field_d4_a_share_gives_nobody_more_than_the_user_does() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let things = desk.path("things");
        let modes = [
            ("run", 0o777),
            ("setuid", 0o6755),
            ("shared", 0o666),
            ("there/x", 0o666),
            ("mine", 0o400),
        ];
        for (name, mode) in modes {
            fs::set_permissions(
                put(things.join(name), name),
                fs::Permissions::from_mode(mode),
            )
            .unwrap();
        }
        put(things.join("shut/in"), "in");
        for (name, mode) in [("there", 0o777), ("shut", 0o000)] {
            fs::set_permissions(things.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        let ticket = desk.share(&things).ticket;
        // Somebody's own folder, for no other eyes, and a private file that is replaced.
        let there = laptop.path("got/things/there");
        fs::create_dir_all(&there).unwrap();
        fs::set_permissions(&there, fs::Permissions::from_mode(0o700)).unwrap();
        let private = put(laptop.path("got/things/shared"), "private");
        fs::set_permissions(&private, fs::Permissions::from_mode(0o600)).unwrap();
        let into = laptop.path("got");
        let fetch = [
            "fetch",
            &ticket,
            "--yes",
            "--overwrite",
            "-o",
            into.to_str().unwrap(),
        ];
        let run = laptop.masked(0o077, &fetch);
        assert_eq!(run.status, 0, "{}", run.errors);
        let got = into.join("things");
        assert_eq!(
            ["run", "setuid", "mine"].map(|name| mode(got.join(name))),
            [0o700, 0o700, 0o400]
        );
        assert_eq!(
            ["there", "shared", "shut"].map(|name| mode(got.join(name))),
            [0o700, 0o600, 0o000]
        );
        assert_eq!(mode(got.join("there/x")), 0o600);
        // With a usual umask nobody else may write either.
        let into = laptop.path("usual");
        let run = laptop.masked(
            0o000,
            &["fetch", &ticket, "--yes", "-o", into.to_str().unwrap()],
        );
        assert_eq!(run.status, 0, "{}", run.errors);
        let got = into.join("things");
        assert_eq!(
            ["run", "setuid", "shared"].map(|name| mode(got.join(name))),
            [0o755, 0o755, 0o644]
        );
        assert_eq!(mode(got.join("there")), 0o755);
        Tree::of(things.join("mine")).assert_same(&Tree::of(got.join("mine")));
    });
}
