//! What may be replaced: what an earlier version left, and nobody has changed since.
//!
//! Invariant: a file counts as the earlier version's only if its stamp says so or its content was
//! compared. Whatever cannot be read or is not understood is somebody else's.

use super::{FetchTarget, IfExists, together};
use crate::access::Access;
use crate::holding::Holding;
use crate::layout::Layout;
use crate::names::{NameRules, Names};
use crate::platform::{self, Dir, Kind, Stat};
use crate::stamp::FileStamp;
use crate::trash::TRASH;
use hither_proto::limits::MAX_DEPTH;
use hither_proto::{Entry, EntryKind};
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::Arc;

/// Compared at a time, bytes.
const BLOCK: usize = 1 << 18;

/// What becomes of something that is where the share has an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the earlier version's, untouched: the new one takes its place.
    Ours,
    /// The new one takes its place all the same: its content is no loss, or the user said so.
    Replace,
    /// It stays, and the new one is what the earlier version had there: nothing is written.
    Keep,
    /// It stays; the new one is written beside it.
    Beside,
}

/// The earlier version and what is still there of it.
pub(super) struct Verdicts<'a> {
    new: &'a Layout,
    if_exists: IfExists,
    overwrite: bool,
    before: Option<Before<'a>>,
    /// Files of the new version where the earlier one's content is, whatever its stamp says.
    same_content: HashMap<u32, Stat>,
    /// Files of the earlier version that the new one does not have, and that were only touched.
    intact: HashMap<u32, Stat>,
}

/// An earlier version, by the paths in it.
pub(super) struct Before<'a> {
    holding: &'a Holding,
    rules: &'a NameRules,
    /// Entries by the folder they are in and their name here, as the file system compares names.
    by_name: HashMap<(u32, OsString), u32>,
    /// The entry of the same path for each entry of the new version.
    counterparts: Vec<Option<u32>>,
    /// Entries of this version whose path the new version has too.
    matched: HashSet<u32>,
}

impl<'a> Before<'a> {
    fn new(holding: &'a Holding, new: &Layout, names: &Names, rules: &'a NameRules) -> Self {
        let old = holding.layout();
        let count = old.manifest().entries().len() as u32;
        let there = (1..count).filter(|entry| !holding.names().is_skipped(*entry));
        let by_name: HashMap<_, _> = there
            .map(|entry| {
                (
                    (
                        old.parent_of(entry),
                        rules.key_of(holding.names().name(old, entry)),
                    ),
                    entry,
                )
            })
            .collect();
        let mut counterparts: Vec<Option<u32>> = Vec::new();
        for entry in 0..new.manifest().entries().len() as u32 {
            let found = match entry {
                0 => Some(0),
                _ => counterparts[new.parent_of(entry) as usize].and_then(|above| {
                    by_name
                        .get(&(above, rules.key_of(names.name(new, entry))))
                        .copied()
                }),
            };
            counterparts.push(found);
        }
        Self {
            holding,
            rules,
            by_name,
            matched: counterparts.iter().copied().flatten().collect(),
            counterparts,
        }
    }

    pub(super) const fn holding(&self) -> &Holding {
        self.holding
    }

    /// The name of an entry here, the top's aside.
    pub(super) fn name(&self, entry: u32) -> &OsStr {
        self.holding.names().name(self.holding.layout(), entry)
    }

    /// Returns whether an entry was never written.
    pub(super) fn is_skipped(&self, entry: u32) -> bool {
        self.holding.names().is_skipped(entry)
    }

    /// Returns whether the new version has something at an entry's path.
    pub(super) fn is_matched(&self, entry: u32) -> bool {
        self.matched.contains(&entry)
    }

    fn entry(&self, entry: u32) -> &Entry {
        &self.holding.manifest().entries()[entry as usize]
    }

    fn stamp(&self, entry: u32) -> Option<&FileStamp> {
        let file = self.holding.layout().file_of(entry)?;
        self.holding.stamps().as_slice().get(file as usize)
    }

