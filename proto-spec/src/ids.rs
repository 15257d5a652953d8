//! Identifiers and secrets of fixed length.
//!
//! Invariant: a [`ShareSecret`], [`ChunkKey`], [`ReadKey`] or [`Invitation`] never shows its bytes
//! through `Debug` or `Display`.

use crate::device::DeviceId;
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// A byte string that should have had a fixed length had another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {expected} bytes, not {actual}")]
pub struct IdError {
    /// What was parsed.
    pub what: &'static str,
    /// Length it must have, bytes.
    pub expected: usize,
    /// Length it had, bytes.
    pub actual: usize,
}

pub(crate) fn fixed<const N: usize>(what: &'static str, bytes: &[u8]) -> Result<[u8; N], IdError> {
    bytes.try_into().map_err(|_| IdError {
        what,
        expected: N,
        actual: bytes.len(),
    })
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|b| write!(f, "{b:02x}"))
}

macro_rules! public_id {
    ($name:ident, $len:literal, $what:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;
            /// Wraps bytes that are known to have the right length.
            pub const fn new(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }
            /// Parses bytes from outside; fails unless they have exactly [`Self::LEN`] bytes.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
                fixed($what, bytes).map(Self)
            }
            /// The bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "("))?;
                write_hex(f, &self.0[..4])?;
                write!(f, "…)")
            }
        }
    };
}

public_id!(
    ShareId,
    16,
    "a share id",
    "Names a share. Derived from its secret, reveals nothing about it."
);
public_id!(
    ChunkId,
    32,
    "a chunk id",
    "BLAKE3 of a chunk's ciphertext: anyone can verify, nobody can read."
);

public_id!(
    UserId,
    16,
    "a user id",
    "Names a user at one relay: random, says nothing about who it is."
);
public_id!(
    MessageId,
    16,
    "a message id",
    "Names a message between devices: 16 random bytes of the sender, the same on every attempt."
);

public_id!(
    AskId,
    16,
    "a request's id",
    "Names what one device asks of another: 16 random bytes of the asker."
);

public_id!(
    AttemptId,
    16,
    "an attempt's id",
    "One attempt to find a direct path: random bytes of the side that begins it."
);
public_id!(
    CircuitId,
    16,
    "a circuit's id",
    "Names a circuit at the relay that joins it: 16 random bytes of the relay."
);

public_id!(
    IndexTopic,
    32,
    "an index topic",
    "Names a share at one index node. Follows from the share's secret and leads neither to it nor to the share's id; \
     knowing it is the right to announce and to ask there."
);

public_id!(
    GroupId,
    32,
    "a group id",
    "Names a group: BLAKE3 of the first entry of its log, so that who knows it can check the whole log."
);
public_id!(
    KeyMark,
    32,
    "the mark of a group's secret",
    "Stands for one generation of a group's secret in the group's log; says nothing about it."
);

macro_rules! secret {
    ($name:ident, $len:literal, $what:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;
            /// Wraps bytes that are known to have the right length.
            pub const fn new(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }
            /// Parses bytes from outside; fails unless they have exactly [`Self::LEN`] bytes.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
                fixed($what, bytes).map(Self)
            }
            /// The secret bytes. Never log or print them.
            pub const fn expose(&self) -> &[u8; $len] {
                &self.0
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(secret)"))
            }
        }
    };
}

secret!(
    VisitorSecret,
    16,
    "a link's secret",
    "Stands in a link that lets pages visit a device: who knows it may write to that device."
);
secret!(
    ShareSecret,
    16,
    "a share secret",
    "Opens one share: who knows it may fetch and read it."
);
secret!(
    ChunkKey,
    32,
    "a chunk key",
    "AES-256-GCM key of one chunk, used for that chunk only."
);
secret!(
    ReadKey,
    32,
    "a read key",
    "What a store knows of a share's secret: enough to check who may read ciphertext, not to decrypt any of it."
);
secret!(
    GroupSecret,
    32,
    "a group's secret",
    "One generation of what the members of a group have in common: opens what they say of themselves and their shares."
);
secret!(
    Invitation,
    16,
    "an invitation",
    "Lets a device register at a relay: who has it may spend it."
);

secret!(
    ChunkToken,
    16,
    "a token for chunks",
    "Lets its bearer read the ciphertext of one share from one store by GET, for a while."
);

impl ChunkToken {
    /// Parses the 32 hexadecimal digits that [`to_hex`](Self::to_hex) gives.
    pub fn from_hex(text: &str) -> Result<Self, IdError> {
        from_hex("a token for chunks in hexadecimal", text).map(Self)
    }

