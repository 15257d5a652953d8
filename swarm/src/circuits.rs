//! Ways to devices through relays: which relay is asked for a circuit to whom, and what became of
//! it.
//!
//! A relay is asked when it lists the device, is named by the ticket of what is being fetched, or
//! is one that this device has joined. Bounds: [`MAX_RELAYS`] relays are asked for one circuit; of
//! [`MAX_TOLD`] shares is remembered why relays refused.

use crate::handshake::OpenError;
use crate::ports::CircuitError;
use crate::routes::PeerKey;
use crate::shares::Share;
use crate::swarm::Swarm;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use hither_carrier::{Circuits, LinkError, MessageReader, Stream};
use hither_engine::Carrier;
use hither_proto::{
    DeviceId, DevicePurpose, Knock, RelayAddress, RelayRefusalCode, ShareId, ShareSecret, Word,
};
use hither_util::sync::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, MutexGuard, Weak};
use std::time::Duration;
use tokio::time::sleep;

/// Most relays that get a request for one circuit.
const MAX_RELAYS: usize = 4;
/// How long one relay is waited for before the next one is tried beside it.
const STAGGER: Duration = Duration::from_millis(700);
/// Most shares of which is remembered why relays refused.
const MAX_TOLD: usize = 256;

/// A relay that may be tried, and the name people call it by.
#[derive(Debug, Clone)]
struct Candidate {
    relay: RelayAddress,
    name: String,
}

/// Which relays refused circuits for good, by what is being fetched.
#[derive(Debug, Default)]
pub struct CircuitRefusals(Mutex<HashMap<ShareId, (String, RelayRefusalCode)>>);

impl CircuitRefusals {
    fn lock(&self) -> MutexGuard<'_, HashMap<ShareId, (String, RelayRefusalCode)>> {
        self.0.lock()
    }

    fn note(&self, share: ShareId, relay: &str, code: RelayRefusalCode) {
        let mut told = self.lock();
        if told.len() < MAX_TOLD || told.contains_key(&share) {
            told.insert(share, (relay.to_owned(), code));
        }
    }

    /// The relay that refused last, and why; it is forgotten.
    pub fn take(&self, share: ShareId) -> Option<(String, RelayRefusalCode)> {
        self.lock().remove(&share)
    }
}

/// Makes circuits to one device about one share.
pub(crate) struct CircuitDialer {
    /// Weak: links are the daemon's.
    swarm: Weak<Swarm>,
    share: ShareId,
    secret: ShareSecret,
    from: DeviceId,
    device: DeviceId,
}

impl CircuitDialer {
    pub(crate) fn new(swarm: &Arc<Swarm>, share: &Share, device: DeviceId) -> Arc<Self> {
        let (secret, from) = (share.secret.clone(), swarm.device);
        Arc::new(Self {
            swarm: Arc::downgrade(swarm),
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
            let swarm = self.swarm.upgrade().ok_or(LinkError::Closed)?;
            let (stream, by) = ask(&swarm, self).await?;
            swarm.links.through(self.device, by);
            Ok(stream)
        }
        .boxed()
    }
}

/// Makes a circuit to a device that shows a code.
struct CodeDialer {
    swarm: Weak<Swarm>,
    relay: RelayAddress,
    device: DeviceId,
    nameplate: Word,
}

impl CodeDialer {
    async fn connect(&self) -> Result<Stream, LinkError> {
        let swarm = self.swarm.upgrade().ok_or(LinkError::Closed)?;
        let relays = swarm.relays().ok_or(LinkError::NoAddress)?;
        let mut salt = [0; Knock::SALT];
        getrandom::fill(&mut salt).map_err(|error| LinkError::Broken(error.to_string()))?;
        let knock = Knock::for_code(self.nameplate, &swarm.device, &self.device, salt);
        let made = relays.connect(&self.relay, self.device, knock).await;
        made.map_err(|error| match error {
            CircuitError::Link(error) => error,
            error => LinkError::Unreachable(error.to_string()),
        })
    }
}

impl Circuits for CodeDialer {
    fn open(&self) -> BoxFuture<'_, Result<Stream, LinkError>> {
        self.connect().boxed()
    }
}

impl Swarm {
    /// Returns whether a circuit that `from` asks for is taken: only those who show that they know
    /// a share that is here, or a code that is shown, are listened to, and have to prove it
    /// afterwards.
    pub fn wants_circuit(&self, from: DeviceId, knock: &Knock) -> bool {
        let known = |secret| knock.verify(secret, &from, &self.device);
        from != self.device
            && (self.shares.all().iter().any(|share| known(&share.secret))
                || self
                    .nameplates
                    .own()
                    .iter()
                    .any(|nameplate| knock.is_for_code(*nameplate, &from, &self.device))
                || self.scanned.is_meant(knock, &from, &self.device))
    }

