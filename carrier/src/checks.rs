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
use crate::stun::{Checker, Datagram};
use aws_lc_rs::hmac;
use hither_proto::{Candidate, CandidateKind, Candidates, IceCredentials};
use is::stun::{StunMessage, StunPacket};
use is::{IceAgent, IceAgentEvent, IceCreds, Protocol, Sha1HmacProvider};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::sleep_until;

/// Bytes of padding that each candidate brings: what the checks of it come to, see [`RETRANSMITS`].
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
        let stun = self.core().stun.as_ref()?;
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
        (!local.is_empty()).then(|| Checks {
            checker,
            agent,
            credentials: IceCredentials { ufrag, password },
            local,
            heard: HashSet::new(),
            allowance: 0,
        })
    }

    /// The address at which a server of STUN sees this device's QUIC; `None`: it does not answer.
    pub async fn mapped(&self, server: SocketAddr) -> Option<SocketAddr> {
        self.core().stun.as_ref()?.mapped(server).await
    }
}

impl Checks {
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
        self.agent.handle_timeout(Instant::now());
        loop {
            if !self.settle(&found).await {
                return;
            }
            let wake = self.agent.poll_timeout();
            let wake = wake.map_or_else(|| Instant::now() + LONGEST_REPEAT, |at| at);
            tokio::select! {
                told = theirs.recv() => match told {
                    Some(told) => self.learn(told),
                    None => return,
                },
                Some(packet) = self.checker.arrived.recv() => self.hear(&packet),
                () = sleep_until(wake.into()) => {}
            }
            self.agent.handle_timeout(Instant::now());
        }
    }

    /// Sends what is to be sent and says what was found; `false`: nobody listens any more.
    async fn settle(&mut self, found: &mpsc::Sender<SocketAddr>) -> bool {
        while let Some(event) = self.agent.poll_event() {
            match event {
                IceAgentEvent::DiscoveredRecv { source, .. } => drop(self.heard.insert(source)),
                IceAgentEvent::NominatedSend { destination, .. } => {
                    if found.send(destination).await.is_err() {
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
        self.agent.handle_packet(Instant::now(), packet);
    }
}
