//! Reading, beside the writer and without waiting for it.

use super::Shared;
use super::rows::{self, ItemHead, SEQ_DIGITS, Totals};
use crate::state::{
    Depth, Entry, Item, MAX_PAGE, MAX_PAGE_BYTES, MAX_READ, MAX_READ_BYTES, StateError,
};
use bytes::Bytes;
use hither_content::storage::{Storage, StorageError, Visit};
use std::cell::Cell;
use std::ops::{Bound, ControlFlow};

/// Rows of keys in order, and whether there are more.
pub(super) type Rows = (Vec<(Vec<u8>, Entry)>, bool);

impl Shared {
    pub(super) fn get(&self, row: &[u8]) -> Result<Option<Entry>, StateError> {
        if let Some(held) = self.sessions.get(row) {
            return Ok(Some(held.entry));
        }
        let Some(value) = self.disk.with(|storage| storage.get(rows::KEYS, row))? else {
            return Ok(None);
        };
        entry(&value).map(Some)
    }

    /// A page of the keys that begin with `prefix` and come after `after`, durable and ephemeral.
    ///
    /// The storage finds by prefix only: what comes before `after` is passed over, some ten million
    /// keys a second.
    pub(super) fn list(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Rows, StateError> {
        let limit = limit.min(MAX_PAGE);
        let from = after.map_or(Bound::Included(prefix), |after| {
            Bound::Excluded(after.max(prefix))
        });
        let (mut found, mut more) = self.durable(prefix, after, limit)?;
        let mut held = self.sessions.range(prefix, from, limit + 1);
        if let Some((last, _)) = found.last().filter(|_| more) {
            held.retain(|(row, _)| row < last);
        }
        found.append(&mut held);
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found.dedup_by(|a, b| a.0 == b.0);
        let mut bytes = 0;
        let fits = found.iter().take(limit).take_while(|(row, entry)| {
            let before = bytes;
            bytes += row.len() + entry.value.len();
            before < MAX_PAGE_BYTES
        });
        let fits = fits.count();
        more |= fits < found.len();
        found.truncate(fits);
        Ok((found, more))
    }

    fn durable(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Rows, StateError> {
        let (mut found, mut more, mut bytes, mut failed) = (Vec::new(), false, 0, None);
        let mut visit = |row: &[u8], value: &[u8]| {
            if after.is_some_and(|after| row <= after) {
                return ControlFlow::Continue(());
            }
            if found.len() >= limit || bytes >= MAX_PAGE_BYTES {
                more = true;
                return ControlFlow::Break(());
            }
            match entry(value) {
                Ok(entry) => found.push((row.to_vec(), entry)),
                Err(error) => {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
            }
            bytes += row.len() + value.len();
            ControlFlow::Continue(())
        };
        self.disk
            .with(|storage| storage.scan(rows::KEYS, prefix, &mut visit))?;
        failed.map_or(Ok((found, more)), Err)
    }

    pub(super) fn read(
        &self,
        queue: &[u8],
        after: u64,
        limit: usize,
        max_bytes: usize,
        now_ms: u64,
    ) -> Result<Vec<Item>, StateError> {
        let (limit, max_bytes) = (limit.min(MAX_READ), max_bytes.min(MAX_READ_BYTES));
        let (mut items, mut bytes, mut failed) = (Vec::<Item>::new(), 0, None);
        let mut visit = |row: &[u8], value: &[u8]| {
            match item(row, value) {
                Ok(item) if item.expires_ms <= now_ms => return ControlFlow::Continue(()),
                Ok(item) => {
                    bytes += item.value.len();
                    if items.len() < limit && (items.is_empty() || bytes <= max_bytes) {
                        items.push(item);
                        return ControlFlow::Continue(());
                    }
                }
                Err(error) => failed = Some(error),
            }
            ControlFlow::Break(())
        };
        self.disk.with(|storage| {
            let Some(totals) = storage.get(rows::TOTALS, queue)? else {
                return Ok(());
            };
            let last = Totals::decode(&totals)?.last;
            scan_after(storage, queue, after, last, &mut visit).map_err(StateError::from)
        })?;
        failed.map_or(Ok(items), Err)
    }

    pub(super) fn depth(&self, queue: &[u8]) -> Result<Depth, StateError> {
        self.disk.with(|storage| {
            let Some(totals) = storage.get(rows::TOTALS, queue)? else {
                return Ok(Depth::default());
            };
            let totals = Totals::decode(&totals)?;
            let mut oldest = None;
            let mut visit = |_: &[u8], value: &[u8]| {
                oldest = Some(ItemHead::split(value).map(|(head, _)| head.appended_ms));
                ControlFlow::Break(())
            };
            storage.scan(rows::ITEMS, queue, &mut visit)?;
            Ok(Depth {
                items: totals.items,
                bytes: totals.bytes,
                oldest_ms: oldest.transpose()?,
            })
        })
    }
}

/// Visits a queue's items after `after` and up to about `last`, in order.
///
/// In hex the seqs after one are those with the same digits but the last and a greater last one,
/// then those with the same digits but the last two and a greater one before the last, and so on: a
/// few short scans by prefix.
fn scan_after(
    storage: &dyn Storage,
    queue: &[u8],
    after: u64,
    last: u64,
    visit: &mut Visit<'_>,
) -> Result<(), StorageError> {
    if after == 0 {
        return storage.scan(rows::ITEMS, queue, visit);
    }
    let broke = Cell::new(false);
    let mut visit = |row: &[u8], value: &[u8]| {
        let flow = visit(row, value);
        broke.set(flow.is_break());
        flow
    };
    let mut prefix = rows::of_queue(queue, &rows::digits(after));
    for place in 0..SEQ_DIGITS {
        prefix.pop();
        let shift = 4 * place as u32;
        for digit in (after >> shift & 15) + 1..16 {
            let start = (after >> shift & !15 | digit) << shift;
            if start > last || broke.get() {
                return Ok(());
            }
            prefix.push(rows::digits(digit)[SEQ_DIGITS - 1]);
            storage.scan(rows::ITEMS, &prefix, &mut visit)?;
            prefix.pop();
        }
    }
    Ok(())
}

fn entry(value: &[u8]) -> Result<Entry, StateError> {
    let (revision, value) = rows::split_value(value)?;
    Ok(Entry {
        value: Bytes::copy_from_slice(value),
        revision,
    })
}

fn item(row: &[u8], value: &[u8]) -> Result<Item, StateError> {
    let (head, value) = ItemHead::split(value)?;
    Ok(Item {
        seq: rows::seq_of(row)?,
        id: head.id,
        source: head.source.into(),
        value: Bytes::copy_from_slice(value),
        appended_ms: head.appended_ms,
        expires_ms: head.expires_ms,
    })
}
