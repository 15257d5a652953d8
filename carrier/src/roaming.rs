//! The fate of connections when the network under this device changes.
//!
//! A TCP connection belongs to the address that it was made from: when the device does not have
//! that any more, nothing will ever arrive on it, and it is broken off at once instead of after
//! [`USER_TIMEOUT`](crate::tcp). QUIC connections that this device dialled move with it where the
//! other side can still be reached: each is asked at once, on the way that there is now, and those
//! on which nothing arrives soon are closed. Relays do not move, so they keep no tables.
//!
//! Bound: the tables have an entry for every connection that lives, and at most as many again for
//! ones that ended.

use crate::close_code::CODE;
use crate::duplex::Duplex;
use crate::quic_link::QuicLink;
use futures::future::join_all;
use hither_proto::DeviceId;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::time::sleep;

/// How long a connection may take to show that it lives: three round trips, within these bounds.
/// The first answer on a LAN takes a millisecond; one probe that was lost is repeated by QUIC well
/// within the lower bound.
const PATIENCE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(2));
/// Entries below which a table is not cleared of connections that ended.
const CLEAR_ABOVE: usize = 16;

/// Connections that live, by weak references: being in here keeps nothing open.
struct Table<T>(Mutex<(Vec<T>, usize)>);

impl<T> Table<T> {
    fn new() -> Self {
        Self(Mutex::new((Vec::new(), CLEAR_ABOVE)))
    }

    /// Adds one; clears out those that ended whenever the table has doubled.
    fn add(&self, new: T, lives: impl Fn(&T) -> bool) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (entries, clear_at) = &mut *table;
        if entries.len() >= *clear_at {
            entries.retain(lives);
            *clear_at = CLEAR_ABOVE.max(2 * entries.len());
        }
        entries.push(new);
    }

    fn all<R>(&self, look: impl FnMut(&T) -> Option<R>) -> Vec<R> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.0.iter().filter_map(look).collect()
    }
}

/// Every connection of an endpoint that a change of the network may end.
pub(crate) struct Roaming {
    tcp: Table<(IpAddr, Option<DeviceId>, Weak<Duplex>)>,
    quic: Table<Weak<QuicLink>>,
}

impl Roaming {
    pub(crate) fn new() -> Self {
        Self {
            tcp: Table::new(),
            quic: Table::new(),
        }
    }

    /// Adds a TCP connection that was made from, or accepted at, this address of this device;
    /// `dialled`: the device that it was made to.
    pub(crate) fn tcp(&self, local: IpAddr, dialled: Option<DeviceId>, connection: &Arc<Duplex>) {
        let entry = (local.to_canonical(), dialled, Arc::downgrade(connection));
        self.tcp
            .add(entry, |(_, _, connection)| connection.strong_count() > 0);
    }

    /// Adds a QUIC connection that was made or accepted.
    pub(crate) fn quic(&self, link: &Arc<QuicLink>) {
        self.quic
            .add(Arc::downgrade(link), |link| link.strong_count() > 0);
    }

    /// Breaks off the TCP connections of addresses that this device has no more. Returns how many.
    pub(crate) fn leave(&self, own: &BTreeSet<IpAddr>) -> usize {
        let stranded = self.tcp.all(|(local, _, connection)| {
            connection
                .upgrade()
                .filter(|_| !local.is_loopback() && !own.contains(local))
        });
        stranded.iter().for_each(|connection| connection.abort());
        stranded.len()
    }

    /// Breaks off the TCP connections that were made to a device. Returns how many.
    pub(crate) fn abandon(&self, device: DeviceId) -> usize {
        let of_it = self
            .tcp
            .all(|(_, of, connection)| connection.upgrade().filter(|_| *of == Some(device)));
        of_it.iter().for_each(|connection| connection.abort());
        of_it.len()
    }

    /// Probes QUIC connections by `ask`, which must make all of them send something, and closes
    /// those on which nothing arrives soon. Returns how many.
    pub(crate) async fn probe(
        &self,
        chosen: impl Fn(&QuicLink) -> bool,
        ask: impl FnOnce(),
    ) -> usize {
        let living =
            |link: &Weak<QuicLink>| link.upgrade().filter(|link| chosen(link) && link.lives());
        let asked: Vec<_> = self
            .quic
            .all(living)
            .into_iter()
            .map(|link| (link.heard(), link))
            .collect();
        if asked.is_empty() {
            return 0;
        }
        ask();
        let silent = join_all(asked.into_iter().map(async |(before, link)| {
            sleep((link.connection().rtt() * 3).clamp(PATIENCE.0, PATIENCE.1)).await;
            let silent = link.lives() && link.heard() == before;
            if silent {
                link.connection().close(CODE, b"not there any more");
            }
            silent
        }));
        silent.await.into_iter().filter(|silent| *silent).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_keeps_what_lives_and_is_bounded_by_it() {
        let table = Table::new();
        let kept: Vec<Arc<u32>> = (0..10).map(Arc::new).collect();
        for one in &kept {
            table.add(Arc::downgrade(one), |one| one.strong_count() > 0);
        }
        for short in 0..1000 {
            table.add(Arc::downgrade(&Arc::new(short)), |one| {
                one.strong_count() > 0
            });
        }
        assert_eq!(table.all(Weak::upgrade).len(), 10);
        assert!(table.0.lock().unwrap().0.len() <= 2 * 10 + CLEAR_ABOVE);
    }
}
