//! The scenarios. Every one is small enough that thousands of seeds run in seconds.

use super::device::Nature;
use super::event::{MS, SECOND};
use super::scenario::{Expect, Limits, Scenario, Setup};
use super::world::World;
use hither_engine::{SPAN_BYTES, Waiting};

/// Those with devices only, in the order of the summary.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "one-to-one",
        seeds: 200,
        build: one_to_one,
    },
    Scenario {
        name: "one-to-four",
        seeds: 60,
        build: one_to_four,
    },
    Scenario {
        name: "two-holders",
        seeds: 100,
        build: two_holders,
    },
    Scenario {
        name: "uneven-sources",
        seeds: 80,
        build: uneven_sources,
    },
    Scenario {
        name: "staller",
        seeds: 250,
        build: staller,
    },
    Scenario {
        name: "liar",
        seeds: 250,
        build: liar,
    },
    Scenario {
        name: "liar-returns",
        seeds: 150,
        build: liar_returns,
    },
    Scenario {
        name: "boaster",
        seeds: 200,
        build: boaster,
    },
    Scenario {
        name: "inflater",
        seeds: 150,
        build: inflater,
    },
    Scenario {
        name: "busy",
        seeds: 200,
        build: busy,
    },
    Scenario {
        name: "breaks",
        seeds: 250,
        build: breaks,
    },
    Scenario {
        name: "churn",
        seeds: 300,
        build: churn,
    },
    Scenario {
        name: "freezes",
        seeds: 250,
        build: freezes,
    },
    Scenario {
        name: "lonely-origin",
        seeds: 250,
        build: lonely_origin,
    },
    Scenario {
        name: "restarts",
        seeds: 250,
        build: restarts,
    },
    Scenario {
        name: "slow-link",
        seeds: 150,
        build: slow_link,
    },
    Scenario {
        name: "only-liars",
        seeds: 150,
        build: only_liars,
    },
    Scenario {
        name: "nobody",
        seeds: 40,
        build: nobody,
    },
    Scenario {
        name: "pinned",
        seeds: 150,
        build: pinned,
    },
    Scenario {
        name: "pinned-later",
        seeds: 100,
        build: pinned_later,
    },
    Scenario {
        name: "pinned-gone",
        seeds: 40,
        build: pinned_gone,
    },
    Scenario {
        name: "newer-version",
        seeds: 300,
        build: newer_version,
    },
    Scenario {
        name: "newer-by-hearsay",
        seeds: 150,
        build: newer_by_hearsay,
    },
    Scenario {
        name: "version-flaps",
        seeds: 250,
        build: version_flaps,
    },
    Scenario {
        name: "resume-preferred",
        seeds: 80,
        build: resume_preferred,
    },
    Scenario {
        name: "crowd",
        seeds: 2,
        build: crowd,
    },
    Scenario {
        name: "chaos",
        seeds: 600,
        build: chaos,
    },
];

fn one_to_one(s: &mut Setup) {
    s.share((1, 24), 64 << 10);
    let mbit = *s.rng().pick(&[20, 100, 400, 900]);
    s.holder(mbit, Nature::Honest);
    s.fetcher(0);
    s.bound_by(mbit);
    s.limits = Limits {
        time: (1.1, 1.2),
        origin: 1.1,
        waste: 0.0,
    };
}

fn one_to_four(s: &mut Setup) {
    s.share((64, 64), 64 << 10);
    s.holder(50, Nature::Honest);
    s.fetchers(4);
    s.bound_by(50);
    s.limits = Limits {
        time: (1.15, 0.0),
        origin: 1.1,
        waste: 0.02,
    };
}

fn two_holders(s: &mut Setup) {
    s.share((12, 24), 64 << 10);
    s.holders(2, 40, Nature::Honest);
    s.fetcher(0);
    // The bound is that of one holder: two must be clearly faster.
    s.bound_by(40);
    s.limits = Limits {
        time: (0.62, 0.8),
        origin: 0.85,
        waste: 0.1,
    };
}

fn uneven_sources(s: &mut Setup) {
    s.share((24, 32), 64 << 10);
    for mbit in [25, 25, 50, 100] {
        s.holder(mbit, Nature::Honest);
    }
    s.fetcher(0);
    s.bound_by(200);
    s.limits = Limits {
        time: (1.5, 1.0),
        origin: 0.5,
        waste: 0.2,
    };
}

