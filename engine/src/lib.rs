//! The sans-IO heart of Hither: fetch state machine, scheduler, policy, inventory, serving.
//!
//! [`Engine`] takes what happened (`handle_*`, with the time) and returns what it wants done
//! ([`Engine::poll_command`]) and when it is to be woken ([`Engine::poll_timeout`]). It never sees
//! a payload, only ids, positions and lengths.
//!
//! Invariants: no sockets, files, clocks, tasks or random sources (enforced by this crate's
//! `clippy.toml` and by `scripts/check`, which looks at the dependency tree); every table has a
//! bound; the same inputs at the same times give the same commands.

pub mod asks;
mod carrier_choice;
mod claims;
mod command;
mod distance;
mod engine;
mod facts;
mod fetch;
mod inventory;
mod journal;
mod map;
mod neighbourhood;
mod plan;
pub mod policy;
mod price;
mod rate;
mod reading_order;
mod request;
mod requests;
mod round;
mod selection;
mod serving;
mod site;
mod site_id;
mod snapshot;
mod source;
mod sources;
mod span_selection;
mod spans;
mod spending;
mod stalls;
mod target;
#[cfg(test)]
mod testing;
mod time;
mod version;

pub use carrier_choice::Carrier;
pub use command::{Command, RequestId, SessionId, StreamId, Waiting};
pub use distance::Distance;
pub use engine::{Engine, EngineConfig};
pub use fetch::{Arrival, FetchProgress, Phase};
pub use journal::{Journal, JournalEvent, Note, Paid, RunnerUp, SourceSummary, SpanStory};
pub use map::{Cell, CellRun, FetchView, MAX_CELLS, SourceNow};
pub use plan::Plan;
pub use price::{Budget, Mode, Prices, SpendingLimit};
pub use site_id::SiteId;
pub use spans::SPAN_BYTES;
pub use time::Time;
pub use version::Presence;
