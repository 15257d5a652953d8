//! How fast are the carriers here? Prints MiB/s, and CPU seconds per GiB of the receiving process.
//!
//! `throughput` runs both ends in one process on the loopback interface. Across a network:
//! `throughput server KEYFILE` on one device, then on the other, with what it prints, `throughput
//! client DEVICE ADDRESS:PORT [GiB]` for both carriers in turns, or `throughput quic DEVICE
//! ADDRESS:PORT [GiB]` for one stream over QUIC, once.
//!
//! The yardstick of the latter is the same without any of our code, see `bare.rs`: `throughput
//! bare-server CERTFILE` and `throughput bare-client CERTFILE ADDRESS:PORT [GiB]`.
//! `scripts/lib/quic-bench` runs both.

#![allow(clippy::print_stdout)]

use bytes::{Bytes, BytesMut};
use hither_carrier::{
    CarrierKind, Endpoint, EndpointConfig, Identity, Incoming, Link, RecvHalf, Stream,
};
use rustix::time::{ClockId, clock_gettime};
use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;

#[path = "throughput/bare.rs"]
mod bare;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Where the servers listen, if it is free.
const PORT: u16 = 4817;
/// Bytes handed over at once: a span of the link protocol.
const PIECE: usize = 1 << 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => both(1).await,
        ["server", key] => server(&Identity::load_or_create(Path::new(key))?).await,
        ["client", device, address] => client(device, address, 1).await,
        ["client", device, address, gib] => client(device, address, gib.parse()?).await,
        ["quic", device, address] => quic(device, address, 1).await,
        ["quic", device, address, gib] => quic(device, address, gib.parse()?).await,
        ["bare-server", certificate] => bare::server(Path::new(certificate)).await,
        ["bare-client", certificate, address] => {
            bare::client(Path::new(certificate), address, 1).await
        }
        ["bare-client", certificate, address, gib] => {
            bare::client(Path::new(certificate), address, gib.parse()?).await
        }
        _ => Err(
            "usage: throughput [server KEYFILE | client DEVICE ADDRESS:PORT [GiB] | \
                  quic DEVICE ADDRESS:PORT [GiB] | bare-server CERTFILE | \
                  bare-client CERTFILE ADDRESS:PORT [GiB]]"
                .into(),
        ),
    }
}

async fn both(gib: u64) -> Result<(), Box<dyn Error>> {
    let config = EndpointConfig {
        loopback_only: true,
        ..EndpointConfig::default()
    };
    let server = Endpoint::bind(&Identity::generate()?, &config)?;
    let (device, port) = (server.device(), server.port());
    println!("both ends in one process: CPU seconds count both");
    tokio::spawn(serve(server));
    run(device, SocketAddr::from(([127, 0, 0, 1], port)), gib).await
}

async fn server(identity: &Identity) -> Result<(), Box<dyn Error>> {
    let server = Endpoint::bind(
        identity,
        &EndpointConfig {
            port: PORT,
            ..EndpointConfig::default()
        },
    )?;
    println!(
        "client {} ADDRESS:{} (TCP {:?})",
        server.device(),
        server.port(),
        server.tcp_port()
    );
    serve(server).await;
    Ok(())
}

async fn client(device: &str, address: &str, gib: u64) -> Result<(), Box<dyn Error>> {
    run(device.parse()?, address.parse()?, gib).await
}

async fn quic(device: &str, address: &str, gib: u64) -> Result<(), Box<dyn Error>> {
    let endpoint = Endpoint::bind(&Identity::generate()?, &EndpointConfig::default())?;
    let link = endpoint
        .dial(hither_carrier::Dial::quic(
            device.parse()?,
            &[address.parse()?],
        ))
        .await?;
    measure(&link, 1, gib * GIB).await?;
    endpoint.close().await;
    Ok(())
}

/// Sends as many bytes as each stream asks for.
async fn serve(endpoint: Endpoint) {
    let piece = Bytes::from(vec![0x5a; PIECE]);
    while let Some(incoming) = endpoint.accept().await {
        let Incoming::Stream(mut stream) = incoming else {
            continue;
        };
        let piece = piece.clone();
        tokio::spawn(async move {
            let mut left = stream.recv.read_u64().await?;
            while left > 0 {
                let now = left.min(PIECE as u64);
                stream.send.send_bytes(piece.slice(..now as usize)).await?;
                left -= now;
            }
            stream.send.finish().await
        });
    }
}

async fn run(
    device: hither_proto::DeviceId,
    address: SocketAddr,
    gib: u64,
) -> Result<(), Box<dyn Error>> {
    let endpoint = Endpoint::bind(&Identity::generate()?, &EndpointConfig::default())?;
    let quic = endpoint
        .dial(hither_carrier::Dial::quic(device, &[address]))
        .await?;
    let tcp = endpoint
        .dial(hither_carrier::Dial::tcp(device, &[address]))
        .await?;
    for round in 1..=3 {
        println!("round {round}");
        for (link, streams) in [(&quic, 1), (&quic, 2), (&tcp, 1), (&tcp, 2)] {
            measure(link, streams, gib * GIB).await?;
        }
    }
    endpoint.close().await;
    Ok(())
}

async fn measure(link: &Link, streams: u64, bytes: u64) -> Result<(), Box<dyn Error>> {
    let mut open = Vec::new();
    for _ in 0..streams {
        let Stream { mut send, recv, .. } = link.open().await?;
        send.send_bytes(Bytes::copy_from_slice(&(bytes / streams).to_be_bytes()))
            .await?;
        send.finish().await?;
        open.push((send, recv));
    }
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let tasks: Vec<_> = open
        .into_iter()
        .map(|(send, recv)| tokio::spawn(drain(recv, send)))
        .collect();
    let mut received = 0;
    for task in tasks {
        received += task.await??;
    }
    let (elapsed, cpu) = (start.elapsed(), cpu_seconds() - cpu);
    assert_eq!(received, bytes);
    report(&link.carrier().to_string(), streams, bytes, elapsed, cpu);
    match (link.carrier(), link.stats()) {
        (CarrierKind::Quic, Some(stats)) => println!("  {stats:?}"),
        _ => println!(),
    }
    Ok(())
}

/// Prints a measurement; the line may go on.
fn report(what: &str, streams: u64, bytes: u64, elapsed: Duration, cpu: f64) {
    let rate = bytes as f64 / MIB as f64 / elapsed.as_secs_f64();
    let cpu = cpu / (bytes as f64 / GIB as f64);
    print!("{what:5} {streams} stream(s) {rate:7.0} MiB/s {cpu:5.2} CPU s/GiB");
}

/// Reads to the end, a span at a time; the sending half is kept until then.
async fn drain<T>(mut recv: RecvHalf, _send: T) -> std::io::Result<u64> {
    let mut buffer = BytesMut::with_capacity(PIECE);
    let mut total = 0;
    loop {
        buffer.clear();
        match recv.read_exact_into(&mut buffer, PIECE).await {
            Ok(()) => total += PIECE as u64,
            Err(error)
                if error.kind() == std::io::ErrorKind::UnexpectedEof && buffer.is_empty() =>
            {
                return Ok(total);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Processor time of this process so far, user and system.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
