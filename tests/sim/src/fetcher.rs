//! The steps of a transfer: head → root → manifest → data → done, with checkpoints, crashes and
//! newer versions.

use super::device::{Device, Nature, Stage};
use super::event::{Local, MS, Received, Said, Step};
use super::world::World;
use hither_engine::policy::Rule;
use hither_engine::{Budget, Journal, Plan};
use hither_proto::Space;
use roaring::RoaringBitmap;

/// A version that was never published.
const ABSURD: u64 = u64::MAX;
/// How often what was written is made durable.
const CHECKPOINT: u64 = 500 * MS;

impl World {
    /// Tells the engine what is wanted and who might have it.
    pub fn begin_fetch(&mut self, device: usize) {
        let of = &mut self.devices[device];
        let (Some(pin), Stage::Idle) = (of.wants, of.stage) else {
            return;
        };
        of.stage = Stage::Locating;
        let (share, preferred) = (self.share, of.disk.begun);
        let owner = self.devices[self.owner].id;
        let mode = self.mode;
        self.note(device, "begin", [preferred.unwrap_or(0), 0, 0]);
        self.with(device, |engine, now| {
            engine.start_fetch(share, owner, pin, preferred);
            engine.set_budget(
                share,
                Budget {
                    mode,
                    ..Budget::default()
                },
                now,
            );
            engine.handle_device_seen(share, owner, now);
        });
        self.meet(device);
        self.local(self.now + CHECKPOINT, device, Local::Checkpoint);
    }

    /// A device and all others discover each other, each in its own time.
    pub fn meet(&mut self, device: usize) {
        for other in (0..self.devices.len()).filter(|other| *other != device) {
            for (who, whom) in [(device, other), (other, device)] {
                let near = self.devices[who].site == self.devices[whom].site;
                let longest = if near { self.meets.0 } else { self.meets.1 };
                let at = self.now + self.rng.below(longest / MS) * MS;
                if self.up(who) {
                    self.local(at, who, Local::Seen(whom));
                }
            }
        }
    }

    pub fn seen(&mut self, device: usize, other: usize) {
        if self.up(other) && !self.blocked(device, other) {
            let (share, kind, other) = (
                self.share,
                self.devices[other].kind(),
                self.devices[other].id,
            );
            self.with(device, |engine, now| {
                engine.handle_holder_seen(share, other, kind, now)
            });
        }
    }

    /// A goodbye is heard, unless the device is back already: discovery keeps the order of the two.
    pub fn gone(&mut self, device: usize, other: usize) {
        if !self.up(other) {
            let other = self.devices[other].id;
            self.with(device, |engine, _| engine.handle_device_gone(other));
        }
    }

    // --- steps ---

    pub fn step(&mut self, device: usize, step: Step) {
        let stage = self.devices[device].stage;
        match (step, stage) {
            (Step::Chosen(version), _) => self.chosen(device, version, stage),
            (Step::Complete(space), Stage::Getting(version, at)) if at == space => {
                self.complete(device, version, space);
            }
            (Step::Prepared(version, space), Stage::Preparing(at)) if at == version => {
                self.plan(device, version, space);
            }
            (Step::Copied(version), Stage::Getting(at, Space::Data)) if at == version => {
                self.copied(device, version)
            }
            (Step::Finished(version), Stage::Finishing(at)) if at == version => {
                self.finished(device, version)
            }
            _ => {}
        }
    }

    /// A version is to be fetched: the first one, or another one than so far.
    fn chosen(&mut self, device: usize, version: u64, stage: Stage) {
        let of = &self.devices[device];
        if matches!(stage, Stage::Idle | Stage::Finishing(_) | Stage::Done(_))
            || stage.version() == Some(version)
        {
            return;
        }
        if !of.heads.contains(&version) {
            return self.fail(
                device,
                format!("version {version} is chosen although nobody showed its head"),
            );
        }
        if let Some(old) = stage.version() {
            self.abandon(device, old);
        }
        let disk = &mut self.devices[device].disk;
        disk.begun = Some(version);
        let have_manifest = disk.manifests.contains(&version);
        self.devices[device].stage = Stage::Preparing(version);
        let space = if have_manifest {
            Space::Manifest
        } else {
            Space::Root
        };
        self.prepare(device, version, space);
    }

