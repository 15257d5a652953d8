//! Reading: which versions of a share are here, and their chunks, verified on the way out.

use super::backend::blocking;
use super::buffers::Buffers;
use super::error::{ReadError, StoreError};
use super::held::HeldChunks;
use super::ids::{ChunkPlace, PackNumber, VersionNumber};
use super::index::Rows;
use super::inner::{Inner, ShareKey};
use super::records::{ListRecord, space_index};
use super::version::{Phase, VersionRecord};
use bytes::Bytes;
use hither_content::verify_chunk;
use hither_proto::{DeviceId, PositionRange, ReadKey, ShareId, SignedHead, Space, UserId};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Most bytes that one read returns, unless its first chunk alone is longer.
pub const MAX_READ: usize = 4 << 20;
/// Most chunks that one read returns.
const MAX_CHUNKS: usize = 1024;

/// A version of a share that can be read, at least in part.
#[derive(Clone)]
pub struct StoredVersion {
    /// Numbers it.
    pub number: VersionNumber,
    /// Who keeps it here.
    pub user: UserId,
    /// What its owner signed.
    pub head: SignedHead,
    /// What readers prove to know.
    pub read_key: ReadKey,
    /// Whether every position is held.
    pub complete: bool,
    /// When it expires, Unix milliseconds; `None`: not by itself.
    pub expires_ms: Option<u64>,
    /// What is held now.
    pub held: Arc<HeldChunks>,
}

impl std::fmt::Debug for StoredVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredVersion")
            .field("number", &self.number)
            .field("version", &self.head.head().version)
            .field("complete", &self.complete)
            .finish_non_exhaustive()
    }
}

/// A chunk as it was uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadChunk {
    /// Its position.
    pub position: u32,
    /// Its ciphertext, compared with its id.
    pub bytes: Bytes,
}

/// A chunk to be read.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    position: u32,
    record: ListRecord,
    place: ChunkPlace,
}

/// Every version of a share that is here, newest and most complete first.
pub(super) async fn candidates(
    inner: &Arc<Inner>,
    owner: DeviceId,
    share: ShareId,
) -> Result<Vec<StoredVersion>, ReadError> {
    let inner = Arc::clone(inner);
    let look = move || -> Result<Vec<StoredVersion>, ReadError> {
        let mut found = Vec::new();
        for (number, record) in inner.index.versions_of(&owner, &share)? {
            if record.phase != Phase::Released {
                found.extend(stored_version(&inner, number, &record)?);
            }
        }
        found.sort_by_key(|version: &StoredVersion| {
            (
                !version.complete,
                std::cmp::Reverse(version.head.head().version),
            )
        });
        Ok(found)
    };
    blocking(look).await?
}

fn stored_version(
    inner: &Inner,
    number: VersionNumber,
    record: &VersionRecord,
) -> Result<Option<StoredVersion>, ReadError> {
    let Ok(head) = record.signed_head() else {
        tracing::error!(?number, "a stored head does not verify");
        return Ok(None);
    };
    let key = ShareKey {
        user: record.user,
        owner: record.owner,
        share: record.share,
    };
    let live = inner
        .uploads
        .of(&key, number)
        .filter(|_| record.phase.is_pending());
    let held = match live.and_then(|upload| upload.held()) {
        Some(held) => Arc::new(HeldChunks(held)),
        None => inner.held.of(&inner.index, number, record, head.head())?,
    };
    Ok(Some(StoredVersion {
        number,
        user: record.user,
        complete: record.phase == Phase::Complete && held.is_all(head.head()),
        expires_ms: (record.phase == Phase::Complete && record.due_ms != VersionRecord::NEVER)
            .then_some(record.due_ms),
        read_key: record.read_key.clone(),
        head,
        held,
    }))
}

