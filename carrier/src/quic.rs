//! QUIC: the socket, its settings, and the handling of connections.
//!
//! A dead connection is noticed by silence: each side sends a keep-alive every 3 s, and a
//! connection on which nothing arrived for 10 s is closed as timed out; the other side's next life
//! ends it sooner (see `reset.rs`). Nothing else watches links.

use crate::bounds::HANDSHAKE_TIMEOUT;
use crate::buffers;
use crate::endpoint::{Core, EndpointConfig, Incoming};
use crate::error::{BindError, LinkError};
use crate::identity::Identity;
use crate::link::{Link, QuicLink};
use crate::reach::Reach;
use crate::reset;
use crate::settings::{self, MAX_PAYLOAD, RELAY_STREAMS};
use crate::stream::{Hold, Stream};
use crate::tls::{SERVER_NAME, Tls};
use hither_proto::DeviceId;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    AsyncUdpSocket, ClientConfig, Connection, RecvStream, Runtime, SendStream, ServerConfig,
    TransportConfig, VarInt,
};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Closing code; codes have no meaning in this protocol, reasons are text.
pub(crate) const CODE: VarInt = VarInt::from_u32(0);

/// Silence after which a device takes its connection to a relay for dead. The relay's own limit,
/// which is as a rule much shorter, counts too; above both the device's pings find out first.
const RELAY_IDLE: Duration = Duration::from_secs(1800);

/// How often it is looked whether anything is open on an accepted connection: otherwise it is
/// closed, because anyone can make one.
const UNUSED: Duration = Duration::from_secs(30);

/// Configurations for one distance.
struct Settings {
    /// For dialling devices.
    device: Arc<TransportConfig>,
    /// For dialling relays.
    relay: Arc<TransportConfig>,
    /// For accepting.
    server: Arc<ServerConfig>,
}

/// Whom a dial is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Towards {
    /// Another device: the link is kept alive by itself.
    Device,
    /// A relay: the link is kept alive by the pings of its long connection, if at all.
    Relay,
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

    fn of(&self, address: SocketAddr) -> &Settings {
        match Reach::of(address.ip()) {
            Reach::Lan => &self.lan,
            Reach::Wan => &self.wan,
        }
    }
}

fn tls_error(error: impl std::fmt::Display) -> BindError {
    BindError::Tls(error.to_string())
}

/// Opens the UDP socket, on `port` if that is free, and QUIC on it.
pub(crate) fn bind(
    identity: &Identity,
    config: &EndpointConfig,
    configs: &Configs,
) -> Result<(quinn::Endpoint, Arc<dyn AsyncUdpSocket>), BindError> {
    let fail = |source| BindError::Socket {
        carrier: "UDP",
        source,
    };
    let port = Port {
        number: config.port,
        exact: config.exact_port,
        loopback_only: config.loopback_only,
    };
    let enlarge = |socket: &Socket| buffers::enlarge(socket).map(drop);
    let socket = dual_stack(port, Type::DGRAM, Protocol::UDP, enlarge).map_err(fail)?;
    let mut endpoint =
        reset::endpoint_config(identity, config.relay_idle.is_some()).map_err(tls_error)?;
    endpoint
        .max_udp_payload_size(MAX_PAYLOAD)
        .map_err(tls_error)?;
    let server = ServerConfig::clone(&configs.lan.server);
    let runtime = Arc::new(quinn::TokioRuntime);
    let socket = runtime.wrap_udp_socket(socket.into()).map_err(fail)?;
    let bound = Arc::clone(&socket);
    let quic = quinn::Endpoint::new_with_abstract_socket(endpoint, Some(server), bound, runtime);
    Ok((quic.map_err(fail)?, socket))
}

/// Where a socket is to be bound.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Port {
    /// 0: any.
    pub(crate) number: u16,
    /// Fail when it is taken, instead of taking any other.
    pub(crate) exact: bool,
    /// 127.0.0.1 only.
    pub(crate) loopback_only: bool,
}

/// A socket for IPv6 and IPv4, or for IPv4 alone where there is no IPv6, bound to `port`, or to any
/// port if that one is taken. `prepare` is called before it is bound.
pub(crate) fn dual_stack(
    port: Port,
    kind: Type,
    protocol: Protocol,
    prepare: impl Fn(&Socket) -> io::Result<()>,
) -> io::Result<Socket> {
    let bind = |address: SocketAddr| {
        let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.set_nonblocking(true)?;
        prepare(&socket)?;
        socket.bind(&address.into())?;
        Ok(socket)
    };
    let bind_any = |number| {
        if port.loopback_only {
            return bind((Ipv4Addr::LOCALHOST, number).into());
        }
        bind((Ipv6Addr::UNSPECIFIED, number).into()).or_else(|error: io::Error| {
            match error.kind() {
                io::ErrorKind::AddrInUse => Err(error),
                _ => bind((Ipv4Addr::UNSPECIFIED, number).into()),
            }
        })
    };
    let may_be_another = port.number != 0 && !port.exact;
    match bind_any(port.number) {
        Err(error) if may_be_another && error.kind() == io::ErrorKind::AddrInUse => bind_any(0),
        result => result,
    }
}

