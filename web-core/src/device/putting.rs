//! One attempt at an upload: the stream to the store.

use super::prepare::Changed;
use super::stream::Stream;
use super::version::{Inputs, Version};
use crate::context::Context;
use crate::crypt;
use crate::wire::WireError;
use hither_engine::Time;
use hither_proto::limits::{CHUNK_TAG, MAX_PUT_LIST};
use hither_proto::{DeviceId, RelayMessage, RelayPurpose, RelayRefusal, Space};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Ciphertext that may be on its way without being durable, bytes.
pub(super) const WINDOW: u64 = 16 * 1024 * 1024;
/// Plaintext that is asked for at once, bytes, and the most chunks in it.
const TAKE: u64 = 1024 * 1024;
const TAKE_CHUNKS: u32 = 256;
/// Time in which nothing moves after which the stream counts as broken.
const SILENCE: Duration = Duration::from_secs(60);

/// The thing that is put.
pub(super) struct Put<'a> {
    pub version: &'a Version,
    pub inputs: &'a Inputs,
    pub keep_s: u64,
}

/// Chunks that the page is to read again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Take {
    pub first: u32,
    pub count: u32,
    /// Its offset in the stream of files, and its plaintext bytes.
    pub start: u64,
    bytes: u64,
}

/// The outcome of the store's words.
#[derive(Debug, Default)]
pub(super) struct CameOn {
    pub stored: bool,
    pub done: bool,
}

pub(super) struct Putting {
    stream: Stream,
    /// Data positions that are to be sent: from, to (without). `None`: the store has not said.
    missing: Option<VecDeque<(u32, u32)>>,
    /// Starts of chunks in the stream of files.
    starts: Vec<u64>,
    takes: VecDeque<Take>,
    /// Chunks that were sent and are not durable: their ciphertext's length.
    flying: BTreeMap<u32, u32>,
    /// Bytes of takes and of flying chunks.
    under_way: u64,
    /// Plaintext that the store does not have.
    left: u64,
    ended: bool,
    moved: Time,
}

impl Putting {
    /// `None`: no pipe leads to that store.
    pub(super) fn open(
        store: DeviceId,
        version: &Version,
        context: &mut Context<'_>,
    ) -> Option<Self> {
        let mut at = 0;
        let starts = version.of_data.iter().map(|record| {
            let start = at;
            at += u64::from(record.length);
            start
        });
        let starts = starts.collect();
        Some(Self {
            stream: Stream::open(store, context)?,
            missing: None,
            starts,
            takes: VecDeque::new(),
            flying: BTreeMap::new(),
            under_way: 0,
            left: 0,
            ended: false,
            moved: context.now,
        })
    }

    pub(super) const fn has_pipe(&self, pipe: u32) -> bool {
        self.stream.pipe == pipe
    }

    /// Names this attempt.
    pub(super) const fn number(&self) -> u32 {
        self.stream.pipe
    }

    pub(super) fn pipe_opened(&mut self, context: &mut Context<'_>) -> Result<(), WireError> {
        self.stream.flush(context)
    }

    pub(super) fn due(&self) -> Time {
        self.moved.max(self.stream.heard).max(self.stream.said) + SILENCE
    }

    /// Plaintext bytes that the store does not have; `None`: it has not said.
    pub(super) fn left(&self) -> Option<u64> {
        self.missing.as_ref().map(|_| self.left)
    }

    /// Takes bytes of the pipe. Errors: the stream is of no use any more, with the store's reason
    /// where it gave one.
    pub(super) fn receive(
        &mut self,
        bytes: &[u8],
        put: &Put<'_>,
        context: &mut Context<'_>,
    ) -> Result<CameOn, Option<RelayRefusal>> {
        let came = self.stream.receive(bytes, context).map_err(|_| None)?;
        if came.opened {
            self.begin(put, context).map_err(|_| None)?;
        }
        let mut on = CameOn::default();
        for message in came.messages {
            match message {
                RelayMessage::Missing {
                    root,
                    manifest,
                    data,
                } if self.missing.is_none() => {
                    let ranges = data.as_slice().iter();
                    let ranges = ranges.map(|range| (range.start(), range.end()));
                    let ranges: VecDeque<(u32, u32)> = ranges.collect();
                    let manifest: Vec<u32> = manifest.positions().collect();
                    self.missing(root, &manifest, ranges, put.version, context)
                        .map_err(|_| None)?;
                }
                RelayMessage::Stored { space, ranges } => {
                    on.stored = true;
                    if space == Space::Data {
                        ranges.positions().for_each(|at| self.stored(at));
                    }
                }
                RelayMessage::PutDone if self.ended => on.done = true,
                RelayMessage::Refused(refusal) => return Err(Some(refusal)),
                _ => {}
            }
        }
        self.stream.flush(context).map_err(|_| None)?;
        if came.ended && !on.done {
            return Err(None);
        }
        Ok(on)
    }

