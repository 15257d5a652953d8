//! The yardstick: the same bytes over plain quinn, with the very settings that the carrier uses and
//! nothing else of it.
//!
//! The same: windows, packet sizes, congestion control, socket buffers, ciphers, what is handed
//! over at once on one side and read into one buffer on the other. Different: a self-signed
//! certificate in place of two device keys, and no bounds, links, tasks or stream halves of ours.

#[path = "../../src/buffers.rs"]
mod buffers;
#[allow(dead_code, reason = "the carrier needs more of it")]
#[path = "../../src/settings.rs"]
mod settings;

use crate::{GIB, PIECE, PORT, cpu_seconds, report};
use bytes::Bytes;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, EndpointConfig, ServerConfig, TokioRuntime};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use socket2::{Domain, Protocol, Socket, Type};
use std::error::Error;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::io::AsyncReadExt;

/// The name in the certificate.
const NAME: &str = "bare.invalid";
/// Most streams at once.
const STREAMS: u32 = 64;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn endpoint(port: u16, server: Option<ServerConfig>) -> Outcome<Endpoint> {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_only_v6(false)?;
    socket.set_nonblocking(true)?;
    buffers::enlarge(&socket)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())?;
    let mut config = EndpointConfig::default();
    config.max_udp_payload_size(settings::MAX_PAYLOAD)?;
    Ok(Endpoint::new(
        config,
        server,
        socket.into(),
        Arc::new(TokioRuntime),
    )?)
}

/// Writes its certificate to the file, then sends as many bytes as each stream asks for.
pub(crate) async fn server(certificate: &Path) -> Outcome<()> {
    let own = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
    let key = PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
    let tls = rustls::ServerConfig::builder_with_provider(Arc::new(settings::provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)?;
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(Arc::new(settings::lan(STREAMS)));
    let endpoint = endpoint(PORT, Some(config))?;
    std::fs::write(certificate, own.cert.der())?;
    println!("bare-client {} ADDRESS:{PORT}", certificate.display());
    let piece = Bytes::from(vec![0x5a; PIECE]);
    while let Some(incoming) = endpoint.accept().await {
        let piece = piece.clone();
        tokio::spawn(async move {
            let Ok(connection) = incoming.await else {
                return;
            };
            while let Ok((mut send, mut recv)) = connection.accept_bi().await {
                let piece = piece.clone();
                tokio::spawn(async move {
                    let mut left = recv.read_u64().await?;
                    while left > 0 {
                        let now = left.min(PIECE as u64);
                        send.write_chunk(piece.slice(..now as usize)).await?;
                        left -= now;
                    }
                    send.finish().map_err(std::io::Error::from)
                });
            }
        });
    }
    Ok(())
}

/// Measures one stream of a server whose certificate is in the file.
pub(crate) async fn client(certificate: &Path, address: &str, gib: u64) -> Outcome<()> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(std::fs::read(certificate)?))?;
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(settings::provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(Arc::new(settings::lan(STREAMS)));
    let endpoint = endpoint(0, None)?;
    let connection = endpoint
        .connect_with(config, address.parse()?, NAME)?
        .await?;
    let (mut send, mut recv) = connection.open_bi().await?;
    let bytes = gib * GIB;
    send.write_all(&bytes.to_be_bytes()).await?;
    send.finish()?;
    let (start, cpu) = (Instant::now(), cpu_seconds());
    // In a task of its own, as the carrier's streams are read.
    let reader = tokio::spawn(async move {
        let mut buffer = vec![0; PIECE];
        for _ in 0..bytes / PIECE as u64 {
            recv.read_exact(&mut buffer).await?;
        }
        Ok::<_, quinn::ReadExactError>(())
    });
    reader.await??;
    report("bare", 1, bytes, start.elapsed(), cpu_seconds() - cpu);
    let path = connection.stats().path;
    println!(
        "  packet size {}, lost {}",
        path.current_mtu, path.lost_packets
    );
    connection.close(0u32.into(), b"");
    endpoint.wait_idle().await;
    Ok(())
}
