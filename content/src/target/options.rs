//! How a share is fetched to a place.

use crate::holding::Holding;
use crate::names::{NameRules, Naming};
use crate::selection::Selection;
use hither_proto::EntryName;
use std::sync::Arc;

/// What to do about a file or folder that has the share's name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfExists {
    /// Fetch nothing.
    Fail,
    /// Replace a file; replace the files of the same names in a folder and leave its other files
    /// alone.
    Overwrite,
    /// Fetch to `name (2)`.
    Rename,
    /// Replace what an earlier version left there ([`TargetOptions::before`]) and nobody has
    /// changed since. Everything else stays as it is; what has its name in the share is written
    /// beside it.
    Update,
}

/// How to fetch.
#[derive(Debug, Clone)]
pub struct TargetOptions {
    /// What to do about a file or folder that has the share's name already.
    pub if_exists: IfExists,
    /// Another name for the share's top entry on this device.
    pub name: Option<EntryName>,
    /// Permission bits that nothing gets, as with `umask`; write permission for group and others
    /// is never given.
    pub umask: u32,
    /// For [`IfExists::Update`]: the earlier version, at its place. What it does not vouch for is
    /// somebody else's.
    pub before: Option<Arc<Holding>>,
    /// For [`IfExists::Update`]: files and symlinks that are somebody else's are replaced too.
    pub overwrite: bool,
    /// For [`IfExists::Update`]: where the new version comes from and when, for the name of what
    /// is written beside something: `name (conflict of ORIGIN).ext`.
    pub origin: String,
    /// For [`IfExists::Update`]: the date and time by which what the new version replaces is kept
    /// in the trash, and what it no longer has is put there. `None`: what is replaced is gone, and
    /// what it no longer has stays.
    pub trash: Option<String>,
    /// What becomes of names that cannot be written there.
    pub naming: Naming,
    /// The rules for names; `None`: what the file system takes is found out when a target is
    /// prepared. A target that is resumed needs those of then ([`super::FetchTarget::rules`]);
    /// without them all names are written as they are.
    pub rules: Option<NameRules>,
    /// The entries that are wanted; `None`: all.
    pub only: Option<Arc<Selection>>,
}

/// Never given: write permission for group and others, and anything that is no permission.
const NEVER: u32 = !0o755;

impl TargetOptions {
    /// With that answer, the share's own name and no further wishes.
    pub const fn new(if_exists: IfExists) -> Self {
        Self {
            if_exists,
            name: None,
            umask: 0o022,
            before: None,
            overwrite: false,
            origin: String::new(),
            trash: None,
            naming: Naming::Rename,
            rules: None,
            only: None,
        }
    }

    /// The permission bits that something gets whose owner gave it `mode`.
    pub(super) const fn mode(&self, mode: u32) -> u32 {
        mode & !self.umask & !NEVER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_gives_nobody_more_than_the_user_does() {
        let with = |umask| TargetOptions {
            umask,
            ..TargetOptions::new(IfExists::Fail)
        };
        assert_eq!(with(0o000).mode(0o7777), 0o755);
        assert_eq!(with(0o022).mode(0o644), 0o644);
        assert_eq!(with(0o027).mode(0o755), 0o750);
        assert_eq!(with(0o077).mode(0o777), 0o700);
        assert_eq!(with(0o077).mode(0o000), 0);
    }
}
