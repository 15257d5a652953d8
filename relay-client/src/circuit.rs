//! This device's end of circuits: requesting one of a relay, taking one that another device wants.
//!
//! Every circuit has a connection to the relay of its own, so that one which is not read holds up
//! no other. Bounds: one task for every offer, at most [`MAX_ACCEPTING`] at a time, beyond which
//! offers are declined; the ways to [`MAX_REACHED`] relays that this device did not join are
//! remembered.

use super::dial::{self, RelayError, RelayStream};
use super::{RelayConnection, Relays};
use futures::future::BoxFuture;
use futures::{FutureExt, TryFutureExt};
use hither_carrier::{CarrierKind, Dial, Endpoint, Link, Stream};
use hither_proto::{
    CircuitId, CircuitMessage, DeviceId, Knock, RelayAddress, RelayMessage, RelayPurpose,
    RelayRefusalCode,
};
use hither_swarm::{CircuitError, CircuitRelays, JoinedRelay, Swarm};
use hither_util::sync::Mutex;
use hither_util::tasks::Tasks;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

/// Most circuits that are being accepted at a time.
const MAX_ACCEPTING: usize = 32;
/// Most relays whose whereabouts are remembered.
const MAX_REACHED: usize = 8;
/// How often a relay may name another node of its fleet: the device may have moved on meanwhile.
const MAX_HOPS: usize = 3;
/// Longest wait for a stream of a relay.
const OPEN: Duration = Duration::from_secs(5);

/// A circuit that another device requests, as the relay reports.
#[derive(Debug)]
pub(crate) struct Offer {
    pub circuit: CircuitId,
    pub from: DeviceId,
    pub knock: Knock,
}

/// The ways to relays without a long connection, so that the next circuit finds the way at once.
#[derive(Debug, Default)]
pub(crate) struct Reached(Mutex<HashMap<DeviceId, (CarrierKind, SocketAddr)>>);

impl Reached {
    fn lock(&self) -> MutexGuard<'_, HashMap<DeviceId, (CarrierKind, SocketAddr)>> {
        self.0.lock()
    }

    fn get(&self, relay: DeviceId) -> Option<(CarrierKind, SocketAddr)> {
        self.lock().get(&relay).copied()
    }

    /// Remembers where a link leads; some other relay is forgotten for it when there are too many.
    fn keep(&self, link: &Link) {
        let mut known = self.lock();
        if known.len() >= MAX_REACHED
            && let Some(other) = known.keys().find(|other| **other != link.device()).copied()
        {
            known.remove(&other);
        }
        known.insert(link.device(), (link.carrier(), link.remote()));
    }

    fn forget(&self, relay: DeviceId) {
        self.lock().remove(&relay);
    }
}

/// Asks relays for circuits.
pub(crate) struct RelayCircuits {
    pub(crate) relays: Arc<Relays>,
    pub(crate) endpoint: Arc<Endpoint>,
}

impl CircuitRelays for RelayCircuits {
    fn joined(&self, device: DeviceId) -> Vec<JoinedRelay> {
        let all = self.relays.all();
        let connected = all.iter().filter_map(|relay| {
            let connection = relay.connection()?;
            Some(JoinedRelay {
                address: connection.relay.clone(),
                name: relay.url.at.to_string(),
                presence: relay.presence(device),
            })
        });
        connected.collect()
    }

    fn connect<'a>(
        &'a self,
        relay: &'a RelayAddress,
        device: DeviceId,
        knock: Knock,
    ) -> BoxFuture<'a, Result<Stream, CircuitError>> {
        let connecting = self.connect_at(relay, device, knock);
        connecting.map_err(CircuitError::from).boxed()
    }
}

impl From<RelayError> for CircuitError {
    fn from(error: RelayError) -> Self {
        match error {
            RelayError::Refused(refusal) => Self::Refused(refusal),
            RelayError::Link(error) => Self::Link(error),
            error => Self::Broken(error.to_string()),
        }
    }
}

impl RelayCircuits {
    /// Asks a relay, or the node of its fleet that it names, for a circuit.
    async fn connect_at(
        &self,
        relay: &RelayAddress,
        to: DeviceId,
        knock: Knock,
    ) -> Result<Stream, RelayError> {
        let mut at = relay.clone();
        for _ in 0..MAX_HOPS {
            let mut begun = self.begin(&at).await?;
            match begun.ask(CircuitMessage::Connect { to, knock }).await? {
                CircuitMessage::Connected => return begun.into_stream(),
                CircuitMessage::At { front } if front.key != at.key => at = front,
                _ => return Err(RelayError::Unexpected),
            }
        }
        Err(RelayError::Refused(RelayRefusalCode::NotFound.into()))
    }

