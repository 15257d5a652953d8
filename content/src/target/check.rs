//! Everything that can go wrong with a target, asked before anything is written.

use super::{IfExists, MAX_NAMES, PrepareError, TargetOptions, names};
use crate::crypt::matches_record;
use crate::layout::Layout;
use crate::names::{NameRules, Names, Naming, fit, probe, unwritable};
use crate::partial::numbered_name;
use crate::platform::{Dir, Kind, Space};
use hither_proto::{ChunkId, ChunkRecord, EntryKind, Manifest};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// So many consecutive equal chunks may be a hole: content-defined cutting gives equal neighbours
/// for little else than long stretches of one byte. Whether they are is found out; the sender's
/// word for it is not taken.
const HOLE_CHUNKS: usize = 4;
/// Most different chunks that are looked at for that; any further ones count as data.
const MAX_LOOKS: usize = 64;

/// A target that can be fetched to.
pub(super) struct Checked {
    pub(super) parent: PathBuf,
    pub(super) above: Arc<Dir>,
    /// The name that the finished share gets.
    pub(super) target: String,
    /// What names can be there.
    pub(super) rules: NameRules,
}

pub(super) fn check(
    dir: &Path,
    layout: &Arc<Layout>,
    options: &TargetOptions,
) -> Result<Checked, PrepareError> {
    let (parent, above) = open_parent(dir)?;
    let failed = |error| PrepareError::from_io(&parent, error);
    let space = above.space().map_err(failed)?;
    if space.read_only {
        return Err(PrepareError::ReadOnly { path: parent });
    }
    let manifest = layout.manifest();
    let wanted = options
        .name
        .as_ref()
        .unwrap_or_else(|| manifest.name())
        .as_str();
    let rules = rules(&above, layout, wanted, options).map_err(failed)?;
    if options.naming == Naming::Refuse {
        let notes = unwritable(layout, &rules, wanted, options.only.as_deref());
        if notes.total > 0 {
            return Err(PrepareError::Names { notes });
        }
    }
    let name = fit(&rules, wanted);
    let target = match options.if_exists {
        IfExists::Rename => {
            free_name(&above, &name, rules.longest(), !manifest.is_single_file()).map_err(failed)?
        }
        IfExists::Fail | IfExists::Overwrite | IfExists::Update => name,
    };
    check_sizes(layout, &space, options)?;
    match above.stat(OsStr::new(&target)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
        // What is there is looked at when everything is here.
        Ok(_) if options.if_exists == IfExists::Update => {}
        Ok(_) if options.if_exists != IfExists::Overwrite => {
            return Err(PrepareError::Exists {
                path: parent.join(&target),
            });
        }
        Ok(_) => {
            if let Some(conflict) = find_conflict(
                layout,
                &names(layout, &rules, options, &parent),
                &above,
                OsStr::new(&target),
            )
            .map_err(failed)?
            {
                let Conflict {
                    path,
                    found,
                    wanted,
                } = conflict;
                return Err(PrepareError::Conflict {
                    path,
                    found,
                    wanted,
                });
            }
        }
    }
    let needed = match &options.only {
        Some(only) if !only.is_whole() => only.size(manifest).1,
        _ => needed_bytes(manifest),
    };
    if needed > space.free {
        return Err(PrepareError::NoSpace {
            needed,
            free: space.free,
        });
    }
    Ok(Checked {
        parent,
        above,
        target,
        rules,
    })
}

/// The name that a share would get in the folder `dir` now.
pub fn target_name(
    dir: &Path,
    manifest: &Manifest,
    options: &TargetOptions,
) -> Result<String, PrepareError> {
    let name = options
        .name
        .as_ref()
        .unwrap_or_else(|| manifest.name())
        .as_str();
    let (parent, above) = open_parent(dir)?;
    let failed = |error| PrepareError::from_io(&parent, error);
    let rules = match &options.rules {
        Some(rules) => rules.clone(),
        None => probe(&above, std::iter::once(name), false).map_err(failed)?,
    };
    let name = fit(&rules, name);
    if options.if_exists != IfExists::Rename {
        return Ok(name);
    }
    free_name(&above, &name, rules.longest(), !manifest.is_single_file()).map_err(failed)
}

/// What names can be in the folder to fetch into, as far as these matter.
pub(super) fn rules(
    above: &Dir,
    layout: &Layout,
    top: &str,
    options: &TargetOptions,
) -> io::Result<NameRules> {
    if let Some(rules) = &options.rules {
        return Ok(rules.clone());
    }
    let entries = layout.manifest().entries();
    let below = entries.iter().skip(1).map(|entry| entry.name.as_str());
    // What is new beside an earlier version may differ only in case from what that has.
    let similar = options.before.is_some() || has_similar(layout);
    probe(above, std::iter::once(top).chain(below), similar)
}

/// Returns whether any two names in one folder are one to some file system.
fn has_similar(layout: &Layout) -> bool {
    let mut open: Vec<HashSet<Cow<'_, str>>> = Vec::new();
    layout.manifest().entries().iter().any(|entry| {
        let depth = entry.depth as usize;
        open.truncate(depth + 1);
        open.resize_with(depth + 1, HashSet::new);
        !open[depth].insert(entry.name.folded())
    })
}

/// Opens the folder to fetch into; symlinks in the path that the user gave are followed, once.
pub(super) fn open_parent(dir: &Path) -> Result<(PathBuf, Arc<Dir>), PrepareError> {
    let failed = |error| PrepareError::from_io(dir, error);
    let parent = dir.canonicalize().map_err(failed)?;
    let above = Dir::open_exact(&parent).map_err(failed)?;
    Ok((parent, Arc::new(above)))
}

