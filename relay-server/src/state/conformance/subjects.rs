//! Subjects.

use super::{bytes, soon};
use crate::state::{SUBSCRIPTION_DEPTH, State};
use std::sync::Arc;

pub(super) async fn tells_who_listens(state: &Arc<dyn State>) {
    state
        .publish("front/1", bytes("nobody hears"))
        .await
        .unwrap();
    let mut one = state.subscribe("front/1").await.unwrap();
    let mut two = state.subscribe("front/1").await.unwrap();
    let mut other = state.subscribe("front/2").await.unwrap();
    for value in ["a", "", "c"] {
        state.publish("front/1", bytes(value)).await.unwrap();
    }
    state.publish("front/2", bytes("b")).await.unwrap();
    for subscription in [&mut one, &mut two] {
        for value in ["a", "", "c"] {
            assert_eq!(
                soon("a value", subscription.next()).await.unwrap(),
                bytes(value)
            );
        }
    }
    assert_eq!(soon("a value", other.next()).await.unwrap(), bytes("b"));
    drop(one);
    state.publish("front/1", bytes("d")).await.unwrap();
    assert_eq!(soon("a value", two.next()).await.unwrap(), bytes("d"));
    assert_eq!(two.dropped(), 0);
}

pub(super) async fn drops_are_counted(state: &Arc<dyn State>) {
    // More than every channel on the way can hold, so that it ends with a value that is not
    // dropped.
    let total = 64 * SUBSCRIPTION_DEPTH as u64;
    let mut slow = state.subscribe("slow").await.unwrap();
    for number in 0..total {
        state
            .publish("slow", bytes(&number.to_string()))
            .await
            .unwrap();
    }
    let heard = async {
        let (mut heard, mut last) = (0, None);
        // What is on its way comes, and then the last one, published into an empty channel.
        loop {
            let wait = std::time::Duration::from_millis(500);
            match tokio::time::timeout(wait, slow.next()).await {
                Ok(Some(value)) => {
                    let number: u64 = std::str::from_utf8(&value).unwrap().parse().unwrap();
                    assert!(last.is_none_or(|last| number > last), "in order");
                    last = Some(number);
                    heard += 1;
                }
                Ok(None) => panic!("the subscription ended"),
                Err(_) => return heard,
            }
        }
    };
    let heard: u64 = soon("the values", heard).await;
    assert!(
        heard >= SUBSCRIPTION_DEPTH as u64 && heard < total,
        "{heard}"
    );
    state.publish("slow", bytes("1000000")).await.unwrap();
    assert_eq!(
        soon("a value", slow.next()).await.unwrap(),
        bytes("1000000")
    );
    assert_eq!(
        heard + slow.dropped(),
        total,
        "every value was heard or counted"
    );
}
