//! The lab of Hither: the real programs on networks of their own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "test support: a broken test stops"
)]

#[cfg(target_os = "linux")]
pub mod lab;
