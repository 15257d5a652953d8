//! The contents of a share that a page makes of the files that its user gave: the tree, and the
//! order in which the files' bytes are read.
//!
//! Invariants: entries stand in pre-order, and files in the order of their entries; names are those
//! of manifests, and none stands twice in one folder. The same files give the same plan, so that an
//! upload goes on after a reload.

use super::cut::{LARGE_FILE, average_for};
use hither_proto::limits::{MAX_CHUNKS, MAX_SHARE};
use hither_proto::{ChunkRecord, EntryName, Manifest, ManifestBuilder, ManifestError};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::Range;

/// Most files in a share of a page.
const MAX_FILES: usize = 100_000;
/// Deepest path, names.
const MAX_PATH: usize = 100;
/// The name of what has none.
const UNNAMED: &str = "unnamed";

/// A file that the user gave.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Given {
    /// Folders that it is in, below which it was chosen, and its name.
    pub path: Vec<String>,
    pub size: u64,
    pub modified_ms: i64,
}

/// One file in the order of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PlannedFile {
    /// Its number among the given ones.
    pub given: u32,
    /// Offset of its content in the stream, bytes.
    pub start: u64,
    pub size: u64,
}

#[derive(Debug)]
struct PlannedEntry {
    depth: u32,
    name: String,
    modified_ms: i64,
    /// Its size; none for a folder.
    file: Option<u64>,
}

#[derive(Debug, Default)]
struct Folder {
    folders: BTreeMap<String, Folder>,
    files: BTreeMap<String, u32>,
}

impl Folder {
    fn has(&self, name: &str) -> bool {
        self.folders.contains_key(name) || self.files.contains_key(name)
    }
}

/// Files, laid out.
#[derive(Debug)]
pub(super) struct Plan {
    entries: Vec<PlannedEntry>,
    files: Vec<PlannedFile>,
    /// Ends in the stream of runs that are cut by themselves, ascending.
    ends: Vec<u64>,
    bytes: u64,
    average: u32,
}

/// A name that can stand in a manifest.
fn named(name: &str) -> String {
    match EntryName::parse(name) {
        Ok(name) => name.as_str().to_owned(),
        Err(_) => UNNAMED.to_owned(),
    }
}

/// The name, or the same with a number before its extension, that the folder does not have.
fn free_name(folder: &Folder, name: &str) -> String {
    let (stem, extension) = match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => (stem, format!(".{extension}")),
        _ => (name, String::new()),
    };
    let mut found = name.to_owned();
    for number in 2_u32.. {
        if !folder.has(&found) && EntryName::parse(&found).is_ok() {
            break;
        }
        let mut cut = stem;
        // The longest name has 255 bytes; the number has room in it.
        while cut.len() + extension.len() > 240 && !cut.is_empty() {
            cut = &cut[..cut.char_indices().last().map_or(0, |(at, _)| at)];
        }
        found = format!("{cut} ({number}){extension}");
        if number == u32::MAX {
            break;
        }
    }
    found
}

