//! Messages from senders to readers, at a rate that does not wait for anybody.

use crate::Failure;
use crate::device::{Device, Held, spread};
use crate::report::{Errors, Times};
use bytes::Bytes;
use hither_proto::{DeviceId, MessageId, RelayMessage};
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use tokio::time::{MissedTickBehavior, interval_at, sleep_until};

/// A sender waits so long for the last answers, and a reader for the next message.
const LAST: Duration = Duration::from_secs(5);

/// Zero of the times in messages.
static ZERO: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What is to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Messages in a second, in all.
    pub rate: f64,
    pub seconds: u64,
    pub pairs: usize,
    /// Bytes of a message.
    pub size: usize,
}

/// What became of what was sent.
#[derive(Debug, Default)]
pub struct Sent {
    pub sent: u64,
    pub accepted: HashSet<[u8; 16]>,
    pub forwarded: u64,
    /// From the time at which it was due to the answer.
    pub times: Times,
    /// From the first message to the last answer.
    pub seconds: f64,
}

/// What a reader got.
#[derive(Debug, Default)]
pub struct Got {
    pub ids: HashSet<[u8; 16]>,
    pub again: u64,
    /// From the time at which it was due to be sent.
    pub times: Times,
}

impl Plan {
    fn period(&self) -> Duration {
        Duration::from_secs_f64(self.pairs as f64 / self.rate)
    }
}

fn micros(at: Instant) -> u64 {
    u64::try_from(at.saturating_duration_since(*ZERO).as_micros()).unwrap_or(u64::MAX)
}

fn message(plan: &Plan, device: &Device, request: u64, due: Instant, to: DeviceId) -> RelayMessage {
    let mut text = vec![7; plan.size.max(8)];
    text[..8].copy_from_slice(&micros(due).to_be_bytes());
    let mut id = [0; 16];
    id[..8].copy_from_slice(&device.id.as_bytes()[..8]);
    id[8..].copy_from_slice(&request.to_be_bytes());
    RelayMessage::Send {
        request,
        to,
        id: MessageId::new(id),
        sealed: Bytes::from(text),
        keep_s: 600,
    }
}

/// Sends what is planned for one pair, and hears what becomes of it.
pub async fn send(
    plan: Plan,
    device: Device,
    mut held: Held,
    to: DeviceId,
    errors: &Errors,
) -> Result<Sent, Failure> {
    let _ = *ZERO;
    let mut sent = Sent::default();
    let mut due_at: HashMap<u64, (Instant, [u8; 16])> = HashMap::new();
    let began = tokio::time::Instant::now() + spread(&device, plan.period());
    let end = began + Duration::from_secs(plan.seconds);
    let mut ticks = interval_at(began, plan.period());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut pings = interval_at(began + held.ping, held.ping);
    let mut open = true;
    loop {
        let result = tokio::select! {
            biased;
            due = ticks.tick(), if open => {
                if due >= end {
                    open = false;
                    continue;
                }
                let (request, due) = (sent.sent, due.into_std());
                let message = message(&plan, &device, request, due, to);
                if let RelayMessage::Send { id, .. } = &message {
                    due_at.insert(request, (due, *id.as_bytes()));
                }
                sent.sent += 1;
                held.wire.say(&message).await
            }
            heard = held.wire.hear() => match heard? {
                RelayMessage::Sent { request, forwarded } => {
                    if let Some((due, id)) = due_at.remove(&request) {
                        sent.times.add(due.elapsed());
                        sent.accepted.insert(id);
                        sent.forwarded += u64::from(forwarded);
                    }
                    sent.seconds = began.elapsed().as_secs_f64();
                    Ok(())
                }
                RelayMessage::Failed { request, refusal } => {
                    due_at.remove(&request);
                    errors.add(&format!("failed: {:?}", refusal.code));
                    Ok(())
                }
                RelayMessage::Ping { nonce } => held.wire.say(&RelayMessage::Pong { nonce }).await,
                _ => Ok(()),
            },
            _ = pings.tick() => held.wire.say(&RelayMessage::Ping { nonce: 1 }).await,
            () = sleep_until(end + LAST), if !open => {
                errors.add(&"not answered");
                return Ok(sent);
            }
        };
        result?;
        if !open && due_at.is_empty() {
            return Ok(sent);
        }
    }
}

/// Reads and acknowledges until, after `until`, nothing comes any more.
pub async fn receive(
    device: Device,
    mut held: Held,
    until: tokio::time::Instant,
) -> Result<Got, Failure> {
    let mut got = Got::default();
    let mut quiet = until + LAST;
    let mut pings = interval_at(
        tokio::time::Instant::now() + spread(&device, held.ping),
        held.ping,
    );
    loop {
        let result = tokio::select! {
            heard = held.wire.hear() => match heard? {
                RelayMessage::Deliver { seq, id, sealed, .. } => {
                    let due = sealed.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
                    got.times.add(Duration::from_micros(micros(Instant::now()).saturating_sub(due)));
                    got.again += u64::from(!got.ids.insert(*id.as_bytes()));
                    quiet = quiet.max(tokio::time::Instant::now() + LAST);
                    held.wire.say(&RelayMessage::Received { seq }).await
                }
                RelayMessage::Ping { nonce } => held.wire.say(&RelayMessage::Pong { nonce }).await,
                _ => Ok(()),
            },
            _ = pings.tick() => held.wire.say(&RelayMessage::Ping { nonce: 1 }).await,
            () = sleep_until(quiet) => return Ok(got),
        };
        result?;
    }
}
