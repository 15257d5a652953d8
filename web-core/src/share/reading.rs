//! Files as they are read: a window of chunks ahead of what the page has taken, handed out in order.
//!
//! Invariants: what is asked for and not taken of one reading is at most its window (or one chunk);
//! verified chunks that nobody waits for any more are kept up to [`KEPT`] bytes, because small
//! files share chunks; a chunk leaves only verified.

use super::Share;
use super::version::{Stage, Version};
use crate::context::Context;
use crate::crypt;
use crate::error::{ErrorCode, ShareError};
use hither_engine::{Phase, Plan};
use hither_proto::Space;
use roaring::RoaringBitmap;
use std::collections::{BTreeMap, VecDeque};

/// Bytes that one reading may be ahead of what the page has taken.
const WINDOW: u64 = 8 << 20;
/// The window of all readings of a share together.
const WINDOWS: u64 = 16 << 20;
/// Bytes of chunks that are kept after they were handed out.
const KEPT: u64 = 6 << 20;
/// Bytes that are got beyond the end of a file, while files are read one after the other.
const BEYOND: u64 = 4 << 20;
/// Readings of one share.
const MAX_READINGS: usize = 64;

/// One file that is being read.
#[derive(Debug)]
struct Reading {
    first: u32,
    /// The position behind the last one.
    end: u32,
    /// The next one to hand out.
    next: u32,
    /// The next one to ask for.
    asked: u32,
    /// Bytes at the beginning of the next chunk that are not of it, or are not wanted.
    skip: u64,
    /// Bytes that are still to be handed out.
    left: u64,
    /// Bytes that were asked for, less those that the page has taken or never gets.
    ahead: u64,
    /// It goes on where another one ended.
    follows: bool,
}

/// All files of a share that are being read.
#[derive(Debug, Default)]
pub(super) struct Readings {
    by_number: BTreeMap<u32, Reading>,
    held: BTreeMap<u32, Vec<u8>>,
    order: VecDeque<u32>,
    /// Asked of the engine, and not here.
    awaited: RoaringBitmap,
    /// The end of the reading that was begun last.
    last_end: Option<u32>,
}

impl Readings {
    /// True when anything is waited for.
    pub fn wants_anything(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// Takes a verified chunk.
    pub fn put(&mut self, position: u32, sealed: Vec<u8>) {
        self.awaited.remove(position);
        if self.held.insert(position, sealed).is_none() {
            self.order.push_back(position);
        }
    }

    fn needs(&self, position: u32) -> bool {
        let mut readings = self.by_number.values();
        readings.any(|r| (r.next..r.asked).contains(&position))
    }

    /// Forgets the oldest chunks that nobody waits for.
    fn trim(&mut self) {
        let needed: Vec<bool> = self.order.iter().map(|p| self.needs(*p)).collect();
        let length =
            |held: &BTreeMap<u32, Vec<u8>>, p: &u32| held.get(p).map_or(0, |s| s.len() as u64);
        let spare = self
            .order
            .iter()
            .zip(&needed)
            .filter(|(_, needed)| !**needed);
        let mut spare: u64 = spare.map(|(p, _)| length(&self.held, p)).sum();
        let mut needed = needed.into_iter();
        self.order.retain(|position| {
            let keep = needed.next().unwrap_or(true) || spare <= KEPT;
            if !keep {
                spare -= length(&self.held, position);
                self.held.remove(position);
            }
            keep
        });
    }

    /// The positions to ask for now.
    fn fresh(&mut self, version: &Version) -> RoaringBitmap {
        let count = self.by_number.len().max(1) as u64;
        let window = WINDOW.min(WINDOWS / count);
        let mut fresh = RoaringBitmap::new();
        let chunks = version.chunks();
        for reading in self.by_number.values_mut() {
            while reading.asked < reading.end && reading.ahead < window {
                reading.ahead += u64::from(version.length_of(reading.asked));
                fresh.insert(reading.asked);
                reading.asked += 1;
            }
            if reading.follows && reading.asked == reading.end && reading.end < chunks {
                let (mut at, mut bytes) = (reading.end, 0);
                while at < chunks && bytes < BEYOND {
                    bytes += u64::from(version.length_of(at));
                    fresh.insert(at);
                    at += 1;
                }
            }
        }
        fresh -= &self.awaited;
        if fresh.is_empty() {
            return fresh;
        }
        let held: RoaringBitmap = self.held.keys().copied().collect();
        fresh - held
    }
}

impl Share {
    /// Begins to read a file from a byte of it on.
    pub(crate) fn read(&mut self, number: u32, entry: u32, offset: u64, context: &mut Context<'_>) {
        let too_many = self.readings.by_number.len() >= MAX_READINGS
            || self.readings.by_number.contains_key(&number);
        let Stage::Open(version) = &self.stage else {
            let error = ShareError::new(ErrorCode::Unreachable, "the share is not open yet");
            return context.out.failed(self.number, number, &error);
        };
        let Some((size, start)) = version.file(entry) else {
            let error = ShareError::new(ErrorCode::NotFound, "there is no such file");
            return context.out.failed(self.number, number, &error);
        };
        if too_many {
            let error = ShareError::new(ErrorCode::Busy, "too many files are being read");
            return context.out.failed(self.number, number, &error);
        }
        let left = size.saturating_sub(offset);
        if left == 0 {
            return context.out.read_to_the_end(self.number, number);
        }
        let first = version.position_of(start + offset);
        let end = version.position_of(start + size - 1) + 1;
        let skip = (start + offset).saturating_sub(version.start_of(first));
        let last = self.readings.last_end.replace(end);
        let reading = Reading {
            first,
            end,
            next: first,
            asked: first,
            skip,
            left,
            ahead: 0,
            follows: last.is_some_and(|last| last == first || last == first + 1),
        };
        self.readings.by_number.insert(number, reading);
        self.go_on(context);
    }

