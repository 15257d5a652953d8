//! Where packs live: any `object_store`, and beside it a shorter way to read local files.
//!
//! Invariant: when [`Backend::put`] returns, the pack survives a power loss (file and folder are
//! fsynced on a local disk; others promise it with their answer).

use super::buffers::Buffers;
use super::error::StoreError;
use super::handles::PackFiles;
use super::ids::PackNumber;
use super::pack;
use super::platform::free_bytes;
use bytes::Bytes;
use futures::StreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Name;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Name of the object that says to which index the packs belong.
const IDENTITY: &str = "store-id";

/// The place where packs live.
pub struct Backend {
    objects: Arc<dyn ObjectStore>,
    /// For a local disk: its folder and the files open in it.
    local: Option<(PathBuf, PackFiles)>,
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Backend({})", self.objects)
    }
}

impl Backend {
    /// Packs in files below the folder `dir`, which is created when missing. Blocks.
    ///
    /// Removes what a killed process left half written in it; one store at a time.
    pub fn local(dir: &Path) -> Result<Self, StoreError> {
        let failed = |error| StoreError::io("opening the folder of the packs", error);
        std::fs::create_dir_all(dir).map_err(failed)?;
        let dir = dir.canonicalize().map_err(failed)?;
        remove_staged(&dir.join("packs")).map_err(failed)?;
        let objects = LocalFileSystem::new_with_prefix(&dir)
            .map_err(StoreError::packs("opening the folder of the packs"))?
            .with_fsync(true);
        Ok(Self {
            objects: Arc::new(objects),
            local: Some((dir.clone(), PackFiles::new(dir))),
        })
    }

    /// Packs in any object store; what it has put must be durable.
    pub fn objects(objects: Arc<dyn ObjectStore>) -> Self {
        Self {
            objects,
            local: None,
        }
    }

    /// Writes a pack durably, without copying its parts.
    pub(super) async fn put(&self, pack: PackNumber, parts: Vec<Bytes>) -> Result<(), StoreError> {
        let payload = parts.into_iter().collect::<PutPayload>();
        let put = self.objects.put(&object(pack), payload).await;
        put.map(drop).map_err(StoreError::packs("writing a pack"))
    }

    /// Reads `length` bytes of a pack at `offset`, exactly, and says what `look` makes of them: on
    /// a thread that may be busy for long, for local packs the one that reads.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        buffers: &Arc<Buffers>,
        pack: PackNumber,
        (offset, length): (u64, usize),
        look: impl FnOnce(Bytes) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let failed = |error| StoreError::io("reading a pack", error);
        if let Some((_, files)) = &self.local {
            let (files, buffers) = (files.clone(), Arc::clone(buffers));
            let read = blocking(move || files.read(&buffers, pack, offset, length).map(look));
            return read.await?.map_err(failed);
        }
        let range = offset..offset + length as u64;
        let bytes = self.objects.get_range(&object(pack), range).await;
        let bytes = bytes.map_err(StoreError::packs("reading a pack"))?;
        if bytes.len() != length {
            return Err(failed(std::io::ErrorKind::UnexpectedEof.into()));
        }
        blocking(move || look(bytes)).await
    }

    /// Reads a whole pack.
    pub(super) async fn read_all(&self, pack: PackNumber) -> Result<Bytes, StoreError> {
        let got = self
            .objects
            .get(&object(pack))
            .await
            .map_err(StoreError::packs("reading a pack"))?;
        got.bytes()
            .await
            .map_err(StoreError::packs("reading a pack"))
    }

    /// Deletes a pack; that it is not there is no error.
    pub(super) async fn delete(&self, pack: PackNumber) -> Result<(), StoreError> {
        if let Some((_, files)) = &self.local {
            files.forget(pack);
        }
        match self.objects.delete(&object(pack)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(StoreError::packs("deleting a pack")(error)),
        }
    }

    /// Every pack that is there with its length in bytes.
    pub(super) async fn list(&self) -> Result<Vec<(PackNumber, u64)>, StoreError> {
        let mut objects = self.objects.list(Some(&Name::from("packs")));
        let mut packs = Vec::new();
        while let Some(object) = objects.next().await {
            let object = object.map_err(StoreError::packs("listing the packs"))?;
            packs
                .extend(pack::parse_name(object.location.as_ref()).map(|pack| (pack, object.size)));
        }
        Ok(packs)
    }

    /// To which index the packs belong; `None`: to none yet.
    pub(super) async fn identity(&self) -> Result<Option<Bytes>, StoreError> {
        let failed = StoreError::packs("reading the identity of the packs");
        match self.objects.get(&Name::from(IDENTITY)).await {
            Ok(got) => got.bytes().await.map(Some).map_err(failed),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    pub(super) async fn set_identity(&self, identity: [u8; 16]) -> Result<(), StoreError> {
        let put = self
            .objects
            .put(&Name::from(IDENTITY), identity.to_vec().into())
            .await;
        put.map(drop)
            .map_err(StoreError::packs("writing the identity of the packs"))
    }

    /// Free bytes of a local disk; `None` where there is no such limit.
    pub(super) fn free(&self) -> Result<Option<u64>, StoreError> {
        let Some((dir, _)) = &self.local else {
            return Ok(None);
        };
        free_bytes(dir)
            .map(Some)
            .map_err(|error| StoreError::io("asking for free space", error))
    }
}

fn object(pack: PackNumber) -> Name {
    Name::from(pack::name(pack))
}

/// Runs what may block; fails when the runtime is going down.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| StoreError::Closed)
}

