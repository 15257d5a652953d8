//! Errors as the user's side sees them: a stable code, a sentence, a hint, and an exit status.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Exit status of `hitherd` when another daemon holds the lock of the same home (`EX_TEMPFAIL` of
/// sysexits.h): whoever started it only has to wait for the other one.
pub const ALREADY_RUNNING: u8 = 75;

/// Exit statuses of `hither`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// Wrong usage.
    Usage = 2,
    /// Nobody who has it can be reached; worth trying again.
    Unreachable = 3,
    /// Refused: not allowed, declined, expired.
    Refused = 4,
    /// Damaged data that no other source could repair.
    Damaged = 5,
    /// No space, or over quota.
    NoSpace = 6,
    /// Interrupted; can be resumed.
    Interrupted = 130,
    /// Whoever read standard output went away before everything was written, as if by SIGPIPE.
    Unread = 141,
}

/// What went wrong, for scripts. Codes are stable; new ones may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request makes no sense.
    BadRequest,
    /// The text is no ticket, or mistyped.
    BadTicket,
    /// The ticket comes from a newer version.
    NewerTicket,
    /// The path does not exist or cannot be read.
    Unreadable,
    /// Some names in the folder cannot be shared.
    Unsharable,
    /// The file keeps changing while it is read.
    Changing,
    /// No such share, transfer, relay, device or message.
    NotFound,
    /// The share is being fetched already.
    AlreadyFetching,
    /// The target exists and neither overwriting nor renaming was asked for.
    TargetExists,
    /// The target cannot be written.
    NotWritable,
    /// Not enough free space.
    NoSpace,
    /// No device that has the share could be reached.
    NoHolder,
    /// The relay could not be reached.
    NoRelay,
    /// The owner ended the share, or a device or relay refused.
    Refused,
    /// More than is kept for this user, here or at the relay.
    OverQuota,
    /// What is missing costs more than the fetch may cost.
    TooDear,
    /// Too long for a message.
    TooLong,
    /// The user declined.
    Declined,
    /// What was accepted is not what is offered (any more).
    OfferChanged,
    /// Every source gave damaged data.
    Damaged,
    /// What is in the share must not be written here.
    HostileShare,
    /// The share is no single file, which writing to standard output needs.
    NotASingleFile,
    /// The transfer was stopped and can go on.
    Interrupted,
    /// The daemon is not running or does not answer.
    NoDaemon,
    /// The daemon's own store or configuration failed.
    Internal,
}

impl ErrorCode {
    /// The exit status of `hither` for this error.
    pub const fn exit(self) -> Exit {
        match self {
            Self::BadRequest | Self::BadTicket | Self::NewerTicket => Exit::Usage,
            Self::NoHolder | Self::NoRelay => Exit::Unreachable,
            Self::Refused | Self::Declined | Self::HostileShare => Exit::Refused,
            Self::Damaged => Exit::Damaged,
            Self::NoSpace | Self::OverQuota | Self::TooDear => Exit::NoSpace,
            Self::Interrupted => Exit::Interrupted,
            Self::Unreadable
            | Self::Unsharable
            | Self::Changing
            | Self::NotFound
            | Self::AlreadyFetching
            | Self::TargetExists
            | Self::NotWritable
            | Self::NotASingleFile
            | Self::OfferChanged
            | Self::TooLong
            | Self::NoDaemon
            | Self::Internal => Exit::Failed,
        }
    }

    /// The HTTP status that carries this error.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::BadRequest | Self::BadTicket | Self::NewerTicket => 400,
            Self::NotFound => 404,
            // The state of this device or of the world is in the way; the request may be repeated.
            Self::AlreadyFetching
            | Self::TargetExists
            | Self::OfferChanged
            | Self::NoHolder
            | Self::NoRelay
            | Self::Changing
            | Self::Interrupted => 409,
            // It was understood, and what it names cannot be used so.
            Self::Unreadable
            | Self::Unsharable
            | Self::NotWritable
            | Self::NotASingleFile
            | Self::Damaged => 422,
            Self::Refused | Self::Declined | Self::HostileShare => 403,
            Self::NoSpace | Self::OverQuota => 507,
            Self::TooDear => 402,
            Self::TooLong => 413,
            Self::NoDaemon | Self::Internal => 500,
        }
    }
}

/// An error as the API sends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// For scripts.
    pub code: ErrorCode,
    /// One sentence for people.
    pub message: String,
    /// What could be done about it; may be empty.
    #[serde(default)]
    pub hint: String,
}

/// An error as an answer: problem details (RFC 9457) with what an [`ApiError`] has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `about:blank`: `code` says which error it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// The words of the status.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The same as `message`.
    pub detail: String,
    /// The error itself.
    #[serde(flatten)]
    pub error: ApiError,
}

impl Problem {
    /// An error that is answered with a status.
    pub fn new(status: u16, title: &str, error: ApiError) -> Self {
        Self {
            kind: "about:blank".into(),
            title: title.into(),
            status,
            detail: error.message.clone(),
            error,
        }
    }
}

impl ApiError {
    /// An error without a hint.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: String::new(),
        }
    }

    /// The same with a hint.
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: hint.into(),
            ..self
        }
    }
}
