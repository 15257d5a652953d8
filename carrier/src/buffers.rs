//! Sizes of socket buffers.

use socket2::Socket;
use std::io;

/// Wanted receive and send buffer of the UDP socket, bytes. Measured: with the kernel's default of
/// 208 KiB a QUIC receiver on a gigabit-class LAN loses packets at every burst; with 4 MiB it loses
/// none.
pub(crate) const UDP_BUFFER: usize = 4 * 1024 * 1024;

/// Enlarges both buffers as far as the kernel lets us (`net.core.rmem_max`, `wmem_max`; beyond them
/// with the right CAP_NET_ADMIN) and returns what it gave, receive then send, bytes.
pub(crate) fn enlarge(socket: &Socket) -> io::Result<(usize, usize)> {
    socket.set_recv_buffer_size(UDP_BUFFER)?;
    socket.set_send_buffer_size(UDP_BUFFER)?;
    force(socket);
    let given = (socket.recv_buffer_size()?, socket.send_buffer_size()?);
    if given.0 < UDP_BUFFER {
        tracing::info!(
            receive = given.0,
            send = given.1,
            wanted = UDP_BUFFER,
            "small UDP buffers: fast transfers over QUIC will be slower; raise net.core.rmem_max and wmem_max"
        );
    }
    Ok(given)
}

#[cfg(target_os = "linux")]
fn force(socket: &Socket) {
    use rustix::net::sockopt;
    // Without the capability these fail and the sizes above stay.
    let _ = sockopt::set_socket_recv_buffer_size_force(socket, UDP_BUFFER);
    let _ = sockopt::set_socket_send_buffer_size_force(socket, UDP_BUFFER);
}

#[cfg(not(target_os = "linux"))]
fn force(_: &Socket) {}
