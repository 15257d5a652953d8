//! Uploads, what of them is kept, and who may rely on what.

use crate::common::*;
use bytes::Bytes;
use hither_proto::{PositionRange, Space};
use hither_relay::store::{Backend, PutError, Store, StoreConfig};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_uploaded_can_be_read_also_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), config()).await;
    let one = version(1, 1, 1, chunks(0..500));
    assert!(stored(&store, &one).await.is_none());
    assert_eq!(upload(&store, user(1), &one).await.unwrap(), 503);
    assert_complete(&store, &one).await;
    assert_eq!(store.usage(user(1)).await.unwrap().bytes, one.bytes());
    store.close().await;
    let store = open(dir.path(), config()).await;
    assert_complete(&store, &one).await;
    assert_eq!(
        upload(&store, user(1), &one).await.unwrap(),
        0,
        "everything is here"
    );
    assert_complete(&store, &one).await;
    assert!(store.check(false).await.unwrap().is_clean());
    assert_eq!(store.usage(user(1)).await.unwrap().bytes, one.bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn any_object_store_will_do() {
    let storage = Arc::new(hither_content::storage::MemoryStorage::new());
    let objects = Arc::new(object_store::memory::InMemory::new());
    let store = Store::open(config(), storage.clone(), Backend::objects(objects.clone()))
        .await
        .unwrap();
    let one = version(1, 1, 1, chunks(0..100));
    upload(&store, user(1), &one).await.unwrap();
    assert_complete(&store, &one).await;
    store.close().await;
    let store = Store::open(config(), storage, Backend::objects(objects))
        .await
        .unwrap();
    assert_complete(&store, &one).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_without_chunks_is_its_root() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), config()).await;
    let empty = version(1, 1, 1, Vec::new());
    assert_eq!(upload(&store, user(1), &empty).await.unwrap(), 3);
    assert_complete(&store, &empty).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_of_another_user_must_be_sent_and_is_kept_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), config()).await;
    let data = chunks(0..200);
    let (one, two) = (version(1, 1, 1, data.clone()), version(2, 2, 1, data));
    upload(&store, user(1), &one).await.unwrap();
    let before = store.stats().await.unwrap();
    let (session, missing) = begin(&store, user(2), &two).await.unwrap();
    assert_eq!(missing.data.total(), 200, "naming a chunk is not having it");
    // Not even its length is believed: wrong bytes of the right length are refused.
    session
        .chunk(Space::Data, 0, noise(99, two.data[0].len()))
        .await
        .unwrap();
    assert!(matches!(
        session.stored().await,
        Err(PutError::Damaged {
            space: Space::Data,
            position: 0
        })
    ));
    let held = stored(&store, &two).await.unwrap();
    let range = PositionRange::new(0, 1).unwrap();
    assert!(
        store.read(&held, Space::Data, range).await.is_err(),
        "nor can it be read by its name"
    );
    drop(session);
    assert_eq!(upload(&store, user(2), &two).await.unwrap(), 203);
    let after = store.stats().await.unwrap();
    assert_eq!(after.logical_bytes, one.bytes() + two.bytes());
    assert!(after.live_bytes < before.live_bytes + 4000, "{after:?}");
    assert!(after.dedupe_ratio() > 1.9, "{after:?}");
    assert!(
        store
            .release(user(1), one.owner, one.share())
            .await
            .unwrap()
    );
    wait_usage(&store, user(1), 0).await;
    assert!(stored(&store, &one).await.is_none());
    assert_complete(&store, &two).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_chunks_are_asked_for_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), config()).await;
    let mut data = chunks(0..50);
    data.extend(chunks(0..50));
    data.extend(std::iter::repeat_n(noise(7, 5000), 3000));
    let one = version(1, 1, 1, data);
    let (session, missing) = begin(&store, user(1), &one).await.unwrap();
    assert_eq!(
        missing.data.positions().collect::<Vec<_>>(),
        (0..50).chain([100]).collect::<Vec<_>>()
    );
    assert_eq!(missing.bytes, one.bytes());
    for (space, position) in positions(&missing) {
        session
            .chunk(space, position, one.space(space)[position as usize].clone())
            .await
            .unwrap();
        session
            .chunk(space, position, one.space(space)[position as usize].clone())
            .await
            .unwrap();
    }
    session.end().await.unwrap();
    wait_stored(&session, one.all().count() as u64).await;
    assert_eq!(session.stored().await.unwrap(), None);
    assert_complete(&store, &one).await;
    assert_eq!(store.usage(user(1)).await.unwrap().bytes, one.bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_broke_off_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let one = version(1, 1, 1, chunks(0..300));
    let mut store = open(dir.path(), config()).await;
    for round in 0..3u32 {
        let (session, missing) = begin(&store, user(1), &one).await.unwrap();
        assert_eq!(missing.data.total(), u64::from(300 - 100 * round));
        let from = round * 100;
        for position in from..from + 100 {
            session
                .chunk(Space::Data, position, one.data[position as usize].clone())
                .await
                .unwrap();
        }
        wait_stored(&session, 100).await;
        for breaking in [Some(session), None] {
            drop(breaking);
            let partly = stored(&store, &one).await.unwrap();
            assert!(!partly.complete);
            assert_eq!(
                verify_held(&store, &one, &partly).await.unwrap(),
                from as usize + 100
            );
        }
        store.gc().await.unwrap();
        if round == 1 {
            store.close().await;
            store = open(dir.path(), config()).await;
        }
    }
    assert_eq!(upload(&store, user(1), &one).await.unwrap(), 3);
    assert_complete(&store, &one).await;
    store.gc().await.unwrap();
    assert_eq!(
        store
            .candidates(one.owner, one.share())
            .await
            .unwrap()
            .len(),
        1,
        "the attempts are gone"
    );
    assert_complete(&store, &one).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_device_that_comes_back_takes_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), config()).await;
    let one = version(1, 1, 1, chunks(0..100));
    let (old, _) = begin(&store, user(1), &one).await.unwrap();
    for position in 0..50 {
        old.chunk(Space::Data, position, one.data[position as usize].clone())
            .await
            .unwrap();
    }
    wait_stored(&old, 50).await;
    let (new, missing) = begin(&store, user(1), &one).await.unwrap();
    assert_eq!(missing.data.total(), 50);
    assert!(matches!(
        old.chunk(Space::Data, 50, one.data[50].clone()).await,
        Err(PutError::Superseded)
    ));
    assert!(matches!(old.end().await, Err(PutError::Superseded)));
    for (space, position) in positions(&missing) {
        new.chunk(space, position, one.space(space)[position as usize].clone())
            .await
            .unwrap();
    }
    drop(old);
    new.end().await.unwrap();
    assert_complete(&store, &one).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn few_buffers_serve_many_uploads_and_a_single_chunk_does_not_wait() {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig {
        buffer_bytes: 17 << 20,
        pack_bytes: 16 << 20,
        idle: Duration::from_millis(50),
        ..config()
    };
    let store = Arc::new(open(dir.path(), config).await);
    let small = version(9, 9, 1, chunks(1..2));
    let (session, missing) = begin(&store, user(9), &small).await.unwrap();
    let began = Instant::now();
    for (space, position) in positions(&missing) {
        session
            .chunk(
                space,
                position,
                small.space(space)[position as usize].clone(),
            )
            .await
            .unwrap();
    }
    wait_stored(&session, 4).await;
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "nothing has to fill up first"
    );
    session.end().await.unwrap();
    let mut uploads = tokio::task::JoinSet::new();
    for n in 0..8u8 {
        let store = Arc::clone(&store);
        uploads.spawn(async move {
            let data: Vec<Bytes> = (0..40)
                .map(|seed| noise(u64::from(n) << 32 | seed, 200_000))
                .collect();
            let version = version(n + 1, n, 1, data);
            upload(&store, user(n), &version).await.unwrap();
            assert_complete(&store, &version).await;
        });
    }
    while let Some(done) = uploads.join_next().await {
        done.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_ends_only_with_everything() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), config()).await;
    let one = version(1, 1, 1, chunks(0..10));
    let (session, missing) = begin(&store, user(1), &one).await.unwrap();
    let mut positions = positions(&missing);
    let last = positions.pop().unwrap();
    for (space, position) in positions {
        session
            .chunk(space, position, one.space(space)[position as usize].clone())
            .await
            .unwrap();
    }
    assert!(matches!(
        session.end().await,
        Err(PutError::Incomplete { missing: 1 })
    ));
    assert!(!stored(&store, &one).await.unwrap().complete);
    let wrong = session.chunk(last.0, last.1, one.data[0].clone()).await;
    assert!(matches!(wrong, Err(PutError::Length { .. })));
    session
        .chunk(last.0, last.1, one.data[last.1 as usize].clone())
        .await
        .unwrap();
    session.end().await.unwrap();
    assert_complete(&store, &one).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn senders_faster_than_the_disk_fill_their_packs() {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig {
        pack_bytes: 1 << 20,
        idle: Duration::from_millis(50),
        ..config()
    };
    let store = Arc::new(open(dir.path(), config).await);
    let mut uploads = tokio::task::JoinSet::new();
    for n in 0..3u8 {
        let store = Arc::clone(&store);
        uploads.spawn(async move {
            let data: Vec<Bytes> = (0..500)
                .map(|seed| noise(u64::from(n) << 32 | seed, 100_000))
                .collect();
            upload(&store, user(n), &version(n + 1, n, 1, data))
                .await
                .unwrap();
        });
    }
    while let Some(done) = uploads.join_next().await {
        done.unwrap();
    }
    let stats = store.stats().await.unwrap();
    let full = stats.live_bytes / (1 << 20);
    assert!(
        stats.packs < full * 3 / 2,
        "{} packs where {full} would do",
        stats.packs
    );
}
