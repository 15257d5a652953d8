//! What a group does to queues.

use super::commit_batch::Group;
use super::op::Done;
use super::rows::{self, ItemHead, Totals};
use crate::state::{Appended, Bound, Limits, MAX_QUEUE_ITEMS, NewItem, StateError};
use hither_content::storage::Table;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::ControlFlow;

/// Most items one sweep removes; the rest is for the next group.
const MAX_SWEEP: usize = 4096;

/// An item that is to go.
struct Leaving {
    seq: u64,
    head: ItemHead,
    bytes: u64,
}

impl Leaving {
    fn of(row: &[u8], value: &[u8]) -> Result<Self, StateError> {
        let (head, value) = ItemHead::split(value)?;
        Ok(Self {
            seq: rows::seq_of(row)?,
            head,
            bytes: value.len() as u64,
        })
    }
}

impl Group<'_> {
    pub(super) fn append(&mut self, queue: &[u8], item: &NewItem) -> Result<Done, StateError> {
        let id_row = rows::of_queue(queue, &item.id);
        if let Some(seq) = self.overlay.get(self.storage, rows::IDS, &id_row)? {
            return Ok(Done::Appended(Appended {
                seq: rows::number(&seq)?,
                duplicate: true,
            }));
        }
        let source_row = rows::of_queue(queue, &item.source);
        let mut totals = self.totals(rows::TOTALS, queue)?;
        let mut source = self.totals(rows::SOURCES, &source_row)?;
        let bytes = item.value.len() as u64;
        fits(&totals, &source, bytes, &item.limits)?;
        self.may_grow()?;

        let seq = self.shared.next_number();
        for totals in [&mut totals, &mut source] {
            *totals = Totals {
                items: totals.items + 1,
                bytes: totals.bytes + bytes,
                last: seq,
            };
        }
        let head = ItemHead {
            id: item.id,
            appended_ms: self.now_ms,
            expires_ms: item.expires_ms,
            source: item.source.to_vec(),
        };
        self.overlay.put(
            rows::ITEMS,
            rows::of_queue(queue, &rows::digits(seq)),
            head.encode(&item.value),
        );
        self.overlay
            .put(rows::IDS, id_row, seq.to_be_bytes().to_vec());
        self.set_totals(rows::TOTALS, queue.to_vec(), totals);
        self.set_totals(rows::SOURCES, source_row, source);
        self.overlay.put(
            rows::EXPIRY,
            rows::expiry(item.expires_ms, queue, seq),
            Vec::new(),
        );
        let earliest = self.appended_expiry.get_or_insert(item.expires_ms);
        *earliest = item.expires_ms.min(*earliest);
        Ok(Done::Appended(Appended {
            seq,
            duplicate: false,
        }))
    }

    pub(super) fn ack(&mut self, queue: &[u8], up_to: u64) -> Result<Done, StateError> {
        let mut leaving = Vec::new();
        let mut failed = None;
        let mut visit = |row: &[u8], value: &[u8]| {
            if self.overlay.touches(rows::ITEMS, row) {
                return ControlFlow::Continue(()); // an item never changes: it was removed
            }
            match Leaving::of(row, value) {
                Ok(item) if item.seq > up_to => return ControlFlow::Break(()),
                Ok(item) => leaving.push(item),
                Err(error) => failed = Some(error),
            }
            if failed.is_some() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        self.storage.scan(rows::ITEMS, queue, &mut visit)?;
        if let Some(error) = failed {
            return Err(error);
        }
        for (row, value) in self.overlay.added(rows::ITEMS, queue) {
            let item = Leaving::of(row, value)?;
            if item.seq <= up_to {
                leaving.push(item);
            }
        }
        self.leave(queue, &leaving)?;
        Ok(Done::Count(leaving.len() as u64))
    }

    /// Removes what has expired, the earliest first.
    pub(super) fn sweep(&mut self) -> Result<Done, StateError> {
        let mut expired: BTreeMap<Vec<u8>, Vec<u64>> = BTreeMap::new();
        let mut count = 0;
        let mut next = Ok(None);
        let mut visit = |row: &[u8], _: &[u8]| {
            match rows::split_expiry(row) {
                Ok((expires, ..)) if expires > self.now_ms || count == MAX_SWEEP => {
                    next = Ok(Some(expires))
                }
                Ok((_, queue, seq)) => {
                    if !self.overlay.touches(rows::EXPIRY, row) {
                        expired.entry(queue.to_vec()).or_default().push(seq);
                        count += 1;
                    }
                    return ControlFlow::Continue(());
                }
                Err(error) => next = Err(error),
            }
            ControlFlow::Break(())
        };
        self.storage.scan(rows::EXPIRY, b"", &mut visit)?;
        let next = next?;
        let mut all = Vec::new();
        for (queue, seqs) in expired {
            let mut leaving = Vec::with_capacity(seqs.len());
            for seq in seqs {
                let row = rows::of_queue(&queue, &rows::digits(seq));
                let value = self
                    .overlay
                    .get(self.storage, rows::ITEMS, &row)?
                    .ok_or_else(rows::damaged)?;
                leaving.push(Leaving::of(&row, &value)?);
            }
            all.push((queue, leaving));
        }
        for (queue, leaving) in &all {
            self.leave(queue, leaving)?;
        }
        self.swept_to = Some(next);
        self.swept += count as u64;
        Ok(Done::Count(count as u64))
    }

    /// Removes items and everything that stands about them.
    fn leave(&mut self, queue: &[u8], items: &[Leaving]) -> Result<(), StateError> {
        if items.is_empty() {
            return Ok(());
        }
        let mut total = self.totals(rows::TOTALS, queue)?;
        let mut sources = BTreeMap::new();
        for item in items {
            total.take(item.bytes);
            match sources.entry(rows::of_queue(queue, &item.head.source)) {
                Entry::Occupied(source) => source.into_mut(),
                Entry::Vacant(source) => {
                    let totals = self.totals(rows::SOURCES, source.key())?;
                    source.insert(totals)
                }
            }
            .take(item.bytes);
        }
        for item in items {
            self.overlay
                .remove(rows::ITEMS, rows::of_queue(queue, &rows::digits(item.seq)));
            self.overlay
                .remove(rows::IDS, rows::of_queue(queue, &item.head.id));
            self.overlay.remove(
                rows::EXPIRY,
                rows::expiry(item.head.expires_ms, queue, item.seq),
            );
        }
        self.set_totals(rows::TOTALS, queue.to_vec(), total);
        for (row, source) in sources {
            self.set_totals(rows::SOURCES, row, source);
        }
        Ok(())
    }

    fn set_totals(&mut self, table: Table, row: Vec<u8>, totals: Totals) {
        match totals.items {
            0 => self.overlay.remove(table, row),
            _ => self.overlay.put(table, row, totals.encode().to_vec()),
        }
    }

    fn totals(&self, table: Table, row: &[u8]) -> Result<Totals, StateError> {
        let row = self.overlay.get(self.storage, table, row)?;
        row.map_or(Ok(Totals::default()), |row| Totals::decode(&row))
    }
}

fn fits(totals: &Totals, source: &Totals, bytes: u64, limits: &Limits) -> Result<(), StateError> {
    let bounds = [
        (
            totals.items + 1,
            limits.items.min(MAX_QUEUE_ITEMS),
            Bound::Items,
        ),
        (
            totals.bytes.saturating_add(bytes),
            limits.bytes,
            Bound::Bytes,
        ),
        (source.items + 1, limits.source_items, Bound::SourceItems),
        (
            source.bytes.saturating_add(bytes),
            limits.source_bytes,
            Bound::SourceBytes,
        ),
    ];
    match bounds.into_iter().find(|(actual, max, _)| actual > max) {
        Some((_, _, bound)) => Err(StateError::Full(bound)),
        None => Ok(()),
    }
}