    fn prepare(&mut self, device: usize, version: u64, space: Space) {
        self.devices[device].stage = Stage::Preparing(version);
        let at = self.now + self.rng.between(MS, 20 * MS);
        self.local(at, device, Local::Step(Step::Prepared(version, space)));
    }

    fn abandon(&mut self, device: usize, old: u64) {
        self.note(device, "abandon", [old, 0, 0]);
        let of = &mut self.devices[device];
        of.written.clear();
        of.disk.durable.remove(&old);
        if of.holding.take().is_some() {
            let share = self.share;
            self.with(device, |engine, _| engine.release(share));
        }
    }

    fn plan(&mut self, device: usize, version: u64, space: Space) {
        let lengths = self.contents[&version].lengths(space).to_vec();
        let mut wanted: RoaringBitmap = (0..lengths.len() as u32).collect();
        let of = &mut self.devices[device];
        if space == Space::Manifest && of.disk.manifests.contains(&version) {
            wanted.clear();
        }
        if space == Space::Data {
            let durable = of.durable(version);
            wanted -= &durable;
            self.show_head(device, version);
            self.hold(device, version, durable);
            let at = self.now + self.rng.between(MS, 300 * MS);
            self.local(at, device, Local::Step(Step::Copied(version)));
        }
        self.devices[device].stage = Stage::Getting(version, space);
        // Requests of the space before mean nothing now.
        self.devices[device].book.clear();
        self.note(device, "plan", [version, space as u64, wanted.len()]);
        let share = self.share;
        self.with(device, |engine, now| {
            engine.plan(
                share,
                Plan {
                    version,
                    space,
                    lengths,
                    wanted,
                },
                now,
            )
        });
    }

    fn complete(&mut self, device: usize, version: u64, space: Space) {
        match space {
            Space::Root => self.prepare(device, version, Space::Manifest),
            Space::Manifest => {
                self.devices[device].disk.manifests.insert(version);
                self.prepare(device, version, Space::Data);
            }
            Space::Data => {
                self.devices[device].stage = Stage::Finishing(version);
                let at = self.now + self.rng.between(5 * MS, 60 * MS);
                self.local(at, device, Local::Step(Step::Finished(version)));
            }
        }
    }

    /// The content that a newer version kept of the one before, which this device had whole, is
    /// copied while others give the rest.
    fn copied(&mut self, device: usize, version: u64) {
        let had = version > 1 && self.devices[device].disk.manifests.contains(&(version - 1));
        let kept = &self.contents[&version].kept;
        if !had || kept.is_empty() {
            return;
        }
        let new = kept - self.devices[device].durable(version);
        self.devices[device].written |= &new;
        let (share, positions) = (self.share, new.iter().collect::<Vec<_>>());
        self.with(device, |engine, now| {
            engine.stored(share, None, &positions, now)
        });
    }

    /// Everything is written, synced and moved into place.
    fn finished(&mut self, device: usize, version: u64) {
        let (share, all) = (self.share, self.contents[&version].all());
        let of = &mut self.devices[device];
        let missing = &all - (of.durable(version) | &of.written);
        of.disk.durable.insert(version, all);
        of.disk.whole = Some(version);
        of.stage = Stage::Done(version);
        of.done.get_or_insert(self.now);
        of.book.clear();
        self.note(device, "done", [version, 0, 0]);
        if !missing.is_empty() {
            return self.fail(
                device,
                format!("is complete without {} positions", missing.len()),
            );
        }
        if let Some(journal) = self.with(device, |engine, _| engine.end_fetch(share)) {
            self.tell_sources(device, &journal);
        }
        self.hold_whole(device);
    }

    /// Notes who gave what by which rules, for whoever reads the lines of a run.
    fn tell_sources(&mut self, device: usize, journal: &Journal) {
        for (source, gave) in journal.sources() {
            let from = self.index.get(source).copied().unwrap_or(usize::MAX) as u64;
            self.note(device, "from", [from, gave.bytes, gave.wasted]);
            for (rule, spans) in Rule::ALL
                .iter()
                .zip(gave.spans)
                .filter(|(_, spans)| *spans > 0)
            {
                self.note(device, rule.name(), [from, spans, gave.faults]);
            }
        }
    }

    // --- bytes on disk ---

