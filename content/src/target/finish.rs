//! Ending a fetch: modes, times, symlinks and empty entries, then into place.
//!
//! Invariants: everything is durable before anything has its final name; nothing that exists is replaced unless the
//! user asked for it; folders get their modes last, because a folder that may not be written to could not be filled.
//! Every step can be repeated after a crash.

use super::check::{find_conflict, free_name};
use super::write::FEW;
use super::{FetchTarget, FinishError, IfExists, MAX_NAMES, WriteError};
use crate::holding::Holding;
use crate::place::Place;
use crate::platform::{self, Dir, Kind, Stat};
use crate::stamp::{FileStamp, Stamps};
use hither_proto::{Entry, EntryKind};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::sync::Arc;

/// A finished fetch.
#[derive(Debug)]
pub struct Finished {
    /// Where the share is.
    pub place: Place,
    /// Its files' stamps.
    pub stamps: Stamps,
    /// For serving it.
    pub holding: Holding,
}

impl FetchTarget {
    /// Completes the partial and moves it into place. Every position must have been written or copied, and no other
    /// thread may be writing any more.
    ///
    /// After an error the partial (or, when files are being replaced one by one, the rest of it) is still there, and
    /// finishing can be tried again.
    pub fn finish(&self) -> Result<Finished, FinishError> {
        self.finish_with(self.if_exists)
    }

    /// Like [`Self::finish`], with another answer to the question what to do about an existing file.
    pub fn finish_with(&self, if_exists: IfExists) -> Result<Finished, FinishError> {
        self.still_there()?;
        let entries = self.manifest().entries().len() as u32;
        for entry in 0..entries {
            self.complete(entry, if_exists)?;
        }
        self.access.close();
        self.make_durable()?;
        let name = self.move_into_place(if_exists)?;
        self.above.sync().map_err(|error| self.failed(0, error))?;
        let place = Place { parent: self.access.place().parent.clone(), name };
        let layout = Arc::clone(self.access.layout());
        let stamps = self.stamps(&place);
        let holding = Holding::new(self.access.handles(), place.clone(), layout, stamps.clone());
        Ok(Finished { place, stamps, holding })
    }

    /// Makes sure that a file, or symlink, or folder is there and gives a file its mode and time.
    fn complete(&self, entry: u32, if_exists: IfExists) -> Result<(), FinishError> {
        match &self.entry(entry).kind {
            EntryKind::Folder => {
                let made = self
                    .access
                    .folder_or(entry, &|above, folder, error| self.make_folder(above, folder, error));
                made.map(drop).map_err(|error| self.failed(entry, error).into())
            }
            EntryKind::Symlink { target } => {
                self.complete_symlink(entry, target).map_err(|error| self.failed(entry, error).into())
            }
            EntryKind::File { size, .. } => self.complete_file(entry, *size, if_exists),
        }
    }

    fn complete_symlink(&self, entry: u32, target: &str) -> io::Result<()> {
        let (above, name) = (self.folder_for_writing(entry)?, self.access.name(entry));
        if above.read_link(name).is_ok_and(|found| found == OsStr::new(target)) {
            return above.set_symlink_mtime(name, self.entry(entry).mtime_ns);
        }
        match above.remove_file(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        above.symlink(target, name)?;
        above.set_symlink_mtime(name, self.entry(entry).mtime_ns)
    }

    fn complete_file(&self, entry: u32, size: u64, if_exists: IfExists) -> Result<(), FinishError> {
        let failed = |error| FinishError::from(self.failed(entry, error));
        let (above, name) = (self.folder_for_writing(entry).map_err(failed)?, self.access.name(entry));
        let stat = match above.stat(name) {
            Ok(stat) => stat,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return if size == 0 {
                    self.file_for_writing(entry).map_err(failed)?;
                    self.finish_file(&above, entry).map_err(failed)
                } else if if_exists == IfExists::Overwrite && self.moved_before(entry) {
                    Ok(())
                } else {
                    Err(FinishError::Incomplete { path: self.shown_entry(entry) })
                };
            }
            Err(error) => return Err(failed(error)),
        };
        if stat.kind != Kind::File || stat.size != size {
            // A file of one chunk that begins with nothing: only its length can be missing.
            return Err(FinishError::Incomplete { path: self.shown_entry(entry) });
        }
        let Entry { mode, mtime_ns, .. } = self.entry(entry);
        if self.is_finished(entry) || (stat.mode == mode & 0o777 && stat.mtime_ns == *mtime_ns) {
            return Ok(());
        }
        self.finish_file(&above, entry).map_err(failed)
    }

