//! Sharing: paths become a manifest, with one read of every file and no copy of any.
//!
//! The walk of an import: `tree` lists what is there, `reuse` finds what an earlier version knows
//! already, `reading` reads and cuts the rest while `sealing` hashes and encrypts it on the other
//! cores. Invariants: the same tree gives the same manifest however it was read; a share is of
//! files as they were at one time each, never of a torn mixture.

use crate::before::Before;
use crate::crypt::DomainSecret;
use crate::cut::{Cutter, LARGE_FILE, SMALL_AVERAGE, average_for};
use crate::folders::Folders;
use crate::import_error::shown;
pub use crate::import_error::{ImportError, Unreadable};
use crate::notes::{MAX_NOTES, Notes};
use crate::own::OwnSeen;
use crate::patterns::Patterns;
use crate::place::{Parts, Place};
use crate::reading::{ReadError, Reader};
use crate::reuse::Matched;
pub use crate::reuse::Previous;
use crate::root::RootId;
use crate::sealing::Sealing;
use crate::stamp::{FileStamp, Stamps};
use crate::tree::{Tree, TreeEntry, TreeKind, WalkError, WalkOptions, walk};
use hither_proto::limits::{MAX_CHUNKS, MAX_SHARE};
use hither_proto::{
    ChunkRecord, EntryName, Manifest, ManifestBuilder, ManifestError, display_name,
};
use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How often the tree is walked anew because it changed under us before the share fails.
const PASSES: u32 = 3;
/// Bytes that buffers may take together, at least three of them.
const BUFFER_BYTES: usize = 128 * 1024 * 1024;
/// Size of a buffer, bytes, unless chunks are so long that two do not fit.
const BUFFER: usize = 1024 * 1024;
/// Less than this is sealed without starting threads, bytes.
const FEW_BYTES: u64 = 512 * 1024;

/// What an import is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportPhase {
    /// Listing files; `files` counts the entries found.
    Walking,
    /// Reading, cutting, hashing.
    Reading,
}

/// How far an import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImportProgress {
    /// What it is doing.
    pub phase: ImportPhase,
    /// Bytes done, those taken over from an earlier version included. May go back when a file has
    /// to be read again.
    pub bytes: u64,
    /// Bytes to do; 0 while walking.
    pub total_bytes: u64,
    /// Files done.
    pub files: u64,
    /// Files to do; 0 while walking.
    pub total_files: u64,
}

/// How to import.
pub struct ImportOptions<'a> {
    /// What the share is called; by default what its only path is called.
    pub name: Option<EntryName>,
    /// Leave out what cannot be shared (unreadable, names that other systems refuse) instead of
    /// failing.
    pub skip_unshareable: bool,
    /// The version before: its unchanged files are not read again, and its average chunk size is
    /// kept.
    pub previous: Option<Previous<'a>>,
    /// The content that was shared there before and must still be there: set it when nobody asks
    /// for this import.
    pub before: Option<Before<'a>>,
    /// Patterns of what its user wants left out; `.hitherignore` files in it count in any case.
    pub patterns: Option<&'a Patterns>,
    /// Data of this device's Hither, which is left out; of other devices and relays it is
    /// known by itself.
    pub own: Option<&'a OwnSeen>,
    /// The only place is a file that this device's Hither keeps for the share, among its own data.
    pub kept: bool,
    /// Called on the importing thread, at least once for every mebibyte read.
    pub progress: &'a dyn Fn(ImportProgress),
    /// Set it to stop the import soon.
    pub cancel: &'a AtomicBool,
}

impl<'a> ImportOptions<'a> {
    /// Nothing special.
    pub fn new(cancel: &'a AtomicBool) -> Self {
        Self {
            name: None,
            skip_unshareable: false,
            previous: None,
            before: None,
            patterns: None,
            own: None,
            kept: false,
            progress: &|_| {},
            cancel,
        }
    }
}

/// Paths, imported.
#[derive(Debug)]
pub struct Imported {
    /// What is in the share.
    pub manifest: Arc<Manifest>,
    /// The files' stamps, in entry order.
    pub stamps: Stamps,
    /// Where it is.
    pub place: Parts,
    /// What the places are of, in their order.
    pub roots: Vec<RootId>,
    /// Folders below the top on which something is mounted, the first 64.
    pub mounts: Vec<String>,
    /// What was left out.
    pub skipped: Notes,
    /// How many entries patterns left out; a folder counts as one.
    pub excluded: u64,
    /// Entries whose names not every system can write, and why: it is renamed where it
    /// cannot be.
    pub unportable: Notes,
    /// Bytes that were read; the rest was known from the version before.
    pub read_bytes: u64,
}

