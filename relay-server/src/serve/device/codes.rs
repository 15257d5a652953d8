//! Codes that are said: which device shows one that begins with a word, and invitations for the
//! device that is paired.
//!
//! A nameplate is kept in the node's session: it goes with the node, with the connection of the
//! device, and after [`CODE_SECONDS`]; a device tells it again now and then. Bounds:
//! [`MAX_NAMEPLATES`] of one device at a time and in one answer; every request counts for its device
//! and its user.

use super::{count, refusal_of};
use crate::node::{Node, now_ms};
use crate::serve::front::Connection;
use crate::serve::records::{bucket, device_key, last_device};
use crate::serve::refuse;
use crate::state::{Expect, StateError};
use bytes::Bytes;
use hither_proto::limits::{CODE_SECONDS, MAX_NAMEPLATES};
use hither_proto::{
    CodeAnswer, CodeRequest, DeviceId, RelayMessage, RelayRefusal, RelayRefusalCode, Word,
};
use std::sync::Arc;
use std::time::Duration;

/// How long an invitation for a paired device is good.
const INVITED: Duration = Duration::from_secs(CODE_SECONDS);
/// Entries of one word that are looked at; who crowds a word out keeps codes from being found, and
/// learns nothing.
const MAX_LOOKED_AT: usize = 64;

/// Answers one request.
pub(super) async fn answer(
    node: Arc<Node>,
    connection: Arc<Connection>,
    request: u64,
    what: CodeRequest,
) -> RelayMessage {
    match answered(&node, &connection, what).await {
        Ok(answer) => RelayMessage::CodeAnswered { request, answer },
        Err(refusal) => RelayMessage::Failed { request, refusal },
    }
}

async fn answered(
    node: &Arc<Node>,
    connection: &Connection,
    what: CodeRequest,
) -> Result<CodeAnswer, RelayRefusal> {
    count(node, connection)?;
    match what {
        CodeRequest::Show { nameplate, ends } => {
            let shown = if ends {
                connection.hide_code(nameplate);
                forget(node, connection.device, nameplate).await
            } else if connection.show_code(nameplate) {
                show(node, connection, nameplate).await
            } else {
                return Err(RelayRefusalCode::Quota.into());
            };
            shown.map_err(|error| refuse::of_state(&error))?;
            Ok(CodeAnswer::Shown)
        }
        CodeRequest::Find { nameplate } => find(node, connection.device, nameplate)
            .await
            .map(CodeAnswer::Found)
            .map_err(|error| refuse::of_state(&error)),
        CodeRequest::Invite if !node.config.invitation.by_devices => {
            Err(RelayRefusalCode::Role.into())
        }
        CodeRequest::Invite => {
            let invited = node.registry.invite(&connection.user, 1, INVITED).await;
            let invitation = invited.map_err(|error| refusal_of(&error))?;
            tracing::info!(device = %connection.device, "a device invited another one of its user");
            Ok(CodeAnswer::Invited(invitation))
        }
    }
}

fn key(nameplate: Word, device: &DeviceId) -> String {
    format!("{:04}/{}", nameplate.number(), device_key(device))
}

async fn show(
    node: &Arc<Node>,
    connection: &Connection,
    nameplate: Word,
) -> Result<(), StateError> {
    let ends = now_ms().saturating_add(CODE_SECONDS * 1000);
    let (key, value) = (
        key(nameplate, &connection.device),
        Bytes::copy_from_slice(&ends.to_be_bytes()),
    );
    node.services
        .session
        .put(node, bucket::CODES, &key, value, Expect::Any)
        .await
        .map(drop)
}

async fn forget(node: &Node, device: DeviceId, nameplate: Word) -> Result<(), StateError> {
    let key = key(nameplate, &device);
    node.state
        .delete(bucket::CODES, &key, Expect::Any)
        .await
        .map(drop)
}

/// Forgets everything that a device shows whose connection has ended.
pub(super) async fn forget_all(node: &Node, connection: &Connection) {
    for nameplate in connection.take_codes() {
        if let Err(error) = forget(node, connection.device, nameplate).await {
            tracing::debug!(%error, "a nameplate could not be removed");
        }
    }
}

async fn find(node: &Node, asks: DeviceId, nameplate: Word) -> Result<Vec<DeviceId>, StateError> {
    let prefix = format!("{:04}/", nameplate.number());
    let page = node
        .state
        .list(bucket::CODES, &prefix, None, MAX_LOOKED_AT)
        .await?;
    let now = now_ms();
    let shows = page.records.iter().filter(|record| {
        let ends = <[u8; 8]>::try_from(&record.entry.value[..]).map(u64::from_be_bytes);
        ends.is_ok_and(|ends| ends > now)
    });
    Ok(shows
        .filter_map(|record| last_device(&record.key))
        .filter(|device| *device != asks)
        .take(MAX_NAMEPLATES)
        .collect())
}
