//! Which devices of this node listen to which groups, and what changed for them.
//!
//! A device listens from its first question about its groups until its connection ends. Invariant:
//! a device is told of a group only while it is a member, and once more when it is one no longer.

use hither_proto::{DeviceId, GroupId, Membership};
use hither_util::sync::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, MutexGuard};

/// Most groups whose members are kept in memory (at most some 60 KiB each); beyond it all are read
/// anew.
const MAX_READ: usize = 1024;

/// Something that is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Change {
    Log(GroupId),
    Asks(GroupId),
    Note(GroupId, DeviceId),
    Presence(GroupId, DeviceId),
}

#[derive(Debug, Default)]
struct Tables {
    by_group: HashMap<GroupId, BTreeSet<DeviceId>>,
    by_device: HashMap<DeviceId, BTreeSet<GroupId>>,
}

/// The devices that listen; as many as there are connections, each to at most
/// [`hither_proto::limits::MAX_GROUPS`].
#[derive(Debug, Default)]
pub(crate) struct ListenerTable {
    tables: Mutex<Tables>,
    /// What logs say, and the revision of the record that says so.
    read: Mutex<HashMap<GroupId, (u64, Arc<Membership>)>>,
}

impl ListenerTable {
    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock()
    }

    /// What the log of a group says, when the record of that revision was read before.
    pub(super) fn read(&self, group: &GroupId, revision: u64) -> Option<Arc<Membership>> {
        let read = self.read.lock();
        read.get(group)
            .filter(|(of, _)| *of == revision)
            .map(|(_, known)| Arc::clone(known))
    }

    /// It was read: checking every key in it takes its time.
    pub(super) fn keep(&self, revision: u64, known: &Arc<Membership>) {
        let mut read = self.read.lock();
        if read.len() >= MAX_READ && !read.contains_key(&known.group()) {
            read.clear();
        }
        read.insert(known.group(), (revision, Arc::clone(known)));
    }

    /// A device listens.
    pub(crate) fn listen(&self, device: DeviceId) {
        self.lock().by_device.entry(device).or_default();
    }

    /// Whether it does.
    pub(crate) fn listens(&self, device: &DeviceId) -> bool {
        self.lock().by_device.contains_key(device)
    }

    /// A device that listens is a member of these.
    pub(crate) fn belongs(&self, device: DeviceId, groups: &[GroupId]) {
        let mut tables = self.lock();
        let Some(of) = tables.by_device.get_mut(&device) else {
            return;
        };
        of.extend(groups);
        for group in groups {
            tables.by_group.entry(*group).or_default().insert(device);
        }
    }

    /// A device does not listen any more.
    pub(crate) fn forget(&self, device: &DeviceId) {
        let mut tables = self.lock();
        for group in tables.by_device.remove(device).into_iter().flatten() {
            tables.leave(group, device);
        }
    }

    /// Those who listen to a group.
    pub(crate) fn listeners(&self, group: &GroupId) -> Vec<DeviceId> {
        self.lock()
            .by_group
            .get(group)
            .into_iter()
            .flatten()
            .copied()
            .collect()
    }

    /// Whether nobody listens to any group.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().by_group.is_empty()
    }

    /// A group has these members now; gives those who listen and are or were members.
    pub(crate) fn changed<'a>(
        &self,
        group: GroupId,
        members: impl IntoIterator<Item = &'a DeviceId>,
    ) -> BTreeSet<DeviceId> {
        let mut tables = self.lock();
        let now: BTreeSet<DeviceId> = members
            .into_iter()
            .filter(|device| tables.by_device.contains_key(device))
            .copied()
            .collect();
        let before = tables.by_group.get(&group).cloned().unwrap_or_default();
        for device in before.difference(&now) {
            tables.leave(group, device);
            if let Some(of) = tables.by_device.get_mut(device) {
                of.remove(&group);
            }
        }
        for device in now.difference(&before) {
            tables.by_group.entry(group).or_default().insert(*device);
            if let Some(of) = tables.by_device.get_mut(device) {
                of.insert(group);
            }
        }
        &now | &before
    }
}

impl Tables {
    fn leave(&mut self, group: GroupId, device: &DeviceId) {
        if let Some(devices) = self.by_group.get_mut(&group) {
            devices.remove(device);
            if devices.is_empty() {
                self.by_group.remove(&group);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_carrier::Identity;

    #[test]
    fn members_that_listen_are_told_and_once_more_when_they_are_out() {
        let table = ListenerTable::default();
        let [a, b, c] = [(); 3].map(|()| Identity::generate().unwrap().device_id());
        let group = GroupId::new([1; 32]);
        table.listen(a);
        table.listen(b);
        assert!(table.is_empty() && table.listens(&a) && !table.listens(&c));
        table.belongs(a, &[group]);
        table.belongs(c, &[group]);
        assert_eq!(
            table.listeners(&group),
            [a],
            "who does not listen is not told"
        );
        assert_eq!(table.changed(group, &[a, b, c]), [a, b].into());
        assert_eq!(table.changed(group, &[b]), [a, b].into(), "once more");
        assert_eq!(table.changed(group, &[b]), [b].into());
        table.forget(&b);
        assert!(table.is_empty() && table.changed(group, &[a]) == [a].into());
        table.forget(&a);
        assert!(table.is_empty() && !table.listens(&a));
    }
}
