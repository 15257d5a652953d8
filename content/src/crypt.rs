//! Sealing and opening chunks and roots.
//!
//! A chunk's key is the keyed BLAKE3 hash of its plaintext under the domain's secret; the chunk is
//! AES-256-GCM under that key with an all-zero nonce, the tag at its end; its id is the BLAKE3 hash
//! of that. Equal plaintexts in one domain are equal chunks; who does not know the domain's secret
//! can neither read a chunk nor test a guess.
//!
//! Invariants: one key ever encrypts one plaintext (that is what makes the fixed nonce safe), so a
//! ciphertext made under a key that came from a record leaves this crate only after its id has been
//! compared; ciphertext is compared with its id before it is decrypted.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use hither_proto::limits::{CHUNK_TAG, MAX_CHUNK, MAX_ROOT};
use hither_proto::{ChunkId, ChunkKey, ChunkRecord, Head, Root, RootError, ShareSecret};
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

const TAG: usize = CHUNK_TAG as usize;

/// Within which equal contents become equal chunks: one share with its later versions, or one
/// group.
///
/// Known to who makes shares in the domain; not part of a ticket.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct DomainSecret([u8; 32]);

impl DomainSecret {
    /// Length, bytes.
    pub const LEN: usize = 32;

    /// Wraps stored bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A fresh secret from the system's random source; fails when that does.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The secret bytes, for storing. Never log or print them.
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Moves the places at which this domain's contents are cut, so that chunk lengths, which
    /// everybody who carries chunks sees, do not give well-known files away as readily.
    pub(crate) fn cut_seed(&self) -> u64 {
        let mut seed = [0; 8];
        blake3::Hasher::new_derive_key("hither.v1 cutting")
            .update(&self.0)
            .finalize_xof()
            .fill(&mut seed);
        u64::from_le_bytes(seed)
    }
}

impl fmt::Debug for DomainSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DomainSecret(secret)")
    }
}

/// Why something could not be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// A chunk has 1 to [`MAX_CHUNK`] bytes.
    #[error("a chunk cannot have {0} bytes")]
    Length(usize),
    /// The cipher refused; it has no reason to at these lengths.
    #[error("encryption failed")]
    Cipher,
}

/// What was received or read is not what its id says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the data does not match its id")]
pub struct Damaged;

