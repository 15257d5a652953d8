//! Chunks from the store: the serving side of bulk streams.
//!
//! Three things go on at once: requests come in, chunks are read (a mebibyte or two at a time, the
//! next ones while the ones before are written), and answers go out. A reader that asks and asks
//! fills nothing but its own socket; one that takes nothing for [`hither_util::pieces::STALLED`] is cut off, so that it
//! holds no place.

use super::read::Subject;
use crate::node::Node;
use crate::ops::labels::Request;
use crate::store::{Buffers, ReadChunk, ReadError, Store, StoredVersion};
use bytes::Bytes;
use hither_carrier::{MessageReader, RecvHalf, SendHalf, Stream};
use hither_proto::{DeviceId, Message, PositionRange, Ranges, Space, Want, encode_frame};
use hither_util::pieces::{in_time, pieces};
use hither_util::sync::Mutex;
use roaring::RoaringBitmap;
use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, MutexGuard};
use std::time::Instant;
use tokio::sync::{Notify, mpsc};

/// Requests that may wait before nothing more is read from the stream.
const MAX_WAITING: usize = 64;
/// Ranges of positions that may wait, likewise.
const MAX_WAITING_RANGES: usize = 65_536;
/// Bytes that are read at once, about: with what is being written and what waits in between, three
/// times as many are in memory for one stream.
const BATCH: u64 = 2 << 20;
/// Memory that a stream keeps for what it reads: three times that, and what a batch is longer than
/// thought.
pub(crate) const KEPT: usize = 8 << 20;
/// When to come back after the store has failed.
const TROUBLE_MS: u32 = 2000;
/// Most tokens for reading by GET that one stream is given.
const MAX_TOKENS: usize = 8;

/// Requests that were not answered yet.
#[derive(Default)]
struct Requests {
    state: Mutex<WaitingRequests>,
    changed: Notify,
}

#[derive(Default)]
struct WaitingRequests {
    queue: VecDeque<(Want, Instant)>,
    ranges: usize,
    /// The one that is being answered.
    current: Option<u64>,
    /// Whether that was taken back.
    cancelled: bool,
}

impl Requests {
    fn lock(&self) -> MutexGuard<'_, WaitingRequests> {
        self.state.lock()
    }

    fn add(&self, want: Want) {
        let mut state = self.lock();
        state.ranges += want.ranges.as_slice().len();
        state.queue.push_back((want, Instant::now()));
        drop(state);
        self.changed.notify_waiters();
    }

    /// Takes a request back; what waits of it is forgotten, and it still ends with a message.
    fn cancel(&self, request: u64) {
        let mut state = self.lock();
        if state.current == Some(request) {
            state.cancelled = true;
        }
        for (want, _) in state
            .queue
            .iter_mut()
            .filter(|(want, _)| want.request == request)
        {
            want.ranges = Ranges::default();
        }
        state.ranges = state
            .queue
            .iter()
            .map(|(want, _)| want.ranges.as_slice().len())
            .sum();
    }

    fn is_cancelled(&self, request: u64) -> bool {
        let state = self.lock();
        state.cancelled && state.current == Some(request)
    }

    async fn next(&self) -> (Want, Instant) {
        self.wait(|state| {
            let next = state.queue.pop_front()?;
            state.ranges -= next.0.ranges.as_slice().len();
            state.current = Some(next.0.request);
            state.cancelled = false;
            Some(next)
        })
        .await
    }

    async fn room(&self) {
        self.wait(|state| {
            (state.queue.len() < MAX_WAITING && state.ranges < MAX_WAITING_RANGES).then_some(())
        })
        .await;
    }

    async fn wait<T>(&self, mut check: impl FnMut(&mut WaitingRequests) -> Option<T>) -> T {
        let mut changed = std::pin::pin!(self.changed.notified());
        loop {
            changed.as_mut().enable();
            let found = check(&mut self.lock());
            if let Some(found) = found {
                self.changed.notify_waiters();
                return found;
            }
            changed.as_mut().await;
            changed.set(self.changed.notified());
        }
    }
}

/// What goes to the writing side.
enum Out {
    Chunks {
        request: u64,
        chunks: Vec<ReadChunk>,
        asked: Option<Instant>,
    },
    Message(Message),
}

