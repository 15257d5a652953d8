//! Taking up a partial that an earlier life left.

use super::{FetchTarget, PrepareError};
use crate::partial::PartialRef;
use crate::platform::{Dir, Kind};
use std::ffi::OsStr;
use std::io;
use std::ops::Range;
use std::path::Path;

/// Fails unless the partial is the very one that was recorded.
pub(super) fn recognise(
    above: &Dir,
    parent: &Path,
    partial: &PartialRef,
    single_file: bool,
) -> Result<(), PrepareError> {
    let wanted = if single_file {
        Kind::File
    } else {
        Kind::Folder
    };
    match partial.find(above) {
        Ok(Some((true, stat))) if stat.kind == wanted => Ok(()),
        Ok(Some(_)) => Err(PrepareError::NotOurs),
        Ok(None) if taken_back(above, partial, wanted) => Ok(()),
        Ok(None) => Err(PrepareError::PartialVanished),
        Err(error) => Err(PrepareError::from_io(&parent.join(&partial.name), error)),
    }
}

/// A crash came after the partial got its final name and before anybody wrote that down: the very
/// same file or folder is there. It gets the name of the partial again, and is finished once more.
fn taken_back(above: &Dir, partial: &PartialRef, wanted: Kind) -> bool {
    let finished = PartialRef {
        name: partial.target.clone(),
        ..partial.clone()
    };
    let ours = matches!(finished.find(above), Ok(Some((true, stat))) if stat.kind == wanted);
    ours && above
        .rename_new(OsStr::new(&finished.name), above, OsStr::new(&partial.name))
        .is_ok()
}

/// Checks that every file with a durable chunk is there at its full length, and remembers that it
/// is.
pub(super) fn find_files(target: &FetchTarget, durable: &[Range<u32>]) -> Result<(), PrepareError> {
    let layout = target.access.layout();
    let failed = |entry: u32, error: io::Error| {
        if crate::platform::is_gone(&error) {
            PrepareError::PartialVanished
        } else {
            PrepareError::from_io(OsStr::new(&target.shown_entry(entry)).as_ref(), error)
        }
    };
    let mut next = 0;
    for position in durable.iter().cloned().flatten() {
        for extent in layout.extents(position).into_iter().flatten() {
            // Ranges ascend, so a file that spans many positions is looked at once.
            if extent.file < next {
                continue;
            }
            next = extent.file + 1;
            let entry = layout.entry_of(extent.file);
            if target.names().is_skipped(entry) {
                continue;
            }
            let above = target.access.above_or(entry, &|above, folder, error| {
                above.open_own_dir(target.access.name(folder), error)
            });
            let stat = above.and_then(|above| above.stat(target.access.name(entry)));
            match stat {
                Ok(stat)
                    if stat.kind == Kind::File
                        && stat.size == layout.size_of(extent.file)
                        && stat.links == 1 => {}
                Ok(_) => return Err(PrepareError::PartialVanished),
                // An interrupted finish had begun to replace existing files one by one.
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound
                        && target.may_have_moved(target.options.if_exists, entry) =>
                {
                    continue;
                }
                Err(error) => return Err(failed(entry, error)),
            }
            target.mark_existing(entry);
            mark_folders(target, entry);
        }
    }
    Ok(())
}

/// The folders above an existing entry exist too.
fn mark_folders(target: &FetchTarget, mut entry: u32) {
    while entry != 0 {
        entry = target.access.layout().parent_of(entry);
        target.mark_existing(entry);
    }
}
