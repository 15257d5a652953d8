//! The long connection to one relay: requests and their answers, the relay's own messages, pings.
//!
//! One loop reads and pings, one writes. Invariants: at most [`MAX_PENDING`] requests wait for
//! answers and [`MAX_QUEUED`] messages wait to be written, beyond that requests are refused and
//! tellers wait; a request that waits when the connection ends fails as lost.

use super::cards::Published;
use super::circuit::Offer;
use super::dial::RelayStream;
pub(crate) use super::failing::{End, RequestError};
use super::keep_alive::{KeepAlive, KeepAliveAction};
use bytes::Bytes;
use hither_carrier::{
    CarrierKind, Link, Paths, RecvHalf, RelayReader, SendHalf, write_relay_message,
};
use hither_proto::{
    CircuitMessage, CodeAnswer, CodeRequest, DeviceEntry, DeviceId, GroupAnswer, GroupChange,
    GroupRequest, MessageId, Nearness, OwnAnswer, OwnRequest, RelayAddress, RelayMessage, ShareId,
    StoreFetch, Welcome,
};
use hither_util::sync::Mutex;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Most requests without an answer.
const MAX_PENDING: usize = 256;
/// Most messages that wait to be written.
const MAX_QUEUED: usize = 64;
/// Most messages from other devices that wait to be made durable, most circuits that they ask for,
/// and most other news.
const MAX_NEWS: usize = 32;
/// Longest wait for the answer to a request. The relay makes things durable first, and may be far
/// away.
const ANSWER: Duration = Duration::from_secs(30);
/// An answer that takes longer makes one wonder whether the relay is there.
const PROMPT: Duration = Duration::from_secs(1);
/// How long a connection that is left waits for its last answers.
const LEAVE: Duration = Duration::from_secs(3);

/// The messages a relay sends on its own account.
#[derive(Debug)]
pub(crate) enum Notice {
    /// The user's devices changed.
    Devices {
        changed: Vec<DeviceEntry>,
        removed: Vec<DeviceId>,
    },
    /// Go to another relay.
    Move(Vec<RelayAddress>),
    /// Something about groups changed; `all`: anything may have.
    Groups {
        changes: Vec<GroupChange>,
        all: bool,
    },
    /// The readers of shares of this device from stores.
    Fetches(Vec<StoreFetch>),
}

/// A message from another device, still sealed.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Its number in the mailbox.
    pub seq: u64,
    /// The sender.
    pub from: DeviceId,
    /// The sender's name for it.
    pub id: MessageId,
    /// Its content, sealed for this device.
    pub sealed: Bytes,
    /// By the relay's clock, Unix milliseconds.
    pub taken_ms: u64,
}

#[derive(Debug, Default)]
struct Pending {
    last: u64,
    waiting: HashMap<u64, oneshot::Sender<RelayMessage>>,
}

/// A long connection that was welcomed.
#[derive(Debug)]
pub struct RelayConnection {
    /// The relay, as it was dialled.
    pub relay: RelayAddress,
    link: Link,
    remote: SocketAddr,
    paths: Arc<Paths>,
    /// When it was welcomed.
    pub since: Instant,
    welcome: Welcome,
    outgoing: mpsc::Sender<RelayMessage>,
    pending: Mutex<Pending>,
    /// A request was answered.
    answered: Notify,
    keep_alive: Mutex<KeepAlive>,
    /// The keep_alive is to be looked at before its time.
    nudged: Notify,
    pub(crate) published: Mutex<Published>,
    closed: CancellationToken,
}

/// The destinations of a relay's messages.
#[derive(Debug)]
struct Out {
    notices: mpsc::Sender<Notice>,
    deliveries: mpsc::Sender<Delivery>,
    offers: mpsc::Sender<Offer>,
}

/// The other ends of a connection's queues.
#[derive(Debug)]
pub(crate) struct Ends {
    outgoing: mpsc::Receiver<RelayMessage>,
    out: Out,
}

/// The messages that come out of a connection.
#[derive(Debug)]
pub(crate) struct News {
    pub notices: mpsc::Receiver<Notice>,
    pub deliveries: mpsc::Receiver<Delivery>,
    pub offers: mpsc::Receiver<Offer>,
}

