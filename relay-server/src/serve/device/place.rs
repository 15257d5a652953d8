//! A device's wish to place or release a share.

use crate::node::Node;
use crate::ops::labels::{Request, Service};
use crate::serve::front::Connection;
use crate::serve::placement;
use crate::serve::visit::Standing;
use hither_proto::{Nearness, RelayMessage, ShareId};
use std::time::Instant;

/// What the device wants.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) request: u64,
    pub(super) share: ShareId,
    /// When it said so.
    pub(super) asked: Instant,
    /// Bytes and what it measured; `None`: the share is released.
    pub(super) place: Option<(u64, Vec<Nearness>)>,
}

/// Does it and says what came of it. A device's shares are named by its own key, so it cannot name
/// those of another.
pub(super) async fn answer(node: &Node, connection: &Connection, wanted: Wanted) -> RelayMessage {
    let Wanted {
        request,
        share,
        asked,
        place,
    } = wanted;
    let owner = connection.device;
    let (user, visit) = match &connection.standing {
        Standing::Visitor(visit) => (visit.host_user, Some(visit)),
        Standing::Device | Standing::Page | Standing::Asker(_) => (connection.user, None),
    };
    let (kind, done) = match place {
        Some((bytes, near)) => {
            let wanted = placement::Wanted {
                user,
                owner,
                share,
                bytes,
                near: &near,
                visit,
            };
            let placed = placement::place(node, &wanted).await;
            (
                Request::Place,
                placed.map(|store| RelayMessage::Placed { request, store }),
            )
        }
        None => {
            let released = placement::release(node, &user, &owner, &share).await;
            (
                Request::Release,
                released.map(|()| RelayMessage::Released { request }),
            )
        }
    };
    match done {
        Ok(answer) => {
            node.metrics.requests.of(kind).since(asked);
            answer
        }
        Err(refusal) => {
            node.metrics.refused(Service::Device, refusal.code);
            RelayMessage::Failed { request, refusal }
        }
    }
}
