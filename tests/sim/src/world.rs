//! The world: devices, connections, virtual time and the queue of what happens next.
//!
//! Invariants: events happen in the order of their times and, at the same time, in the order in
//! which they were made; the first broken rule ends the run and is kept as its
//! [`World::violation`].

use super::content::Content;
use super::device::{Device, Link, Nature};
use super::event::{At, Event, Local, MS};
use super::rng::Rng;
use super::session::Session;
use super::sites::Site;
use super::trace::Trace;
use super::{bulk::Stream, event::SECOND};
use hither_engine::{Engine, EngineConfig, Mode, Prices, Time};
use hither_proto::{DeviceId, Price, ShareId, ShareSecret};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::OnceLock;
use std::time::Duration;

/// Most events of one run: more means that something goes in circles without time passing.
const MAX_EVENTS: u64 = 3_000_000;

/// How the network and the daemons of a run are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Net {
    /// Part of the chunks and messages that are sent a second time, which delays what follows on
    /// their stream.
    pub loss: f64,
    /// Most that a message is late by chance.
    pub jitter: At,
    /// Whether the TCP carrier connects.
    pub tcp: bool,
    /// Longest time that a written chunk takes to be on disk.
    pub disk: At,
}

struct Entry {
    at: At,
    number: u64,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// Everything there is in one run.
pub(crate) struct World {
    pub now: At,
    pub rng: Rng,
    pub net: Net,
    pub sites: Vec<Site>,
    /// Longest time until devices have discovered each other: on one site, and from one to
    /// another.
    pub meets: (At, At),
    /// What waiting is worth to everybody.
    pub mode: Mode,
    /// What sources cost everybody.
    pub prices: Prices,
    pub share: ShareId,
    pub owner: usize,
    pub contents: BTreeMap<u64, Content>,
    pub devices: Vec<Device>,
    pub index: BTreeMap<DeviceId, usize>,
    pub sessions: BTreeMap<u64, Session>,
    pub streams: BTreeMap<u64, Stream>,
    /// Pairs of devices that cannot reach each other until then.
    pub blocked: BTreeMap<(usize, usize), At>,
    /// Sessions with honest devices that an engine closed in the middle of its fetch.
    pub needless_closes: u32,
    pub trace: Trace,
    pub violation: Option<String>,
    queue: BinaryHeap<Reverse<Entry>>,
    pushed: u64,
    next_id: u64,
    ids: Vec<DeviceId>,
}

/// Valid device ids; making one costs a point decompression, so they are made once.
fn device_ids() -> Vec<DeviceId> {
    static IDS: OnceLock<Vec<DeviceId>> = OnceLock::new();
    IDS.get_or_init(|| {
        (0u8..=255)
            .filter_map(|b| DeviceId::from_slice(&[b; DeviceId::LEN]).ok())
            .collect()
    })
    .clone()
}

impl World {
    pub fn new(mut rng: Rng, net: Net, content: Content, keep_lines: bool) -> Self {
        let mut ids = device_ids();
        rng.shuffle(&mut ids);
        Self {
            now: 0,
            rng,
            net,
            sites: vec![Site::everywhere()],
            meets: (SECOND, SECOND),
            mode: Mode::Balanced,
            prices: Prices {
                store: Price::per_gib(0.09).unwrap_or_default(),
                ..Prices::default()
            },
            share: ShareSecret::new([7; 16]).share_id(),
            owner: 0,
            contents: [(1, content)].into(),
            devices: Vec::new(),
            index: BTreeMap::new(),
            sessions: BTreeMap::new(),
            streams: BTreeMap::new(),
            blocked: BTreeMap::new(),
            needless_closes: 0,
            trace: Trace::new(keep_lines),
            violation: None,
            queue: BinaryHeap::new(),
            pushed: 0,
            next_id: 1,
            ids,
        }
    }

    // --- who is there ---

