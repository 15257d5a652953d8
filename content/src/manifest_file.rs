//! A version's root and manifest, kept in one file of the data folder.
//!
//! Layout: 8 bytes [`MAGIC`], the length of the sealed root (4 bytes, little-endian), the sealed
//! root, the encoded manifest. Invariants: the file is readable by this user only (the manifest
//! holds the chunks' keys); it has its name only once its header is durable; a manifest chunk in it
//! counts only when it has been compared with its id.

use crate::crypt::{OpenRootError, chunk_id, matches_record, open_root, reseal_chunk};
use crate::open_files::SparingFile;
use crate::platform::{self, Dir};
use crate::version::SealedVersion;
use hither_proto::limits::MAX_ROOT;
use hither_proto::{ChunkRecord, Head, Manifest, ManifestError, Root, ShareSecret};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

const MAGIC: &[u8; 8] = b"hithmf1\n";
const HEADER: usize = 12;

/// Why a manifest file cannot be made, read or written.
#[derive(Debug, thiserror::Error)]
pub enum ManifestFileError {
    /// It is not a manifest file, or its root is not the one that the head names.
    #[error("the stored manifest is damaged")]
    Damaged,
    /// A manifest chunk is not what its id says.
    #[error("chunk {0} of the manifest does not match its id")]
    Chunk(u32),
    /// The manifest has no such chunk.
    #[error("the manifest has no chunk {0}")]
    Position(u32),
    /// All chunks match their ids and still are no manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The disk is full.
    #[error("no space is left for the list of files")]
    NoSpace,
    /// The system failed.
    #[error("the stored manifest: {0}")]
    Io(io::Error),
}

impl From<io::Error> for ManifestFileError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace,
            _ => Self::Io(error),
        }
    }
}

/// A version's manifest on disk, whole or still being fetched.
#[derive(Debug)]
pub struct ManifestFile {
    file: SparingFile,
    sealed_root: Vec<u8>,
    root: Root,
    /// Where each manifest chunk begins in the file, bytes.
    starts: Vec<u64>,
}

impl ManifestFile {
    /// Makes the file for a manifest that is to be fetched, replacing any at `path`; `root` is
    /// `sealed_root` opened.
    pub fn create(path: &Path, sealed_root: &[u8], root: Root) -> Result<Self, ManifestFileError> {
        Self::make(path, sealed_root, root, |_, _| Ok(()))
    }

    /// Keeps a version that was made here, replacing any file at `path`; durable when it returns.
    pub fn create_complete(
        path: &Path,
        version: &SealedVersion,
    ) -> Result<Self, ManifestFileError> {
        Self::make(
            path,
            &version.sealed_root,
            version.root.clone(),
            |file, at| platform::write_all_at(file, &version.manifest, at),
        )
    }

    fn make(
        path: &Path,
        sealed_root: &[u8],
        root: Root,
        fill: impl FnOnce(&File, u64) -> io::Result<()>,
    ) -> Result<Self, ManifestFileError> {
        let (dir, name) = split(path)?;
        let mut new = name.clone();
        new.push(".new");
        match dir.remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let file = dir.create(&new)?;
        let length = u32::try_from(sealed_root.len()).map_err(|_| ManifestFileError::Damaged)?;
        let mut header = MAGIC.to_vec();
        header.extend(length.to_le_bytes());
        header.extend(sealed_root);
        file.set_len(header.len() as u64 + root.manifest_length())?;
        platform::write_all_at(&file, &header, 0)?;
        fill(&file, header.len() as u64)?;
        file.sync_all()?;
        dir.rename(&new, &dir, &name)?;
        dir.sync()?;
        Ok(Self::with(
            SparingFile::new(path, file)?,
            sealed_root.to_vec(),
            root,
        ))
    }

    /// Opens the file again; the sealed root in it must be the one that `head` names.
    pub fn open(path: &Path, head: &Head, secret: &ShareSecret) -> Result<Self, ManifestFileError> {
        let (dir, name) = split(path)?;
        let file = dir.open_write(&name)?;
        let mut header = [0; HEADER];
        if platform::read_full_at(&file, &mut header, 0)? < HEADER || header[..8] != *MAGIC {
            return Err(ManifestFileError::Damaged);
        }
        let length = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
        if length > MAX_ROOT {
            return Err(ManifestFileError::Damaged);
        }
        let mut sealed_root = vec![0; length as usize];
        if platform::read_full_at(&file, &mut sealed_root, HEADER as u64)? < sealed_root.len() {
            return Err(ManifestFileError::Damaged);
        }
        let root = open_root(head, secret, &sealed_root).map_err(|error: OpenRootError| {
            tracing::warn!(%error, path = %path.display(), "a stored root does not open");
            ManifestFileError::Damaged
        })?;
        if platform::stat_file(&file)?.size
            != (HEADER + sealed_root.len()) as u64 + root.manifest_length()
        {
            return Err(ManifestFileError::Damaged);
        }
        Ok(Self::with(SparingFile::new(path, file)?, sealed_root, root))
    }

