//! Lists that are refused.

use crate::common::*;
use hither_proto::Space;
use hither_relay::store::{ListRecord, MAX_LIST, PutError};

#[tokio::test(flavor = "multi_thread")]
async fn lists_out_of_order_or_beyond_the_head_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), config()).await;
    let one = version(1, 1, 1, chunks(0..3000));
    let (manifest, data) = (records(&one.manifest), records(&one.data));
    let long = [&manifest[..], &manifest].concat();
    let absurd = |length| {
        ListRecord {
            id: id(b"x"),
            length,
        }
        .encode()
    };
    let (none, much) = (absurd(16), absurd(20 << 20));
    let too_many = vec![1; 36 * (MAX_LIST + 1)];
    let cases: [(&str, &[(Space, u32, &[u8])]); 9] = [
        ("root", &[(Space::Root, 0, &manifest)]),
        ("gap", &[(Space::Manifest, 1, &manifest[36..])]),
        ("beyond", &[(Space::Manifest, 0, &long)]),
        ("half a record", &[(Space::Manifest, 0, &manifest[1..])]),
        ("data first", &[(Space::Data, 0, &data)]),
        ("too short", &[(Space::Manifest, 0, &none)]),
        ("too long", &[(Space::Manifest, 0, &much)]),
        (
            "too many",
            &[(Space::Manifest, 0, &manifest), (Space::Data, 0, &too_many)],
        ),
        (
            "again",
            &[
                (Space::Manifest, 0, &manifest),
                (Space::Data, 0, &data[..360]),
                (Space::Data, 0, &data),
            ],
        ),
    ];
    for (what, calls) in cases {
        let session = store
            .put(user(1), one.owner, one.head.clone(), READ_KEY, None)
            .await
            .unwrap();
        let (last, before) = calls.split_last().unwrap();
        for (space, first, bytes) in before {
            session.list(*space, *first, bytes).await.unwrap();
        }
        let refused = session.list(last.0, last.1, last.2).await;
        assert!(
            matches!(refused, Err(PutError::List(_))),
            "{what}: {refused:?}"
        );
        assert!(
            session.missing().await.is_err() && session.end().await.is_err(),
            "{what}: it has ended"
        );
    }
    let session = store
        .put(user(1), one.owner, one.head.clone(), READ_KEY, None)
        .await
        .unwrap();
    session.list(Space::Manifest, 0, &manifest).await.unwrap();
    session
        .list(Space::Data, 0, &data[..36 * 2000])
        .await
        .unwrap();
    assert!(
        matches!(session.missing().await, Err(PutError::List(_))),
        "not complete"
    );
    assert!(matches!(
        session.chunk(Space::Data, 0, one.data[0].clone()).await,
        Err(PutError::Position)
    ));
    session
        .list(Space::Data, 2000, &data[36 * 2000..])
        .await
        .unwrap();
    session.missing().await.unwrap();
    assert!(session.missing().await.is_err(), "it is asked once");
    assert!(matches!(
        session.chunk(Space::Data, 3000, one.data[0].clone()).await,
        Err(PutError::Position)
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_lies_about_a_length_gains_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), config()).await;
    let one = version(1, 1, 1, chunks(0..10));
    upload(&store, user(1), &one).await.unwrap();
    let mut two = version(1, 2, 1, chunks(0..10));
    let session = store
        .put(user(1), two.owner, two.head.clone(), READ_KEY, None)
        .await
        .unwrap();
    session
        .list(Space::Manifest, 0, &records(&two.manifest))
        .await
        .unwrap();
    let mut list = records(&two.data);
    list[32..36].copy_from_slice(&17u32.to_be_bytes());
    session.list(Space::Data, 0, &list).await.unwrap();
    let missing = session.missing().await.unwrap();
    assert_eq!(missing.data.positions().collect::<Vec<_>>(), [0]);
    session.chunk(Space::Data, 0, noise(1, 17)).await.unwrap();
    assert!(matches!(
        session.stored().await,
        Err(PutError::Damaged { .. })
    ));
    drop(session);
    two.data.truncate(10);
    upload(&store, user(1), &two).await.unwrap();
    store
        .release(user(1), one.owner, one.share())
        .await
        .unwrap();
    wait_usage(&store, user(1), two.bytes()).await;
    assert_complete(&store, &two).await;
}
