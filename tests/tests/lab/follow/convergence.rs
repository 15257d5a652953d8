//! Copies that stay in step, with their command and without.

use super::{copy_of, follow, listed, put, read, up_to_date, version};
use crate::common::pair;
use hither_api::{ErrorCode, Event, FollowState, Phase};
use hither_tests::lab::{self, Device, Tree, fill, until, within};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// How soon a change is on every device of a LAN.
const SOON: Duration = Duration::from_secs(5);

#[test]
fn later_versions_arrive_also_after_a_restart() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let files = Tree::make(&desk.path("things"), 1);
        let ticket = desk.share(&files).ticket;
        let mut following = follow(&laptop, &ticket);
        version(&mut following, 1);
        fill(files.join("later"), 7, 100_000);
        desk.share(&files);
        version(&mut following, 2);
        Tree::of(&files).assert_same(&Tree::of(laptop.path("got/things")));
        // The command ends with the daemon; what it asked for goes on with the next one.
        let transfer = laptop.transfer().transfer;
        laptop.down();
        assert_eq!(following.finish().failed(130).code, ErrorCode::Interrupted);
        laptop.up();
        let mut events = laptop.api().events(&transfer).unwrap();
        fill(files.join("latest"), 8, 100_000);
        desk.share(&files);
        let third = |event: &Event| match event {
            Event::Version { version, .. } => Some(*version),
            _ => None,
        };
        assert_eq!(events.wait_for("the third version", third), Some(3));
        Tree::of(&files).assert_same(&Tree::of(laptop.path("got/things")));
    });
}

/// Waits until a copy is as its owner has it; returns how long that took.
#[track_caller]
fn same_within(patience: Duration, owner: &Path, copies: &[&Device]) -> Duration {
    let (begun, wanted) = (Instant::now(), copy_of(owner));
    within(patience, "every copy is as its owner has it", || {
        copies
            .iter()
            .all(|device| {
                // Half of a file is not what is wanted either.
                copy_of(&device.path("got/things")) == wanted
            })
            .then_some(())
    });
    begun.elapsed()
}

#[test]
fn d5_three_devices_converge_and_who_was_off_catches_up() {
    lab::run(|lab| {
        let desk = lab.device("desk");
        let copies = ["laptop", "phone"].map(|name| lab.device(name));
        let [laptop, phone] = &copies;
        let things = desk.path("things");
        for number in 0..20 {
            fill(things.join(format!("some/{number}")), number, 50_000);
        }
        let ticket = desk.share_with(&things, &["--watch"]).ticket;
        for device in [laptop, phone] {
            version(&mut follow(device, &ticket), 1);
        }
        let both = [laptop, phone];
        same_within(SOON, &things, &both);
        // One of each: new, changed, moved, removed.
        fill(things.join("new/file"), 100, 200_000);
        let mut slowest = same_within(SOON, &things, &both);
        fill(things.join("some/1"), 101, 60_000);
        slowest = slowest.max(same_within(SOON, &things, &both));
        fs::rename(things.join("some/2"), things.join("moved")).unwrap();
        slowest = slowest.max(same_within(SOON, &things, &both));
        fs::remove_dir_all(things.join("some")).unwrap();
        slowest = slowest.max(same_within(SOON, &things, &both));
        println!("the slowest change was on both copies after {slowest:?}");
        // The daemon of one is off, then its network.
        phone.down();
        fill(things.join("while off"), 102, 100_000);
        same_within(SOON, &things, &[laptop]);
        phone.up();
        let caught_up = same_within(Duration::from_secs(30), &things, &both);
        phone.cable.cut();
        fs::remove_file(things.join("moved")).unwrap();
        same_within(SOON, &things, &[laptop]);
        phone.cable.restore();
        let back = same_within(Duration::from_secs(60), &things, &both);
        println!("caught up {caught_up:?} after a start, {back:?} after the network was back");
        until("it says so", || {
            (listed(phone).state == FollowState::UpToDate).then_some(())
        });
    });
}