    /// Says what is put, and lists all of it.
    fn begin(&mut self, put: &Put<'_>, context: &mut Context<'_>) -> Result<(), WireError> {
        let (version, inputs) = (put.version, put.inputs);
        let first = RelayMessage::Put(Box::new(hither_proto::Put {
            share: inputs.secret.share_id(),
            head: version.head.to_unchecked(),
            read_key: inputs.secret.read_key(),
            keep_s: put.keep_s,
        }));
        self.stream.begin(RelayPurpose::Upload, &first, context)?;
        for space in [Space::Manifest, Space::Data] {
            let mut first = 0;
            loop {
                let records = version.list(space, first, MAX_PUT_LIST);
                if records.is_empty() {
                    break;
                }
                let count = records.len();
                let list = RelayMessage::PutList {
                    space,
                    first: first as u32,
                    records,
                };
                self.stream.tell(&list, context)?;
                first += count;
            }
        }
        Ok(())
    }

    /// The store says what it lacks: root and manifest, which are here, are sent at once.
    fn missing(
        &mut self,
        root: bool,
        manifest: &[u32],
        data: VecDeque<(u32, u32)>,
        version: &Version,
        context: &mut Context<'_>,
    ) -> Result<(), WireError> {
        if root {
            self.give(Space::Root, 0, &version.root, context)?;
        }
        for position in manifest {
            if let Some(sealed) = version.manifest.get(*position as usize) {
                self.give(Space::Manifest, *position, sealed, context)?;
            }
        }
        let length = |at: u32| {
            version
                .of_data
                .get(at as usize)
                .map(|r| u64::from(r.length))
        };
        let mut left = 0;
        for (start, end) in &data {
            // A chunk that does not exist cannot be sent: the store says nonsense.
            let lengths = (*start..*end).map(length).sum::<Option<u64>>();
            left += lengths.ok_or(WireError::Unexpected)?;
        }
        self.left = left;
        self.missing = Some(data);
        self.moved = context.now;
        Ok(())
    }

    fn give(
        &mut self,
        space: Space,
        position: u32,
        sealed: &[u8],
        context: &mut Context<'_>,
    ) -> Result<(), WireError> {
        let header = RelayMessage::PutChunk {
            space,
            position,
            length: sealed.len() as u32,
        };
        self.stream.tell_with(&header, sealed, context)
    }

    fn stored(&mut self, position: u32) {
        if let Some(length) = self.flying.remove(&position) {
            self.under_way -= u64::from(length).min(self.under_way);
            self.left -= u64::from(length - CHUNK_TAG).min(self.left);
        }
    }

    /// The next chunks that the page is to read, if something may be sent.
    pub(super) fn take(&mut self, version: &Version) -> Option<Take> {
        if self.under_way >= WINDOW {
            return None;
        }
        let missing = self.missing.as_mut()?;
        let (start, end) = missing.front_mut()?;
        let (first, mut count, mut bytes) = (*start, 0, 0);
        while first + count < *end && count < TAKE_CHUNKS {
            let length = u64::from(version.of_data.get((first + count) as usize)?.length);
            if count > 0 && bytes + length > TAKE {
                break;
            }
            bytes += length;
            count += 1;
        }
        *start += count;
        if *start >= *end {
            missing.pop_front();
        }
        let take = Take {
            first,
            count,
            start: *self.starts.get(first as usize)?,
            bytes: bytes + u64::from(count * CHUNK_TAG),
        };
        self.under_way += take.bytes;
        self.takes.push_back(take);
        Some(take)
    }

    /// Chunks that were read again are sent, when they are what they were; `Ok(false)`: the stream
    /// is broken.
    pub(super) fn chunks(
        &mut self,
        first: u32,
        mut bytes: &[u8],
        version: &Version,
        seal_here: bool,
        context: &mut Context<'_>,
    ) -> Result<bool, Changed> {
        self.moved = context.now;
        let next = self.takes.pop_front();
        let take = next.filter(|take| take.first == first).ok_or(Changed)?;
        for position in take.first..take.first + take.count {
            let record = version.of_data.get(position as usize).ok_or(Changed)?;
            let tag = if seal_here { 0 } else { CHUNK_TAG };
            let (chunk, rest) = bytes
                .split_at_checked((record.length + tag) as usize)
                .ok_or(Changed)?;
            bytes = rest;
            let here;
            let sealed = if seal_here {
                here = crypt::seal(&record.key, chunk.to_vec()).map_err(|_| Changed)?;
                here.as_slice()
            } else {
                chunk
            };
            if !crypt::is_chunk(record, sealed) {
                return Err(Changed);
            }
            if self.give(Space::Data, position, sealed, context).is_err() {
                return Ok(false);
            }
            self.flying.insert(position, sealed.len() as u32);
        }
        Ok(true)
    }

    /// Says that all was sent, once it was.
    pub(super) fn end(&mut self, context: &mut Context<'_>) -> Result<(), WireError> {
        let all = self.missing.as_ref().is_some_and(VecDeque::is_empty) && self.takes.is_empty();
        if self.ended || !all {
            return Ok(());
        }
        self.ended = true;
        self.stream.tell(&RelayMessage::PutEnd, context)
    }

    pub(super) fn close(self, context: &mut Context<'_>) {
        self.stream.close(context);
    }
}
