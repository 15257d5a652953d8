//! A TLS connection that is one stream, used by two halves: what TCP connections and circuits have
//! in common.

use crate::ahead::ReadAhead;
use crate::progress::Counted;
use crate::socket::Socket;
use bytes::Bytes;
use socket2::SockRef;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Bytes read from the socket at once.
pub(crate) const READ_BUFFER: usize = 64 * 1024;
/// Bytes encrypted before they are written to the socket together (rustls' own default is 64 KiB):
/// 256 KiB of payload with what announces it and what TLS adds, so that no few bytes are left over
/// for a write of their own.
const WRITE_BUFFER: usize = 272 * 1024;
/// Longest time, and most bytes, spent on reading what nobody wants before a socket is closed.
const LINGER: (Duration, usize) = (Duration::from_secs(2), 1024 * 1024);

pub(crate) type Io = TlsStream<ReadAhead>;

/// A TLS connection used by two halves. A lock, as in `tokio::io::split`, but with ways to break it
/// off.
pub(crate) struct Duplex {
    io: Mutex<Io>,
    /// The other side's end was read, or the connection was broken off: nothing is left to linger
    /// for.
    drained: AtomicBool,
}

impl Duplex {
    pub(crate) fn new(mut io: Io) -> Self {
        match &mut io {
            TlsStream::Client(io) => io.get_mut().1.set_buffer_limit(Some(WRITE_BUFFER)),
            TlsStream::Server(io) => io.get_mut().1.set_buffer_limit(Some(WRITE_BUFFER)),
        }
        Self {
            io: Mutex::new(io),
            drained: AtomicBool::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Io> {
        self.io.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads more at once from now on: for bulk data.
    pub(crate) fn widen(&self) {
        match &mut *self.lock() {
            TlsStream::Client(io) => io.get_mut().0.widen(READ_BUFFER),
            TlsStream::Server(io) => io.get_mut().0.widen(READ_BUFFER),
        }
    }

    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut *self.lock()).poll_read(cx, buffer);
        let ended = match &result {
            Poll::Ready(Ok(())) => buffer.filled().len() == before && buffer.remaining() > 0,
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        };
        if ended {
            self.drained.store(true, Ordering::Relaxed);
        }
        result
    }

    pub(crate) fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.lock()).poll_write_vectored(cx, pieces)
    }

    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_flush(cx)
    }

    pub(crate) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_shutdown(cx)
    }

    /// Breaks off both ways at once. Without TLS' closing message the other side reads an error,
    /// not an end.
    pub(crate) fn abort(&self) {
        self.drained.store(true, Ordering::Relaxed);
        self.shut(Shutdown::Both);
    }

    /// Breaks off both ways when `evicted` is cancelled, if it still exists then.
    pub(crate) fn abort_when(self: &Arc<Self>, evicted: CancellationToken, tasks: &TaskTracker) {
        let weak = Arc::downgrade(self);
        tasks.spawn(async move {
            evicted.cancelled().await;
            if let Some(duplex) = weak.upgrade() {
                duplex.abort();
            }
        });
    }

    /// The system throws away what it still has to send when this is dropped, and the other side
    /// learns of it at once: behind data that a slow line has queued, an end would arrive seconds
    /// later.
    pub(crate) fn discard(&self) {
        self.drained.store(true, Ordering::Relaxed);
        match &mut *self.lock() {
            TlsStream::Client(io) => io.get_mut().0.socket_mut().discard(),
            TlsStream::Server(io) => io.get_mut().0.socket_mut().discard(),
        }
    }

    /// Breaks off the way there.
    pub(crate) fn cut(&self) {
        self.shut(Shutdown::Write);
    }

    fn shut(&self, how: Shutdown) {
        match &mut *self.lock() {
            TlsStream::Client(io) => io.get_mut().0.socket_mut().shut(how),
            TlsStream::Server(io) => io.get_mut().0.socket_mut().shut(how),
        }
    }
}

impl Drop for Duplex {
    /// Closing a socket with unread data makes the kernel send a reset, which destroys what the
    /// other side has not read yet of our last words. So what still comes is read and thrown
    /// away for a moment. (The stream under a circuit does that itself, if it must.)
    fn drop(&mut self) {
        if *self.drained.get_mut() {
            return;
        }
        let io = self.io.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Socket::Tcp(socket) = io.get_ref().0.socket() else {
            return;
        };
        let socket = SockRef::from(socket).try_clone();
        if let (Ok(socket), Ok(runtime)) = (socket, tokio::runtime::Handle::try_current()) {
            let _ = socket.shutdown(Shutdown::Write);
            runtime.spawn(linger(socket.into()));
        }
    }
}

/// Largest number of pieces given to one vectored write; more are written in turns.
const MAX_PIECES: usize = 8;

/// Writes all of them.
pub(crate) async fn write_pieces(
    duplex: &Duplex,
    pieces: &mut [Bytes],
    counted: &Counted,
) -> io::Result<()> {
    let mut pieces = pieces;
    loop {
        while pieces.first().is_some_and(Bytes::is_empty) {
            pieces = &mut pieces[1..];
        }
        if pieces.is_empty() {
            return Ok(());
        }
        let mut written = {
            let mut slices = [IoSlice::new(&[]); MAX_PIECES];
            let count = pieces.len().min(MAX_PIECES);
            for (slice, piece) in slices.iter_mut().zip(pieces.iter()) {
                *slice = IoSlice::new(piece);
            }
            poll_fn(|cx| duplex.poll_write_vectored(cx, &slices[..count])).await?
        };
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        counted.send(written);
        for piece in pieces.iter_mut() {
            let taken = written.min(piece.len());
            drop(piece.split_to(taken));
            written -= taken;
        }
    }
}

async fn linger(socket: std::net::TcpStream) {
    let Ok(mut socket) = TcpStream::from_std(socket) else {
        return;
    };
    let drain = async {
        let mut waste = [0; 4096];
        let mut left = LINGER.1;
        while let Ok(read @ 1..) = socket.read(&mut waste).await {
            left = left.saturating_sub(read);
            if left == 0 {
                return;
            }
        }
    };
    let _ = timeout(LINGER.0, drain).await;
}
