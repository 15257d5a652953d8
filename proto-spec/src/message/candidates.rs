//! Candidates for a direct path (RFC 8445): where a device may be reached, and the credentials of
//! the checks that find out.
//!
//! Invariant: an address that cannot be another device's, or that a device never listens at, is no
//! candidate, so that nobody is made to send to one.

use super::MessageError;
use crate::ids::AttemptId;
use crate::limits::{MAX_CANDIDATES, MAX_CANDIDATES_PADDING};
use crate::wire;
use std::net::{IpAddr, SocketAddr};

/// Bounds of a user name fragment and of a password, characters (RFC 8445, section 5.3; the upper
/// ones are narrower here).
const UFRAG: std::ops::RangeInclusive<usize> = 4..=32;
const PASSWORD: std::ops::RangeInclusive<usize> = 22..=64;
/// Ports below belong to services of systems: a NAT maps nobody to them. HTTPS is where a device
/// may well listen.
const LOWEST_PORT: u16 = 1024;
const HTTPS: u16 = 443;

/// The name and password that authenticate one side's checks.
#[derive(Clone, PartialEq, Eq)]
pub struct IceCredentials {
    /// User name fragment.
    pub ufrag: String,
    /// Password.
    pub password: String,
}

impl std::fmt::Debug for IceCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IceCredentials({}, …)", self.ufrag)
    }
}

/// The way in which an address became known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CandidateKind {
    /// Of an interface.
    Host,
    /// As a relay sees it.
    ServerReflexive,
}

/// An address at which a device may be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// The way in which it became known.
    pub kind: CandidateKind,
    /// Its address and port.
    pub address: SocketAddr,
}

impl Candidate {
    /// A candidate, if another device can be at this address.
    pub fn new(kind: CandidateKind, address: SocketAddr) -> Option<Self> {
        let ip = address.ip().to_canonical();
        let usable = match ip {
            IpAddr::V4(ip) => {
                !(ip.is_unspecified()
                    || ip.is_loopback()
                    || ip.is_multicast()
                    || ip.is_broadcast()
                    || ip.is_link_local()
                    || ip.octets()[0] == 0)
            }
            // A link-local address means nothing without its interface.
            IpAddr::V6(ip) => {
                !(ip.is_unspecified()
                    || ip.is_loopback()
                    || ip.is_multicast()
                    || ip.is_unicast_link_local())
            }
        };
        let port = address.port();
        (usable && (port >= LOWEST_PORT || port == HTTPS)).then(|| Self {
            kind,
            address: SocketAddr::new(ip, port),
        })
    }
}

/// Addresses at which the sender may be reached directly, as part of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidates {
    /// The attempt that they belong to.
    pub attempt: AttemptId,
    /// The sender's.
    pub credentials: IceCredentials,
    /// At most [`MAX_CANDIDATES`].
    pub candidates: Vec<Candidate>,
    /// Bytes of zeros that come with it, at most [`MAX_CANDIDATES_PADDING`].
    pub padding: usize,
}

impl Candidates {
    /// Candidates that cannot be used are left out.
    pub(super) fn parse(m: wire::Candidates) -> Result<Self, MessageError> {
        if m.candidates.len() > MAX_CANDIDATES {
            return Err(MessageError::Value("number of candidates"));
        }
        if m.padding.len() > MAX_CANDIDATES_PADDING {
            return Err(MessageError::Value("amount of padding"));
        }
        let attempt = AttemptId::from_slice(&m.attempt)?;
        let of_ice = |text: &str, length: std::ops::RangeInclusive<usize>| {
            length.contains(&text.len())
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
        };
        if !of_ice(&m.ufrag, UFRAG) || !of_ice(&m.password, PASSWORD) {
            return Err(MessageError::Value("credential of a check"));
        }
        Ok(Self {
            attempt,
            credentials: IceCredentials {
                ufrag: m.ufrag,
                password: m.password,
            },
            candidates: m.candidates.iter().filter_map(candidate).collect(),
            padding: m.padding.len(),
        })
    }

