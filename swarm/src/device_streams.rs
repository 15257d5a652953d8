//! Streams between two devices that are about no share: who serves which purpose, and opening them.

use crate::handshake::{OpenError, broken};
use crate::swarm::Swarm;
use futures::future::BoxFuture;
use hither_carrier::{MessageReader, Stream, write_message};
use hither_proto::limits::{MAX_FRAME_UNPROVEN, PROTOCOL};
use hither_proto::{DeviceId, DevicePurpose, Message, Refusal};
use hither_util::sync::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// Serves the streams of one purpose that other devices open.
pub trait DeviceStreams: Send + Sync {
    /// Serves one; its first frame was read. Nothing is known of its opener but its key.
    fn serve(self: Arc<Self>, stream: Stream, reader: MessageReader) -> BoxFuture<'static, ()>;
}

/// Who serves which purpose.
#[derive(Default)]
pub(crate) struct DeviceServices(Mutex<HashMap<DevicePurpose, Weak<dyn DeviceStreams>>>);

impl DeviceServices {
    fn of(&self, purpose: DevicePurpose) -> Option<Arc<dyn DeviceStreams>> {
        self.0.lock().get(&purpose)?.upgrade()
    }
}

impl Swarm {
    /// Has the streams of a purpose served; before, and without it, they are refused.
    pub fn serve_device_streams(&self, purpose: DevicePurpose, by: Weak<dyn DeviceStreams>) {
        self.device_services.0.lock().insert(purpose, by);
    }

    /// Opens a stream to a device over whatever connects directly. Its first frame is sent.
    ///
    /// Errors: the device is not reached, or the stream breaks.
    pub async fn open_device_stream(
        &self,
        device: DeviceId,
        purpose: DevicePurpose,
    ) -> Result<(Stream, MessageReader), OpenError> {
        let (_, stream) = self.links.direct(device, self.tcp).await?;
        begin(stream, purpose).await
    }
}

/// Sends the first frame.
pub(crate) async fn begin(
    mut stream: Stream,
    purpose: DevicePurpose,
) -> Result<(Stream, MessageReader), OpenError> {
    let open = Message::DeviceOpen {
        protocol: PROTOCOL,
        purpose: Some(purpose),
    };
    write_message(&mut stream.send, &open)
        .await
        .map_err(broken)?;
    Ok((stream, MessageReader::new(MAX_FRAME_UNPROVEN)))
}

/// Serves a stream that another device opened, or refuses it.
pub(crate) async fn accept(
    swarm: &Swarm,
    mut stream: Stream,
    reader: MessageReader,
    (protocol, purpose): (u32, Option<DevicePurpose>),
) {
    let service = purpose.filter(|_| protocol == PROTOCOL);
    match service.and_then(|purpose| swarm.device_services.of(purpose)) {
        Some(service) => service.serve(stream, reader).await,
        None => {
            let refused = Message::Refused(Refusal::Protocol);
            if write_message(&mut stream.send, &refused).await.is_ok() {
                let _ = stream.send.finish().await;
            }
        }
    }
}
