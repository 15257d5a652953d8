//! A version of a share whose files are on this device: read out of the user's own files when asked
//! for.
//!
//! Invariants: plaintext is handed out only if the file's stamp vouches for it or the bytes have
//! been verified; a sealed chunk is handed out only after its id has been compared, always (see
//! [`crate::crypt`] for why); no symlink is followed on the way to a file.

use crate::access::Access;
use crate::crypt::{matches_record, reseal_chunk};
use crate::cut::LARGE_FILE;
use crate::handles::Handles;
use crate::layout::{Extent, Layout};
use crate::names::Names;
use crate::own::OwnSeen;
use crate::place::{Parts, Place};
use crate::platform::{self, Stat};
use crate::stamp::Stamps;
use hither_proto::{ChunkRecord, Manifest};
use hither_util::sync::Mutex;
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::sync::{Arc, MutexGuard};

/// Why a chunk could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadChunkError {
    /// The file is not what was shared any more; the position's chunk is no longer here.
    #[error("{path:?} has changed since it was shared")]
    Changed {
        /// Path inside the share, safe to show.
        path: String,
    },
    /// The file, or a folder on the way to it, is no longer there.
    #[error("{path:?} is no longer there")]
    Gone {
        /// Path inside the share, safe to show.
        path: String,
    },
    /// The share has no such position.
    #[error("the share has no chunk {0}")]
    Position(u32),
    /// The system failed to read the file; it may work later.
    #[error("{path:?} cannot be read: {source}")]
    Io {
        /// Path inside the share, safe to show.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

/// A version of a share at a place on this device. Cheap to keep; shared between threads.
#[derive(Debug)]
pub struct Holding {
    access: Access,
    /// Empty: nothing vouches for any file, everything is verified.
    stamps: Stamps,
    /// Files that the system failed to read though their stamps are what they were, as on a disk
    /// that wears out.
    failing: Mutex<BTreeSet<u32>>,
}

/// What reading the plaintext of a position found out.
struct Read {
    /// Every file's stamp vouches for what was read.
    vouched: bool,
    /// The file to name when the content turns out to be another.
    suspect: u32,
}

impl Holding {
    /// A holding whose files are at these places and had these stamps (one per file in entry order;
    /// any other number means that none is known). Does no IO.
    pub fn new(
        handles: &Arc<Handles>,
        parts: impl Into<Parts>,
        layout: Arc<Layout>,
        stamps: Stamps,
    ) -> Self {
        let stamps = if stamps.as_slice().len() == layout.files() as usize {
            stamps
        } else {
            Stamps::default()
        };
        Self {
            access: Access::new(handles, layout, parts, None),
            stamps,
            failing: Mutex::default(),
        }
    }

    /// The same, where some of it is called otherwise on this device.
    pub fn with_names(self, names: Arc<Names>) -> Self {
        Self {
            access: self.access.with_names(names),
            ..self
        }
    }

    /// How its entries are called on this device.
    pub fn names(&self) -> &Arc<Names> {
        self.access.names()
    }

    /// A view of files that are still being written.
    pub(crate) fn unfinished(access: Access) -> Self {
        Self {
            access,
            stamps: Stamps::default(),
            failing: Mutex::default(),
        }
    }

    /// The same files with other stamps.
    pub fn with_stamps(&self, handles: &Arc<Handles>, stamps: Stamps) -> Self {
        let layout = Arc::clone(self.layout());
        Self::new(handles, self.access.parts().clone(), layout, stamps)
            .with_names(Arc::clone(self.names()))
    }

    /// What is in it.
    pub fn manifest(&self) -> &Arc<Manifest> {
        self.access.layout().manifest()
    }

    /// Where its positions are.
    pub fn layout(&self) -> &Arc<Layout> {
        self.access.layout()
    }

    /// The stamps it was made with; empty when none were known.
    pub const fn stamps(&self) -> &Stamps {
        &self.stamps
    }

    /// Reads the plaintext of a chunk into `out`, which is overwritten and reused; after an error
    /// it is empty.
    ///
    /// One read and one `fstat` for each file that the chunk covers; where a stamp does not vouch
    /// for its file the chunk is verified, at the cost of encrypting it.
    pub fn read_chunk(&self, position: u32, out: &mut Vec<u8>) -> Result<(), ReadChunkError> {
        let record = self.record(position)?;
        let read = self
            .read(position, record, out)
            .inspect_err(|_| out.clear())?;
        if read.vouched || matches_record(record, out, &mut Vec::new()) {
            return Ok(());
        }
        out.clear();
        Err(self.changed(read.suspect))
    }

    /// Reads a chunk and seals it into `out`, which is overwritten and reused; after an error it is
    /// empty.
    ///
    /// The result is always compared with the chunk's id.
    pub fn read_sealed(&self, position: u32, out: &mut Vec<u8>) -> Result<(), ReadChunkError> {
        let record = self.record(position)?;
        let read = self
            .read(position, record, out)
            .inspect_err(|_| out.clear())?;
        reseal_chunk(record, out).map_err(|_| self.changed(read.suspect))
    }

    /// The way to its files.
    pub(crate) const fn access(&self) -> &Access {
        &self.access
    }

    /// Returns whether one of the files is a file of Hither itself, as older versions could share
    /// them.
    pub fn holds_own(&self, own: &OwnSeen) -> bool {
        (0..).zip(self.stamps.as_slice()).any(|(file, stamp)| {
            let entry = self.access.layout().entry_of(file);
            own.may_be_file(stamp.inode)
                && self
                    .access
                    .above(entry)
                    .and_then(|dir| dir.stat(self.access.name(entry)))
                    .is_ok_and(|stat| own.knows(&stat))
        })
    }

    /// Returns where it is: the first of several parts.
    pub fn place(&self) -> &Place {
        self.access.place()
    }

    /// Returns what the file system says of a file's entry; `None` when it cannot be asked.
    pub(crate) fn stat(&self, entry: u32) -> Option<Stat> {
        self.access
            .above(entry)
            .and_then(|dir| dir.stat(self.access.name(entry)))
            .ok()
    }

    /// Returns whether a file's entry has the content that it was shared with. Small files that
    /// share a chunk vouch for each other: when one of them has changed, none is intact.
    pub(crate) fn is_intact(&self, entry: u32) -> bool {
        let Some(file) = self.access.layout().file_of(entry) else {
            return false;
        };
        let mut buffer = Vec::new();
        self.access
            .layout()
            .positions_of(file)
            .all(|position| self.read_chunk(position, &mut buffer).is_ok())
    }

    /// An open file, for sharing its blocks.
    pub(crate) fn open_file(&self, file: u32) -> io::Result<Arc<File>> {
        let entry = self.access.layout().entry_of(file);
        match self.access.cached_file(entry) {
            Some(file) => Ok(file),
            None => Ok(Arc::new(
                self.access
                    .above(entry)?
                    .open_read(self.access.name(entry))?,
            )),
        }
    }

    /// Whether a file's stamp still vouches for it.
    pub(crate) fn vouches_for(&self, number: u32, file: &File) -> bool {
        let stamp = self.stamps.as_slice().get(number as usize);
        stamp.is_some_and(|stamp| {
            platform::stat_file(file).is_ok_and(|stat| stamp.vouches_for(&stat))
        })
    }

    fn record(&self, position: u32) -> Result<&ChunkRecord, ReadChunkError> {
        self.manifest()
            .chunks()
            .get(position as usize)
            .ok_or(ReadChunkError::Position(position))
    }

    fn read(
        &self,
        position: u32,
        record: &ChunkRecord,
        out: &mut Vec<u8>,
    ) -> Result<Read, ReadChunkError> {
        let extents = self
            .access
            .layout()
            .extents(position)
            .ok_or(ReadChunkError::Position(position))?;
        // Not cleared first: what is overwritten need not be zeroed.
        out.resize(record.length as usize, 0);
        let mut result = Read {
            vouched: true,
            suspect: extents.clone().next().map_or(0, |extent| extent.file),
        };
        let mut rest = out.as_mut_slice();
        for extent in extents {
            let (space, after) = rest.split_at_mut(extent.length as usize);
            rest = after;
            let read = self.read_extent(&extent, space).or_else(|error| {
                // A cached folder may have been replaced by another of the same name; look again
                // from the top.
                self.access.close();
                if platform::is_gone(&error) {
                    self.read_extent(&extent, space)
                } else {
                    Err(error)
                }
            });
            match read {
                Ok(true) => {}
                Ok(false) if result.vouched => {
                    result = Read {
                        vouched: false,
                        suspect: extent.file,
                    }
                }
                Ok(false) => {}
                Err(error) => return Err(self.failed(extent.file, error)),
            }
        }
        Ok(result)
    }

    /// Reads an extent; says whether the file's stamp vouches for it. A file that is too short is
    /// `UnexpectedEof`.
    fn read_extent(&self, extent: &Extent, out: &mut [u8]) -> io::Result<bool> {
        let entry = self.access.layout().entry_of(extent.file);
        // A small file is read whole and once; keeping it open would push out large ones.
        let keep = self.access.layout().size_of(extent.file) >= LARGE_FILE;
        if keep && let Some(file) = self.access.cached_file(entry) {
            match self.read_file(extent, &file, out) {
                Ok(vouched) if vouched || self.stamps.as_slice().is_empty() => return Ok(vouched),
                _ => {}
            }
            // It may have been replaced by another file of the same name.
            self.access.forget(entry);
        }
        let file = Arc::new(
            self.access
                .above(entry)?
                .open_read(self.access.name(entry))?,
        );
        let vouched = self.read_file(extent, &file, out)?;
        if keep {
            self.access.keep_file(entry, &file);
        }
        Ok(vouched)
    }

    fn read_file(&self, extent: &Extent, file: &File, out: &mut [u8]) -> io::Result<bool> {
        if platform::read_full_at(file, out, extent.offset)? < out.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some(stamp) = self.stamps.as_slice().get(extent.file as usize) else {
            return Ok(false);
        };
        // After reading: an unchanged stamp says that nothing has changed up to now.
        let stat = platform::stat_file(file)?;
        Ok(stamp.vouches_for(&stat))
    }

    fn failed(&self, file: u32, source: io::Error) -> ReadChunkError {
        let path = self.shown(file);
        match source.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::IsADirectory => {
                ReadChunkError::Changed { path }
            }
            _ if platform::is_gone(&source) => ReadChunkError::Gone { path },
            _ => {
                self.failing().insert(file);
                ReadChunkError::Io { path, source }
            }
        }
    }

    /// Files that could not be read when that was tried last.
    pub(crate) fn failing(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.failing.lock()
    }

    fn changed(&self, file: u32) -> ReadChunkError {
        ReadChunkError::Changed {
            path: self.shown(file),
        }
    }

    fn shown(&self, file: u32) -> String {
        self.access
            .layout()
            .shown(self.access.layout().entry_of(file))
    }
}
