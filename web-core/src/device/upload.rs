//! One share on its way to the relay: read once for its ids, signed, and what the store lacks read
//! once more and sent.
//!
//! Invariants: a chunk leaves only when its ciphertext has the id of the first reading, so that a
//! file that changed meanwhile is never sent under an old key; at most [`WINDOW`] bytes are on their
//! way without being durable at the store; an upload that breaks begins anew and finds there what is
//! durable.

use super::command::UploadCommand;
use super::cut::Domain;
use super::event::Event;
use super::plan::Plan;
use super::prepare::{Changed, Preparing};
use super::putting::{Put, Putting};
use super::session::{News, Session};
use super::trouble::{code_of, passes};
use super::version::{self, Inputs, Version};
use crate::context::Context;
use hither_engine::Time;
use hither_proto::limits::MAX_CHUNK;
use hither_proto::{
    ChunkRecord, RelayAddress, RelayRefusal, RelayRefusalCode, ShareId, ShareSecret, Ticket,
};
use std::time::Duration;

/// Pauses between attempts: the first, and the longest.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Attempts without a durable byte between them after which a share that the store does not know is
/// given up.
const LOST: u32 = 3;

/// Why nothing comes of an upload.
pub(super) struct Failure {
    pub code: &'static str,
    pub message: &'static str,
    pub retry_ms: u64,
}

impl Failure {
    const fn new(code: &'static str, message: &'static str) -> Self {
        Self {
            code,
            message,
            retry_ms: 0,
        }
    }
}

const CHANGED: Failure = Failure::new("changed", "a file is not what it was when it was chosen");
const UNREADABLE: Failure = Failure::new("unreadable", "a file cannot be read");

enum Stage {
    /// The first reading.
    Preparing(Box<Preparing>),
    /// For the relay, or until then.
    Waiting(Option<Time>),
    /// The relay was asked for a place.
    Placing,
    /// A stream to the store.
    Putting(Box<Putting>),
}

pub(super) struct Upload {
    number: u32,
    plan: Plan,
    inputs: Inputs,
    keep_s: u64,
    seal_here: bool,
    version: Option<Version>,
    stage: Stage,
    attempts: u32,
    store: Option<RelayAddress>,
}

impl Upload {
    /// Begins, or goes on behind the records that were kept.
    pub(super) fn begin(
        command: &UploadCommand,
        records: &[u8],
        context: &mut Context<'_>,
    ) -> Result<Self, Failure> {
        let plan = Plan::new(&command.files, &command.name);
        let plan = plan.map_err(|message| Failure::new("too_large", message))?;
        let records = ChunkRecord::decode_all(records, MAX_CHUNK).map_err(|_| CHANGED)?;
        let domain = Domain::new(command.domain);
        let seal_here = context.open_here;
        let preparing = Preparing::new(&plan, domain.clone(), records, seal_here);
        let mut upload = Self {
            number: command.upload,
            stage: Stage::Preparing(Box::new(preparing.ok_or(CHANGED)?)),
            plan,
            inputs: Inputs {
                secret: ShareSecret::new(command.secret),
                domain,
                salt: command.salt,
                published_ms: command.published_ms,
            },
            keep_s: command.keep_s,
            seal_here,
            version: None,
            attempts: 0,
            store: None,
        };
        upload.read_on(context)?;
        Ok(upload)
    }

    pub(super) fn has_pipe(&self, pipe: u32) -> bool {
        matches!(&self.stage, Stage::Putting(putting) if putting.has_pipe(pipe))
    }

    fn share(&self) -> ShareId {
        self.inputs.secret.share_id()
    }

    // --- the first reading ---

    /// Asks for what is to be read next; seals the version when all of it was.
    fn read_on(&mut self, context: &mut Context<'_>) -> Result<(), Failure> {
        let Stage::Preparing(preparing) = &mut self.stage else {
            return Ok(());
        };
        while let Some(need) = preparing.need(&self.plan) {
            Event::Need {
                upload: self.number,
                file: need.file,
                offset: need.offset,
                length: need.length,
            }
            .tell(context.out);
        }
        if let Some((first, bytes)) = preparing.take_new_records(&self.plan) {
            let upload = self.number;
            Event::Records { upload, first }.tell_with(context.out, &bytes);
        }
        Event::Progress {
            upload: self.number,
            stage: "preparing",
            done: preparing.recorded(),
            bytes: self.plan.bytes(),
        }
        .tell(context.out);
        if !preparing.is_done(&self.plan) {
            return Ok(());
        }
        let records = std::mem::take(&mut preparing.records);
        let version = version::seal(&self.plan, records, &self.inputs, context.identity);
        let too_large = Failure::new("too_large", "the list of files is too long for one share");
        self.version = Some(version.ok_or(too_large)?);
        self.stage = Stage::Waiting(None);
        Event::Prepared {
            upload: self.number,
            share: super::hex::encode(self.share().as_bytes()),
            name: self.plan.name(),
            files: self.plan.files(),
            bytes: self.plan.bytes(),
        }
        .tell(context.out);
        Ok(())
    }

