//! The endgame: when nothing is idle, a span whose source would take much longer than another is
//! asked for a second time; the copy that comes first counts.

use super::Fetch;
use super::scheduler::Assignment;
use crate::claims::ClaimState;
use crate::policy::{Rule, SelectionContext, SourceFacts};
use crate::round::Round;
use crate::stalls::ENDGAME_SLACK;
use crate::time::Time;
use hither_proto::{DeviceId, Space};
use std::time::Duration;

/// A neighbour that needs longer for what it owes is not near in any sense that matters.
const LOCAL: Duration = Duration::from_secs(1);

/// A span that is asked of one source only.
struct Late {
    span: u32,
    first: DeviceId,
    /// When its source will have sent it.
    projected: Duration,
}

impl Fetch {
    /// Asks for second copies of spans that would hold up the end.
    pub(super) fn race(&mut self, round: &mut Round<'_>) {
        let (Some(target), now) = (self.target(), round.now) else {
            return;
        };
        for late in self.late(now) {
            let context = self.second_source(&late, now);
            let Some(decision) = round.policy.choose(&context) else {
                continue;
            };
            let device = context.holders[decision.source].device;
            let outside = !self.neighbourhood.contains(device);
            if late.projected <= decision.finish * 2 + ENDGAME_SLACK
                || (outside && self.is_being_got(late.span, now))
            {
                continue;
            }
            if outside && target.space == Space::Data {
                // All neighbours wait for the same: one of them gets it.
                self.neighbourhood.own_claims_mut().get(late.span, now);
            }
            let assignment = Assignment {
                span: late.span,
                target,
                device,
                rule: Rule::Endgame,
                expected: decision.finish,
                reasons: context.reasons(&decision),
            };
            self.ask(assignment, round);
        }
    }

    fn late(&self, now: Time) -> Vec<Late> {
        let selection = self.selection(now);
        self.requests
            .waiting()
            .filter(|(id, request)| !self.requests.has_second(*id, request.span))
            .map(|(_, request)| Late {
                span: request.span,
                first: request.device,
                projected: selection.projected(request.device),
            })
            .collect()
    }

    /// The other sources of a span. The chunks of a neighbour do not come over a thin link a second
    /// time because the neighbour is slow, nor when another one has it too.
    fn second_source(&self, late: &Late, now: Time) -> SelectionContext {
        let selection = self.selection(now);
        let mut context = selection.context(late.span);
        context.beside = self.sources.get(late.first).map(|source| source.price);
        let is_local = |device| self.neighbourhood.is_local(device, &selection.at);
        let near = |facts: &SourceFacts| facts.device != late.first && is_local(facts.device);
        let local =
            (is_local(late.first) && late.projected < LOCAL) || context.holders.iter().any(near);
        context.holders.retain(|facts| {
            facts.device != late.first && (!local || self.neighbourhood.contains(facts.device))
        });
        context
    }

    /// Returns whether a member claims to get a span from outside.
    fn is_being_got(&self, span: u32, now: Time) -> bool {
        self.neighbourhood
            .claimed(span, &self.snapshot(now))
            .is_some_and(|(_, state)| state == ClaimState::Active)
    }
}
