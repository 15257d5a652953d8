//! What an operator may set. Everything has a default; an empty file is a complete one.
//!
//! Precedence: flag > environment (`HITHER_RELAY_…`) > file > default. A key of a section is
//! written `HITHER_RELAY_<SECTION>__<KEY>` in the environment. Unknown keys of the file, as a newer
//! version may have them, are told and count for nothing; elsewhere they are refused, so that a
//! typing error does not silently do nothing.

mod defaults;
mod folder;
mod load;
mod units;
mod wake;
mod web;

pub use folder::Folder;
pub use load::{ConfigError, ENV_PREFIX, Overrides, TEMPLATE, load};
pub use units::{HostPortText, Size, Span};
pub use wake::{MailWake, WakeConfig};
pub use web::{Network, WebConfig};

use hither_content::storage::Engine;
use serde::{Deserialize, Deserializer};
use std::path::PathBuf;

/// Port for UDP and TCP unless another one is configured.
pub const DEFAULT_PORT: u16 = 4817;

/// What a node does for devices and for the other nodes of its fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Tells devices which fronts to use.
    Assign,
    /// Holds long connections: presence, device lists, mailboxes, placement.
    Front,
    /// Keeps the state of the fleet.
    Control,
    /// Keeps encrypted chunks.
    Store,
    /// Knows which devices hold what, so that they find each other.
    Index,
}

/// The whole configuration of a node.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder for key, state and chunks; `None`: the usual one (see [`Config::data_folder`]).
    pub data: Option<PathBuf>,
    /// Name or address, with or without port, at which devices find this node; `None`: the best
    /// guess.
    pub address: Option<String>,
    /// `host:port` texts that are advertised instead of what follows from `address` and `port`,
    /// UDP.
    pub advertise_udp: Vec<HostPortText>,
    /// The same for TCP.
    pub advertise_tcp: Vec<HostPortText>,
    /// Port for UDP and TCP; 0: any.
    pub port: u16,
    /// TCP ports listened on besides, if they can be bound; those that cannot are skipped with a
    /// warning.
    pub extra_tcp_ports: Vec<u16>,
    /// Listen on 127.0.0.1 only.
    pub loopback_only: bool,
    /// What this node does.
    pub roles: Vec<Role>,
    /// Whether ticket holders who are nobody's user may look up and read.
    pub guests: bool,
    /// Long connections.
    pub front: FrontConfig,
    /// Mailboxes.
    pub mail: MailConfig,
    /// What users may keep in stores.
    pub place: PlaceConfig,
    /// The chunk store of this node.
    pub store: ChunkConfig,
    /// The engine that keeps the node's metadata on disk.
    pub storage: StorageConfig,
    /// The index of this node.
    pub index: IndexConfig,
    /// Circuits between devices.
    pub circuit: CircuitConfig,
    /// Service for browsers.
    pub web: WebConfig,
    /// Waking devices that are not connected.
    pub wake: WakeConfig,
    /// The other nodes.
    pub fleet: FleetConfig,
    /// What strangers and devices may ask for in a time.
    pub limits: LimitsConfig,
    /// The invitation made at the very first start.
    pub invitation: InvitationConfig,
    /// Metrics, health, logs, drain.
    pub ops: OpsConfig,
    /// Keys of the file that this version does not know, each in a sentence that names the file.
    #[serde(skip)]
    pub unknown: Vec<String>,
}

/// `[front]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FrontConfig {
    /// Time between a device's pings.
    pub ping: Span,
    /// Of whom nothing was heard for so much longer than the time between pings is gone.
    pub patience: Span,
    /// Shortest time between two updates of the device list on one connection.
    pub list_pause: Span,
    /// How often a connected device's time of last contact is written down.
    pub seen_pause: Span,
    /// Most connections of all kinds.
    pub max_connections: usize,
    /// Most of those from one address (one /64 network for IPv6).
    pub max_connections_per_address: usize,
    /// Most connections whose handshake is not finished.
    pub max_handshakes: usize,
    /// Most of those from one address.
    pub max_handshakes_per_address: usize,
    /// Longest wait for the first frame of a stream.
    pub first_frame: Span,
}

/// `[mail]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MailConfig {
    /// Longest sealed message.
    pub max_message: Size,
    /// Longest time that a message is kept.
    pub keep: Span,
    /// Most messages in one mailbox.
    pub items: u64,
    /// Most bytes in one mailbox.
    pub bytes: Size,
    /// Most messages of one sender in one mailbox.
    pub source_items: u64,
    /// Most bytes of one sender in one mailbox.
    pub source_bytes: Size,
    /// Most messages that were sent to a connected device and not acknowledged.
    pub window: usize,
    /// How long the answer to a sender waits for the reader's acknowledgement, so that it can say
    /// "forwarded".
    pub forward_wait: Span,
}

/// `[place]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlaceConfig {
    /// Bytes that one user may keep over all stores; 0: as much as there is room for.
    pub user_quota: Size,
    /// Most shares that one user may keep.
    pub user_shares: u64,
    /// Room that is promised to an upload is counted as used for so long, until the store itself
    /// says so.
    pub reserve: Span,
}

/// `[storage]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageConfig {
    /// The engine of the state and of the chunk store's index. What is there already is moved to
    /// it when the node starts.
    #[serde(deserialize_with = "engine")]
    pub engine: Engine,
}

fn engine<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Engine, D::Error> {
    let name = String::deserialize(deserializer)?;
    Engine::named(&name)
        .ok_or_else(|| serde::de::Error::custom(format!("\"{name}\" is not redb or sled")))
}

