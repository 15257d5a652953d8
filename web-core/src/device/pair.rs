//! Pairing: the page enters a code that another device shows, over a circuit (SPEC.md, "Codes").
//!
//! Invariants: one attempt for one code; nothing is told of what was granted before both sides have
//! confirmed the keys; a side that is silent for longer than a step ends it.

use super::event::Event;
use super::seal::{CodeChannel, random};
use crate::context::Context;
use crate::frames::{Frames, Item};
use crate::wire::{Wire, WireError};
use hither_engine::Time;
use hither_proto::limits::{MAX_CODE_SEALED, PROTOCOL};
use hither_proto::{
    CodeGift, CodeKeys, CodeKind, CodeMessage, CodeName, CodePake, CodeRefusal, CodeSide, DeviceId,
    DeviceName, DevicePurpose, Knock, Message, PairGrant, PairText, PairTextError, PakeMessage,
    encode_frame,
};
use std::time::Duration;

/// Time that the circuit may take.
const CIRCUIT: Duration = Duration::from_secs(15);
/// Time that a step may take; while the other person decides, a word comes every 5 s.
const STEP: Duration = Duration::from_secs(15);
/// Room in a frame beside what is sealed.
const FRAME: usize = 1024;

/// Why nothing comes of it: the page's word, and a sentence for developers' tools.
pub(super) type Failed = (&'static str, &'static str);

enum Stage {
    Connecting,
    /// The exchange has begun.
    Started(Box<CodePake>, PakeMessage),
    Confirming(CodeKeys),
    /// Words are shown; the other person decides.
    Waiting(Box<CodeChannel>),
}

pub(super) struct Pairing {
    pub(super) pipe: u32,
    wire: Wire,
    frames: Frames,
    text: PairText,
    name: DeviceName,
    relay: DeviceId,
    stage: Stage,
    until: Time,
}

const BROKEN: Failed = ("unreachable", "the other device answered something else");

impl Pairing {
    pub(super) fn begin(
        text: &str,
        name: &str,
        relay: DeviceId,
        context: &mut Context<'_>,
    ) -> Result<Self, Failed> {
        let text: PairText = text.parse().map_err(|error| match error {
            PairTextError::Format(_) => ("too_new", "made by a newer version"),
            _ => ("ticket", "this is no such code"),
        })?;
        let unreachable = ("unreachable", "no pipe leads to the relay");
        let CodeName::Scanned(code) = text.secret().name() else {
            return Err(BROKEN);
        };
        let mut salt = [0; Knock::SALT];
        if !random(&mut salt) {
            return Err(("unreachable", "there are no random bytes"));
        }
        let own = context.identity.device();
        let knock = Knock::for_scanned(&code, &own, &text.device, salt);
        let endpoint = context.endpoint_of(relay).ok_or(unreachable)?;
        let wire = Wire::through(context.identity, relay, text.device, knock);
        let wire = wire.map_err(|_| unreachable)?;
        let pipe = context.numbers.pipe();
        context.out.open_pipe(pipe, endpoint);
        Ok(Self {
            pipe,
            wire,
            frames: Frames::new(),
            text,
            name: DeviceName::clean(name),
            relay,
            stage: Stage::Connecting,
            until: context.now + CIRCUIT,
        })
    }

    pub(super) const fn due(&self) -> Time {
        self.until
    }

    /// Sends what waits to be sent.
    pub(super) fn flush(&mut self, context: &mut Context<'_>) -> Result<(), Failed> {
        let mut bytes = Vec::new();
        self.wire.drain(&mut bytes).map_err(|_| BROKEN)?;
        if !bytes.is_empty() {
            context.out.send(self.pipe, &bytes);
        }
        Ok(())
    }

    fn say(&mut self, message: CodeMessage) -> Result<(), Failed> {
        let frame = encode_frame(&Message::Code(Box::new(message)));
        self.wire.send(&frame).map_err(|_| BROKEN)
    }

    /// Takes bytes; `Ok(true)`: it is done, and the page was told.
    pub(super) fn receive(
        &mut self,
        bytes: &[u8],
        context: &mut Context<'_>,
    ) -> Result<bool, Failed> {
        let mut plain = Vec::new();
        let ended = self.wire.receive(context.identity, bytes, &mut plain);
        let ended = ended.map_err(|error| match error {
            WireError::Refused(_) | WireError::Elsewhere => {
                ("not_found", "the device that shows the code is not there")
            }
            _ => BROKEN,
        })?;
        if matches!(self.stage, Stage::Connecting) && self.wire.binding().is_some() {
            self.start(context)?;
        }
        self.frames.push(&plain);
        let mut done = false;
        while let Some(item) = self.frames.next().map_err(|_| BROKEN)? {
            self.until = context.now + STEP;
            done |= match item {
                Item::Message(Message::Code(message)) => self.hear(*message, context)?,
                Item::Message(Message::Refused(_)) => {
                    return Err(("spent", "the other device shows no code"));
                }
                _ => return Err(BROKEN),
            };
        }
        self.flush(context)?;
        if ended && !done {
            return Err(("unreachable", "the other device went away"));
        }
        Ok(done)
    }

