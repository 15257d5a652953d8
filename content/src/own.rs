//! Data that belongs to Hither itself and is never part of a share: keys, stores, logs, whatever
//! path leads to them.
//!
//! Invariants: this device's own folders are known by device and inode, through handles that stay
//! open, so that neither a symbolic link, nor a bind mount, nor a rename, nor another spelling
//! hides them; data of other devices and of relays is known by the key file that lies in it; a copy
//! of this device's key is known by its content.

use crate::partial::is_partial_name;
use crate::platform::{self, Dir, Kind, Stat};
use crate::trash::is_trash_name;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

/// Why what belongs to this device's Hither is left out, in words that complete "… is not shared
/// because …".
pub(crate) const OWN: &str = "it belongs to Hither itself, with this device's private key";
/// The same of another device's data, or a copy of this one's.
pub(crate) const DEVICE: &str = "it is the data of a Hither device, with its private key";
/// The same of a relay's data.
pub(crate) const RELAY: &str = "it is the data of a Hither relay, with its private key";
/// The same of a copy of the key.
pub(crate) const KEY: &str = "it is a copy of this device's private key";

/// The same of a fetch that is under way.
const UNFINISHED: &str = "it is an unfinished fetch";
/// The same of what later versions of something that is followed replaced or removed.
pub(crate) const IN_TRASH: &str = "it is in the trash of something that is followed";

/// The key file of a device, and what lies beside it.
const DEVICE_KEY: &str = "device.key";
const BESIDE_DEVICE_KEY: [&str; 5] = [
    "hitherd.lock",
    "store",
    "store.lock",
    "manifests",
    "hitherd.log",
];
/// The key file of a relay, and what lies beside it.
const RELAY_KEY: &str = "node.key";
const BESIDE_RELAY_KEY: [&str; 5] = ["state", "index", "chunks", "admin.sock", "lock"];
/// What a folder holds that is a device's home and nothing else; `data` is where its key lies.
const HOME: [&str; 3] = ["config.toml", "data", "hither.sock"];
/// Longest key file, bytes: one of a megabyte is none.
const MAX_KEY: u64 = 4096;
/// Folders whose files come and go: they are known as folders. A file that is gone leaves its inode
/// to somebody else's.
const PASSING: [&str; 3] = ["manifests", "spool", "piped"];
/// How deep own folders are looked into; they are not deeper than this.
const DEPTH: u32 = 8;

/// A file or folder, whatever path leads to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// `None` where the system does not tell.
    fn of(stat: &Stat) -> Option<Self> {
        (stat.inode != 0).then_some(Self {
            device: stat.device,
            inode: stat.inode,
        })
    }
}

/// This device's own folders, held open.
#[derive(Debug)]
pub struct OwnData {
    /// Everything inside belongs to Hither: keys, store, manifests.
    data: PathBuf,
    /// Folders that are left out as a whole without being looked into.
    folders: Vec<PathBuf>,
    /// Files elsewhere.
    files: Vec<PathBuf>,
    /// Handles from the start, of the data folder and of the others, so that they are known after
    /// they have been moved.
    open: (Option<Dir>, Vec<Dir>),
}

impl OwnData {
    /// Own folders: `data`, which holds the key, and others; and files that lie elsewhere. Those
    /// that cannot be opened are looked for at each [`Self::look`] again.
    pub fn open(data: &Path, folders: &[PathBuf], files: &[PathBuf]) -> Self {
        let others = folders
            .iter()
            .filter_map(|folder| Dir::open(folder).ok())
            .collect();
        let open = (Dir::open(data).ok(), others);
        Self {
            data: data.to_owned(),
            folders: folders.to_vec(),
            files: files.to_vec(),
            open,
        }
    }

    /// Returns what belongs to Hither now.
    pub fn look(&self) -> OwnSeen {
        let mut seen = OwnSeen::default();
        let stats = self
            .files
            .iter()
            .filter_map(|file| platform::stat_path(file).ok());
        seen.files.extend(
            stats
                .filter(|stat| stat.kind != Kind::Folder)
                .filter_map(|stat| FileId::of(&stat)),
        );
        let (data, others) = &self.open;
        let now: Vec<Dir> = self
            .folders
            .iter()
            .filter_map(|folder| Dir::open(folder).ok())
            .collect();
        for folder in others.iter().chain(&now) {
            seen.add_folder(folder);
        }
        let now = Dir::open(&self.data).ok();
        for folder in data.iter().chain(&now) {
            if seen.add_folder(folder) {
                seen.add_all(folder, 0);
            }
        }
        seen
    }
}

/// What belonged to Hither when it was looked at.
#[derive(Debug, Default)]
pub struct OwnSeen {
    folders: HashSet<FileId>,
    files: HashSet<FileId>,
    /// This device's private key, to know copies of it.
    key: Option<Secret>,
}

