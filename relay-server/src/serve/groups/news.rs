//! Telling the devices of this node what changed of their groups, wherever in the fleet it was
//! changed.

use super::listeners::Change;
use super::log_store::{self, Record};
use super::members;
use super::records::{bucket, first_group};
use crate::node::{Node, NodeError};
use crate::serve::records::last_device;
use crate::state::{self, Event, StateError};
use hither_proto::limits::MAX_GROUP_NEWS;
use hither_proto::{DeviceId, GroupChange, GroupMember, RelayMessage};
use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

/// Pause before a watch that broke is begun anew.
const AGAIN: Duration = Duration::from_millis(200);
/// Longest wait, at the start, for the first of each.
const FIRST: Duration = Duration::from_secs(30);

/// Begins to hear of changes; returns when nothing that happens from then on is missed.
pub(crate) async fn start(node: &Arc<Node>) -> Result<(), NodeError> {
    for bucket in [bucket::GROUPS, bucket::DIGESTS, bucket::ASKS, bucket::KEYS] {
        let (tell, told) = oneshot::channel();
        let task = Arc::clone(node);
        node.spawn_until_stop(async move {
            let mut first = Some(tell);
            loop {
                if let Err(error) = watch(&task, bucket, &mut first).await {
                    tracing::debug!(%error, bucket, "cannot be watched now");
                }
                sleep(AGAIN).await;
            }
        });
        timeout(FIRST, told)
            .await
            .map_err(|_| StateError::TimedOut)?
            .map_err(|_| StateError::Closed)?;
    }
    Ok(())
}

async fn watch(
    node: &Node,
    bucket: &str,
    first: &mut Option<oneshot::Sender<()>>,
) -> Result<(), StateError> {
    let mut watch = node.state.watch(bucket, "").await?;
    let mut current = false;
    loop {
        match watch.next().await {
            Event::Change(change) if current => changed(node, bucket, &change),
            // What is there when it begins is no change.
            Event::Change(_) => {}
            Event::Current => {
                current = true;
                match first.take() {
                    Some(first) => drop(first.send(())),
                    None => node.services.front.unsure(),
                }
            }
            Event::Lagged | Event::Disconnected => return Ok(()),
        }
    }
}

fn changed(node: &Node, bucket: &str, change: &state::Change) {
    let Some(group) = first_group(&change.key) else {
        return;
    };
    let table = &node.services.groups;
    let device = last_device(&change.key);
    match (bucket, device) {
        (bucket::GROUPS, _) => {
            let known = match change
                .entry
                .as_ref()
                .and_then(|entry| Record::decode(&entry.value).ok())
            {
                // It is told when that is done.
                Some(Record::Exchange { .. }) => return,
                Some(Record::Log(known)) => Some(known),
                None => None,
            };
            let members = known
                .as_ref()
                .map(|known| known.members().keys())
                .into_iter()
                .flatten();
            for device in table.changed(group, members) {
                tell(node, &device, Change::Log(group));
            }
        }
        (bucket::DIGESTS, Some(author)) => {
            for device in table
                .listeners(&group)
                .into_iter()
                .filter(|device| *device != author)
            {
                tell(node, &device, Change::Note(group, author));
            }
        }
        // A member that had no secret may have looked at the log a moment before one was left for
        // it.
        (bucket::KEYS, Some(member)) if change.entry.is_some() && table.listens(&member) => {
            tell(node, &member, Change::Log(group));
        }
        (bucket::ASKS, Some(asker)) => {
            if table.listens(&asker) {
                tell(node, &asker, Change::Log(group));
            }
            for device in table
                .listeners(&group)
                .into_iter()
                .filter(|device| *device != asker)
            {
                tell(node, &device, Change::Asks(group));
            }
        }
        _ => {}
    }
}

fn tell(node: &Node, device: &DeviceId, change: Change) {
    if let Some(connection) = node.services.front.get(device) {
        connection.group(change);
    }
}

/// A device came or went, somewhere: members of its groups that are here are told.
pub(crate) fn presence_changed(node: &Arc<Node>, device: DeviceId) {
    if node.services.groups.is_empty() {
        return;
    }
    let task = Arc::clone(node);
    node.spawn_until_stop(async move {
        match log_store::listed(&task, &device).await {
            Ok(groups) => {
                for group in groups {
                    let table = &task.services.groups;
                    for other in table
                        .listeners(&group)
                        .into_iter()
                        .filter(|other| *other != device)
                    {
                        tell(&task, &other, Change::Presence(group, device));
                    }
                }
            }
            // What was missed is told with everything else.
            Err(error) => {
                tracing::debug!(%error, "the groups of a device could not be read");
                task.services.front.unsure();
            }
        }
    });
}

/// News that waits to be sent on one connection: one message at a time, so that what is told last
/// is how things are.
#[derive(Debug, Default)]
pub(crate) struct News {
    changes: BTreeSet<Change>,
    all: bool,
    busy: bool,
}

impl News {
    /// Adds what was left for the connection.
    pub(crate) fn left(&mut self, changes: BTreeSet<Change>, all: bool) {
        self.all |= all;
        self.changes.extend(changes);
        if self.changes.len() > MAX_GROUP_NEWS {
            self.all = true;
            self.changes.clear();
        }
    }

    /// The next message, when there is one to be made, and the device listens.
    pub(crate) fn begin(
        &mut self,
        node: &Arc<Node>,
        device: DeviceId,
    ) -> Option<impl Future<Output = RelayMessage> + Send + use<>> {
        if self.busy || (!self.all && self.changes.is_empty()) {
            return None;
        }
        let (changes, all) = (
            std::mem::take(&mut self.changes),
            std::mem::take(&mut self.all),
        );
        if !node.services.groups.listens(&device) {
            return None;
        }
        self.busy = true;
        let node = Arc::clone(node);
        Some(async move { compose(&node, device, changes, all).await })
    }

    /// A message was made.
    pub(crate) fn end(&mut self) {
        self.busy = false;
    }
}

/// What is told of some changes. `all`: anything may have changed besides.
async fn compose(
    node: &Node,
    reader: DeviceId,
    changes: BTreeSet<Change>,
    all: bool,
) -> RelayMessage {
    let mut all = all;
    let mut told = Vec::new();
    for change in changes {
        told.push(match change {
            Change::Log(group) => GroupChange::Log(group),
            Change::Asks(group) => GroupChange::Asks(group),
            Change::Note(group, device) => GroupChange::Note(group, device),
            Change::Presence(group, device) => match seen(node, &group, reader, device).await {
                Ok(Some(member)) => GroupChange::Presence(group, member),
                Ok(None) => continue,
                Err(()) => {
                    all = true;
                    continue;
                }
            },
        });
    }
    RelayMessage::GroupNews { changes: told, all }
}

/// Whether a device is there, for a reader that is a member of a group with it as things stand now.
async fn seen(
    node: &Node,
    group: &hither_proto::GroupId,
    reader: DeviceId,
    device: DeviceId,
) -> Result<Option<GroupMember>, ()> {
    let known = log_store::load(node, group).await.map_err(drop)?;
    let both = |known: &hither_proto::Membership| {
        known.role(&reader).is_some() && known.role(&device).is_some()
    };
    if !known.as_deref().is_some_and(both) {
        return Ok(None);
    }
    members::presence(node, device)
        .await
        .map(Some)
        .map_err(drop)
}
