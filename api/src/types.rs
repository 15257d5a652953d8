//! Requests and answers of the local API that are no events.

use crate::config::ConfigSource;
use crate::costs::CostMode;
use crate::event::{Phase, SourceBytes};
use crate::relay::RelayInfo;
use crate::upload::UploadInfo;
use crate::world::{LimitsInfo, WorldInfo};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use utoipa::ToSchema;

/// `POST /v1/shares`: answered with events, the last one `done` or `error`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ShareRequest {
    /// Absolute paths of files and folders. Several make one share: a folder in which each keeps
    /// its name.
    #[schema(value_type = Vec<String>)]
    pub paths: Vec<PathBuf>,
    /// What the share is called instead of the file's or folder's own name.
    #[serde(default)]
    pub name: Option<String>,
    /// The share ends by itself after that many seconds; 0: never. Absent: as it was shared before, if
    /// it was.
    #[serde(default)]
    pub keep_seconds: Option<u64>,
    /// Never upload this share to a store, whatever the configuration says.
    #[serde(default)]
    pub no_upload: bool,
    /// Do not tell the user's other devices of it.
    #[serde(default)]
    pub no_list: bool,
    /// Leave out what cannot be shared (unreadable files, impossible names) instead of failing.
    #[serde(default)]
    pub skip_unsharable: bool,
    /// Publish a new version whenever something in it changes, until the share ends.
    #[serde(default)]
    pub watch: bool,
    /// The group that it is shared with, by its name or id: its members see it and need no ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Devices of the user, each by its name, short id or id, that the ticket is sent to, sealed.
    /// Nothing is read before they are found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    /// It is only to reach the devices of `to`: the share ends when all of them have all of it, at the
    /// latest after 30 days. What is shared already stays shared as it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub offer: bool,
    /// End the share as soon as one device has all of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub once: bool,
    /// The only path is a file that came through a pipe, in a folder of its own below `piped` in the
    /// data folder: the daemon removes it with its share.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub piped: bool,
    /// Patterns of what is left out, as lines of a `.gitignore` beside what is shared; at most 100
    /// of at most 500 bytes. Absent: those that it was shared with before, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude: Option<Vec<String>>,
}

/// What to do when the target of a fetch exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Existing {
    /// Refuse.
    #[default]
    Fail,
    /// Replace files of the same name; leave other files in an existing folder alone.
    Overwrite,
    /// Write beside it under another name.
    Rename,
    /// Leave what is there as it is, and fetch what is missing beside it.
    Skip,
}

/// What becomes of names that cannot be written where a share is fetched to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Naming {
    /// They are written in another way, from which they can be read back.
    #[default]
    Rename,
    /// What is called so is left out.
    Skip,
    /// Nothing is fetched.
    Refuse,
}

/// Names of a version that could not be written as they are. Paths are below the top, with `/`;
/// they may have control characters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NamesInfo {
    /// What is called otherwise here, the first 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub renamed: Vec<RenamedInfo>,
    /// How many are in all.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub renamed_total: u64,
    /// What was left out, the first 100; a folder stands for what is in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<String>,
    /// How many were in all.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped_total: u64,
}

impl NamesInfo {
    /// Returns whether everything is there, and called as in the share.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// Something that is called otherwise here (in [`NamesInfo`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RenamedInfo {
    /// Path in the share.
    pub path: String,
    /// Path here.
    pub written: String,
}

/// `POST /v1/fetches`: answered with events, the last one `done` or `error`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FetchRequest {
    /// The ticket.
    pub ticket: String,
    /// Absolute path of the folder to write into; absent for a single file that is read in order
    /// (`GET /v1/transfers/{id}/content`) and not kept.
    #[schema(value_type = Option<String>)]
    pub folder: Option<PathBuf>,
    /// The name in the folder for a share that is a single file; a share that is a folder is written
    /// into a folder of that name instead, made when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
    /// The part that is wanted: paths of files and folders below the top of the share, joined with
    /// `/`, or patterns with `*`, `?`, `[…]` and `**`; a pattern without `/` is one for names in
    /// every folder. At most 1000. Empty: everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Bytes of a file that is read in order that were read before, and are left out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub from: u64,
    /// What to do when the target exists.
    #[serde(default)]
    pub existing: Existing,
    /// Accept what is offered without asking.
    #[serde(default)]
    pub accept: bool,
    /// Give up with `no_holder` when nobody who has it was reached for that many seconds; absent:
    /// the configured time.
    #[serde(default)]
    pub wait_seconds: Option<u64>,
    /// Stay and fetch every later version too, over the one before; only for tickets that name no
    /// single version.
    #[serde(default)]
    pub follow: bool,
    /// How readily sources that cost something are used; absent: the configured mode.
    #[serde(default)]
    pub mode: Option<CostMode>,
    /// Most that it may cost in all, in units of currency; absent: as much as the mode finds
    /// right.
    #[serde(default)]
    pub max_cost: Option<f64>,
    /// Permission bits that nothing written gets, as with `umask`; absent: those of the daemon.
    /// Write permission for group and others is never given.
    #[serde(default)]
    pub umask: Option<u32>,
    /// The treatment of names that cannot be written there; absent: what was said for this fetch
    /// before, else `rename`.
    #[serde(default)]
    pub names: Option<Naming>,
}

