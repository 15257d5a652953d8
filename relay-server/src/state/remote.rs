//! The state of another node, over a stream of bytes that [`super::serve()`] answers.

use super::frames::{FrameReader, Outgoing, QUEUE, write_frames};
use super::serve::IN_FLIGHT;
use super::subject::{Speaker, subscription};
use super::wire::proto::{self, NodeFrame, Nothing, node_frame::Body};
use super::wire::{boxed, broken};
use super::{
    Answer, Appended, Depth, Entry, Event, Expect, Item, MAX_PUBLISH, MAX_VALUE, NewItem, Page,
    Session, State, StateError, Subscription, WATCH_DEPTH, Watch, name,
};
use bytes::Bytes;
use hither_util::sync::Mutex;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Whom pushes of one number go to.
struct Sink {
    to: To,
    /// Cancelled when the caller has dropped its end, or when it lags: the other side is told to
    /// stop.
    gone: CancellationToken,
}

enum To {
    Watch(mpsc::Sender<Event>),
    /// With the number of values the other side has dropped so far.
    Subscription(Speaker, u64),
}

#[derive(Default)]
struct WaitingCalls {
    ended: bool,
    calls: HashMap<u64, oneshot::Sender<Body>>,
    sinks: HashMap<u64, Sink>,
}

/// What the callers and the task behind the stream share.
struct Client {
    waiting: Mutex<WaitingCalls>,
    slots: Semaphore,
    next: AtomicU64,
    /// Cancelled when the stream has ended.
    ended: CancellationToken,
}

/// A [`State`] that another node keeps. When the stream breaks, what is under way fails with
/// [`StateError::Disconnected`], watches and subscriptions end, and so does everything asked later.
///
/// Many calls may be under way: their requests are written one behind the other and answered in any
/// order.
pub struct Remote {
    client: Arc<Client>,
    outgoing: mpsc::Sender<Outgoing>,
    _stop: DropGuard,
}

impl Remote {
    /// Begins on a stream whose other end is known to belong to the fleet. Must be called within a
    /// tokio runtime.
    pub fn new<R, W>(reader: R, writer: W) -> Self
    where
        R: AsyncRead + Unpin + Send + 'static,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let client = Arc::new(Client {
            waiting: Mutex::default(),
            slots: Semaphore::new(IN_FLIGHT),
            next: AtomicU64::new(1),
            ended: CancellationToken::new(),
        });
        let (outgoing, frames) = mpsc::channel(QUEUE);
        let stop = CancellationToken::new();
        let (stopped, driven) = (stop.clone(), Arc::clone(&client));
        tokio::spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = driven.receive(FrameReader::new(reader)) => {}
                result = write_frames(writer, frames) => {
                    if let Err(error) = result {
                        tracing::debug!(%error, "the stream to the state broke");
                    }
                }
            }
            driven.end();
        });
        Self {
            client,
            outgoing,
            _stop: stop.drop_guard(),
        }
    }

    /// Whether the stream has ended: every call will fail.
    pub fn is_ended(&self) -> bool {
        self.client.ended.is_cancelled()
    }

    /// Waits until the stream has ended.
    pub async fn ended(&self) {
        self.client.ended.cancelled().await;
    }

    async fn call(&self, body: Body) -> Result<Body, StateError> {
        self.call_as(self.client.number(), body).await
    }

    async fn call_as(&self, id: u64, body: Body) -> Result<Body, StateError> {
        let _slot = self
            .client
            .slots
            .acquire()
            .await
            .map_err(|_| StateError::Disconnected)?;
        let (tell, answered) = oneshot::channel();
        let _call = self.client.begin_call(id, tell)?;
        self.outgoing
            .send(Outgoing::new(id, body))
            .await
            .map_err(|_| StateError::Disconnected)?;
        match answered.await.map_err(|_| StateError::Disconnected)? {
            Body::Failed(failed) => Err(failed.into()),
            body => Ok(body),
        }
    }

    /// Begins a watch or subscription: its sink is there before the request is sent.
    async fn push_to(&self, body: Body, to: To, gone: CancellationToken) -> Result<(), StateError> {
        let id = self.client.number();
        self.client.add_sink(
            id,
            Sink {
                to,
                gone: gone.clone(),
            },
        )?;
        let (client, outgoing) = (Arc::clone(&self.client), self.outgoing.downgrade());
        tokio::spawn(async move {
            tokio::select! {
                () = client.ended.cancelled() => return,
                () = gone.cancelled() => {}
            }
            client.lock().sinks.remove(&id);
            if let Some(outgoing) = outgoing.upgrade() {
                // An error means that the stream has ended.
                let _ = outgoing
                    .send(Outgoing::new(id, Body::Stop(Nothing {})))
                    .await;
            }
        });
        match self.call_as(id, body).await? {
            Body::Done(Nothing {}) => Ok(()),
            _ => Err(unexpected()),
        }
    }
}

