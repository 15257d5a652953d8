//! Control sessions: dialling, admission, announcements both ways, and every way in which they end.

use super::device::{Nature, Stage};
use super::event::{At, Dialled, End, Event, Local, MS, SECOND, Said};
use super::world::World;
use hither_engine::{Carrier, Distance, SessionId, SiteId};
use hither_proto::{DeviceId, Refusal};
use std::time::Duration;

/// How long an open that nobody answers takes to fail.
const DIAL_TIMEOUT: At = 5 * SECOND;
/// Longest time until silence is noticed.
const SILENCE: At = 15 * SECOND;

/// One control stream.
#[derive(Debug)]
pub(crate) struct Session {
    pub opener: usize,
    pub acceptor: usize,
    /// The number that each end knows it by.
    opener_id: SessionId,
    acceptor_id: SessionId,
    opener_open: bool,
    acceptor_open: bool,
    /// Nothing gets through any more, though an end may not know yet.
    pub cut: bool,
    /// When the last message to each end arrives: none overtakes it.
    last_to_opener: At,
    last_to_acceptor: At,
}

impl Session {
    fn who(&self, end: End) -> usize {
        if end == End::Opener {
            self.opener
        } else {
            self.acceptor
        }
    }

    fn id(&self, end: End) -> SessionId {
        if end == End::Opener {
            self.opener_id
        } else {
            self.acceptor_id
        }
    }

    fn open(&mut self, end: End) -> &mut bool {
        if end == End::Opener {
            &mut self.opener_open
        } else {
            &mut self.acceptor_open
        }
    }

    fn last(&mut self, to: End) -> &mut At {
        if to == End::Opener {
            &mut self.last_to_opener
        } else {
            &mut self.last_to_acceptor
        }
    }
}

impl World {
    // --- opening ---

    /// An engine wants a session.
    pub fn open_session(&mut self, from: usize, device: DeviceId) {
        let Some(to) = self.index.get(&device).copied() else {
            return self.fail(from, "dials a stranger");
        };
        self.note(from, "dial", [to as u64, 0, 0]);
        let of = &mut self.devices[from];
        if to == from || of.peers.contains_key(&to) || !of.dials.insert(to) {
            return self.fail(
                from,
                format!("dials d{to} although it has a session with it"),
            );
        }
        let life = of.life;
        // Handshake and open: a round trip and a half.
        let at = self.now + self.latency(from, to) * 3;
        self.at(at, Event::Dial { from, life, to });
    }

    /// An open reaches a device.
    pub fn dial(&mut self, from: usize, life: u32, to: usize) {
        if self.devices[from].life != life || !self.up(from) {
            return;
        }
        if self.blocked(from, to) || !self.up(to) {
            let quick = self.rng.chance(0.5) && !self.blocked(from, to);
            let at = self.now + if quick { 3 * MS } else { DIAL_TIMEOUT };
            return self.local(at, from, Local::Dialled(to, Dialled::Failed));
        }
        let busy =
            matches!(self.devices[to].nature, Nature::Busy { part } if self.rng.chance(part));
        let refusal = match self.devices[to].shown_head() {
            0 if self.devices[to].stage == Stage::Idle => Some(Refusal::NotFound),
            0 => Some(Refusal::Busy(100)),
            _ if busy => Some(Refusal::Busy(self.rng.between(50, 2000) as u32)),
            _ => None,
        };
        let outcome = match refusal {
            Some(refusal) => Dialled::Refused(refusal),
            None => Dialled::Opened {
                session: self.accept(from, to),
            },
        };
        let at = self.now + self.latency(to, from);
        if let Dialled::Opened { session } = outcome
            && let Some(pipe) = self.sessions.get_mut(&session)
        {
            pipe.last_to_opener = at;
        }
        self.local(at, from, Local::Dialled(to, outcome));
        if let Dialled::Opened { session } = outcome {
            self.attend(to, session);
        }
    }

    fn accept(&mut self, from: usize, to: usize) -> u64 {
        let session = self.fresh();
        let (opener_id, acceptor_id) = (SessionId(self.fresh()), SessionId(self.fresh()));
        self.devices[to].sessions.insert(acceptor_id, session);
        let pipe = Session {
            opener: from,
            acceptor: to,
            opener_id,
            acceptor_id,
            opener_open: true,
            acceptor_open: true,
            cut: false,
            last_to_opener: 0,
            last_to_acceptor: 0,
        };
        self.sessions.insert(session, pipe);
        session
    }

