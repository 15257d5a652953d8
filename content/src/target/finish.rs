//! Ending a fetch: modes, times, symlinks and empty entries, then into place.
//!
//! Invariants: everything is durable before anything has its final name; nothing that exists is
//! replaced unless the user asked for it; folders get their modes last, because a folder that may
//! not be written to could not be filled. Every step can be repeated after a crash.

use super::check::free_name;
use super::discard::remove_partial;
use super::merge::{Kept, Placed};
use super::{FetchTarget, FinishError, IfExists, MAX_NAMES, WriteError};
use crate::holding::Holding;
use crate::place::Place;
use crate::platform::{self, Dir, Kind};
use crate::stamp::{FileStamp, Stamps};
use crate::trash::Trashed;
use hither_proto::EntryKind;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::sync::Arc;

/// Names of copies beside something that are looked for after a crash.
const BESIDE: usize = 16;

/// A finished fetch.
#[derive(Debug)]
pub struct Finished {
    /// Where the share is.
    pub place: Place,
    /// Its files' stamps.
    pub stamps: Stamps,
    /// For serving it.
    pub holding: Holding,
    /// What was there and stays, the first of it.
    pub kept: Vec<Kept>,
    /// How much more of it there is than [`Self::kept`] tells.
    pub kept_more: u64,
    /// Things that it replaced, or put aside.
    pub trashed: Option<Trashed>,
    /// True when anything of the share is not where the share has it, be it told now or with an
    /// earlier version.
    pub apart: bool,
}

impl FetchTarget {
    /// Completes the partial and moves it into place. Every position must have been written or
    /// copied, and no other thread may be writing any more.
    ///
    /// After an error the partial (or, when files are being replaced one by one, the rest of it) is
    /// still there, and finishing can be tried again.
    pub fn finish(&self) -> Result<Finished, FinishError> {
        self.finish_with(self.options.if_exists)
    }

    /// Like [`Self::finish`], with another answer to the question what to do about an existing
    /// file.
    pub fn finish_with(&self, if_exists: IfExists) -> Result<Finished, FinishError> {
        let finished = self.place_with(if_exists)?;
        self.tidy()?;
        Ok(finished)
    }

    /// Like [`Self::finish`], but what is of no use any more stays in the partial until
    /// [`Self::tidy`]: a crash in between can be followed by placing once more.
    pub fn place(&self) -> Result<Finished, FinishError> {
        self.place_with(self.options.if_exists)
    }

    /// Removes what placing left of the partial: empty folders, and what gave way to something that
    /// stays.
    pub fn tidy(&self) -> Result<(), WriteError> {
        remove_partial(&self.above, &self.partial)
    }

    fn place_with(&self, if_exists: IfExists) -> Result<Finished, FinishError> {
        self.still_there()?;
        let entries = self.manifest().entries().len() as u32;
        for entry in (0..entries).filter(|entry| !self.names().is_skipped(*entry)) {
            self.complete(entry, if_exists)?;
        }
        self.access.close();
        self.sync_dirty(File::sync_all)?;
        let placed = self.move_into_place(if_exists)?;
        self.above.sync().map_err(|error| self.failed(0, error))?;
        let apart = placed.is_apart() || self.names().skips();
        let Placed {
            name,
            kept,
            kept_more,
            trashed,
            stamps,
            ..
        } = placed;
        let place = Place {
            parent: self.access.place().parent.clone(),
            name,
        };
        let layout = Arc::clone(self.access.layout());
        let holding = Holding::new(self.access.handles(), place.clone(), layout, stamps.clone());
        let holding = holding.with_names(Arc::clone(self.names()));
        Ok(Finished {
            place,
            stamps,
            holding,
            kept,
            kept_more,
            trashed,
            apart,
        })
    }