/// Imports the file or folder at `path`; symlinks in the path itself are followed, those inside are
/// kept as links.
pub fn import(
    path: &Path,
    domain: &DomainSecret,
    options: &ImportOptions<'_>,
) -> Result<Imported, ImportError> {
    import_parts(&[path.to_owned()], domain, options)
}

/// The same of several paths: they are the entries of a folder, each by its own name. One path is
/// the top itself.
pub fn import_parts(
    paths: &[PathBuf],
    domain: &DomainSecret,
    options: &ImportOptions<'_>,
) -> Result<Imported, ImportError> {
    let places = paths.iter().map(|path| {
        Place::resolve(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ImportError::NotFound { path: path.clone() },
            _ => ImportError::Read {
                path: shown(path),
                source: error.into(),
            },
        })
    });
    let parts = Parts::new(places.collect::<Result<_, _>>()?);
    let parts = parts.ok_or_else(|| ImportError::NotFound {
        path: PathBuf::new(),
    })?;
    import_at(&parts, domain, options)
}

/// The same of places, which are taken as they are: what is a symlink there is not followed.
pub fn import_at(
    parts: &Parts,
    domain: &DomainSecret,
    options: &ImportOptions<'_>,
) -> Result<Imported, ImportError> {
    let mut excluded = HashMap::new();
    let mut changes = 0;
    loop {
        let tree = walk_tree(parts, options, &excluded)?;
        let (path, source) = match Pass::new(&tree, domain, options)?.run()? {
            Outcome::Done(imported) => return Ok(imported),
            Outcome::TreeChanged { .. } if changes + 1 < PASSES => {
                changes += 1;
                continue;
            }
            Outcome::TreeChanged { path } => (path, Unreadable::Changing),
            Outcome::Unreadable { path, source } => (path, source),
        };
        // The top is not skipped, nor what the version before had; a tree in which this goes on
        // forever is reported as it is.
        let kept = || {
            options
                .before
                .as_ref()
                .is_some_and(|before| before.paths().contains(&path))
        };
        if !options.skip_unshareable || path.is_empty() || excluded.len() >= MAX_NOTES || kept() {
            let path = if path.is_empty() {
                shown(&parts.first().path())
            } else {
                display_name(&path)
            };
            return Err(ImportError::Read { path, source });
        }
        excluded.insert(path, format!("it cannot be read: {source}"));
    }
}

fn walk_tree(
    parts: &Parts,
    options: &ImportOptions<'_>,
    exclude: &HashMap<String, String>,
) -> Result<Tree, ImportError> {
    let progress = |entries| {
        (options.progress)(ImportProgress {
            phase: ImportPhase::Walking,
            bytes: 0,
            total_bytes: 0,
            files: entries,
            total_files: 0,
        });
    };
    let options = WalkOptions {
        progress: &progress,
        cancel: options.cancel,
        name: options.name.as_ref(),
        skip_unshareable: options.skip_unshareable,
        exclude,
        patterns: options.patterns,
        own: options.own,
        kept: options.kept,
        before: options.before.as_ref(),
    };
    walk(parts, &options).map_err(|error| match error {
        WalkError::NotFound(path) => ImportError::NotFound { path },
        WalkError::Special(path, kind) => ImportError::Special { path, kind },
        WalkError::Moved(path, source) => ImportError::Moved { path, source },
        WalkError::Own(path, reason) => ImportError::Own { path, reason },
        WalkError::SameName(name) => ImportError::SameName { name },
        WalkError::Unshareable(notes) => ImportError::Unshareable { notes },
        WalkError::Patterns(path, source) => ImportError::Patterns {
            path: display_name(&path.to_string_lossy()),
            source,
        },
        WalkError::Absurd(what) => ImportError::TooLarge(what),
        WalkError::Cancelled => ImportError::Cancelled,
        WalkError::Io(path, source) => ImportError::Read {
            path: shown(&path),
            source: source.into(),
        },
    })
}

/// How a pass over the files ended.
enum Outcome {
    Done(Imported),
    /// Something is no longer what was walked; walk again.
    TreeChanged {
        path: String,
    },
    Unreadable {
        path: String,
        source: Unreadable,
    },
}

/// Files that are cut as one stream.
struct Run {
    /// Their numbers among the files.
    files: Range<usize>,
    large: bool,
}

/// One pass over the files of a walked tree.
struct Pass<'a> {
    tree: &'a Tree,
    domain: &'a DomainSecret,
    options: &'a ImportOptions<'a>,
    average: u32,
    /// Entries of the files.
    files: Vec<usize>,
    runs: Vec<Run>,
    matched: Option<Matched>,
    total_bytes: u64,
}

