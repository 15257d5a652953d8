//! The daemon is there when it is needed, and takes up where it was.

use crate::common::pair;
use hither_tests::lab::{self, MIB, Tree, fill};
use std::thread::sleep;
use std::time::Duration;

#[test]
fn b9_the_first_command_starts_the_daemon() {
    lab::run(|lab| {
        let desk = lab.device("desk");
        assert!(desk.api().get::<hither_api::Status>("/v1/status").is_err());
        desk.hither(&["list"]).well();
        let first = desk.status();
        assert_eq!(first.name, "desk");
        // The next one uses it, and so do several at once.
        let many: Vec<_> = (0..4).map(|_| desk.begin(&["status"])).collect();
        many.into_iter().for_each(|one| drop(one.finish().well()));
        assert_eq!(desk.status().pid, first.pid);
        desk.down();
        let many: Vec<_> = (0..4).map(|_| desk.begin(&["list"])).collect();
        many.into_iter().for_each(|one| drop(one.finish().well()));
        let second = desk.status();
        assert_ne!(second.pid, first.pid);
        assert_eq!(second.device, first.device, "a device keeps its identity");
    });
}

#[test]
fn b9_shares_are_served_again_after_a_restart_and_after_a_crash() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        let files = Tree::make(&desk.path("things"), 1);
        let before = Tree::of(&files);
        let ticket = desk.share(&files).ticket;
        desk.down();
        // Nobody is there yet; the fetch waits and sees the daemon come.
        let into = laptop.path("a");
        let mut fetch = laptop.begin(&[
            "fetch",
            &ticket,
            "--yes",
            "-o",
            into.to_str().unwrap(),
            "--wait",
            "40s",
        ]);
        fetch.wait_for("a look around", |_| Some(()));
        desk.up();
        fetch.finish().fetched();
        before.assert_same(&Tree::of(laptop.path("a/things")));
        laptop.hither(&["unshare", "things"]).well();
        desk.kill();
        desk.up();
        laptop.fetch(&ticket, "b");
        before.assert_same(&Tree::of(laptop.path("b/things")));
        // What was fetched is served again as well.
        laptop.kill();
        laptop.up();
        desk.down();
        let phone = lab.device("phone");
        phone.fetch(&ticket, "got");
        before.assert_same(&Tree::of(phone.path("got/things")));
    });
}

#[test]
fn b9_unfinished_transfers_go_on_by_themselves() {
    lab::run(|lab| {
        let (desk, laptop) = pair(lab);
        desk.cable.shape_up(200);
        let film = fill(desk.path("film.mkv"), 1, 50 * MIB);
        let song = fill(desk.path("song.flac"), 2, 50 * MIB);
        let tickets = [&film, &song].map(|path| desk.share(path).ticket);
        let mut fetches = tickets
            .each_ref()
            .map(|ticket| laptop.begin_fetch(ticket, "got"));
        fetches.iter_mut().for_each(|fetch| fetch.reach(1));
        laptop.down();
        for fetch in fetches {
            assert_eq!(
                fetch.finish().failed(130).code,
                hither_api::ErrorCode::Interrupted
            );
        }
        laptop.up();
        for transfer in laptop.transfers() {
            let mut events = laptop.api().events(&transfer.transfer).unwrap();
            events
                .wait_for("the end", |event| event.is_last().then_some(()))
                .unwrap();
        }
        for file in [film, song] {
            let name = file.file_name().unwrap();
            Tree::of(&file).assert_same(&Tree::of(laptop.path("got").join(name)));
        }
    });
}

/// Time of the processors that a process has used, in ticks of the system (a hundredth of a
/// second).
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name, in parentheses, may have spaces; then `utime` and `stime` are the 12th and 13th of
    // what follows.
    let rest: Vec<_> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    rest[11..13]
        .iter()
        .map(|field| field.parse::<u64>().unwrap())
        .sum()
}

#[test]
fn a_daemon_with_nothing_to_do_rests() {
    lab::run(|lab| {
        let desk = lab.device("desk");
        let pid = desk.up().pid;
        // Everything that is done now and then, the looks at shares every 15 s among it, has been
        // due once.
        sleep(Duration::from_secs(17));
        let (before, span) = (ticks(pid), Duration::from_secs(4));
        sleep(span);
        let used = ticks(pid) - before;
        assert!(used < 40, "{used} hundredths of a second in {span:?}");
    });
}
