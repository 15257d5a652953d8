//! The head of a share: the one mutable thing about it, signed by its owner.
//!
//! Invariant: a [`SignedHead`] in hand has been checked against the owner that the ticket names.

use crate::device::DeviceId;
use crate::ids::{ChunkId, IdError, ShareId, fixed};
use crate::limits::{CHUNK_TAG, MAX_CHUNKS, MAX_ROOT, MAX_SHARE};
use crate::wire;
use prost::Message as _;

/// Separates head signatures from anything else a device key ever signs.
const CONTEXT: &[u8] = b"hither head v1\0";

/// Why a head was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Not a protobuf message of this type.
    #[error("the share's head is malformed")]
    Malformed,
    /// A field has a length or value that cannot be.
    #[error("the share's head is malformed: {0}")]
    Field(#[from] IdError),
    /// A count or size beyond the limits.
    #[error("the share's head claims an absurd {0}")]
    Absurd(&'static str),
    /// Not signed by the share's owner.
    #[error("the share's head is not signed by its owner")]
    Signature,
    /// The head of another share.
    #[error("the head belongs to another share")]
    OtherShare,
}

/// One version of a share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The share this is a version of.
    pub share: ShareId,
    /// Counts up from 1.
    pub version: u64,
    /// BLAKE3 of the encrypted root.
    pub root: ChunkId,
    /// Length of the encrypted root, bytes; at most [`MAX_ROOT`].
    pub root_length: u32,
    /// Makes the root's key unique to this version.
    pub salt: [u8; 16],
    /// Number of data chunks; at most [`MAX_CHUNKS`].
    pub chunks: u32,
    /// Number of manifest chunks; at most [`MAX_CHUNKS`].
    pub manifest_chunks: u32,
    /// Plaintext bytes of all files together; at most [`MAX_SHARE`].
    pub bytes: u64,
    /// When it was published by the owner's clock, Unix milliseconds.
    pub published_ms: u64,
}

impl Head {
    fn encode(&self) -> Vec<u8> {
        wire::Head {
            share: self.share.as_bytes().to_vec().into(),
            version: self.version,
            root: self.root.as_bytes().to_vec().into(),
            root_length: self.root_length,
            salt: self.salt.to_vec().into(),
            chunks: u64::from(self.chunks),
            manifest_chunks: u64::from(self.manifest_chunks),
            bytes: self.bytes,
            published_ms: self.published_ms,
        }
        .encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, HeadError> {
        let head = wire::Head::decode(bytes).map_err(|_| HeadError::Malformed)?;
        let count = |n: u64, what| {
            u32::try_from(n)
                .ok()
                .filter(|_| n <= MAX_CHUNKS)
                .ok_or(HeadError::Absurd(what))
        };
        if head.root_length <= CHUNK_TAG || head.root_length > MAX_ROOT {
            return Err(HeadError::Absurd("root length"));
        }
        if head.bytes > MAX_SHARE {
            return Err(HeadError::Absurd("size"));
        }
        if head.version == 0 {
            return Err(HeadError::Absurd("version"));
        }
        Ok(Self {
            share: ShareId::from_slice(&head.share)?,
            version: head.version,
            root: ChunkId::from_slice(&head.root)?,
            root_length: head.root_length,
            salt: fixed("a salt", &head.salt)?,
            chunks: count(head.chunks, "number of chunks")?,
            manifest_chunks: count(head.manifest_chunks, "number of manifest chunks")?,
            bytes: head.bytes,
            published_ms: head.published_ms,
        })
    }
}

/// A head with its owner's signature, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHead {
    head: Head,
    bytes: Vec<u8>,
    signature: [u8; 64],
}

impl SignedHead {
    /// Signs a head with the owner's key; `sign` makes the ed25519 signature of a message.
    pub fn sign(head: Head, sign: impl FnOnce(&[u8]) -> [u8; 64]) -> Self {
        let bytes = head.encode();
        let signature = sign(&[CONTEXT, &bytes].concat());
        Self {
            head,
            bytes,
            signature,
        }
    }

