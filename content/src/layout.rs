//! Which bytes of which files a chunk's position stands for.
//!
//! The contents of all files in entry order are one stream, the chunks cover it in order.
//! Invariant: the extents of a position are not empty, lie inside their files, and their lengths
//! add up to the chunk's length.

use hither_proto::{EntryKind, Manifest};
use std::ffi::OsStr;
use std::sync::Arc;

/// Every so many chunks the stream offset is kept; offsets in between are added up. Flat memory (1
/// MiB per 8 million chunks) for a few additions.
const STRIDE: usize = 64;

/// Consecutive bytes of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Number of the file among the manifest's files, in entry order.
    pub file: u32,
    /// Where in the file, bytes.
    pub offset: u64,
    /// How many bytes, at least 1.
    pub length: u32,
}

/// A manifest with the indices that make its positions quick to find.
#[derive(Debug)]
pub struct Layout {
    manifest: Arc<Manifest>,
    /// Stream offset of every [`STRIDE`]th chunk.
    starts: Vec<u64>,
    /// Entry of each file.
    files: Vec<u32>,
    /// The folder each entry is in; the top's is itself.
    parents: Vec<u32>,
}

impl Layout {
    /// Indexes a manifest: one pass over its entries and chunks.
    pub fn new(manifest: Arc<Manifest>) -> Arc<Self> {
        let mut starts = Vec::with_capacity(manifest.chunks().len() / STRIDE + 1);
        let mut offset = 0;
        for (position, chunk) in manifest.chunks().iter().enumerate() {
            if position % STRIDE == 0 {
                starts.push(offset);
            }
            offset += u64::from(chunk.length);
        }
        let mut files = Vec::new();
        let mut parents = Vec::with_capacity(manifest.entries().len());
        let mut open: Vec<u32> = Vec::new();
        for (index, entry) in (0u32..).zip(manifest.entries()) {
            open.truncate(entry.depth as usize);
            parents.push(open.last().copied().unwrap_or(index));
            match entry.kind {
                EntryKind::File { .. } => files.push(index),
                EntryKind::Folder => open.push(index),
                EntryKind::Symlink { .. } => {}
            }
        }
        Arc::new(Self {
            manifest,
            starts,
            files,
            parents,
        })
    }

    /// The manifest.
    pub const fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// Number of data chunks.
    pub fn positions(&self) -> u32 {
        // A manifest has at most MAX_CHUNKS chunks.
        self.manifest.chunks().len() as u32
    }

    /// Number of files.
    pub fn files(&self) -> u32 {
        self.files.len() as u32
    }

    /// Where in the stream the chunk at `position` begins, bytes; `None` beyond the last.
    pub fn chunk_start(&self, position: u32) -> Option<u64> {
        let position = position as usize;
        let chunks = self.manifest.chunks();
        if position >= chunks.len() {
            return None;
        }
        let known = position / STRIDE;
        let between = &chunks[known * STRIDE..position];
        Some(
            self.starts[known]
                + between
                    .iter()
                    .map(|chunk| u64::from(chunk.length))
                    .sum::<u64>(),
        )
    }

    /// The position at which a chunk begins at this stream offset, if one does; the end of the
    /// stream is where the chunk after the last would begin.
    pub(crate) fn position_starting_at(&self, offset: u64) -> Option<u32> {
        let chunks = self.manifest.chunks();
        if offset == self.manifest.bytes() {
            return Some(chunks.len() as u32);
        }
        let known = self
            .starts
            .partition_point(|start| *start <= offset)
            .checked_sub(1)?;
        let mut at = self.starts[known];
        let mut position = known * STRIDE;
        while at < offset {
            at += u64::from(chunks.get(position)?.length);
            position += 1;
        }
        (at == offset).then_some(position as u32)
    }

    /// The extents of the chunk at `position`, in stream order; `None` beyond the last.
    pub fn extents(&self, position: u32) -> Option<Extents<'_>> {
        let offset = self.chunk_start(position)?;
        let left = self.manifest.chunks()[position as usize].length;
        // The last file that begins at or before the offset: empty files at the same offset come
        // before it, or are skipped on the way.
        let file = self
            .files
            .partition_point(|entry| self.span(*entry).0 <= offset)
            .saturating_sub(1);
        Some(Extents {
            layout: self,
            file: file as u32,
            offset,
            left,
        })
    }

    /// The positions that hold bytes of a file, first and one past the last; empty for an empty
    /// file.
    pub fn positions_of(&self, file: u32) -> std::ops::Range<u32> {
        let Some(entry) = self.files.get(file as usize) else {
            return 0..0;
        };
        let (start, size) = self.span(*entry);
        if size == 0 {
            return 0..0;
        }
        self.position_at(start)..self.position_at(start + size - 1) + 1
    }

    /// The position whose chunk holds the byte at this stream offset; at the end of the stream or
    /// beyond, one past the last.
    pub fn position_at(&self, offset: u64) -> u32 {
        let chunks = self.manifest.chunks();
        let known = self
            .starts
            .partition_point(|start| *start <= offset)
            .saturating_sub(1);
        let mut end = self.starts.get(known).copied().unwrap_or(0);
        let mut position = known * STRIDE;
        while let Some(chunk) = chunks.get(position) {
            end += u64::from(chunk.length);
            if offset < end {
                break;
            }
            position += 1;
        }
        position as u32
    }

    /// Index of the entry of a file of the share.
    pub fn entry_of(&self, file: u32) -> u32 {
        self.files[file as usize]
    }

    /// Number of the file that an entry is, if it is one.
    pub(crate) fn file_of(&self, entry: u32) -> Option<u32> {
        self.files
            .binary_search(&entry)
            .ok()
            .map(|file| file as u32)
    }

    /// Index of the folder that an entry is in; the top's is itself.
    pub(crate) fn parent_of(&self, entry: u32) -> u32 {
        self.parents[entry as usize]
    }

    /// A file's length, bytes.
    pub fn size_of(&self, file: u32) -> u64 {
        self.span(self.files[file as usize]).1
    }

    /// Where an entry's content begins in the stream, and its length; bytes.
    fn span(&self, entry: u32) -> (u64, u64) {
        match self.manifest.entries()[entry as usize].kind {
            EntryKind::File { size, offset } => (offset, size),
            EntryKind::Folder | EntryKind::Symlink { .. } => (0, 0),
        }
    }

    /// Path of an entry inside the share, the top included, for people: `top/folder/file`.
    pub(crate) fn shown(&self, entry: u32) -> String {
        let mut names = Vec::new();
        let mut at = entry;
        loop {
            names.push(self.manifest.entries()[at as usize].name.to_string());
            let parent = self.parent_of(at);
            if parent == at {
                break;
            }
            at = parent;
        }
        names.reverse();
        names.join("/")
    }

    /// An entry's name for the file system.
    pub(crate) fn name_of(&self, entry: u32) -> &OsStr {
        OsStr::new(self.manifest.entries()[entry as usize].name.as_str())
    }
}

