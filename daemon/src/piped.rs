//! Files that came through a pipe and are shared: each in a folder of its own below
//! [`Paths::piped`](hither_api::Paths::piped), which goes with its share.

use crate::library::Library;
use crate::records::ShareRecord;
use hither_api::{ApiError, ErrorCode};
use hither_content::Parts;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Checks that what is to be shared is one file that came through a pipe.
///
/// Errors: it is something else.
pub(crate) fn check(library: &Library, places: &Parts) -> Result<(), ApiError> {
    let path = places.first().path();
    let piped = std::fs::canonicalize(library.paths.piped()).ok();
    let is_one = !places.are_several()
        && path.is_file()
        && piped.is_some()
        && folder_of(&path).and_then(Path::parent) == piped.as_deref();
    if is_one {
        return Ok(());
    }
    let message = "That did not come through a pipe.";
    Err(ApiError::new(ErrorCode::BadRequest, message))
}

fn folder_of(path: &Path) -> Option<&Path> {
    path.parent()
}

/// Removes what a share had from a pipe.
pub(crate) fn remove(library: &Library, record: &ShareRecord) {
    let Some(name) = record.parent.file_name().filter(|_| record.piped) else {
        return;
    };
    // Only ever something in the folder for it, whatever the record says.
    remove_folder(&library.paths.piped().join(name));
}

/// Removes what no share has, and nobody is writing.
pub(crate) fn remove_orphans(library: &Library) {
    let records = library.share_records();
    let kept: Vec<PathBuf> = records
        .iter()
        .filter(|(_, record)| record.piped)
        .filter_map(|(_, record)| record.parent.file_name().map(PathBuf::from))
        .collect();
    let entries = std::fs::read_dir(library.paths.piped());
    for folder in entries.into_iter().flatten().flatten() {
        let is_kept = kept.iter().any(|name| *name == folder.file_name());
        if !is_kept && !is_written(&folder.path()) {
            remove_folder(&folder.path());
        }
    }
}

/// Returns whether a command holds the lock of a file in a folder.
fn is_written(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| File::open(entry.path()).ok())
        .any(|file| file.try_lock().is_err())
}

fn remove_folder(folder: &Path) {
    if let Err(error) = std::fs::remove_dir_all(folder)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, "what came through a pipe stays behind");
    }
}
