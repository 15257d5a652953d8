//! Crowds: many connections that say nothing, and a reader that asks for everything and reads
//! nothing.

use super::device::Device;
use super::going::Going;
use super::holder::drive;
use super::peer::hoard;
use hither_proto::{DeviceId, Ticket};
use socket2::{Domain, Protocol, Socket, Type};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

/// TCP connections from several addresses on which nothing is ever said; what is closed is opened
/// again.
#[derive(Debug)]
pub struct Silent(#[allow(dead_code, reason = "held")] Going);

impl Silent {
    /// Opens `each` connections from each of so many addresses of `place`, to `victim`. They are
    /// open when this returns.
    pub fn start(place: &Device, addresses: u8, each: usize, victim: SocketAddr) -> Self {
        let own: Ipv4Addr = place.cable.address().parse().unwrap();
        let [a, b, c, _] = own.octets();
        let from: Vec<Ipv4Addr> = (0..addresses)
            .map(|n| Ipv4Addr::new(a, b, c, 150 + n))
            .collect();
        from.iter().for_each(|address| place.cable.also(*address));
        let (going, ()) = Going::start(place, move |ready: Sender<()>, stop| {
            let open = |address: &Ipv4Addr| -> std::io::Result<Socket> {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
                socket.bind(&SocketAddr::new(IpAddr::V4(*address), 0).into())?;
                socket.connect_timeout(&victim.into(), Duration::from_secs(2))?;
                socket.set_nonblocking(true)?;
                Ok(socket)
            };
            let mut held: Vec<Option<Socket>> = (0..from.len() * each).map(|_| None).collect();
            let mut ready = Some(ready);
            while !stop.is_cancelled() {
                for (number, place) in held.iter_mut().enumerate() {
                    let gone = place.as_ref().is_none_or(|socket| {
                        let mut byte = [std::mem::MaybeUninit::uninit()];
                        !matches!(socket.recv(&mut byte), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
                    });
                    if gone && !stop.is_cancelled() {
                        *place = open(&from[number / each]).ok();
                    }
                }
                if let Some(ready) = ready.take() {
                    ready.send(()).unwrap();
                }
                thread::sleep(Duration::from_millis(50));
            }
        });
        Self(going)
    }
}

/// A ticket holder that asks for everything on as many streams as it gets, and reads nothing of it.
#[derive(Debug)]
pub struct Hoarder(#[allow(dead_code, reason = "held")] Going);

impl Hoarder {
    /// Puts one in the place of a device, whose daemon must not run. It has asked when this
    /// returns.
    pub fn start(place: &Device, ticket: &str, streams: usize) -> Self {
        let ticket: Ticket = ticket.parse().unwrap();
        let (going, ()) = Going::start(place, move |ready: Sender<()>, stop| {
            drive(async move {
                let held = hoard(&ticket, streams).await;
                assert!(!held.is_empty(), "no stream was opened");
                ready.send(()).unwrap();
                stop.cancelled().await;
            });
        });
        Self(going)
    }
}

/// Returns where a device listens for TCP, from its status.
pub fn listens(device: &Device) -> (DeviceId, SocketAddr) {
    let status = device.status();
    let port = status.tcp_port.expect("TCP is on");
    (
        status.device.parse().unwrap(),
        SocketAddr::new(device.cable.address().parse().unwrap(), port),
    )
}
