//! The distance of a device, and whether it is a neighbour.

use crate::site_id::SiteId;
use std::time::Duration;

/// Round-trip time below which a device is a neighbour (source-selection design, "Words").
const NEAR: Duration = Duration::from_millis(5);
/// The same for a device on a network that this one is on itself: a busy machine answers late, and
/// stays near. With seventeen devices on two cores some handshakes took 160 ms. A single pair that
/// take each other for strangers do not respect each other's claims: the origin gave a third more
/// than the file.
const NEAR_ON_SAME_NETWORK: Duration = Duration::from_millis(500);

/// The distance of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Distance {
    /// Round-trip time of its link.
    pub rtt: Duration,
    /// Its address is on a network that this device is on itself, as the system reports it, not as
    /// others claim.
    pub same_network: bool,
    /// The network that it is on, when that is another one.
    pub site: Option<SiteId>,
    /// It is reached through a relay only: however soon it answers, it is not near.
    pub relayed: bool,
}

impl Distance {
    pub(crate) fn is_near(self) -> bool {
        !self.relayed && (self.rtt < NEAR || (self.same_network && self.rtt < NEAR_ON_SAME_NETWORK))
    }
}

impl From<Duration> for Distance {
    fn from(rtt: Duration) -> Self {
        Self {
            rtt,
            same_network: false,
            site: None,
            relayed: false,
        }
    }
}
