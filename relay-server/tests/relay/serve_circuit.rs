//! Circuits, by everyone who may ask for one: who is joined with whom, what is passed on, and how
//! it ends.

use crate::storing_common::{Device, Relay, World, random, soon};
use hither_carrier::CarrierKind;
use hither_proto::{
    CircuitId, CircuitMessage, DeviceId, Knock, RelayMessage, RelayRefusalCode, ShareSecret, UserId,
};
use hither_relay::config::{Config, Size, Span};
use hither_relay::ops::labels::{Reason, Service};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn world(change: impl FnOnce(&mut Config)) -> (World, UserId) {
    let world = World::with(|settings| change(&mut settings.config)).await;
    let user = world.user().await;
    (world, user)
}

fn knock(from: &Device, to: DeviceId) -> Knock {
    Knock::make(
        &ShareSecret::new([1; 16]),
        &from.id(),
        &to,
        [7; Knock::SALT],
    )
}

fn connect(from: &Device, to: DeviceId) -> CircuitMessage {
    CircuitMessage::Connect {
        to,
        knock: knock(from, to),
    }
}

/// What is said of a circuit, or why there is none.
async fn heard(relay: &mut Relay) -> Result<CircuitMessage, RelayRefusalCode> {
    match relay.hear().await {
        RelayMessage::Circuit(message) => Ok(*message),
        RelayMessage::Refused(refusal) => Err(refusal.code),
        other => panic!("{other:?}"),
    }
}

/// The next circuit that is offered on a long connection.
async fn offered(talk: &mut Relay) -> (CircuitId, DeviceId, Knock) {
    let offer = |message| match message {
        RelayMessage::Circuit(message) => match *message {
            CircuitMessage::Incoming {
                circuit,
                from,
                knock,
            } => Some((circuit, from, knock)),
            other => panic!("{other:?}"),
        },
        _ => None,
    };
    talk.find(offer).await
}

/// Both ends of a circuit from one device to another, whose long connection is `talk`.
async fn joined(
    world: &World,
    (from, by): (&Device, CarrierKind),
    (to, at): (&Device, CarrierKind),
    talk: &mut Relay,
) -> (Relay, Relay) {
    let mut caller = from.circuit(world, connect(from, to.id()), by).await;
    let (circuit, who, shown) = offered(talk).await;
    assert_eq!((who, shown), (from.id(), knock(from, to.id())));
    let mut called = to
        .circuit(world, CircuitMessage::Accept { circuit }, at)
        .await;
    assert_eq!(heard(&mut called).await, Ok(CircuitMessage::Connected));
    assert_eq!(heard(&mut caller).await, Ok(CircuitMessage::Connected));
    (caller, called)
}

