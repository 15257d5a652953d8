//! Passing on what two devices say to each other.
//!
//! Each way by itself: its end is passed on as an end, a break as a break, so that cut-off data
//! cannot pass for complete. What is in memory of a way is what was read at once; a device that
//! does not read slows the other one down.

use super::say;
use crate::node::Node;
use crate::serve::limits::Bucket;
use bytes::Bytes;
use hither_carrier::{RecvHalf, SendHalf, Stream};
use hither_proto::CircuitMessage;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

/// Most that is read at once of a way: pieces, and bytes of one piece where they are not packets.
const PIECES: usize = 32;
const PIECE: usize = 64 * 1024;
/// How long one way may still bring its last words when the other one broke.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// What may be passed on at once after a pause where there is a rate, at least.
const LEAST_BURST: f64 = 256.0 * 1024.0;

/// How a way ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// In order.
    Ended,
    /// One of the devices broke it off.
    Broken,
}

/// Tells both devices that they are connected, and passes on what they say until both ways have
/// ended or nothing moves for `circuit.idle`. `rate`: bytes a second each way, 0 for any.
pub(super) async fn join(node: &Node, mut one: Stream, mut two: Stream, rate: u64) {
    if !(say(&mut two, CircuitMessage::Connected).await
        && say(&mut one, CircuitMessage::Connected).await)
    {
        return;
    }
    one.widen();
    two.widen();
    let moved = AtomicU64::new(0);
    let count = |bytes: u64| {
        moved.fetch_add(bytes, Ordering::Relaxed);
        node.metrics.circuit_bytes.add(bytes);
    };
    let there = pass(&mut one.recv, &mut two.send, rate, &count);
    let back = pass(&mut two.recv, &mut one.send, rate, &count);
    let both = async {
        let (mut there, mut back) = (pin!(there), pin!(back));
        let (first, other) = tokio::select! {
            way = &mut there => (way, back),
            way = &mut back => (way, there),
        };
        match first {
            Way::Ended => drop(other.await),
            Way::Broken => drop(timeout(LAST_WORDS, other).await),
        }
    };
    tokio::select! {
        () = both => {}
        () = idle(&moved, node.config.circuit.idle.0) => {
            tracing::debug!("a circuit that carried nothing for too long is ended");
        }
    }
}

/// Returns when nothing has moved for so long.
async fn idle(moved: &AtomicU64, patience: Duration) {
    let mut before = 0;
    loop {
        sleep(patience).await;
        let now = moved.load(Ordering::Relaxed);
        if std::mem::replace(&mut before, now) == now {
            return;
        }
    }
}

async fn pass(from: &mut RecvHalf, to: &mut SendHalf, rate: u64, count: &impl Fn(u64)) -> Way {
    let mut pieces: [Bytes; PIECES] = Default::default();
    let mut bucket = (rate > 0).then(|| {
        let per_second = rate as f64;
        let rate = crate::config::Rate {
            per_second,
            burst: per_second.max(LEAST_BURST),
        };
        Bucket::full(rate, Instant::now())
    });
    loop {
        let read = match from.receive(&mut pieces, PIECE).await {
            Ok(Some(read)) => read,
            Ok(None) => {
                return if to.finish().await.is_ok() {
                    Way::Ended
                } else {
                    Way::Broken
                };
            }
            Err(_) => {
                to.reset();
                return Way::Broken;
            }
        };
        let bytes: usize = pieces[..read].iter().map(Bytes::len).sum();
        while let Some(Err(wait)) = bucket
            .as_mut()
            .map(|bucket| bucket.take(bytes as f64, Instant::now()))
        {
            sleep(wait).await;
        }
        if to.send_all(&mut pieces[..read]).await.is_err() {
            return Way::Broken;
        }
        count(bytes as u64);
    }
}
