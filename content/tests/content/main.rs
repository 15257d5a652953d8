//! Sharing, fetching and keeping files, on real file systems.
//!
//! One program: each would be linked with everything by itself.

// Tests and their helpers fail by panicking.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout
)]

mod common;
mod disks;
mod hostile_manifests;
mod locality;
mod parts;
mod round_trip;
mod sharing;
mod targets;
mod updates;
