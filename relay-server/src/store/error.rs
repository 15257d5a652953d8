//! What can go wrong in the store, by what was asked of it.

use hither_content::storage::StorageError;
use hither_proto::Space;
use std::error::Error;
use std::io;
use std::sync::Arc;

/// Why the store itself failed: the disk, the index, or what stands behind them.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The index failed.
    #[error("the store's index: {0}")]
    Index(#[from] StorageError),
    /// Reading or writing packs failed.
    #[error("{what}: {source}")]
    Packs {
        /// What was being done.
        what: &'static str,
        /// What the place where packs live said.
        source: object_store::Error,
    },
    /// The packs belong to another index, or the index is new and there are packs already. Nothing
    /// was changed: packs without their index are for nobody to read, and deleting them is for
    /// the operator to decide.
    #[error("the packs found do not belong to this index; move them away, or bring the index back")]
    OtherPacks,
    /// Less free space than the floor, or a quota of the whole store is used up.
    #[error("the store is full")]
    Full,
    /// The configuration contradicts itself.
    #[error("the store's configuration: {0}")]
    Config(&'static str),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    pub(super) fn packs(what: &'static str) -> impl FnOnce(object_store::Error) -> Self {
        move |source| Self::Packs { what, source }
    }

    pub(super) fn io(what: &'static str, error: io::Error) -> Self {
        let source = object_store::Error::Generic {
            store: "local",
            source: Box::new(error),
        };
        Self::Packs { what, source }
    }

    /// Returns whether it is for lack of space or permission to write: what is there can still be
    /// read, and it gets better when somebody makes room.
    pub fn is_no_space(&self) -> bool {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        let full = |error: &io::Error| {
            matches!(
                error.kind(),
                StorageFull | QuotaExceeded | ReadOnlyFilesystem | FileTooLarge
            )
        };
        matches!(self, Self::Full) || io_cause(self).is_some_and(full)
    }

    /// Whether a pack is not there, or shorter than the index says.
    pub(super) fn is_missing(&self) -> bool {
        matches!(
            self,
            Self::Packs {
                source: object_store::Error::NotFound { .. },
                ..
            }
        ) || io_cause(self).is_some_and(|error| {
            matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof
            )
        })
    }
}

/// The innermost error of the operating system, wherever in the chain it stands.
fn io_cause(error: &StoreError) -> Option<&io::Error> {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    let mut found = None;
    while let Some(error) = cause {
        found = error.downcast_ref::<io::Error>().or(found);
        cause = error.source();
    }
    found
}

/// What a quota counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Bytes of ciphertext.
    Bytes,
    /// Versions of shares, also those that are being uploaded.
    Versions,
    /// Bytes of the lists that say what versions consist of.
    Lists,
}

impl std::fmt::Display for Measure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bytes => "bytes",
            Self::Versions => "versions",
            Self::Lists => "bytes of lists",
        })
    }
}

/// Why an upload was refused or broke off. What was reported as stored stays stored.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PutError {
    /// It would take more than the user may keep.
    #[error("the user's quota of {quota} {of} is too small: {used} used, {wanted} more wanted")]
    Quota {
        /// What the numbers count.
        of: Measure,
        /// What the user may keep.
        quota: u64,
        /// What the user keeps or is about to send.
        used: u64,
        /// What this upload would add.
        wanted: u64,
    },
    /// The disk or the whole store is full, or read-only.
    #[error("the store is full")]
    NoSpace,
    /// A newer version of the share is here already.
    #[error("a newer version of the share is stored already")]
    Older,
    /// A list is out of order, too long, or contradicts the head or itself.
    #[error("the list of chunks is not acceptable: {0}")]
    List(&'static str),
    /// A position beyond the version, or a chunk before the lists were complete.
    #[error("no such position")]
    Position,
    /// A chunk's length is not the one in the list.
    #[error("a chunk of {actual} bytes where the list says {expected}")]
    Length {
        /// As listed, bytes.
        expected: u32,
        /// As sent, bytes.
        actual: usize,
    },
    /// A chunk is not what its id says.
    #[error("the chunk at {position} does not match its id")]
    Damaged {
        /// Where it should have stood.
        space: Space,
        /// Its position there.
        position: u32,
    },
    /// The end came while chunks were still to be sent.
    #[error("{missing} chunks are still missing")]
    Incomplete {
        /// Number of positions without a chunk.
        missing: u64,
    },
    /// The same share is being uploaded again by the same device, which goes on in the newer
    /// upload.
    #[error("another upload of the share has taken over")]
    Superseded,
    /// The share was released, or the version given up, while it was being uploaded.
    #[error("the share was released meanwhile")]
    Released,
    /// The store failed.
    #[error(transparent)]
    Store(Arc<StoreError>),
}

impl From<Arc<StoreError>> for PutError {
    fn from(error: Arc<StoreError>) -> Self {
        if error.is_no_space() {
            Self::NoSpace
        } else {
            Self::Store(error)
        }
    }
}

impl From<StoreError> for PutError {
    fn from(error: StoreError) -> Self {
        Arc::new(error).into()
    }
}

impl From<StorageError> for PutError {
    fn from(error: StorageError) -> Self {
        StoreError::from(error).into()
    }
}

/// Why chunks could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The version is not here (any more), or has no such position.
    #[error("no such version or position")]
    NotFound,
    /// The position is known and its chunk is not here.
    #[error("the chunk at {position} is not here")]
    NotHeld {
        /// The first such position that was asked for.
        position: u32,
    },
    /// The chunk's bytes were damaged on the disk. It is forgotten, so that it can be uploaded
    /// again.
    #[error("the chunk at {position} is damaged")]
    Damaged {
        /// The first such position that was asked for.
        position: u32,
    },
    /// The store failed.
    #[error(transparent)]
    Store(Arc<StoreError>),
}

impl From<Arc<StoreError>> for ReadError {
    fn from(error: Arc<StoreError>) -> Self {
        Self::Store(error)
    }
}

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

impl From<StorageError> for ReadError {
    fn from(error: StorageError) -> Self {
        StoreError::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lack_of_space_is_recognised_wherever_it_stands() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        assert!(StoreError::io("writing", full()).is_no_space());
        assert!(
            StoreError::Index(StorageError::Io {
                what: "redb",
                source: full()
            })
            .is_no_space()
        );
        assert!(!StoreError::io("writing", io::ErrorKind::Other.into()).is_no_space());
        assert!(StoreError::io("reading", io::ErrorKind::UnexpectedEof.into()).is_missing());
        assert!(matches!(
            PutError::from(StoreError::io("writing", full())),
            PutError::NoSpace
        ));
    }
}
