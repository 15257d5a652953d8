//! Field faults of fetching: how a fetch is begun again, and how it ends when it cannot go on.
//!
//! Siblings considered. Spelling (A4): through a link, with `..`, relative, from another folder, a
//! slash at the end, `.`. What is not to be had (B2): the file changed before and while it is
//! fetched, the share ended before. Standard output (B11): stopped, read to the end, its
//! reader gone, the daemon ended. Words (C5, C14).

use crate::common::pair;
use hither_api::{ErrorCode, Event};
use hither_tests::lab::{self, MIB, Process, Tree, fill, noise, until};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const SIZE: u64 = 24 * MIB;
/// Slow enough that a fetch can be stopped in the middle.
const SLOW: u32 = 40;

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn field_a4_every_spelling_of_a_folder_is_the_same_target() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let film = fill(desk.path("film.mkv"), 1, SIZE);
        let ticket = desk.share(&film).ticket;
        laptop.up();
        fs::create_dir_all(laptop.path("deep/inner")).unwrap();
        fs::create_dir_all(laptop.path("other")).unwrap();
        std::os::unix::fs::symlink("deep/inner", laptop.path("link")).unwrap();
        std::os::unix::fs::symlink("deep", laptop.path("above")).unwrap();
        desk.cable.shape_up(SLOW);
        let before = desk.cable.traffic().sent;
        let inner = laptop.path("deep/inner");
        let fetch = |folder: &Path, target: &[&str]| {
            laptop.begin_in(folder, &[&["fetch", &ticket, "--yes"], target].concat())
        };
        let absolute = inner.to_str().unwrap();
        let begun: [(PathBuf, &[&str]); 4] = [
            (laptop.path("other"), &["-o", absolute]),
            (laptop.path("other"), &["-o", "../link/"]),
            (laptop.path("other"), &["-o", "../link/../inner"]),
            (laptop.path("above/inner"), &["-o", "."]),
        ];
        for (number, (folder, target)) in begun.iter().enumerate() {
            let mut fetch = fetch(folder, target);
            fetch.reach((number as u64 + 1) * 3 * MIB);
            fetch.interrupt();
            fetch.finish().failed(130);
            assert_eq!(names(&inner), ["film.mkv.hither-partial"], "{target:?}");
        }
        // In the folder itself, without a word.
        desk.cable.shape_up(1000);
        fetch(&inner, &[]).finish().fetched();
        assert_eq!(names(&inner), ["film.mkv"]);
        Tree::of(&film).assert_same(&Tree::of(inner.join("film.mkv")));
        let sent = desk.cable.traffic().sent - before;
        assert!(sent < SIZE + SIZE / 2, "{sent} bytes were sent for {SIZE}");
    });
}

#[test]
fn field_b2_what_has_changed_ends_the_fetch_and_says_so() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let film = fill(desk.path("film.mkv"), 1, SIZE);
        let ticket = desk.share(&film).ticket;
        let file = fs::OpenOptions::new().write(true).open(&film).unwrap();
        file.write_all_at(&noise(9, 7000), SIZE / 2).unwrap();
        let error = laptop.begin_fetch(&ticket, "got").finish().failed(3);
        assert_eq!(error.code, ErrorCode::NoHolder);
        assert!(
            error
                .message
                .contains("has changed at the device that shared it"),
            "{error:?}"
        );
        assert!(
            error.message.contains("Missing: ") && error.message.contains("film.mkv"),
            "{error:?}"
        );
        assert_eq!(laptop.transfer().reason.as_ref(), Some(&error.message));
        assert_eq!(names(&laptop.path("got")), ["film.mkv.hither-partial"]);
        // Shared anew, the same command goes on.
        desk.share(&film);
        laptop.fetch(&ticket, "got");
        Tree::of(&film).assert_same(&Tree::of(laptop.path("got/film.mkv")));
        assert_eq!(names(&laptop.path("got")), ["film.mkv"]);
    });
}

#[test]
fn field_b2_an_ended_share_is_said_to_have_ended() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let shared = desk.share(&fill(desk.path("film.mkv"), 1, MIB));
        laptop.up();
        laptop.sees(1);
        desk.hither(&["unshare", &shared.share]).well();
        let error = laptop.begin_fetch(&shared.ticket, "got").finish().failed(3);
        assert!(
            error.message.contains("has ended or never existed"),
            "{error:?}"
        );
        assert!(names(&laptop.path("got")).is_empty());
    });
}

