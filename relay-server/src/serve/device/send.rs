//! Messages to other devices of the same user, and to those of other users that have named the
//! sender: durable in their mailbox before the sender hears of it.
//!
//! A device reads what another one sent in the order in which it was sent. The state gives calls
//! made beside each other no order, so of one connection there is one call for a device at a time,
//! with all messages that have come meanwhile.

use super::device_connection::Done;
use super::own::has_contact;
use crate::config::MailConfig;
use crate::node::{Node, now_ms};
use crate::ops::labels::Request;
use crate::serve::front::{Connection, wake};
use crate::serve::limits::Kind;
use crate::serve::records::mail_queue;
use crate::serve::refuse;
use crate::serve::registry::{RegistryError, user_of};
use crate::serve::visit::book::{self, VisitError};
use crate::serve::visit::{Standing, Visit};
use crate::serve::waking;
use crate::state::{Appended, Limits, NewItem, StateError};
use bytes::Bytes;
use futures::future::BoxFuture;
use hither_proto::{DeviceId, MessageId, RelayMessage, RelayRefusal, RelayRefusalCode, UserId};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use tokio::time::timeout;

/// Most messages of one connection that are not in a mailbox yet.
const MAX_MESSAGES: usize = 256;
/// Most messages put with one call.
const MAX_BATCH: usize = 64;
/// Most bytes of those.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Most messages, and bytes of them, of one visitor in its host's mailbox.
const VISITOR_ITEMS: u64 = 64;
const VISITOR_BYTES: u64 = 4 * 1024 * 1024;
/// Longest time for which a message of an asker, or to one, is kept.
const ASKED_KEEP_MS: u64 = 3600 * 1000;

/// A message as it came.
#[derive(Debug)]
pub(super) struct Mail {
    pub(super) request: u64,
    pub(super) to: DeviceId,
    pub(super) id: MessageId,
    pub(super) sealed: Bytes,
    pub(super) keep_s: u32,
    /// When it came.
    pub(super) asked: std::time::Instant,
}

/// What became of some messages to one device.
pub(super) struct Sent {
    to: DeviceId,
    /// The user of the reader; `None`: nothing was put.
    reader: Option<UserId>,
    bytes: usize,
    /// The request of each, and its place or why it has none.
    results: Vec<(u64, Result<u64, RelayRefusal>)>,
}

type Work = BoxFuture<'static, Done>;

/// The messages of one connection on their way into mailboxes.
#[derive(Debug, Default)]
pub(super) struct Sends {
    /// Those that wait for the one before to the same device. A device is in here while one to it
    /// is under way.
    waiting: HashMap<DeviceId, VecDeque<Mail>>,
    messages: usize,
    bytes: usize,
    /// Devices that were found to be the user's, so that not every message asks.
    known: BTreeSet<DeviceId>,
}

impl Sends {
    pub(super) fn is_full(&self) -> bool {
        self.messages >= MAX_MESSAGES || self.bytes >= MAX_BYTES
    }

    /// Something about a device changed: whose it is must be asked anew.
    pub(super) fn forget(&mut self, device: &DeviceId) {
        self.known.remove(device);
    }

    /// Takes a message; what it returns is to be worked on.
    pub(super) fn accept(
        &mut self,
        node: &Arc<Node>,
        connection: &Connection,
        mail: Mail,
    ) -> Result<Option<Work>, RelayRefusal> {
        if mail.sealed.len() as u64 > node.config.mail.max_message.0 || mail.to == connection.device
        {
            return Err(RelayRefusalCode::Invalid.into());
        }
        let limiter = &node.services.limiter;
        let counted = match connection.standing.is_device() {
            true => Ok(()),
            false => limiter.device(connection.device, Kind::VisitSend),
        };
        counted
            .and_then(|()| limiter.send(connection.device, mail.sealed.len()))
            .map_err(|wait| {
                node.metrics.limited.add_one();
                refuse::busy(wait)
            })?;
        self.messages += 1;
        self.bytes += mail.sealed.len();
        if let Some(before) = self.waiting.get_mut(&mail.to) {
            before.push_back(mail);
            return Ok(None);
        }
        self.waiting.insert(mail.to, VecDeque::new());
        Ok(Some(self.put(node, connection, mail.to, vec![mail])))
    }

