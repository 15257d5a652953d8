//! The sockets of one device, and everything that arrives on them.

use crate::bounds::{Bounds, MAX_INCOMING};
use crate::close_code::CODE;
use crate::dial::{Dial, Direct, race};
use crate::endpoint_config::EndpointConfig;
use crate::endpoint_core::Core;
use crate::error::{BindError, LinkError};
use crate::identity::Identity;
use crate::incoming::Incoming;
use crate::link::Link;
use crate::paths::Paths;
use crate::port::Port;
use crate::quic;
use crate::quic_config::Configs;
use crate::roaming::Roaming;
use crate::single::SingleLink;
use crate::tcp::{self, TcpTransport};
use crate::tls::Tls;
use futures::{Stream, StreamExt};
use hither_proto::DeviceId;
use std::collections::BTreeSet;
use std::future::ready;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Longest time that [`Endpoint::close`] waits for the other sides to have noticed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// The sockets of one device. Dropping it closes them, without waiting as [`close`](Self::close)
/// does.
pub struct Endpoint {
    core: Arc<Core>,
    incoming: Mutex<mpsc::Receiver<Incoming>>,
    port: u16,
    tcp_ports: Vec<u16>,
}

/// Opens the listeners for TCP; returns them and their ports. Those beside the main one may fail.
fn listen(port: u16, config: &EndpointConfig) -> Result<(Vec<TcpListener>, Vec<u16>), BindError> {
    let (mut listeners, mut ports) = (Vec::new(), Vec::new());
    if !config.tcp {
        return Ok((listeners, ports));
    }
    let mut open = |number, exact| -> Result<(), BindError> {
        let listener = tcp::bind(Port {
            number,
            exact,
            loopback_only: config.loopback_only,
        })?;
        let address = listener.local_addr().map_err(|source| BindError::Socket {
            carrier: "TCP",
            source,
        })?;
        ports.push(address.port());
        listeners.push(listener);
        Ok(())
    };
    open(port, config.exact_port)?;
    for extra in config
        .extra_tcp_ports
        .iter()
        .copied()
        .filter(|extra| *extra != port)
    {
        if let Err(error) = open(extra, true) {
            tracing::warn!(port = extra, %error, "this TCP port is not listened on");
        }
    }
    Ok((listeners, ports))
}

impl Endpoint {
    /// Opens the sockets and begins to accept. Must be called inside a tokio runtime.
    pub fn bind(identity: &Identity, config: &EndpointConfig) -> Result<Self, BindError> {
        if !config.quic && !config.tcp {
            return Err(BindError::NoCarrier);
        }
        let tls = Tls::new(identity).map_err(|error| BindError::Tls(error.to_string()))?;
        let configs = Configs::new(&tls, config)?;
        let socket_error = |carrier| move |source| BindError::Socket { carrier, source };
        let mut port = config.port;
        let (mut quic, mut socket, mut stun) = (None, None, None);
        if config.quic {
            let bound = quic::bind(identity, config, &configs)?;
            let local = bound.quic.local_addr().map_err(socket_error("UDP"))?;
            port = local.port();
            (quic, socket, stun) = (Some(bound.quic), Some(bound.socket), Some(bound.stun));
        }
        let (listeners, tcp_ports) = listen(port, config)?;
        let (sender, receiver) = mpsc::channel(MAX_INCOMING);
        let core = Arc::new(Core {
            device: identity.device_id(),
            tls,
            configs,
            quic,
            socket,
            stun,
            roaming: Roaming::new(),
            paths: Arc::default(),
            bounds: Bounds::new(&config.limits),
            relay: config.relay_idle.is_some(),
            other_tls: OnceLock::new(),
            incoming: sender,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        });
        if let Some(endpoint) = core.quic.clone() {
            core.tasks.spawn(quic::serve(Arc::clone(&core), endpoint));
        }
        for listener in listeners {
            core.tasks.spawn(tcp::serve(Arc::clone(&core), listener));
        }
        let port = if config.quic {
            port
        } else {
            tcp_ports.first().copied().unwrap_or(port)
        };
        Ok(Self {
            core,
            incoming: Mutex::new(receiver),
            port,
            tcp_ports,
        })
    }

    /// This device.
    pub fn device(&self) -> DeviceId {
        self.core.device
    }

    /// UDP port of QUIC, or the TCP port when QUIC is off.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// TCP port, when TCP is on. The same number as [`port`](Self::port) if that was free.
    pub fn tcp_port(&self) -> Option<u16> {
        self.tcp_ports.first().copied()
    }

    /// All TCP ports that are listened on, the main one first.
    pub fn tcp_ports(&self) -> Vec<u16> {
        self.tcp_ports.clone()
    }

    /// Dials a device over QUIC or TCP.
    pub async fn dial<J: Stream<Item = SocketAddr>>(
        &self,
        dial: Dial<'_, J>,
    ) -> Result<Link, LinkError> {
        self.core.check(dial.device)?;
        self.race(dial).await
    }

    /// Dials the machine that announces this very device at addresses that are not its own, first
    /// over QUIC, then over TCP at the same addresses and `tcp_port`. A link proves that another
    /// machine there has this device's key; it is good for nothing else.
    pub async fn connect_twin(
        &self,
        addresses: &[SocketAddr],
        tcp_port: Option<u16>,
    ) -> Result<Link, LinkError> {
        let device = self.core.device;
        let quic = self.race(Dial::quic(device, addresses)).await;
        let (Err(_), Some(port)) = (&quic, tcp_port) else {
            return quic;
        };
        let addresses: Vec<_> = addresses
            .iter()
            .map(|at| SocketAddr::new(at.ip(), port))
            .collect();
        self.race(Dial::tcp(device, &addresses)).await
    }

