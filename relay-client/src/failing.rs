//! Why a request on a long connection fails, and why the connection ends.

use hither_proto::RelayRefusal;

/// Why a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The connection ended; it is not known whether the relay handled the request.
    #[error("the connection to the relay broke")]
    Lost,
    /// The relay did not answer in time.
    #[error("the relay did not answer in time")]
    TimedOut,
    /// Too many requests wait for their answers.
    #[error("too many requests wait for the relay")]
    TooMany,
    /// The relay refused.
    #[error(transparent)]
    Refused(RelayRefusal),
    /// The answer is one to another kind of request.
    #[error("the relay answered something else than expected")]
    Unexpected,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    /// This device ended it.
    #[error("closed")]
    Closed,
    /// The relay ended it without a word.
    #[error("the relay ended the connection")]
    Ended,
    /// A ping was not answered.
    #[error("the relay fell silent")]
    Silent,
    /// The stream broke, or the relay spoke nonsense.
    #[error("{0}")]
    Broken(String),
    /// The relay refused to go on.
    #[error(transparent)]
    Refused(RelayRefusal),
}
