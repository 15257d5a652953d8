//! The one writer: takes what callers ask for in groups and commits each group once.
//!
//! While one commit is on its way to the disk, what callers ask for gathers; the next commit
//! carries all of it. A single caller waits for one commit, many callers share one.

use super::Shared;
use super::commit_batch::Group;
use super::op::{Done, Op, Request};
use super::overlay::Overlay;
use super::rows;
use crate::state::StateError;
use hither_content::storage::{Storage, StorageError};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Most operations of one group.
pub(super) const GROUP_OPS: usize = 1024;
/// Bytes after which a group takes no further operation. One operation adds at most some 30 MiB (an
/// acknowledgement of a full queue), so that a batch of the storage (64 MiB) never overflows.
const GROUP_BYTES: usize = 8 * 1024 * 1024;
/// Pause between two sweeps of what has expired: items do not expire one commit each.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);
/// First and longest pause after a commit that failed; it doubles.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Why nothing is written for a while.
struct Rest {
    error: StateError,
    until: Instant,
    pause: Duration,
}

/// An operation of a group, with what it would answer once the group is committed.
struct Evaluated {
    request: Request,
    result: Result<Done, StateError>,
    /// Whether the commit is needed for that.
    writes: bool,
}

/// The writer's own state, passed to a blocking thread and back with every group.
pub(super) struct Writer {
    shared: Arc<Shared>,
    rest: Option<Rest>,
    /// The storage may have failed: look before anything else.
    doubt: bool,
    next_expiry: Option<u64>,
    last_sweep: Option<Instant>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        // A sweep soon after the start finds out what expires when.
        Self {
            shared,
            rest: None,
            doubt: false,
            next_expiry: Some(0),
            last_sweep: None,
        }
    }

    /// Writes until `stop`, and what was asked for before it.
    pub(super) async fn run(
        mut self,
        mut requests: mpsc::Receiver<Request>,
        stop: CancellationToken,
    ) {
        let shared = Arc::clone(&self.shared);
        let mut stopping = false;
        loop {
            let mut group = Vec::new();
            tokio::select! {
                count = requests.recv_many(&mut group, GROUP_OPS) => if count == 0 { break },
                () = wait_until(self.next_wake()) => {}
                () = shared.disk.trouble.notified() => self.doubt = true,
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    requests.close();
                    continue;
                }
            }
            gather(&mut requests, &mut group).await;
            let work = tokio::task::spawn_blocking(move || {
                self.groups(group);
                self
            });
            match work.await {
                Ok(writer) => self = writer,
                Err(error) => {
                    tracing::error!(%error, "the writer of the state failed");
                    break;
                }
            }
        }
        shared.hub.close();
    }

    /// When there is something to do that nobody asks for.
    fn next_wake(&self) -> Option<Instant> {
        let now = Instant::now();
        let sweep = self.next_expiry.map(|expires| {
            let expired = now + Duration::from_millis(expires.saturating_sub(super::now_ms()));
            self.last_sweep
                .map_or(expired, |last| expired.max(last + SWEEP_PAUSE))
        });
        let heal = self
            .doubt
            .then(|| self.rest.as_ref().map_or(now, |rest| rest.until));
        [sweep, heal, self.shared.sessions.next_end()]
            .into_iter()
            .flatten()
            .min()
    }

    fn groups(&mut self, requests: Vec<Request>) {
        self.heal();
        let mut queue = VecDeque::with_capacity(requests.len() + 1);
        let silent = self.shared.sessions.take_silent().into_iter();
        queue.extend(silent.map(|session| Request::own(Op::CloseSession { session })));
        let due = self
            .next_expiry
            .is_some_and(|expires| expires <= super::now_ms());
        if due
            && self
                .last_sweep
                .is_none_or(|last| last.elapsed() >= SWEEP_PAUSE)
        {
            self.last_sweep = Some(Instant::now());
            queue.push_back(Request::own(Op::Sweep));
        }
        queue.extend(requests);
        while !queue.is_empty() {
            self.group(&mut queue);
        }
    }

    /// Makes one group of what is first in the queue.
    fn group(&mut self, queue: &mut VecDeque<Request>) {
        let shared = Arc::clone(&self.shared);
        let mut evaluated = Vec::new();
        let outcome = shared.disk.with(|storage| {
            let mut group = Group::new(storage, &shared, shared.disk.is_tight(), super::now_ms());
            while group.overlay.bytes() < GROUP_BYTES
                && let Some(request) = queue.pop_front()
            {
                let before = group.overlay.bytes();
                let result = group.evaluate(&request.op);
                let writes = group.overlay.bytes() > before;
                group
                    .next
                    .drain(..)
                    .for_each(|op| queue.push_front(Request::own(op)));
                evaluated.push(Evaluated {
                    request,
                    result,
                    writes,
                });
            }
            match self.commit(storage, &group.overlay) {
                Ok(()) => {
                    self.settle(group);
                    Ok(())
                }
                Err((error, tried)) => {
                    group
                        .changes
                        .retain(|change| group.overlay.touches(rows::KEYS, &change.row));
                    Err((error, tried.map(|tried| (tried, group.changes))))
                }
            }
        });
        match outcome {
            Ok(()) => evaluated
                .into_iter()
                .for_each(|one| one.request.answer(one.result)),
            Err((error, tried)) => {
                if let Some((cause, changes)) = tried {
                    // The storage says no more than that the batch was applied whole or not at all.
                    shared.hub.unsure(&changes);
                    self.failed(&error, &cause);
                }
                self.one_by_one(evaluated, &error);
            }
        }
    }

    /// Commits a group's changes. The error comes with its cause if the storage was tried.
    fn commit(
        &mut self,
        storage: &dyn Storage,
        overlay: &Overlay,
    ) -> Result<(), (StateError, Option<StorageError>)> {
        if overlay.is_empty() {
            return Ok(());
        }
        if let Some(rest) = self
            .rest
            .as_ref()
            .filter(|rest| Instant::now() < rest.until)
        {
            return Err((rest.error.clone(), None));
        }
        storage
            .commit(overlay.batch())
            .map_err(|cause| (StateError::from(&cause), Some(cause)))?;
        if self.rest.take().is_some() {
            tracing::info!("the state can be written again");
        }
        Ok(())
    }

    /// Lets everybody see what a group changed.
    fn settle(&mut self, group: Group<'_>) {
        self.shared.sessions.apply(group.held);
        self.shared.hub.tell(&group.changes);
        if let Some(next) = group.swept_to {
            self.next_expiry = next;
        }
        self.shared.expired.add(group.swept);
        self.next_expiry = self
            .next_expiry
            .into_iter()
            .chain(group.appended_expiry)
            .min();
    }

    /// Takes the consequences of a commit that failed.
    fn failed(&mut self, error: &StateError, cause: &StorageError) {
        tracing::error!(error = %cause, "the state could not be written");
        self.pause(error.clone());
        if !matches!(cause, StorageError::TooLarge { .. }) {
            self.doubt = true;
            self.reopen();
        }
    }

    /// Answers the operations of a group that was not committed: those that wrote with the error,
    /// the others as if they had come alone.
    fn one_by_one(&mut self, evaluated: Vec<Evaluated>, error: &StateError) {
        let shared = Arc::clone(&self.shared);
        for Evaluated {
            request,
            result,
            writes,
        } in evaluated
        {
            if writes {
                // Also if it can be read now: that it failed to become durable is all that is
                // known.
                request.answer(Err(error.clone()));
                continue;
            }
            // These two have had their effect outside of the group already.
            if matches!(request.op, Op::Watch { .. } | Op::OpenSession { .. }) {
                request.answer(result);
                continue;
            }
            let result = shared.disk.with(|storage| {
                let mut group = Group::new(storage, &shared, true, super::now_ms());
                let result = group.evaluate(&request.op);
                if !group.overlay.is_empty() || matches!(result, Err(StateError::NoSpace)) {
                    return Err(error.clone());
                }
                self.settle(group);
                result
            });
            request.answer(result);
        }
    }

    /// Looks whether the storage answers if there is doubt, and opens it anew if not.
    fn heal(&mut self) {
        if !self.doubt
            || self
                .rest
                .as_ref()
                .is_some_and(|rest| Instant::now() < rest.until)
        {
            return;
        }
        match self
            .shared
            .disk
            .with(|storage| storage.get(rows::META, rows::EPOCH))
        {
            Ok(_) => self.doubt = false,
            Err(_) => self.reopen(),
        }
    }

    fn reopen(&mut self) {
        let reopened = self.shared.disk.reopen();
        match reopened.and_then(|()| {
            self.shared
                .disk
                .with(|storage| self.shared.keep_epoch(storage))
        }) {
            Ok(()) => self.doubt = false,
            Err(error) => {
                tracing::error!(%error, "the state could not be opened again");
                self.pause(StateError::from(&error));
            }
        }
    }

    fn pause(&mut self, error: StateError) {
        let pause = self
            .rest
            .as_ref()
            .map_or(PAUSES.0, |rest| (rest.pause * 2).min(PAUSES.1));
        self.rest = Some(Rest {
            error,
            until: Instant::now() + pause,
            pause,
        });
    }
}

async fn wait_until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}

/// Takes along what callers are about to ask for: those whom the last group answered run now,
/// before the next group.
async fn gather(requests: &mut mpsc::Receiver<Request>, group: &mut Vec<Request>) {
    while group.len() < GROUP_OPS {
        tokio::task::yield_now().await;
        let before = group.len();
        while group.len() < GROUP_OPS
            && let Ok(request) = requests.try_recv()
        {
            group.push(request);
        }
        if group.len() == before {
            return;
        }
    }
}
