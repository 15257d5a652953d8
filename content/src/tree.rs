//! What is to be shared: paths walked into entries.
//!
//! Invariants: the order is that of the bytes of the names, so the same tree gives the same entries
//! everywhere; symlinks are kept and never followed; what cannot be shared is collected completely
//! before anything is read; what belongs to Hither itself is never an entry.

use crate::before::Before;
use crate::listing::{ListError, TOO_MANY, in_words, list};
use crate::names::unportable;
use crate::notes::Notes;
use crate::own::{self, OwnSeen};
use crate::partial::is_partial_name;
use crate::patterns::{self, Exclusion, PatternError, Patterns};
use crate::place::{Parts, Place};
use crate::platform::{Dir, Kind, Stat};
use crate::root::{self, Opened, RootError, RootId};
use crate::trash::is_trash_name;
use hither_proto::limits::{MAX_DEPTH, MAX_ENTRIES, MAX_SHARE, MAX_TARGET};
use hither_proto::{EntryName, display_name};
use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TreeKind {
    File {
        size: u64,
        ctime_ns: i64,
        inode: u64,
    },
    Folder,
    Symlink {
        target: String,
    },
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
    /// How many entries patterns left out; a folder counts as one.
    pub(crate) excluded: u64,
    /// What is shared under names that not every system can write.
    pub(crate) unportable: Notes,
    /// What the parts are of, in their order.
    pub(crate) roots: Vec<RootId>,
    /// Folders below the top on which something is mounted, the first [`MAX_MOUNTS`].
    pub(crate) mounts: Vec<String>,
}

/// How many mounted folders are remembered.
const MAX_MOUNTS: usize = 64;

