//! Links and streams that other devices begin.

use crate::link::Link;
use crate::stream::Stream;

/// Something that another device began.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "most are streams, and at most 64 wait at a time"
)]
pub enum Incoming {
    /// A QUIC link was accepted. Streams can be opened back on it; those that the other side opens
    /// follow on their own.
    Link(Link),
    /// A stream was accepted, on whatever carrier, also on a link that this device has dialled.
    Stream(Stream),
}
