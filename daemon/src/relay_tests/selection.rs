//! Joining, the list of devices, and which relay is connected.

use super::{Device, Fleet, Node};
use crate::failure;
use hither_api::{ErrorCode, RelayState};
use hither_content::storage::Table;
use hither_proto::{Invitation, RelayMessage};
use hither_relay_client::ConnectionState;
use std::sync::Arc;

/// The records of relays that a device keeps, as text.
fn kept(device: &Device) -> Vec<String> {
    let store = device.app.library.records.store();
    let records = store
        .all::<serde_json::Value>(Table::new("relays"))
        .unwrap();
    records
        .into_iter()
        .map(|(_, record)| record.to_string())
        .collect()
}

#[tokio::test]
async fn a_device_joins_and_knows_the_others_also_when_no_relay_is_there() {
    let (fleet, home, other_home) = (
        Fleet::new(),
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
    );
    let node = Node::start(&fleet);
    let url = node.url(Some(fleet.invite(7)));
    let desk = Device::start(home.path(), "desk").await;
    let phone = Device::start(other_home.path(), "phone\u{1b}[2J").await;
    desk.join(&url).await;
    phone.join(&url).await;
    desk.until("the phone's card", |app| {
        app.relays
            .devices()
            .iter()
            .any(|d| d.name.starts_with("phone"))
    })
    .await;
    let devices = desk.app.relays.devices();
    assert!(devices[0].this && devices[0].name == "desk" && devices.len() == 2);
    assert_eq!(devices[1].name, "phone\u{fffd}[2J");
    assert!(devices[1].online && devices[1].as_of.is_none() && !devices[1].same_network);
    assert_eq!(devices[1].relays, [format!("127.0.0.1:{}", node.port)]);
    assert_eq!(desk.app.relays.all()[0].info().state, RelayState::Connected);

    phone.stop().await;
    desk.until("the phone is gone", |app| !app.relays.devices()[1].online)
        .await;
    node.kill().await;
    desk.stop().await;
    let desk = Device::start(home.path(), "desk").await;
    let devices = desk.app.relays.devices();
    assert_eq!((devices.len(), devices[1].online), (2, false));
    assert_eq!(devices[1].name, "phone\u{fffd}[2J");
    assert!(devices[1].as_of.is_some() && devices[1].last_seen.is_some());
    // The invitation is nowhere: neither in the record nor anywhere else below the home.
    let record = kept(&desk)[0].clone();
    assert!(!record.contains("0707070707"), "{record}");
    desk.stop().await;
}

#[tokio::test]
async fn why_a_relay_cannot_be_joined_is_told() {
    let (fleet, home) = (Fleet::new(), tempfile::tempdir().unwrap());
    let node = Node::start(&fleet);
    let desk = Device::start(home.path(), "desk").await;
    let failed = async |url| failure::join(&desk.app.relays.join(&url).await.err().unwrap());
    let error = failed(node.url(Some(Invitation::new([9; 16])))).await;
    assert_eq!(error.code, ErrorCode::Refused);
    assert!(
        error.message.contains("the invitation is not valid"),
        "{}",
        error.message
    );
    let error = failed(node.url(None)).await;
    assert!(
        error.message.contains("not registered") && error.hint.contains("invitation"),
        "{error:?}"
    );
    let stranger = hither_carrier::Identity::generate().unwrap().device_id();
    let error = failed(hither_proto::RelayUrl {
        key: stranger,
        ..node.url(None)
    })
    .await;
    assert!(error.message.contains("another relay"), "{}", error.message);
    let (url, name) = (node.url(None), "no-such-relay.invalid:1".parse().unwrap());
    let error = failed(hither_proto::RelayUrl {
        at: name,
        ..url.clone()
    })
    .await;
    assert!(
        error.code == ErrorCode::NoRelay && error.message.contains("cannot be resolved"),
        "{error:?}"
    );
    node.kill().await;
    assert_eq!(failed(url).await.code, ErrorCode::NoRelay);
    assert!(desk.app.relays.all().is_empty() && kept(&desk).is_empty());
    desk.stop().await;
}

