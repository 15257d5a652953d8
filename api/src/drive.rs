//! Folders that devices expose to each other, as the local API shows them.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use utoipa::ToSchema;

/// `POST /v1/exposures`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExposeRequest {
    /// The folder: an absolute path.
    #[schema(value_type = String)]
    pub path: PathBuf,
    /// To whom: a device by its name, short id or id, or a group by its name or id.
    pub to: String,
}

/// `POST /v1/exposures/end`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndExposureRequest {
    /// Its name.
    pub name: String,
}

/// An exposed folder of this device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExposureInfo {
    /// The name that others call it by.
    pub name: String,
    /// Its path.
    pub path: String,
    /// The device that it is exposed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The group that it is exposed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The name of that device or group.
    pub to: String,
    /// Since when, Unix seconds.
    pub since: u64,
}

/// `POST /v1/drive/list`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DriveListRequest {
    /// The device: its name, short id or id.
    pub on: String,
    /// The folder: the name of an exposed folder and names below it, with `/` between them; empty:
    /// the exposed folders themselves.
    #[serde(default)]
    pub path: String,
    /// Only names after this one, for the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// The contents of a folder that another device exposes: a page of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DriveListing {
    /// The device.
    pub device: String,
    /// Its name.
    pub name: String,
    /// The folder.
    pub path: String,
    /// At most 500, in the order of their names.
    pub entries: Vec<DriveEntryInfo>,
    /// There are more behind the last one.
    pub more: bool,
}

/// One entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DriveEntryInfo {
    /// Its name, as it is: clean it before it is shown.
    pub name: String,
    /// `file`, `folder` or `symlink`.
    pub kind: String,
    /// Length of a file, bytes; else 0.
    pub bytes: u64,
    /// When it was changed, by the other device's clock, Unix seconds; 0: not known.
    pub modified: u64,
}

/// `POST /v1/drive/uploads`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DriveRequest {
    /// The device: its name, short id or id.
    pub on: String,
    /// The file or folder there: the name of an exposed folder, and names below it.
    pub path: String,
    /// Later versions follow whenever something changes there.
    #[serde(default)]
    pub watch: bool,
    /// For how long it may be begun, seconds; a day if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_seconds: Option<u32>,
}

/// An upload that this device asked another one for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DriveInfo {
    /// Its id.
    pub upload: String,
    /// The other device.
    pub device: String,
    /// Its name.
    pub name: String,
    /// The path that is to be uploaded.
    pub path: String,
    /// Later versions follow.
    pub watch: bool,
    /// `sent`, `delivered`, `waiting`, `reading`, `uploading`; at the end `done`, `refused`,
    /// `expired` or `cancelled`.
    pub state: String,
    /// When it was asked for, Unix seconds.
    pub made: u64,
    /// Bytes that were read or uploaded.
    pub bytes: u64,
    /// Bytes in all; 0: not known.
    pub total: u64,
    /// Why nothing came of it: `nothing` (not there, or not exposed to this device), `unsuitable`,
    /// `silent`, `busy`, `cancelled`, `expired`, `failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// Its result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<DriveDone>,
}

impl DriveInfo {
    /// Returns whether nothing follows.
    pub fn is_final(&self) -> bool {
        matches!(
            self.state.as_str(),
            "done" | "refused" | "expired" | "cancelled"
        )
    }
}

/// The result of an upload.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DriveDone {
    /// The share.
    pub share: String,
    /// The ticket that it is fetched with: a secret.
    pub ticket: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u64,
    /// Number of files.
    pub files: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Bytes of ciphertext that had to be sent to the relay's store: what was not there yet.
    pub sent_bytes: u64,
    /// All of it is at a store; else it is to be had from that device only.
    pub stored: bool,
}
