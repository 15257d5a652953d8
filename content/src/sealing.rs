//! Hashes and encrypts cut chunks on all cores while the next ones are read.
//!
//! One thread reads and cuts (see `reading`); it hands over buffers with the ends of the chunks in
//! them. Invariants: at most `buffers` buffers exist, so memory is bounded whatever is shared; when
//! the queue is full the reader seals a buffer itself instead of waiting, so no core idles; results
//! are ordered by run and place, whoever made them.

use crate::crypt::{DomainSecret, SealError, record_of};
use hither_proto::ChunkRecord;
use hither_util::sync::{Condvar, Mutex};
use std::collections::{BTreeMap, VecDeque};
use std::sync::MutexGuard;

/// A buffer with cut chunks in it.
pub(crate) struct Job {
    /// Which run the chunks belong to.
    pub(crate) run: usize,
    /// Which reading of that run.
    pub(crate) attempt: u32,
    /// Number of the first chunk in that run.
    pub(crate) first: usize,
    pub(crate) buffer: Vec<u8>,
    /// One past each chunk's last byte; the first begins at 0.
    pub(crate) ends: Vec<usize>,
}

#[derive(Default)]
struct Run {
    attempt: u32,
    /// Records by the number of the first of them.
    records: BTreeMap<usize, Vec<ChunkRecord>>,
}

#[derive(Default)]
struct SealingState {
    queue: VecDeque<Job>,
    closed: bool,
    free: Vec<Vec<u8>>,
    made: usize,
    runs: Vec<Run>,
    failed: Option<SealError>,
}

/// The queue between the reader and the workers, and what they made.
pub(crate) struct Sealing<'a> {
    domain: &'a DomainSecret,
    state: Mutex<SealingState>,
    /// Something to do, or nothing any more.
    work: Condvar,
    /// A buffer became free.
    freed: Condvar,
    buffer_size: usize,
    buffers: usize,
}

impl<'a> Sealing<'a> {
    /// For `runs` runs with at most `buffers` (2 or more) buffers of `buffer_size` bytes.
    pub(crate) fn new(
        domain: &'a DomainSecret,
        runs: usize,
        buffer_size: usize,
        buffers: usize,
    ) -> Self {
        let state = SealingState {
            runs: std::iter::repeat_with(Run::default).take(runs).collect(),
            ..SealingState::default()
        };
        Self {
            domain,
            state: Mutex::new(state),
            work: Condvar::new(),
            freed: Condvar::new(),
            buffer_size,
            buffers,
        }
    }

    /// Seals jobs until [`Self::close`]; what a worker thread does.
    pub(crate) fn work(&self) {
        let mut scratch = Vec::new();
        loop {
            let mut state = self.lock();
            let job = loop {
                if let Some(job) = state.queue.pop_front() {
                    break job;
                }
                if state.closed {
                    return;
                }
                state = self.work.wait(state);
            };
            drop(state);
            self.seal(job, &mut scratch);
        }
    }

    /// An empty buffer of the full size; seals what waits while there is none.
    pub(crate) fn buffer(&self, scratch: &mut Vec<u8>) -> Vec<u8> {
        loop {
            let mut state = self.lock();
            if let Some(buffer) = state.free.pop() {
                return buffer;
            }
            if state.made < self.buffers {
                state.made += 1;
                drop(state);
                return vec![0; self.buffer_size];
            }
            if let Some(job) = state.queue.pop_front() {
                drop(state);
                self.seal(job, scratch);
                continue;
            }
            // All buffers are with workers right now.
            drop(self.freed.wait(state));
        }
    }

    /// Queues a job for the workers.
    pub(crate) fn submit(&self, job: Job) {
        self.lock().queue.push_back(job);
        self.work.notify_one();
    }

    /// Adds records that needed no sealing.
    pub(crate) fn add(&self, run: usize, attempt: u32, first: usize, records: Vec<ChunkRecord>) {
        self.lock().store(run, attempt, first, records);
    }

    /// Forgets what was made of a run: it is read again, as this attempt.
    pub(crate) fn restart(&self, run: usize, attempt: u32) {
        let mut state = self.lock();
        if let Some(run) = state.runs.get_mut(run) {
            *run = Run {
                attempt,
                records: BTreeMap::new(),
            };
        }
    }

    /// No more jobs: seals the rest of the queue on this thread too, then lets the workers end.
    pub(crate) fn close(&self, scratch: &mut Vec<u8>) {
        loop {
            let mut state = self.lock();
            let Some(job) = state.queue.pop_front() else {
                state.closed = true;
                break;
            };
            drop(state);
            self.seal(job, scratch);
        }
        self.work.notify_all();
    }

    /// The records of every run in order; call it when the workers have ended.
    pub(crate) fn finish(self) -> Result<Vec<Vec<ChunkRecord>>, SealError> {
        let state = self.state.into_inner();
        match state.failed {
            Some(error) => Err(error),
            None => Ok(state
                .runs
                .into_iter()
                .map(|run| run.records.into_values().flatten().collect())
                .collect()),
        }
    }

    fn seal(&self, job: Job, scratch: &mut Vec<u8>) {
        let mut start = 0;
        let seal = |end: &usize| {
            let chunk = &job.buffer[start..*end];
            start = *end;
            record_of(self.domain, chunk, scratch)
        };
        let records: Result<Vec<_>, _> = job.ends.iter().map(seal).collect();
        let mut state = self.lock();
        match records {
            Ok(records) => state.store(job.run, job.attempt, job.first, records),
            Err(error) => state.failed = Some(error),
        }
        state.free.push(job.buffer);
        drop(state);
        self.freed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, SealingState> {
        self.state.lock()
    }
}

impl SealingState {
    fn store(&mut self, run: usize, attempt: u32, first: usize, records: Vec<ChunkRecord>) {
        // What belongs to an abandoned attempt is dropped.
        if let Some(run) = self.runs.get_mut(run).filter(|run| run.attempt == attempt) {
            run.records.insert(first, records);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_in_order_and_abandoned_attempts_vanish() {
        let domain = DomainSecret::new([1; 32]);
        let sealing = Sealing::new(&domain, 2, 1000, 3);
        let mut scratch = Vec::new();
        let job = |scratch: &mut Vec<u8>, run, attempt, first: usize| {
            let mut buffer = sealing.buffer(scratch);
            buffer[..20].fill(first as u8);
            Job {
                run,
                attempt,
                first,
                buffer,
                ends: vec![10, 20],
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| sealing.work());
            for first in (0..40).step_by(2) {
                sealing.submit(job(&mut scratch, 1, 0, first));
            }
            sealing.submit(job(&mut scratch, 0, 0, 0));
            sealing.restart(0, 1);
            sealing.submit(job(&mut scratch, 0, 1, 0));
            sealing.add(0, 0, 2, Vec::new());
            sealing.close(&mut scratch);
        });
        let runs = sealing.finish().unwrap();
        assert_eq!((runs[0].len(), runs[1].len()), (2, 40));
        for (i, pair) in runs[1].chunks(2).enumerate() {
            let expected = record_of(&domain, &[2 * i as u8; 10], &mut scratch).unwrap();
            assert!(pair.iter().all(|record| *record == expected));
        }
    }
}
