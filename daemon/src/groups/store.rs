//! The stored state of groups: records, logs, notes of members. In the metadata store, which only
//! this user may read.

use super::Known;
use crate::catalogue::Entry;
use hither_content::storage::{Batch, Storage, StorageError, Table};
use hither_proto::{DeviceId, GroupBranch, GroupId, Membership, SignedEntry};
use hither_util::hex::Hex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// [`GroupRecord`]s by group.
const GROUPS: Table = Table::new("groups");
/// Entries by group and number.
const LOG: Table = Table::new("group_log");
/// The membership according to the log, by group.
const MEMBERSHIP: Table = Table::new("group_membership");
/// [`Told`] by group and device.
const TOLD: Table = Table::new("group_told");

/// How this device stands with a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stands {
    Member,
    Asking,
    /// And why.
    Refused(String),
    Removed,
}

/// The note that was last published to a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Published {
    pub generation: u64,
    /// Of the note that was published.
    pub content: Hex,
    /// Of how it was sealed: what the relay should have.
    pub digest: Hex,
}

/// The stored state of a group besides its log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GroupRecord {
    /// Key of the relay that keeps it, as it was joined.
    pub relay: String,
    pub stands: Stands,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Of a name that is not in the clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salt: Option<Hex>,
    /// The latest secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Hex>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<Published>,
    /// Signed entries of a branch that was given up for another: what this device does again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub again: Vec<Hex>,
}

impl GroupRecord {
    pub(super) fn new(relay: DeviceId, stands: Stands) -> Self {
        let relay = relay.to_string();
        Self {
            relay,
            stands,
            name: None,
            salt: None,
            secret: None,
            published: None,
            again: Vec::new(),
        }
    }

    pub(super) fn is_member(&self) -> bool {
        self.stands == Stands::Member
    }
}

/// The note that a member published of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// Of how it was sealed.
    pub digest: Hex,
    /// By its clock, Unix milliseconds.
    pub made_ms: u64,
    pub name: String,
    pub shares: Vec<Entry>,
}

/// The tables.
pub(super) struct Store {
    storage: Arc<dyn Storage>,
}

impl Store {
    pub(super) fn new(storage: Arc<dyn Storage>) -> Self {
        Self { storage }
    }

    /// Everything. Blocks.
    pub(super) fn load(&self) -> Result<BTreeMap<GroupId, Known>, StorageError> {
        let mut all = BTreeMap::new();
        self.storage.scan(GROUPS, b"", &mut |key, value| {
            let group = GroupId::from_slice(key).ok();
            match (group, serde_json::from_slice(value).ok()) {
                (Some(group), Some(record)) => drop(all.insert(group, Known::new(record))),
                _ => tracing::warn!("the record of a group cannot be read; left alone"),
            }
            ControlFlow::Continue(())
        })?;
        self.storage.scan(MEMBERSHIP, b"", &mut |key, value| {
            let known = GroupId::from_slice(key)
                .ok()
                .and_then(|group| all.get_mut(&group));
            if let Some(known) = known {
                known.membership = Membership::decode(value).ok();
            }
            ControlFlow::Continue(())
        })?;
        self.storage.scan(TOLD, b"", &mut |key, value| {
            let parts = key
                .split_at_checked(GroupId::LEN)
                .and_then(|(group, device)| {
                    Some((
                        GroupId::from_slice(group).ok()?,
                        DeviceId::from_slice(device).ok()?,
                    ))
                });
            let told = serde_json::from_slice(value).ok();
            if let (Some((group, device)), Some(told)) = (parts, told)
                && let Some(known) = all.get_mut(&group)
            {
                known.told.insert(device, told);
            }
            ControlFlow::Continue(())
        })?;
        Ok(all)
    }

    pub(super) fn put_record(
        &self,
        group: GroupId,
        record: &GroupRecord,
    ) -> Result<(), StorageError> {
        let mut batch = Batch::new();
        // Texts and numbers: nothing in it that JSON cannot hold.
        batch.put(
            GROUPS,
            group.as_bytes(),
            &serde_json::to_vec(record).unwrap_or_default(),
        );
        self.storage.commit(batch)
    }

    /// New entries, what the log says then, and who is out. Blocks.
    pub(super) fn put_log(
        &self,
        after: &Membership,
        entries: &[SignedEntry],
        out: &[DeviceId],
    ) -> Result<(), StorageError> {
        let mut batch = Batch::new();
        put_entries(&mut batch, after, entries, out);
        self.storage.commit(batch)
    }

    /// The entries of `branch` in place of those from the same number to `end`, what the log says
    /// then, who is out, and the record that goes with it, in one step. Blocks.
    pub(super) fn exchange(
        &self,
        branch: &GroupBranch,
        end: u64,
        out: &[DeviceId],
        record: &GroupRecord,
    ) -> Result<(), StorageError> {
        let (after, mut batch) = (branch.after(), Batch::new());
        for number in after.entries()..end {
            batch.remove(LOG, &entry_key(after.group(), number));
        }
        put_entries(&mut batch, after, branch.entries(), out);
        batch.put(
            GROUPS,
            after.group().as_bytes(),
            &serde_json::to_vec(record).unwrap_or_default(),
        );
        self.storage.commit(batch)
    }

    /// At most `most` entries from a number on, in order. Blocks.
    pub(super) fn entries(
        &self,
        group: GroupId,
        from: u64,
        most: usize,
    ) -> Result<Vec<Vec<u8>>, StorageError> {
        let mut all = Vec::new();
        self.storage
            .scan(LOG, group.as_bytes(), &mut |key, value| {
                let number = key
                    .get(GroupId::LEN..)
                    .and_then(|number| number.try_into().ok());
                if number.is_some_and(|number| u64::from_be_bytes(number) >= from) {
                    all.push(value.to_vec());
                }
                if all.len() < most {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })?;
        Ok(all)
    }

    /// Stores the note of a member. Blocks.
    pub(super) fn put_told(
        &self,
        group: GroupId,
        all: &[(DeviceId, Told)],
    ) -> Result<(), StorageError> {
        let mut batch = Batch::new();
        for (device, told) in all {
            batch.put(
                TOLD,
                &told_key(group, *device),
                &serde_json::to_vec(told).unwrap_or_default(),
            );
        }
        self.storage.commit(batch)
    }

    /// Removes everything of a group. Blocks.
    pub(super) fn remove(&self, group: GroupId) -> Result<(), StorageError> {
        let mut batch = Batch::new();
        batch.remove(GROUPS, group.as_bytes());
        batch.remove(MEMBERSHIP, group.as_bytes());
        for table in [LOG, TOLD] {
            self.storage.scan(table, group.as_bytes(), &mut |key, _| {
                batch.remove(table, key);
                ControlFlow::Continue(())
            })?;
        }
        self.storage.commit(batch)
    }
}

fn put_entries(batch: &mut Batch, after: &Membership, entries: &[SignedEntry], out: &[DeviceId]) {
    let group = after.group();
    for entry in entries {
        batch.put(LOG, &entry_key(group, entry.entry().number), entry.bytes());
    }
    batch.put(MEMBERSHIP, group.as_bytes(), &after.encode());
    out.iter()
        .for_each(|device| batch.remove(TOLD, &told_key(group, *device)));
}

fn entry_key(group: GroupId, number: u64) -> Vec<u8> {
    [&group.as_bytes()[..], &number.to_be_bytes()].concat()
}

fn told_key(group: GroupId, device: DeviceId) -> Vec<u8> {
    [&group.as_bytes()[..], device.as_bytes()].concat()
}
