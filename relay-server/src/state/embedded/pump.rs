//! Carries what a watch tells from the writer to the watcher, at the watcher's pace.

use super::hub::RowChange;
use super::{Shared, read};
use crate::state::{Change, Event, MAX_PAGE, StateError};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Events handed over ahead of the watcher.
pub(super) const AHEAD: usize = 64;

/// One watch.
pub(super) struct Pump {
    pub shared: Arc<Shared>,
    /// How the rows begin that are watched.
    pub prefix: Vec<u8>,
    /// Changes later than this revision come as changes, what is older is told first.
    pub start: u64,
    /// Closed by the hub when the watch lags.
    pub changes: mpsc::Receiver<Change>,
    pub events: mpsc::Sender<Event>,
}

impl Pump {
    /// Carries until the watcher goes, lags, or the state stops.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let events = self.events.clone();
        let carry = async {
            let last = self.carry().await;
            self.tell(last).await;
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = events.closed() => {}
            () = carry => {}
        }
    }

    /// Carries everything there is and returns the last event.
    async fn carry(&mut self) -> Event {
        match self.tell_current().await {
            Ok(()) => {}
            Err(StateError::Closed) => return Event::Disconnected,
            Err(error) => {
                tracing::debug!(%error, "what is there could not be read for a watch");
                return Event::Lagged;
            }
        }
        while let Some(change) = self.changes.recv().await {
            self.tell(Event::Change(change)).await;
        }
        if self.shared.hub.is_closed() {
            Event::Disconnected
        } else {
            Event::Lagged
        }
    }

    async fn tell_current(&mut self) -> Result<(), StateError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let (prefix, from) = (self.prefix.clone(), after.clone());
            let list = move |shared: &Shared| shared.list(&prefix, from.as_deref(), MAX_PAGE);
            let (found, more) = read(&self.shared, list).await?;
            after = found.last().map(|(row, _)| row.clone());
            for (row, entry) in found {
                if entry.revision <= self.start {
                    let change = RowChange {
                        row,
                        revision: entry.revision,
                        entry: Some(entry),
                    };
                    self.tell(Event::Change(change.told())).await;
                }
            }
            if !more {
                break;
            }
        }
        self.tell(Event::Current).await;
        Ok(())
    }

    async fn tell(&self, event: Event) {
        // An error means that nobody watches any more, which ends this watch elsewhere.
        let _ = self.events.send(event).await;
    }
}
