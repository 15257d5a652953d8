//! Things beneath an exposed folder: the one place where a path from another device meets the file
//! system.
//!
//! Invariants: a path is a list of names and is walked by handle, one name at a time; nothing on
//! the way is a symbolic link or another file system; what belongs to Hither itself, and what is
//! hidden from shares, is not there; whoever asks does not learn which of these it was.

use crate::own::{self, OwnSeen};
use crate::partial::is_partial_name;
use crate::place::Place;
use crate::platform::{Dir, Kind, Stat};
use crate::root::{self, RootId};
use crate::trash::is_trash_name;
use hither_proto::EntryName;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::path::Path;

/// The kind of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeneathKind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link; it is told, and never followed.
    Symlink,
}

/// One entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BeneathEntry {
    /// Its name.
    pub name: EntryName,
    /// Its kind.
    pub kind: BeneathKind,
    /// Length of a file, bytes; else 0.
    pub bytes: u64,
    /// When it was changed, Unix milliseconds; 0: not known.
    pub modified_ms: u64,
}

/// Why there is nothing beneath an exposed folder.
#[derive(Debug, thiserror::Error)]
pub enum BeneathError {
    /// It is not there, or nobody may have it.
    #[error("it is not there")]
    Nothing,
    /// It is neither a file nor a folder.
    #[error("it is neither a file nor a folder")]
    Unsuitable,
    /// The folder cannot be listed.
    #[error("it cannot be read: {0}")]
    Io(#[source] io::Error),
}

/// Something beneath an exposed folder, as it was when it was opened.
#[derive(Debug)]
pub struct Beneath {
    place: Place,
    id: RootId,
    /// Of a folder its handle.
    folder: Option<Dir>,
}

impl Beneath {
    /// The place of a folder that may be exposed, not Hither's own, and how it is known again.
    /// Symbolic links in the path are followed: the user of this device gives it.
    ///
    /// Errors: it is not there, no folder, the root of a file system, or Hither's own.
    pub fn exposable(path: &Path, own: &OwnSeen) -> Result<(Place, RootId), BeneathError> {
        let place = Place::resolve(path).map_err(|_| BeneathError::Nothing)?;
        if place.name == "." || own.refuses_path(&place.path()).is_some() {
            return Err(BeneathError::Unsuitable);
        }
        let opened = root::open(&place).map_err(|_| BeneathError::Nothing)?;
        if opened.stat.kind != Kind::Folder {
            return Err(BeneathError::Unsuitable);
        }
        let dir = opened.parent.open_dir(&place.name);
        let dir = dir.map_err(BeneathError::Io)?;
        let id = RootId::of_folder(&dir).map_err(BeneathError::Io)?;
        if own::is_data(&dir) {
            return Err(BeneathError::Unsuitable);
        }
        Ok((place, id))
    }

    /// Opens what names lead to beneath a folder that was exposed as `known`.
    ///
    /// Errors: it is not there, not the folder that was exposed, Hither's own, beyond a symbolic
    /// link or a mount point, or neither a file nor a folder.
    pub fn open(
        root: &Place,
        known: &RootId,
        names: &[EntryName],
        own: &OwnSeen,
    ) -> Result<Self, BeneathError> {
        let opened = root::open_known(root, known).map_err(|_| BeneathError::Nothing)?;
        let top = opened.parent.open_dir(&root.name);
        let top = top.map_err(|_| BeneathError::Nothing)?;
        let id = RootId::of_folder(&top).map_err(BeneathError::Io)?;
        // It may have been replaced since it was looked at.
        if !id.is_same(known) || is_own(&top, own)? || own::refuses_place(&root.path()).is_some() {
            return Err(BeneathError::Nothing);
        }
        let Some((last, before)) = names.split_last() else {
            return Ok(Self {
                place: root.clone(),
                id,
                folder: Some(top),
            });
        };
        let (mut dir, mut parent) = (top, root.path());
        for name in before {
            dir = step(&dir, name, own)?;
            parent.push(name.as_str());
        }
        let (id, folder) = look(&dir, last, own)?;
        Ok(Self {
            place: Place {
                parent,
                name: last.as_str().into(),
            },
            id,
            folder,
        })
    }

