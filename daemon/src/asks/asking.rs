//! The asker's side: a request is durable before it is sent, and its answer before it is
//! acknowledged.

use super::records::{self, AskRecord, SENT, SentRecord, ThingRecord, refusal_name};
use super::{AskService, MAX_SENT};
use crate::failure;
use crate::mail::{Content, Outcome, ShareNote, SmallFile};
use hither_api::{ApiError, AskInfo, AskRequest, ErrorCode, SentState};
use hither_content::storage::{Batch, StorageError};
use hither_engine::asks::{AskerEvent, AskerState};
use hither_proto::{
    Answer, Ask, AskId, AskLetter, DeviceId, EntryName, MessageId, Thing, Ticket, display_name,
};
use hither_util::clock::unix_seconds;
use hither_util::hex;
use std::sync::Arc;

impl AskService {
    /// Asks another device: the request is durable, and perhaps on its way, when this answers.
    ///
    /// Errors: no device is meant, the request is impossible, or it cannot be kept.
    pub(crate) async fn ask(self: &Arc<Self>, request: AskRequest) -> Result<AskInfo, ApiError> {
        let to = self.nearby.find(&request.to).await?;
        let ask = super::describe::parse(&request)?;
        let of = Arc::clone(self);
        let id = ask.id;
        let work = move || of.keep_and_send(to.device, &ask);
        tokio::task::spawn_blocking(work)
            .await
            .map_err(failure::internal)??;
        self.info_of_sent(id)
            .ok_or_else(|| missing(&id.to_string()))
    }

    fn keep_and_send(self: &Arc<Self>, to: DeviceId, ask: &Ask) -> Result<(), ApiError> {
        let (id, now) = (ask.id, self.time.seconds());
        let record = SentRecord {
            to: to.to_string(),
            ask: AskRecord::new(ask, unix_seconds(), now),
            state: AskerState::Sent,
            refusal: None,
            words: String::new(),
            text: None,
            things: Vec::new(),
            letter: None,
        };
        let until = record.ask.until;
        self.make_room_for_sent()
            .map_err(|e| failure::storage(&e))?;
        records::put(self.storage.as_ref(), SENT, id.as_bytes(), &record)
            .map_err(|e| failure::storage(&e))?;
        self.state().sent.insert(id, record);
        if let Err(error) = self.post(to, &AskLetter::Ask(ask.clone()), until) {
            // Nobody will ever hear of it.
            let _ = self.sent_event(id, AskerEvent::Cancel, |_| {});
            return Err(error);
        }
        self.wake.notify_one();
        self.changed();
        Ok(())
    }

    /// The letter of a request is at its reader or a relay, or never will be. Blocks.
    pub(super) fn letter_sent(&self, to: DeviceId, id: AskId, outcome: &Outcome) {
        let event = match outcome.state {
            SentState::Delivered => AskerEvent::Delivered,
            SentState::Failed | SentState::Declined => AskerEvent::Refused,
            SentState::AtRelay | SentState::Waiting => return,
        };
        if !self.is_of(id, to) {
            return;
        }
        let words = outcome.reason.clone().unwrap_or_default();
        if let Err(error) = self.sent_event(id, event, |record| record.words = words) {
            tracing::warn!(%error, "how a request stands cannot be kept");
        }
    }

    /// Forgets the oldest that ended when there are too many. Blocks.
    fn make_room_for_sent(&self) -> Result<(), StorageError> {
        let mut state = self.state();
        while state.sent.len() >= MAX_SENT {
            let oldest = state
                .sent
                .iter()
                .min_by_key(|(_, one)| (!one.state.is_final(), one.ask.at))
                .map(|(id, _)| *id);
            let Some(id) = oldest else { break };
            let mut batch = Batch::new();
            batch.remove(SENT, id.as_bytes());
            self.storage.commit(batch)?;
            state.sent.remove(&id);
        }
        Ok(())
    }

    /// Applies an event to a request of this device; it is durable when this returns. Returns
    /// whether it changed something. Blocks.
    fn sent_event(
        &self,
        id: AskId,
        event: AskerEvent,
        change: impl FnOnce(&mut SentRecord),
    ) -> Result<bool, StorageError> {
        let mut state = self.state();
        let Some(record) = state.sent.get(&id) else {
            return Ok(false);
        };
        let Some(next) = record.state.after(event) else {
            return Ok(false);
        };
        let mut record = record.clone();
        record.state = next;
        change(&mut record);
        records::put(self.storage.as_ref(), SENT, id.as_bytes(), &record)?;
        state.sent.insert(id, record);
        drop(state);
        self.changed();
        Ok(true)
    }

    /// The request that `wanted` names: its id, or the beginning of it.
    ///
    /// Errors: none is named, or several.
    pub(super) fn sent_id(&self, wanted: &str) -> Option<AskId> {
        let state = self.state();
        let mut found = state
            .sent
            .keys()
            .filter(|id| !wanted.is_empty() && id.to_string().starts_with(wanted));
        let first = found.next().copied();
        first.filter(|_| found.next().is_none())
    }

