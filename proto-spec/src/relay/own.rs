//! Messages between a device and a relay about the devices of one user, on the long connection: an
//! invitation for more of them, the removal of one, and whose letters a device takes besides.

use super::encode::key;
use super::parse::few;
use crate::device::DeviceId;
use crate::ids::Invitation;
use crate::limits::{MAX_CONTACTS, MAX_INVITED, MAX_INVITED_SECONDS};
use crate::message::MessageError;
use crate::wire;
use crate::wire::relay_frame::Body;
use bytes::Bytes;

/// A request of a device about the devices of its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnRequest {
    /// An invitation for more devices of the sender's user.
    Invite {
        /// How many devices may use it, 1 to [`MAX_INVITED`].
        devices: u32,
        /// How long it is good, 1 to [`MAX_INVITED_SECONDS`].
        seconds: u32,
    },
    /// Another device of the sender's user is to be so no more.
    Remove {
        /// The device.
        device: DeviceId,
    },
    /// Letters of these devices of other users are taken, and of no others; at most
    /// [`MAX_CONTACTS`].
    Contacts(Vec<DeviceId>),
}

/// The answer of a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnAnswer {
    /// Good as it was asked for.
    Invited(Invitation),
    /// The device may do nothing at the relay any more; durable.
    Removed,
    /// The contacts are kept in the place of those before; durable.
    Kept,
}

impl OwnRequest {
    pub(super) fn parse(body: &Body) -> Result<(u64, Self), MessageError> {
        Ok(match body {
            Body::InviteDevices(m) => {
                let devices = within(m.devices, MAX_INVITED, "number of devices")?;
                let seconds = within(m.seconds, MAX_INVITED_SECONDS, "time of an invitation")?;
                (m.request, Self::Invite { devices, seconds })
            }
            Body::RemoveDevice(m) => {
                let device = DeviceId::from_slice(&m.device)?;
                (m.request, Self::Remove { device })
            }
            Body::Contacts(m) => {
                let devices = few(&m.devices, MAX_CONTACTS, "number of devices")?
                    .iter()
                    .map(|device| DeviceId::from_slice(device));
                (
                    m.request,
                    Self::Contacts(devices.collect::<Result<_, _>>()?),
                )
            }
            _ => return Err(MessageError::Malformed),
        })
    }

    pub(super) fn to_wire(&self, request: u64) -> Body {
        match self {
            Self::Invite { devices, seconds } => Body::InviteDevices(wire::InviteDevices {
                request,
                devices: *devices,
                seconds: *seconds,
            }),
            Self::Remove { device } => Body::RemoveDevice(wire::RemoveDevice {
                request,
                device: key(device),
            }),
            Self::Contacts(devices) => Body::Contacts(wire::Contacts {
                request,
                devices: devices.iter().take(MAX_CONTACTS).map(key).collect(),
            }),
        }
    }
}

impl OwnAnswer {
    pub(super) fn parse(body: &Body) -> Result<(u64, Self), MessageError> {
        Ok(match body {
            Body::DevicesInvited(m) => {
                let invitation = Invitation::from_slice(&m.invitation)?;
                (m.request, Self::Invited(invitation))
            }
            Body::DeviceRemoved(m) => (m.request, Self::Removed),
            Body::ContactsKept(m) => (m.request, Self::Kept),
            _ => return Err(MessageError::Malformed),
        })
    }

    pub(super) fn to_wire(&self, request: u64) -> Body {
        match self {
            Self::Invited(invitation) => Body::DevicesInvited(wire::DevicesInvited {
                request,
                invitation: Bytes::copy_from_slice(invitation.expose()),
            }),
            Self::Removed => Body::DeviceRemoved(wire::DeviceRemoved { request }),
            Self::Kept => Body::ContactsKept(wire::ContactsKept { request }),
        }
    }
}

fn within(value: u32, most: u32, what: &'static str) -> Result<u32, MessageError> {
    match value {
        1.. if value <= most => Ok(value),
        _ => Err(MessageError::Value(what)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{FRAME_PREFIX, decode_relay_frame, encode_relay_frame};
    use crate::relay::RelayMessage;
    use crate::relay::samples::seeded;

    #[test]
    fn messages_about_own_devices_come_out_as_they_went_in_and_within_bounds() {
        let requests = [
            OwnRequest::Invite {
                devices: MAX_INVITED,
                seconds: MAX_INVITED_SECONDS,
            },
            OwnRequest::Remove { device: seeded(1) },
            OwnRequest::Contacts(vec![seeded(1); MAX_CONTACTS]),
        ];
        let answers = [
            OwnAnswer::Invited(Invitation::new([7; 16])),
            OwnAnswer::Removed,
            OwnAnswer::Kept,
        ];
        let requests = requests.map(|what| RelayMessage::Own { request: 7, what });
        let answers = answers.map(|answer| RelayMessage::OwnAnswered { request: 7, answer });
        for message in requests.into_iter().chain(answers) {
            let bytes = encode_relay_frame(&message);
            let again = decode_relay_frame(&bytes[FRAME_PREFIX..]);
            assert_eq!(again, Ok(Some(message)));
        }
        let many = Body::Contacts(wire::Contacts {
            request: 7,
            devices: vec![key(&seeded(1)); MAX_CONTACTS + 1],
        });
        assert!(OwnRequest::parse(&many).is_err());
        for (devices, seconds) in [
            (0, 1),
            (1, 0),
            (MAX_INVITED + 1, 1),
            (1, MAX_INVITED_SECONDS + 1),
        ] {
            let request = OwnRequest::Invite { devices, seconds }.to_wire(7);
            assert!(OwnRequest::parse(&request).is_err(), "{devices} {seconds}");
        }
    }
}
