//! Streams to the index of this node: devices announce what they hold, and are told who holds what
//! they want.
//!
//! Every node answers where the index is; one that has it goes on. What a device says beyond its
//! rate waits, which by the stream's flow control makes it say less: it gathers what changes
//! meanwhile.

use super::limits::Limiter;
use super::refuse::{self, busy};
use super::registry::RegistryError;
use super::traffic::{Slot, Slots};
use super::visit;
use crate::config::{IndexConfig, Role};
use crate::index::{Bounds, Index, IndexError, IndexSize, Speaker, StreamId};
use crate::node::Node;
use crate::ops::labels::Service;
use hither_carrier::{FramingError, RelayReader, SendHalf, Stream, write_relay_message};
use hither_proto::limits::MAX_INDEX_FRAME;
use hither_proto::{
    IndexMessage, IndexTopic, RelayAddress, RelayMessage, RelayRefusal, RelayRefusalCode,
};
use hither_util::sync::Mutex;
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

/// Signs of life that may be missed: after so many heartbeats what a device announced is forgotten.
const LIVES: u32 = 3;
/// Shortest time between two updates to one reader (source-selection design, "Index"); what happens
/// meanwhile is one update.
const PAUSE: Duration = Duration::from_millis(300);
/// Longest wait for a reader that does not read.
const STUCK: Duration = Duration::from_secs(15);
/// How often is looked for devices whose time is over, in parts of that time.
const SWEEPS: u32 = 18;
/// Longest wait that is imposed on who says too much; beyond it the stream ends.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// When to come back after finding the index, or one's part of it, full.
const FULL: Duration = Duration::from_secs(60);
/// When to come back after being one too many.
const LATER: Duration = Duration::from_secs(10);
/// Ranges that count as one more message.
const RANGES_OF_A_MESSAGE: f64 = 100.0;

/// The index of a node, and who uses it.
#[derive(Debug)]
pub(crate) struct Indexing {
    index: Mutex<Index>,
    readers: Mutex<HashMap<StreamId, Arc<Notify>>>,
    streams: Slots,
    guests: Slots,
    last: AtomicU64,
    heartbeat: Duration,
}

impl Indexing {
    pub(crate) fn new(config: &IndexConfig) -> Self {
        let heartbeat = config.heartbeat.0;
        let bounds = Bounds {
            entries: config.entries,
            device_entries: config.device_entries,
            site_entries: config.address_entries,
            bytes: config.memory.0,
            device_bytes: config.device_memory.0,
            site_bytes: config.address_memory.0,
            subscriptions: config.subscriptions,
            stream_subscriptions: config.stream_subscriptions,
            life: heartbeat * LIVES,
        };
        Self {
            index: Mutex::new(Index::new(bounds)),
            readers: Mutex::default(),
            streams: Slots::new(config.streams, config.device_streams),
            guests: Slots::new(config.guest_streams, config.device_streams),
            last: AtomicU64::new(0),
            heartbeat,
        }
    }

    /// What is in the index.
    pub(crate) fn held(&self) -> IndexSize {
        self.index().held()
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock()
    }

    fn readers(&self) -> MutexGuard<'_, HashMap<StreamId, Arc<Notify>>> {
        self.readers.lock()
    }

    /// Changes the index and wakes who has to be told.
    fn with<R>(&self, change: impl FnOnce(&mut Index) -> R) -> R {
        let (result, woken) = {
            let mut index = self.index();
            (change(&mut index), index.woken())
        };
        if !woken.is_empty() {
            let readers = self.readers();
            woken
                .iter()
                .filter_map(|stream| readers.get(stream))
                .for_each(|reader| reader.notify_one());
        }
        result
    }

    fn life(&self) -> Duration {
        self.heartbeat * LIVES
    }
}

/// Begins to forget whose time is over.
pub(crate) fn start(node: &Arc<Node>) {
    if !node.plays(Role::Index) {
        return;
    }
    let task = Arc::clone(node);
    node.spawn_until_stop(async move {
        let indexing = &task.services.indexing;
        loop {
            sleep(indexing.life() / SWEEPS).await;
            indexing.with(|index| index.expire(Instant::now().into_std()));
        }
    });
}

/// How a stream ended.
enum Ended {
    /// By the device, in order.
    Finished,
    /// It broke, or the device is silent or takes nothing.
    Broken,
    Refused(RelayRefusal),
}

impl From<io::Error> for Ended {
    fn from(_: io::Error) -> Self {
        Self::Broken
    }
}