    /// A piece of a file was read.
    pub(super) fn piece(&mut self, bytes: &[u8], context: &mut Context<'_>) -> Result<(), Failure> {
        let Stage::Preparing(preparing) = &mut self.stage else {
            return Ok(());
        };
        let cuts = preparing.piece(&self.plan, bytes).map_err(changed)?;
        if !cuts.lengths.is_empty() {
            let (upload, lengths) = (self.number, cuts.lengths.as_slice());
            Event::Cuts { upload, lengths }.tell_with(context.out, &cuts.keys);
        }
        self.read_on(context)
    }

    /// Chunks of the first reading were encrypted.
    pub(super) fn sealed(
        &mut self,
        bytes: &[u8],
        context: &mut Context<'_>,
    ) -> Result<(), Failure> {
        if let Stage::Preparing(preparing) = &mut self.stage {
            preparing.sealed(bytes).map_err(changed)?;
        }
        self.read_on(context)
    }

    pub(super) fn unreadable() -> Failure {
        UNREADABLE
    }

    // --- the way to the store ---

    /// Asks for a place when it may be asked for.
    pub(super) fn place(&mut self, session: Option<&mut Session>, context: &mut Context<'_>) {
        let (Stage::Waiting(again), Some(version)) = (&self.stage, &self.version) else {
            return;
        };
        if again.is_some_and(|again| again > context.now) {
            return;
        }
        let what = (self.share(), version.bytes());
        if session.is_some_and(|session| session.place(self.number, what, context)) {
            self.stage = Stage::Placing;
        }
    }

    /// The relay is there again: what was asked for is forgotten.
    pub(super) fn online(&mut self) {
        if let Stage::Placing | Stage::Waiting(_) = self.stage {
            self.stage = Stage::Waiting(None);
        }
    }

    pub(super) fn hear(&mut self, news: News, context: &mut Context<'_>) -> Result<(), Failure> {
        match news {
            News::Placed(_, store) => self.put(store, context),
            News::NotPlaced(_, refusal) => self.refused(&refusal, context),
            News::Online => Ok(()),
        }
    }

    fn put(&mut self, store: RelayAddress, context: &mut Context<'_>) -> Result<(), Failure> {
        let Some(version) = &self.version else {
            return Ok(());
        };
        let elsewhere = Failure::new("unreachable", "the store cannot be reached from a page");
        let putting = Putting::open(store.key, version, context).ok_or(elsewhere)?;
        self.store = Some(store);
        self.stage = Stage::Putting(Box::new(putting));
        Ok(())
    }

    fn refused(
        &mut self,
        refusal: &RelayRefusal,
        context: &mut Context<'_>,
    ) -> Result<(), Failure> {
        // A place that was given up meanwhile is asked for anew.
        let again = refusal.code == RelayRefusalCode::NotFound && self.attempts < LOST;
        if passes(refusal) || again {
            self.wait(u64::from(refusal.retry_after_ms), context);
            return Ok(());
        }
        Err(Failure {
            code: code_of(refusal.code),
            message: "the relay does not take it",
            retry_ms: u64::from(refusal.retry_after_ms),
        })
    }

    fn wait(&mut self, retry_ms: u64, context: &mut Context<'_>) {
        let pause = PAUSE * 2_u32.saturating_pow(self.attempts.min(6));
        let pause = pause
            .min(LONGEST_PAUSE)
            .max(Duration::from_millis(retry_ms));
        self.attempts += 1;
        self.stage = Stage::Waiting(Some(context.now + pause));
        Event::UploadWaits {
            upload: self.number,
            retry_ms: pause.as_millis() as u64,
        }
        .tell(context.out);
    }

    fn lost(&mut self, context: &mut Context<'_>) {
        if let Stage::Putting(putting) = std::mem::replace(&mut self.stage, Stage::Waiting(None)) {
            putting.close(context);
        }
        self.wait(0, context);
    }

