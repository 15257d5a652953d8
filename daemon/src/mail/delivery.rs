//! Takes messages from the outbox to their readers: directly where one is on this network, else to a
//! relay; one on its way per reader, so that they arrive in order; tried again until they are there.
//!
//! A reader on this network that does not know this device is asked whether it wants to: what waits
//! for it goes when its user says yes, and fails when that is a no.

use super::direct;
use super::outbox::{Outcome, Waiting};
use crate::failure;
use crate::mail::MailService;
use crate::nearby::{Introduced, Offer};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use hither_api::{MessageKind, SentState};
use hither_content::storage::StorageError;
use hither_proto::{DeviceId, OfferKind, Refusal, RelayRefusal, RelayRefusalCode};
use hither_relay_client::{RelayConnection, RequestError};
use hither_swarm::OpenError;
use hither_util::backoff::Backoff;
use std::collections::{HashMap, HashSet};
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most messages on their way at once, each to another reader.
const MAX_ATTEMPTS: usize = 16;
/// Pause after an attempt that failed although the relay is there; doubles with every further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// How often what is too old is looked for.
const HOUSEKEEPING: Duration = Duration::from_secs(3600);

/// Most strangers that are being asked whether they want to know this device.
const MAX_INTRODUCTIONS: usize = 16;
/// The pause before a stranger is asked whom that many others keep waiting.
const CROWDED: Duration = Duration::from_secs(30);

/// How an attempt ended.
enum Attempt {
    /// The reader or the relay has it.
    Sent(Outcome),
    /// The connection is gone: the next one tries.
    Lost,
    /// The reader is here and does not know this device.
    Stranger,
    /// The relay does not know that the reader takes anything of this device.
    Unlisted,
    /// The reader was a visitor, and will not come again.
    Gone,
    /// Not now.
    Later(String, Duration),
    /// Never.
    Never(String),
}

/// The failures with each reader, and when it is tried again.
type Pauses = HashMap<DeviceId, Backoff<Instant>>;

/// The ways that a message may take now.
struct Ways {
    /// The reader is on this network.
    here: bool,
    /// Relays that list the reader, or may have it, in the order in which they are tried.
    relays: Vec<Arc<RelayConnection>>,
    /// They list it: it is one of the user's.
    listed: bool,
    /// It is a page of somebody without a device, which is there by this relay or not at all.
    visitor: bool,
}

impl Ways {
    fn to(mail: &MailService, reader: DeviceId) -> Option<Self> {
        if let Some(way) = mail.way_to_visitor(reader) {
            return way.map(|connection| Self {
                here: false,
                relays: vec![connection],
                listed: true,
                visitor: true,
            });
        }
        let here = mail.nearby.is_here(reader);
        let mut relays: Vec<_> = mail.relays.way_to(reader).into_iter().collect();
        let listed = !relays.is_empty();
        if !listed && mail.nearby.known().relation(reader).is_some() {
            // A device of another user: no relay says whether it is there before it is tried.
            relays = mail.relays.connected();
        }
        let any = here || !relays.is_empty();
        any.then_some(Self {
            here,
            relays,
            listed,
            visitor: false,
        })
    }
}

