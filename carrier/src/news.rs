//! Holds what discovery has found and the receiver has not taken yet.
//!
//! The search never waits for the receiver: the mDNS library ends a search that falls behind. So
//! the latest event of a device takes the place of the one before, and there is at most one of each
//! kind for every device.

use crate::sightings::DiscoveryEvent;
use hither_proto::DeviceId;
use std::collections::{HashSet, VecDeque};

/// News in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct News {
    waiting: VecDeque<DiscoveryEvent>,
    /// Devices that the receiver believes to be there.
    believed: HashSet<DeviceId>,
}

impl News {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Adds one, in the place of what it makes pointless.
    pub(crate) fn add(&mut self, event: DiscoveryEvent) {
        self.waiting.retain(|other| !replaces(&event, other));
        // A device that came and went before it was reported was never there.
        if !matches!(event, DiscoveryEvent::Gone { device } if !self.believed.contains(&device)) {
            self.waiting.push_back(event);
        }
    }

    /// Takes the oldest.
    pub(crate) fn take(&mut self) -> Option<DiscoveryEvent> {
        let event = self.waiting.pop_front()?;
        match &event {
            DiscoveryEvent::Seen { device, .. } => drop(self.believed.insert(*device)),
            DiscoveryEvent::Gone { device } => drop(self.believed.remove(device)),
            DiscoveryEvent::Calls { .. } | DiscoveryEvent::Ourselves { .. } => {}
        }
        Some(event)
    }
}

/// Returns whether `new` contains everything of `old`.
fn replaces(new: &DiscoveryEvent, old: &DiscoveryEvent) -> bool {
    use DiscoveryEvent::{Calls, Gone, Ourselves, Seen};
    match (new, old) {
        (
            Seen { device: new, .. } | Gone { device: new },
            Seen { device: old, .. } | Gone { device: old },
        )
        | (Calls { device: new } | Gone { device: new }, Calls { device: old }) => new == old,
        (Ourselves { .. }, Ourselves { .. }) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_word_on_a_device_counts_and_nothing_grows() {
        let [one, other] = [(); 2].map(|()| crate::Identity::generate().unwrap().device_id());
        let seen = |device, port| DiscoveryEvent::Seen {
            device,
            addresses: Vec::new(),
            tcp_port: Some(port),
            nameplates: Vec::new(),
        };
        let (calls, gone) = (
            DiscoveryEvent::Calls { device: one },
            DiscoveryEvent::Gone { device: one },
        );
        let mut news = News::default();
        for port in 1..=100 {
            news.add(seen(one, port));
            news.add(calls.clone());
            news.add(seen(other, 1));
            news.add(DiscoveryEvent::Gone { device: other });
        }
        assert_eq!(news.waiting, [seen(one, 100), calls.clone()]);
        assert_eq!(news.take(), Some(seen(one, 100)));
        news.add(gone.clone());
        assert_eq!((news.take(), news.take()), (Some(gone), None));
        assert!(news.is_empty() && news.believed.is_empty());
    }
}
