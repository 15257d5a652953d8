//! Listeners that hold a bounded number of connections, each for a bounded time, and what is served
//! on them until the end.

use axum::Router;
use axum::serve::Listener;
use std::future::IntoFuture;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// How long what is being answered may go on when the node stops.
const GRACE: Duration = Duration::from_secs(1);

/// A listener that waits for a free place before it accepts, and breaks a connection off after some
/// time, so that silent ones cannot hold the places.
pub(crate) struct Bounded<L> {
    listener: L,
    places: Arc<Semaphore>,
    longest: Duration,
    cut: CancellationToken,
}

impl<L> Bounded<L> {
    /// At most `places` connections, each for at most `longest`.
    pub(crate) fn new(listener: L, places: usize, longest: Duration) -> Self {
        Self {
            listener,
            places: Arc::new(Semaphore::new(places)),
            longest,
            cut: CancellationToken::new(),
        }
    }
}

impl<L: Listener> Bounded<L> {
    /// Answers until `stop`. When this returns there is no connection left: what went on then was
    /// broken off soon.
    pub(crate) async fn serve(self, router: Router, stop: CancellationToken) -> io::Result<()>
    where
        L::Addr: std::fmt::Debug,
    {
        let cut = self.cut.clone();
        let served =
            axum::serve(self, router).with_graceful_shutdown(stop.clone().cancelled_owned());
        let mut served = pin!(served.into_future());
        let patience = async {
            stop.cancelled().await;
            sleep(GRACE).await;
        };
        tokio::select! {
            served = &mut served => return served,
            () = patience => cut.cancel(),
        }
        served.await
    }
}

impl<L: Listener> Listener for Bounded<L> {
    type Io = BoundedIo<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        // The semaphore is never closed; without a permit a connection would just not count.
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        let (io, address) = self.listener.accept().await;
        let cut = Box::pin(self.cut.clone().cancelled_owned());
        (
            BoundedIo {
                io,
                end: Box::pin(sleep(self.longest)),
                cut,
                _place: place,
            },
            address,
        )
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A connection of a [`Bounded`] listener.
pub(crate) struct BoundedIo<T> {
    io: T,
    end: Pin<Box<Sleep>>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl<T> BoundedIo<T> {
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let ended = self.end.as_mut().poll(cx).is_ready() || self.cut.as_mut().poll(cx).is_ready();
        if ended {
            Err(io::ErrorKind::TimedOut.into())
        } else {
            Ok(())
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for BoundedIo<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for BoundedIo<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.io).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
