//! The folders of a walked tree, opened again to read what is in them.

use crate::place::Place;
use crate::platform::Dir;
use crate::tree::{Tree, TreeKind};
use std::io;

/// The open folders on the way to the entry at hand; each is opened once, relative to the one above
/// it.
pub(crate) struct Folders<'a> {
    tree: &'a Tree,
    /// Entries of the folders from the top to the entry at hand.
    ancestors: Vec<usize>,
    /// Handles: the folder above the top, then those of the first so many ancestors.
    open: Vec<Dir>,
    /// The first entry that has not been looked at.
    next: usize,
    /// The entry below the top that the entry at hand is, or is in.
    part: usize,
}

impl<'a> Folders<'a> {
    pub(crate) const fn new(tree: &'a Tree) -> Self {
        Self {
            tree,
            ancestors: Vec::new(),
            open: Vec::new(),
            next: 0,
            part: 0,
        }
    }

    /// The folder that an entry is in. Entries must be asked for in order.
    pub(crate) fn folder_of(&mut self, entry: usize) -> io::Result<&Dir> {
        while self.next <= entry {
            let passed = &self.tree.entries[self.next];
            self.ancestors.truncate(passed.depth as usize);
            if passed.depth == 1 {
                self.part = self.next;
            }
            // Of several parts each is in a folder of its own.
            let same = if passed.depth == 1 && self.tree.parts.are_several() {
                1
            } else {
                passed.depth as usize + 1
            };
            self.open.truncate(same);
            if passed.kind == TreeKind::Folder {
                self.ancestors.push(self.next);
            }
            self.next += 1;
        }
        if self.open.is_empty() {
            self.open
                .push(Dir::open_exact(&self.tree.parts.first().parent)?);
        }
        while self.open.len() <= self.ancestors.len() {
            let folder = self.ancestors[self.open.len() - 1];
            let Some(above) = self.open.last() else { break };
            let dir = match folder {
                0 if self.tree.parts.are_several() => Dir::open_exact(&self.part()?.parent)?,
                0 => above.open_dir(&self.tree.parts.first().name)?,
                _ => above.open_dir(self.tree.entries[folder].name.as_ref())?,
            };
            self.open.push(dir);
        }
        self.open
            .last()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Where the part at hand is, of several.
    fn part(&self) -> io::Result<&Place> {
        let parts = &self.tree.parts;
        let number = parts.named(self.tree.entries[self.part].name.as_ref());
        number
            .and_then(|number| parts.get(number))
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}