impl<'a> Pass<'a> {
    fn new(
        tree: &'a Tree,
        domain: &'a DomainSecret,
        options: &'a ImportOptions<'a>,
    ) -> Result<Self, ImportError> {
        let size = |entry: &TreeEntry| match entry.kind {
            TreeKind::File { size, .. } => Some(size),
            TreeKind::Folder | TreeKind::Symlink { .. } => None,
        };
        let (mut files, mut runs) = (Vec::new(), Vec::<Run>::new());
        let (mut total_bytes, mut largest) = (0u64, 0);
        for (index, entry) in tree.entries.iter().enumerate() {
            let Some(size) = size(entry) else { continue };
            let (number, large) = (files.len(), size >= LARGE_FILE);
            files.push(index);
            total_bytes = total_bytes.saturating_add(size);
            largest = largest.max(size);
            match runs.last_mut().filter(|run| !run.large && !large) {
                Some(pack) => pack.files.end += 1,
                None => runs.push(Run {
                    files: number..number + 1,
                    large,
                }),
            }
        }
        let average = options
            .previous
            .as_ref()
            .map_or_else(|| average_for(largest), |p| p.manifest.average());
        if total_bytes > MAX_SHARE {
            return Err(ImportError::TooLarge("size"));
        }
        // No chunk is longer than twice the average.
        if total_bytes / (2 * u64::from(average.max(SMALL_AVERAGE))) > MAX_CHUNKS {
            return Err(ImportError::TooLarge("number of chunks"));
        }
        let matched = options
            .previous
            .as_ref()
            .and_then(|previous| Matched::new(previous, &tree.entries));
        Ok(Self {
            tree,
            domain,
            options,
            average,
            files,
            runs,
            matched,
            total_bytes,
        })
    }

