//! Shares, as far as a relay can tell.

use super::Device;
use bytes::Bytes;
use hither_proto::{ChunkId, DeviceId, Head, Ranges, ShareId, ShareSecret, SignedHead, Space};

pub fn ranges(positions: std::ops::Range<u32>) -> Ranges {
    Ranges::from_bitmap(&positions.collect())
}

pub fn id(chunk: &[u8]) -> ChunkId {
    ChunkId::new(*blake3::hash(chunk).as_bytes())
}

/// One version of a share, encrypted as far as a relay can tell.
pub struct Version {
    pub secret: ShareSecret,
    pub owner: DeviceId,
    pub head: SignedHead,
    pub root: Bytes,
    pub manifest: Vec<Bytes>,
    pub data: Vec<Bytes>,
}

impl Version {
    /// `chunks` chunks of `length` bytes that nobody else has.
    pub fn random(owner: &Device, number: u64, chunks: usize, length: usize) -> Self {
        let secret = ShareSecret::new(random(16)[..].try_into().unwrap());
        let data = (0..chunks).map(|_| random(length)).collect();
        Self::of(owner, secret, number, data)
    }

    pub fn of(owner: &Device, secret: ShareSecret, number: u64, data: Vec<Bytes>) -> Self {
        let (root, manifest) = (random(100), vec![random(1000), random(500)]);
        let head = Head {
            share: secret.share_id(),
            version: number,
            root: id(&root),
            root_length: root.len() as u32,
            salt: [1; 16],
            chunks: data.len() as u32,
            manifest_chunks: manifest.len() as u32,
            bytes: data.iter().map(|chunk| chunk.len() as u64).sum(),
            published_ms: 1,
        };
        let head = SignedHead::sign(head, |message| owner.identity.sign(message));
        Self {
            secret,
            owner: owner.id(),
            head,
            root,
            manifest,
            data,
        }
    }

    pub fn share(&self) -> ShareId {
        self.head.head().share
    }

    pub fn bytes(&self) -> u64 {
        let chunks = self.manifest.iter().chain(&self.data).chain([&self.root]);
        chunks.map(|chunk| chunk.len() as u64).sum()
    }

    pub fn chunk(&self, space: Space, position: u32) -> Bytes {
        match space {
            Space::Root => self.root.clone(),
            Space::Manifest => self.manifest[position as usize].clone(),
            Space::Data => self.data[position as usize].clone(),
        }
    }

    /// Chunks of a space with their positions.
    pub fn all(&self, space: Space) -> Vec<(u32, Bytes)> {
        let chunks: &[Bytes] = match space {
            Space::Root => std::slice::from_ref(&self.root),
            Space::Manifest => &self.manifest,
            Space::Data => &self.data,
        };
        (0..).zip(chunks.iter().cloned()).collect()
    }
}

pub fn random(length: usize) -> Bytes {
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes).unwrap();
    bytes.into()
}
