//! The connection to one index node: kept while there is something to say or to ask there.

use super::announcer::{self, AnnouncedState};
use super::holder_search::{Have, HolderSearch};
use super::local_holdings::{LocalHoldings, chunks, units};
use super::seal;
use crate::index::IndexService;
use bytes::Bytes;
use hither_carrier::{SendHalf, write_relay_message};
use hither_proto::limits::MAX_INDEX_FRAME;
use hither_proto::{
    HolderKind, IndexMessage, IndexTopic, RelayAddress, RelayMessage, RelayPurpose, RelayRefusal,
    ShareId,
};
use hither_relay_client::{RelayError, RelayStream, dial, open};
use hither_swarm::Share;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How long changes are gathered before they are sent (source-selection design, "Index").
const COALESCE: Duration = Duration::from_millis(300);
/// First and longest pause before a node is tried again.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// The same when it refuses to have anything to do with this device.
const REFUSED: Duration = Duration::from_secs(600);
/// Longest wait for a pong, and for a node that does not read.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest wait for the end of the stream to be taken.
const PARTING: Duration = Duration::from_secs(1);

/// The work that a node has to do for one share.
#[derive(Clone)]
pub(super) struct Want {
    pub(super) share: Arc<Share>,
    /// The topic of the share there.
    pub(super) topic: Option<IndexTopic>,
    /// Its holders are wanted; another number asks for them anew.
    pub(super) follow: Option<u64>,
}

impl PartialEq for Want {
    fn eq(&self, other: &Self) -> bool {
        (self.share.id, self.topic, self.follow) == (other.share.id, other.topic, other.follow)
    }
}

/// Everything that a node has to do with.
pub(super) type Wants = BTreeMap<ShareId, Want>;

/// Why a connection ended.
enum End {
    /// Nothing is wanted there any more.
    Stopped,
    Failed(RelayError),
}

