//! Keys: compare-and-set, lists, bounds.

use super::{bytes, set, value};
use crate::state::{Expect, MAX_PAGE, MAX_VALUE, State, StateError};
use bytes::Bytes;
use std::sync::Arc;

pub(super) async fn reads_what_was_written(state: &Arc<dyn State>) {
    assert_eq!(state.get("basic", "k").await.unwrap(), None);
    let first = set(state.as_ref(), "basic", "k", "one").await;
    assert!(first > 0);
    set(state.as_ref(), "basic-more", "k", "other bucket").await;
    set(state.as_ref(), "basic", "k/more", "other key").await;
    let entry = state.get("basic", "k").await.unwrap().unwrap();
    assert_eq!((entry.value, entry.revision), (bytes("one"), first));
    let second = set(state.as_ref(), "basic", "k", "").await;
    assert!(second > first);
    assert_eq!(
        value(state.as_ref(), "basic", "k").await.unwrap(),
        "",
        "an empty value is a value"
    );
    assert!(state.delete("basic", "k", Expect::Any).await.unwrap());
    assert!(!state.delete("basic", "k", Expect::Any).await.unwrap());
    assert_eq!(state.get("basic", "k").await.unwrap(), None);
    assert_eq!(
        value(state.as_ref(), "basic-more", "k").await.unwrap(),
        "other bucket"
    );
    assert_eq!(
        value(state.as_ref(), "basic", "k/more").await.unwrap(),
        "other key"
    );
    let third = set(state.as_ref(), "basic", "k", "again").await;
    assert!(third > second, "revisions grow also over a removal");
}

pub(super) async fn compares_before_setting(state: &Arc<dyn State>) {
    let put = async |expect| state.put("cas", "k", bytes("v"), expect).await;
    let conflict = |current| Err(StateError::Conflict { current });
    assert_eq!(put(Expect::Revision(1)).await, conflict(None));
    let first = put(Expect::Absent).await.unwrap();
    assert_eq!(put(Expect::Absent).await, conflict(Some(first)));
    let second = put(Expect::Revision(first)).await.unwrap();
    assert_eq!(
        put(Expect::Revision(first)).await,
        conflict(Some(second)),
        "the same value, another revision"
    );
    let removed = state.delete("cas", "k", Expect::Revision(first)).await;
    assert_eq!(
        removed,
        Err(StateError::Conflict {
            current: Some(second)
        })
    );
    assert!(
        state
            .delete("cas", "k", Expect::Revision(second))
            .await
            .unwrap()
    );
    assert!(!state.delete("cas", "k", Expect::Absent).await.unwrap());
    put(Expect::Absent).await.unwrap();
}

/// Many tasks count one counter up; every increment must count, and of those who try on one
/// revision one wins.
pub(super) async fn races_have_one_winner(state: &Arc<dyn State>) {
    const TASKS: u32 = 16;
    const EACH: u32 = 8;
    let counting = |_| {
        let state = Arc::clone(state);
        tokio::spawn(async move {
            let mut won = Vec::new();
            while won.len() < EACH as usize {
                let old = state.get("race", "counter").await.unwrap();
                let (number, expect) = match &old {
                    None => (0, Expect::Absent),
                    Some(entry) => (
                        u32::from_be_bytes(entry.value.as_ref().try_into().unwrap()),
                        Expect::Revision(entry.revision),
                    ),
                };
                let new = Bytes::copy_from_slice(&(number + 1).to_be_bytes());
                match state.put("race", "counter", new, expect).await {
                    Ok(_) => won.push(number),
                    Err(StateError::Conflict { current }) => {
                        assert_ne!(
                            current,
                            old.map(|entry| entry.revision),
                            "a conflict with what is expected"
                        );
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            won
        })
    };
    let tasks: Vec<_> = (0..TASKS).map(counting).collect();
    let mut won = Vec::new();
    for task in tasks {
        won.extend(task.await.unwrap());
    }
    won.sort_unstable();
    assert_eq!(
        won,
        (0..TASKS * EACH).collect::<Vec<_>>(),
        "every value was replaced exactly once"
    );
}

pub(super) async fn lists_in_pages(state: &Arc<dyn State>) {
    let session = state
        .open_session("lister", std::time::Duration::from_secs(60))
        .await
        .unwrap();
    let mut expected = Vec::new();
    for number in 0..25 {
        let key = format!("in/{number:02}");
        if number % 3 == 0 {
            state
                .put_ephemeral(session, "pages", &key, bytes("e"), Expect::Any)
                .await
                .unwrap();
        } else {
            set(state.as_ref(), "pages", &key, "d").await;
        }
        expected.push(key);
    }
    for outside in ["in", "in-", "inn/0", "a", "z"] {
        set(state.as_ref(), "pages", outside, "x").await;
    }
    for limit in [1, 2, 7, 24, 25, 26, usize::MAX] {
        let (mut found, mut after) = (Vec::new(), None::<String>);
        loop {
            let page = state
                .list("pages", "in/", after.as_deref(), limit)
                .await
                .unwrap();
            assert!(page.records.len() <= limit);
            after = page.records.last().map(|record| record.key.clone());
            found.extend(page.records.into_iter().map(|record| record.key));
            if !page.more {
                break;
            }
        }
        assert_eq!(found, expected, "in pages of {limit}");
    }
    let all = state.list("pages", "", None, MAX_PAGE).await.unwrap();
    assert_eq!(all.records.len(), 30);
    assert!(all.records.is_sorted_by(|a, b| a.key < b.key) && !all.more);
    assert_eq!(
        state
            .list("page", "", None, MAX_PAGE)
            .await
            .unwrap()
            .records,
        [],
        "buckets are apart"
    );
    state.close_session(session).await.unwrap();
}

pub(super) async fn refuses_bad_names_and_sizes(state: &Arc<dyn State>) {
    let bad = |result: Result<(), StateError>| {
        assert!(matches!(result, Err(StateError::BadName(_))), "{result:?}")
    };
    bad(state.get("", "k").await.map(drop));
    bad(state.get("a/b", "k").await.map(drop));
    bad(state
        .put("b", "k\0", Bytes::new(), Expect::Any)
        .await
        .map(drop));
    bad(state.delete("b", "k.x", Expect::Any).await.map(drop));
    bad(state.list("b", "half", None, 1).await.map(drop));
    bad(state.watch("b", "*").await.map(drop));
    bad(state.read("/q", 0, 1, 1).await.map(drop));
    bad(state.ack("", 0).await.map(drop));
    bad(state.subscribe(">").await.map(drop));
    let large = Bytes::from(vec![0; MAX_VALUE + 1]);
    let refused = state.put("b", "k", large.clone(), Expect::Any).await;
    assert!(matches!(refused, Err(StateError::TooLarge { .. })));
    let refused = state.publish("s", large.clone()).await;
    assert!(matches!(refused, Err(StateError::TooLarge { .. })));
    state
        .put("b", "k", large.slice(1..), Expect::Any)
        .await
        .unwrap();
    assert_eq!(
        state.get("b", "k").await.unwrap().unwrap().value.len(),
        MAX_VALUE
    );
}
