//! Streams that other devices open: who may do what, and control streams that are kept for them.
//!
//! Invariant: nothing is said of a share before the other device has proven, on this very stream,
//! that it knows it.

use super::{Control, ControlStream, SOON};
use crate::device_streams::DeviceStreams;
use crate::handshake::HANDSHAKE;
use crate::links;
use crate::shares::Share;
use crate::swarm::Swarm;
use hither_carrier::{CarrierKind, MessageReader, Stream, write_message};
use hither_proto::limits::{MAX_FRAME, MAX_FRAME_UNPROVEN, PROTOCOL};
use hither_proto::{
    BlindQuery, BlindReply, DeviceId, DevicePurpose, Message, Opened, Proof, ProofKey, ProofKind,
    Purpose, Refusal, ShareId, Side, SignedHead,
};
use std::sync::Arc;
use tokio::sync::mpsc;

/// A stream that another device opened: checks its proof and serves it as what it was opened for.
pub(crate) async fn accept(swarm: Arc<Swarm>, mut stream: Stream) {
    let mut reader = MessageReader::new(MAX_FRAME_UNPROVEN);
    let (share, purpose) = match admitted(&swarm, &mut stream, &mut reader).await {
        Some(Admitted::Share(share, purpose)) => (share, purpose),
        Some(Admitted::Device(handler)) => return handler.serve(stream, reader).await,
        None => return,
    };
    let Some(head) = share.head() else { return };
    let opened = Message::Opened(Box::new(Opened {
        proof: Proof::make(
            &ProofKey::of_secret(&share.secret),
            &stream.binding,
            Side::Acceptor,
            purpose,
        ),
        head: head.to_unchecked(),
        device_name: swarm.name.clone(),
        tcp_port: swarm.endpoint.tcp_port(),
    }));
    if write_message(&mut stream.send, &opened).await.is_err() {
        return;
    }
    reader.set_max(MAX_FRAME);
    match purpose {
        Purpose::Control => attend(&swarm, &share, stream, reader, &head).await,
        Purpose::Bulk => crate::serve_stream::run(&swarm, &share, stream, reader).await,
        Purpose::Lookup => {}
    }
}

/// How a stream that was admitted goes on.
enum Admitted {
    /// It is about a share that the other device proved to know.
    Share(Arc<Share>, Purpose),
    /// It is about no share.
    Device(Arc<dyn DeviceStreams>),
}

/// Reads how a stream begins, answers what is asked before it, and refuses what may not be: `None`,
/// the stream is done with.
async fn admitted(
    swarm: &Swarm,
    stream: &mut Stream,
    reader: &mut MessageReader,
) -> Option<Admitted> {
    let mut asked = None;
    loop {
        let first = tokio::time::timeout(HANDSHAKE, reader.next(&mut stream.recv)).await;
        let refusal = match first {
            Ok(Ok(Some(Message::BlindQuery { protocol, query }))) if asked.is_none() => {
                match recognised(swarm, stream, protocol, &query) {
                    Ok(share) => {
                        let reply = BlindReply::make(&share.blind, &stream.binding);
                        asked = Some(share.id);
                        write_message(&mut stream.send, &Message::BlindReply { reply })
                            .await
                            .ok()?;
                        continue;
                    }
                    Err(refusal) => refusal,
                }
            }
            Ok(Ok(Some(Message::Open {
                protocol,
                share,
                proof,
                proof_kind,
                purpose,
                ..
            }))) => {
                // Lookups and read keys are for relays.
                let purpose =
                    purpose.filter(|&of| proof_kind == ProofKind::Secret && of != Purpose::Lookup);
                // A device that queried one share has no reason to open another one on the same
                // stream.
                match admit(swarm, stream, protocol, share, proof, purpose) {
                    Ok((share, purpose)) if asked.is_none_or(|asked| asked == share.id) => {
                        return Some(Admitted::Share(share, purpose));
                    }
                    Ok(_) => Refusal::NotFound,
                    Err(refusal) => refusal,
                }
            }
            Ok(Ok(Some(Message::DeviceOpen { protocol, purpose }))) if asked.is_none() => {
                let handler = purpose
                    .filter(|purpose| may_come_over(stream.carrier, *purpose))
                    .and_then(|purpose| swarm.device_streams.handler(purpose));
                match handler {
                    // Only a new pairing makes a removed device the user's again.
                    Some(_)
                        if purpose != Some(DevicePurpose::Code)
                            && swarm.known.is_removed(stream.device) =>
                    {
                        Refusal::NotFound
                    }
                    Some(handler) if protocol == PROTOCOL => {
                        return Some(Admitted::Device(handler));
                    }
                    _ => Refusal::Protocol,
                }
            }
            _ => {
                stream.send.reset();
                return None;
            }
        };
        tracing::debug!(device = ?stream.device, ?refusal, "a stream was refused");
        if write_message(&mut stream.send, &Message::Refused(refusal))
            .await
            .is_ok()
        {
            let _ = stream.send.finish().await;
        }
        return None;
    }
}

/// Returns whether a stream about no share may come so. A circuit is taken from whoever knows the
/// first word of a code, which is public: through it nobody gets at what is meant for this network.
fn may_come_over(carrier: CarrierKind, purpose: DevicePurpose) -> bool {
    carrier != CarrierKind::Relayed || purpose == DevicePurpose::Code
}