impl From<RelayRefusal> for Ended {
    fn from(refusal: RelayRefusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<RelayRefusalCode> for Ended {
    fn from(code: RelayRefusalCode) -> Self {
        Self::Refused(code.into())
    }
}

/// Serves one stream: after [`hither_proto::RelayPurpose::Index`].
pub(crate) async fn run(node: Arc<Node>, mut stream: Stream, mut reader: RelayReader) {
    let revocation = node.services.revocation_of(stream.device);
    let places = match greet(&node, &mut stream, &mut reader).await {
        Ok(places) => places,
        Err(Ended::Refused(refusal)) => {
            node.metrics.refused(Service::Index, refusal.code);
            return refuse::relay(stream, refusal).await;
        }
        Err(Ended::Finished | Ended::Broken) => return,
    };
    node.metrics.services.of(Service::Index).add_one();
    let nodes = node.services.fleet.indexes();
    if !node.plays(Role::Index) {
        let there = nodes.borrow().clone();
        let told = say(&mut stream.send, welcome(&node, &there)).await;
        if told.is_ok() {
            let _ = timeout(STUCK, stream.send.finish()).await;
        }
        return;
    }
    reader.set_max(MAX_INDEX_FRAME);
    let id = StreamId(node.services.indexing.last.fetch_add(1, Ordering::Relaxed));
    let speaker = Speaker::new(id, stream.device, stream.remote.ip());
    let mut attending = Attending::begin(&node, speaker, places);
    let ended = tokio::select! {
        ended = attending.talk(&mut stream, &mut reader, nodes) => ended,
        () = revocation => RelayRefusalCode::Revoked.into(),
    };
    // Who was thrown out is not named any longer; who is lost may be back.
    attending.in_order = !matches!(ended, Ended::Broken);
    drop(attending);
    match ended {
        Ended::Finished => drop(timeout(STUCK, stream.send.finish()).await),
        Ended::Broken => {}
        Ended::Refused(refusal) => {
            node.metrics.refused(Service::Index, refusal.code);
            refuse::relay(stream, refusal).await;
        }
    }
}

/// Places that a stream takes.
type Places = [Option<Slot>; 2];

/// Learns who it is, and whether there is a place.
async fn greet(
    node: &Node,
    stream: &mut Stream,
    reader: &mut RelayReader,
) -> Result<Places, Ended> {
    let first = timeout(
        node.config.front.first_frame.0,
        reader.next(&mut stream.recv),
    )
    .await;
    match first {
        Ok(Ok(Some(RelayMessage::Index(message)))) if *message == IndexMessage::Hello => {}
        Ok(Ok(Some(_))) => return Err(RelayRefusalCode::Invalid.into()),
        Ok(Ok(None) | Err(_)) | Err(_) => return Err(Ended::Broken),
    }
    let known = match node.registry.authorize(&stream.device).await {
        Ok(_) => true,
        Err(RegistryError::Revoked) => return Err(RelayRefusalCode::Revoked.into()),
        Err(RegistryError::NotRegistered) => {
            if visit::is_page(node, &stream.device).await? {
                return Err(RelayRefusalCode::Role.into());
            }
            false
        }
        // Without the state nobody knows who is a guest: whoever comes is served as guests are.
        Err(error) => {
            tracing::warn!(%error, "who uses the index could not be looked up");
            false
        }
    };
    if !known && !node.config.guests {
        return Err(RelayRefusalCode::NotRegistered.into());
    }
    let indexing = &node.services.indexing;
    let place = indexing.streams.enter(stream.device);
    let guest = if known {
        None
    } else {
        indexing.guests.enter(stream.device)
    };
    if place.is_none() || (!known && guest.is_none()) {
        return Err(Ended::Refused(busy(LATER)));
    }
    Ok([place, guest])
}

fn welcome(node: &Node, nodes: &[RelayAddress]) -> IndexMessage {
    let heartbeat_ms =
        u32::try_from(node.services.indexing.heartbeat.as_millis()).unwrap_or(u32::MAX);
    IndexMessage::Welcome {
        nodes: nodes.to_vec(),
        heartbeat_ms,
    }
}

async fn say(send: &mut SendHalf, message: IndexMessage) -> io::Result<()> {
    send_relay(send, RelayMessage::Index(Box::new(message))).await
}

async fn send_relay(send: &mut SendHalf, message: RelayMessage) -> io::Result<()> {
    timeout(STUCK, write_relay_message(send, &message)).await?
}

/// A stream in the index, until it is dropped.
struct Attending<'a> {
    node: &'a Node,
    speaker: Speaker,
    news: Arc<Notify>,
    in_order: bool,
    _places: Places,
}

impl<'a> Attending<'a> {
    fn begin(node: &'a Node, speaker: Speaker, places: Places) -> Self {
        let news = Arc::new(Notify::new());
        node.services
            .indexing
            .readers()
            .insert(speaker.stream, Arc::clone(&news));
        Self {
            node,
            speaker,
            news,
            in_order: false,
            _places: places,
        }
    }

