//! The first frame, and what strangers may do (B1): nothing that costs much.

use crate::serve_common::{Device, Relay, SOON, refused};
use bytes::Bytes;
use hither_carrier::{MessageReader, RelayReader, write_message, write_relay_message};
use hither_proto::limits::{MAX_FRAME, MAX_RELAY_FRAME, PROTOCOL};
use hither_proto::{
    Message, Proof, ProofKey, ProofKind, Purpose, Refusal, RelayMessage, RelayPurpose,
    RelayRefusalCode, ShareId, ShareSecret, Side,
};
use hither_relay::config::{Rate, Role, Span};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// What a stream is answered that begins with these bytes; `None`: it ends or breaks.
async fn answered(device: &Device, relay: &Relay, first: &[u8]) -> Option<RelayMessage> {
    let link = device
        .endpoint
        .connect_relay(&relay.address())
        .await
        .unwrap();
    let mut stream = link.open().await.unwrap();
    stream
        .send
        .send_bytes(Bytes::copy_from_slice(first))
        .await
        .unwrap();
    let mut reader = RelayReader::new(MAX_RELAY_FRAME);
    timeout(SOON, reader.next(&mut stream.recv))
        .await
        .expect("neither answer nor end")
        .ok()
        .flatten()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_or_silent_first_frame_ends_the_stream() {
    let relay = Relay::start(|config| config.front.first_frame = Span::millis(300)).await;
    let device = Device::new();
    let begun = Instant::now();
    assert_eq!(answered(&device, &relay, &[0]).await, None);
    assert_eq!(answered(&device, &relay, &[0, 0, 0, 9, 1]).await, None);
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
    // The same after the purpose was said.
    let (_link, mut stream) = device.open(&relay.address(), RelayPurpose::Device).await;
    let mut reader = RelayReader::new(MAX_RELAY_FRAME);
    let end = timeout(SOON, reader.next(&mut stream.recv)).await.unwrap();
    assert!(!matches!(end, Ok(Some(_))), "{end:?}");
    relay.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_oversized_or_senseless_first_frame_ends_the_stream_at_once() {
    let relay = Relay::start(|config| config.front.first_frame = Span::secs(20)).await;
    let device = Device::new();
    let begun = Instant::now();
    assert_eq!(
        answered(&device, &relay, &[0, 1, 0, 0]).await,
        None,
        "64 KiB"
    );
    assert_eq!(answered(&device, &relay, &[0xff; 64]).await, None);
    assert_eq!(
        answered(&device, &relay, &[0, 0, 0, 3, 0xff, 0xff, 0xff]).await,
        None
    );
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    // Before a device is let in its frames are small, too.
    let (_link, mut stream) = device.open(&relay.address(), RelayPurpose::Device).await;
    stream
        .send
        .send_bytes(Bytes::from_static(&[0, 0, 4, 1]))
        .await
        .unwrap();
    let mut reader = RelayReader::new(MAX_RELAY_FRAME);
    let end = timeout(SOON, reader.next(&mut stream.recv)).await.unwrap();
    assert!(!matches!(end, Ok(Some(_))), "{end:?}");
    relay.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_beyond_its_bound_on_the_long_connection_ends_it() {
    let relay = Relay::start(|_| {}).await;
    let device = Device::new();
    let invitation = relay.invite(1).await;
    for wrong in [&[0x00, 0x20, 0x00, 0x00][..], &[0, 0, 0, 2, 0xff, 0xff][..]] {
        let mut talk = device.join(&relay, &invitation).await;
        talk.stream
            .send
            .send_bytes(Bytes::copy_from_slice(wrong))
            .await
            .unwrap();
        assert_eq!(
            talk.ended().await.map(|why| why.code),
            Some(RelayRefusalCode::Invalid)
        );
    }
    let mut talk = device.join(&relay, &invitation).await;
    talk.say(RelayMessage::Assign).await;
    assert_eq!(
        talk.ended().await.map(|why| why.code),
        Some(RelayRefusalCode::Invalid)
    );
    relay.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_versions_and_roles_are_refused_in_their_own_language() {
    let relay = Relay::start(|config| config.roles = vec![Role::Control, Role::Front]).await;
    let device = Device::new();
    let link = device
        .endpoint
        .connect_relay(&relay.address())
        .await
        .unwrap();
    let mut stream = link.open().await.unwrap();
    let later = Message::RelayOpen {
        protocol: PROTOCOL + 1,
        purpose: Some(RelayPurpose::Device),
    };
    write_message(&mut stream.send, &later).await.unwrap();
    let answer = RelayReader::new(MAX_RELAY_FRAME)
        .next(&mut stream.recv)
        .await
        .unwrap();
    assert!(
        matches!(answer, Some(RelayMessage::Refused(why)) if why.code == RelayRefusalCode::Protocol),
        "{answer:?}"
    );
    let mut stream = link.open().await.unwrap();
    let proof = Proof::make(
        &ProofKey::of_secret(&ShareSecret::new([1; 16])),
        &stream.binding,
        Side::Opener,
        Purpose::Bulk,
    );
    let open = Message::Open {
        protocol: PROTOCOL + 1,
        share: ShareId::new([1; 16]),
        proof,
        proof_kind: ProofKind::Secret,
        owner: None,
        purpose: Some(Purpose::Control),
    };
    write_message(&mut stream.send, &open).await.unwrap();
    let answer = MessageReader::new(MAX_FRAME)
        .next(&mut stream.recv)
        .await
        .unwrap();
    assert_eq!(answer, Some(Message::Refused(Refusal::Protocol)));
    refused(
        device.assigned(&relay.address()).await,
        RelayRefusalCode::Role,
    );
    let (_link, mut stream) = device.open(&relay.address(), RelayPurpose::Upload).await;
    let answer = RelayReader::new(MAX_RELAY_FRAME)
        .next(&mut stream.recv)
        .await
        .unwrap();
    assert!(
        matches!(answer, Some(RelayMessage::Refused(why)) if why.code == RelayRefusalCode::Role),
        "{answer:?}"
    );
    relay.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e1_a_fleet_of_one_assigns_itself_and_too_many_questions_are_refused() {
    let relay = Relay::start(|config| {
        config.limits.assign = Rate {
            per_second: 0.5,
            burst: 3.0,
        }
    })
    .await;
    let device = Device::new();
    for _ in 0..3 {
        assert_eq!(
            device.assigned(&relay.address()).await.unwrap(),
            [relay.address()]
        );
    }
    let refusal = refused(
        device.assigned(&relay.address()).await,
        RelayRefusalCode::Busy,
    );
    assert!(
        refusal.retry_after_ms > 500 && refusal.retry_after_ms <= 2000,
        "{refusal:?}"
    );
    assert!(Device::new().assigned(&relay.address()).await.is_ok());
    relay.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_one_address_are_limited() {
    let relay = Relay::start(|config| {
        config.limits.address = Rate {
            per_second: 0.5,
            burst: 4.0,
        }
    })
    .await;
    let address = relay.address();
    for _ in 0..4 {
        Device::new().assigned(&address).await.unwrap();
    }
    refused(
        Device::new().assigned(&address).await,
        RelayRefusalCode::Busy,
    );
    relay.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_long_connection_works_over_tcp_alone() {
    let relay = Relay::start(|_| {}).await;
    let (one, two) = (Device::new(), Device::new());
    let invitation = relay.invite(2).await;
    // UDP is blocked: nothing answers at this port.
    let nowhere = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut address = relay.address();
    address.udp = vec![nowhere.local_addr().unwrap().to_string().parse().unwrap()];
    let mut first = one.hello(&address, Some(&invitation)).await.unwrap();
    assert_eq!(first.stream.carrier, hither_carrier::CarrierKind::Tcp);
    let mut second = two.join(&relay, &invitation).await;
    second.post(1, one.id, [1; 16], "over TCP").await;
    assert_eq!(first.received().await, "over TCP");
    // Its end is noticed at once.
    drop(first);
    second.until(one.id, |entry| !entry.online).await;
    relay.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_start_makes_an_invitation_and_the_next_does_not() {
    let relay = Relay::start(|config| config.address = Some("localhost".into())).await;
    let first = relay.running.invitation.clone().expect("an invitation");
    assert_eq!(
        (first.devices, first.valid),
        (10, Duration::from_secs(24 * 3600))
    );
    let text = first.url.to_string();
    assert!(
        text.starts_with(&format!(
            "hither://localhost:{}/#",
            relay.running.node.endpoint.port()
        )),
        "{text}"
    );
    let url: hither_proto::RelayUrl = text.parse().unwrap();
    let device = Device::new();
    device
        .hello(&url.address(), url.invitation.as_ref())
        .await
        .unwrap();
    let relay = relay.restart(|_| {}).await;
    assert!(relay.running.invitation.is_none());
    assert_eq!(relay.running.url.key, first.url.key);
    write_then_refused(&device, &relay).await;
    relay.running.stop().await;
}

/// A device that was let in once comes in again without its invitation, and a Hello is not taken
/// twice.
async fn write_then_refused(device: &Device, relay: &Relay) {
    let mut talk = device.hello(&relay.address(), None).await.unwrap();
    write_relay_message(
        &mut talk.stream.send,
        &RelayMessage::Hello {
            invitation: None,
            instance: 0,
        },
    )
    .await
    .unwrap();
    assert_eq!(
        talk.ended().await.map(|why| why.code),
        Some(RelayRefusalCode::Invalid)
    );
}
