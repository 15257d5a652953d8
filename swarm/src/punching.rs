//! Direct paths through NATs: while a session leads through a relay, its two devices tell each other
//! over it where they may be reached, and check all of it at once (ICE, RFC 8445). An address that
//! is found goes into the book of links, and whoever dials the device uses it.
//!
//! Candidates go through the session itself: they are encrypted between the two devices, and nobody
//! is told of an address who has not proven that it knows the share. The relay sees neither. Beside
//! the words by which a circuit is asked for they would save one round trip, in which data already
//! flows, and need a seal of their own.
//!
//! Bounds: of the attempts that others begin [`MAX_ATTEMPTS`] at a time, [`MAX_OF_DEVICE`] of one
//! device; of those that begin here, one for each session. Each keeps its place until [`ATTEMPT`]
//! has passed, so that nobody has relays asked often.

use crate::mapping::seen_by;
use crate::swarm::Swarm;
use futures::StreamExt;
use hither_carrier::{CheckRole, Checks, PADDING_PER_CANDIDATE};
use hither_proto::limits::MAX_CANDIDATES;
use hither_proto::{AttemptId, Candidate, CandidateKind, Candidates, DeviceId, Message, ShareId};
use hither_util::sync::Mutex;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// Most attempts of others at a time.
const MAX_ATTEMPTS: usize = 32;
/// Most of them that one device begins: it may have a session about each of a few shares.
const MAX_OF_DEVICE: usize = 4;
/// Longest time of one attempt: every check was repeated until an answer is not to be
/// expected any more.
const ATTEMPT: Duration = Duration::from_secs(12);
/// Most messages of the other side that wait.
const QUEUE: usize = 8;

type Key = (DeviceId, AttemptId);

/// An attempt that is under way.
#[derive(Debug)]
struct Running {
    role: CheckRole,
    theirs: mpsc::Sender<Candidates>,
}

/// The attempts that are under way.
#[derive(Debug, Default)]
pub(crate) struct Punching(Mutex<HashMap<Key, Running>>);

/// One attempt, until this is dropped.
struct Attempt {
    punching: Arc<Punching>,
    key: Key,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.punching.0.lock().remove(&self.key);
    }
}

impl Punching {
    /// Begins an attempt; what the other side says comes out of the receiver. `None`: too many are
    /// under way, or this one is.
    fn begin(
        self: &Arc<Self>,
        key: Key,
        role: CheckRole,
    ) -> Option<(Attempt, mpsc::Receiver<Candidates>)> {
        let (sender, theirs) = mpsc::channel(QUEUE);
        let mut running = self.0.lock();
        let of_others: Vec<_> = running
            .iter()
            .filter(|(_, attempt)| attempt.role == CheckRole::Controlled)
            .map(|((device, _), _)| *device)
            .collect();
        let of_device = of_others.iter().filter(|device| **device == key.0).count();
        let is_full = of_others.len() >= MAX_ATTEMPTS || of_device >= MAX_OF_DEVICE;
        if running.contains_key(&key) || (role == CheckRole::Controlled && is_full) {
            return None;
        }
        let attempt = Running {
            role,
            theirs: sender,
        };
        running.insert(key, attempt);
        let punching = Arc::clone(self);
        Some((Attempt { punching, key }, theirs))
    }

    /// Hands candidates to their attempt, and returns whether it is under way.
    fn tell(&self, key: Key, candidates: &Candidates) -> bool {
        let running = self.0.lock();
        let attempt = running.get(&key);
        if let Some(attempt) = attempt {
            let _ = attempt.theirs.try_send(candidates.clone()); // the other side says too much
        }
        attempt.is_some()
    }
}

/// The way to the other side.
type Out = mpsc::UnboundedSender<Message>;

/// Tries once to find a direct path to a device, to which `out` leads through a relay.
pub(crate) async fn seek(swarm: &Swarm, share: ShareId, device: DeviceId, out: &Out) {
    let mut bytes = [0; 16];
    if getrandom::fill(&mut bytes).is_err() {
        return;
    }
    let key = (device, AttemptId::new(bytes));
    if let Some((_attempt, theirs)) = swarm.punching.begin(key, CheckRole::Controlling) {
        run(swarm, share, key, theirs, CheckRole::Controlling, out).await;
    }
}

