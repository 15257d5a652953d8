//! Letters from device to device on this network, without a relay.
//!
//! Invariants: a letter is taken only from a device that may send (the user's own, and those that
//! the user said yes to), looked up for every letter; it is answered for only when it is durable. A
//! letter whose predecessor has not come is put off for a while ([`EARLY`]): the one before it may
//! still be on its way by a relay, and its sender then takes that way too.

use super::MailService;
use futures::future::BoxFuture;
use hither_carrier::{MessageReader, Stream, write_message};
use hither_proto::limits::{MAX_FRAME, MAX_MESSAGE};
use hither_proto::{DeviceId, DevicePurpose, Letter, Message, MessageId, Refusal};
use hither_relay_client::{Delivery, RelayConnection, RequestError};
use hither_swarm::{DeviceStreams, OpenError, answer, broken};
use hither_util::clock::unix_millis;
use hither_util::sync::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// How long a stream of letters may be silent.
const SILENT: Duration = Duration::from_secs(30);
/// Most letters that are being made durable at once; each is up to 256 KiB.
const MAX_AT_ONCE: usize = 16;
/// When to come back if they are too many, or the inbox is full, milliseconds.
const LATER_MS: u32 = 5_000;

/// How long a letter waits for the one before it, which may have been taken back or given up.
const EARLY: Duration = Duration::from_secs(15);
/// When the sender of such a letter comes back, milliseconds.
const EARLY_MS: u32 = 1_000;
/// Most senders whose letters wait for another one.
const MAX_EARLY: usize = 256;

/// The room for letters that come at once, and those that came too early.
pub(super) struct Room {
    places: Semaphore,
    /// The letter that each sender's wait for, and since when.
    early: Mutex<HashMap<DeviceId, (MessageId, Instant)>>,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            places: Semaphore::new(MAX_AT_ONCE),
            early: Mutex::default(),
        }
    }
}

impl Room {
    /// Returns whether a letter that lacks the one before it is put off.
    fn puts_off(&self, from: DeviceId, letter: MessageId, now: Instant) -> bool {
        let mut early = self.early.lock();
        if early.len() >= MAX_EARLY {
            early.retain(|_, (_, since)| now.duration_since(*since) < EARLY);
        }
        if early.len() >= MAX_EARLY && !early.contains_key(&from) {
            return false;
        }
        let (waits, since) = early.entry(from).or_insert((letter, now));
        if *waits != letter {
            (*waits, *since) = (letter, now);
        }
        now.duration_since(*since) < EARLY
    }
}

/// Sends one letter to a device on this network; it is durable there when this returns.
///
/// Errors: the device is not reached, does not know this one (`Refused(NotFound)`), or has no room.
pub(super) async fn send(
    mail: &MailService,
    to: DeviceId,
    id: MessageId,
    sealed: Vec<u8>,
) -> Result<(), OpenError> {
    let swarm = &mail.nearby.swarm;
    let (mut stream, mut reader) = swarm.open_device_stream(to, DevicePurpose::Mail).await?;
    let letter = Message::Letter(Letter {
        id,
        sealed: sealed.into(),
    });
    write_message(&mut stream.send, &letter)
        .await
        .map_err(broken)?;
    match answer(&mut stream, &mut reader).await? {
        Message::LetterTaken { id: taken } if taken == id => Ok(()),
        _ => Err(broken("the other side answered something else")),
    }
}

impl MailService {
    /// Takes one letter that came directly.
    async fn take_letter(self: &Arc<Self>, from: DeviceId, letter: Letter) -> Message {
        if !self.nearby.may_send(from) {
            tracing::debug!(?from, "a letter of a stranger is refused");
            return Message::Refused(Refusal::NotFound);
        }
        let Ok(_place) = self.direct_room.places.try_acquire() else {
            return Message::Refused(Refusal::Busy(LATER_MS));
        };
        let id = letter.id;
        let delivery = Delivery {
            seq: 1,
            from,
            id,
            taken_ms: unix_millis(),
            sealed: letter.sealed,
        };
        let of = Arc::clone(self);
        let take = move || {
            of.nearby.known().met(from);
            if of.inbox.lacks(&of.identity, &delivery)?
                && of.direct_room.puts_off(from, id, Instant::now())
            {
                return Ok(None);
            }
            of.take_all(&[delivery]).map(Some)
        };
        let taken = tokio::task::spawn_blocking(take).await;
        let taken = match taken {
            Ok(Ok(None)) => {
                tracing::debug!(?from, "a letter came before an earlier one");
                return Message::Refused(Refusal::Busy(EARLY_MS));
            }
            Ok(Ok(Some((taken, declines)))) => {
                super::tell_declined(declines).await;
                Ok(Ok(taken))
            }
            Ok(Err(error)) => Ok(Err(error)),
            Err(error) => Err(error),
        };
        match taken {
            Ok(Ok(taken)) if taken.full => Message::Refused(Refusal::Busy(LATER_MS)),
            Ok(Ok(taken)) => {
                if taken.new > 0 {
                    tracing::info!("a message arrived directly");
                }
                Message::LetterTaken { id }
            }
            Ok(Err(error)) => {
                self.warnings
                    .add(format!("Messages that arrived could not be kept: {error}."));
                Message::Refused(Refusal::Busy(LATER_MS))
            }
            Err(error) => {
                tracing::debug!(%error, "a letter is left with its sender");
                Message::Refused(Refusal::Busy(LATER_MS))
            }
        }
    }
}

