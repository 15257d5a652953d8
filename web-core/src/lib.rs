//! Hither in a browser: what a page needs to read a share, without sockets, clocks or threads.
//!
//! [`Core`] takes what happened ([`input`]) with the time, and returns what it wants done
//! ([`output`]): bytes for byte pipes, requests by HTTP, verified chunks. Around it a page carries
//! that out with WebSockets, `fetch` and WebCrypto (`web/src/core/`). The rules are those of
//! SPEC.md; parsers come from `hither-proto`, the choice of sources from `hither-engine`.
//!
//! Invariants:
//! - A byte of a file leaves only as part of a chunk whose id was compared, along the chain from the
//!   ticket (secret, owner) over head, root and manifest.
//! - The share is named, and proven to be known, only to relays by its read key, and to its owner
//!   and devices that the owner's relay names.
//! - Nothing that comes in makes it panic: in WebAssembly that would end the page's core. Every table
//!   is bounded.

#[cfg(target_arch = "wasm32")]
mod abi;
mod context;
mod core;
mod crypt;
#[cfg(feature = "device")]
mod device;
mod error;
mod frames;
pub mod input;
pub mod output;
mod share;
pub mod tls;
pub mod vectors;
mod wire;

pub use crate::core::Core;
pub use crate::error::{ErrorCode, ShareError};
