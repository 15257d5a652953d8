//! Circuits: links to a device through a relay that both reach. The relay joins two streams; over
//! them the two devices speak TLS as over TCP, so that it sees ciphertext, and each knows the other
//! by its key and not by the relay's word.

use crate::bounds::HANDSHAKE_TIMEOUT;
use crate::duplex::{Duplex, handshake_of, handshake_with};
use crate::endpoint::{Core, Endpoint, Incoming};
use crate::error::LinkError;
use crate::link::Link;
use crate::single::{SingleLink, Way};
use crate::socket::{End, Socket};
use crate::stream::{CarrierKind, Hold, Stream};
use futures::future::BoxFuture;
use hither_proto::DeviceId;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// Makes circuits to one device: asks relays for them.
pub trait Circuits: Send + Sync {
    /// A stream to a relay that the relay has joined with one of the device: what is sent on it
    /// arrives there. It is alone on its connection, which is closed with it.
    ///
    /// Errors: [`LinkError::Unreachable`] and [`LinkError::TimedOut`] mean that the device is not
    /// to be had that way any more, everything else may pass.
    fn open(&self) -> BoxFuture<'_, Result<Stream, LinkError>>;
}

/// Makes a circuit to `device`. Also returns how long the device took to answer, one round trip.
pub(crate) async fn connect(
    core: &Arc<Core>,
    device: DeviceId,
    circuits: &dyn Circuits,
) -> Result<(Stream, Duration), LinkError> {
    let permit = core
        .bounds
        .dial()
        .ok_or(LinkError::TooMany("connections"))?;
    let beneath = circuits.open().await?;
    beneath.widen();
    let (remote, way, start) = (beneath.remote, beneath.beneath(), Instant::now());
    let shaken = handshake_with(core, device, Socket::Circuit(End::new(beneath)));
    let (io, binding) = timeout(HANDSHAKE_TIMEOUT, shaken)
        .await
        .unwrap_or(Err(LinkError::TimedOut))?;
    let rtt = start.elapsed();
    let known = (device, remote, binding);
    let hold = Hold::dialled(permit);
    let stream = Stream::tls(
        CarrierKind::Relayed,
        Arc::new(Duplex::new(io)),
        known,
        hold,
        true,
    );
    Ok((stream.over(way), rtt))
}

impl Endpoint {
    /// A link to `device` whose streams are made by `circuits`. The circuit that proves the
    /// identity becomes its first stream, if one is opened within 2 s.
    pub async fn connect_circuits(
        &self,
        device: DeviceId,
        circuits: Arc<dyn Circuits>,
    ) -> Result<Link, LinkError> {
        self.check(device)?;
        let first = connect(self.core(), device, &*circuits).await?;
        Ok(SingleLink::make(
            Arc::clone(self.core()),
            Way::Circuit(circuits),
            first,
        ))
    }

    /// The accepting end of a circuit that a relay says `from` asked for; it is alone on its
    /// connection, which is closed with it. Once `from` has proven its key, the stream comes
    /// out of [`accept`](Self::accept) like any other. The bounds are those of accepted TCP
    /// connections, with the relay's address as everybody's.
    pub async fn accept_circuit(&self, from: DeviceId, beneath: Stream) -> Result<(), LinkError> {
        let (core, remote, way) = (self.core(), beneath.remote, beneath.beneath());
        beneath.widen();
        // From here on its connection is closed whatever comes of it.
        let beneath = End::new(beneath);
        self.check(from)?;
        let bounds = &core.bounds;
        let handshake = bounds.circuit_handshakes.begin(remote.ip());
        let stream = bounds
            .stream(from, remote.ip())
            .ok_or(LinkError::TooMany("streams"))?;
        let tcp = bounds
            .tcp
            .take(from)
            .ok_or(LinkError::TooMany("connections of this device"))?;
        let acceptor = TlsAcceptor::from(core.tls.server());
        let shaken = handshake_of(core, &acceptor, Socket::Circuit(beneath));
        let shaken = tokio::select! {
            shaken = timeout(HANDSHAKE_TIMEOUT, shaken) => shaken.map_err(|_| LinkError::TimedOut)?,
            () = handshake.evicted() => return Err(LinkError::TooMany("handshakes")),
        };
        drop(handshake);
        let (io, device, binding) =
            shaken.map_err(|error: io::Error| LinkError::Broken(error.to_string()))?;
        if device != from {
            return Err(LinkError::WrongDevice { found: device });
        }
        let place = bounds
            .places
            .take(remote.ip(), from)
            .ok_or(LinkError::TooMany("connections"))?;
        let duplex = Arc::new(Duplex::new(io));
        duplex.abort_when(place.evicted(), &core.tasks);
        let hold = Hold::accepted(stream, tcp, place);
        let known = (device, remote, binding);
        let stream = Stream::tls(CarrierKind::Relayed, duplex, known, hold, false).over(way);
        core.incoming
            .send(Incoming::Stream(stream))
            .await
            .map_err(|_| LinkError::Closed)
    }
}
