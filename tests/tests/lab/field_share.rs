//! Faults seen in the field, on the side that shares.
//!
//! A1, own state taken for user data. The same shape: a share of a home, of a folder above the
//! home, of the folder itself and of a file inside it; reached by a symbolic link, a bind mount, a
//! relative path, a hard link or a copy of the key; `HITHER_HOME` and the XDG folders, moved while
//! the daemon runs; another device's home and a relay's data in the tree; several paths, `--watch`,
//! publishing again, `send PATH` in a message and as a share.
//!
//! A4, a path treated as text: `..` behind a symbolic link, `.`, a slash at the end, a link as the
//! path itself, relative paths with a daemon that runs elsewhere, a newline; another spelling is
//! the same share, for `unshare` and `ticket` too.
//!
//! A5, a path followed blindly: a disk unmounted, a folder replaced, moved away and back, its
//! parent replaced, turned into a link, a disk below it unmounted; a file replaced as editors do
//! must still be published.

use crate::common::pair;
use crate::field_share_files::{share_of, shares, tool};
use crate::relay_world::World;
use hither_api::{ErrorCode, ShareState};
use hither_tests::lab::{self, Device, MIB, Tree, fill};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder above a device's files and its home.
fn above(device: &Device) -> PathBuf {
    device.path("").parent().unwrap().to_owned()
}

fn key(device: &Device) -> PathBuf {
    above(device).join("home/data/device.key")
}

/// Every file below a folder.
fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => all.extend(files_in(&entry.path())),
            kind if kind.is_file() => all.push(entry.path()),
            _ => {}
        }
    }
    all
}

/// Fails when a private key lies anywhere in a folder.
#[track_caller]
fn holds_no_key(folder: &Path) {
    for file in files_in(folder) {
        let bytes = fs::read(&file).unwrap();
        let found = bytes.windows(11).any(|window| window == b"PRIVATE KEY");
        assert!(!found, "{} holds a private key", file.display());
    }
}

#[test]
fn field_a1_a_shared_home_keeps_its_key() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let home = above(&desk);
        fill(desk.path("film.mkv"), 1, 3 * MIB);
        fs::write(desk.path(".hidden"), "mine").unwrap();
        let run = desk.hither(&["share", home.to_str().unwrap()]).well();
        let warned = run.lines.iter().filter(|line| line["event"] == "warning");
        let warned: Vec<_> = warned
            .map(|line| line["message"].as_str().unwrap().to_owned())
            .collect();
        assert!(
            warned
                .iter()
                .any(|text| text.starts_with("home is not shared")),
            "{warned:?}"
        );
        let ticket = run.lines.last().unwrap()["ticket"]
            .as_str()
            .unwrap()
            .to_owned();
        laptop.fetch(&ticket, "got");
        let got = laptop.path("got").join(home.file_name().unwrap());
        Tree::of(desk.path("")).assert_same(&Tree::of(got.join("files")));
        assert!(!got.join("home").exists());
        holds_no_key(&laptop.path("got"));
        let listed = shares(&desk);
        assert_eq!(listed[0].left_out[0].path, "home");
        let text = String::from_utf8(desk.plain(&["list"]).output).unwrap();
        assert!(text.contains("home is not shared because"), "{text}");
        let people = desk.plain(&["share", home.to_str().unwrap()]);
        assert!(
            people.errors.contains("home is not shared"),
            "{}",
            people.errors
        );
        assert!(desk.log().contains("left out of a share"));
        // Nothing of the user's changed, so sharing it again is the same version.
        assert_eq!(desk.share(&home).version, 1);
    });
}

#[test]
fn field_a1_own_folders_are_refused_by_whatever_path() {
    lab::run(|lab| {
        let desk = lab.device("desk");
        desk.up();
        let home = above(&desk).join("home");
        symlink(&home, desk.path("link")).unwrap();
        let mount = desk.path("mount");
        fs::create_dir_all(&mount).unwrap();
        let bound = Command::new("mount")
            .arg("--bind")
            .arg(home.join("data/manifests"))
            .arg(&mount)
            .status();
        assert!(bound.unwrap().success());
        fs::hard_link(key(&desk), desk.path("hard")).unwrap();
        fs::copy(key(&desk), desk.path("copied.pem")).unwrap();
        fill(desk.path("mine"), 1, 1000);
        fill(desk.path("film.mkv.hither-partial"), 2, 1000);
        let own = [
            home.clone(),
            home.join("data"),
            key(&desk),
            home.join("data/store"),
            desk.path("link"),
            desk.path("link/data/device.key"),
            desk.path("../home/./data"),
            mount.clone(),
            desk.path("hard"),
            desk.path("copied.pem"),
            desk.path("film.mkv.hither-partial"),
        ];
        for path in &own {
            let error = desk.hither(&["share", path.to_str().unwrap()]).failed(4);
            assert_eq!(error.code, ErrorCode::Refused, "{}", path.display());
            assert!(
                error.message.contains("never shared") && !error.hint.is_empty(),
                "{error:?}"
            );
            let two = [
                "share",
                desk.path("mine").to_str().unwrap(),
                path.to_str().unwrap(),
            ]
            .map(str::to_owned);
            assert_eq!(
                desk.hither(&two.each_ref().map(String::as_str))
                    .failed(4)
                    .code,
                ErrorCode::Refused
            );
        }
        assert!(shares(&desk).is_empty());
        // Inside of what is shared the same are left out.
        let run = desk
            .hither(&["share", desk.path("").to_str().unwrap()])
            .well();
        let warnings = run
            .lines
            .iter()
            .filter(|line| line["event"] == "warning")
            .count();
        assert_eq!(warnings, 4, "{:?}", run.lines);
        assert_eq!(
            run.lines.last().unwrap()["files"],
            1,
            "{:?}",
            run.lines.last()
        );
    });
}

