//! A user's own devices, administered from any of them: more are invited, one is called otherwise,
//! one is removed.
//!
//! Siblings: through a relay and without any; a device that was off when another one was removed; a
//! session that runs; what the removed device sends and fetches afterwards; members of a group.

use crate::relay_world::{World, join_all};
use hither_api::{DeviceInfo, DeviceRelation, Event, SentState};
use hither_proto::SpokenCode;
use hither_tests::lab::{self, Device, MIB, fill, until};
use serde_json::Value;
use std::time::Instant;

/// Returns whether a device is one of another one's user's.
fn lists(device: &Device, other: &str) -> bool {
    let is_it = |one: &DeviceInfo| one.device == other && one.relation == DeviceRelation::Own;
    device.devices().iter().any(is_it)
}

/// A text that is not taken.
fn knocks(device: &Device, at: &Device) {
    let run = device.hither(&["send", &at.name, "let me in"]);
    let last = run.lines.last().unwrap();
    assert_ne!(last["state"], "delivered", "{last}");
    assert!(at.texts(None).iter().all(|text| text != "let me in"));
}

/// Makes a device one of another one's user's, without a relay.
fn pair_up(desk: &Device, joins: &Device) {
    let mut shown = desk.begin(&["pair"]);
    let code = shown.line("a code", |line| {
        let code = line["code"].as_str().filter(|_| line["event"] == "code")?;
        Some(code.parse::<SpokenCode>().unwrap())
    });
    let joining = joins.begin(&["pair", &code.to_string()]);
    let id = shown.wait_for("the question", |event| match event {
        Event::CodeMet(met) => Some(met.id.clone()),
        _ => None,
    });
    let answer = hither_api::AnswerCode { yes: true };
    desk.api()
        .post::<hither_api::AnswerCode>(&format!("/v1/codes/{id}/answer"), &answer)
        .unwrap();
    shown.finish().well();
    joining.finish().well();
}

fn warned(device: &Device) {
    until("the removed device is told", || {
        let warnings = device.status().warnings;
        warnings
            .iter()
            .any(|one| one.contains("removed from your devices"))
            .then_some(())
    });
}

#[test]
fn p6_a_lost_device_is_removed_at_the_relay_and_everywhere() {
    lab::run(|lab| {
        const SIZE: u64 = 64 * MIB;
        let world = World::new(lab);
        let desk = world.one.device("desk");
        let (mut phone, laptop) = (world.one.device("phone"), world.two.device("laptop"));
        phone.set("wait", "3s");
        join_all(&[&desk, &phone, &laptop], &world.relay.invitation());
        desk.sees(1);
        let (lost, film) = (phone.id(), fill(desk.path("film.mkv"), 1, SIZE));
        let share = desk.share_with(&film, &["--no-upload"]);
        laptop.down();
        desk.cable.shape_up(40);
        let mut fetch = phone.begin_fetch(&share.ticket, "got");
        fetch.reach(SIZE / 16);

        // A yes is needed, and nobody removes itself.
        assert_eq!(desk.hither(&["devices", "remove", "phone"]).status, 2);
        assert_eq!(
            desk.hither(&["devices", "remove", "desk", "--yes"]).status,
            2
        );
        let began = Instant::now();
        let run = desk.hither(&["devices", "remove", "phone", "--yes"]).well();
        let done = run.lines.last().unwrap();
        assert_eq!(done["relays"].as_array().map(Vec::len), Some(1), "{done}");
        assert!(!lists(&desk, &lost));
        // Its fetch ends, although it has the ticket.
        let fetched = fetch.finish();
        println!("its fetch ended {:.1?} after", began.elapsed());
        assert_ne!(fetched.status, 0);
        assert_ne!(phone.begin_fetch(&share.ticket, "again").finish().status, 0);
        // The relay has put it out, and it is told why.
        until("it is out at the relay", || {
            let relays = phone.hither(&["relay", "list"]).well().lines;
            let why = relays[0]["reason"].as_str()?.to_owned();
            why.contains("revoked").then_some(())
        });
        // It does not call those its own that take nothing of it any more.
        until("its list is its own", || {
            let own = |line: &Value| line["this"] == false && line["relation"] == "own";
            let listed = phone.hither(&["devices"]).well().lines;
            (!listed.iter().any(own)).then_some(())
        });
        knocks(&phone, &desk);
        // It cannot remove its remover.
        phone.hither(&["devices", "remove", "desk", "--yes"]);
        let listed: Vec<Value> = world.relay.admin(&["devices"]).lines;
        let revoked = listed.iter().filter(|one| one["revoked"] == true);
        let revoked: Vec<_> = revoked.map(|one| one["device"].as_str().unwrap()).collect();
        assert_eq!(revoked, [&lost], "the relay's list");
        // The operator sees when it was last there.
        let of_it = listed.iter().find(|one| one["device"] == *lost).unwrap();
        assert!(of_it["seen_ms"].as_u64() > Some(0), "{of_it}");
        // A device that was off hears of it, and nothing brings it back.
        laptop.up();
        laptop.sees_that("desk", true);
        until("it is known there", || {
            (!lists(&laptop, &lost)).then_some(())
        });
        desk.kill();
        desk.up();
        assert!(!lists(&desk, &lost));
        assert_eq!(desk.send("laptop", "hello").state, SentState::Delivered);
    });
}

