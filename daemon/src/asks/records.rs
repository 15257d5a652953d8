//! Requests in the store: those that this device made, those that were made of it, and what its
//! user allows.

pub(super) use crate::json_records::{all, put};
use hither_content::storage::Table;
use hither_engine::asks::{AskedState, AskerState};
use hither_proto::{Ask, AskId, AskKind, AskRefusal, DeviceId, Which};
use serde::{Deserialize, Serialize};

/// Requests of this device, by id.
pub(super) const SENT: Table = Table::new("asks_sent");
/// Requests of others, by asker and id.
pub(super) const RECEIVED: Table = Table::new("asks_received");
/// Allowances, by number.
pub(super) const GRANTS: Table = Table::new("ask_grants");

/// Which one is asked for, in the store and the local API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum WhichRecord {
    Picked,
    Latest,
    Named(String),
    Live(u32),
}

impl From<&Which> for WhichRecord {
    fn from(which: &Which) -> Self {
        match which {
            Which::Picked => Self::Picked,
            Which::Latest => Self::Latest,
            Which::Named(name) => Self::Named(name.clone()),
            Which::Live(seconds) => Self::Live(*seconds),
        }
    }
}

impl From<WhichRecord> for Which {
    fn from(which: WhichRecord) -> Self {
        match which {
            WhichRecord::Picked => Self::Picked,
            WhichRecord::Latest => Self::Latest,
            WhichRecord::Named(name) => Self::Named(name),
            WhichRecord::Live(seconds) => Self::Live(seconds),
        }
    }
}

/// The contents of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AskRecord {
    pub id: String,
    pub kind: String,
    pub which: WhichRecord,
    pub digest: bool,
    pub reason: String,
    /// When it was made or came, Unix seconds, for people.
    pub at: u64,
    /// When it ends, seconds of the clock of deadlines.
    pub until: u64,
}

impl AskRecord {
    pub(super) fn new(ask: &Ask, at: u64, now: u64) -> Self {
        Self {
            id: ask.id.to_string(),
            kind: ask.kind.name().into(),
            which: (&ask.which).into(),
            digest: ask.digest,
            reason: ask.reason.clone(),
            at,
            until: now.saturating_add(u64::from(ask.valid_s)),
        }
    }

    /// The request itself; `None`: the record was written by something else.
    pub(super) fn ask(&self) -> Option<Ask> {
        Some(Ask {
            id: AskId::from_hex(&self.id).ok()?,
            kind: AskKind::parse(&self.kind)?,
            which: self.which.clone().into(),
            digest: self.digest,
            reason: self.reason.clone(),
            valid_s: 1,
        })
    }
}

/// One thing of an answer, without its content, which is in the inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ThingRecord {
    pub name: String,
    pub media_type: String,
    pub bytes: u64,
    pub made_ms: u64,
    /// A small picture, hexadecimal; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub thumbnail: String,
}

/// A request of this device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SentRecord {
    pub to: String,
    pub ask: AskRecord,
    #[serde(with = "asker_state")]
    pub state: AskerState,
    /// Why there is no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// In the words of the other device.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub words: String,
    /// A text that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub things: Vec<ThingRecord>,
    /// The id of the letter that brought the answer: the inbox has it under the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub letter: Option<String>,
}

/// A request of another device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ReceivedRecord {
    pub from: String,
    pub ask: AskRecord,
    #[serde(with = "asked_state")]
    pub state: AskedState,
    /// The user has seen it, and the asker was told.
    #[serde(default)]
    pub seen: bool,
    /// An allowance of the user answers it.
    #[serde(default)]
    pub by_grant: bool,
    /// The answer that is on its way, as it was encoded, hexadecimal.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub answer: String,
    /// The answer, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub words: String,
}

/// Requests that the user allows without being asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct GrantRecord {
    /// The asker.
    pub device: String,
    /// The kind; absent: every one.
    pub kind: Option<String>,
    /// Only things below this folder.
    pub folder: Option<String>,
    /// Recordings and pictures that are made for it too.
    #[serde(default)]
    pub live: bool,
    /// When it ends, seconds of the clock of deadlines; absent: never.
    pub until: Option<u64>,
}

