//! The page as a device of its user, as a visitor of somebody else's device, or as a site that asks.
//!
//! [`Device`] takes [`command`]s of the page and returns [`event`]s, beside what pipes bring. A core
//! has one part at a time: a page that visits has a core, and a key, of its own.
//!
//! Invariants: what comes in parses within bounds or is skipped; letters and shares are kept by the
//! page, which says when they are durable; what is not (any more) the page's matter changes nothing.

pub(crate) mod command;
mod cut;
pub(crate) mod event;
mod hex;
mod letter;
mod pair;
mod plan;
mod prepare;
mod putting;
mod role;
pub(crate) mod seal;
mod session;
mod stream;
mod trouble;
mod upload;
mod vectors;
mod version;

pub(crate) use vectors::compute;

use crate::context::Context;
use command::Command;
use event::Event;
use hither_engine::Time;
use hither_proto::seal::SealPurpose;
use hither_proto::{
    AskLink, DeviceId, DeviceName, InboxLink, Invitation, MessageId, OwnRequest, PageLinkError,
    ShareId, VisitorSecret, WakeChannel,
};
use letter::{AskJson, LetterJson};
use pair::{Failed, Pairing};
use role::Role;
use session::{Delivered, News, Session};
use std::collections::BTreeMap;
use upload::{Failure, Upload};

/// Uploads that may be under way at once.
const MAX_UPLOADS: usize = 8;

/// The page's part beside reading.
#[derive(Default)]
pub(crate) struct Device {
    session: Option<Session>,
    uploads: BTreeMap<u32, Upload>,
    pairing: Option<Pairing>,
}

impl Device {
    /// Does what the page wants.
    pub(crate) fn command(&mut self, json: &[u8], bytes: &[u8], context: &mut Context<'_>) {
        match serde_json::from_slice(json) {
            Ok(command) => self.obey(command, bytes, context),
            Err(_) => context.out.malformed(),
        }
    }

    fn obey(&mut self, command: Command, bytes: &[u8], context: &mut Context<'_>) {
        match command {
            Command::Device {
                invitation,
                name,
                made_ms,
                instance,
            } => {
                let invitation = invitation.and_then(|text| Invitation::from_hex(&text).ok());
                let role = Role::Device {
                    invitation,
                    instance,
                };
                self.begin(role, &name, made_ms, context);
            }
            Command::Visit { link, name } => self.visit(&link, &name, context),
            Command::Asker { ask, multiple } => self.ask(ask, multiple, context),
            Command::Name { name, made_ms } => {
                if let Some(session) = &mut self.session {
                    session.rename(&name, made_ms, context);
                }
            }
            Command::Leave => {
                if let Some(mut session) = self.session.take() {
                    session.leave(context);
                }
            }
            Command::Send {
                to,
                id,
                made_ms,
                receipt,
                letter,
            } => {
                let about = (MessageId::new(id), made_ms, receipt);
                self.send(&to, about, letter, bytes, context);
            }
            Command::Unsend { id } => {
                if let Some(session) = &mut self.session {
                    session.unsend(MessageId::new(id));
                }
            }
            Command::Received { seq } => {
                if let Some(session) = &mut self.session {
                    session.received(seq, context);
                }
            }
            Command::Upload(upload) => {
                let number = upload.upload;
                if self.uploads.len() >= MAX_UPLOADS || self.uploads.contains_key(&number) {
                    return context.out.malformed();
                }
                match Upload::begin(&upload, bytes, context) {
                    Ok(begun) => {
                        self.uploads.insert(number, begun);
                        self.place(context);
                    }
                    Err(failure) => tell_failure(number, &failure, context),
                }
            }
            Command::Piece { upload } => {
                self.with_upload(upload, context, |one, context| one.piece(bytes, context));
            }
            Command::Sealed { upload } => {
                self.with_upload(upload, context, |one, context| one.sealed(bytes, context));
            }
            Command::Chunks { upload, put, first } => {
                self.with_upload(upload, context, |one, context| {
                    one.chunks((put, first), bytes, context)
                });
            }
            Command::Unreadable { upload } => {
                self.with_upload(upload, context, |_, _| Err(Upload::unreadable()));
            }
            Command::Drop { upload } => {
                if let Some(upload) = self.uploads.remove(&upload) {
                    upload.close(context);
                }
            }
            Command::Release { share } => {
                if let Some(session) = &mut self.session {
                    session.release(ShareId::new(share), context);
                }
            }
            Command::Pair { text, name } => self.pair(&text, &name, context),
            Command::PairNoMore => {
                if let Some(pairing) = self.pairing.take() {
                    pairing.close(context);
                }
            }
            Command::AskWake => self.wake(Some(OwnRequest::AskWake), context),
            Command::Wake {
                endpoint,
                key,
                auth,
            } => self.wake(wake(endpoint, &key, &auth), context),
            Command::EndVisitors => {
                if let Some(session) = &mut self.session {
                    session.end_visitors(context);
                }
            }
        }
    }

