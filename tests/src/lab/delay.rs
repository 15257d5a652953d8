//! A way that takes time: what leaves a router goes through a program that keeps it for a while.
//!
//! Kernels can do that themselves (netem), but not every one was built with it. Whatever is in the
//! program when the test ends is lost with it.

use super::namespace::Namespace;
use std::fs::File;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use tun_rs::{DeviceBuilder, SyncDevice};

/// The interface behind which the program is.
pub(super) const INTERFACE: &str = "late0";
/// Longest packet.
const MTU: u16 = 1500;

/// A packet, and when it goes on.
type Kept = (Instant, Vec<u8>);

/// Keeps everything that is sent to [`INTERFACE`] in this network for so long, and gives it back
/// there.
pub(super) fn start(network: &Namespace, delay: Duration) {
    let place = network.handle();
    let made = std::thread::spawn(move || make(&place)).join().unwrap();
    let (device, (sender, receiver)) = (Arc::new(made), channel());
    let out = Arc::clone(&device);
    std::thread::spawn(move || keep(&device, delay, &sender));
    std::thread::spawn(move || release(&out, &receiver));
}

fn make(place: &File) -> SyncDevice {
    Namespace::enter(place);
    let made = DeviceBuilder::new().name(INTERFACE).mtu(MTU).build_sync();
    made.unwrap_or_else(|error| panic!("a way that takes time needs /dev/net/tun: {error}"))
}

fn keep(device: &SyncDevice, delay: Duration, sender: &Sender<Kept>) {
    let mut buffer = [0; 2 * MTU as usize];
    while let Ok(length) = device.recv(&mut buffer) {
        if sender
            .send((Instant::now() + delay, buffer[..length].to_vec()))
            .is_err()
        {
            return;
        }
    }
}

fn release(device: &SyncDevice, receiver: &Receiver<Kept>) {
    for (due, packet) in receiver {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        // What the network does not take is lost, as packets are.
        let _ = device.send(&packet);
    }
}
