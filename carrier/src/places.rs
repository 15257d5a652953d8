//! Places of accepted connections whose handshake is finished, and who is in them.
//!
//! A key costs nothing, so a handshake alone earns no lasting place: when there is none left, the
//! oldest connection goes of those whose device nobody here has vouched for ([`Vouched`]), first
//! from the address, then from the network that has most. A vouched device keeps its places.
//! Dialled connections have places of their own, which nobody else can fill.

use crate::bounds::{Site, Source};
use crate::vouched::Vouched;
use hither_proto::DeviceId;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

#[derive(Debug)]
struct Entry {
    source: Source,
    site: Site,
    device: DeviceId,
    evicted: CancellationToken,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    /// By age, the oldest first.
    taken: BTreeMap<u64, Entry>,
    /// How many of them each source has: the table is searched only where this shows that a bound
    /// may be reached.
    by_source: HashMap<Source, usize>,
}

impl Table {
    fn of_source(&self, source: Source) -> usize {
        self.by_source.get(&source).copied().unwrap_or(0)
    }

    fn insert(&mut self, entry: Entry) -> u64 {
        let number = self.next;
        self.next += 1;
        *self.by_source.entry(entry.source).or_default() += 1;
        self.taken.insert(number, entry);
        number
    }

    fn remove(&mut self, number: u64) -> Option<Entry> {
        let entry = self.taken.remove(&number)?;
        if let Some(count) = self.by_source.get_mut(&entry.source) {
            *count -= 1;
            if *count == 0 {
                self.by_source.remove(&entry.source); // so that it does not grow with every address ever seen
            }
        }
        Some(entry)
    }

    /// Takes a place away; `false`: none may be.
    fn evict_oldest(&mut self, of: impl Fn(&Entry) -> bool) -> bool {
        let oldest = self
            .taken
            .iter()
            .find(|(_, entry)| of(entry))
            .map(|(number, _)| *number);
        match oldest.and_then(|number| self.remove(number)) {
            Some(entry) => {
                entry.evicted.cancel();
                true
            }
            None => false,
        }
    }

    /// The network with most connections of those that may go.
    fn busiest(&self, may_go: impl Fn(&Entry) -> bool) -> Option<Site> {
        let mut counts: HashMap<Site, usize> = HashMap::new();
        let entries = self.taken.values().filter(|entry| may_go(entry));
        entries.for_each(|entry| *counts.entry(entry.site).or_default() += 1);
        counts
            .into_iter()
            .max_by_key(|(_, count)| *count)
            .map(|(site, _)| site)
    }
}

/// The places of one endpoint.
#[derive(Debug)]
pub(crate) struct Places {
    most: usize,
    most_each: usize,
    table: Mutex<Table>,
    vouched: Arc<Vouched>,
}

