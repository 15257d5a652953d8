//! How near stores are: the round trip of a handshake with each, measured now and then.

use futures::future::join_all;
use hither_carrier::Endpoint;
use hither_proto::{DeviceId, Nearness, RelayAddress};
use hither_relay_client::dial;
use hither_util::sync::Mutex;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// How long a measurement counts: the device may have moved to another network since.
const COUNTS: Duration = Duration::from_secs(600);
/// A store that takes longer to answer is not near.
const PATIENCE: Duration = Duration::from_secs(3);
/// Most measurements that are remembered.
const MAX_KNOWN: usize = 256;

/// The measured distances.
#[derive(Debug, Default)]
pub(super) struct Nearest {
    known: Mutex<HashMap<DeviceId, (Instant, Duration)>>,
}

impl Nearest {
    /// The round trips to these stores, of those that answer. With one store there is nothing to
    /// choose.
    pub(super) async fn measure(
        &self,
        endpoint: &Endpoint,
        stores: &[RelayAddress],
    ) -> Vec<Nearness> {
        if stores.len() < 2 {
            return Vec::new();
        }
        let measured = join_all(stores.iter().map(async |store| {
            let rtt = match self.known(store.key) {
                Some(rtt) => rtt,
                None => self.ask(endpoint, store).await?,
            };
            let rtt_us = u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX);
            Some(Nearness {
                store: store.key,
                rtt_us,
            })
        }));
        measured.await.into_iter().flatten().collect()
    }

    fn known(&self, store: DeviceId) -> Option<Duration> {
        let known = self.known.lock();
        known
            .get(&store)
            .filter(|(at, _)| at.elapsed() < COUNTS)
            .map(|(_, rtt)| *rtt)
    }

    async fn ask(&self, endpoint: &Endpoint, store: &RelayAddress) -> Option<Duration> {
        let link = timeout(PATIENCE, dial(endpoint, store)).await.ok()?.ok()?;
        let rtt = link.rtt();
        link.close("measured");
        let mut known = self.known.lock();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(store.key, (Instant::now(), rtt));
        Some(rtt)
    }
}