    /// Its place.
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// The folder itself, or the one that a file is in: what is shared at the place must be in it.
    pub const fn id(&self) -> RootId {
        self.id
    }

    /// The first entries of a folder whose names come after `after`, at most `most`, in the order
    /// of their names, and whether there are more. Names that are not Unicode are left out.
    ///
    /// Errors: it is no folder, or cannot be read.
    pub fn list(
        &self,
        after: Option<&EntryName>,
        most: usize,
        own: &OwnSeen,
    ) -> Result<(Vec<BeneathEntry>, bool), BeneathError> {
        let dir = self.folder.as_ref().ok_or(BeneathError::Unsuitable)?;
        let mut first = BTreeSet::new();
        dir.names(&mut |name| {
            let name = name.to_str().and_then(|name| EntryName::parse(name).ok());
            if let Some(name) = name.filter(|name| after.is_none_or(|after| name > after)) {
                first.insert(name);
                if first.len() > most.saturating_add(1) {
                    first.pop_last();
                }
            }
            Ok(())
        })
        .map_err(BeneathError::Io)?;
        let more = first.len() > most;
        if more {
            first.pop_last();
        }
        let entries = first.into_iter().filter_map(|name| entry(dir, name, own));
        Ok((entries.collect(), more))
    }
}

/// Goes into a folder.
fn step(dir: &Dir, name: &EntryName, own: &OwnSeen) -> Result<Dir, BeneathError> {
    if is_hidden(name) {
        return Err(BeneathError::Nothing);
    }
    let inner = dir.open_dir_within(OsStr::new(name.as_str()));
    let inner = inner.map_err(|_| BeneathError::Nothing)?;
    match is_own(&inner, own)? {
        true => Err(BeneathError::Nothing),
        false => Ok(inner),
    }
}

/// The target of the last name of a path.
fn look(dir: &Dir, name: &EntryName, own: &OwnSeen) -> Result<(RootId, Option<Dir>), BeneathError> {
    let at = OsStr::new(name.as_str());
    let stat = dir.stat(at).map_err(|_| BeneathError::Nothing)?;
    match stat.kind {
        Kind::Folder => {
            let inner = step(dir, name, own)?;
            let id = RootId::of_folder(&inner).map_err(BeneathError::Io)?;
            Ok((id, Some(inner)))
        }
        Kind::File if is_there(dir, name, &stat, own) => {
            let id = RootId::of_folder(dir).map_err(BeneathError::Io)?;
            Ok((
                RootId {
                    folder: false,
                    ..id
                },
                None,
            ))
        }
        Kind::File => Err(BeneathError::Nothing),
        Kind::Symlink | Kind::Special(_) => Err(BeneathError::Unsuitable),
    }
}

/// An entry as it is told; `None`: it is not.
fn entry(dir: &Dir, name: EntryName, own: &OwnSeen) -> Option<BeneathEntry> {
    let stat = dir.stat(OsStr::new(name.as_str())).ok()?;
    let kind = match stat.kind {
        Kind::File if is_there(dir, &name, &stat, own) => BeneathKind::File,
        Kind::Folder => step(dir, &name, own).ok().map(|_| BeneathKind::Folder)?,
        Kind::Symlink if !is_hidden(&name) => BeneathKind::Symlink,
        _ => return None,
    };
    let bytes = match kind {
        BeneathKind::File => stat.size,
        BeneathKind::Folder | BeneathKind::Symlink => 0,
    };
    Some(BeneathEntry {
        name,
        kind,
        bytes,
        modified_ms: u64::try_from(stat.mtime_ns / 1_000_000).unwrap_or(0),
    })
}

/// Returns whether a file is told of at all.
fn is_there(dir: &Dir, name: &EntryName, stat: &Stat, own: &OwnSeen) -> bool {
    let at = OsStr::new(name.as_str());
    !is_hidden(name) && own.refuses(dir, at, stat).is_none() && !dir.is_mount_root(at)
}

fn is_hidden(name: &EntryName) -> bool {
    is_partial_name(name.as_str()) || is_trash_name(name.as_str())
}

fn is_own(dir: &Dir, own: &OwnSeen) -> Result<bool, BeneathError> {
    let stat = dir.stat(OsStr::new(".")).map_err(BeneathError::Io)?;
    Ok(own.knows(&stat) || own::is_data(dir))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::own::OwnData;
    use proptest::prelude::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// An exposed folder, with a secret beside it and every way out of it that there is.
    struct Scene {
        _folder: tempfile::TempDir,
        top: PathBuf,
        root: Place,
        known: RootId,
        own: OwnSeen,
    }

    fn scene() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        for path in [
            "open/in/deep",
            "secret",
            "open/.hither-trash",
            "open/a.hither-partial",
        ] {
            fs::create_dir_all(top.join(path)).unwrap();
        }
        for path in [
            "open/in/file",
            "open/in/deep/file",
            "secret/key",
            "open/.hither-trash/x",
        ] {
            fs::write(top.join(path), path).unwrap();
        }
        // Hither's own data, and another device's, lie in the exposed folder.
        for (data, key) in [("open/mine", "mine"), ("open/other", "other")] {
            fs::create_dir_all(top.join(data).join("store")).unwrap();
            fs::write(top.join(data).join("device.key"), key).unwrap();
        }
        fs::write(top.join("open/copy"), "mine").unwrap();
        symlink("../secret", top.join("open/out")).unwrap();
        symlink(top.join("secret"), top.join("open/in/out")).unwrap();
        symlink("../secret/key", top.join("open/key")).unwrap();
        symlink("/", top.join("open/root")).unwrap();
        symlink("in", top.join("open/inside")).unwrap();
        let own = OwnData::open(&top.join("open/mine"), &[], &[]).look();
        let (root, known) = Beneath::exposable(&top.join("open"), &own).unwrap();
        Scene {
            _folder: folder,
            top,
            root,
            known,
            own,
        }
    }

