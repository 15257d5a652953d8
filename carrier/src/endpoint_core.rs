//! The state that the tasks of an endpoint share.

use crate::bounds::Bounds;
use crate::error::LinkError;
use crate::incoming::Incoming;
use crate::other_tls::OtherTls;
use crate::paths::Paths;
use crate::quic_config::Configs;
use crate::roaming::Roaming;
use crate::stun::Stun;
use crate::tls::Tls;
use hither_proto::DeviceId;
use std::sync::{Arc, OnceLock};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The state that the tasks of an endpoint share.
pub(crate) struct Core {
    pub(crate) device: DeviceId,
    pub(crate) tls: Tls,
    pub(crate) configs: Configs,
    pub(crate) quic: Option<quinn::Endpoint>,
    /// The socket of QUIC.
    pub(crate) socket: Option<Arc<dyn quinn::AsyncUdpSocket>>,
    /// The rest of what is on that socket.
    pub(crate) stun: Option<Arc<Stun>>,
    pub(crate) roaming: Roaming,
    pub(crate) paths: Arc<Paths>,
    pub(crate) bounds: Bounds,
    /// This is a relay.
    pub(crate) relay: bool,
    /// Whoever else speaks TLS on the TCP ports.
    pub(crate) other_tls: OnceLock<Arc<dyn OtherTls>>,
    pub(crate) incoming: mpsc::Sender<Incoming>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

impl Core {
    /// Checks that `device` is another one and the endpoint is open.
    pub(crate) fn check(&self, device: DeviceId) -> Result<(), LinkError> {
        match (device == self.device, self.stop.is_cancelled()) {
            (true, _) => Err(LinkError::Ourselves),
            (_, true) => Err(LinkError::Closed),
            _ => Ok(()),
        }
    }
}
