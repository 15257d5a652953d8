//! Opening a store from disk, and getting rid of one that is damaged.
//!
//! Invariants: a damaged store never keeps the daemon from starting and is never deleted, only
//! moved aside; a store that is merely locked, too new, unreadable for lack of permission or out of
//! space is left alone and reported.

use super::{
    Batch, RedbStorage, SledStorage, Storage, StorageError, Table, Visit, migrate, redb, sled,
};
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What keeps the store on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// sled 0.34.
    Sled,
    /// redb 4.
    Redb,
}

impl Engine {
    /// Its name, as configurations have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sled => "sled",
            Self::Redb => "redb",
        }
    }

    /// The engine of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Sled, Self::Redb]
            .into_iter()
            .find(|engine| engine.name() == name)
    }

    /// The engine whose files are in the folder of a store; `None`: those of neither.
    pub fn found(dir: &Path) -> Option<Self> {
        let has = |name| dir.join(name).exists();
        match () {
            () if has(redb::FILE) => Some(Self::Redb),
            () if has(sled::FILE) => Some(Self::Sled),
            () => None,
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The engine a daemon uses: the one that keeps its word when the power goes.
///
/// Measured with `tests/power_loss` (`HITHER_POWER_ROUNDS=100 cargo test -p hither-content --test
/// power_loss`), the file system shut down under three writing threads, rounds in which the store
/// did not open, had lost acknowledged batches or held half a batch:
///
/// | | values up to 320 KiB | up to 1 KiB |
/// |---|---|---|
/// | redb on ext4 | 0 of 100 | 0 of 300 |
/// | redb on xfs | 0 of 100 | 0 of 100 |
/// | sled on ext4, fsynced by us after each flush | 94 of 100 | 0 of 100 |
/// | sled on ext4, its own flush alone | – | 94 of 100 |
///
/// sled writes values too large for its log into files that it never fsyncs and does not open
/// without them ("tried to serialize Uninitialized"), and on Linux its flush ends in
/// `sync_file_range`, which does not make a file's new length durable.
pub const DEFAULT_ENGINE: Engine = Engine::Redb;

/// How a store was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// There was none: it is new and empty.
    Fresh,
    /// It was there and is sound.
    Existing,
    /// It was damaged; what is open now is new and empty.
    Rebuilt {
        /// Where the damaged one is now.
        moved_to: PathBuf,
        /// What was wrong with it.
        reason: String,
    },
}

/// Format of the tables, raised when their layout changes in a way that an older build would
/// misread.
const FORMAT: u32 = 1;
const MARKER_TABLE: Table = Table::new("hither-store");
const MARKER_KEY: &[u8] = b"format";
/// A file of this name inside the folder asks the next opening for a full check of every page.
const SUSPECT: &str = "suspect";

/// Opens the store in the folder `dir`, creating it when missing (mode 0700: the store holds
/// secrets of shares).
///
/// One process at a time: the lock is the file `<dir>.lock`. A store of another engine is copied
/// into this one first (`migrate.rs`), which takes some seconds for each GiB and as much room again
/// on the disk. A store that does not open, or that was seen damaged while in use and now fails a
/// full check, is moved to `<dir>.broken-<unix seconds>` and a fresh one is made.
///
/// Errors: [`StorageError::Locked`], [`StorageError::TooNew`], [`StorageError::NoRoom`], and what
/// the system refused; the store is left alone then.
pub fn open(dir: &Path, engine: Engine) -> Result<(Arc<dyn Storage>, Opened), StorageError> {
    if let Some(above) = dir.parent() {
        create_private(above).map_err(StorageError::io("creating the store's folder"))?;
    }
    let lock = Arc::new(lock(dir)?);
    migrate::recover(dir)?;
    create_private(dir).map_err(StorageError::io("creating the store's folder"))?;
    let opened = match Engine::found(dir) {
        Some(found) if found != engine => change_engine(dir, (found, engine), &lock),
        _ => Ok(()),
    };
    match opened.and_then(|()| open_once(dir, engine, &lock)) {
        Ok((store, true)) => Ok((store, Opened::Fresh)),
        Ok((store, false)) => Ok((store, Opened::Existing)),
        Err(error) if error.is_damage() => {
            let moved_to =
                move_aside(dir).map_err(StorageError::io("moving a damaged store aside"))?;
            let reason = error.to_string();
            tracing::error!(%reason, moved_to = %moved_to.display(), "the metadata store was damaged");
            create_private(dir).map_err(StorageError::io("creating the store's folder"))?;
            let (store, _) = open_once(dir, engine, &lock)?;
            Ok((store, Opened::Rebuilt { moved_to, reason }))
        }
        Err(error) => Err(error),
    }
}

/// Copies a store into another engine. It is opened as its own engine before, so that one of a
/// later version is refused and one that is damaged is known for it.
fn change_engine(
    dir: &Path,
    (from, to): (Engine, Engine),
    lock: &Arc<File>,
) -> Result<(), StorageError> {
    drop(open_once(dir, from, lock)?);
    migrate::migrate(dir, (from, to), &mut |_| Ok(()))
}

/// Opens and checks the store; also says whether it is new.
fn open_once(
    dir: &Path,
    engine: Engine,
    lock: &Arc<File>,
) -> Result<(Arc<dyn Storage>, bool), StorageError> {
    let suspect = dir.join(SUSPECT);
    let is_suspect = suspect.exists();
    let store: Arc<dyn Storage> = match engine {
        Engine::Redb => {
            let mut inner = RedbStorage::open(dir)?;
            if is_suspect {
                inner.check()?;
            }
            Arc::new(OpenStore::new(inner, &suspect, lock))
        }
        Engine::Sled => {
            let inner = SledStorage::open(dir)?;
            if is_suspect {
                inner.check()?;
            }
            Arc::new(OpenStore::new(inner, &suspect, lock))
        }
    };
    let fresh = check_format(store.as_ref())?;
    match std::fs::remove_file(&suspect) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StorageError::io(
            "removing the mark of a suspect store",
        )(error)),
        _ => Ok((store, fresh)),
    }
}

