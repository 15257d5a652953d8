//! Circuits that were offered to a device and not taken yet.

use hither_carrier::Stream;
use hither_proto::{CircuitId, DeviceId};
use hither_util::sync::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, MutexGuard};
use tokio::sync::oneshot;

/// Most offers to one device that wait for it. Beyond it whoever asks is told to come again.
const MAX_EACH: usize = 64;

struct WaitingOffer {
    to: DeviceId,
    tell: oneshot::Sender<Box<Stream>>,
}

type OfferTable = HashMap<CircuitId, WaitingOffer>;

/// Offers that wait. Their number is bounded by the places of circuits.
#[derive(Default)]
pub(crate) struct Offers(Arc<Mutex<OfferTable>>);

/// One that waits. It ends when it is dropped.
pub(super) struct Offer {
    pub(super) circuit: Offered,
    /// The device's stream; an error when it was declined.
    pub(super) taken: oneshot::Receiver<Box<Stream>>,
}

/// The place of an offer in the table.
pub(super) struct Offered {
    id: CircuitId,
    table: Arc<Mutex<OfferTable>>,
}

impl Offered {
    pub(super) fn id(&self) -> CircuitId {
        self.id
    }
}

impl Drop for Offered {
    fn drop(&mut self) {
        lock(&self.table).remove(&self.id);
    }
}

impl Offers {
    /// Makes one to a device; `None`: too many wait for it, or there are no random numbers to name
    /// it by.
    pub(super) fn make(&self, to: DeviceId) -> Option<Offer> {
        let mut id = [0; CircuitId::LEN];
        getrandom::fill(&mut id).ok()?;
        let id = CircuitId::new(id);
        let (tell, taken) = oneshot::channel();
        let mut table = lock(&self.0);
        if table.values().filter(|waiting| waiting.to == to).count() >= MAX_EACH {
            return None;
        }
        table.insert(id, WaitingOffer { to, tell });
        Some(Offer {
            circuit: Offered {
                id,
                table: Arc::clone(&self.0),
            },
            taken,
        })
    }

    /// A device takes one with a stream; gives the stream back if it is none of its offers.
    pub(super) fn take(&self, circuit: CircuitId, stream: Stream) -> Result<(), Box<Stream>> {
        let Some(waiting) = self.remove(circuit, &stream.device) else {
            return Err(Box::new(stream));
        };
        waiting.tell.send(Box::new(stream))
    }

    /// A device does not want it.
    pub(crate) fn decline(&self, circuit: CircuitId, device: &DeviceId) {
        drop(self.remove(circuit, device));
    }

    fn remove(&self, circuit: CircuitId, device: &DeviceId) -> Option<WaitingOffer> {
        let mut table = lock(&self.0);
        if table.get(&circuit)?.to != *device {
            return None;
        }
        table.remove(&circuit)
    }
}

fn lock(table: &Mutex<OfferTable>) -> MutexGuard<'_, OfferTable> {
    table.lock()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device() -> DeviceId {
        hither_carrier::Identity::generate().unwrap().device_id()
    }

    #[tokio::test]
    async fn only_its_device_can_decline_an_offer_and_a_dropped_one_leaves_nothing() {
        let (offers, to) = (Offers::default(), device());
        let mut offer = offers.make(to).unwrap();
        offers.decline(offer.circuit.id(), &device());
        assert!(
            offer
                .taken
                .try_recv()
                .is_err_and(|error| error == oneshot::error::TryRecvError::Empty)
        );
        offers.decline(offer.circuit.id(), &to);
        offer.taken.await.unwrap_err();
        let many: Vec<_> = (0..MAX_EACH).map(|_| offers.make(to).unwrap()).collect();
        assert!(offers.make(to).is_none(), "one too many for one device");
        assert!(offers.make(device()).is_some());
        drop(many);
        assert!(lock(&offers.0).is_empty());
    }
}