/// `object_store` writes `name#number` first and renames it; a kill leaves such files, which no
/// listing shows.
fn remove_staged(packs: &Path) -> std::io::Result<()> {
    let folders = match std::fs::read_dir(packs) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        folders => folders?,
    };
    for folder in folders {
        let folder = folder?;
        if !folder.file_type()?.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(folder.path())? {
            let file = file?;
            if file.file_name().to_string_lossy().contains('#') {
                std::fs::remove_file(file.path())?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn keeps_packs(backend: Backend) {
        let pack = PackNumber(7 << 32);
        let buffers = Buffers::new(0);
        let read = |part| backend.read(&buffers, pack, part, |bytes| bytes);
        assert!(backend.list().await.unwrap().is_empty());
        assert!(read((0, 1)).await.unwrap_err().is_missing());
        backend
            .put(pack, vec!["abc".into(), "".into(), "defg".into()])
            .await
            .unwrap();
        assert_eq!(backend.list().await.unwrap(), [(pack, 7)]);
        assert_eq!(read((2, 3)).await.unwrap(), "cde");
        assert_eq!(backend.read_all(pack).await.unwrap(), "abcdefg");
        assert!(read((5, 3)).await.unwrap_err().is_missing());
        backend.delete(pack).await.unwrap();
        backend.delete(pack).await.unwrap();
        assert!(read((2, 3)).await.unwrap_err().is_missing());
        assert_eq!(backend.identity().await.unwrap(), None);
        backend.set_identity([3; 16]).await.unwrap();
        assert_eq!(backend.identity().await.unwrap().unwrap(), [3; 16][..]);
    }

    #[tokio::test]
    async fn packs_are_kept_on_disk_and_in_memory() {
        let dir = tempfile::tempdir().unwrap();
        keeps_packs(Backend::local(dir.path()).unwrap()).await;
        keeps_packs(Backend::objects(Arc::new(
            object_store::memory::InMemory::new(),
        )))
        .await;
    }

    #[tokio::test]
    async fn what_a_kill_left_half_written_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let backend = Backend::local(dir.path()).unwrap();
        backend
            .put(PackNumber(1), vec!["whole".into()])
            .await
            .unwrap();
        let whole = dir.path().join(pack::name(PackNumber(1)));
        let half = whole.with_file_name("0000000000000002#1");
        std::fs::write(&half, b"ha").unwrap();
        Backend::local(dir.path()).unwrap();
        assert!(whole.exists() && !half.exists());
    }
}
