//! The progress of a fetch, and the reason when it waits.

use super::{Fetch, FetchProgress, Phase};
use crate::command::Waiting;
use crate::journal::Journal;
use crate::map::{FetchView, SourceNow};
use crate::time::Time;
use hither_proto::{DeviceId, Space};

impl Fetch {
    /// The record of the fetch so far.
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Ends the fetch; returns its record.
    pub fn into_journal(self) -> Journal {
        self.journal
    }

    /// The devices and stores that are considered as sources.
    pub fn devices(&self) -> impl Iterator<Item = DeviceId> + '_ {
        self.sources.devices()
    }

    /// Returns whether a version is about to be chosen, or a source that may have a later one is
    /// being connected to.
    pub fn is_choosing(&self) -> bool {
        self.version.is_choosing(&self.sources)
    }

    /// Returns the progress of the fetch.
    pub fn progress(&self, now: Time) -> FetchProgress {
        FetchProgress {
            phase: self.phase,
            waiting: self.waiting(now),
            giving: self.requests.devices().len() as u32,
            missing_bytes: self.spans.missing_bytes(),
            neighbours: self.neighbourhood.neighbours(),
            owner: self.sources.has_owner(),
        }
    }

    /// Returns why nothing comes, when nothing comes.
    fn waiting(&self, now: Time) -> Option<Waiting> {
        if !self.requests.is_empty() || self.phase == Phase::Preparing {
            return None;
        }
        if self.sources.is_ended() {
            return Some(Waiting::Gone);
        }
        if self.sources.connected().next().is_none() {
            let lied = self.sources.iter().any(|s| s.banned);
            return Some(match (lied, self.sources.is_unknown_to_owner()) {
                (true, _) => Waiting::Damaged,
                (false, true) => Waiting::Unknown,
                (false, false) => Waiting::NoHolder,
            });
        }
        let undecided = self.version.chosen().is_none() && self.version.decide_at().is_none();
        let nothing = self.target().is_some_and(|target| {
            let missing = self.spans.missing();
            !self
                .sources
                .connected()
                .any(|s| s.usable(target, now) && s.offers(target, missing))
        });
        if self.selection(now).is_too_dear() {
            return Some(Waiting::TooDear);
        }
        (undecided || nothing).then_some(Waiting::NotHeld)
    }

    /// Returns the fetch as it is now, its data as at most `cells` cells.
    pub fn view(&self, cells: u32, now: Time) -> FetchView {
        let sources = self
            .sources
            .iter()
            .filter(|source| !source.banned || source.is_open());
        let sources = sources.map(|source| SourceNow {
            device: source.device,
            kind: source.kind,
            open: source.is_open(),
            rate: source.recent.rate(self.spending.began(), now),
            rtt: source.distance.rtt,
            price: source.price,
            in_flight: source.carriers.outstanding(),
        });
        // Root and manifest are small, and what there is to get is not known before they are here.
        let data = self.space() == Some(Space::Data) || self.data_done;
        FetchView {
            sources: sources.collect(),
            map: if data {
                let asked = self.requests.asked_spans();
                self.providers.draw(&self.spans, &asked, cells)
            } else {
                Vec::new()
            },
        }
    }
}
