//! Field faults of names (B13): a name that some system cannot write kept a whole share from being
//! shared, for everybody.
//!
//! Siblings considered. Names: control characters, newlines, backslashes, device names, dots and
//! blanks at the end, printable characters that Windows refuses, case, accents (composed or not), a
//! name that looks like an escaped one, one with every character escaped, as long as can be; the
//! same as the name of the share, of a folder, of a link; a name and a link that are not Unicode.
//! Ways: share, share of several paths, a watched folder, a message, standard output. Where it is
//! written: what takes everything; what takes what Windows takes, case aside (NTFS by FUSE); what
//! says nothing of itself and has to be asked. Choices: rename, skip, refuse, another choice the
//! second time. Going on: kill in the middle, restart, later versions that add what collides, the
//! user's own files in the way, a device that gives what it fetched. Words: JSON, list, log,
//! warnings, terminals.

use crate::common::pair;
use hither_api::{ErrorCode, Event, NamesInfo, ShareInfo};
use hither_tests::lab::{self, Device, MIB, Running, Tree, fill};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Names that are hard for somebody.
const ODD: [&str; 15] = [
    "a.pdf",
    "A.pdf",
    "aux.c",
    "back\\slash",
    "new\nline",
    "esc\u{1b}[2J",
    "c1\u{9b}31m",
    "12:30?",
    "end.",
    "end ",
    "%41",
    "caf\u{e9}",
    "cafe\u{301}",
    "con",
    "\u{202e}txt",
];

/// A folder of them, with a subfolder and a link.
fn odd(folder: PathBuf) -> PathBuf {
    fs::create_dir_all(folder.join("sub:dir/Deep")).unwrap();
    fs::create_dir_all(folder.join("sub:dir/deep")).unwrap();
    for name in ODD {
        fs::write(folder.join(name), name).unwrap();
    }
    fs::write(folder.join("sub:dir/Deep/x"), "upper").unwrap();
    fs::write(folder.join("sub:dir/deep/x"), "lower").unwrap();
    std::os::unix::fs::symlink("aux.c", folder.join("link\\to")).unwrap();
    folder
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Names told by events, the last ones.
fn told(lines: &[Value]) -> NamesInfo {
    let told = lines
        .iter()
        .rev()
        .find_map(|line| match serde_json::from_value(line.clone()) {
            Ok(Event::Names { names, .. }) => Some(names),
            _ => None,
        });
    told.unwrap_or_default()
}

fn warnings(lines: &[Value]) -> Vec<String> {
    let warning = |line: &Value| match serde_json::from_value(line.clone()) {
        Ok(Event::Warning { message }) => Some(message),
        _ => None,
    };
    lines.iter().filter_map(warning).collect()
}

fn shares(device: &Device) -> Vec<ShareInfo> {
    device.api().get("/v1/shares").unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[track_caller]
fn safe(what: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let obeyed = text.chars().find(|c| c.is_control() && !matches!(c, '\n'));
    assert_eq!(obeyed, None, "{what}: {text:?}");
    assert!(
        !text.contains('\u{202e}') && !text.contains("new\nline"),
        "{what}: {text:?}"
    );
}

#[test]
fn field_b13_what_the_receiver_takes_arrives_as_it_is() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let top = odd(desk.path("odd\nfolder\\:"));
        // What is no text at all is left out, and keeps nothing from being shared.
        fs::write(top.join(OsStr::from_bytes(b"latin\xe9")), "x").unwrap();
        std::os::unix::fs::symlink(OsStr::from_bytes(b"\xff"), top.join("bad link")).unwrap();
        let run = desk.hither(&["share", text(&top)]).well();
        let ticket = run.lines.last().unwrap()["ticket"]
            .as_str()
            .unwrap()
            .to_owned();
        let warned = warnings(&run.lines);
        assert!(
            warned
                .iter()
                .any(|words| words.contains("aux.c") || words.contains("A.pdf")),
            "{warned:?}"
        );
        assert!(
            warned
                .iter()
                .any(|words| words.contains("latin") && words.contains("not Unicode")),
            "{warned:?}"
        );
        let info = shares(&desk).remove(0);
        assert!(
            info.unportable_total >= 12 && info.left_out_total == 2,
            "{info:?}"
        );
        assert!(
            info.unportable.iter().any(|one| one.path == "sub:dir/deep"),
            "{:?}",
            info.unportable
        );
        let run = laptop
            .hither(&["fetch", &ticket, "--yes", "-o", text(&laptop.path("got"))])
            .well();
        assert!(told(&run.lines).is_nothing(), "{:?}", told(&run.lines));
        let changed = fs::metadata(&top).unwrap().modified().unwrap();
        for path in [
            top.join(OsStr::from_bytes(b"latin\xe9")),
            top.join("bad link"),
        ] {
            fs::remove_file(path).unwrap();
        }
        fs::File::open(&top).unwrap().set_modified(changed).unwrap();
        Tree::of(&top).assert_same(&Tree::of(laptop.path("got/odd\nfolder\\:")));
        // No word of it reaches a terminal, a log or another program as anything but text.
        for device in [&desk, &laptop] {
            safe("list", &device.plain(&["list"]).output);
            safe("list --json", &device.plain(&["list", "--json"]).output);
            safe("status", &device.plain(&["status"]).output);
            safe("doctor", &device.plain(&["doctor"]).output);
            safe("the log", device.log().as_bytes());
        }
        let again = desk.plain(&["share", text(&top)]);
        safe("share", &again.output);
        safe("share, on standard error", again.errors.as_bytes());
        safe("transfers", &laptop.plain(&["transfers"]).output);
        safe(
            "transfers --json",
            &laptop.plain(&["transfers", "--json"]).output,
        );
        safe("why", &laptop.plain(&["why"]).output);
        let again = laptop.plain(&["fetch", &ticket, "--yes", "-o", text(&laptop.path("more"))]);
        safe("fetch", &again.output);
        safe("fetch, on standard error", again.errors.as_bytes());
        // One of them alone, to standard output; several of them; one that was fetched, from whom
        // it was fetched.
        let odd_one = desk.share(&top.join("new\nline")).ticket;
        assert_eq!(
            laptop
                .plain(&["fetch", &odd_one, "--yes", "-o", "-"])
                .output,
            b"new\nline"
        );
        let several = [
            "share",
            text(&top.join("a.pdf")),
            text(&top.join("A.pdf")),
            text(&top.join("back\\slash")),
        ]
        .map(str::to_owned);
        let several: Vec<&str> = several.iter().map(String::as_str).collect();
        let shared = desk.hither(&several).well();
        laptop.fetch(
            shared.lines.last().unwrap()["ticket"].as_str().unwrap(),
            "several",
        );
        let folder = names(&laptop.path("several")).remove(0);
        assert_eq!(
            names(&laptop.path("several").join(folder)),
            ["A.pdf", "a.pdf", "back\\slash"]
        );
        desk.down();
        let third = lab.device("third");
        third.fetch(&ticket, "got");
        Tree::of(&top).assert_same(&Tree::of(third.path("got/odd\nfolder\\:")));
    });
}

