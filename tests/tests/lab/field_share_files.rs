//! Faults seen in the field, in how the files of a share stand.
//!
//! B1, metadata taken for content: chmod, touch, a hard link more, a copy in its place, moved away
//! and back. B2, a changed file of which nothing is said. B10, what cannot be read: files of /proc,
//! a growing one, a name for the top itself. C17 B12, lost taken for empty: a store of no bytes,
//! gone, damaged; the key gone. C17 and B14, an end that comes late: expired, and ended while
//! somebody fetches.

use crate::common::pair;
use hither_api::{ErrorCode, ShareInfo, ShareState};
use hither_tests::lab::{self, Device, MIB, Tree, fill};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Every share, as the list tells it.
pub(crate) fn shares(device: &Device) -> Vec<ShareInfo> {
    device.api().get("/v1/shares").unwrap()
}

/// The share of this id, as the list tells it.
pub(crate) fn share_of(device: &Device, share: &str) -> Option<ShareInfo> {
    shares(device)
        .into_iter()
        .find(|known| known.share == share)
}

/// Waits until the list says that of a share.
#[track_caller]
fn state(device: &Device, share: &str, wanted: ShareState) -> ShareInfo {
    lab::until(&format!("a share that is {wanted:?}"), || {
        share_of(device, share).filter(|share| share.state == wanted)
    })
}

/// Runs a tool of the system.
pub(crate) fn tool(program: &str, arguments: &[&str]) {
    assert!(
        Command::new(program)
            .args(arguments)
            .status()
            .unwrap()
            .success(),
        "{program} {arguments:?}"
    );
}

#[test]
fn field_b1_content_decides_and_not_its_stamp() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let film = fill(desk.path("film.mkv"), 1, 5 * MIB);
        let shared = desk.share(&film);
        let whole = |what: &str| {
            let info = share_of(&desk, &shared.share).unwrap();
            assert_eq!(
                (info.held, info.state, info.trouble),
                (info.chunks, ShareState::Whole, None),
                "{what}"
            );
        };
        tool("chmod", &["600", film.to_str().unwrap()]);
        whole("chmod");
        tool("chown", &["1:1", film.to_str().unwrap()]);
        whole("chown");
        tool("touch", &["-d", "2001-01-01", film.to_str().unwrap()]);
        whole("touch");
        fs::hard_link(&film, desk.path("another")).unwrap();
        whole("a hard link");
        tool(
            "cp",
            &[film.to_str().unwrap(), desk.path("copy").to_str().unwrap()],
        );
        fs::rename(desk.path("copy"), &film).unwrap();
        whole("a copy in its place");
        desk.down();
        tool("touch", &[film.to_str().unwrap()]);
        desk.up();
        whole("while the daemon was down");
        // Away: nothing can be given; back: all of it can.
        fs::rename(&film, desk.path("away")).unwrap();
        let gone = state(&desk, &shared.share, ShareState::Gone);
        assert!(gone.held == 0 && gone.trouble.unwrap().contains("film.mkv"));
        fs::rename(desk.path("away"), &film).unwrap();
        whole("back");
        laptop.fetch(&shared.ticket, "got");
        // The same over the same keeps seeding.
        let id = shared.share.as_str();
        let into = laptop.path("got");
        tool(
            "cp",
            &[
                "--remove-destination",
                film.to_str().unwrap(),
                into.join("film.mkv").to_str().unwrap(),
            ],
        );
        let seeding = share_of(&laptop, id).unwrap();
        assert_eq!(
            (seeding.held, seeding.state),
            (seeding.chunks, ShareState::Whole)
        );
    });
}

