//! Tickets: one word that opens one share.
//!
//! `hither1` + bech32m (BIP-350) of a version byte and a protobuf `Ticket`: no case, no ambiguous
//! characters, a checksum that names a typing error, and upper case fits a QR code's alphanumeric
//! mode. BIP-350 stops at 90 characters; beyond them the checksum still finds an error with
//! probability 1 - 2⁻³⁰ but no longer guarantees to find every four. A ticket is a secret.

use crate::device::DeviceId;
use crate::ids::{ChunkId, IdError, ShareId, ShareSecret};
use crate::limits::{MAX_HINTS, MAX_TICKET, MAX_TICKET_RELAYS};
use crate::message::MessageError;
use crate::relay::RelayAddress;
use crate::wire;
use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32m, Hrp};
use prost::Message as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::{fmt, str::FromStr};

const HRP: &str = "hither";
/// First byte of the payload; another one means a ticket that this build cannot read.
const FORMAT: u8 = 1;
/// Bytes that fit into a ticket: a character holds 5 bits; `hither1` and the checksum take 13.
const MAX_PAYLOAD: usize = (MAX_TICKET - 13) * 5 / 8;

/// Why a text is no ticket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// Does not begin with `hither1`.
    #[error("a ticket begins with \"hither1\"")]
    NotATicket,
    /// Longer than any ticket.
    #[error("this is too long for a ticket")]
    TooLong,
    /// The checksum does not fit: mistyped or cut off.
    #[error("the ticket is incomplete or mistyped (its checksum does not fit)")]
    Checksum,
    /// From a newer version of Hither.
    #[error("this ticket was made by a newer version of Hither (format {0})")]
    Format(u8),
    /// The checksum fits but the content does not parse.
    #[error("the ticket is malformed")]
    Malformed,
    /// A field has the wrong length.
    #[error("the ticket is malformed: {0}")]
    Field(#[from] IdError),
}

/// Names one version of a share instead of its latest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The version's number.
    pub version: u64,
    /// BLAKE3 of its encrypted root.
    pub root: ChunkId,
}

/// What a fetch needs to know: which share, whose, and where it was last reachable.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Opens the share.
    pub secret: ShareSecret,
    /// Signs the share's heads.
    pub owner: DeviceId,
    /// Addresses of the owner when the ticket was made, at most [`MAX_HINTS`]; only hints.
    pub hints: Vec<SocketAddr>,
    /// Relays that may know who holds the share when the owner is away, at most
    /// [`MAX_TICKET_RELAYS`]. The text holds as many of them as fit into [`MAX_TICKET`]: two
    /// with four addresses of usual length do.
    pub relays: Vec<RelayAddress>,
    /// The version it names; `None` for the latest.
    pub pin: Option<Pin>,
}

impl Ticket {
    /// The share that the ticket opens.
    pub fn share(&self) -> ShareId {
        self.secret.share_id()
    }

    /// The message with the first `relays` of the relays.
    fn to_wire(&self, relays: usize) -> wire::Ticket {
        wire::Ticket {
            secret: self.secret.expose().to_vec().into(),
            owner: self.owner.as_bytes().to_vec().into(),
            hint: self
                .hints
                .iter()
                .take(MAX_HINTS)
                .map(|a| encode_hint(a).into())
                .collect(),
            relay: self
                .relays
                .iter()
                .take(relays)
                .map(RelayAddress::to_wire)
                .collect(),
            pin: self.pin.as_ref().map(|p| wire::Pin {
                version: p.version,
                root: p.root.as_bytes().to_vec().into(),
            }),
        }
    }

    fn from_wire(ticket: wire::Ticket) -> Result<Self, TicketError> {
        if ticket.hint.len() > MAX_HINTS || ticket.relay.len() > MAX_TICKET_RELAYS {
            return Err(TicketError::Malformed);
        }
        let pin = match ticket.pin {
            Some(pin) => Some(Pin {
                version: pin.version,
                root: ChunkId::from_slice(&pin.root)?,
            }),
            None => None,
        };
        let relays: Result<_, MessageError> =
            ticket.relay.into_iter().map(RelayAddress::parse).collect();
        Ok(Self {
            secret: ShareSecret::from_slice(&ticket.secret)?,
            owner: DeviceId::from_slice(&ticket.owner)?,
            hints: ticket
                .hint
                .iter()
                .map(|h| decode_hint(h))
                .collect::<Result<_, _>>()?,
            relays: relays.map_err(|_| TicketError::Malformed)?,
            pin,
        })
    }
}

