//! What a metric may be told apart by: closed sets of words.
//!
//! Invariant: a label is a word of this file. Nothing that comes from outside (a device, a user, an
//! address, a name) can become one, so the number of series is known and a metrics page says
//! nothing about anybody.

use hither_carrier::CarrierKind;
use hither_proto::{Purpose, Refusal, RelayPurpose, RelayRefusalCode};

/// One word out of a closed set.
pub trait Label: Copy + 'static {
    /// Name of the label.
    const KEY: &'static str;
    /// Every word, in the order of [`index`](Self::index).
    const ALL: &'static [Self];

    /// The word.
    fn word(self) -> &'static str;

    /// Place of the word in [`ALL`](Self::ALL).
    fn index(self) -> usize;
}

macro_rules! labels {
    ($(#[$doc:meta])* $name:ident, $key:literal: $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl Label for $name {
            const KEY: &'static str = $key;
            const ALL: &'static [Self] = &[$(Self::$variant,)+];

            fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

labels! {
    /// What carries a connection.
    Carrier, "carrier":
    /// QUIC.
    Quic = "quic",
    /// TLS over TCP.
    Tcp = "tcp",
    /// A circuit. A relay has none of its own.
    Relayed = "relay",
}

labels! {
    /// What a stream is for.
    Service, "service":
    /// Nothing that could be understood.
    Unknown = "unknown",
    /// Assignments of relays.
    Assign = "assign",
    /// A device's long connection.
    Device = "device",
    /// An upload to this store.
    Upload = "upload",
    /// Another node of the fleet.
    Node = "node",
    /// What this store holds of a share.
    Control = "control",
    /// Chunks from this store.
    Bulk = "bulk",
    /// Which stores hold a share.
    Lookup = "lookup",
    /// Which devices hold what.
    Index = "index",
    /// Streams of two devices that are joined.
    Circuit = "circuit",
}

labels! {
    /// Why something was refused.
    Reason, "reason":
    /// Another version of the protocol, or not the protocol at all.
    Protocol = "protocol",
    /// The device is registered nowhere.
    NotRegistered = "not_registered",
    /// The invitation is unknown, used up or expired.
    Invitation = "invitation",
    /// The device was revoked.
    Revoked = "revoked",
    /// A limit of this node.
    Busy = "busy",
    /// This node does not play the role.
    Role = "role",
    /// Not there, or the proof is wrong.
    NotFound = "not_found",
    /// The user's quota.
    Quota = "quota",
    /// The disk or the whole store is full.
    NoSpace = "no_space",
    /// Beyond a bound or against the protocol.
    Invalid = "invalid",
    /// This node is going down.
    GoingAway = "going_away",
    /// Another machine with the device's key has connected.
    Twin = "twin",
    /// Nothing was said in time.
    Silence = "silence",
    /// Something else.
    Other = "other",
}

labels! {
    /// What was asked of a relay.
    Request, "request":
    /// Which relays to use.
    Assign = "assign",
    /// A device's first message on its long connection, until it is welcome.
    Hello = "hello",
    /// Cards for other devices.
    Cards = "cards",
    /// A message for another device, until it is durable.
    Send = "send",
    /// Anything about groups.
    Group = "group",
    /// Where to upload a share.
    Place = "place",
    /// No longer keeping a share.
    Release = "release",
    /// An upload's lists, until what is missing is known.
    Put = "put",
    /// An upload's end, until the version is complete.
    PutEnd = "put_end",
    /// Which stores hold a share.
    Lookup = "lookup",
    /// A reader's proof, until it is granted.
    Open = "open",
    /// A reader's request, until its first chunk is on its way.
    Want = "want",
}

labels! {
    /// A change of the state or of the store's index.
    Database, "database":
    /// Users, devices, mailboxes.
    State = "state",
    /// The store's chunks.
    Index = "index",
}

impl From<CarrierKind> for Carrier {
    fn from(carrier: CarrierKind) -> Self {
        match carrier {
            CarrierKind::Quic => Self::Quic,
            CarrierKind::Tcp => Self::Tcp,
            CarrierKind::Relayed => Self::Relayed,
        }
    }
}

impl From<Option<RelayPurpose>> for Service {
    fn from(purpose: Option<RelayPurpose>) -> Self {
        match purpose {
            Some(RelayPurpose::Assign) => Self::Assign,
            Some(RelayPurpose::Device) => Self::Device,
            Some(RelayPurpose::Upload) => Self::Upload,
            Some(RelayPurpose::Node) => Self::Node,
            Some(RelayPurpose::Index) => Self::Index,
            Some(RelayPurpose::Circuit) => Self::Circuit,
            None => Self::Unknown,
        }
    }
}

impl From<Option<Purpose>> for Service {
    fn from(purpose: Option<Purpose>) -> Self {
        match purpose {
            Some(Purpose::Control) => Self::Control,
            Some(Purpose::Bulk) => Self::Bulk,
            Some(Purpose::Lookup) => Self::Lookup,
            None => Self::Unknown,
        }
    }
}

impl From<RelayRefusalCode> for Reason {
    fn from(code: RelayRefusalCode) -> Self {
        match code {
            RelayRefusalCode::Other => Self::Other,
            RelayRefusalCode::Protocol => Self::Protocol,
            RelayRefusalCode::NotRegistered => Self::NotRegistered,
            RelayRefusalCode::Invitation => Self::Invitation,
            RelayRefusalCode::Revoked => Self::Revoked,
            RelayRefusalCode::Busy => Self::Busy,
            RelayRefusalCode::Role => Self::Role,
            RelayRefusalCode::NotFound => Self::NotFound,
            RelayRefusalCode::Quota => Self::Quota,
            RelayRefusalCode::NoSpace => Self::NoSpace,
            RelayRefusalCode::Invalid => Self::Invalid,
            RelayRefusalCode::GoingAway => Self::GoingAway,
            RelayRefusalCode::Twin => Self::Twin,
        }
    }
}

impl From<Refusal> for Reason {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound | Refusal::Gone => Self::NotFound,
            Refusal::Protocol => Self::Protocol,
            Refusal::Busy(_) => Self::Busy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<L: Label>() {
        for (index, label) in L::ALL.iter().enumerate() {
            assert_eq!(label.index(), index);
            let word = label.word();
            assert!(
                word.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
                "{word}"
            );
            assert_eq!(
                L::ALL.iter().filter(|other| other.word() == word).count(),
                1,
                "{word}"
            );
        }
    }

    #[test]
    fn words_are_plain_and_different() {
        check::<Carrier>();
        check::<Service>();
        check::<Reason>();
        check::<Request>();
        check::<Database>();
    }
}