    fn start(&mut self, context: &mut Context<'_>) -> Result<(), Failed> {
        let mut seed = [0; 32];
        if !random(&mut seed) {
            return Err(("unreachable", "there are no random bytes"));
        }
        let (secret, own) = (self.text.secret(), context.identity.device());
        let run = CodePake::enter(&secret, &own, &self.text.device, seed);
        let pake = run.message();
        let open = Message::DeviceOpen {
            protocol: PROTOCOL,
            purpose: Some(DevicePurpose::Code),
        };
        self.wire.send(&encode_frame(&open)).map_err(|_| BROKEN)?;
        let start = CodeMessage::Start {
            name: secret.name(),
            kind: CodeKind::Pair,
            pake,
        };
        self.say(start)?;
        self.stage = Stage::Started(Box::new(run), pake);
        self.until = context.now + STEP;
        Ok(())
    }

    fn hear(&mut self, message: CodeMessage, context: &mut Context<'_>) -> Result<bool, Failed> {
        if let CodeMessage::Refused(refusal) = message {
            return Err(match refusal {
                CodeRefusal::Busy => ("busy", "too many enter codes there"),
                CodeRefusal::Kind | CodeRefusal::Spent => ("spent", "the code is good no longer"),
            });
        }
        match (
            std::mem::replace(&mut self.stage, Stage::Connecting),
            message,
        ) {
            (Stage::Started(run, pake), CodeMessage::Answer(answer)) => {
                let key = run.finish(&answer).map_err(|_| BROKEN)?;
                let binding = self.wire.binding().ok_or(BROKEN)?;
                let name = self.text.secret().name();
                let keys = CodeKeys::new(&key, binding, CodeKind::Pair, name, (&pake, &answer));
                self.say(CodeMessage::Confirm(keys.confirmation(CodeSide::Enters)))?;
                self.stage = Stage::Confirming(keys);
            }
            (Stage::Confirming(keys), CodeMessage::Confirm(theirs)) => {
                if theirs != keys.confirmation(CodeSide::Shows) {
                    return Err(BROKEN);
                }
                let channel = CodeChannel::new(&keys, CodeSide::Enters).ok_or(BROKEN)?;
                self.stage = Stage::Waiting(Box::new(channel));
                self.frames.set_max(MAX_CODE_SEALED + FRAME);
                let words = keys.words().to_string();
                let words = words.split('-').map(str::to_owned).collect();
                Event::PairWords { words }.tell(context.out);
                self.give(&CodeGift::Introduction(self.name.clone()))?;
            }
            (Stage::Waiting(mut channel), CodeMessage::Sealed(sealed)) => {
                let gift = channel.open(&sealed).ok_or(BROKEN)?;
                self.stage = Stage::Waiting(channel);
                return match CodeGift::decode(&gift) {
                    Ok(Some(CodeGift::Wait) | None) => Ok(false),
                    Ok(Some(CodeGift::Declined)) => Err(("declined", "the other person said no")),
                    Ok(Some(CodeGift::Grant(grant))) => self.granted(&grant, context),
                    _ => Err(BROKEN),
                };
            }
            _ => return Err(BROKEN),
        }
        Ok(false)
    }

    fn give(&mut self, gift: &CodeGift) -> Result<(), Failed> {
        let Stage::Waiting(channel) = &mut self.stage else {
            return Err(BROKEN);
        };
        let sealed = channel.seal(&gift.encode()).ok_or(BROKEN)?;
        self.say(CodeMessage::Sealed(sealed.into()))
    }

    fn granted(&mut self, grant: &PairGrant, context: &mut Context<'_>) -> Result<bool, Failed> {
        let mut relays = grant.relays.iter().filter(|url| url.key == self.relay);
        let invitation = relays.find_map(|url| url.invitation.as_ref());
        let invitation = invitation.ok_or((
            "refused",
            "the relay that serves this page lets the other device invite nobody",
        ))?;
        self.give(&CodeGift::Taken)?;
        Event::Paired {
            name: grant.name.as_str(),
            invitation: invitation.to_hex(),
        }
        .tell(context.out);
        Ok(true)
    }

    pub(super) fn close(mut self, context: &mut Context<'_>) {
        self.wire.finish();
        // The pipe closes anyway.
        let _ = self.flush(context);
        context.out.close_pipe(self.pipe);
    }
}
