//! How fast the store takes and gives chunks, without a network.
//!
//! `store_load FOLDER [GIB] [CHUNK_KIB] [UPLOADS]`: uploads GIB of chunks of CHUNK_KIB (64 to 256
//! with 0) in UPLOADS at the same time, reads them back, and prints MiB/s and CPU seconds per GiB.
//! FOLDER must not hold anything else.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use bytes::Bytes;
use hither_content::storage::DEFAULT_ENGINE;
use hither_proto::{
    ChunkId, DeviceId, Head, PositionRange, ReadKey, ShareSecret, SignedHead, Space, UserId,
};
use hither_relay::store::{Backend, ListRecord, MAX_LIST, Store, StoreConfig, open_index};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Bytes that stand for what a network delivers: chunks are cut out of them at changing places.
const SOURCE: usize = 256 << 20;

struct Share {
    owner: DeviceId,
    head: SignedHead,
    root: Bytes,
    manifest: Bytes,
    data: Vec<(ListRecord, Bytes)>,
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |n: usize, default: u64| {
        arguments
            .get(n)
            .map_or(default, |text| text.parse().unwrap())
    };
    let dir = Path::new(arguments.first().map_or("store-load", String::as_str));
    let (gib, kib, uploads) = (number(1, 4), number(2, 0), number(3, 2));
    std::fs::create_dir_all(dir).unwrap();
    let backend = Backend::local(&dir.join("chunks")).unwrap();
    let store = Store::open(
        StoreConfig::default(),
        open_index(&dir.join("index"), DEFAULT_ENGINE).unwrap(),
        backend,
    );
    let store = Arc::new(store.await.unwrap());

    let shares: Vec<Arc<Share>> = (0..uploads)
        .map(|n| Arc::new(share(n as u8, (gib << 30) / uploads, kib << 10)))
        .collect();
    let bytes = shares
        .iter()
        .flat_map(|share| &share.data)
        .map(|(_, chunk)| chunk.len() as u64)
        .sum::<u64>();
    let chunks = shares.iter().map(|share| share.data.len()).sum::<usize>();
    println!(
        "{uploads} uploads of {chunks} chunks together, {} MiB",
        bytes >> 20
    );

    let clock = Clock::start();
    each(&store, &shares, |store, share| async move {
        upload(&store, &share).await
    })
    .await;
    clock.report("upload", bytes);
    println!("{:?}", store.stats().await.unwrap());
    let clock = Clock::start();
    each(&store, &shares, |store, share| async move {
        upload(&store, &share).await
    })
    .await;
    clock.report("upload of what is there", bytes);
    for what in ["read", "read again"] {
        let clock = Clock::start();
        each(&store, &shares, |store, share| async move {
            download(&store, &share).await
        })
        .await;
        clock.report(what, bytes);
    }
    let clock = Clock::start();
    for (n, share) in shares.iter().enumerate() {
        let user = UserId::new([n as u8; 16]);
        store
            .release(user, share.owner, share.head.head().share)
            .await
            .unwrap();
    }
    println!("{:?}", store.gc().await.unwrap());
    clock.report("release and first pass", bytes);
}

