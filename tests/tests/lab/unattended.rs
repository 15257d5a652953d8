//! Unattended devices: one exposes a folder, another lists it and has it uploaded, a third keeps a
//! copy.
//!
//! Siblings: on one network without a relay, through a relay with its device away afterwards; only
//! what is not there yet, in bytes on the cable; the device away when it is asked, the asker gone
//! when it is answered; not exposed, exposed to somebody else, hostile paths, symbolic links that
//! are swapped in while requests go on, Hither's own data, too many requests; an exposure that ends,
//! a request that is taken back; a device that dies in the middle; a group, a member that was removed;
//! a watched path with third devices that follow.

use crate::groups::{group, knows, stands};
use crate::relay_world::{World, join_all};
use hither_api::{
    DriveEntryInfo, DriveInfo, ErrorCode, Event, ExposureInfo, GroupState, MessageKind,
};
use hither_tests::lab::{self, Device, Lab, MIB, Run, Running, Tree, fill, until, within};
use serde::de::DeserializeOwned;
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A laptop and a device that nobody sits at, which know each other on one network.
fn acquainted(lab: &Lab) -> (Device, Device) {
    let (laptop, nas) = (lab.device("laptop"), lab.device("nas"));
    laptop.up();
    nas.up();
    laptop.sees(1);
    nas.sees(1);
    know(&laptop, &nas);
    (laptop, nas)
}

fn know(laptop: &Device, nas: &Device) {
    nas.hither(&["nearby", "--no-wait"]).well();
    laptop.send(&nas.name, "hello");
    until("the question", || {
        let nearby: hither_api::NearbyInfo = nas.api().get("/v1/nearby").unwrap();
        (!nearby.introductions.is_empty()).then_some(())
    });
    nas.hither(&["nearby", "accept", &laptop.name]).well();
    until("they know each other", || {
        (!nas.inbox().is_empty()).then_some(())
    });
}

fn expose(nas: &Device, folder: &str, to: &str) -> ExposureInfo {
    let path = nas.path(folder);
    let run = nas.hither(&["expose", path.to_str().unwrap(), "--to", to]);
    parsed(run.well().lines.last().unwrap())
}

fn parsed<T: DeserializeOwned>(line: &serde_json::Value) -> T {
    serde_json::from_value(line.clone()).unwrap()
}

fn list(laptop: &Device, path: &str) -> Vec<DriveEntryInfo> {
    let run = laptop.hither(&["list", "--on", "nas", path]).well();
    run.lines.iter().map(parsed).collect()
}

fn names(laptop: &Device, path: &str) -> Vec<String> {
    list(laptop, path).into_iter().map(|one| one.name).collect()
}

fn begin(laptop: &Device, path: &str, options: &[&str]) -> Running {
    let mut line = vec!["upload", "--on", "nas", path];
    line.extend(options);
    laptop.begin(&line)
}

/// How it ended, and in which states it was seen.
fn ended(run: &Run) -> (DriveInfo, Vec<String>) {
    let mut all: Vec<DriveInfo> = run.lines.iter().map(parsed).collect();
    let states = all.iter().map(|one| one.state.clone()).collect();
    (all.pop().unwrap(), states)
}

#[track_caller]
fn upload(laptop: &Device, path: &str, options: &[&str]) -> DriveInfo {
    let (info, _) = ended(&begin(laptop, path, options).finish().well());
    assert!(info.state == "done" && info.done.is_some(), "{info:?}");
    info
}

fn audit(nas: &Device) -> String {
    fs::read_to_string(nas.home().join("data/audit.log")).unwrap_or_default()
}

