//! A store that changes its engine: its tables are copied beside it, and the copy takes its place.
//!
//! The folders are `<dir>` and, beside it, `<dir>.new` (a copy that is being made), `<dir>.copied`
//! (a copy that is whole and durable) and `<dir>.old` (what the copy replaces). The renaming of
//! `.new` to `.copied` decides: before it the old store counts, after it the copy.
//!
//! Invariants: whenever the program ends, [`recover`] finds either the whole old store or the whole
//! copy, never a mixture; the old store is removed only after the copy was read back, is durable
//! and has its place. Memory is bounded by [`COPY_BYTES`], two page caches and one value.

use super::error::guarded;
use super::open::{beside, create_private, move_aside};
use super::{Batch, Engine, RedbStorage, SledStorage, Storage, StorageError, Table};
use hither_util::private_fs::sync_parent;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Bytes of keys and values that are copied with one batch, unless one value is longer.
const COPY_BYTES: usize = 4 << 20;
/// Room that is asked for beside the size of the old store, bytes: both engines allocate ahead.
const SPARE_ROOM: u64 = 32 << 20;
/// Most tables of a store. Their names stay in memory until the process ends.
const MAX_TABLES: usize = 1024;

/// A point of a migration at which the program may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing was written yet.
    Begun,
    /// The folder for the copy was made.
    Made,
    /// A batch was written.
    Batch,
    /// Everything was copied, and nothing of it is surely durable.
    Copied,
    /// The copy is durable.
    Durable,
    /// The copy was read back and is equal.
    Verified,
    /// The copy counts from here on.
    Decided,
    /// The old store has left its place.
    Away,
    /// The copy is in its place.
    InPlace,
    /// The old store is gone.
    Removed,
}

/// Calls of the migration at each [`Step`]; an error ends it there, as a kill would.
pub(super) type AtStep<'a> = dyn FnMut(Step) -> Result<(), StorageError> + 'a;

/// An engine that is copied: it can say everything it holds.
trait Source: Storage {
    /// Calls `visit(table, key, value)` for every entry, in the order of tables and keys.
    fn each(&self, visit: &mut Each<'_>) -> Result<(), StorageError>;
}

pub(super) type Each<'a> = dyn FnMut(&str, &[u8], &[u8]) -> Result<(), StorageError> + 'a;

impl Source for RedbStorage {
    fn each(&self, visit: &mut Each<'_>) -> Result<(), StorageError> {
        self.each_entry(visit)
    }
}

impl Source for SledStorage {
    fn each(&self, visit: &mut Each<'_>) -> Result<(), StorageError> {
        self.each_entry(visit)
    }
}

fn source(dir: &Path, engine: Engine) -> Result<Box<dyn Source>, StorageError> {
    Ok(match engine {
        Engine::Redb => Box::new(RedbStorage::open(dir)?),
        Engine::Sled => Box::new(SledStorage::open(dir)?),
    })
}

/// Puts right what a migration left when the program ended in the middle of it. Call it under the
/// store's lock, before anything is opened.
pub(super) fn recover(dir: &Path) -> Result<(), StorageError> {
    let at = |what| StorageError::io(what);
    remove(&beside(dir, ".new")).map_err(at("removing a copy of the store that is not whole"))?;
    let old = beside(dir, ".old");
    if beside(dir, ".copied").exists() {
        if dir.exists() && old.exists() {
            // An older version of this program has begun a new store in between: nothing is lost.
            let moved_to = move_aside(dir).map_err(at("moving a store aside"))?;
            tracing::warn!(moved_to = %moved_to.display(), "a store in the place of a migrated one was moved aside");
        }
        switch(dir, &mut |_| Ok(()))?;
    }
    if old.exists() {
        match dir.exists() {
            true => remove(&old).map_err(at("removing the store of the former engine"))?,
            false => rename(&old, dir)?,
        }
    }
    Ok(())
}

/// Copies the store in `dir` into another engine and gives the copy its place. Call it under the
/// store's lock, after [`recover`].
///
/// Errors: [`StorageError::NoRoom`] before anything is written or when the disk fills up; those of
/// the engines. After an error the old store is as it was, unless the copy was decided on.
pub(super) fn migrate(
    dir: &Path,
    (from, to): (Engine, Engine),
    at: &mut AtStep<'_>,
) -> Result<(), StorageError> {
    at(Step::Begun)?;
    tracing::info!(%from, %to, "the metadata store changes its engine");
    let needed = size(dir)
        .map_err(StorageError::io("measuring the store"))?
        .saturating_add(SPARE_ROOM);
    let no_room = |free: u64| StorageError::NoRoom {
        path: dir.to_owned(),
        engine: to.name(),
        needed,
        free,
    };
    if let Some(free) = free_room(dir)
        && free < needed
    {
        return Err(no_room(free));
    }
    let new = beside(dir, ".new");
    match make_copy(dir, (from, to), &new, at) {
        Err(error) if error.is_full() => {
            let free = free_room(dir).unwrap_or(0);
            remove(&new).map_err(StorageError::io("removing a copy of the store"))?;
            return Err(no_room(free));
        }
        made => made?,
    }
    rename(&new, &beside(dir, ".copied"))?;
    at(Step::Decided)?;
    switch(dir, at)?;
    remove(&beside(dir, ".old"))
        .map_err(StorageError::io("removing the store of the former engine"))?;
    at(Step::Removed)?;
    tracing::info!(engine = %to, "the metadata store has another engine");
    Ok(())
}

/// Gives the whole copy its place.
fn switch(dir: &Path, at: &mut AtStep<'_>) -> Result<(), StorageError> {
    if dir.exists() {
        rename(dir, &beside(dir, ".old"))?;
    }
    at(Step::Away)?;
    rename(&beside(dir, ".copied"), dir)?;
    at(Step::InPlace)
}

/// Copies a store into the folder `new`; when it returns, the copy is durable and was read back.
fn make_copy(
    dir: &Path,
    (from, to): (Engine, Engine),
    new: &Path,
    at: &mut AtStep<'_>,
) -> Result<(), StorageError> {
    let old = source(dir, from)?;
    create_private(new).map_err(StorageError::io("making the folder of a copy"))?;
    at(Step::Made)?;
    let copy = source(new, to)?;
    let copied = copy_all(old.as_ref(), copy.as_ref(), at)?;
    drop(old);
    closed(dir, from)?;
    at(Step::Copied)?;
    copy.flush()?;
    drop(copy);
    closed(new, to)?;
    sync_all(new).map_err(StorageError::io("syncing a copy of the store"))?;
    at(Step::Durable)?;
    let copy = source(new, to)?;
    let read = digest_of(copy.as_ref())?;
    drop(copy);
    closed(new, to)?;
    if read != copied {
        return Err(StorageError::Engine(
            "what was copied into the other engine reads differently there".into(),
        ));
    }
    // Reading may have written: sled keeps snapshots when it is opened and closed.
    sync_all(new).map_err(StorageError::io("syncing a copy of the store"))?;
    at(Step::Verified)
}

/// Sums up a store: the number of its entries and a hash of all of them.
#[derive(Default)]
struct Digest {
    entries: u64,
    hash: blake3::Hasher,
}

impl Digest {
    fn add(&mut self, table: &str, key: &[u8], value: &[u8]) {
        self.entries += 1;
        for part in [table.as_bytes(), key, value] {
            self.hash.update(&(part.len() as u64).to_le_bytes());
            self.hash.update(part);
        }
    }

