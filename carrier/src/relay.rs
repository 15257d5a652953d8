//! Dialling a relay: its names are looked up, QUIC is tried first, and TCP when QUIC does not
//! answer soon (UDP is blocked in many networks).

use crate::bounds::{DIAL_TIMEOUT, MAX_ADDRESSES};
use crate::dial::Dial;
use crate::endpoint::Endpoint;
use crate::error::LinkError;
use crate::link::Link;
use futures::future::join_all;
use hither_proto::{Host, HostPort, RelayAddress};
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;
use tokio::net::lookup_host;
use tokio::time::{sleep, timeout};

/// Longest wait for the addresses of a name.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// How long QUIC is tried alone: a handshake across the world takes about a third of a second.
const TCP_AFTER: Duration = Duration::from_millis(700);

impl Endpoint {
    /// Dials a relay at any of its addresses: over QUIC, and over TCP too when QUIC has failed or
    /// has not answered after 700 ms. Names are looked up first, 5 s at most; the dial takes 5
    /// s at most from then on.
    ///
    /// The link is not kept alive by itself: on its long connection a device pings.
    pub async fn connect_relay(&self, relay: &RelayAddress) -> Result<Link, LinkError> {
        let (udp, tcp) = futures::join!(resolve(&relay.udp), resolve(&relay.tcp));
        let mut quic = pin!(self.dial(Dial::quic(relay.key, &udp).relay()));
        let failure = tokio::select! {
            biased;
            dialled = &mut quic => match dialled {
                Ok(link) => return Ok(link),
                Err(error) => Some(error),
            },
            () = sleep(TCP_AFTER) => None,
        };
        let mut tcp = pin!(self.dial(Dial::tcp(relay.key, &tcp).relay()));
        if let Some(failure) = failure {
            return tcp.await.map_err(|error| telling(failure, error));
        }
        tokio::select! {
            dialled = &mut quic => match dialled {
                Ok(link) => Ok(link),
                Err(failure) => tcp.await.map_err(|error| telling(failure, error)),
            },
            dialled = &mut tcp => match dialled {
                Ok(link) => Ok(link),
                Err(failure) => {
                    let rest = timeout(DIAL_TIMEOUT, quic).await;
                    rest.unwrap_or(Err(LinkError::TimedOut)).map_err(|error| telling(failure, error))
                }
            },
        }
    }
}

/// The more informative of two failures.
fn telling(first: LinkError, second: LinkError) -> LinkError {
    match (&first, &second) {
        (LinkError::NoAddress | LinkError::NoCarrier, _) => second,
        (LinkError::WrongDevice { .. }, _) => first,
        (_, LinkError::NoAddress | LinkError::NoCarrier) => first,
        _ => second,
    }
}

/// The addresses behind `host:port` texts, in their order, at most eight. A name that is not found
/// has none.
async fn resolve(places: &[HostPort]) -> Vec<SocketAddr> {
    let each = join_all(places.iter().take(MAX_ADDRESSES).map(|place| async move {
        match place.host() {
            Host::Ip(ip) => vec![SocketAddr::new(*ip, place.port())],
            Host::Name(name) => look_up(name, place.port()).await,
        }
    }));
    let mut found = Vec::new();
    for address in each.await.into_iter().flatten() {
        if found.len() < MAX_ADDRESSES && !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

async fn look_up(name: &str, port: u16) -> Vec<SocketAddr> {
    match timeout(LOOKUP_TIMEOUT, lookup_host((name, port))).await {
        Ok(Ok(addresses)) => addresses.take(MAX_ADDRESSES).collect(),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a relay's name was not found");
            Vec::new()
        }
        Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_and_addresses_are_resolved_in_order_and_once() {
        let places = [
            "127.0.0.1:7",
            "localhost:7",
            "nowhere.invalid:7",
            "[::1]:9",
            "127.0.0.1:7",
        ];
        let places: Vec<HostPort> = places.iter().map(|place| place.parse().unwrap()).collect();
        let found = resolve(&places).await;
        assert_eq!(found[0], "127.0.0.1:7".parse().unwrap());
        assert_eq!(*found.last().unwrap(), "[::1]:9".parse().unwrap());
        assert_eq!(
            found.iter().filter(|address| **address == found[0]).count(),
            1
        );
    }

    #[test]
    fn the_failure_that_says_more_is_told() {
        let broken = LinkError::Broken("x".into());
        assert_eq!(telling(LinkError::NoAddress, broken.clone()), broken);
        assert_eq!(telling(broken.clone(), LinkError::NoAddress), broken);
        assert_eq!(telling(LinkError::TimedOut, broken.clone()), broken);
    }
}
