//! Moving a finished partial to where something is already.
//!
//! Invariants: what is there is replaced only if `verdict` says so, and only if it is still what
//! was judged, looked at right before; a name that came from outside never leads through a symlink;
//! what is not replaced is told.

use super::check::find_conflict;
use super::discard::remove_partial;
use super::verdict::{Verdict, Verdicts};
use super::{FetchTarget, FinishError, IfExists, MAX_NAMES};
use crate::names::fit;
use crate::partial::conflict_name;
use crate::platform::{Dir, Kind, Stat};
use crate::stamp::Stamps;
use hither_proto::EntryKind;
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;

/// Most of what stays that is told one by one.
const MAX_KEPT: usize = 100;

/// Something that was there and stays, because it is not what the earlier version left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Where it is.
    pub path: PathBuf,
    /// Where the new version's was written instead; `None` when that is what it was before.
    pub copy: Option<PathBuf>,
}

/// Where the entries of a share ended up.
#[derive(Debug, Default)]
pub(super) struct Placed {
    /// Name of the top.
    pub(super) name: OsString,
    /// Entries that were written beside something, with their names.
    beside: HashMap<u32, OsString>,
    /// Entries that were not written, because what is there stays.
    left: HashSet<u32>,
    /// Folders that were there before, with their modes.
    existing: HashMap<u32, u32>,
    pub(super) kept: Vec<Kept>,
    pub(super) kept_more: u64,
    /// The stamps of the files in place.
    pub(super) stamps: Stamps,
}

impl Placed {
    /// All of it under the top of this name.
    pub(super) fn at(name: OsString) -> Self {
        Self {
            name,
            ..Self::default()
        }
    }

    /// Returns whether an entry is not where the share has it.
    pub(super) fn is_elsewhere(&self, entry: u32) -> bool {
        self.left.contains(&entry) || self.beside.contains_key(&entry)
    }

    /// Returns whether an entry was not written.
    pub(super) fn is_left(&self, entry: u32) -> bool {
        self.left.contains(&entry)
    }

    /// The mode of a folder that was there before.
    pub(super) fn mode_before(&self, entry: u32) -> Option<u32> {
        self.existing.get(&entry).copied()
    }

    /// Returns whether anything is not where the share has it.
    pub(super) fn is_apart(&self) -> bool {
        !self.left.is_empty() || !self.beside.is_empty()
    }

    fn note(&mut self, kept: Kept) {
        if self.kept.len() < MAX_KEPT {
            self.kept.push(kept);
        } else {
            self.kept_more += 1;
        }
    }
}

/// An entry on its way: from a name in the partial to a name in the target.
struct Way<'a> {
    entry: u32,
    from: (&'a Dir, &'a OsStr),
    to: (&'a Dir, &'a OsStr),
}

/// The two folders that the entries below one are moved between.
type Below = Option<(Dir, Dir)>;

impl FetchTarget {
    /// Moves every entry that is not there yet, or may replace what is there, from the partial to
    /// the target.
    pub(super) fn merge(&self, target: &OsStr, if_exists: IfExists) -> Result<Placed, FinishError> {
        if if_exists == IfExists::Overwrite {
            let found = find_conflict(self.access.layout(), self.names(), &self.above, target);
            if let Some(conflict) = found.map_err(|error| self.failed(0, error))? {
                let (path, found, wanted) = (conflict.path, conflict.found, conflict.wanted);
                return Err(FinishError::Conflict {
                    path,
                    found,
                    wanted,
                });
            }
        }
        let verdicts = Verdicts::new(self, target, if_exists);
        let mut placed = Placed::at(target.to_owned());
        // The open folders on the way down: of the partial and of the target; `None` below one that
        // moved whole or stays.
        let mut open: Vec<Below> = Vec::new();
        for (index, entry) in (0u32..).zip(self.manifest().entries()) {
            open.truncate(entry.depth as usize);
            let (from, to): (&Dir, &Dir) = match open.last() {
                None => (&self.above, &self.above),
                Some(Some((from, to))) if !self.names().is_skipped(index) => (from, to),
                Some(_) => {
                    if matches!(entry.kind, EntryKind::Folder) {
                        open.push(None);
                    }
                    continue;
                }
            };
            let (from_name, to_name) = match index {
                0 => (self.partial_name(), target),
                _ => (self.access.name(index), self.access.name(index)),
            };
            let way = Way {
                entry: index,
                from: (from, from_name),
                to: (to, to_name),
            };
            let below = self.move_entry(&way, &verdicts, &mut placed)?;
            if matches!(entry.kind, EntryKind::Folder) {
                open.push(below);
            }
        }
        drop(open);
        placed.stamps = self.stamps(&placed);
        self.finish_folders(&placed)?;
        // Empty folders, and what gave way to something that stays, are all that is left.
        remove_partial(&self.above, &self.partial)?;
        Ok(placed)
    }

