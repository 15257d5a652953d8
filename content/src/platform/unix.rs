//! Folders and files by handle, with rustix. The calls that only Linux has fall back where they are
//! missing.

use super::{Data, Kind, Space, Stat};
use crate::open_files::with_room;
use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

/// An open folder.
#[derive(Debug)]
pub(crate) struct Dir(OwnedFd);

const DIR_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);
/// Opening a FIFO that took the place of a file must not wait for somebody to write into it.
const READ_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);
const WRITE_FLAGS: OFlags = OFlags::RDWR
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);

impl Dir {
    /// Opens a folder by a path that the user of this device gave; symlinks in it are followed.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        with_room(|| Ok(Self(fs::openat(CWD, path, DIR_FLAGS, Mode::empty())?)))
    }

    /// Opens a folder by an absolute path that had no symlinks when it was recorded and must have
    /// none now.
    pub(crate) fn open_exact(path: &Path) -> io::Result<Self> {
        with_room(|| Self::try_open_exact(path))
    }

    fn try_open_exact(path: &Path) -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        match fs::openat2(
            CWD,
            path,
            DIR_FLAGS,
            Mode::empty(),
            fs::ResolveFlags::NO_SYMLINKS,
        ) {
            // Kernels before 5.6, and sandboxes that do not know the call.
            Err(Errno::NOSYS | Errno::PERM) => {}
            result => return Ok(Self(result?)),
        }
        Ok(Self(fs::openat(
            CWD,
            path,
            DIR_FLAGS | OFlags::NOFOLLOW,
            Mode::empty(),
        )?))
    }

    /// Opens a folder inside this one.
    pub(crate) fn open_dir(&self, name: &OsStr) -> io::Result<Self> {
        with_room(|| {
            Ok(Self(fs::openat(
                &self.0,
                name,
                DIR_FLAGS | OFlags::NOFOLLOW,
                Mode::empty(),
            )?))
        })
    }

    /// Opens a folder inside this one that is on the same mounted file system; nothing that stands
    /// at the name leads anywhere else.
    pub(crate) fn open_dir_within(&self, name: &OsStr) -> io::Result<Self> {
        with_room(|| self.try_open_within(name))
    }

    fn try_open_within(&self, name: &OsStr) -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::ResolveFlags;
            let resolve = ResolveFlags::BENEATH
                | ResolveFlags::NO_SYMLINKS
                | ResolveFlags::NO_MAGICLINKS
                | ResolveFlags::NO_XDEV;
            let flags = DIR_FLAGS | OFlags::NOFOLLOW;
            match fs::openat2(&self.0, name, flags, Mode::empty(), resolve) {
                // Kernels before 5.6, and sandboxes that do not know the call.
                Err(Errno::NOSYS | Errno::PERM) => {}
                result => return Ok(Self(result?)),
            }
        }
        self.step_within(name)
    }

    /// The same one step at a time, as it is done where the system has no call for it.
    pub(crate) fn step_within(&self, name: &OsStr) -> io::Result<Self> {
        let flags = DIR_FLAGS | OFlags::NOFOLLOW;
        let inner = Self(fs::openat(&self.0, name, flags, Mode::empty())?);
        let (here, there) = (fs::fstat(&self.0)?, fs::fstat(&inner.0)?);
        if here.st_dev != there.st_dev || inner.is_mount_root(OsStr::new(".")) {
            return Err(Errno::XDEV.into());
        }
        Ok(inner)
    }

    /// Opens a folder inside this one that belongs to this user but whose mode does not let it be
    /// opened, which is what `refused` says; the mode is widened for its owner. Anything else
    /// is `refused`.
    pub(crate) fn open_own_dir(&self, name: &OsStr, refused: io::Error) -> io::Result<Self> {
        if refused.kind() != io::ErrorKind::PermissionDenied {
            return Err(refused);
        }
        let stat = self.stat(name)?;
        if stat.kind != Kind::Folder || stat.mode & 0o700 == 0o700 {
            return Err(refused);
        }
        self.set_mode_at(name, stat.mode | 0o700)
            .map_err(|_| refused)?;
        self.open_dir(name)
    }

    /// Sets the permission bits of a file or folder that this user owns but may not be able to
    /// open.
    pub(crate) fn set_mode_at(&self, name: &OsStr, mode: u32) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        {
            // A handle of what has the name now, be it a symlink; /proc leads to that very thing,
            // and the system sets no mode of a symlink.
            let handle = fs::openat(
                &self.0,
                name,
                OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                Mode::empty(),
            )?;
            let kind = convert(&fs::fstat(&handle)?).kind;
            if !matches!(kind, Kind::File | Kind::Folder) {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            let number = std::os::fd::AsRawFd::as_raw_fd(&handle);
            Ok(fs::chmod(
                format!("/proc/self/fd/{number}"),
                permissions(mode),
            )?)
        }
        #[cfg(not(target_os = "linux"))]
        {
            Ok(fs::chmodat(
                &self.0,
                name,
                permissions(mode),
                AtFlags::SYMLINK_NOFOLLOW,
            )?)
        }
    }

    /// Creates a folder that only this user may enter.
    pub(crate) fn make_dir(&self, name: &OsStr) -> io::Result<()> {
        Ok(fs::mkdirat(&self.0, name, Mode::RWXU)?)
    }

    /// Opens an existing file for reading.
    pub(crate) fn open_read(&self, name: &OsStr) -> io::Result<File> {
        with_room(|| Ok(fs::openat(&self.0, name, READ_FLAGS, Mode::empty())?.into()))
    }

    /// Opens an existing file for reading and writing.
    pub(crate) fn open_write(&self, name: &OsStr) -> io::Result<File> {
        with_room(|| Ok(fs::openat(&self.0, name, WRITE_FLAGS, Mode::empty())?.into()))
    }

    /// Creates a file that only this user may read; fails when anything has that name.
    pub(crate) fn create(&self, name: &OsStr) -> io::Result<File> {
        let flags = WRITE_FLAGS | OFlags::CREATE | OFlags::EXCL;
        with_room(|| Ok(fs::openat(&self.0, name, flags, Mode::RUSR | Mode::WUSR)?.into()))
    }

    /// Calls `visit` with every name in the folder, in no order, until it returns an error.
    pub(crate) fn names(
        &self,
        visit: &mut dyn FnMut(OsString) -> io::Result<()>,
    ) -> io::Result<()> {
        for entry in fs::Dir::read_from(&self.0)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                visit(OsString::from_vec(name.to_vec()))?;
            }
        }
        Ok(())
    }

    /// What has this name.
    pub(crate) fn stat(&self, name: &OsStr) -> io::Result<Stat> {
        Ok(convert(&fs::statat(
            &self.0,
            name,
            AtFlags::SYMLINK_NOFOLLOW,
        )?))
    }

    /// When the file was created, nanoseconds since the Unix epoch; 0 where the file system does
    /// not say.
    pub(crate) fn born_ns(&self, name: &OsStr) -> io::Result<i64> {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::StatxFlags;
            let stat = fs::statx(&self.0, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BTIME);
            Ok(match stat {
                Ok(stat) if stat.stx_mask & StatxFlags::BTIME.bits() != 0 => {
                    nanoseconds(stat.stx_btime.tv_sec, i64::from(stat.stx_btime.tv_nsec))
                }
                Err(error @ (Errno::NOENT | Errno::ACCESS | Errno::NOTDIR)) => {
                    return Err(error.into());
                }
                _ => 0,
            })
        }
        #[cfg(not(target_os = "linux"))]
        {
            self.stat(name).map(|_| 0)
        }
    }

    /// Returns whether something is mounted on the folder of this name; `false` where the system
    /// does not tell.
    pub(crate) fn is_mount_root(&self, name: &OsStr) -> bool {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{StatxAttributes, StatxFlags};
            fs::statx(
                &self.0,
                name,
                AtFlags::SYMLINK_NOFOLLOW,
                StatxFlags::empty(),
            )
            .is_ok_and(|stat| stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = name;
            false
        }
    }

    /// Whether this user may read what `stat` describes, which has this name.
    pub(crate) fn readable(&self, name: &OsStr, stat: &Stat) -> bool {
        let me = rustix::process::geteuid();
        // The owner's bits are not masked by access control lists; root may read everything.
        if me.is_root() || (stat.uid == me.as_raw() && stat.mode & 0o400 != 0) {
            return true;
        }
        fs::accessat(&self.0, name, fs::Access::READ_OK, AtFlags::EACCESS).is_ok()
    }

    /// Where a symlink points.
    pub(crate) fn read_link(&self, name: &OsStr) -> io::Result<OsString> {
        Ok(OsString::from_vec(
            fs::readlinkat(&self.0, name, Vec::new())?.into_bytes(),
        ))
    }

    /// Creates a symlink; `target` may be any text.
    pub(crate) fn symlink(&self, target: &str, name: &OsStr) -> io::Result<()> {
        Ok(fs::symlinkat(target, &self.0, name)?)
    }

    /// Sets a symlink's own modification time.
    pub(crate) fn set_symlink_mtime(&self, name: &OsStr, mtime_ns: i64) -> io::Result<()> {
        Ok(fs::utimensat(
            &self.0,
            name,
            &mtime(mtime_ns),
            AtFlags::SYMLINK_NOFOLLOW,
        )?)
    }

    /// Removes a file or symlink.
    pub(crate) fn remove_file(&self, name: &OsStr) -> io::Result<()> {
        Ok(fs::unlinkat(&self.0, name, AtFlags::empty())?)
    }

    /// Removes an empty folder.
    pub(crate) fn remove_dir(&self, name: &OsStr) -> io::Result<()> {
        Ok(fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR)?)
    }

    /// Moves `name` to `to_name` in `to`, replacing a file that is there.
    pub(crate) fn rename(&self, name: &OsStr, to: &Self, to_name: &OsStr) -> io::Result<()> {
        Ok(fs::renameat(&self.0, name, &to.0, to_name)?)
    }

    /// Moves `name` to `to_name` in `to`; fails with `AlreadyExists` when anything is there.
    pub(crate) fn rename_new(&self, name: &OsStr, to: &Self, to_name: &OsStr) -> io::Result<()> {
        #[cfg(any(target_os = "linux", target_vendor = "apple"))]
        match fs::renameat_with(&self.0, name, &to.0, to_name, fs::RenameFlags::NOREPLACE) {
            // File systems without the flag (some FUSE, some NFS), kernels without the call.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            result => return Ok(result?),
        }
        match to.stat(to_name) {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.rename(name, to, to_name),
            Err(error) => Err(error),
        }
    }

    /// Makes the names in this folder durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        match fs::fsync(&self.0) {
            // Some network file systems cannot, and need not.
            Err(Errno::INVAL | Errno::NOTSUP) => Ok(()),
            result => Ok(result?),
        }
    }

    /// Makes everything on this folder's file system durable; `false` where that cannot be asked
    /// for.
    pub(crate) fn sync_file_system(&self) -> io::Result<bool> {
        #[cfg(target_os = "linux")]
        {
            match fs::syncfs(&self.0) {
                Err(Errno::NOSYS | Errno::PERM) => Ok(false),
                Err(error) => Err(error.into()),
                Ok(()) => Ok(true),
            }
        }
        #[cfg(not(target_os = "linux"))]
        {
            Ok(false)
        }
    }

    /// Sets this folder's permission bits and modification time.
    pub(crate) fn finish(&self, mode: u32, mtime_ns: i64) -> io::Result<()> {
        fs::fchmod(&self.0, permissions(mode))?;
        Ok(fs::futimens(&self.0, &mtime(mtime_ns))?)
    }

    /// Sets this folder's permission bits.
    pub(crate) fn set_mode(&self, mode: u32) -> io::Result<()> {
        Ok(fs::fchmod(&self.0, permissions(mode))?)
    }

    /// Room and limits of the file system.
    pub(crate) fn space(&self) -> io::Result<Space> {
        let stat = fs::fstatvfs(&self.0)?;
        Ok(Space {
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
            read_only: stat.f_flag.contains(fs::StatVfsMountFlags::RDONLY),
            max_name: if stat.f_namemax == 0 {
                u64::from(u8::MAX)
            } else {
                stat.f_namemax
            },
            max_file: self.max_file(),
        })
    }

    /// FAT stores a file's length in 32 bits; others take more than a share can hold.
    fn max_file(&self) -> u64 {
        #[cfg(target_os = "linux")]
        if file_system(&self.0) == Some(MSDOS_SUPER_MAGIC) {
            return u64::from(u32::MAX);
        }
        i64::MAX as u64
    }
}