/// A call under way; forgotten when dropped.
struct Call<'a> {
    client: &'a Client,
    id: u64,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.client.lock().calls.remove(&self.id);
    }
}

impl Client {
    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn begin_call(&self, id: u64, tell: oneshot::Sender<Body>) -> Result<Call<'_>, StateError> {
        let mut waiting = self.lock();
        if waiting.ended {
            return Err(StateError::Disconnected);
        }
        waiting.calls.insert(id, tell);
        Ok(Call { client: self, id })
    }

    fn add_sink(&self, id: u64, sink: Sink) -> Result<(), StateError> {
        let mut waiting = self.lock();
        if waiting.ended {
            return Err(StateError::Disconnected);
        }
        waiting.sinks.insert(id, sink);
        Ok(())
    }

    /// Hands out what comes until the stream ends.
    async fn receive<R: AsyncRead + Unpin>(&self, mut frames: FrameReader<R>) {
        loop {
            match frames.next().await {
                Ok(Some(NodeFrame {
                    id,
                    body: Some(body),
                })) => self.take(id, body),
                Ok(Some(NodeFrame { body: None, .. })) => {} // of a later version
                Ok(None) => return,
                Err(error) => {
                    tracing::debug!(%error, "the stream from the state broke");
                    return;
                }
            }
        }
    }

    /// Never waits: a caller that is slow must not hold up the others.
    fn take(&self, id: u64, body: Body) {
        let mut waiting = self.lock();
        match body {
            Body::Event(event) => {
                let Some(sink) = waiting.sinks.get(&id) else {
                    return;
                };
                if !sink.tell(event.into()) {
                    waiting.sinks.remove(&id);
                }
            }
            Body::Published(published) => {
                let Some(sink) = waiting.sinks.get_mut(&id) else {
                    return;
                };
                if !sink.say(published) {
                    waiting.sinks.remove(&id);
                }
            }
            body => {
                if let Some(tell) = waiting.calls.remove(&id) {
                    let _ = tell.send(body); // nobody may be waiting any more
                }
            }
        }
    }

    fn end(&self) {
        self.ended.cancel();
        self.slots.close();
        // Dropping what waits tells all of them.
        *self.lock() = WaitingCalls {
            ended: true,
            ..WaitingCalls::default()
        };
    }

    // No code that can panic leaves anything half done under this lock.
    fn lock(&self) -> MutexGuard<'_, WaitingCalls> {
        self.waiting.lock()
    }
}

impl Sink {
    /// Tells a watcher; `false` after the last event. The last place of its channel is for telling
    /// that it lags.
    fn tell(&self, event: Event) -> bool {
        let To::Watch(events) = &self.to else {
            return true;
        };
        let lags = events.capacity() <= 1;
        let event = if lags { Event::Lagged } else { event };
        let last = matches!(event, Event::Lagged | Event::Disconnected);
        let told = events.try_send(event).is_ok();
        if lags {
            self.gone.cancel();
        }
        told && !last
    }

    /// Tells a subscriber; `false` after the last value.
    fn say(&mut self, published: proto::Published) -> bool {
        let To::Subscription(speaker, dropped) = &mut self.to else {
            return true;
        };
        speaker.add_dropped(published.dropped.saturating_sub(*dropped));
        *dropped = published.dropped.max(*dropped);
        !published.ended && speaker.say(published.value)
    }
}

fn unexpected() -> StateError {
    broken("an answer to another question")
}

fn key(bucket: &str, key: &str) -> Option<proto::Key> {
    Some(proto::Key {
        bucket: bucket.to_owned(),
        key: key.to_owned(),
    })
}

macro_rules! expect {
    ($body:expr, $variant:ident) => {
        match $body {
            Body::$variant(value) => Ok(value),
            _ => Err(unexpected()),
        }
    };
}