    /// Passes messages both ways until the stream ends.
    async fn talk(
        &self,
        stream: &mut Stream,
        reader: &mut RelayReader,
        mut nodes: watch::Receiver<Vec<RelayAddress>>,
    ) -> Ended {
        let Stream {
            send, recv, remote, ..
        } = stream;
        let mut pause = interval(PAUSE);
        pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let life = self.node.services.indexing.life();
        let mut heard = Instant::now();
        let first = nodes.borrow_and_update().clone();
        if say(send, welcome(self.node, &first)).await.is_err() {
            return Ended::Broken;
        }
        loop {
            let done = tokio::select! {
                incoming = reader.next(recv) => match incoming {
                    Ok(Some(message)) => {
                        heard = Instant::now();
                        self.take(message, send, remote.ip()).await
                    }
                    Ok(None) => return Ended::Finished,
                    Err(FramingError::Io(_)) => return Ended::Broken,
                    Err(_) => return RelayRefusalCode::Invalid.into(),
                },
                () = async { pause.tick().await; self.news.notified().await } => self.tell(send).await,
                Ok(()) = nodes.changed() => {
                    let now = nodes.borrow_and_update().clone();
                    say(send, welcome(self.node, &now)).await.map_err(Ended::from)
                }
                () = sleep_until(heard + life) => return Ended::Broken,
            };
            if let Err(ended) = done {
                return ended;
            }
        }
    }

    /// Tells everything that there is to be told.
    async fn tell(&self, send: &mut SendHalf) -> Result<(), Ended> {
        let indexing = &self.node.services.indexing;
        loop {
            let Some(message) = indexing.with(|index| index.news(self.speaker.stream)) else {
                return Ok(());
            };
            self.node.metrics.index_told.add_one();
            say(send, message).await?;
        }
    }

    async fn take(
        &self,
        message: RelayMessage,
        send: &mut SendHalf,
        address: std::net::IpAddr,
    ) -> Result<(), Ended> {
        let count = 1.0 + ranges(&message) as f64 / RANGES_OF_A_MESSAGE;
        wait(&self.node.services.limiter, self.speaker, address, count).await?;
        let now = Instant::now().into_std();
        let message = match message {
            RelayMessage::Ping { nonce } => {
                self.node
                    .services
                    .indexing
                    .with(|index| index.heard(self.speaker.device, now));
                return Ok(send_relay(send, RelayMessage::Pong { nonce }).await?);
            }
            RelayMessage::Pong { .. } => return Ok(()),
            RelayMessage::Index(message) => *message,
            _ => return Err(RelayRefusalCode::Invalid.into()),
        };
        self.node.metrics.index_said.add_one();
        let speaker = self.speaker;
        let (topic, done) = self
            .node
            .services
            .indexing
            .with(|index| {
                Some(match message {
                    IndexMessage::Announce {
                        topic,
                        holding,
                        sealed,
                    } => (topic, index.announce(speaker, topic, &holding, sealed, now)),
                    IndexMessage::Delta { topic, change } => {
                        (topic, index.change(speaker, topic, &change, now))
                    }
                    IndexMessage::Subscribe { topic, owner } => {
                        (topic, index.subscribe(speaker, topic, owner))
                    }
                    IndexMessage::Withdraw { topic } => {
                        index.withdraw(speaker.device, topic);
                        (topic, Ok(()))
                    }
                    IndexMessage::Unsubscribe { topic } => {
                        index.unsubscribe(speaker.stream, topic);
                        (topic, Ok(()))
                    }
                    IndexMessage::Hello
                    | IndexMessage::Welcome { .. }
                    | IndexMessage::Holders { .. }
                    | IndexMessage::Changed { .. }
                    | IndexMessage::Resync { .. }
                    | IndexMessage::Refused { .. } => return None,
                })
            })
            .ok_or(RelayRefusalCode::Invalid)?;
        match done {
            Ok(()) => Ok(()),
            Err(error) => Ok(say(send, self.refusal(topic, error)).await?),
        }
    }

    fn refusal(&self, topic: IndexTopic, error: IndexError) -> IndexMessage {
        let refusal = match error {
            IndexError::Gap => return IndexMessage::Resync { topic },
            IndexError::Full => busy(FULL),
            IndexError::TooMuch => RelayRefusal {
                code: RelayRefusalCode::Quota,
                ..busy(FULL)
            },
        };
        self.node.metrics.refused(Service::Index, refusal.code);
        IndexMessage::Refused { topic, refusal }
    }
}

impl Drop for Attending<'_> {
    fn drop(&mut self) {
        let indexing = &self.node.services.indexing;
        indexing.readers().remove(&self.speaker.stream);
        indexing.with(|index| index.ended(self.speaker, self.in_order));
    }
}

/// Waits until a device may say so much, if that is soon.
async fn wait(
    limiter: &Limiter,
    speaker: Speaker,
    address: std::net::IpAddr,
    count: f64,
) -> Result<(), Ended> {
    let begun = Instant::now();
    while let Err(wait) = limiter.index(speaker.device, address, count) {
        if begun.elapsed() + wait > LONGEST_WAIT {
            return Err(Ended::Refused(busy(wait)));
        }
        sleep(wait).await;
    }
    Ok(())
}

fn ranges(message: &RelayMessage) -> usize {
    let RelayMessage::Index(message) = message else {
        return 0;
    };
    match &**message {
        IndexMessage::Announce { holding, .. } => holding.held.as_slice().len(),
        IndexMessage::Delta { change, .. } => {
            change.added.as_slice().len() + change.removed.as_slice().len()
        }
        _ => 0,
    }
}