    /// Parses and checks a head of `share` that must be signed by `owner`.
    pub fn open(
        unchecked: &UncheckedHead,
        share: ShareId,
        owner: DeviceId,
    ) -> Result<Self, HeadError> {
        let signature: [u8; 64] = fixed("a signature", &unchecked.signature)?;
        if !owner.verify(&[CONTEXT, &unchecked.head].concat(), &signature) {
            return Err(HeadError::Signature);
        }
        let head = Head::decode(&unchecked.head)?;
        if head.share != share {
            return Err(HeadError::OtherShare);
        }
        Ok(Self {
            head,
            bytes: unchecked.head.clone(),
            signature,
        })
    }

    /// The head.
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// Returns whether of two different heads with one version number this one is preferred: the
    /// later published, then that with the larger root id. An owner whose data was restored
    /// from a backup may sign such a pair; everybody prefers the same.
    pub fn is_preferred_to(&self, other: &Self) -> bool {
        let rank = |of: &Self| (of.head.published_ms, *of.head.root.as_bytes());
        rank(self) > rank(other)
    }

    /// For sending or storing.
    pub fn to_unchecked(&self) -> UncheckedHead {
        UncheckedHead {
            head: self.bytes.clone(),
            signature: self.signature.to_vec(),
        }
    }
}

/// A signed head as it came from outside: good for nothing until [`SignedHead::open`] has checked
/// it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UncheckedHead {
    head: Vec<u8>,
    signature: Vec<u8>,
}

impl UncheckedHead {
    /// Parses the stored or received message; checks nothing yet.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeadError> {
        wire::SignedHead::decode(bytes)
            .map(Self::from_wire)
            .map_err(|_| HeadError::Malformed)
    }

    /// Encodes for storing.
    pub fn encode(&self) -> Vec<u8> {
        self.to_wire().encode_to_vec()
    }

    pub(crate) fn from_wire(message: wire::SignedHead) -> Self {
        Self {
            head: message.head.to_vec(),
            signature: message.signature.to_vec(),
        }
    }

    pub(crate) fn to_wire(&self) -> wire::SignedHead {
        wire::SignedHead {
            head: self.head.clone().into(),
            signature: self.signature.clone().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ShareSecret;
    use libp2p_identity::ed25519;

    fn keys() -> (ed25519::Keypair, DeviceId) {
        let secret = ed25519::SecretKey::try_from_bytes([5u8; 32]).unwrap();
        let pair = ed25519::Keypair::from(secret);
        let id = DeviceId::from_slice(&pair.public().to_bytes()).unwrap();
        (pair, id)
    }

    fn head() -> Head {
        Head {
            share: ShareSecret::new([1; 16]).share_id(),
            version: 3,
            root: ChunkId::new([4; 32]),
            root_length: 100,
            salt: [6; 16],
            chunks: 10,
            manifest_chunks: 1,
            bytes: 12345,
            published_ms: 1_700_000_000_000,
        }
    }

    #[test]
    fn a_signed_head_opens_for_its_owner_and_share_only() {
        let (pair, owner) = keys();
        let signed = SignedHead::sign(head(), |m| pair.sign(m).try_into().unwrap());
        let sent = UncheckedHead::decode(&signed.to_unchecked().encode()).unwrap();
        assert_eq!(
            SignedHead::open(&sent, head().share, owner).unwrap(),
            signed
        );
        let other = ShareSecret::new([2; 16]).share_id();
        assert_eq!(
            SignedHead::open(&sent, other, owner),
            Err(HeadError::OtherShare)
        );
        let mut forged = sent.clone();
        forged.head[20] ^= 1;
        assert_eq!(
            SignedHead::open(&forged, head().share, owner),
            Err(HeadError::Signature)
        );
    }

    #[test]
    fn absurd_heads_are_refused_even_when_signed() {
        let (pair, owner) = keys();
        for (change, why) in [
            ((|h: &mut Head| h.version = 0) as fn(&mut Head), "version"),
            (|h| h.root_length = 0, "root length"),
            (|h| h.root_length = u32::MAX, "root length"),
            (|h| h.chunks = u32::MAX, "number of chunks"),
            (|h| h.bytes = u64::MAX, "size"),
        ] {
            let mut bad = head();
            change(&mut bad);
            let signed = SignedHead::sign(bad, |m| pair.sign(m).try_into().unwrap());
            let opened = SignedHead::open(&signed.to_unchecked(), head().share, owner);
            assert_eq!(opened, Err(HeadError::Absurd(why)));
        }
    }
}
