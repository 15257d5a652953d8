//! The mailbox of the device that is connected: what it has not acknowledged is delivered, in
//! order, again after every reconnect, and never more at a time than a window.

use crate::config::MailConfig;
use crate::node::Node;
use crate::serve::records::mail_queue;
use crate::state::{Item, StateError};
use hither_proto::{DeviceId, MessageId, RelayMessage};
use hither_util::backoff::Backoff;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// Most bytes that were delivered and not acknowledged; one message more may be.
const WINDOW_BYTES: usize = 2 * 1024 * 1024;

/// First and longest pause after the mailbox could not be read or told.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How far delivery is.
#[derive(Debug)]
pub(super) struct Inbox {
    window: usize,
    max_message: usize,
    /// Letters of anybody else are left out.
    only_from: Option<DeviceId>,
    /// The last message delivered.
    last: u64,
    /// Delivered and not acknowledged: place and length.
    unacknowledged: VecDeque<(u64, usize)>,
    bytes: usize,
    /// There may be something to read.
    wanted: bool,
    /// What is being read: most messages and bytes.
    reading: Option<(usize, usize)>,
    read_backoff: Backoff<Instant>,
    /// Acknowledged by the device, and so far by the mailbox.
    received: u64,
    forgotten: u64,
    /// What the mailbox is told to forget.
    acking: Option<u64>,
    ack_backoff: Backoff<Instant>,
}

/// A look into the mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Read {
    after: u64,
    limit: usize,
    max_bytes: usize,
}

impl Read {
    pub(super) async fn run(self, node: &Node, device: &DeviceId) -> Result<Vec<Item>, StateError> {
        node.state
            .read(&mail_queue(device), self.after, self.limit, self.max_bytes)
            .await
    }
}

impl Inbox {
    pub(super) fn new(config: &MailConfig) -> Self {
        Self {
            window: config.window,
            max_message: usize::try_from(config.max_message.0).unwrap_or(usize::MAX),
            only_from: None,
            last: 0,
            unacknowledged: VecDeque::new(),
            bytes: 0,
            wanted: true,
            reading: None,
            read_backoff: Backoff::new(RETRY.0, RETRY.1),
            received: 0,
            forgotten: 0,
            acking: None,
            ack_backoff: Backoff::new(RETRY.0, RETRY.1),
        }
    }

    /// Delivers letters of one sender only, as to a visitor, whose key may be known to another
    /// host too.
    pub(super) fn only_from(mut self, sender: Option<DeviceId>) -> Self {
        self.only_from = sender;
        self
    }

    /// There may be something new.
    pub(super) fn look(&mut self, now: Instant) {
        self.wanted = true;
        self.read_backoff.hurry(now);
    }

    /// Most messages that a look into the mailbox may find, if one is wanted and there is room.
    /// `room`: bytes.
    fn wants(&self, room: usize) -> Option<usize> {
        let limit = self.window.saturating_sub(self.unacknowledged.len());
        let fits = limit > 0 && self.bytes < WINDOW_BYTES && room > 0;
        (self.wanted && self.reading.is_none() && fits).then_some(limit)
    }

    /// When something that failed is to be tried again.
    pub(super) fn due(&self, room: usize) -> Option<Instant> {
        let read = self.wants(room).and(self.read_backoff.due());
        let ack = self.acks().and(self.ack_backoff.due());
        read.into_iter().chain(ack).min()
    }

    /// The next look into the mailbox, if one is wanted and there is room for what it may find.
    /// `room`: bytes.
    pub(super) fn begin_read(&mut self, room: usize, now: Instant) -> Option<Read> {
        let limit = self.wants(room).filter(|_| self.read_backoff.is_due(now))?;
        let max_bytes = room.min(WINDOW_BYTES - self.bytes).max(self.max_message);
        self.wanted = false;
        self.reading = Some((limit, max_bytes));
        Some(Read {
            after: self.last,
            limit,
            max_bytes,
        })
    }

