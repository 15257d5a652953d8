//! Names of a version's entries on this device, where they are not those of the share.
//!
//! A share may have any names (`hither_proto::EntryName`); whether they can be written is a matter
//! of the file system that they are written to. `rules` says what it takes, `probe` finds that out,
//! `escape` writes a name in another way, `plan` does so for the entries of a version.
//!
//! Invariants: no two entries of one folder have the same name for the file system; what has a name
//! of its own that can be written keeps it; an entry that an earlier version had at the same place
//! is called as it was then.

mod escape;
mod plan;
mod probe;
mod rules;

pub use escape::unescape;
pub use plan::Naming;
pub use rules::NameRules;

pub(crate) use escape::escape_free;
pub(crate) use plan::{plan, unwritable};
pub(crate) use probe::probe;

use crate::layout::Layout;
use crate::notes::Notes;
use crate::platform::Dir;
use crate::selection::Selection;
use hither_proto::limits::MAX_ENTRIES;
use hither_proto::{EntryName, Manifest, display_name};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::path::Path;

/// Stored names that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stored names of a share's files are damaged")]
pub struct NamesError;

/// Entries of a version that are called otherwise on this device, or is not written at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// The name of each entry that is called otherwise; never of the top.
    written: HashMap<u32, String>,
    /// Entries that are not written, with all that is below them.
    skipped: BTreeSet<u32>,
    /// Entries that nobody wants here; stored among those that are not written.
    left_out: BTreeSet<u32>,
}

impl Names {
    /// Returns whether everything is written, and called as the share calls it.
    pub fn is_plain(&self) -> bool {
        self.written.is_empty() && !self.skips()
    }

    /// Returns whether something is not written.
    pub fn skips(&self) -> bool {
        !self.skipped.is_empty() || !self.left_out.is_empty()
    }

    /// Writes only what is wanted.
    pub(crate) fn leave_out(&mut self, selection: &Selection) {
        self.left_out.clone_from(selection.left_out());
        self.written
            .retain(|entry, _| !selection.left_out().contains(entry));
        self.skipped
            .retain(|entry| !selection.left_out().contains(entry));
    }

    /// The name of an entry here, the top's aside.
    pub(crate) fn name<'a>(&'a self, layout: &'a Layout, entry: u32) -> &'a OsStr {
        match self.written.get(&entry) {
            Some(written) if !self.written.is_empty() => OsStr::new(written),
            _ => layout.name_of(entry),
        }
    }

    /// Returns whether an entry is not written.
    pub(crate) fn is_skipped(&self, entry: u32) -> bool {
        self.skipped.contains(&entry) || self.left_out.contains(&entry)
    }

    /// Returns the entries that are called otherwise, in the order of the share: path below the top
    /// as the share has it, and as it is here.
    pub fn renamed(&self, manifest: &Manifest) -> Renamed {
        let mut renamed = Renamed {
            total: self.written.len() as u64,
            ..Renamed::default()
        };
        if self.is_plain() {
            return renamed;
        }
        let (mut names, mut here): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
        let mut left_out_at: Option<u32> = None;
        for (index, entry) in (0u32..).zip(manifest.entries()).skip(1) {
            let above = entry.depth as usize - 1;
            names.truncate(above);
            here.truncate(above);
            names.push(entry.name.as_str());
            here.push(
                self.written
                    .get(&index)
                    .map_or(entry.name.as_str(), String::as_str),
            );
            if self.skipped.contains(&index) {
                // What is inside a folder that is left out is not told one by one.
                if left_out_at.is_none_or(|depth| entry.depth <= depth) {
                    left_out_at = Some(entry.depth);
                    renamed.skipped_total += 1;
                    if renamed.skipped.len() < MAX_TOLD {
                        renamed.skipped.push(names.join("/"));
                    }
                }
                continue;
            }
            if self.left_out.contains(&index) {
                continue;
            }
            left_out_at = None;
            if self.written.contains_key(&index) && renamed.first.len() < MAX_TOLD {
                renamed.first.push((names.join("/"), here.join("/")));
            }
        }
        renamed
    }

    /// Encodes for storing.
    pub fn encode(&self) -> Vec<u8> {
        let mut written: Vec<_> = self.written.iter().collect();
        written.sort();
        let mut out = vec![VERSION];
        out.extend((written.len() as u32).to_le_bytes());
        for (entry, name) in written {
            out.extend(entry.to_le_bytes());
            out.extend((name.len() as u16).to_le_bytes());
            out.extend(name.as_bytes());
        }
        self.skipped
            .union(&self.left_out)
            .for_each(|entry| out.extend(entry.to_le_bytes()));
        out
    }

