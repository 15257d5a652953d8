//! This device as relays see it: its address as the routers before it translate it (RFC 4787).

use crate::links::look_up;
use crate::swarm::Swarm;
use futures::StreamExt;
use futures::stream::{FuturesUnordered, Stream};
use hither_proto::RelayAddress;
use std::net::SocketAddr;

/// Most relays that are asked where they see this device.
const MAX_ASKED: usize = 4;

/// The fate of this device's address on its way to relays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mapping {
    /// There is no relay that could tell.
    NoRelay,
    /// No relay answers over UDP.
    Silent,
    /// It is seen at an address of its own.
    Public(SocketAddr),
    /// It is seen at one address, which is a router's, by so many relays.
    Translated(SocketAddr, usize),
    /// Every relay sees it at another address: its router makes one for each destination.
    PerDestination(Vec<SocketAddr>),
}

impl Mapping {
    /// Judges by the addresses at which a device with `own` ones is seen.
    fn of(own: &[SocketAddr], asked: usize, seen: &[SocketAddr]) -> Self {
        // Those of the other family say nothing of a router for this one.
        let v4: Vec<SocketAddr> = seen.iter().copied().filter(SocketAddr::is_ipv4).collect();
        let of_one = if v4.is_empty() { seen } else { &v4 };
        match of_one {
            [] if asked == 0 => Self::NoRelay,
            [] => Self::Silent,
            [first, ..] if own.contains(first) => Self::Public(*first),
            [first, others @ ..] if others.iter().all(|other| other == first) => {
                Self::Translated(*first, of_one.len())
            }
            all => Self::PerDestination(all.to_vec()),
        }
    }
}

/// The addresses at which relays see this device's QUIC, as they answer: one of each family from
/// each relay.
pub(crate) fn seen_by(
    swarm: &Swarm,
    relays: impl Iterator<Item = RelayAddress>,
) -> impl Stream<Item = Vec<SocketAddr>> {
    let ask = async |relay: RelayAddress| {
        let places = look_up(&relay.udp).await;
        let of_family = |v4| {
            places
                .iter()
                .find(move |at: &&SocketAddr| at.is_ipv4() == v4)
        };
        let asked = [true, false].map(async |v4| match of_family(v4) {
            Some(at) => swarm.endpoint.mapped(*at).await,
            None => None,
        });
        let seen = futures::future::join_all(asked).await;
        seen.into_iter().flatten().collect()
    };
    relays
        .take(MAX_ASKED)
        .map(ask)
        .collect::<FuturesUnordered<_>>()
}

impl Swarm {
    /// Asks the relays that this device is connected to where they see it.
    pub async fn mapping(&self) -> Mapping {
        let joined = self.relays().map(|relays| relays.joined(self.device));
        let relays = joined.unwrap_or_default();
        let asked = relays.len();
        let seen: Vec<_> = seen_by(self, relays.into_iter().map(|relay| relay.address))
            .collect()
            .await;
        Mapping::of(&self.addresses(), asked, &seen.concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r7_what_relays_see_names_the_kind_of_router() {
        let at = |text: &str| -> SocketAddr { text.parse().unwrap() };
        let own = [at("192.168.1.7:47447"), at("[2001:db8::7]:47447")];
        let (a, b) = (at("203.0.113.1:47447"), at("203.0.113.1:40001"));
        let v6 = own[1];
        let of = |asked, seen: &[SocketAddr]| Mapping::of(&own, asked, seen);
        assert_eq!(of(0, &[]), Mapping::NoRelay);
        assert_eq!(of(2, &[]), Mapping::Silent);
        assert_eq!(of(1, &[own[0]]), Mapping::Public(own[0]));
        assert_eq!(of(1, &[v6]), Mapping::Public(v6));
        assert_eq!(of(2, &[v6, a, v6, a]), Mapping::Translated(a, 2));
        assert_eq!(of(2, &[a, b]), Mapping::PerDestination(vec![a, b]));
    }
}
