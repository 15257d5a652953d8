//! Reading ahead from a socket, so that TLS, which asks for 4 KiB at a time, costs few calls of the
//! system.

use crate::socket::Socket;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A socket with a buffer in front of its reading side; unlike tokio's it can grow. Writes go
/// through.
pub(crate) struct ReadAhead {
    socket: Socket,
    buffer: Vec<u8>,
    /// The part of the buffer that was read from the socket and not given out: from `start` to
    /// `end`.
    start: usize,
    end: usize,
    /// Length that the buffer is to have the next time it is empty.
    wanted: usize,
}

impl ReadAhead {
    /// Reads at most `ahead` bytes at once.
    pub(crate) fn new(ahead: usize, socket: Socket) -> Self {
        Self {
            socket,
            buffer: vec![0; ahead],
            start: 0,
            end: 0,
            wanted: ahead,
        }
    }

    /// Reads at least `ahead` bytes at once from now on, as far as they are there.
    pub(crate) fn widen(&mut self, ahead: usize) {
        self.wanted = self.wanted.max(ahead);
    }

    /// The socket.
    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// The same, to break it off.
    pub(crate) fn socket_mut(&mut self) -> &mut Socket {
        &mut self.socket
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.buffer.len() < self.wanted {
            self.buffer = vec![0; self.wanted];
        }
        let mut buffer = ReadBuf::new(&mut self.buffer);
        (self.start, self.end) = (0, 0);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buffer))?;
        self.end = buffer.filled().len();
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for ReadAhead {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.start == self.end {
            ready!(self.poll_fill(cx))?;
        }
        let given = into.remaining().min(self.end - self.start);
        into.put_slice(&self.buffer[self.start..self.start + given]);
        self.start += given;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ReadAhead {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn nothing_is_lost_when_it_grows() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let mut here = ReadAhead::new(16, Socket::Tcp(listener.accept().await.unwrap().0));
        let sent: Vec<u8> = (0..5000u32).map(|n| n as u8).collect();
        let (mut from, mut to) = there.into_split();
        to.write_all(&sent).await.unwrap();
        let mut read = vec![0; 5];
        here.read_exact(&mut read).await.unwrap();
        // Some of the narrow buffer is left.
        here.widen(1000);
        here.widen(10);
        assert!(here.start > 0 && here.start < here.end);
        let mut rest = vec![0; sent.len() - read.len()];
        here.read_exact(&mut rest).await.unwrap();
        assert_eq!(here.buffer.len(), 1000);
        assert!([read, rest].concat() == sent);
        drop(to);
        assert_eq!(here.read(&mut [0; 9]).await.unwrap(), 0);
        here.write_all(b"back").await.unwrap();
        here.shutdown().await.unwrap();
        let mut back = Vec::new();
        from.read_to_end(&mut back).await.unwrap();
        assert_eq!(back, b"back");
    }
}