    fn finish(&self) -> (u64, blake3::Hash) {
        (self.entries, self.hash.finalize())
    }
}

fn digest_of(store: &dyn Source) -> Result<(u64, blake3::Hash), StorageError> {
    let mut digest = Digest::default();
    store.each(&mut |table, key, value| {
        digest.add(table, key, value);
        Ok(())
    })?;
    Ok(digest.finish())
}

/// Writes everything into the copy, batch by batch; says what was written.
fn copy_all(
    old: &dyn Source,
    copy: &dyn Source,
    at: &mut AtStep<'_>,
) -> Result<(u64, blake3::Hash), StorageError> {
    let (mut digest, mut tables, mut batch) = (Digest::default(), Tables::default(), Batch::new());
    old.each(&mut |table, key, value| {
        digest.add(table, key, value);
        batch.put(tables.named(table)?, key, value);
        if batch.bytes() >= COPY_BYTES {
            copy.commit_lazily(std::mem::take(&mut batch))?;
            at(Step::Batch)?;
        }
        Ok(())
    })?;
    copy.commit_lazily(batch)?;
    at(Step::Batch)?;
    Ok(digest.finish())
}

/// The tables of the old store, by the names that it says.
#[derive(Default)]
struct Tables(BTreeMap<String, Table>);

impl Tables {
    fn named(&mut self, name: &str) -> Result<Table, StorageError> {
        if let Some(table) = self.0.get(name) {
            return Ok(*table);
        }
        let known = !name.is_empty()
            && name.len() <= 64
            && name
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'));
        if !known || self.0.len() >= MAX_TABLES {
            return Err(StorageError::Damaged(format!(
                "{name:?} is no name of a table"
            )));
        }
        // Tables are named by constants: a name that is read has to live as long as one.
        let table = Table(Box::leak(name.to_owned().into_boxed_str()));
        self.0.insert(name.to_owned(), table);
        Ok(table)
    }
}

/// Waits until an engine has let go of its files.
fn closed(dir: &Path, engine: Engine) -> Result<(), StorageError> {
    match engine {
        Engine::Redb => Ok(()),
        Engine::Sled => guarded("sled", || SledStorage::wait_closed(dir)),
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), StorageError> {
    std::fs::rename(from, to)
        .and_then(|()| sync_parent(to))
        .map_err(StorageError::io(
            "giving the store of another engine its name",
        ))
}

/// Removes a folder, durably; that there is none is no error.
fn remove(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.and_then(|()| sync_parent(folder)),
    }
}

/// Everything below a folder, folders after what is in them.
fn below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            all.extend(below(&entry.path())?);
        }
        all.push(entry.path());
    }
    Ok(all)
}

/// Bytes of all files of a store.
fn size(dir: &Path) -> io::Result<u64> {
    below(dir)?
        .iter()
        .try_fold(0_u64, |sum, path| Ok(sum + path.metadata()?.len()))
}

/// Makes durable what is in a folder, names included.
fn sync_all(folder: &Path) -> io::Result<()> {
    for path in below(folder)? {
        if cfg!(unix) || path.is_file() {
            File::open(&path)?.sync_all()?;
        }
    }
    if cfg!(unix) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Bytes that this user may still write to the disk of a folder, where the system tells.
fn free_room(dir: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let disk = rustix::fs::statvfs(dir).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let _ = dir;
        None
    }
}

#[cfg(test)]
mod tests;
