//! How many circuits there may be at a time: in all, at one device, from one address, of guests.

use crate::config::CircuitConfig;
use crate::serve::limits::Source;
use crate::serve::traffic::{Slot, Slots};
use hither_proto::DeviceId;
use std::net::IpAddr;

/// The tables. A circuit that is asked for takes its places before it is offered, so that they
/// bound offers as well.
#[derive(Debug)]
pub(crate) struct Places {
    callers: Slots,
    called: Slots,
    addresses: Slots<Source>,
    guests: Slots,
}

/// The places of one circuit, until it is dropped.
#[derive(Debug)]
pub(crate) struct CircuitPlace {
    _caller: Slot,
    _called: Slot,
    _address: Slot<Source>,
    _guest: Option<Slot>,
}

impl Places {
    pub(crate) fn new(config: &CircuitConfig) -> Self {
        Self {
            callers: Slots::new(config.total, config.device),
            called: Slots::new(config.total, config.device),
            addresses: Slots::new(config.total, config.address),
            guests: Slots::new(config.guest_total, config.guest_device),
        }
    }

    /// Places for a circuit from one device to another; `None`: one of the bounds is reached.
    pub(crate) fn enter(
        &self,
        from: DeviceId,
        to: DeviceId,
        address: IpAddr,
        guest: bool,
    ) -> Option<CircuitPlace> {
        Some(CircuitPlace {
            _guest: if guest {
                Some(self.guests.enter(from)?)
            } else {
                None
            },
            _caller: self.callers.enter(from)?,
            _called: self.called.enter(to)?,
            _address: self.addresses.enter(address.into())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device() -> DeviceId {
        hither_carrier::Identity::generate().unwrap().device_id()
    }

    #[test]
    fn every_bound_is_kept_and_nothing_is_left_of_what_was_refused() {
        let config = CircuitConfig {
            total: 5,
            device: 3,
            address: 4,
            guest_total: 2,
            guest_device: 1,
            ..CircuitConfig::default()
        };
        let places = Places::new(&config);
        let (here, there) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let (one, two, guest) = (device(), device(), device());
        let enter = |from, to, address, guest| places.enter(from, to, address, guest);
        let first: Vec<_> = (0..3)
            .map(|_| enter(one, device(), here, false).unwrap())
            .collect();
        assert!(
            enter(one, device(), there, false).is_none(),
            "a device asks for too many"
        );
        let _fourth = enter(two, device(), here, false).unwrap();
        assert!(
            enter(two, device(), here, false).is_none(),
            "too many from one address"
        );
        let fifth = enter(guest, two, there, true).unwrap();
        assert!(
            enter(guest, two, there, true).is_none(),
            "a guest asks for too many"
        );
        assert!(
            enter(device(), device(), there, false).is_none(),
            "too many in all"
        );
        drop((first, fifth));
        let busy: Vec<_> = (0..3)
            .map(|_| enter(device(), two, there, false).unwrap())
            .collect();
        assert!(
            enter(device(), two, there, false).is_none(),
            "too many to one device"
        );
        drop(busy);
        let _guests = [
            enter(device(), two, there, true).unwrap(),
            enter(guest, two, there, true).unwrap(),
        ];
        assert!(
            enter(device(), two, there, true).is_none(),
            "too many guests"
        );
        assert!(enter(device(), two, there, false).is_some());
    }
}
