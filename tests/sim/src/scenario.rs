//! A scenario: a world built from a seed, what is expected of it, and the limits it must
//! keep.

use super::content::Content;
use super::device::{Link, Nature};
use super::event::{At, Event, Local, MS, SECOND};
use super::rng::Rng;
use super::world::{Net, World};
use hither_engine::{Carrier, Waiting};

/// Bytes per second of a megabit per second.
pub(crate) const MBIT: u64 = 125_000;
pub(crate) const MIB: u64 = 1 << 20;

/// A kind of run. Every seed makes another one.
pub struct Scenario {
    /// Its name, for `HITHER_SIM_SCENARIO`.
    pub name: &'static str,
    /// Seeds of a default run.
    pub seeds: u64,
    pub(crate) build: fn(&mut Setup),
}

/// What is expected of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expect {
    /// Every fetcher has the share by then.
    Done { by: At },
    /// Nobody has it by then, and every fetcher says that it waits for this reason.
    Waits { at: At, reason: Waiting },
}

/// Limits of a run in which everybody gets the share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Longest time, as a multiple of the fluid lower bound and seconds on top.
    pub time: (f64, f64),
    /// Most bytes that the owner sends, in units of the share; bytes of a window may come on top.
    pub origin: f64,
    /// Most bytes received in vain, as a part of the useful ones.
    pub waste: f64,
}

/// A world being built, and what it will be judged by.
pub(crate) struct Setup {
    pub world: World,
    pub expect: Expect,
    pub limits: Limits,
    /// Fluid lower bound of the time, seconds.
    pub bound: f64,
    /// When the last fault is over.
    pub quiet: At,
    /// What else must hold in the end.
    pub also: fn(&World) -> Result<(), String>,
}

impl Setup {
    pub fn new(seed: u64, keep_lines: bool) -> Self {
        let mut rng = Rng::new(seed);
        let net = Net {
            loss: *rng.pick(&[0.0, 0.0, 0.001, 0.01]),
            jitter: rng.below(3) * MS / 2,
            tcp: rng.chance(0.5),
            disk: *rng.pick(&[1, 3, 20]) * MS,
        };
        let content = Content::new(&mut rng, 4 * MIB, 64 << 10);
        Self {
            world: World::new(rng, net, content, keep_lines),
            expect: Expect::Done { by: 60 * SECOND },
            limits: Limits {
                time: (f64::MAX, 0.0),
                origin: f64::MAX,
                waste: f64::MAX,
            },
            bound: 1.0,
            quiet: 0,
            also: |_| Ok(()),
        }
    }

    pub fn rng(&mut self) -> &mut Rng {
        &mut self.world.rng
    }

    /// The share: between so many MiB, in chunks of about `average` bytes.
    pub fn share(&mut self, mib: (u64, u64), average: u32) {
        let bytes = self.rng().between(mib.0 * MIB, mib.1 * MIB);
        let content = Content::new(&mut self.world.rng, bytes, average);
        self.world.contents.insert(1, content);
    }

    pub fn bytes(&self) -> f64 {
        self.world.contents[&1].bytes() as f64
    }

    /// A link of so many Mbit/s up and down, with a latency as on a LAN.
    pub fn link(&mut self, up: u64, down: u64) -> Link {
        let latency = self.rng().between(MS / 20, MS);
        Link {
            up: up * MBIT,
            down: down * MBIT,
            latency,
        }
    }

    pub fn holder(&mut self, mbit_up: u64, nature: Nature) -> usize {
        let link = self.link(mbit_up, 1000);
        self.world.add_holder(link, nature)
    }

    /// A store of so many Mbit/s, some milliseconds away.
    pub fn store(&mut self, mbit: u64, nature: Nature) -> usize {
        let latency = self.rng().between(2 * MS, 20 * MS);
        let link = Link {
            up: mbit * MBIT,
            down: 1000 * MBIT,
            latency,
        };
        self.world.add_store(link, nature)
    }

    pub fn fetcher(&mut self, at: At) -> usize {
        let link = self.link(500, 1000);
        self.world.add_fetcher(link, None, at)
    }

    /// So many alike.
    pub fn holders(&mut self, count: u64, mbit_up: u64, nature: Nature) {
        for _ in 0..count {
            self.holder(mbit_up, nature);
        }
    }

    /// So many, all at once.
    pub fn fetchers(&mut self, count: u64) {
        for _ in 0..count {
            self.fetcher(0);
        }
    }

    /// The time is bounded by so many Mbit/s, once for the whole share.
    pub fn bound_by(&mut self, mbit: u64) {
        self.bound = self.bytes() / (mbit * MBIT) as f64;
    }

    /// Everybody is done within a multiple of the bound, and some seconds, after the last fault.
    pub fn done_within(&mut self, times: f64, seconds: u64) {
        let by = self.quiet + (self.bound * times * SECOND as f64) as At + seconds * SECOND;
        self.expect = Expect::Done { by };
    }

    // --- faults ---

    /// A device is down for a while, so many times, from `from` on.
    pub fn crashes(&mut self, device: usize, times: u64, from: At, longest: At) {
        let mut at = from;
        for _ in 0..times {
            at += self.rng().between(50 * MS, 4 * SECOND);
            self.world.at(at, Event::Crash { device });
            at += self.rng().between(10 * MS, longest);
            self.world.at(at, Event::Return { device });
        }
        self.quiet = self.quiet.max(at);
    }

    /// Connections between any two devices break, so many times; some pairs stay apart for a while.
    pub fn breaks(&mut self, times: u64, within: At) {
        let devices = self.world.devices.len() as u64;
        for _ in 0..times {
            let (a, b) = (
                self.rng().below(devices) as usize,
                self.rng().below(devices) as usize,
            );
            if a == b {
                continue;
            }
            let at = self.rng().below(within);
            let event = match self.rng().below(3) {
                0 => Event::Break {
                    a,
                    b,
                    blocked_for: 0,
                },
                1 => Event::Break {
                    a,
                    b,
                    blocked_for: self.rng().below(4 * SECOND),
                },
                _ => {
                    let carrier = *self.rng().pick(&[Carrier::Quic, Carrier::Tcp]);
                    Event::BreakLane {
                        from: a,
                        to: b,
                        carrier,
                    }
                }
            };
            self.world.at(at, event);
            self.quiet = self.quiet.max(at + 4 * SECOND);
        }
    }

    /// A device sends nothing for a while, so many times.
    pub fn freezes(&mut self, device: usize, times: u64, longest: At) {
        let mut at = 0;
        for _ in 0..times {
            at += self.rng().between(100 * MS, 2 * SECOND);
            let lasts = self.rng().between(500 * MS, longest);
            self.world.at(at, Event::Freeze { device, lasts });
            at += lasts;
        }
        self.quiet = self.quiet.max(at);
    }

    /// Nothing ever gets from one of two devices to the other.
    pub fn apart(&mut self, a: usize, b: usize) {
        self.world.blocked.insert((a.min(b), a.max(b)), At::MAX);
    }

    /// The owner publishes a newer version then.
    pub fn publishes(&mut self, at: At) {
        let owner = self.world.owner;
        self.world.local(at, owner, Local::Publish);
        self.quiet = self.quiet.max(at);
    }
}
