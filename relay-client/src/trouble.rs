//! Why a relay that was joined cannot be used: each reason in its own words, with the next step,
//! and whether it ends by itself.

use super::connection::End;
use super::dial::RelayError;
use hither_carrier::LinkError;
use hither_proto::{RelayRefusal, RelayRefusalCode, display_name};

/// The advice about a relay that does not answer.
const SILENT: &str = "Is this device online, and the relay running? Firewalls must let through its port, UDP or TCP.";

/// Why a relay cannot be used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trouble {
    /// In words, without a full stop; empty while nothing went wrong.
    pub why: String,
    /// The possible remedy; empty when it goes over by itself.
    pub hint: &'static str,
    /// Nothing changes before somebody does something.
    pub lasting: bool,
}

impl Trouble {
    fn passing(why: impl Into<String>, hint: &'static str) -> Self {
        Self {
            why: why.into(),
            hint,
            lasting: false,
        }
    }

    fn lasting(why: impl Into<String>, hint: &'static str) -> Self {
        Self {
            why: why.into(),
            hint,
            lasting: true,
        }
    }
}

impl From<&RelayError> for Trouble {
    fn from(error: &RelayError) -> Self {
        match error {
            RelayError::Refused(refusal) => (*refusal).into(),
            RelayError::Link(LinkError::WrongDevice { found }) => Self::lasting(
                format!(
                    "another relay answers there than the one that was joined, with the key {found}"
                ),
                "If the relay was set up anew, ask its owner for a new URL: hither relay remove, then hither relay add. If it was not, somebody else answers in its place: tell its owner.",
            ),
            RelayError::Resolve { .. } => Self::passing(
                error.to_string(),
                "Is this device online, and is the name still right?",
            ),
            RelayError::Link(LinkError::NotHither) => Self::passing(
                error.to_string(),
                "On a network with a login page, log in first: open any web page. Otherwise another program has the relay's port, or something in between looks into connections.",
            ),
            RelayError::Unexpected => Self::lasting(
                error.to_string(),
                "Is Hither on this device, or on the relay, out of date?",
            ),
            RelayError::Ended => Self::passing(error.to_string(), ""),
            RelayError::Link(_) | RelayError::Broken(_) | RelayError::Silent => {
                Self::passing(display_name(&error.to_string()), SILENT)
            }
        }
    }
}

impl From<RelayRefusal> for Trouble {
    fn from(refusal: RelayRefusal) -> Self {
        let why = refusal.to_string();
        match refusal.code {
            RelayRefusalCode::Revoked => Self::lasting(
                why,
                "Ask the relay's owner for a new invitation and run hither relay add with it, or leave the relay: hither relay remove",
            ),
            RelayRefusalCode::NotRegistered | RelayRefusalCode::Invitation => Self::lasting(
                "the relay does not know this device (any more)",
                "It may have been set up anew, or have forgotten this device. Ask its owner for an invitation and run hither relay add with it.",
            ),
            RelayRefusalCode::Protocol => Self::lasting(
                why,
                "Update Hither on this device, or ask the relay's owner to update the relay: whichever is older.",
            ),
            RelayRefusalCode::Role => Self::lasting(
                why,
                "This node of the relay takes no devices. Ask its owner for the URL of one that does.",
            ),
            RelayRefusalCode::Twin => Self::passing(
                why,
                "Another machine runs with this device's key: a copy of its data. One of the two needs a new identity; hither doctor says how.",
            ),
            RelayRefusalCode::Quota => Self::lasting(
                why,
                "End shares that are not needed any more (hither unshare), or ask the relay's owner for more room.",
            ),
            RelayRefusalCode::NoSpace => {
                Self::passing(why, "Tell the relay's owner that its disk is full.")
            }
            RelayRefusalCode::Busy => Self::passing(
                why,
                "It has as many connections as it takes. Nothing needs to be done here.",
            ),
            RelayRefusalCode::GoingAway => Self::passing(
                why,
                "It is being restarted, or ended for good: ask its owner.",
            ),
            RelayRefusalCode::Other | RelayRefusalCode::Invalid | RelayRefusalCode::NotFound => {
                Self::lasting(
                    why,
                    "Is Hither on this device, or on the relay, out of date?",
                )
            }
        }
    }
}

impl From<&End> for Trouble {
    fn from(end: &End) -> Self {
        match end {
            End::Refused(refusal) => (*refusal).into(),
            End::Silent | End::Broken(_) => Self::passing(display_name(&end.to_string()), SILENT),
            End::Closed | End::Ended => Self::passing(end.to_string(), ""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RelayRefusalCode as R;

    #[test]
    fn every_reason_has_its_own_words_and_next_step() {
        let found = hither_carrier::Identity::generate().unwrap().device_id();
        let link = |error| Trouble::from(&RelayError::Link(error));
        let refused = |code: R| Trouble::from(RelayRefusal::from(code));
        let all = [
            link(LinkError::WrongDevice { found }),
            link(LinkError::NotHither),
            link(LinkError::TimedOut),
            Trouble::from(&RelayError::Resolve {
                host: "relay.example".into(),
            }),
            refused(R::Revoked),
            refused(R::NotRegistered),
            refused(R::Protocol),
            refused(R::Twin),
            refused(R::Quota),
            refused(R::NoSpace),
            refused(R::Busy),
            refused(R::GoingAway),
        ];
        for (number, one) in all.iter().enumerate() {
            assert!(
                !one.why.is_empty() && !one.hint.is_empty() && !one.why.ends_with('.'),
                "{one:?}"
            );
            for other in &all[number + 1..] {
                assert!(
                    one.why != other.why && one.hint != other.hint,
                    "{one:?} {other:?}"
                );
            }
        }
        let lasting: Vec<bool> = all.iter().map(|one| one.lasting).collect();
        let expected = [
            true, false, false, false, true, true, true, false, true, false, false, false,
        ];
        assert_eq!(lasting, expected);
    }
}
