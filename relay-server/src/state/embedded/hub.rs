//! Who watches keys and who listens to subjects.

use super::rows;
use crate::state::subject::{Speaker, subscription};
use crate::state::{Change, Entry, MAX_SUBSCRIPTIONS, MAX_WATCHES, StateError, Subscription};
use bytes::Bytes;
use hither_util::sync::Mutex;
use std::collections::HashMap;
use std::sync::MutexGuard;
use tokio::sync::mpsc;

/// A change of a row of [`rows::KEYS`].
#[derive(Debug, Clone)]
pub(super) struct RowChange {
    pub row: Vec<u8>,
    pub revision: u64,
    pub entry: Option<Entry>,
}

impl RowChange {
    /// The change as a watcher is told.
    pub(super) fn told(self) -> Change {
        let key = rows::key_of(&self.row).unwrap_or_default().to_owned();
        Change {
            key,
            revision: self.revision,
            entry: self.entry,
        }
    }
}

/// A watch of rows that begin with a prefix. Dropping the sender tells the watcher that it lags.
#[derive(Debug)]
struct Watcher {
    prefix: Vec<u8>,
    /// Changes up to this revision are part of what was there when the watch began.
    after: u64,
    live: mpsc::Sender<Change>,
}

#[derive(Debug, Default)]
struct Inner {
    watchers: Vec<Watcher>,
    subjects: HashMap<String, Vec<Speaker>>,
    subscriptions: usize,
    closed: bool,
}

/// Tells those who watch and listen. Never blocks on any of them.
#[derive(Debug, Default)]
pub(super) struct Hub(Mutex<Inner>);

impl Hub {
    /// Adds a watcher of what is told from now on and is later than revision `after`.
    pub(super) fn watch(
        &self,
        prefix: Vec<u8>,
        after: u64,
        live: mpsc::Sender<Change>,
    ) -> Result<(), StateError> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(StateError::Closed);
        }
        if inner.watchers.len() >= MAX_WATCHES {
            inner.watchers.retain(|watcher| !watcher.live.is_closed());
        }
        if inner.watchers.len() >= MAX_WATCHES {
            return Err(StateError::Busy("watches".into()));
        }
        inner.watchers.push(Watcher {
            prefix,
            after,
            live,
        });
        Ok(())
    }

    /// Tells changes in their order. A watcher without room for one is dropped.
    pub(super) fn tell(&self, changes: &[RowChange]) {
        if changes.is_empty() {
            return;
        }
        self.lock().watchers.retain(|watcher| {
            let concern = |change: &&RowChange| {
                change.revision > watcher.after && change.row.starts_with(&watcher.prefix)
            };
            changes
                .iter()
                .filter(concern)
                .all(|change| watcher.live.try_send(change.clone().told()).is_ok())
        });
    }

    /// Drops every watcher that one of these changes concerns: whether they were made is not known.
    pub(super) fn unsure(&self, changes: &[RowChange]) {
        self.lock().watchers.retain(|watcher| {
            !changes
                .iter()
                .any(|change| change.row.starts_with(&watcher.prefix))
        });
    }

    pub(super) fn publish(&self, subject: &str, value: &Bytes) -> Result<(), StateError> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(StateError::Closed);
        }
        let Some(speakers) = inner.subjects.get_mut(subject) else {
            return Ok(());
        };
        let before = speakers.len();
        speakers.retain(|speaker| speaker.say(value.clone()));
        let gone = before - speakers.len();
        if speakers.is_empty() {
            inner.subjects.remove(subject);
        }
        inner.subscriptions -= gone;
        Ok(())
    }

    pub(super) fn subscribe(&self, subject: &str) -> Result<Subscription, StateError> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(StateError::Closed);
        }
        if inner.subscriptions >= MAX_SUBSCRIPTIONS {
            inner.subjects.retain(|_, speakers| {
                speakers.retain(|speaker| !speaker.is_closed());
                !speakers.is_empty()
            });
            inner.subscriptions = inner.subjects.values().map(Vec::len).sum();
        }
        if inner.subscriptions >= MAX_SUBSCRIPTIONS {
            return Err(StateError::Busy("subscriptions".into()));
        }
        let (speaker, subscription) = subscription(None);
        inner
            .subjects
            .entry(subject.to_owned())
            .or_default()
            .push(speaker);
        inner.subscriptions += 1;
        Ok(subscription)
    }

    /// Ends every watch and subscription, and lets none begin.
    pub(super) fn close(&self) {
        *self.lock() = Inner {
            closed: true,
            ..Inner::default()
        };
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    // No code that can panic leaves anything half done under this lock.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock()
    }
}
