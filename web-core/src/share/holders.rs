//! Devices and stores that may have the share, what they showed, and what they gave.

use super::Share;
use crate::context::Context;
use crate::output::{SourceLine, SourceState};
use hither_proto::{DeviceId, HolderKind, SignedHead};
use std::collections::BTreeMap;

/// Holders that are remembered.
const MAX_HOLDERS: usize = 64;
/// Heads that are remembered: versions that somebody showed.
const MAX_HEADS: usize = 16;

#[derive(Debug)]
pub(super) struct Holder {
    pub kind: HolderKind,
    /// Bytes of chunks that it gave.
    pub bytes: u64,
    /// The version of the last head that it showed and that counts.
    shown: u64,
}

/// All holders of one share.
#[derive(Debug, Default)]
pub(super) struct Holders {
    by_device: BTreeMap<DeviceId, Holder>,
    /// Heads whose signature holds, by version; of two of one number the preferred one.
    heads: BTreeMap<u64, SignedHead>,
    told: Vec<SourceLine>,
}

impl Holders {
    /// Remembers a holder; `false`: it is known, or there are too many.
    pub fn add(&mut self, device: DeviceId, kind: HolderKind) -> bool {
        if self.by_device.contains_key(&device) || self.by_device.len() >= MAX_HOLDERS {
            return false;
        }
        let holder = Holder {
            kind,
            bytes: 0,
            shown: 0,
        };
        self.by_device.insert(device, holder);
        true
    }

    pub fn get(&self, device: DeviceId) -> Option<&Holder> {
        self.by_device.get(&device)
    }

    pub fn gave(&mut self, device: DeviceId, bytes: u64) {
        if let Some(holder) = self.by_device.get_mut(&device) {
            holder.bytes += bytes;
        }
    }

    /// Takes note of a head whose signature holds; returns its version as the engine counts it: 0 when another head of that number
    /// is preferred, for the two must not be mixed.
    pub fn showed(&mut self, device: DeviceId, head: SignedHead) -> u64 {
        let version = head.head().version;
        let counts = match self.heads.get(&version) {
            Some(known) if *known == head => true,
            Some(known) => head.is_preferred_to(known),
            None => true,
        };
        if counts {
            self.heads.insert(version, head);
            while self.heads.len() > MAX_HEADS {
                self.heads.pop_first();
            }
        }
        let shown = if counts { version } else { 0 };
        if let Some(holder) = self.by_device.get_mut(&device) {
            holder.shown = shown;
        }
        shown
    }

    /// True when a holder's word about a version is about the one that counts under that number.
    pub fn speaks_of(&self, device: DeviceId, version: u64) -> bool {
        self.get(device)
            .is_some_and(|holder| holder.shown >= version)
    }

    pub fn head(&self, version: u64) -> Option<&SignedHead> {
        self.heads.get(&version)
    }
}

impl Share {
    /// Tells the page how the sources stand, when that has changed.
    pub(super) fn tell_sources(&mut self, context: &mut Context<'_>) {
        let now = context.now;
        let view = self
            .with_engine(|engine, share| engine.view(share, 1, now))
            .flatten();
        let of = |device: DeviceId| {
            let sources = view.iter().flat_map(|view| &view.sources);
            sources.into_iter().find(|source| source.device == device)
        };
        let line = |(device, holder): (&DeviceId, &Holder)| {
            let source = of(*device);
            let state = match source {
                Some(source) if source.open => SourceState::Open,
                Some(_) => SourceState::Waiting,
                None => SourceState::Closed,
            };
            SourceLine {
                device: *device,
                kind: holder.kind,
                state,
                bytes: holder.bytes,
                rate: source.map_or(0, |source| source.rate as u64),
            }
        };
        let lines: Vec<SourceLine> = self.holders.by_device.iter().map(line).collect();
        if lines != self.holders.told {
            context.out.sources(self.number, &lines);
            self.holders.told = lines;
        }
    }
}
