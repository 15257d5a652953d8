//! News that a front receives from the rest of the fleet: presence, registrations and revocations,
//! words of other fronts.
//!
//! Each is heard on one watch or subscription for the whole node. When one breaks or overflows,
//! something may have been missed: then every connection here is told everything anew.

use super::wake;
use super::{Connection, End};
use crate::config::Role;
use crate::node::{Node, NodeError, now_ms};
use crate::serve::groups;
use crate::serve::records::{
    Device, Presence, bucket, first_device, first_user, front_subject, last_device, presence_key,
};
use crate::serve::registry::{encode, user_of};
use crate::state::{Change, Event, Expect, StateError};
use futures::StreamExt;
use prost::Message;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

/// Pause before a watch or subscription that broke is begun anew.
const AGAIN: Duration = Duration::from_millis(200);
/// Longest wait, at the start, for the first of each.
const FIRST: Duration = Duration::from_secs(30);
/// Presences that are put at the same time after the session was lost.
const PUTS: usize = 256;
/// Attempts to remove a presence; one that stays is there until the node's session ends.
const DROPS: usize = 10;

/// Begins to hear; returns when nothing that happens from then on is missed.
pub(crate) async fn start(node: &Arc<Node>) -> Result<(), NodeError> {
    let mut ready = vec![watch(node, bucket::DEVICES), watch(node, bucket::VISITS)];
    if node.plays(Role::Front) {
        let (tell, told) = oneshot::channel();
        node.spawn_until_stop(listen(Arc::clone(node), tell));
        node.spawn_until_stop(keep_presence(Arc::clone(node)));
        ready.extend([
            told,
            watch(node, bucket::PRESENCE),
            watch(node, bucket::FETCHES),
        ]);
    }
    for ready in ready {
        timeout(FIRST, ready)
            .await
            .map_err(|_| StateError::TimedOut)?
            .map_err(|_| StateError::Closed)?;
    }
    Ok(())
}

fn watch(node: &Arc<Node>, bucket: &'static str) -> oneshot::Receiver<()> {
    let (tell, told) = oneshot::channel();
    let task = Arc::clone(node);
    node.spawn_until_stop(async move {
        let mut first = Some(tell);
        loop {
            if let Err(error) = watch_once(&task, bucket, &mut first).await {
                tracing::debug!(%error, bucket, "cannot be watched now");
            }
            sleep(AGAIN).await;
        }
    });
    told
}

async fn watch_once(
    node: &Arc<Node>,
    bucket: &str,
    first: &mut Option<oneshot::Sender<()>>,
) -> Result<(), StateError> {
    let mut watch = node.state.watch(bucket, "").await?;
    loop {
        match watch.next().await {
            Event::Change(change) if bucket == bucket::PRESENCE => presence_changed(node, &change),
            Event::Change(change) if bucket == bucket::FETCHES => fetch_changed(node, &change),
            Event::Change(change) if bucket == bucket::VISITS => {
                node.services.visits.endings.changed(&change);
            }
            Event::Change(change) => device_changed(node, &change),
            Event::Current => match first.take() {
                Some(first) => drop(first.send(())),
                None => node.services.front.unsure(),
            },
            Event::Lagged | Event::Disconnected => return Ok(()),
        }
    }
}

/// A device came or went, somewhere.
fn presence_changed(node: &Arc<Node>, change: &Change) {
    let (Some(user), Some(device)) = (first_user(&change.key), last_device(&change.key)) else {
        return;
    };
    let front = &node.services.front;
    front.changed(&user, &device);
    groups::presence_changed(node, device);
    let Some(connection) = front.get(&device) else {
        return;
    };
    let Some(entry) = &change.entry else { return };
    let Ok(presence) = Presence::decode(&entry.value[..]) else {
        return;
    };
    let other = presence.node != node.id().as_bytes() || presence.connection != connection.id;
    if other {
        connection.saw_other(change.revision, presence.instance);
    }
}

