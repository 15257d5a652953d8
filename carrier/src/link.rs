//! A link: the way to one device over one carrier, from which streams are opened.

use crate::carrier_kind::CarrierKind;
use crate::close_code::CODE;
use crate::error::LinkError;
use crate::quic_link::QuicLink;
use crate::single::SingleLink;
use crate::stream::Stream;
use hither_proto::DeviceId;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

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
            Inner::Quic(link) => link.device(),
            Inner::Single(link) => link.device(),
        }
    }

    /// The carrier of this link.
    pub fn carrier(&self) -> CarrierKind {
        match &self.0 {
            Inner::Quic(_) => CarrierKind::Quic,
            Inner::Single(link) => link.carrier(),
        }
    }

    /// The address of the other device (now: on QUIC a device may move); of a link through a relay,
    /// that of the relay.
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
            Inner::Quic(link) => link.connection().rtt(),
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

    /// Returns whether a device still answers within `patience` where a TCP link leads. Other links
    /// are not probed: their state is known.
    pub async fn answers(&self, patience: Duration) -> bool {
        match &self.0 {
            Inner::Quic(link) => link.lives(),
            Inner::Single(link) => link.answers(patience).await,
        }
    }

    /// Waits until the link is dead; returns the reason.
    ///
    /// On QUIC that is noticed at the latest 10 s after the other side fell silent. Another link
    /// has no connection of its own: it is dead when the other side cannot be reached for a new
    /// stream, or after [`close`](Self::close).
    pub async fn closed(&self) -> LinkError {
        match &self.0 {
            Inner::Quic(link) => link.connection().closed().await.into(),
            Inner::Single(link) => link.closed().await,
        }
    }

    /// The reason why the link is dead, or `None` while it lives.
    pub fn close_reason(&self) -> Option<LinkError> {
        match &self.0 {
            Inner::Quic(link) => link.connection().close_reason().map(LinkError::from),
            Inner::Single(link) => link.close_reason(),
        }
    }

    /// Closes the link; the other side is shown `reason`. On QUIC all its streams break off; on
    /// others streams that are open live on.
    pub fn close(&self, reason: &'static str) {
        match &self.0 {
            Inner::Quic(link) => link.connection().close(CODE, reason.as_bytes()),
            Inner::Single(link) => link.end(LinkError::Closed),
        }
    }

    /// Counters of a QUIC link; others keep none here.
    pub fn stats(&self) -> Option<LinkStats> {
        let stats = self.as_quic()?.connection().stats();
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
