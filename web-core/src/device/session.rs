//! The long connection: the page as a device of its user, as a visitor, or as a site that asks.
//!
//! Invariants: a letter keeps its id on every attempt; at most [`MAX_OUTBOX`] letters wait; nothing
//! is answered with `Received` but on the page's word, who has made it durable; a refusal that says
//! that the page may not stay ends it for good, any other one is waited out.

mod cards;
mod letters;

use super::event::{DeviceJson, Event};
use super::role::Role;
use super::stream::{Came, Stream};
use super::trouble::{code_of, passes};
use crate::context::Context;
use hither_engine::Time;
use hither_proto::{
    DeviceId, DeviceName, FetchReceived, MessageId, OwnAnswer, OwnRequest, RelayAddress,
    RelayMessage, RelayPurpose, RelayRefusal, RelayRefusalCode, ShareId, Visiting, Welcome,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Letters that may wait for the relay.
const MAX_OUTBOX: usize = 256;
/// Time that a connection may take until the page may stay.
const HANDSHAKE: Duration = Duration::from_secs(15);
/// Silence after a ping that means that the relay is gone; and after the page came back.
const ANSWER: Duration = Duration::from_secs(10);
const ANSWER_BACK: Duration = Duration::from_secs(4);
/// Pauses between attempts to connect: the first, and the longest.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long the place is left to another machine with the same key.
const TWIN_PAUSE: Duration = Duration::from_secs(600);

/// A letter on its way.
struct Outgoing {
    to: DeviceId,
    id: MessageId,
    sealed: Vec<u8>,
    /// The request of this connection.
    request: Option<u64>,
}

/// Something that the relay was asked for.
enum Asked {
    Letter,
    Place(u32),
    Release,
    Visitors,
    AskWake,
    Wake,
}

/// The news for uploads.
#[derive(Debug)]
pub(super) enum News {
    /// The page may stay: places can be asked for.
    Online,
    Placed(u32, RelayAddress),
    NotPlaced(u32, RelayRefusal),
}

/// A letter that came.
pub(super) struct Delivered {
    pub seq: u64,
    pub from: DeviceId,
    pub id: MessageId,
    pub sealed: Vec<u8>,
    pub taken_ms: u64,
}

pub(super) struct Session {
    pub(super) role: Role,
    relay: DeviceId,
    name: DeviceName,
    made_ms: u64,
    stream: Option<Stream>,
    /// The page may stay.
    ready: bool,
    ping: Duration,
    /// When an answer must have come.
    expected: Option<Time>,
    began: Time,
    again: Option<Time>,
    attempts: u32,
    twins: u32,
    ended: bool,
    outbox: VecDeque<Outgoing>,
    asked: BTreeMap<u64, Asked>,
    next: u64,
    releases: Vec<ShareId>,
    devices: BTreeMap<DeviceId, DeviceJson>,
    has_card: BTreeSet<DeviceId>,
}

impl Session {
    pub(super) fn new(role: Role, relay: DeviceId, name: &str, made_ms: u64) -> Self {
        Self {
            role,
            relay,
            name: DeviceName::clean(name),
            made_ms,
            stream: None,
            ready: false,
            ping: Duration::from_secs(30),
            expected: None,
            began: Time::default(),
            again: None,
            attempts: 0,
            twins: 0,
            ended: false,
            outbox: VecDeque::new(),
            asked: BTreeMap::new(),
            next: 1,
            releases: Vec::new(),
            devices: BTreeMap::new(),
            has_card: BTreeSet::new(),
        }
    }

    pub(super) fn has_pipe(&self, pipe: u32) -> bool {
        self.stream.as_ref().is_some_and(|s| s.pipe == pipe)
    }

    pub(super) const fn name(&self) -> &DeviceName {
        &self.name
    }

    // --- the connection ---

    pub(super) fn connect(&mut self, context: &mut Context<'_>) {
        if self.stream.is_some() || self.ended {
            return;
        }
        (self.again, self.began) = (None, context.now);
        self.expected = None;
        Event::State {
            state: "connecting",
            code: None,
            retry_ms: 0,
        }
        .tell(context.out);
        self.stream = Stream::open(self.relay, context);
        if self.stream.is_none() {
            self.lost(None, context);
        }
    }

    /// Sends the handshake's first bytes.
    pub(super) fn pipe_opened(&mut self, context: &mut Context<'_>) {
        let sent = self.stream.as_mut().map(|stream| stream.flush(context));
        if matches!(sent, Some(Err(_))) {
            self.lost(None, context);
        }
    }

    pub(super) fn pipe_closed(&mut self, context: &mut Context<'_>) {
        self.lost(None, context);
    }

    /// Takes bytes; returns letters, and what uploads are to hear.
    pub(super) fn pipe_bytes(
        &mut self,
        bytes: &[u8],
        context: &mut Context<'_>,
    ) -> (Vec<Delivered>, Vec<News>) {
        let (mut letters, mut news) = (Vec::new(), Vec::new());
        let Some(stream) = &mut self.stream else {
            return (letters, news);
        };
        let came = match stream.receive(bytes, context) {
            Ok(came) => came,
            Err(_) => {
                self.lost(None, context);
                return (letters, news);
            }
        };
        self.expected = None;
        let Came {
            opened,
            messages,
            ended,
        } = came;
        if opened {
            let first = self.role.first();
            let said = stream.begin(RelayPurpose::Device, &first, context);
            if said.is_err() {
                self.lost(None, context);
                return (letters, news);
            }
        }
        for message in messages {
            self.hear(message, &mut letters, &mut news, context);
        }
        if ended {
            self.lost(None, context);
        }
        if let Some(stream) = &mut self.stream {
            // Noticed by the pipe's end.
            let _ = stream.flush(context);
        }
        (letters, news)
    }

    fn lost(&mut self, refusal: Option<RelayRefusal>, context: &mut Context<'_>) {
        if let Some(stream) = self.stream.take() {
            stream.close(context);
        }
        self.ready = false;
        self.expected = None;
        self.asked.clear();
        for letter in &mut self.outbox {
            letter.request = None;
        }
        if self.ended {
            return;
        }
        let gone = refusal.filter(|refusal| !passes(refusal));
        if let Some(refusal) = gone {
            self.ended = true;
            return Event::State {
                state: "removed",
                code: Some(code_of(refusal.code)),
                retry_ms: 0,
            }
            .tell(context.out);
        }
        let mut pause = (PAUSE * 2_u32.saturating_pow(self.attempts.min(10))).min(LONGEST_PAUSE);
        self.attempts += 1;
        if let Some(refusal) = refusal {
            pause = pause.max(Duration::from_millis(u64::from(refusal.retry_after_ms)));
            if refusal.code == RelayRefusalCode::Twin {
                self.twins += 1;
                // Once again at once, so that the other one is refused too; then it has the place.
                pause = if self.twins > 1 { TWIN_PAUSE } else { PAUSE };
            }
        }
        self.again = Some(context.now + pause);
        Event::State {
            state: "offline",
            code: refusal.map(|refusal| code_of(refusal.code)),
            retry_ms: pause.as_millis() as u64,
        }
        .tell(context.out);
    }

    /// Ends it for good.
    pub(super) fn leave(&mut self, context: &mut Context<'_>) {
        self.ended = true;
        self.again = None;
        self.lost(None, context);
    }

    pub(super) fn due(&self) -> Option<Time> {
        let Some(stream) = &self.stream else {
            return self.again;
        };
        if !self.ready {
            return Some(self.began + HANDSHAKE);
        }
        Some(self.expected.unwrap_or(stream.said + self.ping))
    }

    pub(super) fn time(&mut self, context: &mut Context<'_>) {
        if self.due().is_none_or(|due| due > context.now) {
            return;
        }
        match (&mut self.stream, self.ready, self.expected) {
            (None, ..) => self.connect(context),
            (Some(_), false, _) | (Some(_), true, Some(_)) => self.lost(None, context),
            (Some(_), true, None) => self.ping(ANSWER, context),
        }
    }

    fn ping(&mut self, patience: Duration, context: &mut Context<'_>) {
        self.expected = Some(context.now + patience);
        let nonce = self.next;
        self.tell(&RelayMessage::Ping { nonce }, context);
    }

    /// The network, or the page, is back.
    pub(super) fn back(&mut self, context: &mut Context<'_>) {
        self.attempts = 0;
        match self.stream {
            None if self.again.is_some() && self.twins < 2 => self.connect(context),
            Some(_) if self.ready => self.ping(ANSWER_BACK, context),
            _ => {}
        }
    }

    fn tell(&mut self, message: &RelayMessage, context: &mut Context<'_>) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        if stream.tell(message, context).is_err() {
            self.lost(None, context);
        }
    }

    fn request(&mut self, asked: Asked) -> u64 {
        let request = self.next;
        self.next += 1;
        self.asked.insert(request, asked);
        request
    }

    // --- what the relay says ---

    fn hear(
        &mut self,
        message: RelayMessage,
        letters: &mut Vec<Delivered>,
        news: &mut Vec<News>,
        context: &mut Context<'_>,
    ) {
        match message {
            RelayMessage::Refused(refusal) => self.lost(Some(refusal), context),
            RelayMessage::Ping { nonce } => self.tell(&RelayMessage::Pong { nonce }, context),
            RelayMessage::Welcome(welcome) if self.role.is_device() => {
                self.welcome(*welcome, news, context);
            }
            RelayMessage::Visiting(visiting) if !self.role.is_device() => {
                self.visiting(&visiting, news, context);
            }
            RelayMessage::DevicesChanged { changed, removed } if self.ready => {
                for device in removed {
                    self.devices.remove(&device);
                    self.has_card.remove(&device);
                }
                self.know(changed, context);
                self.tell_devices(context);
            }
            RelayMessage::Deliver {
                seq,
                from,
                id,
                sealed,
                taken_ms,
            } => letters.push(Delivered {
                seq,
                from,
                id,
                sealed: sealed.to_vec(),
                taken_ms,
            }),
            RelayMessage::Sent { request, .. } => self.sent(request, context),
            RelayMessage::Placed { request, store } => {
                if let Some(Asked::Place(upload)) = self.asked.remove(&request) {
                    news.push(News::Placed(upload, store));
                }
            }
            RelayMessage::Released { request } => {
                self.asked.remove(&request);
            }
            RelayMessage::OwnAnswered { request, answer } => {
                self.answered(request, &answer, context);
            }
            RelayMessage::Failed { request, refusal } => {
                self.failed(request, refusal, news, context);
            }
            RelayMessage::Fetches(fetches) if self.role.is_device() => {
                // Nobody here shows who reads: the relay may forget it.
                let received = fetches.iter().map(|fetch| FetchReceived {
                    share: fetch.share,
                    device: fetch.device,
                    revision: fetch.revision,
                });
                let received = RelayMessage::FetchesReceived(received.collect());
                self.tell(&received, context);
            }
            // Another node would need a pipe of its own: this one says when it ends.
            _ => {}
        }
    }

    fn stays(&mut self, ping_ms: u32, news: &mut Vec<News>, context: &mut Context<'_>) {
        self.ready = true;
        self.attempts = 0;
        self.ping = Duration::from_millis(u64::from(ping_ms));
        Event::State {
            state: "online",
            code: None,
            retry_ms: 0,
        }
        .tell(context.out);
        for share in std::mem::take(&mut self.releases) {
            self.release(share, context);
        }
        self.send_outbox(context);
        news.push(News::Online);
    }

    fn welcome(&mut self, welcome: Welcome, news: &mut Vec<News>, context: &mut Context<'_>) {
        self.role.spend_invitation();
        self.devices.clear();
        self.has_card.clear();
        self.stays(welcome.ping_ms, news, context);
        self.know(welcome.devices, context);
        self.tell_devices(context);
    }

    fn visiting(&mut self, visiting: &Visiting, news: &mut Vec<News>, context: &mut Context<'_>) {
        if visiting.host != self.role.host() {
            return self.lost(Some(RelayRefusalCode::NotFound.into()), context);
        }
        Event::Visiting {
            origin: visiting.origin.as_ref().map(ToString::to_string),
            seconds: visiting.seconds,
            bytes: visiting.bytes,
            online: visiting.online,
        }
        .tell(context.out);
        self.stays(visiting.ping_ms, news, context);
        self.role.bound(visiting.seconds, visiting.bytes);
        self.invite(context);
    }

    /// An asker lets whoever opens its link come.
    fn invite(&mut self, context: &mut Context<'_>) {
        if let Some(what) = self.role.invitation() {
            let request = self.request(Asked::Visitors);
            self.tell(&RelayMessage::Own { request, what }, context);
        }
    }

    /// Nobody may come any more.
    pub(super) fn end_visitors(&mut self, context: &mut Context<'_>) {
        self.role.bound(0, 0);
        self.invite(context);
    }

    fn answered(&mut self, request: u64, answer: &OwnAnswer, context: &mut Context<'_>) {
        match (self.asked.remove(&request), answer) {
            (Some(Asked::Visitors), OwnAnswer::VisitorsInvited) => {
                match self.role.link(context.identity.device()) {
                    Some((link, seconds)) => Event::Asking { link, seconds }.tell(context.out),
                    None => Event::AskingEnded.tell(context.out),
                }
            }
            (Some(Asked::AskWake), OwnAnswer::WakeWays(ways)) => {
                let key = ways.push_key.as_ref();
                let key = key.map(|key| key.to_vec()).unwrap_or_default();
                let (push, set) = (!key.is_empty(), ways.set.is_some());
                Event::WakeWays { push, set }.tell_with(context.out, &key);
            }
            (Some(Asked::Wake), OwnAnswer::WakeKept) => Event::WakeKept.tell(context.out),
            _ => {}
        }
    }

    fn failed(
        &mut self,
        request: u64,
        refusal: RelayRefusal,
        news: &mut Vec<News>,
        context: &mut Context<'_>,
    ) {
        let code = code_of(refusal.code);
        match self.asked.remove(&request) {
            Some(Asked::Letter) => {
                let mut letters = self.outbox.iter();
                let at = letters.position(|letter| letter.request == Some(request));
                if let Some(letter) = at.and_then(|at| self.outbox.remove(at)) {
                    Event::Unsent {
                        id: super::hex::encode(letter.id.as_bytes()),
                        code,
                        retry_ms: u64::from(refusal.retry_after_ms),
                    }
                    .tell(context.out);
                }
            }
            Some(Asked::Place(upload)) => news.push(News::NotPlaced(upload, refusal)),
            Some(Asked::Visitors) => self.lost(Some(RelayRefusalCode::Role.into()), context),
            Some(Asked::AskWake | Asked::Wake) => Event::WakeFailed { code }.tell(context.out),
            Some(Asked::Release) | None => {}
        }
    }

    // --- shares and waking ---

    /// Asks where a share may be uploaded; `false`: the relay is not reached.
    pub(super) fn place(
        &mut self,
        upload: u32,
        (share, bytes): (ShareId, u64),
        context: &mut Context<'_>,
    ) -> bool {
        if !self.ready {
            return false;
        }
        let request = self.request(Asked::Place(upload));
        let place = RelayMessage::Place {
            request,
            share,
            bytes,
            near: Vec::new(),
        };
        self.tell(&place, context);
        true
    }

    /// A share is not kept any more.
    pub(super) fn release(&mut self, share: ShareId, context: &mut Context<'_>) {
        if !self.ready {
            if self.releases.len() < MAX_OUTBOX {
                self.releases.push(share);
            }
            return;
        }
        let request = self.request(Asked::Release);
        self.tell(&RelayMessage::Release { request, share }, context);
    }

    /// Asks the relay about waking, or tells it how.
    pub(super) fn wake(&mut self, what: OwnRequest, context: &mut Context<'_>) {
        if !self.ready {
            let code = "unreachable";
            return Event::WakeFailed { code }.tell(context.out);
        }
        let asked = match what {
            OwnRequest::AskWake => Asked::AskWake,
            _ => Asked::Wake,
        };
        let request = self.request(asked);
        self.tell(&RelayMessage::Own { request, what }, context);
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("ready", &self.ready)
            .field("outbox", &self.outbox.len())
            .finish_non_exhaustive()
    }
}
