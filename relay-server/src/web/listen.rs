//! Ways in for browsers: listeners of their own, or the TCP ports of devices, told apart by what
//! the TLS hello offers.

use super::certificate::Certificate;
use super::client;
use super::{ConnectionPlace, Server, WebError};
use crate::node::Node;
use axum::body::Body;
use axum::http::{Request, Response};
use hither_carrier::bounds::HANDSHAKE_TIMEOUT;
use hither_carrier::{OtherTls, PipeIo};
use hither_util::patient::Patient;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls::server::ClientHello;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tower_service::Service as _;

/// Longest wait for a request's head, and longest silence between two requests.
const HEAD: Duration = Duration::from_secs(15);
/// Longest head of a request, bytes, and most headers in it.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
/// Pause after the system refused a connection (no file descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Begins to listen; returns where.
pub(super) async fn start(
    node: &Arc<Node>,
    certificate: Option<Arc<Certificate>>,
) -> Result<Vec<SocketAddr>, WebError> {
    let server = Server::new(node);
    let tls = certificate
        .map(|certificate| certificate.tls())
        .transpose()?;
    let ports = node.endpoint.tcp_ports();
    let mut addresses = Vec::new();
    for &address in &node.config.web.listen {
        if let (Some(tls), true) = (&tls, ports.contains(&address.port())) {
            share(node, &server, tls);
            addresses.push(address);
            continue;
        }
        let failed = |source| WebError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        addresses.push(listener.local_addr().map_err(failed)?);
        let acceptor = tls.clone().map(TlsAcceptor::from);
        node.spawn_until_stop(accept(Arc::clone(&server), listener, acceptor));
    }
    Ok(addresses)
}

/// Takes browsers on the TCP ports of devices, which are all shared then.
fn share(node: &Arc<Node>, server: &Arc<Server>, tls: &Arc<ServerConfig>) {
    let shared = Arc::new(SharedPorts {
        server: Arc::downgrade(server),
        tls: Arc::clone(tls),
    });
    node.endpoint.share_tcp(shared);
    // The endpoint holds no node, so that the node can end: the server lives until the node stops.
    let (server, stop) = (Arc::clone(server), node.stopping());
    node.spawn(async move {
        stop.cancelled().await;
        drop(server);
    });
}

/// Connections that come with those of devices.
struct SharedPorts {
    server: Weak<Server>,
    tls: Arc<ServerConfig>,
}

impl OtherTls for SharedPorts {
    fn config(&self, _: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
        let server = self.server.upgrade()?;
        (!server.node.is_draining()).then(|| Arc::clone(&self.tls))
    }

    fn take(&self, io: Box<dyn PipeIo>, remote: SocketAddr) {
        let Some(server) = self.server.upgrade() else {
            return;
        };
        let Some(place) = server.enter(remote.ip()) else {
            return server.node.metrics.limited.add_one();
        };
        let node = Arc::clone(&server.node);
        node.spawn(serve(server, io, remote, place));
    }
}

/// Accepts until the node goes down.
async fn accept(server: Arc<Server>, listener: TcpListener, tls: Option<TlsAcceptor>) {
    let node = Arc::clone(&server.node);
    let mut leaving = pin!(node.leaving());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut leaving => return,
        };
        let (socket, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "a browser's connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(place) = server.enter(remote.ip()) else {
            node.metrics.limited.add_one();
            continue;
        };
        let (server, tls) = (Arc::clone(&server), tls.clone());
        node.spawn(async move {
            match timeout(HANDSHAKE_TIMEOUT, shaken(socket, tls)).await {
                Ok(Ok(io)) => serve(server, io, remote, place).await,
                Ok(Err(error)) => tracing::debug!(%remote, %error, "a browser's handshake failed"),
                Err(_) => tracing::debug!(%remote, "a browser's handshake took too long"),
            }
        });
    }
}

async fn shaken(socket: TcpStream, tls: Option<TlsAcceptor>) -> io::Result<Box<dyn PipeIo>> {
    socket.set_nodelay(true)?;
    Ok(match tls {
        Some(tls) => Box::new(tls.accept(socket).await?),
        None => Box::new(socket),
    })
}

/// Answers on one connection until it ends, or the node goes down.
async fn serve(
    server: Arc<Server>,
    io: Box<dyn PipeIo>,
    remote: SocketAddr,
    place: ConnectionPlace,
) {
    let node = Arc::clone(&server.node);
    let _counted = node.metrics.browser();
    let answering = service_fn(move |request| answer(Arc::clone(&server), request, remote));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(Patient::new(io)), answering)
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = node.leaving() => {
            // Answers that were begun are given to their end.
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = &mut connection => ended,
                () = node.stopped() => Ok(()),
            }
        }
    };
    drop(place);
    if let Err(error) = ended {
        tracing::debug!(%remote, %error, "a browser's connection broke");
    }
}

async fn answer(
    server: Arc<Server>,
    mut request: Request<Incoming>,
    remote: SocketAddr,
) -> Result<Response<Body>, Infallible> {
    let node = &server.node;
    node.metrics.web_requests.add_one();
    let client = client::of(&node.config.web, remote, request.headers());
    if let Err(wait) = node.services.limiter.stream(client.0.ip()) {
        node.metrics.limited.add_one();
        return Ok(super::pages::too_many(wait));
    }
    request.extensions_mut().insert(client);
    server.router.clone().call(request).await
}
