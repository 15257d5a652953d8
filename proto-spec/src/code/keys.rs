//! Everything that follows from the key of an exchange, and the transcript that it is bound to.

use super::{CodeKind, CodeName, PakeMessage, SpokenCode};
use crate::ids::{IdError, fixed};
use crate::proof::StreamBinding;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The side of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeSide {
    /// The device at which the code was entered; it opened the stream.
    Enters,
    /// The device that shows it.
    Shows,
}

impl CodeSide {
    /// The other side.
    pub const fn other(self) -> Self {
        match self {
            Self::Enters => Self::Shows,
            Self::Shows => Self::Enters,
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Enters => 1,
            Self::Shows => 2,
        }
    }
}

/// 32 bytes that only a side that came to the same key, on the same stream, can make.
#[derive(Clone, Copy)]
pub struct CodeConfirmation([u8; 32]);

impl CodeConfirmation {
    /// Parses what came from outside.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
        fixed("a confirmation", bytes).map(Self)
    }

    /// The bytes, as they go over the wire.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for CodeConfirmation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CodeConfirmation(…)")
    }
}

impl PartialEq for CodeConfirmation {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for CodeConfirmation {}

/// The keys of one exchange. Zeroed when dropped.
#[derive(Clone)]
pub struct CodeKeys(Zeroizing<[u8; 32]>);

impl CodeKeys {
    /// Follows from the key of SPAKE2 and everything that was said: `Derive("hither.v2 code keys",
    /// key ‖ transcript)`, where the transcript is the stream's exporter, opener and acceptor, the
    /// kind (1), the length of the name (1) and the name, the message of the device that enters the
    /// code and that of the one that shows it.
    pub fn new(
        pake: &[u8],
        stream: &StreamBinding,
        kind: CodeKind,
        name: CodeName,
        (enters, shows): (&PakeMessage, &PakeMessage),
    ) -> Self {
        let name = name.to_bytes();
        let mut hasher = blake3::Hasher::new_derive_key("hither.v2 code keys");
        hasher
            .update(pake)
            .update(stream.exporter())
            .update(stream.opener().as_bytes())
            .update(stream.acceptor().as_bytes())
            .update(&[kind.number(), name.len() as u8])
            .update(&name)
            .update(enters.as_bytes())
            .update(shows.as_bytes());
        Self(Zeroizing::new(*hasher.finalize().as_bytes()))
    }

    /// The value that one side sends to show that it came to these keys.
    pub fn confirmation(&self, by: CodeSide) -> CodeConfirmation {
        let key = Zeroizing::new(self.derive("hither.v2 code confirmation"));
        CodeConfirmation(*blake3::keyed_hash(&key, &[by.number()]).as_bytes())
    }

    /// The key that seals what one side sends.
    pub fn sealing(&self, by: CodeSide) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.derive(match by {
            CodeSide::Enters => "hither.v2 code sealed by the one that enters",
            CodeSide::Shows => "hither.v2 code sealed by the one that shows",
        }))
    }

    /// The words that both screens show afterwards: equal if and only if there is nobody between.
    pub fn words(&self) -> SpokenCode {
        let [a, b, c, d, e, ..] = self.derive("hither.v2 code words");
        SpokenCode::of_random([a, b, c, d, e])
    }

    fn derive(&self, context: &str) -> [u8; 32] {
        blake3::derive_key(context, &self.0[..])
    }
}

impl std::fmt::Debug for CodeKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CodeKeys(…)")
    }
}