#[test]
fn field_a5_b1_what_may_not_be_read_now_is_not_taken_for_deleted_or_changed() {
    lab::run(|lab| {
        const NOBODY: u32 = 65_534;
        let desk = lab.device("desk");
        let (folder, single) = (desk.path("folder"), fill(desk.path("single"), 3, 1000));
        fill(folder.join("a"), 1, 1000);
        fill(folder.join("sub/b"), 2, 1000);
        let mode = |path: &Path, mode: &str| tool("chmod", &[mode, path.to_str().unwrap()]);
        let watch = [
            "share",
            folder.to_str().unwrap(),
            "--watch",
            "--skip-unsharable",
        ];
        let Some(run) = desk.hither_as(NOBODY, &watch) else {
            return;
        };
        let id = run.well().lines.last().unwrap()["share"]
            .as_str()
            .unwrap()
            .to_owned();
        let list = || desk.hither_as(NOBODY, &["list"]).unwrap().well().lines;
        let told = |id: &str| {
            list()
                .into_iter()
                .find(|line| line["share"] == *id)
                .unwrap()
        };
        let trouble = |words: &str| {
            lab::until(&format!("trouble: {words}"), || {
                let line = told(&id);
                line["trouble"]
                    .as_str()
                    .is_some_and(|text| text.contains(words))
                    .then_some(line)
            })
        };
        let version = |number: u64| {
            lab::until(&format!("version {number}"), || {
                Some(told(&id))
                    .filter(|line| line["version"] == number && line["trouble"].is_null())
            })
        };
        mode(&folder.join("sub"), "000");
        fs::write(folder.join("c"), "c").unwrap();
        assert_eq!(
            trouble("sub")["version"],
            1,
            "what cannot be read is not deleted"
        );
        mode(&folder.join("sub"), "755");
        assert_eq!(version(2)["files"], 3);
        mode(&folder, "000");
        assert_eq!(trouble("cannot be read")["version"], 2);
        mode(&folder, "755");
        fs::write(folder.join("d"), "d").unwrap();
        assert_eq!(version(3)["files"], 4);
        // A file that is not watched: unreadable is not changed.
        let run = desk
            .hither_as(NOBODY, &["share", single.to_str().unwrap()])
            .unwrap()
            .well();
        let id = run.lines.last().unwrap()["share"]
            .as_str()
            .unwrap()
            .to_owned();
        mode(&single, "000");
        let line = told(&id);
        assert_eq!(
            (line["state"].as_str(), line["held"].as_u64()),
            (Some("unreadable"), Some(0))
        );
        assert!(
            line["trouble"]
                .as_str()
                .unwrap()
                .contains("permission denied"),
            "{line}"
        );
        mode(&single, "644");
        assert_eq!(
            (told(&id)["state"].as_str(), &told(&id)["held"]),
            (Some("whole"), &line["chunks"])
        );
        desk.hither_as(NOBODY, &["down"]).unwrap().well();
    });
}

#[test]
fn field_b2_a_changed_file_is_said_where_it_is_shared() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let film = fill(desk.path("folder/film.mkv"), 1, 24 * MIB);
        fill(desk.path("folder/notes"), 2, 1000);
        let shared = desk.share(&desk.path("folder"));
        let open = fs::OpenOptions::new().write(true).open(&film).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&open, &lab::noise(9, 7000), 12 * MIB).unwrap();
        drop(open);
        // Nobody asks: it is noticed all the same.
        lab::until("a word in the status", || {
            let warnings = desk.status().warnings;
            warnings
                .iter()
                .any(|text| text.contains("film.mkv changed since it was shared"))
                .then_some(())
        });
        let changed = state(&desk, &shared.share, ShareState::Changed);
        assert!(
            changed.held > 0 && changed.held < changed.chunks,
            "what is the same is still given: {changed:?}"
        );
        let list = String::from_utf8(desk.plain(&["list"]).output).unwrap();
        assert!(
            list.contains("film.mkv changed since it was shared: share it again."),
            "{list}"
        );
        assert!(
            desk.log()
                .contains("the files of a share are not what they were")
        );
        desk.share(&desk.path("folder"));
        assert_eq!(state(&desk, &shared.share, ShareState::Whole).trouble, None);
        laptop.fetch(&shared.ticket, "got");
        Tree::of(desk.path("folder")).assert_same(&Tree::of(laptop.path("got/folder")));
    });
}

