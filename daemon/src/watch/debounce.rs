//! When to publish after something changed: not in the middle of it, and not too late. Pure: time
//! is an argument.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// So long nothing has changed before a version is published.
const QUIET: Duration = Duration::from_millis(500);
/// A version comes at the latest so long after the first change.
const AT_MOST: Duration = Duration::from_secs(5);
/// A file that was written to and not closed since is waited for so long after its last write.
const WRITTEN: Duration = Duration::from_secs(5);
/// However often it is written to, it is waited for no longer than this after the first change.
const WRITTEN_AT_MOST: Duration = Duration::from_secs(60);
/// Pause after a version that could not be made because something changed under it: the first, and
/// the longest.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Most files that are waited for; for others the quiet alone counts.
const MAX_OPEN: usize = 4096;

/// The changes since the last version.
#[derive(Debug, Default)]
pub(super) struct Settle {
    /// When the first and the last change was seen.
    changed: Option<(Instant, Instant)>,
    /// Files that were written to and not closed since, with the last write.
    open: HashMap<PathBuf, Instant>,
    /// Versions in a row that could not be made, and when the next may be tried.
    failures: u32,
    not_before: Option<Instant>,
}

impl Settle {
    /// Something changed.
    pub(super) fn changed(&mut self, now: Instant) {
        let (first, _) = self.changed.unwrap_or((now, now));
        self.changed = Some((first, now));
    }

    /// A file was written to.
    pub(super) fn written(&mut self, path: &Path, now: Instant) {
        self.changed(now);
        if self.open.len() < MAX_OPEN || self.open.contains_key(path) {
            self.open.insert(path.to_owned(), now);
        }
    }

    /// A file that was written to was closed, or is not there any more.
    pub(super) fn closed(&mut self, path: &Path, now: Instant) {
        self.changed(now);
        self.open.remove(path);
    }

    /// When to publish; `None` while nothing changed.
    pub(super) fn due(&self) -> Option<Instant> {
        let (first, last) = self.changed?;
        let settled = (last + QUIET).min(first + AT_MOST);
        let written = self
            .open
            .values()
            .max()
            .map(|at| (*at + WRITTEN).min(first + WRITTEN_AT_MOST));
        [Some(settled), written, self.not_before]
            .into_iter()
            .flatten()
            .max()
    }

    /// A version is being made: what changes from now on is for the next one.
    pub(super) fn taken(&mut self) {
        self.changed = None;
        // A program that goes on writing is seen again.
        self.open.clear();
    }

    /// The version was made.
    pub(super) fn succeeded(&mut self) {
        (self.failures, self.not_before) = (0, None);
    }

    /// It was not, because something changed under it.
    pub(super) fn failed(&mut self, now: Instant) {
        let pause = AGAIN
            .0
            .saturating_mul(1 << self.failures.min(10))
            .min(AGAIN.1);
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + pause);
        self.changed(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_version_comes_when_it_is_quiet_or_at_the_latest_after_five_seconds() {
        let (mut settle, start) = (Settle::default(), Instant::now());
        assert_eq!(settle.due(), None);
        settle.changed(start);
        assert_eq!(settle.due(), Some(start + QUIET));
        for n in 1..100 {
            settle.changed(start + ms(100) * n);
        }
        assert_eq!(settle.due(), Some(start + AT_MOST));
        settle.taken();
        assert_eq!(settle.due(), None);
    }

    #[test]
    fn a_file_that_is_being_written_is_waited_for_until_it_is_closed() {
        let (mut settle, start) = (Settle::default(), Instant::now());
        let file = Path::new("film.mkv");
        for n in 0..20 {
            settle.written(file, start + ms(1000) * n);
        }
        let last = start + ms(19_000);
        assert_eq!(settle.due(), Some(last + WRITTEN), "it may be written on");
        settle.closed(file, last + ms(10));
        assert_eq!(settle.due(), Some(start + AT_MOST), "long due");
    }

    #[test]
    fn a_file_that_is_never_closed_holds_up_nothing_for_ever() {
        let (mut settle, start) = (Settle::default(), Instant::now());
        for n in 0..600 {
            settle.written(Path::new("log"), start + ms(500) * n);
        }
        assert_eq!(settle.due(), Some(start + WRITTEN_AT_MOST));
    }

    #[test]
    fn what_fails_is_tried_again_later_each_time() {
        let (mut settle, start) = (Settle::default(), Instant::now());
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            settle.changed(start);
            settle.taken();
            settle.failed(start);
            assert_eq!(settle.due(), Some(start + Duration::from_secs(seconds)));
        }
        settle.taken();
        settle.succeeded();
        settle.changed(start);
        assert_eq!(settle.due(), Some(start + QUIET));
    }

    #[test]
    fn the_files_that_are_waited_for_are_bounded() {
        let (mut settle, start) = (Settle::default(), Instant::now());
        for n in 0..MAX_OPEN + 100 {
            settle.written(Path::new(&n.to_string()), start);
        }
        assert_eq!(settle.open.len(), MAX_OPEN);
    }
}
