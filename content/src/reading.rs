//! Reads and cuts the files of a share, one run after the other.
//!
//! A run is cut as one stream: a large file, or consecutive small files. Invariants: a file's bytes
//! enter a run whole or not at all (a file that changes while it is read is read again from its
//! beginning); holes of sparse files are not read; no file is mapped into memory, so one that
//! shrinks is an error and not a crash.

use crate::crypt::{DomainSecret, SealError, record_of};
use crate::cut::{Cut, Cutter, LARGE_FILE};
use crate::platform::{self, Dir, Kind, Stat};
use crate::sealing::{Job, Sealing};
use crate::stamp::FileStamp;
use hither_proto::ChunkRecord;
use hither_proto::limits::MAX_CHUNKS;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::time::Duration;

/// How often a file that changes is read before the share fails.
const ATTEMPTS: u32 = 4;
/// Pause before the second attempt, doubled for each further one.
const PAUSE: Duration = Duration::from_millis(50);
/// Zero chunks are recorded in batches of this many.
const ZERO_BATCH: u64 = 1024;

/// Why a file was not read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// It is not what was walked: gone, replaced by something else, or much larger.
    TreeChanged,
    /// It changed during every attempt.
    Changing,
    /// It is not as long as the system says, although nothing changes it.
    Endless,
    Io(io::Error),
    Seal(SealError),
    /// More chunks than a share may have.
    TooManyChunks,
    Cancelled,
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        if platform::is_gone(&error) {
            Self::TreeChanged
        } else {
            Self::Io(error)
        }
    }
}

/// A file as the walk saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Walked {
    pub(crate) size: u64,
    pub(crate) mtime_ns: i64,
    pub(crate) ctime_ns: i64,
    pub(crate) inode: u64,
}

impl From<&Stat> for Walked {
    fn from(stat: &Stat) -> Self {
        Self {
            size: stat.size,
            mtime_ns: stat.mtime_ns,
            ctime_ns: stat.ctime_ns,
            inode: stat.inode,
        }
    }
}

