//! How a node is, and how much it holds.

use super::health::{Inspect, Problem};
use super::sample::{MailSample, Sample, StoreSample};
use crate::config::Folder;
use crate::node::{Node, now_ms};
use crate::serve::groups;
use crate::serve::records::{Device, bucket, last_device, mail_queue};
use crate::state::{MAX_PAGE, Page, State, StateError};
use crate::store::{Store, StoreError};
use futures::FutureExt;
use futures::future::BoxFuture;
use hither_proto::UserId;
use prost::Message;
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;

/// How long state and store may take to answer one small question.
const PATIENCE: Duration = Duration::from_secs(2);
/// Free bytes that the databases need.
const RESERVE: u64 = 64 << 20;

impl Inspect for Node {
    fn problems(&self) -> BoxFuture<'_, Vec<Problem>> {
        async {
            let mut problems = Vec::new();
            if self.is_draining() {
                problems.push(Problem::Draining);
            }
            let asked = self.state.get(bucket::USERS, "none");
            if !matches!(timeout(PATIENCE, asked).await, Ok(Ok(_))) {
                problems.push(Problem::State);
            }
            if let Some(store) = &self.store
                && !matches!(timeout(PATIENCE, probe(store)).await, Ok(Ok(())))
            {
                problems.push(Problem::Store);
            }
            if self.is_full() {
                problems.push(Problem::DiskFull);
            }
            problems
        }
        .boxed()
    }

    fn sample(&self) -> BoxFuture<'_, Sample> {
        async {
            let store = match &self.store {
                Some(store) => store.stats().await.ok().map(|stats| StoreSample {
                    packs: stats.packs,
                    logical: stats.logical_bytes,
                    physical: stats.pack_bytes,
                    live: stats.live_bytes,
                }),
                None => None,
            };
            let disk_free = free_bytes(Folder::of(&self.config).root());
            let devices_online = self.connections() as u64;
            let index = self.index_held();
            Sample {
                devices_online,
                draining: self.is_draining(),
                store,
                index,
                disk_free,
            }
        }
        .boxed()
    }
}

impl Node {
    /// Whether less is free than the operator wants left free: for chunks, or for the databases.
    fn is_full(&self) -> bool {
        let folder = Folder::of(&self.config);
        let below = |path: &Path, floor| free_bytes(path).is_some_and(|free| free < floor);
        below(folder.root(), RESERVE)
            || (self.store.is_some() && below(&folder.chunks(), self.config.store.free_floor.0))
    }
}

/// A small question to a store: anything its index must answer.
async fn probe(store: &Store) -> Result<(), StoreError> {
    store.usage(UserId::new([0; UserId::LEN])).await.map(drop)
}

/// Counts users, devices, groups and what waits in mailboxes, of a whole fleet: one question to the
/// state for every device.
pub(crate) async fn sample_mail(state: &dyn State) -> Result<MailSample, StateError> {
    let mut sample = MailSample::default();
    let mut oldest = u64::MAX;
    sample.users = count(state, bucket::USERS).await?;
    sample.groups = count(state, groups::bucket::GROUPS).await?;
    sample.memberships = count(state, groups::bucket::MEMBERS).await?;
    let (mut page, mut after) = (
        Page {
            more: true,
            ..Page::default()
        },
        None::<String>,
    );
    while page.more {
        page = state
            .list(bucket::DEVICES, "", after.as_deref(), MAX_PAGE)
            .await?;
        for record in &page.records {
            let revoked =
                Device::decode(&record.entry.value[..]).is_ok_and(|device| device.revoked);
            let Some(device) = last_device(&record.key).filter(|_| !revoked) else {
                continue;
            };
            let depth = state.depth(&mail_queue(&device)).await?;
            sample.devices += 1;
            sample.mailboxes += u64::from(depth.items > 0);
            sample.messages += depth.items;
            sample.bytes += depth.bytes;
            sample.deepest = sample.deepest.max(depth.items);
            oldest = oldest.min(depth.oldest_ms.unwrap_or(u64::MAX));
        }
        after = page.records.last().map(|record| record.key.clone());
    }
    sample.oldest_ms = if oldest == u64::MAX {
        0
    } else {
        now_ms().saturating_sub(oldest)
    };
    Ok(sample)
}

/// The number of keys in a bucket.
async fn count(state: &dyn State, bucket: &str) -> Result<u64, StateError> {
    let (mut number, mut after) = (0, None::<String>);
    loop {
        let page = state.list(bucket, "", after.as_deref(), MAX_PAGE).await?;
        number += page.records.len() as u64;
        after = page.records.last().map(|record| record.key.clone());
        if !page.more {
            return Ok(number);
        }
    }
}

/// Free bytes of the disk on which `path` is; `None` when that is not to be had.
#[cfg(unix)]
pub(crate) fn free_bytes(path: &Path) -> Option<u64> {
    let space = rustix::fs::statvfs(path).ok()?;
    Some(space.f_bavail.saturating_mul(space.f_frsize))
}

/// Not asked for elsewhere.
#[cfg(not(unix))]
pub(crate) fn free_bytes(_: &Path) -> Option<u64> {
    None
}
