//! Pipes: bytes both ways that something else carries, as a browser's WebSocket does, used like a
//! TCP connection. Over them runs the same TLS with the same keys, so that what carries them is
//! trusted with nothing.

use crate::bounds::HANDSHAKE_TIMEOUT;
use crate::carrier_kind::CarrierKind;
use crate::duplex::Duplex;
use crate::endpoint::Endpoint;
use crate::error::LinkError;
use crate::reach::canonical;
use crate::socket::Socket;
use crate::stream::{FarEnd, Hold, Stream};
use crate::tcp;
use crate::tls_handshake::{handshake_of, handshake_with};
use hither_proto::DeviceId;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// Bytes both ways. Dropping it closes it, after what was written to it is sent.
pub trait PipeIo: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> PipeIo for T {}

impl Endpoint {
    /// Takes the accepting end of a pipe from `remote`. Once a device has proven its key in it, the
    /// stream comes out of [`accept`](Self::accept) like any other. The bounds are those of accepted
    /// TCP connections, and so is the carrier that the stream names. `origin`: the site whose page
    /// opened it, as its browser said.
    pub async fn accept_pipe(
        &self,
        remote: SocketAddr,
        origin: Option<Arc<str>>,
        io: Box<dyn PipeIo>,
    ) -> Result<(), LinkError> {
        let (core, remote) = (self.core(), canonical(remote));
        if core.stop.is_cancelled() {
            return Err(LinkError::Closed);
        }
        let handshake = core.bounds.tcp_handshakes.begin(remote.ip());
        let acceptor = TlsAcceptor::from(core.tls.server());
        let shaken = handshake_of(core, &acceptor, Socket::Pipe(Some(io)));
        let shaken = tokio::select! {
            shaken = timeout(HANDSHAKE_TIMEOUT, shaken) => shaken.map_err(|_| LinkError::TimedOut)?,
            () = handshake.evicted() => return Err(LinkError::TooMany("handshakes")),
            () = core.stop.cancelled() => return Err(LinkError::Closed),
        };
        drop(handshake);
        let (io, device, binding) =
            shaken.map_err(|error: io::Error| LinkError::Broken(error.to_string()))?;
        let end = FarEnd {
            device,
            remote,
            binding,
        };
        tcp::admit(core, io, end, origin).await
    }

    /// The dialling end of a pipe to `device`, which is at `remote`: a stream of its own, opened by
    /// this device.
    pub async fn dial_pipe(
        &self,
        device: DeviceId,
        remote: SocketAddr,
        io: Box<dyn PipeIo>,
    ) -> Result<Stream, LinkError> {
        let core = self.core();
        core.check(device)?;
        let permit = core
            .bounds
            .dial()
            .ok_or(LinkError::TooMany("connections"))?;
        let shaken = handshake_with(core, device, Socket::Pipe(Some(io)));
        let (io, binding) = timeout(HANDSHAKE_TIMEOUT, shaken)
            .await
            .unwrap_or(Err(LinkError::TimedOut))?;
        let end = FarEnd {
            device,
            remote,
            binding,
        };
        let (duplex, hold) = (Arc::new(Duplex::new(io)), Hold::dialled(permit));
        Ok(Stream::tls(CarrierKind::Tcp, duplex, end, hold, true))
    }
}
