//! The asked side: what others want of this device, and the decisions about it.

use super::answering::{Choice, Made};
use super::records::{self, AskRecord, RECEIVED, ReceivedRecord};
use super::{AskService, MAX_RECEIVED, answering, providers};
use crate::failure;
use hither_api::{ApiError, CandidateInfo, ErrorCode};
use hither_content::storage::{Batch, StorageError};
use hither_engine::asks::{AskedEvent, AskedState};
use hither_proto::{Answer, Ask, AskId, AskKind, AskLetter, AskRefusal, DeviceId};
use hither_util::clock::unix_seconds;
use hither_util::hex;
use std::path::PathBuf;
use std::sync::Arc;

/// Most requests of one device that wait at a time.
const MAX_WAITING: usize = 16;
/// Most requests of one device in [`PERIOD`].
const MAX_IN_PERIOD: usize = 120;
/// Most files that the user may choose from.
const MAX_CANDIDATES: usize = 500;
/// The time over which requests are counted, seconds.
const PERIOD: u64 = 3_600;

/// Names a request of another device.
pub(super) type Key = (DeviceId, AskId);

impl AskService {
    /// Something is asked of this device. Blocks.
    pub(super) fn asked(&self, from: DeviceId, ask: &Ask) -> Result<(), StorageError> {
        let (key, now) = ((from, ask.id), self.time.seconds());
        if self.state().received.contains_key(&key) {
            return Ok(()); // It comes again: what was decided holds.
        }
        if !self.nearby.may_send(from) {
            // A relay passes on what it likes.
            tracing::info!(?from, "a request of a stranger is dropped");
            return Ok(());
        }
        if self.is_too_much(from) {
            let answer = Answer::Refused {
                refusal: AskRefusal::Busy,
                words: String::new(),
            };
            let letter = AskLetter::Answer(ask.id, answer);
            if let Err(error) = self.post(from, &letter, now + u64::from(ask.valid_s)) {
                tracing::debug!(%error, "a request too many is not answered");
            }
            return Ok(());
        }
        let record = AskRecord::new(ask, unix_seconds(), now);
        let by_grant = self.grant_for(from, &record, now).is_some();
        let record = ReceivedRecord {
            from: from.to_string(),
            ask: record,
            state: AskedState::Waiting,
            seen: false,
            by_grant,
            answer: String::new(),
            words: String::new(),
        };
        self.make_room_for_received()?;
        self.keep_received(key, record)?;
        tracing::info!(
            ?from,
            kind = ask.kind.name(),
            by_grant,
            "something is asked for"
        );
        self.audit(from, ask.kind.name(), "asked");
        self.wake.notify_one();
        self.changed();
        Ok(())
    }

    fn is_too_much(&self, from: DeviceId) -> bool {
        let (state, now) = (self.state(), unix_seconds());
        let theirs = state
            .received
            .range((from, AskId::new([0; 16]))..=(from, AskId::new([0xff; 16])));
        let (mut waiting, mut recent) = (0, 0);
        for (_, one) in theirs {
            waiting += usize::from(!one.state.is_final());
            recent += usize::from(now.abs_diff(one.ask.at) < PERIOD);
        }
        waiting >= MAX_WAITING || recent >= MAX_IN_PERIOD
    }

    fn make_room_for_received(&self) -> Result<(), StorageError> {
        let mut state = self.state();
        while state.received.len() >= MAX_RECEIVED {
            let oldest = state
                .received
                .iter()
                .min_by_key(|(_, one)| (!one.state.is_final(), one.ask.at))
                .map(|(key, _)| *key);
            let Some(key) = oldest else { break };
            let mut batch = Batch::new();
            batch.remove(RECEIVED, &records::received_key(key.0, key.1));
            self.storage.commit(batch)?;
            state.received.remove(&key);
        }
        Ok(())
    }

    fn keep_received(&self, key: Key, record: ReceivedRecord) -> Result<(), StorageError> {
        let mut state = self.state();
        let at = records::received_key(key.0, key.1);
        records::put(self.storage.as_ref(), RECEIVED, &at, &record)?;
        state.received.insert(key, record);
        Ok(())
    }

