//! How the files of each share stand: whether they are still what was shared, and what to say when
//! they are not.
//!
//! A look asks the file system about every file and reads those that look different; it is taken
//! when somebody asks, when something could not be served, and now and then. Invariants: nothing is
//! withdrawn before its content was compared; what can be given again is announced again; a look
//! never takes more than a small part of the time.

use crate::library::Library;
use crate::publish;
use crate::records::ShareRecord;
use hither_api::ShareState;
use hither_content::{Affected, Findings, Holding, RootError, check_mounts, check_roots};
use hither_proto::{ShareId, display_name};
use hither_swarm::{Share, Version};
use hither_util::sync::Mutex;
use roaring::RoaringBitmap;
use std::collections::HashMap;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

/// Bytes that are read while somebody waits for the answer; the rest is compared later.
const AT_ONCE: u64 = 256 << 20;
/// Pause between two looks at everything, at least; and so many times as long as the last one took.
const PAUSE: Duration = Duration::from_secs(15);
const PAUSE_TIMES: u32 = 50;
/// Files that nobody requested are closed after this time, so that disks can be unmounted.
const CLOSE: Duration = Duration::from_secs(5);
/// Pause before what could not be served is looked at: more may follow.
const GATHER: Duration = Duration::from_millis(100);

/// Words for a path whose disk does not answer.
pub(crate) const SILENT: &str = "the disk does not answer. It goes on by itself when it does.";

/// The known condition of one share's files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Condition {
    pub state: ShareState,
    /// The problem, in a sentence or two; `None` when there is none.
    pub words: Option<String>,
}

/// The known condition of all shares' files.
#[derive(Default)]
pub(crate) struct Health {
    known: Mutex<HashMap<ShareId, Condition>>,
}

impl Health {
    fn lock(&self) -> MutexGuard<'_, HashMap<ShareId, Condition>> {
        self.known.lock()
    }

    /// How a share's files stood when they were looked at last.
    pub(crate) fn of(&self, share: ShareId) -> Condition {
        self.lock().get(&share).cloned().unwrap_or_default()
    }

    /// A share ended.
    pub(crate) fn forget(&self, share: ShareId) {
        self.lock().remove(&share);
    }

    fn set(&self, share: ShareId, name: &str, now: Condition) {
        let before = self.lock().insert(share, now.clone()).unwrap_or_default();
        match &now.words {
            Some(words) if before.words.as_ref() != Some(words) => {
                tracing::warn!(
                    ?share,
                    name,
                    words,
                    "the files of a share are not what they were"
                );
            }
            None if before.words.is_some() => {
                tracing::info!(?share, name, "a share is whole again")
            }
            _ => {}
        }
    }
}

impl Library {
    /// Looks at the files of a version while somebody waits; returns how many chunks can be given.
    pub(crate) fn recheck(self: &Arc<Self>, share: &Arc<Share>, version: &Arc<Version>) -> u64 {
        self.look_at(share, version, AT_ONCE)
    }

    /// Looks at the files of a version, and says what of it can be given: nothing while their disk
    /// does not answer.
    fn look_at(self: &Arc<Self>, share: &Arc<Share>, version: &Arc<Version>, budget: u64) -> u64 {
        let record = self.share_record(share.id);
        let paths = record.as_ref().map(ShareRecord::paths).unwrap_or_default();
        let (library, of, at) = (Arc::clone(self), Arc::clone(share), Arc::clone(version));
        if let Some(held) = self
            .disks
            .patiently(share.id, &paths, move || library.look_now(&of, &at, budget))
        {
            return held;
        }
        let chunks = version.head.head().chunks;
        // A share that is being fetched is not taken back: nobody gets it meanwhile, and the fetch
        // goes on when the disk does.
        if !self.swarm.core().routes.is_fetched(share.id) {
            self.swarm.core().with(|engine, now| {
                if share
                    .current()
                    .is_some_and(|current| current.number() == version.number())
                {
                    engine.withdraw(share.id, &RoaringBitmap::from_iter(0..chunks), now);
                }
            });
        }
        if let Some(record) = record {
            self.health.set(share.id, &record.name, silent(&record));
        }
        0
    }

    /// Looks at the files of a version, however long that takes.
    fn look_now(&self, share: &Share, version: &Version, budget: u64) -> u64 {
        let holding = version.holding();
        let findings = holding.examine(budget, &self.ending);
        if findings.more && !self.is_ending() {
            self.swarm.unreadable().mark(share.id);
        }
        let chunks = version.head.head().chunks;
        let lost = lost(&findings);
        // A share that is being fetched grows by itself.
        let whole = !holding.stamps().as_slice().is_empty()
            && !self.swarm.core().routes.is_fetched(share.id);
        let held = self.swarm.core().with(|engine, now| {
            // A newer version becomes current before the engine holds it: what was seen is not said
            // of that one.
            if share
                .current()
                .is_some_and(|current| current.number() == version.number())
            {
                engine.withdraw(share.id, &lost, now);
                if whole && engine.held(share.id).is_some() {
                    engine.durable(
                        share.id,
                        &(RoaringBitmap::from_iter(0..chunks) - &lost),
                        now,
                    );
                }
            }
            engine.held(share.id).map_or(0, RoaringBitmap::len)
        });
        if let Some(record) = self.share_record(share.id) {
            self.keep_stamps(share, version, &holding, &findings);
            self.health.set(
                share.id,
                &record.name,
                condition(self, share, &record, &findings),
            );
        }
        held
    }

