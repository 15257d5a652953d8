//! Many devices give to many.

use crate::common::{bytes_in, pair, ratio};
use hither_api::SourceKind;
use hither_proto::Ticket;
use hither_tests::lab::{self, Device, MIB, Tree, fill, noise, until};
use std::fs;
use std::path::PathBuf;

#[test]
fn a5_two_fetchers_spare_the_origin() {
    lab::run(|lab| {
        const SIZE: u64 = 100 * MIB;
        let desk = lab.device("desk");
        let others = ["laptop", "phone"].map(|name| lab.device(name));
        desk.cable.shape_up(200);
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let ticket = desk.share(&file).ticket;
        for device in &others {
            device.up();
        }
        others.iter().for_each(|device| device.sees(2));
        let before = desk.cable.traffic().sent;
        let fetches = others
            .each_ref()
            .map(|device| device.begin_fetch(&ticket, "got"));
        let fetched = fetches.map(|fetch| fetch.finish().fetched());
        let sent = desk.cable.traffic().sent - before;
        let ratio = ratio("the origin sent", sent, SIZE);
        println!(
            "in {:.1} s and {:.1} s",
            fetched[0].seconds, fetched[1].seconds
        );
        assert!(
            ratio < 1.6,
            "two fetchers that meet cost the origin {ratio:.2} times the file"
        );
        for (device, fetched) in others.iter().zip(&fetched) {
            assert_eq!(fetched.sources.len(), 2, "{:?}", fetched.sources);
            Tree::of(&file).assert_same(&Tree::of(device.path("got/film.mkv")));
        }
    });
}

/// Bytes that are looked at together.
const BLOCK: usize = 64 << 10;

/// Which blocks of a file are in the folder of a fetch that goes on.
fn blocks(device: &Device, content: &[u8]) -> Vec<bool> {
    let folder = PathBuf::from(device.transfer().path)
        .parent()
        .unwrap()
        .to_owned();
    let partial = fs::read_dir(folder)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let partial = fs::read(partial).unwrap();
    content
        .chunks(BLOCK)
        .enumerate()
        .map(|(n, block)| {
            partial
                .get(n * BLOCK..)
                .is_some_and(|p| p.starts_with(block))
        })
        .collect()
}

/// Waits until two fetches have all of a file between them; gives what each of them misses then.
fn out_in_parts(others: &[Device; 2], content: &[u8]) -> [u64; 2] {
    until("all of it in parts", || {
        let [here, there] = others.each_ref().map(|device| blocks(device, content));
        here.iter()
            .zip(&there)
            .all(|(here, there)| *here || *there)
            .then_some(())
    });
    others
        .each_ref()
        .map(|device| content.len() as u64 - device.transfer().bytes)
}

#[test]
fn a5_parts_complete_each_other_when_the_origin_is_gone() {
    lab::run(|lab| {
        let desk = lab.device("desk");
        let others = ["laptop", "phone"].map(|name| lab.device(name));
        others.iter().for_each(|device| drop(device.up()));
        others.iter().for_each(|device| device.sees(1));
        // Who gets what is up to chance: it may happen that both have all of it at the same moment.
        for attempt in 1.. {
            // They get as much as each other from the origin, and give less to each other for now.
            for device in &others {
                device.cable.shape_down(50);
                device.cable.shape_up(20);
            }
            let content = noise(attempt, 32 << 20);
            fs::write(desk.path("film.mkv"), &content).unwrap();
            let ticket = desk.share(&desk.path("film.mkv")).ticket;
            let into = format!("got {attempt}");
            let mut fetches = others
                .each_ref()
                .map(|device| device.begin_fetch(&ticket, &into));
            fetches.iter_mut().for_each(|fetch| fetch.reach(1));
            let missing = out_in_parts(&others, &content);
            let told = missing.iter().any(|bytes| *bytes > MIB);
            println!("{missing:?} bytes were missing when all of it was out");
            assert!(told || attempt < 4, "both always have all of it at once");
            if told {
                desk.cable.cut();
                others.iter().for_each(|device| device.cable.shape_up(200));
            }
            for (device, fetch) in others.iter().zip(fetches) {
                fetch.finish().fetched();
                assert!(fs::read(device.path(&into).join("film.mkv")).unwrap() == content);
            }
            if told {
                break;
            }
            desk.hither(&["unshare", "film.mkv"]).well();
        }
    });
}

#[test]
fn a2_a3_a_copy_is_as_good_as_the_origin() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let phone = lab.device("phone");
        let things = Tree::make(&desk.path("things"), 1);
        let before = Tree::of(&things);
        let ticket = desk.share(&things).ticket;
        let laptop_id = laptop.up().device;
        laptop.fetch(&ticket, "got");
        desk.down();
        desk.cable.cut();
        let fetched = phone.fetch(&ticket, "got");
        before.assert_same(&Tree::of(phone.path("got/things")));
        assert!(fetched.from(&laptop_id) > 0, "{:?}", fetched.sources);
        let strangers =
            |s: &&hither_api::SourceBytes| s.kind == SourceKind::Lan && s.device != laptop_id;
        assert_eq!(fetched.sources.iter().find(strangers), None);
        // And the ticket that the copy gives is as good.
        let again = laptop.hither(&["ticket", "things"]).well();
        let again: Ticket = again.lines[0]["ticket"].as_str().unwrap().parse().unwrap();
        let first: Ticket = ticket.parse().unwrap();
        assert_eq!((again.secret, again.owner), (first.secret, first.owner));
    });
}

#[test]
fn d3_a_ticket_needs_no_address() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let file = fill(desk.path("file"), 1, MIB);
        let mut ticket: Ticket = desk.share(&file).ticket.parse().unwrap();
        let real = ticket.hints.clone();
        assert!(
            real.iter()
                .any(|hint| hint.ip().to_string() == desk.cable.address()),
            "{real:?}"
        );
        for (number, hints) in [vec![], vec!["10.77.0.200:9".parse().unwrap()]]
            .into_iter()
            .enumerate()
        {
            ticket.hints = hints;
            let fetched = laptop.fetch(&ticket.to_string(), &number.to_string());
            println!("{:.1} s with {:?}", fetched.seconds, ticket.hints);
            Tree::of(&file).assert_same(&Tree::of(laptop.path(&format!("{number}/file"))));
            laptop.hither(&["unshare", "file"]).well();
            laptop.down();
        }
    });
}

#[test]
fn a6_two_holders_give_at_once() {
    lab::run(|lab| {
        const SIZE: u64 = 80 * MIB;
        const MBIT: u32 = 100;
        let (desk, laptop) = pair(lab);
        let phone = lab.device("phone");
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let ticket = desk.share(&file).ticket;
        laptop.fetch(&ticket, "got");
        for device in [&desk, &laptop] {
            device.cable.shape_up(MBIT);
        }
        phone.up();
        phone.sees(2);
        let fetched = phone.fetch(&ticket, "got");
        let alone = SIZE as f64 / bytes_in(MBIT, 1.0) as f64;
        println!(
            "{:.1} s, one alone needs {alone:.1} s; {:?}",
            fetched.seconds, fetched.sources
        );
        for device in [&desk, &laptop] {
            assert!(
                fetched.from(&device.id()) > SIZE / 4,
                "{:?}",
                fetched.sources
            );
        }
        assert!(
            fetched.seconds < alone * 0.7,
            "{:.1} s of {alone:.1} s",
            fetched.seconds
        );
        Tree::of(&file).assert_same(&Tree::of(phone.path("got/film.mkv")));
    });
}
