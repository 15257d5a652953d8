//! Putting aside what a later version replaces or no longer has: it moves to the trash.
//!
//! Invariants: what moves is what was judged, looked at again where it went, and goes back when it
//! changed on the way; a move is one rename, so that a crash leaves it at one of the two places;
//! the trash is entered by one name at a time and never through a symlink.

use crate::partial::numbered_name;
use crate::platform::{Dir, Kind, Stat, is_gone};
use crate::trash::TRASH;
use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::Arc;

/// Names that are tried for one thing.
const ATTEMPTS: u32 = 100;
/// Longest name that something gets in the trash, bytes.
const MAX_NAME: usize = 255;

/// The trash of one target, as one version uses it. Nothing is made before something is put there.
pub(super) struct Aside {
    /// The folder that the trash is in.
    base: Arc<Dir>,
    /// Date and time: the name of what is put there now.
    when: String,
    /// The folder of this version and its name.
    opened: RefCell<Option<(Arc<Dir>, String)>>,
}

/// Something that is to be put aside: where it is, what was judged, and where it belongs below the
/// top.
pub(super) struct Thing<'a> {
    pub(super) dir: &'a Dir,
    pub(super) name: &'a OsStr,
    pub(super) there: &'a Stat,
    pub(super) folders: Vec<OsString>,
}

impl Aside {
    pub(super) fn new(base: Arc<Dir>, when: &str) -> Self {
        Self {
            base,
            when: when.to_owned(),
            opened: RefCell::default(),
        }
    }

    /// Moves something to the trash; `false` when it is not what was judged any more, and stays.
    /// `is_same` looks at it where it went.
    pub(super) fn take(
        &self,
        thing: &Thing<'_>,
        is_same: &dyn Fn(&Dir, &OsStr, &Stat) -> bool,
    ) -> io::Result<bool> {
        let into = self.folder(&thing.folders)?;
        // A folder that moves must be writable to its owner: its way up changes.
        let widened = thing.there.kind == Kind::Folder && thing.there.mode & 0o700 != 0o700;
        if widened {
            thing
                .dir
                .set_mode_at(thing.name, thing.there.mode | 0o700)?;
        }
        let Some(name) = moved(thing, &into)? else {
            return Ok(false);
        };
        let now = into.stat(&name)?;
        if same_but_for_names(&now, thing.there) && is_same(&into, &name, &now) {
            return Ok(true);
        }
        match into.rename_new(&name, thing.dir, thing.name) {
            // Something else has the name by now: both are kept.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            back => back.map(|()| false),
        }
    }

    /// The folder in the trash that has what was in these folders.
    fn folder(&self, folders: &[OsString]) -> io::Result<Arc<Dir>> {
        let mut dir = self.top()?;
        for name in folders {
            let made = make(&dir, name)?;
            dir = Arc::new(made);
        }
        Ok(dir)
    }

    fn top(&self) -> io::Result<Arc<Dir>> {
        if let Some((dir, _)) = &*self.opened.borrow() {
            return Ok(Arc::clone(dir));
        }
        let trash = make(&self.base, OsStr::new(TRASH))?;
        for attempt in 1..=ATTEMPTS {
            let name = match attempt {
                1 => self.when.clone(),
                _ => format!("{}_{attempt}", self.when),
            };
            match trash.make_dir(OsStr::new(&name)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            }
            let dir = Arc::new(trash.open_dir(OsStr::new(&name))?);
            trash.sync()?;
            *self.opened.borrow_mut() = Some((Arc::clone(&dir), name));
            return Ok(dir);
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Makes what was put aside durable; returns its name in the trash, when there is any.
    pub(super) fn finish(self) -> io::Result<Option<String>> {
        let Some((dir, name)) = self.opened.into_inner() else {
            return Ok(None);
        };
        dir.sync()?;
        self.base.sync()?;
        Ok(Some(name))
    }
}

/// Opens a folder of the trash, made when it is not there.
fn make(above: &Dir, name: &OsStr) -> io::Result<Dir> {
    match above.open_dir(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) if is_gone(&error) => {
            let name = name.to_string_lossy();
            let words = format!("{name} is not a folder: what is replaced cannot be kept there");
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, words));
        }
        opened => return opened,
    }
    match above.make_dir(name) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    above.open_dir(name)
}

/// Moves it under its own name, or a numbered one; `None` when it is not there any more.
fn moved(thing: &Thing<'_>, into: &Dir) -> io::Result<Option<OsString>> {
    let is_folder = thing.there.kind == Kind::Folder;
    for attempt in 1..=ATTEMPTS {
        let name = match attempt {
            1 => thing.name.to_owned(),
            _ => {
                let own = thing.name.to_string_lossy();
                numbered_name(&own, attempt, MAX_NAME, is_folder).into()
            }
        };
        match thing.dir.rename_new(thing.name, into, &name) {
            Ok(()) => return Ok(Some(name)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Returns whether it is the same thing, whatever a rename changes.
fn same_but_for_names(now: &Stat, before: &Stat) -> bool {
    now.kind == before.kind
        && now.inode == before.inode
        && (now.kind == Kind::Folder
            || (now.size == before.size && now.mtime_ns == before.mtime_ns))
}
