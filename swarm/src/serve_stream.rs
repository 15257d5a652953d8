//! Uploads: the serving side of bulk streams.
//!
//! The engine decides what is sent when; here chunks are read, sealed and written to the stream,
//! the next ones already being read while one is written. A reader that takes less than a piece in
//! its time ([`pieces`], 9 kB/s) is cut off, so that it holds neither a slot nor memory; a link may
//! be as slow as that, however long a chunk is.

use crate::links::watching::{self, Writing};
use crate::routes::ServeInput;
use crate::shares::{ServeError, Share, Version};
use crate::swarm::Swarm;
use crate::throttle::Limit;
use crate::{links, session};
use bytes::Bytes;
use hither_carrier::{
    CarrierKind, MessageReader, SendHalf, Stream, write_chunk_frame, write_message,
};
use hither_content::ReadChunkError;
use hither_engine::StreamId;
use hither_proto::limits::CHUNK_TAG;
use hither_proto::{DeviceId, Message, Ranges, ShareId, Space, Want};
use hither_util::pieces::{in_time, pieces};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::{Notify, mpsc};

/// Chunks that are read ahead of the one being written.
const AHEAD: usize = 4;

/// Inputs that may wait for the writing side before nothing more is read from the stream.
const MAX_BACKLOG: usize = 1024;

/// How far the writing side of a stream is behind. A device that asks and asks but does not read
/// what it is answered fills nothing but its own socket.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    waiting: AtomicUsize,
    taken: Notify,
}

