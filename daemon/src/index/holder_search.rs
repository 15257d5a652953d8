//! The holders of a share as an index reports them, and which of them are worth a dial.
//!
//! All of it is hearsay. Bounds: [`MAX_HOLDERS`] holders, of whom [`MAX_NAMED`] are named to the
//! engine at a time.

use hither_proto::{Announcement, Delta, DeviceId, IndexHolder};
use roaring::RoaringBitmap;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Most holders that are remembered of one share: more than an index names.
const MAX_HOLDERS: usize = 256;
/// Most of them that the engine knows of at a time: as many as it has sessions for.
const MAX_NAMED: usize = 64;

#[derive(Debug)]
struct Known {
    addresses: Vec<SocketAddr>,
    same_site: bool,
    version: u64,
    complete: bool,
    held: RoaringBitmap,
    /// True if it was reported to the engine since it was announced.
    named: bool,
}

/// The holdings of this device of the share, in the units of the index.
#[derive(Debug, Default)]
pub(super) struct Have {
    /// Which version; 0: none yet.
    pub(super) version: u64,
    pub(super) complete: bool,
    pub(super) held: RoaringBitmap,
}

/// The known holders of one share.
#[derive(Debug, Default)]
pub(super) struct HolderSearch {
    holders: BTreeMap<DeviceId, Known>,
}

impl HolderSearch {
    /// Discards the earlier reports. The engine still knows the holders it was given.
    pub(super) fn begin(&mut self) {
        self.holders.clear();
    }

    /// Somebody holds something.
    pub(super) fn holder(&mut self, holder: &IndexHolder, addresses: Vec<SocketAddr>) {
        if self.holders.len() >= MAX_HOLDERS && !self.holders.contains_key(&holder.device) {
            return;
        }
        let Announcement {
            version,
            complete,
            held,
            ..
        } = &holder.holding;
        // That it has more now is no reason to dial it again; that it is elsewhere is.
        let before = self.holders.get(&holder.device);
        let named = before.is_some_and(|known| known.named && known.addresses == addresses);
        let known = Known {
            addresses,
            same_site: holder.same_site,
            version: *version,
            complete: *complete,
            held: held.to_bitmap(),
            named,
        };
        self.holders.insert(holder.device, known);
    }

    /// Applies a change of a holder.
    pub(super) fn change(&mut self, device: DeviceId, change: &Delta) {
        if let Some(known) = self
            .holders
            .get_mut(&device)
            .filter(|k| k.version == change.version)
        {
            known.held |= change.added.to_bitmap();
            known.held -= change.removed.to_bitmap();
        }
    }

    /// Somebody is a holder no more.
    pub(super) fn gone(&mut self, device: DeviceId) {
        self.holders.remove(&device);
    }

    /// Those that the engine should know of now, the best first: they have something that is
    /// missing here.
    pub(super) fn name(
        &mut self,
        owner: DeviceId,
        have: &Have,
    ) -> Vec<(DeviceId, Vec<SocketAddr>)> {
        let room =
            MAX_NAMED.saturating_sub(self.holders.values().filter(|known| known.named).count());
        let new = self.holders.iter().filter(|(_, known)| !known.named);
        let mut worth: Vec<_> = new
            .filter_map(|(device, known)| {
                let gain = known.gain(have)?;
                Some((*device != owner, !known.same_site, Reverse(gain), *device))
            })
            .collect();
        worth.sort_unstable();
        worth.truncate(room);
        let named = worth.into_iter().filter_map(|(.., device)| {
            let known = self.holders.get_mut(&device)?;
            known.named = true;
            Some((device, known.addresses.clone()))
        });
        named.collect()
    }
}

