//! Versions that mean no good, things that get in the way, and crashes.

use super::{
    TRASH, copy_of, files, follow, listed, names, put, read, trashed, up_to_date, version,
};
use crate::common::{Random, pair};
use hither_api::{ErrorCode, FollowState};
use hither_tests::lab::{self, MIB, fill};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[test]
fn p9_an_entry_called_as_the_trash_is_written_under_another_name() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let things = desk.path("things");
        put(things.join("evil/2026-11-29_12-30-05/file"), "from outside");
        put(things.join("file"), "1");
        // An honest program leaves out what is in a trash.
        put(things.join(TRASH).join("2026-11-29_12-30-05/old"), "old");
        let shared = desk.share(&things);
        let info = desk.hither(&["list"]).well().lines.remove(0);
        assert_eq!(info["left_out"][0]["path"], TRASH, "{info}");
        assert_eq!(
            desk.hither(&["share", things.join(TRASH).to_str().unwrap()])
                .status,
            4
        );
        let mut following = follow(&laptop, &shared.ticket);
        version(&mut following, 1);
        let got = laptop.path("got/things");
        assert_eq!(names(&got), ["evil", "file"]);
        // Another one does not.
        desk.down();
        desk.forge(&shared.share, |entry, name| match name.as_str() {
            "evil" => *name = ".Hither-Trash".into(),
            "file" if entry.depth == 1 => *name = TRASH.into(),
            _ => {}
        });
        desk.up();
        version(&mut following, 2);
        assert_eq!(read(got.join("%2Ehither-trash")), "1");
        assert_eq!(
            read(got.join("%2EHither-Trash/2026-11-29_12-30-05/file")),
            "from outside"
        );
        let kept: Vec<String> = trashed(&got).into_iter().map(|(path, _)| path).collect();
        assert_eq!(kept, ["evil/2026-11-29_12-30-05/file", "file"]);
    });
}

#[test]
fn p9_links_lead_nowhere_and_what_they_hide_stays() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let things = desk.path("things");
        for path in ["gone/file", "changed/file", "file"] {
            put(things.join(path), "1");
        }
        let ticket = desk.share(&things).ticket;
        let mut following = follow(&laptop, &ticket);
        version(&mut following, 1);
        // Two folders move away, and links lead there.
        let (got, outside) = (laptop.path("got/things"), laptop.path("outside"));
        fs::create_dir(&outside).unwrap();
        for name in ["gone", "changed"] {
            fs::rename(got.join(name), outside.join(name)).unwrap();
            symlink(outside.join(name), got.join(name)).unwrap();
        }
        fs::remove_dir_all(things.join("gone")).unwrap();
        put(things.join("changed/file"), "2");
        desk.share(&things);
        version(&mut following, 2);
        for name in ["gone", "changed"] {
            assert_eq!(read(outside.join(name).join("file")), "1");
            assert!(got.join(name).symlink_metadata().unwrap().is_symlink());
        }
        assert_eq!(listed(&laptop).conflicts, 2);
        // The trash is a link: nothing is replaced until it is gone, and that is said.
        let elsewhere = laptop.path("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        symlink(&elsewhere, got.join(TRASH)).unwrap();
        put(things.join("file"), "3");
        desk.share(&things);
        following.finish().failed(1);
        let info = listed(&laptop);
        assert_eq!(info.state, FollowState::Waiting);
        assert!(info.reason.is_some_and(|reason| reason.contains(TRASH)));
        assert_eq!(read(got.join("file")), "1");
        fs::remove_file(got.join(TRASH)).unwrap();
        up_to_date(&laptop, 3);
        assert_eq!(read(got.join("file")), "3");
        assert!(names(&elsewhere).is_empty());
    });
}

#[test]
fn p9_what_is_edited_while_versions_come_is_not_lost() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let things = desk.path("things");
        put(things.join("log"), "1\n");
        let ticket = desk.share(&things).ticket;
        let mut following = follow(&laptop, &ticket);
        version(&mut following, 1);
        let (log, stop) = (
            laptop.path("got/things/log"),
            Arc::new(AtomicBool::new(false)),
        );
        let (at, ends) = (log.clone(), Arc::clone(&stop));
        // An editor that saves all the time: a line that is nowhere else, in whatever is there.
        let editor = std::thread::spawn(move || {
            let mut written = Vec::new();
            for number in 0.. {
                if ends.load(Ordering::Relaxed) {
                    break;
                }
                let line = format!("line {number} of mine");
                let opened = File::options().append(true).open(&at);
                if opened.is_ok_and(|mut file| writeln!(file, "{line}").is_ok()) {
                    written.push(line);
                }
            }
            written
        });
        for number in 2..=6 {
            put(things.join("log"), &format!("{number}\n"));
            desk.share(&things);
            version(&mut following, number);
        }
        stop.store(true, Ordering::Relaxed);
        let written = editor.join().unwrap();
        let all: String = files(&laptop.path("got"))
            .into_iter()
            .map(|(_, bytes)| String::from_utf8(bytes).unwrap())
            .collect();
        println!("{} lines were written meanwhile", written.len());
        assert!(written.len() > 10);
        let lines: std::collections::HashSet<&str> = all.lines().collect();
        let lost = written.iter().find(|line| !lines.contains(line.as_str()));
        assert_eq!(lost, None);
        // An open file keeps what is written into it, wherever that is by now.
        let mut open = File::options().append(true).open(&log).unwrap();
        fs::remove_file(&log).unwrap();
        put(&log, "mine");
        writeln!(open, "late").unwrap();
    });
}

