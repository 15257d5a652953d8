//! The content of a group's log: the members, the rules, the generation of the secret. The rules of
//! who may do what are here and nowhere else.

use super::entry::{Action, Entry, NameSeal, Policy, SignedEntry};
use crate::device::DeviceId;
use crate::ids::{GroupId, KeyMark};
use crate::limits::{MAX_GROUP_LOG, MAX_GROUP_LOG_BYTES, MAX_GROUP_MEMBERS, MAX_GROUP_REMOVED};
use std::collections::{BTreeMap, BTreeSet};

/// What a member may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Take part, and leave.
    Member,
    /// Also add, remove and promote others, and set the policy.
    Admin,
}

/// Why an entry does not belong at the end of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The log is at another place: the entry was made for an earlier or later one, or somebody
    /// else was faster.
    #[error("the entry is number {number}, the log is at {at}")]
    Number {
        /// Of the entry.
        number: u64,
        /// Of the next entry.
        at: u64,
    },
    /// It follows another entry than the last one: the log is forked.
    #[error("the entry does not follow the last one of the log")]
    Chain,
    /// It is about another group.
    #[error("the entry belongs to another group")]
    Group,
    /// Its author is no member.
    #[error("the author of the entry is no member of the group")]
    NotMember,
    /// Only admins may do that.
    #[error("only an admin of the group may do that")]
    NotAdmin,
    /// The device may not join by the group's rules, or only an admin may let it in.
    #[error("the device may not join the group")]
    MayNotJoin,
    /// It changes nothing, or what it changes is not there.
    #[error("the entry changes nothing")]
    Nothing,
    /// The group would be left to members none of whom could ever let anybody in or out.
    #[error("the last admin cannot leave while there are other members")]
    LastAdmin,
    /// Too many members or entries.
    #[error("the group is full")]
    Full,
    /// The group has no members any more.
    #[error("the group has ended")]
    Ended,
}

/// How a device that asks gets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joining {
    /// Any member may add it.
    Free,
    /// An admin has to approve it.
    Approval,
    /// It is not on the allow-list.
    NotListed,
    /// It was removed: an admin has to approve it.
    Removed,
    /// It is a member already.
    Member,
}

/// What a log says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    pub(super) group: GroupId,
    pub(super) next: u64,
    pub(super) last: [u8; 32],
    /// Of all entries, bytes.
    pub(super) size: u64,
    pub(super) name: NameSeal,
    pub(super) policy: Policy,
    pub(super) members: BTreeMap<DeviceId, Role>,
    pub(super) named: BTreeSet<DeviceId>,
    /// The latest last.
    pub(super) removed: Vec<DeviceId>,
    pub(super) generation: u64,
    pub(super) key: KeyMark,
    pub(super) stale: bool,
}

impl Membership {
    /// Begins with the first entry of a log.
    pub fn begin(first: &SignedEntry) -> Result<Self, LogError> {
        let Entry {
            group,
            number,
            previous,
            author,
            action,
            ..
        } = first.entry();
        let Action::Create {
            name,
            key,
            policy,
            admins,
        } = action
        else {
            return Err(LogError::Chain);
        };
        if *number != 0 {
            return Err(LogError::Number {
                number: *number,
                at: 0,
            });
        }
        if *group != GroupId::new([0; 32]) || *previous != [0; 32] {
            return Err(LogError::Chain);
        }
        if admins.is_empty() {
            return Err(LogError::LastAdmin);
        }
        let mut named = admins.clone();
        let role = if named.remove(author) {
            Role::Admin
        } else {
            Role::Member
        };
        Ok(Self {
            group: first.group(),
            next: 1,
            last: first.hash(),
            size: first.bytes().len() as u64,
            name: name.clone(),
            policy: policy.clone(),
            members: [(*author, role)].into(),
            named,
            removed: Vec::new(),
            generation: 1,
            key: *key,
            stale: false,
        })
    }

