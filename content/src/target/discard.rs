//! Removing a partial.

use super::{FetchTarget, WriteError, check};
use crate::partial::PartialRef;
use crate::platform::{Dir, Kind};
use hither_proto::display_name;
use hither_proto::limits::MAX_DEPTH;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

impl FetchTarget {
    /// Removes the partial.
    pub fn discard(self) -> Result<(), WriteError> {
        self.access.close();
        remove_partial(&self.above, &self.partial)
    }

    /// Removes a partial in `dir` that is not being written; that it is gone, or no longer ours, is
    /// no error.
    pub fn discard_partial(dir: &Path, partial: &PartialRef) -> Result<(), WriteError> {
        match check::open_parent(dir) {
            Ok((_, above)) => remove_partial(&above, partial),
            Err(
                error @ (super::PrepareError::NotFound { .. }
                | super::PrepareError::NotAFolder { .. }),
            ) => {
                tracing::debug!(%error, "the folder of a discarded fetch is gone");
                Ok(())
            }
            Err(error) => {
                let path = display_name(&dir.to_string_lossy());
                Err(WriteError::Io {
                    path,
                    source: io::Error::other(error),
                })
            }
        }
    }
}

pub(super) fn remove_partial(above: &Dir, partial: &PartialRef) -> Result<(), WriteError> {
    let failed = |error| WriteError::from_io(|| display_name(&partial.name), error);
    let name = OsStr::new(&partial.name);
    match partial.find(above).map_err(failed)? {
        Some((true, stat)) if stat.kind == Kind::Folder => {
            let dir = open(above, name).map_err(failed)?;
            empty(&dir, 0).map_err(failed)?;
            above.remove_dir(name).map_err(failed)
        }
        Some((true, _)) => above.remove_file(name).map_err(failed),
        Some((false, _)) | None => Ok(()),
    }
}

/// Opens a folder that a fetch made, also one whose final mode does not allow it.
fn open(above: &Dir, name: &OsStr) -> io::Result<Dir> {
    above
        .open_dir(name)
        .or_else(|error| above.open_own_dir(name, error))
}

/// Removes everything in a folder; symlinks are removed, not followed.
pub(crate) fn empty_folder(dir: &Dir) -> io::Result<()> {
    empty(dir, 0)
}

fn empty(dir: &Dir, depth: u32) -> io::Result<()> {
    // A share has at most MAX_DEPTH levels; deeper ones were not made by a fetch.
    if depth > MAX_DEPTH {
        return Err(io::ErrorKind::DirectoryNotEmpty.into());
    }
    // A folder that has its final mode may not allow removing from it.
    dir.set_mode(0o700)?;
    let mut names: Vec<OsString> = Vec::new();
    dir.names(&mut |name| {
        names.push(name);
        Ok(())
    })?;
    for name in names {
        let stat = match dir.stat(&name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            stat => stat?,
        };
        if stat.kind == Kind::Folder {
            let inner = open(dir, &name)?;
            empty(&inner, depth + 1)?;
            dir.remove_dir(&name)?;
        } else {
            dir.remove_file(&name)?;
        }
    }
    Ok(())
}
