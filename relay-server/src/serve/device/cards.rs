//! Cards: what a device says of itself, sealed for each of the user's other devices.

use crate::node::Node;
use crate::serve::front::{Connection, wake};
use crate::serve::records::{bucket, card_key};
use crate::serve::registry::{RegistryError, user_of};
use crate::state::{Expect, StateError};
use hither_proto::Card;

/// Stores cards and has their readers told. A card for a device that is not the user's (any more)
/// is dropped: the sender may not have heard of that yet.
pub(super) async fn store(
    node: &Node,
    from: &Connection,
    cards: Vec<Card>,
) -> Result<(), RegistryError> {
    for card in cards {
        let record = node.registry.device(&card.reader).await?;
        let theirs = record
            .as_ref()
            .filter(|record| !record.revoked)
            .map(user_of)
            .transpose()?;
        if theirs != Some(from.user) {
            continue;
        }
        let key = card_key(&from.user, &card.reader, &from.device);
        let before = node.state.get(bucket::CARDS, &key).await?;
        // A device that comes back says what it said before.
        if before.is_some_and(|before| before.value == card.sealed) {
            continue;
        }
        match node
            .state
            .put(bucket::CARDS, &key, card.sealed, Expect::Any)
            .await
        {
            Ok(_) => {}
            // No reason to part: mail can still be read. The device says it again on its next
            // connection.
            Err(error @ (StateError::NoSpace | StateError::ReadOnly)) => {
                tracing::debug!(device = %from.device, %error, "a card could not be kept");
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        match wake::card(node, &from.user, &card.reader, &from.device).await {
            Ok(()) | Err(StateError::Disconnected | StateError::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
