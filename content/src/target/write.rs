//! Writing chunks into a partial, and making them durable.
//!
//! Invariants: a file is marked as in need of syncing after it was written and before the writer
//! returns, so a checkpoint covers every write that returned before it began; a folder whose
//! entries changed is synced with them.

use super::{FetchTarget, WriteError};
use crate::layout::Extent;
use crate::platform::{self, Dir, Kind};
use hither_proto::{Entry, EntryKind};
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::{Arc, MutexGuard};

/// More files and folders than this are not synced one by one but with their whole file system.
pub(super) const FEW: usize = 64;

/// A set of small numbers.
#[derive(Debug, Default)]
struct Numbers(Vec<u64>);

impl Numbers {
    fn insert(&mut self, number: u32) {
        let (word, bit) = (number as usize / 64, number % 64);
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << bit;
    }

    fn contains(&self, number: u32) -> bool {
        self.0
            .get(number as usize / 64)
            .is_some_and(|word| word & (1 << (number % 64)) != 0)
    }
}

/// What is known about the partial.
#[derive(Debug, Default)]
pub(super) struct TargetState {
    /// Entries (files and folders) that exist with their full length.
    made: Numbers,
    /// Files that were written whole and have their mode and time.
    finished: Numbers,
    /// Files written to since the last checkpoint, with their handles while they are few.
    dirty_files: HashMap<u32, Option<Arc<File>>>,
    /// Folders in which entries were made since the last checkpoint; the folder above the top is
    /// its own entry.
    dirty_folders: HashSet<u32>,
    /// Whether the partial itself is new.
    dirty_above: bool,
}

impl TargetState {
    /// Of a partial whose top exists.
    pub(super) fn fresh(single_file: bool) -> Self {
        let mut state = Self {
            dirty_above: true,
            ..Self::default()
        };
        if !single_file {
            state.made.insert(0);
        }
        state
    }
}

impl FetchTarget {
    /// Writes a chunk's plaintext, which must have been verified, at its place. Not durable before
    /// a checkpoint.
    ///
    /// Zeros are not written where a file has a hole. Writing a position again is harmless.
    pub fn write_chunk(&self, position: u32, plaintext: &[u8]) -> Result<(), WriteError> {
        self.write_chunks(&[position], plaintext)
    }

    /// Writes one plaintext at every position that has its id.
    pub fn write_chunks(&self, positions: &[u32], plaintext: &[u8]) -> Result<(), WriteError> {
        let zeros = is_zero(plaintext);
        for position in positions {
            let record = self.manifest().chunks().get(*position as usize);
            let extents = self.access.layout().extents(*position);
            let (Some(record), Some(extents)) = (record, extents) else {
                return Err(WriteError::Position(*position));
            };
            if record.length as usize != plaintext.len() {
                return Err(WriteError::Position(*position));
            }
            let mut rest = plaintext;
            for extent in extents {
                let (bytes, after) = rest.split_at(extent.length as usize);
                rest = after;
                if self
                    .names()
                    .is_skipped(self.access.layout().entry_of(extent.file))
                {
                    continue;
                }
                self.write_extent(&extent, bytes, zeros)
                    .map_err(|error| WriteError::from_io(|| self.shown_file(extent.file), error))?;
            }
        }
        Ok(())
    }

    /// Positions with bytes of files that are not written ([`crate::Naming::Skip`]), as runs: they
    /// cannot be given to others.
    pub fn unkept(&self) -> Vec<Range<u32>> {
        let layout = self.access.layout();
        let skipped = |file: &u32| self.names().is_skipped(layout.entry_of(*file));
        (0..layout.files())
            .filter(skipped)
            .map(|file| layout.positions_of(file))
            .collect()
    }

    /// Returns whether nothing of a position is written.
    pub fn is_unneeded(&self, position: u32) -> bool {
        let layout = self.access.layout();
        let skipped = |extent: Extent| self.names().is_skipped(layout.entry_of(extent.file));
        self.names().skips()
            && layout
                .extents(position)
                .is_some_and(|mut extents| extents.all(skipped))
    }

    /// Bytes of all files that are written.
    pub fn bytes(&self) -> u64 {
        let layout = self.access.layout();
        let written = |file: &u32| !self.names().is_skipped(layout.entry_of(*file));
        (0..layout.files())
            .filter(written)
            .map(|file| layout.size_of(file))
            .sum()
    }

    /// Makes durable every write that returned before this was called. Only then may a position be
    /// recorded as here.
    ///
    /// After an error nothing written since the last success counts: the system may have dropped
    /// it.
    pub fn checkpoint(&self) -> Result<(), WriteError> {
        self.sync_dirty(platform::sync_data)
    }