// Names and sizes are checked here too: what the other side would refuse must not fill the stream
// first.
impl State for Remote {
    fn get<'a>(&'a self, bucket: &'a str, key: &'a str) -> Answer<'a, Option<Entry>> {
        boxed(async move {
            let get = proto::Get {
                key: checked_key(bucket, key)?,
            };
            Ok(expect!(self.call(Body::Get(get)).await?, Entry)?
                .entry
                .map(Into::into))
        })
    }

    fn put<'a>(
        &'a self,
        bucket: &'a str,
        key: &'a str,
        value: Bytes,
        expect: Expect,
    ) -> Answer<'a, u64> {
        self.put_ephemeral(Session(0), bucket, key, value, expect)
    }

    fn delete<'a>(&'a self, bucket: &'a str, key: &'a str, expect: Expect) -> Answer<'a, bool> {
        boxed(async move {
            let delete = proto::Delete {
                key: checked_key(bucket, key)?,
                expect: Some(expect.into()),
            };
            Ok(expect!(self.call(Body::Delete(delete)).await?, Number)? != 0)
        })
    }

    fn list<'a>(
        &'a self,
        bucket: &'a str,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> Answer<'a, Page> {
        boxed(async move {
            name::bucket(bucket)?;
            name::prefix(prefix)?;
            after.map_or(Ok(()), name::key)?;
            let list = proto::List {
                bucket: bucket.to_owned(),
                prefix: prefix.to_owned(),
                after: after.unwrap_or_default().to_owned(),
                limit: saturated(limit),
            };
            expect!(self.call(Body::List(list)).await?, Page)?.try_into()
        })
    }

    fn watch<'a>(&'a self, bucket: &'a str, prefix: &'a str) -> Answer<'a, Watch> {
        boxed(async move {
            name::bucket(bucket)?;
            name::prefix(prefix)?;
            let (events, watch) = mpsc::channel(WATCH_DEPTH + 1);
            let gone = CancellationToken::new();
            let watch = Watch::new(watch, Some(gone.clone().drop_guard()));
            let body = proto::Key {
                bucket: bucket.to_owned(),
                key: prefix.to_owned(),
            };
            self.push_to(Body::Watch(body), To::Watch(events), gone)
                .await?;
            Ok(watch)
        })
    }

    fn open_session<'a>(&'a self, node: &'a str, ttl: Duration) -> Answer<'a, Session> {
        boxed(async move {
            name::node(node)?;
            let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
            let open = proto::OpenSession {
                node: node.to_owned(),
                ttl_ms,
            };
            expect!(self.call(Body::OpenSession(open)).await?, Number).map(Session)
        })
    }

    fn touch_session(&self, session: Session) -> Answer<'_, ()> {
        boxed(
            async move { expect!(self.call(Body::TouchSession(session.0)).await?, Done).map(drop) },
        )
    }

    fn close_session(&self, session: Session) -> Answer<'_, ()> {
        boxed(
            async move { expect!(self.call(Body::CloseSession(session.0)).await?, Done).map(drop) },
        )
    }

    fn put_ephemeral<'a>(
        &'a self,
        session: Session,
        bucket: &'a str,
        key: &'a str,
        value: Bytes,
        expect: Expect,
    ) -> Answer<'a, u64> {
        boxed(async move {
            let key = checked_key(bucket, key)?;
            StateError::within("a value", value.len(), MAX_VALUE)?;
            let put = proto::Put {
                key,
                value,
                expect: Some(expect.into()),
                session: session.0,
            };
            expect!(self.call(Body::Put(put)).await?, Number)
        })
    }

    fn append<'a>(&'a self, queue: &'a str, item: NewItem) -> Answer<'a, Appended> {
        boxed(async move {
            name::queue(queue)?;
            item.check()?;
            let append = proto::Append::new(queue, item);
            expect!(self.call(Body::Append(append)).await?, Appended).map(Into::into)
        })
    }

    fn read<'a>(
        &'a self,
        queue: &'a str,
        after_seq: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Answer<'a, Vec<Item>> {
        boxed(async move {
            name::queue(queue)?;
            let (limit, max_bytes) = (saturated(limit), saturated(max_bytes));
            let read = proto::Read {
                queue: queue.to_owned(),
                after_seq,
                limit,
                max_bytes,
            };
            let items = expect!(self.call(Body::Read(read)).await?, Items)?.items;
            items.into_iter().map(Item::try_from).collect()
        })
    }

    fn ack<'a>(&'a self, queue: &'a str, up_to_seq: u64) -> Answer<'a, u64> {
        boxed(async move {
            name::queue(queue)?;
            let ack = proto::Ack {
                queue: queue.to_owned(),
                up_to_seq,
            };
            expect!(self.call(Body::Ack(ack)).await?, Number)
        })
    }

    fn depth<'a>(&'a self, queue: &'a str) -> Answer<'a, Depth> {
        boxed(async move {
            name::queue(queue)?;
            expect!(self.call(Body::Depth(queue.to_owned())).await?, DepthIs).map(Into::into)
        })
    }

    fn publish<'a>(&'a self, subject: &'a str, value: Bytes) -> Answer<'a, ()> {
        boxed(async move {
            name::subject(subject)?;
            StateError::within("a published value", value.len(), MAX_PUBLISH)?;
            let publish = proto::Publish {
                subject: subject.to_owned(),
                value,
            };
            expect!(self.call(Body::Publish(publish)).await?, Done).map(drop)
        })
    }

    fn subscribe<'a>(&'a self, subject: &'a str) -> Answer<'a, Subscription> {
        boxed(async move {
            name::subject(subject)?;
            let gone = CancellationToken::new();
            let (speaker, subscription) = subscription(Some(gone.clone().drop_guard()));
            let to = To::Subscription(speaker, 0);
            self.push_to(Body::Subscribe(subject.to_owned()), to, gone)
                .await?;
            Ok(subscription)
        })
    }
}

fn checked_key(bucket: &str, name: &str) -> Result<Option<proto::Key>, StateError> {
    name::bucket(bucket)?;
    name::key(name)?;
    Ok(key(bucket, name))
}

fn saturated(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
