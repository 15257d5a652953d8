//! A look at what is where a share would be written, before anything is asked or fetched.

use super::check::{open_parent, rules};
use super::{Finished, PrepareError, TargetOptions, names};
use crate::handles::Handles;
use crate::holding::Holding;
use crate::layout::Layout;
use crate::names::{Names, fit};
use crate::place::Place;
use crate::platform::{Dir, Kind};
use crate::stamp::{FileStamp, Stamps};
use hither_proto::EntryKind;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The things that are where a share would be written.
#[derive(Debug)]
pub enum Present {
    /// Nothing that has a name of the share.
    Nothing,
    /// All that is wanted of it, with the same content: as if it had just been finished.
    Same(Box<Finished>),
    /// Something else.
    Other(Others),
}

/// Things that have names of a share and are not all that is wanted of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Others {
    /// The files and symlinks of the share whose names are taken, and folders whose names something
    /// else has.
    pub taken: Vec<u32>,
    /// The number of files and symlinks that are wanted.
    pub wanted: u64,
    /// True when all that is taken is what the share has there, and only the rest is missing. False
    /// also where that cannot be found out, because a small file shares its chunk with a missing one.
    pub same: bool,
}

impl Present {
    /// Looks at the names of the share in the folder `dir`. Reads contents only when all names are
    /// taken by files of the lengths that the share's have; `cancel` ends that, with the answer that
    /// they are others.
    pub fn look(
        handles: &Arc<Handles>,
        dir: &Path,
        layout: &Arc<Layout>,
        options: &TargetOptions,
        cancel: &AtomicBool,
    ) -> Result<Self, PrepareError> {
        let gone = |error: &PrepareError| matches!(error, PrepareError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound);
        let (parent, above) = match open_parent(dir) {
            Err(error) if gone(&error) => return Ok(Self::Nothing),
            opened => opened?,
        };
        let failed = |error| PrepareError::from_io(&parent, error);
        let wanted = options
            .name
            .as_ref()
            .unwrap_or_else(|| layout.manifest().name())
            .as_str();
        let rules = rules(&above, layout, wanted, options).map_err(failed)?;
        let name = OsString::from(fit(&rules, wanted));
        match above.stat(&name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::Nothing),
            Err(error) => return Err(failed(error)),
            Ok(_) => {}
        }
        let names = Arc::new(names(layout, &rules, options, &parent));
        let walk = Walk::over(layout, &names, (&above, &name)).map_err(failed)?;
        let mut others = Others {
            taken: walk.taken,
            wanted: walk.wanted,
            same: false,
        };
        let place = Place { parent, name };
        let stamps = Stamps::new(walk.stamps);
        if walk.differs {
            let holding = Holding::new(handles, place, Arc::clone(layout), Stamps::default())
                .with_names(Arc::clone(&names));
            others.same = walk.fits && are_intact(&holding, &others.taken, cancel);
            return Ok(Self::Other(others));
        }
        let holding = |stamps| {
            Holding::new(handles, place.clone(), Arc::clone(layout), stamps)
                .with_names(Arc::clone(&names))
        };
        // Nothing vouches for the files: all of it is read and compared.
        if !is_intact(&holding(Stamps::default()), cancel) {
            return Ok(Self::Other(others));
        }
        Ok(Self::Same(Box::new(Finished {
            holding: holding(stamps.clone()),
            place,
            stamps,
            kept: Vec::new(),
            kept_more: 0,
            trashed: None,
            apart: names.skips(),
        })))
    }
}

/// Returns whether all that is wanted has the content that the share gives it.
fn is_intact(holding: &Holding, cancel: &AtomicBool) -> bool {
    let (layout, names) = (holding.layout(), holding.names());
    let wanted = |position: &u32| {
        let extents = layout.extents(*position);
        extents.is_some_and(|mut extents| {
            extents.any(|extent| !names.is_skipped(layout.entry_of(extent.file)))
        })
    };
    let mut buffer = Vec::new();
    (0..layout.positions()).filter(wanted).all(|position| {
        !cancel.load(Ordering::Relaxed) && holding.read_chunk(position, &mut buffer).is_ok()
    })
}

/// Returns whether these entries, which are as long as the share's, have its content.
fn are_intact(holding: &Holding, taken: &[u32], cancel: &AtomicBool) -> bool {
    let layout = holding.layout();
    let files = taken.iter().filter_map(|entry| layout.file_of(*entry));
    let mut positions: Vec<u32> = files.flat_map(|file| layout.positions_of(file)).collect();
    positions.dedup();
    let mut buffer = Vec::new();
    positions.iter().all(|position| {
        !cancel.load(Ordering::Relaxed) && holding.read_chunk(*position, &mut buffer).is_ok()
    })
}

/// The findings of a walk over the names of a share.
struct Walk {
    taken: Vec<u32>,
    wanted: u64,
    /// Something is missing, or is of another kind or length.
    differs: bool,
    /// All that is there is of the kind and length that the share has.
    fits: bool,
    /// One for each file of the share.
    stamps: Vec<FileStamp>,
}

impl Walk {
    fn over(layout: &Layout, names: &Names, (above, top): (&Dir, &OsStr)) -> io::Result<Self> {
        let mut walk = Self {
            taken: Vec::new(),
            wanted: 0,
            differs: false,
            fits: true,
            stamps: Vec::with_capacity(layout.files() as usize),
        };
        // Handles of the folders on the way to the entry at hand; `None` below one that is not
        // there.
        let mut open: Vec<Option<Dir>> = Vec::new();
        for (index, entry) in (0u32..).zip(layout.manifest().entries()) {
            open.truncate(entry.depth as usize);
            let dir = match open.last() {
                None => Some(above),
                Some(dir) => dir.as_ref(),
            };
            let name = if index == 0 {
                top
            } else {
                names.name(layout, index)
            };
            let skipped = names.is_skipped(index);
            let stat = match dir.filter(|_| !skipped).map(|dir| dir.stat(name)) {
                Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                stat => stat.and_then(Result::ok),
            };
            let kind = stat.as_ref().map(|stat| stat.kind);
            let same = match &entry.kind {
                EntryKind::Folder => {
                    let is_folder = kind == Some(Kind::Folder);
                    let opened = dir.filter(|_| is_folder).map(|dir| dir.open_dir(name));
                    open.push(opened.transpose()?);
                    if kind.is_some() && !is_folder {
                        walk.taken.push(index);
                    }
                    is_folder
                }
                EntryKind::File { size, .. } => {
                    let file = stat.as_ref().filter(|stat| stat.kind == Kind::File);
                    walk.stamps
                        .push(file.map_or(FileStamp::UNKNOWN, FileStamp::new));
                    file.is_some_and(|stat| stat.size == *size)
                }
                EntryKind::Symlink { target } => {
                    kind == Some(Kind::Symlink)
                        && dir
                            .and_then(|dir| dir.read_link(name).ok())
                            .is_some_and(|found| found == OsStr::new(target))
                }
            };
            if skipped {
                continue;
            }
            walk.differs |= !same;
            walk.fits &= same || kind.is_none();
            if !matches!(entry.kind, EntryKind::Folder) {
                walk.wanted += 1;
                if kind.is_some() {
                    walk.taken.push(index);
                }
            }
        }
        Ok(walk)
    }
}