    /// A chunk was read, verified and written.
    pub fn put(&mut self, device: usize, chunk: Received) {
        let Received {
            version,
            space,
            request,
            position,
            liar,
        } = chunk;
        let share = self.share;
        if self.devices[device].stage != Stage::Getting(version, space) {
            return; // Stale: the transfer has moved on.
        }
        if let Some(liar) = liar {
            self.devices[device].liars.insert(liar);
            self.note(device, "damaged", [request.0, u64::from(position), 0]);
            return self.with(device, |engine, now| engine.damaged(share, request, now));
        }
        let length = self.contents[&version].lengths(space)[position as usize];
        let of = &mut self.devices[device];
        let new = space != Space::Data
            || (!of.has_durable(version, position) && of.written.insert(position));
        if new {
            of.counters.useful += u64::from(length);
        }
        self.with(device, |engine, now| {
            engine.stored(share, Some(request), &[position], now)
        });
    }

    pub fn checkpoint(&mut self, device: usize) {
        self.local(self.now + CHECKPOINT, device, Local::Checkpoint);
        let of = &mut self.devices[device];
        if let Stage::Getting(version, Space::Data) = of.stage
            && !of.syncing
            && !of.written.is_empty()
        {
            of.syncing = true;
            let positions = of.written.clone();
            let at = self.now + self.rng.between(2 * MS, 80 * MS);
            self.local(at, device, Local::Synced(version, positions));
        }
    }

    pub fn synced(&mut self, device: usize, version: u64, positions: RoaringBitmap) {
        let of = &mut self.devices[device];
        of.syncing = false;
        if of.stage.version() != Some(version) || matches!(of.stage, Stage::Done(_)) {
            return;
        }
        of.written -= &positions;
        *of.disk.durable.entry(version).or_default() |= &positions;
        let (share, held) = (self.share, of.holding == Some(version));
        if held {
            self.with(device, |engine, now| engine.durable(share, &positions, now));
        }
    }

    // --- holding ---

    fn hold(&mut self, device: usize, version: u64, positions: RoaringBitmap) {
        self.devices[device].holding = Some(version);
        let (share, chunks) = (self.share, self.contents[&version].chunks());
        self.with(device, |engine, now| {
            engine.hold(share, version, chunks, positions, now)
        });
    }

    /// Says that all of what is whole here is held.
    pub fn hold_whole(&mut self, device: usize) {
        if let Some(version) = self.devices[device].disk.whole {
            let all = self.contents[&version].all();
            match self.devices[device].nature {
                Nature::Inflates => {
                    let (share, chunks) = (self.share, self.contents[&version].chunks());
                    self.with(device, |engine, now| {
                        engine.hold(share, ABSURD, chunks, all, now)
                    });
                    self.devices[device].holding = Some(version);
                }
                _ => self.hold(device, version, all),
            }
        }
    }

    pub fn withdraw(&mut self, device: usize, position: u32) {
        let share = self.share;
        self.with(device, |engine, now| {
            engine.withdraw(share, &std::iter::once(position).collect(), now)
        });
    }

    /// The owner publishes the next version: it replaces the one before, and everyone who listens
    /// hears of it.
    pub fn publish(&mut self, device: usize) {
        let Some((&last, content)) = self.contents.iter().next_back() else {
            return;
        };
        let keep = self.rng.unit();
        let next = content.edited(&mut self.rng, keep);
        let version = last + 1;
        let all = next.all();
        self.contents.insert(version, next);
        self.note(device, "publish", [version, 0, 0]);
        let of: &mut Device = &mut self.devices[device];
        (of.disk.head, of.disk.whole) = (version, Some(version));
        of.disk.durable = [(version, all)].into();
        of.disk.manifests.insert(version);
        debug_assert!(
            !matches!(of.nature, Nature::Boasts { .. }),
            "an owner has what it publishes"
        );
        self.show_head(device, version);
        self.hold_whole(device);
    }

    /// Shows a head on every session: of a version that this device holds from now on, complete or
    /// not.
    fn show_head(&mut self, device: usize, version: u64) {
        let sessions: Vec<u64> = self.devices[device].sessions.values().copied().collect();
        for session in sessions {
            self.say_on(device, session, Said::NewHead(version));
        }
    }
}