    /// Opens a stream about a code to a device that shows one which begins with `nameplate`,
    /// through a relay at which it does. What is said on it is between the two devices.
    ///
    /// Errors: the relay makes no circuit, or the device is not there or another one.
    pub async fn open_code_circuit(
        self: &Arc<Self>,
        relay: RelayAddress,
        device: DeviceId,
        nameplate: Word,
    ) -> Result<(Stream, MessageReader), OpenError> {
        let dialer = CodeDialer {
            swarm: Arc::downgrade(self),
            relay,
            device,
            nameplate,
        };
        let circuits: Arc<dyn Circuits> = Arc::new(dialer);
        let link = self.endpoint.connect_circuits(device, circuits).await?;
        let stream = link.open().await?;
        // Its only stream lives on.
        link.close("one stream is enough");
        crate::device_streams::begin(stream, DevicePurpose::Code).await
    }
}

/// Looks for a relay beside a direct way that is slow, and notifies the engine when there is one.
pub(crate) async fn find(swarm: Arc<Swarm>, key: PeerKey) {
    let (share, device) = (key.share, key.device);
    let Some(dialer) = swarm
        .shares
        .get(share)
        .map(|share| CircuitDialer::new(&swarm, &share, device))
    else {
        return;
    };
    let found = tokio::select! {
        found = swarm.links.relayed(device, share, dialer) => found,
        () = key.close.cancelled() => return,
    };
    match found {
        Ok(_) => {
            swarm.core.with(|engine, now| {
                engine.handle_carrier(share, device, Carrier::Relayed, true, now)
            });
        }
        Err(error) => tracing::debug!(?device, %error, "no relay beside a slow way"),
    }
}

/// The relays that may have the device, the likeliest first: those that list it, those that the
/// ticket names, those that are joined.
fn candidates(swarm: &Swarm, dialer: &CircuitDialer) -> VecDeque<Candidate> {
    let mut found: VecDeque<Candidate> = VecDeque::new();
    let mut add = |relay: RelayAddress, name: String| {
        if found.len() < MAX_RELAYS && found.iter().all(|known| known.relay.key != relay.key) {
            found.push_back(Candidate { relay, name });
        }
    };
    let joined = swarm.relays().map(|relays| relays.joined(dialer.device));
    let (listing, others): (Vec<_>, Vec<_>) = joined
        .unwrap_or_default()
        .into_iter()
        // A relay that reports that the device is away has nothing to offer.
        .filter(|relay| relay.presence != Some(false))
        .partition(|relay| relay.presence.is_some());
    for relay in listing {
        add(relay.address, relay.name);
    }
    for relay in swarm.core.routes.ticket_relays(dialer.share) {
        let place = relay.udp.iter().chain(&relay.tcp).next();
        let name = place.map(ToString::to_string).unwrap_or_default();
        add(relay, name);
    }
    for relay in others {
        add(relay.address, relay.name);
    }
    found
}

/// Tries one relay after the other; also returns the one that made the circuit.
async fn ask(swarm: &Swarm, dialer: &CircuitDialer) -> Result<(Stream, String), LinkError> {
    let mut waiting = candidates(swarm, dialer);
    let mut asked = FuturesUnordered::new();
    let mut failure = LinkError::NoAddress;
    loop {
        if let Some(Candidate { relay, name }) = waiting.pop_front() {
            let knock = dialer.knock()?;
            asked.push(async move {
                let made = match swarm.relays() {
                    Some(relays) => relays.connect(&relay, dialer.device, knock).await,
                    None => Err(CircuitError::Broken("there is no relay".into())),
                };
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
                    tracing::debug!(device = ?dialer.device, relay = name, %error, "no circuit");
                    failure = failed(swarm, dialer, &name, error);
                }
                None if !more => return Err(failure),
                None => {}
            },
            () = next => {}
        }
    }
}

/// Returns the link error that corresponds to a relay's answer.
fn failed(swarm: &Swarm, dialer: &CircuitDialer, relay: &str, error: CircuitError) -> LinkError {
    match error {
        CircuitError::Refused(refusal) => match refusal.code {
            RelayRefusalCode::Busy => LinkError::TooMany("circuits at the relay"),
            RelayRefusalCode::GoingAway => LinkError::Broken(refusal.to_string()),
            code => {
                if matches!(
                    code,
                    RelayRefusalCode::NotRegistered | RelayRefusalCode::Role
                ) {
                    swarm.circuit_refusals.note(dialer.share, relay, code);
                }
                LinkError::Unreachable(refusal.to_string())
            }
        },
        CircuitError::Link(error) => error,
        CircuitError::Broken(reason) => LinkError::Broken(reason),
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