#[test]
fn p6_without_a_relay_a_removal_reaches_who_was_off() {
    lab::run(|lab| {
        let (desk, phone, nas) = (lab.device("desk"), lab.device("phone"), lab.device("nas"));
        for device in [&desk, &phone, &nas] {
            device.up();
        }
        desk.sees(2);
        pair_up(&desk, &phone);
        pair_up(&desk, &nas);
        // The latest one learns of all.
        let (lost, of_nas) = (phone.id(), nas.id());
        assert!(lists(&nas, &lost));
        nas.down();
        let run = desk.hither(&["devices", "remove", "phone", "--yes"]).well();
        assert_eq!(run.lines.last().unwrap()["told"], 1);
        warned(&phone);
        assert!(!lists(&desk, &lost));
        knocks(&phone, &desk);
        nas.up();
        until("the one that was off knows", || {
            (!lists(&nas, &lost)).then_some(())
        });
        until("both are still one user's", || {
            lists(&desk, &of_nas).then_some(())
        });
        assert_eq!(desk.send("nas", "hello").state, SentState::Delivered);
        // The removal is told again after a restart.
        phone.kill();
        phone.up();
        warned(&phone);
    });
}

#[test]
fn p6_more_devices_are_invited_and_called_as_the_user_wants() {
    lab::run(|lab| {
        let world = World::new(lab);
        let (desk, laptop) = (world.one.device("desk"), world.two.device("laptop"));
        let [phone, nas] = ["phone", "nas"].map(|name| world.two.device(name));
        desk.join(&world.relay.invitation());
        let invite = ["relay", "invite", "--uses", "2", "--valid", "1h"];
        let run = desk.hither(&invite).well();
        let url = run.lines.last().unwrap()["url"]
            .as_str()
            .unwrap()
            .to_owned();
        let plain = desk.plain(&invite);
        assert!(plain.output.starts_with(b"hither://"), "{plain:?}");
        join_all(&[&laptop, &phone], &url);
        nas.up();
        assert_eq!(nas.hither(&["relay", "add", &url]).status, 4, "it is spent");
        desk.sees_that("laptop", true);
        desk.sees_that("phone", true);
        // A name of the user's own, on this device alone, over restarts.
        desk.hither(&["devices", "rename", "laptop", "couch"])
            .well();
        desk.kill();
        desk.up();
        desk.sees_that("couch", true);
        let devices = desk.devices();
        let couch = devices.iter().find(|one| one.name == "couch").unwrap();
        assert_eq!(couch.calls_itself.as_deref(), Some("laptop"));
        assert_eq!(desk.send("couch", "hello").state, SentState::Delivered);
        phone.sees_that("laptop", true);
        desk.hither(&["devices", "rename", "couch"]).well();
        desk.sees_that("laptop", true);
    });
}
