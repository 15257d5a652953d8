//! How nodes of one fleet know each other: by a secret that each proves to the other on the very
//! connection.
//!
//! Right after `RelayOpen` the opening node sends 32 bytes, the other one answers with 32 bytes,
//! and then the stream belongs to the state ([`crate::state::serve`], [`crate::state::Remote`]).
//! Both are proofs as devices make them ([`hither_proto::Proof`]), bound to the stream, both nodes'
//! keys, the side and the purpose, so that neither can be replayed or reflected.

use super::refuse;
use crate::node::Node;
use crate::state::{Connect, Remote, StateError, serve};
use bytes::Bytes;
use futures::future::BoxFuture;
use hither_carrier::{Endpoint, SendHalf, Stream, write_message};
use hither_proto::limits::PROTOCOL;
use hither_proto::{
    Message, Proof, ProofKey, ProofPurpose, RelayPurpose, RelayRefusalCode, RelayUrl, Side,
    StreamBinding,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

/// Longest wait for a proof.
const PATIENCE: Duration = Duration::from_secs(5);
/// Shortest secret, bytes: 128 random bits in base64.
const MIN_TOKEN: usize = 22;
/// Longest secret, bytes.
const MAX_TOKEN: usize = 1024;

/// The secret of a fleet.
#[derive(Clone)]
pub struct FleetToken(ProofKey);

impl FleetToken {
    /// Makes it of a text of 22 to 1024 characters; space around it does not count. `None`: too
    /// short or too long.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let fits = (MIN_TOKEN..=MAX_TOKEN).contains(&text.len());
        fits.then(|| Self(ProofKey::of_fleet(text.as_bytes())))
    }

    fn proof(&self, stream: &StreamBinding, side: Side) -> Proof {
        Proof::make(&self.0, stream, side, ProofPurpose::Fleet)
    }

    fn holds(&self, shown: &[u8; 32], stream: &StreamBinding, side: Side) -> bool {
        // Compares in constant time.
        Proof::from_slice(shown)
            .is_ok_and(|proof| proof.verify(&self.0, stream, side, ProofPurpose::Fleet))
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
    if !token.holds(&shown, &stream.binding, Side::Opener) {
        tracing::warn!(node = %stream.device, "a node that does not know the fleet's secret was refused");
        return refuse::relay(stream, RelayRefusalCode::NotRegistered.into()).await;
    }
    let own = token.proof(&stream.binding, Side::Acceptor);
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
        let link = self
            .endpoint
            .connect_relay(&self.control.address())
            .await
            .map_err(|error| broken(&error))?;
        let mut stream = link.open().await.map_err(|error| broken(&error))?;
        let open = Message::RelayOpen {
            protocol: PROTOCOL,
            purpose: Some(RelayPurpose::Node),
        };
        write_message(&mut stream.send, &open)
            .await
            .map_err(|error| broken(&error))?;
        let own = self.token.proof(&stream.binding, Side::Opener);
        send(&mut stream.send, own.as_bytes())
            .await
            .map_err(|error| broken(&error))?;
        let mut shown = [0; 32];
        let read = timeout(PATIENCE, stream.recv.read_exact(&mut shown)).await;
        if !matches!(read, Ok(Ok(_))) || !self.token.holds(&shown, &stream.binding, Side::Acceptor)
        {
            return Err(StateError::Protocol(
                "it does not prove to belong to the fleet".into(),
            ));
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
        let node = || hither_carrier::Identity::generate().unwrap().device_id();
        let (one, two) = (node(), node());
        let stream = StreamBinding::new([7; 32], one, two);
        let proof = *token.proof(&stream, Side::Opener).as_bytes();
        assert!(same.holds(&proof, &stream, Side::Opener));
        assert!(!other.holds(&proof, &stream, Side::Opener));
        assert!(!token.holds(&proof, &stream, Side::Acceptor));
        for another in [
            StreamBinding::new([8; 32], one, two),
            StreamBinding::new([7; 32], two, one),
        ] {
            assert!(!token.holds(&proof, &another, Side::Opener));
        }
        assert!(FleetToken::new("short").is_none());
        assert_eq!(format!("{token:?}"), "FleetToken(secret)");
    }
}
