//! TCP + TLS 1.3: one connection is one stream, so there is nothing to multiplex and one stream cannot delay another.
//!
//! A dead connection is noticed by TCP itself: keep-alive probes after [`KEEP_ALIVE`] of silence, and unacknowledged
//! data for at most [`USER_TIMEOUT`] where the system can be told so.

use crate::ahead::ReadAhead;
use crate::bounds::HANDSHAKE_TIMEOUT;
use crate::endpoint::{Core, Incoming};
use crate::error::{BindError, LinkError};
use crate::quic::{Port, Towards, dual_stack};
use crate::reach::canonical;
use crate::stream::{Hold, Stream};
use crate::tls::{ALPN, EXPORTER_LABEL, SERVER_NAME, TlsError, peer_device};
use hither_proto::DeviceId;
use rustls::pki_types::ServerName;
use socket2::{Protocol, SockRef, TcpKeepalive, Type};
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

/// Bytes read from the socket at once.
const READ_BUFFER: usize = 64 * 1024;
/// The same at a relay, which holds thousands of connections that are silent most of the time: one TLS record.
const RELAY_READ_BUFFER: usize = 16 * 1024 + 256;
/// Bytes encrypted before they are written to the socket together (rustls' own default is 64 KiB): 256 KiB of payload
/// with what announces it and what TLS adds, so that no few bytes are left over for a write of their own.
const WRITE_BUFFER: usize = 272 * 1024;
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
/// Longest time, and most bytes, spent on reading what nobody wants before a socket is closed.
const LINGER: (Duration, usize) = (Duration::from_secs(2), 1024 * 1024);

type Io = TlsStream<ReadAhead>;

/// A TLS connection used by two halves. A lock, as in `tokio::io::split`, but with ways to break it off.
pub(crate) struct Duplex {
    io: Mutex<Io>,
    /// The other side's end was read, or the connection was broken off: nothing is left to linger for.
    drained: AtomicBool,
}

impl Duplex {
    fn new(mut io: Io) -> Self {
        match &mut io {
            TlsStream::Client(io) => io.get_mut().1.set_buffer_limit(Some(WRITE_BUFFER)),
            TlsStream::Server(io) => io.get_mut().1.set_buffer_limit(Some(WRITE_BUFFER)),
        }
        Self { io: Mutex::new(io), drained: AtomicBool::new(false) }
    }

    fn lock(&self) -> MutexGuard<'_, Io> {
        self.io.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads more at once from now on: for bulk data.
    pub(crate) fn widen(&self) {
        match &mut *self.lock() {
            TlsStream::Client(io) => io.get_mut().0.widen(READ_BUFFER),
            TlsStream::Server(io) => io.get_mut().0.widen(READ_BUFFER),
        }
    }

    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut *self.lock()).poll_read(cx, buffer);
        let ended = match &result {
            Poll::Ready(Ok(())) => buffer.filled().len() == before && buffer.remaining() > 0,
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        };
        if ended {
            self.drained.store(true, Ordering::Relaxed);
        }
        result
    }

    pub(crate) fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.lock()).poll_write_vectored(cx, pieces)
    }

    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_flush(cx)
    }

    pub(crate) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_shutdown(cx)
    }

    /// Breaks off both ways at once. Without TLS' closing message the other side reads an error, not an end.
    pub(crate) fn abort(&self) {
        self.drained.store(true, Ordering::Relaxed);
        self.shut(Shutdown::Both);
    }

    /// Breaks off the way there.
    pub(crate) fn cut(&self) {
        self.shut(Shutdown::Write);
    }

    fn shut(&self, how: Shutdown) {
        let io = self.lock();
        let _ = SockRef::from(io.get_ref().0.socket()).shutdown(how); // fails only if it is closed already
    }
}

