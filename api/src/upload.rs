//! How an upload to a store stands, as the local API shows it.

use crate::error::ErrorCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is being done about the upload of a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UploadState {
    /// It is not uploaded: the configuration, or who shared it, says so.
    Off,
    /// It will be uploaded when it is its turn, or when what keeps it from it is over.
    Waiting,
    /// It is being uploaded.
    Uploading,
    /// All of its latest version is at a store: it can be fetched while this device is away.
    Uploaded,
}

/// The upload of a share (in [`crate::ShareInfo`], and as the event `upload`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UploadInfo {
    /// What is being done.
    pub state: UploadState,
    /// Bytes of ciphertext of the latest version that are at the store.
    pub bytes: u64,
    /// Bytes of ciphertext in all; 0 while not known.
    pub total: u64,
    /// The version that is whole at the store, be it the latest or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Key of the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// Host and port of the relay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<String>,
    /// Why it waits or is off, for scripts: `over_quota`, `no_space`, `no_relay`, `changing`,
    /// `refused`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<ErrorCode>,
    /// The same in words: "on the relay", "uploading 40 %", "not uploaded: over quota at the
    /// relay" …
    pub words: String,
}

impl UploadInfo {
    /// Whether waiting for it helps: it may still come without anybody doing anything.
    pub fn may_come(&self) -> bool {
        match self.state {
            UploadState::Off => false,
            UploadState::Uploading | UploadState::Uploaded => true,
            UploadState::Waiting => {
                let final_reasons = [
                    ErrorCode::OverQuota,
                    ErrorCode::NoSpace,
                    ErrorCode::Changing,
                    ErrorCode::Refused,
                ];
                self.reason
                    .is_none_or(|reason| !final_reasons.contains(&reason))
            }
        }
    }
}