    /// Syncs what is dirty, its files by `sync` unless they are many.
    pub(super) fn sync_dirty(&self, sync: fn(&File) -> io::Result<()>) -> Result<(), WriteError> {
        let (files, folders, above) = {
            let _all_noted = self.noting.write();
            let mut state = self.state();
            let above = std::mem::take(&mut state.dirty_above);
            (
                std::mem::take(&mut state.dirty_files),
                std::mem::take(&mut state.dirty_folders),
                above,
            )
        };
        self.still_there()?;
        if files.len() + folders.len() > FEW {
            match self.above.sync_file_system() {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => return Err(WriteError::from_io(|| self.shown_entry(0), error)),
            }
        }
        for (file, handle) in files {
            self.sync_file(file, handle, sync)
                .map_err(|error| WriteError::from_io(|| self.shown_file(file), error))?;
        }
        for folder in folders {
            let dir = self.access.folder(folder);
            dir.and_then(|dir| dir.sync())
                .map_err(|error| WriteError::from_io(|| self.shown_entry(folder), error))?;
        }
        if above {
            self.above
                .sync()
                .map_err(|error| WriteError::from_io(|| self.shown_entry(0), error))?;
        }
        Ok(())
    }

    fn sync_file(
        &self,
        file: u32,
        handle: Option<Arc<File>>,
        sync: fn(&File) -> io::Result<()>,
    ) -> io::Result<()> {
        let handle = match handle {
            Some(handle) => handle,
            None => {
                let entry = self.access.layout().entry_of(file);
                Arc::new(
                    self.access
                        .above(entry)?
                        .open_read(self.access.name(entry))?,
                )
            }
        };
        if platform::stat_file(&handle)?.links == 0 {
            return Err(io::ErrorKind::NotFound.into());
        }
        sync(&handle)
    }

    /// Fails unless the partial still has its name.
    pub(super) fn still_there(&self) -> Result<(), WriteError> {
        match self.partial.find(&self.above) {
            Ok(Some((true, _))) => Ok(()),
            Ok(_) => Err(WriteError::PartialVanished {
                path: self.shown_entry(0),
            }),
            Err(error) => Err(WriteError::from_io(|| self.shown_entry(0), error)),
        }
    }

    fn write_extent(&self, extent: &Extent, bytes: &[u8], zeros: bool) -> io::Result<()> {
        let entry = self.access.layout().entry_of(extent.file);
        if extent.offset == 0
            && u64::from(extent.length) == self.access.layout().size_of(extent.file)
            && entry != 0
        {
            return self.write_whole(extent.file, entry, bytes);
        }
        let handle = self.file_for_writing(entry)?;
        // Zeros need not be written into a hole; it may have been written before with nothing
        // else.
        if !zeros {
            platform::write_all_at(&handle, bytes, extent.offset)?;
        }
        self.mark_dirty(extent.file, handle);
        Ok(())
    }

