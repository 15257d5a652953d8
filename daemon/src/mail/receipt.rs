//! The word of a reader about a message that it got: that its user does not want it, or, where the
//! sender waits to hear that, that it was taken.
//!
//! ```text
//! 1 (1 byte, format) ‖ 1 declined, 2 taken (1 byte) ‖ message id (16)
//! ```
//!
//! It is a letter of the kind [`RECEIPT`] for the sender of the message, sealed as any other, so
//! that nobody else can answer in a reader's name.

use super::content::Body;
use hither_proto::MessageId;
use hither_util::clock::unix_millis;

/// The kind of letters with receipts.
pub(super) const RECEIPT: &str = "receipt";
const FORMAT: u8 = 1;
const DECLINED: u8 = 1;
const TAKEN: u8 = 2;

/// The fate of a message at its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Receipt {
    /// Its user does not want it.
    Declined,
    /// It is there: a text can be read, files are kept or on their way to their place.
    Taken,
}

/// The letter about a message.
pub(super) fn letter(receipt: Receipt, id: MessageId) -> Body {
    let what = match receipt {
        Receipt::Declined => DECLINED,
        Receipt::Taken => TAKEN,
    };
    Body {
        kind: RECEIPT.into(),
        made_ms: unix_millis(),
        payload: [&[FORMAT, what][..], id.as_bytes()].concat(),
        visitor: None,
        after: None,
    }
}

/// The receipt, and the message that it is about; `None`: it says something that this version does
/// not know.
pub(super) fn decode(payload: &[u8]) -> Option<(Receipt, MessageId)> {
    let (receipt, id) = match payload {
        [FORMAT, DECLINED, id @ ..] => (Receipt::Declined, id),
        [FORMAT, TAKEN, id @ ..] => (Receipt::Taken, id),
        _ => return None,
    };
    Some((receipt, MessageId::from_slice(id).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_names_one_message_and_nothing_else_is_one() {
        let id = MessageId::new([7; 16]);
        for (receipt, what) in [(Receipt::Declined, 1), (Receipt::Taken, 2)] {
            let payload = letter(receipt, id).payload;
            assert_eq!(payload, [&[1, what][..], &[7; 16]].concat());
            assert_eq!(decode(&payload), Some((receipt, id)));
        }
        let payload = letter(Receipt::Declined, id).payload;
        for length in 0..payload.len() {
            assert_eq!(decode(&payload[..length]), None);
        }
        for other in [
            [&payload[..], &[0]].concat(),
            [&[1, 3][..], &[7; 16]].concat(),
        ] {
            assert_eq!(decode(&other), None);
        }
    }
}