    // --- the long connection ---

    fn begin(&mut self, role: Role, name: &str, made_ms: u64, context: &mut Context<'_>) {
        if let Some(mut session) = self.session.take() {
            session.leave(context);
        }
        // The relay that served the page.
        let Some(relay) = context.endpoints.first().map(|endpoint| endpoint.relay) else {
            return context.out.malformed();
        };
        let session = self
            .session
            .insert(Session::new(role, relay, name, made_ms));
        session.connect(context);
    }

    fn visit(&mut self, link: &str, name: &str, context: &mut Context<'_>) {
        let opened = match link.parse::<InboxLink>() {
            Ok(link) => Ok((link.host, link.secret, link.name, None, false)),
            Err(PageLinkError::NotOne) => link.parse::<AskLink>().map(|link| {
                let none = DeviceName::clean("");
                let ask = Some(AskJson::of(&link.ask));
                (link.asker, link.secret, none, ask, link.multiple)
            }),
            Err(error) => Err(error),
        };
        let (host, secret, host_name, ask, multiple) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                let code = match error {
                    PageLinkError::Newer => "too_new",
                    _ => "ticket",
                };
                return Event::NoLink { code }.tell(context.out);
            }
        };
        let own = context.identity.device();
        Event::Link {
            kind: if ask.is_some() { "ask" } else { "inbox" },
            host: host.to_string(),
            name: if ask.is_some() {
                ""
            } else {
                host_name.as_str()
            },
            number: secret.number(&own, &host),
            ask,
            multiple,
        }
        .tell(context.out);
        self.begin(Role::Visitor { secret, host }, name, 0, context);
    }

    fn ask(&mut self, ask: AskJson, multiple: bool, context: &mut Context<'_>) {
        let mut secret = [0; VisitorSecret::LEN];
        let Some(ask) = ask.parse().filter(|_| seal::random(&mut secret)) else {
            return context.out.malformed();
        };
        let role = Role::asker(VisitorSecret::new(secret), ask, multiple);
        self.begin(role, "", 0, context);
    }

    fn send(
        &mut self,
        to: &str,
        (id, made_ms, receipt): (MessageId, u64, bool),
        letter: LetterJson,
        bytes: &[u8],
        context: &mut Context<'_>,
    ) {
        let Some(session) = &mut self.session else {
            return context.out.malformed();
        };
        let own = context.identity.device();
        let visitor = session.role.header(own, session.name());
        let sealed = to.parse::<DeviceId>().ok().and_then(|to| {
            let plaintext = letter::write(letter, bytes, made_ms, receipt, visitor)?;
            let purpose = SealPurpose::Message;
            let sealed = seal::seal(context.identity, to, purpose, &id, &plaintext);
            Some((to, sealed.ok()?))
        });
        let code = match sealed {
            Some((to, sealed)) => {
                if session.send(to, id, sealed, context) {
                    return;
                }
                "busy"
            }
            None => "too_large",
        };
        Event::Unsent {
            id: hex::encode(id.as_bytes()),
            code,
            retry_ms: 0,
        }
        .tell(context.out);
    }

    fn delivered(&self, letter: &Delivered, context: &mut Context<'_>) {
        let (from, id) = (letter.from, letter.id);
        let purpose = SealPurpose::Message;
        let opened = seal::open(context.identity, from, purpose, &id, &letter.sealed);
        let read = opened.ok().map(|plaintext| letter::read(&plaintext));
        let own = context.identity.device();
        let taken = read.and_then(|read| {
            let role = &self.session.as_ref()?.role;
            let number = role.takes(own, from, read.visitor.as_ref())?;
            Some((read, number))
        });
        // The page acknowledges what nobody can read too: nothing behind it may wait for it.
        let (read, number) = match taken {
            Some((read, number)) => (read, number),
            None => (letter::Read::unreadable(), None),
        };
        Event::Letter {
            seq: letter.seq,
            from: from.to_string(),
            id: hex::encode(id.as_bytes()),
            taken_ms: letter.taken_ms,
            made_ms: read.made_ms,
            receipt: read.receipt,
            number,
            letter: read.letter,
        }
        .tell_with(context.out, &read.bytes);
    }

    fn wake(&mut self, what: Option<OwnRequest>, context: &mut Context<'_>) {
        match (&mut self.session, what) {
            (Some(session), Some(what)) => session.wake(what, context),
            _ => context.out.malformed(),
        }
    }

    // --- uploads ---

    fn with_upload(
        &mut self,
        number: u32,
        context: &mut Context<'_>,
        change: impl FnOnce(&mut Upload, &mut Context<'_>) -> Result<(), Failure>,
    ) {
        let Some(upload) = self.uploads.get_mut(&number) else {
            return;
        };
        match change(upload, context) {
            Ok(()) => self.place(context),
            Err(failure) => self.fail(number, &failure, context),
        }
    }

    fn fail(&mut self, number: u32, failure: &Failure, context: &mut Context<'_>) {
        if let Some(upload) = self.uploads.remove(&number) {
            upload.close(context);
        }
        tell_failure(number, failure, context);
    }

    /// Asks for places for what may be placed.
    fn place(&mut self, context: &mut Context<'_>) {
        for upload in self.uploads.values_mut() {
            upload.place(self.session.as_mut(), context);
        }
    }

    fn hear(&mut self, news: News, context: &mut Context<'_>) {
        let number = match &news {
            News::Online => {
                self.uploads.values_mut().for_each(Upload::online);
                return self.place(context);
            }
            News::Placed(number, _) | News::NotPlaced(number, _) => *number,
        };
        self.with_upload(number, context, |upload, context| {
            upload.hear(news, context)
        });
    }

    // --- pairing ---

    fn pair(&mut self, text: &str, name: &str, context: &mut Context<'_>) {
        if let Some(pairing) = self.pairing.take() {
            pairing.close(context);
        }
        let Some(relay) = context.endpoints.first().map(|endpoint| endpoint.relay) else {
            return context.out.malformed();
        };
        match Pairing::begin(text, name, relay, context) {
            Ok(pairing) => self.pairing = Some(pairing),
            Err(failed) => tell_unpaired(failed, context),
        }
    }

    fn unpaired(&mut self, failed: Failed, context: &mut Context<'_>) {
        if let Some(pairing) = self.pairing.take() {
            pairing.close(context);
        }
        tell_unpaired(failed, context);
    }

    // --- pipes and time ---

    pub(crate) fn pipe_opened(&mut self, pipe: u32, context: &mut Context<'_>) {
        if let Some(session) = self.session.as_mut().filter(|s| s.has_pipe(pipe)) {
            return session.pipe_opened(context);
        }
        if let Some(pairing) = self.pairing.as_mut().filter(|p| p.pipe == pipe) {
            if let Err(failed) = pairing.flush(context) {
                self.unpaired(failed, context);
            }
            return;
        }
        if let Some(upload) = self.uploads.values_mut().find(|u| u.has_pipe(pipe)) {
            upload.pipe_opened(context);
        }
    }

    pub(crate) fn pipe_closed(&mut self, pipe: u32, context: &mut Context<'_>) {
        if let Some(session) = self.session.as_mut().filter(|s| s.has_pipe(pipe)) {
            return session.pipe_closed(context);
        }
        if self.pairing.as_ref().is_some_and(|p| p.pipe == pipe) {
            let failed = ("unreachable", "the connection broke");
            return self.unpaired(failed, context);
        }
        if let Some(upload) = self.uploads.values_mut().find(|u| u.has_pipe(pipe)) {
            upload.pipe_closed(context);
        }
    }

    pub(crate) fn pipe_bytes(&mut self, pipe: u32, bytes: &[u8], context: &mut Context<'_>) {
        if let Some(session) = self.session.as_mut().filter(|s| s.has_pipe(pipe)) {
            let (letters, news) = session.pipe_bytes(bytes, context);
            for letter in &letters {
                self.delivered(letter, context);
            }
            news.into_iter().for_each(|news| self.hear(news, context));
            return;
        }
        if let Some(pairing) = self.pairing.as_mut().filter(|p| p.pipe == pipe) {
            match pairing.receive(bytes, context) {
                Ok(false) => {}
                Ok(true) => {
                    if let Some(pairing) = self.pairing.take() {
                        pairing.close(context);
                    }
                }
                Err(failed) => self.unpaired(failed, context),
            }
            return;
        }
        let mut uploads = self.uploads.iter_mut();
        let Some((number, upload)) = uploads.find(|(_, u)| u.has_pipe(pipe)) else {
            return;
        };
        let number = *number;
        match upload.pipe_bytes(bytes, context) {
            Ok(false) => {}
            Ok(true) => {
                self.uploads.remove(&number);
            }
            Err(failure) => self.fail(number, &failure, context),
        }
    }

    pub(crate) fn due(&self) -> Option<Time> {
        let session = self.session.as_ref().and_then(Session::due);
        let pairing = self.pairing.as_ref().map(Pairing::due);
        let uploads = self.uploads.values().filter_map(Upload::due).min();
        [session, pairing, uploads].into_iter().flatten().min()
    }

    pub(crate) fn time(&mut self, context: &mut Context<'_>) {
        if let Some(session) = &mut self.session {
            session.time(context);
        }
        let late = |pairing: &Pairing| pairing.due() <= context.now;
        if self.pairing.as_ref().is_some_and(late) {
            let failed = ("unreachable", "the other device is silent");
            self.unpaired(failed, context);
        }
        for upload in self.uploads.values_mut() {
            upload.time(self.session.as_mut(), context);
        }
    }

    pub(crate) fn back(&mut self, context: &mut Context<'_>) {
        if let Some(session) = &mut self.session {
            session.back(context);
        }
    }
}

fn tell_failure(upload: u32, failure: &Failure, context: &mut Context<'_>) {
    Event::UploadFailed {
        upload,
        code: failure.code,
        message: failure.message,
        retry_ms: failure.retry_ms,
    }
    .tell(context.out);
}

fn tell_unpaired((code, message): Failed, context: &mut Context<'_>) {
    Event::PairFailed { code, message }.tell(context.out);
}

/// How the relay is to wake the page; `None`: what the browser gave is no subscription.
fn wake(endpoint: Option<String>, key: &str, auth: &str) -> Option<OwnRequest> {
    let Some(endpoint) = endpoint else {
        return Some(OwnRequest::Wake(None));
    };
    let (key, auth) = (hex::decode(key)?, hex::decode(auth)?);
    let channel = WakeChannel::WebPush {
        endpoint,
        key,
        auth,
    };
    Some(OwnRequest::Wake(Some(channel)))
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device")
            .field("session", &self.session)
            .field("uploads", &self.uploads.len())
            .finish_non_exhaustive()
    }
}
