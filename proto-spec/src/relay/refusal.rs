//! Why a relay refuses.

use crate::limits::MAX_RETRY_MS;
use crate::wire;

/// Why a relay refused a stream or a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RelayRefusalCode {
    /// A reason of a later version.
    #[error("for a reason that this version does not know")]
    Other,
    /// The protocol version or purpose is not spoken there.
    #[error("the relay speaks another version of the protocol")]
    Protocol,
    /// Not registered there, and no invitation was shown.
    #[error("this device is not registered at the relay")]
    NotRegistered,
    /// The invitation is unknown, used up or expired: the same answer on purpose.
    #[error("the invitation is not valid (any more)")]
    Invitation,
    /// The device was revoked.
    #[error("this device was revoked at the relay")]
    Revoked,
    /// Too much now.
    #[error("the relay is busy")]
    Busy,
    /// The role is not played by this node.
    #[error("this relay does not do that")]
    Role,
    /// Not yours, or not there: the same answer on purpose.
    #[error("it is not there")]
    NotFound,
    /// The user's share of the relay is used up.
    #[error("the quota at the relay is used up")]
    Quota,
    /// The disk of the relay is full or read-only.
    #[error("the relay has no space left")]
    NoSpace,
    /// Beyond a bound, or in contradiction to an earlier message.
    #[error("the relay takes the request for invalid")]
    Invalid,
    /// The relay is going down.
    #[error("the relay is going down")]
    GoingAway,
    /// Another machine with the same device key has connected.
    #[error("another machine runs with this device's key")]
    Twin,
}

/// A refusal, and when to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{code}")]
pub struct RelayRefusal {
    /// Why.
    pub code: RelayRefusalCode,
    /// After how many milliseconds to try again, at most [`MAX_RETRY_MS`]; 0: the relay does not
    /// say.
    pub retry_after_ms: u32,
}

impl From<RelayRefusalCode> for RelayRefusal {
    fn from(code: RelayRefusalCode) -> Self {
        Self {
            code,
            retry_after_ms: 0,
        }
    }
}

impl RelayRefusal {
    /// A longer wait than [`MAX_RETRY_MS`] is cut: no relay may send a device away for weeks.
    pub(super) fn from_wire(code: wire::RelayRefusalCode, retry_after_ms: u32) -> Self {
        use wire::RelayRefusalCode as W;
        let code = match code {
            W::Unspecified => RelayRefusalCode::Other,
            W::Protocol => RelayRefusalCode::Protocol,
            W::NotRegistered => RelayRefusalCode::NotRegistered,
            W::Invitation => RelayRefusalCode::Invitation,
            W::Revoked => RelayRefusalCode::Revoked,
            W::Busy => RelayRefusalCode::Busy,
            W::Role => RelayRefusalCode::Role,
            W::NotFound => RelayRefusalCode::NotFound,
            W::Quota => RelayRefusalCode::Quota,
            W::NoSpace => RelayRefusalCode::NoSpace,
            W::Invalid => RelayRefusalCode::Invalid,
            W::GoingAway => RelayRefusalCode::GoingAway,
            W::Twin => RelayRefusalCode::Twin,
        };
        Self {
            code,
            retry_after_ms: retry_after_ms.min(MAX_RETRY_MS),
        }
    }

    /// Number of the code on the wire.
    pub(super) fn code_to_wire(self) -> i32 {
        use wire::RelayRefusalCode as W;
        let code = match self.code {
            RelayRefusalCode::Other => W::Unspecified,
            RelayRefusalCode::Protocol => W::Protocol,
            RelayRefusalCode::NotRegistered => W::NotRegistered,
            RelayRefusalCode::Invitation => W::Invitation,
            RelayRefusalCode::Revoked => W::Revoked,
            RelayRefusalCode::Busy => W::Busy,
            RelayRefusalCode::Role => W::Role,
            RelayRefusalCode::NotFound => W::NotFound,
            RelayRefusalCode::Quota => W::Quota,
            RelayRefusalCode::NoSpace => W::NoSpace,
            RelayRefusalCode::Invalid => W::Invalid,
            RelayRefusalCode::GoingAway => W::GoingAway,
            RelayRefusalCode::Twin => W::Twin,
        };
        code.into()
    }
}
