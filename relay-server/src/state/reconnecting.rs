//! A lasting state out of remotes that break.

use super::wire::boxed;
use super::{
    Answer, Appended, Depth, Entry, Expect, Item, NewItem, Page, Remote, Session, State,
    StateError, Subscription, Watch,
};
use bytes::Bytes;
use futures::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout_at};

/// Makes a stream to the node that keeps the state.
pub trait Connect: Send + Sync + 'static {
    /// Connects once. It is dropped when it takes too long.
    fn connect(&self) -> BoxFuture<'_, Result<Remote, StateError>>;
}

impl<F> Connect for F
where
    F: Fn() -> BoxFuture<'static, Result<Remote, StateError>> + Send + Sync + 'static,
{
    fn connect(&self) -> BoxFuture<'_, Result<Remote, StateError>> {
        self()
    }
}

/// How long to go on trying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Longest time for a call, all attempts together; then it fails with what the last one failed
    /// with.
    pub deadline: Duration,
    /// Longest time for one attempt, after which the connection counts as broken.
    pub attempt: Duration,
    /// First pause between two attempts to connect; it doubles, and half of each is random.
    pub first_pause: Duration,
    /// Longest pause.
    pub longest_pause: Duration,
}

impl Default for Patience {
    /// Ten seconds, three of them for an attempt; pauses from 50 ms to 2 s.
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(10),
            attempt: Duration::from_secs(3),
            first_pause: Duration::from_millis(50),
            longest_pause: Duration::from_secs(2),
        }
    }
}

struct Connection {
    remote: Option<Arc<Remote>>,
    /// When it was made.
    since: Instant,
    /// No attempt before this.
    not_before: Instant,
    pause: Duration,
}

/// A [`State`] over connections that are made anew when they break.
///
/// Calls that may be made twice without harm are made again on a new connection. The others (`put`,
/// `delete`, `put_ephemeral`, `publish`) wait for a connection too, but fail with
/// [`StateError::Disconnected`] or [`StateError::TimedOut`] once they were sent and the answer did
/// not come. Watches and subscriptions end with their connection; sessions outlive it.
pub struct Reconnecting<C> {
    connect: C,
    patience: Patience,
    connection: Mutex<Connection>,
}

/// Whether a call may be made twice.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Retry {
    Harmless,
    Never,
}

impl<C: Connect> Reconnecting<C> {
    /// Connects at the first call.
    pub fn new(connect: C, patience: Patience) -> Self {
        let now = Instant::now();
        let connection = Connection {
            remote: None,
            since: now,
            not_before: now,
            pause: patience.first_pause,
        };
        Self {
            connect,
            patience,
            connection: Mutex::new(connection),
        }
    }

    async fn call<'a, T>(
        &self,
        retry: Retry,
        call: impl Fn(Arc<Remote>) -> Answer<'a, T> + Send + Sync,
    ) -> Result<T, StateError> {
        let deadline = Instant::now() + self.patience.deadline;
        let mut last = StateError::TimedOut;
        loop {
            let remote = match timeout_at(deadline, self.connected()).await {
                Ok(Ok(remote)) => remote,
                // The next attempt waits for its time.
                Ok(Err(error)) => {
                    last = error;
                    continue;
                }
                Err(_) => return Err(last),
            };
            let until = deadline.min(Instant::now() + self.patience.attempt);
            last = match timeout_at(until, call(Arc::clone(&remote))).await {
                Ok(Err(StateError::Disconnected)) => StateError::Disconnected,
                Ok(answer) => return answer,
                Err(_) => StateError::TimedOut,
            };
            self.forget(&remote).await;
            if retry == Retry::Never || Instant::now() >= deadline {
                return Err(last);
            }
        }
    }

    /// The connection of now; makes one if there is none. One caller connects at a time, the others
    /// wait for it.
    async fn connected(&self) -> Result<Arc<Remote>, StateError> {
        let mut connection = self.connection.lock().await;
        if let Some(remote) = connection
            .remote
            .as_ref()
            .filter(|remote| !remote.is_ended())
        {
            return Ok(Arc::clone(remote));
        }
        sleep_until(connection.not_before).await;
        if connection.since.elapsed() > self.patience.longest_pause {
            connection.pause = self.patience.first_pause; // the one before has worked
        }
        // Set before the attempt: one that is dropped in the middle counts too.
        connection.not_before = Instant::now() + jittered(connection.pause);
        connection.pause = (connection.pause * 2).min(self.patience.longest_pause);
        connection.since = Instant::now();
        let until = connection.since + self.patience.attempt;
        let remote = timeout_at(until, self.connect.connect())
            .await
            .map_err(|_| StateError::TimedOut)?;
        let remote = Arc::new(remote?);
        connection.remote = Some(Arc::clone(&remote));
        connection.since = Instant::now();
        Ok(remote)
    }

    /// Drops a connection that did not answer, unless there is another one by now; one that worked
    /// is replaced at once.
    async fn forget(&self, broken: &Arc<Remote>) {
        let mut connection = self.connection.lock().await;
        if connection
            .remote
            .as_ref()
            .is_some_and(|remote| Arc::ptr_eq(remote, broken))
        {
            connection.remote = None;
        }
    }
}