/// `POST /v1/transfers/{id}/accept`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptRequest {
    /// The offer that is accepted (`head` of the event `offer`). When something else is offered by
    /// now, nothing is accepted.
    #[serde(default)]
    pub head: String,
    /// The treatment of things that are there already (`exists` of the event `offer`); absent: what the
    /// request said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing: Option<Existing>,
}

/// `POST /v1/listings`: answered with events `entry`, the last one `done` or `error`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ListingRequest {
    /// The ticket.
    pub ticket: String,
    /// The part that is listed, as for a fetch. Empty: everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Give up with `no_holder` when nobody who has it was reached for that many seconds; absent:
    /// the configured time.
    #[serde(default)]
    pub wait_seconds: Option<u64>,
}

/// One share (`GET /v1/shares`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ShareInfo {
    /// Share id.
    pub share: String,
    /// Its name.
    pub name: String,
    /// Where it is on this device; of several paths the first.
    pub path: String,
    /// Of several paths the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more_paths: Vec<String>,
    /// Whether this device made it (or fetched it from another).
    pub mine: bool,
    /// Owner's device id.
    pub owner: String,
    /// Its version here.
    pub version: u64,
    /// Number of files.
    pub files: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Chunks in all.
    pub chunks: u64,
    /// Chunks that this device can give.
    pub held: u64,
    /// When it was published, Unix seconds.
    pub published: u64,
    /// When it ends by itself, Unix seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    /// Name of the group that it is shared with, or its id when that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Whether a new version is published whenever something in it changes.
    #[serde(default)]
    pub watched: bool,
    /// True if it ends as soon as one device has all of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub once: bool,
    /// True if it came through a pipe and goes with its share.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub piped: bool,
    /// Patterns of what is left out, as they were given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// How its files stand.
    #[serde(default)]
    pub state: ShareState,
    /// The fault of its files, or why what changed in a watched share could not be
    /// published, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// What lies in it and is not shared, the first 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// How many that are in all.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out_total: u64,
    /// Entries whose names not every system can write, the first 20. Whoever cannot is given
    /// it under another name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unportable: Vec<LeftOut>,
    /// How many are in all.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unportable_total: u64,
    /// How it is followed; absent for what is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow: Option<FollowInfo>,
    /// How its upload stands; absent for shares of others, and while no relay is joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<UploadInfo>,
}

/// How a followed copy stands (in [`ShareInfo`] and [`TransferInfo`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FollowInfo {
    /// The transfer that follows: it can be paused, and ended (`DELETE /v1/transfers/{id}`).
    pub transfer: String,
    /// How it stands.
    pub state: FollowState,
    /// The version that is here; absent while none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The newest version that is known of; 0 while none is.
    pub newest: u64,
    /// The device that is waited for: its name, or its short id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// Things in it that are not what was fetched and stay: edited files, and copies beside them.
    pub conflicts: u64,
    /// Why it does not go on at the moment, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How a followed copy stands (in [`FollowInfo`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FollowState {
    /// It is the newest version that is known of.
    UpToDate,
    /// A newer version is being fetched.
    Behind,
    /// A newer version, or the first, is not to be had at the moment; it is fetched as soon as it
    /// is.
    Waiting,
    /// The user has stopped it for now.
    Paused,
    /// The copy is not where it was written, or its disk does not answer.
    TargetMissing,
    /// It failed and does not go on by itself.
    Failed,
}

/// How the files of a share stand (in [`ShareInfo`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ShareState {
    /// They are what was shared, as far as is known.
    #[default]
    Whole,
    /// Some have another content.
    Changed,
    /// Some, or all, are not there any more.
    Gone,
    /// Some, or all, cannot be read now.
    Unreadable,
    /// Something else is where it was: another folder or disk.
    Moved,
}

