//! Why a path was not imported.

use crate::crypt::SealError;
use crate::listing::in_words;
use crate::notes::Notes;
use crate::patterns::PatternError;
use crate::root::RootError;
use hither_proto::{ManifestError, display_name};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why something could not be read; shown, it completes "… cannot be read: …".
#[derive(Debug)]
pub enum Unreadable {
    /// The system said so.
    Io(io::Error),
    /// It changed during every attempt.
    Changing,
    /// It is not as long as the system says, as files of `/proc` and `/sys` are not.
    Endless,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => f.write_str(&in_words(error)),
            Self::Changing => f.write_str("it keeps changing while it is read"),
            Self::Endless => f.write_str("the system does not say how long it is"),
        }
    }
}

impl std::error::Error for Unreadable {}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Why a path was not imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Nothing is there.
    #[error("{} does not exist", shown(.path))]
    NotFound {
        /// What was to be shared.
        path: PathBuf,
    },
    /// Neither a file nor a folder.
    #[error("{} is {kind}, which cannot be shared", shown(.path))]
    Special {
        /// What was to be shared.
        path: PathBuf,
        /// What it is, in words.
        kind: &'static str,
    },
    /// It belongs to Hither itself, or is inside what does.
    #[error("{} cannot be shared: {reason}", shown(.path))]
    Own {
        /// What was to be shared.
        path: PathBuf,
        /// Why not, in words.
        reason: &'static str,
    },
    /// What is there is not what was shared before.
    #[error("{}: {source}", shown(.path))]
    Moved {
        /// What was shared.
        path: PathBuf,
        /// What is wrong with it.
        source: RootError,
    },
    /// Entries of one folder cannot have one name.
    #[error("several of the paths are called {name:?}")]
    SameName {
        /// The name, safe to show.
        name: String,
    },
    /// Some of it is unreadable or has names that other systems refuse.
    #[error("{} of the entries cannot be shared: {notes}", .notes.total)]
    Unshareable {
        /// Which, and why.
        notes: Notes,
    },
    /// A file that says what is left out cannot be used.
    #[error("{path}: {source}")]
    Patterns {
        /// Path below the shared one, safe to show.
        path: String,
        /// Why not.
        source: PatternError,
    },
    /// More than a share may hold.
    #[error("too much for one share: the {0} is beyond the limit")]
    TooLarge(&'static str),
    /// A file or folder could not be read.
    #[error("{path:?} cannot be read: {source}")]
    Read {
        /// Path below the shared one, of that itself the whole path; safe to show.
        path: String,
        /// Why not.
        source: Unreadable,
    },
    /// Stopped by the caller.
    #[error("sharing was cancelled")]
    Cancelled,
    /// The tree does not make a manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A chunk could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

pub(crate) fn shown(path: &Path) -> String {
    display_name(&path.to_string_lossy())
}
