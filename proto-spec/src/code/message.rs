//! Messages on a stream about a code, and what the two devices seal for each other at its end.

use super::{CodeConfirmation, CodeKind, CodeName, PakeMessage};
use crate::device::{DeviceId, DeviceName};
use crate::limits::{MAX_CODE_SEALED, MAX_DEVICES, MAX_RELAYS};
use crate::message::MessageError;
use crate::relay::RelayUrl;
use crate::ticket::Ticket;
use crate::wire;
use crate::wire::code_gift::What as Gift;
use crate::wire::code_message::What;
use bytes::Bytes;
use prost::Message as _;

/// Why an exchange does not take place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeRefusal {
    /// The code is wrong, spent, expired or was never shown: the same answer on purpose.
    Spent,
    /// The code is for something else; it stays good.
    Kind,
    /// Too many enter codes there at the moment; the code stays good.
    Busy,
}

/// One message on a stream about a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodeMessage {
    /// The code was entered at the opener.
    Start {
        /// Which code.
        name: CodeName,
        /// The purpose of the code, as the opener believes.
        kind: CodeKind,
        /// The opener's side of the key exchange.
        pake: PakeMessage,
    },
    /// The acceptor's side of it. The code is spent.
    Answer(PakeMessage),
    /// The sender came to a key; the opener says so first.
    Confirm(CodeConfirmation),
    /// A sealed [`CodeGift`], 1 to [`MAX_CODE_SEALED`] bytes.
    Sealed(Bytes),
    /// Nothing comes of it.
    Refused(CodeRefusal),
}

/// A device of the user that pairing makes known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairDevice {
    /// The device.
    pub device: DeviceId,
    /// The name it calls itself.
    pub name: DeviceName,
}

/// Everything that the new device gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairGrant {
    /// The name that the granting device calls itself.
    pub name: DeviceName,
    /// The user's other devices, at most [`MAX_DEVICES`].
    pub devices: Vec<PairDevice>,
    /// Relays, each with an invitation for the same user, at most [`MAX_RELAYS`].
    pub relays: Vec<RelayUrl>,
}

/// A gift, sealed between two devices that came to the same key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodeGift {
    /// The ticket that the code of a share stands for.
    Ticket(Box<Ticket>),
    /// The name that the device that wants to be paired calls itself.
    Introduction(DeviceName),
    /// The person who is to agree has not answered yet.
    Wait,
    /// That person said no.
    Declined,
    /// That person said yes.
    Grant(Box<PairGrant>),
    /// The gift has arrived.
    Taken,
}

impl CodeGift {
    /// The bytes to be sealed.
    pub fn encode(&self) -> Vec<u8> {
        let what = match self {
            Self::Ticket(ticket) => Gift::Ticket(ticket.to_string()),
            Self::Introduction(name) => Gift::Introduction(name.as_str().to_owned()),
            Self::Wait => Gift::Wait(wire::CodeWait {}),
            Self::Declined => Gift::Declined(wire::CodeDeclined {}),
            Self::Grant(grant) => Gift::Grant(grant_to_wire(grant)),
            Self::Taken => Gift::Taken(wire::CodeTaken {}),
        };
        wire::CodeGift { what: Some(what) }.encode_to_vec()
    }

    /// Parses what was sealed. `None`: something of a later version.
    ///
    /// Errors: it is malformed, or beyond a bound. Its author has the code, and may be hostile.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, MessageError> {
        let gift = wire::CodeGift::decode(bytes).map_err(|_| MessageError::Malformed)?;
        gift.what.map(Self::from_wire).transpose()
    }

    fn from_wire(what: Gift) -> Result<Self, MessageError> {
        Ok(match what {
            Gift::Ticket(text) => Self::Ticket(Box::new(
                text.parse().map_err(|_| MessageError::Value("ticket"))?,
            )),
            Gift::Introduction(name) => Self::Introduction(DeviceName::clean(&name)),
            Gift::Wait(_) => Self::Wait,
            Gift::Declined(_) => Self::Declined,
            Gift::Grant(grant) => Self::Grant(Box::new(grant_from_wire(grant)?)),
            Gift::Taken(_) => Self::Taken,
        })
    }
}