/// Serves one bulk stream until it ends.
pub(super) async fn run(
    node: Arc<Node>,
    stream: Stream,
    mut reader: MessageReader,
    subject: Subject,
    version: StoredVersion,
) {
    let Some(store) = node.store.clone() else {
        return;
    };
    let _counted = node.metrics.download();
    let Stream {
        mut send,
        mut recv,
        device,
        remote,
        ..
    } = stream;
    let tokens = TokenSource {
        node: Arc::clone(&node),
        device,
        address: remote.ip(),
        subject: subject.clone(),
        given: 0,
    };
    let requests = Arc::new(Requests::default());
    // One batch waits while another is written and a third is read.
    let (out, outs) = mpsc::channel(1);
    let buffers = Buffers::new(KEPT);
    let source = ChunkSource {
        node: Arc::clone(&node),
        store,
        buffers,
        subject,
        version,
    };
    // A task of its own: reading goes on while another processor encrypts what was read.
    let (asked, said) = (Arc::clone(&requests), out.downgrade());
    node.spawn(async move {
        let ended = out.clone();
        tokio::select! {
            () = prepare(&asked, source, out) => {}
            () = ended.closed() => {}
        }
    });
    tokio::select! {
        ended = listen(&requests, &mut reader, &mut recv, tokens, said) => {
            if let Err(error) = ended {
                tracing::debug!(%error, "a reader's stream broke");
            }
        }
        written = write_all(&node, &requests, &mut send, outs) => {
            if let Err(error) = written {
                tracing::debug!(%error, "a reader does not read");
                send.reset();
            }
        }
    }
}

/// Gives one stream's reader tokens for reading by GET.
struct TokenSource {
    node: Arc<Node>,
    device: DeviceId,
    address: IpAddr,
    subject: Subject,
    given: usize,
}

impl TokenSource {
    /// The answer to a request for a token.
    fn answer(&mut self) -> Message {
        let tokens = &self.node.services.tokens;
        let granted = match self.given < MAX_TOKENS {
            true => tokens.grant(self.device, self.address, self.subject.clone()),
            false => None,
        };
        match granted {
            Some((token, lives)) => {
                self.given += 1;
                Message::ChunkToken {
                    token: Some(token),
                    lives_ms: u32::try_from(lives.as_millis()).unwrap_or(u32::MAX),
                }
            }
            None => Message::ChunkToken {
                token: None,
                lives_ms: 0,
            },
        }
    }
}

/// Takes requests, until the reader closes its way.
async fn listen(
    requests: &Requests,
    reader: &mut MessageReader,
    recv: &mut RecvHalf,
    mut tokens: TokenSource,
    out: mpsc::WeakSender<Out>,
) -> io::Result<()> {
    loop {
        requests.room().await;
        match reader.next(recv).await.map_err(io::Error::other)? {
            Some(Message::Want(want)) => requests.add(want),
            Some(Message::Cancel { request }) => requests.cancel(request),
            Some(Message::ChunkTokenRequest) => {
                // Without anybody who answers the stream is about to end.
                if let Some(out) = out.upgrade() {
                    let _ = out.send(Out::Message(tokens.answer())).await;
                }
            }
            Some(_) => {}
            None => return Ok(()),
        }
    }
}

/// Answers requests in their order; ends when nobody takes the answers.
async fn prepare(requests: &Requests, mut source: ChunkSource, out: mpsc::Sender<Out>) {
    loop {
        let (want, asked) = requests.next().await;
        let request = want.request;
        let last = match source.answer(requests, &want, asked, &out).await {
            Ok(()) => Message::Served { request },
            Err(Stop::Trouble) => Message::Busy {
                request,
                retry_after_ms: TROUBLE_MS,
            },
            Err(Stop::Closed) => return,
        };
        if out.send(Out::Message(last)).await.is_err() {
            return;
        }
    }
}

/// Why a request was not answered to its end.
enum Stop {
    /// The store failed.
    Trouble,
    /// Nobody takes the answers.
    Closed,
}

/// The share in the store, as one stream reads it.
struct ChunkSource {
    node: Arc<Node>,
    store: Arc<Store>,
    /// Memory that is used for one batch after the other.
    buffers: Arc<Buffers>,
    subject: Subject,
    /// The version that was asked for last.
    version: StoredVersion,
}

impl ChunkSource {
    async fn answer(
        &mut self,
        requests: &Requests,
        want: &Want,
        asked: Instant,
        out: &mpsc::Sender<Out>,
    ) -> Result<(), Stop> {
        let request = want.request;
        let Some(missing) = self.open(want).await else {
            return send(out, Out::Message(not_held(want, want.ranges.clone()))).await;
        };
        if !missing.is_empty() {
            let ranges = Ranges::from_bitmap(&missing);
            send(out, Out::Message(not_held(want, ranges))).await?;
        }
        let mut asked = Some(asked);
        for run in held_runs(want, &missing) {
            let mut start = run.start();
            while let Some(rest) = PositionRange::new(start, run.end().saturating_sub(start)) {
                if requests.is_cancelled(request) {
                    return Ok(());
                }
                let batch = batch(&self.version, want.space, rest);
                match self
                    .store
                    .read_into(&self.buffers, &self.version, want.space, batch)
                    .await
                {
                    Ok(chunks) => {
                        start = chunks.last().map_or(run.end(), |chunk| chunk.position + 1);
                        send(
                            out,
                            Out::Chunks {
                                request,
                                chunks,
                                asked: asked.take(),
                            },
                        )
                        .await?;
                    }
                    Err(ReadError::Store(error)) => {
                        tracing::error!(%error, "a chunk could not be read");
                        return Err(Stop::Trouble);
                    }
                    // Gone since it was looked up, or damaged on the disk: the reader finds it
                    // elsewhere.
                    Err(
                        ReadError::NotFound | ReadError::NotHeld { .. } | ReadError::Damaged { .. },
                    ) => {
                        send(out, Out::Message(not_held(want, one(start)))).await?;
                        start += 1;
                    }
                }
            }
        }
        Ok(())
    }

