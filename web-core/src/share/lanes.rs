//! Streams to relays, stores and devices: each over a byte pipe of its own.
//!
//! Invariant: the share is named on a stream only once TLS has proven that the expected key is at
//! the other end, and nothing that comes on it counts before that end has proven that it knows the
//! share.

use super::Share;
use crate::context::Context;
use crate::error::ErrorCode;
use crate::frames::{Frames, Item};
use crate::wire::{Wire, WireError};
use hither_engine::{Carrier, Distance, Time};
use hither_proto::limits::{MAX_FRAME, MAX_FRAME_LOOKUP, PROTOCOL};
use hither_proto::{
    DeviceId, HolderKind, Knock, Message, Opened, Proof, ProofKind, Purpose, Refusal,
    RelayRefusalCode, Side, SignedHead, encode_frame,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// Time that a stream may take until it is open: several handshakes one after the other.
const HANDSHAKE: Duration = Duration::from_secs(12);
/// Pause between two pings on control streams.
const PING: Duration = Duration::from_secs(5);
/// Silence after which the other side counts as gone.
const SILENCE: Duration = Duration::from_secs(15);
/// Longest silence after a page came back: what a suspended page missed tells nothing.
const SILENCE_BACK: Duration = Duration::from_secs(4);
/// Pause until relays are asked again who has the share, while nobody gives anything.
const LOOK_UP_AGAIN: Duration = Duration::from_secs(10);
/// Streams of one share.
const MAX_LANES: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// TLS is being set up.
    Connecting,
    /// The open is sent.
    Greeting,
    /// The other side has proven itself.
    Open,
}

/// One stream.
struct Lane {
    device: DeviceId,
    kind: HolderKind,
    purpose: Purpose,
    wire: Wire,
    frames: Frames,
    state: State,
    /// When the pipe was asked for; once it is there, when.
    since: Time,
    /// Time that the first answer took.
    rtt: Duration,
    heard: Time,
    pinged: Time,
    /// When silence ends it.
    patience: Duration,
    /// Messages that are sent once it is open.
    waiting: Vec<Message>,
}

/// Answers of relays and stores.
#[derive(Debug, Default)]
struct Answers {
    /// A lookup has ended without a holder.
    unknown: bool,
    store_refused: bool,
    store_has_none: bool,
    owner_has_none: bool,
    busy_ms: u32,
    looked_up: Time,
}

/// All streams of one share.
#[derive(Default)]
pub(super) struct Lanes {
    by_pipe: BTreeMap<u32, Lane>,
    answers: Answers,
}

impl Lanes {
    pub fn has_store_refused(&self) -> bool {
        self.answers.store_refused || self.answers.unknown
    }

    /// The relay knows no store, and the store and the owner's device do not have it or are not there.
    pub fn knows_that_it_is_not_there(&self) -> bool {
        self.answers.store_has_none && self.answers.owner_has_none
    }

    /// When the relay wants to be asked again, if it said that it was busy.
    pub fn busy_ms(&self) -> u32 {
        self.answers.busy_ms
    }

    fn find(&self, device: DeviceId, purpose: Purpose) -> Option<u32> {
        let mut lanes = self.by_pipe.iter();
        lanes
            .find(|(_, lane)| lane.device == device && lane.purpose == purpose)
            .map(|(pipe, _)| *pipe)
    }

    /// Sends a message on the stream for chunks, now or once it is open; `false`: there is none.
    pub fn send_bulk(&mut self, device: DeviceId, message: Message) -> bool {
        let pipe = self.find(device, Purpose::Bulk);
        let Some(lane) = pipe.and_then(|pipe| self.by_pipe.get_mut(&pipe)) else {
            return false;
        };
        match lane.state {
            State::Open => lane.wire.send(&encode_frame(&message)).is_ok(),
            State::Connecting | State::Greeting => {
                lane.waiting.push(message);
                true
            }
        }
    }

    /// Sends what waits to be sent.
    pub fn flush(&mut self, context: &mut Context<'_>) {
        let mut bytes = Vec::new();
        for (pipe, lane) in &mut self.by_pipe {
            bytes.clear();
            if lane.wire.drain(&mut bytes).is_ok() && !bytes.is_empty() {
                context.out.send(*pipe, &bytes);
            }
        }
    }

