//! What a network lets through is used.

use crate::common::pair;
use hither_api::Event;
use hither_tests::lab::{self, Device, MIB, Protocol, Tree, fill};

const SIZE: u64 = 40 * MIB;

/// Fetches with one protocol blocked at the fetcher; gives the carriers that were used.
fn fetch(desk: &Device, laptop: &Device, blocked: Protocol) -> Vec<String> {
    laptop.cable.block(blocked);
    let file = fill(desk.path("film.mkv"), 1, SIZE);
    let ticket = desk.share(&file).ticket;
    let mut fetch = laptop.begin_fetch(&ticket, "got");
    let mut reports = 0;
    fetch.wait_for("half of it", |event| match event {
        Event::Progress { bytes, .. } => {
            reports += u32::from(*bytes > 0);
            (*bytes >= SIZE / 2).then_some(())
        }
        _ => None,
    });
    let links = laptop.status().links;
    fetch.finish().fetched();
    assert!(reports > 3, "there was hardly any progress to be seen");
    Tree::of(&file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
    links.into_iter().map(|link| link.carrier).collect()
}

#[test]
fn tcp_alone() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        desk.cable.shape_up(100);
        // Multicast is gone as well: the address in the ticket is the only way.
        assert_eq!(fetch(&desk, &laptop, Protocol::Udp), ["tcp"]);
    });
}

#[test]
fn quic_alone() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        desk.cable.shape_up(100);
        assert_eq!(fetch(&desk, &laptop, Protocol::Tcp), ["quic"]);
    });
}

#[test]
fn either_can_be_switched_off() {
    lab::run(|lab| {
        for (number, off) in ["quic", "tcp"].into_iter().enumerate() {
            let mut desk = lab.device(&format!("desk{number}"));
            let laptop = lab.device(&format!("laptop{number}"));
            desk.set(off, "false");
            let file = fill(desk.path("file"), 1, MIB);
            laptop.fetch(&desk.share(&file).ticket, "got");
            Tree::of(&file).assert_same(&Tree::of(laptop.path("got/file")));
        }
    });
}
