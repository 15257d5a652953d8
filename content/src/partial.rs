//! What an unfinished fetch is called on disk, and how it is recognised again.
//!
//! Invariant: a partial is taken up again only if it has the very inode that was recorded when it
//! was made, so that another fetch's partial of the same name, or anything put in its place, is
//! left alone.

use crate::platform::{Dir, Kind, Stat};
use hither_proto::{EntryName, display_name};
use std::ffi::OsStr;
use std::io;

/// Ends the name of every unfinished fetch.
pub const PARTIAL_SUFFIX: &str = ".hither-partial";

/// Whether a name is that of an unfinished fetch.
pub fn is_partial_name(name: &str) -> bool {
    name.ends_with(PARTIAL_SUFFIX)
}

/// The `attempt`th name (from 1) for the partial of what will be called `name`, at most `max`
/// bytes.
pub(crate) fn partial_name(name: &str, attempt: u32, max: usize) -> String {
    let end = if attempt == 1 {
        PARTIAL_SUFFIX.to_owned()
    } else {
        format!(".{attempt}{PARTIAL_SUFFIX}")
    };
    format!("{}{end}", cut_to(name, max.saturating_sub(end.len())))
}

/// The `attempt`th name (from 2) beside an existing `name`: `name (2).ext`, at most `max` bytes. A
/// number that `name` has already is replaced.
pub(crate) fn numbered_name(name: &str, attempt: u32, max: usize, is_folder: bool) -> String {
    let (stem, extension) = split(name, is_folder);
    let end = format!(" ({attempt}){extension}");
    let digits =
        |number: &str| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let numbered = stem
        .strip_suffix(')')
        .and_then(|stem| stem.rsplit_once(" ("));
    let stem = numbered
        .filter(|(stem, number)| !stem.is_empty() && digits(number))
        .map_or(stem, |(stem, _)| stem);
    format!("{}{end}", cut_to(stem, max.saturating_sub(end.len())))
}

/// The `attempt`th name (from 1) of what is written beside an existing `name`: `name (conflict of
/// ORIGIN).ext`, at most `max` bytes. `origin` may be any text.
pub(crate) fn conflict_name(
    name: &str,
    origin: &str,
    attempt: u32,
    max: usize,
    is_folder: bool,
) -> String {
    /// Longest origin that is shown, bytes.
    const ORIGIN: usize = 64;
    let (stem, extension) = split(name, is_folder);
    let clean: String = display_name(origin).replace(['/', '\\', '\u{fffd}'], "_");
    let number = if attempt == 1 {
        String::new()
    } else {
        format!(" {attempt}")
    };
    let end = format!(
        " (conflict of {}{number}){extension}",
        cut_to(&clean, ORIGIN)
    );
    format!("{}{end}", cut_to(stem, max.saturating_sub(end.len())))
}

/// A name in its stem and its extension, with its dot.
fn split(name: &str, is_folder: bool) -> (&str, &str) {
    let dot = name
        .rfind('.')
        .filter(|dot| *dot > 0 && !is_folder && name.len() - dot <= 16);
    name.split_at(dot.unwrap_or(name.len()))
}

/// The longest beginning of at most `max` bytes that ends between characters.
fn cut_to(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// Names an unfinished fetch on disk. Store it with the transfer before the first chunk is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartialRef {
    /// Name of the partial in its folder.
    pub(crate) name: String,
    /// Name that the finished share gets.
    pub(crate) target: String,
    pub(crate) inode: u64,
    /// Creation time, nanoseconds since the Unix epoch; 0 where unknown. Tells a reused inode from
    /// the recorded one.
    pub(crate) born_ns: i64,
}

/// A stored [`PartialRef`] that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stored reference to an unfinished fetch is damaged")]
pub struct PartialRefError;

impl PartialRef {
    /// Records what has this name in `dir` now.
    pub(crate) fn record(dir: &Dir, name: String, target: String) -> io::Result<Self> {
        let stat = dir.stat(OsStr::new(&name))?;
        let born_ns = dir.born_ns(OsStr::new(&name))?;
        Ok(Self {
            name,
            target,
            inode: stat.inode,
            born_ns,
        })
    }