    /// Makes sure that a file, or symlink, or folder is there and gives a file its mode and time.
    fn complete(&self, entry: u32, if_exists: IfExists) -> Result<(), FinishError> {
        match &self.entry(entry).kind {
            EntryKind::Folder => {
                let made = self.access.folder_or(entry, &|above, folder, error| {
                    self.make_folder(above, folder, error)
                });
                made.map(drop)
                    .map_err(|error| self.failed(entry, error).into())
            }
            EntryKind::Symlink { target } => self
                .complete_symlink(entry, target)
                .map_err(|error| self.failed(entry, error).into()),
            EntryKind::File { size, .. } => self.complete_file(entry, *size, if_exists),
        }
    }

    fn complete_symlink(&self, entry: u32, target: &str) -> io::Result<()> {
        let (above, name) = (self.folder_for_writing(entry)?, self.access.name(entry));
        if above
            .read_link(name)
            .is_ok_and(|found| found == OsStr::new(target))
        {
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
        let (above, name) = (
            self.folder_for_writing(entry).map_err(failed)?,
            self.access.name(entry),
        );
        let stat = match above.stat(name) {
            Ok(stat) => stat,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return if size == 0 {
                    self.file_for_writing(entry).map_err(failed)?;
                    self.finish_file(&above, entry).map_err(failed)
                } else if self.may_have_moved(if_exists, entry) {
                    Ok(())
                } else {
                    Err(FinishError::Incomplete {
                        path: self.shown_entry(entry),
                    })
                };
            }
            Err(error) => return Err(failed(error)),
        };
        if stat.kind != Kind::File || stat.size != size {
            // A file of one chunk that begins with nothing: only its length can be missing.
            return Err(FinishError::Incomplete {
                path: self.shown_entry(entry),
            });
        }
        let done = stat.mode == self.mode_of(entry) && stat.mtime_ns == self.entry(entry).mtime_ns;
        if self.is_finished(entry) || done {
            return Ok(());
        }
        self.finish_file(&above, entry).map_err(failed)
    }

    fn finish_file(&self, above: &Dir, entry: u32) -> io::Result<()> {
        // Closed first: on some systems closing a handle that was written through changes the time
        // again.
        self.access.forget(entry);
        let file = above
            .open_write(self.access.name(entry))
            .or_else(|_| above.open_read(self.access.name(entry)))?;
        platform::finish_file(&file, self.mode_of(entry), self.entry(entry).mtime_ns)?;
        self.mark_metadata(entry, file);
        Ok(())
    }

    /// Returns whether a file is not in the partial because an earlier, interrupted finish has put
    /// it where it belongs.
    pub(super) fn may_have_moved(&self, if_exists: IfExists, entry: u32) -> bool {
        matches!(if_exists, IfExists::Overwrite | IfExists::Update) && self.moved_before(entry)
    }

    /// Returns whether an earlier, interrupted finish has moved a file over the one it replaces, or
    /// beside what stays.
    fn moved_before(&self, entry: u32) -> bool {
        let mut names = vec![entry];
        let mut at = entry;
        while at != 0 {
            at = self.access.layout().parent_of(at);
            names.push(at);
        }
        let name = |entry| {
            if entry == 0 {
                OsStr::new(&self.partial.target)
            } else {
                self.access.name(entry)
            }
        };
        let find = || -> io::Result<bool> {
            let mut dir = Arc::clone(&self.above);
            for folder in names.iter().skip(1).rev() {
                dir = Arc::new(dir.open_dir(name(*folder))?);
            }
            Ok(self.is_entry(&dir, name(entry), entry)
                || self
                    .names_beside(entry, name(entry))
                    .take(BESIDE)
                    .any(|beside| self.is_entry(&dir, &beside, entry)))
        };
        find().unwrap_or(false)
    }

