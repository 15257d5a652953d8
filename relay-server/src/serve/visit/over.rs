//! The end of a visit: its time is over, or the host has ended it, at whichever node.

use super::records::{VisitKey, VisitRecord};
use super::{Standing, book};
use crate::node::{Node, now_ms};
use crate::serve::front::Connection;
use crate::state::Change;
use prost::Message;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::time::sleep;

/// Endings that wait for a slow listener, who looks by itself when it has missed some.
const ENDINGS: usize = 64;
/// Pause before a record is looked at again that could not be read.
const AGAIN: Duration = Duration::from_secs(2);
/// Longest sleep: a clock that was set while a node slept shows then.
const LONGEST: Duration = Duration::from_secs(600);

/// Tells whoever is there by an invitation that it has ended.
pub(crate) struct Endings(broadcast::Sender<VisitKey>);

impl Default for Endings {
    fn default() -> Self {
        Self(broadcast::Sender::new(ENDINGS))
    }
}

impl Endings {
    /// An invitation changed, somewhere in the fleet.
    pub(crate) fn changed(&self, change: &Change) {
        let Some(key) = VisitKey::last(&change.key) else {
            return;
        };
        let record = change
            .entry
            .as_ref()
            .and_then(|entry| VisitRecord::decode(&entry.value[..]).ok());
        if record.is_none_or(|record| record.expires_ms <= now_ms()) {
            // An error means that nobody is there by any.
            let _ = self.0.send(key);
        }
    }
}

/// Waits until whoever is connected like that may not stay; forever for a device.
pub(crate) async fn over(node: &Node, connection: &Connection) {
    match &connection.standing {
        Standing::Device | Standing::Page => std::future::pending().await,
        Standing::Visitor(visit) => visit_over(node, &visit.key).await,
        Standing::Asker(asker) => {
            let left = asker.until_ms.saturating_sub(now_ms());
            sleep(Duration::from_millis(left)).await;
        }
    }
}

/// Waits until an invitation is over.
pub(crate) async fn visit_over(node: &Node, key: &VisitKey) {
    let mut endings = node.services.visits.endings.0.subscribe();
    loop {
        let left = match book::alive(node.state.as_ref(), key, now_ms()).await {
            Ok(Some(record)) => Duration::from_millis(record.expires_ms.saturating_sub(now_ms())),
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(%error, "an invitation could not be looked at");
                AGAIN
            }
        };
        let ended = async { while endings.recv().await.is_ok_and(|ended| ended != *key) {} };
        tokio::select! {
            () = ended => {}
            () = sleep(left.min(LONGEST)) => {}
        }
    }
}
