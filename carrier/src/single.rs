//! Links whose streams are connections of their own: over TCP, or through a relay. Such a link is a
//! transport that worked once.

use crate::carrier_kind::CarrierKind;
use crate::error::LinkError;
use crate::stream::Stream;
use futures::future::BoxFuture;
use hither_proto::DeviceId;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long the connection that proved a link's identity is kept for the first stream.
const SPARE_KEEP: Duration = Duration::from_secs(2);

/// How long the first answer to the next connection may take at least, and in round trips of the
/// one before: the system asks again after a second (RFC 6298).
const PATIENCE: Duration = Duration::from_millis(1500);
const ROUND_TRIPS: u32 = 4;

/// Makes the connections of a link to one device.
pub(crate) trait Transport: Send + Sync {
    /// Makes a connection whose first answer may take as long as `patience`, where that can be
    /// limited. Also returns how long it took, one round trip.
    fn connect(&self, patience: Duration) -> BoxFuture<'_, Result<(Stream, Duration), LinkError>>;

    /// Returns whether the device answers within `patience`, as far as that can be found out
    /// without a connection.
    fn answers(&self, patience: Duration) -> BoxFuture<'_, bool>;
}

/// A link to one device over a transport that worked once.
pub(crate) struct SingleLink {
    device: DeviceId,
    carrier: CarrierKind,
    /// Where the first connection led.
    remote: SocketAddr,
    transport: Box<dyn Transport>,
    /// Nanoseconds.
    rtt: AtomicU64,
    /// The connection that proved the identity, while it is fresh and unused.
    spare: Mutex<Option<Stream>>,
    closed: CancellationToken,
    reason: OnceLock<LinkError>,
}

impl SingleLink {
    /// A link over a transport that has made a first connection, the `spare`, in `rtt`.
    pub(crate) fn new(
        transport: Box<dyn Transport>,
        remote: SocketAddr,
        (spare, rtt): (Stream, Duration),
    ) -> Arc<Self> {
        Arc::new(Self {
            device: spare.device,
            carrier: spare.carrier,
            remote,
            transport,
            rtt: AtomicU64::new(rtt.as_nanos() as u64),
            spare: Mutex::new(Some(spare)),
            closed: CancellationToken::new(),
            reason: OnceLock::new(),
        })
    }

    /// Drops the spare connection if it is not used within 2 s, or when `stop` is cancelled.
    pub(crate) fn drop_spare_later(self: &Arc<Self>, tasks: &TaskTracker, stop: CancellationToken) {
        let weak = Arc::downgrade(self);
        tasks.spawn(async move {
            tokio::select! {
                () = sleep(SPARE_KEEP) => {}
                () = stop.cancelled() => {}
            }
            if let Some(link) = weak.upgrade() {
                drop(link.take_spare());
            }
        });
    }

    pub(crate) fn device(&self) -> DeviceId {
        self.device
    }

    pub(crate) fn carrier(&self) -> CarrierKind {
        self.carrier
    }

    pub(crate) fn remote(&self) -> SocketAddr {
        self.remote
    }

    pub(crate) fn rtt(&self) -> Duration {
        Duration::from_nanos(self.rtt.load(Ordering::Relaxed))
    }

    /// The reason why it is dead, or `None` while it lives.
    pub(crate) fn close_reason(&self) -> Option<LinkError> {
        self.closed.is_cancelled().then(|| self.why())
    }

    /// Waits until it is dead.
    pub(crate) async fn closed(&self) -> LinkError {
        self.closed.cancelled().await;
        self.why()
    }

    fn why(&self) -> LinkError {
        self.reason.get().cloned().unwrap_or(LinkError::Closed)
    }

    fn take_spare(&self) -> Option<Stream> {
        self.spare
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    pub(crate) fn end(&self, reason: LinkError) {
        let _ = self.reason.set(reason); // the first reason counts
        drop(self.take_spare());
        self.closed.cancel();
    }

    /// How long the first answer may take from where there was one before: a transport that is
    /// silent now is dead.
    fn patience(&self) -> Duration {
        (self.rtt() * ROUND_TRIPS).max(PATIENCE)
    }

    /// Returns whether the device answers within `patience`; of circuits nothing is known.
    pub(crate) async fn answers(&self, patience: Duration) -> bool {
        self.transport.answers(patience).await
    }

    pub(crate) async fn open(&self) -> Result<Stream, LinkError> {
        if self.closed.is_cancelled() {
            return Err(LinkError::Closed);
        }
        if let Some(spare) = self.take_spare() {
            return Ok(spare);
        }
        match self.transport.connect(self.patience()).await {
            Ok((stream, rtt)) => {
                self.rtt.store(rtt.as_nanos() as u64, Ordering::Relaxed);
                Ok(stream)
            }
            Err(error) => {
                // A handshake that is broken off may only mean that the other side has no place
                // left; that nobody, or somebody else, answers means that this is
                // no way to the device any more.
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