    /// Parses what [`Self::encode`] made for a manifest with so many entries.
    pub fn decode(bytes: &[u8], entries: usize) -> Result<Self, NamesError> {
        let (version, rest) = bytes.split_first().ok_or(NamesError)?;
        let (count, mut rest) = rest.split_first_chunk::<4>().ok_or(NamesError)?;
        let count = u32::from_le_bytes(*count);
        if *version != VERSION || u64::from(count) > MAX_ENTRIES {
            return Err(NamesError);
        }
        let mut written = HashMap::new();
        for _ in 0..count {
            let (entry, after) = rest.split_first_chunk::<4>().ok_or(NamesError)?;
            let (length, after) = after.split_first_chunk::<2>().ok_or(NamesError)?;
            let (name, after) = after
                .split_at_checked(u16::from_le_bytes(*length).into())
                .ok_or(NamesError)?;
            rest = after;
            let name = std::str::from_utf8(name).map_err(|_| NamesError)?;
            // Whatever the store holds by now: one component, as ever.
            let name = EntryName::parse(name).map_err(|_| NamesError)?;
            written.insert(u32::from_le_bytes(*entry), name.as_str().to_owned());
        }
        let (numbers, []) = rest.as_chunks::<4>() else {
            return Err(NamesError);
        };
        let skipped: BTreeSet<u32> = numbers
            .iter()
            .map(|number| u32::from_le_bytes(*number))
            .collect();
        let beyond = |entry: &u32| *entry == 0 || *entry as usize >= entries;
        if written.keys().chain(&skipped).any(beyond) {
            return Err(NamesError);
        }
        Ok(Self {
            written,
            skipped,
            left_out: BTreeSet::new(),
        })
    }
}

/// The layout of stored names.
const VERSION: u8 = 1;
/// Most names that are told one by one.
const MAX_TOLD: usize = 100;

/// The entries of a version that are called otherwise here or left out. Paths are below the top,
/// with `/`, as they are: not safe to show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Renamed {
    /// The first 100: path in the share, path here.
    pub first: Vec<(String, String)>,
    /// The number that are called otherwise.
    pub total: u64,
    /// Paths in the share of the first 100 that are left out; a folder stands for what is in it.
    pub skipped: Vec<String>,
    /// The number that are left out.
    pub skipped_total: u64,
}

/// Returns the name that something called `name` gets in the folder `dir`: its own where the file
/// system takes it.
pub fn written_name(dir: &Path, name: &EntryName) -> io::Result<String> {
    let folder = Dir::open(dir)?;
    let rules = probe(&folder, std::iter::once(name.as_str()), false)?;
    Ok(fit(&rules, name.as_str()))
}

/// Returns `name`, or how it is written where it cannot be.
pub(crate) fn fit(rules: &NameRules, name: &str) -> String {
    if rules.takes(name) {
        name.to_owned()
    } else {
        escape_free(rules, name, &|_| true)
    }
}

/// Returns what of a version not every system can write as it is: the names, with the reasons.
pub(crate) fn unportable<'a>(entries: impl Iterator<Item = (u32, &'a str)>) -> Notes {
    let mut notes = Notes::default();
    // The names of each open folder, folded.
    let mut open: Vec<HashSet<String>> = Vec::new();
    let mut path: Vec<&str> = Vec::new();
    for (depth, name) in entries {
        let depth = depth as usize;
        path.truncate(depth);
        path.push(name);
        open.truncate(depth + 1);
        open.resize_with(depth + 1, Default::default);
        let reason = match EntryName::parse(name)
            .ok()
            .as_ref()
            .and_then(EntryName::unportable)
        {
            Some(reason) => Some(reason),
            None if !open[depth].insert(hither_proto::folded(name).into_owned()) => {
                Some("another name in its folder differs only in case or accents")
            }
            None => None,
        };
        if let Some(reason) = reason {
            // Below the top, as everywhere; the top is called by its name.
            let shown = if depth == 0 {
                name.to_owned()
            } else {
                path[1..].join("/")
            };
            notes.add(display_name(&shown), reason);
        }
    }
    notes
}

#[cfg(test)]
mod tests;