/// The share that another device asks about without naming it.
fn recognised(
    swarm: &Swarm,
    stream: &Stream,
    protocol: u32,
    query: &BlindQuery,
) -> Result<Arc<Share>, Refusal> {
    if protocol != PROTOCOL {
        return Err(Refusal::Protocol);
    }
    let share = swarm
        .shares
        .recognise(query, &stream.binding)?
        .ok_or(Refusal::NotFound)?;
    if is_barred(swarm, &share, &stream.device) {
        Err(Refusal::NotFound)
    } else {
        Ok(share)
    }
}

/// Returns whether the device was removed: by a group with which the share was shared, or from the
/// user's devices. It still knows the secret, and gets nothing more of it here.
fn is_barred(swarm: &Swarm, share: &Share, device: &DeviceId) -> bool {
    swarm.known.is_removed(*device) || swarm.membership.is_barred(share, device)
}

/// Waits until the device is removed.
pub(crate) async fn barred(swarm: &Swarm, share: &Share, device: &DeviceId) {
    let (mut members, mut known) = (swarm.membership.changes(), swarm.known.changes());
    while !is_barred(swarm, share, device) {
        let changed = tokio::select! {
            changed = members.changed() => changed,
            changed = known.changed() => changed,
        };
        if changed.is_err() {
            return std::future::pending().await; // the daemon ends
        }
    }
}

/// Returns who may do what: knowledge of the share's secret, proven on this very stream; of what is
/// shared with a group, unless the group has removed the device.
fn admit(
    swarm: &Swarm,
    stream: &Stream,
    protocol: u32,
    share: ShareId,
    proof: Proof,
    purpose: Option<Purpose>,
) -> Result<(Arc<Share>, Purpose), Refusal> {
    let Some(purpose) = purpose.filter(|_| protocol == PROTOCOL) else {
        return Err(Refusal::Protocol);
    };
    let share = swarm.shares.get(share).ok_or(Refusal::NotFound)?;
    let key = ProofKey::of_secret(&share.secret);
    if !proof.verify(&key, &stream.binding, Side::Opener, purpose)
        || is_barred(swarm, &share, &stream.device)
    {
        return Err(Refusal::NotFound);
    }
    share.name_holder(stream.device);
    swarm.endpoint.vouch(stream.device);
    swarm.links.proved(stream.device);
    // A device that begins to fetch it has nothing to show yet, and will in a moment.
    if share.head().is_none() {
        Err(Refusal::Busy(SOON))
    } else {
        Ok((share, purpose))
    }
}

/// Keeps a session that another device opened.
async fn attend(
    swarm: &Arc<Swarm>,
    share: &Arc<Share>,
    stream: Stream,
    reader: MessageReader,
    shown: &SignedHead,
) {
    let id = swarm.next_session();
    let device = stream.device;
    let way = links::way(stream.carrier, stream.remote);
    let _open = swarm.givings.open(share.id, device, way);
    let (sender, mut outgoing) = mpsc::unbounded_channel();
    swarm.core.routes.add_session(id, share.id, sender.clone());
    // A newer head was announced before this session could receive it.
    if let Some(newer) = share
        .head()
        .filter(|head| head.head().version != shown.head().version)
    {
        let _ = sender.send(Message::NewHead(newer.to_unchecked()));
    }
    swarm.core.with(|engine, now| {
        engine.handle_subscribed(id, share.id);
        // A device that knows the secret wants the share, so it will soon have something of it.
        engine.handle_device_seen(share.id, device, now);
    });
    if let Some(elsewhere) = swarm.elsewhere(share.id) {
        let _ = sender.send(elsewhere);
    }
    let answers = (stream.carrier == CarrierKind::Relayed).then(|| sender.clone());
    swarm.listeners.add(
        swarm,
        id,
        links::place(stream.carrier, stream.remote),
        sender,
    );
    let close = swarm.tasks.token.child_token();
    // The device that opened it moves it: by opening another one.
    let (_, mut moves) = mpsc::channel(1);
    let mut control = Control {
        send: stream.send,
        recv: stream.recv,
        reader,
    };
    let stream = ControlStream {
        swarm,
        share,
        device,
        tells: false,
        answers,
        close: &close,
    };
    let error = tokio::select! {
        ended = stream.run(&mut control, None, &mut outgoing, &mut moves) => ended.err().unwrap_or_default(),
        () = barred(swarm, share, &device) => "the device was removed".into(),
    };
    tracing::debug!(?device, share = ?share.id, error, "a session of another device ended");
    swarm.listeners.remove(id);
    swarm.core.routes.remove_session(id);
    swarm.core.with(|engine, _| engine.handle_unsubscribed(id));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circuit_leads_to_codes_and_to_nothing_else_that_is_about_no_share() {
        let purposes = [
            DevicePurpose::Mail,
            DevicePurpose::Introduction,
            DevicePurpose::Name,
            DevicePurpose::Code,
        ];
        for purpose in purposes {
            for carrier in [CarrierKind::Quic, CarrierKind::Tcp] {
                assert!(may_come_over(carrier, purpose), "{purpose:?}");
            }
            let relayed = may_come_over(CarrierKind::Relayed, purpose);
            assert_eq!(relayed, purpose == DevicePurpose::Code, "{purpose:?}");
        }
    }
}
