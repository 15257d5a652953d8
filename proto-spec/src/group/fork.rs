//! Forks of a group's log: which of two branches all devices keep, and what is done again of the
//! other.
//!
//! A relay orders entries, so that a log forks only where a relay lost entries (it was restored
//! from a backup) and took others in their place before a member brought the lost ones back.
//! Everybody who sees both branches, relay or member, decides alike, by [`prevails`]. In order:
//!
//! 1. A branch by a device that the other branch has removed, or that has left in it, does not
//!    prevail. If that is so of both, nobody decides for the group: each device keeps the branch
//!    that it has.
//! 2. The branch with more removals. Only admins remove.
//! 3. The branch with more entries by those who are admins where the branches part.
//! 4. The longer branch.
//! 5. The branch whose first entry has the smaller hash.
//!
//! Rules 1 to 3 are what makes a fork useless to those who could make one on purpose, with a
//! relay's help: a device that was removed can write no branch that prevails, and a member that is
//! no admin none that prevails over an admin's.
//!
//! The changes of the other branch are made again at the end of the one that prevails, by
//! [`Branch::again`]: by its author what is its own, and by any admin what ends a membership, so
//! that nobody stays in because the one who removed it is away. Pure.

use super::entry::{Action, SignedEntry};
use super::membership::{LogError, Membership, Role};
use crate::device::DeviceId;
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// Entries that follow a log which was known to be one, and what the log says with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    entries: Vec<SignedEntry>,
    after: Membership,
    /// Members that were removed or left, and are out at the end.
    out: BTreeSet<DeviceId>,
    removals: usize,
    by_admins: usize,
}

/// Which of two branches is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prevails {
    /// The first of the two.
    First,
    /// The second.
    Second,
    /// Each has removed authors of the other: everybody keeps what they have.
    Neither,
}

impl Branch {
    /// Checks that the entries follow `base`, by the rules of the log.
    ///
    /// # Errors
    ///
    /// The error of the first entry that does not.
    pub fn follow(base: &Membership, entries: Vec<SignedEntry>) -> Result<Self, LogError> {
        let mut after = base.clone();
        let (mut out, mut removals, mut by_admins) = (BTreeSet::new(), 0, 0);
        for signed in &entries {
            let entry = signed.entry();
            after.apply(signed)?;
            by_admins += usize::from(base.role(&entry.author) == Some(Role::Admin));
            match &entry.action {
                Action::Remove { device, .. } => {
                    removals += 1;
                    out.insert(*device);
                }
                Action::Leave => drop(out.insert(entry.author)),
                _ => {}
            }
        }
        out.retain(|device| after.role(device).is_none());
        Ok(Self {
            entries,
            after,
            out,
            removals,
            by_admins,
        })
    }

    /// The entries.
    pub fn entries(&self) -> &[SignedEntry] {
        &self.entries
    }

    /// What the log says with them.
    pub const fn after(&self) -> &Membership {
        &self.after
    }

    /// Returns whether a device that the other branch has put out wrote any of this one.
    fn is_by_outsiders_of(&self, other: &Self) -> bool {
        self.entries
            .iter()
            .any(|entry| other.out.contains(&entry.entry().author))
    }

    /// The greater, the better.
    fn weight(&self) -> (usize, usize, usize, Reverse<[u8; 32]>) {
        let first = self
            .entries
            .first()
            .map_or([u8::MAX; 32], SignedEntry::hash);
        (
            self.removals,
            self.by_admins,
            self.entries.len(),
            Reverse(first),
        )
    }

    /// The entries of this branch, which did not prevail, that `device` sees to being done again.
    pub fn again(&self, device: &DeviceId) -> impl Iterator<Item = &SignedEntry> {
        self.entries.iter().filter(|entry| {
            let of = entry.entry();
            match of.action {
                Action::Remove { .. } | Action::Leave => true,
                Action::Create { .. } => false,
                Action::Add { .. }
                | Action::Promote { .. }
                | Action::SetPolicy { .. }
                | Action::Rotate { .. } => of.author == *device,
            }
        })
    }
}

