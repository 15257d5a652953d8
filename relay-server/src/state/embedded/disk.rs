//! The storage under the state, which can be opened anew after it failed.
//!
//! redb answers nothing any more once a write has failed, not even reads, until its file is opened
//! again. Two things keep that rare and short: what would grow the file is refused while the disk
//! is nearly full ([`Disk::is_tight`]), and after a failure the file is opened again before
//! anything else.

use hither_content::storage::{Batch, Storage, StorageError, Table, Visit};
use hither_util::sync::RwLock;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Notify;

/// Opens the storage; called again after the storage has failed, when nobody holds the one before
/// any more.
pub type Opener = Box<dyn Fn() -> Result<Arc<dyn Storage>, StorageError> + Send + Sync>;

/// The storage of now. Every method may block on the disk.
pub(super) struct Disk {
    open: Opener,
    current: RwLock<Arc<dyn Storage>>,
    /// Where the storage lies and how many bytes must stay free there.
    reserve: Option<(PathBuf, u64)>,
    /// Rung when a read found the storage failed, for the writer to open it anew.
    pub trouble: Notify,
}

impl Disk {
    pub(super) fn open(
        open: Opener,
        reserve: Option<(PathBuf, u64)>,
    ) -> Result<Self, StorageError> {
        let current = RwLock::new(open()?);
        Ok(Self {
            open,
            current,
            reserve,
            trouble: Notify::new(),
        })
    }

    /// Works on the storage. It is not opened anew meanwhile.
    pub(super) fn with<T>(&self, work: impl FnOnce(&dyn Storage) -> T) -> T {
        work(self.current.read().as_ref())
    }

    /// Opens the storage again. While that fails, everything asked of the storage fails alike.
    pub(super) fn reopen(&self) -> Result<(), StorageError> {
        let mut current = self.current.write();
        // The storage before gives up its lock only when it is dropped.
        *current = Arc::new(Down {
            kind: io::ErrorKind::Other,
            why: "it is being opened".into(),
        });
        match (self.open)() {
            Ok(storage) => {
                *current = storage;
                Ok(())
            }
            Err(error) => {
                let kind = match &error {
                    StorageError::Io { source, .. } => source.kind(),
                    _ => io::ErrorKind::Other,
                };
                *current = Arc::new(Down {
                    kind,
                    why: error.to_string(),
                });
                Err(error)
            }
        }
    }

    /// Lets go of the storage for good.
    pub(super) fn close(&self) {
        let mut current = self.current.write();
        *current = Arc::new(Down {
            kind: io::ErrorKind::Other,
            why: "it was closed".into(),
        });
    }

    /// Returns whether so little space is left that nothing may grow. Removing still needs some:
    /// that is what is kept back.
    pub(super) fn is_tight(&self) -> bool {
        #[cfg(unix)]
        if let Some((folder, reserve)) = &self.reserve
            && let Ok(space) = rustix::fs::statvfs(folder)
        {
            return space.f_bavail.saturating_mul(space.f_frsize) < *reserve;
        }
        false
    }
}

/// In place of a storage that could not be opened: fails everything in the same way.
struct Down {
    kind: io::ErrorKind,
    why: String,
}

impl Down {
    fn error<T>(&self) -> Result<T, StorageError> {
        let source = io::Error::new(self.kind, self.why.clone());
        Err(StorageError::Io {
            what: "the storage failed",
            source,
        })
    }
}

impl Storage for Down {
    fn get(&self, _: Table, _: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.error()
    }

    fn scan(&self, _: Table, _: &[u8], _: &mut Visit<'_>) -> Result<(), StorageError> {
        self.error()
    }

    fn commit(&self, _: Batch) -> Result<(), StorageError> {
        self.error()
    }

    fn commit_lazily(&self, _: Batch) -> Result<(), StorageError> {
        self.error()
    }

    fn flush(&self) -> Result<(), StorageError> {
        self.error()
    }

    fn compare_and_set(
        &self,
        _: Table,
        _: &[u8],
        _: Option<&[u8]>,
        _: Option<&[u8]>,
    ) -> Result<bool, StorageError> {
        self.error()
    }
}