#[test]
fn d4_d5_on_one_network_without_a_relay_it_is_listed_shared_and_fetched_by_a_third_device() {
    lab::run(|lab| {
        let (laptop, nas) = acquainted(lab);
        let phone = lab.device("phone");
        phone.up();
        Tree::make(&nas.path("photos/2026"), 1);
        fs::create_dir_all(nas.path("photos/empty")).unwrap();
        // Nothing is exposed that nobody exposed.
        assert!(names(&laptop, "").is_empty());
        let exposed = expose(&nas, "photos", "laptop");
        assert_eq!(
            (exposed.name.as_str(), exposed.to.as_str()),
            ("photos", "laptop")
        );
        assert_eq!(names(&laptop, ""), ["photos"]);
        assert_eq!(names(&laptop, "photos"), ["2026", "empty"]);
        let of_tree: Vec<_> = fs::read_dir(nas.path("photos/2026"))
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
            .collect();
        assert_eq!(names(&laptop, "photos/2026").len(), of_tree.len());
        let (info, states) = ended(&begin(&laptop, "photos/2026", &[]).finish().well());
        let done = info.done.clone().unwrap();
        println!("{states:?} {done:?}");
        assert!(
            states.len() > 1,
            "the asker hears how it goes on: {states:?}"
        );
        assert_eq!((done.stored, done.sent_bytes, done.version), (false, 0, 1));
        // A third device that nobody introduced fetches it by the ticket alone.
        phone.fetch(&done.ticket, "got");
        Tree::of(nas.path("photos/2026")).assert_same(&Tree::of(phone.path("got/2026")));
        // The same again is the same: nothing has changed.
        let again = upload(&laptop, "photos/2026", &[]).done.unwrap();
        assert_eq!((&again.ticket, again.version), (&done.ticket, 1));
        // Its own user shares the same path: that is another share, which the exposure does not end.
        let own = nas.share(&nas.path("photos/2026"));
        assert_ne!(own.ticket, done.ticket);
        let audit = audit(&nas);
        for word in [
            "upload photos/2026",
            "\"uploaded\"",
            "list photos",
            "\"exposed\"",
        ] {
            assert!(audit.contains(word), "{word}: {audit}");
        }
        nas.hither(&["expose", "--end", "photos"]).well();
        let shares = nas.hither(&["list"]).well().lines;
        assert_eq!(shares.len(), 1, "{shares:?}");
        // The ticket leads to nobody any more, apart from who fetched it before.
        phone.down();
        let into = laptop.path("gone");
        let line = ["fetch", &done.ticket, "--yes", "-o", into.to_str().unwrap()];
        assert_ne!(laptop.begin(&line).finish().status, 0);
        assert!(!into.join("2026").exists());
        laptop.fetch(&own.ticket, "other");
    });
}

#[test]
fn d4_through_a_relay_only_what_is_not_there_yet_travels() {
    lab::run(|lab| {
        const SIZE: u64 = 24 * MIB;
        let world = World::new(lab);
        let (laptop, nas) = (world.one.device("laptop"), world.two.device("nas"));
        let phone = world.one.device("phone");
        join_all(&[&laptop, &nas], &world.relay.invitation());
        fill(nas.path("films/one.mkv"), 1, SIZE);
        expose(&nas, "films", "laptop");
        assert_eq!(names(&laptop, "films"), ["one.mkv"]);
        nas.cable.shape_up(100);
        let before = nas.cable.traffic().sent;
        let (info, states) = ended(&begin(&laptop, "films", &[]).finish().well());
        let (first, done) = (nas.cable.traffic().sent - before, info.done.unwrap());
        println!(
            "{states:?}; first: {first} bytes on the cable, {} told",
            done.sent_bytes
        );
        assert!(
            done.stored && done.sent_bytes >= SIZE && first >= SIZE,
            "{done:?}"
        );
        assert!(
            states
                .iter()
                .any(|state| state == "reading" || state == "uploading"),
            "{states:?}"
        );
        // A small change: what was there is not sent again.
        fill(nas.path("films/two.txt"), 2, 100_000);
        let before = nas.cable.traffic().sent;
        let again = upload(&laptop, "films", &[]).done.unwrap();
        let second = nas.cable.traffic().sent - before;
        println!(
            "second: {second} bytes on the cable, {} told",
            again.sent_bytes
        );
        assert_eq!((&again.ticket, again.version), (&done.ticket, 2));
        assert!(
            again.stored && (100_000..SIZE / 8).contains(&again.sent_bytes),
            "{again:?}"
        );
        assert!(second < SIZE / 8, "{second} bytes for a small change");
        // Nothing changed: nothing is sent.
        let third = upload(&laptop, "films", &[]).done.unwrap();
        assert_eq!(
            (third.version, third.stored, third.sent_bytes),
            (2, true, 0)
        );
        // The third device gets it while the one that has it is away.
        let wanted = Tree::of(nas.path("films"));
        nas.down();
        phone.fetch(&again.ticket, "got");
        wanted.assert_same(&Tree::of(phone.path("got/films")));
    });
}

