//! The words of codes, and those that a mistyped one may have been meant to be.

use crate::words::{WORDS, word, word_number};
use std::fmt;

/// Longest text that is looked at as a mistyped word, letters: the longest word has 8.
const LONGEST: usize = 16;
/// Most words that are named as near a mistyped one.
const NEAREST: usize = 3;
/// Most letters that a word named as near may be away.
const NEAR: usize = 2;

/// One of the 2,048 words.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Word(u16);

/// A text that is none of the words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownWord {
    /// Which of the words of a code, from 1 on.
    pub place: usize,
    /// At most three words that are spelt much like it, the nearest first.
    pub nearest: Vec<Word>,
}

impl Word {
    /// How many there are.
    pub const COUNT: usize = WORDS as usize;

    /// The word of a number; `None` from [`COUNT`](Self::COUNT) on.
    pub const fn new(number: u16) -> Option<Self> {
        if (number as usize) < Self::COUNT {
            Some(Self(number))
        } else {
            None
        }
    }

    /// The word of the low 11 bits.
    pub const fn of_bits(bits: u16) -> Self {
        Self(bits & (Self::COUNT as u16 - 1))
    }

    /// Its place in the list, from 0 on.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The word itself, in lower case.
    pub fn as_str(self) -> &'static str {
        word(self.0)
    }

    /// Finds a word in any case, or by at least its first four letters.
    ///
    /// Errors: there is no such word.
    pub(super) fn find(text: &str, place: usize) -> Result<Self, UnknownWord> {
        word_number(text).map(Self).ok_or_else(|| UnknownWord {
            place,
            nearest: nearest(&text.to_lowercase()),
        })
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Word({})", self.0)
    }
}

impl fmt::Display for UnknownWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = ["first", "second", "third"];
        let place = place
            .get(self.place.saturating_sub(1))
            .copied()
            .unwrap_or("next");
        write!(
            f,
            "the {place} word is none of those that codes are made of"
        )?;
        let names: Vec<_> = self.nearest.iter().map(|word| word.as_str()).collect();
        match names.split_last() {
            None => Ok(()),
            Some((only, [])) => write!(f, "; is it \"{only}\"?"),
            Some((last, others)) => {
                write!(f, "; is it \"{}\" or \"{last}\"?", others.join("\", \""))
            }
        }
    }
}

/// The words that are spelt most like a text.
fn nearest(text: &str) -> Vec<Word> {
    if text.is_empty() || text.chars().count() > LONGEST {
        return Vec::new();
    }
    let letters: Vec<char> = text.chars().collect();
    let mut near: Vec<(usize, Word)> = (0..Word::COUNT as u16)
        .map(Word)
        .map(|word| (distance(&letters, word.as_str()), word))
        .filter(|(away, _)| *away <= NEAR)
        .collect();
    near.sort();
    let least = near.first().map(|(away, _)| *away);
    near.into_iter()
        .take_while(|(away, _)| Some(*away) == least)
        .take(NEAREST)
        .map(|(_, word)| word)
        .collect()
}

/// How many letters have to be changed, added, left out or exchanged with the next one.
fn distance(from: &[char], to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, letter) in from.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, other) in to.iter().enumerate() {
            let mut least = (row[j] + usize::from(letter != other))
                .min(row[j + 1] + 1)
                .min(next[j] + 1);
            if i > 0 && j > 0 && from[i - 1] == *other && *letter == to[j - 1] {
                least = least.min(before[j - 1] + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or_default()
}
