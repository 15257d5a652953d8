//! Which fronts a device should use. Anyone may ask: who has been invited does so before being
//! registered.

use super::refuse;
use crate::node::Node;
use crate::ops::labels::{Request, Service};
use hither_carrier::{RelayReader, Stream, write_relay_message};
use hither_proto::{RelayMessage, RelayRefusalCode};
use std::sync::Arc;
use std::time::Instant;
use tokio::time::timeout;

/// Answers one request.
pub(crate) async fn run(node: Arc<Node>, mut stream: Stream, mut reader: RelayReader) {
    let patience = node.config.front.first_frame.0;
    match timeout(patience, reader.next(&mut stream.recv)).await {
        Ok(Ok(Some(RelayMessage::Assign))) => {}
        Ok(Ok(Some(_))) => return refuse::relay(stream, RelayRefusalCode::Invalid.into()).await,
        _ => return,
    }
    let asked = Instant::now();
    let relays = node.services.fleet.fronts(&stream.device, None);
    if relays.is_empty() {
        // Every front is going down, or there is none: it will not be so for long.
        return refuse::relay(stream, refuse::busy(refuse::TROUBLE)).await;
    }
    node.metrics.services.of(Service::Assign).add_one();
    node.metrics.requests.of(Request::Assign).since(asked);
    let say = async {
        write_relay_message(&mut stream.send, &RelayMessage::Assigned { relays }).await?;
        stream.send.finish().await?;
        stream.send.delivered().await
    };
    if !matches!(timeout(patience, say).await, Ok(Ok(()))) {
        tracing::debug!("an assignment did not arrive");
    }
}
