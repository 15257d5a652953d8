//! What is to be shared: paths walked into entries.
//!
//! Invariants: the order is that of the bytes of the names, so the same tree gives the same entries everywhere;
//! symlinks are kept and never followed; what cannot be shared is collected completely before anything is read.

use crate::partial::is_partial_name;
use crate::place::{Parts, Place};
use crate::platform::{Dir, Kind, Stat};
use hither_proto::limits::{MAX_DEPTH, MAX_ENTRIES, MAX_TARGET};
use hither_proto::{EntryName, display_name};
use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// How many problems are kept in words; the rest are counted.
pub const MAX_NOTES: usize = 100;

/// Something in the tree that is not shared, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Path below the shared one, safe to show.
    pub path: String,
    /// Why, in words that complete "… is not shared because …".
    pub reason: String,
}

/// Problems, the first [`MAX_NOTES`] in words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    /// The first of them.
    pub first: Vec<Note>,
    /// How many there are.
    pub total: u64,
}

impl Notes {
    pub(crate) fn add(&mut self, path: String, reason: impl Into<String>) {
        self.total += 1;
        if self.first.len() < MAX_NOTES {
            self.first.push(Note { path, reason: reason.into() });
        }
    }
}

impl fmt::Display for Notes {
    /// The first three, and how many more.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, note) in self.first.iter().take(3).enumerate() {
            write!(f, "{}{:?}: {}", if index > 0 { "; " } else { "" }, note.path, note.reason)?;
        }
        match self.total.saturating_sub(3) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TreeKind {
    File { size: u64, ctime_ns: i64, inode: u64 },
    Folder,
    Symlink { target: String },
}

/// A file, folder or symlink as the walk saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TreeEntry {
    pub(crate) depth: u32,
    pub(crate) name: String,
    pub(crate) kind: TreeKind,
    pub(crate) mode: u32,
    pub(crate) mtime_ns: i64,
}

/// A walked tree, in pre-order.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) parts: Parts,
    pub(crate) entries: Vec<TreeEntry>,
    /// What was left out although everything else can be shared.
    pub(crate) skipped: Notes,
}

/// Why a path cannot be walked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WalkError {
    #[error("{} is not there", .0.display())]
    NotFound(PathBuf),
    #[error("{path} is {1}", path = .0.display())]
    Special(PathBuf, &'static str),
    #[error("several are called {0}")]
    SameName(String),
    #[error("some of it cannot be shared")]
    Unshareable(Notes),
    #[error("absurd {0}")]
    Absurd(&'static str),
    #[error("cancelled")]
    Cancelled,
    #[error("{0}")]
    Io(PathBuf, io::Error),
}

/// How to walk.
pub(crate) struct WalkOptions<'a> {
    /// Called with the number of entries found so far, now and then.
    pub(crate) progress: &'a dyn Fn(u64),
    pub(crate) cancel: &'a AtomicBool,
    /// What the share is called; by default what its only path is called.
    pub(crate) name: Option<&'a EntryName>,
    /// Leave out what cannot be shared instead of failing.
    pub(crate) skip_unshareable: bool,
    /// Paths below the top to leave out: they turned out to be unreadable.
    pub(crate) exclude: &'a HashSet<String>,
}

/// Walks a path, or several as the entries of one folder; symlinks in the paths themselves are followed.
pub(crate) fn walk(paths: &[PathBuf], options: &WalkOptions<'_>) -> Result<Tree, WalkError> {
    let places = paths.iter().map(|path| locate(path)).collect::<Result<Vec<_>, _>>()?;
    let parts = Parts::new(places).ok_or_else(|| WalkError::NotFound(PathBuf::new()))?;
    let mut walker =
        Walker { options, entries: Vec::new(), skipped: Notes::default(), refused: Notes::default() };
    if parts.are_several() {
        walker.parts(&parts)?
    } else {
        walker.top(parts.first())?
    }
    let Walker { entries, skipped, refused, .. } = walker;
    if refused.total > 0 {
        return Err(WalkError::Unshareable(refused));
    }
    Ok(Tree { parts, entries, skipped })
}

fn locate(path: &Path) -> Result<Place, WalkError> {
    let path = path.canonicalize().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => WalkError::NotFound(path.to_owned()),
        _ => WalkError::Io(path.to_owned(), error),
    })?;
    Ok(match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Place { parent: parent.to_owned(), name: name.to_owned() },
        // The root of a file system has no name of its own.
        _ => Place { parent: path, name: OsString::from(".") },
    })
}

