//! Sources that are slow or silent, and requests that do not end in time.
//!
//! Requests are looked at every 100 ms while anything is in flight (source-selection design, rule
//! 6). A source that gives nothing for too long loses its requests to others and rests.

use crate::request::Request;
use crate::requests::Requests;
use crate::selection::Selection;
use crate::source::Source;
use crate::sources::Sources;
use crate::time::Time;
use hither_proto::DeviceId;
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
/// Added to twice the alternative's time before another source is asked for the same.
pub(crate) const ENDGAME_SLACK: Duration = Duration::from_millis(300);

/// When the requests of a fetch are looked at, and since when there are none.
#[derive(Debug, Default)]
pub(crate) struct Stalls {
    check_at: Option<Time>,
    /// Since when something is missing and nothing is in flight.
    idle_since: Option<Time>,
}

impl Stalls {
    /// Asks to be woken while anything is awaited; `idle`: something is missing and nothing is in
    /// flight.
    pub fn watch(&mut self, awaits: bool, idle: bool, now: Time) {
        if awaits {
            self.check_at.get_or_insert(now + TICK);
        } else {
            self.check_at = None;
        }
        if idle {
            self.idle_since.get_or_insert(now);
        } else {
            self.idle_since = None;
        }
    }

    /// When requests are looked at next.
    pub const fn check_at(&self) -> Option<Time> {
        self.check_at
    }

    /// Returns whether it is time to look at the requests, once.
    pub fn take_due(&mut self, now: Time) -> bool {
        self.check_at.take_if(|at| *at <= now).is_some()
    }

    /// Returns whether nothing has moved for so long that every source that has something is
    /// asked, whatever others claim.
    pub fn is_desperate(&self, now: Time) -> bool {
        self.idle_since
            .is_some_and(|since| now.since(since) >= LIVENESS)
    }

    /// When sources that rest are asked after all, if nothing else happens.
    pub fn wake_at(&self, sources: &Sources, now: Time) -> Option<Time> {
        let resting = sources
            .iter()
            .any(|s| s.is_open() && s.rests_after_stall(now));
        self.idle_since
            .filter(|_| resting)
            .map(|since| since + LIVENESS)
    }

    /// Ends all rests when nothing was in flight for some time: a source that stalled before is
    /// better than none.
    pub fn wake_resting(&mut self, sources: &mut Sources, now: Time) {
        if self.wake_at(sources, now).is_some_and(|at| at <= now) {
            self.idle_since = Some(now);
            sources.end_rests();
        }
    }
}

impl Selection<'_> {
    /// The sources that owe something and have been silent for too long, ascending.
    pub fn silent(&self, requests: &Requests) -> Vec<DeviceId> {
        let mut silent: Vec<DeviceId> = requests
            .waiting()
            .filter(|(_, request)| self.is_silent(request))
            .map(|(_, request)| request.device)
            .collect();
        silent.sort();
        silent.dedup();
        silent
    }

    fn is_silent(&self, request: &Request) -> bool {
        let Some(source) = self.at.sources.get(request.device) else {
            return true;
        };
        let last = source.last_progress.max(request.asked_at);
        let (patience, alone) = self.patience(source, request.span);
        // A chunk may take minutes on a thin link; the only source that has it gives it in that
        // time or nobody does.
        let moved = if alone {
            source.last_moved.since(last)
        } else {
            Duration::ZERO
        };
        self.at.now.since(last) > patience + moved
    }

    /// Returns how long the source of a span may be silent, given the others that have it; and
    /// whether there is no other.
    fn patience(&self, source: &Source, span: u32) -> (Duration, bool) {
        let size = self
            .at
            .spans
            .bytes_of(&self.at.spans.missing_in(span, None));
        let local = self.neighbourhood.is_local(source.device, &self.at);
        let alternative = self
            .context(span)
            .holders
            .into_iter()
            .filter(|facts| {
                facts.device != source.device
                    && (!local || self.neighbourhood.contains(facts.device))
            })
            .map(|facts| facts.finish(size))
            .min();
        let alone = alternative.is_none();
        let patience = match alternative {
            // Before either could bring the whole span, giving up gains nothing; a wrong
            // measurement must not cost more than being alone does.
            Some(finish) => {
                let usual = (finish * 2 + ENDGAME_SLACK).clamp(STALL.0, STALL.1);
                let needed = finish.max(source.takes(size, self.at.now));
                usual.max(needed.min(STALL_ALONE)) * source.patience()
            }
            // The chunks of a neighbour can be had from elsewhere as a first copy, at a price.
            None if local => STALL.1 * source.patience(),
            None => STALL_ALONE * source.patience(),
        };
        (patience, alone)
    }

    /// Returns when a source will have sent all that was asked of it, at its measured rate.
    pub fn projected(&self, device: DeviceId) -> Duration {
        self.at
            .sources
            .get(device)
            .map_or(Duration::ZERO, |source| {
                let quiet = self.at.now.since(source.last_progress);
                self.facts_of(source).finish(0) + quiet
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