/// Reads runs into a [`Sealing`].
pub(crate) struct Reader<'a> {
    domain: &'a DomainSecret,
    sealing: &'a Sealing<'a>,
    /// Told how many bytes were read since the last call; `false` means stop.
    progress: &'a mut dyn FnMut(u64) -> bool,
    run: usize,
    attempt: u32,
    /// Chunks of this run handed over so far.
    chunks: usize,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that are filled.
    filled: usize,
    /// Ends of the chunks cut in `buffer`.
    ends: Vec<usize>,
    scratch: Vec<u8>,
    /// Chunks in all runs.
    total_chunks: u64,
    /// The last zero chunk made, and how long it is.
    zero: Option<ChunkRecord>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(
        domain: &'a DomainSecret,
        sealing: &'a Sealing<'a>,
        progress: &'a mut dyn FnMut(u64) -> bool,
    ) -> Self {
        let mut scratch = Vec::new();
        let buffer = sealing.buffer(&mut scratch);
        Self {
            domain,
            sealing,
            progress,
            run: 0,
            attempt: 0,
            chunks: 0,
            buffer,
            filled: 0,
            ends: Vec::new(),
            scratch,
            total_chunks: 0,
            zero: None,
        }
    }

    /// Begins a run; the one before has been ended.
    pub(crate) fn begin(&mut self, run: usize) {
        (self.run, self.attempt, self.chunks) = (run, 0, 0);
    }

    /// Ends the run: everything in it is cut and handed over.
    pub(crate) fn end(&mut self, cutter: &Cutter) -> Result<(), ReadError> {
        self.cut(cutter, true);
        self.hand_over()
    }

    /// No more runs: helps the workers with what is left.
    pub(crate) fn finish(mut self) {
        self.sealing.close(&mut self.scratch);
    }

    /// Makes sure that a file which the system calls empty is.
    pub(crate) fn empty_file(&mut self, dir: &Dir, name: &OsStr) -> Result<(), ReadError> {
        let file = dir.open_read(name)?;
        if platform::read_full_at(&file, &mut [0], 0)? == 0 {
            return Ok(());
        }
        let grown = platform::stat_file(&file)?.size > 0;
        Err(if grown {
            ReadError::TreeChanged
        } else {
            ReadError::Endless
        })
    }

    /// Reads a small file into the run.
    pub(crate) fn small_file(
        &mut self,
        dir: &Dir,
        name: &OsStr,
        walked: &Walked,
        cutter: &Cutter,
    ) -> Result<FileStamp, ReadError> {
        let mut pause = PAUSE;
        for attempt in 1..=ATTEMPTS {
            let file = dir.open_read(name)?;
            // One byte more than a small file may have tells that it is one no longer.
            let room = LARGE_FILE as usize;
            if self.buffer.len() - self.filled < room {
                self.cut(cutter, false);
                self.hand_over()?;
            }
            // On the first attempt the walk's stamp is the one from before reading.
            let before = if attempt == 1 {
                *walked
            } else {
                Walked::from(&platform::stat_file(&file)?)
            };
            let wanted = usize::try_from(before.size.saturating_add(1))
                .unwrap_or(room)
                .min(room);
            let space = &mut self.buffer[self.filled..self.filled + wanted];
            let read = platform::read_full_at(&file, space, 0)?;
            let after = platform::stat_file(&file)?;
            if after.kind != Kind::File || after.size >= LARGE_FILE {
                return Err(ReadError::TreeChanged);
            }
            if before == Walked::from(&after) && read as u64 == after.size {
                self.filled += read;
                self.report(read as u64)?;
                return Ok(FileStamp::new(&after));
            }
            if before == Walked::from(&after) && attempt > 1 {
                return Err(ReadError::Endless);
            }
            // The first mismatch may be older than this reading; try at once.
            if attempt > 1 {
                self.wait(&mut pause)?;
            }
        }
        Err(ReadError::Changing)
    }

    /// Reads a large file as the whole of the run.
    pub(crate) fn large_file(
        &mut self,
        dir: &Dir,
        name: &OsStr,
        cutter: &Cutter,
    ) -> Result<FileStamp, ReadError> {
        let mut pause = PAUSE;
        for attempt in 1..=ATTEMPTS {
            let file = dir.open_read(name)?;
            let before = platform::stat_file(&file)?;
            if before.kind != Kind::File {
                return Err(ReadError::TreeChanged);
            }
            platform::hint_sequential(&file);
            let whole = self.content(&file, &before, cutter)?;
            if whole && Walked::from(&platform::stat_file(&file)?) == Walked::from(&before) {
                self.end(cutter)?;
                return Ok(FileStamp::new(&before));
            }
            let changed =
                whole || Walked::from(&platform::stat_file(&file)?) != Walked::from(&before);
            self.abandon(attempt);
            if !changed {
                return Err(ReadError::Endless);
            }
            self.wait(&mut pause)?;
        }
        Err(ReadError::Changing)
    }

    /// Forgets everything of this run.
    fn abandon(&mut self, attempt: u32) {
        self.sealing.restart(self.run, attempt);
        self.total_chunks -= self.chunks as u64;
        (self.attempt, self.chunks, self.filled) = (attempt, 0, 0);
        self.ends.clear();
    }

    /// Waits before another attempt, unless cancelled.
    fn wait(&mut self, pause: &mut Duration) -> Result<(), ReadError> {
        self.report(0)?;
        std::thread::sleep(*pause);
        *pause *= 2;
        Ok(())
    }

    fn report(&mut self, bytes: u64) -> Result<(), ReadError> {
        if (self.progress)(bytes) {
            Ok(())
        } else {
            Err(ReadError::Cancelled)
        }
    }

    /// Reads and cuts a file's bytes; `false` if it ended early.
    fn content(&mut self, file: &File, stat: &Stat, cutter: &Cutter) -> Result<bool, ReadError> {
        let sparse = stat.allocated < stat.size;
        let mut offset = 0;
        // Where the data that was asked for last begins and ends.
        let mut data = platform::Data {
            start: 0,
            end: if sparse { 0 } else { stat.size },
        };
        while offset < stat.size {
            if offset >= data.end {
                let rest = platform::Data {
                    start: offset,
                    end: stat.size,
                };
                data = platform::data_from(file, offset, stat.size).unwrap_or(rest);
            }
            if data.start > offset {
                offset = self.hole(offset, data.start, cutter)?;
                if offset < data.start {
                    continue;
                }
            }
            if offset >= stat.size {
                break;
            }
            self.make_room(cutter)?;
            let until = data.end.max(offset + 1).min(stat.size);
            let space = self.buffer.len() - self.filled;
            let wanted = usize::try_from(until - offset).unwrap_or(space).min(space);
            let space = &mut self.buffer[self.filled..self.filled + wanted];
            let read = platform::read_full_at(file, space, offset)?;
            self.filled += read;
            offset += read as u64;
            self.report(read as u64)?;
            if read < wanted {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Goes through a hole from `offset` to `end` without reading it; returns how far it came.
    fn hole(&mut self, offset: u64, end: u64, cutter: &Cutter) -> Result<u64, ReadError> {
        let max = cutter.max() as u64;
        self.cut(cutter, false);
        self.hand_over()?;
        // Zeros up to the end of the chunk that is begun, at most a longest chunk of them.
        let zeros = (end - offset).min(max);
        let from = self.filled;
        if from > 0 || zeros < max {
            self.buffer[from..from + zeros as usize].fill(0);
            self.filled += zeros as usize;
            self.cut(cutter, false);
            let cut = self.ends.last().copied().unwrap_or(0);
            if cut <= from {
                self.report(zeros)?;
                return Ok(offset + zeros);
            }
            // The rest after the last cut is all zeros: give it back, so that a chunk begins
            // here.
            self.filled = cut;
            self.hand_over()?;
            self.report((cut - from) as u64)?;
            return Ok(offset + (cut - from) as u64);
        }
        self.zero_chunks(offset, end, cutter)
    }

    /// Records the zero chunks that fit into a hole; a chunk begins at `offset`.
    fn zero_chunks(&mut self, offset: u64, end: u64, cutter: &Cutter) -> Result<u64, ReadError> {
        let length = cutter.zeros() as u64;
        // Where a chunk of zeros ends depends on `max` bytes after its beginning.
        let count = ((end - offset - cutter.max() as u64) / length + 1).min(ZERO_BATCH);
        let record = match &self.zero {
            Some(record) if u64::from(record.length) == length => record.clone(),
            _ => {
                let zeros = vec![0; cutter.zeros()];
                record_of(self.domain, &zeros, &mut self.scratch).map_err(ReadError::Seal)?
            }
        };
        self.zero = Some(record.clone());
        self.sealing.add(
            self.run,
            self.attempt,
            self.chunks,
            vec![record; count as usize],
        );
        self.count(count as usize)?;
        self.report(count * length)?;
        Ok(offset + count * length)
    }

    /// Makes sure that the buffer has room for at least a longest chunk's bytes.
    fn make_room(&mut self, cutter: &Cutter) -> Result<(), ReadError> {
        if self.filled == self.buffer.len() {
            self.cut(cutter, false);
            self.hand_over()?;
        }
        Ok(())
    }

    /// Cuts what is in the buffer as far as it goes.
    fn cut(&mut self, cutter: &Cutter, end: bool) {
        let mut from = self.ends.last().copied().unwrap_or(0);
        while from < self.filled {
            match cutter.next(&self.buffer[from..self.filled], end) {
                Cut::At(length) => from += length,
                Cut::More => break,
            }
            self.ends.push(from);
        }
    }

    /// Hands the cut chunks to the workers and moves the rest to the beginning of a new buffer.
    fn hand_over(&mut self) -> Result<(), ReadError> {
        let Some(end) = self.ends.last().copied() else {
            return Ok(());
        };
        let mut buffer = self.sealing.buffer(&mut self.scratch);
        let rest = self.filled - end;
        buffer[..rest].copy_from_slice(&self.buffer[end..self.filled]);
        self.filled = rest;
        let ends = std::mem::take(&mut self.ends);
        let count = ends.len();
        let buffer = std::mem::replace(&mut self.buffer, buffer);
        let (run, attempt, first) = (self.run, self.attempt, self.chunks);
        self.sealing.submit(Job {
            run,
            attempt,
            first,
            buffer,
            ends,
        });
        self.count(count)
    }

    fn count(&mut self, chunks: usize) -> Result<(), ReadError> {
        self.chunks += chunks;
        self.total_chunks += chunks as u64;
        if self.total_chunks > MAX_CHUNKS {
            Err(ReadError::TooManyChunks)
        } else {
            Ok(())
        }
    }
}
