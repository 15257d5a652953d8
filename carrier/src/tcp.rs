//! TCP + TLS 1.3: one connection is one stream, so there is nothing to multiplex and one stream
//! cannot delay another.
//!
//! A dead connection is noticed by TCP itself: keep-alive probes after [`KEEP_ALIVE`] of silence,
//! and unacknowledged data for at most [`USER_TIMEOUT`] where the system has that option.

use crate::bounds::HANDSHAKE_TIMEOUT;
use crate::carrier_kind::CarrierKind;
use crate::dial::PeerKind;
use crate::duplex::{Duplex, Io};
use crate::endpoint_core::Core;
use crate::error::{BindError, LinkError};
use crate::incoming::Incoming;
use crate::other_tls::OtherTls;
use crate::paths::Segment;
use crate::pipe::PipeIo;
use crate::port::{Port, dual_stack};
use crate::reach::canonical;
use crate::single::Transport;
use crate::socket::Socket;
use crate::stream::{FarEnd, Hold, Stream};
use crate::tls_handshake::{handshake_by_hello, handshake_of, handshake_with};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use hither_proto::{DeviceId, StreamBinding};
use socket2::{Protocol, SockRef, TcpKeepalive, Type};
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

/// Silence after which TCP probes whether the other side is there, and between probes.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// The same between a device and a relay, where pings find out sooner: what remains is to get rid
/// of dead sockets.
const QUIET_KEEP_ALIVE: Duration = Duration::from_secs(600);
/// Probes without an answer after which the connection is dead.
const KEEP_ALIVE_PROBES: u32 = 3;
/// Longest time that sent data may stay unacknowledged.
const USER_TIMEOUT: Duration = Duration::from_secs(20);
/// Time after which a handshake on a connection that was made counts as stuck, at least and in
/// round trips: the answer takes one, and the system repeats a packet that was lost by chance after
/// 200 to 300 ms. One that is just slow is waited for beside the next one.
const STUCK: Duration = Duration::from_millis(500);
const STUCK_TRIPS: u32 = 4;
/// Connections that the kernel completes before they are accepted.
const BACKLOG: i32 = 128;
/// Pause after the system refused a connection (no file descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Opens the listener, on `port` if that is free.
pub(crate) fn bind(port: Port) -> Result<TcpListener, BindError> {
    let listen = || {
        let socket = dual_stack(port, Type::STREAM, Protocol::TCP, |_socket| {
            // On Unix: a restarted daemon gets its port back while old connections linger. (On
            // Windows the same option would let another program steal it.)
            #[cfg(unix)]
            _socket.set_reuse_address(true)?;
            Ok(())
        })?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    listen().map_err(|source| BindError::Socket {
        carrier: "TCP",
        source,
    })
}

fn prepare(socket: &TcpStream, quiet: bool) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let socket = SockRef::from(socket);
    let pause = if quiet { QUIET_KEEP_ALIVE } else { KEEP_ALIVE };
    let keep_alive = TcpKeepalive::new()
        .with_time(pause)
        .with_interval(KEEP_ALIVE);
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "macos"))]
    let keep_alive = keep_alive.with_retries(KEEP_ALIVE_PROBES);
    socket.set_tcp_keepalive(&keep_alive)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(())
}

/// Connections to one address of a device.
pub(crate) struct TcpTransport {
    core: Arc<Core>,
    device: DeviceId,
    address: SocketAddr,
    peer: PeerKind,
}

impl TcpTransport {
    pub(crate) fn new(
        core: &Arc<Core>,
        device: DeviceId,
        address: SocketAddr,
        peer: PeerKind,
    ) -> Self {
        Self {
            core: Arc::clone(core),
            device,
            address,
            peer,
        }
    }

    /// The address that is dialled.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes the first connection. Also returns how long the TCP handshake took, one round trip.
    pub(crate) async fn first(&self) -> Result<(Stream, Duration), LinkError> {
        self.connect_within(HANDSHAKE_TIMEOUT).await
    }

