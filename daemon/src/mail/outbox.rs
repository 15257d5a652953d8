//! Messages on their way out: durable before their sender is answered, in order for each reader,
//! until a relay has them.
//!
//! Invariants: a message is sealed once, so every attempt sends the same bytes under the same id;
//! what a relay took is removed, durably, before its sender is told; at most [`MAX_MESSAGES`]
//! messages of [`MAX_BYTES`] wait, beyond that new ones are refused. Of those that were sent the
//! latest [`MAX_SENT`] are known for [`KEEP`], so that it can be shown which were declined.

use super::records::{self, NUMBERS, OUTBOX, OUTBOX_SEALED, OutgoingRecord, SENT, SentRecord};
use hither_api::{MessageKind, SentState};
use hither_content::storage::{Batch, Storage, StorageError};
use hither_proto::{DeviceId, MessageId};
use hither_util::sync::Mutex;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::{Arc, MutexGuard};
use tokio::sync::{Notify, oneshot, watch};

/// Most messages that wait.
const MAX_MESSAGES: usize = 1000;
/// Most bytes that wait.
const MAX_BYTES: u64 = 64 << 20;
/// How long a message waits before it is given up, seconds. Far shorter than the reader knows it
/// again.
const KEEP: u64 = 30 * 86_400;
/// Most messages that are known after they were sent; the oldest are forgotten first.
const MAX_SENT: usize = 4096;
/// Why a message is listed that its reader does not want.
const DECLINED: &str = "it was declined";
/// The key of the next number.
const NEXT: &[u8] = b"outbox";

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AddError {
    /// Too many wait already.
    #[error("too many messages wait on this device")]
    Full,
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The place of a message, as far as an attempt found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub state: SentState,
    pub reason: Option<String>,
}

/// A message that was sent, as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its reader's id.
    pub to: String,
    pub state: SentState,
    pub reason: Option<String>,
    /// Its reader said that it has taken it.
    pub taken: bool,
}

/// One message that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub number: u64,
    pub to: DeviceId,
    pub id: MessageId,
}

/// The messages on their way out.
pub(crate) struct Outbox {
    storage: Arc<dyn Storage>,
    /// Held while a message is added: it comes into the queue in the order of its number, when it
    /// is durable.
    adding: Mutex<u64>,
    /// How many sent ones are known. Held while a message is sent, given up or declined: it becomes
    /// one of these once.
    ending: Mutex<usize>,
    state: Mutex<OutboxState>,
    /// A message was added.
    pub added: Notify,
    /// Counts up whenever a message was added, put off, sent, given up, declined, taken or taken back.
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct OutboxState {
    records: BTreeMap<u64, OutgoingRecord>,
    /// Those of them that are tried, with what is needed for it.
    queue: BTreeMap<u64, Waiting>,
    bytes: u64,
    /// Why the latest attempt failed.
    reasons: HashMap<u64, String>,
    /// The listeners that wait for an outcome.
    listeners: HashMap<u64, oneshot::Sender<Outcome>>,
}

impl OutboxState {
    fn insert(&mut self, number: u64, record: OutgoingRecord) {
        let ids = record
            .to
            .parse()
            .ok()
            .zip(records::message_id(&record.message));
        if let Some((to, id)) = ids.filter(|_| record.failed.is_none()) {
            self.queue.insert(number, Waiting { number, to, id });
        }
        self.bytes += record.sealed;
        self.records.insert(number, record);
    }

    fn remove(&mut self, number: u64) -> Option<OutgoingRecord> {
        self.queue.remove(&number);
        self.reasons.remove(&number);
        let record = self.records.remove(&number)?;
        self.bytes = self.bytes.saturating_sub(record.sealed);
        Some(record)
    }

