//! Connections to the relay. All devices share a few UDP sockets, which leaves the processor to the
//! relay: a socket for each would cost this process more than the relay spends on the device.

use crate::{Failure, Options, tls};
use bytes::{Buf, BytesMut};
use hither_carrier::Identity;
use hither_proto::limits::{MAX_RELAY_FRAME, PROTOCOL};
use hither_proto::{
    DeviceId, FRAME_PREFIX, Message, RelayMessage, RelayPurpose, RelayUrl, decode_relay_frame,
    encode_frame, encode_relay_frame, frame_length,
};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// UDP sockets for all devices.
const SOCKETS: usize = 64;
/// Longest dial, as with devices.
const DIAL: Duration = Duration::from_secs(5);
const NAME: &str = "hither.invalid";

/// The way to the relay.
pub struct Net {
    quic: Vec<quinn::Endpoint>,
    transport: Arc<TransportConfig>,
    provider: Arc<CryptoProvider>,
    relay: DeviceId,
    from: Ipv4Addr,
    address: SocketAddr,
    tcp: bool,
}

impl Net {
    /// From the address that everybody comes from.
    pub fn new(options: &Options) -> Result<Self, Failure> {
        Self::from(options, Ipv4Addr::LOCALHOST)
    }

    /// From another address of this machine.
    pub fn from(options: &Options, from: Ipv4Addr) -> Result<Self, Failure> {
        let known = options.relay.address();
        let addresses = if options.tcp { &known.tcp } else { &known.udp };
        let address = addresses
            .iter()
            .find_map(|at| at.socket_addr())
            .ok_or("the relay has no address")?;
        let mut transport = TransportConfig::default();
        let mut mtu = MtuDiscoveryConfig::default();
        mtu.upper_bound(6500);
        transport
            .keep_alive_interval(None)
            .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(1_800_000))))
            .mtu_discovery_config(Some(mtu))
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .datagram_receive_buffer_size(None);
        let any = SocketAddr::from((from, 0));
        let quic: Result<_, _> = (0..SOCKETS).map(|_| quinn::Endpoint::client(any)).collect();
        let (transport, provider) = (Arc::new(transport), tls::provider());
        let (relay, tcp) = (known.key, options.tcp);
        Ok(Self {
            quic: quic?,
            transport,
            provider,
            relay,
            from,
            address,
            tcp,
        })
    }

    /// A stream to the relay that says what it is for.
    pub async fn open(
        &self,
        identity: &Arc<Identity>,
        number: usize,
        purpose: RelayPurpose,
    ) -> Result<Wire, Failure> {
        let dial = async {
            match self.tcp {
                true => self.open_tcp(identity).await,
                false => self.open_quic(identity, number).await,
            }
        };
        let mut wire = timeout(DIAL, dial)
            .await
            .map_err(|_| "the dial took too long")??;
        let open = encode_frame(&Message::RelayOpen {
            protocol: PROTOCOL,
            purpose: Some(purpose),
        });
        wire.send.write_all(&open).await?;
        Ok(wire)
    }

    async fn open_quic(&self, identity: &Arc<Identity>, number: usize) -> Result<Wire, Failure> {
        let crypto = tls::client(&self.provider, identity, self.relay)?;
        let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(crypto)?));
        config.transport_config(Arc::clone(&self.transport));
        let endpoint = &self.quic[number % SOCKETS];
        let connection = endpoint.connect_with(config, self.address, NAME)?.await?;
        let (send, recv) = connection.open_bi().await?;
        Ok(Wire::new(Box::new(send), Box::new(recv), Some(connection)))
    }

    /// A TCP connection on which nothing was said.
    pub async fn plain(&self) -> Result<TcpStream, Failure> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((self.from, 0)))?;
        Ok(socket.connect(self.address).await?)
    }

    async fn open_tcp(&self, identity: &Arc<Identity>) -> Result<Wire, Failure> {
        let crypto = tls::client(&self.provider, identity, self.relay)?;
        let socket = self.plain().await?;
        socket.set_nodelay(true)?;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(crypto));
        let (recv, send) = tokio::io::split(
            connector
                .connect(ServerName::try_from(NAME)?, socket)
                .await?,
        );
        Ok(Wire::new(Box::new(send), Box::new(recv), None))
    }
}

/// Whose relay a URL is for, and with what invitation.
pub fn hello(url: &RelayUrl) -> RelayMessage {
    RelayMessage::Hello {
        invitation: url.invitation.clone(),
        instance: 0,
    }
}

/// A stream to the relay.
pub struct Wire {
    pub send: Box<dyn AsyncWrite + Send + Unpin>,
    pub recv: Box<dyn AsyncRead + Send + Unpin>,
    read: BytesMut,
    connection: Option<quinn::Connection>,
}

impl Wire {
    fn new(
        send: Box<dyn AsyncWrite + Send + Unpin>,
        recv: Box<dyn AsyncRead + Send + Unpin>,
        connection: Option<quinn::Connection>,
    ) -> Self {
        Self {
            send,
            recv,
            read: BytesMut::new(),
            connection,
        }
    }

    pub async fn say(&mut self, message: &RelayMessage) -> Result<(), Failure> {
        self.send.write_all(&encode_relay_frame(message)).await?;
        Ok(self.send.flush().await?)
    }

    /// The next message. Cancel safe.
    pub async fn hear(&mut self) -> Result<RelayMessage, Failure> {
        loop {
            if let Some(message) = self.parse()? {
                return Ok(message);
            }
            self.read.reserve(512);
            if self.recv.read_buf(&mut self.read).await? == 0 {
                return Err("the relay ended the stream".into());
            }
        }
    }

    fn parse(&mut self) -> Result<Option<RelayMessage>, Failure> {
        while let Some(prefix) = self.read.first_chunk::<FRAME_PREFIX>() {
            let length = frame_length(*prefix, MAX_RELAY_FRAME)?;
            if self.read.len() < FRAME_PREFIX + length {
                return Ok(None);
            }
            let message = decode_relay_frame(&self.read[FRAME_PREFIX..FRAME_PREFIX + length])?;
            self.read.advance(FRAME_PREFIX + length);
            if self.read.is_empty() {
                // An idle device of this process holds no buffer.
                self.read = BytesMut::new();
            }
            if message.is_some() {
                return Ok(message);
            }
        }
        Ok(None)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Some(connection) = &self.connection {
            connection.close(VarInt::from_u32(0), b"done");
        }
    }
}