    fn add(&mut self, link: Link, nature: Nature) -> usize {
        let id = self.ids.pop().expect("fewer devices than ids");
        let device = self.devices.len();
        self.devices.push(Device::new(id, link, nature));
        self.index.insert(id, device);
        self.start_engine(device);
        device
    }

    /// A device that has all of version 1.
    pub fn add_holder(&mut self, link: Link, nature: Nature) -> usize {
        let device = self.add(link, nature);
        let all = self.contents[&1].all();
        let disk = &mut self.devices[device].disk;
        (disk.head, disk.whole) = (1, Some(1));
        disk.manifests.insert(1);
        disk.durable.insert(1, all.clone());
        if let Nature::Boasts { .. } = nature {
            let part = 0.1 + 0.8 * self.rng.unit();
            self.devices[device].actual = all.iter().filter(|_| self.rng.chance(part)).collect();
        }
        self.hold_whole(device);
        device
    }

    /// A store that has all of version 1.
    pub fn add_store(&mut self, link: Link, nature: Nature) -> usize {
        let store = self.add_holder(link, nature);
        self.devices[store].store = true;
        store
    }

    /// A device that fetches from `at` on; `pin` is the only version it takes.
    pub fn add_fetcher(&mut self, link: Link, pin: Option<u64>, at: At) -> usize {
        let device = self.add(link, Nature::Honest);
        self.devices[device].wants = Some(pin);
        self.devices[device].began = at;
        self.local(at, device, Local::Begin);
        device
    }

    pub fn start_engine(&mut self, device: usize) {
        let of = &mut self.devices[device];
        let mut engine = Engine::new(EngineConfig::new(of.id));
        engine.set_prices(
            self.prices,
            Time::from_start(Duration::from_nanos(self.now)),
        );
        of.engine = Some(engine);
    }

    pub fn up(&self, device: usize) -> bool {
        self.devices[device].engine.is_some()
    }

    // --- time ---

    pub fn time(&self) -> Time {
        Time::from_start(Duration::from_nanos(self.now))
    }

