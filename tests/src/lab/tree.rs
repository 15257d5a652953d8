//! Files and folders: made from nothing but a seed, and compared down to the last bit.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Bytes that nobody can compress or guess, and that are the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    source(seed).fill(&mut bytes);
    bytes
}

fn source(seed: u64) -> blake3::OutputReader {
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
}

/// Writes a file of noise; gives its path back.
pub fn fill(path: impl AsRef<Path>, seed: u64, length: u64) -> PathBuf {
    let path = path.as_ref();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let (mut file, mut source) = (File::create(path).unwrap(), source(seed));
    let (mut left, mut buffer) = (length, vec![0; 1 << 20]);
    while left > 0 {
        let piece = left.min(buffer.len() as u64) as usize;
        source.fill(&mut buffer[..piece]);
        file.write_all(&buffer[..piece]).unwrap();
        left -= piece as u64;
    }
    path.to_owned()
}

/// What one entry is.
#[derive(Clone, PartialEq, Eq)]
enum Entry {
    Folder {
        mode: u32,
        mtime: (i64, i64),
    },
    File {
        mode: u32,
        mtime: (i64, i64),
        size: u64,
        hash: blake3::Hash,
    },
    Link {
        target: PathBuf,
        mtime: (i64, i64),
    },
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder { mode, mtime } => write!(f, "folder {mode:o} {mtime:?}"),
            Self::File {
                mode,
                mtime,
                size,
                hash,
            } => {
                write!(f, "file {mode:o} {mtime:?} {size} {}", &hash.to_hex()[..8])
            }
            Self::Link { target, mtime } => write!(f, "link to {} {mtime:?}", target.display()),
        }
    }
}

/// Everything about a file, or a folder and what is in it, except what its top is called, and what
/// Hither keeps in a trash: that is no part of a share.
#[derive(Clone, PartialEq, Eq)]
pub struct Tree(BTreeMap<PathBuf, Entry>);

impl Tree {
    /// Reads all of it.
    pub fn of(top: impl AsRef<Path>) -> Self {
        let mut entries = BTreeMap::new();
        let mut folders = vec![(top.as_ref().to_owned(), PathBuf::new())];
        while let Some((path, name)) = folders.pop() {
            let found =
                fs::symlink_metadata(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let (mode, mtime) = (found.mode() & 0o7777, (found.mtime(), found.mtime_nsec()));
            let entry = if found.is_dir() {
                for inner in fs::read_dir(&path).unwrap() {
                    let inner = inner.unwrap();
                    if inner.file_name() == hither_content::TRASH {
                        continue;
                    }
                    folders.push((inner.path(), name.join(inner.file_name())));
                }
                Entry::Folder { mode, mtime }
            } else if found.is_symlink() {
                Entry::Link {
                    target: fs::read_link(&path).unwrap(),
                    mtime,
                }
            } else {
                Entry::File {
                    mode,
                    mtime,
                    size: found.len(),
                    hash: hash(&path),
                }
            };
            entries.insert(name, entry);
        }
        Self(entries)
    }

    /// How many files, folders and links there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never: a tree has a top.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Fails with the first differences when the other one is not the same.
    #[track_caller]
    pub fn assert_same(&self, other: &Self) {
        let names = self
            .0
            .keys()
            .chain(other.0.keys().filter(|name| !self.0.contains_key(*name)));
        let different: Vec<String> = names
            .filter(|name| self.0.get(*name) != other.0.get(*name))
            .take(5)
            .map(|name| {
                format!(
                    "{name:?}: {:?} and {:?}",
                    self.0.get(name),
                    other.0.get(name)
                )
            })
            .collect();
        assert!(
            different.is_empty(),
            "the trees differ:\n{}",
            different.join("\n")
        );
    }

    /// A folder with one of everything that can be in a share.
    pub fn make(top: &Path, seed: u64) -> PathBuf {
        let long = "ä".repeat(127) + "x"; // 255 bytes
        for folder in ["empty", "a/b/c/d/e/f/g", "Fotos – Österreich 🏔", "private"] {
            fs::create_dir_all(top.join(folder)).unwrap();
        }
        fill(
            top.join("Fotos – Österreich 🏔/Großglockner.jpg"),
            seed,
            3_000_001,
        );
        fill(top.join("日本語/ファイル名.txt"), seed + 1, 100);
        fill(top.join(&long), seed + 2, 70_000);
        fill(top.join("a/b/c/d/e/f/g/deep"), seed + 3, 1);
        fill(top.join("empty file"), 0, 0);
        fill(top.join("run.sh"), seed + 4, 400);
        fill(top.join("private/key"), seed + 5, 32);
        fill(top.join("twice/one"), seed + 6, 500_000);
        fill(top.join("twice/the same"), seed + 6, 500_000);
        fs::write(
            top.join(" leading, trailing, 'quotes' and \"more\" .txt "),
            "x",
        )
        .unwrap();
        sparse(&top.join("sparse.img"), seed + 7);
        for (link, target) in [
            ("link", "run.sh"),
            ("a/up", "../empty file"),
            ("dangling", "not here"),
            ("root", "/etc/passwd"),
        ] {
            std::os::unix::fs::symlink(target, top.join(link)).unwrap();
        }
        for (path, mode) in [
            ("run.sh", 0o755),
            ("private/key", 0o400),
            ("private", 0o500),
            ("empty file", 0o644),
        ] {
            fs::set_permissions(top.join(path), Permissions::from_mode(mode)).unwrap();
        }
        top.to_owned()
    }
}

/// 64 MiB, of which 2 MiB are there.
fn sparse(path: &Path, seed: u64) {
    use std::os::unix::fs::FileExt;
    let file = File::create(path).unwrap();
    file.set_len(64 << 20).unwrap();
    file.write_all_at(&noise(seed, 1 << 20), 10 << 20).unwrap();
    file.write_all_at(&noise(seed + 1, 1 << 20), 63 << 20)
        .unwrap();
}

fn hash(path: &Path) -> blake3::Hash {
    let (mut file, mut hasher) = (File::open(path).unwrap(), blake3::Hasher::new());
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).unwrap() {
            0 => return hasher.finalize(),
            n => hasher.update(&buffer[..n]),
        };
    }
}
