//! Prints what discovery sees, for as long as it runs: `discover [PORT]` announces a passing device
//! at that port.

#![allow(clippy::print_stdout)]

use hither_carrier::{Discovery, DiscoveryOptions, Identity};
use std::error::Error;
use std::time::Instant;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::args()
        .nth(1)
        .map_or(Ok(4817), |port| port.parse())?;
    let device = Identity::generate()?.device_id();
    println!("this is {device}");
    let (discovery, mut events) =
        Discovery::start(device, port, Some(port), DiscoveryOptions::default())?;
    let start = Instant::now();
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    loop {
        tokio::select! {
            Some(event) = events.recv() => println!("{:6.2} s {event:?}", start.elapsed().as_secs_f64()),
            _ = tokio::signal::ctrl_c() => break,
            _ = terminate.recv() => break,
        }
    }
    discovery.shutdown().await;
    Ok(())
}
