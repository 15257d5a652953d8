//! What tells whether a file is still the one that was read: size, times and inode.
//!
//! Invariant: a stamp that is not settled is never trusted; the content is read again instead.

use crate::platform::Stat;
use crate::reading::Walked;
use std::time::{SystemTime, UNIX_EPOCH};

/// A change so soon after the last one may leave the times as they were: clocks of file systems
/// tick every few milliseconds, on FAT every two seconds.
const SETTLE_NS: i64 = 2_500_000_000;

/// What the file system said of a file when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStamp {
    /// Length, bytes.
    pub size: u64,
    /// Modification time, nanoseconds since the Unix epoch.
    pub mtime_ns: i64,
    /// Time of the last change of anything about the file, nanoseconds since the Unix epoch; 0
    /// where unknown.
    pub ctime_ns: i64,
    /// The file's number in its file system; 0 where unknown.
    pub inode: u64,
    /// Whether the last change was long enough ago that another one would show.
    pub settled: bool,
}

impl FileStamp {
    /// Vouches for nothing.
    pub(crate) const UNKNOWN: Self = Self {
        size: 0,
        mtime_ns: 0,
        ctime_ns: 0,
        inode: 0,
        settled: false,
    };

    pub(crate) fn new(stat: &Stat) -> Self {
        Self::of_walked(&Walked::from(stat))
    }

    pub(crate) fn of_walked(stat: &Walked) -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .ok()
            .and_then(|time| i64::try_from(time.as_nanos()).ok())
            .unwrap_or(0);
        let changed = stat.mtime_ns.max(stat.ctime_ns);
        Self {
            size: stat.size,
            mtime_ns: stat.mtime_ns,
            ctime_ns: stat.ctime_ns,
            inode: stat.inode,
            settled: changed.saturating_add(SETTLE_NS) < now,
        }
    }

    /// Whether the file that `stat` describes is surely unchanged since this stamp was taken.
    pub(crate) fn vouches_for(&self, stat: &Stat) -> bool {
        self.settled && self.same(stat)
    }

    /// Returns whether the file that `stat` describes is unchanged, as far as it matters for
    /// replacing it: its stamp is settled, or from a clock so fine that a change since would
    /// show but for the blink of an eye.
    pub(crate) fn tells(&self, stat: &Stat) -> bool {
        self.same(stat) && (self.settled || self.ctime_ns % 1_000_000_000 != 0)
    }

    /// Whether nothing that can be seen has changed.
    pub(crate) fn same(&self, stat: &Stat) -> bool {
        self.size == stat.size
            && self.mtime_ns == stat.mtime_ns
            && self.ctime_ns == stat.ctime_ns
            && self.inode == stat.inode
    }
}

/// Stored stamps that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stored file stamps are damaged")]
pub struct StampsError;

/// One stamp for each file of a manifest, in entry order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stamps(Vec<FileStamp>);

/// Bytes of an encoded stamp.
const LEN: usize = 33;

impl Stamps {
    /// Wraps stamps that are in entry order.
    pub const fn new(stamps: Vec<FileStamp>) -> Self {
        Self(stamps)
    }

    /// The stamps, in entry order.
    pub fn as_slice(&self) -> &[FileStamp] {
        &self.0
    }

    /// Encodes for storing: 33 bytes each.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.0.len() * LEN);
        for stamp in &self.0 {
            out.extend(stamp.size.to_le_bytes());
            out.extend(stamp.mtime_ns.to_le_bytes());
            out.extend(stamp.ctime_ns.to_le_bytes());
            out.extend(stamp.inode.to_le_bytes());
            out.push(u8::from(stamp.settled));
        }
        out
    }

    /// Parses what [`Self::encode`] made.
    pub fn decode(bytes: &[u8]) -> Result<Self, StampsError> {
        let (stamps, rest) = bytes.as_chunks::<LEN>();
        if !rest.is_empty() {
            return Err(StampsError);
        }
        let number = |stamp: &[u8; LEN], at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&stamp[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        let parse = |stamp: &[u8; LEN]| {
            Ok(FileStamp {
                size: number(stamp, 0),
                mtime_ns: number(stamp, 8).cast_signed(),
                ctime_ns: number(stamp, 16).cast_signed(),
                inode: number(stamp, 24),
                settled: match stamp[32] {
                    0 => false,
                    1 => true,
                    _ => return Err(StampsError),
                },
            })
        };
        stamps.iter().map(parse).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_round_trip() {
        let stamp = FileStamp {
            size: 1,
            mtime_ns: -2,
            ctime_ns: 3,
            inode: 4,
            settled: true,
        };
        let stamps = Stamps::new(vec![
            stamp,
            FileStamp {
                settled: false,
                ..stamp
            },
        ]);
        let bytes = stamps.encode();
        assert_eq!(Stamps::decode(&bytes), Ok(stamps));
        assert_eq!(Stamps::decode(&bytes[1..]), Err(StampsError));
        assert_eq!(Stamps::decode(&[2; LEN]), Err(StampsError));
    }
}
