//! Who may come in, who is there, and what each is told of the others (B1, D1, D2, E3–E5).

use crate::serve_common::{Device, Relay, SOON, refused};
use hither_proto::{Card, MessageId, RelayMessage, RelayRefusalCode};
use hither_relay::config::{Rate, Span};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b1_a_stranger_is_refused_and_an_invitation_lets_in_once_for_good() {
    let relay = Relay::start(|_| {}).await;
    let (device, other) = (Device::new(), Device::new());
    refused(
        device.hello(&relay.address(), None).await.map(drop),
        RelayRefusalCode::NotRegistered,
    );
    let invitation = relay.invite(1).await;
    let talk = device.join(&relay, &invitation).await;
    let user = talk.user();
    // The same device may show it again, another one may not: it is used up.
    drop(talk);
    assert_eq!(device.join(&relay, &invitation).await.user(), user);
    assert_eq!(
        device.hello(&relay.address(), None).await.unwrap().user(),
        user
    );
    refused(
        other
            .hello(&relay.address(), Some(&invitation))
            .await
            .map(drop),
        RelayRefusalCode::Invitation,
    );
    refused(
        other.hello(&relay.address(), None).await.map(drop),
        RelayRefusalCode::NotRegistered,
    );
    // Unknown and expired are the same answer.
    let registry = &relay.running.node.registry;
    let expired = registry.invite(&user, 5, Duration::ZERO).await.unwrap();
    for wrong in [expired, hither_proto::Invitation::new([9; 16])] {
        refused(
            other.hello(&relay.address(), Some(&wrong)).await.map(drop),
            RelayRefusalCode::Invitation,
        );
    }
    relay.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b1_many_devices_at_once_spend_an_invitation_exactly() {
    let relay = Relay::start(|_| {}).await;
    let invitation = relay.invite(3).await;
    let devices: Vec<_> = (0..8).map(|_| Device::new()).collect();
    let address = relay.address();
    let hellos = devices
        .iter()
        .map(|device| device.hello(&address, Some(&invitation)));
    let talks: Vec<_> = futures::future::join_all(hellos)
        .await
        .into_iter()
        .filter_map(Result::ok)
        .collect();
    assert_eq!(talks.len(), 3);
    assert!(talks.iter().all(|talk| talk.user() == talks[0].user()));
    assert_eq!(
        relay
            .running
            .node
            .registry
            .devices_of(&talks[0].user())
            .await
            .unwrap()
            .len(),
        3
    );
    relay.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b1_a_revoked_device_is_put_out_within_a_second_and_stays_out() {
    let relay = Relay::start(|_| {}).await;
    let (one, two) = (Device::new(), Device::new());
    let invitation = relay.invite(2).await;
    let mut first = one.join(&relay, &invitation).await;
    let mut second = two.join(&relay, &invitation).await;
    let begun = Instant::now();
    relay.running.node.registry.revoke(&two.id).await.unwrap();
    assert_eq!(
        second.ended().await.map(|why| why.code),
        Some(RelayRefusalCode::Revoked)
    );
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    let removed = |message: &RelayMessage| match message {
        RelayMessage::DevicesChanged { removed, .. } if removed.contains(&two.id) => Some(()),
        _ => None,
    };
    timeout(SOON, first.find(removed)).await.unwrap();
    for shown in [None, Some(&invitation)] {
        refused(
            two.hello(&relay.address(), shown).await.map(drop),
            RelayRefusalCode::Revoked,
        );
    }
    refused(
        first.send(1, two.id, 1, "still there?").await,
        RelayRefusalCode::NotFound,
    );
    relay.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d1_e5_others_hear_within_a_second_who_comes_and_goes() {
    let relay = Relay::start(|_| {}).await;
    let (one, two) = (Device::new(), Device::new());
    let invitation = relay.invite(2).await;
    let mut first = one.join(&relay, &invitation).await;
    assert_eq!(
        first
            .welcome()
            .devices
            .iter()
            .map(|entry| entry.device)
            .collect::<Vec<_>>(),
        [one.id]
    );
    let begun = Instant::now();
    let second = two.join(&relay, &invitation).await;
    let entry = first.until(two.id, |entry| entry.online).await;
    assert!(
        begun.elapsed() < Duration::from_secs(1) && entry.same_network,
        "{:?}",
        begun.elapsed()
    );
    let seen =
        |entry: &hither_proto::DeviceEntry| (entry.device == one.id && entry.online).then_some(());
    second.welcome().devices.iter().find_map(seen).unwrap();
    // It may have been told of while it was registered and not there yet.
    first.forget();
    let begun = Instant::now();
    second.link.close("bye");
    let entry = first.until(two.id, |entry| !entry.online).await;
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    assert!(entry.last_seen_ms > 0 && !entry.same_network);
    relay.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e4_e5_who_is_silent_is_dropped_and_others_hear_of_it() {
    let relay = Relay::start(|config| {
        (config.front.ping, config.front.patience) = (Span::millis(200), Span::millis(600));
    })
    .await;
    let (one, two) = (Device::new(), Device::new());
    let invitation = relay.invite(2).await;
    let mut first = one.join(&relay, &invitation).await;
    let mut second = two.join(&relay, &invitation).await;
    second.pongs = false;
    first.until(two.id, |entry| entry.online).await;
    first.forget();
    let begun = Instant::now();
    // The first answers the relay's pings while it waits.
    first.until(two.id, |entry| !entry.online).await;
    let took = begun.elapsed();
    assert!(
        took > Duration::from_millis(200) && took < Duration::from_secs(2),
        "{took:?}"
    );
    second.ended().await;
    assert_eq!(relay.running.node.connections(), 1);
    relay.running.stop().await;
}

/// The bound of the requirement: one period of pings, and the patience with a ping that is late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e3_e5_a_dead_link_is_noticed_after_one_period_and_a_slow_one_is_not_dead() {
    const PING: Duration = Duration::from_millis(1500);
    const PATIENCE: Duration = Duration::from_millis(900);
    let relay = Relay::start(|config| {
        (config.front.ping, config.front.patience) = (Span(PING), Span(PATIENCE))
    })
    .await;
    let (one, two, three) = (Device::new(), Device::new(), Device::new());
    let invitation = relay.invite(3).await;
    let mut first = one.join(&relay, &invitation).await;
    let mut dead = two.join(&relay, &invitation).await;
    let mut slow = three.join(&relay, &invitation).await;
    dead.pongs = false;
    first.until(two.id, |entry| entry.online).await;
    first.forget();
    // Its last words.
    dead.say(RelayMessage::Ping { nonce: 1 }).await;
    let begun = Instant::now();
    // One whose line is so thin that nothing whole arrives for periods, and whose answers wait
    // behind it.
    let sealed = bytes::Bytes::from(vec![7; 200_000]);
    let message = RelayMessage::Send {
        request: 1,
        to: one.id,
        id: MessageId::new([1; 16]),
        sealed,
        keep_s: 0,
    };
    let frame = hither_proto::encode_relay_frame(&message);
    let trickle = async {
        for part in frame.chunks(frame.len() / 20 + 1) {
            slow.stream.send.write_all(part).await.unwrap();
            slow.stream.send.flush().await.unwrap();
            tokio::time::sleep(PING / 4).await;
        }
    };
    let nothing = |_: &RelayMessage| None::<()>;
    let notice = async {
        first.until(two.id, |entry| !entry.online).await;
        let took = begun.elapsed();
        // It answers as long as it listens.
        assert!(first.silent_of(nothing, PING * 4).await);
        took
    };
    let (took, ()) = futures::join!(notice, trickle);
    assert!(
        took >= PING && took < PING + PATIENCE + Duration::from_millis(700),
        "{took:?}"
    );
    dead.ended().await;
    assert!(begun.elapsed() > PING * 4, "{:?}", begun.elapsed());
    slow.sent(1).await.unwrap();
    // These two say nothing by themselves, but answer.
    let idle = futures::join!(
        first.silent_of(nothing, PING * 3),
        slow.silent_of(nothing, PING * 3)
    );
    assert_eq!(idle, (true, true));
    assert_eq!(relay.running.node.connections(), 2);
    assert_eq!(relay.running.node.metrics.silent.get(), 1);
    relay.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e3_pings_are_answered_and_a_newer_connection_replaces_the_older() {
    let relay = Relay::start(|_| {}).await;
    let (one, two) = (Device::new(), Device::new());
    let invitation = relay.invite(2).await;
    let mut older = one.join(&relay, &invitation).await;
    older.say(RelayMessage::Ping { nonce: 7 }).await;
    older
        .find(|message| matches!(message, RelayMessage::Pong { nonce: 7 }).then_some(()))
        .await;
    let mut other = two.join(&relay, &invitation).await;
    let mut newer = one.join(&relay, &invitation).await;
    assert_eq!(older.ended().await, None);
    assert_eq!(
        other.send(1, one.id, 1, "to the newer one").await.map(drop),
        Ok(())
    );
    assert_eq!(newer.received().await, "to the newer one");
    // The end of the older one does not count as the device's.
    let gone = |message: &RelayMessage| match message {
        RelayMessage::DevicesChanged { changed, .. } => changed
            .iter()
            .find(|entry| entry.device == one.id && !entry.online)
            .map(drop),
        _ => None,
    };
    assert!(other.silent_of(gone, Duration::from_millis(700)).await);
    relay.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d2_cards_reach_their_readers_now_and_later_and_nobody_else() {
    let relay = Relay::start(|_| {}).await;
    let devices = [Device::new(), Device::new(), Device::new()];
    let (invitation, foreign) = (relay.invite(2).await, relay.invite(1).await);
    let mut first = devices[0].join(&relay, &invitation).await;
    let mut second = devices[1].join(&relay, &invitation).await;
    let mut stranger = devices[2].join(&relay, &foreign).await;
    let card = |reader: usize, text: &'static str| Card {
        reader: devices[reader].id,
        sealed: text.into(),
    };
    first
        .say(RelayMessage::Cards(vec![
            card(1, "one for two"),
            card(2, "one for a stranger"),
        ]))
        .await;
    let entry = second
        .until(devices[0].id, |entry| !entry.card.is_empty())
        .await;
    assert_eq!(&entry.card[..], b"one for two");
    let any = |message: &RelayMessage| {
        matches!(message, RelayMessage::DevicesChanged { .. }).then_some(())
    };
    assert!(stranger.silent_of(any, Duration::from_millis(500)).await);
    drop(second);
    let again = devices[1].join(&relay, &invitation).await;
    let known = again
        .welcome()
        .devices
        .iter()
        .find(|entry| entry.device == devices[0].id)
        .unwrap();
    assert_eq!(&known.card[..], b"one for two");
    assert_eq!(stranger.welcome().devices.len(), 1);
    // A large card list does not end the connection, a second later one replaces the first.
    first.say(RelayMessage::Cards(vec![card(1, "newer")])).await;
    let mut again = again;
    again
        .until(devices[0].id, |entry| &entry.card[..] == b"newer")
        .await;
    relay.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_hellos_of_one_device_are_refused_with_the_time_to_wait() {
    let relay = Relay::start(|config| {
        config.limits.hello = Rate {
            per_second: 0.5,
            burst: 2.0,
        }
    })
    .await;
    let (one, two) = (Device::new(), Device::new());
    let invitation = relay.invite(2).await;
    for _ in 0..2 {
        drop(one.join(&relay, &invitation).await);
    }
    let refusal = refused(
        one.hello(&relay.address(), None).await.map(drop),
        RelayRefusalCode::Busy,
    );
    assert!(
        (500..=2000).contains(&refusal.retry_after_ms),
        "{refusal:?}"
    );
    two.join(&relay, &invitation).await;
    relay.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_invitations_from_one_address_are_soon_not_looked_at() {
    let relay = Relay::start(|config| {
        config.limits.wrong_invitation = Rate {
            per_second: 0.01,
            burst: 3.0,
        }
    })
    .await;
    let right = relay.invite(5).await;
    for _ in 0..4 {
        Device::new().join(&relay, &right).await;
    }
    for guess in 0..3u8 {
        let guess = hither_proto::Invitation::new([guess; 16]);
        refused(
            Device::new()
                .hello(&relay.address(), Some(&guess))
                .await
                .map(drop),
            RelayRefusalCode::Invitation,
        );
    }
    let guess = hither_proto::Invitation::new([99; 16]);
    refused(
        Device::new()
            .hello(&relay.address(), Some(&guess))
            .await
            .map(drop),
        RelayRefusalCode::Busy,
    );
    relay.running.stop().await;
}
