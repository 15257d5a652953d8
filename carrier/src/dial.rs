//! Dialling a device: the arguments of a dial, and racing several addresses of one device ("happy
//! eyeballs", RFC 8305), of which the first that works wins.

use crate::bounds::{DIAL_STAGGER, DIAL_TIMEOUT, MAX_ADDRESSES};
use crate::error::LinkError;
use futures::StreamExt;
use futures::stream::{Empty, FuturesUnordered, Stream, empty};
use hither_proto::DeviceId;
use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use tokio::time::{Instant, sleep_until};

/// The kind of the other side of a dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PeerKind {
    /// Another device: the link is kept alive by itself.
    Device,
    /// A relay: the link is kept alive by the pings of its long connection, if at all.
    Relay,
}

/// The carriers that are dialled directly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direct {
    Quic,
    Tcp,
}

/// A dial of one device: at most the first 8 of its addresses, 5 s in all.
#[derive(Debug)]
pub struct Dial<'a, J = Empty<SocketAddr>> {
    pub(crate) device: DeviceId,
    pub(crate) addresses: &'a [SocketAddr],
    pub(crate) carrier: Direct,
    pub(crate) peer: PeerKind,
    pub(crate) joining: J,
}

impl<'a> Dial<'a> {
    /// A dial of `device` over QUIC.
    pub fn quic(device: DeviceId, addresses: &'a [SocketAddr]) -> Self {
        Self::over(Direct::Quic, device, addresses)
    }

    /// A dial of `device` over TCP. The connection that proves the identity becomes the link's
    /// first stream, if one is opened within 2 s.
    pub fn tcp(device: DeviceId, addresses: &'a [SocketAddr]) -> Self {
        Self::over(Direct::Tcp, device, addresses)
    }

    fn over(carrier: Direct, device: DeviceId, addresses: &'a [SocketAddr]) -> Self {
        Self {
            device,
            addresses,
            carrier,
            peer: PeerKind::Device,
            joining: empty(),
        }
    }
}

impl<'a, J> Dial<'a, J> {
    /// The same for a relay: a QUIC link is not kept alive by itself and lives through half an hour
    /// of silence, unless the relay's own limit is shorter; on TCP the kernel does not probe
    /// whether the relay is there.
    #[must_use]
    pub fn relay(mut self) -> Self {
        self.peer = PeerKind::Relay;
        self
    }

    /// The same; addresses that come out of `joining` while the device is being dialled, at most 8,
    /// are tried at once.
    #[must_use]
    pub fn joined<K: Stream<Item = SocketAddr>>(self, joining: K) -> Dial<'a, K> {
        Dial {
            device: self.device,
            addresses: self.addresses,
            carrier: self.carrier,
            peer: self.peer,
            joining,
        }
    }
}

/// Dials the first [`MAX_ADDRESSES`] addresses in their order: the next one when one before has
/// failed or after [`DIAL_STAGGER`]. Addresses that become known meanwhile, as many again, are
/// tried at once: they are recent, and those that do not answer may be old. Losers are dropped,
/// which must break them off.
pub(crate) async fn race<T, F>(
    addresses: &[SocketAddr],
    joining: impl Stream<Item = SocketAddr>,
    dial: impl Fn(SocketAddr) -> F,
) -> Result<T, LinkError>
where
    F: Future<Output = Result<T, LinkError>>,
{
    let mut joining = pin!(joining.fuse());
    let mut waiting: VecDeque<SocketAddr> = addresses.iter().copied().take(MAX_ADDRESSES).collect();
    let mut known: Vec<SocketAddr> = waiting.iter().copied().collect();
    let room = known.len() + MAX_ADDRESSES;
    let mut running = FuturesUnordered::new();
    let mut next = Instant::now();
    let deadline = next + DIAL_TIMEOUT;
    let mut failure = LinkError::NoAddress;
    loop {
        if (running.is_empty() || next <= Instant::now())
            && let Some(address) = waiting.pop_front()
        {
            running.push(dial(address));
            next = Instant::now() + DIAL_STAGGER;
        }
        if running.is_empty() {
            return Err(failure);
        }
        let wake = if waiting.is_empty() {
            deadline
        } else {
            next.min(deadline)
        };
        tokio::select! {
            biased;
            Some(ended) = running.next() => match ended {
                Ok(winner) => return Ok(winner),
                Err(error) => {
                    failure = worse(failure, error);
                    next = Instant::now();
                }
            },
            Some(address) = joining.next(), if known.len() < room => {
                if !known.contains(&address) {
                    known.push(address);
                    waiting.push_front(address);
                    next = Instant::now();
                }
            }
            () = sleep_until(wake) => if wake >= deadline {
                return Err(worse(failure, LinkError::TimedOut));
            },
        }
    }
}

