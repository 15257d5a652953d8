//! Types and client of the daemon's local API.
