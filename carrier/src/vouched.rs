//! Devices that the owner of an endpoint vouches for: they have proven to belong here, and keep
//! their places when strangers come in crowds.

use hither_proto::DeviceId;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

/// Most devices that are remembered; beyond it the one that was vouched for longest ago is
/// forgotten.
const MAX_VOUCHED: usize = 65_536;

#[derive(Debug, Default)]
struct Table {
    /// How often each one stands in `order`.
    known: HashMap<DeviceId, u32>,
    /// The latest last; only the last mention of a device counts.
    order: VecDeque<DeviceId>,
}

/// The vouched devices of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Vouched(Mutex<Table>);

impl Vouched {
    /// Vouches for a device, now.
    pub(crate) fn add(&self, device: DeviceId) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if table.order.back() == Some(&device) {
            return;
        }
        *table.known.entry(device).or_default() += 1;
        table.order.push_back(device);
        // Mentions are twice as many as devices at most, so that the queue stays short and
        // forgetting costs little.
        while table.known.len() > MAX_VOUCHED || table.order.len() > 2 * MAX_VOUCHED {
            let Some(oldest) = table.order.pop_front() else {
                break;
            };
            if let Some(mentions) = table.known.get_mut(&oldest) {
                *mentions -= 1;
                if *mentions == 0 {
                    table.known.remove(&oldest);
                }
            }
        }
    }

    /// Returns whether a device is vouched for.
    pub(crate) fn contains(&self, device: &DeviceId) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .known
            .contains_key(device)
    }

    /// Vouches no more: the device was removed or revoked.
    pub(crate) fn remove(&self, device: &DeviceId) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if table.known.remove(device).is_some() {
            table.order.retain(|known| known != device);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;

    #[test]
    fn a_device_is_vouched_for_until_it_is_removed() {
        let (vouched, one) = (
            Vouched::default(),
            Identity::generate().unwrap().device_id(),
        );
        let other = Identity::generate().unwrap().device_id();
        for device in [one, other, one, one] {
            vouched.add(device);
        }
        assert!(vouched.contains(&one) && vouched.contains(&other));
        vouched.remove(&one);
        assert!(!vouched.contains(&one) && vouched.contains(&other));
        assert_eq!(vouched.0.lock().unwrap().order.len(), 1);
    }
}
