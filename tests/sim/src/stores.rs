//! Scenarios with a store beside the devices.

use super::device::Nature;
use super::event::{Event, MS, SECOND};
use super::scenario::{Limits, MIB, Scenario, Setup};
use super::world::World;

/// All of them, in the order of the summary.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "store-alone",
        seeds: 150,
        build: store_alone,
    },
    Scenario {
        name: "store-carries-on",
        seeds: 200,
        build: store_carries_on,
    },
    Scenario {
        name: "store-aside",
        seeds: 150,
        build: store_aside,
    },
    Scenario {
        name: "store-helps",
        seeds: 100,
        build: store_helps,
    },
    Scenario {
        name: "store-behind-staller",
        seeds: 150,
        build: store_behind_staller,
    },
    Scenario {
        name: "store-flaps",
        seeds: 200,
        build: store_flaps,
    },
    Scenario {
        name: "store-chaos",
        seeds: 300,
        build: store_chaos,
    },
];

/// The owner is gone before anybody fetches.
fn store_alone(s: &mut Setup) {
    s.share((2, 24), 64 << 10);
    let owner = s.holder(400, Nature::Honest);
    s.world.at(0, Event::Crash { device: owner });
    s.store(100, Nature::Honest);
    let fetchers = s.rng().between(1, 3);
    for _ in 0..fetchers {
        let at = s.rng().between(1, 1000) * MS;
        s.fetcher(at);
    }
    s.bound_by(100);
    s.limits = Limits {
        time: (2.5, 5.0),
        origin: 0.0,
        waste: 0.3,
    };
}

/// The owner goes in the middle, for ever: the rest comes from the store, and little is lost by the
/// change.
fn store_carries_on(s: &mut Setup) {
    s.share((12, 24), 64 << 10);
    let mbit = *s.rng().pick(&[20, 100, 400]);
    let owner = s.holder(mbit, Nature::Honest);
    s.store(50, Nature::Honest);
    s.fetcher(0);
    let at = s.rng().between(50, 1500) * MS;
    s.world.at(at, Event::Crash { device: owner });
    s.bound_by(20);
    s.limits = Limits {
        time: (1.2, 5.0),
        origin: 1.1,
        waste: 0.2,
    };
}

/// A device on the LAN is faster: nothing comes from the store, however deep the device's queue is.
fn store_aside(s: &mut Setup) {
    s.share((16, 48), 64 << 10);
    s.holder(400, Nature::Honest);
    let mbit = *s.rng().pick(&[10, 50, 200]);
    s.store(mbit, Nature::Honest);
    let fetchers = s.rng().between(1, 3);
    s.fetchers(fetchers);
    s.bound_by(400);
    s.limits = Limits {
        time: (fetchers as f64 + 0.3, 2.0),
        origin: fetchers as f64 + 0.1,
        waste: 0.1,
    };
    s.also = |world| {
        // The tail may ask it for what a device is late with.
        let sent = stores_sent(world);
        if sent > 3 * MIB * world.fetchers().count() as u64 {
            return Err(format!(
                "the store sent {sent} bytes although the LAN could give"
            ));
        }
        Ok(())
    };
}

/// The owner's uplink is thin and the store is fast: together they are as fast as both.
fn store_helps(s: &mut Setup) {
    s.share((16, 32), 64 << 10);
    s.holder(4, Nature::Honest);
    s.store(100, Nature::Honest);
    s.fetcher(0);
    s.bound_by(100);
    s.limits = Limits {
        time: (1.5, 4.0),
        origin: 0.5,
        waste: 0.2,
    };
}

/// A device looks faster than any store and gives nothing any more, though its connection lives: it
/// does not keep the store out.
fn store_behind_staller(s: &mut Setup) {
    s.share((24, 32), 64 << 10);
    let after = s.rng().below(60);
    s.holder(400, Nature::Stalls { after });
    s.store(10, Nature::Honest);
    s.fetcher(0);
    s.bound_by(10);
    s.limits = Limits {
        time: (1.1, 4.0),
        origin: 1.0,
        waste: 0.2,
    };
}

/// Store and owner come and go, each for itself.
fn store_flaps(s: &mut Setup) {
    s.share((4, 12), 64 << 10);
    let owner = s.holder(40, Nature::Honest);
    let store = s.store(40, Nature::Honest);
    for device in [owner, store] {
        let times = s.rng().between(1, 4);
        s.crashes(device, times, 0, 5 * SECOND);
    }
    let fetchers = s.rng().between(1, 2);
    s.fetchers(fetchers);
    s.bound_by(20);
    s.done_within(4.0, 45);
}

/// Stores that stall, lie or are busy are no better than devices that do, and no worse.
fn store_chaos(s: &mut Setup) {
    s.share((1, 10), 64 << 10);
    let mbit = s.rng().between(5, 100);
    let owner = s.holder(mbit, Nature::Honest);
    let stores = s.rng().between(1, 3);
    for _ in 0..stores {
        let nature = match s.rng().below(6) {
            0 => Nature::Stalls {
                after: s.rng().below(60),
            },
            1 => Nature::Lies {
                part: s.rng().unit(),
            },
            2 => Nature::Boasts {
                withdraws: s.rng().chance(0.5),
            },
            3 => Nature::Busy {
                part: 0.5 * s.rng().unit(),
            },
            _ => Nature::Honest,
        };
        let mbit = s.rng().between(5, 200);
        let store = s.store(mbit, nature);
        let times = s.rng().below(3);
        s.crashes(store, times, 0, 8 * SECOND);
    }
    let fetchers = s.rng().between(1, 3);
    for _ in 0..fetchers {
        let at = s.rng().below(2000) * MS;
        s.fetcher(at);
    }
    let times = s.rng().below(3);
    s.crashes(owner, times, 0, 8 * SECOND);
    let times = s.rng().below(6);
    s.breaks(times, 8 * SECOND);
    let times = s.rng().below(3);
    s.freezes(owner, times, 6 * SECOND);
    s.bound_by(5);
    s.done_within(4.0, 75);
}

fn stores_sent(world: &World) -> u64 {
    world
        .devices
        .iter()
        .filter(|d| d.store)
        .map(|d| d.counters.sent)
        .sum()
}
