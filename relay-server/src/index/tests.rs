use super::pick::{MAX_LOCAL, MAX_OTHERS};
use super::*;
use hither_carrier::Identity;
use hither_proto::{IndexHolder, PositionRange, Ranges};
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::OnceLock;

mod model;

const LIFE: Duration = Duration::from_secs(90);

/// So many devices, the same ones in every test.
fn device(number: usize) -> DeviceId {
    static DEVICES: OnceLock<Vec<DeviceId>> = OnceLock::new();
    DEVICES.get_or_init(|| {
        (0..200)
            .map(|_| Identity::generate().unwrap().device_id())
            .collect()
    })[number]
}

fn speaker(stream: u64, number: usize, site: u8) -> Speaker {
    Speaker::new(
        StreamId(stream),
        device(number),
        IpAddr::from([192, 0, 2, site]),
    )
}

fn topic(number: u8) -> IndexTopic {
    IndexTopic::new([number; 32])
}

fn bounds() -> Bounds {
    Bounds {
        entries: 1000,
        device_entries: 100,
        site_entries: 500,
        bytes: 1 << 20,
        device_bytes: 1 << 19,
        site_bytes: 1 << 19,
        subscriptions: 1000,
        stream_subscriptions: 100,
        life: LIFE,
    }
}

fn index() -> Index {
    Index::new(bounds())
}

fn runs(positions: impl IntoIterator<Item = u32>) -> Ranges {
    Ranges::from_bitmap(&positions.into_iter().collect())
}

fn holding(seq: u64, positions: impl IntoIterator<Item = u32>) -> Announcement {
    Announcement {
        version: 1,
        epoch: 7,
        seq,
        complete: false,
        held: runs(positions),
        has_manifest: true,
    }
}

fn whole() -> Announcement {
    Announcement {
        complete: true,
        ..holding(1, [])
    }
}

fn delta(
    seq: u64,
    added: impl IntoIterator<Item = u32>,
    removed: impl IntoIterator<Item = u32>,
) -> Delta {
    Delta {
        version: 1,
        epoch: 7,
        seq,
        added: runs(added),
        removed: runs(removed),
    }
}

fn sealed() -> Bytes {
    Bytes::from_static(b"sealed")
}

/// What a reader makes of what it is told, by topic.
#[derive(Debug, Default)]
struct Reader {
    holders: BTreeMap<DeviceId, IndexHolder>,
    frames: usize,
}

