//! The state in this process, on a metadata store: one writer with group commit, readers beside it.
//!
//! - [`Embedded`]: the callers' side; checks names and bounds.
//! - [`writer`]: the one task that changes anything. [`commit_batch`], [`queues`] and [`sessions`] say
//!   what an operation does, [`overlay`] holds what is not committed yet.
//! - [`mod@read`]: reads of what is committed. [`rows`]: how it lies in the storage. [`disk`]: the
//!   storage, opened again when it failed.
//! - [`hub`]: whom to tell.

mod commit_batch;
mod disk;
mod expired;
mod hub;
mod op;
mod overlay;
mod pump;
mod queues;
mod read;
mod rows;
mod sessions;
mod writer;

pub use disk::Opener;

use super::session::check_ttl;
use super::{
    Answer, Appended, Depth, Entry, Expect, Item, MAX_PUBLISH, MAX_VALUE, NewItem, Page, Record,
    Session, State, StateError, Subscription, WATCH_DEPTH, Watch, name,
};
use crate::clock::now_ms;
use bytes::Bytes;
use disk::Disk;
use futures::future::BoxFuture;
use hither_content::storage::{self, Batch, Opened, Storage, StorageError};
use hub::Hub;
use op::{Done, Op, Request};
use sessions::Sessions;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// Operations that wait for the writer; callers beyond wait before they are queued.
const QUEUE: usize = 4096;
/// Reads at a time, each on a blocking thread; readers beyond wait.
const READS: usize = 32;
/// Bits of a number that count within one opening; the others count openings.
const COUNTER_BITS: u32 = 40;
/// Most openings.
const MAX_EPOCH: u64 = (1 << (63 - COUNTER_BITS)) - 1;

/// How an [`Embedded`] state is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// Nothing that grows is taken while fewer bytes than these are free on the disk: what is
    /// there must remain readable and removable, and removing needs space too. Only where the
    /// storage is in a folder, and on Unix.
    pub reserve_bytes: u64,
}

impl Default for Options {
    /// 64 MiB: twice what one group may write.
    fn default() -> Self {
        Self {
            reserve_bytes: 64 * 1024 * 1024,
        }
    }
}

/// What the writer and the readers share.
struct Shared {
    disk: Disk,
    hub: Hub,
    sessions: Sessions,
    reads: Semaphore,
    expired: expired::Expired,
    /// The last number given out: revisions, seqs and sessions. Its upper bits are the number of
    /// this opening, so that numbers grow across restarts although only openings are written
    /// down.
    number: AtomicU64,
}

impl Shared {
    /// The next number. Only the writer asks for it.
    fn next_number(&self) -> u64 {
        self.number.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn last_number(&self) -> u64 {
        self.number.load(Ordering::Relaxed)
    }

    /// Counts this opening, durably.
    fn begin_epoch(&self) -> Result<(), StorageError> {
        self.disk.with(|storage| {
            let stored = storage.get(rows::META, rows::EPOCH)?;
            let epoch = match stored {
                Some(row) => {
                    rows::number(&row).map_err(|error| StorageError::Damaged(error.to_string()))?
                        + 1
                }
                None => 1,
            };
            if epoch > MAX_EPOCH {
                return Err(StorageError::Engine(
                    "the state was opened too often".into(),
                ));
            }
            self.number.store(epoch << COUNTER_BITS, Ordering::Relaxed);
            write_epoch(storage, epoch)
        })
    }

    /// Writes the number of this opening down again where it is missing: a storage that was damaged
    /// begins empty.
    fn keep_epoch(&self, storage: &dyn Storage) -> Result<(), StorageError> {
        let epoch = self.last_number() >> COUNTER_BITS;
        match storage.get(rows::META, rows::EPOCH)? {
            Some(row) if row == epoch.to_be_bytes() => Ok(()),
            _ => write_epoch(storage, epoch),
        }
    }
}

fn write_epoch(storage: &dyn Storage, epoch: u64) -> Result<(), StorageError> {
    let mut batch = Batch::new();
    batch.put(rows::META, rows::EPOCH, &epoch.to_be_bytes());
    storage.commit(batch)
}

/// A [`State`] on a [`Storage`] that this process has for itself. It stops when dropped;
/// [`Self::close`] also waits for that.
pub struct Embedded {
    shared: Arc<Shared>,
    requests: mpsc::Sender<Request>,
    tasks: TaskTracker,
    stop: CancellationToken,
    _stop_on_drop: DropGuard,
}

impl Embedded {
    /// Opens the state in a folder, creating it when missing, and says how that went. Blocks on the
    /// disk; must be called within a tokio runtime.
    ///
    /// A damaged store is moved aside and a fresh one begun, also when that is noticed later (see
    /// [`storage::open()`]).
    pub fn open(folder: &Path, options: &Options) -> Result<(Self, Opened), StorageError> {
        let folder: PathBuf = folder.to_owned();
        let (first, opened) = storage::open(&folder, storage::DEFAULT_ENGINE)?;
        let first = hither_util::sync::Mutex::new(Some(first));
        let reserve = Some((folder.clone(), options.reserve_bytes));
        let opener = move || {
            let first = first.lock().take();
            if let Some(first) = first {
                return Ok(first);
            }
            let (storage, opened) = storage::open(&folder, storage::DEFAULT_ENGINE)?;
            tracing::warn!(?opened, "the state was opened again");
            Ok(storage)
        };
        Ok((Self::start_with(Box::new(opener), reserve)?, opened))
    }