    /// Returns whether what has this name looks like a file of the share, finished.
    pub(super) fn is_entry(&self, dir: &Dir, name: &OsStr, entry: u32) -> bool {
        let wanted = self.entry(entry);
        let size = self
            .access
            .layout()
            .file_of(entry)
            .map(|file| self.access.layout().size_of(file));
        dir.stat(name).is_ok_and(|stat| {
            stat.kind == Kind::File
                && Some(stat.size) == size
                && stat.mtime_ns == wanted.mtime_ns
                // Narrower where it replaced something that was.
                && stat.mode & !self.mode_of(entry) == 0
        })
    }

    /// Gives the partial its final name, or its entries theirs where something is already.
    fn move_into_place(&self, if_exists: IfExists) -> Result<Placed, FinishError> {
        let target = OsStr::new(&self.partial.target);
        let failed = |error| FinishError::from(self.failed(0, error));
        for _ in 0..MAX_NAMES {
            match self.above.stat(target) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if let Some(placed) = self.move_whole(target)? {
                        return Ok(placed);
                    }
                }
                Err(error) => return Err(failed(error)),
                Ok(_) => {}
            }
            match if_exists {
                IfExists::Fail => {
                    return Err(FinishError::Exists {
                        path: self.target_path(),
                    });
                }
                IfExists::Rename => {
                    let (max, is_folder) =
                        (self.rules.longest(), !self.manifest().is_single_file());
                    let name = free_name(&self.above, &self.partial.target, max, is_folder)
                        .map_err(failed)?;
                    let name = OsString::from(name);
                    if let Some(placed) = self.move_whole(&name)? {
                        return Ok(placed);
                    }
                }
                IfExists::Overwrite | IfExists::Update => return self.merge(target, if_exists),
            }
        }
        Err(failed(io::ErrorKind::AlreadyExists.into()))
    }

    /// Gives the whole partial a name; `None` when something has it.
    fn move_whole(&self, name: &OsStr) -> Result<Option<Placed>, FinishError> {
        let mut placed = Placed::at(self.partial_name().to_owned());
        // Before a folder's mode may forbid it. What is in a folder does not change when that gets
        // another name.
        placed.stamps = self.stamps(&placed);
        self.finish_folders(&placed)?;
        match self
            .above
            .rename_new(self.partial_name(), &self.above, name)
        {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            Err(error) => return Err(self.failed(0, error).into()),
        }
        name.clone_into(&mut placed.name);
        if self.manifest().is_single_file() {
            placed.stamps = self.stamps(&placed);
        }
        Ok(Some(placed))
    }

    /// The stamps of the files in place; of one that is not there, or cannot be asked about, one
    /// that vouches for nothing.
    pub(super) fn stamps(&self, placed: &Placed) -> Stamps {
        let layout = self.access.layout();
        let mut open: Vec<Option<Dir>> = Vec::new();
        let mut stamps = Vec::with_capacity(layout.files() as usize);
        for (index, entry) in (0u32..).zip(self.manifest().entries()) {
            open.truncate(entry.depth as usize);
            let name = if index == 0 {
                placed.name.as_os_str()
            } else {
                self.access.name(index)
            };
            let dir = match open.last() {
                None => Some(&*self.above),
                Some(dir) => dir.as_ref(),
            };
            let dir =
                dir.filter(|_| !placed.is_elsewhere(index) && !self.names().is_skipped(index));
            match entry.kind {
                EntryKind::Folder => {
                    let open_dir = |dir: &Dir| {
                        dir.open_dir(name)
                            .or_else(|error| dir.open_own_dir(name, error))
                            .ok()
                    };
                    open.push(dir.and_then(open_dir));
                }
                EntryKind::File { .. } => {
                    let stat = dir
                        .and_then(|dir| dir.stat(name).ok())
                        .filter(|stat| stat.kind == Kind::File);
                    stamps.push(stat.as_ref().map_or(FileStamp::UNKNOWN, FileStamp::new));
                }
                EntryKind::Symlink { .. } => {}
            }
        }
        Stamps::new(stamps)
    }

    pub(super) fn failed(&self, entry: u32, error: io::Error) -> WriteError {
        WriteError::from_io(|| self.shown_entry(entry), error)
    }
}