    fn put(
        &self,
        node: &Arc<Node>,
        connection: &Connection,
        to: DeviceId,
        mails: Vec<Mail>,
    ) -> Work {
        let (node, from) = (Arc::clone(node), Sender::of(connection));
        let known = self.known.contains(&to);
        Box::pin(async move {
            let bytes = mails.iter().map(|mail| mail.sealed.len()).sum();
            let theirs = if known {
                Ok(from.user)
            } else {
                takes(&node, &from, &to).await
            };
            let results = match theirs {
                Ok(_) => append(&node, &from, &to, mails).await,
                Err(refusal) => mails
                    .iter()
                    .map(|mail| (mail.request, Err(refusal)))
                    .collect(),
            };
            let reader = theirs.ok();
            Done::Appended(Box::new(Sent {
                to,
                reader,
                bytes,
                results,
            }))
        })
    }

    /// Messages are in their mailbox, or are not: the next ones to that device, and what remains to
    /// be done for these.
    pub(super) fn appended(
        &mut self,
        node: &Arc<Node>,
        connection: &Connection,
        sent: Sent,
    ) -> Vec<Work> {
        let Sent {
            to,
            reader,
            bytes,
            results,
        } = sent;
        let is_own = reader == Some(connection.user);
        self.messages -= results.len();
        self.bytes -= bytes;
        // A device of another user's may stop naming the sender at any time: it is asked each time.
        if is_own && results.iter().any(|(_, result)| result.is_ok()) {
            self.known.insert(to);
        }
        let mut work = Vec::with_capacity(results.len() + 1);
        let waiting = self
            .waiting
            .get_mut(&to)
            .filter(|waiting| !waiting.is_empty());
        match waiting.map(|waiting| waiting.drain(..waiting.len().min(MAX_BATCH)).collect()) {
            Some(next) => work.push(self.put(node, connection, to, next)),
            None => drop(self.waiting.remove(&to)),
        }
        for (request, result) in results {
            work.push(answer(
                Arc::clone(node),
                reader.unwrap_or(connection.user),
                to,
                request,
                result,
            ));
        }
        work
    }
}

/// The sender.
struct Sender {
    device: DeviceId,
    user: UserId,
    standing: Standing,
}

impl Sender {
    fn of(connection: &Connection) -> Self {
        Self {
            device: connection.device,
            user: connection.user,
            standing: connection.standing.clone(),
        }
    }
}

/// Returns the user of the reader, if it takes messages of the sender: another device of the same
/// user, one that has named it, the host of a visitor, and a visitor of the host. "Does not name you"
/// and "not there" are one answer.
async fn takes(node: &Node, from: &Sender, to: &DeviceId) -> Result<UserId, RelayRefusal> {
    let found = async {
        let record = match &from.standing {
            Standing::Visitor(visit) => {
                return Ok((visit.host == *to).then_some(visit.host_user));
            }
            Standing::Asker(_) => None,
            Standing::Device | Standing::Page => node.registry.device(to).await?,
        };
        let Some(record) = record else {
            return visitor(node, &from.device, to).await;
        };
        if record.revoked {
            return Ok(None);
        }
        let theirs = user_of(&record)?;
        let takes = theirs == from.user || has_contact(node, to, &from.device).await?;
        Ok(takes.then_some(theirs))
    };
    match found.await {
        Ok(Some(reader)) => Ok(reader),
        Ok(None) => Err(RelayRefusalCode::NotFound.into()),
        Err::<_, RegistryError>(error) => Err(super::refusal_of(&error)),
    }
}

