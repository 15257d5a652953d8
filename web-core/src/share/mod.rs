//! One share that a page has opened: from its ticket to its files.
//!
//! The engine says whom to ask for what; here it is carried out, as the daemon's loop does
//! (`daemon/src/transfer/run.rs`, `swarm/`): streams in `lanes.rs`, requests by HTTP in `gets.rs`,
//! the way from head to manifest in `version.rs`, files in `reading.rs`.
//!
//! The engine plans whole spaces; a page reads parts of files. So a space of data is planned with
//! what is wanted now, and what is wanted later is added to the plan while it runs
//! ([`Engine::lost`]), or planned anew when it was complete.

mod gets;
mod holders;
mod lanes;
mod reading;
mod version;
mod want;

use crate::context::Context;
use crate::error::{ErrorCode, ShareError};
use gets::Gets;
use hither_engine::{Command, Engine, EngineConfig, Phase, Time, Waiting};
use hither_proto::{DeviceId, HolderKind, ProofKey, ShareId, Ticket};
use holders::Holders;
use lanes::Lanes;
use reading::Readings;
use std::time::Duration;
use version::Stage;
use want::Wants;

/// Pause between two looks around of a share: pings, deadlines, what sources gave.
const TICK: Duration = Duration::from_millis(500);
/// Time for which stores may keep a page waiting before the owner's device is asked through the relay.
const STORES_FIRST: Duration = Duration::from_millis(1500);
/// After so long without anybody to read from, a page that has nothing yet gives up.
const PATIENCE: Duration = Duration::from_secs(20);
/// Patience where everybody who was asked has said that the share is not there.
const PATIENCE_UNKNOWN: Duration = Duration::from_secs(4);
/// Patience for a share that is open: its sources may come back.
const PATIENCE_OPEN: Duration = Duration::from_secs(600);

/// One share.
pub(crate) struct Share {
    number: u32,
    ticket: Ticket,
    id: ShareId,
    of_secret: ProofKey,
    of_read_key: ProofKey,
    engine: Option<Engine>,
    holders: Holders,
    lanes: Lanes,
    gets: Gets,
    wants: Wants,
    stage: Stage,
    readings: Readings,
    failure: Option<ShareError>,
    begun: Time,
    /// Since when nobody gives anything.
    alone_since: Option<Time>,
    /// The owner's device is among those that may be asked.
    owner_is_asked: bool,
    looked: Time,
}

impl Share {
    /// The share that a ticket opens. Nothing is done before [`begin`](Self::begin).
    pub fn new(number: u32, ticket: &str) -> Result<Self, ShareError> {
        let ticket: Ticket = ticket.trim().parse()?;
        Ok(Self {
            number,
            id: ticket.share(),
            of_secret: ProofKey::of_secret(&ticket.secret),
            of_read_key: ProofKey::of_read_key(&ticket.secret.read_key()),
            ticket,
            engine: None,
            holders: Holders::default(),
            lanes: Lanes::default(),
            gets: Gets::default(),
            wants: Wants::default(),
            stage: Stage::Locating,
            readings: Readings::default(),
            failure: None,
            begun: Time::default(),
            alone_since: None,
            owner_is_asked: false,
            looked: Time::default(),
        })
    }

    /// Begins: the page's relay, as it mostly is the store itself, is asked for the share, and who
    /// else has it. In this order: browsers open one pipe after the other.
    pub fn begin(&mut self, context: &mut Context<'_>) {
        self.begun = context.now;
        self.looked = context.now;
        let mut engine = Engine::new(EngineConfig::new(context.identity.device()));
        let pin = self.ticket.pin.as_ref().map(|pin| pin.version);
        engine.start_fetch(self.id, self.ticket.owner, pin, None);
        self.engine = Some(engine);
        if context.endpoints.is_empty() {
            return self.fail(ErrorCode::Unreachable, "the page has no way to a relay");
        }
        for endpoint in context.endpoints {
            self.see(endpoint.relay, HolderKind::Store, context);
        }
        self.go_on(context);
        for relay in context
            .endpoints
            .iter()
            .map(|e| e.relay)
            .collect::<Vec<_>>()
        {
            self.look_up(relay, context);
        }
        self.lanes.flush(context);
    }

    /// The reason why the share cannot be read any more.
    pub const fn failure(&self) -> Option<&ShareError> {
        self.failure.as_ref()
    }

    fn fail(&mut self, code: ErrorCode, message: impl Into<String>) {
        self.fail_with(ShareError::new(code, message));
    }

    fn fail_with(&mut self, error: ShareError) {
        self.failure.get_or_insert(error);
    }

    /// A chunk whose id is right was sealed with another key than the manifest says.
    pub fn does_not_open(&mut self) {
        self.fail(ErrorCode::Damaged, "a chunk does not open with its key");
    }

    /// Ends everything about the share.
    pub fn close(&mut self, context: &mut Context<'_>) {
        self.lanes.close_all(context);
        self.gets.cancel_all(context);
        self.engine = None;
    }

    /// The network, or the page, is back.
    pub fn back(&mut self, context: &mut Context<'_>) {
        self.alone_since = None;
        let now = context.now;
        self.with_engine(|engine, _| {
            engine.handle_network_changed(now);
            engine.handle_back(None, now);
        });
        self.lanes.ping_all(context);
        self.go_on(context);
    }

