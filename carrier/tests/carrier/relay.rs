//! What is different at an endpoint of a relay.

// The whole program is a test: it fails by panicking.

use crate::common::*;
use hither_carrier::bounds::{Limits, MAX_STREAMS_PER_DEVICE};
use hither_carrier::{CarrierKind, Endpoint, EndpointConfig, Identity, LinkError};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Builder;

fn relay_config(port: u16) -> EndpointConfig {
    let limits = Limits {
        links_per_device: 128,
        connections_per_address: 128,
        streams_per_device: 128,
        ..Limits::default()
    };
    let relay_idle = Some(Duration::from_secs(90));
    EndpointConfig {
        port,
        loopback_only: true,
        tcp: false,
        exact_port: port != 0,
        limits,
        relay_idle,
        ..Default::default()
    }
}

/// A connection begins with few streams; who uses them may open as many as a device may.
#[tokio::test]
async fn a_relay_takes_more_streams_from_who_uses_them() {
    let relay = Endpoint::bind(&Identity::generate().unwrap(), &relay_config(0)).unwrap();
    let device = endpoint();
    let link = connect(&device, &relay, CarrierKind::Quic).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..MAX_STREAMS_PER_DEVICE {
        held.push(soon(joined(&link, &relay)).await);
    }
    assert_eq!(held.len(), MAX_STREAMS_PER_DEVICE);
}

/// Devices of a relay that was killed find out as soon as they say something, all of them at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_find_out_at_once_that_a_relay_was_killed() {
    const LINKS: usize = 100;
    let identity = Identity::generate().unwrap();
    let process = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let inside = process.enter();
    let relay = Arc::new(Endpoint::bind(&identity, &relay_config(0)).unwrap());
    drop(inside);
    let device = endpoint();
    let at = [loopback(relay.port())];
    let mut links = Vec::new();
    for _ in 0..LINKS {
        let link = soon(device.dial(hither_carrier::Dial::quic(relay.device(), &at).relay()))
            .await
            .unwrap();
        let streams = joined(&link, &relay).await;
        links.push((link, streams));
    }
    let port = relay.port();
    tokio::task::spawn_blocking(move || process.shutdown_timeout(SOON))
        .await
        .unwrap();
    let (links, theirs): (Vec<_>, Vec<_>) = links
        .into_iter()
        .map(|(link, (here, there))| ((link, here), there))
        .unzip();
    drop((relay, theirs)); // too late for them to say anything
    let _again = Endpoint::bind(&identity, &relay_config(port)).unwrap();
    let began = Instant::now();
    let mut open = Vec::new();
    for (link, mut stream) in links {
        let _ = stream.send.send_bytes(vec![0; 64].into()).await;
        open.push((link, stream));
    }
    for (link, _stream) in &open {
        assert_eq!(soon(link.closed()).await, LinkError::Restarted);
    }
    // One every 20 ms would take two seconds; what is lost is sent again after a few hundred
    // milliseconds at most.
    assert!(
        began.elapsed() < Duration::from_millis(1500),
        "{:?}",
        began.elapsed()
    );
}
