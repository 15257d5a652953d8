//! Nothing of the user's is lost, and nothing is written that was not shared.

use crate::common::pair;
use hither_api::{ErrorCode, Event, Phase};
use hither_tests::lab::{self, MIB, Tree, fill, noise};
use std::fs;
use std::os::unix::fs::FileExt;

#[test]
fn what_exists_is_left_alone_unless_it_is_said() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let file = fill(desk.path("notes.txt"), 1, 3 * MIB);
        let ticket = desk.share(&file).ticket;
        let mine = fill(laptop.path("got/notes.txt"), 2, 1000);
        let before = Tree::of(laptop.path("got"));
        let into = laptop.path("got");
        let fetch = |option: &[&str]| {
            laptop.hither(
                &[
                    &["fetch", &ticket, "--yes", "-o", into.to_str().unwrap()][..],
                    option,
                ]
                .concat(),
            )
        };
        assert_eq!(fetch(&[]).failed(1).code, ErrorCode::TargetExists);
        before.assert_same(&Tree::of(&into));
        let fetched = fetch(&["--rename"]).fetched();
        assert_eq!(fetched.path, into.join("notes (2).txt").to_str().unwrap());
        Tree::of(&file).assert_same(&Tree::of(&fetched.path));
        assert_eq!(fs::read(&mine).unwrap(), noise(2, 1000));
        fetch(&["--overwrite"]).fetched();
        Tree::of(&file).assert_same(&Tree::of(&mine));
        assert_eq!(
            fs::read_dir(&into).unwrap().count(),
            2,
            "nothing else is left behind"
        );
    });
}

#[test]
fn a_folder_that_may_not_be_written() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let ticket = desk.share(&fill(desk.path("file"), 1, MIB)).ticket;
        let locked = laptop.path("locked");
        lab.disk(&locked, MIB);
        lab.read_only(&locked);
        let fetch = ["fetch", &ticket, "--yes", "-o", locked.to_str().unwrap()];
        assert_eq!(laptop.hither(&fetch).failed(1).code, ErrorCode::NotWritable);
        assert!(laptop.transfers().is_empty(), "nothing was begun");
    });
}

#[test]
fn a_disk_that_is_too_small_and_one_that_fills_up() {
    lab::run(|lab| {
        const SIZE: u64 = 24 * MIB;
        let (desk, laptop) = pair(lab);
        desk.cable.shape_up(50);
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let ticket = desk.share(&file).ticket;
        let (small, disk) = (laptop.path("small"), laptop.path("disk"));
        lab.disk(&small, 16 * MIB);
        lab.disk(&disk, 32 * MIB);
        let error = laptop
            .hither(&["fetch", &ticket, "--yes", "-o", small.to_str().unwrap()])
            .failed(6);
        assert_eq!(error.code, ErrorCode::NoSpace);
        assert_eq!(
            fs::read_dir(&small).unwrap().count(),
            0,
            "it was clear before anything was written"
        );
        let before = laptop.cable.traffic().received;
        let mut fetch = laptop.begin_fetch(&ticket, "disk");
        fetch.reach(SIZE / 3);
        let other = fill(disk.join("other"), 2, 14 * MIB);
        assert_eq!(fetch.finish().failed(6).code, ErrorCode::NoSpace);
        fs::remove_file(other).unwrap();
        laptop.fetch(&ticket, "disk");
        Tree::of(&file).assert_same(&Tree::of(disk.join("film.mkv")));
        let received = laptop.cable.traffic().received - before;
        assert!(
            received < SIZE * 5 / 4,
            "{received} bytes came: what was here was fetched again"
        );
    });
}

#[test]
fn a_file_that_changes_while_it_is_served() {
    lab::run(|lab| {
        const SIZE: u64 = 60 * MIB;
        let (desk, laptop) = pair(lab);
        desk.cable.shape_up(100);
        let file = fill(desk.path("report.doc"), 1, SIZE);
        let shared = desk.share(&file);
        let mut fetch = laptop.begin_fetch(&shared.ticket, "got");
        fetch.reach(SIZE / 4);
        // Somebody saves it again, a little of it new, also of what has not been fetched: that may
        // be any part of it.
        let open = fs::OpenOptions::new().write(true).open(&file).unwrap();
        for n in 0..12 {
            open.write_all_at(&noise(9 + n, 20_000), n * SIZE / 12)
                .unwrap();
        }
        drop(open);
        fetch.wait_for("the end of what is the same", |event| match event {
            Event::Progress {
                phase: Phase::Waiting,
                ..
            } => Some(()),
            _ => None,
        });
        assert!(
            !laptop.path("got/report.doc").exists(),
            "half of one and half of another is no file"
        );
        // The owner shares it again, and what waits goes over to the new version.
        let again = desk.share(&file);
        assert_eq!((again.share, again.version), (shared.share, 2));
        let before = laptop.cable.traffic().received;
        fetch.finish().fetched();
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/report.doc")));
        println!(
            "{} MiB came after it was shared again",
            (laptop.cable.traffic().received - before) / MIB
        );
    });
}

#[test]
fn a_file_that_is_deleted_while_it_is_served() {
    lab::run(|lab| {
        const SIZE: u64 = 60 * MIB;
        let (desk, laptop) = pair(lab);
        desk.cable.shape_up(100);
        let file = fill(desk.path("report.doc"), 1, SIZE);
        let ticket = desk.share(&file).ticket;
        let into = laptop.path("got");
        let mut fetch = laptop.begin(&[
            "fetch",
            &ticket,
            "--yes",
            "-o",
            into.to_str().unwrap(),
            "--wait",
            "3s",
        ]);
        fetch.reach(SIZE / 4);
        fs::remove_file(&file).unwrap();
        let error = fetch.finish().failed(3);
        assert_eq!(error.code, ErrorCode::NoHolder);
        println!("{}", error.message);
        assert!(!into.join("report.doc").exists());
    });
}

#[test]
fn a_new_version_costs_what_is_new() {
    lab::run(|lab| {
        const SIZE: u64 = 60 * MIB;
        let (desk, laptop) = pair(lab);
        let file = fill(desk.path("folder/film.mkv"), 1, SIZE);
        fill(desk.path("folder/notes.txt"), 2, 1000);
        let ticket = desk.share(&desk.path("folder")).ticket;
        laptop.fetch(&ticket, "got");
        let open = fs::OpenOptions::new().write(true).open(&file).unwrap();
        open.write_all_at(&noise(3, 200_000), 20 * MIB).unwrap();
        drop(open);
        fill(desk.path("folder/more.txt"), 4, 5000);
        let again = desk.share(&desk.path("folder"));
        assert_eq!((again.ticket.as_str(), again.version), (ticket.as_str(), 2));
        let before = laptop.cable.traffic().received;
        let into = laptop.path("got");
        laptop
            .hither(&[
                "fetch",
                &ticket,
                "--yes",
                "--overwrite",
                "-o",
                into.to_str().unwrap(),
            ])
            .fetched();
        let received = laptop.cable.traffic().received - before;
        println!("{received} bytes for 205,000 new ones in {SIZE}");
        assert!(received < 2 * MIB, "{received} bytes came");
        Tree::of(desk.path("folder")).assert_same(&Tree::of(into.join("folder")));
    });
}
