//! Numbers as words that can be said: the 2,048 English words of BIP 39, each 11 bits. No two begin
//! with the same four letters.

use crate::device::DeviceId;
use std::sync::OnceLock;

/// The words, one on each line, in alphabetical order
/// (<https://github.com/bitcoin/bips/blob/master/bip-0039/english.txt>).
const ENGLISH: &str = include_str!("words/english.txt");
/// How many words there are.
pub const WORDS: u16 = 2048;
/// Letters that tell the words apart.
const DISTINCT: usize = 4;

/// All of them; an index is a number below [`WORDS`].
fn all() -> &'static [&'static str] {
    static ALL: OnceLock<Vec<&'static str>> = OnceLock::new();
    ALL.get_or_init(|| ENGLISH.lines().collect())
}

/// The word of a number; numbers beyond [`WORDS`] begin anew.
pub fn word(number: u16) -> &'static str {
    all()
        .get(usize::from(number % WORDS))
        .copied()
        .unwrap_or_default()
}

/// The number of a word in any case, or of its first four letters.
pub fn word_number(text: &str) -> Option<u16> {
    let lower = text.to_ascii_lowercase();
    let found = all().iter().position(|word| {
        *word == lower
            || (lower.len() >= DISTINCT && lower.len() < word.len() && word.starts_with(&lower))
    });
    found.and_then(|at| u16::try_from(at).ok())
}

/// Three words from the first 33 bits of some bytes that were hashed.
pub fn three_words(hash: &[u8; 32]) -> String {
    let bits = hash[..8]
        .iter()
        .fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    let at = |place: u32| word((bits >> (53 - 11 * place) & 0x7ff) as u16);
    [at(0), at(1), at(2)].join(" ")
}

impl DeviceId {
    /// The three words by which people recognise this key when they compare screens: 33 bits of its
    /// BLAKE3 hash (key derivation, "hither.v2 key words").
    pub fn words(&self) -> String {
        three_words(&blake3::derive_key("hither.v2 key words", self.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_word_has_its_number_and_four_letters_are_enough() {
        assert_eq!(all().len(), usize::from(WORDS));
        let mut beginnings = HashSet::new();
        for number in 0..WORDS {
            let text = word(number);
            assert_eq!(word_number(text), Some(number));
            assert_eq!(word_number(&text.to_uppercase()), Some(number));
            let short = &text[..text.len().min(DISTINCT)];
            assert!(beginnings.insert(short));
            if text.len() > DISTINCT {
                assert!(word_number(short).is_some());
            }
        }
        for wrong in ["", "zz", "abandonx", "aba", "ábandon"] {
            assert_eq!(word_number(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn three_words_are_the_first_33_bits() {
        let mut hash = [0; 32];
        assert_eq!(three_words(&hash), "abandon abandon abandon");
        hash[..5].fill(0xff);
        assert_eq!(three_words(&hash), "zoo zoo zoo");
        hash = [0; 32];
        (hash[1], hash[4]) = (0b0010_0000, 0b1000_0000);
        assert_eq!(three_words(&hash), "ability abandon ability");
    }
}
