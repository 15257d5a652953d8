//! The target of a fetch: an unfinished file or folder beside the place that the finished one will
//! have.
//!
//! The life of a target: [`FetchTarget::prepare`] checks everything that can be checked and makes
//! an empty partial; chunks are written at their final offsets, in any order, by any thread
//! (`write`), or copied from what this device has (`copy`); [`FetchTarget::checkpoint`] makes them
//! durable; [`FetchTarget::finish`] gives everything its modes and times and moves it into place
//! (`finish`). After a crash [`FetchTarget::resume`] goes on (`resume`).
//!
//! Things that are there already are looked at by `present`, before anything is asked.
//!
//! At a place that is taken, `finish` merges (`merge`): what may be replaced is asked of
//! `verdict`, what is replaced goes to the trash (`aside`), and so does what an earlier version left
//! and this one does not have (`clear`); folders get their modes in `folders`.
//!
//! Invariants: nothing but the partial is touched before `finish`; everything is opened through
//! handles of folders, by one name at a time, and a symlink that somebody plants is an error or is
//! replaced, never followed; new files are readable by this user only until they are finished.

mod aside;
mod check;
mod clear;
mod copy;
mod discard;
mod error;
mod finish;
mod folders;
mod merge;
mod options;
mod present;
mod resume;
mod together;
mod verdict;
mod write;

pub use check::target_name;
pub use copy::CopyError;
pub use error::{FinishError, PrepareError, WriteError};
pub use finish::Finished;
pub use merge::Kept;
pub use options::{IfExists, TargetOptions};
pub use present::{Others, Present};

pub(crate) use discard::empty_folder;

use crate::access::Access;
use crate::handles::Handles;
use crate::holding::Holding;
use crate::layout::Layout;
use crate::names::{NameRules, Names, plan};
use crate::partial::{PartialRef, partial_name};
use crate::place::Place;
use crate::platform::Dir;
use check::Checked;
use hither_proto::Manifest;
use hither_util::sync::{Mutex, RwLock};
use std::ffi::{OsStr, OsString};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How many names are tried before giving up.
const MAX_NAMES: u32 = 1000;

/// A share being fetched. Shared between threads.
#[derive(Debug)]
pub struct FetchTarget {
    /// The partial's entries.
    access: Arc<Access>,
    /// The folder that the partial and the finished share are in.
    above: Arc<Dir>,
    partial: PartialRef,
    options: TargetOptions,
    /// What names can be there.
    rules: NameRules,
    state: Mutex<write::TargetState>,
    /// Held while a file that more than one chunk is written into is created.
    creating: Mutex<()>,
    /// Held for reading while a folder is made and noted, for writing while a checkpoint takes the
    /// notes.
    noting: RwLock<()>,
}

impl FetchTarget {
    /// Checks that the share can be fetched into the folder `dir` and makes an empty partial there.
    ///
    /// Store [`Self::partial`] before writing: without it the partial is not found again.
    pub fn prepare(
        handles: &Arc<Handles>,
        dir: &Path,
        layout: Arc<Layout>,
        options: &TargetOptions,
    ) -> Result<Self, PrepareError> {
        let Checked {
            parent,
            above,
            target,
            rules,
        } = check::check(dir, &layout, options)?;
        let single_file = layout.manifest().is_single_file();
        let name = make_partial(&above, &target, rules.longest(), single_file)
            .map_err(|error| PrepareError::from_io(&parent.join(&target), error))?;
        let partial = PartialRef::record(&above, name, target)
            .map_err(|error| PrepareError::from_io(&parent, error))?;
        Ok(Self::with(
            handles,
            parent,
            above,
            layout,
            partial,
            TargetOptions {
                rules: Some(rules),
                ..options.clone()
            },
            write::TargetState::fresh(single_file),
        ))
    }

