//! Why something with relays failed, by operation.

use crate::dial::RelayError;
use hither_content::storage::StorageError;
use hither_proto::HostPort;

/// An error while making the records of relays durable.
#[derive(Debug, thiserror::Error)]
pub enum RelayStorageError {
    /// The metadata store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The task that writes ended early; in words.
    #[error("{0}")]
    Task(String),
}

/// Why a relay could not be joined.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// This device has joined `most` relays already.
    #[error("this device has joined {most} relays")]
    TooMany {
        /// Most relays that a device joins.
        most: usize,
    },
    /// The relay is not reached, or refuses.
    #[error("{at}: {error}")]
    Relay {
        /// The host and port of the URL.
        at: HostPort,
        /// The failure.
        error: RelayError,
    },
    /// It could not be made durable.
    #[error(transparent)]
    Kept(#[from] RelayStorageError),
}

/// Why no device is meant by what a user wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindDeviceError {
    /// No device is called so.
    #[error("there is no device {wanted:?}")]
    Unknown {
        /// The name that was looked up.
        wanted: String,
        /// True if any other device of the user is known.
        others: bool,
    },
    /// Several may be meant.
    #[error("{wanted:?} could be several devices")]
    Ambiguous {
        /// The name that was looked up.
        wanted: String,
        /// Each as `NAME (SHORT ID)`.
        candidates: Vec<String>,
    },
}
