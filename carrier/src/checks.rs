//! Connectivity checks (ICE, RFC 8445): two devices that know each other's candidates find an
//! address at which each hears the other, through the NATs before them.
//!
//! The agent is a library's; this drives it over the socket of QUIC, so that a path it finds is one
//! for QUIC too. A local candidate stands for all interfaces of its family: the socket is bound to
//! all of them, and the system chooses.
//!
//! Invariant: until an address has answered, no more bytes are sent to those that have not than the
//! other device sent in [`Candidates`]: nobody is made to flood somebody else.

use crate::endpoint::Endpoint;
use crate::reach::canonical;
use crate::stun::{Checker, Datagram, Stun};
use aws_lc_rs::hmac;
use hither_proto::{Candidate, CandidateKind, Candidates, IceCredentials};
use is::stun::{StunMessage, StunPacket};
use is::{IceAgent, IceAgentEvent, IceCreds, Protocol, Sha1HmacProvider};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::sleep_until;

/// Bytes of padding that each candidate brings: what the checks of it come to, see `RETRANSMITS`.
pub const PADDING_PER_CANDIDATE: usize = 1024;
/// Checks of one pair without an answer, of some 110 bytes each.
const RETRANSMITS: usize = 8;
/// Pause between checks of different pairs; RFC 8445, section 14.2, has 50 ms for the general case
/// and allows down to 5 ms.
const PACING: Duration = Duration::from_millis(20);
/// First pause before a check is repeated.
const FIRST_REPEAT: Duration = Duration::from_millis(200);
/// Longest such pause.
const LONGEST_REPEAT: Duration = Duration::from_secs(2);
/// Most pairs that are checked.
const MAX_PAIRS: usize = 32;
/// The letters of credentials (RFC 8445, section 5.3): 64 of them, so that six bits make one.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// HMAC-SHA1, which authenticates checks (RFC 8489, section 14.5).
#[derive(Debug)]
struct Sha1;

impl Sha1HmacProvider for Sha1 {
    fn sha1_hmac(&self, key: &[u8], payloads: &[&[u8]]) -> [u8; 20] {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
        let mut context = hmac::Context::with_key(&key);
        payloads.iter().for_each(|payload| context.update(payload));
        let mut code = [0; 20];
        code.copy_from_slice(context.sign().as_ref());
        code
    }
}

/// The part a side plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckRole {
    /// It chooses the path, and dials.
    Controlling,
    /// It takes what the other side chooses.
    Controlled,
}

/// The checks of one attempt, on one side.
pub struct Checks {
    checker: Checker,
    agent: IceAgent,
    credentials: IceCredentials,
    local: Vec<SocketAddr>,
    heard: HashSet<SocketAddr>,
    /// Bytes that may yet be sent to addresses that have not answered.
    allowance: usize,
}

/// Random letters.
fn letters<const N: usize>() -> Option<String> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).ok()?;
    let letter = |byte: &u8| char::from(LETTERS[usize::from(*byte & 63)]);
    Some(bytes.iter().map(letter).collect())
}

impl Endpoint {
    /// Begins checks from this device, of which these are the addresses that lead to others.
    /// `None`: there is no QUIC here, no address, or too many checks run.
    pub fn checks(&self, role: CheckRole, own: &[SocketAddr]) -> Option<Checks> {
        Checks::new(self.core().stun.as_ref()?, role, own)
    }

    /// The address at which a server of STUN sees this device's QUIC; `None`: it does not answer.
    pub async fn mapped(&self, server: SocketAddr) -> Option<SocketAddr> {
        self.core().stun.as_ref()?.mapped(server).await
    }
}