impl GrantRecord {
    /// Returns whether it allows a request of a device at a time.
    pub(super) fn allows(&self, from: &str, ask: &AskRecord, now: u64) -> bool {
        let is_live = matches!(ask.which, WhichRecord::Live(_));
        self.device == from
            && self.until.is_none_or(|until| now < until)
            && self.kind.as_ref().is_none_or(|kind| *kind == ask.kind)
            && (!is_live || self.live)
            // No rule chooses what a person has to choose.
            && ask.which != WhichRecord::Picked
    }
}

/// Why there is no answer, in the store and the local API.
pub(super) const fn refusal_name(refusal: AskRefusal) -> &'static str {
    match refusal {
        AskRefusal::Declined => "declined",
        AskRefusal::Nothing => "nothing",
        AskRefusal::Unsupported => "unsupported",
        AskRefusal::Busy => "busy",
        AskRefusal::Failed => "failed",
        AskRefusal::Expired => "expired",
    }
}

macro_rules! state_names {
    ($module:ident, $state:ident: $($variant:ident = $name:literal),*) => {
        mod $module {
            use super::$state;
            use serde::{Deserialize, Deserializer, Serializer, de::Error};

            pub(in crate::asks) const fn name(state: $state) -> &'static str {
                match state { $($state::$variant => $name),* }
            }

            pub(super) fn serialize<S: Serializer>(state: &$state, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(name(*state))
            }

            pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<$state, D::Error> {
                match String::deserialize(from)?.as_str() {
                    $($name => Ok($state::$variant),)*
                    _ => Err(D::Error::custom("an unknown state of a request")),
                }
            }
        }
    };
}

state_names!(asker_state, AskerState: Sent = "sent", Delivered = "delivered", Seen = "seen",
    Answered = "answered", Refused = "refused", Expired = "expired", Cancelled = "cancelled");
state_names!(asked_state, AskedState: Waiting = "waiting", Answering = "answering",
    Answered = "answered", Refused = "refused", Expired = "expired", Cancelled = "cancelled");

pub(super) use asked_state::name as asked_name;
pub(super) use asker_state::name as asker_name;

/// The key of a request of another device.
pub(super) fn received_key(from: DeviceId, id: AskId) -> [u8; 48] {
    let mut key = [0; 48];
    key[..32].copy_from_slice(from.as_bytes());
    key[32..].copy_from_slice(id.as_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(kind: &str, which: WhichRecord) -> AskRecord {
        AskRecord {
            id: "00".repeat(16),
            kind: kind.into(),
            which,
            digest: false,
            reason: String::new(),
            at: 0,
            until: 0,
        }
    }

    #[test]
    fn an_allowance_counts_for_its_device_kind_and_time_only() {
        let grant = GrantRecord {
            device: "a".into(),
            kind: Some("photo".into()),
            folder: None,
            live: false,
            until: Some(100),
        };
        let photo = ask("photo", WhichRecord::Latest);
        assert!(grant.allows("a", &photo, 99));
        for (from, ask, now) in [
            ("b", &photo, 99),
            ("a", &photo, 100),
            ("a", &ask("clipboard", WhichRecord::Latest), 99),
            ("a", &ask("photo", WhichRecord::Live(0)), 99),
            ("a", &ask("photo", WhichRecord::Picked), 99),
        ] {
            assert!(!grant.allows(from, ask, now), "{from} {ask:?} {now}");
        }
        let all = GrantRecord {
            kind: None,
            live: true,
            until: None,
            ..grant
        };
        assert!(all.allows("a", &ask("audio", WhichRecord::Live(9)), u64::MAX));
    }

    #[test]
    fn records_say_again_what_was_asked() {
        let record = ask("photo", WhichRecord::Named("*.jpg".into()));
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<AskRecord>(&text).unwrap(), record);
        assert_eq!(record.ask().unwrap().which, Which::Named("*.jpg".into()));
        assert!(ask("dance", WhichRecord::Latest).ask().is_none());
    }
}
