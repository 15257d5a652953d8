//! Browsers as clients: what the page on the network (`crate::page`) and the dashboard
//! (`crate::dashboard`) have in common.
//!
//! `connections.rs` serves HTTP to a bounded number of connections, `headers.rs` is what every answer
//! carries, `same_user.rs` finds out whose connection it is.

mod connections;
mod headers;
mod same_user;

pub(crate) use connections::{listen, serve};
pub(crate) use headers::{asset, file, guard};
pub(crate) use same_user::{Owner, owner};

use hither_util::hex::encode;

/// A secret text that nobody guesses: 128 random bits.
///
/// Errors: the system has no random numbers.
pub(crate) fn secret() -> std::io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
    Ok(encode(&bytes))
}

/// Returns whether two secrets are the same, in a time that tells nothing about how they differ.
pub(crate) fn same(one: &str, other: &str) -> bool {
    // Hashes of BLAKE3 are compared in constant time.
    blake3::hash(one.as_bytes()) == blake3::hash(other.as_bytes())
}
