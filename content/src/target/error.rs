//! Why a fetch cannot be prepared, written or finished.

use crate::notes::Notes;
use crate::platform;
use hither_proto::display_name;
use std::io;
use std::path::{Path, PathBuf};

/// Why a fetch cannot begin or go on. Nothing has been written.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Something has the share's name already.
    #[error("{} exists already", shown(.path))]
    Exists {
        /// What exists.
        path: PathBuf,
    },
    /// Something of another kind is where the share has a file or folder.
    #[error("{path:?} cannot be replaced: there is {found} where the share has {wanted}")]
    Conflict {
        /// Path inside the share, safe to show.
        path: String,
        /// What is there.
        found: &'static str,
        /// What the share has there.
        wanted: &'static str,
    },
    /// The disk does not have room for the share.
    #[error("not enough space: {needed} bytes are needed, {free} are free")]
    NoSpace {
        /// Bytes that the share takes.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The file system is mounted read-only.
    #[error("{} is on a read-only file system", shown(.path))]
    ReadOnly {
        /// The folder.
        path: PathBuf,
    },
    /// This user may not write there.
    #[error("no permission to write to {}", shown(.path))]
    Denied {
        /// The folder.
        path: PathBuf,
    },
    /// The folder to fetch into does not exist.
    #[error("{} does not exist", shown(.path))]
    NotFound {
        /// The folder.
        path: PathBuf,
    },
    /// What should be the folder to fetch into is none.
    #[error("{} is not a folder", shown(.path))]
    NotAFolder {
        /// What is no folder.
        path: PathBuf,
    },
    /// Some names cannot be written there, and nobody is to write them otherwise.
    #[error("some names cannot be written there: {notes}")]
    Names {
        /// Which, and why.
        notes: Notes,
    },
    /// The file system does not take files as large as one in the share.
    #[error("{name:?} is larger than the {max} bytes that files may have there")]
    FileTooLarge {
        /// Path inside the share, safe to show.
        name: String,
        /// Largest file of the file system, bytes.
        max: u64,
    },
    /// The partial, or a file of it that was durable, is gone.
    #[error("the unfinished fetch is no longer there")]
    PartialVanished,
    /// Something else has the partial's name.
    #[error("another file has taken the place of the unfinished fetch")]
    NotOurs,
    /// The system failed.
    #[error("{}: {source}", shown(.path))]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl PrepareError {
    pub(crate) fn from_io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path },
            io::ErrorKind::PermissionDenied => Self::Denied { path },
            io::ErrorKind::NotFound => Self::NotFound { path },
            io::ErrorKind::NotADirectory => Self::NotAFolder { path },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::NoSpace { needed: 0, free: 0 }
            }
            _ => Self::Io { path, source },
        }
    }
}

/// Why a chunk was not written or made durable.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The disk is full, or the user's quota is used up.
    #[error("no space is left")]
    NoSpace,
    /// The file system has become read-only.
    #[error("the file system is read-only")]
    ReadOnly,
    /// This user may no longer write there.
    #[error("no permission to write {path:?}")]
    Denied {
        /// Path inside the share, safe to show.
        path: String,
    },
    /// The partial, or something in it, was removed or replaced; what was written counts no longer.
    #[error("the unfinished fetch was removed or replaced ({path:?})")]
    PartialVanished {
        /// Path inside the share, safe to show.
        path: String,
    },
    /// The share has no such position, or its chunk another length.
    #[error("the share has no chunk {0} of this length")]
    Position(u32),
    /// The system failed; the disk may be broken.
    #[error("{path:?} cannot be written: {source}")]
    Io {
        /// Path inside the share, safe to show.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

impl WriteError {
    /// A file that is no part of a target, and has no name, could not be written.
    pub fn of_own(source: io::Error) -> Self {
        Self::from_io(|| "a file of its own".into(), source)
    }

    pub(crate) fn from_io(path: impl FnOnce() -> String, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace,
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            io::ErrorKind::PermissionDenied => Self::Denied { path: path() },
            _ if platform::is_gone(&source) => Self::PartialVanished { path: path() },
            _ => Self::Io {
                path: path(),
                source,
            },
        }
    }
}

/// Why a fetch was not finished. The partial is still there; finishing can be tried again.
#[derive(Debug, thiserror::Error)]
pub enum FinishError {
    /// Something has taken the share's name since the fetch began.
    #[error("{} exists already", shown(.path))]
    Exists {
        /// What exists.
        path: PathBuf,
    },
    /// Something of another kind is where the share has a file or folder.
    #[error("{path:?} cannot be replaced: there is {found} where the share has {wanted}")]
    Conflict {
        /// Path inside the share, safe to show.
        path: String,
        /// What is there.
        found: &'static str,
        /// What the share has there.
        wanted: &'static str,
    },
    /// A file of the partial is not as long as it must be: not everything was written.
    #[error("{path:?} is incomplete")]
    Incomplete {
        /// Path inside the share, safe to show.
        path: String,
    },
    /// Writing failed.
    #[error(transparent)]
    Write(#[from] WriteError),
}

pub(crate) fn shown(path: &Path) -> String {
    display_name(&path.to_string_lossy())
}