    /// Remembers stamps that changed where the content did not, so that it is not read again each
    /// time.
    fn keep_stamps(
        &self,
        share: &Share,
        version: &Version,
        seen: &Arc<Holding>,
        findings: &Findings,
    ) {
        let Some(stamps) = &findings.stamps else {
            return;
        };
        // A publication in progress has newer ones.
        let Some(_turn) = self.publishing.try_lock() else {
            return;
        };
        let current = share
            .current()
            .is_some_and(|current| current.number() == version.number());
        if !current || !Arc::ptr_eq(&version.holding(), seen) {
            return;
        }
        if let Err(error) = self.write_stamps(share.id, version.number(), stamps) {
            tracing::warn!(%error, "stamps of files could not be kept");
            return;
        }
        version.set_holding(seen.with_stamps(&self.handles, stamps.clone()));
    }

    fn look_again(self: &Arc<Self>, share: ShareId) {
        if let Some(share) = self.swarm.shares().get(share)
            && let Some(version) = share.current()
        {
            self.look_at(&share, &version, u64::MAX);
        }
    }
}

/// Returns the message for a share whose disk does not answer.
fn silent(record: &ShareRecord) -> Condition {
    let path = record
        .paths()
        .first()
        .map(|path| display_name(&path.to_string_lossy()))
        .unwrap_or_default();
    Condition {
        state: ShareState::Unreadable,
        words: Some(format!("{path}: {SILENT}")),
    }
}

/// Positions that cannot be given.
pub(crate) fn lost(findings: &Findings) -> RoaringBitmap {
    let mut lost = RoaringBitmap::new();
    for range in &findings.lost {
        lost.insert_range(range.clone());
    }
    lost
}

/// Returns the message for a share.
fn condition(
    library: &Library,
    share: &Share,
    record: &ShareRecord,
    findings: &Findings,
) -> Condition {
    let parts = publish::parts(record);
    let there = check_roots(parts.iter(), &record.roots());
    if let Err((path, error)) = there.and_then(|()| check_mounts(&parts, &record.mounts)) {
        let path = display_name(&path.to_string_lossy());
        let state = match error {
            RootError::Io(_) => ShareState::Unreadable,
            RootError::Gone => ShareState::Gone,
            RootError::Other(_) | RootError::Unmounted(_) => ShareState::Moved,
        };
        let words = format!(
            "{path}: {error}. It goes on by itself when that is back. To share what is there now, share it again."
        );
        return Condition {
            state,
            words: Some(words),
        };
    }
    let mine = share.owner == library.device;
    let (since, then) = match (mine, record.watch.is_some()) {
        (true, false) => ("it was shared", "share it again."),
        (true, true) => ("the last version", "a new one is published by itself."),
        (false, _) => ("it was fetched", "what changed is not given to others."),
    };
    if findings.unreadable.files > 0 {
        let Affected { reason, .. } = &findings.unreadable;
        let words = format!(
            "{} cannot be read: {reason}. It is given again when it can be.",
            subject(&findings.unreadable, record)
        );
        return Condition {
            state: ShareState::Unreadable,
            words: Some(words),
        };
    }
    if findings.changed.files > 0 {
        let words = format!(
            "{} changed since {since}: {then}",
            subject(&findings.changed, record)
        );
        return Condition {
            state: ShareState::Changed,
            words: Some(words),
        };
    }
    if findings.gone.files > 0 {
        let words = match findings.gone.files {
            1 => format!(
                "{} is not there any more: {then}",
                subject(&findings.gone, record)
            ),
            _ => format!(
                "{} are not there any more: {then}",
                subject(&findings.gone, record)
            ),
        };
        return Condition {
            state: ShareState::Gone,
            words: Some(words),
        };
    }
    Condition::default()
}

/// The files that a message names.
fn subject(of: &Affected, record: &ShareRecord) -> String {
    let first = if of.first.is_empty() {
        display_name(&record.file_name)
    } else {
        of.first.clone()
    };
    match of.files.saturating_sub(1) {
        0 => first,
        1 => format!("{first} and another file"),
        more => format!("{first} and {more} other files"),
    }
}

/// Looks at what could not be served, and at everything now and then.
pub(crate) async fn run(library: Arc<Library>) {
    let mut next = Instant::now() + PAUSE;
    loop {
        let tick = (Instant::now() + CLOSE).min(next);
        tokio::select! {
            () = library.swarm.unreadable().marked() => tokio::time::sleep(GATHER).await,
            () = tokio::time::sleep_until(tick.into()) => {}
        }
        library.handles.close_unused(CLOSE);
        let mut wanted = library.swarm.unreadable().take();
        let (all, begun) = (Instant::now() >= next, Instant::now());
        if all {
            wanted.extend(library.share_records().iter().map(|(share, _)| share.id));
            next = begun + PAUSE;
        }
        if wanted.is_empty() {
            continue;
        }
        let of = Arc::clone(&library);
        let looks = move || wanted.into_iter().for_each(|share| of.look_again(share));
        if let Err(error) = tokio::task::spawn_blocking(looks).await {
            tracing::error!(%error, "the files of shares could not be looked at");
        }
        if all {
            next = Instant::now() + PAUSE.max(begun.elapsed().saturating_mul(PAUSE_TIMES));
        }
    }
}
