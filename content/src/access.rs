//! The way from an entry of a manifest to its file or folder on this device.
//!
//! Invariant: every folder is opened by one name relative to the one above it, and a symlink that
//! stands in its place is an error; no path is ever put together from names that came from outside.

use crate::handles::{Handle, Handles};
use crate::layout::Layout;
use crate::names::Names;
use crate::place::{Parts, Place};
use crate::platform::Dir;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The folder above the first part, among the cached handles of an owner; those above others count
/// down from it.
const ABOVE: u32 = u32::MAX;

/// A share's entries at one place.
#[derive(Debug)]
pub(crate) struct Access {
    handles: Arc<Handles>,
    owner: u64,
    layout: Arc<Layout>,
    names: Arc<Names>,
    parts: Parts,
    /// The handle's number of the folder above each part; the same for the same folder.
    folders: Vec<u32>,
    /// The folder above the top when it is kept open, so that it stays the same one.
    above: Option<Arc<Dir>>,
}

impl Access {
    /// Does no IO. With `above`, that folder is used instead of the path to it.
    pub(crate) fn new(
        handles: &Arc<Handles>,
        layout: Arc<Layout>,
        parts: impl Into<Parts>,
        above: Option<Arc<Dir>>,
    ) -> Self {
        let parts = parts.into();
        let mut numbers: HashMap<&Path, u32> = HashMap::new();
        let mut folders = Vec::new();
        for part in parts.iter() {
            let next = ABOVE - numbers.len() as u32; // far fewer than there are numbers: each is an entry
            folders.push(*numbers.entry(&part.parent).or_insert(next));
        }
        let (owner, names) = (handles.new_owner(), Arc::default());
        Self {
            handles: Arc::clone(handles),
            owner,
            layout,
            names,
            parts,
            folders,
            above,
        }
    }

    /// The same entries, called otherwise here.
    pub(crate) fn with_names(mut self, names: Arc<Names>) -> Self {
        self.close();
        self.names = names;
        self
    }

    /// How the entries are called here.
    pub(crate) const fn names(&self) -> &Arc<Names> {
        &self.names
    }

    pub(crate) const fn handles(&self) -> &Arc<Handles> {
        &self.handles
    }

    pub(crate) const fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Returns where all parts are.
    pub(crate) const fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Where the first part is: the top entry, unless there are several.
    pub(crate) const fn place(&self) -> &Place {
        self.parts.first()
    }

    /// An entry's name on this device.
    pub(crate) fn name(&self, entry: u32) -> &OsStr {
        // Several parts are called there as they are in the share.
        if entry == 0 {
            &self.place().name
        } else {
            self.names.name(&self.layout, entry)
        }
    }

    /// The folder that an entry is in.
    pub(crate) fn above(&self, entry: u32) -> io::Result<Arc<Dir>> {
        self.above_or(entry, &|_, _, error| Err(error))
    }

    /// The folder of a folder's entry.
    pub(crate) fn folder(&self, entry: u32) -> io::Result<Arc<Dir>> {
        self.folder_or(entry, &|_, _, error| Err(error))
    }

    /// Like [`Self::above`]; `repair` may make a folder that cannot be opened.
    pub(crate) fn above_or(&self, entry: u32, repair: &Repair<'_>) -> io::Result<Arc<Dir>> {
        let parent = self.layout.parent_of(entry);
        let part = match (entry, self.parts.are_several()) {
            (0, false) => Some(0),
            (1.., true) if parent == 0 => self.parts.named(self.layout.name_of(entry)),
            // The top of several parts is a folder that exists nowhere.
            (0, true) => None,
            _ => return self.folder_or(parent, repair),
        };
        if let Some(dir) = self.above.as_ref().filter(|_| entry == 0) {
            return Ok(Arc::clone(dir));
        }
        let part =
            part.and_then(|number| Some((self.parts.get(number)?, *self.folders.get(number)?)));
        let (place, folder) = part.ok_or(io::ErrorKind::NotFound)?;
        self.cached_dir(folder, || Dir::open_exact(&place.parent))
    }

    /// Like [`Self::folder`]; `repair` may make a folder that cannot be opened.
    pub(crate) fn folder_or(&self, entry: u32, repair: &Repair<'_>) -> io::Result<Arc<Dir>> {
        self.cached_dir(entry, || {
            let above = self.above_or(entry, repair)?;
            above
                .open_dir(self.name(entry))
                .or_else(|error| repair(&above, entry, error))
        })
    }

    fn cached_dir(
        &self,
        entry: u32,
        open: impl FnOnce() -> io::Result<Dir>,
    ) -> io::Result<Arc<Dir>> {
        if let Some(Handle::Dir(dir)) = self.handles.get(self.owner, entry) {
            return Ok(dir);
        }
        let dir = Arc::new(open()?);
        self.handles
            .put(self.owner, entry, Handle::Dir(Arc::clone(&dir)));
        Ok(dir)
    }

    /// The cached handle of a file's entry.
    pub(crate) fn cached_file(&self, entry: u32) -> Option<Arc<File>> {
        match self.handles.get(self.owner, entry) {
            Some(Handle::File(file)) => Some(file),
            _ => None,
        }
    }

    pub(crate) fn keep_file(&self, entry: u32, file: &Arc<File>) {
        self.handles
            .put(self.owner, entry, Handle::File(Arc::clone(file)));
    }

    pub(crate) fn forget(&self, entry: u32) {
        self.handles.forget(self.owner, entry);
    }

    /// Closes everything that is cached.
    pub(crate) fn close(&self) {
        self.handles.forget_owner(self.owner);
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        self.close();
    }
}

/// Called with the folder above, the entry and the error with which it could not be opened.
pub(crate) type Repair<'a> = dyn Fn(&Dir, u32, io::Error) -> io::Result<Dir> + 'a;
