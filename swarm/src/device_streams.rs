//! Streams between devices that are about no share: who serves which, and how one is opened.
//!
//! Invariants: the other end is the device whose key TLS proved, and nothing else is known of it:
//! whoever serves a purpose decides who may, and denies by default; a purpose that nobody serves is
//! refused.

use crate::handshake::{HANDSHAKE, OpenError, broken};
use crate::swarm::Swarm;
use futures::future::BoxFuture;
use hither_carrier::{MessageReader, Stream, write_message};
use hither_proto::limits::{MAX_FRAME_UNPROVEN, PROTOCOL};
use hither_proto::{DeviceId, DevicePurpose, Message};
use hither_util::sync::RwLock;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// Serves the streams of one purpose.
pub trait DeviceStreams: Send + Sync {
    /// Serves a stream that another device opened, from its second message to its end. Frames are
    /// at most 1 KiB long until whoever serves raises that.
    fn serve(self: Arc<Self>, stream: Stream, reader: MessageReader) -> BoxFuture<'static, ()>;
}

/// The handler of each purpose.
#[derive(Default)]
pub(crate) struct Handlers(RwLock<HashMap<DevicePurpose, Weak<dyn DeviceStreams>>>);

impl Handlers {
    pub(crate) fn handler(&self, purpose: DevicePurpose) -> Option<Arc<dyn DeviceStreams>> {
        self.0.read().get(&purpose)?.upgrade()
    }
}

impl Swarm {
    /// Registers who serves the streams of a purpose that are about no share. It is held weakly: it
    /// may hold the swarm.
    pub fn serve_device_streams(&self, purpose: DevicePurpose, by: Weak<dyn DeviceStreams>) {
        self.device_streams.0.write().insert(purpose, by);
    }

    /// Opens a stream about no share to a device, directly; what is said first is up to the caller.
    ///
    /// Errors: no address of the device is known, or none answers.
    pub async fn open_device_stream(
        &self,
        device: DeviceId,
        purpose: DevicePurpose,
    ) -> Result<(Stream, MessageReader), OpenError> {
        let (_, stream) = self.links.direct(device, self.tcp).await?;
        begin(stream, purpose).await
    }
}

/// Says what a stream about no share is for.
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

/// The next message of a stream, if it comes in time.
///
/// Errors: nothing came in [`HANDSHAKE`], or the stream broke or ended.
pub async fn answer(stream: &mut Stream, reader: &mut MessageReader) -> Result<Message, OpenError> {
    let next = tokio::time::timeout(HANDSHAKE, reader.next(&mut stream.recv)).await;
    match next.map_err(|_| OpenError::TimedOut)?.map_err(broken)? {
        Some(Message::Refused(refusal)) => Err(OpenError::Refused(refusal)),
        Some(message) => Ok(message),
        None => Err(broken("the other side ended the stream")),
    }
}
