//! A6 and A7: acts that cannot be undone, and the order of statements, on the word of a wall clock.
//!
//! What else has this shape? A clock at 1970, a day behind, an hour ahead, 73 years ahead, each
//! while a message waits and a share has a deadline, and right again afterwards; what was told
//! meanwhile (names, shares); what a group was told. Restarts of the machine and all pairs of
//! clocks: `proto-spec/src/timeline.rs` and `stamp.rs`.

use crate::relay_world::{World, join_all};
use hither_api::{DeviceInfo, ListedShare, OutgoingInfo, SentState};
use hither_tests::lab::{self, Device, MIB, fill, until};
use std::time::{SystemTime, UNIX_EPOCH};

const DAY: i64 = 24 * 3600;
const YEAR: i64 = 365 * DAY;

/// By how much clocks are wrong, seconds.
fn wrong() -> [i64; 4] {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    [300 - i64::try_from(now).unwrap(), -DAY, 3600, 73 * YEAR]
}

fn outgoing(device: &Device) -> Vec<OutgoingInfo> {
    device.api().get("/v1/outbox").unwrap()
}

/// One message waits, and the share is still there.
#[track_caller]
fn nothing_was_given_up(device: &Device, share: &str, offset: i64) {
    let waiting = outgoing(device);
    assert_eq!(waiting.len(), 1, "{offset}");
    assert_eq!(
        waiting[0].sent.state,
        SentState::Waiting,
        "{offset}: {waiting:?}"
    );
    let shares = device.hither(&["list"]).well();
    assert!(
        shares.lines.iter().any(|line| line["share"] == share),
        "{offset}: {:?}",
        shares.lines
    );
}

#[test]
fn field_a6_a_wrong_clock_ends_no_share_and_gives_up_no_message() {
    lab::run(|lab| {
        let world = World::new(lab);
        let (mut desk, laptop) = world.pair();
        laptop.down();
        let file = fill(desk.path("file"), 1, MIB);
        let shared = desk
            .share_with(&file, &["--keep", "7d", "--no-upload"])
            .share;
        world.relay.stop();
        let run = desk.hither(&["send", "laptop", "the key is under the mat"]);
        assert_eq!(run.status, 0, "{:?}", run.lines.last());
        nothing_was_given_up(&desk, &shared, 0);
        for offset in wrong().into_iter().chain([0]) {
            desk.down();
            desk.set_wall_clock(offset);
            desk.up();
            nothing_was_given_up(&desk, &shared, offset);
        }
        world.relay.start();
        laptop.up();
        let inbox = until("the message arrives", || {
            let inbox = laptop.hither(&["inbox"]).well();
            (!inbox.lines.is_empty()).then_some(inbox.lines)
        });
        assert_eq!(inbox.len(), 1, "once: {inbox:?}");
    });
}

/// Returns what a device calls itself, as another one knows it.
fn name(device: &Device, id: &str) -> Option<String> {
    let all: Vec<DeviceInfo> = device.api().get("/v1/devices").unwrap();
    all.into_iter()
        .find(|one| one.device == id)
        .map(|one| one.name)
}

#[test]
fn field_a7_who_had_a_wrong_clock_is_heard_again() {
    lab::run(|lab| {
        let world = World::new(lab);
        let (mut desk, laptop) = (world.one.device("desk"), world.two.device("laptop"));
        desk.set_wall_clock(73 * YEAR);
        join_all(&[&desk, &laptop], &world.relay.invitation());
        let id = desk.id();
        for (number, offset) in [73 * YEAR, 0, -DAY, 0].into_iter().enumerate() {
            let called = format!("desk {number}");
            desk.down();
            desk.set_wall_clock(offset);
            desk.env("HITHER_DEVICE_NAME", &called);
            desk.up();
            let file = fill(desk.path(&format!("file {number}")), number as u64, MIB);
            desk.share_with(&file, &["--no-upload"]);
            until(
                &format!("its name with a clock wrong by {offset} s"),
                || (name(&laptop, &id).as_deref() == Some(called.as_str())).then_some(()),
            );
            until(
                &format!("its share with a clock wrong by {offset} s"),
                || {
                    let told: Vec<ListedShare> = laptop.api().get("/v1/catalogue").unwrap();
                    told.iter()
                        .any(|share| share.name == format!("file {number}"))
                        .then_some(())
                },
            );
        }
    });
}