    /// Finds the version that is wanted, and says which of the positions are not held; `None`: the
    /// version is not here.
    async fn open(&mut self, want: &Want) -> Option<RoaringBitmap> {
        let number = |version: &StoredVersion| version.head.head().version;
        let wanted = want.ranges.to_bitmap();
        if number(&self.version) == want.version {
            let missing = &wanted - self.version.held.bitmap(want.space);
            if missing.is_empty() {
                return Some(missing);
            }
        }
        // Another version, or one that is still being uploaded.
        let versions = self.subject.versions(&self.node).await;
        self.version = versions
            .into_iter()
            .find(|version| number(version) == want.version)?;
        Some(&wanted - self.version.held.bitmap(want.space))
    }
}

/// The beginning of a range of a version that has about [`BATCH`] bytes, as far as can be told
/// before reading.
pub(crate) fn batch(version: &StoredVersion, space: Space, range: PositionRange) -> PositionRange {
    let head = version.head.head();
    let average = if space == Space::Data {
        head.bytes / u64::from(head.chunks.max(1))
    } else {
        64 * 1024
    };
    let count = u32::try_from(BATCH / average.max(1))
        .unwrap_or(u32::MAX)
        .clamp(1, range.count());
    PositionRange::new(range.start(), count).unwrap_or(range)
}

async fn send(out: &mpsc::Sender<Out>, what: Out) -> Result<(), Stop> {
    out.send(what).await.map_err(|_| Stop::Closed)
}

fn not_held(want: &Want, ranges: Ranges) -> Message {
    Message::NotHeld {
        request: want.request,
        ranges,
    }
}

fn one(position: u32) -> Ranges {
    PositionRange::new(position, 1).into_iter().collect()
}

/// The wanted ranges in their order, without what is missing.
fn held_runs(want: &Want, missing: &RoaringBitmap) -> Vec<PositionRange> {
    if missing.is_empty() {
        return want.ranges.as_slice().to_vec();
    }
    let mut runs: Vec<PositionRange> = Vec::new();
    for range in want.ranges.as_slice() {
        let mut start = range.start();
        for position in missing.range(range.iter()) {
            runs.extend(PositionRange::new(start, position - start));
            start = position + 1;
        }
        runs.extend(PositionRange::new(start, range.end().saturating_sub(start)));
    }
    runs
}

/// Writes answers until the stream breaks.
async fn write_all(
    node: &Node,
    requests: &Requests,
    send: &mut SendHalf,
    mut outs: mpsc::Receiver<Out>,
) -> io::Result<()> {
    while let Some(out) = outs.recv().await {
        match out {
            Out::Message(message) => write(send, &mut [encode_frame(&message).into()]).await?,
            Out::Chunks {
                request,
                chunks,
                asked,
            } => {
                if let Some(asked) = asked {
                    node.metrics.requests.of(Request::Want).since(asked);
                }
                for chunk in chunks {
                    if requests.is_cancelled(request) {
                        break;
                    }
                    let bytes = chunk.bytes.len() as u64;
                    write_chunk(send, request, chunk).await?;
                    node.metrics.downloaded.add(bytes);
                    node.metrics.chunks_out.add_one();
                }
            }
        }
    }
    Ok(())
}

async fn write_chunk(send: &mut SendHalf, request: u64, chunk: ReadChunk) -> io::Result<()> {
    let ReadChunk { position, bytes } = chunk;
    let header = Message::Chunk {
        request,
        position,
        length: bytes.len() as u32,
    };
    let mut header = Some(encode_frame(&header).into());
    for piece in pieces(bytes) {
        let mut parts: Vec<Bytes> = header.take().into_iter().chain([piece]).collect();
        in_time(send.send_all(&mut parts)).await?;
    }
    Ok(())
}

async fn write(send: &mut SendHalf, parts: &mut [Bytes]) -> io::Result<()> {
    in_time(send.send_all(parts)).await
}
