//! Messages that arrived: durable before the relay may forget them, and shown once, however often
//! they come.
//!
//! Invariants: a delivery is acknowledged only after its message (or the decision to drop it) is
//! durable; a pair of sender and id that was seen is remembered for [`REMEMBER`], longer than a
//! sender goes on trying and a relay keeps messages together; at most [`MAX_MESSAGES`] messages of
//! [`MAX_BYTES`] are kept, beyond that they stay at the relay. Those of visitors take half of that at
//! most, and of one link [`MAX_OF_LINK`] and [`MAX_BYTES_OF_LINK`]: beyond that they are declined.

use super::content::{Inside, Letter, SmallFile};
use super::records::{
    self, Arrival, INBOX, INBOX_FILES, MessageRecord, NUMBERS, PageMessage, SEEN, StoredContent,
    StoredFile,
};
use super::visits::Refused;
use super::{Handed, Kept};
use hither_carrier::Identity;
use hither_carrier::seal::{self, SealPurpose};
use hither_content::storage::{Batch, Storage, StorageError};
use hither_proto::{DeviceId, MessageId, stamp};
use hither_relay_client::Delivery;
use hither_util::clock::unix_seconds;
use hither_util::sync::Mutex;
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// Most messages kept.
const MAX_MESSAGES: u64 = 10_000;
/// Most bytes of texts and files kept.
const MAX_BYTES: u64 = 256 << 20;
/// Most messages kept that came by one link for visitors.
const MAX_OF_LINK: u64 = 512;
/// Most bytes of texts and files of those.
const MAX_BYTES_OF_LINK: u64 = 32 << 20;
/// How long a message that arrived is known again.
const REMEMBER: Duration = Duration::from_secs(400 * 86_400);
/// Most messages known again; the oldest are forgotten first.
const MAX_SEEN: usize = 1_000_000;
/// Most changes in one batch when messages are forgotten.
const FORGET_BATCH: usize = 10_000;
/// The key of the next number.
const NEXT: &[u8] = b"inbox";

/// The messages that arrived.
pub(crate) struct Inbox {
    storage: Arc<dyn Storage>,
    state: Mutex<InboxState>,
    /// The number of the latest message.
    latest: watch::Sender<u64>,
    /// Counts up with everything that is made durable.
    changes: watch::Sender<u64>,
    /// A message was deleted.
    pub room: Notify,
}

#[derive(Clone, Default)]
struct InboxState {
    next: u64,
    count: u64,
    bytes: u64,
    /// Not looked at.
    unread: u64,
    /// How many came by each link for visitors, and their bytes.
    visits: HashMap<u64, (u64, u64)>,
}

impl InboxState {
    /// Returns whether there is room for a message of so many bytes. What fills the inbox keeps the
    /// letters of devices waiting: half of the room is theirs.
    fn has_room(&self, record: &MessageRecord) -> bool {
        let size = kept_bytes(record);
        let Some(visit) = &record.visit else {
            return self.count < MAX_MESSAGES && self.bytes + size <= MAX_BYTES;
        };
        let (count, bytes) = self.visits.get(&visit.link).copied().unwrap_or_default();
        count < MAX_OF_LINK
            && bytes + size <= MAX_BYTES_OF_LINK
            && self.count < MAX_MESSAGES / 2
            && self.bytes + size <= MAX_BYTES / 2
    }

    fn add(&mut self, record: &MessageRecord) {
        let size = kept_bytes(record);
        self.count += 1;
        self.bytes += size;
        self.unread += u64::from(!record.read);
        if let Some(visit) = &record.visit {
            let (count, bytes) = self.visits.entry(visit.link).or_default();
            (*count, *bytes) = (*count + 1, *bytes + size);
        }
    }

    fn remove(&mut self, record: &MessageRecord) {
        let size = kept_bytes(record);
        self.count = self.count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(size);
        self.unread = self.unread.saturating_sub(u64::from(!record.read));
        let Some(visit) = &record.visit else { return };
        if let Some((count, bytes)) = self.visits.get_mut(&visit.link) {
            (*count, *bytes) = (count.saturating_sub(1), bytes.saturating_sub(size));
            if *count == 0 {
                self.visits.remove(&visit.link);
            }
        }
    }
}

/// The result of taking some deliveries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// The relay may forget everything up to this one.
    pub upto: Option<u64>,
    /// New messages.
    pub new: usize,
    /// The next one did not fit: it stays at the relay.
    pub full: bool,
    /// Those of visitors that did not fit.
    pub(super) refused: Vec<Refused>,
}

