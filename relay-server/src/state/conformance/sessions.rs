//! Sessions and ephemeral keys.

use super::{bytes, next, set, soon, value};
use crate::state::{Event, Expect, MIN_TTL, Session, State, StateError};
use std::sync::Arc;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

async fn hold(
    state: &dyn State,
    session: Session,
    key: &str,
    value: &str,
) -> Result<u64, StateError> {
    state
        .put_ephemeral(session, "presence", key, bytes(value), Expect::Any)
        .await
}

pub(super) async fn ephemeral_keys_go_with_their_session(state: &Arc<dyn State>) {
    let state = state.as_ref();
    let one = state.open_session("node-1", LONG).await.unwrap();
    let two = state.open_session("node-2", LONG).await.unwrap();
    assert_ne!(one, two);
    hold(state, one, "a", "1").await.unwrap();
    let revision = hold(state, one, "b", "1").await.unwrap();
    let expect = Expect::Revision(revision);
    state
        .put_ephemeral(two, "presence", "b", bytes("2"), expect)
        .await
        .unwrap();
    let again = state
        .put_ephemeral(one, "presence", "b", bytes("1"), expect)
        .await;
    assert!(
        matches!(again, Err(StateError::Conflict { current: Some(current) }) if current > revision)
    );
    let mut watch = state.watch("presence", "").await.unwrap();
    while next(&mut watch).await != Event::Current {}
    state.close_session(one).await.unwrap();
    let Event::Change(gone) = next(&mut watch).await else {
        panic!("not a change")
    };
    assert!(gone.key == "a" && gone.entry.is_none());
    assert_eq!(value(state, "presence", "a").await, None);
    assert_eq!(
        value(state, "presence", "b").await.unwrap(),
        "2",
        "taken over by the other session"
    );
    assert_eq!(state.touch_session(one).await, Err(StateError::NoSession));
    assert_eq!(hold(state, one, "c", "1").await, Err(StateError::NoSession));
    state.close_session(one).await.unwrap();
    assert!(state.delete("presence", "b", Expect::Any).await.unwrap());
    assert_eq!(value(state, "presence", "b").await, None);
    state.close_session(two).await.unwrap();
}

pub(super) async fn silence_ends_a_session(state: &Arc<dyn State>) {
    let ttl = 4 * MIN_TTL;
    let silent = state.open_session("silent", ttl).await.unwrap();
    let alive = crate::state::Lease::open(Arc::clone(state), "alive", ttl)
        .await
        .unwrap();
    let state = state.as_ref();
    hold(state, silent, "silent", "x").await.unwrap();
    hold(state, alive.session(), "alive", "x").await.unwrap();
    assert!(value(state, "presence", "silent").await.is_some());
    let mut watch = state.watch("presence", "").await.unwrap();
    let gone = async {
        loop {
            if let Event::Change(change) = watch.next().await
                && change.entry.is_none()
            {
                return change.key;
            }
        }
    };
    assert_eq!(soon("the end of a silent session", gone).await, "silent");
    assert_eq!(
        state.touch_session(silent).await,
        Err(StateError::NoSession)
    );
    // Well past the time of silence: only touching keeps this one.
    tokio::time::sleep(2 * ttl).await;
    assert!(
        value(state, "presence", "alive").await.is_some(),
        "a lease keeps its session"
    );
    state.close_session(alive.session()).await.unwrap();
    soon("word of a lost session", alive.lost()).await;
    assert!(value(state, "presence", "alive").await.is_none());
}

pub(super) async fn a_restarted_node_replaces_its_session(state: &Arc<dyn State>) {
    let state = state.as_ref();
    let before = state.open_session("restarts", LONG).await.unwrap();
    hold(state, before, "old", "x").await.unwrap();
    let after = state.open_session("restarts", LONG).await.unwrap();
    hold(state, after, "new", "x").await.unwrap();
    assert_eq!(
        hold(state, before, "late", "x").await,
        Err(StateError::NoSession)
    );
    assert_eq!(value(state, "presence", "old").await, None);
    assert_eq!(value(state, "presence", "new").await.unwrap(), "x");
    state.close_session(after).await.unwrap();
    assert!(state.open_session("x", Duration::ZERO).await.is_err());
}

pub(super) async fn kinds_do_not_mix(state: &Arc<dyn State>) {
    let state = state.as_ref();
    let session = state.open_session("kinds", LONG).await.unwrap();
    set(state, "presence", "durable", "d").await;
    assert_eq!(
        hold(state, session, "durable", "e").await,
        Err(StateError::OtherKind)
    );
    hold(state, session, "ephemeral", "e").await.unwrap();
    let put = state
        .put("presence", "ephemeral", bytes("d"), Expect::Any)
        .await;
    assert_eq!(put, Err(StateError::OtherKind));
    state
        .delete("presence", "durable", Expect::Any)
        .await
        .unwrap();
    hold(state, session, "durable", "e").await.unwrap();
    state.close_session(session).await.unwrap();
    assert_eq!(value(state, "presence", "durable").await, None);
    set(state, "presence", "ephemeral", "d").await;
    state
        .delete("presence", "ephemeral", Expect::Any)
        .await
        .unwrap();
}