#[test]
fn field_b13_an_odd_name_stops_no_watched_folder() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let top = desk.path("watched");
        fs::create_dir(&top).unwrap();
        fs::write(top.join("plain"), "1").unwrap();
        let shared = desk.share_with(&top, &["--watch"]);
        let mut following = follow(&laptop, &shared.ticket, &laptop.path("got"), &[]);
        version(&mut following, 1);
        odd(top.clone());
        fs::write(top.join(OsStr::from_bytes(b"latin\xe9")), "x").unwrap();
        let same = || {
            let here = names(&laptop.path("got/watched"));
            let all = ODD
                .iter()
                .all(|name| here.iter().any(|there| there == name));
            (all && here.len() == ODD.len() + 3).then_some(())
        };
        lab::until("every odd name", same);
        assert!(shares(&desk)[0].trouble.is_none() && shares(&desk)[0].unportable_total >= 12);
        following.interrupt();
        following.finish();
    });
}

fn follow(device: &Device, ticket: &str, into: &Path, options: &[&str]) -> Running {
    device.begin(
        &[
            &["fetch", ticket, "--yes", "--follow", "-o", text(into)],
            options,
        ]
        .concat(),
    )
}

#[track_caller]
fn version(following: &mut Running, number: u64) {
    following.wait_for(&format!("version {number}"), |event| match event {
        Event::Version { version, .. } if *version == number => Some(()),
        _ => None,
    });
}

