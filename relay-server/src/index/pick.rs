//! Of whom a reader is told: the owner, who holds everything, and who holds most of what the reader
//! lacks and fewest have; at most [`MAX_LOCAL`] devices of its own site and [`MAX_OTHERS`] of
//! others.

use super::entry::Entry;
use super::topic::{Subscription, Topic};
use crate::serve::limits::Source;
use hither_proto::DeviceId;
use roaring::RoaringBitmap;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Most devices of the reader's own site (source-selection design, "Index").
pub(super) const MAX_LOCAL: usize = 64;
/// Most devices of other sites.
pub(super) const MAX_OTHERS: usize = 16;
/// Rare positions that are looked for, per version.
const RARE: usize = 1024;
/// Most holders of a part that are compared, for each of both kinds: every reader looks at others.
const COMPARED: usize = 512;

impl Subscription {
    /// Whether it is told of this holder, or could be.
    pub(super) fn has_room(
        &self,
        device: DeviceId,
        site: Source,
        entries: &HashMap<DeviceId, Entry>,
    ) -> bool {
        device == self.owner || self.room(entries).of(site == self.site) > 0
    }

    /// How many more devices it may be told of.
    fn room(&self, entries: &HashMap<DeviceId, Entry>) -> Room {
        let local = |device: &DeviceId| {
            entries
                .get(device)
                .is_some_and(|entry| entry.site == self.site)
        };
        let viewed = self.view.keys().filter(|device| **device != self.owner);
        let (mut locals, mut others) = (0, 0);
        viewed.for_each(|device| {
            *if local(device) {
                &mut locals
            } else {
                &mut others
            } += 1
        });
        Room {
            local: MAX_LOCAL.saturating_sub(locals),
            others: MAX_OTHERS.saturating_sub(others),
        }
    }
}

/// Places that are left.
#[derive(Debug)]
struct Room {
    local: usize,
    others: usize,
}

impl Room {
    fn of(&self, local: bool) -> usize {
        if local { self.local } else { self.others }
    }
}

/// Rare positions by version, as far as they were asked for.
type Rare = BTreeMap<u64, RoaringBitmap>;

impl Topic {
    /// Holders that a reader should be told of beside those that it is told of already.
    pub(super) fn pick(&self, reader: &Subscription) -> Vec<DeviceId> {
        let room = reader.room(&self.entries);
        let mut picked: Vec<DeviceId> = Vec::new();
        let owner = reader.owner;
        if owner != reader.device
            && self.entries.contains_key(&owner)
            && !reader.view.contains_key(&owner)
        {
            picked.push(owner);
        }
        let mut rare = Rare::new();
        for local in [true, false] {
            picked.extend(self.best(reader, local, room.of(local), &mut rare));
        }
        picked
    }

    fn best(
        &self,
        reader: &Subscription,
        local: bool,
        room: usize,
        rare: &mut Rare,
    ) -> Vec<DeviceId> {
        if room == 0 {
            return Vec::new();
        }
        let known = |device: &DeviceId| {
            *device == reader.device || *device == reader.owner || reader.view.contains_key(device)
        };
        let there = self
            .entries
            .iter()
            .filter(|(device, entry)| (entry.site == reader.site) == local && !known(device));
        let (mut whole, mut parts): (Vec<_>, Vec<_>) = there
            .map(|(device, entry)| (*device, entry))
            .partition(|(_, entry)| entry.complete);
        // In an order of the reader's own, so that not everybody is sent to the same ones.
        whole.sort_by_cached_key(|(device, _)| shuffled(reader.device, *device));
        whole.truncate(room);
        let left = room - whole.len();
        if left > 0 {
            parts.sort_by_cached_key(|(device, _)| shuffled(reader.device, *device));
            parts.truncate(COMPARED);
            parts.sort_by_cached_key(|(_, entry)| Reverse(self.use_of(entry, reader, rare)));
            whole.extend(parts.into_iter().take(left));
        }
        whole.into_iter().map(|(device, _)| device).collect()
    }

    /// How much of what is rare and lacked somebody has, and how much of anything.
    fn use_of(&self, entry: &Entry, reader: &Subscription, rare: &mut Rare) -> (u64, u64) {
        let rare = rare
            .entry(entry.version)
            .or_insert_with(|| self.rare(entry.version, reader));
        (entry.held.intersection_len(rare), entry.held.len())
    }

    /// Some of the rarest positions of a version that the reader lacks.
    fn rare(&self, version: u64, reader: &Subscription) -> RoaringBitmap {
        let Some(copies) = self.copies_of(version) else {
            return RoaringBitmap::new();
        };
        let mut lacked = copies.known();
        if let Some(own) = self
            .entries
            .get(&reader.device)
            .filter(|own| own.version == version)
        {
            lacked -= &own.held;
        }
        copies.rarest(lacked).iter().take(RARE).collect()
    }
}

fn shuffled(reader: DeviceId, device: DeviceId) -> u64 {
    let mut hasher = DefaultHasher::new();
    (reader, device).hash(&mut hasher);
    hasher.finish()
}
