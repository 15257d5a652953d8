//! A device's wish to place or release a share.

use crate::node::Node;
use crate::serve::front::Connection;
use crate::serve::placement;
use hither_proto::{Nearness, RelayMessage, ShareId};

/// What the device wants.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) request: u64,
    pub(super) share: ShareId,
    /// Bytes and what it measured; `None`: the share is released.
    pub(super) place: Option<(u64, Vec<Nearness>)>,
}

/// Does it and says what came of it. A device's shares are named by its own key, so it cannot name those of another.
pub(super) async fn answer(node: &Node, connection: &Connection, wanted: Wanted) -> RelayMessage {
    let Wanted { request, share, place } = wanted;
    let (user, owner) = (connection.user, connection.device);
    let done = match place {
        Some((bytes, near)) => {
            let wanted = placement::Wanted { user, owner, share, bytes, near: &near };
            placement::place(node, &wanted).await.map(|store| RelayMessage::Placed { request, store })
        }
        None => {
            placement::release(node, &user, &owner, &share).await.map(|()| RelayMessage::Released { request })
        }
    };
    done.unwrap_or_else(|refusal| RelayMessage::Failed { request, refusal })
}
