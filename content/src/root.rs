//! What a share is of: the very folder that was shared, so that another one at its path is noticed.
//!
//! Invariants: a root is known by inode and time of birth, where the file system tells that, and
//! else by inode and device: numbers of devices change when a disk is plugged in again. A shared
//! file is known by the folder that it is in, because editors replace files. What is at a path is
//! looked at through the handle that is walked afterwards.

use crate::place::{Parts, Place};
use crate::platform::{self, Dir, Kind, Stat, is_gone};
use hither_proto::display_name;
use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;

/// Device numbers of file systems without a device of their own (Linux,
/// `Documentation/admin-guide/devices.txt`: major 0); they are another one after each mount.
const fn is_anonymous(device: u64) -> bool {
    // As glibc's `major` puts it together.
    ((device >> 8) & 0xfff) | ((device >> 32) & !0xfff) == 0
}

/// The folder that was shared, or that a shared file is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootId {
    /// Number of the device.
    pub device: u64,
    /// Number of the folder on it.
    pub inode: u64,
    /// When the folder was made, nanoseconds since the Unix epoch; 0 where that is not told.
    pub born_ns: i64,
    /// True when a folder was shared, or a file in it.
    pub folder: bool,
}

impl RootId {
    /// Returns whether both are the same folder, as far as can be told.
    pub const fn is_same(&self, other: &Self) -> bool {
        if self.inode != other.inode || self.folder != other.folder {
            return false;
        }
        match (self.born_ns, other.born_ns) {
            (0, _) | (_, 0) => {
                self.device == other.device
                    || is_anonymous(self.device)
                    || is_anonymous(other.device)
            }
            (born, other) => born == other,
        }
    }

    /// An open folder.
    pub(crate) fn of_folder(dir: &Dir) -> io::Result<Self> {
        let this = OsStr::new(".");
        let (stat, born_ns) = (dir.stat(this)?, dir.born_ns(this)?);
        Ok(Self {
            device: stat.device,
            inode: stat.inode,
            born_ns,
            folder: true,
        })
    }

    fn of(parent: &Dir, name: &OsStr, stat: &Stat) -> io::Result<Self> {
        if stat.kind == Kind::Folder {
            let born_ns = parent.born_ns(name)?;
            return Ok(Self {
                device: stat.device,
                inode: stat.inode,
                born_ns,
                folder: true,
            });
        }
        let this = OsStr::new(".");
        let (stat, born_ns) = (parent.stat(this)?, parent.born_ns(this)?);
        Ok(Self {
            device: stat.device,
            inode: stat.inode,
            born_ns,
            folder: false,
        })
    }
}

/// Why what is at the path of a share is not what was shared.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// Nothing is there.
    #[error("it is not there any more")]
    Gone,
    /// Something else is there.
    #[error("another {0} is there than the one that was shared")]
    Other(&'static str),
    /// A folder in it that was on a disk of its own is not any more.
    #[error("{0:?} in it is not mounted any more")]
    Unmounted(String),
    /// The system does not let it be looked at.
    #[error("it cannot be read: {0}")]
    Io(#[source] io::Error),
}

/// A place that was opened, and what is there.
pub(crate) struct Opened {
    pub(crate) parent: Dir,
    pub(crate) stat: Stat,
    pub(crate) id: RootId,
}

/// Opens the folder that a place is in and looks at what is there.
pub(crate) fn open(place: &Place) -> Result<Opened, RootError> {
    let failed = |error: io::Error| {
        if is_gone(&error) {
            RootError::Gone
        } else {
            RootError::Io(error)
        }
    };
    let parent = Dir::open_exact(&place.parent).map_err(failed)?;
    let stat = parent.stat(&place.name).map_err(failed)?;
    let id = RootId::of(&parent, &place.name, &stat).map_err(failed)?;
    Ok(Opened { parent, stat, id })
}

/// The same of what was shared before as `known`.
pub(crate) fn open_known(place: &Place, known: &RootId) -> Result<Opened, RootError> {
    let opened = open(place)?;
    match opened.stat.kind {
        Kind::Symlink => return Err(RootError::Other("thing (a symbolic link)")),
        Kind::File if known.folder => return Err(RootError::Other("thing (a file)")),
        Kind::Folder if !known.folder => return Err(RootError::Other("thing (a folder)")),
        Kind::Special(_) => return Err(RootError::Other("thing")),
        Kind::File | Kind::Folder => {}
    }
    match opened.id.is_same(known) {
        true => Ok(opened),
        false if known.folder => Err(RootError::Other("folder")),
        false => Err(RootError::Other("file, in another folder,")),
    }
}

/// Returns whether what was shared is still at its places, in the order of which `known` tells.
/// Asks for nothing inside.
pub fn check_roots<'a>(
    places: impl IntoIterator<Item = &'a Place>,
    known: &[RootId],
) -> Result<(), (PathBuf, RootError)> {
    places
        .into_iter()
        .zip(known)
        .try_for_each(|(place, known)| {
            open_known(place, known)
                .map(|_| ())
                .map_err(|error| (place.path(), error))
        })
}

