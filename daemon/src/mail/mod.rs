//! Messages between devices: an outbox, an inbox, and between them the network they share, or relays
//! that see sealed bytes.
//!
//! `send.rs` makes a message durable in the outbox, `delivery.rs` takes it to its reader on this
//! network (`direct.rs`) or to a relay; `inbox.rs` makes what arrives durable and known again, `read.rs` is what users do with it. `content.rs` is
//! what is inside, `visits.rs` what is different about senders without a device.
//!
//! Invariants: who sends is told of a message only when it is durable here; the relay is told that
//! it arrived only when it is durable there; each is shown once, and those of one sender in order.

mod content;
mod delivery;
mod direct;
mod inbox;
mod outbox;
mod read;
mod receipt;
mod records;
mod send;
mod visits;

pub(crate) use content::{
    Body, Content, Inside, Letter, ShareNote, SmallFile, decode_letter, encode_notice,
};
pub(crate) use direct::Way;
pub(crate) use inbox::Inbox;
pub(crate) use outbox::{Outbox, Outcome};
pub(crate) use read::{
    delete, free_name, get, list, mark_read, missing, outgoing, save, sender, take_back,
};
use receipt::Receipt;
pub(crate) use records::{
    Arrival, MessageRecord, PageMessage, StoredContent, VisitRecord, entry_name as stored_name,
    message_id as stored_id,
};
pub(crate) use send::{message_id, post, readers, send, send_ticket, sent};

use crate::catalogue::Notice;
use crate::nearby::NearbyService;
use futures::future::BoxFuture;
use hither_carrier::Identity;
use hither_content::storage::{Storage, StorageError};
use hither_content::{KeptClock, OwnData};
use hither_proto::{DeviceId, DevicePurpose, MessageId, RelayMessage};
use hither_relay_client::{Deliveries, Delivery, RelayClient, RelayConnection};
use hither_swarm::{DeviceStreams, Warnings};
use hither_util::sync::RwLock;
use hither_util::tasks::Tasks;
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Most messages that are made durable together.
const MAX_BATCH: usize = 32;

/// Takes what other devices say in messages that no inbox shows.
pub(crate) trait NoticeHandler: Send + Sync {
    /// Takes a notice; it is durable when this returns. Blocks.
    fn take(&self, from: DeviceId, notice: &Notice) -> Result<(), StorageError>;
}

/// Takes the messages of a kind that no inbox shows.
pub(crate) trait BodyHandler: Send + Sync {
    /// Takes one; it is durable when this returns. The same one may come again after an error or a
    /// crash. Gives what the user finds of it in the inbox, if anything. Blocks.
    ///
    /// Errors: it cannot be made durable, and is left where it is.
    fn take(
        &self,
        from: DeviceId,
        id: MessageId,
        body: &Body,
    ) -> Result<Option<Content>, StorageError>;

    /// A message that the service sent is at its reader or a relay, or never will be. Blocks.
    fn sent(&self, to: DeviceId, id: MessageId, outcome: &Outcome);
}

/// Decides about what other devices send to the user.
pub(crate) trait LetterPolicy: Send + Sync {
    /// Decides what becomes of a letter; of a visitor's, `visit` says by which link it came. Does not
    /// block, and takes no message itself.
    fn decide(&self, from: DeviceId, content: &Content, visit: Option<&VisitRecord>) -> Verdict;
}

/// Knows the visitors of this device: senders without a device, who have a link of it.
pub(crate) trait VisitorDesk: Send + Sync {
    /// Decides about what claims to be of a visitor. Blocks.
    fn admit(&self, from: DeviceId, inside: &Inside) -> Result<Admission, StorageError>;

    /// The key of the relay by which a visitor is written to; `None`: it is none.
    fn relay_of(&self, device: DeviceId) -> Option<DeviceId>;

    /// Returns whether a relay may deliver something of somebody who is no known device.
    fn may_come(&self) -> bool;

    /// Gives back the share that a message of a visitor left at a store. Durable when this returns.
    /// Blocks.
    fn release(&self, visitor: DeviceId, visit: &VisitRecord) -> Result<(), StorageError>;
}

/// The decision about what claims to be of a visitor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is none, or nothing that it may send: nobody hears of it.
    Dropped,
    /// It is too large for its link: the visitor hears so.
    Declined(VisitRecord),
    /// It is, with these contents.
    Taken(VisitRecord, Content),
}