#[test]
fn d4_a_device_that_is_away_does_it_when_it_is_back_and_an_asker_that_is_gone_finds_the_ticket() {
    lab::run(|lab| {
        let world = World::new(lab);
        let (laptop, nas) = (world.one.device("laptop"), world.two.device("nas"));
        join_all(&[&laptop, &nas], &world.relay.invitation());
        fill(nas.path("docs/a"), 1, MIB);
        expose(&nas, "docs", "laptop");
        nas.down();
        laptop.sees_that("nas", false);
        let line = ["upload", "--on", "nas", "docs", "--no-wait"];
        laptop.hither(&line).well();
        let late = ["upload", "--on", "nas", "docs/a", "--expires", "2s"];
        laptop.hither(&late).failed(3);
        laptop.down();
        nas.up();
        until("it is shared", || {
            (!nas.hither(&["list"]).well().lines.is_empty()).then_some(())
        });
        // Only what was asked for in time.
        laptop.up();
        let ticket = until("the ticket", || {
            let inbox = laptop.inbox();
            let mut tickets = inbox.into_iter();
            tickets.find(|one| one.kind == MessageKind::Ticket)
        });
        assert_eq!(ticket.name, "nas");
        let all: Vec<DriveInfo> = laptop.api().get("/v1/drive/uploads").unwrap();
        let done = all.iter().find_map(|one| one.done.clone()).unwrap();
        laptop.fetch(&done.ticket, "got");
        Tree::of(nas.path("docs")).assert_same(&Tree::of(laptop.path("got/docs")));
        let mut states: Vec<_> = all.iter().map(|one| one.state.as_str()).collect();
        states.sort_unstable();
        assert_eq!(states, ["done", "expired"]);
    });
}

#[test]
fn d4_what_is_not_exposed_is_not_there_and_hostile_paths_lead_nowhere() {
    lab::run(|lab| {
        let (laptop, nas) = acquainted(lab);
        let other = lab.device("other");
        other.up();
        fill(nas.path("open/in/file"), 1, 1_000);
        fill(nas.path("secret/key"), 2, 1_000);
        symlink("../secret", nas.path("open/out")).unwrap();
        symlink("/etc", nas.path("open/in/etc")).unwrap();
        // Hither's own data lies in what is exposed, and is not there.
        let home = nas.home();
        let above = home.parent().unwrap().to_owned();
        let line = |path: &std::path::Path| {
            let path = path.to_str().unwrap().to_owned();
            nas.hither(&["expose", &path, "--to", "laptop"])
        };
        line(&home.join("data")).failed(1);
        line(std::path::Path::new("/")).failed(1);
        let device: ExposureInfo = parsed(line(&above).well().lines.last().unwrap());
        expose(&nas, "open", "laptop");
        expose(&nas, "secret", "laptop");
        nas.hither(&["expose", "--end", "secret"]).well();
        let missing = format!("{}/missing", device.name);
        let data = format!("{}/home/data", device.name);
        let key = format!("{}/home/data/device.key", device.name);
        let mut told = Vec::new();
        for path in [
            "secret",
            "secret/key",
            "open/missing",
            &missing,
            &data,
            &key,
            "open/out/key",
        ] {
            let listed = laptop.hither(&["list", "--on", "nas", path]).failed(1);
            let asked = begin(&laptop, path, &[]).finish().failed(1);
            assert_eq!(
                (listed.code, asked.code),
                (ErrorCode::NotFound, ErrorCode::NotFound)
            );
            told.push(asked.message.replace(path, "…"));
        }
        told.dedup();
        assert_eq!(
            told.len(),
            1,
            "not there and not exposed are told apart: {told:?}"
        );
        for path in ["open/..", "../etc/passwd", "open/in/../../secret"] {
            laptop.hither(&["list", "--on", "nas", path]).failed(2);
        }
        for path in ["open/out", "open/in/etc"] {
            begin(&laptop, path, &[]).finish().failed(1);
        }
        assert!(!names(&laptop, &format!("{}/home", device.name)).contains(&"data".to_owned()));
        // A link is told, and shared as the link that it is.
        assert_eq!(names(&laptop, "open"), ["in", "out"]);
        let done = upload(&laptop, "open", &[]).done.unwrap();
        laptop.fetch(&done.ticket, "got");
        assert!(laptop.path("got/open/out").is_symlink());
        // Things mounted in it are not exposed with it.
        fs::create_dir(nas.path("open/disk")).unwrap();
        let bound = std::process::Command::new("mount")
            .arg("--bind")
            .args([nas.path("secret"), nas.path("open/disk")])
            .status();
        assert!(bound.unwrap().success());
        assert_eq!(names(&laptop, "open"), ["in", "out"]);
        let below = begin(&laptop, "open/disk", &[]).finish().failed(1);
        assert_eq!(below.code, ErrorCode::NotFound);
        let whole = begin(&laptop, "open", &[]).finish().failed(1);
        assert_eq!(whole.code, ErrorCode::Unsharable);
        // A stranger hears nothing at all.
        other.sees(2);
        let strange = other.hither(&["list", "--on", "nas"]);
        assert_ne!(strange.status, 0);
        assert!(strange.lines.iter().all(|line| line.get("kind").is_none()));
        assert!(audit(&nas).contains("\"nothing\""));
    });
}