    /// Takes a request back: the other device is told.
    ///
    /// Errors: it is not there, or has ended.
    pub(crate) async fn cancel(self: &Arc<Self>, wanted: &str) -> Result<AskInfo, ApiError> {
        let id = self.sent_id(wanted).ok_or_else(|| missing(wanted))?;
        let of = Arc::clone(self);
        let work = move || {
            let cancelled = of
                .sent_event(id, AskerEvent::Cancel, |_| {})
                .map_err(|e| failure::storage(&e))?;
            if !cancelled {
                let message = "That request has ended already.";
                return Err(ApiError::new(ErrorCode::BadRequest, message));
            }
            let record = of.state().sent.get(&id).cloned();
            if let Some((to, until)) = record.and_then(|r| Some((r.to.parse().ok()?, r.ask.until)))
            {
                of.post(to, &AskLetter::Cancel(id), until)?;
            }
            Ok(())
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(failure::internal)??;
        self.info_of_sent(id).ok_or_else(|| missing(wanted))
    }

    /// Ends requests of this device whose time is over; gives the earliest end of the others.
    /// Blocks.
    pub(super) fn end_late_sent(&self, now: u64) -> Option<u64> {
        let open: Vec<_> = {
            let state = self.state();
            let open = state.sent.iter().filter(|(_, one)| !one.state.is_final());
            open.map(|(id, one)| (*id, one.ask.until)).collect()
        };
        let mut next = None;
        for (id, until) in open {
            if until > now {
                next = Some(next.map_or(until, |next: u64| next.min(until)));
            } else if let Err(error) = self.sent_event(id, AskerEvent::Late, |_| {}) {
                tracing::warn!(%error, "the end of a request cannot be kept");
            }
        }
        next
    }

    /// The other device says that its user sees a request. Blocks.
    pub(super) fn seen_there(&self, from: DeviceId, id: AskId) -> Result<(), StorageError> {
        if self.is_of(id, from) {
            self.sent_event(id, AskerEvent::Seen, |_| {})?;
        }
        Ok(())
    }

    fn is_of(&self, id: AskId, device: DeviceId) -> bool {
        let to = device.to_string();
        self.state().sent.get(&id).is_some_and(|one| one.to == to)
    }

    /// An answer came: what the user finds of it in the inbox. Blocks.
    pub(super) fn answered(
        &self,
        from: DeviceId,
        id: AskId,
        letter: MessageId,
        answer: Answer,
    ) -> Result<Option<Content>, StorageError> {
        if !self.is_of(id, from) {
            tracing::warn!(?from, "an answer to what was not asked is dropped");
            return Ok(None);
        }
        let same = |record: &SentRecord| record.letter.as_deref() == Some(&letter.to_string());
        let again = self.state().sent.get(&id).is_some_and(same);
        let (event, content) = match &answer {
            Answer::Refused { .. } => (AskerEvent::Refused, None),
            Answer::Text(_) | Answer::Things { .. } => (AskerEvent::Answered, content_of(&answer)),
        };
        let taken = self.sent_event(id, event, |record| fill(record, letter, &answer))?;
        // After a crash between this record and the inbox the same letter comes again.
        Ok(content.filter(|_| taken || again))
    }
}

/// Writes what an answer says into the record of its request.
fn fill(record: &mut SentRecord, letter: MessageId, answer: &Answer) {
    record.letter = Some(letter.to_string());
    match answer {
        Answer::Refused { refusal, words } => {
            record.refusal = Some(refusal_name(*refusal).into());
            record.words.clone_from(words);
        }
        Answer::Text(text) => record.text = Some(text.clone()),
        Answer::Things { things, .. } => {
            let thing = |thing: &Thing| ThingRecord {
                name: thing.name.as_str().to_owned(),
                media_type: thing.media_type.clone(),
                bytes: thing.bytes,
                made_ms: thing.made_ms,
                thumbnail: hex::encode(&thing.thumbnail),
            };
            record.things = things.iter().map(thing).collect();
        }
    }
}

/// The content that the inbox shows of an answer; `None`: a digest that has no words.
fn content_of(answer: &Answer) -> Option<Content> {
    match answer {
        Answer::Refused { .. } => None,
        Answer::Text(text) => Some(Content::Text(text.clone())),
        Answer::Things {
            things,
            ticket: Some(ticket),
        } => {
            let ticket: Ticket = ticket.parse().ok()?;
            Some(Content::Ticket(ShareNote {
                ticket: ticket.to_string(),
                name: names(things),
                files: things.len() as u64,
                bytes: things
                    .iter()
                    .fold(0, |sum, one| one.bytes.saturating_add(sum)),
            }))
        }
        Answer::Things { things, .. } => {
            let whole = things.iter().filter_map(|thing| {
                Some(SmallFile {
                    name: thing.name.clone(),
                    mode: 0o644,
                    bytes: thing.content.as_ref()?.to_vec(),
                })
            });
            let files: Vec<SmallFile> = distinct(whole.collect());
            match files.is_empty() {
                false => Some(Content::Files(files)),
                true => Some(Content::Text(digest(things))),
            }
        }
    }
}

fn names(things: &[Thing]) -> String {
    let names: Vec<_> = things.iter().map(|thing| thing.name.as_str()).collect();
    names.join(", ")
}

/// A digest in words, a line for each thing.
fn digest(things: &[Thing]) -> String {
    let line = |thing: &Thing| {
        format!(
            "{} ({} bytes, {})",
            display_name(thing.name.as_str()),
            thing.bytes,
            thing.media_type
        )
    };
    things.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Gives files of one name different ones.
fn distinct(mut files: Vec<SmallFile>) -> Vec<SmallFile> {
    for at in 1..files.len() {
        let taken = |name: &EntryName| files[..at].iter().any(|other| other.name == *name);
        if taken(&files[at].name) {
            let other = EntryName::parse(&format!("{}-{}", at + 1, files[at].name.as_str()));
            if let Ok(other) = other.or_else(|_| EntryName::parse(&format!("unnamed-{}", at + 1))) {
                files[at].name = other;
            }
        }
    }
    files
}

pub(super) fn missing(wanted: &str) -> ApiError {
    let message = format!("There is no request {}.", display_name(wanted));
    ApiError::new(ErrorCode::NotFound, message).with_hint("See them all with: hither asks")
}
