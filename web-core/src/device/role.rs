//! In which part the page comes to the relay.

use hither_proto::limits::MAX_VISITORS_SECONDS;
use hither_proto::mail::Visitor;
use hither_proto::{
    Ask, AskLink, DeviceId, DeviceName, Invitation, OwnRequest, RelayMessage, VisitorSecret,
};

/// How many may come to an asker: one, and some who closed the page again.
const VISITORS: u32 = 4;
/// Bytes that visitors of an asker may leave at the relay unless it allows less.
const ASK_BYTES: u64 = 1 << 40;

/// The bounds that an asker sets.
pub(super) struct Asking {
    pub secret: VisitorSecret,
    pub ask: Ask,
    pub multiple: bool,
    seconds: u32,
    bytes: u64,
}

/// The page's part.
pub(super) enum Role {
    /// One of the user's devices.
    Device {
        invitation: Option<Invitation>,
        instance: u64,
    },
    /// Somebody who has a link of a device, or of an asker.
    Visitor {
        secret: VisitorSecret,
        host: DeviceId,
    },
    /// A page of a site.
    Asker(Box<Asking>),
}

impl Role {
    pub(super) fn asker(secret: VisitorSecret, ask: Ask, multiple: bool) -> Self {
        Self::Asker(Box::new(Asking {
            secret,
            ask,
            multiple,
            seconds: 0,
            bytes: 0,
        }))
    }

    pub(super) const fn is_device(&self) -> bool {
        matches!(self, Self::Device { .. })
    }

    /// The first message on the long connection.
    pub(super) fn first(&self) -> RelayMessage {
        match self {
            Self::Device {
                invitation,
                instance,
            } => RelayMessage::Hello {
                invitation: invitation.clone(),
                instance: *instance,
            },
            Self::Visitor { secret, .. } => RelayMessage::Visit {
                invitation: Some(secret.invitation()),
            },
            Self::Asker(_) => RelayMessage::Visit { invitation: None },
        }
    }

    /// An invitation is good once.
    pub(super) fn spend_invitation(&mut self) {
        if let Self::Device { invitation, .. } = self {
            *invitation = None;
        }
    }

    /// The host of a visitor.
    pub(super) const fn host(&self) -> Option<DeviceId> {
        match self {
            Self::Visitor { host, .. } => Some(*host),
            Self::Device { .. } | Self::Asker(_) => None,
        }
    }

    /// True when letters of this device, with what it says of itself, are for the page; gives the
    /// number that both screens show where the sender is a visitor.
    pub(super) fn takes(
        &self,
        own: DeviceId,
        from: DeviceId,
        visitor: Option<&Visitor>,
    ) -> Option<Option<u8>> {
        match self {
            Self::Device { .. } => visitor.is_none().then_some(None),
            Self::Visitor { host, .. } => (from == *host).then_some(None),
            Self::Asker(asking) => {
                let proof = asking.secret.proof(&from, &own);
                let knows = visitor.is_some_and(|visitor| visitor.proof == proof);
                knows.then(|| Some(asking.secret.number(&from, &own)))
            }
        }
    }

    /// The header that a visitor writes into its letters.
    pub(super) fn header(&self, own: DeviceId, name: &DeviceName) -> Option<Visitor> {
        match self {
            Self::Visitor { secret, host } => Some(Visitor {
                proof: secret.proof(&own, host),
                name: name.clone(),
            }),
            Self::Device { .. } | Self::Asker(_) => None,
        }
    }

    /// The bounds that the relay sets an asker.
    pub(super) fn bound(&mut self, seconds: u32, bytes: u64) {
        if let Self::Asker(asking) = self {
            asking.seconds = seconds.min(MAX_VISITORS_SECONDS);
            asking.bytes = bytes.min(ASK_BYTES);
        }
    }

    /// The request by which an asker lets others come.
    pub(super) fn invitation(&self) -> Option<OwnRequest> {
        let Self::Asker(asking) = self else {
            return None;
        };
        Some(OwnRequest::InviteVisitors {
            invitation: asking.secret.invitation(),
            seconds: asking.seconds,
            bytes: asking.bytes,
            visitors: VISITORS,
        })
    }

    /// The link of an asker, while somebody may come, and for how long that is.
    pub(super) fn link(&self, own: DeviceId) -> Option<(String, u32)> {
        let Self::Asker(asking) = self else {
            return None;
        };
        let link = AskLink {
            asker: own,
            secret: asking.secret.clone(),
            ask: asking.ask.clone(),
            multiple: asking.multiple,
        };
        (asking.seconds > 0).then(|| (link.to_string(), asking.seconds))
    }
}
