//! The contract on redb 4: one redb table per [`Table`], one redb transaction per batch.
//!
//! Durability is redb's own: `Immediate` fsyncs and, by a checksummed double root, leaves the old
//! or the new state behind whenever power is lost; `None` is made durable by the next `Immediate`.
//! redb cannot reuse space freed by transactions that are not durable yet, so at most [`MAX_LAZY`]
//! of them, or [`MAX_LAZY_BYTES`], wait for one.

use super::error::guarded;
use super::migrate::Each;
use super::{Batch, CACHE_BYTES, Storage, StorageError, Table, Visit, check_entry};
use hither_util::sync::RwLock;
use redb::{
    Durability, ReadableDatabase, ReadableTable, TableDefinition, TableError, TableHandle,
    WriteTransaction,
};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Most lazily committed batches that wait for a durable one.
const MAX_LAZY: usize = 1024;
/// Most bytes of lazily committed batches that wait for a durable one.
const MAX_LAZY_BYTES: usize = 8 * 1024 * 1024;
const NAME: &str = "redb";
/// Name of the database file inside the store's folder.
pub(super) const FILE: &str = "store.redb";
/// Its name while it is made.
const NEW_FILE: &str = "store.redb.new";

type Rows = redb::ReadOnlyTable<&'static [u8], &'static [u8]>;
type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;

const fn definition(table: Table) -> Definition {
    TableDefinition::new(table.name())
}

/// A [`Storage`] in a redb database.
pub struct RedbStorage {
    dir: PathBuf,
    /// `None` only after it had to be opened again and could not.
    db: RwLock<Option<redb::Database>>,
    /// Batches and bytes committed lazily since the last durable commit. Only a bound: need not be
    /// exact.
    lazy: AtomicUsize,
    lazy_bytes: AtomicUsize,
}

impl RedbStorage {
    /// Opens the database in folder `dir`, creating both when missing. After an unclean end redb
    /// verifies every page's checksum first, which takes a few seconds per GiB.
    pub fn open(dir: &Path) -> Result<Self, StorageError> {
        std::fs::create_dir_all(dir).map_err(StorageError::io("creating the store's folder"))?;
        if !dir.join(FILE).exists() {
            guarded(NAME, || make_file(dir))?;
        }
        let db = guarded(NAME, || open_file(dir, FILE))?;
        Ok(Self {
            dir: dir.to_owned(),
            db: RwLock::new(Some(db)),
            lazy: AtomicUsize::new(0),
            lazy_bytes: AtomicUsize::new(0),
        })
    }

    /// Verifies every page's checksum.
    pub(super) fn check(&mut self) -> Result<(), StorageError> {
        let db = self.db.get_mut();
        match guarded(NAME, || {
            db.as_mut()
                .map(|db| db.check_integrity().map_err(engine_error))
                .transpose()
        })? {
            Some(true) => Ok(()),
            _ => Err(StorageError::Damaged(
                "redb's integrity check failed".into(),
            )),
        }
    }

    /// Calls `visit(table, key, value)` for every entry of a snapshot of now, by table and key.
    pub(super) fn each_entry(&self, visit: &mut Each<'_>) -> Result<(), StorageError> {
        guarded(NAME, || {
            let snapshot = self.with_db(|db| db.begin_read().map_err(Into::into))?;
            let tables = snapshot.list_tables().map_err(engine_error)?;
            let mut names: Vec<String> = tables.map(|table| table.name().to_owned()).collect();
            names.sort();
            for name in names {
                let definition = TableDefinition::<&[u8], &[u8]>::new(&name);
                let rows = snapshot.open_table(definition).map_err(engine_error)?;
                for row in rows.range::<&[u8]>(..).map_err(engine_error)? {
                    let (key, value) = row.map_err(engine_error)?;
                    visit(&name, key.value(), value.value())?;
                }
            }
            Ok(())
        })
    }

