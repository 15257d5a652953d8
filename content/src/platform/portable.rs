//! Folders and files by handle, with cap-std: for systems that are not Unix. Slower, and with less
//! to say about files.
//!
//! It cannot do these: absolute symlink targets (cap-std does not make them), syncing folders and
//! file systems, asking for free space, holes, reserving and sharing blocks. All of that is
//! optional for the callers.

use super::{Data, Kind, Space, Stat};
use cap_fs_ext::{
    DirExt, FollowSymlinks, MetadataExt, OpenOptions, OpenOptionsFollowExt, OpenOptionsMaybeDirExt,
    SystemTimeSpec,
};
use cap_std::ambient_authority;
use cap_std::time::SystemTime as CapTime;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An open folder.
#[derive(Debug)]
pub(crate) struct Dir(cap_std::fs::Dir);

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.follow(FollowSymlinks::No);
    options
}

impl Dir {
    /// Opens a folder by a path that the user of this device gave; symlinks in it are followed.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        cap_std::fs::Dir::open_ambient_dir(path, ambient_authority()).map(Self)
    }

    /// Opens a folder by an absolute path that had no symlinks when it was recorded. Only its last
    /// name is checked.
    pub(crate) fn open_exact(path: &Path) -> io::Result<Self> {
        if path.symlink_metadata()?.is_symlink() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Self::open(path)
    }

    /// Opens a folder inside this one.
    pub(crate) fn open_dir(&self, name: &OsStr) -> io::Result<Self> {
        self.0.open_dir_nofollow(name).map(Self)
    }

    /// Opens a folder inside this one; mounted ones are not told from others here.
    pub(crate) fn open_dir_within(&self, name: &OsStr) -> io::Result<Self> {
        self.open_dir(name)
    }

    /// Modes do not keep anybody out here.
    pub(crate) fn open_own_dir(&self, _: &OsStr, refused: io::Error) -> io::Result<Self> {
        Err(refused)
    }

    /// There are no modes that could be set without opening.
    pub(crate) fn set_mode_at(&self, _: &OsStr, _: u32) -> io::Result<()> {
        Ok(())
    }

    /// Creates a folder.
    pub(crate) fn make_dir(&self, name: &OsStr) -> io::Result<()> {
        self.0.create_dir(name)
    }

    /// Opens an existing file for reading.
    pub(crate) fn open_read(&self, name: &OsStr) -> io::Result<File> {
        self.0
            .open_with(name, options().read(true))
            .map(cap_std::fs::File::into_std)
    }

    /// Opens an existing file for reading and writing.
    pub(crate) fn open_write(&self, name: &OsStr) -> io::Result<File> {
        self.0
            .open_with(name, options().read(true).write(true))
            .map(cap_std::fs::File::into_std)
    }

    /// Creates a file; fails when anything has that name.
    pub(crate) fn create(&self, name: &OsStr) -> io::Result<File> {
        self.0
            .open_with(name, options().read(true).write(true).create_new(true))
            .map(cap_std::fs::File::into_std)
    }

    /// Calls `visit` with every name in the folder, in no order, until it returns an error.
    pub(crate) fn names(
        &self,
        visit: &mut dyn FnMut(OsString) -> io::Result<()>,
    ) -> io::Result<()> {
        self.0
            .entries()?
            .try_for_each(|entry| visit(entry?.file_name()))
    }

    /// What has this name.
    pub(crate) fn stat(&self, name: &OsStr) -> io::Result<Stat> {
        let metadata = self.0.symlink_metadata(name)?;
        if metadata.is_symlink() {
            return Ok(convert(Kind::Symlink, &metadata, (0, 0, 1)));
        }
        if !metadata.is_file() && !metadata.is_dir() {
            return Ok(convert(
                Kind::Special("something special"),
                &metadata,
                (0, 0, 1),
            ));
        }
        // Some systems know a file's identity only when it is open.
        match self.0.open_with(name, options().read(true).maybe_dir(true)) {
            Ok(file) => file.metadata().map(|metadata| of_open(&metadata)),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let kind = if metadata.is_dir() {
                    Kind::Folder
                } else {
                    Kind::File
                };
                Ok(convert(kind, &metadata, (0, 0, 1)))
            }
            Err(error) => Err(error),
        }
    }

    /// When the file was created, nanoseconds since the Unix epoch; 0 where the file system does
    /// not say.
    pub(crate) fn born_ns(&self, name: &OsStr) -> io::Result<i64> {
        Ok(self
            .0
            .symlink_metadata(name)?
            .created()
            .map_or(0, |time| since_epoch(time.into_std())))
    }

    /// Returns whether something is mounted on the folder of this name: it does not tell.
    pub(crate) fn is_mount_root(&self, _: &OsStr) -> bool {
        false
    }

    /// Whether this user may read what has this name.
    pub(crate) fn readable(&self, name: &OsStr, _: &Stat) -> bool {
        self.open_read(name).is_ok()
    }

    /// Where a symlink points.
    pub(crate) fn read_link(&self, name: &OsStr) -> io::Result<OsString> {
        self.0.read_link_contents(name).map(Into::into)
    }

    /// Creates a symlink; `target` must be relative.
    pub(crate) fn symlink(&self, target: &str, name: &OsStr) -> io::Result<()> {
        DirExt::symlink(&self.0, Path::new(target), Path::new(name))
    }

    /// Sets a symlink's own modification time.
    pub(crate) fn set_symlink_mtime(&self, name: &OsStr, mtime_ns: i64) -> io::Result<()> {
        let time = SystemTimeSpec::Absolute(CapTime::from_std(at(mtime_ns)));
        self.0.set_symlink_times(name, None, Some(time))
    }

    /// Removes a file or symlink.
    pub(crate) fn remove_file(&self, name: &OsStr) -> io::Result<()> {
        self.0.remove_file_or_symlink(name)
    }

    /// Removes an empty folder.
    pub(crate) fn remove_dir(&self, name: &OsStr) -> io::Result<()> {
        self.0.remove_dir(name)
    }

    /// Moves `name` to `to_name` in `to`, replacing a file that is there.
    pub(crate) fn rename(&self, name: &OsStr, to: &Self, to_name: &OsStr) -> io::Result<()> {
        self.0.rename(name, &to.0, to_name)
    }

    /// Moves `name` to `to_name` in `to`; fails with `AlreadyExists` when anything is there (not
    /// atomically).
    pub(crate) fn rename_new(&self, name: &OsStr, to: &Self, to_name: &OsStr) -> io::Result<()> {
        match to.0.symlink_metadata(to_name) {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.rename(name, to, to_name),
            Err(error) => Err(error),
        }
    }

    /// Folders cannot be synced here.
    pub(crate) fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    /// File systems cannot be synced here.
    pub(crate) fn sync_file_system(&self) -> io::Result<bool> {
        Ok(false)
    }

    /// Folders keep the mode they were created with; their times cannot be set through a handle
    /// here.
    pub(crate) fn finish(&self, _mode: u32, _mtime_ns: i64) -> io::Result<()> {
        Ok(())
    }

    /// Folders keep the mode they were created with.
    pub(crate) fn set_mode(&self, _mode: u32) -> io::Result<()> {
        Ok(())
    }

    /// Unknown here, so nothing is refused.
    pub(crate) fn space(&self) -> io::Result<Space> {
        Ok(Space {
            free: u64::MAX,
            read_only: false,
            max_name: u64::from(u8::MAX),
            max_file: i64::MAX as u64,
        })
    }
}

