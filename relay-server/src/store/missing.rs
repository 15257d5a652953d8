//! What of a version has to be sent: whatever its user does not keep here already, each chunk once.

use super::backend::blocking;
use super::error::PutError;
use super::ids::{UserNumber, VersionNumber};
use super::index::Rows;
use super::inner::Inner;
use super::progress::SpaceProgress;
use super::records::{BLOCK, ListRecord, records};
use hither_content::storage::StorageError;
use hither_proto::{Head, Space};
use std::sync::Arc;

/// Whose version it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Of {
    pub(super) version: VersionNumber,
    pub(super) user: UserNumber,
}

/// Finds out what a version has and what it wants; from then on it refers to what it has. Also says
/// how many bytes are wanted.
pub(super) async fn missing(
    inner: &Arc<Inner>,
    of: Of,
    head: &Head,
) -> Result<([SpaceProgress; 3], u64), PutError> {
    let root = ListRecord {
        id: head.root,
        length: head.root_length,
    };
    let mut bytes = 0;
    let mut spaces = [Space::Root, Space::Manifest, Space::Data].map(|_| SpaceProgress::default());
    let totals = [1, head.manifest_chunks, head.chunks];
    for ((space, part), total) in [Space::Root, Space::Manifest, Space::Data]
        .into_iter()
        .zip(&mut spaces)
        .zip(totals)
    {
        part.total = total;
        for block in 0..total.div_ceil(BLOCK) {
            let list = match space {
                Space::Root => vec![root],
                _ => block_records(inner, of.version, space, block).await?,
            };
            for (index, has) in adopt(inner, of, list).await?.into_iter().enumerate() {
                let position = block * BLOCK + index as u32;
                if has {
                    part.held.insert(position)
                } else {
                    part.wanted.insert(position)
                };
            }
        }
        if part.held.len() + part.wanted.len() != u64::from(total) {
            return Err(PutError::List("it ends before the version does"));
        }
        if space != Space::Root {
            let (inner, mut found) = (Arc::clone(inner), std::mem::take(part));
            *part = blocking(move || {
                find_repeats(&inner, of.version, space, &mut found).map(|()| found)
            })
            .await??;
        }
        bytes += wanted_bytes(inner, of.version, space, part, root).await?;
    }
    Ok((spaces, bytes))
}

async fn block_records(
    inner: &Arc<Inner>,
    version: VersionNumber,
    space: Space,
    block: u32,
) -> Result<Vec<ListRecord>, PutError> {
    let inner = Arc::clone(inner);
    let read = move || {
        inner
            .index
            .block(version, space, block)
            .map(|block| records(&block).collect())
    };
    Ok(blocking(read).await??)
}

/// Which of the chunks the user has; the version refers to them.
async fn adopt(inner: &Arc<Inner>, of: Of, list: Vec<ListRecord>) -> Result<Vec<bool>, PutError> {
    // Most chunks of a new share are new: those need not bother the writer, for which this asks
    // first.
    let asking = Arc::clone(inner);
    let ask = move || -> Result<_, StorageError> {
        let has = list
            .iter()
            .map(|record| asking.index.user_has(of.user, record))
            .collect::<Result<Vec<_>, _>>()?;
        let likely: Vec<_> = list
            .iter()
            .zip(&has)
            .filter(|(_, has)| **has)
            .map(|(record, _)| *record)
            .collect();
        Ok((has, likely))
    };
    let (mut has, likely) = blocking(ask).await??;
    if likely.is_empty() {
        return Ok(has);
    }
    let mut adopted = inner
        .writer
        .run(move |ledger| ledger.adopt(of.version, &likely))
        .await?
        .into_iter();
    for has in has.iter_mut().filter(|has| **has) {
        *has = adopted.next().unwrap_or(false);
    }
    Ok(has)
}

/// Takes positions that repeat the chunk of an earlier wanted one out of what is wanted. 16 bytes
/// of memory for each wanted position.
fn find_repeats(
    inner: &Inner,
    version: VersionNumber,
    space: Space,
    part: &mut SpaceProgress,
) -> Result<(), StorageError> {
    let mut order: Vec<(u64, u32)> = Vec::with_capacity(part.wanted.len() as usize);
    for position in &part.wanted {
        let Some(record) = inner.index.record(version, space, position)? else {
            continue;
        };
        let start = record
            .id
            .as_bytes()
            .first_chunk()
            .copied()
            .unwrap_or_default();
        order.push((u64::from_be_bytes(start), position));
    }
    order.sort_unstable();
    for run in order
        .chunk_by(|a, b| a.0 == b.0)
        .filter(|run| run.len() > 1)
    {
        // Beginnings of ids may be equal by somebody's design; only equal records are repeats.
        let Some((_, first)) = run.first() else {
            continue;
        };
        let chunk = inner.index.record(version, space, *first)?;
        for (_, position) in &run[1..] {
            if inner.index.record(version, space, *position)? == chunk {
                part.wanted.remove(*position);
                part.repeats.push((*first, *position));
            }
        }
    }
    part.repeats.sort_unstable();
    Ok(())
}

async fn wanted_bytes(
    inner: &Arc<Inner>,
    version: VersionNumber,
    space: Space,
    part: &SpaceProgress,
    root: ListRecord,
) -> Result<u64, PutError> {
    if space == Space::Root {
        return Ok(part.wanted.len() * u64::from(root.length));
    }
    let (inner, wanted) = (Arc::clone(inner), part.wanted.clone());
    let sum = move || -> Result<u64, StorageError> {
        let mut sum = 0;
        for position in &wanted {
            let length = inner
                .index
                .record(version, space, position)?
                .map_or(0, |record| record.length);
            sum += u64::from(length);
        }
        Ok(sum)
    };
    Ok(blocking(sum).await??)
}
