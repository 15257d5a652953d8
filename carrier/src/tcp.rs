//! TCP + TLS 1.3: one connection is one stream, so there is nothing to multiplex and one stream cannot delay another.
//!
//! A dead connection is noticed by TCP itself: keep-alive probes after [`KEEP_ALIVE`] of silence, and unacknowledged
//! data for at most [`USER_TIMEOUT`] where the system can be told so.

use crate::bounds::HANDSHAKE_TIMEOUT;
use crate::duplex::{Duplex, Io, handshake_of, handshake_with};
use crate::endpoint::{Core, Incoming};
use crate::error::{BindError, LinkError};
use crate::quic::{Port, Towards, dual_stack};
use crate::reach::canonical;
use crate::socket::Socket;
use crate::stream::{CarrierKind, Hold, Stream};
use hither_proto::DeviceId;
use socket2::{Protocol, SockRef, TcpKeepalive, Type};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

/// Silence after which TCP probes whether the other side is there, and between probes.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// The same between a device and a relay, where pings find out sooner: what remains is to get rid of dead sockets.
const QUIET_KEEP_ALIVE: Duration = Duration::from_secs(600);
/// Probes without an answer after which the connection is dead.
const KEEP_ALIVE_PROBES: u32 = 3;
/// Longest time that sent data may stay unacknowledged.
const USER_TIMEOUT: Duration = Duration::from_secs(20);
/// Connections that the kernel completes before they are accepted.
const BACKLOG: i32 = 128;
/// Pause after the system refused a connection (no file descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Opens the listener, on `port` if that is free.
pub(crate) fn bind(port: Port) -> Result<TcpListener, BindError> {
    let listen = || {
        let socket = dual_stack(port, Type::STREAM, Protocol::TCP, |_socket| {
            // On Unix: a restarted daemon gets its port back while old connections linger. (On Windows the same option
            // would let another program steal it.)
            #[cfg(unix)]
            _socket.set_reuse_address(true)?;
            Ok(())
        })?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    listen().map_err(|source| BindError::Socket { carrier: "TCP", source })
}

fn prepare(socket: &TcpStream, quiet: bool) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let socket = SockRef::from(socket);
    let pause = if quiet { QUIET_KEEP_ALIVE } else { KEEP_ALIVE };
    let keep_alive = TcpKeepalive::new().with_time(pause).with_interval(KEEP_ALIVE);
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "macos"))]
    let keep_alive = keep_alive.with_retries(KEEP_ALIVE_PROBES);
    socket.set_tcp_keepalive(&keep_alive)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(())
}

/// Dials `device` at one address. Also returns how long the TCP handshake took, one round trip.
pub(crate) async fn connect(
    core: &Arc<Core>,
    device: DeviceId,
    address: SocketAddr,
    towards: Towards,
) -> Result<(Stream, Duration), LinkError> {
    timeout(HANDSHAKE_TIMEOUT, dial(core, device, address, towards)).await.unwrap_or(Err(LinkError::TimedOut))
}

async fn dial(
    core: &Arc<Core>,
    device: DeviceId,
    address: SocketAddr,
    towards: Towards,
) -> Result<(Stream, Duration), LinkError> {
    let permit = core.bounds.dial().ok_or(LinkError::TooMany("connections"))?;
    let unreachable = |error: io::Error| LinkError::Unreachable(error.to_string());
    let start = Instant::now();
    let socket = TcpStream::connect(address).await.map_err(unreachable)?;
    let rtt = start.elapsed();
    prepare(&socket, towards == Towards::Relay).map_err(unreachable)?;
    let remote = canonical(socket.peer_addr().map_err(unreachable)?);
    let (io, exporter) = handshake_with(core, device, Socket::Tcp(socket)).await?;
    let known = (device, remote, exporter);
    let hold = Hold::dialled(permit);
    Ok((Stream::tls(CarrierKind::Tcp, duplex(core, io), known, hold, true), rtt))
}

/// A connection that is broken off when this device loses its end of it.
fn duplex(core: &Core, io: Io) -> Arc<Duplex> {
    let local = io.get_ref().0.socket().local_addr();
    let duplex = Arc::new(Duplex::new(io));
    if let (Some(local), false) = (local, core.relay) {
        core.roaming.tcp(local.ip(), &duplex);
    }
    duplex
}

/// Accepts connections until the endpoint closes.
pub(crate) async fn serve(core: Arc<Core>, listener: TcpListener) {
    let acceptor = TlsAcceptor::from(core.tls.server());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = core.stop.cancelled() => return,
        };
        let (socket, remote) = match accepted {
            Ok((socket, remote)) => (socket, canonical(remote)),
            Err(error) => {
                tracing::debug!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let places = (core.bounds.handshakes.take(remote.ip().into()), core.bounds.accept(remote.ip()));
        let (Some(handshake), Some(permit)) = places else {
            tracing::debug!(%remote, "a connection is refused: too many");
            continue; // dropping the socket closes it
        };
        let (task_core, acceptor) = (Arc::clone(&core), acceptor.clone());
        core.tasks.spawn(async move {
            let handshaken = tokio::select! {
                result = timeout(HANDSHAKE_TIMEOUT, prepared(&acceptor, socket, task_core.relay)) => result,
                () = task_core.stop.cancelled() => return,
            };
            drop(handshake);
            match handshaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok((io, device, exporter)) => {
                    let bounds = &task_core.bounds;
                    let places = (bounds.streams.take(device), bounds.tcp.take(device));
                    let (Some(stream), Some(tcp)) = places else {
                        tracing::debug!(%device, "a connection is refused: too many of this device");
                        return;
                    };
                    let hold = Hold::accepted(stream, tcp, permit);
                    let known = (device, remote, exporter);
                    let stream = Stream::tls(CarrierKind::Tcp, duplex(&task_core, io), known, hold, false);
                    // Fails only when the endpoint is gone; the stream is then dropped.
                    let _ = task_core.incoming.send(Incoming::Stream(stream)).await;
                }
                Err(error) => tracing::debug!(%remote, %error, "a handshake failed"),
            }
        });
    }
}

async fn prepared(
    acceptor: &TlsAcceptor,
    socket: TcpStream,
    relay: bool,
) -> io::Result<(Io, DeviceId, [u8; 32])> {
    prepare(&socket, relay)?;
    handshake_of(acceptor, Socket::Tcp(socket), relay).await
}
