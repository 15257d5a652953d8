//! The relay that a user means, and requests to it while the user waits.

use hither_api::{ApiError, ErrorCode};
use hither_proto::{OwnAnswer, OwnRequest, RelayRefusalCode, display_name};
use hither_relay_client::{Relay, Relays, RequestError};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Longest wait for a relay's answer while the user waits.
pub(crate) const ANSWER: Duration = Duration::from_secs(5);

/// Which relays may be meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Among {
    /// All that this device has joined.
    All,
    /// Those that have a page.
    Pages,
}

/// Why a relay did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unheard {
    /// It does not do such things, or is of an earlier version.
    Never,
    /// It refused, or was not reached, for a reason in words.
    Because(String),
}

/// The relay of a host, with or without port, or of the beginning of a key; without a word the only
/// one.
///
/// Errors: none is meant, or several may be.
pub(crate) fn named(
    relays: &Relays,
    wanted: Option<&str>,
    among: Among,
) -> Result<Arc<Relay>, ApiError> {
    let joined = relays.all();
    let mut all = joined.clone();
    if let Some(wanted) = wanted {
        all.retain(|relay| is_meant(relay, wanted));
    }
    let named = all.len();
    if among == Among::Pages {
        all.retain(|relay| relay.web().is_some());
    }
    let message = match (all.pop(), all.is_empty(), wanted) {
        (Some(relay), true, _) => return Ok(relay),
        (Some(_), false, _) => "It could be several relays.".to_owned(),
        (None, _, None) if joined.is_empty() => {
            let message = "This device has joined no relay.";
            return Err(ApiError::new(ErrorCode::NotFound, message)
                .with_hint("Join one with: hither relay add URL"));
        }
        (None, ..) if named > 0 => return Err(no_page()),
        (None, _, wanted) => format!(
            "This device has not joined a relay {}.",
            display_name(wanted.unwrap_or_default())
        ),
    };
    Err(ApiError::new(ErrorCode::NotFound, message).with_hint("Name one of: hither relay list"))
}

fn no_page() -> ApiError {
    let message = "That relay serves no page for browsers, so that no link would open.";
    ApiError::new(ErrorCode::NoRelay, message).with_hint(
        "Whoever runs the relay can have it serve one: web.listen and web.url in its configuration.",
    )
}

fn is_meant(relay: &Relay, wanted: &str) -> bool {
    let at = relay.url.at.to_string();
    let lower = wanted.to_lowercase();
    let host = at.rsplit_once(':').map(|(host, _)| host);
    let key = relay.url.key.to_string().to_lowercase();
    at == lower || host == Some(&lower) || (!lower.is_empty() && key.starts_with(&lower))
}

/// Asks a relay for something about this device or the user's others, while the user waits.
pub(crate) async fn ask(relay: &Relay, what: OwnRequest) -> Result<OwnAnswer, Unheard> {
    let because = |why: &str| Unheard::Because(why.to_owned());
    let connection = relay
        .connection()
        .ok_or_else(|| because("it is not connected now"))?;
    match timeout(ANSWER, connection.own(what)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(RequestError::Refused(refusal))) if is_never(refusal.code) => Err(Unheard::Never),
        Ok(Err(error)) => Err(because(&error.to_string())),
        // One of an earlier version does not know the request, and says nothing to it.
        Err(_) => Err(because(
            "it did not answer in time, and may be of an earlier version",
        )),
    }
}

/// Returns whether a relay that refuses so does nothing of the sort.
pub(crate) const fn is_never(code: RelayRefusalCode) -> bool {
    matches!(code, RelayRefusalCode::Role | RelayRefusalCode::Protocol)
}
