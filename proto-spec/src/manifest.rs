//! The manifest of a version: what is in the share, and its chunks with their keys.
//!
//! Layout (SPEC.md, "Manifest"): a length-delimited `ManifestHeader`, then the entries as
//! length-delimited `Entry` messages in pre-order, then 68-byte chunk records. The content of all
//! files, concatenated in entry order, is one stream; the chunks cover it without gap or overlap.
//! Invariants of a parsed [`Manifest`]: every parent is a folder (a symlink can have no children by
//! construction), names passed [`EntryName::parse`], no two names in one folder are equal, and the
//! chunks cover exactly the files' bytes. Whether a file system takes all names is no matter of the
//! manifest.

use crate::ids::{ChunkId, ChunkKey};
use crate::limits::{
    MAX_CHUNK, MAX_CHUNKS, MAX_DEPTH, MAX_ENTRIES, MAX_MANIFEST, MAX_SHARE, MAX_TARGET,
};
use crate::name::{EntryName, NameError};
use crate::wire;
use prost::Message as _;
use std::collections::HashSet;

/// The layout this build reads and writes ([`wire::ManifestHeader::format`]).
const FORMAT: u32 = 1;

/// Why a chunk record was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The records do not end at a record's end.
    #[error("chunk records are cut off")]
    Truncated,
    /// A chunk of no or too many bytes.
    #[error("a chunk claims an absurd length")]
    Length,
}

/// Why a manifest was refused; nothing has been written then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Ends early or is not protobuf where it should be.
    #[error("the manifest is malformed")]
    Malformed,
    /// Made by a newer version of Hither.
    #[error("the manifest has format {0}, which this version does not know")]
    Format(u32),
    /// A name that is none.
    #[error("the manifest names {shown:?}: {reason}")]
    Name {
        /// The refused name, safe to show.
        shown: String,
        /// What is wrong with it.
        reason: NameError,
    },
    /// Two equal names in one folder.
    #[error("the manifest has a name twice in one folder: {0:?}")]
    Twice(String),
    /// An entry that is not inside a folder, or a single-file share that is not one file.
    #[error("the manifest's tree is not a tree of folders")]
    Tree,
    /// An entry with fields that its kind does not have, or a bad symlink target.
    #[error("the manifest has an entry with impossible fields")]
    Entry,
    /// A count or size beyond the limits.
    #[error("the manifest claims an absurd {0}")]
    Absurd(&'static str),
    /// The chunk records do not parse.
    #[error("the manifest is malformed: {0}")]
    Record(#[from] RecordError),
    /// The chunks do not cover the files' bytes exactly.
    #[error("the manifest's chunks do not add up to its files")]
    Coverage,
}

/// A chunk as a manifest or root names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkRecord {
    /// BLAKE3 of the ciphertext.
    pub id: ChunkId,
    /// Opens the ciphertext.
    pub key: ChunkKey,
    /// Plaintext length, bytes: 1 to [`MAX_CHUNK`].
    pub length: u32,
}

impl ChunkRecord {
    /// Encoded length, bytes.
    pub const LEN: usize = 68;

    /// Appends id, key and little-endian length.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.id.as_bytes());
        out.extend_from_slice(self.key.expose());
        out.extend_from_slice(&self.length.to_le_bytes());
    }

    /// Parses concatenated records, each chunk at most `max_length` bytes.
    pub fn decode_all(bytes: &[u8], max_length: u32) -> Result<Vec<Self>, RecordError> {
        let (records, rest) = bytes.as_chunks::<{ Self::LEN }>();
        if !rest.is_empty() {
            return Err(RecordError::Truncated);
        }
        records
            .iter()
            .map(|record| Self::decode(record, max_length))
            .collect()
    }

    fn decode(record: &[u8; Self::LEN], max_length: u32) -> Result<Self, RecordError> {
        let (mut id, mut key, mut length) = ([0; 32], [0; 32], [0; 4]);
        id.copy_from_slice(&record[..32]);
        key.copy_from_slice(&record[32..64]);
        length.copy_from_slice(&record[64..]);
        let length = u32::from_le_bytes(length);
        if length == 0 || length > max_length {
            return Err(RecordError::Length);
        }
        Ok(Self {
            id: ChunkId::new(id),
            key: ChunkKey::new(key),
            length,
        })
    }
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A file of `size` bytes whose content stands at `offset` of the share's stream.
    File {
        /// Length, bytes.
        size: u64,
        /// Where its content begins in the stream, bytes.
        offset: u64,
    },
    /// A folder.
    Folder,
    /// A symbolic link, kept as it is and never followed.
    Symlink {
        /// What it points to: any text without NUL, at most [`MAX_TARGET`] bytes.
        target: String,
    },
}

