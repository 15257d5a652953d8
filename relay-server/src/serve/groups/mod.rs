//! Groups at a relay: it keeps their logs in order, seals that it cannot open, and who asks to
//! join.
//!
//! `log_store.rs` is what is kept in the state, and how an entry gets into it; `answer.rs` answers what
//! devices ask, and says who may ask what; `forks.rs` exchanges a branch of a forked log for the
//! one that prevails; `members.rs` and `joining.rs` are the longer of those answers; `listeners.rs`
//! knows which devices here listen to which groups, and `news.rs` tells them.
//!
//! Invariants: nothing is told of a group to who is no member of it but what one must know to ask,
//! and that only to who knows its id or finds its name; presence is told to members of a common
//! group and to nobody else; whatever is stored of a member in clear is a key, a number or a time.

mod answer;
mod forks;
mod joining;
mod listeners;
mod log_store;
mod members;
mod news;
mod records;

pub(crate) use answer::answer;
pub(crate) use listeners::{Change, ListenerTable};
pub(crate) use news::{News, presence_changed, start};
pub(crate) use records::bucket;
