//! QUIC: the socket, its settings, and the handling of connections.
//!
//! A dead connection is noticed by silence: each side sends a keep-alive every 3 s, and a
//! connection on which nothing arrived for 10 s is closed as timed out; the other side's next life
//! ends it sooner (see `reset.rs`). Nothing else watches links.

use crate::bounds::HANDSHAKE_TIMEOUT;
use crate::buffers;
use crate::close_code::CODE;
use crate::dial::PeerKind;
use crate::endpoint_config::EndpointConfig;
use crate::endpoint_core::Core;
use crate::error::{BindError, LinkError};
use crate::identity::Identity;
use crate::incoming::Incoming;
use crate::link::Link;
use crate::port::{Port, dual_stack};
use crate::quic_config::{Configs, tls_error};
use crate::quic_link::QuicLink;
use crate::reset;
use crate::settings::{MAX_PAYLOAD, RELAY_STREAMS};
use crate::stream::Hold;
use crate::stun::Stun;
use crate::stun_socket::StunSocket;
use crate::tls::SERVER_NAME;
use hither_proto::DeviceId;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{AsyncUdpSocket, ClientConfig, Connection, RecvStream, Runtime, SendStream, VarInt};
use socket2::{Protocol, Socket, Type};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How often an accepted connection is checked for open streams: without any it is closed, because
/// anyone can make one.
const UNUSED: Duration = Duration::from_secs(30);

/// Opens the UDP socket, on `port` if that is free, and QUIC on it.
pub(crate) fn bind(
    identity: &Identity,
    config: &EndpointConfig,
    configs: &Configs,
) -> Result<Bound, BindError> {
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
    let server = configs.accepting_near().clone();
    let runtime = Arc::new(quinn::TokioRuntime);
    let inner = runtime.wrap_udp_socket(socket.into()).map_err(fail)?;
    let relay = config.relay_idle.is_some();
    let stun = Arc::new(Stun::new(Arc::clone(&inner), relay));
    let socket: Arc<dyn AsyncUdpSocket> = Arc::new(StunSocket::new(inner, Arc::clone(&stun)));
    let shared = Arc::clone(&socket);
    let quic = quinn::Endpoint::new_with_abstract_socket(endpoint, Some(server), shared, runtime);
    Ok(Bound {
        quic: quic.map_err(fail)?,
        socket,
        stun,
    })
}

/// A UDP socket and what is on it.
pub(crate) struct Bound {
    pub(crate) quic: quinn::Endpoint,
    pub(crate) socket: Arc<dyn AsyncUdpSocket>,
    pub(crate) stun: Arc<Stun>,
}

/// Dials `device` at one address.
pub(crate) async fn connect(
    core: &Arc<Core>,
    device: DeviceId,
    address: SocketAddr,
    peer: PeerKind,
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
    config.transport_config(core.configs.of(address).dialling(peer));
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
        let config = core.configs.of(remote).accepting();
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

/// Hands over the streams that the other side opens, until the connection ends or the endpoint
/// closes.
async fn serve_streams(core: &Arc<Core>, link: &Link) {
    let Some(quic) = link.as_quic() else { return };
    while let Ok(halves) = quic.connection().accept_bi().await {
        if !hand_over(core, link, quic, halves).await {
            return;
        }
    }
}

/// Hands one stream over, or refuses it; returns `false` when the endpoint is closed.
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
    let stream = match quic.stream((send, recv), hold, false) {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(device = %link.device(), %error, "a stream is refused");
            return true;
        }
    };
    core.incoming.send(Incoming::Stream(stream)).await.is_ok()
}