    /// Writes a file that lies inside one chunk: made, written and finished in one go.
    fn write_whole(&self, file: u32, entry: u32, bytes: &[u8]) -> io::Result<()> {
        let above = self.folder_for_writing(entry)?;
        let name = self.access.name(entry);
        let handle = match above.create(name) {
            Ok(handle) => handle,
            // Left by an earlier life, whoever it is a name of now.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                above.remove_file(name)?;
                above.create(name)?
            }
            Err(error) => return Err(error),
        };
        platform::write_all_at(&handle, bytes, 0)?;
        platform::finish_file(&handle, self.mode_of(entry), self.entry(entry).mtime_ns)?;
        let mut state = self.state();
        state.made.insert(entry);
        state.finished.insert(entry);
        self.mark_made(&mut state, entry);
        drop(state);
        self.mark_dirty(file, Arc::new(handle));
        Ok(())
    }

    /// An open file of which parts are written; made, at its full length, when it does not exist.
    pub(super) fn file_for_writing(&self, entry: u32) -> io::Result<Arc<File>> {
        if let Some(handle) = self.access.cached_file(entry) {
            return Ok(handle);
        }
        let above = self.folder_for_writing(entry)?;
        let name = self.access.name(entry);
        let handle = if self.state().made.contains(entry) {
            above.open_write(name)?
        } else {
            let _one_at_a_time = self.creating.lock();
            if self.state().made.contains(entry) {
                above.open_write(name)?
            } else {
                self.make_file(&above, entry)?
            }
        };
        let handle = Arc::new(handle);
        self.access.keep_file(entry, &handle);
        Ok(handle)
    }

    fn make_file(&self, above: &Dir, entry: u32) -> io::Result<File> {
        let EntryKind::File { size, .. } = self.entry(entry).kind else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let name = self.access.name(entry);
        let handle = match above.create(name) {
            Ok(handle) => handle,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => own_file(above, name)?,
            Err(error) => return Err(error),
        };
        handle.set_len(size)?;
        if !self.has_holes(entry) {
            platform::preallocate(&handle, size)?;
        }
        let mut state = self.state();
        state.made.insert(entry);
        self.mark_made(&mut state, entry);
        Ok(handle)
    }

    /// Returns whether a file has equal chunks next to each other, which zeros give: room for those
    /// is not reserved.
    fn has_holes(&self, entry: u32) -> bool {
        let layout = self.access.layout();
        let Some(file) = layout.file_of(entry) else {
            return false;
        };
        let positions = layout.positions_of(file);
        let chunks = self
            .manifest()
            .chunks()
            .get(positions.start as usize..positions.end as usize);
        chunks.is_some_and(|chunks| chunks.windows(2).any(|pair| pair[0].id == pair[1].id))
    }

    /// The folder that an entry is in, made when it does not exist.
    pub(super) fn folder_for_writing(&self, entry: u32) -> io::Result<Arc<Dir>> {
        self.access.above_or(entry, &|above, folder, error| {
            self.make_folder(above, folder, error)
        })
    }

    /// Makes a folder that could not be opened, unless it was there before.
    pub(super) fn make_folder(
        &self,
        above: &Dir,
        folder: u32,
        error: io::Error,
    ) -> io::Result<Dir> {
        if error.kind() != io::ErrorKind::NotFound {
            return above.open_own_dir(self.access.name(folder), error);
        }
        if self.state().made.contains(folder) {
            // Another thread may have made it just now; otherwise it was removed, and this says so.
            return above.open_dir(self.access.name(folder));
        }
        // Somebody else may use the folder before it is noted; a checkpoint waits for the note.
        let _noted = self.noting.read();
        let name = self.access.name(folder);
        match above.make_dir(name) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let dir = above.open_dir(name)?;
        let mut state = self.state();
        state.made.insert(folder);
        self.mark_made(&mut state, folder);
        Ok(dir)
    }

    fn mark_made(&self, state: &mut TargetState, entry: u32) {
        if entry == 0 {
            state.dirty_above = true;
        } else {
            state
                .dirty_folders
                .insert(self.access.layout().parent_of(entry));
        }
    }

    pub(super) fn mark_dirty(&self, file: u32, handle: Arc<File>) {
        let mut state = self.state();
        // The newest handle counts: a file that is written whole a second time is another one.
        let room =
            state.dirty_files.len() < FEW || matches!(state.dirty_files.get(&file), Some(Some(_)));
        state.dirty_files.insert(file, room.then_some(handle));
    }

    /// A file's mode or time was set.
    pub(super) fn mark_metadata(&self, entry: u32, handle: File) {
        if let Some(file) = self.access.layout().file_of(entry) {
            self.mark_dirty(file, Arc::new(handle));
        }
    }

    pub(super) fn mark_existing(&self, entry: u32) {
        self.state().made.insert(entry);
    }

    pub(super) fn is_finished(&self, entry: u32) -> bool {
        self.state().finished.contains(entry)
    }

    pub(super) fn entry(&self, entry: u32) -> &Entry {
        &self.manifest().entries()[entry as usize]
    }

    /// The permission bits that an entry gets here.
    pub(super) fn mode_of(&self, entry: u32) -> u32 {
        self.options.mode(self.entry(entry).mode)
    }

    pub(super) fn shown_entry(&self, entry: u32) -> String {
        self.access.layout().shown(entry)
    }

    pub(super) fn shown_file(&self, file: u32) -> String {
        self.shown_entry(self.access.layout().entry_of(file))
    }

    fn state(&self) -> MutexGuard<'_, TargetState> {
        self.state.lock()
    }
}

/// Opens a file that an earlier life left in the partial: one that is nobody else's too.
pub(super) fn own_file(above: &Dir, name: &OsStr) -> io::Result<File> {
    let handle = above.open_write(name)?;
    let stat = platform::stat_file(&handle)?;
    if stat.kind == Kind::File && stat.links == 1 {
        Ok(handle)
    } else {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// Whether all bytes are zero; soon over when they are not.
fn is_zero(bytes: &[u8]) -> bool {
    const BLOCK: usize = 64;
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    rest.iter().all(|byte| *byte == 0) && blocks.iter().all(|block| *block == [0; BLOCK])
}
