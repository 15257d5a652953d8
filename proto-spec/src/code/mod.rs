//! Codes that people say to each other: three words, or a picture of 32 random bytes, from which two
//! devices make a key that nobody else has (SPEC.md, "Codes").
//!
//! The device that shows a code and the device at which it is entered run SPAKE2 with it on a stream
//! of their own ([`CodePake`]), and both prove that they came to the same key ([`CodeKeys`]). The
//! key is bound to the stream and to both devices, so that whoever passes the messages of one
//! connection on to another gets nothing.
//!
//! Invariants: a code is good for one attempt, which is what makes 22 bits enough; what follows from
//! a code is used on the stream of that attempt alone.

mod keys;
mod message;
mod pake;
mod scanned;
mod spoken;
mod word;

pub use keys::{CodeConfirmation, CodeKeys, CodeSide};
pub use message::{CodeGift, CodeMessage, CodeRefusal, PairDevice, PairGrant};
pub(crate) use message::{code_from_wire, code_to_wire};
pub use pake::{CodePake, PakeError, PakeMessage};
pub use scanned::{PairText, PairTextError};
pub use spoken::{SpokenCode, SpokenCodeError};
pub use word::{UnknownWord, Word};

use crate::ids::{IdError, fixed};
use zeroize::Zeroizing;

/// The purpose of a code. Both sides say it; it is part of the transcript.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CodeKind {
    /// The ticket of a share.
    Share,
    /// The device that enters it becomes one of the user's.
    Pair,
}

impl CodeKind {
    /// Its number on the wire and in the transcript.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Share => 1,
            Self::Pair => 2,
        }
    }
}

/// The public part of a code: which one is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CodeName {
    /// The first of three words, the nameplate: it finds the other device.
    Spoken(Word),
    /// Of a scanned code: derived from its secret, which it does not reveal.
    Scanned([u8; CodeName::SCANNED]),
}

impl CodeName {
    /// Length of the name of a scanned code, bytes.
    pub const SCANNED: usize = 16;

    /// The bytes, as they go over the wire: the word's number (2, big-endian), or 16 bytes.
    pub fn to_bytes(self) -> Vec<u8> {
        match self {
            Self::Spoken(word) => word.number().to_be_bytes().to_vec(),
            Self::Scanned(name) => name.to_vec(),
        }
    }

    /// Parses what came from outside.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
        let Ok(number) = <[u8; 2]>::try_from(bytes) else {
            return fixed("the name of a code", bytes).map(Self::Scanned);
        };
        Word::new(u16::from_be_bytes(number))
            .map(Self::Spoken)
            .ok_or(IdError {
                what: "the number of a word",
                expected: Word::COUNT,
                actual: usize::from(u16::from_be_bytes(number)),
            })
    }
}

/// A code as the exchange uses it: its name, and the password that both sides know. Zeroed when
/// dropped.
#[derive(Clone)]
pub struct CodeSecret {
    name: CodeName,
    password: Zeroizing<Vec<u8>>,
}

impl CodeSecret {
    /// The public part.
    pub const fn name(&self) -> CodeName {
        self.name
    }
}

impl std::fmt::Debug for CodeSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CodeSecret({:?}, …)", self.name)
    }
}

#[cfg(test)]
mod tests;