/// `f_type` values, linux/magic.h.
#[cfg(target_os = "linux")]
const MSDOS_SUPER_MAGIC: u64 = 0x4d44;
#[cfg(target_os = "linux")]
const EXT4_SUPER_MAGIC: u64 = 0xef53;
#[cfg(target_os = "linux")]
const XFS_SUPER_MAGIC: u64 = 0x5846_5342;
#[cfg(target_os = "linux")]
const BTRFS_SUPER_MAGIC: u64 = 0x9123_683e;
#[cfg(target_os = "linux")]
const BCACHEFS_SUPER_MAGIC: u64 = 0xca45_1a4e;

#[cfg(target_os = "linux")]
fn file_system(fd: &impl std::os::fd::AsFd) -> Option<u64> {
    // The field's type differs between architectures; the magic numbers are 32 bits wide.
    fs::fstatfs(fd)
        .ok()
        .map(|stat| (stat.f_type as u64) & 0xffff_ffff)
}

fn nanoseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(nanoseconds)
}

fn mtime(ns: i64) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: ns.div_euclid(1_000_000_000),
            tv_nsec: ns.rem_euclid(1_000_000_000) as _,
        },
    }
}

fn permissions(mode: u32) -> Mode {
    Mode::from_raw_mode((mode & 0o777) as _)
}

