//! The contract on sled 0.34.
//!
//! All tables live in one sled tree, each key prefixed by its table's name and a zero byte, because
//! a sled batch is atomic within one tree only. sled's own flush ends in `sync_file_range` on
//! Linux, which writes data but neither the file's new length nor the disk's cache; [`SledStorage`]
//! therefore fsyncs sled's file itself after each flush.

use super::error::guarded;
use super::migrate::Each;
use super::{Batch, CACHE_BYTES, Storage, StorageError, Table, Visit, check_entry};
use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

/// Milliseconds after which sled writes lazily committed batches by itself.
const LAZY_FLUSH_MS: u64 = 500;

const NAME: &str = "sled";
/// A file that every database of sled has.
pub(super) const FILE: &str = "conf";
/// The file that sled locks while it is open.
const LOCKED_FILE: &str = "db";
/// Longest wait for the lock of a database that this process has just closed.
const LINGER: Duration = Duration::from_secs(2);
/// Pause between two attempts at that lock.
const POLL: Duration = Duration::from_millis(10);

/// A [`Storage`] in a sled database.
pub struct SledStorage {
    db: sled::Db,
    log: File,
    #[cfg(unix)]
    blobs: File,
}

impl SledStorage {
    /// Opens the database in folder `dir`, creating both when missing.
    pub fn open(dir: &Path) -> Result<Self, StorageError> {
        guarded(NAME, || {
            let db = open_unlocked(dir)?;
            let open =
                |name| File::open(dir.join(name)).map_err(StorageError::io("opening sled's files"));
            let storage = Self {
                log: open(LOCKED_FILE)?,
                #[cfg(unix)]
                blobs: open("blobs")?,
                db,
            };
            // The names of the files sled has just made must survive too.
            #[cfg(unix)]
            open("")?
                .sync_all()
                .map_err(StorageError::io("syncing the store's folder"))?;
            storage.make_durable()?;
            Ok(storage)
        })
    }

    /// Reads every entry, so that every page's checksum is verified.
    pub(super) fn check(&self) -> Result<(), StorageError> {
        guarded(NAME, || {
            self.db
                .iter()
                .try_for_each(|entry| entry.map(drop).map_err(engine_error))
        })
    }

    /// Calls `visit(table, key, value)` for every entry, by table and key.
    pub(super) fn each_entry(&self, visit: &mut Each<'_>) -> Result<(), StorageError> {
        guarded(NAME, || {
            for row in self.db.iter() {
                let (row, value) = row.map_err(engine_error)?;
                let no_table = || StorageError::Damaged("a row of sled names no table".into());
                let end = row.iter().position(|byte| *byte == 0);
                let (table, key) = row.split_at(end.ok_or_else(no_table)?);
                let table = std::str::from_utf8(table).map_err(|_| no_table())?;
                visit(table, &key[1..], &value)?;
            }
            Ok(())
        })
    }

