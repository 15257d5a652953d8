//! The loop around an engine: one call, then its commands in order, then the timer.

use super::book::Flight;
use super::device::Nature;
use super::event::{Asked, At, Local, MS, Said, Step};
use super::uplink::Served;
use super::world::World;
use hither_engine::{Carrier, Command, Engine, RequestId, SessionId, StreamId, Time};
use hither_proto::limits::MAX_WANT;
use hither_proto::{DeviceId, Space, Want};
use roaring::RoaringBitmap;

impl World {
    /// Calls the engine of a device, which must be up, and does what it then wants done.
    pub fn with<R>(&mut self, device: usize, call: impl FnOnce(&mut Engine, Time) -> R) -> R {
        let now = self.time();
        let engine = self.devices[device]
            .engine
            .as_mut()
            .expect("only engines of devices that are up are called");
        let result = call(engine, now);
        let commands: Vec<Command> = std::iter::from_fn(|| engine.poll_command()).collect();
        for command in commands {
            self.dispatch(device, command);
        }
        self.rearm(device);
        result
    }

    fn rearm(&mut self, device: usize) {
        let now = self.time();
        let of = &self.devices[device];
        let Some(next) = of.engine.as_ref().and_then(|e| e.poll_timeout(now)) else {
            return;
        };
        let next = (next.since_start().as_nanos() as At).max(self.now);
        if of.armed.is_none_or(|armed| next < armed) {
            self.devices[device].armed = Some(next);
            self.local(next, device, Local::Timer(next));
        }
    }

    pub fn timer(&mut self, device: usize, at: At) {
        let now = self.now;
        let of = &mut self.devices[device];
        if of.armed != Some(at) {
            return;
        }
        of.armed = None;
        if let Err(broken) = of.book.woken(now) {
            self.fail(device, broken);
        }
        self.with(device, Engine::handle_timeout);
    }

    fn dispatch(&mut self, from: usize, command: Command) {
        match command {
            Command::OpenSession { device, .. } => self.open_session(from, device),
            Command::CloseSession { device, .. } => self.close_session(from, device),
            // There are none here.
            Command::FindRelay { .. } => {}
            Command::VersionChosen { version, .. } => {
                self.note(from, "chosen", [version, 0, 0]);
                if self.devices[from].stage.version() == Some(version) {
                    self.fail(
                        from,
                        format!("version {version} is chosen again; nobody would plan it"),
                    );
                }
                self.step_soon(from, Step::Chosen(version));
            }
            Command::SpaceComplete { space, .. } => {
                self.note(from, "complete", [space as u64, 0, 0]);
                self.step_soon(from, Step::Complete(space));
            }
            Command::Want {
                device,
                carrier,
                request,
                space,
                version,
                ranges,
                ..
            } => {
                self.want(
                    from,
                    device,
                    carrier,
                    Want {
                        request: request.0,
                        space,
                        version,
                        ranges,
                    },
                );
            }
            Command::Cancel {
                device, request, ..
            } => self.cancel(from, device, request),
            Command::Announce {
                session,
                announcement,
            } => {
                let facts = [session.0, announcement.seq, announcement.held.total()];
                self.note(from, "announce", facts);
                let told = match self.contents.get(&announcement.version) {
                    Some(content) if announcement.complete => content.all(),
                    _ => announcement.held.to_bitmap(),
                };
                self.check_told(from, announcement.version, &told);
                self.say(from, session, Said::Announce(announcement));
            }
            Command::Delta { session, delta } => {
                self.note(from, "delta", [session.0, delta.seq, delta.added.total()]);
                self.check_told(from, delta.version, &delta.added.to_bitmap());
                self.say(from, session, Said::Delta(delta));
            }
            Command::Claims { session, claims } => {
                let facts = [session.0, claims.active.total(), claims.tentative.total()];
                self.note(from, "claims", facts);
                self.say(from, session, Said::Claims(claims));
            }
            Command::Serve {
                stream,
                request,
                space,
                version,
                ranges,
                ..
            } => {
                let served = Served {
                    request,
                    space,
                    version,
                    ranges,
                };
                self.serve(from, stream, served);
            }
            Command::Abort { stream, request } => self.abort(from, stream.0, request),
            Command::Busy {
                stream,
                request,
                retry_after_ms,
            } => {
                self.note(from, "busy", [stream.0, request, 0]);
                self.answer_busy(stream.0, RequestId(request), retry_after_ms);
            }
            Command::NotHeld {
                stream,
                request,
                ranges,
            } => {
                self.note(from, "not-held", [stream.0, request, ranges.total()]);
                self.answer_not_held(stream.0, RequestId(request), ranges);
            }
        }
    }

