//! The transport of a TLS connection of one stream: a TCP socket of the system, a stream through a
//! relay, or a pipe.

use crate::pipe::PipeIo;
use crate::stream::{RecvHalf, SendHalf, Stream};
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes both ways, not encrypted here.
pub(crate) enum Socket {
    /// Of the system.
    Tcp(TcpStream),
    /// A stream to a relay that is joined with one of another device.
    Circuit(End),
    /// Bytes that something else carries; `None`: it was broken off.
    Pipe(Option<Box<dyn PipeIo>>),
}

/// A pipe, unless it was broken off.
fn pipe(pipe: &mut Option<Box<dyn PipeIo>>) -> io::Result<Pin<&mut dyn PipeIo>> {
    match pipe {
        Some(pipe) => Ok(Pin::new(pipe.as_mut())),
        None => Err(io::ErrorKind::NotConnected.into()),
    }
}

/// This device's end of a circuit. When it is dropped, the connection beneath is closed: it was for
/// this stream alone.
pub(crate) struct End {
    /// There until the drop.
    stream: Option<Box<Stream>>,
    /// This side has finished sending.
    finished: bool,
}

impl End {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream: Some(Box::new(stream)),
            finished: false,
        }
    }

    fn stream(&mut self) -> io::Result<&mut Stream> {
        self.stream
            .as_deref_mut()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn recv(&mut self) -> io::Result<Pin<&mut RecvHalf>> {
        Ok(Pin::new(&mut self.stream()?.recv))
    }

    fn send(&mut self) -> io::Result<Pin<&mut SendHalf>> {
        Ok(Pin::new(&mut self.stream()?.send))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let Some(stream) = self.stream.take() else {
            return;
        };
        match (self.finished, tokio::runtime::Handle::try_current()) {
            (true, Ok(runtime)) => drop(runtime.spawn((*stream).part(LAST_WORDS))),
            // Data that is still on its way here is not wanted any more.
            _ => (*stream).abandon(),
        }
    }
}

/// Longest time in which the last data of a circuit may arrive.
const LAST_WORDS: Duration = Duration::from_secs(5);

impl Socket {
    /// This device's end, where that is an address of its own.
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.local_addr().ok(),
            Self::Circuit(_) | Self::Pipe(_) => None,
        }
    }

    /// Has the system throw away what it still has to send, when this is closed.
    pub(crate) fn discard(&self) {
        if let Self::Tcp(socket) = self {
            // It fails only if it is closed already.
            let _ = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
        }
    }

    /// Breaks ways off, without notice to the other side.
    pub(crate) fn shut(&mut self, how: Shutdown) {
        match (self, how) {
            // It fails only if it is closed already.
            (Self::Tcp(socket), how) => drop(socket2::SockRef::from(&*socket).shutdown(how)),
            // It has no ways that could be broken off one by one.
            (Self::Pipe(pipe), Shutdown::Write | Shutdown::Both) => drop(pipe.take()),
            (Self::Pipe(_), Shutdown::Read) => {}
            (Self::Circuit(end), how) => {
                let Ok(stream) = end.stream() else { return };
                match how {
                    Shutdown::Write => stream.send.cut(),
                    Shutdown::Read => stream.recv.stop(),
                    Shutdown::Both => {
                        stream.send.reset();
                        stream.recv.stop();
                    }
                }
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
            Self::Circuit(end) => end.recv()?.poll_read(cx, into),
            Self::Pipe(io) => pipe(io)?.poll_read(cx, into),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write(cx, data),
            Self::Circuit(end) => end.send()?.poll_write(cx, data),
            Self::Pipe(io) => pipe(io)?.poll_write(cx, data),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write_vectored(cx, pieces),
            Self::Circuit(end) => end.send()?.poll_write_vectored(cx, pieces),
            Self::Pipe(io) => pipe(io)?.poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(socket) => socket.is_write_vectored(),
            // See `SendHalf`.
            Self::Circuit(_) => true,
            Self::Pipe(io) => io.as_ref().is_some_and(|io| io.is_write_vectored()),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_flush(cx),
            Self::Circuit(end) => end.send()?.poll_flush(cx),
            Self::Pipe(io) => pipe(io)?.poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Circuit(end) => {
                end.finished = true;
                end.send()?.poll_shutdown(cx)
            }
            // The way back is still open: TLS has said its last word, and the drop ends the pipe.
            Self::Pipe(io) => pipe(io)?.poll_flush(cx),
        }
    }
}
