//! The requests of a device about the devices of its user: that more may come, and that one is to be
//! the user's no more; who may visit it, and how it is woken.
//!
//! Every request counts for its device and its user, as those about codes do. The operator may
//! forbid either (`invitation.by_devices`, `invitation.removal_by_devices`).

use super::{count, refusal_of};
use crate::node::{Node, now_ms};
use crate::serve::front::Connection;
use crate::serve::limits::Kind;
use crate::serve::records::{bucket, device_key};
use crate::serve::refuse;
use crate::serve::registry::RegistryError;
use crate::serve::visit::book::{self, Bounds, Host};
use crate::serve::visit::{self, Standing, askers};
use crate::serve::waking;
use crate::state::{Expect, StateError};
use hither_proto::{
    DeviceId, Invitation, OwnAnswer, OwnRequest, RelayMessage, RelayRefusal, RelayRefusalCode,
};
use std::sync::Arc;
use std::time::Duration;

/// Answers one request.
pub(super) async fn answer(
    node: Arc<Node>,
    connection: Arc<Connection>,
    request: u64,
    what: OwnRequest,
) -> RelayMessage {
    match answered(&node, &connection, what).await {
        Ok(answer) => RelayMessage::OwnAnswered { request, answer },
        Err(refusal) => RelayMessage::Failed { request, refusal },
    }
}

async fn answered(
    node: &Node,
    connection: &Connection,
    what: OwnRequest,
) -> Result<OwnAnswer, RelayRefusal> {
    match what {
        // A host says all of its invitations again whenever it connects.
        OwnRequest::InviteVisitors { .. } | OwnRequest::ReleaseVisitor { .. } => {
            let limiter = &node.services.limiter;
            let counted = limiter.device(connection.device, Kind::Place);
            counted.map_err(|wait| {
                node.metrics.limited.add_one();
                refuse::busy(wait)
            })?;
        }
        _ => count(node, connection)?,
    }
    let rules = &node.config.invitation;
    match what {
        OwnRequest::Invite { .. } if !rules.by_devices => Err(RelayRefusalCode::Role.into()),
        OwnRequest::Remove { .. } if !rules.removal_by_devices => {
            Err(RelayRefusalCode::Role.into())
        }
        OwnRequest::Invite {
            devices,
            seconds,
            web,
        } => {
            let valid = Duration::from_secs(u64::from(seconds));
            let (registry, user) = (&node.registry, &connection.user);
            let invited = match web {
                true => registry.invite_pages(user, devices, valid).await,
                false => registry.invite(user, devices, valid).await,
            };
            let invitation = invited.map_err(|error| refusal_of(&error))?;
            tracing::info!(device = %connection.device, devices, "a device invited others of its user");
            Ok(OwnAnswer::Invited(invitation))
        }
        OwnRequest::Remove { device } => {
            let by = &connection.device;
            let removed = node.registry.remove(&connection.user, by, &device).await;
            removed.map_err(|error| match error {
                // "Not yours" and "not there" are one answer.
                RegistryError::Unknown => RelayRefusalCode::NotFound.into(),
                error => refusal_of(&error),
            })?;
            tracing::info!(%device, %by, "a device was removed by another one of its user");
            Ok(OwnAnswer::Removed)
        }
        OwnRequest::Contacts(devices) => {
            keep_contacts(node, &connection.device, &devices)
                .await
                .map_err(|error| refuse::of_state(&error))?;
            Ok(OwnAnswer::Kept)
        }
        OwnRequest::InviteVisitors {
            invitation,
            seconds,
            bytes,
            visitors,
        } => {
            let bounds = Bounds {
                valid: Duration::from_secs(u64::from(seconds)),
                bytes,
                most: visitors,
            };
            invite_visitors(node, connection, &invitation, bounds).await?;
            Ok(OwnAnswer::VisitorsInvited)
        }
        OwnRequest::ReleaseVisitor { visitor, share } => {
            visit::release(node, &connection.device, &visitor, &share).await?;
            Ok(OwnAnswer::VisitorReleased)
        }
        OwnRequest::AskWake => waking::ways(node, &connection.device)
            .await
            .map(OwnAnswer::WakeWays),
        OwnRequest::Wake(channel) => {
            waking::keep(node, &connection.device, channel.as_ref()).await?;
            Ok(OwnAnswer::WakeKept)
        }
    }
}

/// Lets whoever shows an invitation visit the device, or the asker.
async fn invite_visitors(
    node: &Node,
    connection: &Connection,
    invitation: &Invitation,
    bounds: Bounds,
) -> Result<(), RelayRefusal> {
    if let Standing::Asker(asker) = &connection.standing {
        return askers::invite(node, &connection.device, asker, invitation, bounds).await;
    }
    let host = Host {
        device: connection.device,
        user: connection.user,
        origin: String::new(),
    };
    book::invite(node.state.as_ref(), &host, invitation, bounds, now_ms())
        .await
        .map_err(|error| visit::refusal_of(&error))
}

/// Keeps whose letters a device takes besides those of its user's; durable.
async fn keep_contacts(
    node: &Node,
    device: &DeviceId,
    contacts: &[DeviceId],
) -> Result<(), StateError> {
    let value: Vec<u8> = contacts.iter().flat_map(|one| *one.as_bytes()).collect();
    let key = device_key(device);
    let before = node.state.get(bucket::CONTACTS, &key).await?;
    // A device that comes back says what it said before.
    if before.map(|before| before.value).unwrap_or_default() == value[..] {
        return Ok(());
    }
    node.state
        .put(bucket::CONTACTS, &key, value.into(), Expect::Any)
        .await
        .map(drop)
}

/// Returns whether a device takes letters of one of another user's.
pub(super) async fn has_contact(
    node: &Node,
    device: &DeviceId,
    contact: &DeviceId,
) -> Result<bool, StateError> {
    let kept = node
        .state
        .get(bucket::CONTACTS, &device_key(device))
        .await?;
    let kept = kept.map(|kept| kept.value).unwrap_or_default();
    let mut contacts = kept.chunks_exact(contact.as_bytes().len());
    Ok(contacts.any(|one| one == contact.as_bytes()))
}
