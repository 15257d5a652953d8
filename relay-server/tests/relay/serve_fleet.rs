//! Several nodes: one keeps the state, others ask it (B7, B8, E1, E2, E6), and what a node does
//! before it goes.

use crate::serve_common::{Device, Relay, SOON, Talk, refused};
use hither_proto::{
    DeviceId, Invitation, Nearness, OwnRequest, RelayAddress, RelayMessage, RelayRefusal,
    RelayRefusalCode, ShareId,
};
use hither_relay::config::{Role, Size, Span};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

/// A fleet's token in a file.
#[allow(clippy::expect_used, reason = "clippy does not take this for a test")]
fn token(dir: &TempDir, text: &str) -> PathBuf {
    let path = dir.path().join("token");
    std::fs::write(&path, text).expect("a file can be written");
    path
}

const SECRET: &str = "the secret of this fleet, long enough";

/// The node that keeps the state, with these roles beside.
async fn control(dir: &TempDir, roles: &[Role]) -> Relay {
    let file = token(dir, SECRET);
    Relay::start(|config| {
        config.roles = [&[Role::Control, Role::Assign], roles].concat();
        config.fleet.token_file = Some(file);
        config.fleet.silence = Span::secs(2);
    })
    .await
}

/// Another node of the same fleet.
async fn node(control: &Relay, dir: &TempDir, roles: &[Role], free: u64) -> Relay {
    let file = dir.path().join("token");
    let url = control.running.url.to_string();
    Relay::start(|config| {
        config.roles = roles.to_vec();
        config.fleet.token_file = Some(file);
        config.fleet.control = url;
        config.fleet.silence = Span::secs(2);
        config.store.total_quota = Size(free);
    })
    .await
}

fn key(relay: &Relay) -> DeviceId {
    relay.running.node.id()
}

async fn place(
    talk: &mut Talk,
    share: u8,
    bytes: u64,
    near: Vec<Nearness>,
) -> Result<RelayAddress, RelayRefusal> {
    let request = u64::from(share);
    talk.say(RelayMessage::Place {
        request,
        share: ShareId::new([share; 16]),
        bytes,
        near,
    })
    .await;
    talk.find(|message| match message {
        RelayMessage::Placed { request: of, store } if *of == request => Some(Ok(store.clone())),
        RelayMessage::Failed {
            request: of,
            refusal,
        } if *of == request => Some(Err(*refusal)),
        _ => None,
    })
    .await
}

