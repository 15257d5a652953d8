//! Download streams: the fetching side of bulk streams to one device over one carrier.
//!
//! A download stream opens its streams when it is first asked for something. On TCP and through a
//! relay it uses two, so that both ends can encrypt and decrypt on two cores; on QUIC one is as
//! fast as many. When a stream breaks, the whole download stream starts over: the engine is told
//! and gives out the work again.

mod watched;

use self::watched::Watched;
use crate::handshake::greet;
use crate::links::probing::ANSWERS;
use crate::links::watching::Watch;
use crate::routes::{DownloadInput, PeerKey, TransferInput};
use crate::session::DownloadStreams;
use crate::shares::Share;
use crate::swarm::Swarm;
use crate::throttle::Limit;
use crate::{circuits, links};
use futures::future::BoxFuture;
use hither_carrier::{CarrierKind, MessageReader, RecvHalf, SendHalf, Stream, write_message};
use hither_engine::{Arrival, Carrier, RequestId};
use hither_proto::limits::MAX_FRAME_UNPROVEN;
use hither_proto::{DeviceId, HolderKind, Message, Purpose, Space, Want};
use hither_util::sync::Mutex;
use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;

/// Streams of a download whose streams are connections of their own.
const TCP_STREAMS: usize = 2;
/// How long 256 KiB of a payload may take before its stream counts as broken; the engine moves the
/// work long before.
const PAYLOAD: Duration = Duration::from_secs(30);

/// The spaces that the positions of the requests on their way count. An entry goes with the answer
/// that ends its request, or when the request is taken back.
#[derive(Debug, Default)]
struct Spaces {
    on_their_way: Mutex<HashMap<RequestId, Space>>,
    /// Streams that are not read because this device takes its time.
    held: AtomicUsize,
}

impl Spaces {
    fn lock(&self) -> MutexGuard<'_, HashMap<RequestId, Space>> {
        self.on_their_way.lock()
    }

    /// Waits for something of this device; the other one is not to be blamed meanwhile.
    async fn hold<T>(&self, own: impl Future<Output = T>) -> T {
        self.held.fetch_add(1, Ordering::Relaxed);
        let done = own.await;
        self.held.fetch_sub(1, Ordering::Relaxed);
        done
    }

    /// Returns whether anything is to come, and nothing here keeps it from coming.
    fn expects(&self) -> bool {
        self.any() && self.held.load(Ordering::Relaxed) == 0
    }

    /// Returns the message for an input, and whether every stream is to send it; nothing for a
    /// request that was not made here or has ended.
    fn outgoing(&self, input: DownloadInput) -> Option<(Message, bool)> {
        match input {
            DownloadInput::Want {
                request,
                space,
                version,
                ranges,
            } => {
                self.lock().insert(request, space);
                Some((
                    Message::Want(Want {
                        request: request.0,
                        space,
                        version,
                        ranges,
                    }),
                    false,
                ))
            }
            // The engine takes answers that are on their way all the same for late: they need no
            // space.
            DownloadInput::Cancel { request } => self
                .ended(request)
                .then_some((Message::Cancel { request: request.0 }, true)),
        }
    }

    /// The space of a request that has not ended.
    fn of(&self, request: RequestId) -> Option<Space> {
        self.lock().get(&request).copied()
    }

    /// Returns whether anything is on its way.
    fn any(&self) -> bool {
        !self.lock().is_empty()
    }

    /// A request has ended; `false` when it was not on its way.
    fn ended(&self, request: RequestId) -> bool {
        self.lock().remove(&request).is_some()
    }
}