/// Half to all of a pause, so that nodes which lost the same connection do not come back together.
fn jittered(pause: Duration) -> Duration {
    let mut random = [0; 2];
    // Without randomness there is no jitter, which is no harm.
    let _ = getrandom::fill(&mut random);
    let chance = f64::from(u16::from_be_bytes(random)) / f64::from(u16::MAX);
    hither_util::backoff::jittered(pause, chance)
}

macro_rules! forward {
    ($self:ident, $retry:ident, |$remote:ident| $call:expr) => {
        boxed(async move {
            $self
                .call(Retry::$retry, |$remote| boxed(async move { $call.await }))
                .await
        })
    };
    ($self:ident, $retry:ident, $value:ident, |$remote:ident| $call:expr) => {
        boxed(async move {
            let call = |$remote: Arc<Remote>| {
                let $value = $value.clone();
                boxed(async move { $call.await })
            };
            $self.call(Retry::$retry, call).await
        })
    };
}

impl<C: Connect> State for Reconnecting<C> {
    fn get<'a>(&'a self, bucket: &'a str, key: &'a str) -> Answer<'a, Option<Entry>> {
        forward!(self, Harmless, |remote| remote.get(bucket, key))
    }

    fn put<'a>(
        &'a self,
        bucket: &'a str,
        key: &'a str,
        value: Bytes,
        expect: Expect,
    ) -> Answer<'a, u64> {
        forward!(self, Never, value, |remote| remote
            .put(bucket, key, value, expect))
    }

    fn delete<'a>(&'a self, bucket: &'a str, key: &'a str, expect: Expect) -> Answer<'a, bool> {
        forward!(self, Never, |remote| remote.delete(bucket, key, expect))
    }

    fn list<'a>(
        &'a self,
        bucket: &'a str,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> Answer<'a, Page> {
        forward!(self, Harmless, |remote| remote
            .list(bucket, prefix, after, limit))
    }

    fn watch<'a>(&'a self, bucket: &'a str, prefix: &'a str) -> Answer<'a, Watch> {
        forward!(self, Harmless, |remote| remote.watch(bucket, prefix))
    }

    fn open_session<'a>(&'a self, node: &'a str, ttl: Duration) -> Answer<'a, Session> {
        // The second one ends the first.
        forward!(self, Harmless, |remote| remote.open_session(node, ttl))
    }

    fn touch_session(&self, session: Session) -> Answer<'_, ()> {
        forward!(self, Harmless, |remote| remote.touch_session(session))
    }

    fn close_session(&self, session: Session) -> Answer<'_, ()> {
        forward!(self, Harmless, |remote| remote.close_session(session))
    }

    fn put_ephemeral<'a>(
        &'a self,
        session: Session,
        bucket: &'a str,
        key: &'a str,
        value: Bytes,
        expect: Expect,
    ) -> Answer<'a, u64> {
        forward!(self, Never, value, |remote| remote
            .put_ephemeral(session, bucket, key, value, expect))
    }

    fn append<'a>(&'a self, queue: &'a str, item: NewItem) -> Answer<'a, Appended> {
        // Its id keeps it from being there twice.
        forward!(self, Harmless, item, |remote| remote.append(queue, item))
    }

    fn read<'a>(
        &'a self,
        queue: &'a str,
        after_seq: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Answer<'a, Vec<Item>> {
        forward!(self, Harmless, |remote| remote
            .read(queue, after_seq, limit, max_bytes))
    }

    fn ack<'a>(&'a self, queue: &'a str, up_to_seq: u64) -> Answer<'a, u64> {
        forward!(self, Harmless, |remote| remote.ack(queue, up_to_seq))
    }

    fn depth<'a>(&'a self, queue: &'a str) -> Answer<'a, Depth> {
        forward!(self, Harmless, |remote| remote.depth(queue))
    }

    fn publish<'a>(&'a self, subject: &'a str, value: Bytes) -> Answer<'a, ()> {
        forward!(self, Never, value, |remote| remote.publish(subject, value))
    }

    fn subscribe<'a>(&'a self, subject: &'a str) -> Answer<'a, Subscription> {
        forward!(self, Harmless, |remote| remote.subscribe(subject))
    }
}
