//! Giving as the giver sees it: to which device how much of a share goes, and how far that device
//! says it is.
//!
//! Bytes that are given are counted here, where it is sent. How much a device has is its own word
//! ([`Progress`]): it may have got the most of it elsewhere, and it may lie. So it is shown to
//! people, and ends waits and shares whose user wanted that; it changes nothing about what is given
//! to whom. What a device says to a store of a relay, from which it takes everything, reaches the
//! share's owner by the relay, which might lie too: such a record says so.
//!
//! Bounded: [`MAX_OF_SHARE`] devices of one share and [`MAX`] in all. The one that has been gone
//! longest makes room; while all are there, a new one is not listed, and its completion is told all
//! the same. Completions that nobody takes are bounded by [`MAX_NEWS`], the oldest goes first.

use hither_api::SourceKind;
use hither_proto::{DeviceId, Progress, ShareId};
use hither_util::clock::unix_seconds;
use hither_util::sync::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::MutexGuard;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

/// Devices that are remembered of one share.
const MAX_OF_SHARE: usize = 64;
/// Devices that are remembered in all.
const MAX: usize = 1024;
/// Completions that wait to be taken.
const MAX_NEWS: usize = 1024;
/// Time for which a relay's word counts as the state of now.
const FRESH: Duration = Duration::from_secs(10);
/// A completion that is told by the device and by a relay within that time is one.
const SAME: u64 = 60;
/// A rate is that of the last seconds.
const WINDOW: Duration = Duration::from_secs(3);
/// Samples of a rate are at least that far apart: there are at most 31 of each.
const SAMPLE: Duration = Duration::from_millis(100);

/// The part one device is given of one share, as it stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Giving {
    /// The share.
    pub share: ShareId,
    /// The device that fetches it.
    pub device: DeviceId,
    /// How it is reached: `lan`, `direct` or `relayed`.
    pub way: SourceKind,
    /// True if it has a session or stream about the share now.
    pub open: bool,
    /// Bytes of chunks of data that this device gave it.
    pub given: u64,
    /// The same for each of the last seconds.
    pub rate: u64,
    /// The version it says it has something of; 0 while it said nothing.
    pub version: u64,
    /// Bytes of that version's files that it says it has.
    pub has: u64,
    /// How many more it has each second, wherever they come from.
    pub growth: u64,
    /// True if it says that it has all of that version.
    pub complete: bool,
    /// How often it came to have all of a version.
    pub times: u64,
    /// When it was first heard of, Unix seconds.
    pub since: u64,
    /// When it came to have all of a version last, Unix seconds.
    pub done: Option<u64>,
    /// A relay said it last, of a store of its own, and not the device itself.
    pub by_store: bool,
    /// The relay's revision of what it said last; 0: nothing.
    pub revision: u64,
    /// The user does not want to see it, until something new happens.
    pub hidden: bool,
}

impl Giving {
    /// The part that outlives the daemon, of a device that has come to have all of a version.
    pub fn finished(&self) -> Option<FinishedGiving> {
        Some(FinishedGiving {
            share: self.share,
            device: self.device,
            version: self.version,
            bytes: self.has,
            given: self.given,
            times: self.times,
            since: self.since,
            done: self.done?,
            by_store: self.by_store,
            revision: self.revision,
            hidden: self.hidden,
        })
    }
}

/// A device that came to have all of a version, as it is remembered over restarts; the fields are
/// those of [`Giving`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct FinishedGiving {
    pub share: ShareId,
    pub device: DeviceId,
    pub version: u64,
    pub bytes: u64,
    pub given: u64,
    pub times: u64,
    pub since: u64,
    pub done: u64,
    pub by_store: bool,
    pub revision: u64,
    pub hidden: bool,
}

/// A device came to have all of a version of a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completion {
    /// The share.
    pub share: ShareId,
    /// The device.
    pub device: DeviceId,
    /// The version that it says it has.
    pub version: u64,
}

/// A number that grows, and how fast.
#[derive(Debug, Default)]
struct Pace {
    total: u64,
    samples: VecDeque<(Instant, u64)>,
}

