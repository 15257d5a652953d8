//! QUIC: the socket, its settings, and the handling of connections.
//!
//! A dead connection is noticed by silence: each side sends a keep-alive every [`KEEP_ALIVE`], and a connection on
//! which nothing arrived for [`IDLE_TIMEOUT`] is closed as timed out. Nothing else watches links.

use crate::bounds::{
    ConnectionPermit, HANDSHAKE_TIMEOUT, MAX_HANDSHAKES, MAX_STREAMS_PER_DEVICE, RETRY_ABOVE,
};
use crate::buffers;
use crate::endpoint::{Core, Incoming};
use crate::error::{BindError, LinkError};
use crate::link::{Link, QuicLink};
use crate::reach::Reach;
use crate::stream::{Hold, Stream};
use crate::tls::{SERVER_NAME, Tls};
use hither_proto::DeviceId;
use quinn::congestion::CubicConfig;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, Connection, EndpointConfig, MtuDiscoveryConfig, ServerConfig, TransportConfig, VarInt,
};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Pause after which a silent side sends a keep-alive.
const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// Silence after which a connection is dead: three keep-alives lost, and one to spare.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Stream, connection and send window towards near devices, bytes. Measured: larger ones overflow the receiver's
/// socket buffer and make the sender collapse.
const LAN_WINDOW: u32 = 4 * 1024 * 1024;
/// The same towards far devices: a window caps the rate at window / round trip, so 16 MiB at 100 ms is 160 MiB/s.
const WAN_WINDOW: u32 = 16 * 1024 * 1024;
/// Largest UDP payload tried on networks with jumbo frames, bytes: ten of them, one batch of segmentation offload,
/// must fit into the 65,507 bytes of one UDP send, or sends fail and the packet size falls back to 1200.
const MAX_PAYLOAD: u16 = 6500;
/// Largest UDP payload tried over the internet, bytes: what fits an Ethernet frame over IPv6.
const WAN_MAX_PAYLOAD: u16 = 1452;
/// Congestion window that a connection on a LAN starts with, bytes.
const LAN_INITIAL_WINDOW: u64 = 256 * 1024;
/// Closing code; codes have no meaning in this protocol, reasons are text.
pub(crate) const CODE: VarInt = VarInt::from_u32(0);

/// Configurations towards near and far devices.
pub(crate) struct Configs {
    lan: (Arc<TransportConfig>, Arc<ServerConfig>),
    wan: (Arc<TransportConfig>, Arc<ServerConfig>),
}

impl Configs {
    pub(crate) fn new(tls: &Tls) -> Result<Self, BindError> {
        let both = |transport: TransportConfig| {
            let crypto = QuicServerConfig::try_from(tls.server()).map_err(tls_error)?;
            let mut server = ServerConfig::with_crypto(Arc::new(crypto));
            let transport = Arc::new(transport);
            server.transport_config(Arc::clone(&transport)).max_incoming(MAX_HANDSHAKES);
            Ok((transport, Arc::new(server)))
        };
        Ok(Self { lan: both(lan()?)?, wan: both(wan()?)? })
    }

    fn of(&self, address: SocketAddr) -> &(Arc<TransportConfig>, Arc<ServerConfig>) {
        match Reach::of(address.ip()) {
            Reach::Lan => &self.lan,
            Reach::Wan => &self.wan,
        }
    }
}

fn tls_error(error: impl std::fmt::Display) -> BindError {
    BindError::Tls(error.to_string())
}

/// What near and far have in common.
fn transport(window: u32, max_payload: u16) -> Result<TransportConfig, BindError> {
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(max_payload);
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(MAX_STREAMS_PER_DEVICE as u32))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(window))
        .receive_window(VarInt::from_u32(window))
        .send_window(u64::from(window))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(IDLE_TIMEOUT.try_into().map_err(tls_error)?))
        .mtu_discovery_config(Some(mtu))
        .allow_spin(false);
    Ok(config)
}

fn lan() -> Result<TransportConfig, BindError> {
    let mut config = transport(LAN_WINDOW, MAX_PAYLOAD)?;
    let mut cubic = CubicConfig::default();
    cubic.initial_window(LAN_INITIAL_WINDOW);
    config.congestion_controller_factory(Arc::new(cubic));
    Ok(config)
}

fn wan() -> Result<TransportConfig, BindError> {
    transport(WAN_WINDOW, WAN_MAX_PAYLOAD)
}

/// Opens the UDP socket, on `port` if that is free, and QUIC on it.
pub(crate) fn bind(port: u16, loopback_only: bool, configs: &Configs) -> Result<quinn::Endpoint, BindError> {
    let fail = |source| BindError::Socket { carrier: "UDP", source };
    let socket = dual_stack(port, loopback_only, Type::DGRAM, Protocol::UDP, |socket| {
        buffers::enlarge(socket).map(drop)
    })
    .map_err(fail)?;
    let mut endpoint = EndpointConfig::default();
    endpoint.max_udp_payload_size(MAX_PAYLOAD).map_err(tls_error)?;
    let server = ServerConfig::clone(&configs.lan.1);
    let runtime = Arc::new(quinn::TokioRuntime);
    quinn::Endpoint::new(endpoint, Some(server), socket.into(), runtime).map_err(fail)
}

