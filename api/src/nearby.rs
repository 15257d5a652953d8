//! Devices on this network that are not the user's, as the local API shows them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The devices on this network that are told this device's name and may ask to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NearbyVisibility {
    /// Everybody on this network.
    Everybody,
    /// The user's own devices and those that the user said yes to.
    #[default]
    Known,
    /// Nobody.
    Nobody,
}

impl NearbyVisibility {
    /// Its name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Everybody => "everybody",
            Self::Known => "known",
            Self::Nobody => "nobody",
        }
    }

    /// The value of this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Everybody, Self::Known, Self::Nobody]
            .into_iter()
            .find(|one| one.name() == name)
    }
}

/// The kind of what a stranger would send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OfferedKind {
    /// A text.
    Text,
    /// Small files.
    Files,
    /// A share.
    Share,
    /// It asks for something.
    Request,
    /// Something of a later version.
    Unknown,
}

/// A stranger that asks to be known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IntroductionInfo {
    /// Its id, which TLS proved.
    pub device: String,
    /// The short form of it.
    pub short: String,
    /// The name it calls itself: anybody can choose any name.
    pub name: String,
    /// Three words made of its key: its own screen shows the same.
    pub words: String,
    /// The kind of what it would send.
    pub kind: OfferedKind,
    /// The name of that, or how it begins; safe to show.
    pub summary: String,
    /// How many files.
    pub files: u64,
    /// Their length together, bytes.
    pub bytes: u64,
    /// For how long it has been waiting, seconds.
    pub waiting_seconds: u64,
}

/// The state of things nearby (`GET /v1/nearby`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NearbyInfo {
    /// The devices that see this device now.
    pub visible: NearbyVisibility,
    /// For how long everybody still does because that was asked for, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_seconds: Option<u64>,
    /// This device's three words.
    pub words: String,
    /// Strangers that wait for an answer, the longest first.
    pub introductions: Vec<IntroductionInfo>,
}

/// `POST /v1/nearby`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NearbyRequest {
    /// True: everybody sees this device for ten minutes; false: that ends.
    pub visible: bool,
}

/// `POST /v1/nearby/answer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NearbyAnswer {
    /// The stranger: its id, or its short id or name where only one that waits has it.
    pub device: String,
    /// True: it may send from now on, until it is forgotten.
    pub accept: bool,
}

/// `POST /v1/devices/forget`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceRequest {
    /// The device: its id, short id or name.
    pub device: String,
}

/// `POST /v1/devices/rename`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RenameRequest {
    /// The device: its id, short id or name.
    pub device: String,
    /// The device's name here from now on; empty: as it calls itself.
    pub name: String,
}