/// The decision about a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is kept in the inbox.
    Keep(Kept),
    /// Nothing of it is shown, and its sender is told so.
    Decline,
}

/// The notes about a message that is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    /// How its files or its share arrive; `None`: the user alone decides.
    pub arrival: Option<Arrival>,
    /// The user's program is to be told of it.
    pub untold: bool,
    /// Its sender is a visitor.
    pub visit: Option<VisitRecord>,
}

/// The outcome of a message that was handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Handed {
    /// It is for the inbox.
    ForTheUser(Kept),
    /// This is for the inbox: a service has what it came as, durably, or it is of a visitor.
    Becomes(Letter, Kept),
    /// A service has it, durably.
    Done,
    /// It counts for nothing, and is not known again: whoever sends such may send any number.
    Dropped,
    /// The program ends: it is left where it is.
    Later,
}

/// The parts that messages are made of.
pub(crate) struct MailDeps {
    pub storage: Arc<dyn Storage>,
    pub identity: Arc<Identity>,
    pub relays: Arc<RelayClient>,
    pub nearby: Arc<NearbyService>,
    /// The data that belongs to Hither itself and is never sent.
    pub own: Arc<OwnData>,
    pub time: Arc<KeptClock>,
    pub warnings: Warnings,
    pub tasks: Tasks,
}

/// The messages of this device.
pub(crate) struct MailService {
    pub outbox: Outbox,
    pub inbox: Inbox,
    pub identity: Arc<Identity>,
    pub relays: Arc<RelayClient>,
    pub nearby: Arc<NearbyService>,
    pub own: Arc<OwnData>,
    pub time: Arc<KeptClock>,
    pub warnings: Warnings,
    pub tasks: Tasks,
    /// Held weakly: it may hold this service.
    notices: OnceLock<Weak<dyn NoticeHandler>>,
    /// Held weakly: it holds this service.
    letters: OnceLock<Weak<dyn LetterPolicy>>,
    /// Held weakly: it is above this service.
    visitors: OnceLock<Weak<dyn VisitorDesk>>,
    /// The handlers of messages that are for a service, by their kinds.
    bodies: RwLock<HashMap<&'static str, Weak<dyn BodyHandler>>>,
    direct_room: direct::Room,
}

impl MailService {
    /// Takes up the messages of earlier runs; nothing is sent before [`start`].
    ///
    /// Errors: the metadata store cannot be read.
    pub(crate) fn open(deps: MailDeps) -> Result<Arc<Self>, StorageError> {
        Ok(Arc::new(Self {
            outbox: Outbox::open(Arc::clone(&deps.storage))?,
            inbox: Inbox::open(deps.storage)?,
            identity: deps.identity,
            relays: deps.relays,
            nearby: deps.nearby,
            own: deps.own,
            time: deps.time,
            warnings: deps.warnings,
            tasks: deps.tasks,
            notices: OnceLock::new(),
            letters: OnceLock::new(),
            visitors: OnceLock::new(),
            bodies: RwLock::default(),
            direct_room: direct::Room::default(),
        }))
    }

    /// Registers who takes notices; before, they are left at the relay.
    pub(crate) fn handle_notices(&self, handler: Weak<dyn NoticeHandler>) {
        let _ = self.notices.set(handler); // The first one stays.
    }

    /// Registers who decides about letters; before, all are kept.
    pub(crate) fn handle_letters(&self, policy: Weak<dyn LetterPolicy>) {
        let _ = self.letters.set(policy); // The first one stays.
    }

    /// Registers who knows visitors; before, nothing of any is taken.
    pub(crate) fn handle_visitors(&self, desk: Weak<dyn VisitorDesk>) {
        let _ = self.visitors.set(desk); // The first one stays.
    }

    /// Registers who takes the messages of a kind that no inbox shows; before, they are left where
    /// they are. It is held weakly: it may hold this service.
    pub(crate) fn handle_bodies(&self, kind: &'static str, handler: Weak<dyn BodyHandler>) {
        self.bodies.write().insert(kind, handler);
    }

    /// Tells a service what became of a message of its kind. Blocks.
    fn tell_service(&self, kind: &str, to: DeviceId, id: MessageId, outcome: &Outcome) {
        let handler = self.bodies.read().get(kind).and_then(Weak::upgrade);
        if let Some(handler) = handler {
            handler.sent(to, id, outcome);
        }
    }

