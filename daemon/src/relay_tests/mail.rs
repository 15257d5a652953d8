//! Messages: never lost, never doubled, in order.

use super::{Device, Fleet, Node, deliver};
use hither_api::{ErrorCode, MessageKind, SendRequest, SentState};
use hither_proto::RelayRefusalCode;
use std::sync::Arc;
use tempfile::TempDir;

/// Two devices of one user at one relay.
struct Pair {
    fleet: Fleet,
    node: Node,
    homes: [TempDir; 2],
    desk: Device,
    phone: Device,
}

impl Pair {
    async fn start() -> Self {
        let (fleet, homes) = (Fleet::new(), [(); 2].map(|()| tempfile::tempdir().unwrap()));
        let node = Node::start(&fleet);
        let url = node.url(Some(fleet.invite(7)));
        let desk = Device::start(homes[0].path(), "desk").await;
        let phone = Device::start(homes[1].path(), "phone").await;
        phone.join(&url).await;
        desk.join(&url).await;
        desk.until("the phone", |d| {
            d.relays
                .devices()
                .iter()
                .any(|d| d.name == "phone" && d.online)
        })
        .await;
        phone
            .until("the desk", |d| {
                d.relays.devices().iter().any(|d| d.name == "desk")
            })
            .await;
        Self {
            fleet,
            node,
            homes,
            desk,
            phone,
        }
    }

    async fn stop(self) {
        self.desk.stop().await;
        self.phone.stop().await;
    }
}

#[tokio::test]
async fn messages_arrive_in_order_and_are_acknowledged() {
    let pair = Pair::start().await;
    for text in ["one", "two", "three"] {
        let sent = pair.desk.send("phone", text).await;
        assert_eq!(
            (sent.state, sent.name.as_str()),
            (SentState::Delivered, "phone")
        );
    }
    assert_eq!(pair.phone.texts(3).await, ["one", "two", "three"]);
    pair.fleet
        .until("acknowledged", |state| state.received.last() == Some(&3))
        .await;
    let message = pair.phone.inbox().await.remove(0);
    assert_eq!(
        (message.id, message.name.as_str(), message.kind),
        (1, "desk", MessageKind::Text)
    );
    assert!(
        !pair
            .fleet
            .state()
            .sent
            .iter()
            .any(|mail| mail.sealed.windows(3).any(|w| w == b"one"))
    );
    assert_eq!(pair.desk.app.mail.outbox.len(), 0);
    pair.stop().await;
}

#[tokio::test]
async fn a_message_for_a_device_that_is_away_waits_at_the_relay() {
    let pair = Pair::start().await;
    pair.phone.stop().await;
    pair.desk
        .until("the phone is away", |d| {
            d.relays.devices().iter().all(|d| d.this || !d.online)
        })
        .await;
    assert_eq!(
        pair.desk.send("phone", "later").await.state,
        SentState::AtRelay
    );
    let phone = Device::start(pair.homes[1].path(), "phone").await;
    assert_eq!(phone.texts(1).await, ["later"]);
    phone.stop().await;
    pair.desk.stop().await;
}

#[tokio::test]
async fn what_waits_on_this_device_survives_a_restart_and_leaves_under_the_same_id() {
    let pair = Pair::start().await;
    pair.fleet.state().refuse_sends = Some(RelayRefusalCode::Busy);
    let sent = pair.desk.send("phone", "first").await;
    assert_eq!(
        (sent.state, sent.reason.as_deref()),
        (SentState::Waiting, Some("the relay is busy"))
    );
    pair.desk.send("phone", "second").await;
    pair.desk.stop().await;
    pair.fleet.state().refuse_sends = None;
    let desk = Device::start(pair.homes[0].path(), "desk").await;
    assert_eq!(pair.phone.texts(2).await, ["first", "second"]);
    assert_eq!(pair.fleet.state().sent[0].id.to_string(), sent.message);
    desk.stop().await;
    pair.phone.stop().await;
}

#[tokio::test]
async fn without_any_relay_it_says_so_at_once_and_sends_when_there_is_one() {
    let pair = Pair::start().await;
    pair.node.kill().await;
    pair.desk
        .until("no relay", |d| {
            !d.relays.connecting() && d.relays.connected().is_empty()
        })
        .await;
    let sent = pair.desk.send("phone", "x").await;
    assert_eq!(
        (sent.state, sent.reason.as_deref()),
        (SentState::Waiting, Some("no relay is reached"))
    );
    assert_eq!(pair.desk.app.mail.outbox.len(), 1);
    let anew = Node::start(&pair.fleet);
    let url = anew.url(Some(pair.fleet.invite(7)));
    pair.desk.join(&url).await;
    pair.fleet
        .until("sent", |state| state.sent.len() == 1)
        .await;
    pair.stop().await;
}

#[tokio::test]
async fn a_message_that_comes_twice_is_shown_once() {
    let pair = Pair::start().await;
    pair.desk.send("phone", "once").await;
    pair.phone.texts(1).await;
    let mail = pair.fleet.state().sent[0].clone();
    pair.fleet
        .tell(pair.phone.app.diagnostics.device, deliver(8, &mail));
    pair.fleet
        .tell(pair.phone.app.diagnostics.device, deliver(9, &mail));
    pair.fleet
        .until("acknowledged all the same", |state| {
            state.received.last() == Some(&9)
        })
        .await;
    assert_eq!(pair.phone.inbox().await.len(), 1);
    // Not after it was deleted either, nor after a restart.
    let service = Arc::clone(&pair.phone.app.mail);
    tokio::task::spawn_blocking(move || crate::mail::delete(&service, 1).unwrap())
        .await
        .unwrap();
    pair.phone.stop().await;
    let phone = Device::start(pair.homes[1].path(), "phone").await;
    pair.fleet
        .until("back", |state| {
            state.online.contains_key(&phone.app.diagnostics.device)
        })
        .await;
    pair.fleet
        .tell(phone.app.diagnostics.device, deliver(10, &mail));
    pair.fleet
        .until("acknowledged again", |state| {
            state.received.last() == Some(&10)
        })
        .await;
    assert!(phone.inbox().await.is_empty());
    phone.stop().await;
    pair.desk.stop().await;
}