    /// Ends all streams in order.
    pub fn close_all(&mut self, context: &mut Context<'_>) {
        for lane in self.by_pipe.values_mut() {
            lane.wire.finish();
        }
        self.flush(context);
        for pipe in std::mem::take(&mut self.by_pipe).into_keys() {
            context.out.close_pipe(pipe);
        }
    }

    /// Asks all control streams whether they still work, and waits less long for the answer.
    pub fn ping_all(&mut self, context: &mut Context<'_>) {
        let controls = self.by_pipe.values_mut();
        for lane in controls.filter(|l| l.purpose == Purpose::Control && l.state == State::Open) {
            lane.heard = context.now;
            lane.pinged = context.now;
            lane.patience = SILENCE_BACK;
            // A lane that breaks is noticed by its silence.
            let _ = lane.wire.send(&encode_frame(&Message::Ping { nonce: 1 }));
        }
    }
}

impl std::fmt::Debug for Lanes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lanes")
            .field("count", &self.by_pipe.len())
            .finish_non_exhaustive()
    }
}

impl Share {
    pub(crate) fn has_pipe(&self, pipe: u32) -> bool {
        self.lanes.by_pipe.contains_key(&pipe)
    }

    // --- opening ---

    /// Asks a relay who has the share.
    pub(super) fn look_up(&mut self, relay: DeviceId, context: &mut Context<'_>) {
        self.lanes.answers.looked_up = context.now;
        if self.lanes.find(relay, Purpose::Lookup).is_none() {
            self.open_lane(relay, HolderKind::Store, Purpose::Lookup, context);
        }
    }

    /// Opens the streams of a session: what the holder says, and what it gives.
    pub(super) fn open_session(
        &mut self,
        device: DeviceId,
        kind: HolderKind,
        context: &mut Context<'_>,
    ) {
        if self.lanes.find(device, Purpose::Control).is_some() {
            return;
        }
        if !self.open_lane(device, kind, Purpose::Control, context) {
            let now = context.now;
            self.with_engine(|engine, share| engine.handle_session_failed(share, device, now));
            return;
        }
        // To a device a circuit costs the relay something: it is made when it is needed.
        if kind == HolderKind::Store {
            self.open_bulk(device, kind, context);
        }
    }

    fn open_bulk(&mut self, device: DeviceId, kind: HolderKind, context: &mut Context<'_>) -> bool {
        self.lanes.find(device, Purpose::Bulk).is_some()
            || self.open_lane(device, kind, Purpose::Bulk, context)
    }

    /// Makes sure that there is a stream for chunks, or one on its way; `false`: there cannot be one.
    pub(super) fn ensure_bulk(&mut self, device: DeviceId, context: &mut Context<'_>) -> bool {
        let kind = self.holders.get(device).map(|holder| holder.kind);
        kind.is_some_and(|kind| self.open_bulk(device, kind, context))
    }

    fn open_lane(
        &mut self,
        device: DeviceId,
        kind: HolderKind,
        purpose: Purpose,
        context: &mut Context<'_>,
    ) -> bool {
        if self.lanes.by_pipe.len() >= MAX_LANES {
            return false;
        }
        let made = match kind {
            HolderKind::Store => context
                .endpoint_of(device)
                .map(|endpoint| (endpoint, Wire::to_relay(context.identity, device))),
            HolderKind::Device => context.endpoints.first().and_then(|relay| {
                let knock = self.knock(device, context)?;
                let wire = Wire::through(context.identity, relay.relay, device, knock);
                Some((relay.number, wire))
            }),
        };
        let Some((endpoint, Ok(wire))) = made else {
            return false;
        };
        let pipe = context.numbers.pipe();
        context.out.open_pipe(pipe, endpoint);
        let lane = Lane {
            device,
            kind,
            purpose,
            wire,
            frames: Frames::new(),
            state: State::Connecting,
            since: context.now,
            rtt: Duration::ZERO,
            heard: context.now,
            pinged: context.now,
            patience: SILENCE,
            waiting: Vec::new(),
        };
        self.lanes.by_pipe.insert(pipe, lane);
        true
    }

    /// Shows a device that the page knows one of its shares.
    fn knock(&self, device: DeviceId, context: &Context<'_>) -> Option<Knock> {
        let mut salt = [0; Knock::SALT];
        let random = ring::rand::SystemRandom::new();
        ring::rand::SecureRandom::fill(&random, &mut salt).ok()?;
        let own = context.identity.device();
        Some(Knock::make(&self.ticket.secret, &own, &device, salt))
    }

