//! The one choke point for names that come from outside.
//!
//! [`EntryName`] is one component of a path: what may stand in a manifest. Whether a file system
//! takes it is known only where it is written, and decided there. [`display_name`] makes any text
//! safe for a terminal. Invariant: no file name from outside reaches a disk that did not pass
//! [`EntryName::parse`].

use crate::limits::MAX_NAME;
use std::borrow::Cow;
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
    /// `/`, which separates names, or NUL, which ends them.
    #[error("the name contains a slash or NUL")]
    Separator,
}

/// One component of a path inside a share: it leads to no other folder. It may have any character
/// but `/` and NUL, newlines and backslashes included, so it is shown with [`display_name`] only,
/// and written only by what knows the file system.
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
        if name.contains(['/', '\0']) {
            return Err(NameError::Separator);
        }
        Ok(Self(name.to_owned()))
    }

    /// The checked name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// See [`folded`].
    pub fn folded(&self) -> Cow<'_, str> {
        folded(&self.0)
    }

    /// Returns why some systems cannot write the name, in words that complete "… because …"; `None`
    /// when all can.
    pub fn unportable(&self) -> Option<&'static str> {
        let name = self.as_str();
        if name.chars().any(char::is_control) {
            Some("it has a control character")
        } else if name.contains(NOT_ON_WINDOWS) {
            Some("Windows allows none of \\ : * ? \" < > |")
        } else if name.ends_with(['.', ' ']) {
            Some("it ends with a dot or a blank")
        } else if is_device_name(name) {
            Some("Windows gives that name to a device")
        } else {
            None
        }
    }
}

/// Printable characters that Windows allows in no name, besides `/`
/// (<https://learn.microsoft.com/windows/win32/fileio/naming-a-file>).
pub const NOT_ON_WINDOWS: [char; 8] = ['\\', ':', '*', '?', '"', '<', '>', '|'];

/// The same for all names that some file system takes for one: those that differ in case, in how
/// accents and widths are encoded, or in characters that show nothing. It is made for nothing but
/// comparing. File systems fold less, each in its own way (NTFS case, APFS and ext4 case and
/// accents), and none of them more.
pub fn folded(name: &str) -> Cow<'_, str> {
    if name
        .bytes()
        .all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase())
    {
        return Cow::Borrowed(name);
    }
    if name.is_ascii() {
        return Cow::Owned(name.to_ascii_lowercase());
    }
    let plain: String = name.nfkd().filter(|c| !is_invisible(*c)).collect();
    // There and back, which makes two letters of one like \u{df}, in either case, and all forms of
    // sigma the same.
    Cow::Owned(
        plain
            .to_lowercase()
            .to_uppercase()
            .to_lowercase()
            .nfkd()
            .collect(),
    )
}

impl fmt::Display for EntryName {
    /// Shows the name to a person, on one line.
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
pub fn is_device_name(name: &str) -> bool {
    let stem = name
        .split('.')
        .next()
        .unwrap_or(name)
        .trim_end_matches(' ')
        .to_ascii_uppercase();
    if matches!(
        stem.as_str(),
        "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$"
    ) {
        return true;
    }
    match stem
        .strip_prefix("COM")
        .or_else(|| stem.strip_prefix("LPT"))
    {
        Some(rest) => matches!(
            rest,
            "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "¹" | "²" | "³"
        ),
        None => false,
    }
}

/// Makes any text safe to print on one line of a terminal, and two texts that differ look
/// different: control characters and whatever shows nothing become U+FFFD, nothing else changes.
/// Characters that join emoji to one picture stay between emoji.
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
    text.chars()
        .any(|c| !c.is_whitespace() && !c.is_control() && !is_invisible(c))
}

/// Characters that show nothing and take no place: Default_Ignorable_Code_Point of Unicode 17
/// (DerivedCoreProperties.txt), and with them bidirectional controls ("Trojan Source",
/// CVE-2021-42574); line and paragraph separators (Zl, Zp); interlinear annotations (U+FFF9 to
/// U+FFFB); and the two letters that are drawn as blanks (U+2800, U+3164).
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

/// Blocks of pictures that are joined or given a presentation (Extended_Pictographic of
/// emoji-data.txt, by whole blocks): arrows to miscellaneous symbols, and everything from mahjong
/// tiles to the symbols that are still to come.
const fn is_pictograph(c: char) -> bool {
    matches!(c, '\u{203c}'..='\u{2049}' | '\u{2122}'..='\u{27bf}' | '\u{2934}'..='\u{2b55}' | '\u{3030}'..='\u{303d}' | '\u{1f000}'..='\u{1faff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_nowhere_else_pass() {
        for name in [
            "a",
            "Ünïcödé ☃",
            ".hidden",
            "a.b.c",
            "console",
            "naïve: what?",
            "...",
            "aux.c",
            "con",
            "a\nb",
            "..\\x",
            "\u{1b}[2J",
            "\u{85}",
            "ends. ",
        ] {
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
            ("../x", Separator),
            ("a\0b", Separator),
        ] {
            assert_eq!(EntryName::parse(name), Err(why), "{name:?}");
        }
        assert_eq!(EntryName::parse(&"x".repeat(256)), Err(TooLong));
    }

    #[test]
    fn names_that_not_every_system_takes_are_known() {
        let unportable = |name| EntryName::parse(name).unwrap().unportable().is_some();
        for name in [
            "a\nb",
            "\u{85}",
            "a\\b",
            "12:30",
            "what?",
            "end.",
            "end ",
            "con",
            "NUL.txt",
            "Com1 .log",
            "lpt¹",
            "aux.c",
        ] {
            assert!(unportable(name), "{name:?}");
        }
        for name in [
            "a",
            "Ünïcödé ☃",
            ".hidden",
            "console",
            "COM10",
            "%41",
            " blank first",
        ] {
            assert!(!unportable(name), "{name:?}");
        }
    }

    #[test]
    fn names_that_are_one_to_some_system_fold_to_the_same() {
        for (one, other) in [
            ("README", "readme"),
            ("caf\u{e9}", "CAFE\u{301}"),
            ("stra\u{df}e", "STRASSE"),
            ("\u{fb01}le", "FILE"),
            (
                "\u{39f}\u{394}\u{39f}\u{3a3}",
                "\u{3bf}\u{3b4}\u{3bf}\u{3c2}",
            ),
            ("\u{ff41}", "A"),
            ("soft\u{ad}", "Soft"),
        ] {
            assert_eq!(folded(one), folded(other), "{one:?} {other:?}");
            assert_eq!(folded(&folded(one)), folded(one), "{one:?}");
        }
        assert_ne!(folded("a"), folded("b"));
        for c in '\0'..=char::MAX {
            let once = folded(c.encode_utf8(&mut [0; 4])).into_owned();
            assert_eq!(folded(&once), once, "{c:?}");
        }
    }

    #[test]
    fn shown_names_cannot_move_the_cursor_or_the_text_direction() {
        assert_eq!(
            display_name("a\u{1b}]0;x\u{7}b\u{202e}c"),
            "a\u{fffd}]0;x\u{fffd}b\u{fffd}c"
        );
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
            assert_eq!(
                display_name(&format!("lap{c}top")),
                "lap\u{fffd}top",
                "{:x}",
                u32::from(c)
            );
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
