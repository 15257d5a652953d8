//! The durable and shared state of a relay, behind one trait: what the nodes of a fleet know in
//! common.
//!
//! [`State`] is the contract. [`Embedded`] keeps it on a [`hither_content::storage::Storage`] in
//! this process, [`Remote`] reaches the one of another node over a byte stream that [`serve()`]
//! answers, and [`Reconnecting`] makes a lasting one of remotes that break. One suite,
//! [`conformance`], is run against all of them.
//!
//! The contract is the part of NATS JetStream that a relay needs, so that a fleet can keep its
//! state there too: keys with compare-and-set and watches, queues with acknowledgement and an
//! idempotency id, subjects. Nothing in it needs a lock across nodes, and names are such that they
//! map to subjects (see [`name`]).
//!
//! Invariants every engine keeps:
//! - A durable change that was answered survives a crash; one that was refused left nothing behind
//!   in part. After [`StateError::Storage`], [`StateError::Disconnected`] and
//!   [`StateError::TimedOut`] it is unknown whether it was made: that is what revisions and item
//!   ids are for.
//! - Revisions and sequence numbers only grow, also across restarts and after everything was
//!   deleted. They are not consecutive. Zero is neither.
//! - Calls made without waiting for each other have no order. A call made after another one was
//!   answered comes later.
//! - Everything is bounded; what happens at a bound is said at the bound.

pub mod conformance;
mod embedded;
mod entry;
mod error;
mod frames;
mod lease;
pub mod name;
mod queue;
mod reconnecting;
mod remote;
mod serve;
mod session;
mod subject;
mod watch;
mod wire;

pub use embedded::{Embedded, Opener, Options};
pub use entry::{Entry, Expect, MAX_PAGE, MAX_PAGE_BYTES, MAX_VALUE, Page, Record};
pub use error::{Bound, StateError};
pub use lease::Lease;
pub use queue::{
    Appended, Depth, Item, ItemId, Limits, MAX_ITEM, MAX_QUEUE_ITEMS, MAX_READ, MAX_READ_BYTES,
    MAX_SOURCE, NewItem,
};
pub use reconnecting::{Connect, Patience, Reconnecting};
pub use remote::Remote;
pub use serve::{ServeError, serve};
pub use session::{MAX_SESSIONS, MAX_TTL, MIN_TTL, Session};
pub use subject::{MAX_PUBLISH, MAX_SUBSCRIPTIONS, SUBSCRIPTION_DEPTH, Subscription};
pub use watch::{Change, Event, MAX_WATCHES, WATCH_DEPTH, Watch};

use bytes::Bytes;
use futures::future::BoxFuture;
use std::time::Duration;

/// What a call of [`State`] returns.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, StateError>>;

