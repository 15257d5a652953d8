//! Binding sockets to ports, for IPv6 and IPv4 at once.

use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// The place at which a socket is bound.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Port {
    /// 0: any.
    pub(crate) number: u16,
    /// Fail when it is taken, instead of taking any other.
    pub(crate) exact: bool,
    /// 127.0.0.1 only.
    pub(crate) loopback_only: bool,
}

/// A socket for IPv6 and IPv4, or for IPv4 alone where there is no IPv6, bound to `port`, or to any
/// port if that one is taken. `prepare` is called before it is bound.
pub(crate) fn dual_stack(
    port: Port,
    kind: Type,
    protocol: Protocol,
    prepare: impl Fn(&Socket) -> io::Result<()>,
) -> io::Result<Socket> {
    let bind = |address: SocketAddr| {
        let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.set_nonblocking(true)?;
        prepare(&socket)?;
        socket.bind(&address.into())?;
        Ok(socket)
    };
    let bind_any = |number| {
        if port.loopback_only {
            return bind((Ipv4Addr::LOCALHOST, number).into());
        }
        bind((Ipv6Addr::UNSPECIFIED, number).into()).or_else(|error: io::Error| {
            match error.kind() {
                io::ErrorKind::AddrInUse => Err(error),
                _ => bind((Ipv4Addr::UNSPECIFIED, number).into()),
            }
        })
    };
    let may_be_another = port.number != 0 && !port.exact;
    match bind_any(port.number) {
        Err(error) if may_be_another && error.kind() == io::ErrorKind::AddrInUse => bind_any(0),
        result => result,
    }
}
