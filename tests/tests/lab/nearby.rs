//! Devices of different users on one network, without any relay: seen by the names they choose to
//! show, sent to after one yes, strangers again when they are forgotten.
//!
//! Siblings: who does not show itself; a stranger that is refused, that nobody answers, that goes
//! away; names made to deceive; more strangers than there are places; restarts of either side.

use hither_api::{ArrivalState, DeviceInfo, DeviceRelation, MessageInfo, NearbyInfo, SentState};
use hither_tests::lab::{self, Device, Lab, MIB, Tree, fill, until};
use serde_json::json;

const KIB: u64 = 1024;

/// Two devices of different users that see each other.
fn strangers(lab: &Lab) -> (Device, Device) {
    let (desk, phone) = (lab.device("desk"), lab.device("phone"));
    desk.up();
    phone.up();
    desk.sees(1);
    phone.sees(1);
    (desk, phone)
}

fn nearby(device: &Device) -> NearbyInfo {
    device.api().get("/v1/nearby").unwrap()
}

fn shows_itself(device: &Device) {
    device.hither(&["nearby", "--no-wait"]).well();
}

fn relation(device: &Device, other: &Device) -> Option<DeviceInfo> {
    let id = other.id();
    device.devices().into_iter().find(|one| one.device == id)
}

/// The other side says yes to whoever waits.
fn says(device: &Device, answer: &str, who: &str) {
    until("a stranger waits", || nearby(device).introductions.pop());
    device.hither(&["nearby", answer, who]).well();
}

fn messages(device: &Device, count: usize) -> Vec<MessageInfo> {
    until("the messages", || {
        Some(device.inbox()).filter(|inbox| inbox.len() >= count)
    })
}

#[test]
fn p1_a_stranger_on_the_network_is_sent_to_after_one_yes_without_a_relay() {
    lab::run(|lab| {
        let (desk, phone) = strangers(lab);
        // Nobody shows itself by default.
        assert_eq!(relation(&desk, &phone), None);
        let error = desk.hither(&["send", "phone", "hello"]).failed(1);
        assert_eq!(error.code, hither_api::ErrorCode::NotFound);
        shows_itself(&phone);
        let seen = relation(&desk, &phone).unwrap();
        assert_eq!(
            (seen.relation, seen.name.as_str()),
            (DeviceRelation::Nearby, "phone")
        );
        assert_eq!(
            seen.words,
            nearby(&phone).words,
            "both screens show the same"
        );
        // It is one way only: the desk has not shown itself.
        assert_eq!(relation(&phone, &desk), None);

        let sent = desk.send("phone", "hello");
        assert_eq!(sent.state, SentState::Waiting, "{sent:?}");
        let reason = sent.reason.unwrap();
        assert!(reason.contains(&nearby(&desk).words), "{reason}");
        assert!(phone.inbox().is_empty(), "nothing before the yes");
        let asks = until("the question", || nearby(&phone).introductions.pop());
        assert_eq!(
            (asks.device.clone(), asks.name.as_str(), &asks.words),
            (desk.id(), "desk", &nearby(&desk).words)
        );
        assert!(
            phone.status().warnings.iter().any(|w| w.contains("desk")),
            "the status tells of it"
        );
        says(&phone, "accept", "desk");
        assert_eq!(messages(&phone, 1)[0].text.as_deref(), Some("hello"));
        // From now on at once, both ways, also after restarts and after the ten minutes.
        for (device, other) in [(&desk, &phone), (&phone, &desk)] {
            device.down();
            device.up();
            device.sees(1);
            other.sees(1);
        }
        assert!(nearby(&phone).left_seconds.is_none());
        assert_eq!(desk.send("phone", "again").state, SentState::Delivered);
        assert_eq!(phone.send("desk", "thanks").state, SentState::Delivered);
        assert_eq!(messages(&desk, 1)[0].name, "phone");
        for (one, other) in [(&desk, &phone), (&phone, &desk)] {
            let known = relation(one, other).unwrap();
            assert_eq!(known.relation, DeviceRelation::Known);
            assert!(known.online && known.same_network);
        }
    });
}

#[test]
fn p1_the_yes_that_lets_a_stranger_in_is_for_what_it_offered_and_nothing_else() {
    lab::run(|lab| {
        let (desk, phone) = strangers(lab);
        shows_itself(&phone);
        let send = |name: &str| {
            let file = fill(desk.path(name), 1, 5 * KIB);
            desk.hither(&["send", "phone", file.to_str().unwrap()])
                .well()
        };
        let stands = |count: usize, state: ArrivalState| {
            until(&format!("{state:?}"), || {
                let inbox = phone.inbox();
                let last = inbox.last().filter(|_| inbox.len() == count)?;
                (last.arrival.as_ref()?.state == state).then_some(())
            });
        };
        send("offered.txt");
        let asks = until("the question", || nearby(&phone).introductions.pop());
        assert_eq!(
            (asks.summary.as_str(), asks.bytes),
            ("offered.txt", 5 * KIB)
        );
        says(&phone, "accept", "desk");
        stands(1, ArrivalState::Arrived);
        let there = phone.home().join("received/offered.txt");
        assert_eq!(std::fs::read(there).unwrap().len() as u64, 5 * KIB);
        // A later file is asked about.
        send("later.txt");
        stands(2, ArrivalState::Asked);
    });
}