    /// Ends the streams of a session, because the engine wants that.
    pub(super) fn close_session(&mut self, device: DeviceId, context: &mut Context<'_>) {
        for purpose in [Purpose::Control, Purpose::Bulk] {
            if let Some(pipe) = self.lanes.find(device, purpose) {
                self.drop_lane(pipe, context);
            }
        }
        self.drop_requests(device, context);
    }

    fn drop_lane(&mut self, pipe: u32, context: &mut Context<'_>) -> Option<Lane> {
        let lane = self.lanes.by_pipe.remove(&pipe)?;
        context.out.close_pipe(pipe);
        Some(lane)
    }

    // --- what pipes say ---

    /// The page has the pipe that it was asked for.
    pub(crate) fn pipe_opened(&mut self, pipe: u32, context: &mut Context<'_>) {
        if let Some(lane) = self.lanes.by_pipe.get_mut(&pipe) {
            (lane.since, lane.heard) = (context.now, context.now);
        }
        self.go_on(context);
    }

    /// The page has lost a pipe, or could not get it.
    pub(crate) fn pipe_closed(&mut self, pipe: u32, context: &mut Context<'_>) {
        self.end_lane(pipe, "the pipe is closed", context);
        self.go_on(context);
    }

    /// Bytes have come.
    pub(crate) fn pipe_bytes(&mut self, pipe: u32, bytes: &[u8], context: &mut Context<'_>) {
        let Some(lane) = self.lanes.by_pipe.get_mut(&pipe) else {
            return;
        };
        lane.heard = context.now;
        lane.patience = SILENCE;
        let mut plain = Vec::new();
        let received = lane.wire.receive(context.identity, bytes, &mut plain);
        lane.frames.push(&plain);
        if lane.state == State::Connecting && lane.wire.binding().is_some() {
            lane.rtt = context.now.since(lane.since);
            lane.state = State::Greeting;
            if let Err(error) = self.send_open(pipe) {
                return self.lane_failed(pipe, &error, context);
            }
        }
        match received {
            Ok(ended) => {
                self.read_frames(pipe, context);
                if ended {
                    self.end_lane(pipe, "the other side has ended the stream", context);
                }
                self.go_on(context);
            }
            Err(error) => self.lane_failed(pipe, &error, context),
        }
    }

    fn lane_failed(&mut self, pipe: u32, error: &WireError, context: &mut Context<'_>) {
        if let WireError::Refused(refusal) = error
            && let Some(lane) = self.lanes.by_pipe.get(&pipe)
        {
            let of_owner = lane.device == self.ticket.owner;
            match refusal.code {
                RelayRefusalCode::Busy => {
                    self.lanes.answers.busy_ms = refusal.retry_after_ms.max(1)
                }
                _ if of_owner => self.lanes.answers.owner_has_none = true,
                _ => {}
            }
        }
        self.end_lane(pipe, &error.to_string(), context);
        self.go_on(context);
    }

    /// The open of a stream about the share.
    fn send_open(&mut self, pipe: u32) -> Result<(), WireError> {
        let Some(lane) = self.lanes.by_pipe.get_mut(&pipe) else {
            return Ok(());
        };
        let Some(binding) = lane.wire.binding() else {
            return Ok(());
        };
        let (key, proof_kind, owner) = match lane.kind {
            HolderKind::Device => (&self.of_secret, ProofKind::Secret, None),
            HolderKind::Store => (
                &self.of_read_key,
                ProofKind::ReadKey,
                Some(self.ticket.owner),
            ),
        };
        let open = Message::Open {
            protocol: PROTOCOL,
            share: self.id,
            proof: Proof::make(key, binding, Side::Opener, lane.purpose),
            proof_kind,
            owner,
            purpose: Some(lane.purpose),
        };
        lane.frames.set_max(match lane.purpose {
            Purpose::Lookup => MAX_FRAME_LOOKUP,
            // An answer to an open: a head and a name.
            Purpose::Control | Purpose::Bulk => 4096,
        });
        lane.wire.send(&encode_frame(&open))
    }

