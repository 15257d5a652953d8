//! Queues.

use super::{NEVER, ROOM, drain, id, item, now_ms, soon};
use crate::state::{
    Bound, Depth, Limits, MAX_ITEM, MAX_READ, MAX_SOURCE, NewItem, State, StateError,
};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

fn numbers(count: u64) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

async fn values(state: &dyn State, queue: &str, piece: usize) -> Vec<String> {
    drain(state, queue, piece)
        .await
        .into_iter()
        .map(|(_, value)| value)
        .collect()
}

pub(super) async fn keeps_order(state: &Arc<dyn State>) {
    let state = state.as_ref();
    assert_eq!(state.depth("q/order").await.unwrap(), Depth::default());
    assert_eq!(state.read("q/order", 0, 10, usize::MAX).await.unwrap(), []);
    let before = now_ms();
    let mut last = 0;
    for number in 0..40 {
        let appended = state.append("q/order", item(number)).await.unwrap();
        assert!(appended.seq > last && !appended.duplicate);
        last = appended.seq;
        state
            .append("q/order-more", item(1000 + number))
            .await
            .unwrap();
    }
    for piece in [1, 3, 40, MAX_READ] {
        assert_eq!(
            values(state, "q/order", piece).await,
            numbers(40),
            "in pieces of {piece}"
        );
    }
    let depth = state.depth("q/order").await.unwrap();
    assert_eq!((depth.items, depth.bytes), (40, 10 + 30 * 2));
    assert!((before..=now_ms()).contains(&depth.oldest_ms.unwrap()));
    let first = state.read("q/order", 0, 1, 0).await.unwrap().remove(0);
    assert_eq!(
        (first.id, first.expires_ms, first.source.as_ref()),
        (id(0), NEVER, &b"sender"[..])
    );
    assert_eq!(
        state.read("q/order", 0, 10, 3).await.unwrap().len(),
        3,
        "bytes bound a read"
    );
    assert_eq!(state.read("q/order", last, 10, 3).await.unwrap(), []);
    assert_eq!(state.read("q/order", u64::MAX, 10, 3).await.unwrap(), []);
}

/// Several at once come in their order, and one that is refused keeps only itself out.
pub(super) async fn appends_all_in_order(state: &Arc<dyn State>) {
    let mut items: Vec<_> = (0..50).map(item).collect();
    items[20].value = vec![0; MAX_ITEM + 1].into();
    items[30].id = items[10].id;
    let answers = state.append_all("q/all", items).await;
    assert_eq!(answers.len(), 50);
    assert!(matches!(answers[20], Err(StateError::TooLarge { .. })));
    assert!(answers[30].as_ref().unwrap().duplicate);
    let kept = answers
        .iter()
        .enumerate()
        .filter(|(at, _)| *at != 20 && *at != 30);
    let seqs: Vec<_> = kept
        .map(|(_, answer)| answer.as_ref().unwrap().seq)
        .collect();
    assert!(seqs.is_sorted());
    let found: Vec<_> = state.read("q/all", 0, 100, usize::MAX).await.unwrap();
    assert_eq!(found.iter().map(|item| item.seq).collect::<Vec<_>>(), seqs);
}

pub(super) async fn appends_once(state: &Arc<dyn State>) {
    let first = state.append("q/once", item(1)).await.unwrap();
    let again = state
        .append(
            "q/once",
            NewItem {
                value: Bytes::from("changed"),
                ..item(1)
            },
        )
        .await
        .unwrap();
    assert_eq!((again.seq, again.duplicate), (first.seq, true));
    assert!(
        !state.append("q/other", item(1)).await.unwrap().duplicate,
        "queues are apart"
    );
    let tries = (0..32).map(|_| {
        let state = Arc::clone(state);
        tokio::spawn(async move { state.append("q/once", item(2)).await.unwrap() })
    });
    let tries: Vec<_> = tries.collect();
    let (mut seqs, mut fresh) = (BTreeSet::new(), 0);
    for one in tries {
        let appended = one.await.unwrap();
        seqs.insert(appended.seq);
        fresh += u32::from(!appended.duplicate);
    }
    assert_eq!((seqs.len(), fresh), (1, 1));
    assert_eq!(values(state.as_ref(), "q/once", 10).await, ["1", "2"]);
    state.ack("q/once", first.seq).await.unwrap();
    let later = state.append("q/once", item(1)).await.unwrap();
    assert!(
        !later.duplicate && later.seq > first.seq,
        "what has left the queue is forgotten"
    );
}