pub(crate) fn encode_hint(address: &SocketAddr) -> Vec<u8> {
    let port = address.port().to_be_bytes();
    match address.ip() {
        IpAddr::V4(ip) => [&ip.octets()[..], &port].concat(),
        IpAddr::V6(ip) => [&ip.octets()[..], &port].concat(),
    }
}

pub(crate) fn decode_hint(bytes: &[u8]) -> Result<SocketAddr, TicketError> {
    let (ip, port) = match bytes.len() {
        6 | 18 => bytes.split_at(bytes.len() - 2),
        _ => return Err(TicketError::Malformed),
    };
    let port = u16::from_be_bytes([port[0], port[1]]);
    let ip: IpAddr = match (<[u8; 4]>::try_from(ip), <[u8; 16]>::try_from(ip)) {
        (Ok(v4), _) => Ipv4Addr::from(v4).into(),
        (_, Ok(v6)) => Ipv6Addr::from(v6).into(),
        _ => return Err(TicketError::Malformed),
    };
    Ok(SocketAddr::new(ip, port))
}

impl fmt::Display for Ticket {
    /// The ticket itself: a secret, show it only to those who may fetch.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut payload = Vec::new();
        // A ticket without relays always fits.
        for relays in (0..=MAX_TICKET_RELAYS.min(self.relays.len())).rev() {
            payload = vec![FORMAT];
            payload.extend(self.to_wire(relays).encode_to_vec());
            if payload.len() <= MAX_PAYLOAD {
                break;
            }
        }
        let hrp = Hrp::parse(HRP).map_err(|_| fmt::Error)?;
        let text = bech32::encode_lower::<Bech32m>(hrp, &payload).map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({:?}, owner {:?})", self.share(), self.owner)
    }
}

impl FromStr for Ticket {
    type Err = TicketError;

