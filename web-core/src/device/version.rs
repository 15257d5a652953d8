//! The version that an upload brings: manifest, root and signed head, of the records of the first
//! reading. The rules of `content/src/version.rs`.

use super::cut::{Cutter, Domain, cut_whole, manifest_average_for};
use super::plan::Plan;
use crate::crypt;
use crate::tls::Identity;
use hither_proto::limits::{CHUNK_TAG, MAX_MANIFEST, MAX_ROOT};
use hither_proto::{ChunkKey, ChunkRecord, Head, PutRecord, Root, ShareSecret, SignedHead, Space};

/// The secrets and facts that make a version; the page keeps them until the upload is done.
#[derive(Clone)]
pub(super) struct Inputs {
    pub secret: ShareSecret,
    pub domain: Domain,
    pub salt: [u8; 16],
    pub published_ms: u64,
}

/// Everything of a version but the files' ciphertext.
pub(super) struct Version {
    pub head: SignedHead,
    pub root: Vec<u8>,
    /// Ciphertexts of the manifest's chunks.
    pub manifest: Vec<Vec<u8>>,
    pub of_manifest: Vec<ChunkRecord>,
    pub of_data: Vec<ChunkRecord>,
}

/// Seals a version; `None`: the list of files and chunks is too long.
pub(super) fn seal(
    plan: &Plan,
    records: Vec<ChunkRecord>,
    inputs: &Inputs,
    identity: &Identity,
) -> Option<Version> {
    let of_data = records.clone();
    let manifest = plan.manifest(records).ok()?;
    let encoded = manifest.encode();
    if encoded.len() as u64 > MAX_MANIFEST {
        return None;
    }
    let cutter = Cutter::new(&inputs.domain, manifest_average_for(encoded.len()));
    let (mut of_manifest, mut sealed, mut rest) = (Vec::new(), Vec::new(), encoded.as_slice());
    for length in cut_whole(&cutter, &encoded) {
        let (chunk, after) = rest.split_at_checked(length)?;
        let key = blake3::keyed_hash(inputs.domain.secret(), chunk);
        let key = ChunkKey::new(*key.as_bytes());
        let bytes = crypt::seal(&key, chunk.to_vec()).ok()?;
        of_manifest.push(ChunkRecord {
            id: crypt::chunk_id(&bytes),
            key,
            length: length as u32,
        });
        sealed.push(bytes);
        rest = after;
    }
    let root = Root::new(of_manifest.clone()).ok()?;
    let key = inputs.secret.root_key(1, &inputs.salt);
    let root = crypt::seal(&key, root.encode()).ok()?;
    let root_length = u32::try_from(root.len()).ok().filter(|l| *l <= MAX_ROOT)?;
    let head = Head {
        share: inputs.secret.share_id(),
        version: 1,
        root: crypt::chunk_id(&root),
        root_length,
        salt: inputs.salt,
        chunks: u32::try_from(of_data.len()).ok()?,
        manifest_chunks: u32::try_from(of_manifest.len()).ok()?,
        bytes: manifest.bytes(),
        published_ms: inputs.published_ms,
    };
    Some(Version {
        head: SignedHead::sign(head, |message| identity.sign(message)),
        root,
        manifest: sealed,
        of_manifest,
        of_data,
    })
}

impl Version {
    /// Ciphertext of everything, bytes.
    pub(super) fn bytes(&self) -> u64 {
        let of = |records: &[ChunkRecord]| -> u64 {
            let lengths = records.iter().map(|r| u64::from(r.length + CHUNK_TAG));
            lengths.sum()
        };
        self.root.len() as u64 + of(&self.of_manifest) + of(&self.of_data)
    }

    /// Ids and lengths of positions from `first` on, at most `most` of them.
    pub(super) fn list(&self, space: Space, first: usize, most: usize) -> Vec<PutRecord> {
        let records = match space {
            Space::Data => &self.of_data,
            Space::Manifest | Space::Root => &self.of_manifest,
        };
        let some = records.iter().skip(first).take(most);
        some.map(|record| PutRecord {
            id: record.id,
            length: record.length + CHUNK_TAG,
        })
        .collect()
    }
}
