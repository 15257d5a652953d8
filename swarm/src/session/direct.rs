//! From a relay to a direct way: while a session leads through a relay, a direct way is looked for,
//! and the session moves to it when there is one. Data on its way through the relay comes to its
//! end there; the circuits stay ready.
//!
//! A direct way is tried at once, whenever more is known of where the device is, and now and then.

use super::Control;
use crate::handshake::greet_device;
use crate::punching;
use crate::shares::Share;
use crate::swarm::Swarm;
use hither_carrier::{Link, MessageReader};
use hither_proto::limits::MAX_FRAME_UNPROVEN;
use hither_proto::{DeviceId, Message, Purpose, SignedHead};
use hither_util::backoff::Pauses;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Pause between attempts while there is no news of the device: the first one, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// A control stream on a direct link, that takes the place of the one through the relay.
pub(super) struct Moved {
    pub(super) link: Link,
    pub(super) control: Control,
    pub(super) head: SignedHead,
    /// It listens for TCP as well.
    pub(super) tcp: bool,
}

/// A search for a direct way to the device of one session.
pub(super) struct Look {
    pub(super) swarm: Arc<Swarm>,
    pub(super) share: Arc<Share>,
    pub(super) device: DeviceId,
    /// The way to the device through the relay.
    pub(super) out: mpsc::UnboundedSender<Message>,
}

impl Look {
    /// Looks until there is one, which comes out of `found`, or `close`.
    pub(super) async fn run(self, found: mpsc::Sender<Moved>, close: CancellationToken) {
        tokio::select! {
            moved = self.search() => {
                let _ = found.send(moved).await; // The session may be over.
            }
            () = self.punch() => {}
            () = close.cancelled() => {}
        }
    }

    /// Dials whenever more is known, and now and then.
    async fn search(&self) -> Moved {
        let Self { swarm, device, .. } = self;
        let (mut moves, mut network) = (swarm.links.moves(), swarm.network());
        let mut pauses = Pauses::new(PAUSE.0, PAUSE.1);
        loop {
            moves.mark_unchanged();
            let before = swarm.links.whereabouts(*device);
            match attempt(swarm, &self.share, *device).await {
                Ok(moved) => return moved,
                Err(error) => tracing::debug!(?device, error, "no direct way"),
            }
            let news = async {
                // Others move too.
                while swarm.links.whereabouts(*device) == before {
                    tokio::select! {
                        Ok(()) = moves.changed() => {}
                        Ok(()) = network.changed() => return,
                    }
                }
            };
            if timeout(pauses.next(), news).await.is_ok() {
                pauses.reset();
            }
        }
    }

    /// Has both sides check each other's candidates, again after pauses and on every other network.
    /// Runs until it is dropped.
    async fn punch(&self) {
        let mut network = self.swarm.network();
        let mut pauses = Pauses::new(PAUSE.0, PAUSE.1);
        loop {
            network.mark_unchanged();
            let on_another = tokio::select! {
                () = punching::seek(&self.swarm, self.share.id, self.device, &self.out) => {
                    matches!(timeout(pauses.next(), network.changed()).await, Ok(Ok(())))
                }
                Ok(()) = network.changed() => true,
            };
            if on_another {
                pauses.reset();
            }
        }
    }
}

async fn attempt(swarm: &Swarm, share: &Share, device: DeviceId) -> Result<Moved, String> {
    let (link, mut stream) = swarm
        .links
        .direct(device, swarm.tcp)
        .await
        .map_err(|error| error.to_string())?;
    let mut reader = MessageReader::new(MAX_FRAME_UNPROVEN);
    let greeted = greet_device(&mut stream, &mut reader, share, Purpose::Control).await;
    let (opened, head) = greeted.map_err(|error| error.to_string())?;
    let tcp = opened.tcp_port.is_some();
    swarm
        .links
        .introduced(device, opened.device_name.clone(), opened.tcp_port);
    Ok(Moved {
        link,
        control: Control {
            send: stream.send,
            recv: stream.recv,
            reader,
        },
        head,
        tcp,
    })
}
