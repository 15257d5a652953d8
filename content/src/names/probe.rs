//! Finding out what names a file system takes, by trying.
//!
//! Nothing tells it otherwise: a driver says "invalid" or writes something else, and one type of
//! file system behaves in several ways, by its options. Invariants: nothing is tried unless a share
//! has names of which there is doubt; what is tried lies in a folder of its own, which is removed
//! again.

use super::NameRules;
use crate::partial::PARTIAL_SUFFIX;
use crate::platform::Dir;
use hither_proto::{NOT_ON_WINDOWS, folded, is_device_name};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;

/// Names of the folder to try in that are tried.
const ATTEMPTS: u32 = 100;
/// Characters that are tried in one name; with 4 bytes each they are far below any limit.
const TOGETHER: usize = 40;
/// Most different characters that are tried: more than any script has.
const MAX_TRIED: usize = 4096;

/// The doubts about a share's names.
#[derive(Debug, Default)]
struct Doubts {
    characters: BTreeSet<char>,
    devices: bool,
    ends: bool,
}

impl Doubts {
    fn add(&mut self, name: &str) {
        let odd = |c: &char| c.is_control() || !c.is_ascii() || NOT_ON_WINDOWS.contains(c);
        self.characters.extend(name.chars().filter(odd));
        self.ends |= name.ends_with(['.', ' ']);
        self.devices |= is_device_name(name);
    }

    fn is_none(&self) -> bool {
        self.characters.is_empty() && !self.devices && !self.ends
    }
}

/// Returns what a folder takes, as far as it matters for these names. `similar`: some of them may
/// be one to a file system.
pub(crate) fn probe<'a>(
    dir: &Dir,
    names: impl Iterator<Item = &'a str>,
    similar: bool,
) -> io::Result<NameRules> {
    let mut rules = NameRules::of_system();
    rules.longest = usize::try_from(dir.space()?.max_name.clamp(32, 255)).unwrap_or(255);
    let mut doubts = Doubts::default();
    names.for_each(|name| doubts.add(name));
    if doubts.is_none() && !similar {
        return Ok(rules);
    }
    let Some(trial) = Trial::begin(dir)? else {
        return Ok(rules);
    };
    rules.folds |= trial.folds()?;
    if doubts.ends {
        rules.ends |= !trial.takes("x.", &rules)? || !trial.takes("x ", &rules)?;
    }
    if doubts.devices {
        rules.devices |= !trial.takes("aux.x", &rules)?;
    }
    let characters: Vec<char> = doubts.characters.into_iter().take(MAX_TRIED).collect();
    let mut forbidden = BTreeSet::new();
    for some in characters.chunks(TOGETHER) {
        trial.forbidden(some, &rules, &mut forbidden)?;
    }
    rules.forbidden.extend(forbidden);
    Ok(rules)
}

/// A folder to try names in.
struct Trial<'a> {
    above: &'a Dir,
    name: OsString,
    dir: Dir,
}

impl<'a> Trial<'a> {
    /// `None` when no folder can be made: whatever stands in the way shows when something is
    /// written.
    fn begin(above: &'a Dir) -> io::Result<Option<Self>> {
        for attempt in 1..=ATTEMPTS {
            let name = OsString::from(format!(".names-{attempt}{PARTIAL_SUFFIX}"));
            match above.make_dir(&name) {
                Ok(()) => {
                    let dir = above.open_dir(&name)?;
                    return Ok(Some(Self { above, name, dir }));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(_) => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Returns whether a name that differs in case or in how accents are encoded leads to the same
    /// file.
    fn folds(&self) -> io::Result<bool> {
        for (made, asked) in [("Aa", "aA"), ("\u{e9}", "e\u{301}")] {
            if self.make(made)? {
                let same = self.dir.stat(OsStr::new(asked)).is_ok();
                self.dir.remove_file(OsStr::new(made))?;
                if same {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Adds those of some characters that no name may have.
    fn forbidden(
        &self,
        some: &[char],
        rules: &NameRules,
        to: &mut BTreeSet<char>,
    ) -> io::Result<()> {
        let name: String = std::iter::once('x')
            .chain(some.iter().copied())
            .chain(['x'])
            .collect();
        if self.takes(&name, rules)? {
            return Ok(());
        }
        if let [one] = some {
            to.insert(*one);
            return Ok(());
        }
        let (a, b) = some.split_at(some.len() / 2);
        self.forbidden(a, rules, to)?;
        self.forbidden(b, rules, to)
    }

    /// Returns whether a file can have this name, and has it afterwards.
    fn takes(&self, name: &str, rules: &NameRules) -> io::Result<bool> {
        if !self.make(name)? {
            return Ok(false);
        }
        let mut found = false;
        self.dir.names(&mut |there| {
            found |= there
                .to_str()
                .is_some_and(|there| there == name || rules.folds && folded(there) == folded(name));
            Ok(())
        })?;
        // Whatever it is called by now, nothing else is in here.
        self.empty()?;
        Ok(found)
    }

    /// Creates a file; `false` when its name is refused.
    fn make(&self, name: &str) -> io::Result<bool> {
        match self.dir.create(OsStr::new(name)) {
            Ok(_) => Ok(true),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::StorageFull
                        | io::ErrorKind::QuotaExceeded
                        | io::ErrorKind::ReadOnlyFilesystem
                ) =>
            {
                Err(error)
            }
            Err(_) => Ok(false),
        }
    }

    fn empty(&self) -> io::Result<()> {
        let mut names = Vec::new();
        self.dir.names(&mut |name| {
            names.push(name);
            Ok(())
        })?;
        names.iter().try_for_each(|name| self.dir.remove_file(name))
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        // What cannot be removed now is called as an unfinished fetch is, and is never shared.
        if self
            .empty()
            .and_then(|()| self.above.remove_dir(&self.name))
            .is_err()
        {
            tracing::debug!("a folder to try names in stays behind");
        }
    }
}
