//! The suite that every engine of [`State`] passes. Public so that an engine outside this crate can
//! run it too.
//!
//! It panics where the contract is broken, as a test does; nothing but tests calls it. It uses
//! short times of its own but no clock of the engine: it waits for what must happen and looks that
//! it did not happen before.

#![allow(clippy::unwrap_used, clippy::panic)]

mod keys;
mod queues;
mod restart;
mod sessions;
mod subjects;
mod watches;

use super::{Event, Expect, ItemId, Limits, NewItem, State, Watch};
use bytes::Bytes;
use futures::future::BoxFuture;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An opened state and how to close it, so that it can be opened again.
pub struct Fixture {
    /// The state.
    pub state: Arc<dyn State>,
    /// Closes it; what was answered before must be there when it is opened again.
    pub close: BoxFuture<'static, ()>,
}

/// Opens the state of a name: a fresh one, or the same as before when opened again after it was
/// closed.
pub type Open<'a> = &'a (dyn Fn(&str) -> BoxFuture<'static, Fixture> + Send + Sync);

/// Longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs the suite. Needs a runtime with several threads to mean anything for the races. Panics
/// where the contract is broken.
pub async fn conformance(open: Open<'_>) {
    let fixture = open("all").await;
    let state = &fixture.state;
    keys::reads_what_was_written(state).await;
    keys::compares_before_setting(state).await;
    keys::races_have_one_winner(state).await;
    keys::lists_in_pages(state).await;
    keys::refuses_bad_names_and_sizes(state).await;
    watches::tells_what_is_there_then_changes(state).await;
    watches::tells_every_change_in_order(state).await;
    watches::tells_who_lags(state).await;
    sessions::ephemeral_keys_go_with_their_session(state).await;
    sessions::silence_ends_a_session(state).await;
    sessions::a_restarted_node_replaces_its_session(state).await;
    sessions::kinds_do_not_mix(state).await;
    queues::keeps_order(state).await;
    queues::appends_once(state).await;
    queues::appends_all_in_order(state).await;
    queues::reads_from_anywhere(state).await;
    queues::acknowledging_again_is_harmless(state).await;
    queues::bounds_hold(state).await;
    queues::no_source_fills_a_queue(state).await;
    queues::what_expires_goes(state).await;
    queues::many_callers_each_once(state).await;
    subjects::tells_who_listens(state).await;
    subjects::drops_are_counted(state).await;
    fixture.close.await;
    restart::keeps_what_is_durable(open).await;
}

/// Limits that are never reached here.
const ROOM: Limits = Limits {
    items: 60_000,
    bytes: 1 << 30,
    source_items: 60_000,
    source_bytes: 1 << 30,
};
/// In the year 2100.
const NEVER: u64 = 4_102_444_800_000;

fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis() as u64
}

fn id(number: u64) -> ItemId {
    u128::from(number).to_be_bytes()
}

/// An item whose value and id follow from a number.
fn item(number: u64) -> NewItem {
    let value = Bytes::from(number.to_string());
    NewItem {
        id: id(number),
        source: Bytes::from_static(b"sender"),
        value,
        expires_ms: NEVER,
        limits: ROOM,
    }
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => done,
        Err(_) => panic!("{what}: not within {PATIENCE:?}"),
    }
}

async fn next(watch: &mut Watch) -> Event {
    soon("an event", watch.next()).await
}

async fn value(state: &dyn State, bucket: &str, key: &str) -> Option<String> {
    let entry = state.get(bucket, key).await.unwrap()?;
    Some(String::from_utf8(entry.value.to_vec()).unwrap())
}

async fn set(state: &dyn State, bucket: &str, key: &str, value: &str) -> u64 {
    state
        .put(bucket, key, bytes(value), Expect::Any)
        .await
        .unwrap()
}

/// Reads a whole queue in pieces of a size.
async fn drain(state: &dyn State, queue: &str, piece: usize) -> Vec<(u64, String)> {
    let (mut found, mut after) = (Vec::new(), 0);
    loop {
        let items = state.read(queue, after, piece, usize::MAX).await.unwrap();
        assert!(items.len() <= piece);
        let Some(last) = items.last() else {
            return found;
        };
        after = last.seq;
        found.extend(
            items
                .into_iter()
                .map(|item| (item.seq, String::from_utf8(item.value.to_vec()).unwrap())),
        );
    }
}
