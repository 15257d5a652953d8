//! Everything that differs between operating systems: folders as handles, stamps, sparse files,
//! durability, space.
//!
//! Two implementations of one interface: `unix` (rustix; the Linux-only calls have fallbacks inside
//! it) and `portable` (cap-std), which is used elsewhere and tested on Unix too.
//!
//! Invariants: a [`Dir`] is a handle, so what is opened through it stays where it was when the path
//! to it is replaced; every method takes *one* name (never a path) and never follows a symlink that
//! stands there.

#[cfg(any(not(unix), test))]
#[cfg_attr(unix, allow(dead_code))]
mod portable;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
use portable as system;
#[cfg(unix)]
use unix as system;

use std::fs::File;
use std::io;

pub(crate) use system::{
    Dir, can_share_blocks, clone_range, data_from, finish_file, hint_sequential, is_gone,
    preallocate, read_at, stat_file, stat_path, sync_data, write_at,
};

/// What stands behind a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Folder,
    Symlink,
    /// Anything else, in words.
    Special(&'static str),
}

impl Kind {
    /// For messages: "a folder".
    pub(crate) const fn describe(self) -> &'static str {
        match self {
            Self::File => "a file",
            Self::Folder => "a folder",
            Self::Symlink => "a symbolic link",
            Self::Special(what) => what,
        }
    }
}

/// What the file system says about a file; zero where it has no such thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) kind: Kind,
    /// Permission bits, at most 0o7777.
    pub(crate) mode: u32,
    /// Length, bytes.
    pub(crate) size: u64,
    /// Nanoseconds since the Unix epoch.
    pub(crate) mtime_ns: i64,
    /// Last change of content or metadata, nanoseconds since the Unix epoch.
    pub(crate) ctime_ns: i64,
    pub(crate) device: u64,
    pub(crate) inode: u64,
    /// Number of names.
    pub(crate) links: u64,
    /// Bytes allocated on the disk; less than `size` means holes (or compression).
    pub(crate) allocated: u64,
    /// Owner.
    pub(crate) uid: u32,
}

/// What a file system has to offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Space {
    /// Bytes that this user may still write.
    pub(crate) free: u64,
    pub(crate) read_only: bool,
    /// Longest name, bytes.
    pub(crate) max_name: u64,
    /// Largest file, bytes.
    pub(crate) max_file: u64,
}

/// How full of data a file is from some offset on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Data {
    /// Where the next data begins, bytes; the file's end when there is none.
    pub(crate) start: u64,
    /// Where it ends, bytes.
    pub(crate) end: u64,
}

/// Reads until `out` is full or the file ends; returns the bytes read.
pub(crate) fn read_full_at(file: &File, mut out: &mut [u8], mut offset: u64) -> io::Result<usize> {
    let wanted = out.len();
    while !out.is_empty() {
        match read_at(file, out, offset) {
            Ok(0) => break,
            Ok(count) => {
                out = &mut out[count..];
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(wanted - out.len())
}

/// Writes all of `bytes` at `offset`.
pub(crate) fn write_all_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match write_at(file, bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                bytes = &bytes[count..];
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