    /// Waits up to [`LINGER`] until a database that this process has dropped is closed: sled's
    /// threads write to its folder until then.
    pub(super) fn wait_closed(dir: &Path) -> Result<(), StorageError> {
        let file =
            File::open(dir.join(LOCKED_FILE)).map_err(StorageError::io("opening sled's files"))?;
        let start = Instant::now();
        while file.try_lock().is_err() {
            if start.elapsed() >= LINGER {
                return Err(StorageError::Locked {
                    path: dir.to_owned(),
                });
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    fn make_durable(&self) -> Result<(), StorageError> {
        self.db.flush().map_err(engine_error)?;
        #[cfg(unix)]
        self.blobs
            .sync_all()
            .map_err(StorageError::io("syncing sled's blobs"))?;
        self.log
            .sync_data()
            .map_err(StorageError::io("syncing sled's log"))
    }

    fn apply(&self, batch: Batch) -> Result<(), StorageError> {
        batch.check()?;
        let mut changes = sled::Batch::default();
        for (table, entries) in batch.changes {
            for (key, value) in entries {
                match value {
                    Some(value) => changes.insert(row(table, &key), value),
                    None => changes.remove(row(table, &key)),
                }
            }
        }
        self.db.apply_batch(changes).map_err(engine_error)
    }
}

impl Storage for SledStorage {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        guarded(NAME, || {
            Ok(self
                .db
                .get(row(table, key))
                .map_err(engine_error)?
                .map(|value| value.to_vec()))
        })
    }

    fn scan(&self, table: Table, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), StorageError> {
        let mut rows = self.db.scan_prefix(row(table, prefix));
        let skip = table.name().len() + 1;
        while let Some((key, value)) =
            guarded(NAME, || rows.next().transpose().map_err(engine_error))?
        {
            if visit(&key[skip..], &value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn commit(&self, batch: Batch) -> Result<(), StorageError> {
        guarded(NAME, || {
            self.apply(batch).and_then(|()| self.make_durable())
        })
    }

    fn commit_lazily(&self, batch: Batch) -> Result<(), StorageError> {
        guarded(NAME, || self.apply(batch))
    }

    fn flush(&self) -> Result<(), StorageError> {
        guarded(NAME, || self.make_durable())
    }

    fn compare_and_set(
        &self,
        table: Table,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool, StorageError> {
        check_entry(key, new)?;
        guarded(NAME, || {
            let swapped = self
                .db
                .compare_and_swap(row(table, key), expected, new)
                .map_err(engine_error)?;
            if swapped.is_ok() {
                self.make_durable()?;
            }
            Ok(swapped.is_ok())
        })
    }
}

/// Opens sled's database, waiting up to [`LINGER`] for its lock: sled lets go of its files some
/// time after the last handle was dropped, when its background threads have noticed.
fn open_unlocked(dir: &Path) -> Result<sled::Db, StorageError> {
    let config = sled::Config::new()
        .path(dir)
        .cache_capacity(CACHE_BYTES as u64);
    let config = config.flush_every_ms(Some(LAZY_FLUSH_MS));
    let start = Instant::now();
    loop {
        match config.open().map_err(|error| open_error(dir, error)) {
            Err(StorageError::Locked { .. }) if start.elapsed() < LINGER => {
                std::thread::sleep(POLL)
            }
            result => return result,
        }
    }
}

/// A table's name, a zero byte (which no name contains), the key.
fn row(table: Table, key: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(table.name().len() + 1 + key.len());
    row.extend_from_slice(table.name().as_bytes());
    row.push(0);
    row.extend_from_slice(key);
    row
}

fn engine_error(error: sled::Error) -> StorageError {
    match error {
        // A lost end of the log or a lost blob shows as one of these two kinds.
        sled::Error::Io(source)
            if matches!(
                source.kind(),
                std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::NotFound
            ) =>
        {
            StorageError::Damaged(format!("sled: {source}"))
        }
        sled::Error::Io(source) => StorageError::Io {
            what: "sled",
            source,
        },
        sled::Error::Unsupported(why) => StorageError::Engine(why),
        other => StorageError::Damaged(other.to_string()),
    }
}

fn open_error(dir: &Path, error: sled::Error) -> StorageError {
    match error {
        // sled has no kind of its own for a lock held elsewhere (`Config::try_lock`).
        sled::Error::Io(source) if source.to_string().contains("could not acquire lock") => {
            StorageError::Locked {
                path: dir.to_owned(),
            }
        }
        // "cannot change … across restarts": its settings file is not what it wrote.
        sled::Error::Unsupported(why) => StorageError::Damaged(why),
        other => engine_error(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sled_keeps_the_contract() {
        let dir = tempfile::tempdir().unwrap();
        super::super::conformance::conformance(dir.path(), &|path| {
            Box::new(SledStorage::open(path).unwrap())
        });
    }
}
