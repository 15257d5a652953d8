//! Putting aside what an earlier version left and the new one does not have.
//!
//! Invariants: nothing goes but what is exactly what the earlier version wrote; what the user
//! changed stays and is told; folders go when they are empty, and no symlink is followed.

use super::FetchTarget;
use super::FinishError;
use super::aside::{Aside, Thing};
use super::merge::{Kept, Placed, enter};
use super::verdict::{Before, Verdicts};
use crate::platform::{Dir, Kind, Stat, is_gone};
use hither_proto::EntryKind;
use std::ffi::{OsStr, OsString};
use std::io;

/// A folder of the earlier version on the way down.
struct Folder {
    /// Its entry.
    entry: u32,
    /// Absent when it is not there, or not a folder any more.
    dir: Option<Dir>,
    name: OsString,
    /// Its mode before it was entered.
    mode: u32,
}

impl FetchTarget {
    /// Moves to the trash what the earlier version left, and the new one does not have.
    pub(super) fn clear_away(
        &self,
        target: &OsStr,
        verdicts: &Verdicts<'_>,
        aside: &Aside,
        placed: &mut Placed,
    ) -> Result<(), FinishError> {
        let Some(before) = verdicts.before() else {
            return Ok(());
        };
        let manifest = before.holding().manifest();
        if manifest.is_single_file() || self.manifest().is_single_file() {
            return Ok(());
        }
        let failed = |error| FinishError::from(self.failed(0, error));
        let top = self.above.open_dir(target).map_err(failed)?;
        let mut open = vec![Folder {
            entry: 0,
            dir: Some(top),
            name: target.to_owned(),
            mode: 0o700,
        }];
        for (index, entry) in (0u32..).zip(manifest.entries()).skip(1) {
            while open.len() > entry.depth as usize {
                self.leave(&mut open, before);
            }
            let is_folder = matches!(entry.kind, EntryKind::Folder);
            let name = before.name(index).to_owned();
            let here = (index, name.as_os_str());
            if is_folder {
                let folder = self.descend(before, verdicts, here, &open, placed);
                open.push(folder.map_err(failed)?);
            } else if !before.is_matched(index) {
                self.clear_one(before, verdicts, here, (&open, aside), placed)
                    .map_err(failed)?;
            }
        }
        while !open.is_empty() {
            self.leave(&mut open, before);
        }
        Ok(())
    }

    /// Enters a folder of the earlier version, if it is still one.
    fn descend(
        &self,
        before: &Before<'_>,
        verdicts: &Verdicts<'_>,
        (entry, name): (u32, &OsStr),
        open: &[Folder],
        placed: &mut Placed,
    ) -> io::Result<Folder> {
        let mut folder = Folder {
            entry,
            dir: None,
            name: name.to_owned(),
            mode: 0o700,
        };
        let above = open.last().and_then(|above| above.dir.as_ref());
        let Some(above) = above.filter(|_| !before.is_skipped(entry)) else {
            return Ok(folder);
        };
        let stat = match above.stat(name) {
            Err(error) if is_gone(&error) => return Ok(folder),
            stat => stat?,
        };
        if stat.kind == Kind::Folder {
            folder.mode = stat.mode;
            folder.dir = Some(enter(above, name)?);
        } else if !before.is_matched(entry) {
            self.stays(placed, verdicts, open, (entry, name));
        }
        Ok(folder)
    }

    /// Moves one file or symlink to the trash, if it is what the earlier version left.
    fn clear_one(
        &self,
        before: &Before<'_>,
        verdicts: &Verdicts<'_>,
        (entry, name): (u32, &OsStr),
        (open, aside): (&[Folder], &Aside),
        placed: &mut Placed,
    ) -> io::Result<()> {
        let dir = open.last().and_then(|above| above.dir.as_ref());
        let Some(dir) = dir.filter(|_| !before.is_skipped(entry)) else {
            return Ok(());
        };
        let there = match dir.stat(name) {
            Err(error) if is_gone(&error) => return Ok(()),
            there => there?,
        };
        if verdicts.may_go(entry, (dir, name), &there) {
            let thing = Thing {
                dir,
                name,
                there: &there,
                folders: open[1..].iter().map(|above| above.name.clone()).collect(),
            };
            match aside.take(&thing, &|_: &Dir, _: &OsStr, _: &Stat| true) {
                Ok(true) => return Ok(()),
                // On another file system than the trash: it stays.
                Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {}
                Ok(false) => match dir.stat(name) {
                    Err(error) if is_gone(&error) => return Ok(()),
                    _ => {}
                },
                Err(error) => return Err(error),
            }
        }
        self.stays(placed, verdicts, open, (entry, name));
        Ok(())
    }

    /// Notes that something of the user's stays where the new version has nothing.
    fn stays(
        &self,
        placed: &mut Placed,
        verdicts: &Verdicts<'_>,
        open: &[Folder],
        (entry, name): (u32, &OsStr),
    ) {
        if verdicts.old_was_told(entry) {
            return;
        }
        let above = open
            .iter()
            .fold(self.access.place().parent.clone(), |path, above| {
                path.join(&above.name)
            });
        placed.note(Kept {
            path: above.join(name),
            copy: None,
        });
    }

    /// Leaves a folder: it goes when nothing is in it and the new version has none there.
    fn leave(&self, open: &mut Vec<Folder>, before: &Before<'_>) {
        let Some(Folder {
            entry,
            dir: Some(dir),
            name,
            mode,
        }) = open.pop()
        else {
            return;
        };
        let above = open.last().and_then(|above| above.dir.as_ref());
        let Some(above) = above.filter(|_| !before.is_matched(entry)) else {
            return; // `finish_folders` gives it its mode.
        };
        if let Err(error) = above.remove_dir(&name) {
            tracing::debug!(%error, "a folder that a version no longer has stays");
            if mode & 0o700 != 0o700 {
                let _ = dir.set_mode(mode); // It was that before.
            }
        }
    }
}