/// `[store]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChunkConfig {
    /// Folder of the packs; `None`: `chunks` in the data folder.
    pub folder: Option<PathBuf>,
    /// Bytes of all chunks together; 0 or [`Size::UNLIMITED`]: as much as there is room for.
    pub total_quota: Size,
    /// Bytes of the lists that say what one user's versions consist of, 36 for each chunk; 0: any
    /// number.
    pub user_lists: Size,
    /// Free bytes left on the disk.
    pub free_floor: Size,
    /// Most uploads at a time.
    pub uploads: usize,
    /// Most uploads of one device at a time.
    pub device_uploads: usize,
    /// Most streams of readers at a time. Each may have some 6 MiB in memory.
    pub readers: usize,
    /// Most streams of one reader at a time.
    pub device_readers: usize,
    /// Most streams at a time of readers who are nobody's device here.
    pub guest_readers: usize,
}

/// `[index]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IndexConfig {
    /// How often a device gives a sign of life; after three times as long what it announced is
    /// forgotten.
    pub heartbeat: Span,
    /// Most announcements at a time.
    pub entries: usize,
    /// Most of one device.
    pub device_entries: usize,
    /// Most from one address (one /64 network for IPv6).
    pub address_entries: usize,
    /// Memory for what is announced.
    pub memory: Size,
    /// The same of one device.
    pub device_memory: Size,
    /// The same from one address.
    pub address_memory: Size,
    /// Most subscriptions at a time. Each may have some 10 KiB in memory.
    pub subscriptions: usize,
    /// Most on one stream of a device.
    pub stream_subscriptions: usize,
    /// Most streams of devices at a time.
    pub streams: usize,
    /// Most streams of one device at a time.
    pub device_streams: usize,
    /// Most streams at a time of those that are nobody's device here.
    pub guest_streams: usize,
}

/// `[circuit]`: joining streams of devices that do not reach each other directly.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CircuitConfig {
    /// Whether this node joins any.
    pub enabled: bool,
    /// True if ticket holders who are nobody's user may ask for one (if `guests` lets them in at
    /// all).
    pub guests: bool,
    /// Most at a time. What each has in memory is what its two connections may hold: up to 16 MiB
    /// each way when one device is far away and fast and the other does not read.
    pub total: usize,
    /// Most that one device has asked for, and most that others have to it.
    pub device: usize,
    /// Most that were asked for from one address (one /64 network for IPv6).
    pub address: usize,
    /// Most at a time that guests have asked for.
    pub guest_total: usize,
    /// Most that one guest has asked for.
    pub guest_device: usize,
    /// How long a device may take to accept one.
    pub accept: Span,
    /// One that carries nothing for so long is ended.
    pub idle: Span,
    /// Most bytes a second each way of one circuit; 0: as many as there is room for.
    pub rate: Size,
    /// The same for circuits of guests.
    pub guest_rate: Size,
}

/// `[fleet]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FleetConfig {
    /// URL (`hither://HOST:PORT/#key`) of the node that keeps the state; empty on that node
    /// itself.
    pub control: String,
    /// File with the token that nodes show each other. The environment variable
    /// `HITHER_RELAY_FLEET_TOKEN` goes first.
    pub token_file: Option<PathBuf>,
    /// The other nodes are gone when they were silent for so long.
    pub silence: Span,
}

/// `[limits]`: how often something may be asked for. Refused is what comes more often, with the
/// time to wait.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Streams from one address (one /64 network for IPv6).
    pub address: Rate,
    /// Streams in all.
    pub total: Rate,
    /// Assignments of one device.
    pub assign: Rate,
    /// Long connections of one device.
    pub hello: Rate,
    /// Invitations shown from one address that were not valid.
    pub wrong_invitation: Rate,
    /// Uploads of one device.
    pub upload: Rate,
    /// Streams for reading of one device.
    pub read: Rate,
    /// Lookups of one device.
    pub lookup: Rate,
    /// Streams of one other node.
    pub node: Rate,
    /// Messages of one device.
    pub send: Rate,
    /// Bytes of messages of one device.
    pub send_bytes: Rate,
    /// Messages in all.
    pub send_total: Rate,
    /// Placements and releases of one device.
    pub place: Rate,
    /// Cards of one device.
    pub cards: Rate,
    /// Requests about groups of one device, a long one counting as several.
    pub group: Rate,
    /// Requests about codes that are said, and for invitations, of one device.
    pub code: Rate,
    /// The same of all devices of one user.
    pub code_user: Rate,
    /// Pages from one address that visit a device, or ask.
    pub visit: Rate,
    /// Messages of one of those.
    pub visit_send: Rate,
    /// Devices of one user that are woken.
    pub wake_user: Rate,
    /// Devices in all.
    pub wake_total: Rate,
    /// Pings of one device.
    pub ping: Rate,
    /// Streams to the index of one device.
    pub index: Rate,
    /// What one device says to the index: messages, a long one counting as several.
    pub index_device: Rate,
    /// The same from one address.
    pub index_address: Rate,
    /// The same in all.
    pub index_total: Rate,
    /// Ends of circuits of one device.
    pub circuit: Rate,
}

/// So many in a second, and so many at once after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// In a second, in the long run.
    pub per_second: f64,
    /// At once, after a pause.
    pub burst: f64,
}

/// `[invitation]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InvitationConfig {
    /// How many devices may use it.
    pub devices: u32,
    /// How long it is valid.
    pub valid: Span,
    /// True if a device may invite one more of its user, as pairing does.
    pub by_devices: bool,
    /// True if a device may remove another one of its user.
    pub removal_by_devices: bool,
}

/// `[ops]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpsConfig {
    /// Where health and metrics are served over HTTP, `IP:PORT`; empty: nowhere.
    pub http: String,
    /// What is logged: a `tracing` filter.
    pub log: String,
    /// Log lines are JSON objects.
    pub log_json: bool,
    /// Longest time that going down waits for devices to move away.
    pub drain: Span,
}
