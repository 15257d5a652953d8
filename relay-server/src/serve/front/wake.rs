//! Leaving word at a device's connection, wherever in the fleet it is.

use super::Connection;
use super::connection::{AwaitedAck, Waiter};
use crate::node::Node;
use crate::serve::records::{Presence, bucket, front_subject, presence_key};
use crate::serve::registry::encode;
use crate::state::StateError;
use hither_proto::{DeviceId, UserId};
use hither_util::sync::Mutex;
use prost::Message;
use std::collections::HashMap;
use std::sync::{Arc, MutexGuard};
use tokio::sync::oneshot;

/// Most messages at a time of which this node waits to hear that another front's device has them.
const MAX_REMOTE: usize = 16_384;

/// What one front says to another.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Word {
    /// The device that it is about: 32 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) device: Vec<u8>,
    #[prost(oneof = "What", tags = "2, 3, 4")]
    pub(crate) what: Option<What>,
}

/// What it says of the device.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub(crate) enum What {
    /// It has mail.
    #[prost(message, tag = "2")]
    Mail(Mail),
    /// It acknowledged everything up to this place of its mailbox.
    #[prost(uint64, tag = "3")]
    Got(u64),
    /// Its list should be looked at anew, concerning this device (32 bytes).
    #[prost(bytes = "vec", tag = "4")]
    Card(Vec<u8>),
}

/// Something was put into a mailbox.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Mail {
    /// Its place.
    #[prost(uint64, tag = "1")]
    pub(crate) seq: u64,
    /// The front that wants to hear when it is acknowledged, 32 bytes; empty: none.
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) tell: Vec<u8>,
}

/// Who at this node waits for acknowledgements at other fronts.
#[derive(Default)]
pub(crate) struct Remote(Mutex<HashMap<(DeviceId, u64), oneshot::Sender<()>>>);

impl Remote {
    fn wait(&self, device: DeviceId, seq: u64, tell: oneshot::Sender<()>) -> bool {
        let mut waiting = self.lock();
        if waiting.len() >= MAX_REMOTE {
            waiting.retain(|_, tell| !tell.is_closed());
        }
        let room = waiting.len() < MAX_REMOTE;
        if room {
            waiting.insert((device, seq), tell);
        }
        room
    }

    /// A device has acknowledged everything up to `seq`.
    pub(crate) fn got(&self, device: DeviceId, seq: u64) {
        // Waits are short and few per device, so the table is small; a device's acknowledgement
        // covers those before.
        let mut waiting = self.lock();
        let over = waiting.extract_if(|(of, place), _| *of == device && *place <= seq);
        for (_, tell) in over {
            let _ = tell.send(()); // it may have given up
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(DeviceId, u64), oneshot::Sender<()>>> {
        self.0.lock()
    }
}

/// Says that `seq` was put into the mailbox of a device of `user`. What it returns ends well when
/// the device has acknowledged it; `None`: the device is not connected.
pub(crate) async fn mail(
    node: &Arc<Node>,
    user: &UserId,
    device: &DeviceId,
    seq: u64,
) -> Result<Option<oneshot::Receiver<()>>, StateError> {
    let (tell, told) = oneshot::channel();
    if let Some(connection) = node.services.front.get(device) {
        connection.mail(Some(AwaitedAck {
            seq,
            waiter: Waiter::Here(tell),
        }));
        return Ok(Some(told));
    }
    let Some(front) = front_of(node, user, device).await? else {
        return Ok(None);
    };
    let wanted = node.services.remote.wait(*device, seq, tell);
    let tell = if wanted {
        node.id().as_bytes().to_vec()
    } else {
        Vec::new()
    };
    say(node, &front, device, What::Mail(Mail { seq, tell })).await?;
    Ok(wanted.then_some(told))
}

/// Says again, after a connection of this node was replaced, that there may be mail: word of it may
/// have been left here.
pub(crate) async fn remind(node: &Arc<Node>, connection: &Connection) {
    let told = mail(node, &connection.user, &connection.device, 0).await;
    if let Err(error) = told {
        tracing::debug!(%error, "another front could not be told of mail");
    }
}

/// Says that the card of `from` for `reader` has changed.
pub(crate) async fn card(
    node: &Node,
    user: &UserId,
    reader: &DeviceId,
    from: &DeviceId,
) -> Result<(), StateError> {
    if let Some(connection) = node.services.front.get(reader) {
        connection.changed(*from);
        return Ok(());
    }
    match front_of(node, user, reader).await? {
        Some(front) => say(node, &front, reader, What::Card(from.as_bytes().to_vec())).await,
        None => Ok(()),
    }
}

/// Tells who waited that a device has acknowledged what came for it.
pub(crate) async fn tell(node: &Node, device: &DeviceId, seq: u64, waiters: Vec<Waiter>) {
    let mut fronts: Vec<DeviceId> = Vec::new();
    for waiter in waiters {
        match waiter {
            Waiter::Here(tell) => drop(tell.send(())), // it may have given up
            Waiter::There(front) if !fronts.contains(&front) => fronts.push(front),
            Waiter::There(_) => {}
        }
    }
    for front in fronts {
        if let Err(error) = say(node, &front, device, What::Got(seq)).await {
            tracing::debug!(%error, "another front could not be told of an acknowledgement");
        }
    }
}

/// What another front said.
pub(crate) async fn heard(node: &Arc<Node>, word: &[u8]) {
    let Ok(Word {
        device,
        what: Some(what),
    }) = Word::decode(word)
    else {
        return tracing::warn!("another node said something unknown");
    };
    let Ok(device) = DeviceId::from_slice(&device) else {
        return;
    };
    match what {
        What::Got(seq) => node.services.remote.got(device, seq),
        What::Card(from) => {
            let connection = node.services.front.get(&device);
            if let (Some(connection), Ok(from)) = (connection, DeviceId::from_slice(&from)) {
                connection.changed(from);
            }
        }
        What::Mail(Mail { seq, tell }) => {
            // Not here (any more): whoever has the device now reads the whole mailbox when it
            // comes.
            let Some(connection) = node.services.front.get(&device) else {
                return;
            };
            let waiter = DeviceId::from_slice(&tell).ok().map(Waiter::There);
            connection.mail(waiter.map(|waiter| AwaitedAck { seq, waiter }));
        }
    }
}

/// True when a device, or whoever is present under that user, is connected to any front.
pub(crate) async fn is_connected(
    node: &Node,
    user: &UserId,
    device: &DeviceId,
) -> Result<bool, StateError> {
    if node.services.front.get(device).is_some() {
        return Ok(true);
    }
    Ok(front_of(node, user, device).await?.is_some())
}

/// The front that has a device now, if it is another one.
pub(crate) async fn front_of(
    node: &Node,
    user: &UserId,
    device: &DeviceId,
) -> Result<Option<DeviceId>, StateError> {
    let Some(entry) = node
        .state
        .get(bucket::PRESENCE, &presence_key(user, device))
        .await?
    else {
        return Ok(None);
    };
    let front = Presence::decode(&entry.value[..])
        .ok()
        .and_then(|found| DeviceId::from_slice(&found.node).ok());
    Ok(front.filter(|front| *front != node.id()))
}

async fn say(
    node: &Node,
    front: &DeviceId,
    device: &DeviceId,
    what: What,
) -> Result<(), StateError> {
    let word = Word {
        device: device.as_bytes().to_vec(),
        what: Some(what),
    };
    node.state
        .publish(&front_subject(front), encode(&word))
        .await
}