    fn names(path: &str) -> Vec<EntryName> {
        let names = path.split('/').filter(|name| !name.is_empty());
        names.map(|name| EntryName::parse(name).unwrap()).collect()
    }

    impl Scene {
        fn open(&self, path: &str) -> Result<Beneath, BeneathError> {
            Beneath::open(&self.root, &self.known, &names(path), &self.own)
        }

        fn list(&self, path: &str) -> Vec<String> {
            let (entries, more) = self.open(path).unwrap().list(None, 100, &self.own).unwrap();
            assert!(!more);
            let names = entries.into_iter();
            names.map(|one| one.name.as_str().to_owned()).collect()
        }
    }

    #[test]
    fn what_is_beneath_is_found_and_everything_else_is_not_there() {
        let scene = scene();
        for path in ["", "in", "in/deep", "in/file", "in/deep/file"] {
            let found = scene.open(path).unwrap();
            assert_eq!(
                found.place().path(),
                scene.top.join("open").join(path).components().as_path()
            );
        }
        for path in [
            "missing",
            "in/file/x",
            "out/key",
            "in/out/key",
            "root/etc",
            "inside/file",
            "mine",
            "mine/device.key",
            "other",
            "other/store",
            "copy",
            ".hither-trash",
            ".hither-trash/x",
            "a.hither-partial",
        ] {
            let refused = scene.open(path).unwrap_err();
            assert!(
                matches!(refused, BeneathError::Nothing),
                "{path}: {refused:?}"
            );
        }
        for path in ["out", "key", "root", "inside"] {
            let refused = scene.open(path).unwrap_err();
            assert!(
                matches!(refused, BeneathError::Unsuitable),
                "{path}: {refused:?}"
            );
        }
        assert_eq!(scene.list(""), ["in", "inside", "key", "out", "root"]);
        assert_eq!(scene.list("in"), ["deep", "file", "out"]);
    }

