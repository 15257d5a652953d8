//! The first of all ways to a device that works: QUIC, TCP a moment later, a relay when neither
//! answers soon.
//!
//! Invariant: a device that discovery sees on this network is asked through a relay only when it
//! does not answer directly.

use super::{Links, opened};
use hither_carrier::bounds::DIAL_TIMEOUT;
use hither_carrier::{CarrierKind, Circuits, Link, LinkError, Stream as LinkStream};
use hither_proto::{DeviceId, ShareId};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// How long QUIC may go without an answer before TCP is tried beside it, where either will do.
/// Beyond the round trip of most links, so that TCP is dialled in vain seldom (RFC 8305 has 250 ms
/// for the same choice).
const HEAD_START: Duration = Duration::from_millis(300);
/// How long both may go without an answer before a relay is asked beside them: TCP has had time to
/// answer, and an index to say where the device is.
const DIRECT_FIRST: Duration = Duration::from_millis(600);
/// How long the better way may still answer when the other one has been faster: both may have
/// waited for the same address.
const PREFERENCE: Duration = Duration::from_millis(100);

type Opened = Result<(Link, LinkStream), LinkError>;

impl Links {
    /// A stream over whatever connects: directly (over TCP too if that `may` be used), or by
    /// `circuits`, for what is fetched of `share`, when nothing answers directly or not soon.
    pub(crate) async fn either(
        &self,
        device: DeviceId,
        may: bool,
        circuits: Option<(ShareId, Arc<dyn Circuits>)>,
    ) -> Opened {
        let Some((share, circuits)) = circuits else {
            return self.direct(device, may).await;
        };
        let mut direct = pin!(self.direct_once_known(device, may));
        let mut relayed = pin!(opened(self.relayed(device, share, circuits)));
        // Only silence makes it ask a relay for a device that is on this network.
        let first = if self.nearby().contains(&device) {
            DIAL_TIMEOUT
        } else {
            DIRECT_FIRST
        };
        match timeout(first, &mut direct).await {
            Ok(Ok(direct)) => return Ok(direct),
            Ok(Err(error)) => return relayed.await.map_err(|_| error),
            Err(_) => {}
        }
        tokio::select! {
            biased;
            answer = &mut direct => match answer {
                Ok(direct) => Ok(direct),
                Err(error) => relayed.await.map_err(|_| error),
            },
            answer = &mut relayed => match answer {
                Ok(relayed) => Ok(preferred(direct).await.unwrap_or(relayed)),
                // Nobody may ever say where it is.
                Err(error) => timeout(DIAL_TIMEOUT, direct).await.unwrap_or(Err(error)),
            },
        }
    }

    /// The same as [`direct`](Self::direct) as soon as something is known of where the device is.
    ///
    /// An index or discovery may be about to tell. What else is heard in the first moment is not
    /// acted upon: an index also tells who else has what is wanted, maybe for less, and who is
    /// asked first is asked for much.
    async fn direct_once_known(&self, device: DeviceId, may: bool) -> Opened {
        let (mut moves, soon) = (self.moves(), Instant::now() + DIRECT_FIRST);
        let mut patient = self.is_lost(device);
        while self.is_lost(device) || (patient && !self.is_told_of(device)) {
            tokio::select! {
                // An error means that the daemon ends.
                moved = moves.changed() => moved.map_err(|_| LinkError::Closed)?,
                () = sleep_until(soon), if patient => patient = false,
            }
        }
        self.direct(device, may).await
    }

    /// A stream over whatever connects directly: QUIC, or TCP (if that `may` be used) when QUIC
    /// fails or does not answer soon; the other way round where TCP was found to carry more.
    pub(crate) async fn direct(&self, device: DeviceId, may: bool) -> Opened {
        let quic = opened(self.quic(device));
        if !may {
            return quic.await;
        }
        // With its stream: only that tells of a TCP link from before whether it is still one.
        let tcp = opened(self.tcp(device, None));
        let first = self.paths().first(device);
        let opened = match first {
            Some(CarrierKind::Tcp) => raced(tcp, quic).await,
            _ => raced(quic, tcp).await,
        }?;
        self.paths().dialled(device, first, opened.0.carrier());
        Ok(opened)
    }
}

/// The better of two ways, or the other one when that fails or does not answer soon.
async fn raced(
    better: impl Future<Output = Opened>,
    other: impl Future<Output = Opened>,
) -> Opened {
    let (mut better, mut other) = (pin!(better), pin!(other));
    match timeout(HEAD_START, &mut better).await {
        Ok(Ok(better)) => return Ok(better),
        Ok(Err(error)) => return other.await.map_err(|_| error),
        Err(_) => {}
    }
    tokio::select! {
        biased;
        answer = &mut better => match answer {
            Ok(better) => Ok(better),
            Err(error) => other.await.map_err(|_| error),
        },
        answer = &mut other => match answer {
            Ok(other) => Ok(preferred(better).await.unwrap_or(other)),
            Err(_) => better.await,
        },
    }
}

/// The better of two ways, if it still answers.
async fn preferred(better: impl Future<Output = Opened>) -> Option<(Link, LinkStream)> {
    timeout(PREFERENCE, better).await.ok().and_then(Result::ok)
}