    pub(super) fn pipe_opened(&mut self, context: &mut Context<'_>) {
        if let Stage::Putting(putting) = &mut self.stage
            && putting.pipe_opened(context).is_err()
        {
            self.lost(context);
        }
    }

    pub(super) fn pipe_closed(&mut self, context: &mut Context<'_>) {
        self.lost(context);
    }

    /// Takes bytes of the store; `Ok(true)`: the share is complete and durable there.
    pub(super) fn pipe_bytes(
        &mut self,
        bytes: &[u8],
        context: &mut Context<'_>,
    ) -> Result<bool, Failure> {
        let (Stage::Putting(putting), Some(version)) = (&mut self.stage, &self.version) else {
            return Ok(false);
        };
        let put = Put {
            version,
            inputs: &self.inputs,
            keep_s: self.keep_s,
        };
        match putting.receive(bytes, &put, context) {
            Ok(came) => {
                if came.stored {
                    self.attempts = 0;
                }
                if came.done {
                    self.done(context);
                    return Ok(true);
                }
                self.give_on(context);
                Ok(false)
            }
            Err(Some(refusal)) => {
                self.lost(context);
                self.refused(&refusal, context)?;
                Ok(false)
            }
            Err(None) => {
                self.lost(context);
                Ok(false)
            }
        }
    }

    /// Asks the page for what may be sent next, and says how far it is.
    fn give_on(&mut self, context: &mut Context<'_>) {
        let (Stage::Putting(putting), Some(version)) = (&mut self.stage, &self.version) else {
            return;
        };
        while let Some(take) = putting.take(version) {
            let records = version.of_data.iter().skip(take.first as usize);
            let (mut lengths, mut keys, mut end) = (Vec::new(), Vec::new(), take.start);
            for record in records.take(take.count as usize) {
                lengths.push(record.length);
                keys.extend_from_slice(record.key.expose());
                end += u64::from(record.length);
            }
            Event::Take {
                upload: self.number,
                put: putting.number(),
                first: take.first,
                lengths,
                parts: self.plan.parts(take.start..end),
            }
            .tell_with(context.out, &keys);
        }
        if putting.end(context).is_err() {
            return self.lost(context);
        }
        if let Some(left) = putting.left() {
            let bytes = self.plan.bytes();
            Event::Progress {
                upload: self.number,
                stage: "uploading",
                done: bytes - left.min(bytes),
                bytes,
            }
            .tell(context.out);
        }
    }

    /// Chunks were read again.
    pub(super) fn chunks(
        &mut self,
        (put, first): (u32, u32),
        bytes: &[u8],
        context: &mut Context<'_>,
    ) -> Result<(), Failure> {
        let (Stage::Putting(putting), Some(version)) = (&mut self.stage, &self.version) else {
            // They were asked for on a stream that has ended.
            return Ok(());
        };
        if putting.number() != put {
            return Ok(());
        }
        match putting.chunks(first, bytes, version, self.seal_here, context) {
            Ok(true) => self.give_on(context),
            Ok(false) => self.lost(context),
            Err(Changed) => return Err(CHANGED),
        }
        Ok(())
    }

    fn done(&mut self, context: &mut Context<'_>) {
        if let Stage::Putting(putting) = std::mem::replace(&mut self.stage, Stage::Waiting(None)) {
            putting.close(context);
        }
        let ticket = Ticket {
            secret: self.inputs.secret.clone(),
            owner: context.identity.device(),
            hints: Vec::new(),
            relays: self.store.iter().cloned().collect(),
            pin: None,
        };
        Event::Uploaded {
            upload: self.number,
            ticket: ticket.to_string(),
        }
        .tell(context.out);
    }

    /// Ends it here; what is at the relay stays there.
    pub(super) fn close(self, context: &mut Context<'_>) {
        if let Stage::Putting(putting) = self.stage {
            putting.close(context);
        }
    }

    pub(super) fn due(&self) -> Option<Time> {
        match &self.stage {
            Stage::Waiting(again) => *again,
            Stage::Putting(putting) => Some(putting.due()),
            Stage::Preparing(_) | Stage::Placing => None,
        }
    }

    pub(super) fn time(&mut self, session: Option<&mut Session>, context: &mut Context<'_>) {
        if self.due().is_none_or(|due| due > context.now) {
            return;
        }
        if let Stage::Putting(_) = self.stage {
            return self.lost(context);
        }
        // Without a connection it is placed as soon as there is one.
        self.stage = Stage::Waiting(None);
        self.place(session, context);
    }
}

fn changed(_: Changed) -> Failure {
    CHANGED
}
