//! Connections that break and are made anew.

use super::common::{embedded_in, item, numbers, remote_of, soon};
use bytes::Bytes;
use futures::future::BoxFuture;
use hither_content::storage::MemoryStorage;
use hither_relay::state::{
    Embedded, Event, Expect, Patience, Reconnecting, Remote, State, StateError,
};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::AbortHandle;

/// How the next connection goes.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Works,
    Refuses,
    /// It takes requests and never answers.
    Swallows,
}

struct Network {
    embedded: Arc<Embedded>,
    mood: Mutex<Mood>,
    server: Mutex<Option<AbortHandle>>,
    attempts: AtomicUsize,
}

impl Network {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            embedded: Arc::new(embedded_in(&MemoryStorage::new())),
            mood: Mutex::new(Mood::Works),
            server: Mutex::new(None),
            attempts: AtomicUsize::new(0),
        })
    }

    fn connect(&self) -> Result<Remote, StateError> {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Refuses => Err(StateError::Disconnected),
            Mood::Works => {
                let (remote, server) = remote_of(Arc::clone(&self.embedded) as _);
                *self.server.lock().unwrap() = Some(server);
                Ok(remote)
            }
            Mood::Swallows => {
                let (near, far) = tokio::io::duplex(1024);
                let swallow = async move {
                    let (mut reader, _writer) = tokio::io::split(far);
                    tokio::io::copy(&mut reader, &mut tokio::io::sink()).await
                };
                *self.server.lock().unwrap() = Some(tokio::spawn(swallow).abort_handle());
                let (reader, writer) = tokio::io::split(near);
                Ok(Remote::new(reader, writer))
            }
        }
    }

    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn break_off(&self) {
        if let Some(server) = self.server.lock().unwrap().take() {
            server.abort();
        }
    }

    fn state(self: &Arc<Self>, patience: Patience) -> Arc<dyn State> {
        let network = Arc::clone(self);
        let connect = move || -> BoxFuture<'static, Result<Remote, StateError>> {
            let network = Arc::clone(&network);
            Box::pin(async move { network.connect() })
        };
        Arc::new(Reconnecting::new(connect, patience))
    }
}

fn quick() -> Patience {
    Patience {
        deadline: Duration::from_secs(15),
        attempt: Duration::from_millis(500),
        first_pause: Duration::from_millis(5),
        longest_pause: Duration::from_millis(50),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn appends_arrive_once_over_connections_that_break() {
    let network = Network::new();
    let state = network.state(quick());
    let callers: Vec<_> = (0..8u64)
        .map(|caller| {
            let state = Arc::clone(&state);
            tokio::spawn(async move {
                for number in 0..50 {
                    state.append("q", item(caller * 50 + number)).await.unwrap();
                }
            })
        })
        .collect();
    let breaker = {
        let network = Arc::clone(&network);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(7)).await;
                network.break_off();
            }
        })
    };
    for caller in callers {
        soon("a caller", caller).await.unwrap();
    }
    breaker.abort();
    let mut found = numbers(network.embedded.as_ref(), "q").await;
    found.sort_unstable();
    assert_eq!(found, (0..400).collect::<Vec<_>>());
    assert!(
        network.attempts.load(Ordering::Relaxed) > 1,
        "nothing broke"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_not_be_done_twice_fails_once_sent() {
    let network = Network::new();
    let state = network.state(quick());
    let mut watch = state.watch("b", "").await.unwrap();
    assert_eq!(soon("the marker", watch.next()).await, Event::Current);
    network.break_off();
    assert_eq!(soon("the end", watch.next()).await, Event::Disconnected);
    // The connection is known to be gone: nothing was sent, so the call waits for the next one.
    state
        .put("b", "k", Bytes::new(), Expect::Absent)
        .await
        .unwrap();
    network.set(Mood::Swallows);
    network.break_off();
    let lost = state.put("b", "lost", Bytes::new(), Expect::Any).await;
    assert!(
        matches!(lost, Err(StateError::TimedOut | StateError::Disconnected)),
        "{lost:?}"
    );
    network.set(Mood::Works);
    assert_eq!(
        state.get("b", "lost").await.unwrap(),
        None,
        "it was not tried again"
    );
    assert!(state.get("b", "k").await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_does_not_answer_is_replaced() {
    let network = Network::new();
    network.set(Mood::Swallows);
    let state = network.state(quick());
    assert_eq!(
        state.put("b", "k", Bytes::new(), Expect::Any).await,
        Err(StateError::TimedOut)
    );
    let appending = {
        let state = Arc::clone(&state);
        tokio::spawn(async move { state.append("q", item(1)).await })
    };
    tokio::time::sleep(Duration::from_millis(100)).await;
    network.set(Mood::Works);
    assert!(
        !soon("an append", appending)
            .await
            .unwrap()
            .unwrap()
            .duplicate
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gives_up_at_the_deadline_without_hammering() {
    let network = Network::new();
    network.set(Mood::Refuses);
    let state = network.state(Patience {
        deadline: Duration::from_secs(1),
        ..quick()
    });
    let start = Instant::now();
    let calls = (0..20).map(|number| state.append("q", item(number)));
    for call in futures::future::join_all(calls).await {
        assert!(
            matches!(call, Err(StateError::Disconnected | StateError::TimedOut)),
            "{call:?}"
        );
    }
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    // Pauses of 25 ms and more but for the first ones, all callers together.
    let attempts = network.attempts.load(Ordering::Relaxed);
    assert!((2..=50).contains(&attempts), "{attempts}");
    network.set(Mood::Works);
    state.append("q", item(1)).await.unwrap();
}