/// One file, folder or symlink of a share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// 0 for the top; the parent is the nearest earlier entry of depth - 1.
    pub depth: u32,
    /// Name inside its folder.
    pub name: EntryName,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits, at most 0o7777.
    pub mode: u32,
    /// Modification time, nanoseconds since the Unix epoch.
    pub mtime_ns: i64,
}

/// What is in one version of a share, parsed and checked.
///
/// The top level holds exactly one entry, whose name is the share's name: a file for a single-file
/// share, else a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    average: u32,
    entries: Vec<Entry>,
    chunks: Vec<ChunkRecord>,
    bytes: u64,
}

impl Manifest {
    /// The share's name: that of its only top-level entry.
    pub fn name(&self) -> &EntryName {
        &self.entries[0].name
    }

    /// Whether the share is one file with no folder around it.
    pub fn is_single_file(&self) -> bool {
        matches!(self.entries[0].kind, EntryKind::File { .. })
    }

    /// Average chunk size used for large files, bytes; later versions keep it.
    pub const fn average(&self) -> u32 {
        self.average
    }

    /// All entries in pre-order; the first is the top.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// All data chunks by position.
    pub fn chunks(&self) -> &[ChunkRecord] {
        &self.chunks
    }

    /// Bytes of all files together.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Number of files.
    pub fn files(&self) -> u64 {
        self.entries
            .iter()
            .filter(|e| matches!(e.kind, EntryKind::File { .. }))
            .count() as u64
    }

    /// Encodes for cutting and encryption.
    pub fn encode(&self) -> Vec<u8> {
        let mut out =
            Vec::with_capacity(self.entries.len() * 48 + self.chunks.len() * ChunkRecord::LEN + 64);
        let header = wire::ManifestHeader {
            format: FORMAT,
            name: self.name().as_str().to_owned(),
            single_file: self.is_single_file(),
            entries: self.entries.len() as u64,
            chunks: self.chunks.len() as u64,
            average: self.average,
        };
        out.extend(header.encode_length_delimited_to_vec());
        for entry in &self.entries {
            out.extend(entry.to_wire().encode_length_delimited_to_vec());
        }
        self.chunks
            .iter()
            .for_each(|record| record.encode_into(&mut out));
        out
    }

    /// Parses and checks a decrypted manifest.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() as u64 > MAX_MANIFEST {
            return Err(ManifestError::Absurd("length"));
        }
        let header = wire::ManifestHeader::decode_length_delimited(&mut bytes)
            .map_err(|_| ManifestError::Malformed)?;
        if header.format != FORMAT {
            return Err(ManifestError::Format(header.format));
        }
        if header.entries > MAX_ENTRIES || header.entries > bytes.len() as u64 {
            return Err(ManifestError::Absurd("number of entries"));
        }
        let mut builder = ManifestBuilder::new(header.average)?;
        for _ in 0..header.entries {
            let entry = wire::Entry::decode_length_delimited(&mut bytes)
                .map_err(|_| ManifestError::Malformed)?;
            builder.push_wire(entry)?;
        }
        let chunks = ChunkRecord::decode_all(bytes, MAX_CHUNK)?;
        if chunks.len() as u64 != header.chunks {
            return Err(ManifestError::Malformed);
        }
        let manifest = builder.finish(chunks)?;
        if manifest.name().as_str() != header.name
            || manifest.is_single_file() != header.single_file
        {
            return Err(ManifestError::Tree);
        }
        Ok(manifest)
    }
}

impl Entry {
    fn to_wire(&self) -> wire::Entry {
        let (kind, size, target) = match &self.kind {
            EntryKind::File { size, .. } => (wire::EntryKind::File, *size, String::new()),
            EntryKind::Folder => (wire::EntryKind::Folder, 0, String::new()),
            EntryKind::Symlink { target } => (wire::EntryKind::Symlink, 0, target.clone()),
        };
        wire::Entry {
            depth: self.depth,
            name: self.name.as_str().to_owned(),
            kind: kind.into(),
            mode: self.mode,
            mtime_ns: self.mtime_ns,
            size,
            target,
        }
    }
}