/// The more informative of two failures: another device that answered, then a reason, then that
/// nobody answered.
fn worse(a: LinkError, b: LinkError) -> LinkError {
    let rank = |error: &LinkError| match error {
        LinkError::WrongDevice { .. } => 3,
        LinkError::NoAddress => 0,
        LinkError::TimedOut => 1,
        _ => 2,
    };
    if rank(&b) >= rank(&a) { b } else { a }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream::{iter, once};
    use std::time::Duration;
    use tokio::time::sleep;

    fn addresses(count: u16) -> Vec<SocketAddr> {
        (1..=count)
            .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_first_address_costs_one_stagger() {
        let start = Instant::now();
        let all = addresses(3);
        let won = race(&all, empty(), |address| async move {
            if address.port() == 1 {
                sleep(Duration::from_secs(60)).await;
            }
            sleep(Duration::from_millis(20)).await;
            Ok(address.port())
        });
        assert_eq!(won.await, Ok(2));
        assert_eq!(start.elapsed(), DIAL_STAGGER + Duration::from_millis(20));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_starts_the_next_at_once() {
        let start = Instant::now();
        let all = addresses(8);
        let won = race(&all, empty(), |address| async move {
            if address.port() < 8 {
                Err(LinkError::Unreachable("no".into()))
            } else {
                Ok(address.port())
            }
        });
        assert_eq!(won.await, Ok(8));
        assert!(start.elapsed() < DIAL_STAGGER);
    }

    #[tokio::test(start_paused = true)]
    async fn all_dead_ends_at_the_deadline_and_never_tries_more_than_eight() {
        let tried = std::cell::Cell::new(0);
        let start = Instant::now();
        let all = addresses(20);
        let lost = race::<(), _>(&all, empty(), |_| {
            tried.set(tried.get() + 1);
            std::future::pending()
        });
        assert_eq!(lost.await, Err(LinkError::TimedOut));
        assert_eq!(
            (start.elapsed(), tried.get()),
            (DIAL_TIMEOUT, MAX_ADDRESSES)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn no_address_and_the_most_telling_failure() {
        assert_eq!(
            race::<(), _>(&[], empty(), |_| std::future::pending()).await,
            Err(LinkError::NoAddress)
        );
        let found = crate::Identity::generate().unwrap().device_id();
        let all = addresses(3);
        let lost = race::<(), _>(&all, empty(), |address| async move {
            match address.port() {
                2 => Err(LinkError::WrongDevice { found }),
                _ => Err(LinkError::Unreachable("refused".into())),
            }
        });
        assert_eq!(lost.await, Err(LinkError::WrongDevice { found }));
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_joins_is_tried_at_once_and_before_those_that_wait() {
        let start = Instant::now();
        let all = addresses(8);
        let joining = once(async {
            sleep(Duration::from_millis(400)).await;
            SocketAddr::from(([127, 0, 0, 2], 9))
        });
        let tried = std::cell::RefCell::new(Vec::new());
        let won = race(&all, joining, |address| {
            tried.borrow_mut().push(address.port());
            async move {
                if address.port() == 9 {
                    Ok(9)
                } else {
                    std::future::pending().await
                }
            }
        });
        assert_eq!(won.await, Ok(9));
        assert_eq!(
            (start.elapsed(), tried.into_inner()),
            (Duration::from_millis(400), vec![1, 2, 3, 9])
        );
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_join_are_bounded_too_and_count_once() {
        let tried = std::cell::RefCell::new(Vec::new());
        let joining = iter(
            addresses(100)
                .into_iter()
                .flat_map(|address| [address, address]),
        );
        let (start, three) = (Instant::now(), addresses(3));
        let lost = race::<(), _>(&three, joining, |address| {
            tried.borrow_mut().push(address.port());
            std::future::pending()
        });
        assert_eq!(lost.await, Err(LinkError::TimedOut));
        let mut tried = tried.into_inner();
        tried.sort_unstable();
        assert_eq!(
            (start.elapsed(), tried),
            (DIAL_TIMEOUT, (1..=3 + MAX_ADDRESSES as u16).collect())
        );
    }
}
