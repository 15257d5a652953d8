//! What the user allows a device to send and receive in a second.

use hither_tests::lab::{self, MIB, Tree, fill};

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
        println!("{:.2} s without a limit for the local network", free.seconds);
        // Twice the rate of either limit would have taken two seconds.
        assert!(free.seconds < 2.0, "the local network is limited: {:.2} s", free.seconds);
        let phone = {
            let mut phone = lab.device("phone");
            phone.set("limits.download", "32Mbit");
            phone.set("limits.lan", "true");
            phone
        };
        // 4 MB a second; the first chunks may come at once, and what was there when the reader paused.
        let slow = phone.fetch(&ticket, "slow");
        println!("{:.2} s with one for what is received", slow.seconds);
        assert!((2.5..8.0).contains(&slow.seconds), "{:.2} s for 12 MiB at 4 MB/s", slow.seconds);
        laptop.down();
        phone.down();
        desk.down();
        desk.set("limits.lan", "true");
        desk.up();
        let tablet = lab.device("tablet");
        let slow = tablet.fetch(&ticket, "slow");
        println!("{:.2} s with one for what is sent", slow.seconds);
        assert!((3.0..9.0).contains(&slow.seconds), "{:.2} s for 12 MiB at 3 MiB/s", slow.seconds);
        Tree::of(&file).assert_same(&Tree::of(tablet.path("slow/film.mkv")));
    });
}
