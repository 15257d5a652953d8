//! Things that later versions replace or no longer have, and how long they are kept.

use super::{TRASH, copy_of, follow, names, put, read, trashed, up_to_date, version};
use crate::common::pair;
use hither_tests::lab::{self, Device, MIB, Tree, fill, until};
use std::fs;
use std::path::PathBuf;

#[test]
fn p9_deletions_and_changes_go_to_the_trash_and_a_rename_costs_nothing() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let things = desk.path("things");
        fill(things.join("films/one.mkv"), 1, 24 * MIB);
        put(things.join("notes/changed.txt"), "first");
        put(things.join("notes/gone.txt"), "gone");
        put(things.join("kept.txt"), "kept");
        let ticket = desk.share(&things).ticket;
        let mut following = follow(&laptop, &ticket);
        version(&mut following, 1);
        let before = desk.cable.traffic().sent;
        fs::create_dir(things.join("moved")).unwrap();
        fs::rename(things.join("films/one.mkv"), things.join("moved/two.mkv")).unwrap();
        fs::remove_dir(things.join("films")).unwrap();
        fs::remove_file(things.join("notes/gone.txt")).unwrap();
        put(things.join("notes/changed.txt"), "second");
        desk.share(&things);
        version(&mut following, 2);
        let sent = desk.cable.traffic().sent - before;
        println!(
            "a file of {} bytes was renamed: {sent} bytes sent",
            24 * MIB
        );
        assert!(sent < MIB, "a rename costs {sent} bytes");
        let got = laptop.path("got/things");
        assert_eq!(copy_of(&got), copy_of(&things));
        assert_eq!(
            names(&got),
            [TRASH, "kept.txt", "moved", "notes"],
            "empty folders go"
        );
        let one = |path: &str| {
            let all = trashed(&got).into_iter();
            let mut of = all.filter(|(at, _)| at == path).map(|(_, bytes)| bytes);
            let first = of.next();
            assert!(of.next().is_none(), "{path} was put aside twice");
            first.unwrap_or_else(|| panic!("{path} is not in the trash"))
        };
        assert_eq!(one("notes/changed.txt"), b"first");
        assert_eq!(one("notes/gone.txt"), b"gone");
        assert_eq!(one("films/one.mkv").len() as u64, 24 * MIB);
        assert_eq!(trashed(&got).len(), 3, "nothing else is there");
        assert_eq!(
            names(laptop.path("got")),
            ["things"],
            "no partial files stay"
        );
        // The copy is a share of its own for others: without the trash.
        let again = laptop.share(&got);
        assert_eq!(
            again.bytes,
            copy_of(&got)
                .iter()
                .map(|(_, b)| b.len() as u64)
                .sum::<u64>()
        );
    });
}

#[test]
fn p9_a_version_that_deletes_everything_takes_nothing_of_the_users() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let things = desk.path("things");
        Tree::make(&things, 1);
        put(things.join("edited"), "1");
        let ticket = desk.share(&things).ticket;
        let mut following = follow(&laptop, &ticket);
        version(&mut following, 1);
        let (got, was) = (laptop.path("got/things"), copy_of(&things));
        put(got.join("edited"), "mine");
        put(got.join("a/b/own"), "mine too");
        let all = desk.path("all");
        fs::rename(&things, all).unwrap();
        fs::create_dir(&things).unwrap();
        assert_eq!(desk.share(&things).version, 2);
        let told = following.wait_for("a conflict", |event| match event {
            hither_api::Event::Conflict { path, copy, .. } => Some((path.clone(), copy.clone())),
            _ => None,
        });
        version(&mut following, 2);
        assert_eq!(told, (got.join("edited").display().to_string(), None));
        assert_eq!(names(&got), [TRASH, "a", "edited"]);
        assert_eq!(
            (read(got.join("edited")), read(got.join("a/b/own"))),
            ("mine".into(), "mine too".into())
        );
        let mut wanted = was;
        wanted.retain(|(path, _)| path != "edited");
        assert_eq!(trashed(&got), wanted);
        assert_eq!(up_to_date(&laptop, 2).conflicts, 1);
    });
}