impl Backlog {
    pub(crate) fn added(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    fn took(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.taken.notify_one();
    }

    /// Waits until there is room.
    async fn room(&self) {
        while self.waiting.load(Ordering::Relaxed) >= MAX_BACKLOG {
            self.taken.notified().await;
        }
    }
}

/// The work that the reading side hands to the writing side.
enum Out {
    Chunk {
        request: u64,
        space: Space,
        position: u32,
        payload: Bytes,
    },
    Message(Message),
    /// Everything of a request is through.
    End {
        request: u64,
    },
}

/// Serves one bulk stream until it ends.
pub(crate) async fn run(
    swarm: &Arc<Swarm>,
    share: &Arc<Share>,
    stream: Stream,
    mut reader: MessageReader,
) {
    let id = swarm.next_stream();
    let (progress, way) = (stream.progress(), stream.via);
    let Stream {
        send,
        mut recv,
        device,
        carrier,
        remote,
        ..
    } = stream;
    let _open = swarm
        .givings
        .open(share.id, device, links::way(carrier, remote));
    // The other device watches the connections it dialled itself; of a circuit this device has
    // dialled its own part.
    let writing = Writing::default();
    let mut loses = std::pin::pin!(async {
        let paths = swarm.links.paths();
        match carrier {
            CarrierKind::Relayed => tokio::select! {
                () = watching::loses(paths, way, &progress) => {}
                () = watching::takes_nothing(paths, way, &progress, &writing) => {}
                () = watching::takes_little(paths, way, &progress, &writing) => {}
            },
            CarrierKind::Quic | CarrierKind::Tcp => std::future::pending().await,
        }
    });
    let place = links::place(carrier, remote);
    let limit = swarm
        .throttles
        .up(device, swarm.links.name(device).as_ref(), place);

    let (sender, inputs) = mpsc::unbounded_channel();
    let (backlog, said) = (Arc::new(Backlog::default()), sender.clone());
    swarm
        .core
        .routes
        .add_upload(id, sender, Arc::clone(&backlog));
    swarm
        .core
        .with(|engine, _| engine.handle_stream_opened(id, device));
    let mut barred = std::pin::pin!(session::barred(swarm, share, &device));
    let to = Receiver {
        share: share.id,
        device,
        backlog: &backlog,
        limit: &limit,
        near: place.is_some_and(links::is_near),
        writing: &writing,
    };
    let mut serving = std::pin::pin!(serve(swarm, id, send, inputs, to));
    loop {
        let message = tokio::select! {
            message = async {
                backlog.room().await;
                reader.next(&mut recv).await
            } => message,
            () = &mut serving => break,
            () = &mut loses => {
                tracing::debug!(%device, "a circuit carries too little of what is sent: the next one is another way");
                break;
            }
            // The bytes on their way are reset: nothing more is given.
            () = share.ended.cancelled() => break,
            () = &mut barred => break,
            () = swarm.tasks.token.cancelled() => break,
        };
        match message {
            Ok(Some(Message::Want(want))) => swarm
                .core
                .with(|engine, _| engine.handle_want(id, share.id, want)),
            Ok(Some(Message::Cancel { request })) => swarm
                .core
                .with(|engine, _| engine.handle_cancel(id, request)),
            Ok(Some(Message::ChunkTokenRequest)) => {
                backlog.added();
                // Only stores give chunks by GET. An error means that nobody writes any more.
                let _ = said.send(ServeInput::Tell(Message::ChunkToken {
                    token: None,
                    lives_ms: 0,
                }));
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => {
                if carrier == CarrierKind::Relayed {
                    watching::given_up(swarm.links.paths(), way, &progress, &writing);
                }
                break;
            }
        }
    }
    swarm.core.routes.remove_upload(id);
    swarm.core.with(|engine, _| engine.handle_stream_closed(id));
}

/// The device at the other end of a stream, and what is minded on the way to it.
struct Receiver<'a> {
    share: ShareId,
    device: DeviceId,
    backlog: &'a Backlog,
    limit: &'a Limit,
    /// It is on the local network.
    near: bool,
    writing: &'a Writing,
}

/// Writes what the engine wants sent; ends when the stream breaks.
async fn serve(
    swarm: &Arc<Swarm>,
    id: StreamId,
    mut send: SendHalf,
    mut inputs: mpsc::UnboundedReceiver<ServeInput>,
    to: Receiver<'_>,
) {
    let (out, mut outs) = mpsc::channel(AHEAD);
    let mut running: HashMap<u64, Arc<AtomicBool>> = HashMap::new();
    loop {
        let next = tokio::select! {
            input = inputs.recv() => {
                let Some(input) = input else { return };
                to.backlog.took();
                match begin(swarm, input, &out, &mut running) {
                    Some(message) => Out::Message(message),
                    None => continue,
                }
            }
            Some(next) = outs.recv() => next,
        };
        let mut turn = None;
        if let Out::Chunk { payload, .. } = &next {
            to.limit.take(payload.len()).await;
            // Data that goes to the local network takes nothing from others.
            turn = (!to.near).then(|| swarm.foreground.turn(payload.len()));
        }
        let wrote = to.writing.during(write(&mut send, &next)).await;
        drop(turn);
        if wrote.is_err() {
            send.reset();
            running
                .values()
                .for_each(|stop| stop.store(true, Ordering::Relaxed));
            return;
        }
        if let Out::Chunk { space, payload, .. } = &next {
            let bytes = (payload.len() as u64).saturating_sub(u64::from(CHUNK_TAG));
            let givings = &swarm.givings;
            givings.sent(to.share, to.device, bytes, *space == Space::Data);
        }
        if let Out::End { request } = next {
            running.remove(&request);
            swarm
                .core
                .with(|engine, _| engine.request_sent(id, request));
        }
    }
}

/// Writes as long as the reader takes something.
async fn write(send: &mut SendHalf, out: &Out) -> std::io::Result<()> {
    match out {
        Out::Chunk {
            request,
            position,
            payload,
            ..
        } => {
            let header = Message::Chunk {
                request: *request,
                position: *position,
                length: payload.len() as u32,
            };
            for (first, piece) in pieces(payload.clone()).enumerate() {
                match first {
                    0 => in_time(write_chunk_frame(send, &header, piece)).await?,
                    _ => in_time(send.send_bytes(piece)).await?,
                }
            }
            Ok(())
        }
        Out::Message(message) => in_time(write_message(send, message)).await,
        Out::End { request } => {
            in_time(write_message(send, &Message::Served { request: *request })).await
        }
    }
}

/// Begins what the engine wants; returns the messages to send at once.
fn begin(
    swarm: &Arc<Swarm>,
    input: ServeInput,
    out: &mpsc::Sender<Out>,
    running: &mut HashMap<u64, Arc<AtomicBool>>,
) -> Option<Message> {
    match input {
        ServeInput::Serve { share, want } => {
            let stop = Arc::new(AtomicBool::new(false));
            running.insert(want.request, Arc::clone(&stop));
            let (swarm, out) = (Arc::clone(swarm), out.clone());
            // Reading blocks on the disk and sealing on the processor. The engine's slots bound how
            // many run.
            tokio::task::spawn_blocking(move || prepare(&swarm, share, &want, &out, &stop));
            None
        }
        ServeInput::Abort { request } => {
            if let Some(stop) = running.get(&request) {
                stop.store(true, Ordering::Relaxed);
            }
            None
        }
        ServeInput::Tell(message) => Some(message),
    }
}

/// Reads and seals the chunks of one request, in order.
fn prepare(
    swarm: &Arc<Swarm>,
    share: ShareId,
    want: &Want,
    out: &mpsc::Sender<Out>,
    stop: &AtomicBool,
) {
    let request = want.request;
    let version = swarm
        .shares
        .get(share)
        .and_then(|s| s.version(want.version));
    for position in want.ranges.positions() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let mut buffer = swarm.workers.buffers.take();
        let read = version
            .as_ref()
            .map(|v| v.read_sealed(want.space, position, &mut buffer));
        let next = match read {
            Some(Ok(())) => {
                let payload = PooledBuf::bytes(buffer, &swarm.workers.buffers);
                Out::Chunk {
                    request,
                    space: want.space,
                    position,
                    payload,
                }
            }
            Some(Err(error)) => {
                lost(
                    swarm,
                    share,
                    version.as_deref(),
                    want.space,
                    position,
                    &error,
                );
                Out::Message(not_held(request, position))
            }
            None => Out::Message(not_held(request, position)),
        };
        if out.blocking_send(next).is_err() {
            return;
        }
    }
    let _ = out.blocking_send(Out::End { request });
}

