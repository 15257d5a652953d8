//! Disks that do not answer: a network drive whose server is gone, a device that hangs. Whoever
//! asks them anything waits for as long as that lasts, and nothing can end the call.
//!
//! Invariant: what is done on a share's disk is done on a thread of its own, and nobody waits for
//! one whose disk is silent; there is at most one such thread, and one that asks whether the disk
//! answers, for each share.

use hither_proto::ShareId;
use hither_util::sync::Mutex;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};
use std::{io, thread};

/// Longest time for a disk to say whether something is there; one that sleeps needs seconds to
/// begin to turn.
const ANSWER: Duration = Duration::from_secs(5);
/// The same when the daemon starts: whoever started it waits.
const AT_START: Duration = Duration::from_secs(2);

/// Which shares are on a disk that does not answer.
#[derive(Clone, Default)]
pub(crate) struct Disks(Arc<Mutex<HashSet<ShareId>>>);

impl Disks {
    fn silent(&self) -> MutexGuard<'_, HashSet<ShareId>> {
        self.0.lock()
    }

    /// Returns whether a share's disk does not answer, as far as is known.
    pub(crate) fn is_silent(&self, share: ShareId) -> bool {
        self.silent().contains(&share)
    }

    /// Does something on a share's disk and waits for it while the disk answers; `None` when it
    /// does not. Blocks.
    pub(crate) fn patiently<T: Send + 'static>(
        &self,
        share: ShareId,
        paths: &[PathBuf],
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        if self.is_silent(share) {
            return None;
        }
        let done = match self.begin(share, work) {
            Ok(done) => done,
            Err(error) => {
                tracing::error!(%error, "a disk cannot be looked at");
                return None;
            }
        };
        loop {
            match done.recv_timeout(ANSWER) {
                Ok(done) => return Some(done),
                // It panicked, which is reported elsewhere.
                Err(RecvTimeoutError::Disconnected) => return None,
                // Much may have to be read.
                Err(RecvTimeoutError::Timeout) if answers(paths) => {}
                Err(RecvTimeoutError::Timeout) => {
                    self.silent().insert(share);
                    // It may have ended before it was called silent.
                    let late = done.try_recv().ok();
                    if late.is_some() {
                        self.silent().remove(&share);
                    }
                    return late;
                }
            }
        }
    }

    /// Asks the disks of all shares at once, when the daemon starts; those that do not answer soon
    /// are called silent until they do.
    pub(crate) fn ask_all(&self, shares: impl IntoIterator<Item = (ShareId, Vec<PathBuf>)>) {
        let asked = shares.into_iter().filter_map(|(share, paths)| {
            Some((share, self.begin(share, move || look(&paths)).ok()?))
        });
        let asked: Vec<_> = asked.collect();
        let until = Instant::now() + AT_START;
        for (share, answer) in asked {
            if answer
                .recv_timeout(until.saturating_duration_since(Instant::now()))
                .is_err()
            {
                self.silent().insert(share);
                if answer.try_recv().is_ok() {
                    self.silent().remove(&share);
                }
            }
        }
    }

    /// Begins something on a thread of its own; the share is not silent any more when that ends.
    fn begin<T: Send + 'static>(
        &self,
        share: ShareId,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<Receiver<T>> {
        let (sender, done) = channel();
        let silent = self.clone();
        thread::Builder::new().name("disk".into()).spawn(move || {
            let result = work();
            silent.silent().remove(&share);
            let _ = sender.send(result); // Nobody waits any more when the disk was silent.
        })?;
        Ok(done)
    }
}

/// Returns whether the file system says anything about some paths in time.
fn answers(paths: &[PathBuf]) -> bool {
    let (sender, answer) = channel();
    let paths = paths.to_vec();
    let asking = thread::Builder::new().name("disk".into()).spawn(move || {
        look(&paths);
        let _ = sender.send(());
    });
    asking.is_err() || answer.recv_timeout(ANSWER).is_ok()
}

/// Asks for what must come from the disk. Whatever is answered is an answer.
fn look(paths: &[PathBuf]) {
    for path in paths {
        if let Ok(mut entries) = std::fs::read_dir(path) {
            let _ = entries.next();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::Sender;

    fn share(number: u8) -> ShareId {
        ShareId::new([number; 16])
    }

    /// A pipe that nobody writes to: who opens it waits, as with a disk that hangs.
    fn hanging() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        assert!(
            std::process::Command::new("mkfifo")
                .arg(&path)
                .status()
                .unwrap()
                .success()
        );
        (folder, path)
    }

    #[test]
    fn nobody_waits_for_long_work_that_goes_on_and_one_share_is_not_another() {
        let disks = Disks::default();
        let folder = tempfile::tempdir().unwrap();
        let paths = [folder.path().to_owned()];
        let slow = || thread::sleep(ANSWER + Duration::from_secs(1));
        assert_eq!(
            disks.patiently(share(1), &paths, slow),
            Some(()),
            "the disk answers: it is waited for"
        );
        assert!(!disks.is_silent(share(1)));
        let (_folder, pipe) = hanging();
        let opens = pipe.clone();
        let (ended, has_ended): (Sender<()>, _) = channel();
        disks.silent().insert(share(2));
        assert_eq!(
            disks.patiently(share(2), &paths, || ()),
            None,
            "it is known to be silent"
        );
        assert_eq!(disks.patiently(share(3), &paths, || 7), Some(7));
        disks.ask_all([(share(3), paths.to_vec())]);
        assert!(!disks.is_silent(share(3)));
        // A task that was waited for in vain makes the disk answer again.
        let waits = disks.begin(share(2), move || {
            let _ = std::fs::File::open(opens);
            ended.send(()).unwrap();
        });
        drop(waits.unwrap());
        assert!(disks.is_silent(share(2)));
        drop(std::fs::OpenOptions::new().write(true).open(&pipe).unwrap());
        has_ended.recv().unwrap();
        while disks.is_silent(share(2)) {
            thread::yield_now();
        }
    }
}
