//! Telling stores to forget shares: a durable queue for each store, read by it.
//!
//! A store carries an order out only if the share is not recorded there when it reads the order. So
//! an order is given before the record is removed, that it be carried out even if this node dies in
//! between, and again after that, in case that the store has read the first one too early.

use super::remove;
use crate::node::{Node, now_ms};
use crate::serve::records::{ShareRecord, bucket, hex, joined, share_key};
use crate::serve::registry::{decode, encode};
use crate::state::{Item, Limits, MAX_QUEUE_ITEMS, NewItem, StateError};
use bytes::Bytes;
use hither_proto::{DeviceId, ShareId, UserId};
use prost::Message;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Orders that a store does not read for so long are dropped: it is gone for good.
const KEPT: Duration = Duration::from_secs(90 * 24 * 3600);
/// A store looks for orders at least so often.
const LOOK: Duration = Duration::from_secs(60);
/// Pause after looking failed.
const AGAIN: Duration = Duration::from_secs(2);
/// Orders read at once.
const READ: usize = 64;

/// "Forget this share."
#[derive(Clone, PartialEq, Eq, Message)]
struct Order {
    /// 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    user: Vec<u8>,
    /// 32 bytes.
    #[prost(bytes = "vec", tag = "2")]
    owner: Vec<u8>,
    /// 16 bytes.
    #[prost(bytes = "vec", tag = "3")]
    share: Vec<u8>,
}

fn queue(store: &DeviceId) -> String {
    joined("release", &hex(store.as_bytes()))
}

fn subject(store: &DeviceId) -> String {
    joined("release", &hex(store.as_bytes()))
}

/// Orders a store to forget a share.
pub(super) async fn order(
    node: &Node,
    store: &DeviceId,
    user: &UserId,
    owner: &DeviceId,
    share: &ShareId,
) -> Result<(), StateError> {
    let order = Order {
        user: user.as_bytes().to_vec(),
        owner: owner.as_bytes().to_vec(),
        share: share.as_bytes().to_vec(),
    };
    let value = encode(&order);
    let mut id = [0; 16];
    id.copy_from_slice(&blake3::hash(&value).as_bytes()[..16]);
    let limits = Limits {
        items: MAX_QUEUE_ITEMS,
        bytes: u64::MAX,
        source_items: MAX_QUEUE_ITEMS,
        source_bytes: u64::MAX,
    };
    let expires_ms = now_ms().saturating_add(KEPT.as_millis() as u64);
    let source = Bytes::copy_from_slice(owner.as_bytes());
    node.state
        .append(
            &queue(store),
            NewItem {
                id,
                source,
                value,
                expires_ms,
                limits,
            },
        )
        .await
        .map(drop)
}

/// A share that is recorded.
pub(super) struct Kept<'a> {
    pub(super) user: &'a UserId,
    pub(super) owner: &'a DeviceId,
    pub(super) share: &'a ShareId,
    pub(super) key: &'a str,
    pub(super) record: &'a ShareRecord,
    pub(super) revision: u64,
}

impl Kept<'_> {
    /// Removes the record and has the store forget the share; `false`: it has changed meanwhile,
    /// and is kept.
    pub(super) async fn give_up(&self, node: &Node) -> Result<bool, StateError> {
        let store = DeviceId::from_slice(&self.record.store).ok();
        for after in [false, true] {
            if let Some(store) = &store {
                order(node, store, self.user, self.owner, self.share).await?;
            }
            if !after && !remove(node, self.user, self.key, self.record, self.revision).await? {
                return Ok(false);
            }
        }
        hurry(node, self.record).await;
        Ok(true)
    }
}

/// Has the store look at its orders now instead of soon.
async fn hurry(node: &Node, record: &ShareRecord) {
    let Ok(store) = DeviceId::from_slice(&record.store) else {
        return;
    };
    if let Err(error) = node.state.publish(&subject(&store), Bytes::new()).await {
        tracing::debug!(%error, "a store will find its orders later");
    }
}

/// Begins to carry out the orders for the store of this node.
pub(super) fn start(node: &Arc<Node>) {
    let task = Arc::clone(node);
    node.spawn_until_stop(async move {
        loop {
            if let Err(error) = follow(&task).await {
                tracing::debug!(%error, "orders to forget shares cannot be read now");
            }
            sleep(AGAIN).await;
        }
    });
}

async fn follow(node: &Node) -> Result<(), StateError> {
    let queue = queue(&node.id());
    let mut hurries = node.state.subscribe(&subject(&node.id())).await?;
    loop {
        loop {
            let orders = node.state.read(&queue, 0, READ, usize::MAX).await?;
            let Some(last) = orders.last().map(|order| order.seq) else {
                break;
            };
            for order in &orders {
                carry_out(node, order).await?;
            }
            node.state.ack(&queue, last).await?;
        }
        if let Ok(None) = timeout(LOOK, hurries.next()).await {
            return Ok(());
        }
    }
}

async fn carry_out(node: &Node, item: &Item) -> Result<(), StateError> {
    let Some(store) = &node.store else {
        return Ok(());
    };
    let Some((user, owner, share)) = read(item) else {
        tracing::warn!("an order to forget a share is not understood; it is dropped");
        return Ok(());
    };
    let entry = node
        .state
        .get(bucket::SHARES, &share_key(&owner, &share))
        .await?;
    let record = entry.and_then(|entry| decode::<ShareRecord>(&entry.value, "a share").ok());
    if record.is_some_and(|record| {
        record.store == node.id().as_bytes() && record.placed_ms >= item.appended_ms
    }) {
        return Ok(()); // placed here again since
    }
    store
        .release(user, owner, share)
        .await
        .map_err(|error| StateError::Storage(error.to_string()))?;
    node.services.traffic.changes.tell(owner, share);
    Ok(())
}

fn read(item: &Item) -> Option<(UserId, DeviceId, ShareId)> {
    let order = Order::decode(&item.value[..]).ok()?;
    Some((
        UserId::from_slice(&order.user).ok()?,
        DeviceId::from_slice(&order.owner).ok()?,
        ShareId::from_slice(&order.share).ok()?,
    ))
}
