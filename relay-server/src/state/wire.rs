//! The state's types as the nodes of a fleet write them to each other.

use super::{
    Answer, Appended, Bound, Change, Depth, Entry, Event, Expect, Item, ItemId, Limits, NewItem,
    Page, Record, StateError,
};

/// Generated from `proto/node.proto`.
#[allow(missing_docs, clippy::all)]
pub(super) mod proto {
    include!(concat!(env!("OUT_DIR"), "/hither.relay.node.v1.rs"));
}

use proto::{EventKind, ExpectKind, FailedCode};

/// Longest text of an error that is sent on, bytes.
const MAX_TEXT: usize = 200;

/// Something that does not fit the protocol.
pub(super) fn broken(what: &'static str) -> StateError {
    StateError::Protocol(what.into())
}

/// A part of a message that must be there.
pub(super) fn required<T>(part: Option<T>) -> Result<T, StateError> {
    part.ok_or_else(|| broken("a part of a message is missing"))
}

pub(super) fn boxed<'a, T>(
    work: impl Future<Output = Result<T, StateError>> + Send + 'a,
) -> Answer<'a, T> {
    Box::pin(work)
}

impl From<Expect> for proto::Expect {
    fn from(expect: Expect) -> Self {
        let (kind, revision) = match expect {
            Expect::Any => (ExpectKind::Any, 0),
            Expect::Absent => (ExpectKind::Absent, 0),
            Expect::Revision(revision) => (ExpectKind::Revision, revision),
        };
        Self {
            kind: kind.into(),
            revision,
        }
    }
}

impl TryFrom<Option<proto::Expect>> for Expect {
    type Error = StateError;

    /// An unknown kind must not become "any".
    fn try_from(expect: Option<proto::Expect>) -> Result<Self, StateError> {
        let expect = required(expect)?;
        match ExpectKind::try_from(expect.kind) {
            Ok(ExpectKind::Any) => Ok(Self::Any),
            Ok(ExpectKind::Absent) => Ok(Self::Absent),
            Ok(ExpectKind::Revision) => Ok(Self::Revision(expect.revision)),
            Err(_) => Err(broken("an unknown expectation")),
        }
    }
}

impl From<Entry> for proto::Entry {
    fn from(entry: Entry) -> Self {
        Self {
            value: entry.value,
            revision: entry.revision,
        }
    }
}

impl From<proto::Entry> for Entry {
    fn from(entry: proto::Entry) -> Self {
        Self {
            value: entry.value,
            revision: entry.revision,
        }
    }
}

impl From<Page> for proto::Page {
    fn from(page: Page) -> Self {
        let record = |record: Record| proto::Record {
            key: record.key,
            entry: Some(record.entry.into()),
        };
        Self {
            records: page.records.into_iter().map(record).collect(),
            more: page.more,
        }
    }
}

impl TryFrom<proto::Page> for Page {
    type Error = StateError;

    fn try_from(page: proto::Page) -> Result<Self, StateError> {
        let record = |record: proto::Record| {
            Ok::<_, StateError>(Record {
                key: record.key,
                entry: required(record.entry)?.into(),
            })
        };
        Ok(Self {
            records: page
                .records
                .into_iter()
                .map(record)
                .collect::<Result<_, _>>()?,
            more: page.more,
        })
    }
}

impl proto::Append {
    pub(super) fn new(queue: &str, item: NewItem) -> Self {
        Self {
            queue: queue.to_owned(),
            id: item.id.to_vec().into(),
            source: item.source,
            value: item.value,
            expires_ms: item.expires_ms,
            items: item.limits.items,
            bytes: item.limits.bytes,
            source_items: item.limits.source_items,
            source_bytes: item.limits.source_bytes,
        }
    }

