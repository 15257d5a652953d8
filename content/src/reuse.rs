//! What of an earlier version can be taken over without reading it again.
//!
//! Invariant: records are taken over only for files whose stamps vouch for them, and only where the
//! earlier version's chunks begin and end with the run that they are taken over for.

use crate::layout::Layout;
use crate::reading::Walked;
use crate::stamp::{FileStamp, Stamps};
use crate::tree::{TreeEntry, TreeKind};
use hither_proto::{ChunkRecord, EntryKind, Manifest};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// The version before, as this device imported it.
#[derive(Debug, Clone, Copy)]
pub struct Previous<'a> {
    /// Its manifest.
    pub manifest: &'a Arc<Manifest>,
    /// The stamps that its import returned.
    pub stamps: &'a Stamps,
}

/// The files of the version before, matched with those of a new tree.
pub(crate) struct Matched {
    layout: Arc<Layout>,
    stamps: Vec<FileStamp>,
    /// For each file of the new tree, in order: the same, unchanged file's number in the version
    /// before.
    same: Vec<Option<u32>>,
}

impl Matched {
    /// Matches by path and stamp. `None` when the earlier version cannot be used at all.
    pub(crate) fn new(previous: &Previous<'_>, entries: &[TreeEntry]) -> Option<Self> {
        let layout = Layout::new(Arc::clone(previous.manifest));
        let stamps = previous.stamps.as_slice().to_vec();
        if stamps.len() != layout.files() as usize {
            return None;
        }
        let same = match_files(&layout, &stamps, entries);
        Some(Self {
            layout,
            stamps,
            same,
        })
    }

    /// The records and stamps of a run of files (numbers in the new tree), if all of it is
    /// unchanged.
    pub(crate) fn run(&self, files: Range<usize>) -> Option<(&[ChunkRecord], &[FileStamp])> {
        let first = (*self.same.get(files.start)?)?;
        for (number, file) in (first..).zip(files.clone()) {
            if self.same[file] != Some(number) {
                return None;
            }
        }
        let numbers = first as usize..first as usize + files.len();
        let last = numbers.end as u32 - 1;
        let start = self.layout.position_starting_at(self.start(first))?;
        let end = self
            .layout
            .position_starting_at(self.start(last) + self.layout.size_of(last))?;
        let records = self
            .layout
            .manifest()
            .chunks()
            .get(start as usize..end as usize)?;
        Some((records, &self.stamps[numbers]))
    }

    fn start(&self, file: u32) -> u64 {
        match self.layout.manifest().entries()[self.layout.entry_of(file) as usize].kind {
            EntryKind::File { offset, .. } => offset,
            EntryKind::Folder | EntryKind::Symlink { .. } => 0,
        }
    }
}

/// Walks both trees from the top down, so that only entries in folders that exist in both are
/// compared.
fn match_files(layout: &Layout, stamps: &[FileStamp], entries: &[TreeEntry]) -> Vec<Option<u32>> {
    let old = layout.manifest().entries();
    let mut children: HashMap<(u32, &str), u32> = HashMap::with_capacity(old.len());
    for (index, entry) in (0u32..).zip(old).skip(1) {
        children.insert((layout.parent_of(index), entry.name.as_str()), index);
    }
    let mut file_numbers: HashMap<u32, u32> = HashMap::with_capacity(stamps.len());
    for file in 0..layout.files() {
        file_numbers.insert(layout.entry_of(file), file);
    }
    let mut same = Vec::new();
    // The old entries of the open folders of the new tree.
    let mut open: Vec<Option<u32>> = Vec::new();
    for entry in entries {
        open.truncate(entry.depth as usize);
        let found = match open.last() {
            // The top may have been renamed.
            None => Some(0),
            Some(folder) => {
                folder.and_then(|folder| children.get(&(folder, entry.name.as_str())).copied())
            }
        };
        match entry.kind {
            TreeKind::Folder => {
                open.push(
                    found.filter(|index| matches!(old[*index as usize].kind, EntryKind::Folder)),
                );
            }
            TreeKind::Symlink { .. } => {}
            TreeKind::File { .. } => same.push(
                found
                    .and_then(|index| file_numbers.get(&index).copied())
                    .filter(|file| {
                        unchanged(&stamps[*file as usize], layout.size_of(*file), entry)
                    }),
            ),
        }
    }
    same
}

fn unchanged(stamp: &FileStamp, size: u64, entry: &TreeEntry) -> bool {
    entry.walked().is_some_and(|walked| {
        let recorded = Walked {
            size: stamp.size,
            mtime_ns: stamp.mtime_ns,
            ctime_ns: stamp.ctime_ns,
            inode: stamp.inode,
        };
        stamp.settled && size == stamp.size && recorded == walked
    })
}

impl TreeEntry {
    /// A file's stamp as the walk saw it.
    pub(crate) fn walked(&self) -> Option<Walked> {
        match self.kind {
            TreeKind::File {
                size,
                ctime_ns,
                inode,
            } => Some(Walked {
                size,
                mtime_ns: self.mtime_ns,
                ctime_ns,
                inode,
            }),
            TreeKind::Folder | TreeKind::Symlink { .. } => None,
        }
    }
}
