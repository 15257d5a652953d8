//! The names in a folder, in order, and why they may not be had.

use crate::platform::Dir;
use hither_proto::limits::MAX_ENTRIES;
use std::ffi::OsString;
use std::io;

/// Returns what the system said, without its number.
pub(crate) fn in_words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error")
        .map_or(text.as_str(), |(words, _)| words)
        .to_lowercase()
}

/// For [`ListError::TooMany`], in words.
pub(crate) const TOO_MANY: &str = "number of files in one folder";

/// Why a folder was not listed.
pub(crate) enum ListError {
    TooMany,
    Io(io::Error),
}

/// The names in a folder, in order.
pub(crate) fn list(dir: &Dir) -> Result<Vec<OsString>, ListError> {
    let mut names = Vec::new();
    let listed = dir.names(&mut |name| {
        names.push(name);
        if names.len() as u64 > MAX_ENTRIES {
            Err(io::ErrorKind::FileTooLarge.into())
        } else {
            Ok(())
        }
    });
    match listed {
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            return Err(ListError::TooMany);
        }
        Err(error) => return Err(ListError::Io(error)),
        Ok(()) => {}
    }
    names.sort_unstable_by(|a, b| a.as_encoded_bytes().cmp(b.as_encoded_bytes()));
    Ok(names)
}
