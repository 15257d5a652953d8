//! The nodes of the index: the answers of every relay that may know, and the next query to each.

use hither_proto::{DeviceId, RelayAddress, RelayRefusalCode};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Most relays that are queried: those joined, and those of tickets.
pub(super) const MAX_PLACES: usize = 32;
/// First and longest pause after a question that was not answered.
const RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));
/// The pause after an answer, where there is an index and where there is none.
const AGAIN: (Duration, Duration) = (Duration::from_secs(600), Duration::from_secs(300));
/// When a relay that does not know what an index is may have been updated.
const FOREIGN: Duration = Duration::from_secs(3600);
/// The pause before it is queried after one of the index's nodes was not reached.
const DOUBT: Duration = Duration::from_secs(1);

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// It was not reached, or is busy.
    Lost,
    /// It refuses.
    Refused(RelayRefusalCode),
}

#[derive(Debug)]
struct IndexNode {
    relay: RelayAddress,
    nodes: Vec<RelayAddress>,
    /// It is being queried.
    asking: bool,
    ask_at: Instant,
    failures: u32,
}

/// Everything known about where indexes are.
#[derive(Debug, Default)]
pub(super) struct IndexNodes {
    all: HashMap<DeviceId, IndexNode>,
}

impl IndexNodes {
    /// These relays matter now, the first [`MAX_PLACES`] of them.
    pub(super) fn keep(&mut self, relays: &[RelayAddress], now: Instant) {
        let relays = &relays[..relays.len().min(MAX_PLACES)];
        self.all
            .retain(|key, place| place.asking || relays.iter().any(|relay| relay.key == *key));
        for relay in relays {
            let new = || IndexNode {
                relay: relay.clone(),
                nodes: Vec::new(),
                asking: false,
                ask_at: now,
                failures: 0,
            };
            self.all.entry(relay.key).or_insert_with(new).relay = relay.clone();
        }
    }

    /// Relays to be queried now, as far as they `may` be; each must be answered for with
    /// [`answered`](Self::answered).
    pub(super) fn due(
        &mut self,
        now: Instant,
        may: impl Fn(DeviceId) -> bool,
    ) -> Vec<RelayAddress> {
        let due = self
            .all
            .values_mut()
            .filter(|place| !place.asking && place.ask_at <= now && may(place.relay.key));
        due.map(|place| {
            place.asking = true;
            place.relay.clone()
        })
        .collect()
    }

    /// When a relay is due next, of those that `may` be queried.
    pub(super) fn next_due(&self, may: impl Fn(DeviceId) -> bool) -> Option<Instant> {
        let waiting = self
            .all
            .values()
            .filter(|place| !place.asking && may(place.relay.key));
        waiting.map(|place| place.ask_at).min()
    }

    /// Records the answer of a relay.
    pub(super) fn answered(
        &mut self,
        relay: DeviceId,
        answer: Result<Vec<RelayAddress>, Unanswered>,
        now: Instant,
    ) {
        let Some(place) = self.all.get_mut(&relay) else {
            return;
        };
        place.asking = false;
        let pause = match answer {
            Ok(nodes) => {
                place.failures = 0;
                place.nodes = nodes;
                if place.nodes.is_empty() {
                    AGAIN.1
                } else {
                    AGAIN.0
                }
            }
            Err(Unanswered::Refused(RelayRefusalCode::Protocol)) => {
                place.nodes.clear();
                FOREIGN
            }
            Err(Unanswered::Refused(_)) => {
                place.nodes.clear();
                RETRY.1
            }
            // Its earlier answer may still be true.
            Err(Unanswered::Lost) => {
                place.failures += 1;
                RETRY
                    .0
                    .saturating_mul(1 << (place.failures - 1).min(8))
                    .min(RETRY.1)
            }
        };
        place.ask_at = now + pause;
    }