#[test]
fn field_b10_what_cannot_be_read_is_named_and_may_be_left_out() {
    lab::run(|lab| {
        let desk = lab.device("desk");
        let error = desk.hither(&["share", "/proc/cpuinfo"]).failed(1);
        assert_eq!(error.code, ErrorCode::Unreadable);
        assert!(
            error.message.contains("/proc/cpuinfo") && error.message.contains("how long"),
            "{error:?}"
        );
        let folder = desk.path("folder");
        fill(folder.join("whole"), 1, 3000);
        fs::create_dir(folder.join("pseudo")).unwrap();
        let growing = folder.join("pseudo");
        fs::write(folder.join("file"), "").unwrap();
        tool(
            "mount",
            &[
                "--bind",
                "/proc/cpuinfo",
                folder.join("file").to_str().unwrap(),
            ],
        );
        let error = desk.hither(&["share", folder.to_str().unwrap()]).failed(1);
        assert!(error.message.contains("file cannot be read"), "{error:?}");
        // One that somebody writes to all the time.
        let log = growing.join("log");
        let script = format!(
            "while :; do head -c 3000000 /dev/zero >> '{}'; done",
            log.display()
        );
        let mut writer = Command::new("sh").args(["-c", &script]).spawn().unwrap();
        lab::until("a growing file", || {
            fs::metadata(&log)
                .is_ok_and(|meta| meta.len() > 20 << 20)
                .then_some(())
        });
        let error = desk.hither(&["share", log.to_str().unwrap()]).failed(1);
        let run = desk.hither(&["share", folder.to_str().unwrap(), "--skip-unsharable"]);
        writer.kill().unwrap();
        writer.wait().unwrap();
        assert_eq!(error.code, ErrorCode::Changing);
        assert!(error.message.contains("log keeps changing"), "{error:?}");
        let run = run.well();
        assert_eq!(run.lines.last().unwrap()["files"], 1, "{:?}", run.lines);
        let warned = run
            .lines
            .iter()
            .filter_map(|line| line["message"].as_str())
            .collect::<Vec<_>>();
        assert!(
            warned
                .iter()
                .any(|text| text.starts_with("pseudo/log is not shared")),
            "{warned:?}"
        );
        assert!(
            warned
                .iter()
                .any(|text| text.starts_with("file is not shared")),
            "{warned:?}"
        );
    });
}

#[test]
fn field_c17_a_share_ends_to_the_moment_and_stops_what_runs() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let film = fill(desk.path("film.mkv"), 1, 60 * MIB);
        desk.share(&fill(desk.path("other"), 2, 1000));
        let begun = std::time::Instant::now();
        let shared = desk.share_with(&film, &["--keep", "4s"]);
        desk.cable.shape_up(20);
        let mut fetch = laptop.begin_fetch(&shared.ticket, "got");
        fetch.reach(MIB);
        lab::until("the end", || {
            share_of(&desk, &shared.share).is_none().then_some(())
        });
        assert!(
            begun.elapsed().as_secs() < 15,
            "{:?} after it was shared",
            begun.elapsed()
        );
        let error = fetch.finish().failed(4);
        assert_eq!(error.code, ErrorCode::Refused);
        assert!(!laptop.path("got/film.mkv").exists());
        // The same by hand.
        let shared = desk.share(&film);
        let mut fetch = laptop.begin_fetch(&shared.ticket, "again");
        fetch.reach(MIB);
        desk.hither(&["unshare", "film.mkv"]).well();
        assert_eq!(fetch.finish().failed(4).code, ErrorCode::Refused);
    });
}

