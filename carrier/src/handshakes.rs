//! Accepted connections whose handshake is not finished.
//!
//! Anybody can begin a handshake and fall silent, so a full table turns nobody away: the oldest
//! unfinished handshake goes, of the network that has begun most of them. An honest handshake takes
//! a few round trips and is never the oldest for long; one that comes alone from its network is
//! touched only when as many networks as there are places have begun one each.
//!
//! Each carrier has a table of its own, so that silent TCP connections do not shut out QUIC.

use crate::bounds::{Site, Source};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

#[derive(Debug)]
struct Entry {
    source: Source,
    site: Site,
    evicted: CancellationToken,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    /// By age, the oldest first.
    open: BTreeMap<u64, Entry>,
}

impl Table {
    fn evict_oldest(&mut self, of: impl Fn(&Entry) -> bool) {
        let oldest = self
            .open
            .iter()
            .find(|(_, entry)| of(entry))
            .map(|(number, _)| *number);
        if let Some(entry) = oldest.and_then(|number| self.open.remove(&number)) {
            entry.evicted.cancel();
        }
    }

    /// The network with most unfinished handshakes.
    fn busiest(&self) -> Option<Site> {
        let mut counts: HashMap<Site, usize> = HashMap::new();
        self.open
            .values()
            .for_each(|entry| *counts.entry(entry.site).or_default() += 1);
        counts
            .into_iter()
            .max_by_key(|(_, count)| *count)
            .map(|(site, _)| site)
    }
}

/// The unfinished handshakes of one carrier.
#[derive(Debug)]
pub(crate) struct Handshakes {
    most: usize,
    most_each: usize,
    table: Mutex<Table>,
}

impl Handshakes {
    /// At most `most` at once, `most_each` of them from one source; both at least 1.
    pub(crate) fn new(most: usize, most_each: usize) -> Arc<Self> {
        Arc::new(Self {
            most: most.max(1),
            most_each: most_each.max(1),
            table: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place, from an older handshake if there is none.
    pub(crate) fn begin(self: &Arc<Self>, address: IpAddr) -> Handshake {
        let (source, site) = (Source::from(address), Site::from(address));
        let mut table = self.lock();
        if table
            .open
            .values()
            .filter(|entry| entry.source == source)
            .count()
            >= self.most_each
        {
            table.evict_oldest(|entry| entry.source == source);
        }
        if table.open.len() >= self.most {
            let busiest = table.busiest();
            table.evict_oldest(|entry| Some(entry.site) == busiest);
        }
        let (number, evicted) = (table.next, CancellationToken::new());
        table.next += 1;
        table.open.insert(
            number,
            Entry {
                source,
                site,
                evicted: evicted.clone(),
            },
        );
        Handshake {
            table: Arc::clone(self),
            number,
            evicted,
        }
    }

    /// Handshakes that are not finished.
    pub(crate) fn open(&self) -> usize {
        self.lock().open.len()
    }
}

/// A place for one handshake, given back when dropped.
#[derive(Debug)]
pub(crate) struct Handshake {
    table: Arc<Handshakes>,
    number: u64,
    evicted: CancellationToken,
}

impl Handshake {
    /// Waits until a newer handshake has taken the place.
    pub(crate) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.table.lock().open.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn evicted(handshake: &Handshake) -> bool {
        handshake.evicted.is_cancelled()
    }

    #[test]
    fn the_oldest_of_a_source_makes_room_for_its_newest() {
        let table = Handshakes::new(100, 2);
        let held: Vec<Handshake> = (0..3).map(|_| table.begin(ip("10.0.0.1"))).collect();
        assert_eq!(
            held.iter().map(evicted).collect::<Vec<_>>(),
            [true, false, false]
        );
        assert_eq!(table.open(), 2);
    }

    #[test]
    fn whoever_comes_alone_is_not_pushed_out_by_a_crowd() {
        let table = Handshakes::new(8, 4);
        let alone = table.begin(ip("192.0.2.1"));
        // Many addresses of one IPv6 site, and of a neighbouring one.
        let crowd: Vec<Handshake> = (0..1000)
            .map(|n| table.begin(ip(&format!("2001:db8:{:x}:{n:x}::1", n % 2))))
            .collect();
        assert!(!evicted(&alone), "a crowd pushes out its own");
        assert_eq!(table.open(), 8);
        assert_eq!(crowd.iter().filter(|one| !evicted(one)).count(), 7);
        drop(crowd);
        assert_eq!(table.open(), 1);
        drop(alone);
        assert_eq!(table.open(), 0);
    }

    #[test]
    fn a_place_that_was_taken_away_is_not_given_back_twice() {
        let table = Handshakes::new(1, 1);
        let (first, second) = (table.begin(ip("10.0.0.1")), table.begin(ip("10.9.0.1")));
        assert!(evicted(&first));
        drop(first);
        assert_eq!(table.open(), 1);
        assert!(!evicted(&second));
    }
}