    fn finish_file(&self, above: &Dir, entry: u32) -> io::Result<()> {
        let Entry { mode, mtime_ns, .. } = self.entry(entry);
        // Closed first: on some systems closing a handle that was written through changes the time again.
        self.access.forget(entry);
        let file = above
            .open_write(self.access.name(entry))
            .or_else(|_| above.open_read(self.access.name(entry)))?;
        platform::finish_file(&file, *mode, *mtime_ns)?;
        self.mark_metadata(entry, file);
        Ok(())
    }

    /// Whether an earlier, interrupted finish has moved a file over the one it replaces.
    pub(super) fn moved_before(&self, entry: u32) -> bool {
        let mut names = vec![entry];
        let mut at = entry;
        while at != 0 {
            at = self.access.layout().parent_of(at);
            names.push(at);
        }
        let name =
            |entry| if entry == 0 { OsStr::new(&self.partial.target) } else { self.access.name(entry) };
        let find = || -> io::Result<Stat> {
            let mut dir = Arc::clone(&self.above);
            for folder in names.iter().skip(1).rev() {
                dir = Arc::new(dir.open_dir(name(*folder))?);
            }
            dir.stat(name(entry))
        };
        let wanted = self.entry(entry);
        let size = self.access.layout().file_of(entry).map(|file| self.access.layout().size_of(file));
        find().is_ok_and(|stat| {
            stat.kind == Kind::File
                && Some(stat.size) == size
                && stat.mtime_ns == wanted.mtime_ns
                && stat.mode == wanted.mode & 0o777
        })
    }

    /// Gives folders their modes and times, innermost first, and syncs everything.
    fn make_durable(&self) -> Result<(), FinishError> {
        self.sync_dirty(File::sync_all)?;
        self.finish_folders(&self.above, self.partial_name())?;
        self.sync_folders(self.partial_name())
    }

    /// Sets the modes and times of the share's folders at `top` in `above`, innermost first.
    fn finish_folders(&self, above: &Dir, top: &OsStr) -> Result<(), FinishError> {
        let entries = self.manifest().entries();
        // The open folders on the way down, each with its entry.
        let mut open: Vec<(u32, Dir)> = Vec::new();
        let close = |open: &mut Vec<(u32, Dir)>, depth: usize| -> Result<(), WriteError> {
            while open.len() > depth {
                let Some((entry, dir)) = open.pop() else { break };
                let Entry { mode, mtime_ns, .. } = &entries[entry as usize];
                dir.finish(*mode, *mtime_ns).map_err(|error| self.failed(entry, error))?;
            }
            Ok(())
        };
        for (index, entry) in (0u32..).zip(entries) {
            if !matches!(entry.kind, EntryKind::Folder) {
                continue;
            }
            close(&mut open, entry.depth as usize)?;
            let name = if index == 0 { top } else { self.access.name(index) };
            let dir = open.last().map_or(above, |(_, dir)| dir).open_dir(name);
            open.push((index, dir.map_err(|error| self.failed(index, error))?));
        }
        Ok(close(&mut open, 0)?)
    }

    /// Syncs the share's folders at `top`: one by one, or when they are many with their whole file system.
    fn sync_folders(&self, top: &OsStr) -> Result<(), FinishError> {
        let entries = self.manifest().entries();
        let is_folder = |entry: &Entry| matches!(entry.kind, EntryKind::Folder);
        if entries.iter().filter(|entry| is_folder(entry)).count() > FEW
            && self.above.sync_file_system().map_err(|error| self.failed(0, error))?
        {
            return Ok(());
        }
        let mut open: Vec<Dir> = Vec::new();
        for (index, entry) in (0u32..).zip(entries).filter(|(_, entry)| is_folder(entry)) {
            open.truncate(entry.depth as usize);
            let name = if index == 0 { top } else { self.access.name(index) };
            let dir = open.last().unwrap_or(&self.above).open_dir(name);
            let dir = dir.and_then(|dir| dir.sync().map(|()| dir));
            open.push(dir.map_err(|error| self.failed(index, error))?);
        }
        Ok(())
    }

