//! What happens to the keys of a bucket.

use super::Entry;
use tokio::sync::mpsc;
use tokio_util::sync::DropGuard;

/// Changes that wait for a slow watcher; at the next one it is told that it lags.
pub const WATCH_DEPTH: usize = 1024;
/// Most watches of one engine at a time.
pub const MAX_WATCHES: usize = 1024;

/// A key was set or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: String,
    /// When: changes of a watch come in growing order after [`Event::Current`].
    pub revision: u64,
    /// What the key holds now; `None`: it was removed.
    pub entry: Option<Entry>,
}

/// What a watch tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A key was set or removed or, before [`Event::Current`], is there.
    Change(Change),
    /// Everything that was there when the watch began was told; from here on come changes. A key
    /// that changed while these were being told may be missing before this marker: its change
    /// comes after it.
    Current,
    /// Changes were lost because this end was too slow, or the storage failed: watch anew. The last
    /// event.
    Lagged,
    /// The connection to the state was lost, or it was closed: watch anew. The last event.
    Disconnected,
}

/// Tells what happens to some keys, until it is dropped.
#[derive(Debug)]
pub struct Watch {
    events: mpsc::Receiver<Event>,
    /// Tells a connection that nobody watches any more.
    _gone: Option<DropGuard>,
}

impl Watch {
    pub(super) fn new(events: mpsc::Receiver<Event>, gone: Option<DropGuard>) -> Self {
        Self {
            events,
            _gone: gone,
        }
    }

    /// The next event; [`Event::Disconnected`] forever after the last one.
    pub async fn next(&mut self) -> Event {
        self.events.recv().await.unwrap_or(Event::Disconnected)
    }
}
