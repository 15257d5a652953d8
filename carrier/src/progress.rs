//! Counters of the progress of a stream, readable from other tasks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of one stream.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    received: AtomicU64,
    sent: AtomicU64,
}

impl Counted {
    pub(crate) fn receive(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn send(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// The progress of a stream, readable from other tasks.
#[derive(Debug, Clone)]
pub struct Progress {
    counted: Arc<Counted>,
    connection: Option<quinn::Connection>,
}

impl Progress {
    /// Of a stream that is alone on this connection, or on none of QUIC.
    pub(crate) fn new(counted: &Arc<Counted>, connection: Option<&quinn::Connection>) -> Self {
        Self {
            counted: Arc::clone(counted),
            connection: connection.cloned(),
        }
    }

    /// Bytes that have arrived.
    pub fn received(&self) -> u64 {
        self.counted.received.load(Ordering::Relaxed)
    }

    /// Bytes that have left: on QUIC those of the connection without what was lost, on TCP those
    /// that the system has taken.
    pub fn sent(&self) -> u64 {
        match &self.connection {
            Some(connection) => {
                let stats = connection.stats();
                stats.udp_tx.bytes.saturating_sub(stats.path.lost_bytes)
            }
            None => self.counted.sent.load(Ordering::Relaxed),
        }
    }

    /// Packets that have arrived on the connection, acknowledgements included; `None` where there
    /// is no such counter.
    pub fn heard(&self) -> Option<u64> {
        Some(self.connection.as_ref()?.stats().udp_rx.datagrams)
    }

    /// Packets that were sent, and how many of them were lost; `None` where there is no such
    /// counter.
    pub fn losses(&self) -> Option<(u64, u64)> {
        let path = self.connection.as_ref()?.stats().path;
        Some((path.sent_packets, path.lost_packets))
    }
}
