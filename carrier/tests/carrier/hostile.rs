//! Those who do not play by the rules: no key, garbage, too many.

// The whole program is a test: it fails by panicking.

use crate::common::*;
use hither_carrier::bounds::{
    MAX_CONNECTIONS_PER_ADDRESS, MAX_HANDSHAKES_PER_ADDRESS, MAX_LINKS_PER_DEVICE,
    MAX_STREAMS_PER_DEVICE, MAX_TCP_PER_DEVICE,
};
use hither_carrier::{CarrierKind, Endpoint, LinkError};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// Still there, on both carriers?
async fn works(endpoint: &Endpoint) {
    let friend = crate::common::endpoint();
    for carrier in BOTH {
        let link = connect(&friend, endpoint, carrier).await.unwrap();
        let _stream = said(&link).await;
        // Streams of others may be waiting in front.
        while next_stream(endpoint).await.device != friend.device() {}
    }
}

/// A connection without any TLS on it yet.
async fn knock(victim: &Endpoint) -> TcpStream {
    TcpStream::connect(address(victim, CarrierKind::Tcp))
        .await
        .unwrap()
}

/// Waits until a connection is closed; fails when a word is said on it.
async fn turned_away(mut connection: TcpStream) {
    assert_eq!(soon(connection.read(&mut [0; 1])).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn garbage_on_both_ports_harms_nobody() {
    let victim = endpoint();
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for i in 0..2000u32 {
        let length = (i * 37 % 1500) as usize;
        let mut garbage: Vec<u8> = (0..length)
            .map(|at| (at as u32 ^ i).wrapping_mul(2_654_435_761).to_be_bytes()[0])
            .collect();
        if let Some(first) = garbage.first_mut().filter(|_| i % 2 == 0) {
            *first |= 0xc0; // a long header, such as first packets have
        }
        udp.send_to(&garbage, loopback(victim.port()))
            .await
            .unwrap();
    }
    for garbage in [
        &b""[..],
        b"GET / HTTP/1.1\r\n\r\n",
        &[0x16, 3, 1, 0xff, 0xff, 1],
        &[0; 20_000],
    ] {
        let mut tcp = knock(&victim).await;
        let _ = tcp.write_all(garbage).await;
        let _ = tcp.shutdown().await;
        let mut answer = Vec::new();
        let _ = soon(tcp.read_to_end(&mut answer)).await;
    }
    works(&victim).await;
}

/// Takes any server and shows no key of its own: an ordinary TLS client.
#[derive(Debug)]
struct AnyServer {
    raw: bool,
}

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
    fn requires_raw_public_keys(&self) -> bool {
        self.raw
    }
}

#[tokio::test]
async fn a_client_without_a_key_or_with_tls_1_2_gets_nowhere() {
    let victim = endpoint();
    let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
    for (raw, version) in [
        (true, versions[0]),
        (false, versions[0]),
        (true, versions[1]),
    ] {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer { raw }))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"hither/1".to_vec()];
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let tcp = knock(&victim).await;
        // A TLS 1.3 client believes itself connected before the server has refused it; it hears so
        // when it reads.
        let refused = match connector
            .connect(ServerName::try_from("x.invalid").unwrap(), tcp)
            .await
        {
            Ok(mut tls) => soon(tls.read(&mut [0; 1])).await.is_err(),
            Err(_) => true,
        };
        assert!(refused, "raw keys: {raw}");
    }
    works(&victim).await;
}

#[tokio::test]
async fn field_d5_silent_handshakes_are_bounded_and_shut_nobody_out() {
    let victim = endpoint();
    let mut held = Vec::new();
    for _ in 0..3 * MAX_HANDSHAKES_PER_ADDRESS {
        held.push(knock(&victim).await);
    }
    // The oldest ones made room, without a word.
    let kept = held.split_off(2 * MAX_HANDSHAKES_PER_ADDRESS);
    for oldest in held {
        turned_away(oldest).await;
    }
    // Whoever comes now is let in on both carriers, from the same address too.
    works(&victim).await;
    drop(kept);
}

