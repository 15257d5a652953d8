//! Circuits: the relay joins two streams of two devices that do not reach each other, and passes on
//! what they say.
//!
//! A device asks with `Connect` on a stream of its own; the front that has the other device's long
//! connection tells it (`Incoming`), it takes the circuit with a stream of its own (`Accept`) or
//! declines. A node that is not that front says which one is, so that every byte passes one node
//! only.
//!
//! Invariants: a circuit is an offer to one device, which alone can take it, once; what is sent on
//! it is never looked at or kept; a device that is not there, one that does not want, and one that
//! says nothing in time get one answer. Bounds: see [`Places`]; offers expire after
//! `circuit.accept`, circuits that carry nothing after `circuit.idle`.

mod offers;
mod places;
mod splice;

pub(crate) use offers::Offers;
pub(crate) use places::Places;

use super::device::refusal_of;
use super::front::wake;
use super::refuse;
use super::registry::RegistryError;
use super::visit;
use crate::node::Node;
use crate::ops::labels::Service;
use bytes::Bytes;
use hither_carrier::{RelayReader, Stream, write_relay_message};
use hither_proto::{
    CircuitId, CircuitMessage, DeviceId, Knock, RelayAddress, RelayMessage, RelayRefusal,
    RelayRefusalCode,
};
use offers::Offer;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// When to come back after being one too many.
const LATER: Duration = Duration::from_secs(2);

/// What the circuits of one node have in common.
pub(crate) struct Circuits {
    pub(crate) offers: Offers,
    pub(crate) places: Places,
}