/// What the nodes of a fleet know in common. Object safe; share it as `Arc<dyn State>`.
///
/// Every call may fail with [`StateError::BadName`] or [`StateError::TooLarge`] for what is asked,
/// and with [`StateError::Closed`], [`StateError::Disconnected`] or an error of the storage for how
/// things are. Only other errors are named at the calls. Dropping a call before it is answered
/// leaves open whether it is made.
pub trait State: Send + Sync + 'static {
    /// The entry of a key, durable or ephemeral.
    fn get<'a>(&'a self, bucket: &'a str, key: &'a str) -> Answer<'a, Option<Entry>>;

    /// Sets a key durably if it is as expected, and returns its new revision.
    ///
    /// Errors: [`StateError::Conflict`], [`StateError::OtherKind`] while a session holds the key.
    fn put<'a>(
        &'a self,
        bucket: &'a str,
        key: &'a str,
        value: Bytes,
        expect: Expect,
    ) -> Answer<'a, u64>;

    /// Removes a key, durable or ephemeral, if it is as expected, and says whether it was there.
    ///
    /// Errors: [`StateError::Conflict`].
    fn delete<'a>(&'a self, bucket: &'a str, key: &'a str, expect: Expect) -> Answer<'a, bool>;

    /// Entries whose keys begin with `prefix` and come after `after`, in byte order. `prefix` is
    /// empty or ends in `/`. A page ends at `limit` entries, [`MAX_PAGE`] or
    /// [`MAX_PAGE_BYTES`], whichever comes first.
    fn list<'a>(
        &'a self,
        bucket: &'a str,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> Answer<'a, Page>;

    /// Watches the keys that begin with `prefix` (empty or ending in `/`): current entries, a
    /// marker, changes.
    ///
    /// Errors: [`StateError::Busy`] at [`MAX_WATCHES`].
    fn watch<'a>(&'a self, bucket: &'a str, prefix: &'a str) -> Answer<'a, Watch>;

    /// Opens a session for a node: what it puts ephemerally is there until it is closed or was
    /// silent for `ttl` ([`MIN_TTL`] to [`MAX_TTL`]). It ends an earlier session of a node of
    /// the same name, which has restarted.
    ///
    /// Errors: [`StateError::Busy`] at [`MAX_SESSIONS`].
    fn open_session<'a>(&'a self, node: &'a str, ttl: Duration) -> Answer<'a, Session>;

    /// Says that the holder of a session lives ([`Lease`] does so by itself).
    ///
    /// Errors: [`StateError::NoSession`] when it has ended: what it held is gone.
    fn touch_session(&self, session: Session) -> Answer<'_, ()>;

    /// Ends a session; what it holds is gone. That it has ended before is no error.
    fn close_session(&self, session: Session) -> Answer<'_, ()>;

    /// Sets a key for as long as the session lives, if it is as expected, and returns its revision.
    /// It may take over a key that another session holds.
    ///
    /// Errors: [`StateError::NoSession`], [`StateError::Conflict`], [`StateError::OtherKind`] while
    /// the key is durable, [`StateError::Busy`] when sessions hold too many keys.
    fn put_ephemeral<'a>(
        &'a self,
        session: Session,
        bucket: &'a str,
        key: &'a str,
        value: Bytes,
        expect: Expect,
    ) -> Answer<'a, u64>;

    /// Appends an item durably. While an item of the same id is in the queue, that one is the
    /// answer and nothing changes.
    ///
    /// Errors: [`StateError::Full`].
    fn append<'a>(&'a self, queue: &'a str, item: NewItem) -> Answer<'a, Appended>;

    /// Appends several items in this order, each as by [`append`](Self::append), and answers each.
    /// That one is refused does not keep those after it out.
    fn append_all<'a>(
        &'a self,
        queue: &'a str,
        items: Vec<NewItem>,
    ) -> BoxFuture<'a, Vec<Result<Appended, StateError>>> {
        Box::pin(async move {
            let mut answers = Vec::with_capacity(items.len());
            for item in items {
                answers.push(self.append(queue, item).await);
            }
            answers
        })
    }

    /// Items after `after_seq` (0: from the first), in order, without those that have expired. It
    /// ends at `limit` items, [`MAX_READ`], `max_bytes` of values or [`MAX_READ_BYTES`],
    /// whichever comes first, but never before the first item.
    fn read<'a>(
        &'a self,
        queue: &'a str,
        after_seq: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Answer<'a, Vec<Item>>;

    /// Removes every item up to and including `up_to_seq`, durably, and says how many there were.
    fn ack<'a>(&'a self, queue: &'a str, up_to_seq: u64) -> Answer<'a, u64>;

    /// How much is in a queue. Items that have expired count until they are swept, about a second
    /// later.
    fn depth<'a>(&'a self, queue: &'a str) -> Answer<'a, Depth>;

    /// Tells whoever subscribes to a subject now; at most once, nobody may be listening.
    fn publish<'a>(&'a self, subject: &'a str, value: Bytes) -> Answer<'a, ()>;

    /// Hears what is published on a subject from now on.
    ///
    /// Errors: [`StateError::Busy`] at [`MAX_SUBSCRIPTIONS`].
    fn subscribe<'a>(&'a self, subject: &'a str) -> Answer<'a, Subscription>;
}
