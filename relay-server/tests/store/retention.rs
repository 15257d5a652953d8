//! How long things are kept, and that the space comes back.

use crate::common::*;
use hither_proto::Space;
use hither_relay::store::{PutError, StoreConfig};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_replaces_the_old_one_when_it_is_complete() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), config()).await;
    let (old, new) = (
        version(1, 1, 1, chunks(0..200)),
        version(1, 1, 2, chunks(100..300)),
    );
    upload(&store, user(1), &old).await.unwrap();
    let (session, missing) = begin(&store, user(1), &new).await.unwrap();
    assert_eq!(
        missing.data.positions().collect::<Vec<_>>(),
        (100..200).collect::<Vec<_>>()
    );
    for (space, position) in positions(&missing) {
        assert_complete(&store, &old).await;
        session
            .chunk(space, position, new.space(space)[position as usize].clone())
            .await
            .unwrap();
    }
    session.end().await.unwrap();
    store.gc().await.unwrap();
    assert!(stored(&store, &old).await.is_none());
    assert_complete(&store, &new).await;
    assert_eq!(store.usage(user(1)).await.unwrap().bytes, new.bytes());
    assert_eq!(store.stats().await.unwrap().live_bytes, new.bytes());
    let late = store
        .put(user(1), old.owner, old.head.clone(), READ_KEY, None)
        .await;
    assert!(matches!(late, Err(PutError::Older)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_older_of_two_uploads_does_not_win() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), config()).await;
    let (old, new) = (
        version(1, 1, 1, chunks(0..20)),
        version(1, 1, 2, chunks(10..30)),
    );
    let (session, missing) = begin(&store, user(1), &old).await.unwrap();
    for (space, position) in positions(&missing) {
        session
            .chunk(space, position, old.space(space)[position as usize].clone())
            .await
            .unwrap();
    }
    upload(&store, user(1), &new).await.unwrap();
    assert!(session.end().await.is_err());
    drop(session);
    store.gc().await.unwrap();
    assert_complete(&store, &new).await;
    assert_eq!(store.usage(user(1)).await.unwrap().bytes, new.bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_expire_and_abandoned_uploads_are_given_up() {
    let (dir, time) = (tempfile::tempdir().unwrap(), Time::new());
    let store = open(dir.path(), time.config()).await;
    let (kept, short) = (
        version(1, 1, 1, chunks(0..50)),
        version(1, 2, 1, chunks(25..100)),
    );
    upload(&store, user(1), &kept).await.unwrap();
    upload_for(&store, user(1), &short, Some(Duration::from_secs(60)))
        .await
        .unwrap();
    let abandoned = version(1, 3, 1, chunks(200..300));
    let (session, _) = begin(&store, user(1), &abandoned).await.unwrap();
    for position in 0..50 {
        session
            .chunk(
                Space::Data,
                position,
                abandoned.data[position as usize].clone(),
            )
            .await
            .unwrap();
    }
    wait_stored(&session, 50).await;
    time.pass(Duration::from_secs(59));
    assert_eq!(store.gc().await.unwrap().expired, 0);
    assert_complete(&store, &short).await;
    time.pass(Duration::from_secs(2));
    assert_eq!(store.gc().await.unwrap().expired, 1);
    assert!(stored(&store, &short).await.is_none());
    assert_complete(&store, &kept).await;
    time.pass(Duration::from_secs(3600));
    assert_eq!(
        store.gc().await.unwrap().expired,
        0,
        "it is being uploaded still"
    );
    drop(session);
    time.pass(Duration::from_secs(3601));
    assert_eq!(store.gc().await.unwrap().expired, 1);
    assert_complete(&store, &kept).await;
    assert_eq!(store.usage(user(1)).await.unwrap().bytes, kept.bytes());
    assert_eq!(store.stats().await.unwrap().live_bytes, kept.bytes());
    assert!(
        store
            .keep_until(user(1), kept.owner, kept.share(), Some(1))
            .await
            .unwrap()
    );
    store.gc().await.unwrap();
    assert!(
        !store
            .keeps(user(1), kept.owner, kept.share())
            .await
            .unwrap()
    );
    assert!(packs(dir.path()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_chunks_are_kept_for_a_grace_and_revived_by_an_upload() {
    let (dir, time) = (tempfile::tempdir().unwrap(), Time::new());
    let config = StoreConfig {
        dead_grace: Duration::from_secs(100),
        ..time.config()
    };
    let store = open(dir.path(), config).await;
    let (one, two) = (
        version(1, 1, 1, chunks(0..50)),
        version(1, 2, 1, chunks(0..50)),
    );
    upload(&store, user(1), &one).await.unwrap();
    store
        .release(user(1), one.owner, one.share())
        .await
        .unwrap();
    assert_eq!(store.gc().await.unwrap().chunks, 0);
    let written = store.stats().await.unwrap().bytes_written;
    assert_eq!(
        upload(&store, user(1), &two).await.unwrap(),
        53,
        "what was released must be sent again"
    );
    assert!(
        store.stats().await.unwrap().bytes_written - written < 4000,
        "and is not written again"
    );
    time.pass(Duration::from_secs(101));
    assert_eq!(store.gc().await.unwrap().chunks, 3);
    assert_complete(&store, &two).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn space_comes_back_and_small_packs_are_merged() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), config()).await;
    let mut versions = Vec::new();
    for n in 0..40u8 {
        let seeds = u64::from(n) * 100..u64::from(n) * 100 + 8;
        versions.push(version(1, n, 1, chunks(seeds)));
        upload(&store, user(1), versions.last().unwrap())
            .await
            .unwrap();
    }
    let before = packs(dir.path()).len();
    assert!(before >= 40, "{before}");
    for gone in versions
        .iter()
        .filter(|version| version.share().as_bytes()[0] & 1 == 0)
    {
        store
            .release(user(1), gone.owner, gone.share())
            .await
            .unwrap();
    }
    versions.retain(|version| version.share().as_bytes()[0] & 1 == 1);
    // Twice: the first pass moves what is left, the second has nothing to do but what the first has
    // made.
    store.gc().await.unwrap();
    store.gc().await.unwrap();
    let (live, after) = (
        versions.iter().map(|version| version.bytes()).sum::<u64>(),
        packs(dir.path()),
    );
    let bytes: u64 = after.iter().map(|(_, length)| length).sum();
    assert!(bytes < live + live / 4 + 65536, "{bytes} for {live}");
    assert!(after.len() < before / 2, "{} of {before}", after.len());
    for version in &versions {
        assert_complete(&store, version).await;
    }
    assert!(store.check(false).await.unwrap().is_clean());
    store.close().await;
    let store = open(dir.path(), config()).await;
    for version in &versions {
        assert_complete(&store, version).await;
        store
            .release(user(1), version.owner, version.share())
            .await
            .unwrap();
    }
    store.gc().await.unwrap();
    assert!(packs(dir.path()).is_empty());
    assert_eq!(store.stats().await.unwrap().logical_bytes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_that_is_released_while_it_is_uploaded_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), config()).await;
    let one = version(1, 1, 1, chunks(0..100));
    let (session, _) = begin(&store, user(1), &one).await.unwrap();
    for position in 0..50 {
        session
            .chunk(Space::Data, position, one.data[position as usize].clone())
            .await
            .unwrap();
    }
    store
        .release(user(1), one.owner, one.share())
        .await
        .unwrap();
    assert!(matches!(session.end().await, Err(PutError::Released)));
    drop(session);
    store.close().await;
    let store = open(dir.path(), config()).await;
    store.gc().await.unwrap();
    assert!(packs(dir.path()).is_empty());
    assert_eq!(store.usage(user(1)).await.unwrap().bytes, 0);
}