impl Pace {
    fn is(&mut self, total: u64, now: Instant) {
        if total < self.total {
            self.samples.clear();
        }
        self.total = total;
        match self.samples.back() {
            Some((at, _)) if now.duration_since(*at) < SAMPLE => {}
            _ => self.samples.push_back((now, total)),
        }
        while self.samples.len() > 2 && now.duration_since(self.samples[1].0) > WINDOW {
            self.samples.pop_front();
        }
    }

    /// By how much it grew in each of the last seconds.
    fn rate(&self, now: Instant) -> u64 {
        let recent = |at: &Instant| now.duration_since(*at) <= WINDOW;
        let (Some((first, from)), Some((last, _))) = (self.samples.front(), self.samples.back())
        else {
            return 0;
        };
        let time = now.duration_since(*first).as_secs_f64();
        if !recent(last) || time < 0.05 {
            return 0;
        }
        (self.total.saturating_sub(*from) as f64 / time) as u64
    }
}

#[derive(Debug)]
struct Record {
    way: SourceKind,
    /// Sessions and streams that are open.
    open: usize,
    left: Instant,
    given: Pace,
    has: Pace,
    version: u64,
    complete: bool,
    /// It was seen on its way to a version since it had one last: a device that only comes back has
    /// not fetched anything.
    on_its_way: bool,
    times: u64,
    since: u64,
    done: Option<u64>,
    by_store: bool,
    revision: u64,
    /// When a relay spoke of it last.
    heard: Option<Instant>,
    hidden: bool,
}

impl Record {
    fn new(way: SourceKind) -> Self {
        Self {
            way,
            open: 0,
            left: Instant::now(),
            given: Pace::default(),
            has: Pace::default(),
            version: 0,
            complete: false,
            on_its_way: false,
            times: 0,
            since: unix_seconds(),
            done: None,
            by_store: false,
            revision: 0,
            heard: None,
            hidden: false,
        }
    }

    fn giving(&self, (share, device): (ShareId, DeviceId), now: Instant) -> Giving {
        let is_fresh = |at: Instant| now.duration_since(at) <= FRESH;
        let told = self.by_store && !self.complete && self.heard.is_some_and(is_fresh);
        let open = self.open > 0 || told;
        Giving {
            share,
            device,
            way: if self.by_store {
                SourceKind::Store
            } else {
                self.way
            },
            open,
            given: self.given.total,
            rate: if open { self.given.rate(now) } else { 0 },
            version: self.version,
            has: self.has.total,
            growth: if open { self.has.rate(now) } else { 0 },
            complete: self.complete,
            times: self.times,
            since: self.since,
            done: self.done,
            by_store: self.by_store,
            revision: self.revision,
            hidden: self.hidden,
        }
    }

    /// Takes what a relay says that the device said to a store; returns whether it has come to have
    /// all of a version by that.
    fn take_of_store(&mut self, said: &Progress, revision: u64, now: Instant) -> bool {
        let is_known = self.revision != 0 && self.revision == revision;
        let same = self.complete && self.version == said.version;
        let lately = self.done.is_some_and(|done| unix_seconds() < done + SAME);
        self.revision = revision;
        // The device's own word, said here, counts, and comes sooner.
        if is_known || (same && lately) || (self.open > 0 && !said.complete) {
            return false;
        }
        (self.by_store, self.heard) = (true, Some(now));
        self.on_its_way = true;
        self.take(said, now)
    }

    /// Takes what the device says; returns whether it has come to have all of a version by that.
    fn take(&mut self, said: &Progress, now: Instant) -> bool {
        // A follower that comes back says what it has: that is nothing new.
        self.hidden &= said.complete && !self.on_its_way;
        self.version = said.version;
        self.has.is(said.bytes, now);
        self.complete = said.complete;
        if !said.complete {
            self.on_its_way = true;
            return false;
        }
        let came = std::mem::take(&mut self.on_its_way);
        if came {
            self.times = self.times.saturating_add(1);
            self.done = Some(unix_seconds());
        }
        came
    }
}

