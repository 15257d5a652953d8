//! Moving a finished partial to where something is already.
//!
//! Invariants: what is there is replaced only if `verdict` says so, and only if it is still what
//! was judged, looked at right before; a name that came from outside never leads through a symlink;
//! what is not replaced is told.

use super::aside::{Aside, Thing};
use super::check::find_conflict;
use super::verdict::{Verdict, Verdicts, equal};
use super::{FetchTarget, FinishError, IfExists, MAX_NAMES};
use crate::names::fit;
use crate::partial::conflict_name;
use crate::platform::{Dir, Kind, Stat};
use crate::stamp::Stamps;
use crate::trash::{TRASH, Trashed};
use hither_proto::EntryKind;
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

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
    /// Things that were replaced, or put aside.
    pub(super) trashed: Option<Trashed>,
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

    pub(super) fn note(&mut self, kept: Kept) {
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
        let (aside, trash) = self.aside(target, if_exists);
        let with = (&verdicts, aside.as_ref());
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
            let below = self.move_entry(&way, with, &mut placed)?;
            if matches!(entry.kind, EntryKind::Folder) {
                open.push(below);
            }
        }
        drop(open);
        if let Some(aside) = aside {
            self.clear_away(target, &verdicts, &aside, &mut placed)?;
            let name = aside.finish().map_err(|error| self.failed(0, error))?;
            placed.trashed = name.map(|name| Trashed { trash, name });
        }
        placed.stamps = self.stamps(&placed);
        self.finish_folders(&placed)?;
        Ok(placed)
    }

    /// The trash, for what a later version replaces, and its path: in a folder that is one in both
    /// versions, else beside.
    fn aside(&self, target: &OsStr, if_exists: IfExists) -> (Option<Aside>, PathBuf) {
        let parent = &self.access.place().parent;
        let is_folder = |before: &Arc<crate::holding::Holding>| !before.manifest().is_single_file();
        let (before, when) = (self.options.before.as_ref(), self.options.trash.as_ref());
        let inside = before.is_some_and(is_folder) && !self.manifest().is_single_file();
        let inner = if inside {
            self.above.open_dir(target).ok().map(Arc::new)
        } else {
            Some(Arc::clone(&self.above))
        };
        let path = if inside {
            parent.join(target).join(TRASH)
        } else {
            parent.join(TRASH)
        };
        let when = when.filter(|_| if_exists == IfExists::Update && before.is_some());
        let aside = when.zip(inner).map(|(when, base)| Aside::new(base, when));
        (aside, path)
    }

    /// Moves one entry, or enters a folder that is on both sides.
    fn move_entry(
        &self,
        way: &Way<'_>,
        (verdicts, aside): (&Verdicts<'_>, Option<&Aside>),
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
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.find_beside(way, placed);
                    return Ok(None);
                }
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
                Verdict::Ours if (is_folder || there.kind == Kind::Folder) && aside.is_some() => {
                    if self
                        .put_aside(way, &there, verdicts, aside)
                        .map_err(failed)?
                    {
                        continue;
                    }
                    self.put_beside(way, placed)?
                }
                Verdict::Ours | Verdict::Replace if is_folder || there.kind == Kind::Folder => {
                    if verdicts.remove(way.entry, to, to_name).map_err(failed)? {
                        continue;
                    }
                    self.put_beside(way, placed)?
                }
                Verdict::Ours | Verdict::Replace => self
                    .replace(way, &there, (verdict, verdicts), aside)
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
    fn replace(
        &self,
        way: &Way<'_>,
        there: &Stat,
        (verdict, verdicts): (Verdict, &Verdicts<'_>),
        aside: Option<&Aside>,
    ) -> io::Result<bool> {
        let ours = verdict == Verdict::Ours;
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
        let keeps =
            aside.is_some() && !verdicts.brings_the_same(way.entry, way.to, there, way.from);
        match to.stat(to_name) {
            Ok(now) if now == *there => {}
            _ => return Ok(false),
        }
        if !keeps {
            return from.rename(from_name, to, to_name).map(|()| true);
        }
        if !self.put_aside(way, there, verdicts, aside)? {
            return Ok(false);
        }
        match from.rename_new(from_name, to, to_name) {
            // Somebody was faster: that is judged anew.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            moved => moved.map(|()| true),
        }
    }

    /// Moves what is where the share has an entry to the trash; `false` when it changed meanwhile,
    /// and stays.
    fn put_aside(
        &self,
        way: &Way<'_>,
        there: &Stat,
        verdicts: &Verdicts<'_>,
        aside: Option<&Aside>,
    ) -> io::Result<bool> {
        let Some(aside) = aside else {
            return Ok(false);
        };
        let thing = Thing {
            dir: way.to.0,
            name: way.to.1,
            there,
            folders: self.folders_above(way.entry),
        };
        aside.take(&thing, &|dir, name, stat| {
            verdicts.still_left(way.entry, (dir, name), stat)
        })
    }

    /// The names of the folders between the top and an entry, as they are here.
    fn folders_above(&self, entry: u32) -> Vec<OsString> {
        let (mut names, mut at) = (Vec::new(), entry);
        while at != 0 {
            at = self.access.layout().parent_of(at);
            if at != 0 {
                names.push(self.access.name(at).to_owned());
            }
        }
        names.reverse();
        names
    }

    /// Remembers that an earlier, interrupted finish has written an entry beside something.
    fn find_beside(&self, way: &Way<'_>, placed: &mut Placed) {
        if self.is_entry(way.to.0, way.to.1, way.entry) {
            return;
        }
        let found = self
            .names_beside(way.entry, way.to.1)
            .find(|name| self.is_entry(way.to.0, name, way.entry));
        if let Some(beside) = found {
            self.note_beside(way.entry, beside, placed);
        }
    }

    fn note_beside(&self, entry: u32, beside: OsString, placed: &mut Placed) {
        let path = self.path_of(placed, entry);
        let copy = Some(path.with_file_name(&beside));
        placed.note(Kept { path, copy });
        placed.beside.insert(entry, beside);
    }

    /// The names under which an entry is written beside something called `name`.
    pub(super) fn names_beside<'a>(
        &'a self,
        entry: u32,
        name: &OsStr,
    ) -> impl Iterator<Item = OsString> + use<'a> {
        let name = name.to_string_lossy().into_owned();
        let is_folder = matches!(self.entry(entry).kind, EntryKind::Folder);
        let max = self.rules.longest();
        (1..=MAX_NAMES).map(move |attempt| {
            let beside = conflict_name(&name, &self.options.origin, attempt, max, is_folder);
            OsString::from(fit(&self.rules, &beside))
        })
    }

    /// Writes an entry beside what stays; `true` unless all names are taken.
    fn put_beside(&self, way: &Way<'_>, placed: &mut Placed) -> Result<bool, FinishError> {
        let same = |beside: &OsStr| {
            self.is_entry(way.to.0, beside, way.entry)
                && equal((way.to.0, beside), way.from).unwrap_or(false)
        };
        for beside in self.names_beside(way.entry, way.to.1) {
            match way.from.0.rename_new(way.from.1, way.to.0, &beside) {
                Ok(()) => {
                    self.note_beside(way.entry, beside, placed);
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    // By a finish that was interrupted.
                    if same(&beside) {
                        self.note_beside(way.entry, beside, placed);
                        return Ok(true);
                    }
                }
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
pub(super) fn enter(above: &Dir, name: &OsStr) -> io::Result<Dir> {
    let dir = above
        .open_dir(name)
        .or_else(|error| above.open_own_dir(name, error))?;
    let mode = above.stat(name)?.mode;
    if mode & 0o700 != 0o700 {
        dir.set_mode(mode | 0o700)?;
    }
    Ok(dir)
}
