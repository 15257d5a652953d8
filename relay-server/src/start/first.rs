//! The very first start: a user and an invitation for the operator's own devices.

use crate::config::Role;
use crate::node::Node;
use crate::serve::registry::RegistryError;
use hither_proto::RelayUrl;
use std::time::Duration;

/// An invitation to be shown once.
#[derive(Debug, Clone)]
pub struct FirstInvitation {
    /// Lets devices join: a secret.
    pub url: RelayUrl,
    /// How many devices.
    pub devices: u32,
    /// For how long.
    pub valid: Duration,
}

/// Makes a user and an invitation if there is no user yet.
pub(super) async fn invitation(
    node: &Node,
    url: &RelayUrl,
) -> Result<Option<FirstInvitation>, RegistryError> {
    // The node that keeps the state is the one whose operator begins.
    if !node.plays(Role::Control) || node.registry.has_users().await? {
        return Ok(None);
    }
    let config = &node.config.invitation;
    let user = node.registry.create_user("made at the first start").await?;
    let token = node
        .registry
        .invite(&user, config.devices, config.valid.0)
        .await?;
    let url = RelayUrl {
        invitation: Some(token),
        ..url.clone()
    };
    Ok(Some(FirstInvitation {
        url,
        devices: config.devices,
        valid: config.valid.0,
    }))
}
