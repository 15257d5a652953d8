//! Crowds: many connections that say nothing, and a reader that asks for everything and reads nothing.

use super::device::Device;
use super::holder::drive;
use super::namespace::Namespace;
use super::peer::hoard;
use super::wait::PATIENCE;
use hither_proto::{DeviceId, Ticket};
use socket2::{Domain, Protocol, Socket, Type};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A program that goes on in the network of a device until it is dropped.
#[derive(Debug)]
struct Going {
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Going {
    /// Starts `work` there; returns when it has said that it is ready.
    fn start(place: &Device, work: impl FnOnce(Sender<()>, CancellationToken) + Send + 'static) -> Self {
        let (network, stop) = (place.network().handle(), CancellationToken::new());
        let (ready, is_ready) = channel();
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            Namespace::enter(&network);
            work(ready, stopped);
        });
        is_ready.recv_timeout(PATIENCE).expect("it becomes ready");
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        self.stop.cancel();
        let ended = self.thread.take().unwrap().join();
        if let Err(why) = ended
            && !thread::panicking()
        {
            std::panic::resume_unwind(why);
        }
    }
}

/// TCP connections from several addresses on which nothing is ever said; what is closed is opened again.
#[derive(Debug)]
pub struct Silent(#[allow(dead_code, reason = "held")] Going);

impl Silent {
    /// Opens `each` connections from each of so many addresses of `place`, to `victim`. They are open when this returns.
    pub fn start(place: &Device, addresses: u8, each: usize, victim: SocketAddr) -> Self {
        let own: Ipv4Addr = place.cable.address().parse().unwrap();
        let [a, b, c, _] = own.octets();
        let from: Vec<Ipv4Addr> = (0..addresses).map(|n| Ipv4Addr::new(a, b, c, 150 + n)).collect();
        from.iter().for_each(|address| place.cable.also(*address));
        Self(Going::start(place, move |ready, stop| {
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
        }))
    }
}

/// A ticket holder that asks for everything on as many streams as it gets, and reads nothing of it.
#[derive(Debug)]
pub struct Hoarder(#[allow(dead_code, reason = "held")] Going);

impl Hoarder {
    /// Puts one in the place of a device, whose daemon must not run. It has asked when this returns.
    pub fn start(place: &Device, ticket: &str, streams: usize) -> Self {
        let ticket: Ticket = ticket.parse().unwrap();
        Self(Going::start(place, move |ready, stop| {
            drive(async move {
                let held = hoard(&ticket, streams).await;
                assert!(!held.is_empty(), "no stream was opened");
                ready.send(()).unwrap();
                stop.cancelled().await;
            });
        }))
    }
}

/// Returns where a device listens for TCP, from its status.
pub fn listens(device: &Device) -> (DeviceId, SocketAddr) {
    let status = device.status();
    let port = status.tcp_port.expect("TCP is on");
    (status.device.parse().unwrap(), SocketAddr::new(device.cable.address().parse().unwrap(), port))
}