/// Builds a manifest entry by entry, with every check that a manifest from outside must pass: what
/// can be shared is exactly what can be fetched.
#[derive(Debug)]
pub struct ManifestBuilder {
    average: u32,
    entries: Vec<Entry>,
    bytes: u64,
    /// The open folders from the top down, each with the names seen in it.
    open: Vec<HashSet<EntryName>>,
}

impl ManifestBuilder {
    /// Starts a manifest whose large files are cut at `average` bytes: a power of two up to a
    /// quarter of [`MAX_CHUNK`].
    pub fn new(average: u32) -> Result<Self, ManifestError> {
        if !average.is_power_of_two() || average > MAX_CHUNK / 4 {
            return Err(ManifestError::Absurd("chunk size"));
        }
        Ok(Self {
            average,
            entries: Vec::new(),
            bytes: 0,
            open: vec![HashSet::new()],
        })
    }

    /// Adds a file; returns where its content begins in the stream.
    pub fn file(
        &mut self,
        depth: u32,
        name: &str,
        mode: u32,
        mtime_ns: i64,
        size: u64,
    ) -> Result<u64, ManifestError> {
        let offset = self.bytes;
        let end = offset
            .checked_add(size)
            .filter(|end| *end <= MAX_SHARE)
            .ok_or(ManifestError::Absurd("size"))?;
        self.push(
            depth,
            name,
            mode,
            mtime_ns,
            EntryKind::File { size, offset },
        )?;
        self.bytes = end;
        Ok(offset)
    }

    /// Adds a folder; entries one level deeper that follow are inside it.
    pub fn folder(
        &mut self,
        depth: u32,
        name: &str,
        mode: u32,
        mtime_ns: i64,
    ) -> Result<(), ManifestError> {
        self.push(depth, name, mode, mtime_ns, EntryKind::Folder)?;
        self.open.push(HashSet::new());
        Ok(())
    }

    /// Adds a symlink.
    pub fn symlink(
        &mut self,
        depth: u32,
        name: &str,
        mtime_ns: i64,
        target: &str,
    ) -> Result<(), ManifestError> {
        if target.is_empty() || target.len() > MAX_TARGET || target.contains('\0') {
            return Err(ManifestError::Entry);
        }
        self.push(
            depth,
            name,
            0o777,
            mtime_ns,
            EntryKind::Symlink {
                target: target.to_owned(),
            },
        )
    }

    /// Bytes of all files so far.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Ends the manifest; the chunks must cover the files' bytes exactly.
    pub fn finish(self, chunks: Vec<ChunkRecord>) -> Result<Manifest, ManifestError> {
        if self.entries.is_empty() {
            return Err(ManifestError::Tree);
        }
        if chunks.len() as u64 > MAX_CHUNKS {
            return Err(ManifestError::Absurd("number of chunks"));
        }
        if chunks.iter().map(|c| u64::from(c.length)).sum::<u64>() != self.bytes {
            return Err(ManifestError::Coverage);
        }
        Ok(Manifest {
            average: self.average,
            entries: self.entries,
            chunks,
            bytes: self.bytes,
        })
    }

    fn push_wire(&mut self, entry: wire::Entry) -> Result<(), ManifestError> {
        let kind = entry.kind();
        if kind != wire::EntryKind::File && entry.size != 0
            || kind != wire::EntryKind::Symlink && !entry.target.is_empty()
        {
            return Err(ManifestError::Entry);
        }
        match kind {
            wire::EntryKind::File => self
                .file(
                    entry.depth,
                    &entry.name,
                    entry.mode,
                    entry.mtime_ns,
                    entry.size,
                )
                .map(drop),
            wire::EntryKind::Folder => {
                self.folder(entry.depth, &entry.name, entry.mode, entry.mtime_ns)
            }
            wire::EntryKind::Symlink => {
                self.symlink(entry.depth, &entry.name, entry.mtime_ns, &entry.target)
            }
            wire::EntryKind::Unspecified => Err(ManifestError::Entry),
        }
    }