    /// Returns whether `there`, which has that name, is what this version left as `entry`. A folder
    /// is when everything in it is.
    fn left(&self, entry: u32, (dir, name): (&Dir, &OsStr), there: &Stat, depth: u32) -> bool {
        match (&self.entry(entry).kind, there.kind) {
            (EntryKind::File { .. }, Kind::File) => {
                self.stamp(entry).is_some_and(|stamp| stamp.tells(there))
            }
            (EntryKind::Symlink { target }, Kind::Symlink) => dir
                .read_link(name)
                .is_ok_and(|found| found == OsStr::new(target)),
            (EntryKind::Folder, Kind::Folder) if depth <= MAX_DEPTH => {
                let inner = |dir: &Dir, name: &OsStr| {
                    // The trash of a followed folder is Hither's own.
                    if entry == 0 && name == TRASH {
                        return true;
                    }
                    let found = self.by_name.get(&(entry, self.rules.key_of(name))).copied();
                    let stat = dir.stat(name).ok();
                    found.zip(stat).is_some_and(|(found, stat)| {
                        self.left(found, (dir, name), &stat, depth + 1)
                    })
                };
                dir.open_dir(name).is_ok_and(|dir| all(&dir, &inner))
            }
            _ => false,
        }
    }

    /// Removes what this version left as `entry`; `false` when something else is there, which
    /// stays.
    fn remove(&self, entry: u32, dir: &Dir, name: &OsStr) -> io::Result<bool> {
        let there = match dir.stat(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            there => there?,
        };
        if !self.left(entry, (dir, name), &there, 0) {
            return Ok(false);
        }
        if there.kind != Kind::Folder {
            return dir.remove_file(name).map(|()| true);
        }
        let inner = dir.open_dir(name)?;
        for name in names(&inner)? {
            let Some(found) = self.by_name.get(&(entry, self.rules.key_of(&name))) else {
                return Ok(false);
            };
            if !self.remove(*found, &inner, &name)? {
                return Ok(false);
            }
        }
        match dir.remove_dir(name) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
            removed => removed.map(|()| true),
        }
    }
}

impl<'a> Verdicts<'a> {
    /// Looks at what is at `target`. All contents that must be compared are read here, before
    /// anything is moved: a chunk may hold bytes of several files.
    pub(super) fn new(of: &'a FetchTarget, target: &OsStr, if_exists: IfExists) -> Self {
        let (new, options) = (of.access.layout(), &of.options);
        let here = |holding: &&Arc<Holding>| {
            let place = holding.place();
            place.parent == of.access.place().parent && place.name == target
        };
        let before = options
            .before
            .as_ref()
            .filter(|_| if_exists == IfExists::Update)
            .filter(here);
        let before = before.map(|holding| Before::new(holding, new, of.names(), &of.rules));
        let (same_content, intact) = before
            .as_ref()
            .map(|before| same_contents(before, &of.access, options.trash.is_some()))
            .unwrap_or_default();
        Self {
            new,
            if_exists,
            overwrite: options.overwrite,
            before,
            same_content,
            intact,
        }
    }

    /// Returns what becomes of `there`, which is at `to` where the share has `entry`, now at
    /// `from`.
    pub(super) fn judge(
        &self,
        entry: u32,
        to: (&Dir, &OsStr),
        there: &Stat,
        from: (&Dir, &OsStr),
    ) -> Verdict {
        if self.if_exists == IfExists::Overwrite {
            return Verdict::Replace;
        }
        let counterpart = self.counterpart(entry);
        if let Some((before, old)) = counterpart
            && before.left(old, to, there, 0)
        {
            return Verdict::Ours;
        }
        let kind = &self.new.manifest().entries()[entry as usize].kind;
        let same = match (kind, there.kind) {
            (EntryKind::File { size, .. }, Kind::File) => {
                self.same_content.get(&entry) == Some(there)
                    || (there.size == *size && equal(to, from).unwrap_or(false))
            }
            (EntryKind::Symlink { target }, Kind::Symlink) => {
                to.0.read_link(to.1)
                    .is_ok_and(|found| found == OsStr::new(target))
            }
            _ => false,
        };
        let wanted = self.overwrite && there.kind != Kind::Folder && *kind != EntryKind::Folder;
        if same || wanted {
            Verdict::Replace
        } else if counterpart
            .is_some_and(|(before, old)| unchanged(before.holding.layout(), old, self.new, entry))
        {
            Verdict::Keep
        } else {
            Verdict::Beside
        }
    }

