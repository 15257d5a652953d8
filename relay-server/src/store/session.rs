//! An upload of one version of a share.

use super::backend::blocking;
use super::buffers::{Buffer, Buffers};
use super::config::millis;
use super::error::{Measure, PutError};
use super::ids::VersionNumber;
use super::inner::{Inner, ShareKey};
use super::ledger::{Completed, Created, Most, NewVersion};
use super::missing::{Of, missing};
use super::progress::{Progress, Stored};
use super::records::{BLOCK, ListRecord, MAX_LIST, RECORD, record_at, records, space_index};
use super::tables::{LISTS, list_key};
use super::version::{VersionRecord, list_bytes};
use bytes::Bytes;
use hither_proto::{DeviceId, Ranges, ReadKey, SignedHead, Space, UserId};
use hither_util::sync::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// What has to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The root.
    pub root: bool,
    /// Positions of the manifest. Of positions with the same chunk only the first is named.
    pub manifest: Ranges,
    /// Positions of the data, likewise. Where there are more ranges than fit a message, the rest
    /// comes when the upload is begun again.
    pub data: Ranges,
    /// Length of all of it, bytes.
    pub bytes: u64,
}

/// The lists as far as they were received.
#[derive(Default)]
struct Lists {
    /// Records received, by space.
    counts: [u32; 3],
    /// Records that are not a whole block yet.
    rest: Vec<u8>,
}

/// An upload. Its methods may be called from several tasks; dropping it breaks the upload off, and
/// what is durable by then is kept for another attempt.
pub struct PutSession {
    inner: Arc<Inner>,
    key: ShareKey,
    head: SignedHead,
    keep: Option<Duration>,
    progress: Arc<Progress>,
    buffers: Arc<Buffers>,
    lists: tokio::sync::Mutex<Lists>,
    /// The block of each list that was looked into last: chunks come in order.
    blocks: Mutex<[Option<CachedBlock>; 3]>,
}

impl std::fmt::Debug for PutSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PutSession")
            .field("version", &self.progress.version)
            .finish_non_exhaustive()
    }
}

impl PutSession {
    pub(super) async fn begin(
        inner: Arc<Inner>,
        user: UserId,
        owner: DeviceId,
        head: SignedHead,
        read_key: ReadKey,
        keep: Option<Duration>,
    ) -> Result<Self, PutError> {
        let share = head.head().share;
        // The lists need room too.
        let lists = list_bytes(head.head());
        inner.check_floor(lists)?;
        let due_ms = inner
            .config
            .now_ms()
            .saturating_add(millis(inner.config.pending_grace));
        let new = NewVersion {
            user,
            owner,
            share,
            version: head.head().version,
            read_key,
            head: head.to_unchecked().encode(),
            due_ms,
            lists,
        };
        let most = Most {
            versions: inner.config.user_versions,
            lists: inner.config.user_lists,
        };
        let (version, number) = match inner
            .writer
            .run(move |ledger| ledger.create(new, most))
            .await?
        {
            Created::New(version, number) => (version, number),
            Created::Older => return Err(PutError::Older),
            Created::TooMany(used) => {
                let (quota, used) = (most.versions.into(), used.into());
                return Err(PutError::Quota {
                    of: Measure::Versions,
                    quota,
                    used,
                    wanted: 1,
                });
            }
            Created::TooLong(used) => {
                return Err(PutError::Quota {
                    of: Measure::Lists,
                    quota: most.lists,
                    used,
                    wanted: lists,
                });
            }
        };
        // One that was begun before, and got no further, is to be swept.
        inner.sweep.notify_one();
        let progress = Arc::new(Progress::new(version, number));
        let key = ShareKey { user, owner, share };
        inner.uploads.enter(key, &progress);
        let buffers = inner.buffers();
        let (lists, blocks) = Default::default();
        Ok(Self {
            inner,
            key,
            head,
            keep,
            progress,
            buffers,
            lists,
            blocks,
        })
    }

