//! Many uploads, releases, reads and passes of collection at once; the model: what is acknowledged
//! and not released is there and intact.

use crate::common::*;
use hither_proto::Space;
use hither_relay::store::{PutError, Store};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A small deterministic source of choices.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// One user's life: uploads of versions that overlap with those of other users, breaks, releases,
/// reads.
async fn live(store: Arc<Store>, n: u8, seed: u64, rounds: usize, done: Arc<AtomicUsize>) {
    let mut dice = Dice(seed.wrapping_mul(31).wrapping_add(u64::from(n)));
    // What is acknowledged of each share.
    let mut model: Vec<Option<Version>> = vec![None; 3];
    let mut counts = [0u64; 3];
    for round in 0..rounds {
        let share = dice.roll(3) as usize;
        counts[share] += 1;
        // A window over a small universe of chunks, so that users and versions share many.
        let start = dice.roll(400);
        let next = version(
            n + 1,
            share as u8,
            counts[share],
            chunks(start..start + 1 + dice.roll(60)),
        );
        let me = user(n / 2);
        match dice.roll(10) {
            0..3 => {
                store.release(me, next.owner, next.share()).await.unwrap();
                model[share] = None;
            }
            3 | 4 => break_off(&store, &mut dice, n, &next).await,
            _ => {
                upload(&store, me, &next)
                    .await
                    .unwrap_or_else(|error| panic!("{n} {round}: {error}"));
                model[share] = Some(next);
            }
        }
        if let Some(version) = &model[dice.roll(3) as usize] {
            assert_complete(&store, version).await;
        }
    }
    for version in model.iter().flatten() {
        assert_complete(&store, version).await;
    }
    done.fetch_add(1, Ordering::SeqCst);
}

async fn break_off(store: &Store, dice: &mut Dice, n: u8, version: &Version) {
    let (session, missing) = begin(store, user(n / 2), version).await.unwrap();
    let mut sent = 0;
    for position in missing.data.positions().filter(|_| dice.roll(2) == 0) {
        session
            .chunk(
                Space::Data,
                position,
                version.data[position as usize].clone(),
            )
            .await
            .unwrap();
        sent += 1;
    }
    match dice.roll(3) {
        0 => drop(wait_stored(&session, sent).await),
        1 => assert!(matches!(
            session.end().await,
            Err(PutError::Incomplete { .. })
        )),
        _ => {}
    }
}

async fn stress(seed: u64, users: u8, rounds: usize) {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(dir.path(), config()).await);
    let (done, stop) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let mut users: tokio::task::JoinSet<()> = (0..users)
        .map(|n| live(Arc::clone(&store), n, seed, rounds, Arc::clone(&done)))
        .collect();
    let collector = {
        let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut passes = 0;
            while !stop.load(Ordering::SeqCst) {
                store.gc().await.unwrap();
                passes += 1;
            }
            passes
        })
    };
    while let Some(user) = users.join_next().await {
        user.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
    stop.store(true, Ordering::SeqCst);
    let passes: u64 = collector.await.unwrap();
    let report = store.check(false).await.unwrap();
    assert!(report.is_clean(), "seed {seed}: {report:?}");
    assert_eq!(store.stats().await.unwrap().damaged, 0, "seed {seed}");
    println!("seed {seed}: {passes} passes, {report:?}");
    // In the end everything goes, and nothing is left.
    for n in 0..8u8 {
        for share in 0..3 {
            let any = version(n + 1, share, 1, Vec::new());
            store
                .release(user(n / 2), any.owner, any.share())
                .await
                .unwrap();
        }
    }
    store.gc().await.unwrap();
    let stats = store.stats().await.unwrap();
    assert_eq!(
        (stats.packs, stats.logical_bytes, stats.live_bytes),
        (0, 0, 0),
        "seed {seed}: {stats:?}"
    );
    assert!(packs(dir.path()).is_empty());
}

/// `HITHER_STRESS_SEEDS` sets how many seeds are tried.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_acknowledged_stays_whatever_else_happens() {
    let seeds = std::env::var("HITHER_STRESS_SEEDS").map_or(3, |seeds| seeds.parse().unwrap());
    for seed in 0..seeds {
        stress(seed, 8, 30).await;
    }
}
