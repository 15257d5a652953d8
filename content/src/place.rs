//! Where what is shared is on this device.

use std::ffi::{OsStr, OsString};
use std::io;
use std::iter;
use std::path::{Path, PathBuf};

/// Where an entry of a share is on this device.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// The folder it is in: an absolute path without symlinks.
    pub parent: PathBuf,
    /// Its name there.
    pub name: OsString,
}

impl Place {
    /// The place that a path leads to, resolved by the file system: symlinks in it are followed,
    /// the last one too. The root of a file system is `.` in itself.
    ///
    /// Fails where the path leads nowhere or may not be walked.
    pub fn resolve(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize()?;
        Ok(match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => Self {
                parent: parent.to_owned(),
                name: name.to_owned(),
            },
            _ => Self {
                parent: path,
                name: OsString::from("."),
            },
        })
    }

    /// Path of the entry.
    pub fn path(&self) -> PathBuf {
        self.parent.join(&self.name)
    }
}

/// The place of the files of a share: one part, its top entry; or several, the entries below a top
/// that is a folder of no device.
///
/// Invariant: several parts are in the order of the bytes of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    first: Place,
    /// Those behind the first.
    more: Vec<Place>,
}

impl Parts {
    /// Parts in any order; `None` when there is none.
    pub fn new(mut parts: Vec<Place>) -> Option<Self> {
        parts.sort_by(|a, b| a.name.as_encoded_bytes().cmp(b.name.as_encoded_bytes()));
        let mut parts = parts.into_iter();
        Some(Self {
            first: parts.next()?,
            more: parts.collect(),
        })
    }

    /// Whether the top is a folder that holds these parts and exists nowhere.
    pub const fn are_several(&self) -> bool {
        !self.more.is_empty()
    }

    /// The first part; the top entry, when there is one part.
    pub const fn first(&self) -> &Place {
        &self.first
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Place> {
        iter::once(&self.first).chain(&self.more)
    }

    /// The number of the part of this name among several.
    pub(crate) fn named(&self, name: &OsStr) -> Option<usize> {
        if self.first.name == name {
            return Some(0);
        }
        let order = |part: &Place| part.name.as_encoded_bytes().cmp(name.as_encoded_bytes());
        self.more
            .binary_search_by(order)
            .ok()
            .map(|number| number + 1)
    }

    /// A part by its number.
    pub(crate) fn get(&self, number: usize) -> Option<&Place> {
        match number.checked_sub(1) {
            Some(behind) => self.more.get(behind),
            None => Some(&self.first),
        }
    }
}

impl From<Place> for Parts {
    fn from(place: Place) -> Self {
        Self {
            first: place,
            more: Vec::new(),
        }
    }
}
