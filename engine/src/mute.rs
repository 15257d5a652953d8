//! Whether neighbours take what this device gives.
//!
//! A device whose uplink is thin gets first copies like the others, over the link that all share, and nobody can take them
//! from it in time: they come over the link a second time. It cannot know what its uplink carries before it was used, but
//! it sees that what it announced long since nobody else has yet. While that is so, it leaves first copies to the others,
//! as long as it gets copies from them: who waits for nothing loses nothing by it.

use crate::fetch::Fetch;
use crate::spans::SPAN_BYTES;
use crate::time::Time;
use hither_proto::{DeviceId, Space};
use roaring::RoaringBitmap;
use std::time::Duration;

/// After this time at least one of them would have taken what was announced.
const LONG_SINCE: Duration = Duration::from_secs(2);
/// So much that nobody took is no accident.
const ENOUGH: u64 = 2 * SPAN_BYTES;
/// So long ago the last copy came from a neighbour at most, or first copies are taken again.
const FED: Duration = Duration::from_millis(500);

/// What was announced when, and what came of it.
#[derive(Debug, Default)]
pub(crate) struct Mute {
    /// Announced by now, by `turned_at`, and long before it.
    told: RoaringBitmap,
    lately: RoaringBitmap,
    long_since: RoaringBitmap,
    turned_at: Time,
    /// Bytes announced long since that no neighbour has.
    untaken: u64,
    fed_at: Option<Time>,
}

impl Mute {
    /// All of this is announced now.
    pub fn told(&mut self, held: &RoaringBitmap) {
        self.told.clone_from(held);
    }

    /// Time passes.
    fn turn(&mut self, now: Time) {
        if now.since(self.turned_at) >= LONG_SINCE {
            self.long_since = std::mem::replace(&mut self.lately, self.told.clone());
            self.turned_at = now;
        }
    }

    /// Whether first copies are for the others to get now.
    pub fn is_mute(&self, now: Time) -> bool {
        self.untaken >= ENOUGH && self.fed_at.is_some_and(|at| now.since(at) < FED)
    }
}

impl Fetch {
    /// Something came from a device: what comes from a neighbour is a copy.
    pub(crate) fn fed_by(&mut self, device: DeviceId, now: Time) {
        if self.is_member(device) {
            self.group.mute.fed_at = Some(now);
        }
    }

    /// Looks whether the neighbours have what was announced long since.
    pub(crate) fn listen(&mut self, now: Time) {
        self.group.mute.turn(now);
        let mut untaken = self.group.mute.long_since.clone();
        for member in self.members() {
            match member.held(Space::Data) {
                Some(held) => untaken -= held,
                None => untaken.clear(),
            }
        }
        let length = |position| u64::from(self.spans.length(position).unwrap_or(0));
        self.group.mute.untaken = untaken.iter().map(length).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::from_start(Duration::from_millis(ms))
    }

    #[test]
    fn only_what_everybody_has_known_for_long_counts_and_only_while_copies_come() {
        let mut mute = Mute::default();
        let long_since = |mute: &Mute| mute.long_since.len();
        mute.told(&(0..40).collect());
        mute.turn(at(2000));
        mute.told(&(0..80).collect());
        mute.turn(at(3900));
        assert_eq!(long_since(&mute), 0);
        mute.turn(at(4000));
        assert_eq!(long_since(&mute), 40, "what was announced at two seconds");
        mute.untaken = ENOUGH;
        assert!(!mute.is_mute(at(4000)), "nothing comes from anybody");
        mute.fed_at = Some(at(4000));
        assert!(mute.is_mute(at(4400)) && !mute.is_mute(at(4500)));
        mute.untaken = ENOUGH - 1;
        assert!(!mute.is_mute(at(4000)));
    }
}