    /// Begins the state on any storage. Blocks on the disk; must be called within a tokio runtime.
    pub fn start(open: Opener) -> Result<Self, StorageError> {
        Self::start_with(open, None)
    }

    /// The same for a storage in a folder, on whose disk some bytes are kept free.
    pub fn start_in(open: Opener, folder: &Path, options: &Options) -> Result<Self, StorageError> {
        Self::start_with(open, Some((folder.to_owned(), options.reserve_bytes)))
    }

    fn start_with(open: Opener, reserve: Option<(PathBuf, u64)>) -> Result<Self, StorageError> {
        let shared = Arc::new(Shared {
            disk: Disk::open(open, reserve)?,
            hub: Hub::default(),
            sessions: Sessions::default(),
            reads: Semaphore::new(READS),
            expired: expired::Expired::default(),
            number: AtomicU64::new(0),
        });
        shared.begin_epoch()?;
        let (requests, queue) = mpsc::channel(QUEUE);
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        tasks.spawn(writer::Writer::new(Arc::clone(&shared)).run(queue, stop.clone()));
        let _stop_on_drop = stop.clone().drop_guard();
        Ok(Self {
            shared,
            requests,
            tasks,
            stop,
            _stop_on_drop,
        })
    }

    /// Has `report` told how many items have expired and were removed since it was told last. The
    /// first call counts.
    pub fn report_expired(&self, report: impl Fn(u64) + Send + Sync + 'static) {
        self.shared.expired.report_to(Box::new(report));
    }

    /// Makes what was asked for before, then ends: everything asked later is answered with
    /// [`StateError::Closed`], or an error of the storage. The storage is closed when this
    /// returns.
    pub async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        // Reads under way hold the storage; they end by themselves.
        self.shared.reads.close();
        let shared = Arc::clone(&self.shared);
        // An error means that the runtime is going down, and the storage with it.
        let _ = tokio::task::spawn_blocking(move || shared.disk.close()).await;
    }

    async fn ask(&self, op: Op) -> Result<Done, StateError> {
        self.queue(op)
            .await?
            .await
            .map_err(|_| StateError::Closed)?
    }

    /// Queues an operation for the writer; the answer comes later.
    async fn queue(
        &self,
        op: Op,
    ) -> Result<oneshot::Receiver<Result<Done, StateError>>, StateError> {
        let (answer, answered) = oneshot::channel();
        let request = Request {
            op,
            answer: Some(answer),
        };
        self.requests
            .send(request)
            .await
            .map_err(|_| StateError::Closed)?;
        Ok(answered)
    }
}

