//! The version that a fetch gets, and when it should start over with a newer one.
//!
//! Invariants: a version is chosen only while a device that is connected shows its head, so that
//! the loop can check it; what a holder merely announces makes no version, or any holder could send
//! every fetch after one that does not exist. The same version is never chosen twice in a row. A
//! version begun is left for a newer one only when nobody offers what is missing of it and somebody
//! has the newer one.

use crate::source::{Session, Source};
use crate::sources::Sources;
use crate::time::Time;
use hither_proto::HolderKind;
use std::time::Duration;

/// How long the first answer of a device other than the owner waits for a newer head from another
/// one.
const SETTLE: Duration = Duration::from_millis(300);
/// How long a fetch that resumes waits for a holder of the version it began with.
const SETTLE_RESUMED: Duration = Duration::from_secs(2);
/// Longest wait of the choice for something newer that is known to exist, or about to: this device
/// has seen its head, or the owner shows an older version than others do. It learns of theirs, and
/// publishes what it has as a later one.
const KNOWN_NEWER: Duration = Duration::from_secs(3);
/// Longest wait for the answer of an owner that a relay reports as present, while it is being
/// connected to: over a relay, from far away, that is some ten round trips.
const OWNER_ONLINE: Duration = Duration::from_secs(4);
/// Longest wait for a store, or for an owner of which nothing is known. One that is off costs no
/// more than that, where its address is still known.
const UNHEARD: Duration = Duration::from_secs(2);

/// The presence of a share's owner, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Presence {
    /// Nothing is known.
    #[default]
    Unknown,
    /// A relay reports it as present.
    Online,
    /// A relay reports it as absent.
    Offline,
}

/// The choice of the version that a fetch gets.
#[derive(Debug)]
pub(crate) struct VersionChoice {
    /// The only acceptable version, if there is one.
    pin: Option<u64>,
    /// The version that a resumed fetch would like to go on with.
    preferred: Option<u64>,
    chosen: Option<u64>,
    /// When a version is to be chosen.
    decide_at: Option<Time>,
    /// The latest version whose head this device has seen at any time; 0 when it has seen none.
    known: u64,
    /// The presence of the owner.
    owner: Presence,
    /// Since when the choice waits for something newer; set once.
    put_off_since: Option<Time>,
}

impl VersionChoice {
    /// No version yet: `pin` is the only acceptable one, `preferred` the one that was begun.
    pub const fn new(pin: Option<u64>, preferred: Option<u64>) -> Self {
        Self {
            pin,
            preferred,
            chosen: None,
            decide_at: None,
            known: 0,
            owner: Presence::Unknown,
            put_off_since: None,
        }
    }

    /// The version that was chosen.
    pub const fn chosen(&self) -> Option<u64> {
        self.chosen
    }

    /// When a version is to be chosen.
    pub const fn decide_at(&self) -> Option<Time> {
        self.decide_at
    }

    /// Notes that this device has seen the head of a version at some time.
    pub fn set_known(&mut self, version: u64) {
        self.known = self.known.max(version);
    }

    /// Notes whether the owner is there.
    pub const fn set_owner_presence(&mut self, presence: Presence) {
        self.owner = presence;
    }

    /// Chooses a version that the loop has planned.
    pub const fn planned(&mut self, version: u64) {
        self.chosen = Some(version);
        self.decide_at = None;
    }

