//! Chunks by HTTP: ciphertext for whoever has a token, which a store gives on a stream that it has
//! proven (SPEC.md, "Chunks by GET").
//!
//! The ids verify the bytes, so nothing else has to. What does not come that way comes on the
//! stream.

use super::Share;
use super::want::{Part, Want, ranges_of, runs};
use crate::context::Context;
use hither_engine::Time;
use hither_proto::limits::CHUNK_TAG;
use hither_proto::{ChunkToken, DeviceId, Message, Space};
use std::collections::BTreeMap;
use std::time::Duration;

/// Positions of one request.
const MAX_POSITIONS: u32 = 4096;
/// Bytes of one request, and of what waits of one answer: the relay's 64 MiB hold four of the longest chunks.
const MAX_BYTES: u64 = 64 << 20;
/// A token is renewed when this part of its life is over, in percent.
const RENEW_AT: u32 = 70;
/// After so many answers that were none the stream carries everything for a while.
const MAX_FAILURES: u32 = 3;
/// The while for which the stream carries everything.
const REST: Duration = Duration::from_secs(30);

/// A store's words about tokens.
#[derive(Debug, Default)]
struct Tokens {
    token: Option<String>,
    until: Time,
    renew: Time,
    asked: bool,
    failures: u32,
    rests_until: Time,
}

/// One request by HTTP.
#[derive(Debug)]
struct Get {
    device: DeviceId,
    part: u64,
    of: Part,
    next: u32,
    end: u32,
    /// The status was 200.
    good: bool,
    /// The chunk that is coming, as far as it is here.
    sealed: Vec<u8>,
}

/// All of one share.
#[derive(Debug, Default)]
pub(super) struct Gets {
    by_number: BTreeMap<u32, Get>,
    tokens: BTreeMap<DeviceId, Tokens>,
}

impl Gets {
    /// A store's answer to the question for a token.
    pub fn token(&mut self, device: DeviceId, token: Option<ChunkToken>, lives_ms: u32, now: Time) {
        let tokens = self.tokens.entry(device).or_default();
        let lives = Duration::from_millis(u64::from(lives_ms));
        tokens.asked = false;
        tokens.until = now + lives;
        tokens.renew = now + lives * RENEW_AT / 100;
        tokens.token = token.map(|token| token.to_hex());
        if tokens.token.is_none() {
            tokens.rests_until = now + REST;
        }
    }

    pub fn forget_token(&mut self, device: DeviceId) {
        self.tokens.remove(&device);
    }

    pub fn cancel_part(&mut self, part: u64, context: &mut Context<'_>) {
        let numbers = self.by_number.iter().filter(|(_, get)| get.part == part);
        for number in numbers.map(|(number, _)| *number).collect::<Vec<_>>() {
            self.by_number.remove(&number);
            context.out.get_no_more(number);
        }
    }

    pub fn cancel_all(&mut self, context: &mut Context<'_>) {
        for number in std::mem::take(&mut self.by_number).into_keys() {
            context.out.get_no_more(number);
        }
    }
}

impl Share {
    pub(crate) fn has_get(&self, get: u32) -> bool {
        self.gets.by_number.contains_key(&get)
    }

    /// Asks a store for a token, on its stream for chunks.
    pub(super) fn ask_for_token(&mut self, device: DeviceId, context: &Context<'_>) {
        let tokens = self.gets.tokens.entry(device).or_default();
        if !tokens.asked && context.now >= tokens.rests_until {
            tokens.asked = self.lanes.send_bulk(device, Message::ChunkTokenRequest);
        }
    }

    /// Asks for chunks by HTTP; `false`: there is no token for it.
    pub(super) fn get_chunks(&mut self, want: &Want, context: &mut Context<'_>) -> bool {
        let now = context.now;
        let Some(endpoint) = context.endpoint_of(want.device) else {
            return false;
        };
        let Some(tokens) = self.gets.tokens.get(&want.device) else {
            return false;
        };
        if now >= tokens.renew {
            self.ask_for_token(want.device, context);
        }
        let Some(token) = self.token_of(want.device, now) else {
            return false;
        };
        let space = match want.space {
            Space::Root => "root",
            Space::Manifest => "manifest",
            Space::Data => "data",
        };
        for run in runs(&want.ranges, MAX_POSITIONS) {
            for run in self.within_bytes(want.space, run.iter()) {
                let of = Part {
                    device: want.device,
                    request: want.request,
                    space: want.space,
                    version: want.version,
                    on_stream: false,
                };
                let part = self.wants.begin(of);
                let number = context.numbers.get();
                let path = format!(
                    "/hither/1/chunks/{token}/{}/{space}/{}-{}",
                    want.version,
                    run.start,
                    run.end - 1
                );
                context.out.get(number, endpoint, &path);
                let get = Get {
                    device: want.device,
                    part,
                    of,
                    next: run.start,
                    end: run.end,
                    good: false,
                    sealed: Vec::new(),
                };
                self.gets.by_number.insert(number, get);
            }
        }
        true
    }

