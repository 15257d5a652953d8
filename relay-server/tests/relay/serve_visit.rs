//! Visitors: what somebody who has a link of a device may do at the relay (W2), and pages of other
//! sites that ask (C8).

use crate::serve_common::{Device as Plain, Relay as Running, Talk};
use crate::storing_common::{Device, End, Open, Relay, Version, World, soon};
use bytes::Bytes;
use hither_carrier::{CarrierKind, RelayReader, Stream, write_message};
use hither_proto::limits::{MAX_RELAY_FRAME, PROTOCOL};
use hither_proto::{
    CodeRequest, DeviceId, GroupRequest, Invitation, Knock, MessageId, OwnAnswer, OwnRequest,
    Purpose, RelayMessage, RelayPurpose, RelayRefusalCode, ShareId, Space, Visiting, Word,
};
use hither_relay::config::Size;
use prost::Message;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const REQUEST: u64 = 5;

fn token(byte: u8) -> Invitation {
    Invitation::new([byte; 16])
}

fn invite(byte: u8, seconds: u32, bytes: u64, visitors: u32) -> OwnRequest {
    OwnRequest::InviteVisitors {
        invitation: token(byte),
        seconds,
        bytes,
        visitors,
    }
}

/// The answer to a request of [`REQUEST`], or why there is none.
async fn answered(talk: &mut Relay) -> Result<RelayMessage, RelayRefusalCode> {
    talk.find(|message| match message {
        RelayMessage::Failed {
            request: REQUEST,
            refusal,
        } => Some(Err(refusal.code)),
        RelayMessage::OwnAnswered { request, .. }
        | RelayMessage::Sent { request, .. }
        | RelayMessage::Placed { request, .. }
        | RelayMessage::Released { request }
            if request == REQUEST =>
        {
            Some(Ok(message))
        }
        _ => None,
    })
    .await
}

async fn ask(talk: &mut Relay, what: OwnRequest) -> Result<OwnAnswer, RelayRefusalCode> {
    let request = REQUEST;
    talk.say(&RelayMessage::Own { request, what }).await;
    match answered(talk).await? {
        RelayMessage::OwnAnswered { answer, .. } => Ok(answer),
        other => panic!("{other:?}"),
    }
}

async fn invited(talk: &mut Relay, what: OwnRequest) {
    assert_eq!(ask(talk, what).await, Ok(OwnAnswer::VisitorsInvited));
}

/// Says as what a page comes, on a stream of purpose device.
async fn come(
    mut relay: Relay,
    invitation: Option<Invitation>,
) -> Result<(Relay, Visiting), RelayRefusalCode> {
    relay.say(&RelayMessage::Visit { invitation }).await;
    match relay.hear().await {
        RelayMessage::Visiting(visiting) => Ok((relay, *visiting)),
        RelayMessage::Refused(refusal) => Err(refusal.code),
        other => panic!("{other:?}"),
    }
}

async fn visit(
    device: &Device,
    world: &World,
    byte: u8,
) -> Result<(Relay, Visiting), RelayRefusalCode> {
    let relay = device
        .relay(world, RelayPurpose::Device, CarrierKind::Tcp)
        .await;
    come(relay, Some(token(byte))).await
}

async fn send(talk: &mut Relay, to: DeviceId, id: u8, text: &str) -> Result<(), RelayRefusalCode> {
    talk.say(&RelayMessage::Send {
        request: REQUEST,
        to,
        id: MessageId::new([id; 16]),
        sealed: Bytes::copy_from_slice(text.as_bytes()),
        keep_s: 0,
    })
    .await;
    answered(talk).await.map(drop)
}

async fn delivered(talk: &mut Relay) -> (DeviceId, Bytes) {
    let (seq, from, sealed) = talk
        .find(|message| match message {
            RelayMessage::Deliver {
                seq, from, sealed, ..
            } => Some((seq, from, sealed)),
            _ => None,
        })
        .await;
    talk.say(&RelayMessage::Received { seq }).await;
    (from, sealed)
}

