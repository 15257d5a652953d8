//! Visitors and askers: pages that are no devices of any user.
//!
//! A visitor shows the invitation of a link, and may write to one device, which may write to it, and
//! leave shares at a store, which count for that device's user. An asker is a page of a site that
//! the operator lets ask: it has visitors as a device has, for a quarter of an hour.
//!
//! Invariants: neither is ever told of a user, a device's card, a group, a code or a circuit, and
//! none of them is told of either; what is not allowed by name is refused ([`crate::serve::device`]);
//! whatever ends an invitation ends who is there with it, and what they upload, at every node.

pub(crate) mod askers;
pub(crate) mod book;
pub(crate) mod forget;
mod over;
pub(crate) mod records;

pub(crate) use over::{Endings, over, visit_over};
pub(crate) use records::VisitKey;

use super::refuse;
use super::registry::RegistryError;
use crate::config::WebConfig;
use crate::node::{Node, now_ms};
use askers::Askers;
use book::VisitError;
use hither_carrier::Stream;
use hither_proto::{DeviceId, Invitation, RelayRefusal, RelayRefusalCode, ShareId, UserId};
use std::net::IpAddr;

/// Longest time for which a share of a visitor is kept.
const KEEP_S: u64 = 7 * 24 * 3600;
/// The same of a visitor of an asker: longer than it takes to fetch it.
const ASKED_KEEP_S: u64 = 3600;

/// The parts that visitors and askers of one node share.
pub(crate) struct Visits {
    pub(crate) endings: Endings,
    pub(crate) askers: Askers,
}

impl Visits {
    pub(crate) fn new(config: &WebConfig) -> Self {
        Self {
            endings: Endings::default(),
            askers: Askers::new(config),
        }
    }
}

/// As what somebody is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// A device of a user.
    Device,
    /// A page in a browser that is a device of a user.
    Page,
    /// Somebody who has a link.
    Visitor(Visit),
    /// A page of another site.
    Asker(Asker),
}

impl Standing {
    /// True for a device of a user.
    pub(crate) fn is_device(&self) -> bool {
        matches!(self, Self::Device | Self::Page)
    }
}

/// A visit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Visit {
    pub(crate) key: VisitKey,
    pub(crate) host: DeviceId,
    /// For whom it counts.
    pub(crate) host_user: UserId,
    /// The host is an asker.
    pub(crate) asked: bool,
}

/// A page that asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asker {
    pub(crate) origin: String,
    /// Until when it may, Unix milliseconds.
    pub(crate) until_ms: u64,
}

/// Lets a page in that is no device, and says under which user it is present, and as what it is
/// connected.
pub(crate) async fn admit(
    node: &Node,
    stream: &Stream,
    invitation: Option<Invitation>,
) -> Result<(UserId, Standing), RelayRefusal> {
    let address = stream.remote.ip();
    node.services.limiter.visit(address).map_err(refuse::busy)?;
    match node.registry.authorize(&stream.device).await {
        Err(RegistryError::NotRegistered) => {}
        // A key is one thing: a device that visited would lose its own connection.
        Ok(_) => return Err(RelayRefusalCode::Role.into()),
        Err(error) => return Err(super::device::refusal_of(&error)),
    }
    match invitation {
        Some(invitation) => visit(node, stream.device, address, &invitation).await,
        None => askers::admit(node, stream).await,
    }
}

async fn visit(
    node: &Node,
    visitor: DeviceId,
    address: IpAddr,
    invitation: &Invitation,
) -> Result<(UserId, Standing), RelayRefusal> {
    let limiter = &node.services.limiter;
    limiter.may_invite(address).map_err(refuse::busy)?;
    let key = VisitKey::of(invitation);
    let entered = book::enter(node.state.as_ref(), &key, &visitor, now_ms()).await;
    if matches!(entered, Err(VisitError::Over)) {
        limiter.wrong_invitation(address);
    }
    let record = entered.map_err(|error| refusal_of(&error))?;
    let visit = visit_of(&key, &record).ok_or(RelayRefusalCode::Invitation)?;
    Ok((key.user(), Standing::Visitor(visit)))
}