    fn run(&self) -> Result<Outcome, ImportError> {
        let (small, large) = (
            Cutter::new(self.domain, SMALL_AVERAGE),
            Cutter::new(self.domain, self.average),
        );
        let longest = small.max().max(large.max());
        let buffer = BUFFER.max(2 * longest);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let buffers = (BUFFER_BYTES / buffer).clamp(3, 2 * cores + 2);
        let workers = if self.total_bytes < FEW_BYTES {
            0
        } else {
            (cores - 1).clamp(1, buffers - 1)
        };
        let sealing = Sealing::new(self.domain, self.runs.len(), buffer, buffers);
        let mut stamps = Vec::with_capacity(self.files.len());
        let mut reused = Vec::with_capacity(self.runs.len());
        let mut counter = Counter {
            pass: self,
            bytes: 0,
            files: 0,
            read: 0,
        };
        let read = std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| sealing.work());
            }
            let counter = std::cell::RefCell::new(&mut counter);
            let mut progress = |bytes| counter.borrow_mut().read(bytes);
            let mut reader = Reader::new(self.domain, &sealing, &mut progress);
            let mut folders = Folders::new(self.tree);
            let result = self.runs.iter().enumerate().try_for_each(|(number, run)| {
                if let Some((records, known)) =
                    self.matched.as_ref().and_then(|m| m.run(run.files.clone()))
                {
                    stamps.extend_from_slice(known);
                    reused.push(Some(records));
                    return if counter.borrow_mut().known(known) {
                        Ok(())
                    } else {
                        Err(Stop::cancelled())
                    };
                }
                reused.push(None);
                reader.begin(number);
                let cutter = if run.large { &large } else { &small };
                for file in run.files.clone() {
                    let stamp =
                        self.read_file(&mut reader, &mut folders, file, run.large, cutter)?;
                    counter.borrow_mut().files += 1;
                    stamps.push(stamp);
                }
                reader.end(cutter).map_err(|error| Stop {
                    file: run.files.start,
                    error,
                })
            });
            reader.finish();
            result
        });
        if let Err(stop) = read {
            return self.stopped(stop);
        }
        let read_bytes = counter.read;
        let records = sealing.finish()?;
        self.manifest(stamps, records, &reused, read_bytes)
            .map(Outcome::Done)
    }

    fn read_file(
        &self,
        reader: &mut Reader<'_>,
        folders: &mut Folders<'_>,
        file: usize,
        large: bool,
        cutter: &Cutter,
    ) -> Result<FileStamp, Stop> {
        let entry = &self.tree.entries[self.files[file]];
        let stop = |error| Stop { file, error };
        let dir = folders
            .folder_of(self.files[file])
            .map_err(|error| stop(error.into()))?;
        let walked = entry.walked().ok_or_else(|| stop(ReadError::TreeChanged))?;
        let name = if entry.depth == 0 {
            self.tree.parts.first().name.as_os_str()
        } else {
            entry.name.as_ref()
        };
        if large {
            reader.large_file(dir, name, cutter).map_err(stop)
        } else if walked.size == 0 {
            reader.empty_file(dir, name).map_err(stop)?;
            Ok(FileStamp::of_walked(&walked))
        } else {
            reader.small_file(dir, name, &walked, cutter).map_err(stop)
        }
    }

    /// What a failed reading means for the import.
    fn stopped(&self, stop: Stop) -> Result<Outcome, ImportError> {
        let path = self.path_of(stop.file);
        match stop.error {
            ReadError::TreeChanged => Ok(Outcome::TreeChanged { path }),
            ReadError::Io(source) => Ok(Outcome::Unreadable {
                path,
                source: source.into(),
            }),
            ReadError::Changing => Ok(Outcome::Unreadable {
                path,
                source: Unreadable::Changing,
            }),
            ReadError::Endless => Ok(Outcome::Unreadable {
                path,
                source: Unreadable::Endless,
            }),
            ReadError::Seal(error) => Err(error.into()),
            ReadError::TooManyChunks => Err(ImportError::TooLarge("number of chunks")),
            ReadError::Cancelled => Err(ImportError::Cancelled),
        }
    }

    /// Path of a file below the top; empty for the top itself.
    fn path_of(&self, file: usize) -> String {
        let Some(entry) = self.files.get(file) else {
            return String::new();
        };
        let mut names: Vec<&str> = Vec::new();
        for entry in &self.tree.entries[..=*entry] {
            names.truncate(entry.depth as usize);
            names.push(&entry.name);
        }
        names
            .get(1..)
            .map_or_else(String::new, |names| names.join("/"))
    }

    fn manifest(
        &self,
        stamps: Vec<FileStamp>,
        sealed: Vec<Vec<ChunkRecord>>,
        reused: &[Option<&[ChunkRecord]>],
        read_bytes: u64,
    ) -> Result<Imported, ImportError> {
        let mut builder = ManifestBuilder::new(self.average)?;
        let mut files = stamps.iter();
        for entry in &self.tree.entries {
            match &entry.kind {
                TreeKind::Folder => {
                    builder.folder(entry.depth, &entry.name, entry.mode, entry.mtime_ns)?
                }
                TreeKind::Symlink { target } => {
                    builder.symlink(entry.depth, &entry.name, entry.mtime_ns, target)?;
                }
                TreeKind::File { .. } => {
                    let Some(stamp) = files.next() else {
                        return Err(ManifestError::Coverage.into());
                    };
                    builder.file(
                        entry.depth,
                        &entry.name,
                        entry.mode,
                        stamp.mtime_ns,
                        stamp.size,
                    )?;
                }
            }
        }
        let mut chunks = Vec::with_capacity(sealed.iter().map(Vec::len).sum());
        for (sealed, reused) in sealed.into_iter().zip(reused) {
            match reused {
                Some(records) => chunks.extend_from_slice(records),
                None => chunks.extend(sealed),
            }
        }
        Ok(Imported {
            manifest: Arc::new(builder.finish(chunks)?),
            stamps: Stamps::new(stamps),
            place: self.tree.parts.clone(),
            roots: self.tree.roots.clone(),
            mounts: self.tree.mounts.clone(),
            skipped: self.tree.skipped.clone(),
            excluded: self.tree.excluded,
            unportable: self.tree.unportable.clone(),
            read_bytes,
        })
    }
}

/// A reading that failed, and at which file.
struct Stop {
    file: usize,
    error: ReadError,
}

impl Stop {
    const fn cancelled() -> Self {
        Self {
            file: 0,
            error: ReadError::Cancelled,
        }
    }
}

/// Counts what is done and tells the caller.
struct Counter<'a> {
    pass: &'a Pass<'a>,
    bytes: u64,
    files: u64,
    read: u64,
}

impl Counter<'_> {
    /// `false` when cancelled.
    fn read(&mut self, bytes: u64) -> bool {
        self.read += bytes;
        self.add(bytes)
    }

    fn known(&mut self, stamps: &[FileStamp]) -> bool {
        self.files += stamps.len() as u64;
        self.add(stamps.iter().map(|stamp| stamp.size).sum())
    }

    fn add(&mut self, bytes: u64) -> bool {
        self.bytes += bytes;
        (self.pass.options.progress)(ImportProgress {
            phase: ImportPhase::Reading,
            bytes: self.bytes.min(self.pass.total_bytes),
            total_bytes: self.pass.total_bytes,
            files: self.files,
            total_files: self.pass.files.len() as u64,
        });
        !self.pass.options.cancel.load(Ordering::Relaxed)
    }
}
