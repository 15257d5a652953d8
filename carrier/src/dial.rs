//! Racing several addresses of one device ("happy eyeballs", RFC 8305): the first that works wins.

use crate::bounds::{DIAL_STAGGER, DIAL_TIMEOUT, MAX_ADDRESSES};
use crate::error::LinkError;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::future::Future;
use std::net::SocketAddr;
use tokio::time::{Instant, timeout_at};

/// Dials the first [`MAX_ADDRESSES`] addresses in their order: the next one when the ones before have failed or after
/// [`DIAL_STAGGER`]. Losers are dropped, which must break them off.
pub(crate) async fn race<T, F>(
    addresses: &[SocketAddr],
    dial: impl Fn(SocketAddr) -> F,
) -> Result<T, LinkError>
where
    F: Future<Output = Result<T, LinkError>>,
{
    let mut waiting = addresses.iter().copied().take(MAX_ADDRESSES);
    let mut running = FuturesUnordered::new();
    let deadline = Instant::now() + DIAL_TIMEOUT;
    let mut failure = LinkError::NoAddress;
    let mut more = true;
    loop {
        match waiting.next() {
            Some(address) => running.push(dial(address)),
            None => more = false,
        }
        if running.is_empty() {
            return Err(failure);
        }
        let next = if more { deadline.min(Instant::now() + DIAL_STAGGER) } else { deadline };
        match timeout_at(next, running.next()).await {
            Ok(Some(Ok(winner))) => return Ok(winner),
            Ok(Some(Err(error))) => failure = worse(failure, error),
            Ok(None) => {}
            Err(_) if next >= deadline => return Err(worse(failure, LinkError::TimedOut)),
            Err(_) => {}
        }
    }
}

/// Of two failures the one that tells more: who answered instead, then why, then that nobody did.
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
    use std::time::Duration;
    use tokio::time::sleep;

    fn addresses(count: u16) -> Vec<SocketAddr> {
        (1..=count).map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_first_address_costs_one_stagger() {
        let start = Instant::now();
        let all = addresses(3);
        let won = race(&all, |address| async move {
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
        let won = race(&all, |address| async move {
            if address.port() < 8 { Err(LinkError::Unreachable("no".into())) } else { Ok(address.port()) }
        });
        assert_eq!(won.await, Ok(8));
        assert!(start.elapsed() < DIAL_STAGGER);
    }

    #[tokio::test(start_paused = true)]
    async fn all_dead_ends_at_the_deadline_and_never_tries_more_than_eight() {
        let tried = std::cell::Cell::new(0);
        let start = Instant::now();
        let all = addresses(20);
        let lost = race::<(), _>(&all, |_| {
            tried.set(tried.get() + 1);
            std::future::pending()
        });
        assert_eq!(lost.await, Err(LinkError::TimedOut));
        assert_eq!((start.elapsed(), tried.get()), (DIAL_TIMEOUT, MAX_ADDRESSES));
    }

    #[tokio::test(start_paused = true)]
    async fn no_address_and_the_most_telling_failure() {
        assert_eq!(race::<(), _>(&[], |_| std::future::pending()).await, Err(LinkError::NoAddress));
        let found = crate::Identity::generate().unwrap().device_id();
        let all = addresses(3);
        let lost = race::<(), _>(&all, |address| async move {
            match address.port() {
                2 => Err(LinkError::WrongDevice { found }),
                _ => Err(LinkError::Unreachable("refused".into())),
            }
        });
        assert_eq!(lost.await, Err(LinkError::WrongDevice { found }));
    }
}