impl Reader {
    fn hear(&mut self, index: &mut Index, stream: u64) {
        while let Some(message) = index.news(StreamId(stream)) {
            self.frames += 1;
            match message {
                IndexMessage::Holders {
                    first,
                    holders,
                    gone,
                    ..
                } => {
                    if first {
                        self.holders.clear();
                    }
                    gone.iter().for_each(|device| {
                        drop(self.holders.remove(device).expect("it was named"))
                    });
                    self.holders
                        .extend(holders.into_iter().map(|holder| (holder.device, holder)));
                }
                IndexMessage::Changed { device, change, .. } => {
                    let holding = &mut self.holders.get_mut(&device).expect("it was named").holding;
                    assert_eq!(
                        (holding.version, holding.epoch),
                        (change.version, change.epoch)
                    );
                    assert!(change.seq > holding.seq);
                    holding.seq = change.seq;
                    let held = (holding.held.to_bitmap() | change.added.to_bitmap())
                        - change.removed.to_bitmap();
                    holding.held = Ranges::from_bitmap(&held);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_reader_hears_who_holds_what_and_what_changes() {
    let (mut index, now) = (index(), Instant::now());
    let (origin, fetcher, reader) = (speaker(1, 0, 1), speaker(2, 1, 1), speaker(3, 2, 2));
    index
        .announce(origin, topic(1), &whole(), sealed(), now)
        .unwrap();
    index
        .announce(fetcher, topic(1), &holding(1, [0, 1]), sealed(), now)
        .unwrap();
    index
        .announce(fetcher, topic(2), &holding(1, [9]), sealed(), now)
        .unwrap();
    index.subscribe(reader, topic(1), origin.device).unwrap();
    assert_eq!(index.woken(), BTreeSet::from([StreamId(3)]));
    let mut told = Reader::default();
    told.hear(&mut index, 3);
    assert_eq!((told.holders.len(), told.frames), (2, 1));
    assert!(
        told.holders[&origin.device].holding.complete && !told.holders[&origin.device].same_site
    );
    // Several changes are one message, and what came and went is not told.
    index
        .change(fetcher, topic(1), &delta(2, [2, 3], []), now)
        .unwrap();
    index
        .change(fetcher, topic(1), &delta(3, [4], [3]), now)
        .unwrap();
    assert_eq!(index.woken(), BTreeSet::from([StreamId(3)]));
    let message = index.news(StreamId(3)).unwrap();
    let change = delta(3, [2, 4], [3]);
    assert_eq!(
        message,
        IndexMessage::Changed {
            topic: topic(1),
            device: fetcher.device,
            change
        }
    );
    assert_eq!(index.news(StreamId(3)), None);
    assert_eq!(index.copies(topic(1), 1, 4), 2);
    assert_eq!(index.copies(topic(1), 1, 3), 1);
    // The reader itself is not named to itself.
    index
        .announce(reader, topic(1), &holding(1, [0]), sealed(), now)
        .unwrap();
    assert!(index.woken().is_empty() && index.news(StreamId(3)).is_none());
    index.withdraw(origin.device, topic(1));
    told.hear(&mut index, 3);
    assert_eq!(
        told.holders.keys().copied().collect::<Vec<_>>(),
        [fetcher.device]
    );
}

#[test]
fn who_has_nothing_to_hear_is_still_answered() {
    let mut index = index();
    index
        .subscribe(speaker(1, 1, 1), topic(1), device(0))
        .unwrap();
    let (holders, gone) = (vec![], vec![]);
    let nobody = IndexMessage::Holders {
        topic: topic(1),
        first: true,
        holders,
        gone,
    };
    assert_eq!(index.news(StreamId(1)), Some(nobody));
    assert_eq!(index.news(StreamId(1)), None);
}

#[test]
fn a_gap_or_another_stream_asks_for_everything() {
    let (mut index, now) = (index(), Instant::now());
    let one = speaker(1, 0, 1);
    let gap = Err(IndexError::Gap);
    assert_eq!(index.change(one, topic(1), &delta(2, [1], []), now), gap);
    index
        .announce(one, topic(1), &holding(1, [0]), sealed(), now)
        .unwrap();
    for wrong in [
        delta(3, [1], []),
        delta(1, [1], []),
        Delta {
            epoch: 8,
            ..delta(2, [1], [])
        },
        Delta {
            version: 2,
            ..delta(2, [1], [])
        },
    ] {
        assert_eq!(index.change(one, topic(1), &wrong, now), gap, "{wrong:?}");
    }
    assert_eq!(
        index.change(speaker(2, 0, 1), topic(1), &delta(2, [1], []), now),
        gap
    );
    assert_eq!(
        index.change(speaker(1, 5, 1), topic(1), &delta(2, [1], []), now),
        gap
    );
    index
        .change(one, topic(1), &delta(2, [1], []), now)
        .unwrap();
    index
        .announce(one, topic(1), &whole(), sealed(), now)
        .unwrap();
    assert_eq!(index.change(one, topic(1), &delta(2, [], [1]), now), gap);
}

#[test]
fn entries_live_as_long_as_their_device_is_heard_of_and_end_with_its_stream() {
    let (mut index, now) = (index(), Instant::now());
    let (one, two, again) = (speaker(1, 0, 1), speaker(2, 1, 1), speaker(3, 0, 1));
    for topic_number in 1..4 {
        index
            .announce(one, topic(topic_number), &whole(), sealed(), now)
            .unwrap();
        index
            .announce(two, topic(topic_number), &whole(), sealed(), now)
            .unwrap();
    }
    index.heard(one.device, now + LIFE);
    index.expire(now + LIFE);
    assert_eq!(index.held().entries, 6);
    index.expire(now + LIFE + Duration::from_secs(1));
    assert_eq!(index.held().entries, 3);
    // The stream of before ends after another one has taken over one topic.
    index
        .announce(again, topic(1), &whole(), sealed(), now + LIFE)
        .unwrap();
    index.ended(one, true);
    assert_eq!(index.held().entries, 1);
    index.ended(again, false);
    assert_eq!(index.held().entries, 1, "it may be back in a moment");
    index.ended(again, true);
    assert_eq!(index.held(), IndexSize::default());
}

#[test]
fn what_is_beyond_a_bound_is_refused_and_leaves_nothing() {
    let now = Instant::now();
    let small = Bounds {
        entries: 3,
        device_entries: 2,
        bytes: 6000,
        device_bytes: 4000,
        subscriptions: 3,
        stream_subscriptions: 2,
        ..bounds()
    };
    let mut index = Index::new(small);
    let one = speaker(1, 0, 1);
    index
        .announce(one, topic(1), &whole(), sealed(), now)
        .unwrap();
    index
        .announce(one, topic(2), &whole(), sealed(), now)
        .unwrap();
    assert_eq!(
        index.announce(one, topic(3), &whole(), sealed(), now),
        Err(IndexError::TooMuch)
    );
    index
        .announce(one, topic(2), &whole(), sealed(), now)
        .unwrap();
    index
        .announce(speaker(2, 1, 1), topic(3), &whole(), sealed(), now)
        .unwrap();
    assert_eq!(
        index.announce(speaker(3, 2, 1), topic(3), &whole(), sealed(), now),
        Err(IndexError::Full)
    );
    // Every second position takes two bytes.
    let much = |count: u32| holding(1, (0..count).map(|at| at * 2));
    assert_eq!(
        index.announce(one, topic(1), &much(2000), sealed(), now),
        Err(IndexError::TooMuch)
    );
    assert_eq!(index.held().entries, 2);
    index
        .announce(one, topic(1), &much(1300), sealed(), now)
        .unwrap();
    let two = speaker(2, 1, 1);
    assert_eq!(
        index.announce(two, topic(3), &much(1300), sealed(), now),
        Err(IndexError::Full)
    );
    assert_eq!(index.copies(topic(3), 1, 0), 0);
    index
        .change(one, topic(1), &delta(2, [1, 3, 5], []), now)
        .unwrap();
    let grown = delta(3, (1..1300).map(|at| at * 2 + 10_000), []);
    assert_eq!(
        index.change(one, topic(1), &grown, now),
        Err(IndexError::TooMuch)
    );
    index.ended(one, true);
    assert_eq!(index.held(), IndexSize::default());
    // Subscriptions have their own places.
    for stream in 1..4 {
        index
            .subscribe(speaker(stream, 5, 1), topic(1), one.device)
            .unwrap();
    }
    index
        .subscribe(speaker(1, 5, 1), topic(1), one.device)
        .unwrap();
    assert_eq!(
        index.subscribe(speaker(1, 5, 1), topic(2), one.device),
        Err(IndexError::Full)
    );
    index.ended(speaker(3, 5, 1), true);
    index
        .subscribe(speaker(1, 5, 1), topic(2), one.device)
        .unwrap();
    assert_eq!(
        index.subscribe(speaker(1, 5, 1), topic(3), one.device),
        Err(IndexError::TooMuch)
    );
    assert_eq!(
        index.subscribe(speaker(4, 5, 1), topic(1), one.device),
        Err(IndexError::Full)
    );
    (1..5).for_each(|stream| index.ended(speaker(stream, 5, 1), true));
    assert_eq!(index.held(), IndexSize::default());
    assert!(
        index.topics.is_empty()
            && index.readers.is_empty()
            && index.devices.is_empty()
            && index.sites.is_empty()
    );
}

#[test]
fn devices_behind_one_address_share_their_part() {
    let now = Instant::now();
    let mut index = Index::new(Bounds {
        site_entries: 2,
        site_bytes: 5000,
        ..bounds()
    });
    for number in 0..2 {
        index
            .announce(
                speaker(number, number as usize, 1),
                topic(1),
                &whole(),
                sealed(),
                now,
            )
            .unwrap();
    }
    let third = speaker(3, 3, 1);
    assert_eq!(
        index.announce(third, topic(1), &whole(), sealed(), now),
        Err(IndexError::TooMuch)
    );
    let elsewhere = speaker(4, 3, 2);
    index
        .announce(elsewhere, topic(1), &whole(), sealed(), now)
        .unwrap();
    // Who moves takes along what it announced.
    let moved = speaker(5, 1, 2);
    index
        .announce(moved, topic(1), &whole(), sealed(), now)
        .unwrap();
    assert_eq!(
        (index.sites.len(), index.sites[&moved.site].entries),
        (2, 2)
    );
    index
        .announce(speaker(6, 7, 1), topic(2), &whole(), sealed(), now)
        .unwrap();
    let much = holding(1, (0..2100).map(|at| at * 2));
    assert_eq!(
        index.announce(moved, topic(1), &much, sealed(), now),
        Err(IndexError::TooMuch)
    );
    assert_eq!(index.held().entries, 3);
    (0..8).for_each(|number| index.withdraw(device(number), topic(1)));
    index.withdraw(device(7), topic(2));
    assert!(index.sites.is_empty() && index.held() == IndexSize::default());
}

#[test]
fn whole_holders_and_rare_positions_are_named_first_and_the_owner_always() {
    let (mut index, now) = (index(), Instant::now());
    let reader = speaker(1000, 199, 1);
    // Elsewhere: 10 hold everything, 30 what everybody has, one of them a position that nobody else
    // has.
    for number in 0..10 {
        index
            .announce(
                speaker(number as u64, number, 2),
                topic(1),
                &whole(),
                sealed(),
                now,
            )
            .unwrap();
    }
    for number in 10..40 {
        let rare = (number == 25).then_some(50);
        let held = holding(1, (0..20).chain(rare));
        index
            .announce(
                speaker(number as u64, number, 3),
                topic(1),
                &held,
                sealed(),
                now,
            )
            .unwrap();
    }
    // On the reader's own site: 80 with nearly nothing, one of them with something rare that the
    // reader has.
    for number in 40..120 {
        let rare = (number == 77).then_some(60);
        let held = holding(1, [1].into_iter().chain(rare));
        index
            .announce(
                speaker(number as u64, number, 1),
                topic(1),
                &held,
                sealed(),
                now,
            )
            .unwrap();
    }
    let owner = speaker(150, 150, 9);
    index
        .announce(owner, topic(1), &holding(1, []), sealed(), now)
        .unwrap();
    index
        .announce(reader, topic(1), &holding(1, [60]), sealed(), now)
        .unwrap();
    index.subscribe(reader, topic(1), owner.device).unwrap();
    let mut told = Reader::default();
    told.hear(&mut index, 1000);
    let named = |number: usize| told.holders.contains_key(&device(number));
    assert_eq!(told.holders.len(), 1 + MAX_LOCAL + MAX_OTHERS);
    assert!(named(150) && (0..10).all(named) && named(25) && !named(199));
    assert_eq!(
        told.holders
            .values()
            .filter(|holder| holder.same_site)
            .count(),
        MAX_LOCAL
    );
    // Who goes makes room for others.
    for number in 0..10 {
        index.withdraw(device(number), topic(1));
    }
    told.hear(&mut index, 1000);
    assert_eq!(told.holders.len(), 1 + MAX_LOCAL + MAX_OTHERS);
    assert!(!told.holders.contains_key(&device(3)));
    // Beyond the bound nobody new is named, but the owner.
    index.withdraw(owner.device, topic(1));
    told.hear(&mut index, 1000);
    index
        .announce(speaker(151, 151, 1), topic(1), &whole(), sealed(), now)
        .unwrap();
    index
        .announce(owner, topic(1), &whole(), sealed(), now)
        .unwrap();
    told.hear(&mut index, 1000);
    assert!(told.holders.contains_key(&owner.device) && !told.holders.contains_key(&device(151)));
}

#[test]
fn long_news_come_in_frames_that_fit() {
    let (mut index, now) = (index(), Instant::now());
    index.bounds = Bounds {
        bytes: 1 << 30,
        device_bytes: 1 << 30,
        site_bytes: 1 << 30,
        ..bounds()
    };
    for number in 0..20 {
        let held = holding(1, (0..16_000).map(|at| at * 2));
        index
            .announce(
                speaker(number as u64, number, 1),
                topic(1),
                &held,
                sealed(),
                now,
            )
            .unwrap();
    }
    index
        .subscribe(speaker(100, 100, 1), topic(1), device(0))
        .unwrap();
    let mut frames = 0;
    while let Some(message) = index.news(StreamId(100)) {
        let IndexMessage::Holders { first, holders, .. } = &message else {
            panic!("{message:?}")
        };
        assert_eq!(*first, frames == 0);
        assert_eq!(holders.len(), 1);
        frames += 1;
        let bytes =
            hither_proto::encode_relay_frame(&hither_proto::RelayMessage::Index(Box::new(message)));
        assert!(bytes.len() <= hither_proto::limits::MAX_INDEX_FRAME);
    }
    assert_eq!(frames, 20);
}

#[test]
fn runs_are_kept_as_runs() {
    let (mut index, now) = (index(), Instant::now());
    let long: Ranges = (0..1000)
        .filter_map(|run| PositionRange::new(run * 4000, 2000))
        .collect();
    let said = Announcement {
        held: long,
        ..holding(1, [])
    };
    index
        .announce(speaker(1, 0, 1), topic(1), &said, sealed(), now)
        .unwrap();
    assert!(index.held().bytes < 20_000, "{} bytes", index.held().bytes);
}
