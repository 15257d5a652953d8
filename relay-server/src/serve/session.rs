//! The node's session in the state: what it puts ephemerally is there for as long as the node
//! lives.
//!
//! When a session is lost (the state could not be reached for too long, or the node that keeps it
//! was restarted), a new one is opened, and whoever put something puts it anew.

use super::records::device_key;
use crate::node::Node;
use crate::state::{Expect, Lease, Session, StateError};
use bytes::Bytes;
use hither_util::sync::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// Pauses between attempts to open a session.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The session of now.
pub(crate) struct NodeSession {
    lease: Mutex<Option<Arc<Lease>>>,
    current: watch::Sender<Option<Session>>,
}

impl Default for NodeSession {
    fn default() -> Self {
        Self {
            lease: Mutex::default(),
            current: watch::Sender::new(None),
        }
    }
}

impl NodeSession {
    /// Tells every new session.
    pub(crate) fn changes(&self) -> watch::Receiver<Option<Session>> {
        self.current.subscribe()
    }

    /// Puts something for as long as the node lives, and returns its revision.
    ///
    /// Errors: [`StateError::NoSession`] while there is none; it is to be put again when
    /// [`changes`](Self::changes) tells of one.
    pub(crate) async fn put(
        &self,
        node: &Node,
        bucket: &str,
        key: &str,
        value: Bytes,
        expect: Expect,
    ) -> Result<u64, StateError> {
        let session = *self.current.borrow();
        let session = session.ok_or(StateError::NoSession)?;
        node.state
            .put_ephemeral(session, bucket, key, value, expect)
            .await
    }

    fn set(&self, lease: Option<Arc<Lease>>) {
        let session = lease.as_ref().map(|lease| lease.session());
        *self.lease.lock() = lease;
        self.current.send_replace(session);
    }
}

/// Opens the first session and replaces it whenever it is lost.
pub(crate) async fn start(node: &Arc<Node>) -> Result<(), StateError> {
    let lost = open(node).await?;
    let task = Arc::clone(node);
    node.spawn_until_stop(async move {
        let mut lost = lost;
        loop {
            lost.await;
            tracing::warn!("the session in the fleet's state was lost; another one is opened");
            task.services.session.set(None);
            lost = reopen(&task).await;
        }
    });
    Ok(())
}

/// Ends the session: what the node put is gone at once.
pub(crate) async fn end(node: &Node) {
    let session = *node.services.session.current.borrow();
    if let Some(session) = session {
        node.services.session.set(None);
        if let Err(error) = node.state.close_session(session).await {
            tracing::debug!(%error, "the session ends by silence");
        }
    }
}

type Lost = futures::future::BoxFuture<'static, ()>;

async fn open(node: &Arc<Node>) -> Result<Lost, StateError> {
    let ttl = node.config.fleet.silence.0;
    let lease = Lease::open(Arc::clone(&node.state), &device_key(&node.id()), ttl).await?;
    let lease = Arc::new(lease);
    node.services.session.set(Some(Arc::clone(&lease)));
    Ok(Box::pin(async move { lease.lost().await }))
}

async fn reopen(node: &Arc<Node>) -> Lost {
    let (mut pause, longest) = PAUSES;
    loop {
        match open(node).await {
            Ok(lost) => return lost,
            Err(error) => tracing::debug!(%error, "no session yet"),
        }
        sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}
