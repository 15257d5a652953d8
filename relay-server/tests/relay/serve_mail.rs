//! Messages between the devices of one user (E6, E7).

use crate::serve_common::{Device, Relay, refused};
use bytes::Bytes;
use hither_proto::{MessageId, RelayMessage, RelayRefusalCode};
use hither_relay::config::{Rate, Size, Span};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e6_what_is_sent_to_a_device_that_is_away_comes_in_order_once_after_a_restart() {
    let relay = Relay::start(|_| {}).await;
    let (one, two) = (Device::new(), Device::new());
    let invitation = relay.invite(2).await;
    drop(two.join(&relay, &invitation).await);
    relay.gone(&two.id).await;
    let mut first = one.join(&relay, &invitation).await;
    for at in 0..100u64 {
        first
            .post(at, two.id, [at as u8 + 1; 16], &format!("message {at}"))
            .await;
    }
    for at in 0..100u64 {
        assert_eq!(first.sent(at).await, Ok(false));
    }
    // The same message again changes nothing.
    assert_eq!(first.send(500, two.id, 1, "message 0").await, Ok(false));
    let relay = relay.restart(|_| {}).await;
    let mut second = two.hello(&relay.address(), None).await.unwrap();
    for at in 0..100 {
        assert_eq!(second.received().await, format!("message {at}"));
    }
    let any =
        |message: &RelayMessage| matches!(message, RelayMessage::Deliver { .. }).then_some(());
    assert!(second.silent_of(any, Duration::from_millis(300)).await);
    drop(second);
    let mut again = two.hello(&relay.address(), None).await.unwrap();
    assert!(
        again.silent_of(any, Duration::from_millis(300)).await,
        "what was acknowledged does not come again"
    );
    relay.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e6_what_was_not_acknowledged_comes_again_after_a_reconnect() {
    let relay = Relay::start(|config| config.mail.window = 4).await;
    let (one, two) = (Device::new(), Device::new());
    let invitation = relay.invite(2).await;
    let mut first = one.join(&relay, &invitation).await;
    let mut second = two.join(&relay, &invitation).await;
    for at in 0..10u64 {
        first
            .post(at, two.id, [at as u8 + 1; 16], &format!("message {at}"))
            .await;
    }
    let mut seqs = Vec::new();
    for at in 0..4 {
        let (seq, from, text) = second.delivered().await;
        assert_eq!((from, text), (one.id, format!("message {at}")));
        seqs.push(seq);
    }
    assert!(seqs.is_sorted());
    let any =
        |message: &RelayMessage| matches!(message, RelayMessage::Deliver { .. }).then_some(());
    assert!(
        second.silent_of(any, Duration::from_millis(300)).await,
        "the window is four messages"
    );
    second.say(RelayMessage::Received { seq: seqs[1] }).await;
    assert_eq!(second.delivered().await.2, "message 4");
    drop(second);
    let mut again = two.hello(&relay.address(), None).await.unwrap();
    for at in 2..10 {
        assert_eq!(again.received().await, format!("message {at}"));
    }
    for at in 0..10 {
        first.sent(at).await.unwrap();
    }
    relay.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e5_e6_forwarded_means_that_the_reader_has_it() {
    let relay = Relay::start(|_| {}).await;
    let (one, two) = (Device::new(), Device::new());
    let invitation = relay.invite(2).await;
    let mut first = one.join(&relay, &invitation).await;
    let mut second = two.join(&relay, &invitation).await;
    let reading = tokio::spawn(async move {
        let text = second.received().await;
        (second, text)
    });
    assert_eq!(first.send(1, two.id, 1, "hello").await, Ok(true));
    let (mut second, text) = reading.await.unwrap();
    assert_eq!(text, "hello");
    // It is connected, but does not take it: a dead device is no different.
    let begun = Instant::now();
    assert_eq!(first.send(2, two.id, 2, "are you there?").await, Ok(false));
    assert!(begun.elapsed() < Duration::from_secs(2));
    // Back the same way.
    second.post(1, one.id, [3; 16], "yes").await;
    assert_eq!(first.received().await, "yes");
    assert_eq!(second.sent(1).await, Ok(true));
    relay.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_to_others_devices_to_nobody_to_oneself_and_too_long_is_refused() {
    let relay = Relay::start(|config| config.mail.max_message = Size(1000)).await;
    let devices = [Device::new(), Device::new(), Device::new()];
    let (invitation, foreign) = (relay.invite(2).await, relay.invite(1).await);
    let mut first = devices[0].join(&relay, &invitation).await;
    devices[1].join(&relay, &invitation).await;
    let mut stranger = devices[2].join(&relay, &foreign).await;
    assert_eq!(first.welcome().max_message, 1000);
    refused(
        first.send(1, devices[2].id, 1, "to a stranger").await,
        RelayRefusalCode::NotFound,
    );
    refused(
        first.send(2, Device::new().id, 1, "to nobody").await,
        RelayRefusalCode::NotFound,
    );
    refused(
        first.send(3, devices[0].id, 1, "to myself").await,
        RelayRefusalCode::Invalid,
    );
    refused(
        first.send(4, devices[1].id, 1, &"x".repeat(1001)).await,
        RelayRefusalCode::Invalid,
    );
    assert_eq!(
        first.send(5, devices[1].id, 1, &"x".repeat(1000)).await,
        Ok(false)
    );
    let any =
        |message: &RelayMessage| matches!(message, RelayMessage::Deliver { .. }).then_some(());
    assert!(stranger.silent_of(any, Duration::from_millis(200)).await);
    relay.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_mailbox_refuses_and_takes_again_when_it_was_read() {
    let relay = Relay::start(|config| config.mail.items = 3).await;
    let (one, two) = (Device::new(), Device::new());
    let invitation = relay.invite(2).await;
    drop(two.join(&relay, &invitation).await);
    relay.gone(&two.id).await;
    let mut first = one.join(&relay, &invitation).await;
    for at in 0..3u8 {
        first
            .send(u64::from(at), two.id, at + 1, "fits")
            .await
            .unwrap();
    }
    refused(
        first.send(3, two.id, 9, "too much").await,
        RelayRefusalCode::Quota,
    );
    let mut second = two.hello(&relay.address(), None).await.unwrap();
    for _ in 0..3 {
        assert_eq!(second.received().await, "fits");
    }
    // The acknowledgement is on its way.
    let begun = Instant::now();
    while first.send(4, two.id, 9, "now it fits").await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(second.received().await, "now it fits");
    relay.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_fetched_in_time_expires() {
    let relay = Relay::start(|config| config.mail.keep = Span::secs(3600)).await;
    let (one, two) = (Device::new(), Device::new());
    let invitation = relay.invite(2).await;
    drop(two.join(&relay, &invitation).await);
    relay.gone(&two.id).await;
    let mut first = one.join(&relay, &invitation).await;
    let sealed = Bytes::from_static(b"soon worthless");
    let send = RelayMessage::Send {
        request: 1,
        to: two.id,
        id: MessageId::new([1; 16]),
        sealed,
        keep_s: 1,
    };
    first.say(send).await;
    first.sent(1).await.unwrap();
    first.send(2, two.id, 2, "kept").await.unwrap();
    tokio::time::sleep(Duration::from_millis(1300)).await;
    let mut second = two.hello(&relay.address(), None).await.unwrap();
    assert_eq!(second.received().await, "kept");
    relay.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_messages_are_refused_with_the_time_to_wait() {
    let relay = Relay::start(|config| {
        config.limits.send = Rate {
            per_second: 2.0,
            burst: 3.0,
        }
    })
    .await;
    let (one, two) = (Device::new(), Device::new());
    let invitation = relay.invite(2).await;
    let mut first = one.join(&relay, &invitation).await;
    drop(two.join(&relay, &invitation).await);
    let mut busy = 0;
    for at in 0..6u8 {
        if let Err(refusal) = first.send(u64::from(at), two.id, at + 1, "x").await {
            assert_eq!(refusal.code, RelayRefusalCode::Busy);
            assert!(
                refusal.retry_after_ms > 0 && refusal.retry_after_ms <= 500,
                "{refusal:?}"
            );
            busy += 1;
        }
    }
    assert!(busy >= 1);
    relay.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_may_have_much_to_say_at_once() {
    let relay = Relay::start(|_| {}).await;
    let (one, two) = (Device::new(), Device::new());
    let invitation = relay.invite(2).await;
    let mut first = one.join(&relay, &invitation).await;
    let mut second = two.join(&relay, &invitation).await;
    // Each writes 10 MiB before it reads anything: the relay must neither wait for one nor hold it
    // all.
    let text = "x".repeat(200 * 1024);
    let writing = async {
        for at in 0..50u64 {
            first.post(at, two.id, [at as u8 + 1; 16], &text).await;
        }
    };
    let back = async {
        for at in 0..50u64 {
            second.post(at, one.id, [at as u8 + 1; 16], &text).await;
        }
    };
    futures::join!(writing, back);
    for at in 0..50 {
        assert_eq!(second.received().await.len(), text.len(), "{at}");
    }
    for _ in 0..50 {
        assert_eq!(first.received().await.len(), text.len());
    }
    relay.running.stop().await;
}