    /// Replays a whole log of `group`.
    pub fn replay<'a>(
        group: GroupId,
        log: impl IntoIterator<Item = &'a SignedEntry>,
    ) -> Result<Self, LogError> {
        let mut log = log.into_iter();
        let mut membership = Self::begin(log.next().ok_or(LogError::Chain)?)?;
        if membership.group != group {
            return Err(LogError::Group);
        }
        log.try_for_each(|entry| membership.apply(entry))?;
        Ok(membership)
    }

    /// Appends one entry. On failure nothing has changed.
    pub fn apply(&mut self, signed: &SignedEntry) -> Result<(), LogError> {
        let Entry {
            group,
            number,
            previous,
            author,
            action,
            ..
        } = signed.entry();
        if *number != self.next {
            return Err(LogError::Number {
                number: *number,
                at: self.next,
            });
        }
        if *group != self.group {
            return Err(LogError::Group);
        }
        if *previous != self.last {
            return Err(LogError::Chain);
        }
        self.allowed(author, action)?;
        let size = self.size + signed.bytes().len() as u64;
        if size > MAX_GROUP_LOG_BYTES {
            return Err(LogError::Full);
        }
        match action {
            Action::Create { .. } => {}
            Action::Add { device } => {
                let role = if self.named.remove(device) {
                    Role::Admin
                } else {
                    Role::Member
                };
                self.members.insert(*device, role);
                self.removed.retain(|removed| removed != device);
            }
            Action::Remove { device, key } => {
                self.members.remove(device);
                self.named.remove(device);
                self.removed.retain(|removed| removed != device);
                self.removed.push(*device);
                let spare = self.removed.len().saturating_sub(MAX_GROUP_REMOVED);
                self.removed.drain(..spare);
                self.begin_generation(*key);
            }
            Action::Leave => {
                self.members.remove(author);
                self.stale = true;
            }
            Action::Promote { device } => {
                self.members.insert(*device, Role::Admin);
            }
            Action::SetPolicy { policy } => self.policy = policy.clone(),
            Action::Rotate { key } => self.begin_generation(*key),
        }
        self.next += 1;
        self.size = size;
        self.last = signed.hash();
        Ok(())
    }

    fn begin_generation(&mut self, key: KeyMark) {
        self.generation += 1;
        self.key = key;
        self.stale = false;
    }

    /// Whether `author` may do that now.
    pub fn allowed(&self, author: &DeviceId, action: &Action) -> Result<(), LogError> {
        if self.members.is_empty() {
            return Err(LogError::Ended);
        }
        let role = self.role(author).ok_or(LogError::NotMember)?;
        if self.next >= MAX_GROUP_LOG {
            return Err(LogError::Full);
        }
        let admin = if role == Role::Admin {
            Ok(())
        } else {
            Err(LogError::NotAdmin)
        };
        match action {
            Action::Create { .. } => Err(LogError::Chain),
            Action::Add { device } => match self.joining(device) {
                Joining::Member => Err(LogError::Nothing),
                _ if self.members.len() >= MAX_GROUP_MEMBERS => Err(LogError::Full),
                // A rule that an admin has signed, in the policy or when the group was made, any
                // member may carry out.
                Joining::Free => Ok(()),
                Joining::Approval | Joining::NotListed | Joining::Removed => {
                    admin.map_err(|_| LogError::MayNotJoin)
                }
            },
            Action::Remove { device, key } => {
                admin?;
                let there =
                    self.members.contains_key(device) && device != author && *key != self.key;
                if there {
                    Ok(())
                } else {
                    Err(LogError::Nothing)
                }
            }
            Action::Leave => {
                let last =
                    role == Role::Admin && self.admins().count() == 1 && self.members.len() > 1;
                if last {
                    Err(LogError::LastAdmin)
                } else {
                    Ok(())
                }
            }
            Action::Promote { device } => {
                admin?;
                if self.role(device) == Some(Role::Member) {
                    Ok(())
                } else {
                    Err(LogError::Nothing)
                }
            }
            Action::SetPolicy { policy } => {
                admin?;
                if *policy == self.policy {
                    Err(LogError::Nothing)
                } else {
                    Ok(())
                }
            }
            Action::Rotate { key } => {
                if *key == self.key {
                    return Err(LogError::Nothing);
                }
                if self.stale { Ok(()) } else { admin }
            }
        }
    }

    /// How a device that asks gets in.
    pub fn joining(&self, device: &DeviceId) -> Joining {
        if self.members.contains_key(device) {
            return Joining::Member;
        }
        if self.named.contains(device) {
            return Joining::Free;
        }
        if self.removed.contains(device) {
            return Joining::Removed;
        }
        match &self.policy {
            Policy::Open => Joining::Free,
            Policy::AllowList(allowed) if allowed.contains(device) => Joining::Free,
            Policy::AllowList(_) => Joining::NotListed,
            Policy::Approval => Joining::Approval,
        }
    }

    /// The next entry of `author`, to be signed.
    pub fn next_entry(&self, author: DeviceId, time_ms: u64, action: Action) -> Entry {
        Entry {
            group: self.group,
            number: self.next,
            previous: self.last,
            author,
            time_ms,
            action,
        }
    }

    /// The group.
    pub const fn group(&self) -> GroupId {
        self.group
    }

    /// Number of entries, which is that of the next one.
    pub const fn entries(&self) -> u64 {
        self.next
    }

    /// Hash of the last entry.
    pub const fn last(&self) -> &[u8; 32] {
        &self.last
    }

    /// How the log has its name.
    pub const fn name(&self) -> &NameSeal {
        &self.name
    }

    /// Who may join.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Everybody who belongs to it.
    pub const fn members(&self) -> &BTreeMap<DeviceId, Role> {
        &self.members
    }

    /// The role of a device; `None`: it is no member.
    pub fn role(&self, device: &DeviceId) -> Option<Role> {
        self.members.get(device).copied()
    }

    /// The members that are admins.
    pub fn admins(&self) -> impl Iterator<Item = &DeviceId> {
        self.members
            .iter()
            .filter(|(_, role)| **role == Role::Admin)
            .map(|(device, _)| device)
    }

    /// Devices that become admins by joining.
    pub const fn named(&self) -> &BTreeSet<DeviceId> {
        &self.named
    }

    /// Whether an admin removed a device, which has not been let in again.
    pub fn was_removed(&self, device: &DeviceId) -> bool {
        self.removed.contains(device)
    }

    /// Generation of the secret, from 1.
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Mark of the secret of this generation.
    pub const fn key(&self) -> &KeyMark {
        &self.key
    }

    /// Somebody who has left knows the secret: a member has to begin the next generation.
    pub const fn is_stale(&self) -> bool {
        self.stale
    }
}
