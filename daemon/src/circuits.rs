//! Ways to devices through relays: which relay is asked for a circuit to whom, and what became of
//! it.
//!
//! A relay is asked when it lists the device, is named by the ticket of what is being fetched, or
//! is one that this device has joined. Bounds: [`MAX_RELAYS`] relays are asked for one circuit; of
//! [`MAX_TOLD`] shares is remembered why relays refused.

use crate::daemon::Daemon;
use crate::relay::{self, RelayError};
use crate::routes::PeerKey;
use crate::shares::Share;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use hither_carrier::{Circuits, LinkError, Stream};
use hither_engine::Carrier;
use hither_proto::{DeviceId, Knock, RelayAddress, RelayRefusalCode, ShareId, ShareSecret};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::time::sleep;

/// Most relays that are asked for one circuit.
const MAX_RELAYS: usize = 4;
/// How long one relay is waited for before the next one is asked beside it.
const STAGGER: Duration = Duration::from_millis(700);
/// Most shares of which is remembered why relays refused.
const MAX_TOLD: usize = 256;

/// A relay that may be asked, and what people call it.
#[derive(Debug, Clone)]
struct Candidate {
    relay: RelayAddress,
    name: String,
}

/// Which relays refused circuits for good, by what is being fetched.
#[derive(Debug, Default)]
pub(crate) struct CircuitRefusals(Mutex<HashMap<ShareId, (String, RelayRefusalCode)>>);

impl CircuitRefusals {
    fn lock(&self) -> MutexGuard<'_, HashMap<ShareId, (String, RelayRefusalCode)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, share: ShareId, relay: &str, code: RelayRefusalCode) {
        let mut told = self.lock();
        if told.len() < MAX_TOLD || told.contains_key(&share) {
            told.insert(share, (relay.to_owned(), code));
        }
    }

    /// The relay that refused last, and why; it is forgotten.
    pub(crate) fn take(&self, share: ShareId) -> Option<(String, RelayRefusalCode)> {
        self.lock().remove(&share)
    }
}

/// Makes circuits to one device about one share.
pub(crate) struct CircuitDialer {
    /// Weak: links are the daemon's.
    daemon: Weak<Daemon>,
    share: ShareId,
    secret: ShareSecret,
    from: DeviceId,
    device: DeviceId,
}

impl CircuitDialer {
    pub(crate) fn new(daemon: &Arc<Daemon>, share: &Share, device: DeviceId) -> Arc<Self> {
        let (secret, from) = (share.secret.clone(), daemon.device);
        Arc::new(Self {
            daemon: Arc::downgrade(daemon),
            share: share.id,
            secret,
            from,
            device,
        })
    }

    /// Returns what is shown to the device through one relay.
    fn knock(&self) -> Result<Knock, LinkError> {
        let mut salt = [0; Knock::SALT];
        getrandom::fill(&mut salt).map_err(|error| LinkError::Broken(error.to_string()))?;
        Ok(Knock::make(&self.secret, &self.from, &self.device, salt))
    }
}

impl Circuits for CircuitDialer {
    fn open(&self) -> BoxFuture<'_, Result<Stream, LinkError>> {
        async {
            let daemon = self.daemon.upgrade().ok_or(LinkError::Closed)?;
            let (stream, by) = ask(&daemon, self).await?;
            daemon.links.through(self.device, by);
            Ok(stream)
        }
        .boxed()
    }
}

/// Looks for a relay beside a direct way that is slow, and tells the engine when there is one.
pub(crate) async fn find(daemon: Arc<Daemon>, key: PeerKey) {
    let (share, device) = (key.share, key.device);
    let Some(way) = daemon
        .shares
        .get(share)
        .map(|share| CircuitDialer::new(&daemon, &share, device))
    else {
        return;
    };
    let found = tokio::select! {
        found = daemon.links.relayed(device, share, way) => found,
        () = key.close.cancelled() => return,
    };
    match found {
        Ok(_) => {
            daemon.core.with(|engine, now| {
                engine.handle_carrier(share, device, Carrier::Relayed, true, now)
            });
        }
        Err(error) => tracing::debug!(?device, %error, "no relay beside a slow way"),
    }
}

