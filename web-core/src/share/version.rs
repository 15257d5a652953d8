//! One version: from its head over root and manifest to its files.

use super::Share;
use crate::context::Context;
use crate::crypt;
use crate::error::{ErrorCode, ShareError};
use hither_engine::Plan;
use hither_proto::limits::CHUNK_TAG;
use hither_proto::{Entry, EntryKind, Manifest, Root, SignedHead, Space};
use roaring::RoaringBitmap;

/// Longest manifest that a page takes, bytes: some 600,000 files. What is parsed of it takes three times as much memory.
const MAX_MANIFEST: u64 = 64 << 20;

/// The stage that a share has reached.
#[derive(Debug)]
pub(super) enum Stage {
    /// Nobody has shown a version that counts.
    Locating,
    /// The root is being got.
    Root {
        head: Box<SignedHead>,
        planned: bool,
    },
    /// The manifest is being got.
    Manifest(Box<Parts>),
    /// The files can be read.
    Open(Box<Version>),
}

/// A manifest as far as it has come.
pub(super) struct Parts {
    head: SignedHead,
    root: Root,
    chunks: Vec<Option<Vec<u8>>>,
    missing: usize,
    planned: bool,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts")
            .field("missing", &self.missing)
            .finish_non_exhaustive()
    }
}

/// A version whose manifest is here.
pub(super) struct Version {
    pub head: SignedHead,
    pub manifest: Manifest,
    /// The beginning of each data chunk in the stream of all files, bytes, and the end of the last one.
    starts: Vec<u64>,
}

impl std::fmt::Debug for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Version")
            .field("number", &self.head.head().version)
            .finish_non_exhaustive()
    }
}

impl Version {
    fn new(head: SignedHead, manifest: Manifest) -> Self {
        let mut at = 0;
        let mut starts = vec![0];
        for chunk in manifest.chunks() {
            at += u64::from(chunk.length);
            starts.push(at);
        }
        Self {
            head,
            manifest,
            starts,
        }
    }

    /// The size of a file and where it begins in the stream of all files, bytes.
    pub fn file(&self, entry: u32) -> Option<(u64, u64)> {
        match self.manifest.entries().get(entry as usize)?.kind {
            EntryKind::File { size, offset } => Some((size, offset)),
            EntryKind::Folder | EntryKind::Symlink { .. } => None,
        }
    }

    /// The position of the chunk that has this byte of the stream.
    pub fn position_of(&self, byte: u64) -> u32 {
        let after = self.starts.partition_point(|start| *start <= byte);
        u32::try_from(after.saturating_sub(1)).unwrap_or(u32::MAX)
    }

    /// The beginning of a chunk in the stream, bytes.
    pub fn start_of(&self, position: u32) -> u64 {
        self.starts
            .get(position as usize)
            .copied()
            .unwrap_or(u64::MAX)
    }

    /// Plaintext length of a chunk, bytes.
    pub fn length_of(&self, position: u32) -> u32 {
        let chunk = self.manifest.chunks().get(position as usize);
        chunk.map_or(0, |chunk| chunk.length)
    }

    /// The number of chunks.
    pub fn chunks(&self) -> u32 {
        u32::try_from(self.manifest.chunks().len()).unwrap_or(u32::MAX)
    }

    /// Plaintext lengths of all chunks.
    pub fn lengths(&self) -> Vec<u32> {
        self.manifest.chunks().iter().map(|c| c.length).collect()
    }
}

impl Stage {
    /// Plaintext length of a position, bytes, if the space is the one that is being got.
    pub fn length(&self, space: Space, position: u32) -> Option<u32> {
        match (self, space) {
            (Self::Root { head, .. }, Space::Root) => {
                Some(head.head().root_length.saturating_sub(CHUNK_TAG))
            }
            (Self::Manifest(parts), Space::Manifest) => {
                let record = parts.root.records().get(position as usize)?;
                Some(record.length)
            }
            (Self::Open(version), Space::Data) => {
                let record = version.manifest.chunks().get(position as usize)?;
                Some(record.length)
            }
            _ => None,
        }
    }

    /// The version that was chosen.
    pub fn version(&self) -> Option<u64> {
        match self {
            Self::Locating => None,
            Self::Root { head, .. } => Some(head.head().version),
            Self::Manifest(parts) => Some(parts.head.head().version),
            Self::Open(version) => Some(version.head.head().version),
        }
    }
}