    fn read_frames(&mut self, pipe: u32, context: &mut Context<'_>) {
        while let Some(lane) = self.lanes.by_pipe.get_mut(&pipe) {
            let (device, state) = (lane.device, lane.state);
            let item = match lane.frames.next() {
                Ok(Some(item)) => item,
                Ok(None) => {
                    if lane.frames.is_in_chunk() {
                        let now = context.now;
                        self.with_engine(|engine, share| engine.handle_moving(share, device, now));
                    }
                    return;
                }
                Err(error) => return self.end_lane(pipe, &error.to_string(), context),
            };
            match (item, state) {
                (Item::Message(message), State::Greeting) => self.greeted(pipe, message, context),
                (Item::Message(message), State::Open) => self.heard(pipe, message, context),
                (
                    Item::Chunk {
                        request,
                        position,
                        sealed,
                    },
                    State::Open,
                ) if lane.purpose == Purpose::Bulk => {
                    if !self.chunk(device, request, position, sealed, context) {
                        return self.end_lane(pipe, "a chunk that nobody asked for", context);
                    }
                }
                _ => return self.end_lane(pipe, "something else was said", context),
            }
        }
    }

    // --- the greeting ---

    fn greeted(&mut self, pipe: u32, message: Message, context: &mut Context<'_>) {
        let Some(lane) = self.lanes.by_pipe.get_mut(&pipe) else {
            return;
        };
        let (device, purpose) = (lane.device, lane.purpose);
        match (message, purpose) {
            (Message::Opened(opened), Purpose::Control | Purpose::Bulk) => {
                let head = SignedHead::open(&opened.head, self.id, self.ticket.owner);
                match head {
                    Ok(head) if self.is_proven(pipe, &opened.proof) => {
                        self.opened(pipe, &opened, head, context);
                    }
                    _ => self.end_lane(pipe, "the other side does not know the share", context),
                }
            }
            (
                Message::Elsewhere {
                    proof: Some(proof),
                    holders,
                },
                Purpose::Lookup,
            ) if self.is_proven(pipe, &proof) => {
                self.lanes.answers.unknown = holders.is_empty();
                self.drop_lane(pipe, context);
                self.hear_holders(&holders, context);
            }
            (Message::Refused(refusal), _) => self.refused(pipe, device, purpose, refusal, context),
            _ => self.end_lane(pipe, "the other side answered something else", context),
        }
    }

    fn is_proven(&self, pipe: u32, proof: &Proof) -> bool {
        let Some(lane) = self.lanes.by_pipe.get(&pipe) else {
            return false;
        };
        let key = match lane.kind {
            HolderKind::Device => &self.of_secret,
            HolderKind::Store => &self.of_read_key,
        };
        lane.wire
            .binding()
            .is_some_and(|binding| proof.verify(key, binding, Side::Acceptor, lane.purpose))
    }

    fn opened(&mut self, pipe: u32, _opened: &Opened, head: SignedHead, context: &mut Context<'_>) {
        let now = context.now;
        let Some(lane) = self.lanes.by_pipe.get_mut(&pipe) else {
            return;
        };
        lane.state = State::Open;
        lane.frames.set_max(MAX_FRAME);
        let (device, kind, rtt, purpose) = (lane.device, lane.kind, lane.rtt, lane.purpose);
        for message in std::mem::take(&mut lane.waiting) {
            // A stream that breaks here is noticed when its pipe closes.
            let _ = lane.wire.send(&encode_frame(&message));
        }
        self.lanes.answers.busy_ms = 0;
        match purpose {
            Purpose::Control => {
                let version = self.holders.showed(device, head);
                let distance = Distance {
                    rtt,
                    same_network: false,
                    site: None,
                    relayed: kind == HolderKind::Device,
                };
                self.with_engine(|engine, share| {
                    engine.handle_session_opened(share, device, version, distance, now);
                    if kind == HolderKind::Store {
                        engine.handle_carrier(share, device, Carrier::Quic, false, now);
                        engine.handle_carrier(share, device, Carrier::Tcp, true, now);
                    }
                });
            }
            Purpose::Bulk if kind == HolderKind::Store => self.ask_for_token(device, context),
            Purpose::Bulk | Purpose::Lookup => {}
        }
    }