/// Works until the daemon ends.
pub(super) async fn run(mail: Arc<MailService>) {
    let mut changes = mail.relays.changes();
    let mut moves = mail.nearby.swarm.links().moves();
    let (mut busy, mut pauses) = (HashSet::new(), Pauses::new());
    // Readers that no relay takes anything for: they are not waited for when they come here.
    let mut unlisted = HashSet::new();
    let mut attempts = FuturesUnordered::new();
    let mut introductions = FuturesUnordered::new();
    let mut housekeeping = tokio::time::interval(HOUSEKEEPING);
    loop {
        for waiting in mail.outbox.heads() {
            let paused = pauses
                .get(&waiting.to)
                .is_some_and(|backoff| !backoff.is_due(Instant::now()));
            if attempts.len() >= MAX_ATTEMPTS || paused || busy.contains(&waiting.to) {
                continue;
            }
            if let Some(ways) = Ways::to(&mail, waiting.to) {
                busy.insert(waiting.to);
                attempts.push(attempt(Arc::clone(&mail), waiting, ways));
            }
        }
        tokio::select! {
            Some((waiting, ended)) = attempts.next() => match ended {
                Attempt::Stranger if introductions.len() < MAX_INTRODUCTIONS => {
                    // A name can be chosen by anybody: each side sees the other's words.
                    let (own, theirs) = (mail.nearby.device.words(), waiting.to.words());
                    let reason = format!(
                        "its user has to say yes first, and is shown these words: {own}. The words of that device are: {theirs}"
                    );
                    mail.outbox.put_off(waiting.number, reason);
                    introductions.push(introduce(Arc::clone(&mail), waiting));
                }
                ended => {
                    busy.remove(&waiting.to);
                    if matches!(ended, Attempt::Unlisted) {
                        unlisted.insert(waiting.to);
                    }
                    settle(&mail, waiting, ended, &mut pauses).await;
                }
            },
            Some((waiting, introduced)) = introductions.next() => {
                busy.remove(&waiting.to);
                introduced_to(&mail, waiting, introduced, &mut pauses).await;
            }
            () = mail.outbox.added.notified() => {}
            Ok(()) = changes.changed() => {}
            Ok(()) = moves.changed() => unlisted.retain(|reader| {
                let here = mail.nearby.is_here(*reader);
                if here {
                    pauses.remove(reader);
                }
                !here
            }),
            () = first_end(&pauses) => {}
            _ = housekeeping.tick() => clean(&mail).await,
        }
    }
}

/// Asks a stranger whether it wants to know this device, for the message that waits for it.
async fn introduce(
    mail: Arc<MailService>,
    waiting: Waiting,
) -> (Waiting, Result<Introduced, OpenError>) {
    let record = mail.outbox.record(waiting.number);
    let kind = match record.as_ref().map(|record| record.kind) {
        Some(MessageKind::Text) => OfferKind::Text,
        Some(MessageKind::Files) => OfferKind::Files,
        Some(MessageKind::Ticket) => OfferKind::Share,
        Some(MessageKind::Request) => OfferKind::Request,
        Some(MessageKind::Unknown) | None => OfferKind::Unknown,
    };
    let offer = Offer {
        kind,
        summary: record
            .as_ref()
            .map(|record| record.summary.clone())
            .unwrap_or_default(),
        files: record.as_ref().map_or(0, |record| record.files),
        bytes: record.as_ref().map_or(0, |record| record.bytes),
    };
    let introduced = mail.nearby.introduce(waiting.to, offer).await;
    (waiting, introduced)
}

/// Goes on after a stranger's answer.
async fn introduced_to(
    mail: &Arc<MailService>,
    waiting: Waiting,
    introduced: Result<Introduced, OpenError>,
    pauses: &mut Pauses,
) {
    let reason = match introduced {
        // Messages that wait for it go at once.
        Ok(Introduced::Accepted) => {
            pauses.remove(&waiting.to);
            return;
        }
        Ok(Introduced::Refused) => "its user did not say yes",
        Ok(Introduced::Unanswered) => "its user did not answer",
        Err(error) => {
            let later = Attempt::Later(error.to_string(), FIRST_PAUSE);
            return settle(mail, waiting, later, pauses).await;
        }
    };
    for number in mail.outbox.waiting_for(waiting.to) {
        let each = Waiting { number, ..waiting };
        settle(mail, each, Attempt::Never(reason.into()), pauses).await;
    }
}

/// Returns when the first pause that still lasts is over.
async fn first_end(pauses: &Pauses) {
    let now = Instant::now();
    match pauses
        .values()
        .filter_map(Backoff::due)
        .filter(|until| *until > now)
        .min()
    {
        Some(until) => tokio::time::sleep_until(until.into()).await,
        None => pending().await,
    }
}