    /// Gives the partial its final name; returns it.
    fn move_into_place(&self, if_exists: IfExists) -> Result<OsString, FinishError> {
        let target = OsStr::new(&self.partial.target);
        let failed = |error| FinishError::from(self.failed(0, error));
        for _ in 0..MAX_NAMES {
            match self.above.rename_new(self.partial_name(), &self.above, target) {
                Ok(()) => return Ok(target.to_owned()),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(error)),
            }
            match if_exists {
                IfExists::Fail => {
                    return Err(FinishError::Exists { path: self.target_path() });
                }
                IfExists::Rename => {
                    let (max, is_folder) = (self.max_name(), !self.manifest().is_single_file());
                    let name =
                        free_name(&self.above, &self.partial.target, max, is_folder).map_err(failed)?;
                    let name = OsString::from(name);
                    match self.above.rename_new(self.partial_name(), &self.above, &name) {
                        Ok(()) => return Ok(name),
                        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                        Err(error) => return Err(failed(error)),
                    }
                }
                IfExists::Overwrite => {
                    self.replace(target)?;
                    return Ok(target.to_owned());
                }
            }
        }
        Err(failed(io::ErrorKind::AlreadyExists.into()))
    }

    fn max_name(&self) -> usize {
        let max = self.above.space().map_or(255, |space| space.max_name);
        usize::try_from(max.min(4096)).unwrap_or(255)
    }

    /// Moves the partial over what exists.
    fn replace(&self, target: &OsStr) -> Result<(), FinishError> {
        let found = find_conflict(self.access.layout(), &self.above, target);
        if let Some(conflict) = found.map_err(|error| self.failed(0, error))? {
            let (path, found, wanted) = (conflict.path, conflict.found, conflict.wanted);
            return Err(FinishError::Conflict { path, found, wanted });
        }
        if self.manifest().is_single_file() {
            let moved = self.above.rename(self.partial_name(), &self.above, target);
            return moved.map_err(|error| self.failed(0, error).into());
        }
        self.merge(target)?;
        self.finish_folders(&self.above, target)?;
        self.sync_folders(target)?;
        // Empty folders are all that is left.
        let left = self.above.open_dir(self.partial_name()).and_then(|dir| super::discard::empty(&dir, 0));
        left.and_then(|()| self.above.remove_dir(self.partial_name()))
            .map_err(|error| self.failed(0, error).into())
    }

    /// Moves every file and symlink, and every folder that is not there yet, from the partial to the target.
    fn merge(&self, target: &OsStr) -> Result<(), FinishError> {
        // The open folders on the way down: of the partial and of the target; `None` below one that moved whole.
        let mut open: Vec<Option<(Dir, Dir)>> = Vec::new();
        for (index, entry) in (0u32..).zip(self.manifest().entries()) {
            let failed = |error| FinishError::from(self.failed(index, error));
            open.truncate(entry.depth as usize);
            let (from_name, to_name) = match index {
                0 => (self.partial_name(), target),
                _ => (self.access.name(index), self.access.name(index)),
            };
            let (from, to): (&Dir, &Dir) = match open.last() {
                None => (&self.above, &self.above),
                Some(Some((from, to))) => (from, to),
                Some(None) => {
                    if matches!(entry.kind, EntryKind::Folder) {
                        open.push(None);
                    }
                    continue;
                }
            };
            if matches!(entry.kind, EntryKind::Folder) {
                let source = from.open_dir(from_name).map_err(failed)?;
                // A folder that may not be written to cannot give its entries away; it got its mode already.
                source.set_mode(0o700).map_err(failed)?;
                match from.rename_new(from_name, to, to_name) {
                    Ok(()) => {
                        source.set_mode(entry.mode).map_err(failed)?;
                        open.push(None);
                    }
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        let existing = to.open_dir(to_name).map_err(failed)?;
                        existing.set_mode(0o700).map_err(failed)?;
                        open.push(Some((source, existing)));
                    }
                    Err(error) => return Err(failed(error)),
                }
                continue;
            }
            match from.rename(from_name, to, to_name) {
                Ok(()) => {}
                // Moved by an earlier finish that was interrupted; `complete_file` has made sure of it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }

    /// The stamps of the files in place; of one that cannot be asked about, one that vouches for nothing.
    fn stamps(&self, place: &Place) -> Stamps {
        let layout = self.access.layout();
        let mut open: Vec<Option<Dir>> = Vec::new();
        let mut stamps = Vec::with_capacity(layout.files() as usize);
        for (index, entry) in (0u32..).zip(self.manifest().entries()) {
            open.truncate(entry.depth as usize);
            let name = if index == 0 { place.name.as_os_str() } else { self.access.name(index) };
            let dir = open.last().map_or(Some(&*self.above), Option::as_ref);
            match entry.kind {
                EntryKind::Folder => open.push(dir.and_then(|dir| dir.open_dir(name).ok())),
                EntryKind::File { .. } => {
                    let stat = dir.and_then(|dir| dir.stat(name).ok()).filter(|stat| stat.kind == Kind::File);
                    stamps.push(stat.as_ref().map_or(FileStamp::UNKNOWN, FileStamp::new));
                }
                EntryKind::Symlink { .. } => {}
            }
        }
        Stamps::new(stamps)
    }

    fn failed(&self, entry: u32, error: io::Error) -> WriteError {
        WriteError::from_io(|| self.shown_entry(entry), error)
    }
}