fn at(ns: i64) -> SystemTime {
    let distance = Duration::from_nanos(ns.unsigned_abs());
    let time = if ns >= 0 {
        UNIX_EPOCH.checked_add(distance)
    } else {
        UNIX_EPOCH.checked_sub(distance)
    };
    time.unwrap_or(UNIX_EPOCH)
}

fn since_epoch(time: SystemTime) -> i64 {
    let nanoseconds = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => nanoseconds(after),
        Err(before) => -nanoseconds(before.duration()),
    }
}

fn of_open(metadata: &cap_std::fs::Metadata) -> Stat {
    let kind = match metadata.file_type() {
        kind if kind.is_dir() => Kind::Folder,
        kind if kind.is_file() => Kind::File,
        _ => Kind::Special("something special"),
    };
    convert(
        kind,
        metadata,
        (metadata.dev(), metadata.ino(), metadata.nlink()),
    )
}

fn convert(
    kind: Kind,
    metadata: &cap_std::fs::Metadata,
    (device, inode, links): (u64, u64, u64),
) -> Stat {
    let mode = match kind {
        Kind::Folder => 0o755,
        _ if metadata.permissions().readonly() => 0o444,
        _ => 0o644,
    };
    Stat {
        kind,
        mode,
        size: metadata.len(),
        mtime_ns: metadata
            .modified()
            .map_or(0, |time| since_epoch(time.into_std())),
        ctime_ns: 0,
        device,
        inode,
        links,
        allocated: metadata.len(),
        uid: 0,
    }
}

/// Whether an error means that the name no longer stands for what it did.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Returns what a path leads to; symlinks in it are followed.
pub(crate) fn stat_path(path: &Path) -> io::Result<Stat> {
    let path = path.canonicalize()?;
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Dir::open(parent)?.stat(name),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

pub(crate) fn stat_file(file: &File) -> io::Result<Stat> {
    cap_std::fs::File::from_std(file.try_clone()?)
        .metadata()
        .map(|metadata| of_open(&metadata))
}

#[cfg(unix)]
pub(crate) fn read_at(file: &File, out: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, out, offset)
}

#[cfg(unix)]
pub(crate) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::write_at(file, bytes, offset)
}

#[cfg(windows)]
pub(crate) fn read_at(file: &File, out: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, out, offset)
}

#[cfg(windows)]
pub(crate) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_write(file, bytes, offset)
}

/// Makes a file's content durable.
pub(crate) fn sync_data(file: &File) -> io::Result<()> {
    file.sync_data()
}

/// Sets the modification time, and whether the file may be written to.
pub(crate) fn finish_file(file: &File, mode: u32, mtime_ns: i64) -> io::Result<()> {
    file.set_modified(at(mtime_ns))?;
    let mut permissions = file.metadata()?.permissions();
    permissions.set_readonly(mode & 0o200 == 0);
    file.set_permissions(permissions)
}

/// Holes are not known here.
pub(crate) fn data_from(_: &File, _: u64, _: u64) -> Option<Data> {
    None
}

/// Nothing to tell the system.
pub(crate) fn hint_sequential(_: &File) {}

/// Nothing is reserved.
pub(crate) fn preallocate(_: &File, _: u64) -> io::Result<()> {
    Ok(())
}

/// Blocks cannot be shared here.
pub(crate) fn can_share_blocks(_: &File) -> bool {
    false
}

/// Blocks cannot be shared here.
pub(crate) fn clone_range(_: &File, _: u64, _: &File, _: u64, _: u64) -> bool {
    false
}
