//! The contents of a message, as the rest of the daemon names them: the codec is hither-proto's.

use crate::catalogue::Notice;
use hither_api::{MessageKind, TicketNote};
pub(crate) use hither_proto::mail::{
    Body, Content, Inside, Letter, MAX_FILES, ShareNote, SmallFile,
};
use hither_util::clock::unix_millis;

/// The kind of a message, for people and programs.
pub(crate) const fn kind(content: &Content) -> MessageKind {
    match content {
        Content::Text(_) => MessageKind::Text,
        Content::Files(_) => MessageKind::Files,
        Content::Ticket(_) => MessageKind::Ticket,
        Content::Unknown => MessageKind::Unknown,
    }
}

/// An offered share as the local API shows it.
pub(crate) fn ticket_note(note: ShareNote) -> TicketNote {
    let ShareNote {
        ticket,
        name,
        files,
        bytes,
    } = note;
    TicketNote {
        ticket,
        name,
        files,
        bytes,
    }
}

/// A share that is offered.
pub(crate) fn share_note(note: TicketNote) -> ShareNote {
    let TicketNote {
        ticket,
        name,
        files,
        bytes,
    } = note;
    ShareNote {
        ticket,
        name,
        files,
        bytes,
    }
}

/// A notice before it is sealed.
pub(crate) fn encode_notice(notice: &Notice) -> Vec<u8> {
    // Texts and numbers: nothing in it that JSON cannot hold.
    let notice = serde_json::to_value(notice).unwrap_or_default();
    hither_proto::mail::encode_catalogue(notice, unix_millis())
}

/// For the fuzzers.
pub(crate) fn decode_letter(bytes: &[u8]) {
    let _ = Inside::decode(bytes);
}
