//! Links that let somebody's browser send to a device, or answer a site.
//!
//! `https://HOST[:PORT]/i#<inbox link>` opens a page that sends to one device, `…/a#<ask link>` one
//! that answers what a page of a site asks for. Everything secret stands in the fragment, which no
//! browser sends to the server. Both are bech32m of a format byte and a message of `page.proto`.

use crate::ask::{Ask, parse_ask};
use crate::device::{DeviceId, DeviceName};
use crate::ids::VisitorSecret;
use crate::limits::MAX_DEVICE_NAME;
use crate::wire;
use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32m, Hrp};
use prost::Message as _;
use std::fmt;
use std::str::FromStr;
use zeroize::Zeroizing;

/// Version of the payloads.
const FORMAT: u8 = 1;
/// Human-readable part of an inbox link.
const INBOX: &str = "hither-inbox";
/// Human-readable part of an ask link.
const ASK: &str = "hither-ask";
/// Longest text, characters: an ask link with the longest reason and pattern fits.
const LONGEST: usize = 2048;

/// Why a text is no link for a visitor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PageLinkError {
    /// Another kind of text.
    #[error("this is no such link")]
    NotOne,
    /// Longer than any.
    #[error("this is too long for a link")]
    TooLong,
    /// The checksum does not fit.
    #[error("the link is incomplete or mistyped (its checksum does not fit)")]
    Checksum,
    /// From a newer version of Hither.
    #[error("this link was made by a newer version of Hither")]
    Newer,
    /// The checksum fits but the content does not parse.
    #[error("the link is malformed")]
    Malformed,
}

/// Everything that a page needs to send to a device.
#[derive(Clone, PartialEq, Eq)]
pub struct InboxLink {
    /// The device that is sent to.
    pub host: DeviceId,
    /// Lets the page visit it.
    pub secret: VisitorSecret,
    /// The device's name for whoever has the link.
    pub name: DeviceName,
}

/// Everything that a page needs to answer another one.
#[derive(Clone, PartialEq, Eq)]
pub struct AskLink {
    /// The asking page.
    pub asker: DeviceId,
    /// Lets the page visit it.
    pub secret: VisitorSecret,
    /// The thing that is asked for.
    pub ask: Ask,
    /// More than one may be given.
    pub multiple: bool,
}

fn encode(f: &mut fmt::Formatter<'_>, part: &str, message: &[u8]) -> fmt::Result {
    let payload = Zeroizing::new([&[FORMAT], message].concat());
    let hrp = Hrp::parse(part).map_err(|_| fmt::Error)?;
    let text = bech32::encode_lower::<Bech32m>(hrp, &payload).map_err(|_| fmt::Error)?;
    f.write_str(&text)
}

fn decode<M: prost::Message + Default>(text: &str, part: &str) -> Result<M, PageLinkError> {
    let text = text.trim();
    if text.len() > LONGEST {
        return Err(PageLinkError::TooLong);
    }
    let begins = text.get(..=part.len()).is_some_and(|start| {
        start[..part.len()].eq_ignore_ascii_case(part) && start.ends_with('1')
    });
    if !begins {
        return Err(PageLinkError::NotOne);
    }
    // bech32's own bound of 1,023 characters does not hold for its checked strings of any length.
    let checked = CheckedHrpstring::new::<Bech32m>(text).map_err(|_| PageLinkError::Checksum)?;
    let payload: Zeroizing<Vec<u8>> = Zeroizing::new(checked.byte_iter().collect());
    match payload.split_first() {
        Some((&FORMAT, message)) => M::decode(message).map_err(|_| PageLinkError::Malformed),
        Some(_) => Err(PageLinkError::Newer),
        None => Err(PageLinkError::Malformed),
    }
}

impl fmt::Display for InboxLink {
    /// The text behind the `#`: a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = wire::InboxLink {
            host: self.host.as_bytes().to_vec().into(),
            secret: self.secret.expose().to_vec().into(),
            name: self.name.as_str().to_owned(),
        };
        encode(f, INBOX, &message.encode_to_vec())
    }
}

impl fmt::Debug for InboxLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InboxLink({:?}, secret)", self.host)
    }
}

impl FromStr for InboxLink {
    type Err = PageLinkError;