/// Why a path cannot be walked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WalkError {
    #[error("{} is not there", .0.display())]
    NotFound(PathBuf),
    #[error("{path} is {1}", path = .0.display())]
    Special(PathBuf, &'static str),
    #[error("{path}: {1}", path = .0.display())]
    Moved(PathBuf, RootError),
    #[error("{path} cannot be shared: {1}", path = .0.display())]
    Own(PathBuf, &'static str),
    #[error("several are called {0}")]
    SameName(String),
    #[error("some of it cannot be shared")]
    Unshareable(Notes),
    #[error("{path}: {1}", path = .0.display())]
    Patterns(PathBuf, PatternError),
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
    /// Paths below the top to leave out, and why: they turned out to be unreadable.
    pub(crate) exclude: &'a HashMap<String, String>,
    /// Patterns of what its user wants left out.
    pub(crate) patterns: Option<&'a Patterns>,
    /// What belongs to this device's Hither.
    pub(crate) own: Option<&'a OwnSeen>,
    /// The only place is a file that Hither keeps for the share.
    pub(crate) kept: bool,
    /// What must still be there.
    pub(crate) before: Option<&'a Before<'a>>,
}

/// Walks what is at a place, or at several as the entries of one folder. The places are taken as
/// they are: no path to them is interpreted, and a symlink on the way or at the end is not what was
/// meant.
pub(crate) fn walk(parts: &Parts, options: &WalkOptions<'_>) -> Result<Tree, WalkError> {
    for place in parts.iter().filter(|_| !options.kept) {
        refuse_own(place, options.own)?;
    }
    let mut walker = Walker {
        options,
        entries: Vec::new(),
        skipped: Notes::default(),
        refused: Notes::default(),
        roots: Vec::new(),
        mounts: Vec::new(),
        exclusion: Exclusion::new(options.patterns),
        excluded: 0,
        excluded_mounts: Vec::new(),
        readable: OnceCell::new(),
    };
    if parts.are_several() {
        walker.parts(parts)?
    } else {
        walker.top(parts.first())?
    }
    let Walker {
        entries,
        skipped,
        refused,
        roots,
        mounts,
        excluded,
        excluded_mounts,
        ..
    } = walker;
    if refused.total > 0 {
        return Err(WalkError::Unshareable(refused));
    }
    let gone = options.before.and_then(|before| {
        let kept = |was: &&String| mounts.contains(was) || excluded_mounts.contains(was);
        before.mounts.iter().find(|was| !kept(was))
    });
    if let Some(gone) = gone {
        return Err(WalkError::Moved(
            parts.first().path(),
            RootError::Unmounted(display_name(gone)),
        ));
    }
    let unportable = unportable(
        entries
            .iter()
            .map(|entry| (entry.depth, entry.name.as_str())),
    );
    Ok(Tree {
        parts: parts.clone(),
        entries,
        skipped,
        excluded,
        unportable,
        roots,
        mounts,
    })
}

/// Fails when somebody asks for what belongs to Hither itself, or for something inside it.
fn refuse_own(place: &Place, seen: Option<&OwnSeen>) -> Result<(), WalkError> {
    let path = place.path();
    let refused = match seen {
        Some(seen) if seen.covers(&path) => Some(own::OWN),
        _ => own::refuses_place(&path),
    };
    let refused = refused.map_or_else(
        || {
            let Opened { parent, stat, .. } = open(place)?;
            if stat.kind == Kind::Folder {
                let dir = parent
                    .open_dir(&place.name)
                    .map_err(|error| WalkError::Io(path.clone(), error))?;
                return Ok(own::refuses_folder(&dir, &list_part(&dir, place)?));
            }
            Ok(seen.and_then(|seen| seen.refuses(&parent, &place.name, &stat)))
        },
        |reason| Ok(Some(reason)),
    )?;
    refused.map_or(Ok(()), |reason| Err(WalkError::Own(path, reason)))
}

/// Opens the folder that a place is in and looks at what is there.
fn open(place: &Place) -> Result<Opened, WalkError> {
    opened(place, root::open(place))
}

fn opened(place: &Place, opened: Result<Opened, RootError>) -> Result<Opened, WalkError> {
    let opened = opened.map_err(|error| match error {
        RootError::Gone => WalkError::NotFound(place.path()),
        RootError::Io(error) => WalkError::Io(place.path(), error),
        error => WalkError::Moved(place.path(), error),
    })?;
    match opened.stat.kind {
        // The path has been resolved: what is a symlink now was swapped in just now.
        Kind::Symlink => Err(WalkError::NotFound(place.path())),
        Kind::Special(what) => Err(WalkError::Special(place.path(), what)),
        Kind::File | Kind::Folder => Ok(opened),
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
    TreeKind::File {
        size: stat.size,
        ctime_ns: stat.ctime_ns,
        inode: stat.inode,
    }
}

/// The same of a part itself.
fn list_part(dir: &Dir, place: &Place) -> Result<Vec<OsString>, WalkError> {
    list(dir).map_err(|error| match error {
        ListError::TooMany => WalkError::Absurd(TOO_MANY),
        ListError::Io(error) => WalkError::Io(place.path(), error),
    })
}

struct Walker<'a> {
    options: &'a WalkOptions<'a>,
    entries: Vec<TreeEntry>,
    skipped: Notes,
    refused: Notes,
    roots: Vec<RootId>,
    mounts: Vec<String>,
    /// The patterns where it is.
    exclusion: Exclusion<'a>,
    excluded: u64,
    /// Mounts of the version before that patterns leave out now.
    excluded_mounts: Vec<String>,
    /// Paths below the top that the version before had; made when something cannot be read.
    readable: OnceCell<HashSet<String>>,
}

impl Walker<'_> {
    /// Opens a part, which must be what it was before.
    fn open_known(&self, number: usize, place: &Place) -> Result<Opened, WalkError> {
        match self
            .options
            .before
            .and_then(|before| before.roots.get(number))
        {
            Some(known) => match root::open_known(place, known) {
                Err(error) => Err(WalkError::Moved(place.path(), error)),
                found => opened(place, found),
            },
            None => open(place),
        }
    }

    /// Walks the only part: it is the top.
    fn top(&mut self, place: &Place) -> Result<(), WalkError> {
        let Opened { parent, stat, id } = self.open_known(0, place)?;
        self.roots.push(id);
        let name = match self.options.name {
            Some(name) => name.as_str().to_owned(),
            None => top_name(place)?,
        };
        if stat.kind == Kind::Folder {
            let dir = parent
                .open_dir(&place.name)
                .map_err(|error| WalkError::Io(place.path(), error))?;
            self.push(0, name, TreeKind::Folder, &stat)?;
            return self.folder(&dir, list_part(&dir, place)?, 1, "");
        }
        if !parent.readable(&place.name, &stat) {
            return Err(WalkError::Io(
                place.path(),
                io::ErrorKind::PermissionDenied.into(),
            ));
        }
        self.push(0, name, file(&stat), &stat)
    }

    /// Walks several parts below a folder that exists nowhere; it is as new as the newest of them.
    fn parts(&mut self, parts: &Parts) -> Result<(), WalkError> {
        let (mut names, mut newest) = (HashSet::new(), i64::MIN);
        for place in parts.iter() {
            let name = place.name.to_string_lossy();
            // Before anything is walked: it is a mistake in what was asked for.
            if !names.insert(name.clone().into_owned()) {
                return Err(WalkError::SameName(display_name(&name)));
            }
            newest = newest.max(open(place)?.stat.mtime_ns);
        }
        let default = || format!("{} items", names.len());
        let name = self
            .options
            .name
            .map_or_else(default, |name| name.as_str().to_owned());
        self.entries.push(TreeEntry {
            depth: 0,
            name,
            kind: TreeKind::Folder,
            mode: 0o755,
            mtime_ns: newest,
        });
        for (number, place) in parts.iter().enumerate() {
            let Opened { parent, id, .. } = self.open_known(number, place)?;
            self.roots.push(id);
            self.entry(&parent, place.name.clone(), 1, "")?;
        }
        Ok(())
    }

    fn push(
        &mut self,
        depth: u32,
        name: String,
        kind: TreeKind,
        stat: &Stat,
    ) -> Result<(), WalkError> {
        if self.entries.len() as u64 >= MAX_ENTRIES {
            return Err(WalkError::Absurd("number of files and folders"));
        }
        self.entries.push(TreeEntry {
            depth,
            name,
            kind,
            mode: stat.mode & 0o777,
            mtime_ns: stat.mtime_ns,
        });
        Ok(())
    }

    /// Why what has this name belongs to Hither itself, if it does.
    fn own(&self, dir: &Dir, name: &OsStr, stat: &Stat) -> Option<&'static str> {
        self.options
            .own
            .and_then(|own| own.refuses(dir, name, stat))
    }

    /// Walks an open folder with these names, whose entries have this depth; `path` is the folder's
    /// below the top, with a slash.
    fn folder(
        &mut self,
        dir: &Dir,
        names: Vec<OsString>,
        depth: u32,
        path: &str,
    ) -> Result<(), WalkError> {
        if self.options.cancel.load(Ordering::Relaxed) {
            return Err(WalkError::Cancelled);
        }
        (self.options.progress)(self.entries.len() as u64);
        let entered = match names.iter().any(|name| name == patterns::FILE) {
            true => self.exclusion.enter(dir, path.len()),
            false => Ok(false),
        };
        let entered = entered.map_err(|error| {
            let path = PathBuf::from(format!("{path}{}", patterns::FILE));
            WalkError::Patterns(path, error)
        })?;
        names
            .into_iter()
            .try_for_each(|name| self.entry(dir, name, depth, path))?;
        if entered {
            self.exclusion.leave();
        }
        Ok(())
    }

    /// Returns whether patterns leave an entry out; what they do is counted and not looked at.
    fn is_excluded(&mut self, path: &str, folder: bool) -> bool {
        if !self.exclusion.covers(path, folder) {
            return false;
        }
        self.excluded += 1;
        if let Some(before) = self.options.before {
            let within = |was: &&String| {
                let below = was.strip_prefix(path);
                below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
            };
            let mounts = before.mounts.iter().filter(within).cloned();
            self.excluded_mounts.extend(mounts);
        }
        true
    }

    fn entry(
        &mut self,
        dir: &Dir,
        name: OsString,
        depth: u32,
        path: &str,
    ) -> Result<(), WalkError> {
        let shown = || display_name(&format!("{path}{}", name.to_string_lossy()));
        let stat = match dir.stat(&name) {
            Ok(stat) => stat,
            // Gone since the folder was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                self.unreadable(&format!("{path}{}", name.to_string_lossy()), &error);
                return Ok(());
            }
        };
        let folder = stat.kind == Kind::Folder;
        // A name that is no text is matched as far as it can be shown; it is not shared anyway.
        if self.is_excluded(&format!("{path}{}", name.to_string_lossy()), folder) {
            return Ok(());
        }
        if let Some(reason) = self.own(dir, &name, &stat) {
            self.skipped.add_first(shown(), reason);
            return Ok(());
        }
        if let Kind::Special(what) = stat.kind {
            self.skipped.add(shown(), format!("it is {what}"));
            return Ok(());
        }
        // Names are text in a share. One that is none keeps nothing else from being shared.
        let Some(text) = name.to_str() else {
            self.skipped.add(shown(), "its name is not Unicode");
            return Ok(());
        };
        let parsed = match EntryName::parse(text) {
            Ok(parsed) => parsed,
            Err(error) => {
                self.refuse(shown(), error.to_string());
                return Ok(());
            }
        };
        if is_partial_name(parsed.as_str()) {
            self.skipped.add(shown(), "it is an unfinished fetch");
            return Ok(());
        }
        if is_trash_name(parsed.as_str()) {
            self.skipped.add(shown(), own::IN_TRASH);
            return Ok(());
        }
        if !self.options.exclude.is_empty()
            && let Some(reason) = self
                .options
                .exclude
                .get(&format!("{path}{}", parsed.as_str()))
        {
            self.skipped.add(shown(), reason.clone());
            return Ok(());
        }
        match stat.kind {
            Kind::Folder => self.subfolder(dir, parsed.as_str(), depth, path, &stat),
            Kind::Symlink => self.link(dir, parsed.as_str(), depth, path, &stat),
            _ if !dir.readable(&name, &stat) => {
                let error = io::ErrorKind::PermissionDenied.into();
                self.unreadable(&format!("{path}{}", parsed.as_str()), &error);
                Ok(())
            }
            // Pseudo files say so, /proc/kcore for one.
            _ if stat.size > MAX_SHARE => {
                self.refuse(shown(), "it is larger than a share may be".to_owned());
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
            self.refuse(
                display_name(&path),
                format!("folders are nested deeper than {MAX_DEPTH}"),
            );
            return Ok(());
        }
        match dir.open_dir(name.as_ref()) {
            Ok(inner) => {
                let names = match list(&inner) {
                    Ok(names) => names,
                    Err(ListError::TooMany) => return Err(WalkError::Absurd(TOO_MANY)),
                    Err(ListError::Io(error)) => {
                        self.unreadable(path.trim_end_matches('/'), &error);
                        return Ok(());
                    }
                };
                if self.mounts.len() < MAX_MOUNTS && dir.is_mount_root(name.as_ref()) {
                    self.mounts.push(path.trim_end_matches('/').to_owned());
                }
                if let Some(reason) = own::refuses_folder(&inner, &names) {
                    self.skipped
                        .add_first(display_name(path.trim_end_matches('/')), reason);
                    return Ok(());
                }
                self.push(depth, name.to_owned(), TreeKind::Folder, stat)?;
                self.folder(&inner, names, depth + 1, &path)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => {
                self.unreadable(path.trim_end_matches('/'), &error);
                Ok(())
            }
        }
    }

    fn link(
        &mut self,
        dir: &Dir,
        name: &str,
        depth: u32,
        path: &str,
        stat: &Stat,
    ) -> Result<(), WalkError> {
        let shown = || display_name(&format!("{path}{name}"));
        let target = match dir.read_link(name.as_ref()) {
            Ok(target) => target.into_string(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                self.unreadable(&format!("{path}{name}"), &error);
                return Ok(());
            }
        };
        match target {
            Ok(target) if !target.is_empty() && target.len() <= MAX_TARGET => {
                self.push(depth, name.to_owned(), TreeKind::Symlink { target }, stat)
            }
            Ok(_) => {
                self.refuse(
                    shown(),
                    format!("it is a link of more than {MAX_TARGET} bytes"),
                );
                Ok(())
            }
            Err(_) => {
                self.skipped
                    .add(shown(), "it is a link to a name that is not Unicode");
                Ok(())
            }
        }
    }

    /// Notes what cannot be read. What the version before had is not left out for that: it would be
    /// taken for deleted.
    fn unreadable(&mut self, path: &str, error: &io::Error) {
        let reason = format!("it cannot be read: {}", in_words(error));
        if self
            .options
            .before
            .is_some_and(|before| self.readable.get_or_init(|| before.paths()).contains(path))
        {
            self.refused.add(display_name(path), reason);
        } else {
            self.refuse(display_name(path), reason);
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
