//! Backups: state, index, packs and key of a node at one moment, as a folder that a node can run
//! on.
//!
//! Databases are copied while nothing can change them (on a file system that shares blocks between
//! copies that takes no time; otherwise about a second for each GiB). Packs never change once they
//! are written, so they are hard links where the folder is on the same file system, and copies
//! elsewhere. What the packs hold is ciphertext; the key and the state are what makes a backup a
//! secret.
//!
//! Invariants: the file `backup.json` is written last, so a folder without it is no backup; nothing
//! is overwritten.

use super::error::{AdminError, Code};
use super::types::Saved;
use crate::config::Folder;
use crate::node::now_ms;
use crate::ops::Gates;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// What a complete backup says of itself.
const MANIFEST: &str = "backup.json";
/// Format of backups.
const FORMAT: u32 = 1;
/// Deepest folder in the packs' folder.
const MAX_DEPTH: u32 = 4;

/// What a backup says of itself.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    format: u32,
    version: String,
    made_ms: u64,
    files: u64,
    bytes: u64,
}

/// How the databases are kept from changing.
pub(super) enum Databases<'a> {
    /// A node runs on them, in this process.
    Running(&'a Gates),
    /// Nobody uses them: the caller has the folder's lock.
    AtRest,
}

/// Copies a node's folder into the new folder `to`. Blocks.
pub(super) fn back_up(
    folder: &Folder,
    to: &Path,
    databases: &Databases<'_>,
) -> Result<Saved, AdminError> {
    if !to.is_absolute() {
        return Err(AdminError::new(
            Code::Usage,
            "The path of a backup must be absolute.",
        ));
    }
    if to.starts_with(folder.root()) {
        return Err(AdminError::new(
            Code::Usage,
            "A backup inside the relay's own folder is none.",
        ));
    }
    make_empty(to)?;
    let into = Folder::new(to);
    let mut copy = Copy::default();
    let mut all = || -> Result<(), AdminError> {
        copy.tree(&folder.state(), &into.state(), How::Copy, 0)?;
        copy.tree(&folder.index(), &into.index(), How::Copy, 0)?;
        // While the index is still: none of the packs it names is deleted before it has a second
        // name.
        copy.tree(&folder.chunks(), &into.chunks(), How::Link, 0)?;
        copy.file(&folder.key(), &into.key(), How::Copy)
    };
    let result = match databases {
        Databases::AtRest => all(),
        Databases::Running(gates) => held(gates, &mut all),
    };
    let done = result.and_then(|()| copy.finish(to));
    // Half a backup is none, and would be in the way of the next attempt.
    done.inspect_err(|_| drop(fs::remove_dir_all(to)))
}

/// Works while neither database can change.
fn held(gates: &Gates, work: &mut dyn FnMut() -> Result<(), AdminError>) -> Result<(), AdminError> {
    gates.state.still(|| gates.index.still(work))??
}

/// Makes a node's folder out of the backup `from`. Blocks. The caller has made sure that no node
/// uses it.
pub(super) fn restore(folder: &Folder, from: &Path) -> Result<Saved, AdminError> {
    let manifest = read_manifest(from)?;
    if manifest.format != FORMAT {
        let message = format!(
            "The backup has format {}; this program knows {FORMAT}.",
            manifest.format
        );
        return Err(AdminError::new(Code::Usage, message).hint("Use a newer hither-relay."));
    }
    for taken in [
        folder.state(),
        folder.index(),
        folder.chunks(),
        folder.key(),
    ] {
        if !is_vacant(&taken) {
            let message = format!("There is a relay already: {} exists.", taken.display());
            return Err(AdminError::new(Code::Exists, message)
                .hint("Restore into an empty folder (--data DIR), or move what is there away."));
        }
    }
    make_private(folder.root()).map_err(|error| failed("making", folder.root(), &error))?;
    let source = Folder::new(from);
    let mut copy = Copy::default();
    let copied = copy
        .tree(&source.chunks(), &folder.chunks(), How::Link, 0)
        .and_then(|()| copy.tree(&source.index(), &folder.index(), How::Copy, 0))
        .and_then(|()| copy.tree(&source.state(), &folder.state(), How::Copy, 0))
        // Last: a folder with a key is a whole one.
        .and_then(|()| copy.file(&source.key(), &folder.key(), How::Copy));
    if let Err(error) = copied {
        for part in [folder.state(), folder.index(), folder.chunks()] {
            // They were not there before.
            let _ = fs::remove_dir_all(part);
        }
        return Err(error);
    }
    sync_folder(folder.root()).map_err(|error| failed("syncing", folder.root(), &error))?;
    Ok(copy.saved(folder.root()))
}