    /// Takes records of consecutive positions: 36 bytes each, at most [`MAX_LIST`]; `first` is the
    /// position of the first. The manifest's list comes first; both in order. Refused lists end
    /// the upload.
    pub async fn list(&self, space: Space, first: u32, bytes: &[u8]) -> Result<(), PutError> {
        self.progress.failure()?;
        let listed = self.add_list(space, first, bytes).await;
        // Records that were not stored leave a gap that nothing later could fill.
        listed.inspect_err(|error| self.progress.fail(error.clone()))
    }

    async fn add_list(&self, space: Space, first: u32, bytes: &[u8]) -> Result<(), PutError> {
        let mut lists = self.lists.lock().await;
        let head = self.head.head();
        let total = match space {
            Space::Root => return Err(PutError::List("the root has none")),
            Space::Manifest => head.manifest_chunks,
            Space::Data => head.chunks,
        };
        let count = &mut lists.counts[space_index(space)];
        check_list(*count, total, first, bytes)?;
        if space == Space::Data && lists.counts[1] < head.manifest_chunks {
            return Err(PutError::List("data before the manifest's end"));
        }
        let before = lists.counts[space_index(space)] - (lists.rest.len() / RECORD) as u32;
        lists.counts[space_index(space)] += (bytes.len() / RECORD) as u32;
        lists.rest.extend(bytes);
        let ends = lists.counts[space_index(space)] == total;
        let whole = if ends {
            lists.rest.len()
        } else {
            lists.rest.len() / BLOCK_BYTES * BLOCK_BYTES
        };
        let rest = lists.rest.split_off(whole);
        let blocks = std::mem::replace(&mut lists.rest, rest);
        self.store_blocks(space, before / BLOCK, blocks).await
    }

    async fn store_blocks(
        &self,
        space: Space,
        first: u32,
        blocks: Vec<u8>,
    ) -> Result<(), PutError> {
        if blocks.is_empty() {
            return Ok(());
        }
        let version = self.progress.version;
        let stored = self.inner.writer.run(move |ledger| {
            let open = ledger.open_version(version)?.is_some();
            for (block, bytes) in (first..)
                .zip(blocks.chunks(BLOCK_BYTES))
                .take_while(|_| open)
            {
                ledger.put(LISTS, &list_key(version, space, block), bytes);
            }
            Ok(open)
        });
        if stored.await? {
            Ok(())
        } else {
            Err(PutError::Released)
        }
    }

    /// Returns what has to be sent, once the lists are complete. From now on the version relies on
    /// what is not named.
    pub async fn missing(&self) -> Result<Missing, PutError> {
        self.progress.failure()?;
        let lists = self.lists.lock().await;
        let head = self.head.head();
        if lists.counts != [0, head.manifest_chunks, head.chunks] || self.progress.is_listed() {
            return Err(PutError::List(
                "it is not complete, or was asked about before",
            ));
        }
        let _turn = self
            .inner
            .listings
            .turn(self.key.user)
            .await
            .ok_or(super::StoreError::Closed)?;
        let of = Of {
            version: self.progress.version,
            user: self.progress.user,
        };
        let (spaces, bytes) = missing(&self.inner, of, head).await?;
        let promise = self.inner.promise(self.key.user, bytes).await;
        let refused = promise.is_err();
        self.inner
            .writer
            .run(move |ledger| ledger.list(of.version, refused))
            .await?;
        self.inner.sweep.notify_one();
        let promise = promise?;
        let [root, manifest, data] = &spaces;
        let missing = Missing {
            root: !root.wanted.is_empty(),
            manifest: Ranges::from_bitmap(&manifest.wanted),
            data: Ranges::from_bitmap(&data.wanted),
            bytes,
        };
        self.progress.begin(spaces, promise);
        Ok(missing)
    }

    /// Takes a chunk; waits while too much is on its way to the disk. A chunk that is not wanted is
    /// ignored.
    ///
    /// It is verified later: what is wrong with it, or with the disk, is the error of a later call.
    /// [`Self::stored`] says when it is durable. May be cancelled: the chunk is then wanted
    /// still.
    pub async fn chunk(&self, space: Space, position: u32, bytes: Bytes) -> Result<(), PutError> {
        let Some(taken) = self.progress.take(space, position)? else {
            return Ok(());
        };
        let record = self.record(space, position).await?;
        if record.length as usize != bytes.len() {
            return Err(PutError::Length {
                expected: record.length,
                actual: bytes.len(),
            });
        }
        self.inner.packer.add(taken, record, bytes).await
    }