/// The relays that may have the device, the likeliest first.
fn candidates(daemon: &Daemon, way: &CircuitDialer) -> VecDeque<Candidate> {
    let mut found: VecDeque<Candidate> = VecDeque::new();
    let mut add = |relay: RelayAddress, name: String| {
        if found.len() < MAX_RELAYS && found.iter().all(|known| known.relay.key != relay.key) {
            found.push_back(Candidate { relay, name });
        }
    };
    // Of one that says that the device is away nothing is to be had.
    let mut joined = daemon.relays.all();
    joined.retain(|relay| relay.presence(way.device) != Some(false));
    joined.sort_by_key(|relay| relay.presence(way.device).is_none());
    let (listing, others): (Vec<_>, Vec<_>) = joined
        .into_iter()
        .partition(|relay| relay.presence(way.device).is_some());
    for relay in &listing {
        if let Some(connection) = relay.connection() {
            add(connection.relay.clone(), relay.url.at.to_string());
        }
    }
    if let Some(transfer) = daemon.transfers.running(way.share) {
        for relay in &transfer.ticket.relays {
            let place = relay.udp.iter().chain(&relay.tcp).next();
            add(
                relay.clone(),
                place.map(ToString::to_string).unwrap_or_default(),
            );
        }
    }
    for relay in &others {
        if let Some(connection) = relay.connection() {
            add(connection.relay.clone(), relay.url.at.to_string());
        }
    }
    found
}

/// Asks one relay after the other; also says which one made the circuit.
async fn ask(daemon: &Daemon, way: &CircuitDialer) -> Result<(Stream, String), LinkError> {
    let mut waiting = candidates(daemon, way);
    let mut asked = FuturesUnordered::new();
    let mut failure = LinkError::NoAddress;
    loop {
        if let Some(Candidate { relay, name }) = waiting.pop_front() {
            let knock = way.knock()?;
            asked.push(async move {
                let made = relay::circuit::connect(daemon, &relay, way.device, knock).await;
                (made, name)
            });
        }
        let more = !waiting.is_empty();
        let next = async {
            match more {
                true => sleep(STAGGER).await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            answer = asked.next() => match answer {
                Some((Ok(stream), name)) => return Ok((stream, name)),
                Some((Err(error), name)) => {
                    tracing::debug!(device = ?way.device, relay = name, %error, "no circuit");
                    failure = failed(daemon, way, &name, error);
                }
                None if !more => return Err(failure),
                None => {}
            },
            () = next => {}
        }
    }
}

/// What a relay's answer means for the link.
fn failed(daemon: &Daemon, way: &CircuitDialer, relay: &str, error: RelayError) -> LinkError {
    match error {
        RelayError::Refused(refusal) => match refusal.code {
            RelayRefusalCode::Busy => LinkError::TooMany("circuits at the relay"),
            RelayRefusalCode::GoingAway => LinkError::Broken(refusal.to_string()),
            code => {
                if matches!(
                    code,
                    RelayRefusalCode::NotRegistered | RelayRefusalCode::Role
                ) {
                    daemon.circuit_refusals.note(way.share, relay, code);
                }
                LinkError::Unreachable(refusal.to_string())
            }
        },
        RelayError::Link(error) => error,
        error => LinkError::Broken(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_proto::ShareSecret;

    #[test]
    fn why_relays_refused_is_told_once_and_bounded() {
        let told = CircuitRefusals::default();
        let share = |n: u16| {
            let mut secret = [0; 16];
            secret[..2].copy_from_slice(&n.to_be_bytes());
            ShareSecret::new(secret).share_id()
        };
        for n in 0..2 * MAX_TOLD as u16 {
            told.note(share(n), "relay.example:1", RelayRefusalCode::NotRegistered);
        }
        assert_eq!(told.lock().len(), MAX_TOLD);
        assert_eq!(
            told.take(share(0)),
            Some(("relay.example:1".into(), RelayRefusalCode::NotRegistered))
        );
        assert_eq!(told.take(share(0)), None);
    }
}
