//! Pipes in: what comes out of another program is shared, and kept until the share ends.
//!
//! Siblings: a restart while it is shared, its end by hand and by one fetch, a name that is missing,
//! a program that is interrupted, a daemon that starts beside what is left over, a full disk.

use crate::common::pair;
use hither_tests::lab::{self, Device, MIB, until};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// The files that the daemon keeps of pipes.
fn kept(device: &Device) -> Vec<PathBuf> {
    let folders = fs::read_dir(device.home().join("data/piped"));
    let folders = folders.into_iter().flatten().flatten();
    folders
        .flat_map(|folder| fs::read_dir(folder.path()).into_iter().flatten().flatten())
        .map(|file| file.path())
        .collect()
}

#[test]
fn p8_what_comes_through_a_pipe_is_shared_until_its_share_ends() {
    lab::run(|lab| {
        const SIZE: u64 = 24 * MIB;
        let (desk, laptop) = pair(lab);
        let source = lab::fill(desk.path("source"), 7, SIZE);
        let line = ["share", "-", "--name", "dump.sql"];
        let run = desk.fed(&source, &line).finish().well();
        let done = run.lines.last().unwrap().clone();
        assert_eq!(
            (&done["name"], &done["bytes"]),
            (&"dump.sql".into(), &SIZE.into())
        );
        let files = kept(&desk);
        assert_eq!(files.len(), 1, "{files:?}");
        let mode = fs::metadata(&files[0]).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::remove_file(&source).unwrap();

        // It outlives the daemon, and goes with its share.
        desk.kill();
        desk.up();
        let ticket = done["ticket"].as_str().unwrap();
        let fetched = laptop.fetch(ticket, "got");
        assert_eq!(fetched.bytes, SIZE);
        let again = lab::fill(desk.path("again"), 7, SIZE);
        assert!(
            fs::read(laptop.path("got/dump.sql")).unwrap() == fs::read(&again).unwrap(),
            "other bytes came out than went in"
        );
        desk.hither(&["unshare", "dump.sql"]).well();
        assert_eq!(kept(&desk), Vec::<PathBuf>::new());

        // One fetch ends it too.
        let run = desk
            .fed(&again, &["share", "-", "--name", "once", "--once"])
            .finish()
            .well();
        let ticket = run.lines.last().unwrap()["ticket"]
            .as_str()
            .unwrap()
            .to_owned();
        laptop.fetch(&ticket, "got");
        until("the file is gone", || kept(&desk).is_empty().then_some(()));

        // Without a name, with an impossible one, beside another path.
        let wrong: [&[&str]; 3] = [
            &["share", "-"],
            &["share", "-", "--name", "a/b"],
            &["share", "-", "source", "--name", "x"],
        ];
        for line in wrong {
            desk.fed(&again, line).finish().failed(2);
        }
        assert_eq!(kept(&desk), Vec::<PathBuf>::new());

        // Interrupted while it comes, and what a killed one left.
        let pipe = desk.path("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        for kill in [false, true] {
            let share = desk.fed(&pipe, &["share", "-", "--name", "part"]);
            until("the file", || (kept(&desk).len() == 1).then_some(()));
            if kill {
                share.kill();
                drop(share.finish());
                assert_eq!(kept(&desk).len(), 1, "nobody could remove it");
                desk.down();
                desk.up();
            } else {
                share.interrupt();
                share.finish().failed(130);
            }
            assert_eq!(kept(&desk), Vec::<PathBuf>::new());
        }
        assert!(desk.hither(&["list"]).well().lines.is_empty());
    });
}