    /// Applies an event to a request of another device; it is durable when this returns. Gives the
    /// record if something changed. Blocks.
    fn received_event(
        &self,
        key: Key,
        event: AskedEvent,
        change: impl FnOnce(&mut ReceivedRecord),
    ) -> Result<Option<ReceivedRecord>, StorageError> {
        let mut state = self.state();
        let Some(record) = state.received.get(&key) else {
            return Ok(None);
        };
        let Some(next) = record.state.after(event) else {
            return Ok(None);
        };
        let mut record = record.clone();
        record.state = next;
        change(&mut record);
        let at = records::received_key(key.0, key.1);
        records::put(self.storage.as_ref(), RECEIVED, &at, &record)?;
        state.received.insert(key, record.clone());
        drop(state);
        self.changed();
        Ok(Some(record))
    }

    /// The asker takes a request back. Blocks.
    pub(super) fn taken_back(&self, from: DeviceId, id: AskId) -> Result<(), StorageError> {
        self.received_event((from, id), AskedEvent::Cancel, |_| {})
            .map(|_| ())
    }

    /// The request that a user means: its id or the beginning of it, among those that wait.
    ///
    /// Errors: none is meant, or several may be.
    pub(super) fn received_key(&self, wanted: &str) -> Result<Key, ApiError> {
        let state = self.state();
        let mut found: Vec<(Key, bool)> = state
            .received
            .iter()
            .filter(|((_, id), _)| !wanted.is_empty() && id.to_string().starts_with(wanted))
            .map(|(key, one)| (*key, one.state.is_final()))
            .collect();
        if found.len() > 1 {
            found.retain(|(_, is_final)| !is_final);
        }
        match found.as_slice() {
            [(key, _)] => Ok(*key),
            [] => Err(super::asking::missing(wanted)),
            _ => Err(
                ApiError::new(ErrorCode::BadRequest, "Several requests begin like that.")
                    .with_hint("Give more of its id. See them with: hither asks"),
            ),
        }
    }

    /// The user says no.
    ///
    /// Errors: none waits by that id.
    pub(crate) async fn refuse(self: &Arc<Self>, wanted: &str) -> Result<(), ApiError> {
        let key = self.received_key(wanted)?;
        let answer = Answer::Refused {
            refusal: AskRefusal::Declined,
            words: String::new(),
        };
        let of = Arc::clone(self);
        let refused =
            tokio::task::spawn_blocking(move || of.finish(key, answer, AskedEvent::Refuse));
        match refused.await.map_err(failure::internal)? {
            Ok(true) => Ok(()),
            Ok(false) => Err(ended()),
            Err(error) => Err(failure::storage(&error)),
        }
    }

    /// The user says yes: the answer is made and sent; what it is, in words.
    ///
    /// Errors: none waits by that id, there is nothing to answer with, or it cannot be made.
    pub(crate) async fn accept(
        self: &Arc<Self>,
        wanted: &str,
        choice: Choice,
    ) -> Result<String, ApiError> {
        let key = self.received_key(wanted)?;
        self.answer(key, choice, None).await
    }

    /// The latest files that the user may answer a request with.
    ///
    /// Errors: none waits by that id.
    pub(crate) async fn candidates(
        self: &Arc<Self>,
        wanted: &str,
    ) -> Result<Vec<CandidateInfo>, ApiError> {
        let key = self.received_key(wanted)?;
        let kind = self
            .state()
            .received
            .get(&key)
            .map(|one| one.ask.kind.clone());
        let kind = kind
            .and_then(|kind| AskKind::parse(&kind))
            .ok_or_else(ended)?;
        if !providers::has_files(kind) {
            return Ok(Vec::new());
        }
        let (own, folders) = (Arc::clone(&self.own), self.rules.get().folders());
        let look = move || providers::candidates(&own, kind, &folders, MAX_CANDIDATES);
        let found = tokio::task::spawn_blocking(look)
            .await
            .map_err(failure::internal)?;
        Ok(found
            .into_iter()
            .map(|(path, bytes, made_ms)| CandidateInfo {
                path: path.to_string_lossy().into_owned(),
                bytes,
                made: made_ms / 1000,
            })
            .collect())
    }

