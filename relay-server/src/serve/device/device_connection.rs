//! The loop of a long connection: one task that reads, writes, works and keeps one timer.
//!
//! Requests are worked on beside each other and answered as they are done, but cards, placements
//! and the messages to one device each in the order in which they came. What is under way is
//! bounded; beyond the bound nothing more is read.

use super::inbox::Inbox;
use super::keep_alive::{KeepAlive, KeepAliveAction};
use super::outgoing::Outgoing;
use super::rights::{self, Right};
use super::send::{Sends, Sent};
use super::{
    Ended, cards, codes, list, now, own, place, refusal_of, seen_later, visiting, welcome,
};
use crate::node::Node;
use crate::ops::labels::{Request, Service};
use crate::serve::front::{Connection, Pending, wake};
use crate::serve::limits::{Bucket, Kind};
use crate::serve::refuse;
use crate::serve::registry::RegistryError;
use crate::serve::{fetches, groups, visit};
use crate::state::{Item, StateError};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use hither_carrier::{FramingError, RelayReader, Stream};
use hither_proto::{
    Card, CircuitMessage, DeviceId, RelayMessage, RelayRefusal, RelayRefusalCode, StoreFetch,
};
use std::collections::{BTreeSet, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Most requests of one connection under way.
const MAX_WORK: usize = 256;
/// Most lists of cards, and most placements, that wait for the one before.
const MAX_QUEUE: usize = 64;
/// Who takes nothing for so many periods of pings is dropped, although it is there.
const STUCK_PERIODS: u32 = 3;
/// Pause between two looks at who reads shares of the device from stores.
const FETCHES_PAUSE: Duration = Duration::from_millis(250);
/// Pause before the list of devices is tried again.
const LIST_AGAIN: Duration = Duration::from_secs(1);

/// What some work gave.
pub(super) enum Done {
    /// An answer.
    Answer(RelayMessage),
    /// What changed of groups.
    News(RelayMessage),
    /// The changes of the list.
    Listed(Result<list::Update, RegistryError>),
    /// What is in the mailbox.
    Read(Result<Vec<Item>, StateError>),
    /// The mailbox forgot what was received.
    Acknowledged(Result<u64, StateError>),
    /// A message is in another device's mailbox, or is not.
    Appended(Box<Sent>),
    /// Cards are stored.
    Carded(Result<(), RegistryError>),
    /// A share was placed or released.
    Placed(RelayMessage),
    /// The readers of shares of the device from stores.
    Fetches(Result<Vec<StoreFetch>, StateError>),
    /// Something was done to which there is no answer.
    Nothing,
}

type Work = BoxFuture<'static, Done>;

/// What is to be told of the user's devices.
#[derive(Default)]
struct Listing {
    /// Those that the device knows of.
    told: Vec<DeviceId>,
    changed: BTreeSet<DeviceId>,
    all: bool,
    /// When it may be told.
    due: Option<Instant>,
    /// When it was told last.
    last: Option<Instant>,
    busy: bool,
}

/// State of the telling who reads shares of the device from stores.
struct Fetches {
    /// There may be something that the device does not know.
    wanted: bool,
    busy: bool,
}

struct DeviceConnection<'a> {
    node: &'a Arc<Node>,
    connection: &'a Arc<Connection>,
    out: Outgoing,
    work: FuturesUnordered<Work>,
    inbox: Inbox,
    sends: Sends,
    listing: Listing,
    news: groups::News,
    /// Those that wait, and when they came.
    cards: VecDeque<(Instant, Vec<Card>)>,
    carding: bool,
    places: VecDeque<place::Wanted>,
    placing: bool,
    fetches: Fetches,
    pings: Bucket,
    /// Whether the device is still there.
    keep_alive: KeepAlive,
    /// When it is written down next that the device is here.
    seen: Instant,
    /// Since when the device is here, Unix milliseconds: what was taken before is no push.
    since_ms: u64,
}

