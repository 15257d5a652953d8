//! Patterns of what is left out of a share: those of its user, and `.hitherignore` files in it, both
//! as lines of a `.gitignore` (gitignore(5)).
//!
//! The last pattern that matches counts, `!` takes something back in; the user's come before the
//! files', a deeper file's before a higher one's. What is left out is not looked into, so nothing in
//! such a folder is taken back in. The file itself is shared, unless a pattern says otherwise.
//!
//! Bounded: [`MAX_PATTERNS`] patterns of [`MAX_PATTERN`] bytes of the user, [`MAX_LINES`] of a file
//! of [`MAX_FILE`] bytes. A pattern or file that cannot be understood is an error, never nothing:
//! what somebody wants left out must not be shared by mistake.

use crate::platform::{Dir, Kind, Stat};
use hither_proto::display_name;
use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use std::ffi::OsStr;
use std::io::{self, Read};

/// The name of the files with patterns.
pub(crate) const FILE: &str = ".hitherignore";
/// Patterns that a user can give.
pub const MAX_PATTERNS: usize = 100;
/// Length of a pattern, bytes.
pub const MAX_PATTERN: usize = 500;
/// Patterns in one file.
const MAX_LINES: usize = 1000;
/// Length of a file, bytes.
const MAX_FILE: u64 = 64 << 10;

/// Why patterns cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It is no pattern.
    #[error("the pattern {pattern:?} cannot be understood: {reason}")]
    Broken {
        /// Which, safe to show.
        pattern: String,
        /// Why, in words.
        reason: String,
    },
    /// It is longer than [`MAX_PATTERN`].
    #[error("the pattern {pattern:?} is longer than {MAX_PATTERN} bytes")]
    Long {
        /// How it begins, safe to show.
        pattern: String,
    },
    /// There are too many.
    #[error("more than {0} patterns")]
    Many(usize),
    /// A file with patterns that cannot be used; in words.
    #[error("it {0}")]
    File(String),
}

/// Patterns that count from one folder on.
#[derive(Debug, Clone)]
pub struct Patterns {
    matcher: Gitignore,
}

impl Patterns {
    /// Reads the patterns of a user, which count from the top of a share on.
    ///
    /// Errors: one of them is none, too long, or there are too many.
    pub fn parse(patterns: &[String]) -> Result<Self, PatternError> {
        Self::of(patterns.iter().map(String::as_str), MAX_PATTERNS)
    }

    fn of<'a>(lines: impl Iterator<Item = &'a str>, most: usize) -> Result<Self, PatternError> {
        // Paths are those below the folder: there is no root to take off them.
        let mut builder = GitignoreBuilder::new(".");
        builder.allow_unclosed_class(false);
        for (number, line) in lines.enumerate() {
            if number >= most {
                return Err(PatternError::Many(most));
            }
            let shown = || display_name(&line.chars().take(60).collect::<String>());
            if line.len() > MAX_PATTERN {
                return Err(PatternError::Long { pattern: shown() });
            }
            builder
                .add_line(None, line)
                .map_err(|error| PatternError::Broken {
                    pattern: shown(),
                    reason: words(&error),
                })?;
        }
        let matcher = builder.build().map_err(|error| PatternError::Broken {
            pattern: String::new(),
            reason: words(&error),
        })?;
        Ok(Self { matcher })
    }

    /// Says whether a path below the folder is left out; `None`: nothing is said about it.
    fn leave_out(&self, path: &str, folder: bool) -> Option<bool> {
        match self.matcher.matched(path, folder) {
            Match::None => None,
            Match::Ignore(_) => Some(true),
            Match::Whitelist(_) => Some(false),
        }
    }
}

fn words(error: &ignore::Error) -> String {
    match error {
        ignore::Error::Glob { err, .. } => display_name(err),
        error => display_name(&error.to_string()),
    }
}

/// The patterns that count where a walk is.
#[derive(Debug, Default)]
pub(crate) struct Exclusion<'a> {
    user: Option<&'a Patterns>,
    /// Those of folders on the way, each with the length of the folder's path below the top.
    files: Vec<(usize, Patterns)>,
}

impl<'a> Exclusion<'a> {
    pub(crate) const fn new(user: Option<&'a Patterns>) -> Self {
        Self {
            user,
            files: Vec::new(),
        }
    }

    /// Returns whether a path below the top is left out.
    pub(crate) fn covers(&self, path: &str, folder: bool) -> bool {
        if self.user.is_none() && self.files.is_empty() {
            return false;
        }
        let user = self.user.and_then(|of| of.leave_out(path, folder));
        let files = || {
            let said = |(above, of): &(usize, Patterns)| of.leave_out(path.get(*above..)?, folder);
            self.files.iter().rev().find_map(said)
        };
        user.or_else(files).unwrap_or(false)
    }