fn not_held(request: u64, position: u32) -> Message {
    let ranges: Ranges = hither_proto::PositionRange::new(position, 1)
        .into_iter()
        .collect();
    Message::NotHeld { request, ranges }
}

/// A chunk that was announced cannot be read any more: it leaves the inventory.
fn lost(
    swarm: &Swarm,
    share: ShareId,
    version: Option<&Version>,
    space: Space,
    position: u32,
    error: &ServeError,
) {
    match error {
        ServeError::Chunk(ReadChunkError::Changed { .. } | ReadChunkError::Gone { .. }) => {
            tracing::info!(?share, position, %error, "a shared file changed; what changed is withdrawn");
        }
        _ => tracing::warn!(?share, position, %error, "a chunk cannot be read"),
    }
    swarm.unreadable.mark(share);
    let current = swarm
        .shares
        .get(share)
        .and_then(|s| s.current())
        .map(|v| v.number());
    if space == Space::Data && version.is_some_and(|v| Some(v.number()) == current) {
        swarm
            .core
            .with(|engine, now| engine.withdraw(share, &std::iter::once(position).collect(), now));
    }
}

/// A buffer on its way through a carrier; given back when the carrier is done with it.
pub struct PooledBuf {
    buffer: Vec<u8>,
    buffers: Arc<crate::workers::Buffers>,
}

impl PooledBuf {
    /// Returns the contents of the buffer, as carriers take them.
    pub fn bytes(buffer: Vec<u8>, buffers: &Arc<crate::workers::Buffers>) -> Bytes {
        Bytes::from_owner(Self {
            buffer,
            buffers: Arc::clone(buffers),
        })
    }
}

impl AsRef<[u8]> for PooledBuf {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for PooledBuf {
    fn drop(&mut self) {
        self.buffers.give(std::mem::take(&mut self.buffer));
    }
}
