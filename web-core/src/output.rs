//! Wishes of the core: messages one after the other, each with its length (4) in front,
//! little-endian.
//!
//! | kind | fields |
//! |---|---|
//! | 1 open a pipe | pipe (4), number of the endpoint (4) |
//! | 2 send | pipe (4), bytes |
//! | 3 close a pipe | pipe (4) |
//! | 4 get | get (4), number of the endpoint (4), path (text) |
//! | 5 get no more | get (4) |
//! | 6 opened | share (4), version (8), published, ms (8), size (8), id (16), owner's id (1 and text), entries (4), the entries |
//! | 7 chunk | share (4), reading (4), bytes to leave out (4), bytes to give (4), 1: opened already (1), key (32), bytes |
//! | 8 read to the end | share (4), reading (4) |
//! | 9 failed | share (4), reading (4; all ones: the share), code (1), retry after, ms (4), text |
//! | 10 sources | share (4), count (4), each: kind (1: 1 device, 2 store), state (1: 1 open, 2 waiting, 3 closed), id (1 and text), bytes (8), bytes per second (8) |
//! | 11 wake | milliseconds from now (4; all ones: nothing is due) |
//! | 12 started | id of the page's device (text) |
//! | 13 malformed | the page's last message was none |
//! | 64 event | length of the JSON (4), JSON, bytes: what a device reports (`device/event.rs`) |
//!
//! An entry: depth (4), kind (1: 1 file, 2 folder, 3 symlink), executable (1), size (8), modified, ms (8, signed), name (2 and text),
//! target (2 and text).

use crate::error::ShareError;
use hither_proto::{ChunkKey, DeviceId, Entry, EntryKind, HolderKind, SignedHead};

/// The number that stands for a share itself where a reading could be named.
pub const WHOLE_SHARE: u32 = u32::MAX;

/// The state of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SourceState {
    Open,
    Waiting,
    Closed,
}

/// A source as the page shows it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SourceLine {
    pub device: DeviceId,
    pub kind: HolderKind,
    pub state: SourceState,
    pub bytes: u64,
    pub rate: u64,
}

/// Gathers what is to be done.
#[derive(Debug, Default)]
pub struct Outputs(Vec<u8>);

impl Outputs {
    /// All of it, and begins anew.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }

    pub(crate) fn message(&mut self, kind: u8, parts: &[&[u8]]) {
        let length = 1 + parts.iter().map(|part| part.len()).sum::<usize>();
        // No message reaches 4 GiB: the memory of WebAssembly ends there.
        self.0.extend((length as u32).to_le_bytes());
        self.0.push(kind);
        parts.iter().for_each(|part| self.0.extend_from_slice(part));
    }

    pub(crate) fn open_pipe(&mut self, pipe: u32, endpoint: u32) {
        self.message(1, &[&pipe.to_le_bytes(), &endpoint.to_le_bytes()]);
    }

    pub(crate) fn send(&mut self, pipe: u32, bytes: &[u8]) {
        self.message(2, &[&pipe.to_le_bytes(), bytes]);
    }

    pub(crate) fn close_pipe(&mut self, pipe: u32) {
        self.message(3, &[&pipe.to_le_bytes()]);
    }

    pub(crate) fn get(&mut self, get: u32, endpoint: u32, path: &str) {
        self.message(
            4,
            &[&get.to_le_bytes(), &endpoint.to_le_bytes(), path.as_bytes()],
        );
    }

    pub(crate) fn get_no_more(&mut self, get: u32) {
        self.message(5, &[&get.to_le_bytes()]);
    }

    pub(crate) fn opened(
        &mut self,
        share: u32,
        head: &SignedHead,
        owner: &DeviceId,
        entries: &[Entry],
    ) {
        let mut list = Vec::with_capacity(entries.len() * 48);
        entries.iter().for_each(|entry| encode(entry, &mut list));
        let head = head.head();
        self.message(
            6,
            &[
                &share.to_le_bytes(),
                &head.version.to_le_bytes(),
                &head.published_ms.to_le_bytes(),
                &head.bytes.to_le_bytes(),
                head.share.as_bytes(),
                &short(&owner.to_string()),
                &(entries.len() as u32).to_le_bytes(),
                &list,
            ],
        );
    }

    pub(crate) fn chunk(
        &mut self,
        of: (u32, u32),
        part: (u32, u32),
        key: Option<&ChunkKey>,
        bytes: &[u8],
    ) {
        let none = [0u8; 32];
        self.message(
            7,
            &[
                &of.0.to_le_bytes(),
                &of.1.to_le_bytes(),
                &part.0.to_le_bytes(),
                &part.1.to_le_bytes(),
                &[u8::from(key.is_none())],
                key.map_or(&none, |key| key.expose()),
                bytes,
            ],
        );
    }

    pub(crate) fn read_to_the_end(&mut self, share: u32, reading: u32) {
        self.message(8, &[&share.to_le_bytes(), &reading.to_le_bytes()]);
    }

    pub(crate) fn failed(&mut self, share: u32, reading: u32, error: &ShareError) {
        self.message(
            9,
            &[
                &share.to_le_bytes(),
                &reading.to_le_bytes(),
                &[error.code.number()],
                &error.retry_after_ms.to_le_bytes(),
                error.message.as_bytes(),
            ],
        );
    }

    pub(crate) fn sources(&mut self, share: u32, lines: &[SourceLine]) {
        let mut list = Vec::new();
        for line in lines {
            list.push(match line.kind {
                HolderKind::Device => 1,
                HolderKind::Store => 2,
            });
            list.push(match line.state {
                SourceState::Open => 1,
                SourceState::Waiting => 2,
                SourceState::Closed => 3,
            });
            list.extend(short(&line.device.to_string()));
            list.extend(line.bytes.to_le_bytes());
            list.extend(line.rate.to_le_bytes());
        }
        self.message(
            10,
            &[
                &share.to_le_bytes(),
                &(lines.len() as u32).to_le_bytes(),
                &list,
            ],
        );
    }

    pub(crate) fn wake(&mut self, after_ms: u32) {
        self.message(11, &[&after_ms.to_le_bytes()]);
    }

    pub(crate) fn started(&mut self, device: &DeviceId) {
        self.message(12, &[device.to_string().as_bytes()]);
    }

    pub(crate) fn malformed(&mut self) {
        self.message(13, &[]);
    }
}

/// An id as text, with its length in front: some fifty bytes.
fn short(text: &str) -> Vec<u8> {
    [&[text.len() as u8], text.as_bytes()].concat()
}

fn encode(entry: &Entry, list: &mut Vec<u8>) {
    let (kind, size, target) = match &entry.kind {
        EntryKind::File { size, .. } => (1, *size, ""),
        EntryKind::Folder => (2, 0, ""),
        EntryKind::Symlink { target } => (3, 0, target.as_str()),
    };
    list.extend(entry.depth.to_le_bytes());
    list.push(kind);
    list.push(u8::from(kind == 1 && entry.mode & 0o111 != 0));
    list.extend(size.to_le_bytes());
    list.extend((entry.mtime_ns.div_euclid(1_000_000)).to_le_bytes());
    for text in [entry.name.as_str(), target] {
        // A name has at most 255 bytes, a target 4,095: the parser of the manifest sees to that.
        list.extend((text.len() as u16).to_le_bytes());
        list.extend(text.as_bytes());
    }
}
