//! A stream that breaks, and what is no protocol.

use super::common::{embedded_in, item, numbers, remote_of, soon};
use bytes::Bytes;
use hither_content::storage::MemoryStorage;
use hither_relay::state::{Event, Expect, Remote, ServeError, State, StateError, serve};
use std::sync::Arc;
use tokio::io::AsyncWriteExt;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_stream_ends_everything_on_it() {
    let embedded: Arc<dyn State> = Arc::new(embedded_in(&MemoryStorage::new()));
    let (remote, server) = remote_of(Arc::clone(&embedded));
    let mut watch = remote.watch("b", "").await.unwrap();
    assert_eq!(soon("the marker", watch.next()).await, Event::Current);
    let mut subscription = remote.subscribe("s").await.unwrap();
    server.abort();
    soon("the end", remote.ended()).await;
    assert_eq!(
        soon("the end of a watch", watch.next()).await,
        Event::Disconnected
    );
    assert_eq!(
        soon("the end of a subscription", subscription.next()).await,
        None
    );
    assert_eq!(remote.get("b", "k").await, Err(StateError::Disconnected));
    assert_eq!(
        remote.watch("b", "").await.unwrap_err(),
        StateError::Disconnected
    );
    assert!(
        embedded.get("b", "k").await.unwrap().is_none(),
        "the state itself goes on"
    );
}

#[tokio::test]
async fn calls_under_way_fail_when_the_stream_breaks() {
    // Nobody answers at the other end.
    let (near, far) = tokio::io::duplex(1024);
    let (reader, writer) = tokio::io::split(near);
    let remote = Arc::new(Remote::new(reader, writer));
    let calls: Vec<_> = (0..20)
        .map(|number| {
            let remote = Arc::clone(&remote);
            tokio::spawn(async move { remote.append("q", item(number)).await })
        })
        .collect();
    tokio::task::yield_now().await;
    drop(far);
    for call in calls {
        assert_eq!(
            soon("an answer", call).await.unwrap(),
            Err(StateError::Disconnected)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_requests_share_one_stream() {
    let (remote, _server) = remote_of(Arc::new(embedded_in(&MemoryStorage::new())));
    let value = Bytes::from(vec![1; 200_000]);
    let large = |number| hither_relay::state::NewItem {
        value: value.clone(),
        ..item(number)
    };
    let appends = (0..300).map(|number| remote.append("q", large(number)));
    assert!(
        futures::future::join_all(appends)
            .await
            .iter()
            .all(Result::is_ok)
    );
    // Together far more than what may be under way at once.
    let reads = (0..100).map(|_| remote.read("q", 0, usize::MAX, usize::MAX));
    for read in soon("the reads", futures::future::join_all(reads)).await {
        assert_eq!(read.unwrap().len(), 4 * 1024 * 1024 / 200_000);
    }
    assert_eq!(numbers(&remote, "q").await.len(), 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_is_dropped_makes_room_for_others() {
    let (remote, _server) = remote_of(Arc::new(embedded_in(&MemoryStorage::new())));
    // Many more than a stream may have at a time, one after the other.
    for _ in 0..600 {
        let watching = async {
            loop {
                match remote.watch("b", "").await {
                    Ok(watch) => return watch,
                    Err(StateError::Busy(_)) => tokio::task::yield_now().await,
                    Err(error) => panic!("{error}"),
                }
            }
        };
        drop(soon("a watch", watching).await);
    }
    let many: Vec<_> = futures::future::join_all((0..600).map(|_| remote.subscribe("s"))).await;
    let refused = many
        .iter()
        .filter(|one| matches!(one, Err(StateError::Busy(_))))
        .count();
    assert!((300..=400).contains(&refused), "{refused}");
    remote
        .put("b", "k", Bytes::new(), Expect::Any)
        .await
        .unwrap();
}

#[tokio::test]
async fn what_is_no_protocol_ends_the_stream() {
    let state: Arc<dyn State> = Arc::new(embedded_in(&MemoryStorage::new()));
    // Too long; not protobuf; a frame without a body; an answer instead of a request is answered
    // with an error.
    for bytes in [&[0xff; 8][..], &[0, 0, 0, 1, 0xff], &[0, 0, 0, 2, 8, 1]] {
        let (mut near, far) = tokio::io::duplex(1024);
        let (reader, writer) = tokio::io::split(far);
        near.write_all(bytes).await.unwrap();
        let served = soon("the end", serve(Arc::clone(&state), reader, writer)).await;
        assert!(
            matches!(served, Err(ServeError::Io(_) | ServeError::Protocol(_))),
            "{bytes:?}: {served:?}"
        );
    }
    let (near, far) = tokio::io::duplex(1024);
    drop(near);
    let (reader, writer) = tokio::io::split(far);
    soon("the end", serve(state, reader, writer)).await.unwrap();
}
