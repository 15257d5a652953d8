//! Scenarios of devices on one network that fetch the same: what one gets over a thin link, all
//! have.
//!
//! Limits are those of the source-selection design, with room for root, manifest and a start in
//! which nobody knows of anybody.

use super::device::Nature;
use super::event::{At, Event, MS, SECOND};
use super::scenario::{Limits, Scenario, Setup};
use super::world::World;

/// In the order of the summary.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "one-to-sixteen",
        seeds: 6,
        build: one_to_sixteen,
    },
    Scenario {
        name: "unequal-starts",
        seeds: 30,
        build: unequal_starts,
    },
    Scenario {
        name: "mute-neighbour",
        seeds: 20,
        build: mute_neighbour,
    },
    Scenario {
        name: "thin-neighbour",
        seeds: 20,
        build: thin_neighbour,
    },
    Scenario {
        name: "late-joiners",
        seeds: 20,
        build: late_joiners,
    },
    Scenario {
        name: "origin-leaves",
        seeds: 20,
        build: origin_leaves,
    },
    Scenario {
        name: "claimer-dies",
        seeds: 30,
        build: claimer_dies,
    },
    Scenario {
        name: "lying-neighbour",
        seeds: 20,
        build: lying_neighbour,
    },
];

fn one_to_sixteen(s: &mut Setup) {
    s.share((64, 64), 64 << 10);
    s.holder(50, Nature::Honest);
    s.fetchers(16);
    s.bound_by(50);
    s.limits = Limits {
        time: (1.2, 0.0),
        origin: 1.08,
        waste: 0.02,
    };
}

/// Neighbours that begin one after the other find each other under way.
fn unequal_starts(s: &mut Setup) {
    s.share((48, 64), 64 << 10);
    s.holder(50, Nature::Honest);
    let fetchers = s.rng().between(2, 6);
    for _ in 0..fetchers {
        let at = s.rng().below(3000) * MS;
        s.fetcher(at);
    }
    s.bound_by(50);
    // Everyone who begins before it has met the others may get a span or two that they are getting.
    s.limits = Limits {
        time: (1.2, 0.5),
        origin: 1.2,
        waste: 0.02,
    };
}

/// One of the neighbours takes and does not give.
fn mute_neighbour(s: &mut Setup) {
    s.share((64, 64), 64 << 10);
    s.holder(50, Nature::Honest);
    s.fetchers(3);
    let mute = s.fetcher(0);
    s.world.devices[mute].nature = Nature::Stalls { after: 0 };
    s.bound_by(50);
    s.limits = Limits {
        time: (1.35, 1.0),
        origin: 1.35,
        waste: 0.05,
    };
}

/// One of the neighbours has hardly any uplink.
fn thin_neighbour(s: &mut Setup) {
    s.share((64, 64), 64 << 10);
    s.holder(50, Nature::Honest);
    s.fetchers(3);
    let link = s.link(1, 1000);
    s.world.add_fetcher(link, None, 0);
    s.bound_by(50);
    s.limits = Limits {
        time: (1.35, 1.0),
        origin: 1.35,
        waste: 0.05,
    };
}

fn late_joiners(s: &mut Setup) {
    s.share((64, 64), 64 << 10);
    s.holder(50, Nature::Honest);
    s.fetchers(4);
    for n in 0..3u64 {
        let at = 14 * SECOND + n * 500 * MS;
        s.fetcher(at);
    }
    s.bound_by(50);
    // Up to a second passes until a joiner sees anybody but the owner.
    s.limits = Limits {
        time: (1.2, 0.0),
        origin: 1.3,
        waste: 0.05,
    };
    s.also = joiners_are_quick;
}

/// A device that joins when everybody has it waits for nothing but, for up to a second here, until
/// it has seen the others.
fn joiners_are_quick(world: &World) -> Result<(), String> {
    let late = world.fetchers().filter(|(_, d)| d.began > 10 * SECOND);
    for (n, _) in late {
        let taken = world.taken(n).unwrap_or(f64::MAX);
        if taken > 2.5 {
            return Err(format!("d{n} joined last and took {taken:.2} s"));
        }
    }
    Ok(())
}

/// The origin goes when half of the share is out, and comes back.
fn origin_leaves(s: &mut Setup) {
    s.share((32, 48), 64 << 10);
    let origin = s.holder(50, Nature::Honest);
    s.fetchers(4);
    s.bound_by(50);
    let half = (s.bound * SECOND as f64 / 2.0) as At;
    let away = s.rng().between(5, 20) * SECOND;
    s.world.at(half, Event::Crash { device: origin });
    s.world.at(half + away, Event::Return { device: origin });
    s.quiet = half + away;
    s.limits.origin = 1.15;
    s.done_within(0.65, 12);
}

/// Neighbours die with claims in their hands, and come back or not.
fn claimer_dies(s: &mut Setup) {
    s.share((24, 32), 64 << 10);
    s.holder(50, Nature::Honest);
    s.fetchers(3);
    let victim = s.fetcher(0);
    let times = s.rng().between(1, 3);
    s.crashes(victim, times, 500 * MS, 3 * SECOND);
    s.bound_by(50);
    s.limits.origin = 1.5;
    s.done_within(1.5, 8);
}

/// A neighbour that fetches gives wrong bytes.
fn lying_neighbour(s: &mut Setup) {
    s.share((32, 48), 64 << 10);
    s.holder(50, Nature::Honest);
    s.fetchers(3);
    let liar = s.fetcher(0);
    s.world.devices[liar].nature = Nature::Lies { part: 1.0 };
    s.bound_by(50);
    s.limits = Limits {
        time: (1.4, 1.0),
        origin: 1.5,
        waste: 0.1,
    };
}
