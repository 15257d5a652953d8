//! Messages between a device and a relay about the devices of one user, on the long connection: an
//! invitation for more of them, the removal of one, whose letters a device takes besides, who may
//! visit it, and how it is woken.

use super::encode::key;
use super::parse::few;
use super::wake::{WakeChannel, WakeWays};
use crate::device::DeviceId;
use crate::ids::{Invitation, ShareId};
use crate::limits::{
    MAX_CIPHERTEXT, MAX_CONTACTS, MAX_INVITED, MAX_INVITED_SECONDS, MAX_VISITORS,
    MAX_VISITORS_SECONDS,
};
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
        /// They are pages in browsers.
        web: bool,
    },
    /// Another device of the sender's user is to be so no more.
    Remove {
        /// The device.
        device: DeviceId,
    },
    /// Letters of these devices of other users are taken, and of no others; at most
    /// [`MAX_CONTACTS`].
    Contacts(Vec<DeviceId>),
    /// Everybody who shows this invitation may visit the sender.
    InviteVisitors {
        /// Chosen by the sender.
        invitation: Invitation,
        /// How long it is good, at most [`MAX_VISITORS_SECONDS`]; 0: nobody may come any more.
        seconds: u32,
        /// Ciphertext that all of them may leave at a time, bytes; at most [`MAX_CIPHERTEXT`].
        bytes: u64,
        /// How many may come, 1 to [`MAX_VISITORS`].
        visitors: u32,
    },
    /// A share that a visitor of the sender left is no longer needed.
    ReleaseVisitor {
        /// The visitor.
        visitor: DeviceId,
        /// Its share.
        share: ShareId,
    },
    /// Asks by what ways the sender can be woken.
    AskWake,
    /// How the sender is woken from now on; `None`: not at all.
    Wake(Option<WakeChannel>),
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
    /// Everybody who has the invitation may visit, within the new bounds; durable.
    VisitorsInvited,
    /// The visitor's share is forgotten.
    VisitorReleased,
    /// The ways in which the sender can be woken.
    WakeWays(WakeWays),
    /// The way is kept in the place of that before; durable.
    WakeKept,
}

impl OwnRequest {
    pub(super) fn parse(body: &Body) -> Result<(u64, Self), MessageError> {
        Ok(match body {
            Body::InviteDevices(m) => {
                let devices = within(m.devices, MAX_INVITED, "number of devices")?;
                let seconds = within(m.seconds, MAX_INVITED_SECONDS, "time of an invitation")?;
                let web = m.web;
                let invite = Self::Invite {
                    devices,
                    seconds,
                    web,
                };
                (m.request, invite)
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
            Body::InviteVisitors(m) => (m.request, invite_visitors(m)?),
            Body::ReleaseVisitor(m) => {
                let visitor = DeviceId::from_slice(&m.visitor)?;
                let share = ShareId::from_slice(&m.share)?;
                (m.request, Self::ReleaseVisitor { visitor, share })
            }
            Body::AskWake(m) => (m.request, Self::AskWake),
            Body::Wake(m) => {
                let channel = m.way.as_ref().map(WakeChannel::parse).transpose()?;
                (m.request, Self::Wake(channel))
            }
            _ => return Err(MessageError::Malformed),
        })
    }

    pub(super) fn to_wire(&self, request: u64) -> Body {
        match self {
            Self::Invite {
                devices,
                seconds,
                web,
            } => Body::InviteDevices(wire::InviteDevices {
                request,
                devices: *devices,
                seconds: *seconds,
                web: *web,
            }),
            Self::Remove { device } => Body::RemoveDevice(wire::RemoveDevice {
                request,
                device: key(device),
            }),
            Self::Contacts(devices) => Body::Contacts(wire::Contacts {
                request,
                devices: devices.iter().take(MAX_CONTACTS).map(key).collect(),
            }),
            Self::InviteVisitors {
                invitation,
                seconds,
                bytes,
                visitors,
            } => Body::InviteVisitors(wire::InviteVisitors {
                request,
                invitation: Bytes::copy_from_slice(invitation.expose()),
                seconds: *seconds,
                bytes: *bytes,
                visitors: *visitors,
            }),
            Self::ReleaseVisitor { visitor, share } => Body::ReleaseVisitor(wire::ReleaseVisitor {
                request,
                visitor: key(visitor),
                share: Bytes::copy_from_slice(share.as_bytes()),
            }),
            Self::AskWake => Body::AskWake(wire::AskWake { request }),
            Self::Wake(channel) => Body::Wake(wire::Wake {
                request,
                way: channel.as_ref().map(WakeChannel::to_wire),
            }),
        }
    }
}

fn invite_visitors(m: &wire::InviteVisitors) -> Result<OwnRequest, MessageError> {
    if m.seconds > MAX_VISITORS_SECONDS {
        return Err(MessageError::Value("time of an invitation"));
    }
    if m.bytes > MAX_CIPHERTEXT {
        return Err(MessageError::Value("bytes of visitors"));
    }
    Ok(OwnRequest::InviteVisitors {
        invitation: Invitation::from_slice(&m.invitation)?,
        seconds: m.seconds,
        bytes: m.bytes,
        visitors: within(m.visitors, MAX_VISITORS, "number of visitors")?,
    })
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
            Body::VisitorsInvited(m) => (m.request, Self::VisitorsInvited),
            Body::VisitorReleased(m) => (m.request, Self::VisitorReleased),
            Body::WakeWays(m) => (m.request, Self::WakeWays(WakeWays::parse(m)?)),
            Body::WakeKept(m) => (m.request, Self::WakeKept),
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
            Self::VisitorsInvited => Body::VisitorsInvited(wire::VisitorsInvited { request }),
            Self::VisitorReleased => Body::VisitorReleased(wire::VisitorReleased { request }),
            Self::WakeWays(ways) => Body::WakeWays(ways.to_wire(request)),
            Self::WakeKept => Body::WakeKept(wire::WakeKept { request }),
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
                web: true,
            },
            OwnRequest::Remove { device: seeded(1) },
            OwnRequest::Contacts(vec![seeded(1); MAX_CONTACTS]),
            OwnRequest::InviteVisitors {
                invitation: Invitation::new([7; 16]),
                seconds: 0,
                bytes: MAX_CIPHERTEXT,
                visitors: MAX_VISITORS,
            },
            OwnRequest::ReleaseVisitor {
                visitor: seeded(1),
                share: ShareId::new([8; 16]),
            },
            OwnRequest::AskWake,
            OwnRequest::Wake(None),
        ];
        let answers = [
            OwnAnswer::Invited(Invitation::new([7; 16])),
            OwnAnswer::Removed,
            OwnAnswer::Kept,
            OwnAnswer::VisitorsInvited,
            OwnAnswer::VisitorReleased,
            OwnAnswer::WakeKept,
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
            let request = OwnRequest::Invite {
                devices,
                seconds,
                web: false,
            }
            .to_wire(7);
            assert!(OwnRequest::parse(&request).is_err(), "{devices} {seconds}");
        }
        for (seconds, bytes, visitors) in [
            (MAX_VISITORS_SECONDS + 1, 1, 1),
            (1, MAX_CIPHERTEXT + 1, 1),
            (1, 1, 0),
            (1, 1, MAX_VISITORS + 1),
        ] {
            let request = OwnRequest::InviteVisitors {
                invitation: Invitation::new([7; 16]),
                seconds,
                bytes,
                visitors,
            };
            let request = request.to_wire(7);
            assert!(
                OwnRequest::parse(&request).is_err(),
                "{seconds} {bytes} {visitors}"
            );
        }
    }
}