    /// Notes that a device that is connected shows this head: the choice is due now, or soon.
    pub fn head_shown(&mut self, by_owner: bool, head_version: u64, now: Time) {
        if self.chosen.is_some() || head_version == 0 {
            return;
        }
        let settle = match self.preferred {
            Some(preferred) if preferred != head_version => SETTLE_RESUMED,
            _ if by_owner => Duration::ZERO,
            _ => SETTLE,
        };
        let at = now + settle;
        self.decide_at = Some(self.decide_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Returns whether a version is to be chosen now, once.
    pub fn take_due(&mut self, now: Time) -> bool {
        self.decide_at.take_if(|at| *at <= now).is_some()
    }

    /// Returns the version that is chosen now, if it is another one than before.
    pub fn decide(&mut self, sources: &Sources, now: Time) -> Option<u64> {
        let shown = |version: u64| sources.connected().any(|s| s.head_version == version);
        let choice = match (self.pin, self.preferred) {
            (Some(pin), _) => Some(pin).filter(|pin| shown(*pin)),
            (None, Some(preferred)) if shown(preferred) => Some(preferred),
            (None, _) => sources
                .connected()
                .map(|s| s.head_version)
                .max()
                .filter(|version| *version > 0),
        };
        if let Some(until) = choice.and_then(|choice| self.newer_may_come(choice, sources, now)) {
            self.decide_at = Some(until);
            return None;
        }
        let version = choice.filter(|_| choice != self.chosen)?;
        self.chosen = Some(version);
        Some(version)
    }

    /// Returns until when the choice of this version waits, because there may be a newer one:
    /// counted from when it was first put off, so that nothing is waited for twice.
    fn newer_may_come(&mut self, version: u64, sources: &Sources, now: Time) -> Option<Time> {
        if self.pin.is_some() {
            return None;
        }
        let behind = sources
            .connected()
            .any(|s| sources.is_owner(s.device) && s.head_version < version);
        let patience = if behind || self.known > version {
            // The version that was begun is not worth going on with.
            self.preferred = None;
            KNOWN_NEWER
        } else if self.preferred == Some(version) {
            return None;
        } else {
            self.unheard(sources)?
        };
        let until = *self.put_off_since.get_or_insert(now) + patience;
        Some(until).filter(|until| *until > now)
    }

    /// Returns how long the choice waits for a source that is being connected to, so that its
    /// version is not known; `None`: no source is.
    fn unheard(&self, sources: &Sources) -> Option<Duration> {
        let patience = |s: &Source| match (sources.is_owner(s.device), self.owner) {
            (true, Presence::Online) => Some(OWNER_ONLINE),
            (true, Presence::Unknown) => Some(UNHEARD),
            (true, Presence::Offline) => None,
            (false, _) => (s.kind == HolderKind::Store).then_some(UNHEARD),
        };
        sources
            .iter()
            .filter(|s| s.session == Session::Opening)
            .filter_map(patience)
            .max()
    }

    /// Returns whether a version is about to be chosen, or a source that may have a later one is
    /// being connected to.
    pub fn is_choosing(&self, sources: &Sources) -> bool {
        self.chosen.is_none() && (self.decide_at.is_some() || self.unheard(sources).is_some())
    }

    /// Notes that a session that the choice may wait for has failed: it is looked at again soon.
    pub fn no_answer(&mut self, now: Time) {
        if self.put_off_since.is_some() {
            self.decide_at = self.decide_at.map(|at| at.min(now + SETTLE));
        }
    }

    /// Returns whether a version was chosen and may be left for a newer one that a connected
    /// device has.
    pub fn may_restart(&self, sources: &Sources) -> bool {
        let newer = |version| sources.connected().any(|s| s.has_newer_than(version));
        self.pin.is_none() && self.decide_at.is_none() && self.chosen.is_some_and(newer)
    }

    /// Chooses again soon.
    pub fn restart(&mut self, now: Time) {
        self.preferred = None;
        self.decide_at = Some(now + SETTLE);
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::device;
    use crate::{Command, Engine, EngineConfig, Plan, RequestId, Time};
    use hither_proto::{Announcement, DeviceId, Ranges, ShareId, ShareSecret, Space};
    use std::time::Duration;

    const OWNER: u8 = 1;
    const OTHER: u8 = 2;

    /// A fetch of version 1 that both devices have, connected to both.
    struct Table {
        engine: Engine,
        share: ShareId,
        now: Time,
        /// Requests that nobody has answered.
        asked: Vec<(DeviceId, RequestId)>,
    }

    impl Table {
        fn new() -> Self {
            let share = ShareSecret::new([1; 16]).share_id();
            let mut engine = Engine::new(EngineConfig::new(device(0)));
            let now = Time::default();
            engine.start_fetch(share, device(OWNER), None, None);
            for who in [OWNER, OTHER].map(device) {
                engine.handle_device_seen(share, who, now);
                engine.handle_session_opened(share, who, 1, Duration::from_millis(1), now);
            }
            let mut table = Self {
                engine,
                share,
                now,
                asked: Vec::new(),
            };
            table.says(OWNER, 1, 1, true);
            table.says(OTHER, 1, 1, true);
            assert_eq!(table.chosen(), Some(1));
            let wanted = std::iter::once(0).collect();
            let plan = Plan {
                version: 1,
                space: Space::Root,
                lengths: vec![300],
                wanted,
            };
            table.engine.plan(share, plan, now);
            table
        }

        /// A device announces a version that it has whole or not at all, and sends nothing that it
        /// was asked for before.
        fn says(&mut self, who: u8, version: u64, seq: u64, has_manifest: bool) {
            for (device, request) in self.asked.extract_if(.., |(of, _)| *of == device(who)) {
                self.engine
                    .handle_served(self.share, device, request, self.now);
            }
            let held = Ranges::default();
            let said = Announcement {
                version,
                epoch: version,
                seq,
                complete: has_manifest,
                held,
                has_manifest,
            };
            self.engine
                .handle_announced(self.share, device(who), said, self.now);
        }

        fn shows(&mut self, who: DeviceId, version: u64) {
            self.engine.handle_head(self.share, who, version, self.now);
        }

        /// The version chosen within a few seconds.
        fn chosen(&mut self) -> Option<u64> {
            let mut chosen = None;
            for _ in 0..50 {
                self.now = self.now + Duration::from_millis(100);
                self.engine.handle_timeout(self.now);
                while let Some(command) = self.engine.poll_command() {
                    match command {
                        Command::VersionChosen { version, .. } => chosen = Some(version),
                        Command::Want {
                            device, request, ..
                        } => self.asked.push((device, request)),
                        _ => {}
                    }
                }
            }
            chosen
        }
    }

    #[test]
    fn a_newer_version_is_taken_when_the_one_begun_is_gone_whoever_shows_its_head() {
        for who in [OWNER, OTHER] {
            let mut table = Table::new();
            table.shows(device(who), 2);
            table.says(who, 2, 1, true);
            assert_eq!(
                table.chosen(),
                None,
                "the other device still has what was begun"
            );
            table.says(OWNER + OTHER - who, 1, 2, false);
            assert_eq!(table.chosen(), Some(2), "shown by {who}");
        }
    }

    #[test]
    fn a_word_alone_makes_no_version_and_a_head_alone_no_holder() {
        let mut table = Table::new();
        table.says(OTHER, 1, 2, false);
        table.says(OWNER, 2, 1, true);
        assert_eq!(
            table.chosen(),
            None,
            "nobody has shown a head of what is announced"
        );
        table.shows(device(OTHER), 2);
        assert_eq!(table.chosen(), None, "who shows the head does not have it");
        table.shows(device(OWNER), 2);
        assert_eq!(table.chosen(), Some(2));
    }

    #[test]
    fn an_owner_that_others_are_ahead_of_is_waited_for_and_the_fetch_goes_on_without_it() {
        for answers in [true, false] {
            let share = ShareSecret::new([1; 16]).share_id();
            let mut engine = Engine::new(EngineConfig::new(device(0)));
            let now = Time::default();
            engine.start_fetch(share, device(OWNER), None, None);
            for who in [OWNER, OTHER].map(device) {
                engine.handle_device_seen(share, who, now);
            }
            engine.handle_session_opened(share, device(OTHER), 3, Duration::from_millis(1), now);
            engine.handle_session_opened(share, device(OWNER), 2, Duration::from_millis(1), now);
            let mut table = Table {
                engine,
                share,
                now,
                asked: Vec::new(),
            };
            for _ in 0..10 {
                table.now = table.now + Duration::from_millis(100);
                table.engine.handle_timeout(table.now);
                table.shows(device(OTHER), 3);
                while let Some(command) = table.engine.poll_command() {
                    assert!(
                        !matches!(command, Command::VersionChosen { .. }),
                        "too early"
                    );
                }
            }
            if answers {
                table.shows(device(OWNER), 4);
            }
            assert_eq!(table.chosen(), Some(if answers { 4 } else { 3 }));
        }
    }

    #[test]
    fn a_head_heard_while_a_version_is_being_chosen_counts() {
        let share = ShareSecret::new([1; 16]).share_id();
        let mut engine = Engine::new(EngineConfig::new(device(0)));
        let now = Time::default();
        engine.start_fetch(share, device(OWNER), None, None);
        engine.handle_device_seen(share, device(OTHER), now);
        engine.handle_session_opened(share, device(OTHER), 1, Duration::from_millis(1), now);
        let mut table = Table {
            engine,
            share,
            now,
            asked: Vec::new(),
        };
        table.shows(device(OTHER), 2);
        assert_eq!(table.chosen(), Some(2));
    }

    /// A fetch whose other device shows version 1, while the owner, and so whatever is newer, has
    /// not answered yet.
    fn unheard(known: u64, is_seen: bool) -> Table {
        let share = ShareSecret::new([1; 16]).share_id();
        let mut engine = Engine::new(EngineConfig::new(device(0)));
        let now = Time::default();
        engine.start_fetch(share, device(OWNER), None, None);
        engine.set_known_version(share, known, now);
        for who in [OTHER, OWNER].into_iter().take(1 + usize::from(is_seen)) {
            engine.handle_device_seen(share, device(who), now);
        }
        engine.handle_session_opened(share, device(OTHER), 1, Duration::from_millis(1), now);
        Table {
            engine,
            share,
            now,
            asked: Vec::new(),
        }
    }

    /// Returns when a version is chosen, in tenths of a second, and which.
    fn chosen_after(table: &mut Table, mut tenth: impl FnMut(&mut Table, u32)) -> (u32, u64) {
        for tenths in 0..50 {
            tenth(table, tenths);
            table.now = table.now + Duration::from_millis(100);
            table.engine.handle_timeout(table.now);
            while let Some(command) = table.engine.poll_command() {
                if let Command::VersionChosen { version, .. } = command {
                    return (tenths + 1, version);
                }
            }
        }
        panic!("nothing was chosen");
    }

    #[test]
    fn who_answers_first_waits_for_an_owner_that_is_being_connected_to() {
        let opens = |table: &mut Table, tenths| {
            if tenths == 10 {
                let near = Duration::from_millis(1);
                table
                    .engine
                    .handle_session_opened(table.share, device(OWNER), 2, near, table.now);
            }
        };
        assert_eq!(
            chosen_after(&mut unheard(0, true), opens),
            (11, 2),
            "its answer counts at once"
        );
        let fails = |table: &mut Table, tenths| {
            if tenths == 4 {
                table
                    .engine
                    .handle_session_failed(table.share, device(OWNER), table.now);
            }
        };
        assert_eq!(
            chosen_after(&mut unheard(0, true), fails),
            (7, 1),
            "it cannot be reached"
        );
        let silence = |_: &mut Table, _| {};
        let (tenths, version) = chosen_after(&mut unheard(0, true), silence);
        assert_eq!(
            (tenths > 20, tenths < 25, version),
            (true, true, 1),
            "it says nothing: {tenths}"
        );
        assert_eq!(
            chosen_after(&mut unheard(0, false), silence),
            (3, 1),
            "nobody is being connected to"
        );
    }

    #[test]
    fn a_version_older_than_one_that_is_known_is_taken_only_when_nobody_shows_that_one() {
        let silence = |_: &mut Table, _| {};
        let (tenths, version) = chosen_after(&mut unheard(2, false), silence);
        assert_eq!(
            (tenths > 30, tenths < 35, version),
            (true, true, 1),
            "{tenths}"
        );
        let shows = |table: &mut Table, tenths| {
            if tenths == 10 {
                table.shows(device(OTHER), 2);
            }
        };
        let (tenths, version) = chosen_after(&mut unheard(2, false), shows);
        assert_eq!((tenths < 15, version), (true, 2), "{tenths}");
        assert_eq!(
            chosen_after(&mut unheard(1, false), silence),
            (3, 1),
            "it is the one that is known"
        );
    }
}