/// Reads the marker, or writes it into a store that has none; says whether it had none.
fn check_format(store: &dyn Storage) -> Result<bool, StorageError> {
    let Some(value) = store.get(MARKER_TABLE, MARKER_KEY)? else {
        let mut batch = Batch::new();
        batch.put(MARKER_TABLE, MARKER_KEY, &FORMAT.to_le_bytes());
        store.commit(batch)?;
        return Ok(true);
    };
    let found = <[u8; 4]>::try_from(value.as_slice())
        .map(u32::from_le_bytes)
        .map_err(|_| StorageError::Damaged("its format marker is not a number".into()))?;
    match found {
        0 => Err(StorageError::Damaged("its format marker is zero".into())),
        1..=FORMAT => Ok(false),
        _ => Err(StorageError::TooNew {
            found,
            known: FORMAT,
        }),
    }
}

pub(super) use hither_util::private_fs::create_folder as create_private;

/// `dir` with `suffix` added to its last component.
pub(super) fn beside(dir: &Path, suffix: &str) -> PathBuf {
    let mut name = dir.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The lock is beside the folder, not in it, so that it stays when the folder is moved aside.
fn lock(dir: &Path) -> Result<File, StorageError> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(beside(dir, ".lock"))
        .map_err(StorageError::io("opening the store's lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StorageError::Locked {
            path: dir.to_owned(),
        }),
        Err(std::fs::TryLockError::Error(error)) => {
            Err(StorageError::io("locking the store")(error))
        }
    }
}

pub(super) fn move_aside(dir: &Path) -> io::Result<PathBuf> {
    let seconds = hither_util::clock::unix_seconds();
    let mut moved_to = beside(dir, &format!(".broken-{seconds}"));
    let mut count = 1;
    while moved_to.exists() {
        count += 1;
        moved_to = beside(dir, &format!(".broken-{seconds}-{count}"));
    }
    std::fs::rename(dir, &moved_to)?;
    Ok(moved_to)
}

/// An engine together with its lock; remembers on disk when the engine reports damage.
struct OpenStore<S> {
    // Dropped in this order: the engine closes its files before the lock is given up.
    inner: S,
    suspect: PathBuf,
    _lock: Arc<File>,
}

impl<S> OpenStore<S> {
    fn new(inner: S, suspect: &Path, lock: &Arc<File>) -> Self {
        Self {
            inner,
            suspect: suspect.to_owned(),
            _lock: Arc::clone(lock),
        }
    }

    fn noting<T>(&self, result: Result<T, StorageError>) -> Result<T, StorageError> {
        if let Err(error) = &result
            && error.is_damage()
        {
            tracing::error!(%error, "the metadata store is damaged; it is checked when it is next opened");
            if let Err(error) = File::create(&self.suspect) {
                tracing::warn!(%error, "the damaged store could not be marked");
            }
        }
        result
    }
}

