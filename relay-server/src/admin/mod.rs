//! The sub-commands beside `run`: what an operator does with a node.
//!
//! While a node runs they ask it over its admin socket (`client`, `server`), so that no database is
//! opened twice; `check`, `backup` and `restore` also work on the folder of one that does not run.
//! Failures are sentences with hints (`error`); what comes out is text for people or, with
//! `--json`, one JSON object a line (`show`).

mod backup;
mod client;
mod commands;
mod error;
mod offline;
mod server;
mod show;
pub mod types;
mod work;

pub use client::Client;
pub use commands::{Command, run};
pub use error::{AdminError, Code};
pub use server::start;