#[tokio::test]
async fn field_d5_a_flood_of_silent_connections_does_not_stop_an_honest_one() {
    let victim = endpoint();
    let at = address(&victim, CarrierKind::Tcp);
    let stop = tokio_util::sync::CancellationToken::new();
    let flood = tokio::spawn({
        let stop = stop.clone();
        async move {
            let mut held = std::collections::VecDeque::new();
            while !stop.is_cancelled() {
                if let Ok(connection) = TcpStream::connect(at).await {
                    held.push_back(connection);
                }
                if held.len() > 200 {
                    held.pop_front();
                }
                // About as many as a thin link of an attacker brings.
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }
    });
    let friend = endpoint();
    for _ in 0..5 {
        let link = connect(&friend, &victim, CarrierKind::Tcp).await.unwrap();
        let _stream = said(&link).await;
        while next_stream(&victim).await.device != friend.device() {}
    }
    stop.cancel();
    flood.await.unwrap();
}

#[tokio::test]
async fn field_d5_strangers_do_not_take_the_places_of_a_vouched_device() {
    let (victim, friend) = (endpoint(), endpoint());
    victim.vouch(friend.device());
    let link = connect(&friend, &victim, CarrierKind::Quic).await.unwrap();
    let (mut mine, mut there) = joined(&link, &victim).await;
    let mut crowd = Vec::new();
    // Keys cost nothing: every one of them is another device.
    for _ in 0..MAX_CONNECTIONS_PER_ADDRESS + 20 {
        let stranger = endpoint();
        let link = connect(&stranger, &victim, CarrierKind::Quic)
            .await
            .unwrap();
        crowd.push((stranger, link));
    }
    let closed = crowd
        .iter()
        .filter(|(_, link)| link.close_reason().is_some())
        .count();
    assert!(closed >= 20, "{closed} of the oldest made room");
    assert!(link.close_reason().is_none());
    mine.send.write_all(b"y").await.unwrap();
    let mut heard = [0; 2];
    soon(there.recv.read_exact(&mut heard)).await.unwrap();
    assert_eq!(&heard, b"xy");
}

#[tokio::test]
async fn silent_handshakes_time_out() {
    let victim = endpoint();
    turned_away(knock(&victim).await).await;
}

#[tokio::test]
async fn streams_of_one_device_are_bounded() {
    let (a, b) = (endpoint(), endpoint());
    let links = [
        connect(&a, &b, CarrierKind::Quic).await.unwrap(),
        connect(&a, &b, CarrierKind::Quic).await.unwrap(),
    ];
    let mut held = Vec::new();
    for _ in 0..MAX_STREAMS_PER_DEVICE {
        held.push(joined(&links[0], &b).await);
    }
    // Another connection does not help: the stream is refused at once.
    let mut more = said(&links[1]).await;
    assert!(soon(more.recv.read(&mut [0; 1])).await.is_err());
    held.truncate(MAX_STREAMS_PER_DEVICE - 1);
    let (_again, there) = joined(&links[1], &b).await;
    assert_eq!(there.device, a.device());
}

#[tokio::test]
async fn connections_of_one_device_are_bounded() {
    let (a, b) = (endpoint(), endpoint());
    let mut held = Vec::new();
    for _ in 0..MAX_TCP_PER_DEVICE {
        let link = connect(&a, &b, CarrierKind::Tcp).await.unwrap();
        held.push((link.open().await.unwrap(), next_stream(&b).await));
    }
    let link = connect(&a, &b, CarrierKind::Tcp).await.unwrap();
    let mut more = link.open().await.unwrap();
    assert_ne!(soon(more.recv.read(&mut [0; 1])).await.ok(), Some(1));

    let mut links = Vec::new();
    for _ in 0..MAX_LINKS_PER_DEVICE {
        let link = connect(&a, &b, CarrierKind::Quic).await.unwrap();
        soon(b.accept()).await.unwrap();
        links.push(link);
    }
    let more = connect(&a, &b, CarrierKind::Quic).await.unwrap();
    assert_eq!(
        soon(more.closed()).await,
        LinkError::ClosedByPeer("too many connections".into())
    );
    assert!(links.iter().all(|link| link.close_reason().is_none()));
}
