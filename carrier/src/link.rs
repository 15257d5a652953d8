//! A link: the way to one device over one carrier, from which streams are opened.

use crate::bounds::DIAL_TIMEOUT;
use crate::endpoint::Core;
use crate::error::LinkError;
use crate::quic::{CODE, Towards};
use crate::reach::canonical;
use crate::stream::{CarrierKind, Hold, Stream};
use crate::tcp;
use crate::tls::{EXPORTER_LABEL, peer_device};
use hither_proto::DeviceId;
use quinn::Connection;
use rustls::pki_types::CertificateDer;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How long the connection that proved a TCP link's identity is kept for the first stream.
const SPARE_KEEP: Duration = Duration::from_secs(2);

/// The way to one device over one carrier. Clones are the same link.
#[derive(Clone)]
pub struct Link(Inner);

#[derive(Clone)]
enum Inner {
    Quic(Arc<QuicLink>),
    Tcp(Arc<TcpLink>),
}

impl Link {
    pub(crate) fn quic(link: Arc<QuicLink>) -> Self {
        Self(Inner::Quic(link))
    }

    /// Makes a link of the address at which a first connection, the `spare`, was made.
    pub(crate) fn tcp(
        core: Arc<Core>,
        address: SocketAddr,
        (spare, rtt): (Stream, Duration),
        towards: Towards,
    ) -> Self {
        let link = TcpLink {
            device: spare.device,
            address,
            towards,
            rtt: AtomicU64::new(rtt.as_nanos() as u64),
            spare: Mutex::new(Some(spare)),
            closed: CancellationToken::new(),
            reason: OnceLock::new(),
            core,
        };
        let link = Arc::new(link);
        let (weak, stop) = (Arc::downgrade(&link), link.core.stop.clone());
        link.core.tasks.spawn(async move {
            tokio::select! {
                () = sleep(SPARE_KEEP) => {}
                () = stop.cancelled() => {}
            }
            if let Some(link) = weak.upgrade() {
                drop(link.take_spare());
            }
        });
        Self(Inner::Tcp(link))
    }

    pub(crate) fn as_quic(&self) -> Option<&QuicLink> {
        match &self.0 {
            Inner::Quic(link) => Some(link),
            Inner::Tcp(_) => None,
        }
    }

    /// The device at the other end, as proven by TLS.
    pub fn device(&self) -> DeviceId {
        match &self.0 {
            Inner::Quic(link) => link.device,
            Inner::Tcp(link) => link.device,
        }
    }

    /// What carries this link.
    pub fn carrier(&self) -> CarrierKind {
        match &self.0 {
            Inner::Quic(_) => CarrierKind::Quic,
            Inner::Tcp(_) => CarrierKind::Tcp,
        }
    }

    /// Where the other device is (now: on QUIC a device may move).
    pub fn remote(&self) -> SocketAddr {
        match &self.0 {
            Inner::Quic(link) => link.remote(),
            Inner::Tcp(link) => link.address,
        }
    }

    /// Round-trip time: on QUIC the current estimate, on TCP that of the latest connection's handshake.
    pub fn rtt(&self) -> Duration {
        match &self.0 {
            Inner::Quic(link) => link.connection.rtt(),
            Inner::Tcp(link) => Duration::from_nanos(link.rtt.load(Ordering::Relaxed)),
        }
    }

    /// Opens a stream. The other side learns of it with the first byte sent.
    ///
    /// On QUIC it waits, up to 5 s, when the other side has no place for one more; on TCP it makes a connection.
    pub async fn open(&self) -> Result<Stream, LinkError> {
        match &self.0 {
            Inner::Quic(link) => link.open().await,
            Inner::Tcp(link) => link.open().await,
        }
    }

    /// Waits until the link is dead and says why.
    ///
    /// On QUIC that is noticed at the latest 10 s after the other side fell silent. A TCP link has no connection of
    /// its own: it is dead when the other side cannot be reached for a new stream, or after [`close`](Self::close).
    pub async fn closed(&self) -> LinkError {
        match &self.0 {
            Inner::Quic(link) => link.connection.closed().await.into(),
            Inner::Tcp(link) => {
                link.closed.cancelled().await;
                link.reason.get().cloned().unwrap_or(LinkError::Closed)
            }
        }
    }

