//! hitherd: the loop around the engine.
//!
//! `core.rs` holds the engine; `routes.rs` carries its commands to `session.rs` (who holds what),
//! `lane.rs` (fetching), `upload.rs` (serving) and `transfer/` (one task per fetch). `publish.rs`
//! makes shares. `relay/` keeps connections to relays and the list of the user's devices, `mail/`
//! takes messages between them, `catalogue/` knows what those devices share, `keep/` uploads to
//! stores, `watch/` publishes what changes. `api/` is how users reach it.
//!
//! Invariants: tasks are spawned through `tasks.rs`; whatever blocks runs on blocking threads or
//! `workers.rs`; what is announced was durable before.

mod api;
mod belonging;
mod blind;
mod catalogue;
mod circuits;
mod clock;
mod core;
mod costs;
mod daemon;
#[doc(hidden)]
pub mod decoders;
mod disks;
mod doctor;
mod download_stream;
mod failure;
mod familiar;
mod firewall;
mod groups;
mod handshake;
mod health;
mod hexed;
mod holders;
mod host_state;
mod index;
mod instance;
mod interfaces;
mod links;
mod live_view;
mod loading;
mod losses;
mod mail;
mod ownership;
mod private;
mod publish;
mod records;
mod relay;
mod roaming;
mod rollback;
mod routes;
mod run;
mod serve_stream;
mod session;
mod shares;
mod sites;
mod stamp_clock;
mod store_upload;
mod supervisor;
mod tasks;
mod terms;
mod throttle;
mod transfer;
mod twins;
mod watch;
mod why;
mod workers;

pub use run::run;
