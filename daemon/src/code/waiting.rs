//! Streams about codes on which no code was named yet: anybody can open them.

use hither_proto::DeviceId;
use hither_util::sync::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Most of them. Who comes then takes the place of the one that has waited longest, so that nobody
/// keeps others out by being silent.
pub(super) const MAX_WAITING: usize = 16;

/// A stream that waits, with the device that opened it and what ends it.
struct WaitingStream {
    device: DeviceId,
    end: CancellationToken,
}

/// Those that wait, the oldest first. One for each device.
#[derive(Default)]
pub(crate) struct Waiting(Arc<Mutex<VecDeque<WaitingStream>>>);

/// The place of one of them. Dropping it gives it back.
pub(super) struct WaitingPlace {
    table: Arc<Mutex<VecDeque<WaitingStream>>>,
    /// Is cancelled when the place went to somebody else.
    pub(super) taken: CancellationToken,
}

impl Waiting {
    /// A place for a stream of a device; its other one, or the oldest of all, may lose its own.
    pub(super) fn enter(&self, device: DeviceId) -> WaitingPlace {
        let taken = CancellationToken::new();
        let mut table = self.0.lock();
        let same = table.iter().position(|stream| stream.device == device);
        let lost = match same {
            Some(at) => table.remove(at),
            None if table.len() >= MAX_WAITING => table.pop_front(),
            None => None,
        };
        if let Some(lost) = lost {
            lost.end.cancel();
        }
        let end = taken.clone();
        table.push_back(WaitingStream { device, end });
        drop(table);
        WaitingPlace {
            table: Arc::clone(&self.0),
            taken,
        }
    }
}

impl Drop for WaitingPlace {
    fn drop(&mut self) {
        self.taken.cancel();
        self.table
            .lock()
            .retain(|stream| !stream.end.is_cancelled());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_says_nothing_loses_its_place_and_one_device_has_one() {
        let device = || hither_carrier::Identity::generate().unwrap().device_id();
        let waiting = Waiting::default();
        let first = waiting.enter(device());
        let others: Vec<_> = (1..MAX_WAITING).map(|_| waiting.enter(device())).collect();
        assert!(!first.taken.is_cancelled());
        let crowd = device();
        let one = waiting.enter(crowd);
        assert!(first.taken.is_cancelled() && !others[0].taken.is_cancelled());
        let thousand: Vec<_> = (0..1000).map(|_| waiting.enter(crowd)).collect();
        assert!(one.taken.is_cancelled());
        assert!(others.iter().all(|other| !other.taken.is_cancelled()));
        assert_eq!(waiting.0.lock().len(), MAX_WAITING);
        drop((thousand, others, first, one));
        assert!(waiting.0.lock().is_empty());
    }
}
