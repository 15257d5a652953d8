//! Shares to upload, and how to upload and read them.

use bytes::Bytes;
use hither_content::storage::DEFAULT_ENGINE;
use hither_proto::{
    ChunkId, DeviceId, Head, PositionRange, ReadKey, ShareSecret, SignedHead, Space, UserId,
};
use hither_relay::store::{
    Backend, ListRecord, Missing, PutError, PutSession, ReadError, Store, StoreConfig,
    StoredVersion, open_index,
};
use libp2p_identity::ed25519;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub const READ_KEY: ReadKey = ReadKey::new([0x5e; 32]);

/// Small packs and no waiting, so that a test makes many of them.
pub fn config() -> StoreConfig {
    StoreConfig {
        pack_bytes: 64 << 10,
        buffer_bytes: 24 << 20,
        idle: Duration::from_millis(5),
        free_floor: 1,
        dead_grace: Duration::ZERO,
        pending_grace: Duration::from_secs(3600),
        ..StoreConfig::default()
    }
}

/// A clock that a test moves.
#[derive(Clone)]
pub struct Time(pub Arc<AtomicU64>);

impl Time {
    pub fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1_000_000)))
    }

    pub fn config(&self) -> StoreConfig {
        let time = Arc::clone(&self.0);
        StoreConfig {
            clock: Arc::new(move || time.load(Ordering::SeqCst)),
            ..config()
        }
    }

    pub fn pass(&self, time: Duration) {
        self.0.fetch_add(time.as_millis() as u64, Ordering::SeqCst);
    }
}

pub async fn open(dir: &Path, config: StoreConfig) -> Store {
    try_open(dir, config).await.unwrap()
}

pub async fn try_open(
    dir: &Path,
    config: StoreConfig,
) -> Result<Store, hither_relay::store::StoreError> {
    let backend = Backend::local(&dir.join("chunks"))?;
    Store::open(
        config,
        open_index(&dir.join("index"), DEFAULT_ENGINE)?,
        backend,
    )
    .await
}

pub fn user(n: u8) -> UserId {
    UserId::new([n; 16])
}

/// A version of a share with everything in it.
#[derive(Clone)]
pub struct Version {
    pub owner: DeviceId,
    pub head: SignedHead,
    pub root: Bytes,
    pub manifest: Vec<Bytes>,
    pub data: Vec<Bytes>,
}

/// Bytes that look encrypted: the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Bytes {
    let mut bytes = vec![0; length];
    blake3::Hasher::new()
        .update(&seed.to_be_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes.into()
}

pub fn id(bytes: &[u8]) -> ChunkId {
    ChunkId::new(*blake3::hash(bytes).as_bytes())
}

/// Chunks of 1 to 9 KiB.
pub fn chunks(seeds: impl IntoIterator<Item = u64>) -> Vec<Bytes> {
    seeds
        .into_iter()
        .map(|seed| noise(seed, 1024 + (seed * 7919 % 8192) as usize))
        .collect()
}

/// Version `count` of share `share` of owner `owner` with these data chunks.
pub fn version(owner: u8, share: u8, count: u64, data: Vec<Bytes>) -> Version {
    let key = ed25519::SecretKey::try_from_bytes([owner; 32]).unwrap();
    let key = ed25519::Keypair::from(key);
    let unique = u64::from_be_bytes([owner, share, 0xff, 0, 0, 0, count as u8, data.len() as u8]);
    let (root, manifest) = (
        noise(unique, 300),
        vec![noise(unique ^ 1, 700), noise(unique ^ 2, 900)],
    );
    let head = Head {
        share: ShareSecret::new([share; 16]).share_id(),
        version: count,
        root: id(&root),
        root_length: root.len() as u32,
        salt: [count as u8; 16],
        chunks: data.len() as u32,
        manifest_chunks: manifest.len() as u32,
        bytes: data.iter().map(|chunk| chunk.len() as u64).sum(),
        published_ms: 1,
    };
    let head = SignedHead::sign(head, |message| key.sign(message).try_into().unwrap());
    Version {
        owner: DeviceId::from_slice(&key.public().to_bytes()).unwrap(),
        head,
        root,
        manifest,
        data,
    }
}

impl Version {
    pub fn share(&self) -> hither_proto::ShareId {
        self.head.head().share
    }

    pub fn space(&self, space: Space) -> &[Bytes] {
        match space {
            Space::Root => std::slice::from_ref(&self.root),
            Space::Manifest => &self.manifest,
            Space::Data => &self.data,
        }
    }

    pub fn bytes(&self) -> u64 {
        let ids: BTreeSet<_> = self
            .all()
            .map(|(_, _, chunk)| (id(chunk), chunk.len() as u64))
            .collect();
        ids.iter().map(|(_, length)| length).sum()
    }

    /// Bytes of its lists.
    pub fn lists(&self) -> u64 {
        36 * (self.data.len() + self.manifest.len()) as u64
    }