    /// What a look has found, to be delivered.
    pub(super) fn end_read(
        &mut self,
        read: Result<Vec<Item>, StateError>,
        now: Instant,
    ) -> Vec<RelayMessage> {
        let Some((limit, max_bytes)) = self.reading.take() else {
            return Vec::new();
        };
        let items = match read {
            Ok(items) => items,
            Err(error) => {
                // There may be no further word of this mail.
                tracing::debug!(%error, "a mailbox could not be read");
                self.wanted = true;
                self.read_backoff.failed(now);
                return Vec::new();
            }
        };
        self.read_backoff.succeeded();
        let found: usize = items.iter().map(|item| item.value.len()).sum();
        // It ended for lack of room: there may be more.
        self.wanted |= items.len() >= limit || found + self.max_message > max_bytes;
        items
            .into_iter()
            .filter_map(|item| self.deliver(item))
            .collect()
    }

    fn deliver(&mut self, item: Item) -> Option<RelayMessage> {
        self.last = item.seq;
        let only = self.only_from;
        if only.is_some_and(|only| item.source != only.as_bytes()[..]) {
            return None;
        }
        self.unacknowledged.push_back((item.seq, item.value.len()));
        self.bytes += item.value.len();
        // Written by this program: anything else is skipped, and goes with the next
        // acknowledgement.
        let from = DeviceId::from_slice(&item.source).ok()?;
        Some(RelayMessage::Deliver {
            seq: item.seq,
            from,
            id: MessageId::new(item.id),
            sealed: item.value,
            taken_ms: item.appended_ms,
        })
    }

    /// The device has everything up to `seq`. What was not delivered on this connection cannot be
    /// acknowledged.
    pub(super) fn received(&mut self, seq: u64) {
        let seq = seq.min(self.last);
        self.received = self.received.max(seq);
        while let Some((first, length)) = self
            .unacknowledged
            .front()
            .copied()
            .filter(|(first, _)| *first <= seq)
        {
            debug_assert!(first <= seq);
            self.unacknowledged.pop_front();
            self.bytes -= length;
        }
    }

    /// What the mailbox should forget, if anything.
    fn acks(&self) -> Option<u64> {
        (self.acking.is_none() && self.received > self.forgotten).then_some(self.received)
    }

    /// What the mailbox should forget next.
    pub(super) fn begin_ack(&mut self, now: Instant) -> Option<u64> {
        let up_to = self.acks().filter(|_| self.ack_backoff.is_due(now))?;
        self.acking = Some(up_to);
        self.acking
    }

    pub(super) async fn ack(node: &Node, device: &DeviceId, up_to: u64) -> Result<u64, StateError> {
        node.state.ack(&mail_queue(device), up_to).await
    }

