//! What is heard on a subject.

use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;
use tokio_util::sync::DropGuard;

/// Longest published value, bytes. What is larger goes into a queue, and the push says so.
pub const MAX_PUBLISH: usize = 64 * 1024;
/// Published values that wait for a slow subscriber; the next ones are dropped and counted.
pub const SUBSCRIPTION_DEPTH: usize = 256;
/// Most subscriptions of one engine at a time.
pub const MAX_SUBSCRIPTIONS: usize = 4096;

/// Hears what is published on a subject, until it is dropped.
#[derive(Debug)]
pub struct Subscription {
    values: mpsc::Receiver<Bytes>,
    dropped: Arc<AtomicU64>,
    /// Tells a connection that nobody listens any more.
    _gone: Option<DropGuard>,
}

/// The other end of a [`Subscription`].
#[derive(Debug, Clone)]
pub(super) struct Speaker {
    values: mpsc::Sender<Bytes>,
    dropped: Arc<AtomicU64>,
}

/// A subscription and its other end.
pub(super) fn subscription(gone: Option<DropGuard>) -> (Speaker, Subscription) {
    let (sender, values) = mpsc::channel(SUBSCRIPTION_DEPTH);
    let dropped = Arc::new(AtomicU64::new(0));
    let speaker = Speaker {
        values: sender,
        dropped: Arc::clone(&dropped),
    };
    (
        speaker,
        Subscription {
            values,
            dropped,
            _gone: gone,
        },
    )
}

impl Subscription {
    /// The next value; `None` when there will be no more (the connection to the state was lost, or
    /// it was closed).
    pub async fn next(&mut self) -> Option<Bytes> {
        self.values.recv().await
    }

    /// How many values were dropped so far because this end was too slow.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Speaker {
    /// Hands a value over or counts it as dropped; `false` when nobody listens any more.
    pub(super) fn say(&self, value: Bytes) -> bool {
        match self.values.try_send(value) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.add_dropped(1);
                true
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }

    pub(super) fn add_dropped(&self, count: u64) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.values.is_closed()
    }
}
