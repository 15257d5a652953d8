//! What of a tree is not shared, and why, in words.
//!
//! Invariant: however many problems there are, [`MAX_NOTES`] of them are kept; the rest are
//! counted.

use std::fmt;

/// How many problems are kept in words; the rest are counted.
pub const MAX_NOTES: usize = 100;

/// Something in the tree that is not shared, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Path below the shared one, safe to show.
    pub path: String,
    /// Why, in words that complete "… is not shared because …".
    pub reason: String,
}

/// Problems, the first [`MAX_NOTES`] in words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    /// The first of them.
    pub first: Vec<Note>,
    /// How many there are.
    pub total: u64,
}

impl Notes {
    pub(crate) fn add(&mut self, path: String, reason: impl Into<String>) {
        self.total += 1;
        if self.first.len() < MAX_NOTES {
            self.first.push(Note {
                path,
                reason: reason.into(),
            });
        }
    }

    /// The same of what must be heard of, however many others there are.
    pub(crate) fn add_first(&mut self, path: String, reason: impl Into<String>) {
        self.total += 1;
        self.first.insert(
            0,
            Note {
                path,
                reason: reason.into(),
            },
        );
        self.first.truncate(MAX_NOTES);
    }
}

impl fmt::Display for Notes {
    /// The first three, and how many more.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, note) in self.first.iter().take(3).enumerate() {
            write!(
                f,
                "{}{:?}: {}",
                if index > 0 { "; " } else { "" },
                note.path,
                note.reason
            )?;
        }
        match self.total.saturating_sub(3) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}
