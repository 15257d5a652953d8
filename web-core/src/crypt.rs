//! Opening chunks and roots: BLAKE3 for what they are, AES-256-GCM for what is in them.
//!
//! Rules as in the program (`content/src/crypt.rs`), with another library below, which
//! compiles to WebAssembly. Large data is opened by WebCrypto instead, which is ten times as fast.

use hither_proto::limits::CHUNK_TAG;
use hither_proto::{ChunkId, ChunkKey, ChunkRecord, Head, Root, ShareSecret};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

/// Bytes that came are not what their id says, or do not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the data does not match its id")]
pub(crate) struct Damaged;

/// True when these are the sealed bytes that a record names.
pub(crate) fn is_chunk(record: &ChunkRecord, sealed: &[u8]) -> bool {
    sealed.len() as u64 == u64::from(record.length) + u64::from(CHUNK_TAG)
        && chunk_id(sealed) == record.id
}

/// The id of sealed bytes.
pub(crate) fn chunk_id(sealed: &[u8]) -> ChunkId {
    ChunkId::new(*blake3::hash(sealed).as_bytes())
}

/// Opens sealed bytes whose id was compared.
pub(crate) fn open(key: &ChunkKey, mut sealed: Vec<u8>) -> Result<Vec<u8>, Damaged> {
    // The nonce is always zero: every key is used for one message.
    let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
    let cipher = UnboundKey::new(&AES_256_GCM, key.expose()).map_err(|_| Damaged)?;
    let length = LessSafeKey::new(cipher)
        .open_in_place(nonce, Aad::empty(), &mut sealed)
        .map_err(|_| Damaged)?
        .len();
    sealed.truncate(length);
    Ok(sealed)
}

/// Seals a chunk, a manifest's chunk or a root: its key is used for nothing else.
#[cfg(feature = "device")]
pub(crate) fn seal(key: &ChunkKey, mut plain: Vec<u8>) -> Result<Vec<u8>, Damaged> {
    let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
    let cipher = UnboundKey::new(&AES_256_GCM, key.expose()).map_err(|_| Damaged)?;
    LessSafeKey::new(cipher)
        .seal_in_place_append_tag(nonce, Aad::empty(), &mut plain)
        .map_err(|_| Damaged)?;
    Ok(plain)
}

/// Opens the root that a head names; `None` when these are not its bytes (the source lies), an error when they are and still
/// are no root (the owner made something unreadable).
pub(crate) fn open_root(
    head: &Head,
    secret: &ShareSecret,
    sealed: Vec<u8>,
) -> Option<Result<Root, Damaged>> {
    if sealed.len() != head.root_length as usize || chunk_id(&sealed) != head.root {
        return None;
    }
    let opened = open(&secret.root_key(head.version, &head.salt), sealed);
    Some(opened.and_then(|bytes| Root::decode(&bytes).map_err(|_| Damaged)))
}