/// `name`, or the first of `name (2)`, `name (3)` … that is free.
pub(super) fn free_name(
    above: &Dir,
    name: &str,
    max: usize,
    is_folder: bool,
) -> io::Result<String> {
    let mut candidate = name.to_owned();
    for attempt in 2..=MAX_NAMES {
        match above.stat(OsStr::new(&candidate)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(candidate),
            Err(error) => return Err(error),
            Ok(_) => candidate = numbered_name(name, attempt, max, is_folder),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Whether the file system takes files as long as the share's.
fn check_sizes(
    layout: &Layout,
    space: &Space,
    options: &TargetOptions,
) -> Result<(), PrepareError> {
    let wanted = |entry| options.only.as_ref().is_none_or(|only| only.has(entry));
    let entries = (0u32..).zip(layout.manifest().entries());
    for (index, entry) in entries.filter(|(index, _)| wanted(*index)) {
        if matches!(entry.kind, EntryKind::File { size, .. } if size > space.max_file) {
            return Err(PrepareError::FileTooLarge {
                name: layout.shown(index),
                max: space.max_file,
            });
        }
    }
    Ok(())
}

/// Bytes that the share takes: the length of all its files, without those that are surely zeros and
/// so are not written.
fn needed_bytes(manifest: &Manifest) -> u64 {
    let mut zeros: HashMap<ChunkId, bool> = HashMap::new();
    let runs = manifest.chunks().chunk_by(|a, b| a.id == b.id);
    let needed = runs.map(|run| {
        let length: u64 = run.iter().map(|chunk| u64::from(chunk.length)).sum();
        let hole = run.len() >= HOLE_CHUNKS && is_hole(&run[0], &mut zeros);
        if hole { 0 } else { length }
    });
    needed.sum()
}

/// Returns whether a chunk is all zeros, as its id says.
fn is_hole(chunk: &ChunkRecord, known: &mut HashMap<ChunkId, bool>) -> bool {
    if let Some(known) = known.get(&chunk.id) {
        return *known;
    }
    if known.len() >= MAX_LOOKS {
        return false;
    }
    let zeros = matches_record(chunk, &vec![0; chunk.length as usize], &mut Vec::new());
    known.insert(chunk.id, zeros);
    zeros
}

/// Something that cannot be replaced by what the share has there.
pub(super) struct Conflict {
    /// Path inside the share, safe to show.
    pub(super) path: String,
    pub(super) found: &'static str,
    pub(super) wanted: &'static str,
}

/// Looks for something in an existing `target` that cannot be replaced: only a folder can stay
/// under a folder, and no folder gives way to a file or symlink.
pub(super) fn find_conflict(
    layout: &Layout,
    names: &Names,
    above: &Dir,
    target: &OsStr,
) -> io::Result<Option<Conflict>> {
    // Handles of the existing folders on the way to the entry at hand; `None` below one that does
    // not exist.
    let mut open: Vec<Option<Dir>> = Vec::new();
    for (index, entry) in (0u32..).zip(layout.manifest().entries()) {
        open.truncate(entry.depth as usize);
        let is_folder = matches!(entry.kind, EntryKind::Folder);
        let dir = match open.last() {
            None => Some(above),
            Some(dir) => dir.as_ref(),
        };
        let name = if index == 0 {
            target
        } else {
            names.name(layout, index)
        };
        let dir = dir.filter(|_| !names.is_skipped(index));
        let found = match dir.map(|dir| dir.stat(name)) {
            None => None,
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => None,
            Some(stat) => Some(stat?.kind),
        };
        match found {
            Some(kind) if is_folder != (kind == Kind::Folder) => {
                let wanted = match entry.kind {
                    EntryKind::Folder => Kind::Folder,
                    EntryKind::File { .. } => Kind::File,
                    EntryKind::Symlink { .. } => Kind::Symlink,
                };
                let (found, wanted) = (kind.describe(), wanted.describe());
                return Ok(Some(Conflict {
                    path: layout.shown(index),
                    found,
                    wanted,
                }));
            }
            Some(_) if is_folder => open.push(match dir.map(|dir| dir.open_dir(name)) {
                // Its mode forbids to look. It is opened when something is put into it; a conflict
                // shows then.
                Some(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => None,
                opened => opened.transpose()?,
            }),
            _ if is_folder => open.push(None),
            _ => {}
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypt::{DomainSecret, seal_chunk};
    use hither_proto::ManifestBuilder;

    /// Returns what a file takes that is one chunk again and again.
    fn repeated(mut chunk: Vec<u8>, times: usize) -> u64 {
        let record = seal_chunk(&DomainSecret::new([1; 32]), &mut chunk).unwrap();
        let mut builder = ManifestBuilder::new(65_536).unwrap();
        builder
            .file(0, "f", 0o644, 0, u64::from(record.length) * times as u64)
            .unwrap();
        needed_bytes(&builder.finish(vec![record; times]).unwrap())
    }

    #[test]
    fn only_what_is_surely_zero_takes_no_room() {
        assert_eq!(repeated(vec![7; 100_000], 10_000), 1_000_000_000);
        assert_eq!(repeated(vec![0; 100_000], 10_000), 0);
        assert_eq!(repeated(vec![0; 100_000], HOLE_CHUNKS - 1), 300_000);
    }
}
