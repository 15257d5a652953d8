//! The work on things that are to arrive: taken up with the first run, woken by what comes, tried again
//! after trouble that may pass.
//!
//! One message is worked on once at a time, [`AT_ONCE`] of all.

use super::{ReceiveService, hook, notify, place};
use crate::mail::{Arrival, MessageRecord, StoredContent};
use hither_content::storage::StorageError;
use hither_util::backoff::Backoff;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Most messages whose files are written, or whose share is fetched, at once.
const AT_ONCE: usize = 4;
/// Pause after an attempt that failed by trouble that may pass; doubles with every further one.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// Longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// The messages that are being worked on.
pub(super) type Busy = HashSet<u64>;

/// The outcome of an attempt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It is there.
    Arrived(Vec<String>),
    /// The user is to be asked, for this reason.
    Asked(String),
    /// The user has to fetch it, for this reason.
    ByHand(String),
    /// Not now, for this reason.
    Later(String),
    /// It is not to arrive (any more).
    Gone,
}

/// The state of messages that something is to be done about.
#[derive(Default)]
struct Work {
    /// Those that are to arrive.
    due: BTreeSet<u64>,
    /// The failures with each, and when it is tried again.
    pauses: BTreeMap<u64, Backoff<Instant>>,
    /// Those that the user is asked about on the desktop.
    asked: HashSet<u64>,
    /// Those that the user's program is being told of.
    told: HashSet<u64>,
    /// The latest message that was looked at.
    seen: u64,
}

/// Works until the daemon ends.
pub(super) async fn run(service: Arc<ReceiveService>) {
    let mut latest = service.mail.inbox.latest();
    let mut moves = service.nearby.swarm.links().moves();
    let mut relays = service.nearby.relays.changes();
    let (sender, mut ended) = mpsc::channel(AT_ONCE);
    let mut work = Work::default();
    let mut news = match service.numbers().await {
        Ok(numbers) => numbers,
        Err(error) => return tracing::error!(%error, "the inbox cannot be read"),
    };
    loop {
        let changed = service.changed.notified();
        for number in news.drain(..) {
            work.seen = work.seen.max(number);
            service.look(&mut work, number).await;
        }
        service.begin(&work, &sender);
        tokio::select! {
            Some((number, outcome)) = ended.recv() => {
                service.settle(&mut work, number, outcome).await;
                news.push(number);
            }
            Ok(()) = latest.changed() => {
                let latest = *latest.borrow_and_update();
                news.extend(work.seen + 1..=latest);
            }
            () = changed => news.extend(service.numbers().await.unwrap_or_default()),
            // Somebody may be there now who has what is missing.
            Ok(()) = moves.changed() => work.pauses.clear(),
            Ok(()) = relays.changed() => work.pauses.clear(),
            () = first_end(&work) => {}
        }
    }
}

/// Returns when the first pause that still lasts is over.
async fn first_end(work: &Work) {
    let now = Instant::now();
    let ends = work.pauses.values().filter_map(Backoff::due);
    match ends.filter(|until| *until > now).min() {
        Some(until) => tokio::time::sleep_until(until.into()).await,
        None => pending().await,
    }
}

impl ReceiveService {
    /// The numbers of all messages that are kept.
    async fn numbers(self: &Arc<Self>) -> Result<Vec<u64>, StorageError> {
        let of = Arc::clone(self);
        match tokio::task::spawn_blocking(move || of.mail.inbox.numbers()).await {
            Ok(numbers) => numbers,
            Err(_) => Ok(Vec::new()), // the program ends
        }
    }

    /// One message.
    pub(super) async fn record(
        self: &Arc<Self>,
        number: u64,
    ) -> Result<Option<MessageRecord>, StorageError> {
        let of = Arc::clone(self);
        match tokio::task::spawn_blocking(move || of.mail.inbox.get(number)).await {
            Ok(record) => record,
            Err(_) => Ok(None), // the program ends
        }
    }

    /// Notes, durably, how a message stands that is under way; false: it is not (any more).
    pub(super) async fn set(
        self: &Arc<Self>,
        number: u64,
        arrival: Arrival,
    ) -> Result<bool, StorageError> {
        let of = Arc::clone(self);
        let work = move || {
            let untold = matches!(arrival, Arrival::Arrived { .. });
            let untold = untold && !of.settings.get().hook.is_empty();
            let mut is_ours = false;
            of.mail.inbox.change(number, |record| {
                is_ours = record.arrival.as_ref().is_some_and(Arrival::is_under_way);
                let changes = is_ours && record.arrival.as_ref() != Some(&arrival);
                if is_ours {
                    record.untold |= untold;
                    record.arrival = Some(arrival);
                }
                changes
            })?;
            Ok(is_ours)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(set) => set,
            Err(_) => Ok(false), // the program ends
        }
    }

