//! Hostile clients, from an address of their own: what they cost everybody else is measured by
//! another process beside them.
//!
//! Connections that never finish their handshake; strangers whose first frames are garbage, far too
//! long, or made-up invitations; and a device of some user that asks for what is not its own, as
//! fast as it can.

use crate::device::Device;
use crate::fleet::devices;
use crate::net::Net;
use crate::report::{Errors, tell};
use crate::{Failure, Options};
use bytes::Bytes;
use hither_carrier::Identity;
use hither_proto::{
    DeviceId, Invitation, MessageId, RelayMessage, RelayPurpose, ShareSecret, encode_relay_frame,
};
use serde_json::json;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, interval, sleep, timeout, timeout_at};

/// Where they come from.
const FROM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);
/// Connections that never finish their handshake, and how often each says a byte.
const SLOW: (usize, Duration) = (200, Duration::from_millis(500));
/// Strangers at the same time, and the pause of each between two tries.
const STRANGERS: (usize, Duration) = (4, Duration::from_millis(20));
/// How often the forger asks for something.
const FORGED: Duration = Duration::from_millis(2);

/// What was done to the relay.
#[derive(Debug, Default)]
struct Done {
    slow: AtomicU64,
    strangers: AtomicU64,
    forged: AtomicU64,
    granted: AtomicU64,
    errors: Errors,
}

pub async fn run(options: &Options, seconds: u64) -> Result<(), Failure> {
    let net = Arc::new(Net::from(options, FROM)?);
    let done = Arc::<Done>::default();
    let forger = devices(options, 1, 1).await?.remove(0);
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..SLOW.0 {
        let (net, done) = (Arc::clone(&net), Arc::clone(&done));
        tasks.spawn(timeout_at(until, async move { slow(&net, &done).await }));
    }
    for n in 0..STRANGERS.0 {
        let (net, done) = (Arc::clone(&net), Arc::clone(&done));
        tasks.spawn(timeout_at(
            until,
            async move { strange(&net, n, &done).await },
        ));
    }
    let (of, by) = (Arc::clone(&net), Arc::clone(&done));
    tasks.spawn(timeout_at(
        until,
        async move { forge(&of, &forger, &by).await },
    ));
    tell(&json!({ "event": "attacking" }), "attacking");
    while tasks.join_next().await.is_some() {}
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let value = json!({
        "what": "attack", "slow": count(&done.slow), "strangers": count(&done.strangers),
        "forged": count(&done.forged), "granted": count(&done.granted), "errors": done.errors.json(),
    });
    let words = format!(
        "attack: {} slow connections, {} strangers, {} forged requests, {} of them granted",
        count(&done.slow),
        count(&done.strangers),
        count(&done.forged),
        count(&done.granted),
    );
    tell(&value, &words);
    Ok(())
}

/// A handshake that takes for ever, again and again.
async fn slow(net: &Net, done: &Done) {
    loop {
        if let Ok(mut socket) = net.plain().await {
            done.slow.fetch_add(1, Ordering::Relaxed);
            // The beginning of a long TLS record, byte by byte.
            let mut ticks = interval(SLOW.1);
            for byte in [0x16, 3, 1, 0x3f, 0xff]
                .into_iter()
                .chain(std::iter::repeat(1))
            {
                ticks.tick().await;
                if socket.write_all(&[byte]).await.is_err() {
                    break;
                }
            }
        }
        sleep(SLOW.1).await;
    }
}

/// First frames that nobody should send.
async fn strange(net: &Net, number: usize, done: &Done) {
    let mut turn = 0u64;
    loop {
        turn += 1;
        sleep(STRANGERS.1).await;
        let Ok(identity) = Identity::generate() else {
            continue;
        };
        let opened = net
            .open(&Arc::new(identity), number, RelayPurpose::Device)
            .await;
        let mut wire = match opened {
            Ok(wire) => wire,
            Err(error) => {
                done.errors.add(&error);
                continue;
            }
        };
        let invitation = Some(Invitation::new([turn as u8; 16]));
        let first = match turn % 3 {
            0 => vec![0xff; 64],
            1 => [&1000u32.to_be_bytes()[..], &[0xa5; 1000]].concat(),
            _ => encode_relay_frame(&RelayMessage::Hello {
                invitation,
                instance: 0,
            })
            .to_vec(),
        };
        if wire.send.write_all(&first).await.is_ok() && wire.send.flush().await.is_ok() {
            done.strangers.fetch_add(1, Ordering::Relaxed);
            let mut rest = [0; 256];
            let _ = timeout(Duration::from_millis(200), wire.recv.read(&mut rest)).await;
        }
    }
}

/// A device that asks for what is not its own.
async fn forge(net: &Net, device: &Device, done: &Done) {
    let Ok(stranger) = Identity::generate() else {
        return;
    };
    let not_mine: DeviceId = stranger.device_id();
    loop {
        let mut held = match device.come(net).await {
            Ok(held) => held,
            Err(error) => {
                done.errors.add(&error);
                sleep(Duration::from_millis(500)).await;
                continue;
            }
        };
        let mut ticks = interval(FORGED);
        let mut request = 0;
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    request += 1;
                    let share = ShareSecret::new([request as u8; 16]).share_id();
                    let forged = match request % 2 {
                        0 => RelayMessage::Release { request, share },
                        _ => RelayMessage::Send {
                            request, to: not_mine, id: MessageId::new([request as u8; 16]),
                            sealed: Bytes::from_static(&[7; 512]), keep_s: 600,
                        },
                    };
                    if held.wire.say(&forged).await.is_err() {
                        break;
                    }
                    done.forged.fetch_add(1, Ordering::Relaxed);
                }
                heard = held.wire.hear() => match heard {
                    // A release of what was never there may be said to be done: there is nothing there, as wished.
                    Ok(RelayMessage::Sent { .. }) => drop(done.granted.fetch_add(1, Ordering::Relaxed)),
                    Ok(_) => {}
                    Err(_) => break,
                },
            }
        }
    }
}
