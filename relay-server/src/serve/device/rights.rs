//! The messages that a connected page or device may send, by its kind: the one place where that is decided.
//!
//! Invariant: a visitor and an asker may what is named here and nothing else; a message that is
//! added to the protocol is refused to them until somebody names it.

use crate::serve::visit::Standing;
use hither_proto::{CodeRequest, GroupRequest, OwnRequest, RelayMessage};

/// The outcome of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    /// It is heard.
    Granted,
    /// The request is refused, the connection stays.
    Failed(u64),
    /// It has no request that could be refused: the connection ends.
    Ended,
}

/// Returns what comes of a message of somebody who is connected as that.
pub(super) fn of(standing: &Standing, message: &RelayMessage) -> Right {
    let granted = match standing {
        Standing::Device => true,
        Standing::Page => page_may(message),
        Standing::Visitor(_) => visitor_may(message),
        Standing::Asker(_) => asker_may(message),
    };
    match granted {
        true => Right::Granted,
        false => request(message).map_or(Right::Ended, Right::Failed),
    }
}

/// A page that is a device changes nothing about who is one, who may come, or a group.
fn page_may(message: &RelayMessage) -> bool {
    match message {
        RelayMessage::Own { what, .. } => !matches!(
            what,
            OwnRequest::Invite { .. }
                | OwnRequest::Remove { .. }
                | OwnRequest::InviteVisitors { .. }
        ),
        RelayMessage::Code { what, .. } => matches!(what, CodeRequest::Find { .. }),
        RelayMessage::Group { what, .. } => matches!(
            **what,
            GroupRequest::Mine
                | GroupRequest::Log { .. }
                | GroupRequest::Roll { .. }
                | GroupRequest::Notes { .. }
                | GroupRequest::Find { .. }
                | GroupRequest::Look { .. }
        ),
        _ => true,
    }
}

fn visitor_may(message: &RelayMessage) -> bool {
    matches!(
        message,
        RelayMessage::Ping { .. }
            | RelayMessage::Pong { .. }
            | RelayMessage::Send { .. }
            | RelayMessage::Received { .. }
            | RelayMessage::Place { .. }
            | RelayMessage::Release { .. }
    )
}

fn asker_may(message: &RelayMessage) -> bool {
    match message {
        RelayMessage::Ping { .. }
        | RelayMessage::Pong { .. }
        | RelayMessage::Send { .. }
        | RelayMessage::Received { .. } => true,
        RelayMessage::Own { what, .. } => matches!(
            what,
            OwnRequest::InviteVisitors { .. } | OwnRequest::ReleaseVisitor { .. }
        ),
        _ => false,
    }
}

/// The number of a message that is a request.
fn request(message: &RelayMessage) -> Option<u64> {
    match message {
        RelayMessage::Own { request, .. }
        | RelayMessage::Code { request, .. }
        | RelayMessage::Group { request, .. }
        | RelayMessage::Send { request, .. }
        | RelayMessage::Place { request, .. }
        | RelayMessage::Release { request, .. } => Some(*request),
        _ => None,
    }
}