    /// A stream to a relay, alone on its connection: one that is not read must not hold up the long
    /// connection or another circuit.
    async fn begin(&self, relay: &RelayAddress) -> Result<Begun, RelayError> {
        let connected = self.relays.connected();
        if let Some(connection) = connected.iter().find(|c| c.relay.key == relay.key) {
            return self.beside(connection).await;
        }
        let reached = &self.relays.reached;
        if let Some(known) = reached
            .get(relay.key)
            .filter(|(carrier, _)| !self.is_worse(relay.key, *carrier))
        {
            match self.over(relay.key, known).await {
                Ok(stream) => return Ok(stream),
                Err(error) => tracing::debug!(relay = ?relay.key, %error, "not where it was"),
            }
            reached.forget(relay.key);
        }
        let link = dial::dial(&self.endpoint, relay).await?;
        reached.keep(&link);
        open(link).await
    }

    /// Returns whether the other carrier was found to carry more.
    fn is_worse(&self, relay: DeviceId, carrier: CarrierKind) -> bool {
        let first = self.endpoint.paths().first(relay);
        first.is_some_and(|first| first != carrier)
    }

    /// A stream on the way on which the long connection is, or on a better one.
    async fn beside(&self, connection: &RelayConnection) -> Result<Begun, RelayError> {
        match connection.carrier() {
            carrier if self.is_worse(connection.relay.key, carrier) => {
                open(dial::dial(&self.endpoint, &connection.relay).await?).await
            }
            // Every stream is a connection.
            CarrierKind::Tcp => open(connection.link().clone()).await,
            carrier => {
                self.over(connection.relay.key, (carrier, connection.remote()))
                    .await
            }
        }
    }

    /// A stream over one carrier to one address of a relay.
    async fn over(
        &self,
        relay: DeviceId,
        (carrier, at): (CarrierKind, SocketAddr),
    ) -> Result<Begun, RelayError> {
        let link = match carrier {
            CarrierKind::Tcp => self.endpoint.dial(Dial::tcp(relay, &[at]).relay()).await?,
            CarrierKind::Quic | CarrierKind::Relayed => {
                self.endpoint.dial(Dial::quic(relay, &[at]).relay()).await?
            }
        };
        open(link).await
    }

    async fn accept(&self, connection: &RelayConnection, offer: Offer) -> Result<(), RelayError> {
        let mut begun = self.beside(connection).await?;
        let circuit = offer.circuit;
        match begun.ask(CircuitMessage::Accept { circuit }).await? {
            CircuitMessage::Connected => {}
            _ => return Err(RelayError::Unexpected),
        }
        let stream = begun.into_stream()?;
        Ok(self.endpoint.accept_circuit(offer.from, stream).await?)
    }
}

fn about(message: CircuitMessage) -> RelayMessage {
    RelayMessage::Circuit(Box::new(message))
}

/// A stream that may become a circuit. Its connection is closed if it does not.
struct Begun(Option<RelayStream>);

impl Begun {
    async fn ask(&mut self, message: CircuitMessage) -> Result<CircuitMessage, RelayError> {
        let stream = self.0.as_mut().ok_or(RelayError::Ended)?;
        stream.send(&about(message)).await?;
        match stream.next().await? {
            RelayMessage::Circuit(message) => Ok(*message),
            _ => Err(RelayError::Unexpected),
        }
    }

    /// It is one.
    fn into_stream(mut self) -> Result<Stream, RelayError> {
        self.0
            .take()
            .map(|stream| stream.stream)
            .ok_or(RelayError::Ended)
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        // A TCP connection goes with its stream; the link may be that of others.
        if let Some(stream) = self
            .0
            .take()
            .filter(|stream| stream.link.carrier() == CarrierKind::Quic)
        {
            stream.link.close("no circuit");
        }
    }
}

async fn open(link: Link) -> Result<Begun, RelayError> {
    let opened = timeout(OPEN, dial::open(link, RelayPurpose::Circuit)).await;
    Ok(Begun(Some(opened.unwrap_or(Err(RelayError::Silent))?)))
}

/// Takes, until the connection ends, the circuits that others ask for and that this device wants.
pub(super) async fn receive(
    swarm: Arc<Swarm>,
    tasks: Tasks,
    circuits: Arc<RelayCircuits>,
    connection: Arc<RelayConnection>,
    mut offers: mpsc::Receiver<Offer>,
) {
    let places = Arc::new(Semaphore::new(MAX_ACCEPTING));
    while let Some(offer) = offers.recv().await {
        let place = Arc::clone(&places).try_acquire_owned();
        let (Ok(place), true) = (place, swarm.wants_circuit(offer.from, &offer.knock)) else {
            tracing::debug!(from = ?offer.from, "a circuit is declined");
            connection
                .tell(about(CircuitMessage::Decline {
                    circuit: offer.circuit,
                }))
                .await;
            continue;
        };
        let (circuits, by, stop) = (
            Arc::clone(&circuits),
            Arc::clone(&connection),
            tasks.token.clone(),
        );
        tasks.spawn(async move {
            let from = offer.from;
            let accepted = tokio::select! {
                accepted = circuits.accept(&by, offer) => accepted,
                () = stop.cancelled() => return,
            };
            if let Err(error) = accepted {
                tracing::debug!(?from, %error, "a circuit came to nothing");
            }
            drop(place);
        });
    }
}