impl RelayConnection {
    /// A connection over a stream that was welcomed; [`run`](Self::run) makes it work.
    pub(crate) fn new(
        relay: RelayAddress,
        stream: &RelayStream,
        welcome: Welcome,
        paths: &Arc<Paths>,
    ) -> (Arc<Self>, Ends, News) {
        let (outgoing, written) = mpsc::channel(MAX_QUEUED);
        let (notices, notice) = mpsc::channel(MAX_NEWS);
        let (deliveries, delivery) = mpsc::channel(MAX_NEWS);
        let (offers, offer) = mpsc::channel(MAX_NEWS);
        let period = Duration::from_millis(u64::from(welcome.ping_ms));
        let connection = Self {
            relay,
            link: stream.link.clone(),
            remote: stream.stream.remote,
            paths: Arc::clone(paths),
            since: Instant::now(),
            welcome,
            outgoing,
            pending: Mutex::default(),
            answered: Notify::new(),
            keep_alive: Mutex::new(KeepAlive::new(period, Instant::now())),
            nudged: Notify::new(),
            published: Mutex::default(),
            closed: CancellationToken::new(),
        };
        let ends = Ends {
            outgoing: written,
            out: Out {
                notices,
                deliveries,
                offers,
            },
        };
        (
            Arc::new(connection),
            ends,
            News {
                notices: notice,
                deliveries: delivery,
                offers: offer,
            },
        )
    }

    /// Works until the connection ends. After it nothing of the connection is left but the object.
    pub(crate) async fn run(&self, stream: RelayStream, ends: Ends) -> End {
        let RelayStream {
            stream, mut reader, ..
        } = stream;
        let (mut send, mut recv) = (stream.send, stream.recv);
        let Ends { outgoing, out } = ends;
        let end = tokio::select! {
            end = self.read(&mut recv, &mut reader, &out) => end,
            end = write(&mut send, outgoing) => end,
            () = self.closed.cancelled() => End::Closed,
        };
        self.closed.cancel();
        self.pending().waiting.clear();
        self.answered.notify_waiters();
        self.link.close("the long connection ended");
        end
    }

    /// Reads what comes, and pings when it is time.
    async fn read(&self, recv: &mut RecvHalf, reader: &mut RelayReader, out: &Out) -> End {
        let mut arrived = 0;
        loop {
            let now = Instant::now();
            let beat = self.keep_alive().poll(now);
            let until = match beat {
                KeepAliveAction::Ping(nonce) => {
                    // When even this cannot be queued, the ping counts as unanswered.
                    let _ = self.outgoing.try_send(RelayMessage::Ping { nonce });
                    continue;
                }
                // Part of a long message came meanwhile: the relay is there, behind a thin line.
                KeepAliveAction::Dead if reader.arrived() > arrived => {
                    arrived = reader.arrived();
                    self.keep_alive().heard(now);
                    continue;
                }
                KeepAliveAction::Dead => return End::Silent,
                KeepAliveAction::Wait(until) => until,
            };
            tokio::select! {
                message = reader.next(recv) => {
                    // A ping of the relay does not show whether this device's messages get there.
                    let asks = matches!(message, Ok(Some(RelayMessage::Ping { .. })));
                    match message {
                        Ok(Some(message)) => {
                            if let Err(end) = self.take_pinging(message, out).await {
                                return end;
                            }
                        }
                        Ok(None) => return End::Ended,
                        Err(error) => return End::Broken(error.to_string()),
                    }
                    // Now, and not before it was taken: what takes long here is no silence of the relay.
                    arrived = 0;
                    if !asks {
                        self.keep_alive().heard(Instant::now());
                    }
                }
                () = tokio::time::sleep_until(until.into()) => {}
                () = self.nudged.notified() => {}
            }
        }
    }

    /// Takes one message. However long that lasts, the relay learns that this device is there.
    async fn take_pinging(&self, message: RelayMessage, out: &Out) -> Result<(), End> {
        let mut taken = pin!(self.take(message, out));
        loop {
            let next = self.keep_alive().next();
            tokio::select! {
                taken = &mut taken => return taken,
                () = tokio::time::sleep_until(next.into()) => {
                    if let Some(nonce) = self.keep_alive().busy(Instant::now()) {
                        // When it cannot be queued, what is queued is a sign of life.
                        let _ = self.outgoing.try_send(RelayMessage::Ping { nonce });
                    }
                }
            }
        }
    }

