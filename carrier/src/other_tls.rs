//! Whoever else speaks TLS on the TCP ports of an endpoint: a web server, for clients that do not
//! offer Hither's protocol.

use crate::endpoint::Endpoint;
use crate::pipe::PipeIo;
use rustls::ServerConfig;
use rustls::server::ClientHello;
use std::net::SocketAddr;
use std::sync::Arc;

/// Whoever else speaks TLS on the TCP ports of an endpoint.
pub trait OtherTls: Send + Sync {
    /// The configuration for a client that does not offer Hither's protocol; `None`: nobody is there
    /// for it, and the connection ends.
    fn config(&self, hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>>;

    /// Takes a connection whose handshake with that configuration is done. Its bounds are the
    /// taker's. Must not block.
    fn take(&self, io: Box<dyn PipeIo>, remote: SocketAddr);
}

impl Endpoint {
    /// Shares all TCP ports with `other` from now on: a client that does not offer Hither's
    /// protocol in its hello (RFC 7301) is its. Handshakes are bounded together with those of
    /// devices. Only the first call counts.
    pub fn share_tcp(&self, other: Arc<dyn OtherTls>) {
        // A second one is the caller's mistake, and changes nothing.
        let _ = self.core().other_tls.set(other);
    }
}