    fn tell(&mut self, number: u64, outcome: Outcome) {
        if let Some(listener) = self.listeners.remove(&number) {
            let _ = listener.send(outcome); // whoever sent it may not wait any more
        }
    }
}

impl Outbox {
    pub(super) fn open(storage: Arc<dyn Storage>) -> Result<Self, StorageError> {
        let mut state = OutboxState::default();
        for (number, record) in records::all(&*storage, OUTBOX)? {
            state.insert(number, record);
        }
        let next = storage
            .get(NUMBERS, NEXT)?
            .and_then(|bytes| records::number(&bytes))
            .unwrap_or(1);
        let latest = state
            .records
            .last_key_value()
            .map_or(0, |(number, _)| *number);
        let adding = Mutex::new(next.max(latest + 1));
        let mut sent = 0;
        storage.scan(SENT, b"", &mut |_, _| {
            sent += 1;
            ControlFlow::Continue(())
        })?;
        Ok(Self {
            storage,
            adding,
            ending: Mutex::new(sent),
            state: Mutex::new(state),
            added: Notify::new(),
            changes: watch::Sender::new(0),
        })
    }

    fn state(&self) -> MutexGuard<'_, OutboxState> {
        self.state.lock()
    }

    /// Takes a message; it is durable when this returns. The receiver is told what the first
    /// attempt found out. Blocks.
    pub(super) fn add(
        &self,
        record: OutgoingRecord,
        sealed: &[u8],
    ) -> Result<oneshot::Receiver<Outcome>, AddError> {
        let mut next = self.adding.lock();
        {
            let state = self.state();
            if state.records.len() >= MAX_MESSAGES || state.bytes + record.sealed > MAX_BYTES {
                return Err(AddError::Full);
            }
        }
        let number = *next;
        let mut batch = Batch::new();
        put_record(&mut batch, number, &record);
        batch.put(OUTBOX_SEALED, &records::number_key(number), sealed);
        batch.put(NUMBERS, NEXT, &(number + 1).to_be_bytes());
        self.storage.commit(batch)?;
        *next = number + 1;
        let (sender, listener) = oneshot::channel();
        {
            let mut state = self.state();
            state.insert(number, record);
            state.listeners.insert(number, sender);
        }
        self.added.notify_one();
        self.changed();
        Ok(listener)
    }

    /// Follows what becomes of messages, new ones included.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Finds a sent message by its id: its place and its reader; `None`: it is not known
    /// (any more). Blocks.
    pub(super) fn find(&self, id: MessageId) -> Result<Option<Found>, StorageError> {
        let message = id.to_string();
        {
            let state = self.state();
            let found = state.records.iter().find(|(_, one)| one.message == message);
            if let Some((number, one)) = found {
                return Ok(Some(Found {
                    to: one.to.clone(),
                    state: match one.failed {
                        Some(_) if one.declined => SentState::Declined,
                        Some(_) => SentState::Failed,
                        None => SentState::Waiting,
                    },
                    reason: one
                        .failed
                        .clone()
                        .or_else(|| state.reasons.get(number).cloned()),
                    taken: false,
                }));
            }
        }
        let mut found = None;
        self.storage.scan(SENT, b"", &mut |key, value| {
            if !key.ends_with(id.as_bytes()) {
                return ControlFlow::Continue(());
            }
            found = serde_json::from_slice::<SentRecord>(value).ok();
            ControlFlow::Break(())
        })?;
        Ok(found.map(|sent| Found {
            to: sent.record.to,
            state: match sent.delivered {
                true => SentState::Delivered,
                false => SentState::AtRelay,
            },
            reason: None,
            taken: sent.taken,
        }))
    }