fn grant_to_wire(grant: &PairGrant) -> wire::PairGrant {
    wire::PairGrant {
        name: grant.name.as_str().to_owned(),
        devices: grant
            .devices
            .iter()
            .take(MAX_DEVICES)
            .map(|known| wire::PairDevice {
                device: Bytes::copy_from_slice(known.device.as_bytes()),
                name: known.name.as_str().to_owned(),
            })
            .collect(),
        relays: grant
            .relays
            .iter()
            .take(MAX_RELAYS)
            .map(ToString::to_string)
            .collect(),
    }
}

fn grant_from_wire(grant: wire::PairGrant) -> Result<PairGrant, MessageError> {
    if grant.devices.len() > MAX_DEVICES {
        return Err(MessageError::Value("number of devices"));
    }
    if grant.relays.len() > MAX_RELAYS {
        return Err(MessageError::Value("number of relays"));
    }
    let device = |known: &wire::PairDevice| -> Result<PairDevice, MessageError> {
        Ok(PairDevice {
            device: DeviceId::from_slice(&known.device)?,
            name: DeviceName::clean(&known.name),
        })
    };
    let relay = |url: &String| url.parse().map_err(|_| MessageError::Value("relay URL"));
    Ok(PairGrant {
        name: DeviceName::clean(&grant.name),
        devices: grant.devices.iter().map(device).collect::<Result<_, _>>()?,
        relays: grant.relays.iter().map(relay).collect::<Result<_, _>>()?,
    })
}

pub(crate) fn code_to_wire(message: &CodeMessage) -> wire::CodeMessage {
    let bytes = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
    let what = match message {
        CodeMessage::Start { name, kind, pake } => What::Start(wire::CodeStart {
            name: name.to_bytes().into(),
            kind: i32::from(kind.number()),
            pake: bytes(pake.as_bytes()),
        }),
        CodeMessage::Answer(pake) => What::Answer(bytes(pake.as_bytes())),
        CodeMessage::Confirm(confirmation) => What::Confirm(bytes(confirmation.as_bytes())),
        CodeMessage::Sealed(sealed) => What::Sealed(sealed.clone()),
        CodeMessage::Refused(refusal) => What::Refused(
            match refusal {
                CodeRefusal::Spent => wire::CodeRefusal::Spent,
                CodeRefusal::Kind => wire::CodeRefusal::Kind,
                CodeRefusal::Busy => wire::CodeRefusal::Busy,
            }
            .into(),
        ),
    };
    wire::CodeMessage { what: Some(what) }
}

/// A refusal of a kind that this build does not know means that the code is of no use.
pub(crate) fn code_from_wire(message: wire::CodeMessage) -> Result<CodeMessage, MessageError> {
    Ok(match message.what.ok_or(MessageError::Malformed)? {
        What::Start(start) => CodeMessage::Start {
            name: CodeName::from_slice(&start.name)?,
            kind: match start.kind() {
                wire::CodeKind::Share => CodeKind::Share,
                wire::CodeKind::Pair => CodeKind::Pair,
                wire::CodeKind::Unspecified => return Err(MessageError::Value("kind of code")),
            },
            pake: PakeMessage::from_slice(&start.pake)?,
        },
        What::Answer(pake) => CodeMessage::Answer(PakeMessage::from_slice(&pake)?),
        What::Confirm(bytes) => CodeMessage::Confirm(CodeConfirmation::from_slice(&bytes)?),
        What::Sealed(sealed) if sealed.is_empty() || sealed.len() > MAX_CODE_SEALED => {
            return Err(MessageError::Value("length of sealed data"));
        }
        What::Sealed(sealed) => CodeMessage::Sealed(sealed),
        What::Refused(code) => CodeMessage::Refused(match wire::CodeRefusal::try_from(code) {
            Ok(wire::CodeRefusal::Kind) => CodeRefusal::Kind,
            Ok(wire::CodeRefusal::Busy) => CodeRefusal::Busy,
            Ok(wire::CodeRefusal::Spent) | Err(_) => CodeRefusal::Spent,
        }),
    })
}
