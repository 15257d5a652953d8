//! Whatever can be shared arrives as it was.

use crate::common::pair;
use hither_tests::lab::{self, MIB, Tree, fill, noise};
use std::fs;
use std::time::Instant;

#[test]
fn a_file() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let film = fill(desk.path("film.mkv"), 1, 100 * MIB);
        let shared = desk.share(&film);
        let fetched = laptop.fetch(&shared.ticket, "got");
        Tree::of(film).assert_same(&Tree::of(laptop.path("got/film.mkv")));
        assert_eq!(
            (fetched.bytes, fetched.from(&desk.id())),
            (100 * MIB, 100 * MIB)
        );
    });
}

#[test]
fn one_of_everything() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let things = Tree::make(&desk.path("things"), 1);
        let before = Tree::of(&things);
        let shared = desk.share(&things);
        laptop.fetch(&shared.ticket, "got");
        before.assert_same(&Tree::of(laptop.path("got/things")));
        before.assert_same(&Tree::of(&things));
        assert!(before.len() > 25, "{}", before.len());
    });
}

#[test]
fn ten_thousand_small_files() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        // Some disks take longer to delete so many files than it takes to share them.
        lab.disk(&desk.path("disk"), 256 * MIB);
        lab.disk(&laptop.path("got"), 256 * MIB);
        let bytes = noise(1, 10_000 + 5_000);
        for number in 0..10_000 {
            let folder = desk.path(&format!(
                "disk/many/{}/{}",
                number / 1000,
                number / 100 % 10
            ));
            if number % 100 == 0 {
                fs::create_dir_all(&folder).unwrap();
            }
            fs::write(
                folder.join(format!("{number}.txt")),
                &bytes[number..number + number / 2],
            )
            .unwrap();
        }
        let began = Instant::now();
        let shared = desk.share(&desk.path("disk/many"));
        println!("shared in {:.1?}", began.elapsed());
        let fetched = laptop.fetch(&shared.ticket, "got");
        println!("fetched in {:.1} s", fetched.seconds);
        Tree::of(desk.path("disk/many")).assert_same(&Tree::of(laptop.path("got/many")));
    });
}

#[test]
fn next_to_nothing() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        fs::create_dir(desk.path("empty folder")).unwrap();
        fill(desk.path("empty file"), 0, 0);
        fill(desk.path("byte"), 1, 1);
        for name in ["empty folder", "empty file", "byte"] {
            let shared = desk.share(&desk.path(name));
            laptop.fetch(&shared.ticket, "got");
            Tree::of(desk.path(name)).assert_same(&Tree::of(laptop.path("got").join(name)));
        }
    });
}

#[test]
fn into_a_pipe() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let file = fill(desk.path("song.flac"), 1, 20 * MIB + 1);
        let ticket = desk.share(&file).ticket;
        let run = laptop.plain(&["fetch", &ticket, "--yes", "-o", "-"]);
        assert_eq!(run.status, 0, "{}", run.errors);
        assert!(
            run.output == fs::read(&file).unwrap(),
            "{} bytes came",
            run.output.len()
        );
        // Nothing of it stays, and a folder cannot go that way.
        assert!(laptop.transfers().is_empty() && laptop.status().shares == 0);
        fs::create_dir(desk.path("folder")).unwrap();
        let ticket = desk.share(&desk.path("folder")).ticket;
        let run = laptop.plain(&["fetch", &ticket, "--yes", "-o", "-"]);
        assert_eq!((run.status, run.output.len()), (1, 0), "{}", run.errors);
    });
}