/// Under which user a visitor of the host is present, if it is one.
async fn visitor(
    node: &Node,
    host: &DeviceId,
    visitor: &DeviceId,
) -> Result<Option<UserId>, RegistryError> {
    match book::visit_to(node.state.as_ref(), host, visitor, now_ms()).await {
        Ok(visit) => Ok(visit.map(|visit| visit.user())),
        Err(VisitError::Registry(error)) => Err(error),
        Err(VisitError::Over | VisitError::NotYours | VisitError::Full) => Ok(None),
    }
}

async fn append(
    node: &Node,
    from: &Sender,
    to: &DeviceId,
    mails: Vec<Mail>,
) -> Vec<(u64, Result<u64, RelayRefusal>)> {
    let requests: Vec<_> = mails
        .iter()
        .map(|mail| (mail.request, mail.asked))
        .collect();
    let items = mails
        .into_iter()
        .map(|mail| item(node, from, mail))
        .collect();
    let answers = node.state.append_all(&mail_queue(to), items).await;
    let result = |((request, asked), answer): (_, Result<Appended, StateError>)| match answer {
        Ok(appended) => {
            node.metrics.requests.of(Request::Send).since(asked);
            (request, Ok(appended.seq))
        }
        Err(error) => (request, Err(refuse::of_state(&error))),
    };
    requests.into_iter().zip(answers).map(result).collect()
}

fn item(node: &Node, from: &Sender, mail: Mail) -> NewItem {
    let config = &node.config.mail;
    let longest = match &from.standing {
        Standing::Asker(_) | Standing::Visitor(Visit { asked: true, .. }) => {
            config.keep.as_millis().min(ASKED_KEEP_MS)
        }
        _ => config.keep.as_millis(),
    };
    let keep_ms = match u64::from(mail.keep_s) * 1000 {
        0 => longest,
        wanted => wanted.min(longest),
    };
    NewItem {
        id: *mail.id.as_bytes(),
        source: Bytes::copy_from_slice(from.device.as_bytes()),
        value: mail.sealed,
        expires_ms: now_ms().saturating_add(keep_ms),
        limits: limits(config, &from.standing),
    }
}

/// The room of a mailbox for a sender. All visitors together fill no more than half of it, so that
/// they keep out nobody else.
fn limits(config: &MailConfig, standing: &Standing) -> Limits {
    match standing {
        Standing::Visitor(_) => Limits {
            items: config.items / 2,
            bytes: config.bytes.0 / 2,
            source_items: config.source_items.min(VISITOR_ITEMS),
            source_bytes: config.source_bytes.0.min(VISITOR_BYTES),
        },
        Standing::Asker(_) => Limits {
            items: config.items,
            bytes: config.bytes.0,
            source_items: config.source_items.min(VISITOR_ITEMS),
            source_bytes: config.source_bytes.0.min(VISITOR_BYTES),
        },
        Standing::Device | Standing::Page => Limits {
            items: config.items,
            bytes: config.bytes.0,
            source_items: config.source_items,
            source_bytes: config.source_bytes.0,
        },
    }
}

/// Has the reader told, if it is connected, and answers when it has acknowledged, or not soon
/// enough.
fn answer(
    node: Arc<Node>,
    user: UserId,
    to: DeviceId,
    request: u64,
    result: Result<u64, RelayRefusal>,
) -> Work {
    Box::pin(async move {
        let seq = match result {
            Ok(seq) => seq,
            Err(refusal) => {
                node.metrics.mail_refused.add_one();
                return Done::Answer(RelayMessage::Failed { request, refusal });
            }
        };
        node.metrics.mail_accepted.add_one();
        let forwarded = match wake::mail(&node, &user, &to, seq).await {
            Ok(Some(told)) => matches!(
                timeout(node.config.mail.forward_wait.0, told).await,
                Ok(Ok(()))
            ),
            Ok(None) => {
                // It is nowhere. A visitor that has gone has no way to be woken.
                waking::wake(&node, user, to);
                false
            }
            Err(error) => {
                tracing::debug!(%error, "a reader could not be told of mail");
                false
            }
        };
        Done::Answer(RelayMessage::Sent { request, forwarded })
    })
}
