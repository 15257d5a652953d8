//! Hither's wire types, ticket and file formats: parsed once at the boundary, no IO.
//!
//! Two layers. [`wire`] holds what `prost` generates from the `.proto` files and is trusted by
//! nobody. Everything else is a domain type that can only be made by a parser that checks lengths,
//! counts and names, so that code behind the boundary never meets an unchecked value. `SPEC.md`
//! beside this crate describes both in words; `vectors/` pins them in bytes.
//!
//! Invariants: no sockets, files, clocks, tasks or random sources here (enforced by this crate's
//! `clippy.toml`); no decoder allocates more than a constant factor of the bytes it was given.

mod ask;
mod claim;
mod code;
mod device;
mod drive;
mod frame;
mod group;
mod head;
mod ids;
mod knock;
pub mod limits;
pub mod mail;
mod manifest;
mod message;
mod name;
mod page_link;
mod price;
mod proof;
mod range;
mod relay;
mod root;
pub mod seal;
mod share_link;
pub mod stamp;
mod ticket;
pub mod timeline;
pub mod words;

/// Types generated from the `.proto` files. Not for use beyond this crate's parsers and encoders.
#[allow(missing_docs, clippy::all, unreachable_pub)]
pub mod wire {
    include!(concat!(env!("OUT_DIR"), "/hither.v1.rs"));
}

pub use ask::{Answer, Ask, AskKind, AskLetter, AskRefusal, Thing, Which};
pub use claim::claim_weight;
pub use code::{
    CodeConfirmation, CodeGift, CodeKeys, CodeKind, CodeMessage, CodeName, CodePake, CodeRefusal,
    CodeSecret, CodeSide, PairDevice, PairGrant, PairText, PairTextError, PakeError, PakeMessage,
    SpokenCode, SpokenCodeError, UnknownWord, Word,
};
pub use device::{DeviceId, DeviceName};
pub use drive::{
    DriveEntry, DriveKind, DriveLetter, DriveList, DrivePath, DrivePhase, DriveRefusal,
    DriveUpload, DriveUploaded,
};
pub use frame::{
    FRAME_PREFIX, FrameError, decode_frame, decode_relay_frame, encode_frame, encode_relay_frame,
    frame_length,
};
pub use group::{
    Action, Branch as GroupBranch, Entry as GroupEntry, EntryError, GroupInvite, GroupInviteError,
    GroupName, GroupNameError, Joining, LogError, Membership, NameSeal, Policy, Prevails, Role,
    SignedEntry, prevails,
};
pub use head::{Head, HeadError, SignedHead, UncheckedHead};
pub use ids::{
    AskId, AttemptId, ChunkId, ChunkKey, ChunkToken, CircuitId, GroupId, GroupSecret, IdError,
    IndexTopic, Invitation, KeyMark, MessageId, ReadKey, ShareId, ShareSecret, UserId,
    VisitorProof, VisitorSecret,
};
pub use knock::Knock;
pub use manifest::{
    ChunkRecord, Entry, EntryKind, Manifest, ManifestBuilder, ManifestError, RecordError,
};
pub use message::{
    Announcement, Candidate, CandidateKind, Candidates, Claims, Delta, DevicePurpose, Holder,
    HolderKind, IceCredentials, Introduction, Letter, Message, MessageError, OfferKind, Opened,
    Progress, ProofKind, Purpose, Refusal, Space, Terms, Want,
};
pub use name::{EntryName, NOT_ON_WINDOWS, NameError, display_name, folded, is_device_name};
pub use page_link::{AskLink, InboxLink, PageLinkError};
pub use price::{Price, PriceError};
pub use proof::{
    BlindKey, BlindQuery, BlindReply, Proof, ProofKey, ProofPurpose, Side, StreamBinding,
};
pub use range::{PositionRange, RangeError, Ranges};
pub use relay::{
    Card, CircuitMessage, CodeAnswer, CodeRequest, DeviceEntry, FetchReceived, GroupAnswer,
    GroupAsked, GroupChange, GroupFound, GroupJoin, GroupMember, GroupNo, GroupNote, GroupRequest,
    GroupSealed, GroupStanding, Host, HostPort, HostPortError, IndexHolder, IndexMessage, Nearness,
    OwnAnswer, OwnRequest, PushKey, Put, PutRecord, RelayAddress, RelayMessage, RelayPurpose,
    RelayRefusal, RelayRefusalCode, RelayUrl, RelayUrlError, StoreFetch, Visiting, WakeChannel,
    WakeKind, WakeWays, WebAddress, WebAddressError, Welcome, index_node,
};
pub use root::{Root, RootError};
pub use share_link::{MAX_SHARE_LINK, ShareLink, ShareLinkError};
pub use ticket::{Pin, Ticket, TicketError};