impl DeviceStreams for MailService {
    fn serve(
        self: Arc<Self>,
        mut stream: Stream,
        mut reader: MessageReader,
    ) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let from = stream.device;
            if self.nearby.may_send(from) {
                reader.set_max(MAX_FRAME);
            }
            loop {
                let next = timeout(SILENT, reader.next(&mut stream.recv)).await;
                let said = match next {
                    Ok(Ok(Some(Message::Letter(letter)))) => self.take_letter(from, letter).await,
                    Ok(Ok(None)) => break,
                    // A stranger's letter is longer than what is read of strangers.
                    _ if !self.nearby.may_send(from) => Message::Refused(Refusal::NotFound),
                    _ => return stream.send.reset(),
                };
                let goes_on = matches!(said, Message::LetterTaken { .. });
                if write_message(&mut stream.send, &said).await.is_err() {
                    return;
                }
                if !goes_on {
                    break;
                }
            }
            let _ = stream.send.finish().await; // the other side has gone if not
        })
    }
}

/// A way that a message may take at once, without the outbox.
pub(crate) enum Way {
    /// The reader is on this network and may be written to.
    Direct,
    /// By a relay.
    Relay(Arc<RelayConnection>),
}

/// Why a message was not taken.
pub(crate) struct NotTaken {
    /// In words.
    pub reason: String,
    /// When it may be tried again at the earliest.
    pub least: Duration,
}

impl MailService {
    /// A way to a device, if there is one: directly to one that is known and here, else by a relay.
    pub(crate) fn way_to(&self, device: DeviceId) -> Option<Way> {
        if self.nearby.known().relation(device).is_some() && self.nearby.is_here(device) {
            return Some(Way::Direct);
        }
        self.relays.way_to(device).map(Way::Relay)
    }

    /// Sends sealed bytes at once; says whether their reader has them.
    ///
    /// Errors: they were not taken.
    pub(crate) async fn send_now(
        &self,
        way: &Way,
        to: DeviceId,
        id: MessageId,
        sealed: Vec<u8>,
    ) -> Result<bool, NotTaken> {
        let not_taken = |error: &dyn std::fmt::Display, ms: u32| NotTaken {
            reason: error.to_string(),
            least: Duration::from_millis(u64::from(ms)),
        };
        match way {
            Way::Direct => match send(self, to, id, sealed).await {
                Ok(()) => Ok(true),
                Err(error @ OpenError::Refused(Refusal::Busy(ms))) => Err(not_taken(&error, ms)),
                Err(error) => Err(not_taken(&error, 0)),
            },
            Way::Relay(connection) => {
                let sent = connection.send(to, id, sealed.into()).await;
                sent.map_err(|error| match &error {
                    RequestError::Refused(refusal) => not_taken(&error, refusal.retry_after_ms),
                    _ => not_taken(&error, 0),
                })
            }
        }
    }
}

impl Way {
    /// Longest sealed message that it takes, bytes.
    pub(crate) fn max_message(&self) -> usize {
        match self {
            Self::Direct => MAX_MESSAGE,
            Self::Relay(connection) => connection.welcome().max_message as usize,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_carrier::Identity;

    #[test]
    fn a_letter_waits_for_the_one_before_it_and_not_for_ever() {
        let (room, start) = (Room::default(), Instant::now());
        let device = || Identity::generate().unwrap().device_id();
        let (from, letter) = (device(), MessageId::new([1; 16]));
        assert!(room.puts_off(from, letter, start));
        assert!(room.puts_off(from, letter, start + EARLY / 2));
        assert!(!room.puts_off(from, letter, start + EARLY));
        let next = MessageId::new([2; 16]);
        assert!(
            room.puts_off(from, next, start + EARLY),
            "another letter, another wait"
        );
        for _ in 1..MAX_EARLY {
            assert!(room.puts_off(device(), letter, start + EARLY));
        }
        assert!(
            !room.puts_off(device(), letter, start + EARLY),
            "too many wait"
        );
        let later = start + 2 * EARLY;
        assert!(
            room.puts_off(device(), letter, later),
            "those before have waited long enough"
        );
    }
}