/// Whether nothing more comes of a stream.
async fn has_ended(relay: &mut Relay) {
    let mut rest = Vec::new();
    soon(async { while matches!(relay.recv.read_buf(&mut rest).await, Ok(1..)) {} }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_arrives_and_each_way_ends_by_itself() {
    let (world, user) = world(|_| {}).await;
    let (one, two) = (world.device(&user).await, world.device(&user).await);
    let mut talk = two.talk(&world).await;
    let kinds = [CarrierKind::Quic, CarrierKind::Tcp];
    for (by, at) in kinds.into_iter().flat_map(|by| kinds.map(|at| (by, at))) {
        let (caller, called) = joined(&world, (&one, by), (&two, at), &mut talk).await;
        let (there, back) = (random(3_000_000), random(2_000_000));
        let (mut caller_send, mut caller_recv) = (caller.send, caller.recv);
        let (mut called_send, mut called_recv) = (called.send, called.recv);
        let asks = async {
            caller_send.write_all(&there).await.unwrap();
            caller_send.finish().await.unwrap();
            let mut got = Vec::new();
            caller_recv.read_to_end(&mut got).await.unwrap();
            got
        };
        let answers = async {
            let mut got = Vec::new();
            // The end of one way comes while the other one goes on.
            called_recv.read_to_end(&mut got).await.unwrap();
            called_send.write_all(&back).await.unwrap();
            called_send.finish().await.unwrap();
            got
        };
        let (got_back, got_there) = soon(async { tokio::join!(asks, answers) }).await;
        assert!(got_there == there && got_back == back, "{by} to {at}");
    }
    let metrics = &world.node.metrics;
    assert_eq!(
        (metrics.circuits_opened.get(), metrics.circuit_bytes.get()),
        (4, 4 * 5_000_000)
    );
    soon(async {
        while metrics.circuits.get() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // Cut-off data does not pass for complete.
    let (mut caller, mut called) = joined(
        &world,
        (&one, CarrierKind::Quic),
        (&two, CarrierKind::Quic),
        &mut talk,
    )
    .await;
    caller.send.write_all(b"the beginning of").await.unwrap();
    let mut got = [0; 16];
    called.recv.read_exact(&mut got).await.unwrap();
    caller.send.reset();
    soon(called.recv.read_to_end(&mut Vec::new()))
        .await
        .unwrap_err();
}

/// Every caller, where the operator lets guests in and where not, while the device is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_ask_for_a_circuit() {
    use RelayRefusalCode::{NotRegistered, Revoked, Role};
    type Change = fn(&mut Config);
    let all: [(Change, [Option<RelayRefusalCode>; 4]); 4] = [
        (|_| {}, [None, None, None, Some(Revoked)]),
        (
            |config| config.circuit.guests = false,
            [None, None, Some(NotRegistered), Some(Revoked)],
        ),
        (
            |config| config.guests = false,
            [None, None, Some(NotRegistered), Some(Revoked)],
        ),
        (|config| config.circuit.enabled = false, [Some(Role); 4]),
    ];
    for (change, expected) in all {
        let (world, user) = world(change).await;
        let owner = world.device(&user).await;
        let (sibling, other) = (world.device(&user).await, world.somebody().await);
        let (stranger, revoked) = (Device::new(), world.device(&user).await);
        world.node.registry.revoke(&revoked.id()).await.unwrap();
        let mut talk = owner.talk(&world).await;
        for (caller, expected) in [&sibling, &other, &stranger, &revoked]
            .into_iter()
            .zip(expected)
        {
            match expected {
                None => {
                    let (caller, owner) =
                        ((caller, CarrierKind::Quic), (&owner, CarrierKind::Quic));
                    drop(joined(&world, caller, owner, &mut talk).await);
                }
                Some(code) => {
                    let mut end = caller
                        .circuit(&world, connect(caller, owner.id()), CarrierKind::Quic)
                        .await;
                    assert_eq!(heard(&mut end).await, Err(code));
                }
            }
        }
        // Nobody is joined with itself.
        let mut own = owner
            .circuit(&world, connect(&owner, owner.id()), CarrierKind::Quic)
            .await;
        let answer = heard(&mut own).await;
        assert!(
            matches!(answer, Err(RelayRefusalCode::NotFound | Role)),
            "{answer:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_was_asked_can_take_a_circuit_and_nobody_waits_for_long() {
    let (world, user) = world(|config| config.circuit.accept = Span::millis(700)).await;
    let (one, two, three) = (
        world.device(&user).await,
        world.device(&user).await,
        world.device(&user).await,
    );
    let mut talk = two.talk(&world).await;
    let mut caller = one
        .circuit(&world, connect(&one, two.id()), CarrierKind::Quic)
        .await;
    let (circuit, ..) = offered(&mut talk).await;
    // Neither another device nor the caller itself.
    for thief in [&three, &one, &Device::new()] {
        let mut end = thief
            .circuit(
                &world,
                CircuitMessage::Accept { circuit },
                CarrierKind::Quic,
            )
            .await;
        assert_eq!(heard(&mut end).await, Err(RelayRefusalCode::NotFound));
    }
    let mut called = two
        .circuit(
            &world,
            CircuitMessage::Accept { circuit },
            CarrierKind::Quic,
        )
        .await;
    assert_eq!(heard(&mut called).await, Ok(CircuitMessage::Connected));
    assert_eq!(heard(&mut caller).await, Ok(CircuitMessage::Connected));
    let mut again = two
        .circuit(
            &world,
            CircuitMessage::Accept { circuit },
            CarrierKind::Quic,
        )
        .await;
    assert_eq!(
        heard(&mut again).await,
        Err(RelayRefusalCode::NotFound),
        "once"
    );
    // Declined: at once. Not answered: in time. Not there: the same answer.
    let asked = Instant::now();
    let mut declined = one
        .circuit(&world, connect(&one, two.id()), CarrierKind::Quic)
        .await;
    let (circuit, ..) = offered(&mut talk).await;
    talk.say(&RelayMessage::Circuit(Box::new(CircuitMessage::Decline {
        circuit,
    })))
    .await;
    assert_eq!(heard(&mut declined).await, Err(RelayRefusalCode::NotFound));
    assert!(
        asked.elapsed() < Duration::from_millis(600),
        "{:?}",
        asked.elapsed()
    );
    let asked = Instant::now();
    let mut expired = one
        .circuit(&world, connect(&one, two.id()), CarrierKind::Quic)
        .await;
    let (circuit, ..) = offered(&mut talk).await;
    assert_eq!(heard(&mut expired).await, Err(RelayRefusalCode::NotFound));
    assert!(asked.elapsed() >= Duration::from_millis(700));
    let mut late = two
        .circuit(
            &world,
            CircuitMessage::Accept { circuit },
            CarrierKind::Quic,
        )
        .await;
    assert_eq!(heard(&mut late).await, Err(RelayRefusalCode::NotFound));
    let mut absent = one
        .circuit(&world, connect(&one, three.id()), CarrierKind::Quic)
        .await;
    assert_eq!(heard(&mut absent).await, Err(RelayRefusalCode::NotFound));
    assert!(
        world
            .node
            .metrics
            .refusals
            .get(Service::Circuit, Reason::NotFound)
            >= 7
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_are_refused_and_harm_nobody() {
    let (world, user) = world(|config| {
        (config.circuit.device, config.circuit.guest_device) = (2, 1);
    })
    .await;
    let (one, two, three) = (
        world.device(&user).await,
        world.device(&user).await,
        world.device(&user).await,
    );
    let (mut talk, mut other) = (two.talk(&world).await, three.talk(&world).await);
    let (quic, guest) = (CarrierKind::Quic, Device::new());
    let (mut caller, mut called) = joined(&world, (&one, quic), (&two, quic), &mut talk).await;
    let held = joined(&world, (&guest, quic), (&two, quic), &mut talk).await;
    // The guest's own bound, and that of the device that is asked for.
    for from in [&guest, &three] {
        let mut end = from.circuit(&world, connect(from, two.id()), quic).await;
        assert_eq!(heard(&mut end).await, Err(RelayRefusalCode::Busy));
    }
    // The others go on, and a place that is given back can be had.
    caller.send.write_all(b"still here").await.unwrap();
    let mut got = [0; 10];
    soon(called.recv.read_exact(&mut got)).await.unwrap();
    let _more = joined(&world, (&one, quic), (&three, quic), &mut other).await;
    drop(held);
    soon(async {
        while world.node.metrics.circuits.get() > 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let _again = joined(&world, (&guest, quic), (&two, quic), &mut talk).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_circuit_ends_with_its_device_with_silence_and_with_the_relay() {
    let (world, user) = world(|config| config.circuit.idle = Span::millis(1500)).await;
    let quic = CarrierKind::Quic;
    for revoke_caller in [true, false] {
        let (one, two) = (world.device(&user).await, world.device(&user).await);
        let mut talk = two.talk(&world).await;
        let (mut caller, mut called) = joined(&world, (&one, quic), (&two, quic), &mut talk).await;
        let revoked = if revoke_caller { one.id() } else { two.id() };
        let since = Instant::now();
        world.node.registry.revoke(&revoked).await.unwrap();
        has_ended(&mut caller).await;
        has_ended(&mut called).await;
        assert!(
            since.elapsed() < Duration::from_millis(1400),
            "{:?}",
            since.elapsed()
        );
    }
    let (one, two) = (world.device(&user).await, world.device(&user).await);
    let mut talk = two.talk(&world).await;
    let (mut caller, mut called) = joined(&world, (&one, quic), (&two, quic), &mut talk).await;
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(4) {
        caller.send.write_all(b"x").await.unwrap();
        called.recv.read_exact(&mut [0]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    has_ended(&mut called).await;
    let mut talk = two.talk(&world).await;
    let (mut caller, _called) = joined(&world, (&one, quic), (&two, quic), &mut talk).await;
    world.node.stop().await;
    has_ended(&mut caller).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_is_kept_for_guests_and_not_for_others() {
    const SIZE: usize = 3 << 20;
    let (world, user) = world(|config| config.circuit.guest_rate = Size(1 << 20)).await;
    let (one, two, guest) = (
        world.device(&user).await,
        world.device(&user).await,
        Device::new(),
    );
    let mut talk = two.talk(&world).await;
    let mut took = Vec::new();
    for from in [&one, &guest] {
        let quic = CarrierKind::Quic;
        let (mut caller, mut called) = joined(&world, (from, quic), (&two, quic), &mut talk).await;
        let (sent, since) = (random(SIZE), Instant::now());
        let send = async {
            caller.send.write_all(&sent).await.unwrap();
            caller.send.finish().await.unwrap();
        };
        let mut got = Vec::new();
        let (read, ()) =
            soon(async { tokio::join!(called.recv.read_to_end(&mut got), send) }).await;
        read.unwrap();
        assert!(got == sent);
        took.push(since.elapsed());
    }
    // One MiB at once, and two more in two seconds.
    assert!(
        took[1] >= Duration::from_millis(1800) && took[0] < took[1],
        "{took:?}"
    );
}