/// A device tells where it may be reached: in answer to this device, or because it begins.
pub(crate) fn hear(
    swarm: &Arc<Swarm>,
    share: ShareId,
    device: DeviceId,
    candidates: Candidates,
    out: Option<&Out>,
) {
    let key = (device, candidates.attempt);
    tracing::debug!(?device, candidates = ?candidates.candidates, "candidates are heard");
    if swarm.punching.tell(key, &candidates) {
        return;
    }
    // Before anything else is heard of the attempt.
    let Some(out) = out.cloned() else { return };
    let Some((attempt, theirs)) = swarm.punching.begin(key, CheckRole::Controlled) else {
        return;
    };
    swarm.punching.tell(key, &candidates);
    let (of, token) = (Arc::clone(swarm), swarm.tasks.token.clone());
    swarm.tasks.spawn(async move {
        let _attempt = attempt;
        let place = sleep(ATTEMPT);
        let attempt = async {
            tokio::join!(
                run(&of, share, key, theirs, CheckRole::Controlled, &out),
                place
            )
        };
        tokio::select! {
            _ = attempt => {}
            () = token.cancelled() => {}
        }
    });
}

/// Checks, tells the other side where this device is seen, and notes what is found.
async fn run(
    swarm: &Swarm,
    share: ShareId,
    (device, id): Key,
    theirs: mpsc::Receiver<Candidates>,
    role: CheckRole,
    out: &Out,
) {
    let own = swarm.addresses();
    let Some(checks) = swarm.endpoint.checks(role, &own) else {
        return;
    };
    let (sender, mut found) = mpsc::channel(QUEUE);
    let tell = Tell::new(id, &checks, out);
    let checking = checks.run(theirs, sender);
    let noting = async {
        while let Some(address) = found.recv().await {
            tracing::debug!(?device, %address, "a direct path is found");
            swarm.links.punched(device, address);
        }
    };
    let telling = gather(swarm, share, device, &own, tell);
    let all = async { tokio::join!(checking, noting, telling) };
    let _ = timeout(ATTEMPT, all).await; // Its end is the usual one.
}

/// Says to the other side where this device is, each address once.
struct Tell<'a> {
    message: Candidates,
    said: Vec<SocketAddr>,
    out: &'a Out,
}

impl<'a> Tell<'a> {
    fn new(attempt: AttemptId, checks: &Checks, out: &'a Out) -> Self {
        let message = Candidates {
            attempt,
            credentials: checks.credentials().clone(),
            candidates: Vec::new(),
            padding: 0,
        };
        Self {
            message,
            said: Vec::new(),
            out,
        }
    }

    fn say(&mut self, kind: CandidateKind, addresses: impl IntoIterator<Item = SocketAddr>) {
        let new: Vec<Candidate> = addresses
            .into_iter()
            .filter(|address| !self.said.contains(address))
            .filter_map(|address| Candidate::new(kind, address))
            .take(MAX_CANDIDATES - self.said.len().min(MAX_CANDIDATES))
            .collect();
        tracing::debug!(?new, "candidates are told");
        self.said.extend(new.iter().map(|new| new.address));
        let message = Candidates {
            padding: new.len() * PADDING_PER_CANDIDATE,
            candidates: new,
            ..self.message.clone()
        };
        let _ = self.out.send(Message::Candidates(Box::new(message))); // The session may be over.
    }
}

/// Tells of this device's own addresses at once, and of those at which relays see it as they
/// answer.
async fn gather(
    swarm: &Swarm,
    share: ShareId,
    device: DeviceId,
    own: &[SocketAddr],
    mut tell: Tell<'_>,
) {
    tell.say(CandidateKind::Host, own.iter().copied());
    let joined = swarm.relays().map(|relays| relays.joined(device));
    let joined = joined.unwrap_or_default().into_iter().map(|of| of.address);
    let relays = joined.chain(swarm.core.routes.ticket_relays(share));
    let mut seen = seen_by(swarm, relays);
    while let Some(seen) = seen.next().await {
        if seen.iter().any(|address| !tell.said.contains(address)) {
            tell.say(CandidateKind::ServerReflexive, seen);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hither_carrier::Identity;

    #[test]
    fn r8_nobody_takes_the_places_of_others_or_those_of_this_device() {
        let punching = Arc::new(Punching::default());
        let device = || Identity::generate().unwrap().device_id();
        let (mut number, mut held) = (0_u8, Vec::new());
        let mut begin = |of, role| {
            number += 1;
            let begun = punching.begin((of, AttemptId::new([number; 16])), role);
            let is_begun = begun.is_some();
            held.extend(begun);
            is_begun
        };
        let greedy = device();
        let begun = (0..20)
            .filter(|_| begin(greedy, CheckRole::Controlled))
            .count();
        assert_eq!(begun, MAX_OF_DEVICE);
        let begun = (0..60)
            .filter(|_| begin(device(), CheckRole::Controlled))
            .count();
        assert_eq!(begun, MAX_ATTEMPTS - MAX_OF_DEVICE);
        assert!(begin(greedy, CheckRole::Controlling));
        assert!(!begin(device(), CheckRole::Controlled));
        held.clear();
        assert!(punching.0.lock().is_empty());
    }
}