/// Opens the folder that a place is in and looks at what is there.
fn open(place: &Place) -> Result<(Dir, Stat), WalkError> {
    let parent =
        Dir::open_exact(&place.parent).map_err(|error| WalkError::Io(place.parent.clone(), error))?;
    let stat = parent.stat(&place.name).map_err(|error| WalkError::Io(place.path(), error))?;
    match stat.kind {
        // The path has been resolved: what is a symlink now was swapped in just now.
        Kind::Symlink => Err(WalkError::NotFound(place.path())),
        Kind::Special(what) => Err(WalkError::Special(place.path(), what)),
        Kind::File | Kind::Folder => Ok((parent, stat)),
    }
}

fn top_name(place: &Place) -> Result<String, WalkError> {
    let reason = match place.name.to_str() {
        _ if place.name == "." => "a share of the root folder needs a name".to_owned(),
        None => "its name is not Unicode; give the share another".to_owned(),
        Some(name) => match EntryName::parse(name) {
            Ok(_) => return Ok(name.to_owned()),
            Err(error) => error.to_string(),
        },
    };
    let mut notes = Notes::default();
    notes.add(display_name(&place.name.to_string_lossy()), reason);
    Err(WalkError::Unshareable(notes))
}

fn file(stat: &Stat) -> TreeKind {
    TreeKind::File { size: stat.size, ctime_ns: stat.ctime_ns, inode: stat.inode }
}

struct Walker<'a> {
    options: &'a WalkOptions<'a>,
    entries: Vec<TreeEntry>,
    skipped: Notes,
    refused: Notes,
}