    /// Returns whether the entry with the recorded name in `dir` is the recorded one; also what it
    /// is. `None`: nothing is there.
    pub(crate) fn find(&self, dir: &Dir) -> io::Result<Option<(bool, Stat)>> {
        let name = OsStr::new(&self.name);
        let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        let stat = match dir.stat(name) {
            Ok(stat) => stat,
            Err(error) if gone(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let born_ns = match dir.born_ns(name) {
            Ok(born_ns) => born_ns,
            Err(error) if gone(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let sound = matches!(stat.kind, Kind::File | Kind::Folder);
        Ok(Some((
            sound && stat.inode == self.inode && born_ns == self.born_ns,
            stat,
        )))
    }

    /// Name of the partial in its folder.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Name that the finished share gets.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Encodes for storing; at most 540 bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(self.inode.to_le_bytes());
        out.extend(self.born_ns.to_le_bytes());
        out.extend((self.name.len() as u16).to_le_bytes());
        out.extend(self.name.as_bytes());
        out.extend(self.target.as_bytes());
        out
    }

    /// Parses what [`Self::encode`] made.
    pub fn decode(bytes: &[u8]) -> Result<Self, PartialRefError> {
        let (inode, rest) = bytes.split_first_chunk::<8>().ok_or(PartialRefError)?;
        let (born_ns, rest) = rest.split_first_chunk::<8>().ok_or(PartialRefError)?;
        let (length, rest) = rest.split_first_chunk::<2>().ok_or(PartialRefError)?;
        let (name, target) = rest
            .split_at_checked(u16::from_le_bytes(*length).into())
            .ok_or(PartialRefError)?;
        let one_name = |bytes: &[u8]| match std::str::from_utf8(bytes) {
            Ok(name) if EntryName::parse(name).is_ok() => Ok(name.to_owned()),
            _ => Err(PartialRefError),
        };
        let (name, target) = (one_name(name)?, one_name(target)?);
        if !is_partial_name(&name) {
            return Err(PartialRefError);
        }
        Ok(Self {
            name,
            target,
            inode: u64::from_le_bytes(*inode),
            born_ns: i64::from_le_bytes(*born_ns),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_stay_whole_characters() {
        assert_eq!(partial_name("a.txt", 1, 255), "a.txt.hither-partial");
        assert_eq!(partial_name("a.txt", 3, 255), "a.txt.3.hither-partial");
        let long = "é".repeat(127);
        for attempt in [1, 2, 100] {
            let name = partial_name(&long, attempt, 255);
            assert!(name.len() <= 255 && is_partial_name(&name) && name.starts_with("éé"));
        }
        assert_eq!(numbered_name("a.tar.gz", 2, 255, false), "a.tar (2).gz");
        assert_eq!(numbered_name(".bashrc", 2, 255, false), ".bashrc (2)");
        assert_eq!(numbered_name("v1.2", 2, 255, true), "v1.2 (2)");
        assert_eq!(
            numbered_name("photo (2).jpg", 3, 255, false),
            "photo (3).jpg"
        );
        assert_eq!(numbered_name(" (2)", 3, 255, true), " (2) (3)");
        assert_eq!(numbered_name("a (x)", 2, 255, true), "a (x) (2)");
        assert_eq!(
            numbered_name(&format!("{}.jpeg", "x".repeat(250)), 10, 255, false).len(),
            255
        );
    }

    #[test]
    fn conflicts_say_where_they_come_from() {
        let name = |name, origin, attempt| conflict_name(name, origin, attempt, 255, false);
        assert_eq!(
            name("a.txt", "desk-2026-11-29", 1),
            "a (conflict of desk-2026-11-29).txt"
        );
        assert_eq!(name("a.txt", "de/sk\n", 2), "a (conflict of de_sk_ 2).txt");
        assert!(name(&format!("{}.txt", "x".repeat(251)), &"y".repeat(300), 10).len() <= 255);
    }

    #[test]
    fn references_round_trip_and_nonsense_is_refused() {
        let partial = PartialRef {
            name: "a.hither-partial".into(),
            target: "a".into(),
            inode: 7,
            born_ns: -1,
        };
        let bytes = partial.encode();
        assert_eq!(PartialRef::decode(&bytes), Ok(partial.clone()));
        for end in 0..bytes.len() {
            assert!(PartialRef::decode(&bytes[..end]).is_err(), "{end}");
        }
        for (name, target) in [
            ("a", "a"),
            ("../a.hither-partial", "a"),
            ("a.hither-partial", ".."),
        ] {
            let bad = PartialRef {
                name: name.into(),
                target: target.into(),
                ..partial.clone()
            };
            assert!(PartialRef::decode(&bad.encode()).is_err());
        }
    }
}