    fn push(
        &mut self,
        depth: u32,
        name: &str,
        mode: u32,
        mtime_ns: i64,
        kind: EntryKind,
    ) -> Result<(), ManifestError> {
        let shown = || crate::name::display_name(name);
        let parsed = EntryName::parse(name).map_err(|reason| ManifestError::Name {
            shown: shown(),
            reason,
        })?;
        if self.entries.len() as u64 >= MAX_ENTRIES {
            return Err(ManifestError::Absurd("number of entries"));
        }
        if depth > MAX_DEPTH {
            return Err(ManifestError::Absurd("depth"));
        }
        // One top-level entry; everything else is inside a folder that is still open.
        if mode > 0o7777 {
            return Err(ManifestError::Entry);
        }
        if (depth == 0) != self.entries.is_empty() || depth as usize >= self.open.len() {
            return Err(ManifestError::Tree);
        }
        self.open.truncate(depth as usize + 1);
        if !self.open[depth as usize].insert(parsed.clone()) {
            return Err(ManifestError::Twice(shown()));
        }
        self.entries.push(Entry {
            depth,
            name: parsed,
            kind,
            mode,
            mtime_ns,
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(length: u32) -> ChunkRecord {
        ChunkRecord {
            id: ChunkId::new([1; 32]),
            key: ChunkKey::new([2; 32]),
            length,
        }
    }

    fn sample() -> Manifest {
        let mut b = ManifestBuilder::new(65536).unwrap();
        b.folder(0, "top", 0o755, 1).unwrap();
        b.file(1, "a", 0o644, -5, 10).unwrap();
        b.folder(1, "sub", 0o700, 2).unwrap();
        b.symlink(2, "link", 3, "../a").unwrap();
        b.file(2, "empty", 0o600, 4, 0).unwrap();
        b.file(1, "z", 0o644, 5, 7).unwrap();
        b.finish(vec![record(12), record(5)]).unwrap()
    }

    #[test]
    fn manifests_round_trip() {
        let manifest = sample();
        assert_eq!(Manifest::decode(&manifest.encode()).unwrap(), manifest);
        assert_eq!(
            (manifest.files(), manifest.bytes(), manifest.name().as_str()),
            (3, 17, "top")
        );
        assert_eq!(
            manifest.entries()[5].kind,
            EntryKind::File {
                size: 7,
                offset: 10
            }
        );
    }

    #[test]
    fn every_truncation_is_refused() {
        let bytes = sample().encode();
        for end in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn trees_that_are_no_trees_are_refused() {
        let builder = || ManifestBuilder::new(65536).unwrap();
        let mut b = builder();
        assert_eq!(b.file(1, "a", 0, 0, 0), Err(ManifestError::Tree));
        b.folder(0, "top", 0, 0).unwrap();
        assert_eq!(b.file(0, "second top", 0, 0, 0), Err(ManifestError::Tree));
        b.symlink(1, "link", 0, "/etc").unwrap();
        assert_eq!(
            b.file(2, "through the link", 0, 0, 0),
            Err(ManifestError::Tree)
        );
        b.file(1, "Name", 0, 0, 0).unwrap();
        b.file(1, "nAME", 0, 0, 0).unwrap();
        assert_eq!(
            b.file(1, "Name", 0, 0, 0),
            Err(ManifestError::Twice("Name".into()))
        );
        assert!(matches!(
            b.file(1, "..", 0, 0, 0),
            Err(ManifestError::Name { .. })
        ));
        assert_eq!(b.symlink(1, "x", 0, "a\0b"), Err(ManifestError::Entry));
        assert_eq!(builder().finish(vec![]), Err(ManifestError::Tree));
    }

    #[test]
    fn sizes_that_do_not_add_up_are_refused() {
        let with = |size, chunks| {
            let mut b = ManifestBuilder::new(65536).unwrap();
            b.file(0, "f", 0o644, 0, size)?;
            b.finish(chunks)
        };
        assert_eq!(with(10, vec![record(9)]), Err(ManifestError::Coverage));
        assert_eq!(with(u64::MAX, vec![]), Err(ManifestError::Absurd("size")));
        assert!(with(0, vec![]).is_ok());
        assert!(ManifestBuilder::new(65537).is_err() && ManifestBuilder::new(1 << 30).is_err());
    }
}