    pub fn fresh(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub fn at(&mut self, at: At, event: Event) {
        self.pushed += 1;
        let at = at.max(self.now);
        self.queue.push(Reverse(Entry {
            at,
            number: self.pushed,
            event,
        }));
    }

    /// Something that concerns only the present life of a device.
    pub fn local(&mut self, at: At, device: usize, what: Local) {
        let life = self.devices[device].life;
        self.at(at, Event::Local { device, life, what });
    }

    /// How long a message takes from one device to another, now.
    pub fn latency(&mut self, from: usize, to: usize) -> At {
        let base = self.distance(from, to);
        let jitter = self.rng.below(self.net.jitter + 1);
        let lost = if self.rng.chance(self.net.loss) {
            self.rng.between(20 * MS, 200 * MS)
        } else {
            0
        };
        base + jitter + lost
    }

    pub fn blocked(&self, a: usize, b: usize) -> bool {
        self.blocked
            .get(&(a.min(b), a.max(b)))
            .is_some_and(|until| *until > self.now)
    }

    pub fn note(&mut self, who: usize, what: &'static str, facts: [u64; 3]) {
        self.trace.note(self.now, who, what, facts);
    }

    /// A rule is broken: the run ends.
    pub fn fail(&mut self, device: usize, what: impl std::fmt::Display) {
        let at = self.now as f64 / 1e9;
        self.violation
            .get_or_insert_with(|| format!("at {at:.6} s, d{device}: {what}"));
    }

    /// Devices that want the share.
    pub fn fetchers(&self) -> impl Iterator<Item = (usize, &Device)> {
        self.devices
            .iter()
            .enumerate()
            .filter(|(_, d)| d.wants.is_some())
    }

    /// Whether every device that wants the share has it.
    pub fn all_done(&self) -> bool {
        self.fetchers().all(|(_, d)| d.done.is_some())
    }

    /// Lets time pass until `until`, or until `done` says so, or until a rule is broken.
    pub fn run(&mut self, until: At, done: impl Fn(&Self) -> bool) {
        while self.violation.is_none() && !done(self) {
            if self.queue.peek().is_none_or(|Reverse(e)| e.at > until) {
                self.now = self.now.max(until);
                return;
            }
            let Some(Reverse(entry)) = self.queue.pop() else {
                return;
            };
            self.now = entry.at;
            self.handle(entry.event);
            if self.trace.events() > MAX_EVENTS {
                self.fail(0, "too many events: something goes in circles");
            }
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Local { device, life, what } => {
                if self.devices[device].life == life && self.up(device) {
                    self.handle_local(device, what);
                }
            }
            Event::Dial { from, life, to } => self.dial(from, life, to),
            Event::Say {
                session,
                to,
                message,
            } => self.say_arrives(session, to, message),
            Event::SessionEnds { session, end } => self.session_ends(session, end),
            Event::StreamOpens { stream } => self.stream_opens(stream),
            Event::Ask { stream, message } => self.ask_arrives(stream, message),
            Event::AtTheSite {
                stream,
                message,
                length,
            } => self.at_the_site(stream, message, length),
            Event::InTheSite {
                stream,
                message,
                length,
            } => {
                self.at_the_door(stream, message, length, self.now);
            }
            Event::Answer { stream, message } => self.answer_arrives(stream, message),
            Event::StreamEnds { stream, end } => self.stream_ends(stream, end),
            Event::Crash { device } => self.crash(device),
            Event::Return { device } => self.come_back(device),
            Event::Freeze { device, lasts } => self.freeze(device, lasts),
            Event::Break { a, b, blocked_for } => self.break_pair(a, b, blocked_for),
            Event::BreakLane { from, to, carrier } => self.break_lane(from, to, carrier),
        }
    }

    fn handle_local(&mut self, device: usize, what: Local) {
        match what {
            Local::Timer(at) => self.timer(device, at),
            Local::Begin => self.begin_fetch(device),
            Local::Seen(other) => self.seen(device, other),
            Local::Gone(other) => self.gone(device, other),
            Local::Dialled(to, outcome) => self.dialled(device, to, outcome),
            Local::SessionFailed(to, session) => self.session_failed(device, to, session),
            Local::Tcp(to) => self.tcp_connects(device, to),
            Local::Arrived(chunk) => self.put(device, chunk),
            Local::Checkpoint => self.checkpoint(device),
            Local::Synced(version, positions) => self.synced(device, version, positions),
            Local::Step(step) => self.step(device, step),
            Local::UplinkFree => self.uplink_free(device),
            Local::Thaw => self.pump(device),
            Local::Sent { stream, request } => self.sent(device, stream, request),
            Local::Withdraw(position) => self.withdraw(device, position),
            Local::Publish => self.publish(device),
        }
    }

    /// How the devices stand, for people; a crowd only as far as it is not done.
    pub fn describe(&self) -> String {
        let time = self.time();
        let mut out = String::new();
        let crowd = self.devices.len() > 20;
        for (n, device) in self
            .devices
            .iter()
            .enumerate()
            .filter(|(_, d)| !crowd || d.done.is_none())
        {
            let progress = device
                .engine
                .as_ref()
                .and_then(|e| e.progress(self.share, time));
            let wake = device
                .engine
                .as_ref()
                .and_then(|e| e.poll_timeout(time))
                .map(|t| t.since(time));
            out += &format!(
                "\n  d{n} {:?} {:?} up={} head={} holding={:?} peers={:?} wake in {wake:?} {progress:?}",
                device.nature,
                device.stage,
                device.engine.is_some(),
                device.disk.head,
                device.holding,
                device.peers.keys().take(20).collect::<Vec<_>>(),
            );
        }
        out
    }

    /// Seconds since a device began to fetch until it was done.
    pub fn taken(&self, device: usize) -> Option<f64> {
        let of = &self.devices[device];
        of.done
            .map(|done| done.saturating_sub(of.began) as f64 / SECOND as f64)
    }
}