    /// Goes on with a partial that [`Self::prepare`] made in an earlier life.
    ///
    /// `durable` are the positions that the caller has recorded after a checkpoint: their files
    /// must be there. [`PrepareError::PartialVanished`] means that they are not, and nothing
    /// that was recorded counts any more; [`PrepareError::NotOurs`] that something else has the
    /// partial's name. Prepare afresh then.
    pub fn resume(
        handles: &Arc<Handles>,
        dir: &Path,
        layout: Arc<Layout>,
        partial: &PartialRef,
        options: &TargetOptions,
        durable: &[Range<u32>],
    ) -> Result<Self, PrepareError> {
        let (parent, above) = check::open_parent(dir)?;
        let single_file = layout.manifest().is_single_file();
        resume::recognise(&above, &parent, partial, single_file)?;
        let state = write::TargetState::fresh(single_file);
        let target = Self::with(
            handles,
            parent,
            above,
            layout,
            partial.clone(),
            options.clone(),
            state,
        );
        resume::find_files(&target, durable)?;
        Ok(target)
    }

    fn with(
        handles: &Arc<Handles>,
        parent: PathBuf,
        above: Arc<Dir>,
        layout: Arc<Layout>,
        partial: PartialRef,
        options: TargetOptions,
        state: write::TargetState,
    ) -> Self {
        let rules = options.rules.clone().unwrap_or_else(NameRules::any);
        let names = Arc::new(names(&layout, &rules, &options, &parent));
        let place = Place {
            parent,
            name: OsString::from(&partial.name),
        };
        let access =
            Access::new(handles, layout, place, Some(Arc::clone(&above))).with_names(names);
        let access = Arc::new(access);
        Self {
            access,
            above,
            partial,
            options,
            rules,
            state: Mutex::new(state),
            creating: Mutex::default(),
            noting: RwLock::default(),
        }
    }

    /// What to store to find the partial again.
    pub const fn partial(&self) -> &PartialRef {
        &self.partial
    }

    /// What is fetched.
    pub fn manifest(&self) -> &Arc<Manifest> {
        self.access.layout().manifest()
    }

    /// Path that the finished share will have (unless something takes that name before, and another
    /// is chosen).
    pub fn target_path(&self) -> PathBuf {
        self.access.place().parent.join(&self.partial.target)
    }

    /// What names can be there: for resuming.
    pub const fn rules(&self) -> &NameRules {
        &self.rules
    }

    /// How the entries are called there.
    pub fn names(&self) -> &Arc<Names> {
        self.access.names()
    }

    /// The partial as something to read from: for serving what has arrived while the rest is still
    /// being fetched. Everything read through it is verified.
    pub fn holding(&self) -> Holding {
        // With handles of its own: those of the target are for writing.
        let (layout, place) = (
            Arc::clone(self.access.layout()),
            self.access.place().clone(),
        );
        let access = Access::new(
            self.access.handles(),
            layout,
            place,
            Some(Arc::clone(&self.above)),
        );
        Holding::unfinished(access.with_names(Arc::clone(self.names())))
    }

    fn partial_name(&self) -> &OsStr {
        OsStr::new(&self.partial.name)
    }
}

/// How the entries of a version are called in the folder `parent`.
fn names(layout: &Layout, rules: &NameRules, options: &TargetOptions, parent: &Path) -> Names {
    let before = options
        .before
        .as_ref()
        .filter(|before| before.place().parent == parent);
    let before = before.map(|before| (&**before.layout(), &**before.names()));
    let mut names = plan(layout, rules, options.naming, before);
    if let Some(only) = &options.only {
        names.leave_out(only);
    }
    names
}

/// Creates an empty partial under a name that is free; returns the name.
fn make_partial(
    above: &Dir,
    target: &str,
    max_name: usize,
    single_file: bool,
) -> io::Result<String> {
    for attempt in 1..=MAX_NAMES {
        let name = partial_name(target, attempt, max_name);
        let made = if single_file {
            above.create(OsStr::new(&name)).map(drop)
        } else {
            above.make_dir(OsStr::new(&name))
        };
        match made {
            Ok(()) => return Ok(name),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}
