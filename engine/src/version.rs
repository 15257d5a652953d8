//! Which version a fetch gets, when it should start over with a newer one, and why it waits when it waits.
//!
//! Invariants: a version is chosen only while a device that is connected shows its head, so that the loop can check it;
//! what a holder merely announces makes no version, or any holder could send every fetch after one that does not exist
//! (the owner may: its device key is the one that signs heads). The same version is never chosen twice in a row.

use crate::command::{Command, Waiting};
use crate::fetch::{Fetch, Phase};
use crate::source::{Session, Source};
use crate::time::Time;
use hither_proto::Space;
use std::time::Duration;

/// How long the first answer of a device other than the owner waits for a newer head from somebody else.
const SETTLE: Duration = Duration::from_millis(300);
/// How long a fetch that resumes waits for a holder of the version it began with.
const SETTLE_RESUMED: Duration = Duration::from_secs(2);

impl Fetch {
    fn connected(&self) -> impl Iterator<Item = &Source> {
        self.sources.values().filter(|s| s.session == Session::Open && !s.banned)
    }

    /// A session was opened by a device that knows this head: the choice is due now, or soon.
    pub(crate) fn head_shown(&mut self, by_owner: bool, head_version: u64, now: Time) {
        if self.version.is_some() {
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

    /// The owner announced this version: it may be the one that a pinned fetch waits for.
    pub(crate) fn version_announced(&mut self, version: u64, now: Time) {
        if self.version.is_none() && self.pin == Some(version) {
            self.decide_at.get_or_insert(now);
        }
    }

    pub(crate) fn decide(&mut self, now: Time, commands: &mut Vec<Command>) {
        if self.decide_at.is_none_or(|at| at > now) {
            return;
        }
        self.decide_at = None;
        if self.offered() {
            return; // What was to be given up is offered again.
        }
        let shown = |version: u64| self.connected().any(|s| s.head_version == version);
        let choice = match (self.pin, self.preferred) {
            (Some(pin), _) => Some(pin).filter(|pin| shown(*pin)),
            (None, Some(preferred)) if shown(preferred) => Some(preferred),
            (None, _) => self.connected().map(|s| s.head_version).max(),
        };
        if let Some(version) = choice.filter(|_| choice != self.version) {
            self.version = Some(version);
            self.phase = Phase::Preparing;
            commands.push(Command::VersionChosen { share: self.share, version });
        }
    }

    /// Whether a connected device, resting or not, has something of what is missing. Who stalled again and again while
    /// asked only says so.
    fn offered(&self) -> bool {
        let (Some(version), Some(space)) = (self.version, self.space()) else { return false };
        let mut serious = self.connected().filter(|s| !s.stalls_again());
        serious.any(|s| s.offers(version, space, self.spans.missing()))
    }

    /// When nobody offers what is missing of the chosen version but somebody has a newer one, start over with that.
    pub(crate) fn reconsider(&mut self, now: Time) {
        let (Some(version), Some(_), None) = (self.version, self.space(), self.pin) else { return };
        if self.decide_at.is_none()
            && self.requests.values().all(|r| self.sources.get(&r.device).is_none_or(Source::stalls_again))
            && self.connected().any(|s| s.head_version > version)
            && !self.offered()
        {
            self.preferred = None;
            self.decide_at = Some(now + SETTLE);
        }
    }

    /// Why nothing comes, when nothing comes.
    pub(crate) fn waiting(&self, now: Time) -> Option<Waiting> {
        if !self.requests.is_empty() || self.phase == Phase::Preparing {
            return None;
        }
        if self.gone {
            return Some(Waiting::Gone);
        }
        if self.connected().next().is_none() {
            let lied = self.sources.values().any(|s| s.banned);
            return Some(if lied { Waiting::Damaged } else { Waiting::NoHolder });
        }
        let undecided = self.version.is_none() && self.decide_at.is_none();
        let nothing = self.version.zip(self.space()).is_some_and(|(version, space)| {
            let gives =
                |s: &Source| s.usable(version, space, now) && s.offers(version, space, self.spans.missing());
            !self.connected().any(gives)
        });
        (undecided || nothing).then_some(Waiting::NotHeld)
    }

    /// What is being got; `None` before and between spaces.
    pub const fn space(&self) -> Option<Space> {
        match self.phase {
            Phase::Fetching(space) => Some(space),
            Phase::Locating | Phase::Preparing => None,
        }
    }
}
