//! How many files this process may have open, and what to do when there are too many.
//!
//! The limit is the process', not a constant: it is raised at the start as far as it goes, caches
//! take a part of it ([`share_of_limit`]), and whoever cannot open a file gives the cached ones
//! back first and tries once more.

use crate::handles::Handles;
use hither_util::sync::Mutex;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

/// Files that a process may have open where the system does not tell.
const UNKNOWN: u64 = 256;

/// Raises the limit of open files of this process to the highest it may have. Gives the limit in
/// force.
pub fn raise_open_files() -> u64 {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        if limit.current != limit.maximum {
            let all = Rlimit {
                current: limit.maximum,
                maximum: limit.maximum,
            };
            // Some systems name a maximum that they do not allow; what is in force then stays.
            let _ = setrlimit(Resource::Nofile, all);
        }
    }
    open_files_limit()
}

/// Returns how many files this process may have open.
pub fn open_files_limit() -> u64 {
    #[cfg(unix)]
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile)
        .current
        .unwrap_or(u64::MAX);
    #[cfg(not(unix))]
    let limit = UNKNOWN;
    if limit == 0 { UNKNOWN } else { limit }
}

/// Returns what one cache of open files may hold: `wanted`, or a quarter of all that may be open
/// (at least 1).
pub fn share_of_limit(wanted: usize) -> usize {
    let quarter = usize::try_from(open_files_limit() / 4).unwrap_or(usize::MAX);
    wanted.min(quarter).max(1)
}

static CACHES: Mutex<Vec<Weak<Handles>>> = Mutex::new(Vec::new());

/// Remembers a cache that can give its files back.
pub(crate) fn register(cache: &Arc<Handles>) {
    let mut caches = CACHES.lock();
    caches.retain(|cache| cache.strong_count() > 0);
    caches.push(Arc::downgrade(cache));
}

/// Opens something; when too many files are open it closes the cached ones and tries once more.
pub(crate) fn with_room<T>(open: impl Fn() -> io::Result<T>) -> io::Result<T> {
    match open() {
        Err(error) if is_too_many(&error) => {
            let caches: Vec<_> = CACHES.lock().clone();
            caches
                .iter()
                .filter_map(Weak::upgrade)
                .for_each(|cache| cache.close_all());
            open()
        }
        result => result,
    }
}

/// Returns whether the process or the system has as many files open as it may.
fn is_too_many(error: &io::Error) -> bool {
    #[cfg(unix)]
    return [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()));
    #[cfg(not(unix))]
    {
        let _ = error;
        false
    }
}

/// Most files that are kept open one for each share and version, however many may be open.
const KEPT: usize = 1024;
static KEPT_NOW: AtomicUsize = AtomicUsize::new(0);

/// A file that is kept open while few are, and opened again for each use otherwise.
#[derive(Debug)]
pub(crate) struct SparingFile {
    path: PathBuf,
    kept: Option<Arc<File>>,
    identity: (u64, u64),
}

impl SparingFile {
    /// Takes an open file and the path at which it is.
    pub(crate) fn new(path: &Path, file: File) -> io::Result<Self> {
        let identity = identity(&file)?;
        let kept = KEPT_NOW.fetch_add(1, Ordering::Relaxed) < share_of_limit(KEPT);
        if !kept {
            KEPT_NOW.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(Self {
            path: path.to_owned(),
            kept: kept.then(|| Arc::new(file)),
            identity,
        })
    }

    /// The file; `open` opens what is at its path. Fails when another file has taken its place.
    pub(crate) fn get(&self, open: impl Fn() -> io::Result<File>) -> io::Result<Arc<File>> {
        if let Some(file) = &self.kept {
            return Ok(Arc::clone(file));
        }
        let file = open()?;
        if identity(&file)? != self.identity {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "another file has taken its place",
            ));
        }
        Ok(Arc::new(file))
    }

    /// Returns where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SparingFile {
    fn drop(&mut self) {
        if self.kept.is_some() {
            KEPT_NOW.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(unix)]
fn identity(file: &File) -> io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    file.metadata().map(|meta| (meta.dev(), meta.ino()))
}

#[cfg(not(unix))]
fn identity(_: &File) -> io::Result<(u64, u64)> {
    Ok((0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_files_give_the_cached_ones_back_once() {
        let full = || io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error());
        let handles = Handles::new(4);
        let dir = Arc::new(crate::platform::Dir::open(Path::new("/")).unwrap());
        handles.put(handles.new_owner(), 1, crate::handles::Handle::Dir(dir));
        let opened = with_room(|| {
            if handles.get(0, 1).is_some() {
                Err(full())
            } else {
                Ok(7)
            }
        });
        assert_eq!(opened.unwrap(), 7);
        let tries = std::cell::Cell::new(0);
        let failed = with_room::<()>(|| {
            tries.set(tries.get() + 1);
            Err(full())
        });
        assert!(is_too_many(&failed.unwrap_err()) && tries.get() == 2);
    }

    #[test]
    fn caches_fit_into_the_limit() {
        let limit = raise_open_files();
        assert!(limit >= 4 && share_of_limit(usize::MAX) as u64 <= limit / 4);
        assert_eq!(share_of_limit(1), 1);
    }

    #[test]
    fn a_file_that_is_not_kept_is_opened_again_unless_it_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "one").unwrap();
        let mut file = SparingFile::new(&path, File::open(&path).unwrap()).unwrap();
        if file.kept.take().is_some() {
            KEPT_NOW.fetch_sub(1, Ordering::Relaxed);
        }
        assert!(file.get(|| File::open(file.path())).is_ok());
        std::fs::write(folder.path().join("other"), "two").unwrap();
        std::fs::rename(folder.path().join("other"), &path).unwrap();
        assert!(file.get(|| File::open(file.path())).is_err());
    }
}
