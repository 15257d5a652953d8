//! Open files of packs on a local disk, a bounded number of them.

use super::buffers::Buffers;
use super::ids::PackNumber;
use super::{pack, platform};
use bytes::Bytes;
use hither_util::sync::Mutex;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, MutexGuard};

/// Most files kept open.
const MAX_OPEN: usize = 128;

struct Open {
    file: Arc<File>,
    /// When it was last used, in uses.
    used: u64,
}

#[derive(Default)]
struct Files {
    open: HashMap<PackNumber, Open>,
    uses: u64,
}

/// Reads local packs through files that stay open. Clones share them.
#[derive(Clone)]
pub(super) struct PackFiles {
    dir: Arc<PathBuf>,
    files: Arc<Mutex<Files>>,
}

impl PackFiles {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self {
            dir: Arc::new(dir),
            files: Arc::default(),
        }
    }

    /// Reads exactly `length` bytes at `offset`, into one of `buffers`. Blocks.
    pub(super) fn read(
        &self,
        buffers: &Arc<Buffers>,
        pack: PackNumber,
        offset: u64,
        length: usize,
    ) -> io::Result<Bytes> {
        let file = self.open(pack)?;
        let mut buffer = buffers.take(length);
        platform::read_exact_at(&file, buffer.as_mut(), offset)?;
        Ok(buffer.freeze())
    }

    /// Closes the file of a pack that is deleted, so that its space is freed.
    pub(super) fn forget(&self, pack: PackNumber) {
        self.lock().open.remove(&pack);
    }

    fn open(&self, pack: PackNumber) -> io::Result<Arc<File>> {
        {
            let mut files = self.lock();
            files.uses += 1;
            let uses = files.uses;
            if let Some(open) = files.open.get_mut(&pack) {
                open.used = uses;
                return Ok(Arc::clone(&open.file));
            }
        }
        let file = Arc::new(File::open(self.dir.join(pack::name(pack)))?);
        let mut files = self.lock();
        if files.open.len() >= hither_content::share_of_limit(MAX_OPEN)
            && let Some(oldest) = files
                .open
                .iter()
                .min_by_key(|(_, open)| open.used)
                .map(|(pack, _)| *pack)
        {
            files.open.remove(&oldest);
        }
        let used = files.uses;
        files.open.insert(
            pack,
            Open {
                file: Arc::clone(&file),
                used,
            },
        );
        Ok(file)
    }

    fn lock(&self) -> MutexGuard<'_, Files> {
        self.files.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_files_stay_open_and_forgotten_ones_are_gone() {
        let dir = tempfile::tempdir().unwrap();
        let files = PackFiles::new(dir.path().to_owned());
        let read = |pack, length| files.read(&Buffers::new(0), pack, 0, length);
        let path = |pack| dir.path().join(pack::name(pack));
        std::fs::create_dir_all(path(PackNumber(0)).parent().unwrap()).unwrap();
        for number in 0..hither_content::share_of_limit(MAX_OPEN) as u64 + 20 {
            std::fs::write(path(PackNumber(number)), number.to_be_bytes()).unwrap();
            assert_eq!(
                read(PackNumber(number), 8).unwrap(),
                number.to_be_bytes()[..]
            );
        }
        assert_eq!(
            files.lock().open.len(),
            hither_content::share_of_limit(MAX_OPEN)
        );
        let last = PackNumber(hither_content::share_of_limit(MAX_OPEN) as u64 + 19);
        std::fs::remove_file(path(last)).unwrap();
        read(last, 8).unwrap();
        files.forget(last);
        assert_eq!(read(last, 8).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
