//! A part of a version: the entries that are wanted where it is fetched to, and those left out.
//!
//! Invariant: the folders on the way to a wanted entry are wanted too, and so is everything below
//! a chosen folder, unless it is left out by itself.

use crate::layout::Layout;
use hither_proto::{Entry, EntryKind, Manifest};
use std::collections::BTreeSet;

/// Calls `seen` with every entry and its path below the top, names joined with `/`; the top's is
/// empty.
pub fn each_path(manifest: &Manifest, mut seen: impl FnMut(u32, &Entry, &str)) {
    let (mut path, mut lengths): (String, Vec<usize>) = (String::new(), Vec::new());
    for (index, entry) in (0u32..).zip(manifest.entries()) {
        lengths.truncate(entry.depth as usize);
        path.truncate(lengths.last().copied().unwrap_or(0));
        if index > 0 {
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(entry.name.as_str());
        }
        lengths.push(path.len());
        seen(index, entry, &path);
    }
}

/// Entries of a version that are not wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    left_out: BTreeSet<u32>,
}

impl Selection {
    /// Chooses the entries for which `chosen` returns true, with all that is below them. It is
    /// asked with the path below the top, names joined with `/`; the top, with an empty path, is
    /// wanted in any case.
    pub fn new(manifest: &Manifest, mut chosen: impl FnMut(u32, &str) -> bool) -> Self {
        let entries = manifest.entries();
        let mut wanted = vec![false; entries.len()];
        // The folders that the walk is in, and the depth of the chosen one among them.
        let mut above: Vec<u32> = Vec::new();
        let mut inside: Option<u32> = None;
        each_path(manifest, |index, entry, path| {
            above.truncate(entry.depth as usize);
            inside = inside.filter(|top| entry.depth > *top);
            if inside.is_none() && chosen(index, path) {
                inside = Some(entry.depth);
            }
            if inside.is_some() {
                wanted[index as usize] = true;
                for folder in &above {
                    wanted[*folder as usize] = true;
                }
            }
            above.push(index);
        });
        let left_out = (1u32..)
            .zip(wanted.iter().skip(1))
            .filter(|(_, wanted)| !**wanted);
        Self {
            left_out: left_out.map(|(entry, _)| entry).collect(),
        }
    }

    /// Leaves out more entries, with all that is below them.
    pub fn leave_out(&mut self, layout: &Layout, entries: impl IntoIterator<Item = u32>) {
        self.left_out
            .extend(entries.into_iter().filter(|entry| *entry > 0));
        let count = layout.manifest().entries().len() as u32;
        for entry in 1..count {
            if self.left_out.contains(&layout.parent_of(entry)) {
                self.left_out.insert(entry);
            }
        }
    }

    /// Returns whether an entry is wanted.
    pub fn has(&self, entry: u32) -> bool {
        !self.left_out.contains(&entry)
    }

    /// Returns whether everything is wanted.
    pub fn is_whole(&self) -> bool {
        self.left_out.is_empty()
    }

    /// Counts the files that are wanted, and their bytes.
    pub fn size(&self, manifest: &Manifest) -> (u64, u64) {
        let sizes = (0u32..)
            .zip(manifest.entries())
            .filter_map(|(index, entry)| match entry.kind {
                EntryKind::File { size, .. } if self.has(index) => Some(size),
                _ => None,
            });
        sizes.fold((0, 0), |(files, bytes), size| (files + 1, bytes + size))
    }

    pub(crate) const fn left_out(&self) -> &BTreeSet<u32> {
        &self.left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_proto::{ChunkId, ChunkKey, ChunkRecord, ManifestBuilder};
    use std::sync::Arc;

    /// Top with `a/` (`f`, `deep/g`), `b` and `c/h`; every file 10 bytes.
    fn manifest() -> Manifest {
        let mut builder = ManifestBuilder::new(65_536).unwrap();
        builder.folder(0, "top", 0o755, 0).unwrap();
        builder.folder(1, "a", 0o755, 0).unwrap();
        builder.folder(2, "deep", 0o755, 0).unwrap();
        builder.file(3, "g", 0o644, 0, 10).unwrap();
        builder.file(2, "f", 0o644, 0, 10).unwrap();
        builder.file(1, "b", 0o644, 0, 10).unwrap();
        builder.folder(1, "c", 0o755, 0).unwrap();
        builder.file(2, "h", 0o644, 0, 10).unwrap();
        let chunk = ChunkRecord {
            id: ChunkId::new([0; 32]),
            key: ChunkKey::new([0; 32]),
            length: 40,
        };
        builder.finish(vec![chunk]).unwrap()
    }

    fn chosen(paths: &[&str]) -> Selection {
        Selection::new(&manifest(), |_, path| paths.contains(&path))
    }

    fn wanted(selection: &Selection) -> Vec<u32> {
        (0..8).filter(|entry| selection.has(*entry)).collect()
    }

    #[test]
    fn a_folder_comes_with_what_is_in_it_and_a_file_with_the_way_to_it() {
        assert_eq!(wanted(&chosen(&["a"])), [0, 1, 2, 3, 4]);
        assert_eq!(wanted(&chosen(&["a/deep/g"])), [0, 1, 2, 3]);
        assert_eq!(wanted(&chosen(&["b", "c/h"])), [0, 5, 6, 7]);
        assert_eq!(wanted(&chosen(&["nothing"])), [0]);
        assert_eq!(chosen(&["a", "b"]).size(&manifest()), (3, 30));
        assert!(chosen(&[""]).is_whole() && !chosen(&["a", "b"]).is_whole());
    }

    #[test]
    fn what_is_left_out_takes_with_it_what_is_below() {
        let layout = Layout::new(Arc::new(manifest()));
        let mut selection = Selection::default();
        selection.leave_out(&layout, [2, 5]);
        assert_eq!(wanted(&selection), [0, 1, 4, 6, 7]);
        selection.leave_out(&layout, [0]);
        assert_eq!(wanted(&selection), [0, 1, 4, 6, 7], "the top is wanted");
    }
}
