//! What the user allows a device to send and receive in a second.

use hither_tests::lab::{self, MIB, Tree, fill, until};
use std::time::{SystemTime, UNIX_EPOCH};

#[test]
fn a7_limits_are_kept_and_leave_the_local_network_alone() {
    lab::run(|lab| {
        const SIZE: u64 = 12 * MIB;
        let (mut desk, mut laptop) = (lab.device("desk"), lab.device("laptop"));
        desk.set("limits.upload", "3MiB");
        laptop.set("limits.download", "32Mbit");
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let ticket = desk.share(&file).ticket;
        let free = laptop.fetch(&ticket, "free");
        println!(
            "{:.2} s without a limit for the local network",
            free.seconds
        );
        // Twice the rate of either limit would have taken two seconds.
        assert!(
            free.seconds < 2.0,
            "the local network is limited: {:.2} s",
            free.seconds
        );
        let phone = {
            let mut phone = lab.device("phone");
            phone.set("limits.download", "32Mbit");
            phone.set("limits.lan", "true");
            phone
        };
        // 4 MB a second; the first chunks may come at once, and what was there when the reader
        // paused.
        let slow = phone.fetch(&ticket, "slow");
        println!("{:.2} s with one for what is received", slow.seconds);
        assert!(
            (2.5..8.0).contains(&slow.seconds),
            "{:.2} s for 12 MiB at 4 MB/s",
            slow.seconds
        );
        laptop.down();
        phone.down();
        desk.down();
        desk.set("limits.lan", "true");
        desk.up();
        let tablet = lab.device("tablet");
        let slow = tablet.fetch(&ticket, "slow");
        println!("{:.2} s with one for what is sent", slow.seconds);
        assert!(
            (3.0..9.0).contains(&slow.seconds),
            "{:.2} s for 12 MiB at 3 MiB/s",
            slow.seconds
        );
        Tree::of(&file).assert_same(&Tree::of(tablet.path("slow/film.mkv")));
    });
}

#[test]
fn a7_a_device_has_a_limit_of_its_own() {
    lab::run(|lab| {
        const SIZE: u64 = 12 * MIB;
        let (mut desk, mut laptop, phone) = (
            lab.device("desk"),
            lab.device("laptop"),
            lab.device("phone"),
        );
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        let ticket = desk.share(&file).ticket;
        desk.down();
        // By the id that people are shown, and by the beginning of the other one.
        let (short, id) = (laptop.up().short, phone.up().device);
        desk.set("limits.lan", "true");
        desk.set(
            "limits.devices",
            &format!("{short}=3MiB,{} upload=2MiB download=1MiB", &id[..24]),
        );
        desk.up();
        let slow = laptop.fetch(&ticket, "got");
        println!("{:.2} s for the first one that is limited", slow.seconds);
        assert!(
            (3.0..9.0).contains(&slow.seconds),
            "{:.2} s for 12 MiB at 3 MiB/s",
            slow.seconds
        );
        laptop.down(); // it would give it too
        let slower = phone.fetch(&ticket, "got");
        println!("{:.2} s for the second", slower.seconds);
        assert!(
            (4.5..12.0).contains(&slower.seconds),
            "{:.2} s for 12 MiB at 2 MiB/s",
            slower.seconds
        );
        phone.down();
        let free = lab.device("tablet").fetch(&ticket, "got");
        println!("{:.2} s for one that is not", free.seconds);
        assert!(free.seconds < 2.0, "{:.2} s", free.seconds);
        let limits = desk.status().limits;
        assert_eq!(limits.devices[0], format!("{short} upload=3145728B/s"));
        // The other way, by the name that a device told when something was fetched from it.
        let song = fill(phone.path("song.flac"), 2, 4 * MIB);
        laptop.set("limits.lan", "true");
        laptop.set("limits.devices", "Phone download=1MiB");
        laptop.up();
        let ticket = phone.share(&song).ticket;
        let slow = laptop.fetch(&ticket, "got");
        println!("{:.2} s for what is received", slow.seconds);
        assert!(
            (2.0..8.0).contains(&slow.seconds),
            "{:.2} s for 4 MiB at 1 MiB/s",
            slow.seconds
        );
    });
}

#[test]
fn a7_limits_follow_the_schedule() {
    lab::run(|lab| {
        const SIZE: u64 = 16 * MIB;
        let (mut desk, laptop) = (lab.device("desk"), lab.device("laptop"));
        laptop.up();
        let file = fill(desk.path("film.mkv"), 1, SIZE);
        desk.set("limits.lan", "true");
        desk.set("limits.schedule", "10:00-11:00 upload=500kB");
        // Where desk is it will be eleven in so many seconds.
        desk.env("TZ", &zone(11 * 3600 - 10));
        let ticket = desk.share(&file).ticket;
        let limits = desk.status().limits;
        assert_eq!(limits.upload, Some(500_000));
        assert_eq!(
            limits.schedule.as_deref(),
            Some("10:00-11:00 upload=500000B/s")
        );
        let shown = String::from_utf8(desk.plain(&["status"]).output).unwrap();
        assert!(shown.contains("by the schedule"), "{shown}");
        let fetch = laptop.begin_fetch(&ticket, "got");
        until("the end of the limit", || {
            desk.status().limits.upload.is_none().then_some(())
        });
        let until_then = laptop.transfer();
        println!("{} bytes until then", until_then.bytes);
        assert!(until_then.bytes < SIZE / 2, "{until_then:?}");
        // At the old rate it would take 20 s more.
        let fetched = fetch.finish().fetched();
        println!("{:.2} s in all", fetched.seconds);
        assert!(
            (3.0..16.0).contains(&fetched.seconds),
            "{:.2} s",
            fetched.seconds
        );
        Tree::of(&file).assert_same(&Tree::of(laptop.path("got/film.mkv")));
    });
}

/// A time zone (as POSIX writes it) in which so many seconds have gone by since midnight.
fn zone(seconds: i64) -> String {
    const DAY: i64 = 24 * 3600;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs() as i64;
    // What is to be added to the time zone's own time for UTC, within half a day.
    let west = (now - seconds + DAY / 2).rem_euclid(DAY) - DAY / 2;
    let (sign, west) = (if west < 0 { "-" } else { "" }, west.abs());
    format!(
        "LAB{sign}{}:{:02}:{:02}",
        west / 3600,
        west / 60 % 60,
        west % 60
    )
}
