//! Devices of two users that know each other, on different networks: what they send each other goes
//! by a relay that both have joined, while both know each other.
//!
//! Siblings: a text, a file, what is asked for and what is declined; forgotten by the reader.

use crate::common::acquaint;
use crate::relay_world::World;
use hither_api::{ArrivalState, AsksInfo, SentState};
use hither_tests::lab::{self, Device, fill, until};

fn texts(device: &Device, wanted: &str) {
    until("a text", || {
        let inbox = device.inbox();
        let found = inbox.iter().any(|one| one.text.as_deref() == Some(wanted));
        found.then_some(())
    });
}

#[test]
fn p1_c5_devices_of_two_users_that_know_each_other_meet_at_a_relay() {
    lab::run(|lab| {
        let world = World::new(lab);
        let (desk, mut phone) = (world.one.device("desk"), world.one.device("phone"));
        acquaint(&desk, &phone);
        texts(&phone, "hello");
        // Each is its own user's at the relay, and the phone goes elsewhere.
        desk.join(&world.relay.invitation());
        let other = world.relay.admin(&["invite", "--label", "anna"]).well();
        let other = other.lines.last().unwrap()["url"]
            .as_str()
            .unwrap()
            .to_owned();
        phone.join(&other);
        phone.down();
        phone.cable.unplug();
        world.two.welcome(&mut phone);
        phone.up();
        until("they do not see each other", || {
            (desk.status().nearby == 0).then_some(())
        });
        until("the phone is back at the relay", || {
            let relay = phone.relay();
            (relay.state == hither_api::RelayState::Connected).then_some(())
        });
        let sent = desk.send("phone", "from afar");
        assert!(
            matches!(sent.state, SentState::Delivered | SentState::AtRelay),
            "{sent:?}"
        );
        texts(&phone, "from afar");
        // The other way, while the reader is off.
        desk.down();
        phone.send("desk", "and back");
        desk.up();
        texts(&desk, "and back");
        // A file after its yes, another one after its no.
        for (name, answer) in [("yes.txt", "accept"), ("no.txt", "refuse")] {
            let file = fill(desk.path(name), 1, 2000);
            desk.hither(&["send", "phone", file.to_str().unwrap()])
                .well();
            let number = until("the file is asked about", || {
                let last = phone.inbox().pop()?;
                let arrival = last.arrival.as_ref()?;
                (arrival.state == ArrivalState::Asked).then(|| last.id.to_string())
            });
            phone.hither(&["inbox", answer, &number]).well();
        }
        until("it is there", || {
            let written = phone.home().join("received/yes.txt");
            written.exists().then_some(())
        });
        until("the sender knows of the no", || {
            let outbox = desk.hither(&["outbox"]).well().lines;
            outbox
                .iter()
                .any(|one| one["state"] == "declined")
                .then_some(())
        });
        // A request is asked and refused in the same way (C5).
        let asked = desk.begin_in(&desk.path(""), &["ask", "phone", "clipboard"]);
        let request = until("the request", || {
            let asks: AsksInfo = phone.api().get("/v1/asks").unwrap();
            asks.received.into_iter().find(|one| one.state == "waiting")
        });
        phone.hither(&["asks", "refuse", &request.ask]).well();
        assert_eq!(asked.finish().status, 4);
        // Forgotten, it is a stranger at the relay too.
        phone.hither(&["devices", "forget", "desk"]).well();
        until("the relay takes nothing any more", || {
            let run = desk.hither(&["send", "phone", "still there?"]);
            let state = run.lines.last().unwrap()["state"].clone();
            (state == "waiting").then_some(())
        });
    });
}
