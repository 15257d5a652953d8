//! A relay whose disk is full: it says so, takes nothing more, loses nothing, and goes on giving.

use crate::relay_world::{PING, World};
use hither_api::{ErrorCode, SentState, UploadState};
use hither_tests::lab::{self, MIB, Tree, fill, until};
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

/// The relay's disk. Messages are refused while less than 64 MiB is free, so that reading and
/// removing go on.
const DISK: u64 = 192 * MIB;

/// Writes a file until nothing more fits.
fn fill_up(path: &Path) {
    let (mut file, block) = (File::create(path).unwrap(), vec![7; 1 << 16]);
    while file.write_all(&block).is_ok() {}
}

#[test]
fn a_relay_with_a_full_disk_refuses_clearly_and_loses_nothing() {
    lab::run(|lab| {
        let world = World::with(lab, |relay| {
            lab.disk(&relay.data(), DISK);
            fs::set_permissions(relay.data(), Permissions::from_mode(0o700)).unwrap();
            relay.set("store.free_floor=1048576");
        });
        let (desk, laptop) = world.pair();
        laptop.down();
        desk.sees_that("laptop", false);
        let song = fill(desk.path("song.flac"), 1, 8 * MIB);
        let shared = desk.share(&song);
        desk.uploads(&shared.share);
        assert_eq!(desk.send("laptop", "one").state, SentState::AtRelay);
        // More than there is room for.
        let film = fill(desk.path("film.mkv"), 2, DISK);
        let large = desk.share(&film);
        let told = until("a reason", || {
            let upload = desk.upload(&large.share);
            (upload.state == UploadState::Waiting && upload.reason.is_some()).then_some(upload)
        });
        println!("{:?}: {}", told.reason, told.words);
        assert!(
            matches!(told.reason, Some(ErrorCode::NoSpace | ErrorCode::OverQuota)),
            "{told:?}"
        );
        // None at all any more.
        let ballast = world.relay.data().join("ballast");
        fill_up(&ballast);
        let sent = desk.send("laptop", "two");
        println!("{sent:?}");
        assert_eq!(sent.state, SentState::Waiting);
        assert!(sent.reason.is_some_and(|reason| reason.contains("space")));
        let small = desk.share(&fill(desk.path("small"), 3, MIB));
        let told = until("a reason", || {
            let upload = desk.upload(&small.share);
            (upload.state == UploadState::Waiting && upload.reason.is_some()).then_some(upload)
        });
        assert!(
            matches!(told.reason, Some(ErrorCode::NoSpace | ErrorCode::OverQuota)),
            "{told:?}"
        );
        assert!(world.relay.page("/readyz").contains("disk_full"));
        // What it has it gives.
        let phone = world.two.device("phone");
        phone.fetch(&shared.ticket, "got");
        Tree::of(&song).assert_same(&Tree::of(phone.path("got/song.flac")));
        laptop.up();
        until("the first message", || {
            (laptop.texts(None) == ["one"]).then_some(())
        });
        // A restart changes nothing about it. And nobody is sent away, whatever cannot be kept of
        // what devices say; that nothing happens takes time to see.
        world.relay.kill();
        let ends = || world.relay.log().matches("a long connection ended").count();
        let before = ends();
        world.relay.start();
        let back = || world.relay.stats()["devices_online"] == 2;
        until("both devices again", || back().then_some(()));
        sleep(Duration::from_secs(2 * PING));
        assert_eq!(ends(), before, "devices are sent away again and again");
        assert_eq!(desk.status().outgoing, 1);
        // Room again: everything goes on by itself.
        fs::remove_file(&ballast).unwrap();
        until("the second message", || {
            (laptop.texts(None) == ["one", "two"]).then_some(())
        });
        desk.uploads(&small.share);
        desk.down();
        phone.fetch(&small.ticket, "got");
        let check = world.relay.admin(&["check"]).well();
        assert_eq!(check.lines.last().unwrap()["clean"], true);
    });
}