    /// Enters a folder, whose path below the top has this length, with a slash; returns whether
    /// [`leave`](Self::leave) is to be called.
    ///
    /// Errors: its file cannot be used.
    pub(crate) fn enter(&mut self, dir: &Dir, above: usize) -> Result<bool, PatternError> {
        let name = OsStr::new(FILE);
        let stat = match dir.stat(name) {
            Ok(stat) => stat,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(PatternError::File(format!("cannot be read: {error}"))),
        };
        let text = read(dir, name, &stat)?;
        self.files
            .push((above, Patterns::of(text.lines(), MAX_LINES)?));
        Ok(true)
    }

    /// Leaves the folder that was entered last.
    pub(crate) fn leave(&mut self) {
        self.files.pop();
    }
}

fn read(dir: &Dir, name: &OsStr, stat: &Stat) -> Result<String, PatternError> {
    let refused = |why: String| Err(PatternError::File(why));
    match stat.kind {
        Kind::File => {}
        // A link leads who knows where: nothing outside is read for what is shared.
        Kind::Symlink => return refused("is a link; only a file counts".into()),
        Kind::Folder | Kind::Special(_) => return refused("is no file".into()),
    }
    let mut bytes = Vec::new();
    let read = dir
        .open_read(name)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
    match (read, String::from_utf8(bytes)) {
        (Err(error), _) => refused(format!("cannot be read: {error}")),
        (Ok(length), _) if length as u64 > MAX_FILE => {
            refused(format!("is longer than {} KiB", MAX_FILE >> 10))
        }
        (Ok(_), Err(_)) => refused("is no text in UTF-8".into()),
        (Ok(_), Ok(text)) => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(lines: &[&str]) -> Patterns {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        Patterns::parse(&lines).unwrap()
    }

    #[test]
    fn patterns_mean_what_they_mean_in_a_gitignore() {
        let of = patterns(&[
            "*.o",
            "/top",
            "build/",
            "docs/*.txt",
            "!keep.o",
            "# no",
            "",
            "a/**/z",
        ]);
        let out = |path, folder| of.leave_out(path, folder);
        assert_eq!(out("x.o", false), Some(true));
        assert_eq!(out("deep/er/x.o", false), Some(true));
        assert_eq!(out("deep/keep.o", false), Some(false));
        assert_eq!(
            (out("top", false), out("deep/top", false)),
            (Some(true), None)
        );
        assert_eq!(
            (out("build", true), out("build", false)),
            (Some(true), None)
        );
        assert_eq!(
            (out("docs/a.txt", false), out("docs/b/a.txt", false)),
            (Some(true), None)
        );
        assert_eq!(
            (out("a/b/c/z", false), out("# no", false)),
            (Some(true), None)
        );
    }

    #[test]
    fn the_user_comes_first_and_a_deeper_file_before_a_higher_one() {
        let user = patterns(&["secret", "!shown.o"]);
        let mut exclusion = Exclusion::new(Some(&user));
        exclusion.files.push((0, patterns(&["*.o", "/only"])));
        exclusion
            .files
            .push(("sub/".len(), patterns(&["!*.o", "/only"])));
        assert!(exclusion.covers("sub/secret", false) && !exclusion.covers("sub/x.o", false));
        assert!(
            exclusion.covers("sub/only", false),
            "relative to its own folder"
        );
        exclusion.leave();
        assert!(exclusion.covers("x.o", false) && !exclusion.covers("shown.o", false));
        assert!(exclusion.covers("only", true) && !exclusion.covers("sub/only", true));
        assert!(!Exclusion::new(None).covers("x.o", false));
    }

    #[test]
    fn what_is_no_pattern_is_named_and_there_are_bounds() {
        let parse = |lines: Vec<String>| Patterns::parse(&lines).map(|_| ());
        let broken = parse(vec!["ok".into(), "a[".into()]);
        assert!(
            matches!(&broken, Err(PatternError::Broken { pattern, .. }) if pattern == "a["),
            "{broken:?}"
        );
        assert!(matches!(
            parse(vec!["x".repeat(501)]),
            Err(PatternError::Long { .. })
        ));
        assert_eq!(parse(vec!["x".into(); 101]), Err(PatternError::Many(100)));
        assert_eq!(parse(vec!["x".into(); 100]), Ok(()));
    }

    #[test]
    fn a_file_that_cannot_be_used_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::open(folder.path()).unwrap();
        let file = folder.path().join(FILE);
        let mut exclusion = Exclusion::new(None);
        assert_eq!(exclusion.enter(&dir, 0), Ok(false));
        std::fs::write(&file, "*.o\r\n\n").unwrap();
        assert_eq!(exclusion.enter(&dir, 0), Ok(true));
        assert!(exclusion.covers("a.o", false));
        exclusion.leave();
        std::fs::write(&file, vec![b'\n'; 1 + (64 << 10)]).unwrap();
        assert!(matches!(
            exclusion.enter(&dir, 0),
            Err(PatternError::File(_))
        ));
        std::fs::write(&file, [0xff, 0xfe]).unwrap();
        assert!(matches!(
            exclusion.enter(&dir, 0),
            Err(PatternError::File(_))
        ));
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", &file).unwrap();
        assert!(matches!(
            exclusion.enter(&dir, 0),
            Err(PatternError::File(_))
        ));
        assert!(exclusion.files.is_empty());
    }
}
