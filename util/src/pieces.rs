//! Time limits for payloads that follow progress: what is written in pieces may take as long as it
//! takes, as long as each piece is taken in time.
//!
//! A limit for a whole chunk would cut off slow links: a chunk of 2 MiB in 30 s needs 0.56 Mbit/s.
//! With a limit for each of [`PIECE`] bytes every link that carries 9 kB/s is served, and a reader
//! that takes nothing holds its place for [`STALLED`] at most.

use bytes::Bytes;
use std::future::Future;
use std::io;
use std::time::Duration;

/// How long the other side may take for one piece, or for a short message.
pub const STALLED: Duration = Duration::from_secs(30);
/// Bytes of a payload that are written at once.
pub const PIECE: usize = 256 * 1024;

/// Cuts a payload into pieces of [`PIECE`] bytes, the last one shorter. An empty payload has one
/// empty piece, so that what goes with the first piece (a header) is written. Nothing is copied.
pub fn pieces(payload: Bytes) -> impl Iterator<Item = Bytes> + Send {
    let mut rest = Some(payload);
    std::iter::from_fn(move || {
        let mut left = rest.take()?;
        let piece = left.split_to(left.len().min(PIECE));
        if !left.is_empty() {
            rest = Some(left);
        }
        Some(piece)
    })
}

/// Writes one piece, or a short message.
///
/// Errors: those of the writing; [`io::ErrorKind::TimedOut`] when it takes longer than [`STALLED`].
pub async fn in_time(write: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    tokio::time::timeout(STALLED, write)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_up_the_payload() {
        for length in [0, 1, PIECE, PIECE + 1, 3 * PIECE] {
            let payload = Bytes::from((0..length).map(|i| i as u8).collect::<Vec<_>>());
            let all: Vec<Bytes> = pieces(payload.clone()).collect();
            assert_eq!(all.len(), length.div_ceil(PIECE).max(1));
            assert!(all.iter().all(|piece| piece.len() <= PIECE));
            assert_eq!(all.concat(), payload);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_stands_still_ends() {
        assert!(in_time(async { Ok(()) }).await.is_ok());
        let error = in_time(std::future::pending()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