    fn with(file: SparingFile, sealed_root: Vec<u8>, root: Root) -> Self {
        let mut at = (HEADER + sealed_root.len()) as u64;
        let start = |record: &ChunkRecord| {
            let start = at;
            at += u64::from(record.length);
            start
        };
        let starts = root.records().iter().map(start).collect();
        Self {
            file,
            sealed_root,
            root,
            starts,
        }
    }

    /// Names the manifest's chunks.
    pub const fn root(&self) -> &Root {
        &self.root
    }

    /// The root as it is served.
    pub fn sealed_root(&self) -> &[u8] {
        &self.sealed_root
    }

    /// Writes a manifest chunk's plaintext after comparing it with its id. Not durable before
    /// [`Self::sync`].
    pub fn write(&self, position: u32, plaintext: &[u8]) -> Result<(), ManifestFileError> {
        let (record, start) = self.chunk(position)?;
        if !matches_record(record, plaintext, &mut Vec::new()) {
            return Err(ManifestFileError::Chunk(position));
        }
        Ok(platform::write_all_at(&*self.opened()?, plaintext, start)?)
    }

    /// Makes everything written durable.
    pub fn sync(&self) -> Result<(), ManifestFileError> {
        Ok(platform::sync_data(&*self.opened()?)?)
    }

    /// Reads a manifest chunk's plaintext into `out`, compared with its id.
    pub fn read(&self, position: u32, out: &mut Vec<u8>) -> Result<(), ManifestFileError> {
        let record = self.load(position, out)?;
        if matches_record(record, out, &mut Vec::new()) {
            return Ok(());
        }
        out.clear();
        Err(ManifestFileError::Chunk(position))
    }

    /// Reads a manifest chunk and seals it into `out`, compared with its id.
    pub fn read_sealed(&self, position: u32, out: &mut Vec<u8>) -> Result<(), ManifestFileError> {
        let record = self.load(position, out)?;
        reseal_chunk(record, out).map_err(|_| ManifestFileError::Chunk(position))
    }

    /// The positions whose chunks are there and intact, ascending: what a restart need not fetch
    /// again. Reads all.
    pub fn verified_positions(&self) -> Result<Vec<u32>, ManifestFileError> {
        let (mut out, mut scratch, mut found) = (Vec::new(), Vec::new(), Vec::new());
        for position in 0..self.root.records().len() as u32 {
            let record = self.load(position, &mut out)?;
            if matches_record(record, &out, &mut scratch) {
                found.push(position);
            }
        }
        Ok(found)
    }