    /// Memory to receive a chunk of `length` bytes into, which spares the system getting new memory
    /// for each.
    pub fn buffer(&self, length: u32) -> Buffer {
        self.buffers.take(length as usize)
    }

    /// The length that the chunk at a position must have, bytes: for bounding what is read from a
    /// network.
    pub async fn length(&self, space: Space, position: u32) -> Result<u32, PutError> {
        self.record(space, position)
            .await
            .map(|record| record.length)
    }

    async fn record(&self, space: Space, position: u32) -> Result<ListRecord, PutError> {
        let head = self.head.head();
        if space == Space::Root {
            let root = ListRecord {
                id: head.root,
                length: head.root_length,
            };
            return if position == 0 {
                Ok(root)
            } else {
                Err(PutError::Position)
            };
        }
        let number = position / BLOCK;
        let cached = self.blocks.lock()[space_index(space)].clone();
        let block = match cached.filter(|(cached, _)| *cached == number) {
            Some((_, block)) => block,
            None => {
                let (inner, version) = (Arc::clone(&self.inner), self.progress.version);
                let block = blocking(move || inner.index.block(version, space, number)).await??;
                let entry = Some((number, Arc::clone(&block)));
                self.blocks.lock()[space_index(space)] = entry;
                block
            }
        };
        record_at(&block, position % BLOCK).ok_or(PutError::Position)
    }

    /// Waits for positions that have become durable since the last call; `None` after the end of a
    /// complete upload. Cancelling loses nothing.
    pub async fn stored(&self) -> Result<Option<Stored>, PutError> {
        self.progress.stored().await
    }

    /// Everything was sent: waits until it is durable, then makes the version the one that is kept,
    /// in place of the one before. The error [`PutError::Incomplete`] changes nothing: more
    /// chunks may follow.
    pub async fn end(&self) -> Result<(), PutError> {
        if !self.progress.is_listed() {
            return Err(PutError::List("it is not complete"));
        }
        self.inner.packer.hurry(self.progress.version);
        match self.progress.settled().await? {
            0 => {}
            missing => return Err(PutError::Incomplete { missing }),
        }
        let now = self.inner.config.now_ms();
        let due = self.keep.map_or(VersionRecord::NEVER, |keep| {
            now.saturating_add(millis(keep))
        });
        let version = self.progress.version;
        let completed = self
            .inner
            .writer
            .run(move |ledger| ledger.complete(version, due))
            .await?;
        self.inner.sweep.notify_one();
        match completed {
            Completed::Done => {
                self.progress.finish();
                Ok(())
            }
            Completed::Gone => Err(PutError::Released),
            Completed::Older => Err(PutError::Older),
        }
    }

    /// Numbers this upload.
    pub fn version(&self) -> VersionNumber {
        self.progress.version
    }
}

impl Drop for PutSession {
    fn drop(&mut self) {
        self.inner.uploads.leave(&self.key, &self.progress);
        // What was received is written and kept, without waiting for more.
        self.inner.packer.hurry(self.progress.version);
    }
}

/// A block of a list with its number.
type CachedBlock = (u32, Arc<[u8]>);

const BLOCK_BYTES: usize = BLOCK as usize * RECORD;

fn check_list(count: u32, total: u32, first: u32, bytes: &[u8]) -> Result<(), PutError> {
    let number = bytes.len() / RECORD;
    if !bytes.len().is_multiple_of(RECORD) || number > MAX_LIST {
        return Err(PutError::List("its length"));
    }
    if first != count {
        return Err(PutError::List("its order"));
    }
    if u64::from(count) + number as u64 > u64::from(total) {
        return Err(PutError::List("it goes on beyond the version's end"));
    }
    if !records(bytes).all(|record| record.is_possible()) {
        return Err(PutError::List("a chunk of impossible length"));
    }
    Ok(())
}
