//! Exposed folders and requests in the store.

use super::{Key, State};
use crate::json_records::all;
pub(super) use crate::json_records::{put, remove};
use crate::records::RootRecord;
use hither_content::storage::{Storage, StorageError, Table};
use hither_proto::{AskId, DeviceId};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Exposed folders, by name.
pub(super) const EXPOSURES: Table = Table::new("exposures");
/// Uploads that others ask for, by asker and id.
pub(super) const JOBS: Table = Table::new("drive_jobs");
/// Uploads that this device asks for, by id.
pub(super) const SENT: Table = Table::new("drive_sent");

/// To whom a folder is exposed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ToRecord {
    /// A device, by its id.
    Device(String),
    /// The members of a group, by its id.
    Group(String),
}

/// An exposed folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ExposureRecord {
    pub name: String,
    /// The folder that it is in, without symbolic links, and its name there.
    pub parent: PathBuf,
    pub file_name: String,
    /// How it is known again.
    pub root: RootRecord,
    pub to: ToRecord,
    /// Since when, Unix seconds, for people.
    pub at: u64,
}

/// An upload that another device asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct JobRecord {
    pub path: String,
    pub watch: bool,
    /// When it came, Unix seconds.
    pub at: u64,
    /// Until when it may be begun, seconds of the clock of deadlines.
    pub until: u64,
    /// It is answered.
    pub done: bool,
}

/// An upload that this device asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SentRecord {
    pub to: String,
    pub path: String,
    pub watch: bool,
    /// When it was asked for, Unix seconds.
    pub at: u64,
    pub until: u64,
    pub state: SentState,
    /// How far it is; not kept.
    #[serde(skip)]
    pub progress: (u64, u64),
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<DoneRecord>,
}

/// How an upload that this device asks for stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SentState {
    Sent,
    Delivered,
    Waiting,
    Reading,
    Uploading,
    Done,
    Refused,
    Expired,
    Cancelled,
}

impl SentState {
    pub(super) const fn is_final(self) -> bool {
        matches!(
            self,
            Self::Done | Self::Refused | Self::Expired | Self::Cancelled
        )
    }

    /// Nobody has begun with it, as far as is known.
    pub(super) const fn waits(self) -> bool {
        matches!(self, Self::Sent | Self::Delivered)
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Waiting => "waiting",
            Self::Reading => "reading",
            Self::Uploading => "uploading",
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The result of an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DoneRecord {
    pub share: String,
    pub ticket: String,
    pub name: String,
    pub version: u64,
    pub files: u64,
    pub bytes: u64,
    pub sent_bytes: u64,
    pub stored: bool,
}

/// The key of a request of another device.
pub(super) fn job_key((from, id): Key) -> [u8; 48] {
    let mut key = [0; 48];
    key[..32].copy_from_slice(from.as_bytes());
    key[32..].copy_from_slice(id.as_bytes());
    key
}

/// Everything that earlier runs kept.
pub(super) fn load(storage: &dyn Storage) -> Result<State, StorageError> {
    let mut state = State::default();
    for (_, record) in all::<ExposureRecord>(storage, EXPOSURES)? {
        state.exposures.insert(record.name.clone(), record);
    }
    for (key, record) in all::<JobRecord>(storage, JOBS)? {
        let Some((from, id)) = key.split_at_checked(32) else {
            continue;
        };
        if let (Ok(from), Ok(id)) = (DeviceId::from_slice(from), AskId::from_slice(id)) {
            state.jobs.insert((from, id), record);
        }
    }
    for (key, record) in all::<SentRecord>(storage, SENT)? {
        if let Ok(id) = AskId::from_slice(&key) {
            state.sent.insert(id, record);
        }
    }
    Ok(state)
}