    /// The acceptor tells what it holds; whoever knows the secret will soon have something too.
    fn attend(&mut self, to: usize, session: u64) {
        let (share, pipe) = (self.share, &self.sessions[&session]);
        let (id, opener) = (pipe.acceptor_id, self.devices[pipe.opener].id);
        self.with(to, |engine, now| {
            engine.handle_subscribed(id, share);
            engine.handle_device_seen(share, opener, now);
        });
    }

    /// The answer to an open reaches the opener.
    pub fn dialled(&mut self, from: usize, to: usize, outcome: Dialled) {
        let (share, device) = (self.share, self.devices[to].id);
        self.devices[from].dials.remove(&to);
        match outcome {
            Dialled::Opened { session } if self.sessions.get(&session).is_some_and(|s| !s.cut) => {
                self.note(from, "opened", [to as u64, session, 0]);
                self.opened(from, to, session);
            }
            Dialled::Opened { session } => {
                self.forget_session(session, End::Opener);
                self.with(from, |engine, now| {
                    engine.handle_session_failed(share, device, now)
                });
            }
            Dialled::Refused(refusal) => {
                self.note(from, "refused", [to as u64, 0, 0]);
                self.with(from, |engine, now| {
                    engine.handle_session_refused(share, device, refusal, now)
                });
            }
            Dialled::Failed => {
                self.note(from, "unreachable", [to as u64, 0, 0]);
                self.with(from, |engine, now| {
                    engine.handle_session_failed(share, device, now)
                });
            }
        }
    }

    fn opened(&mut self, from: usize, to: usize, session: u64) {
        let head = self.devices[to].shown_head();
        let rtt = Duration::from_nanos(2 * self.distance(from, to));
        let (share, device) = (self.share, self.devices[to].id);
        let (here, there) = (self.devices[from].site, self.devices[to].site);
        let site = (here != there).then_some(SiteId(there as u64));
        let distance = Distance {
            rtt,
            same_network: false,
            site,
            relayed: false,
        };
        let id = self.sessions[&session].opener_id;
        let of = &mut self.devices[from];
        of.peers.insert(to, session);
        of.sessions.insert(id, session);
        of.heads.insert(head);
        of.disk.head = of.disk.head.max(head);
        self.with(from, |engine, now| {
            engine.handle_session_opened(share, device, head, distance, now);
        });
        if self.net.tcp {
            let at = self.now + 4 * self.latency(from, to);
            self.local(at, from, Local::Tcp(to));
        }
    }

    pub fn tcp_connects(&mut self, from: usize, to: usize) {
        if self.devices[from].peers.contains_key(&to) && self.up(to) && !self.blocked(from, to) {
            let (share, device) = (self.share, self.devices[to].id);
            self.with(from, |engine, now| {
                engine.handle_carrier(share, device, Carrier::Tcp, true, now)
            });
        }
    }

    // --- talking ---

    /// One end says something.
    pub fn say_on(&mut self, from: usize, session: u64, message: Said) {
        let Some(pipe) = self.sessions.get(&session) else {
            return;
        };
        if pipe.cut {
            return;
        }
        let end = if pipe.opener == from {
            End::Opener
        } else {
            End::Acceptor
        };
        let to = end.other();
        let latency = self.latency(from, pipe_end(&self.sessions[&session], to));
        let now = self.now;
        let Some(pipe) = self.sessions.get_mut(&session) else {
            return;
        };
        let at = (now + latency).max(*pipe.last(to));
        *pipe.last(to) = at;
        self.at(
            at,
            Event::Say {
                session,
                to,
                message,
            },
        );
    }

    pub fn say_arrives(&mut self, session: u64, to: End, message: Said) {
        let Some(pipe) = self.sessions.get_mut(&session) else {
            return;
        };
        if pipe.cut || !*pipe.open(to) {
            return;
        }
        let (device, from) = (pipe.who(to), self.devices[pipe.who(to.other())].id);
        let share = self.share;
        match message {
            Said::NewHead(head) => {
                let of = &mut self.devices[device];
                of.heads.insert(head);
                of.disk.head = of.disk.head.max(head);
                self.with(device, |engine, now| {
                    engine.handle_head(share, from, head, now)
                });
            }
            Said::Announce(a) => {
                self.with(device, |engine, now| {
                    engine.handle_announced(share, from, a, now)
                });
            }
            Said::Delta(d) => self.with(device, |engine, now| {
                engine.handle_delta(share, from, &d, now)
            }),
            Said::Claims(c) => self.with(device, |engine, now| {
                engine.handle_claims(share, from, &c, now)
            }),
        }
    }

    // --- ending ---