/// Why a root could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenRootError {
    /// Not the root that the head names, or not encrypted for this share.
    #[error("the share's root does not match its head")]
    Damaged(#[from] Damaged),
    /// It decrypts and still is no root.
    #[error(transparent)]
    Root(#[from] RootError),
}

/// Seals a chunk: `buffer` holds the plaintext before and ciphertext and tag after.
pub fn seal_chunk(domain: &DomainSecret, buffer: &mut Vec<u8>) -> Result<ChunkRecord, SealError> {
    let length = chunk_length(buffer)?;
    let key = chunk_key(domain, buffer);
    encrypt(&key, buffer)?;
    Ok(ChunkRecord {
        id: chunk_id(buffer),
        key,
        length,
    })
}

/// Returns what [`seal_chunk`] returns for `plaintext`, leaving it as it is; `scratch` is
/// overwritten with the sealed chunk.
pub(crate) fn record_of(
    domain: &DomainSecret,
    plaintext: &[u8],
    scratch: &mut Vec<u8>,
) -> Result<ChunkRecord, SealError> {
    let length = chunk_length(plaintext)?;
    let key = chunk_key(domain, plaintext);
    scratch.resize(plaintext.len() + TAG, 0);
    let (out, tag) = scratch.split_at_mut(plaintext.len());
    cipher(&key)?
        .seal_out_of_place_scatter(nonce(), Aad::empty(), plaintext, out, &[], tag)
        .map_err(|_| SealError::Cipher)?;
    Ok(ChunkRecord {
        id: chunk_id(scratch),
        key,
        length,
    })
}

/// Whether `plaintext` is the chunk that a record names; `scratch` is overwritten.
pub(crate) fn matches_record(
    record: &ChunkRecord,
    plaintext: &[u8],
    scratch: &mut Vec<u8>,
) -> bool {
    scratch.resize(plaintext.len() + TAG, 0);
    let (out, tag) = scratch.split_at_mut(plaintext.len());
    plaintext.len() == record.length as usize
        && cipher(&record.key).is_ok_and(|cipher| {
            cipher
                .seal_out_of_place_scatter(nonce(), Aad::empty(), plaintext, out, &[], tag)
                .is_ok()
        })
        && chunk_id(scratch) == record.id
}

/// Seals a chunk whose record is known; fails, with `buffer` emptied, unless the result has the
/// record's id.
pub(crate) fn reseal_chunk(record: &ChunkRecord, buffer: &mut Vec<u8>) -> Result<(), Damaged> {
    if buffer.len() == record.length as usize
        && encrypt(&record.key, buffer).is_ok()
        && chunk_id(buffer) == record.id
    {
        return Ok(());
    }
    buffer.clear();
    Err(Damaged)
}

/// Opens a chunk: `buffer` holds ciphertext and tag before and the plaintext after.
///
/// The id is compared first; on failure `buffer` is emptied.
pub fn open_chunk(record: &ChunkRecord, buffer: &mut Vec<u8>) -> Result<(), Damaged> {
    if buffer.len() == record.length as usize + TAG
        && chunk_id(buffer) == record.id
        && decrypt(&record.key, buffer).is_ok()
    {
        return Ok(());
    }
    buffer.clear();
    Err(Damaged)
}

/// Checks a sealed chunk against its id: all that a holder without the key can do, and enough.
pub fn verify_chunk(id: &ChunkId, sealed: &[u8]) -> Result<(), Damaged> {
    if chunk_id(sealed) == *id {
        Ok(())
    } else {
        Err(Damaged)
    }
}

/// Seals a root for one version of the share that `secret` opens.
pub(crate) fn seal_root(
    secret: &ShareSecret,
    version: u64,
    salt: &[u8; 16],
    root: &Root,
) -> Result<Vec<u8>, SealError> {
    let mut buffer = root.encode();
    encrypt(&secret.root_key(version, salt), &mut buffer)?;
    if buffer.len() > MAX_ROOT as usize {
        Err(SealError::Length(buffer.len()))
    } else {
        Ok(buffer)
    }
}

/// Opens the root that `head` names.
pub fn open_root(head: &Head, secret: &ShareSecret, sealed: &[u8]) -> Result<Root, OpenRootError> {
    if sealed.len() != head.root_length as usize || chunk_id(sealed) != head.root {
        return Err(Damaged.into());
    }
    let mut buffer = sealed.to_vec();
    decrypt(&secret.root_key(head.version, &head.salt), &mut buffer)?;
    let root = Root::decode(&buffer);
    buffer.zeroize();
    Ok(root?)
}

/// BLAKE3 of a sealed chunk or root.
pub(crate) fn chunk_id(sealed: &[u8]) -> ChunkId {
    ChunkId::new(*blake3::hash(sealed).as_bytes())
}

fn chunk_length(plaintext: &[u8]) -> Result<u32, SealError> {
    u32::try_from(plaintext.len())
        .ok()
        .filter(|length| (1..=MAX_CHUNK).contains(length))
        .ok_or(SealError::Length(plaintext.len()))
}

fn chunk_key(domain: &DomainSecret, plaintext: &[u8]) -> ChunkKey {
    ChunkKey::new(*blake3::keyed_hash(&domain.0, plaintext).as_bytes())
}

fn cipher(key: &ChunkKey) -> Result<LessSafeKey, SealError> {
    UnboundKey::new(&AES_256_GCM, key.expose())
        .map(LessSafeKey::new)
        .map_err(|_| SealError::Cipher)
}

/// Always zero: every key is used for one message.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

fn encrypt(key: &ChunkKey, buffer: &mut Vec<u8>) -> Result<(), SealError> {
    cipher(key)?
        .seal_in_place_append_tag(nonce(), Aad::empty(), buffer)
        .map_err(|_| SealError::Cipher)
}

fn decrypt(key: &ChunkKey, buffer: &mut Vec<u8>) -> Result<(), Damaged> {
    let length = cipher(key)
        .map_err(|_| Damaged)?
        .open_in_place(nonce(), Aad::empty(), buffer)
        .map_err(|_| Damaged)?
        .len();
    buffer.truncate(length);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(byte: u8) -> DomainSecret {
        DomainSecret::new([byte; 32])
    }

    #[test]
    fn chunks_round_trip() {
        let plaintext: Vec<u8> = (0..100_000u32).map(|i| i as u8).collect();
        let mut buffer = plaintext.clone();
        let record = seal_chunk(&domain(1), &mut buffer).unwrap();
        assert_eq!(buffer.len(), plaintext.len() + TAG);
        assert_eq!(verify_chunk(&record.id, &buffer), Ok(()));
        let mut scratch = Vec::new();
        assert_eq!(
            record_of(&domain(1), &plaintext, &mut scratch),
            Ok(record.clone())
        );
        assert_eq!(scratch, buffer);
        let mut again = plaintext.clone();
        reseal_chunk(&record, &mut again).unwrap();
        assert_eq!(again, buffer);
        open_chunk(&record, &mut buffer).unwrap();
        assert_eq!(buffer, plaintext);
    }

    #[test]
    fn every_flipped_bit_is_noticed_and_leaves_nothing_behind() {
        let mut sealed = b"some plaintext".to_vec();
        let record = seal_chunk(&domain(1), &mut sealed).unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut bad = sealed.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open_chunk(&record, &mut bad), Err(Damaged));
            assert!(bad.is_empty());
        }
        assert_eq!(
            open_chunk(&record, &mut sealed[..sealed.len() - 1].to_vec()),
            Err(Damaged)
        );
        let mut changed = b"some plaintexT".to_vec();
        assert_eq!(reseal_chunk(&record, &mut changed), Err(Damaged));
        assert!(changed.is_empty());
    }

    #[test]
    fn a_record_with_the_wrong_key_or_length_opens_nothing() {
        let mut sealed = b"some plaintext".to_vec();
        let record = seal_chunk(&domain(1), &mut sealed).unwrap();
        let wrong_key = ChunkRecord {
            key: ChunkKey::new([9; 32]),
            ..record.clone()
        };
        assert_eq!(open_chunk(&wrong_key, &mut sealed.clone()), Err(Damaged));
        let wrong_length = ChunkRecord {
            length: record.length + 1,
            ..record
        };
        assert_eq!(open_chunk(&wrong_length, &mut sealed), Err(Damaged));
    }

    #[test]
    fn domains_share_nothing() {
        let (mut a, mut b) = (b"text".to_vec(), b"text".to_vec());
        let (first, second) = (
            seal_chunk(&domain(1), &mut a).unwrap(),
            seal_chunk(&domain(2), &mut b).unwrap(),
        );
        assert_ne!(first.id, second.id);
        assert_ne!(domain(1).cut_seed(), domain(2).cut_seed());
        assert_eq!(format!("{:?}", domain(1)), "DomainSecret(secret)");
    }

    #[test]
    fn chunks_of_impossible_length_are_refused() {
        assert_eq!(
            seal_chunk(&domain(1), &mut Vec::new()),
            Err(SealError::Length(0))
        );
        let long = MAX_CHUNK as usize + 1;
        assert_eq!(
            seal_chunk(&domain(1), &mut vec![0; long]),
            Err(SealError::Length(long))
        );
    }

    #[test]
    fn roots_open_for_their_share_and_version_only() {
        let secret = ShareSecret::new([3; 16]);
        let mut chunk = b"manifest".to_vec();
        let root = Root::new(vec![seal_chunk(&domain(1), &mut chunk).unwrap()]).unwrap();
        let sealed = seal_root(&secret, 2, &[7; 16], &root).unwrap();
        let head = Head {
            share: secret.share_id(),
            version: 2,
            root: chunk_id(&sealed),
            root_length: sealed.len() as u32,
            salt: [7; 16],
            chunks: 1,
            manifest_chunks: 1,
            bytes: 8,
            published_ms: 0,
        };
        assert_eq!(open_root(&head, &secret, &sealed), Ok(root));
        let other = Head {
            version: 3,
            ..head.clone()
        };
        assert_eq!(
            open_root(&other, &secret, &sealed),
            Err(OpenRootError::Damaged(Damaged))
        );
        assert_eq!(
            open_root(&head, &ShareSecret::new([4; 16]), &sealed),
            Err(OpenRootError::Damaged(Damaged))
        );
        assert_eq!(
            open_root(&head, &secret, &sealed[1..]),
            Err(OpenRootError::Damaged(Damaged))
        );
    }
}