#[test]
fn p9_a_follow_goes_on_without_its_command_until_it_is_ended() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let things = desk.path("things");
        put(things.join("file"), "1");
        let ticket = desk.share(&things).ticket;
        let mut following = follow(&laptop, &ticket);
        version(&mut following, 1);
        // Ctrl-C ends the command, and says that the copy is still kept.
        following.interrupt();
        let left = following.finish().failed(130);
        assert!(left.message.contains("still kept up to date"), "{left:?}");
        assert!(left.hint.contains("hither transfers cancel"), "{left:?}");
        put(things.join("file"), "2");
        desk.share(&things);
        assert_eq!(up_to_date(&laptop, 2).conflicts, 0);
        // After a crash and a restart, too, and while its owner is away.
        laptop.kill();
        laptop.up();
        put(things.join("file"), "3");
        desk.share(&things);
        up_to_date(&laptop, 3);
        let got = laptop.path("got/things/file");
        assert_eq!(read(&got), "3");
        desk.down();
        laptop.down();
        laptop.up();
        desk.up();
        put(things.join("file"), "4");
        desk.share(&things);
        up_to_date(&laptop, 4);
        // The same command looks on, and leaves.
        let mut again = follow(&laptop, &ticket);
        again.wait_for("it looks on", |event| match event {
            Event::Progress { phase, .. } => (*phase == Phase::Following).then_some(()),
            _ => None,
        });
        assert_eq!(laptop.transfers().len(), 1);
        again.interrupt();
        again.finish().failed(130);
        // It is paused, and goes on.
        let transfer = laptop.transfer().transfer;
        laptop.hither(&["transfers", "pause", &transfer]).well();
        assert_eq!(listed(&laptop).state, FollowState::Paused);
        put(things.join("file"), "5");
        desk.share(&things);
        laptop.down();
        laptop.up();
        assert_eq!(listed(&laptop).state, FollowState::Paused);
        assert_eq!(read(&got), "4");
        laptop.hither(&["transfers", "resume", &transfer]).well();
        up_to_date(&laptop, 5);
        assert_eq!(read(&got), "5");
        // It is ended: the files stay, and nothing comes any more.
        let ended = laptop.plain(&["transfers", "cancel", &transfer]);
        assert!(String::from_utf8_lossy(&ended.output).contains("not followed any more"));
        assert!(laptop.transfers().is_empty());
        let shares = laptop.hither(&["list"]).well().lines;
        assert!(shares.len() == 1 && shares[0].get("follow").is_none());
        assert_eq!(read(&got), "5");
    });
}

#[test]
fn p9_lists_say_how_a_followed_copy_stands() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let things = desk.path("things");
        put(things.join("file"), "1");
        put(things.join("edited"), "1");
        let ticket = desk.share(&things).ticket;
        version(&mut follow(&laptop, &ticket), 1);
        let info = listed(&laptop);
        assert_eq!(
            (info.state, info.version, info.newest),
            (FollowState::UpToDate, Some(1), 1)
        );
        let table = |device: &Device, command: &str| {
            String::from_utf8(device.plain(&[command]).output).unwrap()
        };
        // A list that is no terminal's is as wide as it needs to be.
        for command in ["list", "transfers"] {
            let text = table(&laptop, command);
            assert!(text.contains("up to date, version 1"), "{text}");
        }
        // Local edits are counted and told until they are solved.
        let got = laptop.path("got/things");
        put(got.join("edited"), "mine");
        put(things.join("edited"), "2");
        desk.share(&things);
        assert_eq!(up_to_date(&laptop, 2).conflicts, 1);
        let warned = |device: &Device| {
            let told = device.status().warnings;
            told.iter()
                .any(|warning| warning.contains("not what was fetched"))
        };
        assert!(warned(&laptop), "{:?}", laptop.status().warnings);
        let text = table(&laptop, "list");
        assert!(text.contains("1 conflict"), "{text}");
        let copy = super::names(&got)
            .into_iter()
            .find(|name| name.contains("conflict of desk"));
        let copy = got.join(copy.expect("a copy beside"));
        assert_eq!(
            (read(got.join("edited")), read(&copy)),
            ("mine".into(), "2".into())
        );
        fs::remove_file(copy).unwrap();
        assert_eq!(listed(&laptop).conflicts, 0);
        assert!(!warned(&laptop));
        // The copy is away, and comes back.
        fs::rename(&got, laptop.path("got/elsewhere")).unwrap();
        assert_eq!(listed(&laptop).state, FollowState::TargetMissing);
        fs::rename(laptop.path("got/elsewhere"), &got).unwrap();
        assert_eq!(listed(&laptop).state, FollowState::UpToDate);
        // A version that is begun, and whose owner goes.
        fill(things.join("large"), 3, 30_000_000);
        desk.cable.shape_up(10);
        desk.share(&things);
        let behind = until("it is behind", || {
            Some(listed(&laptop)).filter(|info| info.state == FollowState::Behind)
        });
        assert_eq!((behind.version, behind.newest), (Some(2), 3));
        desk.kill();
        let waiting = until("it waits", || {
            Some(listed(&laptop)).filter(|info| info.state == FollowState::Waiting)
        });
        assert_eq!(waiting.waiting_for.as_deref(), Some("desk"));
        assert_eq!(laptop.transfer().phase, Phase::Waiting);
        desk.cable.shape_up(1000);
        desk.up();
        up_to_date(&laptop, 3);
    });
}
