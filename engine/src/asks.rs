//! The course of a request between two devices: one state machine for each side.
//!
//! Letters may come twice, late, or in another order, and each side's clock decides on its own when
//! a request ends. Invariants: a state that is final stays; the asked side gives at most one answer;
//! whatever order the same events come in, a request ends.
//!
//! Times are seconds of the clock of deadlines of the side itself; no time of the other side is
//! compared with it.

/// How a request stands at the asker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AskerState {
    /// It is durable here, and on its way.
    Sent,
    /// The other device has it.
    Delivered,
    /// It stands before the other user.
    Seen,
    /// It is answered.
    Answered,
    /// There is no answer, and why is known.
    Refused,
    /// Nobody answered in time.
    Expired,
    /// The asker took it back.
    Cancelled,
}

/// An event at the asker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskerEvent {
    /// The other device acknowledged it.
    Delivered,
    /// The other device says that its user sees it.
    Seen,
    /// An answer came.
    Answered,
    /// A refusal came.
    Refused,
    /// The time is over.
    Late,
    /// The user takes it back.
    Cancel,
}

impl AskerState {
    /// Returns whether nothing changes it any more.
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::Answered | Self::Refused | Self::Expired | Self::Cancelled
        )
    }

    /// The state after an event; `None`: it changes nothing.
    pub const fn after(self, event: AskerEvent) -> Option<Self> {
        match (self, event) {
            _ if self.is_final() => None,
            (Self::Sent, AskerEvent::Delivered) => Some(Self::Delivered),
            (Self::Sent | Self::Delivered, AskerEvent::Seen) => Some(Self::Seen),
            (_, AskerEvent::Answered) => Some(Self::Answered),
            (_, AskerEvent::Refused) => Some(Self::Refused),
            (_, AskerEvent::Late) => Some(Self::Expired),
            (_, AskerEvent::Cancel) => Some(Self::Cancelled),
            (_, AskerEvent::Delivered | AskerEvent::Seen) => None,
        }
    }
}

/// How a request stands at the asked device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AskedState {
    /// It waits for the user, or for what a rule of the user's begins.
    Waiting,
    /// Somebody or a rule said yes: the answer is being made.
    Answering,
    /// The answer is durable and on its way.
    Answered,
    /// A no is durable and on its way.
    Refused,
    /// The time is over.
    Expired,
    /// The asker took it back.
    Cancelled,
}

/// An event at the asked device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskedEvent {
    /// A yes.
    Accept,
    /// The answer is made.
    Made,
    /// A no, or the answer could not be made.
    Refuse,
    /// The program ended while the answer was being made: the user is asked again.
    Restart,
    /// The time is over.
    Late,
    /// The asker takes it back.
    Cancel,
}

impl AskedState {
    /// Returns whether nothing changes it any more.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Waiting | Self::Answering)
    }

    /// The state after an event; `None`: it changes nothing.
    pub const fn after(self, event: AskedEvent) -> Option<Self> {
        match (self, event) {
            (Self::Waiting, AskedEvent::Accept) => Some(Self::Answering),
            (Self::Answering, AskedEvent::Made) => Some(Self::Answered),
            (Self::Waiting | Self::Answering, AskedEvent::Refuse) => Some(Self::Refused),
            (Self::Answering, AskedEvent::Restart) => Some(Self::Waiting),
            // An answer that is being made in time is given; the asker decides about it.
            (Self::Waiting, AskedEvent::Late) => Some(Self::Expired),
            (Self::Waiting | Self::Answering, AskedEvent::Cancel) => Some(Self::Cancelled),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn asker_event() -> impl Strategy<Value = AskerEvent> {
        prop::sample::select(vec![
            AskerEvent::Delivered,
            AskerEvent::Seen,
            AskerEvent::Answered,
            AskerEvent::Refused,
            AskerEvent::Late,
            AskerEvent::Cancel,
        ])
    }

    fn asked_event() -> impl Strategy<Value = AskedEvent> {
        prop::sample::select(vec![
            AskedEvent::Accept,
            AskedEvent::Made,
            AskedEvent::Refuse,
            AskedEvent::Restart,
            AskedEvent::Late,
            AskedEvent::Cancel,
        ])
    }

    proptest! {
        #[test]
        fn an_asker_hears_one_end_whatever_comes_twice_or_in_another_order(
            events in prop::collection::vec(asker_event(), 0..30),
        ) {
            let mut state = AskerState::Sent;
            let mut ends = 0;
            for event in events {
                if let Some(next) = state.after(event) {
                    prop_assert!(!state.is_final());
                    ends += usize::from(next.is_final());
                    state = next;
                }
            }
            prop_assert!(ends <= 1);
            // The clock ends what nothing else has ended.
            prop_assert!(state.is_final() || state.after(AskerEvent::Late) == Some(AskerState::Expired));
        }

        #[test]
        fn a_request_is_answered_once_and_never_without_a_yes(
            events in prop::collection::vec(asked_event(), 0..30),
        ) {
            let mut state = AskedState::Waiting;
            let (mut answers, mut yes) = (0, false);
            for event in events {
                if let Some(next) = state.after(event) {
                    prop_assert!(!state.is_final());
                    yes |= event == AskedEvent::Accept;
                    answers += usize::from(next == AskedState::Answered);
                    prop_assert!(next != AskedState::Answered || yes);
                    state = next;
                }
            }
            prop_assert!(answers <= 1);
        }
    }

    #[test]
    fn a_cancel_that_races_an_answer_is_decided_on_each_side_by_what_came_first() {
        // The answer is on its way when the cancel comes: nothing changes at the asked device …
        let answered = AskedState::Answered;
        assert_eq!(answered.after(AskedEvent::Cancel), None);
        // … and the asker, which has taken it back, ignores it.
        assert_eq!(AskerState::Cancelled.after(AskerEvent::Answered), None);
        // While it is being made, a cancel ends it, and nothing is sent.
        let cancelled = AskedState::Answering.after(AskedEvent::Cancel);
        assert_eq!(cancelled, Some(AskedState::Cancelled));
        assert_eq!(AskedState::Cancelled.after(AskedEvent::Made), None);
    }
}