    async fn connect_within(&self, patience: Duration) -> Result<(Stream, Duration), LinkError> {
        let attempt = Attempt {
            transport: self,
            patience,
            made: &watch::Sender::new(None),
        };
        let dialled = timeout(HANDSHAKE_TIMEOUT, attempt.dial());
        dialled.await.unwrap_or(Err(LinkError::TimedOut))
    }
}

impl Transport for TcpTransport {
    fn connect(&self, patience: Duration) -> BoxFuture<'_, Result<(Stream, Duration), LinkError>> {
        Box::pin(self.connect_within(patience))
    }

    fn answers(&self, patience: Duration) -> BoxFuture<'_, bool> {
        let connected = timeout(patience, TcpStream::connect(self.address));
        Box::pin(async { matches!(connected.await, Ok(Ok(_))) })
    }
}

/// One attempt to connect.
#[derive(Clone, Copy)]
struct Attempt<'a> {
    transport: &'a TcpTransport,
    /// How long the first answer may take.
    patience: Duration,
    /// Time that the other side took to answer.
    made: &'a watch::Sender<Option<Duration>>,
}

impl Attempt<'_> {
    /// Dials; when the connection is made and the handshake does not go on, once more beside it
    /// with shorter segments: a path that loses long packets lets the first ones through.
    async fn dial(self) -> Result<(Stream, Duration), LinkError> {
        let device = self.transport.device;
        let paths = &self.transport.core.paths;
        let first = paths.segment(device);
        let mut segment = first;
        let attempt = async |segment: Segment| (self.dial_with(segment).await, segment);
        let mut running = FuturesUnordered::new();
        running.push(attempt(segment));
        loop {
            tokio::select! {
                Some((ended, with)) = running.next() => match ended {
                    Ok(dialled) => {
                        if with != first {
                            paths.passes(device, with);
                        }
                        return Ok(dialled);
                    }
                    Err(error) if running.is_empty() => return Err(error),
                    Err(_) => {}
                },
                shorter = self.stuck(segment) => {
                    segment = shorter;
                    running.push(attempt(segment));
                }
            }
        }
    }

    /// Waits until the handshake of a connection that was made with this length of segments seems
    /// to be stuck; returns the next shorter one.
    async fn stuck(self, segment: Segment) -> Segment {
        let Some(shorter) = segment.shorter() else {
            return pending().await;
        };
        let mut made = self.made.subscribe();
        // The sender lives as long as this does.
        let rtt = made
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|rtt| *rtt)
            .unwrap_or_default();
        sleep(STUCK.max(rtt * STUCK_TRIPS)).await;
        shorter
    }

    async fn dial_with(self, segment: Segment) -> Result<(Stream, Duration), LinkError> {
        let TcpTransport {
            core,
            device,
            address,
            peer,
        } = self.transport;
        let permit = core
            .bounds
            .dial()
            .ok_or(LinkError::TooMany("connections"))?;
        let unreachable = |error: io::Error| LinkError::Unreachable(error.to_string());
        let start = Instant::now();
        let socket = timeout(self.patience, connected(*address, segment))
            .await
            .map_err(|_| LinkError::TimedOut)?;
        let socket = socket.map_err(unreachable)?;
        let rtt = start.elapsed();
        self.made.send_replace(Some(rtt));
        prepare(&socket, *peer == PeerKind::Relay).map_err(unreachable)?;
        let remote = canonical(socket.peer_addr().map_err(unreachable)?);
        let (io, binding) = handshake_with(core, *device, Socket::Tcp(socket)).await?;
        let end = FarEnd {
            device: *device,
            remote,
            binding,
        };
        let duplex = duplex(core, Some(*device), io);
        let hold = Hold::dialled(permit);
        Ok((Stream::tls(CarrierKind::Tcp, duplex, end, hold, true), rtt))
    }
}