    /// Its reader has taken a message. `now`: seconds of the clock of deadlines. Blocks.
    pub(super) fn taken(&self, by: DeviceId, id: MessageId, now: u64) -> Result<(), StorageError> {
        let (to, message) = (by.to_string(), id.to_string());
        let waiting = {
            let state = self.state();
            let mut all = state.records.iter();
            let found = all.find(|(_, one)| one.to == to && one.message == message);
            found.map(|(number, _)| *number)
        };
        if let Some(number) = waiting {
            // Its reader's word came before that of whoever took it there.
            let outcome = Outcome {
                state: SentState::Delivered,
                reason: None,
            };
            self.sent(number, outcome, now)?;
        }
        let _ending = self.ending.lock();
        let key = records::seen_key(by, id);
        let sent = self.storage.get(SENT, &key)?;
        let sent = sent.and_then(|bytes| serde_json::from_slice::<SentRecord>(&bytes).ok());
        if let Some(sent) = sent {
            let sent = SentRecord {
                delivered: true,
                taken: true,
                ..sent
            };
            let mut batch = Batch::new();
            // Texts and numbers: nothing in it that JSON cannot hold.
            batch.put(SENT, &key, &serde_json::to_vec(&sent).unwrap_or_default());
            self.storage.commit(batch)?;
        }
        self.changed();
        Ok(())
    }

    /// The first message for each reader.
    pub(super) fn heads(&self) -> Vec<Waiting> {
        let mut readers = HashSet::new();
        self.state()
            .queue
            .values()
            .filter(|waiting| readers.insert(waiting.to))
            .copied()
            .collect()
    }

    /// Every message that waits for a reader, oldest first.
    pub(super) fn waiting_for(&self, reader: DeviceId) -> Vec<u64> {
        let state = self.state();
        let theirs = state.queue.values().filter(|waiting| waiting.to == reader);
        theirs.map(|waiting| waiting.number).collect()
    }

    /// How many words of one service to another wait.
    pub(super) fn words(&self) -> usize {
        let state = self.state();
        let all = state.queue.keys().filter_map(|at| state.records.get(at));
        all.filter(|one| one.kind == MessageKind::Request).count()
    }

    /// One message as it waits.
    pub(super) fn record(&self, number: u64) -> Option<OutgoingRecord> {
        self.state().records.get(&number).cloned()
    }

    /// Returns the sealed bytes that are sent of a message. Blocks.
    pub(super) fn sealed(&self, number: u64) -> Result<Option<Vec<u8>>, StorageError> {
        self.storage
            .get(OUTBOX_SEALED, &records::number_key(number))
    }

    /// Its reader or a relay has it: it waits no longer, and its reader may still decline it. `now`:
    /// seconds of the clock of deadlines. Blocks.
    pub(super) fn sent(&self, number: u64, outcome: Outcome, now: u64) -> Result<(), StorageError> {
        let mut known = self.ending.lock();
        let record = self.record(number);
        if record.as_ref().is_some_and(|one| one.failed.is_some()) {
            // Declined, and its sender was told, before the relay's answer came.
            return Ok(());
        }
        let mut batch = removal(number);
        let record = record.filter(|one| one.kind != MessageKind::Request);
        if let Some(key) = record.as_ref().and_then(sent_key) {
            let sent = record.map(|record| SentRecord {
                number,
                at: now,
                delivered: outcome.state == SentState::Delivered,
                taken: false,
                record,
            });
            // Texts and numbers: nothing in it that JSON cannot hold.
            batch.put(SENT, &key, &serde_json::to_vec(&sent).unwrap_or_default());
            *known += 1;
        }
        self.storage.commit(batch)?;
        if *known > MAX_SENT + MAX_SENT / 8 {
            *known = self.forget_sent(0)?;
        }
        drop(known);
        {
            let mut state = self.state();
            state.remove(number);
            state.tell(number, outcome);
        }
        self.changed();
        Ok(())
    }

    /// An attempt failed; there will be another one.
    pub(super) fn put_off(&self, number: u64, reason: String) {
        let mut state = self.state();
        state.tell(
            number,
            Outcome {
                state: SentState::Waiting,
                reason: Some(reason.clone()),
            },
        );
        if state.records.contains_key(&number) {
            state.reasons.insert(number, reason);
        }
        drop(state);
        self.changed();
    }

