//! STUN (RFC 8489), as far as it takes to find out what a NAT does (RFC 5780): a server with two
//! addresses and two ports beside the relays, and its answers to one socket.
//!
//! Nothing of Hither is used here, so that a fault of its own STUN does not hide.

use super::device::Device;
use super::going::Going;
use super::holder::drive;
use super::internet::Internet;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::UdpSocket as AsyncUdpSocket;
use tokio::task::JoinSet;

/// The server's ports.
const PORTS: [u16; 2] = [3478, 3479];
/// Longest wait for one answer, and number of times that it is asked for. The lab loses nothing, so that
/// a second time is for a busy machine.
const ANSWER: Duration = Duration::from_millis(400);
const TRIES: usize = 2;

const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const COOKIE: u32 = 0x2112_a442;
const HEADER: usize = 20;
const CHANGE_REQUEST: u16 = 0x0003;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const CHANGE_ADDRESS: u32 = 4;
const CHANGE_PORT: u32 = 2;
const IPV4: u8 = 1;

/// From where an answer is wanted, as seen from where it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    /// From the other address.
    pub(super) address: bool,
    /// From the other port.
    pub(super) port: bool,
}

impl Change {
    /// From the same place.
    pub(super) const NOTHING: Self = Self {
        address: false,
        port: false,
    };
}

/// A server. Ends when dropped.
#[derive(Debug)]
pub struct StunServer {
    addresses: [Ipv4Addr; 2],
    _going: Going,
    _place: Device,
}

impl StunServer {
    /// Starts one beside the relays; it answers when this returns.
    pub fn start(internet: &Internet<'_>) -> Self {
        let place = internet.device("stun");
        let second: Ipv4Addr = internet.host_address().parse().unwrap();
        place.cable.also(second);
        let addresses = [place.cable.address().parse().unwrap(), second];
        let (_going, ()) = Going::start(&place, move |ready, stop| {
            drive(async move {
                let server = serve(addresses).await;
                ready.send(()).unwrap();
                stop.cancelled().await;
                drop(server);
            });
        });
        Self {
            addresses,
            _going,
            _place: place,
        }
    }

    /// One of its four places, each number 0 or 1.
    pub(super) fn at(&self, address: usize, port: usize) -> SocketAddr {
        SocketAddr::new(self.addresses[address].into(), PORTS[port])
    }
}

/// Answers at all places until it is dropped.
async fn serve(addresses: [Ipv4Addr; 2]) -> JoinSet<()> {
    let mut sockets = Vec::new();
    for address in addresses {
        for port in PORTS {
            sockets.push(AsyncUdpSocket::bind((address, port)).await.unwrap());
        }
    }
    let sockets: Arc<[AsyncUdpSocket]> = sockets.into();
    let mut serving = JoinSet::new();
    for number in 0..sockets.len() {
        let sockets = Arc::clone(&sockets);
        serving.spawn(async move {
            let mut packet = [0; 2048];
            // An error is that of an answer which nobody wanted (ICMP).
            loop {
                let Ok((length, from)) = sockets[number].recv_from(&mut packet).await else {
                    continue;
                };
                let Some((transaction, change)) = parse_request(&packet[..length]) else {
                    continue;
                };
                let other = number ^ (usize::from(change.address) << 1) ^ usize::from(change.port);
                let _ = sockets[other]
                    .send_to(&success(transaction, from), from)
                    .await;
            }
        });
    }
    serving
}

/// Asks where a socket is seen from; `None` where no answer comes.
pub(super) fn ask(socket: &UdpSocket, server: SocketAddr, change: Change) -> Option<SocketAddr> {
    (0..TRIES).find_map(|_| {
        let transaction = transaction();
        // A packet that the router refuses is as good as lost.
        socket.send_to(&request(transaction, change), server).ok()?;
        answer(socket, transaction)
    })
}

