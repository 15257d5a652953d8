//! Which relay to try next. Pure: time and chance are arguments, what is to be done comes out as a
//! [`Step`].
//!
//! One round asks the relay of the URL for a list (assign) and tries the relays of the list, best
//! first, until one holds. When all of them fail, the next round begins after a pause that grows
//! and is jittered, so that the devices of a relay that was restarted do not come back in step. A
//! connection that broke is replaced by another relay of the list at once, unless connections break
//! all the time. While a move is under way the old connection is still held: make before break.

use hither_proto::limits::MAX_RELAYS;
use hither_proto::{DeviceId, RelayAddress};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Pause after the first round that failed; doubles with every further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause between rounds.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A connection that held for so long was a good one: its loss is no reason to wait.
const STABLE: Duration = Duration::from_secs(10);
/// Pause after a refusal that trying again soon does not change (revoked, not registered, another
/// protocol).
const REFUSED_PAUSE: Duration = Duration::from_secs(600);

/// The next step to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Ask this relay which ones to use.
    Assign(RelayAddress),
    /// Connect to this one.
    Try(RelayAddress),
    /// Nothing until then.
    Wait(Instant),
    /// A connection holds.
    Hold,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Assign,
    /// `left` is not empty.
    Try,
    Wait(Instant),
    Hold,
}

/// The selection among the relays of one fleet.
#[derive(Debug)]
pub(crate) struct Select {
    /// The relay of the URL: lists are requested of it.
    entry: RelayAddress,
    /// The latest list, best first; at most [`MAX_RELAYS`].
    list: Vec<RelayAddress>,
    /// The addresses left of it in this round.
    left: VecDeque<RelayAddress>,
    phase: Phase,
    /// The relay that holds, and since when.
    held: Option<(DeviceId, Instant)>,
    /// Rounds that failed, and connections that broke soon, in a row.
    failures: u32,
    /// The pause that a busy relay requested.
    least_pause: Duration,
    /// State of the jitter.
    random: u64,
}

impl Select {
    /// Begins with asking `entry`; `list` is what it said in an earlier life, for when it cannot be
    /// reached.
    pub(crate) fn new(entry: RelayAddress, mut list: Vec<RelayAddress>, seed: u64) -> Self {
        list.truncate(MAX_RELAYS);
        Self {
            entry,
            list,
            left: VecDeque::new(),
            phase: Phase::Assign,
            held: None,
            failures: 0,
            least_pause: Duration::ZERO,
            random: seed | 1,
        }
    }

    /// Returns the step to take now.
    pub(crate) fn step(&self) -> Step {
        match self.phase {
            Phase::Assign => Step::Assign(self.entry.clone()),
            Phase::Try => self
                .left
                .front()
                .map_or(Step::Hold, |relay| Step::Try(relay.clone())),
            Phase::Wait(until) => Step::Wait(until),
            Phase::Hold => Step::Hold,
        }
    }

    /// The latest list.
    pub(crate) fn list(&self) -> &[RelayAddress] {
        &self.list
    }

    /// The answer to an assign. An empty one means the relay that was queried.
    pub(crate) fn assigned(&mut self, mut relays: Vec<RelayAddress>, now: Instant) {
        relays.truncate(MAX_RELAYS);
        if relays.is_empty() {
            relays.push(self.entry.clone());
        }
        self.list = relays;
        self.try_list(None, now);
    }

    /// The assign failed. `answered`: the relay is there, but gave no list; then it is tried
    /// itself.
    pub(crate) fn not_assigned(&mut self, answered: bool, now: Instant) {
        if answered && self.list.is_empty() {
            self.list.push(self.entry.clone());
        }
        // A relay that did not answer just now is not tried again at once.
        let skip = (!answered).then_some(self.entry.key);
        self.try_list(skip, now);
    }

    /// Begins to try the list, but neither `skip` nor the relay that is to be left.
    fn try_list(&mut self, skip: Option<DeviceId>, now: Instant) {
        let held = self.held.map(|(key, _)| key);
        let wanted = |relay: &&RelayAddress| Some(relay.key) != skip && Some(relay.key) != held;
        self.left = self.list.iter().filter(wanted).cloned().collect();
        self.phase = Phase::Try;
        if self.left.is_empty() {
            self.round_failed(now);
        }
    }

    /// The relay that was tried is connected.
    pub(crate) fn connected(&mut self, relay: DeviceId, now: Instant) {
        self.held = Some((relay, now));
        self.left.clear();
        self.least_pause = Duration::ZERO;
        self.phase = Phase::Hold;
    }

