//! Messages between the user's devices: an outbox, an inbox, and relays between them that see
//! sealed bytes.
//!
//! `send.rs` makes a message durable in the outbox, `courier.rs` takes it to a relay; `inbox.rs`
//! makes what arrives durable and known again, `read.rs` is what users do with it. `content.rs` is
//! what is inside.
//!
//! Invariants: who sends is told of a message only when it is durable here; the relay is told that
//! it arrived only when it is durable there; each is shown once, and those of one sender in order.

mod content;
mod delivery;
mod inbox;
mod outbox;
mod read;
mod records;
mod send;

pub(crate) use content::decode_letter;
pub(crate) use content::encode_notice;
pub(crate) use inbox::Inbox;
pub(crate) use outbox::Outbox;
pub(crate) use read::{delete, get, list, mark_read, outgoing, save, take_back};
pub(crate) use send::{readers, send, send_ticket};

use crate::daemon::Daemon;
use futures::future::BoxFuture;
use hither_content::storage::{Storage, StorageError};
use hither_proto::RelayMessage;
use hither_relay_client::{Deliveries, Delivery, RelayConnection};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Most messages that are made durable together.
const MAX_BATCH: usize = 32;

/// The messages of this device.
pub(crate) struct Mail {
    pub outbox: Outbox,
    pub inbox: Inbox,
}

impl Mail {
    pub(crate) fn open(storage: &Arc<dyn Storage>) -> Result<Self, StorageError> {
        let outbox = Outbox::open(Arc::clone(storage))?;
        Ok(Self {
            outbox,
            inbox: Inbox::open(Arc::clone(storage))?,
        })
    }
}

/// Starts the courier.
pub(crate) fn start(daemon: &Arc<Daemon>) {
    daemon
        .tasks
        .spawn_forever(delivery::run(Arc::clone(daemon)));
}

/// How long after it was welcomed a connection may still bring what waited at the relay.
const FIRST_WORDS: Duration = Duration::from_millis(500);

/// Waits a moment for what relays have kept, when they were reached only just now.
pub(crate) async fn settle(daemon: &Daemon) {
    let mut latest = daemon.mail.inbox.latest();
    daemon.relays.settle().await;
    let youngest = daemon
        .relays
        .connected()
        .iter()
        .map(|connection| connection.since)
        .max();
    let Some(until) = youngest.map(|since| since + FIRST_WORDS) else {
        return;
    };
    // What comes, comes together: the first of it ends the wait.
    let _ = tokio::time::timeout_at(until.into(), latest.changed()).await;
}

/// Takes what one connection delivers, until it ends.
pub(crate) async fn receive(
    daemon: Arc<Daemon>,
    connection: Arc<RelayConnection>,
    mut deliveries: mpsc::Receiver<Delivery>,
) {
    let mut batch = Vec::new();
    while deliveries.recv_many(&mut batch, MAX_BATCH).await > 0 {
        let (of, got) = (Arc::clone(&daemon), std::mem::take(&mut batch));
        let take = move || {
            of.mail.inbox.take(
                &of.identity,
                &got,
                of.time.seconds(),
                &mut |from, notice| of.catalogue.take(&of, from, notice),
            )
        };
        let taken = tokio::task::spawn_blocking(take).await;
        let taken = match taken {
            Ok(Ok(taken)) => taken,
            Ok(Err(error)) => {
                // Not acknowledged: it comes again on the next connection.
                daemon
                    .warnings
                    .add(format!("Messages that arrived could not be kept: {error}."));
                return connection.close();
            }
            Err(error) => return tracing::debug!(%error, "messages are left at the relay"),
        };
        if taken.new > 0 {
            tracing::info!(messages = taken.new, "messages arrived");
        }
        if let Some(seq) = taken.upto {
            connection.tell(RelayMessage::Received { seq }).await;
        }
        if taken.full {
            return wait_for_room(&daemon, &connection, deliveries).await;
        }
    }
}

/// What comes meanwhile is not taken; it comes again on the connection that follows this one.
async fn wait_for_room(
    daemon: &Daemon,
    connection: &RelayConnection,
    mut deliveries: mpsc::Receiver<Delivery>,
) {
    daemon.warnings.add(
        "The inbox is full: messages stay at the relay until some are deleted (hither inbox delete).".into(),
    );
    let drained = async { while deliveries.recv().await.is_some() {} };
    tokio::select! {
        () = daemon.mail.inbox.room.notified() => connection.close(),
        () = connection.ended() => {}
        () = drained => {}
    }
}

impl Deliveries for Daemon {
    fn receive(
        self: Arc<Self>,
        connection: Arc<RelayConnection>,
        deliveries: mpsc::Receiver<Delivery>,
    ) -> BoxFuture<'static, ()> {
        Box::pin(receive(self, connection, deliveries))
    }
}