// The fields' types differ between systems.
#[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
fn convert(stat: &fs::Stat) -> Stat {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Folder,
        FileType::Symlink => Kind::Symlink,
        FileType::Fifo => Kind::Special("a named pipe"),
        FileType::Socket => Kind::Special("a socket"),
        FileType::CharacterDevice | FileType::BlockDevice => Kind::Special("a device"),
        FileType::Unknown => Kind::Special("something unknown"),
    };
    Stat {
        kind,
        mode: stat.st_mode as u32 & 0o7777,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mtime_ns: nanoseconds(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
        ctime_ns: nanoseconds(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        device: stat.st_dev as u64,
        inode: stat.st_ino as u64,
        links: stat.st_nlink as u64,
        // st_blocks counts 512 bytes whatever the block size (POSIX <sys/stat.h>).
        allocated: u64::try_from(stat.st_blocks)
            .unwrap_or(0)
            .saturating_mul(512),
        uid: stat.st_uid,
    }
}

/// Returns whether an error means that the name no longer stands for what it did: gone, or
/// something of another kind.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    // A symlink that must not be followed is ELOOP, or ENOTDIR where a folder was expected.
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    ) || Errno::from_io_error(error) == Some(Errno::LOOP)
}

/// Returns what a path leads to; symlinks in it are followed.
pub(crate) fn stat_path(path: &Path) -> io::Result<Stat> {
    Ok(convert(&fs::statat(CWD, path, AtFlags::empty())?))
}

