//! What a TLS connection of one stream runs over: a TCP socket of the system, or a stream through a relay.

use crate::stream::Stream;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes both ways, not encrypted here.
pub(crate) enum Socket {
    /// Of the system.
    Tcp(TcpStream),
    /// A stream to a relay that is joined with one of another device.
    Circuit(Box<Stream>),
}

impl Socket {
    /// This device's end, where that is an address of its own.
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.local_addr().ok(),
            Self::Circuit(_) => None,
        }
    }

    /// Breaks ways off, without a word to the other side.
    pub(crate) fn shut(&mut self, how: Shutdown) {
        match (self, how) {
            // It fails only if it is closed already.
            (Self::Tcp(socket), how) => drop(socket2::SockRef::from(&*socket).shutdown(how)),
            (Self::Circuit(stream), Shutdown::Write) => stream.send.cut(),
            (Self::Circuit(stream), Shutdown::Read) => stream.recv.stop(),
            (Self::Circuit(stream), Shutdown::Both) => {
                stream.send.reset();
                stream.recv.stop();
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_read(cx, into),
            Self::Circuit(stream) => Pin::new(&mut stream.recv).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write(cx, data),
            Self::Circuit(stream) => Pin::new(&mut stream.send).poll_write(cx, data),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write_vectored(cx, pieces),
            Self::Circuit(stream) => Pin::new(&mut stream.send).poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(socket) => socket.is_write_vectored(),
            Self::Circuit(stream) => stream.send.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_flush(cx),
            Self::Circuit(stream) => Pin::new(&mut stream.send).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Circuit(stream) => Pin::new(&mut stream.send).poll_shutdown(cx),
        }
    }
}
