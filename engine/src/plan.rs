//! What there is to get of one space of a version, as the loop tells it.

use crate::command::Command;
use crate::fetch::{Fetch, Phase};
use crate::map::Providers;
use crate::spans::SpanTable;
use crate::time::Time;
use hither_proto::Space;
use roaring::RoaringBitmap;

/// What there is to get.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The version that it belongs to; becomes the version of the fetch.
    pub version: u64,
    /// What the positions count.
    pub space: Space,
    /// Plaintext length of every position, bytes.
    pub lengths: Vec<u32>,
    /// The positions that are to be fetched; the others are here, or come with one that is
    /// fetched.
    pub wanted: RoaringBitmap,
}

impl Fetch {
    /// Begins a space; what was asked for before means nothing any more.
    pub fn plan(&mut self, plan: Plan, now: Time, commands: &mut Vec<Command>) {
        for (id, request) in std::mem::take(&mut self.requests) {
            commands.push(Command::Cancel {
                share: self.share,
                device: request.device,
                request: id,
            });
            self.settle_bytes(request.device, request.carrier, &request.awaited, now);
        }
        self.sources
            .values_mut()
            .for_each(|source| source.requests = 0);
        self.version = Some(plan.version);
        self.decide_at = None;
        self.moved.clear();
        self.spans = SpanTable::new(plan.lengths, plan.wanted);
        self.providers = if plan.space == Space::Data {
            Providers::new(self.spans.len())
        } else {
            Providers::default()
        };
        self.places = None;
        self.neighbourhood.reset(now);
        self.data_done = false;
        self.spending.began = now;
        self.phase = Phase::Fetching(plan.space);
        self.finish_space(commands);
    }

    /// Says so when everything planned is got.
    pub(crate) fn finish_space(&mut self, commands: &mut Vec<Command>) {
        if let Some(space) = self.space().filter(|_| self.spans.is_complete()) {
            self.phase = Phase::Preparing;
            self.data_done = space == Space::Data;
            commands.push(Command::SpaceComplete {
                share: self.share,
                space,
            });
        }
    }
}
