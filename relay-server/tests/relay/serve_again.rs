//! What a connection does when the state fails for a while: it tries again by itself.

use crate::storing_common::{Device, Disk, SOON, Settings, soon};
use bytes::Bytes;
use futures::future::BoxFuture;
use hither_content::storage::MemoryStorage;
use hither_proto::{MessageId, RelayMessage};
use hither_relay::ops::Gates;
use hither_relay::state::{
    Appended, Depth, Embedded, Entry, Expect, Item, NewItem, Page, Session, State, StateError,
    Subscription, Watch,
};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

type Answer<'a, T> = BoxFuture<'a, Result<T, StateError>>;

/// A state some of whose next calls fail.
struct Flaky {
    state: Embedded,
    reads_that_fail: AtomicUsize,
    acks_that_fail: AtomicUsize,
    /// The last queue that was read.
    queue: Mutex<String>,
}

/// Takes one of what is left.
fn fails(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
        left.checked_sub(1)
    })
    .is_ok()
}

impl State for Flaky {
    fn get<'a>(&'a self, bucket: &'a str, key: &'a str) -> Answer<'a, Option<Entry>> {
        self.state.get(bucket, key)
    }
    fn put<'a>(
        &'a self,
        bucket: &'a str,
        key: &'a str,
        value: Bytes,
        expect: Expect,
    ) -> Answer<'a, u64> {
        self.state.put(bucket, key, value, expect)
    }
    fn delete<'a>(&'a self, bucket: &'a str, key: &'a str, expect: Expect) -> Answer<'a, bool> {
        self.state.delete(bucket, key, expect)
    }
    fn list<'a>(
        &'a self,
        bucket: &'a str,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> Answer<'a, Page> {
        self.state.list(bucket, prefix, after, limit)
    }
    fn watch<'a>(&'a self, bucket: &'a str, prefix: &'a str) -> Answer<'a, Watch> {
        self.state.watch(bucket, prefix)
    }
    fn open_session<'a>(&'a self, node: &'a str, ttl: Duration) -> Answer<'a, Session> {
        self.state.open_session(node, ttl)
    }
    fn touch_session(&self, session: Session) -> Answer<'_, ()> {
        self.state.touch_session(session)
    }
    fn close_session(&self, session: Session) -> Answer<'_, ()> {
        self.state.close_session(session)
    }
    fn put_ephemeral<'a>(
        &'a self,
        session: Session,
        bucket: &'a str,
        key: &'a str,
        value: Bytes,
        expect: Expect,
    ) -> Answer<'a, u64> {
        self.state
            .put_ephemeral(session, bucket, key, value, expect)
    }
    fn append<'a>(&'a self, queue: &'a str, item: NewItem) -> Answer<'a, Appended> {
        self.state.append(queue, item)
    }
    fn read<'a>(
        &'a self,
        queue: &'a str,
        after_seq: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Answer<'a, Vec<Item>> {
        *self.queue.lock().unwrap() = queue.to_owned();
        match fails(&self.reads_that_fail) {
            true => Box::pin(async { Err(StateError::TimedOut) }),
            false => self.state.read(queue, after_seq, limit, max_bytes),
        }
    }
    fn ack<'a>(&'a self, queue: &'a str, up_to_seq: u64) -> Answer<'a, u64> {
        match fails(&self.acks_that_fail) {
            true => Box::pin(async { Err(StateError::TimedOut) }),
            false => self.state.ack(queue, up_to_seq),
        }
    }
    fn depth<'a>(&'a self, queue: &'a str) -> Answer<'a, Depth> {
        self.state.depth(queue)
    }
    fn publish<'a>(&'a self, subject: &'a str, value: Bytes) -> Answer<'a, ()> {
        self.state.publish(subject, value)
    }
    fn subscribe<'a>(&'a self, subject: &'a str) -> Answer<'a, Subscription> {
        self.state.subscribe(subject)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mailbox_that_failed_for_a_while_is_read_and_emptied_without_further_word() {
    let memory = MemoryStorage::new();
    let state = Embedded::start(Box::new(move || Ok(Arc::new(memory.clone())))).unwrap();
    let (reads_that_fail, acks_that_fail) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let flaky = Arc::new(Flaky {
        state,
        reads_that_fail,
        acks_that_fail,
        queue: Mutex::default(),
    });
    let dir = tempfile::tempdir().unwrap();
    let state: Arc<dyn State> = Arc::clone(&flaky) as Arc<dyn State>;
    let no_change = |_: &mut Settings| {};
    let node =
        crate::storing_common::start(dir.path(), state, Arc::new(Disk::default()), no_change).await;
    let user = node.registry.create_user("").await.unwrap();
    let (one, two) = (Device::new(), Device::new());
    for device in [&one, &two] {
        let invitation = node.registry.invite(&user, 1, SOON).await.unwrap();
        node.registry
            .admit(&device.id(), Some(&invitation))
            .await
            .unwrap();
    }
    let world = crate::storing_common::World {
        node,
        gates: Gates::default(),
        index: Disk::default(),
        dir,
    };
    let mut first = one.talk(&world).await;
    let sealed = Bytes::from_static(b"the only message");
    let send = RelayMessage::Send {
        request: 1,
        to: two.id(),
        id: MessageId::new([1; 16]),
        sealed,
        keep_s: 0,
    };
    first.say(&send).await;
    first
        .find(|answer| matches!(answer, RelayMessage::Sent { request: 1, .. }).then_some(()))
        .await;
    // Everything that is read when the reader comes fails, and nobody writes again.
    flaky.reads_that_fail.store(3, Ordering::SeqCst);
    flaky.acks_that_fail.store(3, Ordering::SeqCst);
    let mut second = two.talk(&world).await;
    let delivery = |message| match message {
        RelayMessage::Deliver { seq, sealed, .. } => Some((seq, sealed)),
        _ => None,
    };
    let (seq, sealed) = second.find(delivery).await;
    assert_eq!(
        (&sealed[..], flaky.reads_that_fail.load(Ordering::SeqCst)),
        (&b"the only message"[..], 0)
    );
    // And so it is when it is to be forgotten.
    second.say(&RelayMessage::Received { seq }).await;
    let empty = async {
        let queue = flaky.queue.lock().unwrap().clone();
        while flaky.depth(&queue).await.unwrap().items > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon(empty).await;
    assert_eq!(flaky.acks_that_fail.load(Ordering::SeqCst), 0);
    world.node.stop().await;
}