    /// An engine wants the session closed that it opened.
    pub fn close_session(&mut self, from: usize, device: DeviceId) {
        let Some(to) = self.index.get(&device).copied() else {
            return self.fail(from, "closes on a stranger");
        };
        self.note(from, "close", [to as u64, 0, 0]);
        self.devices[from].book.lost(to, None);
        let fetching = !matches!(self.devices[from].stage, Stage::Done(_));
        if fetching && self.devices[to].honest() {
            self.needless_closes += 1;
            if self.needless_closes > 0 {
                return self.fail(
                    from,
                    format!("closes the session with d{to}, which did nothing wrong"),
                );
            }
        }
        let Some(session) = self.devices[from].peers.remove(&to) else {
            return;
        };
        self.close_lanes(from, to);
        self.hang_up(session, End::Opener);
        // The task of the session ends a moment later and says so.
        let at = self.now + self.rng.between(0, 3 * MS);
        self.local(at, from, Local::SessionFailed(to, session));
    }

    /// One end closes; the other one hears of it.
    fn hang_up(&mut self, session: u64, end: End) {
        self.forget_session(session, end);
        let Some(pipe) = self.sessions.get(&session) else {
            return;
        };
        let (here, there) = (pipe.who(end), pipe.who(end.other()));
        let latency = self.latency(here, there);
        self.at(
            self.now + latency,
            Event::SessionEnds {
                session,
                end: end.other(),
            },
        );
    }

    /// The task of a session that was closed here is gone.
    pub fn session_failed(&mut self, from: usize, to: usize, _session: u64) {
        let (share, device) = (self.share, self.devices[to].id);
        self.devices[from].book.lost(to, None);
        self.with(from, |engine, now| {
            engine.handle_session_failed(share, device, now)
        });
    }

    /// One end of a session does not know it any more; both gone, it is no more.
    fn forget_session(&mut self, session: u64, end: End) -> bool {
        let Some(pipe) = self.sessions.get_mut(&session) else {
            return false;
        };
        let was = std::mem::replace(pipe.open(end), false);
        let (device, id) = (pipe.who(end), pipe.id(end));
        let nobody = !pipe.opener_open && !pipe.acceptor_open;
        if nobody {
            self.sessions.remove(&session);
        }
        if was && self.devices[device].sessions.remove(&id).is_some() && self.up(device) {
            // Unsubscribing gives no command, so it may happen within the handling of one.
            if let Some(engine) = self.devices[device].engine.as_mut() {
                engine.handle_unsubscribed(id);
            }
        }
        was
    }

    /// One end notices that its session is over.
    pub fn session_ends(&mut self, session: u64, end: End) {
        let Some(pipe) = self.sessions.get(&session) else {
            return;
        };
        let (device, other) = (pipe.who(end), pipe.who(end.other()));
        if !self.forget_session(session, end) || !self.up(device) {
            return;
        }
        if end == End::Opener && self.devices[device].peers.get(&other) == Some(&session) {
            self.note(device, "session-lost", [other as u64, session, 0]);
            self.devices[device].peers.remove(&other);
            self.close_lanes(device, other);
            self.session_failed(device, other, session);
        }
    }

    /// Everything between two devices breaks; each end notices in its own time.
    pub fn break_sessions(&mut self, a: usize, b: usize, slow: bool) {
        let between: Vec<u64> = self
            .sessions
            .iter()
            .filter(|(_, s)| (s.opener, s.acceptor) == (a, b) || (s.opener, s.acceptor) == (b, a))
            .map(|(id, _)| *id)
            .collect();
        for session in between {
            if let Some(pipe) = self.sessions.get_mut(&session) {
                pipe.cut = true;
            }
            for end in [End::Opener, End::Acceptor] {
                let at = self.now
                    + if slow {
                        self.rng.between(SECOND, SILENCE)
                    } else {
                        self.rng.between(MS, 50 * MS)
                    };
                self.at(at, Event::SessionEnds { session, end });
            }
        }
    }

    /// A device is gone: its own ends are forgotten at once.
    pub fn drop_sessions_of(&mut self, device: usize) {
        let of: Vec<(u64, End)> = self
            .sessions
            .iter()
            .filter_map(|(id, s)| match () {
                () if s.opener == device => Some((*id, End::Opener)),
                () if s.acceptor == device => Some((*id, End::Acceptor)),
                () => None,
            })
            .collect();
        for (session, end) in of {
            self.forget_session(session, end);
        }
    }
}

fn pipe_end(pipe: &Session, end: End) -> usize {
    pipe.who(end)
}
