//! The one choke point for names that come from outside.
//!
//! [`EntryName`] is a path component that may be given to a file system; [`display_name`] makes any text safe for a
//! terminal. Invariant: no file name that reaches the disk was made any other way than by [`EntryName::parse`].
//! The rules are those that croc, magic-wormhole, LocalSend and Syncthing had to learn by advisory.

use crate::limits::MAX_NAME;
use std::fmt;
use unicode_normalization::UnicodeNormalization;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing, or only dots that mean "here" and "above".
    #[error("the name is empty, \".\" or \"..\"")]
    NotAName,
    /// Longer than file systems take.
    #[error("the name is longer than {MAX_NAME} bytes")]
    TooLong,
    /// A path separator of some system (`/`, `\`), or NUL.
    #[error("the name contains a path separator or NUL")]
    Separator,
    /// A control character, which could rewrite a terminal.
    #[error("the name contains a control character")]
    Control,
    /// A name that Windows gives to a device (`CON`, `NUL`, `COM1` …), with or without an extension.
    #[error("the name is reserved for a device on some systems")]
    Reserved,
}

/// One component of a path inside a share, safe to hand to a file system.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryName(String);

impl EntryName {
    /// Checks a name from outside.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        if name.len() > MAX_NAME {
            return Err(NameError::TooLong);
        }
        if name.is_empty() || name == "." || name == ".." {
            return Err(NameError::NotAName);
        }
        if name.contains(['/', '\\', '\0']) {
            return Err(NameError::Separator);
        }
        if name.chars().any(char::is_control) {
            return Err(NameError::Control);
        }
        if is_device_name(name) {
            return Err(NameError::Reserved);
        }
        Ok(Self(name.to_owned()))
    }

    /// The checked name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What two names must not share inside one folder: equal keys collide on case-insensitive or normalising file
    /// systems (Unicode NFKC of the lower-cased text, an approximation of what NTFS and APFS fold together).
    pub fn collision_key(&self) -> String {
        if self.0.is_ascii() { self.0.to_ascii_lowercase() } else { self.0.to_lowercase().nfkc().collect() }
    }
}

impl fmt::Display for EntryName {
    /// Shows the name to a person; bidirectional overrides are made visible.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&display_name(&self.0))
    }
}

impl fmt::Debug for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// Device names of Windows, which answer with any extension and in any case
/// (<https://learn.microsoft.com/windows/win32/fileio/naming-a-file>).
fn is_device_name(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end_matches(' ').to_ascii_uppercase();
    if matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$") {
        return true;
    }
    match stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT")) {
        Some(rest) => matches!(rest, "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "¹" | "²" | "³"),
        None => false,
    }
}

/// Makes any text safe to print on one line of a terminal, and two texts that differ look different: control characters and
/// whatever shows nothing become U+FFFD, nothing else changes. What joins emoji to one picture stays between emoji.
pub fn display_name(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let (mut before, mut rest) = (None, text.chars().peekable());
    while let Some(c) = rest.next() {
        let joins = match c {
            // "Presentation selector 16": the picture, not the letter.
            '\u{fe0f}' => before.is_some_and(is_pictograph),
            '\u{200d}' => {
                before.is_some_and(|c| is_pictograph(c) || c == '\u{fe0f}')
                    && rest.peek().copied().is_some_and(is_pictograph)
            }
            _ => false,
        };
        let hidden = c.is_control() || (is_invisible(c) && !joins);
        shown.push(if hidden { '\u{fffd}' } else { c });
        before = Some(c);
    }
    shown
}

/// Returns whether a text has anything that a person could see.
pub(crate) fn is_visible(text: &str) -> bool {
    text.chars().any(|c| !c.is_whitespace() && !c.is_control() && !is_invisible(c))
}

/// Characters that show nothing and take no place: Default_Ignorable_Code_Point of Unicode 17 (DerivedCoreProperties.txt), and with
/// them bidirectional controls ("Trojan Source", CVE-2021-42574); line and paragraph separators (Zl, Zp); interlinear annotations
/// (U+FFF9 to U+FFFB); and the two letters that are drawn as blanks (U+2800, U+3164).
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Blocks of pictures that are joined or given a presentation (Extended_Pictographic of emoji-data.txt, by whole blocks): arrows to
/// miscellaneous symbols, and everything from mahjong tiles to the symbols that are still to come.
const fn is_pictograph(c: char) -> bool {
    matches!(c, '\u{203c}'..='\u{2049}' | '\u{2122}'..='\u{27bf}' | '\u{2934}'..='\u{2b55}' | '\u{3030}'..='\u{303d}' | '\u{1f000}'..='\u{1faff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_pass() {
        for name in ["a", "Ünïcödé ☃", ".hidden", "a.b.c", "console", "COM10", "naïve: what?", "..."] {
            assert_eq!(EntryName::parse(name).unwrap().as_str(), name);
        }
        assert!(EntryName::parse(&"x".repeat(255)).is_ok());
    }

    #[test]
    fn hostile_names_are_refused() {
        use NameError::*;
        for (name, why) in [
            ("", NotAName),
            (".", NotAName),
            ("..", NotAName),
            ("a/b", Separator),
            ("/etc", Separator),
            ("..\\x", Separator),
            ("a\0b", Separator),
            ("a\nb", Control),
            ("\u{1b}[2J", Control),
            ("\u{85}", Control),
            ("con", Reserved),
            ("NUL.txt", Reserved),
            ("Com1 .log", Reserved),
            ("lpt¹", Reserved),
        ] {
            assert_eq!(EntryName::parse(name), Err(why), "{name:?}");
        }
        assert_eq!(EntryName::parse(&"x".repeat(256)), Err(TooLong));
    }

    #[test]
    fn names_that_collide_elsewhere_share_a_key() {
        let key = |n: &str| EntryName::parse(n).unwrap().collision_key();
        assert_eq!(key("README"), key("readme"));
        assert_eq!(key("caf\u{e9}"), key("CAFE\u{301}"));
        assert_ne!(key("a"), key("b"));
    }

    #[test]
    fn shown_names_cannot_move_the_cursor_or_the_text_direction() {
        assert_eq!(display_name("a\u{1b}]0;x\u{7}b\u{202e}c"), "a\u{fffd}]0;x\u{fffd}b\u{fffd}c");
    }

    #[test]
    fn field_d7_names_that_differ_look_different() {
        let hidden = [
            '\u{ad}',
            '\u{34f}',
            '\u{115f}',
            '\u{180e}',
            '\u{200b}',
            '\u{200c}',
            '\u{200d}',
            '\u{2060}',
            '\u{2063}',
            '\u{2800}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{e0061}',
            '\u{e01ef}',
        ];
        for c in hidden {
            assert_eq!(display_name(&format!("lap{c}top")), "lap\u{fffd}top", "{:x}", u32::from(c));
            assert!(!is_visible(&format!(" {c}{c}\u{a0}")), "{:x}", u32::from(c));
        }
        assert!(is_visible("a") && !is_visible("\u{2003}\u{3000}"));
    }

    #[test]
    fn what_joins_emoji_stays_between_emoji_only() {
        for whole in [
            "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",
            "\u{2764}\u{fe0f}\u{200d}\u{1f525}",
            "日本語 Ünïcödé",
        ] {
            assert_eq!(display_name(whole), whole);
        }
        assert_eq!(display_name("\u{1f468}\u{200d}x"), "\u{1f468}\u{fffd}x");
        assert_eq!(display_name("\u{200d}\u{1f468}"), "\u{fffd}\u{1f468}");
    }
}