    /// 32 hexadecimal digits, for the path of a request. Never log or print them.
    pub fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl MessageId {
    /// The id that things sealed outside of a message have (a device's card): 16 zero bytes.
    pub const NONE: Self = Self([0; 16]);
}

impl GroupSecret {
    /// What stands for this secret in the log of its group.
    pub fn mark(&self) -> KeyMark {
        KeyMark(blake3::derive_key("hither.v1 group key mark", &self.0))
    }

    /// Secret of the domain in which everything that is shared with this generation of the group
    /// dedupes.
    pub fn domain(&self) -> [u8; 32] {
        blake3::derive_key("hither.v1 group domain", &self.0)
    }

    /// Key of the one thing that is sealed under this secret with the random `salt`.
    pub fn note_key(&self, salt: &[u8; 16]) -> [u8; 32] {
        let material = [&self.0[..], salt].concat();
        blake3::derive_key("hither.v1 group note", &material)
    }
}

impl GroupId {
    /// Parses the 64 hexadecimal digits that `Display` prints.
    pub fn from_hex(text: &str) -> Result<Self, IdError> {
        from_hex("a group id in hexadecimal", text).map(Self)
    }

    /// Stands in the place of a message's id in what is sealed for a device about this group.
    pub fn seal_id(&self) -> MessageId {
        let mut id = [0; 16];
        blake3::Hasher::new_derive_key("hither.v1 group seal")
            .update(&self.0)
            .finalize_xof()
            .fill(&mut id);
        MessageId(id)
    }
}

impl AskId {
    /// Parses the 32 hexadecimal digits that `Display` prints.
    pub fn from_hex(text: &str) -> Result<Self, IdError> {
        from_hex("a request's id in hexadecimal", text).map(Self)
    }
}

impl ShareId {
    /// Parses the 32 hexadecimal digits that `Display` prints.
    pub fn from_hex(text: &str) -> Result<Self, IdError> {
        from_hex("a share id in hexadecimal", text).map(Self)
    }
}

impl Invitation {
    /// Parses the 32 hexadecimal digits that [`to_hex`](Self::to_hex) gives.
    pub fn from_hex(text: &str) -> Result<Self, IdError> {
        from_hex("an invitation in hexadecimal", text).map(Self)
    }

    /// The invitation in 32 hexadecimal digits: a secret, show it only to those who are invited.
    pub fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn from_hex<const N: usize>(what: &'static str, text: &str) -> Result<[u8; N], IdError> {
    let wrong = || IdError {
        what,
        expected: 2 * N,
        actual: text.len(),
    };
    // `from_str_radix` would take a sign.
    if text.len() != 2 * N || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let mut bytes = [0u8; N];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| wrong())?;
    }
    Ok(bytes)
}

impl VisitorSecret {
    /// The invitation that the relay is told: it does not lead back to the secret.
    pub fn invitation(&self) -> Invitation {
        let derived = blake3::derive_key("hither.v1 visitor invitation", &self.0);
        let mut token = [0; Invitation::LEN];
        token.copy_from_slice(&derived[..Invitation::LEN]);
        Invitation::new(token)
    }

    /// Shows `host` that `visitor` knows the secret. Compared in constant time.
    pub fn proof(&self, visitor: &DeviceId, host: &DeviceId) -> VisitorProof {
        VisitorProof(self.keyed("hither.v1 visitor proof", visitor, host))
    }

    /// Two digits, 10 to 99, that both screens show for this visitor.
    pub fn number(&self, visitor: &DeviceId, host: &DeviceId) -> u8 {
        let keyed = self.keyed("hither.v1 visitor number", visitor, host);
        let first = u32::from_be_bytes([keyed[0], keyed[1], keyed[2], keyed[3]]);
        (10 + first % 90) as u8
    }

    fn keyed(&self, context: &'static str, visitor: &DeviceId, host: &DeviceId) -> [u8; 32] {
        let key = Zeroizing::new(blake3::derive_key(context, &self.0));
        let mut hasher = blake3::Hasher::new_keyed(&key);
        hasher.update(visitor.as_bytes()).update(host.as_bytes());
        hasher.finalize().into()
    }
}

/// The proof that a visitor shows its host.
#[derive(Clone, Copy)]
pub struct VisitorProof([u8; 32]);

impl VisitorProof {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// Wraps bytes from outside.
    pub const fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl PartialEq for VisitorProof {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for VisitorProof {}

impl fmt::Debug for VisitorProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VisitorProof(secret)")
    }
}

impl ShareSecret {
    /// The id of the share that this secret opens.
    pub fn share_id(&self) -> ShareId {
        let mut id = [0u8; 16];
        id.copy_from_slice(&self.derive("hither.v1 share id")[..16]);
        ShareId(id)
    }