#[test]
fn field_a1_homes_and_relays_of_others_are_left_out() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        laptop.up();
        laptop.down();
        let tree = desk.path("tree");
        fill(tree.join("notes.txt"), 1, 5000);
        copy(&above(&laptop).join("home"), &tree.join("backups/laptop"));
        copy(
            &above(&laptop).join("home/data"),
            &tree.join("of somebody/.local/share/hither"),
        );
        fs::create_dir_all(tree.join("relay/state")).unwrap();
        fs::copy(key(&laptop), tree.join("relay/node.key")).unwrap();
        fs::write(tree.join("film.mkv.hither-partial"), "half").unwrap();
        let shared = desk.share(&tree);
        assert_eq!(shared.bytes, 5000);
        laptop.fetch(&shared.ticket, "got");
        holds_no_key(&laptop.path("got"));
        let left_out = shares(&desk).remove(0).left_out;
        let mut paths: Vec<_> = left_out.iter().map(|one| one.path.as_str()).collect();
        paths.sort_unstable();
        let wanted = [
            "backups/laptop",
            "film.mkv.hither-partial",
            "of somebody/.local/share/hither",
            "relay",
        ];
        assert_eq!(paths, wanted);
        for path in [
            "backups/laptop",
            "backups/laptop/data/store",
            "relay",
            "relay/node.key",
        ] {
            assert_eq!(
                desk.hither(&["share", tree.join(path).to_str().unwrap()])
                    .failed(4)
                    .code,
                ErrorCode::Refused
            );
        }
    });
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    assert!(
        Command::new("cp")
            .arg("-a")
            .arg(from)
            .arg(to)
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn field_a1_a_watched_home_keeps_its_key_and_comes_to_rest() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let home = above(&desk);
        fill(desk.path("one"), 1, MIB);
        let shared = desk.share_with(&home, &["--watch"]);
        // A move of the whole home, while the daemon runs, hides nothing.
        fs::rename(home.join("home"), desk.path("moved")).unwrap();
        fill(desk.path("two"), 2, MIB);
        let socket = desk.path("moved/hither.sock");
        symlink(desk.path("moved"), home.join("home")).unwrap();
        assert!(socket.exists());
        lab::until("a version with the second file", || {
            shares(&desk)
                .into_iter()
                .find(|share| share.files == 2 && share.trouble.is_none())
        });
        let version = shares(&desk)[0].version;
        laptop.fetch(&shared.ticket, "got");
        holds_no_key(&laptop.path("got"));
        // What the daemon writes is no change: it does not publish for ever.
        let published = |log: &str| log.matches("\"published\"").count();
        let before = published(&desk.log());
        for n in 0..3 {
            desk.share(&fill(desk.path(&format!("other {n}")), n, 1000));
        }
        lab::until("a version with the other files", || {
            shares(&desk)
                .into_iter()
                .find(|share| share.share == shared.share && share.files == 5)
        });
        let now = shares(&desk)
            .into_iter()
            .find(|share| share.share == shared.share)
            .unwrap()
            .version;
        assert!(now <= version + 4, "{now} versions after {version}");
        assert!(published(&desk.log()) <= before + 8);
    });
}

