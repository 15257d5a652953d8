//! Reasons why a share cannot be read, in the words that the page has for them (`web/src/core/api.ts`).

use hither_proto::{ManifestError, TicketError};

/// The kind of trouble; the page shows a sentence of its own for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// The text is no ticket.
    Ticket,
    /// Nobody that is reached has the share.
    NotFound,
    /// The share was there and has ended, or this version of it has.
    Gone,
    /// Neither the relay nor a device answers.
    Unreachable,
    /// Bytes that came are not what the ticket's owner signed.
    Damaged,
    /// The relay or store has too much to do.
    Busy,
    /// Made by a newer version of Hither.
    TooNew,
    /// Larger than a page can hold.
    TooLarge,
}

impl ErrorCode {
    /// Its number in an [`Output`](crate::output).
    pub const fn number(self) -> u8 {
        match self {
            Self::Ticket => 1,
            Self::NotFound => 2,
            Self::Gone => 3,
            Self::Unreachable => 4,
            Self::Damaged => 5,
            Self::Busy => 6,
            Self::TooNew => 7,
            Self::TooLarge => 8,
        }
    }
}

/// The end of a share, or of one reading in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ShareError {
    /// The kind of trouble.
    pub code: ErrorCode,
    /// More about it, for developers' tools: the page has its own sentences.
    pub message: String,
    /// When to try again, milliseconds; 0: nothing is known.
    pub retry_after_ms: u32,
}

impl ShareError {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retry_after_ms: 0,
        }
    }
}

impl From<TicketError> for ShareError {
    fn from(error: TicketError) -> Self {
        let code = match error {
            TicketError::Format(_) => ErrorCode::TooNew,
            _ => ErrorCode::Ticket,
        };
        Self::new(code, error.to_string())
    }
}

impl From<ManifestError> for ShareError {
    fn from(error: ManifestError) -> Self {
        let code = match error {
            ManifestError::Format(_) => ErrorCode::TooNew,
            _ => ErrorCode::Damaged,
        };
        Self::new(code, error.to_string())
    }
}