    /// Gives what came inside a message to whoever it is for. Blocks.
    fn hand_over(
        &self,
        delivery: &Delivery,
        inside: &Inside,
        declines: &mut Vec<Told>,
    ) -> Result<Handed, StorageError> {
        if self.nearby.known().is_removed(delivery.from) {
            tracing::info!(from = ?delivery.from, "a letter of a removed device is dropped");
            return Ok(Handed::Done);
        }
        if inside.visitor().is_some() {
            return self.hand_over_visit(delivery, inside, declines);
        }
        if self.is_uninvited(delivery.from) {
            tracing::debug!(from = ?delivery.from, "a letter of nobody known is dropped");
            return Ok(Handed::Dropped);
        }
        match inside {
            Inside::Letter(letter) => match self.verdict(delivery.from, &letter.content, None) {
                Verdict::Keep(kept) => {
                    let is_asked = matches!(kept.arrival, Some(Arrival::Asked { .. }));
                    if letter.receipt && !is_asked {
                        self.taken(delivery.from, delivery.id);
                    }
                    return Ok(Handed::ForTheUser(kept));
                }
                Verdict::Decline => declines.extend(self.decline(delivery.from, delivery.id)),
            },
            Inside::Catalogue(notice) => self.take_notice(delivery.from, notice)?,
            Inside::Body(body) if body.kind == receipt::RECEIPT => {
                match receipt::decode(&body.payload) {
                    Some((Receipt::Declined, id)) => {
                        let known = self.outbox.declined(delivery.from, id)?;
                        tracing::info!(from = ?delivery.from, known, "a message was declined");
                    }
                    Some((Receipt::Taken, id)) => {
                        self.outbox.taken(delivery.from, id, self.time.seconds())?;
                    }
                    None => {}
                }
            }
            Inside::Body(body) => {
                let handler = self.bodies.read().get(body.kind.as_str()).cloned();
                match handler.as_ref().map(Weak::upgrade) {
                    // Something of a later version: the user sees that it is there.
                    None => return Ok(Handed::ForTheUser(Kept::default())),
                    Some(None) => return Ok(Handed::Later),
                    Some(Some(handler)) => {
                        let shown = handler.take(delivery.from, delivery.id, body)?;
                        let letter = shown.map(|content| Letter {
                            made_ms: body.made_ms,
                            content,
                            receipt: false,
                            visitor: None,
                            after: None,
                        });
                        return Ok(letter.map_or(Handed::Done, |letter| {
                            Handed::Becomes(letter, Kept::default())
                        }));
                    }
                }
            }
        }
        Ok(Handed::Done)
    }

    fn verdict(&self, from: DeviceId, content: &Content, visit: Option<&VisitRecord>) -> Verdict {
        match self.letters.get().and_then(Weak::upgrade) {
            Some(policy) => policy.decide(from, content, visit),
            None => Verdict::Keep(Kept::default()),
        }
    }

    /// Tells the sender of a message that it is not wanted, durably. Says what becomes of that.
    /// Blocks.
    pub(crate) fn decline(&self, from: DeviceId, id: MessageId) -> Option<Told> {
        if !self.may_be_told(from) {
            return None;
        }
        let posted = message_id().and_then(|letter| {
            post(
                self,
                from,
                letter,
                &receipt::letter(Receipt::Declined, id),
                None,
            )
        });
        posted
            .inspect_err(
                |error| tracing::warn!(%error, "a sender is not told that it was declined"),
            )
            .ok()
    }

    /// Tells the sender of a message that it was taken, durably. Blocks.
    pub(crate) fn taken(&self, from: DeviceId, id: MessageId) {
        if !self.may_be_told(from) {
            return;
        }
        let body = receipt::letter(Receipt::Taken, id);
        let posted = message_id().and_then(|letter| post(self, from, letter, &body, None));
        if let Err(error) = posted {
            tracing::warn!(%error, "a sender is not told that its message was taken");
        }
    }

    /// Makes deliveries durable, in order. Also returns the words to senders that were declined.
    /// Blocks.
    fn take_all(&self, deliveries: &[Delivery]) -> Result<(inbox::Taken, Vec<Told>), StorageError> {
        let (now, mut declines) = (self.time.seconds(), Vec::new());
        let taken = self
            .inbox
            .take(&self.identity, deliveries, now, &mut |delivery, inside| {
                self.hand_over(delivery, inside, &mut declines)
            })?;
        for refused in &taken.refused {
            declines.extend(self.turn_away(refused.from, refused.id, &refused.visit)?);
        }
        Ok((taken, declines))
    }