async fn attempt(mail: Arc<MailService>, waiting: Waiting, ways: Ways) -> (Waiting, Attempt) {
    let of = Arc::clone(&mail);
    let sealed = tokio::task::spawn_blocking(move || of.outbox.sealed(waiting.number)).await;
    let ended = match sealed {
        Ok(Ok(Some(sealed))) => send(&mail, waiting, ways, sealed).await,
        // It was taken back meanwhile.
        Ok(Ok(None)) => Attempt::Never("it was taken back".into()),
        Ok(Err(error)) => Attempt::Later(failure::storage(&error).message, FIRST_PAUSE),
        Err(error) => Attempt::Later(error.to_string(), FIRST_PAUSE),
    };
    (waiting, ended)
}

/// Sends it directly where that is possible, else to the relay.
async fn send(mail: &MailService, waiting: Waiting, ways: Ways, sealed: Vec<u8>) -> Attempt {
    let direct = match ways.here {
        true => Some(direct::send(mail, waiting.to, waiting.id, sealed.clone()).await),
        false => None,
    };
    match (direct, ways.relays.is_empty()) {
        (Some(Ok(())), _) => {
            let (known, to) = (Arc::clone(mail.nearby.known()), waiting.to);
            // When it was met is for people; it need not be awaited.
            drop(tokio::task::spawn_blocking(move || known.met(to)));
            Attempt::Sent(Outcome {
                state: SentState::Delivered,
                reason: None,
            })
        }
        // Whatever it said: the relay is a way of its own.
        (direct, false) => match by_relays(waiting, &ways, sealed).await {
            // It is here, and was forgotten: its user is asked anew.
            Attempt::Unlisted
                if matches!(direct, Some(Err(OpenError::Refused(Refusal::NotFound)))) =>
            {
                Attempt::Stranger
            }
            ended => ended,
        },
        (Some(Err(OpenError::Refused(Refusal::NotFound))), true) => Attempt::Stranger,
        (Some(Err(OpenError::Refused(Refusal::Busy(ms)))), true) => Attempt::Later(
            "it has no room for messages now".into(),
            Duration::from_millis(u64::from(ms)),
        ),
        (Some(Err(OpenError::Refused(Refusal::Protocol))), true) => {
            Attempt::Never("it runs a version of Hither that takes none directly".into())
        }
        (Some(Err(error)), true) => {
            tracing::debug!(reader = ?waiting.to, %error, "a letter was not taken directly");
            Attempt::Later("it does not answer on this network".into(), FIRST_PAUSE)
        }
        (None, true) => Attempt::Lost,
    }
}

/// Tries the relays in turn. One that does not list a reader of another user's takes nothing for it,
/// unless the reader has named this device there.
async fn by_relays(waiting: Waiting, ways: &Ways, sealed: Vec<u8>) -> Attempt {
    let mut last = Attempt::Lost;
    for connection in &ways.relays {
        last = by_relay(waiting, connection, sealed.clone(), ways).await;
        if matches!(last, Attempt::Sent(_)) {
            break;
        }
    }
    last
}

async fn by_relay(
    waiting: Waiting,
    connection: &RelayConnection,
    sealed: Vec<u8>,
    ways: &Ways,
) -> Attempt {
    if sealed.len() > connection.welcome().max_message as usize {
        return Attempt::Never("the relay takes no message of this length".into());
    }
    match connection.send(waiting.to, waiting.id, sealed.into()).await {
        Ok(true) => Attempt::Sent(Outcome {
            state: SentState::Delivered,
            reason: None,
        }),
        Ok(false) => Attempt::Sent(Outcome {
            state: SentState::AtRelay,
            reason: None,
        }),
        Err(RequestError::Lost) => Attempt::Lost,
        Err(RequestError::Refused(refusal)) if refusal.code == RelayRefusalCode::NotFound => {
            match ways {
                Ways { visitor: true, .. } => Attempt::Gone,
                Ways { listed: false, .. } => Attempt::Unlisted,
                Ways { .. } => refused(refusal),
            }
        }
        Err(RequestError::Refused(refusal)) => refused(refusal),
        Err(error) => Attempt::Later(error.to_string(), FIRST_PAUSE),
    }
}

