//! Ways to a relay: names are resolved, QUIC and TCP raced, and a stream of one purpose begun.

use futures::future::join_all;
use hither_carrier::{
    CarrierKind, Endpoint, FramingError, Link, LinkError, RelayReader, Stream, write_message,
    write_relay_message,
};
use hither_proto::limits::{MAX_RELAY_FRAME, PROTOCOL};
use hither_proto::{
    Host, HostPort, Invitation, Message, RelayAddress, RelayMessage, RelayPurpose, RelayRefusal,
    Welcome,
};
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How far TCP is behind QUIC: where UDP is blocked nothing more is lost.
const STAGGER: Duration = Duration::from_millis(300);
/// How long QUIC may still take when TCP was turned away: a relay that is down shall not cost a
/// whole timeout.
const GRACE: Duration = Duration::from_millis(1500);
/// The TCP port that firewalls let through; tried beside the relay's own.
const HTTPS: u16 = 443;
/// Longest wait for the resolver.
const RESOLVE: Duration = Duration::from_secs(5);
/// Longest wait for an answer of the relay.
const ANSWER: Duration = Duration::from_secs(10);
/// Most addresses that are dialled on one carrier.
const MAX_DIALLED: usize = hither_carrier::bounds::MAX_ADDRESSES;

/// Why a relay cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// No name of it has an address.
    #[error("the name {host} cannot be resolved")]
    Resolve {
        /// The name.
        host: String,
    },
    /// It cannot be reached, or is somebody else.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The stream broke.
    #[error("the connection broke: {0}")]
    Broken(#[from] FramingError),
    /// It ended the stream without a reason.
    #[error("the relay ended the connection")]
    Ended,
    /// It sent a message that has no place here.
    #[error("the relay answered something else than expected")]
    Unexpected,
    /// It did not answer.
    #[error("the relay did not answer in time")]
    Silent,
    /// It refused.
    #[error(transparent)]
    Refused(RelayRefusal),
}

impl From<std::io::Error> for RelayError {
    fn from(error: std::io::Error) -> Self {
        Self::Broken(error.into())
    }
}

/// A stream to a relay on which its purpose was sent.
#[derive(Debug)]
pub struct RelayStream {
    /// The link that the stream is on. Close it when nothing else is done on it.
    pub link: Link,
    /// The stream.
    pub stream: Stream,
    /// Reads frames from it.
    pub reader: RelayReader,
}

/// A link to a relay (or a store), on the carrier that works: QUIC first, TCP a moment later, and
/// another one later TCP on port 443, which more firewalls let through. TCP comes first where it
/// was found to carry more. Takes 5 s at most for names and 6 s for the rest.
pub async fn dial(endpoint: &Endpoint, relay: &RelayAddress) -> Result<Link, RelayError> {
    let (udp, tcp) = tokio::join!(resolve(&relay.udp), resolve(&relay.tcp));
    if udp.is_empty() && tcp.is_empty() {
        let name = relay
            .udp
            .iter()
            .chain(&relay.tcp)
            .find_map(|at| match at.host() {
                Host::Name(name) => Some(name.clone()),
                Host::Ip(_) => None,
            });
        return Err(
            name.map_or(LinkError::NoAddress.into(), |host| RelayError::Resolve {
                host,
            }),
        );
    }
    let https = https(&tcp);
    // Another service on that port proves nothing about the relay.
    let by_https = async {
        endpoint
            .dial(hither_carrier::Dial::tcp(relay.key, &https).relay())
            .await
            .map_err(|_| LinkError::NoAddress)
    };
    let by_tcp = race(
        endpoint.dial(hither_carrier::Dial::tcp(relay.key, &tcp).relay()),
        by_https,
    );
    let by_quic = endpoint.dial(hither_carrier::Dial::quic(relay.key, &udp).relay());
    let first = endpoint.paths().first(relay.key);
    let link = match first {
        Some(CarrierKind::Tcp) => race(by_tcp, by_quic).await,
        _ => race(by_quic, by_tcp).await,
    }?;
    endpoint.paths().dialled(relay.key, first, link.carrier());
    Ok(link)
}

/// The first of two that works; the second begins [`STAGGER`] behind the first, or when that has
/// failed.
async fn race<T>(
    first: impl Future<Output = Result<T, LinkError>>,
    second: impl Future<Output = Result<T, LinkError>>,
) -> Result<T, LinkError> {
    let (mut first, mut second) = (pin!(first), pin!(second));
    tokio::select! {
        done = &mut first => return match done {
            Ok(done) => Ok(done),
            Err(why) => second.await.map_err(|other| telling(why, other)),
        },
        () = sleep(STAGGER) => {}
    }
    tokio::select! {
        done = &mut first => match done {
            Ok(done) => Ok(done),
            Err(why) => second.await.map_err(|other| telling(why, other)),
        },
        done = &mut second => match done {
            Ok(done) => Ok(done),
            Err(why) => {
                // A host that turns TCP away at once is awake, and QUIC would have been answered by
                // now.
                let patience = if matches!(why, LinkError::Unreachable(_)) { GRACE } else { ANSWER };
                let first = timeout(patience, first).await.unwrap_or(Err(LinkError::TimedOut));
                first.map_err(|other| telling(other, why))
            }
        },
    }
}

/// Returns the more specific of two reasons.
fn telling(quic: LinkError, tcp: LinkError) -> LinkError {
    let rank = |error: &LinkError| match error {
        LinkError::WrongDevice { .. } => 4,
        LinkError::NotHither => 3,
        LinkError::TimedOut => 1,
        LinkError::NoCarrier | LinkError::NoAddress => 0,
        _ => 2,
    };
    if rank(&quic) > rank(&tcp) { quic } else { tcp }
}