    fn from_str(text: &str) -> Result<Self, TicketError> {
        // It may have been copied from a screen that broke it into lines and indented them: there is
        // room for three bytes of that beside each of its characters.
        if text.len() > 4 * MAX_TICKET {
            return Err(TicketError::TooLong);
        }
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let text = text.as_str();
        if text.len() > MAX_TICKET {
            return Err(TicketError::TooLong);
        }
        if !text
            .get(..7)
            .is_some_and(|start| start.eq_ignore_ascii_case("hither1"))
        {
            return Err(TicketError::NotATicket);
        }
        let checked = CheckedHrpstring::new::<Bech32m>(text).map_err(|_| TicketError::Checksum)?;
        let payload: Vec<u8> = checked.byte_iter().collect();
        match payload.split_first() {
            Some((&FORMAT, message)) => {
                Self::from_wire(wire::Ticket::decode(message).map_err(|_| TicketError::Malformed)?)
            }
            Some((&format, _)) => Err(TicketError::Format(format)),
            None => Err(TicketError::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::samples::{longest_relay, relay};
    use proptest::prelude::*;

    fn owner() -> DeviceId {
        let secret = libp2p_identity::ed25519::SecretKey::try_from_bytes([5u8; 32]).unwrap();
        let pair = libp2p_identity::ed25519::Keypair::from(secret);
        DeviceId::from_slice(&pair.public().to_bytes()).unwrap()
    }

    fn ticket() -> Ticket {
        Ticket {
            secret: ShareSecret::new([9; 16]),
            owner: owner(),
            hints: vec![
                "192.168.1.7:47447".parse().unwrap(),
                "[fd00::1]:47447".parse().unwrap(),
            ],
            relays: Vec::new(),
            pin: None,
        }
    }

    /// With as many hints as there may be, and a pin.
    fn fullest(relays: Vec<RelayAddress>) -> Ticket {
        let pin = Some(Pin {
            version: u64::MAX,
            root: ChunkId::new([3; 32]),
        });
        Ticket {
            hints: vec!["[fd00::1]:47447".parse().unwrap(); MAX_HINTS],
            pin,
            relays,
            ..ticket()
        }
    }

    #[test]
    fn relays_round_trip_and_what_does_not_fit_is_left_out() {
        let two = fullest(vec![relay(); MAX_TICKET_RELAYS]);
        let text = two.to_string();
        assert!(text.len() <= MAX_TICKET, "{}", text.len());
        assert_eq!(text.parse::<Ticket>().unwrap(), two);
        let too_long = fullest(vec![relay(), longest_relay()]).to_string();
        assert!(too_long.len() <= MAX_TICKET);
        assert_eq!(too_long.parse::<Ticket>().unwrap(), fullest(vec![relay()]));
        let too_many = fullest(vec![relay(); MAX_TICKET_RELAYS + 1]).to_string();
        assert_eq!(too_many.parse::<Ticket>().unwrap(), two);
        let none = fullest(vec![longest_relay()]).to_string();
        assert_eq!(none.parse::<Ticket>().unwrap(), fullest(vec![]));
    }

    #[test]
    fn a_ticket_as_it_was_before_relays_is_understood() {
        let text = "hither1qy9pqqgpqyqszqgpqyqszqgpqyqszqgjyph858xa9xct0r738t6v2kv0al6w725hzehrefhjunalenvq2pdlzxsxcqqqypae2u5dxj40";
        assert_eq!(text.parse::<Ticket>().unwrap().relays, []);
    }

    #[test]
    fn hostile_relays_are_refused() {
        let with = |relay: Vec<wire::RelayAddress>| {
            Ticket::from_wire(wire::Ticket {
                relay,
                ..ticket().to_wire(0)
            })
        };
        let good = relay().to_wire();
        assert!(with(vec![good.clone(); MAX_TICKET_RELAYS]).is_ok());
        assert_eq!(
            with(vec![good.clone(); MAX_TICKET_RELAYS + 1]),
            Err(TicketError::Malformed)
        );
        let many = wire::RelayAddress {
            udp: vec!["a:1".into(); 9],
            ..good.clone()
        };
        assert_eq!(with(vec![many]), Err(TicketError::Malformed));
        let escape = wire::RelayAddress {
            tcp: vec!["\u{1b}[2J:1".into()],
            ..good
        };
        assert_eq!(with(vec![escape]), Err(TicketError::Malformed));
    }

    #[test]
    fn tickets_round_trip_in_either_case_and_are_short() {
        let text = ticket().to_string();
        assert!(
            text.starts_with("hither1") && text.len() < 150,
            "{} {text}",
            text.len()
        );
        assert_eq!(text.parse::<Ticket>().unwrap(), ticket());
        assert_eq!(text.to_uppercase().parse::<Ticket>().unwrap(), ticket());
        let pinned = Ticket {
            pin: Some(Pin {
                version: 7,
                root: ChunkId::new([3; 32]),
            }),
            ..ticket()
        };
        assert_eq!(pinned.to_string().parse::<Ticket>().unwrap(), pinned);
    }

    #[test]
    fn typing_errors_are_named() {
        let text = ticket().to_string();
        assert_eq!("sendme".parse::<Ticket>(), Err(TicketError::NotATicket));
        assert_eq!(text[..60].parse::<Ticket>(), Err(TicketError::Checksum));
        assert_eq!(
            "x".repeat(MAX_TICKET + 1).parse::<Ticket>(),
            Err(TicketError::TooLong)
        );
        for i in 7..text.len() {
            let mut typo = text.clone().into_bytes();
            typo[i] = if typo[i] == b'q' { b'p' } else { b'q' };
            assert!(
                String::from_utf8(typo).unwrap().parse::<Ticket>().is_err(),
                "{i}"
            );
        }
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        let hrp = Hrp::parse(HRP).unwrap();
        let text = bech32::encode_lower::<Bech32m>(hrp, &[9, 1, 2]).unwrap();
        assert_eq!(text.parse::<Ticket>(), Err(TicketError::Format(9)));
    }

    proptest! {
        #[test]
        fn any_payload_is_parsed_or_refused_without_panic(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            let hrp = Hrp::parse(HRP).unwrap();
            let mut bytes = vec![FORMAT];
            bytes.extend(payload);
            let text = bech32::encode_lower::<Bech32m>(hrp, &bytes).unwrap();
            let _ = text.parse::<Ticket>();
        }

        #[test]
        fn blanks_and_line_breaks_inside_change_nothing(
            upper in any::<bool>(),
            breaks in proptest::collection::vec((0usize..200, "[ \t\r\n\u{a0}\u{2003}]{1,6}"), 0..40),
        ) {
            let mut text = ticket().to_string();
            if upper {
                text = text.to_uppercase();
            }
            for (at, blank) in breaks {
                let at = text.char_indices().map(|(at, _)| at).nth(at).unwrap_or(text.len());
                text.insert_str(at, &blank);
            }
            prop_assert_eq!(text.parse::<Ticket>(), Ok(ticket()));
        }
    }
}
