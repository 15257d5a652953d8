//! The carriers of links.

use std::fmt;

/// A carrier of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CarrierKind {
    /// QUIC over UDP: many streams on one connection.
    Quic,
    /// TCP with TLS 1.3: one connection is one stream. About half the processor time of QUIC.
    Tcp,
    /// TLS 1.3 over two streams that a relay has joined: one circuit is one stream.
    Relayed,
}

impl fmt::Display for CarrierKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Quic => "QUIC",
            Self::Tcp => "TCP",
            Self::Relayed => "relay",
        })
    }
}
