//! Answers another node that asks for this node's state.

use super::frames::{FrameReader, Outgoing, QUEUE, write_frames};
use super::wire::proto::{self, NodeFrame, Nothing, node_frame::Body};
use super::wire::{broken, required};
use super::{Event, Expect, Session, State, StateError, Subscription, Watch};
use prost::Message;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};

/// Requests of one stream under way at a time; further ones are left in the stream.
pub(super) const IN_FLIGHT: usize = 1024;
/// Watches and subscriptions of one stream.
const MAX_PUSHES: usize = 256;
/// KiB of requests of one stream under way at a time.
const IN_FLIGHT_KIB: usize = 64 * 1024;
/// Reads and lists of one stream under way at a time: their answers are the large ones.
const LARGE: usize = 16;

/// Why a stream of another node ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The stream broke.
    #[error("the stream broke: {0}")]
    Io(#[from] io::Error),
    /// The other node broke the protocol.
    #[error("the other node broke the protocol: {0}")]
    Protocol(&'static str),
}

/// Answers what comes from `reader` on `writer` until the stream ends. Whoever is at the other end
/// must have proven before that it belongs to the fleet: it may do anything. Dropping this ends it.
pub async fn serve<R, W>(state: Arc<dyn State>, reader: R, writer: W) -> Result<(), ServeError>
where
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send,
{
    let (outgoing, frames) = mpsc::channel(QUEUE);
    let server = Server {
        state,
        outgoing,
        tasks: JoinSet::new(),
        pushes: HashMap::new(),
        requests: Arc::new(Semaphore::new(IN_FLIGHT)),
        kib: Arc::new(Semaphore::new(IN_FLIGHT_KIB)),
        large: Arc::new(Semaphore::new(LARGE)),
    };
    tokio::select! {
        result = server.run(FrameReader::new(reader)) => result,
        // It ends by itself only by an error: the server holds a sender.
        result = write_frames(writer, frames) => result.map_err(ServeError::Io),
    }
}

struct Server {
    state: Arc<dyn State>,
    outgoing: mpsc::Sender<Outgoing>,
    /// Requests under way, watches and subscriptions; aborted when the stream ends.
    tasks: JoinSet<u64>,
    pushes: HashMap<u64, AbortHandle>,
    requests: Arc<Semaphore>,
    kib: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

/// Room for one request, until it is answered.
struct Slot {
    _request: OwnedSemaphorePermit,
    _kib: OwnedSemaphorePermit,
}

impl Server {
    async fn run<R: AsyncRead + Unpin>(
        mut self,
        mut frames: FrameReader<R>,
    ) -> Result<(), ServeError> {
        loop {
            tokio::select! {
                frame = next(&mut frames, &self.requests) => {
                    let Some((frame, _request)) = frame? else { return Ok(()) };
                    let kib = u32::try_from(frame.encoded_len() / 1024).unwrap_or(u32::MAX);
                    let _kib = Arc::clone(&self.kib).acquire_many_owned(kib).await.map_err(io::Error::other)?;
                    self.take(frame, Slot { _request, _kib })?;
                }
                Some(ended) = self.tasks.join_next() => {
                    if let Ok(id) = ended {
                        self.pushes.remove(&id);
                    }
                }
            }
        }
    }

    fn take(&mut self, frame: NodeFrame, slot: Slot) -> Result<(), ServeError> {
        let NodeFrame { id, body } = frame;
        // A request of a later version: the other side must not wait for an answer.
        let Some(body) = body else {
            return Err(ServeError::Protocol("an unknown request"));
        };
        let (state, outgoing) = (Arc::clone(&self.state), self.outgoing.clone());
        match body {
            Body::Stop(Nothing {}) => {
                if let Some(push) = self.pushes.remove(&id) {
                    push.abort();
                }
            }
            Body::Watch(_) | Body::Subscribe(_) => {
                if self.pushes.contains_key(&id) {
                    return Err(ServeError::Protocol("a number was used twice"));
                }
                let full = self.pushes.len() >= MAX_PUSHES;
                let handle = self.tasks.spawn(async move {
                    let push = if full {
                        Err(StateError::Busy("pushes".into()))
                    } else {
                        begin(&*state, body).await
                    };
                    // An error means that the stream has ended.
                    let _ = push_all(id, push, slot, &outgoing).await;
                    id
                });
                self.pushes.insert(id, handle);
            }
            body => {
                let large = Arc::clone(&self.large);
                self.tasks.spawn(async move {
                    let mut held = None;
                    if matches!(body, Body::Read(_) | Body::List(_)) {
                        held = large.acquire_owned().await.ok();
                    }
                    let body = answer(&*state, body)
                        .await
                        .unwrap_or_else(|error| Body::Failed(error.into()));
                    let _ = outgoing
                        .send(Outgoing {
                            held,
                            ..Outgoing::new(id, body)
                        })
                        .await;
                    drop(slot);
                    0 // the number of no request
                });
            }
        }
        Ok(())
    }
}

/// The next frame, when there is room for its request. May be dropped and called again.
async fn next<R: AsyncRead + Unpin>(
    frames: &mut FrameReader<R>,
    requests: &Arc<Semaphore>,
) -> io::Result<Option<(NodeFrame, OwnedSemaphorePermit)>> {
    let slot = Arc::clone(requests)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    Ok(frames.next().await?.map(|frame| (frame, slot)))
}

enum Push {
    Watch(Watch),
    Subscription(Subscription),
}

async fn begin(state: &dyn State, body: Body) -> Result<Push, StateError> {
    match body {
        Body::Watch(key) => state.watch(&key.bucket, &key.key).await.map(Push::Watch),
        Body::Subscribe(subject) => state.subscribe(&subject).await.map(Push::Subscription),
        _ => Err(broken("not a watch or subscription")),
    }
}

async fn push_all(
    id: u64,
    push: Result<Push, StateError>,
    slot: Slot,
    outgoing: &mpsc::Sender<Outgoing>,
) -> Result<(), mpsc::error::SendError<Outgoing>> {
    let send = |body| outgoing.send(Outgoing::new(id, body));
    let push = match push {
        Ok(push) => push,
        Err(error) => return send(Body::Failed(error.into())).await,
    };
    send(Body::Done(Nothing {})).await?;
    drop(slot);
    match push {
        Push::Watch(mut watch) => loop {
            let event = watch.next().await;
            let last = matches!(event, Event::Lagged | Event::Disconnected);
            send(Body::Event(event.into())).await?;
            if last {
                return Ok(());
            }
        },
        Push::Subscription(mut subscription) => loop {
            let value = subscription.next().await;
            let ended = value.is_none();
            let (value, dropped) = (value.unwrap_or_default(), subscription.dropped());
            send(Body::Published(proto::Published {
                value,
                dropped,
                ended,
            }))
            .await?;
            if ended {
                return Ok(());
            }
        },
    }
}

/// Answers one request.
async fn answer(state: &dyn State, body: Body) -> Result<Body, StateError> {
    let done = |()| Body::Done(Nothing {});
    match body {
        Body::Get(get) => {
            let key = required(get.key)?;
            let entry = state.get(&key.bucket, &key.key).await?.map(Into::into);
            Ok(Body::Entry(proto::MaybeEntry { entry }))
        }
        Body::Put(put) => {
            let (key, expect) = (required(put.key)?, Expect::try_from(put.expect)?);
            let (bucket, key, value) = (key.bucket.as_str(), key.key.as_str(), put.value);
            match put.session {
                0 => state.put(bucket, key, value, expect).await,
                session => {
                    state
                        .put_ephemeral(Session(session), bucket, key, value, expect)
                        .await
                }
            }
            .map(Body::Number)
        }
        Body::Delete(delete) => {
            let (key, expect) = (required(delete.key)?, Expect::try_from(delete.expect)?);
            state
                .delete(&key.bucket, &key.key, expect)
                .await
                .map(|there| Body::Number(there.into()))
        }
        Body::List(list) => {
            let after = Some(list.after.as_str()).filter(|after| !after.is_empty());
            let page = state
                .list(&list.bucket, &list.prefix, after, list.limit as usize)
                .await?;
            Ok(Body::Page(page.into()))
        }
        Body::OpenSession(open) => {
            let ttl = Duration::from_millis(open.ttl_ms);
            state
                .open_session(&open.node, ttl)
                .await
                .map(|session| Body::Number(session.0))
        }
        Body::TouchSession(session) => state.touch_session(Session(session)).await.map(done),
        Body::CloseSession(session) => state.close_session(Session(session)).await.map(done),
        Body::Append(append) => {
            let (queue, item) = append.item()?;
            state
                .append(&queue, item)
                .await
                .map(|appended| Body::Appended(appended.into()))
        }
        Body::Read(read) => {
            let (limit, max_bytes) = (read.limit as usize, read.max_bytes as usize);
            let items = state
                .read(&read.queue, read.after_seq, limit, max_bytes)
                .await?;
            Ok(Body::Items(proto::Items {
                items: items.into_iter().map(Into::into).collect(),
            }))
        }
        Body::Ack(ack) => state.ack(&ack.queue, ack.up_to_seq).await.map(Body::Number),
        Body::Depth(queue) => state
            .depth(&queue)
            .await
            .map(|depth| Body::DepthIs(depth.into())),
        Body::Publish(publish) => state
            .publish(&publish.subject, publish.value)
            .await
            .map(done),
        _ => Err(broken("not a request")),
    }
}
