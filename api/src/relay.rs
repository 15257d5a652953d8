//! Relays and the user's devices, as the local API shows them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /v1/relays`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RelayRequest {
    /// The relay's URL: with an invitation a secret.
    pub url: String,
}

impl std::fmt::Debug for RelayRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RelayRequest(secret)")
    }
}

/// How a relay stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RelayState {
    /// A connection holds.
    Connected,
    /// It is being tried.
    Connecting,
    /// It could not be reached or refused; it is tried again later.
    Waiting,
}

/// One relay that this device joined (`GET /v1/relays`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RelayInfo {
    /// Its key: the id by which it is named.
    pub relay: String,
    /// Its URL, without invitation.
    pub url: String,
    /// Its host and port.
    pub host: String,
    /// How it stands.
    pub state: RelayState,
    /// When it was joined, Unix seconds.
    pub joined: u64,
    /// How many devices of the user it lists.
    pub devices: u64,
    /// Key of the relay of the fleet that is connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub front: Option<String>,
    /// Where that one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What carries the connection: `quic` or `tcp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub carrier: Option<String>,
    /// Round-trip time of pings, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_ms: Option<f64>,
    /// Why it is not connected, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What could be done about that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Nothing changes before somebody does something about it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lasting: bool,
    /// When it is tried again, seconds from now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_seconds: Option<u64>,
    /// The page that opens shares it stores in a browser, `https://host[:port]`; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web: Option<String>,
}

/// `POST /v1/relays/invite`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InviteRequest {
    /// Host, with or without port, or key of the relay; absent: the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<String>,
    /// How many devices may use it, 1 to 16.
    pub uses: u32,
    /// How long it is good, 1 to 604,800.
    pub valid_seconds: u32,
}

/// An invitation for more of the user's devices.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InviteInfo {
    /// The relay's URL with the invitation in it: a secret.
    pub url: String,
    /// The relay's host and port.
    pub host: String,
    /// How many devices may use it.
    pub uses: u32,
    /// How long it is good.
    pub valid_seconds: u32,
}

impl std::fmt::Debug for InviteInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InviteInfo(secret)")
    }
}

/// A way in which a relay wakes this device when something waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WakeWay {
    /// A push service of a browser; only pages set it.
    Push,
    /// Mail.
    Mail,
    /// A request to an address.
    Webhook,
}

/// `POST /v1/relays/wake`: at most one of `mail` and `webhook`; neither: the relay does not wake
/// this device.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WakeRequest {
    /// Host, with or without port, or key of the relay; absent: the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<String>,
    /// The address that mail is sent to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mail: Option<String>,
    /// The `https` address that is posted to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
}

impl std::fmt::Debug for WakeRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WakeRequest(secret)")
    }
}

/// How a relay wakes this device (`GET /v1/relays/wake`). It never tells the address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WakeInfo {
    /// The relay's host and port.
    pub host: String,
    /// The ways that it has.
    pub ways: Vec<WakeWay>,
    /// The way that is set; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<WakeWay>,
}

/// `POST /v1/devices/remove`: what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RemovedInfo {
    /// The device.
    pub device: String,
    /// Its former name.
    pub name: String,
    /// Hosts of the relays at which it is the user's no more.
    pub relays: Vec<String>,
    /// Why others have not heard of it, in words; they do as soon as that is possible.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<String>,
    /// How many other devices of the user are told.
    pub told: u64,
}

/// How a device belongs to this one's user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeviceRelation {
    /// It is one of the user's.
    #[default]
    Own,
    /// It is somebody else's, and the user said yes to it.
    Known,
    /// It is a member of a group of this device.
    Member,
    /// It is on this network, and nothing else is known of it.
    Nearby,
}

/// One device of the user (`GET /v1/devices`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeviceInfo {
    /// Its id.
    pub device: String,
    /// The short form of it.
    pub short: String,
    /// What it calls itself, safe to show; empty while not known.
    pub name: String,
    /// The name it calls itself by, where the user calls it otherwise here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls_itself: Option<String>,
    /// Three words made of its key, by which people recognise it on its own screen.
    #[serde(default)]
    pub words: String,
    /// How it belongs to the user.
    #[serde(default)]
    pub relation: DeviceRelation,
    /// It is the one that answers.
    pub this: bool,
    /// It is a page in a browser.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub web: bool,
    /// It is known to be there now: connected to a relay, or seen on this network.
    pub online: bool,
    /// When it was last known to be there, Unix seconds; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<u64>,
    /// It is on the same network as this one, as far as can be told.
    pub same_network: bool,
    /// It is not the user's: it is a member of these groups of this device.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Hosts of the relays that list it.
    pub relays: Vec<String>,
    /// Where it says that it can be reached.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// No relay that lists it is connected: this is how things were then, Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<u64>,
}
