//! The rules of a file system for names.

use crate::trash::is_trash_name;
use hither_proto::{NOT_ON_WINDOWS, folded, is_device_name};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};

/// The names that a file system takes, and which of them it takes for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameRules {
    /// Characters that no name may have.
    pub(super) forbidden: BTreeSet<char>,
    /// Names that stand for devices are refused.
    pub(super) devices: bool,
    /// A dot or blank at the end is refused, or dropped.
    pub(super) ends: bool,
    /// Names that differ in case or accents are one.
    pub(super) folds: bool,
    /// Longest name, bytes.
    pub(super) longest: usize,
}

/// Stored rules that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stored rules for names are damaged")]
pub struct RulesError;

impl NameRules {
    /// Everything that a share may have.
    pub const fn any() -> Self {
        Self {
            forbidden: BTreeSet::new(),
            devices: false,
            ends: false,
            folds: false,
            longest: 255,
        }
    }

    /// The rules of Windows (<https://learn.microsoft.com/windows/win32/fileio/naming-a-file>).
    pub fn windows() -> Self {
        let forbidden = ('\u{1}'..='\u{1f}').chain(NOT_ON_WINDOWS).collect();
        Self {
            forbidden,
            devices: true,
            ends: true,
            folds: true,
            longest: 255,
        }
    }

    /// Rules that are never tried on this system, because a name could lead elsewhere.
    pub(super) fn of_system() -> Self {
        if cfg!(windows) {
            Self::windows()
        } else {
            Self::any()
        }
    }

    /// Returns whether a name can be written.
    pub fn takes(&self, name: &str) -> bool {
        name.len() <= self.longest
            && !(0..)
                .zip(name.chars())
                .any(|(at, c)| self.refuses(name, at, c))
    }

    /// Returns whether the character at this place, counted in characters, keeps the name from
    /// being written.
    pub(super) fn refuses(&self, name: &str, at: usize, c: char) -> bool {
        self.forbidden.contains(&c)
            // Hither's own, wherever a share is written: no version puts anything there.
            || at == 0 && is_trash_name(name)
            || at == 0 && self.devices && is_device_name(name)
            || self.ends && matches!(c, '.' | ' ') && name.chars().count() == at + 1
    }

    /// Returns why a name cannot be written, in words that complete "… because …".
    pub(super) fn reason(&self, name: &str) -> &'static str {
        if name.len() > self.longest {
            "it is too long there"
        } else if is_trash_name(name) {
            "it is the name of Hither's own trash"
        } else if name.chars().any(|c| self.forbidden.contains(&c)) {
            "it has a character that is not allowed there"
        } else if self.devices && is_device_name(name) {
            "it stands for a device there"
        } else {
            "it ends with a dot or a blank"
        }
    }

    /// The same for all names that are one.
    pub(super) fn key<'a>(&self, name: &'a str) -> Cow<'a, str> {
        if self.folds {
            folded(name)
        } else {
            Cow::Borrowed(name)
        }
    }

    /// The same of what is on the disk.
    pub(crate) fn key_of(&self, name: &OsStr) -> OsString {
        match name.to_str() {
            Some(text) => self.key(text).into_owned().into(),
            None => name.to_owned(),
        }
    }

    /// Longest name, bytes.
    pub const fn longest(&self) -> usize {
        self.longest
    }

    /// Returns whether any name but that of the trash can be written as it is.
    pub(super) fn take_all(&self) -> bool {
        self.forbidden.is_empty()
            && !self.devices
            && !self.ends
            && !self.folds
            && self.longest >= 255
    }

    /// Encodes for storing.
    pub fn encode(&self) -> Vec<u8> {
        let flags = u8::from(self.devices) | u8::from(self.ends) << 1 | u8::from(self.folds) << 2;
        let longest = u16::try_from(self.longest)
            .unwrap_or(u16::MAX)
            .to_le_bytes();
        let mut out = vec![flags, longest[0], longest[1]];
        out.extend(self.forbidden.iter().collect::<String>().as_bytes());
        out
    }

    /// Parses what [`Self::encode`] made.
    pub fn decode(bytes: &[u8]) -> Result<Self, RulesError> {
        let ([flags, low, high], forbidden) = bytes.split_first_chunk::<3>().ok_or(RulesError)?;
        let forbidden = std::str::from_utf8(forbidden)
            .map_err(|_| RulesError)?
            .chars()
            .collect();
        let longest = usize::from(u16::from_le_bytes([*low, *high]));
        Ok(Self {
            forbidden,
            devices: flags & 1 != 0,
            ends: flags & 2 != 0,
            folds: flags & 4 != 0,
            longest,
        })
    }
}