/// Dials `device` at one address.
pub(crate) async fn connect(
    core: &Arc<Core>,
    device: DeviceId,
    address: SocketAddr,
    towards: Towards,
) -> Result<Link, LinkError> {
    let endpoint = core.quic.as_ref().ok_or(LinkError::NoCarrier)?;
    let permit = core
        .bounds
        .dial()
        .ok_or(LinkError::TooMany("connections"))?;
    let (config, verifier) = core
        .tls
        .client(device)
        .map_err(|error| LinkError::Broken(error.to_string()))?;
    let crypto =
        QuicClientConfig::try_from(config).map_err(|error| LinkError::Broken(error.to_string()))?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    let settings = core.configs.of(address);
    config.transport_config(Arc::clone(match towards {
        Towards::Device => &settings.device,
        Towards::Relay => &settings.relay,
    }));
    let connecting = endpoint
        .connect_with(config, address, SERVER_NAME)
        .map_err(|error| LinkError::Unreachable(error.to_string()))?;
    let connection = match timeout(HANDSHAKE_TIMEOUT, connecting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            return Err(verifier
                .refused()
                .map_or(error.into(), |found| LinkError::WrongDevice { found }));
        }
        Err(_) => return Err(LinkError::TimedOut),
    };
    let quic = Arc::new(QuicLink::new(connection, core.device)?);
    if !core.relay {
        core.roaming.quic(&quic);
    }
    let link = Link::quic(quic);
    let (task_core, quic) = (Arc::clone(core), link.clone());
    core.tasks.spawn(async move {
        serve_streams(&task_core, &quic).await;
        drop(permit);
    });
    Ok(link)
}

/// Accepts connections until the endpoint closes.
pub(crate) async fn serve(core: Arc<Core>, endpoint: quinn::Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        let remote = incoming.remote_address();
        let crowded = core.bounds.quic_handshakes.open() >= core.bounds.retry_above;
        if crowded && !incoming.remote_address_validated() && incoming.may_retry() {
            let _ = incoming.retry(); // fails only if it may not be retried
            continue;
        }
        let handshake = core.bounds.quic_handshakes.begin(remote.ip());
        let config = Arc::clone(&core.configs.of(remote).server);
        let task_core = Arc::clone(&core);
        core.tasks.spawn(async move {
            let connecting = match incoming.accept_with(config) {
                Ok(connecting) => connecting,
                Err(error) => return tracing::debug!(%remote, %error, "a handshake failed"),
            };
            let shaken = tokio::select! {
                shaken = timeout(HANDSHAKE_TIMEOUT, connecting) => shaken,
                () = handshake.evicted() => return tracing::debug!(%remote, "a handshake made room for a newer one"),
            };
            match shaken {
                Ok(Ok(connection)) => {
                    drop(handshake);
                    // A task of its own: this one is as large as a handshake is, and a relay has thousands.
                    let tasks = task_core.tasks.clone();
                    tasks.spawn(serve_connection(task_core, connection));
                }
                Ok(Err(error)) => tracing::debug!(%remote, %error, "a handshake failed"),
                Err(_) => tracing::debug!(%remote, "a handshake took too long"),
            }
        });
    }
}

/// Hands an accepted connection to the owner of the endpoint, then its streams.
async fn serve_connection(core: Arc<Core>, connection: Connection) {
    let quic = match QuicLink::new(connection, core.device) {
        Ok(quic) => Arc::new(quic),
        Err(error) => return tracing::debug!(%error, "a connection is refused"),
    };
    if !core.relay {
        core.roaming.quic(&quic);
    }
    let link = Link::quic(quic);
    let device = link.device();
    let (of_device, place) = (
        core.bounds.links.take(device),
        core.bounds.places.take(link.remote().ip(), device),
    );
    let (Some(_of_device), Some(place)) = (of_device, place) else {
        tracing::debug!(%device, "a connection is refused: too many");
        link.close("too many connections");
        return;
    };
    let serve = async {
        if core.relay
            || core
                .incoming
                .send(Incoming::Link(link.clone()))
                .await
                .is_ok()
        {
            serve_used(&core, &link).await;
        }
    };
    let evicted = place.evicted();
    tokio::select! {
        () = serve => {}
        () = evicted.cancelled() => {
            tracing::debug!(%device, "a connection made room for a newer one");
            link.close("too many connections");
        }
    }
}

/// The same as [`serve_streams`] for an accepted connection: it is closed when nothing is open on
/// it for a while, and at a relay one may open more streams once it uses half of those that it
/// begins with.
async fn serve_used(core: &Arc<Core>, link: &Link) {
    let Some(quic) = link.as_quic() else { return };
    let mut few = core.relay;
    loop {
        match timeout(UNUSED, quic.connection().accept_bi()).await {
            Ok(Ok(halves)) => {
                if few && quic.streams() >= RELAY_STREAMS as usize / 2 {
                    few = false;
                    let most = VarInt::from_u32(core.bounds.streams_per_device);
                    quic.connection().set_max_concurrent_bi_streams(most);
                }
                if !hand_over(core, link, quic, halves).await {
                    return;
                }
            }
            Ok(Err(_)) => return,
            Err(_) if quic.streams() == 0 => return link.close("nothing is open"),
            Err(_) => {}
        }
    }
}

/// Hands over the streams that the other side opens, until the connection ends or nobody wants them
/// any more.
async fn serve_streams(core: &Arc<Core>, link: &Link) {
    let Some(quic) = link.as_quic() else { return };
    while let Ok(halves) = quic.connection().accept_bi().await {
        if !hand_over(core, link, quic, halves).await {
            return;
        }
    }
}

/// Hands one stream over, or refuses it; `false`: nobody wants streams any more.
async fn hand_over(
    core: &Core,
    link: &Link,
    quic: &QuicLink,
    (mut send, mut recv): (SendStream, RecvStream),
) -> bool {
    let Some(place) = core.bounds.stream(link.device(), link.remote().ip()) else {
        // Both fail only if the stream is gone already.
        let _ = (send.reset(CODE), recv.stop(CODE));
        return true;
    };
    let hold = Hold::stream(place, quic.used());
    let stream = match Stream::quic(quic, (send, recv), hold, false) {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(device = %link.device(), %error, "a stream is refused");
            return true;
        }
    };
    core.incoming.send(Incoming::Stream(stream)).await.is_ok()
}
