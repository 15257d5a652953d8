//! The records that the daemon keeps across restarts: shares and transfers, as JSON in the metadata
//! store.
//!
//! Invariant: a record is committed (durable) before anything that depends on it is announced or
//! acknowledged.

use hither_api::{CostMode, Existing, NamesInfo, Naming, SourceBytes};
use hither_content::RootId;
use hither_content::storage::{Batch, RecordStore, Storage, StorageError, Table};
use hither_proto::GroupId;
use hither_util::hex::Hex;
use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SHARES: Table = Table::new("shares");
const TRANSFERS: Table = Table::new("transfers");
/// Data positions of a transfer that are durable: a serialized roaring bitmap.
const DURABLE: Table = Table::new("durable");
/// Why a finished transfer's bytes came from where they came.
const WHY: Table = Table::new("why");

/// A share that this device made or fetched whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShareRecord {
    pub secret: Hex,
    pub owner: String,
    /// The convergence secret of a share made here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<Hex>,
    /// The signed head of the version held.
    pub head: Hex,
    pub name: String,
    /// Folder that holds the top entry (of several paths: the first), and its name there.
    pub parent: PathBuf,
    pub file_name: String,
    /// Of a share of several paths: those behind the first, in the order of their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more: Vec<PartRecord>,
    /// The holding's number in the chunk map.
    pub holding: u32,
    #[serde(default)]
    pub files: u64,
    #[serde(default)]
    pub no_upload: bool,
    /// It is not announced to the user's other devices.
    #[serde(default)]
    pub no_list: bool,
    /// Seconds of [`crate::library::Library::time`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    /// A new version is published whenever something changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<WatchRecord>,
    /// The group that it was shared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupShareRecord>,
    /// The name of the exposed folder that it was shared out of for another device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposed: Option<String>,
    /// The entries that lie in it and were left out of this version.
    #[serde(default, skip_serializing_if = "LeftOutRecord::is_nothing")]
    pub left_out: LeftOutRecord,
    /// The entries of this version with names that not every system can write.
    #[serde(default, skip_serializing_if = "LeftOutRecord::is_nothing")]
    pub unportable: LeftOutRecord,
    /// The roots of its paths when it was published; none in records of before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roots: Vec<RootRecord>,
    /// Folders in it on which something was mounted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<String>,
    /// It ends as soon as one device has all of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub once: bool,
    /// It was only sent to these devices (their ids), and ends when all of them have all of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offered: Vec<String>,
    /// Its file came through a pipe and goes with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub piped: bool,
    /// Patterns of what is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
}

/// A folder that was shared, or that a shared file is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RootRecord {
    pub device: u64,
    pub inode: u64,
    pub born_ns: i64,
    pub folder: bool,
}

impl From<RootId> for RootRecord {
    fn from(
        RootId {
            device,
            inode,
            born_ns,
            folder,
        }: RootId,
    ) -> Self {
        Self {
            device,
            inode,
            born_ns,
            folder,
        }
    }
}

impl From<RootRecord> for RootId {
    fn from(
        RootRecord {
            device,
            inode,
            born_ns,
            folder,
        }: RootRecord,
    ) -> Self {
        Self {
            device,
            inode,
            born_ns,
            folder,
        }
    }
}

/// The entries of a version that need a remark, the first few in words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeftOutRecord {
    /// Path below the top, and why, in words that complete "… because …".
    pub first: Vec<(String, String)>,
    pub total: u64,
}

impl LeftOutRecord {
    pub(crate) fn is_nothing(&self) -> bool {
        self.total == 0
    }
}

/// The place of one of several paths of a share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartRecord {
    pub parent: PathBuf,
    pub file_name: String,
}

impl ShareRecord {
    /// Returns what its paths were of.
    pub(crate) fn roots(&self) -> Vec<RootId> {
        self.roots.iter().map(|root| RootId::from(*root)).collect()
    }

    /// The group with which it was shared.
    pub(crate) fn group(&self) -> Option<GroupId> {
        let group = self.group.as_ref()?;
        GroupId::from_hex(&group.group).ok()
    }

    /// Every path of the share.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        let more = self
            .more
            .iter()
            .map(|part| part.parent.join(&part.file_name));
        std::iter::once(self.parent.join(&self.file_name))
            .chain(more)
            .collect()
    }
}