    fn token_of(&self, device: DeviceId, now: Time) -> Option<String> {
        let tokens = self.gets.tokens.get(&device)?;
        let usable = now < tokens.until && now >= tokens.rests_until;
        tokens.token.clone().filter(|_| usable)
    }

    /// Cuts a run where its ciphertext would be longer than one request may be.
    fn within_bytes(&self, space: Space, run: std::ops::Range<u32>) -> Vec<std::ops::Range<u32>> {
        let (mut runs, mut start, mut bytes) = (Vec::new(), run.start, 0);
        for position in run.clone() {
            let length = self.sealed_length(space, position).unwrap_or(0);
            if bytes + length > MAX_BYTES && position > start {
                runs.push(start..position);
                (start, bytes) = (position, 0);
            }
            bytes += length;
        }
        runs.push(start..run.end);
        runs
    }

    fn sealed_length(&self, space: Space, position: u32) -> Option<u64> {
        let length = self.stage.length(space, position)?;
        Some(u64::from(length) + u64::from(CHUNK_TAG))
    }

    // --- what the page says ---

    /// The beginning of an answer has come.
    pub(crate) fn answer(
        &mut self,
        number: u32,
        status: u16,
        retry_after_ms: u32,
        context: &mut Context<'_>,
    ) {
        let Some(get) = self.gets.by_number.get_mut(&number) else {
            return;
        };
        let (device, part) = (get.device, get.part);
        match status {
            200 => get.good = true,
            404 => {
                let ranges = ranges_of(get.next..get.end);
                self.end_get(number, context);
                self.not_held(part, &ranges, context);
                self.part_over(part, context);
            }
            429 | 503 => {
                self.end_get(number, context);
                self.busy(part, retry_after_ms.max(100), context);
            }
            // The token is good no longer, or whatever else is at that address.
            _ => {
                if let Some(tokens) = self.gets.tokens.get_mut(&device) {
                    tokens.token = None;
                    tokens.failures += u32::from(status != 403);
                    if tokens.failures >= MAX_FAILURES {
                        tokens.failures = 0;
                        tokens.rests_until = context.now + REST;
                    }
                }
                self.get_failed(number, context);
                self.ask_for_token(device, context);
            }
        }
        self.go_on(context);
    }

    /// Bytes of an answer have come.
    pub(crate) fn answer_bytes(
        &mut self,
        number: u32,
        mut bytes: &[u8],
        context: &mut Context<'_>,
    ) {
        let now = context.now;
        let Some(get) = self.gets.by_number.get(&number).filter(|get| get.good) else {
            return;
        };
        let device = get.device;
        self.with_engine(|engine, share| engine.handle_moving(share, device, now));
        while let Some((of, position, sealed)) = self.next_of(number, &mut bytes) {
            if !self.arrived(of, position, sealed, context) {
                break;
            }
        }
        self.go_on(context);
    }

    /// Takes bytes of an answer; gives the next chunk, when all of it is there.
    fn next_of(&mut self, number: u32, bytes: &mut &[u8]) -> Option<(Part, u32, Vec<u8>)> {
        let get = self.gets.by_number.get(&number)?;
        if get.next >= get.end {
            return None;
        }
        let length = self.sealed_length(get.of.space, get.next)?;
        let length = usize::try_from(length).ok()?;
        let get = self.gets.by_number.get_mut(&number)?;
        let missing = length.checked_sub(get.sealed.len())?;
        let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
        *bytes = rest;
        // All of its room at once: what grows is copied, and leaves holes.
        get.sealed.reserve_exact(missing);
        get.sealed.extend_from_slice(taken);
        if get.sealed.len() < length {
            return None;
        }
        let position = get.next;
        get.next += 1;
        Some((get.of, position, std::mem::take(&mut get.sealed)))
    }

    /// An answer is over.
    pub(crate) fn answer_end(&mut self, number: u32, complete: bool, context: &mut Context<'_>) {
        let Some(get) = self.gets.by_number.get(&number) else {
            return;
        };
        let (device, part, whole) = (get.device, get.part, get.next >= get.end);
        if let Some(tokens) = self.gets.tokens.get_mut(&device) {
            if complete && whole {
                tokens.failures = 0;
            } else {
                tokens.failures += 1;
                if tokens.failures >= MAX_FAILURES {
                    tokens.failures = 0;
                    tokens.rests_until = context.now + REST;
                }
            }
        }
        if whole {
            self.end_get(number, context);
            self.part_over(part, context);
        } else {
            self.get_failed(number, context);
        }
        self.go_on(context);
    }

    /// Has the rest of an answer come on the stream.
    fn get_failed(&mut self, number: u32, context: &mut Context<'_>) {
        let Some(get) = self.gets.by_number.remove(&number) else {
            return;
        };
        context.out.get_no_more(number);
        self.wants.remove(get.part);
        let want = Want {
            device: get.device,
            request: get.of.request,
            space: get.of.space,
            version: get.of.version,
            ranges: ranges_of(get.next..get.end),
        };
        self.ask_on_stream(&want, context);
    }

    fn end_get(&mut self, number: u32, context: &mut Context<'_>) {
        self.gets.by_number.remove(&number);
        context.out.get_no_more(number);
    }
}
