//! The trash of followed copies: `.hither-trash` in a followed folder, or beside a followed file.
//! In it is a folder for each version that replaced or removed something, called by date and time.
//!
//! Invariants: the name is Hither's own: nothing of a share is written under it, and nothing below
//! it is shared; only folders called by date and time are ever removed; no symlink is followed.

use crate::place::Place;
use crate::platform::{Dir, Kind};
use crate::target::empty_folder;
use hither_proto::folded;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

/// Name of the folder that has what later versions replaced or removed.
pub const TRASH: &str = ".hither-trash";
/// Longest name that can be the same as [`TRASH`] to a file system, bytes: every character of it
/// takes at most four.
const LONGEST: usize = 4 * TRASH.len();
/// Characters of a date and time: `2026-11-29_12-30-05`.
const WHEN: &str = "dddd-dd-dd_dd-dd-dd";
/// How deep the trash is looked into; shares are not deeper than that by far.
const DEPTH: u32 = 512;

/// Returns whether a name is that of the trash, to any file system.
pub fn is_trash_name(name: &str) -> bool {
    name.len() <= LONGEST && folded(name) == TRASH
}

/// Something in the trash: what one version replaced or removed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Trashed {
    /// Path of the trash.
    pub trash: PathBuf,
    /// Name in it.
    pub name: String,
}

/// Returns whether a name in the trash is one that Hither gave: date and time, perhaps numbered.
fn is_when(name: &str) -> bool {
    let Some((when, rest)) = name.split_at_checked(WHEN.len()) else {
        return false;
    };
    let as_wanted = |(c, wanted): (char, char)| {
        if wanted == 'd' {
            c.is_ascii_digit()
        } else {
            c == wanted
        }
    };
    let numbered = rest
        .strip_prefix('_')
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()));
    when.chars().zip(WHEN.chars()).all(as_wanted) && (rest.is_empty() || numbered)
}

/// Opens the trash at a path; `None` when there is none, or something else.
fn open(trash: &Path) -> io::Result<Option<Dir>> {
    let place = Place {
        parent: trash.parent().unwrap_or(trash).to_owned(),
        name: OsString::from(TRASH),
    };
    let found = Dir::open_exact(&place.parent).and_then(|above| above.open_dir(&place.name));
    match found {
        Ok(dir) => Ok(Some(dir)),
        Err(error) if crate::platform::is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns what is in a trash, the oldest first as their names say; at most `max`.
pub fn trashed(trash: &Path, max: usize) -> io::Result<Vec<Trashed>> {
    let Some(dir) = open(trash)? else {
        return Ok(Vec::new());
    };
    let mut names: Vec<String> = names(&dir)?
        .into_iter()
        .filter_map(|name| name.into_string().ok())
        .filter(|name| is_when(name))
        .collect();
    names.sort();
    names.truncate(max);
    let one = |name| Trashed {
        trash: trash.to_owned(),
        name,
    };
    Ok(names.into_iter().map(one).collect())
}

impl Trashed {
    /// Bytes of all files in it, as long as they are; what cannot be read counts nothing.
    pub fn bytes(&self) -> io::Result<u64> {
        let Some(dir) = open(&self.trash)? else {
            return Ok(0);
        };
        match dir.open_dir(OsStr::new(&self.name)) {
            Ok(dir) => Ok(bytes(&dir, 0)),
            Err(error) if crate::platform::is_gone(&error) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Removes it, and the trash itself when nothing else is in it. That it is gone already is no
    /// error.
    pub fn remove(&self) -> io::Result<()> {
        let Some(dir) = open(&self.trash)?.filter(|_| is_when(&self.name)) else {
            return Ok(());
        };
        let name = OsStr::new(&self.name);
        let inner = match dir.open_dir(name) {
            Err(error) if crate::platform::is_gone(&error) => return Ok(()),
            inner => inner?,
        };
        empty_folder(&inner)?;
        drop(inner);
        dir.remove_dir(name)?;
        drop(dir);
        if let Some(parent) = self.trash.parent() {
            match Dir::open_exact(parent)?.remove_dir(OsStr::new(TRASH)) {
                Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => {
                    tracing::debug!(%error, "an empty trash stays");
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn bytes(dir: &Dir, depth: u32) -> u64 {
    let Ok(names) = names(dir) else { return 0 };
    let one = |name: &OsString| match dir.stat(name) {
        Ok(stat) if stat.kind == Kind::File => stat.size,
        Ok(stat) if stat.kind == Kind::Folder && depth < DEPTH => dir
            .open_dir(name)
            .map_or(0, |inner| bytes(&inner, depth + 1)),
        _ => 0,
    };
    names.iter().map(one).fold(0, u64::saturating_add)
}

fn names(dir: &Dir) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    dir.names(&mut |name| {
        names.push(name);
        Ok(())
    })?;
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_name_is_known_in_every_case() {
        assert!(is_trash_name(".hither-trash") && is_trash_name(".Hither-TRASH"));
        for other in ["hither-trash", ".hither-trash2", ".hither-trash.txt", ""] {
            assert!(!is_trash_name(other), "{other}");
        }
    }

    #[test]
    fn only_what_hither_put_there_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let trash = root.join(TRASH);
        for name in ["2026-11-29_12-30-05", "2026-11-29_12-30-05_2", "mine"] {
            fs::create_dir_all(trash.join(name).join("deep")).unwrap();
            fs::write(trash.join(name).join("deep/file"), "12345").unwrap();
        }
        std::os::unix::fs::symlink(&root, trash.join("2026-11-29_12-30-06")).unwrap();
        fs::write(root.join("kept"), "k").unwrap();
        std::os::unix::fs::symlink(root.join("kept"), trash.join("2026-11-29_12-30-05/link"))
            .unwrap();
        let found = trashed(&trash, 10).unwrap();
        assert_eq!(found.len(), 3, "{found:?}");
        assert_eq!(trashed(&trash, 1).unwrap().len(), 1);
        assert_eq!(found[0].bytes().unwrap(), 5);
        assert_eq!(found[2].bytes().unwrap(), 0, "a link leads nowhere");
        for one in &found {
            one.remove().unwrap();
        }
        assert!(root.join("kept").exists() && trash.join("mine/deep/file").exists());
        assert!(!trash.join("2026-11-29_12-30-05").exists());
        // A link at the place of the trash is none.
        let linked = root.join("other");
        fs::create_dir(&linked).unwrap();
        std::os::unix::fs::symlink(&trash, linked.join(TRASH)).unwrap();
        fs::create_dir(trash.join("2026-11-29_12-30-05")).unwrap();
        assert!(trashed(&linked.join(TRASH), 10).unwrap().is_empty());
        let through = Trashed {
            trash: linked.join(TRASH),
            name: "2026-11-29_12-30-05".into(),
        };
        through.remove().unwrap();
        assert!(trash.join("2026-11-29_12-30-05").exists());
    }
}