pub(super) async fn reads_from_anywhere(state: &Arc<dyn State>) {
    let puts = (0..600).map(|number| state.append("q/anywhere", item(number)));
    assert!(
        futures::future::join_all(puts)
            .await
            .iter()
            .all(Result::is_ok)
    );
    let state = state.as_ref();
    let all = drain(state, "q/anywhere", MAX_READ).await;
    assert_eq!(all.len(), 600);
    for (place, (seq, _)) in all.iter().enumerate() {
        let rest = state.read("q/anywhere", *seq, 5, usize::MAX).await.unwrap();
        let expected: Vec<_> = all
            .iter()
            .skip(place + 1)
            .take(5)
            .map(|(seq, _)| *seq)
            .collect();
        assert_eq!(
            rest.iter().map(|item| item.seq).collect::<Vec<_>>(),
            expected
        );
    }
}

pub(super) async fn acknowledging_again_is_harmless(state: &Arc<dyn State>) {
    let state = state.as_ref();
    assert_eq!(
        state.ack("q/ack", u64::MAX).await.unwrap(),
        0,
        "a queue that never was"
    );
    let mut seqs = Vec::new();
    for number in 0..10 {
        seqs.push(state.append("q/ack", item(number)).await.unwrap().seq);
    }
    assert_eq!(state.ack("q/ack", seqs[3]).await.unwrap(), 4);
    assert_eq!(state.ack("q/ack", seqs[3]).await.unwrap(), 0);
    assert_eq!(state.ack("q/ack", seqs[1]).await.unwrap(), 0);
    assert_eq!(
        values(state, "q/ack", 3).await,
        ["4", "5", "6", "7", "8", "9"]
    );
    assert_eq!(state.depth("q/ack").await.unwrap().items, 6);
    // At once, so that they meet in one commit.
    let (acked, appended, after) = tokio::join!(
        state.ack("q/ack", seqs[9]),
        state.append("q/ack", item(10)),
        state.ack("q/ack", seqs[9])
    );
    assert_eq!(acked.unwrap() + after.unwrap(), 6);
    assert!(appended.unwrap().seq > seqs[9]);
    assert_eq!(values(state, "q/ack", 3).await, ["10"]);
    assert_eq!(state.ack("q/ack", u64::MAX).await.unwrap(), 1);
    assert_eq!(state.depth("q/ack").await.unwrap(), Depth::default());
    assert!(
        state.append("q/ack", item(11)).await.unwrap().seq > seqs[9],
        "seqs grow over an empty queue"
    );
}

pub(super) async fn bounds_hold(state: &Arc<dyn State>) {
    let limits = Limits { items: 3, ..ROOM };
    let bounded = |number, limits| {
        state.append(
            "q/bounds",
            NewItem {
                limits,
                ..item(number)
            },
        )
    };
    let puts: Vec<_> =
        futures::future::join_all((0..8).map(|number| bounded(number, limits))).await;
    let refused = puts
        .iter()
        .filter(|put| **put == Err(StateError::Full(Bound::Items)))
        .count();
    assert_eq!((refused, puts.iter().flatten().count()), (5, 3), "{puts:?}");
    let kept = drain(state.as_ref(), "q/bounds", 10).await;
    let again: u64 = kept[0].1.parse().unwrap();
    assert!(
        bounded(again, limits).await.unwrap().duplicate,
        "what is there is no addition"
    );
    let bytes = Limits { bytes: 4, ..ROOM };
    let large = |value: &'static str| {
        state.append(
            "q/bounds",
            NewItem {
                limits: bytes,
                value: Bytes::from(value),
                ..item(100)
            },
        )
    };
    assert_eq!(large("22").await, Err(StateError::Full(Bound::Bytes)));
    large("1").await.unwrap();
    state.ack("q/bounds", kept[2].0).await.unwrap();
    bounded(200, Limits { items: 2, ..ROOM }).await.unwrap();
    let too_large = NewItem {
        value: Bytes::from(vec![0; MAX_ITEM + 1]),
        ..item(300)
    };
    assert!(matches!(
        state.append("q/bounds", too_large).await,
        Err(StateError::TooLarge { .. })
    ));
    let too_large = NewItem {
        source: Bytes::from(vec![0; MAX_SOURCE + 1]),
        ..item(300)
    };
    assert!(matches!(
        state.append("q/bounds", too_large).await,
        Err(StateError::TooLarge { .. })
    ));
    let largest = NewItem {
        value: Bytes::from(vec![7; MAX_ITEM]),
        ..item(301)
    };
    state.append("q/largest", largest.clone()).await.unwrap();
    assert_eq!(
        state.read("q/largest", 0, 1, 1).await.unwrap()[0].value,
        largest.value
    );
    state.ack("q/largest", u64::MAX).await.unwrap();
}