/// See [`Layout::extents`].
#[derive(Debug, Clone)]
pub struct Extents<'a> {
    layout: &'a Layout,
    file: u32,
    offset: u64,
    left: u32,
}

impl Iterator for Extents<'_> {
    type Item = Extent;

    fn next(&mut self) -> Option<Extent> {
        while self.left > 0 {
            let (start, size) = self
                .layout
                .span(*self.layout.files.get(self.file as usize)?);
            let within = self.offset - start;
            if within >= size {
                self.file += 1;
                continue;
            }
            let length = u32::try_from(size - within)
                .unwrap_or(u32::MAX)
                .min(self.left);
            let extent = Extent {
                file: self.file,
                offset: within,
                length,
            };
            self.left -= length;
            self.offset += u64::from(length);
            self.file += 1;
            return Some(extent);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_proto::{ChunkId, ChunkKey, ChunkRecord, ManifestBuilder};
    use proptest::prelude::*;

    fn layout(sizes: &[u64], lengths: &[u32]) -> Arc<Layout> {
        let mut builder = ManifestBuilder::new(65_536).unwrap();
        builder.folder(0, "top", 0o755, 0).unwrap();
        for (i, size) in sizes.iter().enumerate() {
            builder.file(1, &format!("f{i}"), 0o644, 0, *size).unwrap();
        }
        let record = |length| ChunkRecord {
            id: ChunkId::new([0; 32]),
            key: ChunkKey::new([0; 32]),
            length,
        };
        Layout::new(Arc::new(
            builder
                .finish(lengths.iter().map(|l| record(*l)).collect())
                .unwrap(),
        ))
    }

    proptest! {
        #[test]
        fn extents_cover_every_file_in_order(
            sizes in proptest::collection::vec(prop_oneof![Just(0u64), 1u64..300], 0..40),
            cuts in proptest::collection::vec(1u32..100, 1..20),
        ) {
            let total: u64 = sizes.iter().sum();
            let (mut lengths, mut left) = (Vec::new(), total);
            for cut in cuts.iter().cycle() {
                if left == 0 { break; }
                let length = u64::from(*cut).min(left);
                lengths.push(length as u32);
                left -= length;
            }
            let layout = layout(&sizes, &lengths);
            let mut covered = vec![0u64; sizes.len()];
            let mut start = 0;
            for (position, length) in (0u32..).zip(&lengths) {
                prop_assert_eq!(layout.chunk_start(position), Some(start));
                prop_assert_eq!(layout.position_starting_at(start), Some(position));
                start += u64::from(*length);
                let mut sum = 0;
                for extent in layout.extents(position).unwrap() {
                    prop_assert!(extent.length > 0);
                    prop_assert_eq!(covered[extent.file as usize], extent.offset);
                    prop_assert!(layout.positions_of(extent.file).contains(&position));
                    covered[extent.file as usize] += u64::from(extent.length);
                    sum += extent.length;
                }
                prop_assert_eq!(sum, *length);
            }
            prop_assert_eq!(covered, sizes);
            prop_assert_eq!(layout.position_starting_at(start), Some(lengths.len() as u32));
            prop_assert!(layout.extents(lengths.len() as u32).is_none());
        }
    }

    #[test]
    fn entries_know_their_folder_and_path() {
        let mut builder = ManifestBuilder::new(65_536).unwrap();
        builder.folder(0, "top", 0o755, 0).unwrap();
        builder.folder(1, "a", 0o755, 0).unwrap();
        builder.symlink(2, "link", 0, "x").unwrap();
        builder.file(2, "f", 0o644, 0, 0).unwrap();
        builder.file(1, "g", 0o644, 0, 0).unwrap();
        let layout = Layout::new(Arc::new(builder.finish(Vec::new()).unwrap()));
        assert_eq!(
            (layout.shown(3), layout.shown(4), layout.shown(0)),
            ("top/a/f".into(), "top/g".into(), "top".into())
        );
        assert_eq!(
            (
                layout.parent_of(3),
                layout.parent_of(4),
                layout.parent_of(0)
            ),
            (1, 0, 0)
        );
        assert_eq!(
            (layout.entry_of(0), layout.files(), layout.positions_of(0)),
            (3, 2, 0..0)
        );
    }
}
