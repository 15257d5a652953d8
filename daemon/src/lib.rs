//! hitherd: the services of a device, and the local API to them.
//!
//! `app.rs` makes the services and is the only place that sees all of them. `library.rs` has the
//! shares of this device (`health.rs`, `rollback.rs`, `loading.rs` and `expiry.rs` work on it),
//! `publish.rs` makes and renews them, `watch/` notices what changes, `tickets.rs` says what others
//! are given. `transfer/` fetches, with `live_view.rs` and `why/` to look at it. `mail/` takes
//! messages between the user's devices, `catalogue/` knows what those share, `groups/` works with
//! groups, `index/` with the indexes of relays, `store_upload/` uploads to stores, `visitors/` has
//! the links by which browsers send here, `wake.rs` how relays wake this device. What moves
//! chunks is in `hither-swarm`, what speaks with relays in `hither-relay-client`. `settings.rs` has the configuration in force. `api/` is how
//! users reach it; `failure.rs` turns errors into codes and sentences.
//!
//! Invariants: a service names what it depends on; tasks are spawned through
//! [`Tasks`](hither_util::tasks::Tasks); whatever blocks runs on blocking threads; what is
//! announced was durable before.

mod api;
mod app;
mod asks;
mod audit;
mod belonging;
mod browser;
mod catalogue;
mod code;
mod costs;
mod dashboard;
#[doc(hidden)]
pub mod decoders;
mod desktop;
mod diagnostics;
mod disks;
mod doctor;
mod expiry;
mod exposed;
mod failure;
mod firewall;
mod giving;
mod groups;
mod health;
mod index;
mod instance;
mod json_records;
mod library;
mod live_view;
mod loading;
mod losses;
mod mail;
mod nearby;
mod own_devices;
mod ownership;
mod page;
mod piped;
mod program;
mod publish;
mod receive;
mod records;
mod relay_named;
#[cfg(test)]
mod relay_tests;
mod rollback;
mod run;
mod settings;
mod store_upload;
mod tickets;
mod transfer;
mod visitors;
mod wake;
mod watch;
mod why;

pub use run::run;