#[derive(Debug, Default)]
struct State {
    records: HashMap<(ShareId, DeviceId), Record>,
    news: VecDeque<Completion>,
}

impl State {
    /// The record of a device, made when there is room.
    fn record(&mut self, key: (ShareId, DeviceId), way: SourceKind) -> Option<&mut Record> {
        if !self.records.contains_key(&key) {
            let of_share = |k: &(ShareId, DeviceId)| k.0 == key.0;
            let is_full = self.records.keys().filter(|k| of_share(k)).count() >= MAX_OF_SHARE;
            if (is_full || self.records.len() >= MAX)
                && !self.make_room(|k| !is_full || of_share(k))
            {
                return None;
            }
            self.records.insert(key, Record::new(way));
        }
        self.records.get_mut(&key)
    }

    /// A completion waits to be taken.
    fn tell(&mut self, one: Completion) {
        if self.news.len() >= MAX_NEWS {
            self.news.pop_front();
        }
        self.news.push_back(one);
    }

    /// Forgets the one among some that left first; `false` when none of them has left.
    fn make_room(&mut self, among: impl Fn(&(ShareId, DeviceId)) -> bool) -> bool {
        let gone = self
            .records
            .iter()
            .filter(|(key, record)| among(key) && record.open == 0)
            .min_by_key(|(_, record)| record.left)
            .map(|(key, _)| *key);
        gone.is_some_and(|key| self.records.remove(&key).is_some())
    }
}

/// Everything that is given, and was.
#[derive(Debug, Default)]
pub struct Givings {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
    completed: Notify,
}

impl Givings {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn changed(&self) {
        self.changes
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// A device opened a session or stream about a share; it is open until the guard is dropped.
    pub(crate) fn open(&self, share: ShareId, device: DeviceId, way: SourceKind) -> Opened<'_> {
        if let Some(record) = self.lock().record((share, device), way) {
            record.open += 1;
            record.way = way;
        }
        self.changed();
        Opened {
            of: self,
            share,
            device,
        }
    }

    /// Bytes of chunks went to a device; `data`: of files, and not of the list of them.
    pub(crate) fn sent(&self, share: ShareId, device: DeviceId, bytes: u64, data: bool) {
        if let Some(record) = self.lock().records.get_mut(&(share, device)) {
            // A device that asks for something has not got all of it.
            record.on_its_way = true;
            record.hidden = false;
            if data {
                let total = record.given.total.saturating_add(bytes);
                record.given.is(total, Instant::now());
            }
        }
        self.changed();
    }

    /// A device says how much it has.
    pub(crate) fn said(&self, share: ShareId, device: DeviceId, said: &Progress) {
        let came = {
            let mut state = self.lock();
            let came = match state.records.get_mut(&(share, device)) {
                Some(record) => {
                    record.by_store = false;
                    record.take(said, Instant::now())
                }
                None => said.complete,
            };
            if came {
                state.tell(Completion {
                    share,
                    device,
                    version: said.version,
                });
            }
            came
        };
        if came {
            self.completed.notify_one();
        }
        self.changed();
    }

    /// A relay says what a device said to a store of it: how far it is with a share of this device.
    /// `revision`: that of the relay, by which it is known when it is told again.
    pub fn said_to_store(&self, share: ShareId, device: DeviceId, said: &Progress, revision: u64) {
        let came = {
            let mut state = self.lock();
            let record = state.record((share, device), SourceKind::Store);
            let came = match record {
                Some(record) => record.take_of_store(said, revision, Instant::now()),
                None => said.complete,
            };
            if came {
                state.tell(Completion {
                    share,
                    device,
                    version: said.version,
                });
            }
            came
        };
        if came {
            self.completed.notify_one();
        }
        self.changed();
    }

    /// Remembers what outlived a restart; `false` when there is no room.
    pub fn restore(&self, one: FinishedGiving) -> bool {
        let mut state = self.lock();
        let now = Instant::now();
        let Some(record) = state.record((one.share, one.device), SourceKind::Direct) else {
            return false;
        };
        record.has.is(one.bytes, now);
        record.given.is(one.given, now);
        (record.version, record.complete) = (one.version, true);
        (record.times, record.since) = (one.times, one.since);
        record.done = Some(one.done);
        (record.by_store, record.revision) = (one.by_store, one.revision);
        record.hidden = one.hidden;
        true
    }