/// Makes the lanes to a device; the returned futures run them.
pub(crate) fn make(
    swarm: &Arc<Swarm>,
    share: &Arc<Share>,
    key: &PeerKey,
    control: CarrierKind,
) -> (DownloadStreams, Vec<BoxFuture<'static, ()>>) {
    let mut lanes = HashMap::new();
    let mut futures: Vec<BoxFuture<'static, ()>> = Vec::new();
    // A session through a relay may move to a direct way; beside a direct one a relay may carry
    // chunks.
    let carriers = Carrier::ALL.into_iter().filter(|carrier| match carrier {
        Carrier::Quic => control != CarrierKind::Tcp,
        Carrier::Tcp => true,
        // No relay stands in for a store.
        Carrier::Relayed => key.kind == HolderKind::Device,
    });
    for carrier in carriers {
        let (sender, receiver) = mpsc::unbounded_channel();
        lanes.insert(carrier, sender);
        let (device, kind) = (key.device, key.kind);
        let (swarm, share, left) = (Arc::clone(swarm), Arc::clone(share), Arc::default());
        let download = DownloadStream {
            swarm,
            share,
            device,
            kind,
            carrier,
            left,
        };
        futures.push(Box::pin(download.run(receiver, key.close.clone())));
    }
    (lanes, futures)
}

#[derive(Clone)]
struct DownloadStream {
    swarm: Arc<Swarm>,
    share: Arc<Share>,
    device: DeviceId,
    kind: HolderKind,
    carrier: Carrier,
    /// How often it was begun anew because it carried too little.
    left: Arc<AtomicU32>,
}

impl DownloadStream {
    async fn run(
        self,
        mut inputs: mpsc::UnboundedReceiver<DownloadInput>,
        close: CancellationToken,
    ) {
        loop {
            let first = tokio::select! {
                () = close.cancelled() => return,
                input = inputs.recv() => match input {
                    Some(want @ DownloadInput::Want { .. }) => want,
                    Some(DownloadInput::Cancel { .. }) => continue,
                    None => return,
                },
            };
            let end = tokio::select! {
                () = close.cancelled() => return,
                end = self.work(first, &mut inputs) => end,
            };
            tracing::debug!(device = ?self.device, carrier = ?self.carrier, error = end, "a download broke");
            let (share, device, carrier) = (self.share.id, self.device, self.carrier);
            self.swarm
                .core
                .with(|engine, now| engine.handle_carrier_failed(share, device, carrier, now));
        }
    }

    /// Opens the streams and works until one of them breaks; returns why.
    async fn work(
        &self,
        first: DownloadInput,
        inputs: &mut mpsc::UnboundedReceiver<DownloadInput>,
    ) -> String {
        let count = if self.carrier == Carrier::Quic {
            1
        } else {
            TCP_STREAMS
        };
        let spaces = Arc::<Spaces>::default();
        let (mut senders, mut watched) = (Vec::new(), None::<Watched>);
        let mut readers = tokio::task::JoinSet::new();
        for _ in 0..count {
            match self.open().await {
                Ok((stream, reader, limit)) => {
                    let watched = watched.get_or_insert_with(|| Watched::new(self, &stream));
                    watched.progress.push(stream.progress());
                    let Stream { send, recv, .. } = stream;
                    senders.push(send);
                    let (download, spaces) = (self.clone(), Arc::clone(&spaces));
                    readers
                        .spawn(async move { download.read(recv, reader, &spaces, &limit).await });
                }
                Err(_) if !senders.is_empty() => break,
                Err(error) => return error,
            }
        }
        let Some(mut watched) = watched else {
            return "no stream".into();
        };
        let mut turn = 0;
        let mut next = Some(first);
        let mut look = tokio::time::interval(Watch::LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let input = match next.take() {
                Some(input) => input,
                None => tokio::select! {
                    input = inputs.recv() => match input {
                        Some(input) => input,
                        None => return "closed here".into(),
                    },
                    Some(ended) = readers.join_next() => return ended.unwrap_or_else(|e| e.to_string()),
                    _ = look.tick(), if spaces.any() || watched.busy => {
                        match self.look(&mut watched, &mut senders, spaces.expects()).await {
                            Some(end) => return end.into(),
                            None => continue,
                        }
                    }
                },
            };
            if let Err(error) = self.tell(input, &mut senders, &mut turn, &spaces).await {
                return error.to_string();
            }
        }
    }

