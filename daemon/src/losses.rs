//! The losses of Hither's own data: every command reports them until a user acknowledges them.
//!
//! Invariants: a loss is durable before the daemon goes on without what was lost; while one is
//! told, or a damaged store lies beside the new one, nothing is deleted that the old data may need.

use crate::belonging;
use hither_api::Paths;
use hither_util::sync::Mutex;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::MutexGuard;

/// Most losses that are reported.
const MAX: usize = 20;
/// The beginning of the name of a store that was moved away, see `hither_content::storage::open`.
const BROKEN: &str = "store.broken-";

/// The data that was there before this start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Before {
    key: bool,
    store: bool,
}

impl Before {
    /// Looks at what there is; call it before anything is made.
    pub(crate) fn look(paths: &Paths) -> Self {
        let manifests =
            std::fs::read_dir(paths.manifests()).is_ok_and(|mut entries| entries.next().is_some());
        Self {
            key: paths.key().symlink_metadata().is_ok(),
            store: manifests || made(paths).exists(),
        }
    }

    /// Returns whether there was a key.
    pub(crate) fn key(self) -> belonging::Key {
        if self.key {
            belonging::Key::There
        } else {
            belonging::Key::WasGone
        }
    }
}

/// Says that there is a store, also when it is gone.
fn made(paths: &Paths) -> PathBuf {
    paths.data.join("store.made")
}

/// The losses that are not acknowledged.
pub(crate) struct Losses {
    file: PathBuf,
    told: Mutex<Vec<String>>,
}

impl Losses {
    /// Takes up the losses that earlier runs reported.
    pub(crate) fn open(paths: &Paths) -> Self {
        let file = paths.data.join("losses.json");
        let told = match std::fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|_| {
                vec!["Something of Hither's data was lost; its log tells more.".into()]
            }),
            Err(_) => Vec::new(),
        };
        Self {
            file,
            told: Mutex::new(told),
        }
    }

    /// A key that is gone beside a store makes another device of this one.
    pub(crate) fn key(&self, paths: &Paths, before: Before) -> io::Result<()> {
        if before.key || !before.store {
            return Ok(());
        }
        self.add(format!(
            "This device's private key was gone, so it is a new device now: what it shared before is not its own any more, \
             and relays and groups do not know it. If you have the key, run hither down and put it back to {}.",
            paths.key().display()
        ))
    }

    /// A store that is new although there was one. Remembers that there is one now.
    pub(crate) fn store(&self, paths: &Paths, before: Before, is_new: bool) -> io::Result<()> {
        if is_new && before.store {
            self.add(format!(
                "The metadata store was gone or empty, so a new one was made: shares, transfers, messages, relays and \
                 groups of before are not known. If you have the store, run hither down and put it back to {}.",
                paths.store().display()
            ))?;
        }
        match made(paths) {
            mark if mark.exists() => Ok(()),
            mark => hither_util::private_fs::write_file(&mark, b""),
        }
    }

    /// Tells of a loss from now on; durable when this returns.
    pub(crate) fn add(&self, words: String) -> io::Result<()> {
        tracing::error!("{words}");
        let mut told = self.lock();
        if told.contains(&words) || told.len() >= MAX {
            return Ok(());
        }
        told.push(words);
        let bytes = serde_json::to_vec(&*told).map_err(io::Error::other)?;
        hither_util::private_fs::write_file(&self.file, &bytes)
    }

    /// Returns what was lost, in words.
    pub(crate) fn told(&self) -> Vec<String> {
        self.lock().clone()
    }

    /// The user has read it. The data kept for its sake is removed with the next start, unless a
    /// damaged store is still there.
    pub(crate) fn acknowledge(&self) -> io::Result<()> {
        let mut told = self.lock();
        match std::fs::remove_file(&self.file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        told.clear();
        Ok(())
    }

    /// Returns whether old data may still be needed.
    pub(crate) fn keeps(&self, data: &Path) -> bool {
        let entries = std::fs::read_dir(data).into_iter().flatten().flatten();
        let broken = |name: std::ffi::OsString| name.to_string_lossy().starts_with(BROKEN);
        !self.lock().is_empty() || entries.map(|entry| entry.file_name()).any(broken)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.told.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_told_until_it_is_acknowledged() {
        let home = tempfile::tempdir().unwrap();
        let paths = Paths::in_home(home.path());
        std::fs::create_dir_all(paths.manifests()).unwrap();
        let losses = Losses::open(&paths);
        let first = Before::look(&paths);
        losses.key(&paths, first).unwrap();
        losses.store(&paths, first, true).unwrap();
        assert!(
            losses.told().is_empty() && !losses.keeps(&paths.data),
            "the first start loses nothing"
        );
        losses.store(&paths, Before::look(&paths), true).unwrap();
        assert_eq!(Losses::open(&paths).told().len(), 1);
        losses.key(&paths, Before::look(&paths)).unwrap();
        assert_eq!(Losses::open(&paths).told().len(), 2);
        assert!(losses.keeps(&paths.data));
        losses.acknowledge().unwrap();
        assert!(Losses::open(&paths).told().is_empty() && !losses.keeps(&paths.data));
        std::fs::create_dir(paths.data.join("store.broken-1")).unwrap();
        assert!(losses.keeps(&paths.data));
    }
}