impl<E: Into<RelayError>> From<E> for End {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Keeps the connection until it is told to stop.
pub(super) async fn run(
    service: Arc<IndexService>,
    node: RelayAddress,
    wants: watch::Receiver<Arc<Wants>>,
    stop: CancellationToken,
) {
    let mut pause = RETRY.0;
    let mut relays = service.relays.changes();
    loop {
        let mut welcomed = false;
        let End::Failed(error) = attend(&service, &node, &wants, &stop, &mut welcomed).await else {
            return;
        };
        tracing::debug!(node = ?node.key, %error, "the connection to an index ended");
        if welcomed {
            pause = RETRY.0;
        }
        let wait = match error {
            RelayError::Refused(RelayRefusal {
                retry_after_ms: 0, ..
            }) => REFUSED,
            RelayError::Refused(refusal) => {
                Duration::from_millis(refusal.retry_after_ms.into()).max(pause)
            }
            _ => pause,
        };
        service
            .index
            .with_places(|places, now| places.doubt(node.key, now));
        pause = (pause * 2).min(RETRY.1);
        relays.mark_unchanged();
        tokio::select! {
            () = sleep(wait) => {}
            () = connected(&service, &node, &mut relays) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Waits until the relay that the node is has been reached by its long connection.
async fn connected(service: &IndexService, node: &RelayAddress, relays: &mut watch::Receiver<u64>) {
    loop {
        if relays.changed().await.is_err() {
            return std::future::pending().await;
        }
        if service
            .relays
            .connected()
            .iter()
            .any(|connection| connection.relay.key == node.key)
        {
            return;
        }
    }
}

/// One connection, from the first to the last word.
async fn attend(
    service: &Arc<IndexService>,
    node: &RelayAddress,
    wants: &watch::Receiver<Arc<Wants>>,
    stop: &CancellationToken,
    welcomed: &mut bool,
) -> End {
    let connection = service
        .relays
        .connected()
        .into_iter()
        .find(|c| c.relay.key == node.key);
    let own = connection.is_none();
    let dialled = async {
        let link = match connection {
            Some(connection) => connection.link().clone(),
            None => dial(service.swarm.endpoint(), node).await?,
        };
        let mut stream = open(link, RelayPurpose::Index).await?;
        stream.reader.set_max(MAX_INDEX_FRAME);
        stream
            .send(&RelayMessage::Index(Box::new(IndexMessage::Hello)))
            .await?;
        match stream.next().await? {
            RelayMessage::Index(message) => Ok((stream, *message)),
            _ => Err(RelayError::Unexpected),
        }
    };
    let begun = tokio::select! {
        begun = dialled => begun,
        () = stop.cancelled() => return End::Stopped,
    };
    let (stream, first) = match begun {
        Ok(begun) => begun,
        Err(error) => return End::Failed(error),
    };
    let IndexMessage::Welcome {
        nodes,
        heartbeat_ms,
    } = first
    else {
        return RelayError::Unexpected.into();
    };
    *welcomed = true;
    tracing::debug!(node = ?node.key, "an index is connected");
    service.index.moved(node.key, &nodes);
    let link = stream.link.clone();
    let heartbeat = Duration::from_millis(heartbeat_ms.into());
    let end = IndexStream::new(service, node, wants.clone())
        .run(stream, heartbeat, stop)
        .await;
    if own {
        link.close("the index is left");
    }
    end
}

/// The messages exchanged about one share.
#[derive(Default)]
struct Topic {
    share: Option<Arc<Share>>,
    told: Option<AnnouncedState>,
    /// The number of the query for its holders.
    asked: Option<u64>,
    hearing: HolderSearch,
    /// The time before which this device's holdings are not announced: the node has refused them.
    not_before: Option<Instant>,
    /// The sealed addresses, with what is in them.
    sealed: Option<(Vec<SocketAddr>, Bytes)>,
}

/// A connection that stands.
struct IndexStream<'a> {
    service: &'a Arc<IndexService>,
    node: &'a RelayAddress,
    wants: watch::Receiver<Arc<Wants>>,
    topics: HashMap<IndexTopic, Topic>,
    addresses: Vec<SocketAddr>,
    /// Of what is announced on this connection.
    epoch: u64,
}

impl<'a> IndexStream<'a> {
    fn new(
        service: &'a Arc<IndexService>,
        node: &'a RelayAddress,
        wants: watch::Receiver<Arc<Wants>>,
    ) -> Self {
        let mut bytes = [0; 8];
        // Without random numbers any will do: an announcement is the beginning whatever its epoch
        // is.
        let _ = getrandom::fill(&mut bytes);
        let (topics, addresses) = (HashMap::new(), service.swarm.addresses());
        Self {
            service,
            node,
            wants,
            topics,
            addresses,
            epoch: u64::from_le_bytes(bytes),
        }
    }

    async fn run(
        mut self,
        stream: RelayStream,
        heartbeat: Duration,
        stop: &CancellationToken,
    ) -> End {
        let RelayStream {
            stream, mut reader, ..
        } = stream;
        let (mut send, mut recv) = (stream.send, stream.recv);
        let mut pause = interval(COALESCE);
        pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut beat = interval_at(Instant::now() + heartbeat, heartbeat);
        let mut news = self.service.index.news.subscribe();
        news.mark_changed();
        let mut wants = self.wants.clone();
        let (mut heard, mut pinged) = (Instant::now(), None::<Instant>);
        loop {
            let silent = pinged.map(|at| at + PATIENCE);
            let done = tokio::select! {
                incoming = reader.next(&mut recv) => match incoming {
                    Ok(Some(message)) => {
                        (heard, pinged) = (Instant::now(), None);
                        self.take(message, &mut send).await
                    }
                    Ok(None) => Err(RelayError::Ended),
                    Err(error) => Err(error.into()),
                },
                () = async {
                    pause.tick().await;
                    tokio::select! {
                        _ = news.changed() => {}
                        _ = wants.changed() => {}
                    }
                } => {
                    wants.mark_unchanged();
                    news.mark_unchanged();
                    self.say(&mut send).await
                }
                _ = beat.tick() => {
                    pinged = pinged.or(Some(Instant::now()));
                    let nonce = heard.elapsed().as_millis() as u64;
                    let ping = write(&mut send, &RelayMessage::Ping { nonce }).await;
                    self.addresses = self.service.swarm.addresses();
                    match ping {
                        Ok(()) => self.say(&mut send).await,
                        Err(error) => Err(error),
                    }
                }
                () = async { tokio::time::sleep_until(silent.unwrap_or_else(Instant::now)).await }, if silent.is_some() => {
                    Err(RelayError::Silent)
                }
                () = stop.cancelled() => {
                    // In order, so that nobody is sent here any more.
                    let _ = timeout(PARTING, send.finish()).await;
                    let _ = timeout(PARTING, send.delivered()).await;
                    return End::Stopped;
                }
            };
            if let Err(error) = done {
                return End::Failed(error);
            }
        }
    }

    /// Sends every message that is due.
    async fn say(&mut self, send: &mut SendHalf) -> Result<(), RelayError> {
        let wants = Arc::clone(&self.wants.borrow());
        let mut messages = Vec::new();
        let wanted = |topic: &IndexTopic| wants.values().any(|want| want.topic == Some(*topic));
        self.topics.retain(|topic, known| {
            let stays = wanted(topic);
            if !stays {
                messages.extend(
                    known
                        .told
                        .take()
                        .map(|_| IndexMessage::Withdraw { topic: *topic }),
                );
                messages.extend(
                    known
                        .asked
                        .take()
                        .map(|_| IndexMessage::Unsubscribe { topic: *topic }),
                );
            }
            stays
        });
        for (want, topic) in wants.values().filter_map(|want| Some((want, want.topic?))) {
            let known = self.topics.entry(topic).or_default();
            known.share = Some(Arc::clone(&want.share));
            if known.asked != want.follow {
                messages.push(match want.follow {
                    Some(_) => IndexMessage::Subscribe {
                        topic,
                        owner: want.share.owner,
                    },
                    None => IndexMessage::Unsubscribe { topic },
                });
                known.asked = want.follow;
            }
            let refused = known.not_before.is_some_and(|at| at > Instant::now());
            if refused {
                continue;
            }
            let Some(holding) = held(self.service, &want.share) else {
                continue;
            };
            let sealed = known.sealed(self.service, &want.share, topic, &self.addresses);
            let Some(sealed) = sealed else { continue };
            // More than one, when not everything fits into one.
            while let Some(message) =
                announcer::next(&mut known.told, topic, &holding, &sealed, self.epoch)
            {
                messages.push(message);
            }
        }
        for message in messages {
            write(send, &RelayMessage::Index(Box::new(message))).await?;
        }
        Ok(())
    }

    async fn take(&mut self, message: RelayMessage, send: &mut SendHalf) -> Result<(), RelayError> {
        let message = match message {
            RelayMessage::Ping { nonce } => {
                return write(send, &RelayMessage::Pong { nonce }).await;
            }
            RelayMessage::Refused(refusal) => return Err(RelayError::Refused(refusal)),
            RelayMessage::Index(message) => *message,
            _ => return Ok(()),
        };
        match message {
            IndexMessage::Welcome { nodes, .. } => self.service.index.moved(self.node.key, &nodes),
            IndexMessage::Holders {
                topic,
                first,
                holders,
                gone,
            } => {
                let Some(known) = self.topics.get_mut(&topic) else {
                    return Ok(());
                };
                let Some(share) = known.share.clone() else {
                    return Ok(());
                };
                if first {
                    known.hearing.begin();
                }
                gone.into_iter()
                    .for_each(|device| known.hearing.gone(device));
                for holder in holders
                    .iter()
                    .filter(|holder| holder.device != self.service.device)
                {
                    // A device that cannot seal for this share does not know it.
                    if let Some(at) =
                        seal::open(&share.secret, holder.device, topic, &holder.sealed)
                    {
                        known.hearing.holder(holder, at);
                    }
                }
                name(self.service, &share, known);
            }
            IndexMessage::Changed {
                topic,
                device,
                change,
            } => {
                let Some(known) = self.topics.get_mut(&topic) else {
                    return Ok(());
                };
                known.hearing.change(device, &change);
                if let Some(share) = known.share.clone() {
                    name(self.service, &share, known);
                }
            }
            IndexMessage::Resync { topic } => {
                if let Some(known) = self.topics.get_mut(&topic) {
                    known.told = None;
                    self.service.index.news.send_replace(());
                }
            }
            IndexMessage::Refused { topic, refusal } => {
                tracing::debug!(node = ?self.node.key, %refusal, "an index refused something about a share");
                if let Some(known) = self.topics.get_mut(&topic) {
                    known.refused(refusal);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Topic {
    fn refused(&mut self, refusal: RelayRefusal) {
        self.told = None;
        let wait = match refusal.retry_after_ms {
            0 => REFUSED,
            wait => Duration::from_millis(wait.into()),
        };
        self.not_before = Some(Instant::now() + wait);
    }

    /// Returns this device's addresses, sealed; the same as before while they have not changed.
    fn sealed(
        &mut self,
        service: &IndexService,
        share: &Share,
        topic: IndexTopic,
        addresses: &[SocketAddr],
    ) -> Option<Bytes> {
        match &self.sealed {
            Some((before, sealed)) if before == addresses => Some(sealed.clone()),
            _ => {
                let sealed = seal::seal(&share.secret, service.device, topic, addresses)?;
                self.sealed = Some((addresses.to_vec(), sealed.clone()));
                Some(sealed)
            }
        }
    }
}

/// Returns the holdings to announce, in the units of the index; `None` while that is not possible.
fn held(service: &IndexService, share: &Share) -> Option<LocalHoldings> {
    let holding = service
        .index
        .lock()
        .holdings
        .get(&share.id)
        .cloned()
        .unwrap_or_default();
    if holding.complete || holding.held.is_empty() {
        return Some(holding);
    }
    let held = units(&holding.held, chunks(share, holding.version)?);
    Some(LocalHoldings { held, ..holding })
}

/// Tells the engine whom it should know of now.
fn name(service: &IndexService, share: &Share, known: &mut Topic) {
    let have = have(service, share);
    for (device, addresses) in known.hearing.name(share.owner, &have) {
        tracing::debug!(share = ?share.id, ?device, ?addresses, "an index names a holder");
        service.swarm.links().indexed(device, addresses);
        share.name_holder(device);
        service.swarm.core().with(|engine, now| {
            engine.handle_holder_seen(share.id, device, HolderKind::Device, now)
        });
    }
}

/// Returns the holdings of a share on this device, in the units of the index.
fn have(service: &IndexService, share: &Share) -> Have {
    let Some(version) = share.current() else {
        return Have::default();
    };
    let chunks = version.head.head().chunks;
    let held = service
        .swarm
        .core()
        .with(|engine, _| engine.held(share.id).cloned())
        .unwrap_or_default();
    let complete = held.len() == u64::from(chunks);
    Have {
        version: version.number(),
        complete,
        held: units(&held, chunks),
    }
}

async fn write(send: &mut SendHalf, message: &RelayMessage) -> Result<(), RelayError> {
    match timeout(PATIENCE, write_relay_message(send, message)).await {
        Ok(written) => Ok(written?),
        Err(_) => Err(RelayError::Silent),
    }
}
