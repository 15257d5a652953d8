//! Strangers that want to send something: what they say of themselves waits for the user's yes or
//! no, and so does what this device says to others.
//!
//! Bounds: one introduction of a device waits at a time, [`MAX_WAITING`] of all; each for
//! [`PATIENCE`] at most.

use super::NearbyService;
use futures::future::BoxFuture;
use hither_carrier::{MessageReader, Stream, write_message};
use hither_proto::{
    DeviceId, DeviceName, DevicePurpose, Introduction, Message, OfferKind, Refusal,
};
use hither_swarm::{DeviceStreams, OpenError, Relation, broken};
use hither_util::sync::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Most introductions that wait for the user.
const MAX_WAITING: usize = 16;
/// How long one waits.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

/// The things that a stranger is told this device would send.
#[derive(Debug, Clone)]
pub(crate) struct Offer {
    pub kind: OfferKind,
    pub summary: String,
    pub files: u64,
    pub bytes: u64,
}

/// The outcome of an introduction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Introduced {
    /// The other user said yes: the device is known now.
    Accepted,
    /// It said no, or does not listen to strangers now.
    Refused,
    /// Nobody answered in time.
    Unanswered,
}

/// A stranger that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) introduction: Introduction,
    pub(super) since: Instant,
    decide: oneshot::Sender<bool>,
}

/// All strangers that wait.
#[derive(Debug, Default)]
pub(super) struct Introductions(
    Mutex<BTreeMap<DeviceId, Waiting>>,
    /// The offers that the user said yes to, until they come.
    Mutex<BTreeMap<DeviceId, (Instant, Introduction)>>,
);

/// How long what the user said yes to may take to come.
const COMING: Duration = Duration::from_secs(300);

impl Introductions {
    /// The introduction of each and since when it waits, the longest first.
    pub(super) fn all(&self) -> Vec<(DeviceId, Introduction, Instant)> {
        let waiting = self.0.lock();
        let mut all: Vec<_> = waiting
            .iter()
            .map(|(device, one)| (*device, one.introduction.clone(), one.since))
            .collect();
        all.sort_by_key(|(.., since)| *since);
        all
    }

    /// Takes one out, with what tells its stream.
    fn take(&self, device: DeviceId) -> Option<Waiting> {
        self.0.lock().remove(&device)
    }

    /// The user said yes to what a stranger offers.
    fn expect(&self, device: DeviceId, introduction: Introduction) {
        let mut expected = self.1.lock();
        expected.retain(|_, (since, _)| since.elapsed() < COMING);
        if expected.len() < MAX_WAITING {
            expected.insert(device, (Instant::now(), introduction));
        }
    }

    /// Takes the offer of a device that the user said yes to, once: the first thing that comes is it or not.
    fn expected(&self, device: DeviceId) -> Option<Introduction> {
        let (since, introduction) = self.1.lock().remove(&device)?;
        (since.elapsed() < COMING).then_some(introduction)
    }

    fn add(&self, device: DeviceId, introduction: Introduction) -> Option<oneshot::Receiver<bool>> {
        let (decide, decided) = oneshot::channel();
        let mut waiting = self.0.lock();
        if waiting.len() >= MAX_WAITING && !waiting.contains_key(&device) {
            return None;
        }
        // A newer one of the same device replaces it; the older stream is refused.
        waiting.insert(
            device,
            Waiting {
                introduction,
                since: Instant::now(),
                decide,
            },
        );
        Some(decided)
    }

    /// The stream of an introduction has ended; a newer one of the same device stays.
    fn end(&self, device: DeviceId) {
        let mut waiting = self.0.lock();
        if waiting
            .get(&device)
            .is_some_and(|one| one.decide.is_closed())
        {
            waiting.remove(&device);
        }
    }
}

/// Takes an introduction out of the table when its stream ends early.
struct Place<'a> {
    service: &'a NearbyService,
    device: DeviceId,
    decided: oneshot::Receiver<bool>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.decided.close();
        self.service.introductions.end(self.device);
        self.service.changed();
    }
}

impl NearbyService {
    /// Introductions that wait for the user.
    pub(super) fn waiting(&self) -> Vec<(DeviceId, Introduction, Instant)> {
        self.introductions.all()
    }

