//! Other networks. Devices that reach this one over a link which all of them share count as one
//! source together (source-selection design, "Words"): asked as if each had a link of its own, they
//! would fill it with more than it can bring in time, and all of it would come late.

use crate::carrier_choice::Carrier;
use crate::facts::{WINDOW, WINDOW_SLACK};
use crate::fetch::Fetch;
use crate::policy::SourceFacts;
use crate::rate::RateEstimator;
use crate::source::Source;
use crate::spans::SPAN_BYTES;
use crate::time::Time;
use hither_proto::{DeviceId, claim_weight};
use std::time::Duration;

/// A network that is not this device's own; numbered by the loop, by what it sees of addresses.
/// Only a hint: whoever is counted to the wrong one is asked for less at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteId(pub u64);

/// Longer than this a span should not be under way when nothing but it is (source-selection design,
/// rule 5).
const LONG: Duration = Duration::from_millis(1500);

/// What comes from one site.
#[derive(Debug, Default)]
pub(crate) struct Site {
    rate: RateEstimator,
    outstanding: u64,
}

impl Site {
    pub(crate) fn asked(&mut self, bytes: u64, now: Time) {
        if self.outstanding == 0 {
            self.rate.busy(now);
        }
        self.outstanding += bytes;
    }

    fn arrived(&mut self, bytes: u64, now: Time) {
        self.rate.arrived(bytes, now);
        self.settled(bytes, now);
    }

    pub(crate) fn settled(&mut self, bytes: u64, now: Time) {
        self.outstanding = self.outstanding.saturating_sub(bytes);
        if self.outstanding == 0 {
            self.rate.idle(now);
        }
    }

    /// Most bytes in flight from all of it: one span until it was measured, and where one takes
    /// long; else what its link holds.
    fn window(&self, rtt: Duration) -> u64 {
        let Some(rate) = self.rate.measured() else {
            return SPAN_BYTES;
        };
        let least = if SPAN_BYTES as f64 / rate.max(1.0) > LONG.as_secs_f64() {
            SPAN_BYTES
        } else {
            WINDOW.0
        };
        ((rate * (rtt + WINDOW_SLACK).as_secs_f64()) as u64).clamp(least, WINDOW.1)
    }
}

impl Fetch {
    /// So many bytes were asked of a source.
    pub(crate) fn asked_of(&mut self, device: DeviceId, carrier: Carrier, bytes: u64, now: Time) {
        let Some(source) = self.sources.get_mut(&device) else {
            return;
        };
        source.carriers.asked(carrier, bytes, now);
        if let Some(site) = source.site() {
            self.sites.entry(site).or_default().asked(bytes, now);
        }
    }

    /// So many of them came.
    pub(crate) fn arrived_from(
        &mut self,
        device: DeviceId,
        carrier: Carrier,
        bytes: u64,
        now: Time,
    ) {
        let Some(source) = self.sources.get_mut(&device) else {
            return;
        };
        source.carriers.arrived(carrier, bytes, now);
        if let Some(site) = source.site().and_then(|site| self.sites.get_mut(&site)) {
            site.arrived(bytes, now);
        }
    }

    /// So many of them will not come.
    pub(crate) fn given_up_on(
        &mut self,
        device: DeviceId,
        carrier: Carrier,
        bytes: u64,
        now: Time,
    ) {
        let Some(source) = self.sources.get_mut(&device) else {
            return;
        };
        source.carriers.given_up(carrier, bytes, now);
        if let Some(site) = source.site().and_then(|site| self.sites.get_mut(&site)) {
            site.settled(bytes, now);
        }
    }

    /// Whether this device is the one of its neighbourhood that takes first copies from a source's site.
    /// One device fills a thin link as well as all of them would, and knows how fast it is.
    pub(crate) fn is_gateway_to(&self, source: &Source) -> bool {
        let Some(SiteId(site)) = source.site() else {
            return true;
        };
        let place = (site ^ (site >> 32)) as u32;
        let weight = |device: DeviceId| claim_weight(device, self.share, place);
        let mine = weight(self.device);
        self.neighbourhood
            .members
            .iter()
            .all(|member| weight(*member) < mine)
    }

    /// A source as the policy sees it: what its site does counts, and so does what sources that
    /// cost less give.
    pub(crate) fn facts_of(&self, source: &Source, now: Time) -> SourceFacts {
        let facts = self.facts_at_its_site(source, now);
        // What is asked of one carrier does not keep another one from its trial.
        let trial = if source.carriers.waits_on_trial(now) {
            SPAN_BYTES
        } else {
            0
        };
        SourceFacts {
            room: facts.room.max(trial),
            ..facts
        }
    }

    fn facts_at_its_site(&self, source: &Source, now: Time) -> SourceFacts {
        let facts = self.priced(source.facts(now));
        let Some(id) = source.site() else {
            return facts;
        };
        let facts = SourceFacts {
            site: Some(id),
            ..facts
        };
        let Some(site) = self.sites.get(&id) else {
            return facts;
        };
        let room = site
            .window(facts.rtt)
            .saturating_sub(site.outstanding)
            .min(facts.room);
        let outstanding = site.outstanding.max(facts.outstanding);
        match site.rate.measured() {
            // What it brings, it brings to all who ask there: this device's part of its link is not
            // its devices' sum.
            Some(rate) => SourceFacts {
                rate,
                outstanding,
                room,
                ..facts
            },
            None => SourceFacts {
                outstanding,
                room,
                ..facts
            },
        }
    }
}
