//! One turn of a fetch: the moment, the policy, and where its outcome goes.

use crate::command::{Command, RequestId};
use crate::policy::Policy;
use crate::time::Time;

/// The arguments of everything that a fetch does in one turn.
#[derive(Debug)]
pub(crate) struct Round<'a> {
    /// The moment of the turn.
    pub now: Time,
    /// Chooses among the sources of a span.
    pub policy: &'a dyn Policy,
    next_request: &'a mut u64,
    commands: &'a mut Vec<Command>,
}

impl<'a> Round<'a> {
    /// A turn that takes numbers of requests from `next_request` and adds to `commands`.
    pub fn new(
        now: Time,
        policy: &'a dyn Policy,
        next_request: &'a mut u64,
        commands: &'a mut Vec<Command>,
    ) -> Self {
        Self {
            now,
            policy,
            next_request,
            commands,
        }
    }

    /// Adds a command for the loop.
    pub fn command(&mut self, command: Command) {
        self.commands.push(command);
    }

    /// Returns a number that no request has had.
    pub fn request_id(&mut self) -> RequestId {
        let id = RequestId(*self.next_request);
        *self.next_request += 1;
        id
    }
}