    /// The page has taken bytes.
    pub(crate) fn taken(&mut self, number: u32, bytes: u64, context: &mut Context<'_>) {
        if let Some(reading) = self.readings.by_number.get_mut(&number) {
            reading.ahead = reading.ahead.saturating_sub(bytes);
        }
        self.go_on(context);
    }

    /// The page does not read on.
    pub(crate) fn read_no_more(&mut self, number: u32, context: &mut Context<'_>) {
        let Some(ended) = self.readings.by_number.remove(&number) else {
            return;
        };
        let asked = (ended.first..ended.asked.max(ended.end))
            .filter(|p| self.readings.awaited.contains(*p));
        let needless: Vec<u32> = asked.filter(|p| !self.readings.needs(*p)).collect();
        for position in &needless {
            self.readings.awaited.remove(*position);
        }
        let now = context.now;
        if matches!(self.stage, Stage::Open(_)) && !needless.is_empty() {
            self.with_engine(|engine, share| engine.stored(share, None, &needless, now));
        }
        self.go_on(context);
    }

    /// Asks the engine for what the readings want next.
    pub(super) fn plan_reading(&mut self, context: &Context<'_>) {
        let Stage::Open(version) = &self.stage else {
            return;
        };
        let fresh = self.readings.fresh(version);
        if fresh.is_empty() {
            return;
        }
        let now = context.now;
        self.readings.awaited |= &fresh;
        let phase = self
            .engine
            .as_ref()
            .and_then(|engine| engine.progress(self.id, now))
            .map(|p| p.phase);
        if phase == Some(Phase::Fetching(Space::Data)) {
            self.with_engine(|engine, share| engine.lost(share, &fresh, now));
            return;
        }
        let plan = Plan {
            version: version.head.head().version,
            space: Space::Data,
            lengths: version.lengths(),
            wanted: self.readings.awaited.clone(),
        };
        self.with_engine(|engine, share| engine.plan(share, plan, now));
    }

    /// Hands out what is there and next.
    pub(super) fn hand_out(&mut self, context: &mut Context<'_>) {
        let Stage::Open(version) = &self.stage else {
            return;
        };
        let (mut over, mut unreadable) = (Vec::new(), false);
        for (number, reading) in &mut self.readings.by_number {
            while reading.next < reading.asked
                && let Some(sealed) = self.readings.held.get(&reading.next)
            {
                let Some(record) = version.manifest.chunks().get(reading.next as usize) else {
                    break;
                };
                let length = u64::from(record.length);
                let skip = reading.skip.min(length);
                let give = (length - skip).min(reading.left);
                let (of, part) = ((self.number, *number), (skip as u32, give as u32));
                if context.open_here {
                    match crypt::open(&record.key, sealed.clone()) {
                        Ok(plain) => context.out.chunk(of, part, None, &plain),
                        Err(_) => unreadable = true,
                    }
                } else {
                    context.out.chunk(of, part, Some(&record.key), sealed);
                }
                // Bytes that are not given are not taken either.
                reading.ahead = reading.ahead.saturating_sub(length - give);
                reading.left -= give;
                reading.skip = 0;
                reading.next += 1;
            }
            if reading.left == 0 {
                over.push(*number);
            }
        }
        for number in over {
            self.readings.by_number.remove(&number);
            context.out.read_to_the_end(self.number, number);
        }
        self.readings.trim();
        if unreadable {
            self.does_not_open();
        }
    }
}