fn staller(s: &mut Setup) {
    s.share((8, 16), 64 << 10);
    s.holder(100, Nature::Honest);
    let after = *s.rng().pick(&[0, 0, 1, 5, 40]);
    s.holder(400, Nature::Stalls { after });
    s.fetcher(0);
    s.bound_by(100);
    s.limits = Limits {
        time: (1.2, 4.0),
        origin: 1.1,
        waste: 0.1,
    };
}

fn liar(s: &mut Setup) {
    s.share((8, 16), 64 << 10);
    s.holder(100, Nature::Honest);
    let part = *s.rng().pick(&[1.0, 1.0, 0.1, 0.02]);
    s.holder(400, Nature::Lies { part });
    let fetchers = s.rng().between(1, 2);
    s.fetchers(fetchers);
    s.bound_by(100);
    s.limits = Limits {
        time: (2.3, 3.0),
        origin: 2.1,
        waste: 0.5,
    };
    s.also = liars_cost_little;
}

/// Who only lies is never given more than the first span; who lies at all is found out once.
fn liars_cost_little(world: &World) -> Result<(), String> {
    let span = SPAN_BYTES + world.contents[&1].largest();
    for (n, fetcher) in world.fetchers() {
        for (from, bytes) in &fetcher.counters.received_from {
            if world.devices[*from].nature == (Nature::Lies { part: 1.0 }) && *bytes > span {
                return Err(format!("d{n} took {bytes} bytes from the liar d{from}"));
            }
        }
    }
    Ok(())
}

/// Going, with a goodbye, and coming back is no way to be trusted again.
fn liar_returns(s: &mut Setup) {
    s.share((4, 8), 64 << 10);
    s.holder(5, Nature::Honest);
    let liar = s.holder(400, Nature::Lies { part: 1.0 });
    s.crashes(liar, 3, SECOND, 4 * SECOND);
    s.fetcher(0);
    s.bound_by(5);
    s.limits.waste = 0.5;
    s.done_within(1.5, 10);
    s.also = liars_cost_little;
}

fn boaster(s: &mut Setup) {
    s.share((4, 12), 64 << 10);
    s.holder(50, Nature::Honest);
    let withdraws = s.rng().chance(0.5);
    s.holder(200, Nature::Boasts { withdraws });
    let fetchers = s.rng().between(1, 3);
    s.fetchers(fetchers);
    s.bound_by(50);
    s.limits = Limits {
        time: (3.0, 4.0),
        origin: 3.1,
        waste: 1.0,
    };
}

fn inflater(s: &mut Setup) {
    s.share((2, 6), 64 << 10);
    s.holder(100, Nature::Honest);
    s.holder(100, Nature::Inflates);
    let fetchers = s.rng().between(1, 2);
    s.fetchers(fetchers);
    // A fetch that has lost everyone else must not run after it either.
    let times = s.rng().below(3);
    s.crashes(0, times, 0, 4 * SECOND);
    s.bound_by(100);
    s.done_within(4.0, 30);
}

fn busy(s: &mut Setup) {
    s.share((4, 8), 64 << 10);
    let part = *s.rng().pick(&[0.05, 0.3, 0.6]);
    s.holder(100, Nature::Busy { part });
    let more = s.rng().below(2);
    s.holders(more, 100, Nature::Busy { part });
    s.fetcher(0);
    s.bound_by(100);
    s.limits.waste = 0.5;
    s.done_within(5.0, 60);
}

fn breaks(s: &mut Setup) {
    s.share((4, 12), 64 << 10);
    s.holder(50, Nature::Honest);
    let fetchers = s.rng().between(1, 3);
    s.fetchers(fetchers);
    let times = s.rng().between(2, 12);
    s.breaks(times, 5 * SECOND);
    s.bound_by(50);
    s.done_within(6.0, 60);
}

fn churn(s: &mut Setup) {
    s.share((4, 12), 64 << 10);
    let holders = s.rng().between(2, 3);
    for _ in 0..holders {
        let (mbit, times) = (s.rng().between(20, 100), s.rng().between(1, 5));
        let holder = s.holder(mbit, Nature::Honest);
        s.crashes(holder, times, 0, 5 * SECOND);
    }
    let fetchers = s.rng().between(1, 2);
    for _ in 0..fetchers {
        let at = s.rng().below(1000) * MS;
        s.fetcher(at);
    }
    s.bound_by(20);
    s.done_within(4.0, 45);
}

/// Holders fall silent so often that all of them are left alone for long in the end.
fn freezes(s: &mut Setup) {
    s.share((4, 12), 64 << 10);
    let holders = s.rng().between(1, 3);
    let longest = *s.rng().pick(&[8, 8, 60]) * SECOND;
    for _ in 0..holders {
        let holder = s.holder(10, Nature::Honest);
        let times = s.rng().between(3, 10);
        s.freezes(holder, times, longest);
    }
    s.fetcher(0);
    s.bound_by(10);
    s.done_within(1.2, 8);
}