/// Serves a device that was let in, until the connection ends. `asked`: when it said hello.
pub(super) async fn run(
    node: &Arc<Node>,
    connection: &Arc<Connection>,
    asked: std::time::Instant,
    stream: &mut Stream,
    reader: &mut RelayReader,
) -> Ended {
    let mut served = DeviceConnection::new(node, connection);
    if let Err(refusal) = Box::pin(served.welcome()).await {
        return Ended::Refused(Some(refusal));
    }
    node.metrics.requests.of(Request::Hello).since(asked);
    let mut timer = pin!(sleep_until(served.due()));
    let mut over: BoxFuture<'_, ()> = match connection.standing.is_device() {
        true => Box::pin(std::future::pending()),
        false => Box::pin(visit::over(node, connection)),
    };
    loop {
        served.begin_work();
        let due = served.due();
        if timer.deadline() != due {
            timer.as_mut().reset(due);
        }
        let reads = served.reads();
        let ended = tokio::select! {
            read = reader.next(&mut stream.recv), if reads => served.read(read),
            wrote = served.out.write(&mut stream.send), if served.out.is_waiting() => {
                wrote.err().map(|_| Ended::Gone)
            }
            Some(done) = served.work.next(), if !served.work.is_empty() => served.done(done),
            () = &mut over => Some(Ended::Refused(Some(RelayRefusalCode::Invitation.into()))),
            () = connection.woken() => served.woken(connection.take()),
            () = &mut timer => served.tick(reader.arrived()),
        };
        let ended = match ended {
            // When it was this node that was busy, what has come meanwhile is here.
            Some(Ended::Silent) => match reader.next(&mut stream.recv).now_or_never() {
                Some(read) => served.read(read),
                None => ended,
            },
            ended => ended,
        };
        if let Some(ended) = ended {
            return ended;
        }
    }
}

impl<'a> DeviceConnection<'a> {
    fn new(node: &'a Arc<Node>, connection: &'a Arc<Connection>) -> Self {
        let now = Instant::now();
        Self {
            node,
            connection,
            out: Outgoing::default(),
            work: FuturesUnordered::new(),
            inbox: Inbox::new(&node.config.mail).only_from(connection.host()),
            sends: Sends::default(),
            listing: Listing::default(),
            news: groups::News::default(),
            cards: VecDeque::new(),
            carding: false,
            places: VecDeque::new(),
            placing: false,
            fetches: Fetches {
                wanted: connection.standing.is_device(),
                busy: false,
            },
            pings: Bucket::full(node.config.limits.ping, now.into_std()),
            keep_alive: KeepAlive::new(node.config.front.ping.0, node.config.front.patience.0, now),
            seen: now + node.config.front.seen_pause.0,
            since_ms: super::now(),
        }
    }

    /// Says welcome, or to a page that is no device as what it is here, and pings once for the round trip.
    async fn welcome(&mut self) -> Result<(), RelayRefusal> {
        if self.connection.standing.is_device() {
            let welcome = welcome(self.node, self.connection)
                .await
                .map_err(|error| refusal_of(&error))?;
            self.listing.told = welcome.devices.iter().map(|entry| entry.device).collect();
            self.out.push(&RelayMessage::Welcome(Box::new(welcome)));
        } else {
            let visiting = visiting(self.node, self.connection).await?;
            self.out.push(&RelayMessage::Visiting(Box::new(visiting)));
        }
        self.ping();
        Ok(())
    }

    fn ping(&mut self) {
        let nonce = self.keep_alive.ping(Instant::now());
        self.out.push(&RelayMessage::Ping { nonce });
    }

    /// Whether more may be asked.
    fn reads(&self) -> bool {
        !self.out.is_full()
            && self.work.len() < MAX_WORK
            && !self.sends.is_full()
            && self.cards.len() < MAX_QUEUE
            && self.places.len() < MAX_QUEUE
    }

