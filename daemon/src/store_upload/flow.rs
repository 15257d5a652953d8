//! How an upload gets on, looked at from beside: when the way to the store carries little or
//! nothing, it is left for the other carrier.

use crate::store_upload::StoreUploadService;
use hither_carrier::{CarrierKind, Link, Paths, Progress, Stream};
use hither_proto::DeviceId;
use hither_swarm::{ANSWERS, UNSEEN, Verdict, Watch};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use tokio::time::{MissedTickBehavior, interval};

/// Nothing is to go or to come.
const QUIET: u8 = 0;
/// Something is being written.
const SENDING: u8 = 1;
/// All was written, and the store is to say that it has it.
const WAITING: u8 = 2;

/// One upload over one carrier.
pub(super) struct Flow {
    paths: Arc<Paths>,
    link: Link,
    via: (DeviceId, CarrierKind),
    state: AtomicU8,
    /// Bytes that the store reported to have.
    stored: AtomicU64,
}

impl Flow {
    pub(super) fn new(service: &StoreUploadService, link: &Link, stream: &Stream) -> Self {
        Self {
            paths: Arc::clone(service.swarm.links().paths()),
            link: link.clone(),
            via: stream.via,
            state: AtomicU8::new(SENDING),
            stored: AtomicU64::new(0),
        }
    }

    /// Something is being written.
    pub(super) fn sends(&self) {
        self.state.store(SENDING, Ordering::Relaxed);
    }

    /// Nothing is written: this device takes its time.
    pub(super) fn rests(&self) {
        self.state.store(QUIET, Ordering::Relaxed);
    }

    /// All was written.
    pub(super) fn waits(&self) {
        self.state.store(WAITING, Ordering::Relaxed);
    }

    /// The store has so many bytes.
    pub(super) fn stored(&self, bytes: u64) {
        self.stored.store(bytes, Ordering::Relaxed);
    }

    /// Returns when the way is to be left.
    pub(super) async fn fails(&self, progress: &Progress) {
        let mut watch = Watch::new(&self.paths, self.via);
        let mut ticks = interval(Watch::LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut before, mut packets) = (QUIET, Packets::of(progress));
        loop {
            ticks.tick().await;
            let state = self.state.load(Ordering::Relaxed);
            if std::mem::replace(&mut before, state) != state && state != SENDING {
                // Something else is counted from now on.
                watch.look(0, false);
                packets = Packets::of(progress);
            }
            // The bytes that TCP has taken prove nothing about those that have arrived.
            let moved = match (state, self.via.1) {
                (WAITING, CarrierKind::Tcp) => self.stored.load(Ordering::Relaxed),
                _ => progress.sent(),
            };
            match watch.look(moved, state != QUIET) {
                Verdict::Stay => {}
                Verdict::Leave => return,
                Verdict::Silent if self.is_dead(progress, packets).await => return,
                Verdict::Silent => packets = Packets::of(progress),
            }
            // Progress shows that the other side is there.
            if state == QUIET || Packets::of(progress).heard > packets.heard {
                packets = Packets::of(progress);
            }
        }
    }

    /// Nothing has moved for a second: does the way still lead to the store?
    async fn is_dead(&self, progress: &Progress, before: Packets) -> bool {
        let (store, carrier) = self.via;
        if carrier == CarrierKind::Quic {
            // Unacknowledged bytes are sent again; when all are acknowledged, the store takes its
            // time.
            let now = Packets::of(progress);
            let dead = now.sent > before.sent && now.heard == before.heard;
            if dead {
                self.paths.stalled(store, carrier);
            }
            return dead;
        }
        match self.link.answers(ANSWERS.max(self.link.rtt() * 4)).await {
            true if progress.sent() < UNSEEN && self.stored.load(Ordering::Relaxed) == 0 => {
                self.paths.shorten(store);
                true
            }
            true => false,
            false => {
                self.paths.stalled(store, carrier);
                true
            }
        }
    }
}

/// Packets of a QUIC connection; of TCP nothing is known.
#[derive(Debug, Clone, Copy)]
struct Packets {
    sent: u64,
    heard: u64,
}

impl Packets {
    fn of(progress: &Progress) -> Self {
        let sent = progress.losses().map_or(0, |(sent, _)| sent);
        Self {
            sent,
            heard: progress.heard().unwrap_or(0),
        }
    }
}