    /// Returns whether the earlier version was not there either: then it was told that something
    /// stays.
    pub(super) fn was_told(&self, entry: u32) -> bool {
        let stamp = self
            .counterpart(entry)
            .and_then(|(before, old)| before.stamp(old));
        stamp == Some(&FileStamp::UNKNOWN)
    }

    /// Removes what the earlier version left where the share has `entry`; `false` when something
    /// else is there.
    pub(super) fn remove(&self, entry: u32, dir: &Dir, name: &OsStr) -> io::Result<bool> {
        self.counterpart(entry)
            .map_or(Ok(false), |(before, old)| before.remove(old, dir, name))
    }

    /// The earlier version.
    pub(super) const fn before(&self) -> Option<&Before<'a>> {
        self.before.as_ref()
    }

    /// Returns whether `there`, which is where the earlier version has `old` and the new one
    /// nothing, is what the earlier version left.
    pub(super) fn may_go(&self, old: u32, at: (&Dir, &OsStr), there: &Stat) -> bool {
        let left = |before: &Before<'_>| before.left(old, at, there, 0);
        self.before.as_ref().is_some_and(left) || self.intact.get(&old) == Some(there)
    }

    /// Returns whether the earlier version's entry was not there either: that was told then.
    pub(super) fn old_was_told(&self, old: u32) -> bool {
        let stamp = |before: &Before<'_>| before.stamp(old) == Some(&FileStamp::UNKNOWN);
        self.before.as_ref().is_some_and(stamp)
    }

    /// Returns whether what the earlier version left where the share has `entry` is `moved` now.
    pub(super) fn still_left(&self, entry: u32, moved: (&Dir, &OsStr), stat: &Stat) -> bool {
        stat.kind != Kind::Folder
            || self
                .counterpart(entry)
                .is_some_and(|(before, old)| before.left(old, moved, stat, 0))
    }

    /// Returns whether what is at `to` has the content that takes its place, at `from`: nothing is
    /// lost.
    pub(super) fn brings_the_same(
        &self,
        entry: u32,
        to: (&Dir, &OsStr),
        there: &Stat,
        from: (&Dir, &OsStr),
    ) -> bool {
        match (
            &self.new.manifest().entries()[entry as usize].kind,
            there.kind,
        ) {
            (EntryKind::File { size, .. }, Kind::File) if there.size == *size => {
                self.same_chunks(entry) || equal(to, from).unwrap_or(false)
            }
            (EntryKind::Symlink { target }, Kind::Symlink) => {
                to.0.read_link(to.1)
                    .is_ok_and(|found| found == OsStr::new(target))
            }
            _ => false,
        }
    }

    /// Returns whether a file is the same in both versions, as their chunks say.
    fn same_chunks(&self, entry: u32) -> bool {
        let Some((before, old)) = self.counterpart(entry) else {
            return false;
        };
        let (then, now) = (before.holding.layout(), self.new);
        let (Some(one), Some(other)) = (then.file_of(old), now.file_of(entry)) else {
            return false;
        };
        let (a, b) = (then.positions_of(one), now.positions_of(other));
        let piece = |layout: &Layout, file: u32, position: u32| {
            let (mut at, mut found) = (0u64, None);
            for extent in layout.extents(position)? {
                if extent.file == file {
                    found = Some((at, extent.offset, extent.length));
                }
                at += u64::from(extent.length);
            }
            let id = layout.manifest().chunks().get(position as usize)?.id;
            Some((id, found?))
        };
        a.len() == b.len()
            && a.zip(b).all(|(a, b)| {
                let (a, b) = (piece(then, one, a), piece(now, other, b));
                a.is_some() && a == b
            })
    }

    fn counterpart(&self, entry: u32) -> Option<(&Before<'a>, u32)> {
        let before = self.before.as_ref()?;
        Some((before, (*before.counterparts.get(entry as usize)?)?))
    }
}

