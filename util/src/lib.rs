//! Parts that several crates need and none of them owns.
//!
//! A module belongs here if at least two crates use it and it knows nothing of Hither's protocol.
//! Invariant: no crate of the workspace is a dependency of this one. `hither-engine` and
//! `hither-proto` do not depend on it, because they are free of sockets, files, clocks and tasks.

pub mod backoff;
pub mod clock;
pub mod hex;
pub mod man_page;
pub mod patient;
pub mod pieces;
pub mod private_fs;
pub mod sync;
pub mod tasks;