impl Known {
    /// How much of it is missing here; `None`: nothing.
    fn gain(&self, have: &Have) -> Option<u64> {
        if self.version < have.version {
            return None;
        }
        let gain = match (self.version > have.version, self.complete, have.complete) {
            // Everything, of a version that is not here.
            (true, true, _) => u64::MAX,
            (true, false, _) => self.held.len(),
            (false, _, true) => 0,
            (false, true, false) => u64::MAX,
            (false, false, false) => self.held.difference_len(&have.held),
        };
        (gain > 0).then_some(gain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_proto::Ranges;

    fn device() -> DeviceId {
        hither_carrier::Identity::generate().unwrap().device_id()
    }

    fn holder(device: DeviceId, same_site: bool, version: u64, positions: &[u32]) -> IndexHolder {
        let held = Ranges::from_bitmap(&positions.iter().copied().collect());
        let holding = Announcement {
            version,
            epoch: 1,
            seq: 1,
            complete: false,
            held,
            has_manifest: true,
        };
        IndexHolder {
            device,
            same_site,
            holding,
            sealed: vec![1].into(),
        }
    }

    fn at(port: u16) -> Vec<SocketAddr> {
        vec![SocketAddr::from(([192, 0, 2, 1], port))]
    }

    fn have(positions: &[u32]) -> Have {
        Have {
            version: 2,
            complete: false,
            held: positions.iter().copied().collect(),
        }
    }

    #[test]
    fn who_has_nothing_that_is_missing_is_not_dialled_and_the_nearest_first() {
        let ids: Vec<DeviceId> = (0..6).map(|_| device()).collect();
        let mut hearing = HolderSearch::default();
        hearing.holder(&holder(ids[0], false, 2, &[1, 2, 3]), at(1));
        hearing.holder(&holder(ids[1], true, 2, &[3]), at(2));
        hearing.holder(&holder(ids[2], true, 2, &[1]), at(3));
        hearing.holder(&holder(ids[3], true, 1, &[1, 2, 3]), at(4));
        let mut whole = holder(ids[4], false, 2, &[]);
        whole.holding.complete = true;
        hearing.holder(&whole, at(5));
        hearing.holder(&holder(ids[5], false, 3, &[9]), at(6));
        let named: Vec<_> = hearing
            .name(ids[0], &have(&[1]))
            .into_iter()
            .map(|(device, _)| device)
            .collect();
        assert_eq!(
            named,
            [ids[0], ids[1], ids[4], ids[5]],
            "owner, own site, most"
        );
        assert!(hearing.name(ids[0], &have(&[1])).is_empty(), "once");
        // It has come to have something.
        let added = Ranges::from_bitmap(&RoaringBitmap::from_iter([7]));
        let change = Delta {
            version: 2,
            epoch: 1,
            seq: 2,
            added,
            removed: Ranges::default(),
        };
        hearing.change(ids[2], &change);
        assert_eq!(hearing.name(ids[0], &have(&[1])), [(ids[2], at(3))]);
        // Elsewhere is somewhere to dial; the same place is not.
        hearing.holder(&holder(ids[1], true, 2, &[3]), at(2));
        assert!(hearing.name(ids[0], &have(&[1])).is_empty());
        hearing.holder(&holder(ids[1], true, 2, &[3]), at(20));
        assert_eq!(hearing.name(ids[0], &have(&[1])), [(ids[1], at(20))]);
        let done = Have {
            complete: true,
            ..have(&[])
        };
        hearing.holder(&whole, at(50));
        assert!(hearing.name(ids[0], &done).is_empty());
        assert_eq!(
            hearing.name(ids[0], &Have::default()).len(),
            2,
            "with nothing here everybody is worth it"
        );
    }

    #[test]
    fn a_talkative_index_is_kept_in_bounds() {
        let mut hearing = HolderSearch::default();
        let ids: Vec<DeviceId> = (0..MAX_HOLDERS + 10).map(|_| device()).collect();
        for id in &ids {
            hearing.holder(&holder(*id, false, 2, &[1]), at(1));
        }
        assert_eq!(hearing.holders.len(), MAX_HOLDERS);
        assert_eq!(hearing.name(device(), &have(&[])).len(), MAX_NAMED);
        assert!(hearing.name(device(), &have(&[])).is_empty());
        hearing.gone(
            *hearing
                .holders
                .iter()
                .find(|(_, known)| known.named)
                .unwrap()
                .0,
        );
        assert_eq!(hearing.name(device(), &have(&[])).len(), 1);
    }
}
