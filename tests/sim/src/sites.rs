//! Sites: LANs with a link to the rest of the world each, and scenarios that cross them.
//!
//! A chunk that leaves a site waits its turn for the site's uplink, then for the other site's
//! downlink, chunk by chunk. Devices of scenarios without sites are all at one, whose links are
//! never in the way.

use super::device::{Link, Nature};
use super::event::{Answered, At, Event, MS, SECOND};
use super::scenario::{Limits, MBIT, Scenario, Setup};
use super::uplink::CREDIT;
use super::world::World;
use hither_engine::Mode;
use hither_proto::Space;

/// A LAN and its link: bytes per second and one-way latency.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Site {
    up: u64,
    down: u64,
    latency: At,
    up_free: At,
    down_free: At,
    /// Payload bytes that came in.
    pub entered: u64,
}

impl Site {
    pub const fn new(mbit_up: u64, mbit_down: u64, latency: At) -> Self {
        Self {
            up: mbit_up * MBIT,
            down: mbit_down * MBIT,
            latency,
            up_free: 0,
            down_free: 0,
            entered: 0,
        }
    }

    /// Where everybody is who is nowhere else.
    pub const fn everywhere() -> Self {
        Self::new(1_000_000_000, 1_000_000_000, 0)
    }
}

impl World {
    /// One-way latency between two devices.
    pub fn distance(&self, from: usize, to: usize) -> At {
        let (a, b) = (&self.devices[from], &self.devices[to]);
        let between = if a.site == b.site {
            0
        } else {
            self.sites[a.site].latency + self.sites[b.site].latency
        };
        a.link.latency + b.link.latency + between
    }

    /// Bytes of one stream that may be sent and not received: to another site, what the thinner
    /// link carries in 50 ms, about what congestion control keeps on its way.
    pub fn credit(&self, from: usize, to: usize) -> u64 {
        let (away, here) = (self.devices[from].site, self.devices[to].site);
        let thinner = self.sites[away].up.min(self.sites[here].down);
        if away == here {
            CREDIT
        } else {
            (thinner / 20).clamp(CREDIT / 8, CREDIT * 4)
        }
    }

    /// Bytes of a bulk stream leave the device that gives; at another site they wait for two more
    /// links.
    pub fn send(&mut self, stream: u64, message: Answered, length: u64) {
        let Some((from, to)) = self.ends(stream) else {
            return;
        };
        let travels = self.distance(from, to);
        let (away, here) = (self.devices[from].site, self.devices[to].site);
        if away == here {
            return self.at_the_door(stream, message, length, self.now + travels);
        }
        let now = self.now;
        let out = &mut self.sites[away];
        out.up_free = out.up_free.max(now) + length.saturating_mul(SECOND) / out.up;
        let at = out.up_free + travels;
        self.at(
            at,
            Event::AtTheSite {
                stream,
                message,
                length,
            },
        );
    }

    /// They are at the other site's link.
    pub fn at_the_site(&mut self, stream: u64, message: Answered, length: u64) {
        let Some((_, to)) = self.ends(stream) else {
            return;
        };
        let now = self.now;
        let here = self.devices[to].site;
        let into = &mut self.sites[here];
        into.down_free = into.down_free.max(now) + length.saturating_mul(SECOND) / into.down;
        into.entered += length;
        let at = into.down_free;
        self.at(
            at,
            Event::InTheSite {
                stream,
                message,
                length,
            },
        );
    }

    /// Who gives on a bulk stream, and who takes.
    fn ends(&self, stream: u64) -> Option<(usize, usize)> {
        self.streams
            .get(&stream)
            .map(|pipe| (pipe.acceptor, pipe.opener))
    }
}

/// In the order of the summary.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "three-sites",
        seeds: 2,
        build: three_sites,
    },
    Scenario {
        name: "three-sites-alone",
        seeds: 2,
        build: three_sites_alone,
    },
    Scenario {
        name: "remote-workers",
        seeds: 4,
        build: remote_workers,
    },
    Scenario {
        name: "paid-store",
        seeds: 20,
        build: paid_store,
    },
    Scenario {
        name: "paid-store-saver",
        seeds: 20,
        build: paid_store_saver,
    },
];

/// Devices at each of three sites, one of which has the origin.
const AT_A_SITE: u64 = 8;

impl Setup {
    fn site(&mut self, mbit_up: u64, mbit_down: u64, latency: At) -> usize {
        self.world
            .sites
            .push(Site::new(mbit_up, mbit_down, latency));
        self.world.sites.len() - 1
    }

    fn lan_link(&mut self) -> Link {
        self.link(1000, 1000)
    }

    fn fetcher_at(&mut self, site: usize) -> usize {
        let link = self.lan_link();
        let device = self.world.add_fetcher(link, None, 0);
        self.world.devices[device].site = site;
        device
    }