    /// Hides those that fetch nothing now; returns them.
    pub fn hide(&self) -> Vec<Giving> {
        let now = Instant::now();
        let mut state = self.lock();
        let mut hidden = Vec::new();
        for (key, record) in &mut state.records {
            let giving = record.giving(*key, now);
            if !giving.hidden && (giving.complete || !giving.open) {
                record.hidden = true;
                hidden.push(record.giving(*key, now));
            }
        }
        drop(state);
        self.changed();
        hidden
    }

    /// One device of a share.
    pub fn of(&self, share: ShareId, device: DeviceId) -> Option<Giving> {
        let state = self.lock();
        let record = state.records.get(&(share, device))?;
        Some(record.giving((share, device), Instant::now()))
    }

    /// A share has ended here: nothing is remembered of it.
    pub fn forget(&self, share: ShareId) {
        self.lock().records.retain(|(of, _), _| *of != share);
        self.changed();
    }

    /// Everything, in no order.
    pub fn all(&self) -> Vec<Giving> {
        let now = Instant::now();
        let state = self.lock();
        state
            .records
            .iter()
            .map(|(key, r)| r.giving(*key, now))
            .collect()
    }

    /// Follows changes: counts up with each.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Waits until devices have come to have all of something, and returns which. For one listener.
    pub async fn completions(&self) -> Vec<Completion> {
        loop {
            let news: Vec<_> = self.lock().news.drain(..).collect();
            if !news.is_empty() {
                return news;
            }
            self.completed.notified().await;
        }
    }
}

