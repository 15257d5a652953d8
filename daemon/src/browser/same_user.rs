//! The user of a connection: on one machine every user can connect to every port of the loopback
//! address.

use std::net::SocketAddr;

/// The user at the other end of a connection on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The user that this program runs as.
    Same,
    /// Another user, or nobody any more.
    Other,
    /// The system does not say.
    Unknown,
}

/// Finds the owner of the connection from `peer` to `own`, both on this machine. Blocks for a moment.
#[cfg(target_os = "linux")]
pub(crate) fn owner(peer: SocketAddr, own: SocketAddr) -> Owner {
    // The table of IPv6 sockets has those that speak IPv4 through one.
    let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];
    let read: Vec<String> = tables
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .collect();
    if read.is_empty() {
        return Owner::Unknown;
    }
    let mut rows = read.iter().flat_map(|table| table.lines());
    match rows.find_map(|row| user_of(row, peer, own)) {
        Some(user) if user == rustix::process::geteuid().as_raw() => Owner::Same,
        _ => Owner::Other,
    }
}

/// Finds the owner of the connection from `peer` to `own`, both on this machine.
#[cfg(not(target_os = "linux"))]
pub(crate) fn owner(_: SocketAddr, _: SocketAddr) -> Owner {
    Owner::Unknown
}

/// The user of a row of the table (proc_pid_net(5)): its number, local and remote address, state, two
/// queues, timer, retransmissions, user.
#[cfg(target_os = "linux")]
fn user_of(row: &str, local: SocketAddr, remote: SocketAddr) -> Option<u32> {
    let mut fields = row.split_whitespace().skip(1);
    let is_it = address(fields.next()?)? == local && address(fields.next()?)? == remote;
    is_it.then(|| fields.nth(4)?.parse().ok())?
}

/// An address of the table: words of 32 bits in the order of the machine, then the port.
#[cfg(target_os = "linux")]
fn address(text: &str) -> Option<SocketAddr> {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| -> Option<[u8; 4]> {
        let digits = ip.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    let ip = match ip.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_connection_of_this_user_is_known_and_one_that_is_not_there_is_nobodys() {
        for at in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
            let listener = TcpListener::bind(at).unwrap();
            let mut to = listener.local_addr().unwrap();
            if to.ip().is_unspecified() {
                to.set_ip("127.0.0.1".parse().unwrap());
            }
            let stream = TcpStream::connect(to).unwrap();
            let peer = stream.local_addr().unwrap();
            assert_eq!(owner(peer, to), Owner::Same, "{at}");
            let other = SocketAddr::new(peer.ip(), peer.port() ^ 1);
            assert_eq!(owner(other, to), Owner::Other, "{at}");
        }
    }

    #[test]
    fn rows_are_read_as_the_manual_says() {
        let row = "   1: 0100007F:A2C4 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 3 1";
        let local = "127.0.0.1:41668".parse().unwrap();
        let remote = "127.0.0.1:8080".parse().unwrap();
        assert_eq!(user_of(row, local, remote), Some(1000));
        assert_eq!(user_of(row, remote, local), None);
        for broken in [
            "",
            "1: x:y",
            "1: 0100007F:A2C4",
            "  sl  local_address rem_address   st",
        ] {
            assert_eq!(user_of(broken, local, remote), None);
        }
    }
}