    /// Begins what can be begun.
    fn begin_work(&mut self) {
        let (node, connection) = (self.node, self.connection);
        let now = Instant::now();
        if let Some(read) = self.inbox.begin_read(self.out.room(), now) {
            let (node, device) = (Arc::clone(node), connection.device);
            self.work.push(Box::pin(async move {
                Done::Read(read.run(&node, &device).await)
            }));
        }
        if let Some(up_to) = self.inbox.begin_ack(now) {
            let (node, connection) = (Arc::clone(node), Arc::clone(connection));
            self.work.push(Box::pin(async move {
                let waiters = connection.acknowledged(up_to);
                wake::tell(&node, &connection.device, up_to, waiters).await;
                Done::Acknowledged(Inbox::ack(&node, &connection.device, up_to).await)
            }));
        }
        if !self.out.is_full()
            && let Some(compose) = self.news.begin(node, connection.device)
        {
            self.work
                .push(Box::pin(async move { Done::News(compose.await) }));
        }
        let listing = &mut self.listing;
        if !listing.busy && !self.out.is_full() && listing.due.is_some_and(|due| due <= now) {
            (listing.busy, listing.due) = (true, None);
            let changed = std::mem::take(&mut listing.changed);
            let told = std::mem::take(&mut listing.all).then(|| listing.told.clone());
            let (node, connection) = (Arc::clone(node), Arc::clone(connection));
            self.work.push(Box::pin(async move {
                Done::Listed(list::update(&node, &connection, &changed, told).await)
            }));
        }
        if !self.carding
            && let Some((asked, new)) = self.cards.pop_front()
        {
            self.carding = true;
            let (node, connection) = (Arc::clone(node), Arc::clone(connection));
            self.work.push(Box::pin(async move {
                let stored = cards::store(&node, &connection, new).await;
                if stored.is_ok() {
                    node.metrics
                        .requests
                        .of(Request::Cards)
                        .since(asked.into_std());
                }
                Done::Carded(stored)
            }));
        }
        if self.fetches.wanted && !self.fetches.busy && !self.out.is_full() {
            self.fetches = Fetches {
                wanted: false,
                busy: true,
            };
            let (node, device) = (Arc::clone(node), connection.device);
            self.work.push(Box::pin(async move {
                // Changes of the meantime are told with it.
                tokio::time::sleep(FETCHES_PAUSE).await;
                Done::Fetches(fetches::of(&node, &device).await)
            }));
        }
        if !self.placing
            && let Some(wanted) = self.places.pop_front()
        {
            self.placing = true;
            let (node, connection) = (Arc::clone(node), Arc::clone(connection));
            self.work.push(Box::pin(async move {
                Done::Placed(place::answer(&node, &connection, wanted).await)
            }));
        }
    }

    /// When something is to be done although nothing happens.
    fn due(&self) -> Instant {
        let mut due = self.keep_alive.due().min(self.seen);
        // Only while it can be begun, or this would be due all the time.
        let may_list = !self.listing.busy && !self.out.is_full();
        if let Some(list) = self.listing.due.filter(|_| may_list) {
            due = due.min(list);
        }
        if let Some(look) = self.inbox.due(self.out.room()) {
            due = due.min(look);
        }
        if let Some(since) = self.out.stuck_since() {
            due = due.min(since + self.stuck_patience());
        }
        due
    }

    /// How long the device may take nothing of what waits for it.
    fn stuck_patience(&self) -> Duration {
        let period = self.node.config.front.ping.0;
        match self.out.is_full() {
            // Its own pings cannot be heard then: this is the only sign of life.
            true => period + self.keep_alive.patience(),
            false => period * STUCK_PERIODS,
        }
    }

    /// `arrived`: bytes of the message that is being read.
    fn tick(&mut self, arrived: usize) -> Option<Ended> {
        let now = Instant::now();
        if self
            .out
            .stuck_since()
            .is_some_and(|since| since + self.stuck_patience() <= now)
        {
            return Some(Ended::Stuck);
        }
        if !self.reads() {
            // Silence that is our own doing does not count.
            self.keep_alive.heard(now);
        }
        match self.keep_alive.poll(now, arrived) {
            KeepAliveAction::Ping(nonce) => self.out.push(&RelayMessage::Ping { nonce }),
            KeepAliveAction::Gone => return Some(Ended::Silent),
            KeepAliveAction::Wait(_) => {}
        }
        if self.seen <= now {
            self.seen = now + self.node.config.front.seen_pause.0;
            seen_later(self.node, self.connection);
        }
        None
    }