/// A key whose bytes are wiped and never shown.
#[derive(Default)]
struct Secret(zeroize::Zeroizing<Vec<u8>>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl OwnSeen {
    /// Returns whether a path leads to something of this device's Hither, or into it. A path that
    /// is not there leads nowhere.
    pub fn covers(&self, path: &Path) -> bool {
        path.ancestors()
            .any(|at| platform::stat_path(at).is_ok_and(|stat| self.knows(&stat)))
    }

    /// Why what a path leads to is never given away, in words that complete "… is not shared
    /// because …"; `None` when it may be: own data, data of another device or a relay, a copy
    /// of this device's key, or something inside such a folder.
    pub fn refuses_path(&self, path: &Path) -> Option<&'static str> {
        let path = path.canonicalize().ok()?;
        if self.covers(&path) {
            return Some(OWN);
        }
        refuses_place(&path).or_else(|| {
            let (folder, name) = (Dir::open(path.parent()?).ok()?, path.file_name()?);
            self.refuses(&folder, name, &folder.stat(name).ok()?)
        })
    }

    /// Returns whether what is in a folder is never part of a share; a folder that is not there
    /// holds nothing.
    pub fn ignores_folder(&self, folder: &Path) -> bool {
        // Of a file in it, since a place is judged by the folders above.
        self.covers(folder) || refuses_place(&folder.join(DEVICE_KEY)).is_some()
    }

    /// Returns whether a file that had this inode may be one of Hither's own: to ask the file
    /// system only about those.
    pub(crate) fn may_be_file(&self, inode: u64) -> bool {
        inode != 0 && self.files.iter().any(|file| file.inode == inode)
    }

    /// Why what has this name in an open folder is never shared; `None` when it may be.
    pub(crate) fn refuses(&self, dir: &Dir, name: &OsStr, stat: &Stat) -> Option<&'static str> {
        if self.knows(stat) {
            return Some(OWN);
        }
        (stat.kind == Kind::File && self.is_key(dir, name, stat)).then_some(KEY)
    }

    /// Returns whether it is one of this device's own files or folders.
    pub(crate) fn knows(&self, stat: &Stat) -> bool {
        let known = match stat.kind {
            Kind::Folder => &self.folders,
            _ => &self.files,
        };
        FileId::of(stat).is_some_and(|id| known.contains(&id))
    }

    /// Compares contents; only files that are as long as the key are read.
    fn is_key(&self, dir: &Dir, name: &OsStr, stat: &Stat) -> bool {
        let Some(Secret(key)) = &self.key else {
            return false;
        };
        stat.size == key.len() as u64
            && read_key(dir, name, stat).is_ok_and(|copy| copy.0.as_slice() == key.as_slice())
    }

    /// `false` when it was known.
    fn add_folder(&mut self, dir: &Dir) -> bool {
        dir.stat(OsStr::new("."))
            .ok()
            .and_then(|stat| FileId::of(&stat))
            .is_some_and(|id| self.folders.insert(id))
    }

    fn add_all(&mut self, dir: &Dir, depth: u32) {
        let mut names = Vec::new();
        let listed = dir.names(&mut |name| {
            names.push(name);
            Ok(())
        });
        if let Err(error) = listed {
            tracing::warn!(%error, "a folder of Hither itself cannot be listed");
        }
        for name in names {
            let Ok(stat) = dir.stat(&name) else { continue };
            let Some(id) = FileId::of(&stat) else {
                continue;
            };
            if stat.kind != Kind::Folder {
                self.files.insert(id);
                if depth == 0 && name == DEVICE_KEY {
                    self.key = read_key(dir, &name, &stat).ok();
                }
            } else if self.folders.insert(id)
                && depth < DEPTH
                && !PASSING.into_iter().any(|passing| name == passing)
                && let Ok(inner) = dir.open_dir(&name)
            {
                self.add_all(&inner, depth + 1);
            }
        }
    }
}

fn read_key(dir: &Dir, name: &OsStr, stat: &Stat) -> io::Result<Secret> {
    if stat.size == 0 || stat.size > MAX_KEY {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = zeroize::Zeroizing::new(vec![0; stat.size as usize]);
    let read = platform::read_full_at(&dir.open_read(name)?, &mut bytes, 0)?;
    if read < bytes.len() {
        Err(io::ErrorKind::UnexpectedEof.into())
    } else {
        Ok(Secret(bytes))
    }
}

/// Why a folder with these names in it is never shared; `None` when it may be.
pub(crate) fn refuses_folder(dir: &Dir, names: &[OsString]) -> Option<&'static str> {
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    if has(DEVICE_KEY) && BESIDE_DEVICE_KEY.into_iter().any(has) {
        return Some(DEVICE);
    }
    if has(RELAY_KEY) && BESIDE_RELAY_KEY.into_iter().any(has) {
        return Some(RELAY);
    }
    let is_home = has("data")
        && names
            .iter()
            .all(|name| HOME.into_iter().any(|known| name == known));
    let data = if is_home {
        dir.open_dir(OsStr::new("data")).ok()?
    } else {
        return None;
    };
    holds_device(|name| data.stat(OsStr::new(name))).then_some(DEVICE)
}

/// Returns whether an open folder is the data of another device or of a relay.
pub(crate) fn is_data(dir: &Dir) -> bool {
    let stat = |name: &str| dir.stat(OsStr::new(name));
    holds_device(stat) || holds(RELAY_KEY, &BESIDE_RELAY_KEY, stat)
}

