//! The program as its users meet it, against a daemon that plays a script.

// This whole program is a test: it fails by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod codes;
mod fake;
mod fetch;
mod group;
mod home;
mod lists;
mod live;
mod mail;
mod relay;
mod screens;
mod share;
mod starting;
mod terminal;
mod usage;
