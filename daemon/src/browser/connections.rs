//! Connections of browsers: bounded in number, in all and for each address, and in the time that they
//! may take to say what they want.

use axum::Router;
use hither_util::patient::Patient;
use hither_util::sync::Mutex;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Most connections at a time, in all and of one address: browsers open six for each host.
const MOST: usize = 128;
const MOST_OF_ONE: usize = 32;
/// Time that the head of a request may take, and that a connection may wait for its next one.
const HEAD: Duration = Duration::from_secs(20);
/// Most bytes of a request's head, and most headers.
const HEAD_BYTES: usize = 16 << 10;
const HEADERS: usize = 64;
/// Time that answers which were begun may go on at the end.
const GRACE: Duration = Duration::from_secs(1);
/// Pause after the system could not take a connection, as without free file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Listens at a port of every address of this machine, at any port where it is taken.
pub(crate) async fn listen(port: u16) -> io::Result<TcpListener> {
    let any = [
        IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    ];
    let mut failed = io::ErrorKind::AddrNotAvailable.into();
    for port in [port, 0] {
        for ip in any {
            match TcpListener::bind(SocketAddr::new(ip, port)).await {
                Ok(listener) => return Ok(listener),
                Err(error) => failed = error,
            }
        }
    }
    Err(failed)
}

/// The connections that there are, by address.
type Open = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// The place of a connection among them.
struct Place {
    open: Open,
    ip: IpAddr,
}

impl Place {
    fn take(open: &Open, ip: IpAddr) -> Option<Self> {
        let mut counts = open.lock();
        let all: usize = counts.values().sum();
        let own = counts.get(&ip).copied().unwrap_or_default();
        if all >= MOST || own >= MOST_OF_ONE {
            return None;
        }
        counts.insert(ip, own + 1);
        Some(Self {
            open: Arc::clone(open),
            ip,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.open.lock();
        match counts.get_mut(&self.ip) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(counts.remove(&self.ip)),
        }
    }
}

/// Serves `router` to those that `admits` lets in, until `stop`. No connection is left when this
/// returns, [`GRACE`] later at the latest.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    admits: impl Fn(SocketAddr, SocketAddr) -> bool,
    stop: CancellationToken,
) {
    let (open, tasks) = (Open::default(), TaskTracker::new());
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::debug!(%error, "a browser's connection was not taken");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
            () = stop.cancelled() => break,
        };
        // On a socket for both, IPv4 comes in the clothes of IPv6.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let Some(place) = Place::take(&open, peer.ip()) else {
            continue;
        };
        let own = stream.local_addr();
        let own = own.map(|own| SocketAddr::new(own.ip().to_canonical(), own.port()));
        if !own.is_ok_and(|own| admits(peer, own)) {
            tracing::debug!(%peer, "a browser that is not let in");
            continue;
        }
        let (router, stop) = (router.clone(), stop.clone());
        tasks.spawn(async move {
            connection(stream, router, stop).await;
            drop(place);
        });
    }
    // The port is free for the next one before the last answer is out.
    drop(listener);
    tasks.close();
    tasks.wait().await;
}

async fn connection(stream: TcpStream, router: Router, stop: CancellationToken) {
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .half_close(false);
    let service = TowerToHyperService::new(router);
    let mut served = pin!(builder.serve_connection(TokioIo::new(Patient::new(stream)), service));
    tokio::select! {
        ended = served.as_mut() => return said(ended),
        () = stop.cancelled() => served.as_mut().graceful_shutdown(),
    }
    if let Ok(ended) = tokio::time::timeout(GRACE, served).await {
        said(ended);
    }
}

fn said(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a browser's connection broke");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn connections_are_bounded_let_in_by_rule_and_ended_with_the_service() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(async || "here"));
        let stop = CancellationToken::new();
        let served = tokio::spawn(serve(listener, router, |_, _| true, stop.clone()));
        let mut held = Vec::new();
        for _ in 0..MOST_OF_ONE {
            let mut one = TcpStream::connect(at).await.unwrap();
            one.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                .await
                .unwrap();
            let mut answer = [0; 15];
            one.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"HTTP/1.1 200 OK");
            held.push(one);
        }
        // One more is closed unheard; with a place free the next is heard.
        let mut more = TcpStream::connect(at).await.unwrap();
        more.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .ok();
        let mut nothing = Vec::new();
        assert!(more.read_to_end(&mut nothing).await.is_err() || nothing.is_empty());
        stop.cancel();
        served.await.unwrap();
        for mut one in held {
            let mut rest = Vec::new();
            one.read_to_end(&mut rest).await.unwrap();
            assert!(String::from_utf8(rest).unwrap().ends_with("here"));
        }
    }

    #[tokio::test]
    async fn who_is_not_let_in_hears_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(async || "in"));
        let stop = CancellationToken::new();
        let served = tokio::spawn(serve(listener, router, |_, _| false, stop.clone()));
        let mut one = TcpStream::connect(at).await.unwrap();
        one.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .ok();
        let mut heard = Vec::new();
        assert!(one.read_to_end(&mut heard).await.is_err() || heard.is_empty());
        stop.cancel();
        served.await.unwrap();
    }
}
