//! A group of operations that are made together: evaluated in order, each seeing those before it,
//! then committed once.

use super::Shared;
use super::hub::RowChange;
use super::op::{Done, Op};
use super::overlay::Overlay;
use super::rows;
use super::sessions::{HeldKey, MAX_EPHEMERALS};
use crate::state::{Entry, Expect, Session, StateError};
use bytes::Bytes;
use hither_content::storage::Storage;
use std::collections::BTreeMap;

/// What a key is now, as the operations of the group left it.
enum Current {
    Absent,
    Durable(u64),
    Ephemeral(u64),
}

impl Current {
    fn revision(&self) -> Option<u64> {
        match self {
            Self::Absent => None,
            Self::Durable(revision) | Self::Ephemeral(revision) => Some(*revision),
        }
    }
}

/// Operations evaluated so far and what they change. Nothing outside sees any of it before the
/// commit, except that sessions begin and end at once and that watches begin.
pub(super) struct Group<'a> {
    pub(super) storage: &'a dyn Storage,
    pub(super) shared: &'a Shared,
    /// Nothing may grow: the disk is nearly full.
    pub(super) tight: bool,
    pub(super) now_ms: u64,
    pub(super) overlay: Overlay,
    pub(super) held: BTreeMap<Vec<u8>, Option<HeldKey>>,
    pub(super) changes: Vec<RowChange>,
    /// What must be done next on the writer's own account.
    pub(super) next: Vec<Op>,
    /// The earliest expiry of what was appended.
    pub(super) appended_expiry: Option<u64>,
    /// When the next item expires, if the queues were swept (`Some(None)`: none does).
    pub(super) swept_to: Option<Option<u64>>,
    /// Items that the sweep removes.
    pub(super) swept: u64,
}

impl<'a> Group<'a> {
    pub(super) fn new(
        storage: &'a dyn Storage,
        shared: &'a Shared,
        tight: bool,
        now_ms: u64,
    ) -> Self {
        Self {
            storage,
            shared,
            tight,
            now_ms,
            overlay: Overlay::default(),
            held: BTreeMap::new(),
            changes: Vec::new(),
            next: Vec::new(),
            appended_expiry: None,
            swept_to: None,
            swept: 0,
        }
    }

    /// Makes one operation. One that fails changes nothing: everything is read before the first
    /// change.
    pub(super) fn evaluate(&mut self, op: &Op) -> Result<Done, StateError> {
        match op {
            Op::Put { row, value, expect } => self.put(row, value, *expect),
            Op::Delete { row, expect } => self.delete(row, *expect),
            Op::PutEphemeral {
                session,
                row,
                value,
                expect,
            } => self.put_ephemeral(*session, row, value, *expect),
            Op::OpenSession { node, ttl } => {
                let session = Session(self.shared.next_number());
                let earlier = self.shared.sessions.open(session, node, *ttl)?;
                self.next
                    .extend(earlier.map(|session| Op::CloseSession { session }));
                Ok(Done::Session(session))
            }
            Op::CloseSession { session } => {
                self.close_session(*session);
                Ok(Done::Nothing)
            }
            Op::Append { queue, item } => self.append(queue, item),
            Op::Ack { queue, up_to } => self.ack(queue, *up_to),
            Op::Sweep => self.sweep(),
            Op::Watch { prefix, live } => {
                let after = self.shared.last_number();
                self.shared.hub.watch(prefix.clone(), after, live.clone())?;
                Ok(Done::Watching(after))
            }
        }
    }

    fn put(&mut self, row: &[u8], value: &Bytes, expect: Expect) -> Result<Done, StateError> {
        let current = self.current(row)?;
        if matches!(current, Current::Ephemeral(_)) {
            return Err(StateError::OtherKind);
        }
        expect.check(current.revision())?;
        self.may_grow()?;
        let revision = self.shared.next_number();
        self.overlay
            .put(rows::KEYS, row.to_vec(), rows::value(revision, value));
        self.changed(row, revision, Some(value));
        Ok(Done::Revision(revision))
    }

    fn delete(&mut self, row: &[u8], expect: Expect) -> Result<Done, StateError> {
        let current = self.current(row)?;
        expect.check(current.revision())?;
        match current {
            Current::Absent => return Ok(Done::Existed(false)),
            Current::Durable(_) => self.overlay.remove(rows::KEYS, row.to_vec()),
            Current::Ephemeral(_) => {
                self.held.insert(row.to_vec(), None);
            }
        }
        let revision = self.shared.next_number();
        self.changed(row, revision, None);
        Ok(Done::Existed(true))
    }

    fn put_ephemeral(
        &mut self,
        session: Session,
        row: &[u8],
        value: &Bytes,
        expect: Expect,
    ) -> Result<Done, StateError> {
        self.shared.sessions.check(session)?;
        let current = self.current(row)?;
        if matches!(current, Current::Durable(_)) {
            return Err(StateError::OtherKind);
        }
        expect.check(current.revision())?;
        if matches!(current, Current::Absent)
            && self.shared.sessions.held() + self.held.len() >= MAX_EPHEMERALS
        {
            return Err(StateError::Busy("keys held by sessions".into()));
        }
        let revision = self.shared.next_number();
        let entry = Entry {
            value: value.clone(),
            revision,
        };
        self.held
            .insert(row.to_vec(), Some(HeldKey { entry, session }));
        self.changed(row, revision, Some(value));
        Ok(Done::Revision(revision))
    }

    fn close_session(&mut self, session: Session) {
        self.shared.sessions.end(session);
        let mut gone = self.shared.sessions.rows_of(session);
        gone.retain(|row| !self.held.contains_key(row));
        let here = self
            .held
            .iter()
            .filter(|(_, held)| held.as_ref().is_some_and(|held| held.session == session));
        gone.extend(here.map(|(row, _)| row.clone()));
        for row in gone {
            let revision = self.shared.next_number();
            self.changed(&row, revision, None);
            self.held.insert(row, None);
        }
    }

    fn current(&self, row: &[u8]) -> Result<Current, StateError> {
        let held = match self.held.get(row) {
            Some(held) => held.clone(),
            None => self.shared.sessions.get(row),
        };
        if let Some(held) = held {
            return Ok(Current::Ephemeral(held.entry.revision));
        }
        match self.overlay.get(self.storage, rows::KEYS, row)? {
            Some(value) => Ok(Current::Durable(rows::split_value(&value)?.0)),
            None => Ok(Current::Absent),
        }
    }

    pub(super) fn may_grow(&self) -> Result<(), StateError> {
        if self.tight {
            Err(StateError::NoSpace)
        } else {
            Ok(())
        }
    }

    fn changed(&mut self, row: &[u8], revision: u64, value: Option<&Bytes>) {
        let entry = value.map(|value| Entry {
            value: value.clone(),
            revision,
        });
        self.changes.push(RowChange {
            row: row.to_vec(),
            revision,
            entry,
        });
    }
}