#[test]
fn field_b2_a_device_that_is_seen_and_silent_is_said_to_be() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let ticket = desk.share(&fill(desk.path("film.mkv"), 1, MIB)).ticket;
        laptop.up();
        laptop.sees(1);
        // It is not gone, it says nothing more: as behind a firewall.
        let process = Process::find(desk.status().pid).unwrap();
        process.signal(Signal::STOP);
        let into = laptop.path("got");
        let fetch = [
            "fetch",
            &ticket,
            "--yes",
            "--wait",
            "4s",
            "-o",
            into.to_str().unwrap(),
        ];
        let error = laptop.hither(&fetch).failed(3);
        assert!(
            error
                .message
                .contains("is seen on this network, but does not answer"),
            "{error:?}"
        );
        process.signal(Signal::CONT);
        laptop.fetch(&ticket, "got");
    });
}

#[test]
fn field_b11_standard_output_leaves_nothing_however_it_ends() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let film = fill(desk.path("film.mkv"), 1, SIZE);
        let ticket = desk.share(&film).ticket;
        laptop.up();
        let spool = laptop.home().join("data/spool");
        let nothing_left = || {
            until("nothing is left", || {
                laptop.transfers().is_empty().then_some(())
            });
            assert!(names(&spool).is_empty(), "{:?}", names(&spool));
        };
        desk.cable.shape_up(SLOW);
        let arguments = ["fetch", &ticket, "--yes", "-o", "-"];
        let begin = || {
            let mut pipe = laptop.pipe(&arguments);
            assert_eq!(pipe.read(1000), noise(1, 1000));
            pipe
        };
        // Ctrl-C, a reader that goes, a command that is killed.
        let pipe = begin();
        pipe.interrupt();
        assert_eq!(pipe.finish().status, 130);
        nothing_left();
        drop(begin());
        nothing_left();
        // A daemon that ends: the next one begins anew.
        let pipe = begin();
        laptop.down();
        assert_ne!(pipe.finish().status, 0);
        laptop.up();
        nothing_left();
        desk.cable.shape_up(1000);
        let read = laptop.plain(&arguments);
        assert_eq!(
            (read.status, read.output == fs::read(&film).unwrap()),
            (0, true),
            "{}",
            read.errors
        );
        nothing_left();
    });
}

#[test]
fn field_c_the_offer_shows_where_it_will_be_and_took_counts_no_pause() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let film = fill(desk.path("film.mkv"), 1, SIZE);
        let ticket = desk.share(&film).ticket;
        fill(laptop.path("got/film.mkv"), 2, 10);
        laptop.up();
        desk.cable.shape_up(SLOW);
        let into = laptop.path("got");
        let arguments = [
            "fetch",
            &ticket,
            "--yes",
            "--rename",
            "-o",
            into.to_str().unwrap(),
        ];
        let mut fetch = laptop.begin(&arguments);
        let shown = fetch.wait_for("an offer", |event| match event {
            Event::Offer { path, .. } => Some(path.clone()),
            _ => None,
        });
        assert_eq!(PathBuf::from(&shown), into.join("film (2).mkv"));
        fetch.reach(2 * MIB);
        fetch.interrupt();
        fetch.finish().failed(130);
        let paused = std::time::Instant::now();
        until("a pause", || {
            (paused.elapsed().as_secs() >= 4).then_some(())
        });
        desk.cable.shape_up(1000);
        let fetched = laptop.begin(&arguments).finish().fetched();
        assert_eq!(fetched.path, shown);
        let transfer = laptop.transfer();
        let between = transfer.ended.unwrap().saturating_sub(transfer.started) as f64;
        assert!(
            transfer.seconds < between - 2.0,
            "{} of {between} s",
            transfer.seconds
        );
    });
}

#[test]
fn field_c15_an_own_disk_without_room_is_said_and_forgiven() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let home = laptop.path("../home");
        lab.disk(&home, 12 * MIB);
        let ticket = desk.share(&fill(desk.path("film.mkv"), 1, MIB)).ticket;
        laptop.up();
        let ballast = home.join("ballast");
        let mut file = fs::File::create(&ballast).unwrap();
        while std::io::Write::write_all(&mut file, &[0; 1024]).is_ok() {}
        drop(file);
        // Not only the first time: the store of metadata refuses everything once the system has
        // failed it, and after a few more the log does not take a line either.
        for _ in 0..12 {
            let error = laptop.begin_fetch(&ticket, "got").finish().failed(6);
            assert_eq!(error.code, ErrorCode::NoSpace);
        }
        fs::remove_file(&ballast).unwrap();
        laptop.fetch(&ticket, "got");
        assert_eq!(names(&laptop.path("got")), ["film.mkv"]);
    });
}