/// Reads on a blocking thread.
async fn read<T: Send + 'static>(
    shared: &Arc<Shared>,
    work: impl FnOnce(&Shared) -> Result<T, StateError> + Send + 'static,
) -> Result<T, StateError> {
    let _permit = shared
        .reads
        .acquire()
        .await
        .map_err(|_| StateError::Closed)?;
    let reader = Arc::clone(shared);
    let read = tokio::task::spawn_blocking(move || work(&reader)).await;
    let read = read.unwrap_or_else(|error| Err(StateError::Storage(error.to_string())));
    if matches!(
        read,
        Err(StateError::Storage(_) | StateError::NoSpace | StateError::ReadOnly)
    ) {
        shared.disk.trouble.notify_one();
    }
    read
}

/// An answer of the writer that does not fit the question.
fn unexpected() -> StateError {
    StateError::Storage("the writer answered something else".into())
}

macro_rules! expect {
    ($done:expr, $variant:ident) => {
        match $done {
            Done::$variant(value) => Ok(value),
            _ => Err(unexpected()),
        }
    };
}

fn appended(done: Done) -> Result<Appended, StateError> {
    expect!(done, Appended)
}

fn row(bucket: &str, key: &str) -> Result<Vec<u8>, StateError> {
    name::bucket(bucket)?;
    name::key(key)?;
    Ok(rows::key(bucket, key))
}

fn prefix_row(bucket: &str, prefix: &str) -> Result<Vec<u8>, StateError> {
    name::bucket(bucket)?;
    name::prefix(prefix)?;
    Ok(rows::key(bucket, prefix))
}

fn queue_row(queue: &str) -> Result<Vec<u8>, StateError> {
    name::queue(queue)?;
    Ok(rows::named(queue))
}

fn record((row, entry): (Vec<u8>, Entry)) -> Result<Record, StateError> {
    Ok(Record {
        key: rows::key_of(&row).ok_or_else(rows::damaged)?.to_owned(),
        entry,
    })
}

