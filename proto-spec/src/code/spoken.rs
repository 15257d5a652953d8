//! Codes of three words.

use super::word::{UnknownWord, Word};
use super::{CodeName, CodeSecret};
use std::fmt;
use std::str::FromStr;
use zeroize::Zeroizing;

/// Words of a code.
const WORDS: usize = 3;
/// Longest text that is taken for a code, bytes.
const LONGEST: usize = 200;
/// Separates these passwords from those of scanned codes.
const CONTEXT: &[u8] = b"hither code v1 words\0";

/// Why a text is no code of three words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpokenCodeError {
    /// More or fewer words than three.
    #[error("a code has three words, and this has {0}")]
    Count(usize),
    /// Longer than any code.
    #[error("this is too long for a code of three words")]
    TooLong,
    /// A word that is not in the list.
    #[error("{0}")]
    Word(UnknownWord),
}

/// Three words. The first is the nameplate; the other two are the secret, 22 bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SpokenCode([Word; WORDS]);

impl SpokenCode {
    /// The code of the low 33 bits of five random bytes.
    pub fn of_random(bytes: [u8; 5]) -> Self {
        let [a, b, c, d, e] = bytes;
        let bits = u64::from_be_bytes([0, 0, 0, a, b, c, d, e]);
        Self([22, 11, 0].map(|shift| Word::of_bits((bits >> shift) as u16)))
    }

    /// The first word: public, finds the other device.
    pub const fn nameplate(&self) -> Word {
        self.0[0]
    }

    /// Its words.
    pub const fn words(&self) -> [Word; WORDS] {
        self.0
    }

    /// The password of the exchange: all three words.
    pub fn secret(&self) -> CodeSecret {
        let mut password = CONTEXT.to_vec();
        password.extend(self.to_string().into_bytes());
        CodeSecret {
            name: CodeName::Spoken(self.nameplate()),
            password: Zeroizing::new(password),
        }
    }

    /// Returns whether a text is meant to be a code of words: it is no ticket and has no slash, but
    /// several parts.
    pub fn is_meant(text: &str) -> bool {
        let letters = |part: &str| part.chars().all(char::is_alphabetic);
        let parts = || parts(text);
        parts().count() > 1 && parts().all(letters)
    }
}

/// The words of a text: blanks, hyphens and commas stand between them.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_whitespace() || c == '-' || c == ',')
        .filter(|part| !part.is_empty())
}

impl FromStr for SpokenCode {
    type Err = SpokenCodeError;

    /// Parses words in any case, with blanks, hyphens or commas between them; four letters of a
    /// word are enough.
    fn from_str(text: &str) -> Result<Self, SpokenCodeError> {
        if text.len() > LONGEST {
            return Err(SpokenCodeError::TooLong);
        }
        let found: Vec<&str> = parts(text).collect();
        let [one, two, three] = found[..] else {
            return Err(SpokenCodeError::Count(found.len()));
        };
        let word = |text, place| Word::find(text, place).map_err(SpokenCodeError::Word);
        Ok(Self([word(one, 1)?, word(two, 2)?, word(three, 3)?]))
    }
}

impl fmt::Display for SpokenCode {
    /// The code as it is said, with hyphens: a secret for as long as it is good.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [one, two, three] = self.0;
        write!(f, "{one}-{two}-{three}")
    }
}

impl fmt::Debug for SpokenCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpokenCode({}-…)", self.nameplate())
    }
}