/// The addresses behind some names, in their order, both families alternating as the resolver gives
/// them.
async fn resolve(places: &[HostPort]) -> Vec<SocketAddr> {
    let found = join_all(places.iter().map(async |place| {
        match place.host() {
            Host::Ip(ip) => vec![SocketAddr::new(*ip, place.port())],
            Host::Name(name) => {
                match timeout(
                    RESOLVE,
                    tokio::net::lookup_host((name.as_str(), place.port())),
                )
                .await
                {
                    Ok(Ok(found)) => found.collect(),
                    Ok(Err(_)) | Err(_) => Vec::new(),
                }
            }
        }
    }));
    let mut all: Vec<SocketAddr> = Vec::new();
    for address in found.await.into_iter().flatten() {
        if !all.contains(&address) && all.len() < MAX_DIALLED {
            all.push(address);
        }
    }
    all
}

/// Port 443 of the same hosts, where that is not tried anyway.
fn https(tcp: &[SocketAddr]) -> Vec<SocketAddr> {
    let mut https: Vec<SocketAddr> = Vec::new();
    for address in tcp.iter().map(|at| SocketAddr::new(at.ip(), HTTPS)) {
        if !tcp.contains(&address) && !https.contains(&address) {
            https.push(address);
        }
    }
    https
}

/// Begins a stream of one purpose on a link.
pub async fn open(link: Link, purpose: RelayPurpose) -> Result<RelayStream, RelayError> {
    let mut stream = link.open().await?;
    let open = Message::RelayOpen {
        protocol: PROTOCOL,
        purpose: Some(purpose),
    };
    write_message(&mut stream.send, &open).await?;
    Ok(RelayStream {
        link,
        stream,
        reader: RelayReader::new(MAX_RELAY_FRAME),
    })
}

impl RelayStream {
    /// Sends a message.
    pub async fn send(&mut self, message: &RelayMessage) -> Result<(), RelayError> {
        Ok(write_relay_message(&mut self.stream.send, message).await?)
    }

    /// The next message; a refusal is an error.
    pub async fn next(&mut self) -> Result<RelayMessage, RelayError> {
        match timeout(ANSWER, self.reader.next(&mut self.stream.recv)).await {
            Err(_) => Err(RelayError::Silent),
            Ok(Ok(Some(RelayMessage::Refused(refusal)))) => Err(RelayError::Refused(refusal)),
            Ok(Ok(Some(message))) => Ok(message),
            Ok(Ok(None)) => Err(RelayError::Ended),
            Ok(Err(error)) => Err(error.into()),
        }
    }
}

/// Asks which relays to use.
pub(crate) async fn assign(link: Link) -> Result<Vec<RelayAddress>, RelayError> {
    let mut stream = open(link, RelayPurpose::Assign).await?;
    stream.send(&RelayMessage::Assign).await?;
    match stream.next().await? {
        RelayMessage::Assigned { relays } => Ok(relays),
        _ => Err(RelayError::Unexpected),
    }
}

/// Begins the long connection. `instance`: of [`hither_swarm::Twins`].
pub(crate) async fn hello(
    link: Link,
    invitation: Option<Invitation>,
    instance: u64,
) -> Result<(RelayStream, Welcome), RelayError> {
    let mut stream = open(link, RelayPurpose::Device).await?;
    stream
        .send(&RelayMessage::Hello {
            invitation,
            instance,
        })
        .await?;
    match stream.next().await? {
        RelayMessage::Welcome(welcome) => Ok((stream, *welcome)),
        _ => Err(RelayError::Unexpected),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn blocked_udp_costs_one_stagger_and_a_failure_nothing() {
        let start = Instant::now();
        let blocked = std::future::pending::<Result<u8, LinkError>>();
        assert_eq!(race(blocked, async { Ok(2) }).await, Ok(2));
        assert_eq!(start.elapsed(), STAGGER);
        let start = Instant::now();
        assert_eq!(
            race(async { Err(LinkError::NoCarrier) }, async { Ok(2) }).await,
            Ok(2)
        );
        assert_eq!(start.elapsed(), Duration::ZERO);
        let slow = async {
            sleep(STAGGER * 2).await;
            Ok(1)
        };
        assert_eq!(race(slow, async { Err(LinkError::Closed) }).await, Ok(1));
    }

    #[tokio::test]
    async fn when_both_fail_the_reason_that_says_more_is_told() {
        let refused = || LinkError::Unreachable("refused".into());
        let both = race::<()>(async { Err(LinkError::TimedOut) }, async { Err(refused()) }).await;
        assert_eq!(both, Err(refused()));
        let found = hither_carrier::Identity::generate().unwrap().device_id();
        let both = race::<()>(async { Err(LinkError::WrongDevice { found }) }, async {
            Err(refused())
        })
        .await;
        assert_eq!(both, Err(LinkError::WrongDevice { found }));
    }

    #[tokio::test]
    async fn places_are_resolved_once_each_and_443_is_tried_too() {
        let places: Vec<HostPort> = ["127.0.0.1:5", "127.0.0.1:5", "[::1]:6"]
            .map(|text| text.parse().unwrap())
            .to_vec();
        let found = resolve(&places).await;
        assert_eq!(
            found,
            ["127.0.0.1:5".parse().unwrap(), "[::1]:6".parse().unwrap()]
        );
        let texts: Vec<String> = https(&found).iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["127.0.0.1:443", "[::1]:443"]);
        assert!(https(&https(&found)).is_empty());
    }
}
