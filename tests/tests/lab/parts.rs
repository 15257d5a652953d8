//! A part of a share, what is there already, and where it goes.

use crate::common::pair;
use hither_api::{ErrorCode, SourceKind};
use hither_tests::lab::{self, Device, MIB, Run, Tree, fill, until};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Two folders, one of them large, and a file beside them.
fn things(desk: &Device) -> std::path::PathBuf {
    let things = desk.path("things");
    fill(things.join("docs/report.bin"), 1, 3 * MIB);
    fill(things.join("docs/deep/notes.txt"), 2, 1000);
    fill(things.join("films/long.mkv"), 3, 24 * MIB);
    fill(things.join("films/poster.jpg"), 4, 2 * MIB);
    fill(things.join("cover.jpg"), 5, 2 * MIB);
    things
}

fn fetch(device: &Device, into: &Path, more: &[&str]) -> Run {
    let into = into.to_str().unwrap();
    let mut line = vec!["fetch"];
    line.extend(more);
    line.extend(["--yes", "-o", into]);
    device.hither(&line)
}

fn paths(run: &Run) -> Vec<&str> {
    let entries = run.lines.iter().filter(|line| line["event"] == "entry");
    entries.map(|line| line["path"].as_str().unwrap()).collect()
}

fn already(run: &Run) -> bool {
    run.lines.last().unwrap()["already"] == Value::Bool(true)
}

#[test]
fn p7_a_part_is_listed_and_fetched_and_another_one_joins_it() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let things = things(&desk);
        let ticket = desk.share(&things).ticket;
        let into = laptop.path("got");

        let all = laptop.hither(&["fetch", &ticket, "--list"]).well();
        assert_eq!(
            paths(&all),
            [
                "cover.jpg",
                "docs",
                "docs/deep",
                "docs/deep/notes.txt",
                "docs/report.bin",
                "films",
                "films/long.mkv",
                "films/poster.jpg"
            ]
        );
        let last = all.lines.last().unwrap();
        assert_eq!(
            (&last["files"], &last["bytes"]),
            (&5.into(), &(31 * MIB + 1000).into()),
            "{last}"
        );
        let some = laptop
            .hither(&["fetch", &ticket, "--list", "docs/deep"])
            .well();
        assert_eq!(paths(&some), ["docs", "docs/deep", "docs/deep/notes.txt"]);
        assert!(laptop.transfers().is_empty(), "a look is no transfer");

        let before = desk.cable.traffic().sent;
        let fetched = fetch(&laptop, &into, &[&ticket, "docs", "*.jpg"]).fetched();
        assert_eq!(fetched.bytes, 7 * MIB + 1000);
        let sent = desk.cable.traffic().sent - before;
        assert!(sent < 9 * MIB, "{sent} bytes for 7 MiB");
        let expected = laptop.path("expected/things");
        fs::create_dir_all(expected.join("films")).unwrap();
        let copy = |path: &str| {
            let to = expected.join(path);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            let status = std::process::Command::new("cp")
                .args(["-a"])
                .arg(things.join(path))
                .arg(&to)
                .status();
            assert!(status.unwrap().success());
        };
        for path in ["docs", "cover.jpg", "films/poster.jpg"] {
            copy(path);
        }
        // The folder on the way has the time of the share's too.
        let same = |expected: &Path| {
            let status = std::process::Command::new("touch")
                .arg("-r")
                .args([things.join("films"), expected.join("films")])
                .status();
            assert!(status.unwrap().success());
            let status = std::process::Command::new("touch")
                .arg("-r")
                .args([&things, &expected.to_path_buf()])
                .status();
            assert!(status.unwrap().success());
            Tree::of(expected).assert_same(&Tree::of(into.join("things")));
        };
        same(&expected);

        // The same once more is there already; another part joins it.
        assert!(already(
            &fetch(&laptop, &into, &[&ticket, "docs", "*.jpg"]).well()
        ));
        let joined = fetch(&laptop, &into, &[&ticket, "things/films/long.mkv"]).fetched();
        assert_eq!(joined.bytes, 24 * MIB);
        Tree::of(&things).assert_same(&Tree::of(into.join("things")));
        // All of it is there now, though no fetch brought all of it.
        let whole = fetch(&laptop, &into, &[&ticket]).well();
        assert!(already(&whole), "{:?}", whole.lines.last());

        let missing = fetch(&laptop, &into, &[&ticket, "docs/nothing"]).failed(1);
        assert_eq!(missing.code, ErrorCode::NotFound);
        let out = fetch(&laptop, &into, &[&ticket, "../../etc"]).failed(2);
        assert_eq!(out.code, ErrorCode::BadRequest);
    });
}

