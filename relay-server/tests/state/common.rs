//! What these tests share.

use bytes::Bytes;
use hither_content::storage::{MemoryStorage, Storage};
use hither_relay::state::{Embedded, Limits, NewItem, Remote, State, serve};
use std::sync::Arc;
use std::time::Duration;

/// Longest wait for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const ROOM: Limits = Limits {
    items: 60_000,
    bytes: 1 << 40,
    source_items: 60_000,
    source_bytes: 1 << 40,
};

/// An item whose id and value follow from a number; it never expires.
pub(crate) fn item(number: u64) -> NewItem {
    let value = Bytes::from(number.to_string());
    NewItem {
        id: u128::from(number).to_be_bytes(),
        source: Bytes::new(),
        value,
        expires_ms: u64::MAX,
        limits: ROOM,
    }
}

/// A state in memory; a clone of the storage is its disk.
pub(crate) fn embedded_in(storage: &MemoryStorage) -> Embedded {
    let storage = storage.clone();
    Embedded::start(Box::new(move || {
        Ok(Arc::new(storage.clone()) as Arc<dyn Storage>)
    }))
    .unwrap()
}

/// A remote of a state, served by a task that ends with the remote or when it is aborted.
pub(crate) fn remote_of(state: Arc<dyn State>) -> (Remote, tokio::task::AbortHandle) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let (reader, writer) = tokio::io::split(far);
    let server = tokio::spawn(serve(state, reader, writer));
    let (reader, writer) = tokio::io::split(near);
    (Remote::new(reader, writer), server.abort_handle())
}

/// The numbers of all items in a queue, in order.
pub(crate) async fn numbers(state: &dyn State, queue: &str) -> Vec<u64> {
    let (mut found, mut after) = (Vec::new(), 0);
    loop {
        let items = state.read(queue, after, 1000, usize::MAX).await.unwrap();
        let Some(last) = items.last() else {
            return found;
        };
        assert!(items.iter().all(|item| item.seq > after));
        after = last.seq;
        found.extend(items.iter().map(|item| u128::from_be_bytes(item.id) as u64));
    }
}

pub(crate) async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work)
        .await
        .unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}
