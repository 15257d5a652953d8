//! Finds out what the NATs in front of a device do, as RFC 5780 does it, and says it in the words
//! of RFC 4787.

use super::device::Device;
use super::echo::inside;
use super::nat::{DependsOn, Mapping, Nat};
use super::stun::{Change, StunServer, ask};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// The port inside: not one that a mapping makes of others.
const INNER_PORT: u16 = 4817;
/// Longest time that a packet may take from a device to another one behind the same router.
const HAIRPIN: Duration = Duration::from_millis(400);
/// The bytes that are sent there.
const HAIR: &[u8] = b"hair";

/// The outer ports that one inner port gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OuterPorts {
    /// The inner one.
    Kept,
    /// Others, each the one after the last.
    Counting,
    /// Others.
    Other,
}

/// The behaviour of NATs as it is seen from a device behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NatBehaviour {
    /// The part of the remote that a mapping depends on.
    pub mapping: DependsOn,
    /// The ports that it picks.
    pub ports: OuterPorts,
    /// The part of the remote that filtering depends on.
    pub filtering: DependsOn,
    /// Another socket inside gets through by the outer address.
    pub hairpin: bool,
    /// The outer address.
    pub address: Ipv4Addr,
}

impl NatBehaviour {
    /// Finds out; `None` where the first request of all gets no answer, as where UDP is blocked.
    pub fn of(device: &Device, server: &StunServer) -> Option<Self> {
        inside(device, || probe(server))
    }

    /// The behaviour that is to be seen behind a router of this kind alone.
    pub fn expected(nat: &Nat, address: Ipv4Addr) -> Self {
        Self {
            mapping: nat.mapping.depends_on(),
            ports: match nat.mapping {
                Mapping::Keep => OuterPorts::Kept,
                Mapping::Counting => OuterPorts::Counting,
                Mapping::Remap | Mapping::PerAddress | Mapping::Random => OuterPorts::Other,
            },
            filtering: nat.filtering,
            hairpin: nat.hairpin,
            address,
        }
    }
}

fn socket(port: u16) -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap()
}

fn probe(server: &StunServer) -> Option<NatBehaviour> {
    let socket = socket(INNER_PORT);
    let seen = |address, port| ask(&socket, server.at(address, port), Change::NOTHING);
    let first = seen(0, 0)?;
    let (other_port, other_address) = (seen(0, 1)?, seen(1, 0)?);
    let SocketAddr::V4(outer) = first else {
        return None;
    };
    Some(NatBehaviour {
        mapping: mapping(first, other_port, other_address),
        ports: ports([first, other_port, other_address].map(|at| at.port())),
        filtering: filtering(server),
        hairpin: hairpin(&socket, first),
        address: *outer.ip(),
    })
}

/// RFC 5780, 4.3, with the port changed before the address.
fn mapping(first: SocketAddr, other_port: SocketAddr, other_address: SocketAddr) -> DependsOn {
    if first != other_port {
        DependsOn::AddressAndPort
    } else if first != other_address {
        DependsOn::Address
    } else {
        DependsOn::Nothing
    }
}

fn ports(ports: [u16; 3]) -> OuterPorts {
    let step = |from: usize| ports[from + 1].wrapping_sub(ports[from]);
    if ports == [INNER_PORT; 3] {
        OuterPorts::Kept
    } else if step(0) == 1 && step(1) == 1 {
        OuterPorts::Counting
    } else {
        OuterPorts::Other
    }
}

/// RFC 5780, 4.4: which answers come in to a socket that has sent to one place only.
fn filtering(server: &StunServer) -> DependsOn {
    let comes = |address| {
        let change = Change {
            address,
            port: true,
        };
        ask(&socket(0), server.at(0, 0), change).is_some()
    };
    if comes(true) {
        DependsOn::Nothing
    } else if comes(false) {
        DependsOn::Address
    } else {
        DependsOn::AddressAndPort
    }
}

/// Another socket sends to where the first one is seen.
fn hairpin(first: &UdpSocket, seen: SocketAddr) -> bool {
    // A packet that the router refuses is as good as lost.
    let _ = socket(0).send_to(HAIR, seen);
    let deadline = Instant::now() + HAIRPIN;
    let mut packet = [0; 64];
    while let Some(left) = deadline.checked_duration_since(Instant::now()) {
        let left = left.max(Duration::from_millis(1));
        first.set_read_timeout(Some(left)).unwrap();
        if let Ok((length, from)) = first.recv_from(&mut packet)
            && packet[..length] == *HAIR
        {
            // By its outer address as well (RFC 4787, 6).
            return from.ip() == seen.ip();
        }
    }
    false
}
