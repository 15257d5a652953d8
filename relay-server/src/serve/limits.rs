//! How often something may be asked for: token buckets by address, by device and in all.
//!
//! The table is bounded. What has recovered is forgotten first; when nothing has, whoever is not in
//! the table shares one bucket with everyone else who is not, so that filling the table gains an
//! attacker nothing.

use crate::config::{LimitsConfig, Rate};
use hither_proto::{DeviceId, UserId};
use hither_util::sync::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::MutexGuard;
use std::time::{Duration, Instant};

/// Most buckets at a time (about 10 MiB).
const MAX_BUCKETS: usize = 65_536;
/// Shortest time between two sweeps of a full table.
const SWEEP: Duration = Duration::from_secs(1);
/// Longest wait that is asked for.
const MAX_WAIT: Duration = Duration::from_secs(600);

/// What is limited for each device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Assign,
    Hello,
    Upload,
    Read,
    Lookup,
    Node,
    Send,
    SendBytes,
    Place,
    Cards,
    Index,
    Circuit,
    Group,
    Code,
    VisitSend,
}

/// The part of an address that one party can be assumed to own: all of an IPv4 address, the /64 of
/// an IPv6 one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Source(IpAddr);

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
            v4 => v4,
        })
    }
}

impl Source {
    /// The same for the same source, for hashing.
    pub(crate) fn bytes(self) -> [u8; 16] {
        match self.0 {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Who {
    Stream(Source),
    WrongInvitation(Source),
    IndexSource(Source),
    IndexDevice(DeviceId),
    Device(DeviceId, Kind),
    Codes(UserId),
    Visit(Source),
    Wake(UserId),
    AllWakes,
    AllStreams,
    AllSends,
    AllIndex,
    /// Whoever found no place in the table.
    Others,
}

/// A token bucket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    tokens: f64,
    at: Instant,
    rate: Rate,
}

impl Bucket {
    pub(crate) fn full(rate: Rate, now: Instant) -> Self {
        Self {
            tokens: rate.burst,
            at: now,
            rate,
        }
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * self.rate.per_second).min(self.rate.burst);
        self.at = now;
    }

    /// Takes `cost`, or says how long until there is as much. What costs more than the burst costs
    /// the burst.
    pub(crate) fn take(&mut self, cost: f64, now: Instant) -> Result<(), Duration> {
        let cost = cost.min(self.rate.burst);
        self.have(cost, now)?;
        self.tokens -= cost;
        Ok(())
    }

    /// Whether one could be taken.
    fn look(&mut self, now: Instant) -> Result<(), Duration> {
        self.have(1.0, now)
    }

    fn have(&mut self, cost: f64, now: Instant) -> Result<(), Duration> {
        self.refill(now);
        if self.tokens >= cost {
            return Ok(());
        }
        let wait = (cost - self.tokens) / self.rate.per_second;
        Err(Duration::try_from_secs_f64(wait)
            .unwrap_or(MAX_WAIT)
            .clamp(Duration::from_millis(1), MAX_WAIT))
    }
}

#[derive(Debug, Default)]
struct BucketTable {
    buckets: HashMap<Who, Bucket>,
    /// When it was looked through last for who has recovered.
    swept: Option<Instant>,
}

/// Every bucket of a node.
#[derive(Debug)]
pub(crate) struct Limiter {
    rates: LimitsConfig,
    table: Mutex<BucketTable>,
    max: usize,
}

impl Limiter {
    pub(crate) fn new(rates: &LimitsConfig) -> Self {
        Self {
            rates: rates.clone(),
            table: Mutex::default(),
            max: MAX_BUCKETS,
        }
    }

    /// A new stream from `address`; `Err`: too many, come back after so long.
    pub(crate) fn stream(&self, address: IpAddr) -> Result<(), Duration> {
        self.take(Who::Stream(address.into()), self.rates.address, 1.0)?;
        self.take(Who::AllStreams, self.rates.total, 1.0)
    }

    /// One thing of a kind by a device.
    pub(crate) fn device(&self, device: DeviceId, kind: Kind) -> Result<(), Duration> {
        self.device_many(device, kind, 1)
    }