    /// Reads and parses the whole manifest. Chunks are not compared again, the parser checks
    /// everything it relies on.
    pub fn decode(&self) -> Result<Manifest, ManifestFileError> {
        // Bounded by MAX_MANIFEST, which the root's parser has checked.
        let length =
            usize::try_from(self.root.manifest_length()).map_err(|_| ManifestFileError::Damaged)?;
        let mut encoded = vec![0; length];
        let start = (HEADER + self.sealed_root.len()) as u64;
        if platform::read_full_at(&*self.opened()?, &mut encoded, start)? < length {
            return Err(ManifestFileError::Damaged);
        }
        Ok(Manifest::decode(&encoded)?)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Removes the file.
    pub fn remove(self) -> Result<(), ManifestFileError> {
        let (dir, name) = split(self.file.path())?;
        drop(self);
        Ok(dir.remove_file(&name)?)
    }

    fn opened(&self) -> io::Result<Arc<File>> {
        self.file.get(|| {
            let (dir, name) = split(self.file.path()).map_err(|_| io::ErrorKind::NotFound)?;
            dir.open_write(&name)
        })
    }

    fn chunk(&self, position: u32) -> Result<(&ChunkRecord, u64), ManifestFileError> {
        let at = position as usize;
        let record = self
            .root
            .records()
            .get(at)
            .ok_or(ManifestFileError::Position(position))?;
        Ok((record, self.starts[at]))
    }

    fn load(&self, position: u32, out: &mut Vec<u8>) -> Result<&ChunkRecord, ManifestFileError> {
        let (record, start) = self.chunk(position)?;
        out.resize(record.length as usize, 0);
        if platform::read_full_at(&*self.opened()?, out, start)? < out.len() {
            return Err(ManifestFileError::Damaged);
        }
        Ok(record)
    }
}

/// Whether a sealed root is the one that a head names: what a holder without the secret can check.
pub fn verify_root(head: &Head, sealed: &[u8]) -> bool {
    sealed.len() == head.root_length as usize && chunk_id(sealed) == head.root
}

fn split(path: &Path) -> Result<(Dir, OsString), ManifestFileError> {
    let missing = || io::Error::from(io::ErrorKind::InvalidInput);
    let name = path.file_name().ok_or_else(missing)?;
    let parent = path.parent().ok_or_else(missing)?;
    let parent = if parent.as_os_str().is_empty() {
        Path::new(".")
    } else {
        parent
    };
    Ok((Dir::open(parent)?, name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypt::{DomainSecret, open_chunk, seal_chunk};
    use crate::cut::tests::noise;
    use crate::version::{VersionInputs, seal_version};
    use hither_proto::ManifestBuilder;

    fn version() -> SealedVersion {
        let domain = DomainSecret::new([1; 32]);
        let mut builder = ManifestBuilder::new(65_536).unwrap();
        builder.folder(0, "top", 0o755, 0).unwrap();
        let mut chunks = Vec::new();
        for i in 0..2000 {
            builder.file(1, &format!("file {i}"), 0o644, 0, 10).unwrap();
            chunks.push(seal_chunk(&domain, &mut noise(i, 10)).unwrap());
        }
        let secret = ShareSecret::new([2; 16]);
        let inputs = VersionInputs {
            secret: &secret,
            domain: &domain,
            version: 1,
            salt: [3; 16],
            published_ms: 0,
        };
        seal_version(&builder.finish(chunks).unwrap(), &inputs).unwrap()
    }

    #[test]
    fn a_manifest_is_fetched_served_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let (version, secret) = (version(), ShareSecret::new([2; 16]));
        let held = ManifestFile::create_complete(&dir.path().join("held"), &version).unwrap();
        assert!(verify_root(&version.head, held.sealed_root()));
        let path = dir.path().join("fetched");
        let fetched =
            ManifestFile::create(&path, held.sealed_root(), version.root.clone()).unwrap();
        let count = version.root.records().len() as u32;
        let mut buffer = Vec::new();
        for position in (0..count).rev().filter(|position| *position != 2) {
            held.read_sealed(position, &mut buffer).unwrap();
            open_chunk(&version.root.records()[position as usize], &mut buffer).unwrap();
            fetched.write(position, &buffer).unwrap();
            assert!(matches!(
                fetched.write(2, &buffer),
                Err(ManifestFileError::Chunk(2))
            ));
        }
        fetched.sync().unwrap();
        drop(fetched);
        let fetched = ManifestFile::open(&path, &version.head, &secret).unwrap();
        let there: Vec<u32> = (0..count).filter(|position| *position != 2).collect();
        assert_eq!(fetched.verified_positions().unwrap(), there);
        assert!(matches!(
            fetched.read_sealed(2, &mut buffer),
            Err(ManifestFileError::Chunk(2))
        ));
        assert!(fetched.decode().is_err());
        held.read(2, &mut buffer).unwrap();
        fetched.write(2, &buffer).unwrap();
        assert_eq!(
            fetched.decode().unwrap(),
            Manifest::decode(&version.manifest).unwrap()
        );
        assert!(matches!(
            fetched.write(count, &buffer),
            Err(ManifestFileError::Position(_))
        ));
        fetched.remove().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn damaged_files_do_not_open() {
        let dir = tempfile::tempdir().unwrap();
        let (version, secret) = (version(), ShareSecret::new([2; 16]));
        let path = dir.path().join("m");
        drop(ManifestFile::create_complete(&path, &version).unwrap());
        let good = std::fs::read(&path).unwrap();
        for (at, cut) in [(0, 0), (9, 0), (20, 0), (0, 1)] {
            let mut bad = good.clone();
            bad[at] ^= u8::from(cut == 0);
            bad.truncate(bad.len() - cut);
            std::fs::write(&path, &bad).unwrap();
            let opened = ManifestFile::open(&path, &version.head, &secret);
            assert!(
                matches!(opened, Err(ManifestFileError::Damaged)),
                "{at} {cut}"
            );
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            drop(ManifestFile::create_complete(&path, &version).unwrap());
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
}
