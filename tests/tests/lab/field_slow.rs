//! A chunk that takes longer than any limit of progress on its link: it must come through all the
//! same.
//!
//! What else has this shape? A fetch, and an upload to a store; a chunk just above a limit, and the
//! largest that is made, on half a Mbit/s. Where a link carries only a trickle it is not silent, so
//! nothing may break off and begin the chunk anew for ever.

use crate::common::pair;
use crate::relay_world::World;
use hither_api::UploadState;
use hither_tests::lab::{self, Device, Lab, MIB, Shared, Tree, fill, within};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Half a Mbit/s: 62,500 bytes in a second.
const KBIT: u32 = 500;
/// Average chunk of shares with files of more than 64 GiB, the largest that is made.
const AVERAGE: u32 = 4 << 20;

/// Returns the least time that so many bytes take on the link.
fn ideal(bytes: u64) -> Duration {
    Duration::from_secs_f64(bytes as f64 * 8.0 / f64::from(KBIT * 1000))
}

/// Shares a file that is one chunk of so many bytes, as if it belonged to a share with a very large
/// file.
fn one_chunk(desk: &Device, make: impl Fn(&Path) -> PathBuf) -> (PathBuf, Shared) {
    let film = fill(desk.path("film.mkv"), 1, 100_000);
    let shared = desk.share_with(&film, &["--no-upload"]);
    desk.down();
    desk.forge_cut(&shared.share, AVERAGE);
    make(&film);
    let shared = desk.share(&film);
    let info: Vec<hither_api::ShareInfo> = desk.api().get("/v1/shares").unwrap();
    assert_eq!((info[0].version, info[0].chunks), (3, 1), "one chunk");
    (film, shared)
}

/// A chunk of 2.1 MB, which takes 34 s: the limits of progress are 30 s. The smallest chunk of this
/// average has 2 MiB.
fn small(path: &Path) -> PathBuf {
    fill(path, 2, 2_100_000)
}

/// The largest chunk: zeros, in which no end is found before.
fn large(path: &Path) -> PathBuf {
    fs::write(path, vec![0; 8 * MIB as usize]).unwrap();
    path.to_owned()
}

fn fetches(lab: &Lab, make: fn(&Path) -> PathBuf) {
    let (desk, laptop) = pair(lab);
    let (film, shared) = one_chunk(&desk, make);
    laptop.up();
    laptop.sees(1);
    desk.cable.thin_up(KBIT);
    let size = fs::metadata(&film).unwrap().len();
    let (began, before) = (Instant::now(), desk.cable.traffic());
    let fetch = laptop.begin_fetch(&shared.ticket, "got");
    within(
        ideal(size) * 2 + Duration::from_secs(30),
        "the chunk",
        || {
            let bytes = laptop.transfers().first().map(|transfer| transfer.bytes);
            (bytes >= Some(size)).then_some(())
        },
    );
    fetch.finish().well();
    let sent = desk.cable.traffic().sent - before.sent;
    println!(
        "{size} bytes in {:?}, at best {:?}; {sent} bytes sent",
        began.elapsed(),
        ideal(size)
    );
    assert!(
        sent < size + size / 4,
        "the chunk was sent more than once: {sent}"
    );
    Tree::of(&film).assert_same(&Tree::of(laptop.path("got/film.mkv")));
}

fn uploads(lab: &Lab, make: fn(&Path) -> PathBuf) {
    let world = World::new(lab);
    let (desk, _laptop) = world.pair();
    desk.cable.thin_up(KBIT);
    let (film, shared) = one_chunk(&desk, make);
    let size = fs::metadata(&film).unwrap().len();
    let (began, before) = (Instant::now(), desk.cable.traffic());
    within(
        ideal(size) * 2 + Duration::from_secs(60),
        "an upload",
        || (desk.upload(&shared.share).state == UploadState::Uploaded).then_some(()),
    );
    let sent = desk.cable.traffic().sent - before.sent;
    println!(
        "{size} bytes in {:?}, at best {:?}; {sent} bytes sent",
        began.elapsed(),
        ideal(size)
    );
    assert!(
        sent < size + size / 4,
        "the chunk was sent more than once: {sent}"
    );
}

fn fetches_from_a_store(lab: &Lab, make: fn(&Path) -> PathBuf) {
    let world = World::new(lab);
    let (desk, laptop) = world.pair();
    let (film, shared) = one_chunk(&desk, make);
    let size = fs::metadata(&film).unwrap().len();
    desk.uploads(&shared.share);
    desk.down();
    laptop.cable.thin_down(KBIT);
    let began = Instant::now();
    let fetch = laptop.begin_fetch(&shared.ticket, "got");
    within(
        ideal(size) * 2 + Duration::from_secs(60),
        "the chunk from the store",
        || {
            let bytes = laptop.transfers().first().map(|transfer| transfer.bytes);
            (bytes >= Some(size)).then_some(())
        },
    );
    fetch.finish().well();
    println!(
        "{size} bytes from the store in {:?}, at best {:?}",
        began.elapsed(),
        ideal(size)
    );
    Tree::of(&film).assert_same(&Tree::of(laptop.path("got/film.mkv")));
}

#[test]
fn field_b3_a_chunk_that_takes_longer_than_a_limit_is_fetched() {
    lab::run(|lab| fetches(lab, small));
}

#[test]
fn field_b3_a_chunk_that_takes_longer_than_a_limit_is_uploaded() {
    lab::run(|lab| uploads(lab, small));
}

#[test]
#[ignore = "takes minutes; scripts/nightly runs it"]
fn field_b3_the_largest_chunk_is_fetched_over_half_a_mbit() {
    lab::run(|lab| fetches(lab, large));
}

#[test]
#[ignore = "takes minutes; scripts/nightly runs it"]
fn field_b3_the_largest_chunk_is_uploaded_over_half_a_mbit() {
    lab::run(|lab| uploads(lab, large));
}

#[test]
fn field_b3_a_chunk_that_takes_longer_than_a_limit_is_fetched_from_a_store() {
    lab::run(|lab| fetches_from_a_store(lab, small));
}
