//! The configurations of QUIC: by distance, and by what the other side is.

use crate::dial::PeerKind;
use crate::endpoint_config::EndpointConfig;
use crate::error::BindError;
use crate::reach::Reach;
use crate::settings;
use crate::tls::Tls;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{ServerConfig, TransportConfig};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Silence after which a device takes its connection to a relay for dead. The relay's own limit,
/// which is as a rule much shorter, counts too; above both the device's pings find out first.
const RELAY_IDLE: Duration = Duration::from_secs(1800);

/// Configurations for one distance.
pub(crate) struct Settings {
    /// For dialling devices.
    device: Arc<TransportConfig>,
    /// For dialling relays.
    relay: Arc<TransportConfig>,
    /// For accepting.
    server: Arc<ServerConfig>,
}

impl Settings {
    /// The transport for dialling a peer of this kind.
    pub(crate) fn dialling(&self, peer: PeerKind) -> Arc<TransportConfig> {
        Arc::clone(match peer {
            PeerKind::Device => &self.device,
            PeerKind::Relay => &self.relay,
        })
    }

    /// The configuration for accepting.
    pub(crate) fn accepting(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }
}

/// Configurations towards near and far.
pub(crate) struct Configs {
    lan: Settings,
    wan: Settings,
}

impl Configs {
    pub(crate) fn new(tls: &Tls, config: &EndpointConfig) -> Result<Self, BindError> {
        let streams = config.limits.streams_per_device;
        let settings = |transport: fn(u32) -> TransportConfig| {
            let crypto = QuicServerConfig::try_from(tls.server()).map_err(tls_error)?;
            let device = Arc::new(transport(streams));
            let accepted = match config.relay_idle {
                Some(idle) => Arc::new(settings::relay(transport(streams), idle, streams)),
                None => Arc::clone(&device),
            };
            let mut server = ServerConfig::with_crypto(Arc::new(crypto));
            server
                .transport_config(accepted)
                .max_incoming(config.limits.handshakes);
            let relay = Arc::new(settings::quiet(transport(streams), RELAY_IDLE));
            Ok(Settings {
                device,
                relay,
                server: Arc::new(server),
            })
        };
        Ok(Self {
            lan: settings(settings::lan)?,
            wan: settings(settings::wan)?,
        })
    }

    /// The configurations for the distance of an address.
    pub(crate) fn of(&self, address: SocketAddr) -> &Settings {
        match Reach::of(address.ip()) {
            Reach::Lan => &self.lan,
            Reach::Wan => &self.wan,
        }
    }

    /// The configuration for accepting from somebody near.
    pub(crate) fn accepting_near(&self) -> &ServerConfig {
        &self.lan.server
    }
}

/// An error of TLS while an endpoint is opened.
pub(crate) fn tls_error(error: impl std::fmt::Display) -> BindError {
    BindError::Tls(error.to_string())
}