impl Inbox {
    pub(super) fn open(storage: Arc<dyn Storage>) -> Result<Self, StorageError> {
        let kept = records::all::<MessageRecord>(&*storage, INBOX)?;
        let next = storage
            .get(NUMBERS, NEXT)?
            .and_then(|bytes| records::number(&bytes))
            .unwrap_or(1);
        let latest = kept.last().map_or(0, |(number, _)| *number);
        let mut state = InboxState {
            next: next.max(latest + 1),
            ..InboxState::default()
        };
        kept.iter().for_each(|(_, record)| state.add(record));
        Ok(Self {
            storage,
            state: Mutex::new(state),
            latest: watch::Sender::new(latest),
            changes: watch::Sender::new(0),
            room: Notify::new(),
        })
    }

    /// Follows the list: something in it may be another.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn commit(&self, batch: Batch) -> Result<(), StorageError> {
        self.storage.commit(batch)?;
        self.changes.send_modify(|count| *count += 1);
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, InboxState> {
        self.state.lock()
    }

    /// Takes deliveries in their order. They are durable when this returns. `aside` takes what is
    /// not for the user, and makes it durable; it may be given something twice. `now`: seconds
    /// of the clock of deadlines. Blocks.
    pub(crate) fn take(
        &self,
        identity: &Identity,
        deliveries: &[Delivery],
        now: u64,
        hand_over: &mut dyn FnMut(&Delivery, &Inside) -> Result<Handed, StorageError>,
    ) -> Result<Taken, StorageError> {
        // One at a time: two relays may deliver the same message.
        let mut state = self.state();
        let (mut batch, mut fresh) = (Batch::new(), HashSet::new());
        let (mut after, mut taken) = (state.clone(), Taken::default());
        for delivery in deliveries {
            let seen = records::seen_key(delivery.from, delivery.id);
            if fresh.contains(&seen) || self.storage.get(SEEN, &seen)?.is_some() {
                taken.upto = Some(delivery.seq);
                continue;
            }
            let Some(inside) = opened(identity, delivery) else {
                // It never can be read, so that there is nothing to know again; and whoever
                // delivers may make up any number of those.
                taken.upto = Some(delivery.seq);
                continue;
            };
            let handed = hand_over(delivery, &inside)?;
            match handed {
                Handed::Done => {}
                Handed::ForTheUser(_) | Handed::Becomes(..) => {
                    let (letter, kept) = match handed {
                        Handed::Becomes(letter, kept) => (letter, kept),
                        Handed::ForTheUser(kept) => (inside.into_letter(), kept),
                        _ => continue,
                    };
                    let (record, files) = message(delivery, letter, kept);
                    match (after.has_room(&record), &record.visit) {
                        (true, _) => {}
                        (false, Some(visit)) => {
                            taken.refused.push(Refused {
                                from: delivery.from,
                                id: delivery.id,
                                visit: visit.clone(),
                            });
                            taken.upto = Some(delivery.seq);
                            continue;
                        }
                        (false, None) => {
                            taken.full = true;
                            break;
                        }
                    }
                    put_message(&mut batch, after.next, &record, &files);
                    after.add(&record);
                    after.next += 1;
                    taken.new += 1;
                }
                Handed::Dropped => {
                    taken.upto = Some(delivery.seq);
                    continue;
                }
                Handed::Later => break,
            }
            batch.put(SEEN, &seen, &now.to_be_bytes());
            fresh.insert(seen);
            taken.upto = Some(delivery.seq);
        }
        if !batch.is_empty() {
            batch.put(NUMBERS, NEXT, &after.next.to_be_bytes());
            self.commit(batch)?;
        }
        let latest = after.next - 1;
        *state = after;
        drop(state);
        if taken.new > 0 {
            self.latest.send_replace(latest);
        }
        Ok(taken)
    }

    /// Takes what a browser sent by a page of `device`, this one, under a new id; `untold`: the user's program is to
    /// be told of it. It is durable when this returns true; false: there is no room. Blocks.
    pub(crate) fn add(
        &self,
        device: DeviceId,
        id: MessageId,
        message: PageMessage,
        untold: bool,
    ) -> Result<bool, StorageError> {
        let (content, arrival) = match message {
            PageMessage::Text(text) => (StoredContent::Text { text }, None),
            PageMessage::File {
                name,
                length,
                arrival,
            } => {
                let mode = 0o644;
                let files = vec![StoredFile { name, mode, length }];
                (StoredContent::Files { files }, Some(arrival))
            }
        };
        let record = MessageRecord {
            message: id.to_string(),
            from: device.to_string(),
            received: unix_seconds(),
            made_ms: unix_seconds() * 1000,
            read: false,
            content,
            arrival,
            untold,
            page: true,
            visit: None,
        };
        let mut state = self.state();
        let (number, size) = (state.next, kept_bytes(&record));
        // Half of the room is for devices: what fills the inbox keeps all letters waiting.
        if state.count >= MAX_MESSAGES / 2 || state.bytes + size > MAX_BYTES / 2 {
            return Ok(false);
        }
        let mut batch = Batch::new();
        put_record(&mut batch, number, &record);
        batch.put(NUMBERS, NEXT, &(number + 1).to_be_bytes());
        self.commit(batch)?;
        state.next = number + 1;
        state.add(&record);
        drop(state);
        self.latest.send_replace(number);
        Ok(true)
    }