/// Now, by the clock that tests may stop.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl Checks {
    fn new(stun: &Arc<Stun>, role: CheckRole, own: &[SocketAddr]) -> Option<Self> {
        // 96 and 144 bits.
        let (ufrag, password) = (letters::<16>()?, letters::<24>()?);
        let checker = stun.checker(&ufrag)?;
        let creds = IceCreds {
            ufrag: ufrag.clone(),
            pass: password.clone(),
        };
        let mut agent = IceAgent::with_hmac(creds, &Sha1);
        agent.set_controlling(role == CheckRole::Controlling);
        agent.set_timing_advance(PACING);
        agent.set_initial_stun_rto(FIRST_REPEAT);
        agent.set_max_stun_rto(LONGEST_REPEAT);
        agent.set_max_stun_retransmits(RETRANSMITS);
        agent.set_max_candidate_pairs(MAX_PAIRS);
        let first = |v4: bool| own.iter().find(move |own| own.is_ipv4() == v4).copied();
        let local: Vec<SocketAddr> = first(true).into_iter().chain(first(false)).collect();
        for address in &local {
            agent.add_local_candidate(is::Candidate::host(*address, Protocol::Udp).ok()?);
        }
        (!local.is_empty()).then(|| Self {
            checker,
            agent,
            credentials: IceCredentials { ufrag, password },
            local,
            heard: HashSet::new(),
            allowance: 0,
        })
    }

    /// The credentials that the other side checks with.
    pub fn credentials(&self) -> &IceCredentials {
        &self.credentials
    }

    /// Checks until it is dropped or `theirs` ends, what the other side tells of itself. Each path
    /// that is chosen comes out of `found`, as the address of the other device; a later one is
    /// better.
    pub async fn run(
        mut self,
        mut theirs: mpsc::Receiver<Candidates>,
        found: mpsc::Sender<SocketAddr>,
    ) {
        self.agent.handle_timeout(now());
        loop {
            if !self.settle(&found).await {
                return;
            }
            let wake = self.agent.poll_timeout();
            let wake = wake.unwrap_or_else(|| now() + LONGEST_REPEAT);
            tokio::select! {
                told = theirs.recv() => match told {
                    Some(told) => self.learn(told),
                    None => return,
                },
                Some(packet) = self.checker.arrived.recv() => self.hear(&packet),
                () = sleep_until(wake.into()) => {}
            }
            self.agent.handle_timeout(now());
        }
    }

    /// Sends what is to be sent and says what was found; `false`: nobody listens any more.
    async fn settle(&mut self, found: &mpsc::Sender<SocketAddr>) -> bool {
        while let Some(event) = self.agent.poll_event() {
            match event {
                IceAgentEvent::DiscoveredRecv { source, .. } => drop(self.heard.insert(source)),
                IceAgentEvent::NominatedSend { destination, .. } => {
                    let is_heard = found.send(destination).await.is_ok();
                    if !is_heard {
                        return false;
                    }
                }
                _ => {}
            }
        }
        while let Some(transmit) = self.agent.poll_transmit() {
            let (to, packet) = (transmit.destination, &transmit.contents[..]);
            if !self.heard.contains(&to) {
                let Some(left) = self.allowance.checked_sub(packet.len()) else {
                    continue;
                };
                self.allowance = left;
            }
            self.checker.send(to, packet);
        }
        true
    }

    fn learn(&mut self, told: Candidates) {
        let IceCredentials { ufrag, password } = told.credentials;
        if self.agent.remote_credentials().is_none() {
            self.agent.set_remote_credentials(IceCreds {
                ufrag,
                pass: password,
            });
        }
        self.allowance += told.padding;
        for Candidate { kind, address } in told.candidates {
            let made = match kind {
                CandidateKind::Host => is::Candidate::host(address, Protocol::Udp),
                CandidateKind::ServerReflexive => {
                    // Its base is behind its NAT, and nobody's business here.
                    is::Candidate::server_reflexive(address, address, Protocol::Udp)
                }
            };
            match made {
                Ok(candidate) => self.agent.add_remote_candidate(candidate),
                Err(error) => tracing::debug!(%address, %error, "a candidate is not used"),
            }
        }
    }

    fn hear(&mut self, packet: &Datagram) {
        let source = canonical(packet.source);
        let local = self
            .local
            .iter()
            .find(|own| own.is_ipv4() == source.is_ipv4());
        let (Some(destination), Ok(message)) = (local, StunMessage::parse(&packet.bytes)) else {
            return;
        };
        let packet = StunPacket {
            proto: Protocol::Udp,
            source,
            destination: *destination,
            message,
        };
        self.agent.handle_packet(now(), packet);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stun::fake::{FakeSocket, stun};
    use hither_proto::AttemptId;

    fn told(checks: &Checks, padding: usize, addresses: &[&str]) -> Candidates {
        let of = |at: &&str| Candidate::new(CandidateKind::Host, at.parse().unwrap()).unwrap();
        Candidates {
            attempt: AttemptId::new([1; 16]),
            credentials: checks.credentials().clone(),
            candidates: addresses.iter().map(of).collect(),
            padding,
        }
    }

    fn checks(socket: &Arc<FakeSocket>, role: CheckRole, own: &str) -> (Arc<Stun>, Checks) {
        let stun = stun(socket, false);
        let checks = Checks::new(&stun, role, &[own.parse().unwrap()]).unwrap();
        (stun, checks)
    }

    #[tokio::test(start_paused = true)]
    async fn r8_who_does_not_answer_gets_no_more_than_was_sent_here() {
        const PAID: usize = 1000;
        let (socket, other) = (FakeSocket::new(), FakeSocket::new());
        let (_stun, checks) = checks(&socket, CheckRole::Controlled, "192.0.2.1:47447");
        let (_, theirs) = self::checks(&other, CheckRole::Controlling, "192.0.2.2:47447");
        let many: Vec<String> = (1..=8).map(|n| format!("198.51.100.{n}:47447")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let (sender, receiver) = mpsc::channel(4);
        sender.send(told(&theirs, PAID, &many)).await.unwrap();
        let (found, mut paths) = mpsc::channel(1);
        let run = tokio::time::timeout(Duration::from_secs(60), checks.run(receiver, found));
        assert!(run.await.is_err(), "it checks until it is dropped");
        let sent: usize = socket.sent().iter().map(|(_, packet)| packet.len()).sum();
        assert!((PAID - 200..=PAID).contains(&sent), "{sent} bytes");
        assert!(paths.recv().await.is_none());
    }

    /// Passes what each sends on to the other, which sees it come from `addresses`.
    async fn carry(sides: [(&Arc<FakeSocket>, &Arc<Stun>, SocketAddr); 2]) {
        loop {
            for (from, to) in [(0, 1), (1, 0)] {
                for (destination, packet) in sides[from].0.take() {
                    if destination == sides[to].2 {
                        sides[to].1.take(&packet, sides[from].2, None);
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn r1_both_sides_find_the_path_that_leads_to_the_other() {
        let (a, b) = (FakeSocket::new(), FakeSocket::new());
        let (stun_a, checks_a) = checks(&a, CheckRole::Controlling, "192.0.2.1:47447");
        let (stun_b, checks_b) = checks(&b, CheckRole::Controlled, "192.0.2.2:47447");
        // As the other side sees them: another port, of which only one side was told.
        let seen_a: SocketAddr = "203.0.113.1:40001".parse().unwrap();
        let seen_b: SocketAddr = "203.0.113.2:47447".parse().unwrap();
        let dead = "198.51.100.9:47447";
        let (to_a, theirs_a) = mpsc::channel(4);
        let (to_b, theirs_b) = mpsc::channel(4);
        let about_b = told(&checks_b, 4096, &[dead, "203.0.113.2:47447"]);
        to_a.send(about_b).await.unwrap();
        to_b.send(told(&checks_a, 4096, &[dead])).await.unwrap();
        let (found_a, mut paths_a) = mpsc::channel(4);
        let (found_b, mut paths_b) = mpsc::channel(4);
        let both = async { tokio::join!(paths_a.recv(), paths_b.recv()) };
        tokio::select! {
            found = both => assert_eq!(found, (Some(seen_b), Some(seen_a))),
            () = checks_a.run(theirs_a, found_a) => unreachable!(),
            () = checks_b.run(theirs_b, found_b) => unreachable!(),
            () = carry([(&a, &stun_a, seen_a), (&b, &stun_b, seen_b)]) => unreachable!(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn r8_checks_with_another_password_or_name_are_not_answered() {
        let (socket, other) = (FakeSocket::new(), FakeSocket::new());
        let (stun, checks) = checks(&socket, CheckRole::Controlled, "192.0.2.1:47447");
        let (_, mut theirs) = self::checks(&other, CheckRole::Controlling, "192.0.2.2:47447");
        // It takes this side's credentials to be other ones.
        let mut wrong = told(&checks, 4096, &["203.0.113.1:47447"]);
        wrong.credentials.password = "x".repeat(24);
        theirs.learn(wrong);
        theirs.agent.handle_timeout(now());
        while let Some(transmit) = theirs.agent.poll_transmit() {
            stun.take(
                &transmit.contents,
                "203.0.113.2:47447".parse().unwrap(),
                None,
            );
        }
        let (sender, receiver) = mpsc::channel(1);
        sender.send(told(&theirs, 0, &[])).await.unwrap();
        let (found, _paths) = mpsc::channel(1);
        let run = tokio::time::timeout(Duration::from_secs(5), checks.run(receiver, found));
        assert!(run.await.is_err());
        assert_eq!(socket.sent(), []);
    }
}
