//! The announcements that an index node has of a share, and the next one it needs.

use super::local_holdings::LocalHoldings;
use bytes::Bytes;
use hither_proto::limits::MAX_INDEX_RANGES;
use hither_proto::{Announcement, Delta, IndexMessage, IndexTopic, Ranges};
use roaring::RoaringBitmap;

/// The state the node knows, if it took everything.
#[derive(Debug)]
pub(super) struct AnnouncedState {
    version: u64,
    epoch: u64,
    seq: u64,
    complete: bool,
    held: RoaringBitmap,
    sealed: Bytes,
}

/// Returns the next message, given the earlier ones: nothing, an announcement, a delta, or that
/// nothing is held any more. `holding` is in the units of the index. `told` becomes the state that
/// the node then knows.
pub(super) fn next(
    told: &mut Option<AnnouncedState>,
    topic: IndexTopic,
    holding: &LocalHoldings,
    sealed: &Bytes,
    epoch: u64,
) -> Option<IndexMessage> {
    if holding.is_nothing() {
        return told.take().map(|_| IndexMessage::Withdraw { topic });
    }
    if let Some(known) = told.as_mut().filter(|told| {
        told.version == holding.version
            && told.sealed == sealed
            && told.complete == holding.complete
    }) {
        if known.complete {
            return None;
        }
        let (added, removed) = (&holding.held - &known.held, &known.held - &holding.held);
        if added.is_empty() && removed.is_empty() {
            return None;
        }
        let some = |bitmap: &RoaringBitmap| Ranges::beginning(bitmap, MAX_INDEX_RANGES);
        let (added, removed) = (some(&added), some(&removed));
        if added.as_slice().len() + removed.as_slice().len() <= MAX_INDEX_RANGES {
            known.seq += 1;
            known.held |= added.to_bitmap();
            known.held -= removed.to_bitmap();
            let change = Delta {
                version: known.version,
                epoch: known.epoch,
                seq: known.seq,
                added,
                removed,
            };
            return Some(IndexMessage::Delta { topic, change });
        }
    }
    let seq = told.as_ref().map_or(1, |told| told.seq + 1);
    let held = Ranges::beginning(&holding.held, MAX_INDEX_RANGES);
    let LocalHoldings {
        version, complete, ..
    } = *holding;
    // Changes that did not fit are added when there is room: the next difference has them.
    let known = held.to_bitmap();
    *told = Some(AnnouncedState {
        version,
        epoch,
        seq,
        complete,
        held: known,
        sealed: sealed.clone(),
    });
    let holding = Announcement {
        version,
        epoch,
        seq,
        complete,
        held,
        has_manifest: true,
    };
    Some(IndexMessage::Announce {
        topic,
        holding,
        sealed: sealed.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOPIC: IndexTopic = IndexTopic::new([1; 32]);

    fn sealed() -> Bytes {
        Bytes::from_static(b"here")
    }

    fn holds(version: u64, positions: impl IntoIterator<Item = u32>) -> LocalHoldings {
        LocalHoldings {
            version,
            complete: false,
            held: positions.into_iter().collect(),
        }
    }

    #[test]
    fn first_all_then_differences_then_nothing() {
        let mut told = None;
        let mut say = |holding: &LocalHoldings| next(&mut told, TOPIC, holding, &sealed(), 9);
        assert_eq!(say(&LocalHoldings::default()), None);
        assert!(
            matches!(say(&holds(1, [1, 2])), Some(IndexMessage::Announce { holding, .. }) if holding.seq == 1)
        );
        assert_eq!(say(&holds(1, [1, 2])), None);
        let Some(IndexMessage::Delta { change, .. }) = say(&holds(1, [2, 3])) else {
            panic!()
        };
        assert_eq!(
            (change.seq, change.added.total(), change.removed.total()),
            (2, 1, 1)
        );
        let whole = LocalHoldings {
            complete: true,
            ..holds(1, [])
        };
        assert!(
            matches!(say(&whole), Some(IndexMessage::Announce { holding, .. }) if holding.seq == 3)
        );
        assert_eq!(say(&whole), None);
        assert!(matches!(
            say(&holds(2, [1])),
            Some(IndexMessage::Announce { .. })
        ));
        assert_eq!(
            say(&holds(2, [])),
            Some(IndexMessage::Withdraw { topic: TOPIC })
        );
        assert_eq!(say(&holds(2, [])), None);
    }

    #[test]
    fn other_addresses_are_announced() {
        let mut told = None;
        let holding = holds(1, [1]);
        next(&mut told, TOPIC, &holding, &sealed(), 9).unwrap();
        let elsewhere = Bytes::from_static(b"there");
        let said = next(&mut told, TOPIC, &holding, &elsewhere, 9);
        assert!(matches!(said, Some(IndexMessage::Announce { sealed, .. }) if sealed == elsewhere));
    }

    proptest! {
        #[test]
        fn the_node_knows_what_is_held_after_enough_said(
            steps in proptest::collection::vec(proptest::collection::btree_set(0u32..60_000, 0..60), 1..12),
            scattered in 0u32..30_000,
        ) {
            let mut told = None;
            let mut node = RoaringBitmap::new();
            let mut last = RoaringBitmap::new();
            let many = (0..scattered).map(|at| at * 2 + 60_000).collect::<RoaringBitmap>();
            for step in steps {
                last = step.into_iter().collect::<RoaringBitmap>() | &many;
                let holding = LocalHoldings { version: 1, complete: false, held: last.clone() };
                if let Some(message) = next(&mut told, TOPIC, &holding, &sealed(), 9) {
                    hear(&mut node, message);
                }
            }
            let holding = LocalHoldings { version: 1, complete: false, held: last.clone() };
            while let Some(message) = next(&mut told, TOPIC, &holding, &sealed(), 9) {
                hear(&mut node, message);
            }
            prop_assert_eq!(node, last);
        }
    }

    fn hear(node: &mut RoaringBitmap, message: IndexMessage) {
        match message {
            IndexMessage::Announce { holding, .. } => *node = holding.held.to_bitmap(),
            IndexMessage::Delta { change, .. } => {
                *node |= change.added.to_bitmap();
                *node -= change.removed.to_bitmap();
            }
            IndexMessage::Withdraw { .. } => node.clear(),
            other => panic!("{other:?}"),
        }
    }
}
