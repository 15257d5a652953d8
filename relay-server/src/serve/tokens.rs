//! Tokens for reading chunks by GET: each stands for one reader of one share, for a while.
//!
//! Invariants: the table is bounded, in all, by device and by address, and what is beyond a bound is
//! not granted; a token says who may read, and whether there is anything to read is looked up anew
//! for every request, so that none outlives its share or its device.

use super::limits::Source;
use super::read::Subject;
use crate::config::WebConfig;
use hither_proto::{ChunkToken, DeviceId};
use hither_util::sync::Mutex;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most tokens of one device at a time: those of a page that has several shares open, and opens
/// them anew.
const MAX_DEVICE: usize = 64;
/// The part of all tokens that one address may have.
const SOURCE_PART: usize = 16;

/// The right that a token stands for.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    /// The device that proved to know the share's read key.
    pub(crate) device: DeviceId,
    /// The share that it may read.
    pub(crate) subject: Subject,
    source: Source,
}

type Key = [u8; ChunkToken::LEN];

#[derive(Default)]
struct Table {
    grants: HashMap<Key, Arc<Grant>>,
    /// Tokens in the order in which they end, because all live equally long.
    ends: VecDeque<(Instant, Key)>,
    devices: HashMap<DeviceId, usize>,
    sources: HashMap<Source, usize>,
}

/// The tokens of a node.
pub(crate) struct Tokens {
    most: usize,
    lives: Duration,
    table: Mutex<Table>,
}

impl Tokens {
    pub(crate) fn new(config: &WebConfig) -> Self {
        Self {
            most: if config.is_on() { config.tokens } else { 0 },
            lives: config.token.0,
            table: Mutex::default(),
        }
    }

    /// A token for a reader at `address`, and for how long it is good; `None`: chunks are not given
    /// by GET here, or too many tokens are about.
    pub(crate) fn grant(
        &self,
        device: DeviceId,
        address: IpAddr,
        subject: Subject,
    ) -> Option<(ChunkToken, Duration)> {
        let (now, source) = (Instant::now(), Source::from(address));
        let mut table = self.table.lock();
        table.expire(now);
        let each = (self.most / SOURCE_PART).max(1);
        let full = table.grants.len() >= self.most
            || count(&table.devices, &device) >= MAX_DEVICE
            || count(&table.sources, &source) >= each;
        if full {
            return None;
        }
        let mut key = Key::default();
        // Without random numbers nothing is granted.
        getrandom::fill(&mut key).ok()?;
        *table.devices.entry(device).or_default() += 1;
        *table.sources.entry(source).or_default() += 1;
        table.ends.push_back((now + self.lives, key));
        let grant = Grant {
            device,
            subject,
            source,
        };
        table.grants.insert(key, Arc::new(grant));
        Some((ChunkToken::new(key), self.lives))
    }

    /// The right that a token stands for; `None`: none, or none any more.
    pub(crate) fn find(&self, token: &ChunkToken) -> Option<Arc<Grant>> {
        let mut table = self.table.lock();
        table.expire(Instant::now());
        table.grants.get(token.expose()).cloned()
    }
}

impl Table {
    fn expire(&mut self, now: Instant) {
        while self.ends.front().is_some_and(|(end, _)| *end <= now)
            && let Some((_, key)) = self.ends.pop_front()
        {
            let Some(grant) = self.grants.remove(&key) else {
                continue;
            };
            give_back(&mut self.devices, grant.device);
            give_back(&mut self.sources, grant.source);
        }
    }
}

fn count<K: Eq + Hash>(counts: &HashMap<K, usize>, of: &K) -> usize {
    counts.get(of).copied().unwrap_or(0)
}

fn give_back<K: Eq + Hash>(counts: &mut HashMap<K, usize>, of: K) {
    if let Some(count) = counts.get_mut(&of) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&of);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Span;
    use hither_carrier::Identity;
    use hither_proto::{ReadKey, ShareId};

    fn device() -> DeviceId {
        Identity::generate().unwrap().device_id()
    }

    fn tokens(change: impl FnOnce(&mut WebConfig)) -> Tokens {
        let mut config = WebConfig {
            listen: vec![([127, 0, 0, 1], 0).into()],
            ..WebConfig::default()
        };
        change(&mut config);
        Tokens::new(&config)
    }

    fn subject() -> Subject {
        Subject {
            owner: device(),
            share: ShareId::new([1; 16]),
            read_key: ReadKey::new([2; 32]),
        }
    }

    #[test]
    fn a_token_stands_for_its_reader_until_it_ends() {
        let tokens = tokens(|web| web.token = Span::millis(40));
        let (device, at) = (device(), "10.0.0.1".parse().unwrap());
        let (token, lives) = tokens.grant(device, at, subject()).unwrap();
        assert_eq!(lives, Duration::from_millis(40));
        assert_eq!(tokens.find(&token).unwrap().device, device);
        assert!(tokens.find(&ChunkToken::new([0; 16])).is_none());
        std::thread::sleep(lives);
        assert!(tokens.find(&token).is_none());
        let table = tokens.table.lock();
        assert!(table.grants.is_empty() && table.ends.is_empty());
        assert!(table.devices.is_empty() && table.sources.is_empty());
    }

    #[test]
    fn tokens_are_bounded_by_device_by_address_and_in_all() {
        let bounded = tokens(|web| web.tokens = 32 * 16);
        let at = |n: u8| IpAddr::from([10, 0, 0, n]);
        for _ in 0..32 {
            bounded.grant(device(), at(1), subject()).unwrap();
        }
        assert!(bounded.grant(device(), at(1), subject()).is_none());
        let one = device();
        for n in 0..MAX_DEVICE {
            bounded.grant(one, at(2 + n as u8), subject()).unwrap();
        }
        assert!(bounded.grant(one, at(200), subject()).is_none());
        while bounded.grant(device(), at(rand()), subject()).is_some() || {
            bounded.table.lock().grants.len() < 32 * 16
        } {}
        assert!(bounded.grant(device(), at(250), subject()).is_none());
        let off = tokens(|web| web.listen = Vec::new());
        assert!(off.grant(device(), at(1), subject()).is_none());
    }

    fn rand() -> u8 {
        let mut byte = [0];
        getrandom::fill(&mut byte).unwrap();
        byte[0]
    }
}
