//! The parts that the daemon and its clients share: the local API's types and client, paths,
//! configuration.
//!
//! The API is HTTP/1.1 with JSON bodies on a Unix socket that only the same user can open; long
//! work answers with server-sent events whose data are [`Event`]s. `GET /v1/openapi.json` describes
//! all of it.
//!
//! Invariant: what is printed under `--json` is exactly what the API sent.

mod ask;
mod catalogue;
mod client;
mod code;
mod config;
mod config_keys;
mod costs;
mod drive;
mod error;
mod event;
mod giving;
mod group;
mod limits;
mod listening;
mod mail;
mod nearby;
mod page;
mod paths;
mod receive;
mod relay;
mod schedule;
mod socket;
mod storage;
mod types;
mod umask;
mod upload;
mod upload_rules;
mod view;
mod visit;
mod why;
mod world;

pub use ask::{
    AnswerRequest, AskCommand, AskInfo, AskRequest, AskRules, AskThing, AsksInfo, CandidateInfo,
    GrantInfo, GrantRequest,
};
pub use catalogue::{FindRequest, FoundShare, ListedShare};
pub use client::{Client, ClientError, Content, Events, Revival};
pub use code::{AnswerCode, CodeInfo, CodeMet, EnterCode, ShowCode};
pub use config::{Config, ConfigError, ConfigSource, TrashRules};
pub use config_keys::{KEYS, Key, TEMPLATE};
pub use costs::{CostMode, CostModeError, Costs};
pub use drive::{
    DriveDone, DriveEntryInfo, DriveInfo, DriveListRequest, DriveListing, DriveRequest,
    EndExposureRequest, ExposeRequest, ExposureInfo,
};
pub use error::{ALREADY_RUNNING, ApiError, ErrorCode, Exit, Problem};
pub use event::{
    ChangedList, Done, EntryInfo, EntryType, Event, ExistsInfo, Phase, SourceBytes, SourceKind,
};
pub use giving::{Giving, GivingInfo};
pub use group::{
    CreateGroup, DecideGroup, FoundGroup, GroupDecision, GroupInfo, GroupMemberInfo, GroupPolicy,
    GroupRole, GroupShare, GroupState, JoinGroup, SearchGroups, SetGroupPolicy,
};
pub use limits::{DeviceLimit, DeviceLimitError, RateLimits};
pub use listening::{encode_listening, read_listening};
pub use mail::{
    FileInfo, MessageInfo, MessageKind, OutgoingInfo, SaveRequest, SavedInfo, SendRequest,
    SentInfo, SentState, TicketNote,
};
pub use nearby::{
    DeviceRequest, IntroductionInfo, NearbyAnswer, NearbyInfo, NearbyRequest, NearbyVisibility,
    OfferedKind, RenameRequest,
};
pub use page::{DashboardInfo, MAX_PAGE_SECONDS, PAGE_SECONDS, PageInfo, PageRequest};
pub use paths::{PathEntry, Paths, PathsError, PathsInfo};
pub use receive::{
    ArrivalDecision, ArrivalInfo, ArrivalRequest, ArrivalState, ReceiveInfo, ReceivePolicy,
    ReceiveRequest, ReceiveRule, ReceiveRules,
};
pub use relay::{
    DeviceInfo, DeviceRelation, InviteInfo, InviteRequest, RelayInfo, RelayRequest, RelayState,
    RemovedInfo, WakeInfo, WakeRequest, WakeWay,
};
pub use schedule::{ScheduleError, ScheduleRule, WeekTime};
pub use socket::SocketAddress;
pub use storage::StorageEngine;
pub use types::*;
pub use umask::umask;
pub use upload::{UploadInfo, UploadState};
pub use upload_rules::{NetworkRule, NetworkRuleError, UploadRules, parse_size};
pub use view::{MAX_CELLS, MapRun, MapState, SpanMap, TransferView, ViewSource};
pub use visit::{InboxLinkInfo, InboxLinkRequest, LINK_BYTES, LINK_SECONDS, VisitorInfo};
pub use why::{PaidBecause, RunnerUp, UsualRunnerUp, Why, WhyNote, WhyRule, WhySource, WhySpan};
pub use world::{BatteryInfo, LimitsInfo, Metered, WorldInfo, WorldRules};
