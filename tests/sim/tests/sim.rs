//! The simulation: every scenario over many seeds; see `hither_sim`.
//!
//! `HITHER_SIM_SEED=n` replays one seed of every scenario (or of `HITHER_SIM_SCENARIO=name`) and
//! prints what happened; `HITHER_SIM_SEEDS=n` runs that many seeds of each, `HITHER_SIM_FIRST=n`
//! from another one on, `HITHER_SIM_MOST=n` no more than that many of each.

#![allow(
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking; its summary is for people"
)]

use std::collections::BTreeMap;

use hither_sim::{Outcome, Scenario, Summary, run_all, run_one, scenarios};

/// Seeds that once broke a rule, run whatever the number of seeds is.
const PINNED: &[(&str, u64)] = &[
    // A request with a damaged chunk never ended: its span was never asked of anybody else.
    ("only-liars", 0),
    ("liar", 0),
    // A chunk on its way when its request was given up was taken for a breach of protocol.
    ("uneven-sources", 63),
    // With a session in each direction every delta is heard twice: the second one was taken for a
    // gap.
    ("one-to-four", 2),
    // All fetchers read on in the same order and asked the origin for the same spans at the same
    // time.
    ("one-to-four", 0),
    // The round trip of a tiny root was taken for the rate of the link: the source was never asked
    // again.
    ("two-holders", 4),
    // A slow measurement of one source made the silence of another one acceptable for half an
    // hour.
    ("staller", 77),
    // A pinned version was chosen although nobody had shown its head.
    ("pinned-gone", 0),
    // The pinned version appeared on a session that was open already.
    ("pinned-later", 0),
    // Neighbours that had nothing of what was missing kept a fetch at a version that its owner had
    // replaced.
    ("newer-version", 11),
    // "Not held", said of the version before, took away the newer version's manifest.
    ("newer-version", 165),
    // The version at hand was chosen once more, which nobody plans: nothing went on.
    ("version-flaps", 5),
    // Holders that stalled again and again kept a fetch at a version that its owner had replaced.
    ("chaos", 118),
    // A version that a holder merely announced was chosen.
    ("inflater", 1),
    // A device that said when to come back was left alone for a minute.
    ("busy", 174),
    // Chunks that take longer than the patience with silence were asked for for ever.
    ("slow-link", 0),
    // Two slow sources never measured were each given up for the rate that the other was taken
    // for.
    ("slow-link", 95),
    ("slow-link", 899),
    ("slow-link", 21_165),
    ("slow-link", 80_007),
    // A device was seen while a try to reach it was about to fail: the next one came half a minute
    // later.
    ("lonely-origin", 100_807),
    // A goodbye made a liar trustworthy again.
    ("liar-returns", 0),
    // A second copy of a span, got meanwhile in part from the first source, was asked for without
    // positions.
    ("boaster", 71),
    // A device that moved on to a newer version told nobody, and what was told did not reach a
    // fetch that was under way.
    ("newer-by-hearsay", 0),
    // While a device's queue was full, a slower store was asked for what the device was about to
    // give.
    ("store-aside", 94),
    // A device that stalled still counted at the rate it once had: a slow store was held back for
    // it.
    ("store-behind-staller", 1),
    // Everybody of two sites asked everybody of the third at once: their common uplink brought
    // nothing to anyone in time.
    ("three-sites-alone", 0),
];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {text}"))
    })
}

fn chosen() -> Vec<&'static Scenario> {
    let name = std::env::var("HITHER_SIM_SCENARIO").ok();
    let chosen: Vec<_> = scenarios()
        .filter(|s| name.as_deref().is_none_or(|name| name == s.name))
        .collect();
    assert!(!chosen.is_empty(), "there is no scenario {name:?}");
    chosen
}

fn complain(failed: &[&Outcome]) {
    let mut shown: BTreeMap<&str, u32> = BTreeMap::new();
    for outcome in failed {
        let before = shown.entry(outcome.scenario).or_default();
        *before += 1;
        if *before > 2 {
            continue;
        }
        println!(
            "{} with seed {}: {}",
            outcome.scenario,
            outcome.seed,
            outcome.failure.as_deref().unwrap_or_default()
        );
        println!(
            "  replay: HITHER_SIM_SCENARIO={} HITHER_SIM_SEED={} cargo test -p hither-tests --test sim every_seed -- --nocapture\n",
            outcome.scenario, outcome.seed
        );
    }
    assert!(
        failed.is_empty(),
        "{} runs broke a rule; the first two of each scenario are above",
        failed.len()
    );
}

#[test]
fn every_seed_keeps_the_rules() {
    if let Some(seed) = number("HITHER_SIM_SEED") {
        let outcomes: Vec<Outcome> = chosen()
            .into_iter()
            .map(|s| run_one(s, seed, true))
            .collect();
        for outcome in &outcomes {
            println!(
                "{} with seed {seed}, hash {:016x}:",
                outcome.scenario, outcome.hash
            );
            outcome.lines.iter().for_each(|line| println!("{line}"));
        }
        return complain(
            &outcomes
                .iter()
                .filter(|o| o.failure.is_some())
                .collect::<Vec<_>>(),
        );
    }
    let began = std::time::Instant::now();
    let outcomes = run_all(
        &chosen(),
        number("HITHER_SIM_FIRST").unwrap_or(0),
        number("HITHER_SIM_SEEDS"),
        number("HITHER_SIM_MOST").unwrap_or(u64::MAX),
    );
    let events: u64 = outcomes.iter().map(|o| o.events).sum();
    println!(
        "{}{} runs, {events} events, {:.1?}",
        Summary(&outcomes),
        outcomes.len(),
        began.elapsed()
    );
    complain(
        &outcomes
            .iter()
            .filter(|o| o.failure.is_some())
            .collect::<Vec<_>>(),
    );
}

#[test]
fn pinned_seeds_keep_the_rules() {
    let outcomes: Vec<Outcome> = PINNED
        .iter()
        .map(|(name, seed)| {
            let scenario = scenarios()
                .find(|s| s.name == *name)
                .expect("a pinned scenario exists");
            run_one(scenario, *seed, false)
        })
        .collect();
    complain(
        &outcomes
            .iter()
            .filter(|o| o.failure.is_some())
            .collect::<Vec<_>>(),
    );
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for scenario in scenarios().filter(|s| s.seeds >= 10) {
        for seed in [1, 2] {
            let (one, two) = (
                run_one(scenario, seed, false),
                run_one(scenario, seed, true),
            );
            assert_eq!(
                (one.hash, one.events),
                (two.hash, two.events),
                "{} with seed {seed}",
                scenario.name
            );
        }
        assert_ne!(
            run_one(scenario, 1, false).hash,
            run_one(scenario, 2, false).hash,
            "{}",
            scenario.name
        );
    }
}