    /// Several at once.
    pub(crate) fn device_many(
        &self,
        device: DeviceId,
        kind: Kind,
        count: usize,
    ) -> Result<(), Duration> {
        let rates = &self.rates;
        let rate = match kind {
            Kind::Assign => rates.assign,
            Kind::Hello => rates.hello,
            Kind::Upload => rates.upload,
            Kind::Read => rates.read,
            Kind::Lookup => rates.lookup,
            Kind::Node => rates.node,
            Kind::Send => rates.send,
            Kind::SendBytes => rates.send_bytes,
            Kind::Place => rates.place,
            Kind::Cards => rates.cards,
            Kind::Index => rates.index,
            Kind::Circuit => rates.circuit,
            Kind::Group => rates.group,
            Kind::Code => rates.code,
            Kind::VisitSend => rates.visit_send,
        };
        self.take(Who::Device(device, kind), rate, count as f64)
    }

    /// One request about codes by any device of a user.
    pub(crate) fn code(&self, user: UserId) -> Result<(), Duration> {
        self.take(Who::Codes(user), self.rates.code_user, 1.0)
    }

    /// One page from `address` that is no device.
    pub(crate) fn visit(&self, address: IpAddr) -> Result<(), Duration> {
        self.take(Who::Visit(address.into()), self.rates.visit, 1.0)
    }

    /// One device of a user that is woken.
    pub(crate) fn wake(&self, user: UserId) -> Result<(), Duration> {
        self.take(Who::Wake(user), self.rates.wake_user, 1.0)?;
        self.take(Who::AllWakes, self.rates.wake_total, 1.0)
    }

    /// A message of `bytes` bytes by a device.
    pub(crate) fn send(&self, device: DeviceId, bytes: usize) -> Result<(), Duration> {
        self.device(device, Kind::Send)?;
        self.device_many(device, Kind::SendBytes, bytes)?;
        self.take(Who::AllSends, self.rates.send_total, 1.0)
    }

    /// Something that a device says to the index, as long as `count` short messages. Its own part
    /// is looked at first, so that who says too much takes nothing from the others.
    pub(crate) fn index(
        &self,
        device: DeviceId,
        address: IpAddr,
        count: f64,
    ) -> Result<(), Duration> {
        let rates = &self.rates;
        self.take(Who::IndexDevice(device), rates.index_device, count)?;
        self.take(Who::IndexSource(address.into()), rates.index_address, count)?;
        self.take(Who::AllIndex, rates.index_total, count)
    }

    /// Returns whether an invitation from `address` is looked at, after those from there that were
    /// not valid. Many may be looked at beside each other before the first is found wrong:
    /// nobody guesses 128 bits that way.
    pub(crate) fn may_invite(&self, address: IpAddr) -> Result<(), Duration> {
        let now = Instant::now();
        let mut table = self.table();
        match table.buckets.get_mut(&Who::WrongInvitation(address.into())) {
            Some(bucket) => bucket.look(now),
            None => Ok(()),
        }
    }

    /// An invitation from `address` was not valid.
    pub(crate) fn wrong_invitation(&self, address: IpAddr) {
        // When none is left, the next one is not looked at anyway.
        let _ = self.take(
            Who::WrongInvitation(address.into()),
            self.rates.wrong_invitation,
            1.0,
        );
    }

    fn take(&self, who: Who, rate: Rate, cost: f64) -> Result<(), Duration> {
        let now = Instant::now();
        let mut table = self.table();
        let full = table.buckets.len() >= self.max && !table.buckets.contains_key(&who);
        // Not at every attempt: whoever keeps the table full must not keep this busy.
        if full
            && table
                .swept
                .is_none_or(|swept| now.saturating_duration_since(swept) >= SWEEP)
        {
            table.swept = Some(now);
            table.buckets.retain(|_, bucket| {
                bucket.refill(now);
                bucket.tokens < bucket.rate.burst
            });
        }
        let who = if full && table.buckets.len() >= self.max {
            Who::Others
        } else {
            who
        };
        table
            .buckets
            .entry(who)
            .or_insert_with(|| Bucket::full(rate, now))
            .take(cost, now)
    }

    fn table(&self) -> MutexGuard<'_, BucketTable> {
        self.table.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_carrier::Identity;

    fn limiter(change: impl FnOnce(&mut LimitsConfig)) -> Limiter {
        let mut rates = LimitsConfig::default();
        change(&mut rates);
        Limiter::new(&rates)
    }

    fn device() -> DeviceId {
        Identity::generate().unwrap().device_id()
    }

