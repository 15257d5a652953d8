//! An index and a model of it, whatever happens to both.

use super::*;
use proptest::prelude::*;

/// Something that happens to an index.
#[derive(Debug, Clone)]
enum Step {
    Announce(usize, u8, Vec<u32>, bool),
    Delta(usize, u8, Vec<u32>, Vec<u32>),
    Withdraw(usize, u8),
    Heard(usize),
    Pass(u64),
    Subscribe(usize, u8),
    Unsubscribe(usize, u8),
    End(usize, bool),
    Hear(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let (who, what) = (0usize..6, 0u8..2);
    let some = || proptest::collection::vec(0u32..40, 0..12);
    prop_oneof![
        3 => (who.clone(), what.clone(), some(), any::<bool>())
            .prop_map(|(who, what, held, whole)| Step::Announce(who, what, held, whole)),
        6 => (who.clone(), what.clone(), some(), some())
            .prop_map(|(who, what, added, removed)| Step::Delta(who, what, added, removed)),
        1 => (who.clone(), what.clone()).prop_map(|(who, what)| Step::Withdraw(who, what)),
        1 => who.clone().prop_map(Step::Heard),
        1 => (0u64..60).prop_map(Step::Pass),
        2 => (who.clone(), what.clone()).prop_map(|(who, what)| Step::Subscribe(who, what)),
        1 => (who.clone(), what.clone()).prop_map(|(who, what)| Step::Unsubscribe(who, what)),
        1 => (who.clone(), any::<bool>()).prop_map(|(who, well)| Step::End(who, well)),
        4 => who.prop_map(Step::Hear),
    ]
}

/// The same index without any cleverness.
#[derive(Debug, Default)]
struct Model {
    entries: BTreeMap<(usize, u8), (u64, bool, RoaringBitmap)>,
    heard: BTreeMap<usize, Instant>,
    readers: BTreeMap<(usize, u8), Reader>,
}

proptest! {
    #[test]
    fn readers_and_counts_are_right_whatever_happens(steps in proptest::collection::vec(step(), 1..120)) {
        let (mut index, mut model, mut now) = (index(), Model::default(), Instant::now());
        let says = |who: usize| speaker(who as u64, who, (who % 2) as u8);
        for step in steps {
            match step {
                Step::Announce(who, what, held, complete) => {
                    let held = if complete { vec![] } else { held };
                    let seq = model.entries.get(&(who, what)).map_or(1, |(seq, ..)| seq + 1);
                    let said = Announcement { complete, ..holding(seq, held.iter().copied()) };
                    index.announce(says(who), topic(what), &said, sealed(), now).unwrap();
                    model.entries.insert((who, what), (seq, complete, held.into_iter().collect()));
                    model.heard.insert(who, now);
                }
                Step::Delta(who, what, added, removed) => {
                    let removed: Vec<u32> = removed.into_iter().filter(|at| !added.contains(at)).collect();
                    let entry = model.entries.get_mut(&(who, what));
                    let seq = entry.as_ref().map_or(1, |(seq, ..)| seq + 1);
                    let done = index.change(says(who), topic(what), &delta(seq, added.clone(), removed.clone()), now);
                    let follows = entry.filter(|(_, complete, _)| !complete);
                    prop_assert_eq!(done.is_ok(), follows.is_some());
                    if let Some((seq, _, held)) = follows {
                        *seq += 1;
                        *held -= removed.into_iter().collect::<RoaringBitmap>();
                        held.extend(added);
                    }
                    model.heard.insert(who, now);
                }
                Step::Withdraw(who, what) => {
                    index.withdraw(device(who), topic(what));
                    model.entries.remove(&(who, what));
                }
                Step::Heard(who) => {
                    index.heard(device(who), now);
                    model.heard.insert(who, now);
                }
                Step::Pass(seconds) => {
                    now += Duration::from_secs(seconds);
                    index.expire(now);
                    model.entries.retain(|(who, _), _| now - model.heard[who] <= LIFE);
                }
                Step::Subscribe(who, what) => {
                    index.subscribe(says(who), topic(what), device(0)).unwrap();
                    model.readers.entry((who, what)).or_default();
                }
                Step::Unsubscribe(who, what) => {
                    index.unsubscribe(StreamId(who as u64), topic(what));
                    model.readers.remove(&(who, what));
                }
                Step::End(who, well) => {
                    index.ended(says(who), well);
                    model.readers.retain(|(reader, _), _| *reader != who);
                    if well {
                        model.entries.retain(|(holder, _), _| *holder != who);
                    }
                }
                Step::Hear(who) => {
                    hear(&mut index, &mut model, who);
                    agree(&model, who)?;
                }
            }
            for position in 0..40 {
                for what in 0..2 {
                    let has = |complete: bool, held: &RoaringBitmap| complete || held.contains(position);
                    let count = model.entries.iter().filter(|((_, of), (_, complete, held))| {
                        *of == what && has(*complete, held)
                    });
                    prop_assert_eq!(usize::from(index.copies(topic(what), 1, position)), count.count());
                }
            }
            prop_assert_eq!(index.held().entries, model.entries.len() as u64);
            prop_assert_eq!(index.held().subscriptions, model.readers.len() as u64);
        }
        for who in 0..6 {
            hear(&mut index, &mut model, who);
            agree(&model, who)?;
        }
        (0..6).for_each(|who| index.ended(says(who), true));
        prop_assert_eq!(index.held(), IndexSize::default());
        prop_assert!(index.topics.is_empty() && index.readers.is_empty() && index.devices.is_empty() && index.sites.is_empty());
    }
}

/// A reader hears everything that there is for it, of all its topics.
fn hear(index: &mut Index, model: &mut Model, who: usize) {
    while let Some(message) = index.news(StreamId(who as u64)) {
        let (IndexMessage::Holders { topic: about, .. }
        | IndexMessage::Changed { topic: about, .. }) = &message
        else {
            panic!("{message:?}")
        };
        let what = about.as_bytes()[0];
        let reader = model.readers.get_mut(&(who, what)).expect("it subscribed");
        match message {
            IndexMessage::Holders {
                first,
                holders,
                gone,
                ..
            } => {
                if first {
                    reader.holders.clear();
                }
                gone.iter()
                    .for_each(|device| drop(reader.holders.remove(device)));
                reader
                    .holders
                    .extend(holders.into_iter().map(|holder| (holder.device, holder)));
            }
            IndexMessage::Changed { device, change, .. } => {
                let holding = &mut reader
                    .holders
                    .get_mut(&device)
                    .expect("it was named")
                    .holding;
                let held = (holding.held.to_bitmap() | change.added.to_bitmap())
                    - change.removed.to_bitmap();
                holding.held = Ranges::from_bitmap(&held);
            }
            _ => {}
        }
    }
}

/// What a reader knows is what there is, but of itself.
fn agree(model: &Model, who: usize) -> Result<(), TestCaseError> {
    for ((_, what), reader) in model
        .readers
        .iter()
        .filter(|((reader, _), _)| *reader == who)
    {
        let told: BTreeMap<DeviceId, (bool, RoaringBitmap)> = reader
            .holders
            .iter()
            .map(|(id, holder)| {
                (
                    *id,
                    (holder.holding.complete, holder.holding.held.to_bitmap()),
                )
            })
            .collect();
        let there: BTreeMap<_, _> = model
            .entries
            .iter()
            .filter(|((holder, of), _)| of == what && *holder != who)
            .map(|((holder, _), (_, complete, held))| (device(*holder), (*complete, held.clone())))
            .collect();
        prop_assert_eq!(told, there, "reader {} of topic {}", who, what);
    }
    Ok(())
}
