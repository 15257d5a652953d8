//! Damaged packs, lost packs, packs of others.

use crate::common::*;
use hither_proto::{PositionRange, Space};
use hither_relay::store::{ReadError, StoreError};

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_chunk_is_an_error_and_can_be_uploaded_again() {
    for found_by in ["check", "read", "long read"] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), config()).await;
        let one = version(1, 1, 1, chunks(0..100));
        upload(&store, user(1), &one).await.unwrap();
        flip(dir.path(), &one.data[42]);
        let found = stored(&store, &one).await.unwrap();
        let read = |start| {
            store.read(
                &found,
                Space::Data,
                PositionRange::new(start, 100 - start).unwrap(),
            )
        };
        match found_by {
            "check" => {
                let report = store.check(true).await.unwrap();
                assert_eq!(
                    (report.damaged, report.chunks, report.is_clean()),
                    (1, 102, false)
                );
            }
            "read" => assert!(matches!(
                read(42).await,
                Err(ReadError::Damaged { position: 42 })
            )),
            _ => {
                let mut next = 0;
                while next < 42 {
                    next += read(next).await.unwrap().len() as u32;
                }
                assert_eq!(next, 42, "what stands before it is read");
            }
        }
        assert!(matches!(
            read(42).await,
            Err(ReadError::NotHeld { position: 42 })
        ));
        assert!(!read(43).await.unwrap().is_empty());
        assert_eq!(store.stats().await.unwrap().damaged, 1);
        let found = stored(&store, &one).await.unwrap();
        assert!(!found.complete && !found.held.bitmap(Space::Data).contains(42));
        assert_eq!(verify_held(&store, &one, &found).await.unwrap(), 102);
        assert!(
            store.check(false).await.unwrap().is_clean(),
            "what is known to be lost is no news"
        );
        let (session, missing) = begin(&store, user(1), &one).await.unwrap();
        assert_eq!(positions(&missing), [(Space::Data, 42)]);
        session
            .chunk(Space::Data, 42, one.data[42].clone())
            .await
            .unwrap();
        session.end().await.unwrap();
        drop(session);
        assert_complete(&store, &one).await;
        store.close().await;
        let store = open(dir.path(), config()).await;
        assert_complete(&store, &one).await;
    }
}

/// Flips a bit in the middle of a stored chunk.
fn flip(dir: &std::path::Path, chunk: &[u8]) {
    for (path, _) in packs(dir) {
        let mut bytes = std::fs::read(&path).unwrap();
        if let Some(at) = bytes
            .windows(chunk.len())
            .position(|window| window == chunk)
        {
            bytes[at + chunk.len() / 2] ^= 4;
            std::fs::write(&path, bytes).unwrap();
            return;
        }
    }
    panic!("the chunk is nowhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_and_truncated_packs_cost_what_was_in_them() {
    for truncated in [false, true] {
        for reopened in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let store = open(dir.path(), config()).await;
            let one = version(1, 1, 1, chunks(0..100));
            upload(&store, user(1), &one).await.unwrap();
            let mut running = Some(store);
            if reopened && let Some(store) = running.take() {
                store.close().await;
            }
            let (path, length) = packs(dir.path())[1].clone();
            match truncated {
                true => std::fs::File::options()
                    .write(true)
                    .open(path)
                    .unwrap()
                    .set_len(length / 2)
                    .unwrap(),
                false => std::fs::remove_file(path).unwrap(),
            }
            let store = match running {
                Some(store) => store,
                None => open(dir.path(), config()).await,
            };
            let report = store.check(true).await.unwrap();
            assert_eq!(report.is_clean(), reopened && !truncated, "{report:?}");
            let found = stored(&store, &one).await.unwrap();
            assert!(!found.complete);
            let held = verify_held(&store, &one, &found).await.unwrap();
            assert!((50..102).contains(&held), "{held}");
            assert_eq!(upload(&store, user(1), &one).await.unwrap(), 103 - held);
            assert_complete(&store, &one).await;
            store.gc().await.unwrap();
            assert!(store.check(false).await.unwrap().damaged == 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_go_and_packs_without_their_index_stay() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), config()).await;
    let one = version(1, 1, 1, chunks(0..100));
    upload(&store, user(1), &one).await.unwrap();
    store.close().await;
    let there = packs(dir.path());
    let orphan = there[0].0.with_file_name("00000000000003ff");
    std::fs::write(&orphan, b"never committed").unwrap();
    std::fs::write(there[0].0.with_file_name("note.txt"), b"somebody's").unwrap();
    let store = open(dir.path(), config()).await;
    assert!(!orphan.exists() && there[0].0.with_file_name("note.txt").exists());
    assert_complete(&store, &one).await;
    store.close().await;
    std::fs::rename(dir.path().join("index"), dir.path().join("elsewhere")).unwrap();
    assert!(matches!(
        try_open(dir.path(), config()).await,
        Err(StoreError::OtherPacks)
    ));
    assert!(
        there.iter().all(|(path, _)| path.exists()),
        "nothing is deleted"
    );
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    std::fs::rename(dir.path().join("elsewhere"), dir.path().join("index")).unwrap();
    std::fs::rename(dir.path().join("chunks"), dir.path().join("unmounted")).unwrap();
    assert!(matches!(
        try_open(dir.path(), config()).await,
        Err(StoreError::OtherPacks)
    ));
    std::fs::remove_dir_all(dir.path().join("chunks")).unwrap();
    std::fs::rename(dir.path().join("unmounted"), dir.path().join("chunks")).unwrap();
    assert_complete(&open(dir.path(), config()).await, &one).await;
}
