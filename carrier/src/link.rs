//! A link: the way to one device over one carrier, from which streams are opened.

use crate::bounds::DIAL_TIMEOUT;
use crate::error::LinkError;
use crate::quic::CODE;
use crate::reach::canonical;
use crate::single::SingleLink;
use crate::stream::{CarrierKind, Hold, Stream};
use crate::tls::{EXPORTER_LABEL, exporter_context, peer_device};
use hither_proto::{DeviceId, StreamBinding};
use quinn::{Connection, StreamId, VarInt};
use rustls::pki_types::CertificateDer;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The way to one device over one carrier. Clones are the same link.
#[derive(Clone)]
pub struct Link(Inner);

#[derive(Clone)]
enum Inner {
    Quic(Arc<QuicLink>),
    Single(Arc<SingleLink>),
}

impl Link {
    pub(crate) fn quic(link: Arc<QuicLink>) -> Self {
        Self(Inner::Quic(link))
    }

    pub(crate) fn single(link: Arc<SingleLink>) -> Self {
        Self(Inner::Single(link))
    }

    pub(crate) fn as_quic(&self) -> Option<&QuicLink> {
        match &self.0 {
            Inner::Quic(link) => Some(link),
            Inner::Single(_) => None,
        }
    }

    /// The device at the other end, as proven by TLS.
    pub fn device(&self) -> DeviceId {
        match &self.0 {
            Inner::Quic(link) => link.device,
            Inner::Single(link) => link.device(),
        }
    }

    /// What carries this link.
    pub fn carrier(&self) -> CarrierKind {
        match &self.0 {
            Inner::Quic(_) => CarrierKind::Quic,
            Inner::Single(link) => link.carrier(),
        }
    }

    /// Where the other device is (now: on QUIC a device may move); of a link through a relay, where
    /// that is.
    pub fn remote(&self) -> SocketAddr {
        match &self.0 {
            Inner::Quic(link) => link.remote(),
            Inner::Single(link) => link.remote(),
        }
    }

    /// Round-trip time: on QUIC the current estimate, otherwise that of the latest connection's
    /// handshake.
    pub fn rtt(&self) -> Duration {
        match &self.0 {
            Inner::Quic(link) => link.connection.rtt(),
            Inner::Single(link) => link.rtt(),
        }
    }

    /// Opens a stream. The other side learns of it with the first byte sent.
    ///
    /// On QUIC it waits, up to 5 s, when the other side has no place for one more; on TCP it makes
    /// a connection, through a relay a circuit.
    pub async fn open(&self) -> Result<Stream, LinkError> {
        match &self.0 {
            Inner::Quic(link) => link.open().await,
            Inner::Single(link) => link.open().await,
        }
    }

    /// Whether somebody still answers where a TCP link leads, within so long. Of others nothing is
    /// asked: whether they live is known.
    pub async fn answers(&self, patience: Duration) -> bool {
        match &self.0 {
            Inner::Quic(link) => link.lives(),
            Inner::Single(link) => link.answers(patience).await,
        }
    }

    /// Waits until the link is dead and says why.
    ///
    /// On QUIC that is noticed at the latest 10 s after the other side fell silent. Another link
    /// has no connection of its own: it is dead when the other side cannot be reached for a new
    /// stream, or after [`close`](Self::close).
    pub async fn closed(&self) -> LinkError {
        match &self.0 {
            Inner::Quic(link) => link.connection.closed().await.into(),
            Inner::Single(link) => link.closed().await,
        }
    }

    /// Why the link is dead, or `None` while it lives.
    pub fn close_reason(&self) -> Option<LinkError> {
        match &self.0 {
            Inner::Quic(link) => link.connection.close_reason().map(LinkError::from),
            Inner::Single(link) => link.close_reason(),
        }
    }

    /// Closes the link; the other side is shown `reason`. On QUIC all its streams break off; on
    /// others streams that are open live on.
    pub fn close(&self, reason: &'static str) {
        match &self.0 {
            Inner::Quic(link) => link.connection.close(CODE, reason.as_bytes()),
            Inner::Single(link) => link.end(LinkError::Closed),
        }
    }

    /// Counters of a QUIC link; others keep none here.
    pub fn stats(&self) -> Option<LinkStats> {
        let stats = self.as_quic()?.connection.stats();
        Some(LinkStats {
            bytes_sent: stats.udp_tx.bytes,
            bytes_received: stats.udp_rx.bytes,
            packets_lost: stats.path.lost_packets,
            bytes_lost: stats.path.lost_bytes,
            packet_size: stats.path.current_mtu,
            congestion_window: stats.path.cwnd,
        })
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Link({} to {:?} at {})",
            self.carrier(),
            self.device(),
            self.remote()
        )
    }
}

/// Counters of a QUIC link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkStats {
    /// UDP payload sent, bytes.
    pub bytes_sent: u64,
    /// UDP payload received, bytes.
    pub bytes_received: u64,
    /// Packets found lost.
    pub packets_lost: u64,
    /// Bytes of those.
    pub bytes_lost: u64,
    /// Size of full packets now, UDP payload bytes.
    pub packet_size: u16,
    /// Congestion window now, bytes.
    pub congestion_window: u64,
}

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
    pub(crate) fn binding(
        &self,
        stream: StreamId,
        opened_here: bool,
    ) -> Result<StreamBinding, LinkError> {
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

    /// Whether it is not closed yet.
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

    /// UDP datagrams that have arrived on it: acknowledgements count as much as data.
    pub(crate) fn heard(&self) -> u64 {
        self.connection.stats().udp_rx.datagrams
    }

    async fn open(&self) -> Result<Stream, LinkError> {
        match timeout(DIAL_TIMEOUT, self.connection.open_bi()).await {
            Ok(Ok(halves)) => Stream::quic(self, halves, Hold::opened(self.used()), true),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(LinkError::TooMany("streams on this link")),
        }
    }
}