    fn take_notice(&self, from: DeviceId, notice: &serde_json::Value) -> Result<(), StorageError> {
        let notice = match Notice::deserialize(notice) {
            Ok(notice) => notice,
            Err(error) => {
                tracing::debug!(?from, %error, "a notice that is none is dropped");
                return Ok(());
            }
        };
        match self.notices.get().and_then(Weak::upgrade) {
            Some(handler) => handler.take(from, &notice),
            None => Ok(()), // The daemon ends; its catalogue's digest shows what was missed.
        }
    }
}

/// Starts delivering what is in the outbox, and taking what comes directly.
pub(crate) fn start(mail: &Arc<MailService>) {
    let direct: Arc<dyn DeviceStreams> = Arc::clone(mail) as _;
    let swarm = &mail.nearby.swarm;
    swarm.serve_device_streams(DevicePurpose::Mail, Arc::downgrade(&direct));
    mail.tasks.spawn_forever(delivery::run(Arc::clone(mail)));
}

/// The outcome of the first attempt to send a message.
type Told = oneshot::Receiver<Outcome>;

/// How long a message that is declined is not acknowledged while its sender is told: who hears that
/// it was delivered has heard before that it was declined.
const DECLINING: Duration = Duration::from_secs(2);

/// Waits until senders have heard that what they sent is declined, but not long.
async fn tell_declined(declines: Vec<Told>) {
    if !declines.is_empty() {
        let told = futures::future::join_all(declines);
        let _ = tokio::time::timeout(DECLINING, told).await; // it comes to them later then
    }
}

/// How long after it was welcomed a connection may still bring what waited at the relay.
const FIRST_WORDS: Duration = Duration::from_millis(500);

/// Waits a moment for what relays have kept, when they were reached only just now.
pub(crate) async fn settle(mail: &MailService) {
    let mut latest = mail.inbox.latest();
    mail.relays.settle().await;
    let youngest = mail
        .relays
        .connected()
        .iter()
        .map(|connection| connection.since)
        .max();
    let Some(until) = youngest.map(|since| since + FIRST_WORDS) else {
        return;
    };
    // Messages arrive together: the first of them ends the wait.
    let _ = tokio::time::timeout_at(until.into(), latest.changed()).await;
}

/// Takes what one connection delivers, until it ends.
pub(crate) async fn receive(
    mail: Arc<MailService>,
    connection: Arc<RelayConnection>,
    mut deliveries: mpsc::Receiver<Delivery>,
) {
    let mut batch = Vec::new();
    let mut strangers = visits::Strangers::default();
    while deliveries.recv_many(&mut batch, MAX_BATCH).await > 0 {
        let (of, got) = (Arc::clone(&mail), std::mem::take(&mut batch));
        visits::meet(&mail, &got, &mut strangers).await;
        let taken = tokio::task::spawn_blocking(move || of.take_all(&got)).await;
        let taken = match taken {
            Ok(Ok((taken, declines))) => {
                tell_declined(declines).await;
                taken
            }
            Ok(Err(error)) => {
                // Not acknowledged: it comes again on the next connection.
                mail.warnings
                    .add(format!("Messages that arrived could not be kept: {error}."));
                return connection.close();
            }
            Err(error) => return tracing::debug!(%error, "messages are left at the relay"),
        };
        if taken.new > 0 {
            tracing::info!(messages = taken.new, "messages arrived");
        }
        if let Some(seq) = taken.upto {
            connection.tell(RelayMessage::Received { seq }).await;
        }
        if taken.full {
            return wait_for_room(&mail, &connection, deliveries).await;
        }
    }
}

/// Messages that arrive meanwhile are not taken; they come again on the connection that follows.
async fn wait_for_room(
    mail: &MailService,
    connection: &RelayConnection,
    mut deliveries: mpsc::Receiver<Delivery>,
) {
    mail.warnings.add(
        "The inbox is full: messages stay at the relay until some are deleted (hither inbox delete).".into(),
    );
    let drained = async { while deliveries.recv().await.is_some() {} };
    tokio::select! {
        () = mail.inbox.room.notified() => connection.close(),
        () = connection.ended() => {}
        () = drained => {}
    }
}

impl Deliveries for MailService {
    fn receive(
        self: Arc<Self>,
        connection: Arc<RelayConnection>,
        deliveries: mpsc::Receiver<Delivery>,
    ) -> BoxFuture<'static, ()> {
        Box::pin(receive(self, connection, deliveries))
    }
}