/// Why what is at a path is never shared, by the folders on the way to it: one of them is another
/// device's or a relay's, or an unfinished fetch.
pub(crate) fn refuses_place(path: &Path) -> Option<&'static str> {
    let unfinished = |name: &OsStr| name.to_str().is_some_and(is_partial_name);
    if path.iter().any(unfinished) {
        return Some(UNFINISHED);
    }
    if path
        .iter()
        .any(|name| name.to_str().is_some_and(is_trash_name))
    {
        return Some(IN_TRASH);
    }
    path.ancestors().skip(1).find_map(|folder| {
        let stat = |name: &str| platform::stat_path(&folder.join(name));
        if holds_device(stat) {
            return Some(DEVICE);
        }
        holds(RELAY_KEY, &BESIDE_RELAY_KEY, stat).then_some(RELAY)
    })
}

fn holds_device(stat: impl Fn(&str) -> io::Result<Stat>) -> bool {
    holds(DEVICE_KEY, &BESIDE_DEVICE_KEY, stat)
}

fn holds(key: &str, beside: &[&str], stat: impl Fn(&str) -> io::Result<Stat>) -> bool {
    stat(key).is_ok_and(|stat| stat.kind == Kind::File)
        && beside.iter().any(|name| stat(name).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn home(at: &Path, key: &str) {
        fs::create_dir_all(at.join("data/manifests/deep")).unwrap();
        fs::write(at.join("data/device.key"), key).unwrap();
        fs::write(at.join("data/hitherd.lock"), "").unwrap();
        fs::write(at.join("data/manifests/deep/m"), "m").unwrap();
    }

    fn names(dir: &Dir) -> Vec<OsString> {
        let mut names = Vec::new();
        dir.names(&mut |name| {
            names.push(name);
            Ok(())
        })
        .unwrap();
        names
    }

    #[test]
    fn own_folders_are_known_by_any_path_and_after_a_move() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        home(&root.join("h"), "secret");
        fs::write(root.join("h/config.toml"), "# mine").unwrap();
        fs::write(root.join("h/film.mkv"), "").unwrap();
        let own = OwnData::open(&root.join("h/data"), &[], &[root.join("h/config.toml")]);
        std::os::unix::fs::symlink("h", root.join("link")).unwrap();
        fs::hard_link(root.join("h/data/device.key"), root.join("hard")).unwrap();
        for path in [
            "h/config.toml",
            "h/data",
            "h/data/manifests/deep/m",
            "link/data/device.key",
            "hard",
        ] {
            assert!(own.look().covers(&root.join(path)), "{path}");
        }
        for path in ["", "missing", "h", "h/film.mkv"] {
            assert!(!own.look().covers(&root.join(path)), "{path}");
        }
        fs::rename(root.join("h"), root.join("moved")).unwrap();
        assert!(own.look().covers(&root.join("moved/data/device.key")));
    }

    #[test]
    fn a_copy_of_the_key_is_known_by_its_content() {
        let folder = tempfile::tempdir().unwrap();
        home(folder.path(), "secret");
        let seen = OwnData::open(&folder.path().join("data"), &[], &[]).look();
        assert!(!format!("{seen:?}").contains("secret"));
        fs::write(folder.path().join("copy"), "secret").unwrap();
        fs::write(folder.path().join("other"), "SECRET").unwrap();
        let dir = Dir::open(folder.path()).unwrap();
        let refused =
            |name: &str| seen.refuses(&dir, name.as_ref(), &dir.stat(name.as_ref()).unwrap());
        assert_eq!((refused("copy"), refused("other")), (Some(KEY), None));
    }

    #[test]
    fn data_of_others_is_known_by_what_lies_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        home(&root.join("other"), "k");
        fs::create_dir_all(root.join("relay/state")).unwrap();
        fs::write(root.join("relay/node.key"), "k").unwrap();
        fs::create_dir_all(root.join("mine/state")).unwrap();
        let refused = |path: &str| {
            let dir = Dir::open(&root.join(path)).unwrap();
            refuses_folder(&dir, &names(&dir))
        };
        assert_eq!(refused("other/data"), Some(DEVICE));
        assert_eq!(refused("other"), Some(DEVICE), "nothing else lies there");
        assert_eq!(refused("relay"), Some(RELAY));
        assert_eq!((refused("mine"), refused("")), (None, None));
        fs::write(root.join("other/film.mkv"), "").unwrap();
        assert_eq!(refused("other"), None, "only its data is left out");
        assert_eq!(
            refuses_place(&root.join("other/data/store/x")),
            Some(DEVICE)
        );
        assert_eq!(refuses_place(&root.join("relay/state")), Some(RELAY));
        assert_eq!(refuses_place(&root.join("other/film.mkv")), None);
        assert_eq!(
            refuses_place(&root.join("a.hither-partial/film.mkv")),
            Some(UNFINISHED)
        );
        assert_eq!(
            refuses_place(&root.join("a/.hither-trash/film.mkv")),
            Some(IN_TRASH)
        );
    }
}