    pub(super) fn item(self) -> Result<(String, NewItem), StateError> {
        let limits = Limits {
            items: self.items,
            bytes: self.bytes,
            source_items: self.source_items,
            source_bytes: self.source_bytes,
        };
        let (id, expires_ms) = (item_id(&self.id)?, self.expires_ms);
        Ok((
            self.queue,
            NewItem {
                id,
                source: self.source,
                value: self.value,
                expires_ms,
                limits,
            },
        ))
    }
}

fn item_id(id: &[u8]) -> Result<ItemId, StateError> {
    id.try_into()
        .map_err(|_| broken("an item's id is not 16 bytes"))
}

impl From<Appended> for proto::Appended {
    fn from(appended: Appended) -> Self {
        Self {
            seq: appended.seq,
            duplicate: appended.duplicate,
        }
    }
}

impl From<proto::Appended> for Appended {
    fn from(appended: proto::Appended) -> Self {
        Self {
            seq: appended.seq,
            duplicate: appended.duplicate,
        }
    }
}

impl From<Item> for proto::Item {
    fn from(item: Item) -> Self {
        Self {
            seq: item.seq,
            id: item.id.to_vec().into(),
            source: item.source,
            value: item.value,
            appended_ms: item.appended_ms,
            expires_ms: item.expires_ms,
        }
    }
}

impl TryFrom<proto::Item> for Item {
    type Error = StateError;

    fn try_from(item: proto::Item) -> Result<Self, StateError> {
        Ok(Self {
            seq: item.seq,
            id: item_id(&item.id)?,
            source: item.source,
            value: item.value,
            appended_ms: item.appended_ms,
            expires_ms: item.expires_ms,
        })
    }
}

impl From<Depth> for proto::Depth {
    fn from(depth: Depth) -> Self {
        Self {
            items: depth.items,
            bytes: depth.bytes,
            oldest_ms: depth.oldest_ms.unwrap_or(0),
        }
    }
}

impl From<proto::Depth> for Depth {
    fn from(depth: proto::Depth) -> Self {
        let oldest_ms = Some(depth.oldest_ms).filter(|_| depth.items > 0);
        Self {
            items: depth.items,
            bytes: depth.bytes,
            oldest_ms,
        }
    }
}

impl From<Event> for proto::Event {
    fn from(event: Event) -> Self {
        let bare = |kind: EventKind| Self {
            kind: kind.into(),
            ..Self::default()
        };
        match event {
            Event::Change(Change {
                key,
                revision,
                entry,
            }) => Self {
                kind: EventKind::Change.into(),
                key,
                revision,
                entry: entry.map(Into::into),
            },
            Event::Current => bare(EventKind::Current),
            Event::Lagged => bare(EventKind::Lagged),
            Event::Disconnected => bare(EventKind::Disconnected),
        }
    }
}

impl From<proto::Event> for Event {
    /// An unknown kind is something missed.
    fn from(event: proto::Event) -> Self {
        match EventKind::try_from(event.kind) {
            Ok(EventKind::Change) => {
                let entry = event.entry.map(Into::into);
                Self::Change(Change {
                    key: event.key,
                    revision: event.revision,
                    entry,
                })
            }
            Ok(EventKind::Current) => Self::Current,
            Ok(EventKind::Lagged) | Err(_) => Self::Lagged,
            Ok(EventKind::Disconnected) => Self::Disconnected,
        }
    }
}