/// A socket for IPv6 and IPv4, or for IPv4 alone where there is no IPv6, bound to `port`, or to any port if that one
/// is taken. `prepare` is called before it is bound.
pub(crate) fn dual_stack(
    port: u16,
    loopback_only: bool,
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
    let bind_any = |port| {
        if loopback_only {
            return bind((Ipv4Addr::LOCALHOST, port).into());
        }
        bind((Ipv6Addr::UNSPECIFIED, port).into()).or_else(|error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => Err(error),
            _ => bind((Ipv4Addr::UNSPECIFIED, port).into()),
        })
    };
    match bind_any(port) {
        Err(error) if port != 0 && error.kind() == io::ErrorKind::AddrInUse => bind_any(0),
        result => result,
    }
}

/// Dials `device` at one address.
pub(crate) async fn connect(
    core: &Arc<Core>,
    device: DeviceId,
    address: SocketAddr,
) -> Result<Link, LinkError> {
    let endpoint = core.quic.as_ref().ok_or(LinkError::NoCarrier)?;
    let permit = core.bounds.dial().ok_or(LinkError::TooMany("connections"))?;
    let (config, verifier) = core.tls.client(device).map_err(|error| LinkError::Broken(error.to_string()))?;
    let crypto = QuicClientConfig::try_from(config).map_err(|error| LinkError::Broken(error.to_string()))?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::clone(&core.configs.of(address).0));
    let connecting = endpoint
        .connect_with(config, address, SERVER_NAME)
        .map_err(|error| LinkError::Unreachable(error.to_string()))?;
    let connection = match timeout(HANDSHAKE_TIMEOUT, connecting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            return Err(verifier.refused().map_or(error.into(), |found| LinkError::WrongDevice { found }));
        }
        Err(_) => return Err(LinkError::TimedOut),
    };
    let quic = QuicLink::new(connection)?;
    let link = Link::quic(Arc::new(quic));
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
        let crowded = core.bounds.handshakes.taken() >= RETRY_ABOVE;
        if crowded && !incoming.remote_address_validated() && incoming.may_retry() {
            let _ = incoming.retry(); // fails only if it may not be retried
            continue;
        }
        let places = (core.bounds.handshakes.take(remote.ip().into()), core.bounds.accept(remote.ip()));
        let (Some(handshake), Some(permit)) = places else {
            tracing::debug!(%remote, "a connection is refused: too many");
            incoming.refuse();
            continue;
        };
        let config = Arc::clone(&core.configs.of(remote).1);
        let task_core = Arc::clone(&core);
        core.tasks.spawn(async move {
            let connecting = match incoming.accept_with(config) {
                Ok(connecting) => connecting,
                Err(error) => return tracing::debug!(%remote, %error, "a handshake failed"),
            };
            match timeout(HANDSHAKE_TIMEOUT, connecting).await {
                Ok(Ok(connection)) => {
                    drop(handshake);
                    serve_connection(&task_core, connection, permit).await;
                }
                Ok(Err(error)) => tracing::debug!(%remote, %error, "a handshake failed"),
                Err(_) => tracing::debug!(%remote, "a handshake took too long"),
            }
        });
    }
}

/// Hands an accepted connection to the owner of the endpoint, then its streams.
async fn serve_connection(core: &Arc<Core>, connection: Connection, _permit: ConnectionPermit) {
    let quic = match QuicLink::new(connection) {
        Ok(quic) => quic,
        Err(error) => return tracing::debug!(%error, "a connection is refused"),
    };
    let link = Link::quic(Arc::new(quic));
    let Some(_place) = core.bounds.links.take(link.device()) else {
        tracing::debug!(device = %link.device(), "a connection is refused: too many of this device");
        link.close("too many connections");
        return;
    };
    if core.incoming.send(Incoming::Link(link.clone())).await.is_ok() {
        serve_streams(core, &link).await;
    }
}

/// Hands over the streams that the other side opens, until the connection ends or nobody wants them any more.
async fn serve_streams(core: &Arc<Core>, link: &Link) {
    let Some(quic) = link.as_quic() else { return };
    while let Ok((mut send, mut recv)) = quic.connection().accept_bi().await {
        let Some(place) = core.bounds.streams.take(link.device()) else {
            // Both fail only if the stream is gone already.
            let _ = (send.reset(CODE), recv.stop(CODE));
            continue;
        };
        let stream = Stream::quic(quic, (send, recv), Hold::stream(place), false);
        if core.incoming.send(Incoming::Stream(stream)).await.is_err() {
            break;
        }
    }
}
