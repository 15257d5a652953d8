//! Watches.

use super::{next, set, soon};
use crate::state::{Change, Event, Expect, State, WATCH_DEPTH, Watch};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

fn change(key: &str, revision: u64, value: Option<&str>) -> Event {
    let entry = value.map(|value| crate::state::Entry {
        value: super::bytes(value),
        revision,
    });
    Event::Change(Change {
        key: key.to_owned(),
        revision,
        entry,
    })
}

pub(super) async fn tells_what_is_there_then_changes(state: &Arc<dyn State>) {
    let one = set(state.as_ref(), "watched", "w/1", "one").await;
    let two = set(state.as_ref(), "watched", "w/2", "two").await;
    set(state.as_ref(), "watched", "other/1", "x").await;
    set(state.as_ref(), "watch", "w/1", "x").await;
    let mut watch = state.watch("watched", "w/").await.unwrap();
    assert_eq!(next(&mut watch).await, change("w/1", one, Some("one")));
    assert_eq!(next(&mut watch).await, change("w/2", two, Some("two")));
    assert_eq!(next(&mut watch).await, Event::Current);
    set(state.as_ref(), "watched", "other/1", "y").await;
    let three = set(state.as_ref(), "watched", "w/1", "three").await;
    assert_eq!(next(&mut watch).await, change("w/1", three, Some("three")));
    state.delete("watched", "w/2", Expect::Any).await.unwrap();
    let Event::Change(gone) = next(&mut watch).await else {
        panic!("not a change")
    };
    assert!(gone.key == "w/2" && gone.entry.is_none() && gone.revision > three);
    assert!(!state.delete("watched", "w/2", Expect::Any).await.unwrap());
    state
        .put("watched", "w/1", Bytes::new(), Expect::Absent)
        .await
        .unwrap_err();
    let four = set(state.as_ref(), "watched", "w/4", "").await;
    assert_eq!(
        next(&mut watch).await,
        change("w/4", four, Some("")),
        "what changed nothing is not told"
    );
    let mut empty = state.watch("watched", "none/").await.unwrap();
    assert_eq!(next(&mut empty).await, Event::Current);
}

/// Watches begin while writers write: each watch ends with what is there, and its changes come in
/// order without a gap.
pub(super) async fn tells_every_change_in_order(state: &Arc<dyn State>) {
    const WRITERS: u64 = 4;
    const EACH: u64 = 60;
    let write = |writer: u64| {
        let state = Arc::clone(state);
        tokio::spawn(async move {
            for number in 0..EACH {
                set(
                    state.as_ref(),
                    "order",
                    &format!("{writer}"),
                    &number.to_string(),
                )
                .await;
            }
        })
    };
    let follow = async |mut watch: Watch| {
        let (mut told, mut current, mut last) = (BTreeMap::<String, u64>::new(), false, 0);
        while told.len() < WRITERS as usize || told.values().any(|number| *number < EACH - 1) {
            match next(&mut watch).await {
                Event::Change(change) => {
                    let value = change.entry.unwrap().value;
                    let number: u64 = std::str::from_utf8(&value).unwrap().parse().unwrap();
                    assert!(!current || change.revision > last, "out of order");
                    last = if current { change.revision } else { 0 };
                    if let Some(before) = told.insert(change.key, number) {
                        assert_eq!(number, before + 1, "a change was not told");
                    }
                }
                Event::Current => current = true,
                other => panic!("{other:?}"),
            }
        }
    };
    let first = state.watch("order", "").await.unwrap();
    let writers: Vec<_> = (0..WRITERS).map(write).collect();
    let mut watches = vec![first];
    for _ in 0..5 {
        watches.push(state.watch("order", "").await.unwrap());
        tokio::task::yield_now().await;
    }
    for watch in watches {
        follow(watch).await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
}

pub(super) async fn tells_who_lags(state: &Arc<dyn State>) {
    let mut slow = state.watch("lagging", "").await.unwrap();
    let mut quick = state.watch("lagging", "").await.unwrap();
    assert_eq!(next(&mut quick).await, Event::Current);
    // More than every channel on the way can hold.
    let total = 8 * WATCH_DEPTH;
    for start in (0..total).step_by(256) {
        let puts = (start..start + 256).map(|number| async move {
            set(state.as_ref(), "lagging", &(number % 64).to_string(), "x").await
        });
        futures::future::join_all(puts).await;
        for _ in 0..256 {
            assert!(
                matches!(next(&mut quick).await, Event::Change(_)),
                "who keeps up loses nothing"
            );
        }
    }
    let mut told = 0;
    let end = loop {
        match next(&mut slow).await {
            Event::Change(_) => told += 1,
            Event::Current => {}
            end => break end,
        }
    };
    assert_eq!(end, Event::Lagged);
    assert!(told < total, "{told}");
    assert_eq!(
        soon("the end", slow.next()).await,
        Event::Disconnected,
        "nothing comes after the last event"
    );
    let mut anew = state.watch("lagging", "").await.unwrap();
    let mut there = 0;
    while next(&mut anew).await != Event::Current {
        there += 1;
    }
    assert_eq!(there, 64);
}
