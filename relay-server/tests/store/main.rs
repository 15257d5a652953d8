//! The chunk store from outside: what is acknowledged is there, whoever else does what meanwhile,
//! and after a kill.

// The whole program is a test: it fails by panicking.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::type_complexity
)]

mod common;
mod damage;
mod kill;
mod lists;
mod retention;
mod space;
mod stress;
mod uploads;