    #[test]
    fn hithers_own_data_and_the_root_cannot_be_exposed() {
        let scene = scene();
        for path in [
            "open/mine",
            "open/mine/store",
            "open/other",
            "open/in/file",
            "missing",
        ] {
            assert!(
                Beneath::exposable(&scene.top.join(path), &scene.own).is_err(),
                "{path}"
            );
        }
        assert!(Beneath::exposable(Path::new("/"), &scene.own).is_err());
    }

    #[test]
    fn another_folder_at_the_place_is_not_exposed() {
        let scene = scene();
        fs::rename(scene.top.join("open"), scene.top.join("away")).unwrap();
        assert!(scene.open("").is_err());
        fs::rename(scene.top.join("secret"), scene.top.join("open")).unwrap();
        assert!(scene.open("key").is_err());
        fs::rename(scene.top.join("open"), scene.top.join("secret")).unwrap();
        symlink("secret", scene.top.join("open")).unwrap();
        assert!(scene.open("key").is_err());
    }

    #[test]
    fn a_mount_point_is_the_end_of_what_is_exposed() {
        // /proc lies on another file system than what holds it, on every Linux.
        let Ok(root) = Dir::open(Path::new("/")) else {
            return;
        };
        if !Path::new("/proc/self").exists() {
            return;
        }
        let proc = OsStr::new("proc");
        // Both ways to do it say the same.
        for refused in [root.open_dir_within(proc), root.step_within(proc)] {
            assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::CrossesDevices);
        }
    }

    #[test]
    fn pages_follow_each_other() {
        let scene = scene();
        let many = scene.top.join("open/in/many");
        fs::create_dir(&many).unwrap();
        for number in 0..25 {
            fs::write(many.join(format!("{number:02}")), "x").unwrap();
        }
        let found = scene.open("in/many").unwrap();
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let (page, more) = found.list(after.as_ref(), 10, &scene.own).unwrap();
            assert!(page.len() <= 10);
            after = page.last().map(|one| one.name.clone());
            all.extend(page);
            if !more {
                break;
            }
        }
        assert_eq!(all.len(), 25);
        assert!(all.is_sorted_by(|a, b| a.name < b.name));
    }

    /// Somebody swaps a folder for a symbolic link to a secret while paths are walked and listed:
    /// nothing from outside ever comes out.
    #[test]
    fn a_symlink_that_comes_and_goes_leads_nowhere() {
        let scene = scene();
        let (at, aside) = (scene.top.join("open/in/deep"), scene.top.join("open/aside"));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    fs::rename(&at, &aside).unwrap();
                    symlink("../../secret", &at).unwrap();
                    fs::remove_file(&at).unwrap();
                    fs::rename(&aside, &at).unwrap();
                }
            });
            let (mut found, mut refused) = (0, 0);
            for _ in 0..4_000 {
                assert!(scene.open("in/deep/key").is_err());
                let Ok(one) = scene.open("in/deep") else {
                    refused += 1;
                    continue;
                };
                found += 1;
                let (entries, _) = one.list(None, 10, &scene.own).unwrap();
                assert!(entries.iter().all(|entry| entry.name.as_str() == "file"));
            }
            stop.store(true, Ordering::Relaxed);
            assert!(found > 0 && refused > 0, "{found} found, {refused} refused");
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        /// Whatever names are put together, what is found lies beneath.
        #[test]
        fn no_path_leads_out(path in proptest::collection::vec(prop::sample::select(vec![
            "in", "deep", "file", "out", "key", "root", "inside", "etc", "secret", "mine", "other",
            "store", "device.key", "copy", "...", "~", "%2e%2e", "..\\", "\u{2025}",
        ]), 0..6)) {
            let scene = scene();
            if let Ok(found) = scene.open(&path.join("/")) {
                let real = found.place().path().canonicalize().unwrap();
                prop_assert_eq!(&real, &found.place().path());
                prop_assert!(real.starts_with(scene.top.join("open")));
                for own in ["mine", "other", "copy"] {
                    prop_assert!(!real.starts_with(scene.top.join("open").join(own)));
                }
            }
        }
    }
}
