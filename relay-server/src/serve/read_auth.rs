//! Who may read from a store, or ask where a share is: whoever proves to know the share's read key.
//!
//! Invariant: a share that is not here, one whose proof is wrong, and a reader who may not read at
//! all get one answer after one time, so that nobody can find out by asking what is kept here.

use super::LinkOpen;
use super::refuse;
use super::registry::RegistryError;
use super::traffic::Slot;
use crate::node::Node;
use crate::ops::labels::Service;
use crate::store::{Store, StoredVersion};
use hither_carrier::Stream;
use hither_proto::{DeviceId, Proof, ProofKey, ProofKind, ReadKey, Refusal, Side};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// When "not found" is answered, counted from the question: longer than looking everything up
/// takes, so that the time says nothing about what was found.
const ONE_TIME: Duration = Duration::from_millis(30);
/// When to come back after being one too many.
const LATER: Duration = Duration::from_secs(2);
/// A proof is made of this key when there is none, so that the work is the same.
pub(super) const NO_READ_KEY: ReadKey = ReadKey::new([0; 32]);

/// A reader with a place.
pub(super) struct Admitted {
    pub(super) owner: DeviceId,
    _places: Places,
}

/// The places of a reader: of everybody, and of guests when it is one.
pub(crate) struct Places {
    _all: Slot,
    _guest: Option<Slot>,
}

/// Gives a reader a place. Devices of users and, where the operator allows it, guests may come.
pub(super) async fn admit(
    node: &Node,
    device: DeviceId,
    open: &LinkOpen,
) -> Result<Admitted, Refusal> {
    let places = places(node, device).await;
    match (open.proof_kind, open.owner) {
        (ProofKind::ReadKey, Some(owner)) => Ok(Admitted {
            owner,
            _places: places?,
        }),
        // Whoever may not read at all is told no more than who asks for the wrong thing.
        _ => Err(Refusal::NotFound),
    }
}

/// The places of a device that reads, however it does.
pub(crate) async fn places(node: &Node, device: DeviceId) -> Result<Places, Refusal> {
    let known = match node.registry.authorize(&device).await {
        Ok(_) => true,
        Err(RegistryError::NotRegistered) => false,
        Err(RegistryError::Revoked) => return Err(Refusal::NotFound),
        // Without the state nobody knows who is a guest: the readers of tickets are served as
        // guests are.
        Err(error) => {
            tracing::warn!(%error, "a reader could not be looked up");
            false
        }
    };
    if !known && !node.config.guests {
        return Err(Refusal::NotFound);
    }
    let traffic = &node.services.traffic;
    let busy = || refuse::link_busy(LATER);
    let all = traffic.readers.enter(device).ok_or_else(busy)?;
    let guest = match known {
        true => None,
        false => Some(traffic.guests.enter(device).ok_or_else(busy)?),
    };
    Ok(Places {
        _all: all,
        _guest: guest,
    })
}

/// The version to be read: the first whose read key the proof was made of.
pub(super) async fn version(
    store: &Store,
    stream: &Stream,
    open: &LinkOpen,
    owner: DeviceId,
) -> Result<StoredVersion, Refusal> {
    let versions = store.candidates(owner, open.share).await.map_err(|error| {
        tracing::error!(%error, "a share could not be looked up in the store");
        refuse::link_busy(LATER)
    })?;
    // Every one is tried, whichever holds, and one when there is none.
    let none = [NO_READ_KEY];
    let keys = versions
        .iter()
        .map(|version| &version.read_key)
        .chain(&none);
    let held: Vec<bool> = keys.map(|key| holds(key, stream, open)).collect();
    versions
        .into_iter()
        .zip(held)
        .find_map(|(version, held)| held.then_some(version))
        .ok_or(Refusal::NotFound)
}

/// Returns whether the reader's proof was made of a key, in constant time.
pub(super) fn holds(key: &ReadKey, stream: &Stream, open: &LinkOpen) -> bool {
    open.proof.verify(
        &ProofKey::of_read_key(key),
        &stream.binding,
        Side::Opener,
        open.purpose,
    )
}

/// Our proof to the reader.
pub(super) fn our_proof(key: &ReadKey, stream: &Stream, open: &LinkOpen) -> Proof {
    Proof::make(
        &ProofKey::of_read_key(key),
        &stream.binding,
        Side::Acceptor,
        open.purpose,
    )
}

/// Ends a stream with a refusal, and "not found" at its time.
pub(super) async fn refuse(
    node: &Arc<Node>,
    stream: Stream,
    service: Service,
    asked: Instant,
    refusal: Refusal,
) {
    tracing::debug!(device = ?stream.device, ?refusal, "a reader was refused");
    node.metrics.refused(service, refusal);
    if refusal == Refusal::NotFound {
        sleep_until(asked + ONE_TIME).await;
    }
    refuse::link(stream, refusal).await;
}