/// A visit with that invitation; `None`: its record is damaged.
pub(crate) fn visit_of(key: &VisitKey, record: &records::VisitRecord) -> Option<Visit> {
    Some(Visit {
        key: *key,
        host: DeviceId::from_slice(&record.host).ok()?,
        host_user: UserId::from_slice(&record.user).ok()?,
        asked: !record.origin.is_empty(),
    })
}

/// The refusal that a page hears for an error of a visit.
pub(crate) fn refusal_of(error: &VisitError) -> RelayRefusal {
    match error {
        VisitError::Over => RelayRefusalCode::Invitation.into(),
        VisitError::NotYours => RelayRefusalCode::NotFound.into(),
        VisitError::Full => RelayRefusalCode::Quota.into(),
        VisitError::Registry(error) => super::device::refusal_of(error),
    }
}

/// True for a key that is a visitor or asker here now, or was lately.
pub(crate) async fn is_page(node: &Node, device: &DeviceId) -> Result<bool, RelayRefusal> {
    let visits = book::visits_of(node.state.as_ref(), device)
        .await
        .map_err(|error| refusal_of(&error))?;
    if !visits.is_empty() {
        return Ok(true);
    }
    let asker = askers::known(node.state.as_ref(), device).await;
    Ok(asker.map_err(|error| refusal_of(&error))?.is_some())
}

/// The right to upload a share of a visitor's.
#[derive(Debug, Clone)]
pub(crate) struct Deposit {
    pub(crate) key: VisitKey,
    /// For whom it counts.
    pub(crate) user: UserId,
    /// Ciphertext that was asked room for.
    pub(crate) bytes: u64,
    /// It is kept no longer.
    pub(crate) keep_s: u64,
}

/// The right of a visitor to upload a share, if it has a place for it at this node. A share of
/// another one, one on another node and one that nobody placed are one answer.
pub(crate) async fn deposit(
    node: &Node,
    owner: &DeviceId,
    share: &ShareId,
) -> Result<Deposit, RelayRefusal> {
    let none = || RelayRefusal::from(RelayRefusalCode::NotFound);
    let failed = |error: VisitError| refusal_of(&error);
    let record = super::placement::recorded(node, owner, share).await?;
    let record = record.filter(|record| record.store == node.id().as_bytes());
    let record = record.ok_or_else(none)?;
    let key = VisitKey::from_slice(&record.visit).ok_or_else(none)?;
    let visit = book::alive(node.state.as_ref(), &key, now_ms())
        .await
        .map_err(failed)?
        .ok_or(RelayRefusalCode::Invitation)?;
    Ok(Deposit {
        key,
        user: UserId::from_slice(&record.user).map_err(|_| none())?,
        bytes: record.bytes,
        keep_s: match visit.origin.is_empty() {
            true => KEEP_S,
            false => ASKED_KEEP_S,
        },
    })
}

impl Deposit {
    /// For how long a share is kept that is to be kept for so long; 0: as long as may be.
    pub(crate) fn keep(&self, wanted_s: u64) -> u64 {
        match wanted_s {
            0 => self.keep_s,
            wanted_s => wanted_s.min(self.keep_s),
        }
    }
}

/// Gives back a share that a visitor of `host` left.
pub(crate) async fn release(
    node: &Node,
    host: &DeviceId,
    visitor: &DeviceId,
    share: &ShareId,
) -> Result<(), RelayRefusal> {
    let none = || RelayRefusal::from(RelayRefusalCode::NotFound);
    let record = super::placement::recorded(node, visitor, share).await?;
    let theirs = record.filter(|record| record.host == host.as_bytes());
    let user = UserId::from_slice(&theirs.ok_or_else(none)?.user).map_err(|_| none())?;
    super::placement::release(node, &user, visitor, share).await
}
