//! The one thread that changes the index: it takes jobs in order and commits as many together as
//! have come.

use super::error::StoreError;
use super::index::Index;
use super::ledger::Ledger;
use hither_content::storage::StorageError;
use hither_util::sync::Mutex;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// Jobs that wait at most; who has more waits for them.
const MAX_WAITING: usize = 256;
/// Jobs committed together at most.
const MAX_GROUP: usize = 256;
/// A group is committed when it has so many bytes of changes.
const GROUP_BYTES: usize = 4 << 20;

/// Called with how the commit went.
type Done = Box<dyn FnOnce(Result<(), Arc<StoreError>>) + Send>;
type Job = Box<dyn FnOnce(&mut Ledger<'_>) -> (Result<(), StorageError>, Done) + Send>;

/// The way to the writer. Ends its thread when it is dropped.
pub(super) struct Writer {
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    pub(super) fn start(index: Arc<Index>) -> Result<Self, StoreError> {
        let (jobs, queue) = mpsc::channel(MAX_WAITING);
        let thread = std::thread::Builder::new()
            .name("store-index".into())
            .spawn(move || work(&index, queue))
            .map_err(|error| StoreError::io("starting the index writer", error))?;
        Ok(Self {
            jobs: Mutex::new(Some(jobs)),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Runs `job`; what it returns is known, and its changes durable, when this returns.
    ///
    /// After an error the changes may or may not be there. A caller that goes away does not undo
    /// its job.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Ledger<'_>) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, Arc<StoreError>> {
        let (reply, answer) = oneshot::channel::<Result<T, Arc<StoreError>>>();
        let job: Job = Box::new(move |ledger| {
            let (value, result) = match job(ledger) {
                Ok(value) => (Some(value), Ok(())),
                Err(error) => (None, Err(error)),
            };
            let done: Done = Box::new(move |outcome| {
                let outcome =
                    outcome.and_then(|()| value.ok_or_else(|| Arc::new(StoreError::Closed)));
                // Nobody waits any more: fine.
                let _ = reply.send(outcome);
            });
            (result, done)
        });
        let jobs = self.jobs.lock().clone();
        let closed = || Arc::new(StoreError::Closed);
        jobs.ok_or_else(closed)?
            .send(job)
            .await
            .map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Takes no more jobs, and returns when those that wait are done. Blocks.
    pub(super) fn stop(&self) {
        self.jobs.lock().take();
        let thread = self.thread.lock().take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the index writer panicked");
        }
    }
}

fn work(index: &Index, mut queue: mpsc::Receiver<Job>) {
    while let Some(first) = queue.blocking_recv() {
        let mut ledger = Ledger::new(index);
        let mut done = Vec::new();
        let mut result = Ok(());
        let mut next = Some(first);
        while let Some(job) = next {
            let (outcome, reply) = job(&mut ledger);
            done.push(reply);
            if let Err(error) = outcome {
                result = Err(error);
                break;
            }
            let more = done.len() < MAX_GROUP && ledger.bytes() < GROUP_BYTES;
            next = if more { queue.try_recv().ok() } else { None };
        }
        let (batch, lost_changed) = ledger.finish();
        let committed = result.and_then(|()| {
            if batch.is_empty() {
                Ok(())
            } else {
                index.storage().commit(batch)
            }
        });
        if lost_changed {
            index.note_lost();
        }
        let committed = committed.map_err(|error| Arc::new(StoreError::from(error)));
        if let Err(error) = &committed {
            tracing::warn!(%error, "the chunk index could not be written");
        }
        for reply in done {
            reply(committed.clone());
        }
    }
}
