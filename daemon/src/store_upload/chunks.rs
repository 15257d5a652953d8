//! The chunks of one version in the order of an upload: what there is, and reading what the store
//! misses.

use crate::store_upload::StoreUploadService;
use bytes::Bytes;
use hither_content::ReadChunkError;
use hither_proto::limits::{CHUNK_TAG, MAX_PUT_LIST};
use hither_proto::{ChunkRecord, Manifest, PutRecord, Ranges, RelayMessage, Space};
use hither_swarm::{PooledBuf, ServeError, Version};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Chunks that are read ahead of the one being sent: together with what the connection buffers, all
/// that an upload holds in memory.
const AHEAD: usize = 4;

/// Everything of one version.
#[derive(Clone)]
pub(super) struct Chunks {
    version: Arc<Version>,
    manifest: Arc<Manifest>,
}

/// The chunks that the store requested.
#[derive(Debug, Clone)]
pub(super) struct Missing {
    pub(super) root: bool,
    pub(super) manifest: Ranges,
    pub(super) data: Ranges,
}

/// A chunk on its way, or why it cannot be sent.
pub(super) type Read = Result<(RelayMessage, Bytes), ReadFailed>;

/// Why a chunk cannot be sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadFailed {
    /// A file is not what it was when it was shared.
    #[error("a file changed since it was shared")]
    Changed,
    /// It cannot be read.
    #[error("a chunk cannot be read: {0}")]
    Unreadable(String),
}

impl Chunks {
    pub(super) fn of(version: &Arc<Version>) -> Self {
        Self {
            version: Arc::clone(version),
            manifest: version.manifest(),
        }
    }

    fn records(&self, space: Space) -> &[ChunkRecord] {
        match space {
            Space::Root => &[],
            Space::Manifest => self.version.manifest_file.root().records(),
            Space::Data => self.manifest.chunks(),
        }
    }

    /// Length of the ciphertext of one position, bytes; `None` when there is no such position.
    pub(super) fn length(&self, space: Space, position: u32) -> Option<u32> {
        match space {
            Space::Root => (position == 0).then_some(self.version.head.head().root_length),
            _ => self
                .records(space)
                .get(position as usize)
                .map(|record| record.length + CHUNK_TAG),
        }
    }

    /// Ciphertext of everything, bytes.
    pub(super) fn total(&self) -> u64 {
        let of = |space| {
            self.records(space)
                .iter()
                .map(|r| u64::from(r.length + CHUNK_TAG))
                .sum::<u64>()
        };
        u64::from(self.version.head.head().root_length) + of(Space::Manifest) + of(Space::Data)
    }

    /// Ciphertext of so many positions, bytes; `None` when one of them does not exist.
    pub(super) fn bytes(&self, space: Space, ranges: &Ranges) -> Option<u64> {
        ranges
            .positions()
            .map(|position| self.length(space, position).map(u64::from))
            .sum()
    }

    /// Ciphertext of what is missing, bytes; `None` when the store asks for what does not exist.
    pub(super) fn bytes_missing(&self, missing: &Missing) -> Option<u64> {
        let root = if missing.root {
            u64::from(self.length(Space::Root, 0)?)
        } else {
            0
        };
        Some(
            root + self.bytes(Space::Manifest, &missing.manifest)?
                + self.bytes(Space::Data, &missing.data)?,
        )
    }

    /// The lists of an upload, in order.
    pub(super) fn lists(&self) -> impl Iterator<Item = RelayMessage> + '_ {
        [Space::Manifest, Space::Data]
            .into_iter()
            .flat_map(|space| {
                let parts = (0_u32..).zip(self.records(space).chunks(MAX_PUT_LIST));
                parts.map(move |(n, part)| RelayMessage::PutList {
                    space,
                    first: n * MAX_PUT_LIST as u32,
                    records: part
                        .iter()
                        .map(|r| PutRecord {
                            id: r.id,
                            length: r.length + CHUNK_TAG,
                        })
                        .collect(),
                })
            })
    }

    /// Reads and seals what is missing on a thread that may block: root and manifest first, so that
    /// what arrived of an upload that stays unfinished can be read. Ends early when nobody
    /// takes it any more.
    pub(super) fn read(
        &self,
        service: &Arc<StoreUploadService>,
        missing: Missing,
    ) -> mpsc::Receiver<Read> {
        let (sender, chunks) = mpsc::channel(AHEAD);
        let (service, of) = (Arc::clone(service), self.clone());
        tokio::task::spawn_blocking(move || {
            let root = missing.root.then_some((Space::Root, 0));
            let manifest = missing
                .manifest
                .positions()
                .map(|position| (Space::Manifest, position));
            let data = missing
                .data
                .positions()
                .map(|position| (Space::Data, position));
            for (space, position) in root.into_iter().chain(manifest).chain(data) {
                let read = of.read_one(&service, space, position);
                let failed = read.is_err();
                if sender.blocking_send(read).is_err() || failed {
                    return;
                }
            }
        });
        chunks
    }

    fn read_one(&self, service: &StoreUploadService, space: Space, position: u32) -> Read {
        let mut buffer = service.swarm.workers().buffers.take();
        self.version
            .read_sealed(space, position, &mut buffer)
            .map_err(|error| match error {
                ServeError::Chunk(ReadChunkError::Changed { .. } | ReadChunkError::Gone { .. }) => {
                    ReadFailed::Changed
                }
                error => ReadFailed::Unreadable(error.to_string()),
            })?;
        let payload = PooledBuf::bytes(buffer, &service.swarm.workers().buffers);
        Ok((
            RelayMessage::PutChunk {
                space,
                position,
                length: payload.len() as u32,
            },
            payload,
        ))
    }
}
