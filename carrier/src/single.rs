//! Links whose streams are connections of their own: over TCP, or through a relay. Such a link is a
//! way that worked once.

use crate::circuit::{self, Circuits};
use crate::endpoint::Core;
use crate::error::LinkError;
use crate::link::Link;
use crate::quic::Towards;
use crate::stream::{CarrierKind, Stream};
use crate::tcp;
use hither_proto::DeviceId;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How long the connection that proved a link's identity is kept for the first stream.
const SPARE_KEEP: Duration = Duration::from_secs(2);

/// How long the first answer to the next connection may take at least, and in round trips of the
/// one before: the system asks again after a second (RFC 6298).
const PATIENCE: Duration = Duration::from_millis(1500);
const ROUND_TRIPS: u32 = 4;

/// How a connection is made.
pub(crate) enum Way {
    /// By dialling an address at which the device was found to listen.
    Tcp(SocketAddr, Towards),
    /// By asking a relay.
    Circuit(Arc<dyn Circuits>),
}

/// A way to one device.
pub(crate) struct SingleLink {
    core: Arc<Core>,
    device: DeviceId,
    carrier: CarrierKind,
    /// Where the first connection led.
    remote: SocketAddr,
    way: Way,
    /// Nanoseconds.
    rtt: AtomicU64,
    /// The connection that proved the identity, while it is fresh and unused.
    spare: Mutex<Option<Stream>>,
    closed: CancellationToken,
    reason: OnceLock<LinkError>,
}

impl SingleLink {
    /// Makes a link of the way on which a first connection, the `spare`, was made.
    pub(crate) fn make(core: Arc<Core>, way: Way, (spare, rtt): (Stream, Duration)) -> Link {
        let link = Arc::new(Self {
            device: spare.device,
            carrier: spare.carrier,
            remote: match &way {
                Way::Tcp(address, _) => *address,
                Way::Circuit(_) => spare.remote,
            },
            way,
            rtt: AtomicU64::new(rtt.as_nanos() as u64),
            spare: Mutex::new(Some(spare)),
            closed: CancellationToken::new(),
            reason: OnceLock::new(),
            core,
        });
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
        Link::single(link)
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

    /// Why it is dead, or `None` while it lives.
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

    /// How long the first answer may take from where there was one before: what is silent now is no
    /// way any more.
    fn patience(&self) -> Duration {
        (self.rtt() * ROUND_TRIPS).max(PATIENCE)
    }

    /// Whether somebody answers at the address, within so long; of circuits nothing is known.
    pub(crate) async fn answers(&self, patience: Duration) -> bool {
        match &self.way {
            Way::Tcp(address, _) => {
                matches!(
                    timeout(patience, TcpStream::connect(*address)).await,
                    Ok(Ok(_))
                )
            }
            Way::Circuit(_) => true,
        }
    }

    pub(crate) async fn open(&self) -> Result<Stream, LinkError> {
        if self.closed.is_cancelled() {
            return Err(LinkError::Closed);
        }
        if let Some(spare) = self.take_spare() {
            return Ok(spare);
        }
        let made = match &self.way {
            Way::Tcp(address, towards) => {
                tcp::connect(
                    &self.core,
                    self.device,
                    *address,
                    *towards,
                    Some(self.patience()),
                )
                .await
            }
            Way::Circuit(circuits) => circuit::connect(&self.core, self.device, &**circuits).await,
        };
        match made {
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