#[test]
fn field_a1_the_folders_of_xdg_are_own_too() {
    lab::run(|lab| {
        let (mut desk, laptop) = pair(lab);
        let home = desk.path("user");
        fs::create_dir_all(home.join(".config/hither")).unwrap();
        fs::write(home.join(".config/hither/config.toml"), "# mine\n").unwrap();
        fill(home.join("film.mkv"), 1, MIB);
        desk.env("HITHER_HOME", "");
        desk.env("HOME", home.to_str().unwrap());
        for name in ["XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"] {
            desk.env(name, "");
        }
        let run = desk.hither(&["share", home.to_str().unwrap()]).well();
        let ticket = run.lines.last().unwrap()["ticket"]
            .as_str()
            .unwrap()
            .to_owned();
        laptop.fetch(&ticket, "got");
        holds_no_key(&laptop.path("got"));
        let got: Vec<_> = files_in(&laptop.path("got"));
        assert_eq!(got, [laptop.path("got/user/film.mkv")]);
        for path in [
            ".local/share/hither",
            ".local/share/hither/device.key",
            ".config/hither",
        ] {
            let error = desk
                .hither(&["share", home.join(path).to_str().unwrap()])
                .failed(4);
            assert_eq!(error.code, ErrorCode::Refused, "{path}");
        }
        desk.down();
    });
}

#[test]
fn field_a1_a_message_carries_no_key() {
    lab::run(|lab| {
        let world = World::new(lab);
        let (desk, laptop) = world.pair();
        fs::copy(key(&desk), desk.path("copied.pem")).unwrap();
        for path in [
            key(&desk),
            desk.path("copied.pem"),
            above(&desk).join("home"),
        ] {
            let error = desk
                .hither(&["send", "laptop", path.to_str().unwrap()])
                .failed(4);
            assert_eq!(error.code, ErrorCode::Refused, "{}", path.display());
        }
        assert!(desk.hither(&["outbox"]).well().lines.is_empty());
        assert!(laptop.inbox().is_empty());
    });
}

#[test]
fn field_a4_a_path_means_what_it_means_to_the_file_system() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        fs::create_dir_all(desk.path("deep/inner")).unwrap();
        fs::write(desk.path("deep/s"), "in deep").unwrap();
        fs::write(desk.path("s"), "beside").unwrap();
        symlink("deep/inner", desk.path("dlink")).unwrap();
        symlink("deep", desk.path("top")).unwrap();
        desk.up();
        // Relative: the daemon runs elsewhere.
        let share = |path: &str| {
            let run = desk.hither(&["share", path]).well();
            let done = run.lines.last().unwrap().clone();
            (
                done["share"].as_str().unwrap().to_owned(),
                done["ticket"].as_str().unwrap().to_owned(),
            )
        };
        let (id, ticket) = share("dlink/../s");
        laptop.fetch(&ticket, "got");
        assert_eq!(fs::read_to_string(laptop.path("got/s")).unwrap(), "in deep");
        let absolute = desk.path("deep/s");
        for path in [
            "deep/s",
            "./deep//./s",
            "top/s",
            "dlink/../inner/../s",
            absolute.to_str().unwrap(),
        ] {
            assert_eq!(share(path).0, id, "{path}");
        }
        let (folder, _) = share("deep/");
        for path in ["deep", "top", "top/", "deep/inner/..", "dlink/.."] {
            assert_eq!(share(path).0, folder, "{path}");
        }
        assert_ne!(share("s").0, id);
        fs::create_dir(desk.path("new\nline")).unwrap();
        fs::write(desk.path("new\nline/f"), "f").unwrap();
        share("new\nline/f");
        for wrong in ["deep/s/", "none", "s/.."] {
            assert_eq!(
                desk.hither(&["share", wrong]).failed(1).code,
                ErrorCode::Unreadable,
                "{wrong}"
            );
        }
        desk.hither(&["ticket", "top/../deep/s"]).well();
        let ended = desk.hither(&["unshare", "dlink/../s"]).well();
        assert_eq!(ended.lines.last().unwrap()["share"].as_str().unwrap(), id);
        assert!(share_of(&desk, &id).is_none() && share_of(&desk, &folder).is_some());
    });
}

#[test]
fn field_a5_an_unmounted_disk_publishes_nothing_and_comes_back() {
    lab::run(|lab| {
        let desk = lab.device("desk");
        let disk = desk.path("usb");
        let store = desk.path("store");
        fill(store.join("film.mkv"), 1, MIB);
        fs::create_dir_all(&disk).unwrap();
        tool(
            "mount",
            &["--bind", store.to_str().unwrap(), disk.to_str().unwrap()],
        );
        let shared = desk.share_with(&disk, &["--watch"]);
        assert!(share_of(&desk, &shared.share).unwrap().trouble.is_none());
        lab::until("a disk that is not busy", || {
            Command::new("umount")
                .arg(&disk)
                .status()
                .unwrap()
                .success()
                .then_some(())
        });
        let lost = lab::until("trouble", || {
            share_of(&desk, &shared.share).filter(|share| share.trouble.is_some())
        });
        assert_eq!((lost.version, lost.files), (1, 1), "{lost:?}");
        assert!(
            lost.trouble.unwrap().contains("another folder"),
            "said what is wrong"
        );
        let status = desk.plain(&["status"]).errors;
        assert!(status.contains("another folder"), "{status}");
        // Also what a restart finds.
        desk.down();
        desk.up();
        lab::until("trouble after a restart", || {
            share_of(&desk, &shared.share).filter(|share| share.trouble.is_some())
        });
        fill(store.join("more.mkv"), 2, MIB);
        tool(
            "mount",
            &["--bind", store.to_str().unwrap(), disk.to_str().unwrap()],
        );
        let back = lab::until("a new version", || {
            share_of(&desk, &shared.share)
                .filter(|share| share.version == 2 && share.trouble.is_none())
        });
        assert_eq!((back.files, back.held), (2, back.chunks));
        assert_eq!(back.state, ShareState::Whole);
    });
}

