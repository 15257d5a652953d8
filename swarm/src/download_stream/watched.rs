//! A download stream looks at itself from beside: whether anything comes, how much, and what is to
//! be done when it is too little.

use super::DownloadStream;
use crate::links::watching::{Verdict, Watch};
use hither_carrier::{CarrierKind, Progress, SendHalf, Stream, write_message};
use hither_engine::Carrier;
use hither_proto::{DeviceId, Message};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::sleep;

/// The most bytes that come over a way that takes no long packets: greetings and answers.
const FEW: u64 = 16 * 1024;
/// How often a download is left for another carrier, or a circuit for a new one, in one session at
/// most: it may be that no better one takes its place.
const MAX_LEFT: u32 = 3;
/// How long a relay may take to acknowledge a word.
const ACKNOWLEDGED: Duration = Duration::from_millis(750);

/// The streams of a download, as one way that is watched.
pub(super) struct Watched {
    watch: Watch,
    via: (DeviceId, CarrierKind),
    pub(super) progress: Vec<Progress>,
    /// Bytes that had arrived at the last look.
    seen: u64,
    /// Bytes that had arrived at the last silence, and silences since something did.
    silences: (u64, u32),
    /// Something was expected at the last look.
    pub(super) busy: bool,
}

impl Watched {
    pub(super) fn new(download: &DownloadStream, stream: &Stream) -> Self {
        let watch = Watch::new(download.swarm.links.paths(), stream.via);
        Self {
            watch,
            via: stream.via,
            progress: Vec::new(),
            seen: 0,
            silences: (0, 0),
            busy: false,
        }
    }

    fn received(&self) -> u64 {
        self.progress.iter().map(Progress::received).sum()
    }

    /// Silent again: returns how often since something came.
    fn silences(&mut self, received: u64) -> u32 {
        let (before, count) = self.silences;
        self.silences = (received, if before == received { count + 1 } else { 1 });
        self.silences.1
    }

    /// Packets that have arrived.
    fn heard(&self) -> u64 {
        self.progress.iter().filter_map(Progress::heard).sum()
    }
}

impl DownloadStream {
    /// Looks how far it is; returns why the way is to be left, if it is.
    pub(super) async fn look(
        &self,
        watched: &mut Watched,
        senders: &mut [SendHalf],
        expected: bool,
    ) -> Option<&'static str> {
        watched.busy = expected;
        let received = watched.received();
        if std::mem::replace(&mut watched.seen, received) != received {
            let (share, device) = (self.share.id, self.device);
            self.swarm
                .core
                .with(|engine, now| engine.handle_moving(share, device, now));
        }
        match watched.watch.look(received, expected) {
            Verdict::Stay => None,
            Verdict::Silent => self.silent(watched, senders, received).await,
            Verdict::Leave => {
                let (links, device) = (&self.swarm.links, self.device);
                let another = match self.carrier {
                    Carrier::Quic => links.has(device, CarrierKind::Tcp),
                    Carrier::Tcp => links.has(device, CarrierKind::Quic),
                    // The next circuit goes over the other one.
                    Carrier::Relayed => true,
                };
                (another && self.may_leave()).then_some("another carrier may carry more")
            }
        }
    }

    /// Nothing has come for a second: finds out whether the way still leads anywhere. The other
    /// device may have lost its end of it, which it cannot say over it; a network may have
    /// begun to swallow what it let through; or it lets only short packets through.
    async fn silent(
        &self,
        watched: &mut Watched,
        senders: &mut [SendHalf],
        received: u64,
    ) -> Option<&'static str> {
        let (links, device) = (&self.swarm.links, self.device);
        let (remote, carrier) = watched.via;
        match self.carrier {
            // The link is closed if it leads nowhere, and this download ends with it.
            Carrier::Quic => {
                let of = Arc::clone(&self.swarm);
                self.swarm
                    .tasks
                    .spawn(async move { of.links.suspect(device).await });
                return None;
            }
            Carrier::Tcp if self.is_swallowed().await => {
                return Some("nothing gets through any more");
            }
            Carrier::Relayed if carrier == CarrierKind::Quic => {
                let heard = watched.heard();
                for send in senders {
                    // Nobody knows of such a request: it is acknowledged on the way and no more.
                    write_message(send, &Message::Cancel { request: u64::MAX })
                        .await
                        .ok()?;
                }
                sleep(ACKNOWLEDGED).await;
                if watched.heard() == heard {
                    links.paths().stalled(remote, carrier);
                    return Some("nothing gets through to the relay any more");
                }
                // A burst may be lost of which too little is left to go on by: the next circuit
                // goes over the other carrier, once.
                if links.paths().outdone(remote, carrier, 0.0) && self.may_leave() {
                    return Some("another carrier may carry more");
                }
            }
            Carrier::Tcp | Carrier::Relayed => {}
        }
        // So it is where nothing long has come, where QUIC does not get through either, and where
        // the silence lasts, for wishes may be long as well. Whoever just takes its time is
        // asked anew a few times at most.
        let silences = watched.silences(received);
        let alone = self.carrier == Carrier::Tcp && !links.has(device, CarrierKind::Quic);
        let lost = carrier == CarrierKind::Tcp && (received < FEW || alone || silences > 1);
        if lost && links.paths().shorten(remote) {
            if alone {
                // The packets QUIC needs are long too.
                links.paths().shorten(remote);
            }
            return Some("long packets may be lost");
        }
        // The other device has a part of the way of its own, and learns by this that something is
        // wrong with it.
        let anew = self.carrier == Carrier::Relayed && silences > 1 && self.may_leave();
        anew.then_some("nothing comes through the circuit")
    }

    /// Returns whether the download is on TCP, and nobody answers there any more.
    pub(super) async fn is_swallowed(&self) -> bool {
        self.carrier == Carrier::Tcp && !self.swarm.links.answers_by_tcp(self.device).await
    }

    /// Returns whether the download may be begun anew once more in this session.
    fn may_leave(&self) -> bool {
        self.left.fetch_add(1, Ordering::Relaxed) < MAX_LEFT
    }
}