/// The answer to a request.
fn answer(socket: &UdpSocket, transaction: [u8; 12]) -> Option<SocketAddr> {
    let deadline = Instant::now() + ANSWER;
    let mut packet = [0; 2048];
    loop {
        let left = deadline.checked_duration_since(Instant::now())?;
        socket
            .set_read_timeout(Some(left.max(Duration::from_millis(1))))
            .unwrap();
        match socket.recv_from(&mut packet) {
            Ok((length, _)) => {
                if let Some(seen) = parse_success(&packet[..length], transaction) {
                    return Some(seen);
                }
            }
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::ConnectionRefused
                ) => {}
            Err(error) => panic!("a socket fails: {error}"),
        }
    }
}

/// A number that no other request has.
fn transaction() -> [u8; 12] {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut transaction = *b"lab.........";
    transaction[4..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    transaction
}

fn message(kind: u16, transaction: [u8; 12], attribute: u16, value: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    message.extend(kind.to_be_bytes());
    message.extend((4 + value.len() as u16).to_be_bytes());
    message.extend(COOKIE.to_be_bytes());
    message.extend(transaction);
    message.extend(attribute.to_be_bytes());
    message.extend((value.len() as u16).to_be_bytes());
    message.extend(value);
    message
}

fn request(transaction: [u8; 12], change: Change) -> Vec<u8> {
    let address = if change.address { CHANGE_ADDRESS } else { 0 };
    let port = if change.port { CHANGE_PORT } else { 0 };
    let flags = (address | port).to_be_bytes();
    message(BINDING_REQUEST, transaction, CHANGE_REQUEST, &flags)
}

fn success(transaction: [u8; 12], seen: SocketAddr) -> Vec<u8> {
    let IpAddr::V4(address) = seen.ip() else {
        panic!("the server has no IPv6");
    };
    let mut value = vec![0, IPV4];
    value.extend((seen.port() ^ (COOKIE >> 16) as u16).to_be_bytes());
    value.extend((u32::from(address) ^ COOKIE).to_be_bytes());
    message(BINDING_SUCCESS, transaction, XOR_MAPPED_ADDRESS, &value)
}

/// The transaction of a message of this kind, and the value of its attribute.
fn parse(packet: &[u8], kind: u16, attribute: u16) -> Option<([u8; 12], &[u8])> {
    let (head, mut rest) = packet.split_at_checked(HEADER)?;
    if head[..2] != kind.to_be_bytes() || head[4..8] != COOKIE.to_be_bytes() {
        return None;
    }
    let transaction = head[8..].try_into().ok()?;
    loop {
        let (head, after) = rest.split_at_checked(4)?;
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        if head[..2] == attribute.to_be_bytes() {
            return Some((transaction, after.get(..length)?));
        }
        rest = after.get(length.next_multiple_of(4)..)?;
    }
}

fn parse_request(packet: &[u8]) -> Option<([u8; 12], Change)> {
    let (transaction, flags) = parse(packet, BINDING_REQUEST, CHANGE_REQUEST)?;
    let flags = u32::from_be_bytes(flags.try_into().ok()?);
    let change = Change {
        address: flags & CHANGE_ADDRESS != 0,
        port: flags & CHANGE_PORT != 0,
    };
    Some((transaction, change))
}

fn parse_success(packet: &[u8], wanted: [u8; 12]) -> Option<SocketAddr> {
    let (transaction, value) = parse(packet, BINDING_SUCCESS, XOR_MAPPED_ADDRESS)?;
    if transaction != wanted {
        return None;
    }
    let &[_, IPV4, p1, p0, a3, a2, a1, a0] = value else {
        return None;
    };
    let port = u16::from_be_bytes([p1, p0]) ^ (COOKIE >> 16) as u16;
    let address = Ipv4Addr::from(u32::from_be_bytes([a3, a2, a1, a0]) ^ COOKIE);
    Some(SocketAddr::new(address.into(), port))
}
