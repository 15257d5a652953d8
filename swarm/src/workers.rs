//! The threads that verify, decrypt and write what arrives, and the memory it may take meanwhile.
//!
//! One thread per core, fed over a channel; reading from the network waits for room in the budget,
//! so a slow disk slows the network down and never fills the memory. Buffers are reused: a fresh
//! one of this size is a trip to the kernel and a page fault per 4 KiB.

use crossbeam_channel::{Receiver, Sender, unbounded};
use hither_util::sync::Mutex;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of chunks that may wait to be written.
const BUDGET: usize = 32 << 20;
/// Most buffers kept for reuse, and the largest kept, bytes.
const KEPT: (usize, usize) = (64, 2 << 20);

type Job = Box<dyn FnOnce() + Send>;

/// Buffers for chunks.
#[derive(Debug, Default)]
pub struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    /// An empty buffer, with the room it had before if it is an old one.
    pub fn take(&self) -> Vec<u8> {
        self.0.lock().pop().unwrap_or_default()
    }

    /// Gives a buffer back.
    pub(crate) fn give(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut kept = self.0.lock();
        if kept.len() < KEPT.0 && buffer.capacity() <= KEPT.1 {
            kept.push(buffer);
        }
    }

    /// Frees all of them: nothing is being moved at the moment.
    pub fn clear(&self) {
        *self.0.lock() = Vec::new();
    }
}

/// Room for bytes on their way to the disk; given back when dropped.
#[derive(Debug)]
pub struct Room(#[allow(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// The pool.
pub struct Workers {
    jobs: Sender<Job>,
    budget: Arc<Semaphore>,
    /// Buffers for chunks.
    pub buffers: Arc<Buffers>,
}

impl Workers {
    /// Starts one thread per core; they end when the pool is dropped.
    pub(crate) fn start() -> std::io::Result<Self> {
        let (jobs, queue) = unbounded::<Job>();
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        for n in 0..cores {
            let queue: Receiver<Job> = queue.clone();
            std::thread::Builder::new()
                .name(format!("hither-disk-{n}"))
                .spawn(move || {
                    for job in queue {
                        job();
                    }
                })?;
        }
        Ok(Self {
            jobs,
            budget: Arc::new(Semaphore::new(BUDGET)),
            buffers: Arc::default(),
        })
    }

    /// Waits for room for `bytes` (of which one chunk never takes more than there is).
    pub(crate) async fn room(&self, bytes: usize) -> Room {
        let permits = bytes.clamp(1, BUDGET) as u32;
        match Arc::clone(&self.budget).acquire_many_owned(permits).await {
            Ok(permit) => Room(permit),
            // The semaphore is never closed.
            Err(_) => std::future::pending().await,
        }
    }

    /// Has a job done by one of the threads.
    pub(crate) fn submit(&self, job: impl FnOnce() + Send + 'static) {
        // The receivers live as long as the pool.
        let _ = self.jobs.send(Box::new(job));
    }
}