async fn release(talk: &mut Talk, share: u8) -> Result<(), RelayRefusal> {
    let request = 1000 + u64::from(share);
    talk.say(RelayMessage::Release {
        request,
        share: ShareId::new([share; 16]),
    })
    .await;
    talk.find(|message| match message {
        RelayMessage::Released { request: of } if *of == request => Some(Ok(())),
        RelayMessage::Failed {
            request: of,
            refusal,
        } if *of == request => Some(Err(*refusal)),
        _ => None,
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e1_e6_two_fronts_behind_one_assignment_are_one_relay() {
    let dir = tempfile::tempdir().unwrap();
    let control = control(&dir, &[]).await;
    let (left, right) = (
        node(&control, &dir, &[Role::Front], 0).await,
        node(&control, &dir, &[Role::Front], 0).await,
    );
    let (one, two) = (Device::new(), Device::new());
    let mut assigned = Vec::new();
    while assigned.len() < 2 {
        // The last one was announced a moment ago.
        assigned = one.assigned(&control.address()).await.unwrap();
        sleep(Duration::from_millis(50)).await;
    }
    assert!(assigned.contains(&left.address()) && assigned.contains(&right.address()));
    refused(
        one.hello(&control.address(), None).await.map(drop),
        RelayRefusalCode::Role,
    );

    let invitation = control.invite(2).await;
    let mut first = one.join(&left, &invitation).await;
    let begun = Instant::now();
    let mut second = two.join(&right, &invitation).await;
    assert!(
        second
            .welcome()
            .devices
            .iter()
            .any(|entry| entry.device == one.id && entry.online)
    );
    first
        .until(two.id, |entry| entry.online && entry.same_network)
        .await;
    assert!(begun.elapsed() < Duration::from_secs(2));

    let reading = tokio::spawn(async move {
        let text = second.received().await;
        (second, text)
    });
    assert_eq!(first.send(1, two.id, 1, "across").await, Ok(true));
    let (mut second, text) = reading.await.unwrap();
    assert_eq!(text, "across");
    // A burst keeps its order.
    for at in 0..40u64 {
        first
            .post(at + 10, two.id, [at as u8 + 10; 16], &at.to_string())
            .await;
    }
    for at in 0..40 {
        assert_eq!(second.received().await, at.to_string());
    }

    // The device moves to the other front: mail follows.
    let mut moved = two.hello(&left.address(), None).await.unwrap();
    assert_eq!(second.ended().await, None);
    first.post(90, two.id, [90; 16], "moved").await;
    // The last acknowledgements may have been on their way: what they were for comes again, and in
    // order.
    let mut before = 0;
    while let Ok(again) = moved.received().await.parse::<u64>() {
        assert!(std::mem::replace(&mut before, again) <= again);
    }

    // Revoked at the node that keeps the state, put out at the front.
    let begun = Instant::now();
    control.running.node.registry.revoke(&two.id).await.unwrap();
    assert_eq!(
        moved.ended().await.map(|why| why.code),
        Some(RelayRefusalCode::Revoked)
    );
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    for relay in [left, right, control] {
        relay.running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_front_that_dies_takes_its_devices_off_the_list_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let control = control(&dir, &[Role::Front]).await;
    let other = node(&control, &dir, &[Role::Front], 0).await;
    let (one, two) = (Device::new(), Device::new());
    let invitation = control.invite(2).await;
    let mut first = one.join(&control, &invitation).await;
    let second = two.join(&other, &invitation).await;
    first.until(two.id, |entry| entry.online).await;
    first.forget();
    let dead = key(&other);
    other.running.kill().await;
    drop(second);
    first.until(two.id, |entry| !entry.online).await;
    let begun = Instant::now();
    loop {
        let assigned = one.assigned(&control.address()).await.unwrap();
        if assigned.iter().all(|front| front.key != dead) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(5));
        sleep(Duration::from_millis(300)).await;
    }
    control.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_state_may_go_and_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let file = token(&dir, SECRET);
    // Below the ports that systems give out by themselves, so that it is still free after the
    // restart.
    let port = 20_000 + (std::process::id() % 10_000) as u16;
    let change = |config: &mut hither_relay::config::Config| {
        config.roles = vec![Role::Control, Role::Assign];
        config.fleet.token_file = Some(file.clone());
        config.fleet.silence = Span::secs(2);
        config.port = port;
    };
    let control = Relay::start(change).await;
    let front = node(&control, &dir, &[Role::Front], 0).await;
    let (one, two) = (Device::new(), Device::new());
    let invitation = control.invite(2).await;
    let mut first = one.join(&front, &invitation).await;
    let mut second = two.join(&front, &invitation).await;
    first.until(two.id, |entry| entry.online).await;
    let control = control.restart(change).await;
    // The devices stay connected, and what they send gets through when the state is back.
    let begun = Instant::now();
    let mut id = 1;
    while first.send(id, two.id, id as u8, "after all").await.is_err() {
        assert!(begun.elapsed() < SOON);
        id += 1;
    }
    assert_eq!(second.received().await, "after all");
    // Presence is put anew.
    let third = timeout(SOON, async {
        loop {
            match two.hello(&front.address(), None).await {
                Ok(talk) if talk.welcome().devices.iter().all(|entry| entry.online) => return talk,
                Ok(_) => {}
                // The front has no session yet.
                Err(refusal) => assert_eq!(refusal.code, RelayRefusalCode::Busy),
            }
            sleep(Duration::from_millis(700)).await;
        }
    });
    drop(third.await.unwrap());
    front.running.stop().await;
    control.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_the_secret_does_not_join() {
    let dir = tempfile::tempdir().unwrap();
    let control = control(&dir, &[]).await;
    let wrong = tempfile::tempdir().unwrap();
    let file = token(&wrong, "another secret, also long enough");
    let url = control.running.url.to_string();
    let data = tempfile::tempdir().unwrap();
    let config = hither_relay::config::Config {
        data: Some(data.path().join("data")),
        port: 0,
        loopback_only: true,
        extra_tcp_ports: Vec::new(),
        roles: vec![Role::Front],
        fleet: hither_relay::config::FleetConfig {
            control: url,
            token_file: Some(file),
            silence: Span::secs(2),
        },
        ..hither_relay::config::Config::default()
    };
    let failed = timeout(SOON, hither_relay::start::start(config))
        .await
        .expect("it goes on trying");
    assert!(failed.is_err());
    control.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b5_b8_a_share_goes_to_the_nearest_store_with_room_and_stays_there() {
    let dir = tempfile::tempdir().unwrap();
    let control = control(&dir, &[Role::Front]).await;
    let small = node(&control, &dir, &[Role::Store], 1_000).await;
    let large = node(&control, &dir, &[Role::Store], 1_000_000).await;
    let device = Device::new();
    let invitation = control.invite(2).await;
    let mut talk = device.join(&control, &invitation).await;
    while talk.welcome().stores.len() < 2 {
        sleep(Duration::from_millis(50)).await;
        talk = device.join(&control, &invitation).await;
    }
    let stores: Vec<_> = talk
        .welcome()
        .stores
        .iter()
        .map(|store| store.key)
        .collect();
    assert_eq!(
        stores,
        [key(&large), key(&small)],
        "those with most room first"
    );
    let (small_key, large_key) = (key(&small), key(&large));
    let near = |small_us, large_us| {
        vec![
            Nearness {
                store: small_key,
                rtt_us: small_us,
            },
            Nearness {
                store: large_key,
                rtt_us: large_us,
            },
        ]
    };
    // Without measurements, or as near: the one with most room.
    assert_eq!(
        place(&mut talk, 1, 100, Vec::new()).await.unwrap().key,
        key(&large)
    );
    assert_eq!(
        place(&mut talk, 2, 100, near(300, 1_500))
            .await
            .unwrap()
            .key,
        key(&large)
    );
    // Much nearer counts more than room, as long as there is enough.
    assert_eq!(
        place(&mut talk, 3, 600, near(300, 50_000)).await.unwrap(),
        small.address()
    );
    assert_eq!(
        place(&mut talk, 4, 600, near(300, 50_000))
            .await
            .unwrap()
            .key,
        key(&large),
        "400 are left"
    );
    // The same share stays, whatever is measured now.
    assert_eq!(
        place(&mut talk, 3, 600, near(90_000, 300))
            .await
            .unwrap()
            .key,
        key(&small)
    );
    refused(
        place(&mut talk, 5, 10_000_000, Vec::new()).await,
        RelayRefusalCode::NoSpace,
    );
    // Given back, the room can be had again.
    release(&mut talk, 3).await.unwrap();
    refused(release(&mut talk, 3).await, RelayRefusalCode::NotFound);
    assert_eq!(
        place(&mut talk, 6, 600, near(300, 50_000))
            .await
            .unwrap()
            .key,
        key(&small)
    );
    // When a store is gone, what it had is placed elsewhere.
    small.running.kill().await;
    let begun = Instant::now();
    while place(&mut talk, 6, 600, near(300, 50_000))
        .await
        .unwrap()
        .key
        != key(&large)
    {
        assert!(begun.elapsed() < Duration::from_secs(10));
        sleep(Duration::from_millis(200)).await;
    }
    large.running.stop().await;
    control.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b5_a_users_quota_holds_over_all_shares_and_devices() {
    let relay = Relay::start(|config| {
        config.place.user_quota = Size(1000);
        config.place.user_shares = 4;
    })
    .await;
    let devices = [Device::new(), Device::new(), Device::new()];
    let (invitation, foreign) = (relay.invite(2).await, relay.invite(1).await);
    let mut first = devices[0].join(&relay, &invitation).await;
    let mut second = devices[1].join(&relay, &invitation).await;
    let mut stranger = devices[2].join(&relay, &foreign).await;
    place(&mut first, 1, 600, Vec::new()).await.unwrap();
    refused(
        place(&mut second, 2, 500, Vec::new()).await,
        RelayRefusalCode::Quota,
    );
    place(&mut stranger, 2, 500, Vec::new()).await.unwrap();
    // A share's id says nothing of whose it is: each has its own, and nobody can release another's.
    place(&mut stranger, 1, 100, Vec::new()).await.unwrap();
    refused(release(&mut second, 1).await, RelayRefusalCode::NotFound);
    release(&mut stranger, 1).await.unwrap();
    // Smaller is always possible, and makes room as nothing was uploaded yet.
    place(&mut first, 1, 500, Vec::new()).await.unwrap();
    place(&mut second, 2, 500, Vec::new()).await.unwrap();
    refused(
        place(&mut second, 2, 501, Vec::new()).await,
        RelayRefusalCode::Quota,
    );
    release(&mut first, 1).await.unwrap();
    for share in 3..6 {
        place(&mut second, share, 1, Vec::new()).await.unwrap();
    }
    refused(
        place(&mut second, 6, 1, Vec::new()).await,
        RelayRefusalCode::Quota,
    );
    relay.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_goes_down_says_where_to_go() {
    let dir = tempfile::tempdir().unwrap();
    let control = control(&dir, &[Role::Front]).await;
    let other = node(&control, &dir, &[Role::Front], 0).await;
    let (one, two) = (Device::new(), Device::new());
    let invitation = control.invite(2).await;
    let mut first = one.join(&other, &invitation).await;
    let address = other.address();
    let stopping = tokio::spawn(other.running.stop());
    let relays = first
        .find(|message| match message {
            RelayMessage::Move { relays } => Some(relays.clone()),
            _ => None,
        })
        .await;
    assert_eq!(relays, [control.address()]);
    // Nobody is sent there or let in any more, while who is there is still served.
    assert!(
        !two.assigned(&control.address())
            .await
            .unwrap()
            .contains(&address)
    );
    let moved = one.hello(&relays[0], None).await.unwrap();
    assert_eq!(
        first.ended().await,
        None,
        "the newer connection replaces the older"
    );
    timeout(Duration::from_secs(10), stopping)
        .await
        .unwrap()
        .unwrap();
    drop(moved);
    control.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w2_an_invitation_that_ends_at_one_node_cuts_who_is_at_another() {
    let dir = tempfile::tempdir().unwrap();
    let control = control(&dir, &[]).await;
    let (left, right) = (
        node(&control, &dir, &[Role::Front], 0).await,
        node(&control, &dir, &[Role::Front], 0).await,
    );
    let (host, guest) = (Device::new(), Device::new());
    let mut home = host.join(&left, &control.invite(1).await).await;
    let token = Invitation::new([7; 16]);
    let invite = async |home: &mut Talk, seconds| {
        let what = OwnRequest::InviteVisitors {
            invitation: token.clone(),
            seconds,
            bytes: 1000,
            visitors: 1,
        };
        home.say(RelayMessage::Own { request: 9, what }).await;
        home.find(|message| match message {
            RelayMessage::OwnAnswered { request: 9, .. } => Some(()),
            _ => None,
        })
        .await;
    };
    invite(&mut home, 3600).await;
    let mut visits = guest.visit(&right.address(), &token).await.unwrap();
    // Letters pass between the nodes, both ways.
    assert!(visits.send(1, host.id, 1, "from elsewhere").await.is_ok());
    assert_eq!(home.received().await, "from elsewhere");
    assert!(home.send(2, guest.id, 2, "across").await.is_ok());
    assert_eq!(visits.received().await, "across");
    invite(&mut home, 0).await;
    assert_eq!(
        visits.ended().await.map(|refusal| refusal.code),
        Some(RelayRefusalCode::Invitation)
    );
    for relay in [left, right, control] {
        relay.running.stop().await;
    }
}
