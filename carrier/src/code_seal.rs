//! Sealing on a stream about a code, after both sides have come to the same key.
//!
//! ```text
//! sealed = AES-256-GCM(plaintext), nonce = zeros (4) ‖ number of the message (8, big-endian), from 0 on
//! ```
//!
//! Invariant: each side has a key of its own, and counts its messages, so that no nonce is used
//! twice and none can be left out, repeated or sent back.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use hither_proto::limits::MAX_CODE_SEALED;
use hither_proto::{CodeKeys, CodeSide};

/// Bytes that AES-256-GCM adds.
const TAG: usize = 16;

/// Something could not be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodeSealError {
    /// Longer than a message may be.
    #[error("a message about a code is too long")]
    TooLong,
    /// Not sealed by the other side as its next message.
    #[error("a message about a code was not made by the other side")]
    Forged,
    /// The cipher failed.
    #[error("a message about a code could not be sealed")]
    Failed,
}

/// One direction.
struct Half {
    key: LessSafeKey,
    next: u64,
}

impl Half {
    fn new(keys: &CodeKeys, by: CodeSide) -> Result<Self, CodeSealError> {
        let key = UnboundKey::new(&AES_256_GCM, &keys.sealing(by)[..])
            .map_err(|_| CodeSealError::Failed)?;
        Ok(Self {
            key: LessSafeKey::new(key),
            next: 0,
        })
    }

    /// The nonce of the next message.
    fn nonce(&mut self) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[NONCE_LEN - 8..].copy_from_slice(&self.next.to_be_bytes());
        self.next += 1;
        Nonce::assume_unique_for_key(nonce)
    }
}

/// Both directions, as one side has them.
pub struct CodeChannel {
    to: Half,
    from: Half,
}

impl CodeChannel {
    /// The channel of the side `own`.
    ///
    /// Errors: the cipher takes no key.
    pub fn new(keys: &CodeKeys, own: CodeSide) -> Result<Self, CodeSealError> {
        Ok(Self {
            to: Half::new(keys, own)?,
            from: Half::new(keys, own.other())?,
        })
    }

    /// Seals the next message to the other side.
    ///
    /// Errors: it is longer than [`MAX_CODE_SEALED`] less 16 bytes.
    pub fn seal(&mut self, plaintext: &[u8]) -> Result<Vec<u8>, CodeSealError> {
        if plaintext.len() + TAG > MAX_CODE_SEALED {
            return Err(CodeSealError::TooLong);
        }
        let (mut sealed, nonce) = (plaintext.to_vec(), self.to.nonce());
        self.to
            .key
            .seal_in_place_append_tag(nonce, Aad::empty(), &mut sealed)
            .map_err(|_| CodeSealError::Failed)?;
        Ok(sealed)
    }

    /// Opens the next message of the other side.
    ///
    /// Errors: it is not that.
    pub fn open(&mut self, sealed: &[u8]) -> Result<Vec<u8>, CodeSealError> {
        if sealed.len() > MAX_CODE_SEALED {
            return Err(CodeSealError::TooLong);
        }
        let (mut buffer, nonce) = (sealed.to_vec(), self.from.nonce());
        let plaintext = self
            .from
            .key
            .open_in_place(nonce, Aad::empty(), &mut buffer)
            .map_err(|_| CodeSealError::Forged)?;
        Ok(plaintext.to_vec())
    }
}

impl std::fmt::Debug for CodeChannel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CodeChannel(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_proto::{CodeKind, CodePake, SpokenCode, StreamBinding};

    fn channels() -> (CodeChannel, CodeChannel) {
        let [one, two] = [(); 2].map(|()| crate::Identity::generate().unwrap().device_id());
        let secret = SpokenCode::of_random([1, 2, 3, 4, 5]).secret();
        let stream = StreamBinding::new([7; 32], one, two);
        let a = CodePake::enter(&secret, &one, &two, [1; 32]);
        let b = CodePake::show(&secret, &one, &two, [2; 32]);
        let messages = (a.message(), b.message());
        let pake = a.finish(&messages.1).unwrap();
        let keys = CodeKeys::new(
            &pake,
            &stream,
            CodeKind::Pair,
            secret.name(),
            (&messages.0, &messages.1),
        );
        (
            CodeChannel::new(&keys, CodeSide::Enters).unwrap(),
            CodeChannel::new(&keys, CodeSide::Shows).unwrap(),
        )
    }

    #[test]
    fn messages_are_opened_once_in_order_by_the_other_side_only() {
        let (mut one, mut other) = channels();
        let first = one.seal(b"first").unwrap();
        let second = one.seal(b"second").unwrap();
        assert_eq!(other.open(&first).as_deref(), Ok(&b"first"[..]));
        assert_eq!(other.open(&first), Err(CodeSealError::Forged), "replayed");
        let (mut one, mut other) = channels();
        let reflected = one.seal(b"first").unwrap();
        assert_eq!(one.open(&reflected), Err(CodeSealError::Forged));
        assert_eq!(other.open(&second), Err(CodeSealError::Forged), "left out");
        let (_, mut other) = channels();
        let mut changed = reflected.clone();
        changed[0] ^= 1;
        assert_eq!(other.open(&changed), Err(CodeSealError::Forged));
        assert_eq!(
            one.seal(&vec![0; MAX_CODE_SEALED]),
            Err(CodeSealError::TooLong)
        );
    }
}
