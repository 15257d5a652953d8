//! Simulation and lab tests of Hither.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "test support: a broken test stops"
)]

#[cfg(target_os = "linux")]
pub mod lab;
pub mod sim;
