//! The chunks this device holds of a share, as its own inventory announces them, and their
//! announcement to an index.

use crate::index::IndexService;
use hither_engine::SessionId;
use hither_proto::limits::{INDEX_EXTENT, INDEX_EXTENTS_ABOVE};
use hither_proto::{Announcement, Delta, Message};
use hither_swarm::Share;
use roaring::RoaringBitmap;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The chunks held of one version.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct LocalHoldings {
    pub(super) version: u64,
    pub(super) complete: bool,
    /// Empty when it is complete.
    pub(super) held: RoaringBitmap,
}

impl LocalHoldings {
    fn announced(announcement: &Announcement) -> Self {
        let Announcement {
            version,
            complete,
            held,
            ..
        } = announcement;
        Self {
            version: *version,
            complete: *complete,
            held: held.to_bitmap(),
        }
    }

    /// The inventory announces anew whenever a delta would not do.
    fn change(&mut self, delta: &Delta) {
        if delta.version == self.version && !self.complete {
            self.held |= delta.added.to_bitmap();
            self.held -= delta.removed.to_bitmap();
        }
    }

    /// Returns whether there is nothing to announce.
    pub(super) fn is_nothing(&self) -> bool {
        !self.complete && self.held.is_empty()
    }
}

/// The numbers by which an index counts what is held of a version with so many chunks: positions,
/// or in large versions the extents all of which is held.
pub(super) fn units(held: &RoaringBitmap, chunks: u32) -> RoaringBitmap {
    if chunks <= INDEX_EXTENTS_ABOVE {
        return held.clone();
    }
    let mut extents = RoaringBitmap::new();
    let mut next = held.min();
    while let Some(position) = next {
        let extent = position / INDEX_EXTENT;
        let (start, end) = (
            extent * INDEX_EXTENT,
            ((extent + 1) * INDEX_EXTENT).min(chunks),
        );
        if held.contains_range(start..end) {
            extents.insert(extent);
        }
        // Over the rest of this extent to the next position held.
        next = held.select(u32::try_from(held.rank(end - 1)).unwrap_or(u32::MAX));
    }
    extents
}

/// Number of data chunks of a version, once its head was seen.
pub(super) fn chunks(share: &Share, version: u64) -> Option<u32> {
    let here = share
        .version(version)
        .map(|version| version.head.head().chunks);
    here.or_else(|| share.head_of(version).map(|head| head.head().chunks))
}

/// A session that is nobody's: on it the inventory tells what is held, as it tells everybody who
/// listens.
struct Session {
    service: Arc<IndexService>,
    id: SessionId,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.service.swarm.core().routes.remove_session(self.id);
        self.service
            .swarm
            .core()
            .with(|engine, _| engine.handle_unsubscribed(self.id));
    }
}

/// Keeps what is held of a share up to date, until it is told to stop.
pub(super) async fn keep(service: Arc<IndexService>, share: Arc<Share>, stop: CancellationToken) {
    let (sender, mut said) = mpsc::unbounded_channel();
    let id = service.swarm.next_session();
    service
        .swarm
        .core()
        .routes
        .add_session(id, share.id, sender);
    let session = Session {
        service: Arc::clone(&service),
        id,
    };
    service
        .swarm
        .core()
        .with(|engine, _| engine.handle_subscribed(id, share.id));
    loop {
        let message = tokio::select! {
            message = said.recv() => message,
            () = stop.cancelled() => None,
        };
        match message {
            Some(Message::Announce(announcement)) => {
                let holding = LocalHoldings::announced(&announcement);
                service.index.holds(share.id, |held| *held = holding);
            }
            Some(Message::HaveDelta(delta)) => {
                service.index.holds(share.id, |held| held.change(&delta))
            }
            Some(_) => {}
            None => break,
        }
    }
    drop(session);
    service
        .index
        .holds(share.id, |held| *held = LocalHoldings::default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn small_versions_are_told_by_position_and_large_ones_by_whole_extents() {
        let held: RoaringBitmap = (0..33).chain([100]).collect();
        assert_eq!(units(&held, INDEX_EXTENTS_ABOVE), held);
        let chunks = INDEX_EXTENTS_ABOVE + 1;
        assert_eq!(units(&held, chunks), RoaringBitmap::from_iter([0, 1]));
        // The last extent is shorter: one position.
        let last = RoaringBitmap::from_iter([chunks - 1]);
        assert_eq!(
            units(&last, chunks),
            RoaringBitmap::from_iter([(chunks - 1) / INDEX_EXTENT])
        );
        assert!(units(&RoaringBitmap::new(), chunks).is_empty());
        let all = RoaringBitmap::from_iter(0..chunks);
        assert_eq!(
            units(&all, chunks).len(),
            u64::from(chunks.div_ceil(INDEX_EXTENT))
        );
    }

    proptest! {
        #[test]
        fn an_extent_is_told_when_all_of_it_is_held(
            runs in proptest::collection::vec((0u32..3000, 1u32..60), 0..40),
        ) {
            let chunks = INDEX_EXTENTS_ABOVE + 7;
            let mut held = RoaringBitmap::new();
            for (start, count) in runs {
                held.insert_range(start..start + count);
            }
            let whole = |extent: &u32| (extent * INDEX_EXTENT..(extent + 1) * INDEX_EXTENT).all(|p| held.contains(p));
            let expected: RoaringBitmap = (0..400).filter(whole).collect();
            prop_assert_eq!(units(&held, chunks), expected);
        }
    }
}