#[tokio::test]
async fn a_dead_relay_of_the_list_is_passed_over_and_a_dying_one_replaced() {
    let (fleet, home) = (Fleet::new(), tempfile::tempdir().unwrap());
    let [entry, dead, second, third] = [(); 4].map(|()| Node::start(&fleet));
    let desk = Device::start(home.path(), "desk").await;
    desk.join(&entry.url(Some(fleet.invite(1)))).await;
    fleet.state().assigned = [&dead, &second, &third].map(Node::address).to_vec();
    dead.kill().await;
    // The relay that it is on asks it to go; the first of the list is dead.
    fleet.tell(
        desk.app.diagnostics.device,
        RelayMessage::Move { relays: Vec::new() },
    );
    desk.until("on the second", |_| desk.connected() == Some(second.key))
        .await;
    fleet
        .until("off the first", |state| state.open[&entry.key] == 0)
        .await;
    second.kill().await;
    desk.until("on the third", |_| desk.connected() == Some(third.key))
        .await;
    assert!(fleet.state().hellos.starts_with(&[entry.key, second.key]));
    desk.stop().await;
}

#[tokio::test]
async fn a_relay_that_does_not_answer_pings_is_left() {
    let (fleet, home) = (Fleet::new(), tempfile::tempdir().unwrap());
    let (silent, other) = (Node::start(&fleet), Node::start(&fleet));
    fleet.state().ping_ms = 300;
    fleet.state().silent.insert(silent.key);
    let desk = Device::start(home.path(), "desk").await;
    desk.join(&silent.url(Some(fleet.invite(1)))).await;
    fleet.state().assigned = vec![other.address()];
    desk.until("on the other one", |_| desk.connected() == Some(other.key))
        .await;
    fleet
        .until("off the silent one", |state| state.open[&silent.key] == 0)
        .await;
    desk.stop().await;
}

#[tokio::test]
async fn a_move_makes_the_new_connection_before_it_breaks_the_old_one() {
    let (fleet, home) = (Fleet::new(), tempfile::tempdir().unwrap());
    let (old, new) = (Node::start(&fleet), Node::start(&fleet));
    let desk = Device::start(home.path(), "desk").await;
    desk.join(&old.url(Some(fleet.invite(1)))).await;
    // This task panics if the device was ever without a connection.
    let mut changes = desk.app.relays.changes();
    let watched = Arc::clone(&desk.app.relays);
    let watching = tokio::spawn(async move {
        while !watched.connected().is_empty() {
            if changes.changed().await.is_err() {
                return;
            }
        }
        panic!("there was no connection for a moment");
    });
    fleet.tell(
        desk.app.diagnostics.device,
        RelayMessage::Move {
            relays: vec![new.address()],
        },
    );
    fleet
        .until("both, then the new one only", |s| {
            s.open.get(&new.key) == Some(&1) && s.open[&old.key] == 0
        })
        .await;
    assert_eq!(desk.connected(), Some(new.key));
    assert!(!watching.is_finished());
    watching.abort();
    let _ = watching.await;
    desk.stop().await;
}

#[tokio::test]
async fn a_relay_that_was_left_is_forgotten_and_one_that_revokes_is_not_pestered() {
    let (fleet, home) = (Fleet::new(), tempfile::tempdir().unwrap());
    let node = Node::start(&fleet);
    let desk = Device::start(home.path(), "desk").await;
    let url = node.url(Some(fleet.invite(1)));
    desk.join(&url).await;
    desk.join(&url).await; // again changes nothing
    assert_eq!(fleet.state().hellos.len(), 1);
    let joined = desk.app.relays.all()[0].clone();
    desk.app.relays.leave(&joined).await.unwrap();
    fleet
        .until("gone", |state| state.open[&node.key] == 0)
        .await;
    assert!(kept(&desk).is_empty() && desk.app.relays.devices().len() == 1);

    desk.join(&url).await;
    fleet.state().registered.clear();
    fleet.tell(
        desk.app.diagnostics.device,
        RelayMessage::Refused(hither_proto::RelayRefusalCode::Revoked.into()),
    );
    desk.until("waiting", |app| {
        matches!(app.relays.all()[0].state(), ConnectionState::Waiting { .. })
    })
    .await;
    let info = desk.app.relays.all()[0].info();
    assert_eq!(
        info.reason.as_deref(),
        Some("this device was revoked at the relay")
    );
    assert!(info.retry_seconds.unwrap() > 300, "{info:?}");
    desk.stop().await;
}
