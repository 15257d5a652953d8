//! What the daemon and those who talk to it share: the local API's types and client, paths, configuration.
//!
//! The API is HTTP/1.1 with JSON bodies on a Unix socket that only the same user can open; long work answers with
//! server-sent events whose data are [`Event`]s. `GET /v1/openapi.json` describes all of it.
//!
//! Invariant: what is printed under `--json` is exactly what the API sent.

mod client;
mod config;
mod error;
mod event;
mod paths;
mod types;

pub use client::{Client, ClientError, Events};
pub use config::{Config, ConfigError, KEYS, Key, TEMPLATE};
pub use error::{ALREADY_RUNNING, ApiError, ErrorCode, Exit};
pub use event::{Done, Event, Phase, SourceBytes, SourceKind};
pub use paths::{Paths, PathsError};
pub use types::*;