fn refused(refusal: RelayRefusal) -> Attempt {
    match refusal.code {
        RelayRefusalCode::NotFound => {
            Attempt::Never("the relay does not count that device among yours any more".into())
        }
        RelayRefusalCode::Invalid => Attempt::Never(refusal.to_string()),
        _ => {
            let pause = Duration::from_millis(u64::from(refusal.retry_after_ms));
            Attempt::Later(refusal.to_string(), pause)
        }
    }
}

async fn settle(mail: &Arc<MailService>, waiting: Waiting, ended: Attempt, pauses: &mut Pauses) {
    let outbox = &mail.outbox;
    let (of, number) = (Arc::clone(mail), waiting.number);
    // Of what a service sent, that is told it.
    let record = outbox.record(number);
    let service = record
        .filter(|record| record.kind == MessageKind::Request)
        .map(|record| record.summary);
    let told = move |mail: &MailService, outcome: &Outcome| {
        if let Some(kind) = &service {
            mail.tell_service(kind, waiting.to, waiting.id, outcome);
        }
    };
    let written = match ended {
        Attempt::Sent(outcome) => {
            pauses.remove(&waiting.to);
            let work = move || {
                of.outbox.sent(number, outcome.clone(), of.time.seconds())?;
                told(&of, &outcome);
                Ok::<_, StorageError>(())
            };
            tokio::task::spawn_blocking(work).await
        }
        Attempt::Never(reason) => {
            pauses.remove(&waiting.to);
            let work = move || {
                of.outbox.give_up(number, reason.clone())?;
                let outcome = Outcome {
                    state: SentState::Failed,
                    reason: Some(reason),
                };
                told(&of, &outcome);
                Ok::<_, StorageError>(())
            };
            tokio::task::spawn_blocking(work).await
        }
        Attempt::Gone => {
            // Nobody is told of it, and nobody looks for it in the outbox.
            pauses.remove(&waiting.to);
            tokio::task::spawn_blocking(move || of.outbox.delete(number).map(drop)).await
        }
        Attempt::Lost => return,
        Attempt::Unlisted => {
            let reason = "it is not on this network, and no relay of yours takes anything for it";
            outbox.put_off(number, reason.into());
            return pause(pauses, waiting.to, FIRST_PAUSE);
        }
        Attempt::Stranger => {
            outbox.put_off(number, "many others are to say yes first".into());
            return pause(pauses, waiting.to, CROWDED);
        }
        Attempt::Later(reason, least) => {
            tracing::debug!(reader = ?waiting.to, reason, "a message is put off");
            outbox.put_off(number, reason);
            return pause(pauses, waiting.to, least);
        }
    };
    match written {
        Ok(Ok(())) => {}
        // It is sent again, and known again by its reader.
        Ok(Err(error)) => {
            tracing::error!(%error, "the outbox cannot be written");
            pause(pauses, waiting.to, LONGEST_PAUSE);
        }
        Err(error) => tracing::error!(%error, "the outbox cannot be written"),
    }
}

fn pause(pauses: &mut Pauses, reader: DeviceId, least: Duration) {
    let backoff = pauses
        .entry(reader)
        .or_insert_with(|| Backoff::new(FIRST_PAUSE, LONGEST_PAUSE));
    backoff.failed_at_least(Instant::now(), least);
}

async fn clean(mail: &Arc<MailService>) {
    let of = Arc::clone(mail);
    let work = move || {
        let now = of.time.seconds();
        of.outbox.expire(now)?;
        of.inbox.forget_old(now)
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "old messages could not be forgotten"),
        Err(error) => tracing::warn!(%error, "old messages could not be forgotten"),
    }
}