    /// Takes one message. Waits while the queue that it belongs in is full: the relay is slowed
    /// down by flow control.
    async fn take(&self, message: RelayMessage, out: &Out) -> Result<(), End> {
        match message {
            RelayMessage::Pong { nonce } => self.keep_alive().pong(nonce, Instant::now()),
            RelayMessage::Ping { nonce } => self.tell(RelayMessage::Pong { nonce }).await,
            RelayMessage::Refused(refusal) => return Err(End::Refused(refusal)),
            RelayMessage::DevicesChanged { changed, removed } => {
                // Fails only when nobody listens any more: the connection is being left.
                let _ = out.notices.send(Notice::Devices { changed, removed }).await;
            }
            RelayMessage::Move { relays } => {
                let _ = out.notices.send(Notice::Move(relays)).await;
            }
            RelayMessage::Fetches(fetches) => {
                let _ = out.notices.send(Notice::Fetches(fetches)).await;
            }
            RelayMessage::GroupNews { changes, all } => {
                let _ = out.notices.send(Notice::Groups { changes, all }).await;
            }
            RelayMessage::Deliver {
                seq,
                from,
                id,
                sealed,
                taken_ms,
            } => {
                let _ = out
                    .deliveries
                    .send(Delivery {
                        seq,
                        from,
                        id,
                        sealed,
                        taken_ms,
                    })
                    .await;
            }
            RelayMessage::Sent { request, .. }
            | RelayMessage::Placed { request, .. }
            | RelayMessage::Released { request }
            | RelayMessage::GroupAnswered { request, .. }
            | RelayMessage::CodeAnswered { request, .. }
            | RelayMessage::OwnAnswered { request, .. }
            | RelayMessage::Failed { request, .. } => self.answer(request, message),
            RelayMessage::Circuit(message) => {
                // One too many is left to expire: nobody may hold the others up by asking.
                if let CircuitMessage::Incoming {
                    circuit,
                    from,
                    knock,
                } = *message
                {
                    let _ = out.offers.try_send(Offer {
                        circuit,
                        from,
                        knock,
                    });
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn answer(&self, request: u64, message: RelayMessage) {
        if let Some(waiting) = self.pending().waiting.remove(&request) {
            let _ = waiting.send(message); // whoever asked may not wait any more
        }
        self.answered.notify_waiters();
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock()
    }

    fn keep_alive(&self) -> MutexGuard<'_, KeepAlive> {
        self.keep_alive.lock()
    }

    // --- what others do with it ---

    /// Queues a message to which there is no answer.
    pub async fn tell(&self, message: RelayMessage) {
        self.owe(&message);
        tokio::select! {
            _ = self.outgoing.send(message) => {}
            () = self.closed.cancelled() => {}
        }
    }

    /// A pong waits behind everything long that was sent before its ping.
    fn owe(&self, message: &RelayMessage) {
        let length = match message {
            RelayMessage::Send { sealed, .. } => sealed.len(),
            RelayMessage::Cards(cards) => cards.iter().map(|card| card.sealed.len()).sum(),
            _ => return,
        };
        self.keep_alive().sent(length);
    }

    async fn request(
        &self,
        make: impl FnOnce(u64) -> RelayMessage,
    ) -> Result<RelayMessage, RequestError> {
        let (sender, answer) = oneshot::channel();
        let number = {
            let mut pending = self.pending();
            if self.closed.is_cancelled() {
                return Err(RequestError::Lost);
            }
            if pending.waiting.len() >= MAX_PENDING {
                return Err(RequestError::TooMany);
            }
            pending.last += 1;
            let number = pending.last;
            pending.waiting.insert(number, sender);
            number
        };
        // Also when the caller gives up.
        let _forget = Forget {
            connection: self,
            number,
        };
        self.tell(make(number)).await;
        match self.answered_in_time(answer).await {
            Ok(Ok(RelayMessage::Failed { refusal, .. })) => Err(RequestError::Refused(refusal)),
            Ok(Ok(message)) => Ok(message),
            Ok(Err(_)) => Err(RequestError::Lost),
            Err(_) => Err(RequestError::TimedOut),
        }
    }

    /// Waits for an answer; when it takes long, finds out whether the relay is there at all.
    async fn answered_in_time(
        &self,
        answer: oneshot::Receiver<RelayMessage>,
    ) -> Result<Result<RelayMessage, oneshot::error::RecvError>, Elapsed> {
        let mut answer = pin!(answer);
        match timeout(PROMPT, &mut answer).await {
            Ok(answer) => Ok(answer),
            Err(_) => {
                self.doubt();
                timeout(ANSWER, answer).await
            }
        }
    }

    /// Sends a message to another device of the user; says whether the device was there (else it is
    /// kept for it).
    pub async fn send(
        &self,
        to: DeviceId,
        id: MessageId,
        sealed: Bytes,
    ) -> Result<bool, RequestError> {
        let answer = self
            .request(|request| RelayMessage::Send {
                request,
                to,
                id,
                sealed,
                keep_s: 0,
            })
            .await?;
        match answer {
            RelayMessage::Sent { forwarded, .. } => Ok(forwarded),
            _ => Err(RequestError::Unexpected),
        }
    }

    /// Asks where a share of so many bytes of ciphertext may be uploaded.
    pub async fn place(
        &self,
        share: ShareId,
        bytes: u64,
        near: Vec<Nearness>,
    ) -> Result<RelayAddress, RequestError> {
        match self
            .request(|request| RelayMessage::Place {
                request,
                share,
                bytes,
                near,
            })
            .await?
        {
            RelayMessage::Placed { store, .. } => Ok(store),
            _ => Err(RequestError::Unexpected),
        }
    }

    /// Asks something about groups, or wants something changed.
    pub async fn group(&self, what: GroupRequest) -> Result<GroupAnswer, RequestError> {
        let what = Box::new(what);
        match self
            .request(|request| RelayMessage::Group { request, what })
            .await?
        {
            RelayMessage::GroupAnswered { answer, .. } => Ok(*answer),
            _ => Err(RequestError::Unexpected),
        }
    }

    /// Asks something about codes that are said, or for an invitation.
    pub async fn code(&self, what: CodeRequest) -> Result<CodeAnswer, RequestError> {
        match self
            .request(|request| RelayMessage::Code { request, what })
            .await?
        {
            RelayMessage::CodeAnswered { answer, .. } => Ok(answer),
            _ => Err(RequestError::Unexpected),
        }
    }

    /// Asks for something about the devices of the user.
    pub async fn own(&self, what: OwnRequest) -> Result<OwnAnswer, RequestError> {
        match self
            .request(|request| RelayMessage::Own { request, what })
            .await?
        {
            RelayMessage::OwnAnswered { answer, .. } => Ok(answer),
            _ => Err(RequestError::Unexpected),
        }
    }

    /// Says that a share need not be kept any more.
    pub async fn release(&self, share: ShareId) -> Result<(), RequestError> {
        match self
            .request(|request| RelayMessage::Release { request, share })
            .await?
        {
            RelayMessage::Released { .. } => Ok(()),
            _ => Err(RequestError::Unexpected),
        }
    }

    /// Returns the relay's welcome when the connection began (the devices are those of then).
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Smoothed round-trip time of pings; the link's own until one was answered.
    pub(crate) fn rtt(&self) -> Duration {
        self.keep_alive().rtt().unwrap_or_else(|| self.link.rtt())
    }

    /// Returns the carrier of the connection.
    pub(crate) fn carrier(&self) -> CarrierKind {
        self.link.carrier()
    }

    /// Returns the relay's address.
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// The link beneath, on which more streams to the same relay can be opened while the connection
    /// lives.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Returns whether this device's messages stay unanswered, whatever the relay sends.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.keep_alive().is_unanswered(Instant::now())
    }

    /// Returns whether it has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Returns when it has ended.
    pub async fn ended(&self) {
        self.closed.cancelled().await;
    }

    /// The network may be another one: finds out at once whether the relay still answers.
    pub(crate) fn probe(&self) {
        self.keep_alive().probe(Instant::now());
        self.nudged.notify_one();
    }

    /// A request is not answered: finds out soon whether what is sent gets there.
    fn doubt(&self) {
        let short = self.carrier() == CarrierKind::Tcp && self.paths.may_shorten(self.relay.key);
        self.keep_alive().doubt(short, Instant::now());
        self.nudged.notify_one();
    }

    /// Ends it now.
    pub fn close(&self) {
        self.closed.cancel();
    }

    /// Ends it when the requests that wait have been answered, but soon.
    pub(crate) async fn leave(&self) {
        let quiet = async {
            loop {
                let answered = self.answered.notified();
                if self.pending().waiting.is_empty() || self.is_closed() {
                    return;
                }
                answered.await;
            }
        };
        let _ = timeout(LEAVE, quiet).await;
        self.close();
    }
}

/// Forgets a request when nobody waits for it any more.
struct Forget<'a> {
    connection: &'a RelayConnection,
    number: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.connection.pending().waiting.remove(&self.number);
        self.connection.answered.notify_waiters();
    }
}

async fn write(send: &mut SendHalf, mut outgoing: mpsc::Receiver<RelayMessage>) -> End {
    while let Some(message) = outgoing.recv().await {
        if let Err(error) = write_relay_message(send, &message).await {
            return End::Broken(error.to_string());
        }
    }
    End::Closed
}
