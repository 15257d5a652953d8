//! Slow, silent and last: what happens to requests that do not come home in time.
//!
//! Looked at every 100 ms while anything is in flight (source-selection design, rule 6). A source
//! that gives nothing for too long loses its requests to others and rests. In the endgame, when
//! nothing is idle, a span whose source would take much longer than another is asked for a second
//! time; whichever copy comes first counts.

use crate::claims::ClaimState;
use crate::command::{Command, RequestId};
use crate::fetch::Fetch;
use crate::journal::JournalEvent;
use crate::policy::{Decision, Policy, Rule, SelectionContext, SourceFacts};
use crate::source::{Session, Source};
use crate::time::Time;
use hither_proto::{DeviceId, Space};
use std::time::Duration;

/// How often requests in flight are looked at.
const TICK: Duration = Duration::from_millis(100);
/// Silence after which a source is given up when another has the same: at least, at most.
const STALL: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(3));
/// Silence after which a source is given up when nobody else has it: its link may still be alive,
/// its stream is not.
const STALL_ALONE: Duration = Duration::from_secs(15);
/// How long nothing may be in flight before sources that rest are asked after all (source-selection
/// design, rule 7).
const LIVENESS: Duration = Duration::from_secs(3);
/// A neighbour that needs longer for what it owes is not near in any sense that matters.
const LOCAL: Duration = Duration::from_secs(1);
/// Added to twice the alternative's time before a second copy is asked for.
const ENDGAME_SLACK: Duration = Duration::from_millis(300);

impl Fetch {
    /// Asks to be woken while anything is in flight.
    pub(crate) fn watch(&mut self, now: Time) {
        let waits = !self.neighbourhood.members.is_empty() && !self.spans.none_idle();
        if !waits && self.requests.values().all(|r| r.awaited.is_empty()) {
            self.check_at = None;
        } else {
            self.check_at.get_or_insert(now + TICK);
        }
        if self.requests.is_empty() && self.space().is_some() {
            self.idle_since.get_or_insert(now);
        } else {
            self.idle_since = None;
        }
    }

    /// Whether nothing has moved for so long that whoever has something is asked, whatever others
    /// claim.
    pub(crate) fn is_desperate(&self, now: Time) -> bool {
        self.idle_since
            .is_some_and(|since| now.since(since) >= LIVENESS)
    }

    /// When sources that rest are asked after all, if nothing else happens.
    pub(crate) fn wake_at(&self, now: Time) -> Option<Time> {
        let resting = self
            .sources
            .values()
            .any(|s| s.session == Session::Open && s.rests_after_stall(now));
        self.idle_since
            .filter(|_| resting)
            .map(|since| since + LIVENESS)
    }

    /// No progress for some time and nothing in flight: better a source that stalled before than
    /// none.
    pub(crate) fn wake_resting(&mut self, now: Time) {
        if self.wake_at(now).is_some_and(|at| at <= now) {
            self.idle_since = Some(now);
            self.sources.values_mut().for_each(Source::wake);
        }
    }

    /// Gives up on sources that are silent, when it is time to look; says whether it was.
    pub(crate) fn give_up_stalled(&mut self, now: Time, commands: &mut Vec<Command>) -> bool {
        if self.check_at.is_none_or(|at| at > now) {
            return false;
        }
        self.check_at = None;
        let (Some(version), Some(space)) = (self.version, self.space()) else {
            return false;
        };
        for device in self.silent(version, space, now) {
            self.give_up_on(device, now, commands);
        }
        self.recount();
        true
    }

    /// Sources that owe something and have been silent for too long.
    fn silent(&self, version: u64, space: Space, now: Time) -> Vec<DeviceId> {
        let mut silent: Vec<DeviceId> = self
            .requests
            .values()
            .filter(|r| !r.awaited.is_empty())
            .filter(|r| {
                let Some(source) = self.sources.get(&r.device) else {
                    return true;
                };
                let quiet = now.since(source.last_progress.max(r.asked_at));
                // A chunk may take minutes on a thin link; whoever alone has it gives it in that
                // time or nobody does.
                let moved = source
                    .last_moved
                    .since(source.last_progress.max(r.asked_at));
                let (patience, alone) = self.patience(r.device, r.span, version, space, now);
                quiet > patience + if alone { moved } else { Duration::ZERO }
            })
            .map(|r| r.device)
            .collect();
        silent.sort();
        silent.dedup();
        silent
    }

