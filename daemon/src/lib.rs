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
mod failure;
mod familiar;
mod firewall;
mod greeting;
mod groups;
mod health;
mod holders;
mod hub;
mod index;
mod instance;
mod interfaces;
mod keep;
mod lane;
mod links;
mod loading;
mod losses;
mod mail;
mod ownership;
mod publish;
mod records;
mod relay;
mod roaming;
mod rollback;
mod routes;
mod run;
mod session;
mod shares;
mod sites;
mod stamp_clock;
mod terms;
mod throttle;
mod transfer;
mod twins;
mod upload;
mod view;
mod watch;
mod why;
mod workers;
mod world;

pub(crate) use hither_util::{hex as hexed, private_fs as private, tasks};
pub use run::run;
