//! Circuits: links to a device through a relay that both reach. The relay joins two streams; over
//! them the two devices speak TLS as over TCP, so that it sees ciphertext, and each knows the other
//! by its key and not by what the relay claims.

use crate::bounds::HANDSHAKE_TIMEOUT;
use crate::carrier_kind::CarrierKind;
use crate::duplex::Duplex;
use crate::endpoint::Endpoint;
use crate::endpoint_core::Core;
use crate::error::LinkError;
use crate::incoming::Incoming;
use crate::link::Link;
use crate::single::{SingleLink, Transport};
use crate::socket::{End, Socket};
use crate::stream::{FarEnd, Hold, Stream};
use crate::tls_handshake::{handshake_of, handshake_with};
use futures::future::{BoxFuture, ready};
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

/// Circuits to one device.
struct CircuitTransport {
    core: Arc<Core>,
    device: DeviceId,
    circuits: Arc<dyn Circuits>,
}

impl CircuitTransport {
    /// Makes a circuit. Also returns how long the device took to answer, one round trip.
    async fn make(&self) -> Result<(Stream, Duration), LinkError> {
        let (core, device) = (&self.core, self.device);
        let permit = core
            .bounds
            .dial()
            .ok_or(LinkError::TooMany("connections"))?;
        let beneath = self.circuits.open().await?;
        beneath.widen();
        let (remote, via, start) = (beneath.remote, beneath.beneath(), Instant::now());
        let shaken = handshake_with(core, device, Socket::Circuit(End::new(beneath)));
        let (io, binding) = timeout(HANDSHAKE_TIMEOUT, shaken)
            .await
            .unwrap_or(Err(LinkError::TimedOut))?;
        let rtt = start.elapsed();
        let end = FarEnd {
            device,
            remote,
            binding,
        };
        let (duplex, hold) = (Arc::new(Duplex::new(io)), Hold::dialled(permit));
        let stream = Stream::tls(CarrierKind::Relayed, duplex, end, hold, true);
        Ok((stream.over(via), rtt))
    }
}

impl Transport for CircuitTransport {
    fn connect(&self, _: Duration) -> BoxFuture<'_, Result<(Stream, Duration), LinkError>> {
        Box::pin(self.make())
    }

    fn answers(&self, _: Duration) -> BoxFuture<'_, bool> {
        Box::pin(ready(true))
    }
}

impl Endpoint {
    /// A link to `device` whose streams are made by `circuits`. The circuit that proves the
    /// identity becomes its first stream, if one is opened within 2 s.
    pub async fn connect_circuits(
        &self,
        device: DeviceId,
        circuits: Arc<dyn Circuits>,
    ) -> Result<Link, LinkError> {
        let core = self.core();
        core.check(device)?;
        let transport = CircuitTransport {
            core: Arc::clone(core),
            device,
            circuits,
        };
        let first = transport.make().await?;
        let remote = first.0.remote;
        let link = SingleLink::new(Box::new(transport), remote, first);
        link.drop_spare_later(&core.tasks, core.stop.clone());
        Ok(Link::single(link))
    }

    /// Takes the accepting end of a circuit that, as the relay claims, `from` asked for; it is
    /// alone on its connection, which is closed with it. Once `from` has proven its key, the stream
    /// comes out of [`accept`](Self::accept) like any other. The bounds are those of accepted TCP
    /// connections, with the relay's address as everybody's.
    pub async fn accept_circuit(&self, from: DeviceId, beneath: Stream) -> Result<(), LinkError> {
        let (core, remote, via) = (self.core(), beneath.remote, beneath.beneath());
        beneath.widen();
        // From here on its connection is closed whatever comes of it.
        let beneath = End::new(beneath);
        core.check(from)?;
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
        let end = FarEnd {
            device,
            remote,
            binding,
        };
        let stream = Stream::tls(CarrierKind::Relayed, duplex, end, hold, false).over(via);
        core.incoming
            .send(Incoming::Stream(stream))
            .await
            .map_err(|_| LinkError::Closed)
    }
}
