//! Looking up at relays who else holds a share that is being fetched.
//!
//! Asked for stores are the relays that the ticket names and those that this device has joined: at
//! the beginning, whenever nobody is there who gives anything, whenever a connection to a relay has
//! come up, and now and then while no store is known. Meanwhile their indexes are followed, which
//! name devices (`index/`).

use super::Transfer;
use crate::index;
use crate::transfer::TransferService;
use futures::future::join_all;
use hither_carrier::{Link, MessageReader, write_message};
use hither_proto::limits::MAX_FRAME_LOOKUP;
use hither_proto::{DeviceId, Holder, HolderKind, Message, Purpose, RelayAddress};
use hither_relay_client::{RelayError, dial};
use hither_swarm::{self, HANDSHAKE, OpenError, Share, broken};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// How far lookups are behind when the owner is on the same network: what it gives in the meantime
/// needs no relay.
const BEHIND: Duration = Duration::from_secs(1);
/// Pause between lookups while nobody is there: the first one, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// Pause while a store is known and somebody gives.
const FOR_GOOD_MEASURE: Duration = Duration::from_secs(3600);

/// Why a lookup gave nothing.
#[derive(Debug, thiserror::Error)]
enum LookupError {
    #[error(transparent)]
    Relay(#[from] RelayError),
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Looks up as long as the transfer runs. `alone` says whether nobody gives anything at the moment.
pub(super) async fn run(
    service: Arc<TransferService>,
    transfer: Arc<Transfer>,
    mut alone: watch::Receiver<bool>,
) {
    if service
        .swarm
        .links()
        .nearby()
        .contains(&transfer.share.owner)
    {
        sleep(BEHIND).await;
    }
    let following = index::follow(&service.index, transfer.share.id);
    let mut changes = service.relays.changes();
    let mut connected = relays_connected(&service);
    let mut pause = PAUSE.0;
    loop {
        look_everywhere(&service, &transfer).await;
        let looked = Instant::now();
        loop {
            let due = match (
                *alone.borrow_and_update(),
                service.swarm.holders().any(transfer.share.id),
            ) {
                (true, _) => pause,
                (false, false) => PAUSE.1,
                (false, true) => FOR_GOOD_MEASURE,
            };
            tokio::select! {
                () = sleep_until(looked + due) => {
                    following.again();
                    break;
                }
                Ok(()) = changes.changed() => {
                    let before = std::mem::replace(&mut connected, relays_connected(&service));
                    if !connected.is_subset(&before) {
                        break;
                    }
                }
                Ok(()) = alone.changed() => {}
            }
        }
        pause = if *alone.borrow() {
            (pause * 2).min(PAUSE.1)
        } else {
            PAUSE.0
        };
    }
}

fn relays_connected(service: &TransferService) -> BTreeSet<DeviceId> {
    service
        .relays
        .connected()
        .iter()
        .map(|connection| connection.relay.key)
        .collect()
}

/// Asks every relay that may know, all at once.
async fn look_everywhere(service: &TransferService, transfer: &Transfer) {
    let mut relays: Vec<RelayAddress> = transfer.ticket.relays.clone();
    for relay in service.relays.all() {
        let front = relay
            .connection()
            .map_or_else(|| relay.front(), |connection| connection.relay.clone());
        if relays.iter().all(|known| known.key != front.key) {
            relays.push(front);
        }
    }
    let share = &transfer.share;
    join_all(relays.iter().map(async |relay| match look_up(service, share, relay).await {
        Ok(holders) => {
            tracing::debug!(share = ?share.id, relay = ?relay.key, holders = holders.len(), "looked up");
            service.swarm.hear_holders(share, &holders);
        }
        Err(error) => tracing::debug!(share = ?share.id, relay = ?relay.key, %error, "not looked up"),
    }))
    .await;
}

/// Asks one relay who holds the share.
async fn look_up(
    service: &TransferService,
    share: &Share,
    relay: &RelayAddress,
) -> Result<Vec<Holder>, LookupError> {
    let connected = service
        .relays
        .connected()
        .into_iter()
        .find(|c| c.relay.key == relay.key);
    if let Some(connection) = connected {
        return Ok(ask(share, connection.link()).await?);
    }
    let link = dial(service.swarm.endpoint(), relay).await?;
    let answer = ask(share, &link).await;
    // The relay often is the store too: then a session follows on the same link.
    match &answer {
        Ok(holders) if holders.iter().any(|h| h.address.key == relay.key) => {
            service.swarm.links().accepted(link)
        }
        _ => link.close("looked up"),
    }
    Ok(answer?)
}

async fn ask(share: &Share, link: &Link) -> Result<Vec<Holder>, OpenError> {
    let mut stream = timeout(HANDSHAKE, link.open())
        .await
        .map_err(|_| OpenError::TimedOut)??;
    let open = hither_swarm::open(share, HolderKind::Store, &stream, Purpose::Lookup);
    write_message(&mut stream.send, &open)
        .await
        .map_err(broken)?;
    let mut reader = MessageReader::new(MAX_FRAME_LOOKUP);
    let answer = timeout(HANDSHAKE, reader.next(&mut stream.recv)).await;
    match answer.map_err(|_| OpenError::TimedOut)?.map_err(broken)? {
        Some(Message::Elsewhere {
            proof: Some(proof),
            holders,
        }) if hither_swarm::holds(share, HolderKind::Store, &stream, Purpose::Lookup, &proof) => {
            Ok(holders)
        }
        Some(Message::Elsewhere { .. }) => Err(OpenError::Imposter),
        Some(Message::Refused(refusal)) => Err(OpenError::Refused(refusal)),
        Some(_) | None => Err(broken("the relay answered something else")),
    }
}