    /// Finds out what is to be done about a message.
    async fn look(self: &Arc<Self>, work: &mut Work, number: u64) {
        let record = match self.record(number).await {
            Ok(record) => record,
            Err(error) => return tracing::error!(%error, "a message cannot be read"),
        };
        let arrival = record.as_ref().and_then(|one| one.arrival.as_ref());
        if arrival.is_some_and(Arrival::is_under_way) {
            work.due.insert(number);
        } else {
            work.due.remove(&number);
            work.pauses.remove(&number);
        }
        let Some(record) = record else {
            return;
        };
        if record.has_fetched_visit() {
            let of = Arc::clone(self);
            let told = tokio::task::spawn_blocking(move || of.mail.fetched_visit(number)).await;
            if let Ok(Err(error)) = told {
                tracing::error!(%error, "that something of a visitor is here cannot be kept");
            }
        }
        let asks = matches!(record.arrival, Some(Arrival::Asked { .. }));
        if asks && self.settings.get().notify && work.asked.insert(number) {
            let (of, record) = (Arc::clone(self), record.clone());
            self.tasks
                .spawn(async move { notify::present(of, number, record).await });
        }
        if record.untold && work.told.insert(number) {
            let of = Arc::clone(self);
            self.tasks
                .spawn(async move { hook::tell(of, number, record).await });
        }
    }

    /// Begins what is due, as much as may be under way.
    fn begin(self: &Arc<Self>, work: &Work, ended: &mpsc::Sender<(u64, Ended)>) {
        let now = Instant::now();
        for number in &work.due {
            let paused = work.pauses.get(number).is_some_and(|one| !one.is_due(now));
            let busy = self.busy.borrow();
            if busy.len() >= AT_ONCE {
                return;
            }
            if paused || busy.contains(number) {
                continue;
            }
            drop(busy);
            let (of, number, ended) = (Arc::clone(self), *number, ended.clone());
            self.busy.send_modify(|busy| busy.extend([number]));
            self.tasks.spawn(async move {
                let place = Place(Arc::clone(&of), number);
                let outcome = of.attempt(number).await;
                drop(place);
                // Fails only when the program ends.
                let _ = ended.send((number, outcome)).await;
            });
        }
    }

    async fn attempt(self: &Arc<Self>, number: u64) -> Ended {
        let record = match self.record(number).await {
            Ok(Some(record)) => record,
            Ok(None) => return Ended::Gone,
            Err(error) => return Ended::Later(error.to_string()),
        };
        let ended = match &record.content {
            StoredContent::Files { .. } => {
                let (of, record) = (Arc::clone(self), record.clone());
                let work = move || {
                    let ended = place::place(&of.mail, number, &record, &of.folder());
                    if ended == Ended::Gone {
                        place::clear(&record, &of.folder());
                    }
                    ended
                };
                let placed = tokio::task::spawn_blocking(work).await;
                placed.unwrap_or_else(|error| Ended::Later(error.to_string()))
            }
            StoredContent::Ticket { share } => self.fetch(number, &record, share).await,
            StoredContent::Text { .. } | StoredContent::Unknown => Ended::Gone,
        };
        match ended {
            // Before the place is given back: what the user says next finds it as it is.
            Ended::Arrived(paths) => {
                let arrived = Arrival::Arrived {
                    paths: paths.clone(),
                };
                match self.set(number, arrived).await {
                    Ok(true) => Ended::Arrived(paths),
                    Ok(false) => Ended::Gone,
                    Err(error) => Ended::Later(error.to_string()),
                }
            }
            ended => ended,
        }
    }

    /// Writes down how an attempt ended.
    async fn settle(self: &Arc<Self>, work: &mut Work, number: u64, ended: Ended) {
        let (next, words) = match ended {
            Ended::Arrived(paths) => {
                tracing::info!(number, files = paths.len(), "something arrived");
                return;
            }
            Ended::Gone => return,
            Ended::Later(why) => {
                tracing::info!(number, why, "what is to arrive is put off");
                let pause = work.pauses.entry(number);
                let pause = pause.or_insert_with(|| Backoff::new(FIRST_PAUSE, LONGEST_PAUSE));
                return pause.failed_at_least(Instant::now(), FIRST_PAUSE);
            }
            Ended::Asked(why) => {
                let reason = Some(why.clone());
                (Arrival::Asked { reason }, why)
            }
            Ended::ByHand(why) => {
                let reason = Some(why.clone());
                (Arrival::ByHand { reason }, why)
            }
        };
        tracing::info!(number, why = words, "it does not arrive by itself");
        if let Err(error) = self.set(number, next).await {
            tracing::error!(%error, "how a message stands cannot be kept");
        }
    }
}

/// Takes a message out of those that are being worked on.
struct Place(Arc<ReceiveService>, u64);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.busy.send_modify(|busy| {
            busy.remove(&self.1);
        });
    }
}
