//! What the tests of sharing and fetching have in common.

use hither_content::{
    DomainSecret, FetchTarget, Handles, Holding, IfExists, ImportOptions, Imported, Layout,
    PrepareError, TargetOptions, import, open_chunk,
};
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub fn domain() -> DomainSecret {
    DomainSecret::new([7; 32])
}

/// xorshift64*, enough for incompressible test data.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(88_172_645_463_325_253);
    let mut out = Vec::with_capacity(length + 8);
    while out.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend(state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    out.truncate(length);
    out
}

/// A fixed order that looks like none.
pub fn shuffled(count: u32, seed: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count).collect();
    let keys = noise(seed, count as usize * 8);
    order.sort_by_key(|i| <[u8; 8]>::try_from(&keys[*i as usize * 8..][..8]).unwrap());
    order
}

pub fn share(path: &Path) -> Imported {
    let cancel = AtomicBool::new(false);
    import(path, &domain(), &ImportOptions::new(&cancel)).unwrap()
}

pub fn holding(handles: &Arc<Handles>, imported: &Imported) -> Holding {
    let layout = Layout::new(Arc::clone(&imported.manifest));
    Holding::new(
        handles,
        imported.place.clone(),
        layout,
        imported.stamps.clone(),
    )
}

pub fn options(if_exists: IfExists) -> TargetOptions {
    TargetOptions::new(if_exists)
}

pub fn prepare(
    dir: &Path,
    layout: &Arc<Layout>,
    if_exists: IfExists,
) -> Result<FetchTarget, PrepareError> {
    FetchTarget::prepare(
        &Handles::new(16),
        dir,
        Arc::clone(layout),
        &options(if_exists),
    )
}

/// Fetches one chunk as the daemon does: sealed by the holder, verified and opened by the fetcher.
pub fn fetch(source: &Holding, position: u32) -> Vec<u8> {
    let mut buffer = Vec::new();
    source.read_sealed(position, &mut buffer).unwrap();
    open_chunk(&source.manifest().chunks()[position as usize], &mut buffer).unwrap();
    buffer
}

pub fn fetch_all(source: &Holding, target: &FetchTarget) {
    for position in 0..source.layout().positions() {
        target
            .write_chunk(position, &fetch(source, position))
            .unwrap();
    }
}

/// What a user sees of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    File {
        mode: u32,
        mtime: (i64, i64),
        content: Vec<u8>,
    },
    Folder {
        mode: u32,
        mtime: (i64, i64),
    },
    Symlink {
        target: PathBuf,
        mtime: (i64, i64),
    },
    Other,
}

/// Everything at and below `path`, by path relative to it.
pub fn look(path: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut seen = BTreeMap::new();
    look_into(path, Path::new(""), &mut seen);
    seen
}

fn look_into(path: &Path, below: &Path, seen: &mut BTreeMap<PathBuf, Seen>) {
    let metadata = path.symlink_metadata().unwrap();
    let mode = metadata.permissions().mode() & 0o7777;
    let mtime = (metadata.mtime(), metadata.mtime_nsec());
    let kind = metadata.file_type();
    let entry = if kind.is_symlink() {
        Seen::Symlink {
            target: path.read_link().unwrap(),
            mtime,
        }
    } else if kind.is_dir() {
        Seen::Folder { mode, mtime }
    } else if kind.is_file() {
        Seen::File {
            mode,
            mtime,
            content: std::fs::read(path).unwrap(),
        }
    } else {
        Seen::Other
    };
    seen.insert(below.to_owned(), entry);
    if kind.is_dir() {
        for entry in path.read_dir().unwrap() {
            let name = entry.unwrap().file_name();
            look_into(&path.join(&name), &below.join(&name), seen);
        }
    }
}

pub fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = dir
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

pub fn set_mtime(path: &Path, seconds: i64, nanoseconds: i64) {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds as _,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}
