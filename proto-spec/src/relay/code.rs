//! Messages between a device and a relay about codes that are said, on the long connection: which
//! device shows one that begins with a word, and invitations for the device that is paired.

use super::encode::key;
use super::parse::few;
use crate::code::Word;
use crate::device::DeviceId;
use crate::ids::Invitation;
use crate::limits::MAX_NAMEPLATES;
use crate::message::MessageError;
use crate::wire;
use crate::wire::relay_frame::Body;
use bytes::Bytes;

/// A request of a device to a relay about codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeRequest {
    /// The sender shows a code that begins with this word, or does so no more.
    Show {
        /// The word.
        nameplate: Word,
        /// It is shown no more.
        ends: bool,
    },
    /// Asks who shows a code that begins with this word.
    Find {
        /// The word.
        nameplate: Word,
    },
    /// An invitation for one more device of the sender's user.
    Invite,
}

/// The answer of a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodeAnswer {
    /// It is kept, for ten minutes unless it is told again; or forgotten.
    Shown,
    /// These do, at most [`MAX_NAMEPLATES`].
    Found(Vec<DeviceId>),
    /// Good for one device and ten minutes.
    Invited(Invitation),
}

impl CodeRequest {
    pub(super) fn parse(body: &Body) -> Result<(u64, Self), MessageError> {
        Ok(match body {
            Body::ShowCode(m) => {
                let (nameplate, ends) = (word(m.nameplate)?, m.ends);
                (m.request, Self::Show { nameplate, ends })
            }
            Body::FindCode(m) => {
                let nameplate = word(m.nameplate)?;
                (m.request, Self::Find { nameplate })
            }
            Body::Invite(m) => (m.request, Self::Invite),
            _ => return Err(MessageError::Malformed),
        })
    }

    pub(super) fn to_wire(self, request: u64) -> Body {
        match self {
            Self::Show { nameplate, ends } => Body::ShowCode(wire::ShowCode {
                request,
                nameplate: nameplate.number().into(),
                ends,
            }),
            Self::Find { nameplate } => Body::FindCode(wire::FindCode {
                request,
                nameplate: nameplate.number().into(),
            }),
            Self::Invite => Body::Invite(wire::Invite { request }),
        }
    }
}

impl CodeAnswer {
    pub(super) fn parse(body: &Body) -> Result<(u64, Self), MessageError> {
        Ok(match body {
            Body::CodeShown(m) => (m.request, Self::Shown),
            Body::CodeFound(m) => {
                let devices = few(&m.devices, MAX_NAMEPLATES, "number of devices")?
                    .iter()
                    .map(|device| DeviceId::from_slice(device));
                (m.request, Self::Found(devices.collect::<Result<_, _>>()?))
            }
            Body::Invited(m) => {
                let invitation = Invitation::from_slice(&m.invitation)?;
                (m.request, Self::Invited(invitation))
            }
            _ => return Err(MessageError::Malformed),
        })
    }

    pub(super) fn to_wire(&self, request: u64) -> Body {
        match self {
            Self::Shown => Body::CodeShown(wire::CodeShown { request }),
            Self::Found(devices) => Body::CodeFound(wire::CodeFound {
                request,
                devices: devices.iter().take(MAX_NAMEPLATES).map(key).collect(),
            }),
            Self::Invited(invitation) => Body::Invited(wire::Invited {
                request,
                invitation: Bytes::copy_from_slice(invitation.expose()),
            }),
        }
    }
}

fn word(number: u32) -> Result<Word, MessageError> {
    u16::try_from(number)
        .ok()
        .and_then(Word::new)
        .ok_or(MessageError::Value("number of a word"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{FRAME_PREFIX, decode_relay_frame, encode_relay_frame};
    use crate::relay::RelayMessage;
    use crate::relay::samples::seeded;

    #[test]
    fn messages_about_codes_come_out_as_they_went_in_and_within_bounds() {
        let nameplate = Word::of_bits(2047);
        let requests = [
            CodeRequest::Show {
                nameplate,
                ends: false,
            },
            CodeRequest::Show {
                nameplate,
                ends: true,
            },
            CodeRequest::Find { nameplate },
            CodeRequest::Invite,
        ];
        let answers = [
            CodeAnswer::Shown,
            CodeAnswer::Found(vec![seeded(1); MAX_NAMEPLATES]),
            CodeAnswer::Invited(Invitation::new([7; 16])),
        ];
        let requests = requests.map(|what| RelayMessage::Code { request: 7, what });
        let answers = answers.map(|answer| RelayMessage::CodeAnswered { request: 7, answer });
        for message in requests.into_iter().chain(answers) {
            let bytes = encode_relay_frame(&message);
            let again = decode_relay_frame(&bytes[FRAME_PREFIX..]);
            assert_eq!(again, Ok(Some(message)));
        }
        let many = vec![key(&seeded(1)); MAX_NAMEPLATES + 1];
        let many = wire::CodeFound {
            request: 7,
            devices: many,
        };
        assert!(CodeAnswer::parse(&Body::CodeFound(many)).is_err());
        let beyond = wire::FindCode {
            request: 7,
            nameplate: 2048,
        };
        assert!(CodeRequest::parse(&Body::FindCode(beyond)).is_err());
    }
}