pub(crate) fn stat_file(file: &File) -> io::Result<Stat> {
    Ok(convert(&fs::fstat(file)?))
}

pub(crate) fn read_at(file: &File, out: &mut [u8], offset: u64) -> io::Result<usize> {
    Ok(rustix::io::pread(file, out, offset)?)
}

pub(crate) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    Ok(rustix::io::pwrite(file, bytes, offset)?)
}

/// Makes a file's content durable (and the length that is needed to read it).
pub(crate) fn sync_data(file: &File) -> io::Result<()> {
    file.sync_data()
}

/// Sets permission bits and modification time.
pub(crate) fn finish_file(file: &File, mode: u32, mtime_ns: i64) -> io::Result<()> {
    // Times first: once the mode is set, nothing more needs to be allowed.
    fs::futimens(file, &mtime(mtime_ns))?;
    Ok(fs::fchmod(file, permissions(mode))?)
}

/// The next stretch of data at or after `offset` of a sparse file; `None` where the system cannot
/// say.
pub(crate) fn data_from(file: &File, offset: u64, size: u64) -> Option<Data> {
    #[cfg(any(target_os = "linux", target_vendor = "apple", target_os = "freebsd"))]
    {
        use rustix::fs::SeekFrom;
        let start = match fs::seek(file, SeekFrom::Data(offset)) {
            Ok(start) => start,
            Err(Errno::NXIO) => {
                return Some(Data {
                    start: size,
                    end: size,
                });
            }
            Err(_) => return None,
        };
        let end = fs::seek(file, SeekFrom::Hole(start)).ok()?;
        Some(Data {
            start: start.min(size),
            end: end.min(size),
        })
    }
    #[cfg(not(any(target_os = "linux", target_vendor = "apple", target_os = "freebsd")))]
    {
        let _ = (file, offset, size);
        None
    }
}

