//! The names of a version's entries on a file system with certain rules.

use super::{NameRules, Names, escape_free};
use crate::layout::Layout;
use crate::notes::Notes;
use crate::selection::Selection;
use crate::trash::is_trash_name;
use hither_proto::EntryKind;
use std::collections::{HashMap, HashSet};

/// The choice of what becomes of names that cannot be written where a share is fetched to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Naming {
    /// They are written in another way, from which they can be read back.
    #[default]
    Rename,
    /// Leaves out everything of that name; the top is renamed.
    Skip,
    /// Nothing is fetched.
    Refuse,
}

/// An earlier version at the same place.
struct Before<'a> {
    layout: &'a Layout,
    names: &'a Names,
    /// Entries by the folder they are in and their name in the share.
    by_name: HashMap<(u32, &'a str), u32>,
}

impl<'a> Before<'a> {
    fn new(layout: &'a Layout, names: &'a Names) -> Self {
        let entries = layout.manifest().entries();
        let by_name = (1u32..).zip(&entries[1..]).map(|(entry, of)| {
            let key = (layout.parent_of(entry), of.name.as_str());
            (key, entry)
        });
        Self {
            layout,
            names,
            by_name: by_name.collect(),
        }
    }
}

/// The entries of a version by the folder they are in, each in the order of the share.
fn folders(layout: &Layout) -> Vec<(u32, Vec<u32>)> {
    let mut numbers: HashMap<u32, usize> = HashMap::new();
    let mut folders: Vec<(u32, Vec<u32>)> = Vec::new();
    for (entry, of) in (0u32..).zip(layout.manifest().entries()) {
        if entry > 0
            && let Some(number) = numbers.get(&layout.parent_of(entry))
        {
            folders[*number].1.push(entry);
        }
        if of.kind == EntryKind::Folder {
            numbers.insert(entry, folders.len());
            folders.push((entry, Vec::new()));
        }
    }
    folders
}

/// The names of all entries but the top. What an earlier version at the same place had keeps its
/// name of then.
pub(crate) fn plan(
    layout: &Layout,
    rules: &NameRules,
    naming: Naming,
    before: Option<(&Layout, &Names)>,
) -> Names {
    let mut names = Names::default();
    let own = || {
        let mut names = layout.manifest().entries()[1..].iter();
        names.any(|entry| is_trash_name(entry.name.as_str()))
    };
    if rules.take_all() && before.is_none_or(|(_, names)| names.is_plain()) && !own() {
        return names;
    }
    let before = before.map(|(layout, names)| Before::new(layout, names));
    // The earlier version's entry of the same path, of folders.
    let mut counterparts: HashMap<u32, u32> = HashMap::new();
    if before.is_some() {
        counterparts.insert(0, 0);
    }
    for (folder, entries) in folders(layout) {
        let old = counterparts.get(&folder).copied();
        Folder {
            layout,
            rules,
            naming,
            skipped: names.is_skipped(folder),
        }
        .name(
            &entries,
            before.as_ref().zip(old),
            &mut names,
            &mut counterparts,
        );
    }
    names
}

/// One folder, whose entries get their names.
struct Folder<'a> {
    layout: &'a Layout,
    rules: &'a NameRules,
    naming: Naming,
    skipped: bool,
}

impl Folder<'_> {
    fn name(
        &self,
        entries: &[u32],
        before: Option<(&Before<'_>, u32)>,
        names: &mut Names,
        counterparts: &mut HashMap<u32, u32>,
    ) {
        if self.skipped {
            names.skipped.extend(entries);
            return;
        }
        let own = |entry: u32| {
            self.layout.manifest().entries()[entry as usize]
                .name
                .as_str()
        };
        let mut taken: HashSet<String> = HashSet::with_capacity(entries.len());
        let mut open = Vec::new();
        for entry in entries.iter().copied() {
            let old = before.and_then(|(before, folder)| {
                Some((before, *before.by_name.get(&(folder, own(entry)))?))
            });
            if let Some((_, old)) = old {
                counterparts.insert(entry, old);
            }
            let kept = old
                .filter(|(before, old)| !before.names.is_skipped(*old))
                .map(|(before, old)| {
                    before
                        .names
                        .name(before.layout, old)
                        .to_str()
                        .unwrap_or_else(|| own(entry))
                });
            match kept {
                Some(kept)
                    if self.rules.takes(kept)
                        && taken.insert(self.rules.key(kept).into_owned()) =>
                {
                    if kept != own(entry) {
                        names.written.insert(entry, kept.to_owned());
                    }
                }
                _ => open.push(entry),
            }
        }
        // Those that can have their own name, before others could take it.
        open.retain(|entry| {
            let name = own(*entry);
            !(self.rules.takes(name) && taken.insert(self.rules.key(name).into_owned()))
        });
        for entry in open {
            if self.naming == Naming::Skip {
                names.skipped.insert(entry);
                continue;
            }
            let free = |written: &str| !taken.contains(&*self.rules.key(written));
            let written = escape_free(self.rules, own(entry), &free);
            taken.insert(self.rules.key(&written).into_owned());
            names.written.insert(entry, written);
        }
    }
}

/// Returns what of a version cannot be written as it is called, with the reasons; the top is called
/// `top`.
pub(crate) fn unwritable(
    layout: &Layout,
    rules: &NameRules,
    top: &str,
    only: Option<&Selection>,
) -> Notes {
    let mut notes = Notes::default();
    if !rules.takes(top) {
        notes.add(hither_proto::display_name(top), rules.reason(top));
    }
    let mut names = plan(layout, rules, Naming::Skip, None);
    if let Some(only) = only {
        names.leave_out(only);
    }
    let told = names.renamed(layout.manifest());
    for path in &told.skipped {
        let name = path.rsplit('/').next().unwrap_or(path);
        let reason = if rules.takes(name) {
            "another name in its folder differs only in case or accents"
        } else {
            rules.reason(name)
        };
        notes.add(hither_proto::display_name(path), reason);
    }
    notes.total += told.skipped_total - told.skipped.len() as u64;
    notes
}