    pub(super) fn to_wire(&self) -> wire::Candidates {
        let candidates = self.candidates.iter().take(MAX_CANDIDATES);
        wire::Candidates {
            attempt: self.attempt.as_bytes().to_vec().into(),
            ufrag: self.credentials.ufrag.clone(),
            password: self.credentials.password.clone(),
            candidates: candidates.map(to_wire).collect(),
            padding: vec![0; self.padding.min(MAX_CANDIDATES_PADDING)].into(),
        }
    }
}

/// `None`: of a kind that this build does not know, or at an address that is not used.
fn candidate(m: &wire::Candidate) -> Option<Candidate> {
    let kind = match m.kind() {
        wire::CandidateKind::Host => CandidateKind::Host,
        wire::CandidateKind::ServerReflexive => CandidateKind::ServerReflexive,
        wire::CandidateKind::Unspecified => return None,
    };
    let ip = match m.ip.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(&m.ip[..]).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(&m.ip[..]).ok()?),
        _ => return None,
    };
    Candidate::new(kind, SocketAddr::new(ip, u16::try_from(m.port).ok()?))
}

fn to_wire(candidate: &Candidate) -> wire::Candidate {
    let kind = match candidate.kind {
        CandidateKind::Host => wire::CandidateKind::Host,
        CandidateKind::ServerReflexive => wire::CandidateKind::ServerReflexive,
    };
    let ip = match candidate.address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    wire::Candidate {
        kind: kind.into(),
        ip: ip.into(),
        port: u32::from(candidate.address.port()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(address: &str) -> Option<Candidate> {
        Candidate::new(CandidateKind::Host, address.parse().unwrap())
    }

    fn message() -> wire::Candidates {
        wire::Candidates {
            attempt: vec![1; 16].into(),
            ufrag: "ufra".into(),
            password: "p".repeat(22),
            candidates: vec![to_wire(&one("203.0.113.7:47447").unwrap())],
            padding: vec![0; 10].into(),
        }
    }

    #[test]
    fn r8_what_cannot_be_another_device_is_no_candidate() {
        for address in [
            "127.0.0.1:47447",
            "0.0.0.0:47447",
            "0.1.2.3:47447",
            "255.255.255.255:47447",
            "224.0.0.251:5353",
            "169.254.1.1:47447",
            "[::1]:47447",
            "[::ffff:127.0.0.1]:47447",
            "[ff02::fb]:5353",
            "[fe80::1]:47447",
            "203.0.113.7:53",
            "203.0.113.7:0",
        ] {
            assert_eq!(one(address), None, "{address}");
        }
        for address in [
            "203.0.113.7:443",
            "192.168.1.2:47447",
            "[2001:db8::1]:47447",
        ] {
            assert!(one(address).is_some(), "{address}");
        }
        let mapped = one("[::ffff:203.0.113.7]:47447").unwrap();
        assert_eq!(mapped.address, "203.0.113.7:47447".parse().unwrap());
    }

    #[test]
    fn r8_candidates_are_bounded_and_those_of_no_use_are_left_out() {
        let parsed = |change: &dyn Fn(&mut wire::Candidates)| {
            let mut wire = message();
            change(&mut wire);
            Candidates::parse(wire)
        };
        assert_eq!(parsed(&|_| {}).unwrap().candidates.len(), 1);
        assert_eq!(
            parsed(&|m| m.candidates[0].kind = 77).unwrap().candidates,
            []
        );
        assert_eq!(
            parsed(&|m| m.candidates[0].port = 70_000)
                .unwrap()
                .candidates,
            []
        );
        assert_eq!(
            parsed(&|m| m.candidates[0].ip = vec![1; 5].into())
                .unwrap()
                .candidates,
            []
        );
        for change in [
            (&|m: &mut wire::Candidates| m.attempt = vec![1; 15].into())
                as &dyn Fn(&mut wire::Candidates),
            &|m| m.ufrag = "u".repeat(33),
            &|m| m.ufrag = "a:bc".into(),
            &|m| m.password = "p".repeat(21),
            &|m| m.padding = vec![0; MAX_CANDIDATES_PADDING + 1].into(),
            &|m| m.candidates = vec![wire::Candidate::default(); MAX_CANDIDATES + 1],
        ] {
            assert!(parsed(change).is_err());
        }
    }
}