/// Reads chunks from the start of `range` on: as many as fit [`MAX_READ`], at least one.
pub(super) async fn read(
    inner: &Arc<Inner>,
    buffers: &Arc<Buffers>,
    version: &StoredVersion,
    space: Space,
    range: PositionRange,
) -> Result<Vec<ReadChunk>, ReadError> {
    let _turn = inner
        .readers
        .acquire()
        .await
        .map_err(|_| StoreError::Closed)?;
    let mut chunks = Vec::new();
    let mut again = true;
    loop {
        let first = range.start() + chunks.len() as u32;
        let Some(rest) = PositionRange::new(first, range.end() - first) else {
            return Ok(chunks);
        };
        let (wanted, stop) = locate(inner, version, space, rest).await?;
        let mut failure = stop;
        for group in wanted.chunk_by(follows) {
            match read_group(inner, buffers, group).await {
                Ok(read) => chunks.extend(read),
                Err(Failed::Moved(read)) if again => {
                    // It was compacted meanwhile; its new place is in the index.
                    again = false;
                    chunks.extend(read);
                    failure = None;
                    break;
                }
                Err(Failed::Moved(read)) => {
                    chunks.extend(read);
                    failure = Some(ReadError::NotHeld { position: first });
                    break;
                }
                Err(Failed::Read(read, error)) => {
                    chunks.extend(read);
                    failure = Some(error);
                    break;
                }
            }
        }
        return match failure {
            // What could be read goes out; the next call meets the same trouble first.
            Some(error) if chunks.is_empty() => Err(error),
            Some(_) => Ok(chunks),
            None if chunks.is_empty() => continue,
            None => Ok(chunks),
        };
    }
}

/// Where the chunks stand, up to the first that is not here, with the reason to stop there.
async fn locate(
    inner: &Arc<Inner>,
    version: &StoredVersion,
    space: Space,
    range: PositionRange,
) -> Result<(Vec<Wanted>, Option<ReadError>), ReadError> {
    let (inner, number, held) = (Arc::clone(inner), version.number, Arc::clone(&version.held));
    let head = version.head.head();
    let root = ListRecord {
        id: head.root,
        length: head.root_length,
    };
    let look = move || -> Result<_, ReadError> {
        let (mut wanted, mut bytes) = (Vec::new(), 0);
        for position in range.iter().take(MAX_CHUNKS) {
            let record = match space {
                Space::Root => (position == 0).then_some(root),
                _ => inner.index.record(number, space, position)?,
            };
            let Some(record) = record else {
                return Ok((wanted, Some(ReadError::NotFound)));
            };
            // Who may read a version may read what it holds, and not whatever chunk it names.
            let may = held.0[space_index(space)].contains(position);
            let Some(place) = inner.index.place(&record.id)?.filter(|_| may) else {
                return Ok((wanted, Some(ReadError::NotHeld { position })));
            };
            bytes += record.length as usize;
            if bytes > MAX_READ && !wanted.is_empty() {
                break;
            }
            wanted.push(Wanted {
                position,
                record,
                place,
            });
        }
        Ok((wanted, None))
    };
    blocking(look).await?
}

/// Bytes of the ciphertexts of a range, all of which must be held.
pub(super) async fn length_of(
    inner: &Arc<Inner>,
    version: &StoredVersion,
    space: Space,
    range: PositionRange,
) -> Result<u64, ReadError> {
    let (inner, number, held) = (Arc::clone(inner), version.number, Arc::clone(&version.held));
    let head = version.head.head();
    let root = (head.root_length, space == Space::Root);
    let look = move || -> Result<u64, ReadError> {
        let mut bytes = 0;
        for position in range.iter() {
            if !held.0[space_index(space)].contains(position) {
                return Err(ReadError::NotHeld { position });
            }
            let length = match root {
                (length, true) => Some(length).filter(|_| position == 0),
                _ => inner
                    .index
                    .record(number, space, position)?
                    .map(|record| record.length),
            };
            bytes += u64::from(length.ok_or(ReadError::NotFound)?);
        }
        Ok(bytes)
    };
    blocking(look).await?
}

