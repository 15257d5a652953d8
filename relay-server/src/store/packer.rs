//! Collects the chunks of many uploads until they are worth a pack.
//!
//! Each upload has a run of its own, so that what is read together later stands together. A run
//! that is full becomes a pack; runs that have waited long enough, or whose upload ends, go into
//! packs together, so that many slow uploads cost a few packs and not many.
//!
//! Bounded: all runs and packs on their way hold at most [`StoreConfig::buffer_bytes`]; who has
//! more waits. A run whose upload waits is not idle: memory comes back when a pack is written, and
//! the run goes on growing. Only when so much of the memory is in runs that too little is being
//! written are they written early.

use super::config::{MAX_PACK, StoreConfig};
use super::error::{PutError, StoreError};
use super::ids::VersionNumber;
use super::progress::Taken;
use super::records::ListRecord;
use bytes::Bytes;
use hither_util::sync::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Memory is counted in units of so many bytes: a semaphore counts 32 bits at a time.
const UNIT: usize = 1024;

/// A chunk as it was received, not verified yet.
pub(super) struct Piece {
    pub(super) taken: Taken,
    pub(super) record: ListRecord,
    pub(super) bytes: Bytes,
    _memory: OwnedSemaphorePermit,
}

struct Run {
    pieces: Vec<Piece>,
    bytes: usize,
    began: Instant,
    touched: Instant,
    /// Its upload waits for it.
    hurried: bool,
}

#[derive(Default)]
struct Runs {
    open: HashMap<VersionNumber, Run>,
    full: Vec<Vec<Piece>>,
    /// Uploads that wait for memory, and how many of their chunks do.
    waiting: HashMap<VersionNumber, usize>,
    /// Packs given out that are not written yet.
    flying: usize,
}

/// Where chunks wait to be written.
pub(super) struct Packer {
    pack_bytes: usize,
    idle: Duration,
    max_age: Duration,
    buffer_bytes: usize,
    memory: Arc<Semaphore>,
    runs: Mutex<Runs>,
    wake: Notify,
}

impl Packer {
    pub(super) fn new(config: &StoreConfig) -> Result<Self, StoreError> {
        let longest = hither_proto::limits::MAX_CHUNK as usize + 2 * UNIT;
        if config.pack_bytes == 0 || config.pack_bytes > MAX_PACK {
            return Err(StoreError::Config("packs must have 1 byte to 64 MiB"));
        }
        if config.buffer_bytes < longest || config.buffer_bytes / UNIT > Semaphore::MAX_PERMITS {
            return Err(StoreError::Config(
                "the buffer must have room for the longest chunk",
            ));
        }
        Ok(Self {
            pack_bytes: config.pack_bytes,
            idle: config.idle,
            max_age: config.max_age,
            buffer_bytes: config.buffer_bytes,
            memory: Arc::new(Semaphore::new(config.buffer_bytes / UNIT)),
            runs: Mutex::default(),
            wake: Notify::new(),
        })
    }

    /// Takes a chunk; waits for memory.
    pub(super) async fn add(
        &self,
        taken: Taken,
        record: ListRecord,
        bytes: Bytes,
    ) -> Result<(), PutError> {
        // A tiny chunk costs about one unit beside its bytes; a buffer may be a quarter
        // longer than its chunk.
        let units = (bytes.len() + bytes.len() / 4) / UNIT + 1;
        let units = units.min(self.buffer_bytes / UNIT) as u32;
        let memory = match Arc::clone(&self.memory).try_acquire_many_owned(units) {
            Ok(memory) => memory,
            Err(_) => {
                let _waiting = self.wait(taken.progress.version);
                let memory = Arc::clone(&self.memory).acquire_many_owned(units).await;
                memory.map_err(|_| PutError::from(StoreError::Closed))?
            }
        };
        taken.progress.failure()?;
        self.push(Piece {
            taken,
            record,
            bytes,
            _memory: memory,
        });
        Ok(())
    }

