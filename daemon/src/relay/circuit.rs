//! This device's end of circuits: asking a relay for one, taking one that another device asked for.
//!
//! Bounds: one task for every offer, at most [`MAX_ACCEPTING`] at a time; beyond it offers are declined. Links to relays
//! that this device did not join are kept for the next circuit, at most [`MAX_LINKS`] of them.

use super::RelayConnection;
use super::dial::{self, RelayError, RelayStream};
use crate::daemon::Daemon;
use hither_carrier::{Link, Stream};
use hither_proto::{
    CircuitId, CircuitMessage, DeviceId, Knock, RelayAddress, RelayMessage, RelayPurpose, RelayRefusalCode,
};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

/// Most circuits that are being accepted at a time.
const MAX_ACCEPTING: usize = 32;
/// Most links to relays that are kept for circuits.
const MAX_LINKS: usize = 8;
/// How often a relay may name another node of its fleet: the device may have moved on meanwhile.
const MAX_HOPS: usize = 3;
/// Longest wait for a stream of a relay.
const OPEN: Duration = Duration::from_secs(5);

/// A circuit that another device asks for, as the relay says.
#[derive(Debug)]
pub(crate) struct Offer {
    pub circuit: CircuitId,
    pub from: DeviceId,
    pub knock: Knock,
}

/// Links for circuits to relays to which there is no long connection.
#[derive(Debug, Default)]
pub(crate) struct RelayLinks(Mutex<HashMap<DeviceId, Link>>);

impl RelayLinks {
    fn get(&self, relay: DeviceId) -> Option<Link> {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|_, link| link.close_reason().is_none());
        links.get(&relay).cloned()
    }

    /// Keeps a link, unless there are too many; then it lives as long as what is open on it.
    fn keep(&self, link: &Link) {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|_, link| link.close_reason().is_none());
        if links.len() < MAX_LINKS {
            links.insert(link.device(), link.clone());
        }
    }
}

/// Asks a relay, or the node of its fleet that it names, for a circuit.
pub(crate) async fn connect(
    daemon: &Daemon,
    relay: &RelayAddress,
    to: DeviceId,
    knock: Knock,
) -> Result<Stream, RelayError> {
    let mut at = relay.clone();
    for _ in 0..MAX_HOPS {
        let mut stream = begin(daemon, &at).await?;
        stream.send(&about(CircuitMessage::Connect { to, knock })).await?;
        match answer(&mut stream).await? {
            CircuitMessage::Connected => return Ok(stream.stream),
            CircuitMessage::At { front } if front.key != at.key => at = front,
            _ => return Err(RelayError::Unexpected),
        }
    }
    Err(RelayError::Refused(RelayRefusalCode::NotFound.into()))
}

fn about(message: CircuitMessage) -> RelayMessage {
    RelayMessage::Circuit(Box::new(message))
}

async fn answer(stream: &mut RelayStream) -> Result<CircuitMessage, RelayError> {
    match stream.next().await? {
        RelayMessage::Circuit(message) => Ok(*message),
        _ => Err(RelayError::Unexpected),
    }
}

/// A stream to a relay: on the link of the long connection where there is one.
async fn begin(daemon: &Daemon, relay: &RelayAddress) -> Result<RelayStream, RelayError> {
    let connected = daemon.relays.connected().into_iter().find(|c| c.relay.key == relay.key);
    let link = connected.map(|connection| connection.link().clone());
    if let Some(link) = link.or_else(|| daemon.relays.links.get(relay.key)) {
        return open(link).await;
    }
    let link = dial::dial(&daemon.endpoint, relay).await?;
    daemon.relays.links.keep(&link);
    open(link).await
}

async fn open(link: Link) -> Result<RelayStream, RelayError> {
    timeout(OPEN, dial::open(link, RelayPurpose::Circuit)).await.unwrap_or(Err(RelayError::Silent))
}

/// Takes, until the connection ends, the circuits that others ask for and that this device wants.
pub(super) async fn receive(
    daemon: Arc<Daemon>,
    connection: Arc<RelayConnection>,
    mut offers: mpsc::Receiver<Offer>,
) {
    let places = Arc::new(Semaphore::new(MAX_ACCEPTING));
    while let Some(offer) = offers.recv().await {
        let place = Arc::clone(&places).try_acquire_owned();
        let (Ok(place), true) = (place, is_wanted(&daemon, &offer)) else {
            tracing::debug!(from = ?offer.from, "a circuit is declined");
            connection.tell(about(CircuitMessage::Decline { circuit: offer.circuit })).await;
            continue;
        };
        let (of, link, stop) = (Arc::clone(&daemon), connection.link().clone(), daemon.tasks.token.clone());
        daemon.tasks.spawn(async move {
            let from = offer.from;
            let accepted = tokio::select! {
                accepted = accept(&of, link, offer) => accepted,
                () = stop.cancelled() => return,
            };
            if let Err(error) = accepted {
                tracing::debug!(?from, %error, "a circuit came to nothing");
            }
            drop(place);
        });
    }
}

/// Whoever shows that they know a share that is here may come and prove it: nobody else is listened to.
fn is_wanted(daemon: &Daemon, offer: &Offer) -> bool {
    let known = |secret| offer.knock.verify(secret, &offer.from, &daemon.device);
    offer.from != daemon.device && daemon.shares.all().iter().any(|share| known(&share.secret))
}

async fn accept(daemon: &Daemon, link: Link, offer: Offer) -> Result<(), RelayError> {
    let mut stream = open(link).await?;
    stream.send(&about(CircuitMessage::Accept { circuit: offer.circuit })).await?;
    match answer(&mut stream).await? {
        CircuitMessage::Connected => {}
        _ => return Err(RelayError::Unexpected),
    }
    Ok(daemon.endpoint.accept_circuit(offer.from, stream.stream).await?)
}