    /// The relay that was tried cannot be used now. `retry_after`: what it asked for, zero when it
    /// did not answer.
    pub(crate) fn failed(&mut self, retry_after: Duration, now: Instant) {
        self.least_pause = self.least_pause.max(retry_after);
        self.left.pop_front();
        if self.left.is_empty() {
            self.round_failed(now);
        }
    }

    /// The fleet does not want this device: no other relay of it will.
    pub(crate) fn refused(&mut self, now: Instant) {
        self.left.clear();
        self.phase = Phase::Wait(now + REFUSED_PAUSE);
    }

    fn round_failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        let pause = self.pause();
        self.phase = Phase::Wait(now + pause);
    }

    /// Half of the pause is chance.
    fn pause(&mut self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(16);
        let full = FIRST_PAUSE
            .saturating_mul(1 << doublings)
            .min(LONGEST_PAUSE);
        let least = std::mem::take(&mut self.least_pause);
        (full / 2 + full.mul_f64(self.chance() / 2.0)).max(least)
    }

    /// From 0 to 1 (xorshift64: nothing depends on its quality).
    fn chance(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A pause is over.
    pub(crate) fn waited(&mut self) {
        if matches!(self.phase, Phase::Wait(_)) {
            self.phase = Phase::Assign;
        }
    }

    /// The connection that was held is gone. `silent`: it was found out by waiting, which was pause
    /// enough the first time.
    pub(crate) fn lost(&mut self, silent: bool, now: Instant) {
        let Some((relay, since)) = self.held.take() else {
            return;
        };
        if now.saturating_duration_since(since) >= STABLE {
            self.failures = 0;
        } else {
            self.failures = self.failures.saturating_add(1);
        }
        match self.phase {
            // A move is under way, and goes on.
            Phase::Assign | Phase::Try => {}
            Phase::Wait(_) => self.phase = Phase::Assign,
            Phase::Hold if self.failures > u32::from(silent) => {
                let pause = self.pause();
                self.phase = Phase::Wait(now + pause);
            }
            Phase::Hold => {
                self.left = self
                    .list
                    .iter()
                    .filter(|other| other.key != relay)
                    .cloned()
                    .collect();
                self.phase = if self.left.is_empty() {
                    Phase::Assign
                } else {
                    Phase::Try
                };
            }
        }
    }

    /// The relay asks to go to another one; an empty list means to ask for one. What is held stays
    /// until then.
    pub(crate) fn moved(&mut self, mut relays: Vec<RelayAddress>, now: Instant) {
        relays.truncate(MAX_RELAYS);
        if relays.is_empty() {
            self.phase = Phase::Assign;
        } else {
            self.list = relays;
            self.try_list(None, now);
        }
    }

    /// The network is another one: what failed before may work now. Says whether that changes what
    /// is to be done.
    pub(crate) fn network_changed(&mut self) -> bool {
        self.failures = 0;
        let waiting = matches!(self.phase, Phase::Wait(_));
        self.waited();
        waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_carrier::Identity;

    fn relay(port: u16) -> RelayAddress {
        let key = Identity::generate().unwrap().device_id();
        let at = format!("127.0.0.1:{port}").parse().unwrap();
        RelayAddress {
            key,
            udp: vec![at],
            tcp: Vec::new(),
        }
    }

    /// A selection with a list of three, the first of which is the entry.
    fn three() -> (Select, Vec<RelayAddress>, Instant) {
        let relays: Vec<_> = (1..=3).map(relay).collect();
        (
            Select::new(relays[0].clone(), Vec::new(), 7),
            relays,
            Instant::now(),
        )
    }

    fn pause(select: &Select, now: Instant) -> Duration {
        match select.step() {
            Step::Wait(until) => until - now,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn asks_then_tries_the_list_in_order_until_one_holds() {
        let (mut select, relays, now) = three();
        assert_eq!(select.step(), Step::Assign(relays[0].clone()));
        select.assigned(relays.clone(), now);
        assert_eq!(select.step(), Step::Try(relays[0].clone()));
        select.failed(Duration::ZERO, now);
        assert_eq!(select.step(), Step::Try(relays[1].clone()));
        select.connected(relays[1].key, now);
        assert_eq!(select.step(), Step::Hold);
    }

    #[test]
    fn when_all_fail_it_asks_again_after_growing_jittered_pauses() {
        let (mut select, relays, now) = three();
        let mut full = 1.0;
        for _ in 0..10 {
            assert_eq!(select.step(), Step::Assign(relays[0].clone()));
            select.assigned(relays.clone(), now);
            (0..3).for_each(|_| select.failed(Duration::ZERO, now));
            let seconds = pause(&select, now).as_secs_f64();
            assert!(
                seconds >= full / 2.0 && seconds <= full,
                "{seconds} of {full}"
            );
            full = f64::min(full * 2.0, 60.0);
            select.waited();
        }
        let pauses: Vec<_> = [1, 2, 3]
            .map(|seed| {
                let mut select = Select::new(
                    relays[0].clone(),
                    Vec::new(),
                    u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15),
                );
                select.not_assigned(false, now);
                pause(&select, now)
            })
            .to_vec();
        assert!(
            pauses[0] != pauses[1] && pauses[1] != pauses[2],
            "{pauses:?}"
        );
    }

    #[test]
    fn a_busy_relay_is_left_in_peace_for_as_long_as_it_asked() {
        let (mut select, relays, now) = three();
        select.assigned(vec![relays[0].clone()], now);
        select.failed(Duration::from_secs(300), now);
        assert_eq!(pause(&select, now), Duration::from_secs(300));
        select.waited();
        select.not_assigned(false, now);
        assert!(
            pause(&select, now) < Duration::from_secs(3),
            "it asked once"
        );
    }

    #[test]
    fn without_an_answer_the_list_of_an_earlier_life_is_tried() {
        let (_, relays, now) = three();
        let mut select = Select::new(relays[0].clone(), relays.clone(), 7);
        select.not_assigned(false, now);
        assert_eq!(
            select.step(),
            Step::Try(relays[1].clone()),
            "the one that is silent is left out"
        );
        let mut select = Select::new(relays[0].clone(), Vec::new(), 7);
        select.not_assigned(true, now);
        assert_eq!(
            select.step(),
            Step::Try(relays[0].clone()),
            "a front need not assign"
        );
    }

    #[test]
    fn a_good_connection_that_breaks_is_replaced_at_once_by_another_relay() {
        let (mut select, relays, now) = three();
        select.assigned(relays.clone(), now);
        select.connected(relays[0].key, now);
        select.lost(false, now + STABLE);
        assert_eq!(select.step(), Step::Try(relays[1].clone()));
        select.connected(relays[1].key, now);
        select.lost(false, now + Duration::from_secs(1));
        assert!(
            pause(&select, now + Duration::from_secs(1)) > Duration::ZERO,
            "flapping is slowed down"
        );
    }

    #[test]
    fn a_connection_that_fell_silent_is_replaced_at_once_the_first_time() {
        let (mut select, relays, now) = three();
        select.assigned(relays.clone(), now);
        select.connected(relays[0].key, now);
        select.lost(true, now + Duration::from_secs(2));
        assert_eq!(select.step(), Step::Try(relays[1].clone()));
        select.connected(relays[1].key, now + Duration::from_secs(3));
        select.lost(true, now + Duration::from_secs(5));
        assert!(
            pause(&select, now + Duration::from_secs(5)) > Duration::ZERO,
            "again and again is slowed down"
        );
    }

    #[test]
    fn the_only_relay_is_asked_again_when_its_connection_breaks() {
        let (mut select, relays, now) = three();
        select.assigned(vec![relays[0].clone()], now);
        select.connected(relays[0].key, now);
        select.lost(false, now + STABLE);
        assert_eq!(select.step(), Step::Assign(relays[0].clone()));
    }

    #[test]
    fn a_move_goes_elsewhere_while_the_old_connection_is_held() {
        let (mut select, relays, now) = three();
        select.assigned(relays.clone(), now);
        select.connected(relays[0].key, now);
        select.moved(relays.clone(), now);
        assert_eq!(
            select.step(),
            Step::Try(relays[1].clone()),
            "not to where it is"
        );
        select.lost(false, now + STABLE);
        assert_eq!(
            select.step(),
            Step::Try(relays[1].clone()),
            "the move goes on without the old one"
        );
        select.connected(relays[1].key, now);
        select.moved(Vec::new(), now);
        assert_eq!(select.step(), Step::Assign(relays[0].clone()));
        select.assigned(vec![relays[1].clone()], now);
        assert!(
            pause(&select, now) > Duration::ZERO,
            "nowhere else to go: the old one holds, later again"
        );
        select.lost(false, now + STABLE);
        assert_eq!(select.step(), Step::Assign(relays[0].clone()));
    }

    #[test]
    fn another_network_ends_a_pause() {
        let (mut select, relays, now) = three();
        select.refused(now);
        assert_eq!(pause(&select, now), REFUSED_PAUSE);
        assert!(select.network_changed());
        assert_eq!(select.step(), Step::Assign(relays[0].clone()));
        assert!(!select.network_changed());
    }

    #[test]
    fn lists_are_bounded() {
        let (mut select, relays, now) = three();
        select.assigned(vec![relays[1].clone(); 100], now);
        assert_eq!(select.list().len(), MAX_RELAYS);
        select.assigned(Vec::new(), now);
        assert_eq!(
            select.step(),
            Step::Try(relays[0].clone()),
            "an empty list means the one asked"
        );
    }
}