    /// The numbers of all messages that are kept, oldest first. Blocks.
    pub(crate) fn numbers(&self) -> Result<Vec<u64>, StorageError> {
        let mut numbers = Vec::new();
        self.storage.scan(INBOX, b"", &mut |key, _| {
            numbers.extend(records::number(key));
            ControlFlow::Continue(())
        })?;
        Ok(numbers)
    }

    /// Follows the number of the latest message.
    pub(crate) fn latest(&self) -> watch::Receiver<u64> {
        self.latest.subscribe()
    }

    /// The messages behind number `after`, oldest first. Blocks.
    pub(super) fn after(&self, after: u64) -> Result<Vec<(u64, MessageRecord)>, StorageError> {
        let mut all = records::all(&*self.storage, INBOX)?;
        all.retain(|(number, _)| *number > after);
        Ok(all)
    }

    /// One message. Blocks.
    pub(crate) fn get(&self, number: u64) -> Result<Option<MessageRecord>, StorageError> {
        let bytes = self.storage.get(INBOX, &records::number_key(number))?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// The bytes of one file of a message. Blocks.
    pub(crate) fn file(&self, number: u64, place: usize) -> Result<Option<Vec<u8>>, StorageError> {
        self.storage
            .get(INBOX_FILES, &records::file_key(number, place))
    }

    /// Takes note that a message was looked at. Blocks.
    pub(super) fn mark_read(&self, number: u64) -> Result<(), StorageError> {
        self.change(number, |record| {
            let is_new = !record.read;
            record.read = true;
            is_new
        })
        .map(drop)
    }

    /// Changes what is known of a message; `change` says whether it did. Where its files have
    /// arrived the inbox holds them no longer. Returns the message as it is then, durably; `None`:
    /// there is none of that number (any more). Blocks.
    pub(crate) fn change(
        &self,
        number: u64,
        change: impl FnOnce(&mut MessageRecord) -> bool,
    ) -> Result<Option<MessageRecord>, StorageError> {
        let mut state = self.state();
        let Some(before) = self.get(number)? else {
            return Ok(None);
        };
        let mut record = before.clone();
        if !change(&mut record) {
            return Ok(Some(record));
        }
        let mut batch = Batch::new();
        put_record(&mut batch, number, &record);
        let (had, has) = (kept_bytes(&before), kept_bytes(&record));
        if has < had {
            remove_files(&mut batch, number, &record);
        }
        self.commit(batch)?;
        state.remove(&before);
        state.add(&record);
        Ok(Some(record))
    }

    /// How many messages were not looked at.
    pub(crate) fn unread(&self) -> u64 {
        self.state().unread
    }

    /// Removes a message; it is known again all the same. Blocks.
    pub(super) fn delete(&self, number: u64) -> Result<Option<MessageRecord>, StorageError> {
        let mut state = self.state();
        let Some(record) = self.get(number)? else {
            return Ok(None);
        };
        let mut batch = Batch::new();
        batch.remove(INBOX, &records::number_key(number));
        remove_files(&mut batch, number, &record);
        self.commit(batch)?;
        state.remove(&record);
        self.room.notify_waiters();
        Ok(Some(record))
    }

    /// Forgets which messages arrived longer than [`REMEMBER`] before `now`, seconds of the clock
    /// of deadlines, and the oldest beyond [`MAX_SEEN`]. Blocks.
    pub(super) fn forget_old(&self, now: u64) -> Result<(), StorageError> {
        let mut seen = Vec::new();
        self.storage.scan(SEEN, b"", &mut |key, value| {
            seen.push((records::number(value).unwrap_or_default(), key.to_vec()));
            ControlFlow::Continue(())
        })?;
        seen.sort_unstable();
        let horizon = now.saturating_sub(REMEMBER.as_secs());
        let old = seen.iter().take_while(|(at, _)| *at < horizon).count();
        let forget = old.max(seen.len().saturating_sub(MAX_SEEN));
        for keys in seen[..forget].chunks(FORGET_BATCH) {
            let mut batch = Batch::new();
            keys.iter().for_each(|(_, key)| batch.remove(SEEN, key));
            self.commit(batch)?;
        }
        Ok(())
    }
}

/// Opens a message sealed for this device; `None` when it cannot be read: it never will be, so it
/// need not come again.
fn opened(identity: &Identity, delivery: &Delivery) -> Option<Inside> {
    let opened = seal::open(
        identity,
        delivery.from,
        SealPurpose::Message,
        &delivery.id,
        &delivery.sealed,
    );
    let inside = match opened {
        Ok(bytes) => Inside::decode(&bytes).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = &inside {
        tracing::warn!(from = ?delivery.from, error, "a message is dropped");
    }
    inside.ok()
}

/// How much room a message takes here, bytes: files that have arrived take theirs elsewhere.
fn kept_bytes(record: &MessageRecord) -> u64 {
    match record.arrival {
        Some(Arrival::Arrived { .. }) => 0,
        _ => record.content.size(),
    }
}

fn remove_files(batch: &mut Batch, number: u64, record: &MessageRecord) {
    if let StoredContent::Files { files } = &record.content {
        (0..files.len())
            .for_each(|place| batch.remove(INBOX_FILES, &records::file_key(number, place)));
    }
}

/// The record of a message that arrived, and its files, whose bytes are stored elsewhere.
fn message(delivery: &Delivery, letter: Letter, kept: Kept) -> (MessageRecord, Vec<SmallFile>) {
    let (content, files) = StoredContent::split(letter.content);
    let record = MessageRecord {
        message: delivery.id.to_string(),
        from: delivery.from.to_string(),
        received: unix_seconds(),
        // A letter of a later format does not say, and a clock may be wrong: then the relay's clock
        // says when it took it.
        made_ms: match letter.made_ms {
            0 => delivery.taken_ms,
            made if stamp::is_plausible(made, delivery.taken_ms) => made,
            _ => delivery.taken_ms,
        },
        read: false,
        content,
        arrival: kept.arrival,
        untold: kept.untold,
        page: false,
        visit: kept.visit,
    };
    (record, files)
}

fn put_message(batch: &mut Batch, number: u64, record: &MessageRecord, files: &[SmallFile]) {
    for (place, file) in files.iter().enumerate() {
        batch.put(INBOX_FILES, &records::file_key(number, place), &file.bytes);
    }
    put_record(batch, number, record);
}

fn put_record(batch: &mut Batch, number: u64, record: &MessageRecord) {
    // Texts and numbers: nothing in it that JSON cannot hold.
    let bytes = serde_json::to_vec(record).unwrap_or_default();
    batch.put(INBOX, &records::number_key(number), &bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::content::{Content, Letter};
    use hither_carrier::seal::{SealPurpose, seal};
    use hither_content::storage::MemoryStorage;
    use hither_proto::{DeviceId, MessageId};

    fn delivery(from: DeviceId, number: u8, sealed: Vec<u8>) -> Delivery {
        Delivery {
            seq: u64::from(number),
            from,
            id: MessageId::new([number; 16]),
            taken_ms: 1,
            sealed: sealed.into(),
        }
    }

    fn seen(inbox: &Inbox) -> usize {
        let mut count = 0;
        let counted = inbox.storage.scan(SEEN, b"", &mut |_, _| {
            count += 1;
            ControlFlow::Continue(())
        });
        counted.unwrap();
        count
    }

    #[test]
    fn field_d8_what_cannot_be_read_pushes_nothing_out_of_what_was_seen() {
        let inbox = Inbox::open(Arc::new(MemoryStorage::default())).unwrap();
        let (reader, author) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let from = author.device_id();
        let letter = Letter {
            made_ms: 7,
            content: Content::Text("hello".into()),
            receipt: false,
            visitor: None,
        }
        .encode();
        let id = MessageId::new([1; 16]);
        let sealed = seal(
            &author,
            reader.device_id(),
            SealPurpose::Message,
            &id,
            &letter,
        )
        .unwrap();
        let take = |deliveries: &[Delivery]| {
            inbox
                .take(&reader, deliveries, 100, &mut |_, _| {
                    Ok(Handed::ForTheUser(Kept::default()))
                })
                .unwrap()
        };
        assert_eq!(take(&[delivery(from, 1, sealed.clone())]).new, 1);
        // A sender makes up as many as it likes; they are done with, and leave nothing.
        let made_up: Vec<Delivery> = (2..200)
            .map(|number| delivery(from, number, vec![number; 64]))
            .collect();
        let taken = take(&made_up);
        assert_eq!((taken.new, taken.upto), (0, Some(199)));
        assert_eq!(seen(&inbox), 1);
        // So that what was shown once is not shown again.
        assert_eq!(take(&[delivery(from, 1, sealed)]).new, 0);
    }
}