    /// Makes and sends the answer of a request that waits. When it cannot be made the request waits
    /// on, so that the user can choose something else. `folder`: everything has to be below it.
    pub(super) async fn answer(
        self: &Arc<Self>,
        key: Key,
        choice: Choice,
        folder: Option<PathBuf>,
    ) -> Result<String, ApiError> {
        let of = Arc::clone(self);
        let accept = move || of.received_event(key, AskedEvent::Accept, |_| {});
        let begun = tokio::task::spawn_blocking(accept)
            .await
            .map_err(failure::internal)?
            .map_err(|e| failure::storage(&e))?
            .ok_or_else(ended)?;
        let made = match begun.ask.ask() {
            Some(ask) => answering::make(self, key.0, &ask, choice, folder).await,
            None => Err(failure::internal("a request that cannot be read")),
        };
        let of = Arc::clone(self);
        match made {
            Ok(Made { answer, words }) => {
                let done = words.clone();
                let finish = move || of.finish_with(key, answer, AskedEvent::Made, words);
                let finished = tokio::task::spawn_blocking(finish).await;
                match finished.map_err(failure::internal)? {
                    Ok(true) => Ok(done),
                    Ok(false) => Err(ended()),
                    Err(error) => Err(failure::storage(&error)),
                }
            }
            Err(error) => {
                let again = move || of.received_event(key, AskedEvent::Restart, |_| {});
                if let Ok(Err(error)) = tokio::task::spawn_blocking(again).await {
                    tracing::warn!(%error, "that a request waits on cannot be kept");
                }
                Err(error)
            }
        }
    }

    fn finish(&self, key: Key, answer: Answer, event: AskedEvent) -> Result<bool, StorageError> {
        self.finish_with(key, answer, event, String::new())
    }

    /// Makes an answer durable and sends it. Returns whether the request was still open. Blocks.
    fn finish_with(
        &self,
        key: Key,
        answer: Answer,
        event: AskedEvent,
        words: String,
    ) -> Result<bool, StorageError> {
        let letter = AskLetter::Answer(key.1, answer);
        let encoded = hex::encode(&letter.encode());
        let finished = self.received_event(key, event, |record| {
            record.answer = encoded;
            record.words = words;
        })?;
        let Some(record) = finished else {
            return Ok(false);
        };
        self.audit(key.0, &record.ask.kind, records::asked_name(record.state));
        self.send_answer(key, &record);
        Ok(true)
    }

    /// Puts a durable answer into the outbox, and forgets it here. Blocks.
    fn send_answer(&self, key: Key, record: &ReceivedRecord) {
        let letter = hex::decode(&record.answer).map(|bytes| AskLetter::decode(&bytes));
        let Some(Ok(Some(letter))) = letter else {
            return;
        };
        // The asker may have been away for the whole time, and waits for it as long again.
        let until = record.ask.until.max(self.time.seconds()) + PERIOD;
        if let Err(error) = self.post(key.0, &letter, until) {
            // It is sent when the program begins anew.
            tracing::warn!(%error, "an answer cannot be sent yet");
            return;
        }
        let sent = ReceivedRecord {
            answer: String::new(),
            ..record.clone()
        };
        if let Err(error) = self.keep_received(key, sent) {
            tracing::warn!(%error, "that an answer was sent cannot be kept");
        }
    }