impl Plan {
    /// Lays files out. `name`: of the folder that holds them where they are not one file or folder.
    ///
    /// Errors: there is none, or more than a share can hold; in words.
    pub(super) fn new(given: &[Given], name: &str) -> Result<Self, &'static str> {
        if given.is_empty() || given.len() > MAX_FILES {
            return Err("a share of a page has 1 to 100,000 files");
        }
        let bytes = given
            .iter()
            .try_fold(0_u64, |sum, file| sum.checked_add(file.size))
            .filter(|bytes| *bytes <= MAX_SHARE)
            .ok_or("the files are too large for one share")?;
        let average = average_for(bytes);
        if bytes / u64::from(average / 2) + given.len() as u64 > MAX_CHUNKS {
            return Err("the files have too many pieces for one share");
        }
        let mut top = Folder::default();
        for (number, file) in (0_u32..).zip(given) {
            let (last, folders) = file.path.split_last().ok_or("a file has no name")?;
            if folders.len() > MAX_PATH {
                return Err("a folder is too deep");
            }
            let mut at = &mut top;
            for folder in folders {
                let mut folder = named(folder);
                if at.files.contains_key(&folder) {
                    folder = free_name(at, &folder);
                }
                at = at.folders.entry(folder).or_default();
            }
            let name = free_name(at, &named(last));
            at.files.insert(name, number);
        }
        let mut plan = Self {
            entries: Vec::new(),
            files: Vec::new(),
            ends: Vec::new(),
            bytes: 0,
            average,
        };
        if top.folders.len() + top.files.len() == 1 {
            plan.lay_out(&top, 0, given);
        } else {
            plan.push_folder(&named(name), 0, &top, given);
        }
        Ok(plan)
    }

    fn lay_out(&mut self, folder: &Folder, depth: u32, given: &[Given]) {
        for (name, inside) in &folder.folders {
            self.push_folder(name, depth, inside, given);
        }
        for (name, number) in &folder.files {
            let Some(file) = given.get(*number as usize) else {
                continue;
            };
            self.entries.push(PlannedEntry {
                depth,
                name: name.clone(),
                modified_ms: file.modified_ms,
                file: Some(file.size),
            });
            let (start, end) = (self.bytes, self.bytes + file.size);
            self.files.push(PlannedFile {
                given: *number,
                start,
                size: file.size,
            });
            // Large files begin and end at the end of a chunk.
            if file.size >= LARGE_FILE && self.ends.last() != Some(&start) && start > 0 {
                self.ends.push(start);
            }
            if file.size >= LARGE_FILE {
                self.ends.push(end);
            }
            self.bytes = end;
        }
    }

    fn push_folder(&mut self, name: &str, depth: u32, folder: &Folder, given: &[Given]) {
        let at = self.entries.len();
        self.entries.push(PlannedEntry {
            depth,
            name: name.to_owned(),
            modified_ms: 0,
            file: None,
        });
        // Never deeper than MAX_PATH.
        self.lay_out(folder, depth + 1, given);
        let latest = self.entries[at..].iter().map(|entry| entry.modified_ms);
        let latest = latest.max().unwrap_or(0);
        if let Some(entry) = self.entries.get_mut(at) {
            entry.modified_ms = latest;
        }
    }

    /// The share's name.
    pub(super) fn name(&self) -> &str {
        self.entries.first().map_or("", |top| &top.name)
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn files(&self) -> usize {
        self.files.len()
    }

    pub(super) const fn average(&self) -> u32 {
        self.average
    }

    /// The end of the run that holds the byte at an offset.
    pub(super) fn run_end(&self, offset: u64) -> u64 {
        let next = self.ends.partition_point(|end| *end <= offset);
        self.ends.get(next).copied().unwrap_or(self.bytes)
    }

    /// The file that holds the byte at an offset, and where in it that is; `None` at the end.
    pub(super) fn file_at(&self, offset: u64) -> Option<(PlannedFile, u64)> {
        let next = self.files.partition_point(|file| file.start <= offset);
        // Empty files begin where the next one does: the last one that begins there has the byte.
        let file = self.files.get(next.checked_sub(1)?)?;
        let within = offset - file.start;
        (within < file.size).then_some((*file, within))
    }

    /// The parts of files that a stretch of the stream is: given file, offset, length.
    pub(super) fn parts(&self, stretch: Range<u64>) -> Vec<(u32, u64, u64)> {
        let mut parts = Vec::new();
        let mut at = stretch.start;
        while at < stretch.end {
            let Some((file, within)) = self.file_at(at) else {
                break;
            };
            let length = (file.size - within).min(stretch.end - at);
            parts.push((file.given, within, length));
            at += length;
        }
        parts
    }

    /// The manifest of these files with their chunks.
    pub(super) fn manifest(&self, records: Vec<ChunkRecord>) -> Result<Manifest, ManifestError> {
        let mut builder = ManifestBuilder::new(self.average)?;
        for entry in &self.entries {
            let mtime_ns = entry.modified_ms.saturating_mul(1_000_000);
            match entry.file {
                Some(size) => {
                    builder.file(entry.depth, &entry.name, 0o644, mtime_ns, size)?;
                }
                None => builder.folder(entry.depth, &entry.name, 0o755, mtime_ns)?,
            }
        }
        builder.finish(records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(path: &str, size: u64) -> Given {
        Given {
            path: path.split('/').map(str::to_owned).collect(),
            size,
            modified_ms: 5,
        }
    }

    fn names(plan: &Plan) -> Vec<(u32, &str)> {
        let entries = plan.entries.iter();
        entries
            .map(|entry| (entry.depth, entry.name.as_str()))
            .collect()
    }

    #[test]
    fn w2_one_file_one_folder_and_several_things_make_their_tree() {
        let one = Plan::new(&[given("a.txt", 3)], "ignored").unwrap();
        assert_eq!(names(&one), [(0, "a.txt")]);
        let folder =
            Plan::new(&[given("d/b", 1), given("d/e/c", 2), given("d/a", 3)], "x").unwrap();
        let expected = [(0, "d"), (1, "e"), (2, "c"), (1, "a"), (1, "b")];
        assert_eq!(names(&folder), expected);
        assert_eq!(folder.parts(1..5), [(1, 1, 1), (2, 0, 3)]);
        let several = Plan::new(
            &[given("a.txt", 1), given("a.txt", 2), given("..", 0)],
            "3 files",
        );
        let several = several.unwrap();
        let expected = [
            (0, "3 files"),
            (1, "a (2).txt"),
            (1, "a.txt"),
            (1, "unnamed"),
        ];
        assert_eq!(names(&several), expected);
        assert!(several.manifest(vec![]).is_err(), "the bytes are missing");
    }

    #[test]
    fn w2_large_files_are_runs_of_their_own_and_empty_ones_hold_no_byte() {
        let files = [
            given("a", 10),
            given("b", LARGE_FILE),
            given("c", 0),
            given("d", 7),
        ];
        let plan = Plan::new(&files, "x").unwrap();
        assert_eq!(plan.run_end(0), 10);
        assert_eq!(plan.run_end(10), 10 + LARGE_FILE);
        assert_eq!(plan.run_end(10 + LARGE_FILE), plan.bytes());
        assert_eq!(
            plan.file_at(10 + LARGE_FILE)
                .map(|(file, at)| (file.given, at)),
            Some((3, 0))
        );
        assert_eq!(plan.file_at(plan.bytes()), None);
    }
}
