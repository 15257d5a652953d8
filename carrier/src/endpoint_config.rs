//! How an endpoint is opened.

use crate::bounds::Limits;
use std::time::Duration;

/// How an endpoint is opened.
#[derive(Debug, Clone)]
pub struct EndpointConfig {
    /// Preferred port for UDP and TCP; when it is taken, or 0, any free one.
    pub port: u16,
    /// Listen for QUIC. Without it, QUIC cannot be dialled either.
    pub quic: bool,
    /// Listen for TCP. TCP can be dialled in any case.
    pub tcp: bool,
    /// Listen on 127.0.0.1 only.
    pub loopback_only: bool,
    /// Fail when the port is taken, instead of taking any other.
    pub exact_port: bool,
    /// TCP ports to listen on besides; those that cannot be had are skipped, with a warning in the
    /// log.
    pub extra_tcp_ports: Vec<u16>,
    /// The bounds of what others can make the endpoint hold.
    pub limits: Limits,
    /// For a relay: accepted connections are not kept alive, are dead after this much silence, are
    /// closed when nothing is open on them for about 30 s, begin with small windows (see
    /// [`Stream::widen`](crate::Stream::widen)), and are not reported as
    /// [`Incoming::Link`](crate::Incoming::Link). `None`: a device.
    pub relay_idle: Option<Duration>,
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self {
            port: 0,
            quic: true,
            tcp: true,
            loopback_only: false,
            exact_port: false,
            extra_tcp_ports: Vec::new(),
            limits: Limits::default(),
            relay_idle: None,
        }
    }
}