    /// A 32-byte key for one purpose, by BLAKE3's key derivation mode (BLAKE3 paper, section 5.3:
    /// the context string must be a hard-coded constant, unique to the purpose).
    pub fn derive(&self, context: &'static str) -> [u8; 32] {
        blake3::derive_key(context, &self.0)
    }

    /// The key that a store receives, so that it can check who may read the share's ciphertext. One
    /// way: it neither opens the share nor proves anything to a device.
    pub fn read_key(&self) -> ReadKey {
        ReadKey(self.derive("hither.v1 store read key"))
    }

    /// The name of the share at one index node. Every node gets another name, so that none of
    /// them can ask, or say something, at another one.
    pub fn index_topic(&self, node: &DeviceId) -> IndexTopic {
        IndexTopic(self.derive_for("hither.v1 index topic", node))
    }

    /// The AES-256-GCM key under which `device` seals for ticket holders where it listens. It is
    /// the device's own, so that random nonces of different devices never meet.
    pub fn index_address_key(&self, device: &DeviceId) -> ChunkKey {
        ChunkKey(self.derive_for("hither.v1 index addresses", device))
    }

    fn derive_for(&self, context: &'static str, key: &DeviceId) -> [u8; 32] {
        let mut material = [0u8; Self::LEN + DeviceId::LEN];
        material[..Self::LEN].copy_from_slice(&self.0);
        material[Self::LEN..].copy_from_slice(key.as_bytes());
        let derived = blake3::derive_key(context, &material);
        material.zeroize();
        derived
    }

    /// The AES-256-GCM key of one version's root: unique, because every version has a fresh random
    /// salt.
    pub fn root_key(&self, version: u64, salt: &[u8; 16]) -> ChunkKey {
        let mut material = [0u8; 40];
        material[..16].copy_from_slice(&self.0);
        material[16..24].copy_from_slice(&version.to_le_bytes());
        material[24..].copy_from_slice(salt);
        let key = blake3::derive_key("hither.v1 root key", &material);
        material.zeroize();
        ChunkKey(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_print_themselves() {
        assert_eq!(
            format!("{:?}", ShareSecret::new([7; 16])),
            "ShareSecret(secret)"
        );
        assert_eq!(format!("{:?}", ChunkKey::new([7; 32])), "ChunkKey(secret)");
        assert_eq!(format!("{:?}", ReadKey::new([7; 32])), "ReadKey(secret)");
        assert_eq!(
            format!("{:?}", Invitation::new([7; 16])),
            "Invitation(secret)"
        );
    }

    #[test]
    fn share_id_hex_round_trips_and_refuses_nonsense() {
        let id = ShareSecret::new([1; 16]).share_id();
        assert_eq!(ShareId::from_hex(&id.to_string()), Ok(id));
        let signed = format!("+1{}", "0".repeat(30));
        for bad in [
            "",
            "00",
            "zz000000000000000000000000000000",
            "é000000000000000000000000000000",
            &signed,
        ] {
            assert!(ShareId::from_hex(bad).is_err(), "{bad}");
            assert!(Invitation::from_hex(bad).is_err(), "{bad}");
        }
        let invitation = Invitation::new([0x0a; 16]);
        assert_eq!(Invitation::from_hex(&invitation.to_hex()), Ok(invitation));
    }

    #[test]
    fn a_read_key_is_neither_the_secret_nor_the_id() {
        let secret = ShareSecret::new([1; 16]);
        let key = secret.read_key();
        assert_ne!(key, ShareSecret::new([2; 16]).read_key());
        assert_ne!(key.expose()[..16], secret.expose()[..]);
        assert_ne!(key.expose()[..16], secret.share_id().as_bytes()[..]);
    }

    #[test]
    fn topics_and_address_keys_differ_by_share_and_device() {
        let (one, two) = (
            crate::relay::samples::key(),
            crate::relay::samples::other_key(),
        );
        let secret = ShareSecret::new([1; 16]);
        let topic = secret.index_topic(&one);
        assert_ne!(topic, secret.index_topic(&two));
        assert_ne!(topic, ShareSecret::new([2; 16]).index_topic(&one));
        assert_ne!(topic.as_bytes(), secret.index_address_key(&one).expose());
        assert_ne!(
            secret.index_address_key(&one),
            secret.index_address_key(&two)
        );
    }

    #[test]
    fn root_keys_differ_by_version_and_salt() {
        let secret = ShareSecret::new([1; 16]);
        let a = secret.root_key(1, &[0; 16]);
        assert!(a != secret.root_key(2, &[0; 16]) && a != secret.root_key(1, &[1; 16]));
    }
}