    fn holder_at(&mut self, site: usize) -> usize {
        let link = self.lan_link();
        let device = self.world.add_holder(link, Nature::Honest);
        self.world.devices[device].site = site;
        device
    }

    fn sites_of_eight(&mut self) {
        // Daemons that run have seen their neighbours before anybody fetches; the rest takes an
        // index.
        self.world.meets = (200 * MS, SECOND);
        self.share((64, 64), 64 << 10);
        let sites = [(); 3].map(|()| self.site(20, 100, 7 * MS));
        self.holder_at(sites[0]);
        for (number, site) in sites.into_iter().enumerate() {
            for _ in 0..AT_A_SITE - u64::from(number == 0) {
                self.fetcher_at(site);
            }
        }
    }
}

/// A store that everybody pays for, and three offices.
fn three_sites(s: &mut Setup) {
    s.sites_of_eight();
    let cloud = s.site(100_000, 100_000, MS);
    let store = s.store(1000, Nature::Honest);
    s.world.devices[store].site = cloud;
    s.bound_by(100);
    s.limits = Limits {
        time: (1.35, 0.0),
        origin: 3.0,
        waste: 0.02,
    };
    s.also = |world| entered_at_most(world, &[1, 2, 3], 1.12);
}

/// The same without a store: every byte leaves the origin's site over its thin uplink.
fn three_sites_alone(s: &mut Setup) {
    s.sites_of_eight();
    s.bound_by(20);
    s.limits = Limits {
        time: (1.35, 0.0),
        origin: 3.0,
        waste: 0.02,
    };
    s.also = |world| entered_at_most(world, &[2, 3], 1.1);
}

/// Everyone at home: an uplink of 50 Mbit/s at the office and of 20 each at the others'.
fn remote_workers(s: &mut Setup) {
    s.share((64, 64), 64 << 10);
    let office = s.site(50, 200, 7 * MS);
    s.holder_at(office);
    for _ in 0..8 {
        let home = s.site(20, 200, 7 * MS);
        s.fetcher_at(home);
    }
    // Everybody is a source of everybody: where what is expected of eight thin links changes,
    // something is asked for twice. Eight copies over 50 and eight times 20 Mbit/s.
    s.bound = 8.0 * s.bytes() / (210 * MBIT) as f64;
    s.limits = Limits {
        time: (1.35, 0.0),
        origin: 2.8,
        waste: 0.15,
    };
}

/// Three homes give for nothing what a store sells.
fn homes_and_a_store(s: &mut Setup) {
    s.share((128, 128), 64 << 10);
    for _ in 0..3 {
        let home = s.site(20, 200, 7 * MS);
        s.holder_at(home);
    }
    let cloud = s.site(100_000, 100_000, 7 * MS);
    let store = s.store(150, Nature::Honest);
    s.world.devices[store].site = cloud;
    let here = s.site(50, 500, 7 * MS);
    s.fetcher_at(here);
}

fn paid_store(s: &mut Setup) {
    homes_and_a_store(s);
    s.bound_by(210);
    s.limits = Limits {
        time: (1.25, 0.5),
        origin: 0.4,
        waste: 0.05,
    };
    s.also = |world| stores_gave(world, 0.55..0.9);
}

/// Who saves does not pay while the others give 60 Mbit/s.
fn paid_store_saver(s: &mut Setup) {
    homes_and_a_store(s);
    s.world.mode = Mode::Saver;
    s.bound_by(60);
    s.limits = Limits {
        time: (1.15, 0.5),
        origin: 0.6,
        waste: 0.05,
    };
    s.also = |world| stores_gave(world, 0.0..0.02);
}

/// Root and manifest enter a site for each of its devices, and are not counted.
fn entered_at_most(world: &World, sites: &[usize], most: f64) -> Result<(), String> {
    let content = &world.contents[&1];
    let lengths = [Space::Root, Space::Manifest]
        .into_iter()
        .flat_map(|space| content.lengths(space));
    let about: u64 = lengths.map(|length| u64::from(*length)).sum::<u64>() * AT_A_SITE;
    for site in sites {
        let entered =
            world.sites[*site].entered.saturating_sub(about) as f64 / content.bytes() as f64;
        if entered > most {
            return Err(format!(
                "{entered:.3} of the share entered site {site}, {most} is allowed"
            ));
        }
    }
    Ok(())
}

fn stores_gave(world: &World, part: std::ops::Range<f64>) -> Result<(), String> {
    let sent: u64 = world
        .devices
        .iter()
        .filter(|d| d.store)
        .map(|d| d.counters.sent)
        .sum();
    let gave = sent as f64 / world.contents[&1].bytes() as f64;
    match part.contains(&gave) {
        true => Ok(()),
        false => Err(format!(
            "the store gave {gave:.3} of the share, not {part:?}"
        )),
    }
}
