//! The word of a reader about a message that it got: that its user does not want it.
//!
//! ```text
//! 1 (1 byte, format) ‖ 1 (1 byte, declined) ‖ message id (16)
//! ```
//!
//! It is a letter of the kind [`RECEIPT`] for the sender of the message, sealed as any other, so
//! that nobody else can decline in a reader's name.

use super::content::Body;
use hither_proto::MessageId;
use hither_util::clock::unix_millis;

/// The kind of letters with receipts.
pub(super) const RECEIPT: &str = "receipt";
const FORMAT: u8 = 1;
const DECLINED: u8 = 1;

/// The letter that declines a message.
pub(super) fn declined(id: MessageId) -> Body {
    Body {
        kind: RECEIPT.into(),
        made_ms: unix_millis(),
        payload: [&[FORMAT, DECLINED][..], id.as_bytes()].concat(),
    }
}

/// The message that a receipt declines; `None`: it says something that this version does not know.
pub(super) fn decode(payload: &[u8]) -> Option<MessageId> {
    match payload {
        [FORMAT, DECLINED, id @ ..] => MessageId::from_slice(id).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_names_one_message_and_nothing_else_is_one() {
        let id = MessageId::new([7; 16]);
        let payload = declined(id).payload;
        assert_eq!(payload, [&[1, 1][..], &[7; 16]].concat());
        assert_eq!(decode(&payload), Some(id));
        for length in 0..payload.len() {
            assert_eq!(decode(&payload[..length]), None);
        }
        for other in [
            [&payload[..], &[0]].concat(),
            [&[1, 2][..], &[7; 16]].concat(),
        ] {
            assert_eq!(decode(&other), None);
        }
    }
}