    /// Forgets what was sent before `horizon`, and the oldest beyond [`MAX_SENT`]; returns how many
    /// are left. Blocks.
    fn forget_sent(&self, horizon: u64) -> Result<usize, StorageError> {
        let mut all = Vec::new();
        self.storage.scan(SENT, b"", &mut |key, value| {
            let at = serde_json::from_slice::<SentRecord>(value).map_or(0, |sent| sent.at);
            all.push((at, key.to_vec()));
            ControlFlow::Continue(())
        })?;
        all.sort_unstable();
        let old = all.iter().take_while(|(at, _)| *at < horizon).count();
        let forget = old.max(all.len().saturating_sub(MAX_SENT));
        let mut batch = Batch::new();
        all[..forget]
            .iter()
            .for_each(|(_, key)| batch.remove(SENT, key));
        if forget > 0 {
            self.storage.commit(batch)?;
        }
        Ok(all.len() - forget)
    }

    /// Its reader does not want a message: it is listed as declined, whether it is still on its way
    /// or was sent long ago. Returns whether there was one. Blocks.
    pub(super) fn declined(&self, by: DeviceId, id: MessageId) -> Result<bool, StorageError> {
        let mut known = self.ending.lock();
        let (to, message) = (by.to_string(), id.to_string());
        let waiting = {
            let state = self.state();
            let mut all = state.records.iter();
            let found = all.find(|(_, one)| one.to == to && one.message == message);
            found.map(|(number, one)| (*number, one.failed.is_some()))
        };
        if let Some((number, has_ended)) = waiting {
            if has_ended {
                return Ok(false);
            }
            self.end(number, DECLINED.into(), SentState::Declined)?;
            return Ok(true);
        }
        let key = records::seen_key(by, id);
        let sent = self.storage.get(SENT, &key)?;
        let Some(sent) = sent.and_then(|bytes| serde_json::from_slice::<SentRecord>(&bytes).ok())
        else {
            return Ok(false);
        };
        let record = OutgoingRecord {
            sealed: 0,
            failed: Some(DECLINED.into()),
            declined: true,
            ..sent.record
        };
        let mut batch = Batch::new();
        batch.remove(SENT, &key);
        put_record(&mut batch, sent.number, &record);
        self.storage.commit(batch)?;
        *known = known.saturating_sub(1);
        self.state().insert(sent.number, record);
        self.changed();
        Ok(true)
    }

    /// No attempt will ever succeed: it stays for its sender to see. Blocks.
    pub(super) fn give_up(&self, number: u64, reason: String) -> Result<(), StorageError> {
        let _ending = self.ending.lock();
        self.end(number, reason, SentState::Failed)
    }

    /// Ends a message that did not end before. Under the lock of endings.
    fn end(&self, number: u64, reason: String, how: SentState) -> Result<(), StorageError> {
        let record = self.record(number).filter(|one| one.failed.is_none());
        let Some(mut record) = record else {
            return Ok(());
        };
        record.failed = Some(reason.clone());
        record.declined = how == SentState::Declined;
        let mut batch = Batch::new();
        put_record(&mut batch, number, &record);
        batch.remove(OUTBOX_SEALED, &records::number_key(number));
        self.storage.commit(batch)?;
        {
            let mut state = self.state();
            state.remove(number);
            record.sealed = 0;
            state.insert(number, record);
            state.tell(
                number,
                Outcome {
                    state: how,
                    reason: Some(reason),
                },
            );
        }
        self.changed();
        Ok(())
    }

    /// Takes a message back. If it is being sent at this moment it may arrive all the same. Blocks.
    pub(super) fn delete(&self, number: u64) -> Result<Option<OutgoingRecord>, StorageError> {
        if !self.state().records.contains_key(&number) {
            return Ok(None);
        }
        self.storage.commit(removal(number))?;
        let removed = self.state().remove(number);
        self.changed();
        Ok(removed)
    }

