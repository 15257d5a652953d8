//! Groups: a signed, hash-chained log of who belongs to a group and who may do what.
//!
//! An [`Entry`] is one change by one device. [`Membership`] is what a log says when it is replayed;
//! [`Membership::apply`] is the one place where it is decided who may do what. A relay stores and
//! orders entries; it cannot make one, because each is signed, and cannot leave one out, because
//! each has the hash of the one before. The group's id is the hash of the first.
//!
//! Invariants: a [`SignedEntry`] in hand is signed by its author; a [`Membership`] in hand follows
//! from a whole log, or from bytes that [`Membership::encode`] gave; everything in both is bounded
//! (see [`crate::limits`]).

mod entry;
mod fork;
mod invite;
mod membership;
mod name;
mod snapshot;
#[cfg(test)]
mod tests;

pub use entry::{Action, Entry, EntryError, NameSeal, Policy, SignedEntry};
pub use fork::{Branch, Prevails, prevails};
pub use invite::{GroupInvite, GroupInviteError};
pub use membership::{Joining, LogError, Membership, Role};
pub use name::{GroupName, GroupNameError};
