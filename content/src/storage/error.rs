//! What can go wrong with a store.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

/// Why a store could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Another process has the store open. The store itself is fine.
    #[error("{} is in use by another process", path.display())]
    Locked {
        /// Where the store is.
        path: PathBuf,
    },
    /// A later version of this program wrote the store. It is left as it is.
    #[error("the store has format {found}, this version knows formats up to {known}")]
    TooNew {
        /// Format of the store.
        found: u32,
        /// Newest format this build reads.
        known: u32,
    },
    /// The disk lacks the room for a copy of the store in another engine. The store itself is fine.
    #[error(
        "changing the engine of {} to {engine} takes {} beside it and {} are free: make room, or set storage.engine back",
        path.display(), mebibytes(.needed, true), mebibytes(.free, false)
    )]
    NoRoom {
        /// Where the store is.
        path: PathBuf,
        /// The engine that is configured.
        engine: &'static str,
        /// Bytes that are needed, about.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The operating system refused or failed: no space, no permission, a failing disk.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// What is on disk is not what the engine wrote.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// A key, value or batch is beyond its bound; nothing was written.
    #[error("{what} of {actual} bytes is over the limit of {max}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size, bytes.
        actual: usize,
        /// Its bound, bytes.
        max: usize,
    },
    /// The engine failed in a way that says nothing about the data: it must be opened again.
    #[error("the store failed: {0}")]
    Engine(String),
}

impl StorageError {
    /// Returns whether a fresh store is the only way on. Locked, too new, out of space and the like
    /// are not.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged(_))
    }

    /// Returns whether the disk is full, or the user's quota used up.
    pub fn is_full(&self) -> bool {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Self::Io { source, .. } if matches!(source.kind(), StorageFull | QuotaExceeded))
    }

    pub(super) fn io(what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { what, source }
    }
}

fn mebibytes(bytes: &u64, up: bool) -> String {
    let whole = bytes >> 20;
    let more = up && !bytes.is_multiple_of(1 << 20);
    format!("{} MiB", whole + u64::from(more))
}

/// Runs what may panic inside an engine (they assert some of what they read from disk) and makes an
/// error of it.
pub(super) fn guarded<T>(
    engine: &str,
    work: impl FnOnce() -> Result<T, StorageError>,
) -> Result<T, StorageError> {
    // Unwind safety: an engine that panicked is reported as damaged and not trusted again (see
    // `open`).
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(StorageError::Damaged(format!(
            "{engine} panicked: {}",
            text.unwrap_or("no message")
        )))
    })
}