#[test]
fn d4_a_symlink_that_is_swapped_in_while_requests_go_on_gives_nothing_away() {
    lab::run(|lab| {
        let (laptop, nas) = acquainted(lab);
        fill(nas.path("open/in/file"), 1, 1_000);
        fill(nas.path("secret/key"), 2, 1_000);
        expose(&nas, "open", "laptop");
        let (at, aside) = (nas.path("open/in"), nas.path("aside"));
        let (stop, mut shared) = (AtomicBool::new(false), 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    fs::rename(&at, &aside).unwrap();
                    symlink("../secret", &at).unwrap();
                    fs::remove_file(&at).unwrap();
                    fs::rename(&aside, &at).unwrap();
                }
            });
            for number in 0..20 {
                let run = begin(&laptop, "open/in", &[]).finish();
                if run.status == 0 {
                    shared += 1;
                    let done = ended(&run).0.done.unwrap();
                    assert_eq!((done.files, done.bytes), (1, 1_000));
                }
                println!("{number}: {}", run.status);
            }
            stop.store(true, Ordering::Relaxed);
        });
        println!("{shared} of 20 were shared");
        // Whatever was shared in the meantime, it is what was exposed.
        let done = upload(&laptop, "open/in", &[]).done.unwrap();
        laptop.fetch(&done.ticket, "got");
        assert_eq!(fs::read_dir(laptop.path("got/in")).unwrap().count(), 1);
        assert!(laptop.path("got/in/file").exists());
    });
}

#[test]
fn d4_an_exposure_that_ends_takes_everything_with_it_at_once() {
    lab::run(|lab| {
        let world = World::new(lab);
        let (laptop, nas) = (world.one.device("laptop"), world.two.device("nas"));
        join_all(&[&laptop, &nas], &world.relay.invitation());
        fill(nas.path("small/a"), 1, 10_000);
        fill(nas.path("large/b"), 2, 48 * MIB);
        expose(&nas, "small", "laptop");
        expose(&nas, "large", "laptop");
        upload(&laptop, "small", &["--watch"]);
        nas.cable.shape_up(10);
        // An upload that is under way ends.
        let mut running = begin(&laptop, "large", &[]);
        running.wait_for("the upload", |event| match event {
            Event::Drive(info) if info.state == "uploading" => Some(()),
            _ => None,
        });
        nas.hither(&["expose", "--end", "large"]).well();
        let refused = running.finish().failed(1);
        assert_eq!(refused.code, ErrorCode::NotFound);
        // Anything shared out of it before ends too.
        nas.hither(&["expose", "--end", "small"]).well();
        assert!(nas.hither(&["list"]).well().lines.is_empty());
        assert!(names(&laptop, "").is_empty());
        // A request that is taken back ends too, and leaves nothing.
        expose(&nas, "large", "laptop");
        let mut running = begin(&laptop, "large", &[]);
        let id = running.wait_for("the upload", |event| match event {
            Event::Drive(info) if info.state == "uploading" => Some(info.upload.clone()),
            _ => None,
        });
        laptop.hither(&["upload", "--cancel", &id[..10]]).well();
        running.finish().failed(4);
        until("nothing is left of it", || {
            nas.hither(&["list"]).well().lines.is_empty().then_some(())
        });
        // Too much asked for is refused.
        let lists: Vec<Running> = (0..40)
            .map(|_| laptop.begin(&["list", "--on", "nas"]))
            .collect();
        let statuses = lists.into_iter().map(|list| list.finish().status);
        let busy = statuses.filter(|status| *status == 4).count();
        println!("{busy} of 40 lists were refused");
        assert!(busy >= 5, "{busy}");
        assert!(audit(&nas).contains("\"busy\""));
    });
}

