//! A server that sends back what it gets, and clients that find out whether they reach it.

use super::device::Device;
use super::going::Going;
use super::holder::drive;
use super::namespace::Namespace;
use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;
use tokio::io::{copy, split};
use tokio::task::JoinSet;

/// Time in which an echo comes back. A packet that is dropped is sent again after a second at the
/// soonest, so that more would not help.
const ANSWER: Duration = Duration::from_millis(600);
/// The bytes that are sent.
const WORD: &[u8] = b"echo";

/// The server, over TCP and UDP, at every address of its device. Ends when dropped.
#[derive(Debug)]
pub struct Echo(#[allow(dead_code, reason = "held")] Going);

impl Echo {
    /// Puts one in the place of a device; it answers at these ports when this returns.
    pub fn start(place: &Device, ports: &'static [u16]) -> Self {
        let (going, ()) = Going::start(place, move |ready, stop| {
            drive(async move {
                let mut serving = JoinSet::new();
                for &port in ports {
                    let at = (Ipv6Addr::UNSPECIFIED, port);
                    let tcp = tokio::net::TcpListener::bind(at).await.unwrap();
                    let udp = tokio::net::UdpSocket::bind(at).await.unwrap();
                    serving.spawn(streams(tcp));
                    serving.spawn(packets(udp));
                }
                ready.send(()).unwrap();
                stop.cancelled().await;
                drop(serving);
            });
        });
        Self(going)
    }

    /// Returns whether a device reaches one over TCP.
    pub fn over_tcp(from: &Device, at: SocketAddr) -> bool {
        inside(from, || {
            TcpStream::connect_timeout(&at, ANSWER).is_ok_and(answers)
        })
    }

    /// Returns whether a device reaches one over UDP.
    pub fn over_udp(from: &Device, at: SocketAddr) -> bool {
        inside(from, || {
            let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
            socket.set_read_timeout(Some(ANSWER)).unwrap();
            let at = SocketAddr::new(mapped(at), at.port());
            let mut packet = [0; 64];
            socket.send_to(WORD, at).is_ok()
                && socket
                    .recv(&mut packet)
                    .is_ok_and(|length| packet[..length] == *WORD)
        })
    }
}

/// An address as a socket for both families has it.
fn mapped(at: SocketAddr) -> std::net::IpAddr {
    match at {
        SocketAddr::V4(v4) => v4.ip().to_ipv6_mapped().into(),
        SocketAddr::V6(v6) => (*v6.ip()).into(),
    }
}

/// Sends a word over a connection; returns whether it comes back.
pub(super) fn answers(mut stream: TcpStream) -> bool {
    stream.set_read_timeout(Some(ANSWER)).unwrap();
    let mut answer = [0; WORD.len()];
    stream.write_all(WORD).is_ok() && stream.read_exact(&mut answer).is_ok() && answer == WORD
}

/// Does something in the network of a device.
pub(super) fn inside<T: Send>(place: &Device, work: impl FnOnce() -> T + Send) -> T {
    let network = place.network().handle();
    thread::scope(|scope| {
        let working = scope.spawn(|| {
            Namespace::enter(&network);
            work()
        });
        working.join().unwrap()
    })
}

async fn streams(listener: tokio::net::TcpListener) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(async move {
            let (mut read, mut write) = split(stream);
            // It ends when the other side ends it, in whatever way.
            let _ = copy(&mut read, &mut write).await;
        });
    }
}

async fn packets(socket: tokio::net::UdpSocket) {
    let mut packet = [0; 2048];
    loop {
        // An error is that of an answer which nobody wanted (ICMP).
        if let Ok((length, from)) = socket.recv_from(&mut packet).await {
            let _ = socket.send_to(&packet[..length], from).await;
        }
    }
}
