//! Many shares on one device.

use crate::common::pair;
use hither_tests::lab::{self, Tree, fill};
use std::time::{Duration, Instant};

const SHARES: u64 = 200;

#[test]
fn two_hundred_shares() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let files: Vec<_> = (0..SHARES)
            .map(|n| fill(desk.path(&format!("file {n}")), n, 1000 + n * 10))
            .collect();
        let tickets: Vec<String> = files.iter().map(|file| desk.share(file).ticket).collect();
        let quick = |what: &str, arguments: &[&str]| {
            let began = Instant::now();
            let run = desk.hither(arguments).well();
            println!("{what}: {:?}", began.elapsed());
            assert!(
                began.elapsed() < Duration::from_secs(2),
                "{what}: {:?}",
                began.elapsed()
            );
            run
        };
        quick("status", &["status"]);
        assert_eq!(quick("list", &["list"]).lines.len(), files.len());
        desk.down();
        quick("up", &["up"]);
        assert_eq!(desk.status().shares, SHARES);
        // Several at a time, as a person with many tickets would.
        laptop.up();
        for eight in tickets.chunks(8) {
            let fetches: Vec<_> = eight
                .iter()
                .map(|ticket| laptop.begin_fetch(ticket, "got"))
                .collect();
            fetches
                .into_iter()
                .for_each(|fetch| drop(fetch.finish().fetched()));
        }
        for file in &files {
            Tree::of(file).assert_same(&Tree::of(
                laptop.path("got").join(file.file_name().unwrap()),
            ));
        }
        assert_eq!(laptop.hither(&["list"]).well().lines.len(), files.len());
    });
}

#[test]
#[ignore = "long: for the nightly run"]
fn a_file_of_four_gibibytes_and_a_bit() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let file = fill(desk.path("image.iso"), 1, (4 << 30) + 12_345);
        let ticket = desk.share(&file).ticket;
        let into = laptop.path("got");
        let fetch = laptop.begin(&["fetch", &ticket, "--yes", "-o", into.to_str().unwrap()]);
        let fetched = fetch.finish_within(Duration::from_secs(600)).fetched();
        println!("{:.0} MB/s", fetched.bytes as f64 / 1e6 / fetched.seconds);
        Tree::of(&file).assert_same(&Tree::of(into.join("image.iso")));
    });
}

#[test]
#[ignore = "long: for the nightly run"]
fn a_hundred_thousand_files() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        lab.disk(&desk.path("disk"), 1 << 30);
        lab.disk(&laptop.path("got"), 1 << 30);
        for number in 0..100_000 {
            fill(
                desk.path(&format!(
                    "disk/many/{}/{}/{number}",
                    number / 10_000,
                    number / 100 % 100
                )),
                number,
                number % 2000,
            );
        }
        let ticket = desk.share(&desk.path("disk/many")).ticket;
        let into = laptop.path("got");
        let fetch = laptop.begin(&["fetch", &ticket, "--yes", "-o", into.to_str().unwrap()]);
        fetch.finish_within(Duration::from_secs(600)).fetched();
        Tree::of(desk.path("disk/many")).assert_same(&Tree::of(into.join("many")));
    });
}
