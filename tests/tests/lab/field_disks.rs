//! A5 and B1, by the disk: reads that fail, and disks that do not answer.
//!
//! What else has this shape? A file that cannot be read, when it is shared, fetched from, published
//! anew; a disk that hangs under a share that is watched, under the target of a fetch that is
//! followed, when the daemon starts; that breaks down; that comes back. The rest goes on, nothing
//! is taken for deleted, nobody waits.

use crate::common::pair;
use crate::field_share_files::{share_of, shares};
use hither_api::{ErrorCode, ShareState};
use hither_tests::lab::{self, DeadDisk, Device, MIB, Tree, WornDisk, fill, until};
use std::fs;
use std::time::{Duration, Instant};

/// Longest time for a command that has nothing to do with the disk, or only tells what is known of
/// it, on a busy machine.
const SOON: Duration = Duration::from_secs(15);

/// Does something that must not wait for a disk.
fn soon<T>(what: &str, act: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let done = act();
    println!("{what}: {:?}", began.elapsed());
    assert!(began.elapsed() < SOON, "{what}: {:?}", began.elapsed());
    done
}

/// The daemon does everything else.
fn goes_on(desk: &Device, laptop: &Device, number: u64) {
    let name = format!("other-{number}");
    soon("status", || desk.hither(&["status"]).well());
    let file = fill(desk.path(&name), number, MIB);
    let ticket = soon("another share", || desk.share(&file).ticket);
    soon("another fetch", || laptop.fetch(&ticket, "other"));
    Tree::of(&file).assert_same(&Tree::of(laptop.path("other").join(name)));
}

#[test]
fn field_a5_a_file_that_cannot_be_read_is_named_and_the_rest_goes_on() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let path = desk.path("disk");
        let Some(disk) = WornDisk::mount(&path, 64 * MIB) else {
            return;
        };
        fs::remove_dir(path.join("lost+found")).unwrap();
        let (good, bad) = (
            fill(path.join("good"), 1, MIB),
            fill(path.join("worn"), 2, 16 * MIB),
        );
        let shared = desk.share_with(&path, &["--watch"]);
        disk.wear_out(&bad);
        // Who fetches gets the rest, and is told what is missing.
        let error = laptop.begin_fetch(&shared.ticket, "got").finish().failed(3);
        assert_eq!(error.code, ErrorCode::NoHolder);
        assert!(error.message.contains("worn"), "{error:?}");
        let there = until("trouble", || {
            share_of(&desk, &shared.share).filter(|share| share.state != ShareState::Whole)
        });
        let words = there.trouble.unwrap();
        assert_eq!(there.state, ShareState::Unreadable, "{words}");
        assert!(
            words.contains("worn") && words.contains("cannot be read"),
            "{words}"
        );
        assert_eq!(
            (there.version, there.files),
            (1, 2),
            "nothing is taken for deleted"
        );
        goes_on(&desk, &laptop, 1);
        // A new file beside it changes nothing about that: whether the next version needs its
        // content depends on how settled it was.
        fill(path.join("good"), 3, MIB);
        let names_it = |share: &hither_api::ShareInfo| {
            share.trouble.as_ref().is_some_and(|t| t.contains("worn"))
        };
        let there = until("a word after a change", || {
            share_of(&desk, &shared.share).filter(names_it)
        });
        assert_eq!(there.files, 2, "nothing is taken for deleted");
        // Shared for the first time it is read: it is named, and may be left out.
        desk.hither(&["unshare", &shared.share]).well();
        let error = desk.hither(&["share", path.to_str().unwrap()]).failed(1);
        assert!(error.message.contains("worn"), "{error:?}");
        let shared = desk.share_with(&path, &["--skip-unsharable"]);
        laptop.fetch(&shared.ticket, "rest");
        assert_eq!(
            fs::read(laptop.path("rest/disk/good")).unwrap(),
            fs::read(good).unwrap()
        );
    });
}

