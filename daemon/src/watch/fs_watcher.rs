//! The changes under a path, as the system reports them.
//!
//! A file is watched through its folder, because editors replace files; a folder also through the
//! one above it, because it may itself be replaced. Reading is no change: publishing reads
//! everything. What Hither itself writes is none either: it is never shared, and publishing writes
//! it.

use super::debounce::Settle;
use hither_content::OwnSeen;
use hither_util::sync::Mutex;
use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{Config, Event, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::Instant;
use tokio::sync::Notify;

/// Most folders of which is remembered whose they are.
const MAX_FOLDERS: usize = 1024;

/// The changes seen so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    settle: Mutex<Settle>,
    /// Something was seen.
    pub(super) news: Notify,
    /// The system could not report everything: only a look finds the rest.
    blind: AtomicBool,
    /// A watched path itself came or went: it must be watched anew.
    moved: AtomicBool,
    /// Folders that were reported changed, and whether they belong to Hither itself.
    own: Mutex<HashMap<PathBuf, bool>>,
}

/// Watches as long as it lives.
pub(super) struct Eyes(#[allow(dead_code, reason = "held for its drop")] RecommendedWatcher);

impl Eyes {
    /// Begins to watch paths; walks the whole trees, so call it where blocking is allowed.
    ///
    /// Fails where the system cannot watch, or not so much.
    pub(super) fn open(paths: &[PathBuf], own: OwnSeen, seen: &Arc<Seen>) -> notify::Result<Self> {
        let (of, to) = (paths.to_vec(), Arc::clone(seen));
        to.lock_own().clear();
        let told = move |told: notify::Result<Event>| to.told(&of, &own, told);
        let mut watcher =
            RecommendedWatcher::new(told, Config::default().with_follow_symlinks(false))?;
        let parents: BTreeSet<_> = paths.iter().filter_map(|path| path.parent()).collect();
        // A symbolic link is shared as a link.
        let is_folder =
            |path: &&PathBuf| std::fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
        let folders: Vec<_> = paths.iter().filter(is_folder).collect();
        // Recursive watches come last: the last watch counts, also for a folder above another path.
        for parent in parents
            .into_iter()
            .filter(|parent| !folders.iter().any(|folder| folder == parent))
        {
            watcher.watch(parent, RecursiveMode::NonRecursive)?;
        }
        for folder in folders {
            watcher.watch(folder, RecursiveMode::Recursive)?;
        }
        Ok(Self(watcher))
    }
}

impl Seen {
    pub(super) fn settle(&self) -> MutexGuard<'_, Settle> {
        self.settle.lock()
    }

    /// Returns whether the system misses changes.
    pub(super) fn is_blind(&self) -> bool {
        self.blind.load(Ordering::Relaxed)
    }

    /// The system cannot tell of changes; `true` when that is news.
    pub(super) fn becomes_blind(&self) -> bool {
        !self.blind.swap(true, Ordering::Relaxed)
    }

    /// Returns whether the path has to be watched anew.
    pub(super) fn take_moved(&self) -> bool {
        self.moved.swap(false, Ordering::Relaxed)
    }

    fn lock_own(&self) -> MutexGuard<'_, HashMap<PathBuf, bool>> {
        self.own.lock()
    }

    /// Returns whether a path lies in a folder that belongs to Hither itself. Of files only the
    /// folder counts: what was Hither's may be deleted by now, and its inode that of a file of
    /// the user.
    fn is_own(&self, own: &OwnSeen, path: &Path) -> bool {
        let mut known = self.lock_own();
        if known.len() >= MAX_FOLDERS {
            known.clear();
        }
        let folder = path.parent().unwrap_or(path);
        *known
            .entry(folder.to_owned())
            .or_insert_with(|| own.ignores_folder(folder))
    }

    fn told(&self, of: &[PathBuf], own: &OwnSeen, told: notify::Result<Event>) {
        match told {
            Ok(event) if self.take(of, own, &event, Instant::now()) => self.news.notify_one(),
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "a change could not be watched");
                self.becomes_blind();
                self.settle().changed(Instant::now());
                self.news.notify_one();
            }
        }
    }

    /// Records an event; returns `false` when it is none of ours.
    fn take(&self, of: &[PathBuf], own: &OwnSeen, event: &Event, now: Instant) -> bool {
        if event.need_rescan() {
            self.settle().changed(now);
            return true;
        }
        if matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write))
        {
            return false;
        }
        let below = event
            .paths
            .iter()
            .filter(|path| of.iter().any(|of| path.starts_with(of)));
        let ours: Vec<&PathBuf> = below.filter(|path| !self.is_own(own, path)).collect();
        let itself = ours.iter().any(|path| of.contains(path));
        let mut settle = self.settle();
        for path in &ours {
            match event.kind {
                EventKind::Access(AccessKind::Close(AccessMode::Write)) => settle.closed(path, now),
                EventKind::Modify(ModifyKind::Data(_)) => settle.written(path, now),
                EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => {
                    settle.closed(path, now)
                }
                _ => settle.changed(now),
            }
        }
        let comes_or_goes = matches!(
            event.kind,
            EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))
        );
        if itself && comes_or_goes {
            self.moved.store(true, Ordering::Relaxed);
        }
        !ours.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    async fn changes(seen: &Seen) -> bool {
        tokio::time::timeout(Duration::from_secs(5), seen.news.notified())
            .await
            .is_ok()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn changes_in_a_folder_are_seen_and_reading_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap().join("shared");
        std::fs::create_dir_all(path.join("sub")).unwrap();
        std::fs::write(path.join("sub/a"), "a").unwrap();
        let seen = Arc::new(Seen::default());
        let _eyes = Eyes::open(std::slice::from_ref(&path), OwnSeen::default(), &seen).unwrap();
        std::fs::read(path.join("sub/a")).unwrap();
        std::fs::write(folder.path().join("another"), "beside it").unwrap();
        // Later events are reported later: when this one is seen, the reading would have been.
        std::fs::write(path.join("sub/b"), "b").unwrap();
        assert!(changes(&seen).await);
        let due = seen.settle().due();
        assert!(due.is_some(), "a new file is a change");
        seen.settle().taken();
        std::fs::rename(&path, folder.path().join("elsewhere")).unwrap();
        while !seen.take_moved() {
            assert!(changes(&seen).await, "the folder went");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_that_is_replaced_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let path = folder.join("report.txt");
        std::fs::write(&path, "1").unwrap();
        let seen = Arc::new(Seen::default());
        let _eyes = Eyes::open(std::slice::from_ref(&path), OwnSeen::default(), &seen).unwrap();
        for text in ["2", "3"] {
            std::fs::write(folder.join("report.txt~"), text).unwrap();
            std::fs::rename(folder.join("report.txt~"), &path).unwrap();
            assert!(changes(&seen).await, "{text}");
            assert!(seen.settle().due().is_some());
        }
    }

    #[test]
    fn an_overflow_is_a_change() {
        let seen = Seen::default();
        let event = Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
        assert!(seen.take(
            &["/shared".into()],
            &OwnSeen::default(),
            &event,
            Instant::now()
        ));
        assert!(seen.settle().due().is_some());
    }
}