#[test]
fn p7_what_is_there_already_is_known_before_anything_is_fetched() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let things = things(&desk);
        let ticket = desk.share(&things).ticket;
        let into = laptop.path("by hand");
        fs::create_dir_all(&into).unwrap();
        let copied = std::process::Command::new("cp")
            .arg("-a")
            .args([&things, &into])
            .status();
        assert!(copied.unwrap().success());

        // A copy that somebody made in another way is one, and is given to others from now on.
        let before = desk.cable.traffic().sent;
        let run = fetch(&laptop, &into, &[&ticket]).well();
        assert!(already(&run));
        assert!(desk.cable.traffic().sent - before < MIB);
        let shares = laptop.hither(&["list"]).well().lines;
        assert_eq!(shares[0]["held"], shares[0]["chunks"], "{}", shares[0]);

        // One file is another, one is missing, one is the user's own.
        fill(into.join("things/cover.jpg"), 9, 2 * MIB);
        fs::remove_file(into.join("things/films/poster.jpg")).unwrap();
        fill(into.join("things/own.txt"), 8, 10);
        let before = desk.cable.traffic().sent;
        let refused = fetch(&laptop, &into, &[&ticket]).failed(1);
        assert_eq!(refused.code, ErrorCode::TargetExists);
        assert!(
            desk.cable.traffic().sent - before < MIB,
            "nothing was fetched"
        );

        let skipped = fetch(&laptop, &into, &[&ticket, "--skip"]).fetched();
        assert_eq!(skipped.bytes, 2 * MIB);
        let at = |path: &str| fs::read(into.join("things").join(path)).unwrap();
        assert_eq!(
            at("films/poster.jpg"),
            fs::read(things.join("films/poster.jpg")).unwrap()
        );
        assert_ne!(at("cover.jpg"), fs::read(things.join("cover.jpg")).unwrap());
        let again = fetch(&laptop, &into, &[&ticket, "--skip"]).fetched();
        assert_eq!((again.bytes, again.by(SourceKind::Lan)), (0, 0));

        // Only what is another comes again.
        let before = desk.cable.traffic().sent;
        let fetched = fetch(&laptop, &into, &[&ticket, "--overwrite"]).fetched();
        let sent = desk.cable.traffic().sent - before;
        assert!(
            sent < 4 * MIB,
            "{sent} bytes for 2 MiB, {:?}",
            fetched.sources
        );
        assert_eq!(at("cover.jpg"), fs::read(things.join("cover.jpg")).unwrap());
        assert_eq!(at("own.txt").len(), 10);
        // If all that is there is the same, the rest is added without a question.
        fs::remove_file(into.join("things/films/poster.jpg")).unwrap();
        let added = fetch(&laptop, &into, &[&ticket]).fetched();
        assert_eq!(added.bytes, 2 * MIB);
        assert_eq!(
            at("films/poster.jpg"),
            fs::read(things.join("films/poster.jpg")).unwrap()
        );
    });
}

#[test]
fn p8_a_single_file_is_called_as_the_user_says() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let file = fill(desk.path("report.bin"), 1, MIB);
        let ticket = desk.share(&file).ticket;
        let into = laptop.path("new/name.bin");
        let fetched = fetch(&laptop, &into, &[&ticket]).fetched();
        assert_eq!(fetched.path, into.to_str().unwrap());
        assert_eq!(fs::read(&into).unwrap(), fs::read(&file).unwrap());
        assert!(already(&fetch(&laptop, &into, &[&ticket]).well()));

        fs::write(laptop.path("new/plain"), "mine").unwrap();
        let plain = laptop.path("new/plain");
        let refused = fetch(&laptop, &plain, &[&ticket]).failed(1);
        assert_eq!(refused.code, ErrorCode::TargetExists);
        let both = fetch(&laptop, &plain, &[&ticket, "--rename"]).fetched();
        assert_eq!(both.path, laptop.path("new/plain (2)").to_str().unwrap());
        assert_eq!(fs::read(&plain).unwrap(), b"mine");

        // A folder is written into one of that name, as ever.
        let folder = desk.path("folder");
        fill(folder.join("a"), 2, 1000);
        let ticket = desk.share(&folder).ticket;
        let fetched = fetch(&laptop, &laptop.path("v1.2"), &[&ticket]).fetched();
        assert_eq!(fetched.path, laptop.path("v1.2/folder").to_str().unwrap());
        assert!(already(
            &fetch(&laptop, &laptop.path("v1.2"), &[&ticket]).well()
        ));
    });
}

#[test]
fn p8_standard_output_is_written_in_order_while_it_is_fetched_and_takes_little_space() {
    const FILM: u64 = 192 * MIB;
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let things = desk.path("things");
        let film = fill(things.join("film.mkv"), 1, FILM);
        fill(things.join("notes.txt"), 2, 1000);
        let ticket = desk.share(&things).ticket;
        laptop.up();
        let before = desk.cable.traffic().sent;
        let sent = || desk.cable.traffic().sent - before;
        let mut pipe = laptop.pipe(&["fetch", &ticket, "film.mkv", "--yes", "-o", "-"]);
        let mut read = pipe.read(MIB as usize);
        // Nobody reads on: nothing more comes than what has its place.
        let mut last = sent();
        until("it stands still", || {
            std::thread::sleep(std::time::Duration::from_millis(700));
            let now = sent();
            (now - std::mem::replace(&mut last, now) < MIB / 16).then_some(())
        });
        assert!(last < 24 * MIB, "{last} bytes came for nobody");
        // The daemon is killed in the middle: what was written is not written again.
        read.extend(pipe.read(70 * MIB as usize));
        laptop.kill();
        let rest = pipe.finish();
        assert_eq!(rest.status, 0, "{}", rest.errors);
        read.extend(rest.output);
        assert!(read == fs::read(&film).unwrap(), "{} bytes", read.len());
        let sent = sent();
        println!("{} MiB for {} MiB", sent / MIB, FILM / MIB);
        assert!(sent < FILM + 210 * MIB, "{sent}");
        until("nothing is left", || {
            laptop.transfers().is_empty().then_some(())
        });

        // A folder cannot go that way, and one file in it is named.
        let folder = laptop.plain(&["fetch", &ticket, "--yes", "-o", "-"]);
        assert_eq!((folder.status, folder.output.len()), (1, 0));
        assert!(folder.errors.contains("--list"), "{}", folder.errors);
        let notes = laptop.plain(&["fetch", &ticket, "notes.txt", "--yes", "-o", "-"]);
        assert_eq!(notes.output, fs::read(things.join("notes.txt")).unwrap());
    });
}