/// Whether `next` stands right behind `last`, so that both are one read.
fn follows(last: &Wanted, next: &Wanted) -> bool {
    last.place.pack == next.place.pack && last.place.offset + last.place.length == next.place.offset
}

enum Failed {
    /// The chunk after these is somewhere else by now.
    Moved(Vec<ReadChunk>),
    Read(Vec<ReadChunk>, ReadError),
}

/// Reads chunks that stand one after the other.
async fn read_group(
    inner: &Arc<Inner>,
    buffers: &Arc<Buffers>,
    group: &[Wanted],
) -> Result<Vec<ReadChunk>, Failed> {
    let (Some(first), Some(last)) = (group.first(), group.last()) else {
        return Ok(Vec::new());
    };
    let start = first.place.offset;
    let length = (last.place.offset - start + last.place.length) as usize;
    let chunks = group.to_vec();
    let verify = move |bytes| verify(&chunks, start, &bytes);
    let part = (start.into(), length);
    let (wanted, read) = match inner
        .backend
        .read(buffers, first.place.pack, part, verify)
        .await
    {
        Ok(verified) => verified,
        // Gone or cut short; with several chunks it is not known yet which.
        Err(error) if error.is_missing() && group.len() > 1 => {
            let mut chunks = Vec::new();
            for wanted in group {
                match Box::pin(read_group(inner, buffers, std::slice::from_ref(wanted))).await {
                    Ok(read) => chunks.extend(read),
                    Err(Failed::Moved(_)) => return Err(Failed::Moved(chunks)),
                    Err(Failed::Read(_, error)) => return Err(Failed::Read(chunks, error)),
                }
            }
            return Ok(chunks);
        }
        Err(error) if error.is_missing() => (Some(*first), Vec::new()),
        Err(error) => return Err(Failed::Read(Vec::new(), error.into())),
    };
    let Some(bad) = wanted else { return Ok(read) };
    match damaged(inner, &bad).await {
        Ok(true) => Err(Failed::Read(
            read,
            ReadError::Damaged {
                position: bad.position,
            },
        )),
        Ok(false) => Err(Failed::Moved(read)),
        Err(error) => Err(Failed::Read(read, error)),
    }
}

/// Chunks that are what their ids say, up to the first that is not.
fn verify(group: &[Wanted], start: u32, bytes: &Bytes) -> (Option<Wanted>, Vec<ReadChunk>) {
    let mut chunks = Vec::with_capacity(group.len());
    for wanted in group {
        let from = (wanted.place.offset - start) as usize;
        let bytes = bytes.slice(from..from + wanted.place.length as usize);
        if verify_chunk(&wanted.record.id, &bytes).is_err() {
            return (Some(*wanted), chunks);
        }
        chunks.push(ReadChunk {
            position: wanted.position,
            bytes,
        });
    }
    (None, chunks)
}

/// Forgets a chunk that is not what it should be where it should be; `false` if it should be
/// somewhere else by now.
async fn damaged(inner: &Arc<Inner>, wanted: &Wanted) -> Result<bool, ReadError> {
    let Wanted { record, place, .. } = *wanted;
    // A disk that is not mounted has no packs either: nothing is forgotten for that.
    if inner.backend.identity().await?.is_none() {
        return Err(StoreError::OtherPacks.into());
    }
    let lost = lose(inner, record, place).await?;
    if !lost {
        return Ok(false);
    }
    inner.counters.damaged.fetch_add(1, Ordering::Relaxed);
    let PackNumber(pack) = place.pack;
    tracing::error!(chunk = %record.id, pack, offset = place.offset, "a stored chunk is damaged");
    Ok(true)
}

async fn lose(inner: &Inner, record: ListRecord, place: ChunkPlace) -> Result<bool, ReadError> {
    Ok(inner
        .writer
        .run(move |ledger| ledger.lose(&record.id, &place))
        .await?)
}
