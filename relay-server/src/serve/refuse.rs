//! Saying no.

use crate::state::StateError;
use hither_carrier::{SendHalf, Stream, write_message, write_relay_message};
use hither_proto::limits::MAX_RETRY_MS;
use hither_proto::{Message, Refusal, RelayMessage, RelayRefusal, RelayRefusalCode};
use std::time::Duration;
use tokio::time::timeout;

/// Longest wait for a refusal to arrive.
const PATIENCE: Duration = Duration::from_secs(2);
/// When to come back after something failed here that may pass.
pub(crate) const TROUBLE: Duration = Duration::from_secs(2);

/// Come back after `wait`.
pub(crate) fn busy(wait: Duration) -> RelayRefusal {
    RelayRefusal {
        code: RelayRefusalCode::Busy,
        retry_after_ms: millis(wait),
    }
}

/// The same in the link protocol.
pub(crate) fn link_busy(wait: Duration) -> Refusal {
    Refusal::Busy(millis(wait))
}

fn millis(wait: Duration) -> u32 {
    u32::try_from(wait.as_millis())
        .unwrap_or(MAX_RETRY_MS)
        .clamp(1, MAX_RETRY_MS)
}

/// What a device is told of a failure of the state.
pub(crate) fn of_state(error: &StateError) -> RelayRefusal {
    match error {
        StateError::Full(_) => RelayRefusalCode::Quota.into(),
        StateError::NoSpace | StateError::ReadOnly => RelayRefusalCode::NoSpace.into(),
        StateError::TooLarge { .. } | StateError::BadName(_) => RelayRefusalCode::Invalid.into(),
        _ => busy(TROUBLE),
    }
}

/// Ends a relay stream with a refusal.
pub(crate) async fn relay(mut stream: Stream, refusal: RelayRefusal) {
    relay_half(&mut stream.send, refusal).await;
}

/// The same, of a stream that was taken apart.
pub(crate) async fn relay_half(send: &mut SendHalf, refusal: RelayRefusal) {
    let say = async {
        write_relay_message(send, &RelayMessage::Refused(refusal)).await?;
        send.finish().await?;
        send.delivered().await
    };
    // Who does not take even that gets nothing.
    let _ = timeout(PATIENCE, say).await;
}

/// Ends a stream of the link protocol with a refusal.
pub(crate) async fn link(mut stream: Stream, refusal: Refusal) {
    let say = async {
        write_message(&mut stream.send, &Message::Refused(refusal)).await?;
        stream.send.finish().await?;
        stream.send.delivered().await
    };
    let _ = timeout(PATIENCE, say).await;
}