    /// When the share wants to be woken.
    pub fn due(&self, now: Time) -> Option<Time> {
        let engine = self.engine.as_ref()?;
        let tick = self.looked + TICK;
        Some(engine.poll_timeout(now).map_or(tick, |due| due.min(tick)))
    }

    /// Does what is due.
    pub fn time(&mut self, context: &mut Context<'_>) {
        let now = context.now;
        self.with_engine(|engine, _| engine.handle_timeout(now));
        if now.since(self.looked) >= TICK {
            self.looked = now;
            self.check_lanes(context);
            self.ask_devices(context);
            self.give_up(now);
            self.tell_sources(context);
        }
        self.go_on(context);
    }

    fn with_engine<R>(&mut self, change: impl FnOnce(&mut Engine, ShareId) -> R) -> Option<R> {
        self.engine.as_mut().map(|engine| change(engine, self.id))
    }

    /// Adds somebody who may have the share.
    fn see(&mut self, device: DeviceId, kind: HolderKind, context: &Context<'_>) {
        let now = context.now;
        if self.holders.add(device, kind) {
            self.with_engine(|engine, share| engine.handle_holder_seen(share, device, kind, now));
        }
    }

    /// Carries out what the engine wants, until it wants nothing more, and hands out what is there.
    fn go_on(&mut self, context: &mut Context<'_>) {
        while self.failure.is_none() {
            while let Some(command) = self
                .with_engine(|engine, _| engine.poll_command())
                .flatten()
            {
                self.carry_out(command, context);
            }
            self.next_stage(context);
            self.plan_reading(context);
            self.hand_out(context);
            let more = self
                .with_engine(|engine, _| engine.poll_command())
                .flatten();
            match more {
                Some(command) => self.carry_out(command, context),
                None => break,
            }
        }
        self.send_wants(context);
        self.lanes.flush(context);
    }

    fn carry_out(&mut self, command: Command, context: &mut Context<'_>) {
        match command {
            Command::OpenSession { device, kind, .. } => self.open_session(device, kind, context),
            Command::CloseSession { device, .. } => self.close_session(device, context),
            Command::VersionChosen { version, .. } => self.version_chosen(version, context),
            Command::Want {
                device,
                request,
                space,
                version,
                ranges,
                ..
            } => self.wants.add(want::Want {
                device,
                request,
                space,
                version,
                ranges,
            }),
            Command::Cancel {
                device, request, ..
            } => self.cancel(device, request, context),
            // A page gives nothing to others, and knows no direct ways.
            Command::FindRelay { .. }
            | Command::SpaceComplete { .. }
            | Command::Announce { .. }
            | Command::Delta { .. }
            | Command::Claims { .. }
            | Command::Serve { .. }
            | Command::Abort { .. }
            | Command::Busy { .. }
            | Command::NotHeld { .. } => {}
        }
    }

    /// Has the owner's device asked, through the relay, where no store gives everything.
    fn ask_devices(&mut self, context: &mut Context<'_>) {
        if self.owner_is_asked {
            return;
        }
        let now = context.now;
        let progress = self
            .with_engine(|engine, share| engine.progress(share, now))
            .flatten();
        let waits = progress.is_some_and(|p| p.waiting.is_some() || p.phase == Phase::Locating);
        let late = now.since(self.begun) >= STORES_FIRST;
        if waits && (late || self.lanes.has_store_refused()) {
            self.owner_is_asked = true;
            self.see(self.ticket.owner, HolderKind::Device, context);
        }
    }

    /// Ends a share from which nothing comes for too long.
    fn give_up(&mut self, now: Time) {
        let progress = self
            .with_engine(|engine, share| engine.progress(share, now))
            .flatten();
        // Nothing is asked for while nothing is wanted: an open share may be idle.
        let idle = matches!(self.stage, Stage::Open(_)) && !self.readings.wants_anything();
        let Some(waiting) = progress.and_then(|p| p.waiting).filter(|_| !idle) else {
            self.alone_since = None;
            return;
        };
        let alone = now.since(*self.alone_since.get_or_insert(now));
        let open = matches!(self.stage, Stage::Open(_));
        let patience = match waiting {
            Waiting::Gone => Duration::ZERO,
            Waiting::Damaged => PATIENCE_UNKNOWN,
            _ if self.lanes.knows_that_it_is_not_there() => PATIENCE_UNKNOWN,
            _ if open => PATIENCE_OPEN,
            _ => PATIENCE,
        };
        if alone < patience {
            return;
        }
        let (code, message) = match waiting {
            Waiting::Gone => (ErrorCode::Gone, "the owner has ended the share"),
            Waiting::Damaged => (ErrorCode::Damaged, "what came was not what was asked for"),
            _ if self.lanes.knows_that_it_is_not_there() && open => {
                (ErrorCode::Gone, "the share is not there any more")
            }
            _ if self.lanes.knows_that_it_is_not_there() => (
                ErrorCode::NotFound,
                "neither the relay nor a device has the share",
            ),
            _ if self.lanes.busy_ms() > 0 => (ErrorCode::Busy, "the relay is busy"),
            Waiting::NotHeld => (ErrorCode::Unreachable, "nobody there has all of the share"),
            _ => (ErrorCode::Unreachable, "nobody answers"),
        };
        let mut error = ShareError::new(code, message);
        if code == ErrorCode::Busy {
            error.retry_after_ms = self.lanes.busy_ms();
        }
        self.fail_with(error);
    }
}

impl std::fmt::Debug for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Share")
            .field("number", &self.number)
            .field("id", &self.id)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}
