//! The first reading of what is sent: pieces of files become chunks with keys and ids.
//!
//! The page reads and encrypts (WebCrypto is ten times as fast as what WebAssembly has); here the
//! pieces are cut, the keys made, and the ciphertexts hashed. Invariants: at most [`Preparing::room`]
//! bytes are asked for that no id stands for yet, so memory does not grow with the files; records
//! come in the order of the stream; a piece of another length than was asked for ends it.

use super::cut::{Cutter, Domain};
use super::plan::Plan;
use crate::crypt;
use hither_proto::limits::CHUNK_TAG;
use hither_proto::{ChunkKey, ChunkRecord};
use std::collections::VecDeque;

/// Bytes that are asked for at once.
const PIECE: u64 = 1024 * 1024;
/// Bytes in front that were cut already and are kept until moving the rest is worth it.
const KEPT: usize = 1024 * 1024;
/// The page is told of records whenever so many bytes more have them.
const TELL: u64 = 64 * 1024 * 1024;

/// A part of a file that the page is to read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Need {
    pub file: u32,
    pub offset: u64,
    pub length: u64,
}

/// The outcome of one piece.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    pub lengths: Vec<u32>,
    /// 32 bytes each.
    pub keys: Vec<u8>,
}

/// The file is not what it was.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Changed;

pub(super) struct Preparing {
    domain: Domain,
    cutter: Cutter,
    /// Chunks are encrypted here, because the page has no WebCrypto.
    seal_here: bool,
    pub(super) records: Vec<ChunkRecord>,
    /// Offsets in the stream: up to where there are records, cuts, bytes, and wishes.
    recorded: u64,
    cut: u64,
    got: u64,
    asked: u64,
    /// Bytes that are not cut yet, from `at` on.
    buffer: Vec<u8>,
    at: usize,
    /// Lengths of the pieces that are to come.
    coming: VecDeque<u64>,
    /// Chunks whose ciphertext is to come.
    unsealed: VecDeque<(ChunkKey, u32)>,
    told: (usize, u64),
}

impl Preparing {
    /// Begins, or goes on behind records that an earlier page made.
    pub(super) fn new(
        plan: &Plan,
        domain: Domain,
        records: Vec<ChunkRecord>,
        seal_here: bool,
    ) -> Option<Self> {
        let known: u64 = records.iter().map(|r| u64::from(r.length)).sum();
        if known > plan.bytes() {
            return None;
        }
        Some(Self {
            cutter: Cutter::new(&domain, plan.average()),
            domain,
            seal_here,
            told: (records.len(), known),
            records,
            recorded: known,
            cut: known,
            got: known,
            asked: known,
            buffer: Vec::new(),
            at: 0,
            coming: VecDeque::new(),
            unsealed: VecDeque::new(),
        })
    }

    /// Plaintext bytes that have ids.
    pub(super) const fn recorded(&self) -> u64 {
        self.recorded
    }

    pub(super) fn is_done(&self, plan: &Plan) -> bool {
        self.recorded == plan.bytes()
    }

    /// Bytes that may be on their way from a file to an id.
    fn room(&self) -> u64 {
        2 * PIECE + 2 * self.cutter.max() as u64
    }

    /// The next part that the page is to read, if it may read on.
    pub(super) fn need(&mut self, plan: &Plan) -> Option<Need> {
        if self.asked - self.recorded >= self.room() {
            return None;
        }
        let (file, offset) = plan.file_at(self.asked)?;
        let length = (file.size - offset).min(PIECE);
        self.asked += length;
        self.coming.push_back(length);
        Some(Need {
            file: file.given,
            offset,
            length,
        })
    }

    /// Takes the next piece; returns the chunks that the page is to encrypt, in order.
    pub(super) fn piece(&mut self, plan: &Plan, bytes: &[u8]) -> Result<Cuts, Changed> {
        if self.coming.pop_front() != Some(bytes.len() as u64) {
            return Err(Changed);
        }
        if self.at > KEPT || self.at == self.buffer.len() {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
        self.buffer.extend_from_slice(bytes);
        self.got += bytes.len() as u64;
        let mut cuts = Cuts::default();
        while self.cut < self.got {
            let run_end = plan.run_end(self.cut);
            let end = self.got >= run_end;
            let there = (self.got.min(run_end) - self.cut) as usize;
            let Some(rest) = self.buffer.get(self.at..self.at + there) else {
                return Err(Changed);
            };
            let Some(length) = self.cutter.next(rest, end).filter(|length| *length > 0) else {
                break;
            };
            let chunk = rest.get(..length).ok_or(Changed)?;
            let key = blake3::keyed_hash(self.domain.secret(), chunk);
            if self.seal_here {
                let key = ChunkKey::new(*key.as_bytes());
                let sealed = crypt::seal(&key, chunk.to_vec()).map_err(|_| Changed)?;
                self.record(key, length as u32, &sealed);
            } else {
                cuts.lengths.push(length as u32);
                cuts.keys.extend_from_slice(key.as_bytes());
                self.unsealed
                    .push_back((ChunkKey::new(*key.as_bytes()), length as u32));
            }
            self.at += length;
            self.cut += length as u64;
        }
        Ok(cuts)
    }

    /// Takes ciphertexts of the next chunks, one after the other.
    pub(super) fn sealed(&mut self, mut bytes: &[u8]) -> Result<(), Changed> {
        while !bytes.is_empty() {
            let (key, length) = self.unsealed.pop_front().ok_or(Changed)?;
            let (sealed, rest) = bytes
                .split_at_checked((length + CHUNK_TAG) as usize)
                .ok_or(Changed)?;
            self.record(key, length, sealed);
            bytes = rest;
        }
        Ok(())
    }

    fn record(&mut self, key: ChunkKey, length: u32, sealed: &[u8]) {
        self.recorded += u64::from(length);
        self.records.push(ChunkRecord {
            id: crypt::chunk_id(sealed),
            key,
            length,
        });
    }

    /// Records that the page is to keep: the number of the first, and their bytes.
    pub(super) fn take_new_records(&mut self, plan: &Plan) -> Option<(usize, Vec<u8>)> {
        let (first, since) = self.told;
        let much = self.recorded - since >= TELL || self.is_done(plan);
        if !much || first == self.records.len() {
            return None;
        }
        self.told = (self.records.len(), self.recorded);
        let mut bytes = Vec::new();
        let new = self.records.get(first..).unwrap_or_default();
        new.iter().for_each(|record| record.encode_into(&mut bytes));
        Some((first, bytes))
    }
}
