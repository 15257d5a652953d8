//! Whether the node can do its work, as orchestrators ask.

use super::sample::Sample;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

/// Why a node cannot do its work now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// It is going down and sends its devices away.
    Draining,
    /// The state does not answer, or only with errors.
    State,
    /// The store does not answer, or only with errors.
    Store,
    /// Less free space than is to be left free: nothing new is taken.
    DiskFull,
}

impl Problem {
    /// In a sentence, for people.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Draining => "The relay is going down.",
            Self::State => "The state (users, devices, mailboxes) cannot be used.",
            Self::Store => "The store of chunks cannot be used.",
            Self::DiskFull => "The disk is full: nothing new is taken.",
        }
    }
}

/// What can be asked about a node.
pub trait Inspect: Send + Sync + 'static {
    /// What is wrong now; nothing: it is ready.
    fn problems(&self) -> BoxFuture<'_, Vec<Problem>>;

    /// What is stored and what waits.
    fn sample(&self) -> BoxFuture<'_, Sample>;
}