    /// Bytes of a chunk that was asked for are coming from a device.
    pub(crate) fn moving(&mut self, device: DeviceId, now: Time) {
        if let Some(source) = self.sources.get_mut(&device) {
            source.last_moved = now;
        }
    }

    /// Returns how long the source of a span may be silent, given who else has it; and whether
    /// nobody else has.
    fn patience(
        &self,
        device: DeviceId,
        span: u32,
        version: u64,
        space: Space,
        now: Time,
    ) -> (Duration, bool) {
        let size = self.spans.bytes_of(&self.spans.missing_in(span, None));
        let local = self.is_local(device, now);
        let alternative = self
            .context(span, version, space, now)
            .holders
            .into_iter()
            .filter(|facts| facts.device != device && (!local || self.is_member(facts.device)))
            .map(|facts| facts.finish(size))
            .min();
        let Some(source) = self.sources.get(&device) else {
            return (STALL.0, false);
        };
        let alone = alternative.is_none();
        let patience = match alternative {
            // Before either could bring the whole span, giving up gains nothing; a wrong
            // measurement must not cost more than being alone does.
            Some(finish) => {
                let usual = (finish * 2 + ENDGAME_SLACK).clamp(STALL.0, STALL.1);
                usual.max(finish.max(source.takes(size, now)).min(STALL_ALONE)) * source.patience()
            }
            // What a neighbour has can be had from elsewhere as a first copy, at a price.
            None if local => STALL.1 * source.patience(),
            None => STALL_ALONE * source.patience(),
        };
        (patience, alone)
    }

    fn give_up_on(&mut self, device: DeviceId, now: Time, commands: &mut Vec<Command>) {
        self.journal.note(now, device, JournalEvent::Stalled);
        for (id, request) in self
            .requests
            .iter()
            .filter(|(_, r)| r.device == device && !r.awaited.is_empty())
        {
            commands.push(Command::Cancel {
                share: self.share,
                device: request.device,
                request: *id,
            });
        }
        self.drop_requests_of(device, now);
        if let Some(source) = self.sources.get_mut(&device) {
            source.stalled(now);
        }
    }

    /// Asks for second copies of spans that would hold up the end.
    pub(crate) fn race(
        &mut self,
        policy: &dyn Policy,
        now: Time,
        next: &mut u64,
        commands: &mut Vec<Command>,
    ) {
        let (Some(version), Some(space)) = (self.version, self.space()) else {
            return;
        };
        let late: Vec<(u32, DeviceId, Duration)> = self
            .requests
            .iter()
            .filter(|(id, r)| !r.awaited.is_empty() && !self.raced(**id, r.span))
            .map(|(_, r)| (r.span, r.device, self.projected(r.device, now)))
            .collect();
        for (span, first, projected) in late {
            let mut context = self.context(span, version, space, now);
            context.beside = self.sources.get(&first).map(|source| source.price);
            // What a neighbour has does not come over a thin link a second time because the
            // neighbour is slow, nor when another one has it too.
            let near =
                |facts: &SourceFacts| facts.device != first && self.is_local(facts.device, now);
            let local = (self.is_local(first, now) && projected < LOCAL)
                || context.holders.iter().any(near);
            context
                .holders
                .retain(|facts| facts.device != first && (!local || self.is_member(facts.device)));
            let Some(decision) = policy.choose(&context) else {
                continue;
            };
            let outside = !self.is_member(context.holders[decision.source].device);
            if projected <= decision.finish * 2 + ENDGAME_SLACK
                || (outside && self.is_being_got(span, now))
            {
                continue;
            }
            if outside && space == Space::Data {
                // All neighbours wait for the same: one of them gets it.
                self.neighbourhood.own.get(span, now);
            }
            self.ask_again(
                span, space, version, &context, decision, now, next, commands,
            );
        }
    }