fn read_manifest(from: &Path) -> Result<Manifest, AdminError> {
    let no_backup = || {
        AdminError::new(
            Code::Usage,
            format!("{} is no backup, or an incomplete one.", from.display()),
        )
        .hint("A backup is a folder made by: hither-relay backup DIR")
    };
    let text = fs::read(from.join(MANIFEST)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => no_backup(),
        _ => failed("reading", &from.join(MANIFEST), &error),
    })?;
    serde_json::from_slice(&text).map_err(|_| no_backup())
}

/// Whether nothing is there, or an empty folder.
fn is_vacant(path: &Path) -> bool {
    match fs::symlink_metadata(path) {
        Err(error) => error.kind() == io::ErrorKind::NotFound,
        Ok(found) => {
            found.is_dir() && fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
        }
    }
}

fn make_empty(path: &Path) -> Result<(), AdminError> {
    if !is_vacant(path) {
        let message = format!("{} exists; nothing is overwritten.", path.display());
        return Err(
            AdminError::new(Code::Exists, message).hint("Name a folder that does not exist yet.")
        );
    }
    make_private(path).map_err(|error| failed("making", path, &error))
}

/// A folder that only this user may enter, and those above it.
fn make_private(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(path)?.sync_all()?;
    Ok(())
}

fn failed(doing: &str, path: &Path, error: &io::Error) -> AdminError {
    AdminError::io(
        format!("The backup failed {doing} {}", path.display()),
        error,
    )
}

#[derive(Clone, Copy, PartialEq)]
enum How {
    /// Its own bytes: the file changes.
    Copy,
    /// A second name where that is possible: the file never changes.
    Link,
}

/// What was copied.
#[derive(Default)]
struct Copy {
    files: u64,
    bytes: u64,
    linked: u64,
}

impl Copy {
    /// Copies a folder with everything in it; one that is not there is nothing.
    fn tree(&mut self, from: &Path, to: &Path, how: How, depth: u32) -> Result<(), AdminError> {
        let entries = match fs::read_dir(from) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(|error| failed("reading", from, &error))?,
        };
        make_private(to).map_err(|error| failed("making", to, &error))?;
        for entry in entries {
            let entry = entry.map_err(|error| failed("reading", from, &error))?;
            let kind = entry
                .file_type()
                .map_err(|error| failed("reading", &entry.path(), &error))?;
            let to = to.join(entry.file_name());
            if kind.is_dir() && depth < MAX_DEPTH {
                self.tree(&entry.path(), &to, how, depth + 1)?;
            } else if kind.is_file() && !is_staged(&entry.path()) {
                self.file(&entry.path(), &to, how)?;
            }
        }
        sync_folder(to).map_err(|error| failed("syncing", to, &error))
    }

    fn file(&mut self, from: &Path, to: &Path, how: How) -> Result<(), AdminError> {
        if how == How::Link && fs::hard_link(from, to).is_ok() {
            self.linked += 1;
            self.bytes += fs::metadata(to).map_or(0, |found| found.len());
        } else {
            match copy_file(from, to) {
                Ok(bytes) => self.bytes += bytes,
                // A pack that nobody needs any more was deleted just now; a node that never ran has
                // no key.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(failed("writing", to, &error)),
            }
        }
        self.files += 1;
        Ok(())
    }

    /// Says that the backup is complete, durably.
    fn finish(&self, to: &Path) -> Result<Saved, AdminError> {
        let version = env!("CARGO_PKG_VERSION").into();
        let manifest = Manifest {
            format: FORMAT,
            version,
            made_ms: now_ms(),
            files: self.files,
            bytes: self.bytes,
        };
        let path = to.join(MANIFEST);
        let write = || -> io::Result<()> {
            let mut file = File::create(&path)?;
            serde_json::to_writer_pretty(&mut file, &manifest)?;
            file.sync_all()?;
            sync_folder(to)
        };
        write().map_err(|error| failed("writing", &path, &error))?;
        Ok(self.saved(to))
    }

    fn saved(&self, path: &Path) -> Saved {
        Saved {
            path: PathBuf::from(path),
            files: self.files,
            bytes: self.bytes,
            linked: self.linked,
        }
    }
}

