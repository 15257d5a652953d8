//! What callers ask the writer for, and what they get.

use crate::state::{Appended, Expect, NewItem, Session, StateError};
use bytes::Bytes;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// A change, or something that must happen between changes. Names are rows by now (see
/// [`super::rows`]).
#[derive(Debug)]
pub(super) enum Op {
    Put {
        row: Vec<u8>,
        value: Bytes,
        expect: Expect,
    },
    Delete {
        row: Vec<u8>,
        expect: Expect,
    },
    PutEphemeral {
        session: Session,
        row: Vec<u8>,
        value: Bytes,
        expect: Expect,
    },
    OpenSession {
        node: String,
        ttl: Duration,
    },
    CloseSession {
        session: Session,
    },
    Append {
        queue: Vec<u8>,
        item: NewItem,
    },
    Ack {
        queue: Vec<u8>,
        up_to: u64,
    },
    Sweep,
    Watch {
        prefix: Vec<u8>,
        live: mpsc::Sender<crate::state::Change>,
    },
}

/// What an operation that was made answers.
#[derive(Debug)]
pub(super) enum Done {
    Nothing,
    Revision(u64),
    Existed(bool),
    Session(Session),
    Appended(Appended),
    Count(u64),
    /// The watch began after this revision.
    Watching(u64),
}

/// An operation with whoever waits for it.
#[derive(Debug)]
pub(super) struct Request {
    pub op: Op,
    /// `None`: the writer asks itself.
    pub answer: Option<oneshot::Sender<Result<Done, StateError>>>,
}

impl Request {
    /// What the writer does on its own account.
    pub(super) fn own(op: Op) -> Self {
        Self { op, answer: None }
    }

    /// Answers; nobody may be waiting any more.
    pub(super) fn answer(self, result: Result<Done, StateError>) {
        match (self.answer, result) {
            (Some(answer), result) => {
                let _ = answer.send(result);
            }
            (None, Err(error)) => {
                tracing::debug!(%error, op = ?self.op, "the state could not tidy up; it tries again")
            }
            (None, Ok(_)) => {}
        }
    }
}
