//! What the tests of this crate share.

use bytes::Bytes;
use hither_carrier::{
    CarrierKind, Endpoint, EndpointConfig, Identity, Incoming, Link, LinkError, Stream,
};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Longest time that anything in these tests may take.
pub const SOON: Duration = Duration::from_secs(20);
pub const BOTH: [CarrierKind; 2] = [CarrierKind::Quic, CarrierKind::Tcp];

pub fn endpoint() -> Arc<Endpoint> {
    let config = EndpointConfig {
        loopback_only: true,
        ..Default::default()
    };
    Arc::new(Endpoint::bind(&Identity::generate().unwrap(), &config).unwrap())
}

pub fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Where `endpoint` listens for `carrier`.
pub fn address(endpoint: &Endpoint, carrier: CarrierKind) -> SocketAddr {
    match carrier {
        CarrierKind::Quic => loopback(endpoint.port()),
        CarrierKind::Tcp => loopback(endpoint.tcp_port().unwrap()),
        // A circuit has no address.
        CarrierKind::Relayed => loopback(0),
    }
}

pub async fn connect(
    from: &Endpoint,
    to: &Endpoint,
    carrier: CarrierKind,
) -> Result<Link, LinkError> {
    connect_at(from, to, carrier, &[address(to, carrier)]).await
}

pub async fn connect_at(
    from: &Endpoint,
    to: &Endpoint,
    carrier: CarrierKind,
    addresses: &[SocketAddr],
) -> Result<Link, LinkError> {
    match carrier {
        CarrierKind::Quic => {
            from.dial(hither_carrier::Dial::quic(to.device(), addresses))
                .await
        }
        CarrierKind::Tcp => {
            from.dial(hither_carrier::Dial::tcp(to.device(), addresses))
                .await
        }
        CarrierKind::Relayed => Err(LinkError::NoAddress),
    }
}

/// A stream on which one byte, an x, was sent, so that the other side learns of it.
pub async fn said(link: &Link) -> Stream {
    let mut stream = link.open().await.unwrap();
    stream
        .send
        .send_bytes(Bytes::from_static(b"x"))
        .await
        .unwrap();
    stream
}

/// A stream over `link`: this end, and the one that `to` accepted.
pub async fn joined(link: &Link, to: &Endpoint) -> (Stream, Stream) {
    (said(link).await, next_stream(to).await)
}

pub async fn next_stream(endpoint: &Endpoint) -> Stream {
    let next = async {
        loop {
            match endpoint.accept().await.expect("the endpoint is open") {
                Incoming::Stream(stream) => return stream,
                Incoming::Link(_) => {}
            }
        }
    };
    soon(next).await
}

pub async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, work)
        .await
        .expect("this takes too long")
}
