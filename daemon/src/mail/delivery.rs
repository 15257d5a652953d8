//! Takes messages from the outbox to the relays: one on its way per reader, so that they arrive in
//! order; tried again until a relay has them.

use super::outbox::{Outcome, Waiting};
use crate::failure;
use crate::mail::MailService;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use hither_api::SentState;
use hither_proto::{DeviceId, RelayRefusal, RelayRefusalCode};
use hither_relay_client::{RelayConnection, RequestError};
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

/// How an attempt ended.
enum Attempt {
    /// The relay has it.
    Sent(Outcome),
    /// The connection is gone: the next one tries.
    Lost,
    /// Not now.
    Later(String, Duration),
    /// Never.
    Never(String),
}

/// The failures with each reader, and when it is tried again.
type Pauses = HashMap<DeviceId, Backoff<Instant>>;

/// Works until the daemon ends.
pub(super) async fn run(mail: Arc<MailService>) {
    let mut changes = mail.relays.changes();
    let (mut busy, mut pauses) = (HashSet::new(), Pauses::new());
    let mut attempts = FuturesUnordered::new();
    let mut housekeeping = tokio::time::interval(HOUSEKEEPING);
    loop {
        for waiting in mail.outbox.heads() {
            let paused = pauses
                .get(&waiting.to)
                .is_some_and(|backoff| !backoff.is_due(Instant::now()));
            if attempts.len() >= MAX_ATTEMPTS || paused || busy.contains(&waiting.to) {
                continue;
            }
            if let Some(connection) = mail.relays.way_to(waiting.to) {
                busy.insert(waiting.to);
                attempts.push(attempt(Arc::clone(&mail), waiting, connection));
            }
        }
        tokio::select! {
            Some((waiting, ended)) = attempts.next() => {
                busy.remove(&waiting.to);
                settle(&mail, waiting, ended, &mut pauses).await;
            }
            () = mail.outbox.added.notified() => {}
            Ok(()) = changes.changed() => {}
            () = first_end(&pauses) => {}
            _ = housekeeping.tick() => clean(&mail).await,
        }
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

async fn attempt(
    mail: Arc<MailService>,
    waiting: Waiting,
    connection: Arc<RelayConnection>,
) -> (Waiting, Attempt) {
    let sealed = tokio::task::spawn_blocking(move || mail.outbox.sealed(waiting.number)).await;
    let ended = match sealed {
        Ok(Ok(Some(sealed))) => send(waiting, &connection, sealed).await,
        // It was taken back meanwhile.
        Ok(Ok(None)) => Attempt::Never("it was taken back".into()),
        Ok(Err(error)) => Attempt::Later(failure::storage(&error).message, FIRST_PAUSE),
        Err(error) => Attempt::Later(error.to_string(), FIRST_PAUSE),
    };
    (waiting, ended)
}

async fn send(waiting: Waiting, connection: &RelayConnection, sealed: Vec<u8>) -> Attempt {
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
    let written = match ended {
        Attempt::Sent(outcome) => {
            pauses.remove(&waiting.to);
            tokio::task::spawn_blocking(move || of.outbox.sent(number, outcome)).await
        }
        Attempt::Never(reason) => {
            pauses.remove(&waiting.to);
            tokio::task::spawn_blocking(move || of.outbox.give_up(number, reason)).await
        }
        Attempt::Lost => return,
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