/// Files whose stamps tell nothing but that still have the earlier version's content: by the new
/// version's entries, and with `all` those it does not have by the earlier one's.
fn same_contents(
    before: &Before<'_>,
    new: &Access,
    all: bool,
) -> (HashMap<u32, Stat>, HashMap<u32, Stat>) {
    let (mut same, mut intact) = (HashMap::new(), HashMap::new());
    let old = before.holding.layout();
    let pairs = (0u32..)
        .zip(&before.counterparts)
        .filter_map(|(entry, old)| Some(((*old)?, entry)));
    let unchanged: HashMap<u32, u32> = pairs
        .filter(|(entry, now)| unchanged(old, *entry, new.layout(), *now))
        .collect();
    let as_before = |old: u32| unchanged.get(&old).copied();
    let matched = (0u32..)
        .zip(&before.counterparts)
        .filter_map(|(entry, old)| Some((Some(entry), (*old)?)));
    let entries = before.holding.manifest().entries().len() as u32;
    let others = (0..entries)
        .filter(|old| all && !before.is_matched(*old) && !before.is_skipped(*old))
        .map(|old| (None, old));
    for (entry, old) in matched.chain(others) {
        let EntryKind::File { size, .. } = before.entry(old).kind else {
            continue;
        };
        let Some(stat) = before
            .holding
            .stat(old)
            .filter(|stat| stat.kind == Kind::File && stat.size == size)
        else {
            continue;
        };
        if before.stamp(old).is_some_and(|stamp| stamp.tells(&stat)) {
            continue;
        }
        if before.holding.is_intact(old)
            || together::is_intact(before.holding, old, new, &as_before)
        {
            match entry {
                Some(entry) => same.insert(entry, stat),
                None => intact.insert(old, stat),
            };
        }
    }
    (same, intact)
}

/// Returns whether an entry, with everything below it, is in both versions the same.
fn unchanged(old: &Layout, old_entry: u32, new: &Layout, new_entry: u32) -> bool {
    let (before, after) = (subtree(old, old_entry), subtree(new, new_entry));
    if before.len() != after.len() {
        return false;
    }
    let same_kind = |a: &EntryKind, b: &EntryKind| match (a, b) {
        (EntryKind::File { size: a, .. }, EntryKind::File { size: b, .. }) => a == b,
        (a, b) => a == b,
    };
    let top = |entries: &[Entry]| entries.first().map_or(0, |top| top.depth);
    let (above, over) = (top(before), top(after));
    before
        .iter()
        .zip(after)
        .enumerate()
        .all(|(number, (a, b))| {
            let same_place = a.depth - above == b.depth - over && (number == 0 || a.name == b.name);
            same_place && same_kind(&a.kind, &b.kind) && a.mtime_ns == b.mtime_ns
        })
}

/// An entry with everything below it.
fn subtree(layout: &Layout, entry: u32) -> &[Entry] {
    let entries = layout
        .manifest()
        .entries()
        .get(entry as usize..)
        .unwrap_or_default();
    let deeper = |top: &Entry| {
        entries[1..]
            .iter()
            .take_while(|inner| inner.depth > top.depth)
            .count()
    };
    &entries[..entries.first().map_or(0, |top| 1 + deeper(top))]
}

/// Returns whether two files have the same content.
pub(super) fn equal(one: (&Dir, &OsStr), other: (&Dir, &OsStr)) -> io::Result<bool> {
    let (one, other) = (one.0.open_read(one.1)?, other.0.open_read(other.1)?);
    let (mut a, mut b) = (vec![0; BLOCK], vec![0; BLOCK]);
    let mut offset = 0;
    loop {
        let read = platform::read_full_at(&one, &mut a, offset)?;
        if platform::read_full_at(&other, &mut b, offset)? != read || a[..read] != b[..read] {
            return Ok(false);
        }
        if read < BLOCK {
            return Ok(true);
        }
        offset += BLOCK as u64;
    }
}

fn names(dir: &Dir) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    dir.names(&mut |name| {
        names.push(name);
        Ok(())
    })?;
    Ok(names)
}

/// Returns whether something holds for every name in a folder.
fn all(dir: &Dir, holds: &dyn Fn(&Dir, &OsStr) -> bool) -> bool {
    names(dir).is_ok_and(|names| names.iter().all(|name| holds(dir, name)))
}