async fn each<F: Future<Output = ()> + Send + 'static>(
    store: &Arc<Store>,
    shares: &[Arc<Share>],
    work: impl Fn(Arc<Store>, Arc<Share>) -> F,
) {
    let tasks: Vec<_> = shares
        .iter()
        .map(|share| tokio::spawn(work(Arc::clone(store), Arc::clone(share))))
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

fn share(n: u8, bytes: u64, chunk: u64) -> Share {
    let mut source = vec![0; SOURCE];
    blake3::Hasher::new()
        .update(&[n])
        .finalize_xof()
        .fill(&mut source);
    let source = Bytes::from(source);
    let mut data = Vec::new();
    let (mut left, mut at, mut salt) = (bytes as usize, 0, u64::from(n) + 1);
    while left > 0 {
        salt = salt
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let wanted = if chunk == 0 {
            (64 << 10) + (salt >> 33) as usize % (192 << 10)
        } else {
            chunk as usize
        };
        let length = wanted.min(left).max(17);
        // An odd step: the same bytes are never cut at the same place again.
        at = (at + length + 4093) % (SOURCE - (512 << 10));
        let chunk = source.slice(at..at + length);
        let id = ChunkId::new(*blake3::hash(&chunk).as_bytes());
        data.push((
            ListRecord {
                id,
                length: length as u32,
            },
            chunk,
        ));
        left = left.saturating_sub(length);
    }
    let (root, manifest) = (Bytes::from(vec![n; 200]), Bytes::from(vec![n; 500]));
    let key = libp2p_identity::ed25519::SecretKey::try_from_bytes([n + 1; 32]).unwrap();
    let key = libp2p_identity::ed25519::Keypair::from(key);
    let head = Head {
        share: ShareSecret::new([n; 16]).share_id(),
        version: 1,
        root: ChunkId::new(*blake3::hash(&root).as_bytes()),
        root_length: root.len() as u32,
        salt: [0; 16],
        chunks: data.len() as u32,
        manifest_chunks: 1,
        bytes,
        published_ms: 0,
    };
    let head = SignedHead::sign(head, |message| key.sign(message).try_into().unwrap());
    Share {
        owner: DeviceId::from_slice(&key.public().to_bytes()).unwrap(),
        head,
        root,
        manifest,
        data,
    }
}

async fn upload(store: &Store, share: &Share) {
    let user = UserId::new([share.root[0]; 16]);
    let session = store
        .put(
            user,
            share.owner,
            share.head.clone(),
            ReadKey::new([0; 32]),
            None,
        )
        .await
        .unwrap();
    let id = ChunkId::new(*blake3::hash(&share.manifest).as_bytes());
    let manifest = ListRecord {
        id,
        length: share.manifest.len() as u32,
    };
    session
        .list(Space::Manifest, 0, &manifest.encode())
        .await
        .unwrap();
    for (n, list) in share.data.chunks(MAX_LIST).enumerate() {
        let list: Vec<u8> = list
            .iter()
            .flat_map(|(record, _)| record.encode())
            .collect();
        session
            .list(Space::Data, (n * MAX_LIST) as u32, &list)
            .await
            .unwrap();
    }
    let began = Instant::now();
    let missing = session.missing().await.unwrap();
    println!(
        "  missing: {} MiB, known after {:?}",
        missing.bytes >> 20,
        began.elapsed()
    );
    let sending = async {
        if missing.root {
            session
                .chunk(Space::Root, 0, share.root.clone())
                .await
                .unwrap();
        }
        for position in missing.manifest.positions() {
            session
                .chunk(Space::Manifest, position, share.manifest.clone())
                .await
                .unwrap();
        }
        for position in missing.data.positions() {
            session
                .chunk(
                    Space::Data,
                    position,
                    share.data[position as usize].1.clone(),
                )
                .await
                .unwrap();
        }
        session.end().await.unwrap();
    };
    let reports = async { while session.stored().await.unwrap().is_some() {} };
    tokio::join!(sending, reports);
}

async fn download(store: &Store, share: &Share) {
    let version = store
        .candidates(share.owner, share.head.head().share)
        .await
        .unwrap()
        .remove(0);
    let total = share.data.len() as u32;
    let mut next = 0;
    while let Some(range) = PositionRange::new(next, total - next) {
        next += store
            .read(&version, Space::Data, range)
            .await
            .unwrap()
            .len() as u32;
    }
}

/// Wall clock and processor time of this process.
struct Clock {
    wall: Instant,
    cpu: f64,
}

impl Clock {
    fn start() -> Self {
        Self {
            wall: Instant::now(),
            cpu: cpu_seconds(),
        }
    }

    fn report(&self, what: &str, bytes: u64) {
        let (wall, cpu) = (self.wall.elapsed().as_secs_f64(), cpu_seconds() - self.cpu);
        let (mib, gib) = (
            bytes as f64 / f64::from(1 << 20),
            bytes as f64 / f64::from(1 << 30),
        );
        println!(
            "{what}: {:.0} MiB/s, {:.2} CPU s/GiB, {wall:.2} s",
            mib / wall,
            cpu / gib
        );
    }
}

#[cfg(unix)]
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

#[cfg(not(unix))]
fn cpu_seconds() -> f64 {
    0.0
}