#[test]
fn field_a5_a_followed_target_that_cannot_be_read_is_not_emptied() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let path = laptop.path("got");
        let Some(disk) = WornDisk::mount(&path, 64 * MIB) else {
            return;
        };
        fs::remove_dir(path.join("lost+found")).unwrap();
        let things = desk.path("things");
        fill(things.join("good"), 1, MIB);
        fill(things.join("worn"), 2, 16 * MIB);
        let ticket = desk.share(&things).ticket;
        let mut following = laptop.begin(&[
            "fetch",
            &ticket,
            "--yes",
            "--follow",
            "-o",
            path.to_str().unwrap(),
        ]);
        version(&mut following, 1);
        laptop.hither(&["status"]).well();
        disk.wear_out(&path.join("things/worn"));
        fill(things.join("good"), 3, MIB);
        desk.share(&things);
        version(&mut following, 2);
        let got = path.join("things");
        assert_eq!(
            fs::read(got.join("good")).unwrap(),
            fs::read(things.join("good")).unwrap()
        );
        assert_eq!(
            fs::metadata(got.join("worn")).unwrap().len(),
            16 * MIB,
            "it stays"
        );
        goes_on(&laptop, &desk, 1);
    });
}

fn version(following: &mut lab::Running, number: u64) {
    following.wait_for(&format!("version {number}"), |event| match event {
        hither_api::Event::Version { version, .. } if *version == number => Some(()),
        _ => None,
    });
}

#[test]
fn field_a5_a_disk_that_hangs_under_a_share_holds_up_nothing_else() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let path = desk.path("disk");
        fill(path.join("film.mkv"), 1, 8 * MIB);
        let shared = desk.share_with(&path, &["--watch"]);
        laptop.up();
        laptop.sees(1);
        let Some(mut disk) = DeadDisk::mount(&path) else {
            return;
        };
        let told = |words: &str| {
            until(words, || {
                let share = soon("list", || shares(&desk))
                    .into_iter()
                    .find(|s| s.share == shared.share)
                    .unwrap();
                assert_eq!(
                    (share.version, share.files),
                    (1, 1),
                    "nothing is taken for deleted"
                );
                share.trouble.filter(|trouble| trouble.contains(words))
            })
        };
        println!("{}", told("does not answer"));
        goes_on(&desk, &laptop, 1);
        soon("doctor", || desk.plain(&["doctor"]));
        // Also when it begins with it.
        soon("down", || desk.down());
        soon("up", || desk.up());
        println!("{}", told("does not answer"));
        goes_on(&desk, &laptop, 2);
        // Broken down, then away: what was there is there.
        disk.break_down();
        until("another word", || {
            let share = share_of(&desk, &shared.share).unwrap();
            share
                .trouble
                .filter(|trouble| !trouble.contains("does not answer"))
        });
        goes_on(&desk, &laptop, 3);
        drop(disk);
        until("it is back", || {
            share_of(&desk, &shared.share)
                .filter(|share| share.trouble.is_none() && share.version == 1)
        });
        laptop.fetch(&shared.ticket, "got");
        Tree::of(&path).assert_same(&Tree::of(laptop.path("got/disk")));
    });
}

#[test]
fn field_a5_a_disk_that_hangs_under_a_followed_target_holds_up_nothing_else() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let things = desk.path("things");
        fill(things.join("a"), 1, MIB);
        fill(things.join("b"), 2, MIB);
        let ticket = desk.share(&things).ticket;
        let path = laptop.path("got");
        let mut following = laptop.begin(&[
            "fetch",
            &ticket,
            "--yes",
            "--follow",
            "-o",
            path.to_str().unwrap(),
        ]);
        version(&mut following, 1);
        let Some(mut disk) = DeadDisk::mount(&path) else {
            return;
        };
        fill(things.join("a"), 3, MIB);
        desk.share(&things);
        goes_on(&laptop, &desk, 1);
        goes_on(&desk, &laptop, 2);
        disk.break_down();
        goes_on(&laptop, &desk, 3);
        drop(disk);
        assert_eq!(
            fs::metadata(path.join("things/b")).unwrap().len(),
            MIB,
            "what was there is there"
        );
        // It ended when the disk broke down; the same command goes on.
        assert_ne!(following.finish().status, 0);
        let mut following = laptop.begin(&[
            "fetch",
            &ticket,
            "--yes",
            "--follow",
            "-o",
            path.to_str().unwrap(),
        ]);
        version(&mut following, 2);
        Tree::of(&things).assert_same(&Tree::of(path.join("things")));
    });
}
