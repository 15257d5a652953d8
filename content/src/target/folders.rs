//! Folders get their modes and times, when nothing is put into them any more.
//!
//! Invariant: each folder is set and synced through a handle that was opened before its mode could
//! forbid it, so no mode makes a fetch unfinishable.

use super::merge::Placed;
use super::write::FEW;
use super::{FetchTarget, FinishError, WriteError};
use crate::platform::Dir;
use hither_proto::EntryKind;
use std::io;

impl FetchTarget {
    /// Sets the modes and times of the share's folders where they are, innermost first, and makes
    /// durable what is in them: one by one, or when they are many with their whole file system.
    /// A folder that was there before keeps its mode.
    pub(super) fn finish_folders(&self, placed: &Placed) -> Result<(), FinishError> {
        let entries = self.manifest().entries();
        let folders = entries
            .iter()
            .filter(|entry| matches!(entry.kind, EntryKind::Folder))
            .count();
        let each = folders <= FEW;
        // The open folders on the way down, each with its entry.
        let mut open: Vec<(u32, Dir)> = Vec::new();
        // Everything deeper than this is not here.
        let mut absent: Option<u32> = None;
        for (index, entry) in (0u32..).zip(entries) {
            if absent.is_some_and(|depth| entry.depth > depth) {
                continue;
            }
            absent = None;
            if !matches!(entry.kind, EntryKind::Folder) {
                continue;
            }
            self.close_folders(&mut open, entry.depth as usize, placed, each)?;
            if placed.is_left(index) || self.names().is_skipped(index) {
                absent = Some(entry.depth);
                continue;
            }
            let above = open.last().map_or(&*self.above, |(_, dir)| dir);
            let name = self.name_in(placed, index);
            let dir = above
                .open_dir(name)
                .or_else(|error| above.open_own_dir(name, error));
            open.push((index, dir.map_err(|error| self.failed(index, error))?));
        }
        self.close_folders(&mut open, 0, placed, each)?;
        if !each
            && !self
                .above
                .sync_file_system()
                .map_err(|error| self.failed(0, error))?
        {
            tracing::debug!("the file system cannot be synced as a whole");
        }
        Ok(())
    }

    /// Finishes the folders that are open deeper than `depth`.
    fn close_folders(
        &self,
        open: &mut Vec<(u32, Dir)>,
        depth: usize,
        placed: &Placed,
        each: bool,
    ) -> Result<(), WriteError> {
        while open.len() > depth {
            let Some((entry, dir)) = open.pop() else {
                break;
            };
            let mode = placed
                .mode_before(entry)
                .unwrap_or_else(|| self.mode_of(entry));
            let finish = || -> io::Result<()> {
                dir.finish(mode, self.entry(entry).mtime_ns)?;
                if each { dir.sync() } else { Ok(()) }
            };
            finish().map_err(|error| self.failed(entry, error))?;
        }
        Ok(())
    }
}