/// With which group something is shared, and since which generation of its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GroupShareRecord {
    /// Hexadecimal.
    pub group: String,
    pub generation: u64,
}

/// How a share is published anew when something in it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WatchRecord {
    /// Leaves out entries that cannot be shared.
    pub skip_unsharable: bool,
}

/// The state of a transfer, as far as it matters after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TransferState {
    Active,
    Paused,
    Done,
    Failed,
}

/// The choices the user agreed to when the first version of a followed share was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Chosen {
    /// The share's own name then.
    pub title: String,
    /// Its name in the folder that is written into.
    pub name: String,
    /// True when it is a folder; else a file.
    pub folder: bool,
}

const fn is_false(value: &bool) -> bool {
    !*value
}

/// Of records that were made when every share gave its modes away.
const fn usual_umask() -> u32 {
    0o022
}

/// A fetch, running or ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TransferRecord {
    pub id: String,
    /// The ticket: a secret.
    pub ticket: String,
    pub share: String,
    pub state: TransferState,
    /// Folder written into.
    pub folder: PathBuf,
    /// Read in order, for standard output: nothing of it is kept.
    pub spooled: bool,
    /// Bytes of it that were read before.
    #[serde(default)]
    pub from: u64,
    pub existing: Existing,
    /// The name of a single file in the folder, when it is not its own; of a share that turns out to
    /// be a folder, that of a folder to write into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named: Option<String>,
    /// The part that is wanted; empty: everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Only what is in it is asked about: nothing is written.
    #[serde(default, skip_serializing_if = "is_false")]
    pub listing: bool,
    /// Whatever is offered is accepted.
    pub accepted: bool,
    /// The one offer that was agreed to, when not every one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreed: Option<String>,
    /// The choices the first version was written with: they hold for later ones too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<Chosen>,
    /// The treatment of names that cannot be written.
    #[serde(default)]
    pub naming: Naming,
    /// The names that the place of the partial files takes, as found out when they were begun. None
    /// in records of before, when all names were written as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<Hex>,
    /// Names of the last version written that could not be written as they are.
    #[serde(default, skip_serializing_if = "NamesInfo::is_nothing")]
    pub names: NamesInfo,
    /// Permission bits that nothing written gets.
    #[serde(default = "usual_umask")]
    pub umask: u32,
    /// Something of the user stays where the version followed has something else.
    #[serde(default)]
    pub apart: bool,
    /// Later versions are fetched too.
    #[serde(default)]
    pub follow: bool,
    /// All of a later version is here, and it is being moved into place: that is finished first.
    #[serde(default)]
    pub placing: bool,
    /// Things that are not what was fetched and stay in a followed copy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<ConflictRecord>,
    /// How much more of it there is.
    #[serde(default)]
    pub conflicts_more: u64,
    /// The version that is here whole, when later ones are waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub followed: Option<u64>,
    /// How readily paid sources are used, when that was chosen for this fetch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<CostMode>,
    /// Most that it may cost, in units of currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cost: Option<f64>,
    /// A device that gave had set a price of its own.
    #[serde(default)]
    pub priced: bool,
    #[serde(default)]
    pub name: String,
    /// The path where it is or will be.
    #[serde(default)]
    pub path: String,
    /// The signed head of the version being fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<Hex>,
    /// The place of its partial files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial: Option<Hex>,
    pub started: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<u64>,
    #[serde(default)]
    pub total: u64,
    #[serde(default)]
    pub seconds: f64,
    #[serde(default)]
    pub sources: Vec<SourceBytes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Something of the user's that stays in a followed copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConflictRecord {
    pub path: String,
    /// The path at which the version's was written instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<String>,
}

impl TransferRecord {
    /// How much stays in a followed copy that is not what was fetched.
    pub(crate) fn conflict_count(&self) -> u64 {
        self.conflicts.len() as u64 + self.conflicts_more
    }

    /// Remembers as what a version was written, for all later ones: under the name that the first
    /// one got.
    pub(crate) fn choose(&mut self, title: &str, folder: bool) {
        let name = match &self.chosen {
            Some(chosen) => chosen.name.clone(),
            None => {
                let name = Path::new(&self.path).file_name();
                name.map_or_else(
                    || title.to_owned(),
                    |name| name.to_string_lossy().into_owned(),
                )
            }
        };
        self.chosen = Some(Chosen {
            title: title.to_owned(),
            name,
            folder,
        });
    }
}

