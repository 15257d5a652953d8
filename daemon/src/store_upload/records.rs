//! The records of shares at stores across restarts.

use crate::records::Records;
use hither_content::storage::{StorageError, Table};
use hither_proto::{RelayAddress, ShareId};
use hither_util::hex::Hex;
use serde::{Deserialize, Serialize};

/// By the share's id.
const KEPT: Table = Table::new("kept");

/// A share for which a place was requested of a relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptRecord {
    /// The key of the relay that was joined.
    pub relay: String,
    /// The store, an encoded address; absent until the relay has named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<Hex>,
    /// The version that is whole there; 0: none.
    #[serde(default)]
    pub version: u64,
    /// Ciphertext of that version, bytes.
    #[serde(default)]
    pub bytes: u64,
    /// When that was so for certain, Unix seconds.
    #[serde(default)]
    pub checked: u64,
    /// The share ended: the relay is to forget it, then this record goes.
    #[serde(default)]
    pub release: bool,
}

impl KeptRecord {
    /// A share that is about to be placed.
    pub(super) fn new(relay: String) -> Self {
        Self {
            relay,
            store: None,
            version: 0,
            bytes: 0,
            checked: 0,
            release: false,
        }
    }

    /// Returns its address.
    pub(super) fn store(&self) -> Option<RelayAddress> {
        RelayAddress::decode(&self.store.as_ref()?.0).ok()
    }
}

impl Records {
    pub(super) fn put_kept(&self, share: ShareId, record: &KeptRecord) -> Result<(), StorageError> {
        self.store().put(KEPT, &share.to_string(), record)
    }

    pub(super) fn remove_kept(&self, share: ShareId) -> Result<(), StorageError> {
        self.store().remove(KEPT, &share.to_string())
    }

    pub(super) fn kept(&self) -> Result<Vec<(String, KeptRecord)>, StorageError> {
        self.store().all(KEPT)
    }
}
