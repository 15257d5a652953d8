//! Reasons of relays in the words that the page has sentences for.

use hither_proto::{RelayRefusal, RelayRefusalCode};

/// The page's word for a refusal.
pub(super) const fn code_of(code: RelayRefusalCode) -> &'static str {
    match code {
        RelayRefusalCode::NotRegistered | RelayRefusalCode::Revoked => "removed",
        RelayRefusalCode::Invitation => "gone",
        RelayRefusalCode::Role => "refused",
        RelayRefusalCode::NotFound => "not_found",
        RelayRefusalCode::Quota => "quota",
        RelayRefusalCode::NoSpace => "no_space",
        RelayRefusalCode::Busy | RelayRefusalCode::GoingAway => "busy",
        RelayRefusalCode::Twin => "twin",
        RelayRefusalCode::Protocol => "too_new",
        RelayRefusalCode::Invalid | RelayRefusalCode::Other => "unreachable",
    }
}

/// True when the same may go better later.
pub(super) const fn passes(refusal: &RelayRefusal) -> bool {
    matches!(
        refusal.code,
        RelayRefusalCode::Busy
            | RelayRefusalCode::GoingAway
            | RelayRefusalCode::Twin
            | RelayRefusalCode::Other
    )
}