    /// Begins something. After the system has failed to write once, redb does nothing more until it
    /// is opened again, which is tried here: the disk may have room again.
    fn with_db<T>(
        &self,
        begin: impl Fn(&redb::Database) -> Result<T, redb::Error>,
    ) -> Result<T, StorageError> {
        if let Some(db) = &*self.db.read() {
            match begin(db) {
                Err(redb::Error::PreviousIo) => {}
                begun => return begun.map_err(engine_error),
            }
        }
        let mut place = self.db.write();
        // Somebody else may have opened it meanwhile.
        if let Some(db) = &*place {
            match begin(db) {
                Err(redb::Error::PreviousIo) => {}
                begun => return begun.map_err(engine_error),
            }
        }
        // Two handles would lock each other out.
        *place = None;
        let db = open_file(&self.dir, FILE)?;
        tracing::warn!("the store was opened again after the system had failed to write");
        let begun = begin(&db).map_err(engine_error);
        *place = Some(db);
        begun
    }

    fn begin(&self, durability: Durability) -> Result<WriteTransaction, StorageError> {
        let mut transaction = self.with_db(|db| db.begin_write().map_err(Into::into))?;
        transaction
            .set_durability(durability)
            .map_err(engine_error)?;
        Ok(transaction)
    }

    fn finish(
        &self,
        transaction: WriteTransaction,
        durability: Durability,
    ) -> Result<(), StorageError> {
        transaction.commit().map_err(engine_error)?;
        if matches!(durability, Durability::Immediate) {
            self.lazy.store(0, Ordering::Relaxed);
            self.lazy_bytes.store(0, Ordering::Relaxed);
        }
        Ok(())
    }

    fn apply(&self, batch: &Batch, durability: Durability) -> Result<(), StorageError> {
        let transaction = self.begin(durability)?;
        for (&table, changes) in &batch.changes {
            let mut rows = transaction
                .open_table(definition(table))
                .map_err(engine_error)?;
            for (key, value) in changes {
                match value {
                    Some(value) => rows.insert(key.as_slice(), value.as_slice()),
                    None => rows.remove(key.as_slice()),
                }
                .map_err(engine_error)?;
            }
        }
        self.finish(transaction, durability)
    }

    /// The table for reading in a snapshot of now, or `None` if nothing was ever put into it.
    fn rows(&self, table: Table) -> Result<Option<Rows>, StorageError> {
        self.with_db(|db| match db.begin_read()?.open_table(definition(table)) {
            Ok(rows) => Ok(Some(rows)),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        })
    }
}

/// Makes an empty database in folder `dir`. It has its name only once it is whole and durable:
/// power that goes while redb makes one leaves a file that redb takes for none of its own, and a
/// store that is taken for damaged.
fn make_file(dir: &Path) -> Result<(), StorageError> {
    let new = dir.join(NEW_FILE);
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(StorageError::io("removing a store that was never whole")(
                error,
            ));
        }
        _ => {}
    }
    drop(open_file(dir, NEW_FILE)?);
    let synced = std::fs::File::options()
        .write(true)
        .open(&new)
        .and_then(|file| file.sync_all());
    synced.map_err(StorageError::io("syncing the new store"))?;
    std::fs::rename(&new, dir.join(FILE)).map_err(StorageError::io("naming the new store"))?;
    #[cfg(unix)]
    std::fs::File::open(dir)
        .and_then(|folder| folder.sync_all())
        .map_err(StorageError::io("syncing the store's folder"))?;
    Ok(())
}

/// Opens, or makes, the database of this name in a folder.
fn open_file(dir: &Path, name: &str) -> Result<redb::Database, StorageError> {
    redb::Database::builder()
        .set_cache_size(CACHE_BYTES)
        .create(dir.join(name))
        .map_err(|error| match error {
            redb::DatabaseError::DatabaseAlreadyOpen => StorageError::Locked {
                path: dir.to_owned(),
            },
            redb::DatabaseError::UpgradeRequired(format) => {
                StorageError::Engine(format!("the store has redb's old file format {format}"))
            }
            other => engine_error(other),
        })
}