    pub(super) fn end_ack(&mut self, result: Result<u64, StateError>, now: Instant) {
        let Some(up_to) = self.acking.take() else {
            return;
        };
        match result {
            Ok(_) => {
                self.forgotten = up_to;
                self.ack_backoff.succeeded();
            }
            Err(error) => {
                // Until then it fills the mailbox, and would be delivered again on the next
                // connection.
                tracing::debug!(%error, "what was received could not be forgotten");
                self.ack_backoff.failed(now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use hither_carrier::Identity;

    fn now() -> Instant {
        Instant::now()
    }

    fn item(seq: u64, length: usize) -> Item {
        let from = Identity::generate().unwrap().device_id();
        Item {
            seq,
            id: [seq as u8; 16],
            source: Bytes::copy_from_slice(from.as_bytes()),
            value: Bytes::from(vec![7; length]),
            appended_ms: 1,
            expires_ms: 2,
        }
    }

    fn inbox(window: usize) -> Inbox {
        Inbox::new(&MailConfig {
            window,
            ..MailConfig::default()
        })
    }

    #[test]
    fn the_window_is_kept_and_acknowledgements_open_it() {
        let mut inbox = inbox(2);
        let read = inbox.begin_read(usize::MAX, now()).unwrap();
        assert_eq!((read.after, read.limit), (0, 2));
        assert!(
            inbox.begin_read(usize::MAX, now()).is_none(),
            "one at a time"
        );
        assert_eq!(
            inbox
                .end_read(Ok(vec![item(5, 10), item(8, 10)]), now())
                .len(),
            2
        );
        assert!(
            inbox.begin_read(usize::MAX, now()).is_none(),
            "the window is full"
        );
        inbox.received(5);
        let read = inbox.begin_read(usize::MAX, now()).unwrap();
        assert_eq!((read.after, read.limit), (8, 1));
        assert!(inbox.end_read(Ok(Vec::new()), now()).is_empty());
        assert!(
            inbox.begin_read(usize::MAX, now()).is_none(),
            "nothing more was there"
        );
        inbox.look(now());
        assert!(inbox.begin_read(usize::MAX, now()).is_some());
    }

    #[test]
    fn what_was_not_delivered_cannot_be_acknowledged() {
        let mut inbox = inbox(8);
        inbox.received(u64::MAX);
        assert_eq!(inbox.begin_ack(now()), None);
        inbox.begin_read(usize::MAX, now()).unwrap();
        inbox.end_read(Ok(vec![item(5, 10), item(8, 10)]), now());
        inbox.received(u64::MAX);
        assert_eq!(inbox.begin_ack(now()), Some(8));
        assert_eq!(inbox.begin_ack(now()), None, "one at a time");
        inbox.end_ack(Ok(2), now());
        inbox.received(3);
        assert_eq!(inbox.begin_ack(now()), None);
    }

    #[test]
    fn large_messages_fill_the_window_by_their_bytes() {
        let mut inbox = inbox(1000);
        let mut seq = 0;
        while let Some(read) = inbox.begin_read(usize::MAX, now()) {
            assert!(read.max_bytes >= 256 * 1024);
            seq += 1;
            inbox.end_read(Ok(vec![item(seq, 256 * 1024)]), now());
            inbox.look(now());
        }
        assert_eq!(seq as usize, WINDOW_BYTES / (256 * 1024));
    }

    #[test]
    fn a_look_that_ended_for_its_bytes_is_followed_by_another() {
        let mut inbox = inbox(1000);
        let read = inbox.begin_read(600 * 1024, now()).unwrap();
        assert_eq!(read.max_bytes, 600 * 1024);
        // A third of 250 KiB would not have fitted.
        inbox.end_read(Ok(vec![item(1, 250 * 1024), item(2, 250 * 1024)]), now());
        assert!(inbox.begin_read(600 * 1024, now()).is_some());
    }

    #[test]
    fn a_look_that_failed_is_repeated_without_any_word_of_mail() {
        let mut inbox = inbox(8);
        let mut at = now();
        assert!(inbox.due(usize::MAX).is_none());
        for _ in 0..20 {
            inbox.begin_read(usize::MAX, at).expect("a look");
            assert_eq!(inbox.due(usize::MAX), None, "not while it goes on");
            assert!(inbox.end_read(Err(StateError::Disconnected), at).is_empty());
            assert!(inbox.begin_read(usize::MAX, at).is_none(), "not at once");
            assert_eq!(inbox.due(0), None, "not without room");
            let due = inbox.due(usize::MAX).expect("a time");
            assert!(due > at && due - at <= Duration::from_secs(5));
            at = due;
        }
        inbox.begin_read(usize::MAX, at).expect("a look");
        inbox.end_read(Err(StateError::Disconnected), at);
        inbox.look(at);
        inbox
            .begin_read(usize::MAX, at)
            .expect("word of mail shows that the state can be reached");
        assert_eq!(inbox.end_read(Ok(vec![item(1, 10)]), at).len(), 1);
        assert_eq!(inbox.due(usize::MAX), None);
    }

    #[test]
    fn what_could_not_be_forgotten_is_forgotten_later() {
        let mut inbox = inbox(8);
        let at = now();
        inbox.begin_read(usize::MAX, at).unwrap();
        inbox.end_read(Ok(vec![item(5, 10), item(8, 10)]), at);
        inbox.received(5);
        assert_eq!(inbox.begin_ack(at), Some(5));
        inbox.end_ack(Err(StateError::TimedOut), at);
        assert_eq!(inbox.begin_ack(at), None, "not at once");
        let due = inbox.due(0).expect("a time");
        inbox.received(8);
        assert_eq!(inbox.begin_ack(due), Some(8));
        inbox.end_ack(Ok(2), due);
        assert_eq!((inbox.begin_ack(due), inbox.due(0)), (None, None));
    }
}