impl State for Embedded {
    fn get<'a>(&'a self, bucket: &'a str, key: &'a str) -> Answer<'a, Option<Entry>> {
        Box::pin(async move {
            let row = row(bucket, key)?;
            read(&self.shared, move |shared| shared.get(&row)).await
        })
    }

    fn put<'a>(
        &'a self,
        bucket: &'a str,
        key: &'a str,
        value: Bytes,
        expect: Expect,
    ) -> Answer<'a, u64> {
        Box::pin(async move {
            let row = row(bucket, key)?;
            StateError::within("a value", value.len(), MAX_VALUE)?;
            expect!(self.ask(Op::Put { row, value, expect }).await?, Revision)
        })
    }

    fn delete<'a>(&'a self, bucket: &'a str, key: &'a str, expect: Expect) -> Answer<'a, bool> {
        Box::pin(async move {
            let row = row(bucket, key)?;
            expect!(self.ask(Op::Delete { row, expect }).await?, Existed)
        })
    }

    fn list<'a>(
        &'a self,
        bucket: &'a str,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> Answer<'a, Page> {
        Box::pin(async move {
            let prefix = prefix_row(bucket, prefix)?;
            let after = after.map(|after| row(bucket, after)).transpose()?;
            let list = move |shared: &Shared| shared.list(&prefix, after.as_deref(), limit);
            let (found, more) = read(&self.shared, list).await?;
            Ok(Page {
                records: found.into_iter().map(record).collect::<Result<_, _>>()?,
                more,
            })
        })
    }

    fn watch<'a>(&'a self, bucket: &'a str, prefix: &'a str) -> Answer<'a, Watch> {
        Box::pin(async move {
            let prefix = prefix_row(bucket, prefix)?;
            let (live, changes) = mpsc::channel(WATCH_DEPTH);
            let op = Op::Watch {
                prefix: prefix.clone(),
                live,
            };
            let start = expect!(self.ask(op).await?, Watching)?;
            let (events, watch) = mpsc::channel(pump::AHEAD);
            let shared = Arc::clone(&self.shared);
            let pump = pump::Pump {
                shared,
                prefix,
                start,
                changes,
                events,
            };
            self.tasks.spawn(pump.run(self.stop.clone()));
            Ok(Watch::new(watch, None))
        })
    }

    fn open_session<'a>(&'a self, node: &'a str, ttl: Duration) -> Answer<'a, Session> {
        Box::pin(async move {
            name::node(node)?;
            check_ttl(ttl)?;
            expect!(
                self.ask(Op::OpenSession {
                    node: node.to_owned(),
                    ttl
                })
                .await?,
                Session
            )
        })
    }

    fn touch_session(&self, session: Session) -> Answer<'_, ()> {
        Box::pin(async move {
            if self.stop.is_cancelled() {
                return Err(StateError::Closed);
            }
            self.shared.sessions.touch(session)
        })
    }

    fn close_session(&self, session: Session) -> Answer<'_, ()> {
        Box::pin(async move { self.ask(Op::CloseSession { session }).await.map(drop) })
    }

    fn put_ephemeral<'a>(
        &'a self,
        session: Session,
        bucket: &'a str,
        key: &'a str,
        value: Bytes,
        expect: Expect,
    ) -> Answer<'a, u64> {
        Box::pin(async move {
            let row = row(bucket, key)?;
            StateError::within("a value", value.len(), MAX_VALUE)?;
            expect!(
                self.ask(Op::PutEphemeral {
                    session,
                    row,
                    value,
                    expect
                })
                .await?,
                Revision
            )
        })
    }

    fn append_all<'a>(
        &'a self,
        queue: &'a str,
        items: Vec<NewItem>,
    ) -> BoxFuture<'a, Vec<Result<Appended, StateError>>> {
        // The writer takes requests in the order in which they are queued, so there is no need to
        // wait for each.
        Box::pin(async move {
            let mut waiting = Vec::with_capacity(items.len());
            for item in items {
                let queued = match queue_row(queue).and_then(|queue| item.check().map(|()| queue)) {
                    Ok(queue) => self.queue(Op::Append { queue, item }).await,
                    Err(error) => Err(error),
                };
                waiting.push(queued);
            }
            let mut answers = Vec::with_capacity(waiting.len());
            for queued in waiting {
                answers.push(match queued {
                    Ok(answered) => answered
                        .await
                        .unwrap_or(Err(StateError::Closed))
                        .and_then(appended),
                    Err(error) => Err(error),
                });
            }
            answers
        })
    }

    fn append<'a>(&'a self, queue: &'a str, item: NewItem) -> Answer<'a, Appended> {
        Box::pin(async move {
            let queue = queue_row(queue)?;
            item.check()?;
            expect!(self.ask(Op::Append { queue, item }).await?, Appended)
        })
    }

    fn read<'a>(
        &'a self,
        queue: &'a str,
        after_seq: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Answer<'a, Vec<Item>> {
        Box::pin(async move {
            let queue = queue_row(queue)?;
            read(&self.shared, move |shared| {
                shared.read(&queue, after_seq, limit, max_bytes, now_ms())
            })
            .await
        })
    }

    fn ack<'a>(&'a self, queue: &'a str, up_to_seq: u64) -> Answer<'a, u64> {
        Box::pin(async move {
            let queue = queue_row(queue)?;
            expect!(
                self.ask(Op::Ack {
                    queue,
                    up_to: up_to_seq
                })
                .await?,
                Count
            )
        })
    }

    fn depth<'a>(&'a self, queue: &'a str) -> Answer<'a, Depth> {
        Box::pin(async move {
            let queue = queue_row(queue)?;
            read(&self.shared, move |shared| shared.depth(&queue)).await
        })
    }

    fn publish<'a>(&'a self, subject: &'a str, value: Bytes) -> Answer<'a, ()> {
        Box::pin(async move {
            name::subject(subject)?;
            StateError::within("a published value", value.len(), MAX_PUBLISH)?;
            self.shared.hub.publish(subject, &value)
        })
    }

    fn subscribe<'a>(&'a self, subject: &'a str) -> Answer<'a, Subscription> {
        Box::pin(async move {
            name::subject(subject)?;
            self.shared.hub.subscribe(subject)
        })
    }
}