#[test]
fn p9_a_crash_at_any_moment_loses_neither_the_old_nor_the_new() {
    /// Files; each is another in every version.
    const FILES: u64 = 900;
    /// Crashes.
    const CRASHES: u64 = 8;
    /// Longest wait for a version.
    const PATIENCE: Duration = Duration::from_secs(60);
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let things = desk.path("things");
        let write = |round: u64| {
            for number in 0..FILES {
                // A third stays, a third changes, a third has other names.
                let (name, content) = match number % 3 {
                    0 => (format!("d{}/stays {number}", number % 7), number),
                    1 => (
                        format!("d{}/changes {number}", number % 7),
                        number + 1000 * round,
                    ),
                    _ => (format!("r{round}/{number}"), number + 1000 * round),
                };
                fill(things.join(name), content, 3000 + number);
            }
        };
        write(0);
        let ticket = desk.share(&things).ticket;
        version(&mut follow(&laptop, &ticket), 1);
        let (got, mut random) = (laptop.path("got/things"), Random(7));
        let mut old: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
        let mut in_the_middle = 0;
        for round in 1..=CRASHES {
            for (path, bytes) in copy_of(&things) {
                old.entry(path).or_default().push(bytes);
            }
            fs::remove_dir_all(things.join(format!("r{}", round - 1))).unwrap();
            write(round);
            let put_aside = names(got.join(TRASH)).len();
            let wait = Duration::from_micros(random.below(15_000));
            laptop.kill_at(|| {
                desk.share(&things);
                // The first of the version before is put aside: the move has begun.
                let begun = Instant::now();
                while names(got.join(TRASH)).len() == put_aside {
                    assert!(begun.elapsed() < PATIENCE, "nothing is put aside");
                    std::hint::spin_loop();
                }
                let begun = Instant::now();
                while begun.elapsed() < wait {
                    std::hint::spin_loop();
                }
            });
            in_the_middle += u32::from(copy_of(&got) != copy_of(&things));
            // All that the version before had is in place or in the trash, whatever happened.
            let now: Vec<(String, Vec<u8>)> = [copy_of(&got), trashed(&got)].concat();
            for (path, contents) in &old {
                for bytes in contents {
                    assert!(
                        now.iter().any(|(at, is)| at == path && is == bytes),
                        "{path} was lost in round {round}"
                    );
                }
            }
            // It is finished without its owner: another version may be there by then.
            if round % 2 == 0 {
                desk.down();
            }
            laptop.up();
            up_to_date(&laptop, round + 1);
            assert_eq!(copy_of(&got), copy_of(&things), "round {round}");
            desk.up();
        }
        println!("{in_the_middle} of {CRASHES} crashes came in the middle of the move");
        assert!(in_the_middle > 0, "no crash came in the middle");
        assert_eq!(listed(&laptop).conflicts, 0);
        assert_eq!(names(laptop.path("got")), ["things"]);
    });
}

#[test]
fn p9_a_full_disk_stops_a_follow_until_there_is_room() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let things = desk.path("things");
        fill(things.join("file"), 1, 3 * MIB);
        let ticket = desk.share(&things).ticket;
        let disk = laptop.path("got");
        lab.disk(&disk, 10 * MIB);
        let mut following = follow(&laptop, &ticket);
        version(&mut following, 1);
        let filler = fill(disk.join("filler"), 9, 6 * MIB);
        fill(things.join("file"), 2, 3 * MIB);
        desk.share(&things);
        let full = following.finish().failed(6);
        assert_eq!(full.code, ErrorCode::NoSpace);
        let info = listed(&laptop);
        assert_eq!((info.state, info.version), (FollowState::Waiting, Some(1)));
        assert!(info.reason.is_some(), "{info:?}");
        let got = disk.join("things");
        let first = fs::read(fill(laptop.path("one"), 1, 3 * MIB)).unwrap();
        assert_eq!(copy_of(&got), [("file".to_owned(), first)]);
        // There is room: it goes on by itself.
        fs::remove_file(filler).unwrap();
        up_to_date(&laptop, 2);
        assert_eq!(copy_of(&got), copy_of(&things));
        assert_eq!(trashed(&got).len(), 1);
        lab.unmount(&disk);
    });
}