    /// All that wait or failed, with why the latest attempt failed, oldest first.
    pub(super) fn list(&self) -> Vec<(u64, OutgoingRecord, Option<String>)> {
        let state = self.state();
        let reason = |number: &u64, record: &OutgoingRecord| {
            record
                .failed
                .clone()
                .or_else(|| state.reasons.get(number).cloned())
        };
        state
            .records
            .iter()
            .map(|(n, record)| (*n, record.clone(), reason(n, record)))
            .collect()
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        let state = self.state();
        state
            .records
            .values()
            .filter(|one| one.failed.is_none())
            .count()
    }

    /// How many wait or failed.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.state().records.len()
    }

    /// Gives up what has waited too long, and forgets what failed long ago. Blocks.
    pub(super) fn expire(&self, now: u64) -> Result<(), StorageError> {
        for (number, record, _) in self.list() {
            let age = now.saturating_sub(record.made);
            let is_late = record.until.is_some_and(|until| now >= until);
            match record.failed {
                // A service knows by itself when what it sent is of no use any more.
                _ if is_late => drop(self.delete(number)?),
                None if age > KEEP => {
                    self.give_up(number, "nobody took it within 30 days".into())?;
                }
                Some(_) if age > 2 * KEEP => drop(self.delete(number)?),
                _ => {}
            }
        }
        let mut known = self.ending.lock();
        *known = self.forget_sent(now.saturating_sub(KEEP))?;
        Ok(())
    }
}

/// The key of a message after it was sent.
fn sent_key(record: &OutgoingRecord) -> Option<[u8; 48]> {
    let to = record.to.parse().ok()?;
    Some(records::seen_key(to, records::message_id(&record.message)?))
}

fn put_record(batch: &mut Batch, number: u64, record: &OutgoingRecord) {
    // Texts and numbers: nothing in it that JSON cannot hold.
    let bytes = serde_json::to_vec(record).unwrap_or_default();
    batch.put(OUTBOX, &records::number_key(number), &bytes);
}

