//! How a holding's files stand: content decides, a stamp only says where to look.
//!
//! Invariant: a position is called lost only after its bytes were compared, or could not be read at
//! all; what was not looked at, because it would take too long now, counts as held, since whatever
//! is served is verified anyway. A stamp says nothing of whether the disk still gives the content:
//! what failed to be read is read again.

use crate::holding::{Holding, ReadChunkError};
use crate::listing::in_words;
use crate::platform::{self, Kind};
use crate::stamp::{FileStamp, Stamps};
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// Files of one kind, the first of them by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Affected {
    /// How many files.
    pub files: u64,
    /// Path of the first below the top; empty for the top itself; safe to show.
    pub first: String,
    /// What the system said of the first, in words; empty when it said nothing.
    pub reason: String,
}

impl Affected {
    fn add(&mut self, path: impl FnOnce() -> String, reason: String) {
        if self.files == 0 {
            (self.first, self.reason) = (path(), reason);
        }
        self.files += 1;
    }
}

/// What was found out about the files of a holding.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Positions that cannot be given, ascending, as runs that do not overlap.
    pub lost: Vec<Range<u32>>,
    /// Files with another content than was shared.
    pub changed: Affected,
    /// Files that are not there any more.
    pub gone: Affected,
    /// Files that are there and cannot be read now.
    pub unreadable: Affected,
    /// Stamps of now, when some changed and the contents did not.
    pub stamps: Option<Stamps>,
    /// True when something was left for a look that may take longer.
    pub more: bool,
}

/// How one file stands.
enum Found {
    Same,
    /// Its content has to be looked at; bytes.
    Suspect(u64),
    Gone,
    Unreadable(io::Error),
}

impl Holding {
    /// Looks at every file: asks the file system, and reads those of which it says something else
    /// than before, up to `budget` bytes of them. Stops early, with what was found, when
    /// `cancel` is set.
    pub fn examine(&self, budget: u64, cancel: &AtomicBool) -> Findings {
        // An open file may not be the one at the path any more; and a disk is not to be kept from
        // being unmounted.
        self.access().close();
        let findings = self.examine_all(budget, cancel);
        self.access().close();
        findings
    }

    fn examine_all(&self, budget: u64, cancel: &AtomicBool) -> Findings {
        let mut findings = Findings::default();
        let mut stamps = self.stamps().as_slice().to_vec();
        let (mut left, mut renewed) = (budget, false);
        for (file, stamp) in (0..).zip(self.stamps().as_slice()) {
            if cancel.load(Ordering::Relaxed) {
                findings.more = true;
                break;
            }
            if self.names().is_skipped(self.layout().entry_of(file)) {
                // It was never to be here.
                self.lose(file, &mut findings);
                continue;
            }
            match self.find(file, stamp) {
                Found::Same => {}
                Found::Suspect(bytes) if bytes > left => findings.more = true,
                Found::Suspect(bytes) => {
                    left -= bytes;
                    if let Some(stamp) = self.compare(file, &mut findings, cancel) {
                        (stamps[file as usize], renewed) = (stamp, true);
                    }
                }
                Found::Gone => {
                    findings.gone.add(|| self.below_top(file), String::new());
                    self.lose(file, &mut findings);
                }
                Found::Unreadable(error) => {
                    findings
                        .unreadable
                        .add(|| self.below_top(file), in_words(&error));
                    self.lose(file, &mut findings);
                }
            }
        }
        findings.stamps = renewed.then(|| Stamps::new(stamps));
        findings
    }

    fn find(&self, file: u32, stamp: &FileStamp) -> Found {
        let entry = self.layout().entry_of(file);
        let dir = match self.access().above(entry) {
            Ok(dir) => dir,
            Err(error) if platform::is_gone(&error) => return Found::Gone,
            Err(error) => return Found::Unreadable(error),
        };
        let name = self.access().name(entry);
        match dir.stat(name) {
            Ok(stat) if stat.kind != Kind::File => Found::Gone,
            Ok(stat) if stat.size > 0 && !dir.readable(name, &stat) => {
                Found::Unreadable(io::ErrorKind::PermissionDenied.into())
            }
            Ok(stat) if stamp.same(&stat) && !self.failing().contains(&file) => Found::Same,
            Ok(_) => Found::Suspect(self.layout().size_of(file)),
            Err(error) if platform::is_gone(&error) => Found::Gone,
            Err(error) => Found::Unreadable(error),
        }
    }

    /// Compares the content of a file; its stamp of now when it is what was shared.
    fn compare(
        &self,
        file: u32,
        findings: &mut Findings,
        cancel: &AtomicBool,
    ) -> Option<FileStamp> {
        let before = self.stat_file(file);
        let size = self.layout().size_of(file);
        let (mut buffer, mut lost) = (Vec::new(), false);
        for position in self.layout().positions_of(file) {
            if cancel.load(Ordering::Relaxed) {
                findings.more = true;
                return None;
            }
            match self.read_chunk(position, &mut buffer) {
                Ok(()) => {}
                Err(ReadChunkError::Io { source, .. }) => {
                    findings
                        .unreadable
                        .add(|| self.below_top(file), in_words(&source));
                    self.lose(file, findings);
                    return None;
                }
                Err(_) => {
                    lost = true;
                    add(&mut findings.lost, position..position + 1);
                }
            }
        }
        let stat = before
            .ok()
            .filter(|stat| self.stat_file(file).is_ok_and(|after| after == *stat))?;
        if lost || stat.size != size {
            findings.changed.add(|| self.below_top(file), String::new());
            return None;
        }
        self.failing().remove(&file);
        Some(FileStamp::new(&stat))
    }

    fn stat_file(&self, file: u32) -> io::Result<platform::Stat> {
        let entry = self.layout().entry_of(file);
        self.access().above(entry)?.stat(self.access().name(entry))
    }

    fn lose(&self, file: u32, findings: &mut Findings) {
        let positions = self.layout().positions_of(file);
        if !positions.is_empty() {
            add(&mut findings.lost, positions);
        }
    }

    /// Path of a file below the top; empty for the top.
    fn below_top(&self, file: u32) -> String {
        let shown = self.layout().shown(self.layout().entry_of(file));
        shown
            .split_once('/')
            .map(|(_, below)| below.to_owned())
            .unwrap_or_default()
    }
}

/// Adds positions to runs that begin before them.
fn add(runs: &mut Vec<Range<u32>>, positions: Range<u32>) {
    match runs.last_mut().filter(|last| positions.start <= last.end) {
        Some(last) => last.end = last.end.max(positions.end),
        None => runs.push(positions),
    }
}
