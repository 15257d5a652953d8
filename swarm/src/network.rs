//! When the network under us becomes another one: addresses came or went, or the machine slept.
//!
//! The system tells when addresses change (on Linux, by a netlink socket; elsewhere they are looked
//! at every few seconds). That the machine slept shows in the wall clock, which goes on meanwhile,
//! unlike the monotonic one.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::watch;

/// How often the clocks are compared, and the addresses where the system does not tell of changes.
const LOOK: Duration = Duration::from_secs(5);
/// A wall clock that went ahead of the monotonic one by so much means that the machine slept (or
/// was set: no harm done).
const SLEPT: Duration = Duration::from_secs(10);
/// Changes come in groups: an address, its route, the next one. They are looked at when it has been
/// quiet for so long.
#[cfg(target_os = "linux")]
const SETTLE: Duration = Duration::from_millis(300);

/// Most changes that are waited for: a network that never settles is looked at all the same.
#[cfg(target_os = "linux")]
const MAX_SETTLING: u32 = 100;

/// This device's addresses on interfaces that are connected, without those that lead to itself: an
/// interface whose cable was pulled keeps its addresses, and nothing reaches them.
pub fn addresses() -> BTreeSet<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    interfaces
        .into_iter()
        .filter(|interface| !interface.is_loopback() && interface.is_oper_up())
        .map(|interface| interface.ip())
        .collect()
}

/// The facts that are compared from one look to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Look {
    addresses: BTreeSet<IpAddr>,
    wall: SystemTime,
    monotonic: Instant,
}

impl Look {
    fn now() -> Self {
        Self {
            addresses: addresses(),
            wall: SystemTime::now(),
            monotonic: Instant::now(),
        }
    }

    /// Returns whether connections that worked at the time of `before` may not work any more.
    fn differs(&self, before: &Self) -> bool {
        let wall = self.wall.duration_since(before.wall).unwrap_or_default();
        let monotonic = self.monotonic.saturating_duration_since(before.monotonic);
        self.addresses != before.addresses || wall > monotonic + SLEPT
    }
}

/// Counts up in `changes` whenever the network may be another one. Runs until it is dropped.
pub(crate) async fn watch(changes: watch::Sender<u64>) {
    let mut bell = Bell::new();
    let mut last = Look::now();
    loop {
        bell.rung_or(LOOK).await;
        let look = Look::now();
        if look.differs(&last) {
            tracing::info!("the network changed");
            changes.send_modify(|count| *count += 1);
        }
        last = look;
    }
}

/// The socket that the system rings. Tokio reads any socket of datagrams by this type; it never is
/// one of Unix' own family here.
#[cfg(target_os = "linux")]
struct Bell(Option<tokio::net::UnixDatagram>);

#[cfg(target_os = "linux")]
impl Bell {
    /// A netlink socket that is told of addresses (rtnetlink(7)); what exactly it is told does not
    /// matter.
    fn new() -> Self {
        match Self::open() {
            Ok(socket) => Self(Some(socket)),
            Err(error) => {
                tracing::debug!(%error, "the system does not tell of changes of the network");
                Self(None)
            }
        }
    }

    fn open() -> std::io::Result<tokio::net::UnixDatagram> {
        use rustix::net::netlink::SocketAddrNetlink;
        use rustix::net::{AddressFamily, SocketFlags, SocketType};
        /// `RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR` of `linux/rtnetlink.h`.
        const GROUPS: u32 = 0x1 | 0x10 | 0x100;
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        // No protocol is number 0, NETLINK_ROUTE.
        let socket =
            rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        tokio::net::UnixDatagram::from_std(socket.into())
    }

    /// Waits until something changed and has settled, or `timeout`.
    async fn rung_or(&mut self, timeout: Duration) {
        let Some(socket) = &self.0 else {
            return tokio::time::sleep(timeout).await;
        };
        let mut waste = [0_u8; 4096];
        // An error means that some of it was lost: something changed all the same.
        if tokio::time::timeout(timeout, socket.recv(&mut waste))
            .await
            .is_ok()
        {
            for _ in 0..MAX_SETTLING {
                if tokio::time::timeout(SETTLE, socket.recv(&mut waste))
                    .await
                    .is_err()
                {
                    break;
                }
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
struct Bell;

#[cfg(not(target_os = "linux"))]
impl Bell {
    fn new() -> Self {
        Self
    }

    async fn rung_or(&mut self, timeout: Duration) {
        tokio::time::sleep(timeout).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look() -> Look {
        let addresses = BTreeSet::from(["192.0.2.7".parse().unwrap()]);
        Look {
            addresses,
            wall: SystemTime::now(),
            monotonic: Instant::now(),
        }
    }

    fn later(look: &Look, wall: u64, monotonic: u64) -> Look {
        Look {
            addresses: look.addresses.clone(),
            wall: look.wall + Duration::from_secs(wall),
            monotonic: look.monotonic + Duration::from_secs(monotonic),
        }
    }

    #[test]
    fn addresses_that_come_or_go_are_a_change() {
        let before = look();
        let mut after = later(&before, 5, 5);
        assert!(!after.differs(&before));
        after.addresses.insert("192.0.2.8".parse().unwrap());
        assert!(after.differs(&before));
        assert!(before.differs(&after));
    }

    #[test]
    fn a_wall_clock_that_ran_ahead_means_that_the_machine_slept() {
        let before = look();
        assert!(later(&before, 3600, 5).differs(&before));
        assert!(
            !later(&before, 12, 5).differs(&before),
            "clocks are corrected by seconds"
        );
        let set_back = Look {
            wall: before.wall - Duration::from_secs(3600),
            ..later(&before, 0, 5)
        };
        assert!(!set_back.differs(&before));
    }

    #[tokio::test]
    async fn without_a_change_a_look_comes_after_its_time() {
        let mut bell = Bell::new();
        tokio::time::timeout(
            Duration::from_secs(60),
            bell.rung_or(Duration::from_millis(20)),
        )
        .await
        .unwrap();
    }
}