#[tokio::test]
async fn a_crash_between_durable_and_acknowledged_neither_loses_nor_doubles() {
    let pair = Pair::start().await;
    // The acknowledgement never counts: the connection breaks instead.
    pair.fleet.state().deaf = true;
    pair.desk.send("phone", "precious").await;
    assert_eq!(pair.phone.texts(1).await, ["precious"]);
    pair.phone.stop().await;
    assert_eq!(
        pair.fleet
            .state()
            .boxes
            .values()
            .map(|b| b.len())
            .sum::<usize>(),
        1
    );
    pair.fleet.state().deaf = false;
    let phone = Device::start(pair.homes[1].path(), "phone").await;
    pair.fleet
        .until("acknowledged now", |state| !state.received.is_empty())
        .await;
    assert_eq!(phone.texts(1).await, ["precious"]);
    phone.stop().await;
    pair.desk.stop().await;
}

#[tokio::test]
async fn what_was_not_sealed_for_this_device_is_dropped_and_holds_up_nothing() {
    let pair = Pair::start().await;
    pair.desk.send("phone", "good").await;
    pair.phone.texts(1).await;
    let mut forged = pair.fleet.state().sent[0].clone();
    forged.id = hither_proto::MessageId::new([3; 16]);
    pair.fleet
        .tell(pair.phone.app.diagnostics.device, deliver(5, &forged));
    pair.desk.send("phone", "next").await;
    assert_eq!(pair.phone.texts(2).await, ["good", "next"]);
    pair.fleet
        .until("acknowledged", |state| {
            state.received.last().is_some_and(|seq| *seq >= 2)
        })
        .await;
    pair.stop().await;
}

#[tokio::test]
async fn files_travel_with_their_names_and_modes_and_replace_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let pair = Pair::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (script, empty) = (folder.path().join("run.sh"), folder.path().join("empty"));
    std::fs::write(&script, "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::write(&empty, "").unwrap();
    let request = |files| SendRequest {
        to: "phone".into(),
        files,
        ..SendRequest::default()
    };
    let sent = crate::mail::send(&pair.desk.app.mail, request(vec![script.clone(), empty]))
        .await
        .unwrap();
    assert_eq!(sent.state, SentState::Delivered);
    pair.phone.texts(1).await;
    let target = tempfile::tempdir().unwrap();
    std::fs::write(target.path().join("run.sh"), "mine").unwrap();
    let (service, to) = (Arc::clone(&pair.phone.app.mail), target.path().to_owned());
    let saved = tokio::task::spawn_blocking(move || crate::mail::save(&service, 1, &to).unwrap())
        .await
        .unwrap();
    assert!(saved.paths[0].ends_with("run (2).sh"), "{saved:?}");
    assert_eq!(
        std::fs::read_to_string(target.path().join("run.sh")).unwrap(),
        "mine"
    );
    let written = target.path().join("run (2).sh");
    assert_eq!(std::fs::read(&written).unwrap(), b"#!/bin/sh\n");
    assert_eq!(
        written.metadata().unwrap().permissions().mode() & 0o100,
        0o100
    );
    assert_eq!(std::fs::read(target.path().join("empty")).unwrap(), b"");

    let large = folder.path().join("large");
    std::fs::write(&large, vec![7; 300 * 1024]).unwrap();
    let error = crate::mail::send(&pair.desk.app.mail, request(vec![large]))
        .await
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::TooLong);
    pair.stop().await;
}

#[tokio::test]
async fn a_relay_that_forgot_the_reader_ends_the_attempts() {
    let pair = Pair::start().await;
    pair.fleet.state().refuse_sends = Some(RelayRefusalCode::NotFound);
    let sent = pair.desk.send("phone", "x").await;
    assert_eq!(sent.state, SentState::Failed);
    let waiting = crate::mail::outgoing(&pair.desk.app.mail);
    assert!(
        waiting[0]
            .sent
            .reason
            .as_ref()
            .unwrap()
            .contains("any more"),
        "{waiting:?}"
    );
    let service = Arc::clone(&pair.desk.app.mail);
    tokio::task::spawn_blocking(move || crate::mail::take_back(&service, 1).unwrap())
        .await
        .unwrap();
    let to_itself = SendRequest {
        to: "desk".into(),
        text: Some("x".into()),
        ..SendRequest::default()
    };
    assert_eq!(
        crate::mail::send(&pair.desk.app.mail, to_itself)
            .await
            .unwrap_err()
            .code,
        ErrorCode::BadRequest
    );
    pair.stop().await;
}

#[tokio::test]
async fn a_relay_that_vanished_is_noticed_by_who_waits_for_it() {
    let pair = Pair::start().await;
    let other = Node::start(&pair.fleet);
    pair.fleet.state().assigned = vec![other.address()];
    pair.fleet.state().silent.insert(pair.node.key);
    pair.fleet.state().mute = true;
    // Long before the next ping is due.
    let begun = std::time::Instant::now();
    pair.desk.send("phone", "x").await;
    pair.fleet
        .until("sent by the other one", |state| state.sent.len() == 1)
        .await;
    assert!(
        begun.elapsed() < std::time::Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(pair.desk.connected(), Some(other.key));
    pair.stop().await;
}