    pub fn all(&self) -> impl Iterator<Item = (Space, u32, &Bytes)> {
        [Space::Root, Space::Manifest, Space::Data]
            .into_iter()
            .flat_map(|space| {
                (0..)
                    .zip(self.space(space))
                    .map(move |(n, chunk)| (space, n, chunk))
            })
    }
}

pub fn records(chunks: &[Bytes]) -> Vec<u8> {
    let record = |chunk: &Bytes| {
        ListRecord {
            id: id(chunk),
            length: chunk.len() as u32,
        }
        .encode()
    };
    chunks.iter().flat_map(record).collect()
}

/// Begins an upload and sends the lists.
pub async fn begin(
    store: &Store,
    user: UserId,
    version: &Version,
) -> Result<(PutSession, Missing), PutError> {
    begin_for(store, user, version, None).await
}

pub async fn begin_for(
    store: &Store,
    user: UserId,
    version: &Version,
    keep: Option<Duration>,
) -> Result<(PutSession, Missing), PutError> {
    let session = store
        .put(user, version.owner, version.head.clone(), READ_KEY, keep)
        .await?;
    session
        .list(Space::Manifest, 0, &records(&version.manifest))
        .await?;
    for (n, list) in version.data.chunks(1000).enumerate() {
        session
            .list(Space::Data, n as u32 * 1000, &records(list))
            .await?;
    }
    let missing = session.missing().await?;
    Ok((session, missing))
}

pub fn positions(missing: &Missing) -> Vec<(Space, u32)> {
    let root = missing.root.then_some((Space::Root, 0));
    let manifest = missing.manifest.positions().map(|n| (Space::Manifest, n));
    root.into_iter()
        .chain(manifest)
        .chain(missing.data.positions().map(|n| (Space::Data, n)))
        .collect()
}

/// Uploads what is missing; returns how many chunks that were.
pub async fn upload(store: &Store, user: UserId, version: &Version) -> Result<usize, PutError> {
    upload_for(store, user, version, None).await
}

pub async fn upload_for(
    store: &Store,
    user: UserId,
    version: &Version,
    keep: Option<Duration>,
) -> Result<usize, PutError> {
    let (session, missing) = begin_for(store, user, version, keep).await?;
    let positions = positions(&missing);
    for (space, position) in &positions {
        let chunk = version.space(*space)[*position as usize].clone();
        session.chunk(*space, *position, chunk).await?;
    }
    session.end().await?;
    Ok(positions.len())
}

/// What is here of a version, if it is.
pub async fn stored(store: &Store, version: &Version) -> Option<StoredVersion> {
    let found = store
        .candidates(version.owner, version.share())
        .await
        .unwrap();
    found.into_iter().find(|found| found.head == version.head)
}

/// Reads every position that is said to be held and compares it; returns how many.
pub async fn verify_held(
    store: &Store,
    version: &Version,
    stored: &StoredVersion,
) -> Result<usize, ReadError> {
    let mut count = 0;
    for space in [Space::Root, Space::Manifest, Space::Data] {
        for run in stored.held.ranges(space).as_slice() {
            let mut next = run.start();
            while next < run.end() {
                let range = PositionRange::new(next, run.end() - next).unwrap();
                for chunk in store.read(stored, space, range).await? {
                    assert_eq!(chunk.position, next);
                    assert_eq!(chunk.bytes, version.space(space)[next as usize]);
                    next += 1;
                    count += 1;
                }
            }
        }
    }
    Ok(count)
}

/// The version is here, complete, and every byte of it is right.
pub async fn assert_complete(store: &Store, version: &Version) {
    let stored = stored(store, version).await.expect("it is here");
    assert!(stored.complete && stored.read_key == READ_KEY);
    assert_eq!(
        verify_held(store, version, &stored).await.unwrap(),
        version.all().count()
    );
}

/// Waits until an upload has reported so many positions.
pub async fn wait_stored(session: &PutSession, count: u64) -> BTreeSet<(u8, u32)> {
    let mut seen = BTreeSet::new();
    while (seen.len() as u64) < count {
        let stored = session.stored().await.unwrap().expect("more is to come");
        for position in stored.ranges.positions() {
            assert!(
                seen.insert((stored.space as u8, position)),
                "reported twice"
            );
        }
    }
    seen
}

/// Files of packs, with their lengths.
pub fn packs(dir: &Path) -> Vec<(std::path::PathBuf, u64)> {
    let mut files = Vec::new();
    let Ok(folders) = std::fs::read_dir(dir.join("chunks/packs")) else {
        return files;
    };
    for folder in folders {
        for file in std::fs::read_dir(folder.unwrap().path()).unwrap() {
            let file = file.unwrap();
            files.push((file.path(), file.metadata().unwrap().len()));
        }
    }
    files.sort();
    files
}

/// Waits until the user's bytes are so many: references of released versions are dropped in the
/// background.
pub async fn wait_usage(store: &Store, user: UserId, bytes: u64) {
    store.gc().await.unwrap();
    assert_eq!(store.usage(user).await.unwrap().bytes, bytes);
}
