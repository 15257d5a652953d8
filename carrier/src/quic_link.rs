//! A QUIC connection whose other end is known.

use crate::bounds::DIAL_TIMEOUT;
use crate::close_code::CODE;
use crate::error::LinkError;
use crate::reach::canonical;
use crate::stream::{FarEnd, Hold, Stream};
use crate::tls::{EXPORTER_LABEL, exporter_context, peer_device};
use hither_proto::{DeviceId, StreamBinding};
use quinn::{Connection, RecvStream, SendStream, StreamId, VarInt};
use rustls::pki_types::CertificateDer;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::time::timeout;

/// A QUIC connection whose other end is known.
pub(crate) struct QuicLink {
    connection: Connection,
    own: DeviceId,
    device: DeviceId,
    /// Held once more by every open stream.
    used: Arc<()>,
}

impl QuicLink {
    /// Reads from a finished handshake of the device `own` what it proved; closes the connection if
    /// that is nothing.
    pub(crate) fn new(connection: Connection, own: DeviceId) -> Result<Self, LinkError> {
        let chain = connection
            .peer_identity()
            .and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
        match peer_device(chain.as_ref().map(|chain| chain.as_slice())) {
            Ok(device) => Ok(Self {
                connection,
                own,
                device,
                used: Arc::default(),
            }),
            Err(error) => {
                connection.close(CODE, b"no device key");
                Err(LinkError::Broken(error.to_string()))
            }
        }
    }

    /// Returns what proofs on one stream are bound to.
    fn binding(&self, stream: StreamId, opened_here: bool) -> Result<StreamBinding, LinkError> {
        let context = exporter_context(VarInt::from(stream).into_inner());
        let mut exporter = [0; 32];
        self.connection
            .export_keying_material(&mut exporter, EXPORTER_LABEL, &context)
            .map_err(|_| LinkError::Broken("TLS gives no exporter".into()))?;
        Ok(match opened_here {
            true => StreamBinding::new(exporter, self.own, self.device),
            false => StreamBinding::new(exporter, self.device, self.own),
        })
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(crate) fn device(&self) -> DeviceId {
        self.device
    }

    pub(crate) fn remote(&self) -> SocketAddr {
        canonical(self.connection.remote_address())
    }

    /// Returns whether it is not closed yet.
    pub(crate) fn lives(&self) -> bool {
        self.connection.close_reason().is_none()
    }

    /// Shows, while it is held, that something is open here.
    pub(crate) fn used(&self) -> Arc<()> {
        Arc::clone(&self.used)
    }

    /// Streams that are open, whoever has opened them.
    pub(crate) fn streams(&self) -> usize {
        Arc::strong_count(&self.used) - 1
    }

    /// Number of UDP datagrams that have arrived on it: acknowledgements count as much as data.
    pub(crate) fn heard(&self) -> u64 {
        self.connection.stats().udp_rx.datagrams
    }

    /// Makes a stream of the two halves of one.
    pub(crate) fn stream(
        &self,
        halves: (SendStream, RecvStream),
        hold: Hold,
        opened_here: bool,
    ) -> Result<Stream, LinkError> {
        let end = FarEnd {
            device: self.device,
            remote: self.remote(),
            binding: self.binding(halves.0.id(), opened_here)?,
        };
        Ok(Stream::quic(
            &self.connection,
            halves,
            end,
            hold,
            opened_here,
        ))
    }

    /// Opens a stream; waits up to 5 s when the other side has no place for one more.
    pub(crate) async fn open(&self) -> Result<Stream, LinkError> {
        match timeout(DIAL_TIMEOUT, self.connection.open_bi()).await {
            Ok(Ok(halves)) => self.stream(halves, Hold::opened(self.used()), true),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(LinkError::TooMany("streams on this link")),
        }
    }
}