#[test]
fn field_a5_another_folder_at_the_path_is_none_of_the_share() {
    lab::run(|lab| {
        let desk = lab.device("desk");
        let (parent, elsewhere) = (desk.path("parent"), desk.path("elsewhere"));
        fill(parent.join("shared/a"), 1, 1000);
        let shared = desk.share_with(&parent.join("shared"), &["--watch"]);
        let trouble = || share_of(&desk, &shared.share).filter(|share| share.trouble.is_some());
        let fine = || share_of(&desk, &shared.share).filter(|share| share.trouble.is_none());
        // The parent is replaced, and the same is there by name.
        fs::rename(&parent, &elsewhere).unwrap();
        fill(parent.join("shared/other"), 2, 1000);
        assert_eq!(lab::until("another parent", trouble).version, 1);
        fs::remove_dir_all(&parent).unwrap();
        assert_eq!(lab::until("no parent", trouble).version, 1);
        symlink(&elsewhere, &parent).unwrap();
        assert_eq!(lab::until("a link", trouble).version, 1);
        fs::remove_file(&parent).unwrap();
        fs::rename(&elsewhere, &parent).unwrap();
        lab::until("the same again", fine);
        fill(parent.join("shared/b"), 3, 1000);
        lab::until("a version after that", || {
            fine().filter(|share| share.version == 2 && share.files == 2)
        });
        // The folder moves into another parent of the same name: it is still the same.
        fs::rename(&parent, &elsewhere).unwrap();
        fs::create_dir(&parent).unwrap();
        fs::rename(elsewhere.join("shared"), parent.join("shared")).unwrap();
        fill(parent.join("shared/c"), 4, 1000);
        lab::until("a version there", || {
            fine().filter(|share| share.version == 3 && share.files == 3)
        });
        // Whoever says so shares the new one, under the same ticket.
        fs::rename(parent.join("shared"), desk.path("old")).unwrap();
        fill(parent.join("shared/new"), 5, 1000);
        lab::until("another folder", trouble);
        let again = desk.share_with(&parent.join("shared"), &["--watch"]);
        assert_eq!((again.share, again.version), (shared.share.clone(), 4));
        assert_eq!(lab::until("no trouble", fine).files, 1);
    });
}

#[test]
fn field_a5_a_disk_below_the_folder_is_missed_and_a_file_may_be_replaced() {
    lab::run(|lab| {
        let desk = lab.device("desk");
        let (folder, store) = (desk.path("folder"), desk.path("store"));
        fill(folder.join("own"), 1, 1000);
        fill(store.join("film"), 2, 1000);
        fs::create_dir(folder.join("disk")).unwrap();
        let disk = folder.join("disk");
        tool(
            "mount",
            &["--bind", store.to_str().unwrap(), disk.to_str().unwrap()],
        );
        let shared = desk.share_with(&folder, &["--watch"]);
        lab::until("a disk that is not busy", || {
            Command::new("umount")
                .arg(&disk)
                .status()
                .unwrap()
                .success()
                .then_some(())
        });
        let lost = lab::until("trouble", || {
            share_of(&desk, &shared.share).filter(|share| share.trouble.is_some())
        });
        assert_eq!((lost.version, lost.files), (1, 2));
        assert!(lost.trouble.unwrap().contains("not mounted"));
        tool(
            "mount",
            &["--bind", store.to_str().unwrap(), disk.to_str().unwrap()],
        );
        lab::until("no trouble", || {
            share_of(&desk, &shared.share).filter(|share| share.trouble.is_none())
        });
        // An editor replaces a file.
        let note = fill(desk.path("note.txt"), 3, 1000);
        let shared = desk.share_with(&note, &["--watch"]);
        fill(desk.path("note.txt~"), 4, 2000);
        fs::rename(desk.path("note.txt~"), &note).unwrap();
        let next = lab::until("a version", || {
            share_of(&desk, &shared.share).filter(|share| share.version == 2)
        });
        assert_eq!((next.bytes, next.trouble), (2000, None));
    });
}
