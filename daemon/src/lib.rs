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
mod app;
mod belonging;
mod catalogue;
mod costs;
#[doc(hidden)]
pub mod decoders;
mod diagnostics;
mod disks;
mod doctor;
mod expiry;
mod failure;
mod firewall;
mod groups;
mod health;
mod index;
mod instance;
mod library;
mod live_view;
mod loading;
mod losses;
mod mail;
mod ownership;
mod publish;
mod records;
#[cfg(test)]
mod relay_tests;
mod rollback;
mod run;
mod store_upload;
mod tickets;
mod transfer;
mod watch;
mod why;

pub use run::run;
