//! The task of one watched share: waits until changes are over, then publishes a new version.

use super::fs_watcher::{Eyes, Seen};
use crate::health::SILENT;
use crate::publish::Publisher;
use crate::records::ShareRecord;
use crate::{failure, publish};
use hither_api::{ApiError, ErrorCode, ShareRequest};
use hither_content::{FolderId, ImportError, RootError, check_mounts, check_roots, folders_above};
use hither_proto::{ShareId, display_name};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How often is looked although nothing was heard: some file systems tell nothing of what others
/// change.
const LOOK: Duration = Duration::from_secs(600);
/// The same where the system cannot tell of changes.
const LOOK_BLIND: Duration = Duration::from_secs(60);
/// How often is looked whether what is at the paths is still what was shared: an unmounted disk or
/// a folder above that was replaced tells nothing.
const CHECK: Duration = Duration::from_secs(2);
/// How soon is looked again when the path was not there or could not be read.
const LOOK_LOST: Duration = Duration::from_secs(30);

struct Watch {
    publisher: Arc<Publisher>,
    share: ShareId,
    stop: CancellationToken,
    paths: Vec<PathBuf>,
    name: String,
    seen: Arc<Seen>,
    eyes: Option<Eyes>,
    /// The time to look even if no event was reported.
    look: Instant,
    /// The folders above the paths, when they were looked at last.
    above: Option<Vec<FolderId>>,
    /// Set when the shared files are not there.
    lost: bool,
}

/// Runs until the share ends or is not watched any more.
pub(super) async fn run(publisher: Arc<Publisher>, share: ShareId, stop: CancellationToken) {
    let Some(record) = record(&publisher, share) else {
        return publisher.watches.stop(share);
    };
    let (paths, seen, name, look) = (record.paths(), Arc::default(), record.name, Instant::now());
    let mut watch = Watch {
        publisher,
        share,
        stop: stop.clone(),
        paths,
        name,
        seen,
        eyes: None,
        look,
        above: None,
        lost: false,
    };
    // A missing path is watched when it comes back.
    if watch.is_there().await {
        watch.open().await;
    }
    let mut check = Instant::now() + CHECK;
    loop {
        // A change is waited for, however long ago the last look was.
        let due = watch.seen.settle().due().unwrap_or(watch.look);
        let until = if watch.lost { check } else { due.min(check) };
        tokio::select! {
            () = stop.cancelled() => return,
            () = watch.seen.news.notified() => continue,
            () = tokio::time::sleep_until(until.into()) => {}
        }
        // Also before each version: it is not made of something else.
        let there = watch.is_there().await;
        check = Instant::now() + CHECK;
        if !there || (Instant::now() < due && Instant::now() < watch.look) {
            continue;
        }
        if watch.seen.take_moved() {
            watch.open().await;
        }
        if !watch.publish().await {
            return;
        }
    }
}

fn record(publisher: &Publisher, share: ShareId) -> Option<ShareRecord> {
    publisher
        .library
        .share_record(share)
        .filter(|record| record.watch.is_some())
}

impl Watch {
    /// Returns whether what was shared is still at its paths; says so when it is not, and looks at
    /// it when it is back.
    async fn is_there(&mut self) -> bool {
        let Some(record) = record(&self.publisher, self.share) else {
            return true;
        };
        let (disks, share) = (self.publisher.library.disks.clone(), self.share);
        let paths = record.paths();
        let looked = tokio::task::spawn_blocking(move || {
            disks.patiently(share, &paths, move || {
                let parts = publish::parts(&record);
                check_roots(parts.iter(), &record.roots())?;
                check_mounts(&parts, &record.mounts)?;
                Ok(folders_above(parts.iter()))
            })
        });
        let looked: Result<Vec<FolderId>, (PathBuf, RootError)> = match looked.await {
            Ok(Some(looked)) => looked,
            Ok(None) => {
                self.lose(format!("{}: {SILENT}", display_name(&self.name)));
                return false;
            }
            Err(error) => {
                tracing::error!(%error, "a watched share could not be looked at");
                return true;
            }
        };
        match looked {
            Ok(above) => {
                if self.lost || self.above.as_ref().is_some_and(|before| *before != above) {
                    tracing::info!(share = ?self.share, "what is watched is back, or in another folder");
                    self.open().await;
                    self.look = Instant::now();
                }
                (self.lost, self.above) = (false, Some(above));
                true
            }
            Err((path, source)) => {
                let error = failure::import(&ImportError::Moved { path, source });
                self.lose(format!("{} {}", error.message, error.hint));
                false
            }
        }
    }

