//! Errors of endpoints and links.

use hither_proto::DeviceId;
use std::io;

/// Why an endpoint could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Neither QUIC nor TCP was asked for.
    #[error("no carrier is enabled")]
    NoCarrier,
    /// A socket could not be opened.
    #[error("cannot open a {carrier} socket: {source}")]
    Socket {
        /// "UDP" or "TCP".
        carrier: &'static str,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The cryptographic library refused its configuration.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

/// Why there is no link or stream (any more).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// There was nothing to dial: no address, or none that the carrier's socket can reach.
    #[error("no address to dial")]
    NoAddress,
    /// The carrier is switched off or has no socket here.
    #[error("this carrier is not available")]
    NoCarrier,
    /// The dialled device is this one.
    #[error("this device cannot link to itself")]
    Ourselves,
    /// No answer in time.
    #[error("timed out")]
    TimedOut,
    /// Every address failed; the last reason.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// Someone else answered. The key is what was shown, not proven.
    #[error("another device answered: {found}")]
    WrongDevice {
        /// The device that answered.
        found: DeviceId,
    },
    /// The other side speaks no Hither: a login page, a proxy, another program.
    #[error("another program answers there (a login page of the network, or a proxy)")]
    NotHither,
    /// A bound on this side is reached.
    #[error("too many {0}")]
    TooMany(&'static str),
    /// Closed by this side.
    #[error("closed")]
    Closed,
    /// Closed by the other side.
    #[error("closed by the other device: {0}")]
    ClosedByPeer(String),
    /// The other device does not know this link any more: it crashed and is back.
    #[error("the other device was restarted")]
    Restarted,
    /// The link broke: silence, a violation of the protocol.
    #[error("the link broke: {0}")]
    Broken(String),
}

impl From<quinn::ConnectionError> for LinkError {
    fn from(error: quinn::ConnectionError) -> Self {
        use quinn::ConnectionError as E;
        match error {
            E::LocallyClosed => Self::Closed,
            E::TimedOut => Self::TimedOut,
            E::Reset => Self::Restarted,
            E::ApplicationClosed(close) => {
                // Free text of a stranger: cut and cleaned before it can reach a log or a terminal.
                let reason = &close.reason[..close.reason.len().min(80)];
                Self::ClosedByPeer(hither_proto::display_name(&String::from_utf8_lossy(reason)))
            }
            // The texts of TLS are for its programmers.
            E::TransportError(error) if u64::from(error.code) >> 8 == 1 => {
                tracing::debug!(%error, "a handshake failed");
                Self::Broken("no secure connection could be made".into())
            }
            other => Self::Broken(hither_proto::display_name(&other.to_string())),
        }
    }
}

impl LinkError {
    /// Why a handshake of TLS over TCP failed, in words for people.
    pub(crate) fn of_handshake(error: &io::Error) -> Self {
        tracing::debug!(%error, "a handshake failed");
        let tls = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            // An answer that is no TLS at all, or TLS of somebody else.
            Some(rustls::Error::InvalidMessage(_) | rustls::Error::PeerIncompatible(_)) => {
                Self::NotHither
            }
            Some(rustls::Error::AlertReceived(_)) => Self::NotHither,
            Some(_) => Self::Broken("no secure connection could be made".into()),
            None if error.kind() == io::ErrorKind::UnexpectedEof => {
                Self::Broken("it was closed before a secure connection was made".into())
            }
            None => Self::Broken(error.to_string()),
        }
    }
}

impl From<LinkError> for io::Error {
    fn from(error: LinkError) -> Self {
        Self::new(io::ErrorKind::ConnectionAborted, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_tls_reach_nobody() {
        let of = |error: rustls::Error| {
            LinkError::of_handshake(&io::Error::new(io::ErrorKind::InvalidData, error))
        };
        let portal = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        assert_eq!(of(portal), LinkError::NotHither);
        assert!(LinkError::NotHither.to_string().contains("login page"));
        let other = of(rustls::Error::General("BadDer".into())).to_string();
        assert!(!other.contains("BadDer"), "{other}");
    }
}