/// What came of asking for a circuit.
enum Asked {
    /// The other device's end.
    Taken(Box<Stream>),
    /// Another node has the device.
    At(Box<RelayAddress>),
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
struct Caller {
    device: DeviceId,
    address: IpAddr,
    /// Nobody's device here.
    guest: bool,
}

/// Serves one stream of purpose circuit.
pub(crate) async fn run(node: Arc<Node>, mut stream: Stream, mut reader: RelayReader) {
    let first = timeout(
        node.config.front.first_frame.0,
        reader.next(&mut stream.recv),
    )
    .await;
    let Ok(Ok(Some(RelayMessage::Circuit(first)))) = first else {
        node.metrics
            .refused(Service::Circuit, RelayRefusalCode::Invalid);
        return refuse::relay(stream, RelayRefusalCode::Invalid.into()).await;
    };
    let refusal = match *first {
        CircuitMessage::Connect { to, knock } => match connect(&node, stream, to, knock).await {
            Ok(()) => return,
            Err(refused) => {
                let (back, refusal) = *refused;
                stream = back;
                refusal
            }
        },
        CircuitMessage::Accept { circuit } => match accept(&node, stream, circuit) {
            Ok(()) => return,
            Err(back) => {
                stream = *back;
                RelayRefusalCode::NotFound.into()
            }
        },
        _ => RelayRefusalCode::Invalid.into(),
    };
    node.metrics.refused(Service::Circuit, refusal.code);
    refuse::relay(stream, refusal).await;
}

/// Gives a stream to whoever asked for the circuit. What has become of its device meanwhile the
/// asker's side watches.
fn accept(node: &Node, stream: Stream, circuit: CircuitId) -> Result<(), Box<Stream>> {
    node.services.circuits.offers.take(circuit, stream)
}

/// Makes a circuit and serves it to its end. Gives the stream back with why not.
async fn connect(
    node: &Arc<Node>,
    mut stream: Stream,
    to: DeviceId,
    knock: Knock,
) -> Result<(), Box<(Stream, RelayRefusal)>> {
    let caller = match who(node, &stream).await {
        Ok(caller) => caller,
        Err(refusal) => return Err(Box::new((stream, refusal))),
    };
    let Some(places) =
        node.services
            .circuits
            .places
            .enter(caller.device, to, caller.address, caller.guest)
    else {
        return Err(Box::new((stream, refuse::busy(LATER))));
    };
    // Before anything is told to anybody: a revocation that comes from now on is heard.
    let revoked = [
        node.services.revocation_of(caller.device),
        node.services.revocation_of(to),
    ];
    let mut early = [Bytes::new()];
    let asked = tokio::select! {
        asked = ask(node, caller, to, knock) => asked,
        // Who has gone, or speaks before there is anybody to hear, gets nothing.
        _ = stream.recv.receive(&mut early, 1) => return Ok(()),
    };
    let other = match asked {
        Ok(Asked::Taken(other)) => *other,
        Ok(Asked::At(front)) => {
            say(&mut stream, CircuitMessage::At { front: *front }).await;
            let _ = stream.send.finish().await; // the device has gone if not
            return Ok(());
        }
        Err(refusal) => return Err(Box::new((stream, refusal))),
    };
    node.metrics.services.of(Service::Circuit).add_one();
    let _open = node.metrics.circuit();
    let rate = if caller.guest {
        node.config.circuit.guest_rate
    } else {
        node.config.circuit.rate
    };
    let [by_caller, by_other] = revoked;
    tokio::select! {
        () = splice::join(node, stream, other, rate.0) => {}
        () = by_caller => {}
        () = by_other => {}
    }
    drop(places);
    Ok(())
}

/// Who may ask: the devices of users, and guests where the operator lets them.
async fn who(node: &Node, stream: &Stream) -> Result<Caller, RelayRefusal> {
    let caller = Caller {
        device: stream.device,
        address: stream.remote.ip(),
        guest: false,
    };
    if !node.config.circuit.enabled {
        return Err(RelayRefusalCode::Role.into());
    }
    match node.registry.authorize(&stream.device).await {
        Ok(_) => Ok(caller),
        Err(RegistryError::NotRegistered) if visit::is_page(node, &stream.device).await? => {
            Err(RelayRefusalCode::Role.into())
        }
        Err(RegistryError::NotRegistered) if node.config.guests && node.config.circuit.guests => {
            Ok(Caller {
                guest: true,
                ..caller
            })
        }
        Err(error) => Err(refusal_of(&error)),
    }
}

/// Offers the circuit to the device, if it is connected here, and waits until it takes it.
async fn ask(
    node: &Arc<Node>,
    caller: Caller,
    to: DeviceId,
    knock: Knock,
) -> Result<Asked, RelayRefusal> {
    if caller.device == to {
        return Err(RelayRefusalCode::NotFound.into());
    }
    let here = node.services.front.get(&to);
    // A page that visits, or asks, is joined with nobody.
    let Some(connection) = here.filter(|connection| connection.standing.is_device()) else {
        return elsewhere(node, &to).await;
    };
    if node.is_draining() {
        return Err(RelayRefusalCode::GoingAway.into());
    }
    let offered = node
        .services
        .circuits
        .offers
        .make(to)
        .ok_or_else(|| refuse::busy(LATER))?;
    let Offer { circuit, taken } = offered;
    connection.offer(circuit.id(), caller.device, knock);
    // An offer that expires, is declined, or whose device goes, ends alike.
    match timeout(node.config.circuit.accept.0, taken).await {
        Ok(Ok(stream)) => Ok(Asked::Taken(stream)),
        Ok(Err(_)) | Err(_) => Err(RelayRefusalCode::NotFound.into()),
    }
}

/// The node that has the device, if one has.
async fn elsewhere(node: &Node, to: &DeviceId) -> Result<Asked, RelayRefusal> {
    let user = match node.registry.authorize(to).await {
        Ok(user) => user,
        Err(RegistryError::State(error)) => return Err(refuse::of_state(&error)),
        Err(_) => return Err(RelayRefusalCode::NotFound.into()),
    };
    let front = wake::front_of(node, &user, to)
        .await
        .map_err(|error| refuse::of_state(&error))?;
    let address = front.and_then(|front| node.services.fleet.address_of(&front));
    address
        .map(|front| Asked::At(Box::new(front)))
        .ok_or_else(|| RelayRefusalCode::NotFound.into())
}

/// Says something about a circuit on its stream; who does not take it will not take what follows
/// either.
async fn say(stream: &mut Stream, message: CircuitMessage) -> bool {
    let message = RelayMessage::Circuit(Box::new(message));
    matches!(
        timeout(LATER, write_relay_message(&mut stream.send, &message)).await,
        Ok(Ok(()))
    )
}