/// Tells the kernel to read ahead generously.
pub(crate) fn hint_sequential(file: &File) {
    #[cfg(target_os = "linux")]
    let _ = fs::fadvise(file, 0, None, fs::Advice::Sequential);
    #[cfg(not(target_os = "linux"))]
    let _ = file;
}

/// Reserves `size` bytes of disk for a file of that length where this is cheap; only a full disk is
/// an error.
pub(crate) fn preallocate(file: &File, size: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        // Elsewhere (tmpfs, FAT, network) it means writing zeros, or nothing.
        if matches!(
            file_system(file),
            Some(EXT4_SUPER_MAGIC | XFS_SUPER_MAGIC | BTRFS_SUPER_MAGIC)
        ) && let Err(error @ (Errno::NOSPC | Errno::DQUOT)) =
            fs::fallocate(file, fs::FallocateFlags::KEEP_SIZE, 0, size)
        {
            return Err(error.into());
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (file, size);
    Ok(())
}

/// Whether files beside this one can share its blocks instead of copying them.
pub(crate) fn can_share_blocks(file: &File) -> bool {
    #[cfg(target_os = "linux")]
    {
        matches!(
            file_system(file),
            Some(XFS_SUPER_MAGIC | BTRFS_SUPER_MAGIC | BCACHEFS_SUPER_MAGIC)
        )
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = file;
        false
    }
}

/// Shares `length` bytes of `from` with `to` without copying them; says whether it did. If not,
/// `to` may have been written in part. Offsets and length must be multiples of the file system's
/// block.
///
/// On a file system that can share blocks, `copy_file_range` does (Linux 4.5 and later); elsewhere
/// it would copy, which the caller does better.
pub(crate) fn clone_range(
    from: &File,
    from_offset: u64,
    to: &File,
    to_offset: u64,
    length: u64,
) -> bool {
    #[cfg(target_os = "linux")]
    {
        if !can_share_blocks(from) || !can_share_blocks(to) {
            return false;
        }
        let (mut source, mut target, mut left) = (from_offset, to_offset, length);
        while left > 0 {
            let count = usize::try_from(left).unwrap_or(usize::MAX);
            match fs::copy_file_range(from, Some(&mut source), to, Some(&mut target), count) {
                Ok(count) if count > 0 => left = left.saturating_sub(count as u64),
                _ => return false,
            }
        }
        true
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (from, from_offset, to, to_offset, length);
        false
    }
}
