//! Names that devices call themselves: asked on a stream, so that TLS has proven who answers, and
//! kept for a moment.

use super::NearbyService;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream;
use hither_carrier::{MessageReader, Stream, write_message};
use hither_proto::{DeviceId, DeviceName, DevicePurpose, Message, Refusal};
use hither_swarm::{DeviceStreams, OpenError, answer};
use hither_util::sync::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// How long a name is good for.
const FRESH: Duration = Duration::from_secs(30);
/// How long a device that did not answer is not asked again, so that lists do not wait for it. One
/// that answers without a name may show itself any moment.
const SILENT: Duration = Duration::from_secs(5);
/// Longest wait for all answers.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Most devices that are asked at once.
const AT_ONCE: usize = 16;
/// Most devices that are asked for one list.
const MAX_ASKED: usize = 256;

/// The latest answers.
#[derive(Default)]
pub(super) struct Names(Mutex<HashMap<DeviceId, (Instant, Option<DeviceName>)>>);

impl Names {
    fn fresh(&self, device: DeviceId) -> Option<Option<DeviceName>> {
        let kept = self.0.lock();
        let (at, name) = kept.get(&device)?;
        let good_for = if name.is_some() { FRESH } else { SILENT };
        (at.elapsed() < good_for).then(|| name.clone())
    }

    fn keep(&self, device: DeviceId, name: Option<DeviceName>) {
        let mut kept = self.0.lock();
        kept.retain(|_, (at, _)| at.elapsed() < FRESH);
        if kept.len() < MAX_ASKED {
            kept.insert(device, (Instant::now(), name));
        }
    }
}

impl NearbyService {
    /// Asks devices what they call themselves; those that do not say are left out. Takes at most
    /// 1.5 s.
    pub(super) async fn ask_names(&self, devices: Vec<DeviceId>) -> HashMap<DeviceId, DeviceName> {
        let mut found = HashMap::new();
        let mut asked = Vec::new();
        for device in devices.into_iter().take(MAX_ASKED) {
            match self.names.fresh(device) {
                Some(name) => found.extend(name.map(|name| (device, name))),
                None => asked.push(device),
            }
        }
        let mut answers = stream::iter(asked)
            .map(|device| async move { (device, self.ask_name(device).await) })
            .buffer_unordered(AT_ONCE);
        let all = async {
            while let Some((device, name)) = answers.next().await {
                match name {
                    Ok(Some(name)) => {
                        self.names.keep(device, Some(name.clone()));
                        found.insert(device, name);
                    }
                    Ok(None) => {}
                    Err(error) => {
                        tracing::debug!(?device, %error, "a device does not say its name");
                        self.names.keep(device, None);
                    }
                }
            }
        };
        let _ = timeout(PATIENCE, all).await; // who has not answered is left out
        drop(answers);
        found
    }

    /// Asks one device; `None`: it does not show itself to this one.
    async fn ask_name(&self, device: DeviceId) -> Result<Option<DeviceName>, OpenError> {
        let opened = self
            .swarm
            .open_device_stream(device, DevicePurpose::Name)
            .await;
        let (mut stream, mut reader) = opened?;
        match answer(&mut stream, &mut reader).await {
            Ok(Message::Named(name)) => Ok(Some(name)),
            Ok(_) | Err(OpenError::Refused(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Answers what this device is called.
pub(super) struct NameStreams(pub(super) Weak<NearbyService>);

impl DeviceStreams for NameStreams {
    fn serve(self: Arc<Self>, mut stream: Stream, _: MessageReader) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let Some(service) = self.0.upgrade() else {
                return;
            };
            let known = service.may_send(stream.device);
            let said = if service.visibility.shows_to(known) {
                Message::Named(service.name.clone())
            } else {
                Message::Refused(Refusal::NotFound)
            };
            if write_message(&mut stream.send, &said).await.is_ok() {
                let _ = stream.send.finish().await; // the other side has gone if not
            }
        })
    }
}