/// Connects, with segments of at most that length both ways: the option is sent to the other side
/// (RFC 9293, section 3.7.1).
async fn connected(address: SocketAddr, segment: Segment) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    #[cfg(unix)]
    if let Some(bytes) = segment.bytes()
        && let Err(error) = SockRef::from(&socket).set_tcp_mss(bytes)
    {
        tracing::debug!(%error, "segments cannot be shortened");
    }
    #[cfg(not(unix))]
    let _ = segment;
    socket.connect(address).await
}

/// A connection that is broken off when this device loses its end of it.
fn duplex(core: &Core, dialled: Option<DeviceId>, io: Io) -> Arc<Duplex> {
    let local = io.get_ref().0.socket().local_addr();
    let duplex = Arc::new(Duplex::new(io));
    if let (Some(local), false) = (local, core.relay) {
        core.roaming.tcp(local.ip(), dialled, &duplex);
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
        let handshake = core.bounds.tcp_handshakes.begin(remote.ip());
        let (task_core, acceptor) = (Arc::clone(&core), acceptor.clone());
        core.tasks.spawn(async move {
            let handshaken = tokio::select! {
                result = timeout(HANDSHAKE_TIMEOUT, prepared(&task_core, &acceptor, socket)) => result,
                () = task_core.stop.cancelled() => return,
                // Dropping the socket closes it.
                () = handshake.evicted() => return tracing::debug!(%remote, "a handshake made room for a newer one"),
            };
            drop(handshake);
            let done = match handshaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(Shaken::Device(io, device, binding)) => {
                    admit(&task_core, *io, FarEnd { device, remote, binding }, None).await
                }
                Ok(Shaken::Other(io, other)) => {
                    other.take(io, remote);
                    Ok(())
                }
                Err(error) => Err(LinkError::Broken(error.to_string())),
            };
            if let Err(error) = done {
                tracing::debug!(%remote, %error, "a connection came to nothing");
            }
        });
    }
}

/// Gives a connection whose device has proven its key its places, and hands its stream on. `origin`:
/// the site whose page it comes from.
pub(crate) async fn admit(
    core: &Arc<Core>,
    io: Io,
    end: FarEnd,
    origin: Option<Arc<str>>,
) -> Result<(), LinkError> {
    let (bounds, device, ip) = (&core.bounds, end.device, end.remote.ip());
    let too_many = LinkError::TooMany;
    let stream = bounds.stream(device, ip).ok_or(too_many("streams"))?;
    let tcp = bounds.tcp.take(device);
    let tcp = tcp.ok_or(too_many("connections of this device"))?;
    let place = bounds.places.take(ip, device);
    let place = place.ok_or(too_many("connections"))?;
    let duplex = duplex(core, None, io);
    duplex.abort_when(place.evicted(), &core.tasks);
    let hold = Hold::accepted(stream, tcp, place);
    let stream = Stream::tls(CarrierKind::Tcp, duplex, end, hold, false).with_origin(origin);
    let sent = core.incoming.send(Incoming::Stream(stream)).await;
    sent.map_err(|_| LinkError::Closed)
}

/// A finished handshake.
enum Shaken {
    /// The handshake of a device.
    Device(Box<Io>, DeviceId, StreamBinding),
    /// The handshake of a client of whoever shares the ports.
    Other(Box<dyn PipeIo>, Arc<dyn OtherTls>),
}

async fn prepared(core: &Core, acceptor: &TlsAcceptor, socket: TcpStream) -> io::Result<Shaken> {
    prepare(&socket, core.relay)?;
    let socket = Socket::Tcp(socket);
    let Some(other) = core.other_tls.get() else {
        let (io, device, binding) = handshake_of(core, acceptor, socket).await?;
        return Ok(Shaken::Device(Box::new(io), device, binding));
    };
    match handshake_by_hello(core, other.as_ref(), socket).await? {
        Ok((io, device, binding)) => Ok(Shaken::Device(Box::new(io), device, binding)),
        Err(io) => Ok(Shaken::Other(Box::new(io), Arc::clone(other))),
    }
}
