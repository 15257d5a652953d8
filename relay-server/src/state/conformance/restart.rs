//! What is there after the state was closed and opened again.

use super::{Open, bytes, drain, item, set, value};
use crate::state::{Depth, Expect, StateError};
use std::time::Duration;

pub(super) async fn keeps_what_is_durable(open: Open<'_>) {
    let (mut last, mut revision) = (0, 0);
    for round in 0..4u64 {
        let fixture = open("restart").await;
        let state = fixture.state.as_ref();
        for earlier in 0..round {
            let key = format!("{earlier}");
            assert_eq!(value(state, "kept", &key).await.unwrap(), key);
        }
        assert_eq!(value(state, "kept", "removed").await, None);
        assert_eq!(
            value(state, "kept", "ephemeral").await,
            None,
            "sessions end with the state"
        );
        let kept = drain(state, "q/kept", 7).await;
        let expected: Vec<_> = (0..round).map(|number| number.to_string()).collect();
        assert_eq!(
            kept.iter()
                .map(|(_, value)| value.clone())
                .collect::<Vec<_>>(),
            expected
        );
        assert_eq!(state.depth("q/kept").await.unwrap().items, round);
        if round > 0 {
            let again = state.append("q/kept", item(round - 1)).await.unwrap();
            assert!(again.duplicate, "ids are remembered");
        }
        let appended = state.append("q/kept", item(round)).await.unwrap();
        assert!(appended.seq > last, "seqs grow");

        assert_eq!(state.depth("q/emptied").await.unwrap(), Depth::default());
        let emptied = state.append("q/emptied", item(1)).await.unwrap();
        assert!(emptied.seq > appended.seq && !emptied.duplicate);
        last = emptied.seq;
        assert_eq!(state.ack("q/emptied", last).await.unwrap(), 1);

        let stale = state
            .put(
                "kept",
                "changing",
                bytes("x"),
                Expect::Revision(u64::MAX >> 1),
            )
            .await;
        let current = Some(revision).filter(|revision| *revision > 0);
        assert_eq!(
            stale,
            Err(StateError::Conflict { current }),
            "revisions stay"
        );
        let new = set(state, "kept", "changing", "x").await;
        assert!(new > revision && new > last, "revisions grow");
        revision = new;

        set(state, "kept", &round.to_string(), &round.to_string()).await;
        set(state, "kept", "removed", "x").await;
        state.delete("kept", "removed", Expect::Any).await.unwrap();
        let session = state
            .open_session("node", Duration::from_secs(60))
            .await
            .unwrap();
        state
            .put_ephemeral(session, "kept", "ephemeral", bytes("x"), Expect::Absent)
            .await
            .unwrap();
        fixture.close.await;
    }
}
