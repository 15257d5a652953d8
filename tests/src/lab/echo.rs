//! A small exchange beside everything else: how long one packet takes there and back.

use super::device::Device;
use super::namespace::Namespace;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// UDP port of whoever answers.
const PORT: u16 = 7007;
/// Bytes of a question, and of its answer.
const SIZE: usize = 200;
/// An answer that takes longer is lost.
const LOST: Duration = Duration::from_secs(2);
/// Pause between questions.
const PAUSE: Duration = Duration::from_millis(50);

/// Asks `asked` so often from `asker`, one after another; gives how long each answer took, the shortest first, those that
/// were lost as 2 s.
pub fn round_trips(asker: &Device, asked: &Device, count: u32) -> Vec<Duration> {
    let (there, here) = (asked.network().handle(), asker.network().handle());
    let address = asked.cable.address().to_owned();
    let done = AtomicBool::new(false);
    let mut took = thread::scope(|scope| {
        scope.spawn(|| {
            Namespace::enter(&there);
            let socket = UdpSocket::bind(("0.0.0.0", PORT)).unwrap();
            socket.set_read_timeout(Some(PAUSE)).unwrap();
            let mut packet = [0; SIZE];
            while !done.load(Ordering::Relaxed) {
                // Nothing asked yet is no failure.
                if let Ok((length, from)) = socket.recv_from(&mut packet) {
                    let _ = socket.send_to(&packet[..length], from);
                }
            }
        });
        let asking = scope.spawn(|| {
            Namespace::enter(&here);
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.set_read_timeout(Some(LOST)).unwrap();
            (0..count).map(|number| ask(&socket, &address, number)).collect::<Vec<_>>()
        });
        let took = asking.join().unwrap();
        done.store(true, Ordering::Relaxed);
        took
    });
    took.sort();
    took
}

fn ask(socket: &UdpSocket, address: &str, number: u32) -> Duration {
    let mut packet = [0; SIZE];
    packet[..4].copy_from_slice(&number.to_be_bytes());
    let began = Instant::now();
    socket.send_to(&packet, (address, PORT)).unwrap();
    let mut answer = [0; SIZE];
    loop {
        match socket.recv(&mut answer) {
            Ok(_) if answer == packet => break,
            Ok(_) if began.elapsed() < LOST => {} // A late answer to an earlier one.
            _ => return LOST,
        }
    }
    let took = began.elapsed();
    thread::sleep(PAUSE);
    took
}