    async fn race<J: Stream<Item = SocketAddr>>(
        &self,
        dial: Dial<'_, J>,
    ) -> Result<Link, LinkError> {
        match dial.carrier {
            Direct::Quic => self.race_quic(dial).await,
            Direct::Tcp => self.race_tcp(dial).await,
        }
    }

    async fn race_quic<J: Stream<Item = SocketAddr>>(
        &self,
        dial: Dial<'_, J>,
    ) -> Result<Link, LinkError> {
        let endpoint = self.core.quic.as_ref().ok_or(LinkError::NoCarrier)?;
        // A socket of IPv4 alone cannot send to IPv6 addresses: they must not use up the eight
        // attempts.
        let v6 = endpoint.local_addr().is_ok_and(|local| local.is_ipv6());
        let usable = |address: &SocketAddr| v6 || address.is_ipv4();
        let addresses: Vec<_> = dial.addresses.iter().copied().filter(usable).collect();
        let joining = dial.joining.filter(|address| ready(usable(address)));
        race(&addresses, joining, |address| {
            quic::connect(&self.core, dial.device, address, dial.peer)
        })
        .await
    }

    async fn race_tcp<J: Stream<Item = SocketAddr>>(
        &self,
        dial: Dial<'_, J>,
    ) -> Result<Link, LinkError> {
        let (device, peer) = (dial.device, dial.peer);
        let connect = async |address| {
            let transport = TcpTransport::new(&self.core, device, address, peer);
            let first = transport.first().await?;
            Ok((transport, first))
        };
        let (transport, first) = race(dial.addresses, dial.joining, connect).await?;
        let remote = transport.address();
        let link = SingleLink::new(Box::new(transport), remote, first);
        link.drop_spare_later(&self.core.tasks, self.core.stop.clone());
        Ok(Link::single(link))
    }

    /// The next link or stream that another device began; `None` after [`close`](Self::close).
    pub async fn accept(&self) -> Option<Incoming> {
        let mut incoming = self.incoming.lock().await;
        tokio::select! {
            incoming = incoming.recv() => incoming,
            () = self.core.stop.cancelled() => None,
        }
    }

    /// Handles a change of the network under this device; `own` are its addresses now. TCP
    /// connections of other addresses are broken off before this waits for anything. QUIC links are
    /// probed at once, and closed when nothing arrives for three round trips (0.5 s to 2 s); those
    /// that this device dialled move to its new address by that. Returns how many connections were
    /// ended.
    pub async fn network_changed(&self, own: &BTreeSet<IpAddr>) -> usize {
        let stranded = self.core.roaming.leave(own);
        stranded + self.core.roaming.probe(|_| true, || self.ask_all()).await
    }

    /// Handles a hint that a device is elsewhere now: its QUIC links are probed as by
    /// [`network_changed`](Self::network_changed).
    pub async fn probe(&self, device: DeviceId) -> usize {
        self.core
            .roaming
            .probe(|link| link.device() == device, || self.ask_all())
            .await
    }

    /// Breaks off the TCP connections that were made to a device: nothing gets through them any
    /// more. Returns how many.
    pub fn abandon_tcp(&self, device: DeviceId) -> usize {
        self.core.roaming.abandon(device)
    }

    /// The rates that links were found to carry.
    pub fn paths(&self) -> &Arc<Paths> {
        &self.core.paths
    }

    /// Makes every QUIC connection send something at once, from whatever address leads to the other
    /// side now.
    fn ask_all(&self) {
        if let (Some(quic), Some(socket)) = (&self.core.quic, &self.core.socket)
            && let Err(error) = quic.rebind_abstract(Arc::clone(socket))
        {
            tracing::debug!(%error, "links are not asked whether they live");
        }
    }

    /// Vouches for a device: it has proven that it belongs here, and keeps its places when
    /// strangers come in crowds. Of many devices the latest 65,536 are remembered.
    pub fn vouch(&self, device: DeviceId) {
        self.core.bounds.vouched.add(device);
    }

    /// Vouches for a device no more.
    pub fn disown(&self, device: DeviceId) {
        self.core.bounds.vouched.remove(&device);
    }

    /// Closes all QUIC links and the listeners, and waits up to 3 s until the other sides know and
    /// all tasks have ended. TCP streams that are in use live on in their owners' hands.
    pub async fn close(&self) {
        self.core.stop.cancel();
        self.core.tasks.close();
        if let Some(quic) = &self.core.quic {
            quic.close(CODE, b"closed");
        }
        {
            let mut incoming = self.incoming.lock().await;
            incoming.close(); // tasks that wait for a place in the queue end
            while incoming.try_recv().is_ok() {}
        }
        let quiet = async {
            if let Some(quic) = &self.core.quic {
                quic.wait_idle().await;
            }
            self.core.tasks.wait().await;
        };
        if timeout(CLOSE_TIMEOUT, quiet).await.is_err() {
            tracing::debug!("closed without waiting any longer for the other sides");
        }
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.core.stop.cancel();
        self.core.tasks.close();
        if let Some(quic) = &self.core.quic {
            quic.close(CODE, b"closed");
        }
    }
}
