//! Two endpoints, or an endpoint and somebody who means it no good, on one machine.
//!
//! One program: each would be linked with everything by itself.

// Tests and their helpers fail by panicking.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

mod carriers;
mod circuits;
mod common;
mod discovery;
mod hostile;
mod identity;
mod relay;
mod restart;