    /// Something was left for this connection.
    fn woken(&mut self, pending: Pending) -> Option<Ended> {
        if let Some(end) = pending.end {
            return Some(end.into());
        }
        if let Some(relays) = pending.move_to {
            self.out.push(&RelayMessage::Move { relays });
        }
        for (circuit, from, knock) in pending.offers {
            let offer = CircuitMessage::Incoming {
                circuit,
                from,
                knock,
            };
            self.out.push(&RelayMessage::Circuit(Box::new(offer)));
        }
        if pending.mail {
            self.inbox.look(Instant::now());
        }
        if !self.connection.standing.is_device() {
            // Nothing of any user's is told to anybody else.
            return None;
        }
        self.fetches.wanted |= pending.fetches;
        self.news.left(pending.groups, pending.all_groups);
        if pending.all || !pending.changed.is_empty() {
            for device in &pending.changed {
                self.sends.forget(device);
            }
            self.listing.all |= pending.all;
            self.listing.changed.extend(pending.changed);
            let pause = self.node.config.front.list_pause.0;
            let now = Instant::now();
            let due = self
                .listing
                .last
                .map_or(now, |last| (last + pause).max(now));
            self.listing.due.get_or_insert(due);
        }
        None
    }

    /// Something was read.
    fn read(&mut self, read: Result<Option<RelayMessage>, FramingError>) -> Option<Ended> {
        match read {
            Ok(Some(message)) => {
                let now = Instant::now();
                self.keep_alive.heard(now);
                self.hear(message, now)
            }
            Ok(None) | Err(FramingError::Io(_)) => Some(Ended::Gone),
            Err(error) => {
                tracing::debug!(device = %self.connection.device, %error, "a device broke the protocol");
                Some(Ended::Refused(Some(RelayRefusalCode::Invalid.into())))
            }
        }
    }

    fn hear(&mut self, message: RelayMessage, now: Instant) -> Option<Ended> {
        match rights::of(&self.connection.standing, &message) {
            Right::Granted => {}
            Right::Failed(request) => {
                let refusal = RelayRefusalCode::Role.into();
                self.node
                    .metrics
                    .refused(Service::Device, RelayRefusalCode::Role);
                self.out.push(&RelayMessage::Failed { request, refusal });
                return None;
            }
            Right::Ended => return Some(Ended::Refused(Some(RelayRefusalCode::Role.into()))),
        }
        match message {
            RelayMessage::Ping { nonce } => match self.pings.take(1.0, now.into_std()) {
                Ok(()) => self.out.push(&RelayMessage::Pong { nonce }),
                Err(wait) => return self.too_much(wait),
            },
            RelayMessage::Pong { nonce } => {
                if let Some(rtt) = self.keep_alive.pong(nonce, now) {
                    tracing::trace!(device = %self.connection.device, ?rtt, "a device answered");
                }
            }
            RelayMessage::Send {
                request,
                to,
                id,
                sealed,
                keep_s,
            } => {
                let mail = super::send::Mail {
                    request,
                    to,
                    id,
                    sealed,
                    keep_s,
                    asked: now.into_std(),
                };
                match self.sends.accept(self.node, self.connection, mail) {
                    Ok(begun) => self.work.extend(begun),
                    Err(refusal) => {
                        self.node.metrics.mail_refused.add_one();
                        self.out.push(&RelayMessage::Failed { request, refusal });
                    }
                }
            }
            RelayMessage::Received { seq } => self.inbox.received(seq),
            RelayMessage::FetchesReceived(received) => {
                let (node, device) = (Arc::clone(self.node), self.connection.device);
                self.work.push(Box::pin(async move {
                    fetches::received(&node, &device, received).await;
                    Done::Nothing
                }));
            }
            RelayMessage::Cards(cards) => {
                let limiter = &self.node.services.limiter;
                if let Err(wait) =
                    limiter.device_many(self.connection.device, Kind::Cards, cards.len())
                {
                    return self.too_much(wait);
                }
                self.cards.push_back((now, cards));
            }
            RelayMessage::Group { request, what } => {
                let (node, connection) = (Arc::clone(self.node), Arc::clone(self.connection));
                let asked = now.into_std();
                self.work.push(Box::pin(async move {
                    Done::Answer(groups::answer(node, connection, request, *what, asked).await)
                }));
            }
            RelayMessage::Code { request, what } => {
                let (node, connection) = (Arc::clone(self.node), Arc::clone(self.connection));
                self.work.push(Box::pin(async move {
                    Done::Answer(codes::answer(node, connection, request, what).await)
                }));
            }
            RelayMessage::Own { request, what } => {
                let (node, connection) = (Arc::clone(self.node), Arc::clone(self.connection));
                self.work.push(Box::pin(async move {
                    Done::Answer(own::answer(node, connection, request, what).await)
                }));
            }
            RelayMessage::Place {
                request,
                share,
                bytes,
                near,
            } => {
                self.place(place::Wanted {
                    request,
                    share,
                    asked: now.into_std(),
                    place: Some((bytes, near)),
                });
            }
            RelayMessage::Release { request, share } => {
                self.place(place::Wanted {
                    request,
                    share,
                    asked: now.into_std(),
                    place: None,
                });
            }
            RelayMessage::Circuit(message) => match *message {
                CircuitMessage::Decline { circuit } => {
                    self.node
                        .services
                        .circuits
                        .offers
                        .decline(circuit, &self.connection.device);
                }
                _ => return Some(Ended::Refused(Some(RelayRefusalCode::Invalid.into()))),
            },
            _ => return Some(Ended::Refused(Some(RelayRefusalCode::Invalid.into()))),
        }
        None
    }