/// Packs that are being written have such names; they are in no index.
fn is_staged(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.to_string_lossy().contains('#'))
}

/// Copies bytes and mode, durably. Shares blocks with the original where the file system can.
fn copy_file(from: &Path, to: &Path) -> io::Result<u64> {
    let bytes = fs::copy(from, to)?;
    File::open(to)?.sync_all()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay() -> (tempfile::TempDir, Folder) {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path().join("relay"));
        for (path, text) in [
            (folder.state().join("store.redb"), "state"),
            (folder.index().join("store.redb"), "index"),
            (folder.chunks().join("packs/00/1"), "pack"),
            (folder.chunks().join("packs/00/2#1"), "staged"),
            (folder.chunks().join("store-id"), "id"),
            (folder.key(), "key"),
        ] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        (dir, folder)
    }

    #[test]
    fn what_is_backed_up_comes_back_and_nothing_is_overwritten() {
        let (dir, folder) = relay();
        let to = dir.path().join("backup");
        let saved = back_up(&folder, &to, &Databases::AtRest).unwrap();
        assert_eq!((saved.files, saved.linked), (5, 2));
        // The original goes on changing.
        fs::write(folder.state().join("store.redb"), "later").unwrap();
        let again = back_up(&folder, &to, &Databases::AtRest).unwrap_err();
        assert_eq!(again.code, Code::Exists);
        let new = Folder::new(dir.path().join("new"));
        restore(&new, &to).unwrap();
        assert_eq!(
            fs::read_to_string(new.state().join("store.redb")).unwrap(),
            "state"
        );
        assert_eq!(
            fs::read_to_string(new.chunks().join("packs/00/1")).unwrap(),
            "pack"
        );
        assert_eq!(fs::read_to_string(new.key()).unwrap(), "key");
        assert!(!new.chunks().join("packs/00/2#1").exists());
        assert_eq!(restore(&new, &to).unwrap_err().code, Code::Exists);
        assert_eq!(fs::read_to_string(new.key()).unwrap(), "key");
    }

    #[test]
    fn half_a_backup_is_none() {
        let (dir, folder) = relay();
        let to = dir.path().join("backup");
        back_up(&folder, &to, &Databases::AtRest).unwrap();
        fs::remove_file(to.join(MANIFEST)).unwrap();
        let new = Folder::new(dir.path().join("new"));
        assert_eq!(restore(&new, &to).unwrap_err().code, Code::Usage);
        assert!(!new.root().exists());
        let inside = back_up(&folder, &folder.root().join("backup"), &Databases::AtRest);
        assert_eq!(inside.unwrap_err().code, Code::Usage);
        let relative = back_up(&folder, Path::new("backup"), &Databases::AtRest);
        assert_eq!(relative.unwrap_err().code, Code::Usage);
    }
}
