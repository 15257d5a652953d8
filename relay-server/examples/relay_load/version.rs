//! A share, as far as a relay can tell: random chunks.

use crate::Failure;
use bytes::Bytes;
use hither_carrier::Identity;
use hither_proto::{ChunkId, Head, PutRecord, ReadKey, ShareId, ShareSecret, SignedHead, Space};

/// Random bytes that chunks are cut out of, at changing places.
const SOURCE: usize = 64 << 20;
/// A chunk begins so far behind the one before, so that no two are equal.
const STEP: usize = 4099;

/// One version of a share.
pub struct Version {
    pub head: SignedHead,
    pub key: ReadKey,
    root: Bytes,
    manifest: Bytes,
    pub data: Vec<Bytes>,
    pub records: Vec<PutRecord>,
}

fn random(length: usize) -> Result<Bytes, Failure> {
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.into())
}

fn id(chunk: &[u8]) -> ChunkId {
    ChunkId::new(*blake3::hash(chunk).as_bytes())
}

fn record(chunk: &Bytes) -> Result<PutRecord, Failure> {
    Ok(PutRecord {
        id: id(chunk),
        length: u32::try_from(chunk.len())?,
    })
}

impl Version {
    /// With chunks that nobody else has.
    pub fn random(owner: &Identity, chunks: usize, length: usize) -> Result<Self, Failure> {
        let source = random(SOURCE)?;
        let cut = |n: usize| {
            let from = (n * STEP) % (SOURCE - length);
            source.slice(from..from + length)
        };
        let data: Vec<Bytes> = (0..chunks).map(cut).collect();
        let secret = ShareSecret::new(*random(16)?.first_chunk().ok_or("random bytes")?);
        let (root, manifest) = (random(100)?, random(1000)?);
        let head = Head {
            share: secret.share_id(),
            version: 1,
            root: id(&root),
            root_length: u32::try_from(root.len())?,
            salt: [1; 16],
            chunks: u32::try_from(chunks)?,
            manifest_chunks: 1,
            bytes: data.iter().map(|chunk| chunk.len() as u64).sum(),
            published_ms: 1,
        };
        let head = SignedHead::sign(head, |message| owner.sign(message));
        let records: Result<_, _> = data.iter().map(record).collect();
        Ok(Self {
            head,
            key: secret.read_key(),
            root,
            manifest,
            data,
            records: records?,
        })
    }

    pub fn share(&self) -> ShareId {
        self.head.head().share
    }

    /// Of everything.
    pub fn bytes(&self) -> u64 {
        let all = self.data.iter().chain([&self.root, &self.manifest]);
        all.map(|chunk| chunk.len() as u64).sum()
    }

    pub fn manifest_record(&self) -> Result<PutRecord, Failure> {
        record(&self.manifest)
    }

    pub fn chunk(&self, space: Space, position: u32) -> Bytes {
        match space {
            Space::Root => self.root.clone(),
            Space::Manifest => self.manifest.clone(),
            Space::Data => self.data[position as usize].clone(),
        }
    }
}