    fn push(&self, piece: Piece) {
        let version = piece.taken.progress.version;
        let now = Instant::now();
        let mut runs = self.lock();
        let runs = &mut *runs;
        let mut wake = false;
        let run = runs.open.entry(version).or_insert_with(|| {
            wake = true;
            Run {
                pieces: Vec::new(),
                bytes: 0,
                began: now,
                touched: now,
                hurried: false,
            }
        });
        run.touched = now;
        run.bytes += piece.bytes.len();
        run.pieces.push(piece);
        if run.bytes >= self.pack_bytes {
            wake = true;
            runs.full
                .extend(runs.open.remove(&version).map(|run| run.pieces));
        }
        if wake {
            self.wake.notify_one();
        }
    }

    /// Has what was received for a version written now.
    pub(super) fn hurry(&self, version: VersionNumber) {
        if let Some(run) = self.lock().open.get_mut(&version) {
            run.hurried = true;
            self.wake.notify_one();
        }
    }

    /// Waits for chunks that are to be written, as packs. `all`: whatever is here, at once.
    pub(super) async fn ready(&self, all: bool) -> Vec<Vec<Piece>> {
        loop {
            let (packs, due) = self.collect(all);
            if all || !packs.is_empty() {
                return packs;
            }
            match due {
                Some(due) => tokio::select! {
                    () = self.wake.notified() => {}
                    () = tokio::time::sleep_until(due) => {}
                },
                None => self.wake.notified().await,
            }
        }
    }

    /// A pack that was given out is written, or failed.
    pub(super) fn landed(&self) {
        self.lock().flying -= 1;
    }

    /// Notes that an upload waits for memory, until the result is dropped.
    fn wait(&self, version: VersionNumber) -> WaitingForMemory<'_> {
        *self.lock().waiting.entry(version).or_default() += 1;
        self.wake.notify_one();
        WaitingForMemory {
            packer: self,
            version,
        }
    }

    /// What is to be written now, and when to look again.
    fn collect(&self, all: bool) -> (Vec<Vec<Piece>>, Option<Instant>) {
        let now = Instant::now();
        let mut runs = self.lock();
        let Runs {
            open,
            full,
            waiting,
            flying,
        } = &mut *runs;
        let mut packs = std::mem::take(full);
        let still = *flying + packs.len() == 0;
        let held: usize = open.values().map(|run| run.bytes).sum();
        let all = all || (!waiting.is_empty() && (still || held >= self.buffer_bytes / 2));
        let due = |version: &VersionNumber, run: &Run| {
            let due = (run.touched + self.idle).min(run.began + self.max_age);
            (still || !waiting.contains_key(version)).then_some(due)
        };
        let mut pack = Vec::new();
        let mut bytes = 0;
        let is_due =
            |version: &VersionNumber, run: &Run| due(version, run).is_some_and(|due| due <= now);
        for (_, run) in open.extract_if(|version, run| all || run.hurried || is_due(version, run)) {
            if bytes > 0 && bytes + run.bytes > self.pack_bytes {
                packs.push(std::mem::take(&mut pack));
                bytes = 0;
            }
            bytes += run.bytes;
            pack.extend(run.pieces);
        }
        if !pack.is_empty() {
            packs.push(pack);
        }
        *flying += packs.len();
        (
            packs,
            open.iter()
                .filter_map(|(version, run)| due(version, run))
                .min(),
        )
    }

    /// No more chunks are taken.
    pub(super) fn close(&self) {
        self.memory.close();
    }

    fn lock(&self) -> MutexGuard<'_, Runs> {
        self.runs.lock()
    }
}

/// As long as this is there an upload waits for memory.
struct WaitingForMemory<'a> {
    packer: &'a Packer,
    version: VersionNumber,
}

impl Drop for WaitingForMemory<'_> {
    fn drop(&mut self) {
        let mut runs = self.packer.lock();
        if let Some(count) = runs.waiting.get_mut(&self.version) {
            *count -= 1;
            if *count == 0 {
                runs.waiting.remove(&self.version);
                // Its run may be idle from now on, and has to be looked at then.
                self.packer.wake.notify_one();
            }
        }
    }
}