/// The records in the store.
#[derive(Clone)]
pub(crate) struct Records {
    storage: Arc<dyn Storage>,
    store: RecordStore,
}

impl Records {
    pub(crate) fn new(storage: Arc<dyn Storage>) -> Self {
        let store = RecordStore::new(Arc::clone(&storage));
        Self { storage, store }
    }

    /// Records of other kinds.
    pub(crate) fn store(&self) -> &RecordStore {
        &self.store
    }

    pub(crate) fn put_share(&self, share: &str, record: &ShareRecord) -> Result<(), StorageError> {
        self.store.put(SHARES, share, record)
    }

    pub(crate) fn remove_share(&self, share: &str) -> Result<(), StorageError> {
        let mut batch = Batch::new();
        batch.remove(SHARES, share.as_bytes());
        self.storage.commit(batch)
    }

    pub(crate) fn shares(&self) -> Result<Vec<(String, ShareRecord)>, StorageError> {
        self.store.all(SHARES)
    }

    pub(crate) fn put_transfer(&self, record: &TransferRecord) -> Result<(), StorageError> {
        self.store.put(TRANSFERS, &record.id, record)
    }

    pub(crate) fn transfers(&self) -> Result<Vec<(String, TransferRecord)>, StorageError> {
        self.store.all(TRANSFERS)
    }

    /// Forgets a transfer and all that belongs to it.
    pub(crate) fn remove_transfer(&self, id: &str) -> Result<(), StorageError> {
        let mut batch = Batch::new();
        for table in [TRANSFERS, DURABLE, WHY] {
            batch.remove(table, id.as_bytes());
        }
        self.storage.commit(batch)
    }

    /// Records durable positions; they may be announced when this returns.
    pub(crate) fn put_durable(
        &self,
        id: &str,
        positions: &RoaringBitmap,
    ) -> Result<(), StorageError> {
        let mut bytes = Vec::with_capacity(positions.serialized_size());
        if positions.serialize_into(&mut bytes).is_err() {
            return Ok(()); // Writing into a vector cannot fail.
        }
        let mut batch = Batch::new();
        batch.put(DURABLE, id.as_bytes(), &bytes);
        self.storage.commit(batch)
    }

    /// The durable positions of a transfer; none when there is no (readable) record of them.
    pub(crate) fn durable(&self, id: &str) -> Result<RoaringBitmap, StorageError> {
        let bytes = self
            .storage
            .get(DURABLE, id.as_bytes())?
            .unwrap_or_default();
        Ok(RoaringBitmap::deserialize_from(&bytes[..]).unwrap_or_default())
    }

    /// Forgets the durable positions: the transfer begins anew or is done.
    pub(crate) fn clear_durable(&self, id: &str) -> Result<(), StorageError> {
        let mut batch = Batch::new();
        batch.remove(DURABLE, id.as_bytes());
        self.storage.commit(batch)
    }

    pub(crate) fn put_why(&self, id: &str, why: &hither_api::Why) -> Result<(), StorageError> {
        self.store.put(WHY, id, why)
    }

    pub(crate) fn why(&self, id: &str) -> Result<Option<hither_api::Why>, StorageError> {
        Ok(self
            .storage
            .get(WHY, id.as_bytes())?
            .and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_before_are_still_read() {
        let old = r#"{"secret":"00","owner":"o","head":"01","name":"n","parent":"/a","file_name":"b","holding":1}"#;
        let record: ShareRecord = serde_json::from_str(old).unwrap();
        assert!(record.unportable.is_nothing());
        assert_eq!(
            (record.paths(), record.no_list),
            (vec![PathBuf::from("/a/b")], false)
        );
        let part = |name: &str| PartRecord {
            parent: "/c".into(),
            file_name: name.into(),
        };
        let several = ShareRecord {
            more: vec![part("d"), part("e")],
            ..record
        };
        let again: ShareRecord =
            serde_json::from_slice(&serde_json::to_vec(&several).unwrap()).unwrap();
        assert_eq!(again, several);
        assert_eq!(again.paths(), ["/a/b", "/c/d", "/c/e"].map(PathBuf::from));
    }
}