async fn place(talk: &mut Relay, share: ShareId, bytes: u64) -> Result<(), RelayRefusalCode> {
    talk.say(&RelayMessage::Place {
        request: REQUEST,
        share,
        bytes,
        near: Vec::new(),
    })
    .await;
    answered(talk).await.map(drop)
}

/// The refusal with which a connection ends.
async fn ended(talk: &mut Relay) -> RelayRefusalCode {
    talk.find(|message| match message {
        RelayMessage::Refused(refusal) => Some(refusal.code),
        _ => None,
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w2_a_visitor_and_its_host_write_to_each_other_and_to_nobody_else() {
    let world = World::new().await;
    let user = world.user().await;
    let (host, sibling, guest) = (
        world.device(&user).await,
        world.device(&user).await,
        Device::new(),
    );
    assert_eq!(
        visit(&guest, &world, 7).await.map(drop),
        Err(RelayRefusalCode::Invitation)
    );
    let mut home = host.talk(&world).await;
    invited(&mut home, invite(7, 3600, 10_000, 2)).await;
    let (mut visits, told) = visit(&guest, &world, 7).await.unwrap();
    assert_eq!((told.host, told.origin), (Some(host.id()), None));
    assert!(told.online && told.seconds > 3500 && told.bytes == 10_000);
    send(&mut visits, host.id(), 1, "hello").await.unwrap();
    assert_eq!(
        delivered(&mut home).await,
        (guest.id(), Bytes::from_static(b"hello"))
    );
    send(&mut home, guest.id(), 2, "welcome").await.unwrap();
    assert_eq!(
        delivered(&mut visits).await,
        (host.id(), Bytes::from_static(b"welcome"))
    );
    let nobody = Err(RelayRefusalCode::NotFound);
    assert_eq!(send(&mut visits, sibling.id(), 3, "x").await, nobody);
    let mut other = sibling.talk(&world).await;
    assert_eq!(send(&mut other, guest.id(), 4, "x").await, nobody);
    // Nothing of it is told to the user's devices, and it stands in no list.
    drop(visits);
    let devices = world.node.registry.devices_of(&user).await.unwrap();
    assert_eq!(devices, [host.id(), sibling.id()]);
    home.say(&RelayMessage::Ping { nonce: 9 }).await;
    let told = home
        .find(|message| match message {
            RelayMessage::DevicesChanged { changed, removed } => {
                let named = changed.iter().map(|entry| entry.device).chain(removed);
                named
                    .into_iter()
                    .any(|device| device == guest.id())
                    .then_some(true)
            }
            RelayMessage::Pong { nonce: 9 } => Some(false),
            _ => None,
        })
        .await;
    assert!(!told, "a visitor is no device");
    // A letter waits for it.
    send(&mut home, guest.id(), 5, "later").await.unwrap();
    let (mut visits, _) = visit(&guest, &world, 7).await.unwrap();
    assert_eq!(delivered(&mut visits).await.1, "later");
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w2_a_visitor_may_nothing_that_is_not_named() {
    let world = World::new().await;
    let (host, guest) = (world.somebody().await, Device::new());
    let mut home = host.talk(&world).await;
    invited(&mut home, invite(7, 3600, 10_000, 2)).await;
    let (mut visits, _) = visit(&guest, &world, 7).await.unwrap();
    let requests = [
        invite(8, 1, 1, 1),
        OwnRequest::Invite {
            devices: 1,
            seconds: 1,
            web: true,
        },
        OwnRequest::Remove { device: host.id() },
        OwnRequest::Contacts(vec![host.id()]),
        OwnRequest::AskWake,
        OwnRequest::ReleaseVisitor {
            visitor: guest.id(),
            share: ShareId::new([1; 16]),
        },
    ];
    let role = |answer: Result<OwnAnswer, RelayRefusalCode>| {
        assert_eq!(answer, Err(RelayRefusalCode::Role));
    };
    for what in requests {
        role(ask(&mut visits, what).await);
    }
    let find = CodeRequest::Find {
        nameplate: Word::of_bits(7),
    };
    for message in [
        RelayMessage::Code {
            request: REQUEST,
            what: find,
        },
        RelayMessage::Group {
            request: REQUEST,
            what: Box::new(GroupRequest::Mine),
        },
    ] {
        visits.say(&message).await;
        assert_eq!(
            answered(&mut visits).await.map(drop),
            Err(RelayRefusalCode::Role)
        );
    }
    visits.say(&RelayMessage::Cards(Vec::new())).await;
    assert_eq!(ended(&mut visits).await, RelayRefusalCode::Role);
    // It is joined with nobody, and announces nothing.
    assert_eq!(
        guest.index(&world).await.map(drop),
        Err(RelayRefusalCode::Role)
    );
    let knock = Knock::make(
        &hither_proto::ShareSecret::new([1; 16]),
        &guest.id(),
        &host.id(),
        [7; Knock::SALT],
    );
    let to = hither_proto::CircuitMessage::Connect {
        to: host.id(),
        knock,
    };
    let mut circuit = guest.circuit(&world, to, CarrierKind::Tcp).await;
    assert_eq!(ended(&mut circuit).await, RelayRefusalCode::Role);
    // A device is no visitor.
    assert_eq!(
        visit(&host, &world, 7).await.map(drop),
        Err(RelayRefusalCode::Role)
    );
    // Neither is a visitor a device.
    let mut stranger = guest
        .relay(&world, RelayPurpose::Device, CarrierKind::Tcp)
        .await;
    stranger
        .say(&RelayMessage::Hello {
            invitation: Some(token(7)),
            instance: 0,
        })
        .await;
    assert_eq!(ended(&mut stranger).await, RelayRefusalCode::Invitation);
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w2_what_a_visitor_leaves_counts_for_the_host_within_the_bytes_of_the_invitation() {
    let world = World::new().await;
    let user = world.user().await;
    let (host, guest) = (world.device(&user).await, Device::new());
    let mut home = host.talk(&world).await;
    let (small, large) = (
        Version::random(&guest, 1, 3, 1_000),
        Version::random(&guest, 1, 20, 1_000),
    );
    invited(&mut home, invite(7, 3600, 10_000, 2)).await;
    let (mut visits, _) = visit(&guest, &world, 7).await.unwrap();
    place(&mut visits, small.share(), small.bytes())
        .await
        .unwrap();
    assert_eq!(
        guest.upload(&world, &small, usize::MAX).await.end,
        End::Done
    );
    let (_, told) = visit(&guest, &world, 7).await.unwrap();
    assert_eq!(told.bytes, 10_000, "its own may be replaced");
    // Anybody who has the ticket reads it.
    let open = Open::of(&small, Purpose::Bulk);
    let mut bulk = Device::new()
        .read(&world, &open, CarrierKind::Tcp)
        .await
        .unwrap();
    bulk.want(1, 1, Space::Data, 0..3).await;
    assert_eq!(bulk.answer(1).await.chunks, small.all(Space::Data));
    let usage = world.node.state.list("usage", "", None, 10).await.unwrap();
    let key: String = user.as_bytes().iter().map(|b| format!("{b:02x}")).collect();
    assert!(
        usage
            .records
            .iter()
            .all(|entry| entry.key.starts_with(&key))
    );
    assert_eq!(usage.records.len(), 1);
    // Too much, and less said than is sent.
    let (mut visits, _) = visit(&guest, &world, 7).await.unwrap();
    assert_eq!(
        place(&mut visits, large.share(), large.bytes()).await,
        Err(RelayRefusalCode::Quota)
    );
    place(&mut visits, large.share(), 100).await.unwrap();
    assert_eq!(
        guest.upload(&world, &large, usize::MAX).await.end,
        End::Refused(RelayRefusalCode::Quota)
    );
    // Another host has nothing to give back there.
    let other = world.somebody().await;
    let release = OwnRequest::ReleaseVisitor {
        visitor: guest.id(),
        share: small.share(),
    };
    let mut elsewhere = other.talk(&world).await;
    assert_eq!(
        ask(&mut elsewhere, release.clone()).await,
        Err(RelayRefusalCode::NotFound)
    );
    assert_eq!(
        ask(&mut home, release.clone()).await,
        Ok(OwnAnswer::VisitorReleased)
    );
    assert_eq!(
        ask(&mut home, release).await,
        Err(RelayRefusalCode::NotFound)
    );
    // The visitor gives back the other one itself.
    visits
        .say(&RelayMessage::Release {
            request: REQUEST,
            share: large.share(),
        })
        .await;
    answered(&mut visits).await.unwrap();
    let usage = world.node.state.list("usage", "", None, 10).await.unwrap();
    assert!(usage.records.is_empty());
    // A page without an invitation uploads nothing.
    let stranger = Device::new();
    let theirs = Version::random(&stranger, 1, 1, 1_000);
    assert_eq!(
        stranger.upload(&world, &theirs, usize::MAX).await.end,
        End::Refused(RelayRefusalCode::NotRegistered)
    );
    world.node.stop().await;
}

/// A part of what a relay writes down of a share.
#[derive(Clone, PartialEq, Eq, Message)]
struct Kept {
    #[prost(uint64, tag = "6")]
    keep_s: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w2_a_visitors_share_is_kept_for_seven_days_at_most() {
    let world = World::new().await;
    let (host, guest) = (world.somebody().await, Device::new());
    let mut home = host.talk(&world).await;
    invited(&mut home, invite(7, 3600, 100_000, 2)).await;
    let version = Version::random(&guest, 1, 2, 1_000);
    let (mut visits, _) = visit(&guest, &world, 7).await.unwrap();
    place(&mut visits, version.share(), version.bytes())
        .await
        .unwrap();
    // It asks for "until released".
    assert_eq!(
        guest.upload(&world, &version, usize::MAX).await.end,
        End::Done
    );
    let shares = world.node.state.list("shares", "", None, 10).await.unwrap();
    let kept = Kept::decode(&shares.records[0].entry.value[..]).unwrap();
    assert_eq!(kept.keep_s, 7 * 24 * 3600);
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w2_ending_an_invitation_cuts_who_is_there_and_what_they_upload() {
    let world = World::new().await;
    let (host, guest, second) = (world.somebody().await, Device::new(), Device::new());
    let mut home = host.talk(&world).await;
    invited(&mut home, invite(7, 3600, 100_000, 1)).await;
    let (mut visits, _) = visit(&guest, &world, 7).await.unwrap();
    assert_eq!(
        visit(&second, &world, 7).await.map(drop),
        Err(RelayRefusalCode::Quota)
    );
    let version = Version::random(&guest, 1, 5, 1_000);
    place(&mut visits, version.share(), version.bytes())
        .await
        .unwrap();
    let mut upload = guest
        .relay(&world, RelayPurpose::Upload, CarrierKind::Tcp)
        .await;
    upload.begin(&version).await;
    assert!(matches!(upload.hear().await, RelayMessage::Missing { .. }));
    invited(&mut home, invite(7, 0, 100_000, 1)).await;
    assert_eq!(ended(&mut visits).await, RelayRefusalCode::Invitation);
    assert_eq!(ended(&mut upload).await, RelayRefusalCode::Invitation);
    assert_eq!(
        visit(&guest, &world, 7).await.map(drop),
        Err(RelayRefusalCode::Invitation)
    );
    assert_eq!(
        send(&mut home, guest.id(), 1, "x").await,
        Err(RelayRefusalCode::NotFound)
    );
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w2_an_invitation_ends_by_itself_and_with_its_host() {
    let world = World::new().await;
    let (host, guest) = (world.somebody().await, Device::new());
    let mut home = host.talk(&world).await;
    invited(&mut home, invite(7, 1, 1_000, 1)).await;
    let (mut visits, _) = visit(&guest, &world, 7).await.unwrap();
    assert_eq!(ended(&mut visits).await, RelayRefusalCode::Invitation);
    invited(&mut home, invite(8, 3600, 1_000, 1)).await;
    let (mut visits, _) = visit(&guest, &world, 8).await.unwrap();
    world.node.registry.revoke(&host.id()).await.unwrap();
    assert_eq!(ended(&mut visits).await, RelayRefusalCode::Invitation);
    world.node.stop().await;
}

const SITE: &str = "https://shop.example";

/// Comes over a pipe that a browser opened for a page of that origin.
async fn pipe(world: &World, device: &Device, origin: Option<&str>) -> Relay {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let remote = SocketAddr::from(([192, 0, 2, 1], 443));
    let node = Arc::clone(&world.node);
    let origin: Option<Arc<str>> = origin.map(Into::into);
    let accepted = tokio::spawn(async move {
        node.endpoint
            .accept_pipe(remote, origin, Box::new(near))
            .await
    });
    let to = world.node.id();
    let dialled = soon(device.endpoint.dial_pipe(to, remote, Box::new(far))).await;
    let mut stream = dialled.unwrap();
    accepted.await.unwrap().unwrap();
    let open = hither_proto::Message::RelayOpen {
        protocol: PROTOCOL,
        purpose: Some(RelayPurpose::Device),
    };
    write_message(&mut stream.send, &open).await.unwrap();
    let Stream { send, recv, .. } = stream;
    Relay {
        send,
        recv,
        reader: RelayReader::new(MAX_RELAY_FRAME),
    }
}

async fn asks(
    world: &World,
    device: &Device,
    origin: Option<&str>,
) -> Result<(Relay, Visiting), RelayRefusalCode> {
    come(pipe(world, device, origin).await, None).await
}

async fn with_askers() -> World {
    World::with(|settings| {
        settings.config.web.askers = vec![SITE.parse().unwrap()];
        settings.config.web.ask_bytes = Size(50_000);
        settings.config.web.asks_per_origin = 3;
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c8_a_page_asks_when_its_browser_says_that_it_is_of_a_site_that_may() {
    let world = with_askers().await;
    let others = [
        None,
        Some("null"),
        Some("http://shop.example"),
        Some("https://shop.example.evil.example"),
        Some("https://shop.example:444"),
        Some("https://evil.example"),
    ];
    for origin in others {
        assert_eq!(
            asks(&world, &Device::new(), origin).await.map(drop),
            Err(RelayRefusalCode::Role),
            "{origin:?}"
        );
    }
    // No page at all.
    let relay = Device::new()
        .relay(&world, RelayPurpose::Device, CarrierKind::Tcp)
        .await;
    assert_eq!(
        come(relay, None).await.map(drop),
        Err(RelayRefusalCode::Role)
    );
    let asker = Device::new();
    let (mut talk, told) = asks(&world, &asker, Some(SITE)).await.unwrap();
    assert_eq!((told.host, told.bytes), (None, 50_000));
    assert_eq!(
        told.origin.map(|origin| origin.to_string()).as_deref(),
        Some(SITE)
    );
    assert!((890..=900).contains(&told.seconds));
    let full = Err(RelayRefusalCode::Quota);
    for what in [invite(7, 900, 50_001, 1), invite(7, 900, 1_000, 5)] {
        assert_eq!(ask(&mut talk, what).await, full);
    }
    // For longer than it may ask: until its time is over.
    invited(&mut talk, invite(7, 3600, 50_000, 4)).await;
    assert_eq!(ask(&mut talk, invite(8, 900, 1_000, 1)).await, full);
    let guest = Device::new();
    let (mut visits, told) = visit(&guest, &world, 7).await.unwrap();
    assert_eq!(told.host, Some(asker.id()));
    assert_eq!(
        told.origin.map(|origin| origin.to_string()).as_deref(),
        Some(SITE)
    );
    assert!(told.seconds <= 900 && told.online);
    send(&mut visits, asker.id(), 1, "a picture").await.unwrap();
    assert_eq!(delivered(&mut talk).await.1, "a picture");
    send(&mut talk, guest.id(), 2, "thanks").await.unwrap();
    assert_eq!(delivered(&mut visits).await.1, "thanks");
    // A visitor's share is there for everybody who knows its ticket, for an hour.
    let version = Version::random(&guest, 1, 3, 1_000);
    place(&mut visits, version.share(), version.bytes())
        .await
        .unwrap();
    assert_eq!(
        guest.upload(&world, &version, usize::MAX).await.end,
        End::Done
    );
    let mut bulk = asker
        .read(&world, &Open::of(&version, Purpose::Bulk), CarrierKind::Tcp)
        .await
        .unwrap();
    bulk.want(1, 1, Space::Data, 0..3).await;
    assert_eq!(bulk.answer(1).await.chunks, version.all(Space::Data));
    invited(&mut talk, invite(7, 0, 50_000, 4)).await;
    assert_eq!(ended(&mut visits).await, RelayRefusalCode::Invitation);
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c8_an_asker_may_nothing_that_is_not_named_and_a_site_asks_so_often_at_a_time() {
    let world = with_askers().await;
    let host = world.somebody().await;
    let mut askers = Vec::new();
    for _ in 0..3 {
        askers.push(asks(&world, &Device::new(), Some(SITE)).await.unwrap().0);
    }
    assert_eq!(
        asks(&world, &Device::new(), Some(SITE)).await.map(drop),
        Err(RelayRefusalCode::Busy)
    );
    let talk = &mut askers[0];
    assert_eq!(
        send(talk, host.id(), 1, "x").await,
        Err(RelayRefusalCode::NotFound)
    );
    let role = Err(RelayRefusalCode::Role);
    assert_eq!(place(talk, ShareId::new([1; 16]), 10).await, role);
    for what in [
        OwnRequest::AskWake,
        OwnRequest::Contacts(vec![host.id()]),
        OwnRequest::Invite {
            devices: 1,
            seconds: 1,
            web: true,
        },
    ] {
        assert_eq!(ask(talk, what).await.map(drop), Err(RelayRefusalCode::Role));
    }
    // One that has done makes room.
    let talk = &mut askers[1];
    invited(talk, invite(7, 900, 1_000, 1)).await;
    invited(talk, invite(7, 0, 1_000, 1)).await;
    asks(&world, &Device::new(), Some(SITE)).await.unwrap();
    world.node.stop().await;
}

/// A page that is one of the user's devices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w3_a_page_is_a_device_that_changes_nothing_about_who_is_one() {
    let relay = Running::start(|_| {}).await;
    let (desk, page) = (Plain::new(), Plain::new());
    let mut home = desk.join(&relay, &relay.invite(1).await).await;
    let invitation = match own(&mut home, pages(true)).await {
        Ok(OwnAnswer::Invited(invitation)) => invitation,
        other => panic!("{other:?}"),
    };
    let mut talk = page.join(&relay, &invitation).await;
    assert_eq!(talk.user(), home.user());
    let web: Vec<_> = talk
        .welcome()
        .devices
        .iter()
        .map(|entry| entry.web)
        .collect();
    assert_eq!(web, [false, true]);
    let entry = home.until(page.id, |entry| entry.online).await;
    assert!(entry.web);
    for what in [
        pages(true),
        pages(false),
        OwnRequest::Remove { device: desk.id },
        invite(7, 60, 1, 1),
    ] {
        assert_eq!(own(&mut talk, what).await, Err(RelayRefusalCode::Role));
    }
    let nameplate = Word::of_bits(7);
    for what in [
        CodeRequest::Show {
            nameplate,
            ends: false,
        },
        CodeRequest::Invite,
    ] {
        talk.say(RelayMessage::Code { request: 9, what }).await;
        assert_eq!(failed(&mut talk).await, RelayRefusalCode::Role);
    }
    let group = hither_proto::GroupId::new([1; 32]);
    for what in [
        GroupRequest::Append {
            group,
            entry: Bytes::from_static(b"x"),
            keys: Vec::new(),
        },
        GroupRequest::Unask { group },
    ] {
        let what = Box::new(what);
        talk.say(RelayMessage::Group { request: 9, what }).await;
        assert_eq!(failed(&mut talk).await, RelayRefusalCode::Role);
    }
    // It writes and is written to as any of them.
    assert!(talk.send(1, desk.id, 1, "from the page").await.is_ok());
    assert_eq!(home.received().await, "from the page");
    // It is removed as any of them.
    let remove = OwnRequest::Remove { device: page.id };
    assert_eq!(own(&mut home, remove).await, Ok(OwnAnswer::Removed));
    assert_eq!(
        talk.ended().await.map(|refusal| refusal.code),
        Some(RelayRefusalCode::Revoked)
    );
    relay.running.stop().await;
}

fn pages(web: bool) -> OwnRequest {
    OwnRequest::Invite {
        devices: 1,
        seconds: 600,
        web,
    }
}

async fn failed(talk: &mut Talk) -> RelayRefusalCode {
    talk.find(|message| match message {
        RelayMessage::Failed {
            request: 9,
            refusal,
        } => Some(refusal.code),
        _ => None,
    })
    .await
}

async fn own(talk: &mut Talk, what: OwnRequest) -> Result<OwnAnswer, RelayRefusalCode> {
    talk.say(RelayMessage::Own { request: 9, what }).await;
    talk.find(|message| match message {
        RelayMessage::OwnAnswered { request: 9, answer } => Some(Ok(answer.clone())),
        RelayMessage::Failed {
            request: 9,
            refusal,
        } => Some(Err(refusal.code)),
        _ => None,
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w3_a_page_that_did_not_come_for_a_month_is_removed_and_no_other_device_is() {
    let relay = Running::start(|_| {}).await;
    let registry = &relay.running.node.registry;
    let user = registry.create_user("").await.unwrap();
    let (page, desk) = (Plain::new(), Plain::new());
    let valid = Duration::from_secs(60);
    let invitation = registry.invite_pages(&user, 1, valid).await.unwrap();
    assert!(
        registry
            .admit(&page.id, Some(&invitation))
            .await
            .unwrap()
            .web
    );
    let invitation = registry.invite(&user, 1, valid).await.unwrap();
    registry.admit(&desk.id, Some(&invitation)).await.unwrap();
    let came = registry
        .device(&page.id)
        .await
        .unwrap()
        .unwrap()
        .registered_ms;
    let month = 30 * 24 * 3600 * 1000;
    assert_eq!(registry.sweep_pages(came + month - 1).await.unwrap(), 0);
    registry.saw(&page.id).await.unwrap();
    let seen = registry.seen(&page.id).await.unwrap();
    assert_eq!(registry.sweep_pages(seen + month - 1).await.unwrap(), 0);
    assert_eq!(registry.sweep_pages(seen + month).await.unwrap(), 1);
    assert_eq!(registry.devices_of(&user).await.unwrap(), [desk.id]);
    assert!(registry.authorize(&page.id).await.is_err());
    assert_eq!(registry.sweep_pages(seen + month).await.unwrap(), 0);
    relay.running.stop().await;
}