    /// After a restart: answers that were made are sent, and those that were being made wait for
    /// the user again.
    pub(super) fn take_up(self: &Arc<Self>) {
        let all: Vec<_> = {
            let state = self.state();
            state
                .received
                .iter()
                .map(|(key, one)| (*key, one.clone()))
                .collect()
        };
        let now = self.time.seconds();
        for (key, record) in all {
            if !record.state.is_final() {
                let by_grant = self.grant_for(key.0, &record.ask, now).is_some();
                if let Some(one) = self.state().received.get_mut(&key) {
                    one.by_grant = by_grant;
                }
            }
            if record.state == AskedState::Answering {
                if let Err(error) = self.received_event(key, AskedEvent::Restart, |_| {}) {
                    tracing::warn!(%error, "that a request waits on cannot be kept");
                }
            } else if !record.answer.is_empty() {
                self.send_answer(key, &record);
            }
        }
    }

    /// Begins what allowances answer, and ends what is late; the time until there may be something
    /// to do.
    pub(super) fn end_late(self: &Arc<Self>) -> Option<std::time::Duration> {
        let now = self.time.seconds();
        let waiting: Vec<_> = {
            let state = self.state();
            let waiting = state.received.iter();
            waiting
                .filter(|(_, one)| one.state == AskedState::Waiting)
                .map(|(key, one)| (*key, one.ask.until, one.by_grant))
                .collect()
        };
        let mut next = self.end_late_sent(now);
        for (key, until, by_grant) in waiting {
            if until <= now {
                if let Err(error) = self.received_event(key, AskedEvent::Late, |_| {}) {
                    tracing::warn!(%error, "the end of a request cannot be kept");
                }
                continue;
            }
            next = Some(next.map_or(until, |next| next.min(until)));
            if by_grant {
                self.answer_by_grant(key);
            }
        }
        next.map(|at| std::time::Duration::from_secs(at.saturating_sub(now)))
    }

    /// Answers what an allowance covers; what cannot be answered so is refused with the reason.
    fn answer_by_grant(self: &Arc<Self>, key: Key) {
        let record = self.state().received.get(&key).map(|one| one.ask.clone());
        let now = self.time.seconds();
        // It may have ended meanwhile; then the user is asked.
        let Some(grant) = record.and_then(|ask| self.grant_for(key.0, &ask, now)) else {
            if let Some(one) = self.state().received.get_mut(&key) {
                one.by_grant = false;
            }
            return;
        };
        let (of, folder) = (Arc::clone(self), grant.folder.map(PathBuf::from));
        self.tasks.spawn(async move {
            let Err(error) = of.answer(key, Choice::Found, folder).await else {
                return;
            };
            let refusal = match error.code {
                ErrorCode::NotFound => AskRefusal::Nothing,
                ErrorCode::Refused => AskRefusal::Unsupported,
                _ => AskRefusal::Failed,
            };
            let answer = Answer::Refused {
                refusal,
                words: error.message,
            };
            let refused =
                tokio::task::spawn_blocking(move || of.finish(key, answer, AskedEvent::Refuse));
            if let Ok(Err(error)) = refused.await {
                tracing::warn!(%error, "the end of a request cannot be kept");
            }
        });
    }

    /// The user sees every request that waits: their askers are told, once. Blocks.
    pub(super) fn mark_seen(&self) -> Result<(), StorageError> {
        let fresh: Vec<(Key, ReceivedRecord)> = {
            let state = self.state();
            let fresh = state.received.iter();
            fresh
                .filter(|(_, one)| one.state == AskedState::Waiting && !one.seen)
                .map(|(key, one)| (*key, one.clone()))
                .collect()
        };
        for (key, record) in fresh {
            let until = record.ask.until;
            let seen = ReceivedRecord {
                seen: true,
                ..record
            };
            self.keep_received(key, seen)?;
            if let Err(error) = self.post(key.0, &AskLetter::Seen(key.1), until) {
                tracing::debug!(%error, "that a request was seen is not told");
            }
        }
        Ok(())
    }

    fn audit(&self, from: DeviceId, what: &str, outcome: &str) {
        self.audit.note(from, &self.name_of(from), what, outcome);
    }
}

fn ended() -> ApiError {
    ApiError::new(ErrorCode::BadRequest, "That request has ended already.")
        .with_hint("See those that wait with: hither asks")
}