fn lonely_origin(s: &mut Setup) {
    s.share((4, 12), 64 << 10);
    let origin = s.holder(40, Nature::Honest);
    let (times, longest) = (s.rng().between(1, 8), s.rng().between(1, 30) * SECOND);
    s.crashes(origin, times, 0, longest);
    s.fetcher(0);
    s.bound_by(40);
    s.done_within(2.0, 30);
}

fn restarts(s: &mut Setup) {
    s.share((4, 12), 64 << 10);
    s.holder(50, Nature::Honest);
    let fetchers = s.rng().between(1, 3);
    for _ in 0..fetchers {
        let fetcher = s.fetcher(0);
        let times = s.rng().between(1, 4);
        s.crashes(fetcher, times, 0, 3 * SECOND);
    }
    s.bound_by(50);
    s.done_within(5.0, 30);
}

fn slow_link(s: &mut Setup) {
    s.share((20, 40), 4 << 20);
    let mbit = s.rng().between(3, 8);
    let holders = s.rng().between(1, 2);
    s.holders(holders, mbit, Nature::Honest);
    s.fetcher(0);
    s.bound_by(mbit);
    s.limits = Limits {
        time: (4.0, 15.0),
        origin: f64::MAX,
        waste: 3.0,
    };
    s.done_within(20.0, 300);
}

fn only_liars(s: &mut Setup) {
    s.share((2, 4), 64 << 10);
    let liars = s.rng().between(1, 3);
    s.holders(liars, 100, Nature::Lies { part: 1.0 });
    s.fetcher(0);
    s.expect = Expect::Waits {
        at: 20 * SECOND,
        reason: Waiting::Damaged,
    };
    s.also = liars_cost_little;
}

fn nobody(s: &mut Setup) {
    s.share((2, 4), 64 << 10);
    let origin = s.holder(100, Nature::Honest);
    s.world.crash(origin);
    let fetchers = s.rng().between(1, 2);
    s.fetchers(fetchers);
    s.expect = Expect::Waits {
        at: 20 * SECOND,
        reason: Waiting::NoHolder,
    };
}

fn pinned(s: &mut Setup) {
    s.share((2, 8), 64 << 10);
    s.holder(100, Nature::Honest);
    s.holder(50, Nature::Honest);
    let at = s.rng().below(600) * MS;
    let link = s.link(500, 1000);
    s.world.add_fetcher(link, Some(1), at);
    // The owner moves on, before, while or after it is fetched; the other holder keeps the version.
    let publishes = s.rng().below(2000) * MS;
    s.publishes(publishes);
    s.bound_by(50);
    s.done_within(2.0, 30);
    s.also = |world| all_have(world, 1);
}

fn pinned_later(s: &mut Setup) {
    s.share((2, 8), 64 << 10);
    s.holder(100, Nature::Honest);
    let link = s.link(500, 1000);
    s.world.add_fetcher(link, Some(2), 0);
    let publishes = s.rng().between(50, 3000) * MS;
    s.publishes(publishes);
    s.bound_by(100);
    s.done_within(2.0, 5);
    s.also = |world| all_have(world, 2);
}

fn all_have(world: &World, version: u64) -> Result<(), String> {
    match world
        .fetchers()
        .find(|(_, d)| d.disk.whole != Some(version))
    {
        Some((n, d)) => Err(format!(
            "d{n} has version {:?} instead of {version}",
            d.disk.whole
        )),
        None => Ok(()),
    }
}

fn pinned_gone(s: &mut Setup) {
    s.share((2, 4), 64 << 10);
    s.holder(100, Nature::Honest);
    s.publishes(0);
    let link = s.link(500, 1000);
    s.world.add_fetcher(link, Some(1), 10 * MS);
    s.expect = Expect::Waits {
        at: 20 * SECOND,
        reason: Waiting::NotHeld,
    };
}

fn newer_version(s: &mut Setup) {
    s.share((4, 12), 64 << 10);
    s.holder(50, Nature::Honest);
    let fetchers = s.rng().between(1, 4);
    for _ in 0..fetchers {
        let at = s.rng().below(500) * MS;
        s.fetcher(at);
    }
    let times = s.rng().between(1, 2);
    for _ in 0..times {
        let at = s.rng().below(4000) * MS;
        s.publishes(at);
    }
    s.bound_by(50);
    s.done_within(6.0, 30);
}

