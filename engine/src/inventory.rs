//! The holdings of this device by share, and the sessions that subscribe to them.
//!
//! Invariants: a position is added only after the loop reports that its bytes are verified **and**
//! durable; every session receives a full announcement first and then deltas without a gap,
//! coalesced over [`COALESCE`].

use crate::command::{Command, SessionId};
use crate::time::Time;
use hither_proto::{Announcement, Delta, Ranges, ShareId, Space};
use roaring::RoaringBitmap;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long changes are gathered before they are announced (source-selection design, "Index": LAN
/// 10–20 ms).
const COALESCE: Duration = Duration::from_millis(15);

#[derive(Debug)]
struct Held {
    version: u64,
    chunks: u32,
    positions: RoaringBitmap,
    has_manifest: bool,
    epoch: u64,
    seq: u64,
    added: RoaringBitmap,
    removed: RoaringBitmap,
    tell_at: Option<Time>,
}

impl Held {
    fn announcement(&self) -> Announcement {
        let complete = self.positions.len() == u64::from(self.chunks);
        Announcement {
            version: self.version,
            epoch: self.epoch,
            seq: self.seq,
            complete,
            held: if complete {
                Ranges::default()
            } else {
                Ranges::from_bitmap(&self.positions)
            },
            has_manifest: self.has_manifest,
        }
    }
}

/// The holdings, by share.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    shares: BTreeMap<ShareId, Held>,
    sessions: BTreeMap<SessionId, ShareId>,
    by_share: BTreeMap<ShareId, BTreeSet<SessionId>>,
    next_epoch: u64,
}

impl Inventory {
    /// Declares what is held of one version, replacing what was declared before. All of it is
    /// durable.
    pub fn hold(
        &mut self,
        share: ShareId,
        version: u64,
        chunks: u32,
        positions: RoaringBitmap,
        now: Time,
    ) {
        self.next_epoch += 1;
        // The start time makes epochs of different runs of the daemon differ for those that outlive
        // one.
        let epoch = now.since_start().as_nanos() as u64 ^ (self.next_epoch << 48);
        let held = Held {
            version,
            chunks,
            positions,
            has_manifest: true,
            epoch,
            seq: 0,
            added: RoaringBitmap::new(),
            removed: RoaringBitmap::new(),
            tell_at: Some(now),
        };
        self.shares.insert(share, held);
    }

    /// Forgets a share; its sessions receive an empty announcement.
    pub fn release(&mut self, share: ShareId, commands: &mut Vec<Command>) {
        let Some(held) = self.shares.remove(&share) else {
            return;
        };
        for session in self.sessions_of(share) {
            let announcement = Announcement {
                version: held.version,
                epoch: held.epoch,
                seq: held.seq + 1,
                complete: false,
                held: Ranges::default(),
                has_manifest: false,
            };
            commands.push(Command::Announce {
                session,
                announcement,
            });
        }
    }

    /// The sessions that subscribe to a share.
    pub fn sessions_of(&self, share: ShareId) -> Vec<SessionId> {
        self.by_share
            .get(&share)
            .map(|s| s.iter().copied().collect())
            .unwrap_or_default()
    }

    /// Adds positions that are verified and durable.
    pub fn durable(&mut self, share: ShareId, positions: &RoaringBitmap, now: Time) {
        if let Some(held) = self.shares.get_mut(&share) {
            let new = positions - &held.positions;
            held.positions |= &new;
            held.removed -= &new;
            held.added |= new;
            held.tell_at.get_or_insert(now + COALESCE);
        }
    }

    /// Removes positions that are not held any more (their file changed or vanished).
    pub fn withdraw(&mut self, share: ShareId, positions: &RoaringBitmap, now: Time) {
        if let Some(held) = self.shares.get_mut(&share) {
            let gone = positions & &held.positions;
            if gone.is_empty() {
                return;
            }
            let was_complete = held.positions.len() == u64::from(held.chunks);
            held.positions -= &gone;
            held.added -= &gone;
            held.removed |= gone;
            if was_complete {
                // Readers of "complete" hold no bitmap that a delta could change: announce anew.
                held.epoch = held.epoch.wrapping_add(1);
                held.seq = 0;
                held.added.clear();
                held.removed.clear();
                held.tell_at = Some(now);
            } else {
                held.tell_at.get_or_insert(now + COALESCE);
            }
        }
    }

    /// Subscribes a session to a share.
    pub fn subscribe(&mut self, session: SessionId, share: ShareId, commands: &mut Vec<Command>) {
        self.sessions.insert(session, share);
        self.by_share.entry(share).or_default().insert(session);
        if let Some(held) = self.shares.get_mut(&share)
            && !(held.seq == 0 && held.tell_at.is_some())
        {
            // Pending changes are part of the full announcement; the others receive them as a delta
            // later, which for this session repeats what it knows and does no harm, as its sequence
            // number follows.
            commands.push(Command::Announce {
                session,
                announcement: held.announcement(),
            });
        }
    }

    /// Removes a session that ended.
    pub fn unsubscribe(&mut self, session: SessionId) {
        if let Some(share) = self.sessions.remove(&session)
            && let Some(sessions) = self.by_share.get_mut(&share)
        {
            sessions.remove(&session);
            if sessions.is_empty() {
                self.by_share.remove(&share);
            }
        }
    }