/// Which of two branches that begin with different entries is kept by everybody. A branch without
/// entries never is: a log does not get shorter.
pub fn prevails(first: &Branch, second: &Branch) -> Prevails {
    match (
        first.is_by_outsiders_of(second),
        second.is_by_outsiders_of(first),
    ) {
        (true, true) => Prevails::Neither,
        (true, false) => Prevails::Second,
        (false, true) => Prevails::First,
        (false, false) if first.weight() > second.weight() => Prevails::First,
        (false, false) => Prevails::Second,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Signer, first, group, mark, signers};
    use super::super::{Action, Membership, Policy};
    use super::*;
    use proptest::prelude::*;

    /// A branch of what some do one after the other.
    fn branch(base: &Membership, acts: &[(&Signer, Action)]) -> Branch {
        let (mut at, mut entries) = (base.clone(), Vec::new());
        for (author, action) in acts {
            let entry = author.next(&at, action.clone());
            at.apply(&entry).unwrap();
            entries.push(entry);
        }
        Branch::follow(base, entries).unwrap()
    }

    fn both(one: &Branch, other: &Branch) -> Prevails {
        let (there, back) = (prevails(one, other), prevails(other, one));
        let turned = match back {
            Prevails::First => Prevails::Second,
            Prevails::Second => Prevails::First,
            Prevails::Neither => Prevails::Neither,
        };
        assert_eq!(there, turned, "everybody decides alike");
        there
    }

    fn add(seed: u16) -> Action {
        Action::Add {
            device: Signer::new(seed).id(),
        }
    }

    fn remove(device: &Signer, key: u8) -> Action {
        Action::Remove {
            device: device.id(),
            key: mark(key),
        }
    }

    #[test]
    fn who_was_removed_writes_no_branch_that_prevails() {
        let [a, b, c, _] = signers();
        let (_, base) = group(Policy::Open);
        let removed = branch(&base, &[(&a, remove(&b, 2))]);
        // However long it is, and whoever else helps.
        let long = branch(
            &base,
            &[(&b, add(20)), (&c, add(21)), (&b, add(22)), (&c, add(23))],
        );
        assert_eq!(both(&removed, &long), Prevails::First);
        // Nor by having left.
        let left = branch(&base, &[(&b, Action::Leave)]);
        assert_eq!(both(&left, &long), Prevails::First);
        // Who was removed and let in again may.
        let back = branch(
            &base,
            &[(&a, remove(&b, 2)), (&a, Action::Add { device: b.id() })],
        );
        let many = branch(&base, &[(&a, remove(&c, 3)), (&a, add(24)), (&b, add(20))]);
        assert_ne!(both(&back, &many), Prevails::Neither);
    }

    #[test]
    fn admins_that_remove_each_other_are_not_decided_between() {
        let [a, b, c, _] = signers();
        let (_, base) = group(Policy::Open);
        let promoted = branch(&base, &[(&a, Action::Promote { device: b.id() })]);
        let base = promoted.after();
        let one = branch(base, &[(&a, remove(&b, 2)), (&a, add(20))]);
        let other = branch(base, &[(&b, remove(&a, 3)), (&b, remove(&c, 4))]);
        assert_eq!(both(&one, &other), Prevails::Neither);
    }

    #[test]
    fn a_removal_counts_more_than_an_admins_entries_and_these_more_than_any_length() {
        let [a, b, c, _] = signers();
        let (_, base) = group(Policy::Open);
        let removal = branch(&base, &[(&a, remove(&c, 2))]);
        let rotated = branch(
            &base,
            &[(&a, Action::Rotate { key: mark(3) }), (&a, add(20))],
        );
        assert_eq!(both(&removal, &rotated), Prevails::First);
        let long = branch(
            &base,
            &[(&b, add(21)), (&b, add(22)), (&b, add(23)), (&c, add(24))],
        );
        assert_eq!(both(&rotated, &long), Prevails::First);
        let longer = branch(
            &base,
            &[
                (&b, add(25)),
                (&c, add(26)),
                (&b, add(27)),
                (&c, add(28)),
                (&b, add(29)),
            ],
        );
        assert_eq!(both(&longer, &long), Prevails::First);
        // Nothing else is left: the hash, whatever the order in which they are looked at.
        let same = branch(
            &base,
            &[(&b, add(31)), (&b, add(32)), (&b, add(33)), (&c, add(34))],
        );
        assert_ne!(both(&same, &long), Prevails::Neither);
        let none = branch(&base, &[]);
        for other in [&removal, &rotated, &long] {
            assert_eq!(
                both(other, &none),
                Prevails::First,
                "a log does not get shorter"
            );
        }
    }

    #[test]
    fn what_was_lost_is_done_again_by_who_may() {
        let [a, b, c, _] = signers();
        let (_, base) = group(Policy::Open);
        let lost = branch(
            &base,
            &[
                (&a, Action::Rotate { key: mark(5) }),
                (&b, add(20)),
                (&a, remove(&c, 2)),
                (&a, Action::Promote { device: b.id() }),
                (&Signer::new(20), Action::Leave),
            ],
        );
        let of = |signer: &Signer| {
            lost.again(&signer.id())
                .map(|entry| entry.entry().number)
                .collect::<Vec<_>>()
        };
        let from = base.entries();
        assert_eq!(of(&a), [0, 2, 3, 4].map(|at| at + from));
        assert_eq!(
            of(&b),
            [1, 2, 4].map(|at| at + from),
            "the end of a membership is everybody's"
        );
    }

    #[test]
    fn a_branch_is_checked_like_any_log() {
        let [a, b, c, _] = signers();
        let (log, base) = group(Policy::Approval);
        let forbidden = b.next(&base, remove(&c, 2));
        assert_eq!(
            Branch::follow(&base, vec![forbidden]),
            Err(LogError::NotAdmin)
        );
        assert!(Branch::follow(&base, vec![log[1].clone()]).is_err());
        let elsewhere = Membership::begin(&first(&a, Policy::Approval, &[a.id()])).unwrap();
        assert!(Branch::follow(&elsewhere, vec![a.next(&base, add(20))]).is_err());
    }

    fn acts() -> impl Strategy<Value = Vec<(u16, u8, u16)>> {
        prop::collection::vec((0..4_u16, 0..5_u8, 0..8_u16), 1..8)
    }

    /// A branch of whatever of this is allowed.
    fn any_branch(base: &Membership, acts: &[(u16, u8, u16)], keys: u8) -> Branch {
        let (mut at, mut entries) = (base.clone(), Vec::new());
        for (turn, (author, kind, of)) in acts.iter().enumerate() {
            let (author, device) = (Signer::new(*author), Signer::new(*of).id());
            let key = mark(keys + turn as u8);
            let action = match kind {
                0 => Action::Add { device },
                1 => Action::Remove { device, key },
                2 => Action::Leave,
                3 => Action::Promote { device },
                _ => Action::Rotate { key },
            };
            let entry = author.next(&at, action);
            if at.apply(&entry).is_ok() {
                entries.push(entry);
            }
        }
        Branch::follow(base, entries).unwrap()
    }

    proptest! {
        /// Devices that hold either branch, and a relay that holds one, come to the same, whoever speaks first; and no admin's device
        /// that is put out by one branch has any say in the other.
        #[test]
        fn everybody_comes_to_the_same(one in acts(), other in acts()) {
            let (_, base) = group(Policy::Open);
            let (one, other) = (any_branch(&base, &one, 10), any_branch(&base, &other, 100));
            prop_assume!(!one.entries().is_empty() && !other.entries().is_empty());
            prop_assume!(one.entries()[0] != other.entries()[0]);
            let winner = match both(&one, &other) {
                Prevails::First => Some((&one, &other)),
                Prevails::Second => Some((&other, &one)),
                Prevails::Neither => None,
            };
            if let Some((winner, loser)) = winner {
                prop_assert!(winner.entries().iter().all(|entry| !loser.out.contains(&entry.entry().author)));
                prop_assert_eq!(prevails(winner, loser), Prevails::First);
            } else {
                prop_assert!(!one.out.is_empty() && !other.out.is_empty());
            }
        }
    }
}