    /// The user's decision about a stranger that waits. `None`: none waits. The stranger hears of it
    /// after a yes is durable.
    ///
    /// Errors: it could not be made durable.
    pub(super) async fn decide(
        &self,
        device: DeviceId,
        accept: bool,
    ) -> Result<Option<DeviceName>, hither_swarm::RememberError> {
        let Some(waiting) = self.introductions.take(device) else {
            return Ok(None);
        };
        self.changed();
        let name = waiting.introduction.device_name.clone();
        if accept {
            self.remember(device, &name, Relation::Known).await?;
            self.introductions
                .expect(device, waiting.introduction.clone());
        }
        let _ = waiting.decide.send(accept); // it may have gone
        Ok(Some(name))
    }

    /// Returns what the user said yes to when a device introduced itself, for the first thing that
    /// it sends.
    pub(crate) fn expected(&self, device: DeviceId) -> Option<Introduction> {
        self.introductions.expected(device)
    }

    /// Remembers a device, durably.
    pub(super) async fn remember(
        &self,
        device: DeviceId,
        name: &DeviceName,
        relation: Relation,
    ) -> Result<(), hither_swarm::RememberError> {
        let (known, name) = (Arc::clone(self.known()), name.clone());
        let remembered =
            tokio::task::spawn_blocking(move || known.remember(device, &name, relation)).await;
        match remembered {
            Ok(result) => result?,
            // The program ends.
            Err(error) => tracing::debug!(%error, "a device is not remembered"),
        }
        self.changed();
        Ok(())
    }

    /// Introduces this device to a stranger and waits for its user's answer, up to ten minutes. With
    /// a yes both know each other.
    ///
    /// Errors: the device is not reached, or the stream breaks meanwhile.
    pub(crate) async fn introduce(
        &self,
        to: DeviceId,
        offer: Offer,
    ) -> Result<Introduced, OpenError> {
        let (mut stream, mut reader) = self
            .swarm
            .open_device_stream(to, DevicePurpose::Introduction)
            .await?;
        let introduction = Message::Introduction(Introduction {
            device_name: self.name.clone(),
            kind: offer.kind,
            summary: offer.summary,
            files: offer.files,
            bytes: offer.bytes,
        });
        write_message(&mut stream.send, &introduction)
            .await
            .map_err(broken)?;
        let Ok(answer) = timeout(PATIENCE, reader.next(&mut stream.recv)).await else {
            return Ok(Introduced::Unanswered);
        };
        match answer.map_err(broken)? {
            Some(Message::Named(name)) => {
                self.remember(to, &name, Relation::Known)
                    .await
                    .map_err(broken)?;
                Ok(Introduced::Accepted)
            }
            Some(Message::Refused(Refusal::Busy(_))) => Ok(Introduced::Unanswered),
            Some(Message::Refused(_)) => Ok(Introduced::Refused),
            Some(_) | None => Err(broken("the other side answered something else")),
        }
    }

    /// Reads an introduction and waits for the user; the answer for the stranger.
    async fn hear(&self, stream: &mut Stream, reader: &mut MessageReader) -> Option<Message> {
        let device = stream.device;
        let first = timeout(hither_swarm::HANDSHAKE, reader.next(&mut stream.recv)).await;
        let Ok(Ok(Some(Message::Introduction(introduction)))) = first else {
            return None;
        };
        if self.may_send(device) {
            // The other side has forgotten: what was granted holds.
            return Some(Message::Named(self.name.clone()));
        }
        if !self.visibility.shows_to(false) {
            return Some(Message::Refused(Refusal::NotFound));
        }
        let Some(decided) = self.introductions.add(device, introduction) else {
            return Some(Message::Refused(Refusal::Busy(0)));
        };
        tracing::info!(?device, "a stranger asks to be known");
        self.changed();
        let mut place = Place {
            service: self,
            device,
            decided,
        };
        tokio::select! {
            decided = timeout(PATIENCE, &mut place.decided) => match decided {
                Ok(Ok(true)) => Some(Message::Named(self.name.clone())),
                Ok(_) => Some(Message::Refused(Refusal::NotFound)),
                Err(_) => Some(Message::Refused(Refusal::Busy(0))),
            },
            // It took it back, or says something that nobody wants.
            _ = reader.next(&mut stream.recv) => None,
        }
    }
}

impl DeviceStreams for NearbyService {
    fn serve(
        self: Arc<Self>,
        mut stream: Stream,
        mut reader: MessageReader,
    ) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            match self.hear(&mut stream, &mut reader).await {
                Some(answer) => {
                    if write_message(&mut stream.send, &answer).await.is_ok() {
                        let _ = stream.send.finish().await; // the other side has gone if not
                    }
                }
                None => stream.send.reset(),
            }
        })
    }
}