    #[test]
    fn a_burst_passes_and_then_the_wait_is_told() {
        let limiter = limiter(|rates| {
            rates.place = Rate {
                per_second: 0.5,
                burst: 3.0,
            }
        });
        let device = device();
        for _ in 0..3 {
            limiter.device(device, Kind::Place).unwrap();
        }
        let wait = limiter.device(device, Kind::Place).unwrap_err();
        assert!(
            wait > Duration::from_millis(1500) && wait <= Duration::from_secs(2),
            "{wait:?}"
        );
        limiter.device(self::device(), Kind::Place).unwrap();
        limiter.device(device, Kind::Cards).unwrap();
    }

    #[test]
    fn a_bucket_fills_up_again_and_not_beyond_its_burst() {
        let start = Instant::now();
        let mut bucket = Bucket::full(
            Rate {
                per_second: 2.0,
                burst: 4.0,
            },
            start,
        );
        bucket.take(4.0, start).unwrap();
        bucket.take(1.0, start).unwrap_err();
        bucket.take(2.0, start + Duration::from_secs(1)).unwrap();
        bucket.take(4.0, start + Duration::from_secs(3600)).unwrap();
        assert_eq!(
            bucket.take(1.0, start + Duration::from_secs(3600)),
            Err(Duration::from_millis(500))
        );
        // More than the burst can never be there: it costs all there can be.
        bucket
            .take(1000.0, start + Duration::from_secs(7200))
            .unwrap();
    }

    #[test]
    fn an_ipv6_network_is_one_source() {
        let limiter = limiter(|rates| {
            rates.address = Rate {
                per_second: 0.001,
                burst: 1.0,
            }
        });
        limiter.stream("2001:db8::1".parse().unwrap()).unwrap();
        limiter.stream("2001:db8::2".parse().unwrap()).unwrap_err();
        limiter.stream("2001:db8:0:1::1".parse().unwrap()).unwrap();
        limiter.stream("10.0.0.1".parse().unwrap()).unwrap();
        limiter
            .stream("::ffff:10.0.0.1".parse().unwrap())
            .unwrap_err();
    }

    #[test]
    fn a_full_table_forgets_who_has_recovered_and_lets_the_rest_share() {
        let mut limiter = limiter(|rates| {
            rates.hello = Rate {
                per_second: 0.001,
                burst: 2.0,
            }
        });
        limiter.max = 4;
        let some: Vec<_> = (0..4).map(|_| device()).collect();
        for device in &some {
            limiter.device(*device, Kind::Hello).unwrap();
        }
        // Nobody has recovered: these two share one bucket with two tokens.
        limiter.device(device(), Kind::Hello).unwrap();
        limiter.device(device(), Kind::Hello).unwrap();
        limiter.device(device(), Kind::Hello).unwrap_err();
        assert!(limiter.table().buckets.len() <= 5);
        limiter.device(some[0], Kind::Hello).unwrap();
        for bucket in limiter.table().buckets.values_mut() {
            bucket.tokens = bucket.rate.burst;
        }
        limiter.table().swept = None;
        limiter.device(device(), Kind::Hello).unwrap();
        assert_eq!(limiter.table().buckets.len(), 1);
    }

    #[test]
    fn the_index_is_limited_by_device_by_address_and_in_all() {
        let rate = |burst| Rate {
            per_second: 0.001,
            burst,
        };
        let limiter = limiter(|rates| {
            (rates.index_device, rates.index_address, rates.index_total) =
                (rate(2.0), rate(3.0), rate(4.0));
        });
        let (here, there) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let one = device();
        limiter.index(one, here, 2.0).unwrap();
        limiter.index(one, here, 1.0).unwrap_err();
        limiter.index(device(), here, 1.0).unwrap();
        limiter.index(device(), here, 1.0).unwrap_err();
        limiter.index(device(), there, 1.0).unwrap();
        limiter.index(device(), there, 1.0).unwrap_err();
    }

    #[test]
    fn only_wrong_invitations_cost() {
        let limiter = limiter(|rates| {
            rates.wrong_invitation = Rate {
                per_second: 0.001,
                burst: 1.0,
            }
        });
        let address = "10.0.0.1".parse().unwrap();
        for _ in 0..10 {
            limiter.may_invite(address).unwrap();
        }
        limiter.wrong_invitation(address);
        limiter.may_invite(address).unwrap_err();
        limiter.may_invite("10.0.0.2".parse().unwrap()).unwrap();
    }
}
