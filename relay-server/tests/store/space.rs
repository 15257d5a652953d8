//! Quotas, and disks that are full.

use crate::common::*;
use futures::stream::BoxStream;
use hither_relay::store::{Backend, Measure, PutError, Store, StoreConfig};
use object_store::memory::InMemory;
use object_store::path::Path as Name;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[tokio::test(flavor = "multi_thread")]
async fn quotas_hold_also_for_uploads_at_the_same_time() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (
        version(1, 1, 1, chunks(0..100)),
        version(1, 2, 1, chunks(100..200)),
    );
    let quota = one.bytes() + two.bytes() - 1;
    let store = open(
        dir.path(),
        StoreConfig {
            user_quota: Some(quota),
            ..config()
        },
    )
    .await;
    let (session, missing) = begin(&store, user(1), &one).await.unwrap();
    let refused = begin(&store, user(1), &two).await.map(drop);
    assert!(matches!(refused, Err(PutError::Quota { used, wanted, .. })
        if used == one.bytes() && wanted == two.bytes()));
    begin(&store, user(2), &two).await.unwrap();
    for (space, position) in positions(&missing) {
        session
            .chunk(space, position, one.space(space)[position as usize].clone())
            .await
            .unwrap();
    }
    session.end().await.unwrap();
    assert!(matches!(
        begin(&store, user(1), &two).await.map(drop),
        Err(PutError::Quota { .. })
    ));
    store.set_quota(user(1), Some(quota + 1)).await.unwrap();
    upload(&store, user(1), &two).await.unwrap();
    store.set_quota(user(1), Some(1)).await.unwrap();
    assert_eq!(
        upload(&store, user(1), &one).await.unwrap(),
        0,
        "what is kept already needs no room"
    );
    store.set_quota(user(1), None).await.unwrap();
    store
        .release(user(1), one.owner, one.share())
        .await
        .unwrap();
    wait_usage(&store, user(1), two.bytes()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_floor_and_the_quota_of_the_store_hold() {
    let dir = tempfile::tempdir().unwrap();
    let one = version(1, 1, 1, chunks(0..100));
    for config in [
        StoreConfig {
            free_floor: u64::MAX / 2,
            ..config()
        },
        StoreConfig {
            total_quota: Some(one.bytes() - 1),
            ..config()
        },
    ] {
        let store = open(dir.path(), config).await;
        assert!(matches!(
            upload(&store, user(1), &one).await,
            Err(PutError::NoSpace)
        ));
        store.close().await;
    }
    assert!(packs(dir.path()).is_empty());
}

/// A place for packs that can be full.
#[derive(Debug)]
struct Filling {
    inner: InMemory,
    full: Arc<AtomicBool>,
}

impl std::fmt::Display for Filling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Filling")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Filling {
    async fn put_opts(
        &self,
        name: &Name,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        if self.full.load(Ordering::SeqCst) {
            let source = Box::new(std::io::Error::from(std::io::ErrorKind::StorageFull));
            return Err(object_store::Error::Generic {
                store: "test",
                source,
            });
        }
        self.inner.put_opts(name, payload, options).await
    }
    async fn put_multipart_opts(
        &self,
        name: &Name,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(name, options).await
    }
    async fn get_opts(&self, name: &Name, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(name, options).await
    }
    fn delete_stream(
        &self,
        names: BoxStream<'static, Result<Name>>,
    ) -> BoxStream<'static, Result<Name>> {
        self.inner.delete_stream(names)
    }
    fn list(&self, prefix: Option<&Name>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Name>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &Name, to: &Name, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_place_acknowledges_nothing_and_works_again_when_there_is_room() {
    let full = Arc::new(AtomicBool::new(false));
    let objects = Arc::new(Filling {
        inner: InMemory::new(),
        full: Arc::clone(&full),
    });
    let storage = Arc::new(hither_content::storage::MemoryStorage::new());
    let store = Store::open(config(), storage, Backend::objects(objects))
        .await
        .unwrap();
    let one = version(1, 1, 1, chunks(0..100));
    upload(&store, user(1), &one).await.unwrap();
    let two = version(1, 2, 1, chunks(100..300));
    let (session, missing) = begin(&store, user(1), &two).await.unwrap();
    let positions = positions(&missing);
    let (before, after) = positions.split_at(50);
    for (space, position) in before {
        session
            .chunk(
                *space,
                *position,
                two.space(*space)[*position as usize].clone(),
            )
            .await
            .unwrap();
    }
    wait_stored(&session, 50).await;
    full.store(true, Ordering::SeqCst);
    for (space, position) in after {
        let chunk = two.space(*space)[*position as usize].clone();
        if session.chunk(*space, *position, chunk).await.is_err() {
            break;
        }
    }
    assert!(matches!(session.end().await, Err(PutError::NoSpace)));
    assert!(
        matches!(session.stored().await, Err(PutError::NoSpace)),
        "nothing more was stored"
    );
    drop(session);
    assert_complete(&store, &one).await;
    let partly = stored(&store, &two).await.unwrap();
    assert_eq!(verify_held(&store, &two, &partly).await.unwrap(), 50);
    full.store(false, Ordering::SeqCst);
    // What was on its way when the place was full may be there by now.
    assert!(upload(&store, user(1), &two).await.unwrap() <= 153);
    assert_complete(&store, &two).await;
    store.gc().await.unwrap();
    assert!(store.check(false).await.unwrap().is_clean());
}

/// A real full disk, where this process may make one.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing_and_works_again_when_there_is_room() {
    use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
    let dir = tempfile::tempdir().unwrap();
    if let Err(error) = mount(
        "tmpfs",
        dir.path(),
        "tmpfs",
        MountFlags::empty(),
        Some(c"size=24m"),
    ) {
        println!(
            "SKIPPED: a tmpfs cannot be mounted here ({error}); the test with a failing object store remains"
        );
        return;
    }
    // A floor so low that packs, and the index, hit the end of the disk.
    let store = open(
        dir.path(),
        StoreConfig {
            free_floor: 1,
            pack_bytes: 1 << 20,
            ..config()
        },
    )
    .await;
    let mut acknowledged = Vec::new();
    let mut refused = 0;
    for share in 0..20u8 {
        let version = version(
            1,
            share,
            1,
            chunks(u64::from(share) * 1000..u64::from(share) * 1000 + 600),
        );
        match upload(&store, user(1), &version).await {
            Ok(_) => acknowledged.push(version),
            Err(_) => refused += 1,
        }
    }
    let filler = dir.path().join("filler");
    let _ = std::fs::write(&filler, vec![1; 24 << 20]);
    for share in 20..24u8 {
        let more = version(
            1,
            share,
            1,
            chunks(u64::from(share) * 1000..u64::from(share) * 1000 + 100),
        );
        assert!(upload(&store, user(1), &more).await.is_err());
    }
    println!("{} uploads fitted, {refused} did not", acknowledged.len());
    assert!(!acknowledged.is_empty() && refused > 0);
    std::fs::remove_file(&filler).unwrap();
    for version in &acknowledged {
        assert_complete(&store, version).await;
    }
    let first = acknowledged.remove(0);
    let second = acknowledged.remove(0);
    for gone in [&first, &second] {
        store
            .release(user(1), gone.owner, gone.share())
            .await
            .unwrap();
    }
    store.gc().await.unwrap();
    let again = version(1, 99, 1, chunks(99_000..99_500));
    upload(&store, user(1), &again).await.unwrap();
    acknowledged.push(again);
    store.close().await;
    let store = open(dir.path(), config()).await;
    for version in &acknowledged {
        assert_complete(&store, version).await;
    }
    assert!(store.check(false).await.unwrap().is_clean());
    store.close().await;
    unmount(dir.path(), UnmountFlags::DETACH).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn field_d8_lists_without_chunks_count_for_their_user() {
    let dir = tempfile::tempdir().unwrap();
    let versions: Vec<_> = (1..5)
        .map(|share| version(1, share, 1, chunks(0..100)))
        .collect();
    // Each has 100 chunks, and some more for its manifest.
    let one = versions[0].lists();
    assert!(one > 3600);
    let store = open(
        dir.path(),
        StoreConfig {
            user_lists: 3 * one,
            ..config()
        },
    )
    .await;
    // Uploads that say what they consist of and send nothing of it.
    for version in &versions[..3] {
        drop(begin(&store, user(1), version).await.unwrap());
    }
    let refused = begin(&store, user(1), &versions[3]).await.map(drop);
    let used = 3 * one;
    assert!(
        matches!(refused, Err(PutError::Quota { of: Measure::Lists, used: found, .. }) if found == used),
        "{refused:?}"
    );
    begin(&store, user(2), &versions[3]).await.unwrap();
    // What is no longer kept counts no longer.
    store
        .release(user(1), versions[0].owner, versions[0].share())
        .await
        .unwrap();
    store.gc().await.unwrap();
    upload(&store, user(1), &versions[3]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_are_begun_and_left_do_not_pile_up() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(
        dir.path(),
        StoreConfig {
            user_versions: 3,
            ..config()
        },
    )
    .await;
    let one = version(1, 1, 1, chunks(0..10));
    for _ in 0..20 {
        store
            .put(user(1), one.owner, one.head.clone(), READ_KEY, None)
            .await
            .unwrap();
        store.gc().await.unwrap();
        let (session, _) = begin(&store, user(1), &one).await.unwrap();
        drop(session);
        store.gc().await.unwrap();
        assert_eq!(
            store
                .candidates(one.owner, one.share())
                .await
                .unwrap()
                .len(),
            1
        );
    }
    upload(&store, user(1), &one).await.unwrap();
    for share in 2..4 {
        let more = version(1, share, 1, chunks(0..10));
        upload(&store, user(1), &more).await.unwrap();
    }
    store.gc().await.unwrap();
    let more = version(1, 9, 1, chunks(0..10));
    let refused = upload(&store, user(1), &more).await;
    assert!(matches!(
        refused,
        Err(PutError::Quota {
            of: Measure::Versions,
            quota: 3,
            used: 3,
            wanted: 1
        })
    ));
    upload(&store, user(2), &more).await.unwrap();
    store
        .release(user(1), one.owner, one.share())
        .await
        .unwrap();
    store.gc().await.unwrap();
    upload(&store, user(1), &more).await.unwrap();
}