impl From<StateError> for proto::Failed {
    fn from(error: StateError) -> Self {
        use FailedCode as Code;
        let (code, text, number, max) = match error {
            StateError::Conflict { current } => {
                (Code::Conflict, String::new(), current.unwrap_or(0), 0)
            }
            StateError::OtherKind => (Code::OtherKind, String::new(), 0, 0),
            StateError::NoSession => (Code::NoSession, String::new(), 0, 0),
            StateError::Full(bound) => (Code::Full, String::new(), bound_number(bound), 0),
            StateError::BadName(what) => (Code::BadName, what.into_owned(), 0, 0),
            StateError::TooLarge { what, actual, max } => {
                (Code::TooLarge, what.into_owned(), actual, max)
            }
            StateError::Busy(what) => (Code::Busy, what.into_owned(), 0, 0),
            StateError::NoSpace => (Code::NoSpace, String::new(), 0, 0),
            StateError::ReadOnly => (Code::ReadOnly, String::new(), 0, 0),
            StateError::Storage(text) => (Code::Storage, text, 0, 0),
            StateError::Disconnected => (Code::Disconnected, String::new(), 0, 0),
            StateError::TimedOut => (Code::TimedOut, String::new(), 0, 0),
            StateError::Closed => (Code::Closed, String::new(), 0, 0),
            StateError::Protocol(what) => (Code::Protocol, what.into_owned(), 0, 0),
        };
        Self {
            code: code.into(),
            text: shortened(text),
            number,
            max,
        }
    }
}

impl From<proto::Failed> for StateError {
    fn from(failed: proto::Failed) -> Self {
        use FailedCode as Code;
        let text = shortened(failed.text);
        match Code::try_from(failed.code).unwrap_or(Code::Storage) {
            Code::Storage => Self::Storage(text),
            Code::Conflict => Self::Conflict {
                current: Some(failed.number).filter(|number| *number > 0),
            },
            Code::OtherKind => Self::OtherKind,
            Code::NoSession => Self::NoSession,
            Code::Full => Self::Full(numbered_bound(failed.number)),
            Code::BadName => Self::BadName(text.into()),
            Code::TooLarge => Self::TooLarge {
                what: text.into(),
                actual: failed.number,
                max: failed.max,
            },
            Code::Busy => Self::Busy(text.into()),
            Code::NoSpace => Self::NoSpace,
            Code::ReadOnly => Self::ReadOnly,
            // The node is going down or has lost its own connection: for the caller it is gone.
            Code::Closed | Code::Disconnected => Self::Disconnected,
            Code::TimedOut => Self::TimedOut,
            Code::Protocol => Self::Protocol(text.into()),
        }
    }
}

fn bound_number(bound: Bound) -> u64 {
    match bound {
        Bound::Items => 0,
        Bound::Bytes => 1,
        Bound::SourceItems => 2,
        Bound::SourceBytes => 3,
    }
}

fn numbered_bound(number: u64) -> Bound {
    match number {
        1 => Bound::Bytes,
        2 => Bound::SourceItems,
        3 => Bound::SourceBytes,
        _ => Bound::Items,
    }
}

fn shortened(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_TEXT));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_come_through() {
        let errors = [
            StateError::Conflict { current: None },
            StateError::Conflict { current: Some(7) },
            StateError::OtherKind,
            StateError::NoSession,
            StateError::Full(Bound::Items),
            StateError::Full(Bound::Bytes),
            StateError::Full(Bound::SourceItems),
            StateError::Full(Bound::SourceBytes),
            StateError::BadName("x".into()),
            StateError::TooLarge {
                what: "x".into(),
                actual: 1,
                max: 2,
            },
            StateError::Busy("x".into()),
            StateError::NoSpace,
            StateError::ReadOnly,
            StateError::Storage("x".into()),
            StateError::Disconnected,
            StateError::TimedOut,
            StateError::Protocol("x".into()),
        ];
        for error in errors {
            assert_eq!(StateError::from(proto::Failed::from(error.clone())), error);
        }
        assert_eq!(
            StateError::from(proto::Failed::from(StateError::Closed)),
            StateError::Disconnected
        );
        let unknown = proto::Failed {
            code: 99,
            text: "ä".repeat(150),
            number: 0,
            max: 0,
        };
        assert_eq!(
            StateError::from(unknown),
            StateError::Storage("ä".repeat(100))
        );
    }

    #[test]
    fn an_unknown_expectation_is_refused() {
        Expect::try_from(None).unwrap_err();
        Expect::try_from(Some(proto::Expect {
            kind: 9,
            revision: 0,
        }))
        .unwrap_err();
    }
}
