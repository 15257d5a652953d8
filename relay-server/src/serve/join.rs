//! How nodes of one fleet know each other: by a secret that each proves to the other on the very connection.
//!
//! Right after `RelayOpen` the opening node sends 32 bytes, the other one answers with 32 bytes, and then the stream
//! belongs to the state ([`crate::state::serve`], [`crate::state::Remote`]). Both are keyed BLAKE3 of the connection's TLS
//! exporter and the side, so that neither can be replayed or reflected.

use super::refuse;
use crate::node::Node;
use crate::state::{Connect, Remote, StateError, serve};
use bytes::Bytes;
use futures::future::BoxFuture;
use hither_carrier::{Endpoint, SendHalf, Stream, write_message};
use hither_proto::limits::PROTOCOL;
use hither_proto::{Message, RelayPurpose, RelayRefusalCode, RelayUrl};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;
use zeroize::Zeroizing;

/// Longest wait for a proof.
const PATIENCE: Duration = Duration::from_secs(5);
/// Shortest secret, bytes: 128 random bits in base64.
const MIN_TOKEN: usize = 22;
/// Longest secret, bytes.
const MAX_TOKEN: usize = 1024;

/// The secret of a fleet.
#[derive(Clone)]
pub struct FleetToken(Zeroizing<[u8; 32]>);

impl FleetToken {
    /// Makes it of a text of 22 to 1024 characters; space around it does not count. `None`: too short or too long.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let key = || Zeroizing::new(blake3::derive_key("hither.v1 relay fleet token", text.as_bytes()));
        (MIN_TOKEN..=MAX_TOKEN).contains(&text.len()).then(|| Self(key()))
    }

    fn proof(&self, exporter: &[u8; 32], opener: bool) -> blake3::Hash {
        let mut input = [0; 33];
        input[..32].copy_from_slice(exporter);
        input[32] = if opener { 1 } else { 2 };
        blake3::keyed_hash(&self.0, &input)
    }
}

impl std::fmt::Debug for FleetToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FleetToken(secret)")
    }
}

/// Serves the state to another node, if it proves to belong to the fleet.
pub(crate) async fn accept(node: Arc<Node>, mut stream: Stream) {
    let Some(token) = &node.fleet_token else {
        return refuse::relay(stream, RelayRefusalCode::Role.into()).await;
    };
    let mut shown = [0; 32];
    match timeout(PATIENCE, stream.recv.read_exact(&mut shown)).await {
        Ok(Ok(_)) => {}
        _ => return,
    }
    // Compares in constant time.
    if token.proof(&stream.exporter, true) != shown {
        tracing::warn!(node = %stream.device, "a node that does not know the fleet's secret was refused");
        return refuse::relay(stream, RelayRefusalCode::NotRegistered.into()).await;
    }
    let own = token.proof(&stream.exporter, false);
    if send(&mut stream.send, own.as_bytes()).await.is_err() {
        return;
    }
    tracing::info!(node = %stream.device, "a node joined");
    let ended = serve(Arc::clone(&node.state), stream.recv, stream.send).await;
    tracing::info!(node = %stream.device, ?ended, "a node left");
}

async fn send(half: &mut SendHalf, proof: &[u8; 32]) -> std::io::Result<()> {
    half.send_bytes(Bytes::copy_from_slice(proof)).await
}

/// Reaches the state of another node.
pub struct Joining {
    /// This node's sockets.
    pub endpoint: Arc<Endpoint>,
    /// The node that keeps the state.
    pub control: RelayUrl,
    /// The secret of the fleet.
    pub token: FleetToken,
}

impl Joining {
    async fn join(&self) -> Result<Remote, StateError> {
        let broken = |error: &dyn std::fmt::Display| {
            tracing::debug!(%error, "the node that keeps the state cannot be joined");
            StateError::Disconnected
        };
        let link =
            self.endpoint.connect_relay(&self.control.address()).await.map_err(|error| broken(&error))?;
        let mut stream = link.open().await.map_err(|error| broken(&error))?;
        let open = Message::RelayOpen { protocol: PROTOCOL, purpose: Some(RelayPurpose::Node) };
        write_message(&mut stream.send, &open).await.map_err(|error| broken(&error))?;
        let own = self.token.proof(&stream.exporter, true);
        send(&mut stream.send, own.as_bytes()).await.map_err(|error| broken(&error))?;
        let mut shown = [0; 32];
        let read = timeout(PATIENCE, stream.recv.read_exact(&mut shown)).await;
        if !matches!(read, Ok(Ok(_))) || self.token.proof(&stream.exporter, false) != shown {
            return Err(StateError::Protocol("it does not prove to belong to the fleet".into()));
        }
        Ok(Remote::new(stream.recv, stream.send))
    }
}

impl Connect for Joining {
    fn connect(&self) -> BoxFuture<'_, Result<Remote, StateError>> {
        Box::pin(self.join())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_for_its_secret_connection_and_side_only() {
        let token = FleetToken::new("a secret of some length").unwrap();
        let same = FleetToken::new(" a secret of some length\n").unwrap();
        let other = FleetToken::new("another secret of some length").unwrap();
        let proof = token.proof(&[7; 32], true);
        assert_eq!(proof, same.proof(&[7; 32], true));
        assert_ne!(proof, other.proof(&[7; 32], true));
        assert_ne!(proof, token.proof(&[8; 32], true));
        assert_ne!(proof, token.proof(&[7; 32], false));
        assert!(FleetToken::new("short").is_none());
        assert_eq!(format!("{token:?}"), "FleetToken(secret)");
    }
}
