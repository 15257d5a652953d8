//! How a stream about a share begins: the open of one side, the answer of the other, and what they
//! prove by it.
//!
//! Devices prove to each other that they know the share's secret. A store cannot know it: towards a
//! store the proofs are made of the read key, which follows from the secret and leads neither back
//! to it nor to the content.
//!
//! Invariant: this device names a share, and proves anything about it, only to a device that
//! somebody who knows the share has named as a holder ([`Share::is_named`]), or that has shown
//! before, on the same stream, that it knows the share ([`ask_blindly`]). A neighbour that
//! discovery happens to see learns that something is looked for, and nothing else.

use crate::shares::Share;
use hither_carrier::{MessageReader, Stream, write_message};
use hither_proto::limits::{MAX_FRAME, PROTOCOL};
use hither_proto::{
    BlindQuery, HolderKind, Message, Opened, Proof, ProofKey, ProofKind, Purpose, Refusal, Side,
    SignedHead,
};
use std::time::Duration;

/// How long an open may go unanswered.
pub const HANDSHAKE: Duration = Duration::from_secs(5);
/// Longest frame of an answer to an open: a head and a name.
const MAX_ANSWER: usize = 4096;

/// Why a session could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("refused")]
    /// The other side refused.
    Refused(Refusal),
    #[error(transparent)]
    /// There is no link.
    Link(#[from] hither_carrier::LinkError),
    #[error("{0}")]
    /// The stream broke, or carried something else; in words.
    Stream(String),
    #[error("the other side does not know the share, or shows a head that its owner did not sign")]
    /// The other side does not know the share, or shows a head that its owner did not sign.
    Imposter,
    #[error("no answer")]
    /// Nothing came in [`HANDSHAKE`].
    TimedOut,
    #[error("closed here before it was open")]
    /// This device closed the session before it was open.
    Closed,
}

/// A stream broke by `error`.
pub fn broken(error: impl std::fmt::Display) -> OpenError {
    OpenError::Stream(error.to_string())
}

/// The open of a stream to a device, or to a store or another node of a relay.
pub fn open(share: &Share, to: HolderKind, stream: &Stream, purpose: Purpose) -> Message {
    let proof = Proof::make(&key(share, to), &stream.binding, Side::Opener, purpose);
    let (proof_kind, owner) = match to {
        HolderKind::Device => (ProofKind::Secret, None),
        HolderKind::Store => (ProofKind::ReadKey, Some(share.owner)),
    };
    Message::Open {
        protocol: PROTOCOL,
        share: share.id,
        proof,
        proof_kind,
        owner,
        purpose: Some(purpose),
    }
}

/// Returns what proofs between this device and a holder of some kind are made of.
fn key(share: &Share, holder: HolderKind) -> ProofKey {
    match holder {
        HolderKind::Device => ProofKey::of_secret(&share.secret),
        HolderKind::Store => ProofKey::of_read_key(&share.secret.read_key()),
    }
}

/// Returns whether the proof of the other side holds for a stream that was opened for `purpose`.
pub fn holds(
    share: &Share,
    from: HolderKind,
    stream: &Stream,
    purpose: Purpose,
    proof: &Proof,
) -> bool {
    proof.verify(&key(share, from), &stream.binding, Side::Acceptor, purpose)
}

/// Asks, on a fresh stream, whether the other device knows the share, without naming it. Returns
/// when that device has shown that it does; [`greet`] goes on from there.
async fn ask_blindly(
    stream: &mut Stream,
    reader: &mut MessageReader,
    share: &Share,
) -> Result<(), OpenError> {
    let query = BlindQuery::make(&share.blind, &stream.binding);
    write_message(
        &mut stream.send,
        &Message::BlindQuery {
            protocol: PROTOCOL,
            query,
        },
    )
    .await
    .map_err(broken)?;
    let answer = tokio::time::timeout(HANDSHAKE, reader.next(&mut stream.recv)).await;
    match answer.map_err(|_| OpenError::TimedOut)?.map_err(broken)? {
        Some(Message::BlindReply { reply }) if reply.verify(&share.blind, &stream.binding) => {
            Ok(())
        }
        Some(Message::BlindReply { .. }) => Err(OpenError::Imposter),
        Some(Message::Refused(refusal)) => Err(OpenError::Refused(refusal)),
        Some(_) | None => Err(broken("the other side answered something else")),
    }
}

/// Opens a stream to a device as [`greet`] does, after [`ask_blindly`] where nobody has named the
/// device as a holder.
pub(crate) async fn greet_device(
    stream: &mut Stream,
    reader: &mut MessageReader,
    share: &Share,
    purpose: Purpose,
) -> Result<(Opened, SignedHead), OpenError> {
    if !share.is_named(&stream.device) {
        ask_blindly(stream, reader, share).await?;
    }
    let greeted = greet(stream, reader, share, HolderKind::Device, purpose).await?;
    share.name_holder(stream.device);
    Ok(greeted)
}

/// Sends an open on a fresh stream, to a store or to a device that is known to know the share, and
/// checks the answer.
pub async fn greet(
    stream: &mut Stream,
    reader: &mut MessageReader,
    share: &Share,
    kind: HolderKind,
    purpose: Purpose,
) -> Result<(Opened, SignedHead), OpenError> {
    let open = open(share, kind, stream, purpose);
    write_message(&mut stream.send, &open)
        .await
        .map_err(broken)?;
    reader.set_max(MAX_ANSWER);
    let answer = tokio::time::timeout(HANDSHAKE, reader.next(&mut stream.recv)).await;
    match answer.map_err(|_| OpenError::TimedOut)?.map_err(broken)? {
        Some(Message::Opened(opened)) => {
            let known = holds(share, kind, stream, purpose, &opened.proof);
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