    /// Announces the changes that are due.
    pub fn tell(&mut self, now: Time, commands: &mut Vec<Command>) {
        let due: Vec<ShareId> = self
            .shares
            .iter()
            .filter(|(_, h)| h.tell_at.is_some_and(|t| t <= now))
            .map(|(s, _)| *s)
            .collect();
        for share in due {
            let sessions = self.sessions_of(share);
            let Some(held) = self.shares.get_mut(&share) else {
                continue;
            };
            held.tell_at = None;
            let first = held.seq == 0;
            held.seq += 1;
            let delta = Delta {
                version: held.version,
                epoch: held.epoch,
                seq: held.seq,
                added: Ranges::from_bitmap(&std::mem::take(&mut held.added)),
                removed: Ranges::from_bitmap(&std::mem::take(&mut held.removed)),
            };
            // Completeness is announced in full: a reader then needs no bitmap any more.
            let complete = held.positions.len() == u64::from(held.chunks);
            for session in sessions {
                commands.push(if first || complete {
                    Command::Announce {
                        session,
                        announcement: held.announcement(),
                    }
                } else {
                    Command::Delta {
                        session,
                        delta: delta.clone(),
                    }
                });
            }
        }
    }

    /// Makes the pending changes of a share due at `now`, without waiting for more.
    pub fn hurry(&mut self, share: ShareId, now: Time) {
        let tell_at = self
            .shares
            .get_mut(&share)
            .and_then(|held| held.tell_at.as_mut());
        tell_at.into_iter().for_each(|at| *at = now.min(*at));
    }

    /// Returns whether changes of a share are still to be announced.
    pub fn has_news(&self, share: ShareId) -> bool {
        self.shares
            .get(&share)
            .is_some_and(|held| held.tell_at.is_some())
    }

    /// When [`Self::tell`] is due next.
    pub fn next_tell(&self) -> Option<Time> {
        self.shares.values().filter_map(|h| h.tell_at).min()
    }

    /// Splits wanted positions into those that can be served and those that cannot.
    pub fn split(
        &self,
        share: ShareId,
        version: u64,
        space: Space,
        wanted: &Ranges,
    ) -> (Ranges, Ranges) {
        match self.shares.get(&share).filter(|h| h.version == version) {
            None => (Ranges::default(), wanted.clone()),
            Some(_) if space != Space::Data => (wanted.clone(), Ranges::default()),
            Some(held) => {
                let (yes, no): (Vec<u32>, Vec<u32>) = wanted
                    .positions()
                    .partition(|p| held.positions.contains(*p));
                (crate::spans::runs(&yes), crate::spans::runs(&no))
            }
        }
    }

    /// The positions held of a share, if any.
    pub fn held(&self, share: ShareId) -> Option<&RoaringBitmap> {
        self.shares.get(&share).map(|h| &h.positions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_proto::ShareSecret;

    fn share() -> ShareId {
        ShareSecret::new([1; 16]).share_id()
    }

    fn at(ms: u64) -> Time {
        Time::from_start(Duration::from_millis(ms))
    }

    fn set(positions: &[u32]) -> RoaringBitmap {
        positions.iter().copied().collect()
    }

    #[test]
    fn a_session_hears_everything_first_and_then_every_change_without_a_gap() {
        let (mut inventory, mut out) = (Inventory::default(), Vec::new());
        inventory.hold(share(), 1, 10, set(&[1]), at(0));
        inventory.tell(at(0), &mut out);
        assert!(out.is_empty());
        inventory.subscribe(SessionId(5), share(), &mut out);
        let Some(Command::Announce { announcement, .. }) = out.pop() else {
            panic!("{out:?}")
        };
        assert_eq!((announcement.seq, announcement.held.total()), (1, 1));
        inventory.durable(share(), &set(&[2, 3]), at(1));
        inventory.durable(share(), &set(&[4]), at(2));
        assert_eq!(inventory.next_tell(), Some(at(16)));
        inventory.tell(at(16), &mut out);
        let Some(Command::Delta { delta, .. }) = out.pop() else {
            panic!("{out:?}")
        };
        assert_eq!(
            (delta.epoch, delta.seq, delta.added.total()),
            (announcement.epoch, 2, 3)
        );
        assert!(out.is_empty());
    }

    #[test]
    fn completeness_is_announced_and_withdrawn_in_full() {
        let (mut inventory, mut out) = (Inventory::default(), Vec::new());
        inventory.hold(share(), 1, 2, set(&[0]), at(0));
        inventory.tell(at(0), &mut out);
        inventory.subscribe(SessionId(1), share(), &mut out);
        out.clear();
        inventory.durable(share(), &set(&[1]), at(1));
        inventory.tell(at(100), &mut out);
        assert!(matches!(out.pop(), Some(Command::Announce { announcement: a, .. }) if a.complete));
        inventory.withdraw(share(), &set(&[0]), at(101));
        inventory.tell(at(101), &mut out);
        let Some(Command::Announce { announcement, .. }) = out.pop() else {
            panic!()
        };
        assert!(!announcement.complete && announcement.held.total() == 1);
    }

    #[test]
    fn only_what_is_held_of_that_version_is_served() {
        let mut inventory = Inventory::default();
        inventory.hold(share(), 2, 10, set(&[1, 2]), at(0));
        let wanted = crate::spans::runs(&[1, 2, 3]);
        let (yes, no) = inventory.split(share(), 2, Space::Data, &wanted);
        assert_eq!((yes.total(), no.total()), (2, 1));
        assert_eq!(
            inventory.split(share(), 1, Space::Data, &wanted).1.total(),
            3
        );
        assert_eq!(
            inventory
                .split(
                    ShareSecret::new([2; 16]).share_id(),
                    2,
                    Space::Root,
                    &wanted
                )
                .1
                .total(),
            3
        );
    }
}