/// Something that lies in a share and is left out of it, or whose name not every system can write
/// (in [`ShareInfo`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeftOut {
    /// Path below the shared one, safe to show.
    pub path: String,
    /// Why, in words that complete "… because …".
    pub reason: String,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The ticket of a share (`GET /v1/shares/{id}/ticket`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TicketInfo {
    /// The ticket: a secret.
    pub ticket: String,
}

fn is_none_yet(seconds: &f64) -> bool {
    *seconds <= 0.0
}

/// One transfer (`GET /v1/transfers`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TransferInfo {
    /// Transfer id.
    pub transfer: String,
    /// Share id.
    pub share: String,
    /// Name of the share; empty while not known.
    pub name: String,
    /// Where it is (being) written; empty while not known.
    pub path: String,
    /// What it is doing.
    pub phase: Phase,
    /// Bytes done.
    pub bytes: u64,
    /// Bytes in all; 0 while not known.
    pub total: u64,
    /// Bytes per second now.
    pub rate: u64,
    /// Devices that are giving now.
    pub devices: u32,
    /// When it began, Unix seconds.
    pub started: u64,
    /// When it ended, Unix seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<u64>,
    /// How long it was at work up to its last stop, pauses left out, seconds; absent before the
    /// first.
    #[serde(default, skip_serializing_if = "is_none_yet")]
    pub seconds: f64,
    /// Why it failed or waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How it is followed; absent for a fetch of one version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow: Option<FollowInfo>,
    /// Where its bytes came from so far.
    pub sources: Vec<SourceBytes>,
    /// The currency of every cost and price; absent where none is configured or nothing is told of
    /// costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// Names of the last version written that could not be written as they are.
    #[serde(default, skip_serializing_if = "NamesInfo::is_nothing")]
    pub names: NamesInfo,
}

/// One link to another device (in [`Status`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LinkInfo {
    /// Device id.
    pub device: String,
    /// What it calls itself; empty while no share in common has been proven.
    pub name: String,
    /// `quic`, `tcp` or `relay`.
    pub carrier: String,
    /// The relay that it leads through, as `host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<String>,
    /// Its address, or the relay's.
    pub address: String,
    /// Round-trip time, milliseconds.
    pub rtt_ms: f64,
}

/// The daemon (`GET /v1/status`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// This device's id.
    pub device: String,
    /// The short form of it.
    pub short: String,
    /// What this device calls itself.
    pub name: String,
    /// Process id.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime: u64,
    /// UDP port of the QUIC carrier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub udp_port: Option<u16>,
    /// TCP port of the bulk carrier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_port: Option<u16>,
    /// Where its data is.
    pub home: String,
    /// Number of shares.
    pub shares: u64,
    /// Number of shares that are being uploaded, or wait for it.
    #[serde(default)]
    pub uploads: u64,
    /// Number of transfers that run.
    pub transfers: u64,
    /// Number of devices that fetch something of this one now.
    #[serde(default)]
    pub giving: u64,
    /// Devices seen on this network.
    pub nearby: u64,
    /// Links that are open.
    pub links: Vec<LinkInfo>,
    /// Relays that this device joined.
    #[serde(default)]
    pub relays: Vec<RelayInfo>,
    /// Messages that were not looked at yet.
    #[serde(default)]
    pub unread: u64,
    /// Messages that no relay has taken yet.
    #[serde(default)]
    pub outgoing: u64,
    /// What is known of the link and the battery.
    #[serde(default)]
    pub world: WorldInfo,
    /// The limits that are in force now.
    #[serde(default)]
    pub limits: LimitsInfo,
    /// The losses of Hither's own data, until it is acknowledged (`POST
    /// /v1/losses/acknowledge`); also in `warnings`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub losses: Vec<String>,
    /// Things the user should know (the store was rebuilt, a carrier could not start…).
    pub warnings: Vec<String>,
}

/// One key of the configuration (`GET /v1/config`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigKeyInfo {
    /// Its name.
    pub key: String,
    /// Its value, as it would be set.
    pub value: String,
    /// Its default, written the same way.
    pub default: String,
    /// Source of its value.
    pub source: ConfigSource,
    /// One line about it.
    pub about: String,
    /// True if a change counts only when the daemon starts anew.
    pub needs_restart: bool,
    /// True if it was changed and waits for that.
    pub pending: bool,
}

/// `POST /v1/config`: one key gets another value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigRequest {
    /// Its name.
    pub key: String,
    /// Its new value; a list is separated by commas.
    pub value: String,
}

/// The effect of a change of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigChange {
    /// Keys whose new values are in force now.
    pub changed: Vec<String>,
    /// Keys whose new values count when the daemon starts anew.
    pub pending: Vec<String>,
    /// Keys of the file that count for nothing, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One finding of `hither doctor`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// What was looked at.
    pub check: String,
    /// `ok`, `warning` or `problem`.
    pub level: Level,
    /// What was found, in words.
    pub message: String,
    /// What could be done; may be empty.
    pub hint: String,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Works, but not as well as it could.
    Warning,
    /// Does not work.
    Problem,
}