/// Somebody reads something from a store, or its owner knows of it.
fn fetch_changed(node: &Node, change: &Change) {
    let owner = first_device(&change.key).filter(|_| change.entry.is_some());
    if let Some(connection) = owner.and_then(|owner| node.services.front.get(&owner)) {
        connection.fetched();
    }
}

/// A device was registered, revoked or removed.
fn device_changed(node: &Node, change: &Change) {
    let Some(device) = last_device(&change.key) else {
        return;
    };
    let front = &node.services.front;
    let record = change
        .entry
        .as_ref()
        .and_then(|entry| Device::decode(&entry.value[..]).ok());
    let connection = front.get(&device);
    if record.as_ref().is_none_or(|record| record.revoked) {
        node.services.revoked(device);
        if let Some(connection) = &connection {
            connection.end(End::Revoked);
        }
    }
    let user = record
        .and_then(|record| user_of(&record).ok())
        .or_else(|| Some(connection?.user));
    if let Some(user) = user {
        front.changed(&user, &device);
    }
}

/// Hears what other fronts say to this one.
async fn listen(node: Arc<Node>, first: oneshot::Sender<()>) {
    let subject = front_subject(&node.id());
    let mut first = Some(first);
    loop {
        match node.state.subscribe(&subject).await {
            Ok(mut words) => {
                match first.take() {
                    Some(first) => drop(first.send(())),
                    None => node.services.front.unsure(),
                }
                let mut dropped = words.dropped();
                while let Some(word) = words.next().await {
                    wake::heard(&node, &word).await;
                    if words.dropped() != dropped {
                        dropped = words.dropped();
                        node.services.front.unsure();
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "other fronts cannot be heard now"),
        }
        sleep(AGAIN).await;
    }
}

/// Puts the presence of every connection anew when the node has a new session.
async fn keep_presence(node: Arc<Node>) {
    let mut sessions = node.services.session.changes();
    sessions.mark_unchanged();
    while sessions.changed().await.is_ok() {
        if sessions.borrow_and_update().is_none() {
            continue;
        }
        let connections = node.services.front.all();
        futures::stream::iter(connections)
            .for_each_concurrent(PUTS, |connection| {
                let node = Arc::clone(&node);
                async move {
                    // What is there already was put by a newer connection, at another front.
                    match put_presence(&node, &connection, Expect::Absent).await {
                        Ok(()) => {}
                        Err(StateError::Conflict { .. }) => connection.end(End::Replaced),
                        Err(error) => tracing::debug!(%error, "a presence could not be put"),
                    }
                }
            })
            .await;
    }
}

/// Says in the state that a device is connected here.
pub(crate) async fn put_presence(
    node: &Node,
    connection: &Connection,
    expect: Expect,
) -> Result<(), StateError> {
    let presence = Presence {
        node: node.id().as_bytes().to_vec(),
        connection: connection.id,
        since_ms: now_ms(),
        network: connection.network.to_vec(),
        instance: connection.instance,
    };
    let key = presence_key(&connection.user, &connection.device);
    let put = node
        .services
        .session
        .put(node, bucket::PRESENCE, &key, encode(&presence), expect)
        .await;
    connection.set_presence(put?);
    Ok(())
}

/// Takes that back, unless a newer connection has put its own meanwhile.
pub(crate) async fn drop_presence(node: &Node, connection: &Connection) {
    let revision = connection.presence();
    if revision == 0 {
        return;
    }
    let key = presence_key(&connection.user, &connection.device);
    for _ in 0..DROPS {
        match node
            .state
            .delete(bucket::PRESENCE, &key, Expect::Revision(revision))
            .await
        {
            Ok(_) | Err(StateError::Conflict { .. }) => return,
            Err(error) => tracing::debug!(%error, "a presence could not be removed"),
        }
        sleep(AGAIN).await;
    }
}