    fn refused(
        &mut self,
        pipe: u32,
        device: DeviceId,
        purpose: Purpose,
        refusal: Refusal,
        context: &mut Context<'_>,
    ) {
        let kind = self.lanes.by_pipe.get(&pipe).map(|lane| lane.kind);
        let answers = &mut self.lanes.answers;
        match (refusal, purpose, kind) {
            (Refusal::Busy(ms), _, _) => answers.busy_ms = ms.max(1),
            (Refusal::Protocol, _, _) => {
                self.fail(
                    ErrorCode::TooNew,
                    "the relay speaks another version of the protocol",
                );
            }
            (_, Purpose::Lookup, _) => answers.unknown = true,
            (_, _, Some(HolderKind::Store)) => {
                answers.store_refused = true;
                answers.store_has_none = true;
            }
            _ if device == self.ticket.owner => answers.owner_has_none = true,
            _ => {}
        }
        self.drop_lane(pipe, context);
        let now = context.now;
        match purpose {
            Purpose::Control => {
                self.close_session(device, context);
                self.with_engine(|engine, share| {
                    engine.handle_session_refused(share, device, refusal, now);
                });
            }
            Purpose::Bulk => self.bulk_failed(device, context),
            Purpose::Lookup => {}
        }
    }

    fn hear_holders(&mut self, holders: &[hither_proto::Holder], context: &Context<'_>) {
        for holder in holders {
            let reachable = match holder.kind {
                HolderKind::Store => context.endpoint_of(holder.address.key).is_some(),
                HolderKind::Device => true,
            };
            if reachable {
                self.see(holder.address.key, holder.kind, context);
            }
        }
    }

    // --- afterwards ---

    fn heard(&mut self, pipe: u32, message: Message, context: &mut Context<'_>) {
        let Some(lane) = self.lanes.by_pipe.get_mut(&pipe) else {
            return;
        };
        let (device, now) = (lane.device, context.now);
        match (message, lane.purpose) {
            (Message::Ping { nonce }, _) => {
                // A stream that breaks here is noticed when its pipe closes.
                let _ = lane.wire.send(&encode_frame(&Message::Pong { nonce }));
            }
            (Message::Announce(said), Purpose::Control)
                if self.holders.speaks_of(device, said.version) =>
            {
                self.with_engine(|engine, share| engine.handle_announced(share, device, said, now));
            }
            (Message::HaveDelta(said), Purpose::Control)
                if self.holders.speaks_of(device, said.version) =>
            {
                self.with_engine(|engine, share| engine.handle_delta(share, device, &said, now));
            }
            (Message::Terms(said), Purpose::Control) => {
                self.with_engine(|engine, share| engine.handle_terms(share, device, said, now));
            }
            (Message::NewHead(head), Purpose::Control) => {
                if let Ok(head) = SignedHead::open(&head, self.id, self.ticket.owner) {
                    let version = self.holders.showed(device, head);
                    self.with_engine(|engine, share| {
                        engine.handle_head(share, device, version, now);
                    });
                }
            }
            (Message::Elsewhere { holders, .. }, Purpose::Control) => {
                self.hear_holders(&holders, context);
            }
            (Message::Refused(refusal), purpose) => {
                self.refused(pipe, device, purpose, refusal, context);
            }
            (message, Purpose::Bulk) => self.answered(device, message, context),
            _ => {}
        }
    }

    fn end_lane(&mut self, pipe: u32, _why: &str, context: &mut Context<'_>) {
        let Some(lane) = self.drop_lane(pipe, context) else {
            return;
        };
        let (device, now) = (lane.device, context.now);
        match lane.purpose {
            Purpose::Control => {
                self.close_session(device, context);
                self.with_engine(|engine, share| engine.handle_session_failed(share, device, now));
            }
            Purpose::Bulk => self.bulk_failed(device, context),
            Purpose::Lookup => {}
        }
    }

    /// Pings, and ends what was silent for too long.
    pub(super) fn check_lanes(&mut self, context: &mut Context<'_>) {
        let now = context.now;
        let mut over = Vec::new();
        for (pipe, lane) in &mut self.lanes.by_pipe {
            if lane.state != State::Open {
                if now.since(lane.since) > HANDSHAKE {
                    over.push(*pipe);
                }
                continue;
            }
            if lane.purpose != Purpose::Control {
                continue;
            }
            if now.since(lane.heard) > lane.patience {
                over.push(*pipe);
            } else if now.since(lane.pinged) >= PING {
                lane.pinged = now;
                // A lane that breaks is noticed by its silence.
                let _ = lane.wire.send(&encode_frame(&Message::Ping { nonce: 0 }));
            }
        }
        for pipe in over {
            self.end_lane(pipe, "no answer", context);
        }
        let again = now.since(self.lanes.answers.looked_up) > LOOK_UP_AGAIN;
        if again && self.alone_since.is_some() {
            for relay in context
                .endpoints
                .iter()
                .map(|e| e.relay)
                .collect::<Vec<_>>()
            {
                self.look_up(relay, context);
            }
        }
    }
}