    /// An index node reports the index's new place.
    pub(super) fn moved(&mut self, node: DeviceId, nodes: &[RelayAddress]) {
        for place in self
            .all
            .values_mut()
            .filter(|place| place.nodes.iter().any(|known| known.key == node))
        {
            place.nodes = nodes.to_vec();
        }
    }

    /// A node was not reached: it may be one no more.
    pub(super) fn doubt(&mut self, node: DeviceId, now: Instant) {
        for place in self
            .all
            .values_mut()
            .filter(|place| place.nodes.iter().any(|known| known.key == node))
        {
            if place.failures == 0 {
                place.ask_at = place.ask_at.min(now + DOUBT);
            }
        }
    }

    /// A relay was reached: if it had no answer, it may have one now.
    pub(super) fn reached(&mut self, relay: DeviceId, now: Instant) {
        if let Some(place) = self
            .all
            .get_mut(&relay)
            .filter(|place| place.nodes.is_empty())
        {
            place.ask_at = now;
        }
    }

    /// The index nodes of a relay, as far as known.
    pub(super) fn nodes(&self, relay: DeviceId) -> &[RelayAddress] {
        self.all.get(&relay).map_or(&[], |place| &place.nodes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay() -> RelayAddress {
        let key = hither_carrier::Identity::generate().unwrap().device_id();
        RelayAddress {
            key,
            udp: vec!["192.0.2.1:1".parse().unwrap()],
            tcp: Vec::new(),
        }
    }

    #[test]
    fn a_relay_is_asked_once_at_a_time_and_less_often_when_it_fails() {
        let (mut places, now, one) = (IndexNodes::default(), Instant::now(), relay());
        places.keep(std::slice::from_ref(&one), now);
        assert!(places.due(now, |_| false).is_empty());
        assert_eq!(places.due(now, |_| true), std::slice::from_ref(&one));
        assert!(places.due(now, |_| true).is_empty() && places.next_due(|_| true).is_none());
        let mut pauses = Vec::new();
        let mut at = now;
        for _ in 0..10 {
            places.answered(one.key, Err(Unanswered::Lost), at);
            let next = places.next_due(|_| true).unwrap();
            pauses.push((next - at).as_secs());
            at = next;
            assert_eq!(places.due(at, |_| true).len(), 1);
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        places.answered(
            one.key,
            Err(Unanswered::Refused(RelayRefusalCode::Protocol)),
            at,
        );
        assert_eq!(places.next_due(|_| true), Some(at + FOREIGN));
        places.reached(one.key, at);
        assert_eq!(
            places.due(at, |_| true).len(),
            1,
            "it may be a newer one now"
        );
    }

    #[test]
    fn nodes_move_and_are_doubted_and_what_was_known_outlives_silence() {
        let (mut places, now) = (IndexNodes::default(), Instant::now());
        let (one, two, node, other) = (relay(), relay(), relay(), relay());
        places.keep(&[one.clone(), two.clone()], now);
        places.due(now, |_| true);
        places.answered(one.key, Ok(vec![node.clone()]), now);
        places.answered(two.key, Ok(vec![]), now);
        assert_eq!(places.nodes(one.key), std::slice::from_ref(&node));
        places.doubt(node.key, now);
        assert_eq!(
            places.due(now + DOUBT, |_| true),
            std::slice::from_ref(&one)
        );
        places.answered(one.key, Err(Unanswered::Lost), now);
        assert_eq!(places.nodes(one.key), std::slice::from_ref(&node));
        places.moved(node.key, &[node.clone(), other.clone()]);
        assert_eq!(places.nodes(one.key).len(), 2);
        assert!(places.nodes(two.key).is_empty());
        places.keep(&[two], now);
        assert!(places.nodes(one.key).is_empty());
    }

    #[test]
    fn relays_beyond_the_bound_are_not_asked() {
        let (mut places, now) = (IndexNodes::default(), Instant::now());
        let relays: Vec<_> = (0..MAX_PLACES + 3).map(|_| relay()).collect();
        places.keep(&relays, now);
        assert_eq!(places.due(now, |_| true).len(), MAX_PLACES);
    }
}
