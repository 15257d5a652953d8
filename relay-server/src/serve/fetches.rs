//! Readers of a store, for the owners of shares: what a reader says of itself on its control stream
//! ([`Progress`]) is kept until the owner knows of it.
//!
//! The word is the reader's own, and the relay passes it on as that. Bounds: one entry for each
//! reader and share, [`MAX_STORE_FETCHES`] for each owner, of which the one heard of longest ago
//! makes room; a stream is written down at most once in [`PAUSE`], and at its end.

use crate::node::{Node, now_ms};
use crate::serve::records::{
    FetchRecord, bucket, device_key, fetch_key, last_device, middle_share,
};
use crate::serve::registry::encode;
use crate::state::{Expect, Page, StateError};
use hither_proto::limits::{MAX_SHARE, MAX_STORE_FETCHES};
use hither_proto::{DeviceId, FetchReceived, Progress, ShareId, StoreFetch};
use prost::Message;
use std::time::Duration;
use tokio::time::Instant;

/// Shortest time between two changes of what is kept of one stream.
const PAUSE: Duration = Duration::from_secs(1);

/// The reader on one control stream, by its own word.
pub(super) struct Reader {
    owner: DeviceId,
    share: ShareId,
    device: DeviceId,
    /// Said, and not yet kept.
    said: Option<Progress>,
    /// It was seen on its way: a reader that only comes back has fetched nothing.
    on_its_way: bool,
    due: Instant,
}

impl Reader {
    pub(super) fn new(owner: DeviceId, share: ShareId, device: DeviceId) -> Self {
        Self {
            owner,
            share,
            device,
            said: None,
            on_its_way: false,
            due: Instant::now() + PAUSE,
        }
    }

    /// Hears how far it is.
    pub(super) fn says(&mut self, said: Progress) {
        // The owner's own fetches are no news to it.
        if self.device == self.owner || said.bytes > MAX_SHARE {
            return;
        }
        self.on_its_way |= !said.complete;
        if self.on_its_way {
            self.said = Some(said);
        }
        if said.complete {
            self.on_its_way = false;
            self.due = self.due.min(Instant::now());
        }
    }

    /// Waits until something is to be kept.
    pub(super) async fn due(&self) {
        match self.said {
            Some(_) => tokio::time::sleep_until(self.due).await,
            None => std::future::pending().await,
        }
    }

    /// Keeps what was said and is not kept yet.
    pub(super) async fn keep(&mut self, node: &Node) {
        let Some(said) = self.said.take() else { return };
        self.due = Instant::now() + PAUSE;
        if let Err(error) = keep(node, self, said).await {
            tracing::debug!(%error, "how far a reader is could not be kept");
            self.said.get_or_insert(said);
        }
    }
}

async fn keep(node: &Node, reader: &Reader, said: Progress) -> Result<(), StateError> {
    let key = fetch_key(&reader.owner, &reader.share, &reader.device);
    let before = node.state.get(bucket::FETCHES, &key).await?;
    let before = before.and_then(|entry| FetchRecord::decode(&entry.value[..]).ok());
    // A fetch that was finished and of which the owner does not know yet is not forgotten over one
    // that has begun anew.
    if before.is_some_and(|before| before.complete) && !said.complete {
        return Ok(());
    }
    if before.is_none() {
        make_room(node, &reader.owner).await?;
    }
    let record = FetchRecord {
        version: said.version,
        bytes: said.bytes,
        complete: said.complete,
        at_ms: now_ms(),
    };
    let put = node
        .state
        .put(bucket::FETCHES, &key, encode(&record), Expect::Any);
    put.await.map(drop)
}

async fn all(node: &Node, owner: &DeviceId) -> Result<Page, StateError> {
    let prefix = format!("{}/", device_key(owner));
    let state = &node.state;
    state
        .list(bucket::FETCHES, &prefix, None, MAX_STORE_FETCHES)
        .await
}

async fn make_room(node: &Node, owner: &DeviceId) -> Result<(), StateError> {
    let page = all(node, owner).await?;
    if page.records.len() < MAX_STORE_FETCHES {
        return Ok(());
    }
    let at = |value: &[u8]| FetchRecord::decode(value).map_or(0, |record| record.at_ms);
    let oldest = page.records.iter().min_by_key(|one| at(&one.entry.value));
    if let Some(oldest) = oldest {
        let expect = Expect::Any;
        node.state
            .delete(bucket::FETCHES, &oldest.key, expect)
            .await?;
    }
    Ok(())
}

/// Everything that an owner does not know yet.
pub(super) async fn of(node: &Node, owner: &DeviceId) -> Result<Vec<StoreFetch>, StateError> {
    let page = all(node, owner).await?;
    let fetches = page.records.iter().filter_map(|one| {
        let record = FetchRecord::decode(&one.entry.value[..]).ok()?;
        Some(StoreFetch {
            share: middle_share(&one.key)?,
            device: last_device(&one.key)?,
            progress: Progress {
                version: record.version,
                bytes: record.bytes,
                complete: record.complete,
            },
            revision: one.entry.revision,
        })
    });
    Ok(fetches.collect())
}

/// The owner knows of these: they are forgotten, unless they have changed since.
pub(super) async fn received(node: &Node, owner: &DeviceId, received: Vec<FetchReceived>) {
    for one in received {
        let key = fetch_key(owner, &one.share, &one.device);
        let expect = Expect::Revision(one.revision);
        match node.state.delete(bucket::FETCHES, &key, expect).await {
            Ok(_) | Err(StateError::Conflict { .. }) => {}
            // The owner is told of it again.
            Err(error) => tracing::debug!(%error, "a fetch could not be forgotten"),
        }
    }
}
