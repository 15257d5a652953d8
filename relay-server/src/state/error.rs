//! Why the state refused something, or could not be reached.

use hither_content::storage::StorageError;
use std::borrow::Cow;
use std::io::ErrorKind;

/// The bound of a queue that an item would have crossed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bound {
    /// Items in the queue.
    Items,
    /// Bytes in the queue.
    Bytes,
    /// Items of this source in the queue.
    SourceItems,
    /// Bytes of this source in the queue.
    SourceBytes,
}

/// Why a call to the state failed. Cheap to clone: one failed commit answers many callers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The key is not as expected.
    #[error("the key has changed")]
    Conflict {
        /// Its revision; `None`: it is not there.
        current: Option<u64>,
    },
    /// The key is durable where an ephemeral one was to be put, or the other way round.
    #[error("the key is of the other kind, durable or ephemeral")]
    OtherKind,
    /// The session was closed, was silent for too long, or never was.
    #[error("the session has ended")]
    NoSession,
    /// The queue takes no such item now; nothing was written.
    #[error("the queue is full ({0:?})")]
    Full(Bound),
    /// A name that is not one (see [`super::name`]).
    #[error("not a name of {0}")]
    BadName(Cow<'static, str>),
    /// A value beyond its bound.
    #[error("{what} of {actual} is over the limit of {max}")]
    TooLarge {
        /// What is too large.
        what: Cow<'static, str>,
        /// Its size.
        actual: u64,
        /// Its bound.
        max: u64,
    },
    /// A table is full: too many of what is named.
    #[error("too many {0}")]
    Busy(Cow<'static, str>),
    /// The disk is full, or so nearly that nothing more is taken. Reading and removing go on.
    #[error("no space on the disk of the state")]
    NoSpace,
    /// The disk cannot be written. Reading goes on.
    #[error("the disk of the state is read-only")]
    ReadOnly,
    /// The storage failed otherwise; what was asked may have been done.
    #[error("the storage of the state failed: {0}")]
    Storage(String),
    /// The connection to the node that keeps the state broke; what was asked may have been done.
    #[error("the connection to the state was lost")]
    Disconnected,
    /// No answer within the time allowed; what was asked may have been done.
    #[error("the state did not answer in time")]
    TimedOut,
    /// The state was closed by this process.
    #[error("the state is closed")]
    Closed,
    /// The other node broke the protocol.
    #[error("the other node broke the protocol: {0}")]
    Protocol(Cow<'static, str>),
}

impl StateError {
    pub(super) fn within(what: &'static str, actual: usize, max: usize) -> Result<(), Self> {
        if actual <= max {
            return Ok(());
        }
        Err(Self::TooLarge {
            what: what.into(),
            actual: actual as u64,
            max: max as u64,
        })
    }
}

impl From<&StorageError> for StateError {
    fn from(error: &StorageError) -> Self {
        match error {
            StorageError::Io { source, .. } => match source.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                    Self::NoSpace
                }
                ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
                _ => Self::Storage(error.to_string()),
            },
            _ => Self::Storage(error.to_string()),
        }
    }
}

impl From<StorageError> for StateError {
    fn from(error: StorageError) -> Self {
        Self::from(&error)
    }
}