    async fn tell(
        &self,
        input: DownloadInput,
        senders: &mut [SendHalf],
        turn: &mut usize,
        spaces: &Spaces,
    ) -> std::io::Result<()> {
        let Some((message, everywhere)) = spaces.outgoing(input) else {
            return Ok(());
        };
        if everywhere {
            for send in senders.iter_mut() {
                write_message(send, &message).await?;
            }
            return Ok(());
        }
        *turn = (*turn + 1) % senders.len();
        write_message(&mut senders[*turn], &message).await
    }

    async fn open(&self) -> Result<(Stream, MessageReader, Limit), String> {
        let link = match self.carrier {
            Carrier::Quic => self.swarm.links.quic(self.device).await,
            Carrier::Tcp => self.swarm.links.tcp(self.device, None).await,
            Carrier::Relayed => {
                let circuits = circuits::CircuitDialer::new(&self.swarm, &self.share, self.device);
                self.swarm
                    .links
                    .relayed(self.device, self.share.id, circuits)
                    .await
            }
        };
        let mut stream = link
            .map_err(|e| e.to_string())?
            .open()
            .await
            .map_err(|e| e.to_string())?;
        let mut reader = MessageReader::new(MAX_FRAME_UNPROVEN);
        {
            let mut greeted = pin!(greet(
                &mut stream,
                &mut reader,
                &self.share,
                self.kind,
                Purpose::Bulk
            ));
            // The connection may be one from before TCP began to be swallowed.
            let greeted = match timeout(ANSWERS, &mut greeted).await {
                Ok(greeted) => greeted,
                Err(_) if self.is_swallowed().await => {
                    return Err("nothing gets through any more".into());
                }
                Err(_) => greeted.await,
            };
            greeted.map_err(|e| e.to_string())?;
        }
        let name = self.swarm.links.name(self.device);
        let limit = self.swarm.throttles.down(
            self.device,
            name.as_ref(),
            links::place(stream.carrier, stream.remote),
        );
        Ok((stream, reader, limit))
    }

    /// Reads answers until the stream ends; returns why it did.
    async fn read(
        self,
        mut recv: RecvHalf,
        mut reader: MessageReader,
        spaces: &Spaces,
        limit: &Limit,
    ) -> String {
        loop {
            let message = match reader.next(&mut recv).await {
                Ok(Some(message)) => message,
                Ok(None) => return "the other device ended the stream".into(),
                Err(error) => return error.to_string(),
            };
            if let Message::Chunk { length, .. } = &message {
                spaces.hold(limit.take(*length as usize)).await;
            }
            if let Err(error) = self.handle(message, &mut recv, &mut reader, spaces).await {
                recv.stop();
                return error;
            }
        }
    }

    async fn handle(
        &self,
        message: Message,
        recv: &mut RecvHalf,
        reader: &mut MessageReader,
        spaces: &Spaces,
    ) -> Result<(), String> {
        let (core, share, device) = (&self.swarm.core, self.share.id, self.device);
        match message {
            Message::Chunk {
                request,
                position,
                length,
            } => {
                self.chunk(RequestId(request), position, length, recv, reader, spaces)
                    .await?;
            }
            Message::Served { request } => {
                let request = RequestId(request);
                spaces.ended(request);
                core.with(|engine, now| engine.handle_served(share, device, request, now));
            }
            Message::NotHeld { request, ranges } => core.with(|engine, now| {
                engine.handle_not_held(share, device, RequestId(request), &ranges, now);
            }),
            Message::Busy {
                request,
                retry_after_ms,
            } => {
                let (request, pause) = (
                    RequestId(request),
                    Duration::from_millis(u64::from(retry_after_ms)),
                );
                spaces.ended(request);
                core.with(|engine, now| engine.handle_busy(share, device, request, pause, now));
            }
            _ => {}
        }
        Ok(())
    }