impl Walker<'_> {
    /// Walks the only part: it is the top.
    fn top(&mut self, place: &Place) -> Result<(), WalkError> {
        let (parent, stat) = open(place)?;
        let name = match self.options.name {
            Some(name) => name.as_str().to_owned(),
            None => top_name(place)?,
        };
        if stat.kind == Kind::Folder {
            let dir = parent.open_dir(&place.name).map_err(|error| WalkError::Io(place.path(), error))?;
            self.push(0, name, TreeKind::Folder, &stat)?;
            return self.folder(&dir, 1, "");
        }
        if !parent.readable(&place.name, &stat) {
            return Err(WalkError::Io(place.path(), io::ErrorKind::PermissionDenied.into()));
        }
        self.push(0, name, file(&stat), &stat)
    }

    /// Walks several parts below a folder that exists nowhere; it is as new as the newest of them.
    fn parts(&mut self, parts: &Parts) -> Result<(), WalkError> {
        let (mut names, mut newest) = (HashSet::new(), i64::MIN);
        for place in parts.iter() {
            let name = place.name.to_string_lossy();
            // Before anything is walked: it is a mistake in what was asked for.
            if !EntryName::parse(&name).map_or(true, |name| names.insert(name.collision_key())) {
                return Err(WalkError::SameName(display_name(&name)));
            }
            newest = newest.max(open(place)?.1.mtime_ns);
        }
        let default = || format!("{} items", names.len());
        let name = self.options.name.map_or_else(default, |name| name.as_str().to_owned());
        self.entries.push(TreeEntry {
            depth: 0,
            name,
            kind: TreeKind::Folder,
            mode: 0o755,
            mtime_ns: newest,
        });
        let mut keys = HashSet::new();
        for place in parts.iter() {
            let (parent, _) = open(place)?;
            self.entry(&parent, place.name.clone(), 1, "", &mut keys)?;
        }
        Ok(())
    }

    fn push(&mut self, depth: u32, name: String, kind: TreeKind, stat: &Stat) -> Result<(), WalkError> {
        if self.entries.len() as u64 >= MAX_ENTRIES {
            return Err(WalkError::Absurd("number of files and folders"));
        }
        self.entries.push(TreeEntry { depth, name, kind, mode: stat.mode & 0o777, mtime_ns: stat.mtime_ns });
        Ok(())
    }

    /// Walks an open folder whose entries have this depth; `path` is the folder's below the top, with a slash.
    fn folder(&mut self, dir: &Dir, depth: u32, path: &str) -> Result<(), WalkError> {
        if self.options.cancel.load(Ordering::Relaxed) {
            return Err(WalkError::Cancelled);
        }
        (self.options.progress)(self.entries.len() as u64);
        let mut names = Vec::new();
        let listed = dir.names(&mut |name| {
            names.push(name);
            if names.len() as u64 > MAX_ENTRIES { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(()) }
        });
        match listed {
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                return Err(WalkError::Absurd("number of files in one folder"));
            }
            Err(error) => return Err(WalkError::Io(PathBuf::from(display_name(path)), error)),
            Ok(()) => {}
        }
        names.sort_unstable_by(|a, b| a.as_encoded_bytes().cmp(b.as_encoded_bytes()));
        let mut keys = HashSet::with_capacity(names.len());
        for name in names {
            self.entry(dir, name, depth, path, &mut keys)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        dir: &Dir,
        name: OsString,
        depth: u32,
        path: &str,
        keys: &mut HashSet<String>,
    ) -> Result<(), WalkError> {
        let shown = || display_name(&format!("{path}{}", name.to_string_lossy()));
        let stat = match dir.stat(&name) {
            Ok(stat) => stat,
            // Gone since the folder was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                self.refuse(shown(), format!("it cannot be read: {error}"));
                return Ok(());
            }
        };
        if let Kind::Special(what) = stat.kind {
            self.skipped.add(shown(), format!("it is {what}"));
            return Ok(());
        }
        let parsed = match parse_name(&name) {
            Ok(parsed) => parsed,
            Err(reason) => {
                self.refuse(shown(), reason);
                return Ok(());
            }
        };
        if is_partial_name(parsed.as_str()) {
            self.skipped.add(shown(), "it is an unfinished fetch");
            return Ok(());
        }
        if !self.options.exclude.is_empty()
            && self.options.exclude.contains(&format!("{path}{}", parsed.as_str()))
        {
            self.skipped.add(shown(), "it cannot be read");
            return Ok(());
        }
        if !keys.insert(parsed.collision_key()) {
            self.refuse(shown(), "another name in its folder differs only in case or accents".to_owned());
            return Ok(());
        }
        match stat.kind {
            Kind::Folder => self.subfolder(dir, parsed.as_str(), depth, path, &stat),
            Kind::Symlink => self.link(dir, parsed.as_str(), depth, path, &stat),
            _ if !dir.readable(&name, &stat) => {
                self.refuse(shown(), "it cannot be read: permission denied".to_owned());
                Ok(())
            }
            _ => self.push(depth, parsed.as_str().to_owned(), file(&stat), &stat),
        }
    }

    fn subfolder(
        &mut self,
        dir: &Dir,
        name: &str,
        depth: u32,
        path: &str,
        stat: &Stat,
    ) -> Result<(), WalkError> {
        let path = format!("{path}{name}/");
        // What is inside would be one deeper than this.
        if depth >= MAX_DEPTH {
            self.refuse(display_name(&path), format!("folders are nested deeper than {MAX_DEPTH}"));
            return Ok(());
        }
        match dir.open_dir(name.as_ref()) {
            Ok(inner) => {
                self.push(depth, name.to_owned(), TreeKind::Folder, stat)?;
                self.folder(&inner, depth + 1, &path)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => {
                self.refuse(display_name(&path), format!("it cannot be read: {error}"));
                Ok(())
            }
        }
    }

    fn link(&mut self, dir: &Dir, name: &str, depth: u32, path: &str, stat: &Stat) -> Result<(), WalkError> {
        let shown = || display_name(&format!("{path}{name}"));
        let target = match dir.read_link(name.as_ref()) {
            Ok(target) => target.into_string(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                self.refuse(shown(), format!("it cannot be read: {error}"));
                return Ok(());
            }
        };
        match target {
            Ok(target) if !target.is_empty() && target.len() <= MAX_TARGET => {
                self.push(depth, name.to_owned(), TreeKind::Symlink { target }, stat)
            }
            Ok(_) => {
                self.refuse(shown(), format!("it is a link of more than {MAX_TARGET} bytes"));
                Ok(())
            }
            Err(_) => {
                self.refuse(shown(), "it is a link to a name that is not Unicode".to_owned());
                Ok(())
            }
        }
    }

    fn refuse(&mut self, path: String, reason: String) {
        if self.options.skip_unshareable {
            self.skipped.add(path, reason)
        } else {
            self.refused.add(path, reason)
        }
    }
}

fn parse_name(name: &OsString) -> Result<EntryName, String> {
    let name = name.to_str().ok_or("its name is not Unicode")?;
    EntryName::parse(name).map_err(|error| error.to_string())
}
