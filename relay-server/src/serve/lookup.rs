//! Which stores hold a share: asked of any node that knows the state.

use super::LinkOpen;
use super::read_auth::{NO_READ_KEY, admit, holds, our_proof, refuse};
use super::records::{ShareRecord, bucket, share_key};
use super::refuse::link_busy;
use super::registry::decode;
use crate::node::Node;
use crate::ops::labels::{Request, Service};
use hither_carrier::{Stream, write_message};
use hither_proto::{DeviceId, Holder, HolderKind, Message, ReadKey, Refusal};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Longest wait for the answer to be taken.
const PATIENCE: Duration = Duration::from_secs(5);
/// When to come back after the state has failed.
const TROUBLE: Duration = Duration::from_secs(2);

/// Answers one stream that began with [`hither_proto::Message::Open`] of purpose lookup.
pub(crate) async fn run(node: Arc<Node>, mut stream: Stream, open: LinkOpen) {
    node.metrics.services.of(Service::Lookup).add_one();
    let asked = Instant::now();
    match look_up(&node, &stream, &open).await {
        Ok(answer) => {
            node.metrics
                .requests
                .of(Request::Lookup)
                .since(asked.into_std());
            let say = async {
                write_message(&mut stream.send, &answer).await?;
                stream.send.finish().await?;
                stream.send.delivered().await
            };
            // Who does not take the answer did not need it.
            let _ = timeout(PATIENCE, say).await;
        }
        Err(refusal) => refuse(&node, stream, Service::Lookup, asked, refusal).await,
    }
}

async fn look_up(node: &Node, stream: &Stream, open: &LinkOpen) -> Result<Message, Refusal> {
    let admitted = admit(node, stream.device, open).await?;
    let entry = node
        .state
        .get(bucket::SHARES, &share_key(&admitted.owner, &open.share))
        .await
        .map_err(|error| {
            tracing::warn!(%error, "a share could not be looked up in the state");
            link_busy(TROUBLE)
        })?;
    let record = entry.and_then(|entry| decode::<ShareRecord>(&entry.value, "a share").ok());
    // Before the first version is complete there is no read key, and nothing to be told.
    let key = record
        .as_ref()
        .and_then(|record| ReadKey::from_slice(&record.read_key).ok());
    let right = holds(key.as_ref().unwrap_or(&NO_READ_KEY), stream, open);
    let (Some(key), Some(record), true) = (key, record, right) else {
        return Err(Refusal::NotFound);
    };
    let store = DeviceId::from_slice(&record.store).map_err(|_| Refusal::NotFound)?;
    // A store that is away has no address now: the share is known, and nobody is there who holds
    // it.
    let address = node.services.fleet.address_of(&store);
    let holders = address
        .map(|address| Holder {
            kind: HolderKind::Store,
            address,
        })
        .into_iter()
        .collect();
    Ok(Message::Elsewhere {
        proof: Some(our_proof(&key, stream, open)),
        holders,
    })
}
