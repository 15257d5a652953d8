//! The encrypted chunks of shares that this node keeps, as a library without networking.
//!
//! [`Store`] is the way in: [`Store::put`] begins an upload ([`PutSession`]), [`Store::candidates`]
//! and [`Store::read`] serve readers, [`Store::gc`] gives space back. Chunks stand in packs of
//! about 16 MiB in a [`Backend`]; where, and who keeps which, is in an index on
//! [`hither_content::storage`].
//!
//! The walk of an upload: `session` (lists, what is missing, chunks) → `packer` (runs) → `flush`
//! (verify, write) → `writer` (commit) → `progress` (stored). The walk of a read: `read` → `index`
//! → `backend`.
//!
//! Invariants:
//! - A chunk is acknowledged only when its bytes match its id, its pack is durable and the index
//!   names it.
//! - The index never names a pack that is not there.
//! - What a user refers to is what a user has sent: naming another user's chunk gives nothing away,
//!   it must be sent too (and is then kept once).
//! - Whether a chunk is in use is decided in one place, the writer's thread, for uploads and
//!   collection alike.
//! - Memory is bounded by the configuration: buffers of uploads (which are used again, `buffers`),
//!   reads, a cache of list blocks and of file handles.

mod backend;
mod buffers;
mod check;
mod compact;
mod config;
mod error;
mod flush;
mod gc;
mod handles;
mod held;
mod ids;
mod index;
mod inner;
mod ledger;
mod listings;
mod missing;
mod open;
mod pack;
mod packer;
mod platform;
mod progress;
mod quota;
mod read;
mod records;
mod release;
mod reopen;
mod service;
mod session;
mod stats;
mod tables;
mod uploads;
mod version;
mod writer;

pub use backend::Backend;
pub use buffers::{Buffer, Buffers};
pub use check::CheckReport;
pub use config::{Clock, StoreConfig};
pub use error::{Measure, PutError, ReadError, StoreError};
pub use gc::GcReport;
pub use held::HeldChunks;
pub use ids::VersionNumber;
pub use progress::Stored;
pub use read::{MAX_READ, ReadChunk, StoredVersion};
pub use records::{ListRecord, MAX_LIST, RECORD};
pub use reopen::open_index;
pub use service::Store;
pub use session::{Missing, PutSession};
pub use stats::{StoreStats, Usage};