    fn place(&mut self, wanted: place::Wanted) {
        match self
            .node
            .services
            .limiter
            .device(self.connection.device, Kind::Place)
        {
            Ok(()) => self.places.push_back(wanted),
            Err(wait) => {
                self.node.metrics.limited.add_one();
                let (request, refusal) = (wanted.request, refuse::busy(wait));
                self.out.push(&RelayMessage::Failed { request, refusal });
            }
        }
    }

    /// What has no request that could be refused by itself came too often.
    fn too_much(&self, wait: Duration) -> Option<Ended> {
        self.node.metrics.limited.add_one();
        Some(Ended::Refused(Some(refuse::busy(wait))))
    }

    /// Some work is done.
    fn done(&mut self, done: Done) -> Option<Ended> {
        match done {
            Done::Answer(message) => self.out.push(&message),
            Done::News(message) => {
                self.news.end();
                self.out.push(&message);
            }
            Done::Placed(message) => {
                self.placing = false;
                self.out.push(&message);
            }
            Done::Appended(sent) => {
                let further = self.sends.appended(self.node, self.connection, *sent);
                self.work.extend(further);
            }
            Done::Read(read) => {
                for message in self.inbox.end_read(read, Instant::now()) {
                    self.node.metrics.mail_delivered.add_one();
                    if let RelayMessage::Deliver { taken_ms, .. } = message
                        && taken_ms >= self.since_ms
                    {
                        let took = now().saturating_sub(taken_ms);
                        self.node.metrics.push.observe(Duration::from_millis(took));
                    }
                    self.out.push(&message);
                }
            }
            Done::Nothing => {}
            Done::Fetches(read) => {
                self.fetches.busy = false;
                match read {
                    Ok(fetches) if fetches.is_empty() => {}
                    Ok(fetches) => self.out.push(&RelayMessage::Fetches(fetches)),
                    Err(error) => {
                        tracing::debug!(%error, "fetches from stores could not be read");
                        self.fetches.wanted = true;
                    }
                }
            }
            Done::Acknowledged(result) => self.inbox.end_ack(result, Instant::now()),
            Done::Listed(result) => self.listed(result),
            Done::Carded(result) => {
                self.carding = false;
                if let Err(error) = result {
                    return Some(Ended::Refused(Some(refusal_of(&error))));
                }
            }
        }
        None
    }

    fn listed(&mut self, result: Result<list::Update, RegistryError>) {
        let now = Instant::now();
        self.listing.busy = false;
        match result {
            Ok(list::Update { changed, removed }) if changed.is_empty() && removed.is_empty() => {}
            Ok(list::Update { changed, removed }) => {
                self.listing.last = Some(now);
                let told = &mut self.listing.told;
                told.retain(|device| !removed.contains(device));
                for entry in &changed {
                    if !told.contains(&entry.device) {
                        told.push(entry.device);
                    }
                }
                self.out
                    .push(&RelayMessage::DevicesChanged { changed, removed });
            }
            Err(error) => {
                tracing::debug!(%error, "a list of devices could not be made");
                self.listing.all = true;
                self.listing.due = Some(now + LIST_AGAIN);
            }
        }
    }
}
