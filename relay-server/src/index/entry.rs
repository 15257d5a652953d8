//! What one device holds of one topic.

use super::{StreamId, Weight};
use crate::serve::limits::Source;
use bytes::Bytes;
use hither_proto::{Announcement, Delta, IndexHolder, Ranges};
use hither_proto::{DeviceId, limits::MAX_INDEX_RANGES};
use roaring::RoaringBitmap;
use std::collections::{BTreeSet, VecDeque};

/// Most changes that are kept so that readers can be told just those, and most bytes of them.
const MAX_CHANGES: usize = 32;
const MAX_CHANGE_BYTES: u64 = 16 * 1024;
/// What an entry takes beside its bitmap and addresses: keys, tables, viewers.
const OVERHEAD: u64 = 512;

/// One change, kept for readers.
#[derive(Debug)]
struct Change {
    seq: u64,
    added: RoaringBitmap,
    removed: RoaringBitmap,
}

impl Change {
    fn bytes(&self) -> u64 {
        (self.added.serialized_size() + self.removed.serialized_size()) as u64
    }
}

/// Up to where a reader was told of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ToldUpTo {
    announcement: u64,
    seq: u64,
}

impl ToldUpTo {
    /// Of this announcement nothing: they count from 1.
    pub(super) const NOTHING: Self = Self {
        announcement: 0,
        seq: 0,
    };
}

/// What a reader has to be told of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    Nothing,
    Change(Delta),
    /// Everything, anew.
    Full,
}

/// A device's announcement and what followed it.
#[derive(Debug)]
pub(super) struct Entry {
    /// On which stream it was announced; deltas count there only.
    pub(super) stream: StreamId,
    pub(super) site: Source,
    pub(super) version: u64,
    epoch: u64,
    seq: u64,
    pub(super) complete: bool,
    has_manifest: bool,
    /// Empty when it is complete.
    pub(super) held: RoaringBitmap,
    sealed: Bytes,
    /// Counts the announcements of all entries: another number is another announcement.
    announcement: u64,
    changes: VecDeque<Change>,
    change_bytes: u64,
    /// Readers who were told of it.
    pub(super) viewers: BTreeSet<StreamId>,
}

/// What a delta turned out to change.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Changed {
    pub(super) added: RoaringBitmap,
    pub(super) removed: RoaringBitmap,
}

impl Entry {
    pub(super) fn new(
        (stream, site): (StreamId, Source),
        holding: &Announcement,
        sealed: Bytes,
        announcement: u64,
        viewers: BTreeSet<StreamId>,
    ) -> Self {
        let mut held = if holding.complete {
            RoaringBitmap::new()
        } else {
            holding.held.to_bitmap()
        };
        // Without it a run of a thousand positions would take as much as so many scattered ones.
        held.optimize();
        Self {
            stream,
            site,
            version: holding.version,
            epoch: holding.epoch,
            seq: holding.seq,
            complete: holding.complete,
            has_manifest: holding.has_manifest,
            held,
            sealed,
            announcement,
            changes: VecDeque::new(),
            change_bytes: 0,
            viewers,
        }
    }

    /// Applies a delta; `None`: it does not follow what is known.
    pub(super) fn change(&mut self, delta: &Delta) -> Option<Changed> {
        let follows = delta.version == self.version
            && delta.epoch == self.epoch
            && Some(delta.seq) == self.seq.checked_add(1)
            && !self.complete;
        if !follows {
            return None;
        }
        self.seq = delta.seq;
        let removed = delta.removed.to_bitmap() & &self.held;
        self.held -= &removed;
        let added = delta.added.to_bitmap() - &self.held;
        self.held |= &added;
        self.held.optimize();
        self.remember(Change {
            seq: delta.seq,
            added: added.clone(),
            removed: removed.clone(),
        });
        Some(Changed { added, removed })
    }

    fn remember(&mut self, change: Change) {
        if self.viewers.is_empty() {
            self.changes.clear();
            self.change_bytes = 0;
            return;
        }
        self.change_bytes += change.bytes();
        self.changes.push_back(change);
        while self.changes.len() > MAX_CHANGES || self.change_bytes > MAX_CHANGE_BYTES {
            let Some(first) = self.changes.pop_front() else {
                break;
            };
            self.change_bytes -= first.bytes();
        }
    }

    /// What a reader has been told once it was told everything.
    pub(super) fn told(&self) -> ToldUpTo {
        ToldUpTo {
            announcement: self.announcement,
            seq: self.seq,
        }
    }

    /// What a reader has to be told who was told so much.
    pub(super) fn news(&self, told: Option<ToldUpTo>) -> News {
        let Some(told) = told.filter(|told| told.announcement == self.announcement) else {
            return News::Full;
        };
        if told.seq == self.seq {
            return News::Nothing;
        }
        let missed = || self.changes.iter().filter(|change| change.seq > told.seq);
        // They have no gaps: when the first one that was missed is there, all are.
        if missed()
            .next()
            .is_none_or(|change| change.seq != told.seq + 1)
        {
            return News::Full;
        }
        let (mut added, mut removed) = (RoaringBitmap::new(), RoaringBitmap::new());
        for change in missed() {
            added -= &change.removed;
            removed |= &change.removed;
            removed -= &change.added;
            added |= &change.added;
        }
        let (added, removed) = (runs(&added), runs(&removed));
        if added.as_slice().len() + removed.as_slice().len() >= MAX_INDEX_RANGES {
            return News::Full;
        }
        News::Change(Delta {
            version: self.version,
            epoch: self.epoch,
            seq: self.seq,
            added,
            removed,
        })
    }

    /// The entry as it is told in full.
    pub(super) fn holder(&self, device: DeviceId, reader: Source) -> IndexHolder {
        let holding = Announcement {
            version: self.version,
            epoch: self.epoch,
            seq: self.seq,
            complete: self.complete,
            held: runs(&self.held),
            has_manifest: self.has_manifest,
        };
        IndexHolder {
            device,
            same_site: self.site == reader,
            holding,
            sealed: self.sealed.clone(),
        }
    }

    /// Where it came from, and about how many bytes it takes.
    pub(super) fn weight(&self) -> Weight {
        (self.site, self.bytes())
    }

    fn bytes(&self) -> u64 {
        OVERHEAD + (self.held.serialized_size() + self.sealed.len()) as u64 + self.change_bytes
    }
}

fn runs(bitmap: &RoaringBitmap) -> Ranges {
    Ranges::beginning(bitmap, MAX_INDEX_RANGES)
}