    /// Whether a member says that it gets a span from outside.
    fn is_being_got(&self, span: u32, now: Time) -> bool {
        self.claimed(span, now)
            .is_some_and(|(_, state)| state == ClaimState::Active)
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "passes a decision on with all that it needs"
    )]
    fn ask_again(
        &mut self,
        span: u32,
        space: Space,
        version: u64,
        context: &SelectionContext,
        decision: Decision,
        now: Time,
        next: &mut u64,
        commands: &mut Vec<Command>,
    ) {
        let reasons = context.reasons(&decision);
        let decision = Decision {
            rule: Rule::Endgame,
            ..decision
        };
        self.ask(
            span, space, version, context, &decision, reasons, now, next, commands,
        );
    }

    /// Whether another request already runs for the same span.
    fn raced(&self, id: RequestId, span: u32) -> bool {
        self.requests
            .iter()
            .any(|(other, r)| *other != id && r.span == span)
    }

    /// When the source will have sent all that was asked of it, at its measured rate.
    fn projected(&self, device: DeviceId, now: Time) -> Duration {
        self.sources.get(&device).map_or(Duration::ZERO, |source| {
            let quiet = now.since(source.last_progress);
            self.facts_of(source, now).finish(0) + quiet
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::device;
    use crate::{Command, Engine, EngineConfig, Plan, Time};
    use hither_proto::{Announcement, DeviceId, Ranges, ShareId, ShareSecret, Space};
    use std::time::Duration;

    /// A fetch of one chunk, of which there is one holder.
    fn one_holder() -> (Engine, ShareId, DeviceId, Time) {
        let (share, holder) = (ShareSecret::new([1; 16]).share_id(), device(1));
        let mut engine = Engine::new(EngineConfig::new(device(0)));
        let start = Time::default();
        engine.start_fetch(share, holder, None, None);
        engine.handle_device_seen(share, holder, start);
        engine.handle_session_opened(share, holder, 1, Duration::from_millis(1), start);
        let held = Ranges::default();
        let said = Announcement {
            version: 1,
            epoch: 1,
            seq: 1,
            complete: true,
            held,
            has_manifest: true,
        };
        engine.handle_announced(share, holder, said, start);
        let wanted = std::iter::once(0).collect();
        engine.plan(
            share,
            Plan {
                version: 1,
                space: Space::Root,
                lengths: vec![300],
                wanted,
            },
            start,
        );
        (engine, share, holder, start)
    }

    /// It never sends anything: it is asked again and again, and never left alone for long.
    #[test]
    fn the_only_holder_is_asked_again_soon_however_often_it_stalled() {
        let (mut engine, _, _, start) = one_holder();
        let (mut now, mut given_up, mut asked) = (start, start, 0);
        while asked < 8 {
            while let Some(command) = engine.poll_command() {
                match command {
                    Command::Want { .. } => {
                        assert!(
                            now.since(given_up) <= Duration::from_secs(4),
                            "left alone too long before {asked}"
                        );
                        asked += 1;
                    }
                    Command::Cancel { .. } => given_up = now,
                    _ => {}
                }
            }
            now = engine
                .poll_timeout(now)
                .expect("something is always due")
                .max(now);
            engine.handle_timeout(now);
        }
    }

    /// Its link is thin, and the chunk takes minutes: it is waited for while bytes of it come, and
    /// not longer.
    #[test]
    fn the_only_holder_is_waited_for_while_its_chunk_is_coming() {
        let (mut engine, share, holder, mut now) = one_holder();
        let (mut asked, mut given_up) = (0, None);
        while given_up.is_none() {
            while let Some(command) = engine.poll_command() {
                match command {
                    Command::Want { .. } => asked += 1,
                    Command::Cancel { .. } => given_up = Some(now.since_start()),
                    _ => {}
                }
            }
            now = now + Duration::from_millis(250);
            if now.since_start() < Duration::from_secs(120) {
                engine.handle_moving(share, holder, now);
            }
            engine.handle_timeout(now);
        }
        assert_eq!(asked, 1, "it is asked once while the chunk is coming");
        assert!(
            given_up > Some(Duration::from_secs(120 + 2))
                && given_up < Some(Duration::from_secs(140)),
            "{given_up:?}"
        );
    }
}
