//! A relay's node, whole or in parts, with devices that say what a test lets them say.
//!
//! One program: each would be linked with the whole relay by itself.

// Tests and their helpers fail by panicking.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

mod admin;
mod groups_common;
mod man;
mod matrix;
mod ops;
mod serve_again;
mod serve_circuit;
mod serve_codes;
mod serve_common;
mod serve_door;
mod serve_fleet;
mod serve_forks;
mod serve_groups;
mod serve_index;
mod serve_mail;
mod serve_matrix;
mod serve_metrics;
mod serve_own;
mod serve_people;
mod serve_stop;
mod serve_visit;
mod serve_wake;
mod storing;
mod storing_common;
mod storing_rate;
