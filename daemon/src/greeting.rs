//! How a stream about a share begins: the open of one side, the answer of the other, and what they prove by it.
//!
//! Devices prove to each other that they know the share's secret. A store cannot know it: towards a store the proofs are
//! made of the read key, which follows from the secret and leads neither back to it nor to the content.

use crate::shares::Share;
use hither_carrier::{MessageReader, Stream, write_message};
use hither_proto::limits::{MAX_FRAME, PROTOCOL};
use hither_proto::{HolderKind, Message, Opened, Proof, ProofKind, Purpose, Refusal, Side, SignedHead};
use std::time::Duration;

/// How long an open may go unanswered.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(5);
/// Longest frame of an answer to an open: a head and a name.
const MAX_ANSWER: usize = 4096;

/// Why a session could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("refused")]
    Refused(Refusal),
    #[error(transparent)]
    Link(#[from] hither_carrier::LinkError),
    #[error("{0}")]
    Stream(String),
    #[error("the other side does not know the share, or shows a head that its owner did not sign")]
    Imposter,
    #[error("no answer")]
    TimedOut,
    #[error("closed here before it was open")]
    Closed,
}

pub(crate) fn broken(error: impl std::fmt::Display) -> OpenError {
    OpenError::Stream(error.to_string())
}

/// The open of a stream to a device, or to a store or another node of a relay.
pub(crate) fn open(share: &Share, to: HolderKind, stream: &Stream, purpose: Purpose) -> Message {
    let (proof, proof_kind, owner) = match to {
        HolderKind::Device => {
            (Proof::make(&share.secret, &stream.exporter, Side::Opener), ProofKind::Secret, None)
        }
        HolderKind::Store => {
            let proof = Proof::make_with_read_key(&share.secret.read_key(), &stream.exporter, Side::Opener);
            (proof, ProofKind::ReadKey, Some(share.owner))
        }
    };
    Message::Open { protocol: PROTOCOL, share: share.id, proof, proof_kind, owner, purpose: Some(purpose) }
}

/// Whether the proof of the other side holds.
pub(crate) fn holds(share: &Share, from: HolderKind, stream: &Stream, proof: &Proof) -> bool {
    match from {
        HolderKind::Device => proof.verify(&share.secret, &stream.exporter, Side::Acceptor),
        HolderKind::Store => {
            proof.verify_with_read_key(&share.secret.read_key(), &stream.exporter, Side::Acceptor)
        }
    }
}

/// Sends an open on a fresh stream and checks the answer.
pub(crate) async fn greet(
    stream: &mut Stream,
    reader: &mut MessageReader,
    share: &Share,
    kind: HolderKind,
    purpose: Purpose,
) -> Result<(Opened, SignedHead), OpenError> {
    let open = open(share, kind, stream, purpose);
    write_message(&mut stream.send, &open).await.map_err(broken)?;
    reader.set_max(MAX_ANSWER);
    let answer = tokio::time::timeout(HANDSHAKE, reader.next(&mut stream.recv)).await;
    match answer.map_err(|_| OpenError::TimedOut)?.map_err(broken)? {
        Some(Message::Opened(opened)) => {
            let known = holds(share, kind, stream, &opened.proof);
            let head = SignedHead::open(&opened.head, share.id, share.owner);
            match head {
                Ok(head) if known => {
                    reader.set_max(MAX_FRAME);
                    Ok((*opened, head))
                }
                _ => Err(OpenError::Imposter),
            }
        }
        Some(Message::Refused(refusal)) => Err(OpenError::Refused(refusal)),
        Some(_) | None => Err(broken("the other side answered something else")),
    }
}
