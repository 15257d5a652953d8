//! How fast uploads and reads are, beside a bare stream of the same bytes over the same carrier in
//! the same run: `cargo test --release -p hither-relay --test storing_rate -- --ignored
//! --nocapture`.

use crate::storing_common::{Device, End, Open, Version, World};
use hither_carrier::{CarrierKind, Incoming};
use hither_proto::{Purpose, Space};
use std::time::Instant;
use tokio::io::AsyncReadExt;

/// Chunks of one upload, and the length of each, bytes.
const CHUNKS: usize = 1024;
const LENGTH: usize = 512 * 1024;

/// Mebibytes in a second.
fn rate(bytes: u64, began: Instant) -> f64 {
    bytes as f64 / f64::from(1 << 20) / began.elapsed().as_secs_f64()
}

/// The rate of both together.
fn between(one: f64, other: f64) -> f64 {
    2.0 / (1.0 / one + 1.0 / other)
}

/// The same bytes from one device to another, over TLS and nothing else.
async fn bare(version: &Version) -> f64 {
    let (from, to) = (Device::new(), Device::new());
    let at = std::net::SocketAddr::from(([127, 0, 0, 1], to.endpoint.tcp_port().unwrap()));
    let link = from
        .endpoint
        .dial(hither_carrier::Dial::tcp(to.id(), &[at]))
        .await
        .unwrap();
    let mut stream = link.open().await.unwrap();
    let chunks = version.data.clone();
    let bytes = version.bytes();
    let receiving = tokio::spawn(async move {
        let mut stream = loop {
            if let Incoming::Stream(stream) = to.endpoint.accept().await.unwrap() {
                break stream;
            }
        };
        let mut buffer = vec![0; LENGTH];
        while stream.recv.read(&mut buffer).await.unwrap() > 0 {}
        to
    });
    let began = Instant::now();
    for chunk in chunks {
        stream.send.send_bytes(chunk).await.unwrap();
    }
    stream.send.finish().await.unwrap();
    let _to = receiving.await.unwrap();
    rate(bytes, began)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures; wants a quiet machine and --release"]
async fn uploads_and_reads_beside_a_bare_stream() {
    let world = World::new().await;
    let owner = world.somebody().await;
    for round in 1..=3 {
        let version = Version::random(&owner, 1, CHUNKS, LENGTH);
        // Before and after each: a machine is not equally fast all the time.
        let first = bare(&version).await;
        owner.place(&world, version.share(), version.bytes()).await;
        let began = Instant::now();
        assert_eq!(
            owner.upload(&world, &version, usize::MAX).await.end,
            End::Done
        );
        let up = rate(version.bytes(), began);
        let second = bare(&version).await;
        let reader = Device::new();
        let mut bulk = reader
            .read(&world, &Open::of(&version, Purpose::Bulk), CarrierKind::Tcp)
            .await
            .unwrap();
        let began = Instant::now();
        bulk.want(1, 1, Space::Data, 0..CHUNKS as u32).await;
        assert_eq!(bulk.answer(1).await.chunks.len(), CHUNKS);
        let down = rate(version.bytes(), began);
        let third = bare(&version).await;
        println!(
            "round {round}: bare TLS {first:.0}, {second:.0} and {third:.0} MiB/s, upload {up:.0} ({:.2}), \
             read {down:.0} ({:.2})",
            up / between(first, second),
            down / between(second, third)
        );
    }
    world.node.stop().await;
}