#[test]
fn field_b12_what_was_lost_is_told_until_it_was_read() {
    lab::run(|lab| {
        let desk = lab.device("desk");
        let shared = desk.share(&fill(desk.path("film.mkv"), 1, MIB));
        let data = desk.path("").parent().unwrap().join("home/data");
        let manifest = data.join(format!("manifests/{}-1", shared.share));
        let told = |words: &str| {
            for command in [&["list"][..], &["devices"], &["list", "--json"]] {
                let errors = desk.plain(command).errors;
                assert!(errors.contains(words), "{command:?}: {errors}");
            }
            let losses = desk.status().losses;
            assert!(losses.iter().any(|loss| loss.contains(words)), "{losses:?}");
        };
        let read = || {
            desk.hither(&["status", "--acknowledge"]).well();
            assert!(desk.status().losses.is_empty());
            assert!(!desk.plain(&["list"]).errors.contains("Warning"));
        };
        let store = data.join("store");
        let kept = data.join("kept");
        // Emptied.
        desk.down();
        copy(&store, &kept);
        for file in fs::read_dir(&store).unwrap().flatten() {
            fs::write(file.path(), "").unwrap();
        }
        desk.up();
        told("store was gone or empty");
        assert!(manifest.exists(), "the old store needs it");
        // It is told by the next run as well, and what comes back is whole.
        desk.down();
        desk.up();
        told("store was gone or empty");
        desk.down();
        fs::remove_dir_all(&store).unwrap();
        fs::rename(&kept, &store).unwrap();
        desk.up();
        assert_eq!(shares(&desk)[0].held, shares(&desk)[0].chunks);
        read();
        // Gone.
        desk.down();
        fs::remove_dir_all(&store).unwrap();
        desk.up();
        told("store was gone or empty");
        assert!(manifest.exists());
        read();
        // The key.
        let id = desk.id();
        desk.down();
        fs::remove_file(data.join("device.key")).unwrap();
        desk.up();
        assert_ne!(desk.id(), id);
        told("private key was gone");
        read();
    });
}

#[test]
fn field_a1_another_devices_store_is_refused_and_says_what_to_do() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let file = fill(desk.path("film.mkv"), 1, MIB);
        desk.share(&file);
        laptop.up();
        let (id, desks, store) = (laptop.id(), desk.id(), |device: &Device| {
            device.home().join("data/store")
        });
        desk.down();
        laptop.down();
        let kept = laptop.path("kept");
        fs::rename(store(&laptop), &kept).unwrap();
        copy(&store(&desk), &store(&laptop));
        let error = laptop.hither(&["up"]).failed(1);
        assert!(
            error.message.contains("is that of another device"),
            "{}",
            error.message
        );
        assert!(
            error.message.contains("Put the store of this device back"),
            "{}",
            error.message
        );
        assert!(
            laptop.hither(&["list"]).status != 0,
            "no command gets anywhere"
        );
        // What is advised helps: the store put back, or none.
        fs::remove_dir_all(store(&laptop)).unwrap();
        fs::rename(&kept, store(&laptop)).unwrap();
        laptop.up();
        assert_eq!(laptop.id(), id);
        laptop.down();
        // With its key it is the desk, on another machine.
        let key = |device: &Device| device.home().join("data/device.key");
        fs::remove_dir_all(store(&laptop)).unwrap();
        copy(&store(&desk), &store(&laptop));
        let own = laptop.path("own.key");
        fs::rename(key(&laptop), &own).unwrap();
        copy(&key(&desk), &key(&laptop));
        laptop.up();
        assert_eq!(laptop.id(), desks);
        laptop.down();
        // A key that was lost and is found again opens its store.
        fs::rename(key(&desk), desk.path("lost.key")).unwrap();
        desk.up();
        assert_ne!(desk.id(), desks);
        desk.down();
        fs::rename(desk.path("lost.key"), key(&desk)).unwrap();
        desk.up();
        assert_eq!(shares(&desk)[0].held, shares(&desk)[0].chunks);
    });
}

fn copy(from: &Path, to: &Path) {
    tool("cp", &["-a", from.to_str().unwrap(), to.to_str().unwrap()]);
}