#[test]
fn p1_files_and_what_is_large_reach_a_known_device() {
    lab::run(|lab| {
        let (desk, phone) = strangers(lab);
        shows_itself(&phone);
        let (small, large) = (desk.path("small.bin"), desk.path("large.bin"));
        fill(small.clone(), 1, 20 * KIB);
        fill(large.clone(), 2, 8 * MIB);
        desk.hither(&["send", "phone", small.to_str().unwrap()])
            .well();
        let asks = until("the question", || nearby(&phone).introductions.pop());
        assert_eq!((asks.files, asks.bytes), (1, 20 * KIB));
        assert_eq!(asks.summary, "small.bin");
        says(&phone, "accept", &desk.id());
        messages(&phone, 1);
        desk.hither(&["send", "phone", large.to_str().unwrap()])
            .well();
        let offer = messages(&phone, 2).pop().unwrap();
        let (number, into) = (offer.id.to_string(), phone.path("got"));
        phone
            .hither(&[
                "inbox",
                "fetch",
                &number,
                "--yes",
                "-o",
                into.to_str().unwrap(),
            ])
            .well();
        Tree::of(&large).assert_same(&Tree::of(into.join("large.bin")));
    });
}

#[test]
fn p1_a_no_and_a_device_that_is_forgotten_take_nothing() {
    lab::run(|lab| {
        let (desk, phone) = strangers(lab);
        shows_itself(&phone);
        desk.send("phone", "one");
        desk.send("phone", "two");
        says(&phone, "refuse", "desk");
        // Everything that waited for it has failed, and says so.
        until("both have failed", || {
            let outbox = desk.hither(&["outbox"]).well().lines;
            let failed = outbox.iter().filter(|one| one["state"] == "failed");
            (failed.count() == 2).then_some(())
        });
        assert!(phone.inbox().is_empty());
        desk.send("phone", "three");
        says(&phone, "accept", "desk");
        messages(&phone, 1);
        phone.hither(&["devices", "forget", "desk"]).well();
        phone.hither(&["nearby", "off"]).well();
        let sent = desk.send("phone", "four");
        assert!(
            matches!(sent.state, SentState::Waiting | SentState::Failed),
            "{sent:?}"
        );
        until("the answer is a no", || {
            let outbox = desk.hither(&["outbox"]).well().lines;
            let failed = outbox.iter().filter(|one| one["state"] == "failed");
            (failed.count() == 3).then_some(())
        });
        assert_eq!(phone.inbox().len(), 1, "a stranger again");
    });
}

#[test]
fn p1_a_name_to_deceive_is_cleaned_and_may_be_changed() {
    lab::run(|lab| {
        let mut desk = lab.device("desk");
        desk.set("device_name", "Your\u{202e} Bank\u{1b}[2J");
        let phone = lab.device("phone");
        desk.up();
        phone.up();
        desk.sees(1);
        phone.sees(1);
        shows_itself(&phone);
        desk.send("phone", "\u{1b}[31mhello");
        let asks = until("the question", || nearby(&phone).introductions.pop());
        for text in [&asks.name, &asks.summary] {
            assert!(
                !text.chars().any(|c| c.is_control() || c == '\u{202e}'),
                "{text:?}"
            );
        }
        says(&phone, "accept", &asks.short);
        messages(&phone, 1);
        phone
            .hither(&["devices", "rename", &asks.short, "anna"])
            .well();
        phone.down();
        phone.up();
        phone.sees(1);
        assert_eq!(phone.send("anna", "hi").state, SentState::Delivered);
        assert_eq!(messages(&phone, 1)[0].name, "anna");
    });
}

#[test]
fn p1_who_shows_itself_is_a_setting() {
    lab::run(|lab| {
        let (mut desk, mut phone) = (lab.device("desk"), lab.device("phone"));
        phone.set("nearby.visible", "everybody");
        desk.set("nearby.visible", "nobody");
        desk.up();
        phone.up();
        desk.sees(1);
        phone.sees(1);
        assert!(relation(&desk, &phone).is_some());
        assert!(relation(&phone, &desk).is_none());
        desk.send("phone", "hello");
        says(&phone, "accept", "desk");
        messages(&phone, 1);
        // Known, it is listed; to answer it needs no name.
        assert_eq!(phone.send("desk", "hi").state, SentState::Delivered);
        // Ten minutes for everybody, whatever the setting says, until it is ended.
        shows_itself(&desk);
        assert!(nearby(&desk).left_seconds.is_some());
        desk.hither(&["nearby", "off"]).well();
        assert_eq!(nearby(&desk).left_seconds, None);
    });
}

#[test]
fn p1_a_stranger_that_goes_away_leaves_nothing_behind() {
    lab::run(|lab| {
        let (desk, phone) = strangers(lab);
        shows_itself(&phone);
        desk.send("phone", "hello");
        until("the question", || nearby(&phone).introductions.pop());
        desk.kill();
        until("the question is gone", || {
            nearby(&phone).introductions.is_empty().then_some(())
        });
        let answer = json!({"device": "desk", "accept": true});
        let late = phone
            .api()
            .post::<serde_json::Value>("/v1/nearby/answer", &answer);
        assert!(late.is_err(), "{late:?}");
        // The message is durable: its sender asks again by itself.
        desk.up();
        says(&phone, "accept", "desk");
        assert_eq!(messages(&phone, 1)[0].text.as_deref(), Some("hello"));
    });
}