    async fn chunk(
        &self,
        request: RequestId,
        position: u32,
        length: u32,
        recv: &mut RecvHalf,
        reader: &mut MessageReader,
        spaces: &Spaces,
    ) -> Result<(), String> {
        let space = spaces.of(request);
        let room = spaces.hold(self.swarm.workers.room(length as usize)).await;
        let mut payload = self.swarm.workers.buffers.take();
        reader
            .payload_into(recv, &mut payload, PAYLOAD)
            .await
            .map_err(|error| error.to_string())?;
        let (share, device) = (self.share.id, self.device);
        let arrival = self
            .swarm
            .core
            .with(|engine, now| engine.handle_arrival(share, device, request, position, now));
        match (arrival, space) {
            (Arrival::Unneeded, _) => self.swarm.workers.buffers.give(payload),
            (Arrival::Unsolicited, _) | (Arrival::Wanted, None) => {
                return Err("the device sent a chunk that nobody asked for".into());
            }
            (Arrival::Wanted, Some(space)) => {
                if let Some(sink) = self.swarm.core.routes.sink(share) {
                    let swarm = Arc::clone(&self.swarm);
                    self.swarm.workers.submit(move || {
                        store(&swarm, &*sink, share, request, space, position, payload);
                        drop(room);
                    });
                }
            }
        }
        Ok(())
    }
}

/// The destination of the verified chunks of one transfer.
pub trait ChunkSink: Send + Sync {
    /// Verifies, decrypts and writes one chunk; returns the positions at which it is now. Of data,
    /// `written` is told of them too, before anybody can be told that no more is written.
    fn put(
        &self,
        space: Space,
        position: u32,
        sealed: &mut Vec<u8>,
        written: &dyn Fn(&[u32]),
    ) -> Result<Vec<u32>, PutError>;
}

/// Why a chunk did not get to its place.
#[derive(Debug)]
pub enum PutError {
    /// Its bytes do not match its id.
    Damaged,
    /// It could not be written.
    Write(hither_content::WriteError),
    /// A part of the manifest could not be written.
    Manifest(hither_content::ManifestFileError),
    /// The transfer is not at this space any more.
    Stale,
}

fn store(
    swarm: &Swarm,
    sink: &dyn ChunkSink,
    share: hither_proto::ShareId,
    request: RequestId,
    space: Space,
    position: u32,
    mut sealed: Vec<u8>,
) {
    // Before the engine is notified: its "complete" must come after the last position.
    let written = |positions: &[u32]| {
        swarm
            .core
            .routes
            .tell_transfer(share, TransferInput::Written(positions.to_vec()));
    };
    match sink.put(space, position, &mut sealed, &written) {
        Ok(positions) => {
            swarm
                .core
                .with(|engine, now| engine.stored(share, Some(request), &positions, now));
        }
        Err(PutError::Damaged) => {
            tracing::warn!(?share, position, "a device gave a damaged chunk");
            swarm
                .core
                .with(|engine, now| engine.damaged(share, request, now));
        }
        Err(error @ (PutError::Write(_) | PutError::Manifest(_))) => {
            swarm
                .core
                .routes
                .tell_transfer(share, TransferInput::WriteFailed(error));
        }
        Err(PutError::Stale) => {}
    }
    swarm.workers.buffers.give(sealed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_proto::Ranges;

    fn want(request: u64) -> DownloadInput {
        DownloadInput::Want {
            request: RequestId(request),
            space: Space::Data,
            version: 1,
            ranges: Ranges::default(),
        }
    }

    fn cancel(request: u64) -> DownloadInput {
        DownloadInput::Cancel {
            request: RequestId(request),
        }
    }

    #[test]
    fn nothing_is_remembered_of_requests_that_were_taken_back_or_ended() {
        let spaces = Spaces::default();
        for request in 1..=100 {
            assert!(matches!(
                spaces.outgoing(want(request)),
                Some((Message::Want(_), false))
            ));
        }
        assert_eq!(spaces.of(RequestId(7)), Some(Space::Data));
        // Nobody answers what was taken back while it waited in the other device's queue.
        for request in 1..=98 {
            let said = spaces.outgoing(cancel(request));
            assert!(
                matches!(said, Some((Message::Cancel { .. }, true))),
                "{request}: {said:?}"
            );
        }
        assert!(spaces.ended(RequestId(99)) && spaces.ended(RequestId(100)));
        assert!(spaces.lock().is_empty());
        assert!(spaces.outgoing(cancel(5)).is_none(), "told twice");
        assert!(
            spaces.outgoing(cancel(500)).is_none(),
            "told of a request of another download"
        );
    }
}