fn removal(number: u64) -> Batch {
    let mut batch = Batch::new();
    batch.remove(OUTBOX, &records::number_key(number));
    batch.remove(OUTBOX_SEALED, &records::number_key(number));
    batch
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_api::MessageKind;
    use hither_carrier::Identity;
    use hither_content::storage::MemoryStorage;

    fn record(to: DeviceId, id: u8) -> OutgoingRecord {
        OutgoingRecord {
            message: MessageId::new([id; 16]).to_string(),
            to: to.to_string(),
            made: 100,
            kind: MessageKind::Text,
            summary: "x".into(),
            files: 0,
            bytes: 0,
            until: None,
            sealed: 4,
            failed: None,
            declined: false,
        }
    }

    fn device() -> DeviceId {
        Identity::generate().unwrap().device_id()
    }

    #[test]
    fn each_reader_gets_its_messages_in_order_also_after_a_restart() {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::default());
        let outbox = Outbox::open(Arc::clone(&storage)).unwrap();
        let (a, b) = (device(), device());
        for (to, id) in [(a, 1), (a, 2), (b, 3)] {
            outbox.add(record(to, id), &[id; 4]).unwrap();
        }
        let heads = |outbox: &Outbox| -> Vec<_> {
            outbox
                .heads()
                .iter()
                .map(|w| (w.to, w.id.as_bytes()[0]))
                .collect()
        };
        assert_eq!(heads(&outbox), [(a, 1), (b, 3)]);
        let outcome = Outcome {
            state: SentState::AtRelay,
            reason: None,
        };
        outbox.sent(1, outcome, 100).unwrap();
        assert_eq!(heads(&outbox), [(a, 2), (b, 3)]);
        let again = Outbox::open(Arc::clone(&storage)).unwrap();
        assert_eq!(heads(&again), [(a, 2), (b, 3)]);
        assert_eq!(again.sealed(2).unwrap(), Some(vec![2; 4]));
        again.delete(2).unwrap();
        again.delete(3).unwrap();
        again.add(record(b, 9), &[9; 4]).unwrap();
        assert_eq!(again.heads()[0].number, 4, "no number is given twice");
    }

    #[test]
    fn what_failed_is_shown_and_holds_up_nothing() {
        let outbox = Outbox::open(Arc::new(MemoryStorage::default())).unwrap();
        let a = device();
        let mut told = outbox.add(record(a, 1), &[1; 4]).unwrap();
        outbox.add(record(a, 2), &[2; 4]).unwrap();
        outbox.give_up(1, "too long".into()).unwrap();
        assert_eq!(told.try_recv().unwrap().state, SentState::Failed);
        assert_eq!(outbox.heads()[0].number, 2);
        assert_eq!(outbox.list()[0].2.as_deref(), Some("too long"));
        assert_eq!(outbox.sealed(1).unwrap(), None);
    }

    #[test]
    fn what_is_declined_is_listed_whether_it_was_sent_or_is_on_its_way() {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::default());
        let outbox = Outbox::open(Arc::clone(&storage)).unwrap();
        let (a, b) = (device(), device());
        let mut told = outbox.add(record(a, 1), &[1; 4]).unwrap();
        outbox.add(record(a, 2), &[2; 4]).unwrap();
        let id = |id: u8| MessageId::new([id; 16]);
        let delivered = Outcome {
            state: SentState::Delivered,
            reason: None,
        };
        // The reader's word comes before the relay's.
        assert!(outbox.declined(a, id(1)).unwrap());
        assert_eq!(told.try_recv().unwrap().state, SentState::Declined);
        outbox.sent(1, delivered.clone(), 100).unwrap();
        assert!(outbox.list()[0].1.declined, "it stays listed");
        // Or long after, also after a restart.
        outbox.sent(2, delivered, 100).unwrap();
        assert_eq!(outbox.len(), 1);
        let outbox = Outbox::open(Arc::clone(&storage)).unwrap();
        assert!(!outbox.declined(b, id(2)).unwrap(), "only its reader can");
        assert!(outbox.declined(a, id(2)).unwrap());
        assert!(!outbox.declined(a, id(2)).unwrap(), "once");
        let listed = Outbox::open(storage).unwrap().list();
        assert_eq!(listed.len(), 2);
        assert!(
            listed
                .iter()
                .all(|(.., why)| why.as_deref() == Some(DECLINED))
        );
        assert!(outbox.heads().is_empty());
    }

    #[test]
    fn what_was_sent_is_known_for_a_while_and_within_a_bound() {
        let outbox = Outbox::open(Arc::new(MemoryStorage::default())).unwrap();
        let a = device();
        outbox.add(record(a, 1), &[1; 4]).unwrap();
        let delivered = Outcome {
            state: SentState::Delivered,
            reason: None,
        };
        outbox.sent(1, delivered, 100).unwrap();
        outbox.expire(100 + KEEP).unwrap();
        assert_eq!(*outbox.ending.lock(), 1);
        outbox.expire(101 + KEEP).unwrap();
        assert_eq!(*outbox.ending.lock(), 0);
        assert!(!outbox.declined(a, MessageId::new([1; 16])).unwrap());
    }

    #[test]
    fn the_outbox_is_bounded_and_old_messages_end() {
        let outbox = Outbox::open(Arc::new(MemoryStorage::default())).unwrap();
        let a = device();
        let large = OutgoingRecord {
            sealed: MAX_BYTES,
            ..record(a, 1)
        };
        outbox.add(large, &[1; 4]).unwrap();
        assert!(matches!(
            outbox.add(record(a, 2), &[2; 4]),
            Err(AddError::Full)
        ));
        outbox.expire(100 + KEEP).unwrap();
        assert_eq!(outbox.heads().len(), 1);
        outbox.expire(101 + KEEP).unwrap();
        assert_eq!((outbox.heads().len(), outbox.len()), (0, 1));
        outbox.add(record(a, 3), &[3; 4]).unwrap();
        outbox.expire(101 + 2 * KEEP).unwrap();
        assert_eq!(
            outbox.len(),
            1,
            "what failed is forgotten, what waited fails"
        );
    }
}