/// Who never meets the owner hears of newer versions from those who do.
fn newer_by_hearsay(s: &mut Setup) {
    s.share((4, 12), 64 << 10);
    let owner = s.holder(50, Nature::Honest);
    let between = s.rng().between(1, 2);
    s.fetchers(between);
    let far = s.rng().between(1, 2);
    for _ in 0..far {
        let at = s.rng().below(500) * MS;
        let fetcher = s.fetcher(at);
        s.apart(owner, fetcher);
    }
    let times = s.rng().between(1, 3);
    for _ in 0..times {
        let at = s.rng().below(2000) * MS;
        s.publishes(at);
    }
    s.bound_by(50);
    s.done_within(6.0, 30);
}

/// The holder of the version begun and the owner, who has a newer one, come and go.
fn version_flaps(s: &mut Setup) {
    s.share((6, 12), 64 << 10);
    let owner = s.holder(20, Nature::Honest);
    let other = s.holder(20, Nature::Honest);
    let fetchers = s.rng().between(1, 2);
    s.fetchers(fetchers);
    let at = s.rng().between(500, 2000) * MS;
    s.publishes(at);
    let times = s.rng().between(1, 6);
    s.crashes(other, times, 0, 3 * SECOND);
    let times = s.rng().between(1, 6);
    s.crashes(owner, times, at + MS, 2 * SECOND);
    s.bound_by(20);
    s.done_within(5.0, 45);
}

fn resume_preferred(s: &mut Setup) {
    s.share((8, 12), 64 << 10);
    s.holder(30, Nature::Honest);
    s.holder(10, Nature::Honest);
    let fetcher = s.fetcher(0);
    // Down when the owner publishes; the other holder still has what was begun.
    let at = s.rng().between(900, 1500) * MS;
    s.world
        .at(at, super::event::Event::Crash { device: fetcher });
    s.world.at(
        at + 2 * SECOND,
        super::event::Event::Return { device: fetcher },
    );
    s.publishes(at + SECOND);
    s.bound_by(10);
    s.done_within(2.0, 30);
    s.also = |world| all_have(world, 1);
}

/// More devices than a fetch opens sessions to; connections break while all are there.
fn crowd(s: &mut Setup) {
    s.share((3, 4), 256 << 10);
    s.holder(200, Nature::Honest);
    let fetchers = s.rng().between(66, 70);
    for _ in 0..fetchers {
        let at = s.rng().below(500) * MS;
        s.fetcher(at);
    }
    s.breaks(40, 5 * SECOND);
    s.crashes(0, 1, 0, 2 * SECOND);
    s.bound_by(200);
    s.done_within(40.0, 60);
}

fn chaos(s: &mut Setup) {
    let average = *s.rng().pick(&[64 << 10, 64 << 10, 256 << 10, 1 << 20]);
    s.share((1, 10), average);
    let mbit = s.rng().between(20, 200);
    let owner = s.holder(mbit, Nature::Honest);
    let others = s.rng().below(4);
    for _ in 0..others {
        let nature = match s.rng().below(8) {
            0 => Nature::Stalls {
                after: s.rng().below(60),
            },
            1 => Nature::Lies {
                part: s.rng().unit(),
            },
            2 => Nature::Boasts {
                withdraws: s.rng().chance(0.5),
            },
            4 => Nature::Inflates,
            3 => Nature::Busy {
                part: 0.5 * s.rng().unit(),
            },
            _ => Nature::Honest,
        };
        let mbit = s.rng().between(10, 400);
        let holder = s.holder(mbit, nature);
        let times = s.rng().below(3);
        s.crashes(holder, times, 0, 8 * SECOND);
    }
    let fetchers = s.rng().between(1, 4);
    for _ in 0..fetchers {
        let at = s.rng().below(3000) * MS;
        let fetcher = s.fetcher(at);
        if s.rng().chance(0.4) {
            let times = s.rng().between(1, 2);
            s.crashes(fetcher, times, at, 5 * SECOND);
        }
    }
    let times = s.rng().below(4);
    s.crashes(owner, times, 0, 8 * SECOND);
    let times = s.rng().below(10);
    s.breaks(times, 10 * SECOND);
    let times = s.rng().below(4);
    s.freezes(owner, times, 6 * SECOND);
    if s.rng().chance(0.3) {
        let at = s.rng().below(5000) * MS;
        s.publishes(at);
    }
    s.bound_by(mbit.min(50));
    s.done_within(8.0, 75);
}
