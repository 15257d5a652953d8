//! Places of sources, when there are more of them than are considered.
//!
//! Anybody on a network, and any index, can name devices that do not exist. Invariant: whoever has
//! proven to know the share keeps its place, and so does the owner; of the others the one that was
//! heard of first makes room.

use crate::fetch::{Fetch, MAX_SOURCES};
use crate::source::Session;
use crate::time::Time;
use hither_proto::{DeviceId, HolderKind};

impl Fetch {
    /// Takes a place away for a source of this kind; `false` when everybody keeps theirs.
    pub(crate) fn make_room(&mut self, kind: HolderKind) -> bool {
        // Stores have a bound of their own, below that of all.
        let of_stores = kind == HolderKind::Store && self.sources.len() < MAX_SOURCES;
        let least = self.sources.values().filter(|source| {
            // A head is shown by those only who prove that they know the share.
            let unproven =
                source.head_version == 0 && matches!(source.session, Session::Closed { .. });
            // Who lied is remembered.
            unproven
                && !source.banned
                && source.device != self.owner
                && (!of_stores || source.kind == kind)
        });
        let least: Option<(Time, DeviceId)> = least
            .map(|source| (source.last_progress, source.device))
            .min();
        least.is_some_and(|(_, device)| self.sources.remove(&device).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_proto::ShareSecret;
    use std::time::Duration;

    fn devices(count: usize) -> Vec<DeviceId> {
        let points = (0u32..).filter_map(|number| {
            let mut bytes = [7; 32];
            bytes[..4].copy_from_slice(&number.to_le_bytes());
            DeviceId::from_slice(&bytes).ok()
        });
        points.take(count).collect()
    }

    #[test]
    fn field_d8_made_up_devices_keep_no_place_from_real_ones() {
        let share = ShareSecret::new([1; 16]).share_id();
        let all = devices(2 * MAX_SOURCES + 10);
        let [us, owner, friend, late, ..] = all[..] else {
            panic!("no devices")
        };
        let at = |ms| Time::from_start(Duration::from_millis(ms));
        let mut fetch = Fetch::new(us, share, owner, None, None, 1);
        fetch.holder_seen(friend, HolderKind::Device, at(0));
        fetch.session_opened(friend, 1, Duration::from_millis(1).into(), at(0));
        for (ms, made_up) in (1..).zip(&all[4..]) {
            fetch.holder_seen(*made_up, HolderKind::Device, at(ms));
        }
        for (ms, real) in (5000..).zip([owner, late]) {
            fetch.holder_seen(real, HolderKind::Device, at(ms));
        }
        assert!(fetch.sources.len() <= MAX_SOURCES + 1);
        for real in [owner, friend, late] {
            assert!(fetch.sources.contains_key(&real));
        }
    }
}