    /// The shared paths cannot be looked at where they were: nothing is published.
    fn lose(&mut self, words: String) {
        if !std::mem::replace(&mut self.lost, true) {
            tracing::warn!(share = ?self.share, words, "what is watched is not there: nothing is published");
        }
        self.publisher.watches.set_trouble(self.share, Some(words));
    }

    /// Has the system report changes; where it cannot, logs that and looks instead.
    async fn open(&mut self) {
        self.eyes = None;
        let (paths, seen) = (self.paths.clone(), Arc::clone(&self.seen));
        let publisher = Arc::clone(&self.publisher);
        let opened = tokio::task::spawn_blocking(move || {
            Eyes::open(&paths, publisher.library.own.look(), &seen)
        })
        .await;
        match opened {
            Ok(Ok(eyes)) => self.eyes = Some(eyes),
            Ok(Err(error)) if self.seen.becomes_blind() => self.say_blind(&error.to_string()),
            Ok(Err(_)) => {}
            Err(error) => tracing::error!(%error, "a share cannot be watched"),
        }
    }

    fn say_blind(&self, why: &str) {
        self.publisher.library.warnings.add(format!(
            "Changes in \"{}\" are noticed only every {} s: the system cannot watch it ({why}). More watches may be \
             allowed with: sysctl fs.inotify.max_user_watches",
            display_name(&self.name),
            LOOK_BLIND.as_secs()
        ));
    }

    /// Publishes what changed; `false` when there is nothing to watch any more.
    async fn publish(&mut self) -> bool {
        let Some(record) = record(&self.publisher, self.share) else {
            return false;
        };
        let was_blind = self.seen.is_blind();
        self.seen.settle().taken();
        let cancel = Arc::new(AtomicBool::new(false));
        let (publisher, share, flag) =
            (Arc::clone(&self.publisher), self.share, Arc::clone(&cancel));
        let request = request(&record);
        let mut work =
            tokio::task::spawn_blocking(move || publish::renew(&publisher, share, &request, &flag));
        let done = tokio::select! {
            done = &mut work => done,
            () = self.stop.cancelled() => {
                cancel.store(true, Ordering::Relaxed);
                let _ = work.await;
                return false;
            }
        };
        let look = if self.seen.is_blind() {
            LOOK_BLIND
        } else {
            LOOK
        };
        if self.seen.is_blind() && !was_blind {
            self.say_blind("it tells only a part of them");
        }
        self.look = Instant::now() + look;
        match done {
            Ok(Ok(())) => {
                self.seen.settle().succeeded();
                self.publisher.watches.set_trouble(self.share, None);
            }
            Ok(Err(error)) => self.failed(error),
            Err(error) => {
                tracing::error!(%error, "a new version of a watched share could not be made")
            }
        }
        true
    }

    fn failed(&mut self, error: ApiError) {
        tracing::info!(share = ?self.share, code = ?error.code, "a watched share was not published anew");
        match error.code {
            // The program that writes there will be done some time.
            ErrorCode::Changing => self.seen.settle().failed(Instant::now()),
            _ => self.look = self.look.min(Instant::now() + LOOK_LOST),
        }
        self.publisher
            .watches
            .set_trouble(self.share, Some(error.message));
    }
}

/// A request like the one that began the watch.
fn request(record: &ShareRecord) -> ShareRequest {
    ShareRequest {
        paths: record.paths(),
        name: (!record.more.is_empty() || record.name != record.file_name)
            .then(|| record.name.clone()),
        // Its end stays where it is.
        keep_seconds: None,
        no_upload: record.no_upload,
        no_list: record.no_list,
        skip_unsharable: record.watch.is_some_and(|watch| watch.skip_unsharable),
        watch: true,
        // It stays what it is.
        group: None,
        to: Vec::new(),
        offer: false,
        once: record.once,
        piped: record.piped,
        exclude: Some(record.exclude.clone()),
    }
}