/// A session or stream that is open.
pub(crate) struct Opened<'a> {
    of: &'a Givings,
    share: ShareId,
    device: DeviceId,
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        if let Some(record) = self.of.lock().records.get_mut(&(self.share, self.device)) {
            record.open = record.open.saturating_sub(1);
            record.left = Instant::now();
        }
        self.of.changed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(n: usize) -> DeviceId {
        // Not every 32 bytes are a key.
        (0u16..=u16::MAX)
            .filter_map(|n| {
                let mut bytes = [7; 32];
                bytes[..2].copy_from_slice(&n.to_be_bytes());
                DeviceId::from_slice(&bytes).ok()
            })
            .nth(n)
            .unwrap()
    }

    fn share(n: u8) -> ShareId {
        ShareId::new([n; 16])
    }

    fn progress(bytes: u64, complete: bool) -> Progress {
        Progress {
            version: 1,
            bytes,
            complete,
        }
    }

    #[tokio::test]
    async fn a_device_that_comes_to_have_all_is_news_once() {
        let givings = Givings::default();
        let _open = givings.open(share(1), device(0), SourceKind::Lan);
        givings.sent(share(1), device(0), 40, true);
        givings.said(share(1), device(0), &progress(100, false));
        let one = givings.all().remove(0);
        assert_eq!((one.given, one.has, one.open), (40, 100, true));
        givings.said(share(1), device(0), &progress(200, true));
        givings.said(share(1), device(0), &progress(200, true));
        let news = givings.completions().await;
        assert_eq!((news.len(), news[0].device), (1, device(0)));
        let one = givings.all().remove(0);
        assert_eq!((one.times, one.complete), (1, true));
        // It comes back, as a follower does, and says again what it has.
        givings.said(share(1), device(0), &progress(200, true));
        assert_eq!(givings.all()[0].times, 1);
        givings.said(share(1), device(0), &progress(0, false));
        givings.said(share(1), device(0), &progress(200, true));
        assert_eq!(givings.completions().await.len(), 1);
        assert_eq!(givings.all()[0].times, 2);
        givings.forget(share(1));
        assert!(givings.all().is_empty());
    }

    #[tokio::test]
    async fn a_fetch_from_a_store_is_told_by_the_relay_and_counts_once() {
        let givings = Givings::default();
        let (share, reader) = (share(1), device(0));
        givings.said_to_store(share, reader, &progress(40, false), 5);
        let one = givings.all().remove(0);
        assert_eq!((one.has, one.open, one.by_store), (40, true, true));
        assert_eq!((one.way, one.given), (SourceKind::Store, 0));
        givings.said_to_store(share, reader, &progress(100, true), 6);
        // The relay tells it again until it knows that it was heard.
        givings.said_to_store(share, reader, &progress(100, true), 6);
        assert_eq!(givings.completions().await.len(), 1);
        let one = givings.of(share, reader).unwrap();
        assert_eq!((one.times, one.complete, one.open), (1, true, false));
        // A device that asks here says it here: the relay's word of the same fetch changes nothing.
        let (other, _open) = (device(1), givings.open(share, device(1), SourceKind::Lan));
        givings.said_to_store(share, other, &progress(1, false), 7);
        assert!(!givings.of(share, other).unwrap().by_store);
        givings.said(share, other, &progress(2, false));
        givings.said(share, other, &progress(100, true));
        givings.said_to_store(share, other, &progress(100, true), 8);
        let one = givings.of(share, other).unwrap();
        assert_eq!((one.times, one.by_store), (1, false));
        // After a restart it is known, and the relay's word that was not answered too.
        let after = Givings::default();
        let kept = givings.of(share, reader).unwrap().finished().unwrap();
        assert!(after.restore(kept));
        after.said_to_store(share, reader, &progress(100, true), 6);
        assert_eq!(after.of(share, reader).unwrap().times, 1);
        assert!(after.lock().news.is_empty());
        after.said_to_store(share, reader, &progress(100, true), 9);
        assert!(after.lock().news.len() <= 1);
    }

    #[tokio::test]
    async fn what_is_over_is_hidden_until_something_new_happens() {
        let givings = Givings::default();
        let (share, done, going) = (share(1), device(0), device(1));
        let _open = givings.open(share, going, SourceKind::Lan);
        givings.said(share, going, &progress(10, false));
        drop(givings.open(share, done, SourceKind::Lan));
        givings.said(share, done, &progress(0, false));
        givings.said(share, done, &progress(100, true));
        let hidden = givings.hide();
        assert_eq!((hidden.len(), hidden[0].device), (1, done));
        assert!(!givings.of(share, going).unwrap().hidden);
        givings.said(share, done, &progress(100, true));
        assert!(givings.of(share, done).unwrap().hidden);
        givings.said(share, done, &progress(1, false));
        assert!(!givings.of(share, done).unwrap().hidden);
    }

    #[tokio::test]
    async fn a_crowd_is_bounded_and_who_is_there_stays() {
        let givings = Givings::default();
        let stays = givings.open(share(1), device(0), SourceKind::Lan);
        for n in 1..MAX_OF_SHARE + 40 {
            drop(givings.open(share(1), device(n), SourceKind::Direct));
        }
        let all = givings.all();
        assert_eq!(all.len(), MAX_OF_SHARE);
        assert!(all.iter().any(|one| one.device == device(0) && one.open));
        drop(stays);
        for n in 2..200u8 {
            for d in 0..8 {
                drop(givings.open(share(n), device(d), SourceKind::Direct));
            }
        }
        assert_eq!(givings.all().len(), MAX);
        // One that is not listed is news all the same, and news are bounded.
        for _ in 0..MAX_NEWS + 5 {
            givings.said(share(255), device(0), &progress(1, true));
        }
        assert_eq!(givings.completions().await.len(), MAX_NEWS);
    }

    #[test]
    fn a_pace_is_that_of_the_last_seconds() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        for second in 0..10u64 {
            pace.is(second * 1000, start + Duration::from_secs(second));
        }
        let now = start + Duration::from_secs(9);
        assert!((900..=1100).contains(&pace.rate(now)), "{}", pace.rate(now));
        assert_eq!(pace.rate(now + Duration::from_secs(4)), 0);
        pace.is(0, now + Duration::from_secs(5));
        assert_eq!(pace.rate(now + Duration::from_secs(5)), 0);
        assert!(pace.samples.len() <= 31);
    }
}
