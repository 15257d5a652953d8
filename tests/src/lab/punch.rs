//! Two sockets that try to reach each other through the NATs in front of them, without Hither: what
//! the routers of the lab allow at all.

use super::device::Device;
use super::echo::inside;
use super::stun::{Change, StunServer, ask};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

/// Number of times that each sends to every place where the other may be, and the time between.
const ROUNDS: usize = 10;
const PAUSE: Duration = Duration::from_millis(30);

/// A socket of a device, and where others see it.
#[derive(Debug)]
pub struct Puncher {
    socket: UdpSocket,
    seen: SocketAddr,
    /// From where it has heard the other.
    heard: Vec<SocketAddr>,
}

impl Puncher {
    /// A new socket whose outer address a STUN server tells; `None` where UDP does not pass.
    pub fn by_stun(device: &Device, server: &StunServer) -> Option<Self> {
        let socket = bound(device, Ipv4Addr::UNSPECIFIED.into(), 0);
        let seen = ask(&socket, server.at(0, 0), Change::NOTHING)?;
        Some(Self::new(socket, seen))
    }

    /// A socket whose port is kept on the way out, so that it is known where it is seen.
    pub fn seen_at(device: &Device, seen: SocketAddr) -> Self {
        let any: IpAddr = match seen {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        Self::new(bound(device, any, seen.port()), seen)
    }

    fn new(socket: UdpSocket, seen: SocketAddr) -> Self {
        socket.set_nonblocking(true).unwrap();
        Self {
            socket,
            seen,
            heard: Vec::new(),
        }
    }

    /// Each knows where the other is seen, sends there, and to where it hears the other from;
    /// returns whether both hear each other.
    pub fn meets(mut self, mut other: Self) -> bool {
        (0..ROUNDS).any(|_| {
            self.send(other.seen);
            other.send(self.seen);
            thread::sleep(PAUSE);
            self.listen();
            other.listen();
            !self.heard.is_empty() && !other.heard.is_empty()
        })
    }

    fn send(&self, seen: SocketAddr) {
        for to in self.heard.iter().chain([&seen]) {
            // A packet that the router refuses is as good as lost.
            let _ = self.socket.send_to(b"punch", to);
        }
    }

    fn listen(&mut self) {
        let mut packet = [0; 64];
        while let Ok((_, from)) = self.socket.recv_from(&mut packet) {
            if !self.heard.contains(&from) {
                self.heard.push(from);
            }
        }
    }
}

fn bound(device: &Device, address: IpAddr, port: u16) -> UdpSocket {
    inside(device, || UdpSocket::bind((address, port)).unwrap())
}