impl Storage for RedbStorage {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        guarded(NAME, || {
            let Some(rows) = self.rows(table)? else {
                return Ok(None);
            };
            Ok(rows
                .get(key)
                .map_err(engine_error)?
                .map(|value| value.value().to_vec()))
        })
    }

    fn scan(&self, table: Table, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), StorageError> {
        let Some(rows) = guarded(NAME, || self.rows(table))? else {
            return Ok(());
        };
        let mut rows = guarded(NAME, || rows.range::<&[u8]>(prefix..).map_err(engine_error))?;
        while let Some((key, value)) =
            guarded(NAME, || rows.next().transpose().map_err(engine_error))?
        {
            if !key.value().starts_with(prefix) || visit(key.value(), value.value()).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn commit(&self, batch: Batch) -> Result<(), StorageError> {
        batch.check()?;
        guarded(NAME, || self.apply(&batch, Durability::Immediate))
    }

    fn commit_lazily(&self, batch: Batch) -> Result<(), StorageError> {
        batch.check()?;
        let waiting = self.lazy.fetch_add(1, Ordering::Relaxed);
        let bytes = self.lazy_bytes.fetch_add(batch.bytes, Ordering::Relaxed);
        let full = waiting >= MAX_LAZY || bytes >= MAX_LAZY_BYTES;
        guarded(NAME, || {
            self.apply(
                &batch,
                if full {
                    Durability::Immediate
                } else {
                    Durability::None
                },
            )
        })
    }

    fn flush(&self) -> Result<(), StorageError> {
        guarded(NAME, || {
            self.finish(self.begin(Durability::Immediate)?, Durability::Immediate)
        })
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
            let transaction = self.begin(Durability::Immediate)?;
            {
                let mut rows = transaction
                    .open_table(definition(table))
                    .map_err(engine_error)?;
                let same = rows
                    .get(key)
                    .map_err(engine_error)?
                    .as_ref()
                    .map(|value| value.value())
                    == expected;
                if !same {
                    return Ok(false); // dropping the transaction aborts it
                }
                match new {
                    Some(new) => rows.insert(key, new),
                    None => rows.remove(key),
                }
                .map_err(engine_error)?;
            }
            self.finish(transaction, Durability::Immediate)?;
            Ok(true)
        })
    }
}

impl Drop for RedbStorage {
    /// A clean end loses nothing, also what was committed lazily. Nobody is left to hear of an
    /// error.
    fn drop(&mut self) {
        if self.lazy.load(Ordering::Relaxed) > 0
            && let Err(error) = self.flush()
        {
            tracing::warn!(%error, "the last lazily committed metadata may be lost");
        }
    }
}

fn engine_error(error: impl Into<redb::Error>) -> StorageError {
    use std::io::ErrorKind;
    match error.into() {
        // No magic number, and a file cut short, are reported as these two kinds.
        redb::Error::Io(source)
            if matches!(
                source.kind(),
                ErrorKind::InvalidData | ErrorKind::UnexpectedEof
            ) =>
        {
            StorageError::Damaged(format!("redb: {source}"))
        }
        redb::Error::Io(source) => StorageError::Io {
            what: "redb",
            source,
        },
        redb::Error::Corrupted(why) => StorageError::Damaged(why),
        error @ (redb::Error::TableTypeMismatch { .. }
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TypeDefinitionChanged { .. }
        | redb::Error::RepairAborted) => StorageError::Damaged(error.to_string()),
        other => StorageError::Engine(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redb_keeps_the_contract() {
        let dir = tempfile::tempdir().unwrap();
        super::super::conformance::conformance(dir.path(), &|path| {
            Box::new(RedbStorage::open(path).unwrap())
        });
    }
}