    fn step_soon(&mut self, device: usize, step: Step) {
        let at = self.now + self.rng.between(MS / 10, 2 * MS);
        self.local(at, device, Local::Step(step));
    }

    /// Nothing is announced that is not durable, except by who boasts.
    fn check_told(&mut self, device: usize, version: u64, told: &RoaringBitmap) {
        let of = &self.devices[device];
        if !matches!(of.nature, Nature::Boasts { .. }) && !told.is_subset(&of.durable(version)) {
            let not = told - of.durable(version);
            self.fail(
                device,
                format!("announces {} positions that are not durable", not.len()),
            );
        }
    }

    fn say(&mut self, from: usize, session: SessionId, message: Said) {
        match self.devices[from].sessions.get(&session).copied() {
            Some(pipe) => self.say_on(from, pipe, message),
            // Ended here already; the engine is told in a moment.
            None if session.0 > 0 => {}
            None => self.fail(from, "speaks on a session that never was"),
        }
    }

    fn want(&mut self, from: usize, device: DeviceId, carrier: Carrier, want: Want) {
        let Some(to) = self.index.get(&device).copied() else {
            return self.fail(from, "asks a stranger");
        };
        let first = want.ranges.as_slice().first().map_or(0, |run| run.start());
        self.note(from, "want", [to as u64, want.request, first.into()]);
        if let Err(broken) = self.check_want(from, to, carrier, &want) {
            return self.fail(from, broken);
        }
        self.ask(from, to, carrier, Asked::Want(want));
    }

    fn check_want(
        &mut self,
        from: usize,
        to: usize,
        carrier: Carrier,
        want: &Want,
    ) -> Result<(), String> {
        let lengths = self
            .contents
            .get(&want.version)
            .ok_or("asks for an unknown version")?
            .lengths(want.space);
        let positions = want.ranges.to_bitmap();
        let of = &mut self.devices[from];
        if from == to || !of.peers.contains_key(&to) {
            return Err(format!("asks d{to} without a session"));
        }
        if of.liars.contains(&to) {
            return Err(format!("asks d{to}, which was found lying"));
        }
        if of.stage.version() != Some(want.version) {
            return Err(format!(
                "asks for version {} in stage {:?}",
                want.version, of.stage
            ));
        }
        if positions.is_empty() || positions.len() > u64::from(MAX_WANT) {
            return Err("asks for nothing, or for too much".into());
        }
        if positions
            .max()
            .is_some_and(|max| max as usize >= lengths.len())
        {
            return Err("asks for positions beyond the end".into());
        }
        if want.space == Space::Data
            && of
                .disk
                .durable
                .get(&want.version)
                .is_some_and(|d| !d.is_disjoint(&positions))
        {
            return Err(format!("asks again for what is durable: {positions:?}"));
        }
        let flight = Flight::new(to, carrier, want.space, positions, lengths);
        of.book.asked(RequestId(want.request), flight)
    }

    fn cancel(&mut self, from: usize, device: DeviceId, request: RequestId) {
        let Some(to) = self.index.get(&device).copied() else {
            return self.fail(from, "cancels at a stranger");
        };
        self.note(from, "cancel", [to as u64, request.0, 0]);
        if !self.devices[from].book.ended(request) {
            return self.fail(from, "cancels what it never asked for");
        }
        for carrier in [Carrier::Quic, Carrier::Tcp] {
            if self.devices[from].lanes.contains_key(&(to, carrier)) {
                self.ask(from, to, carrier, Asked::Cancel(request));
            }
        }
    }

    fn serve(&mut self, from: usize, stream: StreamId, served: Served) {
        let facts = [stream.0, served.request, served.ranges.total()];
        self.note(from, "serve", facts);
        let of = &self.devices[from];
        let held = of.durable(served.version);
        // What was asked for before a newer version replaced this one is answered with "not held".
        if of.holding == Some(served.version)
            && served.space == Space::Data
            && of.honest()
            && !served.ranges.to_bitmap().is_subset(&held)
        {
            return self.fail(from, "serves what it does not have");
        }
        self.start_job(from, stream.0, served);
    }
}