/// Returns whether something is still mounted on these folders below the top.
pub fn check_mounts(parts: &Parts, mounts: &[String]) -> Result<(), (PathBuf, RootError)> {
    let top = parts.first();
    let is_mounted = |below: &String| {
        // Of several parts each is called in the share as on the disk.
        let part = below.split('/').next().unwrap_or_default();
        let part = parts
            .iter()
            .find(|place| parts.are_several() && place.name == part);
        let path = part.map_or_else(|| top.path().join(below), |part| part.parent.join(below));
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return true;
        };
        // What may not be looked at is not called unmounted.
        Dir::open_exact(folder).map_or_else(
            |error| !is_gone(&error),
            |folder| folder.is_mount_root(name),
        )
    };
    match mounts.iter().find(|below| !is_mounted(below)) {
        Some(below) => Err((top.path(), RootError::Unmounted(display_name(below)))),
        None => Ok(()),
    }
}

/// A folder, whatever path leads to it.
pub type FolderId = (u64, u64);

/// The folders that places are in; none for those that cannot be looked at.
pub fn folders_above<'a>(places: impl IntoIterator<Item = &'a Place>) -> Vec<FolderId> {
    let above = places
        .into_iter()
        .filter_map(|place| platform::stat_path(&place.parent).ok());
    above.map(|stat| (stat.device, stat.inode)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn another_folder_at_the_path_is_noticed_and_the_same_one_known_again() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir(root.join("shared")).unwrap();
        let place = Place {
            parent: root.clone(),
            name: "shared".into(),
        };
        let known = [open(&place).unwrap().id];
        let check = || check_roots([&place], &known).map_err(|(_, error)| error.to_string());
        assert_eq!(check(), Ok(()));
        fs::rename(root.join("shared"), root.join("away")).unwrap();
        assert_eq!(check(), Err("it is not there any more".into()));
        fs::create_dir(root.join("shared")).unwrap();
        assert_eq!(
            check(),
            Err("another folder is there than the one that was shared".into())
        );
        fs::remove_dir(root.join("shared")).unwrap();
        std::os::unix::fs::symlink("away", root.join("shared")).unwrap();
        assert!(check().unwrap_err().contains("symbolic link"));
        fs::remove_file(root.join("shared")).unwrap();
        fs::rename(root.join("away"), root.join("shared")).unwrap();
        assert_eq!(check(), Ok(()));
    }

    #[test]
    fn a_file_may_be_replaced_and_its_folder_may_not() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir(root.join("in")).unwrap();
        fs::write(root.join("in/file"), "1").unwrap();
        let place = Place {
            parent: root.join("in"),
            name: "file".into(),
        };
        let known = [open(&place).unwrap().id];
        fs::write(root.join("in/new"), "2").unwrap();
        fs::rename(root.join("in/new"), root.join("in/file")).unwrap();
        assert!(check_roots([&place], &known).is_ok());
        fs::rename(root.join("in"), root.join("old")).unwrap();
        fs::create_dir(root.join("in")).unwrap();
        fs::write(root.join("in/file"), "1").unwrap();
        assert!(check_roots([&place], &known).is_err());
    }

    #[test]
    fn disks_are_the_same_after_they_were_plugged_in_again() {
        let id = RootId {
            device: 0x801,
            inode: 2,
            born_ns: 7,
            folder: true,
        };
        assert!(
            id.is_same(&RootId {
                device: 0x811,
                ..id
            }),
            "born at the same moment"
        );
        assert!(
            !id.is_same(&RootId { born_ns: 8, ..id }) && !id.is_same(&RootId { inode: 3, ..id })
        );
        let unborn = RootId { born_ns: 0, ..id };
        assert!(
            unborn.is_same(&id)
                && !unborn.is_same(&RootId {
                    device: 0x811,
                    ..id
                })
        );
        assert!(
            unborn.is_same(&RootId { device: 0x2a, ..id }),
            "such numbers are of one mount"
        );
    }
}
