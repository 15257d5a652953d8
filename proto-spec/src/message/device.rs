//! Messages between devices that are about no share.

use super::{Message, MessageError};
use crate::device::DeviceName;
use crate::ids::MessageId;
use crate::limits::{MAX_MESSAGE, MAX_OFFER_SUMMARY};
use crate::name::display_name;
use crate::wire;
use bytes::Bytes;

/// The purpose of a stream that is about no share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DevicePurpose {
    /// Letters of the opener.
    Mail,
    /// The opener wants to be known here.
    Introduction,
    /// The opener asks for this device's name.
    Name,
    /// Pairing and spoken codes.
    Code,
}

/// A sealed message on its way to its reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// The same on every attempt, whatever way the letter takes.
    pub id: MessageId,
    /// 1 to [`MAX_MESSAGE`] bytes.
    pub sealed: Bytes,
}

/// The kind of what a stranger offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfferKind {
    /// A text.
    Text,
    /// Files in the message itself.
    Files,
    /// The ticket of a share.
    Share,
    /// Something is asked for.
    Request,
    /// Something of a later version.
    Unknown,
}

/// A device that is not known yet, and what it would send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introduction {
    /// The name it calls itself by.
    pub device_name: DeviceName,
    /// The kind of what it would send.
    pub kind: OfferKind,
    /// Its name or beginning, safe to show, at most [`MAX_OFFER_SUMMARY`] bytes.
    pub summary: String,
    /// How many files.
    pub files: u64,
    /// Their length together, bytes.
    pub bytes: u64,
}

/// Parses the first message of a stream that is about no share.
pub(super) fn parse_open(m: &wire::DeviceOpen) -> Message {
    let purpose = match m.purpose() {
        wire::DevicePurpose::Mail => Some(DevicePurpose::Mail),
        wire::DevicePurpose::Introduction => Some(DevicePurpose::Introduction),
        wire::DevicePurpose::Name => Some(DevicePurpose::Name),
        wire::DevicePurpose::Code => Some(DevicePurpose::Code),
        wire::DevicePurpose::Unspecified => None,
    };
    Message::DeviceOpen {
        protocol: m.protocol,
        purpose,
    }
}

/// The purpose for the wire.
pub(super) const fn purpose_to_wire(purpose: Option<DevicePurpose>) -> wire::DevicePurpose {
    match purpose {
        Some(DevicePurpose::Mail) => wire::DevicePurpose::Mail,
        Some(DevicePurpose::Introduction) => wire::DevicePurpose::Introduction,
        Some(DevicePurpose::Name) => wire::DevicePurpose::Name,
        Some(DevicePurpose::Code) => wire::DevicePurpose::Code,
        None => wire::DevicePurpose::Unspecified,
    }
}

impl Letter {
    pub(super) fn parse(m: wire::Letter) -> Result<Self, MessageError> {
        if m.sealed.is_empty() || m.sealed.len() > MAX_MESSAGE {
            return Err(MessageError::Value("length of a letter"));
        }
        Ok(Self {
            id: MessageId::from_slice(&m.id)?,
            sealed: m.sealed,
        })
    }

    pub(super) fn to_wire(&self) -> wire::Letter {
        wire::Letter {
            id: self.id.as_bytes().to_vec().into(),
            sealed: self.sealed.clone(),
        }
    }
}

impl Introduction {
    pub(super) fn parse(m: &wire::Introduction) -> Self {
        Self {
            device_name: DeviceName::clean(&m.device_name),
            kind: match m.kind() {
                wire::OfferKind::Text => OfferKind::Text,
                wire::OfferKind::Files => OfferKind::Files,
                wire::OfferKind::Share => OfferKind::Share,
                wire::OfferKind::Request => OfferKind::Request,
                wire::OfferKind::Unspecified => OfferKind::Unknown,
            },
            summary: cut(&m.summary),
            files: m.files,
            bytes: m.bytes,
        }
    }

    pub(super) fn to_wire(&self) -> wire::Introduction {
        wire::Introduction {
            device_name: self.device_name.as_str().to_owned(),
            kind: match self.kind {
                OfferKind::Text => wire::OfferKind::Text,
                OfferKind::Files => wire::OfferKind::Files,
                OfferKind::Share => wire::OfferKind::Share,
                OfferKind::Request => wire::OfferKind::Request,
                OfferKind::Unknown => wire::OfferKind::Unspecified,
            }
            .into(),
            summary: cut(&self.summary),
            files: self.files,
            bytes: self.bytes,
        }
    }
}

/// Text that is safe to show and not too long.
fn cut(text: &str) -> String {
    let mut shown = display_name(text.trim());
    while shown.len() > MAX_OFFER_SUMMARY {
        shown.pop();
    }
    shown
}