    /// Moves one entry, or enters a folder that is on both sides.
    fn move_entry(
        &self,
        way: &Way<'_>,
        verdicts: &Verdicts<'_>,
        placed: &mut Placed,
    ) -> Result<Below, FinishError> {
        let failed = |error| FinishError::from(self.failed(way.entry, error));
        let ((from, from_name), (to, to_name)) = (way.from, way.to);
        let is_folder = matches!(self.entry(way.entry).kind, EntryKind::Folder);
        for _ in 0..MAX_NAMES {
            match from.rename_new(from_name, to, to_name) {
                Ok(()) => return Ok(None),
                // Moved by an earlier finish that was interrupted; `complete_file` has made sure of
                // it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(error)),
            }
            let there = match to.stat(to_name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                there => there.map_err(failed)?,
            };
            if is_folder && there.kind == Kind::Folder {
                placed.existing.insert(way.entry, there.mode);
                return Ok(Some((
                    enter(from, from_name).map_err(failed)?,
                    enter(to, to_name).map_err(failed)?,
                )));
            }
            let verdict = verdicts.judge(way.entry, way.to, &there, way.from);
            let done = match verdict {
                Verdict::Ours | Verdict::Replace if is_folder || there.kind == Kind::Folder => {
                    if verdicts.remove(way.entry, to, to_name).map_err(failed)? {
                        continue;
                    }
                    self.put_beside(way, placed)?
                }
                Verdict::Ours | Verdict::Replace => self
                    .replace(way, &there, verdict == Verdict::Ours)
                    .map_err(failed)?,
                Verdict::Keep => {
                    placed.left.insert(way.entry);
                    if !verdicts.was_told(way.entry) {
                        placed.note(Kept {
                            path: self.path_of(placed, way.entry),
                            copy: None,
                        });
                    }
                    true
                }
                Verdict::Beside => self.put_beside(way, placed)?,
            };
            if done {
                return Ok(None);
            }
        }
        Err(failed(io::ErrorKind::AlreadyExists.into()))
    }

    /// Replaces a file or symlink if it is still what was judged.
    fn replace(&self, way: &Way<'_>, there: &Stat, ours: bool) -> io::Result<bool> {
        let ((from, from_name), (to, to_name)) = (way.from, way.to);
        // What takes another's place is for no more eyes than that was.
        if !ours
            && there.kind == Kind::File
            && matches!(self.entry(way.entry).kind, EntryKind::File { .. })
        {
            let mode = self.mode_of(way.entry);
            let narrow = mode & (there.mode | 0o700);
            if narrow != mode {
                from.set_mode_at(from_name, narrow)?;
            }
        }
        match to.stat(to_name) {
            Ok(now) if now == *there => {}
            _ => return Ok(false),
        }
        from.rename(from_name, to, to_name).map(|()| true)
    }

    /// Writes an entry beside what stays; `true` unless all names are taken.
    fn put_beside(&self, way: &Way<'_>, placed: &mut Placed) -> Result<bool, FinishError> {
        let (name, max) = (way.to.1.to_string_lossy(), self.rules.longest());
        let is_folder = matches!(self.entry(way.entry).kind, EntryKind::Folder);
        for attempt in 1..=MAX_NAMES {
            let beside = conflict_name(&name, &self.options.origin, attempt, max, is_folder);
            let beside = OsString::from(fit(&self.rules, &beside));
            match way.from.0.rename_new(way.from.1, way.to.0, &beside) {
                Ok(()) => {
                    let path = self.path_of(placed, way.entry);
                    let copy = Some(path.with_file_name(&beside));
                    placed.note(Kept { path, copy });
                    placed.beside.insert(way.entry, beside);
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(self.failed(way.entry, error).into()),
            }
        }
        Ok(false)
    }

    /// The name that an entry has where it is.
    pub(super) fn name_in<'a>(&'a self, placed: &'a Placed, entry: u32) -> &'a OsStr {
        match placed.beside.get(&entry) {
            Some(name) => name,
            None if entry == 0 => &placed.name,
            None => self.access.name(entry),
        }
    }

    /// Path of an entry as the share has it.
    fn path_of(&self, placed: &Placed, entry: u32) -> PathBuf {
        let (mut names, mut at) = (Vec::new(), entry);
        while at != 0 {
            names.push(self.access.name(at));
            at = self.access.layout().parent_of(at);
        }
        let top = self.access.place().parent.join(&placed.name);
        names
            .into_iter()
            .rev()
            .fold(top, |path, name| path.join(name))
    }
}

/// Opens a folder to move entries out of it or into it, which its mode must allow meanwhile.
fn enter(above: &Dir, name: &OsStr) -> io::Result<Dir> {
    let dir = above
        .open_dir(name)
        .or_else(|error| above.open_own_dir(name, error))?;
    let mode = above.stat(name)?.mode;
    if mode & 0o700 != 0o700 {
        dir.set_mode(mode | 0o700)?;
    }
    Ok(dir)
}