impl Drop for Duplex {
    /// Closing a socket with unread data makes the kernel send a reset, which destroys what the other side has not
    /// read yet of our last words. So what still comes is read and thrown away for a moment.
    fn drop(&mut self) {
        if *self.drained.get_mut() {
            return;
        }
        let io = self.io.get_mut().unwrap_or_else(PoisonError::into_inner);
        let socket = SockRef::from(io.get_ref().0.socket()).try_clone();
        if let (Ok(socket), Ok(runtime)) = (socket, tokio::runtime::Handle::try_current()) {
            let _ = socket.shutdown(Shutdown::Write);
            runtime.spawn(linger(socket.into()));
        }
    }
}

async fn linger(socket: std::net::TcpStream) {
    let Ok(mut socket) = TcpStream::from_std(socket) else { return };
    let drain = async {
        let mut waste = [0; 4096];
        let mut left = LINGER.1;
        while let Ok(read @ 1..) = socket.read(&mut waste).await {
            left = left.saturating_sub(read);
            if left == 0 {
                return;
            }
        }
    };
    let _ = timeout(LINGER.0, drain).await;
}

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

/// What TLS proved about a finished handshake: the other device and the connection's exporter.
fn proven(io: &Io) -> Result<(DeviceId, [u8; 32]), TlsError> {
    let (_, state) = io.get_ref();
    if state.alpn_protocol() != Some(ALPN) {
        return Err(TlsError::Protocol);
    }
    let device = peer_device(state.peer_certificates())?;
    let exporter = match io {
        TlsStream::Client(io) => io.get_ref().1.export_keying_material([0; 32], EXPORTER_LABEL, None),
        TlsStream::Server(io) => io.get_ref().1.export_keying_material([0; 32], EXPORTER_LABEL, None),
    };
    Ok((device, exporter?))
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
    let broken = |error: &dyn std::fmt::Display| LinkError::Broken(error.to_string());
    let (config, verifier) = core.tls.client(device).map_err(|error| broken(&error))?;
    let name = ServerName::try_from(SERVER_NAME).map_err(|error| broken(&error))?;
    let socket = ReadAhead::new(READ_BUFFER, socket);
    let io = TlsConnector::from(Arc::new(config)).connect(name, socket).await.map_err(|error| {
        verifier.refused().map_or_else(|| broken(&error), |found| LinkError::WrongDevice { found })
    })?;
    let io = Io::from(io);
    let (found, exporter) = proven(&io).map_err(|error| broken(&error))?;
    if found != device {
        return Err(LinkError::WrongDevice { found });
    }
    let known = (device, remote, exporter);
    Ok((Stream::tcp(duplex(core, io), known, Hold::dialled(permit), true), rtt))
}

/// A connection that is broken off when this device loses its end of it.
fn duplex(core: &Core, io: Io) -> Arc<Duplex> {
    let local = io.get_ref().0.socket().local_addr();
    let duplex = Arc::new(Duplex::new(io));
    if let (Ok(local), false) = (local, core.relay) {
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
                result = timeout(HANDSHAKE_TIMEOUT, handshake_of(acceptor, socket, task_core.relay)) => result,
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
                    let stream = Stream::tcp(duplex(&task_core, io), known, hold, false);
                    // Fails only when the endpoint is gone; the stream is then dropped.
                    let _ = task_core.incoming.send(Incoming::Stream(stream)).await;
                }
                Err(error) => tracing::debug!(%remote, %error, "a handshake failed"),
            }
        });
    }
}

async fn handshake_of(
    acceptor: TlsAcceptor,
    socket: TcpStream,
    relay: bool,
) -> io::Result<(Io, DeviceId, [u8; 32])> {
    prepare(&socket, relay)?;
    let buffer = if relay { RELAY_READ_BUFFER } else { READ_BUFFER };
    let io = Io::from(acceptor.accept(ReadAhead::new(buffer, socket)).await?);
    let (device, exporter) = proven(&io).map_err(io::Error::other)?;
    Ok((io, device, exporter))
}
