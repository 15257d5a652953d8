//! What the user's other devices share, as the local API shows it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One share of another device of the user (`GET /v1/catalogue`), as that device told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ListedShare {
    /// Device id of its owner.
    pub device: String,
    /// What that device calls itself; may be empty.
    pub device_name: String,
    /// Share id.
    pub share: String,
    /// Its name, safe to show.
    pub name: String,
    /// Its version.
    pub version: u64,
    /// Number of files.
    pub files: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// When that version was published, Unix seconds.
    pub published: u64,
    /// Name of the group that it is shared with; absent: it is a share of another device of the
    /// user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// When it ends by itself, Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
}

/// `POST /v1/catalogue/find`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FindRequest {
    /// The device that shares it: its name, short id or id.
    pub owner: String,
    /// Name of the share.
    pub name: String,
}

/// A share that was found by its name.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FoundShare {
    /// The share; the newest of that name.
    #[serde(flatten)]
    pub share: ListedShare,
    /// What it is fetched with: a secret.
    pub ticket: String,
    /// How many more shares of that name the device has.
    pub same_name: u64,
}

impl std::fmt::Debug for FoundShare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FoundShare")
            .field("share", &self.share)
            .finish_non_exhaustive()
    }
}