/// Names that Windows takes are taken; everything else is written so that it can be read back, the
/// same each time.
#[test]
fn field_b13_what_the_receiver_cannot_write_is_renamed_and_stays_so() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let disk = laptop.path("disk");
        if !lab.windows_disk(&disk) {
            return;
        }
        let top = odd(desk.path("odd:folder"));
        let shared = desk.share(&top);
        let mut following = follow(&laptop, &shared.ticket, &disk, &[]);
        version(&mut following, 1);
        let here = disk.join("odd%3afolder");
        let names_here = names(&here);
        println!("{names_here:?}");
        for (name, content) in [
            ("%61ux.c", "aux.c"),
            ("back%5cslash", "back\\slash"),
            ("new%0aline", "new\nline"),
            ("end%2e", "end."),
        ] {
            assert_eq!(
                fs::read_to_string(here.join(name)).unwrap(),
                content,
                "{name}"
            );
        }
        assert_eq!(names_here.len(), ODD.len() + 2);
        assert_eq!(fs::read_to_string(here.join("A.pdf")).unwrap(), "A.pdf");
        assert_eq!(fs::read_to_string(here.join("%61.pdf")).unwrap(), "a.pdf");
        let transfer = laptop.transfer();
        let renamed = &transfer.names.renamed;
        assert!(
            renamed
                .iter()
                .any(|one| one.path == "new\nline" && one.written == "new%0Aline"),
            "{renamed:?}"
        );
        assert_eq!(transfer.names.skipped_total, 0);
        safe(
            "transfers --json",
            &laptop.plain(&["transfers", "--json"]).output,
        );
        // What comes before what is there by its name, and is one with it: both stay what they are.
        fs::write(top.join("NEW\nLINE"), "other").unwrap();
        fs::write(top.join("new\nline"), "changed").unwrap();
        fs::write(top.join("A.PDF"), "third").unwrap();
        desk.share(&top);
        version(&mut following, 2);
        assert_eq!(
            fs::read_to_string(here.join("new%0aline")).unwrap(),
            "changed"
        );
        assert_eq!(fs::read_to_string(here.join("A.pdf")).unwrap(), "A.pdf");
        assert_eq!(fs::read_to_string(here.join("%61.pdf")).unwrap(), "a.pdf");
        assert_eq!(fs::read_to_string(here.join("%41.PDF")).unwrap(), "third");
        assert_eq!(
            fs::read_to_string(here.join("%4EEW%0ALINE")).unwrap(),
            "other"
        );
        // What the user has changed stays, under whatever name it is.
        fs::write(here.join("%61ux.c"), "mine").unwrap();
        fs::write(top.join("aux.c"), "theirs").unwrap();
        desk.share(&top);
        version(&mut following, 3);
        following.interrupt();
        following.finish();
        assert_eq!(fs::read_to_string(here.join("%61ux.c")).unwrap(), "mine");
        assert!(
            names(&here)
                .iter()
                .any(|name| name.starts_with("%61ux (conflict of")),
            "{:?}",
            names(&here)
        );
        // A restart later it is given to others, by the share's own names.
        fs::write(here.join("%61ux.c"), "theirs").unwrap();
        laptop.down();
        laptop.up();
        desk.down();
        let third = lab.device("third");
        third.fetch(&shared.ticket, "got");
        Tree::of(&top).assert_same(&Tree::of(third.path("got/odd:folder")));
        laptop.down();
        lab.unmount(&disk);
    });
}

#[test]
fn field_b13_what_cannot_be_written_is_left_out_or_refused_by_choice() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let disk = laptop.path("disk");
        if !lab.windows_disk(&disk) {
            return;
        }
        let top = odd(desk.path("top"));
        fill(top.join("large:file"), 1, 6 * MIB);
        fill(top.join("large"), 2, 5 * MIB);
        let ticket = desk.share(&top).ticket;
        let fetch = |choice: &str| {
            laptop.hither(&[
                "fetch",
                &ticket,
                "--yes",
                "-o",
                text(&disk),
                "--names",
                choice,
            ])
        };
        let refused = fetch("refuse").failed(1);
        assert_eq!(refused.code, ErrorCode::NotWritable);
        assert!(refused.hint.contains("--names"), "{refused:?}");
        assert!(
            names(&disk).iter().all(|name| !name.contains("top")),
            "{:?}",
            names(&disk)
        );
        let run = fetch("skip").well();
        let told = told(&run.lines);
        assert!(
            told.skipped.contains(&"large:file".to_owned()) && told.renamed_total == 0,
            "{told:?}"
        );
        assert_eq!(
            names(&disk.join("top")).len() as u64,
            ODD.len() as u64 + 4 - told.skipped_total,
            "{told:?}"
        );
        let bytes = run.fetched().bytes;
        assert!(
            (5 * MIB..6 * MIB).contains(&bytes),
            "{bytes} bytes of a file that is not wanted"
        );
        // What is not here is given to nobody, and nothing is wrong with it.
        let info = shares(&laptop).remove(0);
        assert!(
            info.held < info.chunks && info.trouble.is_none(),
            "{info:?}"
        );
        let third = lab.device("third");
        third.fetch(&ticket, "got");
        Tree::of(&top).assert_same(&Tree::of(third.path("got/top")));
        laptop.down();
        lab.unmount(&disk);
    });
}

#[test]
fn field_b13_renamed_files_go_on_after_a_kill() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let disk = laptop.path("disk");
        if !lab.windows_disk(&disk) {
            return;
        }
        let top = odd(desk.path("top"));
        let (large, odd_one) = (12 * MIB, 20 * MIB);
        fill(top.join("large:file"), 1, large);
        fill(top.join("Large:File"), 2, odd_one);
        desk.cable.shape_up(40);
        let ticket = desk.share(&top).ticket;
        let mut fetching = laptop.begin(&["fetch", &ticket, "--yes", "-o", text(&disk)]);
        fetching.reach(10 * MIB);
        laptop.kill();
        drop(fetching);
        let run = laptop
            .hither(&["fetch", &ticket, "--yes", "-o", text(&disk)])
            .well();
        assert!(told(&run.lines).renamed_total > 10);
        let from_desk = run.fetched().from(&desk.id());
        println!(
            "{} of {} MiB came from the desk after the kill",
            from_desk / MIB,
            (large + odd_one) / MIB
        );
        let here = disk.join("top");
        for (name, seed, size) in [("Large%3AFile", 2, odd_one), ("%6Carge%3Afile", 1, large)] {
            let wanted = fill(laptop.path("wanted"), seed, size);
            assert!(
                fs::read(here.join(name)).unwrap() == fs::read(wanted).unwrap(),
                "{name}"
            );
        }
        laptop.down();
        lab.unmount(&disk);
    });
}