#[test]
fn d5_a_watched_path_reaches_third_devices_that_follow_in_near_real_time() {
    lab::run(|lab| {
        let (laptop, nas) = acquainted(lab);
        let copies = ["phone", "tablet"].map(|name| lab.device(name));
        fill(nas.path("work/a"), 1, 200_000);
        expose(&nas, "work", "laptop");
        let ticket = upload(&laptop, "work", &["--watch"]).done.unwrap().ticket;
        let mut following: Vec<Running> = copies
            .iter()
            .map(|device| {
                let into = device.path("got");
                let into = into.to_str().unwrap();
                device.begin(&["fetch", &ticket, "--yes", "--follow", "-o", into])
            })
            .collect();
        for one in &mut following {
            one.wait_for("the first version", |event| {
                matches!(event, Event::Version { .. }).then_some(())
            });
        }
        let mut slowest = Duration::ZERO;
        for number in 2..5 {
            let file = format!("work/{number}");
            fs::rename(fill(nas.path("new"), number, 100_000), nas.path(&file)).unwrap();
            let begun = Instant::now();
            within(
                Duration::from_secs(20),
                "the change on every device",
                || {
                    let wanted = fs::read(nas.path(&file)).unwrap();
                    copies
                        .iter()
                        .all(|one| {
                            fs::read(one.path(&format!("got/{file}"))).is_ok_and(|is| is == wanted)
                        })
                        .then_some(())
                },
            );
            slowest = slowest.max(begun.elapsed());
        }
        println!("slowest change on two followers: {slowest:?}");
        // It goes on after a restart of the device that nobody sits at.
        nas.down();
        fs::remove_file(nas.path("work/a")).unwrap();
        nas.up();
        within(
            Duration::from_secs(60),
            "a removal while it was down",
            || {
                copies
                    .iter()
                    .all(|one| !one.path("got/work/a").exists())
                    .then_some(())
            },
        );
    });
}

#[test]
fn d4_a_device_that_dies_in_the_middle_goes_on_by_itself() {
    lab::run(|lab| {
        let world = World::new(lab);
        let (laptop, nas) = (world.one.device("laptop"), world.two.device("nas"));
        join_all(&[&laptop, &nas], &world.relay.invitation());
        fill(nas.path("films/one.mkv"), 1, 32 * MIB);
        expose(&nas, "films", "laptop");
        nas.cable.shape_up(40);
        let mut running = begin(&laptop, "films", &[]);
        running.wait_for("the upload", |event| match event {
            Event::Drive(info) if info.state == "uploading" => Some(()),
            _ => None,
        });
        nas.kill();
        nas.up();
        let done = ended(&running.finish().well()).0.done.unwrap();
        assert!(done.stored && done.version == 1, "{done:?}");
        let wanted = Tree::of(nas.path("films"));
        nas.down();
        laptop.fetch(&done.ticket, "got");
        wanted.assert_same(&Tree::of(laptop.path("got/films")));
    });
}

#[test]
fn d4_a_folder_is_exposed_to_the_members_of_a_group_and_nobody_else() {
    lab::run(|lab| {
        let world = World::new(lab);
        let (laptop, nas) = (world.one.device("laptop"), world.two.device("nas"));
        let tablet = world.one.device("tablet");
        join_all(&[&laptop, &nas, &tablet], &world.relay.invitation());
        fill(nas.path("work/a"), 1, 10_000);
        group(&nas, &["create", "team", "--findable", "--policy", "open"]);
        group(&laptop, &["join", "team"]);
        stands(&laptop, "team", GroupState::Member);
        knows(&nas, "team", &[("nas", true), ("laptop", true)]);
        let exposed = expose(&nas, "work", "team");
        assert!(exposed.group.is_some() && exposed.device.is_none());
        assert_eq!(names(&laptop, "work"), ["a"]);
        assert!(upload(&laptop, "work/a", &[]).done.unwrap().stored);
        // Another device of the same user that is no member.
        assert!(names(&tablet, "").is_empty());
        begin(&tablet, "work/a", &[]).finish().failed(1);
        // A removed member sees nothing any more.
        nas.hither(&["group", "remove", "team", "laptop"]).well();
        until("it is forgotten there", || {
            names(&laptop, "").is_empty().then_some(())
        });
        begin(&laptop, "work", &[]).finish().failed(1);
    });
}
