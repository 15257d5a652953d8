//! The state: every engine against one suite, storage that fails, connections that break, processes
//! that are killed.

// Helpers of tests are tests too, which clippy does not see.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
mod engines;
mod faults;
mod full_disk;
mod kill;
mod reconnect;
mod remote;
