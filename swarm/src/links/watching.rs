//! Watching what a way carries, the same for everything that uses one: fetches, uploads, circuits.
//!
//! A connection that is made may carry little, or nothing. The waiting task reports its progress;
//! here it is judged, what is learnt is remembered for this network and remote (`Paths`), and
//! the waiting task gets the verdict to leave it.

use hither_carrier::{CarrierKind, Finding, Gauge, Paths, Progress};
use hither_proto::DeviceId;
use hither_util::sync::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Packets in a second, and how many of a hundred of them are lost, where the line throws away what
/// it does not want to carry.
const TELLING_PACKETS: u64 = 30;
const LOST_PERCENT: u64 = 5;
/// Bytes that the system takes on TCP, at most, before it has to wait for acknowledgements.
pub const UNSEEN: u64 = 512 * 1024;

/// The action to take about a way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Stay,
    /// Nothing has come for a second: find out why.
    Silent,
    /// The other carrier may carry more: go over to it, if it can be had.
    Leave,
}

/// Watches one way.
pub struct Watch {
    paths: Arc<Paths>,
    gauge: Gauge,
    remote: DeviceId,
    carrier: CarrierKind,
}

impl Watch {
    /// How often it wants to look.
    pub const LOOK: Duration = Gauge::LOOK;

    /// Watches a way to a remote over QUIC or TCP.
    pub fn new(paths: &Arc<Paths>, (remote, carrier): (DeviceId, CarrierKind)) -> Self {
        Self {
            paths: Arc::clone(paths),
            gauge: Gauge::default(),
            remote,
            carrier,
        }
    }

    /// A look: bytes that have moved so far, and whether more are expected and nothing here keeps
    /// them from moving.
    pub fn look(&mut self, moved: u64, expected: bool) -> Verdict {
        match self.gauge.look(moved, expected, Instant::now().into_std()) {
            Finding::Nothing => Verdict::Stay,
            Finding::Carries(rate) => {
                self.paths.measured(self.remote, self.carrier, rate);
                Verdict::Stay
            }
            Finding::Little(rate) if self.paths.outdone(self.remote, self.carrier, rate) => {
                Verdict::Leave
            }
            Finding::Little(_) => Verdict::Stay,
            Finding::Silent => {
                self.gauge.begin_anew();
                Verdict::Silent
            }
        }
    }
}

/// The state of this device's writing, for a watcher beside it.
#[derive(Debug, Default)]
pub struct Writing {
    under_way: AtomicBool,
    last: Mutex<Option<Instant>>,
}

impl Writing {
    /// Writes.
    pub(crate) async fn during<T>(&self, write: impl Future<Output = T>) -> T {
        self.under_way.store(true, Ordering::Relaxed);
        let written = write.await;
        self.under_way.store(false, Ordering::Relaxed);
        *self.last.lock() = Some(Instant::now());
        written
    }

    fn is_under_way(&self) -> bool {
        self.under_way.load(Ordering::Relaxed)
    }

    /// How long ago something was written last.
    fn rests_for(&self) -> Option<Duration> {
        self.last.lock().map(|last| last.elapsed())
    }
}

/// The other device gave up a circuit that this one has written to over TCP: when that was a while
/// ago, and all of it may be where the system keeps what is not acknowledged, long packets may be
/// lost, and the next circuit has shorter segments.
pub fn given_up(
    paths: &Paths,
    (remote, carrier): (DeviceId, CarrierKind),
    progress: &Progress,
    writing: &Writing,
) {
    const WHILE: Duration = Duration::from_secs(1);
    let unseen = (1..UNSEEN).contains(&progress.sent());
    if carrier == CarrierKind::Tcp
        && unseen
        && writing.rests_for().is_some_and(|rest| rest >= WHILE)
    {
        paths.shorten(remote);
    }
}

/// Returns when a way over TCP on which this device is `writing` takes nothing for a second, and
/// has taken no more than the system takes unseen: long packets may be lost on it, and the next one
/// has shorter segments; or, where they are as short as they can be, goes over the other carrier if
/// that may carry more. On other ways it never returns.
pub async fn takes_nothing(
    paths: &Paths,
    (remote, carrier): (DeviceId, CarrierKind),
    progress: &Progress,
    writing: &Writing,
) {
    const LOOKS: u32 = 4;
    if carrier != CarrierKind::Tcp {
        return std::future::pending().await;
    }
    let (mut sent, mut same) = (progress.sent(), 0);
    loop {
        sleep(Watch::LOOK).await;
        let now = progress.sent();
        same = if writing.is_under_way() && now == sent {
            same + 1
        } else {
            0
        };
        sent = now;
        if sent >= UNSEEN {
            return std::future::pending().await;
        }
        if same >= LOOKS {
            if paths.shorten(remote) || paths.outdone(remote, carrier, 0.0) {
                return;
            }
            same = 0;
        }
    }
}

/// Returns when a way over TCP on which this device is `writing` takes so little that it is to be
/// left for the other carrier. The other side may be what takes it slowly: then the other carrier
/// is tried in vain, once. On other ways it never returns.
pub async fn takes_little(
    paths: &Arc<Paths>,
    (remote, carrier): (DeviceId, CarrierKind),
    progress: &Progress,
    writing: &Writing,
) {
    if carrier != CarrierKind::Tcp {
        return std::future::pending().await;
    }
    let mut watch = Watch::new(paths, (remote, carrier));
    loop {
        sleep(Watch::LOOK).await;
        // A stall in which nothing at all is taken is no matter of the carrier.
        if watch.look(progress.sent(), writing.is_under_way()) == Verdict::Leave {
            return;
        }
    }
}

/// Returns when a way on which this device sends loses so much, and carries so little, that it is
/// to be left for the other carrier. What is sent slowly because the other side takes it slowly is
/// not lost. For streams that are alone on their QUIC connection; on others it never returns.
pub async fn loses(paths: &Paths, (remote, carrier): (DeviceId, CarrierKind), progress: &Progress) {
    const SPAN: Duration = Duration::from_secs(1);
    let Some((mut packets, mut lost)) = progress.losses() else {
        return std::future::pending().await;
    };
    let mut sent = progress.sent();
    loop {
        sleep(SPAN).await;
        let Some(now) = progress.losses() else { return };
        let (of, gone) = (now.0.saturating_sub(packets), now.1.saturating_sub(lost));
        let carried = progress.sent();
        let rate = carried.saturating_sub(sent) as f64 / SPAN.as_secs_f64();
        ((packets, lost), sent) = (now, carried);
        let loses = of >= TELLING_PACKETS && gone * 100 >= of * LOST_PERCENT;
        if loses && rate < Gauge::LITTLE && paths.outdone(remote, carrier, rate) {
            return;
        }
    }
}