impl Share {
    /// The engine has chosen a version.
    pub(super) fn version_chosen(&mut self, version: u64, _: &Context<'_>) {
        if matches!(self.stage, Stage::Open(_)) {
            if self.stage.version() != Some(version) {
                self.fail(ErrorCode::Gone, "the share has a newer version by now");
            }
            return;
        }
        let Some(head) = self.holders.head(version).cloned() else {
            return;
        };
        let pinned =
            |pin: &hither_proto::Pin| pin.version == version && pin.root == head.head().root;
        if !self.ticket.pin.as_ref().is_none_or(pinned) {
            return self.fail(
                ErrorCode::NotFound,
                "the version that the ticket names is not offered",
            );
        }
        self.stage = Stage::Root {
            head: Box::new(head),
            planned: false,
        };
    }

    /// Plans what is to be got next, when that is clear.
    pub(super) fn next_stage(&mut self, context: &mut Context<'_>) {
        let now = context.now;
        let plan = match &mut self.stage {
            Stage::Root { head, planned } if !*planned => {
                *planned = true;
                let head = head.head();
                Plan {
                    version: head.version,
                    space: Space::Root,
                    lengths: vec![head.root_length.saturating_sub(CHUNK_TAG)],
                    wanted: std::iter::once(0).collect(),
                }
            }
            Stage::Manifest(parts) if !parts.planned => {
                parts.planned = true;
                let lengths: Vec<u32> = parts.root.records().iter().map(|r| r.length).collect();
                Plan {
                    version: parts.head.head().version,
                    space: Space::Manifest,
                    wanted: RoaringBitmap::from_iter(0..lengths.len() as u32),
                    lengths,
                }
            }
            Stage::Manifest(parts) if parts.missing == 0 => {
                return self.decode_manifest(context);
            }
            _ => return,
        };
        self.with_engine(|engine, share| engine.plan(share, plan, now));
    }

    /// Takes a chunk of the space that is being got; `false`: its bytes are not what its id says.
    pub(super) fn accept(&mut self, space: Space, position: u32, sealed: Vec<u8>) -> bool {
        match (&mut self.stage, space) {
            (Stage::Root { head, .. }, Space::Root) => {
                let head = (**head).clone();
                match crypt::open_root(head.head(), &self.ticket.secret, sealed) {
                    None => return false,
                    Some(root) => self.accept_root(head, root),
                }
            }
            (Stage::Manifest(parts), Space::Manifest) => {
                let record = parts.root.records().get(position as usize);
                let Some(record) = record.filter(|record| crypt::is_chunk(record, &sealed)) else {
                    return false;
                };
                match (
                    crypt::open(&record.key, sealed),
                    parts.chunks.get_mut(position as usize),
                ) {
                    (Ok(plain), Some(place)) => {
                        parts.missing -= usize::from(place.is_none());
                        *place = Some(plain);
                    }
                    _ => self.fail(ErrorCode::Damaged, "the list of files does not open"),
                }
            }
            (Stage::Open(version), Space::Data) => {
                let record = version.manifest.chunks().get(position as usize);
                if record.is_none_or(|record| !crypt::is_chunk(record, &sealed)) {
                    return false;
                }
                self.readings.put(position, sealed);
            }
            // Of a space before: it is not needed any more.
            _ => {}
        }
        true
    }

    fn accept_root(&mut self, head: SignedHead, root: Result<Root, crypt::Damaged>) {
        let Ok(root) = root else {
            return self.fail(ErrorCode::Damaged, "the share's root does not open");
        };
        if root.records().len() != head.head().manifest_chunks as usize {
            return self.fail(ErrorCode::Damaged, "the share's root does not fit its head");
        }
        if root.manifest_length() > MAX_MANIFEST {
            return self.fail(
                ErrorCode::TooLarge,
                "the list of files is too long for a page",
            );
        }
        let missing = root.records().len();
        self.stage = Stage::Manifest(Box::new(Parts {
            head,
            root,
            chunks: vec![None; missing],
            missing,
            planned: false,
        }));
    }

    fn decode_manifest(&mut self, context: &mut Context<'_>) {
        let Stage::Manifest(parts) = std::mem::replace(&mut self.stage, Stage::Locating) else {
            return;
        };
        let Parts { head, chunks, .. } = *parts;
        let bytes: Vec<u8> = chunks.into_iter().flatten().flatten().collect();
        let manifest = match Manifest::decode(&bytes) {
            Ok(manifest) => manifest,
            Err(error) => return self.fail_with(ShareError::from(error)),
        };
        let fits = manifest.bytes() == head.head().bytes
            && manifest.chunks().len() == head.head().chunks as usize;
        if !fits {
            return self.fail(
                ErrorCode::Damaged,
                "the list of files does not fit its head",
            );
        }
        let entries: &[Entry] = manifest.entries();
        context
            .out
            .opened(self.number, &head, &self.ticket.owner, entries);
        self.stage = Stage::Open(Box::new(Version::new(head, manifest)));
    }
}
