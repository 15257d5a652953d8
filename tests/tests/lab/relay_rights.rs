//! Who may use a relay, and what the others are told.

use crate::relay_world::{World, join_all};
use hither_api::{ErrorCode, RelayState};
use hither_tests::lab::{self, Device, MIB, Relay, fill, until};
use serde_json::Value;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A device tries to join, and may not; gives what it is told.
#[track_caller]
fn turned_away(device: &Device, url: &str) -> String {
    let error = device.hither(&["relay", "add", url]).failed(4);
    println!("{}: {} {}", device.name, error.message, error.hint);
    assert_eq!(error.code, ErrorCode::Refused);
    assert!(!error.hint.is_empty(), "{error:?}");
    assert!(
        device
            .api()
            .get::<Vec<Value>>("/v1/relays")
            .unwrap()
            .is_empty(),
        "it joined all the same"
    );
    error.message
}

fn invite(relay: &Relay, arguments: &[&str]) -> Value {
    let arguments: Vec<_> = ["invite"].iter().chain(arguments).copied().collect();
    relay.admin(&arguments).well().lines.pop().unwrap()
}

fn url(invited: &Value) -> &str {
    invited["url"].as_str().unwrap()
}

#[test]
fn b1_without_a_valid_invitation_a_device_is_refused_and_told_why() {
    lab::run(|lab| {
        let world = World::new(lab);
        let (desk, laptop) = (world.one.device("desk"), world.two.device("laptop"));
        let message = turned_away(&desk, &world.relay.url());
        assert!(
            message.contains("not registered") || message.contains("invitation"),
            "{message}"
        );
        // One that nobody made.
        let real = world.relay.invitation();
        let (rest, token) = real.rsplit_once('.').unwrap();
        let wrong: String = token
            .chars()
            .map(|c| if c == '0' { '1' } else { '0' })
            .collect();
        let unknown = turned_away(&desk, &format!("{rest}.{wrong}"));
        // One for one device, which is used.
        let single = invite(&world.relay, &["--uses", "1"]);
        laptop.join(url(&single));
        assert_eq!(
            turned_away(&desk, url(&single)),
            unknown,
            "used up, unknown and expired are one answer"
        );
        // One that is over.
        let short = invite(&world.relay, &["--expires", "1s"]);
        let over = UNIX_EPOCH + Duration::from_millis(short["expires_ms"].as_u64().unwrap());
        until("it is over", || (SystemTime::now() > over).then_some(()));
        assert_eq!(turned_away(&desk, url(&short)), unknown);
        // None of that keeps a device out that is invited, and who is in stays in without an
        // invitation.
        desk.join(&real);
        desk.is_connected();
        laptop.kill();
        laptop.up();
        laptop.is_connected();
        let listed = world.relay.admin(&["devices"]).well();
        assert_eq!(listed.lines.last().unwrap()["count"], 2);
    });
}

#[test]
fn b1_users_of_one_relay_know_nothing_of_each_other() {
    lab::run(|lab| {
        let world = World::new(lab);
        let (desk, laptop) = world.pair();
        let stranger = world.two.device("stranger");
        stranger.join(url(&invite(&world.relay, &["--label", "somebody else"])));
        assert_eq!(stranger.devices().len(), 1);
        for name in [desk.id(), "desk".into()] {
            let error = stranger.hither(&["send", &name, "hello"]).failed(1);
            assert_eq!(error.code, ErrorCode::NotFound, "{error:?}");
        }
        laptop.sees_that("desk", true);
        assert!(desk.knows("stranger").is_none() && laptop.knows("stranger").is_none());
        assert!(desk.inbox().is_empty());
    });
}

#[test]
fn b1_a_revoked_device_is_out_at_once_and_for_good() {
    lab::run(|lab| {
        let world = World::new(lab);
        let (desk, laptop) = world.pair();
        let kept = fill(laptop.path("kept"), 1, MIB);
        let shared = laptop.share(&kept);
        laptop.uploads(&shared.share);
        let id = laptop.id();
        let revoked = world.relay.admin(&["revoke", &id]).well();
        let since = Instant::now();
        assert_eq!(revoked.lines.last().unwrap()["devices"][0], id.as_str());
        let stands = until("it is out", || {
            Some(laptop.relay()).filter(|relay| relay.state != RelayState::Connected)
        });
        println!("out {:.2?} later: {:?}", since.elapsed(), stands.reason);
        assert!(
            since.elapsed() < Duration::from_secs(1),
            "{:?}",
            since.elapsed()
        );
        until("nobody lists it", || {
            desk.knows("laptop").is_none().then_some(())
        });
        assert_eq!(
            desk.hither(&["send", "laptop", "hello"]).failed(1).code,
            ErrorCode::NotFound
        );
        // An invitation does not bring it back, nor does the relay forget.
        for _ in 0..2 {
            let error = laptop
                .hither(&["relay", "add", &world.relay.invitation()])
                .failed(4);
            assert!(error.message.contains("revoked"), "{error:?}");
            world.relay.kill();
            world.relay.start();
        }
        desk.is_connected();
        laptop.kill();
        laptop.up();
        let stands = until("it is told again", || laptop.relay().reason);
        assert!(stands.contains("revoked"), "{stands}");
        // The others go on.
        let phone = world.two.device("phone");
        join_all(&[&desk, &phone], &world.relay.invitation());
    });
}