pub(super) async fn no_source_fills_a_queue(state: &Arc<dyn State>) {
    let limits = Limits {
        items: 10,
        bytes: 1000,
        source_items: 2,
        source_bytes: 6,
    };
    let from = |source: &'static str, number: u64, value: &'static str| {
        let (source, value) = (Bytes::from(source), Bytes::from(value));
        state.append(
            "q/fair",
            NewItem {
                source,
                value,
                limits,
                ..item(number)
            },
        )
    };
    let first = from("loud", 1, "x").await.unwrap().seq;
    from("loud", 2, "x").await.unwrap();
    assert_eq!(
        from("loud", 3, "x").await,
        Err(StateError::Full(Bound::SourceItems))
    );
    from("quiet", 4, "12345").await.unwrap();
    assert_eq!(
        from("quiet", 5, "67").await,
        Err(StateError::Full(Bound::SourceBytes))
    );
    from("quiet", 6, "6").await.unwrap();
    from("", 7, "").await.unwrap();
    state.ack("q/fair", first).await.unwrap();
    from("loud", 8, "x").await.unwrap();
    assert_eq!(
        from("loud", 9, "x").await,
        Err(StateError::Full(Bound::SourceItems))
    );
}

pub(super) async fn what_expires_goes(state: &Arc<dyn State>) {
    let limits = Limits { items: 3, ..ROOM };
    let short = now_ms() + 400;
    let append = |number, expires_ms| {
        state.append(
            "q/expiry",
            NewItem {
                expires_ms,
                limits,
                ..item(number)
            },
        )
    };
    append(1, NEVER).await.unwrap();
    append(2, short).await.unwrap();
    append(3, NEVER).await.unwrap();
    if now_ms() < short {
        assert_eq!(append(4, NEVER).await, Err(StateError::Full(Bound::Items)));
    }
    let (left, state) = (short.saturating_sub(now_ms()), state.as_ref());
    tokio::time::sleep(Duration::from_millis(left + 20)).await;
    assert_eq!(
        values(state, "q/expiry", 10).await,
        ["1", "3"],
        "nobody reads what has expired"
    );
    // Nobody says when it is swept: look until it is.
    let swept = async {
        while state.depth("q/expiry").await.unwrap().items > 2 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    soon("a sweep", swept).await;
    assert!(
        !append(2, NEVER).await.unwrap().duplicate,
        "room again, and its id is forgotten"
    );
    assert_eq!(values(state, "q/expiry", 10).await, ["1", "3", "2"]);
}

/// Many callers append to few queues, every item twice; each is there once, in the order of its
/// seq.
pub(super) async fn many_callers_each_once(state: &Arc<dyn State>) {
    const CALLERS: u64 = 64;
    const EACH: u64 = 10;
    let call = |caller: u64| {
        let state = Arc::clone(state);
        tokio::spawn(async move {
            let queue = format!("q/many/{}", caller % 3);
            let mut last = 0;
            for number in 0..EACH {
                let item = item(caller * EACH + number);
                let (first, again) = tokio::join!(
                    state.append(&queue, item.clone()),
                    state.append(&queue, item)
                );
                let (first, again) = (first.unwrap(), again.unwrap());
                assert!(
                    first.seq == again.seq
                        && first.duplicate != again.duplicate
                        && first.seq > last
                );
                last = first.seq;
            }
        })
    };
    let callers: Vec<_> = (0..CALLERS).map(call).collect();
    for caller in callers {
        caller.await.unwrap();
    }
    let mut all = BTreeSet::new();
    for queue in 0..3 {
        let found = drain(state.as_ref(), &format!("q/many/{queue}"), 50).await;
        assert!(found.is_sorted_by(|a, b| a.0 < b.0));
        for (_, value) in found {
            assert!(
                all.insert(value.parse::<u64>().unwrap()),
                "{value} is there twice"
            );
        }
    }
    assert_eq!(all, (0..CALLERS * EACH).collect());
}