#[test]
fn p9_kinds_and_cases_that_change_leave_what_was_in_the_trash() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let things = desk.path("things");
        put(things.join("file"), "a file");
        put(things.join("folder/inner"), "inner");
        put(things.join("Case.txt"), "case");
        std::os::unix::fs::symlink("file", things.join("link")).unwrap();
        let ticket = desk.share(&things).ticket;
        let mut following = follow(&laptop, &ticket);
        version(&mut following, 1);
        fs::remove_file(things.join("file")).unwrap();
        put(things.join("file/inner"), "a folder now");
        fs::remove_dir_all(things.join("folder")).unwrap();
        put(things.join("folder"), "a file now");
        fs::rename(things.join("Case.txt"), things.join("case.txt")).unwrap();
        fs::remove_file(things.join("link")).unwrap();
        std::os::unix::fs::symlink("folder", things.join("link")).unwrap();
        desk.share(&things);
        version(&mut following, 2);
        let got = laptop.path("got/things");
        assert_eq!(copy_of(&got), copy_of(&things));
        let put_aside = trashed(&got);
        let wanted = [
            ("Case.txt", "case"),
            ("file", "a file"),
            ("folder/inner", "inner"),
        ];
        let wanted = wanted.map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()));
        assert_eq!(put_aside, wanted);
        let when = names(got.join(TRASH)).remove(0);
        let link = fs::read_link(got.join(TRASH).join(when).join("link")).unwrap();
        assert_eq!(link.to_str(), Some("file"));
        assert_eq!(up_to_date(&laptop, 2).conflicts, 0);
    });
}

#[test]
fn p9_a_single_file_has_its_trash_beside_it() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let film = fill(desk.path("film.mkv"), 1, MIB);
        let first = fs::read(&film).unwrap();
        let ticket = desk.share(&film).ticket;
        let mut following = follow(&laptop, &ticket);
        version(&mut following, 1);
        fill(&film, 2, 2 * MIB);
        desk.share(&film);
        version(&mut following, 2);
        let got = laptop.path("got");
        assert_eq!(names(&got), [TRASH, "film.mkv"]);
        assert_eq!(trashed(&got), [("film.mkv".to_owned(), first)]);
        Tree::of(&film).assert_same(&Tree::of(got.join("film.mkv")));
    });
}

/// Publishes that many versions of a file of 1 MiB, and waits for each.
fn versions(desk: &Device, laptop: &Device, number: u64) -> PathBuf {
    let things = desk.path(&format!("{}/things", laptop.name));
    fill(things.join("file"), 0, MIB);
    let ticket = desk.share(&things).ticket;
    let mut following = follow(laptop, &ticket);
    version(&mut following, 1);
    for seed in 2..=number {
        fill(things.join("file"), seed, MIB);
        desk.share(&things);
        version(&mut following, seed);
    }
    laptop.path("got/things")
}

#[test]
fn p9_the_trash_is_kept_as_configured() {
    lab::run(|lab| {
        let desk = lab.device("desk");
        // Nothing at all.
        let mut none = lab.device("none");
        none.set("follow.trash_keep", "0");
        let got = versions(&desk, &none, 2);
        until("nothing is kept", || {
            (names(&got) == ["file"]).then_some(())
        });
        // So many bytes: the oldest goes.
        let mut some = lab.device("some");
        some.set("follow.trash_max", "3MiB");
        let got = versions(&desk, &some, 6);
        until("three versions are kept", || {
            (trashed(&got).len() == 3).then_some(())
        });
        // For so long, over a restart.
        let mut brief = lab.device("brief");
        brief.set("follow.trash_keep", "20s");
        let got = versions(&desk, &brief, 2);
        assert_eq!(trashed(&got).len(), 1);
        brief.down();
        put(got.join(TRASH).join("mine/file"), "the user's own stays");
        brief.up();
        assert_eq!(trashed(&got).len(), 2, "its time is not over");
        // The folder of a moment goes after what was in it.
        until("its time is over", || {
            (names(got.join(TRASH)) == ["mine"]).then_some(())
        });
        assert_eq!(trashed(&got).len(), 1);
        assert_eq!(
            brief
                .hither(&["config", "get", "follow.trash_keep"])
                .well()
                .status,
            0
        );
    });
}