    fn from_str(text: &str) -> Result<Self, PageLinkError> {
        let message: wire::InboxLink = decode(text, INBOX)?;
        if message.name.len() > MAX_DEVICE_NAME {
            return Err(PageLinkError::Malformed);
        }
        Ok(Self {
            host: DeviceId::from_slice(&message.host).map_err(|_| PageLinkError::Malformed)?,
            secret: VisitorSecret::from_slice(&message.secret)
                .map_err(|_| PageLinkError::Malformed)?,
            name: DeviceName::clean(&message.name),
        })
    }
}

impl fmt::Display for AskLink {
    /// The text behind the `#`: a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = wire::AskLink {
            asker: self.asker.as_bytes().to_vec().into(),
            secret: self.secret.expose().to_vec().into(),
            ask: Some(self.ask.to_wire()),
            multiple: self.multiple,
        };
        encode(f, ASK, &message.encode_to_vec())
    }
}

impl fmt::Debug for AskLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AskLink({:?}, secret)", self.asker)
    }
}

impl FromStr for AskLink {
    type Err = PageLinkError;

    fn from_str(text: &str) -> Result<Self, PageLinkError> {
        let message: wire::AskLink = decode(text, ASK)?;
        let ask = message.ask.ok_or(PageLinkError::Malformed)?;
        let ask = parse_ask(&ask).map_err(|_| PageLinkError::Malformed)?;
        Ok(Self {
            asker: DeviceId::from_slice(&message.asker).map_err(|_| PageLinkError::Malformed)?,
            secret: VisitorSecret::from_slice(&message.secret)
                .map_err(|_| PageLinkError::Malformed)?,
            ask: ask.ok_or(PageLinkError::Newer)?,
            multiple: message.multiple,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::{AskKind, Which};
    use crate::ids::AskId;
    use crate::limits::{MAX_ASK_PATTERN, MAX_ASK_REASON};
    use crate::relay::samples::{key, seeded};

    fn inbox() -> InboxLink {
        InboxLink {
            host: key(),
            secret: VisitorSecret::new([7; 16]),
            name: DeviceName::clean("Anna's laptop"),
        }
    }

    fn ask(name: usize, reason: usize) -> AskLink {
        AskLink {
            asker: key(),
            secret: VisitorSecret::new([7; 16]),
            ask: Ask {
                id: AskId::new([3; 16]),
                kind: AskKind::Photo,
                which: Which::Named("*".repeat(name)),
                digest: true,
                reason: "r".repeat(reason),
                valid_s: 900,
            },
            multiple: true,
        }
    }

    #[test]
    fn links_come_out_as_they_went_in() {
        assert_eq!(inbox().to_string().parse(), Ok(inbox()));
        assert_eq!(inbox().to_string().to_uppercase().parse(), Ok(inbox()));
        for link in [ask(1, 0), ask(MAX_ASK_PATTERN, MAX_ASK_REASON)] {
            assert_eq!(link.to_string().parse(), Ok(link));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let link = inbox().to_string();
        let wrong = |text: &str| text.parse::<InboxLink>().unwrap_err();
        assert_eq!(wrong(""), PageLinkError::NotOne);
        assert_eq!(wrong("häther"), PageLinkError::NotOne);
        assert_eq!(wrong(&ask(1, 1).to_string()), PageLinkError::NotOne);
        assert_eq!(wrong(&link[..link.len() - 1]), PageLinkError::Checksum);
        assert_eq!(wrong(&"q".repeat(LONGEST + 1)), PageLinkError::TooLong);
        assert!(!format!("{:?}", inbox()).contains("070707"));
    }

    #[test]
    fn a_proof_is_of_one_visitor_at_one_host() {
        let (secret, host) = (VisitorSecret::new([7; 16]), key());
        let [one, two] = [seeded(1), seeded(2)];
        assert_eq!(secret.proof(&one, &host), secret.proof(&one, &host));
        assert_ne!(secret.proof(&one, &host), secret.proof(&two, &host));
        assert_ne!(secret.proof(&one, &two), secret.proof(&two, &one));
        let other = VisitorSecret::new([8; 16]);
        assert_ne!(secret.proof(&one, &host), other.proof(&one, &host));
        assert_ne!(secret.invitation(), other.invitation());
        let numbers = (0..200).map(|seed| secret.number(&seeded(seed), &host));
        assert!(
            numbers
                .into_iter()
                .all(|number| (10..100).contains(&number))
        );
    }
}