impl Places {
    /// At most `most` at once, `most_each` of them from one source.
    pub(crate) fn new(most: usize, most_each: usize, vouched: Arc<Vouched>) -> Arc<Self> {
        Arc::new(Self {
            most,
            most_each,
            table: Mutex::default(),
            vouched,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a connection of `device` from `address`; `None`: all that could be taken
    /// belong to vouched devices.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr, device: DeviceId) -> Option<Place> {
        let (source, site) = (Source::from(address), Site::from(address));
        let may_go = |entry: &Entry| !self.vouched.contains(&entry.device);
        let mut table = self.lock();
        if table.of_source(source) >= self.most_each
            && !table.evict_oldest(|entry| entry.source == source && may_go(entry))
        {
            return None;
        }
        if table.taken.len() >= self.most {
            let busiest = table.busiest(may_go)?;
            if !table.evict_oldest(|entry| entry.site == busiest && may_go(entry)) {
                return None;
            }
        }
        let evicted = CancellationToken::new();
        let number = table.insert(Entry {
            source,
            site,
            device,
            evicted: evicted.clone(),
        });
        Some(Place {
            places: Arc::clone(self),
            number,
            evicted,
        })
    }

    /// The same for a connection that its owner ends soon when it stays silent: takes nothing from
    /// anybody. Devices that nobody has vouched for get three quarters of the places, so that the
    /// others always find one.
    pub(crate) fn take_free(self: &Arc<Self>, address: IpAddr, device: DeviceId) -> Option<Place> {
        let (source, site) = (Source::from(address), Site::from(address));
        let mut table = self.lock();
        if table.taken.len() >= self.most {
            return None;
        }
        let (crowded, most) = (table.of_source(source) >= self.most_each, self.most / 4 * 3);
        if (crowded || table.taken.len() >= most) && !self.vouched.contains(&device) {
            let strangers = table
                .taken
                .values()
                .filter(|entry| !self.vouched.contains(&entry.device));
            let (all, here) = strangers.fold((0, 0), |(all, here), entry| {
                (all + 1, here + usize::from(entry.source == source))
            });
            if here >= self.most_each || all >= most {
                return None;
            }
        }
        let evicted = CancellationToken::new();
        let number = table.insert(Entry {
            source,
            site,
            device,
            evicted: evicted.clone(),
        });
        Some(Place {
            places: Arc::clone(self),
            number,
            evicted,
        })
    }
}

/// A place of one accepted connection, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    number: u64,
    evicted: CancellationToken,
}

impl Place {
    /// Is cancelled when another connection has taken the place: this one is to be closed.
    pub(crate) fn evicted(&self) -> CancellationToken {
        self.evicted.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().remove(self.number);
        // Frees tasks that wait for an eviction that will not come any more.
        self.evicted.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn device() -> DeviceId {
        Identity::generate().unwrap().device_id()
    }

    fn gone(place: &Place) -> bool {
        place.evicted.is_cancelled()
    }

    #[test]
    fn strangers_push_out_strangers_and_never_a_vouched_device() {
        let vouched = Arc::new(Vouched::default());
        let places = Places::new(4, 2, Arc::clone(&vouched));
        let (friend, quiet) = (device(), device());
        vouched.add(friend);
        let kept = places.take(ip("10.0.0.1"), friend).unwrap();
        let alone = places.take(ip("192.0.2.1"), quiet).unwrap();
        let crowd: Vec<Place> = (0..50)
            .map(|n| places.take(ip(&format!("10.1.1.{n}")), device()).unwrap())
            .collect();
        assert!(!gone(&kept), "it is vouched for");
        assert!(!gone(&alone), "the crowd has more places than it");
        assert_eq!(crowd.iter().filter(|place| !gone(place)).count(), 2);
    }

    #[test]
    fn one_address_has_so_many_places_and_its_newest_connection_gets_one() {
        let vouched = Arc::new(Vouched::default());
        let places = Places::new(100, 2, Arc::clone(&vouched));
        let held: Vec<Place> = (0..3)
            .map(|_| places.take(ip("10.0.0.1"), device()).unwrap())
            .collect();
        assert_eq!(
            held.iter().map(gone).collect::<Vec<_>>(),
            [true, false, false]
        );
        drop(held);
        // Where vouched devices have all of them nobody is let in.
        let friend = device();
        vouched.add(friend);
        let held: Vec<Place> = (0..2)
            .map(|_| places.take(ip("10.0.0.1"), friend).unwrap())
            .collect();
        assert!(places.take(ip("10.0.0.1"), device()).is_none());
        assert!(held.iter().all(|place| !gone(place)));
    }

    #[test]
    fn strangers_leave_a_quarter_of_what_is_not_taken_away() {
        let vouched = Arc::new(Vouched::default());
        let places = Places::new(8, 3, Arc::clone(&vouched));
        let (stranger, friend) = (device(), device());
        vouched.add(friend);
        let take = |address: &str, device| places.take_free(ip(address), device);
        let mut held: Vec<Place> = (0..3)
            .map(|_| take("10.0.0.1", stranger).unwrap())
            .collect();
        assert!(
            take("10.0.0.1", stranger).is_none(),
            "the bound of one address"
        );
        held.extend((0..3).map(|_| take("10.0.0.2", device()).unwrap()));
        assert!(
            take("10.0.0.3", stranger).is_none(),
            "the bound of all strangers"
        );
        held.extend((0..2).map(|_| take("10.0.0.1", friend).unwrap()));
        assert!(take("10.0.0.1", friend).is_none(), "the bound of all");
        // A device that is vouched for meanwhile counts as a stranger no more.
        held.truncate(6);
        vouched.add(stranger);
        assert!(take("10.0.0.3", device()).is_some());
        assert!(held.iter().all(|place| !gone(place)));
    }

    #[test]
    fn all_places_of_vouched_devices_are_kept() {
        let vouched = Arc::new(Vouched::default());
        let places = Places::new(2, 2, Arc::clone(&vouched));
        let friends = [device(), device()];
        friends.iter().for_each(|friend| vouched.add(*friend));
        let held: Vec<Place> = friends
            .iter()
            .map(|friend| places.take(ip("10.0.0.1"), *friend).unwrap())
            .collect();
        assert!(places.take(ip("10.7.0.1"), device()).is_none());
        drop(held);
        assert!(places.take(ip("10.7.0.1"), device()).is_some());
    }
}
