//! A connection that ends when its other side takes nothing: the measure of [`crate::pieces`], for
//! what is written by others.

use crate::pieces::{PIECE, STALLED};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// A connection whose writes fail when less than a piece is taken in its time.
#[derive(Debug)]
pub struct Patient<T> {
    io: T,
    /// Bytes taken since the time began to run.
    taken: usize,
    /// Runs while something waits to be taken.
    end: Option<Pin<Box<Sleep>>>,
}

impl<T> Patient<T> {
    /// A connection to somebody who may take nothing.
    pub const fn new(io: T) -> Self {
        Self {
            io,
            taken: 0,
            end: None,
        }
    }

    /// Something waits.
    fn wait<R>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<R>> {
        let begun = || Box::pin(sleep_until(Instant::now() + STALLED));
        let end = self.end.get_or_insert_with(begun);
        match end.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }

    fn took(&mut self, bytes: usize) {
        self.taken += bytes;
        if self.taken >= PIECE {
            (self.taken, self.end) = (0, None);
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Patient<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Patient<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.io).poll_write(cx, data) {
            Poll::Ready(written) => {
                self.took(*written.as_ref().unwrap_or(&0));
                Poll::Ready(written)
            }
            Poll::Pending => self.wait(cx),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.io).poll_flush(cx) {
            Poll::Ready(flushed) => {
                (self.taken, self.end) = (0, None);
                Poll::Ready(flushed)
            }
            Poll::Pending => self.wait(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.io).poll_shutdown(cx) {
            Poll::Pending => self.wait(cx),
            ended => ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_left_and_who_takes_slowly_is_served() {
        let (near, mut far) = duplex(1024);
        let mut patient = Patient::new(near);
        let begun = Instant::now();
        let error = patient.write_all(&[1; 4096]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed().as_secs(), STALLED.as_secs());
        drop(patient);
        let mut rest = Vec::new();
        far.read_to_end(&mut rest).await.unwrap();

        let (near, mut far) = duplex(PIECE / 4);
        let mut patient = Patient::new(near);
        let written = tokio::spawn(async move { patient.write_all(&vec![1; 8 * PIECE]).await });
        let mut piece = vec![0; PIECE / 2];
        for _ in 0..16 {
            tokio::time::sleep(Duration::from_secs(10)).await;
            far.read_exact(&mut piece).await.unwrap();
        }
        written.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_now_and_then_is_nothing() {
        let (near, mut far) = duplex(1024);
        let mut patient = Patient::new(near);
        let reader = tokio::spawn(async move {
            while far.read_u8().await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let begun = Instant::now();
        patient.write_all(&[1; 4096]).await.unwrap_err();
        assert_eq!(begun.elapsed().as_secs(), STALLED.as_secs());
        drop(patient);
        reader.await.unwrap();
    }
}