impl<S: Storage> Storage for OpenStore<S> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.noting(self.inner.get(table, key))
    }

    fn scan(&self, table: Table, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), StorageError> {
        self.noting(self.inner.scan(table, prefix, visit))
    }

    fn commit(&self, batch: Batch) -> Result<(), StorageError> {
        self.noting(self.inner.commit(batch))
    }

    fn commit_lazily(&self, batch: Batch) -> Result<(), StorageError> {
        self.noting(self.inner.commit_lazily(batch))
    }

    fn flush(&self) -> Result<(), StorageError> {
        self.noting(self.inner.flush())
    }

    fn compare_and_set(
        &self,
        table: Table,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool, StorageError> {
        self.noting(self.inner.compare_and_set(table, key, expected, new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: Table = Table::new("things");

    fn put(store: &dyn Storage) {
        let mut batch = Batch::new();
        for i in 0..2000u32 {
            batch.put(TABLE, &i.to_be_bytes(), &[i as u8; 100]);
        }
        store.commit(batch).unwrap();
    }

    fn each_engine(test: impl Fn(Engine, &Path)) {
        for engine in [Engine::Sled, Engine::Redb] {
            let dir = tempfile::tempdir().unwrap();
            test(engine, &dir.path().join("store"));
        }
    }

    #[test]
    fn a_store_is_fresh_once_and_then_exists() {
        each_engine(|engine, dir| {
            let (store, opened) = open(dir, engine).unwrap();
            assert_eq!(opened, Opened::Fresh);
            put(store.as_ref());
            drop(store);
            let (store, opened) = open(dir, engine).unwrap();
            assert_eq!(opened, Opened::Existing);
            assert!(store.get(TABLE, &1u32.to_be_bytes()).unwrap().is_some());
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt;
                assert_eq!(dir.metadata().unwrap().permissions().mode() & 0o777, 0o700);
            }
        });
    }

    #[test]
    fn a_store_in_use_is_locked_not_broken() {
        each_engine(|engine, dir| {
            let (_store, _) = open(dir, engine).unwrap();
            assert!(matches!(
                open(dir, engine),
                Err(StorageError::Locked { .. })
            ));
        });
    }

    #[test]
    fn engines_have_a_lock_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let _redb = RedbStorage::open(dir.path()).unwrap();
        assert!(matches!(
            RedbStorage::open(dir.path()),
            Err(StorageError::Locked { .. })
        ));
        let dir = tempfile::tempdir().unwrap();
        let _sled = SledStorage::open(dir.path()).unwrap();
        assert!(matches!(
            SledStorage::open(dir.path()),
            Err(StorageError::Locked { .. })
        ));
    }

    #[test]
    fn a_store_of_a_later_version_is_left_alone() {
        each_engine(|engine, dir| {
            let (store, _) = open(dir, engine).unwrap();
            let mut batch = Batch::new();
            batch.put(MARKER_TABLE, MARKER_KEY, &9u32.to_le_bytes());
            store.commit(batch).unwrap();
            drop(store);
            assert!(matches!(
                open(dir, engine),
                Err(StorageError::TooNew {
                    found: 9,
                    known: FORMAT
                })
            ));
            // Nor is it copied into another engine.
            for other in [Engine::Sled, Engine::Redb] {
                assert!(matches!(
                    open(dir, other),
                    Err(StorageError::TooNew { found: 9, .. })
                ));
            }
        });
    }

    /// Overwrites the whole data file.
    fn ruin(engine: Engine, dir: &Path) {
        match engine {
            Engine::Redb => std::fs::write(dir.join(redb::FILE), vec![0x5a; 100_000]).unwrap(),
            // sled takes a data file of nonsense for an empty one; its settings file it does not
            // forgive.
            Engine::Sled => {
                std::fs::write(dir.join("conf"), b"nonsense that is long enough").unwrap()
            }
        }
    }

    #[test]
    fn a_broken_store_is_moved_aside_and_rebuilt() {
        each_engine(|engine, dir| {
            let (store, _) = open(dir, engine).unwrap();
            put(store.as_ref());
            drop(store);
            ruin(engine, dir);
            let (store, opened) = open(dir, engine).unwrap();
            let Opened::Rebuilt { moved_to, reason } = opened else {
                panic!("{engine:?}: {opened:?}")
            };
            assert!(moved_to.is_dir() && !reason.is_empty());
            assert_eq!(store.get(TABLE, &1u32.to_be_bytes()).unwrap(), None);
            put(store.as_ref());
        });
    }

    #[test]
    fn a_store_that_was_being_made_when_the_power_went_is_no_damaged_one() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("store");
        std::fs::create_dir(&dir).unwrap();
        // What redb leaves when it has not written its first page.
        std::fs::write(dir.join("store.redb.new"), vec![0; 1_000_000]).unwrap();
        let (store, opened) = open(&dir, Engine::Redb).unwrap();
        assert_eq!(opened, Opened::Fresh);
        put(store.as_ref());
        drop(store);
        assert_eq!(open(&dir, Engine::Redb).unwrap().1, Opened::Existing);
        let names = std::fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        assert_eq!(names.collect::<Vec<_>>(), [redb::FILE]);
    }

    #[test]
    fn a_suspect_store_is_checked_in_full() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("store");
        let (store, _) = open(&dir, Engine::Redb).unwrap();
        put(store.as_ref());
        drop(store);
        // One flipped bit in the middle of some value: nothing notices unless every checksum is
        // verified.
        let file = dir.join(redb::FILE);
        let mut bytes = std::fs::read(&file).unwrap();
        let at = bytes
            .windows(100)
            .position(|window| window == [77; 100])
            .unwrap();
        bytes[at + 50] ^= 1;
        std::fs::write(&file, bytes).unwrap();
        assert_eq!(open(&dir, Engine::Redb).unwrap().1, Opened::Existing);
        File::create(dir.join(SUSPECT)).unwrap();
        assert!(matches!(
            open(&dir, Engine::Redb).unwrap().1,
            Opened::Rebuilt { .. }
        ));
        assert_eq!(open(&dir, Engine::Redb).unwrap().1, Opened::Existing);
    }
}
