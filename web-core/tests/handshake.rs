//! The page's TLS against the real acceptor of a device or relay, over TCP: the handshake, the
//! exporter and the stream are those of SPEC.md, "Identity and links".

use hither_carrier::{Endpoint, EndpointConfig, Identity as CarrierIdentity, Incoming};
use hither_proto::{DeviceId, Proof, ProofKey, Purpose, ShareSecret, Side, StreamBinding};
use hither_web_core::tls::{Identity, Tls};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

fn endpoint() -> Endpoint {
    let config = EndpointConfig {
        quic: false,
        loopback_only: true,
        ..EndpointConfig::default()
    };
    Endpoint::bind(&CarrierIdentity::generate().unwrap(), &config).unwrap()
}

async fn socket(endpoint: &Endpoint) -> TcpStream {
    let port = endpoint.tcp_port().unwrap();
    TcpStream::connect(("127.0.0.1", port)).await.unwrap()
}

/// Sends what TLS has to send, then reads once; `false` when the other side has closed.
async fn turn(tls: &mut Tls, socket: &mut TcpStream, plain: &mut Vec<u8>) -> Result<bool, String> {
    let mut out = Vec::new();
    tls.drain(&mut out);
    socket.write_all(&out).await.map_err(|e| e.to_string())?;
    let mut bytes = vec![0; 64 * 1024];
    let read = timeout(PATIENCE, socket.read(&mut bytes))
        .await
        .map_err(|e| e.to_string())?
        .map_err(|e| e.to_string())?;
    let ended = tls
        .receive(&bytes[..read], plain)
        .map_err(|e| e.to_string())?;
    Ok(read > 0 && !ended)
}

async fn handshake(tls: &mut Tls, socket: &mut TcpStream) -> Result<StreamBinding, String> {
    let mut plain = Vec::new();
    loop {
        if let Some(binding) = tls.binding() {
            let binding = *binding;
            let mut out = Vec::new();
            tls.drain(&mut out);
            socket.write_all(&out).await.map_err(|e| e.to_string())?;
            return Ok(binding);
        }
        if !turn(tls, socket, &mut plain).await? {
            return Err("closed".into());
        }
    }
}

#[tokio::test]
async fn the_unchanged_acceptor_takes_the_page_for_a_device_and_both_bind_proofs_alike() {
    let endpoint = endpoint();
    let page = Identity::new(&[7; 32]).unwrap();
    let accepted = async {
        match endpoint.accept().await {
            Some(Incoming::Stream(stream)) => stream,
            other => panic!("{other:?}"),
        }
    };
    let mut socket = socket(&endpoint).await;
    let mut tls = page.connect(endpoint.device()).unwrap();
    let dialled = handshake(&mut tls, &mut socket);
    let (binding, mut stream) = timeout(PATIENCE, async { tokio::join!(dialled, accepted) })
        .await
        .unwrap();
    let binding = binding.unwrap();
    assert_eq!(stream.device, page.device());
    let key = ProofKey::of_secret(&ShareSecret::new([1; 16]));
    let ours = Proof::make(&key, &binding, Side::Opener, Purpose::Control);
    assert!(ours.verify(&key, &stream.binding, Side::Opener, Purpose::Control));

    // Bytes go both ways, more than one record of them.
    let sent: Vec<u8> = (0..300_000u32).map(|n| n as u8).collect();
    tls.send(&sent).unwrap();
    tls.finish();
    let echo = async {
        let mut got = Vec::new();
        stream.recv.read_to_end(&mut got).await.unwrap();
        assert_eq!(got.len(), 300_000);
        stream.send.send_bytes(got.into()).await.unwrap();
        stream.send.finish().await.unwrap();
    };
    let own = async {
        let mut plain = Vec::new();
        while turn(&mut tls, &mut socket, &mut plain).await.unwrap() {}
        plain
    };
    let ((), back) = timeout(PATIENCE, async { tokio::join!(echo, own) })
        .await
        .unwrap();
    assert!(back == sent);
}

#[tokio::test]
async fn nobody_but_the_expected_device_is_taken() {
    let endpoint = endpoint();
    let page = Identity::new(&[7; 32]).unwrap();
    let another = Identity::new(&[8; 32]).unwrap().device();
    let mut socket = socket(&endpoint).await;
    let mut tls = page.connect(another).unwrap();
    assert!(handshake(&mut tls, &mut socket).await.is_err());
    assert!(tls.binding().is_none());
}

#[tokio::test]
async fn a_server_without_a_device_key_is_refused() {
    // Garbage in the place of a handshake is an error, never a panic.
    let page = Identity::new(&[7; 32]).unwrap();
    let expected = DeviceId::from_slice(page.device().as_bytes()).unwrap();
    for bytes in [
        &[0u8; 100][..],
        &[0xff; 5000],
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ] {
        let mut tls = page.connect(expected).unwrap();
        let mut plain = Vec::new();
        assert!(tls.receive(bytes, &mut plain).is_err(), "{bytes:?}");
        assert!(plain.is_empty());
    }
}

/// Shows what the records cost, on request; it asserts nothing about speed.
#[tokio::test]
#[ignore = "a measurement"]
async fn throughput_of_records() {
    let endpoint = endpoint();
    let page = Identity::new(&[7; 32]).unwrap();
    let mut socket = socket(&endpoint).await;
    let mut tls = page.connect(endpoint.device()).unwrap();
    let server = tokio::spawn(async move {
        let Some(Incoming::Stream(mut stream)) = endpoint.accept().await else {
            return;
        };
        for _ in 0..256 {
            let piece = vec![5; 1 << 20].into();
            stream.send.send_bytes(piece).await.unwrap();
        }
        stream.send.finish().await.unwrap();
        let mut rest = Vec::new();
        let _ = stream.recv.read_to_end(&mut rest).await;
    });
    handshake(&mut tls, &mut socket).await.unwrap();
    let (began, mut bytes, mut plain) = (Instant::now(), 0, Vec::new());
    loop {
        let more = turn(&mut tls, &mut socket, &mut plain).await.unwrap();
        bytes += plain.len();
        plain.clear();
        if !more {
            break;
        }
    }
    println!("{} MiB in {:?}", bytes >> 20, began.elapsed());
    drop(socket);
    server.await.unwrap();
}