    /// Why the link is dead, or `None` while it lives.
    pub fn close_reason(&self) -> Option<LinkError> {
        match &self.0 {
            Inner::Quic(link) => link.connection.close_reason().map(LinkError::from),
            Inner::Tcp(link) => {
                link.closed.is_cancelled().then(|| link.reason.get().cloned().unwrap_or(LinkError::Closed))
            }
        }
    }

    /// Closes the link; the other side is shown `reason`. On QUIC all its streams break off; on TCP streams that are
    /// open live on.
    pub fn close(&self, reason: &'static str) {
        match &self.0 {
            Inner::Quic(link) => link.connection.close(CODE, reason.as_bytes()),
            Inner::Tcp(link) => link.end(LinkError::Closed),
        }
    }

    /// Counters of a QUIC link; TCP keeps none here.
    pub fn stats(&self) -> Option<LinkStats> {
        let stats = self.as_quic()?.connection.stats();
        Some(LinkStats {
            bytes_sent: stats.udp_tx.bytes,
            bytes_received: stats.udp_rx.bytes,
            packets_lost: stats.path.lost_packets,
            packet_size: stats.path.current_mtu,
            congestion_window: stats.path.cwnd,
        })
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({} to {:?} at {})", self.carrier(), self.device(), self.remote())
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
    /// Size of full packets now, UDP payload bytes.
    pub packet_size: u16,
    /// Congestion window now, bytes.
    pub congestion_window: u64,
}

/// A QUIC connection whose other end is known.
pub(crate) struct QuicLink {
    connection: Connection,
    device: DeviceId,
    exporter: [u8; 32],
}

impl QuicLink {
    /// Reads from a finished handshake what it proved; closes the connection if that is nothing.
    pub(crate) fn new(connection: Connection) -> Result<Self, LinkError> {
        let chain =
            connection.peer_identity().and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
        let mut exporter = [0; 32];
        let exported = connection.export_keying_material(&mut exporter, EXPORTER_LABEL, b"");
        match (peer_device(chain.as_ref().map(|chain| chain.as_slice())), exported) {
            (Ok(device), Ok(())) => Ok(Self { connection, device, exporter }),
            (Err(error), _) => {
                connection.close(CODE, b"no device key");
                Err(LinkError::Broken(error.to_string()))
            }
            (_, Err(_)) => {
                connection.close(CODE, b"no exporter");
                Err(LinkError::Broken("TLS gives no exporter".into()))
            }
        }
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

    /// UDP datagrams that have arrived on it: acknowledgements count as much as data.
    pub(crate) fn heard(&self) -> u64 {
        self.connection.stats().udp_rx.datagrams
    }

    pub(crate) fn exporter(&self) -> [u8; 32] {
        self.exporter
    }

    async fn open(&self) -> Result<Stream, LinkError> {
        match timeout(DIAL_TIMEOUT, self.connection.open_bi()).await {
            Ok(Ok(halves)) => Ok(Stream::quic(self, halves, Hold::nothing(), true)),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(LinkError::TooMany("streams on this link")),
        }
    }
}

/// An address at which a device was found to listen.
struct TcpLink {
    core: Arc<Core>,
    device: DeviceId,
    address: SocketAddr,
    towards: Towards,
    /// Nanoseconds.
    rtt: AtomicU64,
    /// The connection that proved the identity, while it is fresh and unused.
    spare: Mutex<Option<Stream>>,
    closed: CancellationToken,
    reason: OnceLock<LinkError>,
}

impl TcpLink {
    fn take_spare(&self) -> Option<Stream> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn end(&self, reason: LinkError) {
        let _ = self.reason.set(reason); // the first reason counts
        drop(self.take_spare());
        self.closed.cancel();
    }

    async fn open(&self) -> Result<Stream, LinkError> {
        if self.closed.is_cancelled() {
            return Err(LinkError::Closed);
        }
        if let Some(spare) = self.take_spare() {
            return Ok(spare);
        }
        match tcp::connect(&self.core, self.device, self.address, self.towards).await {
            Ok((stream, rtt)) => {
                self.rtt.store(rtt.as_nanos() as u64, Ordering::Relaxed);
                Ok(stream)
            }
            Err(error) => {
                // A handshake that is broken off may only mean that the other side has no place left; that nobody, or
                // somebody else, answers means that this is no way to the device any more.
                let dead = matches!(
                    error,
                    LinkError::Unreachable(_) | LinkError::TimedOut | LinkError::WrongDevice { .. }
                );
                if dead {
                    self.end(error.clone());
                }
                Err(error)
            }
        }
    }
}
